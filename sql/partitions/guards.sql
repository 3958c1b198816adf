-- What hinders that a partition is copied away and dropped: it is another than it was, its new name is taken, or
-- something stands on it. Asked before anything is lost, and answered with the object, whose it is and the cure.

-- What the turns of a partition, and the columns they have, are told by while they are being copied: what no trigger
-- logs changes it too, such as a table below it that came, went or was emptied, or a column that came. NULL:
-- it is no partition.
CREATE FUNCTION agent_metrics_internal.partition_state(name text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN (
        WITH RECURSIVE tree AS (
            SELECT i.inhrelid AS oid, i.xmin AS entry
            FROM pg_inherits i
            JOIN pg_class c ON c.oid = i.inhrelid AND c.relnamespace = 'agent_metrics'::regnamespace
             AND c.relname = partition_state.name
            WHERE i.inhparent = 'agent_metrics.agent_events'::regclass AND NOT i.inhdetachpending
            UNION ALL
            SELECT i.inhrelid, i.xmin FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid AND NOT i.inhdetachpending
        )
        SELECT md5(string_agg(concat_ws('/', t.oid, t.entry, c.relfilenode, g.xmin, g.tgenabled), ',' ORDER BY t.oid)
                   || (SELECT string_agg(concat_ws('/', a.attname, a.atttypid, a.atttypmod, a.attcollation,
                                                   a.attnotnull, a.attidentity, a.attgenerated), ','
                                         ORDER BY a.attnum)
                       FROM pg_attribute a WHERE a.attrelid = 'agent_metrics.agent_events'::regclass AND a.attnum > 0
                                             AND NOT a.attisdropped)
                   || coalesce((SELECT string_agg(k.conname || pg_get_constraintdef(k.oid), ',' ORDER BY k.conname)
                                FROM pg_constraint k
                                WHERE k.conrelid = 'agent_metrics.agent_events'::regclass AND k.contype = 'c'), ''))
        FROM tree t
        JOIN pg_class c ON c.oid = t.oid
        LEFT JOIN pg_trigger g ON g.tgrelid = t.oid AND g.tgname = 'guard_turn');
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.partition_state(text) IS
    'Changes whenever what a partition of agent_events holds may have changed without a trigger, or the columns of '
    'agent_events did; NULL: it is none. Internal: the archive and the splitting of partitions use it.';

-- Tables of that name are made, or renamed to it, with the owner's rights: one that is there is
-- somebody's, and stays his.
CREATE FUNCTION agent_metrics_internal.check_free(name text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    found record;
BEGIN
    SELECT c.oid::regclass AS relation, pg_get_userbyid(c.relowner) AS owner, c.relispartition INTO found
    FROM pg_class c WHERE c.oid = to_regclass(format('agent_metrics.%I', check_free.name));
    IF found.relation IS NOT NULL THEN
        RAISE EXCEPTION 'the name of relation % is needed for a partition of agent_events', found.relation
            USING ERRCODE = 'duplicate_table',
                  DETAIL = format('It belongs to %s and is %s. It is left alone, and nothing was changed.', found.owner,
                                  CASE WHEN found.relispartition THEN 'a partition already, of another span of time'
                                       ELSE 'no partition of agent_events' END),
                  HINT = format('Rename it: ALTER TABLE %s RENAME TO ...; or, when its turns are to count and it is no '
                                'partition yet: ALTER TABLE agent_metrics.agent_events ATTACH PARTITION %s FOR VALUES '
                                'FROM (...) TO (...).',
                                found.relation, found.relation);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_free(text) IS
    'Refuses a name of agent_metrics that somebody has given to a relation. Internal: whatever makes or renames '
    'partitions uses it.';

-- DROP TABLE refuses what others depend on, and says to drop theirs along; here it is known before, and whose it is.
-- A foreign key to agent_events is handed down to its partitions and goes when one is detached.
CREATE FUNCTION agent_metrics_internal.partition_blockers()
RETURNS TABLE (partition text, object text, owner text, cure text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE tree AS (
        SELECT t.oid AS top, t.oid
        FROM (SELECT i.inhrelid AS oid FROM pg_inherits i WHERE i.inhparent = 'agent_metrics.agent_events'::regclass
              UNION SELECT to_regclass(format('agent_metrics.%I', a.partition || '_archived'))
                    FROM agent_metrics_internal.archives a WHERE a.state = 'detached'
              UNION SELECT to_regclass(format('agent_metrics.%I', s.partition || '_old'))
                    FROM agent_metrics_internal.partition_splits s WHERE s.state = 'swapped') t
        WHERE t.oid IS NOT NULL
        UNION ALL
        SELECT t.top, i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
    ), part AS MATERIALIZED (
        -- what goes with the table
        SELECT t.top, 'pg_class'::regclass::oid AS classid, t.oid AS objid FROM tree t
        UNION ALL SELECT t.top, 'pg_class'::regclass, i.indexrelid FROM tree t JOIN pg_index i ON i.indrelid = t.oid
        UNION ALL SELECT t.top, 'pg_constraint'::regclass, k.oid FROM tree t JOIN pg_constraint k ON k.conrelid = t.oid
        UNION ALL SELECT t.top, 'pg_type'::regclass, y.oid FROM tree t JOIN pg_type b ON b.typrelid = t.oid
                  JOIN pg_type y ON y.oid IN (b.oid, b.typarray)
    ), dependent AS (
        SELECT DISTINCT p.top, CASE WHEN v.oid IS NOT NULL THEN 'pg_class'::regclass::oid ELSE d.classid END AS classid,
               coalesce(v.oid, d.objid) AS objid
        FROM part p
        JOIN pg_depend d ON d.refclassid = p.classid AND d.refobjid = p.objid AND d.deptype = 'n'
        LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        LEFT JOIN pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
        LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
        WHERE coalesce(k.conparentid, 0) = 0
          AND NOT EXISTS (SELECT 1 FROM part q WHERE q.top = p.top AND q.classid = d.classid AND q.objid = d.objid)
          AND NOT EXISTS (SELECT 1 FROM pg_depend o
                          JOIN part q ON q.top = p.top AND q.classid = o.refclassid AND q.objid = o.refobjid
                          WHERE o.classid = d.classid AND o.objid = d.objid AND o.deptype <> 'n')
    )
    SELECT c.relname::text, pg_describe_object(d.classid, d.objid, 0),
           pg_get_userbyid(coalesce((SELECT f.relowner FROM pg_constraint k JOIN pg_class f ON f.oid = k.conrelid
                                     WHERE d.classid = 'pg_constraint'::regclass AND k.oid = d.objid),
                                    (SELECT s.refobjid FROM pg_shdepend s
                                     WHERE s.dbid = (SELECT b.oid
                                                     FROM pg_database b WHERE b.datname = current_database())
                                       AND s.classid = d.classid AND s.objid = d.objid AND s.deptype = 'o'), 10))::text,
           CASE WHEN d.classid = 'pg_constraint'::regclass
                THEN (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname)
                      FROM pg_constraint k WHERE k.oid = d.objid)
                ELSE (SELECT format('DROP %s %s', upper(i.type), i.identity)
                      FROM pg_identify_object(d.classid, d.objid, 0) i) END
    FROM dependent d JOIN pg_class c ON c.oid = d.top
    ORDER BY 1, 2;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.partition_blockers() IS
    'Objects that stand on a partition of agent_events, which therefore can neither be archived nor split, '
    'nor its old table dropped: what, whose, and how to part them.';

CREATE FUNCTION agent_metrics_internal.check_unused(name text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    first  record;
    listed text;
BEGIN
    SELECT b.object, b.owner, b.cure INTO first FROM agent_metrics_internal.partition_blockers() b
    WHERE b.partition = check_unused.name LIMIT 1;
    IF first.object IS NOT NULL THEN
        SELECT left(string_agg(format('%s of %s', b.object, b.owner), ', '), 2000) INTO listed
        FROM agent_metrics_internal.partition_blockers() b WHERE b.partition = check_unused.name;
        RAISE EXCEPTION '% stands on table agent_metrics.%, so that cannot be dropped', first.object, check_unused.name
            USING ERRCODE = 'dependent_objects_still_exist',
                  DETAIL = format('What stands on it: %s. Nothing was changed.', listed),
                  HINT = format('Have it read agent_metrics.agent_events, which holds the same turns, or %s; '
                                'then it is tried again.', first.cure);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_unused(text) IS
    'Refuses a partition that something stands on. Internal: the archive and the splitting of partitions use it.';
