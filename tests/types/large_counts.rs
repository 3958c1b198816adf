//! The statistics over the whole range of their arguments: figures of mpmath and scipy (`golden/statistics.py`), and an
//! error where there is no figure. Nothing that a caller sends holds a backend longer than his own timeout allows.

use crate::support::asserts::assert_explained;
use crate::types::aggregates::{line, types};

/// Lines of `golden/statistics.txt`: an expression and its value, `~` before one that is held absolutely.
fn figures() -> Vec<(&'static str, &'static str)> {
    include_str!("../golden/statistics.txt")
        .lines()
        .map(|line| line.split_once('|').unwrap())
        .collect()
}

#[test]
fn every_statistic_is_right_from_nothing_to_the_largest_bigint() {
    let db = types("large_counts");
    let mut wrong = Vec::new();
    for some in figures().chunks(100) {
        let query = some
            .iter()
            .enumerate()
            .map(|(n, (expression, _))| format!("SELECT {n}, ({expression})::text"))
            .collect::<Vec<_>>()
            .join(" UNION ALL ");
        let given = db.lines(&format!(
            "SELECT text FROM ({query}) s (n, text) ORDER BY n"
        ));
        assert_eq!(given.len(), some.len());
        for ((expression, expected), value) in some.iter().zip(given) {
            let (absolute, expected) = match expected.strip_prefix('~') {
                Some(rest) => (true, rest),
                None => (false, *expected),
            };
            let is_right = match (value.parse::<f64>(), expected.parse::<f64>()) {
                (Ok(value), Ok(expected)) if absolute => (value - expected).abs() <= 1e-15,
                (Ok(value), Ok(expected)) => (value - expected).abs() <= expected.abs() * 1e-9,
                _ => value == expected,
            };
            if !is_right {
                wrong.push(format!("{expression} is {value}, and should be {expected}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn a_change_in_points_is_compared_exactly() {
    let db = types("large_counts_moved");
    let most = i64::MAX;
    assert_eq!(
        line(
            &db,
            &format!(
                "SELECT moved_more_than({most}, {most}, 0, {most}, 99),
                        moved_more_than({most}, {most}, 0, {most}, 100),
                        moved_more_than({most}, {most}, 0, {most}, 2147483647),
                        moved_more_than({most}, {most}, {most} - 1, {most}, 0),
                        moved_more_than({half}, {most}, 0, {most}, 50),
                        moved_more_than({half} - 1, {most}, 0, {most}, 50)",
                half = 1_i64 << 62
            )
        ),
        "t|f|f|t|t|f"
    );
}

#[test]
fn what_has_no_figure_is_an_error_or_null() {
    let db = types("large_counts_errors");
    for (sql, named) in [
        ("mcnemar_exact(-1, 9223372036854775807)", "-1"),
        ("zero_failures_needed(1e-300)", "observations"),
        (
            "zero_failures_needed(1e-18, 0.9999999999999999)",
            "observations",
        ),
        ("widened_p(5, 6, 10, 0, 0, 1)", "5 + 6 of 10"),
        (
            "widened_p(1, 0, 10, 9223372036854775807, 9223372036854775807, 9223372036854775807)",
            "9223372036854775807",
        ),
        (
            "bonett_price_low(9223372036854775807, 1, 9223372036854775807)",
            "9223372036854775807",
        ),
        ("wilson_low('1/2', 1.5)", "1.5"),
        ("wilson_low('1/2', 'NaN')", "NaN"),
        ("benjamini_hochberg('{0.5, 1.5}')", "1.5"),
        (
            "percentile('1 [5, 5] 5'::quantile_sketch, '{0.5, -1}'::float8[])",
            "-1",
        ),
    ] {
        assert_explained(&db, &format!("SELECT {sql}"), "22003", named);
    }
    // A share that all but lies on its line, a gap without weights: no overflow, no division by zero.
    assert_eq!(
        line(
            &db,
            "SELECT observations_needed(0, 1e-300, 10), observations_needed(5e-324, 0, 10),
                    observations_needed(0.5, 0.5, 10), observations_needed(0.9, 0.5, 5),
                    gap_low(0, 0, 0, 0, 0), gap_high(0, 0, 0, 0, 0), nps_error(0, 0, 0),
                    ratio_error(1, 1, 1, 1, 1, 1), ratio_error(2, 1, 0, 1, 1, 1)"
        ),
        "1000000000000000|1000000000000000||6|||||"
    );
    assert_eq!(
        line(
            &db,
            "SELECT wilson_low('0/0'), wilson_low('1/2', 0), wilson_low('1/2', 1), rank_low(0, 0.5),
                    rank_low(10, 0), rank_high(-1, 0.5), rank_low(10, 'NaN'),
                    weighted_low(0.5, 'Infinity'), weighted_low('NaN', 10),
                    paired_low(1, 'Infinity', 1, 1), paired_low('NaN', 1, 1, 1),
                    paired_low(0, 0, 0, 0), minimum_detectable_change(0, 0.1),
                    minimum_detectable_change(10, 0.1, 1), wilcoxon_signed_rank('{NaN}')"
        ),
        "||||||||||||||"
    );
}

/// What a role without any right may call. Each took minutes, or for ever, and no timeout ended it.
#[test]
fn a_long_argument_is_read_once_or_refused() {
    let db = types("large_counts_long");
    // A hundred thousand fractions of a sketch of a hundred thousand buckets: in one pass each is what it is alone.
    db.exec(
        "CREATE TABLE one AS
         SELECT quantile_sketch(power(2::float8, (i % 120000) / 64.0 - 900)) AS s
         FROM generate_series(1, 200000) AS i;
         SET statement_timeout = '5s'",
    );
    assert_eq!(
        line(
            &db,
            "SELECT count(*), count(*) FILTER (WHERE v.n % 5000 = 0
                                                 AND v.value IS DISTINCT FROM percentile(one.s, v.n / 100000.0::float8))
             FROM one, unnest(percentile(
                 one.s, (SELECT array_agg(n / 100000.0::float8 ORDER BY n) FROM generate_series(0, 100000) AS n)))
                       WITH ORDINALITY AS u (value, position), LATERAL (SELECT u.position - 1 AS n, u.value) AS v"
        ),
        "100001|0"
    );
    assert_eq!(
        line(
            &db,
            "SELECT percentile(s, '{1, NULL, 0, 0.5, 0.5}'::float8[])
                 = ARRAY[sketch_max(s), NULL, sketch_min(s), percentile(s, 0.5), percentile(s, 0.5)]
             FROM one"
        ),
        "t"
    );
    assert_eq!(
        line(
            &db,
            "SELECT array_length(percentile(s, a), 1), array_length(benjamini_hochberg(a), 1),
                    wilcoxon_signed_rank(a) < 0.001
             FROM one, (SELECT array_agg(i / 1000000.0::float8) AS a FROM generate_series(1, 1000000) AS i) x"
        ),
        "1000000|1000000|t"
    );
    let million = "(SELECT array_agg(0.5::float8) FROM generate_series(0, 1000000))";
    for sql in [
        format!("SELECT percentile(s, {million}) FROM one"),
        format!("SELECT benjamini_hochberg({million})"),
        format!("SELECT wilcoxon_signed_rank({million})"),
        format!("SELECT stratified_rate({million}, '{{}}', '{{}}')"),
        format!("SELECT stratified_error('{{}}', '{{}}', {million})"),
    ] {
        assert_explained(&db, &sql, "54000", "1000001 numbers");
    }
    for (sql, sqlstate, named) in [
        (
            "SELECT repeat(' ', 20000000)::quantile_sketch",
            "22P02",
            "quantile_sketch",
        ),
        (
            "SELECT repeat('1', 20000000)::rate",
            "22P02",
            "invalid rate",
        ),
        (
            "SELECT check_cadence(repeat('*,', 20000000) || '* * * * *', 'UTC')",
            "22023",
            "*,*,",
        ),
        (
            "SELECT next_due(repeat('*,', 20000000) || '* * * * *', 'UTC', now())",
            "22023",
            "*,*,",
        ),
        (
            "SELECT check_cadence('0 * * * *', repeat('x', 20000000))",
            "22023",
            "xxx",
        ),
    ] {
        let error = assert_explained(&db, sql, sqlstate, named);
        assert!(error.message.len() < 200, "{}", error.message.len());
    }
}

#[test]
fn a_cadence_that_does_not_fire_again_says_so_at_once() {
    let db = types("large_counts_cadence");
    db.exec("SET statement_timeout = '5s'; SET TimeZone = 'UTC'");
    assert_eq!(
        line(
            &db,
            "SELECT next_due('0 0 29 2 *', 'UTC', '200000-01-01'),
                    next_due('0 0 29 2 *', 'Pacific/Apia', '262142-12-31 23:59:59'),
                    next_due('0 0 29 2 *', 'Pacific/Apia', '294276-12-31 23:59:59'),
                    next_due('0 0 29 2 *', 'UTC', 'infinity'), next_due('0 0 29 2 *', 'UTC', '-infinity'),
                    next_due('*/5 * * * *', 'UTC', '2100-12-31 23:55'), next_due('0 0 29 2 *', 'UTC', '4713-01-01 BC')"
        ),
        "||||||1972-02-29 00:00:00+00"
    );
    assert_explained(
        &db,
        "SELECT next_due('0 0 30 2 *', 'UTC', now())",
        "22023",
        "0 0 30 2 *",
    );
}
