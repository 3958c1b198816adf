-- What a view asks of turns, which its readers may not see.

-- Turns are read raw here, of agents and dimensions that had turns in (other).
CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_untracked_segments()
RETURNS TABLE (agent_id text, dimension text, segment text, turns bigint, first_seen timestamptz,
               last_seen timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 100 SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT d.dimension,
               coalesce(d.reads, format('(SELECT v.segments ->> %L FROM agent_metrics_internal.conversation_segments v
                                          WHERE v.agent_id = e.agent_id AND v.conversation_id = e.conversation_id)',
                                        d.dimension)) AS reads,
               s.agents
        FROM agent_metrics_internal.active_dimensions() d
        CROSS JOIN LATERAL (SELECT array_agg(DISTINCT s.agent_id) AS agents
                            FROM agent_metrics_internal.segment_days s
                            WHERE s.dimension = d.dimension AND s.segment = '(other)' AND s.turns > 0
                              AND s.bucket >= now() - interval '31 days') s
        WHERE s.agents IS NOT NULL
    LOOP
        RETURN QUERY EXECUTE format($query$
            SELECT x.agent_id, %1$L, x.segment, x.turns, x.first_seen, x.last_seen
            FROM (SELECT s.agent_id, s.segment, count(*) AS turns, min(s.occurred_at) AS first_seen,
                         max(s.occurred_at) AS last_seen,
                         row_number() OVER (PARTITION BY s.agent_id ORDER BY count(*) DESC, s.segment) AS place
                  FROM (SELECT e.agent_id, e.occurred_at, agent_metrics_internal.segment_name(%2$s) AS segment
                        FROM agent_metrics.agent_events e
                        WHERE e.agent_id = ANY ($1) AND e.occurred_at >= now() - interval '30 days' AND NOT e.is_eval) s
                  WHERE s.segment <> '(none)'
                    AND NOT EXISTS (SELECT 1 FROM agent_metrics.dimension_segments f
                                    WHERE f.agent_id = s.agent_id AND f.dimension = %1$L AND f.segment = s.segment)
                  GROUP BY s.agent_id, s.segment) x
            WHERE x.place <= 100$query$, one.dimension, one.reads) USING one.agents;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_untracked_segments() IS
    'Values that are counted in the segment (other). Internal: agent_kpi.untracked_segments is made of it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_untracked_segments() FROM PUBLIC;
