//! What a reader and a stranger gain by functions and statements of their own: nothing that SECURITY.md does not give.

use crate::setup::install::views;
use crate::support::rollups::refresh;
use crate::support::shop::fill_shop;
use crate::support::{Session, db, login};

/// Views that hide no row and no value of what they read: they sum, and a condition that is not leakproof, such as one
/// with `now()`, has to reach their tables. All others are barriers.
const OPEN: [&str; 7] = [
    "agent_daily",
    "agent_daily_sketch",
    "agent_hourly",
    "cost_coverage",
    "kpi_daily",
    "kpi_hourly",
    "kpi_monthly",
];

#[test]
fn a_readers_function_in_a_condition_sees_what_the_views_show_and_no_more() {
    let db = db("privileges_leak");
    fill_shop(&db);
    // what no view shows: an agent of nobody's, a conversation that counts against nothing, a label that is mapped
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, outcome_label, cost_usd)
         VALUES ('sup', now(), 'secret-success', 'secret-user', 'success', 0),
                ('secret-agent', now(), 'secret-c', 'secret-user', NULL, 1);
         INSERT INTO agent_metrics.owners (owner, contact)
         VALUES ('secret-owner', 'secret-contact')",
    );
    refresh(&db);
    assert_eq!(
        db.lines(
            "SELECT relname
             FROM pg_class WHERE relnamespace = 'agent_kpi'::regnamespace
                             AND NOT coalesce('security_barrier=true' = ANY (reloptions), false)
             ORDER BY 1"
        ),
        OPEN
    );
    let (name, reader) = login(&db, "reader");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'reader'); GRANT CREATE ON SCHEMA public TO {name}"
    ));
    // cheap, so that the planner calls it before all else
    reader.exec(
        "CREATE FUNCTION public.peep(text) RETURNS boolean LANGUAGE plpgsql STABLE COST 0.0001 AS $$
         BEGIN
             PERFORM set_config('peep.seen', coalesce(current_setting('peep.seen', true), '') || '<'
                                             || coalesce($1, '') || '>', false); RETURN true;
         END $$",
    );
    let shown = |session: &Session, column: &str, view: &str| {
        session.lines(&format!(
            "SELECT DISTINCT '<' || coalesce({column}::text, '') || '>' FROM {view} ORDER BY 1"
        ))
    };
    let mut peeped = 0;
    for view in views(&db) {
        let columns = db.lines(&format!(
            "SELECT quote_ident(attname) FROM pg_attribute
             WHERE attrelid = '{view}'::regclass AND attnum > 0 AND atttypid = 'text'::regtype"
        ));
        for column in columns {
            reader.exec(&format!(
                "SET peep.seen = ''; SELECT count(*) FROM {view} WHERE public.peep({column})"
            ));
            let seen = reader.lines(
                "SELECT DISTINCT x[1]
                 FROM regexp_matches(current_setting('peep.seen'), '<[^>]*>', 'g') AS x ORDER BY 1",
            );
            let visible = shown(&reader, &column, &view);
            if OPEN.contains(&view.trim_start_matches("agent_kpi.")) {
                assert!(
                    seen.iter().all(|value| !value.contains("secret")),
                    "{view}.{column}: {seen:?}"
                );
            } else {
                assert!(
                    seen.iter().all(|value| visible.contains(value)),
                    "{view}.{column}: seen {seen:?}, shown {visible:?}"
                );
            }
            peeped += seen.len();
        }
    }
    assert!(peeped > 20, "{peeped}");
    // without the barrier it would see what the view leaves out
    db.exec("ALTER VIEW agent_kpi.failing_conversations RESET (security_barrier)");
    reader.exec(
        "SET peep.seen = '';
         SELECT count(*) FROM agent_kpi.failing_conversations WHERE public.peep(conversation_id)",
    );
    assert!(
        reader
            .value("SHOW peep.seen")
            .unwrap()
            .contains("secret-success")
    );
    drop(reader);
    db.exec(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}

/// A verdict on single latencies answers what the views ask, not what a reader asks: with lines of his own he would
/// have each value by halving.
#[test]
fn a_reader_cannot_ask_for_single_values() {
    let db = db("privileges_oracle");
    fill_shop(&db);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('sup', '2026-05-02 10:30+00', 'one', 777);
         DELETE FROM agent_metrics.thresholds WHERE agent_id = 'sup' AND metric = 'latency_p95_ms';
         INSERT INTO agent_metrics.thresholds (agent_id, metric, value, owner)
         SELECT 'sup', 'latency_p95_ms', 700, owner FROM agent_metrics.owners LIMIT 1",
    );
    refresh(&db);
    let (name, reader) = login(&db, "reader");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'reader')"
    ));
    let ask = |bucket: &str, days: i32, fraction: &str, line: i32| {
        reader.value(&format!(
            "SELECT agent_metrics_internal.kpi_exact_verdict(
                 'sup', 'latency_p95_ms', '2026-05-02', {bucket}, {days}, {fraction}, '-', {line})"
        ))
    };
    let hour = "'2026-05-02 10:00+00'";
    assert_eq!(ask("NULL", 1, "0.95", 700).as_deref(), Some("breach"));
    assert_eq!(ask(hour, 0, "0.95", 700).as_deref(), Some("breach"));
    assert_eq!(ask("NULL", 1, "0.95", 776), None, "a line of his own");
    assert_eq!(ask("NULL", 1, "0.5", 700), None, "a rank of his own");
    assert_eq!(
        ask("'2026-05-02 10:20+00'", 0, "0.95", 700),
        None,
        "an hour of his own"
    );
    drop(reader);
    db.exec(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}

#[test]
fn a_stranger_gains_nothing_with_what_he_may_create_elsewhere() {
    let db = db("privileges_stranger");
    fill_shop(&db);
    let (name, stranger) = login(&db, "stranger");
    for right in [
        "SELECT 1".to_owned(),
        format!("GRANT CREATE ON SCHEMA public TO {name}"),
        format!("GRANT CREATE ON DATABASE {} TO {name}", db.name()),
    ] {
        db.exec(&right);
        for sql in [
            "SELECT agent_metrics.setup()",
            "SELECT agent_metrics.refresh()",
            "SELECT agent_metrics.verify()",
            "SELECT agent_metrics.ensure_partitions()",
            "SELECT agent_metrics.register_agent('x', 'ops', 'O')",
            "SELECT agent_metrics.grant_access(current_user::regrole, 'admin')",
            "SELECT agent_metrics.revoke_access(current_user::regrole)",
            "SELECT agent_metrics_internal.grant_levels()",
            "SELECT agent_metrics.ingest_events(
                 '[{\"agent_id\": \"sup\", \"occurred_at\": \"2026-05-01T10:00:00Z\", '
                 '\"conversation_id\": \"i\"}]')",
            "SELECT agent_metrics.erase_user('u')",
            "SELECT agent_metrics_internal.enqueue_alert('drift', 'sup', 'x', '{}', NULL)",
            "SELECT agent_metrics.acknowledge_alert('x', 'y')",
            "SELECT agent_metrics_internal.claim_alerts(now(), 10)",
            "SELECT agent_metrics_internal.kpi_unpriced_models('2026-01-01', '2026-02-01')",
            "SELECT * FROM agent_kpi.cfo_tiles",
            "CREATE TABLE agent_metrics.mine ()",
            "CREATE FUNCTION agent_kpi.mine() RETURNS int LANGUAGE sql RETURN 1",
            "ALTER EXTENSION agent_metrics UPDATE",
            "DROP EXTENSION agent_metrics",
            "CREATE TEMP TABLE t (n int);
             CREATE TRIGGER t AFTER TRUNCATE ON t
                 EXECUTE FUNCTION agent_metrics_internal.log_truncate()",
            "CREATE TEMP VIEW v AS SELECT * FROM agent_metrics.agents; SELECT * FROM v",
        ] {
            let error = stranger.error(&format!("BEGIN; {sql}"));
            stranger.exec("ROLLBACK");
            assert_eq!(error.sqlstate, "42501", "{right}; {sql}: {error}");
        }
    }
    drop(stranger);
    db.exec(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
}
