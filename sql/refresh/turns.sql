-- What the turns of a bucket add up to: the one definition, used by refresh() and by verify() by
-- way of compute_turns().

-- What is added to one finest bucket: by turns, by conversations, by leads. A measure that is NULL adds nothing.
DO $do$
BEGIN
    EXECUTE format('CREATE TYPE agent_metrics_internal.rollup_delta AS (agent_id text, bucket timestamptz, %s)',
                   agent_metrics_internal.measure_list('%1$I %2$s'));
    PERFORM agent_metrics_internal.describe_measures('rollup_delta');
END
$do$;
COMMENT ON TYPE agent_metrics_internal.rollup_delta IS 'What is added to one bucket of a rollup.';
COMMENT ON COLUMN agent_metrics_internal.rollup_delta.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.rollup_delta.bucket IS 'Start of the bucket.';

-- A sum for each of the measures sets up as many states for each bucket, most of which see one row: that costs more
-- than writing the bucket. One state does.
CREATE FUNCTION agent_metrics_internal.delta_sums_accumulate(internal, agent_metrics_internal.rollup_delta, timestamptz)
RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.delta_sums_accumulate(
    internal, agent_metrics_internal.rollup_delta, timestamptz) IS
    'Step of sum_deltas().';

CREATE FUNCTION agent_metrics_internal.delta_sums_final(internal) RETURNS agent_metrics_internal.rollup_delta
LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.delta_sums_final(internal) IS 'Result of sum_deltas().';

CREATE AGGREGATE agent_metrics_internal.sum_deltas(delta agent_metrics_internal.rollup_delta, bucket timestamptz) (
    SFUNC = agent_metrics_internal.delta_sums_accumulate, STYPE = internal, SSPACE = 1024,
    FINALFUNC = agent_metrics_internal.delta_sums_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE agent_metrics_internal.sum_deltas(agent_metrics_internal.rollup_delta, timestamptz) IS
    'Deltas as one, of the bucket that is named; group by agent and bucket. Internal: refresh() uses it.';

-- A window is an agent, a span of time and two snapshots. A turn counts when current_snapshot sees it and last_snapshot
-- does not. Where last_snapshot is NULL, every turn counts that current_snapshot sees. Ids up to foreign_to came from
-- another cluster: their turns count whatever a snapshot says of their number.
CREATE FUNCTION agent_metrics_internal.compute_live_turns(
    agent_ids text[], from_times timestamptz[], to_times timestamptz[], last_snapshot pg_snapshot[],
    current_snapshot pg_snapshot[], foreign_to xid8[], bucket_seconds integer[], time_zone text, since xid8)
RETURNS SETOF agent_metrics_internal.rollup_delta
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_sort = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT e.agent_id,
           agent_metrics_internal.finest_bucket(e.occurred_at, w.bucket_seconds, compute_live_turns.time_zone) AS fine,
           count(*), count(coalesce(agent_metrics_internal.possible_tokens(e.token_usage_input),
                                    agent_metrics_internal.possible_tokens(e.token_usage_output))),
           coalesce(sum(agent_metrics_internal.possible_tokens(e.token_usage_input)), 0)::bigint,
           coalesce(sum(agent_metrics_internal.possible_tokens(e.token_usage_output)), 0)::bigint,
           count(agent_metrics_internal.possible_cost(e.cost_usd)),
           coalesce(sum(agent_metrics_internal.tool_count(e.tools_called)), 0)::bigint, count(e.error),
           coalesce(sum(agent_metrics_internal.possible_cost(e.cost_usd)), 0),
           agent_metrics.quantile_sketch(agent_metrics_internal.possible_latency(e.latency_ms)), 0::bigint, 0::bigint,
           0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::numeric, 0::numeric,
           0::numeric, 0::numeric, 0::numeric, 0::numeric, 0::bigint, 0::bigint
    FROM unnest(compute_live_turns.agent_ids, compute_live_turns.from_times, compute_live_turns.to_times,
                compute_live_turns.last_snapshot, compute_live_turns.current_snapshot, compute_live_turns.foreign_to,
                compute_live_turns.bucket_seconds)
             AS w (agent_id, from_time, to_time, last_snapshot, current_snapshot, foreign_to, bucket_seconds)
    JOIN agent_metrics.agent_events e
      ON e.agent_id = w.agent_id AND e.occurred_at >= w.from_time AND e.occurred_at < w.to_time
     AND e.occurred_at >= agent_metrics_internal.first_moment()
     AND e.occurred_at < agent_metrics_internal.end_of_moments()
    WHERE e.recorded_in >= compute_live_turns.since
      AND NOT e.is_eval
      AND (pg_visible_in_snapshot(e.recorded_in, w.current_snapshot)
           OR (w.last_snapshot IS NULL AND e.recorded_in <= w.foreign_to))
      AND (w.last_snapshot IS NULL OR NOT pg_visible_in_snapshot(e.recorded_in, w.last_snapshot))
    GROUP BY e.agent_id, fine;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compute_live_turns(
    text[], timestamptz[], timestamptz[], pg_snapshot[], pg_snapshot[], xid8[], integer[], text, xid8) IS
    'Turn measures per finest bucket over windows of agent, time and snapshots. '
    'Internal: compute_turns() adds what was archived.';

-- What has just arrived is added up in one pass, by conversation, by bucket and by the half hours in which an agent was
-- active. It says what sum_conversations(), compute_live_turns() and compute_spans() say; verify() holds them together.

CREATE TYPE agent_metrics_internal.active_span AS (
    agent_id text, from_time timestamptz, to_time timestamptz, longest interval);
COMMENT ON TYPE agent_metrics_internal.active_span IS
    'Turns of an agent one after another, drawn out by the 30 minutes that bridge a gap; see activity.sql.';
COMMENT ON COLUMN agent_metrics_internal.active_span.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.active_span.from_time IS 'Begin of the first turn.';
COMMENT ON COLUMN agent_metrics_internal.active_span.to_time IS 'End of the turn that ended last, and 30 minutes.';
COMMENT ON COLUMN agent_metrics_internal.active_span.longest IS 'How long the longest turn lasted.';

CREATE TYPE agent_metrics_internal.turn_sums AS (
    conversations agent_metrics_internal.conversation_sums[], buckets agent_metrics_internal.rollup_delta[],
    spans agent_metrics_internal.active_span[]);
COMMENT ON TYPE agent_metrics_internal.turn_sums IS 'What turns add up to.';
COMMENT ON COLUMN agent_metrics_internal.turn_sums.conversations IS 'By conversation.';
COMMENT ON COLUMN agent_metrics_internal.turn_sums.buckets IS
    'By finest bucket: the measures of turns, without those that are foreign.';
COMMENT ON COLUMN agent_metrics_internal.turn_sums.spans IS 'By time: when the agents were active.';

CREATE FUNCTION agent_metrics_internal.turn_sums_accumulate(
    internal, text, integer, text, text, timestamptz, text, text, text, integer, uuid, text, bigint, bigint, numeric,
    double precision, jsonb, boolean, boolean) RETURNS internal
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.turn_sums_accumulate(
    internal, text, integer, text, text, timestamptz, text, text, text, integer, uuid, text, bigint, bigint, numeric,
    double precision, jsonb, boolean, boolean) IS 'Step of sum_turns().';

CREATE FUNCTION agent_metrics_internal.turn_sums_final(internal) RETURNS agent_metrics_internal.turn_sums
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.turn_sums_final(internal) IS 'Result of sum_turns().';

CREATE AGGREGATE agent_metrics_internal.sum_turns(
    agent_id text, bucket_seconds integer, time_zone text, conversation_id text, occurred_at timestamptz, user_id text,
    outcome_label text, outcome_source text, turn_index integer, event_id uuid, business_event_id text,
    token_usage_input bigint, token_usage_output bigint, cost_usd numeric,
    latency_ms double precision, tools_called jsonb, has_error boolean, is_foreign boolean) (
    SFUNC = agent_metrics_internal.turn_sums_accumulate, STYPE = internal, SSPACE = 1048576,
    FINALFUNC = agent_metrics_internal.turn_sums_final, PARALLEL = SAFE);
COMMENT ON AGGREGATE agent_metrics_internal.sum_turns(
    text, integer, text, text, timestamptz, text, text, text, integer, uuid, text, bigint, bigint, numeric,
    double precision, jsonb, boolean, boolean) IS
    'What turns add up to, by conversation, by finest bucket and by time, in one pass. Internal: refresh() uses it.';
