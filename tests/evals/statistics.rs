//! The statistics of runs: real runs, the sample's and small sets, every figure of the truth.

use std::collections::BTreeMap;

use crate::support::fixtures::{Row, SAMPLE, answers, compare, file, truth};
use crate::support::{Session, db};

/// Stages a file of eval results; false: there is no data here.
fn stage(db: &Session, dataset: &str) -> bool {
    let Some(results) = file(&format!("{dataset}/eval_results.csv")) else {
        return false;
    };
    db.exec(
        "SET TimeZone = 'UTC';
         CREATE TEMP TABLE staged (eval_set text, run_id text, run_at timestamptz, agent text,
                                   agent_version text, case_id text, category text, passed integer,
                                   latency_ms double precision, token_usage_input bigint,
                                   token_usage_output bigint, cost_usd numeric)",
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
fn runs_of_the_sample_and_their_drift() {
    assert!(runs_and_drift(SAMPLE));
}

#[test]
fn swe_bench_runs_and_their_drift() {
    let _ = runs_and_drift("swebench_submissions");
}

/// Brings runs in, and compares them and the drift from each to the next with the truth. False: there is no data here.
fn runs_and_drift(dataset: &str) -> bool {
    let db = db(&format!("audits_{dataset}_drift"));
    if !stage(&db, dataset) {
        return false;
    }
    db.exec(
        "INSERT INTO agent_metrics.eval_sets (eval_set) SELECT DISTINCT eval_set FROM staged;
         INSERT INTO agent_metrics.eval_cases (eval_set, case_id, category)
         SELECT DISTINCT eval_set, case_id, category FROM staged;
         SELECT agent_metrics.freeze_eval_set(eval_set) FROM agent_metrics.eval_sets;
         INSERT INTO agent_metrics.eval_runs (agent_id, run_id, eval_set, run_at, agent_version)
         SELECT DISTINCT agent, run_id, eval_set, run_at, agent_version FROM staged;
         INSERT INTO agent_metrics.eval_results (
             agent_id, run_id, case_id, passed, latency_ms, cost_usd)
         SELECT agent, run_id, case_id, passed = 1, latency_ms, cost_usd FROM staged",
    );
    let runs = answers(
        &db,
        RUN,
        "SELECT run_id, case_count, passed_count, eval_success_rate, ci_low,
                ci_high, coalesce(cost_usd, 0)
         FROM agent_kpi.eval_runs WHERE is_complete",
    );
    compare_all(
        dataset,
        &truth(&format!("{dataset}/truth_runs.csv")).unwrap(),
        |row| row["run_id"].clone(),
        &runs,
    );
    let truths = truth(&format!("{dataset}/truth_mcnemar.csv")).unwrap();
    for truth in &truths {
        let (base, new) = (&truth["base"], &truth["new"]);
        let answer = answers(
            &db,
            &[
                "key",
                "cases",
                "base_pass",
                "new_pass",
                "diff_pp",
                "regressed",
                "fixed",
                "mcnemar_exact_p",
                "mcnemar_midp",
            ],
            &format!(
                "SELECT metric, compared, round(old_value * compared), round(new_value * compared),
                        change, broken_count, mended_count, p_value, p_mid
                 FROM agent_metrics.drift('{new}', '{base}')"
            ),
        );
        assert_eq!(
            compare(
                &format!("{base} to {new}"),
                truth,
                &answer["eval_success_rate"]
            ),
            8
        );
        let p: f64 = truth["mcnemar_exact_p"].parse().unwrap();
        let state = if truth["diff_pp"].parse::<f64>().unwrap().abs() <= 2.0 {
            "ok"
        } else if p <= 0.05 {
            "alert"
        } else {
            "watch"
        };
        // latency and costs drift too, where the runs have them
        let metrics = if dataset == SAMPLE { 3 } else { 1 };
        let states = db.lines(&format!(
            "SELECT metric, state FROM agent_metrics.drift('{new}', '{base}')"
        ));
        assert_eq!(states.len(), metrics, "{states:?}");
        assert!(
            states.contains(&format!("eval_success_rate|{state}")),
            "{states:?}"
        );
        // without naming it, the run before is the one it is compared with
        if truths.iter().filter(|other| other["new"] == *new).count() == 1
            && !new.contains("tools_claude")
        {
            assert_eq!(
                db.lines(&format!(
                    "SELECT DISTINCT against_run_id FROM agent_metrics.drift('{new}')"
                )),
                [base.as_str()]
            );
        }
    }
    true
}

#[test]
fn small_sets_go_to_the_functions() {
    let with_latency = [
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
    .concat();
    for (dataset, shown) in [
        (SAMPLE, &with_latency[..]),
        ("tau_bench_airline", RUN),
        ("vexp_swe", &with_latency),
    ] {
        let db = db(&format!("audits_{dataset}"));
        if !stage(&db, dataset) {
            continue;
        }
        // what is not graded is left out
        let runs = answers(
            &db,
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
            .concat(),
            "SELECT s.run_id, count(passed), agent_metrics.hits(agent_metrics.rate(passed = 1)),
                    agent_metrics.rate(passed = 1)::double precision,
                    agent_metrics.wilson_low(agent_metrics.rate(passed = 1)),
                    agent_metrics.wilson_high(agent_metrics.rate(passed = 1)), coalesce(sum(cost_usd), 0),
                    agent_metrics.ratio(sum(cost_usd), sum(passed)), count(latency_ms), agent_metrics.p50(latency_ms),
                    agent_metrics.percentile(agent_metrics.quantile_sketch(latency_ms), 0.75),
                    agent_metrics.percentile(agent_metrics.quantile_sketch(latency_ms), 0.9),
                    agent_metrics.p95(latency_ms), agent_metrics.p99(latency_ms),
                    percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms),
                    percentile_cont(0.75) WITHIN GROUP (ORDER BY latency_ms),
                    percentile_cont(0.9) WITHIN GROUP (ORDER BY latency_ms),
                    percentile_cont(0.95) WITHIN GROUP (ORDER BY latency_ms),
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
        if dataset != "vexp_swe" {
            let pairs = answers(
                &db,
                &[
                    "key",
                    "cases",
                    "base_pass",
                    "new_pass",
                    "diff_pp",
                    "regressed",
                    "fixed",
                    "mcnemar_exact_p",
                    "mcnemar_midp",
                ],
                "SELECT base || new, cases, base_pass, new_pass, 100.0 * (new_pass - base_pass) / cases, regressed,
                        fixed, agent_metrics.mcnemar_exact(regressed, fixed),
                        agent_metrics.mcnemar_mid(regressed, fixed)
                 FROM (SELECT o.run_id AS base, n.run_id AS new, count(*) AS cases, sum(o.passed) AS base_pass,
                              sum(n.passed) AS new_pass, count(*) FILTER (WHERE o.passed > n.passed) AS regressed,
                              count(*) FILTER (WHERE o.passed < n.passed) AS fixed
                       FROM staged o JOIN staged n ON n.case_id = o.case_id AND n.run_id > o.run_id GROUP BY 1, 2) x",
            );
            compare_all(
                dataset,
                &truth(&format!("{dataset}/truth_mcnemar.csv")).unwrap(),
                |row| format!("{}{}", row["base"], row["new"]),
                &pairs,
            );
        }
    }
    let db = db("audits_taskmaster");
    if let Some(labels) = file("taskmaster_reward/review_labels.csv") {
        db.exec(
            "CREATE TEMP TABLE labels (item_id text, conversation_id text, turn_index integer,
                                       rater text, label double precision, kind text)",
        );
        db.copy_csv("labels", labels);
        let said = answers(
            &db,
            &["key", "items", "ratings", "raters", "mean"],
            "SELECT kind, count(DISTINCT item_id), count(*), count(DISTINCT rater),
                    agent_metrics.rate(label = 1)::double precision
             FROM labels GROUP BY 1",
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
        let value = db.number(&format!("SELECT {}", crate::support::full(sql)));
        assert!(
            (value - expected).abs() <= tolerance,
            "{sql} is {value}, and should be {expected}"
        );
    }
    assert_eq!(
        db.value(
            "SELECT array_agg(round(p::numeric, 6)) FROM unnest(agent_metrics.benjamini_hochberg(
                 '{.001,.008,.039,.041,.042,.06,.074,.205,.212,.216}')) AS p"
        )
        .as_deref(),
        Some(
            "{0.010000,0.040000,0.084000,0.084000,0.084000,0.100000,0.105714,0.216000,0.216000,0.216000}"
        )
    );
    assert_eq!(
        db.lines(
            "SELECT agent_metrics_internal.moved_more_than(184, 200, 180, 200),
                    agent_metrics_internal.moved_more_than(184, 200, 179, 200),
                    agent_metrics.cohen_kappa(0, 0, 0, 0)"
        ),
        ["f|t|"]
    );
}
