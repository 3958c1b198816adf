-- What the segments of hours add up to: the one definition, used by refresh() and by verify().

DO $do$
BEGIN
    EXECUTE format('CREATE TYPE agent_metrics_internal.segment_sums AS (agent_id text, dimension text, segment text, '
                   'bucket timestamptz, %s)', agent_metrics_internal.measure_list('%1$I %2$s'));
    PERFORM agent_metrics_internal.describe_measures('segment_sums');
END
$do$;
COMMENT ON TYPE agent_metrics_internal.segment_sums IS 'Sums of one segment in one hour.';
COMMENT ON COLUMN agent_metrics_internal.segment_sums.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.segment_sums.dimension IS 'Dimension.';
COMMENT ON COLUMN agent_metrics_internal.segment_sums.segment IS 'Segment.';
COMMENT ON COLUMN agent_metrics_internal.segment_sums.bucket IS 'Start of the hour.';

-- Sums over rows of one grain, in the order of a rollup's columns; the measures of other grains are NULL.
CREATE FUNCTION agent_metrics_internal.segment_measures(grain text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (SELECT string_agg(
            CASE WHEN segment_measures.grain = 'archive' AND m.grain = 'turn'
                     THEN format(CASE m.measure WHEN 'latency' THEN 'agent_metrics.merge(b.%I)' ELSE 'sum(b.%I)' END,
                                 m.measure)
                 WHEN m.grain = 'interval' AND segment_measures.grain = 'conversation'
                     THEN CASE m.measure WHEN 'cost_usd_squared' THEN 'sum(c.cost_usd * c.cost_usd)'
                                         WHEN 'tokens_squared' THEN 'sum(c.tokens::numeric * c.tokens)'
                                         WHEN 'tokens_by_turns' THEN 'sum(c.tokens::numeric * c.token_turns)'
                                         WHEN 'turns_squared' THEN 'sum(c.token_turns::numeric * c.token_turns)' END
                 WHEN m.grain <> segment_measures.grain THEN 'NULL::' || m.type
                 WHEN m.measure = 'latency'
                     THEN 'agent_metrics.quantile_sketch(agent_metrics_internal.possible_latency(e.latency_ms))'
                 ELSE format('sum(%s)', m.in_row) END, ', ' ORDER BY m.position)
        FROM ROWS FROM (agent_metrics_internal.measures()) WITH ORDINALITY
             AS m (measure, type, grain, part_of, in_bucket, in_row, in_archive, words, position));
COMMENT ON FUNCTION agent_metrics_internal.segment_measures(text) IS
    'Aggregates over turns (e), conversations (c), leads (l) or archived sums (b), for grain turn, conversation, lead '
    'or archive, in the order of a rollup''s columns. Internal: compute_segments() is made with it.';

-- buckets: hours, each under the snapshot of its agent; a turn counts as in compute_live_turns(). What is not followed
-- is (other). A turn has the value of its own, or of its conversation where the business says it. Turns are added up
-- once, by all their values together, and what that gives is then divided by each dimension.
CREATE FUNCTION agent_metrics_internal.compute_segments(
    agent_ids text[], buckets timestamptz[], snapshots pg_snapshot[], foreign_to xid8[], time_zone text)
RETURNS SETOF agent_metrics_internal.segment_sums
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_mergejoin = off SET enable_sort = off SET jit = off
-- most of what is added up is small, and the planner takes it for large
SET hash_mem_multiplier = 12 AS $function$
#variable_conflict use_column
DECLARE
    -- a join by hash of all conversations would cost more than looking a few up
    stored  constant text := 'LEFT JOIN LATERAL (SELECT x.segments FROM agent_metrics_internal.conversation_segments x '
        'WHERE x.conversation_id = %1$s.conversation_id AND x.agent_id = h.agent_id LIMIT 1) v ON true';
    own     text;  -- the values of a turn
    columns text;  -- what they are called
    own_of  text;  -- by dimension
    kept_of text;  -- those of a conversation
    of_conversations boolean;  -- a turn needs those of its conversation
    names   constant text := agent_metrics_internal.measure_list('%1$I');
    parts   text;
BEGIN
    SELECT string_agg(format('%s AS d%s', coalesce(d.reads, format('v.segments ->> %L', d.dimension)), d.place), ', '),
           string_agg(format('d%s', d.place), ', '),
           string_agg(format('(%L, agent_metrics_internal.segment_name(t.d%s))', d.dimension, d.place), ', '),
           string_agg(format('(%1$L, coalesce(t.segments ->> %1$L, ''(none)''))', d.dimension), ', '),
           bool_or(d.reads IS NULL)
    INTO own, columns, own_of, kept_of, of_conversations
    FROM (SELECT x.*, row_number() OVER () AS place FROM agent_metrics_internal.active_dimensions() x) d;
    IF own IS NULL THEN
        RETURN;
    END IF;
    parts := format($part$
        SELECT t.agent_id, d.dimension, d.segment, t.bucket, %1$s
        FROM (SELECT h.agent_id, h.bucket, e.%2$s, %3$s
              FROM asked_hour h
              CROSS JOIN LATERAL (SELECT %4$s, e.*
                                  FROM agent_metrics.agent_events e %5$s
                                  WHERE e.agent_id = h.agent_id AND e.occurred_at >= h.bucket AND e.occurred_at < h.ends
                                    AND NOT e.is_eval AND (pg_visible_in_snapshot(e.recorded_in, h.snapshot)
                                                           OR e.recorded_in <= h.foreign_to) OFFSET 0) e
              GROUP BY h.agent_id, h.bucket, e.%2$s) AS t (agent_id, bucket, %6$s, %1$s)
        CROSS JOIN LATERAL (VALUES %7$s) AS d (dimension, segment)
        UNION ALL
        SELECT t.agent_id, d.dimension, d.segment, t.bucket, %1$s
        FROM (SELECT h.agent_id, h.bucket, v.segments, %8$s
              FROM asked_hour h
              CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.conversations x
                                  WHERE x.agent_id = h.agent_id AND x.started_at >= h.bucket AND x.started_at < h.ends
                                  OFFSET 0) c %9$s
              GROUP BY h.agent_id, h.bucket, v.segments) AS t (agent_id, bucket, segments, %1$s)
        CROSS JOIN LATERAL (VALUES %10$s) AS d (dimension, segment)
        UNION ALL
        -- a lead is of the segment of its first conversation
        SELECT t.agent_id, d.dimension, d.segment, t.bucket, %1$s
        FROM (SELECT h.agent_id, h.bucket, v.segments, %11$s
              FROM asked_hour h
              CROSS JOIN LATERAL (SELECT x.lead_id, x.started_at, min(x.conversation_id) AS conversation_id
                                  FROM agent_metrics.conversations x
                                  WHERE x.agent_id = h.agent_id AND x.started_at >= h.bucket AND x.started_at < h.ends
                                  GROUP BY x.lead_id, x.started_at OFFSET 0) c
              CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.leads x
                                  WHERE x.agent_id = h.agent_id AND x.lead_id = c.lead_id
                                    AND x.started_at = c.started_at LIMIT 1) l %9$s
              GROUP BY h.agent_id, h.bucket, v.segments) AS t (agent_id, bucket, segments, %1$s)
        CROSS JOIN LATERAL (VALUES %10$s) AS d (dimension, segment)$part$,
        names, replace(columns, ', ', ', e.'), agent_metrics_internal.segment_measures('turn'), own,
        CASE WHEN of_conversations THEN format(stored, 'e') ELSE '' END, columns, own_of,
        agent_metrics_internal.segment_measures('conversation'), format(stored, 'c'), kept_of,
        agent_metrics_internal.segment_measures('lead'));
    IF EXISTS (SELECT 1 FROM agent_metrics_internal.archives) THEN
        -- of a dimension that was declared later, nobody knows the values
        parts := parts || format($part$
        UNION ALL
        SELECT h.agent_id, b.dimension, b.segment, h.bucket, %1$s
        FROM asked_hour h
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.archived_segments x
                            WHERE x.agent_id = h.agent_id AND x.bucket >= h.bucket AND x.bucket < h.ends OFFSET 0) b
        JOIN agent_metrics_internal.archives a ON a.archive_id = b.archive_id AND a.is_counted
        JOIN agent_metrics_internal.active_dimensions() d ON d.dimension = b.dimension
        GROUP BY 1, 2, 3, 4
        UNION ALL
        SELECT h.agent_id, d.dimension, '(none)', h.bucket, %1$s
        FROM asked_hour h
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.archived_buckets x
                            WHERE x.agent_id = h.agent_id AND x.bucket >= h.bucket AND x.bucket < h.ends OFFSET 0) b
        JOIN agent_metrics_internal.archives a ON a.archive_id = b.archive_id AND a.is_counted
        CROSS JOIN agent_metrics_internal.active_dimensions() d
        WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.archived_segments s
                          WHERE s.archive_id = b.archive_id AND s.agent_id = b.agent_id AND s.dimension = d.dimension)
        GROUP BY 1, 2, 3, 4$part$, agent_metrics_internal.segment_measures('archive'));
    END IF;
    RETURN QUERY EXECUTE format($query$
    WITH asked_hour AS MATERIALIZED (
        SELECT u.agent_id, u.bucket, agent_metrics_internal.bucket_end(u.bucket, 'hour', $5) AS ends, u.snapshot,
               u.foreign_to
        FROM unnest($1, $2, $3, $4) AS u (agent_id, bucket, snapshot, foreign_to)
    ), part (agent_id, dimension, segment, bucket, %1$s) AS (%2$s)
    SELECT p.agent_id, p.dimension, p.own, p.bucket, %3$s
    FROM (SELECT p.*, CASE WHEN p.segment = '(none)' OR f.is_followed THEN p.segment ELSE '(other)' END AS own
          FROM part p
          LEFT JOIN LATERAL (SELECT true AS is_followed FROM agent_metrics.dimension_segments f
                             WHERE f.agent_id = p.agent_id AND f.dimension = p.dimension AND f.segment = p.segment
                             LIMIT 1) f ON true) p
    GROUP BY p.agent_id, p.dimension, p.own, p.bucket$query$,
        names, parts,
        replace(agent_metrics_internal.measure_list('coalesce(%3$s(p.%1$I), 0)::%2$s'),
                'coalesce(agent_metrics.merge(p.latency), 0)', 'agent_metrics.merge(p.latency)'))
    USING compute_segments.agent_ids, compute_segments.buckets, compute_segments.snapshots,
          compute_segments.foreign_to, compute_segments.time_zone;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compute_segments(text[], timestamptz[], pg_snapshot[], xid8[], text) IS
    'Sums of all segments of hours, from turns, conversations, leads and archives. '
    'Internal: refresh() and verify() use it.';

-- The same of facts, by the segment of their conversation.
CREATE FUNCTION agent_metrics_internal.compute_segment_facts(agent_ids text[], measures text[], buckets timestamptz[])
RETURNS TABLE (agent_id text, dimension text, segment text, measure text, bucket timestamptz, facts bigint,
               numerator numeric, denominator numeric, numerator_squared numeric, denominator_squared numeric,
               product numeric, sketch agent_metrics.quantile_sketch, level text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    zone text := agent_metrics_internal.report_time_zone();
BEGIN
    RETURN QUERY
    SELECT b.agent_id, d.dimension,
           CASE WHEN n.segment = '(none)' OR f.segment IS NOT NULL THEN n.segment ELSE '(other)' END, b.measure,
           b.bucket, sum(x.facts)::bigint, sum(x.numerator), sum(x.denominator), sum(x.numerator_squared),
           sum(x.denominator_squared), sum(x.product),
           coalesce(agent_metrics.merge(x.sketch), agent_metrics.quantile_sketch(x.value)), b.level
    FROM agent_metrics_internal.fact_buckets(
        compute_segment_facts.agent_ids, compute_segment_facts.measures, compute_segment_facts.buckets) b
    CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.conversation_facts x
                        WHERE x.agent_id = b.agent_id AND x.measure = b.measure AND x.bucket >= b.bucket
                          AND x.bucket < agent_metrics_internal.bucket_end(b.bucket, b.level, zone) OFFSET 0) x
    LEFT JOIN LATERAL (SELECT y.segments FROM agent_metrics_internal.conversation_segments y
                       WHERE y.conversation_id = x.conversation_id AND y.agent_id = x.agent_id LIMIT 1) v ON true
    CROSS JOIN agent_metrics_internal.active_dimensions() d
    CROSS JOIN LATERAL (SELECT coalesce(v.segments ->> d.dimension, '(none)') AS segment) n
    LEFT JOIN agent_metrics.dimension_segments f
      ON f.agent_id = b.agent_id AND f.dimension = d.dimension AND f.segment = n.segment
    GROUP BY 1, 2, 3, 4, 5, b.level;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compute_segment_facts(text[], text[], timestamptz[]) IS
    'Sums of facts by segment over days and hours. Internal: refresh() and verify() use it.';

-- What the turns of a month add up to, before they leave the database. What is not followed is (other) for good.
CREATE FUNCTION agent_metrics_internal.condense_segments(id bigint, from_time timestamptz, to_time timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $function$
DECLARE
    own  text;  -- the values of a turn
    kept text;  -- those that may tell which its conversation has
BEGIN
    SELECT string_agg(format('(%L, agent_metrics_internal.segment_name(%s))', d.dimension,
                             coalesce(d.reads, format('v.segments ->> %L', d.dimension))), ', '),
           string_agg(format('(%L, %s)', d.dimension, d.reads), ', ') FILTER (WHERE d.reads IS NOT NULL)
    INTO own, kept
    FROM agent_metrics_internal.active_dimensions() d;
    IF own IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format($insert$
        INSERT INTO agent_metrics_internal.archived_segments (agent_id, archive_id, dimension, segment, bucket, %1$s)
        SELECT e.agent_id, $1, d.dimension,
               CASE WHEN d.segment = '(none)' OR f.segment IS NOT NULL THEN d.segment ELSE '(other)' END,
               date_bin('15 minutes', e.occurred_at, '2000-01-01 00:00:00+00'), %2$s
        FROM agent_metrics.agent_events e
        LEFT JOIN agent_metrics_internal.conversation_segments v
          ON v.agent_id = e.agent_id AND v.conversation_id = e.conversation_id
        CROSS JOIN LATERAL (VALUES %3$s) AS d (dimension, segment)
        LEFT JOIN agent_metrics.dimension_segments f
          ON f.agent_id = e.agent_id AND f.dimension = d.dimension AND f.segment = d.segment
        WHERE e.occurred_at >= $2 AND e.occurred_at < $3 AND NOT e.is_eval
        GROUP BY 1, 2, 3, 4, 5$insert$,
        agent_metrics_internal.measure_list('%1$I', ARRAY['turn']),
        (SELECT string_agg(
             CASE m.measure WHEN 'latency'
                 THEN 'agent_metrics.quantile_sketch(agent_metrics_internal.possible_latency(e.latency_ms))'
                 ELSE format('coalesce(sum(%s), 0)', m.in_row) END, ', ' ORDER BY m.position)
         FROM ROWS FROM (agent_metrics_internal.measures()) WITH ORDINALITY
              AS m (measure, type, grain, part_of, in_bucket, in_row, in_archive, words, position)
         WHERE m.grain = 'turn'), own)
    USING condense_segments.id, condense_segments.from_time, condense_segments.to_time;
    IF kept IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format($insert$
        INSERT INTO agent_metrics_internal.archived_conversation_segments (
            agent_id, conversation_id, archive_id, dimension, segment, occurred_at, turn_index, event_id)
        SELECT DISTINCT ON (e.agent_id, e.conversation_id, d.dimension)
               e.agent_id, e.conversation_id, $1, d.dimension, agent_metrics_internal.segment_name(d.value),
               e.occurred_at, e.turn_index, e.event_id
        FROM agent_metrics.agent_events e
        CROSS JOIN LATERAL (VALUES %1$s) AS d (dimension, value)
        WHERE e.occurred_at >= $2 AND e.occurred_at < $3 AND NOT e.is_eval AND d.value <> ''
        ORDER BY e.agent_id, e.conversation_id, d.dimension, e.occurred_at, coalesce(e.turn_index, -1),
                 e.event_id::text COLLATE "C"$insert$, kept)
    USING condense_segments.id, condense_segments.from_time, condense_segments.to_time;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.condense_segments(bigint, timestamptz, timestamptz) IS
    'Keeps what the turns of an archive add up to by segment. Internal: condense_archive() uses it.';
