-- One row per agent, metric and day or hour.

CREATE OR REPLACE VIEW agent_kpi.kpi_daily AS
SELECT v.agent_id, v.agent_kind, v.actor, v.metric, v.metric_class, v.unit, v.day,
       v.value, v.numerator, v.denominator, v.ci_low, v.ci_high, v.threshold, v.direction, v.verdict, v.owner,
       v.pending, v.refreshed_at, (SELECT max(x.definition_version) FROM agent_metrics_internal.metric_definitions x
                                   WHERE x.metric = v.metric AND x.effective_from <= v.day) AS definition_version,
       EXISTS (SELECT 1 FROM agent_metrics_internal.metric_definitions x
               WHERE x.metric = v.metric AND x.effective_from = v.day) AS is_definition_break
FROM agent_metrics_internal.daily_values v;
COMMENT ON VIEW agent_kpi.kpi_daily IS
    'One row per agent, metric and report day, days without data too. Unique: agent_id, metric, day.';
COMMENT ON COLUMN agent_kpi.kpi_daily.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.kpi_daily.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.kpi_daily.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.kpi_daily.metric IS 'Metric; agent_kpi.metric_catalogue says what it means.';
COMMENT ON COLUMN agent_kpi.kpi_daily.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_kpi.kpi_daily.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.kpi_daily.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.kpi_daily.value IS 'Value of the metric; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.kpi_daily.numerator IS 'Numerator; NULL for a percentile.';
COMMENT ON COLUMN agent_kpi.kpi_daily.denominator IS
    'Denominator, or the number of values of a percentile; NULL for a plain sum.';
COMMENT ON COLUMN agent_kpi.kpi_daily.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_daily.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_daily.threshold IS 'The threshold that the metric is held to; NULL: none.';
COMMENT ON COLUMN agent_kpi.kpi_daily.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.kpi_daily.verdict IS
    'pass, breach, inconclusive (the interval straddles the threshold) or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_kpi.kpi_daily.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.kpi_daily.pending IS 'Conversations without an outcome yet, which are in no rate.';
COMMENT ON COLUMN agent_kpi.kpi_daily.refreshed_at IS 'When the numbers were last brought up to date.';
COMMENT ON COLUMN agent_kpi.kpi_daily.definition_version IS
    'Version of the metric''s definition that was in force on the day.';
COMMENT ON COLUMN agent_kpi.kpi_daily.is_definition_break IS
    'The definition changed on this day: the trend breaks here.';

CREATE OR REPLACE VIEW agent_kpi.kpi_hourly AS
SELECT v.agent_id, v.agent_kind, v.actor, v.metric, v.metric_class, v.unit, v.bucket AS hour,
       v.value, v.numerator, v.denominator, v.ci_low, v.ci_high, v.threshold, v.direction, v.verdict, v.owner,
       v.pending, v.refreshed_at
FROM agent_metrics_internal.hourly_values v;
COMMENT ON VIEW agent_kpi.kpi_hourly IS 'One row per agent, metric and hour with data. Unique: agent_id, metric, hour.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.metric IS 'Metric; agent_kpi.metric_catalogue says what it means.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.hour IS 'Start of the hour.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.value IS 'Value of the metric; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.numerator IS 'Numerator; NULL for a percentile.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.denominator IS
    'Denominator, or the number of values of a percentile; NULL for a plain sum.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.threshold IS 'The threshold that the metric is held to; NULL: none.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.verdict IS
    'pass, breach, inconclusive (the interval straddles the threshold) or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.pending IS 'Conversations without an outcome yet, which are in no rate.';
COMMENT ON COLUMN agent_kpi.kpi_hourly.refreshed_at IS 'When the numbers were last brought up to date.';

CREATE OR REPLACE VIEW agent_kpi.kpi_monthly AS
SELECT v.agent_id, v.agent_kind, v.actor, v.metric, v.metric_class, v.unit, v.day AS month,
       v.value, v.numerator, v.denominator, v.ci_low, v.ci_high, v.threshold, v.direction, v.verdict, v.owner,
       v.pending, v.refreshed_at
FROM agent_metrics_internal.monthly_values v;
COMMENT ON VIEW agent_kpi.kpi_monthly IS
    'One row per agent, metric and calendar month with data. Unique: agent_id, metric, month.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.metric IS 'Metric; agent_kpi.metric_catalogue says what it means.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.value IS 'Value of the metric; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.numerator IS 'Numerator; NULL for a percentile.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.denominator IS
    'Denominator, or the number of values of a percentile; NULL for a plain sum.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.threshold IS
    'The threshold that the metric was held to on the last day of the month; NULL: none.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.verdict IS
    'pass, breach, inconclusive (the interval straddles the threshold) or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.pending IS 'Conversations without an outcome yet, which are in no rate.';
COMMENT ON COLUMN agent_kpi.kpi_monthly.refreshed_at IS 'When the numbers were last brought up to date.';

CREATE OR REPLACE VIEW agent_kpi.metric_catalogue WITH (security_barrier) AS
SELECT m.metric, m.metric_class, m.unit, m.direction, m.definition, m.definition_version,
       m.source, array_to_string(m.numerator, ' + ') AS numerator, array_to_string(m.denominator, ' + ') AS denominator,
       m.fraction, m.interval_method, m.for_outcome, m.for_actor, m.is_core
FROM agent_metrics.metrics m;
COMMENT ON VIEW agent_kpi.metric_catalogue IS 'What every metric means. Unique: metric.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.metric IS 'Metric.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.definition IS 'The definition in words.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.definition_version IS 'Raised whenever the definition changes.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.source IS
    'Where its sums are: rollups, facts, infrastructure, survey, eval_runs or drift.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.numerator IS
    'Sums above the line; NULL: a percentile, or a source that has its own.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.denominator IS
    'Sums below the line; NULL: a plain sum, or a source that has its own.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.fraction IS 'Of a percentile: 0.95 is the 95th.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.interval_method IS
    'How its 95% interval is come by: wilson, weighted_wilson, order_statistics, delta, newcombe, difference or none.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.for_outcome IS
    'Only kinds with this outcome metric have it; NULL: all kinds.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.for_actor IS 'Only ai or only human agents have it; NULL: both.';
COMMENT ON COLUMN agent_kpi.metric_catalogue.is_core IS
    'A tile of every agent. The tile of class outcome is the outcome metric of the agent''s kind.';
