//! Refresh when it is not the facts that change but what they mean: mappings, the rank of sources, kinds, agents that
//! are registered later, the report time zone. And what must make no difference: settings of a session, a turn that
//! comes twice, traffic of evaluations, no change at all.

use crate::support::asserts::{assert_no_rows, assert_sqlstate, assert_verified};
use crate::support::db;
use crate::support::rollups::{Rollups, assert_only, assert_rollups, oracle_differences, refresh};
use crate::support::shop::shop;

#[test]
fn refresh_sees_a_mapping_that_was_made_changed_or_taken_away() {
    let db = shop("refresh_mappings");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label)
         VALUES ('sup', '2026-04-01 10:00:00+00', 'typo', 'sucess'),
                ('sup', '2026-04-02 10:00:00+00', 'fine', 'success')",
    );
    refresh(&db);
    assert_rollups(&db);
    let unmapped = "SELECT agent_id, outcome_label, conversations FROM agent_kpi.unmapped_labels";
    assert_eq!(db.lines(unmapped), ["sup|sucess|1"]);
    let counts = "SELECT with_outcome, successes, pending
                  FROM agent_kpi.agent_daily WHERE agent_id = 'sup' AND day = '2026-04-01'";
    assert_eq!(db.lines(counts), ["0|0|1"]);

    let before = Rollups::of(&db);
    db.exec("INSERT INTO agent_metrics.outcomes (label, is_success, is_unit) VALUES ('sucess', true, true)");
    assert_only(&db, &before, &["sup 2026-04-01"]);
    assert_no_rows(&db, unmapped);
    assert_eq!(db.lines(counts), ["1|1|0"]);

    db.exec(
        "UPDATE agent_metrics.outcomes SET is_success = false WHERE label IN ('success', 'sucess')",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(db.lines(counts), ["1|0|0"]);
    let before = Rollups::of(&db);
    db.exec("DELETE FROM agent_metrics.outcomes WHERE label = 'sucess'");
    assert_only(&db, &before, &["sup 2026-04-01"]);
    assert_eq!(db.lines(counts), ["0|0|1"]);
    // a label that is renamed takes its meaning away from the old name and gives it to the new one
    db.exec("UPDATE agent_metrics.outcomes SET label = 'sucess', is_success = true WHERE label = 'success'");
    refresh(&db);
    assert_rollups(&db);
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
    assert_rollups(&db);
    let gap = "SELECT numerator FROM agent_metrics_internal.conversation_facts WHERE measure = 'self_report'";
    assert_eq!(db.number(gap), -100.0);
    db.exec("UPDATE agent_metrics.outcomes SET is_success = false WHERE label = 'resolved'");
    refresh(&db);
    assert_rollups(&db);
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
    assert_rollups(&db);
    // a kind of one's own, first seen unmapped
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id)
         VALUES ('own', 'case_closed', 'sup-4-2')",
    );
    refresh(&db);
    assert_rollups(&db);
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
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, turn_index, outcome_label, outcome_source)
         VALUES ('sup', '2026-04-01 10:00:00+00', 'c', 0, 'success', 'agent'),
                ('sup', '2026-04-01 10:00:00+00', 'c', 1, 'failure', 'agent')",
    );
    let outcome = "SELECT outcome_label, outcome_source FROM agent_metrics.conversations WHERE conversation_id = 'c'";
    let check = |sql: &str, expected: &str| {
        db.exec(sql);
        refresh(&db);
        assert_rollups(&db);
        assert_eq!(db.lines(outcome), [expected], "after: {sql}");
    };
    check("", "failure|agent");
    let says = |label: &str, source: &str, minute: u32| {
        format!(
            "INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, outcome_label, outcome_source)
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
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         SELECT 'newcomer', '2026-03-01 10:00:00+00'::timestamptz + n * interval '7 hours',
                'n' || n, 100 + n, 'success'
         FROM generate_series(0, 40) AS n",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines("SELECT agent_id, events FROM agent_kpi.unregistered_agents"),
        ["newcomer|41"]
    );
    let before = Rollups::of(&db);
    db.exec("SELECT agent_metrics.register_agent('newcomer', 'ops', 'Somebody')");
    refresh(&db);
    assert_rollups(&db);
    assert!(
        crate::support::rollups::written_days(&before, &Rollups::of(&db))
            .iter()
            .all(|day| day.starts_with("newcomer "))
    );
    assert_eq!(
        db.number(
            "SELECT sum(conversations) FROM agent_kpi.agent_daily WHERE agent_id = 'newcomer'"
        ),
        41.0
    );
    assert_no_rows(&db, "SELECT * FROM agent_kpi.unregistered_agents");
}

#[test]
fn refresh_rebuilds_an_agent_whose_kind_changes() {
    let db = shop("refresh_kind_changes");
    let before = Rollups::of(&db);
    // finest buckets of five minutes go; leads come
    db.exec("SELECT agent_metrics.register_agent('sup', 'sales', 'Head of Sales')");
    refresh(&db);
    assert_rollups(&db);
    assert!(
        crate::support::rollups::written_days(&before, &Rollups::of(&db))
            .iter()
            .all(|day| day.starts_with("sup "))
    );
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.rollups WHERE agent_id = 'sup' AND level = 'fine'",
    );
    db.exec("SELECT agent_metrics.register_agent('sup', 'support', 'Head of Support')");
    refresh(&db);
    assert_rollups(&db);
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
    let error = assert_sqlstate(&db, &again(""), "23505");
    assert!(error.detail.contains("sup"), "the key is named: {error}");
    db.exec(&again("ON CONFLICT DO NOTHING"));
    assert_only(&db, &before, &[]);
}

#[test]
fn refresh_leaves_eval_traffic_out() {
    let db = shop("refresh_eval");
    let before = Rollups::of(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label, is_eval)
         SELECT 'sup', '2026-03-01 10:00:00+00'::timestamptz + n * interval '7 hours', 'eval' || n,
                9999, 1, 'failure', true
         FROM generate_series(0, 20) AS n",
    );
    assert_only(&db, &before, &[]);
    // a conversation that turns out to be one of an evaluation leaves the rollups, and comes back
    db.exec(
        "UPDATE agent_metrics.agent_events SET is_eval = true WHERE conversation_id = 'sup-6-0'",
    );
    assert_only(&db, &before, &["sup 2026-03-07"]);
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.conversations WHERE conversation_id = 'sup-6-0'",
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
        assert_rollups(&db);
        let before = Rollups::of(&db);
        db.exec(
            "UPDATE agent_metrics.agent_events
             SET latency_ms = latency_ms + 1 WHERE conversation_id IN ('supdst0', 'opsdst70')",
        );
        refresh(&db);
        assert_rollups(&db);
        assert_eq!(
            crate::support::rollups::written_days(&before, &Rollups::of(&db)).len(),
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
            "SELECT DISTINCT extract(minute FROM bucket AT TIME ZONE 'UTC')
             FROM agent_metrics_internal.rollups WHERE level IN ('hour', 'day')"
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
    assert_rollups(&db);
    db.exec("UPDATE agent_metrics.agent_events SET cost_usd = 2, latency_ms = 20");
    refresh(&db);
    assert_rollups(&db);
    db.exec("SELECT agent_metrics.rebuild()");
    assert_rollups(&db);
}

#[test]
fn refresh_does_not_depend_on_the_settings_of_a_session() {
    let db = shop("refresh_settings");
    let plain = |session: &crate::support::Session| {
        session.lines(
            "SELECT agent_id, level, extract(epoch FROM bucket)::bigint, turns, conversations,
                    successes, leads, cost_usd, latency
             FROM agent_metrics_internal.rollups ORDER BY 1, 2, 3",
        )
    };
    let expected = plain(&db);
    let odd = db.session();
    odd.exec(
        "CREATE SCHEMA odd;
         CREATE FUNCTION odd.date_trunc(text, timestamptz, text) RETURNS timestamptz
         LANGUAGE sql AS 'SELECT NULL::timestamptz';
         CREATE TABLE odd.agent_events (agent_id text);
         SET search_path = odd, agent_metrics, pg_catalog; SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY';
         SET IntervalStyle = 'iso_8601'; SET extra_float_digits = -5; SET bytea_output = 'escape';
         SET plan_cache_mode = force_generic_plan;
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
        assert_rollups(&db);
    }
    odd.exec("UPDATE agent_metrics_internal.agent_watermarks SET snapshot = NULL");
    odd.exec("SELECT agent_metrics.refresh()");
    odd.exec(
        "UPDATE agent_metrics.agent_events SET latency_ms = 77 WHERE conversation_id LIKE '%-9-1'",
    );
    odd.exec("SELECT agent_metrics.refresh()");
    let days = |session: &crate::support::Session| {
        session.lines(
            "SELECT agent_id, to_char(day, 'YYYY-MM-DD'), metric, numerator
             FROM agent_kpi.kpi_daily WHERE denominator > 0 ORDER BY 1, 2, 3",
        )
    };
    assert_eq!(days(&odd), days(&db));
    odd.exec("SELECT agent_metrics.ensure_partitions(6); SELECT agent_metrics.setup()");
    assert_verified(&odd);
    assert_rollups(&db);
    assert_ne!(plain(&db), expected, "the update counts");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.rollups WHERE bucket <> date_trunc('hour', bucket) AND level <> 'fine'",
    );
}

#[test]
fn refresh_of_nothing_writes_nothing() {
    let db = shop("refresh_nothing");
    let before = Rollups::of(&db);
    assert_eq!(
        db.lines(
            "SELECT agent_id, events_changed, conversations_changed, buckets_written
             FROM agent_metrics.refresh() ORDER BY 1"
        ),
        ["ops|0|0|0", "sal|0|0|0", "sup|0|0|0"]
    );
    assert_only(&db, &before, &[]);
    // one agent's change is another agent's nothing
    db.exec(
        "DELETE FROM agent_metrics.agent_events WHERE conversation_id IN ('sup-0-0', 'ops-0-0')",
    );
    assert_eq!(
        db.lines(
            "SELECT agent_id, events_changed, conversations_changed
             FROM agent_metrics.refresh('sup')"
        ),
        ["sup|3|1"]
    );
    assert_eq!(
        crate::support::rollups::written_days(&before, &Rollups::of(&db)),
        ["sup 2026-03-01"]
    );
    // verify() is silent about what waits, and the oracle is not
    assert_verified(&db);
    assert!(!oracle_differences(&db).is_empty());
    refresh(&db);
    assert_rollups(&db);
}
