//! What guards the numbers: `verify()` finds a wrong value wherever it stands, and so does the
//! oracle of support/rollups.rs.

use crate::support::asserts::assert_no_rows;
use crate::support::rollups::{assert_oracle, assert_rollups, oracle_differences};
use crate::support::shop::shop;

#[test]
fn verify_finds_a_planted_wrong_value_in_every_place() {
    let db = shop("verify_planted");
    let plants = [
        (
            "UPDATE agent_metrics_internal.rollups SET turns = turns + 1
             WHERE agent_id = 'sup' AND level = 'day' AND bucket = '2026-03-04'",
            "sup|day|turns",
        ),
        (
            "UPDATE agent_metrics_internal.rollups SET successes = successes + 1
             WHERE agent_id = 'sup' AND level = 'hour' AND bucket = '2026-03-04 03:00:00+00'",
            "sup|hour|successes",
        ),
        (
            "UPDATE agent_metrics_internal.rollups SET cost_usd = cost_usd + 0.0000000001
             WHERE agent_id = 'sup' AND level = 'fine' AND bucket = '2026-03-04 00:10:00+00'",
            "sup|fine|cost_usd",
        ),
        (
            "UPDATE agent_metrics_internal.rollups
             SET latency = latency OPERATOR(agent_metrics.+) '1 [5, 5] 5'
             WHERE agent_id = 'ops' AND level = 'day' AND bucket = '2026-03-04'",
            "ops|day|latency",
        ),
        (
            "UPDATE agent_metrics_internal.rollups
             SET latency = NULL WHERE agent_id = 'ops' AND level = 'day' AND bucket = '2026-03-04'",
            "ops|day|latency",
        ),
        (
            "UPDATE agent_metrics_internal.rollups SET leads = leads - 1
             WHERE agent_id = 'sal' AND level = 'day' AND bucket = '2026-03-01'",
            "sal|day|leads",
        ),
        (
            "UPDATE agent_metrics_internal.rollups SET tokens_by_turns = 0
             WHERE agent_id = 'sal' AND level = 'day' AND bucket = '2026-03-01'",
            "sal|day|tokens_by_turns",
        ),
        (
            "DELETE FROM agent_metrics.conversations WHERE conversation_id = 'sal-3-3'",
            "sal|conversation|sal-3-3",
        ),
        (
            "UPDATE agent_metrics.conversations SET is_success = NOT is_success WHERE conversation_id = 'sal-3-3'",
            "sal|conversation|sal-3-3",
        ),
    ];
    for (sql, expected) in plants {
        db.exec("BEGIN");
        db.exec(sql);
        let found = db.lines("SELECT agent_id, level, measure FROM agent_metrics.verify()");
        assert!(found.contains(&expected.to_owned()), "{sql} gave {found:?}");
        let agent = expected.split('|').next().unwrap();
        assert!(
            !db.lines(&format!("SELECT * FROM agent_metrics.verify('{agent}')"))
                .is_empty()
        );
        db.exec("ROLLBACK");
    }
    // a row that should not be there, and one that is not there and should
    db.exec("BEGIN");
    db.exec(
        "INSERT INTO agent_metrics_internal.rollups (agent_id, level, bucket, turns)
         VALUES ('ops', 'day', '2026-07-01', 3);
         DELETE FROM agent_metrics_internal.rollups
         WHERE agent_id = 'ops' AND level = 'hour' AND bucket = '2026-03-04 03:00:00+00';
         CREATE TEMP TABLE ghost AS SELECT * FROM agent_metrics.conversations WHERE conversation_id = 'ops-1-1';
         UPDATE ghost SET conversation_id = 'ghost';
         INSERT INTO agent_metrics.conversations SELECT * FROM ghost",
    );
    let found = db.lines(
        "SELECT DISTINCT level, measure, stored IS NULL, recomputed IS NULL
         FROM agent_metrics.verify()",
    );
    for expected in ["day|turns|f|t", "hour|turns|t|f", "conversation|ghost|f|t"] {
        assert!(
            found.contains(&expected.to_owned()),
            "{expected} is not in {found:?}"
        );
    }
    // limits of time: whole report days that the span touches
    assert_eq!(
        db.lines(
            "SELECT DISTINCT bucket AT TIME ZONE 'UTC'
             FROM agent_metrics.verify('ops', '2026-06-30 12:00:00+00', '2026-07-01 12:00:00+00')"
        ),
        ["2026-07-01 00:00:00"]
    );
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.verify('ops', '2026-07-02', NULL)",
    );
    assert_no_rows(&db, "SELECT * FROM agent_metrics.verify('sup')");
    db.exec("ROLLBACK");
    assert_rollups(&db);
}

#[test]
fn the_oracle_itself_finds_what_is_wrong() {
    let db = shop("oracle_planted");
    for sql in [
        "UPDATE agent_metrics_internal.rollups SET deflections = deflections + 1
         WHERE agent_id = 'sup' AND level = 'day' AND bucket = '2026-03-04'",
        "DELETE FROM agent_metrics_internal.rollups
         WHERE agent_id = 'ops' AND level = 'hour' AND bucket = '2026-03-04 03:00:00+00'",
        "UPDATE agent_metrics_internal.rollups
         SET latency = latency OPERATOR(agent_metrics.+) latency
         WHERE agent_id = 'ops' AND level = 'day' AND bucket = '2026-03-04'",
        "UPDATE agent_metrics.conversations SET lead_id = 'x' WHERE conversation_id = 'sal-3-3'",
    ] {
        db.exec("BEGIN");
        db.exec(sql);
        assert_eq!(oracle_differences(&db).len(), 1, "{sql}");
        db.exec("ROLLBACK");
    }
    assert_oracle(&db);
}
