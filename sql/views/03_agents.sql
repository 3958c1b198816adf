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
       w.refreshed_at
FROM agent_metrics.daily_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
LEFT JOIN agent_metrics.agent_watermarks w ON w.agent_id = r.agent_id;
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
FROM agent_metrics.hourly_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
LEFT JOIN agent_metrics.agent_watermarks w ON w.agent_id = r.agent_id;
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
FROM agent_metrics.daily_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
WHERE r.latency IS NOT NULL;
COMMENT ON VIEW agent_kpi.agent_daily_sketch IS 'Latency sketches, for percentiles over spans of your own: percentile(merge(latency_sketch), 0.95). Unique: agent_id, day.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.latency_sketch IS 'Quantile sketch of latency_ms.';
COMMENT ON COLUMN agent_kpi.agent_daily_sketch.latency_count IS 'Turns in it.';
