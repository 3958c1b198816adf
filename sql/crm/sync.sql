-- Following attached tables: what their triggers noted is applied, or all rows are compared.
--
-- The triggers only note, so nobody but sync_business_events() writes an attached table's events, one call at a time,
-- and the last note of a key is what its row is. What was noted before a comparison began is in the rows that it reads.

CREATE FUNCTION agent_metrics_internal.open_source(relation oid, columns text[], watermark text, since text)
RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'open_source';
COMMENT ON FUNCTION agent_metrics_internal.open_source(oid, text[], text, text) IS
    'Locks a relation as a reader and opens a cursor over the rows of a view or foreign table, each an array of the '
    'named columns as text, all or those whose watermark is at least since; NULL for a table. Internal: source_rows() '
    'uses it.';

CREATE FUNCTION agent_metrics_internal.scan_source(relation oid, columns text[], watermark text, since text)
RETURNS SETOF text[]
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'scan_source';
COMMENT ON FUNCTION agent_metrics_internal.scan_source(oid, text[], text, text) IS
    'Rows of a table, each an array of the named columns as text, all or those whose watermark is at least since; read '
    'without a plan: none of its owner''s code is called. Internal: source_rows() uses it.';

CREATE FUNCTION agent_metrics_internal.hold_still(relation oid, against_indexes boolean) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'hold_still';
COMMENT ON FUNCTION agent_metrics_internal.hold_still(oid, boolean) IS
    'Keeps a relation as it is to the end of the transaction, if asked for its indexes and statistics too; '
    'its rows may be written. Internal: compare_source() uses it.';

CREATE FUNCTION agent_metrics_internal.row_fields(source_row record, columns text[]) RETURNS text[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'row_fields';
COMMENT ON FUNCTION agent_metrics_internal.row_fields(record, text[]) IS
    'The named columns of a row, each as its type''s output function shows it: no cast is called. '
    'NULL also for a column that is not there. Internal: follow_source() uses it.';

CREATE FUNCTION agent_metrics_internal.source_rows(
    relation oid, columns text[], watermark text DEFAULT NULL, since text DEFAULT NULL) RETURNS SETOF text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET row_security = off
SET timezone = 'UTC' SET datestyle = 'ISO' SET extra_float_digits = 1 AS $function$
DECLARE
    from_where text := coalesce($4, '');
    opened     refcursor := agent_metrics_internal.open_source($1, $2, coalesce($3, ''), from_where);
    fields     text[];
BEGIN
    IF opened IS NULL THEN
        RETURN QUERY SELECT r.fields
                     FROM agent_metrics_internal.scan_source($1, $2, coalesce($3, ''), from_where) AS r (fields);
        RETURN;
    END IF;
    LOOP
        FETCH opened INTO fields;
        EXIT WHEN NOT FOUND;
        RETURN NEXT fields;
    END LOOP;
    CLOSE opened;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.source_rows(oid, text[], text, text) IS
    'Rows of a relation, each an array of the named columns as text, all or those whose watermark is at least since. '
    'Internal: put_source_rows() and follow_turns() use it.';

-- The columns of an attached table in the order of attached_changes.fields.
CREATE FUNCTION agent_metrics_internal.source_fields(columns jsonb) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[columns ->> 'business_event_id', columns ->> 'kind', columns ->> 'occurred_at',
                 columns ->> 'conversation_id', columns ->> 'customer_id', columns ->> 'amount_usd'];
COMMENT ON FUNCTION agent_metrics_internal.source_fields(jsonb) IS
    'Columns of an attached table: key, kind, time, conversation, customer, amount; NULL: not read. '
    'Internal: its triggers and its comparison use it.';

CREATE FUNCTION agent_metrics_internal.map_source_row(fields text[], kind_type text, fixed_kind text, id_prefix text)
RETURNS TABLE (business_event_id text, kind text, occurred_at timestamptz, conversation_id text, customer_id text,
               amount_usd numeric, is_event boolean, problem text, detail text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' AS $function$
#variable_conflict use_variable
BEGIN
    business_event_id := id_prefix || fields[1];
    kind := coalesce(fixed_kind, CASE WHEN kind_type <> 'boolean' THEN fields[2]
                                      WHEN fields[2] = 't' THEN 'true'
                                      WHEN fields[2] = 'f' THEN 'false' END);
    is_event := kind IS NOT NULL AND fields[3] IS NOT NULL;
    IF is_event THEN
        occurred_at := fields[3];
        conversation_id := fields[4];
        customer_id := fields[5];
        amount_usd := fields[6];
        IF business_event_id IS NULL THEN
            problem := 'a row has no key';
        ELSIF NOT (occurred_at >= timestamptz '0001-01-01' AND occurred_at < timestamptz '10000-01-01') THEN
            problem := 'a row has an impossible time';
            detail := occurred_at;
        ELSIF NOT (amount_usd > -1e12 AND amount_usd < 1e12) THEN
            problem := 'a row has an impossible amount';
            detail := amount_usd;
        ELSIF octet_length(business_event_id) > 1024 OR octet_length(conversation_id) > 1024
           OR octet_length(customer_id) > 1024 OR octet_length(kind) > 256 THEN
            problem := 'a row has a key, conversation or customer of more than 1024 bytes, or a kind of more than 256';
        END IF;
        -- who asked to be erased does not come back with his CRM record
        IF customer_id IS NOT NULL
           AND EXISTS (SELECT 1 FROM agent_metrics_internal.erasures e WHERE e.user_id = customer_id) THEN
            customer_id := NULL;
            conversation_id := NULL;
        END IF;
    END IF;
    RETURN NEXT;
EXCEPTION WHEN data_exception THEN
    problem := 'a row cannot be read as a business event';
    detail := SQLERRM;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.map_source_row(text[], text, text, text) IS
    'A row of an attached table as a business event, or what is wrong with it; is_event is false when its kind or time '
    'is NULL. Internal: sync_business_events() uses it.';

-- A row trigger sees no partition come, go or be emptied. Each of these changes this hash, and the table is compared.
-- (Not by pg_partition_tree(), which waits for locks on the partitions.)
CREATE FUNCTION agent_metrics_internal.source_parts(relation oid) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    WITH RECURSIVE parts AS (
        SELECT c.oid, c.relkind FROM pg_class c WHERE c.oid = $1 AND c.relkind = 'p'
        UNION SELECT c.oid, c.relkind FROM parts p JOIN pg_inherits i ON i.inhparent = p.oid
              JOIN pg_class c ON c.oid = i.inhrelid
    )
    SELECT md5(string_agg(p.oid || ' ' || coalesce(pg_relation_filenode(p.oid), 0), ',' ORDER BY p.oid))
    FROM parts p WHERE p.relkind <> 'p'
$function$;
COMMENT ON FUNCTION agent_metrics_internal.source_parts(oid) IS
    'Hash of the partitions of an attached table and of the files they are in; NULL: it has none. '
    'Internal: sync_business_events() uses it.';

-- Both ways end here: rows become events, by key. The rows are all there are, or the last note of each key. A key that
-- is not this table's (written by hand, or another table's) is left alone. The notes that this statement's snapshot
-- sees are in the rows that it reads, whose snapshot is taken later.
CREATE FUNCTION agent_metrics_internal.put_source_rows(source text, in_full boolean) RETURNS agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    attached agent_metrics_internal.attached_tables;
    result   agent_metrics.source_sync;
    relation oid := agent_metrics_internal.kpi_relation($1);
BEGIN
    SELECT a.* INTO attached FROM agent_metrics_internal.attached_tables a WHERE a.source = $1;
    WITH consumed_change AS (
        DELETE FROM agent_metrics_internal.attached_changes c WHERE c.source = $1
        RETURNING c.change_id, c.relation, c.operation, c.fields
    ), last_truncate AS MATERIALIZED (
        SELECT coalesce(max(t.change_id) FILTER (WHERE t.operation = 'truncate' AND t.relation = attached.relation),
                        0) AS at FROM consumed_change t
    ), source_row AS MATERIALIZED (
        SELECT r.fields
        FROM agent_metrics_internal.source_rows(relation, agent_metrics_internal.source_fields(attached.columns))
            AS r (fields) WHERE in_full
        UNION ALL
        SELECT l.fields FROM (
            SELECT DISTINCT ON (t.fields[1]) t.fields FROM consumed_change t, last_truncate e
            WHERE t.relation = attached.relation AND t.operation <> 'truncate' AND t.change_id > e.at
            ORDER BY t.fields[1], t.change_id DESC) l
        WHERE NOT in_full
    ), mapped_row AS MATERIALIZED (
        SELECT m.* FROM source_row i
        CROSS JOIN LATERAL agent_metrics_internal.map_source_row(
            i.fields, attached.column_types ->> (attached.columns ->> 'kind'),
            attached.fixed_kind, attached.id_prefix) m
    ), checked_row AS MATERIALIZED (
        SELECT m.business_event_id, m.kind, m.occurred_at, m.conversation_id, m.customer_id, m.amount_usd, m.detail,
               CASE WHEN m.problem IS NOT NULL THEN m.problem
                    WHEN count(*) OVER (PARTITION BY m.business_event_id) > 1 THEN 'several rows have the same key'
                    WHEN b.business_event_id IS NOT NULL AND b.source_table IS DISTINCT FROM attached.source
                        THEN 'a key is that of another business event' END AS problem,
               (b.kind, b.occurred_at, b.conversation_id, b.customer_id, b.amount_usd)
               IS DISTINCT FROM (m.kind, m.occurred_at, m.conversation_id, m.customer_id, m.amount_usd) AS is_changed
        FROM mapped_row m LEFT JOIN agent_metrics.business_events b ON b.business_event_id = m.business_event_id
        WHERE m.is_event
    ), inserted_problem AS (
        INSERT INTO agent_metrics_internal.attachment_problems (source, problem, row_key, detail)
        SELECT attached.source, j.problem, min(j.business_event_id), min(j.detail)
        FROM checked_row j WHERE j.problem IS NOT NULL GROUP BY j.problem
        RETURNING problem
    ), upserted_event AS (
        INSERT INTO agent_metrics.business_events AS b (
            business_event_id, kind, occurred_at, conversation_id, customer_id, amount_usd, source_table)
        SELECT j.business_event_id, j.kind, j.occurred_at, j.conversation_id, j.customer_id,
               j.amount_usd, attached.source
        FROM checked_row j WHERE j.problem IS NULL AND j.is_changed ORDER BY j.business_event_id
        ON CONFLICT (business_event_id) DO UPDATE
        SET kind = excluded.kind, occurred_at = excluded.occurred_at, conversation_id = excluded.conversation_id,
            customer_id = excluded.customer_id, amount_usd = excluded.amount_usd
        WHERE b.source_table = excluded.source_table
        RETURNING b.xmax = 0 AS is_new
    ), deleted_event AS (
        DELETE FROM agent_metrics.business_events b
        WHERE b.source_table = attached.source
          AND CASE WHEN in_full OR (SELECT e.at FROM last_truncate e) > 0
                   THEN NOT EXISTS (SELECT 1
                                    FROM mapped_row m WHERE m.business_event_id = b.business_event_id AND m.is_event)
                   ELSE b.business_event_id IN (SELECT m.business_event_id FROM mapped_row m WHERE NOT m.is_event) END
        RETURNING 1
    )
    SELECT attached.source, attached.mode, (SELECT count(*) FROM upserted_event p WHERE p.is_new),
           (SELECT count(*) FROM upserted_event p WHERE NOT p.is_new), (SELECT count(*) FROM deleted_event),
           (SELECT string_agg(n.problem, '; ' ORDER BY n.problem) FROM inserted_problem n)
    INTO result;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.put_source_rows(text, boolean) IS
    'Makes the rows of an attached table, or what its triggers noted, business events. '
    'Internal: sync_business_events() uses it.';

-- What the table is, is looked at when nobody can change it any more; what somebody else puts under a view of ours is
-- held more firmly, since planning runs the functions of its indexes as its reader.
CREATE FUNCTION agent_metrics_internal.hold_source(source text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    attached agent_metrics_internal.attached_tables;
    relid    oid := agent_metrics_internal.kpi_relation($1);
    wrong    text;
BEGIN
    SELECT a.* INTO attached FROM agent_metrics_internal.attached_tables a WHERE a.source = $1;
    IF relid IS NOT NULL THEN
        IF NOT has_schema_privilege((SELECT c.relnamespace FROM pg_class c WHERE c.oid = relid), 'USAGE') THEN
            RAISE EXCEPTION 'permission denied for the schema of %', $1
                USING ERRCODE = 'insufficient_privilege', DETAIL = format('Role %s may not use it.', current_user),
                      HINT = 'GRANT USAGE ON SCHEMA to it.';
        END IF;
        PERFORM agent_metrics_internal.hold_still(relid, false);
        IF attached.relation_kind NOT IN ('table', 'materialized view') THEN
            IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
                RAISE EXCEPTION 'view % is not followed in a transaction that sees an old catalogue', $1
                    USING ERRCODE = 'active_sql_transaction',
                          DETAIL = 'What the view calls now could not be looked at.', HINT = 'Use READ COMMITTED.';
            END IF;
            PERFORM agent_metrics_internal.hold_still(
                c.oid, c.relkind IN ('r', 'p') AND NOT agent_metrics_internal.kpi_is_ours(c.relowner))
            FROM agent_metrics_internal.kpi_what_is_read(relid) w JOIN pg_class c ON c.oid = w.object_id
            WHERE w.class_id = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'f');
        END IF;
        IF agent_metrics_internal.kpi_relation($1) IS DISTINCT FROM relid THEN
            RAISE EXCEPTION 'table % was replaced while it was looked at', $1
                USING ERRCODE = 'lock_not_available',
                      DETAIL = 'Its name is that of another table now.', HINT = 'Try again.';
        END IF;
    END IF;
    wrong := agent_metrics_internal.kpi_source_problem(
        $1, attached.relation_kind, attached.relation_owner, attached.columns, attached.column_types);
    INSERT INTO agent_metrics_internal.attachment_problems (source, problem)
    SELECT $1, wrong WHERE wrong IS NOT NULL
                       AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.attachment_problems p
                                       WHERE p.source = $1 AND p.problem = wrong);
    RETURN wrong;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.hold_source(text) IS
    'Keeps an attached table as it is to the end of the transaction, and says why it may not be read; NULL: it may. '
    'Internal: compare_source() and follow_turns() use it.';

-- Problems are removed first and looked for afterwards: what is noted meanwhile stays.
CREATE FUNCTION agent_metrics_internal.compare_source(source text) RETURNS agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    attached agent_metrics_internal.attached_tables;
    result   agent_metrics.source_sync;
    relid    oid := agent_metrics_internal.kpi_relation($1);
    read_of  text;
    wrong    text;
BEGIN
    SELECT a.* INTO attached FROM agent_metrics_internal.attached_tables a WHERE a.source = $1;
    wrong := agent_metrics_internal.hold_source($1);
    IF wrong IS NOT NULL THEN
        RETURN ROW($1, attached.mode, 0::bigint, 0::bigint, 0::bigint, wrong);
    END IF;
    read_of := agent_metrics_internal.source_parts(relid);  -- before the rows are read
    DELETE FROM agent_metrics_internal.attachment_problems p WHERE p.source = $1;
    result := agent_metrics_internal.put_source_rows($1, true);
    UPDATE agent_metrics_internal.attached_tables a
    SET compared_at = now(), parts = read_of, relation = relid, must_compare = false,
        wants_triggers = a.wants_triggers OR a.mode = 'trigger' AND a.relation <> relid
    WHERE a.source = $1;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compare_source(text) IS
    'Compares an attached table with its business events, and puts these right. Internal: sync_business_events() and '
    'attach_business_events() use it.';

CREATE FUNCTION agent_metrics_internal.kpi_has_triggers(relation oid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT count(*) = 2 FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid AND p.proname = 'follow_source'
    JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'agent_metrics'
    WHERE g.tgrelid = $1 AND g.tgenabled <> 'D'
      AND g.tgname IN ('agent_metrics_follow', 'agent_metrics_follow_truncate')
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_has_triggers(oid) IS
    'Whether the triggers of an attached table are there and enabled. Internal: agent_kpi.attached_tables and '
    'sync_business_events() use it.';

-- The last step of its transaction, since the CRM's writes wait from here to its end; and for as long as this waits for
-- its lock. What they wrote before is compared once more.
CREATE FUNCTION agent_metrics_internal.make_source_triggers(source text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '20ms'
SET client_min_messages = warning AS $function$
#variable_conflict use_column
DECLARE
    attached agent_metrics_internal.attached_tables;
    relid    oid := agent_metrics_internal.kpi_relation($1);
    owner    oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = relid);
    may      boolean;
BEGIN
    SELECT a.* INTO attached FROM agent_metrics_internal.attached_tables a WHERE a.source = $1;
    -- Whoever attached it had to be allowed to: the caller may be allowed more. Rows of tables that inherit from it are
    -- its rows too, and fire no trigger of it.
    may := has_table_privilege(relid, 'TRIGGER')
       AND has_table_privilege(coalesce((SELECT r.oid FROM pg_roles r WHERE r.rolname = attached.attached_by),
                                        (SELECT c.relowner FROM pg_class c
                                         WHERE c.oid = 'agent_metrics_internal.attached_tables'::regclass)),
                               relid, 'TRIGGER')
       AND (SELECT c.relkind = 'p'
            OR c.relkind = 'r' AND NOT EXISTS (SELECT 1 FROM pg_inherits i WHERE i.inhparent = relid)
            FROM pg_class c WHERE c.oid = relid)
       AND EXISTS (SELECT 1 FROM pg_index i
                   JOIN pg_attribute t ON t.attrelid = relid AND t.attname = attached.columns ->> 'business_event_id'
                   WHERE i.indrelid = relid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
                     AND i.indkey[0] = t.attnum AND i.indpred IS NULL)
       AND (pg_has_role(owner, 'USAGE') OR NOT EXISTS (SELECT 1 FROM pg_subscription_rel r WHERE r.srrelid = relid));
    IF may AND NOT agent_metrics_internal.kpi_has_triggers(relid) THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER agent_metrics_follow AFTER INSERT OR UPDATE OR DELETE ON %s
                        FOR EACH ROW EXECUTE FUNCTION agent_metrics.follow_source(%L)', relid::regclass, $1);
        EXECUTE format('CREATE OR REPLACE TRIGGER agent_metrics_follow_truncate AFTER TRUNCATE ON %s
                        FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.follow_source(%L)', relid::regclass, $1);
        -- also what a replication brings; to say so is the owner's right
        IF pg_has_role(owner, 'USAGE') THEN
            EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_metrics_follow, ENABLE ALWAYS TRIGGER '
                           'agent_metrics_follow_truncate', relid::regclass);
        END IF;
    END IF;
    UPDATE agent_metrics_internal.attached_tables a
    SET mode = CASE WHEN may THEN 'trigger' ELSE 'compare' END, wants_triggers = false, must_compare = true
    WHERE a.source = $1;
    RETURN may;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.make_source_triggers(text) IS
    'Makes the triggers of an attached table, or says that it is followed by comparing. '
    'Internal: sync_business_events() and attach_business_events() use it.';

-- What is due for one table; NULL: nothing was, or another call is at it. What was noted is applied also when the table
-- cannot be compared.
CREATE FUNCTION agent_metrics_internal.follow_source_table(source text, in_full boolean)
RETURNS agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $function$
#variable_conflict use_column
DECLARE
    attached agent_metrics_internal.attached_tables;
    result   agent_metrics.source_sync;
    relid    oid;
    words    text;
    said     text;
    is_due   boolean := true;
BEGIN
    SELECT a.* INTO attached FROM agent_metrics_internal.attached_tables a WHERE a.source = $1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    BEGIN
        IF attached.feeds = 'turns' THEN
            RETURN agent_metrics_internal.follow_turns($1, in_full);
        END IF;
        relid := agent_metrics_internal.kpi_relation($1);
        is_due := in_full OR attached.mode = 'compare' OR attached.must_compare
               OR relid IS DISTINCT FROM attached.relation
               OR attached.compared_at IS NULL OR attached.compared_at < now() - interval '1 day'
               OR attached.parts IS DISTINCT FROM agent_metrics_internal.source_parts(relid)
               OR NOT agent_metrics_internal.kpi_has_triggers(relid)
               OR EXISTS (SELECT 1 FROM agent_metrics_internal.attachment_problems p WHERE p.source = $1)
               OR agent_metrics_internal.kpi_source_problem($1, attached.relation_kind, attached.relation_owner,
                                                            attached.columns, attached.column_types) IS NOT NULL;
        IF is_due THEN
            RETURN agent_metrics_internal.compare_source($1);
        END IF;
    -- one that cannot be read, for whatever reason, does not keep the others from being followed
    EXCEPTION WHEN OTHERS THEN
        words := agent_metrics_internal.source_words(SQLSTATE);
        said := SQLERRM;
    END;
    BEGIN
        IF relid = attached.relation
           AND EXISTS (SELECT 1 FROM agent_metrics_internal.attached_changes c WHERE c.source = $1)
           AND agent_metrics_internal.kpi_source_problem($1, attached.relation_kind, attached.relation_owner,
                                                         attached.columns, attached.column_types) IS NULL THEN
            result := agent_metrics_internal.put_source_rows($1, false);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        words := coalesce(words, agent_metrics_internal.source_words(SQLSTATE));
        said := coalesce(said, SQLERRM);
    END;
    IF words IS NOT NULL THEN
        INSERT INTO agent_metrics_internal.attachment_problems (source, problem, detail)
        SELECT $1, words, said
        WHERE NOT EXISTS (SELECT 1
                          FROM agent_metrics_internal.attachment_problems p WHERE p.source = $1 AND p.problem = words);
        result := ROW($1, attached.mode, coalesce(result.inserted, 0), coalesce(result.updated, 0),
                      coalesce(result.deleted, 0), words);
    END IF;
    RETURN result;
EXCEPTION WHEN OTHERS THEN  -- our own tables are locked or broken
    RETURN ROW($1, 'compare', 0::bigint, 0::bigint, 0::bigint, agent_metrics_internal.source_words(SQLSTATE));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.follow_source_table(text, boolean) IS
    'Does what is due for one attached table, waiting 100 ms for a lock at most; NULL: nothing was due. '
    'Internal: sync_business_events() uses it.';

-- What following leaves to be done: triggers that may be made again, and what triggers noted of a table
-- that was detached.
CREATE FUNCTION agent_metrics_internal.tidy_sources() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $function$
DECLARE
    attached text;
BEGIN
    FOR attached IN
        SELECT a.source FROM agent_metrics_internal.attached_tables a WHERE a.wants_triggers ORDER BY a.source LOOP
        BEGIN
            PERFORM agent_metrics_internal.make_source_triggers(attached);
        EXCEPTION WHEN OTHERS THEN
            NULL;  -- compared until they can be made
        END;
    END LOOP;
    BEGIN
        DELETE FROM agent_metrics_internal.attached_changes c
        WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.attached_tables a WHERE a.source = c.source);
        DELETE FROM agent_metrics_internal.attachment_problems p
        WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.attached_tables a WHERE a.source = p.source);
    EXCEPTION WHEN lock_not_available THEN
        NULL;  -- the next call does it
    END;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.tidy_sources() IS
    'Makes triggers of attached tables that are wanted and may be made, and forgets what is left of detached ones. '
    'Internal: sync_business_events() and the program use it.';

-- A table with triggers is compared only when something could not be followed, when another table or other partitions
-- are in its place, when it is named, and once a day.
CREATE FUNCTION agent_metrics_internal.follow_sources(feeds text, source text) RETURNS SETOF agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $function$
#variable_conflict use_column
DECLARE
    attached text;
    result   agent_metrics.source_sync;
BEGIN
    IF $2 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.attached_tables a
                                      WHERE a.source = $2 AND a.feeds = $1) THEN
        RAISE EXCEPTION 'table % is not attached', $2
            USING ERRCODE = 'undefined_object', DETAIL = 'No row of agent_metrics_internal.attached_tables names it.',
                  HINT = format('SELECT * FROM agent_metrics.attach_%s(...) attaches it; '
                                'agent_kpi.attached_tables lists those that are.', $1);
    END IF;
    FOR attached IN SELECT a.source FROM agent_metrics_internal.attached_tables a
                    WHERE ($2 IS NULL OR a.source = $2) AND a.feeds = $1 ORDER BY a.source LOOP
        result := agent_metrics_internal.follow_source_table(attached, $2 IS NOT NULL);
        IF result.source IS NOT NULL
           AND ($2 IS NOT NULL OR result.mode = 'compare' OR result.problem IS NOT NULL
                OR result.inserted + result.updated + result.deleted > 0) THEN
            RETURN NEXT result;
        END IF;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.follow_sources(text, text) IS
    'Follows attached tables that feed business_events or turns, all or the one that is named. '
    'Internal: sync_business_events() and sync_turns() use it.';

CREATE FUNCTION agent_metrics.sync_business_events(source text DEFAULT NULL) RETURNS SETOF agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN QUERY SELECT f.* FROM agent_metrics_internal.follow_sources('business_events', $1) f;
    PERFORM agent_metrics_internal.tidy_sources();
END
$function$;
COMMENT ON FUNCTION agent_metrics.sync_business_events(text) IS
    'Follows attached tables: what their triggers noted becomes business events, and those are compared that have no '
    'triggers, had a problem, were rebuilt, or are named. With the caller''s rights; waits 100 ms for a lock at most. '
    'The program calls it before each refresh.';
