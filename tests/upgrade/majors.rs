//! pg_upgrade, from the PostgreSQL whose pg_config AGENT_METRICS_OLD_PG_CONFIG names to the one that is tested, with
//! books in every state. `make test-majors` names Debian 12's; without it the test says that it skips.
//!
//! pg_upgrade makes a new cluster of the old files: ids of transactions go on, and the cluster is another. So nothing
//! that was stored is trusted: numbers stay as they are until the next refresh, which builds them again. What they
//! are to be then is asked of a copy of the books that stays behind.

use std::path::PathBuf;

use crate::support::Session;
use crate::support::asserts::{assert_no_rows, assert_verified};
use crate::support::cluster::{Cluster, configured};
use crate::support::majors::{has_checksums, major};
use crate::support::program::{program, works};
use crate::support::rollups::{assert_rollups, refresh};

/// Three months ago, two, one, and this one: the first days of each.
const MONTHS: &str = "SELECT i, (date_trunc('month', now(), 'UTC') - i * interval '1 month')
                      FROM generate_series(0, 3) AS i";

/// Agents, turns of four months, a CRM, and a wish to be told.
const BOOKS: &str = "
SELECT agent_metrics.register_agent('sup', 'support', 'Head of Support'),
       agent_metrics.register_agent('sal', 'sales', 'Head of Sales'),
       agent_metrics.register_agent('ops', 'ops', 'Head of Operations');
INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, user_id, latency_ms, cost_usd,
                                        outcome_label)
SELECT a, m.at + d * interval '1 day' + c * interval '3 hours' + t * interval '1 minute',
       format('%s-%s-%s-%s', a, m.ago, d, c), 'u' || c, 100 + 10 * d + t, 0.01,
       CASE t WHEN 1 THEN CASE c WHEN 0 THEN 'failure' ELSE 'success' END END
FROM unnest(ARRAY['sup', 'sal', 'ops']) AS a, ({months}) AS m (ago, at),
     generate_series(0, 4) AS d, generate_series(0, 2) AS c, generate_series(0, 1) AS t
WHERE m.at + d * interval '1 day' + interval '7 hours' < now();
INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
SELECT 'sup', now() - interval '1 hour', 'today-' || n, 'failure' FROM generate_series(1, 200) AS n;
INSERT INTO agent_metrics.billing_lines (provider, period_start, period_end, amount_usd)
SELECT 'openai', m.at, m.at + interval '1 day', 5 FROM ({months}) AS m (ago, at);
CREATE SCHEMA crm;
CREATE TABLE crm.payments (id text PRIMARY KEY, at timestamptz, amount numeric, conversation text);
INSERT INTO crm.payments SELECT 'p' || n, now(), 10 * n, format('sal-2-%s-1', n) FROM generate_series(0, 4) AS n;
SELECT agent_metrics.attach_business_events('crm.payments', business_event_id => 'id', occurred_at => 'at',
    fixed_kind => 'charge', conversation_id => 'conversation', amount_usd => 'amount');
UPDATE agent_metrics.settings SET value = (SELECT (extract(day FROM now() - m.at)::integer + 1)::text
                                           FROM ({months}) AS m (ago, at) WHERE m.ago = 1)
WHERE name = 'hot_days'";

/// What comes after the refresh and the closing, before the upgrade.
const LATE: &str = "
INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, amount_usd)
VALUES ('recorded', 'charge', now(), 'sal-2-1-0', 70);
SELECT agent_metrics.refresh(); SELECT agent_metrics_internal.record_adjustments();
INSERT INTO crm.payments VALUES ('p-late', now(), 7, 'sal-3-0-0');
INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, amount_usd)
VALUES ('late', 'charge', now(), 'sal-2-1-2', 700), ('solved', 'ticket_resolved', now(), 'sup-3-0-0', NULL);
UPDATE agent_metrics.agent_events SET latency_ms = 4321 WHERE conversation_id = 'sup-1-1-1';
DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'sup-1-2-2';
ALTER TABLE agent_metrics.agent_events DISABLE TRIGGER ALL;
INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, recorded_in)
SELECT 'ops', m.at + interval '2 hours', 'uncounted', 77, '5' FROM ({months}) AS m (ago, at) WHERE m.ago = 1;
ALTER TABLE agent_metrics.agent_events ENABLE TRIGGER ALL";

/// Every view of agent_kpi, without what says when it was looked at and where the books were.
fn views(session: &Session) -> Vec<String> {
    let views = session.lines(
        "SELECT c.relname FROM pg_class c
         WHERE c.relnamespace = 'agent_kpi'::regnamespace AND c.relkind = 'v' ORDER BY 1",
    );
    assert!(views.len() > 30, "{views:?}");
    let lines = |view: String| {
        session.lines(&format!(
            "SELECT format('{view} %s', to_jsonb(v) - ARRAY['refreshed_at', 'due_at', 'lag_seconds', 'is_stale', 'why',
                                                           'adjusted_at', 'last_adjusted_at', 'compared_at', 'cause'])
             FROM agent_kpi.{view} v ORDER BY 1"
        ))
    };
    views.into_iter().flat_map(lines).collect()
}

/// Panics with what differs, view by view.
fn assert_same(now: &[String], then: &[String]) {
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    assert_eq!(only(now, then), only(then, now));
}

/// Why pg_upgrade failed, if it did: what it said and the logs it left.
fn pg_upgrade(old: &Cluster, new: &Cluster, old_pg_config: &str, mode: &str) -> Result<(), String> {
    let logs = PathBuf::from(new.data()).join("pg_upgrade_output.d");
    let mut command = new.server_users(
        "pg_upgrade",
        &[
            mode,
            "--old-bindir",
            &configured(old_pg_config, "--bindir"),
            "--old-datadir",
            &old.data(),
            "--new-datadir",
            &new.data(),
        ],
    );
    let output = command.current_dir(new.data()).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    let mut words = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut folders = vec![logs];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                words += &std::fs::read_to_string(path).unwrap_or_default();
            }
        }
    }
    Err(words)
}

fn upgraded_books_are_right(mode: &str) {
    let Ok(old_pg_config) = std::env::var("AGENT_METRICS_OLD_PG_CONFIG") else {
        println!(
            "skipped: AGENT_METRICS_OLD_PG_CONFIG names no older PostgreSQL; see make test-majors"
        );
        return;
    };
    let name = mode.trim_start_matches('-');
    let old = Cluster::start_of(
        &old_pg_config,
        &format!("upgrade_from_{name}"),
        &["fsync=off"],
    );
    old.session("postgres").exec("CREATE DATABASE books");
    let session = old.session("books");
    let from = session.number("SELECT current_setting('server_version_num')::integer / 10000");
    session.exec("CREATE EXTENSION agent_metrics; SELECT agent_metrics.setup()");
    session.exec(&BOOKS.replace("{months}", MONTHS));
    session.exec(
        "CREATE ROLE metabase LOGIN PASSWORD 'only-for-this-test';
         SELECT agent_metrics.grant_access('metabase', 'reader')",
    );
    refresh(&session);
    assert_rollups(&session);
    let folder = std::env::temp_dir().join(format!("am_upgrade_{name}_{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    works(
        &old.url("books"),
        &["archive", "--folder", folder.to_str().unwrap()],
    );
    session.exec(&format!(
        "SELECT agent_metrics.close_period(m.at::date, 'Head of Finance')
         FROM ({MONTHS}) AS m (ago, at) WHERE m.ago IN (2, 3)"
    ));
    session.exec(&LATE.replace("{months}", MONTHS));
    session.exec("SELECT agent_metrics.evaluate_thresholds()");
    for (what, is_there) in [
        ("SELECT FROM agent_metrics_internal.archives", "archive"),
        ("SELECT FROM agent_kpi.open_breaches", "breach"),
        (
            "SELECT FROM agent_metrics_internal.uncounted_turns()",
            "uncounted turn",
        ),
        (
            "SELECT FROM agent_kpi.adjustments WHERE is_recorded",
            "adjustment",
        ),
        (
            "SELECT FROM agent_kpi.attached_tables WHERE problem IS NULL",
            "CRM",
        ),
    ] {
        let there = session.value(&format!("SELECT EXISTS ({what})"));
        assert_eq!(there.as_deref(), Some("t"), "{is_there}");
    }
    let before = views(&session);
    drop(session);

    // What the numbers are to be: a copy in the old cluster follows its CRM and is built again.
    old.session("postgres")
        .exec("CREATE DATABASE control TEMPLATE books");
    let control = old.session("control");
    control.exec(
        "SELECT agent_metrics.sync_business_events('crm.payments');
         UPDATE agent_metrics_internal.agent_watermarks SET snapshot = NULL; SELECT agent_metrics.refresh()",
    );
    assert_verified(&control);
    let expected = views(&control);
    assert_ne!(before, expected);
    drop(control);
    old.session("postgres").exec("DROP DATABASE control");

    let new = Cluster::start_with(&format!("upgrade_to_{name}"), &["fsync=off"]);
    old.stop();
    new.stop();
    if has_checksums() {
        // the old cluster has none, and pg_upgrade wants both to be alike
        new.as_server_user("pg_checksums", &["--disable", "-D", &new.data()]);
    }
    if let Err(words) = pg_upgrade(&old, &new, &old_pg_config, mode) {
        let _ = std::fs::remove_dir_all(&folder);
        // Newer minor versions of the old server write into a dump what this one has yet to know: not ours to mend.
        assert!(
            words.contains("unrecognized parameter \"pg_attver\""),
            "{words}"
        );
        println!(
            "skipped: this PostgreSQL {} takes no dump of that {from}: unrecognized parameter \"pg_attver\"",
            major()
        );
        return;
    }
    new.begin();
    // the roles are the old cluster's, with their passwords
    let (was, is) = (old.url("books"), new.url("books"));
    let (_, host) = is.split_once('@').unwrap();
    let url = format!("{}@{host}", was.split_once('@').unwrap().0);
    let session = Session::open(&url);
    assert_same(&views(&session), &before);
    assert_verified(&session);
    let moved = format!("PostgreSQL was upgraded from {from} to {}", major());
    let (_, said, _) = program(&url, &["doctor"]);
    for agent in ["sup", "sal", "ops"] {
        assert!(
            said.contains(&format!(
                "agent {agent} is stale: {moved}, so the next refresh builds its rollups again"
            )),
            "{said}"
        );
    }
    assert_eq!(
        session.lines("SELECT DISTINCT cause FROM agent_kpi.adjustments WHERE NOT is_recorded"),
        [format!("not known: {moved}")]
    );

    session.exec("SELECT agent_metrics.sync_business_events('crm.payments')");
    refresh(&session);
    assert_verified(&session);
    assert_same(&views(&session), &expected);
    assert_no_rows(
        &session,
        "SELECT * FROM agent_metrics_internal.uncounted_turns()",
    );
    assert_no_rows(
        &session,
        "SELECT * FROM agent_kpi.freshness WHERE why IS NOT NULL",
    );
    session.exec("SELECT agent_metrics_internal.record_adjustments()");

    // From here on it is a cluster as any: what comes late is known by name, levels of access go on, months come back.
    session.exec(
        "INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, amount_usd)
         VALUES ('after', 'charge', now(), 'sal-2-2-2', 11)",
    );
    refresh(&session);
    assert_eq!(
        session.lines(
            "SELECT cause FROM agent_kpi.adjustments WHERE NOT is_recorded AND metric = 'revenue_usd'"
        ),
        ["1 charge (11 usd)"]
    );
    session.exec("SELECT agent_metrics.setup()");
    let reader = Session::open(&format!("postgresql://metabase:only-for-this-test@{host}"));
    assert!(reader.number("SELECT count(*) FROM agent_kpi.cfo_tiles") > 0.0);
    let file = session
        .value("SELECT folder || '/' || file FROM agent_metrics_internal.archives")
        .unwrap();
    works(&url, &["restore", &file]);
    refresh(&session);
    assert_rollups(&session);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn books_that_were_copied_by_pg_upgrade_are_right() {
    upgraded_books_are_right("--copy");
}

#[test]
fn books_that_were_linked_by_pg_upgrade_are_right() {
    upgraded_books_are_right("--link");
}
