//! Thresholds, settings, names and files without sense: every refusal, and that nothing changed.

use crate::events::bad_input::one_agent;
use crate::support::asserts::{assert_verified, refused, refused_by_constraint, refused_by_us};
use crate::support::rollups::refresh;

#[test]
fn thresholds_without_owner_or_sense_are_refused() {
    let db = one_agent("bad_thresholds");
    let insert = |metric: &str, value: &str, owner: &str| {
        format!(
            "INSERT INTO agent_metrics.thresholds (agent_id, metric, effective_from, value, owner)
             VALUES ('bot', '{metric}', '2026-04-01', {value}, {owner})"
        )
    };
    refused_by_us(
        &db,
        &insert("task_success_rate", "0.9", "NULL"),
        "23502",
        "task_success_rate",
    );
    refused_by_us(
        &db,
        &insert("task_success_rate", "0.9", "' '"),
        "23502",
        "\"bot\"",
    );
    refused_by_us(
        &db,
        "INSERT INTO agent_metrics.thresholds (agent_id, metric, value) VALUES ('other', 'task_success_rate', 0.9)",
        "23502",
        "\"other\"",
    );
    refused_by_us(
        &db,
        "UPDATE agent_metrics.thresholds SET owner = NULL",
        "23502",
        "owner",
    );
    refused_by_us(
        &db,
        &insert("vibes", "0.9", "'Head of Support'"),
        "22023",
        "\"vibes\"",
    );
    for (metric, value, named) in [
        ("task_success_rate", "92", "92"),
        ("task_success_rate", "-0.1", "-0.1"),
        ("task_success_rate", "'NaN'", "NaN"),
        ("latency_p95_ms", "-1", "-1"),
        ("cost_per_unit_usd", "'Infinity'", "Infinity"),
        ("latency_p95_ms", "NULL", "NULL"),
    ] {
        refused_by_us(
            &db,
            &insert(metric, value, "'Head of Support'"),
            "22003",
            named,
        );
    }
    // an owner whom nobody has named; and an owner who still answers for something cannot go
    refused_by_constraint(
        &db,
        &insert("task_success_rate", "0.9", "'Nobody'"),
        "23503",
        "owner",
    );
    refused_by_constraint(&db, "DELETE FROM agent_metrics.owners", "23503", "owner");
    db.exec(&insert("task_success_rate", "0.9", "'Head of Support'"));
}

#[test]
fn settings_without_sense_are_refused() {
    let db = one_agent("bad_settings");
    for zone in ["Mars/Olympus", "", "FOO+3"] {
        refused_by_us(
            &db,
            &format!(
                "UPDATE agent_metrics.settings SET value = '{zone}' WHERE name = 'report_time_zone'"
            ),
            "22023",
            &format!("\"{zone}\""),
        );
    }
    for days in ["ninety", "-1", "0", ""] {
        refused_by_us(
            &db,
            &format!("UPDATE agent_metrics.settings SET value = '{days}' WHERE name = 'hot_days'"),
            "22023",
            &format!("\"{days}\""),
        );
    }
    refused_by_us(
        &db,
        "UPDATE agent_metrics.settings SET name = 'report_time_zone', value = 'Mars' WHERE name = 'hot_days'",
        "22023",
        "Mars",
    );
    db.exec(
        "UPDATE agent_metrics.settings SET value = 'Asia/Kathmandu' WHERE name = 'report_time_zone';
         UPDATE agent_metrics.settings SET value = '30' WHERE name = 'hot_days'",
    );
    // a setting that went is the one shipped
    db.exec("DELETE FROM agent_metrics.settings");
    refresh(&db);
    assert_verified(&db);
    assert_eq!(
        db.lines("SELECT day FROM agent_kpi.agent_daily WHERE turns > 0"),
        ["2026-03-01"]
    );
}

#[test]
fn functions_name_the_agent_role_or_level_they_do_not_know() {
    let db = one_agent("bad_arguments");
    refused_by_us(
        &db,
        "SELECT agent_metrics.refresh('nobody')",
        "22023",
        "\"nobody\"",
    );
    refused_by_us(
        &db,
        "SELECT agent_metrics_internal.refresh_agents(ARRAY['bot', 'nobody'])",
        "22023",
        "\"nobody\"",
    );
    refused_by_us(
        &db,
        "SELECT agent_metrics.verify('nobody')",
        "22023",
        "\"nobody\"",
    );
    refused_by_us(
        &db,
        "SELECT agent_metrics.grant_access('postgres', 'king')",
        "22023",
        "\"king\"",
    );
    refused_by_us(
        &db,
        "SELECT agent_metrics.next_due('often', 'UTC', now())",
        "22023",
        "\"often\"",
    );
    assert_eq!(
        refused(
            &db,
            "SELECT agent_metrics.grant_access('no_such_role', 'reader')"
        )
        .sqlstate,
        "42704"
    );
}

#[test]
fn setup_refuses_a_library_of_another_version() {
    let db = one_agent("bad_version");
    db.exec("UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'agent_metrics'");
    refused_by_us(&db, "SELECT agent_metrics.setup()", "55000", "0.0.9");
}
