//! What the sketch costs in memory: the peak of a backend's own pages, read from the kernel. The same at full size is
//! at the end of `make bench-aggregates`.

use crate::harness::{Db, empty_db};

/// Megabytes of a new session's own memory at its peak, above what it had before the query.
fn peak(db: &Db, query: &str) -> f64 {
    let own = "SELECT (substring(s.status FROM 'VmHWM:\\s+(\\d+)')::bigint - substring(s.status FROM 'RssShmem:\\s+(\\d+)')::bigint) / 1024.0
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
