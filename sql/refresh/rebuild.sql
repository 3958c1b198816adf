-- rebuild: the rollups of a span of time, computed again from the facts.

-- Conversation and lead measures are kept by difference, so a wrong one would stay wrong: the rows of the span and what
-- they added are taken out, and the refresh that follows adds them again. Whole report days, so that every bucket is
-- whole.
CREATE FUNCTION agent_metrics.rebuild(
    agent_id text DEFAULT NULL, from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL)
RETURNS SETOF agent_metrics.refresh_result
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET client_min_messages = warning AS $function$
#variable_conflict use_column
DECLARE
    zone   text := agent_metrics_internal.report_time_zone();
    begun  timestamptz := greatest(
        agent_metrics_internal.bucket_start($2, 'day', zone),
        agent_metrics_internal.bucket_start(agent_metrics_internal.first_moment(), 'day', zone));
    ended  timestamptz := least(agent_metrics_internal.bucket_start($3, 'day', zone),
                                agent_metrics_internal.end_of_moments());
    agents text[] := ARRAY(SELECT a.agent_id
                           FROM agent_metrics.agents a WHERE $1 IS NULL OR a.agent_id = $1 ORDER BY a.agent_id);
BEGIN
    IF $1 IS NOT NULL THEN
        PERFORM agent_metrics_internal.check_registered($1);
    END IF;
    PERFORM agent_metrics_internal.check_span($2, $3);
    IF ended < $3 THEN
        ended := agent_metrics_internal.bucket_end(ended, 'day', zone);
    END IF;
    -- First what has changed, since a conversation that is gone takes its lead along only while its row tells which.
    -- The agents' locks are held from here on.
    PERFORM FROM agent_metrics_internal.refresh_agents(agents);
    DELETE FROM agent_metrics.conversations c
    WHERE c.agent_id = ANY (agents) AND c.started_at >= begun AND c.started_at < ended;
    DELETE FROM agent_metrics_internal.leads l
    WHERE l.agent_id = ANY (agents) AND l.started_at >= begun AND l.started_at < ended;
    DELETE FROM agent_metrics_internal.rollups r
    WHERE r.agent_id = ANY (agents) AND r.bucket >= begun AND r.bucket < ended;
    DELETE FROM agent_metrics_internal.fact_sums f
    WHERE f.agent_id = ANY (agents) AND f.bucket >= begun AND f.bucket < ended;
    INSERT INTO agent_metrics_internal.stale_ranges (agent_id, from_time, to_time)
    SELECT u.id, begun, ended FROM unnest(agents) AS u (id) ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT * FROM agent_metrics_internal.refresh_agents(agents);
    PERFORM agent_metrics_internal.rebuild_fact_sums(agents, begun, ended, zone);
    PERFORM agent_metrics_internal.build_segments(ARRAY[w.agent_id], w.snapshot, zone, begun, ended)
    FROM agent_metrics_internal.agent_watermarks w
    WHERE w.agent_id = ANY (agents) AND EXISTS (SELECT 1 FROM agent_metrics_internal.segment_builds b
                                                WHERE b.agent_id = w.agent_id);
END
$function$;
COMMENT ON FUNCTION agent_metrics.rebuild(text, timestamptz, timestamptz) IS
    'Computes the rollups of one agent, or of all when NULL, over whole report days again from the facts, '
    'in one transaction. NULL: from the beginning, or to the end. agent-metrics rebuild goes day by day.';

-- Report days that hold anything of an agent, and how many turns each: what agent-metrics rebuild goes through.
CREATE FUNCTION agent_metrics_internal.days_to_rebuild(
    agent_id text, from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL)
RETURNS TABLE (begins timestamptz, ends timestamptz, turns bigint)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    zone text := agent_metrics_internal.report_time_zone();
BEGIN
    PERFORM agent_metrics_internal.check_span($2, $3);
    RETURN QUERY
    SELECT d.day, agent_metrics_internal.bucket_end(d.day, 'day', zone), sum(d.turns)::bigint
    FROM (SELECT agent_metrics_internal.bucket_start(e.occurred_at, 'day', zone) AS day, count(*) AS turns
          FROM agent_metrics.agent_events e
          WHERE e.agent_id = $1 AND NOT e.is_eval
            AND e.occurred_at >= agent_metrics_internal.first_moment()
            AND e.occurred_at < agent_metrics_internal.end_of_moments()
            AND ($2 IS NULL OR e.occurred_at >= agent_metrics_internal.bucket_start($2, 'day', zone))
            AND ($3 IS NULL OR e.occurred_at < $3)
          GROUP BY 1
          UNION ALL
          SELECT agent_metrics_internal.bucket_start(b.bucket, 'day', zone), sum(b.turns)
          FROM agent_metrics_internal.archived_buckets b
          WHERE b.agent_id = $1 AND ($2 IS NULL OR b.bucket >= agent_metrics_internal.bucket_start($2, 'day', zone))
            AND ($3 IS NULL OR b.bucket < $3)
          GROUP BY 1
          UNION ALL
          SELECT r.bucket, 0
          FROM agent_metrics_internal.rollups r
          WHERE r.agent_id = $1 AND r.level = 'day'
            AND ($2 IS NULL OR r.bucket >= agent_metrics_internal.bucket_start($2, 'day', zone))
            AND ($3 IS NULL OR r.bucket < $3)) d
    GROUP BY d.day
    ORDER BY d.day;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.days_to_rebuild(text, timestamptz, timestamptz) IS
    'Report days on which an agent has turns or rollups, and the turns of each. '
    'Internal: agent-metrics rebuild uses it.';
