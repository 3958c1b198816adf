-- What may be read of somebody else's table, and what is code of his. Only the catalogue is asked here, and no lock is
-- waited for, so a view can show the answers. (Named kpi_... because readers call them through that view.)

-- The oid of a table by its quoted name; NULL when there is none. Unlike to_regclass() it asks for no right.
CREATE FUNCTION agent_metrics_internal.kpi_relation(source text) RETURNS oid
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT c.oid FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid, parse_ident($1) AS name
    WHERE n.nspname = name[1] AND c.relname = name[2] AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_relation(text) IS
    'Oid of a table by its quoted name; NULL: there is none. Internal: the checks of attached tables use it.';

-- The owner of our tables and superusers: whose code runs with our rights anyway.
CREATE FUNCTION agent_metrics_internal.kpi_is_ours(role oid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT $1 = (SELECT c.relowner FROM pg_class c
                 WHERE c.oid = agent_metrics_internal.kpi_relation('agent_metrics_internal.attached_tables'))
        OR (SELECT r.rolsuper FROM pg_roles r WHERE r.oid = $1)
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_is_ours(oid) IS
    'Whether a role owns our tables or is a superuser. Internal: the checks of attached tables use it.';

-- Everything that planning and reading a relation may run or read, down to what the server brought: the queries of
-- views, the expressions of indexes, statistics, constraints and partition keys, children, functions, operators, types.
CREATE FUNCTION agent_metrics_internal.kpi_what_is_read(relation oid) RETURNS TABLE (class_id oid, object_id oid)
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    WITH RECURSIVE used (class_id, object_id) AS (
        SELECT 'pg_class'::regclass::oid, $1
        UNION
        SELECT x.class_id, x.object_id FROM used u CROSS JOIN LATERAL (
            SELECT 'pg_rewrite'::regclass::oid, r.oid FROM pg_rewrite r
            WHERE u.class_id = 'pg_class'::regclass AND r.ev_class = u.object_id AND r.rulename = '_RETURN'
            UNION ALL SELECT 'pg_class'::regclass::oid, i.indexrelid
                      FROM pg_index i WHERE u.class_id = 'pg_class'::regclass AND i.indrelid = u.object_id
            UNION ALL SELECT 'pg_statistic_ext'::regclass::oid, s.oid
                      FROM pg_statistic_ext s WHERE u.class_id = 'pg_class'::regclass AND s.stxrelid = u.object_id
            UNION ALL SELECT 'pg_policy'::regclass::oid, p.oid
                      FROM pg_policy p WHERE u.class_id = 'pg_class'::regclass AND p.polrelid = u.object_id
            UNION ALL SELECT 'pg_attrdef'::regclass::oid, d.oid FROM pg_attrdef d
                      JOIN pg_attribute t ON t.attrelid = d.adrelid AND t.attnum = d.adnum AND t.attgenerated = 'v'
                      WHERE u.class_id = 'pg_class'::regclass AND d.adrelid = u.object_id
            UNION ALL SELECT 'pg_constraint'::regclass::oid, k.oid FROM pg_constraint k WHERE k.contype = 'c'
                      AND (u.class_id = 'pg_class'::regclass AND k.conrelid = u.object_id
                           OR u.class_id = 'pg_type'::regclass AND k.contypid = u.object_id)
            UNION ALL SELECT 'pg_class'::regclass::oid, h.inhrelid
                      FROM pg_inherits h WHERE u.class_id = 'pg_class'::regclass AND h.inhparent = u.object_id
            UNION ALL SELECT 'pg_foreign_server'::regclass::oid, f.ftserver
                      FROM pg_foreign_table f WHERE u.class_id = 'pg_class'::regclass AND f.ftrelid = u.object_id
            UNION ALL SELECT d.refclassid, d.refobjid
                      FROM pg_depend d WHERE d.classid = u.class_id AND d.objid = u.object_id
                      AND d.refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass,
                                           'pg_operator'::regclass, 'pg_type'::regclass)
        ) AS x (class_id, object_id)
        WHERE x.object_id >= 16384  -- below are the server's own
    )
    SELECT u.class_id, u.object_id FROM used u
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_what_is_read(oid) IS
    'What planning and reading a relation may run or read, besides what the server brought. '
    'Internal: the checks of attached tables use it.';

-- A plain table of somebody else may be under a view of ours while nothing in it is code: no policy, and only types of
-- the server's (a cast from any other is its owner's code, and row_to_json() would call it).
CREATE FUNCTION agent_metrics_internal.kpi_foreign_code(relation oid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT format('%s belongs to role %s, whose code is not run', pg_describe_object(w.class_id, w.object_id, 0),
                  pg_get_userbyid(o.owner))
    FROM agent_metrics_internal.kpi_what_is_read($1) w
    CROSS JOIN LATERAL (
        SELECT c.relowner, c.relkind IN ('v', 'm', 'f') OR c.relkind IN ('r', 'p') AND (c.relrowsecurity OR EXISTS (
                   SELECT 1 FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped
                                                  AND (t.atttypid >= 16384 OR t.attgenerated = 'v')))
        FROM pg_class c WHERE w.class_id = 'pg_class'::regclass AND c.oid = w.object_id
        UNION ALL SELECT p.proowner, true FROM pg_proc p WHERE w.class_id = 'pg_proc'::regclass AND p.oid = w.object_id
        UNION ALL SELECT p.oprowner, true
                  FROM pg_operator p WHERE w.class_id = 'pg_operator'::regclass AND p.oid = w.object_id
        UNION ALL SELECT t.typowner, true FROM pg_type t WHERE w.class_id = 'pg_type'::regclass AND t.oid = w.object_id
        UNION ALL SELECT s.srvowner, true
                  FROM pg_foreign_server s WHERE w.class_id = 'pg_foreign_server'::regclass AND s.oid = w.object_id
    ) AS o (owner, is_code)
    WHERE o.is_code AND NOT agent_metrics_internal.kpi_is_ours(o.owner)
    ORDER BY 1 LIMIT 1
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_foreign_code(oid) IS
    'The first thing in what a relation reads that is code of a role that is neither the owner of our tables nor a '
    'superuser; NULL: there is none. Internal: the checks of attached tables use it.';

-- The type of a column in words that mean the same after a restore; NULL for one that is not read: domains, arrays,
-- composites and the rest, whose values are made or shown by more than the server's own functions.
CREATE FUNCTION agent_metrics_internal.kpi_plain_type(type oid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT CASE WHEN t.typtype = 'e' THEN format('enum %I.%I', n.nspname, t.typname)
                WHEN t.oid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'uuid'::regtype,
                               'boolean'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype,
                               'numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'date'::regtype,
                               'timestamp'::regtype, 'timestamptz'::regtype, 'json'::regtype, 'jsonb'::regtype)
                THEN format_type(t.oid, NULL) END
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.oid = $1
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_plain_type(oid) IS
    'Name of a type that attached columns may have: text, numbers, times, boolean, uuid, enums, JSON; NULL: another. '
    'Internal: the checks of attached tables use it.';

CREATE FUNCTION agent_metrics_internal.kpi_kind_of(relation_kind "char") RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE relation_kind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
                              WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' END;
COMMENT ON FUNCTION agent_metrics_internal.kpi_kind_of("char") IS
    'What a relation is, in a word. Internal: the checks of attached tables use it.';

CREATE FUNCTION agent_metrics_internal.kpi_source_problem(
    source text, relation_kind text, relation_owner text, columns jsonb, column_types jsonb)
RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT CASE
        WHEN c.oid IS NULL THEN 'the table is gone: dropped or renamed'
        WHEN agent_metrics_internal.kpi_kind_of(c.relkind) <> $2
            THEN format('it was attached as a %s and is a %s now', $2, agent_metrics_internal.kpi_kind_of(c.relkind))
        WHEN pg_get_userbyid(c.relowner) <> $3
            THEN format('it belonged to role %s when it was attached, and belongs to %s now', $3,
                        pg_get_userbyid(c.relowner))
        ELSE coalesce(
            (SELECT CASE WHEN t.attnum IS NULL THEN format('column "%s" is gone', k.value)
                         WHEN t.attgenerated = 'v' THEN format('column "%s" is generated when it is read', k.value)
                         ELSE format('column "%s" was of type %s and is of type %s now', k.value, $5 ->> k.value,
                                     coalesce(agent_metrics_internal.kpi_plain_type(t.atttypid),
                                              format_type(t.atttypid, NULL))) END
             FROM jsonb_each_text($4) AS k (key, value)
             LEFT JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = k.value AND t.attnum > 0
              AND NOT t.attisdropped
             WHERE t.attnum IS NULL OR t.attgenerated = 'v' OR agent_metrics_internal.kpi_plain_type(t.atttypid)
                                                               IS DISTINCT FROM ($5 ->> k.value)
             ORDER BY k.value LIMIT 1),
            (WITH RECURSIVE parts AS (SELECT h.inhrelid FROM pg_inherits h WHERE h.inhparent = c.oid
                                      UNION SELECT h.inhrelid
                                            FROM parts p JOIN pg_inherits h ON h.inhparent = p.inhrelid)
             SELECT format('its rows are also those of %s, which %s', p.inhrelid::regclass,
                           CASE WHEN t.relowner <> c.relowner THEN 'belongs to role ' || pg_get_userbyid(t.relowner)
                                ELSE 'is no plain table' END)
             FROM parts p JOIN pg_class t ON t.oid = p.inhrelid
             WHERE t.relowner <> c.relowner
                OR t.relkind NOT IN ('r', 'p') AND NOT agent_metrics_internal.kpi_is_ours(c.relowner)
             ORDER BY 1 LIMIT 1),
            CASE WHEN c.relkind NOT IN ('r', 'p') OR agent_metrics_internal.kpi_is_ours(c.relowner)
                 THEN agent_metrics_internal.kpi_foreign_code(c.oid) END)
        END
    FROM (SELECT) one LEFT JOIN pg_class c ON c.oid = agent_metrics_internal.kpi_relation($1)
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_source_problem(text, text, text, jsonb, jsonb) IS
    'Why an attached table may not be read as it is now, from the catalogue; NULL: it may. '
    'Internal: agent_kpi.attached_tables and sync_business_events() use it.';

-- What an error means, in words that hold no value of anybody's table.
CREATE FUNCTION agent_metrics_internal.source_words(sqlstate text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN sqlstate = '42501' THEN 'permission denied: the role that follows it may not read it, '
                                             'or row-level security hides rows from it'
                WHEN sqlstate IN ('55P03', '40P01') THEN 'somebody holds a lock on it or on what comes from it; '
                                                         'the next time that it is followed tries again'
                WHEN sqlstate ~ '^2[23]'
                    THEN format('its rows cannot be stored (SQLSTATE %s)', sqlstate)
                ELSE format('it could not be followed (SQLSTATE %s)', sqlstate) END;
COMMENT ON FUNCTION agent_metrics_internal.source_words(text) IS
    'What an error while following an attached table means, without any value. '
    'Internal: sync_business_events() uses it.';

-- The first of what a caller would read of a table and may not.
CREATE FUNCTION agent_metrics_internal.closed_part(relid oid, columns jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT CASE WHEN NOT has_schema_privilege(c.relnamespace, 'USAGE')
                THEN format('schema %s', c.relnamespace::regnamespace)
                ELSE (SELECT min(format('column "%s"', k.value)) FROM jsonb_each_text($2) AS k (key, value)
                      LEFT JOIN pg_attribute t ON t.attrelid = c.oid AND t.attname = k.value AND t.attnum > 0
                       AND NOT t.attisdropped
                      WHERE t.attnum IS NULL OR NOT has_column_privilege(c.oid, t.attnum, 'SELECT')) END
    FROM pg_class c WHERE c.oid = $1
$function$;
COMMENT ON FUNCTION agent_metrics_internal.closed_part(oid, jsonb) IS
    'Schema or column of a table that the caller would read and may not; NULL: none. '
    'Internal: check_source() and guard_attachment() use it.';

-- Whoever follows attached tables reads them with his own rights, and the owner of our tables may read more than an
-- admin. So a row names what its writer may read himself, and never names anything else later. The owner's own rows are
-- his affair, also those that a restore brings before the tables are there.
CREATE FUNCTION agent_metrics_internal.guard_attachment() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    relid  oid := agent_metrics_internal.kpi_relation(NEW.source);
    closed text;
BEGIN
    IF pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = TG_RELID), 'USAGE') THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.source, OLD.columns, OLD.fixed_kind, OLD.id_prefix, OLD.relation_kind, OLD.relation_owner,
            OLD.column_types, OLD.attached_by, OLD.feeds, OLD.preset, OLD.fixed, OLD.sender, OLD.watermark,
            OLD.delete_gone)
           IS DISTINCT FROM (NEW.source, NEW.columns, NEW.fixed_kind, NEW.id_prefix, NEW.relation_kind,
                             NEW.relation_owner, NEW.column_types, NEW.attached_by, NEW.feeds, NEW.preset, NEW.fixed,
                             NEW.sender, NEW.watermark, NEW.delete_gone)
           OR NEW.relation NOT IN (OLD.relation, coalesce(relid, OLD.relation)) THEN
            RAISE EXCEPTION 'what is read of table % is not changed', OLD.source
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = 'Who follows the table reads it with his own rights, which may be more than yours.',
                      HINT = format('SELECT agent_metrics.detach_%s(%L); then attach it as it should be read.',
                                    OLD.feeds, OLD.source);
        END IF;
        RETURN NULL;
    END IF;
    IF relid IS NULL OR NEW.relation <> relid OR NEW.attached_by <> current_user THEN
        RAISE EXCEPTION 'attached_tables is written by attach_business_events()'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Table %s has oid %s and is attached by %s; the row says %s and %s.', NEW.source,
                                  coalesce(relid::text, 'none'), current_user, NEW.relation, NEW.attached_by),
                  HINT = 'SELECT * FROM agent_metrics.attach_business_events(...);';
    END IF;
    closed := agent_metrics_internal.closed_part(relid, NEW.columns);
    IF closed IS NOT NULL THEN
        RAISE EXCEPTION 'permission denied for % of table %', closed, NEW.source
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('Role %s may not read it, so nobody reads it on its behalf.', current_user),
                  HINT = 'GRANT USAGE on its schema and SELECT on what is to be read.';
    END IF;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.guard_attachment() IS
    'Trigger of attached_tables: a row names a table and columns that its writer may read, '
    'and keeps to them. Internal.';
