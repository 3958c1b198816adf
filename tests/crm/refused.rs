//! Attaching: every mapping that cannot be, with SQLSTATE, message, detail and hint.

use crate::crm::attach::{PAYMENTS, crm, done};
use crate::support::asserts::{assert_explained, assert_no_rows, assert_sqlstate};
use crate::support::{login, majors};

#[test]
fn a_mapping_that_cannot_be_is_refused() {
    let (db, owner) = crm("attach_refused");
    let call = |source: &str, arguments: &str| {
        format!("SELECT agent_metrics.attach_business_events('{source}', {arguments})")
    };
    let payments = |arguments: &str| call("\"The CRM\".payments", arguments);
    for (sql, sqlstate, words) in [
        (
            payments(
                "business_event_id => 'payment', occurred_at => 'paid_on', fixed_kind => 'charge', \
                 amount_usd => 'price'",
            ),
            "42703",
            "has no column \"price\"",
        ),
        (
            payments(
                "business_event_id => 'nothing', occurred_at => 'paid_on', fixed_kind => 'charge'",
            ),
            "42703",
            "has no column \"nothing\"",
        ),
        (
            payments(
                "business_event_id => 'payment', occurred_at => 'customer', fixed_kind => 'charge'",
            ),
            "42804",
            "is of type text",
        ),
        (
            payments(
                "business_event_id => 'payment', occurred_at => 'paid_on', fixed_kind => 'charge', \
                 amount_usd => 'customer'",
            ),
            "42804",
            "is of type text",
        ),
        (
            payments(
                "business_event_id => 'customer', occurred_at => 'paid_on', fixed_kind => 'charge'",
            ),
            "22023",
            "is no key",
        ),
        (
            payments("business_event_id => 'payment', occurred_at => 'paid_on'"),
            "22023",
            "too little is said",
        ),
        (
            payments(
                "business_event_id => 'payment', occurred_at => 'paid_on', kind => 'customer', fixed_kind => 'charge'",
            ),
            "22023",
            "too little is said",
        ),
        (
            payments("business_event_id => NULL, occurred_at => 'paid_on', kind => 'customer'"),
            "22023",
            "too little is said",
        ),
        (
            call(
                "agent_metrics.agent_events",
                "business_event_id => 'event_id', occurred_at => 'occurred_at', kind => 'error'",
            ),
            "42809",
            "cannot be attached",
        ),
        (
            call(
                "\"The CRM\".payments_pkey",
                "business_event_id => 'payment', occurred_at => 'payment', kind => 'payment'",
            ),
            "42809",
            "cannot be attached",
        ),
        (
            "SELECT agent_metrics.detach_business_events('nothing')".to_owned(),
            "42704",
            "is not attached",
        ),
        (
            "SELECT agent_metrics.sync_business_events('nothing')".to_owned(),
            "42704",
            "is not attached",
        ),
    ] {
        assert_explained(&db, &sql, sqlstate, words);
    }
    db.exec(PAYMENTS);
    assert_sqlstate(&db, PAYMENTS, "42710");
    assert_sqlstate(
        &db,
        "SELECT agent_metrics.attach_business_events('no.table', 'a', 'b', 'c')",
        majors::no_schema(),
    );
    assert_eq!(
        db.lines("SELECT source FROM agent_metrics_internal.attached_tables"),
        ["\"The CRM\".payments"]
    );
    done(db, &owner);
}

#[test]
fn an_admin_has_no_table_read_that_he_may_not_read_himself() {
    let (db, owner) = crm("attach_deputy");
    let (name, admin) = login(&db, "admin");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'admin'); GRANT USAGE ON SCHEMA \"The CRM\" TO {name};
         GRANT SELECT (payment, paid_on) ON \"The CRM\".payments TO {name}"
    ));
    let row = |columns: &str, relation: &str, by: &str| {
        format!(
            "INSERT INTO agent_metrics_internal.attached_tables (
                 source, columns, fixed_kind, mode, relation, relation_kind, relation_owner,
                 column_types, wants_triggers, attached_by)
             SELECT '\"The CRM\".payments', '{columns}', 'charge', 'compare',
                    {relation}, 'table', '{owner}',
                    '{{\"payment\": \"text\", \"customer\": \"text\", \"paid_on\": \"date\"}}',
                    true, {by}
             FROM pg_class c WHERE c.relname = 'payments'"
        )
    };
    let open = r#"{"business_event_id": "payment", "occurred_at": "paid_on"}"#;
    let closed =
        r#"{"business_event_id": "payment", "occurred_at": "paid_on", "customer_id": "customer"}"#;
    for (sql, sqlstate, words) in [
        (
            row(closed, "c.oid", "current_user"),
            "42501",
            "column \"customer\"",
        ),
        (row(open, "c.oid", "'postgres'"), "22023", "is written by"),
        (
            row(open, "'pg_authid'::regclass", "current_user"),
            "22023",
            "is written by",
        ),
    ] {
        assert_explained(&admin, &sql, sqlstate, words);
    }
    // what he may read he attaches, by hand too, and it stays that
    admin.exec(&row(open, "c.oid", "current_user"));
    for change in [
        &format!("columns = '{closed}'"),
        "source = 'crm.secrets'",
        "fixed_kind = NULL",
        "id_prefix = 'x'",
        "relation = 'pg_authid'::regclass",
        "relation_owner = 'postgres'",
        "attached_by = 'postgres'",
    ] {
        let error = assert_sqlstate(
            &admin,
            &format!("UPDATE agent_metrics_internal.attached_tables SET {change}"),
            "55000",
        );
        assert!(error.hint.contains("detach_business_events"), "{error}");
    }
    admin.exec("SELECT"); // the refused statement has let go of the row
    // Followed by a superuser: what he asked for is read, and no trigger is made that he may not make.
    assert_eq!(
        db.lines("SELECT source, inserted, problem FROM agent_metrics.sync_business_events()"),
        ["\"The CRM\".payments|4|"]
    );
    assert_eq!(
        db.lines("SELECT mode, wants_triggers FROM agent_metrics_internal.attached_tables"),
        ["compare|f"]
    );
    assert_no_rows(
        &db,
        "SELECT * FROM pg_trigger WHERE tgrelid = '\"The CRM\".payments'::regclass",
    );
    assert_eq!(
        db.number("SELECT count(customer_id) FROM agent_metrics.business_events WHERE source_table IS NOT NULL"),
        0.0
    );
    db.exec(&format!(
        "SELECT agent_metrics.detach_business_events(source)
         FROM agent_metrics_internal.attached_tables; DROP OWNED BY {name}"
    ));
    drop(admin);
    db.exec(&format!("DROP ROLE {name}"));
    done(db, &owner);
}

#[test]
fn what_may_not_be_read_is_refused_with_the_grant() {
    let (db, owner) = crm("attach_grant");
    let (role, session) = login(&db, "admin");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{role}', 'admin'); GRANT USAGE ON SCHEMA \"The CRM\" TO {role};
         GRANT SELECT (payment) ON \"The CRM\".payments TO {role}"
    ));
    let error = assert_explained(
        &session,
        PAYMENTS,
        "42501",
        "permission denied for column \"amount\"",
    );
    let (_, grants) = error.hint.split_once(": ").unwrap();
    assert!(error.hint.contains(&owner), "{error}");
    db.exec(grants);
    session.exec(PAYMENTS);
    drop(session);
    db.exec(&format!(
        "SELECT agent_metrics.detach_business_events('\"The CRM\".payments'); DROP OWNED BY {role}; DROP ROLE {role}"
    ));
    done(db, &owner);
}
