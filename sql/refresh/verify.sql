-- verify: the rollups, computed again from raw events and compared. No row means they are right.

CREATE TYPE agent_metrics.difference AS (
    agent_id text, level text, bucket timestamptz, measure text, stored text, recomputed text);
COMMENT ON TYPE agent_metrics.difference IS 'A stored value that is not what the facts give.';
COMMENT ON COLUMN agent_metrics.difference.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.difference.level IS 'fine, hour, day, or conversation.';
COMMENT ON COLUMN agent_metrics.difference.bucket IS 'Start of the bucket, or of the conversation.';
COMMENT ON COLUMN agent_metrics.difference.measure IS 'Measure, or id of the conversation.';
COMMENT ON COLUMN agent_metrics.difference.stored IS 'What is stored.';
COMMENT ON COLUMN agent_metrics.difference.recomputed IS 'What the facts give.';

-- Nothing is found in a span that holds nothing, which would read as if all were well.
CREATE FUNCTION agent_metrics_internal.check_span(from_time timestamptz, to_time timestamptz) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF from_time >= to_time THEN
        RAISE EXCEPTION 'no span of time from % to %', from_time, to_time
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'From is its first moment, to the first after it; NULL is no limit.',
                  HINT = 'One day: ''2026-03-01'', ''2026-03-02''.';
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_span(timestamptz, timestamptz) IS
    'Refuses a span of time that ends before it has begun. Internal: verify() and rebuild() use it.';

-- What a refresh has not seen yet is left out: turns newer than the watermark, buckets and conversations whose
-- changes wait in the log. One statement, so that all of it is seen at one moment.
CREATE FUNCTION agent_metrics.verify(
    agent_id text DEFAULT NULL, from_time timestamptz DEFAULT NULL, to_time timestamptz DEFAULT NULL)
RETURNS SETOF agent_metrics.difference
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    zone  text := agent_metrics_internal.report_time_zone();
    begun timestamptz := greatest(
        agent_metrics_internal.bucket_start($2, 'day', zone),
        agent_metrics_internal.bucket_start(agent_metrics_internal.first_moment(), 'day', zone));
    ended timestamptz := least(agent_metrics_internal.bucket_start($3, 'day', zone),
                               agent_metrics_internal.end_of_moments());
    unbuilt text[];  -- agents whose next refresh computes everything again
BEGIN
    IF $1 IS NOT NULL THEN
        PERFORM agent_metrics_internal.check_registered($1);
    END IF;
    PERFORM agent_metrics_internal.check_span($2, $3);
    PERFORM agent_metrics_internal.check_versions();
    PERFORM agent_metrics_internal.check_row_security();
    IF ended < $3 THEN
        ended := agent_metrics_internal.bucket_end(ended, 'day', zone);
    END IF;
    unbuilt := agent_metrics_internal.must_build(
        ARRAY(SELECT w.agent_id FROM agent_metrics_internal.agent_watermarks w), zone);
    -- One statement: all is compared in one snapshot, so that what commits meanwhile is no difference.
    RETURN QUERY
    WITH agent AS MATERIALIZED (
        SELECT w.agent_id, w.snapshot, w.foreign_to, k.bucket_seconds,
               k.outcome_metric = 'qualified_lead_rate' AS counts_leads
        FROM agent_metrics_internal.agent_watermarks w
        JOIN agent_metrics.agents a ON a.agent_id = w.agent_id
        JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
        WHERE ($1 IS NULL OR w.agent_id = $1) AND w.agent_id <> ALL (unbuilt)
    ), unseen_range AS MATERIALIZED (
        SELECT s.agent_id, s.from_time, s.to_time FROM agent_metrics_internal.stale_ranges s
        UNION SELECT a.agent_id, r.from_time, r.to_time
              FROM agent a CROSS JOIN agent_metrics_internal.changed_ranges() r
    ), unseen_change AS MATERIALIZED (
        SELECT c.agent_id, c.conversation_id, c.business_event_id, c.label, c.occurred_at,
               c.measures_changed, c.changed_in
        FROM agent_metrics_internal.changes c
    ), unseen_turn AS MATERIALIZED (
        -- Turns that no refresh has seen. An id of another cluster is in no snapshot either, until this one has reached
        -- it; from then on it cannot be told from one of ours, and the next refresh looks at its bucket again.
        SELECT e.agent_id, e.conversation_id, e.occurred_at, e.is_eval,
               coalesce(e.recorded_in <= a.foreign_to, false) AS is_below
        FROM agent a JOIN agent_metrics.agent_events e ON e.agent_id = a.agent_id
        WHERE e.recorded_in >= pg_snapshot_xmin(a.snapshot) AND NOT pg_visible_in_snapshot(e.recorded_in, a.snapshot)
          AND (a.foreign_to IS NULL OR e.recorded_in > a.foreign_to OR e.recorded_in = pg_current_xact_id_if_assigned()
               OR pg_visible_in_snapshot(e.recorded_in, pg_current_snapshot()))
    ), recomputed_turns AS MATERIALIZED (
        SELECT f.*
        FROM (SELECT array_agg(a.agent_id) AS agents, array_agg(begun) AS from_times, array_agg(ended) AS to_times,
                     array_agg(NULL::pg_snapshot) AS last_snapshot, array_agg(a.snapshot) AS current_snapshots,
                     array_agg(a.foreign_to) AS foreign_to, array_agg(a.bucket_seconds) AS bucket_seconds
              FROM agent a) w
        CROSS JOIN LATERAL agent_metrics_internal.compute_turns(w.agents, w.from_times, w.to_times, w.last_snapshot,
            w.current_snapshots, w.foreign_to, w.bucket_seconds, zone, '0'::xid8) f
    ), stored_conversation AS MATERIALIZED (
        SELECT c.agent_id, c.conversation_id, c.started_at, c.ended_at, c.turns, c.token_turns, c.tokens, c.cost_usd,
               c.lead_id, c.agent_label, c.judge_label, c.crm_label, c.human_label, c.outcome_label, c.outcome_source,
               c.unmapped_label, c.has_outcome, c.is_success, c.is_unit, c.is_deflection, c.is_escalation, c.is_refusal,
               c.is_booking, c.is_automation, c.is_qualified, c.is_human_touched, c.business_event_ids
        FROM agent c_agent JOIN agent_metrics.conversations c ON c.agent_id = c_agent.agent_id
        WHERE c.started_at >= begun AND c.started_at < ended
    ), dirty_conversation AS MATERIALIZED (
        SELECT c.agent_id, c.conversation_id FROM unseen_change c WHERE c.agent_id IS NOT NULL
        UNION SELECT u.agent_id, u.conversation_id FROM unseen_turn u
        UNION SELECT a.agent_id, b.conversation_id
        FROM agent a JOIN agent_metrics.business_events b ON NOT pg_visible_in_snapshot(b.changed_in, a.snapshot)
        UNION SELECT k.agent_id, k.conversation_id
        FROM agent a JOIN agent_metrics.business_events b ON NOT pg_visible_in_snapshot(b.changed_in, a.snapshot)
        JOIN agent_metrics.conversations k
          ON k.agent_id = a.agent_id AND k.business_event_ids @> ARRAY[b.business_event_id]
        UNION SELECT a.agent_id, c.conversation_id
        FROM agent a JOIN unseen_change c ON c.agent_id IS NULL AND NOT pg_visible_in_snapshot(c.changed_in, a.snapshot)
        UNION SELECT k.agent_id, k.conversation_id
        FROM agent a JOIN unseen_change c ON c.agent_id IS NULL AND NOT pg_visible_in_snapshot(c.changed_in, a.snapshot)
        JOIN agent_metrics.conversations k
          ON k.agent_id = a.agent_id AND k.business_event_ids @> ARRAY[c.business_event_id]
        UNION SELECT k.agent_id, k.conversation_id   -- a mapping that changed may concern any of them
        FROM agent a JOIN agent_metrics.conversations k ON k.agent_id = a.agent_id
        WHERE EXISTS (SELECT 1 FROM agent_metrics.outcomes o WHERE NOT pg_visible_in_snapshot(o.changed_in, a.snapshot))
           OR EXISTS (SELECT 1 FROM agent_metrics.event_kinds o
                      WHERE NOT pg_visible_in_snapshot(o.changed_in, a.snapshot))
           OR EXISTS (SELECT 1 FROM unseen_change c
                      WHERE c.label IS NOT NULL AND NOT pg_visible_in_snapshot(c.changed_in, a.snapshot))
    ), recomputed_conversation AS MATERIALIZED (
        SELECT n.*
        FROM (SELECT array_agg(x.agent_id) AS agents, array_agg(x.conversation_id) AS conversations,
                     array_agg('-infinity'::timestamptz) AS from_times, array_agg('infinity'::timestamptz) AS to_times
              FROM (SELECT k.agent_id, k.conversation_id FROM stored_conversation k
                    UNION SELECT e.agent_id, e.conversation_id
                    FROM agent a JOIN agent_metrics.agent_events e ON e.agent_id = a.agent_id
                    WHERE e.occurred_at >= begun AND e.occurred_at < ended) x) w
        CROSS JOIN LATERAL agent_metrics_internal.resolve_outcomes(
            agent_metrics_internal.sum_conversations(w.agents, w.conversations, w.from_times, w.to_times, NULL, NULL)) n
        WHERE n.started_at >= begun AND n.started_at < ended
    ), wrong_conversation AS (
        SELECT d.agent_id, 'conversation' AS level, max(d.started_at) AS bucket, d.conversation_id AS measure,
               max(d.content) FILTER (WHERE d.is_stored) AS stored,
               max(d.content) FILTER (WHERE NOT d.is_stored) AS recomputed
        FROM (SELECT true AS is_stored, k.agent_id, k.conversation_id, k.started_at, k.ended_at, k::text AS content
              FROM (SELECT * FROM stored_conversation EXCEPT SELECT * FROM recomputed_conversation) k
              UNION ALL
              SELECT false, k.agent_id, k.conversation_id, k.started_at, k.ended_at, k::text
              FROM (SELECT * FROM recomputed_conversation EXCEPT SELECT * FROM stored_conversation) k) d
        WHERE NOT EXISTS (SELECT 1 FROM dirty_conversation x
                          WHERE x.agent_id = d.agent_id AND x.conversation_id = d.conversation_id)
        GROUP BY d.agent_id, d.conversation_id
        HAVING NOT EXISTS (SELECT 1 FROM unseen_range r WHERE r.agent_id = d.agent_id AND r.from_time <= max(d.ended_at)
                                                          AND r.to_time > min(d.started_at))
    ), level_of AS (
        SELECT a.agent_id, l.level FROM agent a CROSS JOIN (VALUES ('fine'), ('hour'), ('day')) AS l (level)
        WHERE l.level <> 'fine' OR a.bucket_seconds = 300
    ), partial_bucket AS (
        SELECT f.agent_id, l.level, agent_metrics_internal.bucket_start(f.bucket, l.level, zone) AS bucket,
               sum(f.turns) AS turns, sum(f.token_turns) AS token_turns, sum(f.tokens_input) AS tokens_input,
               sum(f.tokens_output) AS tokens_output, sum(f.cost_turns) AS cost_turns, sum(f.tool_calls) AS tool_calls,
               sum(f.error_turns) AS error_turns, sum(f.cost_usd) AS cost_usd,
               agent_metrics.merge(f.latency) AS latency, 0 AS conversations, 0 AS outcomes, 0 AS successes, 0 AS units,
               0 AS deflections, 0 AS escalations, 0 AS refusals, 0 AS bookings, 0 AS automations,
               0::numeric AS unit_cost_usd, 0::numeric AS conversation_cost_usd, 0::numeric AS cost_usd_squared,
               0::numeric AS tokens_squared, 0::numeric AS tokens_by_turns, 0::numeric AS turns_squared,
               0 AS leads, 0 AS qualified_leads
        FROM recomputed_turns f JOIN level_of l ON l.agent_id = f.agent_id
        GROUP BY 1, 2, 3
        UNION ALL
        SELECT k.agent_id, l.level,
               agent_metrics_internal.bucket_start(k.started_at, l.level, zone),
               0, 0, 0, 0, 0, 0, 0, 0, NULL,
               count(*), count(*) FILTER (WHERE k.has_outcome), count(*) FILTER (WHERE k.is_success),
               count(*) FILTER (WHERE k.is_unit), count(*) FILTER (WHERE k.is_deflection),
               count(*) FILTER (WHERE k.is_escalation), count(*) FILTER (WHERE k.is_refusal),
               count(*) FILTER (WHERE k.is_booking), count(*) FILTER (WHERE k.is_automation),
               coalesce(sum(k.cost_usd) FILTER (WHERE k.is_unit), 0), sum(k.cost_usd), sum(k.cost_usd * k.cost_usd),
               sum(k.tokens::numeric * k.tokens), sum(k.tokens::numeric * k.token_turns),
               sum(k.token_turns::numeric * k.token_turns), 0, 0
        FROM stored_conversation k JOIN level_of l ON l.agent_id = k.agent_id
        GROUP BY 1, 2, 3
        UNION ALL
        SELECT d.agent_id, l.level,
               agent_metrics_internal.bucket_start(d.started_at, l.level, zone),
               0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, count(*),
               count(*) FILTER (WHERE d.is_qualified)
        FROM (SELECT c.agent_id, c.lead_id, min(c.started_at) AS started_at, bool_or(c.is_qualified) AS is_qualified
              FROM agent a JOIN agent_metrics.conversations c ON c.agent_id = a.agent_id
              WHERE a.counts_leads GROUP BY c.agent_id, c.lead_id) d
        JOIN level_of l ON l.agent_id = d.agent_id
        WHERE d.started_at >= begun AND d.started_at < ended
        GROUP BY 1, 2, 3
    ), stored_bucket AS MATERIALIZED (
        SELECT r.agent_id, r.level, r.bucket, r.turns, r.token_turns, r.tokens_input, r.tokens_output, r.cost_turns,
               r.tool_calls, r.error_turns, r.cost_usd, r.latency, r.conversations, r.outcomes, r.successes, r.units,
               r.deflections, r.escalations, r.refusals, r.bookings, r.automations, r.unit_cost_usd,
               r.conversation_cost_usd, r.cost_usd_squared, r.tokens_squared, r.tokens_by_turns, r.turns_squared,
               r.leads, r.qualified_leads
        FROM agent a JOIN agent_metrics_internal.rollups r ON r.agent_id = a.agent_id
        WHERE r.bucket >= begun AND r.bucket < ended
    ), recomputed_bucket AS MATERIALIZED (
        SELECT p.agent_id, p.level, p.bucket, sum(p.turns) AS turns, sum(p.token_turns) AS token_turns,
               sum(p.tokens_input) AS tokens_input, sum(p.tokens_output) AS tokens_output,
               sum(p.cost_turns) AS cost_turns, sum(p.tool_calls) AS tool_calls, sum(p.error_turns) AS error_turns,
               sum(p.cost_usd) AS cost_usd, agent_metrics.merge(p.latency) AS latency,
               sum(p.conversations) AS conversations, sum(p.outcomes) AS outcomes, sum(p.successes) AS successes,
               sum(p.units) AS units, sum(p.deflections) AS deflections, sum(p.escalations) AS escalations,
               sum(p.refusals) AS refusals, sum(p.bookings) AS bookings, sum(p.automations) AS automations,
               sum(p.unit_cost_usd) AS unit_cost_usd, sum(p.conversation_cost_usd) AS conversation_cost_usd,
               sum(p.cost_usd_squared) AS cost_usd_squared, sum(p.tokens_squared) AS tokens_squared,
               sum(p.tokens_by_turns) AS tokens_by_turns, sum(p.turns_squared) AS turns_squared, sum(p.leads) AS leads,
               sum(p.qualified_leads) AS qualified_leads
        FROM partial_bucket p GROUP BY p.agent_id, p.level, p.bucket
    ), different_bucket AS (
        -- only rows that differ somewhere are taken apart
        SELECT true AS is_stored, x.* FROM (SELECT * FROM stored_bucket EXCEPT SELECT * FROM recomputed_bucket) x
        UNION ALL
        SELECT false, x.* FROM (SELECT * FROM recomputed_bucket EXCEPT SELECT * FROM stored_bucket) x
    ), different_measure AS (
        SELECT s.agent_id, s.level, s.bucket, m.measure,
               max(m.value) FILTER (WHERE s.is_stored) AS stored,
               max(m.value) FILTER (WHERE NOT s.is_stored) AS recomputed
        FROM (SELECT x.is_stored, x.agent_id, x.level, x.bucket,
                     to_jsonb(x) - '{is_stored,agent_id,level,bucket}'::text[] AS content
              FROM different_bucket x) s
        CROSS JOIN LATERAL (SELECT e.key AS measure, e.value #>> '{}' AS value FROM jsonb_each(s.content) e) m
        GROUP BY s.agent_id, s.level, s.bucket, m.measure
    ), unseen_bucket AS MATERIALIZED (
        SELECT DISTINCT c.agent_id, l.level,
               agent_metrics_internal.bucket_start(c.occurred_at, l.level, zone) AS bucket
        FROM (SELECT w.agent_id, w.occurred_at FROM unseen_change w WHERE w.measures_changed
              UNION SELECT u.agent_id, u.occurred_at FROM unseen_turn u WHERE u.is_below) c
        JOIN level_of l ON l.agent_id = c.agent_id
        WHERE c.occurred_at >= agent_metrics_internal.first_moment()
          AND c.occurred_at < agent_metrics_internal.end_of_moments()
    )
    SELECT w.agent_id, w.level, w.bucket, w.measure, w.stored, w.recomputed FROM wrong_conversation w
    UNION ALL
    SELECT m.agent_id, m.level, m.bucket, m.measure, m.stored, m.recomputed
    FROM different_measure m
    -- a bucket that holds nothing has no row
    WHERE CASE WHEN m.measure = 'latency' THEN m.stored IS DISTINCT FROM m.recomputed
               ELSE m.stored::numeric IS DISTINCT FROM m.recomputed::numeric END
      AND NOT EXISTS (SELECT 1
                      FROM unseen_bucket b WHERE b.agent_id = m.agent_id AND b.level = m.level AND b.bucket = m.bucket)
      AND NOT EXISTS (SELECT 1 FROM unseen_range r
                      WHERE r.agent_id = m.agent_id
                        AND r.from_time < agent_metrics_internal.bucket_end(m.bucket, m.level, zone)
                        AND r.to_time > m.bucket)
    UNION ALL
    SELECT v.agent_id, v.level, v.bucket, v.measure, v.stored, v.recomputed
    FROM (SELECT array_agg(a.agent_id) AS agents, array_agg(a.snapshot) AS snapshots,
                 array_agg(a.foreign_to) AS foreign_to
          FROM agent a) a
    CROSS JOIN (SELECT array_agg(d.agent_id) AS agents, array_agg(d.conversation_id) AS ids FROM dirty_conversation d) d
    CROSS JOIN (SELECT array_agg(u.agent_id) AS agents, array_agg(u.occurred_at) AS moments
                FROM unseen_turn u WHERE u.is_below OR u.is_eval) u
    CROSS JOIN LATERAL agent_metrics_internal.verify_facts(
        a.agents, a.snapshots, a.foreign_to, begun, ended, zone, d.agents, d.ids, u.agents, u.moments) v
    UNION ALL
    SELECT v.agent_id, v.level, v.bucket, v.measure, v.stored, v.recomputed
    FROM (SELECT array_agg(a.agent_id) AS agents, array_agg(a.snapshot) AS snapshots,
                 array_agg(a.foreign_to) AS foreign_to
          FROM agent a) a
    CROSS JOIN (SELECT array_agg(d.agent_id) AS agents, array_agg(d.conversation_id) AS ids FROM dirty_conversation d) d
    CROSS JOIN (SELECT array_agg(u.agent_id) AS agents, array_agg(u.occurred_at) AS moments FROM unseen_turn u) u
    CROSS JOIN LATERAL agent_metrics_internal.verify_segments(
        a.agents, a.snapshots, a.foreign_to, begun, ended, zone, d.agents, d.ids, u.agents, u.moments) v;
END
$function$;
COMMENT ON FUNCTION agent_metrics.verify(text, timestamptz, timestamptz) IS
    'Recomputes the rollups of one agent, or of all when NULL, over whole report days and returns every stored value '
    'that differs. What no refresh has seen yet is left out.';
