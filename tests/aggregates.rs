//! Sketches and rates in SQL: the answers at every edge, the errors, and that serial, parallel and partition-wise plans
//! give the same bytes.

use futures_util::{SinkExt, TryStreamExt};

use crate::books::within;
use crate::harness::{Session, SqlError, db, empty_db};

/// A database with the extension and no tables: the types need no more. Names resolve without the schema.
fn types(name: &str) -> crate::harness::Db {
    let db = empty_db(name);
    db.exec("CREATE EXTENSION agent_metrics; SET search_path = public, agent_metrics");
    db
}

/// The one line that a query gives.
fn line(session: &Session, sql: &str) -> String {
    let mut lines = session.lines(sql);
    assert_eq!(lines.len(), 1, "{sql}");
    lines.remove(0)
}

/// An error of ours: it says which value, why, and what to do.
fn assert_ours(error: &SqlError, sqlstate: &str, names: &str) {
    assert_eq!(error.sqlstate, sqlstate, "{error}");
    assert!(
        error.message.contains(names),
        "{names:?} is not in: {error}"
    );
    assert!(
        !error.detail.is_empty() && !error.hint.is_empty(),
        "detail and hint: {error}"
    );
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
            "SELECT percentile(NULL::quantile_sketch, 0.5), percentile('1 [5, 5] 5'::quantile_sketch, NULL::float8), sketch_count(NULL), sketch_min(NULL),
                    sketch_max(NULL), percentile_rank(NULL, 1), percentile('1 [5, 5] 5'::quantile_sketch, NULL::float8[]),
                    percentile('1 [5, 5] 5'::quantile_sketch, ARRAY[]::float8[]), percentile('1 [5, 5] 5'::quantile_sketch, ARRAY[NULL, 1]::float8[])"
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
                    "SELECT p50(x) = x AND p95(x) = x AND p99(x) = x AND percentile(quantile_sketch(x), 0) = x
                            AND percentile(quantile_sketch(x), 1) = x AND sketch_min(quantile_sketch(x)) = x AND sketch_max(quantile_sketch(x)) = x
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
            "SELECT count(*) FROM (SELECT array_agg(x ORDER BY x) AS xs, quantile_sketch(x) AS s FROM generate_series(0, 127) AS x) a,
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
            "SELECT sketch_min(s), sketch_max(s), percentile(s, 0.5), percentile(s, ARRAY[0, 0.5, 1]::float8[])
             FROM (SELECT quantile_sketch(x) AS s FROM unnest(ARRAY[4.9e-324, 1e-310, 3, 1e300, 1.7976931348623157e308]::float8[]) AS x) q"
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
        "SELECT shape, f, percentile(s, f), (SELECT percentile_disc(f) WITHIN GROUP (ORDER BY x) FROM shapes WHERE shapes.shape = q.shape)
         FROM (SELECT shape, quantile_sketch(x) AS s FROM shapes GROUP BY shape) q, unnest(ARRAY[0, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0 / 3, 0.75, 0.9, 0.95, 0.99, 0.999, 1]) AS f",
    );
    assert_eq!(rows.len(), 5 * 13);
    for row in rows {
        let number = |field: usize| row[field].as_ref().unwrap().parse::<f64>().unwrap();
        assert!(within(number(2), number(3)), "{row:?}");
    }
    // the shorthands are the same percentiles
    assert_eq!(
        line(&db, "SELECT bool_and(p50 = percentile(s, 0.5) AND p95 = percentile(s, 0.95) AND p99 = percentile(s, 0.99)) FROM (
            SELECT p50(x), p95(x), p99(x), quantile_sketch(x) AS s FROM shapes GROUP BY shape) q"),
        "t"
    );
    // 95 x 1 ms and 5 x 10 ms, 5 x 1 ms and 95 x 20 ms: merged, not averaged
    assert_eq!(
        line(&db, "SELECT percentile(merge(s), 0.95) FROM (SELECT quantile_sketch(x) AS s FROM (
                SELECT 1 AS g, CASE WHEN i <= 95 THEN 1 ELSE 10 END AS x FROM generate_series(1, 100) AS i
                UNION ALL SELECT 2, CASE WHEN i <= 5 THEN 1 ELSE 20 END FROM generate_series(1, 100) AS i) v GROUP BY g) q"),
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
            let error = db.error(&format!(
                "SELECT {aggregate}(x) FROM (SELECT {value} AS x FROM generate_series(1, 3)) t"
            ));
            assert_ours(&error, "22003", named);
        }
    }
    // beyond the largest double, which numeric can hold
    assert_eq!(
        db.error("SELECT quantile_sketch(1e400::numeric)").sqlstate,
        "22003"
    );
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
        assert_ours(&db.error(sql), "22003", named);
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
            "SELECT quantile_sketch(x) = quantile_sketch(x::float8) FROM unnest(ARRAY[0.1, 12.345678901234567890123, 1e-9, 99999999999.999]) AS x"
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
fn plan(session: &Session, sql: &str) -> String {
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
         SELECT i % 40, i % 2, CASE WHEN i % 40 = 39 THEN NULL WHEN i % 40 < 20 THEN (i * 7919::bigint) % 100003 ELSE exp((i % 977) / 50.0) END, i % 3 = 0
         FROM generate_series(1, 60000) AS i;
         INSERT INTO facts VALUES (99, 0, 1.5, NULL), (98, 1, 2.5, true), (97, 1, NULL, false);
         CREATE TABLE sketches AS SELECT g, i % 50 AS n, quantile_sketch(x) AS s, rate(ok) AS r
             FROM facts, LATERAL (SELECT (x * 13)::bigint AS i) k GROUP BY 1, 2;
         ANALYZE facts, sketches",
    );
    let queries = [
        "SELECT g, quantile_sketch_send(quantile_sketch(x)), p50(x), p95(x), p99(x), rate(ok) FROM facts GROUP BY g ORDER BY g",
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
        "SET max_parallel_workers_per_gather = 4; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         ALTER TABLE facts_0 SET (parallel_workers = 3); ALTER TABLE facts_1 SET (parallel_workers = 3); ALTER TABLE facts_2 SET (parallel_workers = 3);
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
    db.exec("SET enable_hashagg = on; SET enable_sort = off; SET enable_partitionwise_aggregate = off; SET work_mem = '64kB'");
    assert_eq!(db.lines(queries[0]), serial[0], "spilled");
}

#[test]
fn sketches_merge_to_the_sketch_of_all_values() {
    let db = types("aggregates_merge");
    db.exec("CREATE TABLE parts AS SELECT i % 61 AS g, ((i * 7919::bigint) % 200003)::float8 / 3 AS x FROM generate_series(1, 30000) AS i");
    db.exec("CREATE TABLE made AS SELECT g, quantile_sketch(x) AS s FROM parts GROUP BY g");
    let whole = line(
        &db,
        "SELECT quantile_sketch_send(quantile_sketch(x)) FROM parts",
    );
    assert_eq!(
        line(&db, "SELECT quantile_sketch_send(merge(s)) FROM made"),
        whole
    );
    assert_eq!(
        line(
            &db,
            "SELECT quantile_sketch_send(merge(s ORDER BY g DESC)) FROM made"
        ),
        whole
    );
    assert_eq!(
        line(
            &db,
            "SELECT quantile_sketch_send(merge(m)) FROM (SELECT merge(s) AS m FROM made GROUP BY g % 7) q"
        ),
        whole
    );
    // + is the same for two, commutes, and is NULL where either is
    assert_eq!(
        line(&db, "SELECT a.s + b.s = b.s + a.s, a.s + b.s = m.s, (a.s + NULL) IS NULL
                   FROM made a, made b, (SELECT merge(s) AS s FROM made WHERE g IN (3, 4)) m WHERE a.g = 3 AND b.g = 4"),
        "t|t|t"
    );
    // a single sketch, NULLs beside it, and small ones
    assert_eq!(
        line(
            &db,
            "SELECT merge(s) FROM (VALUES ('1 [5, 5] 5'::quantile_sketch), (NULL), ('2 [0, 7] 0 7')) t (s)"
        ),
        "3 [0, 7] 0 5 7"
    );
    // a count that does not fit is an error, not a wrong number
    let huge = "'18446744073709551615 [5, 5] 5*18446744073709551615'::quantile_sketch";
    for sql in [
        format!("SELECT {huge} + '1 [5, 5] 5'"),
        format!("SELECT merge(s) FROM (VALUES ({huge}), ('1 [5, 5] 5')) t (s)"),
    ] {
        assert_eq!(db.error(&sql).sqlstate, "22003", "{sql}");
    }
}

#[test]
fn sketches_can_be_grouped_ordered_indexed_and_windowed() {
    let db = types("aggregates_order");
    db.exec("CREATE TABLE made AS SELECT g, quantile_sketch(x % (g % 3 + 2)) AS s FROM generate_series(1, 9) AS g, generate_series(1, 60) AS x GROUP BY g");
    assert_eq!(
        db.lines("SELECT count(*) FROM made GROUP BY s ORDER BY s"),
        ["3", "3", "3"]
    );
    assert_eq!(line(&db, "SELECT count(DISTINCT s) FROM made"), "3");
    db.exec("CREATE INDEX made_s ON made (s); SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_nestloop = off");
    assert_eq!(
        line(&db, "SELECT count(*) FROM made a JOIN made b ON a.s = b.s"),
        "27"
    );
    assert_eq!(
        line(
            &db,
            "SELECT count(*) FROM made a, made b WHERE (a.s < b.s) = (a.s >= b.s) OR (a.s <= b.s) = (a.s > b.s) OR (a.s = b.s) = (a.s <> b.s)"
        ),
        "0"
    );
    // a moving frame: each step of an unbounded-start frame reads a state that goes on
    assert_eq!(
        db.lines("SELECT p50(x) OVER w, sketch_count(quantile_sketch(x) OVER w) FROM generate_series(1, 5) AS x WINDOW w AS (ORDER BY x)"),
        ["1|1", "1|2", "2|3", "2|4", "3|5"]
    );
    assert_eq!(
        db.lines("SELECT p50(x) OVER (ORDER BY x ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM generate_series(1, 5) AS x"),
        ["1", "1", "2", "3", "4"]
    );
    // two percentiles of one column beside others, by DISTINCT and by ORDER BY within the aggregate
    assert_eq!(
        line(
            &db,
            "SELECT p50(x), p95(x), p50(DISTINCT x), avg(x), p99(x) FROM unnest(ARRAY[1, 1, 1, 1, 9]) AS x"
        ),
        "1|9|1|2.6000000000000000|9"
    );
    // rollup of groups: merged by the server from the same rows
    assert_eq!(
        line(
            &db,
            "SELECT sketch_count(quantile_sketch(x)) FROM generate_series(1, 10) AS x GROUP BY ROLLUP (x % 2) HAVING x % 2 IS NULL"
        ),
        "10"
    );
}

#[test]
fn frames_that_move_give_what_each_frame_gives_by_itself() {
    let db = types("aggregates_frames");
    for number in [
        "smallint",
        "integer",
        "bigint",
        "real",
        "double precision",
        "numeric",
    ] {
        for preceding in [0, 6, 400] {
            assert_eq!(
                line(
                    &db,
                    &format!(
                        "WITH v AS MATERIALIZED (SELECT i, CASE WHEN i % 5 > 0 THEN (i * 7919 % 1009)::{number} END AS x, i % 3 = 0 AS b
                                                 FROM generate_series(1, 900) AS i),
                              f AS (SELECT i, quantile_sketch(x) OVER w AS s, p95(x) OVER w AS p, rate(b) OVER w AS r, merge(rate(1, 2)) OVER w AS m
                                    FROM v WINDOW w AS (ORDER BY i ROWS BETWEEN {preceding} PRECEDING AND CURRENT ROW))
                         SELECT count(*) FROM f CROSS JOIN LATERAL (
                             SELECT quantile_sketch(v.x) AS s, p95(v.x) AS p, rate(v.b) AS r, merge(rate(1, 2)) AS m
                             FROM v WHERE v.i BETWEEN f.i - {preceding} AND f.i) one
                         WHERE f.s IS DISTINCT FROM one.s OR f.p IS DISTINCT FROM one.p OR f.r IS DISTINCT FROM one.r OR f.m IS DISTINCT FROM one.m"
                    )
                ),
                "0",
                "{number}, {preceding}"
            );
        }
    }
    // frames without any value, at the begin and between
    assert_eq!(
        db.lines(
            "SELECT p50(x) OVER w, quantile_sketch(x) OVER w, rate(x > 1) OVER w
             FROM (VALUES (1, NULL), (2, NULL), (3, 2), (4, NULL), (5, NULL), (6, 1)) t (i, x)
             WINDOW w AS (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
        ),
        [
            "||",
            "||",
            "2|1 [2, 2] 2|1/1",
            "2|1 [2, 2] 2|1/1",
            "||",
            "1|1 [1, 1] 1|0/1"
        ]
    );
    assert_eq!(
        db.lines("SELECT rate(NULL::boolean) OVER (ORDER BY x), p50(NULL::integer) OVER (ORDER BY x) FROM generate_series(1, 2) AS x"),
        ["|", "|"]
    );
    // a frame is not read anew for each row: all but the merge of sketches can take a value out
    assert_eq!(
        db.lines(
            "SELECT a.aggfnoid::regprocedure FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid
             WHERE p.pronamespace = 'agent_metrics'::regnamespace AND p.proname IN ('quantile_sketch', 'p50', 'p95', 'p99', 'rate', 'merge')
               AND a.aggminvtransfn = 0"
        ),
        ["merge(quantile_sketch)"]
    );
}

#[test]
fn sketches_and_rates_are_hashed_and_joined() {
    let db = types("aggregates_hash");
    db.exec(
        "CREATE TABLE made AS SELECT g, quantile_sketch(x % (g % 3 + 2)) AS s, rate(g % 3, 4) AS r
         FROM generate_series(1, 9) AS g, generate_series(1, 60) AS x GROUP BY g;
         SET enable_sort = off; SET enable_mergejoin = off; SET enable_nestloop = off",
    );
    for column in ["s", "r"] {
        let sql = format!("SELECT count(*) FROM made a JOIN made b ON a.{column} = b.{column}");
        assert!(plan(&db, &sql).contains("Hash Join"), "{}", plan(&db, &sql));
        assert_eq!(line(&db, &sql), "27");
        let sql = format!("SELECT {column}, count(*) FROM made GROUP BY {column}");
        assert!(plan(&db, &sql).contains("HashAggregate"));
        assert_eq!(db.rows(&sql).len(), 3);
        db.exec(&format!(
            "CREATE TABLE parts_{column} (LIKE made) PARTITION BY HASH ({column});
             CREATE TABLE parts_{column}_0 PARTITION OF parts_{column} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE parts_{column}_1 PARTITION OF parts_{column} FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             INSERT INTO parts_{column} SELECT * FROM made"
        ));
        assert_eq!(
            line(
                &db,
                &format!(
                    "SELECT count(*) FROM parts_{column} p JOIN made m USING (g) WHERE p.{column} = m.{column}"
                )
            ),
            "9"
        );
    }
}

#[test]
fn sketches_travel_as_bytes_and_back() {
    let db = types("aggregates_bytes");
    assert_eq!(
        line(
            &db,
            "SELECT bool_and(s::bytea::quantile_sketch = s), bool_and(s::bytea = quantile_sketch_send(s))
             FROM (SELECT quantile_sketch(x * g) AS s FROM generate_series(1, 5) AS g, generate_series(1, 300) AS x GROUP BY g) t"
        ),
        "t|t"
    );
    for bytes in [
        "",
        "\\x00",
        "\\x02010000000000000000",
        "\\x01",
        "\\x01ffffffffffffffffff",
    ] {
        let error = db.error(&format!("SELECT '{bytes}'::bytea::quantile_sketch"));
        assert_ours(&error, "22P03", "quantile sketch");
    }
}

#[test]
fn percentile_rank_is_the_share_up_to_a_value() {
    let db = types("aggregates_rank");
    assert_eq!(
        line(
            &db,
            "SELECT percentile_rank(s, -1), percentile_rank(s, 0), percentile_rank(s, 1), percentile_rank(s, 50), percentile_rank(s, 99.5), percentile_rank(s, 100),
                    percentile_rank(s, 1e300), percentile_rank(s, 'Infinity'), percentile_rank(s, '-Infinity')
             FROM (SELECT quantile_sketch(x) AS s FROM generate_series(1, 100) AS x) q"
        ),
        "0|0|0.01|0.5|1|1|1|1|0"
    );
}

#[test]
fn sketch_text_and_binary_forms_come_back() {
    let mut db = types("aggregates_forms");
    db.exec(
        "CREATE TABLE kept (n integer, s quantile_sketch, r rate);
         INSERT INTO kept SELECT n, quantile_sketch(x), rate(x > 3) FROM generate_series(1, 20) AS n, LATERAL (SELECT exp(n * i / 40.0) FROM generate_series(0, n * n) AS i) v (x) GROUP BY n
         UNION ALL SELECT 100, NULL, NULL UNION ALL SELECT 101, quantile_sketch(x), '0/0' FROM unnest(ARRAY[0, 4.9e-324, 1.7976931348623157e308]::float8[]) AS x",
    );
    assert_eq!(
        line(
            &db,
            "SELECT count(*) FROM kept WHERE s::text::quantile_sketch <> s OR r::text::rate <> r"
        ),
        "0"
    );
    for text in [
        "",
        "1",
        "2 [1, 1] 1",
        "1 [1, 1] 1*0",
        "1 [1, 1] 2",
        "2 [1, 2] 2 1",
        "1 [-1, 1] 1",
        "1 [1, 1] 1 garbage",
        "99999999999999999999 [1, 1] 1",
        "1 [nan, 1] 1",
        "1 [1, inf] 1",
    ] {
        assert_ours(
            &db.error(&format!("SELECT '{text}'::quantile_sketch")),
            "22P02",
            text,
        );
    }
    let binary = copy_out(
        &mut db,
        "COPY (SELECT * FROM kept ORDER BY n) TO STDOUT (FORMAT binary)",
    );
    db.exec("CREATE TABLE back (LIKE kept)");
    copy_in(&mut db, "back", &binary).unwrap();
    assert_eq!(line(&db, "SELECT count(*) FROM back"), "22");
    assert_eq!(
        line(
            &db,
            "SELECT count(*) FROM kept FULL JOIN back USING (n) WHERE (kept.s, kept.r) IS DISTINCT FROM (back.s, back.r)"
        ),
        "0"
    );
    // the text form of COPY, too
    let text = copy_out(&mut db, "COPY kept TO STDOUT (FORMAT csv, HEADER)");
    db.exec("TRUNCATE back");
    db.copy_csv("back", text);
    assert_eq!(
        line(
            &db,
            "SELECT count(*) FROM kept FULL JOIN back USING (n) WHERE (kept.s, kept.r) IS DISTINCT FROM (back.s, back.r)"
        ),
        "0"
    );
}

#[test]
fn binary_input_that_is_damaged_is_refused_and_never_crashes() {
    let mut db = types("aggregates_damaged");
    db.exec("CREATE TABLE kept (s quantile_sketch); CREATE TABLE rates (r rate)");
    let good = hex(&line(
        &db,
        "SELECT quantile_sketch_send(quantile_sketch(x)) FROM unnest(ARRAY[0, 1, 1, 1, 50, 700, 7e9]::float8[]) AS x",
    ));
    copy_in(&mut db, "kept", &one_value(&good)).unwrap();
    let mut damaged: Vec<Vec<u8>> = (0..good.len())
        .map(|length| good[..length].to_vec())
        .collect(); // cut off
    damaged.push([&good[..], &[0x80]].concat()); // a number that does not end
    damaged.push([&good[..], &[0xFF; 12]].concat()); // one of more than 64 bits
    damaged.push([&good[..], &[4]].concat()); // one bucket too many
    damaged.push([&[2], &good[1..]].concat()); // another version
    damaged.push(
        [
            &[1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            &good[2..],
        ]
        .concat(),
    ); // a count of 2^64 - 1
    for bytes in &damaged {
        let error =
            copy_in(&mut db, "kept", &one_value(bytes)).expect_err("damaged bytes were taken");
        assert_ours(&error, "22P03", "");
    }
    // any single byte changed to anything: either an error of ours, or a sketch that reads and merges like any other
    let (mut refused, mut taken) = (0, 0);
    for position in 0..good.len() {
        for change in [1u8, 0x40, 0x80, 0xFF] {
            let mut bytes = good.clone();
            bytes[position] ^= change;
            match copy_in(&mut db, "kept", &one_value(&bytes)) {
                Err(error) => {
                    assert!(
                        ["22P03", "22003"].contains(&error.sqlstate.as_str()),
                        "{error}"
                    );
                    refused += 1;
                }
                Ok(()) => taken += 1,
            }
        }
    }
    assert!(refused > taken, "{refused} refused, {taken} taken");
    db.exec("SELECT s::text::quantile_sketch = s, percentile(s, ARRAY[0, 0.5, 1]::float8[]), s + s, percentile_rank(s, 5) FROM kept");
    for bytes in [
        &[0u8; 15][..],
        &[0; 17],
        &[0xFF; 16],
        &[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1],
    ] {
        let error =
            copy_in(&mut db, "rates", &one_value(bytes)).expect_err("a damaged rate was taken");
        assert_ours(
            &error,
            if bytes.len() == 16 { "22003" } else { "22P03" },
            "",
        );
    }
    assert_eq!(
        line(&db, "SELECT p50(x) FROM generate_series(1, 9) AS x"),
        "5",
        "the server goes on"
    );
}

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
    assert_eq!(db.lines("SELECT rate(x > 2) FILTER (WHERE g = 1) FROM generate_series(1, 2) AS g, generate_series(1, 4) AS x GROUP BY g ORDER BY g"), ["2/4", ""]);
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
            "SELECT '1/2'::rate + '90/100', '1/2'::rate = '1/2', '1/2'::rate = '2/4', '1/2'::rate <> '2/4', rate(184, 200)"
        ),
        "91/102|t|f|t|184/200"
    );
    assert_eq!(
        line(
            &db,
            "SELECT '184/200'::rate::float8, '184/200'::rate::numeric = 0.92, '0/0'::rate::float8, '0/0'::rate::numeric, ' 3 / 4 '::rate"
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
        assert_ours(&db.error(&format!("SELECT '{text}'::rate")), "22P02", text);
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
        assert_ours(&db.error(sql), "22003", named);
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
            "SELECT wilson_low('0/0'), wilson_high('0/0'), wilson_low(NULL), wilson_high('5/5') = 1, wilson_low('0/5') = 0"
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
            "SELECT wilson_low('35/100') = wilson_low('35/100', 0.95), wilson_low('35/100', 0.99) < wilson_low('35/100'), wilson_high('35/100', 0.5) < wilson_high('35/100')"
        ),
        "t|t|t"
    );
}

#[test]
fn jeffreys_bounds_are_those_of_the_beta_distribution() {
    let db = types("rates_jeffreys");
    assert_eq!(
        line(
            &db,
            "SELECT abs(jeffreys_low('184/200') - 0.8763202105300525) < 1e-9, abs(jeffreys_high('184/200') - 0.9516484449138146) < 1e-9,
                    jeffreys_low('0/10'), jeffreys_high('10/10'), jeffreys_low('0/0'), jeffreys_high('0/0', 0.9),
                    jeffreys_low('5/10', 0.5) > jeffreys_low('5/10')"
        ),
        "t|t|0|1|||t"
    );
    assert_eq!(
        db.error("SELECT jeffreys_low('1/2', 1.5)").sqlstate,
        "22003"
    );
}

#[test]
fn rates_are_ordered_and_taken_apart() {
    let db = types("rates_order");
    assert_eq!(
        line(
            &db,
            "SELECT string_agg(r::text, ' ' ORDER BY r) FROM unnest(ARRAY['0/0', '1/1', '1/2', '2/4', '0/3', '9223372036854775806/9223372036854775807']::rate[]) AS r"
        ),
        "0/3 1/2 2/4 9223372036854775806/9223372036854775807 1/1 0/0"
    );
    assert_eq!(
        line(
            &db,
            "SELECT '184/200'::rate - '4/10', '1/2'::rate < '2/3', '1/2'::rate >= '2/3', '1/2'::rate <= '1/2', '1/2'::rate > '1/2'"
        ),
        "180/190|t|f|t|f"
    );
    for impossible in [
        "'1/2'::rate - '2/2'",
        "'1/2'::rate - '0/2'",
        "'1/2'::rate - '1/3'",
    ] {
        assert_ours(
            &db.error(&format!("SELECT {impossible}")),
            "22003",
            "1/2 - ",
        );
    }
}

#[test]
fn percentile_intervals_are_order_statistics() {
    let db = types("aggregates_intervals");
    // n = 200: ranks 184 and 197 cover the 95th percentile (statistics.md); values up to 127 are exact, so use them
    db.exec("CREATE TABLE v AS SELECT least(i, 70) + greatest(i - 170, 0) AS x FROM generate_series(1, 200) AS i");
    assert_eq!(
        line(&db, "SELECT percentile_low(s, 0.95), (SELECT x FROM v ORDER BY x OFFSET 183 LIMIT 1), percentile_high(s, 0.95), (SELECT x FROM v ORDER BY x OFFSET 196 LIMIT 1)
                   FROM (SELECT quantile_sketch(x) AS s FROM v) q"),
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

/// COPY BINARY of one row with one value.
fn one_value(value: &[u8]) -> Vec<u8> {
    let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&1i16.to_be_bytes());
    bytes.extend_from_slice(&i32::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(&(-1i16).to_be_bytes());
    bytes
}

/// The bytes of a bytea as the server prints it.
fn hex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

fn copy_out(session: &mut Session, sql: &str) -> Vec<u8> {
    let (runtime, client) = session.parts();
    runtime.block_on(async {
        let chunks: Vec<bytes::Bytes> = client
            .copy_out(sql)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        chunks.concat()
    })
}

fn copy_in(session: &mut Session, table: &str, bytes: &[u8]) -> Result<(), SqlError> {
    let sql = format!("COPY {table} FROM STDIN (FORMAT binary)");
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let (runtime, client) = session.parts();
    runtime.block_on(async {
        let mut sink = std::pin::pin!(client.copy_in(&sql).await.unwrap());
        sink.send(bytes).await.unwrap();
        let Err(error) = sink.finish().await else {
            return Ok(());
        };
        let error = error
            .as_db_error()
            .unwrap_or_else(|| panic!("the session broke: {error:?}"));
        Err(SqlError {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().unwrap_or_default().to_owned(),
            hint: error.hint().unwrap_or_default().to_owned(),
        })
    })
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
            "SELECT agent_metrics.p95(x), agent_metrics.rate(x > 5), agent_metrics.percentile(agent_metrics.quantile_sketch(x), 0.1) FROM generate_series(1, 100) AS x"
        ),
        "95|95/100|10"
    );
    assert_eq!(
        line(
            &db,
            "SELECT agent_metrics.version() ~ '^[0-9]+\\.[0-9]+', agent_metrics.ratio(1, 0) IS NULL, agent_metrics.ratio(1, 4), agent_metrics.check_cadence('*/5 * * * *', 'UTC')"
        ),
        "t|t|0.25|t"
    );
    assert_eq!(db.error("SELECT agent_metrics.refresh()").sqlstate, "42501");
    db.exec(&format!("RESET ROLE; DROP ROLE {analyst}"));
}
