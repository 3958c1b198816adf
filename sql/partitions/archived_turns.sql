-- Archived turns count by what they add up to: read here beside the turns that are still in the database.

-- Turn measures per finest bucket, of live and archived turns. A window with last_snapshot asks for what arrived since,
-- and no archived turn did.
CREATE FUNCTION agent_metrics_internal.compute_turns(
    agent_ids text[], from_times timestamptz[], to_times timestamptz[], last_snapshot pg_snapshot[],
    current_snapshot pg_snapshot[], foreign_to xid8[], bucket_seconds integer[], time_zone text, since xid8)
RETURNS SETOF agent_metrics_internal.rollup_delta
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics_internal.archives)
       OR NOT EXISTS (SELECT 1 FROM unnest(compute_turns.last_snapshot) AS w (snapshot) WHERE w.snapshot IS NULL) THEN
        RETURN QUERY SELECT *
                     FROM agent_metrics_internal.compute_live_turns(agent_ids, from_times, to_times, last_snapshot,
            current_snapshot, foreign_to, bucket_seconds, time_zone, since);
        RETURN;
    END IF;
    RETURN QUERY
    SELECT t.agent_id, t.bucket, sum(t.turns)::bigint, sum(t.token_turns)::bigint, sum(t.tokens_input)::bigint,
           sum(t.tokens_output)::bigint, sum(t.cost_turns)::bigint, sum(t.tool_calls)::bigint,
           sum(t.error_turns)::bigint, sum(t.cost_usd), agent_metrics.merge(t.latency), 0::bigint, 0::bigint, 0::bigint,
           0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::numeric, 0::numeric, 0::numeric,
           0::numeric, 0::numeric, 0::numeric, 0::bigint, 0::bigint
    FROM (SELECT l.agent_id, l.bucket, l.turns, l.token_turns, l.tokens_input, l.tokens_output, l.cost_turns,
                 l.tool_calls, l.error_turns, l.cost_usd, l.latency
          FROM agent_metrics_internal.compute_live_turns(agent_ids, from_times, to_times, last_snapshot,
              current_snapshot, foreign_to, bucket_seconds, time_zone, since) l
          UNION ALL
          SELECT b.agent_id, agent_metrics_internal.finest_bucket(b.bucket, w.bucket_seconds, compute_turns.time_zone),
                 b.turns, b.token_turns, b.tokens_input, b.tokens_output, b.cost_turns, b.tool_calls,
                 b.error_turns, b.cost_usd, b.latency
          FROM unnest(compute_turns.agent_ids, compute_turns.from_times, compute_turns.to_times,
                      compute_turns.last_snapshot, compute_turns.bucket_seconds)
                   AS w (agent_id, from_time, to_time, last_snapshot, bucket_seconds)
          JOIN agent_metrics_internal.archived_buckets b ON b.agent_id = w.agent_id AND b.bucket >= w.from_time
           AND b.bucket < w.to_time
          JOIN agent_metrics_internal.archives a ON a.archive_id = b.archive_id AND a.is_counted
          WHERE w.last_snapshot IS NULL) t
    GROUP BY t.agent_id, t.bucket;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compute_turns(
    text[], timestamptz[], timestamptz[], pg_snapshot[], pg_snapshot[], xid8[], integer[], text, xid8) IS
    'Turn measures per finest bucket over windows of agent, time and snapshots, archived turns included. '
    'Internal: refresh() and verify() use it.';
