//! Review samples, and what the agent says of itself against what people say.

use crate::support::asserts::refused_by_us;
use crate::support::db;

#[test]
fn review_samples_are_stratified_seeded_and_replayable() {
    let db = db("audits_samples");
    // 1000 conversations on the days of one week, three intents, three lengths; and one the day after
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, turn_index, intent_classified, outcome_label)
         SELECT 'bot', '2026-03-02 00:00+00'::timestamptz + make_interval(mins => 10 * c, secs => t), 'c' || c, t,
                CASE WHEN t = 1
                     THEN (ARRAY['billing', 'login', 'rare'])[CASE WHEN c % 500 = 0 THEN 3 ELSE 1 + c % 2 END] END,
                CASE WHEN t = 1
                     THEN CASE WHEN c % 10 = 0 THEN 'failure' WHEN c % 33 = 0 THEN NULL ELSE 'success' END END
         FROM generate_series(0, 999) AS c, generate_series(1, 8) AS t WHERE t <= 1 + (c % 3) * 3;
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('bot', '2026-03-09 00:00+00', 'after')",
    );
    db.exec("SELECT agent_metrics.refresh()");
    let draw = |more: &str| {
        db.value(&format!(
            "SELECT agent_metrics.draw_review_sample('bot'{more})"
        ))
        .unwrap()
    };
    let items = || {
        db.lines(
            "SELECT conversation_id, stratum, round(weight, 6), is_double
             FROM agent_kpi.review_items ORDER BY conversation_id",
        )
    };
    assert_eq!(draw(", 'week', '2026-03-04'"), "week 2026-03-02");
    assert_eq!(
        db.lines(
            "SELECT from_day, to_day, population, drawn FROM agent_metrics_internal.review_samples"
        ),
        ["2026-03-02|2026-03-08|1000|50"]
    );
    let drawn = items();
    assert_eq!(drawn.len(), 50);
    // each stratum gives two at least, or all it has; the weights add up to the whole; a tenth is for two
    assert_eq!(
        db.lines(
            "SELECT sum(size), sum(drawn), bool_and(drawn >= least(size, 2) AND drawn <= size),
                    (SELECT round(sum(weight), 6) FROM agent_metrics_internal.review_items),
                    (SELECT count(*) FROM agent_metrics_internal.review_items WHERE is_double)
             FROM agent_metrics_internal.review_strata"
        ),
        ["1000|50|t|1000.000000|5"]
    );
    assert!(drawn.iter().any(|line| line.contains("rare")), "{drawn:?}");
    // again the same, for it is there; drawn anew with the same seed too; with another seed another
    assert_eq!(draw(", 'week', '2026-03-04', 7"), "week 2026-03-02");
    assert_eq!(items(), drawn);
    db.exec("DELETE FROM agent_metrics_internal.review_samples");
    draw(", 'week', '2026-03-08'");
    assert_eq!(items(), drawn);
    db.exec("DELETE FROM agent_metrics_internal.review_samples");
    draw(", 'week', '2026-03-08', 7");
    assert_ne!(items(), drawn);
    // a rate of the whole from what was drawn: of failures it is exact, for the outcome is a stratum
    let rate = db.number(
        "SELECT agent_metrics.stratified_rate(
             array_agg(x.size), array_agg(x.drawn), array_agg(x.hits))
         FROM (SELECT s.size, s.drawn, count(*) FILTER (WHERE i.outcome_label = 'failure') AS hits
               FROM agent_metrics_internal.review_strata s
               JOIN agent_kpi.review_items i
                 ON i.agent_id = s.agent_id AND i.sample_id = s.sample_id AND i.stratum = s.stratum
               GROUP BY s.stratum, s.size, s.drawn) x",
    );
    assert!((rate - 0.1).abs() < 1e-9, "{rate}");
    // a month is two hundred; a small week its floor, or all of it
    assert_eq!(draw(", 'month', '2026-03-15'"), "month 2026-03-01");
    assert_eq!(
        db.number(
            "SELECT drawn FROM agent_metrics_internal.review_samples WHERE sample_id LIKE 'month%'"
        ),
        200.0
    );
    draw(", 'week', '2026-03-09'");
    assert_eq!(
        db.lines(
            "SELECT population, drawn
             FROM agent_metrics_internal.review_samples WHERE sample_id = 'week 2026-03-09'"
        ),
        ["1|1"]
    );
    draw(", 'week', '2026-02-02'");
    assert_eq!(
        db.lines(
            "SELECT population, drawn
             FROM agent_metrics_internal.review_samples WHERE sample_id = 'week 2026-02-02'"
        ),
        ["0|0"]
    );
    // the scheduler draws what is over and in the rollups, once
    db.exec("DELETE FROM agent_metrics_internal.review_samples");
    let drawn = "SELECT string_agg(sample_id, ', ' ORDER BY sample_id) FROM agent_metrics_internal.review_samples";
    db.exec("SELECT agent_metrics.run_audits('2026-03-12'); SELECT agent_metrics.run_audits('2026-03-12')");
    assert_eq!(db.value(drawn).as_deref(), Some("week 2026-03-02"));
    db.exec("SELECT agent_metrics.run_audits('2026-04-02')");
    assert_eq!(
        db.value(drawn).as_deref(),
        Some("month 2026-03-01, week 2026-03-02")
    );
    // each refusal
    db.exec("SELECT agent_metrics.register_agent('fresh', 'support', 'Head of Support')");
    for (arguments, sqlstate, names) in [
        ("'none'", "22023", "\"none\""),
        ("'bot', 'day'", "22023", "\"day\""),
        ("'bot', 'week', current_date", "22023", "is not over"),
        ("'fresh'", "55000", "was not refreshed"),
        ("'bot', share => 0", "22003", "0"),
        ("'bot', share => 1.5", "22003", "1.5"),
        ("'bot', least_drawn => 0", "22003", "0"),
    ] {
        refused_by_us(
            &db,
            &format!("SELECT agent_metrics.draw_review_sample({arguments})"),
            sqlstate,
            names,
        );
    }
    let first = db
        .value(
            "SELECT min(conversation_id)
             FROM agent_metrics_internal.review_items WHERE sample_id = 'week 2026-03-02'",
        )
        .unwrap();
    assert!(
        db.number(&format!(
            "SELECT agent_metrics_internal.review_weight('bot', 'week 2026-03-02', '{first}')"
        )) >= 1.0
    );
    refused_by_us(
        &db,
        "SELECT agent_metrics_internal.review_weight('bot', 'week 2026-03-02', 'after')",
        "22023",
        "\"after\"",
    );
}

#[test]
fn reviews_of_a_sample_weigh_what_they_stand_for_and_two_people_are_compared() {
    let db = db("samples_reviews");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'bot', '2026-03-02 00:00+00'::timestamptz + make_interval(mins => 10 * c), 'c' || c, 'success'
         FROM generate_series(1, 900) AS c",
    );
    db.exec("SELECT agent_metrics.refresh()");
    db.exec("SELECT agent_metrics.draw_review_sample('bot', 'week', '2026-03-02')");
    let open = "SELECT count(*) FILTER (WHERE is_open), count(*) FROM agent_kpi.review_items";
    assert_eq!(db.lines(open), ["45|45"]);
    // everybody reviews all of it: the first calls five failures, the second two of the same and none besides
    db.exec(
        "SELECT agent_metrics.record_review(
             'bot', i.conversation_id, w.who, i.sample_id,
             CASE WHEN i.place <= w.bad THEN 'failure' ELSE 'success' END)
         FROM (SELECT x.*, row_number() OVER (ORDER BY conversation_id) AS place
               FROM agent_metrics_internal.review_items x) i,
              (VALUES ('A', 5), ('B', 2)) AS w (who, bad)",
    );
    assert_eq!(db.lines(open), ["0|45"]);
    assert_eq!(
        db.lines("SELECT min(weight), max(weight) FROM agent_metrics.reviews"),
        ["20.0000000000000000|20.0000000000000000"]
    );
    assert_eq!(
        db.lines(
            "SELECT conversations_count, round(agreement_rate::numeric, 6),
                    round(cohen_kappa::numeric, 6), round(gwet_ac1::numeric, 6)
             FROM agent_kpi.review_agreement"
        ),
        ["45|0.933333|0.542373|0.922168"]
    );
    refused_by_us(
        &db,
        "SELECT agent_metrics.record_review('bot', 'none', 'A', 'week 2026-03-02', 'failure')",
        "22023",
        "\"none\"",
    );
    for (more, names) in [
        ("' '", "no reviewer"),
        ("'A', is_escalated => true", "its escalation"),
        ("'A', should_escalate => false", "its escalation"),
        ("'A', is_in_scope => true", "its scope"),
    ] {
        refused_by_us(
            &db,
            &format!("SELECT agent_metrics.record_review('bot', 'c1', {more})"),
            "22023",
            names,
        );
    }
    // outside a sample a review stands for itself
    db.exec("SELECT agent_metrics.record_review('bot', 'c1', 'A', outcome_label => 'failure')");
    assert_eq!(
        db.lines("SELECT weight FROM agent_metrics.reviews WHERE sample_id IS NULL"),
        ["1"]
    );
}

#[test]
fn the_self_report_gap_and_whether_it_widened() {
    let db = db("audits_gap");
    // the values of statistics.md: 172/16/4/8 in March, a gap of 9 points in April, and one that did widen in May
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label, outcome_source)
         SELECT 'bot', m.at + make_interval(mins => n, secs => s.second), m.at || '-' || n,
                CASE s.source
                    WHEN 'agent' THEN CASE WHEN n <= m.both_yes + m.agent_only THEN 'success' ELSE 'failure' END
                    ELSE CASE WHEN n <= m.both_yes OR n > m.both_yes + m.agent_only
                                                      AND n <= m.both_yes + m.agent_only + m.human_only THEN 'success'
                              ELSE 'failure' END END,
                s.source
         FROM (VALUES ('2026-03-05'::timestamptz, 172, 16, 4), ('2026-04-05', 166, 22, 4), ('2026-05-05', 130, 60, 2))
             AS m (at, both_yes, agent_only, human_only),
              generate_series(1, 200) AS n, (VALUES ('agent', 1), ('human', 2)) AS s (source, second)",
    );
    db.exec("SELECT agent_metrics.refresh()");
    assert_eq!(
        db.lines(
            "SELECT month, reviewed_count, gap_points, round(ci_low::numeric, 4),
                    round(ci_high::numeric, 4), round(p_value::numeric, 6), previous_gap_points,
                    round(widened_p::numeric, 3), is_wider
             FROM agent_kpi.self_report_monthly WHERE month < '2026-05-01' ORDER BY month"
        ),
        [
            "2026-03-01|200|6|1.5819|10.8378|0.011818|||f",
            "2026-04-01|200|9|4.1138|14.3195|0.000534|6|0.364|f"
        ]
    );
    assert_eq!(
        db.lines(
            "SELECT gap_points, widened_p < 0.001, is_wider
             FROM agent_kpi.self_report_monthly WHERE month = '2026-05-01'"
        ),
        ["29|t|t"]
    );
}

/// A month of 200 conversations that the agent calls a success or not, and the sample of it; nobody
/// has reviewed it yet.
fn month_to_review(db: &crate::support::Db, on: &str, said_good: u32) {
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'bot', '{on}'::timestamptz + make_interval(mins => n),
                '{on}-' || lpad(n::text, 3, '0'),
                CASE WHEN n <= {said_good} THEN 'success' ELSE 'failure' END
         FROM generate_series(1, 200) AS n"
    ));
    db.exec("SELECT agent_metrics.refresh()");
}

#[test]
fn a_gap_that_widened_is_told_to_its_owner_once_its_month_is_reviewed() {
    let db = db("samples_gap_alert");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         SELECT agent_metrics.register_agent('idle', 'support', 'Head of Support')",
    );
    let audit = |at: &str| {
        db.lines(&format!(
            "SELECT agent_id, summary, alert_id IS NOT NULL
             FROM agent_metrics.run_audits('{at}') WHERE kind = 'gap_widened'"
        ))
    };
    // everybody reviews; of what the agent calls a success so many are none in the eyes of people
    let review = |month: &str, wrong: u32, doubles: bool| {
        db.exec(&format!(
            "SELECT agent_metrics.record_review('bot', i.conversation_id, who, i.sample_id,
                        CASE WHEN right(i.conversation_id, 3)::integer BETWEEN {wrong} + 1 AND 190
                             THEN 'success'
                             ELSE 'failure' END)
             FROM agent_metrics_internal.review_items i, unnest(ARRAY['Ann', 'Bob']) AS who
             WHERE i.sample_id = 'month {month}'
               AND (who = 'Ann' AND NOT {doubles} OR who = 'Bob' AND {doubles} AND i.is_double)"
        ));
    };
    for month in ["2026-03-01", "2026-04-01", "2026-05-01"] {
        month_to_review(&db, month, 190);
    }
    assert_eq!(audit("2026-04-02"), [""; 0]);
    review("2026-03-01", 10, false);
    review("2026-03-01", 10, true);
    db.exec("SELECT agent_metrics.refresh()");
    assert_eq!(audit("2026-04-20"), [""; 0], "there is no month before");
    // 5 points in March; April's 9 are noise, and are tested once
    assert_eq!(audit("2026-05-02"), [""; 0]);
    review("2026-04-01", 18, false);
    review("2026-04-01", 18, true);
    db.exec("SELECT agent_metrics.refresh()");
    assert_eq!(audit("2026-05-10"), [""; 0]);
    let found =
        "SELECT month, reviewed, gap_points, previous_gap_points, widened_p > 0.05, is_wider
         FROM agent_metrics_internal.gap_findings
         WHERE agent_id = 'bot' AND reviewed > 0 ORDER BY month";
    assert_eq!(
        db.lines(found),
        ["2026-03-01|200|5|||f", "2026-04-01|200|9|5|t|f"]
    );
    // 30 points in May: nothing is said before the last of the two people has reviewed, and before
    // that is in the rollups
    assert_eq!(audit("2026-06-02"), [""; 0]);
    review("2026-05-01", 60, false);
    db.exec("SELECT agent_metrics.refresh()");
    assert_eq!(audit("2026-06-08"), [""; 0]);
    review("2026-05-01", 60, true);
    assert_eq!(audit("2026-06-09"), [""; 0]);
    db.exec("SELECT agent_metrics.refresh()");
    assert_eq!(
        audit("2026-06-10"),
        [
            "bot|What bot says of its success lies 30.0 points above what people say in 2026-05, \
             and lay 9.0 points above in the month before: more than noise widens a gap|t"
        ]
    );
    assert_eq!(audit("2026-06-11"), [""; 0], "told once");
    assert_eq!(
        db.lines(
            "SELECT owner, metric, (SELECT payload ->> 'value'
                                    FROM agent_metrics_internal.alerts WHERE kind = 'gap_widened')
             FROM agent_kpi.alerts WHERE kind = 'gap_widened'"
        ),
        ["Head of Support|self_report_gap|30"]
    );
    // what comes later is seen in the view, and raises no second alarm; an agent nobody reviews is tested 30 days later
    assert_eq!(
        db.lines(
            "SELECT count(*) FROM agent_metrics_internal.gap_findings
             WHERE agent_id = 'idle' AND month = '2026-05-01'"
        ),
        ["0"]
    );
    db.exec("UPDATE agent_metrics_internal.agent_watermarks SET refreshed_at = '2026-08-01'");
    audit("2026-07-02");
    assert_eq!(
        db.lines(
            "SELECT month, reviewed, gap_points, is_wider FROM agent_metrics_internal.gap_findings
             WHERE agent_id = 'idle' AND month = '2026-05-01'"
        ),
        ["2026-05-01|0||f"]
    );
}

/// Three strata as in statistics.md, one conversation a row of `drawn`, and what a reviewer says of so many of them.
const STRATA: &str = "
    INSERT INTO agent_metrics_internal.review_samples (agent_id, sample_id, from_day, to_day, seed, population, drawn)
    VALUES ('bot', 'month 2026-03-01', '2026-03-01', '2026-03-31', 1, 20000, 1000);
    CREATE TEMP TABLE strata (stratum text, size bigint, n bigint, x bigint);
    INSERT INTO strata VALUES ('a', 18000, 700, 7), ('b', 1500, 150, 9), ('c', 500, 150, 24);
    INSERT INTO agent_metrics_internal.review_strata (agent_id, sample_id, stratum, size, drawn)
    SELECT 'bot', 'month 2026-03-01', stratum, size, n FROM strata;
    INSERT INTO agent_metrics_internal.review_items (agent_id, sample_id, conversation_id, stratum, weight, is_double)
    SELECT 'bot', 'month 2026-03-01', stratum || g, stratum, size::numeric / n, false
    FROM strata, generate_series(1, n) AS g";

#[test]
fn weighted_review_rates_are_those_of_the_specification_and_of_a_hand_computed_case() {
    let db = db("samples_rates");
    db.exec("SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support')");
    db.exec(STRATA);
    let rates = |more: &str| {
        db.lines(&format!(
            "SELECT question, sample_period, population_count, reviewed_count, answered_count, open_strata_count,
                    round(value::numeric, 6), round(standard_error::numeric, 9), round(ci_low::numeric, 6),
                    round(ci_high::numeric, 6)
             FROM agent_kpi.review_rates WHERE agent_id = 'bot' AND month = '2026-03-01' {more} ORDER BY question"
        ))
    };
    // while a stratum is open nothing is known of the whole
    let record = "INSERT INTO agent_metrics.reviews (
                      review_id, agent_id, conversation_id, sample_id, reviewer, answer_verdict,
                      outcome_label, is_in_scope, is_refused, reviewed_at)";
    db.exec(&format!(
        "{record} SELECT 'v' || i.conversation_id, 'bot', i.conversation_id, i.sample_id, 'Ann',
                         CASE WHEN substr(i.conversation_id, 2)::integer <= s.x THEN 'contradicted'
                              ELSE 'supported' END, NULL, NULL, NULL, '2026-04-02'
         FROM agent_metrics_internal.review_items i JOIN strata s USING (stratum) WHERE stratum <> 'c'"
    ));
    assert_eq!(rates(""), ["hallucination_rate|month|20000|850|850|1||||"]);
    db.exec(&format!(
        "{record} SELECT 'v' || i.conversation_id, 'bot', i.conversation_id, i.sample_id, 'Ann',
                         CASE WHEN substr(i.conversation_id, 2)::integer <= s.x THEN 'unsupported' ELSE 'supported' END,
                         NULL, NULL, NULL, '2026-04-02'
         FROM agent_metrics_internal.review_items i JOIN strata s USING (stratum) WHERE stratum = 'c'"
    ));
    // statistics.md: p = .0175, SE .003651968, CI [.010342, .024658], where pooling would say .04
    let whole = "hallucination_rate|month|20000|1000|1000|0|0.017500|0.003651968|0.010342|0.024658";
    assert_eq!(rates(""), [whole]);
    assert_eq!(
        db.lines(
            "SELECT bool_and(
                 abs(r.value - agent_metrics.stratified_rate(s.n, s.m, s.x)) < 1e-12
                 AND abs(r.standard_error - agent_metrics.stratified_error(s.n, s.m, s.x)) < 1e-12)
             FROM agent_kpi.review_rates r,
                  (SELECT array_agg(size::float8) AS n, array_agg(n::float8) AS m,
                          array_agg(x::float8) AS x
                   FROM strata) s"
        ),
        ["t"]
    );
    // a later word on the same conversation counts, question by question; a review outside the sample does not
    db.exec(&format!(
        "{record} VALUES ('later', 'bot', 'a1', 'month 2026-03-01', 'Bob', 'supported', 'success',
                          NULL, NULL, '2026-04-03'),
                         ('later still', 'bot', 'a1', 'month 2026-03-01', 'Cid', 'contradicted', NULL,
                          NULL, NULL, '2026-04-04'),
                         ('outside', 'bot', 'zzz', NULL, 'Cid', 'contradicted', NULL, NULL, NULL, '2026-04-04')"
    ));
    assert_eq!(rates("AND question = 'hallucination_rate'"), [whole]);

    // By hand: one question that only some answer. Stratum p: 10 conversations, 4 looked at, of which 2 are out of
    // scope and 1 of those refused; stratum q: 6, 3 looked at, 3 out of scope, 3 refused. Answers 10/4*2 + 6/3*3 = 11,
    // hits 10/4*1 + 6/3*3 = 8.5, R = 8.5/11. With e = x - R y: p has (1-R), -R, 0, 0; q has (1-R) three
    // times, so no spread.
    let r = 8.5_f64 / 11.0;
    let e = [1.0 - r, -r, 0.0, 0.0];
    let mean = e.iter().sum::<f64>() / 4.0;
    let spread = e.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / 3.0;
    let error = (100.0 * (1.0 - 0.4) / 4.0 * spread).sqrt() / 11.0;
    db.exec(
        "INSERT INTO agent_metrics_internal.review_samples (
             agent_id, sample_id, from_day, to_day, seed, population, drawn)
         VALUES
             ('bot', 'week 2026-06-01', '2026-06-01', '2026-06-07', 1, 10, 4),
             ('bot', 'week 2026-06-08', '2026-06-08', '2026-06-14', 1, 6, 3),
             ('bot', 'week 2026-06-29', '2026-06-29', '2026-07-05', 1, 9, 1),
             ('bot', 'month 2026-06-01', '2026-06-01', '2026-06-30', 1, 99, 1);
         INSERT INTO agent_metrics_internal.review_strata (agent_id, sample_id, stratum, size, drawn) VALUES
             ('bot', 'week 2026-06-01', 'p', 10, 4), ('bot', 'week 2026-06-08', 'q', 6, 3),
             ('bot', 'week 2026-06-29', 'q', 9, 1), ('bot', 'month 2026-06-01', 'q', 98, 1),
             ('bot', 'month 2026-06-01', 'p', 1, 1);
         INSERT INTO agent_metrics_internal.review_items (
             agent_id, sample_id, conversation_id, stratum, weight, is_double)
         SELECT 'bot', 'week 2026-06-01', 'p' || g, 'p', 2.5, false FROM generate_series(1, 4) AS g
         UNION ALL SELECT 'bot', 'week 2026-06-08', 'q' || g, 'q', 2, false FROM generate_series(1, 3) AS g
         UNION ALL SELECT 'bot', 'week 2026-06-29', 'r', 'q', 9, false
         UNION ALL SELECT 'bot', 'month 2026-06-01', 'm', 'q', 98, false;
         INSERT INTO agent_metrics.reviews (agent_id, conversation_id, sample_id, reviewer, is_in_scope, is_refused)
         SELECT 'bot', i.conversation_id, i.sample_id, 'Ann', i.conversation_id IN ('p3', 'p4'),
                i.conversation_id IN ('p1', 'q1', 'q2', 'q3')
         FROM agent_metrics_internal.review_items i WHERE i.stratum IN ('p', 'q') AND i.conversation_id <> 'r'",
    );
    let june = db.rows(
        "SELECT value, standard_error, ci_low, ci_high, sample_period, population_count, reviewed_count, answered_count
         FROM agent_kpi.review_rates WHERE month = '2026-06-01' AND question = 'out_of_scope_refusal_rate'",
    );
    assert_eq!(june.len(), 1);
    let number = |i: usize| june[0][i].as_ref().unwrap().parse::<f64>().unwrap();
    for (i, expected) in [
        r,
        error,
        r - 1.959_963_984_540_054 * error,
        (r + 1.959_963_984_540_054 * error).min(1.0),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(
            (number(i) - expected).abs() < 1e-9,
            "{i}: {june:?} and {expected}"
        );
    }
    // the monthly sample has an open stratum and the last week nobody began with: the two weeks it is
    assert_eq!(
        june[0][4..]
            .iter()
            .map(|value| value.clone().unwrap())
            .collect::<Vec<_>>(),
        ["week", "16", "7", "5"]
    );
    // no refusal in scope among all that were seen: still not known to be none
    assert_eq!(
        db.lines(
            "SELECT value, ci_low, round(ci_high::numeric, 3), answered_count
             FROM agent_kpi.review_rates
             WHERE month = '2026-06-01' AND question = 'over_refusal_rate'"
        ),
        ["0|0|0.658|2"]
    );
}
