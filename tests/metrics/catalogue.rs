//! Each metric of the catalogue on a case small enough to be worked out by hand, with its edges. trace.rs holds every
//! one of them against its rows; support/rollups.rs against an oracle.

use crate::metrics::trace::assert_traced;
use crate::support::asserts::{assert_no_rows, assert_refused};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, Session, db};

/// A database with a support agent, its human team, and conversations `c1` .. `c9` of one turn each, an hour apart, on
/// 2 March 2026.
pub fn desk(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('team', 'support', 'O', actor => 'human'),
                agent_metrics.register_agent('bot', 'support', 'O', baseline_agent_id => 'team');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id, conversation_id, latency_ms)
         SELECT 'bot', '2026-03-02 00:00:00+00'::timestamptz + n * interval '1 hour',
                md5('c' || n)::uuid, 'c' || n, 60000
         FROM generate_series(1, 9) AS n",
    );
    refresh(&db);
    db
}

/// Numerator, denominator, value and interval of a metric on 2 March, after a refresh, books and traces in order.
pub fn on_the_day(session: &Session, metric: &str) -> String {
    refresh(session);
    assert_rollups(session);
    assert_traced(session);
    day(session, metric, "2026-03-02")
}

pub fn day(session: &Session, metric: &str, day: &str) -> String {
    session
        .lines(&format!(
            "SELECT trim_scale(round(numerator, 9)), trim_scale(round(denominator, 9)), round(value::numeric, 9),
                    round(ci_low::numeric, 6), round(ci_high::numeric, 6)
             FROM agent_kpi.kpi_daily WHERE agent_id = 'bot' AND metric = '{metric}' AND day = '{day}'"
        ))
        .concat()
}

/// Facts about turns name the turn of a conversation.
const TURN: &str = "agent_id, conversation_id, occurred_at, event_id";

#[test]
fn tool_call_accuracy_counts_calls_with_a_verdict() {
    let db = desk("catalogue_tools");
    assert_eq!(
        on_the_day(&db, "tool_call_accuracy"),
        "||||",
        "no verdict, no number"
    );
    db.exec(&format!(
        "INSERT INTO agent_metrics.tool_call_verdicts ({TURN}, call_index, tool, is_correct)
         SELECT {TURN}, n, 'lookup', n <> 2
         FROM agent_metrics.agent_events, generate_series(0, 2) AS n
         WHERE conversation_id IN ('c1', 'c2')"
    ));
    assert_eq!(
        on_the_day(&db, "tool_call_accuracy"),
        "4|6|0.666666667|0.299993|0.903229"
    );
    // a turn of an evaluation run is in no metric, whether it was one from the start or was found to be one
    db.exec("UPDATE agent_metrics.agent_events SET is_eval = true WHERE conversation_id = 'c2'");
    assert_eq!(
        on_the_day(&db, "tool_call_accuracy"),
        "2|3|0.666666667|0.207660|0.938508"
    );
    db.exec("DELETE FROM agent_metrics.tool_call_verdicts");
    assert_eq!(on_the_day(&db, "tool_call_accuracy"), "||||");
}

#[test]
fn instruction_following_score_is_a_mean_of_turns() {
    let db = desk("catalogue_scores");
    db.exec(&format!(
        "INSERT INTO agent_metrics.turn_scores ({TURN}, score)
         SELECT {TURN}, substr(conversation_id, 2)::numeric / 10
         FROM agent_metrics.agent_events WHERE conversation_id <= 'c4';
         INSERT INTO agent_metrics.turn_scores ({TURN}, criterion, score)
         SELECT {TURN}, 'tone', 1 FROM agent_metrics.agent_events"
    ));
    // .1 .2 .3 .4: mean .25, standard error sqrt(.05 / 3) / 2 = .0645497
    assert_eq!(
        on_the_day(&db, "instruction_following_score"),
        "1|4|0.250000000|0.123485|0.376515"
    );
}

#[test]
fn time_to_resolution_moves_when_a_ticket_is_reopened() {
    let db = desk("catalogue_resolution");
    let says = |id: &str, kind: &str, at: &str, conversation: &str| {
        db.exec(&format!(
            "INSERT INTO agent_metrics.business_events (
                 business_event_id, kind, occurred_at, conversation_id)
             VALUES ('{id}', '{kind}', '{at}+00', '{conversation}')"
        ));
    };
    let shown = || {
        refresh(&db);
        assert_rollups(&db);
        assert_traced(&db);
        db.lines(
            "SELECT denominator, value FROM agent_kpi.kpi_daily
             WHERE agent_id = 'bot' AND day = '2026-03-02' AND metric LIKE 'time_to%'
             ORDER BY metric",
        )
        .join(" ")
    };
    assert_eq!(shown(), "| |", "nothing is resolved");
    says("a", "ticket_resolved", "2026-03-02 01:01:40", "c1"); // 100 s
    says("b", "ticket_resolved", "2026-03-05 02:00:00", "c2"); // three days: it counts on the day of the first turn
    assert_eq!(shown(), "2|100 2|259200");
    says("c", "ticket_resolved", "2026-03-02 01:05:00", "c1"); // said again: the first word counts
    assert_eq!(shown(), "2|100 2|259200");
    says("d", "ticket_reopened", "2026-03-02 02:00:00", "c1");
    assert_eq!(shown(), "1|259200 1|259200", "NULL until resolved again");
    says("e", "ticket_resolved", "2026-03-02 03:00:00", "c1"); // 7200 s
    assert_eq!(shown(), "2|7200 2|259200");
    says("f", "ticket_escalated", "2026-03-06 00:00:00", "c2");
    says("g", "ticket_resolved", "2026-03-02 00:30:00", "c3"); // before the first turn: at once
    assert_eq!(shown(), "2|0 2|7200");
    // nobody knows the label any more: not resolved, and pending
    db.exec("DELETE FROM agent_metrics.outcomes");
    assert_eq!(shown(), "| |", "all outcomes unmapped");
    assert_eq!(
        day(&db, "task_success_rate", "2026-03-02"),
        "0|0|||",
        "all outcomes unmapped"
    );
}

#[test]
fn eval_success_rate_is_of_the_cases_that_were_graded() {
    let db = desk("catalogue_evals");
    assert_eq!(on_the_day(&db, "eval_success_rate"), "||||", "no run");
    // 200 cases: 184 pass, 6 fail, 6 end in an error, which fails, and 4 are not graded
    db.exec(
        "INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('set');
         INSERT INTO agent_metrics.eval_cases (eval_set, case_id, input)
         SELECT 'set', 'c' || n, to_jsonb(n) FROM generate_series(1, 200) AS n;
         SELECT agent_metrics.freeze_eval_set('set');
         INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set, run_at)
         VALUES ('bot', 'r1', 'set', '2026-03-02 06:00:00+00');
         INSERT INTO agent_metrics.eval_results (agent_id, run_id, case_id, passed, error)
         SELECT 'bot', 'r1', 'c' || n, CASE WHEN n <= 196 THEN n <= 190 AND n > 6 END,
                CASE WHEN n BETWEEN 191 AND 196 THEN 'timeout' END
         FROM generate_series(1, 200) AS n",
    );
    assert_eq!(
        on_the_day(&db, "eval_success_rate"),
        "184|196|0.938775510|0.896049|0.964634"
    );
    assert_eq!(day(&db, "eval_success_rate", "2026-03-03"), "||||");
}

#[test]
fn nps_delta_is_the_difference_of_two_surveys() {
    let db = db("catalogue_nps");
    db.exec(
        "SELECT agent_metrics.register_agent('team', 'support', 'O', actor => 'human'),
                agent_metrics.register_agent('bot', 'support', 'O', baseline_agent_id => 'team');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT a, '2026-03-02 10:00:00+00', a || n
         FROM unnest(ARRAY['bot', 'team']) AS a, generate_series(1, 300) AS n;
         CREATE FUNCTION pg_temp.answer(agent text, begins int, count int, score int) RETURNS void LANGUAGE sql AS
             $$INSERT INTO agent_metrics.survey_answers (agent_id, conversation_id, score)
               SELECT agent, agent || n, score FROM generate_series(begins, begins + count - 1) AS n$$;
         SELECT pg_temp.answer('bot', 1, 29, 10), pg_temp.answer('team', 1, 150, 9), pg_temp.answer('team', 151, 90, 8),
                pg_temp.answer('team', 241, 60, 0)",
    );
    assert_eq!(
        on_the_day(&db, "nps_delta"),
        "||||",
        "29 answers are too few"
    );
    db.exec(
        "SELECT pg_temp.answer('bot', 30, 91, 9), pg_temp.answer('bot', 121, 50, 7),
                pg_temp.answer('bot', 171, 30, 6)",
    );
    // 120 / 50 / 30 against 150 / 90 / 60: 45 - 30
    assert_eq!(
        on_the_day(&db, "nps_delta"),
        "900000|60000|15.000000000|1.462290|28.537710"
    );
    // a team is the baseline of no other
    assert_no_rows(
        &db,
        "SELECT metric FROM agent_kpi.kpi_daily WHERE agent_id = 'team' AND metric = 'nps_delta'",
    );
    db.exec("UPDATE agent_metrics.agents SET baseline_agent_id = NULL");
    assert_eq!(on_the_day(&db, "nps_delta"), "||||", "no baseline");
}

#[test]
fn review_rates_are_weighted_and_a_refusal_is_no_attempt() {
    let db = desk("catalogue_reviews");
    let review = |id: &str, conversation: &str, rest: &str| {
        db.exec(&format!(
            "INSERT INTO agent_metrics.reviews (review_id, agent_id, conversation_id, reviewer, {})
             VALUES ('{id}', 'bot', '{conversation}', 'team', {})",
            rest.split(':').next().unwrap(),
            rest.split(':').nth(1).unwrap()
        ));
    };
    review("1", "c1", "answer_verdict, weight: 'unsupported', 2");
    review("2", "c2", "answer_verdict, weight: 'supported', 18");
    review("3", "c3", "answer_verdict, weight: 'refused', 50");
    review("4", "c4", "note: 'no factual answer'");
    // 2 of 20; 400 / (4 + 324) = 1.2195 observations' worth
    assert_eq!(
        on_the_day(&db, "hallucination_rate"),
        "2|20|0.100000000|0.002996|0.804233"
    );
    // of two reviews of the same thing the later counts, question by question
    db.exec(
        "INSERT INTO agent_metrics.reviews (
             agent_id, conversation_id, reviewer, reviewed_at, answer_verdict)
         VALUES ('bot', 'c2', 'team', now() + interval '1 day', 'contradicted')",
    );
    assert_eq!(
        on_the_day(&db, "hallucination_rate"),
        "3|3|1.000000000|0.319066|1.000000"
    );
    // a review of a turn counts on the day of the turn
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id, conversation_id)
         VALUES ('bot', '2026-03-03 00:30:00+00', md5('late')::uuid, 'c9');
         INSERT INTO agent_metrics.reviews (
             agent_id, conversation_id, occurred_at, event_id, reviewer, answer_verdict)
         VALUES ('bot', 'c9', '2026-03-03 00:30:00+00', md5('late')::uuid, 'team', 'supported')",
    );
    on_the_day(&db, "hallucination_rate");
    assert_eq!(
        day(&db, "hallucination_rate", "2026-03-03"),
        "0|1|0.000000000|0.000000|0.793451"
    );

    review("5", "c5", "is_in_scope, is_refused: false, true");
    review("6", "c6", "is_in_scope, is_refused: false, false");
    review("7", "c7", "is_in_scope, is_refused: true, true");
    assert_eq!(
        on_the_day(&db, "out_of_scope_refusal_rate"),
        "1|2|0.500000000|0.094531|0.905469"
    );
    assert_eq!(
        on_the_day(&db, "over_refusal_rate"),
        "1|1|1.000000000|0.206549|1.000000"
    );

    for (id, conversation, escalated, should) in [
        ("e1", "c1", true, true),
        ("e2", "c2", true, false),
        ("e3", "c3", false, false),
        ("e4", "c4", false, true),
        ("e5", "c5", false, false),
    ] {
        review(
            id,
            conversation,
            &format!("is_escalated, should_escalate: {escalated}, {should}"),
        );
    }
    assert!(on_the_day(&db, "escalation_accuracy").starts_with("3|5|0.600000000|"));
    assert!(on_the_day(&db, "escalation_precision").starts_with("1|2|0.500000000|"));
    assert!(on_the_day(&db, "escalation_missed_rate").starts_with("1|2|0.500000000|"));
}

#[test]
fn self_report_gap_is_that_of_the_specification() {
    let db = db("catalogue_gap");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'bot', '2026-03-02 10:00:00+00', 'c' || n, CASE WHEN n <= 188 THEN 'success' ELSE 'failure' END
         FROM generate_series(1, 201) AS n;
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, outcome_label, weight)
         SELECT 'bot', 'c' || n, 'team', CASE WHEN n <= 172 OR n BETWEEN 189 AND 192 THEN 'resolved' ELSE 'failure' END,
                3 FROM generate_series(1, 200) AS n;
         -- a label that nobody mapped compares with nothing
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, outcome_label)
         VALUES ('bot', 'c201', 'team', 'made_up')",
    );
    // 172 both, 16 the agent alone, 4 the person alone, 8 neither, whatever each weighs
    assert_eq!(
        on_the_day(&db, "self_report_gap"),
        "3600|600|6.000000000|1.581934|10.837791"
    );
    // and the person's word is the outcome
    assert!(day(&db, "task_success_rate", "2026-03-02").starts_with("176|201|"));
}

#[test]
fn the_ratio_interval_is_that_of_the_specification() {
    let db = db("catalogue_ratio");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd, outcome_label)
         SELECT 'bot', '2026-03-02 10:00:00+00', 'c' || n, cost, CASE WHEN done THEN 'resolved' ELSE 'failure' END
         FROM unnest(ARRAY[.10, .20, .30, .05, .15, .40, .25, .12, .18, .22],
                     ARRAY[true, false, true, true, false, true, false, true, true, true])
              WITH ORDINALITY AS x (cost, done, n)",
    );
    // standard error .0776643: .281429 -+ 1.959964 times that
    let expected = "1.97|7|0.281428571|0.129209|0.433648";
    for metric in ["cost_per_unit_usd", "cost_per_resolution_usd"] {
        assert_eq!(on_the_day(&db, metric), expected);
    }
    let error =
        db.number("SELECT agent_metrics_internal.ratio_error(10, 1.97, 7, 0.4827, 1.37, 7)");
    assert!((error - 0.077_664_316_334_762_35).abs() < 1e-9, "{error}");
    // a plain sum has no interval
    assert_eq!(on_the_day(&db, "token_spend_usd"), "1.97||1.970000000||");
    let error = db.number("SELECT agent_metrics_internal.nps_error(200, 9000, 1500000)");
    assert!((error - 5.232_112_403_9).abs() < 1e-3, "{error}");
}

#[test]
fn a_conversation_over_midnight_or_with_two_labels_counts_once() {
    let db = db("catalogue_midnight");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         UPDATE agent_metrics.settings SET value = 'Europe/Berlin' WHERE name = 'report_time_zone';
         -- begins at 00:50 of 29 March in Berlin, when the clock goes forward at 02:00, and ends
         -- after the next midnight
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
         VALUES
             ('bot', '2026-03-28 23:50:00+00', 'a', 100, 0.01, 'failure'),
             ('bot', '2026-03-29 22:30:00+00', 'a', 300, 0.02, 'success'),
             ('bot', '2026-03-29 21:59:59+00', 'pending', 200, 0.04, NULL)",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_traced(&db);
    assert_eq!(
        db.lines(
            "SELECT day, metric, numerator, denominator, pending FROM agent_kpi.kpi_daily
             WHERE metric IN ('task_success_rate', 'token_spend_usd') AND numerator IS NOT NULL
               AND day < '2026-04-01'
             ORDER BY 1, 2"
        ),
        [
            "2026-03-29|task_success_rate|1|1|1",
            "2026-03-29|token_spend_usd|0.05||0",
            "2026-03-30|task_success_rate|0|0|0",
            "2026-03-30|token_spend_usd|0.02||0",
        ]
    );
}

#[test]
fn facts_that_cannot_be_are_refused() {
    let db = desk("catalogue_refusals");
    let everything = || {
        db.lines(
            "SELECT count(*) FROM agent_metrics_internal.changes UNION ALL SELECT count(*) FROM agent_metrics.reviews
             UNION ALL
             SELECT count(*) FROM agent_metrics.survey_answers
             UNION ALL SELECT count(*) FROM agent_metrics.turn_scores",
        )
    };
    let review = |columns: &str, values: &str| {
        format!(
            "INSERT INTO agent_metrics.reviews (agent_id, conversation_id, {columns}) VALUES ('bot', 'c1', {values})"
        )
    };
    for (sql, sqlstate, names) in [
        (review("reviewer, weight", "'t', 0"), "22003", "weight 0"),
        (review("reviewer, weight", "'t', -1"), "22003", "weight -1"),
        (review("reviewer, weight", "'t', 'NaN'"), "22003", "NaN"),
        (review("reviewer, weight", "'t', NULL"), "22003", "NULL"),
        (
            review("reviewer, answer_verdict", "'t', 'maybe'"),
            "22023",
            "\"maybe\"",
        ),
        (review("reviewer", "' '"), "23514", "reviewer"),
        (
            review("reviewer, is_in_scope", "'t', true"),
            "23514",
            "scope_and_refusal",
        ),
        (
            review("reviewer, is_escalated", "'t', true"),
            "23514",
            "escalation_is_judged_whole",
        ),
        (
            review("reviewer, event_id", "'t', md5('c1')::uuid"),
            "23514",
            "a_turn_has_moment_and_id",
        ),
        (
            "INSERT INTO agent_metrics.survey_answers (agent_id, conversation_id, score)
             VALUES ('bot', 'c1', 11)"
                .into(),
            "22003",
            "answer 11",
        ),
        (
            "INSERT INTO agent_metrics.survey_answers (agent_id, conversation_id, score)
             VALUES ('bot', 'c1', -1)"
                .into(),
            "22003",
            "answer -1",
        ),
        (
            format!(
                "INSERT INTO agent_metrics.turn_scores ({TURN}, score)
                 VALUES ('bot', 'c1', now(), md5('c1')::uuid, 1.01)"
            ),
            "22003",
            "score 1.01",
        ),
    ] {
        let before = everything();
        let error = assert_refused(&db, &sql, sqlstate, names);
        if sqlstate.starts_with("22") {
            assert!(
                !error.detail.is_empty() && !error.hint.is_empty(),
                "{sql}: {error}"
            );
        }
        assert_eq!(everything(), before, "{sql} changed something");
    }
    // a fact of an agent or conversation that nobody knows is kept, and counts when they are known
    db.exec(
        "INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, answer_verdict)
         VALUES ('new', 'n', 'team', 'supported'), ('bot', 'not yet', 'team', 'supported')",
    );
    refresh(&db);
    db.exec(
        "SELECT agent_metrics.register_agent('new', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('new', '2026-03-02 10:00:00+00', 'n'),
                ('bot', '2026-03-02 10:00:00+00', 'not yet')",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT agent_id, numerator, denominator FROM agent_kpi.kpi_daily
             WHERE metric = 'hallucination_rate' AND day = '2026-03-02' AND value = 0 ORDER BY 1"
        ),
        ["bot|0|1", "new|0|1"]
    );
}
