-- When a cadence fires.

CREATE FUNCTION agent_metrics.check_cadence(cadence text, time_zone text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.check_cadence(text, text) IS
    'True, or an error that says what is wrong with a five-field crontab or its time zone.';

CREATE FUNCTION agent_metrics.next_due(cadence text, time_zone text, after timestamptz) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.next_due(text, text, timestamptz) IS
    'First moment after the given one at which the cadence fires.';

-- What was written while triggers were off, or is from other time zone data, stops every question about who is due.
CREATE FUNCTION agent_metrics_internal.cadence_problem(cadence text, time_zone text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    PERFORM agent_metrics.check_cadence(cadence, time_zone);
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.cadence_problem(text, text) IS
    'What is wrong with a cadence or its time zone; NULL: nothing. agent-metrics doctor asks it.';
