//! Attaching: every mapping that cannot be, with SQLSTATE, message, detail and hint.

use crate::attach::{PAYMENTS, crm, done};

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
                "business_event_id => 'payment', occurred_at => 'paid_on', fixed_kind => 'charge', amount_usd => 'price'",
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
                "business_event_id => 'payment', occurred_at => 'paid_on', fixed_kind => 'charge', amount_usd => 'customer'",
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
        let error = db.error(&sql);
        assert_eq!(error.sqlstate, sqlstate, "{error}");
        assert!(error.message.contains(words), "{error}");
        assert!(
            !error.detail.is_empty() && !error.hint.is_empty(),
            "{error}"
        );
    }
    db.exec(PAYMENTS);
    assert_eq!(db.error(PAYMENTS).sqlstate, "42710");
    assert_eq!(
        db.error("SELECT agent_metrics.attach_business_events('no.table', 'a', 'b', 'c')")
            .sqlstate,
        "3F000"
    );
    assert_eq!(
        db.lines("SELECT source FROM agent_metrics.attached_tables"),
        ["\"The CRM\".payments"]
    );
    done(db, &owner);
}
