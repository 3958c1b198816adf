-- Steps: how tables come from version to version. Step 1 is the baseline, the scripts of kind tables and rows; each
-- later change of a table or of a shipped row is one file in sql/steps, whose name begins with its number. The table
-- migrations has the steps that were made. A first setup() makes them all, an update those that are missing: both end
-- alike.

CREATE FUNCTION agent_metrics_internal.setup_scripts()
RETURNS TABLE (number integer, kind text, path text, step integer)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    name text;
BEGIN
    number := 1;
    LOOP
        name := agent_metrics_internal.setup_script_name(number);
        EXIT WHEN name IS NULL;
        kind := split_part(name, ' ', 1);
        path := split_part(name, ' ', 2);
        step := CASE WHEN kind IN ('tables', 'rows') THEN 1
                     WHEN kind = 'step' THEN substring(path FROM '^steps/(\d+)_')::integer END;
        RETURN NEXT;
        number := number + 1;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.setup_scripts() IS
    'What setup() runs, in its order, as in sql/manifest; what has a step is run once. Internal: setup() uses it.';

CREATE FUNCTION agent_metrics_internal.check_steps(last integer) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    known     constant integer := (SELECT max(s.step) FROM agent_metrics_internal.setup_scripts() s);
    remark    constant text := obj_description(to_regclass('agent_metrics_internal.migrations'), 'pg_class');
    made_by   constant text := substring(remark FROM 'of version (\S+) has');
BEGIN
    IF last > known THEN
        RAISE EXCEPTION 'the tables of agent_metrics are at step %, and version % knows steps 1 to %',
            last, agent_metrics.version(), known
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('setup() of version %s made them so. Functions and views of an older version '
                                  'would be wrong on them.', coalesce(made_by, 'unknown')),
                  HINT = format('Install the files of version %s, say ALTER EXTENSION agent_metrics UPDATE '
                                'in a new session, then setup() again.',
                                coalesce(made_by || ' or newer', 'that knows them'));
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_steps(integer) IS
    'Refuses tables that a newer version has brought further than this one knows. Internal: setup() uses it.';

-- Three things have a version: the library that the server loads, the members of the extension, and the tables, views
-- and functions that setup() made. Only of one version do they fit.
CREATE FUNCTION agent_metrics_internal.check_library() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    installed constant text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'agent_metrics');
BEGIN
    IF agent_metrics.version() <> installed THEN
        RAISE EXCEPTION 'library % and extension % of agent_metrics differ', agent_metrics.version(), installed
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'The files of one version were installed, the objects of another are in this database.',
                  HINT = format('If %s is the newer one: ALTER EXTENSION agent_metrics UPDATE in a new session, then '
                                'setup(). Else install the files of version %s again: no version goes back.',
                                agent_metrics.version(), installed);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_library() IS
    'Refuses a library of another version than the extension. Internal: setup() and check_versions() use it.';

CREATE FUNCTION agent_metrics_internal.check_versions() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    installed constant text := (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'agent_metrics');
    -- a dump may have left the comment out: then nobody knows
    made_by   constant text := substring(
        obj_description(to_regclass('agent_metrics_internal.migrations'), 'pg_class') FROM 'of version (\S+) has');
BEGIN
    PERFORM agent_metrics_internal.check_library();
    IF made_by <> installed THEN
        RAISE EXCEPTION 'the tables of agent_metrics are as version % made them, and the extension is %',
            made_by, installed
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Functions of one version may count wrongly in tables of another, so nothing was counted.',
                  HINT = format('SELECT agent_metrics.setup(); as the owner of the tables. If %s is the newer one, '
                                'install its files first, then ALTER EXTENSION agent_metrics UPDATE.', made_by);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_versions() IS
    'Refuses library, extension and tables that are not of one version. Internal: refresh() and verify() use it.';
