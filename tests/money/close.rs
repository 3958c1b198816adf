//! Closed books: what was reported stays; what came later is an adjustment, and the two add up to what is known now.

use crate::support::asserts::{assert_explained, assert_no_rows};
use crate::support::program::works;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Db, Session};

/// The shop of March 2026 with money, closed.
fn closed(name: &str) -> Db {
    let db = shop(name);
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, amount_usd)
         SELECT 'sale-' || d, 'charge', '2026-03-05', format('sal-%s-1', d), 100 + d FROM generate_series(0, 9) AS d;
         INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, amount_usd)
         VALUES ('by-turn', 'charge', '2026-03-05', 1000);
         UPDATE agent_metrics.agent_events
         SET business_event_id = 'by-turn' WHERE conversation_id = 'sup-3-2' AND turn_index = 0;
         INSERT INTO agent_metrics.billing_lines (provider, period_start, period_end, amount_usd)
         VALUES ('openai', '2026-03-01 00:00+00', '2026-03-02 00:00+00', 5);
         INSERT INTO agent_metrics.infrastructure_costs (agent_id, period_start, period_end, amount_usd, provider)
         VALUES ('sup', '2026-02-01 00:00+00', '2026-04-01 00:00+00', 590, 'cloud')",
    );
    refresh(&db);
    assert!(
        db.number(
            "SELECT agent_metrics.close_period('2026-03-20', 'Head of Finance', 'first close')"
        ) > 20.0
    );
    db
}

/// Panics unless as reported and the adjustments add up to what is known now, exactly, and nothing
/// reported has changed.
fn assert_agree(session: &Session) {
    let wrong = session.lines(
        "SELECT coalesce(r.month, k.month), coalesce(r.agent_id, k.agent_id), coalesce(r.metric, k.metric), r.value,
                a.value_change, k.value
         FROM agent_kpi.as_reported r
         FULL JOIN agent_kpi.as_now_known k USING (month, agent_id, metric)
         FULL JOIN (SELECT month, agent_id, metric, sum(value_change) AS value_change,
                           sum(numerator_change) AS numerator_change, sum(denominator_change) AS denominator_change
                    FROM agent_kpi.adjustments GROUP BY 1, 2, 3) a USING (month, agent_id, metric)
         WHERE coalesce(r.value, 0) + coalesce(a.value_change, 0) <> coalesce(k.value, 0)
            OR coalesce(r.numerator, 0) + coalesce(a.numerator_change, 0) <> coalesce(k.numerator, 0)
            OR coalesce(r.denominator, 0) + coalesce(a.denominator_change, 0) <> coalesce(k.denominator, 0)",
    );
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// What changed; the same money by the hour is left out.
const WHAT: &str = "SELECT agent_id, metric, trim_scale(round(value_before, 4)),
                           trim_scale(round(value_after, 4)), cause
                    FROM agent_kpi.adjustments
                    WHERE metric NOT LIKE '%per_agent_hour_usd'";

#[test]
fn late_facts_are_adjustments_with_date_and_cause() {
    let db = closed("close_late");
    assert_no_rows(&db, "SELECT * FROM agent_kpi.adjustments");
    assert_eq!(
        db.lines(
            "SELECT agent_id, metric, value FROM agent_kpi.as_reported
             WHERE metric IN ('billed_usd', 'infrastructure_usd', 'revenue_usd') ORDER BY 2, 1"
        ),
        [
            "|billed_usd|5.0000000000",
            "sup|infrastructure_usd|310.0000000000",
            "sal|revenue_usd|1045",
            "sup|revenue_usd|1000"
        ]
    );
    // what a month is worth is what its days are worth
    assert_eq!(
        db.lines(
            "SELECT r.metric, r.numerator = d.numerator,
                    r.denominator IS NOT DISTINCT FROM d.denominator
             FROM agent_kpi.as_reported r
             JOIN (SELECT agent_id, metric, sum(numerator) AS numerator,
                          sum(denominator) AS denominator
                   FROM agent_kpi.kpi_daily WHERE day BETWEEN '2026-03-01' AND '2026-03-31'
                   GROUP BY 1, 2) d USING (agent_id, metric)
             WHERE agent_id = 'sup'
               AND metric IN ('task_success_rate', 'cost_per_unit_usd', 'token_spend_usd')
             ORDER BY 1"
        ),
        [
            "cost_per_unit_usd|t|t",
            "task_success_rate|t|t",
            "token_spend_usd|t|t"
        ]
    );
    let reported = db.lines("SELECT * FROM agent_kpi.as_reported");

    // a refund, then a bill two months late; between them the program runs
    db.exec(
        "INSERT INTO agent_metrics.business_events (
             business_event_id, kind, occurred_at, conversation_id, amount_usd)
         VALUES ('back', 'refund', '2026-05-02', 'sal-4-1', 60)",
    );
    assert_eq!(
        db.lines(WHAT),
        ["sal|revenue_usd|1045|985|1 refund (-60 usd)"]
    );
    assert_eq!(
        db.lines("SELECT is_recorded FROM agent_kpi.adjustments WHERE metric = 'revenue_usd'"),
        ["f"]
    );
    assert_agree(&db);
    works(db.url(), &["refresh"]);
    assert_eq!(
        db.lines("SELECT is_recorded FROM agent_kpi.adjustments WHERE metric = 'revenue_usd'"),
        ["t"]
    );
    db.exec(
        "INSERT INTO agent_metrics.billing_lines (provider, period_start, period_end, amount_usd)
         VALUES ('anthropic', '2026-03-01 00:00+00', '2026-04-01 00:00+00', 31.5)",
    );
    assert_eq!(
        db.lines(&format!("{WHAT} AND NOT is_recorded")),
        ["|billed_usd|5|36.5|1 line of anthropic (31.5 usd)"]
    );
    assert_agree(&db);
    // the program writes one a day
    assert_eq!(
        db.number("SELECT agent_metrics_internal.record_adjustments('1 day')"),
        0.0
    );
    assert_eq!(
        db.number("SELECT agent_metrics_internal.record_adjustments()"),
        1.0
    );
    assert_eq!(
        db.number("SELECT agent_metrics_internal.record_adjustments()"),
        0.0
    );
    // labels, a turn, an amount that changes, events that go
    db.exec(
        "UPDATE agent_metrics.agent_events
         SET outcome_label = 'failure' WHERE conversation_id = 'ops-2-0' AND turn_index = 2;
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd)
         VALUES ('sup', '2026-03-31 23:00+00', 'late', 9, 2);
         UPDATE agent_metrics.business_events SET amount_usd = 90 WHERE business_event_id = 'back';
         DELETE FROM agent_metrics.business_events WHERE business_event_id = 'by-turn'",
    );
    works(db.url(), &["refresh"]);
    assert_rollups(&db);
    assert_agree(&db);
    assert_eq!(
        db.lines(
            "SELECT agent_id, value_change, cause
             FROM agent_kpi.adjustments WHERE metric = 'revenue_usd' ORDER BY adjusted_at, agent_id"
        ),
        [
            "sal|-60|1 refund (-60 usd)",
            "sal|-30|1 refund (-90 usd)",
            "sup|-1000|business events were removed, or conversations changed"
        ]
    );
    assert!(
        db.number(
            "SELECT count(*) FROM agent_kpi.adjustments
             WHERE agent_id = 'ops' AND metric = 'task_success_rate'"
        ) > 0.0
    );
    assert!(
        db.number(
            "SELECT count(*) FROM agent_kpi.adjustments
             WHERE agent_id = 'sup'
               AND metric IN ('token_spend_usd', 'latency_p50_ms', 'latency_p95_ms')"
        ) > 0.0
    );
    assert_eq!(db.lines("SELECT * FROM agent_kpi.as_reported"), reported);
    assert_eq!(
        db.lines(
            "SELECT reported_value, known_value, value_change, adjustments,
                    why LIKE '%: 1 refund (-60 usd); %: 1 refund (-90 usd)'
             FROM agent_kpi.reported_and_known WHERE agent_id = 'sal' AND metric = 'revenue_usd'"
        ),
        ["1045|955|-90|2|t"]
    );
    // an agent that is registered later brings in what nobody reported
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('new', '2026-03-04 10:00+00', 'n', 9);
         SELECT agent_metrics.register_agent('new', 'ops', 'O')",
    );
    works(db.url(), &["refresh"]);
    assert_eq!(
        db.lines(
            "SELECT value_after, cause
             FROM agent_kpi.adjustments WHERE agent_id = 'new' AND metric = 'latency_p95_ms'"
        ),
        ["9|nothing was reported of it"]
    );
    assert_agree(&db);
    db.exec("SELECT agent_metrics_internal.record_adjustments()");
    // what is of another month adjusts nothing
    db.exec(
        "INSERT INTO agent_metrics.billing_lines (provider, period_start, period_end, amount_usd)
         VALUES ('anthropic', '2026-04-01 00:00+00', '2026-05-01 00:00+00', 31.5)",
    );
    assert_no_rows(
        &db,
        "SELECT * FROM agent_kpi.adjustments WHERE NOT is_recorded",
    );
}

#[test]
fn what_was_reported_cannot_be_changed() {
    let db = closed("close_immutable");
    db.exec("UPDATE agent_metrics.agent_events SET cost_usd = 1 WHERE conversation_id = 'sup-0-0'");
    refresh(&db);
    assert!(db.number("SELECT agent_metrics_internal.record_adjustments()") > 0.0);
    let state = "SELECT md5(string_agg(x, '|' ORDER BY x))
                 FROM (SELECT t::text FROM agent_metrics_internal.closed_periods t
                       UNION ALL SELECT t::text FROM agent_metrics_internal.reported_values t
                       UNION ALL SELECT t::text
                                 FROM agent_metrics_internal.adjustments t) AS s (x)";
    let before = db.value(state);
    for sql in [
        "UPDATE agent_metrics_internal.reported_values SET value = 0",
        "DELETE FROM agent_metrics_internal.reported_values",
        "TRUNCATE agent_metrics_internal.reported_values",
        "UPDATE agent_metrics_internal.adjustments SET cause = 'none'",
        "DELETE FROM agent_metrics_internal.adjustments",
        "TRUNCATE agent_metrics_internal.adjustments",
        "UPDATE agent_metrics_internal.closed_periods SET closed_by = 'nobody'",
        "DELETE FROM agent_metrics_internal.closed_periods",
        "TRUNCATE agent_metrics_internal.closed_periods",
    ] {
        assert_explained(&db, sql, "55000", "");
    }
    assert_eq!(db.value(state), before);
}

#[test]
fn a_month_is_closed_once_and_after_it_ended() {
    let db = closed("close_refused");
    let before = db.lines("SELECT * FROM agent_metrics_internal.closed_periods");
    for (arguments, sqlstate, words) in [
        ("'2026-03-01', 'Head of Finance'", "23505", "closed already"),
        ("now()::date, 'Head of Finance'", "55000", "has not ended"),
        ("'2030-01-01', 'Head of Finance'", "55000", "has not ended"),
        ("'2026-02-01', ' '", "22023", "nobody who closes it"),
        ("'2026-02-01', NULL", "22023", "nobody who closes it"),
        ("NULL, 'Head of Finance'", "22023", "no month"),
        ("'infinity', 'Head of Finance'", "22023", "no month"),
    ] {
        assert_explained(
            &db,
            &format!("SELECT agent_metrics.close_period({arguments})"),
            sqlstate,
            words,
        );
    }
    db.exec("SELECT agent_metrics.register_agent('new', 'ops', 'O')");
    let error = db.error("SELECT agent_metrics.close_period('2026-02-01', 'Head of Finance')");
    assert!(
        error.message.contains("agent new was not refreshed"),
        "{error}"
    );
    assert_eq!(error.sqlstate, "55000");
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics_internal.closed_periods"),
        before
    );
    refresh(&db);
    assert_eq!(
        db.number("SELECT agent_metrics.close_period('2026-02-01', 'Head of Finance')"),
        1.0,
        "infrastructure alone"
    );
    assert_eq!(
        db.lines("SELECT month, closed_by, numbers > 20, adjustments FROM agent_kpi.closed_periods ORDER BY 1"),
        ["2026-02-01|Head of Finance|f|0", "2026-03-01|Head of Finance|t|0"]
    );
    // months are the report zone's
    db.exec("UPDATE agent_metrics.settings SET value = 'Pacific/Auckland' WHERE name = 'report_time_zone'");
    works(db.url(), &["refresh"]);
    assert_agree(&db);
}
