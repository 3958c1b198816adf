-- Functions that need the rights of the tables' owner, whoever calls them: owned by the caller of setup().

CREATE OR REPLACE FUNCTION agent_metrics.ensure_partitions(months_ahead integer DEFAULT 3) RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET timezone = 'UTC' SET lock_timeout = '100ms' AS $function$
DECLARE
    this_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    month      timestamp;
    next_month timestamp;
    made       integer := 0;
BEGIN
    IF to_regclass('agent_metrics.agent_events_after') IS NULL THEN
        -- The outer partitions take whatever lies outside the months, so that no event is ever refused.
        month := this_month - interval '4 months';
        EXECUTE format('CREATE TABLE agent_metrics.agent_events_before PARTITION OF agent_metrics.agent_events FOR VALUES FROM (MINVALUE) TO (%L)',
                       month AT TIME ZONE 'UTC');
        EXECUTE format('CREATE TABLE agent_metrics.agent_events_after PARTITION OF agent_metrics.agent_events FOR VALUES FROM (%L) TO (MAXVALUE)',
                       month AT TIME ZONE 'UTC');
        CREATE TRIGGER log_truncate AFTER TRUNCATE ON agent_metrics.agent_events_before
            FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.log_truncate();
        CREATE TRIGGER log_truncate AFTER TRUNCATE ON agent_metrics.agent_events_after
            FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.log_truncate();
        COMMENT ON TABLE agent_metrics.agent_events_before IS 'Turns before the first month.';
        COMMENT ON TABLE agent_metrics.agent_events_after IS 'Turns after the last month made so far; ensure_partitions() moves them to their own.';
        made := 2;
    ELSE
        -- The first month not made yet is where the last outer partition begins.
        SELECT (substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \('([^']+)'\)$$)::timestamptz) AT TIME ZONE 'UTC'
        INTO month FROM pg_class c WHERE c.oid = 'agent_metrics.agent_events_after'::regclass;
    END IF;
    WHILE month <= this_month + make_interval(months => months_ahead) LOOP
        next_month := month + interval '1 month';
        ALTER TABLE agent_metrics.agent_events DETACH PARTITION agent_metrics.agent_events_after;
        EXECUTE format('CREATE TABLE agent_metrics.%I PARTITION OF agent_metrics.agent_events FOR VALUES FROM (%L) TO (%L)',
                       to_char(month, '"agent_events_y"YYYY"m"MM'), month AT TIME ZONE 'UTC', next_month AT TIME ZONE 'UTC');
        -- A trigger of a statement is not handed down to partitions, and a partition may be truncated by itself.
        EXECUTE format('CREATE TRIGGER log_truncate AFTER TRUNCATE ON agent_metrics.%I
                        FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.log_truncate()', to_char(month, '"agent_events_y"YYYY"m"MM'));
        EXECUTE format('COMMENT ON TABLE agent_metrics.%I IS %L', to_char(month, '"agent_events_y"YYYY"m"MM'), to_char(month, '"Turns of "YYYY-MM.'));
        -- Detached, the partition has no triggers: moving its rows is no change of the facts.
        EXECUTE format('WITH moved AS (DELETE FROM agent_metrics.agent_events_after e WHERE e.occurred_at < %L RETURNING e.*)
                        INSERT INTO agent_metrics.agent_events SELECT m.* FROM moved m', next_month AT TIME ZONE 'UTC');
        EXECUTE format('ALTER TABLE agent_metrics.agent_events ATTACH PARTITION agent_metrics.agent_events_after FOR VALUES FROM (%L) TO (MAXVALUE)',
                       next_month AT TIME ZONE 'UTC');
        made := made + 1;
        month := next_month;
    END LOOP;
    RETURN made;
END
$function$;
COMMENT ON FUNCTION agent_metrics.ensure_partitions(integer) IS
    'Makes the monthly partitions of agent_events up to some months ahead, and moves rows that came before their partition. Waits 100 ms for its lock at most.';
REVOKE ALL ON FUNCTION agent_metrics.ensure_partitions(integer) FROM PUBLIC;
