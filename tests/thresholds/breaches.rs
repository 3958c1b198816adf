//! Breaches: opened once, acknowledged with cause and action, closed on recovery, the same story within a day; nothing
//! flaps at the line, and no verdict differs from the exact one.

use crate::support::asserts::{assert_explained, assert_no_rows, assert_refused, assert_sqlstate};
use crate::support::program::works;
use crate::support::rollups::refresh;
use crate::support::{Db, Session, db};

/// An agent with so many successes and failures today, and one threshold: 0.92 of success.
fn agent(name: &str, successes: u32, failures: u32) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         DELETE FROM agent_metrics.thresholds WHERE metric <> 'task_success_rate';
         UPDATE agent_metrics.owners SET contact = '#support', deputy = 'Head of Operations'",
    );
    outcomes(&db, "success", successes);
    outcomes(&db, "failure", failures);
    refresh(&db);
    db
}

fn outcomes(session: &Session, label: &str, count: u32) {
    session.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'bot', date_trunc('day', now(), 'UTC'),
                format('%s-%s', gen_random_uuid(), n), '{label}'
         FROM generate_series(1, {count}) AS n"
    ));
}

fn evaluate(session: &Session) -> Vec<String> {
    session.lines(
        "SELECT agent_id, metric, change, round(value::numeric, 3), threshold, owner
         FROM agent_metrics.evaluate_thresholds()",
    )
}

#[test]
fn a_breach_opens_once_is_acknowledged_closes_and_reopens_as_the_same_story() {
    let db = agent("breach_story", 172, 28);
    assert_eq!(
        evaluate(&db),
        ["bot|task_success_rate|opened|0.860|0.92|Head of Support"]
    );
    for _ in 0..3 {
        assert_eq!(evaluate(&db), [""; 0], "it is open already");
    }
    assert_eq!(
        db.lines(
            "SELECT agent_id, metric, round(value::numeric, 3), threshold, owner, deputy, contact, acknowledged_by,
                    window_to - window_from, window_to = (now() AT TIME ZONE 'UTC')::date, closed_at
             FROM agent_kpi.open_breaches"
        ),
        ["bot|task_success_rate|0.860|0.92|Head of Support|Head of Operations|#support||29|t|"]
    );
    let breach = db
        .value("SELECT breach_id FROM agent_kpi.open_breaches")
        .unwrap();
    // refusals of acknowledge(), and that nothing changed
    for (arguments, sqlstate, names) in [
        ("'no-such', 'me', 'why'".to_owned(), "22023", "\"no-such\""),
        (format!("'{breach}', ' ', 'why'"), "22023", "a name"),
        (format!("'{breach}', 'me', NULL"), "22023", "a cause"),
    ] {
        assert_explained(
            &db,
            &format!("SELECT agent_metrics.acknowledge({arguments})"),
            sqlstate,
            names,
        );
    }
    assert_eq!(
        db.value("SELECT acknowledged_at FROM agent_kpi.open_breaches"),
        None
    );
    db.exec(&format!(
        "SELECT agent_metrics.acknowledge('{breach}', 'Head of Support', 'the CRM was down',
                                          action => 'retry for an hour')"
    ));
    let error = assert_sqlstate(
        &db,
        &format!("SELECT agent_metrics.acknowledge('{breach}', 'another', 'no')"),
        "55000",
    );
    assert!(
        error.detail.contains("Head of Support") && error.detail.contains("the CRM was down"),
        "{error}"
    );

    // 192 of 200 more: inconclusive, and the story goes on; then clear, and it ends
    outcomes(&db, "success", 190);
    refresh(&db);
    assert_eq!(evaluate(&db), [""; 0]);
    assert_eq!(
        db.lines(
            "SELECT verdict FROM agent_metrics_internal.window_values
             WHERE span = 'to_today' AND metric = 'task_success_rate'"
        ),
        ["inconclusive"]
    );
    assert_eq!(
        db.lines("SELECT round(value::numeric, 4), closed_at FROM agent_kpi.open_breaches"),
        ["0.9282|"],
        "it shows the latest value"
    );
    outcomes(&db, "success", 600);
    refresh(&db);
    assert_eq!(
        evaluate(&db),
        ["bot|task_success_rate|closed|0.972|0.92|Head of Support"]
    );
    assert_eq!(evaluate(&db), [""; 0]);
    assert_no_rows(&db, "SELECT * FROM agent_kpi.open_breaches");

    // within a day: the same story, acknowledged as it was
    outcomes(&db, "failure", 200);
    refresh(&db);
    assert_eq!(
        evaluate(&db),
        ["bot|task_success_rate|reopened|0.808|0.92|Head of Support"]
    );
    assert_eq!(
        db.lines(
            "SELECT breach_id, acknowledged_by, cause, action, reopenings, reopened_at IS NOT NULL
             FROM agent_kpi.open_breaches"
        ),
        [format!(
            "{breach}|Head of Support|the CRM was down|retry for an hour|1|t"
        )]
    );
    // later: another one
    db.exec(
        "UPDATE agent_metrics_internal.breaches
         SET closed_at = now() - interval '25 hours', opened_at = now() - interval '3 days'",
    );
    assert_eq!(
        evaluate(&db),
        ["bot|task_success_rate|opened|0.808|0.92|Head of Support"]
    );
    assert_eq!(
        db.lines("SELECT acknowledged_by, closed_at IS NULL FROM agent_kpi.breach_history ORDER BY opened_at"),
        ["Head of Support|f", "|t"]
    );
    // a threshold that is taken back holds nobody to anything
    db.exec("DELETE FROM agent_metrics.thresholds");
    assert_eq!(
        evaluate(&db),
        ["bot|task_success_rate|closed||0.92|Head of Support"]
    );
}

#[test]
fn verdicts_are_those_of_the_specification_and_nothing_flaps_at_the_line() {
    let db = agent("breach_verdicts", 184, 16);
    let verdict = || {
        db.value(
            "SELECT verdict FROM agent_metrics_internal.window_values
             WHERE span = 'to_today' AND metric = 'task_success_rate'",
        )
        .unwrap()
    };
    assert_eq!(verdict(), "inconclusive");
    assert_eq!(evaluate(&db), [""; 0]);
    // one more, one less: the interval straddles the line all the while
    for label in ["failure", "success", "success", "failure", "success"] {
        outcomes(&db, label, 1);
        refresh(&db);
        assert_eq!(verdict(), "inconclusive");
        assert_eq!(evaluate(&db), [""; 0]);
    }
    db.exec("DELETE FROM agent_metrics.agent_events");
    refresh(&db);
    assert_eq!(verdict(), "no_data");
    assert_eq!(evaluate(&db), [""; 0]);
    outcomes(&db, "success", 192);
    outcomes(&db, "failure", 8);
    refresh(&db);
    assert_eq!(verdict(), "pass");
    // hallucinations: 0 of 252 settles nothing, 0 of 253 does, 8 of 200 is a breach
    db.exec(
        "INSERT INTO agent_metrics.thresholds (agent_id, metric, value, owner)
         VALUES ('bot', 'hallucination_rate', 0.015, 'Head of Support');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT 'bot', date_trunc('day', now(), 'UTC'), 'h' || n FROM generate_series(1, 253) AS n;
         INSERT INTO agent_metrics.reviews (review_id, agent_id, conversation_id, reviewer, answer_verdict)
         SELECT n, 'bot', 'h' || n, 'team', 'supported' FROM generate_series(1, 252) AS n",
    );
    let reviewed = || {
        refresh(&db);
        db.lines(
            "SELECT verdict, numerator, denominator FROM agent_metrics_internal.window_values
             WHERE span = 'to_today' AND metric = 'hallucination_rate'",
        )
        .concat()
    };
    assert_eq!(reviewed(), "inconclusive|0|252");
    db.exec(
        "INSERT INTO agent_metrics.reviews (
             review_id, agent_id, conversation_id, reviewer, answer_verdict)
         VALUES (253, 'bot', 'h253', 'team', 'supported')",
    );
    assert_eq!(reviewed(), "pass|0|253");
    db.exec(
        "DELETE FROM agent_metrics.reviews WHERE review_id::int > 200;
         UPDATE agent_metrics.reviews
         SET answer_verdict = 'contradicted' WHERE review_id::int <= 8",
    );
    assert_eq!(reviewed(), "breach|8|200");
    assert_eq!(
        evaluate(&db),
        ["bot|hallucination_rate|opened|0.040|0.015|Head of Support"]
    );
}

#[test]
fn a_verdict_on_a_percentile_is_the_exact_one_at_the_line() {
    let db = db("breach_percentile");
    // 400 values close together, each other than what a sketch makes of them
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         SELECT 'bot', date_trunc('day', now(), 'UTC') - interval '12 hours',
                'c' || n, 2900 + n * 0.37
         FROM generate_series(1, 400) AS n",
    );
    refresh(&db);
    let (mut seen, mut differ) = (std::collections::BTreeSet::new(), 0);
    // the ranks that bound p95 of 400 values are 372 and 389: a line between any two values around them
    for rank in (368..=393).step_by(1) {
        for line in [
            f64::from(rank) * 0.37 + 2900.0,
            f64::from(rank) * 0.37 + 2900.1,
        ] {
            db.exec(&format!(
                "UPDATE agent_metrics.thresholds SET value = {line} WHERE metric = 'latency_p95_ms'"
            ));
            let exact = db.value(&format!(
                "WITH v AS (SELECT latency_ms AS x, row_number() OVER (ORDER BY latency_ms) AS nth
                            FROM agent_metrics.agent_events)
                 SELECT CASE WHEN (SELECT x FROM v WHERE nth = 389) <= {line} THEN 'pass'
                             WHEN (SELECT x FROM v WHERE nth = 372) > {line} THEN 'breach'
                             ELSE 'inconclusive' END"
            ));
            for view in [
                "agent_metrics_internal.window_values WHERE span = '30d' AND",
                "agent_kpi.kpi_daily WHERE day = (now() AT TIME ZONE 'UTC')::date - 1 AND",
                "agent_kpi.kpi_hourly WHERE",
            ] {
                assert_eq!(
                    db.value(&format!(
                        "SELECT verdict FROM {view} metric = 'latency_p95_ms'"
                    )),
                    exact,
                    "{view} at {line}"
                );
            }
            let by_sketch = db.value(&format!(
                "SELECT CASE WHEN ci_high <= {line} THEN 'pass'
                             WHEN ci_low > {line} THEN 'breach'
                             ELSE 'inconclusive' END
                 FROM agent_metrics_internal.window_values WHERE span = '30d' AND metric = 'latency_p95_ms'"
            ));
            differ += u32::from(by_sketch != exact);
            seen.insert(exact.unwrap());
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(
        differ > 0,
        "the sketch alone would have been wrong somewhere"
    );
}

#[test]
fn two_evaluations_at_once_open_one_breach() {
    let db = agent("breach_at_once", 100, 100);
    let sessions: Vec<Session> = (0..4).map(|_| db.session()).collect();
    let changes: usize = std::thread::scope(|scope| {
        let calls: Vec<_> = sessions
            .iter()
            .map(|session| scope.spawn(|| evaluate(session).len()))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).sum()
    });
    assert_eq!(changes, 1);
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics_internal.breaches"),
        1.0
    );
}

#[test]
fn the_program_evaluates_after_its_refreshes() {
    let db = agent("breach_program", 100, 100);
    db.exec("UPDATE agent_metrics_internal.agent_watermarks SET refreshed_at = now() - interval '1 hour'");
    works(db.url(), &["once"]);
    assert_eq!(
        db.lines("SELECT metric FROM agent_kpi.open_breaches"),
        ["task_success_rate"]
    );
}

#[test]
fn thresholds_have_ends_owners_and_kinds() {
    let db = agent("breach_thresholds", 10, 0);
    db.exec("SELECT agent_metrics.register_agent('other', 'support', 'Head of Support')");
    let thresholds = "SELECT agent_id, metric, effective_from, effective_to,
                             value, owner, is_from_kind
                      FROM agent_metrics.thresholds
                      WHERE metric = 'tool_call_accuracy' ORDER BY 1, 3";
    db.exec(
        "INSERT INTO agent_metrics.thresholds (
             agent_id, metric, effective_from, effective_to, value, owner)
         VALUES ('bot', 'tool_call_accuracy', '2026-02-01', '2026-02-28', 0.9, 'Head of Support')",
    );
    for (sql, sqlstate, names) in [
        // overlapping, from either side and around
        (
            "INSERT INTO agent_metrics.thresholds (agent_id, metric, effective_from, value, owner)
             VALUES ('bot', 'tool_call_accuracy', '2026-02-28', 0.8, 'Head of Support')",
            "23P01",
            "2026-02-28",
        ),
        (
            "INSERT INTO agent_metrics.thresholds (
                 agent_id, metric, effective_from, effective_to, value, owner)
             VALUES ('bot', 'tool_call_accuracy', '2026-01-01', '2026-02-01',
                     0.8, 'Head of Support')",
            "23P01",
            "2026-02-01",
        ),
        (
            "INSERT INTO agent_metrics.thresholds (
                 agent_id, metric, effective_from, effective_to, value, owner)
             VALUES ('bot', 'tool_call_accuracy', '2026-01-01', '2027-02-01',
                     0.8, 'Head of Support')",
            "23P01",
            "2026-02-01",
        ),
        (
            "UPDATE agent_metrics.thresholds SET effective_to = '2026-01-01' WHERE metric = 'tool_call_accuracy'",
            "22023",
            "2026-01-01",
        ),
        (
            "INSERT INTO agent_metrics.thresholds (agent_id, metric, effective_from, value, owner)
             VALUES ('bot', 'tool_call_accuracy', '2026-02-01', 0.8, 'Head of Support')",
            "23505",
            "duplicate",
        ),
        (
            "INSERT INTO agent_metrics.kind_thresholds (kind, metric, value, owner)
             VALUES ('support', 'tool_call_accuracy', 1.5, 'Head of Support')",
            "22003",
            "1.5",
        ),
        (
            "INSERT INTO agent_metrics.kind_thresholds (kind, metric, value, owner)
             VALUES ('support', 'magic', 0.5, 'Head of Support')",
            "22023",
            "\"magic\"",
        ),
        (
            "INSERT INTO agent_metrics.kind_thresholds (kind, metric, value, owner)
             VALUES ('support', 'tool_call_accuracy', 0.5, ' ')",
            "23502",
            "\"support\"",
        ),
        (
            "INSERT INTO agent_metrics.thresholds (agent_id, metric, value, owner)
             VALUES ('bot', 'nps_delta', 201, 'Head of Support')",
            "22003",
            "201",
        ),
    ] {
        let before = db.lines(thresholds);
        assert_refused(&db, sql, sqlstate, names);
        assert_eq!(db.lines(thresholds), before, "{sql} changed something");
    }
    // a gap: no line holds
    db.exec(
        "INSERT INTO agent_metrics.thresholds (agent_id, metric, effective_from, value, owner)
         VALUES ('bot', 'tool_call_accuracy', '2026-03-02', 0.8, 'Head of Support')",
    );
    // a kind's line: the agent that has its own keeps it, also one registered later follows, an edit makes
    // it the agent's own
    db.exec(
        "INSERT INTO agent_metrics.kind_thresholds (kind, metric, effective_from, value, owner)
         VALUES ('support', 'tool_call_accuracy', '2026-01-01', 0.7, 'Head of Support');
         SELECT agent_metrics.register_agent('later', 'support', 'Head of Support');
         UPDATE agent_metrics.thresholds SET value = 0.75 WHERE agent_id = 'later' AND metric = 'tool_call_accuracy';
         UPDATE agent_metrics.kind_thresholds SET value = 0.6",
    );
    assert_eq!(
        db.lines(thresholds),
        [
            "bot|tool_call_accuracy|2026-02-01|2026-02-28|0.9|Head of Support|f",
            "bot|tool_call_accuracy|2026-03-02||0.8|Head of Support|f",
            "later|tool_call_accuracy|2026-01-01||0.75|Head of Support|f",
            "other|tool_call_accuracy|2026-01-01||0.6|Head of Support|t",
        ]
    );
    // a kind's threshold that names no owner is each agent's owner's
    db.exec(
        "UPDATE agent_metrics.kind_thresholds SET owner = NULL WHERE metric = 'tool_call_accuracy';
         UPDATE agent_metrics.agents SET owner = 'Head of Support' WHERE agent_id = 'other'",
    );
    assert_eq!(
        db.value(
            "SELECT owner FROM agent_metrics.thresholds
             WHERE agent_id = 'other' AND metric = 'tool_call_accuracy'"
        ),
        Some("Head of Support".to_owned())
    );
    db.exec("DELETE FROM agent_metrics.kind_thresholds");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.thresholds WHERE agent_id = 'other' AND metric = 'tool_call_accuracy'",
    );
}

#[test]
fn people_are_not_held_to_the_thresholds_of_machines() {
    let db = db("human_thresholds");
    let held = |agent: &str| {
        db.number(&format!(
            "SELECT count(*) FROM agent_metrics.thresholds WHERE agent_id = '{agent}'"
        ))
    };
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support'),
                agent_metrics.register_agent('team', 'support', 'Head of Support', actor => 'human');
         INSERT INTO agent_metrics.kind_thresholds (kind, metric, value) VALUES ('support', 'tool_call_accuracy', 0.9)",
    );
    assert_eq!((held("bot"), held("team")), (6.0, 0.0));
    // one of its own stays, what came from the kind goes when it turns out that it is people
    db.exec(
        "INSERT INTO agent_metrics.thresholds (agent_id, metric, value, owner)
         VALUES ('bot', 'nps_delta', 0, 'Head of Support');
         SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support', actor => 'human')",
    );
    assert_eq!(held("bot"), 1.0);
}
