//! `doctor`: what is wrong, and how to mend each.

use std::time::Duration;

use anyhow::Result;
use tokio_postgres::Client;

use crate::program::connect::{
    config::Server,
    extension,
    timeouts::{Limits, limited},
    writable::WriteAccess,
};
use crate::program::scheduler::{jobs, lease};
use crate::program::{error, text};
use crate::say;

/// What one look may wait for and take: a table that somebody has locked is named, and the rest is looked at.
const LIMITS: Limits = Limits::new(Duration::from_secs(2), Duration::from_secs(120));

/// Something that is wrong, and its cure.
struct Finding {
    what: String,
    cure: String,
}

impl Finding {
    fn new(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cure: cure.into(),
        }
    }
}

/// Prints the findings, and returns how many there were.
pub async fn print(client: &Client, server: &Server) -> Result<usize> {
    let mut findings: Vec<Finding> = WriteAccess::look(client)
        .await?
        .findings(server)
        .into_iter()
        .map(|(what, cure)| Finding { what, cure })
        .collect();
    match extension::complaint(client, server).await? {
        Some(complaint) => say!("- {complaint}"),
        None => {
            look(client, &mut findings).await?;
            if findings.is_empty() {
                say!(
                    "all is well: agent_metrics {}, every agent fresh, every label mapped",
                    extension::VERSION
                );
                return Ok(0);
            }
        }
    }
    for finding in &findings {
        say!("- {}", finding.what);
        say!("  cure: {}", finding.cure);
    }
    Ok(findings.len().max(1))
}

async fn look(client: &Client, findings: &mut Vec<Finding>) -> Result<()> {
    if lease::who_leads(client).await?.is_none() {
        findings.push(Finding::new(
            "no scheduler runs on this database",
            "start one with: agent-metrics run (or call agent-metrics once from cron)",
        ));
    }
    for agent in jobs::everybody(client).await?.unreadable {
        findings.push(Finding::new(
            format!("agent {agent} cannot be refreshed: {}", jobs::UNREADABLE),
            "psql: UPDATE agent_metrics.agent_events SET agent_id = a name in UTF-8, then register_agent() with it",
        ));
    }
    for (sql, cure) in CHECKS {
        // Bytes, since a SQL_ASCII database holds text of any encoding.
        let sql = format!(
            "SELECT convert_to(q.what, 'SQL_ASCII'), convert_to(q.subject, 'SQL_ASCII')
             FROM ({sql}) AS q (what, subject)"
        );
        let found = limited(client, LIMITS, async || {
            let rows = client.query(&sql, &[]).await?;
            rows.iter()
                .map(|row| Ok((text::bytes(row.try_get(0)?), text::bytes(row.try_get(1)?))))
                .collect::<Result<Vec<_>>>()
        });
        match found.await {
            Ok(found) => {
                findings.extend(found.into_iter().map(|(what, subject)| {
                    Finding::new(what, cure.replace("{}", &subject.replace('\'', "''")))
                }));
            }
            Err(error) if error::is_lost(&error) => return Err(error),
            Err(error) => findings.push(Finding::new(
                format!("could not look at everything: {}", error::of(&error)),
                WHO_HOLDS,
            )),
        }
    }
    Ok(())
}

/// How to find who holds a lock.
const WHO_HOLDS: &str = "it is tried again by itself. Who holds a lock: SELECT pid, usename, \
                         state, xact_start, query FROM pg_stat_activity WHERE xact_start < now() - \
                         interval '10 seconds'; SELECT pg_terminate_backend(pid) ends him";

/// Queries that give what is wrong and its subject, each with the cure.
const CHECKS: &[(&str, &str)] = &[
    (
        "SELECT format('rows that ship with agent_metrics are missing, '
                       'as after a dump without rows was restored: none in %s',
                       string_agg(m.relation, ', ' ORDER BY m.relation)), ''
         FROM agent_metrics_internal.missing_rows() m HAVING count(*) > 0",
        "agent-metrics setup, as the owner of the tables",
    ),
    (
        "SELECT format(
             'trigger %s of table %s %s, so rows that come are not checked, stamped or logged as they should be',
             b.trigger_name, b.relation, b.problem),
                b.relation
         FROM agent_metrics_internal.broken_triggers() b ORDER BY b.relation, b.trigger_name LIMIT 20",
        "agent-metrics setup puts it right; then agent-metrics rebuild counts what came meanwhile",
    ),
    (
        "SELECT format('agent %s has %s turns between %s and %s and %s of them in its rollups: %s',
                       u.agent_id, u.turns, u.first_at::text, u.last_at::text, u.counted, u.reason),
                u.agent_id
         FROM agent_metrics_internal.uncounted_turns() u ORDER BY u.agent_id",
        "agent-metrics rebuild {} counts them; \
         a moment that nobody meant is put right by UPDATE agent_metrics.agent_events",
    ),
    (
        "SELECT format('%s of %s stands on table %s, which can neither be archived, '
                       'split nor dropped while it does', b.object, b.owner, b.partition), b.cure
         FROM agent_metrics_internal.partition_blockers() b
         ORDER BY b.partition, b.object LIMIT 20",
        "have it read agent_metrics.agent_events, which holds the same turns, or {}",
    ),
    (
        "SELECT format('partition %s of agent_events is not in schema agent_metrics, so it counts and is not archived',
                       i.inhrelid::regclass), i.inhrelid::regclass::text
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'agent_metrics.agent_events'::regclass AND c.relnamespace <> 'agent_metrics'::regnamespace
         ORDER BY 1 LIMIT 20",
        "ALTER TABLE {} SET SCHEMA agent_metrics, or leave it if it shall stay",
    ),
    (
        "SELECT format('job %s fails since %s, %s times: %s',
                       concat_ws(' of ', p.job, nullif(p.subject, '')),
                       to_char(p.since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'),
                       p.attempts, p.problem), p.subject
         FROM agent_metrics_internal.job_problems p ORDER BY p.job, p.subject",
        WHO_HOLDS,
    ),
    (
        "SELECT format('agent %s is stale: %s', f.agent_id, coalesce(f.why, 'last refreshed ' ||
                       coalesce(
                           to_char(f.refreshed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'),
                           'never'))), f.agent_id
         FROM agent_kpi.freshness f WHERE f.is_stale ORDER BY f.agent_id",
        "agent-metrics refresh {}",
    ),
    (
        "SELECT format('agent %s is not registered, and its %s events are in no number',
                       u.agent_id, u.events), u.agent_id
         FROM agent_kpi.unregistered_agents u ORDER BY u.agent_id",
        "SELECT agent_metrics.register_agent('{}', 'support', 'Head of Support'); with its kind and owner",
    ),
    (
        "SELECT format('label \"%s\" of agent %s is mapped to nothing, so %s conversations are pending',
                       u.outcome_label, u.agent_id, u.conversations), u.outcome_label
         FROM agent_kpi.unmapped_labels u ORDER BY u.agent_id, u.outcome_label",
        // no guess: a label that is put in as what it is not makes wrong numbers that nobody looks for
        "fill in true or false for each: \
         INSERT INTO agent_metrics.outcomes (label, is_success, is_unit, is_deflection, is_escalation) \
         VALUES ('{}', <the task was done>, <it is a unit of the kind's work>, <no human was needed>, \
         <it was handed to a human>)",
    ),
    (
        "SELECT format('attached table %s cannot be followed: %s', t.source, t.problem), t.source
         FROM agent_kpi.attached_tables t WHERE t.problem IS NOT NULL ORDER BY t.source",
        "mend the table, or grant SELECT on it to the program's role; \
         then SELECT agent_metrics.sync_business_events('{}')",
    ),
    (
        "SELECT format('subscription %s, which brings %s, stands still: %s', f.subscription, f.tables, f.problem),
                quote_ident(f.subscription)
         FROM agent_kpi.feeds f WHERE f.problem IS NOT NULL ORDER BY f.subscription",
        "this server's log says why: a row that was refused, or a server that does not answer. Mend that, and where \
         it is disabled ALTER SUBSCRIPTION {} ENABLE; how a row is passed over is in docs/managed-services.md",
    ),
    (
        "SELECT format('%s turns of agent %s by model %s have no cost: %s', sum(m.turns), m.agent_id,
                       coalesce(m.model, 'unknown'), m.reason), m.agent_id
         FROM agent_kpi.unpriced_models m GROUP BY m.agent_id, m.model, m.reason ORDER BY m.agent_id, m.model",
        "enter its prices into agent_metrics.token_prices, \
         then SELECT * FROM agent_metrics.reprice('{}', now() - interval '30 days', now()), \
         and again with dry_run => false",
    ),
    (
        "SELECT format('%s pieces of deliveries are in quarantine: %s', sum(q.events), q.reason), q.reason
         FROM agent_kpi.quarantine q GROUP BY q.reason ORDER BY q.reason",
        "mend column event of agent_metrics.quarantined_events, then SELECT agent_metrics.retry_quarantined('{}')",
    ),
    (
        "SELECT format('alert %s of agent %s was given up on channel %s after %s attempts: %s', d.alert_id, d.agent_id,
                       d.channel, d.attempts, coalesce(d.last_error, 'no reason')), d.channel
         FROM agent_metrics_internal.alert_deliveries d WHERE d.state = 'dead' ORDER BY d.channel, d.alert_id LIMIT 20",
        "mend the channel, then SELECT agent_metrics.requeue_alerts('{}')",
    ),
    (
        "SELECT format('agent %s has not run eval set %s on Monday %s', s.agent_id, s.eval_set, s.next_run_on),
                s.agent_id
         FROM agent_kpi.eval_schedule s JOIN agent_metrics.agents a ON a.agent_id = s.agent_id AND a.sunset_at IS NULL
         WHERE s.is_overdue ORDER BY s.agent_id, s.eval_set",
        "run it and store it with SELECT agent_metrics.record_eval_run('{}', ...); \
         or end the plan: DELETE FROM agent_metrics.eval_plans",
    ),
    (
        "SELECT format(
             'nobody has decided whether to keep or replace agent %s; %s was to answer by %s',
             d.agent_id, d.owner, d.due_on), d.agent_id
         FROM agent_kpi.decisions d WHERE d.is_overdue ORDER BY d.agent_id, d.quarter",
        "SELECT agent_metrics.decide('{}', 'keep', who, why); or replace, or sunset",
    ),
];
