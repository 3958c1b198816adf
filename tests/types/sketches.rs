//! Sketches as values: merged, compared, indexed, in moving frames, as text and bytes, damaged bytes too.

use futures_util::{SinkExt, TryStreamExt};

use crate::support::asserts::{assert_explained, assert_ours, assert_sqlstate};
use crate::support::{Session, SqlError};
use crate::types::aggregates::{line, plan, types};

#[test]
fn sketches_merge_to_the_sketch_of_all_values() {
    let db = types("aggregates_merge");
    db.exec(
        "CREATE TABLE parts AS SELECT i % 61 AS g, ((i * 7919::bigint) % 200003)::float8 / 3 AS x
                               FROM generate_series(1, 30000) AS i",
    );
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
        line(
            &db,
            "SELECT a.s + b.s = b.s + a.s, a.s + b.s = m.s, (a.s + NULL) IS NULL
             FROM made a, made b, (SELECT merge(s) AS s FROM made WHERE g IN (3, 4)) m WHERE a.g = 3 AND b.g = 4"
        ),
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
        assert_sqlstate(&db, &sql, "22003");
    }
}

#[test]
fn sketches_can_be_grouped_ordered_indexed_and_windowed() {
    let db = types("aggregates_order");
    db.exec(
        "CREATE TABLE made AS
         SELECT g, quantile_sketch(x % (g % 3 + 2)) AS s
         FROM generate_series(1, 9) AS g, generate_series(1, 60) AS x GROUP BY g",
    );
    assert_eq!(
        db.lines("SELECT count(*) FROM made GROUP BY s ORDER BY s"),
        ["3", "3", "3"]
    );
    assert_eq!(line(&db, "SELECT count(DISTINCT s) FROM made"), "3");
    db.exec(
        "CREATE INDEX made_s ON made (s); SET enable_seqscan = off; SET enable_hashjoin = off;
         SET enable_nestloop = off",
    );
    assert_eq!(
        line(&db, "SELECT count(*) FROM made a JOIN made b ON a.s = b.s"),
        "27"
    );
    assert_eq!(
        line(
            &db,
            "SELECT count(*)
             FROM made a, made b WHERE (a.s < b.s) = (a.s >= b.s) OR (a.s <= b.s) = (a.s > b.s)
                                    OR (a.s = b.s) = (a.s <> b.s)"
        ),
        "0"
    );
    // a moving frame: each step of an unbounded-start frame reads a state that goes on
    assert_eq!(
        db.lines(
            "SELECT p50(x) OVER w, sketch_count(quantile_sketch(x) OVER w)
             FROM generate_series(1, 5) AS x WINDOW w AS (ORDER BY x)"
        ),
        ["1|1", "1|2", "2|3", "2|4", "3|5"]
    );
    assert_eq!(
        db.lines(
            "SELECT p50(x) OVER (ORDER BY x ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)
             FROM generate_series(1, 5) AS x"
        ),
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
            "SELECT sketch_count(quantile_sketch(x))
             FROM generate_series(1, 10) AS x GROUP BY ROLLUP (x % 2) HAVING x % 2 IS NULL"
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
                        "WITH v AS MATERIALIZED (
                             SELECT i, CASE WHEN i % 5 > 0 THEN (i * 7919 % 1009)::{number} END AS x, i % 3 = 0 AS b
                             FROM generate_series(1, 900) AS i),
                              f AS (SELECT i, quantile_sketch(x) OVER w AS s, p95(x) OVER w AS p, rate(b) OVER w AS r,
                                           merge(rate(1, 2)) OVER w AS m
                                    FROM v WINDOW w AS (ORDER BY i ROWS BETWEEN {preceding} PRECEDING AND CURRENT ROW))
                         SELECT count(*) FROM f CROSS JOIN LATERAL (
                             SELECT quantile_sketch(v.x) AS s, p95(v.x) AS p, rate(v.b) AS r, merge(rate(1, 2)) AS m
                             FROM v WHERE v.i BETWEEN f.i - {preceding} AND f.i) one
                         WHERE f.s IS DISTINCT FROM one.s OR f.p IS DISTINCT FROM one.p OR f.r IS DISTINCT FROM one.r
                            OR f.m IS DISTINCT FROM one.m"
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
        db.lines(
            "SELECT rate(NULL::boolean) OVER (ORDER BY x), p50(NULL::integer) OVER (ORDER BY x)
             FROM generate_series(1, 2) AS x"
        ),
        ["|", "|"]
    );
    // a frame is not read anew for each row: all but the merge of sketches can take a value out
    assert_eq!(
        db.lines(
            "SELECT a.aggfnoid::regprocedure
             FROM pg_aggregate a JOIN pg_proc p ON p.oid = a.aggfnoid
             WHERE p.pronamespace IN ('agent_metrics'::regnamespace,
                                      'agent_metrics_internal'::regnamespace)
               AND p.proname IN ('quantile_sketch', 'p50', 'p95', 'p99', 'rate', 'merge')
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
            "SELECT bool_and(s::bytea::quantile_sketch = s),
                    bool_and(s::bytea = quantile_sketch_send(s))
             FROM (SELECT quantile_sketch(x * g) AS s
                   FROM generate_series(1, 5) AS g, generate_series(1, 300) AS x GROUP BY g) t"
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
        assert_explained(
            &db,
            &format!("SELECT '{bytes}'::bytea::quantile_sketch"),
            "22P03",
            "quantile sketch",
        );
    }
}

#[test]
fn sketch_text_and_binary_forms_come_back() {
    let mut db = types("aggregates_forms");
    db.exec(
        "CREATE TABLE kept (n integer, s quantile_sketch, r rate);
         INSERT INTO kept SELECT n, quantile_sketch(x), rate(x > 3)
         FROM generate_series(1, 20) AS n,
              LATERAL (SELECT exp(n * i / 40.0) FROM generate_series(0, n * n) AS i) v (x)
         GROUP BY n
         UNION ALL SELECT 100, NULL, NULL
         UNION ALL SELECT 101, quantile_sketch(x), '0/0'
                   FROM unnest(ARRAY[0, 4.9e-324, 1.7976931348623157e308]::float8[]) AS x",
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
        assert_explained(
            &db,
            &format!("SELECT '{text}'::quantile_sketch"),
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
            "SELECT count(*) FROM kept
             FULL JOIN back USING (n) WHERE (kept.s, kept.r) IS DISTINCT FROM (back.s, back.r)"
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
            "SELECT count(*) FROM kept
             FULL JOIN back USING (n) WHERE (kept.s, kept.r) IS DISTINCT FROM (back.s, back.r)"
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
    db.exec(
        "SELECT s::text::quantile_sketch = s, percentile(s, ARRAY[0, 0.5, 1]::float8[]),
                s + s, percentile_rank(s, 5)
         FROM kept",
    );
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
