//! A subscription that stands still is named, and what the page says about it mends it.

use super::{Sidecar, turns_of};
use crate::support::majors::has_foreign_tables;

/// The moment in the log where a refused transaction ends, as our server has it.
fn finished_at(sidecar: &Sidecar) -> String {
    let folder = std::path::PathBuf::from(sidecar.agents.data());
    let log = std::fs::read_to_string(folder.parent().unwrap().join("server.log")).unwrap();
    let (_, rest) = log
        .rsplit_once("finished at ")
        .unwrap_or_else(|| panic!("{log}"));
    rest.chars()
        .take_while(|c| c.is_ascii_hexdigit() || *c == '/')
        .collect()
}

fn skip_to(sidecar: &mut Sidecar, section: &str) {
    let at = sidecar
        .blocks
        .iter()
        .position(|(of, _)| *of == section)
        .unwrap();
    sidecar.blocks.drain(..at);
}

#[test]
fn a_refused_row_and_a_lost_slot_are_named_and_mended() {
    if !has_foreign_tables() {
        return;
    }
    let mut sidecar = Sidecar::start("sidecar_broken");
    sidecar.next("Turns");
    sidecar.insert("old", 30);
    sidecar.next("Turns");
    sidecar.there.exec(
        "INSERT INTO crm.tickets VALUES (gen_random_uuid(), 'solved', now(), 'old-1', 'u-1')",
    );
    sidecar.next("The CRM's tables");
    sidecar.next("The CRM's tables");
    sidecar.assert_same();
    skip_to(&mut sidecar, "Foreign tables of the warehouse");
    sidecar.next("Foreign tables of the warehouse");

    // a table without the checks, and a transaction of which one row cannot be stored
    let refused = turns_of("refused", 12).replace("100 + n", "CASE n WHEN 5 THEN -5 ELSE n END");
    sidecar.there.exec(
        "ALTER TABLE agent_metrics.agent_events DROP CONSTRAINT agent_events_latency_ms_check",
    );
    sidecar.there.exec(&format!(
        "BEGIN; {refused}; DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'old-2'; COMMIT"
    ));
    sidecar.insert("behind", 6);
    sidecar
        .here
        .until("SELECT problem = 'it is disabled, and 1 errors were counted' FROM agent_kpi.feeds");
    let said = sidecar.doctor();
    assert!(
        said.contains("subscription warehouse, which brings agent_metrics.agent_events, crm.tickets, stands still")
            && said.contains("ALTER SUBSCRIPTION warehouse ENABLE")
            && said.contains("docs/managed-services.md"),
        "{said}"
    );
    assert_eq!(
        sidecar
            .here
            .number("SELECT count(*) FROM agent_metrics.agent_events"),
        30.0
    );
    skip_to(&mut sidecar, "A row that was refused");
    sidecar.next("A row that was refused");
    let lsn = finished_at(&sidecar);
    sidecar.next_with("A row that was refused", |block| {
        block.replace("0/1A2B3C8", &lsn)
    });
    sidecar.until_feed("followed");
    sidecar
        .here
        .until("SELECT count(*) = 36 FROM agent_metrics.agent_events");
    assert_eq!(sidecar.doctor(), "");
    sidecar.next("A row that was refused");
    sidecar.assert_same();
    sidecar.there.exec(
        "UPDATE agent_metrics.agent_events SET cost_usd = 2 WHERE conversation_id LIKE 'refused%'",
    );
    sidecar.assert_same();

    // the slot goes while turns and tickets come
    let slot = "SELECT count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE active;
                SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active";
    sidecar.here.exec("ALTER SUBSCRIPTION warehouse DISABLE");
    sidecar
        .there
        .until("SELECT NOT bool_or(active) FROM pg_replication_slots");
    sidecar.there.exec(slot);
    sidecar.here.exec("ALTER SUBSCRIPTION warehouse ENABLE");
    sidecar.insert("missed", 9);
    sidecar.there.exec(
        "DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'old-3';
         INSERT INTO crm.tickets VALUES (gen_random_uuid(), 'solved', now(), 'missed-1', 'u-2')",
    );
    sidecar
        .here
        .until("SELECT problem LIKE 'no worker applies it%' FROM agent_kpi.feeds");
    for _ in 0..5 {
        sidecar.next("A slot that is gone");
    }
    sidecar.until_feed("followed");
    sidecar.assert_same();
    sidecar.insert("again", 3);
    sidecar.assert_same();
    assert!(
        sidecar
            .blocks
            .iter()
            .all(|(of, _)| *of != "A slot that is gone")
    );
    sidecar.here.exec("DROP SUBSCRIPTION warehouse");
}

/// A row that the first copy cannot store: mended at its source, the copy begins again.
#[test]
fn a_first_copy_that_fails_is_named_and_mended() {
    let mut sidecar = Sidecar::start("sidecar_copy");
    sidecar.next_with("Turns", |block| {
        block.replace("CHECK (latency_ms >= 0 AND latency_ms < 'infinity')", "")
    });
    sidecar
        .there
        .exec(&turns_of("old", 12).replace("100 + n", "CASE n WHEN 5 THEN -5 ELSE n END"));
    sidecar.next("Turns");
    sidecar.until_feed("problem");
    // the server counts an error some moments after it disabled the subscription
    sidecar
        .here
        .until("SELECT problem LIKE 'it is disabled, and 1 errors%' FROM agent_kpi.feeds");
    let said = sidecar.doctor();
    assert!(
        said.contains("stands still: it is disabled, and 1 errors were counted"),
        "{said}"
    );
    skip_to(&mut sidecar, "A row that was refused");
    sidecar.next("A row that was refused");
    sidecar.here.exec("ALTER SUBSCRIPTION warehouse ENABLE");
    sidecar.until_feed("followed");
    sidecar.assert_same();
    sidecar.here.exec("DROP SUBSCRIPTION warehouse");
}
