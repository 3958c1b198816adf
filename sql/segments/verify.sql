-- The part of verify() that is about segments. unsettled_*: conversations with changes that no refresh has seen;
-- unseen_*: turns.

DO $do$
BEGIN
    EXECUTE format($create$
-- Hours whose segments do not add up to the rollup of the hour, and days that are not the sum of their hours.
CREATE FUNCTION agent_metrics_internal.segments_beside_the_whole(
    agent_ids text[], begun timestamptz, ended timestamptz, time_zone text)
RETURNS TABLE (agent_id text, level text, bucket timestamptz, dimension text, stored text, recomputed text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH whole AS MATERIALIZED (
        SELECT r.agent_id, r.level, r.bucket, d.dimension, %1$s
        FROM agent_metrics_internal.rollups r CROSS JOIN agent_metrics_internal.active_dimensions() d
        WHERE r.agent_id = ANY (segments_beside_the_whole.agent_ids) AND r.level IN ('hour', 'day')
          AND r.bucket >= segments_beside_the_whole.begun AND r.bucket < segments_beside_the_whole.ended
    ), added AS MATERIALIZED (
        SELECT s.agent_id, s.level, s.bucket, s.dimension, %2$s
        FROM agent_metrics_internal.segment_rollups s
        WHERE s.agent_id = ANY (segments_beside_the_whole.agent_ids)
          AND s.bucket >= segments_beside_the_whole.begun AND s.bucket < segments_beside_the_whole.ended
        GROUP BY s.agent_id, s.level, s.bucket, s.dimension
    )
    SELECT x.agent_id, x.level, x.bucket, x.dimension, max(x.content) FILTER (WHERE NOT x.is_whole),
           max(x.content) FILTER (WHERE x.is_whole)
    FROM (SELECT true AS is_whole, w.agent_id, w.level, w.bucket, w.dimension, w::text AS content
          FROM (SELECT * FROM whole EXCEPT SELECT * FROM added) w
          UNION ALL
          SELECT false, a.agent_id, a.level, a.bucket, a.dimension, a::text
          FROM (SELECT * FROM added EXCEPT SELECT * FROM whole) a) x
    GROUP BY x.agent_id, x.level, x.bucket, x.dimension;
END
$function$;

-- Segments of hours that are not what turns, conversations and leads give.
CREATE FUNCTION agent_metrics_internal.wrong_segment_hours(
    agent_ids text[], buckets timestamptz[], snapshots pg_snapshot[], foreign_to xid8[], time_zone text)
RETURNS TABLE (agent_id text, bucket timestamptz, dimension text, segment text, stored text, recomputed text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH computed_hour AS MATERIALIZED (
        SELECT s.agent_id, s.dimension, s.segment, s.bucket, %3$s
        FROM agent_metrics_internal.compute_segments(
            wrong_segment_hours.agent_ids, wrong_segment_hours.buckets, wrong_segment_hours.snapshots,
            wrong_segment_hours.foreign_to, wrong_segment_hours.time_zone) s
    ), stored_hour AS MATERIALIZED (
        SELECT s.agent_id, s.dimension, s.segment, s.bucket, %3$s
        FROM unnest(wrong_segment_hours.agent_ids, wrong_segment_hours.buckets) AS u (agent_id, bucket)
        JOIN agent_metrics_internal.segment_hours s ON s.agent_id = u.agent_id AND s.bucket = u.bucket
    )
    SELECT x.agent_id, x.bucket, x.dimension, x.segment, max(x.content) FILTER (WHERE x.is_stored),
           max(x.content) FILTER (WHERE NOT x.is_stored)
    FROM (SELECT true AS is_stored, s.agent_id, s.bucket, s.dimension, s.segment, s::text AS content
          FROM (SELECT * FROM stored_hour EXCEPT SELECT * FROM computed_hour) s
          UNION ALL
          SELECT false, n.agent_id, n.bucket, n.dimension, n.segment, n::text
          FROM (SELECT * FROM computed_hour EXCEPT SELECT * FROM stored_hour) n) x
    GROUP BY x.agent_id, x.bucket, x.dimension, x.segment;
END
$function$$create$,
        agent_metrics_internal.measure_list('r.%1$I'), agent_metrics_internal.measure_list('%3$s(s.%1$I)::%2$s'),
        agent_metrics_internal.measure_list('s.%1$I'));
END
$do$;
COMMENT ON FUNCTION agent_metrics_internal.segments_beside_the_whole(text[], timestamptz, timestamptz, text) IS
    'Hours and days whose segments do not add up to the rollup. Internal: verify() uses it.';
COMMENT ON FUNCTION agent_metrics_internal.wrong_segment_hours(text[], timestamptz[], pg_snapshot[], xid8[], text) IS
    'Stored segments of hours that differ from what the facts give. Internal: verify() uses it.';

CREATE FUNCTION agent_metrics_internal.verify_segments(
    agent_ids text[], snapshots pg_snapshot[], foreign_to xid8[], begun timestamptz, ended timestamptz, time_zone text,
    unsettled_agents text[], unsettled_conversations text[], unseen_agents text[], unseen_moments timestamptz[])
RETURNS SETOF agent_metrics.difference
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    -- the next refresh builds their segments anew
    unbuilt text[] := agent_metrics_internal.undivided_agents(verify_segments.agent_ids);
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics_internal.segment_builds) THEN
        RETURN;
    END IF;
    -- One statement: all is compared in one snapshot, so that what commits meanwhile is no difference.
    RETURN QUERY
    WITH agent AS MATERIALIZED (
        SELECT a.agent_id, a.snapshot, a.foreign_to
        FROM unnest(verify_segments.agent_ids, verify_segments.snapshots, verify_segments.foreign_to)
            AS a (agent_id, snapshot, foreign_to)
        WHERE a.agent_id <> ALL (unbuilt)
    ), unsettled AS MATERIALIZED (
        SELECT u.agent_id, u.conversation_id
        FROM unnest(verify_segments.unsettled_agents, verify_segments.unsettled_conversations)
            AS u (agent_id, conversation_id)
    ), unseen_range AS MATERIALIZED (
        SELECT s.agent_id, s.from_time, s.to_time FROM agent_metrics_internal.stale_ranges s
        UNION SELECT a.agent_id, r.from_time, r.to_time
        FROM agent a CROSS JOIN agent_metrics_internal.changed_ranges() r
    ), unseen_hour AS MATERIALIZED (
        SELECT u.agent_id, agent_metrics_internal.bucket_start(u.at, 'hour', verify_segments.time_zone) AS bucket
        FROM (SELECT m.agent_id, m.at
              FROM unnest(verify_segments.unseen_agents, verify_segments.unseen_moments) AS m (agent_id, at)
              UNION SELECT c.agent_id, c.occurred_at FROM agent_metrics_internal.changes c
              UNION SELECT c.agent_id, c.started_at
              FROM unsettled u JOIN agent_metrics.conversations c
                ON c.agent_id = u.agent_id AND c.conversation_id = u.conversation_id
              UNION SELECT e.agent_id, e.occurred_at
              FROM unsettled u JOIN agent_metrics.agent_events e
                ON e.agent_id = u.agent_id AND e.conversation_id = u.conversation_id) u
        WHERE u.at >= agent_metrics_internal.first_moment() AND u.at < agent_metrics_internal.end_of_moments()
        GROUP BY 1, 2
    ), stored_conversation AS MATERIALIZED (
        SELECT s.agent_id, s.conversation_id, s.segments
        FROM agent a JOIN agent_metrics_internal.conversation_segments s ON s.agent_id = a.agent_id
        LEFT JOIN agent_metrics.conversations c ON c.agent_id = s.agent_id AND c.conversation_id = s.conversation_id
        WHERE c.started_at IS NULL OR c.started_at >= verify_segments.begun AND c.started_at < verify_segments.ended
    ), recomputed_conversation AS MATERIALIZED (
        SELECT n.agent_id, n.conversation_id, n.segments
        FROM (SELECT array_agg(c.agent_id) AS agents, array_agg(c.conversation_id) AS ids
              FROM agent a JOIN agent_metrics.conversations c ON c.agent_id = a.agent_id
              WHERE c.started_at >= verify_segments.begun AND c.started_at < verify_segments.ended) c
        CROSS JOIN LATERAL agent_metrics_internal.compute_conversation_segments(c.agents, c.ids) n
    ), wrong_hour AS (
        SELECT w.*
        FROM (SELECT array_agg(h.agent_id) AS agents, array_agg(h.bucket) AS buckets,
                     array_agg(a.snapshot) AS snapshots, array_agg(a.foreign_to) AS foreign_to
              FROM (SELECT r.agent_id, r.bucket FROM agent_metrics_internal.rollups_hour r
                    UNION SELECT s.agent_id, s.bucket FROM agent_metrics_internal.segment_hours s) h
              JOIN agent a ON a.agent_id = h.agent_id
              WHERE h.bucket >= verify_segments.begun AND h.bucket < verify_segments.ended) h
        CROSS JOIN LATERAL agent_metrics_internal.wrong_segment_hours(
            h.agents, h.buckets, h.snapshots, h.foreign_to, verify_segments.time_zone) w
        WHERE NOT EXISTS (SELECT 1 FROM unseen_hour u WHERE u.agent_id = w.agent_id AND u.bucket = w.bucket)
    ), wrong_whole AS (
        SELECT w.*
        FROM (SELECT array_agg(a.agent_id) AS agents FROM agent a) a
        CROSS JOIN LATERAL agent_metrics_internal.segments_beside_the_whole(
            a.agents, verify_segments.begun, verify_segments.ended, verify_segments.time_zone) w
        WHERE NOT EXISTS (SELECT 1 FROM unseen_hour u
                          WHERE u.agent_id = w.agent_id AND u.bucket >= w.bucket
                            AND u.bucket < agent_metrics_internal.bucket_end(
                                w.bucket, w.level, verify_segments.time_zone))
    ), recomputed_fact AS MATERIALIZED (
        SELECT n.*
        FROM (SELECT array_agg(f.agent_id) AS agents, array_agg(f.measure) AS measures, array_agg(f.bucket) AS buckets
              FROM (SELECT DISTINCT f.agent_id, f.measure, f.bucket
                    FROM agent a JOIN agent_metrics_internal.conversation_facts f ON f.agent_id = a.agent_id
                    WHERE f.bucket >= verify_segments.begun AND f.bucket < verify_segments.ended) f) f
        CROSS JOIN LATERAL agent_metrics_internal.compute_segment_facts(f.agents, f.measures, f.buckets) n
    ), stored_fact AS MATERIALIZED (
        SELECT s.agent_id, s.dimension, s.segment, s.measure, s.bucket, s.facts, s.numerator, s.denominator,
               s.numerator_squared, s.denominator_squared, s.product, s.sketch, s.level
        FROM agent a JOIN agent_metrics_internal.segment_facts s ON s.agent_id = a.agent_id
        WHERE s.bucket >= verify_segments.begun AND s.bucket < verify_segments.ended
    ), wrong AS (
        SELECT h.agent_id, 'hour' AS level, h.bucket, format('segment %s of %s', h.segment, h.dimension) AS measure,
               h.stored, h.recomputed
        FROM wrong_hour h
        UNION ALL
        SELECT w.agent_id, w.level, w.bucket, 'segments of ' || w.dimension, w.stored, w.recomputed FROM wrong_whole w
        UNION ALL
        SELECT coalesce(s.agent_id, n.agent_id), 'conversation', coalesce(c.started_at, verify_segments.begun),
               'segments of ' || coalesce(s.conversation_id, n.conversation_id), s.segments::text, n.segments::text
        FROM stored_conversation s
        FULL JOIN recomputed_conversation n ON n.agent_id = s.agent_id AND n.conversation_id = s.conversation_id
        LEFT JOIN agent_metrics.conversations c ON c.agent_id = coalesce(s.agent_id, n.agent_id)
         AND c.conversation_id = coalesce(s.conversation_id, n.conversation_id)
        WHERE s.segments IS DISTINCT FROM n.segments
          AND NOT EXISTS (SELECT 1 FROM unsettled u
                          WHERE u.agent_id = coalesce(s.agent_id, n.agent_id)
                            AND u.conversation_id = coalesce(s.conversation_id, n.conversation_id))
        UNION ALL
        SELECT d.agent_id, d.level, d.bucket, format('facts %s of %s %s', d.measure, d.dimension, d.segment),
               max(d.content) FILTER (WHERE d.is_stored), max(d.content) FILTER (WHERE NOT d.is_stored)
        FROM (SELECT true AS is_stored, s.agent_id, s.level, s.bucket, s.measure, s.dimension, s.segment,
                     s::text AS content
              FROM (SELECT * FROM stored_fact EXCEPT SELECT * FROM recomputed_fact) s
              UNION ALL
              SELECT false, n.agent_id, n.level, n.bucket, n.measure, n.dimension, n.segment, n::text
              FROM (SELECT * FROM recomputed_fact EXCEPT SELECT * FROM stored_fact) n) d
        GROUP BY d.agent_id, d.level, d.bucket, d.measure, d.dimension, d.segment
    )
    SELECT w.agent_id, w.level, w.bucket, w.measure, w.stored, w.recomputed FROM wrong w
    WHERE NOT EXISTS (SELECT 1 FROM unseen_range r WHERE r.agent_id = w.agent_id);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.verify_segments(
    text[], pg_snapshot[], xid8[], timestamptz, timestamptz, text, text[], text[], text[], timestamptz[]) IS
    'Segments that are not what the facts give, or do not add up to the whole. Internal: verify() uses it.';
