//! The demo's books: last month is closed, then a refund and a bill come late, and one query shows what was reported,
//! what is known now and why they differ.

use crate::say;
use anyhow::Result;
use chrono::NaiveDate;
use tokio_postgres::Client;

use crate::program::format;

/// Money as the business system and the provider have it: a charge for each booking, a bill for each day and model.
const MONEY: &str = "
    INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, amount_usd)
    SELECT 'pay-' || b.business_event_id, 'charge', b.occurred_at, b.conversation_id, b.amount_usd
    FROM agent_metrics.business_events b WHERE b.kind = 'booking_completed';
    INSERT INTO agent_metrics.billing_lines (provider, model, period_start, period_end, amount_usd, description)
    SELECT 'model-host', e.model, e.day AT TIME ZONE 'UTC', (e.day + interval '1 day') AT TIME ZONE 'UTC',
           e.usd, 'use of ' || e.model
    FROM (SELECT date_trunc('day', x.occurred_at AT TIME ZONE 'UTC') AS day, x.model, sum(x.cost_usd) AS usd
          FROM agent_metrics.agent_events x WHERE x.model IS NOT NULL GROUP BY 1, 2) e
    WHERE e.day < date_trunc('month', now() AT TIME ZONE 'UTC')";

/// What comes after the close: the largest sale of last month is given back, and the provider bills its support plan.
const LATE: &str = "
    INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id, amount_usd)
    SELECT 'back-' || b.business_event_id, 'refund', b.conversation_id, b.amount_usd
    FROM agent_metrics.business_events b JOIN agent_metrics.conversations c ON c.conversation_id = b.conversation_id
    WHERE b.kind = 'charge' AND c.started_at >= date_trunc('month', now(), 'UTC') - interval '1 month'
      AND c.started_at < date_trunc('month', now(), 'UTC')
    ORDER BY b.amount_usd DESC LIMIT 1;
    INSERT INTO agent_metrics.billing_lines (provider, period_start, period_end, amount_usd, description)
    VALUES ('model-host', date_trunc('month', now(), 'UTC') - interval '1 month', date_trunc('month', now(), 'UTC'),
            310.40, 'support plan')";

/// Brings the money in. Before the first refresh.
pub async fn bring_money(client: &Client) -> Result<()> {
    Ok(client.batch_execute(MONEY).await?)
}

/// Closes last month, and lets the late facts come. A refresh follows.
pub async fn close_last_month(client: &Client) -> Result<()> {
    let numbers: i64 = client
        .query_one(
            "SELECT agent_metrics.close_period(
                 (date_trunc('month', now() AT TIME ZONE agent_metrics_internal.report_time_zone())
                  - interval '1 month')::date, 'Head of Finance')",
            &[],
        )
        .await?
        .try_get(0)?;
    say!("last month is closed: {numbers} numbers are reported");
    client.batch_execute(LATE).await?;
    say!("a refund and a bill came late");
    Ok(())
}

/// One line for each number that differs from what was reported.
pub async fn print(client: &Client) -> Result<()> {
    let rows = client
        .query(
            "SELECT k.month, k.agent_id, k.metric, k.unit, k.reported_value::double precision,
                    k.known_value::double precision, k.why
             FROM agent_kpi.reported_and_known k WHERE k.adjustments > 0 ORDER BY k.month, k.agent_id, k.metric",
            &[],
        )
        .await?;
    if !rows.is_empty() {
        say!("");
        say!("Closed books: what was reported, what is known now, and why");
    }
    for row in &rows {
        let (month, agent, metric): (NaiveDate, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let unit: String = row.try_get(3)?;
        say!(
            "{}  {:<13} {:<20} {:>11} {:>11}  {}",
            month.format("%Y-%m"),
            if agent.is_empty() { "company" } else { &agent },
            metric,
            format::value(row.try_get(4)?, &unit),
            format::value(row.try_get(5)?, &unit),
            row.try_get::<_, String>(6)?
        );
    }
    Ok(())
}
