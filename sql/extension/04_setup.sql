-- Versions, cadence and setup().

CREATE FUNCTION agent_metrics.version() RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'library_version';
COMMENT ON FUNCTION agent_metrics.version() IS 'Version of the library that the server has loaded.';

CREATE FUNCTION agent_metrics.new_event_id() RETURNS uuid
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.new_event_id() IS 'A new uuid of version 7, whose order is that of its making.';

CREATE FUNCTION agent_metrics.check_cadence(cadence text, time_zone text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.check_cadence(text, text) IS 'True, or an error that says what is wrong with a five-field crontab or its time zone.';

CREATE FUNCTION agent_metrics.next_due(cadence text, time_zone text, after timestamptz) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.next_due(text, text, timestamptz) IS 'First moment after the given one at which the cadence fires.';

-- One function that divides, so that "no denominator" is NULL everywhere.
CREATE FUNCTION agent_metrics.ratio(numerator numeric, denominator numeric) RETURNS double precision
    -- not STRICT, so that the planner puts the expression in its place
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (numerator / nullif(denominator, 0))::double precision;
COMMENT ON FUNCTION agent_metrics.ratio(numeric, numeric) IS 'Numerator / denominator as double precision; NULL where the denominator is 0 or NULL.';

CREATE FUNCTION agent_metrics.migration_script(number integer) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.migration_script(integer) IS 'Text of a numbered migration that setup() runs; NULL after the last.';
CREATE FUNCTION agent_metrics.view_script(number integer) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.view_script(integer) IS 'Text of a numbered script of views that setup() runs; NULL after the last.';

-- Tables belong to whoever calls setup(), not to the extension: a dump is plain, DROP EXTENSION without CASCADE
-- refuses instead of dropping the data, and a user who is not superuser owns his rows.
CREATE FUNCTION agent_metrics.setup() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $function$
DECLARE
    installed text := (SELECT extversion FROM pg_extension WHERE extname = 'agent_metrics');
    last      integer;
    number    integer;
    script    text;
    made      integer := 0;
BEGIN
    IF agent_metrics.version() <> installed THEN
        RAISE EXCEPTION 'library % and extension % of agent_metrics differ', agent_metrics.version(), installed
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'The files of one version were installed, the objects of another are in this database.',
                  HINT = 'Run ALTER EXTENSION agent_metrics UPDATE in a new session, then setup() again.';
    END IF;
    -- Two calls at once: the second waits here and then finds nothing left to do.
    PERFORM pg_advisory_xact_lock(hashtext('agent_metrics.setup'));
    IF to_regclass('agent_metrics.migrations') IS NULL THEN
        CREATE TABLE agent_metrics.migrations (
            number     integer PRIMARY KEY,
            applied_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON TABLE agent_metrics.migrations IS 'Migrations that setup() has applied.';
        COMMENT ON COLUMN agent_metrics.migrations.number IS 'Number of the migration.';
        COMMENT ON COLUMN agent_metrics.migrations.applied_at IS 'When it was applied.';
        CREATE SCHEMA IF NOT EXISTS agent_kpi;
        COMMENT ON SCHEMA agent_kpi IS 'Views for BI tools: the performance of AI agents. Nothing else is in here.';
    END IF;
    SELECT coalesce(max(m.number), 0) INTO last FROM agent_metrics.migrations m;
    number := last + 1;
    LOOP
        script := agent_metrics.migration_script(number);
        EXIT WHEN script IS NULL;
        EXECUTE script;
        INSERT INTO agent_metrics.migrations (number) VALUES (number);
        made := made + 1;
        number := number + 1;
    END LOOP;
    number := 1;
    LOOP
        script := agent_metrics.view_script(number);
        EXIT WHEN script IS NULL;
        EXECUTE script;
        number := number + 1;
    END LOOP;
    PERFORM agent_metrics.ensure_partitions();
    RETURN format('agent_metrics %s is set up: %s migrations applied now, %s in all', installed, made, last + made);
END
$function$;
COMMENT ON FUNCTION agent_metrics.setup() IS
    'Makes the tables, views and shipped rows, owned by the caller, or brings them up to date. Called again it changes nothing and keeps every edit.';

-- Standard error of a ratio sum(x)/sum(y) over n independent pairs, by the delta method (Cochran 1977, 6.3):
-- sqrt(n/(n-1) * sum((x - Ry)^2)) / sum(y), with the sum of squares taken apart into stored sums.
CREATE FUNCTION agent_metrics.ratio_error(n numeric, x numeric, y numeric, xx numeric, xy numeric, yy numeric) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN n > 1 AND y > 0 THEN
        sqrt(greatest(n / (n - 1) * (xx - 2 * (x / y) * xy + (x / y) * (x / y) * yy), 0)::double precision) / y::double precision END;
COMMENT ON FUNCTION agent_metrics.ratio_error(numeric, numeric, numeric, numeric, numeric, numeric) IS
    'Standard error of sum(x)/sum(y) over n pairs, from n and the sums of x, y, x*x, x*y, y*y; NULL under two pairs or without y.';
