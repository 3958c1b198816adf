//! Setup: who owns what, what every object says of itself, and dump and restore. Who may do what is in access.rs.

use std::thread;

use crate::support::asserts::{assert_no_rows, assert_sqlstate};
use crate::support::cluster::run;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Session, empty_db, login};

/// Every row that ships or that a user writes, and every object with its definition.
fn state(session: &Session) -> Vec<String> {
    let tables = session.lines(
        "SELECT oid::regclass FROM pg_class
         WHERE relnamespace IN ('agent_metrics'::regnamespace,
                                'agent_metrics_internal'::regnamespace) AND relkind IN ('r', 'p')
         ORDER BY 1",
    );
    assert!(tables.len() > 20);
    let rows: Vec<String> = tables
        .iter()
        .map(|table| {
            format!(
                "SELECT '{table}', count(*),
                        md5(string_agg(t::text || t.xmin, '|' ORDER BY t::text))
                 FROM ONLY {table} t"
            )
        })
        .collect();
    // Workers may share the tables among them, and then they come in any order.
    let mut state = session.lines(&format!("{} ORDER BY 1", rows.join(" UNION ALL ")));
    state.extend(session.lines(
        "SELECT c.oid::regclass, c.oid, c.relacl, pg_get_viewdef(c.oid), obj_description(c.oid)
         FROM pg_class c
         WHERE c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_kpi'::regnamespace,
                                  'agent_metrics_internal'::regnamespace)
         ORDER BY c.oid",
    ));
    state.extend(session.lines(
        "SELECT p.oid::regprocedure, p.oid, p.proacl, p.proconfig, md5(p.prosrc) FROM pg_proc p
         WHERE p.pronamespace IN ('agent_metrics'::regnamespace,
                                  'agent_metrics_internal'::regnamespace)
         ORDER BY p.oid",
    ));
    state
}

pub fn views(session: &Session) -> Vec<String> {
    let views = session.lines(
        "SELECT oid::regclass FROM pg_class
         WHERE relnamespace = 'agent_kpi'::regnamespace ORDER BY 1",
    );
    assert!(views.len() >= 12, "{views:?}");
    views
}

#[test]
fn setup_twice_changes_nothing_and_keeps_edits_and_deletions_of_shipped_rows() {
    let db = shop("setup_twice");
    db.exec(
        "UPDATE agent_metrics.outcomes SET is_success = true WHERE label = 'info_only';
         DELETE FROM agent_metrics.outcomes WHERE label = 'abandoned';
         UPDATE agent_metrics.settings SET value = 'Europe/Berlin' WHERE name = 'report_time_zone';
         UPDATE agent_metrics.agent_kinds SET cadence = '*/10 * * * *' WHERE kind = 'support';
         DELETE FROM agent_metrics.benchmarks WHERE vertical = 'legal';
         UPDATE agent_metrics.metrics SET definition = 'ours' WHERE metric = 'nps_delta';
         DELETE FROM agent_metrics.event_kinds WHERE kind = 'refund';
         DELETE FROM agent_metrics.kind_thresholds WHERE metric = 'hallucination_rate';
         GRANT SELECT ON agent_kpi.kpi_daily TO pg_monitor",
    );
    let before = state(&db);
    for _ in 0..2 {
        let said = db.value("SELECT agent_metrics.setup()").unwrap();
        assert!(said.contains("0 migrations applied now"), "{said}");
        assert_eq!(state(&db), before);
    }
}

#[test]
fn two_calls_of_setup_at_once_do_it_once() {
    let db = empty_db("setup_at_once");
    db.exec("CREATE EXTENSION agent_metrics");
    let sessions: Vec<Session> = (0..3).map(|_| db.session()).collect();
    let said: Vec<String> = thread::scope(|scope| {
        let calls: Vec<_> = sessions
            .iter()
            .map(|session| scope.spawn(|| session.value("SELECT agent_metrics.setup()").unwrap()))
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(
        said.iter()
            .filter(|said| said.contains(" 0 migrations applied now"))
            .count(),
        2,
        "{said:?}"
    );
}

#[test]
fn a_database_owner_who_is_no_superuser_owns_everything_and_everything_works_for_him() {
    let db = empty_db("setup_owner");
    let (name, owner) = login(&db, "owner");
    db.exec(&format!("ALTER DATABASE {} OWNER TO {name}", db.name()));
    assert_eq!(
        owner
            .value("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            .as_deref(),
        Some("f")
    );
    owner.exec("CREATE EXTENSION agent_metrics");
    owner.exec("SELECT agent_metrics.setup()");
    assert_no_rows(
        &owner,
        "SELECT c.oid::regclass
FROM pg_class c WHERE c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_kpi'::regnamespace,
                                         'agent_metrics_internal'::regnamespace)
AND c.relkind IN ('r', 'p', 'v', 'S') AND c.relowner <> current_user::regrole",
    );
    owner.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
         SELECT 'bot', now() - n * interval '3 hours', 'c' || n % 20, n, 0.01,
                CASE WHEN n < 20 THEN 'success' END
         FROM generate_series(0, 60) AS n",
    );
    assert_eq!(
        owner.lines("SELECT agent_id, events_changed FROM agent_metrics.refresh()"),
        ["bot|61"]
    );
    owner.exec(
        "UPDATE agent_metrics.agent_events
         SET outcome_label = 'failure' WHERE conversation_id = 'c3';
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'c4'",
    );
    refresh(&owner);
    assert_rollups(&owner);
    owner.exec(
        "SELECT agent_metrics.ensure_partitions(5); SELECT agent_metrics.setup();
         SELECT agent_metrics.due_agents()",
    );
    for view in views(&owner) {
        owner.exec(&format!("SELECT * FROM {view}"));
    }
    // he gives access on, and takes it away
    let (name, admin) = login(&db, "admin");
    owner.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'admin')"
    ));
    assert_eq!(
        admin.lines("SELECT agent_id FROM agent_metrics.refresh()"),
        ["bot"]
    );
    owner.exec(&format!("SELECT agent_metrics.revoke_access('{name}')"));
    assert_sqlstate(&admin, "SELECT agent_metrics.refresh()", "42501");
    // somebody else may not even try
    let (_, stranger) = login(&db, "stranger");
    for sql in [
        "SELECT agent_metrics.setup()",
        "CREATE TABLE agent_metrics.x (y int)",
        "SELECT agent_metrics.grant_access('postgres', 'admin')",
    ] {
        assert_sqlstate(&stranger, sql, "42501");
    }
}

#[test]
fn dropping_the_extension_refuses_instead_of_dropping_data() {
    let db = shop("setup_drop");
    let error = assert_sqlstate(&db, "DROP EXTENSION agent_metrics", "2BP01");
    assert!(error.detail.contains("depends on"), "{error}");
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.agent_events"),
        450.0
    );
    // no table is a member of the extension
    assert_no_rows(
        &db,
        "SELECT * FROM pg_depend d
         JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'agent_metrics'
         WHERE d.deptype = 'e' AND d.classid = 'pg_class'::regclass
           AND EXISTS (SELECT FROM pg_class c
                       WHERE c.oid = d.objid AND c.relkind IN ('r', 'p', 'v'))",
    );
}

#[test]
fn dump_and_restore_bring_everything_back() {
    let db = shop("setup_dump");
    let reader = format!("{}_reader", db.name());
    db.exec(&format!(
        "CREATE ROLE {reader}; SELECT agent_metrics.grant_access('{reader}', 'reader')"
    ));
    db.exec(
        "UPDATE agent_metrics.outcomes SET is_success = true WHERE label = 'info_only';
         DELETE FROM agent_metrics.outcomes WHERE label = 'abandoned';
         INSERT INTO agent_metrics.outcomes (label, is_success) VALUES ('done', true);
         UPDATE agent_metrics.settings SET value = 'Europe/Berlin' WHERE name = 'report_time_zone';
         UPDATE agent_metrics.thresholds SET value = 0.5, note = 'ours' WHERE agent_id = 'sup';
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         VALUES ('nobody', now(), 'n', NULL), ('sup', '2036-01-01', 'f', 'done');
         SELECT agent_metrics.refresh();
         -- waits in the log
         UPDATE agent_metrics.agent_events SET latency_ms = 4321 WHERE conversation_id = 'sal-2-2';",
    );
    let restored = empty_db("setup_restored");
    let file = std::env::temp_dir().join(format!("agent_metrics_dump_{}", std::process::id()));
    let path = file.to_str().unwrap();
    run(
        "pg_dump",
        &["--format=custom", "--file", path, "--dbname", db.url()],
    );
    run(
        "pg_restore",
        &["--exit-on-error", "--dbname", restored.url(), path],
    );
    std::fs::remove_file(&file).unwrap();

    let rows = |session: &Session, table: &str| {
        session.lines(&format!(
            "SELECT t.* FROM {} t ORDER BY t::text",
            crate::support::full(table)
        ))
    };
    for table in [
        "settings",
        "owners",
        "metrics",
        "agent_kinds",
        "kind_thresholds",
        "agents",
        "thresholds",
        "benchmarks",
        "outcomes",
        "event_kinds",
        "agent_events",
        "business_events",
        "changes",
        "conversations",
        "leads",
        "rollups",
        "migrations",
    ] {
        let expected = rows(&db, table);
        assert!(!expected.is_empty(), "{table}");
        assert_eq!(rows(&restored, table), expected, "{table}");
    }
    assert_no_rows(
        &restored,
        "SELECT * FROM agent_metrics.outcomes WHERE label = 'abandoned'",
    );
    let said = restored.value("SELECT agent_metrics.setup()").unwrap();
    assert!(said.contains("0 migrations applied now"), "{said}");
    assert_eq!(
        rows(&restored, "outcomes"),
        rows(&db, "outcomes"),
        "setup() brings nothing back that was deleted"
    );
    restored.exec(&format!(
        "SET ROLE {reader}; SELECT * FROM agent_kpi.kpi_daily; RESET ROLE"
    ));

    // ids of before mean nothing here: what is written after, before and after the first refresh, is counted once
    restored.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-05-01 10:00:00+00', 'after', 10)",
    );
    refresh(&restored);
    assert_rollups(&restored);
    restored.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-05-01 10:00:00+00', 'after', 20);
         UPDATE agent_metrics.agent_events SET outcome_label = 'done' WHERE conversation_id = 'ops-3-3';
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'ops-4-4';
         TRUNCATE agent_metrics.business_events",
    );
    refresh(&restored);
    assert_rollups(&restored);
    assert_eq!(
        restored.number(
            "SELECT turns FROM agent_kpi.agent_daily WHERE agent_id = 'sup' AND day = '2026-05-01'"
        ),
        2.0
    );
    restored.exec("SELECT agent_metrics.ensure_partitions(7)");
    refresh(&restored);
    assert_rollups(&restored);
    for database in [&db, &restored] {
        database.exec(&format!("DROP OWNED BY {reader}"));
    }
    db.exec(&format!("DROP ROLE {reader}"));
}
