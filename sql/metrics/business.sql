-- What the business asks: does it pay, is it better than people, where does it stand among others, and
-- what "resolved" means.

-- Sums are formed per actor before anything is put side by side: no number mixes the two.
CREATE OR REPLACE VIEW agent_kpi.ai_vs_human WITH (security_barrier) AS
SELECT x.agent_kind, x.metric, x.month,
       max(x.value) FILTER (WHERE x.actor = 'ai') AS ai_value,
       max(x.value) FILTER (WHERE x.actor = 'human') AS human_value, max(x.n) FILTER (WHERE x.actor = 'ai') AS ai_n,
       max(x.n) FILTER (WHERE x.actor = 'human') AS human_n
FROM (
    SELECT v.agent_kind, v.metric, v.actor, v.day AS month,
           CASE WHEN v.has_denominator THEN agent_metrics.ratio(sum(v.numerator), sum(v.denominator))
                ELSE sum(v.numerator)::double precision END AS value,
           sum(v.denominator) AS n
    FROM agent_metrics_internal.monthly_values v
    -- a difference of two agents has no sum, and sketches are merged below
    WHERE v.interval_method NOT IN ('difference', 'order_statistics')
    GROUP BY v.agent_kind, v.metric, v.actor, v.day, v.has_denominator
    UNION ALL
    SELECT l.agent_kind, m.metric, l.actor, l.month, agent_metrics.percentile(l.sketch, m.fraction),
           agent_metrics.sketch_count(l.sketch)::numeric
    FROM (SELECT NULL AS measure, a.kind AS agent_kind, a.actor, r.day AS month,
                 agent_metrics.merge(r.latency) AS sketch
          FROM agent_metrics_internal.monthly_measures r JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
          GROUP BY a.kind, a.actor, r.day
          UNION ALL
          SELECT s.measure, a.kind, a.actor, n.month, agent_metrics.merge(s.sketch)
          FROM agent_metrics_internal.fact_days s
          JOIN agent_metrics.agents a ON a.agent_id = s.agent_id
          CROSS JOIN agent_metrics_internal.report p
          CROSS JOIN LATERAL (
              SELECT date_trunc(
                  'month', agent_metrics_internal.day_of(s.bucket, p.time_zone)::timestamp)::date AS month) n
          -- the measures of percentiles alone: the planner cannot tell that others have no sketch
          WHERE s.measure IN (SELECT m.measure FROM agent_metrics.metrics m WHERE m.fraction IS NOT NULL)
          GROUP BY s.measure, a.kind, a.actor, n.month) l
    JOIN agent_metrics.metrics m
      ON m.measure IS NOT DISTINCT FROM l.measure AND m.source IN ('rollups', 'facts', 'measurements')
     AND m.interval_method = 'order_statistics') x
GROUP BY x.agent_kind, x.metric, x.month
HAVING count(x.value) > 0;
COMMENT ON VIEW agent_kpi.ai_vs_human IS
    'One row per kind of agent, metric and month that has a value: all AI agents of the kind beside all its human '
    'teams, never blended. Unique: agent_kind, metric, month.';
COMMENT ON COLUMN agent_kpi.ai_vs_human.agent_kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_kpi.ai_vs_human.metric IS 'Metric.';
COMMENT ON COLUMN agent_kpi.ai_vs_human.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.ai_vs_human.ai_value IS 'Value over the AI agents.';
COMMENT ON COLUMN agent_kpi.ai_vs_human.human_value IS 'Value over the human teams.';
COMMENT ON COLUMN agent_kpi.ai_vs_human.ai_n IS 'Denominator behind ai_value, or its number of values.';
COMMENT ON COLUMN agent_kpi.ai_vs_human.human_n IS 'Denominator behind human_value, or its number of values.';

CREATE OR REPLACE VIEW agent_metrics_internal.monthly_accounts AS
SELECT r.agent_id, r.day AS month, a.actor, a.baseline_agent_id,
       CASE WHEN r.cost_turns > 0 THEN r.cost_usd END AS turn_cost_usd, r.units, h.revenue_usd, h.agent_hours,
       agent_metrics_internal.kpi_infrastructure_cost(r.agent_id, r.day, r.days) AS infrastructure_usd
FROM agent_metrics_internal.monthly_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id
LEFT JOIN LATERAL (
    SELECT sum(s.numerator) AS revenue_usd, sum(s.denominator) AS agent_hours
    FROM agent_metrics_internal.fact_days s
    WHERE s.agent_id = r.agent_id AND s.measure = 'revenue' AND s.bucket >= r.bucket AND s.bucket < r.ends) h ON true;
COMMENT ON VIEW agent_metrics_internal.monthly_accounts IS 'Sums per agent and calendar month.';

CREATE OR REPLACE VIEW agent_kpi.roi_monthly WITH (security_barrier) AS
SELECT m.agent_id, m.month, c.cost_usd, m.revenue_usd, m.agent_hours,
       agent_metrics.ratio(b.turn_cost_usd + coalesce(b.infrastructure_usd, 0),
                           b.units)::numeric AS human_unit_cost_usd,
       coalesce(m.revenue_usd, 0) - c.cost_usd AS net_usd,
       agent_metrics.ratio(m.revenue_usd, m.agent_hours) AS revenue_per_agent_hour_usd,
       agent_metrics.ratio(c.cost_usd, m.units) AS unit_cost_usd, m.units, m.turn_cost_usd,
       m.infrastructure_usd, m.actor
FROM agent_metrics_internal.monthly_accounts m
CROSS JOIN LATERAL (
    SELECT CASE WHEN m.turn_cost_usd IS NOT NULL OR m.infrastructure_usd IS NOT NULL
                THEN coalesce(m.turn_cost_usd, 0) + coalesce(m.infrastructure_usd, 0) END AS cost_usd) c
LEFT JOIN agent_metrics_internal.monthly_accounts b ON b.agent_id = m.baseline_agent_id AND b.month = m.month
 AND b.actor = 'human';
COMMENT ON VIEW agent_kpi.roi_monthly IS 'One row per agent and month since its first. Unique: agent_id, month.';
COMMENT ON COLUMN agent_kpi.roi_monthly.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.roi_monthly.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.roi_monthly.cost_usd IS
    'Cost of the turns and of the infrastructure allocated to the agent; NULL: neither is known.';
COMMENT ON COLUMN agent_kpi.roi_monthly.revenue_usd IS 'Charges less refunds of conversations that began in the month.';
COMMENT ON COLUMN agent_kpi.roi_monthly.agent_hours IS 'Hours in which the agent was active.';
COMMENT ON COLUMN agent_kpi.roi_monthly.human_unit_cost_usd IS
    'What a unit of work costs with the human team that the agent names as its baseline.';
COMMENT ON COLUMN agent_kpi.roi_monthly.net_usd IS 'Revenue less cost.';
COMMENT ON COLUMN agent_kpi.roi_monthly.revenue_per_agent_hour_usd IS 'Revenue / agent hours.';
COMMENT ON COLUMN agent_kpi.roi_monthly.unit_cost_usd IS 'Cost / units of work, infrastructure included.';
COMMENT ON COLUMN agent_kpi.roi_monthly.units IS 'Units of work.';
COMMENT ON COLUMN agent_kpi.roi_monthly.turn_cost_usd IS 'Known cost of the turns.';
COMMENT ON COLUMN agent_kpi.roi_monthly.infrastructure_usd IS 'Infrastructure cost allocated to the agent.';
COMMENT ON COLUMN agent_kpi.roi_monthly.actor IS 'ai or human.';

-- A figure of the agent's own vertical goes before that of its kind, and that before one for any agent.
CREATE OR REPLACE VIEW agent_kpi.benchmark_position WITH (security_barrier) AS
SELECT x.agent_id, x.metric, v.value,
       coalesce(x.median, x.range_high, x.abandonment_line, x.regulated_bar) AS benchmark,
       CASE WHEN v.value IS NULL THEN NULL
            WHEN x.median IS NOT NULL THEN
                CASE WHEN (v.value - x.median) * s.sign >= 0 THEN 'upper half'
                     WHEN x.bottom_quartile IS NULL THEN 'lower half'
                     WHEN (v.value - x.bottom_quartile) * s.sign < 0 THEN 'bottom quartile' ELSE 'third quartile' END
            WHEN x.range_high IS NOT NULL THEN
                CASE WHEN v.value < x.range_low THEN 'below the range'
                     WHEN v.value <= x.range_high THEN 'within the range'
                     ELSE 'above the range' END
            WHEN x.abandonment_line IS NOT NULL
                THEN CASE WHEN v.value <= x.abandonment_line THEN 'before people give up' ELSE 'people give up' END
            WHEN x.regulated_bar IS NOT NULL
                THEN CASE WHEN v.value < x.regulated_bar THEN 'defensible' ELSE 'not defensible' END END AS quartile,
       v.ci_low, v.ci_high, x.median, x.bottom_quartile, x.range_low, x.range_high, x.abandonment_line, x.regulated_bar,
       x.scope, x.source, x.year, x.is_verified
FROM (
    SELECT DISTINCT ON (a.agent_id, b.metric)
           a.agent_id, b.metric, b.vertical AS scope, b.median, b.bottom_quartile, b.range_low, b.range_high,
           b.abandonment_line, b.regulated_bar, b.source, b.year, b.is_verified
    FROM agent_metrics.agents a
    JOIN (SELECT n.vertical, n.metric, max(n.value) FILTER (WHERE n.statistic = 'median') AS median,
                 max(n.value) FILTER (WHERE n.statistic = 'bottom_quartile') AS bottom_quartile,
                 max(n.value) FILTER (WHERE n.statistic = 'range_low') AS range_low,
                 max(n.value) FILTER (WHERE n.statistic = 'range_high') AS range_high,
                 max(n.value) FILTER (WHERE n.statistic = 'abandonment_line') AS abandonment_line,
                 max(n.value) FILTER (WHERE n.statistic = 'regulated_bar') AS regulated_bar,
                 string_agg(DISTINCT n.source, '; ') AS source, max(n.year) AS year, bool_and(n.verified) AS is_verified
          FROM agent_metrics.benchmarks n GROUP BY n.vertical, n.metric) b
      ON b.vertical IN (a.vertical, a.kind, 'any')
         OR (b.vertical = 'regulated' AND a.vertical IN ('healthcare', 'legal'))
    WHERE a.actor = 'ai'
    ORDER BY a.agent_id, b.metric, array_position(ARRAY[a.vertical, 'regulated', a.kind, 'any'], b.vertical)) x
LEFT JOIN agent_metrics_internal.window_values v ON v.span = '30d' AND v.agent_id = x.agent_id AND v.metric = x.metric
LEFT JOIN agent_metrics.metrics m ON m.metric = x.metric
CROSS JOIN LATERAL (SELECT CASE m.direction WHEN '-' THEN -1 ELSE 1 END AS sign) s;
COMMENT ON VIEW agent_kpi.benchmark_position IS
    'One row per AI agent and metric that somebody outside has a figure for, over the 30 report days that end '
    'yesterday. Unique: agent_id, metric.';
COMMENT ON COLUMN agent_kpi.benchmark_position.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.benchmark_position.metric IS 'Metric.';
COMMENT ON COLUMN agent_kpi.benchmark_position.value IS 'The agent''s value; NULL: no denominator, so no number.';
COMMENT ON COLUMN agent_kpi.benchmark_position.benchmark IS
    'The figure it is held against: the median, else the upper end of the range, the abandonment line '
    'or the regulated bar.';
COMMENT ON COLUMN agent_kpi.benchmark_position.quartile IS
    'Where the value lies: upper half, third quartile, bottom quartile, lower half; or its place to a range or a line.';
COMMENT ON COLUMN agent_kpi.benchmark_position.ci_low IS 'Lower end of the value''s 95% interval.';
COMMENT ON COLUMN agent_kpi.benchmark_position.ci_high IS 'Upper end of the value''s 95% interval.';
COMMENT ON COLUMN agent_kpi.benchmark_position.median IS 'Median.';
COMMENT ON COLUMN agent_kpi.benchmark_position.bottom_quartile IS 'Where the bottom quartile begins.';
COMMENT ON COLUMN agent_kpi.benchmark_position.range_low IS 'Lower end of the range of mature agents.';
COMMENT ON COLUMN agent_kpi.benchmark_position.range_high IS 'Upper end of it.';
COMMENT ON COLUMN agent_kpi.benchmark_position.abandonment_line IS 'Beyond it people give up.';
COMMENT ON COLUMN agent_kpi.benchmark_position.regulated_bar IS
    'Below it the metric is defensible in a regulated field.';
COMMENT ON COLUMN agent_kpi.benchmark_position.scope IS 'Vertical, kind or any: whom the figure is for.';
COMMENT ON COLUMN agent_kpi.benchmark_position.source IS 'Where the figure comes from.';
COMMENT ON COLUMN agent_kpi.benchmark_position.year IS 'Year of the figure.';
COMMENT ON COLUMN agent_kpi.benchmark_position.is_verified IS
    'Whether somebody here has checked it against its source.';

CREATE OR REPLACE VIEW agent_kpi.resolution_definitions WITH (security_barrier) AS
SELECT a.agent_id, d.preset, d.definition, n.numerator, n.denominator,
       agent_metrics.ratio(n.numerator, n.denominator) AS value,
       agent_metrics.wilson_low(agent_metrics.rate(n.numerator, n.denominator)) AS ci_low,
       agent_metrics.wilson_high(agent_metrics.rate(n.numerator, n.denominator)) AS ci_high, d.position
FROM agent_metrics.agents a
CROSS JOIN agent_metrics_internal.resolution_presets d
CROSS JOIN agent_metrics_internal.report p
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE NOT (d.is_untouched AND c.is_human_touched)
                              AND CASE d.flag WHEN 'is_success' THEN o.is_success WHEN 'is_unit' THEN o.is_unit
                                              WHEN 'is_deflection' THEN o.is_deflection
                                              ELSE NOT o.is_escalation END) AS numerator,
           count(*) AS denominator
    FROM agent_metrics.conversations c
    JOIN agent_metrics.outcomes o ON NOT o.is_open AND o.label = CASE d.of_label
        WHEN 'counting' THEN c.outcome_label WHEN 'agent' THEN c.agent_label
        ELSE CASE WHEN c.outcome_source IN ('human', 'crm') THEN c.outcome_label END END
    WHERE c.agent_id = a.agent_id AND c.started_at >= agent_metrics_internal.day_start(p.today - 30, p.time_zone)
      AND c.started_at < agent_metrics_internal.day_start(p.today, p.time_zone)) n;
COMMENT ON VIEW agent_kpi.resolution_definitions IS
    'One row per agent and definition of a resolved conversation, side by side, over the 30 report days that end '
    'yesterday. Unique: agent_id, preset.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.preset IS 'Name of the definition.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.definition IS 'The definition in words.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.numerator IS 'Conversations resolved by it.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.denominator IS 'Conversations that it speaks of.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.value IS 'Their share; NULL: no denominator.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.resolution_definitions.position IS 'Order of the definitions.';

CREATE OR REPLACE VIEW agent_kpi.nist_ai_rmf WITH (security_barrier) AS
SELECT n.nist_function, n.subcategory, n.metric, v.agent_id, v.value, v.threshold, v.direction, v.verdict,
       CASE WHEN v.threshold IS NOT NULL THEN v.owner END AS owner, n.reason, n.is_checked,
       'suggestion, to be checked against NIST AI RMF 1.0' AS remark
FROM agent_metrics.nist_ai_rmf_map n
LEFT JOIN agent_metrics_internal.window_values v ON v.span = '30d' AND v.actor = 'ai' AND v.metric = n.metric;
COMMENT ON VIEW agent_kpi.nist_ai_rmf IS
    'One row per subcategory of the NIST AI RMF, metric that serves it and AI agent that has the metric. '
    'The identifiers are a suggestion to check. Unique: nist_function, subcategory, metric, agent_id.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.nist_function IS 'GOVERN, MAP, MEASURE or MANAGE.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.subcategory IS 'Suggested identifier of the subcategory.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.metric IS 'Metric that serves it.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.agent_id IS 'Agent; NULL: none has the metric.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.value IS 'Value over the 30 report days that end yesterday.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.threshold IS 'The threshold; NULL: none, a gap.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.verdict IS 'pass, breach, inconclusive or no_data; NULL without a threshold.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.owner IS 'Who answers for the threshold; NULL: nobody.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.reason IS 'What the metric shows for it.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.is_checked IS 'Whether somebody here has checked the identifier.';
COMMENT ON COLUMN agent_kpi.nist_ai_rmf.remark IS 'What to think of the identifiers.';
