//! Every number traces to rows: the sums of trace() are the number in the views, for every metric of the catalogue, on
//! hand-made, real and random data, at hour, day and thirty days.

use crate::support::asserts::{assert_explained, assert_no_rows};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Session, db, login};

/// Numbers of a view that are not what trace() adds up to. `span` gives the first and last moment of a row.
fn untraced(session: &Session, rows: &str) -> Vec<String> {
    session.exec("SET jit = off");
    session.lines(&format!(
        "WITH k AS MATERIALIZED ({rows})
         SELECT k.agent_id, k.metric, k.begins, 'shown', k.value, k.numerator, k.denominator, 'traced', t.n,
                t.x, t.y, t.p50, t.p95
         FROM k
         CROSS JOIN LATERAL (
             SELECT count(*) AS n, sum(r.numerator) AS x, sum(r.denominator) AS y,
                    percentile_disc(0.5) WITHIN GROUP (ORDER BY r.value) AS p50,
                    percentile_disc(0.95) WITHIN GROUP (ORDER BY r.value) AS p95
             FROM agent_metrics.trace(k.metric, k.agent_id, k.begins, k.ends) r) t
         CROSS JOIN LATERAL (
             SELECT CASE WHEN k.metric LIKE '%\\_p50\\_%' THEN t.p50 WHEN k.metric LIKE '%\\_p95\\_%' THEN t.p95
                         WHEN k.metric = 'token_spend_usd'
                           OR EXISTS (SELECT FROM agent_metrics.metrics m WHERE m.metric = k.metric AND m.is_sum)
                         THEN t.x::double precision
                         ELSE (t.x / nullif(t.y, 0))::double precision END AS value) v
         WHERE (k.value IS NULL) <> (v.value IS NULL)
            OR abs(k.value - v.value) > CASE WHEN k.metric ~ '_p(50|95)_' THEN v.value / 128
                                             ELSE 1e-9 * greatest(abs(v.value), 1) END
            OR (k.value IS NOT NULL AND k.metric !~ '_p(50|95)_'
                AND (abs(k.numerator - t.x) > 1e-9 * greatest(abs(t.x), 1)
                     OR abs(coalesce(k.denominator, 0) - coalesce(t.y, 0)) > 1e-9 * greatest(abs(t.y), 1)))"
    ))
}

/// Panics unless every day, hour, month and thirty days that the views show is what trace() adds up to. Returns how
/// many days have a value, by metric.
pub fn assert_traced(session: &Session) -> Vec<String> {
    let zone = "(SELECT value FROM agent_metrics.settings WHERE name = 'report_time_zone')";
    for rows in [
        // days with anything on them or next to them
        format!(
            "SELECT k.agent_id, k.metric, k.day::timestamp AT TIME ZONE {zone} AS begins,
                    (k.day + 1)::timestamp AT TIME ZONE {zone} AS ends, k.value, k.numerator, k.denominator
             FROM agent_kpi.kpi_daily k
             WHERE k.value IS NOT NULL OR EXISTS (SELECT FROM agent_metrics_internal.rollups r
                                                  WHERE r.agent_id = k.agent_id AND r.level = 'day'
                                                  AND r.bucket = k.day::timestamp AT TIME ZONE {zone})"
        ),
        "SELECT k.agent_id, k.metric, k.hour AS begins, k.hour + interval '1 hour' AS ends, k.value,
                k.numerator, k.denominator
         FROM agent_kpi.kpi_hourly k"
        .to_owned(),
        "SELECT k.agent_id, k.metric, k.bucket AS begins, m.ends, k.value,
                k.numerator, k.denominator
         FROM agent_metrics_internal.window_values k
         JOIN agent_metrics_internal.window_measures m USING (agent_id, span)"
        .to_owned(),
        "SELECT k.agent_id, k.metric, k.bucket AS begins, m.ends, k.value,
                k.numerator, k.denominator
         FROM agent_metrics_internal.monthly_values k
         JOIN agent_metrics_internal.monthly_measures m USING (agent_id, bucket)"
        .to_owned(),
    ] {
        let wrong = untraced(session, &rows);
        assert!(
            wrong.is_empty(),
            "{} numbers are not what trace() adds up to:\n{}",
            wrong.len(),
            wrong[..wrong.len().min(20)].join("\n")
        );
    }
    session.lines(
        "SELECT metric, count(value)
         FROM agent_kpi.kpi_daily GROUP BY metric HAVING count(value) > 0 ORDER BY metric",
    )
}

/// Facts of every sort about conversations that are there, from a seed: reviews with weights, scores, verdicts,
/// answers, charges and bills; and a human team as the baseline.
pub fn random_facts(session: &Session, seed: u32) {
    session.exec(&format!(
        "CREATE FUNCTION pg_temp.dice(a text, sides int) RETURNS int LANGUAGE sql IMMUTABLE
         RETURN abs(hashtext(a || '-{seed}')) % sides;
         INSERT INTO agent_metrics.tool_call_verdicts (
             agent_id, conversation_id, occurred_at, event_id, call_index, is_correct)
         SELECT agent_id, conversation_id, occurred_at, event_id, n, pg_temp.dice('v' || event_id || n, 10) > 1
         FROM agent_metrics.agent_events, generate_series(0, 1) AS n WHERE pg_temp.dice('v' || event_id, 3) = 0;
         INSERT INTO agent_metrics.turn_scores (agent_id, conversation_id, occurred_at, event_id, score, criterion)
         SELECT agent_id, conversation_id, occurred_at, event_id, pg_temp.dice('s' || event_id, 101) / 100.0,
                CASE WHEN pg_temp.dice('c' || event_id, 9) = 0 THEN 'tone' ELSE 'instruction_following' END
         FROM agent_metrics.agent_events WHERE pg_temp.dice('s' || event_id, 3) = 1;
         INSERT INTO agent_metrics.survey_answers (answer_id, agent_id, conversation_id, score)
         SELECT c.agent_id || c.conversation_id || n, c.agent_id, c.conversation_id,
                pg_temp.dice('n' || c.conversation_id || n, 11)
         FROM agent_metrics.conversations c, generate_series(1, 12) AS n;
         INSERT INTO agent_metrics.reviews (review_id, agent_id, conversation_id, occurred_at, event_id, reviewer,
                                            reviewed_at, weight, outcome_label, answer_verdict, is_in_scope, is_refused,
                                            is_escalated, should_escalate)
         SELECT format('%s-%s-%s', e.agent_id, e.event_id, n), e.agent_id, e.conversation_id,
                CASE WHEN d.turn THEN e.occurred_at END, CASE WHEN d.turn THEN e.event_id END, 'team',
                '2026-05-01 00:00:00+00'::timestamptz + pg_temp.dice('a' || e.event_id || n, 900) * interval '1 minute',
                0.5 + pg_temp.dice('w' || e.event_id || n, 40),
                (ARRAY['success', 'failure', 'resolved', 'made_up', 'reopened', NULL])[
                    1 + pg_temp.dice('l' || e.event_id || n, 6)],
                (ARRAY['supported', 'supported', 'unsupported', 'contradicted', 'refused', NULL])[
                    1 + pg_temp.dice('h' || e.event_id || n, 6)],
                d.scope, CASE WHEN d.scope IS NOT NULL THEN pg_temp.dice('r' || e.event_id || n, 2) = 0 END,
                d.escalated, CASE WHEN d.escalated IS NOT NULL THEN pg_temp.dice('e' || e.event_id || n, 3) = 0 END
         FROM agent_metrics.agent_events e, generate_series(1, 2) AS n
         CROSS JOIN LATERAL (SELECT pg_temp.dice('t' || e.event_id || n, 2) = 0 AS turn,
                                    (ARRAY[true, false, NULL])[1 + pg_temp.dice('o' || e.event_id || n, 3)] AS scope,
                                    (ARRAY[true, false, NULL])[
                                        1 + pg_temp.dice('q' || e.event_id || n, 3)] AS escalated) d
         WHERE pg_temp.dice('x' || e.event_id || n, 4) = 0;
         INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, amount_usd)
         SELECT format('money-%s-%s', c.agent_id, c.conversation_id) || n,
                CASE WHEN n = 1 THEN 'charge' ELSE 'refund' END, c.started_at + n * interval '40 days',
                c.conversation_id, pg_temp.dice('m' || c.conversation_id || n, 10000) / 100.0
         FROM agent_metrics.conversations c, generate_series(1, 2) AS n
         WHERE pg_temp.dice('b' || c.conversation_id || n, 2 * n) = 0;
         INSERT INTO agent_metrics.infrastructure_costs (cost_id, agent_id, period_start, period_end, amount_usd)
         SELECT 'own-' || a.agent_id, a.agent_id, '2026-02-20 05:00:00+00', '2026-03-20 07:00:00+00', 31.07
         FROM agent_metrics.agents a WHERE a.agent_id <> 'ops';
         INSERT INTO agent_metrics.infrastructure_costs (cost_id, agent_id, period_start, period_end, amount_usd)
         VALUES ('shared', NULL, '2026-03-02 06:00:00+00', '2026-03-09 18:00:00+00', 99.99),
                          ('credit', NULL, '2026-03-05 00:00:00+00', '2026-03-06 00:00:00+00', -1.5),
                          ('idle', NULL, '2025-01-01 00:00:00+00', '2025-02-01 00:00:00+00', 5);
         INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('set');
         INSERT INTO agent_metrics.eval_cases (eval_set, case_id, input)
         SELECT 'set', 'c' || n, to_jsonb(n) FROM generate_series(1, 200) AS n;
         SELECT agent_metrics.freeze_eval_set('set');
         INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set, run_at)
         SELECT a, 'run' || d, 'set', '2026-03-01 22:30:00+00'::timestamptz + d * interval '9 hours'
         FROM unnest(ARRAY['sup', 'ops']) AS a, generate_series(0, 5) AS d;
         INSERT INTO agent_metrics.eval_results (agent_id, run_id, case_id, passed, error)
         SELECT r.agent_id, r.run_id, c.case_id, CASE pg_temp.dice(r.agent_id || r.run_id || c.case_id, 10)
                                                     WHEN 0 THEN NULL WHEN 1 THEN false ELSE true END,
                CASE pg_temp.dice('e' || r.run_id || c.case_id, 30) WHEN 0 THEN 'timeout' END
         FROM agent_metrics.eval_runs r CROSS JOIN agent_metrics.eval_cases c"
    ));
}

/// The catalogue.
const METRICS: [&str; 27] = [
    "automation_rate",
    "booking_conversion_rate",
    "cost_per_qualified_lead_usd",
    "cost_per_resolution_usd",
    "cost_per_unit_usd",
    "deflection_rate",
    "escalation_accuracy",
    "escalation_missed_rate",
    "escalation_precision",
    "eval_success_rate",
    "hallucination_rate",
    "infra_cost_per_agent_hour_usd",
    "instruction_following_score",
    "latency_p50_ms",
    "latency_p95_ms",
    "nps_delta",
    "out_of_scope_refusal_rate",
    "over_refusal_rate",
    "qualified_lead_rate",
    "revenue_per_agent_hour_usd",
    "self_report_gap",
    "task_success_rate",
    "time_to_resolution_p50_s",
    "time_to_resolution_p95_s",
    "token_spend_usd",
    "tokens_per_turn",
    "tool_call_accuracy",
];

#[test]
fn trace_adds_up_to_every_metric_on_random_data() {
    for (seed, zone) in [(1, "UTC"), (2, "Asia/Kolkata")] {
        let db = shop(&format!("trace_random_{seed}"));
        db.exec(&format!(
            "UPDATE agent_metrics.settings SET value = '{zone}' WHERE name = 'report_time_zone'"
        ));
        db.exec(
            "SELECT agent_metrics.register_agent(
                 'team', 'support', 'Head of Support', actor => 'human');
             SELECT agent_metrics.register_agent(a, k, 'O', baseline_agent_id => 'team')
             FROM (VALUES ('sup', 'support'), ('sal', 'sales'), ('ops', 'ops')) AS x (a, k);
             INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, event_id, conversation_id, latency_ms, cost_usd,
                 outcome_label, is_eval)
             SELECT 'team', occurred_at, event_id, 'team' || conversation_id, latency_ms * 900,
                    cost_usd, outcome_label, turn_index = 0 AND conversation_id LIKE '%-3'
             FROM agent_metrics.agent_events WHERE agent_id = 'sup'",
        );
        refresh(&db);
        random_facts(&db, seed);
        refresh(&db);
        assert_rollups(&db);
        let counted = assert_traced(&db);
        let metrics: Vec<&str> = counted
            .iter()
            .map(|line| line.split('|').next().unwrap())
            .collect();
        assert_eq!(metrics, METRICS, "each has days with a value");
        // and after the facts have changed
        db.exec(
            "UPDATE agent_metrics.reviews SET weight = weight * 2, answer_verdict = 'supported'
             WHERE pg_temp.dice(review_id, 2) = 0;
             DELETE FROM agent_metrics.tool_call_verdicts WHERE call_index = 1;
             UPDATE agent_metrics.agent_events SET latency_ms = 5000000 WHERE conversation_id = 'sup-4-1';
             DELETE FROM agent_metrics.agent_events WHERE conversation_id IN ('sup-5-2', 'sal-5-2');
             UPDATE agent_metrics.agent_events
             SET occurred_at = occurred_at - interval '1 day' WHERE conversation_id = 'sup-6-0';
             UPDATE agent_metrics.business_events SET amount_usd = 7 WHERE business_event_id LIKE 'money%1';
             INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id)
             SELECT 'again' || d, 'ticket_reopened', '2026-04-01', format('sup-%s-0', d)
             FROM generate_series(0, 9, 5) AS d",
        );
        refresh(&db);
        assert_rollups(&db);
        assert_traced(&db);
        // built from nothing it is the same
        db.exec("SELECT agent_metrics.rebuild()");
        assert_rollups(&db);
        assert_traced(&db);
    }
}

#[test]
fn explain_metric_tells_where_a_number_comes_from() {
    let db = shop("trace_explain");
    db.exec(
        "UPDATE agent_metrics.owners
         SET contact = 'support@example.com', deputy = 'Head of Operations'
         WHERE owner = 'Head of Support';
         UPDATE agent_metrics.thresholds
         SET review_on = '2027-01-01' WHERE agent_id = 'sup' AND metric = 'task_success_rate'",
    );
    let explained = "SELECT e.value, e.numerator, e.denominator, e.verdict, e.needed, e.threshold, e.owner, e.contact,
                            e.deputy, e.review_on, e.definition_version,
                            e.definition LIKE 'Conversations whose outcome%', e.refreshed_at IS NOT NULL, e.trace_rows
                     FROM agent_metrics.explain_metric('task_success_rate', 'sup', '2026-03-02') e";
    assert_eq!(
        db.lines(explained),
        [
            "1|4|4|inconclusive|45|0.92|Head of Support|support@example.com|Head of Operations|2027-01-01|1|t|t|4"
        ]
    );
    let checksum = || {
        db.value("SELECT trace_checksum FROM agent_metrics.explain_metric('task_success_rate', 'sup', '2026-03-02')")
            .unwrap()
    };
    let before = checksum();
    assert_eq!(checksum(), before);
    db.exec(
        "UPDATE agent_metrics.agent_events
         SET outcome_label = 'failure' WHERE conversation_id = 'sup-1-1' AND turn_index = 2",
    );
    refresh(&db);
    assert_ne!(checksum(), before, "other rows, another checksum");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.explain_metric('task_success_rate', 'sup', '2031-01-01')",
    );
}

#[test]
fn trace_refuses_what_it_does_not_know() {
    let db = db("trace_refuses");
    db.exec("SELECT agent_metrics.register_agent('bot', 'support', 'O')");
    for (arguments, names) in [
        ("'magic', 'bot', '2026-03-01', '2026-03-02'", "\"magic\""),
        (
            "'task_success_rate', 'nobody', '2026-03-01', '2026-03-02'",
            "\"nobody\"",
        ),
        (
            "'task_success_rate', 'bot', '2026-03-02', '2026-03-01'",
            "2026-03-02",
        ),
        ("'task_success_rate', 'bot', NULL, '2026-03-01'", "NULL"),
    ] {
        assert_explained(
            &db,
            &format!("SELECT * FROM agent_metrics.trace({arguments})"),
            "22023",
            names,
        );
    }
}

#[test]
fn who_may_not_read_turns_is_told_what_he_may() {
    let db = shop("setup_trace");
    let (name, session) = login(&db, "reader");
    for level in ["reader", "writer"] {
        db.exec(&format!(
            "SELECT agent_metrics.grant_access('{name}', '{level}')"
        ));
        for call in [
            "SELECT * FROM agent_metrics.trace('task_success_rate', 'sup', '2026-03-01', '2026-03-02')",
            "SELECT * FROM agent_metrics.explain_metric('task_success_rate', 'sup', '2026-03-01')",
        ] {
            let error = assert_explained(&session, call, "42501", &name);
            assert!(
                error.hint.contains("failing_conversations") && error.hint.contains("'admin'"),
                "{error}"
            );
        }
    }
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'admin')"
    ));
    session.exec(
        "SELECT * FROM agent_metrics.trace('task_success_rate', 'sup', '2026-03-01', '2026-03-02')",
    );
    drop(session);
    db.exec(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}
