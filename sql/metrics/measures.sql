-- The sums that a metric may be made of. This is the one list of them: the views of rollups, the metrics' values,
-- trace() and the check of a metric's row are made from it.

-- in_bucket: the sum, from a row r of a bucket. in_row: what one turn (e), conversation (c) or lead (l) adds; NULL:
-- nothing. in_archive: the same of an archived bucket (b). part_of: what it is a part of, so that their
-- quotient is a share.
-- One statement: it is a list.
CREATE FUNCTION agent_metrics_internal.measures()
RETURNS TABLE (measure text, type text, grain text, part_of text, in_bucket text, in_row text,
               in_archive text, words text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT m.measure, m.type, m.grain, m.part_of,
           coalesce(m.in_bucket, format('r.%I', m.measure)),
           CASE WHEN m.flag IS NULL THEN m.in_row ELSE format('nullif(%s::integer, 0)', m.flag) END,
           CASE m.grain WHEN 'turn' THEN coalesce(m.in_archive, format('nullif(b.%I, 0)', m.measure)) END, m.words
    FROM (VALUES
        ('turns', 'bigint', 'turn', NULL, NULL, '1', NULL, NULL,
         'Turns.'),
        ('token_turns', 'bigint', 'turn', 'turns', NULL,
         'CASE WHEN coalesce(agent_metrics_internal.possible_tokens(e.token_usage_input), '
         'agent_metrics_internal.possible_tokens(e.token_usage_output)) IS NOT NULL THEN 1 END', NULL, NULL,
         'Turns that report tokens.'),
        ('tokens_input', 'bigint', 'turn', NULL, NULL,
         'agent_metrics_internal.possible_tokens(e.token_usage_input)',
         'CASE WHEN b.token_turns > 0 THEN b.tokens_input END', NULL,
         'Input tokens.'),
        ('tokens_output', 'bigint', 'turn', NULL, NULL,
         'agent_metrics_internal.possible_tokens(e.token_usage_output)',
         'CASE WHEN b.token_turns > 0 THEN b.tokens_output END', NULL,
         'Output tokens.'),
        ('cost_turns', 'bigint', 'turn', 'turns', NULL,
         'CASE WHEN agent_metrics_internal.possible_cost(e.cost_usd) IS NOT NULL THEN 1 END', NULL, NULL,
         'Turns whose cost is known.'),
        ('tool_calls', 'bigint', 'turn', NULL, NULL,
         'nullif(agent_metrics_internal.tool_count(e.tools_called), 0)', NULL, NULL,
         'Tool calls.'),
        ('error_turns', 'bigint', 'turn', 'turns', NULL, 'CASE WHEN e.error IS NOT NULL THEN 1 END', NULL, NULL,
         'Turns with an error.'),
        ('cost_usd', 'numeric', 'turn', NULL,
         'CASE WHEN r.cost_turns > 0 THEN r.cost_usd END',
         'agent_metrics_internal.possible_cost(e.cost_usd)',
         'CASE WHEN b.cost_turns > 0 THEN b.cost_usd END', NULL,
         'Known cost in US dollars.'),
        ('latency', 'agent_metrics.quantile_sketch', 'turn', NULL,
         'agent_metrics.sketch_count(r.latency)',
         'CASE WHEN agent_metrics_internal.possible_latency(e.latency_ms) IS NOT NULL THEN 1 END',
         'agent_metrics.sketch_count(b.latency)', NULL,
         'Sketch of latency_ms.'),
        ('conversations', 'bigint', 'conversation', NULL, NULL, '1', NULL, NULL,
         'Conversations that began here.'),
        ('outcomes', 'bigint', 'conversation', 'conversations', NULL, NULL, NULL, 'c.has_outcome',
         'Of them, those with an outcome; the others are pending.'),
        ('successes', 'bigint', 'conversation', 'outcomes', NULL, NULL, NULL, 'c.is_success',
         'Of them, successes.'),
        ('units', 'bigint', 'conversation', 'outcomes', NULL, NULL, NULL, 'c.is_unit',
         'Of them, units of work.'),
        ('deflections', 'bigint', 'conversation', 'outcomes', NULL, NULL, NULL, 'c.is_deflection',
         'Of them, deflected with no human touch.'),
        ('escalations', 'bigint', 'conversation', 'outcomes', NULL, NULL, NULL, 'c.is_escalation',
         'Of them, escalated.'),
        ('refusals', 'bigint', 'conversation', 'outcomes', NULL, NULL, NULL, 'c.is_refusal',
         'Of them, refused.'),
        ('bookings', 'bigint', 'conversation', 'outcomes', NULL, NULL, NULL, 'c.is_booking',
         'Of them, booked.'),
        ('automations', 'bigint', 'conversation', 'outcomes', NULL, NULL, NULL, 'c.is_automation',
         'Of them, completed with no human step.'),
        ('unit_cost_usd', 'numeric', 'conversation', NULL, NULL, 'CASE WHEN c.is_unit THEN c.cost_usd END', NULL, NULL,
         'Cost of the conversations that are units.'),
        ('conversation_cost_usd', 'numeric', 'conversation', NULL, NULL, 'c.cost_usd', NULL, NULL,
         'Cost of the conversations that began here, whenever their turns were.'),
        ('cost_usd_squared', 'numeric', 'interval', NULL, NULL, NULL, NULL, NULL,
         'Sum over conversations of cost squared.'),
        ('tokens_squared', 'numeric', 'interval', NULL, NULL, NULL, NULL, NULL,
         'Sum over conversations of tokens squared.'),
        ('tokens_by_turns', 'numeric', 'interval', NULL, NULL, NULL, NULL, NULL,
         'Sum over conversations of tokens times token turns.'),
        ('turns_squared', 'numeric', 'interval', NULL, NULL, NULL, NULL, NULL,
         'Sum over conversations of token turns squared.'),
        ('leads', 'bigint', 'lead', NULL, NULL, '1', NULL, NULL,
         'Leads whose first conversation began here.'),
        ('qualified_leads', 'bigint', 'lead', 'leads', NULL, NULL, NULL, 'l.is_qualified',
         'Of them, those the business system marks qualified.'))
        AS m (measure, type, grain, part_of, in_bucket, in_row, in_archive, flag, words);
END;
COMMENT ON FUNCTION agent_metrics_internal.measures() IS
    'The sums of a rollup, in the order of its columns: grain (turn, conversation, lead; interval: for intervals '
    'alone), what it is a part of, and how it is read from a bucket, a row or an archived bucket.';

-- A list of all measures, or of those of some grains, in the order of a rollup's columns: %1$s is the measure, %2$s its
-- type, %3$s the aggregate that adds it up.
CREATE FUNCTION agent_metrics_internal.measure_list(template text, grains text[] DEFAULT NULL) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT string_agg(format(measure_list.template, m.measure, m.type,
                                 CASE m.measure WHEN 'latency' THEN 'agent_metrics.merge' ELSE 'sum' END), ', '
                          ORDER BY m.position)
        FROM ROWS FROM (agent_metrics_internal.measures()) WITH ORDINALITY
             AS m (measure, type, grain, part_of, in_bucket, in_row, in_archive, words, position)
        WHERE measure_list.grains IS NULL OR m.grain = ANY (measure_list.grains));
COMMENT ON FUNCTION agent_metrics_internal.measure_list(text, text[]) IS
    'Text for each measure of a rollup, joined by commas: %1$s is the measure, %2$s its type, %3$s its aggregate. '
    'Internal: what is made of all measures is made with it.';

-- A row of all measures by their names: those of some grains as columns of d, the others NULL, which adds nothing.
CREATE FUNCTION agent_metrics_internal.measure_row(grains text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT format('ROW(d.agent_id, d.bucket, %s)::agent_metrics_internal.rollup_delta',
                      string_agg(CASE WHEN m.grain = ANY (measure_row.grains) THEN format('d.%I', m.measure)
                                      ELSE 'NULL' END, ', '
                                 ORDER BY m.position))
        FROM ROWS FROM (agent_metrics_internal.measures()) WITH ORDINALITY
             AS m (measure, type, grain, part_of, in_bucket, in_row, in_archive, words, position));
COMMENT ON FUNCTION agent_metrics_internal.measure_row(text[]) IS
    'An expression: a rollup_delta of the measures of some grains. Internal: what adds to buckets is made with it.';

-- The measures' descriptions on the columns of what holds them.
CREATE FUNCTION agent_metrics_internal.describe_measures(relation text, grains text[] DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT m.measure, m.words FROM agent_metrics_internal.measures() m
               WHERE describe_measures.grains IS NULL OR m.grain = ANY (describe_measures.grains) LOOP
        EXECUTE format('COMMENT ON COLUMN agent_metrics_internal.%I.%I IS %L', describe_measures.relation,
                       one.measure, one.words);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.describe_measures(text, text[]) IS
    'Comments the columns of a table or type with what its measures mean. Internal: installation and setup() use it.';

-- The sum of some measures as an expression, NULL when none of them has a value. place: bucket, row or archive.
CREATE FUNCTION agent_metrics_internal.sum_of_measures(names text[], place text, grain text DEFAULT NULL) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT CASE count(*) WHEN 0 THEN 'NULL' WHEN 1 THEN min(x.term)
                    -- a bucket's row has all of them; but a cost is not known where no turn has one
                    ELSE CASE WHEN sum_of_measures.place = 'bucket' AND 'cost_usd' <> ALL (sum_of_measures.names)
                         THEN string_agg(x.term, ' + ' ORDER BY x.position)
                         ELSE format('CASE WHEN num_nonnulls(%s) > 0 THEN %s END',
                                     string_agg(x.term, ', ' ORDER BY x.position),
                                     string_agg(format('coalesce(%s, 0)', x.term), ' + ' ORDER BY x.position)) END END
        FROM (SELECT n.position,
                     CASE sum_of_measures.place WHEN 'bucket' THEN m.in_bucket WHEN 'row' THEN m.in_row
                                                ELSE m.in_archive END AS term
              FROM unnest(sum_of_measures.names) WITH ORDINALITY AS n (measure, position)
              JOIN agent_metrics_internal.measures() m ON m.measure = n.measure
              WHERE sum_of_measures.grain IS NULL OR m.grain = sum_of_measures.grain) x);
COMMENT ON FUNCTION agent_metrics_internal.sum_of_measures(text[], text, text) IS
    'An expression: the sum of measures in a bucket, a row or an archived bucket. Internal: the metrics'' values and '
    'trace() are made with it.';

-- The columns of agent_kpi.agent_daily and agent_hourly that are no metric; span: of one of the two alone.
CREATE FUNCTION agent_metrics_internal.wide_columns()
RETURNS TABLE (name text, place integer, expression text, span text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT c.name, c.place, c.expression, c.span
    FROM (VALUES
        ('agent_id', 1, 'r.agent_id', NULL),
        ('agent_kind', 2, 'a.kind', NULL),
        ('actor', 3, 'a.actor', NULL),
        ('day', 4, 'r.day', 'daily'),
        ('hour', 4, 'r.bucket', 'hourly'),
        ('turns', 5, 'coalesce(r.turns, 0)', NULL),
        ('conversations', 6, 'coalesce(r.conversations, 0)', NULL),
        ('with_outcome', 7, 'coalesce(r.outcomes, 0)', NULL),
        ('pending', 8, 'coalesce(r.conversations - r.outcomes, 0)', NULL),
        ('successes', 9, 'coalesce(r.successes, 0)', NULL),
        ('units', 10, 'coalesce(r.units, 0)', NULL),
        ('escalations', 11, 'coalesce(r.escalations, 0)', NULL),
        ('refusals', 12, 'coalesce(r.refusals, 0)', NULL),
        ('tool_calls', 13, 'coalesce(r.tool_calls, 0)', NULL),
        ('error_turns', 14, 'coalesce(r.error_turns, 0)', NULL),
        ('refreshed_at', 25, 'w.refreshed_at', NULL),
        ('revenue_usd', 38, 'f.revenue_usd', 'daily'),
        ('agent_hours', 39, 'f.agent_hours', 'daily')) AS c (name, place, expression, span);
END;
COMMENT ON FUNCTION agent_metrics_internal.wide_columns() IS
    'The columns of agent_daily and agent_hourly that are no metric, with their places. '
    'Internal: the views are made with it.';

CREATE FUNCTION agent_metrics_internal.shipped_measures() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['tool_calls', 'instruction_scores', 'revenue', 'resolutions', 'survey', 'escalations', 'escalated',
             'to_escalate', 'answers', 'out_of_scope', 'in_scope', 'self_report'];
COMMENT ON FUNCTION agent_metrics_internal.shipped_measures() IS
    'Measures of fact_sums that are ours: none of measurements has such a name. Internal.';

-- A row of agent_metrics.metrics must be one that the views can be made from. One that cannot is refused here, so that
-- setup() does not fail on it.
CREATE FUNCTION agent_metrics_internal.check_metric() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    facts   constant text[] := agent_metrics_internal.shipped_measures();
    -- a view has 1,600 columns at most, and a column that was there stays
    most    constant integer := 1000;
    unknown text;
    wrong   text;
BEGIN
    SELECT min(coalesce(n.measure, 'NULL')) INTO unknown
    FROM (SELECT unnest(NEW.numerator) AS measure UNION ALL SELECT unnest(NEW.denominator)) n
    WHERE NOT EXISTS (SELECT 1
                      FROM agent_metrics_internal.measures() m WHERE m.measure = n.measure AND m.grain <> 'interval');
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'metric "%" is made of "%", which no rollup holds', NEW.metric, unknown
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('The measures are %s.',
                                  (SELECT string_agg(m.measure, ', ')
                                   FROM agent_metrics_internal.measures() m WHERE m.grain <> 'interval')),
                  HINT = 'Name sums that the rollups hold already. docs/recipes/add-a-metric.md shows '
                         'a metric over them.';
    END IF;
    -- One statement: it is a list of refusals.
    wrong := CASE
        WHEN NEW.metric !~ '^[a-z][a-z0-9_]{0,62}$'
            THEN 'its name becomes a column: small letters, digits and _, 63 at most'
        -- bucket and has_survey are columns that the views are made with
        WHEN NEW.metric IN ('bucket', 'has_survey')
          OR EXISTS (SELECT 1 FROM agent_metrics_internal.wide_columns() c WHERE c.name = NEW.metric)
            THEN 'a column of the views has that name already'
        WHEN NEW.place IS NOT NULL AND most <= (
                SELECT count(*) FROM (
                    SELECT a.attname::text
                    FROM pg_attribute a WHERE a.attrelid = to_regclass('agent_kpi.agent_daily') AND a.attnum > 0
                    UNION SELECT m.metric FROM agent_metrics.metrics m WHERE m.place IS NOT NULL
                    EXCEPT SELECT NEW.metric) x)
            THEN format('the views have %s columns already: leave its place NULL', most)
        WHEN array_ndims(NEW.numerator) > 1 OR array_ndims(NEW.denominator) > 1
          OR cardinality(NEW.numerator) <> (SELECT count(DISTINCT n) FROM unnest(NEW.numerator) AS n)
          OR cardinality(NEW.denominator) <> (SELECT count(DISTINCT n) FROM unnest(NEW.denominator) AS n)
          OR cardinality(NEW.denominator) = 0
            THEN 'numerator and denominator are lists that name each measure once; no denominator is NULL'
        WHEN NEW.for_outcome IS NOT NULL AND NEW.for_outcome <> NEW.metric
         AND NOT EXISTS (SELECT 1 FROM agent_metrics.metrics m WHERE m.metric = NEW.for_outcome)
         AND NEW.for_outcome NOT IN ('deflection_rate', 'qualified_lead_rate', 'automation_rate')
            THEN format('for_outcome "%s" is no metric', NEW.for_outcome)
        WHEN NEW.source = 'infrastructure' AND NEW.measure IS DISTINCT FROM 'revenue'
            THEN 'infrastructure cost is per agent hour: measure revenue holds the hours'
        WHEN NEW.source = 'survey' AND NEW.measure IS DISTINCT FROM 'survey'
            THEN 'the measure of source survey is survey'
        WHEN NEW.fraction IS NOT NULL AND NEW.source IN ('infrastructure', 'survey', 'eval_runs')
            THEN format('source %s has no percentile', NEW.source)
        WHEN NEW.source = 'rollups' AND NEW.measure IS NOT NULL
            THEN 'measure is of source facts; rollups have numerator and denominator'
        WHEN NEW.source = 'rollups' AND NEW.fraction IS NOT NULL
         AND (NEW.numerator IS NOT NULL OR NEW.denominator IS DISTINCT FROM ARRAY['latency'])
            THEN 'a percentile of rollups is of latency: denominator ARRAY[''latency''], numerator NULL'
        WHEN NEW.source = 'rollups' AND NEW.fraction IS NULL AND coalesce(cardinality(NEW.numerator), 0) = 0
            THEN 'it needs a numerator'
        WHEN NEW.source = 'rollups' AND NEW.fraction IS NULL AND 'latency' = ANY (NEW.numerator || NEW.denominator)
            THEN 'latency is no sum: it needs a fraction'
        WHEN NEW.source <> 'rollups' AND (NEW.numerator IS NOT NULL OR NEW.denominator IS NOT NULL)
            THEN 'only rollups have a numerator and a denominator of measures'
        WHEN NEW.source IN ('facts', 'infrastructure', 'survey') AND NOT coalesce(NEW.measure = ANY (facts), false)
            THEN format('its measure must be one of %s', array_to_string(facts, ', '))
        WHEN NEW.source = 'measurements' AND (coalesce(btrim(NEW.measure), '') = '' OR octet_length(NEW.measure) > 256)
            THEN 'its measure is what agent_metrics.measurements calls it, 256 bytes at most'
        WHEN NEW.source = 'measurements' AND NEW.measure = ANY (facts)
            THEN format('measure %s is kept by the extension itself: source facts', NEW.measure)
        WHEN NEW.source = 'measurements' AND (NEW.interval_method NOT IN ('weighted_wilson', 'delta',
                                                                          'order_statistics', 'none')
                                              OR NEW.is_sum AND NEW.interval_method <> 'none')
            THEN 'measurements have an interval by weighted_wilson (a share), delta (a mean or a ratio) or '
                 'order_statistics (a percentile); a sum has none'
        WHEN NEW.is_sum AND NEW.source <> 'measurements'
            THEN 'is_sum is of source measurements'
        WHEN NEW.fraction IS NOT NULL AND NEW.source = 'facts' AND NEW.measure <> 'resolutions'
            THEN 'a percentile of facts is of resolutions'
        WHEN (NEW.fraction IS NOT NULL) <> (NEW.interval_method = 'order_statistics') AND NEW.source <> 'drift'
            THEN 'a percentile, and nothing else, has an interval by order_statistics'
        WHEN NEW.interval_method = 'wilson' AND NEW.source = 'rollups' AND NOT EXISTS (
                SELECT 1 FROM agent_metrics_internal.measures() m
                LEFT JOIN agent_metrics_internal.measures() whole ON whole.measure = m.part_of
                WHERE NEW.numerator = ARRAY[m.measure] AND cardinality(NEW.denominator) = 1
                  AND NEW.denominator[1] IN (m.part_of, whole.part_of))
            THEN 'an interval by wilson is of a share: one measure that is a part of the other'
        WHEN NEW.interval_method = 'delta' AND NEW.source = 'rollups'
         AND agent_metrics_internal.delta_method(NEW.numerator, NEW.denominator) IS NULL
            THEN 'an interval by delta is of cost_usd / units, or of tokens_input and tokens_output / token_turns, '
                 'whose squares are kept'
        WHEN NEW.interval_method = 'wilson' AND NEW.source NOT IN ('rollups', 'eval_runs')
            THEN 'the rates of facts are weighted: interval_method weighted_wilson'
        WHEN NEW.interval_method IN ('weighted_wilson', 'newcombe') AND NEW.source <> 'facts'
         AND NOT (NEW.interval_method = 'weighted_wilson' AND NEW.source = 'measurements')
            THEN 'that interval is of facts'
        WHEN NEW.interval_method IN ('wilson', 'weighted_wilson') AND NEW.unit <> 'fraction'
            THEN 'the interval of a share is of unit fraction'
        WHEN (NEW.interval_method = 'difference') <> (NEW.source = 'survey')
            THEN 'interval_method difference is of source survey'
        END;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'metric "%" cannot be formed: %', NEW.metric, wrong
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Its source is %s, its interval_method %s.', NEW.source, NEW.interval_method),
                  HINT = 'The comments of agent_metrics.metrics say what each column means; '
                         'docs/recipes/add-a-metric.md has an example.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_metric() IS 'Refuses a metric that the views cannot be made from.';

-- The sums that the delta method needs of a ratio: n, sum x, sum y, sum xx, sum xy, sum yy. l is a row of sums.
CREATE FUNCTION agent_metrics_internal.delta_method(numerator text[], denominator text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN numerator = ARRAY['cost_usd'] AND denominator = ARRAY['units']
            THEN 'l.conversations, l.conversation_cost_usd, l.units, l.cost_usd_squared, l.unit_cost_usd, l.units'
            WHEN numerator = ARRAY['tokens_input', 'tokens_output'] AND denominator = ARRAY['token_turns']
            THEN 'l.conversations, l.tokens, l.token_turns, l.tokens_squared, l.tokens_by_turns, l.turns_squared' END;
COMMENT ON FUNCTION agent_metrics_internal.delta_method(text[], text[]) IS
    'The arguments of ratio_error() for a ratio of measures over conversations; NULL: its squares are not kept.';
