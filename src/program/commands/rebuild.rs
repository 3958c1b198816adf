//! `rebuild`: the rollups of days or years, computed again from the facts, one agent and report day a transaction.
//!
//! Stopped between two days, the rollups are right: a day is rebuilt or it is as it was. Stopped within one, that
//! transaction leaves no trace. An agent that has to be built from nothing (another cluster, other settings) is built
//! by the first of its days in one transaction, since its rollups cannot be right before all of it is read.

use crate::say;
use anyhow::Result;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::program::connect::Database;
use crate::program::scheduler::{around, problems::Problems};
use crate::program::{shutdown::Stop, text};

/// One agent's report day.
struct Day {
    agent_id: String,
    begins: String,
    turns: u64,
}

/// What was asked for: NULL is no limit.
pub struct Span<'a> {
    /// First moment, as the server reads it.
    pub from: Option<&'a str>,
    /// Moment after the last.
    pub to: Option<&'a str>,
}

/// Rebuilds the agents' days one by one, until told to stop. Returns whether all was done.
pub async fn rebuild(
    database: &Database,
    agents: &[String],
    span: Span<'_>,
    mut stop: Stop,
) -> Result<bool> {
    let mut problems = Problems::default();
    around::bring_up(database, &mut problems).await?;
    let mut days = Vec::new();
    for agent in agents {
        let rows = database
            .query(
                "SELECT d.begins::text, d.turns FROM agent_metrics_internal.days_to_rebuild(
                     $1, $2::text::timestamptz, $3::text::timestamptz) d",
                &[agent, &span.from, &span.to],
            )
            .await?;
        for row in rows {
            days.push(read_day(agent, &row)?);
        }
    }
    let bar = text::bar("", days.iter().map(|day| day.turns).sum());
    let begun = std::time::Instant::now();
    let (mut done, mut turns) = (0_usize, 0_u64);
    for day in &days {
        bar.set_message(format!(
            "{} {}",
            text::shown(&day.agent_id),
            day.begins.get(..10).unwrap_or_default()
        ));
        let parameters: [&(dyn ToSql + Sync); 2] = [&day.agent_id, &day.begins];
        let call = database.execute(
            "SELECT agent_metrics.rebuild($1, $2::text::timestamptz, $2::text::timestamptz + interval '1 microsecond')",
            &parameters,
        );
        tokio::select! {
            outcome = call => drop(outcome?),
            () = stop.told() => {
                database.cancel().await;
                bar.finish_and_clear();
                say!(
                    "stopped after {done} of {} days; the rollups are right. \
                     Go on with: agent-metrics rebuild --agent {} --from '{}'",
                    days.len(), day.agent_id, day.begins
                );
                return Ok(false);
            }
        }
        done += 1;
        turns += day.turns;
        bar.inc(day.turns);
    }
    bar.finish_and_clear();
    around::settle(database, &mut problems).await?;
    problems.record(database).await?;
    let seconds = begun.elapsed().as_secs_f64();
    say!(
        "rebuilt {done} days of {} agents, {turns} turns, in {seconds:.1} s{}",
        agents.len(),
        if turns > 0 {
            format!(" ({:.0} turns a second)", turns as f64 / seconds.max(1e-9))
        } else {
            String::new()
        }
    );
    Ok(true)
}

fn read_day(agent: &str, row: &Row) -> Result<Day> {
    Ok(Day {
        agent_id: agent.to_owned(),
        begins: row.try_get(0)?,
        turns: u64::try_from(row.try_get::<_, i64>(1)?)?,
    })
}
