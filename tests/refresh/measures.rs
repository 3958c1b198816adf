//! The one list of a rollup's sums, `measures()`: what holds them has these columns, and verify() looks at every one.

use crate::support::db;
use crate::support::rollups::assert_rollups;
use crate::support::shop::shop;

#[test]
fn every_table_of_sums_has_the_columns_of_the_list() {
    let db = db("measures_columns");
    let listed = |condition: &str| {
        db.lines(&format!(
            "SELECT m.measure, m.type
             FROM agent_metrics_internal.measures() m WHERE {condition} ORDER BY 1"
        ))
    };
    let columns = |relation: &str| {
        db.lines(&format!(
            "SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a
             WHERE a.attrelid = 'agent_metrics_internal.{relation}'::regclass AND a.attnum > 0 AND NOT a.attisdropped
               AND a.attname NOT IN ('agent_id', 'level', 'bucket', 'archive_id', 'dimension', 'segment')
             ORDER BY a.attname"
        ))
    };
    assert_eq!(columns("rollups"), listed("true"));
    assert_eq!(columns("rollup_delta"), listed("true"));
    assert_eq!(columns("archived_buckets"), listed("m.grain = 'turn'"));
    assert_eq!(columns("segment_rollups"), listed("true"));
    assert_eq!(columns("segment_sums"), listed("true"));
    assert_eq!(columns("archived_segments"), listed("m.grain = 'turn'"));
}

#[test]
fn verify_reports_whichever_sum_is_wrong() {
    let db = shop("measures_verify");
    let measures = db.lines(
        "SELECT m.measure FROM agent_metrics_internal.measures() m
         WHERE m.type <> 'agent_metrics.quantile_sketch'",
    );
    for measure in measures {
        let change = |sign: &str| {
            db.exec(&format!(
                "UPDATE agent_metrics_internal.rollups SET {measure} = {measure} {sign} 1
                 WHERE agent_id = 'sal' AND level = 'day' AND bucket = '2026-03-04'"
            ));
        };
        change("+");
        assert_eq!(
            db.lines("SELECT agent_id, level, measure FROM agent_metrics.verify('sal')"),
            [format!("sal|day|{measure}")]
        );
        change("-");
    }
    assert_rollups(&db);
}
