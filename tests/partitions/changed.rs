//! Partitions that are changed between two steps of a split or an archive: nothing is lost, and it begins again.

use std::fs;

use crate::partitions::archive::{archive, file_of, name_of, two_old_months};
use crate::support::asserts::{assert_no_rows, assert_sqlstate, assert_verified};
use crate::support::program::works;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Db, Session};

const ID: &str = "(SELECT archive_id FROM agent_metrics_internal.archives WHERE state = 'writing')";

fn begin(db: &Session, month: &str) {
    db.exec(&format!(
        "SELECT agent_metrics.begin_archive('{0}', '/nowhere', '{0}.parquet')",
        name_of(month)
    ));
}

fn condense(db: &Session) {
    db.exec(&format!(
        "SELECT agent_metrics.condense_archive({ID}, 1, 'x', 1)"
    ));
}

/// Every turn, but for what is bookkeeping.
fn turns(db: &Session) -> Vec<String> {
    db.lines("SELECT to_jsonb(e) - 'recorded_in' FROM agent_metrics.agent_events e ORDER BY 1")
}

fn old_turns(db: &Db, turns: i32) {
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT 'sup', now() - interval '8 months' - n * interval '10 minutes', 'old' || n
         FROM generate_series(1, {turns}) n"
    ));
}

/// Makes a partition one that is itself partitioned, with the turns it had in a table below it.
fn partition_below(db: &Session, partition: &str) {
    let name = name_of(partition);
    let bound = db
        .value(&format!(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = '{partition}'::regclass"
        ))
        .unwrap();
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events DETACH PARTITION {partition};
         ALTER TABLE {partition} RENAME TO {name}_leaf;
         CREATE TABLE {partition} PARTITION OF agent_metrics.agent_events {bound} PARTITION BY LIST (agent_id);
         ALTER TABLE {partition} ATTACH PARTITION {partition}_leaf DEFAULT"
    ));
}

fn restore_all(db: &Db, folder: &std::path::Path) {
    for entry in fs::read_dir(folder).unwrap() {
        works(
            db.url(),
            &["restore", entry.unwrap().path().to_str().unwrap()],
        );
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_month_that_is_itself_partitioned_is_archived_with_what_is_written_meanwhile() {
    let (db, [old, _], folder) = two_old_months("changed_month_below");
    partition_below(&db, &old);
    refresh(&db);
    assert_rollups(&db);
    let changes = [
        format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
             SELECT 'sup', min(occurred_at), 'late' FROM {old}"
        ),
        format!("UPDATE {old}_leaf SET latency_ms = 77 WHERE conversation_id = 'late'"),
        format!("DELETE FROM {old}_leaf WHERE conversation_id = 'late'"),
        // and what no trigger of a row sees
        format!(
            "CREATE TABLE {old}_more (LIKE {old} INCLUDING ALL);
             INSERT INTO {old}_more (agent_id, occurred_at, conversation_id)
             SELECT 'more', min(occurred_at), 'ready-made' FROM {old};
             ALTER TABLE {old} ATTACH PARTITION {old}_more FOR VALUES IN ('more')"
        ),
        format!("TRUNCATE {old}_more"),
        format!("DROP TABLE {old}_more"),
    ];
    for change in changes {
        begin(&db, &old);
        condense(&db);
        db.exec(&change);
        refresh(&db);
        let error = db.error(&format!("SELECT agent_metrics.detach_archive({ID})"));
        assert_eq!(error.sqlstate, "40001", "{change}: {error}");
    }
    let before = turns(&db);
    refresh(&db);
    assert_rollups(&db);
    archive(&db, &folder);
    assert_no_rows(&db, "SELECT * FROM agent_metrics.agent_events");
    assert_verified(&db);
    restore_all(&db, &folder);
    assert_eq!(turns(&db), before);
    refresh(&db);
    assert_rollups(&db);
}

/// One step after another, with a change before each but the first.
fn split_with(db: &Db, change: impl Fn(usize) -> String) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some(step) = db.value("SELECT agent_metrics.partition_step()") {
        let change = change(steps.len());
        steps.push(step);
        assert!(steps.len() < 100, "{steps:?}");
        db.exec(&change);
    }
    steps
}

#[test]
fn an_outer_partition_that_is_itself_partitioned_is_split_with_what_is_written_meanwhile() {
    let db = shop("changed_outer_below");
    partition_below(&db, "agent_metrics.agent_events_before");
    old_turns(&db, 1_500);
    refresh(&db);
    let steps = split_with(&db, |n| {
        format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
             VALUES ('sup', now() - interval '8 months 1 hour', 'while{n}');
             DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'old{n}'"
        )
    });
    assert!(
        steps.iter().any(|step| step.starts_with("swapped")),
        "{steps:?}"
    );
    assert_eq!(
        db.lines(
            "SELECT count(*), count(*) FILTER (WHERE conversation_id LIKE 'while%')
             FROM agent_metrics.agent_events WHERE conversation_id ~ '^(old|while)'"
        ),
        [format!("{}|{}", 1_501, steps.len())]
    );
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn a_column_that_comes_between_two_steps_is_borne_by_what_is_made() {
    let db = shop("changed_column");
    old_turns(&db, 1_500);
    refresh(&db);
    let steps = split_with(&db, |n| {
        if n == 2 {
            "ALTER TABLE agent_metrics.agent_events ADD COLUMN note_of_ours text DEFAULT 'x',
                 ADD CHECK (note_of_ours <> '')"
                .to_owned()
        } else {
            "SELECT 1".to_owned()
        }
    });
    assert!(
        steps
            .iter()
            .any(|step| step.starts_with("beginning again with agent_events_before")),
        "{steps:?}"
    );
    assert!(
        steps.iter().any(|step| step.starts_with("swapped")),
        "{steps:?}"
    );
    assert_eq!(
        db.number(
            "SELECT count(*) FROM agent_metrics.agent_events
             WHERE conversation_id LIKE 'old%' AND note_of_ours = 'x'"
        ),
        1500.0
    );
    refresh(&db);
    assert_rollups(&db);

    let (db, [old, _], folder) = two_old_months("changed_column_archive");
    begin(&db, &old);
    condense(&db);
    db.exec("ALTER TABLE agent_metrics.agent_events ADD COLUMN note_of_ours text DEFAULT 'x'");
    assert_sqlstate(
        &db,
        &format!("SELECT agent_metrics.detach_archive({ID})"),
        "40001",
    );
    let before = turns(&db);
    archive(&db, &folder);
    assert_verified(&db);
    restore_all(&db, &folder);
    assert_eq!(turns(&db), before);
}

#[test]
fn a_month_that_is_dropped_or_replaced_half_archived_holds_no_other_up() {
    let (db, [old, new], folder) = two_old_months("changed_dropped");
    // another table of that name: what it holds is in no file
    begin(&db, &old);
    condense(&db);
    partition_below(&db, &old);
    assert_sqlstate(
        &db,
        &format!("SELECT agent_metrics.detach_archive({ID})"),
        "40001",
    );
    // renamed: what is written to it is noted under its new name
    begin(&db, &old);
    db.exec(&format!("ALTER TABLE {old} RENAME TO january"));
    let old = "agent_metrics.january";
    begin(&db, old);
    condense(&db);
    db.exec("DELETE FROM agent_metrics.january WHERE conversation_id LIKE '%-0'");
    assert_sqlstate(
        &db,
        &format!("SELECT agent_metrics.detach_archive({ID})"),
        "40001",
    );
    // gone
    for gone in [
        format!("DETACH PARTITION {old}; DROP TABLE {old}"),
        "DETACH PARTITION agent_metrics.agent_events_before".to_owned(),
    ] {
        db.exec(&format!("ALTER TABLE agent_metrics.agent_events {gone}"));
        assert_sqlstate(
            &db,
            "SELECT agent_metrics.detach_archive(max(archive_id)) FROM agent_metrics_internal.archives",
            "40001",
        );
    }
    refresh(&db);
    assert_verified(&db);
    let said = archive(&db, &folder);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(file_of(&folder, &new).exists());
    assert_eq!(
        db.lines("SELECT partition, state FROM agent_metrics_internal.archives"),
        [format!("{}|archived", name_of(&new))]
    );
    assert_verified(&db);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn outer_partitions_that_were_dropped_come_back_empty() {
    let db = shop("changed_outer");
    let accepted = |months: &str| {
        db.attempt(&format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
             VALUES ('sup', now() + interval '{months} months', 'at{months}')"
        ))
        .is_ok()
    };
    for outer in ["before", "after"] {
        // in the midst of a split, and otherwise
        for steps in [3, 0] {
            old_turns(&db, 1_500 * i32::from(outer == "before"));
            db.exec(
                "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
                 SELECT 'sup', now() + interval '15 months' + n * interval '1 hour', 'new' || n
                 FROM generate_series(1, 1500) n",
            );
            refresh(&db);
            for _ in 0..steps {
                db.exec("SELECT agent_metrics.partition_step()");
            }
            db.exec(&format!("DROP TABLE agent_metrics.agent_events_{outer}"));
            assert!(!(accepted("-30") && accepted("400")));
            while db.value("SELECT agent_metrics.partition_step()").is_some() {}
            db.exec("SELECT agent_metrics.ensure_partitions()");
            assert!(accepted("-30") && accepted("400"));
            refresh(&db);
            assert_rollups(&db);
        }
    }
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics_internal.guarded_turns"),
        ["0"]
    );
    // detached, it is somebody's
    db.exec(
        "ALTER TABLE agent_metrics.agent_events DETACH PARTITION agent_metrics.agent_events_before",
    );
    let error = assert_sqlstate(&db, "SELECT agent_metrics.ensure_partitions()", "42P07");
    assert!(error.hint.contains("ATTACH PARTITION"), "{error}");
}
