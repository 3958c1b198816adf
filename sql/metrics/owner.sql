-- Versions of definitions; and what views read on behalf of a reader.

CREATE OR REPLACE FUNCTION agent_metrics_internal.version_definition() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    last record;  -- the last definition of a metric that was deleted
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.metric, OLD.definition, OLD.source, OLD.numerator, OLD.denominator, OLD.measure, OLD.fraction,
            OLD.is_sum, OLD.unit, OLD.direction)
           IS NOT DISTINCT FROM
           (NEW.metric, NEW.definition, NEW.source, NEW.numerator, NEW.denominator, NEW.measure, NEW.fraction,
            NEW.is_sum, NEW.unit, NEW.direction)
           AND NEW.definition_version = OLD.definition_version THEN
            RETURN NEW;
        END IF;
        NEW.definition_version := greatest(NEW.definition_version, OLD.definition_version + 1);
    ELSIF EXISTS (SELECT 1 FROM agent_metrics.metrics m WHERE m.metric = NEW.metric) THEN
        RETURN NEW;  -- the row is there: nothing is put in
    ELSE
        SELECT x.definition_version, x.definition INTO last
        FROM agent_metrics_internal.metric_definitions x WHERE x.metric = NEW.metric
        ORDER BY x.definition_version DESC LIMIT 1;
        IF last.definition = NEW.definition THEN
            NEW.definition_version := last.definition_version;
            RETURN NEW;
        END IF;
        NEW.definition_version := greatest(NEW.definition_version, last.definition_version + 1);
    END IF;
    INSERT INTO agent_metrics_internal.metric_definitions (metric, definition_version, effective_from, definition)
    VALUES (NEW.metric, NEW.definition_version,
            CASE WHEN NOT EXISTS (SELECT 1 FROM agent_metrics_internal.metric_definitions x WHERE x.metric = NEW.metric)
                 THEN '-infinity'
                 ELSE agent_metrics_internal.day_of(now(), agent_metrics_internal.report_time_zone()) END,
            NEW.definition)
    ON CONFLICT (metric, definition_version) DO UPDATE SET definition = excluded.definition;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.version_definition() IS
    'Trigger: a changed definition is a new version, kept with the day from which it holds.';
REVOKE ALL ON FUNCTION agent_metrics_internal.version_definition() FROM PUBLIC;

-- A figure of a metric or statistic that is misspelt would stand beside nothing.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_benchmark() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    known constant text[] := ARRAY['median', 'bottom_quartile', 'abandonment_line', 'range_low', 'range_high',
                                   'regulated_bar'];
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.metrics m WHERE m.metric = NEW.metric) THEN
        RAISE EXCEPTION 'a benchmark of unknown metric "%"', coalesce(NEW.metric, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'No row of agent_metrics.metrics has that name, so nothing could be held against it.',
                  HINT = 'SELECT metric FROM agent_metrics.metrics lists them.';
    ELSIF NEW.statistic IS NULL OR NEW.statistic <> ALL (known) THEN
        RAISE EXCEPTION 'unknown statistic "%" of a benchmark of %', coalesce(NEW.statistic, 'NULL'), NEW.metric
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('The statistics are %s.', array_to_string(known, ', ')),
                  HINT = 'Use one of them.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_benchmark() IS
    'Trigger: refuses a benchmark of a metric or a statistic that is not known.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_benchmark() FROM PUBLIC;

-- What the views ask of tables that their readers may not see, where a join would cost every question its planning.
-- Functions with the owner's rights, named kpi_*: grant_access() gives them to readers. days: 0 is an hour.
-- COST 1: few rows of a view call them, so the planner shall not count them for all, nor compile for them.

CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_span(day date, bucket timestamptz, days integer) RETURNS tstzrange
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    zone text;
BEGIN
    zone := agent_metrics_internal.report_time_zone();
    IF days = 0 THEN
        RETURN tstzrange(bucket, agent_metrics_internal.bucket_end(bucket, 'hour', zone));
    END IF;
    RETURN tstzrange(agent_metrics_internal.day_start(day, zone), agent_metrics_internal.day_start(day + days, zone));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_span(date, timestamptz, integer) IS
    'Span of so many report days, or of an hour.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_span(date, timestamptz, integer) FROM PUBLIC;

-- Where an agent's calendar begins. Clocks that start at nothing say 1970, or some other old day: turns before 2015
-- count when there are three such days in a year, from 1971 on, and so the calendar never has more than
-- some thousand days.
CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_first_day(agent_id text) RETURNS date
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    zone   text := agent_metrics_internal.report_time_zone();
    modern constant timestamptz := agent_metrics_internal.day_start('2015-01-01', zone);
    first  date;
BEGIN
    SELECT min(y.first_day) INTO first
    FROM (SELECT min(d.day) AS first_day
          FROM (SELECT agent_metrics_internal.day_of(r.bucket, zone) AS day
                FROM agent_metrics_internal.rollups r
                WHERE r.agent_id = $1 AND r.level = 'day'
                  AND r.bucket >= agent_metrics_internal.day_start('1971-01-01', zone) AND r.bucket < modern
                  AND (r.turns > 0 OR r.conversations > 0)) d
          GROUP BY extract(year FROM d.day)
          HAVING count(*) >= 3) y;
    RETURN coalesce(first, (SELECT agent_metrics_internal.day_of(r.bucket, zone) FROM agent_metrics_internal.rollups r
                            WHERE r.agent_id = $1 AND r.level = 'day' AND r.bucket >= modern
                            ORDER BY r.bucket LIMIT 1));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_first_day(text) IS
    'First day of an agent''s calendar: its first day from 2015 on, or before, of a year from 1971 on, '
    'in which three days have turns; NULL: it has none.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_first_day(text) FROM PUBLIC;

-- A line of one agent goes to its days by time. A shared line goes to the AI agents' hours within its period.
CREATE OR REPLACE FUNCTION agent_metrics.infrastructure_shares(
    agent_id text, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (cost_id text, occurred_at timestamptz, amount_usd numeric)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    zone text := agent_metrics_internal.report_time_zone();
BEGIN
    RETURN QUERY
    SELECT c.cost_id, greatest(c.period_start, $2),
           c.amount_usd * extract(epoch FROM least(c.period_end, $3) - greatest(c.period_start, $2))
           / extract(epoch FROM c.period_end - c.period_start)
    FROM agent_metrics.infrastructure_costs c
    WHERE c.agent_id = $1 AND c.period_start < $3 AND c.period_end > $2
    UNION ALL
    SELECT c.cost_id, greatest(c.period_start, $2), c.amount_usd * h.own / h.whole
    FROM agent_metrics.infrastructure_costs c
    CROSS JOIN LATERAL (
        -- a day that the period covers in part counts for that part of it
        SELECT sum(x.seconds * x.share) AS whole,
               sum(x.seconds * x.share) FILTER (WHERE x.agent_id = $1 AND x.bucket >= $2 AND x.bucket < $3) AS own
        FROM (SELECT d.agent_id, d.bucket, d.active_seconds AS seconds,
                     extract(epoch FROM least(c.period_end, n.ends) - greatest(c.period_start, d.bucket))
                     / extract(epoch FROM n.ends - d.bucket) AS share
              FROM agent_metrics.agents a
              JOIN agent_metrics_internal.active_days d
                ON d.agent_id = a.agent_id AND d.bucket > c.period_start - interval '3 days' AND d.bucket < c.period_end
              CROSS JOIN LATERAL (SELECT agent_metrics_internal.bucket_end(d.bucket, 'day', zone) AS ends) n
              WHERE a.actor = 'ai' AND n.ends > c.period_start) x) h
    WHERE c.agent_id IS NULL AND c.period_start < $3 AND c.period_end > $2 AND h.whole > 0 AND h.own > 0;
END
$function$;
COMMENT ON FUNCTION agent_metrics.infrastructure_shares(text, timestamptz, timestamptz) IS
    'What an agent bears of each line of infrastructure cost within whole report days. '
    'Internal: kpi_infrastructure_cost() and trace() use it.';
REVOKE ALL ON FUNCTION agent_metrics.infrastructure_shares(text, timestamptz, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_infrastructure_cost(agent_id text, day date, days integer)
RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    span tstzrange;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.infrastructure_costs) THEN
        RETURN NULL;
    END IF;
    span := agent_metrics_internal.kpi_span($2, NULL, $3);
    RETURN (SELECT sum(s.amount_usd) FROM agent_metrics.infrastructure_shares($1, lower(span), upper(span)) s);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_infrastructure_cost(text, date, integer) IS
    'Infrastructure cost that an agent bears on so many report days; NULL: no bill covers them.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_infrastructure_cost(text, date, integer) FROM PUBLIC;

-- NPS of the agent less that of its human baseline, over a common denominator: part is numerator, denominator or error
-- (standard error of the difference). NULL under 30 respondents on either side.
CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_nps(agent_id text, day date, days integer, part text)
RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    span tstzrange := agent_metrics_internal.kpi_span($2, NULL, $3);
    ours record;
    base record;
BEGIN
    SELECT sum(f.denominator) AS n, sum(f.numerator) AS x, sum(f.numerator_squared) AS xx INTO ours
    FROM agent_metrics.agents a JOIN agent_metrics_internal.fact_days f ON f.agent_id = a.agent_id
    WHERE a.agent_id = $1 AND a.actor = 'ai' AND f.measure = 'survey' AND f.bucket >= lower(span)
      AND f.bucket < upper(span);
    SELECT sum(f.denominator) AS n, sum(f.numerator) AS x, sum(f.numerator_squared) AS xx INTO base
    FROM agent_metrics.agents a
    JOIN agent_metrics.agents h ON h.agent_id = a.baseline_agent_id AND h.actor = 'human'
    JOIN agent_metrics_internal.fact_days f ON f.agent_id = h.agent_id
    WHERE a.agent_id = $1 AND f.measure = 'survey' AND f.bucket >= lower(span) AND f.bucket < upper(span);
    IF ours.n >= 30 AND base.n >= 30 THEN
        RETURN CASE $4 WHEN 'numerator' THEN ours.x * base.n - base.x * ours.n
                       WHEN 'denominator' THEN ours.n * base.n
                       WHEN 'error' THEN sqrt(agent_metrics_internal.nps_error(ours.n, ours.x, ours.xx) ^ 2
                                              + agent_metrics_internal.nps_error(base.n, base.x, base.xx) ^ 2) END;
    END IF;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_nps(text, date, integer, text) IS
    'NPS of an AI agent less that of its human baseline: numerator, denominator or standard error; '
    'NULL under 30 respondents on either side.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_nps(text, date, integer, text) FROM PUBLIC;

-- Runs over frozen eval sets are few and are never half there, so they are read as they are: part is passed or graded.
CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_eval(agent_id text, day date, days integer, part text)
RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    span tstzrange := agent_metrics_internal.kpi_span($2, NULL, $3);
BEGIN
    RETURN (SELECT CASE WHEN sum(c.graded) > 0 THEN CASE $4 WHEN 'passed' THEN sum(c.passed) ELSE sum(c.graded) END END
            FROM agent_metrics.eval_runs r
            CROSS JOIN LATERAL (
                SELECT count(x.is_passed) AS graded, count(*) FILTER (WHERE x.is_passed) AS passed
                FROM agent_metrics_internal.eval_case_results x WHERE x.agent_id = r.agent_id AND x.run_id = r.run_id) c
            WHERE r.agent_id = $1 AND r.run_at >= lower(span) AND r.run_at < upper(span));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_eval(text, date, integer, text) IS
    'Cases that passed, or were graded, in an agent''s eval runs on so many report days; NULL: none was graded.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_eval(text, date, integer, text) FROM PUBLIC;

-- The verdict on a percentile whose threshold lies within the sketch's error, from the values themselves: a rank's
-- value lies below a threshold exactly when enough values do. NULL: some of them are archived, and the sketch decides.
CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_exact_verdict(
    agent_id text, metric text, day date, bucket timestamptz, days integer, fraction double precision, direction text,
    threshold double precision)
RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER COST 1 SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    span  tstzrange := agent_metrics_internal.kpi_span($3, $4, $5);
    n     bigint;
    below bigint;  -- values at or below the threshold ('-'), or values below it ('+')
    asked record;
BEGIN
    -- Readers call this through the views, and could call it themselves: a threshold or an hour of their choice would
    -- tell them the single values.
    SELECT m.source, m.measure, m.fraction, m.direction INTO asked FROM agent_metrics.metrics m WHERE m.metric = $2;
    IF (asked.fraction, asked.direction) IS DISTINCT FROM ($6, $7)
       OR NOT EXISTS (SELECT 1 FROM agent_metrics.thresholds t WHERE t.agent_id = $1 AND t.metric = $2 AND t.value = $8)
       OR $5 = 0 AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.rollups r
                                 WHERE r.agent_id = $1 AND r.level = 'hour' AND r.bucket = $4) THEN
        RETURN NULL;
    END IF;
    IF asked.source = 'rollups' THEN
        IF EXISTS (SELECT 1 FROM agent_metrics_internal.archives a
                   WHERE a.is_counted AND tstzrange(a.from_time, a.to_time) && span) THEN
            RETURN NULL;
        END IF;
        SELECT count(*), count(*) FILTER (WHERE CASE $7 WHEN '-' THEN e.latency_ms <= $8 ELSE e.latency_ms < $8 END)
        INTO n, below
        FROM agent_metrics_internal.agent_watermarks w
        JOIN agent_metrics.agent_events e ON e.agent_id = w.agent_id
        WHERE w.agent_id = $1 AND e.occurred_at >= lower(span) AND e.occurred_at < upper(span) AND NOT e.is_eval
          AND e.latency_ms IS NOT NULL
          AND (pg_visible_in_snapshot(e.recorded_in, w.snapshot) OR e.recorded_in <= w.foreign_to);
    ELSIF asked.source = 'measurements' THEN
        SELECT count(*), count(*) FILTER (WHERE CASE $7 WHEN '-' THEN r.value <= $8 ELSE r.value < $8 END) INTO n, below
        FROM (SELECT array_agg(f.agent_id) AS agents, array_agg(f.conversation_id) AS ids
              FROM agent_metrics_internal.conversation_facts f
              WHERE f.agent_id = $1 AND f.measure = asked.measure AND f.bucket >= lower(span)
                AND f.bucket < upper(span)) f
        CROSS JOIN LATERAL agent_metrics_internal.fact_rows(f.agents, f.ids) r
        WHERE r.measure = asked.measure AND r.value IS NOT NULL AND r.occurred_at >= lower(span)
          AND r.occurred_at < upper(span);
    ELSE
        SELECT count(*), count(*) FILTER (WHERE CASE $7 WHEN '-' THEN f.value <= $8 ELSE f.value < $8 END) INTO n, below
        FROM agent_metrics_internal.conversation_facts f
        WHERE f.agent_id = $1 AND f.measure = asked.measure AND f.bucket >= lower(span) AND f.bucket < upper(span);
    END IF;
    RETURN CASE WHEN n = 0 THEN NULL
                WHEN $7 = '-' AND below >= agent_metrics_internal.rank_high(n, $6) THEN 'pass'
                WHEN $7 = '-' AND below < agent_metrics_internal.rank_low(n, $6) THEN 'breach'
                WHEN $7 = '+' AND below < agent_metrics_internal.rank_low(n, $6) THEN 'pass'
                WHEN $7 = '+' AND below >= agent_metrics_internal.rank_high(n, $6) THEN 'breach'
                ELSE 'inconclusive' END;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_exact_verdict(
    text, text, date, timestamptz, integer, double precision, text, double precision) IS
    'Verdict on a percentile from its values; NULL where some of them are archived.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_exact_verdict(
    text, text, date, timestamptz, integer, double precision, text, double precision) FROM PUBLIC;
