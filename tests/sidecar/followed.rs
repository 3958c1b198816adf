//! Turns and tickets that a subscription brings, and the numbers that the warehouse reads back.

use super::{Sidecar, turns_of};
use crate::support::Session;
use crate::support::asserts::assert_sqlstate;
use crate::support::majors::has_foreign_tables;
use crate::support::program::works;

/// All rows of a view, without what tells how long ago something was.
fn rows_of(session: &Session, view: &str) -> Vec<String> {
    session.lines(&format!(
        "SELECT (to_jsonb(v) - 'lag_seconds' - 'heard_of_at')::text FROM agent_kpi.{view} v ORDER BY 1"
    ))
}

#[test]
fn turns_and_tickets_are_followed_and_the_warehouse_reads_the_same_numbers() {
    if !has_foreign_tables() {
        return;
    }
    let mut sidecar = Sidecar::start("sidecar_followed");
    sidecar.there.exec(
        "INSERT INTO crm.tickets
         SELECT gen_random_uuid(), 'solved', now() - n * interval '1 hour', 'old-' || n, 'u-' || n
         FROM generate_series(1, 10) AS n",
    );
    // what was there, what comes, what changes, what goes
    sidecar.next("Turns");
    sidecar.insert("old", 60);
    sidecar.next("Turns");
    sidecar.assert_same();
    sidecar.insert("new", 30);
    sidecar.assert_same();
    sidecar.there.exec(
        "UPDATE agent_metrics.agent_events SET cost_usd = 7, outcome_label = 'escalated'
         WHERE conversation_id = 'old-3';
         UPDATE agent_metrics.agent_events SET occurred_at = occurred_at - interval '40 days'
         WHERE conversation_id = 'new-2';
         DELETE FROM agent_metrics.agent_events WHERE conversation_id IN ('old-5', 'new-4')",
    );
    sidecar.assert_same();

    // the CRM
    sidecar.next("The CRM's tables");
    sidecar.next("The CRM's tables");
    sidecar.until_feed("followed");
    sidecar.assert_same();
    let solved = "SELECT count(*) FROM agent_metrics.business_events WHERE kind = 'solved'";
    let events = |expected: f64| {
        sidecar.assert_same();
        works(&sidecar.program_url(), &["once"]);
        sidecar
            .here
            .exec("SELECT * FROM agent_metrics.sync_business_events()");
        assert_eq!(sidecar.here.number(solved), expected);
        sidecar.assert_same();
    };
    assert_eq!(
        sidecar
            .here
            .lines("SELECT source, mode, status FROM agent_kpi.attached_tables"),
        ["crm.tickets|trigger|followed"]
    );
    events(10.0);
    sidecar.there.exec(
        "INSERT INTO crm.tickets VALUES (gen_random_uuid(), 'solved', now(), 'new-1', 'u-1'),
                                        (gen_random_uuid(), 'solved', now(), 'new-2', 'u-2');
         UPDATE crm.tickets SET status = 'reopened' WHERE chat = 'old-1';
         DELETE FROM crm.tickets WHERE chat = 'old-2'",
    );
    events(10.0);
    assert_eq!(
        sidecar.here.lines(
            "SELECT DISTINCT chat FROM crm.tickets
             WHERE chat IN ('old-1', 'old-2', 'new-2') ORDER BY 1"
        ),
        ["new-2", "old-1"]
    );

    // local times without a zone, in a table without a key: a view says which zone
    sidecar.there.exec(
        "CREATE TABLE crm.calls (id integer, called_at timestamp, chat text);
         ALTER TABLE crm.calls REPLICA IDENTITY FULL;
         INSERT INTO crm.calls VALUES (1, '2026-07-01 12:00:00', 'old-1'), (2, '2026-07-01 13:00:00', 'old-2');
         GRANT SELECT ON crm.calls TO agent_metrics_feed;
         ALTER PUBLICATION agent_metrics ADD TABLE crm.calls",
    );
    sidecar.here.exec(
        "CREATE TABLE crm.calls (id integer, called_at timestamp, chat text);
         CREATE VIEW crm.timed_calls AS
         SELECT c.id, c.called_at AT TIME ZONE 'America/New_York' AS called_at, c.chat FROM crm.calls c;
         GRANT SELECT ON crm.timed_calls TO agent_metrics_program;
         SELECT * FROM agent_metrics.attach_business_events('crm.timed_calls', business_event_id => 'id',
             occurred_at => 'called_at', fixed_kind => 'human_touch', conversation_id => 'chat')",
    );
    sidecar
        .here
        .exec("ALTER SUBSCRIPTION warehouse REFRESH PUBLICATION");
    sidecar.here.until("SELECT count(*) = 2 FROM crm.calls");
    sidecar.there.exec("DELETE FROM crm.calls WHERE id = 2");
    sidecar.here.until("SELECT count(*) = 1 FROM crm.calls");
    sidecar
        .here
        .exec("SELECT * FROM agent_metrics.sync_business_events()");
    assert_eq!(
        sidecar.here.lines(
            "SELECT b.conversation_id, b.occurred_at AT TIME ZONE 'UTC'
             FROM agent_metrics.business_events b WHERE b.kind = 'human_touch'",
        ),
        ["old-1|2026-07-01 16:00:00"]
    );
    sidecar.assert_same();

    // the views, as the BI tool's role sees them: equal row by row, described, and narrowed down at their source
    sidecar.next("The numbers back");
    let (_, import) = *sidecar.blocks.first().unwrap();
    sidecar.next("The numbers back");
    // as after an update
    sidecar.there.exec("DROP SCHEMA agent_kpi CASCADE");
    let from = import.find("CREATE SCHEMA agent_kpi").unwrap();
    super::statements(&sidecar.there, &import[from..]);
    sidecar.next("The numbers back");
    let place = sidecar
        .warehouse
        .url("analytics")
        .rsplit_once('@')
        .unwrap()
        .1
        .to_owned();
    let metabase = Session::open(&format!("postgresql://metabase:metabase@{place}"));
    metabase.exec("SET timezone = 'UTC'");
    let ours = "SELECT c.relname FROM pg_class c
                WHERE c.relnamespace = 'agent_kpi'::regnamespace AND c.relname <> 'agent_daily_sketch' ORDER BY 1";
    let views = sidecar.here.lines(ours);
    assert!(views.len() > 30, "{views:?}");
    assert_eq!(metabase.lines(ours), views);
    let mut filled = 0;
    for view in &views {
        let rows = rows_of(&sidecar.here, view);
        assert_eq!(rows_of(&metabase, view), rows, "{view}");
        filled += usize::from(!rows.is_empty());
    }
    assert!(filled > 12, "{filled} views have rows");
    assert_eq!(
        metabase.lines("SELECT count(*) FROM agent_kpi.cfo_tiles WHERE value_30d IS NOT NULL"),
        sidecar
            .here
            .lines("SELECT count(*) FROM agent_kpi.cfo_tiles WHERE value_30d IS NOT NULL")
    );
    let described = "SELECT col_description('agent_kpi.kpi_daily'::regclass, a.attnum) FROM pg_attribute a
                     WHERE a.attrelid = 'agent_kpi.kpi_daily'::regclass AND a.attnum > 0 ORDER BY a.attname";
    assert_eq!(metabase.lines(described), sidecar.here.lines(described));
    let (_, query) = *sidecar.blocks.first().unwrap();
    let plan = metabase
        .lines(&format!(
            "EXPLAIN VERBOSE {}",
            query.split_once("warehouse\n").unwrap().1
        ))
        .join("\n");
    let sent = plan.split_once("Remote SQL: ").unwrap().1;
    for condition in [
        "agent_id = 'support-bot'",
        "metric = 'task_success_rate'",
        "day >= $1",
    ] {
        assert!(sent.contains(condition), "{condition} is not sent: {plan}");
    }
    sidecar.next("The numbers back");
    assert_sqlstate(
        &metabase,
        "SELECT * FROM agent_metrics.agent_events",
        "42501",
    );
    let place = sidecar
        .agents
        .url("agents")
        .rsplit_once('@')
        .unwrap()
        .1
        .to_owned();
    let reader = Session::open(&format!(
        "postgresql://warehouse_bi:another-password@{place}"
    ));
    assert_sqlstate(&reader, "SELECT * FROM agent_metrics.agent_events", "42501");

    // whether it is behind
    sidecar.next("Is it behind?");
    sidecar.next("Is it behind?");
    let feed = "SELECT subscription, tables, status, problem, errors, lag_seconds < 60 FROM agent_kpi.feeds";
    let says = ["warehouse|agent_metrics.agent_events, crm.tickets|followed||0|t"];
    assert_eq!(sidecar.here.lines(feed), says);
    assert_eq!(metabase.lines(feed), says);
    let status = works(&sidecar.program_url(), &["status"]);
    assert!(
        status.contains(
            "subscription warehouse brings agent_metrics.agent_events, crm.tickets: followed, \
             last heard of "
        ),
        "{status}"
    );
    assert_eq!(sidecar.doctor(), "");
    sidecar.here.exec("DROP SUBSCRIPTION warehouse");
    assert!(!works(&sidecar.program_url(), &["status"]).contains("subscription"));
}

/// A table that is partitioned comes by its own name. What is dropped there, or deleted when it is archived here, takes
/// nothing away.
#[test]
fn a_partitioned_table_is_followed_and_what_is_dropped_or_archived_stays_counted() {
    let mut sidecar = Sidecar::start("sidecar_partitioned");
    sidecar.next_with("Turns", |block| {
        let partitioned = block.replace("event_id)\n);\n", "event_id)\n) PARTITION BY RANGE (occurred_at);\n");
        assert_ne!(partitioned, block);
        partitioned
            + "CREATE TABLE agent_metrics.agent_events_old PARTITION OF agent_metrics.agent_events
                   FOR VALUES FROM (MINVALUE) TO ('2026-03-01 00:00:00+00');
               CREATE TABLE agent_metrics.agent_events_new PARTITION OF agent_metrics.agent_events DEFAULT;"
    });
    // so many that they get a partition of their own here
    let old = turns_of("old", 1200)
        .replace("now() -", "timestamptz '2026-02-20 00:00:00+00' -")
        .replace("interval '1 hour'", "interval '1 minute'");
    sidecar.there.exec(&old);
    sidecar.next("Turns");
    sidecar.insert("new", 20);
    sidecar.assert_same();
    sidecar.there.exec(
        "UPDATE agent_metrics.agent_events SET cost_usd = 3
         WHERE conversation_id IN ('old-1', 'new-1')",
    );
    sidecar.assert_same();
    // a month that is archived here, deleted there; then a partition dropped there: no number changes
    let step = "SELECT agent_metrics.partition_step()";
    while sidecar.here.value(step).is_some() {}
    works(&sidecar.program_url(), &["refresh"]);
    sidecar
        .here
        .exec("UPDATE agent_metrics.settings SET value = '30' WHERE name = 'hot_days'");
    let folder = std::env::temp_dir().join(format!("am_sidecar_archive_{}", std::process::id()));
    let said = works(
        &sidecar.program_url(),
        &["archive", "--folder", folder.to_str().unwrap()],
    );
    assert!(
        said.contains("archived 1200 turns of agent_events_y2026m02"),
        "{said}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
    let counted = |markers: u32| {
        sidecar.here.until(&format!(
            "SELECT count(*) = 20 + {markers} FROM agent_metrics.agent_events"
        ));
        works(&sidecar.program_url(), &["refresh"]);
        assert_eq!(works(&sidecar.program_url(), &["verify"]), "");
        let turns = "SELECT sum(turns) FROM agent_metrics_internal.rollups WHERE level = 'day'";
        assert_eq!(sidecar.here.number(turns), 1220.0 + f64::from(markers));
    };
    counted(0);
    sidecar.there.exec(
        "DELETE FROM agent_metrics.agent_events_old WHERE conversation_id IN ('old-1', 'old-2')",
    );
    sidecar.insert("later", 3);
    counted(3);
    sidecar
        .there
        .exec("DROP TABLE agent_metrics.agent_events_old");
    sidecar.insert("latest", 3);
    counted(6);
    sidecar.here.exec("DROP SUBSCRIPTION warehouse");
}

/// The warehouse's table refuses what ours refuses: what gets in there is stored here.
#[test]
fn what_ours_refuses_the_producers_table_refuses() {
    let mut sidecar = Sidecar::start("sidecar_checks");
    sidecar.next("Turns");
    sidecar.next_with("Turns", |block| {
        block
            .split("CREATE SUBSCRIPTION")
            .next()
            .unwrap()
            .to_owned()
    });
    let columns = sidecar.there.lines(
        "SELECT attname FROM pg_attribute
         WHERE attrelid = 'agent_metrics.agent_events'::regclass AND attnum > 0 ORDER BY 1",
    );
    let ours = sidecar.here.lines(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'agent_metrics.agent_events'::regclass AND attnum > 0
             AND attname NOT IN ('recorded_in', 'computed_cost_usd') ORDER BY 1",
    );
    assert_eq!(
        columns, ours,
        "the page's table has not the columns of ours"
    );
    let long = |bytes: u32| format!("repeat('x', {bytes})");
    let mut bad = vec![
        ("occurred_at", "'infinity'".to_owned()),
        ("occurred_at", "'0044-03-15 00:00:00+00 BC'".to_owned()),
        ("tools_called", "'{}'".to_owned()),
        ("cost_usd", "'NaN'".to_owned()),
        ("cost_usd", "'Infinity'".to_owned()),
        ("cost_usd", "1e12".to_owned()),
        ("cost_usd", "-0.01".to_owned()),
        ("outcome_source", "'nobody'".to_owned()),
        ("usage_details", "'[]'".to_owned()),
        ("usage_details", "'{\"reasoning\": \"5\"}'".to_owned()),
        ("usage_details", "'{\"reasoning\": 0.5}'".to_owned()),
        ("attributes", "'[]'".to_owned()),
    ];
    for column in ["usage_details", "attributes"] {
        bad.push((
            column,
            "(SELECT jsonb_object_agg('key ' || n, n) FROM generate_series(1, 500) AS n)"
                .to_owned(),
        ));
    }
    bad.extend(["'NaN'", "'Infinity'", "-1"].map(|value| ("latency_ms", value.to_owned())));
    for tokens in columns
        .iter()
        .filter(|column| column.starts_with("token_usage_"))
    {
        bad.extend(["-1", "1000000000001"].map(|value| (&**tokens, value.to_owned())));
    }
    let names = [
        "agent_id",
        "intent_classified",
        "outcome_label",
        "agent_version",
        "model",
        "prompt_version",
        "provider",
        "service_tier",
    ];
    bad.extend(names.map(|name| (name, long(257))));
    bad.extend(["conversation_id", "user_id", "business_event_id"].map(|id| (id, long(1025))));
    for (column, value) in bad {
        let given = [
            ("agent_id", "'a'"),
            ("occurred_at", "now()"),
            ("conversation_id", "'c'"),
        ];
        let others: Vec<_> = given
            .into_iter()
            .filter(|(name, _)| *name != column)
            .collect();
        let list = |of: fn(&(&'static str, &'static str)) -> &'static str| {
            others.iter().map(of).collect::<Vec<_>>().join(", ")
        };
        let insert = format!(
            "INSERT INTO agent_metrics.agent_events ({}, {column}) VALUES ({}, {value})",
            list(|(name, _)| name),
            list(|(_, value)| value)
        );
        assert_sqlstate(&sidecar.there, &insert, "23514");
        sidecar.here.error(&insert);
    }
}
