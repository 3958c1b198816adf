//! The owner of the schemas and tables, whoever he is now: what others put there is refused, what he could he still can
//! after the owner has changed, and access follows the table of levels.

use crate::setup::access::revoke;
use crate::setup::hostile_install::{THINGS, made_in};
use crate::support::asserts::{assert_no_rows, assert_sqlstate};
use crate::support::cluster::run;
use crate::support::program::{fails, program};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{empty_db, login};

#[test]
fn setup_is_refused_to_whoever_does_not_own_the_schemas() {
    let db = empty_db("owner_setup");
    let (name, mallory) = login(&db, "mallory");
    let (team, _) = login(&db, "member");
    db.exec(&format!(
        "GRANT CREATE ON DATABASE {} TO {name}; GRANT {name} TO {team}",
        db.name()
    ));
    // the first case: a table that setup() would write to, with a trigger
    mallory.exec(&format!(
        "CREATE EXTENSION agent_metrics;
         CREATE TABLE agent_metrics_internal.migrations (
             number integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());
         CREATE FUNCTION agent_metrics.boo() RETURNS trigger
         LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'ALTER ROLE {name} SUPERUSER'; RETURN NEW; END $$;
         CREATE TRIGGER boo BEFORE INSERT ON agent_metrics_internal.migrations
             FOR EACH ROW EXECUTE FUNCTION agent_metrics.boo();
         GRANT ALL ON agent_metrics_internal.migrations TO PUBLIC; CREATE SCHEMA agent_kpi"
    ));
    for who in ["postgres", &team] {
        let error = db.error(&format!("SET ROLE {who}; SELECT agent_metrics.setup()"));
        db.exec("RESET ROLE");
        assert_eq!(error.sqlstate, "42501", "{error}");
        assert!(
            error.message.contains(&name) && error.hint.contains(&name),
            "{error}"
        );
    }
    let said = fails(db.url(), &["setup"]);
    assert!(
        said.contains(&format!("belongs to {name}")) && said.contains("Log in as"),
        "{said}"
    );
    // also when only one of the two is another's
    mallory.exec("DROP TABLE agent_metrics_internal.migrations; DROP FUNCTION agent_metrics.boo()");
    db.exec("ALTER SCHEMA agent_metrics OWNER TO postgres");
    for session in [&*db, &mallory] {
        assert_sqlstate(session, "SELECT agent_metrics.setup()", "42501");
    }
    assert_eq!(
        db.value(&format!(
            "SELECT rolsuper FROM pg_roles WHERE rolname = '{name}'"
        ))
        .as_deref(),
        Some("f")
    );
    // The schema that was given away goes too: since PostgreSQL 17 its initial privileges hold on to who made it.
    db.exec(&format!(
        "DROP OWNED BY {name} CASCADE; DROP SCHEMA agent_metrics CASCADE"
    ));
    drop(mallory);
    db.exec(&format!("DROP ROLE {name}, {team}"));
}

#[test]
fn setup_is_refused_while_there_is_an_object_of_somebody_else() {
    let db = shop("owner_objects");
    let (name, stranger) = login(&db, "stranger");
    db.exec(&format!(
        "GRANT CREATE ON SCHEMA agent_metrics, agent_kpi, public TO {name};
         GRANT USAGE ON SCHEMA agent_metrics, agent_kpi TO {name}"
    ));
    for schema in ["agent_metrics", "agent_kpi"] {
        for (number, (what, sql)) in THINGS.iter().enumerate() {
            // names of ours are taken by now
            let sql = sql
                .replace(".migrations", ".migrations2")
                .replace(".freshness", ".freshness2")
                .replace(".cfo_tiles", ".cfo_tiles2")
                .replace(".rate ", ".rate2 ")
                .replace(".changes_change_id_seq", ".s")
                .replace(".quantile_sketch", ".quantile_sketch2");
            stranger.exec(&made_in(schema, what, &sql));
            let error = db.error("SELECT agent_metrics.setup()");
            assert_eq!(error.sqlstate, "55000", "{number} {sql}: {error}");
            assert!(
                error.message.starts_with(&format!("{what} {schema}")) || *what == "operator",
                "{error}"
            );
            assert!(
                error.detail.contains(&format!(" of {name}")) && error.hint.contains("DROP "),
                "{error}"
            );
            // the cure, said once for each, works
            for _ in 0..3 {
                let Err(error) = db.attempt("SELECT agent_metrics.setup()") else {
                    break;
                };
                let (_, statement) = error.hint.split_once("Drop each: ").unwrap();
                let (statement, _) = statement.split_once(';').unwrap();
                db.exec(statement);
            }
            db.exec("DROP FUNCTION IF EXISTS public.hijack(numeric, integer) CASCADE; SELECT agent_metrics.setup()");
        }
    }
    // a trigger on a table of ours runs as whoever writes to it
    db.exec(&format!(
        "GRANT TRIGGER ON agent_metrics.outcomes TO {name}"
    ));
    stranger.exec(
        "CREATE FUNCTION public.boo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
         CREATE TRIGGER boo BEFORE INSERT ON agent_metrics.outcomes FOR EACH ROW EXECUTE FUNCTION public.boo()",
    );
    let error = db.error("SELECT agent_metrics.setup()");
    assert!(
        error
            .message
            .starts_with("trigger boo on agent_metrics.outcomes"),
        "{error}"
    );
    db.exec("DROP TRIGGER boo ON agent_metrics.outcomes");
    // And so does what a table calls: as it comes from a former owner of the tables, who could make it.
    stranger.exec(
        "CREATE FUNCTION public.code(text) RETURNS text IMMUTABLE
         LANGUAGE plpgsql AS $$ BEGIN RETURN $1; END $$;
         CREATE FUNCTION public.same(text, text) RETURNS boolean IMMUTABLE
         LANGUAGE plpgsql AS $$ BEGIN RETURN true; END $$;
         CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = public.same)",
    );
    for (made, gone) in [
        (
            "ALTER TABLE agent_metrics.outcomes ALTER is_success SET DEFAULT public.code('') = ''",
            "ALTER TABLE agent_metrics.outcomes ALTER is_success SET DEFAULT false",
        ),
        (
            "ALTER TABLE agent_metrics.owners ADD CONSTRAINT theirs CHECK (public.code(owner) <> '')",
            "ALTER TABLE agent_metrics.owners DROP CONSTRAINT theirs",
        ),
        (
            "ALTER TABLE agent_metrics.owners ADD CONSTRAINT theirs CHECK (owner OPERATOR(public.===) owner)",
            "ALTER TABLE agent_metrics.owners DROP CONSTRAINT theirs",
        ),
        (
            "CREATE INDEX theirs ON agent_metrics.owners (public.code(owner))",
            "DROP INDEX agent_metrics.theirs",
        ),
        (
            "CREATE RULE theirs AS ON INSERT TO agent_metrics.owners
                 WHERE public.code(NEW.owner) = 'x' DO INSTEAD NOTHING",
            "DROP RULE theirs ON agent_metrics.owners",
        ),
        (
            "CREATE POLICY theirs ON agent_metrics.owners USING (public.code(owner) <> '')",
            "DROP POLICY theirs ON agent_metrics.owners",
        ),
    ] {
        db.exec(made);
        let error = db.error("SELECT agent_metrics.setup()");
        assert_eq!(error.sqlstate, "55000", "{made}: {error}");
        assert!(
            error.message.contains("function public."),
            "{made}: {error}"
        );
        assert!(error.detail.contains(&format!(" of {name}")), "{error}");
        db.exec(gone);
    }
    db.exec(&format!(
        "DROP OWNED BY {name} CASCADE; SELECT agent_metrics.setup()"
    ));
    drop(stranger);
    db.exec(&format!("DROP ROLE {name}"));
}

#[test]
fn the_new_owner_of_the_tables_can_do_what_the_old_one_could() {
    let db = empty_db("owner_new");
    let names: Vec<String> = ["old", "new", "program", "reader"]
        .iter()
        .map(|role| login(&db, role).0)
        .collect();
    let [old, new, program, reader] = names.as_slice() else {
        panic!("four roles")
    };
    db.exec(&format!(
        "GRANT CREATE ON DATABASE {} TO {old}; SET SESSION AUTHORIZATION {old}",
        db.name()
    ));
    db.exec(
        "CREATE EXTENSION agent_metrics; SELECT agent_metrics.setup();
         SELECT agent_metrics.register_agent('bot', 'support', 'O')",
    );
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         SELECT 'bot', now() - n * interval '3 hours', 'c' || n, n FROM generate_series(0, 60) AS n;
         SELECT agent_metrics.grant_access('{program}', 'admin'),
                agent_metrics.grant_access('{reader}', 'reader'); SELECT agent_metrics.refresh()"
    ));
    // no superuser is needed by whoever is of both roles
    db.exec(&format!(
        "RESET SESSION AUTHORIZATION; REASSIGN OWNED BY {old} TO {new}; DROP OWNED BY {old}; DROP ROLE {old}"
    ));
    let session = db.session();
    session.exec(&format!("SET SESSION AUTHORIZATION {new}"));
    session.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('bot', now(), 'later');
         UPDATE agent_metrics.agent_events SET latency_ms = 7 WHERE conversation_id = 'c3'",
    );
    refresh(&session);
    assert_rollups(&session);
    session.exec(
        "SELECT agent_metrics.setup();
         SELECT agent_metrics.ensure_partitions(6); SELECT agent_metrics.evaluate_thresholds();
         SELECT agent_metrics.rebuild('bot', NULL, NULL)",
    );
    // those who had access have it still, and he gives it on and takes it away
    for role in [program, reader] {
        db.exec(&format!("SET SESSION AUTHORIZATION {role}"));
        db.exec("SELECT * FROM agent_kpi.kpi_daily");
        db.exec("RESET SESSION AUTHORIZATION");
    }
    db.exec(&format!("SET SESSION AUTHORIZATION {program}"));
    db.exec("SELECT agent_metrics.refresh(); SELECT agent_metrics.ensure_partitions(7)");
    db.exec("RESET SESSION AUTHORIZATION");
    session.exec(&format!(
        "SELECT agent_metrics.grant_access('{reader}', 'writer')"
    ));
    for role in [program, reader] {
        assert_no_rows(
            &session,
            &format!("SELECT agent_metrics.revoke_access('{role}')"),
        );
        db.exec(&format!("DROP ROLE {role}"));
    }
    drop(session);
    db.exec(&format!("DROP OWNED BY {new} CASCADE; DROP ROLE {new}"));
}

#[test]
fn an_owner_who_got_only_the_schemas_is_told_the_statement_that_is_missing() {
    let db = empty_db("owner_part");
    let (old, session) = login(&db, "old");
    let (new, successor) = login(&db, "new");
    db.exec(&format!("GRANT CREATE ON DATABASE {} TO {old}", db.name()));
    session.exec("CREATE EXTENSION agent_metrics; SELECT agent_metrics.setup()");
    db.exec(&format!(
        "ALTER SCHEMA agent_metrics OWNER TO {new};
         ALTER SCHEMA agent_metrics_internal OWNER TO {new}; ALTER SCHEMA agent_kpi OWNER TO {new}"
    ));
    let error = assert_sqlstate(&successor, "SELECT agent_metrics.setup()", "55000");
    assert!(error.hint.contains("REASSIGN OWNED"), "{error}");
    // or only the tables
    db.exec(&format!(
        "ALTER SCHEMA agent_metrics OWNER TO {old};
         ALTER SCHEMA agent_metrics_internal OWNER TO {old}; ALTER SCHEMA agent_kpi OWNER TO {old};
         DO $$ DECLARE
             t text; BEGIN
                         FOR t IN SELECT oid::regclass FROM pg_class
                                  WHERE relnamespace IN ('agent_metrics'::regnamespace,
                                                         'agent_metrics_internal'::regnamespace)
                                    AND relkind IN ('r', 'p') LOOP
             EXECUTE format('ALTER TABLE %s OWNER TO {new}', t); END LOOP; END $$"
    ));
    let error = assert_sqlstate(&successor, "SELECT agent_metrics.setup()", "42501");
    let (_, statement) = error.hint.split_once("REASSIGN ").unwrap();
    db.exec(&format!("REASSIGN {statement}"));
    successor.exec("SELECT agent_metrics.setup(); SELECT agent_metrics.refresh()");
    drop((session, successor));
    db.exec(&format!(
        "DROP OWNED BY {old}, {new} CASCADE; DROP ROLE {old}, {new}"
    ));
}

#[test]
fn a_dump_without_rows_is_set_up() {
    let db = shop("owner_schema_only");
    db.exec("INSERT INTO agent_metrics.outcomes (label) VALUES ('mine')");
    let restored = empty_db("owner_schema_restored");
    let file = std::env::temp_dir().join(format!("agent_metrics_schema_{}", std::process::id()));
    let path = file.to_str().unwrap();
    run(
        "pg_dump",
        &["--schema-only", "--file", path, "--dbname", db.url()],
    );
    run(
        "psql",
        &["-Xq", "-v", "ON_ERROR_STOP=1", "-f", path, restored.url()],
    );
    // until then there is a clear word
    let error = assert_sqlstate(
        &restored,
        "SELECT agent_metrics.register_agent('a', 'support', 'x')",
        "22023",
    );
    assert!(error.hint.contains("setup()"), "{error}");
    let (_, said, _) = program(restored.url(), &["doctor"]);
    assert!(
        said.contains("rows that ship") && said.contains("cure: agent-metrics setup"),
        "{said}"
    );
    let said = restored.value("SELECT agent_metrics.setup()").unwrap();
    assert!(
        said.contains("0 migrations applied now") && said.contains("are back"),
        "{said}"
    );
    let (_, said, _) = program(restored.url(), &["doctor"]);
    assert!(!said.contains("rows that ship"), "{said}");
    // as a fresh one, row by row
    let fresh = crate::support::db("owner_fresh");
    let tables = fresh.lines(
        "SELECT oid::regclass FROM pg_class c
         WHERE relnamespace IN ('agent_metrics'::regnamespace,
                                'agent_metrics_internal'::regnamespace) AND relkind IN ('r', 'p')
           AND NOT relispartition
           AND oid <> 'agent_metrics_internal.known_partitions'::regclass
         ORDER BY 1",
    );
    let mut filled = 0;
    for table in tables {
        let rows = format!(
            "SELECT to_jsonb(t) - '{{changed_in,applied_at}}'::text[] FROM {table} t ORDER BY 1"
        );
        let expected = fresh.lines(&rows);
        assert_eq!(restored.lines(&rows), expected, "{table}");
        filled += usize::from(!expected.is_empty());
    }
    assert!(filled > 8, "{filled}");
    restored.exec(
        "SELECT agent_metrics.register_agent('a', 'support', 'x');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'a', now() - n * interval '1 hour', 'c' || n, 'resolved'
         FROM generate_series(1, 50) n",
    );
    refresh(&restored);
    assert_rollups(&restored);
    // from then on it is as any other: what is deleted stays deleted
    restored.exec("DELETE FROM agent_metrics.outcomes WHERE label = 'abandoned'");
    let said = restored.value("SELECT agent_metrics.setup()").unwrap();
    assert!(
        said.ends_with("0 migrations applied now, 12 in all") || !said.contains("are back"),
        "{said}"
    );
    assert_no_rows(
        &restored,
        "SELECT * FROM agent_metrics.outcomes WHERE label = 'abandoned'",
    );
    // a table that nothing works without is filled by itself, and no other
    restored.exec("DELETE FROM agent_metrics.settings; DELETE FROM agent_metrics.benchmarks");
    let said = restored.value("SELECT agent_metrics.setup()").unwrap();
    assert!(said.contains("are back"), "{said}");
    for (table, rows) in [
        ("settings", true),
        ("benchmarks", false),
        ("outcomes WHERE label = 'abandoned'", false),
    ] {
        assert_eq!(
            restored.number(&format!(
                "SELECT count(*) FROM {}",
                crate::support::full(table)
            )) > 0.0,
            rows,
            "{table}"
        );
    }
    // without its comment nothing says how far the tables came
    restored.exec(
        "DELETE FROM agent_metrics_internal.migrations; COMMENT ON TABLE agent_metrics_internal.migrations IS NULL",
    );
    assert_sqlstate(&restored, "SELECT agent_metrics.setup()", "55000");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_dropped_schema_of_views_is_made_again_with_its_access() {
    let db = shop("owner_views");
    let (name, reader) = login(&db, "reader");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'reader'); DROP SCHEMA agent_kpi CASCADE"
    ));
    assert!(fails(db.url(), &["status"]).contains("agent-metrics setup"));
    refresh(&db);
    db.exec("SELECT agent_metrics.setup()");
    assert!(reader.number("SELECT count(*) FROM agent_kpi.kpi_daily") > 0.0);
    assert_rollups(&db);
    assert_eq!(revoke(&db, &name), [""; 0]);
    drop(reader);
    db.exec(&format!("DROP ROLE {name}"));
}

#[test]
fn nobody_who_may_only_connect_holds_up_setup() {
    let db = shop("owner_locks");
    let (name, stranger) = login(&db, "stranger");
    let admin = login(&db, "admin");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{}', 'admin')",
        admin.0
    ));
    stranger.exec(
        "SELECT pg_advisory_lock(hashtext('agent_metrics.setup')), pg_advisory_lock(0),
                pg_advisory_lock(hashtext('agent_metrics'))",
    );
    for table in ["migrations", "access_levels", "agents"] {
        assert_sqlstate(
            &stranger,
            &format!("BEGIN; LOCK TABLE {}", crate::support::full(table)),
            "42501",
        );
        stranger.exec("ROLLBACK");
    }
    // nor does an admin, by what he may lock
    admin.1.exec(
        "BEGIN;
         LOCK TABLE agent_metrics_internal.migrations,
             agent_metrics_internal.access_levels IN ACCESS SHARE MODE",
    );
    db.exec("SET statement_timeout = '60s'; SELECT agent_metrics.setup()");
    admin.1.exec("ROLLBACK");
    for mode in ["ROW EXCLUSIVE", "EXCLUSIVE"] {
        assert_sqlstate(
            &admin.1,
            &format!("BEGIN; LOCK TABLE agent_metrics_internal.migrations IN {mode} MODE"),
            "42501",
        );
        admin.1.exec("ROLLBACK");
    }
    drop(stranger);
    revoke(&db, &admin.0);
    drop(admin.1);
    db.exec(&format!("DROP ROLE {name}, {}", admin.0));
}

/// The head of every update script, as a session runs it: is_update, since the extension has members.
const GUARD: &str = include_str!("../../sql/setup/guard_begin.sql");

#[test]
fn an_update_is_refused_to_whoever_does_not_own_the_schemas() {
    let head: String = GUARD
        .lines()
        .filter(|line| !line.starts_with('\\'))
        .collect::<Vec<_>>()
        .join("\n");
    let guard = format!("BEGIN; {head} ROLLBACK");
    let db = empty_db("owner_update");
    let (owner, session) = login(&db, "owner");
    let (name, stranger) = login(&db, "stranger");
    db.exec(&format!(
        "GRANT CREATE ON DATABASE {} TO {owner}; GRANT CREATE ON SCHEMA public TO {name}",
        db.name()
    ));
    session.exec("CREATE EXTENSION agent_metrics; SELECT agent_metrics.setup()");
    session.exec(&guard);
    for (who, sql) in [(&*db, guard.clone()), (&stranger, guard.clone())] {
        let error = who.error(&sql);
        who.exec("ROLLBACK");
        assert_eq!(error.sqlstate, "42501", "{error}");
        assert!(
            error.message.contains("updates") && error.hint.contains(&owner),
            "{error}"
        );
    }
    // by SET ROLE he is the owner
    db.exec(&format!("SET ROLE {owner}; {guard}; RESET ROLE"));
    // and what others put there is refused to him too
    session.exec(&format!("GRANT CREATE ON SCHEMA agent_metrics TO {name}"));
    for (what, sql) in THINGS.iter().filter(|(what, _)| *what == "function") {
        stranger.exec(&made_in("agent_metrics", what, sql));
        let error = session.error(&guard);
        session.exec("ROLLBACK");
        assert_eq!(error.sqlstate, "55000", "{error}");
        assert!(error.message.contains("boo"), "{error}");
    }
    drop((session, stranger));
    db.exec(&format!(
        "DROP OWNED BY {owner}, {name} CASCADE; DROP ROLE {owner}, {name}"
    ));
    // what a superuser restored, he updates: the owner of the schemas cannot
    db.exec("DROP SCHEMA IF EXISTS agent_metrics CASCADE");
    let (owner, session) = login(&db, "second");
    db.exec(&format!(
        "CREATE SCHEMA agent_metrics AUTHORIZATION {owner}; CREATE EXTENSION agent_metrics; {guard}"
    ));
    drop(session);
    db.exec(&format!("DROP OWNED BY {owner} CASCADE; DROP ROLE {owner}"));
    // every update script begins with it: the Makefile puts it there
    let makefile =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).unwrap();
    assert!(makefile.contains("cat sql/setup/guard_begin.sql \"$$script\""));
}
