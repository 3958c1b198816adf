//! Who may do what: a reader, a writer, an admin, everybody.

use crate::setup::install::views;
use crate::support::asserts::{assert_no_rows, assert_sqlstate, assert_verified};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Db, db, empty_db, login};

#[test]
fn a_reader_sees_every_view_and_no_raw_table() {
    let db = shop("setup_reader");
    // a name that has to be quoted
    let name = format!("\"Reader; of {}\"", db.name());
    db.exec(&format!(
        "CREATE ROLE {name}; SELECT agent_metrics.grant_access('{name}', 'reader')"
    ));
    let reader = db.session();
    reader.exec(&format!("SET SESSION AUTHORIZATION {name}"));
    let views = views(&db);
    for view in &views {
        reader.exec(&format!("SELECT * FROM {view}"));
    }
    assert!(
        reader.number("SELECT count(*) FROM agent_kpi.kpi_daily WHERE value IS NOT NULL") > 10.0
    );
    for table in db.lines(
        "SELECT oid::regclass FROM pg_class
         WHERE relnamespace IN ('agent_metrics'::regnamespace,
                                'agent_metrics_internal'::regnamespace)
           AND relkind IN ('r', 'p', 'v')",
    ) {
        for sql in [
            format!("SELECT * FROM {table}"),
            format!("SELECT count(*) FROM {table}"),
            format!("SELECT FROM {table} LIMIT 0"),
        ] {
            assert_sqlstate(&reader, &sql, "42501");
        }
    }
    for sql in [
        "SELECT agent_metrics.refresh()",
        "SELECT agent_metrics.verify()",
        "SELECT agent_metrics.register_agent('x', 'ops', 'O')",
        "SELECT agent_metrics.setup()",
        "SELECT agent_metrics.trace('task_success_rate', 'sup', '2026-03-01', '2026-03-02')",
        "SELECT agent_metrics.explain_metric('task_success_rate', 'sup', '2026-03-01')",
        "SELECT agent_metrics.ensure_partitions()",
        "CREATE VIEW agent_kpi.mine AS SELECT 1",
    ] {
        assert_sqlstate(&reader, sql, "42501");
    }
    // no user and no raw event shows through a view
    assert_no_rows(
        &db,
        "SELECT table_name FROM information_schema.columns
         WHERE table_schema = 'agent_kpi' AND column_name IN ('user_id', 'event_id')",
    );
    // a later setup() replaces views, and gives him what is new by his level
    db.exec(
        "CREATE VIEW agent_kpi.later AS SELECT 1 AS n; DROP VIEW agent_kpi.open_breaches CASCADE;
         SELECT agent_metrics.setup()",
    );
    reader.exec("SELECT * FROM agent_kpi.later; SELECT * FROM agent_kpi.open_breaches");
    db.exec(&format!(
        "DROP VIEW agent_kpi.later; SELECT agent_metrics.revoke_access('{name}')"
    ));
    for view in &views {
        assert_sqlstate(&reader, &format!("SELECT * FROM {view}"), "42501");
    }
    drop(reader);
    db.exec(&format!("DROP ROLE {name}")); // nothing of his is left
}

#[test]
fn a_writer_brings_facts_in_and_cannot_choose_their_stamps() {
    let db = shop("setup_writer");
    let (name, writer) = login(&db, "writer");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'writer')"
    ));
    let insert = "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id, conversation_id, latency_ms)
                  VALUES ('sup', '2026-05-01 10:00:00+00', '00000000-0000-0000-0000-000000000001', 'w', 10)";
    writer.exec(insert);
    writer.exec(&format!("{insert} ON CONFLICT DO NOTHING"));
    assert_eq!(
        writer.copy_csv(
            "agent_metrics.agent_events (agent_id, occurred_at, conversation_id, tools_called)",
            "a,o,c,t\nsup,2026-05-01 11:00:00+00,v,\"[\"\"x\"\"]\"\n"
        ),
        1
    );
    writer.exec(
        "UPDATE agent_metrics.agent_events SET outcome_label = 'success' WHERE conversation_id IN ('w', 'sup-2-4');
         INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         VALUES ('w', 'ticket_escalated', 'w');
         UPDATE agent_metrics.business_events SET kind = 'ticket_resolved' WHERE business_event_id = 'w';
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, answer_verdict)
         VALUES ('sup', 'w', 'team', 'supported');
         INSERT INTO agent_metrics.survey_answers (answer_id, agent_id, conversation_id, score)
         VALUES ('w', 'sup', 'w', 9);
         UPDATE agent_metrics.survey_answers SET score = 10 WHERE answer_id = 'w';
         INSERT INTO agent_metrics.turn_scores (agent_id, conversation_id, occurred_at, event_id, score)
         VALUES ('sup', 'w', '2026-05-01 10:00:00+00', '00000000-0000-0000-0000-000000000001', 0.5);
         INSERT INTO agent_metrics.tool_call_verdicts (agent_id, conversation_id, occurred_at, event_id, is_correct)
         VALUES ('sup', 'w', '2026-05-01 10:00:00+00', '00000000-0000-0000-0000-000000000001', true);
         INSERT INTO agent_metrics.infrastructure_costs (agent_id, period_start, period_end, amount_usd)
         VALUES ('sup', '2026-05-01', '2026-05-02', 1)",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT turns, successes
             FROM agent_kpi.agent_daily WHERE agent_id = 'sup' AND day = '2026-05-01'"
        ),
        ["2|1"]
    );
    for sql in [
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, recorded_in)
         VALUES ('sup', now(), 'x', '3')",
        "UPDATE agent_metrics.agent_events SET recorded_in = '3'",
        "SELECT recorded_in FROM agent_metrics.agent_events",
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, changed_in) VALUES ('x', 'charge', '3')",
        "INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, changed_in)
         VALUES ('sup', 'w', 'team', '3')",
        "DELETE FROM agent_metrics.reviews",
        "SELECT * FROM agent_metrics.trace('task_success_rate', 'sup', '2026-05-01', '2026-05-02')",
        "SELECT agent_metrics.evaluate_thresholds()",
        "DELETE FROM agent_metrics.agent_events",
        "TRUNCATE agent_metrics.agent_events",
        "INSERT INTO agent_metrics_internal.changes DEFAULT VALUES",
        "SELECT * FROM agent_metrics_internal.rollups",
        "UPDATE agent_metrics_internal.rollups SET turns = 0",
        "SELECT * FROM agent_metrics.outcomes",
        "SELECT * FROM agent_kpi.kpi_daily",
        "SELECT agent_metrics.refresh()",
        // nor may he put a trigger of ours, which has the owner's rights, on a table of his own
        "CREATE TEMP TABLE mine (n int);
         CREATE TRIGGER t AFTER TRUNCATE ON mine
             EXECUTE FUNCTION agent_metrics_internal.log_truncate()",
    ] {
        assert_sqlstate(&writer, sql, "42501");
    }
    db.exec(&format!("SELECT agent_metrics.revoke_access('{name}')"));
    assert_sqlstate(&writer, insert, "42501");
    drop(writer);
    db.exec(&format!("DROP ROLE {name}"));
}

#[test]
fn an_admin_can_do_what_the_program_needs() {
    let db = shop("setup_admin");
    let (name, admin) = login(&db, "admin");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'admin')"
    ));
    admin.exec(
        "SELECT agent_metrics.register_agent('mine', 'ops', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id) VALUES ('mine', now(), 'c');
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'sup-0-0';
         UPDATE agent_metrics.thresholds SET value = 0.5 WHERE metric = 'task_success_rate';
         INSERT INTO agent_metrics.outcomes (label) VALUES ('mine')",
    );
    assert_eq!(
        admin.lines("SELECT agent_id FROM agent_metrics.due_agents(now()) WHERE agent_id = 'mine'"),
        ["mine"]
    );
    assert_eq!(
        admin.number(
            "SELECT count(*) FROM agent_metrics_internal.refresh_agents(ARRAY['mine', 'sup'], wait => false)"
        ),
        2.0
    );
    refresh(&admin);
    admin.exec("SELECT agent_metrics.evaluate_thresholds()");
    assert_verified(&admin);
    assert_eq!(
        admin.number("SELECT agent_metrics.ensure_partitions()"),
        0.0
    );
    assert!(
        admin.number("SELECT agent_metrics.ensure_partitions(6)") > 0.0,
        "partitions are made with their owner's rights"
    );
    for view in views(&db) {
        admin.exec(&format!("SELECT * FROM {view}"));
    }
    assert_rollups(&db);
    db.exec(&format!("SELECT agent_metrics.revoke_access('{name}')"));
    for sql in [
        "SELECT * FROM agent_metrics.agents",
        "SELECT agent_metrics.refresh()",
        "SELECT agent_metrics.ensure_partitions()",
    ] {
        assert_sqlstate(&admin, sql, "42501");
    }
    drop(admin);
    db.exec(&format!("DROP ROLE {name}"));
}

#[test]
fn public_may_call_the_members_and_has_no_right_on_anything_that_is_kept() {
    let db = db("setup_public");
    // whoever calls a member does so with his own rights
    assert_no_rows(
        &db,
        "SELECT p.oid::regprocedure FROM pg_proc p
         WHERE p.pronamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
           AND (has_function_privilege('public', p.oid, 'EXECUTE') AND p.prosecdef
                OR has_function_privilege('public', p.oid, 'EXECUTE') IS DISTINCT FROM
                   EXISTS (SELECT FROM pg_depend d
                           WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'))",
    );
    assert_no_rows(
        &db,
        "SELECT c.oid::regclass
FROM pg_class c WHERE c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_kpi'::regnamespace,
                                         'agent_metrics_internal'::regnamespace)
AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0)",
    );
    assert_eq!(
        db.lines(
            "SELECT has_schema_privilege('public', 'agent_metrics', 'CREATE'),
                    has_schema_privilege('public', 'agent_kpi', 'USAGE'),
                    has_schema_privilege('public', 'agent_kpi', 'CREATE')"
        ),
        ["f|f|f"]
    );
}

/// Statements that revoke_access() returns, run by a superuser.
pub fn revoke(db: &Db, role: &str) -> Vec<String> {
    let said = db.lines(&format!("SELECT agent_metrics.revoke_access('{role}')"));
    for statement in &said {
        db.exec(statement);
    }
    said
}

#[test]
fn all_grants_are_the_owners_and_only_he_gives_them() {
    let db = empty_db("owner_grants");
    let (owner, session) = login(&db, "owner");
    let (reader, _) = login(&db, "reader");
    let (admin, admins) = login(&db, "admin");
    db.exec(&format!(
        "GRANT CREATE ON DATABASE {} TO {owner}",
        db.name()
    ));
    session.exec("CREATE EXTENSION agent_metrics; SELECT agent_metrics.setup()");
    // by a superuser too they are the owner's, who can take them back
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{reader}', 'reader'), agent_metrics.grant_access('{admin}', 'admin')"
    ));
    assert_eq!(
        db.lines("SELECT DISTINCT g.grantor::regrole FROM agent_metrics_internal.rights_given() g"),
        [owner.as_str()]
    );
    // no default privileges
    assert_no_rows(&db, "SELECT * FROM pg_default_acl");
    // nothing is written when nothing is missing
    assert_eq!(
        db.number("SELECT agent_metrics_internal.grant_levels()"),
        0.0
    );
    // an admin has none of what leads to ownership, and does not give access on
    assert_eq!(
        db.lines(&format!(
            "SELECT DISTINCT g.privilege FROM agent_metrics_internal.rights_given() g
             WHERE g.grantee = '{admin}'::regrole ORDER BY 1"
        )),
        ["DELETE", "EXECUTE", "INSERT", "SELECT", "UPDATE", "USAGE"]
    );
    for sql in [
        format!("SELECT agent_metrics.grant_access('{reader}', 'admin')"),
        format!("SELECT agent_metrics.revoke_access('{reader}')"),
        format!(
            "INSERT INTO agent_metrics_internal.access_levels (role_oid, role_name, level, cluster)
             VALUES ('{reader}'::regrole, '{reader}', 'admin', 1)"
        ),
        "DELETE FROM agent_metrics_internal.migrations".to_owned(),
        "TRUNCATE agent_metrics.agent_events".to_owned(),
        "CREATE TRIGGER x BEFORE INSERT ON agent_metrics_internal.changes
             FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            .to_owned(),
        "CREATE TEMP TABLE x (c text REFERENCES agent_metrics.outcomes (label))".to_owned(),
        "CREATE TABLE agent_metrics.x ()".to_owned(),
        "SELECT agent_metrics_internal.make_partition('outcomes2', '-infinity', 'infinity')"
            .to_owned(),
    ] {
        let error = admins.error(&sql);
        assert_eq!(
            error.sqlstate,
            if sql.contains("TEMP") {
                "42P16"
            } else {
                "42501"
            },
            "{sql}: {error}"
        );
    }
    assert_no_rows(
        &session,
        &format!("SELECT agent_metrics.revoke_access('{reader}')"),
    );
    db.exec(&format!("DROP ROLE {reader}"));
    drop((session, admins));
    db.exec(&format!(
        "DROP OWNED BY {owner}, {admin} CASCADE; DROP ROLE {owner}, {admin}"
    ));
}

#[test]
fn revoke_access_says_what_others_gave_and_the_role_can_be_dropped() {
    let db = shop("owner_revoke");
    let (name, _) = login(&db, "leaver");
    let (other, others) = login(&db, "other");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'reader'),
                agent_metrics.grant_access('{name}', 'writer'),
                agent_metrics.grant_access('{name}', 'admin');
         GRANT USAGE ON SCHEMA agent_kpi TO {other} WITH GRANT OPTION;
         GRANT SELECT ON agent_kpi.kpi_daily TO {other} WITH GRANT OPTION;
         GRANT USAGE ON SCHEMA agent_metrics TO {other};
         GRANT INSERT (label) ON agent_metrics.outcomes TO {other} WITH GRANT OPTION;
         GRANT CREATE ON SCHEMA agent_kpi TO {other};
         ALTER DEFAULT PRIVILEGES IN SCHEMA agent_metrics GRANT SELECT ON TABLES TO {name}"
    ));
    others.exec(&format!(
        "GRANT USAGE ON SCHEMA agent_kpi TO {name}; GRANT SELECT ON agent_kpi.kpi_daily TO {name};
         GRANT INSERT (label) ON agent_metrics.outcomes TO {name};
         ALTER DEFAULT PRIVILEGES IN SCHEMA agent_kpi GRANT SELECT ON TABLES TO {name}"
    ));
    // what he had he gave on
    db.exec(&format!(
        "GRANT SELECT ON agent_kpi.freshness TO {name} WITH GRANT OPTION; SET ROLE {name};
         GRANT SELECT ON agent_kpi.freshness TO {other}; RESET ROLE"
    ));
    let said = revoke(&db, &name);
    assert_eq!(said.len(), 6, "{said:#?}");
    assert_eq!(revoke(&db, &name), [""; 0], "nothing is left to say");
    db.exec(&format!("DROP ROLE {name}"));
    drop(others);
    db.exec(&format!("DROP OWNED BY {other}; DROP ROLE {other}"));
}

#[test]
fn levels_are_rows_and_follow_the_role_not_its_name() {
    let db = shop("owner_levels");
    let (name, _) = login(&db, "role");
    let may = |what: &str| {
        db.value(&format!(
            "SELECT has_table_privilege('{what}', 'agent_kpi.kpi_daily', 'SELECT')"
        ))
    };
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'reader')"
    ));
    // what was lost comes back by setup(), and by whatever calls grant_levels()
    for again in ["setup", "grant_levels"] {
        db.exec(&format!(
            "REVOKE ALL ON ALL TABLES IN SCHEMA agent_kpi FROM {name}"
        ));
        assert_eq!(may(&name).as_deref(), Some("f"));
        db.exec(&format!("SELECT {}()", crate::support::full(again)));
        assert_eq!(may(&name).as_deref(), Some("t"), "{again}");
    }
    // renamed, it is the same role
    db.exec(&format!(
        "ALTER ROLE {name} RENAME TO {name}2; SELECT agent_metrics.setup()"
    ));
    assert_eq!(
        db.lines("SELECT role_name, level FROM agent_metrics_internal.access_levels"),
        [format!("{name}2|reader")]
    );
    // dropped and made again, it is another
    db.exec(&format!(
        "DROP OWNED BY {name}2; DROP ROLE {name}2; CREATE ROLE {name}2; SELECT agent_metrics.setup()"
    ));
    assert_eq!(may(&format!("{name}2")).as_deref(), Some("f"));
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.access_levels");
    // in another cluster it is who has the name
    db.exec(&format!(
        "INSERT INTO agent_metrics_internal.access_levels (role_oid, role_name, level, cluster)
         VALUES (1, '{name}2', 'reader', 1), (2, 'nobody_there', 'admin', 1);
         SELECT agent_metrics.setup()"
    ));
    assert_eq!(may(&format!("{name}2")).as_deref(), Some("t"));
    assert_eq!(
        db.lines("SELECT role_name, level FROM agent_metrics_internal.access_levels"),
        [format!("{name}2|reader")]
    );
    assert_eq!(revoke(&db, &format!("{name}2")), [""; 0]);
    db.exec(&format!("DROP ROLE {name}2"));
    for (sql, sqlstate) in [
        (
            "SELECT agent_metrics.grant_access('pg_monitor', 'god')",
            "22023",
        ),
        (
            "SELECT agent_metrics.grant_access('pg_monitor', NULL)",
            "22023",
        ),
        ("SELECT agent_metrics.grant_access(NULL, 'reader')", "42704"),
        (
            "SELECT agent_metrics.grant_access(4000000000::oid::regrole, 'reader')",
            "42704",
        ),
    ] {
        let error = assert_sqlstate(&db, sql, sqlstate);
        assert!(!error.hint.is_empty(), "{sql}: {error}");
    }
    let bare = empty_db("owner_bare");
    bare.exec("CREATE EXTENSION agent_metrics");
    assert_sqlstate(
        &bare,
        "SELECT agent_metrics.grant_access('pg_monitor', 'reader')",
        "55000",
    );
}

#[test]
fn nobodys_prepared_statement_keeps_access_from_being_given_or_taken() {
    let db = shop("access_locks");
    let (name, reader) = login(&db, "reader");
    let (other, _) = login(&db, "other");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'reader')"
    ));
    // it locks the tables before any right on them is asked for
    reader.exec(
        "BEGIN; PREPARE a AS INSERT INTO agent_metrics_internal.access_levels DEFAULT VALUES;
         PREPARE m AS INSERT INTO agent_metrics_internal.migrations DEFAULT VALUES",
    );
    db.exec(&format!(
        "SET lock_timeout = '2s'; SELECT agent_metrics.grant_access('{other}', 'writer'); SELECT agent_metrics.setup()"
    ));
    // and one waits for another
    let second = db.session();
    db.exec(&format!(
        "BEGIN; SELECT agent_metrics.revoke_access('{other}')"
    ));
    assert_sqlstate(
        &second,
        &format!(
            "SET lock_timeout = '100ms'; SELECT agent_metrics.grant_access('{other}', 'reader')"
        ),
        "55P03",
    );
    db.exec("COMMIT");
    reader.exec("ROLLBACK");
    drop((reader, second));
    db.exec(&format!(
        "DROP OWNED BY {name}, {other}; DROP ROLE {name}, {other}"
    ));
}
