//! Months whose turns are odd: of evaluations alone, filled with no trigger to check them, of
//! another cluster's counter.

use std::fs;

use crate::partitions::archive::{archive, name_of, two_old_months};
use crate::support::Db;
use crate::support::asserts::assert_verified;
use crate::support::program::{program, works};
use crate::support::rollups::refresh;

fn restore_all(db: &Db, folder: &std::path::Path) {
    for entry in fs::read_dir(folder).unwrap() {
        works(
            db.url(),
            &["restore", entry.unwrap().path().to_str().unwrap()],
        );
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_month_of_evaluations_alone_is_archived() {
    let (db, [old, _], folder) = two_old_months("odd_evaluations");
    db.exec(&format!("UPDATE {old} SET is_eval = true"));
    refresh(&db);
    let turns = db.number("SELECT count(*) FROM agent_metrics.agent_events");
    let said = archive(&db, &folder);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_verified(&db);
    restore_all(&db, &folder);
    refresh(&db);
    assert_verified(&db);
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics.agent_events"),
        turns
    );
}

#[test]
fn what_a_ready_made_month_bears_is_refused_by_name_until_it_could_come_back() {
    let (db, [old, _], folder) = two_old_months("odd_ready_made");
    let bound = db
        .value(&format!(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = '{old}'::regclass"
        ))
        .unwrap();
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events DETACH PARTITION {old};
         ALTER TABLE {old} DISABLE TRIGGER ALL;
         UPDATE {old} SET outcome_source = '', outcome_label = 'success' WHERE conversation_id LIKE '%-0';
         UPDATE {old} SET outcome_source = 'event order-' || conversation_id, outcome_label = 'failure'
         WHERE conversation_id LIKE '%-1';
         UPDATE {old} SET outcome_source = repeat('robot', 100000), outcome_label = 'failure'
         WHERE conversation_id LIKE '%-2';
         UPDATE {old} SET cost_usd = (ARRAY['NaN', 'Infinity', '-Infinity', '-1', '1e50']::numeric[])[
                              1 + extract(day FROM occurred_at)::integer % 5], model = 'odd';
         UPDATE {old} SET latency_ms = (ARRAY['NaN', 'Infinity', '-Infinity', '-1']::float8[])[
                              1 + extract(day FROM occurred_at)::integer % 4];
         UPDATE {old} SET token_usage_input = 9223372036854775807, token_usage_output = -5;
         UPDATE {old} SET tools_called = '5';
         ALTER TABLE {old} ENABLE TRIGGER ALL;
         ALTER TABLE agent_metrics.agent_events ATTACH PARTITION {old} {bound}"
    ));
    refresh(&db);
    assert_verified(&db);
    // a file that could not come back is not written, whichever column it is
    let mend = [
        ("outcome_source", "outcome_source = 'judge'"),
        ("cost_usd", "cost_usd = 1"),
        ("latency_ms", "latency_ms = 5"),
        (
            "token_usage",
            "token_usage_input = 7, token_usage_output = 7",
        ),
        ("tools_called", "tools_called = '[]'"),
    ];
    let mut named = Vec::new();
    for _ in mend {
        let (code, _, error) =
            program(db.url(), &["archive", "--folder", folder.to_str().unwrap()]);
        assert_eq!(code, 1, "{error}");
        assert!(
            error.contains(name_of(&old)) && error.contains("UPDATE"),
            "{error}"
        );
        let (column, cure) = mend
            .iter()
            .find(|(column, _)| error.contains(column))
            .unwrap_or_else(|| panic!("{error}"));
        named.push(*column);
        assert_verified(&db);
        db.exec(&format!(
            "ALTER TABLE {old} DISABLE TRIGGER zz_check_turn; UPDATE {old} SET {cure};
             ALTER TABLE {old} ENABLE ALWAYS TRIGGER zz_check_turn"
        ));
        refresh(&db);
    }
    named.sort_unstable();
    named.dedup();
    assert_eq!(named.len(), mend.len(), "{named:?}");
    let turns = db.number("SELECT count(*) FROM agent_metrics.agent_events") + 120.0;
    archive(&db, &folder);
    assert_eq!(
        db.lines("SELECT DISTINCT state FROM agent_metrics_internal.archives"),
        ["archived"]
    );
    db.exec("SELECT count(*) FROM agent_metrics.rebuild()");
    assert_verified(&db);
    restore_all(&db, &folder);
    refresh(&db);
    assert_verified(&db);
    assert!(db.number("SELECT count(*) FROM agent_metrics.agent_events") >= turns);
}

#[test]
fn a_turn_that_no_refresh_has_seen_is_waited_for_though_its_id_is_below_another_clusters() {
    let (db, [old, _], folder) = two_old_months("odd_foreign");
    // as after a restore from a busier cluster: ids up to a billion are another's
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events DISABLE TRIGGER ALL;
         UPDATE {old} SET recorded_in = '1000000000' WHERE conversation_id LIKE '%-0';
         ALTER TABLE agent_metrics.agent_events ENABLE TRIGGER ALL;
         SELECT agent_metrics.setup();
         UPDATE agent_metrics_internal.agent_watermarks SET snapshot = NULL"
    ));
    refresh(&db);
    assert_verified(&db);
    assert_eq!(
        db.lines("SELECT DISTINCT foreign_to FROM agent_metrics_internal.agent_watermarks"),
        ["1000000000"]
    );
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         SELECT 'sup', min(occurred_at), 'uncounted', 5 FROM {old}"
    ));
    assert_verified(&db);
    let id = "(SELECT archive_id FROM agent_metrics_internal.archives)";
    db.exec(&format!(
        "SELECT agent_metrics.begin_archive('{0}', '/nowhere', '{0}.parquet');
         SELECT agent_metrics.condense_archive({id}, 1, 'x', 1)",
        name_of(&old)
    ));
    assert_eq!(
        db.lines(&format!("SELECT agent_metrics.detach_archive({id})")),
        ["{sup}"]
    );
    archive(&db, &folder);
    assert_verified(&db);
    assert_eq!(
        db.lines(
            "SELECT turns FROM agent_metrics.conversations WHERE conversation_id = 'uncounted'"
        ),
        ["1"]
    );
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_billed_apart_comes_back_and_files_from_before_it_are_read() {
    let (db, [old, _], folder) = two_old_months("odd_details");
    db.exec(&format!(
        "UPDATE {old} SET usage_details = '{{\"reasoning\": 5, \"cache_write_1h\": 10000}}', service_tier = 'flex',
                attributes = '{{\"channel\": \"chat\"}}' WHERE conversation_id LIKE '%-1'"
    ));
    refresh(&db);
    let turns = "SELECT event_id, usage_details, service_tier, attributes
                 FROM agent_metrics.agent_events ORDER BY event_id";
    let before = db.lines(turns);
    assert!(before.iter().any(|turn| turn.contains("cache_write_1h")));
    archive(&db, &folder);
    restore_all(&db, &folder);
    refresh(&db);
    assert_eq!(db.lines(turns), before);
    // a file that was written before there were such columns
    db.exec(
        "ALTER TABLE agent_metrics.agent_events DROP COLUMN usage_details, DROP COLUMN service_tier,
                                                DROP COLUMN attributes",
    );
    archive(&db, &folder);
    db.exec(
        "ALTER TABLE agent_metrics.agent_events ADD COLUMN usage_details jsonb, ADD COLUMN service_tier text,
                                                ADD COLUMN attributes jsonb",
    );
    restore_all(&db, &folder);
    refresh(&db);
    assert_verified(&db);
    let without = db.lines(turns);
    assert_eq!(without.len(), before.len());
    assert!(without.iter().all(|turn| turn.ends_with("|||")));
}
