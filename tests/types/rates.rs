//! The type rate in SQL: counting, bounds, order.

use crate::support::asserts::assert_explained;
use crate::types::aggregates::{line, types};

#[test]
fn rate_counts_and_keeps_its_count() {
    let db = types("aggregates_rate");
    assert_eq!(
        line(
            &db,
            "SELECT rate(x), hits(rate(x)), total(rate(x)) FROM unnest(ARRAY[true, false, NULL, true]) AS x"
        ),
        "2/3|2|3"
    );
    assert_eq!(
        line(&db, "SELECT rate(x) FROM (SELECT true AS x WHERE false) t"),
        ""
    );
    assert_eq!(
        line(
            &db,
            "SELECT rate(NULL::boolean), merge(NULL::rate) FROM generate_series(1, 10)"
        ),
        "|"
    );
    assert_eq!(
        db.lines(
            "SELECT rate(x > 2) FILTER (WHERE g = 1)
             FROM generate_series(1, 2) AS g, generate_series(1, 4) AS x GROUP BY g ORDER BY g"
        ),
        ["2/4", ""]
    );
    // 1/2 and 90/100: pooled, not averaged
    assert_eq!(
        line(
            &db,
            "SELECT merge(r), round(merge(r)::numeric, 6) FROM unnest(ARRAY['1/2', '90/100', NULL]::rate[]) AS r"
        ),
        "91/102|0.892157"
    );
    assert_eq!(
        line(
            &db,
            "SELECT '1/2'::rate + '90/100', '1/2'::rate = '1/2', '1/2'::rate = '2/4',
                    '1/2'::rate <> '2/4', rate(184, 200)"
        ),
        "91/102|t|f|t|184/200"
    );
    assert_eq!(
        line(
            &db,
            "SELECT '184/200'::rate::float8, '184/200'::rate::numeric = 0.92, '0/0'::rate::float8,
                    '0/0'::rate::numeric, ' 3 / 4 '::rate"
        ),
        "0.92|t|||3/4"
    );
    assert_eq!(
        db.lines("SELECT rate(x > 2) OVER (ORDER BY x) FROM generate_series(1, 4) AS x"),
        ["0/1", "0/2", "1/3", "2/4"],
        "a window does not write into what it has given out"
    );
    assert_eq!(
        db.lines("SELECT merge(r) OVER (ORDER BY n) FROM (VALUES (1, '1/2'::rate), (2, '0/1'), (3, '5/5')) t (n, r)"),
        ["1/2", "1/3", "6/8"]
    );
    for text in ["", "1", "a/b", "1/2/3", "1.5/2", "99999999999999999999/1"] {
        assert_explained(&db, &format!("SELECT '{text}'::rate"), "22P02", text);
    }
    for (sql, named) in [
        ("SELECT '2/1'::rate", "2"),
        ("SELECT '-1/2'::rate", "-1"),
        ("SELECT rate(3, 2)", "3"),
        ("SELECT rate(0, -1)", "-1"),
        (
            "SELECT '1/9223372036854775807'::rate + '1/1'",
            "9223372036854775807",
        ),
        (
            "SELECT merge(r) FROM unnest(ARRAY['1/9223372036854775807', '1/1']::rate[]) AS r",
            "9223372036854775807",
        ),
    ] {
        assert_explained(&db, sql, "22003", named);
    }
}

#[test]
fn wilson_bounds_are_those_of_the_published_table() {
    let db = types("aggregates_wilson");
    for (rate, low, high, digits) in [
        ("184/200", 0.874010511733, 0.950159414110, 1e-12),
        ("3/200", 0.005114237793, 0.043165728793, 1e-12),
        ("0/200", 0.0, 0.018845, 1e-6),
        ("0/10", 0.0, 0.277533, 1e-6),
        ("35/100", 0.263642482, 0.447455567, 1e-9),
    ] {
        let bounds = (
            db.number(&format!("SELECT wilson_low('{rate}')")),
            db.number(&format!("SELECT wilson_high('{rate}')")),
        );
        assert!(
            (bounds.0 - low).abs() <= digits && (bounds.1 - high).abs() <= digits,
            "{rate}: {bounds:?}"
        );
    }
    assert_eq!(
        line(
            &db,
            "SELECT wilson_low('0/0'), wilson_high('0/0'), wilson_low(NULL), wilson_high('5/5') = 1,
                    wilson_low('0/5') = 0"
        ),
        "|||t|t"
    );
    // verdicts of statistics.md: 0/252 may still be above 1.5%, 0/253 is not
    assert_eq!(
        line(
            &db,
            "SELECT wilson_high('0/252') > 0.015, wilson_high('0/253') <= 0.015, wilson_low('192/200') >= 0.92"
        ),
        "t|t|t"
    );
    // another confidence is wider, and the default is 95%
    assert_eq!(
        line(
            &db,
            "SELECT wilson_low('35/100') = wilson_low('35/100', 0.95),
                    wilson_low('35/100', 0.99) < wilson_low('35/100'),
                    wilson_high('35/100', 0.5) < wilson_high('35/100')"
        ),
        "t|t|t"
    );
}

#[test]
fn rates_are_ordered_and_taken_apart() {
    let db = types("rates_order");
    assert_eq!(
        line(
            &db,
            "SELECT string_agg(r::text, ' ' ORDER BY r)
             FROM unnest(ARRAY['0/0', '1/1', '1/2', '2/4', '0/3',
                               '9223372036854775806/9223372036854775807']::rate[]) AS r"
        ),
        "0/3 1/2 2/4 9223372036854775806/9223372036854775807 1/1 0/0"
    );
    assert_eq!(
        line(
            &db,
            "SELECT '184/200'::rate - '4/10', '1/2'::rate < '2/3', '1/2'::rate >= '2/3',
                    '1/2'::rate <= '1/2', '1/2'::rate > '1/2'"
        ),
        "180/190|t|f|t|f"
    );
    for impossible in [
        "'1/2'::rate - '2/2'",
        "'1/2'::rate - '0/2'",
        "'1/2'::rate - '1/3'",
    ] {
        assert_explained(&db, &format!("SELECT {impossible}"), "22003", "1/2 - ");
    }
}
