//! The numbers of the page, read from schema `agent_kpi` and nowhere else.
//!
//! A value is kept twice: as a number to draw with, and as the text that PostgreSQL prints, so that what is shown can
//! be compared with the view to the last digit.

use anyhow::Result;
use chrono::NaiveDate;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use crate::program::text::moment_of;

/// One core metric of one AI agent over the last thirty report days.
#[derive(Debug, Clone)]
pub struct Tile {
    /// Agent.
    pub agent_id: String,
    /// Name shown to people.
    pub display_name: String,
    /// Kind of the agent.
    pub agent_kind: String,
    /// Metric.
    pub metric: String,
    /// capability, economics, outcome or trust.
    pub metric_class: String,
    /// fraction, usd, ms, s, count or points.
    pub unit: String,
    /// The value; None: no data.
    pub value: Option<f64>,
    /// The value as PostgreSQL prints it.
    pub value_text: Option<String>,
    /// Lower end of the 95% interval.
    pub ci_low: Option<f64>,
    /// Upper end of the 95% interval.
    pub ci_high: Option<f64>,
    /// The threshold that it is held to.
    pub threshold: Option<f64>,
    /// `+`: higher is better, `-`: lower is better.
    pub direction: String,
    /// pass, breach, inconclusive or no_data.
    pub verdict: String,
    /// Who answers for the threshold.
    pub owner: Option<String>,
    /// The value of the thirty days before.
    pub previous: Option<f64>,
    /// A figure from outside.
    pub benchmark: Option<f64>,
    /// Whether somebody checked that figure against its source.
    pub is_benchmark_verified: Option<bool>,
    /// When the agent was last refreshed.
    pub refreshed_at: Option<String>,
    /// What is counted.
    pub numerator: Option<String>,
    /// What it is counted against.
    pub denominator: Option<String>,
    /// Conversations without an outcome, which are in no rate.
    pub pending: Option<i64>,
    /// The definition in words.
    pub definition: Option<String>,
    /// How many more observations would settle an inconclusive verdict.
    pub needed: Option<i64>,
    /// The last thirty days.
    pub spark: Vec<SparkDay>,
}

/// One day of a spark.
#[derive(Debug, Clone, PartialEq)]
pub struct SparkDay {
    /// Report day.
    pub day: NaiveDate,
    /// Value of the day; None: it has none.
    pub value: Option<f64>,
    /// The threshold that held that day.
    pub threshold: Option<f64>,
}

/// How fresh an agent's numbers are.
#[derive(Debug, Clone)]
pub struct Freshness {
    /// Agent.
    pub agent_id: String,
    /// Cadence, with its time zone.
    pub cadence: String,
    /// When it was last refreshed.
    pub refreshed_at: Option<String>,
    /// Seconds since.
    pub lag_seconds: Option<f64>,
    /// Whether it should have been refreshed again by now.
    pub is_stale: bool,
}

/// One AI agent with its tiles.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Agent.
    pub agent_id: String,
    /// Name shown to people.
    pub display_name: String,
    /// Kind of the agent.
    pub agent_kind: String,
    /// How fresh its numbers are; None when the view has no row of it.
    pub freshness: Option<Freshness>,
    /// Its core metrics, in the order a person wants to read them.
    pub tiles: Vec<Tile>,
}

/// A conversation that counts against a metric.
#[derive(Debug, Clone)]
pub struct Failing {
    /// Conversation.
    pub conversation_id: String,
    /// Its first turn.
    pub started_at: Option<String>,
    /// Its outcome.
    pub outcome_label: Option<String>,
    /// Why it counts against the metric.
    pub reason: Option<String>,
    /// Its known cost in US dollars.
    pub cost_usd: Option<f64>,
    /// Its turns.
    pub turns: i64,
}

/// Every agent, in a transaction of its own, for a terminal.
pub async fn look(client: &mut Client) -> Result<Vec<Agent>> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let agents = agents(&transaction).await?;
    transaction.commit().await?;
    Ok(agents)
}

/// Every AI agent with its tiles and sparks. Give it a REPEATABLE READ transaction: all of one moment.
pub async fn agents(transaction: &Transaction<'_>) -> Result<Vec<Agent>> {
    let mut agents: Vec<Agent> = Vec::new();
    let tiles = transaction
        .query(
            &format!(
                "SELECT t.agent_id, t.display_name, t.agent_kind, t.metric, t.metric_class, t.unit, t.value_30d,
                        t.value_30d::text, t.ci_low, t.ci_high, t.threshold, t.direction, t.verdict, t.owner,
                        t.previous_30d, t.benchmark, {}, t.numerator::text, t.denominator::text, t.pending,
                        t.definition, t.needed, t.is_benchmark_verified
                 FROM agent_kpi.cfo_tiles t ORDER BY t.agent_id, t.position, t.metric",
                moment_of("t.refreshed_at")
            ),
            &[],
        )
        .await?;
    for row in &tiles {
        let tile = Tile::read(row)?;
        match agents
            .last_mut()
            .filter(|agent| agent.agent_id == tile.agent_id)
        {
            Some(agent) => agent.tiles.push(tile),
            None => agents.push(Agent {
                agent_id: tile.agent_id.clone(),
                display_name: tile.display_name.clone(),
                agent_kind: tile.agent_kind.clone(),
                freshness: None,
                tiles: vec![tile],
            }),
        }
    }
    let days = transaction
        .query(
            "SELECT s.agent_id, s.metric, s.day, s.value, s.threshold
             FROM agent_kpi.cfo_spark s ORDER BY s.agent_id, s.metric, s.day",
            &[],
        )
        .await?;
    for row in &days {
        let (agent_id, metric): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let day = SparkDay {
            day: row.try_get(2)?,
            value: row.try_get(3)?,
            threshold: row.try_get(4)?,
        };
        let tiles = agents
            .iter_mut()
            .filter(|agent| agent.agent_id == agent_id)
            .flat_map(|agent| &mut agent.tiles);
        if let Some(tile) = tiles.into_iter().find(|tile| tile.metric == metric) {
            tile.spark.push(day);
        }
    }
    let freshness = transaction
        .query(
            &format!(
                "SELECT f.agent_id, f.cadence, f.time_zone, {}, f.lag_seconds, f.is_stale FROM agent_kpi.freshness f",
                moment_of("f.refreshed_at")
            ),
            &[],
        )
        .await?;
    for row in &freshness {
        let (agent_id, cadence, zone): (String, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        if let Some(agent) = agents.iter_mut().find(|agent| agent.agent_id == agent_id) {
            agent.freshness = Some(Freshness {
                agent_id,
                cadence: format!("{cadence} {zone}"),
                refreshed_at: row.try_get(3)?,
                lag_seconds: row.try_get(4)?,
                is_stale: row.try_get(5)?,
            });
        }
    }
    Ok(agents)
}

/// The newest conversations that count against a metric of an agent.
pub async fn failing(
    transaction: &Transaction<'_>,
    agent_id: &str,
    metric: &str,
    limit: i64,
) -> Result<Vec<Failing>> {
    let rows = transaction
        .query(
            &format!(
                "SELECT f.conversation_id, {}, f.outcome_label, f.reason, f.cost_usd::double precision, f.turns
                 FROM agent_kpi.failing_conversations f WHERE f.agent_id = $1 AND f.metric = $2
                 ORDER BY f.started_at DESC, f.conversation_id LIMIT $3",
                moment_of("f.started_at")
            ),
            &[&agent_id, &metric, &limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Failing {
                conversation_id: row.try_get(0)?,
                started_at: row.try_get(1)?,
                outcome_label: row.try_get(2)?,
                reason: row.try_get(3)?,
                cost_usd: row.try_get(4)?,
                turns: row.try_get(5)?,
            })
        })
        .collect()
}

impl Tile {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            agent_id: row.try_get(0)?,
            display_name: row.try_get(1)?,
            agent_kind: row.try_get(2)?,
            metric: row.try_get(3)?,
            metric_class: row.try_get(4)?,
            unit: row.try_get(5)?,
            value: row.try_get(6)?,
            value_text: row.try_get(7)?,
            ci_low: row.try_get(8)?,
            ci_high: row.try_get(9)?,
            threshold: row.try_get(10)?,
            direction: row.try_get(11)?,
            verdict: row.try_get(12)?,
            owner: row.try_get(13)?,
            previous: row.try_get(14)?,
            benchmark: row.try_get(15)?,
            refreshed_at: row.try_get(16)?,
            numerator: row.try_get(17)?,
            denominator: row.try_get(18)?,
            pending: row.try_get(19)?,
            definition: row.try_get(20)?,
            needed: row.try_get(21)?,
            is_benchmark_verified: row.try_get(22)?,
            spark: Vec::new(),
        })
    }

    /// Whether a change from the thirty days before is one for the better; None when there is nothing to compare, or
    /// when the value of before lies within the interval of now, so that the change may be chance.
    pub fn has_improved(&self) -> Option<bool> {
        let (value, previous) = (self.value?, self.previous?);
        let is_chance = match (self.ci_low, self.ci_high) {
            (Some(low), Some(high)) => (low..=high).contains(&previous),
            _ => value == previous,
        };
        (!is_chance).then_some((value > previous) == (self.direction == "+"))
    }
}
