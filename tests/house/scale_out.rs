//! The rules that spare a rewrite when the tables are distributed by agent: docs/design.md says why each is one.

use crate::support::db;

/// What belongs to no one agent: a row may name none, so it stays in one place.
const SHARED: &str =
    "'agent_metrics_internal.changes'::regclass, 'agent_metrics.infrastructure_costs'::regclass";

const OURS: &str = "('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)";

#[test]
fn every_key_of_what_belongs_to_an_agent_names_the_agent() {
    let db = db("scale_out_keys");
    assert_eq!(
        db.lines(&format!(
            "SELECT c.oid::regclass FROM pg_class c
             WHERE c.relnamespace IN {OURS} AND c.relkind IN ('r', 'p')
               AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'p')"
        )),
        Vec::<String>::new(),
        "tables without a primary key"
    );
    assert_eq!(
        db.lines(&format!(
            "SELECT i.indexrelid::regclass FROM pg_class c
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'agent_id'
             JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique
             WHERE c.relnamespace IN {OURS} AND c.relkind IN ('r', 'p') AND c.oid NOT IN ({SHARED})
               AND NOT a.attnum = ANY (i.indkey::smallint[])"
        )),
        Vec::<String>::new(),
        "unique keys without agent_id"
    );
    assert_eq!(
        db.lines(&format!(
            "SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'agent_id'
             WHERE c.relnamespace IN {OURS} AND c.relkind IN ('r', 'p') AND c.oid NOT IN ({SHARED})
               AND NOT a.attnotnull"
        )),
        Vec::<String>::new(),
        "tables whose agent_id may be NULL"
    );
}

#[test]
fn facts_refer_to_no_configuration() {
    let db = db("scale_out_references");
    assert_eq!(
        db.lines(
            "SELECT k.conrelid::regclass, k.confrelid::regclass FROM pg_constraint k
             WHERE k.contype = 'f' AND k.conrelid = ANY (ARRAY(
                 SELECT c.oid FROM pg_class c WHERE c.oid IN (
                     'agent_metrics.agent_events'::regclass, 'agent_metrics.business_events'::regclass,
                     'agent_metrics.reviews'::regclass, 'agent_metrics.tool_call_verdicts'::regclass,
                     'agent_metrics.turn_scores'::regclass, 'agent_metrics.survey_answers'::regclass,
                     'agent_metrics.eval_runs'::regclass, 'agent_metrics.eval_results'::regclass,
                     'agent_metrics.billing_lines'::regclass, 'agent_metrics.infrastructure_costs'::regclass)))"
        ),
        Vec::<String>::new()
    );
}

/// The bodies of all functions, without comments and texts.
const BODIES: &str = "SELECT p.oid::regprocedure AS name,
                             regexp_replace(p.prosrc, '--[^\\n]*|''[^'']*''', '', 'g') AS body
                      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
                      WHERE p.pronamespace IN ('agent_metrics'::regnamespace,
                                               'agent_metrics_internal'::regnamespace)
                        AND l.lanname = 'plpgsql'";

#[test]
fn no_statement_says_what_a_shard_would_misread() {
    let db = db("scale_out_statements");
    for (what, pattern) in [
        ("a SELECT without columns", "\\mSELECT\\s+FROM\\M"),
        (
            "a RETURNING that names its table",
            "\\mRETURNING\\s+(?!agent_metrics)[a-z_]{4,}\\.",
        ),
        ("CASE TG_OP WHEN", "\\mCASE\\s+TG_OP\\M"),
        (
            "the name of the trigger's table",
            "\\mTG_(TABLE_NAME|RELNAME)\\M",
        ),
        (
            "an UPDATE without an alias",
            "\\mUPDATE\\s+(ONLY\\s+)?agent_\\w+\\.\\w+\\s+SET\\M",
        ),
        (
            "a DELETE without an alias",
            "\\mDELETE\\s+FROM\\s+(ONLY\\s+)?agent_\\w+\\.\\w+\\s*(;|\\)|\\mWHERE\\M|\\mUSING\\M|\\mRETURNING\\M)",
        ),
    ] {
        assert_eq!(
            db.lines(&format!(
                "SELECT b.name FROM ({BODIES}) b WHERE b.body ~ '{pattern}'"
            )),
            Vec::<String>::new(),
            "{what}"
        );
    }
}

#[test]
fn one_trigger_stamps_a_table_before_it_is_written() {
    let db = db("scale_out_stamps");
    // a default would be evaluated elsewhere; a second trigger could undo the first
    assert_eq!(
        db.lines(
            "SELECT t.tgrelid::regclass, count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
             WHERE NOT t.tgisinternal AND t.tgtype & 2 = 2 AND t.tgparentid = 0
               AND t.tgrelid IN (SELECT a.attrelid FROM pg_attribute a WHERE a.attname IN ('recorded_in', 'changed_in'))
               AND (p.prosrc ~ '\\m(recorded_in|changed_in) :=' OR p.proname = 'check_turn')
             GROUP BY 1 HAVING count(*) > 1"
        ),
        Vec::<String>::new()
    );
}
