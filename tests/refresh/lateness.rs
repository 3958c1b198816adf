//! Refresh: whatever happens to the facts, the next refresh brings it to where it belongs and to nowhere else.
//!
//! Each test changes raw rows as a user would, refreshes, and asserts that the rollups are right (support/rollups.rs:
//! `verify()` is empty and an oracle in plain SQL agrees) and, where the change concerns some days only, that no rollup
//! of another day was even written. What happens when sessions meet is in sessions.rs, when facts come to mean
//! something else in meaning.rs.

use crate::support::asserts::assert_no_rows;
use crate::support::db;
use crate::support::rollups::{Rollups, assert_only, assert_rollups, refresh};
use crate::support::shop::shop;

/// The turn of the shop that `a-d-c-t` names.
fn turn(name: &str) -> String {
    format!("event_id = md5('{name}')::uuid")
}

#[test]
fn refresh_counts_late_labels_on_the_day_of_the_conversation() {
    let db = shop("refresh_late_labels");
    let before = Rollups::of(&db);
    // 'sup-2-4' and 'sup-5-1' have failed so far; the label comes weeks later.
    db.exec(
        "UPDATE agent_metrics.agent_events SET outcome_label = 'success'
         WHERE turn_index = 2 AND conversation_id IN ('sup-2-4', 'sup-5-1')",
    );
    assert_only(&db, &before, &["sup 2026-03-03", "sup 2026-03-06"]);
}

#[test]
fn refresh_after_a_thousand_old_labels_writes_their_days_alone() {
    let db = db("refresh_thousand_labels");
    db.exec(
        "SELECT agent_metrics.register_agent('a', 'support', 'O'), agent_metrics.register_agent('b', 'ops', 'O');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
         SELECT a, '2026-01-01 00:00:00+00'::timestamptz + n * interval '2 minutes', a || n, n % 700, 0.001, 'failure'
         FROM unnest(ARRAY['a', 'b']) AS a, generate_series(0, 20000) AS n",
    );
    refresh(&db);
    let before = Rollups::of(&db);
    db.exec(
        "UPDATE agent_metrics.agent_events SET outcome_label = 'success'
         WHERE agent_id = 'a' AND occurred_at >= '2026-01-04 12:00:00+00' AND occurred_at < '2026-01-05 21:20:00+00'",
    );
    let done = db.lines(
        "SELECT agent_id, conversations_changed FROM agent_metrics.refresh() ORDER BY agent_id",
    );
    assert_eq!(done, ["a|1000", "b|0"]);
    assert_only(&db, &before, &["a 2026-01-04", "a 2026-01-05"]);
}

#[test]
fn refresh_puts_late_turns_where_they_happened() {
    let db = shop("refresh_late_turns");
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, tools_called)
         VALUES ('ops', '2026-03-05 23:59:59.999+00', 'new', 17, 0.5, '[\"a\", \"b\"]'),
                ('ops', '2011-07-01 12:00:00+00', 'before any partition', 18, 0.5, NULL),
                ('ops', '2026-03-04 00:30:00+00', 'ops-3-0', 19, NULL, NULL)",
    );
    assert_only(
        &db,
        &before,
        &["ops 2011-07-01", "ops 2026-03-04", "ops 2026-03-05"],
    );
}

#[test]
fn refresh_moves_a_conversation_that_gets_an_earlier_first_turn() {
    let db = shop("refresh_earlier_turn");
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, cost_usd)
         VALUES ('sup', '2026-03-02 23:59:00+00', 'sup-2-0', 40, 0.25)",
    );
    assert_only(&db, &before, &["sup 2026-03-02", "sup 2026-03-03"]);
    assert_eq!(
        db.lines(
            "SELECT started_at AT TIME ZONE 'UTC', turns
             FROM agent_metrics.conversations WHERE conversation_id = 'sup-2-0'"
        ),
        ["2026-03-02 23:59:00|4"]
    );
}

#[test]
fn refresh_goes_on_with_conversations_it_knows() {
    let db = shop("refresh_goes_on");
    // sup-2-4 has no user, sup-2-1 has one, sup-2-0 a customer of the CRM, sup-3-1 an order; sal counts leads
    let mut cases = Vec::new();
    for agent in ["sup", "sal"] {
        for conversation in ["2-4", "2-1", "2-0", "3-1"] {
            for (what, user, label, order) in [
                ("nothing new", "NULL", "NULL", "NULL"),
                ("somebody who sorts before", "'a user'", "NULL", "NULL"),
                ("somebody who sorts after", "'zoe'", "NULL", "NULL"),
                ("a customer named as user", "'customer2'", "NULL", "NULL"),
                ("a label", "NULL", "'success'", "NULL"),
                ("a label that nobody mapped", "NULL", "'odd'", "NULL"),
                ("an order", "NULL", "NULL", "'order-ops-0'"),
            ] {
                cases.push(what);
                // after the others, among them, and before them
                for minutes in [30, 1, -30] {
                    db.exec(&format!(
                        "INSERT INTO agent_metrics.agent_events
                             (agent_id, occurred_at, conversation_id, user_id, outcome_label,
                              business_event_id, cost_usd, token_usage_input, latency_ms)
                         SELECT c.agent_id, c.started_at + {minutes} * interval '1 minute',
                                c.conversation_id, {user}, {label}, {order}, 0.5, 7, 40
                         FROM agent_metrics.conversations c
                         WHERE c.agent_id = '{agent}'
                           AND c.conversation_id = '{agent}-{conversation}'"
                    ));
                }
                refresh(&db);
                assert_eq!(
                    db.lines("SELECT * FROM agent_metrics.verify()"),
                    [""; 0],
                    "{what}, {agent}-{conversation}"
                );
            }
        }
    }
    assert_eq!(cases.len(), 56);
    assert_rollups(&db);
}

#[test]
fn refresh_of_conversations_that_go_on_does_not_look_up_their_turns() {
    let db = db("refresh_goes_on_cheaply");
    db.exec(
        "SELECT agent_metrics.register_agent('a', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, cost_usd, outcome_label)
         SELECT 'a', '2026-03-01 10:00:00+00'::timestamptz + n * interval '2 minutes', 'c' || n,
                'u' || n % 9, 0.001, 'success'
         FROM generate_series(1, 500) AS n",
    );
    refresh(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, cost_usd)
         SELECT agent_id, occurred_at + interval '1 minute', conversation_id, user_id, 0.002
         FROM agent_metrics.agent_events",
    );
    let looked_up = db.lines(
        "BEGIN;
         SELECT conversations_changed FROM agent_metrics.refresh();
         SELECT sum(pg_stat_get_xact_numscans(i.indexrelid)) < 100 FROM pg_index i
         JOIN pg_inherits p ON p.inhrelid = i.indrelid AND p.inhparent = 'agent_metrics.agent_events'::regclass;
         COMMIT",
    );
    assert_eq!(looked_up, ["500", "t"]);
    assert_rollups(&db);
}

#[test]
fn refresh_counts_a_conversation_once_though_it_crosses_midnight() {
    let db = shop("refresh_midnight");
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
         VALUES ('sup', '2026-04-01 23:59:59+00', 'night', 10, 0.25, NULL),
                ('sup', '2026-04-02 00:00:00+00', 'night', 20, 0.50, NULL),
                ('sup', '2026-04-03 00:00:00+00', 'night', 30, 1.00, 'success')",
    );
    assert_only(
        &db,
        &before,
        &["sup 2026-04-01", "sup 2026-04-02", "sup 2026-04-03"],
    );
    assert_eq!(
        db.lines(
            "SELECT day, turns, conversations, successes, token_spend_usd FROM agent_kpi.agent_daily
             WHERE agent_id = 'sup' AND day BETWEEN '2026-04-01' AND '2026-04-04' ORDER BY day"
        ),
        ["2026-04-01|1|1|1|0.25", "2026-04-02|1|0|0|0.5", "2026-04-03|1|0|0|1", "2026-04-04|0|0|0|"]
    );
}

#[test]
fn refresh_finds_late_crm_events_by_conversation_and_by_the_id_a_turn_carries() {
    let db = shop("refresh_late_crm");
    let before = Rollups::of(&db);
    // 'order-sup-4' is named by a turn of 'sup-4-1' and was not known until now.
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id)
         VALUES ('late-1', 'ticket_resolved', '2026-05-20 08:00:00+00', 'sup-1-3'),
                ('order-sup-4', 'ticket_escalated', '2026-05-20 08:00:00+00', NULL)",
    );
    assert_only(&db, &before, &["sup 2026-03-02", "sup 2026-03-05"]);
    let labels =
        "SELECT conversation_id, outcome_label, outcome_source FROM agent_metrics.conversations
                  WHERE conversation_id IN ('sup-1-3', 'sup-4-1') ORDER BY 1";
    assert_eq!(
        db.lines(labels),
        ["sup-1-3|resolved|crm", "sup-4-1|escalated|crm"]
    );

    // The ticket is opened again: pending. Then it turns out to be another conversation's. Then it goes.
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id)
         VALUES ('late-2', 'ticket_reopened', '2026-05-21 08:00:00+00', 'sup-1-3')",
    );
    assert_only(&db, &before, &["sup 2026-03-02"]);
    let pending =
        "SELECT has_outcome FROM agent_metrics.conversations WHERE conversation_id = 'sup-1-3'";
    assert_eq!(db.value(pending).as_deref(), Some("f"));
    let before = Rollups::of(&db);
    db.exec("UPDATE agent_metrics.business_events SET conversation_id = 'sup-8-3' WHERE business_event_id = 'late-2'");
    assert_only(&db, &before, &["sup 2026-03-02", "sup 2026-03-09"]);
    let before = Rollups::of(&db);
    db.exec("DELETE FROM agent_metrics.business_events WHERE business_event_id IN ('late-2', 'order-sup-4')");
    assert_only(&db, &before, &["sup 2026-03-05", "sup 2026-03-09"]);

    // A turn may come to carry, or cease to carry, the id of a business event that is known.
    let before = Rollups::of(&db);
    db.exec(&format!(
        "UPDATE agent_metrics.agent_events SET business_event_id = 'order-sup-3' WHERE {};
         UPDATE agent_metrics.agent_events SET business_event_id = NULL WHERE {}",
        turn("sup-9-4-0"),
        turn("sup-0-1-1")
    ));
    assert_only(&db, &before, &["sup 2026-03-01", "sup 2026-03-10"]);
}

#[test]
fn refresh_counts_a_lead_once_on_the_day_of_its_first_conversation() {
    let db = shop("refresh_leads");
    let leads = "SELECT day, denominator, numerator FROM agent_kpi.kpi_daily
                 WHERE agent_id = 'sal' AND metric = 'qualified_lead_rate'
                   AND day IN ('2026-04-01', '2026-04-02')
                 ORDER BY day";
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id)
         VALUES ('sal', '2026-04-01 10:00:00+00', 'first', 'ada'), ('sal', '2026-04-02 10:00:00+00', 'second', 'ada'),
                ('sal', '2026-04-02 11:00:00+00', 'third', 'bob')",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(db.lines(leads), ["2026-04-01|1|0", "2026-04-02|1|0"]);
    // The CRM qualifies her after the second conversation: it counts on the day of the first.
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         VALUES ('q', 'lead_qualified', 'second')",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(db.lines(leads), ["2026-04-01|1|1", "2026-04-02|1|0"]);
    // The CRM says that bob is ada's company: one lead less. Then her first conversation goes.
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id, customer_id)
         SELECT 'c-' || c, 'charge', c, 'acme' FROM unnest(ARRAY['first', 'second', 'third']) AS c",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(db.lines(leads), ["2026-04-01|1|1", "2026-04-02|0|0"]);
    db.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'first'");
    refresh(&db);
    assert_rollups(&db);
    // nothing is left of that day, and of nothing there is no number
    assert_eq!(db.lines(leads), ["2026-04-01||", "2026-04-02|1|1"]);
}

#[test]
fn refresh_follows_rows_that_move_between_agents_days_and_partitions() {
    let db = shop("refresh_moves");
    // to another agent
    let before = Rollups::of(&db);
    db.exec(
        "UPDATE agent_metrics.agent_events SET agent_id = 'ops' WHERE conversation_id = 'sup-3-2'",
    );
    assert_only(&db, &before, &["ops 2026-03-04", "sup 2026-03-04"]);
    // to another day of the same partition, one turn of three
    let before = Rollups::of(&db);
    db.exec(&format!(
        "UPDATE agent_metrics.agent_events SET occurred_at = occurred_at + interval '3 days' WHERE {}",
        turn("sup-1-0-0")
    ));
    assert_only(&db, &before, &["sup 2026-03-02", "sup 2026-03-05"]);
    // to the partition of the present month, to the one before all months, and to the one after all months
    let before = Rollups::of(&db);
    db.exec(&format!(
        "UPDATE agent_metrics.agent_events SET occurred_at = date_trunc('month', now(), 'UTC') WHERE {};
         UPDATE agent_metrics.agent_events SET occurred_at = '2016-04-20 10:00:00+00' WHERE {};
         UPDATE agent_metrics.agent_events SET occurred_at = '2096-04-20 10:00:00+00' WHERE {}",
        turn("ops-0-0-1"),
        turn("ops-0-1-1"),
        turn("ops-0-2-1")
    ));
    assert_eq!(
        db.number(
            "SELECT count(DISTINCT tableoid)
             FROM agent_metrics.agent_events WHERE conversation_id LIKE 'ops-0-_' AND turn_index = 1
                                               AND conversation_id < 'ops-0-3'"
        ),
        3.0
    );
    let month = db
        .value("SELECT 'ops ' || date_trunc('month', now() AT TIME ZONE 'UTC')::date")
        .unwrap();
    assert_only(
        &db,
        &before,
        &["ops 2016-04-20", "ops 2026-03-01", &month, "ops 2096-04-20"],
    );
    // to another conversation
    let before = Rollups::of(&db);
    db.exec("UPDATE agent_metrics.agent_events SET conversation_id = 'ops-6-1' WHERE conversation_id = 'ops-5-1'");
    assert_only(&db, &before, &["ops 2026-03-06", "ops 2026-03-07"]);
    // and values change in place, twice in one transaction
    let before = Rollups::of(&db);
    db.exec(&format!(
        "UPDATE agent_metrics.agent_events SET latency_ms = 5, cost_usd = 7 WHERE {0};
         UPDATE agent_metrics.agent_events SET latency_ms = 6, error = 'late' WHERE {0}",
        turn("sup-5-1-1")
    ));
    assert_only(&db, &before, &["sup 2026-03-06"]);
}

#[test]
fn refresh_of_updated_rows_no_other_session_has_seen() {
    let db = shop("refresh_insert_update");
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-04-01 10:00:00+00', 'n', 10);
         UPDATE agent_metrics.agent_events SET latency_ms = 20, outcome_label = 'success' WHERE conversation_id = 'n';
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-04-02 10:00:00+00', 'm', 10);
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'm'",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT bucket AT TIME ZONE 'UTC', turns FROM agent_metrics_internal.rollups
             WHERE level = 'day' AND bucket >= '2026-04-01' AND turns > 0"
        ),
        ["2026-04-01 00:00:00|1"]
    );
    let written = crate::support::rollups::written_days(&before, &Rollups::of(&db));
    assert!(
        written.iter().all(|day| day.starts_with("sup 2026-04-")),
        "{written:?}"
    );
}

#[test]
fn refresh_takes_out_what_was_deleted() {
    let db = shop("refresh_deletions");
    let before = Rollups::of(&db);
    db.exec(&format!(
        "DELETE FROM agent_metrics.agent_events WHERE {}",
        turn("sup-2-1-1")
    ));
    assert_only(&db, &before, &["sup 2026-03-03"]);
    // a first turn, so that the conversation begins later
    let before = Rollups::of(&db);
    db.exec(&format!(
        "DELETE FROM agent_metrics.agent_events WHERE {}",
        turn("ops-4-1-0")
    ));
    assert_only(&db, &before, &["ops 2026-03-05"]);
    // a whole day: nothing is left of it in the views but an empty row of the calendar
    let before = Rollups::of(&db);
    db.exec("DELETE FROM agent_metrics.agent_events WHERE agent_id = 'ops' AND conversation_id LIKE 'ops-6-%'");
    assert_only(&db, &before, &["ops 2026-03-07"]);
    assert_eq!(
        db.lines(
            "SELECT turns, conversations, task_success_rate, latency_p95_ms, token_spend_usd
             FROM agent_kpi.agent_daily WHERE agent_id = 'ops' AND day = '2026-03-07'"
        ),
        ["0|0|||"]
    );
    // an event that is deleted and delivered again in one transaction
    let before = Rollups::of(&db);
    db.exec(
        "CREATE TEMP TABLE again AS
         SELECT * FROM agent_metrics.agent_events WHERE conversation_id = 'ops-7-0';
         ALTER TABLE again DROP COLUMN recorded_in;
         BEGIN;
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'ops-7-0';
         INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, event_id, conversation_id, user_id, latency_ms,
              token_usage_input, token_usage_output, cost_usd, outcome_label, turn_index)
         SELECT agent_id, occurred_at, event_id, conversation_id, user_id, latency_ms,
                token_usage_input, token_usage_output, cost_usd, outcome_label, turn_index
         FROM again;
         COMMIT",
    );
    assert_only(&db, &before, &["ops 2026-03-08"]);
}

#[test]
fn refresh_after_truncate_begins_from_what_is_there() {
    let db = shop("refresh_truncate");
    db.exec("TRUNCATE agent_metrics.business_events");
    refresh(&db);
    assert_rollups(&db);
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.conversations WHERE crm_label IS NOT NULL",
    );
    db.exec(
        "BEGIN;
         TRUNCATE agent_metrics.agent_events;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('ops', '2026-03-01 10:00:00+00', 'only', 10);
         COMMIT",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines("SELECT agent_id, turns FROM agent_metrics_internal.rollups WHERE level = 'day'"),
        ["ops|1"]
    );
    // mappings that are all taken away at once
    db.exec("UPDATE agent_metrics.agent_events SET outcome_label = 'success'");
    refresh(&db);
    for table in ["event_kinds", "outcomes"] {
        db.exec(&format!("TRUNCATE agent_metrics.{table}"));
        refresh(&db);
        assert_rollups(&db);
    }
    assert_eq!(
        db.lines("SELECT outcome_label FROM agent_kpi.unmapped_labels"),
        ["success"]
    );
    // the log does not keep every later refresh at it
    refresh(&db);
    let before = Rollups::of(&db);
    assert_only(&db, &before, &[]);
    // one partition alone is also a TRUNCATE
    let partition = db
        .value("SELECT tableoid::regclass FROM agent_metrics.agent_events")
        .unwrap();
    db.exec(&format!("TRUNCATE {partition}"));
    refresh(&db);
    assert_no_rows(&db, "SELECT * FROM agent_metrics.agent_events");
    assert_rollups(&db);
}
