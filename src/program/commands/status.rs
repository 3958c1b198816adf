//! `status`: when each agent was last refreshed, when it is due, and who leads.

use crate::say;
use anyhow::Result;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::program::scheduler::lease;
use crate::program::text;

/// Freshness of one agent, as `agent_kpi.freshness` has it, in words.
struct Line {
    agent_id: String,
    cadence: String,
    refreshed: String,
    due: String,
    is_stale: bool,
    why: Option<String>,
}

/// Prints one line an agent and one for the scheduler.
pub async fn print(client: &Client) -> Result<()> {
    let rows = client
        .query(
            "SELECT convert_to(f.agent_id, 'SQL_ASCII'), f.cadence || ' ' || f.time_zone,
                    coalesce(to_char(f.refreshed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', 'never'),
                    coalesce(to_char(f.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC', 'now'),
                    f.is_stale, f.why
             FROM agent_kpi.freshness f ORDER BY f.agent_id",
            &[],
        )
        .await?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        lines.push(Line {
            agent_id: text::shown(&text::bytes(row.try_get(0)?)),
            cadence: row.try_get(1)?,
            refreshed: row.try_get(2)?,
            due: row.try_get(3)?,
            is_stale: row.try_get(4)?,
            why: row.try_get(5)?,
        });
    }
    let width = |of: fn(&Line) -> &str, least: usize| {
        lines
            .iter()
            .map(|line| of(line).chars().count())
            .fold(least, usize::max)
    };
    let (agents, cadences) = (
        width(|line| &line.agent_id, 5),
        width(|line| &line.cadence, 7),
    );
    say!(
        "{:agents$}  {:cadences$}  {:23}  {:23}  state",
        "agent",
        "cadence",
        "refreshed",
        "due"
    );
    for line in &lines {
        let state = match (line.is_stale, &line.why) {
            (true, Some(why)) => format!("STALE: {why}"),
            (true, None) => "STALE".to_owned(),
            (false, _) => "fresh".to_owned(),
        };
        say!(
            "{:agents$}  {:cadences$}  {:23}  {:23}  {state}",
            line.agent_id,
            line.cadence,
            line.refreshed,
            line.due
        );
    }
    match lease::who_leads(client).await? {
        Some(who) => say!("scheduler: {who}"),
        None => say!("scheduler: none runs; start one with: agent-metrics run"),
    }
    let feeds = client
        .query(
            "SELECT convert_to(format('subscription %s brings %s: ', f.subscription, f.tables)
                               || coalesce(f.problem, f.status)
                               || coalesce(format(', last heard of %s s ago', round(f.lag_seconds)), ''), 'SQL_ASCII')
             FROM agent_kpi.feeds f ORDER BY f.subscription",
            &[],
        )
        .await?;
    for line in text::lines(&feeds)? {
        say!("{line}");
    }
    // Whoever reads the views alone does not see them.
    let problems = client
        .query(
            "SELECT convert_to(concat_ws(' of ', p.job, nullif(p.subject, '')), 'SQL_ASCII'),
                    convert_to(p.problem, 'SQL_ASCII'), p.attempts
             FROM agent_metrics_internal.job_problems p ORDER BY p.job, p.subject",
            &[],
        )
        .await;
    let problems = match problems {
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Vec::new(),
        problems => problems?,
    };
    for row in &problems {
        let (job, problem) = (text::bytes(row.try_get(0)?), text::bytes(row.try_get(1)?));
        let attempts: i64 = row.try_get(2)?;
        say!("problem: {job} ({attempts} times): {problem}");
    }
    Ok(())
}
