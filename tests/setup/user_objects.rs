//! What a DBA does to our tables: columns, triggers, policies, tablespaces, publications, partitions of his own.

use crate::support::Db;
use crate::support::asserts::{assert_no_rows, assert_refused, assert_verified};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;

fn old_turns(db: &Db, turns: i32) {
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         SELECT 'sup', now() - interval '8 months' - n * interval '10 minutes', 'old' || n
         FROM generate_series(1, {turns}) n"
    ));
}

fn split(db: &Db) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some(step) = db.value("SELECT agent_metrics.partition_step()") {
        steps.push(step);
        assert!(steps.len() < 100, "{steps:?}");
    }
    steps
}

#[test]
fn generated_and_identity_columns_of_the_users_own_are_borne_by_partitions() {
    let db = shop("user_generated");
    db.exec(
        "ALTER TABLE agent_metrics.agent_events ADD COLUMN total_tokens bigint
             GENERATED ALWAYS AS (coalesce(token_usage_input, 0) + coalesce(token_usage_output, 0)) STORED",
    );
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, token_usage_input)
         VALUES ('sup', now() + interval '4 months', 'ahead', 5)",
    );
    refresh(&db);
    assert!(db.number("SELECT agent_metrics.ensure_partitions(5)") >= 1.0);
    refresh(&db);
    assert_rollups(&db);
    old_turns(&db, 1_500);
    refresh(&db);
    let steps = split(&db);
    assert!(
        steps.iter().any(|step| step.starts_with("swapped")),
        "{steps:?}"
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.number(
            "SELECT sum(total_tokens - coalesce(token_usage_input, 0)
                        - coalesce(token_usage_output, 0))
             FROM agent_metrics.agent_events"
        ),
        0.0
    );
    // turns that were moved are the turns they were
    assert_eq!(
        db.number("SELECT coalesce(sum(events_changed), 0) FROM agent_metrics.refresh()"),
        0.0
    );
}

#[test]
fn a_column_on_any_table_stops_nothing() {
    let db = shop("user_columns");
    for table in db.lines(
        "SELECT c.oid::regclass FROM pg_class c
         WHERE c.relnamespace IN ('agent_metrics'::regnamespace,
                                  'agent_metrics_internal'::regnamespace)
           AND c.relkind IN ('r', 'p') AND NOT c.relispartition
         ORDER BY 1",
    ) {
        db.exec(&format!(
            "ALTER TABLE {table} ADD COLUMN started_at_of_ours timestamptz, ADD COLUMN note_of_ours text DEFAULT 'x',
                 ADD COLUMN length_of_ours integer GENERATED ALWAYS AS (1 + 1) STORED"
        ));
    }
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'sup', now() - interval '1 hour', 'new', 'success';
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, outcome_label)
         VALUES ('sup', 'new', 'team', 'failure');
         INSERT INTO agent_metrics.business_events (business_event_id, kind, conversation_id, amount_usd)
         VALUES ('n', 'charge', 'new', 5);
         INSERT INTO agent_metrics.survey_answers (agent_id, conversation_id, score) VALUES ('sup', 'new', 9);
         UPDATE agent_metrics.agent_events SET cost_usd = 1 WHERE conversation_id = 'new';
         DELETE FROM agent_metrics.agent_events
         WHERE conversation_id IN (SELECT min(conversation_id) FROM agent_metrics.agent_events)",
    );
    refresh(&db);
    assert_verified(&db);
    db.exec("SELECT count(*) FROM agent_metrics.rebuild()");
    db.exec("SELECT agent_metrics.setup()");
    db.exec("SELECT * FROM agent_metrics.evaluate_thresholds()");
    assert_verified(&db);
}

#[test]
fn whoever_does_not_see_all_rows_moves_no_watermark() {
    let db = shop("user_policies");
    let role = format!("blind_{}", std::process::id());
    db.exec(&format!(
        "CREATE ROLE {role}; SELECT agent_metrics.grant_access('{role}', 'admin');
         ALTER TABLE agent_metrics.agent_events ENABLE ROW LEVEL SECURITY;
         CREATE POLICY few ON agent_metrics.agent_events USING (conversation_id LIKE 'a%');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('sup', now(), 'hidden')"
    ));
    let marks = "SELECT string_agg(agent_id || snapshot, ',' ORDER BY agent_id)
                 FROM agent_metrics_internal.agent_watermarks";
    let before = db.value(marks);
    db.exec(&format!("SET ROLE {role}"));
    for call in [
        "SELECT * FROM agent_metrics.refresh()",
        "SELECT * FROM agent_metrics.refresh('sup')",
        "SELECT * FROM agent_metrics.verify()",
        "SELECT * FROM agent_metrics.rebuild()",
    ] {
        let error = assert_refused(&db, call, "42501", "agent_events");
        assert!(error.hint.contains("BYPASSRLS"), "{error}");
    }
    db.exec("RESET ROLE");
    assert_eq!(db.value(marks), before);
    refresh(&db);
    assert_rollups(&db);
    db.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn every_table_has_a_primary_key_so_that_all_may_be_published() {
    let db = shop("user_publication");
    assert_no_rows(
        &db,
        "SELECT c.relname FROM pg_class c
WHERE c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
AND c.relkind IN ('r', 'p')
AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)",
    );
}

#[test]
fn a_partition_of_the_users_own_that_is_truncated_by_itself_is_noticed() {
    let db = shop("user_partition");
    let part = db
        .value("SELECT tableoid::regclass FROM agent_metrics.agent_events ORDER BY occurred_at DESC LIMIT 1")
        .unwrap();
    let bound = db
        .value(&format!(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = '{part}'::regclass"
        ))
        .unwrap();
    db.exec(&format!(
        "BEGIN;
         CREATE TABLE agent_metrics.mine (LIKE agent_metrics.agent_events INCLUDING ALL);
         INSERT INTO agent_metrics.mine SELECT * FROM {part};
         ALTER TABLE agent_metrics.agent_events DETACH PARTITION {part};
         ALTER TABLE agent_metrics.agent_events ATTACH PARTITION agent_metrics.mine {bound};
         COMMIT"
    ));
    refresh(&db);
    assert_rollups(&db);
    db.exec("TRUNCATE agent_metrics.mine");
    refresh(&db);
    assert_rollups(&db);
    // and one without truncation is left alone
    assert_eq!(
        db.number("SELECT coalesce(sum(buckets_written), 0) FROM agent_metrics.refresh()"),
        0.0
    );
}

#[test]
fn a_dropped_schema_of_views_is_made_again() {
    let db = shop("user_views");
    db.exec("SET client_min_messages = error; DROP SCHEMA agent_kpi CASCADE");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('sup', now(), 'x')",
    );
    refresh(&db);
    db.exec("SELECT agent_metrics.setup()");
    assert_rollups(&db);
    assert!(db.number("SELECT count(*) FROM agent_kpi.cfo_tiles") > 0.0);
}

#[test]
fn new_partitions_go_where_the_table_says_and_not_hundreds_at_once() {
    let db = shop("user_tablespace");
    let name = format!("place_{}", std::process::id());
    db.exec("SET allow_in_place_tablespaces = on");
    db.exec(&format!("CREATE TABLESPACE {name} LOCATION ''"));
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events SET TABLESPACE {name}"
    ));
    assert_eq!(
        db.number("SELECT agent_metrics.ensure_partitions(1200)"),
        24.0
    );
    assert_eq!(
        db.number(&format!(
            "SELECT count(*) FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace
             WHERE s.spcname = '{name}' AND c.relispartition AND c.relkind = 'r'"
        )),
        24.0
    );
    refresh(&db);
    assert_rollups(&db);
    db.exec("DROP TABLE agent_metrics.agent_events CASCADE");
    db.exec(&format!("DROP TABLESPACE {name}"));
}
