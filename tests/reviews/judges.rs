//! What a judge is worth, held against people; and how many answers show a rare rate.

use crate::support::db;
use crate::support::rollups::refresh;

/// 200 conversations of yesterday with a judge's label; of 60 of them a person spoke too: the judge finds 36 of 40
/// successes and 19 of 20 failures.
#[test]
fn a_judge_is_held_against_people_and_the_rate_is_freed_of_his_errors() {
    let db = db("judge_quality");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label, outcome_source)
         SELECT 'bot', now() - interval '1 day', 'c' || n,
                CASE WHEN n <= 36 OR n = 41 OR n BETWEEN 61 AND 160 THEN 'success' ELSE 'failure' END, 'judge'
         FROM generate_series(1, 200) AS n;
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, outcome_label)
         SELECT 'bot', 'c' || n, 'team', CASE WHEN n <= 40 THEN 'success' ELSE 'failure' END
         FROM generate_series(1, 60) AS n",
    );
    refresh(&db);
    assert_eq!(
        db.lines(
            "SELECT judged_count, reviewed_count, judged_success_rate, sensitivity, specificity
             FROM agent_kpi.judge_quality"
        ),
        ["200|60|0.685|0.9|0.95"]
    );
    // (0.685 + 0.95 - 1) / (0.9 + 0.95 - 1)
    let corrected = db.number("SELECT corrected_success_rate FROM agent_kpi.judge_quality");
    assert!((corrected - 0.635 / 0.85).abs() < 1e-9, "{corrected}");
    assert_eq!(
        db.value(
            "SELECT ci_low < 0.685 AND ci_high > 0.8 AND ci_low > 0.6 AND ci_high < 0.95
             FROM agent_kpi.judge_quality"
        ),
        Some("t".to_owned())
    );
    // answers without a failure that show a rate below 1.5%
    assert_eq!(
        db.lines(
            "SELECT metric, threshold, answers_count, value, verdict, owner,
                    needed_without_failure_count
             FROM agent_kpi.review_plan"
        ),
        ["hallucination_rate|0.015|0||no_data|Head of Support|199"]
    );
}
