//! The database elsewhere: restored into clusters whose transaction counter is lower or higher, and read on a standby.

use crate::support::asserts::{assert_no_rows, assert_sqlstate};
use crate::support::cluster::{Cluster, run};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::fill_shop;
use crate::support::{Db, Session, db};

/// The counter of a cluster.
fn next_id(session: &Session) -> f64 {
    session.number("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::numeric")
}

/// A thousand transactions, each with an id of its own.
const SPEND_IDS: &str =
    "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";

/// A shop with edits of a shipped row, a threshold of its own, and a change that no refresh has seen.
fn edited_shop(name: &str) -> Db {
    let db = db(name);
    fill_shop(&db);
    db.exec(
        "UPDATE agent_metrics.outcomes SET is_success = true WHERE label = 'info_only';
         DELETE FROM agent_metrics.outcomes WHERE label = 'abandoned';
         INSERT INTO agent_metrics.outcomes (label, is_success) VALUES ('done', true);
         UPDATE agent_metrics.thresholds SET value = 0.5, note = 'ours' WHERE agent_id = 'sup';
         UPDATE agent_metrics.agent_events SET model = right(conversation_id, 1);
         UPDATE agent_metrics.dimensions SET is_active = true WHERE dimension = 'model';
         SELECT agent_metrics.refresh();
         UPDATE agent_metrics.agent_events SET latency_ms = 4321 WHERE conversation_id = 'sal-2-2'",
    );
    db
}

/// Dumps, restores into `cluster`, and follows what happens there afterwards.
fn restored_is_right(db: &Db, cluster: &Cluster) {
    let file = std::env::temp_dir().join(format!("{}.dump", db.name()));
    let path = file.to_str().unwrap();
    run(
        "pg_dump",
        &["--format=custom", "--file", path, "--dbname", db.url()],
    );
    cluster.session("postgres").exec("CREATE DATABASE restored");
    run(
        "pg_restore",
        &[
            "--exit-on-error",
            "--dbname",
            &cluster.url("restored"),
            path,
        ],
    );
    std::fs::remove_file(&file).unwrap();

    let restored = cluster.session("restored");
    let content = |session: &Session, table: &str| {
        session.lines(&format!(
            "SELECT t.* FROM {} t ORDER BY t::text",
            crate::support::full(table)
        ))
    };
    for table in [
        "outcomes",
        "thresholds",
        "agents",
        "agent_events",
        "business_events",
        "changes",
        "rollups",
        "conversations",
        "leads",
        "known_partitions",
    ] {
        let expected = content(db, table);
        assert!(!expected.is_empty(), "{table}");
        if table == "known_partitions" {
            assert_eq!(content(&restored, table).len(), expected.len(), "{table}");
        } else {
            assert_eq!(content(&restored, table), expected, "{table}");
        }
    }
    assert_eq!(
        restored.lines("SELECT DISTINCT why FROM agent_kpi.freshness WHERE is_stale"),
        [
            "the books were restored from another cluster, so the next refresh builds its rollups again"
        ]
    );
    // before the first refresh, after it, and while the counter passes ids that came along
    restored.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-05-01 10:00:00+00', 'before', 10)",
    );
    refresh(&restored);
    assert_rollups(&restored);
    assert_no_rows(
        &restored,
        "SELECT * FROM agent_kpi.freshness WHERE why IS NOT NULL",
    );
    restored.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-05-01 10:00:00+00', 'after', 20);
         UPDATE agent_metrics.agent_events SET outcome_label = 'done' WHERE conversation_id = 'ops-3-3';
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'ops-4-4'",
    );
    refresh(&restored);
    assert_rollups(&restored);
    for at in 0..5 {
        restored.exec(SPEND_IDS);
        restored.exec(&format!(
            "INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, latency_ms)
             VALUES ('sup', '2026-05-01 10:00:00+00', 'later-{at}', 30)"
        ));
        refresh(&restored);
    }
    assert_rollups(&restored);
    assert_eq!(
        restored.number(
            "SELECT turns FROM agent_kpi.agent_daily WHERE agent_id = 'sup' AND day = '2026-05-01'"
        ),
        7.0
    );
}

#[test]
fn a_cluster_with_a_lower_counter_takes_the_books_over() {
    let db = edited_shop("restore_lower");
    let cluster = Cluster::start("lower");
    // ids that the new cluster has yet to reach
    db.exec(
        "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-04-01', 'high', 10)",
    );
    assert!(next_id(&cluster.session("postgres")) + 1000.0 <= next_id(&db));
    restored_is_right(&db, &cluster);
}

#[test]
fn a_cluster_with_a_higher_counter_takes_the_books_over() {
    let db = edited_shop("restore_higher");
    let cluster = Cluster::start("higher");
    cluster.stop();
    cluster.as_server_user("pg_resetwal", &["--epoch=1", "-D", &cluster.data()]);
    cluster.begin();
    assert!(next_id(&cluster.session("postgres")) > 4_000_000_000.0 + next_id(&db));
    restored_is_right(&db, &cluster);
}

#[test]
fn a_standby_answers_every_view_as_its_primary_does() {
    let primary = Cluster::start("primary");
    let session = primary.session("postgres");
    session.exec("CREATE EXTENSION agent_metrics; SELECT agent_metrics.setup()");
    fill_shop(&session);
    refresh(&session);
    let standby = primary.standby("standby");
    let copy = standby.session("postgres");
    // what comes after the copy was made arrives by streaming
    session.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-05-01 10:00:00+00', 'streamed', 10)",
    );
    refresh(&session);
    copy.until(
        "SELECT count(*) = 1 FROM agent_metrics.conversations WHERE conversation_id = 'streamed'",
    );

    assert_eq!(copy.value("SELECT pg_is_in_recovery()").unwrap(), "t");
    let views = session.lines(
        "SELECT c.relname FROM pg_class c
         WHERE c.relnamespace = 'agent_kpi'::regnamespace AND c.relkind = 'v' ORDER BY 1",
    );
    assert!(views.len() >= 10, "{views:?}");
    for view in views {
        // how long ago is another answer each time it is asked
        let columns = session.value(&format!(
            "SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute a
             WHERE a.attrelid = 'agent_kpi.{view}'::regclass AND a.attnum > 0
               AND a.attname NOT IN ('lag_seconds', 'is_stale')"
        ));
        let query = format!(
            "SELECT q::text FROM (SELECT {} FROM agent_kpi.{view}) q ORDER BY 1",
            columns.unwrap()
        );
        assert_eq!(copy.lines(&query), session.lines(&query), "{view}");
    }
    assert!(
        copy.lines("SELECT * FROM agent_metrics.verify()")
            .is_empty()
    );
    assert_sqlstate(&copy, "SELECT agent_metrics.refresh()", "25006");
}
