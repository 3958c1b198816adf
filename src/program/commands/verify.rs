//! `verify`: recomputes from raw events, and prints what differs.

use crate::say;
use anyhow::Result;
use tokio_postgres::Client;

/// Prints each rollup value that differs from the raw events, and returns how many there were.
pub async fn print(client: &Client, agent_id: Option<&str>) -> Result<usize> {
    let rows = client
        .query(
            "SELECT v.agent_id, v.level, v.bucket::text, v.measure, v.stored::text, v.recomputed::text
             FROM agent_metrics.verify($1) v ORDER BY 1, 2, 3, 4",
            &[&agent_id],
        )
        .await?;
    for row in &rows {
        let text = |i: usize| {
            row.try_get::<_, Option<String>>(i)
                .map(|text| text.unwrap_or_else(|| "NULL".to_owned()))
        };
        say!(
            "{} {} {} {}: stored {}, recomputed {}",
            text(0)?,
            text(1)?,
            text(2)?,
            text(3)?,
            text(4)?,
            text(5)?
        );
    }
    Ok(rows.len())
}
