-- The CFO's page: four tiles an AI agent, one for each class of metric.

-- The core metrics are those that say is_core, and the outcome metric of the agent's kind. Their names stand in the
-- views, since the planner computes only the metrics that it can see.
DO $do$
DECLARE
    core constant text := (SELECT coalesce(string_agg(quote_literal(m.metric) || ', ', '' ORDER BY m.position), '')
                           FROM agent_metrics.metrics m WHERE m.is_core);
BEGIN
    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_kpi.cfo_tiles WITH (security_barrier) AS
SELECT v.agent_id, v.metric, v.metric_class, v.value AS value_30d, v.ci_low, v.ci_high, v.threshold, v.direction,
       v.verdict, v.owner, b.value AS previous_30d, bench.value AS benchmark, v.refreshed_at,
       v.display_name, v.agent_kind, v.unit, v.numerator, v.denominator, v.pending, v.position, v.definition,
       -- at the present rate this many more observations bring the interval clear of the threshold
       CASE WHEN v.verdict = 'inconclusive' AND v.unit = 'fraction'
            THEN agent_metrics_internal.observations_needed(v.value, v.threshold, v.effective_size::double precision)
       END AS needed,
       bench.verified AS is_benchmark_verified
FROM agent_metrics_internal.window_values v
LEFT JOIN agent_metrics_internal.window_values b
       ON b.span = 'previous_30d' AND b.agent_id = v.agent_id AND b.metric = v.metric
       -- said again, since the planner does not conclude it: otherwise it computes the other metrics too
      AND b.metric IN (%1$s b.outcome_metric)
LEFT JOIN LATERAL (
    SELECT x.value, x.verified
    FROM agent_metrics.benchmarks x JOIN agent_metrics.agents a ON a.agent_id = v.agent_id
    WHERE x.metric = v.metric AND x.vertical IN (a.vertical, a.kind, 'any')
      AND x.statistic IN ('median', 'range_high', 'abandonment_line', 'regulated_bar')
    ORDER BY array_position(ARRAY[a.vertical, a.kind, 'any'], x.vertical), x.statistic LIMIT 1) bench ON true
WHERE v.span = '30d' AND v.actor = 'ai' AND v.metric IN (%1$s v.outcome_metric)$view$, core);

    EXECUTE format($view$
CREATE OR REPLACE VIEW agent_kpi.cfo_spark WITH (security_barrier) AS
SELECT v.agent_id, v.metric, v.day, v.value, v.threshold
FROM agent_metrics_internal.spark_values v
WHERE v.actor = 'ai' AND v.metric IN (%1$s v.outcome_metric)$view$, core);
END
$do$;
COMMENT ON VIEW agent_kpi.cfo_tiles IS
    'One row per AI agent and core metric, over the 30 report days that end yesterday. Unique: agent_id, metric.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.metric IS 'Metric; agent_kpi.metric_catalogue says what it means.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.value_30d IS
    'Value over the 30 report days that end yesterday; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.threshold IS 'The threshold that the metric is held to; NULL: none.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.verdict IS
    'pass, breach, inconclusive (the interval straddles the threshold) or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.previous_30d IS 'Value over the 30 days before.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.benchmark IS
    'Figure from outside for the agent''s vertical or kind, if there is one.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.refreshed_at IS 'When the numbers were last brought up to date.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.display_name IS 'Name shown to people.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.numerator IS 'Numerator; NULL for a percentile.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.denominator IS
    'Denominator, or the number of values of a percentile; NULL for a plain sum.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.pending IS 'Conversations without an outcome yet, which are in no rate.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.position IS 'Order of the tiles.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.definition IS 'The definition in words.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.needed IS
    'When inconclusive: how many more observations would settle it at the present rate.';
COMMENT ON COLUMN agent_kpi.cfo_tiles.is_benchmark_verified IS
    'Whether somebody checked that figure; NULL: there is none.';
COMMENT ON VIEW agent_kpi.cfo_spark IS
    'One row per tile and day of the last 30, days without data too. Unique: agent_id, metric, day.';
COMMENT ON COLUMN agent_kpi.cfo_spark.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.cfo_spark.metric IS 'Metric; agent_kpi.metric_catalogue says what it means.';
COMMENT ON COLUMN agent_kpi.cfo_spark.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.cfo_spark.value IS 'Value of the metric; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.cfo_spark.threshold IS 'The threshold that the metric is held to; NULL: none.';

-- "Against" a core metric: a conversation with an outcome that does not count for it; and for unit cost one that
-- cost something and made no unit.
CREATE OR REPLACE VIEW agent_kpi.failing_conversations WITH (security_barrier) AS
SELECT c.agent_id, f.metric, c.conversation_id, c.started_at, c.outcome_label, f.reason, c.cost_usd, c.turns,
       (SELECT s.segments::text FROM agent_metrics_internal.conversation_segments s
        WHERE s.conversation_id = c.conversation_id AND s.agent_id = c.agent_id) AS segments
FROM agent_metrics.conversations c
JOIN agent_metrics.agents a ON a.agent_id = c.agent_id
JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
CROSS JOIN LATERAL (
    SELECT 'task_success_rate' AS metric, 'the outcome is no success: ' || c.outcome_label AS reason
    WHERE c.has_outcome AND NOT c.is_success
    UNION ALL
    SELECT 'deflection_rate', CASE WHEN c.is_human_touched THEN 'a human took part'
                                   ELSE 'the outcome is no deflection: ' || c.outcome_label END
    WHERE k.outcome_metric = 'deflection_rate' AND c.has_outcome AND NOT c.is_deflection
    UNION ALL
    SELECT 'automation_rate', CASE WHEN c.is_human_touched THEN 'a human took part'
                                   ELSE 'the task was not completed: ' || c.outcome_label END
    WHERE k.outcome_metric = 'automation_rate' AND c.has_outcome AND NOT c.is_automation
    UNION ALL
    SELECT 'booking_conversion_rate', 'no booking that stands: ' || c.outcome_label
    WHERE k.outcome_metric = 'qualified_lead_rate' AND c.has_outcome AND NOT c.is_booking
    UNION ALL
    SELECT 'qualified_lead_rate', 'the business system does not mark the lead qualified'
    WHERE k.outcome_metric = 'qualified_lead_rate'
      AND EXISTS (SELECT 1 FROM agent_metrics_internal.leads l
                  WHERE l.agent_id = c.agent_id AND l.lead_id = c.lead_id AND l.started_at = c.started_at
                    AND NOT l.is_qualified)
    UNION ALL
    SELECT 'hallucination_rate', 'a reviewed answer is unsupported or contradicted'
    WHERE EXISTS (SELECT 1 FROM agent_metrics_internal.conversation_facts h
                  WHERE h.conversation_id = c.conversation_id AND h.agent_id = c.agent_id AND h.measure = 'answers'
                    AND h.numerator > 0)
    UNION ALL
    -- a share of the user's own; asked once whether there is any, and not of each conversation
    SELECT m.metric, 'measured so: ' || m.measure
    FROM agent_metrics.metrics m
    WHERE (SELECT count(*) > 0 FROM agent_metrics.metrics x WHERE x.source = 'measurements')
      AND m.source = 'measurements' AND m.interval_method = 'weighted_wilson'
      AND CASE WHEN k.outcome_metric <> m.for_outcome OR a.actor <> m.for_actor THEN false ELSE true END
      AND EXISTS (SELECT 1 FROM agent_metrics_internal.conversation_facts h
                  WHERE h.conversation_id = c.conversation_id AND h.agent_id = c.agent_id AND h.measure = m.measure
                    AND CASE m.direction WHEN '+' THEN h.numerator < h.denominator ELSE h.numerator > 0 END)
    UNION ALL
    SELECT 'cost_per_unit_usd', CASE WHEN c.has_outcome THEN 'it cost money and made no unit: ' || c.outcome_label
                                     ELSE 'it cost money and is pending' END
    WHERE c.cost_usd > 0 AND NOT c.is_unit) f;
COMMENT ON VIEW agent_kpi.failing_conversations IS
    'One row per conversation that counts against a metric. Unique: agent_id, metric, conversation_id.';
COMMENT ON COLUMN agent_kpi.failing_conversations.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.failing_conversations.metric IS 'Metric it counts against.';
COMMENT ON COLUMN agent_kpi.failing_conversations.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_kpi.failing_conversations.started_at IS 'First turn.';
COMMENT ON COLUMN agent_kpi.failing_conversations.outcome_label IS 'Outcome that counts; NULL: pending.';
COMMENT ON COLUMN agent_kpi.failing_conversations.reason IS 'Why it counts against the metric.';
COMMENT ON COLUMN agent_kpi.failing_conversations.cost_usd IS 'What it cost in US dollars.';
COMMENT ON COLUMN agent_kpi.failing_conversations.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.failing_conversations.segments IS
    'Its value of each dimension that is switched on, by name, as JSON; NULL: it has none.';
