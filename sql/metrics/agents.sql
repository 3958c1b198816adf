-- One row per agent and day or hour: one column a metric, and the counts.

CREATE OR REPLACE VIEW agent_kpi.agent_daily AS
SELECT r.agent_id, a.kind AS agent_kind, a.actor, r.day,
       coalesce(r.turns, 0) AS turns, coalesce(r.conversations, 0) AS conversations, coalesce(r.outcomes, 0) AS with_outcome,
       coalesce(r.conversations - r.outcomes, 0) AS pending, coalesce(r.successes, 0) AS successes, coalesce(r.units, 0) AS units,
       coalesce(r.escalations, 0) AS escalations, coalesce(r.refusals, 0) AS refusals, coalesce(r.tool_calls, 0) AS tool_calls,
       coalesce(r.error_turns, 0) AS error_turns,
       agent_metrics.ratio(r.successes, r.outcomes) AS task_success_rate,
       agent_metrics.percentile(r.latency, 0.50) AS latency_p50_ms,
       agent_metrics.percentile(r.latency, 0.95) AS latency_p95_ms,
       CASE WHEN r.cost_turns > 0 THEN agent_metrics.ratio(r.cost_usd, r.units) END AS cost_per_unit_usd,
       CASE k.outcome_metric WHEN 'deflection_rate' THEN agent_metrics.ratio(r.deflections, r.outcomes) END AS deflection_rate,
       CASE k.outcome_metric WHEN 'qualified_lead_rate' THEN agent_metrics.ratio(r.qualified_leads, r.leads) END AS qualified_lead_rate,
       CASE k.outcome_metric WHEN 'qualified_lead_rate' THEN agent_metrics.ratio(r.bookings, r.outcomes) END AS booking_conversion_rate,
       CASE k.outcome_metric WHEN 'automation_rate' THEN agent_metrics.ratio(r.automations, r.outcomes) END AS automation_rate,
       agent_metrics.ratio(r.tokens_input + r.tokens_output, r.token_turns) AS tokens_per_turn,
       CASE WHEN r.cost_turns > 0 THEN r.cost_usd::double precision END AS token_spend_usd,
       w.refreshed_at,
       f.tool_call_accuracy,
       f.instruction_following_score,
       f.revenue_per_agent_hour_usd,
       f.time_to_resolution_p50_s,
       f.time_to_resolution_p95_s,
       f.escalation_accuracy,
       f.escalation_precision,
       f.escalation_missed_rate,
       f.hallucination_rate,
       f.out_of_scope_refusal_rate,
       f.over_refusal_rate,
       f.self_report_gap,
       f.revenue_usd, f.agent_hours,
       agent_metrics.ratio(agent_metrics_internal.kpi_infrastructure_cost(r.agent_id, r.day, 1), f.agent_hours) AS infra_cost_per_agent_hour_usd,
       CASE WHEN f.has_survey THEN agent_metrics.ratio(agent_metrics_internal.kpi_nps(r.agent_id, r.day, 1, 'numerator'), agent_metrics_internal.kpi_nps(r.agent_id, r.day, 1, 'denominator')) END AS nps_delta,
       agent_metrics.ratio(agent_metrics_internal.kpi_eval(r.agent_id, r.day, 1, 'passed'), agent_metrics_internal.kpi_eval(r.agent_id, r.day, 1, 'graded')) AS eval_success_rate
FROM agent_metrics_internal.daily_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
LEFT JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = r.agent_id
LEFT JOIN (
    SELECT s.agent_id, s.bucket,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'tool_calls') AS tool_call_accuracy,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'instruction_scores') AS instruction_following_score,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'revenue') AS revenue_per_agent_hour_usd,
           max(agent_metrics.percentile(s.sketch, 0.50)) FILTER (WHERE s.measure = 'resolutions') AS time_to_resolution_p50_s,
           max(agent_metrics.percentile(s.sketch, 0.95)) FILTER (WHERE s.measure = 'resolutions') AS time_to_resolution_p95_s,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'escalations') AS escalation_accuracy,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'escalated') AS escalation_precision,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'to_escalate') AS escalation_missed_rate,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'answers') AS hallucination_rate,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'out_of_scope') AS out_of_scope_refusal_rate,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'in_scope') AS over_refusal_rate,
           max(agent_metrics.ratio(s.numerator, s.denominator)) FILTER (WHERE s.measure = 'self_report') AS self_report_gap,
           max(s.numerator) FILTER (WHERE s.measure = 'revenue') AS revenue_usd, max(s.denominator) FILTER (WHERE s.measure = 'revenue') AS agent_hours,
           bool_or(s.measure = 'survey') AS has_survey
    FROM agent_metrics_internal.fact_days s GROUP BY s.agent_id, s.bucket) f ON f.agent_id = r.agent_id AND f.bucket = r.bucket;
COMMENT ON VIEW agent_kpi.agent_daily IS 'One row per agent and report day, days without data too. Unique: agent_id, day.';
COMMENT ON COLUMN agent_kpi.agent_daily.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.agent_daily.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.agent_daily.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.agent_daily.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.agent_daily.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.agent_daily.conversations IS 'Conversations that began.';
COMMENT ON COLUMN agent_kpi.agent_daily.with_outcome IS 'Of them, with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_daily.pending IS 'Of them, without one yet.';
COMMENT ON COLUMN agent_kpi.agent_daily.successes IS 'Successes.';
COMMENT ON COLUMN agent_kpi.agent_daily.units IS 'Units of work.';
COMMENT ON COLUMN agent_kpi.agent_daily.escalations IS 'Conversations handed to a human.';
COMMENT ON COLUMN agent_kpi.agent_daily.refusals IS 'Conversations that ended in a refusal.';
COMMENT ON COLUMN agent_kpi.agent_daily.tool_calls IS 'Tool calls.';
COMMENT ON COLUMN agent_kpi.agent_daily.error_turns IS 'Turns with an error.';
COMMENT ON COLUMN agent_kpi.agent_daily.task_success_rate IS 'Successes / conversations with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_daily.latency_p50_ms IS 'Median latency in milliseconds.';
COMMENT ON COLUMN agent_kpi.agent_daily.latency_p95_ms IS '95th percentile of latency in milliseconds.';
COMMENT ON COLUMN agent_kpi.agent_daily.cost_per_unit_usd IS 'Cost / units, in US dollars.';
COMMENT ON COLUMN agent_kpi.agent_daily.deflection_rate IS 'Support: deflected / with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_daily.qualified_lead_rate IS 'Sales: qualified leads / leads.';
COMMENT ON COLUMN agent_kpi.agent_daily.booking_conversion_rate IS 'Sales: bookings / with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_daily.automation_rate IS 'Ops: automated / with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_daily.tokens_per_turn IS 'Tokens / turns that report tokens.';
COMMENT ON COLUMN agent_kpi.agent_daily.token_spend_usd IS 'Known cost in US dollars.';
COMMENT ON COLUMN agent_kpi.agent_daily.refreshed_at IS 'When the numbers were last brought up to date.';
COMMENT ON COLUMN agent_kpi.agent_daily.tool_call_accuracy IS 'Tool calls judged correct / judged.';
COMMENT ON COLUMN agent_kpi.agent_daily.instruction_following_score IS 'Mean score of graded turns.';
COMMENT ON COLUMN agent_kpi.agent_daily.revenue_per_agent_hour_usd IS 'Revenue / agent hours.';
COMMENT ON COLUMN agent_kpi.agent_daily.time_to_resolution_p50_s IS 'Median seconds from first turn to resolution.';
COMMENT ON COLUMN agent_kpi.agent_daily.time_to_resolution_p95_s IS '95th percentile of them.';
COMMENT ON COLUMN agent_kpi.agent_daily.escalation_accuracy IS 'Rightly escalated or rightly kept / reviewed for it.';
COMMENT ON COLUMN agent_kpi.agent_daily.escalation_precision IS 'Rightly escalated / escalated, of those reviewed.';
COMMENT ON COLUMN agent_kpi.agent_daily.escalation_missed_rate IS 'Wrongly kept / to be escalated, of those reviewed.';
COMMENT ON COLUMN agent_kpi.agent_daily.hallucination_rate IS 'Factual answers unsupported or contradicted / attempted, of those reviewed.';
COMMENT ON COLUMN agent_kpi.agent_daily.out_of_scope_refusal_rate IS 'Out-of-scope requests refused / reviewed.';
COMMENT ON COLUMN agent_kpi.agent_daily.over_refusal_rate IS 'In-scope requests refused / reviewed.';
COMMENT ON COLUMN agent_kpi.agent_daily.self_report_gap IS 'Success by the agent''s word - success by a person''s, in points.';
COMMENT ON COLUMN agent_kpi.agent_daily.revenue_usd IS 'Charges less refunds of conversations that began on the day.';
COMMENT ON COLUMN agent_kpi.agent_daily.agent_hours IS 'Hours in which the agent was active.';
COMMENT ON COLUMN agent_kpi.agent_daily.eval_success_rate IS 'Cases passed / cases graded in the eval runs of the day.';
COMMENT ON COLUMN agent_kpi.agent_daily.infra_cost_per_agent_hour_usd IS 'Infrastructure cost allocated to the agent / agent hours.';
COMMENT ON COLUMN agent_kpi.agent_daily.nps_delta IS 'NPS less that of the human baseline; NULL under 30 answers on either side.';

CREATE OR REPLACE VIEW agent_kpi.agent_hourly AS
SELECT r.agent_id, a.kind AS agent_kind, a.actor, r.bucket AS hour,
       coalesce(r.turns, 0) AS turns, coalesce(r.conversations, 0) AS conversations, coalesce(r.outcomes, 0) AS with_outcome,
       coalesce(r.conversations - r.outcomes, 0) AS pending, coalesce(r.successes, 0) AS successes, coalesce(r.units, 0) AS units,
       coalesce(r.escalations, 0) AS escalations, coalesce(r.refusals, 0) AS refusals, coalesce(r.tool_calls, 0) AS tool_calls,
       coalesce(r.error_turns, 0) AS error_turns,
       agent_metrics.ratio(r.successes, r.outcomes) AS task_success_rate,
       agent_metrics.percentile(r.latency, 0.50) AS latency_p50_ms,
       agent_metrics.percentile(r.latency, 0.95) AS latency_p95_ms,
       CASE WHEN r.cost_turns > 0 THEN agent_metrics.ratio(r.cost_usd, r.units) END AS cost_per_unit_usd,
       CASE k.outcome_metric WHEN 'deflection_rate' THEN agent_metrics.ratio(r.deflections, r.outcomes) END AS deflection_rate,
       CASE k.outcome_metric WHEN 'qualified_lead_rate' THEN agent_metrics.ratio(r.qualified_leads, r.leads) END AS qualified_lead_rate,
       CASE k.outcome_metric WHEN 'qualified_lead_rate' THEN agent_metrics.ratio(r.bookings, r.outcomes) END AS booking_conversion_rate,
       CASE k.outcome_metric WHEN 'automation_rate' THEN agent_metrics.ratio(r.automations, r.outcomes) END AS automation_rate,
       agent_metrics.ratio(r.tokens_input + r.tokens_output, r.token_turns) AS tokens_per_turn,
       CASE WHEN r.cost_turns > 0 THEN r.cost_usd::double precision END AS token_spend_usd,
       w.refreshed_at
FROM agent_metrics_internal.hourly_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
LEFT JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = r.agent_id;
COMMENT ON VIEW agent_kpi.agent_hourly IS 'One row per agent and hour with data. Unique: agent_id, hour.';
COMMENT ON COLUMN agent_kpi.agent_hourly.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.agent_hourly.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.agent_hourly.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.agent_hourly.hour IS 'Start of the hour.';
COMMENT ON COLUMN agent_kpi.agent_hourly.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.agent_hourly.conversations IS 'Conversations that began.';
COMMENT ON COLUMN agent_kpi.agent_hourly.with_outcome IS 'Of them, with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_hourly.pending IS 'Of them, without one yet.';
COMMENT ON COLUMN agent_kpi.agent_hourly.successes IS 'Successes.';
COMMENT ON COLUMN agent_kpi.agent_hourly.units IS 'Units of work.';
COMMENT ON COLUMN agent_kpi.agent_hourly.escalations IS 'Conversations handed to a human.';
COMMENT ON COLUMN agent_kpi.agent_hourly.refusals IS 'Conversations that ended in a refusal.';
COMMENT ON COLUMN agent_kpi.agent_hourly.tool_calls IS 'Tool calls.';
COMMENT ON COLUMN agent_kpi.agent_hourly.error_turns IS 'Turns with an error.';
COMMENT ON COLUMN agent_kpi.agent_hourly.task_success_rate IS 'Successes / conversations with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_hourly.latency_p50_ms IS 'Median latency in milliseconds.';
COMMENT ON COLUMN agent_kpi.agent_hourly.latency_p95_ms IS '95th percentile of latency in milliseconds.';
COMMENT ON COLUMN agent_kpi.agent_hourly.cost_per_unit_usd IS 'Cost / units, in US dollars.';
COMMENT ON COLUMN agent_kpi.agent_hourly.deflection_rate IS 'Support: deflected / with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_hourly.qualified_lead_rate IS 'Sales: qualified leads / leads.';
COMMENT ON COLUMN agent_kpi.agent_hourly.booking_conversion_rate IS 'Sales: bookings / with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_hourly.automation_rate IS 'Ops: automated / with an outcome.';
COMMENT ON COLUMN agent_kpi.agent_hourly.tokens_per_turn IS 'Tokens / turns that report tokens.';
COMMENT ON COLUMN agent_kpi.agent_hourly.token_spend_usd IS 'Known cost in US dollars.';
COMMENT ON COLUMN agent_kpi.agent_hourly.refreshed_at IS 'When the numbers were last brought up to date.';

CREATE OR REPLACE VIEW agent_kpi.agent_daily_sketch AS
SELECT r.agent_id, a.kind AS agent_kind, a.actor, r.day, r.latency AS latency_sketch, agent_metrics.sketch_count(r.latency) AS latency_count
FROM agent_metrics_internal.daily_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
WHERE r.latency IS NOT NULL;
COMMENT ON VIEW agent_kpi.agent_daily_sketch IS 'Latency sketches, for percentiles over spans of your own: percentile(merge(latency_sketch), 0.95). Unique: agent_id, day.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.latency_sketch IS 'Quantile sketch of latency_ms.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.latency_count IS 'Turns in it.';
