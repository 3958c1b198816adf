-- Turns that are in the table and in no rollup, whatever their stamps say: what was loaded while triggers were off, or
-- by whoever switched them off. verify() finds them too, at the price of computing everything again; this only counts.

CREATE FUNCTION agent_metrics_internal.uncounted_turns()
RETURNS TABLE (agent_id text, first_at timestamptz, last_at timestamptz, turns bigint, counted bigint, reason text)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    zone    text := agent_metrics_internal.report_time_zone();
    unbuilt text[] := agent_metrics_internal.must_build(
        ARRAY(SELECT w.agent_id FROM agent_metrics_internal.agent_watermarks w), zone);
    wrong   text[];
BEGIN
    PERFORM agent_metrics_internal.check_row_security();
    -- Agent by agent first; only where the sums differ day by day. What waits for a refresh is left out.
    wrong := ARRAY(
        SELECT w.agent_id
        FROM agent_metrics_internal.agent_watermarks w
        LEFT JOIN (SELECT e.agent_id, count(*) AS turns
                   FROM agent_metrics.agent_events e
                   JOIN agent_metrics_internal.agent_watermarks x ON x.agent_id = e.agent_id
                   WHERE NOT e.is_eval
                     AND (pg_visible_in_snapshot(e.recorded_in, x.snapshot) OR e.recorded_in <= x.foreign_to)
                     AND e.occurred_at >= agent_metrics_internal.first_moment()
                     AND e.occurred_at < agent_metrics_internal.end_of_moments()
                   GROUP BY e.agent_id) l ON l.agent_id = w.agent_id
        LEFT JOIN (SELECT b.agent_id, sum(b.turns) AS turns
                   FROM agent_metrics_internal.archived_buckets b
                   JOIN agent_metrics_internal.archives a ON a.archive_id = b.archive_id AND a.is_counted
                   GROUP BY b.agent_id) o ON o.agent_id = w.agent_id
        LEFT JOIN (SELECT r.agent_id, sum(r.turns) AS turns FROM agent_metrics_internal.rollups r
                   WHERE r.level = 'day' GROUP BY r.agent_id) c ON c.agent_id = w.agent_id
        WHERE w.snapshot IS NOT NULL AND w.agent_id <> ALL (unbuilt)
          AND coalesce(l.turns, 0) + coalesce(o.turns, 0) <> coalesce(c.turns, 0)
          AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.stale_ranges s WHERE s.agent_id = w.agent_id)
          AND NOT EXISTS (SELECT 1
                          FROM agent_metrics_internal.changes h WHERE h.agent_id = w.agent_id AND h.measures_changed)
          AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.changed_ranges()));
    RETURN QUERY
    SELECT d.agent_id, min(d.day), max(d.next_day), sum(d.turns)::bigint, sum(d.counted)::bigint,
           'their stamps were not put there by the trigger'
    FROM (SELECT x.agent_id, x.day, agent_metrics_internal.bucket_end(x.day, 'day', zone) AS next_day,
                 sum(x.turns) AS turns, sum(x.counted) AS counted
          FROM (SELECT e.agent_id, agent_metrics_internal.bucket_start(e.occurred_at, 'day', zone) AS day,
                       1 AS turns, 0 AS counted
                FROM agent_metrics.agent_events e
                JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = e.agent_id
                WHERE e.agent_id = ANY (wrong) AND NOT e.is_eval
                  AND (pg_visible_in_snapshot(e.recorded_in, w.snapshot) OR e.recorded_in <= w.foreign_to)
                  AND e.occurred_at >= agent_metrics_internal.first_moment()
                  AND e.occurred_at < agent_metrics_internal.end_of_moments()
                UNION ALL
                SELECT b.agent_id, agent_metrics_internal.bucket_start(b.bucket, 'day', zone), b.turns, 0
                FROM agent_metrics_internal.archived_buckets b
                JOIN agent_metrics_internal.archives a ON a.archive_id = b.archive_id AND a.is_counted
                WHERE b.agent_id = ANY (wrong)
                UNION ALL
                SELECT r.agent_id, r.bucket, 0, r.turns
                FROM agent_metrics_internal.rollups r WHERE r.agent_id = ANY (wrong) AND r.level = 'day') x
          GROUP BY x.agent_id, x.day
          HAVING sum(x.turns) <> sum(x.counted)) d
    GROUP BY d.agent_id
    UNION ALL
    SELECT e.agent_id, min(e.occurred_at), max(e.occurred_at), count(*), 0::bigint,
           'they are dated outside the years 1 to 9999'
    FROM agent_metrics.agent_events e
    WHERE e.occurred_at < agent_metrics_internal.first_moment()
       OR e.occurred_at >= agent_metrics_internal.end_of_moments()
    GROUP BY e.agent_id
    ORDER BY 1, 2;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.uncounted_turns() IS
    'Agents whose turns are not all in the rollups, with the days concerned, how many turns there are and how many are '
    'counted. rebuild() counts those of the first reason. agent-metrics doctor asks it.';
