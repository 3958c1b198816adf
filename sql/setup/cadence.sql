-- When a cadence fires.

CREATE FUNCTION agent_metrics.check_cadence(cadence text, time_zone text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.check_cadence(text, text) IS
    'True, or an error that says what is wrong with a five-field crontab or its time zone.';

CREATE FUNCTION agent_metrics.next_due(cadence text, time_zone text, after timestamptz) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.next_due(text, text, timestamptz) IS
    'First moment after the given one at which the cadence fires.';
