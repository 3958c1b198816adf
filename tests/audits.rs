//! Audits: frozen sets, runs, drift, against the truth files and against a planted regression; every refusal.

use std::collections::BTreeMap;

use crate::bad_input::refused_by_us;
use crate::fixtures::{Row, answers, compare, file, truth};
use crate::harness::{Db, Session, db};

/// A frozen set of 200 cases and an agent.
pub fn frozen(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('v1');
         INSERT INTO agent_metrics.eval_cases (eval_set, case_id, input) SELECT 'v1', 'c' || n, to_jsonb(n) FROM generate_series(1, 200) AS n;
         SELECT agent_metrics.freeze_eval_set('v1')",
    );
    db
}

/// A run in which the cases of the condition pass.
pub fn run(db: &Session, run_id: &str, run_at: &str, passes: &str) {
    db.exec(&format!(
        "SELECT agent_metrics.record_eval_run('bot', '{run_id}', 'v1',
             (SELECT jsonb_agg(jsonb_build_object('case_id', 'c' || n, 'passed', {passes}, 'latency_ms', 100 + n, 'cost_usd', 0.01)) FROM generate_series(1, 200) AS n),
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
         INSERT INTO agent_metrics.eval_cases SELECT 'reversed', case_id, category, input, expected FROM agent_metrics.eval_cases WHERE eval_set = 'v1' ORDER BY input::integer DESC;
         INSERT INTO agent_metrics.eval_cases SELECT 'changed', case_id, category, input, CASE case_id WHEN 'c7' THEN '1'::jsonb END FROM agent_metrics.eval_cases WHERE eval_set = 'v1';
         SELECT agent_metrics.freeze_eval_set(eval_set) FROM agent_metrics.eval_sets",
    );
    assert_eq!(
        db.lines("SELECT string_agg(eval_set, '+' ORDER BY eval_set), min(case_count) FROM agent_metrics.eval_sets GROUP BY content_hash ORDER BY 1"),
        ["changed|200", "reversed+v1|200"]
    );
    // again it says the same; what does not decide a comparison may still change
    assert_eq!(db.value("SELECT agent_metrics.freeze_eval_set('v1') = content_hash FROM agent_metrics.eval_sets WHERE eval_set = 'v1'").as_deref(), Some("t"));
    db.exec("UPDATE agent_metrics.eval_sets SET description = 'tickets', cost_tolerance_percent = 5 WHERE eval_set = 'v1'");
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
        "UPDATE agent_metrics.eval_cases SET eval_set = 'v1', case_id = 'c3' WHERE eval_set = 'small' AND case_id = 'c3'",
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
    assert_eq!(
        db.error("INSERT INTO agent_metrics.eval_cases VALUES ('small', 'c3')")
            .sqlstate,
        "23505"
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
    db.until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%late%' AND pid <> pg_backend_pid())");
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
            "(SELECT jsonb_agg(jsonb_build_object('case_id', 'c' || n, 'passed', true)) FROM generate_series({from}, {to}) AS n)"
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
    assert_eq!(
        db.error(
            "INSERT INTO agent_metrics.eval_results VALUES ('bot', 'r', 'c1'), ('bot', 'r', 'c1')"
        )
        .sqlstate,
        "23505"
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
        "SELECT agent_metrics.mcnemar_chi2(2, -1)",
        "SELECT agent_metrics.bonett_price_low(5, 6, 10)",
        "SELECT agent_metrics.stratified_rate('{10}', '{11}', '{1}')",
        "SELECT agent_metrics.stratified_rate('{10}', '{1.5}', '{1}')",
        "SELECT agent_metrics.minimum_detectable_change(200, 1.5)",
    ] {
        assert_eq!(db.error(sql).sqlstate, "22003", "{sql}");
    }
    assert_eq!(
        db.error("SELECT agent_metrics.stratified_rate('{10}', '{}', '{1}')")
            .sqlstate,
        "22023"
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
            "change, broken_count, mended_count, round(p_value::numeric, 9), round(p_mid::numeric, 9), round(ci_low::numeric, 6), round(ci_high::numeric, 6), is_worse, state"
        )[0],
        "eval_success_rate|-4.5|12|3|0.035156250|0.021270752|-0.084085|-0.005023|t|alert"
    );
    assert_eq!(
        db.value("SELECT broken_cases || mended_cases FROM agent_metrics.drift('r5') WHERE metric = 'eval_success_rate'").as_deref(),
        Some("{c26,c27,c28,c29,c30,c31,c32,c33,c34,c35,c36,c37,c1,c2,c3}")
    );
    assert!((db.number("SELECT detectable_change FROM agent_metrics.drift('r5') WHERE metric = 'eval_success_rate'") - 0.0538).abs() < 1e-3);
    // another set is refused, the same cases under another name are not
    db.exec(
        "INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('v2'), ('twin');
         INSERT INTO agent_metrics.eval_cases SELECT 'v2', case_id, 'new', input FROM agent_metrics.eval_cases WHERE eval_set = 'v1';
         INSERT INTO agent_metrics.eval_cases SELECT 'twin', case_id, category, input FROM agent_metrics.eval_cases WHERE eval_set = 'v1';
         SELECT agent_metrics.freeze_eval_set('v2'), agent_metrics.freeze_eval_set('twin');
         SELECT agent_metrics.record_eval_run('bot', r, s, (SELECT jsonb_agg(jsonb_build_object('case_id', 'c' || n, 'passed', true)) FROM generate_series(1, 200) AS n))
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
    db.exec("UPDATE agent_metrics.eval_results SET latency_ms = latency_ms * 1.25, cost_usd = cost_usd * 1.2 WHERE run_id = 'r5'");
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
        "INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set, trials) VALUES ('bot', 'r', 'v1', 3);
         INSERT INTO agent_metrics.eval_results (agent_id, run_id, case_id, trial, passed, error)
         SELECT 'bot', 'r', 'c' || n, t,
                CASE n WHEN 1 THEN t < 3 WHEN 2 THEN t < 2 WHEN 3 THEN t < 3 WHEN 4 THEN NULL WHEN 5 THEN CASE t WHEN 1 THEN true END ELSE true END,
                CASE WHEN n = 3 AND t = 1 THEN 'timeout' END
         FROM generate_series(1, 200) AS n, generate_series(1, 3) AS t WHERE (n, t) <> (200, 3)",
    );
    let counts = "SELECT case_count, graded_count, passed_count, ungraded_count, errored_count, is_complete FROM agent_kpi.eval_runs";
    assert_eq!(db.lines(counts), ["200|199|197|1|1|f"]);
    assert_eq!(
        db.lines("SELECT reason FROM agent_metrics.drift('r', 'r')"),
        ["run r has results of 200 of its 200 cases, but not of all 3 trials"]
    );
    db.exec("INSERT INTO agent_metrics.eval_results (agent_id, run_id, case_id, trial, passed) VALUES ('bot', 'r', 'c200', 3, false)");
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
        "INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set, content_hash) VALUES ('bot', 's', 'v1', 'mine')",
        "SELECT * FROM agent_metrics.alert_channels",
        "SELECT agent_metrics.run_audits()",
    ] {
        assert_eq!(writer.error(sql).sqlstate, "42501", "{sql}");
    }
    assert_eq!(
        db.lines("SELECT eval_success_rate, is_complete FROM agent_kpi.eval_runs"),
        ["0.92|t"]
    );
    drop(writer);
    db.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Stages a file of eval results; false: there is no data here.
fn stage(db: &Session, dataset: &str) -> bool {
    let Some(results) = file(&format!("{dataset}/eval_results.csv")) else {
        return false;
    };
    db.exec(
        "SET TimeZone = 'UTC';
         CREATE TEMP TABLE staged (eval_set text, run_id text, run_at timestamptz, agent text, agent_version text, case_id text, category text, passed integer,
                                   latency_ms double precision, token_usage_input bigint, token_usage_output bigint, cost_usd numeric)",
    );
    assert!(db.copy_csv("staged", results) > 0);
    true
}

const RUN: &[&str] = &[
    "key",
    "cases",
    "passed",
    "pass_rate",
    "wilson_lo",
    "wilson_hi",
    "cost_usd",
];

fn compare_all(
    dataset: &str,
    truths: &[Row],
    key: impl Fn(&Row) -> String,
    answers: &BTreeMap<String, Row>,
) {
    assert_eq!(truths.len(), answers.len());
    let figures: usize = truths
        .iter()
        .map(|truth| {
            compare(
                &format!("{dataset}, {}", key(truth)),
                truth,
                &answers[&key(truth)],
            )
        })
        .sum();
    println!("{dataset}: {figures} figures agree");
}

#[test]
fn swe_bench_runs_and_their_drift() {
    let db = db("audits_swe_bench");
    if !stage(&db, "swebench_submissions") {
        return;
    }
    db.exec(
        "INSERT INTO agent_metrics.eval_sets (eval_set) SELECT DISTINCT eval_set FROM staged;
         INSERT INTO agent_metrics.eval_cases (eval_set, case_id, category) SELECT DISTINCT eval_set, case_id, category FROM staged;
         SELECT agent_metrics.freeze_eval_set(eval_set) FROM agent_metrics.eval_sets;
         INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set, run_at, agent_version) SELECT DISTINCT agent, run_id, eval_set, run_at, agent_version FROM staged;
         INSERT INTO agent_metrics.eval_results (agent_id, run_id, case_id, passed, latency_ms, cost_usd) SELECT agent, run_id, case_id, passed = 1, latency_ms, cost_usd FROM staged",
    );
    let runs = answers(
        &db,
        RUN,
        "SELECT run_id, case_count, passed_count, eval_success_rate, ci_low, ci_high, coalesce(cost_usd, 0) FROM agent_kpi.eval_runs WHERE is_complete",
    );
    compare_all(
        "swebench_submissions",
        &truth("swebench_submissions/truth_runs.csv").unwrap(),
        |row| row["run_id"].clone(),
        &runs,
    );
    let truths = truth("swebench_submissions/truth_mcnemar.csv").unwrap();
    for truth in &truths {
        let (base, new) = (&truth["base"], &truth["new"]);
        let answer = answers(
            &db,
            &["key", "cases", "base_pass", "new_pass", "diff_pp", "regressed", "fixed", "mcnemar_exact_p", "mcnemar_midp", "mcnemar_chi2_cc"],
            &format!(
                "SELECT metric, compared, round(old_value * compared), round(new_value * compared), change, broken_count, mended_count, p_value, p_mid,
                        agent_metrics.mcnemar_chi2(broken_count, mended_count)
                 FROM agent_metrics.drift('{new}', '{base}')"
            ),
        );
        assert_eq!(
            compare(
                &format!("{base} to {new}"),
                truth,
                &answer["eval_success_rate"]
            ),
            9
        );
        let p: f64 = truth["mcnemar_exact_p"].parse().unwrap();
        let state = if truth["diff_pp"].parse::<f64>().unwrap().abs() <= 2.0 {
            "ok"
        } else if p <= 0.05 {
            "alert"
        } else {
            "watch"
        };
        assert_eq!(
            db.lines(&format!(
                "SELECT state FROM agent_metrics.drift('{new}', '{base}')"
            )),
            [state]
        );
        // without naming it, the run before is the one it is compared with
        if truths.iter().filter(|other| other["new"] == *new).count() == 1
            && !new.contains("tools_claude")
        {
            assert_eq!(
                db.lines(&format!(
                    "SELECT against_run_id FROM agent_metrics.drift('{new}')"
                )),
                [base.as_str()]
            );
        }
    }
}

#[test]
fn small_sets_go_to_the_functions() {
    for (dataset, shown) in [
        ("tau_bench_airline", RUN),
        (
            "vexp_swe",
            &[
                RUN,
                &[
                    "cost_per_pass",
                    "latency_n",
                    "latency_p50_nearest",
                    "latency_p75_nearest",
                    "latency_p90_nearest",
                    "latency_p95_nearest",
                    "latency_p99_nearest",
                    "latency_p50_linear",
                    "latency_p75_linear",
                    "latency_p90_linear",
                    "latency_p95_linear",
                    "latency_p99_linear",
                    "latency_mean",
                ],
            ]
            .concat()[..],
        ),
    ] {
        let db = db(&format!("audits_{dataset}"));
        if !stage(&db, dataset) {
            return;
        }
        // what is not graded is left out
        let runs = answers(
            &db,
            &[RUN, &["cost_per_pass", "latency_n", "latency_p50_nearest", "latency_p75_nearest", "latency_p90_nearest", "latency_p95_nearest", "latency_p99_nearest",
               "latency_p50_linear", "latency_p75_linear", "latency_p90_linear", "latency_p95_linear", "latency_p99_linear", "latency_mean"]].concat(),
            "SELECT s.run_id, count(passed), agent_metrics.hits(agent_metrics.rate(passed = 1)), agent_metrics.rate(passed = 1)::double precision,
                    agent_metrics.wilson_low(agent_metrics.rate(passed = 1)), agent_metrics.wilson_high(agent_metrics.rate(passed = 1)), coalesce(sum(cost_usd), 0),
                    agent_metrics.ratio(sum(cost_usd), sum(passed)), count(latency_ms), agent_metrics.p50(latency_ms),
                    agent_metrics.percentile(agent_metrics.quantile_sketch(latency_ms), 0.75), agent_metrics.percentile(agent_metrics.quantile_sketch(latency_ms), 0.9),
                    agent_metrics.p95(latency_ms), agent_metrics.p99(latency_ms),
                    percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms), percentile_cont(0.75) WITHIN GROUP (ORDER BY latency_ms),
                    percentile_cont(0.9) WITHIN GROUP (ORDER BY latency_ms), percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms),
                    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms), avg(latency_ms)
             FROM staged s WHERE passed IS NOT NULL GROUP BY 1",
        );
        let runs: BTreeMap<String, Row> = runs
            .into_iter()
            .map(|(key, row)| {
                (
                    key,
                    row.into_iter()
                        .filter(|(name, _)| shown.contains(&name.as_str()))
                        .collect(),
                )
            })
            .collect();
        compare_all(
            dataset,
            &truth(&format!("{dataset}/truth_runs.csv")).unwrap(),
            |row| row["run_id"].clone(),
            &runs,
        );
        if dataset == "tau_bench_airline" {
            let pairs = answers(
                &db,
                &["key", "cases", "base_pass", "new_pass", "diff_pp", "regressed", "fixed", "mcnemar_exact_p", "mcnemar_midp", "mcnemar_chi2_cc"],
                "SELECT base || new, cases, base_pass, new_pass, 100.0 * (new_pass - base_pass) / cases, regressed, fixed,
                        agent_metrics.mcnemar_exact(regressed, fixed), agent_metrics.mcnemar_mid(regressed, fixed), agent_metrics.mcnemar_chi2(regressed, fixed)
                 FROM (SELECT o.run_id AS base, n.run_id AS new, count(*) AS cases, sum(o.passed) AS base_pass, sum(n.passed) AS new_pass,
                              count(*) FILTER (WHERE o.passed > n.passed) AS regressed, count(*) FILTER (WHERE o.passed < n.passed) AS fixed
                       FROM staged o JOIN staged n ON n.case_id = o.case_id AND n.run_id > o.run_id GROUP BY 1, 2) x",
            );
            compare_all(
                dataset,
                &truth("tau_bench_airline/truth_mcnemar.csv").unwrap(),
                |row| format!("{}{}", row["base"], row["new"]),
                &pairs,
            );
        }
    }
    let db = db("audits_taskmaster");
    if let Some(labels) = file("taskmaster_reward/review_labels.csv") {
        db.exec("CREATE TEMP TABLE labels (item_id text, conversation_id text, turn_index integer, rater text, label double precision, kind text)");
        db.copy_csv("labels", labels);
        let said = answers(
            &db,
            &["key", "items", "ratings", "raters", "mean"],
            "SELECT kind, count(DISTINCT item_id), count(*), count(DISTINCT rater), agent_metrics.rate(label = 1)::double precision FROM labels GROUP BY 1",
        );
        compare_all(
            "taskmaster_reward",
            &truth("taskmaster_reward/truth_agreement.csv").unwrap(),
            |row| row["kind"].clone(),
            &said,
        );
    }
}

#[test]
fn the_statistics_of_the_specification_in_sql() {
    let db = db("audits_statistics");
    for (sql, expected, tolerance) in [
        ("mcnemar_exact(16, 4)", 0.011817932128906, 1e-9),
        ("mcnemar_mid(14, 5)", 0.041389465, 1e-9),
        ("mcnemar_chi2(48, 77)", 6.272, 1e-12),
        ("mcnemar_chi2(7, 7)", 1.0 / 14.0, 1e-12),
        ("bonett_price_low(9, 1, 200)", -0.072769, 1e-6),
        ("bonett_price_high(9, 1, 200)", -0.006439, 1e-6),
        ("minimum_detectable_change(200, 0.06)", 0.0482, 5e-5),
        ("paired_low(172, 16, 4, 8)", 0.015819, 1e-6),
        ("paired_high(172, 16, 4, 8)", 0.108378, 1e-6),
        ("widened_p(16, 4, 200, 22, 4, 200)", 0.364, 5e-4),
        ("cohen_kappa(20, 5, 10, 15)", 0.4, 1e-9),
        ("cohen_kappa(190, 3, 5, 2)", 0.313305, 1e-6),
        ("gwet_ac1(190, 3, 5, 2)", 0.957528, 1e-6),
        (
            "stratified_rate('{18000,1500,500}', '{700,150,150}', '{7,9,24}')",
            0.0175,
            1e-9,
        ),
        (
            "stratified_error('{18000,1500,500}', '{700,150,150}', '{7,9,24}')",
            0.003651968,
            1e-9,
        ),
        (
            "judge_corrected('140/1000', '90/100', '190/200')",
            0.09 / 0.85,
            1e-9,
        ),
        ("zero_failures_needed(0.015)", 199.0, 1e-9),
        (
            "wilcoxon_signed_rank('{2,2,NULL,2,2,2,2}')",
            2.0 / 64.0,
            1e-9,
        ),
    ] {
        let value = db.number(&format!("SELECT agent_metrics.{sql}"));
        assert!(
            (value - expected).abs() <= tolerance,
            "{sql} is {value}, and should be {expected}"
        );
    }
    assert_eq!(
        db.value("SELECT array_agg(round(p::numeric, 6)) FROM unnest(agent_metrics.benjamini_hochberg('{.001,.008,.039,.041,.042,.06,.074,.205,.212,.216}')) AS p").as_deref(),
        Some("{0.010000,0.040000,0.084000,0.084000,0.084000,0.100000,0.105714,0.216000,0.216000,0.216000}")
    );
    assert_eq!(db.number("SELECT count(*) FROM unnest(agent_metrics.holm('{.001,.008,.039,.041,.042,.06,.074,.205,.212,.216}')) AS p WHERE p <= 0.05"), 1.0);
    assert_eq!(db.lines("SELECT agent_metrics.moved_more_than(184, 200, 180, 200), agent_metrics.moved_more_than(184, 200, 179, 200), agent_metrics.cohen_kappa(0, 0, 0, 0), agent_metrics.mcnemar_chi2(0, 0), agent_metrics.mcnemar_chi2(NULL, 1)"), ["f|t|||"]);
}
