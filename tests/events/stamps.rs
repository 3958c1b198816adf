//! Rows are stamped, logged and checked whichever way they come; what came while nobody did so is found.

use crate::support::asserts::{assert_no_rows, assert_sqlstate, assert_verified};
use crate::support::cluster::Cluster;
use crate::support::rollups::{assert_rollups, oracle_differences, refresh};
use crate::support::shop::shop;
use crate::support::{Db, db};

fn events_changed(db: &Db) -> f64 {
    db.number("SELECT coalesce(sum(events_changed), 0) FROM agent_metrics.refresh()")
}

#[test]
fn a_stamp_that_arrives_with_a_row_is_not_believed() {
    let db = shop("stamps_brought");
    db.exec(
        "CREATE TEMP TABLE regional AS SELECT * FROM agent_metrics.agent_events LIMIT 6;
         UPDATE regional
         SET conversation_id = 'regional', event_id = gen_random_uuid(),
             recorded_in = CASE WHEN random() < 0.5 THEN '900000000' ELSE '3' END::xid8;
         INSERT INTO agent_metrics.agent_events SELECT * FROM regional",
    );
    assert_eq!(
        db.number(
            "SELECT count(DISTINCT recorded_in)
             FROM agent_metrics.agent_events WHERE conversation_id = 'regional'"
        ),
        1.0
    );
    assert_eq!(events_changed(&db), 6.0);
    assert_rollups(&db);
    // an update keeps the stamp of the insertion, and is counted by the log
    let stamp = "SELECT min(recorded_in) FROM agent_metrics.agent_events WHERE conversation_id = 'regional'";
    let before = db.value(stamp);
    db.exec("UPDATE agent_metrics.agent_events SET recorded_in = '5', cost_usd = 3 WHERE conversation_id = 'regional'");
    assert_eq!(db.value(stamp), before);
    assert_eq!(events_changed(&db), 6.0);
    assert_rollups(&db);
    // nor is that of another fact or of a mapping, in an insertion or an update
    db.exec(
        "INSERT INTO agent_metrics.business_events (
             business_event_id, kind, conversation_id, changed_in)
         SELECT 'brought', 'human_touch', 'regional', '900000000';
         UPDATE agent_metrics.outcomes
         SET is_deflection = NOT is_deflection, changed_in = '900000000' WHERE label = 'success'",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.number(
            "SELECT count(*) FROM (SELECT changed_in FROM agent_metrics.business_events
                                   UNION ALL SELECT changed_in FROM agent_metrics.outcomes) x
             WHERE changed_in >= '900000000'"
        ),
        0.0
    );
}

#[test]
fn a_session_in_replica_role_writes_nothing_that_is_not_counted() {
    let db = shop("stamps_replica");
    db.exec(
        "SET session_replication_role = replica;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, recorded_in)
         SELECT agent_id, occurred_at + interval '1 second', 'replicated', '900000000'
         FROM agent_metrics.agent_events LIMIT 3;
         UPDATE agent_metrics.agent_events
         SET cost_usd = 5 WHERE conversation_id IN (SELECT min(conversation_id) FROM agent_metrics.agent_events);
         DELETE FROM agent_metrics.agent_events
         WHERE conversation_id IN (SELECT max(conversation_id) FROM agent_metrics.agent_events);
         UPDATE agent_metrics.outcomes SET is_success = false WHERE label = 'success';
         RESET session_replication_role",
    );
    assert!(events_changed(&db) > 3.0);
    assert_rollups(&db);
    db.exec(
        "SET session_replication_role = replica; TRUNCATE agent_metrics.agent_events;
         RESET session_replication_role",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.rollups");
}

/// Two warehouses: what the first one's table becomes, the second one's subscription brings.
#[test]
fn updates_and_deletions_of_a_subscription_are_counted() {
    let cluster = Cluster::start_with("stamps_subscription", &["wal_level=logical"]);
    let server = cluster.session("postgres");
    server.exec("CREATE DATABASE here");
    server.exec("CREATE DATABASE there");
    let (here, there) = (cluster.session("here"), cluster.session("there"));
    here.exec("CREATE EXTENSION agent_metrics");
    here.exec("SELECT agent_metrics.setup()");
    here.exec("SELECT agent_metrics.register_agent('sup', 'support', 'O')");
    there.exec(
        "CREATE SCHEMA agent_metrics;
         CREATE TABLE agent_metrics.agent_events (agent_id text, occurred_at timestamptz,
                                                  event_id uuid DEFAULT gen_random_uuid(),
                                                  conversation_id text, cost_usd numeric,
                                                  outcome_label text,
                                                  recorded_in xid8 DEFAULT '900000000',
                                                  PRIMARY KEY (agent_id, occurred_at, event_id));
         CREATE PUBLICATION p FOR TABLE agent_metrics.agent_events",
    );
    there.exec("SELECT pg_create_logical_replication_slot('slot', 'pgoutput')");
    here.exec(&format!(
        "CREATE SUBSCRIPTION s CONNECTION '{}' PUBLICATION p
             WITH (create_slot = false, slot_name = 'slot', copy_data = false)",
        cluster.url("there")
    ));
    let turns =
        "SELECT count(*), count(*) FILTER (WHERE cost_usd = 7) FROM agent_metrics.agent_events";
    let arrived = |expected: &str| {
        here.until(&format!(
            "SELECT (SELECT format('%s|%s', x.count, x.seven)
                     FROM ({turns}) AS x (count, seven)) = '{expected}'"
        ));
        here.exec("SELECT * FROM agent_metrics.refresh()");
        assert_verified(&here);
        here.lines(
            "SELECT sum(turns), sum(cost_usd), sum(successes)
             FROM agent_metrics_internal.rollups WHERE level = 'day'",
        )
    };
    there.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd)
         SELECT 'sup', now() - n * interval '1 hour', 'rep' || n, 1 FROM generate_series(1, 20) n",
    );
    assert_eq!(arrived("20|0"), ["20|20|0"]);
    there.exec(
        "UPDATE agent_metrics.agent_events
         SET cost_usd = 7, outcome_label = 'resolved' WHERE conversation_id = 'rep3'",
    );
    there.exec("DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'rep4'");
    assert_eq!(arrived("19|1"), ["19|25|1"]);
    here.exec("ALTER SUBSCRIPTION s DISABLE");
    here.exec("ALTER SUBSCRIPTION s SET (slot_name = NONE)");
    here.exec("DROP SUBSCRIPTION s");
}

/// As a restore of data alone does it, with --disable-triggers: with ids of a busier cluster, and with ids long past.
#[test]
fn turns_that_came_while_triggers_were_off_are_counted_or_found() {
    let db = shop("stamps_disabled");
    let load = |conversation: &str, id: &str| {
        db.exec(&format!(
            "ALTER TABLE agent_metrics.agent_events DISABLE TRIGGER ALL;
             INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd, recorded_in)
             SELECT agent_id, occurred_at + interval '1 second', '{conversation}', 1, '{id}'
             FROM agent_metrics.agent_events LIMIT 3;
             ALTER TABLE agent_metrics.agent_events ENABLE TRIGGER ALL"
        ));
    };
    // ids that this cluster has yet to reach are noticed by the next refresh
    load("ahead", "900000000");
    assert!(events_changed(&db) > 3.0);
    assert_rollups(&db);
    assert_eq!(events_changed(&db), 0.0, "nothing is built twice");
    // ids that every snapshot has seen are not: verify() says so, and so does whoever only counts
    load("behind", "3");
    assert_eq!(events_changed(&db), 0.0);
    assert!(db.number("SELECT count(*) FROM agent_metrics.verify()") > 0.0);
    let uncounted = "SELECT turns - counted FROM agent_metrics_internal.uncounted_turns()";
    assert_eq!(db.lines(uncounted), ["3"]);
    db.exec("SELECT count(*) FROM agent_metrics.rebuild()");
    assert_rollups(&db);
    assert_no_rows(&db, uncounted);
    // the triggers fire no longer as they should, and setup() puts that right
    let broken = "SELECT count(*) FROM agent_metrics_internal.broken_triggers()";
    assert!(db.number(broken) > 0.0);
    db.exec("DROP TRIGGER zz_check_row ON agent_metrics.business_events");
    db.exec("SELECT agent_metrics.setup()");
    assert_eq!(db.number(broken), 0.0);
}

#[test]
fn a_turn_that_moves_to_another_partition_or_agent_is_counted_once() {
    let db = shop("stamps_moved");
    db.exec(
        "UPDATE agent_metrics.agent_events SET occurred_at = occurred_at - interval '2 months'
         WHERE conversation_id IN (SELECT conversation_id FROM agent_metrics.agent_events
                                   ORDER BY conversation_id LIMIT 1)",
    );
    refresh(&db);
    assert_rollups(&db);
    db.exec(
        "UPDATE agent_metrics.agent_events
         SET agent_id = (SELECT max(agent_id) FROM agent_metrics.agents)
         WHERE conversation_id IN (SELECT conversation_id FROM agent_metrics.agent_events
                                   ORDER BY conversation_id DESC LIMIT 1)",
    );
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn a_bucket_that_lost_all_it_held_has_no_row() {
    let db = shop("stamps_empty");
    db.exec(
        "DELETE FROM agent_metrics.agent_events WHERE conversation_id IN
             (SELECT conversation_id FROM agent_metrics.agent_events WHERE random() < 0.6)",
    );
    refresh(&db);
    assert_rollups(&db);
    db.exec("CREATE TEMP TABLE refreshed AS SELECT * FROM agent_metrics_internal.rollups");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.rollups WHERE turns = 0 AND conversations = 0 AND leads = 0",
    );
    db.exec("SELECT count(*) FROM agent_metrics.rebuild()");
    // a refresh and a rebuild end in the same rows
    assert_no_rows(
        &db,
        "(SELECT * FROM agent_metrics_internal.rollups EXCEPT SELECT * FROM refreshed) UNION ALL (
             SELECT * FROM refreshed EXCEPT SELECT * FROM agent_metrics_internal.rollups)",
    );
    // and verify() sees a row of zeros where there should be none
    db.exec(
        "INSERT INTO agent_metrics_internal.rollups (agent_id, level, bucket)
         SELECT agent_id, 'day', '2020-01-01 00:00:00+00' FROM agent_metrics.agents LIMIT 1",
    );
    assert!(db.number("SELECT count(*) FROM agent_metrics.verify()") > 0.0);
    assert!(oracle_differences(&db).len() <= 1);
}

#[test]
fn a_trigger_of_the_users_own_comes_before_the_check() {
    let db = db("stamps_own_trigger");
    db.exec(
        "CREATE FUNCTION public.lengthen() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN NEW.outcome_label := repeat('x', 300); NEW.recorded_in := '900000000'; RETURN NEW; END$$;
         CREATE TRIGGER z_mine BEFORE INSERT ON agent_metrics.agent_events
             FOR EACH ROW EXECUTE FUNCTION public.lengthen()",
    );
    assert_sqlstate(
        &db,
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id) VALUES ('a', now(), 'c')",
        "22001",
    );
}
