-- The metric catalogue, and what a metric is held against: definitions, benchmarks, the NIST framework.

CREATE TABLE agent_metrics.metrics (
    metric             text PRIMARY KEY,
    metric_class       text NOT NULL CHECK (metric_class IN ('capability', 'economics', 'outcome', 'trust')),
    unit               text NOT NULL CHECK (unit IN ('fraction', 'usd', 'ms', 's', 'count', 'points')),
    direction          text NOT NULL CHECK (direction IN ('+', '-')),
    definition         text NOT NULL,
    definition_version integer NOT NULL DEFAULT 1,
    position           integer NOT NULL DEFAULT 100,
    is_core            boolean NOT NULL DEFAULT false CHECK (NOT is_core OR metric_class <> 'outcome'),
    source             text NOT NULL DEFAULT 'rollups'
                       CHECK (source IN ('rollups', 'facts', 'measurements', 'infrastructure', 'survey', 'eval_runs',
                                         'drift')),
    numerator          text[],
    denominator        text[],
    measure            text,
    fraction           double precision CHECK (fraction > 0 AND fraction < 1),
    interval_method    text NOT NULL DEFAULT 'none'
                       CHECK (interval_method IN ('wilson', 'weighted_wilson', 'order_statistics', 'delta', 'newcombe',
                                                  'difference', 'none')),
    has_pending        boolean NOT NULL DEFAULT false,
    for_outcome        text,
    for_actor          text CHECK (for_actor IN ('ai', 'human')),
    place              integer,
    is_sum             boolean NOT NULL DEFAULT false,
    is_own             boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX metrics_core ON agent_metrics.metrics (metric_class) WHERE is_core;
CREATE TRIGGER check_metric BEFORE INSERT OR UPDATE ON agent_metrics.metrics
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_metric();
COMMENT ON TABLE agent_metrics.metrics IS 'The metric catalogue: what every number means.';
COMMENT ON COLUMN agent_metrics.metrics.metric IS 'Name of the metric.';
COMMENT ON COLUMN agent_metrics.metrics.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_metrics.metrics.unit IS 'fraction (0..1), usd, ms, s, count or points (0..100).';
COMMENT ON COLUMN agent_metrics.metrics.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_metrics.metrics.definition IS
    'The definition in words: numerator / denominator and what is left out.';
COMMENT ON COLUMN agent_metrics.metrics.definition_version IS 'Raised whenever the definition changes.';
COMMENT ON COLUMN agent_metrics.metrics.position IS 'Order in which a person wants to read the metrics.';
COMMENT ON COLUMN agent_metrics.metrics.is_core IS
    'A tile of every agent, one a class; the tile of class outcome is the outcome metric of the agent''s kind.';
COMMENT ON COLUMN agent_metrics.metrics.source IS
    'Where its sums are: rollups (numerator and denominator name them), facts (measure names them), '
    'measurements (rows of agent_metrics.measurements: measure names them), '
    'infrastructure (allocated cost / hours), survey (two agents'' answers), eval_runs (results of runs), '
    'or drift (of single runs: in no view by day).';
COMMENT ON COLUMN agent_metrics.metrics.numerator IS
    'Of rollups: the sums that are added up above the line, such as ARRAY[''successes'']; NULL of a percentile.';
COMMENT ON COLUMN agent_metrics.metrics.denominator IS
    'Of rollups: the sums below the line, such as ARRAY[''outcomes'']; NULL: a plain sum; '
    'ARRAY[''latency''] of a percentile.';
COMMENT ON COLUMN agent_metrics.metrics.measure IS
    'Of facts and measurements: the measure of fact_days that holds its sums.';
COMMENT ON COLUMN agent_metrics.metrics.fraction IS
    'Of a percentile: the share of values that lie at or below it, such as 0.95.';
COMMENT ON COLUMN agent_metrics.metrics.interval_method IS
    'How its 95% interval is come by: wilson (a share), weighted_wilson (a share of weighted facts), '
    'order_statistics (a percentile), delta (a ratio), newcombe (two labels of the same conversations), '
    'difference (of two agents), none.';
COMMENT ON COLUMN agent_metrics.metrics.has_pending IS
    'Conversations without an outcome are shown beside it as pending.';
COMMENT ON COLUMN agent_metrics.metrics.for_outcome IS
    'Only kinds whose outcome metric is this one have it; NULL: all kinds.';
COMMENT ON COLUMN agent_metrics.metrics.for_actor IS 'Only ai or only human agents have it; NULL: both.';
COMMENT ON COLUMN agent_metrics.metrics.place IS
    'Its place among the columns of agent_kpi.agent_daily and agent_hourly; NULL: no column. '
    'A view that is there keeps its columns, and new ones go last.';
COMMENT ON COLUMN agent_metrics.metrics.is_sum IS
    'Of measurements: a plain sum of numerators, with no denominator.';
COMMENT ON COLUMN agent_metrics.metrics.is_own IS
    'define_metric() made it, and may change it.';

CREATE TABLE agent_metrics.benchmarks (
    vertical  text NOT NULL,
    metric    text NOT NULL,
    statistic text NOT NULL,
    value     double precision NOT NULL,
    source    text NOT NULL,
    year      integer NOT NULL,
    verified  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (vertical, metric, statistic)
);
COMMENT ON TABLE agent_metrics.benchmarks IS 'Figures from outside to hold a metric against; not verified as shipped.';
COMMENT ON COLUMN agent_metrics.benchmarks.vertical IS 'Vertical or scope the figure is for; any: all.';
COMMENT ON COLUMN agent_metrics.benchmarks.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.benchmarks.statistic IS
    'median, bottom_quartile, abandonment_line, range_low, range_high or regulated_bar.';
COMMENT ON COLUMN agent_metrics.benchmarks.value IS 'The figure, in the unit of the metric.';
COMMENT ON COLUMN agent_metrics.benchmarks.source IS 'Where the figure comes from.';
COMMENT ON COLUMN agent_metrics.benchmarks.year IS 'Year of the figure.';
COMMENT ON COLUMN agent_metrics.benchmarks.verified IS 'Whether somebody here has checked it against its source.';
CREATE TRIGGER check_benchmark BEFORE INSERT OR UPDATE OF metric, statistic ON agent_metrics.benchmarks
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_benchmark();

-- Definitions are rows with versions. A changed definition is a new version from the present report day on.
CREATE TABLE agent_metrics_internal.metric_definitions (
    metric             text NOT NULL,
    definition_version integer NOT NULL,
    effective_from     date NOT NULL,
    definition         text NOT NULL,
    PRIMARY KEY (metric, definition_version)
);
COMMENT ON TABLE agent_metrics_internal.metric_definitions IS
    'What each metric meant, version by version. Written by a trigger on metrics.';
COMMENT ON COLUMN agent_metrics_internal.metric_definitions.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics_internal.metric_definitions.definition_version IS 'Version.';
COMMENT ON COLUMN agent_metrics_internal.metric_definitions.effective_from IS
    'First report day of this version: where the trend breaks.';
COMMENT ON COLUMN agent_metrics_internal.metric_definitions.definition IS 'The definition in words.';
CREATE TRIGGER version_definition BEFORE INSERT OR UPDATE ON agent_metrics.metrics
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.version_definition();

-- What "resolved" may mean: presets that are shown side by side, each a condition on a conversation.
CREATE TABLE agent_metrics_internal.resolution_presets (
    preset       text PRIMARY KEY,
    definition   text NOT NULL,
    of_label     text NOT NULL CHECK (of_label IN ('counting', 'agent', 'confirmed')),
    flag         text NOT NULL CHECK (flag IN ('is_success', 'is_unit', 'is_deflection', 'is_no_escalation')),
    is_untouched boolean NOT NULL,
    position     integer NOT NULL DEFAULT 100
);
COMMENT ON TABLE agent_metrics_internal.resolution_presets IS
    'Definitions of a resolved conversation that are in use, shown side by side in agent_kpi.resolution_definitions.';
COMMENT ON COLUMN agent_metrics_internal.resolution_presets.preset IS 'Name of the definition.';
COMMENT ON COLUMN agent_metrics_internal.resolution_presets.definition IS 'The definition in words.';
COMMENT ON COLUMN agent_metrics_internal.resolution_presets.of_label IS
    'Whose label decides: counting (by precedence), agent (the agent''s own), confirmed (a person or the business '
    'system; others are pending).';
COMMENT ON COLUMN agent_metrics_internal.resolution_presets.flag IS
    'What the label has to be: a column of outcomes, or is_no_escalation.';
COMMENT ON COLUMN agent_metrics_internal.resolution_presets.is_untouched IS 'Whether no human may have taken part.';
COMMENT ON COLUMN agent_metrics_internal.resolution_presets.position IS 'Order of the definitions.';

-- Which metric serves which function of the NIST AI risk management framework.
CREATE TABLE agent_metrics.nist_ai_rmf_map (
    nist_function text NOT NULL CHECK (nist_function IN ('GOVERN', 'MAP', 'MEASURE', 'MANAGE')),
    subcategory   text NOT NULL,
    metric        text NOT NULL,
    reason        text NOT NULL,
    is_checked    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (nist_function, subcategory, metric)
);
COMMENT ON TABLE agent_metrics.nist_ai_rmf_map IS
    'Which metric serves which function of the NIST AI RMF 1.0. The identifiers are a suggestion: check them.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.nist_function IS 'GOVERN, MAP, MEASURE or MANAGE.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.subcategory IS 'Suggested identifier of the subcategory.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.reason IS 'What the metric shows for it.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.is_checked IS 'Whether somebody here has checked the identifier.';
