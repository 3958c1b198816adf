-- By segment: the same metrics as kpi_daily, kpi_hourly and kpi_monthly, and what each segment cost.

CREATE OR REPLACE VIEW agent_kpi.kpi_segments_daily WITH (security_barrier) AS
SELECT v.agent_id, v.agent_kind, v.actor, v.dimension, v.segment, v.metric, v.metric_class, v.unit, v.day,
       v.value, v.numerator, v.denominator, v.ci_low, v.ci_high, v.threshold, v.direction, v.verdict, v.owner,
       v.pending, v.refreshed_at
FROM agent_metrics_internal.segment_daily_values v;
COMMENT ON VIEW agent_kpi.kpi_segments_daily IS
    'One row per agent, dimension, segment, metric and report day with data. '
    'Unique: agent_id, dimension, segment, metric, day.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.dimension IS
    'Dimension; agent_metrics.dimensions says where its values come from.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.segment IS
    'Segment; (none): no value, (other): a value that is not followed.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.metric IS 'Metric; agent_kpi.metric_catalogue says what it means.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.value IS 'Value of the metric; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.numerator IS 'Numerator; NULL for a percentile.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.denominator IS
    'Denominator, or the number of values of a percentile; NULL for a plain sum.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.threshold IS
    'The threshold that the agent''s metric is held to; NULL: none.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.verdict IS
    'pass, breach, inconclusive (the interval straddles the threshold) or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.pending IS 'Conversations without an outcome yet, which are in no rate.';
COMMENT ON COLUMN agent_kpi.kpi_segments_daily.refreshed_at IS 'When the numbers were last brought up to date.';

CREATE OR REPLACE VIEW agent_kpi.kpi_segments_hourly WITH (security_barrier) AS
SELECT v.agent_id, v.agent_kind, v.actor, v.dimension, v.segment, v.metric, v.metric_class, v.unit, v.bucket AS hour,
       v.value, v.numerator, v.denominator, v.ci_low, v.ci_high, v.threshold, v.direction, v.verdict, v.owner,
       v.pending, v.refreshed_at
FROM agent_metrics_internal.segment_hourly_values v;
COMMENT ON VIEW agent_kpi.kpi_segments_hourly IS
    'One row per agent, dimension, segment, metric and hour with data, of dimensions whose finest level is the hour. '
    'Unique: agent_id, dimension, segment, metric, hour.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.dimension IS
    'Dimension; agent_metrics.dimensions says where its values come from.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.segment IS
    'Segment; (none): no value, (other): a value that is not followed.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.metric IS 'Metric; agent_kpi.metric_catalogue says what it means.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.hour IS 'Start of the hour.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.value IS 'Value of the metric; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.numerator IS 'Numerator; NULL for a percentile.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.denominator IS
    'Denominator, or the number of values of a percentile; NULL for a plain sum.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.threshold IS
    'The threshold that the agent''s metric is held to; NULL: none.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.verdict IS
    'pass, breach, inconclusive (the interval straddles the threshold) or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.pending IS
    'Conversations without an outcome yet, which are in no rate.';
COMMENT ON COLUMN agent_kpi.kpi_segments_hourly.refreshed_at IS 'When the numbers were last brought up to date.';

CREATE OR REPLACE VIEW agent_kpi.kpi_segments_monthly WITH (security_barrier) AS
SELECT v.agent_id, v.agent_kind, v.actor, v.dimension, v.segment, v.metric, v.metric_class, v.unit, v.day AS month,
       v.value, v.numerator, v.denominator, v.ci_low, v.ci_high, v.threshold, v.direction, v.verdict, v.owner,
       v.pending, v.refreshed_at
FROM agent_metrics_internal.segment_monthly_values v;
COMMENT ON VIEW agent_kpi.kpi_segments_monthly IS
    'One row per agent, dimension, segment, metric and calendar month with data. '
    'Unique: agent_id, dimension, segment, metric, month.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.dimension IS
    'Dimension; agent_metrics.dimensions says where its values come from.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.segment IS
    'Segment; (none): no value, (other): a value that is not followed.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.metric IS 'Metric; agent_kpi.metric_catalogue says what it means.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.value IS 'Value of the metric; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.numerator IS 'Numerator; NULL for a percentile.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.denominator IS
    'Denominator, or the number of values of a percentile; NULL for a plain sum.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.threshold IS
    'The threshold that the agent''s metric is held to; NULL: none.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.verdict IS
    'pass, breach, inconclusive (the interval straddles the threshold) or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.pending IS
    'Conversations without an outcome yet, which are in no rate.';
COMMENT ON COLUMN agent_kpi.kpi_segments_monthly.refreshed_at IS 'When the numbers were last brought up to date.';

CREATE OR REPLACE VIEW agent_kpi.spend_by_segment WITH (security_barrier) AS
SELECT r.agent_id, a.actor, r.dimension, r.segment, r.day AS month, r.turns, r.cost_turns AS priced_turns,
       CASE WHEN r.cost_turns > 0 THEN r.cost_usd END AS cost_usd,
       CASE WHEN r.cost_turns > 0
            THEN agent_metrics.ratio(r.cost_usd, sum(r.cost_usd) OVER (PARTITION BY r.agent_id, r.dimension, r.day))
       END AS spend_share,
       r.tokens_input, r.tokens_output, r.conversations, r.units,
       CASE WHEN r.cost_turns > 0 THEN agent_metrics.ratio(r.conversation_cost_usd, r.units) END AS cost_per_unit_usd
FROM agent_metrics_internal.segment_monthly_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id;
COMMENT ON VIEW agent_kpi.spend_by_segment IS
    'What each segment cost in a calendar month, to charge it to whom it belongs. The segments of a dimension add up '
    'to the agent''s cost. Unique: agent_id, dimension, segment, month.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.dimension IS 'Dimension, such as cost_centre.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.segment IS
    'Segment; (none): no value, (other): a value that is not followed.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.turns IS 'Turns of the segment.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.priced_turns IS 'Of them, those whose cost is known.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.cost_usd IS
    'Known cost of its turns in US dollars; NULL: of none it is known.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.spend_share IS
    'Its share of the agent''s known cost; NULL: there is none.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.tokens_input IS 'Input tokens.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.tokens_output IS 'Output tokens.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.conversations IS 'Conversations of the segment.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.units IS 'Of them, units of work.';
COMMENT ON COLUMN agent_kpi.spend_by_segment.cost_per_unit_usd IS 'Cost of its conversations / units; NULL: no unit.';

CREATE OR REPLACE VIEW agent_kpi.untracked_segments WITH (security_barrier) AS
SELECT u.agent_id, u.dimension, u.segment, u.turns, u.first_seen, u.last_seen
FROM agent_metrics_internal.kpi_untracked_segments() u;
COMMENT ON VIEW agent_kpi.untracked_segments IS
    'Values of the last 30 days that are counted in the segment (other), since an agent''s dimension has as many as '
    'it follows: the hundred with most turns of each. A row in agent_metrics.dimension_segments follows one. '
    'Unique: agent_id, dimension, segment.';
COMMENT ON COLUMN agent_kpi.untracked_segments.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.untracked_segments.dimension IS 'Dimension.';
COMMENT ON COLUMN agent_kpi.untracked_segments.segment IS 'The value.';
COMMENT ON COLUMN agent_kpi.untracked_segments.turns IS 'Its turns.';
COMMENT ON COLUMN agent_kpi.untracked_segments.first_seen IS 'Its first turn in these days.';
COMMENT ON COLUMN agent_kpi.untracked_segments.last_seen IS 'Its last turn.';
