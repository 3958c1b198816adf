//! Real latencies: every percentile of the truth files, from sketches.

use crate::fixtures::{answers, compare, file, truth};
use crate::support::books::within;
use crate::support::{Db, db};

/// Compares `_nearest` of a truth file with sketches of a staged table's columns, made per row and merged from parts.
fn sketches(dataset: &str, group: &str, measures: &[&str], filter: &str) -> Option<Db> {
    let bytes = file(&format!("{dataset}/latencies.csv"))?;
    let db = db(&format!("fixtures_{dataset}"));
    db.exec(if dataset == "sketch_sets" {
        "CREATE TABLE staged (service text, request_id text, latency_ms double precision)"
    } else {
        "CREATE TABLE staged (ts timestamp, service text, agent_version text, request_id text, latency_ms double precision,
                              ttft_ms double precision, token_usage_input bigint, token_usage_output bigint, ok integer)"
    });
    assert!(db.copy_csv("staged", bytes) > 1000);
    let rows = truth(&format!("{dataset}/truth_quantiles.csv")).unwrap();
    assert!(!rows.is_empty());
    for measure in measures {
        let named: Vec<String> = [
            "n",
            "p50_nearest",
            "p75_nearest",
            "p90_nearest",
            "p95_nearest",
            "p99_nearest",
            "p50_linear",
            "p75_linear",
            "p90_linear",
            "p95_linear",
            "p99_linear",
            "mean",
        ]
        .iter()
        .map(|name| format!("{measure}_{name}"))
        .collect();
        let columns: Vec<&str> = std::iter::once("key")
            .chain(named.iter().map(String::as_str))
            .collect();
        // once in one go, and once as merged sketches of seven parts: the same bytes, so the same answers
        let ours = answers(
            &db,
            &columns,
            &format!(
                "SELECT {group}, count({measure}), agent_metrics.p50({measure}), agent_metrics.percentile(agent_metrics.quantile_sketch({measure}), 0.75),
                        agent_metrics.percentile(agent_metrics.quantile_sketch({measure}), 0.9), agent_metrics.p95({measure}), agent_metrics.p99({measure}),
                        percentile_cont(0.5) WITHIN GROUP (ORDER BY {measure}), percentile_cont(0.75) WITHIN GROUP (ORDER BY {measure}),
                        percentile_cont(0.9) WITHIN GROUP (ORDER BY {measure}), percentile_cont(0.95) WITHIN GROUP (ORDER BY {measure}),
                        percentile_cont(0.99) WITHIN GROUP (ORDER BY {measure}), avg({measure})
                 FROM staged WHERE {filter} GROUP BY 1"
            ),
        );
        for row in &rows {
            let key = &row[group];
            assert_eq!(compare(&format!("{dataset} {key}"), row, &ours[key]), 12);
        }
        let (whole, part) = (
            "agent_metrics_internal.quantile_sketch_send(whole)",
            "agent_metrics_internal.quantile_sketch_send(merged)",
        );
        assert_eq!(
            db.number(&format!(
                "SELECT count(*) FROM (SELECT {group} AS g, agent_metrics.quantile_sketch({measure}) AS whole FROM staged WHERE {filter} GROUP BY 1) a
                 FULL JOIN (SELECT g, agent_metrics.merge(part) AS merged
                            FROM (SELECT {group} AS g, agent_metrics.quantile_sketch({measure}) AS part FROM staged WHERE {filter}
                                  GROUP BY 1, abs(hashtext(request_id)) % 7) p GROUP BY 1) b USING (g)
                 WHERE {whole} IS DISTINCT FROM {part}"
            )),
            0.0
        );
    }
    Some(db)
}

#[test]
fn fixtures_llmperf() {
    // errors have no latency that counts
    let Some(db) = sketches(
        "llmperf",
        "agent_version",
        &[
            "latency_ms",
            "ttft_ms",
            "token_usage_input",
            "token_usage_output",
        ],
        "ok = 1",
    ) else {
        return;
    };
    // and the figures that the authors published themselves
    let (mut columns, mut shown) = (
        vec!["key".to_owned(), "rows".to_owned(), "errors".to_owned()],
        String::new(),
    );
    for measure in ["latency_ms", "ttft_ms"] {
        for (name, sql) in [
            ("p25", "percentile_cont(0.25) WITHIN GROUP (ORDER BY $)"),
            ("p50", "percentile_cont(0.5) WITHIN GROUP (ORDER BY $)"),
            ("p75", "percentile_cont(0.75) WITHIN GROUP (ORDER BY $)"),
            ("p90", "percentile_cont(0.9) WITHIN GROUP (ORDER BY $)"),
            ("p95", "percentile_cont(0.95) WITHIN GROUP (ORDER BY $)"),
            ("p99", "percentile_cont(0.99) WITHIN GROUP (ORDER BY $)"),
            ("mean", "avg($)"),
            ("min", "min($)"),
            ("max", "max($)"),
            ("stddev", "stddev_samp($)"),
        ] {
            columns.push(format!("{measure}_{name}"));
            shown += &format!(", {} FILTER (WHERE ok = 1)", sql.replace("$", measure));
        }
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let ours = answers(
        &db,
        &columns,
        &format!(
            "SELECT agent_version, count(*), count(*) FILTER (WHERE ok = 0){shown} FROM staged GROUP BY 1"
        ),
    );
    let rows = truth("llmperf/truth_published_quantiles.csv").unwrap();
    assert_eq!(rows.len(), ours.len());
    for row in rows {
        let key = &row["agent_version"];
        assert_eq!(compare(&format!("llmperf {key}"), &row, &ours[key]), 22);
    }
}

#[test]
fn fixtures_sketch_sets() {
    let _ = sketches("sketch_sets", "service", &["latency_ms"], "true");
}

#[test]
fn fixtures_azure_llm_2023() {
    let Some(db) = sketches(
        "azure_llm_2023",
        "service",
        &["token_usage_input", "token_usage_output"],
        "true",
    ) else {
        return;
    };
    let ours = answers(
        &db,
        &["key", "requests", "tokens_in", "tokens_out"],
        "SELECT service || ' ' || date_trunc('minute', ts), count(*), sum(token_usage_input), sum(token_usage_output) FROM staged GROUP BY service, date_trunc('minute', ts)",
    );
    let rows = truth("azure_llm_2023/truth_per_minute.csv").unwrap();
    assert_eq!(rows.len(), ours.len());
    for row in rows {
        let key = format!("{} {}", row["service"], row["minute"]);
        assert_eq!(compare(&key, &row, &ours[&key]), 3);
    }
}

#[test]
fn fixtures_hdr_histograms() {
    let Some(rows) = truth("hdr/truth_hdr.csv") else {
        return;
    };
    let db = db("fixtures_hdr");
    db.exec("CREATE TABLE staged (interval integer, value bigint, count integer)");
    assert_eq!(rows.len(), 2);
    for row in rows {
        db.exec("TRUNCATE staged");
        db.copy_csv(
            "staged",
            file(&format!(
                "hdr/{}_values.csv",
                row["file"].trim_end_matches(".hlog")
            ))
            .unwrap(),
        );
        let sketch = "(SELECT agent_metrics.quantile_sketch(value) AS s FROM staged, generate_series(1, count)) x";
        assert_eq!(
            db.value(&format!(
                "SELECT agent_metrics.sketch_count(s) FROM {sketch}"
            )),
            Some(row["total"].clone())
        );
        // HdrHistogram rounds the rank half up where the nearest rank rounds up, so it is asked for its own rank. Its
        // answer lies in the bucket whose top is the next staged value.
        for (column, fraction) in [
            ("p50", 0.5),
            ("p75", 0.75),
            ("p90", 0.9),
            ("p95", 0.95),
            ("p99", 0.99),
            ("p99.9", 0.999),
            ("p99.99", 0.9999),
        ] {
            let total: f64 = row["total"].parse().unwrap();
            let asked = ((fraction * total + 0.5).floor() - 0.5) / total;
            let ours = db.number(&format!(
                "SELECT agent_metrics.percentile(s, {asked}) FROM {sketch}"
            ));
            let theirs = db.number(&format!(
                "SELECT min(value) FROM staged WHERE value >= {}",
                row[column]
            ));
            assert!(
                within(ours, theirs),
                "{} {column}: {ours}, and should be {theirs}",
                row["file"]
            );
            let ours = db.number(&format!(
                "SELECT agent_metrics.percentile(s, {fraction}) FROM {sketch}"
            ));
            let exact = db.number(&format!("SELECT percentile_disc({fraction}) WITHIN GROUP (ORDER BY value) FROM staged, generate_series(1, count)"));
            assert!(
                within(ours, exact),
                "{} {column}: {ours}, exact {exact}",
                row["file"]
            );
        }
    }
}
