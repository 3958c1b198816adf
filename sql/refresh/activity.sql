-- Agent hours: the union of an agent's active intervals. A turn lasts its latency, a day at most; a gap over 30 minutes
-- ends an interval, a shorter one is bridged.
--
-- Each turn is drawn out by the 30 minutes that bridge a gap, and what is stored of a day is the union of these spans,
-- cut to the day and the 30 minutes after it. So new turns are only ever united with what is there, in any order, twice
-- or once; and the active time is the length of each span of the union less 30 minutes.
-- Turns that begin within the same half hour need no bridge between them, so one span stands for all of them.

CREATE FUNCTION agent_metrics_internal.turn_length(latency_ms double precision) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN least(coalesce(agent_metrics_internal.possible_latency(latency_ms), 0), 86400000) * interval '1 millisecond';
COMMENT ON FUNCTION agent_metrics_internal.turn_length(double precision) IS
    'How long a turn lasts: its latency, a day at most; NULL: no time.';

-- Report days that a span concerns, with the stretch of it that is kept of each.
CREATE FUNCTION agent_metrics_internal.days_of_span(span tstzrange, time_zone text)
RETURNS TABLE (bucket timestamptz, stretch tstzrange)
LANGUAGE sql STABLE PARALLEL SAFE
-- no SET, so that the planner puts the query in its place
BEGIN ATOMIC
    SELECT x.bucket, x.stretch
    FROM (SELECT agent_metrics_internal.day_start(d.day::date, time_zone) AS bucket,
                 tstzrange(agent_metrics_internal.day_start(d.day::date, time_zone),
                           agent_metrics_internal.day_start(d.day::date + 1, time_zone)
                           + interval '30 minutes') AS stretch,
                 agent_metrics_internal.day_start(d.day::date + 1, time_zone)
                     > agent_metrics_internal.day_start(d.day::date, time_zone) AS is_there
          FROM generate_series(agent_metrics_internal.day_of(lower(span) - interval '30 minutes', time_zone)::timestamp,
                               agent_metrics_internal.day_of(upper(span), time_zone)::timestamp, interval '1 day')
                                   AS d (day)) x
    -- a day that the clock skips has no moment
    WHERE x.stretch && span AND x.is_there;
END;
COMMENT ON FUNCTION agent_metrics_internal.days_of_span(tstzrange, text) IS
    'Report days that a span concerns, each with the half hour after it. Internal: agent hours.';

-- Turns of windows as spans of half hours; last_snapshot NULL: every turn that current_snapshot sees.
CREATE FUNCTION agent_metrics_internal.compute_spans(
    agent_ids text[], from_times timestamptz[], to_times timestamptz[], last_snapshot pg_snapshot[],
    current_snapshot pg_snapshot[], foreign_to xid8[], since xid8)
RETURNS TABLE (agent_id text, span tstzrange, longest interval)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_sort = off AS $function$
#variable_conflict use_column
DECLARE
    only_agent text := CASE WHEN cardinality(compute_spans.agent_ids) = 1 THEN compute_spans.agent_ids[1] END;
BEGIN
    RETURN QUERY
    SELECT e.agent_id,
           tstzrange(min(e.occurred_at),
                     max(e.occurred_at + agent_metrics_internal.turn_length(e.latency_ms)) + interval '30 minutes'),
           agent_metrics_internal.turn_length(max(agent_metrics_internal.possible_latency(e.latency_ms)))
    FROM unnest(compute_spans.agent_ids, compute_spans.from_times, compute_spans.to_times, compute_spans.last_snapshot,
                compute_spans.current_snapshot, compute_spans.foreign_to)
                    AS w (agent_id, from_time, to_time, last_snapshot, current_snapshot, foreign_to)
    JOIN agent_metrics.agent_events e ON e.agent_id = w.agent_id AND e.occurred_at >= w.from_time
     AND e.occurred_at < w.to_time
     AND e.occurred_at >= agent_metrics_internal.first_moment()
     AND e.occurred_at < agent_metrics_internal.end_of_moments()
    WHERE e.recorded_in >= compute_spans.since AND NOT e.is_eval
      AND (only_agent IS NULL OR e.agent_id = only_agent)
      AND (pg_visible_in_snapshot(e.recorded_in, w.current_snapshot)
           OR (w.last_snapshot IS NULL AND e.recorded_in <= w.foreign_to))
      AND (w.last_snapshot IS NULL OR NOT pg_visible_in_snapshot(e.recorded_in, w.last_snapshot))
    GROUP BY e.agent_id, date_bin('30 minutes', e.occurred_at, '2000-01-01 00:00:00+00');
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compute_spans(
    text[], timestamptz[], timestamptz[], pg_snapshot[], pg_snapshot[], xid8[], xid8) IS
    'Turns of windows of agent, time and snapshots, drawn out by 30 minutes and united by half hours. '
    'Internal: agent hours.';

-- Unites spans with the days they concern. removed: what of these agents is computed again, and not to be kept.
CREATE FUNCTION agent_metrics_internal.write_spans(
    agent_ids text[], spans tstzrange[], longest interval[], removed_agents text[],
    removed tstzmultirange[], time_zone text)
RETURNS TABLE (changed_agents text[], changed_buckets timestamptz[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH new_span AS MATERIALIZED (
        SELECT u.agent_id, d.bucket, range_agg(u.span * d.stretch) AS spans, max(u.longest) AS longest
        FROM unnest(write_spans.agent_ids, write_spans.spans, write_spans.longest) AS u (agent_id, span, longest)
        CROSS JOIN LATERAL agent_metrics_internal.days_of_span(u.span, write_spans.time_zone) d
        GROUP BY u.agent_id, d.bucket
    ), removed_span AS MATERIALIZED (
        SELECT u.agent_id, d.bucket, range_agg(s.span * d.stretch) AS spans
        FROM unnest(write_spans.removed_agents, write_spans.removed) AS u (agent_id, spans)
        CROSS JOIN LATERAL unnest(u.spans) AS s (span)
        CROSS JOIN LATERAL agent_metrics_internal.days_of_span(s.span, write_spans.time_zone) d
        GROUP BY u.agent_id, d.bucket
    ), merged_day AS MATERIALIZED (
        SELECT d.agent_id, d.bucket, k.spans AS known,
               CASE WHEN t.spans IS NULL THEN coalesce(k.spans, '{}') + p.spans
                    ELSE (coalesce(k.spans, '{}') - t.spans) + (coalesce(p.spans, '{}') * t.spans) END AS spans,
               greatest(k.longest, p.longest, interval '0') AS longest, k.longest AS known_longest
        FROM (SELECT p.agent_id, p.bucket FROM new_span p WHERE write_spans.removed_agents IS NULL
              UNION SELECT t.agent_id, t.bucket FROM removed_span t) d
        LEFT JOIN new_span p ON p.agent_id = d.agent_id AND p.bucket = d.bucket
        LEFT JOIN removed_span t ON t.agent_id = d.agent_id AND t.bucket = d.bucket
        LEFT JOIN LATERAL (SELECT x.spans, x.longest FROM agent_metrics_internal.active_days x
                           WHERE x.agent_id = d.agent_id AND x.bucket = d.bucket OFFSET 0) k ON true
    ), deleted_day AS (
        DELETE FROM agent_metrics_internal.active_days a
        USING merged_day m WHERE a.agent_id = m.agent_id AND a.bucket = m.bucket AND isempty(m.spans)
    ), upserted_day AS (
        INSERT INTO agent_metrics_internal.active_days (agent_id, bucket, spans, active_seconds, longest)
        SELECT m.agent_id, m.bucket, m.spans,
               (SELECT sum(greatest(extract(epoch FROM upper(s.span) - lower(s.span)) - 1800, 0))
                FROM unnest(m.spans) AS s (span)), m.longest
        FROM merged_day m
        WHERE NOT isempty(m.spans) AND (m.spans IS DISTINCT FROM m.known OR m.longest IS DISTINCT FROM m.known_longest)
        ON CONFLICT (agent_id, bucket) DO UPDATE SET
            spans = excluded.spans, active_seconds = excluded.active_seconds, longest = excluded.longest
    )
    SELECT array_agg(m.agent_id), array_agg(m.bucket) FROM merged_day m WHERE m.spans IS DISTINCT FROM m.known;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.write_spans(
    text[], tstzrange[], interval[], text[], tstzmultirange[], text) IS
    'Unites spans with the days they concern and returns the days that changed. Internal: refresh() uses it.';

-- What every refresh does beside the rollups, in its transaction: agent hours, and the facts of what it found changed.
CREATE FUNCTION agent_metrics_internal.refresh_facts(
    refreshed agent_metrics_internal.refreshed_agent[], current_snapshot pg_snapshot, oldest_unseen_xid xid8,
    time_zone text, conversation_agents text[], conversation_ids text[],
    arrived agent_metrics_internal.conversation_sums[], spans agent_metrics_internal.active_span[], dirty_agents text[],
    dirty_buckets timestamptz[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    agents    text[];
    measures  text[];
    days      timestamptz[];
    fact_agents   text[];
    fact_measures text[];
    fact_buckets  timestamptz[];
BEGIN
    -- New turns: united with what is there.
    IF refresh_facts.spans IS NOT NULL THEN
        SELECT w.changed_agents, w.changed_buckets INTO agents, days
        FROM (SELECT array_agg(s.agent_id) AS agents, array_agg(tstzrange(s.from_time, s.to_time)) AS spans,
                     array_agg(s.longest) AS longest
              FROM unnest(refresh_facts.spans) s) n
        CROSS JOIN LATERAL agent_metrics_internal.write_spans(
            n.agents, n.spans, n.longest, NULL, NULL, refresh_facts.time_zone) w;
    END IF;

    -- Turns that were updated or deleted: around their buckets, computed again.
    IF refresh_facts.dirty_agents IS NOT NULL THEN
        SELECT agents || w.changed_agents, days || w.changed_buckets INTO agents, days
        FROM agent_metrics_internal.recompute_spans(refresh_facts.refreshed, refresh_facts.current_snapshot,
            refresh_facts.time_zone, refresh_facts.dirty_agents, refresh_facts.dirty_buckets) w;
    END IF;
    measures := array_fill('revenue'::text, ARRAY[coalesce(cardinality(agents), 0)]);

    IF agent_metrics_internal.has_facts() THEN
        SELECT refresh_facts.conversation_agents || array_agg(n.agent_id),
               refresh_facts.conversation_ids || array_agg(n.conversation_id)
        INTO conversation_agents, conversation_ids FROM unnest(refresh_facts.arrived) n;
        -- A new turn of an evaluation run takes what was said of it out, in whichever conversation that counts. A
        -- build has put none in.
        SELECT conversation_agents || array_agg(f.agent_id), conversation_ids || array_agg(f.conversation_id)
        INTO conversation_agents, conversation_ids
        FROM agent_metrics.agent_events e
        CROSS JOIN LATERAL agent_metrics_internal.said_of_turns(e.agent_id, e.occurred_at, e.occurred_at) f
        WHERE refresh_facts.oldest_unseen_xid > '0'::xid8 AND e.recorded_in >= refresh_facts.oldest_unseen_xid
          AND e.is_eval AND e.agent_id = ANY (ARRAY(SELECT a.agent_id FROM unnest(refresh_facts.refreshed) a));
        -- A turn that was updated or deleted may have been one of an evaluation run, or have become one.
        SELECT conversation_agents || array_agg(f.agent_id), conversation_ids || array_agg(f.conversation_id)
        INTO conversation_agents, conversation_ids
        FROM unnest(refresh_facts.dirty_agents, refresh_facts.dirty_buckets) AS d (agent_id, bucket)
        JOIN unnest(refresh_facts.refreshed) a ON a.agent_id = d.agent_id
        CROSS JOIN LATERAL agent_metrics_internal.said_of_turns(d.agent_id, d.bucket, agent_metrics_internal.bucket_end(
            d.bucket, CASE a.bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END, refresh_facts.time_zone)) f;
        IF conversation_agents IS NOT NULL THEN
            SELECT f.changed_agents, f.changed_measures, f.changed_buckets INTO fact_agents, fact_measures, fact_buckets
            FROM agent_metrics_internal.refresh_conversation_facts(
                conversation_agents, conversation_ids, refresh_facts.time_zone) f;
            agents := agents || fact_agents;
            measures := measures || fact_measures;
            days := days || fact_buckets;
        END IF;
    END IF;
    IF agents <> '{}' THEN
        PERFORM agent_metrics_internal.refresh_fact_sums(agents, measures, days);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_facts(
    agent_metrics_internal.refreshed_agent[], pg_snapshot, xid8, text, text[], text[],
    agent_metrics_internal.conversation_sums[], agent_metrics_internal.active_span[], text[], timestamptz[]) IS
    'Brings agent hours and the facts of changed conversations up to date. Internal: refresh() uses it.';

-- Its joins are of short ranges of a key, which only a nested loop does by index, as in recompute_turns().
CREATE FUNCTION agent_metrics_internal.recompute_spans(
    refreshed agent_metrics_internal.refreshed_agent[], current_snapshot pg_snapshot, time_zone text,
    dirty_agents text[], dirty_buckets timestamptz[])
RETURNS TABLE (changed_agents text[], changed_buckets timestamptz[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH dirty_range AS (
        -- As far as a turn of the bucket may have reached, before or after the change.
        SELECT d.agent_id,
               a.foreign_to, tstzrange(d.bucket,
                                       agent_metrics_internal.bucket_end(
                                           d.bucket, CASE a.bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END,
                                           recompute_spans.time_zone) + l.longest + interval '30 minutes') AS span,
               l.longest
        FROM unnest(recompute_spans.dirty_agents, recompute_spans.dirty_buckets) AS d (agent_id, bucket)
        JOIN unnest(recompute_spans.refreshed) a ON a.agent_id = d.agent_id
        CROSS JOIN LATERAL (
            SELECT greatest(
                interval '0',
                (SELECT max(k.longest) FROM agent_metrics_internal.active_days k
                 WHERE k.agent_id = d.agent_id AND k.bucket > d.bucket - interval '3 days'
                   AND k.bucket <= d.bucket + interval '1 hour'),
                (SELECT agent_metrics_internal.turn_length(agent_metrics.sketch_max(r.latency))
                 FROM agent_metrics_internal.rollups r
                 WHERE r.agent_id = d.agent_id AND r.bucket = d.bucket
                   AND r.level = CASE a.bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END)) AS longest) l
    ), agent AS MATERIALIZED (
        SELECT d.agent_id, d.foreign_to, range_agg(d.span) AS spans, max(d.longest) AS longest
        FROM dirty_range d GROUP BY d.agent_id, d.foreign_to
    ), reread_range AS (
        SELECT a.agent_id, a.foreign_to, lower(s.span) - a.longest - interval '30 minutes' AS from_time,
               upper(s.span) AS to_time
        FROM agent a CROSS JOIN LATERAL unnest(a.spans) AS s (span)
    ), recomputed_span AS (
        SELECT c.agent_id, c.span, c.longest
        FROM (SELECT array_agg(x.agent_id) AS agents, array_agg(x.from_time) AS from_times,
                     array_agg(x.to_time) AS to_times, array_agg(NULL::pg_snapshot) AS last_snapshot,
                     array_agg(recompute_spans.current_snapshot) AS current_snapshots,
                     array_agg(x.foreign_to) AS foreign_to
              FROM reread_range x) w
        CROSS JOIN LATERAL agent_metrics_internal.compute_spans(
            w.agents, w.from_times, w.to_times, w.last_snapshot, w.current_snapshots, w.foreign_to, '0') c
        UNION ALL
        SELECT a.agent_id, s.span, interval '0'
        FROM agent a
        JOIN agent_metrics_internal.archived_activity h ON h.agent_id = a.agent_id
        JOIN agent_metrics_internal.archives x ON x.archive_id = h.archive_id AND x.is_counted
        CROSS JOIN LATERAL unnest(h.spans * a.spans) AS s (span)
    )
    SELECT w.changed_agents, w.changed_buckets
    FROM (SELECT array_agg(f.agent_id) AS agents, array_agg(f.span) AS spans, array_agg(f.longest) AS longest
          FROM recomputed_span f) f
    CROSS JOIN (SELECT array_agg(a.agent_id) AS agents, array_agg(a.spans) AS spans FROM agent a) r
    CROSS JOIN LATERAL agent_metrics_internal.write_spans(
        f.agents, f.spans, f.longest, r.agents, r.spans, recompute_spans.time_zone) w;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.recompute_spans(
    agent_metrics_internal.refreshed_agent[], pg_snapshot, text, text[], timestamptz[]) IS
    'Computes agent hours around buckets that saw an update or a deletion again. Internal: refresh() uses it.';

-- For rebuild(): agent hours of a span, the day before it and the day after it, and all sums of its days, from nothing.
CREATE FUNCTION agent_metrics_internal.rebuild_fact_sums(
    agent_ids text[], begun timestamptz, ended timestamptz, time_zone text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    first     timestamptz := agent_metrics_internal.bucket_start(
        rebuild_fact_sums.begun - interval '1 microsecond', 'day', rebuild_fact_sums.time_zone);
    after_all timestamptz := agent_metrics_internal.bucket_end(
        rebuild_fact_sums.ended, 'day', rebuild_fact_sums.time_zone);
BEGIN
    DELETE FROM agent_metrics_internal.active_days a
    WHERE a.agent_id = ANY (rebuild_fact_sums.agent_ids) AND a.bucket >= first AND a.bucket <= rebuild_fact_sums.ended;
    PERFORM agent_metrics_internal.write_spans(f.agents, f.spans, f.longest, NULL, NULL, rebuild_fact_sums.time_zone)
    FROM (SELECT array_agg(f.agent_id) AS agents, array_agg(f.span) AS spans, array_agg(f.longest) AS longest FROM (
        SELECT c.agent_id, c.span, c.longest
        FROM (SELECT array_agg(w.agent_id) AS agents, array_agg(first - interval '2 days') AS from_times,
                     array_agg(after_all + interval '1 hour') AS to_times,
                     array_agg(NULL::pg_snapshot) AS last_snapshot, array_agg(w.snapshot) AS current_snapshots,
                     array_agg(w.foreign_to) AS foreign_to
              FROM agent_metrics_internal.agent_watermarks w WHERE w.agent_id = ANY (rebuild_fact_sums.agent_ids)) w
        CROSS JOIN LATERAL agent_metrics_internal.compute_spans(
            w.agents, w.from_times, w.to_times, w.last_snapshot, w.current_snapshots, w.foreign_to, '0') c
        UNION ALL
        SELECT h.agent_id, s.span, interval '0'
        FROM agent_metrics_internal.archived_activity h
        JOIN agent_metrics_internal.archives x ON x.archive_id = h.archive_id AND x.is_counted
        CROSS JOIN LATERAL unnest(h.spans) AS s (span)
        WHERE h.agent_id = ANY (rebuild_fact_sums.agent_ids)
          AND s.span && tstzrange(first - interval '2 days', after_all + interval '1 hour')) f) f;
    PERFORM agent_metrics_internal.refresh_fact_sums(d.agents, d.measures, d.buckets)
    FROM (SELECT array_agg(x.agent_id) AS agents, array_agg(x.measure) AS measures, array_agg(x.bucket) AS buckets
          FROM (SELECT f.agent_id, f.measure, f.bucket FROM agent_metrics_internal.conversation_facts f
                WHERE f.agent_id = ANY (rebuild_fact_sums.agent_ids) AND f.bucket >= rebuild_fact_sums.begun
                  AND f.bucket < rebuild_fact_sums.ended
                UNION
                SELECT a.agent_id, 'revenue', a.bucket FROM agent_metrics_internal.active_days a
                WHERE a.agent_id = ANY (rebuild_fact_sums.agent_ids)
                  AND a.bucket >= first AND a.bucket <= rebuild_fact_sums.ended) x) d;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.rebuild_fact_sums(text[], timestamptz, timestamptz, text) IS
    'Agent hours and sums of facts of a span of report days, computed again from nothing. Internal: rebuild() uses it.';
