//! An update that is killed at its worst moment leaves the version before it, says so, and is finished by the next one.

use super::server::{PATIENCE, kill};
use super::*;
use crate::support::asserts::assert_ours;

/// Waits until the server has seen that one of its processes was killed: then it ends every other session too.
fn until_ended(witness: &Session) {
    let begun = std::time::Instant::now();
    while witness.attempt("SELECT 1").is_ok() {
        assert!(begun.elapsed() < PATIENCE, "the server goes on");
    }
}

/// Kills the backend of a session that waits for a lock, as soon as it does, and gives what became of its statement.
fn kill_in_the_middle(server: &Server, name: &str, statement: &str, end: impl FnOnce(&str)) {
    let holder = server.session(name);
    holder.exec("BEGIN; LOCK TABLE agent_metrics.agents IN ACCESS SHARE MODE");
    let doomed = server.session(name);
    let pid = doomed.value("SELECT pg_backend_pid()").unwrap();
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| doomed.attempt(statement));
        holder.until(&format!(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = {pid} AND NOT granted)"
        ));
        end(&pid);
        until_ended(&holder);
        assert_eq!(ended.join().unwrap().unwrap_err().sqlstate, "08006");
    });
}

#[test]
fn an_update_that_is_killed_is_finished_by_the_next_setup() {
    let (server, earlier, later) = released_past("killed");
    let mut updated = filled(&server, "updated", &earlier);
    // what a killed backend had committed is on the disk
    updated.exec("ALTER DATABASE updated SET synchronous_commit = on");
    updated.exec("CHECKPOINT");
    updated = server.session("updated");
    let before = Kept::of(&updated);
    let version = "SELECT extversion FROM pg_extension WHERE extname = 'agent_metrics'";

    // ALTER EXTENSION: it was made wholly or not at all
    updated.exec("BEGIN; ALTER EXTENSION agent_metrics UPDATE");
    let pid = updated.value("SELECT pg_backend_pid()").unwrap();
    let witness = server.session("postgres");
    kill("KILL", &pid);
    until_ended(&witness);
    updated = server.session("updated");
    assert_eq!(updated.value(version).as_deref(), Some(EARLIER));
    assert_eq!(before.lost(&updated), [""; 0]);
    updated.exec("ALTER EXTENSION agent_metrics UPDATE");
    stand_in(&updated, VERSION, &later);

    // setup(), its backend killed and its server cut off, in the middle of a step: it waits for a table that it alters
    let catalogue = catalogue::of(&updated);
    for is_server in [false, true] {
        kill_in_the_middle(&server, "updated", "SELECT agent_metrics.setup()", |pid| {
            if is_server {
                server.cut();
            } else {
                kill("KILL", pid);
            }
        });
        updated = server.session("updated");
        assert_same(&catalogue::of(&updated), &catalogue);
        assert_eq!(before.lost(&updated), [""; 0]);
        // new members do not count in old tables
        for count in ["refresh()", "refresh('sup')", "rebuild('sup')", "verify()"] {
            let error = updated.error(&format!("SELECT * FROM agent_metrics.{count}"));
            assert_ours(
                &error,
                "55000",
                &format!("as version {EARLIER} made them, and the extension is {VERSION}"),
            );
            assert!(
                error.hint.contains("SELECT agent_metrics.setup()"),
                "{error}"
            );
        }
        // and turns are taken
        updated.exec(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
             VALUES ('sup', '2026-05-02 10:00:00+00', 'meanwhile', 5)",
        );
    }
    assert!(setup(&updated).contains("1 migrations applied now"));
    library(&updated);
    let fresh = fresh(&server, "fresh", &later);
    assert_same(&catalogue::of(&updated), &catalogue::of(&fresh));
    let current = server.database("current");
    current.exec("CREATE EXTENSION agent_metrics");
    setup(&current);
    assert_kept(&updated, &before, &current);
    let counted =
        "SELECT sum(turns) FROM agent_metrics.conversations WHERE conversation_id = 'meanwhile'";
    assert_eq!(updated.number(counted), 2.0);
}
