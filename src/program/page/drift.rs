//! What the audits found: alerts, open ones first, on the page; and the runs behind a metric of an eval set,
//! with the cases that broke.

use anyhow::Result;
use maud::{Markup, html};
use tokio_postgres::Transaction;

use super::frame::frame;
use crate::program::{format, text};

/// How many alerts the page shows, and how many runs and cases a metric's page.
const LIMIT: i64 = 50;

/// An alert that nobody has acknowledged, or that somebody did not long ago.
pub struct Alert {
    agent_id: String,
    metric: Option<String>,
    summary: String,
    owner: Option<String>,
    acknowledged_by: Option<String>,
    created_at: Option<String>,
}

/// Runs of one metric of one agent, newest first, and the cases that changed in the newest with a finding.
pub struct Runs {
    agent_id: String,
    metric: String,
    unit: String,
    runs: Vec<Run>,
    changed_in: Option<String>,
    cases: Vec<(String, String)>,
}

struct Run {
    run_id: String,
    run_at: Option<String>,
    value: Option<f64>,
    change: Option<f64>,
    p_value: Option<f64>,
    state: String,
    reason: String,
}

/// Alerts that nobody has acknowledged, and those of the last two weeks that somebody has, newest first.
pub async fn recent(transaction: &Transaction<'_>) -> Result<Vec<Alert>> {
    let rows = transaction
        .query(
            &format!(
                "SELECT a.agent_id, a.metric, left(coalesce(a.summary, a.kind), 2000), a.owner, a.acknowledged_by, {}
                 FROM agent_kpi.alerts a
                 WHERE a.acknowledged_at IS NULL OR a.acknowledged_at > now() - interval '14 days'
                 ORDER BY a.acknowledged_at IS NOT NULL, a.created_at DESC, a.agent_id, a.alert_id LIMIT $1",
                text::moment_of("a.created_at")
            ),
            &[&LIMIT],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Alert {
                agent_id: row.try_get(0)?,
                metric: row.try_get(1)?,
                summary: row.try_get(2)?,
                owner: row.try_get(3)?,
                acknowledged_by: row.try_get(4)?,
                created_at: row.try_get(5)?,
            })
        })
        .collect()
}

/// What there is of a metric; None: nothing.
pub async fn runs(
    transaction: &Transaction<'_>,
    agent_id: &str,
    metric: &str,
) -> Result<Option<Runs>> {
    let rows = transaction
        .query(
            &format!(
                "SELECT f.run_id, {}, f.new_value, f.change, f.p_value, f.state, f.reason, m.unit
                 FROM agent_kpi.drift_findings f JOIN agent_kpi.metric_catalogue m ON m.metric = f.metric
                 WHERE f.agent_id = $1 AND f.metric = $2 ORDER BY f.run_at DESC NULLS LAST, f.run_id DESC LIMIT $3",
                text::moment_of("f.run_at")
            ),
            &[&agent_id, &metric, &LIMIT],
        )
        .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let unit = first.try_get(7)?;
    let mut runs = Vec::with_capacity(rows.len());
    for row in &rows {
        runs.push(Run {
            run_id: row.try_get(0)?,
            run_at: row.try_get(1)?,
            value: row.try_get(2)?,
            change: row.try_get(3)?,
            p_value: row.try_get(4)?,
            state: row.try_get(5)?,
            reason: row.try_get(6)?,
        });
    }
    let changed_in = runs
        .iter()
        .find(|run| matches!(run.state.as_str(), "watch" | "alert"))
        .map(|run| run.run_id.clone());
    let cases = transaction
        .query(
            "SELECT c.case_id, c.what FROM agent_kpi.drift_cases c
             WHERE c.agent_id = $1 AND c.run_id = $2 ORDER BY c.what, c.case_id LIMIT 1000",
            &[&agent_id, &changed_in],
        )
        .await?;
    let cases = cases
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect::<Result<_>>()?;
    Ok(Some(Runs {
        agent_id: agent_id.to_owned(),
        metric: metric.to_owned(),
        unit,
        runs,
        changed_in,
        cases,
    }))
}

/// A line an alert; nothing when there is none.
pub fn alerts(recent: &[Alert]) -> Markup {
    html! {
        @if !recent.is_empty() {
            section #alerts {
                h2 { "Alerts" }
                div.scroll {
                    table {
                        thead { tr { th { "Found" } th { "What" } th { "Owner" } th { "Acknowledged by" } } }
                        tbody {
                            @for one in recent {
                                tr data-alert=(one.agent_id) {
                                    td { (format::moment(one.created_at.as_deref())) }
                                    td.wrap {
                                        @match &one.metric {
                                            Some(metric) => a href=(format!(
                                                "/agents/{}/{}", format::encoded(&one.agent_id), format::encoded(metric)
                                            )) { (one.summary) },
                                            None => (one.summary),
                                        }
                                    }
                                    td { (one.owner.as_deref().unwrap_or("nobody")) }
                                    td { (one.acknowledged_by.as_deref().unwrap_or("nobody yet")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The page of a metric of an eval set.
pub fn page(drift: &Runs) -> Markup {
    let title = format!("{}: {}", drift.agent_id, format::metric(&drift.metric));
    let sign = |change: f64| {
        if drift.unit == "fraction" {
            format!("{change:+.1} points")
        } else {
            format!("{change:+.1}%")
        }
    };
    frame(
        &title,
        html! {
            header {
                p { a href="/" { "\u{2190} Agent performance" } }
                h1 { (title) }
                p.soft { "Runs over frozen eval sets, each compared case by case with the one before." }
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            th { "Run" } th { "When" } th.number { "Value" } th.number { "Change" } th.number { "p" }
                            th { "State" } th { "Why" }
                        }
                    }
                    tbody {
                        @for run in &drift.runs {
                            tr data-run=(run.run_id) {
                                td { (run.run_id) }
                                td { (format::moment(run.run_at.as_deref())) }
                                td.number { (format::value(run.value, &drift.unit)) }
                                td.number { (run.change.map_or("\u{2013}".to_owned(), sign)) }
                                td.number { (run.p_value.map_or("\u{2013}".to_owned(), |p| format!("{p:.4}"))) }
                                td { (run.state) }
                                td.wrap { (run.reason) }
                            }
                        }
                    }
                }
            }
            @if let Some(run_id) = &drift.changed_in {
                h2 { "Cases that changed in " (run_id) }
                @if drift.cases.is_empty() { p.note { "None." } }
                @else {
                    div.scroll {
                        table {
                            thead { tr { th { "Case" } th { "What" } } }
                            tbody {
                                @for (case_id, what) in &drift.cases {
                                    tr data-case=(case_id) { td { (case_id) } td { (what) } }
                                }
                            }
                        }
                    }
                }
            }
        },
    )
}
