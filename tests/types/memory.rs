//! What the sketch and a retry cost in memory: the peak of a backend's own pages, read from the kernel. The sketch at
//! full size is at the end of `make bench-aggregates`.

use crate::support::{Db, db, empty_db};

/// Megabytes of a new session's own memory at its peak, above what it had before the query.
fn peak(db: &Db, query: &str) -> f64 {
    let own = "SELECT (substring(s.status FROM 'VmHWM:\\s+(\\d+)')::bigint
                       - substring(s.status FROM 'RssShmem:\\s+(\\d+)')::bigint) / 1024.0
               FROM pg_read_file('/proc/self/status') AS s (status)";
    let session = db.session();
    session.exec(
        "SET jit = off; SET max_parallel_workers_per_gather = 0; SET enable_sort = off; SET work_mem = '1GB';
         SET hash_mem_multiplier = 4; SELECT agent_metrics.p95(1)",
    );
    let before = session.number(own);
    session.exec(query);
    session.number(own) - before
}

#[test]
fn a_million_values_of_one_group_cost_a_window_of_counters() {
    let db = empty_db("memory_one");
    db.exec("CREATE EXTENSION agent_metrics");
    // ProjectSet, not FROM: a function in FROM would keep its rows.
    let grown = peak(
        &db,
        "SELECT agent_metrics.p95(exp(hashint8(x) % 1000 / 100.0)) FROM (SELECT generate_series(1, 1000000) AS x) v",
    );
    assert!(grown <= 4.0, "{grown} MB");
}

#[test]
fn a_hundred_thousand_small_groups_cost_half_a_kilobyte_each() {
    let db = empty_db("memory_many");
    db.exec("CREATE EXTENSION agent_metrics");
    let grown = peak(
        &db,
        "SELECT count(s) FROM (SELECT agent_metrics.quantile_sketch(x % 977) AS s
                               FROM (SELECT generate_series(1, 1000000) AS x) v GROUP BY x / 10 OFFSET 0) g",
    );
    assert!((5.0..=50.0).contains(&grown), "{grown} MB");
}

/// A window of counters from the smallest double to the largest is a megabyte: too much for three hundred values.
#[test]
fn a_thousand_groups_of_few_wild_values_cost_what_their_values_cost() {
    let db = empty_db("memory_wild");
    db.exec("CREATE EXTENSION agent_metrics");
    let grown = peak(
        &db,
        "SELECT count(s) FROM (SELECT agent_metrics.quantile_sketch(power(10::float8, x % 600 - 300)) AS s
                               FROM (SELECT generate_series(1, 300000) AS x) v GROUP BY x / 300 OFFSET 0) g",
    );
    assert!(grown <= 40.0, "{grown} MB");
}

/// Sketches of four kilobytes that are stored compressed, so that each comparison has to unpack both: sixteen megabytes
/// in all, and half a gigabyte if every copy stayed.
#[test]
fn comparing_sketches_costs_the_memory_of_two() {
    let db = empty_db("memory_compare");
    db.exec(
        "CREATE EXTENSION agent_metrics;
         CREATE TABLE t AS SELECT g,
                                  (SELECT agent_metrics.quantile_sketch(power(
                                       2::float8, (i % 4000) / 64.0 - 20 + g % 7))
                                   FROM generate_series(1, 4100 + g) AS i) AS s
                           FROM generate_series(1, 300) AS g;
         INSERT INTO t SELECT g + 300 * k, s FROM t, generate_series(1, 12) AS k;
         CREATE TABLE a AS SELECT array_agg(s) AS s FROM (SELECT s FROM t LIMIT 1500) x",
    );
    assert!(db.number("SELECT max(pg_column_size(s)) * 10.0 / min(length(s::bytea)) FROM t") < 1.0);
    for query in [
        "SET enable_sort = on; SET work_mem = '4MB'; SELECT count(*) FROM (SELECT s FROM t ORDER BY s OFFSET 1) x",
        "SET maintenance_work_mem = '4MB'; CREATE INDEX ON t (s)",
        "ANALYZE t",
        "SET enable_sort = on; SET enable_hashjoin = off; SET enable_nestloop = off; SET work_mem = '4MB';
         SELECT count(*) FROM t JOIN t AS u ON t.s = u.s AND t.g < u.g",
        "SELECT count(*) FROM t, (SELECT s FROM t LIMIT 1) x WHERE t.s > x.s",
        "SELECT cardinality(array_remove(s, s[1])), array_position(s, NULL) FROM a",
    ] {
        let grown = peak(&db, &format!("SET search_path = public, agent_metrics; {query}"));
        assert!(grown <= 60.0, "{grown} MB: {query}");
    }
}

/// Spans with prompts of a megabyte, put aside by an older version: forty megabytes, of which some are turns by now.
#[test]
fn a_large_quarantine_is_tried_again_in_portions() {
    let db = db("memory_quarantine");
    db.exec(
        r#"INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, reason)
           SELECT md5(p.payload::text), p.payload, 'x'
           FROM (SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object(
                     'scopeSpans', jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(
                                      jsonb_build_object('traceId', 't' || n, 'spanId', 's',
                                                         'startTimeUnixNano', '1772359200000000000',
                                                         'attributes', jsonb_build_array(
                                                             '{"key": '
                                                             '"gen_ai.operation.name", "value": '
                                                             '{"stringValue": "chat"}}'::jsonb,
                                                             '{"key": "gen_ai.agent.id", "value": '
                                                             '{"stringValue": "bot"}}'::jsonb,
                                                             jsonb_build_object(
                                                                 'key', CASE WHEN n % 4 = 0
                                                                             THEN 'none'
                                                                             ELSE 'session.id' END,
                                                                 'value',
                                                                 '{"stringValue": "c"}'::jsonb),
                                                             jsonb_build_object(
                                                                 'key', 'gen_ai.prompt', 'value',
                                                                 jsonb_build_object('stringValue',
                                                                     repeat('x', 1000000)))))))))))
                     AS payload
                 FROM generate_series(1, 40) AS n) p"#,
    );
    let grown = peak(&db, "SELECT agent_metrics.retry_quarantined()");
    assert!(grown <= 400.0, "{grown} MB");
    assert_eq!(
        db.lines(
            "SELECT (SELECT count(*) FROM agent_metrics.agent_events), sum(t.turns), min(t.missing),
                    (SELECT count(*) FROM agent_metrics.quarantined_events)
             FROM agent_kpi.incomplete_traces t"
        ),
        ["30|10|no conversation_id|0"]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|0|10"]
    );
}
