//! Whether the rollups are right: what the tests of the rollups stand on.
//!
//! [`assert_rollups`] asks twice. `verify()` has to be empty, and an oracle has to agree: plain SQL over the raw rows,
//! written here from the definitions of the metrics, which calls no function of the extension. Percentiles are
//! the one inexact thing: a stored sketch has to be within 1/128 of `percentile_disc`.
//! [`written_days`] says which days a refresh wrote to, so that a test can assert that it left the others alone.

use std::collections::{BTreeMap, BTreeSet};

use super::Session;
use super::asserts::assert_verified;

/// Largest relative error of a percentile.
pub const RELATIVE_ERROR: f64 = 1.0 / 128.0;

/// How many of a row's fields are compared as text; the percentiles follow.
const EXACT_FIELDS: usize = 29;

/// What the rollups should hold. One row an agent, level and bucket; the last three columns are percentiles.
const ORACLE: &str = "
WITH zone AS (
    SELECT s.value AS z FROM agent_metrics.settings s WHERE s.name = 'report_time_zone'
), agent AS (
    SELECT a.agent_id, k.bucket_seconds, k.outcome_metric = 'qualified_lead_rate' AS has_leads
    FROM agent_metrics.agents a JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
), e AS MATERIALIZED (
    SELECT ev.* FROM agent_metrics.agent_events ev JOIN agent a ON a.agent_id = ev.agent_id WHERE NOT ev.is_eval
), conv AS MATERIALIZED (
    SELECT e.agent_id, e.conversation_id, min(e.occurred_at) AS began, min(e.user_id COLLATE \"C\") AS user_id,
           sum(coalesce(e.cost_usd, 0)) AS cost,
           sum(coalesce(e.token_usage_input, 0) + coalesce(e.token_usage_output, 0)) AS tokens,
           count(*) FILTER (WHERE e.token_usage_input IS NOT NULL OR e.token_usage_output IS NOT NULL) AS token_turns
    FROM e GROUP BY e.agent_id, e.conversation_id
), crm_event AS MATERIALIZED (
    -- a business event names its conversation, or names none and a turn names it
    SELECT c.agent_id, c.conversation_id, b.business_event_id, b.occurred_at, b.customer_id, k.meaning
    FROM conv c
    JOIN agent_metrics.business_events b
      ON CASE WHEN b.conversation_id IS NOT NULL THEN b.conversation_id = c.conversation_id
              ELSE EXISTS (SELECT FROM e WHERE e.agent_id = c.agent_id AND e.conversation_id = c.conversation_id
                                           AND e.business_event_id = b.business_event_id) END
    LEFT JOIN agent_metrics.event_kinds k ON k.kind = b.kind
), said AS MATERIALIZED (
    SELECT e.agent_id, e.conversation_id, e.outcome_source AS source, e.outcome_label AS label, e.occurred_at,
           row_number() OVER (PARTITION BY e.agent_id, e.conversation_id, e.outcome_source
                              ORDER BY e.occurred_at DESC, coalesce(e.turn_index, -1) DESC, e.event_id DESC) AS nth
    FROM e WHERE e.outcome_label IS NOT NULL
), candidate AS (
    SELECT s.agent_id, s.conversation_id, s.label,
           CASE s.source WHEN 'human' THEN 1 WHEN 'judge' THEN 3 ELSE 4 END AS place
    FROM said s
    WHERE s.nth = 1 AND s.source <> 'crm'
      AND NOT (s.source = 'human' AND EXISTS (SELECT FROM agent_metrics.reviews r
                                              WHERE r.agent_id = s.agent_id AND r.conversation_id = s.conversation_id
                                                AND r.outcome_label IS NOT NULL))
    UNION ALL   -- a review is a person's word
    (SELECT DISTINCT ON (r.agent_id, r.conversation_id) r.agent_id, r.conversation_id, r.outcome_label, 1
     FROM agent_metrics.reviews r WHERE r.outcome_label IS NOT NULL
     ORDER BY r.agent_id, r.conversation_id, r.reviewed_at DESC, r.review_id DESC)
    -- the latest word of the business system: an event that says anything about the outcome, or a label on a turn
    UNION ALL
    (SELECT DISTINCT ON (w.agent_id, w.conversation_id) w.agent_id, w.conversation_id, w.label, 2
     FROM (SELECT s.agent_id, s.conversation_id, s.label, s.occurred_at, 1 AS rank, '' AS id
           FROM said s WHERE s.nth = 1 AND s.source = 'crm'
           UNION ALL
           SELECT x.agent_id, x.conversation_id, x.meaning, x.occurred_at, 2, x.business_event_id
           FROM crm_event x JOIN agent_metrics.outcomes o ON o.label = x.meaning) w
     ORDER BY w.agent_id, w.conversation_id, w.occurred_at DESC, w.rank DESC, w.id DESC)
), outcome AS (
    SELECT DISTINCT ON (c.agent_id, c.conversation_id) c.agent_id, c.conversation_id, o.*
    FROM candidate c JOIN agent_metrics.outcomes o ON o.label = c.label
    ORDER BY c.agent_id, c.conversation_id, c.place
), judged AS MATERIALIZED (
    SELECT c.*, o.label, o.label IS NOT NULL AND NOT o.is_open AS decided,
           coalesce(o.is_success, false) AS success, coalesce(o.is_unit, false) AS unit,
           coalesce(o.is_deflection, false) AS deflection, coalesce(o.is_escalation, false) AS escalation,
           coalesce(o.is_refusal, false) AS refusal, coalesce(o.is_automation, false) AS automation,
           EXISTS (SELECT FROM crm_event x WHERE x.agent_id = c.agent_id AND x.conversation_id = c.conversation_id
                                             AND x.meaning = 'human_touch') AS touched,
           coalesce((SELECT m.is_booking FROM crm_event x JOIN agent_metrics.outcomes m ON m.label = x.meaning
                     WHERE x.agent_id = c.agent_id AND x.conversation_id = c.conversation_id
                       AND (m.is_booking OR m.label = 'booking_cancelled')
                     ORDER BY x.occurred_at DESC, x.business_event_id DESC LIMIT 1), o.is_booking, false) AS booking,
           coalesce((SELECT m.is_qualified_lead FROM crm_event x JOIN agent_metrics.outcomes m ON m.label = x.meaning
                     WHERE x.agent_id = c.agent_id AND x.conversation_id = c.conversation_id
                       AND (m.is_qualified_lead OR m.label = 'disqualified')
                     ORDER BY x.occurred_at DESC, x.business_event_id DESC LIMIT 1), false) AS qualified,
           coalesce((SELECT x.customer_id FROM crm_event x
                     WHERE x.agent_id = c.agent_id AND x.conversation_id = c.conversation_id
                       AND x.customer_id IS NOT NULL
                     ORDER BY x.occurred_at, x.business_event_id LIMIT 1), c.user_id, c.conversation_id) AS lead_id
    FROM conv c LEFT JOIN outcome o ON o.agent_id = c.agent_id AND o.conversation_id = c.conversation_id
), lead AS (
    SELECT j.agent_id, j.lead_id, min(j.began) AS began, bool_or(j.qualified) AS qualified
    FROM judged j JOIN agent a ON a.agent_id = j.agent_id AND a.has_leads GROUP BY j.agent_id, j.lead_id
)";

/// The rollups as the oracle has them: appended to [`ORACLE`].
const ORACLE_ROLLUPS: &str = "
, fact AS (
    SELECT e.agent_id, e.occurred_at AS at, 1 AS turns,
           (e.token_usage_input IS NOT NULL OR e.token_usage_output IS NOT NULL)::int AS token_turns,
           e.token_usage_input AS tokens_input, e.token_usage_output AS tokens_output,
           (e.cost_usd IS NOT NULL)::int AS cost_turns, jsonb_array_length(e.tools_called) AS tool_calls,
           (e.error IS NOT NULL)::int AS error_turns, e.cost_usd, e.latency_ms,
           NULL::int AS conversations, NULL::int AS outcomes, NULL::int AS successes, NULL::int AS units,
           NULL::int AS deflections, NULL::int AS escalations, NULL::int AS refusals, NULL::int AS bookings,
           NULL::int AS automations, NULL::numeric AS unit_cost, NULL::numeric AS conversation_cost,
           NULL::numeric AS cost_squared, NULL::numeric AS tokens_squared, NULL::numeric AS tokens_by_turns,
           NULL::numeric AS turns_squared, NULL::int AS leads, NULL::int AS qualified_leads
    FROM e
    UNION ALL
    SELECT j.agent_id, j.began, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           1, j.decided::int, (j.decided AND j.success)::int, (j.decided AND j.unit)::int,
           (j.decided AND j.deflection AND NOT j.touched)::int, (j.decided AND j.escalation)::int,
           (j.decided AND j.refusal)::int, (j.decided AND j.booking)::int,
           (j.decided AND j.automation AND NOT j.touched)::int, CASE WHEN j.decided AND j.unit THEN j.cost END, j.cost,
           j.cost * j.cost, j.tokens::numeric * j.tokens, j.tokens::numeric * j.token_turns,
           j.token_turns::numeric * j.token_turns, NULL, NULL
    FROM judged j
    UNION ALL
    SELECT l.agent_id, l.began, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
           NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, l.qualified::int
    FROM lead l
), placed AS (
    SELECT v.level, f.*,
           CASE v.level WHEN 'fine' THEN to_timestamp(floor(extract(epoch FROM f.at) / 300) * 300)
                        WHEN 'hour' THEN date_trunc('hour', f.at, zone.z)
                        WHEN 'day' THEN (f.at AT TIME ZONE zone.z)::date::timestamp AT TIME ZONE zone.z END AS bucket
    FROM fact f JOIN agent a ON a.agent_id = f.agent_id CROSS JOIN zone
    JOIN (VALUES ('fine', 300), ('hour', 300), ('hour', 3600), ('day', 300), ('day', 3600)) AS v (level, seconds)
      ON v.seconds = a.bucket_seconds
)
SELECT p.agent_id, p.level, extract(epoch FROM p.bucket)::bigint,
       count(p.turns), coalesce(sum(p.token_turns), 0), coalesce(sum(p.tokens_input), 0),
       coalesce(sum(p.tokens_output), 0), coalesce(sum(p.cost_turns), 0), coalesce(sum(p.tool_calls), 0),
       coalesce(sum(p.error_turns), 0), trim_scale(coalesce(sum(p.cost_usd), 0)), coalesce(sum(p.conversations), 0),
       coalesce(sum(p.outcomes), 0), coalesce(sum(p.successes), 0), coalesce(sum(p.units), 0),
       coalesce(sum(p.deflections), 0), coalesce(sum(p.escalations), 0), coalesce(sum(p.refusals), 0),
       coalesce(sum(p.bookings), 0), coalesce(sum(p.automations), 0), trim_scale(coalesce(sum(p.unit_cost), 0)),
       trim_scale(coalesce(sum(p.conversation_cost), 0)), trim_scale(coalesce(sum(p.cost_squared), 0)),
       trim_scale(coalesce(sum(p.tokens_squared), 0)), trim_scale(coalesce(sum(p.tokens_by_turns), 0)),
       trim_scale(coalesce(sum(p.turns_squared), 0)), coalesce(sum(p.leads), 0), coalesce(sum(p.qualified_leads), 0),
       count(p.latency_ms), min(p.latency_ms), max(p.latency_ms), 'end of exact fields',
       percentile_disc(0.5) WITHIN GROUP (ORDER BY p.latency_ms),
       percentile_disc(0.95) WITHIN GROUP (ORDER BY p.latency_ms),
       percentile_disc(0.99) WITHIN GROUP (ORDER BY p.latency_ms)
FROM placed p
GROUP BY 1, 2, 3";

/// The rollups as they are stored, in the same columns. A bucket that everything has left stays as a row of zeros.
const STORED_ROLLUPS: &str = "
SELECT r.agent_id, r.level, extract(epoch FROM r.bucket)::bigint,
       r.turns, r.token_turns, r.tokens_input, r.tokens_output, r.cost_turns, r.tool_calls, r.error_turns,
       trim_scale(r.cost_usd), r.conversations, r.outcomes, r.successes, r.units, r.deflections, r.escalations,
       r.refusals, r.bookings, r.automations, trim_scale(r.unit_cost_usd), trim_scale(r.conversation_cost_usd),
       trim_scale(r.cost_usd_squared), trim_scale(r.tokens_squared), trim_scale(r.tokens_by_turns),
       trim_scale(r.turns_squared), r.leads, r.qualified_leads, coalesce(agent_metrics.sketch_count(r.latency), 0),
       agent_metrics.sketch_min(r.latency), agent_metrics.sketch_max(r.latency), 'end of exact fields',
       agent_metrics.percentile(r.latency, 0.5), agent_metrics.percentile(r.latency, 0.95),
       agent_metrics.percentile(r.latency, 0.99)
FROM agent_metrics_internal.rollups r
WHERE r.turns <> 0 OR r.conversations <> 0 OR r.outcomes <> 0 OR r.leads <> 0 OR r.cost_usd <> 0
   OR r.latency IS NOT NULL";

/// The conversations as the oracle has them: appended to [`ORACLE`].
const ORACLE_CONVERSATIONS: &str = "
SELECT j.agent_id, j.conversation_id, extract(epoch FROM j.began), j.label, j.decided,
       j.decided AND j.success, j.lead_id, trim_scale(j.cost)
FROM judged j";

const STORED_CONVERSATIONS: &str = "
SELECT c.agent_id, c.conversation_id, extract(epoch FROM c.started_at), c.outcome_label,
       c.has_outcome, c.is_success, c.lead_id, trim_scale(c.cost_usd)
FROM agent_metrics.conversations c";

/// What is known beside the turns, and agent hours, as the oracle has them: appended to [`ORACLE`].
const ORACLE_FACTS: &str = "
, eval_turn AS (
    SELECT v.agent_id, v.occurred_at, v.event_id FROM agent_metrics.agent_events v WHERE v.is_eval
), review AS (
    SELECT r.*, c.began, coalesce(r.occurred_at, c.began) AS at
    FROM agent_metrics.reviews r JOIN conv c ON c.agent_id = r.agent_id AND c.conversation_id = r.conversation_id
), turn_review AS (
    SELECT r.* FROM review r
    WHERE NOT EXISTS (SELECT FROM eval_turn v
                      WHERE v.agent_id = r.agent_id AND v.event_id = r.event_id AND v.occurred_at = r.occurred_at)
), crm_outcome AS (
    SELECT x.agent_id, x.conversation_id, x.occurred_at, x.business_event_id, o.is_success AND NOT o.is_open AS good
    FROM crm_event x JOIN agent_metrics.outcomes o ON o.label = x.meaning
), resolved AS (
    SELECT c.agent_id, c.began,
           (SELECT min(g.occurred_at) FROM crm_outcome g
            WHERE g.agent_id = c.agent_id AND g.conversation_id = c.conversation_id AND g.good
              AND (g.occurred_at, g.business_event_id)
                      > (SELECT coalesce(max(b.occurred_at), '-infinity'),
                                coalesce(max(b.business_event_id) FILTER (WHERE b.occurred_at = b.latest), '')
                   FROM (SELECT b.*, max(b.occurred_at) OVER () AS latest FROM crm_outcome b
                         WHERE b.agent_id = c.agent_id AND b.conversation_id = c.conversation_id AND NOT b.good) b))
               AS resolved_at
    FROM conv c
), span AS (
    SELECT e.agent_id, e.occurred_at AS s,
           e.occurred_at + least(coalesce(e.latency_ms, 0), 86400000) * interval '1 millisecond' AS t
    FROM e
), gap AS (
    SELECT s.*, max(s.t) OVER (PARTITION BY s.agent_id
                               ORDER BY s.s, s.t ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS until
    FROM span s
), island AS (
    SELECT g.*, count(*) FILTER (WHERE g.until IS NULL OR g.s > g.until + interval '30 minutes')
                    OVER (PARTITION BY g.agent_id ORDER BY g.s, g.t) AS nth
    FROM gap g
), active AS (
    SELECT i.agent_id, min(i.s) AS s, max(i.t) AS t FROM island i GROUP BY i.agent_id, i.nth
), hour_of_day AS (
    SELECT a.agent_id, d.day AT TIME ZONE zone.z AS bucket,
           extract(epoch FROM least(a.t, (d.day + interval '1 day') AT TIME ZONE zone.z)
                   - greatest(a.s, d.day AT TIME ZONE zone.z)) AS seconds
    FROM active a CROSS JOIN zone
    CROSS JOIN generate_series(date_trunc('day', a.s AT TIME ZONE zone.z), a.t AT TIME ZONE zone.z,
                               interval '1 day') AS d (day)
), fact AS (
    SELECT c.agent_id, 'tool_calls' AS measure, v.occurred_at AS at, v.is_correct::int::numeric AS x, 1::numeric AS y,
           NULL::double precision AS value
    FROM agent_metrics.tool_call_verdicts v
    JOIN conv c ON c.agent_id = v.agent_id AND c.conversation_id = v.conversation_id
    WHERE NOT EXISTS (SELECT FROM eval_turn t
                      WHERE t.agent_id = v.agent_id AND t.event_id = v.event_id AND t.occurred_at = v.occurred_at)
    UNION ALL
    SELECT c.agent_id, 'instruction_scores', v.occurred_at, v.score, 1, NULL
    FROM agent_metrics.turn_scores v JOIN conv c ON c.agent_id = v.agent_id AND c.conversation_id = v.conversation_id
    WHERE v.criterion = 'instruction_following'
      AND NOT EXISTS (SELECT FROM eval_turn t
                      WHERE t.agent_id = v.agent_id AND t.event_id = v.event_id AND t.occurred_at = v.occurred_at)
    UNION ALL
    SELECT c.agent_id, 'survey', c.began, CASE WHEN v.score > 8 THEN 100 WHEN v.score < 7 THEN -100 ELSE 0 END, 1, NULL
    FROM agent_metrics.survey_answers v JOIN conv c ON c.agent_id = v.agent_id AND c.conversation_id = v.conversation_id
    UNION ALL
    SELECT r.agent_id, 'answers', r.at,
           CASE WHEN r.answer_verdict = 'supported' THEN 0 ELSE r.weight END, r.weight, NULL
    FROM turn_review r
    WHERE r.answer_verdict IN ('supported', 'unsupported', 'contradicted')
      AND NOT EXISTS (SELECT FROM review l WHERE l.agent_id = r.agent_id AND l.conversation_id = r.conversation_id
                                             AND l.event_id IS NOT DISTINCT FROM r.event_id
                                             AND l.answer_verdict IS NOT NULL
                                             AND (l.reviewed_at, l.review_id) > (r.reviewed_at, r.review_id))
    UNION ALL
    SELECT r.agent_id, CASE WHEN r.is_in_scope THEN 'in_scope' ELSE 'out_of_scope' END, r.at,
           CASE WHEN r.is_refused THEN r.weight ELSE 0 END, r.weight, NULL
    FROM turn_review r
    WHERE r.is_in_scope IS NOT NULL
      AND NOT EXISTS (SELECT FROM review l WHERE l.agent_id = r.agent_id AND l.conversation_id = r.conversation_id
                                             AND l.event_id IS NOT DISTINCT FROM r.event_id
                                             AND l.is_in_scope IS NOT NULL
                                             AND (l.reviewed_at, l.review_id) > (r.reviewed_at, r.review_id))
    UNION ALL
    SELECT r.agent_id, m.measure, r.at, CASE WHEN m.good THEN r.weight ELSE 0 END, r.weight, NULL
    FROM turn_review r
    CROSS JOIN LATERAL (VALUES ('escalations', r.is_escalated = r.should_escalate, true),
                               ('escalated', r.should_escalate, r.is_escalated),
                               ('to_escalate', NOT r.is_escalated, r.should_escalate)) AS m (measure, good, counts)
    WHERE r.is_escalated IS NOT NULL AND m.counts
      AND NOT EXISTS (SELECT FROM review l WHERE l.agent_id = r.agent_id AND l.conversation_id = r.conversation_id
                                             AND l.event_id IS NOT DISTINCT FROM r.event_id
                                             AND l.is_escalated IS NOT NULL
                                             AND (l.reviewed_at, l.review_id) > (r.reviewed_at, r.review_id))
    UNION ALL
    SELECT q.agent_id, 'self_report', q.began, 100 * q.weight * (q.said::int - q.found::int), q.weight, NULL
    FROM (SELECT DISTINCT ON (r.agent_id, r.conversation_id) r.agent_id, r.began, r.weight,
                 a.is_success AS said, f.is_success AS found
          FROM review r
          JOIN said s ON s.agent_id = r.agent_id AND s.conversation_id = r.conversation_id AND s.source = 'agent'
           AND s.nth = 1
          JOIN agent_metrics.outcomes a ON a.label = s.label AND NOT a.is_open
          JOIN agent_metrics.outcomes f ON f.label = r.outcome_label AND NOT f.is_open
          ORDER BY r.agent_id, r.conversation_id, r.reviewed_at DESC, r.review_id DESC) q
    UNION ALL
    SELECT c.agent_id, 'revenue', c.began,
           CASE x.meaning WHEN 'charge' THEN b.amount_usd ELSE -abs(b.amount_usd) END, NULL, NULL
    FROM crm_event x
    JOIN conv c ON c.agent_id = x.agent_id AND c.conversation_id = x.conversation_id
    JOIN agent_metrics.business_events b ON b.business_event_id = x.business_event_id
    WHERE x.meaning IN ('charge', 'refund') AND b.amount_usd IS NOT NULL
    UNION ALL
    SELECT r.agent_id, 'resolutions', r.began, NULL, 1, greatest(extract(epoch FROM r.resolved_at - r.began), 0)
    FROM resolved r WHERE r.resolved_at IS NOT NULL
), fact_day AS (
    SELECT f.agent_id, f.measure, (f.at AT TIME ZONE zone.z)::date::timestamp AT TIME ZONE zone.z AS bucket,
           1 AS facts, f.x, f.y, f.value
    FROM fact f CROSS JOIN zone
    UNION ALL
    SELECT h.agent_id, 'revenue', h.bucket, NULL, 0, h.seconds, NULL FROM hour_of_day h WHERE h.seconds > 0
    UNION ALL
    -- of measurements a conversation is one fact an hour
    SELECT m.agent_id, m.measure, (m.at AT TIME ZONE zone.z)::date::timestamp AT TIME ZONE zone.z,
           CASE WHEN row_number() OVER (PARTITION BY m.agent_id, m.conversation_id, m.measure,
                                                     date_trunc('hour', m.at AT TIME ZONE zone.z)) = 1 THEN 1 END,
           m.numerator * m.weight, m.denominator * m.weight, CASE WHEN m.numerator >= 0 THEN m.numerator END
    FROM (SELECT v.*, CASE WHEN v.event_id IS NULL THEN c.began ELSE v.occurred_at END AS at
          FROM agent_metrics.measurements v
          JOIN conv c ON c.agent_id = v.agent_id AND c.conversation_id = v.conversation_id) m
    CROSS JOIN zone
    WHERE NOT EXISTS (SELECT FROM eval_turn t WHERE t.agent_id = m.agent_id AND t.event_id = m.event_id
                                                AND t.occurred_at = m.occurred_at)
)
SELECT d.agent_id, d.measure, extract(epoch FROM d.bucket)::bigint, count(d.facts), trim_scale(round(sum(d.x), 9)),
       trim_scale(round(sum(d.y), 6)), min(d.value), max(d.value)
FROM fact_day d GROUP BY 1, 2, 3";

const STORED_FACTS: &str = "
SELECT f.agent_id, f.measure, extract(epoch FROM f.bucket)::bigint, f.facts, trim_scale(round(f.numerator, 9)),
       trim_scale(round(CASE f.measure WHEN 'revenue' THEN f.denominator * 3600 ELSE f.denominator END, 6)),
       agent_metrics.sketch_min(f.sketch), agent_metrics.sketch_max(f.sketch)
FROM agent_metrics_internal.fact_days f";

/// Refreshes all agents.
pub fn refresh(session: &Session) {
    session.exec("SELECT agent_metrics.refresh()");
}

/// Panics unless `verify()` is empty and the oracle agrees with rollups and conversations.
#[track_caller]
pub fn assert_rollups(session: &Session) {
    assert_verified(session);
    assert_oracle(session);
}

/// Panics unless the oracle agrees with what is stored.
#[track_caller]
pub fn assert_oracle(session: &Session) {
    let wrong = oracle_differences(session);
    assert!(
        wrong.is_empty(),
        "{} stored rows are not what the facts give:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Rollups and conversations that are not what the oracle gives.
pub fn oracle_differences(session: &Session) -> Vec<String> {
    // The oracle is written to be read, not to be fast: no plan of it is worth compiling.
    session.exec("SET jit = off");
    let mut wrong = Vec::new();
    let expected = keyed(session, 3, &format!("{ORACLE}{ORACLE_ROLLUPS}"));
    compare(
        &expected,
        &keyed(session, 3, STORED_ROLLUPS),
        agree,
        &mut wrong,
    );
    let expected = keyed(session, 2, &format!("{ORACLE}{ORACLE_CONVERSATIONS}"));
    compare(
        &expected,
        &keyed(session, 2, STORED_CONVERSATIONS),
        |a, b| a == b,
        &mut wrong,
    );
    let expected = keyed(session, 3, &format!("{ORACLE}{ORACLE_FACTS}"));
    compare(
        &expected,
        &keyed(session, 3, STORED_FACTS),
        |a, b| a == b,
        &mut wrong,
    );
    wrong
}

type Field = Option<String>;
type Rows = BTreeMap<String, Vec<Field>>;

fn keyed(session: &Session, key_fields: usize, sql: &str) -> Rows {
    let mut rows = Rows::new();
    for mut row in session.rows(sql) {
        let fields = row.split_off(key_fields);
        let key = row
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
            .join(" ");
        assert!(rows.insert(key.clone(), fields).is_none(), "{key} twice");
    }
    rows
}

fn compare(
    expected: &Rows,
    stored: &Rows,
    same: fn(&[Field], &[Field]) -> bool,
    wrong: &mut Vec<String>,
) {
    for key in expected
        .keys()
        .chain(stored.keys())
        .collect::<BTreeSet<_>>()
    {
        match (expected.get(key), stored.get(key)) {
            (Some(expected), Some(stored)) if same(expected, stored) => {}
            (expected, stored) => wrong.push(format!(
                "{key}:\n  expected {expected:?}\n  stored   {stored:?}"
            )),
        }
    }
}

fn agree(expected: &[Field], stored: &[Field]) -> bool {
    let close = |pair: (&Field, &Field)| match pair {
        (Some(expected), Some(stored)) => {
            within(stored.parse().unwrap(), expected.parse().unwrap())
        }
        (expected, stored) => expected == stored,
    };
    expected[EXACT_FIELDS - 1].as_deref() == Some("end of exact fields")
        && expected[..EXACT_FIELDS] == stored[..EXACT_FIELDS]
        && expected[EXACT_FIELDS..]
            .iter()
            .zip(&stored[EXACT_FIELDS..])
            .all(close)
}

/// Whether a percentile is within its guaranteed error of the exact one.
pub fn within(stored: f64, exact: f64) -> bool {
    (stored - exact).abs() <= exact.abs() * RELATIVE_ERROR
}

/// Every rollup row as text, and the transaction that wrote it.
pub struct Rollups(BTreeMap<String, (String, String)>);

impl Rollups {
    /// The rollups as they are now.
    pub fn of(session: &Session) -> Self {
        let rows = session.rows(
            "SELECT r.agent_id || ' ' || (r.bucket AT TIME ZONE s.value)::date,
                    r.level || ' ' || r.bucket, r::text, r.xmin
             FROM agent_metrics_internal.rollups r JOIN agent_metrics.settings s ON s.name = 'report_time_zone'",
        );
        let text = |field: &Option<String>| field.clone().unwrap();
        Self(
            rows.iter()
                .map(|row| {
                    (
                        format!("{} {}", text(&row[0]), text(&row[1])),
                        (text(&row[2]), text(&row[3])),
                    )
                })
                .collect(),
        )
    }
}

/// `agent day` of every rollup row, of whatever level, that was written between the two moments, changed or not.
pub fn written_days(before: &Rollups, after: &Rollups) -> Vec<String> {
    let keys: BTreeSet<_> = before.0.keys().chain(after.0.keys()).collect();
    let days: BTreeSet<String> = keys
        .into_iter()
        .filter(|key| before.0.get(*key) != after.0.get(*key))
        .map(|key| key.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    days.into_iter().collect()
}

/// Refreshes after a change, asserts that the rollups are right, and that exactly these days (`agent day`) were
/// written to.
pub fn assert_only(session: &Session, before: &Rollups, days: &[&str]) {
    refresh(session);
    assert_rollups(session);
    assert_eq!(
        written_days(before, &Rollups::of(session)),
        days,
        "the days that were written to (left: they were)"
    );
}
