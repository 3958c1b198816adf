-- Who may do what. Everybody may call the members, with his own rights. What is written down here is the rights by
-- level on what setup() makes; which role has which level is in the table access_levels, so that setup() and
-- ensure_partitions() give the same rights on what is made later. All grants are the tables' owner's, whoever calls.

-- What a table is for, where its schema does not say it.
--   fact    a writer brings it in: he may not choose the stamps by which a refresh finds his rows
--   intake  ingest_events() keeps there, with its caller's rights, what it could not take and what it has seen
--   progress  agent-metrics ingest notes there, with a writer's rights, how far it has read a file
--   price   ingest_events() reads it, to price a turn
--   owner   only functions with the owner's rights write it: an admin who wrote it would choose who has which rights,
--           what setup() does, or which tables those functions make, rename and drop
CREATE FUNCTION agent_metrics_internal.table_purposes() RETURNS TABLE (relation text, purpose text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT v.relation, v.purpose
    FROM (VALUES
        ('agent_metrics.agent_events', 'fact'), ('agent_metrics.business_events', 'fact'),
        ('agent_metrics.tool_call_verdicts', 'fact'), ('agent_metrics.turn_scores', 'fact'),
        ('agent_metrics.survey_answers', 'fact'), ('agent_metrics.reviews', 'fact'),
        ('agent_metrics.measurements', 'fact'),
        ('agent_metrics.infrastructure_costs', 'fact'), ('agent_metrics.eval_runs', 'fact'),
        ('agent_metrics.eval_results', 'fact'), ('agent_metrics.quarantined_events', 'intake'),
        ('agent_metrics_internal.span_keys', 'intake'), ('agent_metrics_internal.ingested_files', 'progress'),
        ('agent_metrics.token_prices', 'price'), ('agent_metrics.model_aliases', 'price'),
        ('agent_metrics_internal.access_levels', 'owner'), ('agent_metrics_internal.migrations', 'owner'),
        ('agent_metrics_internal.partition_splits', 'owner'), ('agent_metrics_internal.guarded_turns', 'owner'),
        ('agent_metrics_internal.archives', 'owner')) AS v (relation, purpose);
END;
COMMENT ON FUNCTION agent_metrics_internal.table_purposes() IS
    'Tables to which the levels of access have other rights than their schema gives. Internal: level_rights() uses it.';

-- By schema and kind. Readers read agent_kpi, and call what its views call on their behalf (kpi_...). Writers bring
-- facts in, and call what ingest_events() does with the owner's rights (intake_...). Admins read everything, write
-- every table that is not the owner's own, and call what setup() made in agent_metrics; what it made in
-- agent_metrics_internal are parts of those.
CREATE FUNCTION agent_metrics_internal.level_rights()
RETURNS TABLE (level text, kind text, object oid, column_name name, privilege text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    stamps constant name[] := ARRAY['recorded_in', 'changed_in', 'source_table', 'content_hash'];
BEGIN
    RETURN QUERY
    WITH place AS (
        SELECT n.oid, n.nspname
        FROM pg_namespace n WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal')
    ), relation AS (
        SELECT c.oid, c.relkind, n.nspname = 'agent_kpi' AS is_kpi, p.purpose
        FROM place n
        JOIN pg_class c ON c.relnamespace = n.oid
        LEFT JOIN agent_metrics_internal.table_purposes() p ON p.relation = format('%I.%I', n.nspname, c.relname)
    ), made AS (
        -- functions that are no members: setup() made them
        SELECT p.oid, n.nspname = 'agent_metrics' AS is_public, p.proname LIKE 'kpi\_%' AS is_of_views,
               p.proname LIKE 'intake\_%' AS is_of_intake
        FROM place n JOIN pg_proc p ON p.pronamespace = n.oid
        WHERE NOT EXISTS (SELECT 1 FROM pg_depend d
                          WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    ), reader AS (
        SELECT 'schema' AS kind, n.oid, NULL::name AS column_name, 'USAGE' AS privilege
        FROM place n WHERE n.nspname IN ('agent_metrics', 'agent_kpi')
        UNION ALL
        SELECT 'table', r.oid, NULL, 'SELECT' FROM relation r WHERE r.is_kpi AND r.relkind IN ('v', 'm', 'r', 'p')
        UNION ALL
        SELECT 'function', m.oid, NULL, 'EXECUTE' FROM made m WHERE m.is_of_views
    ), writer AS (
        SELECT 'schema', n.oid, NULL::name, 'USAGE' FROM place n WHERE n.nspname = 'agent_metrics'
        UNION ALL
        SELECT 'column', r.oid, a.attname, p.privilege
        FROM relation r
        JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (stamps)
        CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS p (privilege)
        WHERE r.purpose = 'fact'
        UNION ALL
        SELECT 'table', r.oid, NULL, p.privilege
        FROM relation r
        JOIN (VALUES ('price', 'SELECT'), ('intake', 'SELECT'), ('intake', 'INSERT'), ('progress', 'SELECT'),
                        ('progress', 'INSERT'), ('progress', 'UPDATE')) AS p (purpose, privilege)
          ON p.purpose = r.purpose
        UNION ALL
        SELECT 'function', m.oid, NULL, 'EXECUTE' FROM made m WHERE m.is_of_intake
    ), admin AS (
        SELECT x.* FROM reader x
        UNION ALL
        SELECT 'table', r.oid, NULL, p.privilege
        FROM relation r CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege)
        WHERE NOT r.is_kpi AND r.relkind IN ('r', 'p', 'v')
          AND (p.privilege = 'SELECT' OR (r.relkind <> 'v' AND r.purpose IS DISTINCT FROM 'owner'))
        UNION ALL
        SELECT 'sequence', r.oid, NULL, p.privilege
        FROM relation r CROSS JOIN unnest(ARRAY['USAGE', 'SELECT']) AS p (privilege)
        WHERE NOT r.is_kpi AND r.relkind = 'S'
        UNION ALL
        SELECT 'function', m.oid, NULL, 'EXECUTE' FROM made m
        WHERE m.is_public AND NOT m.is_of_views OR m.is_of_intake
    )
    SELECT 'reader', x.* FROM reader x
    UNION ALL SELECT 'writer', x.* FROM writer x
    UNION ALL SELECT 'admin', x.* FROM admin x;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.level_rights() IS
    'Rights that each level of access has, on the objects that are there now: kind and oid of the '
    'object, column, privilege.';

-- What roles were given on the schemas, what is in them, and by default privileges for what will be; the owner's own
-- and PUBLIC's apart.
CREATE FUNCTION agent_metrics_internal.rights_given() RETURNS TABLE (
    kind text, object oid, column_name name, target text, owner oid, grantor oid, grantee oid, privilege text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH place AS (SELECT n.*
                   FROM pg_namespace n WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal')),
    object AS (
        SELECT 'schema' AS kind, n.oid, NULL::name AS column_name, format('SCHEMA %I', n.nspname) AS target,
               n.nspowner AS owner, n.nspacl AS acl
        FROM place n
        UNION ALL
        SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, c.oid, NULL,
               format('%s %s', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass),
               c.relowner, c.relacl
        FROM place n JOIN pg_class c ON c.relnamespace = n.oid WHERE c.relacl IS NOT NULL
        UNION ALL
        SELECT 'column', c.oid, a.attname, format('TABLE %s', c.oid::regclass), c.relowner, a.attacl
        FROM place n JOIN pg_class c ON c.relnamespace = n.oid JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
        UNION ALL
        SELECT 'function', p.oid, NULL, format('ROUTINE %s', p.oid::regprocedure), p.proowner, p.proacl
        FROM place n JOIN pg_proc p ON p.pronamespace = n.oid WHERE p.proacl IS NOT NULL
        UNION ALL
        SELECT 'type', t.oid, NULL, format('TYPE %s', t.oid::regtype), t.typowner, t.typacl
        FROM place n JOIN pg_type t ON t.typnamespace = n.oid WHERE t.typacl IS NOT NULL
        UNION ALL
        SELECT 'default', d.oid, NULL,
               CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES'
                                    WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END,
               d.defaclrole, d.defaclacl
        FROM place n JOIN pg_default_acl d ON d.defaclnamespace = n.oid
    )
    SELECT o.kind, o.oid, o.column_name, o.target, o.owner, a.grantor, a.grantee, a.privilege_type
    FROM object o CROSS JOIN LATERAL aclexplode(o.acl) a
    WHERE a.grantee <> 0 AND (a.grantee <> o.owner OR o.kind = 'default');
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.rights_given() IS
    'Rights that roles were given on the schemas of the extension and on what is in them, by whom. '
    'Internal: grant_levels() and revoke_access() use it.';

-- Only rights that are missing are granted: nothing is written when all are there.
CREATE FUNCTION agent_metrics_internal.grant_levels() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    here      bigint := (SELECT c.system_identifier FROM pg_control_system() c);
    statement text;
    granted   bigint := 0;
BEGIN
    IF EXISTS (SELECT 1 FROM agent_metrics_internal.access_levels a
               WHERE a.cluster <> here
                  OR NOT EXISTS (SELECT 1 FROM pg_roles r WHERE r.oid = a.role_oid AND r.rolname = a.role_name)) THEN
        -- Restored in another cluster, a role is who has its name there. In its own it is who has its oid: a role that
        -- was dropped and made again is another, and one that was renamed is the same.
        UPDATE agent_metrics_internal.access_levels a SET role_oid = r.oid, cluster = here
        FROM pg_roles r WHERE a.cluster <> here AND r.rolname = a.role_name;
        UPDATE agent_metrics_internal.access_levels a SET role_name = r.rolname
        FROM pg_roles r WHERE a.cluster = here AND r.oid = a.role_oid AND r.rolname <> a.role_name;
        DELETE FROM agent_metrics_internal.access_levels a
        WHERE a.cluster <> here OR NOT EXISTS (SELECT 1 FROM pg_roles r WHERE r.oid = a.role_oid);
    END IF;
    FOR statement IN
        WITH wanted AS (
            SELECT DISTINCT a.role_oid AS grantee, r.kind, r.object, r.column_name, r.privilege
            FROM agent_metrics_internal.access_levels a
            JOIN agent_metrics_internal.level_rights() r ON r.level = a.level
        ), missing AS (
            SELECT w.*, format(CASE w.kind WHEN 'schema' THEN 'SCHEMA %1$s' WHEN 'sequence' THEN 'SEQUENCE %2$s'
                                           WHEN 'function' THEN 'ROUTINE %3$s'
                                           ELSE 'TABLE %2$s' END, w.object::regnamespace, w.object::regclass,
                               w.object::regprocedure) AS target
            FROM wanted w
            WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.rights_given() g
                              WHERE g.grantee = w.grantee AND g.object = w.object AND g.kind = w.kind
                                AND g.privilege = w.privilege
                                AND g.column_name IS NOT DISTINCT FROM w.column_name AND g.grantor = g.owner)
              -- the owner needs none
              AND w.grantee <> coalesce((SELECT c.relowner FROM pg_class c
                                         WHERE c.oid = w.object AND w.kind IN ('table', 'column', 'sequence')),
                                        (SELECT p.proowner FROM pg_proc p
                                         WHERE p.oid = w.object AND w.kind = 'function'),
                                        (SELECT n.nspowner FROM pg_namespace n
                                         WHERE n.oid = w.object AND w.kind = 'schema'), 0)
        ), privileges AS (
            SELECT m.grantee, m.target,
                   m.privilege || coalesce(' (' || string_agg(quote_ident(m.column_name), ', ' ORDER BY m.column_name)
                                           || ')', '') AS privilege
            FROM missing m GROUP BY m.grantee, m.target, m.kind, m.privilege
        )
        SELECT format('GRANT %s ON %s TO %I', string_agg(p.privilege, ', ' ORDER BY p.privilege), p.target,
                      pg_get_userbyid(p.grantee))
        FROM privileges p GROUP BY p.grantee, p.target ORDER BY p.target, p.grantee
    LOOP
        EXECUTE statement;
        granted := granted + 1;
    END LOOP;
    RETURN granted;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.grant_levels() IS
    'Grants what the roles of access_levels have by their level and lack, and returns how many statements it took; '
    'roles that are gone leave the table. Only the tables'' owner may.';

CREATE FUNCTION agent_metrics_internal.check_granter() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    owner name;
BEGIN
    IF to_regclass('agent_metrics_internal.access_levels') IS NULL THEN
        RAISE EXCEPTION 'agent_metrics has no tables yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Access is given to tables and views, which setup() makes.',
                  HINT = 'SELECT agent_metrics.setup();';
    END IF;
    SELECT pg_get_userbyid(c.relowner) INTO owner
    FROM pg_class c WHERE c.oid = 'agent_metrics_internal.access_levels'::regclass;
    IF NOT pg_has_role(owner, 'USAGE') THEN
        RAISE EXCEPTION 'only the owner of the tables gives access to them'
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('The tables of agent_metrics belong to %s, and you are %s.', owner, current_user),
                  HINT = format('SET ROLE %I; and again.', owner);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_granter() IS
    'Refuses whoever has not the rights of the tables'' owner. Internal: grant_access() and revoke_access() use it.';

CREATE FUNCTION agent_metrics.grant_access(role regrole, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
    role_name name := (SELECT r.rolname FROM pg_roles r WHERE r.oid = role::oid);
BEGIN
    IF level IS NULL OR level NOT IN ('reader', 'writer', 'admin') THEN
        RAISE EXCEPTION 'unknown level of access "%"', level
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The levels are reader (the views of agent_kpi), writer (events and facts in) and admin '
                           '(what the program needs).',
                  HINT = format('SELECT agent_metrics.grant_access(%L, ''reader'');', coalesce(role::text, 'metabase'));
    END IF;
    IF role_name IS NULL THEN
        RAISE EXCEPTION 'there is no role %', coalesce(role::text, 'NULL')
            USING ERRCODE = 'undefined_object',
                  DETAIL = 'Access is given to a role that is there.',
                  HINT = 'CREATE ROLE ... LOGIN; then call it again.';
    END IF;
    PERFORM agent_metrics_internal.check_granter();
    PERFORM agent_metrics_internal.serialize_setup();  -- two sessions that grant on one object disturb each other
    INSERT INTO agent_metrics_internal.access_levels (role_oid, role_name, level, cluster)
    VALUES (role::oid, role_name, level, (SELECT c.system_identifier FROM pg_control_system() c))
    ON CONFLICT DO NOTHING;
    PERFORM agent_metrics_internal.grant_levels();
END
$function$;
COMMENT ON FUNCTION agent_metrics.grant_access(regrole, text) IS
    'Gives a role access: reader (the views of agent_kpi), writer (events and facts in) or admin (what the program '
    'runs as). A role may have several levels.';

CREATE FUNCTION agent_metrics.revoke_access(role regrole) RETURNS SETOF text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
    role_name name := pg_get_userbyid(role::oid);
    statement text;
BEGIN
    PERFORM agent_metrics_internal.check_granter();
    PERFORM agent_metrics_internal.serialize_setup();
    DELETE FROM agent_metrics_internal.access_levels a WHERE a.role_oid = role::oid;
    FOR statement IN
        SELECT DISTINCT format('REVOKE ALL ON %s FROM %I', g.target, role_name)
        FROM agent_metrics_internal.rights_given() g
        WHERE g.grantee = role::oid AND g.kind NOT IN ('column', 'default') AND g.grantor = g.owner
          AND pg_has_role(g.owner, 'USAGE')
        UNION
        SELECT format('REVOKE ALL (%s) ON %s FROM %I',
                      string_agg(DISTINCT quote_ident(g.column_name), ', '), g.target, role_name)
        FROM agent_metrics_internal.rights_given() g
        WHERE g.grantee = role::oid AND g.kind = 'column' AND g.grantor = g.owner AND pg_has_role(g.owner, 'USAGE')
        GROUP BY g.target
    LOOP
        BEGIN
            EXECUTE statement;
        EXCEPTION WHEN dependent_privilege_descriptors_still_exist THEN
            -- He gave it on to others, who would lose it too.
            RETURN QUERY SELECT statement || ' CASCADE;';
        END;
    END LOOP;
    -- What other roles gave stays theirs to take.
    RETURN QUERY
    SELECT DISTINCT CASE WHEN g.kind = 'default'
                THEN format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s REVOKE ALL ON %s FROM %I;',
                            pg_get_userbyid(g.owner), (SELECT d.defaclnamespace::regnamespace FROM pg_default_acl d
                                                       WHERE d.oid = g.object), g.target, role_name)
                ELSE format('SET ROLE %1$I; REVOKE ALL%2$s ON %3$s FROM %4$I; RESET ROLE;', pg_get_userbyid(g.grantor),
                            ' (' || quote_ident(g.column_name) || ')', g.target, role_name) END
    FROM agent_metrics_internal.rights_given() g
    WHERE g.grantee = role::oid AND (g.kind = 'default' OR g.grantor <> g.owner OR NOT pg_has_role(g.owner, 'USAGE'));
END
$function$;
COMMENT ON FUNCTION agent_metrics.revoke_access(regrole) IS
    'Takes away what grant_access gave a role, and whatever else the tables'' owner did. '
    'Returns the statement for each right that another role gave: run them, and DROP ROLE works.';
