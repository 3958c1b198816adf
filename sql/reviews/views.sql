-- Reviews, what they say of the whole, and decisions, as people read them.

CREATE OR REPLACE VIEW agent_kpi.decisions WITH (security_barrier) AS
SELECT coalesce(q.agent_id, d.agent_id) AS agent_id, coalesce(q.quarter, d.quarter) AS quarter,
       coalesce(q.owner, a.owner) AS owner, q.asked_at, q.due_on, d.decision, d.decided_by, d.decided_at,
       d.reason, d.replaced_by,
       coalesce(q.due_on < agent_metrics_internal.day_of(now(), p.time_zone), false)
       AND NOT EXISTS (SELECT 1 FROM agent_metrics.decisions x
                       WHERE x.agent_id = q.agent_id AND x.quarter >= q.quarter) AS is_overdue,
       d.snapshot::text AS numbers
FROM agent_metrics_internal.decision_requests q
FULL JOIN (SELECT DISTINCT ON (x.agent_id, x.quarter) x.* FROM agent_metrics.decisions x
           ORDER BY x.agent_id, x.quarter, x.decided_at DESC, x.decision_id DESC) d ON d.agent_id = q.agent_id
 AND d.quarter = q.quarter
LEFT JOIN agent_metrics.agents a ON a.agent_id = coalesce(q.agent_id, d.agent_id)
CROSS JOIN agent_metrics_internal.report p;
COMMENT ON VIEW agent_kpi.decisions IS
    'One row per agent and quarter: whether to keep, replace or sunset it, asked and answered. '
    'Unique: agent_id, quarter.';
COMMENT ON COLUMN agent_kpi.decisions.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.decisions.quarter IS 'First day of the quarter.';
COMMENT ON COLUMN agent_kpi.decisions.owner IS 'Who is asked.';
COMMENT ON COLUMN agent_kpi.decisions.asked_at IS 'When he was asked.';
COMMENT ON COLUMN agent_kpi.decisions.due_on IS 'Day by whose end the answer is due.';
COMMENT ON COLUMN agent_kpi.decisions.decision IS
    'The quarter''s latest decision: keep, replace or sunset; NULL: none yet.';
COMMENT ON COLUMN agent_kpi.decisions.decided_by IS 'Who decided.';
COMMENT ON COLUMN agent_kpi.decisions.decided_at IS 'When.';
COMMENT ON COLUMN agent_kpi.decisions.reason IS 'Why.';
COMMENT ON COLUMN agent_kpi.decisions.replaced_by IS 'Agent that takes its place, if one does.';
COMMENT ON COLUMN agent_kpi.decisions.is_overdue IS 'Whether the answer is due and has not been given.';
COMMENT ON COLUMN agent_kpi.decisions.numbers IS 'The numbers it rested on, as JSON.';

CREATE OR REPLACE VIEW agent_kpi.review_items WITH (security_barrier) AS
SELECT i.agent_id, i.sample_id, i.conversation_id, i.stratum, i.weight, i.is_double, c.started_at, c.turns,
       c.outcome_label, s.from_day, s.to_day, r.reviewers AS reviewer_count,
       r.reviewers < CASE WHEN i.is_double THEN 2 ELSE 1 END AS is_open
FROM agent_metrics_internal.review_items i
JOIN agent_metrics_internal.review_samples s ON s.agent_id = i.agent_id AND s.sample_id = i.sample_id
LEFT JOIN agent_metrics.conversations c ON c.agent_id = i.agent_id AND c.conversation_id = i.conversation_id
CROSS JOIN LATERAL (SELECT count(DISTINCT x.reviewer) AS reviewers FROM agent_metrics.reviews x
                    WHERE x.conversation_id = i.conversation_id AND x.agent_id = i.agent_id
                      AND x.sample_id = i.sample_id) r;
COMMENT ON VIEW agent_kpi.review_items IS
    'One row per conversation that was drawn to be reviewed; what is open is the reviewers'' queue. '
    'Unique: agent_id, sample_id, conversation_id.';
COMMENT ON COLUMN agent_kpi.review_items.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.review_items.sample_id IS 'week or month, and its first day.';
COMMENT ON COLUMN agent_kpi.review_items.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_kpi.review_items.stratum IS 'outcome, intent and turns when it was drawn.';
COMMENT ON COLUMN agent_kpi.review_items.weight IS 'How many conversations it stands for.';
COMMENT ON COLUMN agent_kpi.review_items.is_double IS 'Whether two people label it, each by himself.';
COMMENT ON COLUMN agent_kpi.review_items.started_at IS 'First turn.';
COMMENT ON COLUMN agent_kpi.review_items.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.review_items.outcome_label IS 'Outcome that counts; NULL: pending.';
COMMENT ON COLUMN agent_kpi.review_items.from_day IS 'First report day of the sample.';
COMMENT ON COLUMN agent_kpi.review_items.to_day IS 'Last report day of the sample.';
COMMENT ON COLUMN agent_kpi.review_items.reviewer_count IS 'People who have reviewed it.';
COMMENT ON COLUMN agent_kpi.review_items.is_open IS 'Whether a review is still to come.';

-- Two people on the same conversations of a sample: the first two by name, each with his latest word.
CREATE OR REPLACE VIEW agent_kpi.review_agreement WITH (security_barrier) AS
SELECT p.agent_id, p.sample_id, count(*) AS conversations_count,
       agent_metrics.ratio(count(*) FILTER (WHERE p.one = p.two), count(*)) AS agreement_rate,
       agent_metrics.cohen_kappa(count(*) FILTER (WHERE p.one AND p.two), count(*) FILTER (WHERE p.one AND NOT p.two),
                                 count(*) FILTER (WHERE NOT p.one AND p.two),
                                 count(*) FILTER (WHERE NOT p.one AND NOT p.two)) AS cohen_kappa,
       agent_metrics.gwet_ac1(count(*) FILTER (WHERE p.one AND p.two), count(*) FILTER (WHERE p.one AND NOT p.two),
                              count(*) FILTER (WHERE NOT p.one AND p.two),
                              count(*) FILTER (WHERE NOT p.one AND NOT p.two)) AS gwet_ac1
FROM (SELECT w.agent_id, w.sample_id, w.conversation_id, (array_agg(w.is_success ORDER BY w.reviewer))[1] AS one,
             (array_agg(w.is_success ORDER BY w.reviewer))[2] AS two
      FROM (SELECT DISTINCT ON (r.agent_id, r.sample_id, r.conversation_id, r.reviewer)
                   r.agent_id, r.sample_id, r.conversation_id, r.reviewer, o.is_success
            FROM agent_metrics.reviews r JOIN agent_metrics.outcomes o ON o.label = r.outcome_label
            WHERE r.sample_id IS NOT NULL
            ORDER BY r.agent_id, r.sample_id, r.conversation_id, r.reviewer, r.reviewed_at DESC, r.review_id DESC) w
      GROUP BY w.agent_id, w.sample_id, w.conversation_id HAVING count(*) >= 2) p
GROUP BY p.agent_id, p.sample_id;
COMMENT ON VIEW agent_kpi.review_agreement IS
    'One row per sample in which two people said of the same conversations whether they were a success. '
    'Unique: agent_id, sample_id.';
COMMENT ON COLUMN agent_kpi.review_agreement.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.review_agreement.sample_id IS 'Sample.';
COMMENT ON COLUMN agent_kpi.review_agreement.conversations_count IS 'Conversations that two people labelled.';
COMMENT ON COLUMN agent_kpi.review_agreement.agreement_rate IS 'Share of them on which both said the same.';
COMMENT ON COLUMN agent_kpi.review_agreement.cohen_kappa IS 'Agreement beyond chance; NULL where chance explains all.';
COMMENT ON COLUMN agent_kpi.review_agreement.gwet_ac1 IS
    'Agreement beyond chance that does not collapse when one answer is rare.';

-- Rates of all conversations of a month from the reviewed ones: the sample was drawn by stratum, so a plain average of
-- the reviews would be bent towards the strata that gave more than their share. Of questions that not every
-- conversation answers (a factual answer, a request out of scope) both the hits and the answers are estimated: a
-- combined ratio (Cochran 1977, 6.11), which is the plain stratified rate where all answer.
CREATE OR REPLACE VIEW agent_kpi.review_rates WITH (security_barrier) AS
WITH answer AS (
    SELECT DISTINCT ON (r.agent_id, r.sample_id, r.conversation_id, r.event_id, q.asked)
           r.agent_id, r.sample_id, r.conversation_id, q.question, (q.x AND q.y)::integer AS x, q.y::integer AS y
    FROM agent_metrics.reviews r
    LEFT JOIN agent_metrics.outcomes o ON o.label = r.outcome_label AND NOT o.is_open
    CROSS JOIN LATERAL (
        SELECT 'outcome' AS asked, 'task_success_rate' AS question, o.is_success AS x, true AS y
        WHERE o.label IS NOT NULL
        UNION ALL
        SELECT a.question, m.metric, a.is_hit, a.is_counted
        FROM agent_metrics_internal.review_answers(
            r.answer_verdict, r.is_in_scope, r.is_refused, r.is_escalated, r.should_escalate) a
        CROSS JOIN LATERAL (SELECT x.metric FROM agent_metrics.metrics x
                            WHERE x.source = 'facts' AND x.measure = a.measure
                            ORDER BY x.position, x.metric LIMIT 1) m) q
    WHERE r.sample_id IS NOT NULL
    ORDER BY r.agent_id, r.sample_id, r.conversation_id, r.event_id, q.asked, r.reviewed_at DESC, r.review_id DESC
), conversation AS (
    SELECT a.agent_id, a.sample_id, a.question, i.stratum, sum(a.x)::double precision AS x,
           sum(a.y)::double precision AS y
    FROM answer a
    JOIN agent_metrics_internal.review_items i ON i.agent_id = a.agent_id AND i.sample_id = a.sample_id
     AND i.conversation_id = a.conversation_id
    GROUP BY a.agent_id, a.sample_id, a.question, i.stratum, a.conversation_id
), reviewed_stratum AS (
    SELECT i.agent_id, i.sample_id, i.stratum, count(*)::double precision AS n
    FROM agent_metrics_internal.review_items i
    WHERE EXISTS (SELECT 1 FROM agent_metrics.reviews r
                  WHERE r.conversation_id = i.conversation_id AND r.agent_id = i.agent_id AND r.sample_id = i.sample_id)
    GROUP BY i.agent_id, i.sample_id, i.stratum
), stratum AS (
    -- each question that a month's samples of one kind answer, over all their strata: one without an answer counts too
    SELECT m.agent_id, m.month, m.period, m.question, s.size::double precision AS whole, coalesce(l.n, 0) AS n,
           coalesce(c.x, 0) AS x, coalesce(c.y, 0) AS y, coalesce(c.xx, 0) AS xx, coalesce(c.xy, 0) AS xy,
           coalesce(c.yy, 0) AS yy
    FROM (SELECT DISTINCT p.agent_id, date_trunc('month', p.from_day::timestamp)::date AS month,
                 split_part(p.sample_id, ' ', 1) AS period, c.question
          FROM conversation c
          JOIN agent_metrics_internal.review_samples p ON p.agent_id = c.agent_id AND p.sample_id = c.sample_id
          WHERE c.y > 0) m
    JOIN agent_metrics_internal.review_samples p
      ON p.agent_id = m.agent_id AND date_trunc('month', p.from_day::timestamp)::date = m.month
                                       AND split_part(p.sample_id, ' ', 1) = m.period
    JOIN agent_metrics_internal.review_strata s ON s.agent_id = p.agent_id AND s.sample_id = p.sample_id
    LEFT JOIN reviewed_stratum l ON l.agent_id = s.agent_id AND l.sample_id = s.sample_id AND l.stratum = s.stratum
    LEFT JOIN (SELECT c.agent_id, c.sample_id, c.question, c.stratum, sum(c.x) AS x, sum(c.y) AS y,
                      sum(c.x * c.x) AS xx, sum(c.x * c.y) AS xy, sum(c.y * c.y) AS yy
               FROM conversation c GROUP BY c.agent_id, c.sample_id, c.question, c.stratum) c
           ON c.agent_id = s.agent_id AND c.sample_id = s.sample_id AND c.stratum = s.stratum
              AND c.question = m.question
    -- a week that nobody has begun with is left out
    WHERE EXISTS (SELECT 1 FROM reviewed_stratum b WHERE b.agent_id = p.agent_id AND b.sample_id = p.sample_id)
), rated_stratum AS (
    SELECT t.*, sum(t.whole / nullif(t.n, 0) * t.x) OVER w
                / nullif(sum(t.whole / nullif(t.n, 0) * t.y) OVER w, 0) AS rate,
           sum(t.whole / nullif(t.n, 0) * t.y) OVER w AS answers
    FROM stratum t
    WINDOW w AS (PARTITION BY t.agent_id, t.month, t.period, t.question)
), monthly_rate AS (
    SELECT t.agent_id, t.month, t.period, t.question, sum(t.whole)::bigint AS population, sum(t.n)::bigint AS reviewed,
           sum(t.y)::bigint AS answered, count(*) FILTER (WHERE t.n = 0) AS open_strata,
           bool_and(t.n = t.whole) AS is_whole,
           max(t.rate) AS rate, power(sum(t.whole / nullif(t.n, 0) * t.y), 2)
                                / nullif(sum(power(t.whole / nullif(t.n, 0), 2) * t.yy), 0) AS effective_size,
           CASE WHEN bool_and(t.n > 1 OR t.n = t.whole) THEN
               sqrt(sum(CASE WHEN t.n < t.whole THEN
                   t.whole * t.whole * (1 - t.n / t.whole) / nullif(t.n, 0) / nullif(t.n - 1, 0)
                   * greatest(t.xx - 2 * t.rate * t.xy + t.rate * t.rate * t.yy
                              - power(t.x - t.rate * t.y, 2) / nullif(t.n, 0), 0)
                             ELSE 0 END)) / max(t.answers) END AS error
    FROM rated_stratum t
    GROUP BY t.agent_id, t.month, t.period, t.question
)
SELECT DISTINCT ON (s.agent_id, s.month, s.question)
       s.agent_id, s.month, s.question, s.period AS sample_period, s.population AS population_count,
       s.reviewed AS reviewed_count, s.answered AS answered_count, s.open_strata AS open_strata_count, r.value,
       r.error AS standard_error,
       CASE WHEN r.error > 1e-9 OR s.is_whole THEN greatest(r.value - 1.959963984540054 * r.error, 0)
            WHEN r.error IS NOT NULL THEN agent_metrics_internal.weighted_low(r.value, s.effective_size) END AS ci_low,
       CASE WHEN r.error > 1e-9 OR s.is_whole THEN least(r.value + 1.959963984540054 * r.error, 1)
            WHEN r.error IS NOT NULL THEN agent_metrics_internal.weighted_high(r.value, s.effective_size) END AS ci_high
FROM monthly_rate s
CROSS JOIN LATERAL (SELECT CASE WHEN s.open_strata = 0 THEN s.rate END AS value,
                           CASE WHEN s.open_strata = 0 THEN s.error END AS error) r
ORDER BY s.agent_id, s.month, s.question, s.open_strata = 0 DESC, s.period = 'month' DESC;
COMMENT ON VIEW agent_kpi.review_rates IS
    'Rates of all conversations of a month, estimated from the review sample by its strata: one row per agent, '
    'month and question that somebody answered. Of the monthly sample once each of its strata was looked at, '
    'else of the weekly ones that began in the month. Unique: agent_id, month, question.';
COMMENT ON COLUMN agent_kpi.review_rates.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.review_rates.month IS 'First report day of the month.';
COMMENT ON COLUMN agent_kpi.review_rates.question IS
    'What was asked of the reviewers, by the metric that it is: task_success_rate, hallucination_rate, '
    'out_of_scope_refusal_rate, over_refusal_rate, escalation_accuracy, escalation_precision or '
    'escalation_missed_rate.';
COMMENT ON COLUMN agent_kpi.review_rates.sample_period IS 'month: of the monthly sample; week: of weekly ones.';
COMMENT ON COLUMN agent_kpi.review_rates.population_count IS 'Conversations that the sample stands for.';
COMMENT ON COLUMN agent_kpi.review_rates.reviewed_count IS 'Conversations of the sample that somebody has reviewed.';
COMMENT ON COLUMN agent_kpi.review_rates.answered_count IS 'Answers in the denominator: n.';
COMMENT ON COLUMN agent_kpi.review_rates.open_strata_count IS
    'Strata that nobody has looked at yet: as long as there are any, nothing is known of the whole.';
COMMENT ON COLUMN agent_kpi.review_rates.value IS 'Estimated rate of all conversations; NULL while a stratum is open.';
COMMENT ON COLUMN agent_kpi.review_rates.standard_error IS
    'Its standard error, with the finite population correction; NULL where one review stands for a stratum of many.';
COMMENT ON COLUMN agent_kpi.review_rates.ci_low IS
    'Lower end of its 95% interval; where all reviews say the same, of Wilson''s by the effective size.';
COMMENT ON COLUMN agent_kpi.review_rates.ci_high IS 'Upper end of it.';

-- What the agent says of itself against what people say, on the same conversations.
CREATE OR REPLACE VIEW agent_kpi.self_report_monthly WITH (security_barrier) AS
WITH reviewed_month AS (
    SELECT c.agent_id,
           date_trunc('month', agent_metrics_internal.day_of(c.started_at, p.time_zone)::timestamp)::date AS month,
           count(*) AS reviewed, count(*) FILTER (WHERE a.is_success AND h.is_success) AS both_yes,
           count(*) FILTER (WHERE a.is_success AND NOT h.is_success) AS agent_only,
           count(*) FILTER (WHERE NOT a.is_success AND h.is_success) AS human_only,
           count(*) FILTER (WHERE NOT a.is_success AND NOT h.is_success) AS both_no
    FROM agent_metrics.conversations c
    JOIN agent_metrics.outcomes a ON a.label = c.agent_label
    JOIN agent_metrics.outcomes h ON h.label = c.human_label
    CROSS JOIN agent_metrics_internal.report p
    GROUP BY 1, 2
)
SELECT m.agent_id, m.month, m.reviewed AS reviewed_count,
       agent_metrics.ratio(m.both_yes + m.agent_only, m.reviewed) AS agent_success_rate,
       agent_metrics.ratio(m.both_yes + m.human_only, m.reviewed) AS human_success_rate,
       agent_metrics.ratio(100 * (m.agent_only - m.human_only), m.reviewed) AS gap_points,
       100 * agent_metrics.paired_low(m.both_yes, m.agent_only, m.human_only, m.both_no) AS ci_low,
       100 * agent_metrics.paired_high(m.both_yes, m.agent_only, m.human_only, m.both_no) AS ci_high,
       agent_metrics.mcnemar_exact(m.agent_only, m.human_only) AS p_value,
       agent_metrics.ratio(100 * (b.agent_only - b.human_only), b.reviewed) AS previous_gap_points,
       agent_metrics_internal.widened_p(b.agent_only, b.human_only, b.reviewed, m.agent_only, m.human_only,
                                        m.reviewed) AS widened_p,
       (m.agent_only - m.human_only) * b.reviewed > (b.agent_only - b.human_only) * m.reviewed
       AND coalesce(agent_metrics_internal.widened_p(b.agent_only, b.human_only, b.reviewed, m.agent_only, m.human_only,
                                                     m.reviewed), 1) <= 0.05 AS is_wider
FROM reviewed_month m
LEFT JOIN reviewed_month b ON b.agent_id = m.agent_id AND b.month = (m.month - interval '1 month')::date;
COMMENT ON VIEW agent_kpi.self_report_monthly IS
    'One row per agent and month of conversations that both the agent and a human labelled: how much better the agent '
    'says it is. Unique: agent_id, month.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.month IS
    'First report day of the month in which the conversations began.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.reviewed_count IS 'Conversations with both labels.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.agent_success_rate IS 'Share of them that the agent calls a success.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.human_success_rate IS 'Share of them that humans call one.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.gap_points IS 'The first minus the second, in percentage points.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.ci_low IS
    'Lower end of Newcombe''s paired 95% interval of the gap, in points.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.p_value IS 'McNemar''s exact p that there is no gap.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.previous_gap_points IS 'Gap of the month before; NULL: it has none.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.widened_p IS
    'Two-sided p that the gap is what it was the month before.';
COMMENT ON COLUMN agent_kpi.self_report_monthly.is_wider IS
    'Whether it is wider than the month before, and widened_p <= 0.05.';

-- A judge errs, and how often is known from the conversations that a person labelled too. Rogan and Gladen (1978): the
-- rate behind his verdicts, with an interval that knows that all three rates are samples.
CREATE OR REPLACE VIEW agent_kpi.judge_quality WITH (security_barrier) AS
SELECT a.agent_id, n.judged AS judged_count, n.reviewed AS reviewed_count,
       agent_metrics.ratio(n.judged_success, n.judged) AS judged_success_rate,
       agent_metrics.ratio(n.both_success, n.reviewed_success) AS sensitivity,
       agent_metrics.ratio(n.both_failure, n.reviewed - n.reviewed_success) AS specificity,
       agent_metrics.judge_corrected(r.apparent, r.sensitivity, r.specificity) AS corrected_success_rate,
       agent_metrics.judge_corrected_low(r.apparent, r.sensitivity, r.specificity) AS ci_low,
       agent_metrics.judge_corrected_high(r.apparent, r.sensitivity, r.specificity) AS ci_high
FROM agent_metrics.agents a
CROSS JOIN agent_metrics_internal.report p
CROSS JOIN LATERAL (
    SELECT count(*) AS judged, count(*) FILTER (WHERE judge.is_success) AS judged_success,
           count(person.label) AS reviewed, count(*) FILTER (WHERE person.is_success) AS reviewed_success,
           count(*) FILTER (WHERE person.is_success AND judge.is_success) AS both_success,
           count(*) FILTER (WHERE NOT person.is_success AND NOT judge.is_success) AS both_failure
    FROM agent_metrics.conversations c
    JOIN agent_metrics.outcomes judge ON judge.label = c.judge_label AND NOT judge.is_open
    LEFT JOIN agent_metrics.outcomes person ON person.label = c.human_label AND NOT person.is_open
    WHERE c.agent_id = a.agent_id AND c.started_at >= agent_metrics_internal.day_start(p.today - 30, p.time_zone)
      AND c.started_at < agent_metrics_internal.day_start(p.today, p.time_zone)) n
CROSS JOIN LATERAL (
    SELECT agent_metrics.rate(n.judged_success, n.judged) AS apparent,
           CASE WHEN n.reviewed_success > 0
                THEN agent_metrics.rate(n.both_success, n.reviewed_success) END AS sensitivity,
           CASE WHEN n.reviewed > n.reviewed_success
                THEN agent_metrics.rate(n.both_failure, n.reviewed - n.reviewed_success) END AS specificity) r
WHERE n.judged > 0;
COMMENT ON VIEW agent_kpi.judge_quality IS
    'One row per agent whose conversations of the 30 report days that end yesterday a judge labelled: how he '
    'compares with people, '
    'and the success rate without his errors. Unique: agent_id.';
COMMENT ON COLUMN agent_kpi.judge_quality.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.judge_quality.judged_count IS 'Conversations that the judge labelled.';
COMMENT ON COLUMN agent_kpi.judge_quality.reviewed_count IS 'Of them, those that a person labelled too.';
COMMENT ON COLUMN agent_kpi.judge_quality.judged_success_rate IS 'Success rate by the judge''s labels alone.';
COMMENT ON COLUMN agent_kpi.judge_quality.sensitivity IS
    'Of successes by a person''s word, the share that the judge calls so.';
COMMENT ON COLUMN agent_kpi.judge_quality.specificity IS
    'Of the others, the share that the judge does not call a success.';
COMMENT ON COLUMN agent_kpi.judge_quality.corrected_success_rate IS
    'Success rate without the judge''s errors; NULL without reviews of both kinds, or when he is no '
    'better than a coin.';
COMMENT ON COLUMN agent_kpi.judge_quality.ci_low IS 'Lower end of its 95% interval.';
COMMENT ON COLUMN agent_kpi.judge_quality.ci_high IS 'Upper end of its 95% interval.';

-- How much there is to review before a rate that shall be rare can be said to be.
CREATE OR REPLACE VIEW agent_kpi.review_plan WITH (security_barrier) AS
SELECT v.agent_id, v.metric, v.threshold, coalesce(v.effective_size, 0) AS answers_count, v.value, v.verdict, v.owner,
       agent_metrics.zero_failures_needed(v.threshold) AS needed_without_failure_count
FROM agent_metrics_internal.window_values v
JOIN agent_metrics.metrics m ON m.metric = v.metric
WHERE v.span = '30d' AND m.source = 'facts' AND v.unit = 'fraction' AND v.direction = '-'
  -- a threshold of 0 or 1 is shown by no number of them
  AND v.threshold > 1e-6 AND v.threshold < 1;
COMMENT ON VIEW agent_kpi.review_plan IS
    'One row per agent and reviewed metric that shall be rare and has a threshold: how many answers were '
    'reviewed in the 30 report '
    'days that end yesterday, and how many without a failure would show that it is. Unique: agent_id, metric.';
COMMENT ON COLUMN agent_kpi.review_plan.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.review_plan.metric IS 'Metric, such as hallucination_rate.';
COMMENT ON COLUMN agent_kpi.review_plan.threshold IS 'The threshold that the metric is held to.';
COMMENT ON COLUMN agent_kpi.review_plan.answers_count IS
    'Answers that were reviewed, as many equally weighted ones as say as much.';
COMMENT ON COLUMN agent_kpi.review_plan.value IS 'The rate among them.';
COMMENT ON COLUMN agent_kpi.review_plan.verdict IS 'pass, breach, inconclusive or no_data.';
COMMENT ON COLUMN agent_kpi.review_plan.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.review_plan.needed_without_failure_count IS
    'Answers without a failure that show the rate to lie below the threshold, one-sided 95%: 199 for 1.5%.';
