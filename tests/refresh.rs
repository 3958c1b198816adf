//! Refresh: whatever happens to the facts, the next refresh brings it to where it belongs and to nowhere else.
//!
//! Each test changes raw rows as a user would, refreshes, and asserts that the books are right (books.rs: `verify()`
//! is empty and an oracle in plain SQL agrees) and, where the change concerns some days only, that no rollup of
//! another day was even written. What happens when sessions meet is in refresh_sessions.rs.

use crate::books::{
    Rollups, assert_books, assert_only, assert_oracle, oracle_differences, refresh, shop,
};
use crate::harness::db;

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
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
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
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, cost_usd, tools_called)
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
        db.lines("SELECT started_at AT TIME ZONE 'UTC', turns FROM agent_metrics.conversations WHERE conversation_id = 'sup-2-0'"),
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
                             (agent_id, occurred_at, conversation_id, user_id, outcome_label, business_event_id, cost_usd, token_usage_input, latency_ms)
                         SELECT c.agent_id, c.started_at + {minutes} * interval '1 minute', c.conversation_id, {user}, {label}, {order}, 0.5, 7, 40
                         FROM agent_metrics.conversations c WHERE c.agent_id = '{agent}' AND c.conversation_id = '{agent}-{conversation}'"
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
    assert_books(&db);
}

#[test]
fn refresh_of_conversations_that_go_on_does_not_look_up_their_turns() {
    let db = db("refresh_goes_on_cheaply");
    db.exec(
        "SELECT agent_metrics.register_agent('a', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, cost_usd, outcome_label)
         SELECT 'a', '2026-03-01 10:00:00+00'::timestamptz + n * interval '2 minutes', 'c' || n, 'u' || n % 9, 0.001, 'success'
         FROM generate_series(1, 500) AS n",
    );
    refresh(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, cost_usd)
         SELECT agent_id, occurred_at + interval '1 minute', conversation_id, user_id, 0.002 FROM agent_metrics.agent_events",
    );
    let looked_up = db.lines(
        "BEGIN;
         SELECT conversations_changed FROM agent_metrics.refresh();
         SELECT sum(pg_stat_get_xact_numscans(i.indexrelid)) < 50 FROM pg_index i
         JOIN pg_inherits p ON p.inhrelid = i.indrelid AND p.inhparent = 'agent_metrics.agent_events'::regclass;
         COMMIT",
    );
    assert_eq!(looked_up, ["500", "t"]);
    assert_books(&db);
}

#[test]
fn refresh_counts_a_conversation_once_though_it_crosses_midnight() {
    let db = shop("refresh_midnight");
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
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
                 WHERE agent_id = 'sal' AND metric = 'qualified_lead_rate' AND day IN ('2026-04-01', '2026-04-02') ORDER BY day";
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id)
         VALUES ('sal', '2026-04-01 10:00:00+00', 'first', 'ada'), ('sal', '2026-04-02 10:00:00+00', 'second', 'ada'),
                ('sal', '2026-04-02 11:00:00+00', 'third', 'bob')",
    );
    refresh(&db);
    assert_books(&db);
    assert_eq!(db.lines(leads), ["2026-04-01|1|0", "2026-04-02|1|0"]);
    // The CRM qualifies her after the second conversation: it counts on the day of the first.
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id) VALUES ('q', 'lead_qualified', 'second')",
    );
    refresh(&db);
    assert_books(&db);
    assert_eq!(db.lines(leads), ["2026-04-01|1|1", "2026-04-02|1|0"]);
    // The CRM says that bob is ada's company: one lead less. Then her first conversation goes.
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id, customer_id)
         SELECT 'c-' || c, 'charge', c, 'acme' FROM unnest(ARRAY['first', 'second', 'third']) AS c",
    );
    refresh(&db);
    assert_books(&db);
    assert_eq!(db.lines(leads), ["2026-04-01|1|1", "2026-04-02|0|0"]);
    db.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'first'");
    refresh(&db);
    assert_books(&db);
    assert_eq!(db.lines(leads), ["2026-04-01|0|0", "2026-04-02|1|1"]);
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
        db.number("SELECT count(DISTINCT tableoid) FROM agent_metrics.agent_events WHERE conversation_id LIKE 'ops-0-_' AND turn_index = 1 AND conversation_id < 'ops-0-3'"),
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
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms) VALUES ('sup', '2026-04-01 10:00:00+00', 'n', 10);
         UPDATE agent_metrics.agent_events SET latency_ms = 20, outcome_label = 'success' WHERE conversation_id = 'n';
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms) VALUES ('sup', '2026-04-02 10:00:00+00', 'm', 10);
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'm'",
    );
    refresh(&db);
    assert_books(&db);
    assert_eq!(
        db.lines("SELECT bucket AT TIME ZONE 'UTC', turns FROM agent_metrics.rollups WHERE level = 'day' AND bucket >= '2026-04-01' AND turns > 0"),
        ["2026-04-01 00:00:00|1"]
    );
    let written = crate::books::written_days(&before, &Rollups::of(&db));
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
        db.lines("SELECT turns, conversations, task_success_rate, latency_p95_ms, token_spend_usd FROM agent_kpi.agent_daily WHERE agent_id = 'ops' AND day = '2026-03-07'"),
        ["0|0|||"]
    );
    // an event that is deleted and delivered again in one transaction
    let before = Rollups::of(&db);
    db.exec(
        "CREATE TEMP TABLE again AS SELECT * FROM agent_metrics.agent_events WHERE conversation_id = 'ops-7-0';
         ALTER TABLE again DROP COLUMN recorded_in;
         BEGIN;
         DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'ops-7-0';
         INSERT INTO agent_metrics.agent_events
             (agent_id, occurred_at, event_id, conversation_id, user_id, latency_ms, token_usage_input, token_usage_output, cost_usd, outcome_label, turn_index)
         SELECT agent_id, occurred_at, event_id, conversation_id, user_id, latency_ms, token_usage_input, token_usage_output, cost_usd, outcome_label, turn_index
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
    assert_books(&db);
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.conversations WHERE crm_label IS NOT NULL"),
        0.0
    );
    db.exec(
        "BEGIN;
         TRUNCATE agent_metrics.agent_events;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms) VALUES ('ops', '2026-03-01 10:00:00+00', 'only', 10);
         COMMIT",
    );
    refresh(&db);
    assert_books(&db);
    assert_eq!(
        db.lines("SELECT agent_id, turns FROM agent_metrics.rollups WHERE level = 'day'"),
        ["ops|1"]
    );
    // mappings that are all taken away at once
    db.exec("UPDATE agent_metrics.agent_events SET outcome_label = 'success'");
    refresh(&db);
    for table in ["event_kinds", "outcomes"] {
        db.exec(&format!("TRUNCATE agent_metrics.{table}"));
        refresh(&db);
        assert_books(&db);
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
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.agent_events"),
        0.0
    );
    assert_books(&db);
}

#[test]
fn refresh_sees_a_mapping_that_was_made_changed_or_taken_away() {
    let db = shop("refresh_mappings");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         VALUES ('sup', '2026-04-01 10:00:00+00', 'typo', 'sucess'), ('sup', '2026-04-02 10:00:00+00', 'fine', 'success')",
    );
    refresh(&db);
    assert_books(&db);
    let unmapped = "SELECT agent_id, outcome_label, conversations FROM agent_kpi.unmapped_labels";
    assert_eq!(db.lines(unmapped), ["sup|sucess|1"]);
    let counts = "SELECT with_outcome, successes, pending FROM agent_kpi.agent_daily WHERE agent_id = 'sup' AND day = '2026-04-01'";
    assert_eq!(db.lines(counts), ["0|0|1"]);

    let before = Rollups::of(&db);
    db.exec("INSERT INTO agent_metrics.outcomes (label, is_success, is_unit) VALUES ('sucess', true, true)");
    assert_only(&db, &before, &["sup 2026-04-01"]);
    assert_eq!(db.lines(unmapped), [""; 0]);
    assert_eq!(db.lines(counts), ["1|1|0"]);

    db.exec(
        "UPDATE agent_metrics.outcomes SET is_success = false WHERE label IN ('success', 'sucess')",
    );
    refresh(&db);
    assert_books(&db);
    assert_eq!(db.lines(counts), ["1|0|0"]);
    let before = Rollups::of(&db);
    db.exec("DELETE FROM agent_metrics.outcomes WHERE label = 'sucess'");
    assert_only(&db, &before, &["sup 2026-04-01"]);
    assert_eq!(db.lines(counts), ["0|0|1"]);
    // a label that is renamed takes its meaning away from the old name and gives it to the new one
    db.exec("UPDATE agent_metrics.outcomes SET label = 'sucess', is_success = true WHERE label = 'success'");
    refresh(&db);
    assert_books(&db);
    assert_eq!(db.lines(counts), ["1|1|0"]);
}

#[test]
fn refresh_sees_a_mapping_change_for_a_review_that_is_not_the_last() {
    let db = db("refresh_mapping_of_review");
    // the later review says that the conversation is open again, so the earlier one is what the agent is held to
    db.exec(
        "SELECT agent_metrics.register_agent('a', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         VALUES ('a', '2026-03-01 10:00:00+00', 'c', 10, 'failure');
         INSERT INTO agent_metrics.reviews (reviewer, review_id, agent_id, conversation_id, outcome_label, reviewed_at)
         VALUES ('bob', 'r1', 'a', 'c', 'resolved', '2026-03-02'), ('bob', 'r2', 'a', 'c', 'reopened', '2026-03-03')",
    );
    refresh(&db);
    assert_books(&db);
    let gap =
        "SELECT numerator FROM agent_metrics.conversation_facts WHERE measure = 'self_report'";
    assert_eq!(db.number(gap), -100.0);
    db.exec("UPDATE agent_metrics.outcomes SET is_success = false WHERE label = 'resolved'");
    refresh(&db);
    assert_books(&db);
    assert_eq!(db.number(gap), 0.0);
}

#[test]
fn refresh_sees_a_kind_of_business_event_remapped() {
    let db = shop("refresh_kinds");
    // 'ticket_resolved' happened on days 0 and 5 to conversation 0 of each agent.
    let before = Rollups::of(&db);
    db.exec(
        "UPDATE agent_metrics.event_kinds SET meaning = 'escalated' WHERE kind = 'ticket_resolved'",
    );
    assert_only(
        &db,
        &before,
        &[
            "ops 2026-03-01",
            "ops 2026-03-06",
            "sal 2026-03-01",
            "sal 2026-03-06",
            "sup 2026-03-01",
            "sup 2026-03-06",
        ],
    );
    db.exec(
        "DELETE FROM agent_metrics.event_kinds WHERE kind IN ('ticket_resolved', 'human_touch')",
    );
    refresh(&db);
    assert_books(&db);
    // a kind of one's own, first seen unmapped
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id) VALUES ('own', 'case_closed', 'sup-4-2')",
    );
    refresh(&db);
    assert_books(&db);
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.event_kinds (kind, meaning) VALUES ('case_closed', 'resolved')",
    );
    assert_only(&db, &before, &["sup 2026-03-05"]);
    let before = Rollups::of(&db);
    db.exec("UPDATE agent_metrics.event_kinds SET kind = 'case_shut' WHERE kind = 'case_closed'");
    assert_only(&db, &before, &["sup 2026-03-05"]);
}

#[test]
fn refresh_takes_the_word_of_the_source_that_ranks_highest() {
    let db = shop("refresh_precedence");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, turn_index, outcome_label, outcome_source)
         VALUES ('sup', '2026-04-01 10:00:00+00', 'c', 0, 'success', 'agent'),
                ('sup', '2026-04-01 10:00:00+00', 'c', 1, 'failure', 'agent')",
    );
    let outcome = "SELECT outcome_label, outcome_source FROM agent_metrics.conversations WHERE conversation_id = 'c'";
    let check = |sql: &str, expected: &str| {
        db.exec(sql);
        refresh(&db);
        assert_books(&db);
        assert_eq!(db.lines(outcome), [expected], "after: {sql}");
    };
    check("", "failure|agent");
    let says = |label: &str, source: &str, minute: u32| {
        format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label, outcome_source)
             VALUES ('sup', '2026-04-01 09:{minute}:00+00', 'c', '{label}', '{source}')"
        )
    };
    // each earlier in time than the one before, and yet it counts
    check(&says("refused", "judge", 50), "refused|judge");
    check(&says("escalated", "crm", 40), "escalated|crm");
    // an event of the business system and its label on a turn are one source: the later word counts
    let event = |id: &str, minute: u32| {
        format!(
            "INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id)
             VALUES ('{id}', 'ticket_resolved', '2026-04-01 09:{minute}:00+00', 'c')"
        )
    };
    check(&event("before", 35), "escalated|crm");
    check(&event("after", 45), "resolved|crm");
    check(
        "DELETE FROM agent_metrics.business_events WHERE business_event_id = 'after'",
        "escalated|crm",
    );
    check(&says("abandoned", "human", 30), "abandoned|human");
    // a human's typo is no label at all, so the next source speaks; and it is listed
    check(
        "UPDATE agent_metrics.agent_events SET outcome_label = 'abandonned' WHERE outcome_source = 'human'",
        "escalated|crm",
    );
    assert_eq!(
        db.lines("SELECT outcome_label FROM agent_kpi.unmapped_labels"),
        ["abandonned"]
    );
}

#[test]
fn refresh_brings_in_all_of_an_agent_that_is_registered_later() {
    let db = shop("refresh_registered_later");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         SELECT 'newcomer', '2026-03-01 10:00:00+00'::timestamptz + n * interval '7 hours', 'n' || n, 100 + n, 'success' FROM generate_series(0, 40) AS n",
    );
    refresh(&db);
    assert_books(&db);
    assert_eq!(
        db.lines("SELECT agent_id, events FROM agent_kpi.unregistered_agents"),
        ["newcomer|41"]
    );
    let before = Rollups::of(&db);
    db.exec("SELECT agent_metrics.register_agent('newcomer', 'ops', 'Somebody')");
    refresh(&db);
    assert_books(&db);
    assert!(
        crate::books::written_days(&before, &Rollups::of(&db))
            .iter()
            .all(|day| day.starts_with("newcomer "))
    );
    assert_eq!(
        db.number(
            "SELECT sum(conversations) FROM agent_kpi.agent_daily WHERE agent_id = 'newcomer'"
        ),
        41.0
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_kpi.unregistered_agents"),
        [""; 0]
    );
}

#[test]
fn refresh_rebuilds_an_agent_whose_kind_changes() {
    let db = shop("refresh_kind_changes");
    let before = Rollups::of(&db);
    // finest buckets of five minutes go; leads come
    db.exec("SELECT agent_metrics.register_agent('sup', 'sales', 'Head of Sales')");
    refresh(&db);
    assert_books(&db);
    assert!(
        crate::books::written_days(&before, &Rollups::of(&db))
            .iter()
            .all(|day| day.starts_with("sup "))
    );
    assert_eq!(
        db.number(
            "SELECT count(*) FROM agent_metrics.rollups WHERE agent_id = 'sup' AND level = 'fine'"
        ),
        0.0
    );
    db.exec("SELECT agent_metrics.register_agent('sup', 'support', 'Head of Support')");
    refresh(&db);
    assert_books(&db);
}

#[test]
fn refresh_counts_a_turn_that_is_delivered_twice_once() {
    let db = shop("refresh_duplicates");
    let before = Rollups::of(&db);
    let again = |end: &str| {
        format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id, conversation_id, latency_ms)
             SELECT agent_id, occurred_at, event_id, conversation_id, latency_ms FROM agent_metrics.agent_events
             WHERE conversation_id = 'sup-1-1' {end}"
        )
    };
    let error = db.error(&again(""));
    assert_eq!(error.sqlstate, "23505");
    assert!(error.detail.contains("sup"), "the key is named: {error}");
    db.exec(&again("ON CONFLICT DO NOTHING"));
    assert_only(&db, &before, &[]);
}

#[test]
fn refresh_leaves_eval_traffic_out() {
    let db = shop("refresh_eval");
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label, is_eval)
         SELECT 'sup', '2026-03-01 10:00:00+00'::timestamptz + n * interval '7 hours', 'eval' || n, 9999, 1, 'failure', true FROM generate_series(0, 20) AS n",
    );
    assert_only(&db, &before, &[]);
    // a conversation that turns out to be one of an evaluation leaves the books, and comes back
    db.exec(
        "UPDATE agent_metrics.agent_events SET is_eval = true WHERE conversation_id = 'sup-6-0'",
    );
    assert_only(&db, &before, &["sup 2026-03-07"]);
    assert_eq!(
        db.number(
            "SELECT count(*) FROM agent_metrics.conversations WHERE conversation_id = 'sup-6-0'"
        ),
        0.0
    );
    let before = Rollups::of(&db);
    db.exec(
        "UPDATE agent_metrics.agent_events SET is_eval = false WHERE conversation_id = 'sup-6-0'",
    );
    assert_only(&db, &before, &["sup 2026-03-07"]);
}

#[test]
fn refresh_rebuilds_days_and_hours_when_the_report_time_zone_changes() {
    let db = shop("refresh_time_zone");
    // Half hours, the other side of the date line, and a day of 25 hours.
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         SELECT a, '2026-11-01 00:07:00+00'::timestamptz + n * interval '20 minutes', a || 'dst' || n, n, 'success'
         FROM unnest(ARRAY['sup', 'ops']) AS a, generate_series(0, 120) AS n",
    );
    for zone in [
        "Asia/Kolkata",
        "Pacific/Kiritimati",
        "America/New_York",
        "UTC",
    ] {
        db.exec(&format!(
            "UPDATE agent_metrics.settings SET value = '{zone}' WHERE name = 'report_time_zone'"
        ));
        refresh(&db);
        assert_books(&db);
        let before = Rollups::of(&db);
        db.exec(
            "UPDATE agent_metrics.agent_events SET latency_ms = latency_ms + 1 WHERE conversation_id IN ('supdst0', 'opsdst70')",
        );
        refresh(&db);
        assert_books(&db);
        assert_eq!(
            crate::books::written_days(&before, &Rollups::of(&db)).len(),
            2,
            "in {zone}"
        );
    }
    // 'ops-0-0' began at 00:10 UTC: in India a day's bucket begins at half past an hour of UTC
    db.exec(
        "UPDATE agent_metrics.settings SET value = 'Asia/Kolkata' WHERE name = 'report_time_zone'",
    );
    refresh(&db);
    assert_eq!(
        db.lines(
            "SELECT DISTINCT extract(minute FROM bucket AT TIME ZONE 'UTC') FROM agent_metrics.rollups WHERE level IN ('hour', 'day')"
        ),
        ["30"]
    );
}

#[test]
fn refresh_and_rebuild_of_the_hour_that_the_clock_shows_twice() {
    let db = db("refresh_clock_back");
    db.exec(
        "UPDATE agent_metrics.settings SET value = 'Europe/Berlin' WHERE name = 'report_time_zone';
         SELECT agent_metrics.register_agent('a', 'support', 'O'), agent_metrics.register_agent('b', 'ops', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, cost_usd)
         SELECT a, '2025-10-25 20:30:00+00'::timestamptz + n * interval '20 minutes', a || n, 10, 1
         FROM unnest(ARRAY['a', 'b']) AS a, generate_series(0, 30) AS n
         UNION ALL
         SELECT a, '2026-03-28 20:30:00+00'::timestamptz + n * interval '20 minutes', a || '-' || n, 10, 1
         FROM unnest(ARRAY['a', 'b']) AS a, generate_series(0, 30) AS n",
    );
    refresh(&db);
    assert_books(&db);
    db.exec("UPDATE agent_metrics.agent_events SET cost_usd = 2, latency_ms = 20");
    refresh(&db);
    assert_books(&db);
    db.exec("SELECT agent_metrics.rebuild()");
    assert_books(&db);
}

#[test]
fn refresh_does_not_depend_on_the_settings_of_a_session() {
    let db = shop("refresh_settings");
    let plain = |session: &crate::harness::Session| {
        session.lines(
            "SELECT agent_id, level, extract(epoch FROM bucket)::bigint, turns, conversations, successes, leads, cost_usd, latency
             FROM agent_metrics.rollups ORDER BY 1, 2, 3",
        )
    };
    let expected = plain(&db);
    let odd = db.session();
    odd.exec(
        "CREATE SCHEMA odd;
         CREATE FUNCTION odd.date_trunc(text, timestamptz, text) RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';
         CREATE TABLE odd.agent_events (agent_id text);
         SET search_path = odd, agent_metrics, pg_catalog; SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY';
         SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -5; SET bytea_output = 'escape'; SET plan_cache_mode = force_generic_plan;
         SET enable_nestloop = off; SET enable_indexscan = off; SET work_mem = '64kB'; SET row_security = off",
    );
    // a comma for a point, where the system has such a locale
    let _ = odd.attempt("SET lc_numeric = 'de_DE.UTF-8'; SET lc_monetary = 'de_DE.UTF-8'");
    for isolation in ["serializable", "repeatable read", "read uncommitted"] {
        odd.exec(&format!(
            "SET default_transaction_isolation = '{isolation}'"
        ));
        odd.exec(
            "UPDATE agent_metrics.agent_events SET cost_usd = cost_usd + 0.001 WHERE conversation_id LIKE '%-8-1'",
        );
        odd.exec("SELECT agent_metrics.refresh()");
        assert_books(&db);
    }
    odd.exec("UPDATE agent_metrics.agent_watermarks SET snapshot = NULL");
    odd.exec("SELECT agent_metrics.refresh()");
    odd.exec(
        "UPDATE agent_metrics.agent_events SET latency_ms = 77 WHERE conversation_id LIKE '%-9-1'",
    );
    odd.exec("SELECT agent_metrics.refresh()");
    let days = |session: &crate::harness::Session| {
        session.lines("SELECT agent_id, to_char(day, 'YYYY-MM-DD'), metric, numerator FROM agent_kpi.kpi_daily WHERE denominator > 0 ORDER BY 1, 2, 3")
    };
    assert_eq!(days(&odd), days(&db));
    odd.exec("SELECT agent_metrics.ensure_partitions(6); SELECT agent_metrics.setup()");
    assert_eq!(odd.lines("SELECT * FROM agent_metrics.verify()"), [""; 0]);
    assert_books(&db);
    assert_ne!(plain(&db), expected, "the update counts");
    assert_eq!(db.number("SELECT count(*) FROM agent_metrics.rollups WHERE bucket <> date_trunc('hour', bucket) AND level <> 'fine'"), 0.0);
}

#[test]
fn refresh_of_nothing_writes_nothing() {
    let db = shop("refresh_nothing");
    let before = Rollups::of(&db);
    assert_eq!(
        db.lines("SELECT agent_id, events_changed, conversations_changed, buckets_written FROM agent_metrics.refresh() ORDER BY 1"),
        ["ops|0|0|0", "sal|0|0|0", "sup|0|0|0"]
    );
    assert_only(&db, &before, &[]);
    // one agent's change is another agent's nothing
    db.exec(
        "DELETE FROM agent_metrics.agent_events WHERE conversation_id IN ('sup-0-0', 'ops-0-0')",
    );
    assert_eq!(db.lines("SELECT agent_id, events_changed, conversations_changed FROM agent_metrics.refresh('sup')"), ["sup|3|1"]);
    assert_eq!(
        crate::books::written_days(&before, &Rollups::of(&db)),
        ["sup 2026-03-01"]
    );
    // verify() is silent about what waits, and the oracle is not
    assert_eq!(db.lines("SELECT * FROM agent_metrics.verify()"), [""; 0]);
    assert!(!oracle_differences(&db).is_empty());
    refresh(&db);
    assert_books(&db);
}

#[test]
fn verify_finds_a_planted_wrong_value_in_every_place() {
    let db = shop("verify_planted");
    let plants = [
        (
            "UPDATE agent_metrics.rollups SET turns = turns + 1 WHERE agent_id = 'sup' AND level = 'day' AND bucket = '2026-03-04'",
            "sup|day|turns",
        ),
        (
            "UPDATE agent_metrics.rollups SET successes = successes + 1 WHERE agent_id = 'sup' AND level = 'hour' AND bucket = '2026-03-04 03:00:00+00'",
            "sup|hour|successes",
        ),
        (
            "UPDATE agent_metrics.rollups SET cost_usd = cost_usd + 0.0000000001 WHERE agent_id = 'sup' AND level = 'fine' AND bucket = '2026-03-04 00:10:00+00'",
            "sup|fine|cost_usd",
        ),
        (
            "UPDATE agent_metrics.rollups SET latency = latency OPERATOR(agent_metrics.+) '1 [5, 5] 5' WHERE agent_id = 'ops' AND level = 'day' AND bucket = '2026-03-04'",
            "ops|day|latency",
        ),
        (
            "UPDATE agent_metrics.rollups SET latency = NULL WHERE agent_id = 'ops' AND level = 'day' AND bucket = '2026-03-04'",
            "ops|day|latency",
        ),
        (
            "UPDATE agent_metrics.rollups SET leads = leads - 1 WHERE agent_id = 'sal' AND level = 'day' AND bucket = '2026-03-01'",
            "sal|day|leads",
        ),
        (
            "UPDATE agent_metrics.rollups SET tokens_by_turns = 0 WHERE agent_id = 'sal' AND level = 'day' AND bucket = '2026-03-01'",
            "sal|day|tokens_by_turns",
        ),
        (
            "DELETE FROM agent_metrics.conversations WHERE conversation_id = 'sal-3-3'",
            "sal|conversation|sal-3-3",
        ),
        (
            "UPDATE agent_metrics.conversations SET is_success = NOT is_success WHERE conversation_id = 'sal-3-3'",
            "sal|conversation|sal-3-3",
        ),
    ];
    for (sql, expected) in plants {
        db.exec("BEGIN");
        db.exec(sql);
        let found = db.lines("SELECT agent_id, level, measure FROM agent_metrics.verify()");
        assert!(found.contains(&expected.to_owned()), "{sql} gave {found:?}");
        let agent = expected.split('|').next().unwrap();
        assert!(
            !db.lines(&format!("SELECT * FROM agent_metrics.verify('{agent}')"))
                .is_empty()
        );
        db.exec("ROLLBACK");
    }
    // a row that should not be there, and one that is not there and should
    db.exec("BEGIN");
    db.exec(
        "INSERT INTO agent_metrics.rollups (agent_id, level, bucket, turns) VALUES ('ops', 'day', '2026-07-01', 3);
         DELETE FROM agent_metrics.rollups WHERE agent_id = 'ops' AND level = 'hour' AND bucket = '2026-03-04 03:00:00+00';
         CREATE TEMP TABLE ghost AS SELECT * FROM agent_metrics.conversations WHERE conversation_id = 'ops-1-1';
         UPDATE ghost SET conversation_id = 'ghost';
         INSERT INTO agent_metrics.conversations SELECT * FROM ghost",
    );
    let found = db.lines("SELECT DISTINCT level, measure, stored IS NULL, recomputed IS NULL FROM agent_metrics.verify()");
    for expected in ["day|turns|f|t", "hour|turns|t|f", "conversation|ghost|f|t"] {
        assert!(
            found.contains(&expected.to_owned()),
            "{expected} is not in {found:?}"
        );
    }
    // limits of time: whole report days that the span touches
    assert_eq!(
        db.lines("SELECT DISTINCT bucket AT TIME ZONE 'UTC' FROM agent_metrics.verify('ops', '2026-06-30 12:00:00+00', '2026-07-01 12:00:00+00')"),
        ["2026-07-01 00:00:00"]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.verify('ops', '2026-07-02', NULL)"),
        [""; 0]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.verify('sup')"),
        [""; 0]
    );
    db.exec("ROLLBACK");
    assert_books(&db);
}

#[test]
fn the_oracle_itself_finds_what_is_wrong() {
    let db = shop("oracle_planted");
    for sql in [
        "UPDATE agent_metrics.rollups SET deflections = deflections + 1 WHERE agent_id = 'sup' AND level = 'day' AND bucket = '2026-03-04'",
        "DELETE FROM agent_metrics.rollups WHERE agent_id = 'ops' AND level = 'hour' AND bucket = '2026-03-04 03:00:00+00'",
        "UPDATE agent_metrics.rollups SET latency = latency OPERATOR(agent_metrics.+) latency WHERE agent_id = 'ops' AND level = 'day' AND bucket = '2026-03-04'",
        "UPDATE agent_metrics.conversations SET lead_id = 'x' WHERE conversation_id = 'sal-3-3'",
    ] {
        db.exec("BEGIN");
        db.exec(sql);
        assert_eq!(oracle_differences(&db).len(), 1, "{sql}");
        db.exec("ROLLBACK");
    }
    assert_oracle(&db);
}
