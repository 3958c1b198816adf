//! Faults of the facts: agents, moments, labels, kinds, attached tables.

use super::{Fault, apply, cure_of, fault, plant_and_cure, well};
use crate::support::program::{program, works};
use crate::support::{login, url_of};

/// Fault, how it comes about, what `doctor` says, what a person fills in.
const FACTS: &[Fault] = &[
    fault(
        "empty",
        &[
            "DELETE FROM agent_metrics.thresholds",
            "DELETE FROM agent_metrics.agents",
            "DELETE FROM agent_metrics.agent_events",
        ],
        "no agent is registered",
        &[
            ("<agent_id>", "'bot'"),
            ("<kind>", "'support'"),
            ("<owner>", "'Head of Support'"),
        ],
    ),
    fault(
        "stranger",
        &["INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
           VALUES ('o''brien', now(), 'c')"],
        "agent o'brien is not registered, and its 1 events",
        &[
            ("<kind>", "'support'"),
            ("<owner>", "'Head of Support'"),
            ("<agent_id>", "'bot'"),
        ],
    ),
    fault(
        "stale",
        &["UPDATE agent_metrics_internal.agent_watermarks SET refreshed_at = now() - interval '3 days'"],
        "agent bot is stale: last refreshed",
        &[],
    ),
    fault(
        "quoted",
        &[
            "SELECT agent_metrics.register_agent('it''s a bot', 'support', 'Head of Support')",
            "UPDATE agent_metrics.agents SET registered_at = now() - interval '1 day' WHERE agent_id <> 'bot'",
        ],
        "agent it's a bot is stale: last refreshed never",
        &[],
    ),
    fault(
        "clock",
        &["UPDATE agent_metrics_internal.agent_watermarks SET refreshed_at = now() + interval '1 year'"],
        "its last refresh lies ahead",
        &[],
    ),
    fault(
        "changed",
        &["UPDATE agent_metrics.settings SET value = 'Asia/Tokyo' WHERE name = 'report_time_zone'"],
        "the settings of its rollups have changed",
        &[],
    ),
    fault(
        "uncounted",
        &[
            "ALTER TABLE agent_metrics.agent_events DISABLE TRIGGER zz_check_turn",
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd, recorded_in)
             VALUES ('bot', now() - interval '1 hour', 'unseen', 1, '3')",
            "ALTER TABLE agent_metrics.agent_events ENABLE ALWAYS TRIGGER zz_check_turn",
        ],
        "of them in its rollups: their stamps were not put there by the trigger",
        &[],
    ),
    fault(
        "ahead",
        &["INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
           VALUES ('bot', now() + interval '3 years', 'c')"],
        "agent bot has 1 turns that are dated ahead",
        &[("<moment>", "now() - interval '1 minute'")],
    ),
    fault(
        "label",
        &[
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
             VALUES ('bot', now(), 'c', 'HANDOFF')",
            "SELECT agent_metrics.refresh()",
        ],
        "label \"HANDOFF\" of agent bot is mapped to nothing, so 1 conversations",
        &[
            ("<the task was done>", "false"),
            ("<it is a unit of the kind's work: resolved ticket>", "false"),
            ("<no human was needed>", "false"),
            ("<the agent refused>", "false"),
            ("<it was handed to a human>", "true"),
        ],
    ),
    fault(
        "reviewed",
        &[
            "INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, outcome_label)
             VALUES ('bot', 'c1', 'somebody', 'so so')",
            "SELECT agent_metrics.refresh()",
        ],
        "label \"so so\" of agent bot",
        &[
            ("<the task was done>", "true"),
            ("<it is a unit of the kind's work: resolved ticket>", "true"),
            ("<no human was needed>", "true"),
            ("<the agent refused>", "false"),
            ("<it was handed to a human>", "false"),
        ],
    ),
    fault(
        "kind",
        &["INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
           VALUES ('b1', 'Solved', 'c1'), ('b2', 'Solved', 'c2')"],
        "2 business events of kind \"Solved\" count for nothing: no row of event_kinds",
        &[("<meaning>", "'resolved'")],
    ),
    fault(
        "ignored",
        &["INSERT INTO agent_metrics.business_events (business_event_id, kind) VALUES ('b1', '')"],
        "1 business events of kind \"\" count for nothing",
        &[("<meaning>", "'nothing'")],
    ),
    fault(
        "meaning",
        &[
            "INSERT INTO agent_metrics.outcomes (label, is_success) VALUES ('done', true)",
            "INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('Closed', 'done')",
            "INSERT INTO agent_metrics.business_events (business_event_id, kind) VALUES ('b1', 'Closed')",
            "DELETE FROM agent_metrics.outcomes WHERE label = 'done'",
        ],
        "kind \"Closed\" count for nothing: its meaning is no outcome label any more",
        &[("<meaning>", "'resolved'")],
    ),
    fault(
        "crm",
        &[
            "CREATE SCHEMA crm; CREATE TABLE crm.tickets (id integer PRIMARY KEY, status text, at timestamptz)",
            "INSERT INTO crm.tickets VALUES (1, 'gelöst', now()), (2, 'ticket_resolved', now())",
            "SELECT agent_metrics.attach_business_events('crm.tickets', 'id', 'at', kind => 'status')",
        ],
        "1 business events of kind \"gelöst\" from table crm.tickets",
        &[("<meaning>", "'resolved'")],
    ),
    fault(
        "column",
        &[
            "CREATE SCHEMA crm; CREATE TABLE crm.paid (id integer PRIMARY KEY, at timestamptz, usd integer)",
            "INSERT INTO crm.paid VALUES (1, now(), 3)",
            "SELECT agent_metrics.attach_business_events('crm.paid', 'id', 'at', fixed_kind => 'charge',
                                                         amount_usd => 'usd', id_prefix => 'paid-')",
            "ALTER TABLE crm.paid ALTER COLUMN usd TYPE numeric",
        ],
        "attached table crm.paid cannot be followed: column \"usd\" was of type",
        &[],
    ),
    fault(
        "followed",
        &[
            "CREATE SCHEMA crm; CREATE TABLE crm.paid (id integer PRIMARY KEY, at timestamptz)",
            "SELECT agent_metrics.attach_business_events('crm.paid', 'id', 'at', fixed_kind => 'charge')",
            "DROP TRIGGER agent_metrics_follow ON crm.paid",
        ],
        "its triggers were dropped or disabled",
        &[],
    ),
    fault(
        "quarantine",
        &["SELECT agent_metrics.ingest_events('{\"agent_id\": \"bot\", \"occurred_at\": \"2026-01-05T10:00:00Z\"}')"],
        "1 pieces of deliveries are in quarantine: no conversation_id",
        &[("<json>", "'{\"conversation_id\": \"c-9\"}'")],
    ),
];

#[test]
fn faults_of_the_facts_are_cured_by_what_is_printed() {
    plant_and_cure(FACTS);
}

#[test]
fn a_table_that_may_not_be_read_is_granted_by_what_is_printed() {
    let db = well("grant");
    let (role, session) = login(&db, "program");
    drop(session);
    let url = url_of(db.name());
    let (_, host) = url.split_once('@').unwrap();
    let url = format!("postgresql://{role}:only-for-this-test@{host}");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{role}', 'admin');
         CREATE SCHEMA \"The CRM\"; CREATE TABLE \"The CRM\".paid (id integer PRIMARY KEY, at timestamptz);
         INSERT INTO \"The CRM\".paid VALUES (1, now());
         CREATE VIEW \"The CRM\".payments AS SELECT * FROM \"The CRM\".paid;
         SELECT agent_metrics.attach_business_events('\"The CRM\".payments', 'id', 'at', fixed_kind => 'charge')"
    ));
    works(&url, &["refresh"]);
    apply(
        &db,
        &cure_of(
            &url,
            "table \"The CRM\".payments cannot be followed: permission denied",
        ),
        &[],
    );
    let (code, stdout, _) = program(&url, &["doctor"]);
    assert_eq!(code, 0, "{stdout}");
    db.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
