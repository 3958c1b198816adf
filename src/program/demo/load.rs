//! Loading the demo as a producer would: agents by `register_agent`, events by COPY, late labels by UPDATE.

use std::fmt::Write as _;
use std::pin::pin;

use crate::say;
use anyhow::Result;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::SinkExt;
use tokio_postgres::Transaction;

use super::cast::AGENTS;
use super::facts::{BusinessEvent, Company, LateLabel, Turn};
use crate::program::connect::Database;
use crate::program::text;

/// Rows that are sent at once.
const BATCH: usize = 2_000;

/// Registers the agents and loads their events, all or nothing.
pub async fn load(database: &mut Database, company: &Company) -> Result<()> {
    let transaction = database.transaction().await?;
    for agent in AGENTS {
        transaction
            .execute(
                "SELECT agent_metrics.register_agent($1, $2, $3, display_name => $4, actor => $5, time_zone => $6,
                                                     vertical => $7, baseline_agent_id => $8)",
                &[
                    &agent.agent_id,
                    &agent.kind,
                    &agent.owner,
                    &agent.display_name,
                    &agent.actor,
                    &agent.time_zone,
                    &agent.vertical,
                    &agent.baseline,
                ],
            )
            .await?;
    }
    copy(
        &transaction,
        "COPY agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id,
                                             amount_usd) FROM STDIN",
        "business events",
        &company.business_events,
        write_business_event,
    )
    .await?;
    copy(
        &transaction,
        "COPY agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, intent_classified,
                                          tools_called, latency_ms, token_usage_input, token_usage_output, cost_usd,
                                          outcome_label, business_event_id, turn_index, model,
                                          agent_version) FROM STDIN",
        "turns",
        &company.turns,
        write_turn,
    )
    .await?;
    transaction.commit().await?;
    database
        .batch_execute("ANALYZE agent_metrics.agent_events, agent_metrics.business_events")
        .await?;
    say!(
        "loaded {} turns and {} business events",
        company.turns.len(),
        company.business_events.len()
    );
    Ok(())
}

/// Gives conversations the labels that came after the first refresh, and returns how many.
pub async fn apply_late_labels(database: &Database, labels: &[LateLabel]) -> Result<u64> {
    let agents: Vec<&str> = labels.iter().map(|late| late.agent_id).collect();
    let moments: Vec<DateTime<Utc>> = labels.iter().map(|late| late.occurred_at).collect();
    let conversations: Vec<&str> = labels
        .iter()
        .map(|late| late.conversation_id.as_str())
        .collect();
    let outcomes: Vec<&str> = labels.iter().map(|late| late.label).collect();
    let updated = database
        .execute(
            "UPDATE agent_metrics.agent_events e SET outcome_label = l.label
             FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[])
                 AS l (agent_id, occurred_at, conversation_id, label)
             WHERE e.agent_id = l.agent_id AND e.occurred_at = l.occurred_at AND e.conversation_id = l.conversation_id",
            &[&agents, &moments, &conversations, &outcomes],
        )
        .await?;
    Ok(updated)
}

async fn copy<T>(
    transaction: &Transaction<'_>,
    sql: &str,
    name: &'static str,
    rows: &[T],
    write: impl Fn(&mut String, &T),
) -> Result<()> {
    let bar = text::bar(name, rows.len() as u64);
    let mut sink = pin!(transaction.copy_in::<_, Bytes>(sql).await?);
    for batch in rows.chunks(BATCH) {
        let mut text = String::with_capacity(batch.len() * 200);
        for row in batch {
            write(&mut text, row);
        }
        sink.send(Bytes::from(text)).await?;
        bar.inc(batch.len() as u64);
    }
    sink.finish().await?;
    bar.finish_and_clear();
    Ok(())
}

// COPY's text format: fields between tabs, NULL as \N. None of the demo's texts has a character to escape.

const NULL: &str = "\\N";

fn write_turn(text: &mut String, turn: &Turn) {
    let (input, output) = turn
        .tokens
        .map_or((NULL.to_owned(), NULL.to_owned()), |(i, o)| {
            (i.to_string(), o.to_string())
        });
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}\t{}\t{}\t{}\t{}\t{}\t{}\t{input}\t{output}\t{:.6}\t{}\t{}\t{}\t{}\t{}",
        turn.agent_id,
        turn.occurred_at.to_rfc3339(),
        turn.conversation_id,
        turn.user_id,
        turn.intent,
        turn.tools_called.as_deref().unwrap_or(NULL),
        turn.latency_ms,
        turn.cost_usd,
        turn.outcome_label.unwrap_or(NULL),
        turn.business_event_id.as_deref().unwrap_or(NULL),
        turn.turn_index,
        turn.model.unwrap_or(NULL),
        turn.agent_version
    );
}

fn write_business_event(text: &mut String, event: &BusinessEvent) {
    let _ = writeln!(
        text,
        "{}\t{}\t{}\t{}\t{}",
        event.business_event_id,
        event.kind,
        event.occurred_at.to_rfc3339(),
        event.conversation_id.as_deref().unwrap_or(NULL),
        event
            .amount_usd
            .map_or(NULL.to_owned(), |amount| format!("{amount:.2}"))
    );
}
