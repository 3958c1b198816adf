//! `docs/recipes/add-a-metric.md`, followed to the letter; and rows from which no metric can be made.

use crate::metrics::trace::assert_traced;
use crate::support::asserts::{assert_explained, assert_sqlstate};
use crate::support::rollups::refresh;
use crate::support::shop::shop;
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
            "bucket",
            "numerator, denominator",
            "ARRAY['turns'], NULL",
            "has that name already",
        ),
        (
            "x",
            "numerator, denominator",
            "ARRAY[NULL], ARRAY['turns']",
            "made of \"NULL\"",
        ),
        (
            "x",
            "numerator, denominator",
            "ARRAY['turns', 'turns'], NULL",
            "name each measure once",
        ),
        (
            "x",
            "numerator, denominator",
            "ARRAY['turns'], '{}'",
            "name each measure once",
        ),
        (
            "x",
            "numerator, denominator",
            "ARRAY[['turns', 'leads'], ['units', 'bookings']], NULL",
            "name each measure once",
        ),
        (
            "x",
            "source, measure",
            "'infrastructure', 'answers'",
            "measure revenue holds the hours",
        ),
        (
            "x",
            "source, measure, interval_method",
            "'survey', 'answers', 'difference'",
            "the measure of source survey is survey",
        ),
        (
            "x",
            "source, fraction, interval_method",
            "'eval_runs', 0.5, 'order_statistics'",
            "has no percentile",
        ),
        (
            "x",
            "numerator, for_outcome",
            "ARRAY['turns'], 'magic'",
            "for_outcome \"magic\" is no metric",
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

/// Sums of every grain above and below the line, known and not known: the views and trace() agree on all of them.
#[test]
fn metrics_over_any_sums_are_traced() {
    let db = shop("any_metric");
    db.exec(
        "INSERT INTO agent_metrics.metrics (
             metric, metric_class, unit, direction, numerator, denominator, place, definition)
         SELECT name, 'economics', 'count', '-', above, below, 1000, 'words' FROM (VALUES
             ('tools_per_conversation', ARRAY['tool_calls'], ARRAY['conversations']),
             ('cost_per_turn', ARRAY['cost_usd'], ARRAY['turns']),
             ('both_costs', ARRAY['cost_usd', 'conversation_cost_usd'], ARRAY['conversations']),
             ('mixed', ARRAY['tokens_input', 'units', 'leads'], ARRAY['turns', 'outcomes', 'leads']),
             ('errors_per_escalation', ARRAY['error_turns'], ARRAY['escalations'])) AS m (name, above, below);
         -- a conversation that begins without a cost and costs something after midnight; turns without anything
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd) VALUES
             ('sup', '2026-03-20 23:50+00', 'late', NULL), ('sup', '2026-03-21 00:10+00', 'late', 5.5),
             ('sup', '2026-03-25 12:00+00', 'bare', NULL);
         SELECT agent_metrics.setup()",
    );
    refresh(&db);
    assert_traced(&db);
    assert_eq!(
        db.lines(
            "SELECT tools_per_conversation, cost_per_turn, both_costs FROM agent_kpi.agent_daily
             WHERE agent_id = 'sup' AND day IN ('2026-03-20', '2026-03-25') ORDER BY day"
        ),
        ["0||5.5", "0||0"]
    );
}

/// What an admin may write into the table breaks nobody's view, before and after the next setup().
#[test]
fn a_changed_row_breaks_no_view() {
    let db = shop("changed_metric");
    let views = [
        "kpi_daily",
        "kpi_hourly",
        "kpi_monthly",
        "cfo_tiles",
        "cfo_spark",
        "agent_daily",
        "agent_hourly",
    ];
    let all_answer = || {
        for view in views {
            db.rows(&format!("SELECT * FROM agent_kpi.{view}"));
        }
        db.rows("SELECT * FROM agent_metrics.evaluate_thresholds()");
    };
    for change in [
        "UPDATE agent_metrics.metrics SET numerator = '{successes}', denominator = '{outcomes}',
             interval_method = 'wilson', unit = 'fraction' WHERE metric = 'cost_per_unit_usd'",
        "UPDATE agent_metrics.metrics
         SET interval_method = 'none' WHERE interval_method = 'delta' AND source = 'rollups'",
        "UPDATE agent_metrics.metrics SET place = NULL WHERE source = 'facts'",
        "UPDATE agent_metrics.metrics SET source = 'facts', numerator = NULL, denominator = NULL, measure = 'answers',
             interval_method = 'weighted_wilson' WHERE metric = 'automation_rate'",
        "UPDATE agent_metrics.metrics SET fraction = 0.96 WHERE metric = 'latency_p95_ms';
         SET extra_float_digits = -15",
        "ALTER TABLE agent_metrics.agent_kinds DROP CONSTRAINT agent_kinds_outcome_metric_fkey;
         DELETE FROM agent_metrics.metrics WHERE source = 'rollups'",
    ] {
        db.exec(change);
        all_answer();
        db.exec("SELECT agent_metrics.setup()");
        all_answer();
        if change.contains("0.96") {
            // the percentile is the one that was asked for, however the session shows numbers
            db.exec("RESET extra_float_digits");
            let view = db.value("SELECT pg_get_viewdef('agent_kpi.agent_daily')").unwrap();
            assert!(view.contains("0.96"), "{view}");
        }
    }
}

#[test]
fn a_metric_is_shown_for_those_who_have_it_and_keeps_its_definitions() {
    let db = shop("kept_metric");
    db.exec(
        "SELECT agent_metrics.register_agent('team', 'support', 'Head of Support', actor => 'human');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('team', '2026-03-03 10:00+00', 'h'), ('sup', '2026-03-03 10:00+00', 'a');
         INSERT INTO agent_metrics.metrics
             (metric, metric_class, unit, direction, numerator, denominator, for_actor, place, definition)
         VALUES ('turns_of_ai', 'economics', 'count', '-', '{turns}', '{conversations}', 'ai', 1000, 'first')",
    );
    refresh(&db);
    db.exec("SELECT agent_metrics.setup()");
    for view in ["agent_daily", "agent_hourly"] {
        assert_eq!(
            db.lines(&format!(
                "SELECT DISTINCT agent_id FROM agent_kpi.{view} WHERE turns_of_ai IS NOT NULL ORDER BY agent_id"
            )),
            ["ops", "sal", "sup"]
        );
    }
    let definitions = |metric: &str| {
        db.lines(&format!(
            "SELECT definition_version, effective_from = '-infinity', definition
             FROM agent_metrics_internal.metric_definitions WHERE metric = '{metric}' ORDER BY definition_version"
        ))
    };
    // put in again: as it was, it is the same version; otherwise it is a new one from today on
    let again = |words: &str| {
        db.exec(&format!(
            "DELETE FROM agent_metrics.metrics WHERE metric = 'turns_of_ai';
             INSERT INTO agent_metrics.metrics (
                 metric, metric_class, unit, direction, numerator, denominator, definition)
             VALUES ('turns_of_ai', 'economics', 'count', '-', '{{turns}}', '{{conversations}}', '{words}')"
        ));
    };
    again("first");
    assert_eq!(definitions("turns_of_ai"), ["1|t|first"]);
    again("second");
    assert_eq!(definitions("turns_of_ai"), ["1|t|first", "2|f|second"]);
    // one that is put in where it is changes nothing
    db.exec(
        "INSERT INTO agent_metrics.metrics (metric, metric_class, unit, direction, numerator, definition)
         VALUES ('turns_of_ai', 'economics', 'count', '-', '{turns}', 'third') ON CONFLICT DO NOTHING;
         UPDATE agent_metrics.metrics SET metric = 'turns_a_talk' WHERE metric = 'turns_of_ai'",
    );
    assert_eq!(definitions("turns_of_ai"), ["1|t|first", "2|f|second"]);
    assert_eq!(definitions("turns_a_talk"), ["3|t|second"]);
}

/// A type that is not the one that the library knows is an error, whatever was done to it.
#[test]
fn a_delta_with_a_column_that_cannot_be_added_is_refused() {
    let db = db("strange_delta");
    db.exec("ALTER TYPE agent_metrics_internal.rollup_delta ADD ATTRIBUTE extra integer");
    assert_eq!(
        db.error(
            "SELECT agent_metrics_internal.sum_deltas(jsonb_populate_record(
                 NULL::agent_metrics_internal.rollup_delta,
                 '{\"agent_id\": \"a\", \"turns\": 2, \"extra\": 77}'), now())"
        )
        .sqlstate,
        "42804"
    );
}
