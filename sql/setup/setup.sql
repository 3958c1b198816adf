-- setup(): the scripts that it runs, in the order of sql/manifest, and what it puts back after a dump without rows.

CREATE FUNCTION agent_metrics.version() RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'library_version';
COMMENT ON FUNCTION agent_metrics.version() IS 'Version of the library that the server has loaded.';

CREATE FUNCTION agent_metrics_internal.setup_script(number integer) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.setup_script(integer) IS
    'Text of a script that setup() runs, by its place in sql/manifest, from 1; NULL after the last.';
CREATE FUNCTION agent_metrics_internal.setup_script_name(number integer) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.setup_script_name(integer) IS
    'Kind and path of a script that setup() runs, as in sql/manifest; NULL after the last.';

-- A dump without rows is restored, and then they are missing though the tables are there.
CREATE FUNCTION agent_metrics_internal.shipped_rows()
RETURNS TABLE (number bigint, step integer, relation text, statement text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN QUERY
    SELECT row_number() OVER (ORDER BY s.number, f.place), s.step, f.found[2], f.found[1]
    FROM agent_metrics_internal.setup_scripts() s
    -- the first quantifier decides that all of them take as little as they can
    CROSS JOIN LATERAL regexp_matches(
        agent_metrics_internal.setup_script(s.number),
        '(INSERT\sINTO\s(agent_metrics(?:_internal)??\.[a-z_]+?)\s.*?ON CONFLICT DO NOTHING;)', 'g')
        WITH ORDINALITY AS f (found, place)
    WHERE s.kind IN ('rows', 'step');
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.shipped_rows() IS
    'Statements that insert rows that ship, and leave those that are there: step and table. Internal: setup() uses it.';

CREATE FUNCTION agent_metrics_internal.missing_rows() RETURNS TABLE (relation text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF to_regclass('agent_metrics.settings') IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT 'agent_metrics_internal.migrations' WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.migrations)
    UNION ALL SELECT 'agent_metrics.settings' WHERE NOT EXISTS (SELECT 1 FROM agent_metrics.settings)
    UNION ALL SELECT 'agent_metrics.metrics' WHERE NOT EXISTS (SELECT 1 FROM agent_metrics.metrics)
    UNION ALL SELECT 'agent_metrics.agent_kinds' WHERE NOT EXISTS (SELECT 1 FROM agent_metrics.agent_kinds);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.missing_rows() IS
    'Tables without which nothing works and that have no row, as after a dump without rows was restored; '
    'setup() puts them back.';

-- Rows of the owner's, which nobody else can lock. A lock on the table or an advisory one anybody could hold for as
-- long as he likes: preparing a statement locks its tables before any right is asked for.
CREATE FUNCTION agent_metrics_internal.serialize_setup() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    PERFORM FROM agent_metrics_internal.migrations m ORDER BY m.number FOR UPDATE;
    IF NOT FOUND THEN  -- the first call, before anybody was given a right
        LOCK TABLE agent_metrics_internal.migrations IN EXCLUSIVE MODE;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.serialize_setup() IS
    'Waits until no other transaction sets up or gives access, and keeps others waiting to the end of this one. '
    'Internal: setup(), grant_access() and revoke_access() use it.';

-- Tables belong to whoever calls setup(), not to the extension: a dump is plain, DROP EXTENSION without CASCADE
-- refuses instead of dropping the data, and a user who is not superuser owns his rows.
CREATE FUNCTION agent_metrics.setup() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
-- a number that a view is made with is written as it is
SET extra_float_digits = 1 AS $function$
DECLARE
    installed text := (SELECT extversion FROM pg_extension WHERE extname = 'agent_metrics');
    remark    constant text := 'Migrations that setup() of version %s has applied: 1 to %s.';
    last      integer;
    script    text;
    made      integer;
    words     text;
    others    text;
    rows_came text := '';
    has_no_rows boolean := false;
BEGIN
    PERFORM agent_metrics_internal.check_library();
    PERFORM agent_metrics_internal.check_ownership();
    IF to_regclass('agent_metrics_internal.migrations') IS NULL THEN
        PERFORM agent_metrics_internal.check_empty('agent_kpi');
    END IF;
    -- Two calls at once: the second waits here and then finds nothing left to do.
    IF to_regclass('agent_metrics_internal.migrations') IS NULL THEN
        BEGIN
            CREATE TABLE agent_metrics_internal.migrations (
                number     integer PRIMARY KEY,
                applied_at timestamptz NOT NULL DEFAULT now()
            );
            COMMENT ON COLUMN agent_metrics_internal.migrations.number IS 'Number of the step; 1 is the baseline.';
            COMMENT ON COLUMN agent_metrics_internal.migrations.applied_at IS 'When it was made.';
        EXCEPTION WHEN duplicate_table OR unique_violation THEN
            NULL;  -- the other call has made it
        END;
    END IF;
    PERFORM agent_metrics_internal.serialize_setup();
    IF to_regnamespace('agent_kpi') IS NULL THEN
        CREATE SCHEMA agent_kpi;
    END IF;
    IF obj_description(to_regnamespace('agent_kpi'), 'pg_namespace') IS NULL THEN
        COMMENT ON SCHEMA agent_kpi IS 'Views for BI tools: the performance of AI agents. Nothing else is in here.';
    END IF;
    PERFORM agent_metrics_internal.check_ownership();
    SELECT coalesce(max(m.number), 0) INTO last FROM agent_metrics_internal.migrations m;
    IF last = 0 AND to_regclass('agent_metrics.settings') IS NOT NULL THEN
        -- Tables without rows: the comment of the table says how far they came.
        last := substring(
            obj_description('agent_metrics_internal.migrations'::regclass, 'pg_class') FROM '1 to (\d+)\.$')::integer;
        IF last IS NULL THEN
            RAISE EXCEPTION 'the tables of agent_metrics are there, and nothing says by which migrations'
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = 'agent_metrics_internal.migrations has no rows, and its comment, '
                               'which says it too, is gone.',
                      HINT = 'Restore the rows of agent_metrics_internal.migrations, or the schema from a '
                             'dump with comments.';
        END IF;
        INSERT INTO agent_metrics_internal.migrations (number)
        SELECT n.number FROM generate_series(1, last) AS n (number);
        has_no_rows := true;
    END IF;
    PERFORM agent_metrics_internal.check_steps(last);
    -- Edits and deletions of shipped rows stay; but a table without which nothing works is not empty because somebody
    -- wanted it so.
    FOR script IN
        SELECT r.statement FROM agent_metrics_internal.shipped_rows() r
        WHERE r.step <= last
          AND (has_no_rows OR r.relation = ANY (ARRAY(SELECT m.relation FROM agent_metrics_internal.missing_rows() m)))
        ORDER BY r.number
    LOOP
        EXECUTE script;
        rows_came := ', and the shipped rows, which were missing, are back';
    END LOOP;
    FOR script IN
        SELECT agent_metrics_internal.setup_script(s.number) FROM agent_metrics_internal.setup_scripts() s
        WHERE s.step IS NULL OR s.step > last ORDER BY s.number
    LOOP
        BEGIN
            EXECUTE script;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            GET STACKED DIAGNOSTICS words = MESSAGE_TEXT, others = PG_EXCEPTION_DETAIL;
            RAISE EXCEPTION 'setup() of version % stops: %', installed, words
                USING ERRCODE = 'dependent_objects_still_exist', DETAIL = others,
                      HINT = 'What is yours is not dropped for you. Keep its definition (pg_get_viewdef) and its '
                             'rights, drop it, call setup() again, and make it again.';
        END;
    END LOOP;
    INSERT INTO agent_metrics_internal.migrations (number)
    SELECT DISTINCT s.step FROM agent_metrics_internal.setup_scripts() s WHERE s.step > last;
    GET DIAGNOSTICS made = ROW_COUNT;
    EXECUTE format('COMMENT ON TABLE agent_metrics_internal.migrations IS %L', format(remark, installed, last + made));
    PERFORM agent_metrics.ensure_partitions();
    PERFORM agent_metrics_internal.grant_levels();
    RETURN format('agent_metrics %s is set up: %s migrations applied now, %s in all%s', installed, made,
                  last + made, rows_came);
END
$function$;
COMMENT ON FUNCTION agent_metrics.setup() IS
    'Makes the tables, views and shipped rows, owned by the caller, who has to own the schemas, or brings them up to '
    'date. Called again it changes nothing and keeps every edit.';
