-- Versions, cadence and setup().

CREATE FUNCTION agent_metrics.version() RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'library_version';
COMMENT ON FUNCTION agent_metrics.version() IS 'Version of the library that the server has loaded.';

CREATE FUNCTION agent_metrics.new_event_id() RETURNS uuid
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.new_event_id() IS 'A new uuid of version 7, whose order is that of its making.';

CREATE FUNCTION agent_metrics.check_cadence(cadence text, time_zone text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.check_cadence(text, text) IS 'True, or an error that says what is wrong with a five-field crontab or its time zone.';

CREATE FUNCTION agent_metrics.next_due(cadence text, time_zone text, after timestamptz) RETURNS timestamptz
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.next_due(text, text, timestamptz) IS 'First moment after the given one at which the cadence fires.';

-- One function that divides, so that "no denominator" is NULL everywhere.
CREATE FUNCTION agent_metrics.ratio(numerator numeric, denominator numeric) RETURNS double precision
    -- not STRICT, so that the planner puts the expression in its place
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (numerator / nullif(denominator, 0))::double precision;
COMMENT ON FUNCTION agent_metrics.ratio(numeric, numeric) IS 'Numerator / denominator as double precision; NULL where the denominator is 0 or NULL.';

CREATE FUNCTION agent_metrics.migration_script(number integer) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.migration_script(integer) IS 'Text of a numbered migration that setup() runs; NULL after the last.';
CREATE FUNCTION agent_metrics.view_script(number integer) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.view_script(integer) IS 'Text of a numbered script of views that setup() runs; NULL after the last.';

-- setup() runs what it finds in these schemas with its caller's rights, so it must all be his or the extension's.
CREATE FUNCTION agent_metrics.check_ownership() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    place record;
    found record;
BEGIN
    FOR place IN
        SELECT n.nspname, n.nspowner, o.rolname AS owner,
               (SELECT pg_get_userbyid(c.relowner) = current_user FROM pg_class c WHERE c.oid = to_regclass('agent_metrics.agent_events')) AS has_tables
        FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi') AND n.nspowner <> (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user)
        ORDER BY n.nspname DESC
    LOOP
        RAISE EXCEPTION 'schema % belongs to %, not to %', place.nspname, place.owner, current_user
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'Tables, views and functions are made by the schemas'' owner, for they are his and have his rights.',
                  HINT = CASE WHEN place.has_tables THEN
                                -- half handed over: the functions with the owner's rights are the former owner's still
                                format('The tables are yours. For the rest, say as a superuser, or as a member of both roles: REASSIGN OWNED BY %I TO %I;', place.owner, current_user)
                            ELSE
                                format('Log in as %I and call it there: by SET ROLE, code of his could take your own rights. A superuser whose the schema is to be says ALTER SCHEMA %I OWNER TO %I;',
                                       place.owner, place.nspname, current_user) END;
    END LOOP;
    WITH object AS (
        SELECT d.classid, d.objid, n.nspowner,
               -- the superuser of initdb owns what has no entry
               coalesce((SELECT s.refobjid FROM pg_shdepend s
                         WHERE s.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())
                           AND s.classid = d.classid AND s.objid = d.objid AND s.deptype = 'o'), 10) AS owner
        FROM pg_namespace n
        JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi')
          AND d.classid NOT IN ('pg_extension'::regclass, 'pg_default_acl'::regclass, 'pg_publication_namespace'::regclass)
          AND NOT EXISTS (SELECT FROM pg_depend m JOIN pg_extension e ON e.oid = m.refobjid AND e.extname = 'agent_metrics'
                          WHERE m.classid = d.classid AND m.objid = d.objid AND m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e')
    ), wrong AS (
        SELECT i.type, i.identity, o.owner FROM object o CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) i WHERE o.owner <> o.nspowner
        UNION ALL
        -- a trigger runs with the rights of whoever writes
        SELECT i.type, i.identity, p.proowner
        FROM pg_namespace n
        JOIN pg_class c ON c.relnamespace = n.oid
        JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
        JOIN pg_proc p ON p.oid = t.tgfoid
        JOIN pg_roles r ON r.oid = p.proowner
        CROSS JOIN LATERAL pg_identify_object('pg_trigger'::regclass, t.oid, 0) i
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi') AND p.proowner <> n.nspowner AND NOT r.rolsuper
          AND p.pronamespace <> n.oid
        UNION ALL
        -- and so do the functions that defaults, checks, indexes, rules, policies and types call, there or under an operator
        SELECT i.type, i.identity, p.proowner
        FROM pg_namespace n
        CROSS JOIN LATERAL (
            SELECT c.oid, 'pg_class'::regclass::oid FROM pg_class c WHERE c.relnamespace = n.oid
            UNION ALL SELECT d.oid, 'pg_attrdef'::regclass FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid AND c.relnamespace = n.oid
            UNION ALL SELECT k.oid, 'pg_constraint'::regclass FROM pg_constraint k WHERE k.connamespace = n.oid
            UNION ALL SELECT r.oid, 'pg_rewrite'::regclass FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relnamespace = n.oid
            UNION ALL SELECT y.oid, 'pg_policy'::regclass FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid AND c.relnamespace = n.oid
            UNION ALL SELECT t.oid, 'pg_trigger'::regclass FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid AND c.relnamespace = n.oid WHERE t.tgqual IS NOT NULL
        ) AS part (oid, classid)
        JOIN pg_depend d ON d.classid = part.classid AND d.objid = part.oid AND d.refobjid >= 16384
         AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
        JOIN pg_proc p ON p.oid = CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid ELSE (SELECT o.oprcode FROM pg_operator o WHERE o.oid = d.refobjid) END
        JOIN pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper
        CROSS JOIN LATERAL pg_identify_object('pg_proc'::regclass, p.oid, 0) i
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi') AND p.proowner <> n.nspowner AND p.pronamespace <> n.oid
    )
    SELECT count(*) AS number, min(format('%s %s', w.type, w.identity)) AS first,
           left(string_agg(format('%s %s of %s', w.type, w.identity, pg_get_userbyid(w.owner)), ', ' ORDER BY w.type, w.identity), 2000) AS listed,
           min(format('DROP %s %s;', replace(upper(w.type), ' OBJECT', ''), w.identity)) AS dropped,
           count(DISTINCT w.owner) AS owners, min(pg_get_userbyid(w.owner)) AS owner
    INTO found FROM wrong w;
    IF found.number > 0 THEN
        RAISE EXCEPTION '% is neither of the extension agent_metrics nor of the schemas'' owner', found.first
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('Such objects: %s. setup() would call or replace them with the rights of %s.', found.listed, current_user),
                  HINT = format('Drop each: %s', found.dropped)
                         || CASE WHEN found.owners = 1 THEN format(' Or, if they come from the tables'' former owner, who may be trusted, say as superuser: REASSIGN OWNED BY %I TO %I;',
                                                                   found.owner, current_user) ELSE '' END;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_ownership() IS
    'Refuses a caller who does not own the schemas, and whatever is in them that is neither a member of the extension nor his. Internal: setup() uses it.';

-- The guard of the install script, for the schema that setup() makes.
CREATE FUNCTION agent_metrics.check_empty(name text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    thing   text;
    creator text;
BEGIN
    SELECT min(pg_describe_object(d.classid, d.objid, 0)) INTO thing
    FROM pg_namespace n JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
    WHERE n.nspname = check_empty.name
      AND d.classid NOT IN ('pg_default_acl'::regclass, 'pg_publication_namespace'::regclass);
    IF thing IS NOT NULL THEN
        RAISE EXCEPTION 'schema % is there already and holds something: %', name, thing
            USING ERRCODE = 'duplicate_schema',
                  DETAIL = 'setup() makes the schema and what is in it; what is there would be mixed with it, or be in its way.',
                  HINT = format('Move it away: ALTER SCHEMA %I RENAME TO ...; then SELECT agent_metrics.setup() again.', name);
    END IF;
    SELECT min(coalesce(quote_ident(r.rolname), 'PUBLIC')) INTO creator
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE n.nspname = check_empty.name AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner;
    IF creator IS NOT NULL THEN
        RAISE EXCEPTION 'others than its owner may create in schema %: %', name, creator
            USING ERRCODE = 'duplicate_schema',
                  DETAIL = 'Whoever may create in it could lead the views to call what he made.',
                  HINT = format('REVOKE CREATE ON SCHEMA %I FROM %s;', name, creator);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_empty(text) IS 'Refuses a schema that is there already, unless it is empty and nobody but its owner may create in it. Internal: setup() uses it.';

-- The shipped rows of migrations: what stands between two marks. A dump without rows is restored, and then they are
-- missing though the tables are there.
CREATE FUNCTION agent_metrics.shipped_rows(last integer) RETURNS TABLE (number integer, relation text, statement text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN QUERY
    SELECT n.number, s.found[2], s.found[1]
    FROM generate_series(1, shipped_rows.last) AS n (number)
    CROSS JOIN LATERAL regexp_matches(agent_metrics.migration_script(n.number), '-- shipped rows\n(.*?)-- end of shipped rows', 'g')
        WITH ORDINALITY AS p (part, place)
    -- the first quantifier decides that all of them take as little as they can
    CROSS JOIN LATERAL regexp_matches(p.part[1], '(INSERT\sINTO\s(agent_metrics\.[a-z_]+?)\s.*?ON CONFLICT DO NOTHING;)', 'g') WITH ORDINALITY AS s (found, place)
    ORDER BY n.number, p.place, s.place;
END
$function$;
COMMENT ON FUNCTION agent_metrics.shipped_rows(integer) IS
    'Statements of the migrations up to one that insert shipped rows and leave alone those that are there, each with its table. Internal: setup() uses it.';

CREATE FUNCTION agent_metrics.missing_rows() RETURNS TABLE (relation text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF to_regclass('agent_metrics.settings') IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT 'agent_metrics.migrations' WHERE NOT EXISTS (SELECT FROM agent_metrics.migrations)
    UNION ALL SELECT 'agent_metrics.settings' WHERE NOT EXISTS (SELECT FROM agent_metrics.settings)
    UNION ALL SELECT 'agent_metrics.metrics' WHERE NOT EXISTS (SELECT FROM agent_metrics.metrics)
    UNION ALL SELECT 'agent_metrics.agent_kinds' WHERE NOT EXISTS (SELECT FROM agent_metrics.agent_kinds);
END
$function$;
COMMENT ON FUNCTION agent_metrics.missing_rows() IS
    'Tables without which nothing works and that have no row, as after a dump without rows was restored; setup() puts them back.';

-- Rows of the owner's, which nobody else can lock. A lock on the table or an advisory one anybody could hold for as long as he
-- likes: preparing a statement locks its tables before any right is asked for.
CREATE FUNCTION agent_metrics.take_turns() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    PERFORM FROM agent_metrics.migrations m ORDER BY m.number FOR UPDATE;
    IF NOT FOUND THEN  -- the first call, before anybody was given a right
        LOCK TABLE agent_metrics.migrations IN EXCLUSIVE MODE;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.take_turns() IS
    'Waits until no other transaction sets up or gives access, and keeps others waiting to the end of this one. Internal: setup(), grant_access() and revoke_access() use it.';

-- Tables belong to whoever calls setup(), not to the extension: a dump is plain, DROP EXTENSION without CASCADE
-- refuses instead of dropping the data, and a user who is not superuser owns his rows.
CREATE FUNCTION agent_metrics.setup() RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $function$
DECLARE
    installed text := (SELECT extversion FROM pg_extension WHERE extname = 'agent_metrics');
    remark    constant text := 'Migrations that setup() has applied: 1 to %s.';
    last      integer;
    number    integer;
    script    text;
    made      integer := 0;
    rows_came text := '';
    has_no_rows boolean := false;
BEGIN
    IF agent_metrics.version() <> installed THEN
        RAISE EXCEPTION 'library % and extension % of agent_metrics differ', agent_metrics.version(), installed
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'The files of one version were installed, the objects of another are in this database.',
                  HINT = 'Run ALTER EXTENSION agent_metrics UPDATE in a new session, then setup() again.';
    END IF;
    PERFORM agent_metrics.check_ownership();
    IF to_regclass('agent_metrics.migrations') IS NULL THEN
        PERFORM agent_metrics.check_empty('agent_kpi');
    END IF;
    -- Two calls at once: the second waits here and then finds nothing left to do.
    IF to_regclass('agent_metrics.migrations') IS NULL THEN
        BEGIN
            CREATE TABLE agent_metrics.migrations (
                number     integer PRIMARY KEY,
                applied_at timestamptz NOT NULL DEFAULT now()
            );
            COMMENT ON COLUMN agent_metrics.migrations.number IS 'Number of the migration.';
            COMMENT ON COLUMN agent_metrics.migrations.applied_at IS 'When it was applied.';
        EXCEPTION WHEN duplicate_table OR unique_violation THEN
            NULL;  -- the other call has made it
        END;
    END IF;
    PERFORM agent_metrics.take_turns();
    IF to_regnamespace('agent_kpi') IS NULL THEN
        CREATE SCHEMA agent_kpi;
    END IF;
    IF obj_description(to_regnamespace('agent_kpi'), 'pg_namespace') IS NULL THEN
        COMMENT ON SCHEMA agent_kpi IS 'Views for BI tools: the performance of AI agents. Nothing else is in here.';
    END IF;
    PERFORM agent_metrics.check_ownership();
    SELECT coalesce(max(m.number), 0) INTO last FROM agent_metrics.migrations m;
    IF last = 0 AND to_regclass('agent_metrics.settings') IS NOT NULL THEN
        -- Tables without rows: the comment of the table says how far they came.
        last := substring(obj_description('agent_metrics.migrations'::regclass, 'pg_class') FROM '1 to (\d+)\.$')::integer;
        IF last IS NULL THEN
            RAISE EXCEPTION 'the tables of agent_metrics are there, and nothing says by which migrations'
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = 'agent_metrics.migrations has no rows, and its comment, which says it too, is gone.',
                      HINT = 'Restore the rows of agent_metrics.migrations, or the schema from a dump with comments.';
        END IF;
        INSERT INTO agent_metrics.migrations (number) SELECT n.number FROM generate_series(1, last) AS n (number);
        has_no_rows := true;
    END IF;
    -- Edits and deletions of shipped rows stay; but a table without which nothing works is not empty because somebody
    -- wanted it so.
    FOR script IN
        SELECT r.statement FROM agent_metrics.shipped_rows(last) r
        WHERE has_no_rows OR r.relation = ANY (ARRAY(SELECT m.relation FROM agent_metrics.missing_rows() m))
        ORDER BY r.number
    LOOP
        EXECUTE script;
        rows_came := ', and the shipped rows, which were missing, are back';
    END LOOP;
    number := last + 1;
    LOOP
        script := agent_metrics.migration_script(number);
        EXIT WHEN script IS NULL;
        EXECUTE script;
        INSERT INTO agent_metrics.migrations (number) VALUES (number);
        made := made + 1;
        number := number + 1;
    END LOOP;
    EXECUTE format('COMMENT ON TABLE agent_metrics.migrations IS %L', format(remark, last + made));
    number := 1;
    LOOP
        script := agent_metrics.view_script(number);
        EXIT WHEN script IS NULL;
        EXECUTE script;
        number := number + 1;
    END LOOP;
    PERFORM agent_metrics.ensure_partitions();
    PERFORM agent_metrics.grant_levels();
    RETURN format('agent_metrics %s is set up: %s migrations applied now, %s in all%s', installed, made, last + made, rows_came);
END
$function$;
COMMENT ON FUNCTION agent_metrics.setup() IS
    'Makes the tables, views and shipped rows, owned by the caller, who has to own the schemas, or brings them up to date. Called again it changes nothing and keeps every edit.';

-- Standard error of a ratio sum(x)/sum(y) over n independent pairs, by the delta method (Cochran 1977, 6.3):
-- sqrt(n/(n-1) * sum((x - Ry)^2)) / sum(y), with the sum of squares taken apart into stored sums.
CREATE FUNCTION agent_metrics.ratio_error(n numeric, x numeric, y numeric, xx numeric, xy numeric, yy numeric) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN n > 1 AND y > 0 THEN
        sqrt(greatest(n / (n - 1) * (xx - 2 * (x / y) * xy + (x / y) * (x / y) * yy), 0)::double precision) / y::double precision END;
COMMENT ON FUNCTION agent_metrics.ratio_error(numeric, numeric, numeric, numeric, numeric, numeric) IS
    'Standard error of sum(x)/sum(y) over n pairs, from n and the sums of x, y, x*x, x*y, y*y; NULL under two pairs or without y.';
