//! The views that business reads: what they show is what the other views and the rows say, and none
//! mixes AI and people.

use crate::metrics::trace::{assert_traced, random_facts};
use crate::support::asserts::assert_no_rows;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::shop::shop;
use crate::support::{Db, db};

/// Two AI agents and a human team of one kind, and two of another, with turns in the last two months.
fn company(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('team', 'support', 'Head of Support', actor => 'human'),
                agent_metrics.register_agent('one', 'support', 'Head of Support', baseline_agent_id => 'team',
                                             vertical => 'healthcare'),
                agent_metrics.register_agent('two', 'support', 'Head of Support', baseline_agent_id => 'team'),
                agent_metrics.register_agent('people', 'sales', 'Head of Sales', actor => 'human'),
                agent_metrics.register_agent('seller', 'sales', 'Head of Sales');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, event_id, conversation_id, latency_ms, token_usage_input, cost_usd, outcome_label)
         SELECT a, date_trunc('month', now(), 'UTC') - n * interval '11 hours', md5(a || n)::uuid, a || n, 100 * w + n,
                10 * w, 0.01 * w + n * 0.0001,
                CASE WHEN n % (w + 2) = 0 THEN 'failure' WHEN n % 7 = 0 THEN NULL ELSE 'resolved' END
         FROM unnest(ARRAY['team', 'one', 'two', 'people', 'seller']) WITH ORDINALITY AS x (a, w),
              generate_series(1, 100) AS n;
         INSERT INTO agent_metrics.business_events (business_event_id, kind, occurred_at, conversation_id, amount_usd)
         SELECT 'm' || a || n, k, now() - interval '1 hour', a || n, 3 * n
         FROM unnest(ARRAY['team', 'one', 'two']) AS a, generate_series(1, 9) AS n,
                unnest(ARRAY['charge']) AS k
         UNION ALL SELECT 't' || n, 'human_touch', now(), 'one' || n, NULL FROM generate_series(1, 5) AS n;
         INSERT INTO agent_metrics.infrastructure_costs (agent_id, period_start, period_end, amount_usd)
         VALUES ('one', date_trunc('month', now(), 'UTC') - interval '1 month', date_trunc('month', now(), 'UTC'), 12)",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_traced(&db);
    db
}

const LAST_MONTH: &str =
    "(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month')::date";

#[test]
fn ai_and_people_stand_side_by_side_and_nothing_mixes_them() {
    let db = company("views_sides");
    // the side-by-side view: each side is the sum over its own agents
    assert_no_rows(
        &db,
        &format!(
            "SELECT v.metric FROM agent_kpi.ai_vs_human v
             JOIN LATERAL (SELECT agent_metrics.ratio(sum(k.numerator) FILTER (WHERE k.actor = 'ai'),
                                                      sum(k.denominator) FILTER (WHERE k.actor = 'ai')) AS ai,
                                  agent_metrics.ratio(sum(k.numerator) FILTER (WHERE k.actor = 'human'),
                                                      sum(k.denominator) FILTER (WHERE k.actor = 'human')) AS human
                           FROM agent_kpi.kpi_monthly k
                           WHERE k.agent_kind = v.agent_kind AND k.metric = v.metric AND k.month = v.month) x ON true
             WHERE v.month = {LAST_MONTH} AND v.metric !~ '_p(50|95)_' AND v.metric <> 'token_spend_usd'
               AND (v.ai_value, v.human_value) IS DISTINCT FROM (x.ai, x.human)"
        ),
    );
    let exact = "SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms)
                 FROM agent_metrics.agent_events e JOIN agent_metrics.agents a USING (agent_id)
                 WHERE a.kind = 'support'
                   AND e.occurred_at >= date_trunc('month', now(), 'UTC') - interval '1 month'
                   AND e.occurred_at < date_trunc('month', now(), 'UTC') AND a.actor";
    for actor in ["ai", "human"] {
        let shown = db.number(&format!(
            "SELECT {actor}_value FROM agent_kpi.ai_vs_human
             WHERE agent_kind = 'support' AND metric = 'latency_p95_ms' AND month = {LAST_MONTH}"
        ));
        let exact = db.number(&format!("{exact} = '{actor}'"));
        assert!((shown - exact).abs() <= exact / 128.0, "{shown} {exact}");
    }

    // Take the people away: nothing that is shown of an AI agent may change; and the other way round.
    // Every view is tried.
    let seen = |actor: &str| -> Vec<String> {
        let mut seen = Vec::new();
        for view in db.lines("SELECT relname FROM pg_class WHERE relnamespace = 'agent_kpi'::regnamespace ORDER BY 1") {
            let columns = db.lines(&format!("SELECT column_name FROM information_schema.columns
                                             WHERE table_schema = 'agent_kpi'
                                               AND table_name = '{view}'"));
            if columns.iter().any(|column| column == "agent_id") {
                seen.extend(db.lines(&format!(
                    "SELECT '{view}', to_jsonb(v) - '{{refreshed_at,due_at,lag_seconds,is_stale,'
                                                    'human_unit_cost_usd,reason}}'::text[] AS row
                     FROM agent_kpi.{view} v
                     WHERE v.agent_id IN (SELECT agent_id
                                          FROM agent_metrics.agents WHERE actor = '{actor}')
                     ORDER BY 2"
                )));
            } else if view == "ai_vs_human" {
                seen.extend(db.lines(&format!("SELECT agent_kind, metric, month,
                                                      {actor}_value, {actor}_n
                                               FROM agent_kpi.ai_vs_human
                                               WHERE {actor}_value IS NOT NULL ORDER BY 1, 2, 3")));
            } else {
                // what is of no agent: words, the CRM, bills, months
                let of_no_agent = [
                    "metric_catalogue",
                    "attached_tables",
                    "closed_periods",
                    "cost_reconciliation",
                    "feeds",
                    "incomplete_traces",
                    "refused_bills",
                    "scheduler",
                    "undefined_measures",
                    "unmapped_event_kinds",
                ];
                assert!(of_no_agent.contains(&view.as_str()), "{view} has no agent_id: does it mix?");
            }
        }
        assert!(seen.len() > 500, "{}", seen.len());
        seen
    };
    let (ai, people) = (seen("ai"), seen("human"));
    db.exec(
        "BEGIN; DELETE FROM agent_metrics.agent_events WHERE agent_id IN ('team', 'people');
         SELECT agent_metrics.rebuild()",
    );
    assert_eq!(seen("ai"), ai);
    db.exec(
        "ROLLBACK; BEGIN; DELETE FROM agent_metrics.agent_events WHERE agent_id IN ('one', 'two', \
         'seller'); SELECT agent_metrics.rebuild()",
    );
    assert_eq!(seen("human"), people);
    db.exec("ROLLBACK");
}

#[test]
fn money_of_a_month_adds_up() {
    let db = company("views_money");
    // a month from its days
    assert_no_rows(
        &db,
        &format!(
            "SELECT r.agent_id FROM agent_kpi.roi_monthly r
             JOIN LATERAL (SELECT sum(d.token_spend_usd) AS turns, sum(d.revenue_usd) AS revenue,
                                  sum(d.agent_hours) AS hours, sum(d.units) AS units
                           FROM agent_kpi.agent_daily d
                           WHERE d.agent_id = r.agent_id
                             AND date_trunc('month', d.day)::date = r.month) d ON true
             WHERE r.month = {LAST_MONTH}
               AND (abs(r.turn_cost_usd - d.turns) > 1e-9 OR r.revenue_usd <> d.revenue
                    OR abs(r.agent_hours - d.hours) > 1e-9 OR r.units <> d.units
                 OR abs(r.cost_usd - d.turns - coalesce(r.infrastructure_usd, 0)) > 1e-9
                 OR abs(r.net_usd - (r.revenue_usd - r.cost_usd)) > 1e-9)"
        ),
    );
    assert_eq!(
        db.lines(&format!(
            "SELECT agent_id, trim_scale(infrastructure_usd), human_unit_cost_usd IS NOT NULL
             FROM agent_kpi.roi_monthly WHERE month = {LAST_MONTH} ORDER BY 1"
        )),
        ["one|12|t", "people||f", "seller||f", "team||f", "two||t"]
    );
    assert_eq!(
        db.lines(&format!(
            "SELECT round(a.human_unit_cost_usd, 9) = round(b.unit_cost_usd::numeric, 9)
             FROM agent_kpi.roi_monthly a, agent_kpi.roi_monthly b
             WHERE a.agent_id = 'one' AND b.agent_id = 'team' AND a.month = {LAST_MONTH}
               AND b.month = a.month"
        )),
        ["t"]
    );
}

#[test]
fn the_analysts_question_of_the_readme_is_answered_and_agrees_with_its_rows() {
    let db = company("views_analyst");
    let readme = include_str!("../../docs/bi.md");
    let block = readme
        .split("```sql\n")
        .find(|block| block.starts_with("WITH last_month"))
        .unwrap();
    let block = block.split("```").next().unwrap();
    let mut statements = block.split_inclusive(";\n");
    let answers = db.rows(statements.next().unwrap());
    assert_eq!(answers.len(), 2, "two AI agents of support");
    for answer in &answers {
        for (column, value) in answer.iter().enumerate() {
            assert!(value.is_some(), "column {column} of {answer:?}");
        }
        assert_eq!(answer[15].as_deref(), Some("t"), "{answer:?}");
        assert_eq!(answer[7].as_deref(), Some("Head of Support"));
    }
    let behind = db.rows(statements.next().unwrap());
    assert_eq!(behind.len(), 20);
    // against the raw rows
    let raw = db.number(
        "SELECT (SELECT sum(cost_usd) FROM agent_metrics.agent_events
                 WHERE agent_id = 'two'
                   AND occurred_at >= date_trunc('month', now(), 'UTC') - interval '1 month'
                   AND occurred_at < date_trunc('month', now(), 'UTC'))
              / (SELECT count(*) FROM agent_metrics.agent_events
                 WHERE agent_id = 'two' AND outcome_label = 'resolved'
                   AND occurred_at >= date_trunc('month', now(), 'UTC') - interval '1 month'
                   AND occurred_at < date_trunc('month', now(), 'UTC'))",
    );
    let shown: f64 = answers[1][2].as_deref().unwrap().parse().unwrap();
    assert!((shown - raw).abs() < 1e-12, "{shown} {raw}");
}

#[test]
fn benchmarks_take_the_nearest_scope() {
    let db = company("views_benchmarks");
    db.exec(
        "INSERT INTO agent_metrics.benchmarks (vertical, metric, statistic, value, source, year)
         VALUES
             ('support', 'task_success_rate', 'median', 0.70, 's', 2026),
             ('support', 'task_success_rate', 'bottom_quartile', 0.60, 's', 2026),
             ('healthcare', 'task_success_rate', 'median', 0.99, 'h', 2026),
             ('healthcare', 'task_success_rate', 'bottom_quartile', 0.98, 'h', 2026);
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, answer_verdict)
         SELECT 'one', 'one' || n, 'team', 'supported' FROM generate_series(1, 20) AS n",
    );
    // the views show the thirty days that end yesterday: bring the facts there
    db.exec(
        "UPDATE agent_metrics.agent_events
         SET occurred_at = occurred_at
                           + (date_trunc('day', now(), 'UTC') - date_trunc('month', now(), 'UTC'))
                           - interval '1 hour'",
    );
    refresh(&db);
    assert_eq!(
        db.lines(
            "SELECT agent_id, metric, benchmark, quartile, scope, value IS NULL, is_verified
             FROM agent_kpi.benchmark_position WHERE agent_id IN ('one', 'two') ORDER BY 1, 2"
        ),
        [
            "one|cost_per_unit_usd|0.55|below the range|support|f|f",
            "one|eval_success_rate|0.79||healthcare|t|f",
            "one|hallucination_rate|0.01|defensible|regulated|f|f",
            "one|latency_p95_ms|3000|before people give up|any|f|f",
            "one|task_success_rate|0.99|bottom quartile|healthcare|f|f",
            "two|cost_per_unit_usd|0.55|below the range|support|f|f",
            "two|latency_p95_ms|3000|before people give up|any|f|f",
            "two|task_success_rate|0.7|upper half|support|f|f",
        ]
    );
    assert_eq!(
        db.lines("SELECT DISTINCT nist_function, is_checked, remark FROM agent_kpi.nist_ai_rmf ORDER BY 1"),
        ["GOVERN", "MANAGE", "MAP", "MEASURE"].map(|function| format!("{function}|f|suggestion, \
                                                                       to be checked \
                                                                       against NIST AI RMF 1.0"))
    );
    assert_eq!(
        db.lines(
            "SELECT threshold, owner FROM agent_kpi.nist_ai_rmf
             WHERE metric = 'hallucination_rate' AND nist_function = 'GOVERN' AND agent_id = 'one'"
        ),
        ["0.015|Head of Support"]
    );
}

#[test]
fn definitions_are_versioned_and_stand_side_by_side() {
    let db = company("views_definitions");
    db.exec(
        "UPDATE agent_metrics.agent_events
         SET occurred_at = occurred_at
                           + (date_trunc('day', now(), 'UTC') - date_trunc('month', now(), 'UTC'))
                           - interval '1 hour'",
    );
    refresh(&db);
    let presets = db.lines(
        "SELECT preset, numerator, denominator
         FROM agent_kpi.resolution_definitions WHERE agent_id = 'one' ORDER BY position",
    );
    let count = |condition: &str| {
        db.value(&format!(
            "SELECT count(*) FROM agent_metrics.agent_events e WHERE agent_id = 'one' AND outcome_label IS NOT NULL
             AND occurred_at >= date_trunc('day', now(), 'UTC') - interval '30 days' AND {condition}"
        ))
        .unwrap()
    };
    let (all, good) = (count("true"), count("outcome_label = 'resolved'"));
    let touched = "NOT EXISTS (SELECT FROM agent_metrics.business_events b WHERE b.conversation_id \
                   = e.conversation_id AND b.kind = 'human_touch')";
    assert_eq!(
        presets,
        [
            format!("containment|{}|{all}", count(touched)),
            format!(
                "deflection|{}|{all}",
                count(&format!("{touched} AND outcome_label = 'resolved'"))
            ),
            format!("assumed_resolution|{good}|{all}"),
            "confirmed_resolution|0|0".to_owned(),
        ]
    );
    let versions = "SELECT DISTINCT definition_version FROM agent_kpi.kpi_daily
                    WHERE metric = 'deflection_rate' AND day {} ORDER BY 1";
    let today = "(now() AT TIME ZONE 'UTC')::date";
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_kpi.kpi_daily WHERE is_definition_break"),
        ["0"]
    );
    db.exec(
        "UPDATE agent_metrics.metrics SET definition = 'Ours.' WHERE metric = 'deflection_rate'",
    );
    assert_eq!(
        db.lines(&versions.replace("{}", &format!("< {today}"))),
        ["1"]
    );
    assert_eq!(
        db.lines(&versions.replace("{}", &format!("= {today}"))),
        ["2"]
    );
    assert_eq!(
        db.lines(
            "SELECT DISTINCT metric, day = (now() AT TIME ZONE 'UTC')::date
             FROM agent_kpi.kpi_daily WHERE is_definition_break"
        ),
        ["deflection_rate|t"]
    );
    assert_eq!(
        db.lines(
            "SELECT definition_version, definition
             FROM agent_kpi.metric_catalogue WHERE metric = 'deflection_rate'"
        ),
        ["2|Ours."]
    );
    // what is no change of the definition is no version
    db.exec("UPDATE agent_metrics.metrics SET position = position + 1");
    assert_eq!(
        db.lines(
            "SELECT count(*) FROM agent_metrics_internal.metric_definitions WHERE definition_version > 1"
        ),
        ["1"]
    );
}

#[test]
fn wide_and_long_views_agree() {
    let db = shop("views_wide");
    random_facts(&db, 7);
    refresh(&db);
    let columns: Vec<String> = db.lines(
        "SELECT c.column_name FROM information_schema.columns c JOIN agent_metrics.metrics m ON m.metric = c.column_name
         WHERE c.table_schema = 'agent_kpi' AND c.table_name = 'agent_daily' ORDER BY 1",
    );
    assert_eq!(columns.len(), 25, "{columns:?}");
    for metric in columns {
        assert_eq!(
            db.lines(&format!(
                "SELECT k.day FROM agent_kpi.kpi_daily k
                 JOIN agent_kpi.agent_daily d USING (agent_id, day)
                 WHERE k.metric = '{metric}' AND k.value IS DISTINCT FROM d.{metric}"
            )),
            [""; 0],
            "{metric}"
        );
    }
}
