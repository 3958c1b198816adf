//! Archive and restore: a month in a file counts as it did in the database, and a kill at any step loses nothing.
//!
//! The files are of this program, the steps between which it may be killed are the functions it calls, so each state
//! a kill can leave is made by hand and the program is run again.

use std::fs;
use std::path::{Path, PathBuf};

use crate::partitions::by_hand::two_months;
use crate::support::asserts::{assert_no_rows, assert_verified};
use crate::support::program::{fails, works};
use crate::support::rollups::{assert_oracle, assert_rollups, refresh};
use crate::support::{Db, Session};

/// Two months older than the hot days, and an empty folder.
pub fn two_old_months(name: &str) -> (Db, [String; 2], PathBuf) {
    let (db, months) = two_months(name);
    db.exec(
        "UPDATE agent_metrics.settings SET value = '7' WHERE name = 'hot_days';
         INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, conversation_id, user_id, intent_classified, tools_called, latency_ms,
              token_usage_input, token_usage_output, cost_usd, outcome_label, business_event_id, turn_index, is_eval,
              error, outcome_source)
         SELECT agent_id, occurred_at + interval '7 seconds', conversation_id, E'tab\\t, line\\n, \\\\ and ü' , '',
                '[{\"name\": \"x\", \"ok\": false}]', 0.1 + latency_ms / 3, 12, NULL, 0.1000, 'failure',
                'order-' || conversation_id, 3, latency_ms > 135, 'broken', 'judge'
         FROM agent_metrics.agent_events;
         INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         SELECT DISTINCT business_event_id, 'ticket_resolved', NULL
         FROM agent_metrics.agent_events WHERE business_event_id LIKE '%-1'",
    );
    refresh(&db);
    assert_rollups(&db);
    let folder = no_folder(&db);
    (db, months, folder)
}

/// Where the archives of a test go; nothing is there yet.
pub fn no_folder(db: &Db) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("agent_metrics_{}", db.name()));
    let _ = fs::remove_dir_all(&folder);
    folder
}

/// A month's name, without its schema.
pub fn name_of(month: &str) -> &str {
    month.strip_prefix("agent_metrics.").unwrap()
}

/// The file a month is archived in.
pub fn file_of(folder: &Path, month: &str) -> PathBuf {
    folder.join(format!("{}.parquet", name_of(month)))
}

/// Conversations and rollups as text.
fn rollups(session: &Session) -> Vec<String> {
    session.lines(
        "SELECT r::text FROM agent_metrics_internal.rollups r WHERE turns > 0 OR conversations > 0 OR leads > 0
         UNION ALL SELECT c::text FROM agent_metrics.conversations c ORDER BY 1",
    )
}

/// The facts, but for what is bookkeeping.
pub fn turns(session: &Session) -> Vec<String> {
    session.lines(
        "SELECT to_jsonb(e) - 'recorded_in'
         FROM agent_metrics.agent_events e ORDER BY agent_id, occurred_at, event_id",
    )
}

pub fn archive(db: &Db, folder: &Path) -> String {
    works(db.url(), &["archive", "--folder", folder.to_str().unwrap()])
}

pub fn states(session: &Session) -> Vec<String> {
    session.lines("SELECT state FROM agent_metrics_internal.archives ORDER BY archive_id")
}

#[test]
fn archived_months_count_as_before_and_come_back_as_they_were() {
    let (db, [old, new], folder) = two_old_months("archive_and_back");
    let (rollups_before, turns_before) = (rollups(&db), turns(&db));
    let said = archive(&db, &folder);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_no_rows(&db, "SELECT * FROM agent_metrics.agent_events");
    assert_eq!(states(&db), ["archived", "archived"]);
    assert_eq!(rollups(&db), rollups_before);
    assert_verified(&db);
    refresh(&db);
    assert_eq!(
        rollups(&db),
        rollups_before,
        "an archived month is no deletion"
    );
    assert_verified(&db);
    assert_eq!(
        db.lines(
            "SELECT to_regclass('agent_metrics.' || partition || '_archived')
             FROM agent_metrics_internal.archives"
        ),
        ["", ""]
    );

    // An agent built from nothing is built from what is left of its turns; so is one in another time zone.
    db.exec("UPDATE agent_metrics_internal.agent_watermarks SET snapshot = NULL");
    refresh(&db);
    assert_eq!(rollups(&db), rollups_before);
    db.exec(
        "UPDATE agent_metrics.settings SET value = 'Asia/Kolkata' WHERE name = 'report_time_zone'",
    );
    refresh(&db);
    assert_verified(&db);
    db.exec("UPDATE agent_metrics.settings SET value = 'UTC' WHERE name = 'report_time_zone'");
    db.exec("SELECT agent_metrics.rebuild()");
    assert_eq!(rollups(&db), rollups_before);
    assert_verified(&db);

    // Nothing more to do; and back.
    assert!(archive(&db, &folder).starts_with("nothing to archive"));
    for month in [&new, &old] {
        let file = file_of(&folder, month);
        works(db.url(), &["restore", file.to_str().unwrap()]);
        assert_verified(&db);
        refresh(&db);
        assert_eq!(rollups(&db), rollups_before);
    }
    assert_eq!(turns(&db), turns_before);
    assert_rollups(&db);
    let file = file_of(&folder, &old);
    let error = fails(db.url(), &["restore", file.to_str().unwrap()]);
    assert!(error.contains("in the database already"), "{error}");

    // A month may be archived again, in a file of its own.
    archive(&db, &folder);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 4);
    assert_eq!(rollups(&db), rollups_before);
    assert_verified(&db);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn bills_are_held_against_archived_turns_too() {
    let (db, _, folder) = two_old_months("archive_bills");
    db.exec(
        "UPDATE agent_metrics.agent_events SET model = 'large', provider = 'p' WHERE latency_ms > 120;
         UPDATE agent_metrics.agent_events SET cost_usd = NULL WHERE latency_ms > 130;
         UPDATE agent_metrics.agent_events SET computed_cost_usd = cost_usd WHERE conversation_id LIKE '%1';
         INSERT INTO agent_metrics.billing_lines (provider, model, period_start, period_end, amount_usd)
         SELECT 'p', 'large', date_trunc('month', min(occurred_at), 'UTC'),
                date_trunc('day', max(occurred_at), 'UTC') + interval '10 hours', 100
         FROM agent_metrics.agent_events",
    );
    refresh(&db);
    let held = || {
        db.lines(
            "SELECT * FROM agent_kpi.cost_reconciliation ORDER BY day, provider, model NULLS FIRST",
        )
    };
    let before = held();
    assert_eq!(
        db.number("SELECT sum(turns) FROM agent_kpi.cost_reconciliation"),
        db.number(
            "SELECT count(*) FROM agent_metrics.agent_events WHERE model IS NOT NULL OR cost_usd IS NOT NULL"
        )
    );
    assert!(before.iter().any(|line| line.contains("have no cost")));
    archive(&db, &folder);
    assert_eq!(held(), before, "in files");
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap().path();
        works(db.url(), &["restore", file.to_str().unwrap()]);
    }
    assert_eq!(held(), before, "and back");
    // a team of people is in no bill, archived or not
    archive(&db, &folder);
    db.exec("UPDATE agent_metrics.agents SET actor = 'human'");
    assert_eq!(
        db.number("SELECT sum(turns) FROM agent_kpi.cost_reconciliation"),
        0.0
    );
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn late_facts_about_archived_conversations_count() {
    let (db, _, folder) = two_old_months("archive_late_facts");
    let late = [
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         SELECT 'late-' || c, 'ticket_escalated', c
         FROM (SELECT conversation_id AS c FROM agent_metrics.conversations ORDER BY 1 LIMIT 1) x",
        "INSERT INTO agent_metrics.business_events (business_event_id, kind)
         SELECT 'order-' || c, 'ticket_reopened'
         FROM (SELECT conversation_id AS c
               FROM agent_metrics.conversations ORDER BY 1 DESC LIMIT 1) x",
        "UPDATE agent_metrics.outcomes SET is_success = NOT is_success WHERE label = 'failure'",
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, event_id, conversation_id, latency_ms, cost_usd,
             outcome_label, outcome_source)
         SELECT agent_id, started_at - interval '40 seconds', md5(conversation_id)::uuid,
                conversation_id, 5, 1, 'escalated', 'human'
         FROM agent_metrics.conversations WHERE conversation_id LIKE 'ops-%-1'",
        "UPDATE agent_metrics.agent_events SET latency_ms = 6 WHERE outcome_source = 'human'",
        "DELETE FROM agent_metrics.agent_events WHERE outcome_source = 'human' AND conversation_id LIKE '%-2-1'",
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id, conversation_id, latency_ms, cost_usd)
         SELECT agent_id, now() - interval '1 hour', md5(conversation_id)::uuid, conversation_id, 5, 1
         FROM agent_metrics.conversations WHERE conversation_id LIKE 'sup-%-0'",
    ];
    archive(&db, &folder);
    for sql in late {
        db.exec(sql);
        refresh(&db);
        assert_verified(&db);
    }
    let with_archive = rollups(&db);
    // Brought back, the oracle can see the turns: it finds the same.
    for entry in fs::read_dir(&folder).unwrap() {
        works(
            db.url(),
            &["restore", entry.unwrap().path().to_str().unwrap()],
        );
    }
    refresh(&db);
    assert_eq!(rollups(&db), with_archive);
    assert_rollups(&db);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_kill_at_any_step_loses_nothing_and_the_next_run_finishes() {
    let (db, [old, _], folder) = two_old_months("archive_killed");
    let name = name_of(&old).to_owned();
    let (rollups_before, turns_before) = (rollups(&db), turns(&db));
    let file = file_of(&folder, &old);
    fs::create_dir_all(&folder).unwrap();
    let begin = format!(
        "SELECT agent_metrics.begin_archive('{name}', '{}', '{name}.parquet')",
        folder.display()
    );
    let back = |db: &Db| {
        for entry in fs::read_dir(&folder).unwrap() {
            works(
                db.url(),
                &["restore", entry.unwrap().path().to_str().unwrap()],
            );
        }
        assert_eq!(turns(db), turns_before);
        assert_rollups(db);
        db.exec("DELETE FROM agent_metrics_internal.archives");
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir_all(&folder).unwrap();
    };
    let steps: [&dyn Fn(&Db); 4] = [
        // begun; while the file was written; when it had its name; when the sums were there
        &|_| (),
        &|_| fs::write(file.with_extension("parquet.part"), b"half a fi").unwrap(),
        &|_| fs::write(&file, b"a file whose archive was not finished").unwrap(),
        &|db| {
            db.exec(
                "SELECT agent_metrics.condense_archive(
                     (SELECT archive_id FROM agent_metrics_internal.archives
                      WHERE state = 'writing'), 1, '1', 1)",
            )
        },
    ];
    for step in steps {
        db.exec(&begin);
        step(&db);
        assert_eq!(turns(&db), turns_before);
        assert_verified(&db);
        refresh(&db);
        assert_eq!(
            rollups(&db),
            rollups_before,
            "sums beside live turns do not count"
        );
        archive(&db, &folder);
        assert_eq!(states(&db), ["archived", "archived"]);
        assert_verified(&db);
        assert_eq!(rollups(&db), rollups_before);
        back(&db);
    }
    // Detached and not dropped: the file is looked at again before the table goes.
    db.exec(
        "CREATE FUNCTION agent_metrics.no() RETURNS event_trigger
         LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''killed''; END';
         CREATE EVENT TRIGGER no ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION agent_metrics.no()",
    );
    let error = fails_somehow(&db, &folder);
    assert!(error.contains("killed"), "{error}");
    db.exec("DROP EVENT TRIGGER no");
    // one month's trouble keeps no other from its archive
    assert_eq!(states(&db), ["detached", "detached"]);
    assert_verified(&db);
    refresh(&db);
    assert_eq!(rollups(&db), rollups_before);
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    let error = fails(db.url(), &["archive", "--folder", folder.to_str().unwrap()]);
    assert!(
        error.contains("_archived") && error.contains("put the file back"),
        "{error}"
    );
    fs::write(&file, kept).unwrap();
    archive(&db, &folder);
    assert_eq!(states(&db), ["archived", "archived"]);
    back(&db);
    fs::remove_dir_all(&folder).unwrap();
}

/// Runs archive, which has to fail after it may have said something; its standard error.
fn fails_somehow(db: &Db, folder: &Path) -> String {
    let (code, _, stderr) = crate::support::program::program(
        db.url(),
        &["archive", "--folder", folder.to_str().unwrap()],
    );
    assert_eq!(code, 1, "{stderr}");
    stderr
}

#[test]
fn a_damaged_a_strange_and_an_unwritable_file_are_refused_by_name() {
    let (db, [old, _], folder) = two_old_months("archive_bad_files");
    let name = name_of(&old);
    let file = file_of(&folder, &old);
    // somebody else's file is in the way
    fs::create_dir_all(&folder).unwrap();
    fs::write(&file, "mine").unwrap();
    let error = fails_somehow(&db, &folder);
    assert!(
        error.contains(file.to_str().unwrap()) && error.contains("there already"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    fs::remove_file(&file).unwrap();
    // a folder that is none
    let error = fails(db.url(), &["archive", "--folder", "/proc/nowhere"]);
    assert!(
        error.contains("folder /proc/nowhere cannot be written"),
        "{error}"
    );
    archive(&db, &folder);
    let whole = fs::read(&file).unwrap();
    let restore = ["restore", file.to_str().unwrap()];
    let before = rollups(&db);
    for damage in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
        |bytes: &mut Vec<u8>| {
            // more than what a page says of itself, which may be wrong without its turns being so
            let (from, to) = (bytes.len() / 4, bytes.len() / 2);
            bytes[from..to].iter_mut().for_each(|byte| *byte ^= 0x55);
        },
        |bytes: &mut Vec<u8>| bytes.clear(),
    ] {
        let mut bytes = whole.clone();
        damage(&mut bytes);
        fs::write(&file, bytes).unwrap();
        let error = fails(db.url(), &restore);
        assert!(error.contains(file.to_str().unwrap()), "{error}");
        assert_no_rows(&db, "SELECT * FROM agent_metrics.agent_events");
    }
    fs::remove_file(&file).unwrap();
    let error = fails(db.url(), &restore);
    assert!(error.contains("cannot be read"), "{error}");
    assert_eq!(rollups(&db), before);
    let error = fails(db.url(), &["restore", "/etc/hostname"]);
    assert!(error.contains("no archive of this database"), "{error}");
    // a turn that came again while its month was away is there once
    fs::write(&file, &whole).unwrap();
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id, conversation_id, latency_ms)
         SELECT agent_id, occurred_at, event_id, conversation_id, 9 FROM agent_metrics_internal.archived_conversations
         WHERE event_id IS NOT NULL
           AND archive_id = (SELECT archive_id FROM agent_metrics_internal.archives WHERE partition = '{name}')
         LIMIT 2"
    ));
    refresh(&db);
    works(db.url(), &restore);
    refresh(&db);
    assert_verified(&db);
    let other = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| *p != file)
        .unwrap();
    works(db.url(), &["restore", other.to_str().unwrap()]);
    refresh(&db);
    assert_oracle(&db);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_was_said_of_a_turn_of_an_evaluation_counts_nowhere_when_it_is_archived() {
    let (db, [old, _], folder) = two_old_months("archive_eval_turns");
    // a turn of an evaluation in a conversation of others
    db.exec(&format!(
        "INSERT INTO agent_metrics.tool_call_verdicts (
             agent_id, occurred_at, event_id, conversation_id, call_index, judged_by, is_correct)
         SELECT agent_id, occurred_at, event_id, conversation_id, 0, 'bob', NOT is_eval FROM {old}"
    ));
    refresh(&db);
    assert_rollups(&db);
    let facts = "SELECT sum(facts), sum(numerator) FROM agent_metrics_internal.fact_days WHERE measure = 'tool_calls'";
    let before = db.lines(facts);
    assert!(db.number(&format!("SELECT count(*) FROM {old} WHERE is_eval")) > 0.0);
    archive(&db, &folder);
    assert_verified(&db);
    // looked at again, by something else that is said of each
    db.exec("UPDATE agent_metrics.tool_call_verdicts SET judged_by = 'ann'");
    refresh(&db);
    assert_verified(&db);
    assert_eq!(db.lines(facts), before);
    fs::remove_dir_all(&folder).unwrap();
}
