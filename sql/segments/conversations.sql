-- Which segments a conversation counts for: of each dimension the value of its first turn that has one.

-- Planned by the dimensions that are switched on, so it is one statement made of them.
CREATE FUNCTION agent_metrics_internal.compute_conversation_segments(agent_ids text[], conversation_ids text[])
RETURNS TABLE (agent_id text, conversation_id text, segments jsonb)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_mergejoin = off SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    of_turns text := (SELECT string_agg(format('(%L, %s)', d.dimension, d.reads), ', ' ORDER BY d.dimension)
                      FROM agent_metrics_internal.active_dimensions() d WHERE d.reads IS NOT NULL);
    has_archives boolean := EXISTS (SELECT 1 FROM agent_metrics_internal.archived_conversation_segments);
    of_business boolean := EXISTS (SELECT 1
                                   FROM agent_metrics_internal.active_dimensions() d WHERE d.source = 'business_event');
BEGIN
    -- One statement: the values of a conversation are of one snapshot, wherever they come from.
    RETURN QUERY EXECUTE format($query$
    WITH asked_conversation AS MATERIALIZED (
        SELECT c.agent_id, c.conversation_id, c.started_at, c.ended_at, c.business_event_ids
        FROM (SELECT DISTINCT u.agent_id, u.conversation_id
              FROM unnest($1, $2) AS u (agent_id, conversation_id)) a
        -- agent_id is kept from the index on it, as in sum_conversations
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.conversations x
                            WHERE x.conversation_id = a.conversation_id AND x.agent_id || '' = a.agent_id LIMIT 1) c
    ), said AS (
        SELECT a.agent_id, a.conversation_id, d.dimension, d.value, e.occurred_at, e.turn_index, e.event_id::text AS id
        FROM asked_conversation a
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.agent_events x
                            WHERE x.conversation_id = a.conversation_id AND x.agent_id || '' = a.agent_id
                              AND x.occurred_at >= a.started_at AND x.occurred_at <= a.ended_at AND NOT x.is_eval
                            OFFSET 0) e
        CROSS JOIN LATERAL (VALUES %1$s) AS d (dimension, value)
        UNION ALL
        SELECT a.agent_id, a.conversation_id, s.dimension, s.segment, s.occurred_at, s.turn_index, s.event_id::text
        FROM asked_conversation a
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.archived_conversation_segments x
                            WHERE x.conversation_id = a.conversation_id AND x.agent_id = a.agent_id OFFSET 0) s
        JOIN agent_metrics_internal.archives x ON x.archive_id = s.archive_id AND x.is_counted
        JOIN agent_metrics_internal.active_dimensions() d ON d.dimension = s.dimension AND d.reads IS NOT NULL
        WHERE %2$L
        UNION ALL
        SELECT b.agent_id, b.conversation_id, d.dimension, x.detail ->> d.attribute, b.occurred_at, NULL,
               b.business_event_id
        FROM (SELECT b.* FROM agent_metrics_internal.business_of(ARRAY(
                  SELECT ROW(a.agent_id, a.conversation_id,
                             a.business_event_ids)::agent_metrics_internal.conversation_key
                  FROM asked_conversation a WHERE %3$L)) b OFFSET 0) b
        CROSS JOIN LATERAL (SELECT x.detail FROM agent_metrics.business_events x
                            WHERE x.business_event_id = b.business_event_id LIMIT 1) x
        JOIN agent_metrics_internal.active_dimensions() d ON d.source = 'business_event'
        WHERE %3$L
    )
    SELECT f.agent_id, f.conversation_id, jsonb_object_agg(f.dimension, agent_metrics_internal.segment_name(f.value))
    FROM (SELECT s.agent_id, s.conversation_id, s.dimension,
                 agent_metrics_internal.earliest(s.value, s.occurred_at, s.turn_index, s.id) AS value
          FROM said s WHERE s.value <> ''
          GROUP BY s.agent_id, s.conversation_id, s.dimension) f
    GROUP BY f.agent_id, f.conversation_id$query$,
        coalesce(of_turns, '(NULL::text, NULL::text)'), has_archives, of_business)
    USING compute_conversation_segments.agent_ids, compute_conversation_segments.conversation_ids;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compute_conversation_segments(text[], text[]) IS
    'Segments of conversations by dimension; one without any gives no row. Internal: refresh() and verify() use it.';

-- started_at: of a conversation that is gone NULL.
CREATE FUNCTION agent_metrics_internal.refresh_conversation_segments(agent_ids text[], conversation_ids text[])
RETURNS TABLE (agent_id text, conversation_id text, started_at timestamptz, ended_at timestamptz)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked_conversation AS MATERIALIZED (
        SELECT DISTINCT u.agent_id, u.conversation_id
        FROM unnest(refresh_conversation_segments.agent_ids, refresh_conversation_segments.conversation_ids)
            AS u (agent_id, conversation_id)
    ), current_row AS MATERIALIZED (
        SELECT s.* FROM agent_metrics_internal.compute_conversation_segments(
            refresh_conversation_segments.agent_ids, refresh_conversation_segments.conversation_ids) s
    ), stored_row AS MATERIALIZED (
        SELECT k.agent_id, k.conversation_id, k.segments
        FROM asked_conversation a
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.conversation_segments x
                            WHERE x.conversation_id = a.conversation_id AND x.agent_id = a.agent_id OFFSET 0) k
    ), changed_row AS MATERIALIZED (
        SELECT coalesce(n.agent_id, k.agent_id) AS agent_id,
               coalesce(n.conversation_id, k.conversation_id) AS conversation_id, n.segments
        FROM current_row n
        FULL JOIN stored_row k ON k.agent_id = n.agent_id AND k.conversation_id = n.conversation_id
        WHERE n.segments IS DISTINCT FROM k.segments
    ), deleted_row AS (
        DELETE FROM agent_metrics_internal.conversation_segments s
        USING changed_row c
        WHERE c.segments IS NULL AND s.conversation_id = c.conversation_id AND s.agent_id = c.agent_id
    ), upserted_row AS (
        INSERT INTO agent_metrics_internal.conversation_segments (agent_id, conversation_id, segments)
        SELECT c.agent_id, c.conversation_id, c.segments FROM changed_row c WHERE c.segments IS NOT NULL
        ON CONFLICT (agent_id, conversation_id) DO UPDATE SET segments = excluded.segments
    )
    SELECT c.agent_id, c.conversation_id, x.started_at, x.ended_at
    FROM changed_row c
    LEFT JOIN LATERAL (SELECT x.started_at, x.ended_at FROM agent_metrics.conversations x
                       WHERE x.conversation_id = c.conversation_id AND x.agent_id || '' = c.agent_id LIMIT 1) x ON true;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_conversation_segments(text[], text[]) IS
    'Brings the segments of conversations up to their turns and returns those that changed. '
    'Internal: refresh() uses it.';
