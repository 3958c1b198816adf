-- Bringing segments up to date. The hours that a refresh touched are computed again, and the days above them: so the
-- segments of an hour are always of one moment, and add up to it.

-- Values that are new become followed, the first that came first, until an agent has as many as its dimension follows.
CREATE FUNCTION agent_metrics_internal.follow_segments(
    agent_ids text[], buckets timestamptz[], time_zone text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_mergejoin = off SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    -- dimensions of which some agent may follow more
    own  text;
    kept text;
BEGIN
    -- what a conversation counts for may have been said in another hour
    SELECT string_agg(format('(%L, agent_metrics_internal.segment_name(%s))', d.dimension, d.reads), ', ')
               FILTER (WHERE d.reads IS NOT NULL),
           string_agg(format('(%1$L, v.segments ->> %1$L)', d.dimension), ', ')
    INTO own, kept
    FROM agent_metrics_internal.active_dimensions() d
    WHERE EXISTS (SELECT 1 FROM unnest(follow_segments.agent_ids) AS u (agent_id)
                  WHERE d.followed_segments > (SELECT count(*) FROM agent_metrics.dimension_segments s
                                               WHERE s.agent_id = u.agent_id AND s.dimension = d.dimension));
    IF kept IS NULL THEN
        RETURN;
    END IF;
    EXECUTE format($query$
    WITH asked_hour AS MATERIALIZED (
        SELECT u.agent_id, u.bucket, agent_metrics_internal.bucket_end(u.bucket, 'hour', $3) AS ends
        FROM unnest($1, $2) AS u (agent_id, bucket)
    ), said AS (
        SELECT h.agent_id, d.dimension, d.segment, min(e.occurred_at) AS said_at
        FROM asked_hour h
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.agent_events x
                            WHERE x.agent_id = h.agent_id AND x.occurred_at >= h.bucket AND x.occurred_at < h.ends
                              AND NOT x.is_eval OFFSET 0) e
        CROSS JOIN LATERAL (VALUES %1$s) AS d (dimension, segment)
        GROUP BY 1, 2, 3
        UNION ALL
        SELECT h.agent_id, d.dimension, d.segment, min(c.started_at)
        FROM asked_hour h
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.conversations x
                            WHERE x.agent_id = h.agent_id AND x.started_at >= h.bucket AND x.started_at < h.ends
                            OFFSET 0) c
        CROSS JOIN LATERAL (SELECT x.segments FROM agent_metrics_internal.conversation_segments x
                            WHERE x.conversation_id = c.conversation_id AND x.agent_id = h.agent_id LIMIT 1) v
        CROSS JOIN LATERAL (VALUES %2$s) AS d (dimension, segment)
        GROUP BY 1, 2, 3
    ), new_segment AS (
        SELECT s.agent_id, s.dimension, s.segment,
               row_number() OVER (PARTITION BY s.agent_id, s.dimension
                                  ORDER BY min(s.said_at), s.segment COLLATE "C") AS place
        FROM said s
        WHERE s.segment NOT IN ('(none)', '(other)')
          AND NOT EXISTS (SELECT 1 FROM agent_metrics.dimension_segments f
                          WHERE f.agent_id = s.agent_id AND f.dimension = s.dimension AND f.segment = s.segment)
        GROUP BY 1, 2, 3
    ), followed AS (
        INSERT INTO agent_metrics.dimension_segments (agent_id, dimension, segment)
        SELECT n.agent_id, n.dimension, n.segment
        FROM new_segment n
        JOIN agent_metrics.dimensions d ON d.dimension = n.dimension
        WHERE n.place <= d.followed_segments - (SELECT count(*) FROM agent_metrics.dimension_segments f
                                                WHERE f.agent_id = n.agent_id AND f.dimension = n.dimension)
        ON CONFLICT DO NOTHING RETURNING agent_id, dimension, segment
    )
    UPDATE agent_metrics_internal.segment_builds b SET followed = b.followed + f.added
    FROM (SELECT n.agent_id, sum(agent_metrics_internal.followed_hash(n.dimension, n.segment)) AS added
          FROM followed n GROUP BY n.agent_id) f
    WHERE b.agent_id = f.agent_id$query$,
        coalesce(own, '(NULL::text, NULL::text)'), kept)
    USING follow_segments.agent_ids, follow_segments.buckets, follow_segments.time_zone;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.follow_segments(text[], timestamptz[], text) IS
    'Follows the values of hours that are new, as far as the dimensions'' bounds go. Internal: refresh() uses it.';

-- Made of the list of measures.
DO $do$
BEGIN
    EXECUTE format($create$
-- Computes the segments of hours again, and of the days they lie in.
CREATE FUNCTION agent_metrics_internal.write_segments(
    agent_ids text[], buckets timestamptz[], snapshots pg_snapshot[], foreign_to xid8[], time_zone text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $function$
#variable_conflict use_column
DECLARE
    day_agents text[];
    days       timestamptz[];
BEGIN
    SELECT array_agg(d.agent_id), array_agg(d.day) INTO day_agents, days
    FROM (SELECT DISTINCT u.agent_id,
                 agent_metrics_internal.bucket_start(u.bucket, 'day', write_segments.time_zone) AS day
          FROM unnest(write_segments.agent_ids, write_segments.buckets) AS u (agent_id, bucket)) d;
    PERFORM agent_metrics_internal.follow_segments(
        write_segments.agent_ids, write_segments.buckets, write_segments.time_zone);
    DELETE FROM agent_metrics_internal.segment_hours s
    USING unnest(write_segments.agent_ids, write_segments.buckets) AS u (agent_id, bucket), agent_metrics.dimensions d
    WHERE s.agent_id = u.agent_id AND s.dimension = d.dimension AND s.bucket = u.bucket;
    INSERT INTO agent_metrics_internal.segment_hours (agent_id, dimension, segment, bucket, level, %1$s)
    SELECT n.agent_id, n.dimension, n.segment, n.bucket, 'hour', %2$s
    FROM agent_metrics_internal.compute_segments(
        write_segments.agent_ids, write_segments.buckets, write_segments.snapshots, write_segments.foreign_to,
        write_segments.time_zone) n;
    DELETE FROM agent_metrics_internal.segment_days s
    USING unnest(day_agents, days) AS u (agent_id, bucket), agent_metrics.dimensions d
    WHERE s.agent_id = u.agent_id AND s.dimension = d.dimension AND s.bucket = u.bucket;
    INSERT INTO agent_metrics_internal.segment_days (agent_id, dimension, segment, bucket, level, %1$s)
    SELECT s.agent_id, s.dimension, s.segment, u.bucket, 'day', %3$s
    FROM unnest(day_agents, days) AS u (agent_id, bucket)
    CROSS JOIN agent_metrics.dimensions d
    JOIN agent_metrics_internal.segment_hours s ON s.agent_id = u.agent_id AND s.dimension = d.dimension
     AND s.bucket >= u.bucket
     AND s.bucket < agent_metrics_internal.bucket_end(u.bucket, 'day', write_segments.time_zone)
    GROUP BY s.agent_id, s.dimension, s.segment, u.bucket;
END
$function$$create$,
        agent_metrics_internal.measure_list('%1$I'), agent_metrics_internal.measure_list('n.%1$I'),
        agent_metrics_internal.measure_list('%3$s(s.%1$I)::%2$s'));
END
$do$;
COMMENT ON FUNCTION agent_metrics_internal.write_segments(text[], timestamptz[], pg_snapshot[], xid8[], text) IS
    'Computes the segments of hours, and of the days above them, again. Internal: refresh() uses it.';

CREATE FUNCTION agent_metrics_internal.refresh_segment_facts(agent_ids text[], measures text[], buckets timestamptz[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics_internal.segment_builds) THEN
        RETURN;
    END IF;
    DELETE FROM agent_metrics_internal.segment_facts s
    USING agent_metrics_internal.fact_buckets(
              refresh_segment_facts.agent_ids, refresh_segment_facts.measures, refresh_segment_facts.buckets) u,
          agent_metrics.dimensions d
    WHERE s.agent_id = u.agent_id AND s.dimension = d.dimension AND s.bucket = u.bucket AND s.measure = u.measure
      AND s.level = u.level;
    INSERT INTO agent_metrics_internal.segment_facts (
        agent_id, dimension, segment, measure, bucket, facts, numerator, denominator, numerator_squared,
        denominator_squared, product, sketch, level)
    SELECT n.agent_id, n.dimension, n.segment, n.measure, n.bucket, n.facts, n.numerator, n.denominator,
           n.numerator_squared, n.denominator_squared, n.product, n.sketch, n.level
    FROM agent_metrics_internal.compute_segment_facts(
        refresh_segment_facts.agent_ids, refresh_segment_facts.measures, refresh_segment_facts.buckets) n;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_segment_facts(text[], text[], timestamptz[]) IS
    'Computes sums of facts by segment again. Internal: refresh() uses it.';

-- Agents whose segments are of other dimensions than those that are switched on now.
CREATE FUNCTION agent_metrics_internal.undivided_agents(agent_ids text[]) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.dimensions d WHERE d.is_active)
       AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.segment_builds) THEN
        RETURN '{}';
    END IF;
    RETURN ARRAY(SELECT u.id
                 FROM unnest(undivided_agents.agent_ids) AS u (id)
                 LEFT JOIN agent_metrics_internal.segment_builds b ON b.agent_id = u.id
                 WHERE b.settings IS DISTINCT FROM agent_metrics_internal.segment_settings()
                    OR b.followed <> agent_metrics_internal.followed_sum(u.id));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.undivided_agents(text[]) IS
    'Of these agents those whose segments have to be built from nothing. Internal: refresh() and verify() use it.';

-- What every refresh does: segments of the conversations and finest buckets that it touched. Agents that are to be
-- built are left to build_segments().
CREATE FUNCTION agent_metrics_internal.refresh_segments(
    refreshed agent_metrics_internal.refreshed_agent[], current_snapshot pg_snapshot, time_zone text,
    conversation_agents text[], conversation_ids text[], arrived agent_metrics_internal.conversation_sums[],
    added agent_metrics_internal.rollup_delta[], dirty_agents text[], dirty_buckets timestamptz[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    agents     text[];
    ids        text[];
    changed    text[];  -- agents of conversations whose segments changed
    changed_ids text[];
    begins     timestamptz[];
    ends       timestamptz[];
    hour_agents text[];
    hours      timestamptz[];
    snapshots  pg_snapshot[];
    foreign_ids xid8[];
    of_conversations boolean := EXISTS (SELECT 1 FROM agent_metrics_internal.active_dimensions() d
                                        WHERE d.reads IS NULL);
BEGIN
    SELECT array_agg(u.agent_id), array_agg(u.conversation_id) INTO agents, ids
    FROM (SELECT u.agent_id, u.conversation_id
          FROM unnest(refresh_segments.conversation_agents, refresh_segments.conversation_ids)
              AS u (agent_id, conversation_id)
          UNION SELECT a.agent_id, a.conversation_id FROM unnest(refresh_segments.arrived) a) u
    JOIN unnest(refresh_segments.refreshed) r ON r.agent_id = u.agent_id;
    SELECT array_agg(c.agent_id), array_agg(c.conversation_id), array_agg(c.started_at), array_agg(c.ended_at)
    INTO changed, changed_ids, begins, ends
    FROM agent_metrics_internal.refresh_conversation_segments(agents, ids) c;

    SELECT array_agg(h.agent_id), array_agg(h.hour), array_agg(refresh_segments.current_snapshot),
           array_agg(r.foreign_to)
    INTO hour_agents, hours, snapshots, foreign_ids
    FROM (SELECT u.agent_id, agent_metrics_internal.bucket_start(u.at, 'hour', refresh_segments.time_zone) AS hour
          FROM (SELECT b.agent_id, b.bucket AS at FROM unnest(refresh_segments.added) b
                UNION ALL SELECT d.agent_id, d.bucket
                FROM unnest(refresh_segments.dirty_agents, refresh_segments.dirty_buckets) AS d (agent_id, bucket)
                UNION ALL SELECT c.agent_id, c.started_at FROM unnest(changed, begins) AS c (agent_id, started_at)
                UNION ALL
                -- where the business says it, all turns of the conversation go over
                SELECT c.agent_id, e.occurred_at
                FROM unnest(changed, changed_ids, begins, ends) AS c (agent_id, conversation_id, begins, ends)
                CROSS JOIN LATERAL (SELECT x.occurred_at FROM agent_metrics.agent_events x
                                    WHERE x.conversation_id = c.conversation_id AND x.agent_id || '' = c.agent_id
                                      AND x.occurred_at >= c.begins AND x.occurred_at <= c.ends OFFSET 0) e
                WHERE of_conversations) u
          WHERE u.at IS NOT NULL
          GROUP BY 1, 2) h
    JOIN unnest(refresh_segments.refreshed) r ON r.agent_id = h.agent_id;
    IF hours IS NOT NULL THEN
        PERFORM agent_metrics_internal.write_segments(
            hour_agents, hours, snapshots, foreign_ids, refresh_segments.time_zone);
    END IF;
    IF changed IS NOT NULL THEN
        PERFORM agent_metrics_internal.refresh_segment_facts(
            array_agg(f.agent_id), array_agg(f.measure), array_agg(f.bucket))
        FROM unnest(changed, changed_ids) AS c (agent_id, conversation_id)
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.conversation_facts x
                            WHERE x.conversation_id = c.conversation_id AND x.agent_id = c.agent_id OFFSET 0) f
        HAVING count(*) > 0;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_segments(
    agent_metrics_internal.refreshed_agent[], pg_snapshot, text, text[], text[],
    agent_metrics_internal.conversation_sums[], agent_metrics_internal.rollup_delta[], text[], timestamptz[]) IS
    'Brings the segments of what a refresh touched up to date. Internal: refresh() uses it.';

-- All segments of agents over whole report days, from nothing, some days at a time, so that what it holds at once is
-- bounded, and what planning costs too.
CREATE FUNCTION agent_metrics_internal.build_segments(
    agent_ids text[], snapshot pg_snapshot, time_zone text, begun timestamptz DEFAULT '-infinity',
    ended timestamptz DEFAULT 'infinity')
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    portion constant bigint := 50000;  -- turns that are looked at together; at least a day
    day   record;
    whole boolean := build_segments.begun = '-infinity' AND build_segments.ended = 'infinity';
BEGIN
    DELETE FROM agent_metrics_internal.segment_rollups s
    WHERE s.agent_id = ANY (build_segments.agent_ids)
      AND s.bucket >= build_segments.begun AND s.bucket < build_segments.ended;
    DELETE FROM agent_metrics_internal.segment_facts s
    WHERE s.agent_id = ANY (build_segments.agent_ids)
      AND s.bucket >= build_segments.begun AND s.bucket < build_segments.ended;
    IF whole THEN
        DELETE FROM agent_metrics_internal.conversation_segments s WHERE s.agent_id = ANY (build_segments.agent_ids);
    END IF;
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.dimensions d WHERE d.is_active) THEN
        DELETE FROM agent_metrics_internal.segment_builds b WHERE b.agent_id = ANY (build_segments.agent_ids);
        RETURN;
    END IF;
    INSERT INTO agent_metrics_internal.segment_builds (agent_id, settings, followed)
    SELECT u.id, agent_metrics_internal.segment_settings(), agent_metrics_internal.followed_sum(u.id)
    FROM unnest(build_segments.agent_ids) AS u (id)
    -- a dimension that is changed meanwhile, or a segment, has them built once more
    WHERE agent_metrics_internal.segment_settings() IS NOT NULL
    ON CONFLICT (agent_id) DO UPDATE SET settings = excluded.settings, followed = excluded.followed
    WHERE whole;
    FOR day IN
        SELECT min(d.bucket) AS begins,
               agent_metrics_internal.bucket_end(max(d.bucket), 'day', build_segments.time_zone) AS ends
        FROM (SELECT r.bucket, sum(sum(r.turns)) OVER (ORDER BY r.bucket) - sum(r.turns) AS before
              FROM agent_metrics_internal.rollups_day r
              WHERE r.agent_id = ANY (build_segments.agent_ids) AND r.level = 'day'
                AND r.bucket >= build_segments.begun AND r.bucket < build_segments.ended
              GROUP BY r.bucket) d
        GROUP BY div(d.before, portion) ORDER BY 1
    LOOP
        PERFORM FROM (SELECT array_agg(c.agent_id) AS agents, array_agg(c.conversation_id) AS ids
                      FROM agent_metrics.conversations c
                      WHERE c.agent_id = ANY (build_segments.agent_ids)
                        AND c.started_at >= day.begins AND c.started_at < day.ends) c
        CROSS JOIN LATERAL agent_metrics_internal.refresh_conversation_segments(c.agents, c.ids) n;
        PERFORM agent_metrics_internal.write_segments(
            array_agg(r.agent_id), array_agg(r.bucket), array_agg(build_segments.snapshot), array_agg(w.foreign_to),
            build_segments.time_zone)
        FROM agent_metrics_internal.rollups_hour r
        JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = r.agent_id
        WHERE r.agent_id = ANY (build_segments.agent_ids) AND r.level = 'hour' AND r.bucket >= day.begins
          AND r.bucket < day.ends;
    END LOOP;
    PERFORM agent_metrics_internal.refresh_segment_facts(
        array_agg(f.agent_id), array_agg(f.measure), array_agg(f.bucket))
    FROM (SELECT DISTINCT f.agent_id, f.measure, f.bucket FROM agent_metrics_internal.conversation_facts f
          WHERE f.agent_id = ANY (build_segments.agent_ids)
            AND f.bucket >= build_segments.begun AND f.bucket < build_segments.ended) f
    HAVING count(*) > 0;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.build_segments(text[], pg_snapshot, text, timestamptz, timestamptz) IS
    'Computes all segments of agents over a span of report days from nothing. '
    'Internal: refresh() and rebuild() use it.';
