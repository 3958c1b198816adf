-- define_metric(): a metric of the user's own, in one statement: checked, and told what it still lacks.

-- What a kind of metric is, as agent_metrics.metrics has it.
CREATE FUNCTION agent_metrics_internal.metric_kinds()
RETURNS TABLE (kind text, interval_method text, unit text, words text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT v.kind, v.interval_method, v.unit, v.words
    FROM (VALUES
        ('share', 'weighted_wilson', 'fraction', 'what counts / all'),
        ('mean', 'delta', NULL, 'the sum of values / how many'),
        ('ratio', 'delta', NULL, 'the sum of numerators / the sum of denominators'),
        ('sum', 'none', NULL, 'the sum of values'),
        ('percentile', 'order_statistics', NULL, 'the value that a fraction of them do not exceed'))
            AS v (kind, interval_method, unit, words);
END;
COMMENT ON FUNCTION agent_metrics_internal.metric_kinds() IS
    'The kinds of metric that define_metric() makes. Internal.';

CREATE FUNCTION agent_metrics_internal.is_countable(interval_method text, numerator numeric, denominator numeric)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE interval_method WHEN 'weighted_wilson' THEN numerator BETWEEN 0 AND denominator
                            WHEN 'order_statistics' THEN numerator >= 0 ELSE true END;
COMMENT ON FUNCTION agent_metrics_internal.is_countable(text, numeric, numeric) IS
    'Whether a metric with such an interval, a share or a percentile, could count a measurement. '
    'Internal: measurements and define_metric() are checked by it.';

-- Rows that were accepted before anybody said what they are, and that such a metric could not count.
CREATE FUNCTION agent_metrics_internal.check_measured(kind text, interval_method text, measure text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    bad record;
BEGIN
    SELECT s.measurement_id, s.agent_id, s.numerator, s.denominator INTO bad
    FROM agent_metrics.measurements s
    WHERE s.measure = $3 AND NOT agent_metrics_internal.is_countable($2, s.numerator, s.denominator)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'measure "%" cannot be a %: measurement "%" of agent "%" is % / %', $3, $1,
            bad.measurement_id, bad.agent_id, bad.numerator, bad.denominator
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = CASE $1 WHEN 'share' THEN 'The numerator of a share lies between 0 and its denominator.'
                                   ELSE 'The values of a percentile are not negative.' END,
                  HINT = 'Put the rows right, or define a mean.';
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_measured(text, text, text) IS
    'Refuses a kind of metric that measurements which are here cannot make. Internal: define_metric() uses it.';

-- The threshold of one agent, or of all kinds of agents that have the metric, which hand it on to theirs.
CREATE FUNCTION agent_metrics_internal.put_threshold(
    metric text, agent_id text, value double precision, owner text, for_outcome text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    INSERT INTO agent_metrics.owners (owner) SELECT $4 WHERE $4 IS NOT NULL ON CONFLICT DO NOTHING;
    IF $2 IS NOT NULL THEN
        PERFORM agent_metrics_internal.check_registered($2);
        INSERT INTO agent_metrics.thresholds (agent_id, metric, value, owner)
        SELECT a.agent_id, $1, $3, coalesce($4, a.owner) FROM agent_metrics.agents a WHERE a.agent_id = $2
        ON CONFLICT (agent_id, metric, effective_from) DO UPDATE
        SET value = excluded.value, owner = excluded.owner;
    ELSE
        INSERT INTO agent_metrics.kind_thresholds (kind, metric, value, owner)
        SELECT k.kind, $1, $3, $4 FROM agent_metrics.agent_kinds k
        WHERE $5 IS NULL OR k.outcome_metric = $5
        ON CONFLICT (kind, metric, effective_from) DO UPDATE SET value = excluded.value, owner = excluded.owner;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.put_threshold(text, text, double precision, text, text) IS
    'A threshold with its owner, for an agent or for all kinds. Internal: define_metric() uses it.';

CREATE FUNCTION agent_metrics.define_metric(
    metric text, kind text, measure text DEFAULT NULL, numerator text[] DEFAULT NULL, denominator text[] DEFAULT NULL,
    fraction double precision DEFAULT NULL, metric_class text DEFAULT 'outcome', unit text DEFAULT NULL,
    direction text DEFAULT '+', definition text DEFAULT NULL, threshold double precision DEFAULT NULL,
    owner text DEFAULT NULL, agent_id text DEFAULT NULL, for_outcome text DEFAULT NULL, for_actor text DEFAULT NULL)
RETURNS TABLE (item text, is_there boolean, words text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    of_sums boolean := $4 IS NOT NULL OR $5 IS NOT NULL;
    made_of text := coalesce($3, $1);
    method  text;
    lacks   text;
BEGIN
    SELECT k.interval_method, coalesce($8, k.unit) INTO method, unit
    FROM agent_metrics_internal.metric_kinds() k WHERE k.kind = $2;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown kind of metric "%"', coalesce($2, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = (SELECT string_agg(format('%s: %s', k.kind, k.words), '; ')
                            FROM agent_metrics_internal.metric_kinds() k),
                  HINT = 'SELECT * FROM agent_metrics.define_metric(''csat'', ''share'', definition => ''Answers of 4 '
                         'or 5 / answers.'', threshold => 0.8, owner => ''Head of Support'');';
    END IF;
    lacks := concat_ws(', ',
        CASE WHEN coalesce(btrim($1), '') = '' THEN 'metric (its name)' END,
        CASE WHEN coalesce(btrim($10), '') = '' THEN 'definition (in words, for whoever reads the number)' END,
        CASE WHEN unit IS NULL THEN 'unit (usd, ms, s, count or points; fraction of what lies between 0 and 1)' END,
        CASE WHEN $2 = 'percentile' AND $6 IS NULL THEN 'fraction (0.95 is the 95th percentile)' END,
        CASE WHEN of_sums AND $2 <> 'percentile' AND $4 IS NULL THEN 'numerator (the sums above the line)' END,
        CASE WHEN of_sums AND $2 IN ('share', 'mean', 'ratio') AND $5 IS NULL
             THEN 'denominator (the sums below the line)' END);
    IF lacks <> '' THEN
        RAISE EXCEPTION 'metric "%" lacks: %', coalesce($1, 'NULL'), lacks
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Nothing was defined.',
                  HINT = 'Name these arguments: SELECT * FROM agent_metrics.define_metric(''handle_time_saved'', '
                         '''mean'', unit => ''s'', definition => ''Seconds saved / conversations measured.'');';
    ELSIF EXISTS (SELECT 1 FROM agent_metrics.metrics m WHERE m.metric = $1 AND NOT m.is_own) THEN
        RAISE EXCEPTION 'metric "%" is there already, and define_metric() did not make it', $1
            USING ERRCODE = 'duplicate_object',
                  DETAIL = 'People read that name as the definition in agent_kpi.metric_catalogue.',
                  HINT = 'Choose another name, or UPDATE agent_metrics.metrics if you mean to change what it says.';
    ELSIF of_sums AND $3 IS NOT NULL THEN
        RAISE EXCEPTION 'metric "%" is made of measurements and of sums', $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'measure names rows of agent_metrics.measurements; numerator and denominator name sums that '
                           'are kept already.',
                  HINT = 'Leave one of them out.';
    END IF;
    IF NOT of_sums THEN
        PERFORM agent_metrics_internal.check_measured($2, method, made_of);
    END IF;
    INSERT INTO agent_metrics.metrics AS m (
        metric, metric_class, unit, direction, definition, source, numerator, denominator, measure, fraction,
        interval_method, is_sum, is_own, for_outcome, for_actor)
    VALUES ($1, $7, unit, $9, $10, CASE WHEN of_sums THEN 'rollups' ELSE 'measurements' END, $4, $5,
            CASE WHEN NOT of_sums THEN made_of END, CASE WHEN $2 = 'percentile' THEN $6 END,
            CASE WHEN NOT of_sums OR method = 'order_statistics' THEN method
                 WHEN $2 = 'share' THEN 'wilson'
                 WHEN agent_metrics_internal.delta_method($4, $5) IS NOT NULL THEN 'delta'
                 ELSE 'none' END,
            $2 = 'sum' AND NOT of_sums, true, $14, $15)
    ON CONFLICT (metric) DO UPDATE SET
        metric_class = excluded.metric_class, unit = excluded.unit, direction = excluded.direction,
        definition = excluded.definition, source = excluded.source, numerator = excluded.numerator,
        denominator = excluded.denominator, measure = excluded.measure, fraction = excluded.fraction,
        interval_method = excluded.interval_method, is_sum = excluded.is_sum, for_outcome = excluded.for_outcome,
        for_actor = excluded.for_actor;
    IF $11 IS NOT NULL THEN
        PERFORM agent_metrics_internal.put_threshold($1, $13, $11, $12, $14);
    END IF;
    RETURN QUERY
    SELECT 'metric', true, format('%s is defined: %s', $1, k.words)
    FROM agent_metrics_internal.metric_kinds() k WHERE k.kind = $2
    UNION ALL
    SELECT 'measurements', n.is_there,
           CASE WHEN n.is_there THEN 'measured already; agent_kpi shows it from each agent''s next refresh on'
                ELSE format('none is here yet: INSERT INTO agent_metrics.measurements (agent_id, conversation_id, '
                            'measure, numerator) VALUES (..., ..., %L, ...)', made_of) END
    FROM (SELECT EXISTS (SELECT 1 FROM agent_metrics.measurements s WHERE s.measure = made_of) AS is_there) n
    WHERE NOT of_sums
    UNION ALL
    SELECT 'views', false, 'SELECT agent_metrics.setup(), as the owner of the tables, makes the views that show it'
    WHERE of_sums
    UNION ALL
    SELECT 'threshold', n.agents > 0,
           CASE WHEN n.agents > 0 THEN format('%s agents are held to one', n.agents)
                ELSE 'no agent is held to one, so nobody is told: call this again with threshold and owner' END
    FROM (SELECT count(DISTINCT t.agent_id) AS agents FROM agent_metrics.thresholds t WHERE t.metric = $1) n;
END
$function$;
COMMENT ON FUNCTION agent_metrics.define_metric(
    text, text, text, text[], text[], double precision, text, text, text, text, double precision, text, text, text,
    text) IS
    'Defines a metric of your own, or changes one. kind: share, mean, ratio, sum or percentile (with fraction). It is '
    'made of measurements, whose measure is the metric''s own name unless another is given, or of sums that are kept '
    'already (numerator, denominator). threshold with owner: of agent_id, or NULL: of every kind of agent that has the '
    'metric, owned by owner, or NULL: by the agent''s. Returns what is there and what is still missing.';
