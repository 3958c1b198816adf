-- What the log and the stamps say is dirty, and whether an agent is to be built from nothing.

CREATE FUNCTION agent_metrics_internal.watermark_settings(time_zone text, bucket_seconds integer, outcome_metric text)
RETURNS text
-- neither STRICT nor IMMUTABLE, so that the planner puts the expression in its place: format() is STABLE
LANGUAGE sql STABLE PARALLEL SAFE
RETURN format('%s, %s seconds, leads: %s', time_zone, bucket_seconds, outcome_metric = 'qualified_lead_rate');
COMMENT ON FUNCTION agent_metrics_internal.watermark_settings(text, integer, text) IS
    'The settings that rollups are built with; when they differ from those stored, the agent is built again.';

-- Agents that have to be built from nothing: never refreshed, another origin, other settings, a TRUNCATE since, or
-- turns with ids that this cluster has yet to reach. No trigger lets such an id pass; it came with data that was loaded
-- while triggers were off, and is seen once: from then on ids up to it are foreign to the agent.
CREATE FUNCTION agent_metrics_internal.must_build(agent_ids text[], time_zone text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
DECLARE
    here   text := agent_metrics_internal.origin();
    next   xid8 := pg_snapshot_xmax(pg_current_snapshot());
    -- agents with turns that are visible and yet of no transaction that this cluster has begun
    loaded text[];
BEGIN
    IF (SELECT max(e.recorded_in) FROM agent_metrics.agent_events e
        WHERE e.recorded_in <> coalesce(pg_current_xact_id_if_assigned(), '0'::xid8)) >= next THEN
        loaded := ARRAY(SELECT DISTINCT e.agent_id FROM agent_metrics.agent_events e
                        JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = e.agent_id
                        WHERE e.recorded_in >= next
                          AND e.recorded_in <> coalesce(pg_current_xact_id_if_assigned(), '0'::xid8)
                          AND (w.foreign_to IS NULL OR e.recorded_in > w.foreign_to));
    END IF;
    RETURN ARRAY(
        SELECT u.id FROM unnest(must_build.agent_ids) AS u (id)
        WHERE u.id = ANY (loaded) OR NOT EXISTS (
            SELECT 1 FROM agent_metrics_internal.agent_watermarks w
            JOIN agent_metrics.agents a ON a.agent_id = w.agent_id
            JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
            WHERE w.agent_id = u.id AND w.snapshot IS NOT NULL AND w.origin = here
              AND w.settings = agent_metrics_internal.watermark_settings(
                  must_build.time_zone, k.bucket_seconds, k.outcome_metric)
              AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.changes c
                              WHERE c.agent_id IS NULL AND c.conversation_id IS NULL AND c.business_event_id IS NULL
                                AND c.label IS NULL
                                -- nor one of another cluster, since whose rows came here every agent was built
                                AND (c.changed_in < pg_snapshot_xmax(pg_current_snapshot())
                                     OR c.changed_in = pg_current_xact_id_if_assigned())
                                AND NOT pg_visible_in_snapshot(c.changed_in, w.snapshot)))
        ORDER BY u.id);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.must_build(text[], text) IS
    'Of these agents those whose next refresh computes everything again.';

-- What the log and what the business says is dirty: conversations, with the span of their turns that were touched, and
-- finest buckets to compute again. The log rows of these agents are taken out as they are read. For agents
-- that have been built.
CREATE FUNCTION agent_metrics_internal.consume_log(
    refreshed agent_metrics_internal.refreshed_agent[], current_snapshot pg_snapshot, oldest_unseen_xid xid8,
    time_zone text, has_log boolean)
RETURNS TABLE (counted jsonb, agents text[], ids text[], from_times timestamptz[], to_times timestamptz[],
               dirty_agents text[], dirty_buckets timestamptz[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    counted := '[]';
    -- Turns that came from another cluster may have been counted: their buckets are computed again.
    IF EXISTS (SELECT 1 FROM unnest(consume_log.refreshed) u WHERE u.foreign_to IS NOT NULL) THEN
        SELECT array_agg(f.agent_id), array_agg(f.bucket) INTO dirty_agents, dirty_buckets
        FROM (SELECT DISTINCT e.agent_id, agent_metrics_internal.finest_bucket(
                                              e.occurred_at, a.bucket_seconds, consume_log.time_zone) AS bucket
              FROM agent_metrics.agent_events e
              JOIN unnest(consume_log.refreshed) a ON a.agent_id = e.agent_id
              WHERE e.recorded_in >= consume_log.oldest_unseen_xid AND NOT e.is_eval AND e.recorded_in <= a.foreign_to
                AND e.occurred_at >= agent_metrics_internal.first_moment()
                AND e.occurred_at < agent_metrics_internal.end_of_moments()
                AND pg_visible_in_snapshot(e.recorded_in, consume_log.current_snapshot)
                AND NOT pg_visible_in_snapshot(e.recorded_in, a.last_snapshot)) f;
    END IF;
    -- The usual case: nothing but turns that arrived.
    IF NOT consume_log.has_log THEN
        RETURN NEXT;
        RETURN;
    END IF;
    -- One statement: log rows are taken out as they are read, in one snapshot.
    WITH agent AS MATERIALIZED (
        SELECT u.* FROM unnest(consume_log.refreshed) u
    ), logged_change AS (
        DELETE FROM agent_metrics_internal.changes c
        WHERE c.agent_id = ANY (ARRAY(SELECT a.agent_id FROM agent a))
          AND pg_visible_in_snapshot(c.changed_in, consume_log.current_snapshot)
        RETURNING c.agent_id, c.conversation_id, c.measures_changed, c.recorded_in,
                  CASE WHEN c.occurred_at >= agent_metrics_internal.first_moment()
                        AND c.occurred_at < agent_metrics_internal.end_of_moments()
                       THEN c.occurred_at END AS occurred_at
    ), remapped_label AS MATERIALIZED (
        -- labels, and kinds of business events, whose meaning changed
        SELECT o.label, o.changed_in FROM agent_metrics.outcomes o WHERE o.changed_in >= consume_log.oldest_unseen_xid
        UNION ALL SELECT k.kind, k.changed_in
                  FROM agent_metrics.event_kinds k WHERE k.changed_in >= consume_log.oldest_unseen_xid
        UNION ALL SELECT c.label, c.changed_in
                  FROM agent_metrics_internal.changes c WHERE c.agent_id IS NULL AND c.label IS NOT NULL
    ), changed_event AS MATERIALIZED (
        SELECT b.conversation_id, b.business_event_id, b.changed_in
        FROM agent_metrics.business_events b WHERE b.changed_in >= consume_log.oldest_unseen_xid
        UNION ALL
        SELECT c.conversation_id, c.business_event_id, c.changed_in
        FROM agent_metrics_internal.changes c WHERE c.agent_id IS NULL AND c.business_event_id IS NOT NULL
        UNION ALL
        SELECT b.conversation_id, b.business_event_id, m.changed_in
        FROM remapped_label m JOIN agent_metrics.event_kinds k ON m.label IN (k.kind, k.meaning)
        JOIN agent_metrics.business_events b ON b.kind = k.kind
        UNION ALL
        SELECT b.conversation_id, b.business_event_id, m.changed_in
        FROM remapped_label m JOIN agent_metrics.business_events b ON b.kind = m.label
    ), touched_conversation AS (
        SELECT l.agent_id, l.conversation_id, l.occurred_at FROM logged_change l
        UNION ALL
        SELECT c.agent_id, c.conversation_id, NULL
        FROM changed_event b JOIN agent_metrics.conversations c ON c.conversation_id = b.conversation_id
        JOIN agent a ON a.agent_id = c.agent_id
        WHERE b.changed_in < pg_snapshot_xmax(consume_log.current_snapshot)
          AND NOT pg_visible_in_snapshot(b.changed_in, a.last_snapshot)
        UNION ALL
        SELECT c.agent_id, c.conversation_id, NULL
        FROM changed_event b JOIN agent_metrics.conversations c ON c.business_event_ids @> ARRAY[b.business_event_id]
        JOIN agent a ON a.agent_id = c.agent_id
        WHERE b.changed_in < pg_snapshot_xmax(consume_log.current_snapshot)
          AND NOT pg_visible_in_snapshot(b.changed_in, a.last_snapshot)
        UNION ALL
        SELECT c.agent_id, c.conversation_id, NULL
        FROM remapped_label m
        JOIN agent_metrics.conversations c ON m.label IN (c.agent_label, c.judge_label, c.crm_label, c.human_label)
        JOIN agent a ON a.agent_id = c.agent_id
        WHERE m.changed_in < pg_snapshot_xmax(consume_log.current_snapshot)
          AND NOT pg_visible_in_snapshot(m.changed_in, a.last_snapshot)
        UNION ALL
        -- of several reviews, the latest whose label is mapped
        SELECT r.agent_id, r.conversation_id, NULL
        FROM remapped_label m JOIN agent_metrics.reviews r ON r.outcome_label = m.label
        JOIN agent a ON a.agent_id = r.agent_id
        WHERE m.changed_in < pg_snapshot_xmax(consume_log.current_snapshot)
          AND NOT pg_visible_in_snapshot(m.changed_in, a.last_snapshot)
    ), dirty_bucket AS (
        SELECT l.agent_id,
               agent_metrics_internal.finest_bucket(l.occurred_at, a.bucket_seconds, consume_log.time_zone) AS bucket
        FROM logged_change l JOIN agent a ON a.agent_id = l.agent_id
        WHERE l.measures_changed AND l.occurred_at IS NOT NULL
        UNION
        SELECT u.agent_id, u.bucket FROM unnest(dirty_agents, dirty_buckets) AS u (agent_id, bucket)
    )
    SELECT counted || coalesce((SELECT jsonb_agg(jsonb_build_object('agent_id', n.agent_id, 'events', n.events))
                                -- a turn once, however often it was changed, and not if it counts as arrived
                                FROM (SELECT l.agent_id, count(DISTINCT (l.conversation_id, l.occurred_at)) AS events
                                      FROM logged_change l JOIN agent a ON a.agent_id = l.agent_id
                                      WHERE l.recorded_in IS NULL
                                         OR pg_visible_in_snapshot(l.recorded_in, a.last_snapshot)
                                      GROUP BY l.agent_id) n), '[]'),
           d.agents, d.ids, d.from_times, d.to_times, g.agents, g.buckets
    INTO counted, agents, ids, from_times, to_times, dirty_agents, dirty_buckets
    FROM (SELECT array_agg(t.agent_id) AS agents, array_agg(t.conversation_id) AS ids,
                 array_agg(t.from_time) AS from_times, array_agg(t.to_time) AS to_times
          FROM (SELECT u.agent_id, u.conversation_id, min(u.occurred_at) AS from_time, max(u.occurred_at) AS to_time
                FROM touched_conversation u GROUP BY u.agent_id, u.conversation_id) t) d
    CROSS JOIN (SELECT array_agg(y.agent_id) AS agents, array_agg(y.bucket) AS buckets FROM dirty_bucket y) g;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.consume_log(
    agent_metrics_internal.refreshed_agent[], pg_snapshot, xid8, text, boolean) IS
    'Conversations and buckets that changed by anything but turns that arrived. Internal: refresh() uses it.';

-- What has arrived since the stored snapshots, added up, and what else is dirty. The log rows of these agents are taken
-- out as they are read. has_log: there may be something else. from_time, to_time: the span of the turns that are read;
-- a build goes span by span.
CREATE FUNCTION agent_metrics_internal.consume_changes(
    refreshed agent_metrics_internal.refreshed_agent[], current_snapshot pg_snapshot, oldest_unseen_xid xid8,
    time_zone text, has_log boolean, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (counted jsonb, arrived agent_metrics_internal.conversation_sums[],
               buckets agent_metrics_internal.rollup_delta[], spans agent_metrics_internal.active_span[],
               conversation_agents text[], conversation_ids text[], from_times timestamptz[], to_times timestamptz[],
               dirty_agents text[], dirty_buckets timestamptz[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_nestloop = off SET enable_mergejoin = off AS $function$
#variable_conflict use_column
DECLARE
    built_agent text := CASE WHEN (consume_changes.refreshed[1]).last_snapshot IS NULL
                             THEN (consume_changes.refreshed[1]).agent_id END;
BEGIN
    SELECT (t.sums).conversations, (t.sums).buckets, (t.sums).spans INTO arrived, buckets, spans
    FROM (SELECT agent_metrics_internal.sum_turns(
              e.agent_id, a.bucket_seconds, consume_changes.time_zone, e.conversation_id, e.occurred_at, e.user_id,
              e.outcome_label, e.outcome_source, e.turn_index, e.event_id, e.business_event_id, e.token_usage_input,
              e.token_usage_output, e.cost_usd, e.latency_ms, e.tools_called, e.error IS NOT NULL,
              coalesce(e.recorded_in <= a.foreign_to AND a.last_snapshot IS NOT NULL, false)) AS sums
          FROM (SELECT *
                FROM agent_metrics.agent_events x
                WHERE x.recorded_in >= consume_changes.oldest_unseen_xid AND NOT x.is_eval
                  AND x.occurred_at >= consume_changes.from_time AND x.occurred_at < consume_changes.to_time
                  -- A build, of one agent, reads by agent. Anything else reads what is new and then looks whose it is:
                  -- joined by agent, a planner without statistics would walk the agents' whole history.
                  AND (built_agent IS NULL OR x.agent_id = built_agent)
                  AND (pg_visible_in_snapshot(x.recorded_in, consume_changes.current_snapshot)
                       OR (built_agent IS NOT NULL AND x.recorded_in <= (consume_changes.refreshed[1]).foreign_to))
                OFFSET 0) e
          JOIN unnest(consume_changes.refreshed) a ON a.agent_id = e.agent_id
          WHERE a.last_snapshot IS NULL OR NOT pg_visible_in_snapshot(e.recorded_in, a.last_snapshot)) t;

    -- A build has read all there is.
    counted := '[]';
    IF built_agent IS NULL THEN
        SELECT t.counted, t.agents, t.ids, t.from_times, t.to_times, t.dirty_agents, t.dirty_buckets
        INTO counted, conversation_agents, conversation_ids, from_times, to_times, dirty_agents, dirty_buckets
        FROM agent_metrics_internal.consume_log(refreshed, current_snapshot, oldest_unseen_xid, time_zone, has_log) t;
    END IF;
    SELECT counted || coalesce(jsonb_agg(jsonb_build_object('agent_id', n.agent_id, 'events', n.events)), '[]')
    INTO counted
    FROM (SELECT c.agent_id, sum(c.turns) AS events FROM unnest(arrived) c GROUP BY c.agent_id) n;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.consume_changes(
    agent_metrics_internal.refreshed_agent[], pg_snapshot, xid8, text, boolean, timestamptz, timestamptz) IS
    'What arrived since the stored snapshots, added up, and the conversations and buckets that changed otherwise. '
    'Internal: refresh() uses it.';
