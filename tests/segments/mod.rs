//! Segments: the sums of agents' work by dimension.

mod bounds;
mod changes;
mod views;

use crate::support::asserts::{assert_no_rows, assert_verified};
use crate::support::rollups::refresh;
use crate::support::shop::fill_shop;
use crate::support::{Db, Session, db};

/// The dimensions that [`divided_shop`] switches on.
const DIVIDED: [&str; 3] = ["model", "channel", "customer_tier"];

/// What the segments of days should hold, from raw rows: one row an agent, dimension, segment and day in UTC. Written
/// from the rules of the specification; it calls no function of the extension.
const ORACLE: &str = "
WITH turn AS (
    SELECT e.* FROM agent_metrics.agent_events e WHERE NOT e.is_eval
), own_value AS (
    SELECT t.event_id, d.dimension,
           CASE d.dimension WHEN 'model' THEN t.model WHEN 'channel' THEN t.attributes ->> 'channel' END AS value
    FROM turn t CROSS JOIN (VALUES ('model'), ('channel')) AS d (dimension)
), conversation_value AS (
    SELECT DISTINCT ON (t.agent_id, t.conversation_id, v.dimension)
           t.agent_id, t.conversation_id, v.dimension, v.value
    FROM turn t JOIN own_value v ON v.event_id = t.event_id AND v.value <> ''
    ORDER BY t.agent_id, t.conversation_id, v.dimension, t.occurred_at, coalesce(t.turn_index, -1), t.event_id
), tier AS (
    SELECT DISTINCT ON (c.agent_id, c.conversation_id) c.agent_id, c.conversation_id, 'customer_tier' AS dimension,
           b.detail ->> 'customer_tier' AS value
    FROM (SELECT DISTINCT t.agent_id, t.conversation_id FROM turn t) c
    JOIN agent_metrics.business_events b
      ON b.conversation_id = c.conversation_id
      OR b.conversation_id IS NULL AND EXISTS (SELECT FROM turn t
                                               WHERE t.agent_id = c.agent_id AND t.conversation_id = c.conversation_id
                                                 AND t.business_event_id = b.business_event_id)
    WHERE b.detail ->> 'customer_tier' <> ''
    ORDER BY c.agent_id, c.conversation_id, b.occurred_at, b.business_event_id
), known AS (
    SELECT * FROM conversation_value UNION ALL SELECT * FROM tier
), part AS (
    SELECT t.agent_id, d.dimension,
           CASE d.dimension WHEN 'customer_tier' THEN k.value ELSE nullif(v.value, '') END AS value,
           (t.occurred_at AT TIME ZONE 'UTC')::date AS day, 1 AS turns, coalesce(t.cost_usd, 0) AS cost_usd,
           (t.error IS NOT NULL)::integer AS errors, 0 AS conversations, 0 AS outcomes, 0 AS successes,
           0::numeric AS conversation_cost_usd, 0 AS leads
    FROM turn t CROSS JOIN (VALUES ('model'), ('channel'), ('customer_tier')) AS d (dimension)
    LEFT JOIN own_value v ON v.event_id = t.event_id AND v.dimension = d.dimension
    LEFT JOIN known k ON k.agent_id = t.agent_id AND k.conversation_id = t.conversation_id
                     AND k.dimension = d.dimension
    UNION ALL
    SELECT c.agent_id, d.dimension, k.value, (c.started_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 1,
           c.has_outcome::integer, c.is_success::integer, c.cost_usd, 0
    FROM agent_metrics.conversations c CROSS JOIN (VALUES ('model'), ('channel'), ('customer_tier')) AS d (dimension)
    LEFT JOIN known k ON k.agent_id = c.agent_id AND k.conversation_id = c.conversation_id
                     AND k.dimension = d.dimension
    UNION ALL
    SELECT c.agent_id, d.dimension, k.value, (c.started_at AT TIME ZONE 'UTC')::date, 0, 0, 0, 0, 0, 0, 0, 1
    FROM (SELECT DISTINCT ON (c.agent_id, c.lead_id) c.* FROM agent_metrics.conversations c
          JOIN agent_metrics.agents a ON a.agent_id = c.agent_id AND a.kind = 'sales'
          ORDER BY c.agent_id, c.lead_id, c.started_at, c.conversation_id) c
    CROSS JOIN (VALUES ('model'), ('channel'), ('customer_tier')) AS d (dimension)
    LEFT JOIN known k ON k.agent_id = c.agent_id AND k.conversation_id = c.conversation_id
                     AND k.dimension = d.dimension
)
SELECT p.agent_id, p.dimension,
       CASE WHEN p.value IS NULL THEN '(none)'
            WHEN EXISTS (SELECT FROM agent_metrics.dimension_segments f
                         WHERE f.agent_id = p.agent_id AND f.dimension = p.dimension AND f.segment = p.value)
                THEN p.value ELSE '(other)' END AS segment, p.day, sum(p.turns) AS turns,
       trim_scale(sum(p.cost_usd)) AS cost_usd, sum(p.errors) AS errors, sum(p.conversations) AS conversations,
       sum(p.outcomes) AS outcomes, sum(p.successes) AS successes,
       trim_scale(sum(p.conversation_cost_usd)) AS conversation_cost_usd, sum(p.leads) AS leads
FROM part p JOIN agent_metrics.agents USING (agent_id)
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";

const STORED: &str = "
SELECT s.agent_id, s.dimension, s.segment, (s.bucket AT TIME ZONE 'UTC')::date, s.turns, trim_scale(s.cost_usd),
       s.error_turns, s.conversations, s.outcomes, s.successes, trim_scale(s.conversation_cost_usd), s.leads
FROM agent_metrics_internal.segment_days s
ORDER BY 1, 2, 3, 4";

/// The shop, where turns name models and channels and some tickets a customer's tier; three dimensions are on.
fn divided_shop(name: &str) -> Db {
    let db = db(name);
    fill_shop(&db);
    db.exec(
        "UPDATE agent_metrics.agent_events
         SET model = (ARRAY['large', 'small', '', NULL])
                     [1 + (extract(minute FROM occurred_at)::integer + turn_index) % 4],
             attributes = CASE WHEN turn_index > 0 THEN jsonb_build_object('channel', right(conversation_id, 1)) END;
         UPDATE agent_metrics.business_events
         SET detail = jsonb_build_object('customer_tier', (ARRAY['gold', 'silver'])[1 + length(business_event_id) % 2])
         WHERE business_event_id NOT LIKE '%-4'",
    );
    switch_on(&db, &DIVIDED);
    refresh(&db);
    assert_divided(&db);
    db
}

fn switch_on(session: &Session, dimensions: &[&str]) {
    session.exec(&format!(
        "UPDATE agent_metrics.dimensions SET is_active = true WHERE dimension IN ('{}')",
        dimensions.join("', '")
    ));
}

/// The segments of days are what raw rows say, and `verify()` finds nothing.
#[track_caller]
fn assert_divided(session: &Session) {
    assert_verified(session);
    let stored = session.lines(STORED);
    assert!(stored.len() > 100, "{}", stored.len());
    assert_eq!(stored, session.lines(ORACLE));
}

/// Every number of a segment, by the month, is the sum of the rows that `trace()` gives for it.
#[track_caller]
fn assert_traced(session: &Session) {
    assert_no_rows(
        session,
        "SELECT k.agent_id, k.dimension, k.segment, k.metric, k.numerator, t.numerator, k.denominator, t.denominator
         FROM agent_kpi.kpi_segments_monthly k
         CROSS JOIN LATERAL (SELECT sum(r.numerator) AS numerator, sum(r.denominator) AS denominator
                             FROM agent_metrics.trace(k.metric, k.agent_id, k.month::timestamp AT TIME ZONE 'UTC',
                                                      (k.month + interval '1 month') AT TIME ZONE 'UTC', k.dimension,
                                                      k.segment) r) t
         WHERE (coalesce(k.numerator, 0), coalesce(k.denominator, 0))
               IS DISTINCT FROM (coalesce(t.numerator, 0), coalesce(t.denominator, 0))",
    );
}
