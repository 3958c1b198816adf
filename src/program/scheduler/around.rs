//! What goes around a refresh, whoever asked for it: the facts are brought up before it, and what follows from new
//! numbers comes after it.
//!
//! Nothing here is an error of the refresh: what fails is noted in [`Problems`] and tried again the next time. An error
//! is a lost session.

use anyhow::Result;
use tokio_postgres::Client;

use crate::program::connect::timeouts::limited;
use crate::program::scheduler::{jobs::CHORE, problems::Problems};
use crate::program::text;

/// Follows the tables that are attached, and prices turns that came without a cost, batch by batch.
pub async fn bring_up(client: &Client, problems: &mut Problems) -> Result<()> {
    let names = limited(client, CHORE, async || {
        let rows = client
            .query(
                "SELECT convert_to(a.source, 'SQL_ASCII')
                 FROM agent_metrics_internal.attached_tables a ORDER BY a.source",
                &[],
            )
            .await?;
        text::lines(&rows)
    });
    let names = names.await;
    let names = problems
        .take("attached tables", "", names)?
        .unwrap_or_default();
    // Each in a statement of its own, so that one that takes too long keeps no other from being followed.
    for (place, name) in names.iter().enumerate() {
        let followed = limited(client, CHORE, async || {
            let rows = client
                .query(
                    "SELECT convert_to(format('%s cannot be followed: %s', s.source, s.problem),
                                       'SQL_ASCII')
                     FROM (SELECT a.source FROM agent_metrics_internal.attached_tables a
                           ORDER BY a.source OFFSET $1 LIMIT 1) a
                     CROSS JOIN LATERAL agent_metrics_internal.follow_source_table(
                         a.source, false) s WHERE s.problem IS NOT NULL",
                    &[&i64::try_from(place).unwrap_or(i64::MAX)],
                )
                .await?;
            text::lines(&rows)
        });
        let followed = followed.await;
        for words in problems
            .take("attached tables", name, followed)?
            .unwrap_or_default()
        {
            tracing::warn!("attached table {words}");
        }
    }
    let tidied = limited(client, CHORE, async || {
        client
            .execute("SELECT agent_metrics_internal.tidy_sources()", &[])
            .await?;
        Ok(())
    });
    let tidied = tidied.await;
    problems.take("attached tables", "", tidied)?;
    let priced = price(client).await;
    problems.take("prices", "", priced)?;
    Ok(())
}

async fn price(client: &Client) -> Result<()> {
    loop {
        let priced = limited(client, CHORE, async || {
            let row = client
                .query_one("SELECT agent_metrics.price_events()", &[])
                .await?;
            Ok(row.try_get::<_, i64>(0)?)
        });
        if priced.await? == 0 {
            return Ok(());
        }
    }
}

/// Writes down what late facts changed in closed months, once a day: labels that trickle in are one adjustment.
async fn adjust(client: &Client, problems: &mut Problems) -> Result<()> {
    let recorded = limited(client, CHORE, async || {
        let row = client
            .query_one(
                "SELECT agent_metrics_internal.record_adjustments('1 day')",
                &[],
            )
            .await?;
        Ok(row.try_get::<_, i64>(0)?)
    });
    let recorded = recorded.await;
    match problems.take("adjustments", "", recorded)? {
        Some(recorded) if recorded > 0 => {
            tracing::info!("{recorded} numbers of closed months were adjusted");
        }
        _ => {}
    }
    Ok(())
}

/// What follows from new numbers: closed months are adjusted, thresholds judged. Returns whether they could be judged.
pub async fn settle(client: &Client, problems: &mut Problems) -> Result<bool> {
    adjust(client, problems).await?;
    let changes = evaluate(client).await;
    let changes = problems.take("thresholds", "", changes)?;
    for change in changes.iter().flatten() {
        // Somebody has to look at one that opened.
        if change.starts_with("closed") {
            tracing::info!("breach {change}");
        } else {
            tracing::warn!("breach {change}");
        }
    }
    Ok(changes.is_some())
}

/// Judges the metrics by their thresholds, and returns what changed, a line each.
async fn evaluate(client: &Client) -> Result<Vec<String>> {
    limited(client, CHORE, async || {
        let rows = client
            .query(
                "SELECT convert_to(format('%s %s of %s: %s, threshold %s, owner %s', c.change,
                                          c.metric, c.agent_id, coalesce(c.value::text, 'no value'),
                                          c.threshold, c.owner), 'SQL_ASCII')
                 FROM agent_metrics.evaluate_thresholds() c",
                &[],
            )
            .await?;
        text::lines(&rows)
    })
    .await
}
