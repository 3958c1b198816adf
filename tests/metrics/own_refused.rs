//! Measurements and definitions that could make no number, each refused with what is wrong.

use crate::metrics::catalogue::desk;
use crate::support::asserts::assert_explained;

#[test]
fn what_no_metric_could_count_is_refused() {
    let db = desk("own_refused");
    db.exec(
        "SELECT agent_metrics.define_metric('csat', 'share', definition => 'Good / all.');
         SELECT agent_metrics.define_metric('wait_p95', 'percentile', measure => 'wait', fraction => 0.95, unit => 's',
                                            definition => 'Wait.')",
    );
    let row = |values: &str| {
        format!(
            "INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator, denominator, weight)
             VALUES ('bot', {values})"
        )
    };
    for (values, state, words) in [
        (
            "'c1', 'x', 1, 1, 0",
            "22003",
            "impossible weight 0 of measure \"x\"",
        ),
        ("'c1', 'x', 1, 1, -1", "22003", "impossible weight -1"),
        (
            "'c1', 'x', 'NaN', 1, 1",
            "22003",
            "impossible numerator NaN",
        ),
        (
            "'c1', 'x', 'Infinity', 1, 1",
            "22003",
            "impossible numerator Infinity",
        ),
        (
            "'c1', 'x', 1, 'NaN', 1",
            "22003",
            "impossible denominator NaN",
        ),
        ("'c1', 'x', 1, -1, 1", "22003", "impossible denominator -1"),
        (
            "'c1', 'revenue', 1, 1, 1",
            "22023",
            "impossible measure \"revenue\"",
        ),
        ("'c1', ' ', 1, 1, 1", "22023", "impossible measure"),
        (
            "'c1', NULL, 1, 1, 1",
            "22023",
            "impossible measure \"NULL\"",
        ),
        ("NULL, 'x', 1, 1, 1", "23502", "names no conversation"),
        (
            "'c1', 'csat', 2, 1, 1",
            "22003",
            "impossible numerator 2 of measure \"csat\"",
        ),
        ("'c1', 'csat', -1, 1, 1", "22003", "impossible numerator -1"),
        (
            "'c1', 'wait', -1, 1, 1",
            "22003",
            "impossible numerator -1 of measure \"wait\"",
        ),
    ] {
        assert_explained(&db, &row(values), state, words);
    }
    let long = "x".repeat(257);
    assert_explained(
        &db,
        &row(&format!("'c1', '{long}', 1, 1, 1")),
        "22001",
        "measure cannot be 257 bytes",
    );
    db.exec(&row("'c1', 'x', -1, 0, 1"));
    for (arguments, state, words) in [
        (
            "'csat2', 'guess', definition => 'D'",
            "22023",
            "unknown kind of metric \"guess\"",
        ),
        (
            "'csat2', 'mean'",
            "22023",
            "lacks: definition (in words, for whoever reads the number), unit",
        ),
        (
            "'csat2', 'percentile', unit => 's', definition => 'D'",
            "22023",
            "lacks: fraction",
        ),
        (
            "'csat2', 'ratio', numerator => '{units}', unit => 'usd', definition => 'D'",
            "22023",
            "lacks: denominator",
        ),
        (
            "'deflection_rate', 'share', definition => 'D'",
            "42710",
            "is there already",
        ),
        (
            "'csat2', 'share', measure => 'x', definition => 'D'",
            "22003",
            "measure \"x\" cannot be a share",
        ),
        (
            "'y', 'percentile', measure => 'x', fraction => 0.5, unit => 's', definition => 'D'",
            "22003",
            "measure \"x\" cannot be a percentile",
        ),
        (
            "'y', 'share', measure => 'survey', definition => 'D'",
            "22023",
            "kept by the extension itself",
        ),
        (
            "'y', 'sum', measure => 'x', numerator => '{units}', unit => 'usd', definition => 'D'",
            "22023",
            "is made of measurements and of sums",
        ),
        (
            "'turns', 'sum', unit => 'count', definition => 'D'",
            "22023",
            "a column of the views has that name",
        ),
        (
            "'y', 'share', numerator => '{nothing}', denominator => '{turns}', definition => 'D'",
            "22023",
            "which no rollup holds",
        ),
    ] {
        assert_explained(
            &db,
            &format!("SELECT * FROM agent_metrics.define_metric({arguments})"),
            state,
            words,
        );
    }
    // a threshold needs somebody who is there
    assert_explained(
        &db,
        "SELECT * FROM agent_metrics.define_metric('csat', 'share', definition => 'D', threshold => 0.5,
                                                   agent_id => 'nobody')",
        "22023",
        "unknown agent \"nobody\"",
    );
}
