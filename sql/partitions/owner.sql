-- Partitions are made by the owner of agent_events, whoever asks.

-- The name comes with the trigger: a partition may itself be partitioned, and then the table that
-- fires is one below it.
CREATE OR REPLACE FUNCTION agent_metrics_internal.guard_turn() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        INSERT INTO agent_metrics_internal.guarded_turns (partition, agent_id, occurred_at, event_id)
        VALUES (TG_ARGV[0], OLD.agent_id, OLD.occurred_at, OLD.event_id);
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        INSERT INTO agent_metrics_internal.guarded_turns (partition, agent_id, occurred_at, event_id)
        VALUES (TG_ARGV[0], NEW.agent_id, NEW.occurred_at, NEW.event_id);
    END IF;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.guard_turn() IS
    'Trigger of a partition that is being copied: notes the keys of turns that are written meanwhile.';
REVOKE ALL ON FUNCTION agent_metrics_internal.guard_turn() FROM PUBLIC;

-- Functions that need the rights of the tables' owner, whoever calls them: owned by the caller of setup().
-- Monthly partitions are made beside agent_events and then take their place in it at once: only that moment needs the
-- lock that keeps inserts out, nobody waits more than 100 ms for it, and it is held for as long as it takes to change
-- some rows of the catalogue.

CREATE OR REPLACE FUNCTION agent_metrics_internal.make_partition(name text, from_time timestamptz, to_time timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO'
SET timezone = 'UTC' SET client_min_messages = warning AS $function$
DECLARE
    place text := (SELECT format('TABLESPACE %I', s.spcname)
                   FROM pg_class c JOIN pg_tablespace s ON s.oid = c.reltablespace
                   WHERE c.oid = 'agent_metrics.agent_events'::regclass);
BEGIN
    PERFORM agent_metrics_internal.check_free(name);
    EXECUTE format('CREATE TABLE agent_metrics.%I (LIKE agent_metrics.agent_events INCLUDING ALL) %s', name, place);
    -- Proves to ATTACH that every row belongs, so that it need not look; gone once it is attached.
    EXECUTE format('ALTER TABLE agent_metrics.%I ADD CONSTRAINT is_in_its_span CHECK (occurred_at >= %L '
                   'AND occurred_at < %L)',
                   name, from_time, to_time);
    -- A trigger of a statement is not handed down to partitions, and a partition may be truncated by itself.
    EXECUTE format('CREATE TRIGGER log_truncate AFTER TRUNCATE ON agent_metrics.%I
                    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.log_truncate()', name);
    EXECUTE format('ALTER TABLE agent_metrics.%I ENABLE ALWAYS TRIGGER log_truncate', name);
    EXECUTE format('COMMENT ON TABLE agent_metrics.%I IS %L', name,
                   CASE WHEN from_time = '-infinity' THEN 'Turns before the first month.'
                        WHEN to_time = 'infinity'
                            THEN 'Turns after the last month made so far; ensure_partitions() moves them to their own.'
                        ELSE format('Turns from %s to before %s UTC.', from_time::date, to_time::date) END);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.make_partition(text, timestamptz, timestamptz) IS
    'Makes a table that can become the partition of a span of time. Internal: ensure_partitions() and '
    'the archive use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.make_partition(text, timestamptz, timestamptz) FROM PUBLIC;

-- Copies turns from one table to another that is, or was, a partition beside it: with their stamps, so that to every
-- refresh they are the turns they were. A column that is generated is not copied but generated.
CREATE OR REPLACE FUNCTION agent_metrics_internal.copy_turns(
    from_name text, to_name text, from_time timestamptz, to_time timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET row_security = off AS $function$
DECLARE
    columns text := (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                     WHERE a.attrelid = format('agent_metrics.%I', from_name)::regclass AND a.attnum > 0
                       AND NOT a.attisdropped AND a.attgenerated = '');
BEGIN
    EXECUTE format('INSERT INTO agent_metrics.%I (%s) OVERRIDING SYSTEM VALUE
                    SELECT %s FROM agent_metrics.%I WHERE occurred_at >= $1 AND occurred_at < $2', to_name,
                   columns, columns, from_name)
    USING from_time, to_time;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.copy_turns(text, text, timestamptz, timestamptz) IS
    'Copies the turns of a span of time between two tables, with their stamps. Internal: ensure_partitions() and '
    'partition_step() use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.copy_turns(text, text, timestamptz, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.attach_partition(
    name text, from_time timestamptz, to_time timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO'
SET timezone = 'UTC' SET client_min_messages = warning AS $function$
BEGIN
    EXECUTE format('ALTER TABLE agent_metrics.agent_events ATTACH PARTITION agent_metrics.%I FOR VALUES '
                   'FROM (%s) TO (%s)', name,
                   CASE WHEN from_time = '-infinity' THEN 'MINVALUE' ELSE quote_literal(from_time) END,
                   CASE WHEN to_time = 'infinity' THEN 'MAXVALUE' ELSE quote_literal(to_time) END);
    EXECUTE format('ALTER TABLE agent_metrics.%I DROP CONSTRAINT IF EXISTS is_in_its_span', name);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.attach_partition(text, timestamptz, timestamptz) IS
    'Attaches a table that make_partition() made. Internal: ensure_partitions() and the archive use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.attach_partition(text, timestamptz, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.detach_partition(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    place text;
    key   record;
BEGIN
    EXECUTE format('ALTER TABLE agent_metrics.agent_events DETACH PARTITION agent_metrics.%I', name);
EXCEPTION WHEN foreign_key_violation THEN
    GET STACKED DIAGNOSTICS place = SCHEMA_NAME;
    SELECT k.conname, c.oid::regclass AS relation, pg_get_userbyid(c.relowner) AS owner INTO key
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    WHERE k.contype = 'f' AND k.confrelid = 'agent_metrics.agent_events'::regclass AND k.conparentid = 0
    ORDER BY c.relnamespace <> to_regnamespace(quote_ident(place)), k.conname LIMIT 1;
    RAISE EXCEPTION 'table % refers by a foreign key to turns in partition %, which therefore stays where it is',
        key.relation, name
        USING ERRCODE = 'foreign_key_violation',
              DETAIL = format('The key %s belongs to %s. Turns are moved between partitions, and archived, '
                              'with none that refers to them. Nothing was changed.', key.conname, key.owner),
              HINT = format('ALTER TABLE %s DROP CONSTRAINT %I; an index on the same columns serves joins as well.',
                            key.relation, key.conname);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.detach_partition(text) IS
    'Detaches a partition, unless a foreign key of somebody''s refers to its turns. Internal: ensure_partitions(), '
    'partition_step() and the archive use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.detach_partition(text) FROM PUBLIC;

-- The outer partitions take whatever lies outside the months, so that no event is ever refused: one that was dropped
-- comes back, empty.
CREATE OR REPLACE FUNCTION agent_metrics_internal.ensure_outer_partitions() RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO' SET timezone = 'UTC' SET lock_timeout = '100ms' AS $function$
DECLARE
    lowest  timestamptz := (SELECT min(p.from_time) FROM agent_metrics_internal.present_partitions() p);
    highest timestamptz := (SELECT max(p.to_time) FROM agent_metrics_internal.present_partitions() p);
    made    integer := 0;
BEGIN
    IF lowest = '-infinity' AND highest = 'infinity' THEN
        RETURN 0;
    END IF;
    lowest := coalesce(lowest, date_trunc('month', now()) - interval '4 months');
    highest := coalesce(highest, lowest);
    LOCK TABLE ONLY agent_metrics.agent_events IN ACCESS EXCLUSIVE MODE;
    PERFORM agent_metrics_internal.notice_partitions();
    IF lowest > '-infinity' THEN
        PERFORM agent_metrics_internal.make_partition('agent_events_before', '-infinity', lowest),
                agent_metrics_internal.attach_partition('agent_events_before', '-infinity', lowest);
        made := made + 1;
    END IF;
    IF highest < 'infinity' THEN
        PERFORM agent_metrics_internal.make_partition('agent_events_after', highest, 'infinity'),
                agent_metrics_internal.attach_partition('agent_events_after', highest, 'infinity');
        made := made + 1;
    END IF;
    PERFORM agent_metrics_internal.adopt_partitions();
    RETURN made;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.ensure_outer_partitions() IS
    'Makes the partitions before the first and after the last month where they are missing. '
    'Internal: ensure_partitions() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.ensure_outer_partitions() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics.ensure_partitions(months_ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO' SET timezone = 'UTC' SET lock_timeout = '100ms' SET client_min_messages = warning AS $function$
DECLARE
    few        constant integer := 1000;  -- turns that may be moved while inserts wait
    -- made in one call: a clock that is decades ahead shall not make hundreds
    most       constant interval := '24 months';
    this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    first      timestamp;
    month      timestamp;
    ended      timestamptz;
    made       integer := 0;
BEGIN
    -- What was made since gets the rights that the roles have by their level.
    PERFORM agent_metrics_internal.grant_levels();
    made := agent_metrics_internal.ensure_outer_partitions();
    -- The first month not made yet is where the last outer partition begins.
    SELECT p.from_time AT TIME ZONE 'UTC' INTO first FROM agent_metrics_internal.present_partitions() p
    WHERE p.partition = 'agent_events_after' AND p.to_time = 'infinity' AND isfinite(p.from_time);
    IF first IS NULL THEN
        -- somebody's own partition takes what comes after the last month
        RETURN made;
    END IF;
    IF first > this_month + make_interval(months => months_ahead) THEN
        RETURN made;
    END IF;
    -- Looked at without a lock, so that no insert waits for a long look; what comes in between is few.
    IF (SELECT count(*) FROM (SELECT 1 FROM agent_metrics.agent_events_after LIMIT few + 1) x) > few THEN
        RAISE WARNING 'more than % turns lie after the last month, so no month is made', few
            USING DETAIL = 'Moving them at once would keep inserts waiting.',
                  HINT = 'agent-metrics run and agent-metrics once move them in steps; '
                         'or call SELECT agent_metrics.partition_step() until it returns NULL.';
        RETURN made;
    END IF;
    ended := least(this_month + make_interval(months => months_ahead + 1), first + most) AT TIME ZONE 'UTC';
    month := first;
    WHILE month < ended AT TIME ZONE 'UTC' LOOP
        PERFORM agent_metrics_internal.make_partition(to_char(month, '"agent_events_y"YYYY"m"MM'),
                                                      month AT TIME ZONE 'UTC',
                                                      (month + interval '1 month') AT TIME ZONE 'UTC');
        month := month + interval '1 month';
    END LOOP;
    -- From here on inserts wait.
    LOCK TABLE ONLY agent_metrics.agent_events IN ACCESS EXCLUSIVE MODE;
    PERFORM agent_metrics_internal.notice_partitions();
    PERFORM agent_metrics_internal.detach_partition('agent_events_after');
    month := first;
    WHILE month < ended AT TIME ZONE 'UTC' LOOP
        -- Before it is attached, and from a table that is detached: moving turns fires no trigger, for
        -- it changes no fact.
        PERFORM agent_metrics_internal.copy_turns('agent_events_after', to_char(month, '"agent_events_y"YYYY"m"MM'),
                                                  month AT TIME ZONE 'UTC',
                                                  (month + interval '1 month') AT TIME ZONE 'UTC'),
                agent_metrics_internal.attach_partition(to_char(month, '"agent_events_y"YYYY"m"MM'),
                                                        month AT TIME ZONE 'UTC',
                                                        (month + interval '1 month') AT TIME ZONE 'UTC');
        made := made + 1;
        month := month + interval '1 month';
    END LOOP;
    DELETE FROM agent_metrics.agent_events_after e WHERE e.occurred_at < ended;
    PERFORM agent_metrics_internal.attach_partition('agent_events_after', ended, 'infinity');
    PERFORM agent_metrics_internal.adopt_partitions();
    RETURN made;
END
$function$;
COMMENT ON FUNCTION agent_metrics.ensure_partitions(integer) IS
    'Makes the monthly partitions of agent_events up to some months ahead, and moves the few rows that came before '
    'their partition; 24 months a call at most. Waits 100 ms for its lock at most.';
REVOKE ALL ON FUNCTION agent_metrics.ensure_partitions(integer) FROM PUBLIC;

-- Autovacuum analyses partitions, never the table above them, whose statistics are what a question over agent_events is
-- planned by.
CREATE OR REPLACE FUNCTION agent_metrics.analyze_turns() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_stat_user_tables s
               WHERE s.relid = 'agent_metrics.agent_events'::regclass
                 AND s.last_analyze > now() - interval '1 day') THEN
        RETURN false;
    END IF;
    ANALYZE agent_metrics.agent_events;
    RETURN true;
END
$function$;
COMMENT ON FUNCTION agent_metrics.analyze_turns() IS
    'ANALYZE agent_events, at most once a day; whether it did. The program calls it.';
REVOKE ALL ON FUNCTION agent_metrics.analyze_turns() FROM PUBLIC;
