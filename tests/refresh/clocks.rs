//! The server's clock was wrong for a while, or what an agent is refreshed by has changed: neither keeps a refresh from
//! being due, and both are named.

use crate::support::asserts::{assert_no_rows, assert_sqlstate};
use crate::support::program::{program, two_agents, works};
use crate::support::rollups::refresh;
use crate::support::{Db, Session};

const DUE: &str = "SELECT agent_id FROM agent_metrics.due_agents() ORDER BY 1";
const STALE: &str = "SELECT agent_id FROM agent_kpi.freshness WHERE is_stale ORDER BY 1";

fn fresh(name: &str) -> Db {
    let db = two_agents(name);
    refresh(&db);
    assert_no_rows(&db, DUE);
    assert_no_rows(&db, STALE);
    db
}

/// Agents that are due and stale; nobody is after a refresh.
fn due_and_stale(session: &Session) -> Vec<String> {
    let due = session.lines(DUE);
    assert_eq!(session.lines(STALE), due);
    refresh(session);
    assert_no_rows(session, DUE);
    assert_no_rows(session, STALE);
    due
}

#[test]
fn a_refresh_that_lies_ahead_did_not_happen() {
    let db = fresh("clock_ahead");
    db.exec(
        "UPDATE agent_metrics_internal.agent_watermarks
         SET refreshed_at = now() + interval '1 year' WHERE agent_id = 'bot'",
    );
    assert_eq!(
        db.lines(
            "SELECT is_stale, lag_seconds, due_at <= now(), why LIKE 'its last refresh lies ahead%'
             FROM agent_kpi.freshness WHERE agent_id = 'bot'"
        ),
        ["t||t|t"]
    );
    let said = works(db.url(), &["status"]);
    assert!(
        said.contains("STALE: its last refresh lies ahead"),
        "{said}"
    );
    let (_, said, _) = program(db.url(), &["doctor"]);
    assert!(
        said.contains("agent bot is stale: its last refresh lies ahead"),
        "{said}"
    );
    assert_sqlstate(
        &db,
        "SELECT agent_metrics.close_period((now() - interval '40 days')::date, 'Head of Finance')",
        "55000",
    );
    let said = works(db.url(), &["once"]);
    assert!(said.contains("bot"), "{said}");
    assert_no_rows(&db, DUE);
    assert_no_rows(&db, STALE);
    db.exec(
        "SELECT agent_metrics.close_period((now() - interval '40 days')::date, 'Head of Finance')",
    );
}

#[test]
fn an_agent_registered_by_a_clock_ahead_is_due() {
    let db = two_agents("clock_registered");
    db.exec("UPDATE agent_metrics.agents SET registered_at = now() + interval '1 year'");
    assert_eq!(db.lines(DUE), ["bot", "seller"]);
}

#[test]
fn an_alert_that_was_put_off_by_a_clock_ahead_is_sent() {
    let db = fresh("clock_alert");
    db.exec(
        "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env, secret_env)
         VALUES ('ops', 'webhook', 'AGENT_METRICS_OPS_URL', 'AGENT_METRICS_WEBHOOK_SECRET');
         SELECT agent_metrics_internal.enqueue_alert('test', 'bot', 'one', '{\"summary\": \"x\"}', 'Head of Support');
         UPDATE agent_metrics_internal.alert_deliveries SET next_attempt_at = now() + interval '1 year'",
    );
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics_internal.claim_alerts()"),
        1.0
    );
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.claim_alerts()");
}

#[test]
fn what_an_agent_is_refreshed_by_makes_it_due_when_it_changes() {
    let db = fresh("clock_changed");
    db.exec(
        "UPDATE agent_metrics.settings SET value = 'Asia/Tokyo' WHERE name = 'report_time_zone'",
    );
    assert_eq!(due_and_stale(&db), ["bot", "seller"]);
    for change in [
        "UPDATE agent_metrics.agents SET cadence = '0 3 * * *' WHERE agent_id = 'bot'",
        "UPDATE agent_metrics.agents SET time_zone = 'Europe/Berlin' WHERE agent_id = 'bot'",
        "UPDATE agent_metrics.agent_kinds SET cadence = '30 * * * *' WHERE kind = 'sales'",
        "UPDATE agent_metrics.thresholds SET value = 0.5 WHERE agent_id = 'bot' AND metric = 'task_success_rate'",
        "DELETE FROM agent_metrics.thresholds WHERE agent_id = 'bot' AND metric = 'latency_p95_ms'",
        "UPDATE agent_metrics.agents SET kind = 'ops' WHERE agent_id = 'bot'",
    ] {
        db.exec(change);
        let whose = if change.contains("'sales'") {
            "seller"
        } else {
            "bot"
        };
        assert_eq!(due_and_stale(&db), [whose], "{change}");
    }
    // what is shown of an agent is no reason
    db.exec("UPDATE agent_metrics.agents SET display_name = 'Bot'");
    assert_no_rows(&db, DUE);
}

/// The clock leaps before the next refresh: what is hot is not taken for old.
#[test]
fn a_clock_that_leaps_archives_nothing() {
    let db = fresh("clock_archive");
    db.exec("UPDATE agent_metrics.settings SET value = '7' WHERE name = 'hot_days'");
    let (ready, at) = (
        "SELECT count(*) FROM agent_metrics.archivable_partitions()",
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('bot', date_trunc('month', now(), 'UTC') - interval '10 days', 'last month')",
    );
    db.exec(at);
    refresh(&db);
    // seen from there, now is a year ahead of all that has happened
    db.exec(
        "UPDATE agent_metrics_internal.agent_watermarks
         SET refreshed_at = date_trunc('month', now(), 'UTC') - interval '5 days'",
    );
    assert_eq!(db.number(ready), 0.0);
    db.exec(
        "UPDATE agent_metrics.settings SET value = '1' WHERE name = 'hot_days';
             UPDATE agent_metrics_internal.agent_watermarks SET refreshed_at = now()",
    );
    let is_over = "SELECT now() > date_trunc('month', now(), 'UTC') + interval '1 day'";
    assert_eq!(
        db.number(ready) > 0.0,
        db.value(is_over).as_deref() == Some("t")
    );
}
