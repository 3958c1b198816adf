-- setup() runs what it finds in these schemas with its caller's rights, so it must all be his or the extension's.
CREATE FUNCTION agent_metrics_internal.check_ownership() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    place record;
    found record;
BEGIN
    FOR place IN
        SELECT n.nspname, n.nspowner, o.rolname AS owner,
               (SELECT pg_get_userbyid(c.relowner) = current_user
                FROM pg_class c WHERE c.oid = to_regclass('agent_metrics.agent_events')) AS has_tables
        FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal')
          AND n.nspowner <> (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user)
        ORDER BY n.nspname = 'agent_metrics' DESC, n.nspname DESC
    LOOP
        RAISE EXCEPTION 'schema % belongs to %, not to %', place.nspname, place.owner, current_user
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'Tables, views and functions are made by the schemas'' owner, for they are his '
                           'and have his rights.',
                  HINT = CASE WHEN place.has_tables THEN
                                -- half handed over: the functions with the owner's rights are the former owner's still
                                format('The tables are yours. For the rest, say as a superuser, or as a member of both '
                                       'roles: REASSIGN OWNED BY %I TO %I;', place.owner, current_user)
                            ELSE
                                format('Log in as %I and call it there: by SET ROLE, '
                                       'code of his could take your own rights. A superuser whose the schema is to be '
                                       'says ALTER SCHEMA %I OWNER TO %I;',
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
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal')
          AND d.classid NOT IN ('pg_extension'::regclass, 'pg_default_acl'::regclass,
                                'pg_publication_namespace'::regclass)
          AND NOT EXISTS (SELECT 1
                          FROM pg_depend m JOIN pg_extension e ON e.oid = m.refobjid AND e.extname = 'agent_metrics'
                          WHERE m.classid = d.classid AND m.objid = d.objid AND m.refclassid = 'pg_extension'::regclass
                            AND m.deptype = 'e')
    ), wrong AS (
        SELECT i.type, i.identity, o.owner FROM object o CROSS JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) i
        WHERE o.owner <> o.nspowner
        UNION ALL
        -- a trigger runs with the rights of whoever writes
        SELECT i.type, i.identity, p.proowner
        FROM pg_namespace n
        JOIN pg_class c ON c.relnamespace = n.oid
        JOIN pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal
        JOIN pg_proc p ON p.oid = t.tgfoid
        JOIN pg_roles r ON r.oid = p.proowner
        CROSS JOIN LATERAL pg_identify_object('pg_trigger'::regclass, t.oid, 0) i
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal') AND p.proowner <> n.nspowner
          AND NOT r.rolsuper
          AND p.pronamespace <> n.oid
        UNION ALL
        -- and so do the functions that defaults, checks, indexes, rules, policies and types call, there
        -- or under an operator
        SELECT i.type, i.identity, p.proowner
        FROM pg_namespace n
        CROSS JOIN LATERAL (
            SELECT c.oid, 'pg_class'::regclass::oid FROM pg_class c WHERE c.relnamespace = n.oid
            UNION ALL SELECT d.oid, 'pg_attrdef'::regclass
                      FROM pg_attrdef d JOIN pg_class c ON c.oid = d.adrelid AND c.relnamespace = n.oid
            UNION ALL SELECT k.oid, 'pg_constraint'::regclass FROM pg_constraint k WHERE k.connamespace = n.oid
            UNION ALL SELECT r.oid, 'pg_rewrite'::regclass
                      FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relnamespace = n.oid
            UNION ALL SELECT y.oid, 'pg_policy'::regclass
                      FROM pg_policy y JOIN pg_class c ON c.oid = y.polrelid AND c.relnamespace = n.oid
            UNION ALL SELECT t.oid, 'pg_trigger'::regclass FROM pg_trigger t
                      JOIN pg_class c ON c.oid = t.tgrelid AND c.relnamespace = n.oid WHERE t.tgqual IS NOT NULL
        ) AS part (oid, classid)
        JOIN pg_depend d ON d.classid = part.classid AND d.objid = part.oid AND d.refobjid >= 16384
         AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
        JOIN pg_proc p ON p.oid = CASE WHEN d.refclassid = 'pg_proc'::regclass THEN d.refobjid
                                       ELSE (SELECT o.oprcode FROM pg_operator o WHERE o.oid = d.refobjid) END
        JOIN pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper
        CROSS JOIN LATERAL pg_identify_object('pg_proc'::regclass, p.oid, 0) i
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal') AND p.proowner <> n.nspowner
          AND p.pronamespace <> n.oid
    )
    SELECT count(*) AS number, min(format('%s %s', w.type, w.identity)) AS first,
           left(string_agg(format('%s %s of %s', w.type, w.identity, pg_get_userbyid(w.owner)), ', '
                           ORDER BY w.type, w.identity), 2000) AS listed,
           min(format('DROP %s %s;', replace(upper(w.type), ' OBJECT', ''), w.identity)) AS dropped,
           count(DISTINCT w.owner) AS owners, min(pg_get_userbyid(w.owner)) AS owner
    INTO found FROM wrong w;
    IF found.number > 0 THEN
        RAISE EXCEPTION '% is neither of the extension agent_metrics nor of the schemas'' owner', found.first
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = format('Such objects: %s. setup() would call or replace them with the rights of %s.',
                                  found.listed, current_user),
                  HINT = format('Drop each: %s', found.dropped)
                         || CASE WHEN found.owners = 1
                                 THEN format(' Or, if they come from the tables'' former owner, who may be trusted, '
                                             'say as superuser: REASSIGN OWNED BY %I TO %I;',
                                             found.owner, current_user) ELSE '' END;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_ownership() IS
    'Refuses a caller who does not own the schemas, and whatever is in them that is neither a member of the extension '
    'nor his. Internal: setup() uses it.';

-- The guard of the install script, for the schema that setup() makes.
CREATE FUNCTION agent_metrics_internal.check_empty(name text) RETURNS void
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
                  DETAIL = 'setup() makes the schema and what is in it; what is there would be mixed with '
                           'it, or be in its way.',
                  HINT = format('Move it away: ALTER SCHEMA %I RENAME TO ...; '
                                'then SELECT agent_metrics.setup() again.', name);
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
COMMENT ON FUNCTION agent_metrics_internal.check_empty(text) IS
    'Refuses a schema that is there already, unless it is empty and nobody but its owner may create in it. '
    'Internal: setup() uses it.';
