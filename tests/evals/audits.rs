//! Audits: frozen sets, runs, drift after a planted regression; every refusal. Real runs are in statistics.rs.

use crate::support::asserts::{assert_sqlstate, refused_by_us};
use crate::support::{Db, Session, db};

/// A frozen set of 200 cases and an agent.
pub fn frozen(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('v1');
         INSERT INTO agent_metrics.eval_cases (eval_set, case_id, input)
         SELECT 'v1', 'c' || n, to_jsonb(n) FROM generate_series(1, 200) AS n;
         SELECT agent_metrics.freeze_eval_set('v1')",
    );
    db
}

/// A run in which the cases of the condition pass.
pub fn run(db: &Session, run_id: &str, run_at: &str, passes: &str) {
    db.exec(&format!(
        "SELECT agent_metrics.record_eval_run('bot', '{run_id}', 'v1',
             (SELECT jsonb_agg(jsonb_build_object(
                  'case_id', 'c' || n, 'passed', {passes}, 'latency_ms', 100 + n, 'cost_usd', 0.01))
              FROM generate_series(1, 200) AS n),
             run_at => {run_at})"
    ));
}

fn drift(db: &Session, run_id: &str, columns: &str) -> Vec<String> {
    db.lines(&format!(
        "SELECT metric, {columns} FROM agent_metrics.drift('{run_id}')"
    ))
}

#[test]
fn a_hash_is_of_the_content_and_not_of_its_order() {
    let db = frozen("audits_hash");
    db.exec(
        "INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('reversed'), ('changed');
         INSERT INTO agent_metrics.eval_cases SELECT 'reversed', case_id, category, input, expected
         FROM agent_metrics.eval_cases WHERE eval_set = 'v1' ORDER BY input::integer DESC;
         INSERT INTO agent_metrics.eval_cases
         SELECT 'changed', case_id, category, input, CASE case_id WHEN 'c7' THEN '1'::jsonb END
         FROM agent_metrics.eval_cases WHERE eval_set = 'v1';
         SELECT agent_metrics.freeze_eval_set(eval_set) FROM agent_metrics.eval_sets",
    );
    assert_eq!(
        db.lines(
            "SELECT string_agg(eval_set, '+' ORDER BY eval_set), min(case_count)
             FROM agent_metrics.eval_sets GROUP BY content_hash ORDER BY 1"
        ),
        ["changed|200", "reversed+v1|200"]
    );
    // again it says the same; what does not decide a comparison may still change
    assert_eq!(
        db.value(
            "SELECT agent_metrics.freeze_eval_set('v1') = content_hash
             FROM agent_metrics.eval_sets WHERE eval_set = 'v1'"
        )
        .as_deref(),
        Some("t")
    );
    db.exec(
        "UPDATE agent_metrics.eval_sets SET description = 'tickets', cost_tolerance_percent = 5
         WHERE eval_set = 'v1'",
    );
}

#[test]
fn what_is_frozen_does_not_change() {
    let db = frozen("audits_frozen");
    run(&db, "r1", "now()", "true");
    db.exec(
        "INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('small'), ('empty');
         INSERT INTO agent_metrics.eval_cases SELECT 'small', 'c' || n FROM generate_series(1, 150) AS n",
    );
    for sql in [
        "UPDATE agent_metrics.eval_cases SET expected = '1' WHERE eval_set = 'v1' AND case_id = 'c3'",
        "DELETE FROM agent_metrics.eval_cases WHERE eval_set = 'v1' AND case_id = 'c3'",
        "INSERT INTO agent_metrics.eval_cases VALUES ('v1', 'c3', NULL, '1')",
        "UPDATE agent_metrics.eval_cases
         SET eval_set = 'v1', case_id = 'c3' WHERE eval_set = 'small' AND case_id = 'c3'",
    ] {
        refused_by_us(&db, sql, "55000", "\"c3\"");
    }
    for sql in [
        "UPDATE agent_metrics.eval_sets SET frozen_at = NULL WHERE eval_set = 'v1'",
        "UPDATE agent_metrics.eval_sets SET content_hash = 'x' WHERE eval_set = 'v1'",
        "DELETE FROM agent_metrics.eval_sets WHERE eval_set = 'v1'",
        "TRUNCATE agent_metrics.eval_cases",
        "TRUNCATE agent_metrics.eval_sets CASCADE",
    ] {
        refused_by_us(&db, sql, "55000", "frozen");
    }
    refused_by_us(
        &db,
        "SELECT agent_metrics.freeze_eval_set('small')",
        "55000",
        "150 cases",
    );
    refused_by_us(
        &db,
        "SELECT agent_metrics.freeze_eval_set('empty')",
        "55000",
        "0 cases",
    );
    refused_by_us(
        &db,
        "SELECT agent_metrics.freeze_eval_set('none')",
        "22023",
        "\"none\"",
    );
    // a case twice
    assert_sqlstate(
        &db,
        "INSERT INTO agent_metrics.eval_cases VALUES ('small', 'c3')",
        "23505",
    );
    // a case that comes while the set is being frozen waits, and is then refused
    db.exec("INSERT INTO agent_metrics.eval_cases SELECT 'small', 'd' || n FROM generate_series(1, 50) AS n");
    let (freezer, other) = (db.session(), db.session());
    freezer.exec("BEGIN; SELECT agent_metrics.freeze_eval_set('small')");
    let adds = std::thread::spawn(move || {
        other
            .error("INSERT INTO agent_metrics.eval_cases VALUES ('small', 'late')")
            .sqlstate
    });
    db.until(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock'
                          AND query LIKE '%late%' AND pid <> pg_backend_pid())",
    );
    freezer.exec("COMMIT");
    assert_eq!(adds.join().unwrap(), "55000");
}

#[test]
fn bad_runs_are_refused_whole() {
    let db = frozen("audits_bad_runs");
    db.exec("INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('open')");
    let record = |set: &str, results: &str| {
        format!("SELECT agent_metrics.record_eval_run('bot', 'r', '{set}', {results})")
    };
    let cases = |from: u32, to: u32| {
        format!(
            "(SELECT jsonb_agg(jsonb_build_object('case_id', 'c' || n, 'passed', true))
              FROM generate_series({from}, {to}) AS n)"
        )
    };
    refused_by_us(&db, &record("open", &cases(1, 200)), "55000", "\"open\"");
    refused_by_us(&db, &record("none", &cases(1, 200)), "55000", "\"none\"");
    refused_by_us(
        &db,
        &record("v1", &cases(1, 150)),
        "22023",
        "150 of the 200",
    );
    refused_by_us(&db, &record("v1", &cases(1, 201)), "23503", "\"c201\"");
    refused_by_us(
        &db,
        &record("v1", &format!("{} || {}", cases(1, 200), cases(5, 5))),
        "23505",
        "\"c5\"",
    );
    for results in ["'{}'", "NULL", "'[1]'", "'[{\"passed\": true}]'"] {
        refused_by_us(&db, &record("v1", results), "22023", "\"r\"");
    }
    refused_by_us(
        &db,
        "INSERT INTO agent_metrics.eval_results VALUES ('bot', 'nothing', 'c1')",
        "23503",
        "\"nothing\"",
    );
    db.exec("INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set) VALUES ('bot', 'r', 'v1')");
    refused_by_us(
        &db,
        "INSERT INTO agent_metrics.eval_results VALUES ('bot', 'r', 'x1')",
        "23503",
        "\"x1\"",
    );
    refused_by_us(
        &db,
        "INSERT INTO agent_metrics.eval_results VALUES ('bot', 'r', 'c1', 2)",
        "23514",
        "trial 2",
    );
    assert_sqlstate(
        &db,
        "INSERT INTO agent_metrics.eval_results VALUES ('bot', 'r', 'c1'), ('bot', 'r', 'c1')",
        "23505",
    );
    refused_by_us(
        &db,
        "SELECT * FROM agent_metrics.drift('none')",
        "22023",
        "\"none\"",
    );
    refused_by_us(
        &db,
        "SELECT * FROM agent_metrics.drift('r', 'none')",
        "22023",
        "\"none\"",
    );
    // the same id with two agents: whose is meant has to be said
    db.exec("INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set) VALUES ('other', 'r', 'v1')");
    refused_by_us(
        &db,
        "SELECT * FROM agent_metrics.drift('r')",
        "22023",
        "\"r\"",
    );
    assert_eq!(
        db.lines("SELECT state, reason FROM agent_metrics.drift('r', agent => 'bot')"),
        ["refused|there is no earlier run of bot over eval set v1"]
    );
    // statistics of what cannot be
    for sql in [
        "SELECT agent_metrics.mcnemar_exact(-1, 2)",
        "SELECT agent_metrics.bonett_price_low(5, 6, 10)",
        "SELECT agent_metrics.stratified_rate('{10}', '{11}', '{1}')",
        "SELECT agent_metrics.stratified_rate('{10}', '{1.5}', '{1}')",
        "SELECT agent_metrics.minimum_detectable_change(200, 1.5)",
    ] {
        assert_sqlstate(&db, sql, "22003");
    }
    assert_sqlstate(
        &db,
        "SELECT agent_metrics.stratified_rate('{10}', '{}', '{1}')",
        "22023",
    );
    // nor is a run recorded twice, the same or another
    let once = record("v1", &cases(1, 200)).replace("'r'", "'once'");
    db.exec(&once);
    refused_by_us(&db, &once, "23505", "\"once\" of agent \"bot\"");
}

#[test]
fn a_null_pair_does_not_alert_and_a_regression_does() {
    let db = frozen("audits_drift");
    run(&db, "r1", "'2026-03-02 06:00+00'", "n > 16");
    assert_eq!(
        drift(&db, "r1", "state, reason"),
        ["eval_success_rate|refused|there is no earlier run of bot over eval set v1"]
    );
    // the same; then 184 -> 180, four of two hundred: two points, which do not fire
    run(&db, "r2", "'2026-03-09 06:00+00'", "n > 16");
    let columns = "old_value, new_value, change, broken_count, mended_count, round(p_value::numeric, 9), state";
    let quiet = [
        "eval_success_rate|0.92|0.92|0|0|0|1.000000000|ok",
        "eval_cost_per_case_usd|0.01|0.01|0||||ok",
        "eval_latency_p50_ms|200|200|0||||ok",
    ];
    assert_eq!(drift(&db, "r2", columns), quiet);
    run(&db, "r3", "'2026-03-16 06:00+00'", "n > 20");
    assert_eq!(
        drift(&db, "r3", columns)[0],
        "eval_success_rate|0.92|0.9|-2|4|0|0.125000000|ok"
    );
    // five of 184: the rule fires, noise does that too
    assert_eq!(
        db.lines("SELECT state FROM agent_metrics.drift('r3', 'r3')"),
        ["ok", "ok", "ok"]
    );
    run(&db, "r4", "'2026-03-23 06:00+00'", "n > 25");
    assert_eq!(
        drift(&db, "r4", columns)[0],
        "eval_success_rate|0.9|0.875|-2.5|5|0|0.062500000|watch"
    );
    // 12 broke, 3 were mended: the values of statistics.md
    run(&db, "r5", "'2026-03-30 06:00+00'", "n > 37 OR n < 4");
    assert_eq!(
        drift(
            &db,
            "r5",
            "change, broken_count, mended_count, round(p_value::numeric, 9),
             round(p_mid::numeric, 9), round(ci_low::numeric, 6),
             round(ci_high::numeric, 6), is_worse, state"
        )[0],
        "eval_success_rate|-4.5|12|3|0.035156250|0.021270752|-0.084085|-0.005023|t|alert"
    );
    assert_eq!(
        db.value(
            "SELECT broken_cases || mended_cases
             FROM agent_metrics.drift('r5') WHERE metric = 'eval_success_rate'"
        )
        .as_deref(),
        Some("{c26,c27,c28,c29,c30,c31,c32,c33,c34,c35,c36,c37,c1,c2,c3}")
    );
    assert!(
        (db.number(
            "SELECT detectable_change
             FROM agent_metrics.drift('r5') WHERE metric = 'eval_success_rate'"
        ) - 0.0538)
            .abs()
            < 1e-3
    );
    // another set is refused, the same cases under another name are not
    db.exec(
        "INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('v2'), ('twin');
         INSERT INTO agent_metrics.eval_cases
         SELECT 'v2', case_id, 'new', input FROM agent_metrics.eval_cases WHERE eval_set = 'v1';
         INSERT INTO agent_metrics.eval_cases SELECT 'twin', case_id, category, input
         FROM agent_metrics.eval_cases WHERE eval_set = 'v1';
         SELECT agent_metrics.freeze_eval_set('v2'), agent_metrics.freeze_eval_set('twin');
         SELECT agent_metrics.record_eval_run(
             'bot', r, s, (SELECT jsonb_agg(jsonb_build_object('case_id', 'c' || n, 'passed', true))
                           FROM generate_series(1, 200) AS n))
         FROM (VALUES ('over-v2', 'v2'), ('over-twin', 'twin')) AS x (r, s)",
    );
    assert_eq!(
        db.lines("SELECT state, reason FROM agent_metrics.drift('over-v2', 'r5')"),
        ["refused|the case sets differ: over-v2 ran over v2, r5 over v1"]
    );
    assert_eq!(
        db.lines("SELECT state, change FROM agent_metrics.drift('over-twin', 'r5')"),
        ["alert|17"]
    );
    // slower by a quarter and dearer by a fifth, each beyond its tolerance
    db.exec(
        "UPDATE agent_metrics.eval_results
         SET latency_ms = latency_ms * 1.25, cost_usd = cost_usd * 1.2 WHERE run_id = 'r5'",
    );
    assert_eq!(
        drift(
            &db,
            "r5",
            "change, tolerance, compared, p_value < 1e-9, p_adjusted > p_value, is_worse, state"
        )[1..],
        [
            "eval_cost_per_case_usd|20|10|200|t|t|t|alert",
            "eval_latency_p50_ms|25|20|200|t|t|t|alert"
        ]
    );
}

#[test]
fn trials_errors_and_ungraded_cases() {
    let db = frozen("audits_trials");
    // three trials each: c1 passes two, c2 one, c3 one and one error, c4 is not graded, c5 has one grade
    db.exec(
        "INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set, trials)
         VALUES ('bot', 'r', 'v1', 3);
         INSERT INTO agent_metrics.eval_results (agent_id, run_id, case_id, trial, passed, error)
         SELECT 'bot', 'r', 'c' || n, t,
                CASE n WHEN 1 THEN t < 3 WHEN 2 THEN t < 2 WHEN 3 THEN t < 3 WHEN 4 THEN NULL
                       WHEN 5 THEN CASE t WHEN 1 THEN true END ELSE true END,
                CASE WHEN n = 3 AND t = 1 THEN 'timeout' END
         FROM generate_series(1, 200) AS n, generate_series(1, 3) AS t WHERE (n, t) <> (200, 3)",
    );
    let counts = "SELECT case_count, graded_count, passed_count, ungraded_count,
                         errored_count, is_complete
                  FROM agent_kpi.eval_runs";
    assert_eq!(db.lines(counts), ["200|199|197|1|1|f"]);
    assert_eq!(
        db.lines("SELECT reason FROM agent_metrics.drift('r', 'r')"),
        ["run r has results of 200 of its 200 cases, but not of all 3 trials"]
    );
    db.exec(
        "INSERT INTO agent_metrics.eval_results (agent_id, run_id, case_id, trial, passed)
         VALUES ('bot', 'r', 'c200', 3, false)",
    );
    assert_eq!(db.lines(counts), ["200|199|197|1|1|t"]);
}

#[test]
fn a_writer_brings_runs_in_and_reads_no_set() {
    let db = frozen("audits_writer");
    let role = format!("{}_writer", db.name());
    db.exec(&format!(
        "CREATE ROLE {role}; SELECT agent_metrics.grant_access('{role}', 'writer')"
    ));
    let writer = db.session();
    writer.exec(&format!("SET SESSION AUTHORIZATION {role}"));
    writer.exec("INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set) VALUES ('bot', 'r', 'v1')");
    let results: String = (1..=200)
        .map(|n| format!("bot,r,c{n},{}\n", n > 16))
        .collect();
    assert_eq!(
        writer.copy_csv(
            "agent_metrics.eval_results (agent_id, run_id, case_id, passed)",
            format!("a,r,c,p\n{results}")
        ),
        200
    );
    for sql in [
        "SELECT * FROM agent_metrics.eval_cases",
        "INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set, content_hash)
         VALUES ('bot', 's', 'v1', 'mine')",
        "SELECT * FROM agent_metrics.alert_channels",
        "SELECT agent_metrics.run_audits()",
    ] {
        assert_sqlstate(&writer, sql, "42501");
    }
    assert_eq!(
        db.lines("SELECT eval_success_rate, is_complete FROM agent_kpi.eval_runs"),
        ["0.92|t"]
    );
    drop(writer);
    db.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_run_that_comes_late_is_what_the_later_one_is_compared_with() {
    let db = frozen("audits_late_run");
    // week 2 fell, and week 3 is as week 2 was; but week 3 is brought in first
    run(&db, "week1", "now() - interval '14 days'", "true");
    run(&db, "week3", "now() - interval '1 hour'", "n > 60");
    db.exec("SELECT agent_metrics.run_audits()");
    let found = "SELECT run_id, against_run_id, state FROM agent_kpi.drift_findings
                 WHERE metric = 'eval_success_rate' ORDER BY run_id";
    assert_eq!(db.lines(found), ["week1||refused", "week3|week1|alert"]);
    run(&db, "week2", "now() - interval '7 days'", "n > 60");
    db.exec("SELECT agent_metrics.run_audits()");
    assert_eq!(
        db.lines(found),
        ["week1||refused", "week2|week1|alert", "week3|week2|ok"]
    );
    assert_eq!(
        db.lines(
            "SELECT summary ~ 'week' OR metric = 'eval_success_rate', acknowledged_by, note FROM agent_kpi.alerts
             WHERE kind = 'drift' AND metric = 'eval_success_rate' ORDER BY created_at"
        ),
        ["t|agent_metrics|a run that came later lies between", "t||"]
    );
}
