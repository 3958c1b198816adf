//! Twelve weeks of eval runs with a regression in the twelfth: found, alerted to an endpoint of the demo's own,
//! acknowledged; and the quarter's question, answered.

use crate::say;
use anyhow::{Context, Result};
use axum::Router;
use axum::routing::post;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::program::alerts::{Outbox, http::Post};
use crate::program::connect::Database;
use crate::program::scheduler::{clock::SystemClock, jobs};

/// A set of 240 tickets, and a run on each of the last twelve Mondays. Of the tickets numbered 1 to 20 the agent fails
/// all but two, another two each week; in the twelfth week it fails thirteen more.
const RUNS: &str = "
    INSERT INTO agent_metrics.eval_sets (eval_set, description)
    VALUES ('support-2', 'Tickets with the answer that the help centre gives.');
    INSERT INTO agent_metrics.eval_cases (eval_set, case_id, category, input, expected)
    SELECT 'support-2', format('ticket-%s', to_char(n, 'FM000')),
           (ARRAY['billing', 'delivery', 'login', 'returns'])[1 + n % 4], jsonb_build_object('ticket', n),
           jsonb_build_object('article', n % 37)
    FROM generate_series(1, 240) AS n;
    SELECT agent_metrics.freeze_eval_set('support-2');
    INSERT INTO agent_metrics.eval_plans (agent_id, eval_set) VALUES ('support-bot', 'support-2');
    SELECT agent_metrics.record_eval_run('support-bot', 'week-' || w, 'support-2', (
               SELECT jsonb_agg(jsonb_build_object('case_id', format('ticket-%s', to_char(n, 'FM000')),
                                                   'passed', CASE WHEN n <= 20 THEN (n + w) % 10 = 0
                                                                  ELSE w < 12 OR n % 16 <> 4 END,
                                                   'latency_ms', 700 + (n * 37 + w * 11) % 400,
                                                   'cost_usd', 0.008 + (n % 5) * 0.001))
               FROM generate_series(1, 240) AS n),
           run_at => (date_trunc('week', ($$NOW$$::timestamptz - interval '18 hours') AT TIME ZONE 'UTC')
                      - make_interval(weeks => 12 - w) + interval '18 hours') AT TIME ZONE 'UTC',
           agent_version => CASE WHEN w < 12 THEN '3.1' ELSE '3.2' END)
    FROM generate_series(1, 12) AS w;
    INSERT INTO agent_metrics.alert_channels (channel, kind, url_env, secret_env)
    VALUES ('demo', 'webhook', 'AGENT_METRICS_DEMO_URL', 'AGENT_METRICS_DEMO_KEY')";

/// Loads the runs, audits them, and delivers what was found to an endpoint that prints it.
pub async fn find(database: &Database, now: DateTime<Utc>) -> Result<()> {
    database
        .batch_execute(&RUNS.replace("$$NOW$$", &format!("'{}'", now.to_rfc3339())))
        .await?;
    jobs::audits(database).await?;
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .context("the demo cannot listen on this machine")?;
    let url = format!("http://{}/alerts", listener.local_addr()?);
    let (sender, mut arrived) = mpsc::unbounded_channel::<String>();
    let receive = async move |body: String| drop(sender.send(body));
    let endpoint = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/alerts", post(receive))).await
    });
    let place = url.clone();
    let outbox = Outbox::new(Post::new()?, move |name| match name {
        "AGENT_METRICS_DEMO_URL" => Some(place.clone()),
        "AGENT_METRICS_DEMO_KEY" => Some("demo".to_owned()),
        _ => None,
    });
    outbox.deliver(database, &SystemClock).await?;
    endpoint.abort();
    while let Ok(body) = arrived.try_recv() {
        let message: Value = serde_json::from_str(&body)?;
        for alert in message["alerts"].as_array().into_iter().flatten() {
            say!(
                "alerted at {url}: {}",
                alert["summary"].as_str().unwrap_or_default()
            );
            if let Some(broken) = alert["broken_cases"].as_array() {
                let cases: Vec<&str> = broken.iter().filter_map(Value::as_str).collect();
                say!("  broken: {}", cases.join(", "));
            }
        }
    }
    // Its endpoint ends with the demo.
    database
        .execute(
            "UPDATE agent_metrics.alert_channels SET is_active = false WHERE channel = 'demo'",
            &[],
        )
        .await?;
    Ok(())
}

/// The owner has seen it, and decides before he is asked: of agents that are new the quarter's question waits.
pub async fn answer(database: &Database) -> Result<()> {
    let acknowledged = database
        .query(
            "SELECT a.summary,
                    agent_metrics.acknowledge_alert(a.alert_id, a.owner, 'rolled back to 3.1')
             FROM agent_kpi.alerts a WHERE a.kind = 'drift'",
            &[],
        )
        .await?;
    say!(
        "{} drift alerts acknowledged by Head of Support",
        acknowledged.len()
    );
    database
        .execute(
            "SELECT agent_metrics.decide('support-bot', 'keep', 'Head of Support',
                                         'version 3.1 earns its cost')",
            &[],
        )
        .await?;
    for row in database
        .query(
            "SELECT format('keep or replace %s: %s', d.agent_id,
                           coalesce(d.decision || ', says ' || d.decided_by,
                                    'asked of ' || d.owner || ', due by ' || d.due_on))
             FROM agent_kpi.decisions d ORDER BY d.agent_id",
            &[],
        )
        .await?
    {
        say!("{}", row.try_get::<_, String>(0)?);
    }
    Ok(())
}
