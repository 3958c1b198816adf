-- Writing rollups: what arrived is added, what is dirty is computed again.

CREATE FUNCTION agent_metrics_internal.finest_bucket(at timestamptz, bucket_seconds integer, time_zone text)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN agent_metrics_internal.bucket_start(at, CASE bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END, time_zone);
COMMENT ON FUNCTION agent_metrics_internal.finest_bucket(timestamptz, integer, text) IS
    'Start of the finest bucket that a moment lies in: five minutes, or an hour of the report zone''s clock. '
    'Internal: refresh() and verify() use it.';

-- Ids can be compared only within one cluster and one table (a shard may move). pg_upgrade keeps the table's oid and
-- makes another cluster; the major version tells it from a dump. Looked up in the catalogue, since readers may name the
-- schema in no regclass of theirs, and views call this.
CREATE FUNCTION agent_metrics_internal.origin() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (SELECT c.system_identifier FROM pg_control_system() c) || '/'
    || (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'agent_metrics_internal' AND c.relname = 'agent_watermarks') || '/'
    || current_setting('server_version_num')::integer / 10000;
COMMENT ON FUNCTION agent_metrics_internal.origin() IS
    'Names the cluster, the table and the major version of PostgreSQL that transaction ids stored here belong to.';

CREATE FUNCTION agent_metrics_internal.moved_from(origin text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN split_part(origin, '/', 3) = split_part(agent_metrics_internal.origin(), '/', 3)
                THEN 'the books were restored from another cluster'
            ELSE format('PostgreSQL was upgraded from %s to %s', split_part(origin, '/', 3),
                        split_part(agent_metrics_internal.origin(), '/', 3)) END;
COMMENT ON FUNCTION agent_metrics_internal.moved_from(text) IS
    'What brought the books here from another origin, in words: an upgrade of the server, or a dump.';

-- A transaction's own id is in no snapshot, so it would count as seen what it writes later.
CREATE FUNCTION agent_metrics_internal.snapshot_without(snapshot pg_snapshot, own xid8) RETURNS pg_snapshot
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF own >= pg_snapshot_xmax(snapshot) THEN
        RETURN snapshot;
    END IF;
    RETURN (SELECT format('%s:%s:%s', least(pg_snapshot_xmin(snapshot), own), pg_snapshot_xmax(snapshot),
                          string_agg(x.id::text, ',' ORDER BY x.id))
            FROM (SELECT pg_snapshot_xip(snapshot) UNION SELECT own) AS x (id))::pg_snapshot;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.snapshot_without(pg_snapshot, xid8) IS
    'The snapshot with one more transaction in progress.';

-- Made here of the list of measures, so that it stands in one place: all of them, and their sum in an update.
DO $do$
BEGIN
    EXECUTE format($create$
-- Adds deltas to the rows of one level, each of which is written once, and returns them as one a bucket.
CREATE FUNCTION agent_metrics_internal.write_deltas(
    deltas agent_metrics_internal.rollup_delta[], bucket_level text, time_zone text)
RETURNS agent_metrics_internal.rollup_delta[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_mergejoin = off AS $function$
#variable_conflict use_column
DECLARE
    merged agent_metrics_internal.rollup_delta[] := ARRAY(
        SELECT agent_metrics_internal.sum_deltas(s.delta, s.start)
        FROM (SELECT u AS delta, u.agent_id,
                     CASE write_deltas.bucket_level WHEN 'fine' THEN u.bucket
                     ELSE agent_metrics_internal.bucket_start(
                         u.bucket, write_deltas.bucket_level, write_deltas.time_zone) END AS start
              FROM unnest(write_deltas.deltas) u) s
        GROUP BY s.agent_id, s.start);
BEGIN
    INSERT INTO agent_metrics_internal.rollups AS r (agent_id, level, bucket, %1$s)
    SELECT d.agent_id, write_deltas.bucket_level, d.bucket, %2$s
    FROM unnest(merged) d
    ON CONFLICT (agent_id, level, bucket) DO UPDATE SET %3$s;
    RETURN merged;
END
$function$$create$,
        agent_metrics_internal.measure_list('%1$I'), agent_metrics_internal.measure_list('d.%1$I'),
        replace(agent_metrics_internal.measure_list('%1$I = r.%1$I + excluded.%1$I'),
                'latency = r.latency + excluded.latency', 'latency = coalesce(r.latency OPERATOR(agent_metrics.+) '
                                                          'excluded.latency, r.latency, excluded.latency)'));
END
$do$;
COMMENT ON FUNCTION agent_metrics_internal.write_deltas(agent_metrics_internal.rollup_delta[], text, text) IS
    'Adds deltas to the rows of one level and returns them as one a bucket. Internal: refresh() uses it.';

-- Adds deltas of finest buckets to their rows, and to the hours and days they lie in. All that a refresh adds is added
-- here at once, so that a row is written once. finest_only: the levels above are merged afterwards.
CREATE FUNCTION agent_metrics_internal.add_deltas(
    deltas agent_metrics_internal.rollup_delta[], refreshed agent_metrics_internal.refreshed_agent[], time_zone text,
    finest_only boolean DEFAULT false)
RETURNS TABLE (agent_id text, buckets bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
#variable_conflict use_column
DECLARE
    -- of agents whose finest bucket is five minutes, of all by the hour, of all by the day
    fine agent_metrics_internal.rollup_delta[];
    hour agent_metrics_internal.rollup_delta[];
    day  agent_metrics_internal.rollup_delta[];
BEGIN
    SELECT array_agg(d) FILTER (WHERE a.bucket_seconds = 300), array_agg(d) FILTER (WHERE a.bucket_seconds = 3600)
    INTO fine, hour
    FROM unnest(add_deltas.deltas) d
    JOIN unnest(add_deltas.refreshed) a ON a.agent_id = d.agent_id;
    fine := agent_metrics_internal.write_deltas(fine, 'fine', add_deltas.time_zone);
    IF add_deltas.finest_only THEN
        hour := agent_metrics_internal.write_deltas(hour, 'hour', add_deltas.time_zone);
    ELSE
        hour := agent_metrics_internal.write_deltas(hour || fine, 'hour', add_deltas.time_zone);
        day := agent_metrics_internal.write_deltas(hour, 'day', add_deltas.time_zone);
    END IF;
    RETURN QUERY SELECT w.agent_id, count(*) FROM unnest(fine || hour || day) w GROUP BY w.agent_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.add_deltas(
    agent_metrics_internal.rollup_delta[], agent_metrics_internal.refreshed_agent[], text, boolean) IS
    'Adds deltas of finest buckets to their rows and to the levels above. Internal: refresh() uses it.';

DO $do$
BEGIN
    EXECUTE format($create$
-- Computes the turn measures of buckets again from the level below.
CREATE FUNCTION agent_metrics_internal.merge_turns(
    agent_ids text[], starts timestamptz[], to_level text, from_level text, time_zone text)
RETURNS TABLE (agent_id text, buckets bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH upserted_bucket AS (
        INSERT INTO agent_metrics_internal.rollups AS r (agent_id, level, bucket, %1$s)
        SELECT b.agent_id, merge_turns.to_level, b.bucket, %2$s
        FROM (SELECT DISTINCT u.agent_id,
                     agent_metrics_internal.bucket_start(
                         u.bucket, merge_turns.to_level, merge_turns.time_zone) AS bucket
              FROM unnest(merge_turns.agent_ids, merge_turns.starts) AS u (agent_id, bucket)) b
        JOIN agent_metrics_internal.rollups s ON s.agent_id = b.agent_id AND s.level = merge_turns.from_level
         AND s.bucket >= b.bucket
         AND s.bucket < agent_metrics_internal.bucket_end(b.bucket, merge_turns.to_level, merge_turns.time_zone)
        GROUP BY b.agent_id, b.bucket
        ON CONFLICT (agent_id, level, bucket) DO UPDATE SET %3$s
        RETURNING r.agent_id)
    SELECT w.agent_id, count(*) FROM upserted_bucket w GROUP BY w.agent_id;
END
$function$;

-- Sets the turn measures of finest buckets to nothing.
CREATE FUNCTION agent_metrics_internal.clear_turns(agent_ids text[], starts timestamptz[], bucket_seconds integer[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $function$
BEGIN
    UPDATE agent_metrics_internal.rollups r SET %4$s
    FROM unnest(clear_turns.agent_ids, clear_turns.starts, clear_turns.bucket_seconds)
        AS d (agent_id, bucket, bucket_seconds)
    WHERE r.agent_id = d.agent_id AND r.bucket = d.bucket
      AND r.level = CASE d.bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END;
END
$function$$create$,
        agent_metrics_internal.measure_list('%1$I', ARRAY['turn']),
        agent_metrics_internal.measure_list('%3$s(s.%1$I)::%2$s', ARRAY['turn']),
        agent_metrics_internal.measure_list('%1$I = excluded.%1$I', ARRAY['turn']),
        replace(agent_metrics_internal.measure_list('%1$I = 0', ARRAY['turn']), 'latency = 0', 'latency = NULL'));
END
$do$;
COMMENT ON FUNCTION agent_metrics_internal.clear_turns(text[], timestamptz[], integer[]) IS
    'Sets the turn measures of finest buckets to nothing. Internal: refresh() uses it.';
COMMENT ON FUNCTION agent_metrics_internal.merge_turns(text[], timestamptz[], text, text, text) IS
    'Turn measures of hours from finest buckets, or of days from hours. Internal: refresh() uses it.';

-- Computes the turn measures of finest buckets again from their turns, and of the hours and days above them.
-- Its joins are of few buckets with short ranges of a key, which only a nested loop does by index.
CREATE FUNCTION agent_metrics_internal.recompute_turns(
    agent_ids text[], starts timestamptz[], refreshed agent_metrics_internal.refreshed_agent[],
    current_snapshot pg_snapshot, time_zone text)
RETURNS TABLE (agent_id text, buckets bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $function$
#variable_conflict use_column
DECLARE
    seconds    integer[];
    to_times   timestamptz[];
    foreign_ids xid8[];
BEGIN
    SELECT array_agg(a.bucket_seconds ORDER BY d.position),
           array_agg(agent_metrics_internal.bucket_end(
                         d.bucket, CASE a.bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END,
                         recompute_turns.time_zone)
                     ORDER BY d.position),
           array_agg(a.foreign_to ORDER BY d.position)
    INTO seconds, to_times, foreign_ids
    FROM unnest(recompute_turns.agent_ids, recompute_turns.starts) WITH ORDINALITY AS d (agent_id, bucket, position)
    JOIN unnest(recompute_turns.refreshed) a ON a.agent_id = d.agent_id;

    PERFORM agent_metrics_internal.clear_turns(recompute_turns.agent_ids, recompute_turns.starts, seconds);

    RETURN QUERY
    SELECT t.agent_id, t.buckets
    FROM (SELECT array_agg(f) AS deltas
          FROM agent_metrics_internal.compute_turns(recompute_turns.agent_ids, recompute_turns.starts, to_times,
              array_fill(NULL::pg_snapshot, ARRAY[cardinality(to_times)]),
              array_fill(recompute_turns.current_snapshot, ARRAY[cardinality(to_times)]), foreign_ids, seconds,
              recompute_turns.time_zone, '0'::xid8) f) d
    CROSS JOIN LATERAL agent_metrics_internal.add_deltas(
        d.deltas, recompute_turns.refreshed, recompute_turns.time_zone, true) t;

    RETURN QUERY
    SELECT t.agent_id, t.buckets
    FROM (SELECT array_agg(d.agent_id) AS agents, array_agg(d.bucket) AS starts
          FROM unnest(recompute_turns.agent_ids, recompute_turns.starts, seconds)
              AS d (agent_id, bucket, bucket_seconds)
          WHERE d.bucket_seconds = 300) f
    CROSS JOIN LATERAL agent_metrics_internal.merge_turns(
        f.agents, f.starts, 'hour', 'fine', recompute_turns.time_zone) t;

    RETURN QUERY
    SELECT t.agent_id, t.buckets
    FROM agent_metrics_internal.merge_turns(recompute_turns.agent_ids, recompute_turns.starts, 'day', 'hour',
                                            recompute_turns.time_zone) t;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.recompute_turns(
    text[], timestamptz[], agent_metrics_internal.refreshed_agent[], pg_snapshot, text) IS
    'Computes buckets that saw an update or a deletion again, and the levels above. Internal: refresh() uses it.';

-- Removes rows that hold nothing any more, of finest buckets that lost something and of the hours and days above them.
-- Where there are no turns, conversations and leads, all that is counted of them is 0.
CREATE FUNCTION agent_metrics_internal.drop_empty_buckets(agent_ids text[], starts timestamptz[], time_zone text)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $function$
BEGIN
    DELETE FROM agent_metrics_internal.rollups r
    USING (SELECT DISTINCT u.agent_id, l.level,
                  CASE l.level WHEN 'fine' THEN u.bucket
                               ELSE agent_metrics_internal.bucket_start(u.bucket, l.level, drop_empty_buckets.time_zone)
                  END AS bucket
           FROM unnest(drop_empty_buckets.agent_ids, drop_empty_buckets.starts) AS u (agent_id, bucket)
           CROSS JOIN (VALUES ('fine'), ('hour'), ('day')) AS l (level)) d
    WHERE r.agent_id = d.agent_id AND r.bucket = d.bucket AND r.level = d.level
      AND r.turns = 0 AND r.conversations = 0 AND r.leads = 0;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.drop_empty_buckets(text[], timestamptz[], text) IS
    'Removes buckets that hold nothing any more. Internal: refresh() uses it.';
