//! Archiving a month that somebody writes to.

use std::fs;

use crate::partitions::archive::{archive, name_of, turns, two_old_months};
use crate::support::asserts::{assert_sqlstate, assert_verified};
use crate::support::program::works;
use crate::support::rollups::{assert_rollups, refresh};

#[test]
fn a_turn_written_while_its_month_is_archived_is_in_the_file() {
    let (db, [old, _], folder) = two_old_months("archive_written_meanwhile");
    let name = name_of(&old);
    db.exec(&format!(
        "SELECT agent_metrics.begin_archive('{name}', '/nowhere', 'x.parquet')"
    ));
    db.exec(
        "SELECT agent_metrics.condense_archive(
             (SELECT archive_id FROM agent_metrics_internal.archives), 1, '1', 1)",
    );
    for sql in [
        format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
             SELECT 'sup', min(occurred_at), 'late' FROM {old}"
        ),
        format!("UPDATE {old} SET latency_ms = 77 WHERE conversation_id = 'late'"),
        format!("DELETE FROM {old} WHERE conversation_id = 'late'"),
    ] {
        db.exec("BEGIN");
        db.exec(&sql);
        db.exec("COMMIT");
        assert_sqlstate(
            &db,
            "SELECT agent_metrics.detach_archive((SELECT archive_id FROM agent_metrics_internal.archives))",
            "40001",
        );
    }
    refresh(&db);
    assert_rollups(&db);
    // A turn that no refresh has counted holds the archive up until one has.
    let before = turns(&db).len();
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         SELECT 'sup', min(occurred_at), 'uncounted', 5 FROM {old}"
    ));
    archive(&db, &folder);
    assert_verified(&db);
    assert_eq!(
        db.lines(
            "SELECT turns FROM agent_metrics.conversations WHERE conversation_id = 'uncounted'"
        ),
        ["1"]
    );
    for entry in fs::read_dir(&folder).unwrap() {
        works(
            db.url(),
            &["restore", entry.unwrap().path().to_str().unwrap()],
        );
    }
    assert_eq!(turns(&db).len(), before + 1);
    refresh(&db);
    assert_rollups(&db);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_writer_in_the_month_holds_the_archive_up_and_is_not_held_up() {
    let (db, [old, _], _) = two_old_months("archive_gives_way");
    let name = name_of(&old);
    let writer = db.session();
    writer.exec(&format!(
        "BEGIN; UPDATE {old} SET latency_ms = 3 WHERE agent_id = 'sup'"
    ));
    assert_sqlstate(
        &db,
        &format!("SELECT agent_metrics.begin_archive('{name}', '/nowhere', 'x.parquet')"),
        "55P03",
    );
    writer.exec("COMMIT");
    db.exec(&format!(
        "SELECT agent_metrics.begin_archive('{name}', '/nowhere', 'x.parquet')"
    ));
    db.exec(
        "SELECT agent_metrics.condense_archive(
             (SELECT archive_id FROM agent_metrics_internal.archives), 1, '1', 1)",
    );
    refresh(&db);
    writer.exec(
        "BEGIN;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('sup', now(), 'now')",
    );
    assert_sqlstate(
        &db,
        "SELECT agent_metrics.detach_archive((SELECT archive_id FROM agent_metrics_internal.archives))",
        "55P03",
    );
    writer.exec("COMMIT");
    refresh(&db);
    db.exec("SELECT agent_metrics.detach_archive((SELECT archive_id FROM agent_metrics_internal.archives))");
    // A turn of that month is accepted at every moment.
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         SELECT 'sup', min(occurred_at), 'late', 5 FROM {old}_archived"
    ));
    refresh(&db);
    assert_verified(&db);
}
