//! The work itself: which agents are due, refreshing them, and what goes with it.
//!
//! Agents that are due go in one call, which reads the facts once. One that has to be built from nothing, or that
//! failed before, goes alone; when the call fails, all do, so that one bad agent blocks nobody. Runs that were missed
//! while nothing ran are caught up once: an agent is due or it is not; nothing queues. Every refresh is one
//! transaction: what fails leaves no trace.
//!
//! Before a refresh the facts themselves are brought up: attached tables are followed, turns that came without a cost
//! are priced. After it comes what follows from new numbers: what late facts changed in closed months is written down,
//! thresholds are judged. `run`, `once`, `refresh` and `rebuild` do both ([`around`]), so that it does not matter who
//! asked. When one of these fails the numbers are refreshed all the same, and it is tried again the next time.
//!
//! Nothing waits for long for a lock that somebody holds: each call has its [`Limits`], and what failed is a row of
//! `agent_metrics_internal.job_problems`.

use std::fmt;

use std::time::Duration;

use anyhow::{Result, bail};
use tokio_postgres::{Client, Row};

use crate::program::connect::timeouts::{Limits, limited};
use crate::program::scheduler::{around, clock::SystemClock, problems::Problems};
use crate::program::{alerts, error, text};

/// What goes with a refresh: no lock is worth waiting for, and no table takes this long.
pub const CHORE: Limits = Limits::new(Duration::from_secs(2), Duration::from_secs(10 * 60));
/// Agents together.
const TOGETHER: Limits = Limits::new(Duration::from_secs(5), Duration::from_secs(5 * 60));
/// The same where a person or cron asked for it, and another refresh is worth waiting for.
const TOGETHER_PATIENT: Limits = Limits::new(Duration::from_secs(15), Duration::from_secs(60 * 60));
/// An agent that goes alone: it may have to be built from years of turns.
const ALONE: Limits = Limits::new(Duration::from_secs(1), Duration::from_secs(60 * 60));
/// After so many agents in a row that waited for a lock, the rest is left for the next time.
const LOCKED: usize = 8;

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
    /// Agents that were not tried, since one after the other waited for a lock.
    pub left: Vec<String>,
}

/// Agents by name, and those that cannot be named to this program: bytes that are no UTF-8, which a SQL_ASCII database
/// takes.
#[derive(Debug, Default)]
pub struct Named {
    /// Their names.
    pub agents: Vec<String>,
    /// The others, as they can be shown.
    pub unreadable: Vec<String>,
}

impl Named {
    /// Reads rows of one column, the name as bytes.
    fn read(rows: &[Row]) -> Result<Self> {
        let mut named = Self::default();
        for row in rows {
            match String::from_utf8(row.try_get(0)?) {
                Ok(agent) => named.agents.push(agent),
                Err(error) => named.unreadable.push(text::bytes(error.as_bytes())),
            }
        }
        Ok(named)
    }
}

/// What is said of an agent whose name is no UTF-8.
pub const UNREADABLE: &str = "its name is no UTF-8, so this program cannot name it; \
                              SELECT agent_metrics.refresh() in psql does, \
                              and turns under another agent_id mend it";

/// Agents that are due now, by the server's clock.
pub async fn due(client: &Client) -> Result<Named> {
    let rows = client
        .query(
            "SELECT convert_to(d.agent_id, 'SQL_ASCII')
             FROM agent_metrics.due_agents() d ORDER BY d.due_at, d.agent_id",
            &[],
        )
        .await?;
    Named::read(&rows)
}

/// Every registered agent that can be named.
pub async fn all(client: &Client) -> Result<Vec<String>> {
    Ok(everybody(client).await?.agents)
}

/// Every registered agent.
pub async fn everybody(client: &Client) -> Result<Named> {
    let rows = client
        .query(
            "SELECT convert_to(f.agent_id, 'SQL_ASCII') FROM agent_kpi.freshness f ORDER BY f.agent_id",
            &[],
        )
        .await?;
    Named::read(&rows)
}

/// Seconds until the next agent is due, `held_back` ones left out; None when there is none.
pub async fn seconds_to_next(client: &Client, held_back: &[String]) -> Result<Option<f64>> {
    let row = client
        .query_one(
            "SELECT extract(epoch FROM min(d.due_at) - clock_timestamp())::double precision
             FROM agent_metrics.due_agents('infinity') d WHERE isfinite(d.due_at) AND d.agent_id <> ALL ($1)",
            &[&held_back],
        )
        .await?;
    Ok(row.try_get(0)?)
}

/// What to say when nothing is due: who is next, and when.
pub async fn idle(client: &Client) -> Result<String> {
    let next = client
        .query_opt(
            "SELECT convert_to(format('%s at %s', d.agent_id,
                        to_char(d.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"')), 'SQL_ASCII')
             FROM agent_metrics.due_agents('infinity') d WHERE isfinite(d.due_at)
             ORDER BY d.due_at, d.agent_id LIMIT 1",
            &[],
        )
        .await?;
    Ok(match next {
        Some(row) => format!(
            "nothing is due; next: {}; agent-metrics refresh does not wait for it",
            text::shown(&text::bytes(row.try_get(0)?))
        ),
        None => "no agent is registered, so nothing is due; \
                 SELECT agent_metrics.register_agent(agent_id, kind, owner) registers one"
            .to_owned(),
    })
}

/// Refreshes agents, with all that goes with it. `wait`: wait for an agent that another session is refreshing, rather
/// than leave it to that session. An error is a lost session; anything else is in the round and in `problems`.
pub async fn refresh_with(
    client: &Client,
    agents: &[String],
    wait: bool,
    problems: &mut Problems,
) -> Result<Round> {
    if agents.is_empty() {
        return Ok(Round::default());
    }
    around::bring_up(client, problems).await?;
    let round = refresh_agents(client, agents, &[], wait).await?;
    if !round.refreshed.is_empty() {
        around::settle(client, problems).await?;
    }
    note(&round, problems);
    Ok(round)
}

/// The same, by itself.
pub async fn refresh(client: &Client, agents: &[String], wait: bool) -> Result<Round> {
    let mut problems = Problems::default();
    let round = refresh_with(client, agents, wait, &mut problems).await?;
    problems.record(client).await?;
    Ok(round)
}

/// Notes of each agent of a round whether it works.
pub fn note(round: &Round, problems: &mut Problems) {
    for refreshed in &round.refreshed {
        problems.note("refresh", &refreshed.agent_id, None);
    }
    for (agent, words) in &round.failed {
        problems.note("refresh", agent, Some(words.clone()));
    }
}

/// Refreshes agents: together, and each alone when that fails; `suspects`, which failed before, alone from the start.
pub async fn refresh_agents(
    client: &Client,
    agents: &[String],
    suspects: &[String],
    wait: bool,
) -> Result<Round> {
    let mut round = Round::default();
    let new = to_build(client, agents).await?;
    let (mut alone, together): (Vec<&String>, Vec<&String>) =
        agents.iter().partition(|agent| new.contains(agent));
    if !together.is_empty() {
        let limits = if wait { TOGETHER_PATIENT } else { TOGETHER };
        match call(client, &together, wait, limits).await {
            Ok(refreshed) => round.refreshed = refreshed,
            Err(error) if error::is_lost(&error) => return Err(error),
            Err(error) if together.len() == 1 && !error::is_locked(&error) => {
                round.failed.push((together[0].clone(), error::of(&error)));
            }
            Err(error) => {
                if together.len() > 1 {
                    tracing::warn!(
                        "refreshing {} agents together failed, so each goes alone: {}",
                        together.len(),
                        error::of(&error)
                    );
                }
                alone = together.into_iter().chain(alone).collect();
            }
        }
    }
    let mut locked = 0;
    for agent in alone.into_iter().chain(suspects) {
        if locked >= LOCKED {
            round.left.push(agent.clone());
            continue;
        }
        match call(client, &[agent], wait, ALONE).await {
            Ok(refreshed) => {
                locked = 0;
                round.refreshed.extend(refreshed);
            }
            Err(error) if error::is_lost(&error) => return Err(error),
            Err(error) => {
                locked = if error::is_locked(&error) {
                    locked + 1
                } else {
                    0
                };
                round.failed.push((agent.clone(), error::of(&error)));
            }
        }
    }
    Ok(round)
}

/// Which of the agents are built from nothing, which takes as long as their history is.
async fn to_build(client: &Client, agents: &[String]) -> Result<Vec<String>> {
    let rows = client
        .query(
            "SELECT u.agent_id FROM unnest($1::text[]) AS u (agent_id)
             WHERE NOT EXISTS (SELECT FROM agent_metrics_internal.agent_watermarks w
                               WHERE w.agent_id = u.agent_id AND w.snapshot IS NOT NULL
                                 AND w.origin = agent_metrics_internal.origin())",
            &[&agents],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Makes the partitions of the months to come, and splits outer ones that hold many turns, step by step; sees once a
/// day to the planner's statistics of them all. Returns how many months were made. What keeps an outer partition from
/// being split keeps no month from being made.
pub async fn ensure_partitions(client: &Client) -> Result<i32> {
    let split = match split_partitions(client).await {
        Err(error) if error::is_lost(&error) => return Err(error),
        split => split,
    };
    let made = limited(client, CHORE, async || {
        let row = client
            .query_one("SELECT agent_metrics.ensure_partitions()", &[])
            .await?;
        Ok(row.try_get(0)?)
    })
    .await?;
    limited(client, CHORE, async || {
        Ok(client
            .query_one("SELECT agent_metrics.analyze_turns()", &[])
            .await?)
    })
    .await?;
    split.map(|()| made)
}

/// Closes traces of which nothing came for days, until none is left.
pub async fn close_traces(client: &Client) -> Result<()> {
    const PORTION: i64 = 10_000;
    loop {
        let closed: i64 = limited(client, CHORE, async || {
            let row = client
                .query_one("SELECT agent_metrics.close_traces()", &[])
                .await?;
            Ok(row.try_get(0)?)
        })
        .await?;
        if closed < PORTION {
            return Ok(());
        }
    }
}

/// Splits outer partitions, until nothing is left to split.
async fn split_partitions(client: &Client) -> Result<()> {
    loop {
        let step = limited(client, CHORE, async || {
            let row = client
                .query_one("SELECT agent_metrics.partition_step()", &[])
                .await?;
            Ok(row.try_get::<_, Option<String>>(0)?)
        });
        match step.await? {
            Some(step) => tracing::info!("partitions: {step}"),
            None => return Ok(()),
        }
    }
}

/// What the audits found, in words.
pub struct Found {
    /// A question of the calendar's, such as keep or replace: nothing is wrong.
    is_question: bool,
    words: String,
}

impl Found {
    /// Writes it into the log.
    pub fn tell(&self) {
        if self.is_question {
            tracing::info!("{}", self.words);
        } else {
            tracing::warn!("{}", self.words);
        }
    }
}

/// Drift of new eval runs, Mondays without one, quarters without a decision: returns what somebody has to be told.
pub async fn audits(client: &Client) -> Result<Vec<Found>> {
    limited(client, CHORE, async || {
        let rows = client
            .query(
                "SELECT a.kind LIKE 'decision%', convert_to(a.summary, 'SQL_ASCII') FROM agent_metrics.run_audits() a",
                &[],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Found {
                    is_question: row.try_get(0)?,
                    words: text::bytes(row.try_get(1)?),
                })
            })
            .collect()
    })
    .await
}

/// Fails with one line when an agent is not registered.
pub async fn check_agent(client: &Client, agent_id: &str) -> Result<()> {
    let agents = all(client).await?;
    if agents.iter().any(|known| known == agent_id) {
        return Ok(());
    }
    if agents.is_empty() {
        bail!(
            "no agent \"{agent_id}\" is registered, nor any other; \
             SELECT agent_metrics.register_agent('{agent_id}', kind, owner)"
        );
    }
    bail!(
        "no agent \"{agent_id}\" is registered; there are: {}",
        agents.join(", ")
    );
}

/// `once`: everything that is due, then audits and their alerts, then done. Fails when an agent failed.
pub async fn once(client: &Client) -> Result<Round> {
    let mut problems = Problems::default();
    // First, since whoever may not ask this may do nothing.
    let due = due(client).await?;
    let made = ensure_partitions(client).await;
    problems.take("partitions", "", made)?;
    let closed = close_traces(client).await;
    problems.take("traces", "", closed)?;
    let mut round = refresh_with(client, &due.agents, true, &mut problems).await?;
    let found = audits(client).await;
    for found in problems.take("audits", "", found)?.unwrap_or_default() {
        found.tell();
    }
    let delivered = alerts::Outbox::from_environment()?
        .deliver(client, &SystemClock)
        .await;
    problems.take("alerts", "", delivered)?;
    problems.record(client).await?;
    let unreadable = due.unreadable.into_iter();
    round
        .failed
        .extend(unreadable.map(|agent| (agent, UNREADABLE.to_owned())));
    Ok(round)
}

async fn call(
    client: &Client,
    agents: &[&String],
    wait: bool,
    limits: Limits,
) -> Result<Vec<Refreshed>> {
    limited(client, limits, async || {
        let rows = client
            .query(
                "SELECT r.agent_id, r.events_changed, r.conversations_changed, r.buckets_written, r.elapsed_ms
                 FROM agent_metrics_internal.refresh_agents($1, $2) r ORDER BY r.agent_id",
                &[&agents, &wait],
            )
            .await?;
        rows.iter().map(Refreshed::read).collect()
    })
    .await
}
