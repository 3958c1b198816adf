//! The work itself: which agents are due, and refreshing them.
//!
//! All that are due go in one call, which reads the facts once. When that call fails, each goes alone, so that one
//! bad agent blocks nobody. Runs that were missed while nothing ran are caught up once: an agent is due or it is
//! not; nothing queues. Every refresh is one transaction: what fails leaves no trace.
//!
//! Before a refresh the facts themselves are brought up: attached tables are followed, turns that came without a cost
//! are priced; after it, what late facts changed in closed months is written down. When one of these fails the numbers
//! are refreshed all the same, and it is tried again the next time.

use std::fmt;

use anyhow::{Result, bail};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};

use super::clock::SystemClock;
use super::{advice, notify};

/// What a refresh did for one agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Refreshed {
    /// Agent.
    pub agent_id: String,
    /// Turns and business events that changed since the last refresh.
    pub events_changed: i64,
    /// Conversations that were computed anew.
    pub conversations_changed: i64,
    /// Rollup rows that were written.
    pub buckets_written: i64,
    /// How long it took, in milliseconds.
    pub elapsed_ms: f64,
}

impl Refreshed {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            agent_id: row.try_get(0)?,
            events_changed: row.try_get(1)?,
            conversations_changed: row.try_get(2)?,
            buckets_written: row.try_get(3)?,
            elapsed_ms: row.try_get(4)?,
        })
    }
}

impl fmt::Display for Refreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} events, {} conversations, {} buckets in {:.0} ms",
            self.agent_id,
            self.events_changed,
            self.conversations_changed,
            self.buckets_written,
            self.elapsed_ms
        )
    }
}

/// What came of a round: who was refreshed, and who failed and why.
#[derive(Debug, Default)]
pub struct Round {
    /// Agents that are up to date.
    pub refreshed: Vec<Refreshed>,
    /// Agents whose refresh failed, with the server's words.
    pub failed: Vec<(String, String)>,
}

/// Agents that are due now, by the server's clock.
pub async fn due(client: &Client) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT d.agent_id FROM agent_metrics.due_agents() d ORDER BY d.due_at, d.agent_id",
            &[],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Every registered agent.
pub async fn all(client: &Client) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT f.agent_id FROM agent_kpi.freshness f ORDER BY 1",
            &[],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Seconds until the next agent is due, `held_back` ones left out; None when there is none.
pub async fn seconds_to_next(client: &Client, held_back: &[String]) -> Result<Option<f64>> {
    let row = client
        .query_one(
            "SELECT extract(epoch FROM min(d.due_at) - clock_timestamp())::double precision
             FROM agent_metrics.due_agents('infinity') d WHERE d.agent_id <> ALL ($1)",
            &[&held_back],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// Refreshes agents: together, and each alone when that fails. `wait`: wait for an agent that another session is
/// refreshing, rather than leave it to that session. An error is a lost session; anything else is in the round.
pub async fn refresh(client: &Client, agents: &[String], wait: bool) -> Result<Round> {
    let mut round = Round::default();
    if agents.is_empty() {
        return Ok(round);
    }
    forgive(follow_and_price(client).await, "facts were not brought up")?;
    match call(client, agents, wait).await {
        Ok(refreshed) => round.refreshed = refreshed,
        Err(error) if advice::is_lost(&error) => return Err(error),
        Err(error) if agents.len() == 1 => round.failed.push((agents.concat(), words(&error))),
        Err(error) => {
            tracing::warn!(
                "refreshing {} agents together failed, so each goes alone: {}",
                agents.len(),
                words(&error)
            );
            for agent in agents {
                match call(client, std::slice::from_ref(agent), wait).await {
                    Ok(refreshed) => round.refreshed.extend(refreshed),
                    Err(error) if advice::is_lost(&error) => return Err(error),
                    Err(error) => round.failed.push((agent.clone(), words(&error))),
                }
            }
        }
    }
    forgive(
        record_adjustments(client).await,
        "changes to closed months were not recorded",
    )?;
    Ok(round)
}

/// Makes the partitions of the months to come, and splits outer ones that hold many turns, step by step; sees once a
/// day to the planner's statistics of them all. Returns how many months were made.
pub async fn ensure_partitions(client: &Client) -> Result<i32> {
    loop {
        let step: Option<String> = client
            .query_one("SELECT agent_metrics.partition_step()", &[])
            .await?
            .try_get(0)?;
        match step {
            Some(step) => tracing::info!("partitions: {step}"),
            None => break,
        }
    }
    let made = client
        .query_one("SELECT agent_metrics.ensure_partitions()", &[])
        .await?
        .try_get(0)?;
    client
        .query_one("SELECT agent_metrics.analyze_turns()", &[])
        .await?;
    Ok(made)
}

/// Drift of new eval runs, Mondays without one, quarters without a decision: returns what somebody has to be told.
pub async fn audits(client: &Client) -> Result<Vec<String>> {
    let rows = client
        .query("SELECT a.summary FROM agent_metrics.run_audits() a", &[])
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Fails with one line when an agent is not registered.
pub async fn check_agent(client: &Client, agent_id: &str) -> Result<()> {
    let agents = all(client).await?;
    if agents.iter().any(|known| known == agent_id) {
        return Ok(());
    }
    if agents.is_empty() {
        bail!(
            "no agent \"{agent_id}\" is registered, nor any other; SELECT agent_metrics.register_agent('{agent_id}', kind, owner)"
        );
    }
    bail!(
        "no agent \"{agent_id}\" is registered; there are: {}",
        agents.join(", ")
    );
}

/// Whether somebody else holds a lock that was not worth waiting for.
pub fn is_busy(error: &anyhow::Error) -> bool {
    let code = error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code);
    code == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Judges the metrics by their thresholds, and returns what changed, a line each. What fails is logged and left to
/// the next round, for the numbers are right without it; an error is a lost session.
pub async fn evaluate(client: &Client) -> Result<Vec<String>> {
    let changes = client
        .query(
            "SELECT format('%s %s of %s: %s, threshold %s, owner %s', c.change, c.metric, c.agent_id, coalesce(c.value::text, 'no value'), c.threshold, c.owner)
             FROM agent_metrics.evaluate_thresholds() c",
            &[],
        )
        .await;
    let error = match changes {
        Ok(rows) => return rows.iter().map(|row| Ok(row.try_get(0)?)).collect(),
        Err(error) => anyhow::Error::from(error),
    };
    if advice::is_lost(&error) {
        return Err(error);
    }
    tracing::warn!("could not evaluate thresholds: {}", words(&error));
    Ok(Vec::new())
}

/// `once`: everything that is due, then audits and their alerts, then done. Fails when an agent failed.
pub async fn once(client: &Client) -> Result<Round> {
    match ensure_partitions(client).await {
        Err(error) if is_busy(&error) => {
            tracing::warn!(
                "the partitions of the next months are left for the next time: {}",
                words(&error)
            );
        }
        made => drop(made?),
    }
    let agents = due(client).await?;
    let round = refresh(client, &agents, true).await?;
    if !round.refreshed.is_empty() {
        for change in evaluate(client).await? {
            tracing::info!("breach {change}");
        }
    }
    for found in audits(client).await? {
        tracing::warn!("{found}");
    }
    notify::Outbox::from_environment()?
        .deliver(client, &SystemClock)
        .await?;
    Ok(round)
}

/// What goes with a refresh must not keep it from being done: an error is said, and only a lost session is one.
fn forgive(outcome: Result<()>, what: &str) -> Result<()> {
    match outcome {
        Err(error) if !advice::is_lost(&error) => {
            tracing::warn!("{what}: {}", words(&error));
            Ok(())
        }
        outcome => outcome,
    }
}

/// Follows the tables that are attached, and prices turns that came without a cost, batch by batch.
async fn follow_and_price(client: &Client) -> Result<()> {
    for row in client
        .query(
            "SELECT s.source, s.problem FROM agent_metrics.sync_business_events() s WHERE s.problem IS NOT NULL",
            &[],
        )
        .await?
    {
        let (source, problem): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        tracing::warn!("attached table {source} cannot be followed: {problem}");
    }
    loop {
        let priced: i64 = client
            .query_one("SELECT agent_metrics.price_events()", &[])
            .await?
            .try_get(0)?;
        if priced == 0 {
            return Ok(());
        }
    }
}

/// Writes down what late facts changed in closed months, once a day: labels that trickle in are one adjustment.
async fn record_adjustments(client: &Client) -> Result<()> {
    let recorded: i64 = client
        .query_one("SELECT agent_metrics.record_adjustments('1 day')", &[])
        .await?
        .try_get(0)?;
    if recorded > 0 {
        tracing::info!("{recorded} numbers of closed months were adjusted");
    }
    Ok(())
}

async fn call(client: &Client, agents: &[String], wait: bool) -> Result<Vec<Refreshed>> {
    let rows = client
        .query(
            "SELECT r.agent_id, r.events_changed, r.conversations_changed, r.buckets_written, r.elapsed_ms
             FROM agent_metrics.refresh_agents($1, $2) r ORDER BY r.agent_id",
            &[&agents, &wait],
        )
        .await?;
    rows.iter().map(Refreshed::read).collect()
}

fn words(error: &anyhow::Error) -> String {
    match error.downcast_ref::<tokio_postgres::Error>() {
        Some(error) => advice::words(error),
        None => format!("{error:#}"),
    }
}
