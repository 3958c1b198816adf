//! What the planner makes of the questions that analysts ask.

use crate::support::{Db, db};

/// Rows that the planner expects of the node at the top.
fn expected(db: &Db, sql: &str) -> f64 {
    let plan = db.lines(&format!("EXPLAIN {sql}"));
    let rows = plan[0].split("rows=").nth(1).unwrap();
    rows.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn the_planner_knows_how_many_hours_and_days_there_are() {
    let db = db("plans");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         SELECT 'agent-' || i % 10, now() - i * interval '40 seconds', 'c-' || i / 6, i % 997
         FROM generate_series(1, 60000) AS i;
         SELECT agent_metrics.analyze_turns()",
    );
    // the second time on one day it does nothing
    assert_eq!(
        db.value("SELECT agent_metrics.analyze_turns()").as_deref(),
        Some("f")
    );
    for level in ["hour", "day"] {
        let sql = format!(
            "SELECT agent_id, date_trunc('{level}', occurred_at), agent_metrics.p95(latency_ms)
             FROM agent_metrics.agent_events GROUP BY 1, 2"
        );
        let groups = db.rows(&sql).len() as f64;
        let with = expected(&db, &sql);
        assert!(
            (groups / 2.0..=groups * 2.0).contains(&with),
            "{with} of {groups}"
        );
        db.exec(&format!(
            "DROP STATISTICS agent_metrics.agent_events_by_{level}"
        ));
        let without = expected(&db, &sql);
        assert!(without > groups * 5.0, "{without} of {groups}");
    }
}

#[test]
fn tiles_compute_what_they_show_and_no_more() {
    let db = db("plans_tiles");
    db.exec(
        "SELECT count(agent_metrics.register_agent('bot-' || i, 'support', 'Head of Support'))
         FROM generate_series(0, 39) AS i;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label, cost_usd)
         SELECT 'bot-' || i % 40, now() - i * interval '30 minutes', 'c-' || i, 'resolved', 0.01
         FROM generate_series(1, 2400) AS i",
    );
    db.exec("SELECT * FROM agent_metrics.refresh()");
    for table in ["agents", "metrics", "rollups_day", "fact_days"] {
        db.exec(&format!("ANALYZE {}", crate::support::full(table)));
    }
    for view in ["cfo_tiles", "cfo_spark", "kpi_daily"] {
        let plan = db
            .lines(&format!("EXPLAIN (VERBOSE) SELECT * FROM agent_kpi.{view}"))
            .join("\n");
        assert!(
            !plan.contains("agent_metrics.ratio("),
            "called row by row by {view}: {plan}"
        );
    }
    // the metrics that have no tile are looked up by functions
    db.exec("SET track_functions = 'pl'");
    let calls = db.lines(
        "BEGIN; SELECT count(t) FROM (SELECT * FROM agent_kpi.cfo_tiles OFFSET 0) t;
         SELECT funcname || ' ' || calls FROM pg_stat_xact_user_functions WHERE funcname LIKE 'kpi\\_%'; COMMIT",
    );
    assert_eq!(calls, ["160"], "{calls:?}");
}

#[test]
fn two_thousand_late_labels_stay_in_memory() {
    let db = db("plans_labels");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT 'bot', now() - i * interval '1 minute', 'c-' || i / 2 FROM generate_series(0, 3999) AS i",
    );
    db.exec("SELECT * FROM agent_metrics.refresh()");
    db.exec("UPDATE agent_metrics.agent_events SET outcome_label = 'resolved'");
    let temporary_files = || {
        db.exec("SELECT pg_stat_force_next_flush()");
        db.number("SELECT temp_files FROM pg_stat_database WHERE datname = current_database()")
    };
    let before = temporary_files();
    db.exec("SELECT * FROM agent_metrics.refresh()");
    assert_eq!(temporary_files(), before);
    assert_eq!(
        db.number("SELECT sum(outcomes) FROM agent_metrics_internal.rollups WHERE level = 'day'"),
        2000.0
    );
}

/// The server reads the text of a CHECK anew in every statement that inserts.
#[test]
fn a_statement_that_inserts_reads_no_constraint() {
    let db = db("plans_constraints");
    assert!(
        db.lines(
            "SELECT c.conrelid::regclass || ' ' || c.conname FROM pg_constraint c
             WHERE c.contype = 'c'
               AND c.conrelid IN (SELECT relid FROM pg_partition_tree('agent_metrics.agent_events'))"
        )
        .is_empty()
    );
    // and who looks for a conversation finds it by the same index
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT 'bot', now(), 'c-' || i FROM generate_series(1, 5000) AS i; ANALYZE agent_metrics.agent_events",
    );
    let plan = db
        .lines("EXPLAIN SELECT * FROM agent_metrics.agent_events WHERE conversation_id = 'c-7'")
        .join("\n");
    assert!(plan.contains("conversation_id_idx"), "{plan}");
}
