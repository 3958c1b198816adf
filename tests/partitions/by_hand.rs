//! Partitions of agent_events: dropped, detached or attached by hand, made ahead, and never in the way of an insert.

use std::thread;

use crate::support::asserts::{assert_no_rows, assert_sqlstate, assert_verified};
use crate::support::rollups::{
    Rollups, assert_only, assert_rollups, oracle_differences, refresh, written_days,
};
use crate::support::shop::shop;
use crate::support::{Db, Session, db};

/// A database with turns in two old months, both of which have a partition of their own: `sup` and `ops`, three
/// conversations a day on the first five days of either month. The days, oldest month first.
pub fn two_months(name: &str) -> (Db, [String; 2]) {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('sup', 'support', 'O'),
                agent_metrics.register_agent('ops', 'ops', 'O');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, latency_ms, cost_usd, outcome_label)
         SELECT a, m + d * interval '1 day' + c * interval '3 hours' + t * interval '1 minute',
                format('%s-%s-%s-%s', a, extract(month FROM m), d, c), 'u' || c, 100 + 10 * d + t,
                0.01, CASE t WHEN 1 THEN 'success' END
         FROM unnest(ARRAY['sup', 'ops']) AS a,
              (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
               - i * interval '1 month'
               FROM unnest(ARRAY[3, 2]) AS i) AS x (m),
              generate_series(0, 4) AS d, generate_series(0, 2) AS c, generate_series(0, 1) AS t",
    );
    refresh(&db);
    assert_rollups(&db);
    let months = db.lines(
        "SELECT DISTINCT tableoid::regclass::text FROM agent_metrics.agent_events ORDER BY 1",
    );
    (db, months.try_into().unwrap())
}

/// Days of an agent on which the rollups have turns.
fn days(session: &Session, agent: &str) -> Vec<String> {
    session.lines(&format!(
        "SELECT '{agent} ' || (bucket AT TIME ZONE 'UTC')::date FROM agent_metrics_internal.rollups
         WHERE agent_id = '{agent}' AND level = 'day' AND turns > 0 ORDER BY bucket"
    ))
}

#[test]
fn a_dropped_partition_leaves_the_rollups_at_the_next_refresh_of_each_agent() {
    let (db, [old, _]) = two_months("partitions_dropped");
    let (sup, ops) = (days(&db, "sup"), days(&db, "ops"));
    assert_eq!((sup.len(), ops.len()), (10, 10));
    let before = Rollups::of(&db);
    db.exec(&format!("DROP TABLE {old}"));
    assert!(!oracle_differences(&db).is_empty());
    // what no refresh has seen is not called wrong
    assert_verified(&db);
    db.exec("SELECT agent_metrics.refresh('sup')");
    assert_eq!(written_days(&before, &Rollups::of(&db)), sup[..5]);
    assert_eq!(days(&db, "sup"), sup[5..]);
    assert_verified(&db);
    let before = Rollups::of(&db);
    let expected: Vec<&str> = ops[..5].iter().map(String::as_str).collect();
    assert_only(&db, &before, &expected);
    // and nothing is left to do
    let before = Rollups::of(&db);
    assert_only(&db, &before, &[]);
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.stale_ranges");
}

#[test]
fn a_conversation_loses_the_turns_that_were_in_a_dropped_partition_and_keeps_the_others() {
    let (db, [old, _]) = two_months("partitions_spanning");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         SELECT 'sup', min(occurred_at) + interval '10 days', 'long', 7, 'failure' FROM agent_metrics.agent_events
         UNION ALL SELECT 'sup', max(occurred_at), 'long', 8, 'success' FROM agent_metrics.agent_events",
    );
    refresh(&db);
    assert_rollups(&db);
    db.exec(&format!("DROP TABLE {old}"));
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT turns, is_success, started_at = ended_at
             FROM agent_metrics.conversations WHERE conversation_id = 'long'"
        ),
        ["1|t|t"]
    );
}

#[test]
fn a_partition_detached_and_attached_again_leaves_and_returns() {
    let (db, [old, _]) = two_months("partitions_detached");
    let all = days(&db, "ops");
    let bound = db
        .value(&format!(
            "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = '{old}'::regclass"
        ))
        .unwrap();
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events DETACH PARTITION {old} CONCURRENTLY"
    ));
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(days(&db, "ops"), all[5..]);
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events ATTACH PARTITION {old} {bound}"
    ));
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(days(&db, "ops"), all);
    // out, changed and in again between two refreshes: the table is the same, what it holds is not
    db.exec(&format!(
        "ALTER TABLE agent_metrics.agent_events DETACH PARTITION {old};
         DELETE FROM {old} WHERE agent_id = 'ops' AND conversation_id LIKE '%-0';
         ALTER TABLE agent_metrics.agent_events ATTACH PARTITION {old} {bound}"
    ));
    let before = Rollups::of(&db);
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(written_days(&before, &Rollups::of(&db)).len(), 10);
    assert_eq!(
        db.number(
            "SELECT sum(turns) FROM agent_metrics_internal.rollups WHERE agent_id = 'ops' AND level = 'day'"
        ),
        50.0
    );
}

#[test]
fn a_partition_attached_with_turns_in_it_is_counted() {
    let (db, [old, new]) = two_months("partitions_attached");
    db.exec(&format!("DROP TABLE {old}"));
    refresh(&db);
    let bound = "FOR VALUES FROM (date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                                  - interval '3 months')
                 TO (date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - interval '2 months')";
    db.exec(&format!(
        "CREATE TABLE agent_metrics.mine (LIKE {new} INCLUDING ALL);
         INSERT INTO agent_metrics.mine SELECT * FROM {new};
         UPDATE agent_metrics.mine SET occurred_at = occurred_at - interval '30 days',
                                       conversation_id = 'old-' || conversation_id,
                                       event_id = agent_metrics.new_event_id();
         DELETE FROM agent_metrics.mine
         WHERE occurred_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                              - interval '2 months';
         SET timezone = 'UTC';
         ALTER TABLE agent_metrics.agent_events ATTACH PARTITION agent_metrics.mine {bound}"
    ));
    refresh(&db);
    assert_rollups(&db);
    assert!(days(&db, "sup").len() > 5);
}

#[test]
fn two_agents_refreshed_at_once_both_notice_a_dropped_partition() {
    let (db, [old, _]) = two_months("partitions_noticed_twice");
    let (first, second) = (db.session(), db.session());
    let second_pid = second.value("SELECT pg_backend_pid()").unwrap();
    db.exec(&format!("DROP TABLE {old}"));
    first.exec("BEGIN");
    first.exec("SELECT agent_metrics.refresh('sup')");
    thread::scope(|scope| {
        let waits = scope.spawn(|| second.exec("SELECT agent_metrics.refresh('ops')"));
        db.until(&format!(
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = {second_pid} AND wait_event_type = 'Lock'"
        ));
        first.exec("COMMIT");
        waits.join().unwrap();
    });
    assert_rollups(&db);
    assert_eq!(days(&db, "ops").len(), 5);
}

#[test]
fn making_partitions_is_no_change_and_hides_none() {
    let db = shop("partitions_made_ahead");
    // a turn beyond the last month, which gets its month later
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', date_trunc('month', now()) + interval '5 months 3 days', 'ahead', 5),
                ('sup', date_trunc('month', now()) + interval '50 years', 'far ahead', 6)",
    );
    refresh(&db);
    assert_rollups(&db);
    let before = Rollups::of(&db);
    assert_eq!(db.number("SELECT agent_metrics.ensure_partitions(6)"), 3.0);
    assert_eq!(
        db.lines(
            "SELECT conversation_id, tableoid::regclass::text LIKE '%after'
             FROM agent_metrics.agent_events WHERE conversation_id LIKE '%ahead' ORDER BY 1"
        ),
        ["ahead|f", "far ahead|t"]
    );
    assert_only(&db, &before, &[]);
    // what went by hand before is noticed all the same
    let partition = db
        .value("SELECT tableoid::regclass FROM agent_metrics.agent_events WHERE conversation_id = 'ahead'")
        .unwrap();
    db.exec(&format!("DROP TABLE {partition}"));
    db.exec("SELECT agent_metrics.ensure_partitions(8)");
    refresh(&db);
    assert_rollups(&db);
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.conversations WHERE conversation_id = 'ahead'",
    );
}

#[test]
fn making_partitions_gives_way_to_a_writer_and_inserts_go_on() {
    let db = shop("partitions_give_way");
    let (writer, maintenance) = (db.session(), db.session());
    writer.exec("BEGIN");
    writer.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('sup', now(), 'held')",
    );
    assert_sqlstate(
        &maintenance,
        "SELECT agent_metrics.ensure_partitions(6)",
        "55P03",
    );
    // Whoever waits for the lock keeps later inserts waiting, so 100 ms is also the longest that they wait.
    db.exec("SET statement_timeout = '5s'");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('sup', now(), 'other')",
    );
    writer.exec("COMMIT");
    maintenance.exec("SELECT agent_metrics.ensure_partitions(6)");
    refresh(&db);
    assert_rollups(&db);
}

/// One step after another until there is none; what each was.
fn steps(session: &Session) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(step) = session.value("SELECT agent_metrics.partition_step()") {
        all.push(step);
        assert!(all.len() < 200, "{all:?}");
    }
    all
}

/// Turns of the outer partitions and the number of months.
fn layout(session: &Session) -> String {
    session
        .lines(
            "SELECT (SELECT count(*) FROM agent_metrics.agent_events_before),
                    (SELECT count(*) FROM agent_metrics.agent_events_after),
                    (SELECT count(*) FROM pg_inherits WHERE inhparent = 'agent_metrics.agent_events'::regclass) - 2",
        )
        .remove(0)
}

#[test]
fn years_that_came_before_their_months_are_split_while_writers_go_on() {
    let db = shop("partitions_split");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         SELECT (ARRAY['sup', 'ops', 'nobody'])[1 + n % 3],
                date_trunc('month', now()) - interval '20 months' + n * interval '6 hours',
                'b' || n / 4, n % 900, 'success'
         FROM generate_series(1, 1500) AS n;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('sup', '1990-01-01', 'a clock of its own')",
    );
    refresh(&db);
    let before = Rollups::of(&db);
    let count = "SELECT count(*) FROM agent_metrics.agent_events";
    let turns = db.number(count);
    let mut made = Vec::new();
    let mut number = 0;
    while let Some(step) = db.value("SELECT agent_metrics.partition_step()") {
        made.push(step);
        assert_eq!(
            db.number(count),
            turns + f64::from(number),
            "no turn is away for a moment"
        );
        // between any two steps writers change what is being copied
        number += 1;
        db.exec(&format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
             VALUES ('sup', date_trunc('month', now()) - interval '15 months' + interval '{number} days',
                     'while-{number}', 5);
             UPDATE agent_metrics.agent_events SET latency_ms = {number} WHERE conversation_id = 'b{number}0';
             UPDATE agent_metrics.agent_events SET occurred_at = occurred_at + interval '40 days'
             WHERE conversation_id = 'b{number}1';
             DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'while-{number}' AND {number} % 4 = 0;
             INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
             SELECT 'ops', now(), 'again' WHERE {number} % 4 = 0"
        ));
        refresh(&db);
        assert_rollups(&db);
    }
    assert!(
        made.len() > 15 && made.iter().any(|step| step.starts_with("swapped")),
        "{made:?}"
    );
    assert_eq!(
        layout(&db).split('|').next(),
        Some("1"),
        "the odd one stays: {}",
        layout(&db)
    );
    assert!(
        written_days(&before, &Rollups::of(&db))
            .iter()
            .all(|day| !day.contains("1990"))
    );
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.guarded_turns");
    assert_eq!(steps(&db), [""; 0]);
    // dropped by hand, such a month is noticed as any other
    db.exec("DROP TABLE agent_metrics.agent_events_before");
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn a_future_that_holds_many_turns_gets_its_months() {
    let db = shop("partitions_split_after");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         SELECT 'sup', date_trunc('month', now()) + interval '4 months' + n * interval '1 hour',
                'f' || n / 3, 5 FROM generate_series(1, 3000) AS n",
    );
    refresh(&db);
    let before = Rollups::of(&db);
    assert_eq!(
        db.number("SELECT agent_metrics.ensure_partitions(6)"),
        0.0,
        "too many to move at once"
    );
    let writer = db.session();
    assert!(
        db.value("SELECT agent_metrics.partition_step()")
            .unwrap()
            .starts_with("guarding")
    );
    // a writer that holds the table holds the swap up, and nobody else
    writer.exec(
        "BEGIN;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('sup', now(), 'held')",
    );
    loop {
        db.exec("BEGIN");
        if db
            .value(
                "SELECT count(*) FILTER (WHERE state = 'waiting')
                 FROM agent_metrics_internal.partition_splits",
            )
            .as_deref()
            == Some("0")
        {
            break;
        }
        db.exec("SELECT agent_metrics.partition_step(); COMMIT");
    }
    db.exec("COMMIT");
    assert_sqlstate(&db, "SELECT agent_metrics.partition_step()", "55P03");
    // truncated meanwhile: it begins again
    writer.exec("COMMIT; TRUNCATE agent_metrics.agent_events_after");
    let said = steps(&db);
    assert!(
        said.iter().any(|step| step.starts_with("beginning again")),
        "{said:?}"
    );
    assert_eq!(layout(&db).split('|').nth(1), Some("0"));
    db.exec("SELECT agent_metrics.ensure_partitions(6)");
    refresh(&db);
    assert_rollups(&db);
    assert!(
        !written_days(&before, &Rollups::of(&db)).is_empty(),
        "the truncated turns left"
    );
}
