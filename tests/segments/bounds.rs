//! What comes from strangers: values without end, long ones, none, columns that go; what is no dimension.

use super::switch_on;
use crate::support::asserts::{assert_no_rows, assert_refused, assert_verified};
use crate::support::rollups::refresh;
use crate::support::{Db, db};

const SEGMENTS: &str =
    "SELECT segment, sum(turns), sum(conversations) FROM agent_metrics_internal.segment_days
                        GROUP BY segment ORDER BY segment COLLATE \"C\"";

/// An agent whose turns, one a minute and conversation, have these values of the attribute channel.
fn with_channels(name: &str, values: &str) -> Db {
    let db = db(name);
    db.exec(&format!(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, attributes, outcome_label)
         SELECT 'bot', now() - interval '5 hours' + n * interval '1 second', 'c' || n,
                jsonb_build_object('channel', v), 'success'
         FROM unnest({values}) WITH ORDINALITY AS x (v, n)"
    ));
    db
}

#[test]
fn nothing_is_none_and_what_is_long_is_cut_at_a_character() {
    let db = with_channels(
        "segments_long",
        "ARRAY['chat', '', NULL, repeat('é', 200), repeat('é', 1500), repeat('x', 256), repeat('x', 257), '(other)']",
    );
    switch_on(&db, &["channel"]);
    refresh(&db);
    assert_verified(&db);
    let (cut, fits, x) = ("é".repeat(126), "x".repeat(256), "x".repeat(253));
    assert_eq!(
        db.lines(SEGMENTS),
        [
            "(none)|2|2".to_owned(),
            "(other)|1|1".to_owned(),
            "chat|1|1".to_owned(),
            format!("{x}...|1|1"),
            format!("{fits}|1|1"),
            format!("{cut}...|2|2"),
        ]
    );
}

#[test]
fn as_many_are_followed_as_the_dimension_says_the_first_that_came_first() {
    let db = with_channels(
        "segments_many",
        "ARRAY['b', 'c'] || ARRAY(SELECT 'v' || n FROM generate_series(1, 3000) AS n) || ARRAY['a', 'b']",
    );
    db.exec("UPDATE agent_metrics.dimensions SET is_active = true, followed_segments = 3 WHERE dimension = 'channel'");
    refresh(&db);
    assert_verified(&db);
    assert_eq!(
        db.lines(SEGMENTS),
        ["(other)|3000|3000", "b|2|2", "c|1|1", "v1|1|1"]
    );
    assert_eq!(
        db.lines("SELECT count(*), min(segment), sum(turns) FROM agent_kpi.untracked_segments"),
        ["100|a|100"]
    );
    // a rebuild chooses none anew, though another would be the first now
    db.exec(
        "DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'c1';
         SELECT agent_metrics.rebuild()",
    );
    let followed = "SELECT segment FROM agent_metrics.dimension_segments ORDER BY 1";
    assert_eq!(db.lines(followed), ["b", "c", "v1"]);
    // a user says which
    db.exec("INSERT INTO agent_metrics.dimension_segments VALUES ('bot', 'channel', 'a')");
    assert_verified(&db);
    refresh(&db);
    assert_verified(&db);
    assert_eq!(
        db.lines(SEGMENTS),
        ["(other)|2999|2999", "a|1|1", "b|1|1", "c|1|1", "v1|1|1"]
    );
    assert_no_rows(
        &db,
        "SELECT 1 FROM agent_kpi.untracked_segments WHERE segment = 'a'",
    );
}

#[test]
fn a_column_that_is_dropped_holds_up_nothing() {
    let db = with_channels("segments_dropped", "ARRAY['a', 'b', 'c']");
    db.exec(
        "ALTER TABLE agent_metrics.agent_events ADD COLUMN region text;
         UPDATE agent_metrics.agent_events SET region = 'north' WHERE conversation_id <> 'c1';
         INSERT INTO agent_metrics.dimensions (dimension, source, attribute, is_active)
         VALUES ('region', 'event_column', 'region', true)",
    );
    refresh(&db);
    assert_verified(&db);
    assert_eq!(db.lines(SEGMENTS), ["(none)|1|1", "north|2|2"]);
    db.exec(
        "ALTER TABLE agent_metrics.agent_events DROP COLUMN region;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id) VALUES ('bot', now(), 'c9')",
    );
    refresh(&db);
    db.exec("SELECT agent_metrics.rebuild()");
    assert_verified(&db);
    assert_eq!(db.lines(SEGMENTS), ["(none)|4|4"]);
}

#[test]
fn what_is_no_dimension_is_refused() {
    let db = db("segments_refused");
    for (row, words) in [
        ("'Region', 'event_attribute', 'region'", "small letters"),
        ("'region', 'event_column', 'region'", "no column region"),
        ("'region', 'event_attribute', ''", "256 bytes at most"),
        ("'who', 'event_column', 'user_id'", "names a person"),
        ("'who', 'business_event', 'customer_id'", "names a person"),
        ("'cost', 'event_column', 'cost_usd'", "no column cost_usd"),
    ] {
        assert_refused(
            &db,
            &format!(
                "INSERT INTO agent_metrics.dimensions (dimension, source, attribute, is_active) VALUES ({row}, true)"
            ),
            "22023",
            words,
        );
    }
    assert_refused(
        &db,
        "INSERT INTO agent_metrics.dimensions (dimension, source, attribute) VALUES ('x', 'table', 'y')",
        "23514",
        "",
    );
}
