//! Attached tables of a hostile owner: whatever he makes of his table, his code runs with nobody's rights but his own.

use crate::support::asserts::{assert_explained, assert_no_rows, assert_refused, assert_sqlstate};
use crate::support::{Db, Session, db, login};

/// A CRM whose owner logs in, with a table that is attached by a superuser, and a log that everybody's code can write
/// to. Returns the database, its owner's session and name, and the program's session.
fn crm(name: &str) -> (Db, Session, String, Session) {
    let db = db(name);
    let (owner, crm) = login(&db, "crm");
    let (admin, program) = login(&db, "admin");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{admin}', 'admin'); CREATE SCHEMA crm AUTHORIZATION {owner}"
    ));
    crm.exec(
        "GRANT USAGE ON SCHEMA crm TO PUBLIC;
         CREATE TABLE crm.log (who name, what text); GRANT INSERT ON crm.log TO PUBLIC;
         CREATE FUNCTION crm.tell(what text) RETURNS void
         LANGUAGE plpgsql AS $$ BEGIN INSERT INTO crm.log VALUES (current_user, what); END $$;
         -- says that it is immutable, so that a planner folds it and an index takes it
         CREATE FUNCTION crm.trick(what text) RETURNS text
         LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM crm.tell(what); RETURN what; END $$;
         CREATE FUNCTION crm.good(what text) RETURNS boolean
         LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM crm.tell(what); RETURN true; END $$;
         CREATE TYPE crm.e AS ENUM ('ticket_resolved', 'a');
         CREATE TABLE crm.tickets (id text PRIMARY KEY, status text, closed_at timestamptz, chat text, to_jsonb text);
         GRANT SELECT ON crm.tickets TO PUBLIC;
         INSERT INTO crm.tickets VALUES ('1', 'ticket_resolved', now(), 'c-1', 'who')",
    );
    db.exec(ATTACH);
    (db, crm, owner, program)
}

const ATTACH: &str = "SELECT agent_metrics.attach_business_events(
                          'crm.tickets', business_event_id => 'id', occurred_at => 'closed_at',
                          kind => 'status', conversation_id => 'chat', customer_id => 'to_jsonb')";
const WRITE: &str = "INSERT INTO crm.tickets (id, status, closed_at, chat)
    VALUES ('2', 'a', now(), 'c-2'), ('3', 'a', now(), 'c-3');
    UPDATE crm.tickets SET chat = 'c-4', id = '4' WHERE id = '3';
    DELETE FROM crm.tickets WHERE id = '4'; DELETE FROM crm.tickets WHERE id = '2'";
/// What the program, a superuser and a reader do with an attached table.
const FOLLOW: &str = "SELECT agent_metrics.sync_business_events();
                      SELECT agent_metrics.sync_business_events('crm.tickets');
                      SELECT * FROM agent_kpi.attached_tables";

fn done(db: Db, owner: &str, sessions: Vec<Session>) {
    drop(sessions);
    let admin = format!("{}_admin", db.name());
    db.exec(&format!(
        "DROP SCHEMA crm CASCADE; DROP OWNED BY {owner} CASCADE; DROP OWNED BY {admin};
         DROP ROLE {owner}; DROP ROLE {admin}"
    ));
}

#[test]
fn no_code_of_its_owner_runs_as_another_role() {
    let (db, crm, owner, program) = crm("hostile_table");
    let strangers =
        format!("SELECT DISTINCT who, what FROM crm.log WHERE who <> '{owner}' ORDER BY 1, 2");
    for trick in [
        // casts that to_jsonb(), ::text and || would call
        "CREATE FUNCTION crm.to_json(crm.e) RETURNS json
         LANGUAGE sql AS $$ SELECT to_json(crm.trick('cast to json')) $$;
         CREATE CAST (crm.e AS json) WITH FUNCTION crm.to_json(crm.e);
         CREATE FUNCTION crm.to_text(crm.e) RETURNS text
         LANGUAGE sql AS $$ SELECT crm.trick('cast to text') $$;
         CREATE CAST (crm.e AS text) WITH FUNCTION crm.to_text(crm.e) AS IMPLICIT;
         CREATE FUNCTION crm.to_time(crm.e) RETURNS timestamptz
         LANGUAGE sql AS $$ SELECT now() FROM crm.tell('cast to time') $$;
         CREATE CAST (crm.e AS timestamptz) WITH FUNCTION crm.to_time(crm.e) AS IMPLICIT;
         CREATE FUNCTION crm.to_boolean(crm.e) RETURNS boolean
         LANGUAGE sql AS $$ SELECT crm.good('cast to boolean') $$;
         CREATE CAST (crm.e AS boolean) WITH FUNCTION crm.to_boolean(crm.e) AS IMPLICIT;
         ALTER TABLE crm.tickets ADD COLUMN extra crm.e DEFAULT 'a'",
        "ALTER TABLE crm.tickets ALTER COLUMN status DROP DEFAULT, ALTER COLUMN status TYPE crm.e USING status::crm.e",
        "ALTER TABLE crm.tickets ALTER COLUMN status TYPE text USING 'a'",
        // domains
        "CREATE DOMAIN crm.d AS text CHECK (crm.good('domain'));
         ALTER TABLE crm.tickets ADD COLUMN checked crm.d DEFAULT 'x'",
        "ALTER TABLE crm.tickets ALTER COLUMN status TYPE crm.d",
        "ALTER TABLE crm.tickets ALTER COLUMN status TYPE text",
        // a composite, and operators on it in his schema
        "CREATE TYPE crm.c AS (x text, y crm.d);
         CREATE FUNCTION crm.same(crm.c, crm.c) RETURNS boolean
         LANGUAGE sql AS $$ SELECT crm.good('operator') $$;
         CREATE OPERATOR crm.= (LEFTARG = crm.c, RIGHTARG = crm.c, FUNCTION = crm.same);
         CREATE OPERATOR crm.<> (LEFTARG = crm.c, RIGHTARG = crm.c, FUNCTION = crm.same);
         ALTER TABLE crm.tickets ALTER COLUMN chat TYPE crm.c USING ROW(chat, 'x')::crm.c",
        "ALTER TABLE crm.tickets ALTER COLUMN chat TYPE text USING 'c-1'",
        // what a planner folds
        "CREATE INDEX by_trick ON crm.tickets ((id || crm.trick('index')))",
        "CREATE INDEX few ON crm.tickets (id) WHERE crm.good('predicate')",
        "CREATE STATISTICS crm.many ON (id || crm.trick('statistics')), status FROM crm.tickets",
        "ALTER TABLE crm.tickets ADD CONSTRAINT good CHECK (crm.good('constraint'))",
        // what would run when we commit
        "CREATE TABLE crm.late (x integer);
         CREATE FUNCTION crm.at_commit() RETURNS trigger
         LANGUAGE plpgsql AS $$ BEGIN PERFORM crm.tell('commit'); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON crm.late DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION crm.at_commit(); GRANT INSERT ON crm.late TO PUBLIC;
         CREATE FUNCTION crm.later(what text) RETURNS void LANGUAGE sql AS '';
         CREATE FUNCTION crm.later_trick(what text) RETURNS text
         LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM crm.later(what); RETURN what; END $$;
         CREATE INDEX later ON crm.tickets ((id || crm.later_trick('x')));
         CREATE OR REPLACE FUNCTION crm.later(what text) RETURNS void
         LANGUAGE plpgsql AS $$ BEGIN INSERT INTO crm.late VALUES (1); END $$",
        "DROP INDEX crm.later",
        // what a write computes
        "ALTER TABLE crm.tickets
             ADD COLUMN computed text GENERATED ALWAYS AS (crm.trick('generated')) STORED,
             ADD COLUMN given text DEFAULT crm.trick('default')",
        "CREATE RULE also AS ON INSERT TO crm.tickets DO ALSO SELECT crm.tell('rule')",
        "DROP RULE also ON crm.tickets;
         CREATE FUNCTION crm.before() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM crm.tell('trigger'); RETURN coalesce(NEW, OLD); END $$;
         CREATE TRIGGER zz BEFORE INSERT OR UPDATE OR DELETE ON crm.tickets
             FOR EACH ROW EXECUTE FUNCTION crm.before();
         ALTER TABLE crm.tickets ENABLE ALWAYS TRIGGER zz",
        // a name that is a function's when it is no column's
        "ALTER TABLE crm.tickets DROP COLUMN to_jsonb",
        "ALTER TABLE crm.tickets ADD COLUMN to_jsonb text",
        // policies
        "CREATE POLICY p ON crm.tickets USING (crm.good('policy')) WITH CHECK (crm.good('policy'));
         ALTER TABLE crm.tickets ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE crm.tickets FORCE ROW LEVEL SECURITY",
        "DROP POLICY p ON crm.tickets; ALTER TABLE crm.tickets DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY",
        // children
        "CREATE TABLE crm.child (more text DEFAULT crm.trick('child')) INHERITS (crm.tickets);
         CREATE INDEX ON crm.child ((id || crm.trick('child index')));
         INSERT INTO crm.child (id, status, closed_at) VALUES ('9', 'a', now())",
        "DROP TABLE crm.child",
        // a swap, a view in its place, a partitioned table in its place
        "ALTER TABLE crm.tickets RENAME TO old; CREATE TABLE crm.tickets (LIKE crm.old INCLUDING ALL)",
        "ALTER TABLE crm.tickets RENAME TO kept;
         CREATE VIEW crm.tickets AS
         SELECT id, crm.trick('view') AS status, closed_at, chat, to_jsonb FROM crm.old;
         GRANT SELECT ON crm.tickets TO PUBLIC",
        "DROP VIEW crm.tickets;
         CREATE MATERIALIZED VIEW crm.tickets AS
         SELECT id, crm.trick('materialized') AS status, closed_at, chat, to_jsonb FROM crm.old",
        "DROP MATERIALIZED VIEW crm.tickets;
         CREATE TABLE crm.tickets (id text, status text, closed_at timestamptz,
                                   chat text, to_jsonb text)
             PARTITION BY LIST ((id || crm.trick('partition key')));
         CREATE TABLE crm.part PARTITION OF crm.tickets DEFAULT;
         CREATE INDEX ON crm.part ((id || crm.trick('partition index')));
         GRANT SELECT ON crm.tickets TO PUBLIC",
        "DROP TABLE crm.tickets; ALTER TABLE crm.kept RENAME TO tickets; TRUNCATE crm.tickets",
    ] {
        crm.exec(trick);
        for _ in 0..2 {
            // views of his refuse them; what he writes is his affair
            let _ = crm.attempt(WRITE);
            program.exec(FOLLOW);
            db.exec(FOLLOW);
            let _ = crm.attempt("BEGIN; TRUNCATE crm.tickets");
            crm.exec("ROLLBACK");
            let _ = crm.attempt(
                "INSERT INTO crm.tickets (id, status, closed_at, chat)
                 VALUES ('5', 'a', now(), 'c-5')",
            );
        }
        // attached anew by a superuser, if it still may be
        let _ = db.attempt(&format!(
            "BEGIN; SELECT agent_metrics.detach_business_events('crm.tickets'); {ATTACH}"
        ));
        db.exec("ROLLBACK");
        assert_eq!(db.lines(&strangers), [""; 0], "after: {trick}");
    }
    // his tricks do work, on those who read his table as any table is read
    crm.exec("CREATE INDEX again ON crm.tickets ((id || crm.trick('read')))");
    db.exec("SELECT count(*) FROM crm.tickets WHERE id || 'x' = 'y'");
    assert!(db.lines(&strangers).contains(&"postgres|read".to_owned()));
    done(db, &owner, vec![crm, program]);
}

#[test]
fn the_trigger_is_nobodys_to_use() {
    let (db, crm, owner, program) = crm("hostile_trigger");
    crm.exec("CREATE TABLE crm.mine (id text, status text, closed_at timestamptz, chat text, to_jsonb text)");
    let make = "CREATE TRIGGER x AFTER INSERT OR DELETE ON crm.mine
                    FOR EACH ROW EXECUTE FUNCTION agent_metrics.follow_source('crm.tickets')";
    assert_sqlstate(&crm, make, "42501");
    // nor is what reads and locks tables of others
    for call in [
        "open_source('crm.tickets'::regclass, ARRAY['id'], '', '')",
        "hold_still('agent_metrics.agent_events'::regclass, true)",
    ] {
        assert_explained(
            &crm,
            &format!("SELECT {}", crate::support::full(call)),
            "42501",
            "",
        );
    }
    // and on another table it does nothing
    db.exec(make);
    db.exec("SELECT agent_metrics.sync_business_events()");
    let before = db.lines("SELECT * FROM agent_metrics.business_events");
    crm.exec(
        "INSERT INTO crm.mine VALUES ('77', 'a', now(), 'c', 'x');
         INSERT INTO crm.mine SELECT * FROM crm.tickets; DELETE FROM crm.mine",
    );
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.attached_changes");
    db.exec("SELECT agent_metrics.sync_business_events()");
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.business_events"),
        before
    );
    done(db, &owner, vec![crm, program]);
}

#[test]
fn what_is_not_plain_is_refused_with_words() {
    let (db, crm, owner, program) = crm("hostile_refused");
    crm.exec(
        "CREATE DOMAIN crm.d AS text CHECK (crm.good('domain')); CREATE TYPE crm.c AS (x text);
         CREATE TABLE crm.odd (id text PRIMARY KEY, at timestamptz, d crm.d, c crm.c, a text[],
                               j jsonb, e crm.e, b boolean);
         CREATE VIEW crm.v AS SELECT * FROM crm.tickets;
         CREATE MATERIALIZED VIEW crm.m AS SELECT * FROM crm.tickets;
         GRANT SELECT ON crm.odd, crm.v, crm.m TO PUBLIC",
    );
    let attach = |source: &str, arguments: &str| {
        format!("SELECT agent_metrics.attach_business_events('{source}', {arguments})")
    };
    let odd = "business_event_id => 'id', occurred_at => 'at'";
    for (column, words) in [
        ("d", "is of type crm.d"),
        ("c", "is of type crm.c"),
        ("a", "is of type text[]"),
        ("j", "is of type jsonb"),
    ] {
        let error = assert_refused(
            &db,
            &attach("crm.odd", &format!("{odd}, kind => '{column}'")),
            "42804",
            words,
        );
        assert!(error.detail.contains("domain"), "{error}");
    }
    for source in ["crm.v", "crm.m"] {
        assert_refused(
            &db,
            &attach(
                source,
                "business_event_id => 'id', occurred_at => 'closed_at', kind => 'status'",
            ),
            "42501",
            &format!("belongs to role {owner}, whose code is not run"),
        );
    }
    // a view of ours over his table is read, until something in his table is code
    db.exec(
        "CREATE VIEW public.ours AS SELECT id, status, closed_at FROM crm.tickets;
         GRANT SELECT ON public.ours TO PUBLIC",
    );
    let view = attach(
        "public.ours",
        "business_event_id => 'id', occurred_at => 'closed_at', kind => 'status', id_prefix => 'v'",
    );
    assert!(program.value(&view).unwrap().contains("compare,1,0,0"));
    let problem = || {
        program
            .value("SELECT problem FROM agent_metrics.sync_business_events('public.ours')")
            .unwrap_or_default()
    };
    for (change, back, words) in [
        (
            "CREATE INDEX i ON crm.tickets ((id || crm.trick('index')))",
            "DROP INDEX crm.i",
            "function crm.trick(text) belongs",
        ),
        (
            "CREATE STATISTICS crm.s ON (id || crm.trick('statistics')), status FROM crm.tickets",
            "DROP STATISTICS crm.s",
            "function crm.trick(text) belongs",
        ),
        (
            "ALTER TABLE crm.tickets ADD CONSTRAINT k CHECK (crm.good('check'))",
            "ALTER TABLE crm.tickets DROP CONSTRAINT k",
            "function crm.good(text) belongs",
        ),
        (
            "ALTER TABLE crm.tickets ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE crm.tickets DISABLE ROW LEVEL SECURITY",
            "table crm.tickets belongs",
        ),
        (
            "ALTER TABLE crm.tickets ADD COLUMN extra crm.e",
            "ALTER TABLE crm.tickets DROP COLUMN extra",
            "table crm.tickets belongs",
        ),
    ] {
        crm.exec(&format!("{change}; TRUNCATE crm.log"));
        assert!(problem().contains(words), "{change}: {}", problem());
        assert_eq!(
            db.number(
                "SELECT count(*) FROM agent_metrics.business_events
                 WHERE source_table = 'public.ours'"
            ),
            1.0
        );
        assert_eq!(crm.lines("SELECT * FROM crm.log"), [""; 0], "{change}");
        crm.exec(back);
        assert_eq!(problem(), "", "{back}");
    }
    db.exec("CREATE OR REPLACE VIEW public.ours AS SELECT id, crm.trick('view') AS status, closed_at FROM crm.tickets");
    assert!(
        problem().contains("function crm.trick(text) belongs"),
        "{}",
        problem()
    );
    assert_no_rows(&crm, "SELECT * FROM crm.log");
    // an enum is read through the server's own function
    crm.exec(
        "CREATE FUNCTION crm.to_text(crm.e) RETURNS text
         LANGUAGE sql AS $$ SELECT crm.trick('cast') $$;
         CREATE CAST (crm.e AS text) WITH FUNCTION crm.to_text(crm.e) AS IMPLICIT;
         INSERT INTO crm.odd (id, at, e, b) VALUES ('o1', now(), 'a', true)",
    );
    db.exec(&attach("crm.odd", &format!("{odd}, kind => 'e'")));
    assert_eq!(
        db.lines("SELECT kind FROM agent_metrics.business_events WHERE business_event_id = 'o1'"),
        ["a"]
    );
    db.exec("SELECT agent_metrics.detach_business_events('crm.odd', false)");
    db.exec(&attach("crm.odd", &format!("{odd}, kind => 'b'")));
    crm.exec("INSERT INTO crm.odd (id, at, e, b) VALUES ('o2', now(), 'a', false)");
    db.exec("SELECT agent_metrics.sync_business_events()");
    assert_eq!(
        db.lines(
            "SELECT kind FROM agent_metrics.business_events
             WHERE business_event_id LIKE 'o_' ORDER BY 1"
        ),
        ["false", "true"]
    );
    assert_no_rows(
        &crm,
        &format!("SELECT DISTINCT what FROM crm.log WHERE who <> '{owner}'"),
    );
    db.exec("DROP VIEW public.ours");
    done(db, &owner, vec![crm, program]);
}
