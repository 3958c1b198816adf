//! A refresh held in its middle, by a lock on what it is about to write, while something else happens: it is cancelled
//! or cut off there, a column or an index is added, a dump is taken, partitions are made, another agent is refreshed.

use std::thread;

use crate::refresh::sessions::{insert, pid, until_blocked};
use crate::support::asserts::{assert_no_rows, assert_verified};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Db, Session, SqlError};

/// Everything a refresh writes, as text.
fn written(session: &Session) -> Vec<String> {
    session.lines(
        "SELECT r::text FROM agent_metrics_internal.rollups r
         UNION ALL SELECT c::text FROM agent_metrics.conversations c
         UNION ALL SELECT l::text FROM agent_metrics_internal.leads l
         UNION ALL SELECT w::text FROM agent_metrics_internal.agent_watermarks w
         UNION ALL SELECT c::text FROM agent_metrics_internal.changes c ORDER BY 1",
    )
}

/// A change that makes a refresh write everywhere: turns come, one is mended, a lead is qualified, one turn goes.
fn change(session: &Session, name: &str) {
    session.exec(&insert(name));
    session.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, latency_ms, outcome_label)
         SELECT a, '2026-03-04 08:00:00+00', a || '-{name}', '{name}', 5, 'success'
         FROM unnest(ARRAY['sup', 'sal', 'ops']) AS a;
         INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         VALUES ('{name}', 'lead_qualified', 'sal-3-1');
         UPDATE agent_metrics.agent_events
         SET latency_ms = coalesce(latency_ms, 0) + 1 WHERE conversation_id LIKE '%-4-1';
         DELETE FROM agent_metrics.agent_events WHERE conversation_id LIKE '%-5-1' AND turn_index = 1"
    ));
}

/// Runs a refresh that waits where it is to write `table`, does something meanwhile, lets it go on, and returns what
/// became of it.
fn held<T>(db: &Db, table: &str, meanwhile: impl FnOnce(&str) -> T) -> (Result<(), SqlError>, T) {
    let (refresher, holder) = (db.session(), db.session());
    let refresher_pid = pid(&refresher);
    thread::scope(|scope| {
        holder.exec("BEGIN");
        holder.exec(&format!(
            "LOCK TABLE {} IN SHARE MODE",
            crate::support::full(table)
        ));
        let waits = scope.spawn(|| refresher.attempt("SELECT agent_metrics.refresh()"));
        until_blocked(db, &refresher_pid);
        let result = meanwhile(&refresher_pid);
        holder.exec("ROLLBACK");
        (waits.join().unwrap(), result)
    })
}

#[test]
fn cancelled_or_cut_off_at_any_step_a_refresh_leaves_everything_as_it_was() {
    let db = shop("isolation_cancel");
    for (how, sqlstate) in [
        ("pg_cancel_backend", "57014"),
        ("pg_terminate_backend", "57P01"),
    ] {
        for table in [
            "agent_watermarks",
            "changes",
            "rollups",
            "conversations",
            "leads",
        ] {
            change(&db, &format!("{how}-{table}"));
            let before = written(&db);
            let (ended, ()) = held(&db, table, |pid| {
                db.exec(&format!("SELECT {how}({pid})"));
                db.until(&format!(
                    "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'"
                ));
            });
            let error = ended.expect_err(table);
            assert!(
                [sqlstate, "08006"].contains(&error.sqlstate.as_str()),
                "{error}"
            );
            assert_eq!(written(&db), before, "{how} at {table}");
            db.exec("SET lock_timeout = '2s'");
            refresh(&db);
            assert_rollups(&db);
        }
    }
}

#[test]
fn what_is_written_while_a_refresh_is_held_is_counted_by_the_next() {
    let db = shop("isolation_meanwhile");
    let writer = db.session();
    writer.exec("SET lock_timeout = '2s'");
    for table in ["changes", "rollups", "conversations"] {
        change(&db, &format!("before-{table}"));
        let (ended, ()) = held(&db, table, |_| {
            // writers log their changes, so they too wait for whoever locks that table, and for no refresh
            writer.exec(&insert(&format!("meanwhile-{table}")));
            if table != "changes" {
                change(&writer, &format!("while-{table}"));
            }
        });
        ended.unwrap();
        refresh(&db);
        assert_rollups(&db);
    }
}

#[test]
fn a_turn_that_commits_before_its_conversation_is_looked_up_is_counted_once() {
    let db = shop("isolation_looked_up");
    db.exec(
        "UPDATE agent_metrics.agent_events
         SET outcome_label = 'success' WHERE conversation_id = 'sup-2-1' AND turn_index = 2",
    );
    // held once it has said what it counts, and before it looks at the conversation that changed
    let (ended, ()) = held(&db, "changes", |_| {
        db.exec(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd)
             VALUES ('sup', '2026-03-03 12:00:00+00', 'sup-2-1', 0.125)",
        );
    });
    ended.unwrap();
    let turns = "SELECT turns FROM agent_metrics.conversations WHERE conversation_id = 'sup-2-1'";
    assert_eq!(db.lines(turns), ["3"]);
    refresh(&db);
    assert_eq!(db.lines(turns), ["4"]);
    assert_rollups(&db);
}

#[test]
fn an_agent_whose_kind_changes_while_a_refresh_is_held_is_built_by_the_next() {
    let db = shop("isolation_kind");
    db.exec(&insert("before"));
    let (ended, ()) = held(&db, "rollups", |_| {
        db.exec("SELECT agent_metrics.register_agent('sal', 'support', 'O')");
    });
    ended.unwrap();
    refresh(&db);
    assert_rollups(&db);
    assert!(
        db.number(
            "SELECT count(*) FROM agent_metrics_internal.rollups WHERE agent_id = 'sal' AND level = 'fine'"
        ) > 0.0
    );
}

#[test]
fn what_is_deleted_while_an_agent_is_built_is_not_forgotten() {
    let db = shop("isolation_build");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('new', '2026-03-05 10:00:00+00', 'c');
         INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         VALUES ('said', 'ticket_resolved', 'c');
         SELECT agent_metrics.register_agent('new', 'support', 'O')",
    );
    let (builder, holder) = (db.session(), db.session());
    let builder_pid = pid(&builder);
    thread::scope(|scope| {
        // held where it writes this row, when it has read what the business said
        holder.exec(
            "BEGIN;
             INSERT INTO agent_metrics_internal.rollups (agent_id, level, bucket)
             VALUES ('new', 'day', '2026-03-05')",
        );
        let waits = scope.spawn(|| builder.exec("SELECT agent_metrics.refresh('new')"));
        until_blocked(&db, &builder_pid);
        db.exec("DELETE FROM agent_metrics.business_events WHERE business_event_id = 'said'");
        // every other agent has seen it
        db.exec("SELECT agent_metrics_internal.refresh_agents(ARRAY['sup', 'sal', 'ops'])");
        holder.exec("ROLLBACK");
        waits.join().unwrap();
    });
    refresh(&db);
    assert_rollups(&db);
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.changes");
}

#[test]
fn agents_are_refreshed_side_by_side() {
    let db = shop("isolation_side_by_side");
    change(&db, "both");
    let (sup, ops, holder) = (db.session(), db.session(), db.session());
    let sup_pid = pid(&sup);
    ops.exec("SET lock_timeout = '2s'");
    thread::scope(|scope| {
        holder.exec("BEGIN");
        holder.exec("SELECT FROM agent_metrics.conversations WHERE agent_id = 'sup' FOR UPDATE");
        let waits = scope.spawn(|| sup.exec("SELECT agent_metrics.refresh('sup')"));
        until_blocked(&db, &sup_pid);
        ops.exec("SELECT agent_metrics.refresh('ops')");
        // overlapping: what is being refreshed is left out, or waited for, as asked
        assert_eq!(
            ops.lines(
                "SELECT agent_id FROM agent_metrics_internal.refresh_agents(
                     ARRAY['ops', 'sal', 'sup'], wait => false)
                 ORDER BY 1"
            ),
            ["ops", "sal"]
        );
        holder.exec("ROLLBACK");
        waits.join().unwrap();
    });
    assert_rollups(&db);
}

#[test]
fn a_column_or_an_index_is_added_while_a_refresh_is_held() {
    let db = shop("isolation_ddl");
    let partition = db
        .value("SELECT tableoid::regclass FROM agent_metrics.agent_events LIMIT 1")
        .unwrap();
    for (number, ddl) in [
        "ALTER TABLE agent_metrics.agent_events ADD COLUMN campaign text".to_owned(),
        format!("CREATE INDEX CONCURRENTLY by_model ON {partition} (model)"),
        format!("REINDEX INDEX CONCURRENTLY {partition}_conversation_id_idx"),
        "ALTER TABLE agent_metrics.agent_events DROP COLUMN campaign".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        change(&db, &format!("before-{number}"));
        let owner = db.session();
        let owner_pid = pid(&owner);
        thread::scope(|scope| {
            let (ended, changed) = held(&db, "rollups", |_| {
                let changed = scope.spawn(|| owner.attempt(&ddl));
                // it waits for the refresh, or is done beside it; neither waits for the other for ever
                db.until(&format!(
                    "SELECT count(*) = 1 FROM pg_stat_activity
                     WHERE pid = {owner_pid} AND (wait_event_type = 'Lock' OR state = 'idle')"
                ));
                changed
            });
            ended.unwrap_or_else(|error| panic!("{error} beside {ddl}"));
            changed
                .join()
                .unwrap()
                .unwrap_or_else(|error| panic!("{error} from {ddl}"));
        });
        change(&db, &format!("after-{number}"));
        refresh(&db);
        assert_rollups(&db);
    }
}

#[test]
fn maintenance_and_a_dump_go_on_while_a_refresh_is_held() {
    let db = shop("isolation_maintenance");
    change(&db, "before");
    let other = db.session();
    other.exec("SET lock_timeout = '2s'");
    let (ended, dump) = held(&db, "conversations", |_| {
        for table in [
            "agent_events",
            "business_events",
            "changes",
            "rollups",
            "leads",
        ] {
            other.exec(&format!("VACUUM (ANALYZE) {}", crate::support::full(table)));
        }
        // It gives way rather than have inserts wait behind it.
        if let Err(error) = other.attempt("SELECT agent_metrics.ensure_partitions(9)") {
            assert_eq!(error.sqlstate, "55P03", "{error}");
        }
        other.exec(&insert("beside"));
        crate::support::cluster::run(
            "pg_dump",
            &["--lock-wait-timeout=2000", "--dbname", db.url()],
        )
    });
    ended.unwrap();
    assert!(dump.contains("COPY agent_metrics_internal.rollups_day"));
    db.exec("SELECT agent_metrics.ensure_partitions(9)");
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn a_session_that_watches_sees_one_state_of_the_books() {
    let db = shop("isolation_watch");
    let watch = db.session();
    let seen = "SELECT (SELECT sum(turns) FROM agent_metrics_internal.rollups WHERE level = 'day'),
                       (SELECT sum(turns) FROM agent_metrics_internal.rollups WHERE level = 'hour'),
                       (SELECT sum(turns) FROM agent_metrics.conversations),
                       (SELECT string_agg(snapshot::text, ' ' ORDER BY agent_id)
                        FROM agent_metrics_internal.agent_watermarks)";
    watch.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
    let before = watch.lines(seen);
    change(&db, "a");
    refresh(&db);
    assert_eq!(watch.lines(seen), before);
    assert_verified(&watch);
    watch.exec("COMMIT");
    assert_ne!(watch.lines(seen), before);
    let after = watch.lines(seen);
    let [day, hour, ..] = after[0].split('|').collect::<Vec<_>>()[..] else {
        panic!("{after:?}")
    };
    assert_eq!(day, hour);
}
