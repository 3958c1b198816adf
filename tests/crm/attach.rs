//! Attached tables: rows of the CRM become business events, wherever they are and whatever happens to them.

use std::thread;

use crate::support::asserts::{assert_no_rows, assert_sqlstate};
use crate::support::program::{program, works};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Db, Session};

/// A CRM with tickets by uuid and payments by text, in a schema and of an owner of its own.
pub fn crm(name: &str) -> (Db, String) {
    let db = shop(name);
    let owner = format!("{}_crm", db.name());
    db.exec(&format!(
        "CREATE ROLE {owner}; CREATE SCHEMA \"The CRM\" AUTHORIZATION {owner}; SET ROLE {owner};
         CREATE TABLE \"The CRM\".tickets (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
                                           status text, closed timestamp, \"Conversation\" text,
                                           who integer, note bytea);
         CREATE TABLE \"The CRM\".payments (
             payment text PRIMARY KEY, paid_on date, amount double precision,
             conversation text, customer text);
         INSERT INTO \"The CRM\".tickets (id, status, closed, \"Conversation\", who)
         SELECT md5(n::text)::uuid,
             CASE WHEN n < 3 THEN 'ticket_resolved' ELSE 'lead_qualified' END,
             CASE WHEN n <> 2 THEN timestamp '2026-03-05 10:00' END, format('sal-%s-1', n), n
         FROM generate_series(0, 4) AS n;
         INSERT INTO \"The CRM\".payments
         SELECT 'p' || n, '2026-03-05', 0.1 * n, format('sal-%s-2', n), 'buyer' || n % 2
         FROM generate_series(1, 4) AS n;
         RESET ROLE"
    ));
    (db, owner)
}

const TICKETS: &str = "SELECT * FROM agent_metrics.attach_business_events('\"The CRM\".tickets',
    business_event_id => 'id', occurred_at => 'closed', kind => 'status',
    conversation_id => 'Conversation', customer_id => 'who')";
pub const PAYMENTS: &str = "SELECT * FROM agent_metrics.attach_business_events('\"The CRM\".payments',
    business_event_id => 'payment', occurred_at => 'paid_on', fixed_kind => 'charge', conversation_id => 'conversation',
    customer_id => 'customer', amount_usd => 'amount', id_prefix => 'pay-')";

/// Panics unless the business events are the CRM's rows and the rollups are right.
fn assert_followed(session: &Session) {
    session.exec("SELECT agent_metrics.sync_business_events()");
    assert_eq!(
        session.lines(
            "SELECT t.* FROM (
                 SELECT id::text, status, closed AT TIME ZONE 'UTC', \"Conversation\",
                        who::text, NULL::numeric
                 FROM \"The CRM\".tickets WHERE closed IS NOT NULL AND status IS NOT NULL
                 UNION ALL SELECT 'pay-' || payment, 'charge',
                                  paid_on::timestamp AT TIME ZONE 'UTC', conversation,
                                  customer, amount::text::numeric
                           FROM \"The CRM\".payments WHERE paid_on IS NOT NULL) t
             ORDER BY 1"
        ),
        session.lines(
            "SELECT business_event_id, kind, occurred_at, conversation_id, customer_id, amount_usd
             FROM agent_metrics.business_events WHERE source_table IS NOT NULL ORDER BY 1"
        )
    );
    refresh(session);
    assert_rollups(session);
}

pub fn done(db: Db, owner: &str) {
    db.exec(&format!("DROP OWNED BY {owner} CASCADE; DROP ROLE {owner}"));
}

#[test]
fn rows_are_copied_and_followed_by_triggers() {
    let (db, owner) = crm("attach_follow");
    assert_eq!(db.lines(TICKETS), ["\"The CRM\".tickets|trigger|4|0|0|"]);
    assert_eq!(db.lines(PAYMENTS), ["\"The CRM\".payments|trigger|4|0|0|"]);
    assert_followed(&db);
    let writer = db.session();
    writer.exec(&format!("SET ROLE {owner}"));
    for write in [
        "INSERT INTO \"The CRM\".tickets (status, closed, \"Conversation\")
         VALUES ('ticket_escalated', '2026-03-06 10:00', 'sal-5-1')",
        "UPDATE \"The CRM\".tickets SET closed = '2026-03-07 11:00' WHERE who = 2", // it becomes an event
        "UPDATE \"The CRM\".tickets SET status = 'lead_disqualified', \"Conversation\" = 'sal-6-1' WHERE who = 3",
        "UPDATE \"The CRM\".tickets SET note = 'x'", // nothing that we read
        "UPDATE \"The CRM\".tickets SET closed = NULL WHERE who = 4", // it is one no longer
        "UPDATE \"The CRM\".payments SET payment = 'q' || payment, amount = amount + 0.7", // keys change
        "DELETE FROM \"The CRM\".payments WHERE payment = 'qp1'",
        "BEGIN; DELETE FROM \"The CRM\".tickets; ROLLBACK",
        "TRUNCATE \"The CRM\".tickets",
        "INSERT INTO \"The CRM\".tickets (status, closed, \"Conversation\")
         VALUES ('ticket_resolved', '2026-03-06 10:00', 'sal-5-1')",
    ] {
        writer.exec(write);
        assert_followed(&db);
    }
    assert_eq!(
        db.lines(
            "SELECT source, mode, status, problem, events FROM agent_kpi.attached_tables ORDER BY 1"
        ),
        [
            "\"The CRM\".payments|trigger|followed||3",
            "\"The CRM\".tickets|trigger|followed||1"
        ]
    );
    // who was erased does not come back with his record
    db.exec("SELECT agent_metrics.erase_user('buyer1')");
    writer.exec("UPDATE \"The CRM\".payments SET amount = 9");
    db.exec("SELECT agent_metrics.sync_business_events('\"The CRM\".payments')");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.business_events WHERE customer_id = 'buyer1'",
    );
    // detached, the events stay as ordinary ones, or go
    assert_eq!(
        db.number("SELECT agent_metrics.detach_business_events('\"The CRM\".tickets')"),
        1.0
    );
    assert_eq!(
        db.number(
            "SELECT agent_metrics.detach_business_events(
                 '\"The CRM\".payments', keep_events => false)"
        ),
        3.0
    );
    writer.exec("TRUNCATE \"The CRM\".tickets");
    assert_eq!(
        db.lines(
            "SELECT count(*), count(source_table) FROM agent_metrics.business_events
             WHERE conversation_id = 'sal-5-1' OR kind = 'charge'"
        ),
        ["1|0"]
    );
    assert_no_rows(
        &db,
        "SELECT * FROM pg_trigger WHERE tgname LIKE 'agent_metrics%'",
    );
    refresh(&db);
    assert_rollups(&db);
    drop(writer);
    done(db, &owner);
}

#[test]
fn what_cannot_be_followed_is_named_and_never_fails_the_crm() {
    let (db, owner) = crm("attach_problems");
    db.exec(TICKETS);
    db.exec(PAYMENTS);
    let problem = |table: &str| {
        db.exec("SELECT agent_metrics.sync_business_events()");
        db.value(&format!(
            "SELECT problem FROM agent_kpi.attached_tables WHERE source = '\"The CRM\".{table}'"
        ))
        .unwrap_or_default()
    };
    // rows that are impossible as events: the rest is followed, and they too once they are mended
    db.exec(
        "INSERT INTO \"The CRM\".payments
         VALUES ('a', 'infinity', 1), ('b', '2026-03-05', 'NaN'), ('c', '2026-03-05', 5)",
    );
    assert_eq!(
        problem("payments"),
        "a row has an impossible amount; a row has an impossible time"
    );
    let (_, said, _) = program(db.url(), &["doctor"]);
    assert!(
        said.contains(
            "attached table \"The CRM\".payments cannot be followed: a row has an impossible amount"
        ),
        "{said}"
    );
    db.exec("UPDATE \"The CRM\".payments SET paid_on = '2026-03-05', amount = 2 WHERE payment IN ('a', 'b')");
    works(db.url(), &["refresh"]);
    assert_eq!(problem("payments"), "");
    assert_followed(&db);
    // a key that is another event's
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, amount_usd)
         VALUES ('pay-d', 'refund', 3);
         INSERT INTO \"The CRM\".payments VALUES ('d', '2026-03-05', 1)",
    );
    assert_eq!(
        problem("payments"),
        "a key is that of another business event"
    );
    db.exec("DELETE FROM \"The CRM\".payments WHERE payment = 'd'; SELECT agent_metrics.sync_business_events()");
    assert_eq!(
        db.lines(
            "SELECT kind, amount_usd
             FROM agent_metrics.business_events WHERE business_event_id = 'pay-d'"
        ),
        ["refund|3"]
    );
    assert_eq!(problem("payments"), "");
    // a column is dropped, with and without writes after it
    db.exec("ALTER TABLE \"The CRM\".payments DROP COLUMN amount");
    assert_eq!(problem("payments"), "column \"amount\" is gone");
    db.exec("INSERT INTO \"The CRM\".payments VALUES ('e', '2026-03-05')");
    assert_eq!(
        db.lines("SELECT problem FROM agent_metrics.sync_business_events()"),
        ["column \"amount\" is gone"]
    );
    refresh(&db);
    assert_rollups(&db);
    db.exec(
        "ALTER TABLE \"The CRM\".payments ADD COLUMN amount double precision DEFAULT 7;
         SELECT agent_metrics.sync_business_events()",
    );
    assert_eq!(problem("payments"), "");
    assert_followed(&db);
    // triggers disabled, then a table renamed and dropped
    db.exec("ALTER TABLE \"The CRM\".tickets DISABLE TRIGGER ALL; DELETE FROM \"The CRM\".tickets WHERE who = 1");
    assert_eq!(problem("tickets"), "its triggers were dropped or disabled");
    db.exec("ALTER TABLE \"The CRM\".tickets ENABLE TRIGGER ALL");
    assert_eq!(
        db.lines(
            "SELECT deleted, problem FROM agent_metrics.sync_business_events('\"The CRM\".tickets')"
        ),
        ["0|"],
        "it was compared meanwhile"
    );
    assert_followed(&db);
    db.exec("ALTER TABLE \"The CRM\".tickets RENAME TO cases");
    assert_eq!(problem("tickets"), "the table is gone: dropped or renamed");
    db.exec("DROP TABLE \"The CRM\".cases");
    assert_eq!(problem("tickets"), "the table is gone: dropped or renamed");
    assert!(
        db.number(
            "SELECT count(*) FROM agent_metrics.business_events WHERE source_table LIKE '%tickets'"
        ) > 0.0,
        "a drop is no deletion"
    );
    refresh(&db);
    assert_rollups(&db);
    // even when our own side is broken the CRM writes
    db.exec("ALTER TABLE agent_metrics.business_events ADD CONSTRAINT broken CHECK (kind <> 'charge') NOT VALID");
    db.exec("INSERT INTO \"The CRM\".payments VALUES ('f', '2026-03-05')");
    assert_eq!(
        problem("payments"),
        "its rows cannot be stored (SQLSTATE 23514)"
    );
    assert!(
        db.value(
            "SELECT detail FROM agent_metrics_internal.attachment_problems WHERE source LIKE '%payments'"
        )
        .unwrap()
        .contains("broken")
    );
    db.exec(
        "ALTER TABLE agent_metrics.business_events DROP CONSTRAINT broken;
         DROP TABLE agent_metrics_internal.attached_changes,
             agent_metrics_internal.attachment_problems CASCADE",
    );
    db.exec("INSERT INTO \"The CRM\".payments VALUES ('g', 'infinity')");
    done(db, &owner);
}

#[test]
fn without_the_right_to_make_triggers_a_table_is_followed_by_comparing() {
    let (db, owner) = crm("attach_compare");
    let admin = format!("{}_admin", db.name());
    db.exec(&format!(
        "CREATE ROLE {admin}; SELECT agent_metrics.grant_access('{admin}', 'admin')"
    ));
    let session = db.session();
    session.exec(&format!("SET ROLE {admin}"));
    // he may not read it
    assert_sqlstate(&session, PAYMENTS, "42501");
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.attached_tables");
    db.exec(&format!(
        "GRANT USAGE ON SCHEMA \"The CRM\" TO {admin};
         GRANT SELECT ON ALL TABLES IN SCHEMA \"The CRM\" TO {admin};
         GRANT TRIGGER ON \"The CRM\".tickets TO {admin};
         CREATE VIEW \"The CRM\".big AS SELECT * FROM \"The CRM\".payments WHERE amount > 0.15;
         GRANT SELECT ON \"The CRM\".big TO {admin}"
    ));
    assert_eq!(
        session.lines(TICKETS),
        ["\"The CRM\".tickets|trigger|4|0|0|"]
    );
    assert_eq!(
        session.lines(PAYMENTS),
        ["\"The CRM\".payments|compare|4|0|0|"]
    );
    assert_followed(&db);
    db.exec(
        "UPDATE \"The CRM\".payments SET amount = 3 WHERE payment = 'p1';
         DELETE FROM \"The CRM\".payments WHERE payment = 'p2';
         INSERT INTO \"The CRM\".payments VALUES ('p9', '2026-03-09', 1)",
    );
    assert_eq!(
        session.lines(
            "SELECT source, inserted, updated, deleted, problem
             FROM agent_metrics.sync_business_events()"
        ),
        ["\"The CRM\".payments|1|1|1|"]
    );
    assert_followed(&db);
    assert_eq!(
        session.lines(
            "SELECT inserted, updated, deleted, problem FROM agent_metrics.sync_business_events()"
        ),
        ["0|0|0|"]
    );
    // the right to read is revoked: nothing is lost, the problem is named, and gone when the right is back
    db.exec(&format!(
        "REVOKE SELECT ON \"The CRM\".payments FROM {admin};
         DELETE FROM \"The CRM\".payments WHERE payment = 'p3'"
    ));
    let before = db.lines("SELECT * FROM agent_metrics.business_events ORDER BY 1");
    assert_eq!(
        session.lines("SELECT problem FROM agent_metrics.sync_business_events()"),
        [
            "permission denied: the role that follows it may not read it, or row-level security hides rows from it"
        ]
    );
    session.exec("SELECT agent_metrics.sync_business_events()");
    assert_eq!(
        db.lines("SELECT problem FROM agent_kpi.attached_tables WHERE problem IS NOT NULL"),
        [
            "permission denied: the role that follows it may not read it, or row-level security hides rows from it"
        ]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.business_events ORDER BY 1"),
        before
    );
    let (_, said, _) = program(db.url(), &["doctor"]);
    assert!(
        said.contains("permission denied: the role that follows it may not read it"),
        "{said}"
    );
    // nor is what row security hides taken for deleted
    db.exec(&format!(
        "GRANT SELECT ON \"The CRM\".payments TO {admin};
         ALTER TABLE \"The CRM\".payments ENABLE ROW LEVEL SECURITY"
    ));
    assert!(
        session
            .value("SELECT problem FROM agent_metrics.sync_business_events()")
            .unwrap()
            .contains("row-level security")
    );
    db.exec("ALTER TABLE \"The CRM\".payments DISABLE ROW LEVEL SECURITY");
    assert_eq!(
        session.lines("SELECT deleted, problem FROM agent_metrics.sync_business_events()"),
        ["1|"]
    );
    assert_no_rows(
        &db,
        "SELECT problem FROM agent_kpi.attached_tables WHERE problem IS NOT NULL",
    );
    assert_followed(&db);
    // a view, whose keys nothing keeps apart
    db.exec("SELECT agent_metrics.detach_business_events('\"The CRM\".payments', false)");
    let view = PAYMENTS.replace("payments", "big");
    assert_eq!(session.lines(&view), ["\"The CRM\".big|compare|3|0|0|"]);
    db.exec(
        "ALTER TABLE \"The CRM\".payments DROP CONSTRAINT payments_pkey;
         INSERT INTO \"The CRM\".payments VALUES ('p9', '2026-03-10', 1)",
    );
    assert_eq!(
        session.lines("SELECT problem FROM agent_metrics.sync_business_events()"),
        ["several rows have the same key"]
    );
    // his triggers stay when he detaches, for only the owner may drop them, and do nothing
    session.exec("SELECT agent_metrics.detach_business_events('\"The CRM\".tickets')");
    db.exec("TRUNCATE \"The CRM\".tickets");
    assert_eq!(
        session.lines(TICKETS),
        ["\"The CRM\".tickets|trigger|0|0|0|"]
    );
    drop(session);
    db.exec("SELECT agent_metrics.detach_business_events('\"The CRM\".tickets')");
    db.exec(&format!("DROP OWNED BY {admin}; DROP ROLE {admin}"));
    done(db, &owner);
}

#[test]
fn what_no_row_trigger_sees_is_followed_too() {
    let db = shop("attach_parts");
    db.exec(
        "CREATE SCHEMA crm;
         CREATE TABLE crm.calls (id integer PRIMARY KEY, kind text DEFAULT 'ticket_resolved',
                                 at timestamptz DEFAULT '2026-03-05 10:00+00', chat text) PARTITION BY RANGE (id);
         CREATE TABLE crm.a PARTITION OF crm.calls FOR VALUES FROM (0) TO (10);
         CREATE TABLE crm.b PARTITION OF crm.calls FOR VALUES FROM (10) TO (20);
         CREATE TABLE crm.plain (LIKE crm.calls INCLUDING ALL); CREATE TABLE crm.parent (LIKE crm.calls INCLUDING ALL);
         CREATE TABLE crm.child () INHERITS (crm.parent);
         INSERT INTO crm.calls (id) VALUES (1), (11)",
    );
    let attach = |table: &str| {
        db.lines(&format!(
            "SELECT mode, inserted
             FROM agent_metrics.attach_business_events('crm.{table}', business_event_id => 'id',
                                                       occurred_at => 'at', kind => 'kind',
                                                       conversation_id => 'chat',
                                                       id_prefix => '{table} ')"
        ))
    };
    assert_eq!(attach("calls"), ["trigger|2"]);
    assert_eq!(attach("plain"), ["trigger|0"]);
    assert_eq!(attach("parent"), ["compare|0"]);
    let followed = |what: &str| {
        assert_eq!(
            db.lines(
                "SELECT business_event_id
                 FROM agent_metrics.business_events WHERE source_table IS NOT NULL ORDER BY 1"
            ),
            db.lines(
                "SELECT 'calls ' || id FROM crm.calls
                 UNION ALL SELECT 'parent ' || id FROM crm.parent
                 UNION ALL SELECT 'plain ' || id FROM crm.plain ORDER BY 1"
            ),
            "{what}"
        );
    };
    let synced = || {
        db.lines(
            "SELECT source, inserted, updated, deleted, problem
             FROM agent_metrics.sync_business_events() WHERE source <> 'crm.parent'",
        )
    };
    for (change, sync) in [
        ("TRUNCATE crm.a", "crm.calls|0|0|1|"),
        ("INSERT INTO crm.a (id) VALUES (2)", "crm.calls|1|0|0|"),
        ("INSERT INTO crm.child (id) VALUES (1)", ""),
        (
            "ALTER TABLE crm.calls DETACH PARTITION crm.b",
            "crm.calls|0|0|1|",
        ),
        ("INSERT INTO crm.b (id) VALUES (12)", ""), // no row of it any more
        (
            "ALTER TABLE crm.calls ATTACH PARTITION crm.b FOR VALUES FROM (10) TO (20)",
            "crm.calls|2|0|0|",
        ),
        (
            "UPDATE crm.calls SET id = 15 WHERE id = 2",
            "crm.calls|1|0|1|",
        ), // from one to the other
        ("DROP TABLE crm.b", "crm.calls|0|0|3|"),
        // as a subscription writes
        (
            "SET session_replication_role = replica; INSERT INTO crm.calls (id) VALUES (3), (4);
             INSERT INTO crm.plain (id) VALUES (1), (2);
             DELETE FROM crm.calls WHERE id = 3; UPDATE crm.plain SET id = 5 WHERE id = 2;
             RESET session_replication_role",
            "crm.calls|1|0|0| crm.plain|2|0|0|",
        ),
        (
            "SET session_replication_role = replica; TRUNCATE crm.plain; RESET session_replication_role",
            "crm.plain|0|0|2|",
        ),
    ] {
        db.exec(change);
        assert_eq!(synced().join(" "), sync, "{change}");
        followed(change);
        assert!(synced().is_empty(), "{change}: once");
    }
    assert_eq!(
        db.lines("SELECT DISTINCT status, problem FROM agent_kpi.attached_tables"),
        ["followed|"]
    );
}

#[test]
fn many_write_at_once_and_the_events_are_the_rows() {
    let (db, owner) = crm("attach_at_once");
    db.exec(PAYMENTS);
    db.exec(TICKETS);
    let sessions: Vec<Session> = (0..3).map(|_| db.session()).collect();
    thread::scope(|scope| {
        for (session, n) in sessions.iter().zip(0..) {
            scope.spawn(move || {
                for round in 0..30 {
                    session.exec(&format!(
                        "INSERT INTO \"The CRM\".payments VALUES ('w{n}-{round}', '2026-03-05', {round}, 'sal-{n}-2');
                         UPDATE \"The CRM\".payments SET amount = amount + 1 WHERE payment = 'p{}';
                         DELETE FROM \"The CRM\".payments WHERE payment = 'w{n}-{}'",
                        1 + round % 4, round - 3
                    ));
                }
            });
        }
        scope.spawn(|| {
            (0..5).for_each(|_| {
                db.exec(
                    "SELECT agent_metrics.sync_business_events('\"The CRM\".payments');
                     SELECT agent_metrics.refresh()",
                )
            })
        });
    });
    assert_followed(&db);
    done(db, &owner);
}
