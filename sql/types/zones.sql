-- Where hours and days begin and end, by the clock of a zone: the one source for the refresh, verify() and every view,
-- from the server's own time zone database. date_trunc() and AT TIME ZONE ask the same database, but take a date and a
-- clock time for a moment: a day without midnight, an hour in which the clock is set, have none there.

CREATE FUNCTION agent_metrics_internal.bucket_start(at timestamptz, level text, time_zone text) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.bucket_start(timestamptz, text, text) IS
    'First moment of the bucket that a moment lies in. level: day (begins with its date on the zone''s clock, '
    'at whatever hour), hour (begins at a whole hour, and where the clock is set), fine (five minutes of an hour).';

CREATE FUNCTION agent_metrics_internal.bucket_end(at timestamptz, level text, time_zone text) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.bucket_end(timestamptz, text, text) IS
    'First moment after the bucket that a moment lies in, which is where the next one begins. '
    'Levels as in bucket_start().';

CREATE FUNCTION agent_metrics_internal.day_of(at timestamptz, time_zone text) RETURNS date
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.day_of(timestamptz, text) IS
    'Day that a moment lies in: the date on the zone''s clock, or the one before it was set back over midnight.';

CREATE FUNCTION agent_metrics_internal.day_start(day date, time_zone text) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.day_start(date, text) IS
    'First moment of a day on the zone''s clock; of a day that the clock skips, of the next.';
