//! Shapes that real tools write, each with its right value: ../shared/cases/ingest, read from there, and the same kinds
//! with other names. Where the folder is not, the test says that it skips.

use crate::support::program::works;
use crate::support::{Db, Session, db, golden};

/// A database as the cases want it: an agent and some prices that are made up.
pub fn cases_db(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('support-bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million) VALUES
             ('anthropic', 'sonnet-x', 'input', 3), ('anthropic', 'sonnet-x', 'cache_read', 0.3),
             ('anthropic', 'sonnet-x', 'cache_write', 3.75), ('anthropic', 'sonnet-x', 'output', 15),
             ('aws.bedrock', 'us.sonnet-x', 'input', 3), ('aws.bedrock', 'us.sonnet-x', 'cache_read', 0.3),
             ('aws.bedrock', 'us.sonnet-x', 'cache_write', 3.75), ('aws.bedrock', 'us.sonnet-x', 'output', 15),
             ('openai', 'gpt-x', 'input', 2), ('openai', 'gpt-x', 'cache_read', 0.5), ('openai', 'gpt-x', 'output', 8),
             ('gemini', 'gem-x', 'input', 1.25), ('gemini', 'gem-x', 'output', 10)",
    );
    db
}

/// What ingest_events() says: stored|repeated|quarantined|waiting.
pub fn ingest(session: &Session, json: &str) -> String {
    session
        .lines(&format!(
            "SELECT * FROM agent_metrics.ingest_events($json${json}$json$)"
        ))
        .remove(0)
}

/// Agent, conversation, tokens (input, output, cache read, cache write), cost, names of tools, is_eval.
pub const TURNS: &str =
    "SELECT e.agent_id, e.conversation_id, e.token_usage_input, e.token_usage_output,
        e.token_usage_cache_read, e.token_usage_cache_write, e.cost_usd,
        (SELECT string_agg(coalesce(t.tool ->> 'name', t.tool #>> '{}'), ',' ORDER BY t.place)
         FROM jsonb_array_elements(e.tools_called) WITH ORDINALITY AS t (tool, place)), e.is_eval
     FROM agent_metrics.agent_events e ORDER BY e.occurred_at, e.event_id";

/// File and what is right: the turns that are there afterwards, or, in brackets, why there are none.
const CASES: [(&str, &[&str]); 40] = [
    ("E01", &["support-bot|c-1|10|5|||0.00006||f"]),
    ("F01", &["support-bot|c-1|8112|345|8000|100|0.0087||f"]),
    ("F03", &[]),
    (
        "F04",
        &["(metrics are not taken: send traces or logs, whose turns the metrics only sum up)"],
    ),
    ("F05", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("F06", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("F07", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("F08", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("F09", &["support-bot|c-1|1000|50|||0.0024||f"]),
    (
        "F19",
        &[
            "support-bot|c-1||||||lookup_order|f",
            "support-bot|c-1||||||lookup_order|f",
            "support-bot|c-1||||||lookup_order|f",
        ],
    ),
    ("F22", &["(no agent_id)"]),
    ("F24", &["support-bot|c-1|1000|100|||0.0028||f"]),
    ("J01", &["support-bot|c-1|100|10|||0.00028||f"]),
    ("J02", &["(no agent_id)"]),
    ("S01", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("S02", &["support-bot|c-1|1000|50|||0.0024||f"]),
    (
        "S04",
        &[
            "support-bot|c-1|1000|50|||0.0024||f",
            "support-bot|c-1|1000|50|||0.0024||f",
        ],
    ),
    (
        "S05",
        &[
            "support-bot|c-1|1000|50|||0.0024|research|f",
            "support-bot|c-1|300|20|||0.00076||f",
        ],
    ),
    ("S07", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("S08", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("S09", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("S10", &["support-bot|c-1|1000|50|||0.0024||f"]),
    ("S11", &["support-bot|c-1|1000|50|||0.0024|lookup_order|f"]),
    (
        "S13",
        &[
            "support-bot|c-1|1000|50|||0.0024||f",
            "support-bot|c-2|1000|50|||0.0024||f",
        ],
    ),
    ("S14", &["support-bot|c-1|1000|100|||0.0028||t"]),
    (
        "S15",
        &["support-bot|c-1|91660|1200|84562|7096|0.0699846|Bash|f"],
    ),
    (
        "S16",
        &["support-bot|c-1|1000|50|800||0.0012|lookup_order|f"],
    ),
    ("S21", &["support-bot|c-1|10|5|||0.00006|lookup|f"]),
    ("S23", &["support-bot|c-1|1000|50|||0.0024||f"]),
    (
        "S28",
        &[
            "support-bot|c-1|22|8|||0.0001075|research_agent|f",
            "support-bot|c-1|15|7|||0.00008875||f",
        ],
    ),
    (
        "S30",
        &[
            "support-bot|c-1|1909|32|||0.004074|list|f",
            "support-bot|c-1|2138|771|||0.010444||f",
        ],
    ),
    ("T01", &["support-bot|c-1|1900|50|600|300|0.005055||f"]),
    ("T02", &["support-bot|c-1|11935|50|5758|6174|0.0256389||f"]),
    ("T03", &["support-bot|c-1|20000|100|19000|500|0.010575||f"]),
    ("T05", &["support-bot|c-1|1000|100|||0.0123||f"]),
    ("T07", &["support-bot|c-1|1000|100|||0.0045||f"]),
    ("T08", &["support-bot|c-1|1200|90|1000||0.00162||f"]),
    ("T09", &["support-bot|c-1|100|150|||0.0014||f"]),
    ("T11", &["support-bot|c-1|||||||f"]),
    ("T13", &["support-bot|c-1|1100|80|||0.00284||f"]),
];

/// The deliveries of a case, which stand between $b$ and $b$.
fn deliveries(text: &str) -> Vec<&str> {
    text.split("$b$").skip(1).step_by(2).collect()
}

#[test]
fn shapes_that_real_tools_write_become_the_turns_that_they_mean() {
    let folder = golden::path("../shared/cases/ingest");
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return;
    }
    let db = cases_db("traces_cases");
    let mut wrong = Vec::new();
    for (case, right) in CASES {
        let text = std::fs::read_to_string(folder.join(format!("{case}.sql"))).unwrap();
        for delivery in deliveries(&text) {
            db.exec(&format!(
                "SELECT * FROM agent_metrics.ingest_events($b${delivery}$b$)"
            ));
        }
        let mut found = db.lines(TURNS);
        found.extend(db.lines(
            "SELECT '(' || w.reason || ')' FROM (SELECT q.reason FROM agent_metrics.quarantined_events q
             UNION ALL SELECT t.missing FROM agent_kpi.incomplete_traces t) w ORDER BY 1",
        ));
        if found != right {
            wrong.push(format!("{case}: {found:?} is not {right:?}"));
        }
        db.exec(
            "DELETE FROM agent_metrics.agent_events; DELETE FROM agent_metrics.quarantined_events;
             DELETE FROM agent_metrics.turn_scores; DELETE FROM agent_metrics_internal.span_keys;
             DELETE FROM agent_metrics_internal.spans; DELETE FROM agent_metrics_internal.traces",
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_spool_with_a_bad_line_loses_no_other() {
    let folder = golden::path("../shared/cases/ingest/spool");
    if !folder.is_dir() {
        println!("skipped: there is no folder {}", folder.display());
        return;
    }
    let db = cases_db("traces_spool");
    let folder = folder.to_str().unwrap();
    let said = works(db.url(), &["ingest", folder]);
    // the same good lines stand in both
    for file in [
        "X1_nul.json: 2 stored, 0 there already, 0 incomplete, 1 in quarantine",
        "X5_cut.json: 0 stored, 2 there already, 0 incomplete, 1 in quarantine",
    ] {
        assert!(said.contains(file), "{file} is not in: {said}");
    }
    assert_eq!(
        db.lines(
            "SELECT regexp_replace(q.payload ->> 'place', '^.*/', ''), jsonb_typeof(q.payload -> 'text')
             FROM agent_metrics.quarantined_events q ORDER BY 1"
        ),
        ["X1_nul.json:2|string", "X5_cut.json:3|string"]
    );
    assert_eq!(
        db.lines("SELECT count(*), count(DISTINCT event_id) FROM agent_metrics.agent_events"),
        ["2|2"]
    );
}
