//! What users built on the views, and rights that they gave, outlive an update; what is in its way is named.

use super::*;
use crate::support::asserts::assert_ours;

#[test]
fn rights_on_views_and_views_on_them_outlive_an_update() {
    let (server, earlier, later) = released_past("kept");
    let updated = filled(&server, "updated", &earlier);
    updated.exec(
        "CREATE ROLE analyst;
         SELECT agent_metrics.grant_access('analyst', 'reader');
         CREATE SCHEMA mine;
         GRANT USAGE ON SCHEMA mine TO analyst;
         CREATE ROLE auditor;
         GRANT SELECT ON agent_kpi.kpi_daily TO analyst WITH GRANT OPTION;
         GRANT SELECT (agent_id, cadence) ON agent_kpi.freshness TO auditor;
         CREATE VIEW mine.tiles AS SELECT t.agent_id, t.metric, t.value_30d, t.verdict FROM agent_kpi.cfo_tiles t;
         CREATE MATERIALIZED VIEW mine.days AS SELECT k.* FROM agent_kpi.kpi_daily k WHERE k.metric = 'turns';
         CREATE FUNCTION mine.worst() RETURNS SETOF agent_kpi.failing_conversations
             BEGIN ATOMIC SELECT f.* FROM agent_kpi.failing_conversations f; END;
         GRANT SELECT ON mine.tiles TO analyst",
    );
    let shows = ["mine.tiles", "mine.days", "mine.worst()"].map(|what| {
        let query = format!("SELECT * FROM {what} x ORDER BY x::text");
        let rows = updated.lines(&query);
        (query, rows)
    });
    assert!(!shows[0].1.is_empty());
    updated.exec("ALTER EXTENSION agent_metrics UPDATE");
    stand_in(&updated, VERSION, &later);
    setup(&updated);
    library(&updated);
    for (query, rows) in &shows {
        assert_eq!(&updated.lines(query), rows, "{query}");
    }
    updated.exec("REFRESH MATERIALIZED VIEW mine.days; SET ROLE analyst");
    for allowed in ["mine.tiles", "agent_kpi.kpi_daily"] {
        updated.exec(&format!("SELECT count(*) FROM {allowed}"));
    }
    updated.exec("RESET ROLE");
    for kept in [
        "has_table_privilege('analyst', 'agent_kpi.kpi_daily', 'SELECT WITH GRANT OPTION')",
        "has_column_privilege('auditor', 'agent_kpi.freshness', 'cadence', 'SELECT')",
        "NOT has_column_privilege('auditor', 'agent_kpi.freshness', 'why', 'SELECT')",
    ] {
        assert_eq!(
            updated.value(&format!("SELECT {kept}")).as_deref(),
            Some("t"),
            "{kept}"
        );
    }
    // a level's rights on a view that is new
    let new = format!("SELECT has_table_privilege('reader', '{VIEW}', 'SELECT')");
    assert_eq!(updated.value(&new).as_deref(), Some("t"));
}

/// A view that a later version has to drop, and somebody's view on it: nothing is dropped for him, and nothing is half
/// done.
#[test]
fn a_view_of_a_users_in_the_way_of_a_step_is_named() {
    let db = db("upgrade_in_the_way");
    let number = db.number("SELECT max(number) FROM agent_metrics_internal.migrations") + 1.0;
    let mut later = Sources::current();
    later.0.retain(|script| script.kind != "member");
    let later = later.with_steps(&[(
        &format!("steps/{number}_view.sql"),
        "CREATE TABLE public.half_done ();\nDROP VIEW IF EXISTS agent_kpi.freshness;\n".to_owned(),
    )]);
    stand_in(&db, VERSION, &later);
    db.exec(
        "CREATE SCHEMA mine;
         CREATE VIEW mine.late AS SELECT f.agent_id FROM agent_kpi.freshness f WHERE f.is_stale",
    );
    let error = db.error("SELECT agent_metrics.setup()");
    assert_ours(&error, "2BP01", "cannot drop view agent_kpi.freshness");
    assert!(
        error.detail.contains("view mine.late depends on")
            && error.hint.contains("call setup() again"),
        "{error}"
    );
    assert_eq!(db.value("SELECT to_regclass('public.half_done')"), None);
    let definition = db
        .value("SELECT pg_get_viewdef('mine.late'::regclass)")
        .unwrap();
    db.exec("DROP VIEW mine.late");
    assert!(setup(&db).contains("1 migrations applied now"));
    db.exec(&format!("CREATE VIEW mine.late AS {definition}"));
    library(&db);
}
