//! Attached tables that are rebuilt, replaced or locked: followed on, or the problem is named, and nobody waits.

use std::time::{Duration, Instant};

use crate::support::{Db, Session, db, login};

/// Tables of the CRM, attached by a superuser; its owner and his session.
fn crm(name: &str) -> (Db, String, Session) {
    let db = db(name);
    let (owner, crm) = login(&db, "crm");
    db.exec(&format!(
        "CREATE SCHEMA crm AUTHORIZATION {owner}; SET ROLE {owner};
         CREATE TABLE crm.tickets (id text PRIMARY KEY, status text, closed_at timestamptz, chat text);
         INSERT INTO crm.tickets VALUES ('t1', 'ticket_resolved', '2026-03-05 10:00+00', 'c1'),
                                        ('t2', 'ticket_resolved', '2026-03-05 10:00+00', 'c2');
         CREATE TABLE crm.bills (LIKE crm.tickets INCLUDING ALL); RESET ROLE;
         {}; {}",
        attach("tickets"),
        attach("bills")
    ));
    (db, owner, crm)
}

fn attach(table: &str) -> String {
    format!(
        "SELECT agent_metrics.attach_business_events(
             'crm.{table}', business_event_id => 'id', occurred_at => 'closed_at', kind => 'status',
             conversation_id => 'chat', id_prefix => '{table} ')"
    )
}

const STATE: &str = "SELECT mode, status, problem, events FROM agent_kpi.attached_tables WHERE source = 'crm.tickets'";
const SYNC: &str =
    "SELECT source, inserted, updated, deleted, problem FROM agent_metrics.sync_business_events()";

fn done(db: Db, owner: &str) {
    db.exec(&format!(
        "DROP SCHEMA crm CASCADE; DROP OWNED BY {owner} CASCADE; DROP ROLE {owner}"
    ));
}

#[test]
fn a_table_that_is_rebuilt_under_its_name_is_compared_and_followed_on() {
    let (db, owner, crm) = crm("swap_rebuilt");
    db.exec("SELECT agent_metrics.sync_business_events()");
    // as dbt does it: no key comes along, so there is nothing that triggers could go by
    crm.exec(
        "BEGIN;
         CREATE TABLE crm.tmp AS
         SELECT 't' || n AS id, 'ticket_resolved' AS status,
                timestamptz '2026-03-05 10:00+00' AS closed_at, 'c' || n AS chat
         FROM generate_series(1, 10) n;
         ALTER TABLE crm.tickets RENAME TO backup; ALTER TABLE crm.tmp RENAME TO tickets; COMMIT",
    );
    assert!(
        db.value("SELECT problem FROM agent_kpi.attached_tables WHERE source = 'crm.tickets'")
            .unwrap()
            .contains("another table has its name")
    );
    // what is written to the old one is no news
    crm.exec("DELETE FROM crm.backup; INSERT INTO crm.backup VALUES ('t99', 'ticket_resolved', now(), 'c')");
    assert_eq!(db.lines(SYNC), ["crm.tickets|8|0|0|"]);
    assert_eq!(db.lines(STATE), ["compare|followed||10"]);
    crm.exec("DROP TABLE crm.backup CASCADE; INSERT INTO crm.tickets VALUES ('t11', 'ticket_resolved', now(), 'c11')");
    assert_eq!(db.lines(SYNC), ["crm.tickets|1|0|0|"]);
    assert_eq!(db.lines(STATE), ["compare|followed||11"]);
    crm.exec("INSERT INTO crm.tickets VALUES ('t11', 'ticket_resolved', now(), 'again')");
    assert_eq!(
        db.lines(STATE.replace("status, problem, ", "").as_str()),
        ["compare|11"]
    );
    assert_eq!(
        db.lines(SYNC),
        ["crm.tickets|0|0|0|several rows have the same key"]
    );
    // rebuilt with its key: its triggers are made anew
    db.exec("SELECT agent_metrics.detach_business_events('crm.bills')");
    crm.exec(
        "ALTER TABLE crm.bills RENAME TO b; DROP TABLE crm.tickets;
         CREATE TABLE crm.tickets (LIKE crm.b INCLUDING ALL); DROP TABLE crm.b;
         INSERT INTO crm.tickets VALUES ('k', 'x', now(), 'c')",
    );
    assert_eq!(db.lines(SYNC), ["crm.tickets|1|0|11|"]);
    db.exec("SELECT agent_metrics.detach_business_events('crm.tickets', false)");
    db.exec(&attach("tickets"));
    crm.exec(
        "ALTER TABLE crm.tickets RENAME TO b; CREATE TABLE crm.tickets (LIKE crm.b INCLUDING ALL);
         INSERT INTO crm.tickets SELECT * FROM crm.b; DROP TABLE crm.b",
    );
    db.exec(SYNC);
    db.exec(SYNC);
    crm.exec("UPDATE crm.tickets SET status = 'y'");
    assert_eq!(
        db.lines("SELECT mode, waiting FROM agent_kpi.attached_tables"),
        ["trigger|1"]
    );
    assert_eq!(db.lines(SYNC), ["crm.tickets|0|1|0|"]);
    assert_eq!(db.lines(STATE), ["trigger|followed||1"]);
    assert_eq!(
        db.lines("SELECT tgenabled FROM pg_trigger WHERE tgname LIKE 'agent_metrics_follow%'"),
        ["A", "A"]
    );
    drop(crm);
    done(db, &owner);
}

#[test]
fn what_is_another_thing_now_stops_with_a_named_problem_and_nothing_is_lost() {
    let (db, owner, crm) = crm("swap_other");
    let other = format!("{}_other", db.name());
    db.exec(&format!(
        "CREATE ROLE {other}; GRANT ALL ON SCHEMA crm TO {other}; GRANT {other} TO {owner}"
    ));
    let before = db.lines("SELECT * FROM agent_metrics.business_events ORDER BY 1");
    for (change, back, words) in [
        (
            format!("ALTER TABLE crm.tickets OWNER TO {other}"),
            format!("ALTER TABLE crm.tickets OWNER TO {owner}"),
            format!("belonged to role {owner} when it was attached, and belongs to {other} now"),
        ),
        (
            "ALTER TABLE crm.tickets ALTER closed_at TYPE text".into(),
            "ALTER TABLE crm.tickets ALTER closed_at TYPE timestamptz USING closed_at::timestamptz"
                .into(),
            "column \"closed_at\" was of type timestamp with time zone and is of type text now"
                .into(),
        ),
        (
            "CREATE DOMAIN crm.d AS text; ALTER TABLE crm.tickets ALTER chat TYPE crm.d".into(),
            "ALTER TABLE crm.tickets ALTER chat TYPE text".into(),
            "column \"chat\" was of type text and is of type crm.d now".into(),
        ),
        (
            "ALTER TABLE crm.tickets RENAME TO t;
             CREATE VIEW crm.tickets AS SELECT * FROM crm.t WHERE false"
                .into(),
            "DROP VIEW crm.tickets; ALTER TABLE crm.t RENAME TO tickets".into(),
            "was attached as a table and is a view now".into(),
        ),
        (
            "ALTER TABLE crm.tickets RENAME chat TO talk".into(),
            "ALTER TABLE crm.tickets RENAME talk TO chat".into(),
            "column \"chat\" is gone".into(),
        ),
        (
            format!(
                "CREATE TABLE crm.child () INHERITS (crm.tickets);
                 ALTER TABLE crm.child OWNER TO {other}"
            ),
            "DROP TABLE crm.child".into(),
            format!("its rows are also those of crm.child, which belongs to role {other}"),
        ),
    ] {
        crm.exec(&change);
        let _ = crm.attempt("INSERT INTO crm.tickets VALUES ('new', 'ticket_resolved', now())");
        let said = db
            .lines("SELECT problem FROM agent_metrics.sync_business_events('crm.tickets')")
            .join("");
        assert!(said.contains(&words), "{change}: {said}");
        assert!(
            db.lines(STATE)[0].contains(&words),
            "{change}: {:?}",
            db.lines(STATE)
        );
        assert_eq!(
            db.lines("SELECT * FROM agent_metrics.business_events ORDER BY 1"),
            before,
            "{change}"
        );
        db.exec(&back);
        db.exec("DELETE FROM crm.tickets WHERE id = 'new'");
        db.exec("SELECT agent_metrics.sync_business_events('crm.tickets')");
        assert!(
            db.lines(STATE)[0].contains("|followed||2"),
            "{back}: {:?}",
            db.lines(STATE)
        );
    }
    drop(crm);
    db.exec(&format!("DROP OWNED BY {other}; DROP ROLE {other}"));
    done(db, &owner);
}

#[test]
fn the_crm_neither_waits_nor_fails_whatever_we_hold() {
    let (db, owner, crm) = crm("swap_locks");
    let (writer, ours) = login(&db, "writer");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{writer}', 'writer');
         SELECT agent_metrics.sync_business_events()"
    ));
    let quick = "SET statement_timeout = '2s'";
    crm.exec(quick);
    ours.exec(
        "BEGIN;
         INSERT INTO agent_metrics.business_events (business_event_id, kind)
         VALUES ('tickets 4711', 'x')",
    );
    crm.exec(
        "INSERT INTO crm.tickets VALUES ('4711', 'solved', now());
         UPDATE crm.tickets SET status = 'y' WHERE id = '4711'",
    );
    // following it is what waits, not long, and says so
    let began = Instant::now();
    let said = db.lines(SYNC).join("");
    assert!(said.contains("somebody holds a lock"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(10));
    ours.exec("ROLLBACK");
    assert_eq!(db.lines(SYNC), ["crm.tickets|1|0|0|"]);
    // each of our tables, held as firmly as can be: noted, or else compared later
    let holder = db.session();
    for table in [
        "business_events",
        "attached_tables",
        "attached_changes",
        "attachment_problems",
    ] {
        holder.exec(&format!(
            "BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
            crate::support::full(table)
        ));
        crm.exec(&format!(
            "INSERT INTO crm.tickets VALUES ('{table}', 'solved', now())"
        ));
        holder.exec("COMMIT");
        db.exec(SYNC);
        assert_eq!(
            db.number(&format!(
                "SELECT count(*) FROM agent_metrics.business_events
                 WHERE business_event_id = 'tickets {table}'"
            )),
            1.0,
            "{table}"
        );
    }
    // a transaction that sees what was before the table was attached
    db.exec("SELECT agent_metrics.detach_business_events('crm.tickets', false)");
    crm.exec("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    db.exec(&attach("tickets"));
    db.exec(SYNC);
    crm.exec("INSERT INTO crm.tickets VALUES ('repeatable', 'solved', now()); COMMIT");
    assert_eq!(db.lines(SYNC), ["crm.tickets|1|0|0|"]);
    // our tables broken by hand
    for (breaks, mends) in [
        ("ADD COLUMN extra text NOT NULL", "DROP COLUMN extra"),
        (
            "ADD CONSTRAINT no CHECK (false) NOT VALID",
            "DROP CONSTRAINT no",
        ),
        ("RENAME TO moved", ""),
    ] {
        db.exec(&format!(
            "ALTER TABLE agent_metrics_internal.attached_changes {breaks}"
        ));
        crm.exec("UPDATE crm.tickets SET status = status || 'z'");
        if mends.is_empty() {
            db.exec("ALTER TABLE agent_metrics_internal.moved RENAME TO attached_changes");
        } else {
            db.exec(&format!(
                "ALTER TABLE agent_metrics_internal.attached_changes {mends}"
            ));
        }
        db.exec(SYNC);
        assert_eq!(
            db.lines(
                "SELECT business_event_id, kind FROM agent_metrics.business_events ORDER BY 1"
            ),
            db.lines("SELECT 'tickets ' || id, status FROM crm.tickets ORDER BY 1")
        );
    }
    drop((crm, ours));
    db.exec(&format!("DROP OWNED BY {writer}; DROP ROLE {writer}"));
    done(db, &owner);
}

#[test]
fn a_lock_of_the_crm_costs_its_table_alone() {
    let (db, owner, crm) = crm("swap_crm_locks");
    db.exec("SELECT agent_metrics.sync_business_events()");
    crm.exec(
        "INSERT INTO crm.bills VALUES ('b1', 'x', now());
         INSERT INTO crm.tickets VALUES ('t3', 'x', now());
         CREATE TABLE crm.parts (LIKE crm.tickets INCLUDING ALL) PARTITION BY LIST (id);
         CREATE TABLE crm.part PARTITION OF crm.parts DEFAULT;
         INSERT INTO crm.parts VALUES ('p', 'x', now())",
    );
    db.exec(&attach("parts"));
    db.exec("UPDATE agent_metrics_internal.attached_tables SET must_compare = true");
    crm.exec("BEGIN; LOCK TABLE crm.tickets, crm.part IN ACCESS EXCLUSIVE MODE");
    let began = Instant::now();
    let said = db.lines(SYNC);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(said[0], "crm.bills|1|0|0|");
    assert!(
        said[1].contains("crm.parts|0|0|0|somebody holds a lock"),
        "{said:?}"
    );
    assert!(
        said[2].contains("crm.tickets|1|0|0|somebody holds a lock"),
        "{said:?}"
    );
    // nor does the view that names it wait
    assert!(db.lines(STATE)[0].contains("somebody holds a lock"));
    crm.exec("ROLLBACK");
    db.exec(SYNC);
    assert_eq!(
        db.lines("SELECT source, status, events FROM agent_kpi.attached_tables ORDER BY 1"),
        [
            "crm.bills|followed|1",
            "crm.parts|followed|1",
            "crm.tickets|followed|3"
        ]
    );
    drop(crm);
    done(db, &owner);
}

#[test]
fn readers_see_no_value_of_the_crm() {
    let (db, owner, crm) = crm("swap_readers");
    db.exec(
        "INSERT INTO crm.tickets VALUES ('secret-key', 'x', 'infinity', 'secret-chat');
         SELECT agent_metrics.sync_business_events();
         ALTER TABLE agent_metrics.business_events ADD CONSTRAINT no CHECK (kind <> 'secret-kind');
         INSERT INTO crm.bills VALUES ('secret-key', 'secret-kind', now());
         SELECT agent_metrics.sync_business_events()",
    );
    let shown = db.lines(
        "SELECT problem FROM agent_kpi.attached_tables WHERE problem IS NOT NULL ORDER BY source",
    );
    assert_eq!(
        shown,
        [
            "its rows cannot be stored (SQLSTATE 23514)",
            "a row has an impossible time"
        ]
    );
    assert!(
        db.lines("SELECT row_key, detail FROM agent_metrics_internal.attachment_problems")
            .join(" ")
            .contains("tickets secret-key|infinity")
    );
    drop(crm);
    done(db, &owner);
}
