-- Splitting an outer partition that has come to hold many turns: years that were loaded before their months were made,
-- or a future that somebody's clock believed in. In steps, each a transaction of its own, so that no insert waits:
--   guard    the outer partition notes from here on what is written to it
--   copy     the turns of one month after another are copied to tables beside it, and at last the rest of them
--   swap     at once: what was noted is copied too, the outer partition goes, the tables take its place
--   drop     the old table goes
-- The turns keep their recorded_in, so to every refresh they are the turns they were.

CREATE OR REPLACE FUNCTION agent_metrics.partition_step(months_ahead integer DEFAULT 3) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO' SET timezone = 'UTC' SET lock_timeout = '100ms' SET client_min_messages = warning AS $function$
#variable_conflict use_column
DECLARE
    few    constant integer := 1000;  -- turns that may be moved while inserts wait
    job    agent_metrics_internal.partition_splits;
    piece  agent_metrics_internal.partition_splits;
    noted  bigint;
    outer_one record;  -- an outer partition and its span
    has_many  boolean;
BEGIN
    -- One at a time; a second caller has nothing to do. A lock on a table, since anybody may hold one on a number.
    BEGIN
        LOCK TABLE agent_metrics_internal.partition_splits IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN NULL;
    END;
    SELECT s.* INTO job FROM agent_metrics_internal.partition_splits s ORDER BY s.from_time LIMIT 1;

    IF job.partition IS NULL THEN
        -- One that somebody dropped or detached is not there; ensure_partitions() sees to that.
        FOR outer_one IN
            SELECT p.partition, p.from_time, p.to_time FROM agent_metrics_internal.present_partitions() p
            WHERE p.partition = 'agent_events_before' AND p.from_time = '-infinity' AND isfinite(p.to_time)
               OR p.partition = 'agent_events_after' AND p.to_time = 'infinity' AND isfinite(p.from_time)
            ORDER BY p.from_time
        LOOP
            EXECUTE format('SELECT count(*) > $1 FROM (SELECT 1 FROM agent_metrics.%I LIMIT $1 + 1) x',
                           outer_one.partition) INTO has_many USING few;
            CONTINUE WHEN NOT has_many;
            IF outer_one.partition = 'agent_events_before' THEN
                -- Twenty years back at most: what is older stays in the outer partition.
                INSERT INTO agent_metrics_internal.partition_splits (partition, piece, from_time, to_time)
                WITH edge AS (
                    SELECT date_trunc('month', min(e.occurred_at)) AS month FROM agent_metrics.agent_events_before e
                    WHERE e.occurred_at >= outer_one.to_time - interval '20 years'
                )
                SELECT 'agent_events_before', to_char(m, '"agent_events_y"YYYY"m"MM'), m, m + interval '1 month'
                FROM edge CROSS JOIN LATERAL generate_series(
                    edge.month, outer_one.to_time - interval '1 month', interval '1 month') AS m
                UNION ALL
                SELECT 'agent_events_before', 'agent_events_before_next', '-infinity', edge.month
                FROM edge WHERE edge.month IS NOT NULL;
            ELSE
                INSERT INTO agent_metrics_internal.partition_splits (partition, piece, from_time, to_time)
                WITH edge AS (
                    SELECT greatest(date_trunc('month', max(e.occurred_at)),
                                    date_trunc('month', now()) + make_interval(months => months_ahead))
                    + interval '1 month' AS month
                    FROM agent_metrics.agent_events_after e
                    WHERE e.occurred_at < outer_one.from_time + interval '20 years'
                )
                SELECT 'agent_events_after', to_char(m, '"agent_events_y"YYYY"m"MM'), m, m + interval '1 month'
                FROM edge CROSS JOIN LATERAL generate_series(
                    outer_one.from_time, edge.month - interval '1 month', interval '1 month') AS m
                UNION ALL
                SELECT 'agent_events_after', 'agent_events_after_next', edge.month, 'infinity'
                FROM edge WHERE edge.month IS NOT NULL;
            END IF;
            EXIT WHEN (SELECT count(*) FROM agent_metrics_internal.partition_splits) > 1;
            -- no month that it would be split into
            DELETE FROM agent_metrics_internal.partition_splits p;
        END LOOP;
        SELECT s.* INTO job FROM agent_metrics_internal.partition_splits s ORDER BY s.from_time LIMIT 1;
        IF job.partition IS NULL THEN
            RETURN NULL;
        END IF;
        PERFORM agent_metrics_internal.check_free(s.piece) FROM agent_metrics_internal.partition_splits s;
        PERFORM agent_metrics_internal.check_free(job.partition || '_old'),
                agent_metrics_internal.guard_partition(job.partition);
        UPDATE agent_metrics_internal.partition_splits p
        SET mark = agent_metrics_internal.partition_state(job.partition);
        RETURN format('guarding %s', job.partition);
    END IF;

    IF job.state = 'swapped' THEN
        PERFORM agent_metrics_internal.check_unused(job.partition || '_old');
        EXECUTE format('DROP TABLE IF EXISTS agent_metrics.%I', job.partition || '_old');
        DELETE FROM agent_metrics_internal.guarded_turns g WHERE g.partition = job.partition;
        DELETE FROM agent_metrics_internal.partition_splits p;
        RETURN format('split %s', job.partition);
    END IF;

    IF agent_metrics_internal.partition_state(job.partition) IS DISTINCT FROM job.mark THEN
        -- It is another than it was, or was truncated, or has other columns: begin again with what is there now.
        FOR piece IN SELECT s.* FROM agent_metrics_internal.partition_splits s WHERE s.state = 'copied' LOOP
            EXECUTE format('DROP TABLE IF EXISTS agent_metrics.%I', piece.piece);
        END LOOP;
        DELETE FROM agent_metrics_internal.partition_splits p;
        DELETE FROM agent_metrics_internal.guarded_turns g WHERE g.partition = job.partition;
        IF to_regclass(format('agent_metrics.%I', job.partition)) IS NOT NULL THEN
            EXECUTE format('DROP TRIGGER IF EXISTS guard_turn ON agent_metrics.%I', job.partition);
        END IF;
        RETURN format('beginning again with %s', job.partition);
    END IF;

    SELECT s.* INTO piece FROM agent_metrics_internal.partition_splits s
    WHERE s.state = 'waiting' ORDER BY s.from_time DESC LIMIT 1;
    IF piece.piece IS NOT NULL THEN
        PERFORM agent_metrics_internal.make_partition(piece.piece, piece.from_time, piece.to_time);
        PERFORM agent_metrics_internal.copy_turns(piece.partition, piece.piece, piece.from_time, piece.to_time);
        UPDATE agent_metrics_internal.partition_splits s SET state = 'copied' WHERE s.piece = piece.piece;
        RETURN format('copied %s', piece.piece);
    END IF;

    -- Turns written meanwhile: in rounds, until so few are left that inserts may wait for them.
    SELECT count(*) INTO noted FROM agent_metrics_internal.guarded_turns g WHERE g.partition = job.partition;
    IF noted > few THEN
        PERFORM agent_metrics_internal.copy_noted_turns(job.partition);
        RETURN format('caught up with %s turns of %s', noted, job.partition);
    END IF;
    -- From here on inserts wait.
    LOCK TABLE ONLY agent_metrics.agent_events IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('LOCK TABLE agent_metrics.%I IN ACCESS EXCLUSIVE MODE', job.partition);
    IF agent_metrics_internal.partition_state(job.partition) IS DISTINCT FROM job.mark THEN
        RETURN format('partition %s was changed', job.partition);  -- and the next step begins again
    END IF;
    PERFORM agent_metrics_internal.check_unused(job.partition),
            agent_metrics_internal.check_free(job.partition || '_old');
    PERFORM agent_metrics_internal.copy_noted_turns(job.partition);
    PERFORM agent_metrics_internal.notice_partitions();
    PERFORM agent_metrics_internal.detach_partition(job.partition);
    EXECUTE format('ALTER TABLE agent_metrics.%I RENAME TO %I', job.partition, job.partition || '_old');
    FOR piece IN SELECT s.* FROM agent_metrics_internal.partition_splits s LOOP
        IF piece.piece = job.partition || '_next' THEN
            EXECUTE format('ALTER TABLE agent_metrics.%I RENAME TO %I', piece.piece, job.partition);
            piece.piece := job.partition;
        END IF;
        PERFORM agent_metrics_internal.attach_partition(piece.piece, piece.from_time, piece.to_time);
    END LOOP;
    PERFORM agent_metrics_internal.adopt_partitions();
    UPDATE agent_metrics_internal.partition_splits p SET state = 'swapped';
    RETURN format('swapped %s', job.partition);
END
$function$;
COMMENT ON FUNCTION agent_metrics.partition_step(integer) IS
    'One step of splitting an outer partition that holds many turns into months, and what it was; '
    'NULL when there is nothing to do. Each in a transaction of its own. Waits 100 ms for a lock at most.';
REVOKE ALL ON FUNCTION agent_metrics.partition_step(integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.copy_noted_turns(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET datestyle = 'ISO' SET timezone = 'UTC' AS $function$
#variable_conflict use_column
DECLARE
    last  bigint := (SELECT max(g.change_id) FROM agent_metrics_internal.guarded_turns g WHERE g.partition = name);
    columns text := (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                     WHERE a.attrelid = 'agent_metrics.agent_events'::regclass AND a.attnum > 0 AND NOT a.attisdropped
                       AND a.attgenerated = '');
    piece agent_metrics_internal.partition_splits;
BEGIN
    FOR piece IN SELECT s.* FROM agent_metrics_internal.partition_splits s WHERE s.partition = name LOOP
        EXECUTE format('DELETE FROM agent_metrics.%I e USING agent_metrics_internal.guarded_turns g
                        WHERE g.partition = $1 AND g.change_id <= $2
                          AND e.agent_id = g.agent_id AND e.occurred_at = g.occurred_at AND e.event_id = g.event_id',
                       piece.piece)
        USING name, last;
        EXECUTE format('INSERT INTO agent_metrics.%I (%s) OVERRIDING SYSTEM VALUE
                        SELECT %s FROM agent_metrics.%I
                        WHERE (agent_id, occurred_at, event_id) IN (
                            SELECT g.agent_id, g.occurred_at, g.event_id FROM agent_metrics_internal.guarded_turns g
                            WHERE g.partition = $1 AND g.change_id <= $2 AND g.occurred_at >= %L
                              AND g.occurred_at < %L)',
                       piece.piece, columns, columns, name, piece.from_time, piece.to_time)
        USING name, last;
    END LOOP;
    DELETE FROM agent_metrics_internal.guarded_turns g WHERE g.partition = name AND g.change_id <= last;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.copy_noted_turns(text) IS
    'Brings the tables that a partition is split into up to what was written to it meanwhile. '
    'Internal: partition_step() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.copy_noted_turns(text) FROM PUBLIC;
