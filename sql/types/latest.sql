-- latest(value, at, position, id) and earliest(...): the value of the row that came last, or first. At the same time
-- the higher position decides, NULL being the lowest, then the higher id. A NULL value or time is skipped.

CREATE FUNCTION agent_metrics_internal.latest_accumulate(internal, text, timestamptz, integer, text) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.latest_accumulate(internal, text, timestamptz, integer, text) IS
    'Step of latest().';

CREATE FUNCTION agent_metrics_internal.earliest_accumulate(internal, text, timestamptz, integer, text) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.earliest_accumulate(internal, text, timestamptz, integer, text) IS
    'Step of earliest().';

CREATE FUNCTION agent_metrics_internal.latest_final(internal) RETURNS text
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.latest_final(internal) IS 'Result of latest() and earliest().';

CREATE AGGREGATE agent_metrics_internal.latest(value text, at timestamptz, "position" integer, id text) (
    SFUNC = agent_metrics_internal.latest_accumulate, STYPE = internal, SSPACE = 128,
    FINALFUNC = agent_metrics_internal.latest_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE agent_metrics_internal.latest(text, timestamptz, integer, text) IS
    'Value of the row that came last: by time, then position (NULL lowest), then id.';

CREATE AGGREGATE agent_metrics_internal.earliest(value text, at timestamptz, "position" integer, id text) (
    SFUNC = agent_metrics_internal.earliest_accumulate, STYPE = internal, SSPACE = 128,
    FINALFUNC = agent_metrics_internal.latest_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE agent_metrics_internal.earliest(text, timestamptz, integer, text) IS
    'Value of the row that came first: by time, then position (NULL lowest), then id.';
