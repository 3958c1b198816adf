-- Partitions that come and go by hand: noticed by the next refresh, and their spans computed again.

-- What tells that a partition is another, or another one's content: its entry in the catalogue, and, where no trigger
-- would log that it is emptied (one that somebody made and attached), the file that it is in.
CREATE FUNCTION agent_metrics_internal.partition_mark(partition oid, entry xid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN partition || '/' || entry::text || coalesce(
    (SELECT '/' || c.relfilenode FROM pg_class c
     WHERE c.oid = partition AND c.relkind = 'r'
       AND NOT EXISTS (SELECT 1 FROM pg_trigger t
                       WHERE t.tgrelid = c.oid AND t.tgname = 'log_truncate' AND t.tgenabled = 'A')), '');
COMMENT ON FUNCTION agent_metrics_internal.partition_mark(oid, xid) IS
    'By what a refresh tells that a partition is not the one it was. Internal: present_partitions() uses it.';

-- A partition below a partition counts for the span of the one on top. One being detached concurrently is gone.
CREATE FUNCTION agent_metrics_internal.present_partitions()
RETURNS TABLE (partition text, mark text, from_time timestamptz, to_time timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE tree AS (
        SELECT i.inhrelid AS oid, i.inhrelid AS top, i.xmin AS entry
        FROM pg_inherits i WHERE i.inhparent = 'agent_metrics.agent_events'::regclass AND NOT i.inhdetachpending
        UNION ALL
        SELECT i.inhrelid, t.top, i.xmin
        FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid AND NOT i.inhdetachpending
    )
    SELECT CASE WHEN c.relnamespace = 'agent_metrics'::regnamespace THEN c.relname ELSE t.oid::regclass::text END::text,
           agent_metrics_internal.partition_mark(t.oid, t.entry),
           coalesce(substring(b.bound FROM $$FROM \('([^']+)'\)$$)::timestamptz, '-infinity'),
           coalesce(substring(b.bound FROM $$TO \('([^']+)'\)$$)::timestamptz, 'infinity')
    FROM tree t
    JOIN pg_class c ON c.oid = t.oid
    JOIN pg_class p ON p.oid = t.top
    CROSS JOIN LATERAL pg_get_expr(p.relpartbound, p.oid) AS b (bound);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.present_partitions() IS
    'Partitions of agent_events, with the span of time each takes; one that lies elsewhere than in agent_metrics with '
    'its schema. Internal: refresh() uses it.';

-- Spans whose partitions are not those that the last refresh found.
CREATE FUNCTION agent_metrics_internal.changed_ranges() RETURNS TABLE (from_time timestamptz, to_time timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    -- The usual case first: nothing came and nothing went.
    IF (WITH RECURSIVE tree AS (
            SELECT i.inhrelid AS oid, i.xmin AS entry
            FROM pg_inherits i WHERE i.inhparent = 'agent_metrics.agent_events'::regclass AND NOT i.inhdetachpending
            UNION ALL
            SELECT i.inhrelid, i.xmin FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid AND NOT i.inhdetachpending)
        SELECT array_agg(agent_metrics_internal.partition_mark(t.oid, t.entry)
                         ORDER BY agent_metrics_internal.partition_mark(t.oid, t.entry))
        FROM tree t)
       IS NOT DISTINCT FROM (SELECT array_agg(k.mark ORDER BY k.mark)
                             FROM agent_metrics_internal.known_partitions k) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT DISTINCT coalesce(p.from_time, k.from_time), coalesce(p.to_time, k.to_time)
    FROM agent_metrics_internal.present_partitions() p
    FULL JOIN agent_metrics_internal.known_partitions k ON k.mark = p.mark
    WHERE p.mark IS NULL OR k.mark IS NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.changed_ranges() IS
    'Spans of time of partitions that came or went since the last refresh. Internal: refresh() and verify() use it.';

-- Takes the partitions as they are for known: they were changed on purpose, and no turn was lost or won.
CREATE FUNCTION agent_metrics_internal.adopt_partitions() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    DELETE FROM agent_metrics_internal.known_partitions k
    WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.present_partitions() p WHERE p.mark = k.mark);
    INSERT INTO agent_metrics_internal.known_partitions (partition, mark, from_time, to_time)
    SELECT p.partition, p.mark, p.from_time, p.to_time FROM agent_metrics_internal.present_partitions() p
    ON CONFLICT DO NOTHING;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.adopt_partitions() IS
    'Takes the partitions as they are for known. Internal: refresh() and ensure_partitions() use it.';

-- Called with agent_events locked, so that no partition goes meanwhile. Every agent computes the spans again.
CREATE FUNCTION agent_metrics_internal.notice_partitions() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics_internal.changed_ranges()) THEN
        RETURN;
    END IF;
    -- One at a time: whoever waits here finds in the next statement that it was done. Rows and not the table, which
    -- whoever may use the schema can hold a lock on by preparing a statement.
    PERFORM FROM agent_metrics_internal.known_partitions k ORDER BY k.mark FOR UPDATE;
    INSERT INTO agent_metrics_internal.stale_ranges (agent_id, from_time, to_time)
    SELECT a.agent_id, r.from_time, r.to_time FROM agent_metrics.agents a
    CROSS JOIN agent_metrics_internal.changed_ranges() r
    ON CONFLICT DO NOTHING;
    PERFORM agent_metrics_internal.adopt_partitions();
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.notice_partitions() IS
    'Has every agent compute the spans of partitions that came or went again. Internal: refresh() uses it.';

-- A transaction that sees an old state, and whose statements are planned with the partitions as they are now, would
-- count what was moved or archived meanwhile nowhere. What it sees of the known partitions tells.
CREATE FUNCTION agent_metrics_internal.check_partitions() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    PERFORM FROM agent_metrics_internal.known_partitions FOR KEY SHARE;
EXCEPTION WHEN serialization_failure THEN
    RAISE EXCEPTION 'partitions of agent_events were exchanged since this transaction took its snapshot'
        USING ERRCODE = 'serialization_failure',
              DETAIL = 'What it sees of them is not what is there.',
              HINT = 'Run the refresh again in a new transaction.';
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_partitions() IS
    'Fails where partitions were exchanged since a REPEATABLE READ or SERIALIZABLE transaction took its snapshot. '
    'Internal: refresh() uses it.';

-- Adds to what is dirty all that lies in the agents' stale spans, which are taken out as they are read.
CREATE FUNCTION agent_metrics_internal.add_stale_ranges(
    refreshed agent_metrics_internal.refreshed_agent[], time_zone text,
    INOUT conversation_agents text[], INOUT conversation_ids text[], INOUT from_times timestamptz[],
    INOUT to_times timestamptz[], INOUT dirty_agents text[], INOUT dirty_buckets timestamptz[])
RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    WITH changed_range AS (
        DELETE FROM agent_metrics_internal.stale_ranges s
        WHERE s.agent_id = ANY (ARRAY(SELECT a.agent_id FROM unnest(add_stale_ranges.refreshed) a))
        RETURNING s.agent_id, s.from_time, s.to_time
    ), touched_turn AS MATERIALIZED (
        -- turns that are there, live or archived
        SELECT e.agent_id, e.conversation_id, min(e.occurred_at) AS from_time, max(e.occurred_at) AS to_time,
               agent_metrics_internal.bucket_start(e.occurred_at, 'fine', add_stale_ranges.time_zone) AS five
        FROM changed_range r JOIN agent_metrics.agent_events e
          ON e.agent_id = r.agent_id AND e.occurred_at >= r.from_time AND e.occurred_at < r.to_time
         AND e.occurred_at >= agent_metrics_internal.first_moment()
         AND e.occurred_at < agent_metrics_internal.end_of_moments()
        WHERE NOT e.is_eval
        GROUP BY e.agent_id, e.conversation_id, five
    ), noticed_partition AS (
        SELECT u.agent_id, u.conversation_id, min(u.from_time) AS from_time, max(u.to_time) AS to_time
        FROM (SELECT t.agent_id, t.conversation_id, t.from_time, t.to_time FROM touched_turn t
              UNION ALL
              SELECT c.agent_id, c.conversation_id, c.started_at, c.ended_at
              FROM changed_range r JOIN agent_metrics.conversations c
                ON c.agent_id = r.agent_id AND c.started_at < r.to_time AND c.ended_at >= r.from_time
              UNION ALL
              SELECT c.agent_id, c.conversation_id, c.occurred_at, c.ended_at
              FROM changed_range r JOIN agent_metrics_internal.archived_conversations c
                ON c.agent_id = r.agent_id AND c.occurred_at < r.to_time AND c.ended_at >= r.from_time
              UNION ALL
              -- facts that lie there, of conversations that may lie elsewhere
              SELECT f.agent_id, f.conversation_id, 'infinity', '-infinity'
              FROM changed_range r JOIN agent_metrics_internal.conversation_facts f
                ON f.agent_id = r.agent_id AND f.bucket > r.from_time - interval '3 days' AND f.bucket < r.to_time
              UNION ALL
              -- and what was said of turns there, which may have been of evaluations
              SELECT f.agent_id, f.conversation_id, 'infinity', '-infinity'
              FROM changed_range r
              CROSS JOIN LATERAL agent_metrics_internal.said_of_turns(r.agent_id, r.from_time, r.to_time) f
              UNION ALL
              SELECT x.agent_id, x.conversation_id, x.from_time, x.to_time
              FROM unnest(add_stale_ranges.conversation_agents, add_stale_ranges.conversation_ids,
                          add_stale_ranges.from_times, add_stale_ranges.to_times)
                              AS x (agent_id, conversation_id, from_time, to_time)) u
        GROUP BY u.agent_id, u.conversation_id
    ), touched_conversation AS (
        -- where the other turns of one that is not known lie, nobody knows
        SELECT f.agent_id, f.conversation_id,
               CASE WHEN c.agent_id IS NULL THEN '-infinity' ELSE least(f.from_time, c.started_at) END AS from_time,
               CASE WHEN c.agent_id IS NULL THEN 'infinity' ELSE greatest(f.to_time, c.ended_at) END AS to_time
        FROM noticed_partition f
        LEFT JOIN agent_metrics.conversations c ON c.conversation_id = f.conversation_id AND c.agent_id = f.agent_id
    ), touched_moment AS (
        SELECT t.agent_id, t.five FROM touched_turn t
        UNION
        SELECT b.agent_id, b.bucket FROM changed_range r JOIN agent_metrics_internal.archived_buckets b
          ON b.agent_id = r.agent_id AND b.bucket >= r.from_time AND b.bucket < r.to_time
        UNION
        -- a bucket that is stored may begin before the span does
        SELECT b.agent_id, b.bucket
        FROM changed_range r
        JOIN unnest(add_stale_ranges.refreshed) a ON a.agent_id = r.agent_id
        JOIN agent_metrics_internal.rollups b
          ON b.agent_id = r.agent_id AND b.level = CASE a.bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END
         AND b.bucket > r.from_time - make_interval(secs => a.bucket_seconds) AND b.bucket < r.to_time
    ), dirty_bucket AS (
        SELECT m.agent_id,
               agent_metrics_internal.finest_bucket(m.five, a.bucket_seconds, add_stale_ranges.time_zone) AS bucket
        FROM touched_moment m
        JOIN unnest(add_stale_ranges.refreshed) a ON a.agent_id = m.agent_id
        UNION
        SELECT * FROM unnest(add_stale_ranges.dirty_agents, add_stale_ranges.dirty_buckets)
    )
    SELECT c.agents, c.ids, c.from_times, c.to_times, b.agents, b.buckets
    INTO conversation_agents, conversation_ids, from_times, to_times, dirty_agents, dirty_buckets
    FROM (SELECT array_agg(x.agent_id) AS agents, array_agg(x.conversation_id) AS ids,
                 array_agg(x.from_time) AS from_times, array_agg(x.to_time) AS to_times FROM touched_conversation x) c
    CROSS JOIN (SELECT array_agg(x.agent_id) AS agents, array_agg(x.bucket) AS buckets FROM dirty_bucket x) b;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.add_stale_ranges(
    agent_metrics_internal.refreshed_agent[], text, text[], text[], timestamptz[], timestamptz[],
    text[], timestamptz[]) IS
    'What is dirty, with all that lies in the stale spans of the agents. Internal: refresh() uses it.';
