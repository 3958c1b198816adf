//! Refresh where sessions meet: transactions held open across it, rolled back, begun before it; two refreshes at once.
//!
//! The promise: no event that committed is missing from a refresh that began later, and none is counted twice.
//! Sessions are driven by hand, statement by statement, so each interleaving is the one that the test names.

use std::thread;

use crate::support::asserts::{assert_no_rows, assert_sqlstate};
use crate::support::rollups::{Rollups, assert_rollups, oracle_differences, refresh, written_days};
use crate::support::shop::shop;
use crate::support::{Db, Session};

/// One more turn of `sup` on the first of May, in a conversation of that name.
pub fn insert(name: &str) -> String {
    format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         VALUES ('sup', '2026-05-01 10:00:00+00', '{name}', 50, 'success')"
    )
}

/// Turns, conversations and successes of `sup` on the first of May, as the rollups have them.
fn counted(session: &Session) -> String {
    session
        .lines(
            "SELECT coalesce(sum(turns), 0), coalesce(sum(conversations), 0),
                    coalesce(sum(successes), 0)
             FROM agent_metrics_internal.rollups
             WHERE agent_id = 'sup' AND level = 'day' AND bucket = '2026-05-01 00:00:00+00'",
        )
        .remove(0)
}

/// The process of a session.
pub fn pid(session: &Session) -> String {
    session.value("SELECT pg_backend_pid()").unwrap()
}

/// Waits until a process waits for a lock.
pub fn until_blocked(db: &Db, pid: &str) {
    db.until(&format!(
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event_type = 'Lock'"
    ));
}

#[test]
fn a_transaction_held_open_across_refreshes_is_counted_once() {
    let db = shop("sessions_held_open");
    let writer = db.session();
    writer.exec("BEGIN");
    writer.exec(&insert("held"));
    // Others come and go with later ids, and are counted without waiting for it.
    for round in 1..=3 {
        db.exec(&insert(&format!("other-{round}")));
        refresh(&db);
        assert_rollups(&db);
        assert_eq!(counted(&db), format!("{round}|{round}|{round}"));
    }
    writer.exec(&insert("held"));
    writer.exec("COMMIT");
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(counted(&db), "5|4|4");
    refresh(&db);
    assert_eq!(counted(&db), "5|4|4");
}

#[test]
fn updates_and_deletions_held_open_across_a_refresh_are_found_when_they_commit() {
    let db = shop("sessions_held_changes");
    let (labels, deletes, crm, mapping) = (db.session(), db.session(), db.session(), db.session());
    for session in [&labels, &deletes, &crm, &mapping] {
        session.exec("BEGIN");
    }
    labels.exec(
        "UPDATE agent_metrics.agent_events
         SET outcome_label = 'failure', latency_ms = 1 WHERE conversation_id = 'sup-0-2'",
    );
    deletes.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'sup-1-2'");
    crm.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         VALUES ('held', 'ticket_escalated', 'sup-2-2');
         DELETE FROM agent_metrics.business_events WHERE business_event_id = 'crm-sup-3'",
    );
    mapping.exec("UPDATE agent_metrics.outcomes SET is_success = false WHERE label = 'completed'");
    for session in [&labels, &deletes, &crm, &mapping] {
        db.exec(&insert("other"));
        refresh(&db);
        assert_rollups(&db);
        session.exec("COMMIT");
    }
    assert!(
        !oracle_differences(&db).is_empty(),
        "the last commit waits for a refresh"
    );
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn what_was_rolled_back_is_not_counted() {
    let db = shop("sessions_rollback");
    let before = Rollups::of(&db);
    let writer = db.session();
    writer.exec("BEGIN");
    writer.exec(&insert("gone"));
    writer.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'sup-0-0'");
    refresh(&db);
    writer.exec("ROLLBACK");
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(written_days(&before, &Rollups::of(&db)), [""; 0]);

    // Savepoints have ids of their own; what is kept of a transaction counts, whatever its savepoints were.
    writer.exec("BEGIN");
    writer.exec(&insert("first"));
    writer.exec("SAVEPOINT a");
    writer.exec(&insert("second"));
    writer.exec("SAVEPOINT b");
    writer.exec(&insert("third"));
    writer.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'sup-0-1'");
    writer.exec("ROLLBACK TO b");
    writer.exec("RELEASE a");
    writer.exec(&insert("fourth"));
    refresh(&db);
    assert_eq!(counted(&db), "0|0|0");
    writer.exec("COMMIT");
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(counted(&db), "3|3|3");
}

#[test]
fn a_refresh_in_a_transaction_that_writes_counts_its_rows_once() {
    let db = shop("sessions_own_rows");
    db.exec("BEGIN");
    db.exec(&insert("before"));
    refresh(&db);
    db.exec(&insert("after"));
    db.exec("UPDATE agent_metrics.agent_events SET outcome_label = 'failure' WHERE conversation_id = 'sup-4-1'");
    refresh(&db);
    db.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'sup-4-2'");
    db.exec("COMMIT");
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(counted(&db), "2|2|2");
    refresh(&db);
    assert_eq!(counted(&db), "2|2|2");

    // ... and rows written under a savepoint, with a refresh under another one that is rolled back
    db.exec("BEGIN");
    db.exec("SAVEPOINT a");
    db.exec(&insert("under a savepoint"));
    db.exec("RELEASE a");
    db.exec("SAVEPOINT b");
    refresh(&db);
    db.exec("ROLLBACK TO b");
    db.exec(&insert("after the rollback"));
    refresh(&db);
    db.exec("COMMIT");
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(counted(&db), "4|4|4");

    // A first refresh, which builds, is no exception.
    db.exec("BEGIN");
    db.exec("SELECT agent_metrics.register_agent('new', 'ops', 'O')");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('new', '2026-05-01', 'n')",
    );
    refresh(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('new', '2026-05-01', 'm')",
    );
    db.exec("COMMIT");
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.number(
            "SELECT sum(turns) FROM agent_metrics_internal.rollups WHERE agent_id = 'new' AND level = 'day'"
        ),
        2.0
    );
}

#[test]
fn a_refresh_that_rolls_back_leaves_everything_as_it_was() {
    let db = shop("sessions_refresh_rolled_back");
    db.exec(&insert("c"));
    db.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'sup-4-2'");
    let before = Rollups::of(&db);
    db.exec("BEGIN");
    refresh(&db);
    assert_eq!(counted(&db), "1|1|1");
    db.exec("ROLLBACK");
    assert_eq!(written_days(&before, &Rollups::of(&db)), [""; 0]);
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(counted(&db), "1|1|1");
}

#[test]
fn a_second_refresh_of_an_agent_waits_or_leaves_it_out() {
    let db = shop("sessions_two_refreshes");
    let (first, second) = (db.session(), db.session());
    let second_pid = pid(&second);
    db.exec(&insert("a"));
    first.exec("BEGIN");
    refresh(&first);
    db.exec(&insert("b"));

    // Another agent's refresh does not wait; this agent's, when told not to, comes back empty-handed.
    assert_no_rows(
        &db,
        "SELECT agent_id FROM agent_metrics_internal.refresh_agents(ARRAY['sup'], wait => false)",
    );
    first.exec("COMMIT");
    first.exec("BEGIN");
    first.exec("SELECT agent_metrics.refresh('sup')");
    db.exec(&insert("c"));
    assert_eq!(
        db.lines(
            "SELECT agent_id FROM agent_metrics_internal.refresh_agents(ARRAY['ops', 'sup'], wait => false)"
        ),
        ["ops"]
    );
    db.exec("SELECT agent_metrics.refresh('ops')");

    // Told to wait, it waits, and then counts what the first could not see.
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            second.lines("SELECT agent_id, events_changed FROM agent_metrics.refresh('sup')")
        });
        until_blocked(&db, &second_pid);
        first.exec("COMMIT");
        assert_eq!(waits.join().unwrap(), ["sup|1"]);
    });
    assert_rollups(&db);
    assert_eq!(counted(&db), "3|3|3");
}

#[test]
fn the_first_refresh_of_an_agent_holds_its_lock_too() {
    let db = shop("sessions_first_refresh");
    let first = db.session();
    db.exec("SELECT agent_metrics.register_agent('new', 'ops', 'Head of Operations')");
    first.exec("BEGIN");
    first.exec("SELECT agent_metrics.refresh('new')");
    db.exec("SET statement_timeout = '20s'");
    assert_no_rows(
        &db,
        "SELECT agent_id FROM agent_metrics_internal.refresh_agents(ARRAY['new'], wait => false)",
    );
    first.exec("COMMIT");
}

#[test]
fn an_agent_that_leaves_does_not_keep_the_log() {
    let db = shop("sessions_departed_agent");
    refresh(&db);
    db.exec("SELECT agent_metrics.register_agent('gone', 'ops', 'Head of Operations')");
    refresh(&db);
    db.exec(
        "DELETE FROM agent_metrics.thresholds WHERE agent_id = 'gone';
         DELETE FROM agent_metrics.agents WHERE agent_id = 'gone'",
    );
    db.exec(
        "UPDATE agent_metrics.outcomes SET description = 'still a success' WHERE label = 'success'",
    );
    refresh(&db);
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.changes");
    db.exec("SELECT agent_metrics.register_agent('gone', 'ops', 'Head of Operations')");
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn two_refreshes_of_all_agents_do_not_wait_for_each_other_for_ever() {
    let db = shop("sessions_no_deadlock");
    for round in 0..4 {
        db.exec("UPDATE agent_metrics.agent_events SET latency_ms = coalesce(latency_ms, 0) + 1 WHERE turn_index = 2");
        db.exec(&insert(&format!("round-{round}")));
        let others: Vec<Session> = (0..3).map(|_| db.session()).collect();
        thread::scope(|scope| {
            for (index, session) in others.iter().enumerate() {
                let agents = [
                    "'sup', 'ops', 'sal'",
                    "'sal', 'ops', 'sup'",
                    "'ops', 'sup', 'sal'",
                ][index];
                scope.spawn(move || {
                    session.exec(&format!(
                        "SELECT agent_metrics_internal.refresh_agents(ARRAY[{agents}])"
                    ))
                });
            }
        });
        refresh(&db);
        assert_rollups(&db);
    }
    assert_eq!(counted(&db), "4|4|4");
}

#[test]
fn a_snapshot_older_than_the_last_refresh_is_refused() {
    let db = shop("sessions_old_snapshot");
    let old = db.session();
    old.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.exec("SELECT count(*) FROM agent_metrics.agents");
    db.exec(&insert("a"));
    refresh(&db);
    assert_sqlstate(&old, "SELECT agent_metrics.refresh()", "40001");
    old.exec("ROLLBACK");
    assert_rollups(&db);

    // One that is as new as the last refresh may go on.
    old.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.exec("SELECT count(*) FROM agent_metrics.agents");
    db.exec(&insert("b"));
    old.exec("SELECT agent_metrics.refresh()");
    old.exec("COMMIT");
    assert_eq!(counted(&db), "1|1|1");
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(counted(&db), "2|2|2");
}

#[test]
fn a_snapshot_older_than_an_exchange_of_partitions_is_refused() {
    let db = shop("sessions_old_partitions");
    // beyond the months that there are, so that making them moves it
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd)
         VALUES ('ops', date_trunc('month', now()) + interval '4 months 4 days', 'far', 1)",
    );
    refresh(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label)
         VALUES ('ops', '2026-03-05', 'far', 'success')",
    );
    let old = db.session();
    old.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.exec("SELECT count(*) FROM agent_metrics.agents");
    db.exec("SELECT agent_metrics.ensure_partitions(5)");
    let error = assert_sqlstate(&old, "SELECT agent_metrics.refresh()", "40001");
    assert!(error.to_string().contains("partitions"), "{error}");
    old.exec("ROLLBACK");
    refresh(&db);
    assert_rollups(&db);
    // one that is as new as they are may go on
    db.exec(&insert("a"));
    old.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    old.exec("SELECT agent_metrics.refresh()");
    old.exec("COMMIT");
    assert_rollups(&db);
}

#[test]
fn writers_are_not_blocked_by_a_refresh_nor_a_refresh_by_writers() {
    let db = shop("sessions_no_blocking");
    let (refresher, writer) = (db.session(), db.session());
    for session in [&refresher, &writer] {
        session.exec("SET lock_timeout = '5s'");
    }
    db.exec(
        "UPDATE agent_metrics.agent_events SET latency_ms = 7 WHERE conversation_id LIKE '%-3-1'",
    );
    refresher.exec("BEGIN");
    refresh(&refresher);
    writer.exec(&insert("a"));
    writer.exec(
        "UPDATE agent_metrics.agent_events SET latency_ms = 8 WHERE conversation_id LIKE '%-3-1'",
    );
    writer.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id LIKE '%-3-2'");
    writer.exec(
        "UPDATE agent_metrics.business_events
         SET kind = 'ticket_escalated' WHERE conversation_id LIKE '%-3-0'",
    );
    writer.exec("UPDATE agent_metrics.outcomes SET is_unit = false WHERE label = 'completed'");
    refresher.exec("COMMIT");
    writer.exec("BEGIN");
    writer.exec(
        "UPDATE agent_metrics.agent_events SET latency_ms = 9 WHERE conversation_id LIKE '%-3-1'",
    );
    refresh(&refresher);
    writer.exec("COMMIT");
    refresh(&refresher);
    assert_rollups(&db);
}
