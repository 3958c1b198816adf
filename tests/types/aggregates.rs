//! Aggregates over sketches in SQL: the answers at every edge, the errors, and that serial, parallel and partition-wise
//! plans give the same bytes.

use crate::support::asserts::{assert_explained, assert_sqlstate};
use crate::support::rollups::within;
use crate::support::{Session, db, empty_db};

/// A database with the extension and no tables: the types need no more. Names resolve without the schema.
pub fn types(name: &str) -> crate::support::Db {
    let db = empty_db(name);
    db.exec("CREATE EXTENSION agent_metrics; SET search_path = public, agent_metrics, agent_metrics_internal");
    db
}

/// The one line that a query gives.
pub fn line(session: &Session, sql: &str) -> String {
    let mut lines = session.lines(sql);
    assert_eq!(lines.len(), 1, "{sql}");
    lines.remove(0)
}

#[test]
fn sketch_of_nothing_is_null() {
    let db = types("aggregates_nothing");
    let all = "quantile_sketch(x), p50(x), p95(x), p99(x), merge(s)";
    for from in [
        "(SELECT 1::float8 AS x, NULL::quantile_sketch AS s WHERE false) t",
        "(SELECT NULL::float8 AS x, NULL::quantile_sketch AS s FROM generate_series(1, 1000)) t",
    ] {
        assert_eq!(line(&db, &format!("SELECT {all} FROM {from}")), "||||");
    }
    // a FILTER that empties a group leaves the others
    assert_eq!(
        db.lines(
            "SELECT g, p50(x) FILTER (WHERE g > 1), quantile_sketch(x) FILTER (WHERE g > 1)
             FROM generate_series(1, 2) AS g, unnest(ARRAY[5, 5, 7]::float8[]) AS x GROUP BY g ORDER BY g"
        ),
        ["1||", "2|5|3 [5, 7] 5*2 7"]
    );
    // what reads a sketch gives NULL for none; percentile of no fraction likewise
    assert_eq!(
        line(
            &db,
            "SELECT percentile(NULL::quantile_sketch, 0.5),
                    percentile('1 [5, 5] 5'::quantile_sketch, NULL::float8), sketch_count(NULL),
                    sketch_min(NULL), sketch_max(NULL), percentile_rank(NULL, 1),
                    percentile('1 [5, 5] 5'::quantile_sketch, NULL::float8[]),
                    percentile('1 [5, 5] 5'::quantile_sketch, ARRAY[]::float8[]),
                    percentile('1 [5, 5] 5'::quantile_sketch, ARRAY[NULL, 1]::float8[])"
        ),
        "|||||||{}|{NULL,5}"
    );
    // NULLs are skipped, not counted
    assert_eq!(
        line(
            &db,
            "SELECT sketch_count(quantile_sketch(x)) FROM unnest(ARRAY[NULL, 1, NULL, 2]::int[]) AS x"
        ),
        "2"
    );
}

#[test]
fn sketch_is_exact_where_it_says_so() {
    let db = types("aggregates_exact");
    // one value, whatever it is, is its own minimum, maximum and every percentile
    for value in [
        "0",
        "123.456",
        "1e-9",
        "1e12",
        "4.9e-324",
        "2.2250738585072014e-308",
        "1.7976931348623157e308",
        "1e-300",
    ] {
        assert_eq!(
            line(
                &db,
                &format!(
                    "SELECT p50(x) = x AND p95(x) = x AND p99(x) = x
                            AND percentile(quantile_sketch(x), 0) = x
                            AND percentile(quantile_sketch(x), 1) = x
                            AND sketch_min(quantile_sketch(x)) = x
                            AND sketch_max(quantile_sketch(x)) = x
                     FROM (SELECT '{value}'::float8 AS x) t GROUP BY x"
                )
            ),
            "t",
            "{value}"
        );
    }
    assert_eq!(
        line(
            &db,
            "SELECT quantile_sketch(x) FROM (VALUES (-0.0::float8), (0)) t (x)"
        ),
        "2 [0, 0] 0*2"
    );
    assert_eq!(
        line(
            &db,
            "SELECT quantile_sketch(700::float8) FROM generate_series(1, 1000)"
        ),
        "1000 [700, 700] 704*1000"
    );
    assert_eq!(
        line(&db, "SELECT p50(700::float8) FROM generate_series(1, 1000)"),
        "700",
        "equal values are exact"
    );
    // integers up to 127, at every rank
    assert_eq!(
        line(
            &db,
            "SELECT count(*) FROM (SELECT array_agg(x ORDER BY x) AS xs, quantile_sketch(x) AS s
                                   FROM generate_series(0, 127) AS x) a,
                    generate_series(1, 128) AS rank
             WHERE percentile(s, rank / 128.0) <> xs[rank]"
        ),
        "0"
    );
    // the extremes are exact whatever lies between
    assert_eq!(
        line(
            &db,
            "SELECT percentile(s, 0), percentile(s, 1), sketch_count(s) FROM (
                 SELECT quantile_sketch(x) AS s FROM (SELECT 1000.001 + i FROM generate_series(0, 5000) AS i) t (x)) q"
        ),
        "1000.001|6000.001|5001"
    );
    // the doubles at both ends, and subnormals, in one sketch
    assert_eq!(
        line(
            &db,
            "SELECT sketch_min(s), sketch_max(s), percentile(s, 0.5),
                    percentile(s, ARRAY[0, 0.5, 1]::float8[])
             FROM (SELECT quantile_sketch(x) AS s FROM unnest(
                       ARRAY[4.9e-324, 1e-310, 3, 1e300, 1.7976931348623157e308]::float8[]) AS x) q"
        ),
        "5e-324|1.7976931348623157e+308|3|{5e-324,3,1.7976931348623157e+308}"
    );
}

#[test]
fn sketch_percentiles_are_within_their_error_of_percentile_disc() {
    let db = types("aggregates_error");
    db.exec(
        "CREATE TABLE shapes AS
         SELECT 'linear' AS shape, i::float8 / 7 AS x FROM generate_series(0, 4000) AS i
         UNION ALL SELECT 'exponential', exp(i / 100.0) * 1e-9 FROM generate_series(0, 4800) AS i
         UNION ALL SELECT 'edges', 2.0 ^ (i % 40 - 20) * (1 + (i % 256) / 256.0) FROM generate_series(1, 5000) AS i
         UNION ALL SELECT 'few', x FROM unnest(ARRAY[3, 1000.7, 12.5]) AS x
         UNION ALL SELECT 'heavy', (i % 97)::float8 ^ 6 FROM generate_series(1, 5000) AS i",
    );
    let rows = db.rows(
        "SELECT shape, f, percentile(s, f), (SELECT percentile_disc(f) WITHIN GROUP (ORDER BY x)
                                             FROM shapes WHERE shapes.shape = q.shape)
         FROM (SELECT shape, quantile_sketch(x) AS s FROM shapes GROUP BY shape) q,
              unnest(ARRAY[0, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0 / 3, 0.75, 0.9, 0.95,
                           0.99, 0.999, 1]) AS f",
    );
    assert_eq!(rows.len(), 5 * 13);
    for row in rows {
        let number = |field: usize| row[field].as_ref().unwrap().parse::<f64>().unwrap();
        assert!(within(number(2), number(3)), "{row:?}");
    }
    // the shorthands are the same percentiles
    assert_eq!(
        line(
            &db,
            "SELECT bool_and(p50 = percentile(s, 0.5) AND p95 = percentile(s, 0.95)
                             AND p99 = percentile(s, 0.99))
             FROM (
             SELECT p50(x), p95(x), p99(x), quantile_sketch(x) AS s FROM shapes GROUP BY shape) q"
        ),
        "t"
    );
    // 95 x 1 ms and 5 x 10 ms, 5 x 1 ms and 95 x 20 ms: merged, not averaged
    assert_eq!(
        line(
            &db,
            "SELECT percentile(merge(s), 0.95) FROM (SELECT quantile_sketch(x) AS s FROM (
             SELECT 1 AS g, CASE WHEN i <= 95 THEN 1 ELSE 10 END AS x FROM generate_series(1, 100) AS i
             UNION ALL SELECT 2, CASE WHEN i <= 5 THEN 1 ELSE 20 END FROM generate_series(1, 100) AS i) v GROUP BY g) q"
        ),
        "20"
    );
}

#[test]
fn sketch_refuses_what_no_quantile_is_defined_for() {
    let db = types("aggregates_refuses");
    for (value, named) in [
        ("'NaN'::float8", "NaN"),
        ("'Infinity'::float8", "inf"),
        ("'-Infinity'::float8", "-inf"),
        ("-0.5::float8", "-0.5"),
        ("-7", "-7"),
        ("-7::smallint", "-7"),
        ("-7::bigint", "-7"),
        ("-1.25::numeric", "-1.25"),
        ("'NaN'::numeric", "NaN"),
        ("'Infinity'::numeric", "inf"),
        ("'NaN'::real", "NaN"),
        ("-2::real", "-2"),
    ] {
        for aggregate in ["quantile_sketch", "p50", "p95", "p99"] {
            assert_explained(
                &db,
                &format!(
                    "SELECT {aggregate}(x) FROM (SELECT {value} AS x FROM generate_series(1, 3)) t"
                ),
                "22003",
                named,
            );
        }
    }
    // beyond the largest double, which numeric can hold
    assert_sqlstate(&db, "SELECT quantile_sketch(1e400::numeric)", "22003");
    for (sql, named) in [
        (
            "SELECT percentile('1 [5, 5] 5'::quantile_sketch, 1.5)",
            "1.5",
        ),
        (
            "SELECT percentile('1 [5, 5] 5'::quantile_sketch, -0.1)",
            "-0.1",
        ),
        (
            "SELECT percentile('1 [5, 5] 5'::quantile_sketch, 'NaN'::float8)",
            "NaN",
        ),
        (
            "SELECT percentile('1 [5, 5] 5'::quantile_sketch, ARRAY[0.5, 95])",
            "95",
        ),
        ("SELECT wilson_low('1/2'::rate, 95)", "95"),
        (
            "SELECT percentile_rank('1 [5, 5] 5'::quantile_sketch, 'NaN')",
            "NaN",
        ),
    ] {
        assert_explained(&db, sql, "22003", named);
    }
    // the session goes on
    assert_eq!(
        line(&db, "SELECT p50(x) FROM generate_series(1, 9) AS x"),
        "5"
    );
}

#[test]
fn sketch_is_the_same_over_every_type_of_number() {
    let db = types("aggregates_types");
    let bytes = |kind: &str| {
        line(
            &db,
            &format!(
                "SELECT quantile_sketch_send(quantile_sketch(x::{kind})) FROM generate_series(0, 32000, 17) AS x"
            ),
        )
    };
    let expected = bytes("float8");
    for kind in ["smallint", "integer", "bigint", "real", "numeric"] {
        assert_eq!(bytes(kind), expected, "{kind}");
        assert_eq!(
            line(
                &db,
                &format!(
                    "SELECT p50(x::{kind}), p95(x::{kind}), p99(x::{kind}) FROM generate_series(0, 100) AS x"
                )
            ),
            "50|95|99",
            "{kind}"
        );
    }
    // numerics with a fraction are the doubles they print as
    assert_eq!(
        line(
            &db,
            "SELECT quantile_sketch(x) = quantile_sketch(x::float8)
             FROM unnest(ARRAY[0.1, 12.345678901234567890123, 1e-9, 99999999999.999]) AS x"
        ),
        "t"
    );
    // order does not matter
    assert_eq!(
        line(&db, "SELECT count(DISTINCT quantile_sketch_send(s)) FROM (
             SELECT quantile_sketch(x ORDER BY x) FROM generate_series(1, 3000) AS x
             UNION ALL SELECT quantile_sketch(x ORDER BY x DESC) FROM generate_series(1, 3000) AS x
             UNION ALL SELECT quantile_sketch(x ORDER BY md5(x::text)) FROM generate_series(1, 3000) AS x) q (s)"),
        "1"
    );
}

/// The text of a plan.
pub fn plan(session: &Session, sql: &str) -> String {
    session
        .lines(&format!("EXPLAIN (COSTS off) {sql}"))
        .join("\n")
}

#[test]
fn parallel_and_partition_wise_plans_give_the_bytes_of_the_serial_one() {
    let db = types("aggregates_parallel");
    db.exec(
        "CREATE TABLE facts (g integer, part integer, x float8, ok boolean) PARTITION BY LIST (part);
         CREATE TABLE facts_0 PARTITION OF facts FOR VALUES IN (0);
         CREATE TABLE facts_1 PARTITION OF facts FOR VALUES IN (1);
         CREATE TABLE facts_2 PARTITION OF facts FOR VALUES IN (2);   -- stays empty, as a worker may
         INSERT INTO facts
         SELECT i % 40, i % 2, CASE WHEN i % 40 = 39 THEN NULL
                                    WHEN i % 40 < 20 THEN (i * 7919::bigint) % 100003
                                    ELSE exp((i % 977) / 50.0) END, i % 3 = 0
         FROM generate_series(1, 60000) AS i;
         INSERT INTO facts VALUES (99, 0, 1.5, NULL), (98, 1, 2.5, true), (97, 1, NULL, false);
         CREATE TABLE sketches AS SELECT g, i % 50 AS n, quantile_sketch(x) AS s, rate(ok) AS r
             FROM facts, LATERAL (SELECT (x * 13)::bigint AS i) k GROUP BY 1, 2;
         ANALYZE facts, sketches",
    );
    let queries = [
        "SELECT g, quantile_sketch_send(quantile_sketch(x)), p50(x), p95(x), p99(x), rate(ok)
         FROM facts GROUP BY g ORDER BY g",
        "SELECT quantile_sketch_send(quantile_sketch(x)), p50(x), p95(x), p99(x), rate(ok) FROM facts",
        "SELECT quantile_sketch_send(quantile_sketch(x)), rate(ok) FROM facts WHERE x IS NULL",
        "SELECT quantile_sketch_send(quantile_sketch(x)) FROM facts WHERE g * 2 > 400",
        "SELECT g, quantile_sketch_send(quantile_sketch(x)) FROM facts WHERE g * 2 > 180 GROUP BY g ORDER BY g",
        "SELECT g, quantile_sketch_send(merge(s)), merge(r) FROM sketches GROUP BY g ORDER BY g",
        "SELECT quantile_sketch_send(merge(s)), merge(r) FROM sketches",
    ];
    db.exec("SET max_parallel_workers_per_gather = 0; SET jit = off");
    let serial: Vec<_> = queries.iter().map(|sql| db.lines(sql)).collect();
    assert!(serial[0].len() == 43 && serial[2].len() == 1);
    for sql in queries {
        let plan = plan(&db, sql);
        assert!(
            !plan.contains("Gather") && !plan.contains("Partial"),
            "{plan}"
        );
    }

    db.exec(
        "SET max_parallel_workers_per_gather = 4; SET parallel_setup_cost = 0;
         SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         ALTER TABLE facts_0 SET (parallel_workers = 3);
         ALTER TABLE facts_1 SET (parallel_workers = 3);
         ALTER TABLE facts_2 SET (parallel_workers = 3);
         ALTER TABLE sketches SET (parallel_workers = 3)",
    );
    for leader in ["on", "off"] {
        db.exec(&format!("SET parallel_leader_participation = {leader}"));
        for (sql, expected) in queries.iter().zip(&serial) {
            let plan = plan(&db, sql);
            assert!(
                plan.contains("Gather") && plan.contains("Partial") && plan.contains("Finalize"),
                "{sql}\n{plan}"
            );
            assert_eq!(&db.lines(sql), expected, "parallel: {sql}");
        }
    }

    db.exec("SET max_parallel_workers_per_gather = 0; SET enable_partitionwise_aggregate = on");
    let partial = plan(&db, queries[0]);
    assert!(
        partial.matches("Partial").count() >= 2
            && partial.contains("Finalize")
            && !partial.contains("Gather"),
        "{partial}"
    );
    assert_eq!(db.lines(queries[0]), serial[0], "partition-wise, partial");
    db.exec("SET enable_hashagg = off");
    assert_eq!(db.lines(queries[0]), serial[0], "partition-wise, sorted");
    // so little memory that hashed groups spill
    db.exec(
        "SET enable_hashagg = on; SET enable_sort = off; SET enable_partitionwise_aggregate = off;
         SET work_mem = '64kB'",
    );
    assert_eq!(db.lines(queries[0]), serial[0], "spilled");
}

#[test]
fn percentile_rank_is_the_share_up_to_a_value() {
    let db = types("aggregates_rank");
    assert_eq!(
        line(
            &db,
            "SELECT percentile_rank(s, -1), percentile_rank(s, 0), percentile_rank(s, 1), percentile_rank(s, 50),
                    percentile_rank(s, 99.5), percentile_rank(s, 100), percentile_rank(s, 1e300),
                    percentile_rank(s, 'Infinity'), percentile_rank(s, '-Infinity')
             FROM (SELECT quantile_sketch(x) AS s FROM generate_series(1, 100) AS x) q"
        ),
        "0|0|0.01|0.5|1|1|1|1|0"
    );
}

#[test]
fn percentile_intervals_are_order_statistics() {
    let db = types("aggregates_intervals");
    // n = 200: ranks 184 and 197 cover the 95th percentile (statistics.md); values up to 127 are exact, so use them
    db.exec("CREATE TABLE v AS SELECT least(i, 70) + greatest(i - 170, 0) AS x FROM generate_series(1, 200) AS i");
    assert_eq!(
        line(
            &db,
            "SELECT percentile_low(s, 0.95), (SELECT x FROM v ORDER BY x OFFSET 183 LIMIT 1),
                    percentile_high(s, 0.95), (SELECT x FROM v ORDER BY x OFFSET 196 LIMIT 1)
             FROM (SELECT quantile_sketch(x) AS s FROM v) q"
        ),
        "84|84|97|97"
    );
    assert_eq!(
        line(
            &db,
            "SELECT percentile_low(NULL, 0.5), percentile_high(NULL, 0.5)"
        ),
        "|"
    );
}

#[test]
fn pure_functions_need_no_tables_and_no_rights() {
    // what an analyst has after CREATE EXTENSION, without setup()
    let db = db("aggregates_pure");
    let analyst = format!("{}_analyst", db.name());
    db.exec(&format!("CREATE ROLE {analyst}; SET ROLE {analyst}"));
    assert_eq!(
        line(
            &db,
            "SELECT agent_metrics.p95(x), agent_metrics.rate(x > 5),
                    agent_metrics.percentile(agent_metrics.quantile_sketch(x), 0.1)
             FROM generate_series(1, 100) AS x"
        ),
        "95|95/100|10"
    );
    assert_eq!(
        line(
            &db,
            "SELECT agent_metrics.version() ~ '^[0-9]+\\.[0-9]+', agent_metrics.ratio(1, 0) IS NULL,
                    agent_metrics.ratio(1, 4), agent_metrics.check_cadence('*/5 * * * *', 'UTC')"
        ),
        "t|t|0.25|t"
    );
    assert_sqlstate(&db, "SELECT agent_metrics.refresh()", "42501");
    db.exec(&format!("RESET ROLE; DROP ROLE {analyst}"));
}
