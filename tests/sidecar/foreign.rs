//! No logical replication: turns and the CRM's tables by foreign tables alone.

use super::Sidecar;
use crate::support::majors::has_foreign_tables;
use crate::support::program::works;

#[test]
fn turns_and_refunds_come_by_foreign_tables() {
    if !has_foreign_tables() {
        return;
    }
    let mut sidecar = Sidecar::start("sidecar_foreign");
    sidecar.next("Turns");
    sidecar.insert("old", 60);
    sidecar
        .there
        .exec("INSERT INTO crm.refunds VALUES (1, now() - interval '2 hours', 'old-1', 12.50)");
    sidecar.next_with("Turns", |block| {
        block
            .split("CREATE SUBSCRIPTION")
            .next()
            .unwrap()
            .to_owned()
    });
    let at = sidecar
        .blocks
        .iter()
        .position(|(of, _)| *of == "Foreign tables of the warehouse")
        .unwrap();
    sidecar.blocks.drain(..at);
    sidecar.next("Foreign tables of the warehouse");
    sidecar.next("Foreign tables of the warehouse");
    sidecar.assert_same();

    // only what is between the two moments travels
    let plan = sidecar.here.lines(
        "EXPLAIN VERBOSE SELECT * FROM warehouse.agent_events w
         WHERE w.occurred_at >= (SELECT now() - interval '1 day')",
    );
    assert!(
        plan.iter()
            .any(|line| line.contains("Remote SQL") && line.contains("occurred_at >= $1")),
        "{plan:?}"
    );

    // what changes; a second call changes nothing
    sidecar.insert("new", 9);
    sidecar.there.exec(
        "UPDATE agent_metrics.agent_events SET outcome_label = NULL, cost_usd = 5 WHERE conversation_id = 'old-2';
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'old-4'",
    );
    let bring = "SELECT warehouse.bring(now() - interval '3 days', now())";
    sidecar.here.exec(bring);
    sidecar.assert_same();
    let stamps = "SELECT md5(string_agg(recorded_in::text, ',' ORDER BY event_id)) FROM agent_metrics.agent_events";
    let before = sidecar.here.value(stamps);
    sidecar.here.exec(bring);
    assert_eq!(sidecar.here.value(stamps), before);

    // a cost that is computed here is none of the warehouse's, and stays
    sidecar.here.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million, effective_from)
         SELECT 'p', 'large', u, 2, now() - interval '90 days' FROM unnest(ARRAY['input', 'output']) AS u",
    );
    sidecar.there.exec(
        "UPDATE agent_metrics.agent_events SET cost_usd = NULL, model = 'large', provider = 'p'
         WHERE conversation_id = 'old-7'",
    );
    sidecar.here.exec(bring);
    works(&sidecar.program_url(), &["once"]);
    sidecar.here.exec(
        "SELECT * FROM agent_metrics.reprice(
             'support-bot', now() - interval '9 days', now(), dry_run => false)",
    );
    let priced =
        "SELECT count(*) FROM agent_metrics.agent_events WHERE cost_usd = computed_cost_usd";
    assert_eq!(sidecar.here.number(priced), 3.0);
    sidecar.here.exec(bring);
    assert_eq!(sidecar.here.number(priced), 3.0);

    // a table of the CRM, compared by the program's own role
    sidecar.next("Foreign tables of the warehouse");
    sidecar.there.exec(
        "INSERT INTO crm.refunds VALUES (2, now() - interval '1 hour', 'new-1', 3);
         UPDATE crm.refunds SET amount = 13 WHERE id = 1",
    );
    works(&sidecar.program_url(), &["refresh"]);
    let program = crate::support::Session::open(&sidecar.program_url());
    program.exec("SELECT * FROM agent_metrics.sync_business_events()");
    assert_eq!(
        sidecar.here.lines(
            "SELECT kind, conversation_id, amount_usd FROM agent_metrics.business_events ORDER BY 2"
        ),
        ["refund|new-1|3", "refund|old-1|13"]
    );
    assert_eq!(
        sidecar
            .here
            .lines("SELECT source, mode, status FROM agent_kpi.attached_tables"),
        ["warehouse.refunds|compare|followed"]
    );
    works(&sidecar.program_url(), &["refresh"]);
    assert_eq!(works(&sidecar.program_url(), &["verify"]), "");
}
