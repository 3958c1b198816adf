//! What is per agent hour: revenue, hours and infrastructure, on cases small enough to be worked out by hand.

use crate::metrics::catalogue::{desk, on_the_day};
use crate::metrics::trace::assert_traced;
use crate::support::db;
use crate::support::rollups::{assert_rollups, refresh};

#[test]
fn revenue_and_hours_are_those_of_the_agent() {
    let db = desk("catalogue_revenue");
    // nine turns of a minute, an hour apart: nine minutes
    assert_eq!(
        on_the_day(&db, "revenue_per_agent_hour_usd"),
        "0|0.15|0.000000000||"
    );
    db.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, amount_usd)
         VALUES
             ('charge', 'charge', '2026-03-02 02:00:00+00', 'c1', 40),
             ('unknown', 'charge', '2026-03-02 02:00:00+00', 'c1', NULL),
             -- the refund comes forty days after the close, and counts on the day of the conversation
             ('refund', 'refund', '2026-04-11 02:00:00+00', 'c1', 10),
             ('signed', 'refund', '2026-04-11 02:00:00+00', 'c1', -1)",
    );
    assert_eq!(
        on_the_day(&db, "revenue_per_agent_hour_usd"),
        "29|0.15|193.333333333||"
    );
    db.exec("DELETE FROM agent_metrics.business_events WHERE kind = 'refund'");
    assert_eq!(
        on_the_day(&db, "revenue_per_agent_hour_usd"),
        "40|0.15|266.666666667||"
    );
}

#[test]
fn agent_hours_are_the_union_of_active_intervals() {
    let db = db("catalogue_hours");
    db.exec("SELECT agent_metrics.register_agent('bot', 'ops', 'O')");
    let turn = |at: &str, minutes: &str| {
        db.exec(&format!(
            "INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, latency_ms)
             VALUES ('bot', '{at}', '{at}', {minutes} * 60000.0)"
        ));
    };
    let minutes = || {
        refresh(&db);
        assert_rollups(&db);
        assert_traced(&db);
        db.lines(
            "SELECT bucket AT TIME ZONE z.value, round(active_seconds / 60, 3)::float
             FROM agent_metrics_internal.active_days, agent_metrics.settings z
             WHERE z.name = 'report_time_zone' AND active_seconds > 0 ORDER BY 1",
        )
    };
    turn("2026-03-02 10:00:00+00", "10");
    turn("2026-03-02 10:05:00+00", "3"); // within the first
    turn("2026-03-02 10:40:00+00", "NULL"); // 30 minutes after it: bridged
    assert_eq!(minutes(), ["2026-03-02 00:00:00|40"]);
    turn("2026-03-02 11:10:01+00", "1"); // more than 30: an interval of its own
    assert_eq!(minutes(), ["2026-03-02 00:00:00|41"]);
    // over midnight: cut there, in a turn and in a gap
    turn("2026-03-02 23:50:00+00", "30");
    assert_eq!(
        minutes(),
        ["2026-03-02 00:00:00|51", "2026-03-03 00:00:00|20"]
    );
    turn("2026-03-03 00:45:00+00", "1");
    assert_eq!(
        minutes(),
        ["2026-03-02 00:00:00|51", "2026-03-03 00:00:00|46"]
    );
    turn("2026-03-02 23:25:00+00", "1"); // bridged up to the one that crosses midnight
    assert_eq!(
        minutes(),
        ["2026-03-02 00:00:00|76", "2026-03-03 00:00:00|46"]
    );
    // what is deleted or shortened leaves no trace
    db.exec("DELETE FROM agent_metrics.agent_events WHERE occurred_at = '2026-03-02 23:50:00+00'");
    assert_eq!(
        minutes(),
        ["2026-03-02 00:00:00|42", "2026-03-03 00:00:00|1"]
    );
    db.exec("UPDATE agent_metrics.agent_events SET latency_ms = 120000 WHERE occurred_at = '2026-03-02 10:00:00+00'");
    assert_eq!(
        minutes(),
        ["2026-03-02 00:00:00|10", "2026-03-03 00:00:00|1"]
    );
    // a turn longer than a day counts as one
    turn("2026-03-10 12:00:00+00", "99999");
    assert_eq!(
        minutes()[2..],
        ["2026-03-10 00:00:00|720", "2026-03-11 00:00:00|720"]
    );
    // the day on which clocks go forward has 23 hours
    db.exec(
        "TRUNCATE agent_metrics.agent_events;
         UPDATE agent_metrics.settings SET value = 'Europe/Berlin' WHERE name = 'report_time_zone'",
    );
    for hour in 0..72 {
        turn(
            &format!("2026-03-{} {:02}:00:00+00", 28 + hour / 24, hour % 24),
            "60",
        );
    }
    assert_eq!(
        minutes(),
        [
            "2026-03-28 00:00:00|1380",
            "2026-03-29 00:00:00|1380",
            "2026-03-30 00:00:00|1440",
            "2026-03-31 00:00:00|120"
        ]
    );
}

#[test]
fn infrastructure_cost_goes_to_agents_by_time_and_by_hours() {
    let db = desk("catalogue_infrastructure");
    assert_eq!(
        on_the_day(&db, "infra_cost_per_agent_hour_usd"),
        "|0.15|||",
        "no bill: not known, which is not 0"
    );
    db.exec(
        "SELECT agent_metrics.register_agent('other', 'ops', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('other', '2026-03-04 00:00:00+00', 'o', 27 * 60000),
             ('team', '2026-03-04 00:00:00+00', 't', 1000000);
         INSERT INTO agent_metrics.infrastructure_costs (cost_id, agent_id, period_start, period_end, amount_usd) VALUES
             ('own', 'bot', '2026-03-01 00:00:00+00', '2026-03-05 00:00:00+00', 8),      -- 2 a day
             -- 9 of 36 minutes, all on this day; people bear nothing
             ('shared', NULL, '2026-03-01 00:00:00+00', '2026-04-01 00:00:00+00', 100)",
    );
    assert_eq!(
        on_the_day(&db, "infra_cost_per_agent_hour_usd"),
        "27|0.15|180.000000000||"
    );
    db.exec("UPDATE agent_metrics.infrastructure_costs SET amount_usd = -8 WHERE cost_id = 'own'");
    assert_eq!(
        on_the_day(&db, "infra_cost_per_agent_hour_usd"),
        "23|0.15|153.333333333||",
        "a credit"
    );
}
