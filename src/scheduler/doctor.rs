//! `doctor`: what is wrong, and how to mend each.

use anyhow::Result;
use tokio_postgres::Client;

use super::config::Server;
use super::{extension, leader};

/// Something that is wrong, and its cure.
struct Finding {
    what: String,
    cure: String,
}

/// Prints the findings, and returns how many there were.
pub async fn print(client: &Client, server: &Server) -> Result<usize> {
    let installed = extension::Installed::look(client).await?;
    if let Some(complaint) = installed.complaint(server.database()) {
        println!("- {complaint}");
        return Ok(1);
    }
    let mut findings = Vec::new();
    match extension::library(client).await? {
        Some(library) if library != extension::VERSION => findings.push(Finding {
            what: format!(
                "the server has loaded library {library} and this program is {}",
                extension::VERSION
            ),
            cure: "install one version on both: make install, then agent-metrics setup".to_owned(),
        }),
        _ => {}
    }
    if leader::who_leads(client).await?.is_none() {
        findings.push(Finding {
            what: "no scheduler runs on this database".to_owned(),
            cure: "start one with: agent-metrics run (or call agent-metrics once from cron)"
                .to_owned(),
        });
    }
    for (sql, cure) in CHECKS {
        for row in client.query(*sql, &[]).await? {
            let (what, subject): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            findings.push(Finding {
                what,
                cure: cure.replace("{}", &subject.replace('\'', "''")),
            });
        }
    }
    for finding in &findings {
        println!("- {}\n  cure: {}", finding.what, finding.cure);
    }
    if findings.is_empty() {
        println!(
            "all is well: agent_metrics {}, every agent fresh, every label mapped",
            extension::VERSION
        );
    }
    Ok(findings.len())
}

/// Queries that give what is wrong and its subject, each with the cure.
const CHECKS: &[(&str, &str)] = &[
    (
        "SELECT format('rows that ship with agent_metrics are missing, as after a dump without rows was restored: none in %s',
                       string_agg(m.relation, ', ' ORDER BY m.relation)), ''
         FROM agent_metrics.missing_rows() m HAVING count(*) > 0",
        "agent-metrics setup, as the owner of the tables",
    ),
    (
        "SELECT format('trigger %s of table %s %s, so rows that come are not checked, stamped or logged as they should be', b.trigger_name, b.table_name, b.problem),
                b.table_name
         FROM agent_metrics.broken_triggers() b ORDER BY b.table_name, b.trigger_name LIMIT 20",
        "agent-metrics setup puts it right; then agent-metrics rebuild counts what came meanwhile",
    ),
    (
        "SELECT format('agent %s has %s turns between %s and %s and %s of them in its books: %s', u.agent_id, u.turns, u.first_at::text, u.last_at::text, u.counted, u.reason),
                u.agent_id
         FROM agent_metrics.uncounted_turns() u ORDER BY u.agent_id",
        "agent-metrics rebuild {} counts them; a moment that nobody meant is put right by UPDATE agent_metrics.agent_events",
    ),
    (
        "SELECT format('agent %s is stale: %s', f.agent_id, coalesce(f.why, 'last refreshed ' ||
                       coalesce(to_char(f.refreshed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI \"UTC\"'), 'never'))), f.agent_id
         FROM agent_kpi.freshness f WHERE f.is_stale ORDER BY f.agent_id",
        "agent-metrics refresh {}",
    ),
    (
        "SELECT format('agent %s is not registered, and its %s events are in no number', u.agent_id, u.events), u.agent_id
         FROM agent_kpi.unregistered_agents u ORDER BY u.agent_id",
        "SELECT agent_metrics.register_agent('{}', 'support', 'Head of Support'); with its kind and owner",
    ),
    (
        "SELECT format('label \"%s\" of agent %s is mapped to nothing, so %s conversations are pending',
                       u.outcome_label, u.agent_id, u.conversations), u.outcome_label
         FROM agent_kpi.unmapped_labels u ORDER BY u.agent_id, u.outcome_label",
        "INSERT INTO agent_metrics.outcomes (label, is_success) VALUES ('{}', true); with what it counts as",
    ),
    (
        "SELECT format('attached table %s cannot be followed: %s', t.source, t.problem), t.source
         FROM agent_kpi.attached_tables t WHERE t.problem IS NOT NULL ORDER BY t.source",
        "mend the table, or grant SELECT on it to the program's role; then SELECT agent_metrics.sync_business_events('{}')",
    ),
    (
        "SELECT format('%s turns of agent %s by model %s have no cost: %s', sum(m.turns), m.agent_id, coalesce(m.model, 'unknown'), m.reason), m.agent_id
         FROM agent_kpi.unpriced_models m GROUP BY m.agent_id, m.model, m.reason ORDER BY m.agent_id, m.model",
        "enter its prices into agent_metrics.token_prices, then SELECT * FROM agent_metrics.reprice('{}', now() - interval '30 days', now()), and again with dry_run => false",
    ),
    (
        "SELECT format('%s pieces of deliveries are in quarantine: %s', sum(q.events), q.reason), q.reason
         FROM agent_kpi.quarantine q GROUP BY q.reason ORDER BY q.reason",
        "mend column event of agent_metrics.quarantined_events, then SELECT agent_metrics.retry_quarantined('{}')",
    ),
    (
        "SELECT format('alert %s of agent %s was given up on channel %s after %s attempts: %s', d.alert_id, d.agent_id, d.channel, d.attempts,
                       coalesce(d.last_error, 'no reason')), d.channel
         FROM agent_metrics.alert_deliveries d WHERE d.state = 'dead' ORDER BY d.channel, d.alert_id LIMIT 20",
        "mend the channel, then SELECT agent_metrics.requeue_alerts('{}')",
    ),
    (
        "SELECT format('agent %s has not run eval set %s on Monday %s', s.agent_id, s.eval_set, s.next_run_on), s.agent_id
         FROM agent_kpi.eval_schedule s JOIN agent_metrics.agents a ON a.agent_id = s.agent_id AND a.sunset_at IS NULL
         WHERE s.is_overdue ORDER BY s.agent_id, s.eval_set",
        "run it and store it with SELECT agent_metrics.record_eval_run('{}', ...); or end the plan: DELETE FROM agent_metrics.eval_plans",
    ),
    (
        "SELECT format('nobody has decided whether to keep or replace agent %s; %s was to answer by %s', d.agent_id, d.owner, d.due_on), d.agent_id
         FROM agent_kpi.decisions d WHERE d.is_overdue ORDER BY d.agent_id, d.quarter",
        "SELECT agent_metrics.decide('{}', 'keep', who, why); or replace, or sunset",
    ),
];
