//! What every object says of itself, and how it is marked.

use crate::support::asserts::assert_no_rows;
use crate::support::{Session, db};

#[test]
fn every_object_says_what_it_is() {
    let db = db("setup_comments");
    assert_eq!(silent(&db), [""; 0], "these have no comment");
    db.exec(
        "COMMENT ON COLUMN agent_kpi.kpi_daily.value IS NULL;
         COMMENT ON FUNCTION agent_metrics.refresh(text) IS NULL",
    );
    assert_eq!(
        silent(&db),
        [
            "column agent_kpi.kpi_daily.value",
            "function agent_metrics.refresh(text)"
        ],
        "what has none is found"
    );
    // the unique key of each view is in its comment, for a view has no primary key
    assert_no_rows(
        &db,
        "SELECT oid::regclass FROM pg_class WHERE relnamespace = 'agent_kpi'::regnamespace
                                              AND obj_description(oid) !~ 'Unique: [a-z_, ]+\\.$'",
    );
}

/// Objects without a comment.
fn silent(session: &Session) -> Vec<String> {
    session.lines(
        "WITH ours AS (SELECT oid
                       FROM pg_namespace WHERE nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal'))
         SELECT 'schema ' || n.nspname
         FROM pg_namespace n JOIN ours USING (oid) WHERE obj_description(n.oid, 'pg_namespace') IS NULL
         UNION ALL SELECT 'relation ' || c.oid::regclass FROM pg_class c JOIN ours ON ours.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v') AND obj_description(c.oid, 'pg_class') IS NULL
         UNION ALL SELECT format('column %s.%s', c.oid::regclass, a.attname)
                   FROM pg_class c JOIN ours ON ours.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL
           AND (c.relkind IN ('r', 'p') AND NOT c.relispartition OR c.relkind = 'c'
                OR c.relkind = 'v' AND c.relnamespace = 'agent_kpi'::regnamespace)
         UNION ALL SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN ours ON ours.oid = p.pronamespace
                   WHERE obj_description(p.oid, 'pg_proc') IS NULL
         UNION ALL SELECT 'type ' || t.oid::regtype FROM pg_type t JOIN ours ON ours.oid = t.typnamespace
                   LEFT JOIN pg_class c ON c.oid = t.typrelid
         WHERE (t.typtype NOT IN ('c', 'b') OR c.relkind = 'c' OR (t.typtype = 'b' AND t.typelem = 0))
           AND obj_description(t.oid, 'pg_type') IS NULL
         UNION ALL SELECT 'operator ' || o.oid::regoperator FROM pg_operator o JOIN ours ON ours.oid = o.oprnamespace
                   WHERE obj_description(o.oid, 'pg_operator') IS NULL
         UNION ALL SELECT 'operator class ' || o.opcname FROM pg_opclass o JOIN ours ON ours.oid = o.opcnamespace
                   WHERE obj_description(o.oid, 'pg_opclass') IS NULL
         UNION ALL SELECT 'operator family ' || o.opfname FROM pg_opfamily o JOIN ours ON ours.oid = o.opfnamespace
                   WHERE obj_description(o.oid, 'pg_opfamily') IS NULL
         UNION ALL SELECT format('cast %s to %s', c.castsource::regtype, c.casttarget::regtype)
                   FROM pg_cast c JOIN pg_type t ON t.oid = c.castsource JOIN ours ON ours.oid = t.typnamespace
         WHERE obj_description(c.oid, 'pg_cast') IS NULL",
    )
}

#[test]
fn every_function_is_marked_and_pins_its_search_path() {
    let db = db("setup_functions");
    // a function with a body as text resolves names when it runs
    assert_no_rows(
        &db,
        "SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
         WHERE p.pronamespace IN ('agent_metrics'::regnamespace,
                                  'agent_metrics_internal'::regnamespace)
           AND l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL
           AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)",
    );
    // no member of the extension runs with its owner's rights: in a trusted install that is the superuser
    assert_no_rows(
        &db,
        "SELECT p.oid::regprocedure FROM pg_proc p
         JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
         WHERE p.prosecdef AND p.pronamespace IN ('agent_metrics'::regnamespace,
                                                  'agent_metrics_internal'::regnamespace)",
    );
    // volatility and parallel safety are written out, not left to their defaults
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut looked_at = 0;
    let folders = std::fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for folder in folders.filter(|path| path.is_dir()) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue; // what was released is as it was
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let heads = text
                .split("CREATE FUNCTION ")
                .chain(text.split("CREATE OR REPLACE FUNCTION "))
                .filter(|head| head.starts_with("agent_metrics"));
            for head in heads {
                let end = head
                    .find(" AS $")
                    .or_else(|| head.find(" AS '"))
                    .or_else(|| head.find("RETURN "))
                    .unwrap_or(head.len());
                let words: Vec<&str> = head[..end].split_whitespace().collect();
                let volatility = ["IMMUTABLE", "STABLE", "VOLATILE"]
                    .iter()
                    .any(|word| words.contains(word));
                assert!(
                    volatility && words.contains(&"PARALLEL"),
                    "{}: {}",
                    path.display(),
                    &head[..end]
                );
                looked_at += 1;
            }
        }
    }
    let functions = db.number(
        "SELECT count(*) FROM pg_proc
         WHERE pronamespace IN ('agent_metrics'::regnamespace,
                                'agent_metrics_internal'::regnamespace) AND prokind = 'f'",
    );
    assert!(
        f64::from(looked_at) >= functions,
        "{looked_at} of {functions}"
    );
    // what writes is volatile and never parallel
    assert_no_rows(
        &db,
        "SELECT p.oid::regprocedure
         FROM pg_proc p WHERE p.pronamespace IN ('agent_metrics'::regnamespace,
                                                 'agent_metrics_internal'::regnamespace)
                          AND p.prosrc ~* '\\m(INSERT INTO|UPDATE agent|DELETE FROM|FOR UPDATE)'
                          AND (p.provolatile <> 'v' OR p.proparallel <> 'u')",
    );
}

#[test]
fn views_for_bi_have_plain_types_and_names_that_clients_show() {
    let db = db("setup_bi");
    assert_eq!(
        db.lines(
            "SELECT table_name || '.' || column_name || ' ' || data_type
             FROM information_schema.columns WHERE table_schema = 'agent_kpi'
               AND data_type NOT IN ('text', 'bigint', 'integer', 'double precision', 'numeric',
                                     'boolean', 'date', 'timestamp with time zone')"
        ),
        ["agent_daily_sketch.latency_sketch USER-DEFINED"]
    );
    assert_no_rows(
        &db,
        "SELECT relname FROM pg_class WHERE relnamespace = 'agent_kpi'::regnamespace AND relkind <> 'v'",
    );
    assert_no_rows(
        &db,
        "SELECT relname FROM pg_class WHERE relnamespace = 'agent_kpi'::regnamespace
AND relname ~ '(_cache$|_revision$|^cache|^registry|^router|'
              '^config$|^queue$|^batch$|^sequences$|^sessions$)'",
    );
    assert_no_rows(
        &db,
        "SELECT table_name || '.' || column_name || ' ' || data_type
FROM information_schema.columns WHERE table_schema = 'agent_kpi'
AND (column_name LIKE '%cost%'
     AND (column_name NOT LIKE '%\\_usd' OR data_type NOT IN ('numeric', 'double precision'))
    OR column_name LIKE '%\\_at' AND data_type <> 'timestamp with time zone'
    OR column_name LIKE 'is\\_%' AND data_type <> 'boolean'
    OR column_name LIKE '%\\_id' AND data_type <> 'text'
    OR column_name LIKE '%\\_rate' AND data_type <> 'double precision')",
    );
    // the columns that other people's dashboards rest on, in their order
    for (view, columns) in [
        (
            "kpi_daily",
            "agent_id, agent_kind, actor, metric, metric_class, unit, day, value, \
             numerator, denominator, ci_low, ci_high, threshold, direction, verdict, owner, \
             pending, refreshed_at",
        ),
        (
            "kpi_hourly",
            "agent_id, agent_kind, actor, metric, metric_class, unit, hour, value, \
             numerator, denominator, ci_low, ci_high, threshold, direction, verdict, owner, \
             pending, refreshed_at",
        ),
        (
            "cfo_tiles",
            "agent_id, metric, metric_class, value_30d, ci_low, ci_high, threshold, direction, \
             verdict, owner, previous_30d, benchmark, refreshed_at",
        ),
        ("cfo_spark", "agent_id, metric, day, value, threshold"),
        (
            "failing_conversations",
            "agent_id, metric, conversation_id, started_at, outcome_label, reason, cost_usd, turns",
        ),
        (
            "freshness",
            "agent_id, cadence, refreshed_at, due_at, lag_seconds, is_stale",
        ),
        (
            "unmapped_labels",
            "agent_id, outcome_label, conversations, last_seen",
        ),
    ] {
        let ours = db
            .value(&format!(
                "SELECT string_agg(column_name, ', ' ORDER BY ordinal_position)
                 FROM information_schema.columns
                 WHERE table_schema = 'agent_kpi' AND table_name = '{view}'"
            ))
            .unwrap();
        assert!(
            ours == columns || ours.starts_with(&format!("{columns}, ")),
            "{view}: {ours}"
        );
    }
    assert_eq!(
        db.number("SELECT count(*) FROM agent_metrics_internal.migrations"),
        db.number("SELECT max(number) FROM agent_metrics_internal.migrations")
    );
}
