//! `agent-metrics demo`: twelve tiles, once, and nobody else's data touched.

use crate::support::db;
use crate::support::program::{fails, two_agents, works};

#[test]
fn the_demo_shows_twelve_tiles_and_a_second_run_adds_nothing() {
    let db = db("program_demo");
    let first = works(db.url(), &["demo"]);
    let tiles = |text: &str| -> Vec<String> {
        let is_tile = |line: &&str| line.contains(" at least ") || line.contains(" at most ");
        text.lines().filter(is_tile).map(str::to_owned).collect()
    };
    assert_eq!(tiles(&first).len(), 12, "{first}");
    for (line, view) in tiles(&first).iter().zip(
        db.lines("SELECT agent_id, metric FROM agent_kpi.cfo_tiles ORDER BY agent_id, position"),
    ) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2].join("|"), view);
    }
    let count = "SELECT count(*) FROM agent_metrics.agent_events";
    let turns = db.number(count);
    assert!((100_000.0..160_000.0).contains(&turns), "{turns}");
    assert_eq!(
        db.value("SELECT count(*) FROM agent_metrics.verify()")
            .as_deref(),
        Some("0")
    );
    assert!(db.number("SELECT sum(conversations) FROM agent_kpi.unmapped_labels") > 5.0);
    assert_eq!(
        db.value(
            "SELECT verdict FROM agent_kpi.cfo_tiles
             WHERE agent_id = 'support-bot' AND metric = 'task_success_rate'"
        )
        .as_deref(),
        Some("breach")
    );
    for (agent, metric, low, high) in [
        ("support-bot", "task_success_rate", 0.88, 0.92),
        ("support-bot", "deflection_rate", 0.45, 0.55),
        ("support-bot", "cost_per_unit_usd", 0.20, 0.30),
        ("sales-agent", "qualified_lead_rate", 0.20, 0.25),
        ("ops-agent", "automation_rate", 0.82, 0.88),
        ("ops-agent", "cost_per_unit_usd", 0.05, 0.15),
    ] {
        let value = db.number(&format!(
            "SELECT value_30d FROM agent_kpi.cfo_tiles
             WHERE agent_id = '{agent}' AND metric = '{metric}'"
        ));
        assert!((low..high).contains(&value), "{agent} {metric}: {value}");
    }

    // reviewed samples give the tile of trust its number
    assert_eq!(
        db.number(
            "SELECT count(*) FROM agent_kpi.cfo_tiles
             WHERE metric = 'hallucination_rate' AND value_30d BETWEEN 0 AND 0.1 AND ci_high < 0.2"
        ),
        3.0
    );

    // the rollups of last month: a refund and a bill came late, and nothing else
    let books = |text: &str| -> Vec<String> {
        let line = |line: &&str| {
            line.contains(" refund (-") || line.contains("1 line of model-host (310.4 usd)")
        };
        text.lines().filter(line).map(str::to_owned).collect()
    };
    assert_eq!(books(&first).len(), 2, "{first}");
    assert_eq!(
        db.lines(
            "SELECT metric, value_change
             FROM agent_kpi.reported_and_known WHERE adjustments > 0 ORDER BY metric LIMIT 1"
        ),
        ["billed_usd|310.4000000000"]
    );
    assert_eq!(
        db.lines(
            "SELECT metric FROM agent_kpi.reported_and_known WHERE adjustments > 0 ORDER BY metric"
        ),
        ["billed_usd", "revenue_per_agent_hour_usd", "revenue_usd"]
    );

    let second = works(db.url(), &["demo"]);
    assert_eq!(tiles(&second), tiles(&first));
    assert_eq!(books(&second), books(&first));
    assert_eq!(db.number(count), turns);
}

#[test]
fn the_demo_leaves_somebody_elses_events_alone() {
    let db = two_agents("program_demo_refused");
    let line = fails(db.url(), &["demo"]);
    assert!(
        line.contains("of its own") && line.contains("empty database"),
        "{line}"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM agent_metrics.agents")
            .as_deref(),
        Some("2")
    );
}
