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
