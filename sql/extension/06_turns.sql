-- What the turns of a bucket add up to: the one definition, used by refresh() and by verify() by way of compute_turns().

-- A window is an agent, a span of time and two snapshots: turns recorded after `after` and up to `present` count.
-- `after` is NULL for all turns up to `present`. Ids up to `foreign_to` came from another cluster: they count
-- whatever the present snapshot says of their number.
CREATE FUNCTION agent_metrics.compute_live_turns(
    agent_ids text[], from_times timestamptz[], to_times timestamptz[], after pg_snapshot[], present pg_snapshot[],
    foreign_to xid8[], bucket_seconds integer[], time_zone text, since xid8)
RETURNS TABLE (
    agent_id text, bucket timestamptz, turns bigint, token_turns bigint, tokens_input bigint, tokens_output bigint,
    cost_turns bigint, tool_calls bigint, error_turns bigint, cost_usd numeric, latency agent_metrics.quantile_sketch)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT e.agent_id,
           CASE w.bucket_seconds WHEN 300 THEN date_bin('5 minutes', e.occurred_at, '2000-01-01 00:00:00+00')
                                 ELSE date_trunc('hour', e.occurred_at, compute_live_turns.time_zone) END AS fine,
           count(*), count(coalesce(e.token_usage_input, e.token_usage_output)),
           coalesce(sum(e.token_usage_input), 0)::bigint, coalesce(sum(e.token_usage_output), 0)::bigint,
           count(e.cost_usd), coalesce(sum(jsonb_array_length(e.tools_called)), 0), count(e.error),
           coalesce(sum(e.cost_usd), 0), agent_metrics.quantile_sketch(e.latency_ms)
    FROM unnest(compute_live_turns.agent_ids, compute_live_turns.from_times, compute_live_turns.to_times, compute_live_turns.after,
                compute_live_turns.present, compute_live_turns.foreign_to, compute_live_turns.bucket_seconds)
             AS w (agent_id, from_time, to_time, after, present, foreign_to, bucket_seconds)
    JOIN agent_metrics.agent_events e
      ON e.agent_id = w.agent_id AND e.occurred_at >= w.from_time AND e.occurred_at < w.to_time
    WHERE e.recorded_in >= compute_live_turns.since
      AND NOT e.is_eval
      AND (pg_visible_in_snapshot(e.recorded_in, w.present) OR (w.after IS NULL AND e.recorded_in <= w.foreign_to))
      AND (w.after IS NULL OR NOT pg_visible_in_snapshot(e.recorded_in, w.after))
    GROUP BY e.agent_id, fine;
END
$function$;
COMMENT ON FUNCTION agent_metrics.compute_live_turns(text[], timestamptz[], timestamptz[], pg_snapshot[], pg_snapshot[], xid8[], integer[], text, xid8) IS
    'Turn measures per finest bucket over windows of agent, time and snapshots. Internal: compute_turns() adds what was archived.';
