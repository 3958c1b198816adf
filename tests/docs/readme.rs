//! The SQL of the README and of docs/ is executed, in the order in which a reader comes to it.

use crate::support::empty_db;
use crate::support::rollups::assert_rollups;

/// One story, page by page.
const PAGES: [&str; 13] = [
    include_str!("../../README.md"),
    include_str!("../../docs/bi.md"),
    include_str!("../../docs/ingest.md"),
    include_str!("../../docs/money.md"),
    include_str!("../../docs/audits.md"),
    include_str!("../../docs/thresholds-and-alerts.md"),
    include_str!("../../docs/recipes/add-a-metric.md"),
    include_str!("../../docs/recipes/add-a-column.md"),
    include_str!("../../docs/recipes/add-an-event-kind.md"),
    include_str!("../../docs/recipes/add-a-channel.md"),
    include_str!("../../docs/recipes/add-a-client.md"),
    include_str!("../../docs/operations.md"),
    include_str!("../../docs/security.md"),
];

/// The SQL blocks of all pages.
fn blocks() -> Vec<String> {
    let blocks = PAGES.iter().flat_map(|page| page.split("```sql\n").skip(1));
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_block_runs() {
    let db = empty_db("readme");
    let session = db.session();
    let blocks = blocks();
    assert!(
        blocks.len() >= 5,
        "the README shows {} blocks of SQL",
        blocks.len()
    );
    let (install, rest): (Vec<_>, Vec<_>) = blocks
        .into_iter()
        .partition(|block| block.contains("CREATE EXTENSION"));
    for role in ["metabase", "pipeline", "agent_metrics_program"] {
        session.exec(&format!("DROP ROLE IF EXISTS {role}; CREATE ROLE {role}"));
    }
    // one statement at a time, as psql sends them: sent together they would be one transaction
    for block in install.iter().chain(&rest) {
        for statement in block.split_inclusive(";\n") {
            session.exec(statement);
        }
    }
    assert_rollups(&session);
    assert_eq!(
        session.lines(
            "SELECT metric, value FROM agent_kpi.kpi_daily
             WHERE agent_id = 'support-bot' AND metric = 'task_success_rate' AND value IS NOT NULL"
        ),
        ["task_success_rate|1"]
    );
    // the money page's bill is that of its turns
    assert_eq!(
        session
            .lines("SELECT provider, model, turns, explanation FROM agent_kpi.cost_reconciliation"),
        ["anthropic|large-model-4|2|they agree"]
    );
    for role in ["metabase", "pipeline", "agent_metrics_program"] {
        session.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    }
}
