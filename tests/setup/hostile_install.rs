//! CREATE EXTENSION and setup() in a database where others may create, under names that need quoting, and from a dump.

use crate::support::asserts::{assert_no_rows, assert_refused};
use crate::support::cluster::run;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, SqlError, empty_db, login};

/// What somebody could make in a schema before the extension comes, to be called or to be in its way.
pub const THINGS: &[(&str, &str)] = &[
    (
        "function",
        "CREATE FUNCTION {s}.boo(oid, regnamespace) RETURNS boolean LANGUAGE sql RETURN true",
    ),
    (
        "operator",
        "CREATE OPERATOR {s}.= (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = pg_catalog.booleq)",
    ),
    (
        "table",
        "CREATE TABLE {s}.migrations (number integer PRIMARY KEY, applied_at timestamptz DEFAULT now())",
    ),
    ("view", "CREATE VIEW {s}.freshness AS SELECT 1 AS agent_id"),
    (
        "materialized view",
        "CREATE MATERIALIZED VIEW {s}.cfo_tiles AS SELECT 1 AS agent_id",
    ),
    ("sequence", "CREATE SEQUENCE {s}.changes_change_id_seq"),
    ("type", "CREATE TYPE {s}.rate AS (a integer)"),
    ("type", "CREATE DOMAIN {s}.quantile_sketch AS text"),
    ("type", "CREATE TYPE {s}.mood AS ENUM ('sad')"),
    (
        "aggregate",
        "CREATE AGGREGATE {s}.p95(text) (SFUNC = pg_catalog.textcat, STYPE = text)",
    ),
    (
        "procedure",
        "CREATE PROCEDURE {s}.run() LANGUAGE sql AS 'SELECT 1'",
    ),
    (
        "collation",
        "CREATE COLLATION {s}.\"default\" FROM pg_catalog.\"C\"",
    ),
    (
        "conversion",
        "CREATE CONVERSION {s}.mine FOR 'LATIN1' TO 'UTF8' FROM pg_catalog.iso8859_1_to_utf8",
    ),
    (
        "text search dictionary",
        "CREATE TEXT SEARCH DICTIONARY {s}.d (TEMPLATE = pg_catalog.simple)",
    ),
    (
        "text search configuration",
        "CREATE TEXT SEARCH CONFIGURATION {s}.c (COPY = pg_catalog.simple)",
    ),
];

/// An operator needs a function with its own argument types.
pub fn made_in(schema: &str, what: &str, sql: &str) -> String {
    let sql = sql.replace("{s}", schema);
    if what == "operator" {
        format!(
            "CREATE FUNCTION public.hijack(numeric, integer) RETURNS boolean
             LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$; {}",
            sql.replace("pg_catalog.booleq", "public.hijack")
        )
    } else {
        sql
    }
}

fn refused(error: &SqlError, words: &str) {
    assert_eq!(error.sqlstate, "42P06", "{error}");
    assert!(error.message.contains(words), "{words}: {error}");
    assert!(
        !error.detail.is_empty() && !error.hint.is_empty(),
        "{error}"
    );
}

#[test]
fn a_schema_of_ours_that_holds_anything_is_refused_whoever_installs() {
    let db = empty_db("hostile_filled");
    let (name, mallory) = login(&db, "mallory");
    db.exec(&format!(
        "GRANT CREATE ON DATABASE {} TO {name}; GRANT CREATE ON SCHEMA public TO {name}",
        db.name()
    ));
    for schema in ["agent_metrics", "agent_kpi", "agent_metrics_internal"] {
        for (what, sql) in THINGS {
            mallory.exec(&format!(
                "CREATE SCHEMA {schema}; {}",
                made_in(schema, what, sql)
            ));
            for session in [&mallory, &*db] {
                let error = session.error("CREATE EXTENSION agent_metrics");
                refused(&error, &format!("schema {schema} holds something"));
            }
            mallory.exec(&format!(
                "DROP SCHEMA {schema} CASCADE; DROP FUNCTION IF EXISTS public.hijack(numeric, integer)"
            ));
        }
    }
    // what the first cases did: an operator that the script would have called as superuser
    mallory.exec(&format!(
        "CREATE SCHEMA agent_metrics;
         CREATE FUNCTION agent_metrics.boo(oid, regnamespace) RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN EXECUTE 'ALTER ROLE {name} SUPERUSER'; RETURN true; END $$;
         CREATE OPERATOR agent_metrics.= (LEFTARG = oid, RIGHTARG = regnamespace, FUNCTION = agent_metrics.boo)"
    ));
    refused(
        &mallory.error("CREATE EXTENSION agent_metrics"),
        "agent_metrics",
    );
    assert_eq!(
        db.value(&format!(
            "SELECT rolsuper FROM pg_roles WHERE rolname = '{name}'"
        ))
        .as_deref(),
        Some("f")
    );
    db.exec(&format!("DROP OWNED BY {name} CASCADE"));
    drop(mallory);
    db.exec(&format!("DROP ROLE {name}"));
}

#[test]
fn a_schema_that_others_may_fill_or_own_is_refused() {
    let db = empty_db("hostile_empty");
    let (name, mallory) = login(&db, "mallory");
    let (other, installer) = login(&db, "installer");
    db.exec(&format!(
        "GRANT CREATE ON DATABASE {} TO {name}, {other}",
        db.name()
    ));
    for schema in ["agent_metrics", "agent_kpi", "agent_metrics_internal"] {
        for grantee in ["PUBLIC", &other] {
            mallory.exec(&format!(
                "CREATE SCHEMA {schema}; GRANT CREATE ON SCHEMA {schema} TO {grantee}"
            ));
            for session in [&mallory, &*db] {
                let error = session.error("CREATE EXTENSION agent_metrics");
                refused(
                    &error,
                    &format!("others than its owner may create in schema {schema}: {grantee}"),
                );
                assert!(error.hint.starts_with("REVOKE CREATE"), "{error}");
            }
            mallory.exec(&format!("DROP SCHEMA {schema}"));
        }
        // empty, but another's: whoever is no superuser may not install there
        mallory.exec(&format!("CREATE SCHEMA {schema}"));
        let error = installer.error("CREATE EXTENSION agent_metrics");
        refused(
            &error,
            &format!("schema {schema} belongs to {name}, and {other} installs"),
        );
        assert!(error.hint.contains("OWNER TO"), "{error}");
        // a superuser may, as pg_restore does; what he made is not set up by him
        db.exec("CREATE EXTENSION agent_metrics");
        assert_refused(&db, "SELECT agent_metrics.setup()", "42501", &name);
        db.exec(&format!(
            "DROP EXTENSION agent_metrics; DROP SCHEMA IF EXISTS {schema}, agent_metrics, agent_metrics_internal"
        ));
    }
    // his own, empty and closed, is taken
    installer.exec(
        "CREATE SCHEMA agent_metrics; CREATE SCHEMA agent_kpi; CREATE EXTENSION agent_metrics",
    );
    installer.exec("SELECT agent_metrics.setup()");
    db.exec(&format!(
        "DROP OWNED BY {name}, {other} CASCADE; DROP SCHEMA IF EXISTS agent_metrics, agent_metrics_internal"
    ));
    drop((mallory, installer));
    db.exec(&format!("DROP ROLE {name}, {other}"));
}

#[test]
fn setup_takes_no_schema_for_its_views_that_was_filled_since() {
    let db = empty_db("hostile_views");
    db.exec(
        "CREATE EXTENSION agent_metrics; CREATE SCHEMA agent_kpi; CREATE TABLE agent_kpi.mine ()",
    );
    refused(
        &db.error("SELECT agent_metrics.setup()"),
        "agent_kpi is there already and holds something",
    );
    db.exec("DROP TABLE agent_kpi.mine; GRANT CREATE ON SCHEMA agent_kpi TO PUBLIC");
    refused(
        &db.error("SELECT agent_metrics.setup()"),
        "others than its owner may create in schema agent_kpi: PUBLIC",
    );
    db.exec("REVOKE CREATE ON SCHEMA agent_kpi FROM PUBLIC; SELECT agent_metrics.setup()");
}

/// What one of our objects calls or reads outside of pg_catalog and our schemas. A body as text has no such entries:
/// that it pins its path is tested in install.rs.
const STRANGE_REFERENCES: &str = "
    WITH ours AS (
        SELECT n.oid FROM pg_namespace n
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal', 'pg_catalog')
    ), referred AS (
        SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid,
               CASE d.refclassid
                   WHEN 'pg_operator'::regclass THEN (SELECT o.oprnamespace FROM pg_operator o WHERE o.oid = d.refobjid)
                   WHEN 'pg_proc'::regclass THEN (SELECT p.pronamespace FROM pg_proc p WHERE p.oid = d.refobjid)
                   WHEN 'pg_type'::regclass THEN (SELECT t.typnamespace FROM pg_type t WHERE t.oid = d.refobjid)
                   WHEN 'pg_class'::regclass THEN (SELECT c.relnamespace FROM pg_class c WHERE c.oid = d.refobjid)
                   WHEN 'pg_collation'::regclass
                       THEN (SELECT c.collnamespace FROM pg_collation c WHERE c.oid = d.refobjid)
                   WHEN 'pg_opclass'::regclass
                       THEN (SELECT c.opcnamespace FROM pg_opclass c WHERE c.oid = d.refobjid) END AS place
        FROM pg_depend d
    )
    SELECT i.type, i.identity, pg_describe_object(r.refclassid, r.refobjid, 0)
    FROM referred r CROSS JOIN LATERAL pg_identify_object(r.classid, r.objid, r.objsubid) i
    WHERE r.place NOT IN (SELECT o.oid FROM ours o) AND i.identity ~ 'agent_(metrics|kpi|metrics_internal)\\.'";

#[test]
fn a_hostile_search_path_captures_nothing() {
    let db = empty_db("hostile_path");
    // Operators, functions, casts and relations that match better than those of pg_catalog, in the path of everybody.
    db.exec(
        "CREATE SCHEMA evil;
         CREATE FUNCTION evil.boo(anyelement, anyelement) RETURNS boolean
         LANGUAGE plpgsql AS $$ BEGIN RAISE 'hijacked'; END $$;
         DO $$
         DECLARE
             l text; r text; o text;
         BEGIN
             FOR l, r IN
                 SELECT a, b FROM unnest('{numeric,integer,bigint,text,name,oid,date,'
                                         'timestamptz,timestamp,interval,boolean,jsonb,xid8,'
                                         'regclass,regnamespace,regtype,\"char\"}'::text[]) a,
                                  unnest('{numeric,integer,bigint,text,name,oid,date,'
                                         'timestamptz,timestamp,interval,boolean,jsonb,xid8,'
                                         'regclass,regnamespace,regtype,\"char\"}'::text[]) b LOOP
                 EXECUTE format('CREATE FUNCTION evil.boo(%s, %s) RETURNS boolean LANGUAGE plpgsql '
                                'AS ''BEGIN RAISE ''''hijacked''''; END''', l, r);
                 FOREACH o IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>=', '~', '!~', '~~', '||',
                                          '+', '-', '*', '/', '->', '->>', '&&', '@>'] LOOP
                     EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, '
                                    'FUNCTION = evil.boo)', o, l, r);
                 END LOOP;
             END LOOP;
             FOREACH o IN ARRAY ARRAY['count', 'sum', 'min', 'max', 'coalesce', 'now', 'format',
                                      'greatest', 'sqrt', 'jsonb_typeof',
                                      'date_trunc', 'nullif'] LOOP
                 EXECUTE format('CREATE FUNCTION evil.%I(VARIADIC anyarray) RETURNS integer '
                                'LANGUAGE plpgsql AS ''BEGIN RAISE ''''hijacked''''; END''', o);
             END LOOP;
         END $$;
         CREATE TABLE evil.pg_class (oid oid, relname text); CREATE TABLE evil.pg_proc (oid oid);
         CREATE TABLE evil.pg_namespace (oid oid, nspname text);
         CREATE TABLE evil.pg_extension (extname text); CREATE TABLE evil.pg_depend (classid oid);
         CREATE DOMAIN evil.text AS pg_catalog.text CHECK (false);
         CREATE DOMAIN evil.timestamptz AS pg_catalog.timestamptz CHECK (false);",
    );
    db.exec(&format!(
        "ALTER DATABASE {} SET search_path = evil, pg_catalog",
        db.name()
    ));
    let session = db.session();
    session.exec("CREATE EXTENSION agent_metrics");
    session.exec("SELECT agent_metrics.setup()");
    session.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
         SELECT 'bot', pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(hours => n),
                'c', n, 0.01, 'success'
         FROM pg_catalog.generate_series(0, 60) AS n;
         SELECT agent_metrics.refresh(); SELECT agent_metrics.verify();
         SELECT agent_metrics.evaluate_thresholds(); SELECT agent_metrics.ensure_partitions(5);
         SELECT agent_metrics.ingest_events(
             '[{\"agent_id\": \"bot\", \"occurred_at\": \"2026-05-01T10:00:00Z\", '
             '\"conversation_id\": \"i\"}]');
         UPDATE agent_metrics.agent_events SET latency_ms = 5;
         SELECT agent_metrics.rebuild('bot', NULL, NULL); SELECT agent_metrics.setup()",
    );
    for view in db.lines(
        "SELECT oid::pg_catalog.regclass
         FROM pg_catalog.pg_class WHERE relnamespace OPERATOR(pg_catalog.=)
                                            'agent_kpi'::pg_catalog.regnamespace::pg_catalog.oid",
    ) {
        session.exec(&format!("SELECT * FROM {view}"));
    }
    db.exec("SET search_path = pg_catalog");
    assert_no_rows(&db, STRANGE_REFERENCES);
    // what is captured is found
    db.exec("CREATE VIEW agent_kpi.captured AS SELECT 1.0 OPERATOR(evil.=) 1 AS x");
    assert_eq!(db.lines(STRANGE_REFERENCES).len(), 1);
}

#[test]
fn names_that_need_quoting_change_nothing() {
    let long = "x%s \"é".to_owned() + &"y".repeat(63 - 7);
    assert_eq!(long.len(), 63);
    for (number, role) in [
        "it's %I %s %%",
        "with \"quotes\"",
        "SELECT",
        "  spaces  ",
        "$1\\back",
        &long,
    ]
    .iter()
    .enumerate()
    {
        let db = empty_db(&format!("hostile_names_{number}"));
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let literal = |name: &str| format!("'{}'", quoted(name).replace('\'', "''"));
        // roles are the cluster's, and a test may have left some
        let owner = role.to_string();
        let program = role.chars().rev().collect::<String>();
        db.exec(&format!(
            "DROP ROLE IF EXISTS {0}; DROP ROLE IF EXISTS {1}; CREATE ROLE {0}; CREATE ROLE {1};
             GRANT CREATE ON DATABASE {2} TO {0}",
            quoted(&owner),
            quoted(&program),
            db.name()
        ));
        let session = db.session();
        session.exec(&format!("SET SESSION AUTHORIZATION {}", quoted(&owner)));
        session.exec("CREATE EXTENSION agent_metrics");
        session.exec("SELECT agent_metrics.setup()");
        session.exec("SELECT agent_metrics.register_agent('bot', 'support', 'O'); SELECT agent_metrics.refresh()");
        for level in ["reader", "writer", "admin"] {
            session.exec(&format!(
                "SELECT agent_metrics.grant_access({}, '{level}')",
                literal(&program)
            ));
        }
        let admin = db.session();
        admin.exec(&format!(
            "SET SESSION AUTHORIZATION {}; SELECT agent_metrics.refresh()",
            quoted(&program)
        ));
        drop(admin);
        assert_no_rows(
            &session,
            &format!("SELECT agent_metrics.revoke_access({})", literal(&program)),
        );
        session.exec("SELECT agent_metrics.setup()");
        drop(session);
        db.exec(&format!(
            "DROP ROLE {1}; DROP OWNED BY {0} CASCADE; DROP ROLE {0}",
            quoted(&owner),
            quoted(&program)
        ));
    }
}

#[test]
fn a_dump_of_a_non_superuser_is_restored_by_a_superuser_and_his_again() {
    let source = empty_db("hostile_dumped");
    let (name, owner) = login(&source, "owner");
    source.exec(&format!(
        "GRANT CREATE ON DATABASE {} TO {name}",
        source.name()
    ));
    owner.exec("CREATE EXTENSION agent_metrics");
    owner.exec("SELECT agent_metrics.setup()");
    owner.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         SELECT 'bot', now() - n * interval '3 hours', 'c' || n % 20, n, 'success' FROM generate_series(0, 60) AS n",
    );
    refresh(&owner);
    let (reader, _) = login(&source, "reader");
    let (program, _) = login(&source, "program");
    owner.exec(&format!(
        "SELECT agent_metrics.grant_access('{reader}', 'reader'), agent_metrics.grant_access('{program}', 'admin')"
    ));
    let file =
        std::env::temp_dir().join(format!("agent_metrics_hostile_dump_{}", std::process::id()));
    let path = file.to_str().unwrap();
    for format in ["custom", "plain"] {
        let restored = empty_db(&format!("hostile_restored_{format}"));
        run(
            "pg_dump",
            &[
                &format!("--format={format}"),
                "--file",
                path,
                "--dbname",
                source.url(),
            ],
        );
        if format == "custom" {
            run(
                "pg_restore",
                &["--exit-on-error", "--dbname", restored.url(), path],
            );
        } else {
            run(
                "psql",
                &["-Xq", "-v", "ON_ERROR_STOP=1", "-f", path, restored.url()],
            );
        }
        check_restored(&restored, &name, &reader, &program);
    }
    std::fs::remove_file(&file).unwrap();
    drop(owner);
    source.exec(&format!(
        "DROP OWNED BY {name}, {reader}, {program} CASCADE"
    ));
    source.exec(&format!("DROP ROLE {name}, {reader}, {program}"));
}

fn check_restored(restored: &Db, owner: &str, reader: &str, program: &str) {
    let session = restored.session();
    session.exec(&format!("SET SESSION AUTHORIZATION {owner}"));
    let said = session.value("SELECT agent_metrics.setup()").unwrap();
    assert!(said.contains("0 migrations applied now"), "{said}");
    session.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('bot', now(), 'new')",
    );
    refresh(&session);
    assert_rollups(&session);
    session.exec(&format!(
        "SELECT agent_metrics.grant_access('{program}', 'admin'), agent_metrics.grant_access('{reader}', 'reader')"
    ));
    for (role, sql) in [
        (program, "SELECT agent_metrics.refresh()"),
        (reader, "SELECT * FROM agent_kpi.kpi_daily"),
    ] {
        restored.exec(&format!(
            "SET SESSION AUTHORIZATION {role}; {sql}; RESET SESSION AUTHORIZATION"
        ));
    }
    for role in [program, reader] {
        assert_no_rows(
            &session,
            &format!("SELECT agent_metrics.revoke_access('{role}')"),
        );
    }
    drop(session);
    restored.exec(&format!("DROP OWNED BY {owner} CASCADE"));
    // nothing of theirs is left, else the roles could not be dropped
    assert_no_rows(restored, &format!(
            "SELECT * FROM pg_shdepend d WHERE d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND d.refobjid IN ('{owner}'::regrole, '{reader}'::regrole, '{program}'::regrole)"
        ));
}

#[test]
fn a_superuser_who_installs_in_anothers_schema_is_told_whose_it_is() {
    let db = empty_db("hostile_warning");
    let (name, mallory) = login(&db, "mallory");
    db.exec(&format!("GRANT CREATE ON DATABASE {} TO {name}", db.name()));
    mallory.exec("CREATE SCHEMA agent_metrics");
    let said = std::process::Command::new("sh")
        .args([
            "-c",
            "\"$(\"${PG_CONFIG:-pg_config}\" --bindir)/psql\" -Xq -c 'CREATE EXTENSION \
             agent_metrics' \"$0\" 2>&1",
        ])
        .arg(db.url())
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains(&format!(
            "WARNING:  schema agent_metrics belongs to {name}, who gets what the owner of the extension would have got"
        )),
        "{said}"
    );
    // he gets it: his are the tables
    mallory.exec("SELECT agent_metrics.setup(); SELECT agent_metrics.refresh()");
    drop(mallory);
    db.exec(&format!("DROP OWNED BY {name} CASCADE"));
    db.exec(&format!("DROP ROLE {name}"));
}
