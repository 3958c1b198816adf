//! `docs/recipes/add-a-metric.md`, followed to the letter; and rows from which no metric can be made.

use crate::metrics::trace::assert_traced;
use crate::support::asserts::{assert_explained, assert_sqlstate};
use crate::support::rollups::{refresh, shop};
use crate::support::{Db, db};

const RECIPE: &str = include_str!("../../docs/recipes/add-a-metric.md");

/// The shop, and a support agent of the recipe's name: 6 turns, 2 of them with an error, one conversation.
fn shop_of_the_recipe(name: &str) -> Db {
    let db = shop(name);
    db.exec(
        "SELECT agent_metrics.register_agent('support-bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd, error)
         SELECT 'support-bot', now() - n * interval '1 second', 'c' || n % 2, 0.25, CASE WHEN n < 3 THEN 'timeout' END
         FROM generate_series(1, 6) AS n",
    );
    refresh(&db);
    db
}

fn follow(db: &Db) {
    for block in RECIPE.split("```sql\n").skip(1) {
        for statement in block.split("```").next().unwrap().split_inclusive(";\n") {
            db.exec(statement);
        }
    }
}

#[test]
fn a_metric_is_one_row() {
    let db = shop_of_the_recipe("add_metric");
    let columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'agent_kpi.agent_daily'::regclass ORDER BY attnum";
    let before = db.lines(columns);
    follow(&db);
    assert_eq!(
        db.lines(
            "SELECT metric, numerator, denominator, value, ci_low IS NOT NULL
             FROM agent_kpi.kpi_daily WHERE agent_id = 'support-bot'
                                        AND metric IN ('error_rate', 'cost_per_conversation_usd')
             ORDER BY metric COLLATE \"C\""
        ),
        [
            "cost_per_conversation_usd|1.50|2|0.75|f",
            "error_rate|2|6|0.3333333333333333|t"
        ]
    );
    // a sales agent has the one that is for all kinds
    assert_eq!(
        db.lines(
            "SELECT DISTINCT metric FROM agent_kpi.kpi_daily
             WHERE agent_id = 'sal' AND metric IN ('error_rate', 'cost_per_conversation_usd')"
        ),
        ["error_rate"]
    );
    assert!(
        assert_traced(&db)
            .iter()
            .any(|line| line.starts_with("error_rate|"))
    );
    assert_eq!(
        db.lines(
            "SELECT count(*), sum(numerator), sum(denominator)
             FROM agent_metrics.trace('error_rate', 'sup', '-infinity', 'infinity')"
        ),
        db.lines(
            "SELECT count(*), count(error), count(*)
             FROM agent_metrics.agent_events WHERE agent_id = 'sup' AND NOT is_eval"
        )
    );
    // the column goes last, and every other one stays where it was
    let after = db.lines(columns);
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after[before.len()..], ["error_rate"]);
    assert_eq!(
        db.lines("SELECT error_rate FROM agent_kpi.agent_daily WHERE agent_id = 'support-bot'"),
        ["0.3333333333333333"]
    );
    assert_eq!(
        db.lines(
            "SELECT c.definition, c.numerator, e.trace_rows FROM agent_kpi.metric_catalogue c
             CROSS JOIN agent_metrics.explain_metric(c.metric, 'support-bot',
                                                     (SELECT max(day) FROM agent_kpi.agent_daily
                                                      WHERE agent_id = 'support-bot')) e
             WHERE c.metric = 'error_rate'"
        ),
        ["Turns with an error / turns.|error_turns|6"]
    );
    // a threshold for it is as for any other
    db.exec(
        "INSERT INTO agent_metrics.thresholds (agent_id, metric, value, owner)
         VALUES ('support-bot', 'error_rate', 0.02, 'Head of Support')",
    );
    assert_eq!(
        db.lines("SELECT verdict FROM agent_kpi.kpi_daily WHERE agent_id = 'support-bot' AND metric = 'error_rate'"),
        ["breach"]
    );
    // without it the views are made all the same, and no column moves
    db.exec(
        "DELETE FROM agent_metrics.thresholds WHERE metric = 'error_rate';
         DELETE FROM agent_metrics.metrics WHERE metric = 'error_rate';
         SELECT agent_metrics.setup()",
    );
    assert_eq!(db.lines(columns), after);
    assert_eq!(
        db.lines("SELECT count(*), count(error_rate) FROM agent_kpi.agent_daily WHERE agent_id = 'support-bot'"),
        ["1|0"]
    );
}

#[test]
fn a_metric_that_cannot_be_formed_is_refused_when_it_is_written() {
    let db = db("bad_metric");
    for (name, columns, values, message) in [
        (
            "x",
            "numerator, denominator",
            "ARRAY['profit'], ARRAY['turns']",
            "made of \"profit\"",
        ),
        (
            "x",
            "numerator, denominator",
            "ARRAY['turns; DROP TABLE x'], NULL",
            "made of \"turns; DROP TABLE x\"",
        ),
        (
            "x",
            "numerator, denominator",
            "ARRAY['cost_usd_squared'], NULL",
            "made of \"cost_usd_squared\"",
        ),
        ("x", "denominator", "ARRAY['turns']", "it needs a numerator"),
        (
            "x",
            "numerator, denominator, interval_method",
            "ARRAY['tool_calls'], ARRAY['turns'], 'wilson'",
            "is of a share",
        ),
        (
            "x",
            "numerator, denominator, interval_method",
            "ARRAY['outcomes'], ARRAY['successes'], 'wilson'",
            "is of a share",
        ),
        (
            "x",
            "numerator, denominator, interval_method",
            "ARRAY['cost_usd'], ARRAY['turns'], 'delta'",
            "whose squares are kept",
        ),
        (
            "x",
            "denominator, fraction",
            "ARRAY['turns'], 0.5",
            "a percentile of rollups is of latency",
        ),
        (
            "x",
            "denominator, fraction",
            "ARRAY['latency'], 0.5",
            "has an interval by order_statistics",
        ),
        (
            "x",
            "numerator, denominator",
            "ARRAY['latency'], ARRAY['turns']",
            "latency is no sum",
        ),
        (
            "x",
            "source, measure",
            "'facts', 'horoscopes'",
            "its measure must be one of",
        ),
        (
            "x",
            "source, measure",
            "'facts', NULL",
            "its measure must be one of",
        ),
        (
            "x",
            "source, numerator",
            "'eval_runs', ARRAY['turns']",
            "only rollups have",
        ),
        (
            "turns",
            "numerator, denominator",
            "ARRAY['turns'], NULL",
            "has that name already",
        ),
        (
            "Error Rate",
            "numerator, denominator",
            "ARRAY['turns'], NULL",
            "becomes a column",
        ),
    ] {
        assert_explained(&db, &format!(
            "INSERT INTO agent_metrics.metrics (metric, metric_class, unit, direction, definition, {columns})
             VALUES ('{name}', 'capability', 'fraction', '-', 'words', {values})"
        ), "22023", message);
    }
    // one core metric a class: the page has four tiles
    assert_sqlstate(
        &db,
        "UPDATE agent_metrics.metrics SET is_core = true WHERE metric = 'latency_p95_ms'",
        "23505",
    );
    db.exec("SELECT agent_metrics.setup()");
}
