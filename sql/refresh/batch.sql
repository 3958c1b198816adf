-- refresh: brings the rollups up to what has committed, at a cost that follows the change.
--
-- A refresh of some agents, in one transaction:
--   1. lock their watermarks; in the next statement read the current snapshot;
--   2. turns recorded between the last and the current snapshot are added to their buckets, exactly;
--      buckets that saw an update or a deletion are computed again and merged upwards;
--   3. conversations that any fact touched are computed again, and their difference is added to their buckets;
--      leads likewise;
--   4. the current snapshot is stored as the last.
-- Its statements are look-ups by key. Their plans are made once, maybe when the tables were empty, so sequential
-- scans are kept out of them.
-- A fact that commits while this runs is not visible in the current snapshot, so the next refresh finds it.
--
-- A refresh of agents whose locks are held: under which snapshot, what has arrived and what is dirty.

CREATE TYPE agent_metrics.refresh_result AS (
    agent_id text, events_changed bigint, conversations_changed bigint, buckets_written bigint,
    elapsed_ms double precision);
COMMENT ON TYPE agent_metrics.refresh_result IS 'What a refresh did for one agent.';
COMMENT ON COLUMN agent_metrics.refresh_result.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.refresh_result.events_changed IS
    'Turns that arrived, were updated or were deleted since the last refresh.';
COMMENT ON COLUMN agent_metrics.refresh_result.conversations_changed IS 'Conversations whose row changed.';
COMMENT ON COLUMN agent_metrics.refresh_result.buckets_written IS 'Rollup rows written, over all levels.';
COMMENT ON COLUMN agent_metrics.refresh_result.elapsed_ms IS
    'Milliseconds that the refresh took; agents refreshed together share it.';

-- Its statements are few rows and calls, whose plans are made once: planning them took longer than they do.
CREATE FUNCTION agent_metrics_internal.refresh_batch(agent_ids text[], build boolean)
RETURNS SETOF agent_metrics.refresh_result
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    begun    timestamptz := clock_timestamp();
    here     text := agent_metrics_internal.origin();
    refreshed agent_metrics_internal.refreshed_agent[];
    locked   text[];       -- their names
    current_snapshot  pg_snapshot;
    oldest_unseen_xid  xid8;         -- no change that concerns us has a smaller id
    zone     text;
    has_log     boolean;   -- anything but turns that arrived
    has_changes boolean;
    has_stale   boolean;   -- spans of time that have to be computed again
    builds   text[];
    undivided text[];      -- agents whose segments are built from nothing
    span     record;
    found    record;       -- what consume_changes() found in it
    dirty_agents  text[];  -- finest buckets that were computed again
    dirty_buckets timestamptz[];
    lead_agents text[];
    lead_ids    text[];
    lead_starts timestamptz[];
    lead_qualified boolean[];
    added    agent_metrics_internal.rollup_delta[];  -- what is added to finest buckets, and to the levels above
    counted  jsonb := '[]';  -- what was done, as rows of agent, events, conversations, buckets
    found_rows jsonb;
BEGIN
    -- The locks were taken in an earlier statement: read together with them, a waiter can see snapshots run backwards.
    zone := agent_metrics_internal.report_time_zone();
    current_snapshot := agent_metrics_internal.snapshot_without(pg_current_snapshot(), pg_current_xact_id());
    SELECT array_agg(ROW(x.agent_id, x.bucket_seconds, x.counts_leads, x.snapshot, x.foreign_to, x.settings)
                     ::agent_metrics_internal.refreshed_agent ORDER BY x.agent_id),
           array_agg(x.agent_id ORDER BY x.agent_id),
           array_agg(x.agent_id ORDER BY x.agent_id) FILTER (WHERE x.snapshot IS NULL)
    INTO refreshed, locked, builds
    FROM (
        SELECT w.agent_id, k.bucket_seconds, k.outcome_metric = 'qualified_lead_rate' AS counts_leads, w.foreign_to,
               agent_metrics_internal.watermark_settings(zone, k.bucket_seconds, k.outcome_metric) AS settings,
               CASE WHEN NOT refresh_batch.build THEN w.snapshot END AS snapshot
        FROM agent_metrics_internal.agent_watermarks w
        JOIN agent_metrics.agents a ON a.agent_id = w.agent_id
        JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
        WHERE w.agent_id = ANY (refresh_batch.agent_ids)
          -- told in the statement that reads what they are told by, and after the present was read
          AND (refresh_batch.build OR w.agent_id <> ALL (
              (SELECT agent_metrics_internal.must_build(refresh_batch.agent_ids, zone))::text[]))) x;
    IF locked IS NULL THEN
        RETURN;
    END IF;
    IF EXISTS (SELECT 1 FROM unnest(refreshed) s
               WHERE pg_snapshot_xmax(s.last_snapshot) > pg_snapshot_xmax(current_snapshot)
                  OR EXISTS (SELECT 1 FROM pg_snapshot_xip(current_snapshot) AS p (id)
                             WHERE p.id <> pg_current_xact_id() AND pg_visible_in_snapshot(p.id, s.last_snapshot))) THEN
        RAISE EXCEPTION 'this transaction''s snapshot is older than the last refresh'
            USING ERRCODE = 'serialization_failure',
                  DETAIL = 'It was taken before another refresh that has committed since.',
                  HINT = 'Run the refresh again in a new transaction.';
    END IF;

    -- Agents that are built from nothing: their ids tell nothing, whatever is there is read once. An id that this
    -- cluster has yet to reach, and that is not this transaction's own, comes from another.
    IF builds IS NOT NULL THEN
        DELETE FROM agent_metrics_internal.rollups r WHERE r.agent_id = ANY (builds);
        DELETE FROM agent_metrics.conversations c WHERE c.agent_id = ANY (builds);
        DELETE FROM agent_metrics_internal.leads l WHERE l.agent_id = ANY (builds);
        DELETE FROM agent_metrics_internal.conversation_facts f WHERE f.agent_id = ANY (builds);
        DELETE FROM agent_metrics_internal.fact_sums f WHERE f.agent_id = ANY (builds);
        DELETE FROM agent_metrics_internal.active_days a WHERE a.agent_id = ANY (builds);
        DELETE FROM agent_metrics_internal.changes c
        WHERE c.agent_id = ANY (builds) AND pg_visible_in_snapshot(c.changed_in, current_snapshot);
        -- Archived turns are no rows to be found by their ids: their spans are.
        DELETE FROM agent_metrics_internal.stale_ranges s WHERE s.agent_id = ANY (builds);
        INSERT INTO agent_metrics_internal.stale_ranges (agent_id, from_time, to_time)
        SELECT DISTINCT b.id, a.from_time, a.to_time FROM unnest(builds) AS b (id)
        CROSS JOIN agent_metrics_internal.archives a;
        SELECT array_agg(ROW(r.agent_id, r.bucket_seconds, r.counts_leads, r.last_snapshot,
                             CASE WHEN r.agent_id = ANY (builds) THEN
                                 (SELECT CASE WHEN m.id >= pg_snapshot_xmax(pg_current_snapshot()) THEN m.id END
                                  FROM (SELECT max(e.recorded_in) AS id FROM agent_metrics.agent_events e
                                        WHERE e.recorded_in <> pg_current_xact_id()) m)
                             ELSE r.foreign_to END, r.settings)::agent_metrics_internal.refreshed_agent
                         ORDER BY r.agent_id)
        INTO refreshed
        FROM unnest(refreshed) r;
    END IF;

    -- One cheap look over all: the largest id tells whether anything was written at all.
    SELECT min(coalesce(pg_snapshot_xmin(s.last_snapshot), '0'::xid8)) INTO oldest_unseen_xid FROM unnest(refreshed) s;
    has_log := EXISTS (SELECT 1
                       FROM agent_metrics_internal.changes c WHERE c.agent_id IS NULL OR c.agent_id = ANY (locked))
        OR coalesce((SELECT max(b.changed_in) FROM agent_metrics.business_events b) >= oldest_unseen_xid, false)
        OR coalesce((SELECT max(o.changed_in) FROM agent_metrics.outcomes o) >= oldest_unseen_xid, false)
        OR coalesce((SELECT max(k.changed_in) FROM agent_metrics.event_kinds k) >= oldest_unseen_xid, false);
    has_changes := builds IS NOT NULL OR has_log
        OR EXISTS (SELECT 1 FROM agent_metrics_internal.stale_ranges s WHERE s.agent_id = ANY (locked))
        OR coalesce((SELECT max(e.recorded_in) FROM agent_metrics.agent_events e) >= oldest_unseen_xid, false);

    -- NULL: nobody's work is divided.
    IF EXISTS (SELECT 1 FROM agent_metrics.dimensions d WHERE d.is_active)
       OR EXISTS (SELECT 1 FROM agent_metrics_internal.segment_builds) THEN
        undivided := agent_metrics_internal.undivided_agents(locked);
    END IF;

    -- A build goes partition by partition, so that what it holds at once is bounded; otherwise all is one span.
    FOR span IN
        SELECT greatest(p.from_time, agent_metrics_internal.first_moment()) AS from_time,
               least(p.to_time, agent_metrics_internal.end_of_moments()) AS to_time
        FROM agent_metrics_internal.present_partitions() p WHERE builds IS NOT NULL AND has_changes
        UNION SELECT agent_metrics_internal.first_moment(), agent_metrics_internal.end_of_moments()
              WHERE builds IS NULL AND has_changes
        ORDER BY 1
    LOOP
        has_stale := EXISTS (SELECT 1 FROM agent_metrics_internal.stale_ranges s WHERE s.agent_id = ANY (locked));
        SELECT * INTO found
        FROM agent_metrics_internal.consume_changes(refreshed, current_snapshot, oldest_unseen_xid, zone,
            has_log, span.from_time, span.to_time);
        counted := counted || coalesce(found.counted, '[]');

        -- Partitions that came or went: all that lies there.
        IF has_stale THEN
            SELECT r.conversation_agents, r.conversation_ids, r.from_times, r.to_times, r.dirty_agents, r.dirty_buckets
            INTO found.conversation_agents, found.conversation_ids, found.from_times, found.to_times,
                 found.dirty_agents, found.dirty_buckets
            FROM agent_metrics_internal.add_stale_ranges(refreshed, zone, found.conversation_agents,
                found.conversation_ids, found.from_times, found.to_times, found.dirty_agents, found.dirty_buckets) r;
        END IF;

        -- Buckets that saw an update or a deletion: from their turns again, then upwards.
        IF found.dirty_agents IS NOT NULL THEN
            SELECT jsonb_agg(to_jsonb(t)) INTO found_rows
            FROM agent_metrics_internal.recompute_turns(
                found.dirty_agents, found.dirty_buckets, refreshed, current_snapshot, zone) t;
            counted := counted || coalesce(found_rows, '[]');
            dirty_agents := dirty_agents || found.dirty_agents;
            dirty_buckets := dirty_buckets || found.dirty_buckets;
        END IF;

        -- Turns that were only inserted are added.
        added := found.buckets;
        IF dirty_agents IS NOT NULL THEN
            added := ARRAY(SELECT b FROM unnest(found.buckets) b
                           WHERE NOT EXISTS (SELECT 1 FROM unnest(dirty_agents, dirty_buckets) AS d (agent_id, bucket)
                                             WHERE d.agent_id = b.agent_id AND d.bucket = b.bucket));
        END IF;

        IF found.conversation_agents IS NOT NULL OR found.arrived IS NOT NULL THEN
            -- So is the difference that conversations make, and then leads.
            SELECT c.counted, c.lead_agents, c.lead_ids, c.lead_starts, c.lead_qualified, added || c.deltas
            INTO found_rows, lead_agents, lead_ids, lead_starts, lead_qualified, added
            FROM agent_metrics_internal.refresh_conversations(found.arrived, found.conversation_agents,
                found.conversation_ids, found.from_times, found.to_times, NOT has_stale, builds IS NOT NULL, refreshed,
                current_snapshot, zone) c;
            counted := counted || coalesce(found_rows, '[]');

            IF lead_agents IS NOT NULL THEN
                SELECT added || l.deltas INTO added
                FROM agent_metrics_internal.refresh_leads(
                    lead_agents, lead_ids, CASE WHEN NOT has_stale THEN lead_starts END, lead_qualified,
                    refreshed, zone) l;
            END IF;

            SELECT jsonb_agg(to_jsonb(t)) INTO found_rows
            FROM agent_metrics_internal.add_deltas(added, refreshed, zone) t;
            counted := counted || coalesce(found_rows, '[]');
        END IF;

        -- A bucket that lost all it held has no row, as a build would have none.
        IF dirty_agents IS NOT NULL
           OR EXISTS (SELECT 1 FROM unnest(added) d WHERE d.conversations < 0 OR d.leads < 0) THEN
            PERFORM agent_metrics_internal.drop_empty_buckets(
                dirty_agents || lost.agents, dirty_buckets || lost.buckets, zone)
            FROM (SELECT array_agg(d.agent_id) AS agents, array_agg(d.bucket) AS buckets
                  FROM unnest(added) d WHERE d.conversations < 0 OR d.leads < 0) lost;
        END IF;

        IF undivided IS NOT NULL AND builds IS NULL THEN
            PERFORM agent_metrics_internal.refresh_segments(
                ARRAY(SELECT r FROM unnest(refreshed) r WHERE r.agent_id <> ALL (undivided)), current_snapshot, zone,
                found.conversation_agents, found.conversation_ids, found.arrived, found.buckets || added,
                found.dirty_agents, found.dirty_buckets);
        END IF;
        PERFORM agent_metrics_internal.refresh_facts(refreshed, current_snapshot, oldest_unseen_xid, zone,
            found.conversation_agents, found.conversation_ids, found.arrived, found.spans,
            found.dirty_agents, found.dirty_buckets);
    END LOOP;

    UPDATE agent_metrics_internal.agent_watermarks w
    SET snapshot = current_snapshot, origin = here, foreign_to = u.foreign_to, refreshed_at = begun,
        settings = u.settings, schedule = s.schedule
    FROM unnest(refreshed) u
    JOIN agent_metrics_internal.schedules s ON s.agent_id = u.agent_id
    WHERE w.agent_id = u.agent_id;

    -- After the watermark, which says whose ids are of another cluster.
    IF undivided || builds <> '{}' THEN
        PERFORM agent_metrics_internal.build_segments(
            ARRAY(SELECT DISTINCT u.id FROM unnest(undivided || builds) AS u (id)), current_snapshot, zone);
    END IF;

    -- What every watermark has seen of the rows that concern all agents is no longer needed. Rows that another
    -- refresh is removing are left to it: refreshes of different agents do not wait for each other.
    IF has_changes THEN
        DELETE FROM agent_metrics_internal.changes c
        WHERE c.change_id IN (
            SELECT p.change_id FROM agent_metrics_internal.changes p
            WHERE p.agent_id IS NULL
              -- an agent that has to be built may be at it, with a snapshot that nobody sees yet
              AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.agent_watermarks w
                              WHERE w.snapshot IS NULL OR w.origin <> here
                                 OR NOT pg_visible_in_snapshot(p.changed_in, w.snapshot))
            FOR UPDATE SKIP LOCKED);
    END IF;

    RETURN QUERY
    SELECT u.agent_id, coalesce(sum(n.events), 0)::bigint, coalesce(sum(n.conversations), 0)::bigint,
           coalesce(sum(n.buckets), 0)::bigint, extract(epoch FROM clock_timestamp() - begun)::double precision * 1000
    FROM unnest(locked) AS u (agent_id)
    LEFT JOIN jsonb_to_recordset(counted) AS n (agent_id text, events bigint, conversations bigint, buckets bigint)
      ON n.agent_id = u.agent_id
    GROUP BY u.agent_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_batch(text[], boolean) IS
    'Refreshes agents, whose locks are held, together in one set of statements; build: from nothing, '
    'otherwise those that have to be built are left out. Internal: refresh_agents() uses it.';
