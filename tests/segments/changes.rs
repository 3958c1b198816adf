//! Whatever changes, the segments are what raw rows say, and add up to the whole.

use std::fs;

use super::{assert_divided, assert_traced, divided_shop, switch_on};
use crate::partitions::archive::{archive, file_of, two_old_months};
use crate::support::asserts::{assert_no_rows, assert_verified};
use crate::support::program::works;
use crate::support::rollups::{assert_rollups, refresh};

#[test]
fn whatever_is_written_changed_or_deleted_moves_from_segment_to_segment() {
    let db = divided_shop("segments_changes");
    for change in [
        // a turn goes over, with its conversation or without
        "UPDATE agent_metrics.agent_events SET model = 'middle' WHERE conversation_id = 'sup-2-1' AND turn_index = 0",
        "UPDATE agent_metrics.agent_events SET model = NULL WHERE conversation_id = 'sal-3-1'",
        "UPDATE agent_metrics.agent_events SET attributes = attributes || '{\"channel\": \"mail\"}'
         WHERE conversation_id LIKE 'sal-4-%' AND turn_index = 2",
        // one that comes late and before all others says what the conversation is
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, model, attributes, cost_usd)
         VALUES ('sal', '2026-03-03 00:01+00', 'sal-2-1', 'late', '{\"channel\": \"late\"}', 0.5)",
        // a conversation goes on the day after, and moves to a day before
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, model)
         VALUES ('ops', '2026-03-05 09:00+00', 'ops-3-2', 'large')",
        "UPDATE agent_metrics.agent_events SET occurred_at = occurred_at - interval '3 days'
         WHERE conversation_id = 'sup-6-0' AND turn_index = 0",
        "UPDATE agent_metrics.agent_events SET conversation_id = 'sal-1-1' WHERE conversation_id = 'sal-1-2'",
        // what the business says takes the turns of the conversation along
        "UPDATE agent_metrics.business_events SET detail = '{\"customer_tier\": \"gold\"}'
         WHERE business_event_id = 'crm-sup-5'",
        "DELETE FROM agent_metrics.business_events WHERE business_event_id = 'crm-sal-2'",
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, detail)
         VALUES ('new', 'ticket_resolved', now(), 'ops-7-3', '{\"customer_tier\": \"platinum\"}')",
        "UPDATE agent_metrics.outcomes SET is_success = NOT is_success WHERE label = 'failure'",
        "UPDATE agent_metrics.agent_events SET is_eval = true WHERE conversation_id = 'sal-8-3' AND turn_index = 1",
        "DELETE FROM agent_metrics.agent_events WHERE conversation_id IN ('sup-2-1', 'sal-0-0', 'ops-9-4')",
        "SELECT * FROM agent_metrics.erase_user('user1')",
    ] {
        db.exec(change);
        assert_verified(&db);
        refresh(&db);
        assert_divided(&db);
    }
    assert_traced(&db);
    assert_rollups(&db);
    let stored = db.lines(super::STORED);
    db.exec("SELECT agent_metrics.rebuild()");
    assert_eq!(db.lines(super::STORED), stored);
    db.exec("SELECT agent_metrics.rebuild('sal', '2026-03-02', '2026-03-04')");
    assert_eq!(db.lines(super::STORED), stored);
    db.exec("UPDATE agent_metrics_internal.agent_watermarks SET snapshot = NULL");
    refresh(&db);
    assert_eq!(db.lines(super::STORED), stored);
    assert_verified(&db);
}

#[test]
fn a_dimension_is_built_when_it_is_switched_on_and_gone_when_it_is_off() {
    let db = divided_shop("segments_switched");
    let before = db.lines(super::STORED);
    let of_models = |lines: &[String]| {
        let of = |line: &&String| line.contains("|model|");
        lines.iter().filter(of).cloned().collect::<Vec<_>>()
    };
    db.exec("UPDATE agent_metrics.dimensions SET is_active = false WHERE dimension <> 'model'");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_kpi.kpi_segments_daily WHERE dimension <> 'model'",
    );
    assert_verified(&db);
    refresh(&db);
    assert_verified(&db);
    assert_eq!(db.lines(super::STORED), of_models(&before));
    switch_on(&db, &super::DIVIDED);
    refresh(&db);
    assert_eq!(db.lines(super::STORED), before);
    db.exec("UPDATE agent_metrics.dimensions SET is_active = false");
    refresh(&db);
    for table in [
        "segment_rollups",
        "segment_facts",
        "conversation_segments",
        "segment_builds",
    ] {
        assert_no_rows(
            &db,
            &format!("SELECT * FROM agent_metrics_internal.{table}"),
        );
    }
    assert_verified(&db);
}

#[test]
fn archived_turns_keep_their_segments_and_come_back_with_them() {
    let (db, months, folder) = two_old_months("segments_archived");
    db.exec(
        "UPDATE agent_metrics.agent_events
         SET model = (ARRAY['large', 'small'])[1 + extract(minute FROM occurred_at)::integer % 2],
             attributes = jsonb_build_object('channel', outcome_label)",
    );
    switch_on(&db, &["model", "channel"]);
    refresh(&db);
    assert_verified(&db);
    let segments = "SELECT s::text FROM agent_metrics_internal.segment_rollups s
                    UNION ALL SELECT s::text FROM agent_metrics_internal.conversation_segments s ORDER BY 1";
    let before = db.lines(segments);
    assert!(before.len() > 10);
    archive(&db, &folder);
    refresh(&db);
    assert_verified(&db);
    assert_eq!(db.lines(segments), before);
    db.exec("UPDATE agent_metrics_internal.agent_watermarks SET snapshot = NULL");
    refresh(&db);
    assert_eq!(db.lines(segments), before);
    // of a dimension that is declared later nobody knows the values, and it adds up all the same
    switch_on(&db, &["intent"]);
    refresh(&db);
    assert_verified(&db);
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.segment_days WHERE dimension = 'intent' AND segment <> '(none)'",
    );
    db.exec("UPDATE agent_metrics.dimensions SET is_active = false WHERE dimension = 'intent'");
    for month in &months {
        let file = file_of(&folder, month);
        works(db.url(), &["restore", file.to_str().unwrap()]);
        refresh(&db);
        assert_verified(&db);
    }
    assert_eq!(db.lines(segments), before);
    assert_no_rows(
        &db,
        "SELECT 1 FROM agent_metrics_internal.archived_segments
         UNION ALL SELECT 1 FROM agent_metrics_internal.archived_conversation_segments",
    );
    fs::remove_dir_all(&folder).unwrap();
}
