-- The part of verify() that is about facts and agent hours. unsettled_*: conversations with changes that no refresh has
-- seen; unseen_*: turns.

CREATE FUNCTION agent_metrics_internal.verify_facts(
    agent_ids text[], snapshots pg_snapshot[], foreign_to xid8[], begun timestamptz, ended timestamptz, time_zone text,
    unsettled_agents text[], unsettled_conversations text[], unseen_agents text[], unseen_moments timestamptz[])
RETURNS SETOF agent_metrics.difference
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    -- One statement: all is compared in one snapshot, so that what commits meanwhile is no difference.
    RETURN QUERY
    WITH unseen_conversation AS MATERIALIZED (
        SELECT u.agent_id, u.conversation_id
        FROM unnest(verify_facts.unsettled_agents, verify_facts.unsettled_conversations)
            AS u (agent_id, conversation_id)
    ), unseen_range AS MATERIALIZED (
        -- a turn of a day before may last into the day
        SELECT s.agent_id, s.from_time - interval '1 hour' AS from_time, s.to_time + interval '26 hours' AS to_time
        FROM agent_metrics_internal.stale_ranges s
        UNION SELECT a.agent_id, r.from_time - interval '1 hour', r.to_time + interval '26 hours'
        FROM unnest(verify_facts.agent_ids) AS a (agent_id) CROSS JOIN agent_metrics_internal.changed_ranges() r
        UNION SELECT u.agent_id, u.occurred_at - interval '1 hour', u.occurred_at + interval '26 hours'
        FROM unnest(verify_facts.unseen_agents, verify_facts.unseen_moments) AS u (agent_id, occurred_at)
        WHERE u.occurred_at >= agent_metrics_internal.first_moment()
          AND u.occurred_at < agent_metrics_internal.end_of_moments()
        UNION SELECT c.agent_id, c.occurred_at - interval '1 hour', c.occurred_at + interval '26 hours'
        FROM agent_metrics_internal.changes c
        WHERE c.agent_id = ANY (verify_facts.agent_ids) AND c.measures_changed
          AND c.occurred_at >= agent_metrics_internal.first_moment()
          AND c.occurred_at < agent_metrics_internal.end_of_moments()
    ), stored_fact AS MATERIALIZED (
        SELECT f.agent_id, f.conversation_id, f.measure, f.bucket, f.facts, f.numerator, f.denominator,
               f.numerator_squared, f.denominator_squared, f.product, f.value, f.sketch
        FROM agent_metrics_internal.conversation_facts f
        WHERE f.agent_id = ANY (verify_facts.agent_ids) AND f.bucket >= verify_facts.begun
          AND f.bucket < verify_facts.ended
    ), recomputed_fact AS MATERIALIZED (
        SELECT f.*
        FROM (SELECT array_agg(c.agent_id) AS agents, array_agg(c.conversation_id) AS ids
              FROM agent_metrics.conversations c WHERE c.agent_id = ANY (verify_facts.agent_ids)) c
        CROSS JOIN LATERAL agent_metrics_internal.sum_facts(c.agents, c.ids, verify_facts.time_zone) f
        WHERE f.bucket >= verify_facts.begun AND f.bucket < verify_facts.ended
    ), wrong_fact AS (
        SELECT d.agent_id, 'conversation' AS level, d.bucket, d.measure || ' of ' || d.conversation_id AS measure,
               max(d.content) FILTER (WHERE d.is_stored) AS stored,
               max(d.content) FILTER (WHERE NOT d.is_stored) AS recomputed
        FROM (SELECT true AS is_stored, s.agent_id, s.conversation_id, s.measure, s.bucket, s::text AS content
              FROM (SELECT * FROM stored_fact EXCEPT SELECT * FROM recomputed_fact) s
              UNION ALL
              SELECT false, f.agent_id, f.conversation_id, f.measure, f.bucket, f::text
              FROM (SELECT * FROM recomputed_fact EXCEPT SELECT * FROM stored_fact) f) d
        WHERE NOT EXISTS (SELECT 1 FROM unseen_conversation u
                          WHERE u.agent_id = d.agent_id AND u.conversation_id = d.conversation_id)
          -- what was said of a turn counts or not by what the turn is
          AND NOT EXISTS (SELECT 1 FROM unseen_range r
                          WHERE r.agent_id = d.agent_id AND r.from_time < d.bucket + interval '26 hours'
                            AND r.to_time > d.bucket)
        GROUP BY d.agent_id, d.bucket, d.measure, d.conversation_id
    ), stored_sum AS MATERIALIZED (
        SELECT f.agent_id, f.measure, f.bucket, f.facts, f.numerator, f.denominator,
               f.numerator_squared, f.denominator_squared, f.product, f.sketch, f.level
        FROM agent_metrics_internal.fact_sums f
        WHERE f.agent_id = ANY (verify_facts.agent_ids) AND f.bucket >= verify_facts.begun
          AND f.bucket < verify_facts.ended
    ), recomputed_sum AS MATERIALIZED (
        SELECT n.*
        FROM (SELECT array_agg(x.agent_id) AS agents, array_agg(x.measure) AS measures, array_agg(x.bucket) AS buckets
              FROM (SELECT s.agent_id, s.measure, s.bucket FROM stored_sum s
                    UNION SELECT s.agent_id, s.measure, s.bucket FROM stored_fact s
                    UNION SELECT a.agent_id, 'revenue', a.bucket FROM agent_metrics_internal.active_days a
                    WHERE a.agent_id = ANY (verify_facts.agent_ids) AND a.bucket >= verify_facts.begun
                      AND a.bucket < verify_facts.ended) x) k
        CROSS JOIN LATERAL agent_metrics_internal.compute_fact_sums(k.agents, k.measures, k.buckets) n
    ), wrong_sum AS (
        SELECT d.agent_id, d.level, d.bucket, d.measure,
               max(d.content) FILTER (WHERE d.is_stored) AS stored,
               max(d.content) FILTER (WHERE NOT d.is_stored) AS recomputed
        FROM (SELECT true AS is_stored, s.agent_id, s.level, s.measure, s.bucket, s::text AS content
              FROM (SELECT * FROM stored_sum EXCEPT SELECT * FROM recomputed_sum) s
              UNION ALL
              SELECT false, f.agent_id, f.level, f.measure, f.bucket, f::text
              FROM (SELECT * FROM recomputed_sum EXCEPT SELECT * FROM stored_sum) f) d
        GROUP BY d.agent_id, d.level, d.bucket, d.measure
    ), recomputed_span AS (
        SELECT c.agent_id, c.span
        FROM (SELECT array_agg(a.agent_id) AS agents, array_agg(verify_facts.begun - interval '3 days') AS from_times,
                     array_agg(verify_facts.ended + interval '1 hour') AS to_times,
                     array_agg(NULL::pg_snapshot) AS last_snapshot, array_agg(a.snapshot) AS current_snapshots,
                     array_agg(a.foreign_to) AS foreign_to
              FROM unnest(verify_facts.agent_ids, verify_facts.snapshots, verify_facts.foreign_to)
                  AS a (agent_id, snapshot, foreign_to)) w
        CROSS JOIN LATERAL agent_metrics_internal.compute_spans(
            w.agents, w.from_times, w.to_times, w.last_snapshot, w.current_snapshots, w.foreign_to, '0') c
        UNION ALL
        SELECT h.agent_id, s.span
        FROM agent_metrics_internal.archived_activity h
        JOIN agent_metrics_internal.archives x ON x.archive_id = h.archive_id AND x.is_counted
        CROSS JOIN LATERAL unnest(h.spans) AS s (span)
        WHERE h.agent_id = ANY (verify_facts.agent_ids)
    ), recomputed_activity AS MATERIALIZED (
        SELECT s.agent_id, d.bucket, range_agg(s.span * d.stretch) AS spans
        FROM recomputed_span s CROSS JOIN LATERAL agent_metrics_internal.days_of_span(s.span, verify_facts.time_zone) d
        WHERE d.bucket >= verify_facts.begun AND d.bucket < verify_facts.ended
        GROUP BY s.agent_id, d.bucket
    ), stored_activity AS MATERIALIZED (
        SELECT a.agent_id, a.bucket, a.spans, a.active_seconds FROM agent_metrics_internal.active_days a
        WHERE a.agent_id = ANY (verify_facts.agent_ids) AND a.bucket >= verify_facts.begun
          AND a.bucket < verify_facts.ended
    )
    SELECT w.agent_id, w.level, w.bucket, w.measure, w.stored, w.recomputed FROM wrong_fact w
    UNION ALL
    SELECT w.agent_id, w.level, w.bucket, w.measure, w.stored, w.recomputed FROM wrong_sum w
    UNION ALL
    SELECT coalesce(s.agent_id, n.agent_id), 'day', coalesce(s.bucket, n.bucket), 'active time',
           s.spans::text, n.spans::text
    FROM stored_activity s FULL JOIN recomputed_activity n ON n.agent_id = s.agent_id AND n.bucket = s.bucket
    WHERE (s.spans IS DISTINCT FROM n.spans
           OR s.active_seconds <> (SELECT sum(greatest(extract(epoch FROM upper(x.span) - lower(x.span)) - 1800, 0))
                                   FROM unnest(n.spans) AS x (span)))
      AND NOT EXISTS (SELECT 1 FROM unseen_range r
                      WHERE r.agent_id = coalesce(s.agent_id, n.agent_id)
                        AND r.from_time < agent_metrics_internal.bucket_end(
                            coalesce(s.bucket, n.bucket), 'day', verify_facts.time_zone) + interval '1 hour'
                        AND r.to_time > coalesce(s.bucket, n.bucket));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.verify_facts(
    text[], pg_snapshot[], xid8[], timestamptz, timestamptz, text, text[], text[], text[], timestamptz[]) IS
    'Facts of conversations, their days and agent hours that are not what the facts give. Internal: verify() uses it.';
