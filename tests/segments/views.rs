//! What `agent_kpi` shows by segment: the metrics of the whole, divided, and nothing of switched-off dimensions.

use super::{assert_traced, divided_shop};
use crate::support::asserts::{assert_no_rows, assert_refused, assert_verified};
use crate::support::login;
use crate::support::rollups::refresh;

#[test]
fn the_numbers_of_segments_add_up_to_those_of_the_agent() {
    let db = divided_shop("segments_views");
    db.exec(
        "SELECT agent_metrics.define_metric('csat', 'share', definition => 'Good / all.', threshold => 0.5,
                                            owner => 'Head of Service');
         INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator)
         SELECT c.agent_id, c.conversation_id, 'csat', (c.conversation_id LIKE '%-1')::integer
         FROM agent_metrics.conversations c;
         INSERT INTO agent_metrics.turn_scores (agent_id, conversation_id, occurred_at, event_id, score)
         SELECT e.agent_id, e.conversation_id, e.occurred_at, e.event_id, 0.5 FROM agent_metrics.agent_events e
         WHERE e.turn_index = 1",
    );
    refresh(&db);
    assert_verified(&db);
    assert_traced(&db);
    for (segments, whole, time) in [
        ("kpi_segments_daily", "kpi_daily", "day"),
        ("kpi_segments_monthly", "kpi_monthly", "month"),
        ("kpi_segments_hourly", "kpi_hourly", "hour"),
    ] {
        // every metric that segments have; the pending ones, and what percentiles are of, too
        assert_no_rows(
            &db,
            &format!(
                "SELECT s.dimension, s.metric, s.{time}, k.numerator, s.numerator, k.denominator, s.denominator
                 FROM (SELECT s.agent_id, s.dimension, s.metric, s.{time}, sum(s.numerator) AS numerator,
                              sum(s.denominator) AS denominator, sum(s.pending) AS pending,
                              min(s.threshold) AS threshold
                       FROM agent_kpi.{segments} s GROUP BY 1, 2, 3, 4) s
                 JOIN agent_kpi.{whole} k ON k.agent_id = s.agent_id AND k.metric = s.metric AND k.{time} = s.{time}
                 WHERE (coalesce(k.numerator, 0), coalesce(k.denominator, 0), k.pending, k.threshold)
                       IS DISTINCT FROM (coalesce(s.numerator, 0), coalesce(s.denominator, 0), s.pending, s.threshold)"
            ),
        );
        let metrics = db.number(&format!(
            "SELECT count(DISTINCT metric) FROM agent_kpi.{segments} WHERE value IS NOT NULL"
        ));
        assert!(metrics >= 10.0, "{segments}: {metrics}");
    }
    assert_no_rows(
        &db,
        "SELECT * FROM agent_kpi.kpi_segments_hourly WHERE dimension <> 'model'",
    );
    // by hand: conversations end in their channel, and channel 1 alone was content
    assert_eq!(
        db.lines(
            "SELECT segment, value, verdict, owner FROM agent_kpi.kpi_segments_monthly
             WHERE agent_id = 'sup' AND dimension = 'channel' AND metric = 'csat' AND value IS NOT NULL
             ORDER BY 1"
        ),
        [
            "0|0|breach|Head of Service",
            "1|1|pass|Head of Service",
            "2|0|breach|Head of Service",
            "3|0|breach|Head of Service",
            "4|0|breach|Head of Service"
        ]
    );
    assert_no_rows(
        &db,
        "SELECT s.agent_id FROM (SELECT agent_id, dimension, sum(cost_usd) AS cost, sum(spend_share) AS share
                                 FROM agent_kpi.spend_by_segment GROUP BY 1, 2) s
         WHERE s.cost <> (SELECT sum(e.cost_usd) FROM agent_metrics.agent_events e WHERE e.agent_id = s.agent_id)
            OR abs(s.share - 1) > 1e-9",
    );
    // a reader sees them, and no turn
    let (name, reader) = login(&db, "reader");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{name}', 'reader')"
    ));
    for view in [
        "kpi_segments_daily",
        "kpi_segments_hourly",
        "kpi_segments_monthly",
        "spend_by_segment",
        "untracked_segments",
    ] {
        reader.exec(&format!("SELECT * FROM agent_kpi.{view}"));
    }
}

#[test]
fn a_number_of_a_segment_is_explained_or_the_question_is_refused() {
    let db = divided_shop("segments_explained");
    assert_eq!(
        db.lines(
            "SELECT k.numerator = e.numerator, k.value = e.value, k.verdict = e.verdict, e.trace_rows
             FROM agent_kpi.kpi_segments_daily k
             CROSS JOIN LATERAL agent_metrics.explain_metric(k.metric, k.agent_id, k.day, k.dimension, k.segment) e
             WHERE k.agent_id = 'sup' AND k.dimension = 'channel' AND k.segment = '1'
               AND k.metric = 'task_success_rate' AND k.day = '2026-03-02'"
        ),
        ["t|t|t|1"]
    );
    assert_eq!(
        db.lines(
            "SELECT DISTINCT segments::jsonb ->> 'channel' FROM agent_kpi.failing_conversations
             WHERE agent_id = 'sup' AND conversation_id LIKE '%-3'"
        ),
        ["3"]
    );
    let span = "'2026-03-01', '2026-03-02'";
    for (arguments, words) in [
        (
            format!("'task_success_rate', 'sup', {span}, 'intent', 'x'"),
            "not switched on",
        ),
        (
            format!("'task_success_rate', 'sup', {span}, 'model', NULL"),
            "no segment",
        ),
        (
            format!("'made_up', 'sup', {span}, 'model', 'large'"),
            "unknown metric",
        ),
        (
            format!("'task_success_rate', 'nobody', {span}, 'model', 'large'"),
            "nobody",
        ),
        (
            format!("'eval_success_rate', 'sup', {span}, 'model', 'large'"),
            "has no segments",
        ),
    ] {
        assert_refused(
            &db,
            &format!("SELECT * FROM agent_metrics.trace({arguments})"),
            "22023",
            words,
        );
    }
}
