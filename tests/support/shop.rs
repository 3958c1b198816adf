//! The shop: three agents and thirty days of facts that most tests of the rollups begin with.

use super::rollups::{assert_rollups, refresh};
use super::{Db, Session, db};

/// A database with the agents `sup` (support), `sal` (sales) and `ops`, ten days of conversations of three turns each
/// (March 2026, five a day and agent), some business events, and one refresh. Turn `t` of conversation `c` on day `d`
/// (from 0) of agent `a` has the event_id `md5('a-d-c-t')` and the conversation_id `a-d-c`.
pub fn shop(name: &str) -> Db {
    let db = db(name);
    fill_shop(&db);
    refresh(&db);
    assert_rollups(&db);
    db
}

/// The agents and facts of [`shop`], not refreshed yet.
pub fn fill_shop(session: &Session) {
    session.exec(SHOP);
}

const SHOP: &str = "
SELECT agent_metrics.register_agent('sup', 'support', 'Head of Support'),
       agent_metrics.register_agent('sal', 'sales', 'Head of Sales'),
       agent_metrics.register_agent('ops', 'ops', 'Head of Operations');
INSERT INTO agent_metrics.agent_events
    (agent_id, occurred_at, event_id, conversation_id, user_id, tools_called, latency_ms, token_usage_input,
     token_usage_output, cost_usd, outcome_label, business_event_id, turn_index, error)
SELECT a, '2026-03-01 00:10:00+00'::timestamptz + d * interval '1 day' + c * interval '170 minutes'
          + t * interval '40 seconds',
       md5(format('%s-%s-%s-%s', a, d, c, t))::uuid, format('%s-%s-%s', a, d, c),
       CASE WHEN c <> 4 THEN 'user' || (c + d) % 4 END,
       CASE t WHEN 0 THEN NULL WHEN 1 THEN '[\"lookup\"]'::jsonb
              ELSE '[{\"name\": \"lookup\", \"ok\": true}, {\"name\": \"write\", \"ok\": false}]' END,
       CASE WHEN t > 0 THEN 100 + (d * 371 + c * 113 + t * 77) % 2900 END,
       CASE WHEN c <> 3 THEN 500 + d * 10 + c END, CASE WHEN c <> 3 THEN 20 + t END,
       CASE WHEN c <> 2 THEN 0.0013 * (1 + c) + t * 0.00007 END,
       CASE WHEN t = 2 THEN (ARRAY['success', 'failure', 'completed', NULL, 'booked'])[1 + (c + d) % 5] END,
       CASE WHEN t = 1 AND c = 1 THEN format('order-%s-%s', a, d) END, t,
       CASE WHEN t = 1 AND c = 4 THEN 'timeout' END
FROM unnest(ARRAY['sup', 'sal', 'ops']) AS a, generate_series(0, 9) AS d, generate_series(0, 4) AS c,
     generate_series(0, 2) AS t;
INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, customer_id)
SELECT format('crm-%s-%s', a, d),
       (ARRAY['ticket_resolved', 'lead_qualified', 'human_touch', 'booking_completed', 'lead_disqualified'])[1 + d % 5],
       '2026-03-01 09:00:00+00'::timestamptz + d * interval '1 day', format('%s-%s-0', a, d),
       CASE WHEN d % 2 = 0 THEN 'customer' || d END
FROM unnest(ARRAY['sup', 'sal', 'ops']) AS a, generate_series(0, 9) AS d
UNION ALL   -- found by the id that a turn carries
SELECT format('order-%s-%s', a, d), CASE WHEN d < 5 THEN 'task_completed' ELSE 'lead_qualified' END,
       '2026-03-01 10:00:00+00'::timestamptz + d * interval '1 day', NULL, NULL
FROM unnest(ARRAY['sup', 'sal', 'ops']) AS a, generate_series(0, 9, 3) AS d;
";
