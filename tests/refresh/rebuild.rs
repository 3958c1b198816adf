//! Rebuild: whatever is wrong in the rollups of a span is right afterwards, and nothing else is written.

use crate::support::asserts::assert_sqlstate;
use crate::support::program::{fails, signal, works};
use crate::support::rollups::{Rollups, assert_rollups, refresh, written_days};
use crate::support::shop::shop;

/// Ways to spoil the rollups of the fourth of March, each of them found by `verify()`.
const DAMAGE: [&str; 6] = [
    "UPDATE agent_metrics_internal.rollups SET turns = turns + 3, latency = NULL
     WHERE agent_id = 'sup' AND level = 'hour' AND bucket >= '2026-03-04'
       AND bucket < '2026-03-05'",
    "UPDATE agent_metrics_internal.rollups SET conversations = conversations + 1, successes = 9
     WHERE agent_id = 'sal' AND level = 'day' AND bucket = '2026-03-04'",
    "DELETE FROM agent_metrics_internal.rollups
     WHERE agent_id = 'sup' AND bucket >= '2026-03-04' AND bucket < '2026-03-05'",
    "DELETE FROM agent_metrics.conversations
     WHERE agent_id = 'ops' AND started_at >= '2026-03-04' AND started_at < '2026-03-05'",
    "UPDATE agent_metrics_internal.rollups SET leads = leads + 5, qualified_leads = 2
     WHERE agent_id = 'sal' AND bucket >= '2026-03-04' AND bucket < '2026-03-05'",
    "INSERT INTO agent_metrics_internal.rollups (agent_id, level, bucket, turns)
     VALUES ('ops', 'hour', '2026-03-04 13:00:00+00', 7)",
];

#[test]
fn rebuild_mends_a_day_and_writes_no_other() {
    let db = shop("rebuild_day");
    for damage in DAMAGE {
        let before = Rollups::of(&db);
        db.exec(damage);
        assert!(
            !db.lines("SELECT * FROM agent_metrics.verify()").is_empty(),
            "{damage}"
        );
        db.exec("SELECT agent_metrics.rebuild(NULL, '2026-03-04 15:00:00+00', '2026-03-04 15:30:00+00')");
        assert_rollups(&db);
        assert_eq!(
            written_days(&before, &Rollups::of(&db)),
            ["ops 2026-03-04", "sal 2026-03-04", "sup 2026-03-04"],
            "{damage}"
        );
    }
    let before = Rollups::of(&db);
    db.exec("SELECT agent_metrics.rebuild('sup')");
    assert_rollups(&db);
    assert!(
        written_days(&before, &Rollups::of(&db))
            .iter()
            .all(|day| day.starts_with("sup "))
    );
    assert_sqlstate(&db, "SELECT agent_metrics.rebuild('nobody')", "22023");
    for function in ["rebuild", "verify"] {
        for to in ["2026-03-04", "2026-03-03"] {
            let error = assert_sqlstate(
                &db,
                &format!("SELECT * FROM agent_metrics.{function}('sup', '2026-03-04', '{to}')"),
                "22023",
            );
            assert!(error.to_string().contains(to), "{error}");
        }
    }
}

#[test]
fn rebuild_counts_a_conversation_once_though_it_crosses_midnight() {
    let db = shop("rebuild_midnight");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, latency_ms, outcome_label)
         VALUES ('sal', '2026-03-04 23:59:00+00', 'night', 'user1', 5, NULL),
                ('sal', '2026-03-05 00:01:00+00', 'night', 'user1', 6, 'success')",
    );
    for day in ["04", "05", "05", "04"] {
        db.exec(&format!(
            "SELECT agent_metrics.rebuild('sal', '2026-03-{day} 12:00:00+00',
                                          '2026-03-{day} 13:00:00+00')"
        ));
        assert_rollups(&db);
    }
}

#[test]
fn rebuild_of_a_span_whose_changes_no_refresh_has_seen() {
    let db = shop("rebuild_unseen");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id)
         VALUES ('sal', '2026-03-04 10:00:00+00', 'first', 'lee'), ('sal', '2026-04-20 10:00:00+00', 'second', 'lee')",
    );
    refresh(&db);
    db.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'first'");
    db.exec("SELECT agent_metrics.rebuild('sal', '2026-03-04', '2026-03-05')");
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT started_at AT TIME ZONE 'UTC' FROM agent_metrics_internal.leads WHERE lead_id = 'lee'"
        ),
        ["2026-04-20 10:00:00"],
        "her lead begins with what is left"
    );
}

#[test]
fn rebuild_keeps_a_fact_that_lies_on_another_day_than_its_conversation() {
    let db = shop("rebuild_fact_elsewhere");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id, conversation_id)
         VALUES ('ops', '2026-04-10 23:50:00+00', md5('one')::uuid, 'c'),
                ('ops', '2026-04-11 00:10:00+00', md5('two')::uuid, 'c');
         INSERT INTO agent_metrics.tool_call_verdicts (
             agent_id, occurred_at, event_id, conversation_id, call_index, judged_by, is_correct)
         VALUES ('ops', '2026-04-11 00:10:00+00', md5('two')::uuid, 'c', 0, 'bob', true)",
    );
    refresh(&db);
    db.exec("DELETE FROM agent_metrics.agent_events WHERE event_id = md5('two')::uuid");
    refresh(&db);
    assert_rollups(&db);
    let facts = "SELECT bucket AT TIME ZONE 'UTC', facts, numerator
                 FROM agent_metrics_internal.fact_days WHERE measure = 'tool_calls'";
    assert_eq!(db.lines(facts), ["2026-04-11 00:00:00|1|1"]);
    // as it is, and after somebody spoiled it
    for damage in [
        "SELECT",
        "UPDATE agent_metrics_internal.conversation_facts SET numerator = 7 WHERE conversation_id = 'c'",
    ] {
        db.exec(damage);
        db.exec("SELECT agent_metrics.rebuild('ops', '2026-04-11', '2026-04-12')");
        assert_rollups(&db);
        assert_eq!(db.lines(facts), ["2026-04-11 00:00:00|1|1"]);
    }
}

#[test]
fn the_program_rebuilds_day_by_day_and_can_be_stopped() {
    let db = shop("rebuild_program");
    for damage in DAMAGE {
        db.exec(damage);
    }
    // Somebody holds an agent: the program waits in its first day, is stopped, and leaves what it found.
    let holder = db.session();
    holder.exec(
        "BEGIN; SELECT FROM agent_metrics_internal.agent_watermarks WHERE agent_id = 'sal' FOR UPDATE",
    );
    let child = crate::support::program::command(db.url(), &["rebuild"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    db.until(
        "SELECT count(*) = 1 FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'agent-metrics'
           AND wait_event_type = 'Lock'",
    );
    assert_eq!(
        db.lines("SELECT DISTINCT agent_id FROM agent_metrics.verify() ORDER BY 1"),
        ["sal", "sup"],
        "ops was rebuilt before"
    );
    assert!(signal("INT", &child.id().to_string()));
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--agent sal --from '2026-03-01"), "{said}");
    holder.exec("ROLLBACK");
    let said = works(
        db.url(),
        &["rebuild", "--agent", "sal", "--from", "2026-03-01"],
    );
    assert!(
        said.starts_with("rebuilt 10 days of 1 agents, 150 turns"),
        "{said}"
    );
    works(
        db.url(),
        &[
            "rebuild",
            "--agent",
            "sup",
            "--from",
            "2026-03-04",
            "--to",
            "2026-03-05",
        ],
    );
    assert_rollups(&db);
    let error = fails(
        db.url(),
        &["rebuild", "--from", "2026-03-05", "--to", "2026-03-04"],
    );
    assert!(error.contains("no span of time from 2026-03-05"), "{error}");
    let error = fails(db.url(), &["rebuild", "--from", "yesterdayish"]);
    assert!(error.contains("yesterdayish"), "{error}");
}
