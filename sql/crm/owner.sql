-- The trigger of an attached table: runs within the business system's own statement, with our rights. It only notes,
-- waits for nothing, and raises nothing.
--
-- The table is somebody else's, so its row is never used as a whole: to_jsonb(NEW), a cast by name and even || call
-- casts that the owner of a type made. row_fields() calls types' output functions, which only a superuser can make.
CREATE OR REPLACE FUNCTION agent_metrics.follow_source() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2ms' SET timezone = 'UTC' SET datestyle = 'ISO' SET extra_float_digits = 1 AS $function$
DECLARE
    attached   oid;
    has_kind   boolean;
    columns    text[];
    old_fields text[];
    new_fields text[];
    words      text;
    state      text;
BEGIN
    SELECT a.relation, a.fixed_kind IS NOT NULL, agent_metrics_internal.source_fields(a.columns)
    INTO attached, has_kind, columns
    FROM agent_metrics_internal.attached_tables a
    WHERE a.source = TG_ARGV[0] AND (a.relation = TG_RELID OR a.relation = pg_partition_root(TG_RELID));
    IF NOT FOUND THEN
        -- Detached, or put on another table; or attached since a transaction began that sees only what was then.
        IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
            RAISE EXCEPTION 'attached since this transaction began' USING ERRCODE = 'active_sql_transaction';
        END IF;
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO agent_metrics_internal.attached_changes (source, relation, operation)
        VALUES (TG_ARGV[0], attached, 'truncate');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        old_fields := agent_metrics_internal.row_fields(OLD, columns);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        new_fields := agent_metrics_internal.row_fields(NEW, columns);
    END IF;
    IF TG_OP = 'UPDATE' AND old_fields IS NOT DISTINCT FROM new_fields THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' AND old_fields[1] IS DISTINCT FROM new_fields[1] THEN
        INSERT INTO agent_metrics_internal.attached_changes (source, relation, operation, fields)
        VALUES (TG_ARGV[0], attached, 'delete', old_fields[1:1]);
    END IF;
    -- a new row that is no event yet is no news
    IF TG_OP = 'UPDATE' OR TG_OP = 'INSERT' AND new_fields[3] IS NOT NULL
                           AND (has_kind OR new_fields[2] IS NOT NULL) THEN
        INSERT INTO agent_metrics_internal.attached_changes (source, relation, operation, fields)
        VALUES (TG_ARGV[0], attached, 'put', new_fields);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    words := SQLERRM;
    state := SQLSTATE;
    BEGIN
        INSERT INTO agent_metrics_internal.attachment_problems (source, problem, detail)
        SELECT TG_ARGV[0], format('a write could not be noted (SQLSTATE %s)', state), words
        WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.attachment_problems p
                          WHERE p.source = TG_ARGV[0]
                            AND p.problem = format('a write could not be noted (SQLSTATE %s)', state));
    EXCEPTION WHEN OTHERS THEN
        -- the comparison of the day finds it
        RAISE LOG 'agent_metrics: a write to % could not be noted: %', TG_ARGV[0], words;
    END;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics.follow_source() IS
    'Trigger of an attached table: its writes are noted in attached_changes, '
    'from where sync_business_events() takes them.';
REVOKE ALL ON FUNCTION agent_metrics.follow_source() FROM PUBLIC;
