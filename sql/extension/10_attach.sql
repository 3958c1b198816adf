-- Business events from where they are: a table of the CRM, in any schema and of any owner, whose rows are events.
--
-- Its rows are copied into business_events and followed: by row triggers on the table, if the caller may make them, else
-- by comparing all of it whenever sync_business_events() is called (the program does before each refresh). A write of
-- the business system never fails for our sake: what a trigger cannot follow it notes in attachment_problems, and the
-- next comparison puts it right. A key that is not this table's (written by hand, or another table's) is left alone.

-- One row of the table, as a business event; no row when it is none yet (its kind or time is NULL). The trigger and the
-- comparison both read rows here, so they agree.
CREATE FUNCTION agent_metrics.map_source_row(source_row jsonb, columns jsonb, fixed_kind text, id_prefix text)
RETURNS TABLE (business_event_id text, kind text, occurred_at timestamptz, conversation_id text, customer_id text, amount_usd numeric, problem text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' AS $function$
#variable_conflict use_variable
BEGIN
    problem := (SELECT format('column "%s" is gone', c.value) FROM jsonb_each_text(columns) AS c (key, value) WHERE NOT source_row ? c.value LIMIT 1);
    business_event_id := id_prefix || (source_row ->> (columns ->> 'business_event_id'));
    IF problem IS NULL THEN
        kind := coalesce(fixed_kind, source_row ->> (columns ->> 'kind'));
        occurred_at := source_row ->> (columns ->> 'occurred_at');
        conversation_id := source_row ->> (columns ->> 'conversation_id');
        customer_id := source_row ->> (columns ->> 'customer_id');
        amount_usd := source_row ->> (columns ->> 'amount_usd');
        IF kind IS NULL OR occurred_at IS NULL THEN
            RETURN;
        END IF;
        problem := CASE WHEN business_event_id IS NULL THEN 'a row has no key'
                        WHEN NOT isfinite(occurred_at) THEN format('a row is dated %s', occurred_at)
                        WHEN NOT (amount_usd > -1e12 AND amount_usd < 1e12) THEN format('a row has the amount %s', amount_usd) END;
        -- who asked to be erased does not come back with his CRM record
        IF customer_id IS NOT NULL AND EXISTS (SELECT FROM agent_metrics.erasures e WHERE e.user_id = customer_id) THEN
            customer_id := NULL;
            conversation_id := NULL;
        END IF;
    END IF;
    RETURN NEXT;
EXCEPTION WHEN data_exception THEN
    problem := SQLERRM;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics.map_source_row(jsonb, jsonb, text, text) IS
    'A row of an attached table as a business event, or what is wrong with it; no row when its kind or time is NULL. Internal: the trigger and the comparison use it.';

CREATE TYPE agent_metrics.source_sync AS (source text, mode text, inserted bigint, updated bigint, deleted bigint, problem text);
COMMENT ON TYPE agent_metrics.source_sync IS 'What following an attached table came to.';
COMMENT ON COLUMN agent_metrics.source_sync.source IS 'The attached table.';
COMMENT ON COLUMN agent_metrics.source_sync.mode IS 'trigger or compare.';
COMMENT ON COLUMN agent_metrics.source_sync.inserted IS 'Business events that were new.';
COMMENT ON COLUMN agent_metrics.source_sync.updated IS 'Business events that had changed.';
COMMENT ON COLUMN agent_metrics.source_sync.deleted IS 'Business events whose row was gone.';
COMMENT ON COLUMN agent_metrics.source_sync.problem IS 'What cannot be followed; NULL: nothing.';

-- A row trigger sees no partition come, go or be emptied. Each of these changes this hash, and the table is compared.
CREATE FUNCTION agent_metrics.source_parts(source text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT md5(string_agg(t.relid::oid || ' ' || coalesce(pg_relation_filenode(t.relid), 0), ',' ORDER BY t.relid::oid))
    FROM pg_partition_tree(to_regclass($1)) t WHERE t.isleaf
$function$;
COMMENT ON FUNCTION agent_metrics.source_parts(text) IS 'Hash of the partitions of an attached table and of the files they are in; NULL: it has none. Internal: sync_business_events() uses it.';

-- Problems are removed first and looked for afterwards: what is noted meanwhile stays.
CREATE FUNCTION agent_metrics.compare_source(source text) RETURNS agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET row_security = off AS $function$
#variable_conflict use_column
DECLARE
    attached agent_metrics.attached_tables;
    result   agent_metrics.source_sync;
    missing  text;
    read_of  text := agent_metrics.source_parts($1);  -- before the rows are read
BEGIN
    -- one comparison of a table at a time
    SELECT a.* INTO attached FROM agent_metrics.attached_tables a WHERE a.source = $1 FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not attached', $1
            USING ERRCODE = 'undefined_object', DETAIL = 'No row of agent_metrics.attached_tables names it.',
                  HINT = 'SELECT * FROM agent_metrics.attach_business_events(...) attaches it; agent_kpi.attached_tables lists those that are.';
    END IF;
    SELECT c.value INTO missing FROM jsonb_each_text(attached.columns) AS c (key, value)
    WHERE NOT EXISTS (SELECT FROM pg_attribute t WHERE t.attrelid = to_regclass($1) AND t.attname = c.value AND t.attnum > 0 AND NOT t.attisdropped) LIMIT 1;
    IF to_regclass($1) IS NULL OR missing IS NOT NULL THEN
        RAISE EXCEPTION '%', CASE WHEN to_regclass($1) IS NULL THEN 'the table is gone: dropped or renamed' ELSE format('column "%s" is gone', missing) END
            USING ERRCODE = 'undefined_column', DETAIL = format('It is part of how %s was attached.', $1),
                  HINT = 'Bring it back, or detach the table and attach it as it is now.';
    END IF;
    DELETE FROM agent_metrics.attachment_problems p WHERE p.source = $1;

    EXECUTE format($sql$
        WITH mapped AS MATERIALIZED (
            SELECT m.* FROM (SELECT jsonb_build_object(%s) AS source_row FROM %s s) x
            CROSS JOIN LATERAL agent_metrics.map_source_row(x.source_row, $1, $2, $3) m
        ), judged AS MATERIALIZED (
            SELECT m.business_event_id, m.kind, m.occurred_at, m.conversation_id, m.customer_id, m.amount_usd,
                   CASE WHEN m.problem IS NOT NULL THEN m.problem
                        WHEN count(*) OVER (PARTITION BY m.business_event_id) > 1 THEN 'several rows have the same key'
                        WHEN b.business_event_id IS NOT NULL AND b.source_table IS DISTINCT FROM $4 THEN 'a key is that of another business event' END AS problem,
                   (b.kind, b.occurred_at, b.conversation_id, b.customer_id, b.amount_usd)
                   IS DISTINCT FROM (m.kind, m.occurred_at, m.conversation_id, m.customer_id, m.amount_usd) AS is_changed
            FROM mapped m LEFT JOIN agent_metrics.business_events b ON b.business_event_id = m.business_event_id
        ), noted AS (
            INSERT INTO agent_metrics.attachment_problems (source, problem, row_key)
            SELECT $4, j.problem, min(j.business_event_id) FROM judged j WHERE j.problem IS NOT NULL GROUP BY j.problem
            RETURNING problem
        ), put AS (
            INSERT INTO agent_metrics.business_events AS b (business_event_id, kind, occurred_at, conversation_id, customer_id, amount_usd, source_table)
            SELECT j.business_event_id, j.kind, j.occurred_at, j.conversation_id, j.customer_id, j.amount_usd, $4
            FROM judged j WHERE j.problem IS NULL AND j.is_changed ORDER BY j.business_event_id
            ON CONFLICT (business_event_id) DO UPDATE
            SET kind = excluded.kind, occurred_at = excluded.occurred_at, conversation_id = excluded.conversation_id,
                customer_id = excluded.customer_id, amount_usd = excluded.amount_usd
            WHERE b.source_table = $4
            RETURNING b.xmax = 0 AS is_new
        ), gone AS (
            DELETE FROM agent_metrics.business_events b
            WHERE b.source_table = $4 AND NOT EXISTS (SELECT FROM mapped m WHERE m.business_event_id = b.business_event_id)
            RETURNING 1
        )
        SELECT $4, $5, (SELECT count(*) FROM put p WHERE p.is_new), (SELECT count(*) FROM put p WHERE NOT p.is_new), (SELECT count(*) FROM gone),
               (SELECT string_agg(n.problem, '; ' ORDER BY n.problem) FROM noted n)
        $sql$, (SELECT string_agg(format('%L, s.%I', c.value, c.value), ', ') FROM jsonb_each_text(attached.columns) AS c (key, value)), to_regclass($1))
    INTO result USING attached.columns, attached.fixed_kind, attached.id_prefix, attached.source, attached.mode;
    UPDATE agent_metrics.attached_tables a SET compared_at = now(), parts = read_of WHERE a.source = $1;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION agent_metrics.compare_source(text) IS
    'Compares an attached table with its business events, and puts these right. Internal: sync_business_events() and attach_business_events() use it.';

CREATE FUNCTION agent_metrics.attach_business_events(
    source regclass, business_event_id text, occurred_at text, kind text DEFAULT NULL, fixed_kind text DEFAULT NULL,
    conversation_id text DEFAULT NULL, customer_id text DEFAULT NULL, amount_usd text DEFAULT NULL, id_prefix text DEFAULT '')
RETURNS agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $function$
#variable_conflict use_variable
DECLARE
    place   record;
    mapping jsonb := jsonb_strip_nulls(jsonb_build_object('business_event_id', business_event_id, 'occurred_at', occurred_at, 'kind', kind,
                                       'conversation_id', conversation_id, 'customer_id', customer_id, 'amount_usd', amount_usd));
    wrong   record;
    way     text := 'compare';
BEGIN
    SELECT format('%I.%I', n.nspname, c.relname) AS name, n.nspname, c.relkind INTO place
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source;
    IF place.name IS NULL OR place.relkind NOT IN ('r', 'p', 'v', 'm', 'f') OR place.nspname IN ('agent_metrics', 'agent_kpi', 'pg_catalog', 'information_schema') THEN
        RAISE EXCEPTION '% cannot be attached', coalesce(place.name, 'NULL')
            USING ERRCODE = 'wrong_object_type', DETAIL = 'A table, view or foreign table of the business is meant.',
                  HINT = 'SELECT * FROM agent_metrics.attach_business_events(''crm.tickets'', business_event_id => ''id'', occurred_at => ''closed_at'', kind => ''status'');';
    END IF;
    IF business_event_id IS NULL OR occurred_at IS NULL OR (kind IS NULL) = (fixed_kind IS NULL) OR id_prefix IS NULL THEN
        RAISE EXCEPTION 'too little is said of how % is to be read', place.name
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A business event needs a key, a time and a kind.',
                  HINT = 'Name the columns in business_event_id and occurred_at, and either a column in kind or one kind for all rows in fixed_kind.';
    END IF;
    SELECT c.key, c.value, t.atttypid::regtype AS is_of, t.attnum INTO wrong
    FROM jsonb_each_text(mapping) AS c (key, value)
    LEFT JOIN pg_attribute t ON t.attrelid = source AND t.attname = c.value AND t.attnum > 0 AND NOT t.attisdropped
    WHERE t.attnum IS NULL
       OR c.key = 'occurred_at' AND t.atttypid NOT IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
       OR c.key = 'amount_usd' AND t.atttypid NOT IN ('numeric'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'float4'::regtype, 'float8'::regtype)
    ORDER BY c.key LIMIT 1;
    IF wrong.attnum IS NULL AND wrong.value IS NOT NULL THEN
        RAISE EXCEPTION 'table % has no column "%"', place.name, wrong.value
            USING ERRCODE = 'undefined_column', DETAIL = format('It was named for %s.', wrong.key),
                  HINT = (SELECT 'Its columns are: ' || string_agg(t.attname, ', ' ORDER BY t.attnum) || '.'
                          FROM pg_attribute t WHERE t.attrelid = source AND t.attnum > 0 AND NOT t.attisdropped);
    ELSIF wrong.attnum IS NOT NULL THEN
        RAISE EXCEPTION 'column "%" of % is of type %', wrong.value, place.name, wrong.is_of
            USING ERRCODE = 'datatype_mismatch',
                  DETAIL = CASE wrong.key WHEN 'occurred_at' THEN 'A time is a timestamp with or without time zone (read as UTC) or a date.' ELSE 'An amount is a number of US dollars.' END,
                  HINT = 'Attach a view over the table that converts it.';
    END IF;
    IF place.relkind IN ('r', 'p') AND NOT EXISTS (
        SELECT FROM pg_index i JOIN pg_attribute t ON t.attrelid = source AND t.attname = business_event_id
        WHERE i.indrelid = source AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indkey[0] = t.attnum AND i.indpred IS NULL) THEN
        RAISE EXCEPTION 'column "%" of % is no key', business_event_id, place.name
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'No unique index says that each of its values occurs once, so rows could not be told apart.',
                  HINT = 'Name its primary key, or make a unique index on the column; or attach a view over the table, which is followed by comparing it.';
    END IF;
    INSERT INTO agent_metrics.attached_tables (source, columns, fixed_kind, id_prefix, mode)
    VALUES (place.name, mapping, fixed_kind, id_prefix, way) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is attached already', place.name
            USING ERRCODE = 'duplicate_object', DETAIL = 'A table is attached once.',
                  HINT = format('SELECT agent_metrics.detach_business_events(%L) comes first.', place.name);
    END IF;
    -- From here to the end of the transaction nobody writes to the table, so nothing is missed between trigger and copy.
    -- Rows of tables that inherit from it are its rows too, and fire no trigger of it.
    IF place.relkind = 'p' OR place.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = source) THEN
        BEGIN
            EXECUTE format('CREATE TRIGGER agent_metrics_follow AFTER INSERT OR UPDATE OR DELETE ON %s
                            FOR EACH ROW EXECUTE FUNCTION agent_metrics.follow_source(%L)', place.name, place.name);
            EXECUTE format('CREATE TRIGGER agent_metrics_follow_truncate AFTER TRUNCATE ON %s
                            FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.follow_source(%L)', place.name, place.name);
            way := 'trigger';
            -- also what a replication brings; to say so is the owner's right
            IF pg_has_role((SELECT c.relowner FROM pg_class c WHERE c.oid = source), 'USAGE') THEN
                EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_metrics_follow, ENABLE ALWAYS TRIGGER agent_metrics_follow_truncate', place.name);
            ELSIF EXISTS (SELECT FROM pg_subscription_rel r WHERE r.srrelid = source) THEN
                way := 'compare';
            END IF;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'table % is followed by comparing it', place.name
                    USING DETAIL = 'You may not make triggers on it.', HINT = format('With GRANT TRIGGER ON %s it is followed at once.', place.name);
            WHEN duplicate_object THEN
                way := 'trigger';  -- left there by a detach that was not the owner's
        END;
    END IF;
    UPDATE agent_metrics.attached_tables a SET mode = way WHERE a.source = place.name;
    RETURN agent_metrics.compare_source(place.name);
END
$function$;
COMMENT ON FUNCTION agent_metrics.attach_business_events(regclass, text, text, text, text, text, text, text, text) IS
    'Makes the rows of a table, view or foreign table business events, and follows them. The arguments name columns of it: the key, the time, the kind (or fixed_kind for all rows), the conversation, the customer, the amount in US dollars. A row whose kind or time is NULL is no event yet. id_prefix is put before each key.';

CREATE FUNCTION agent_metrics.detach_business_events(source text, keep_events boolean DEFAULT true) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' SET client_min_messages = warning AS $function$
#variable_conflict use_column
DECLARE
    events bigint;
BEGIN
    DELETE FROM agent_metrics.attached_tables a WHERE a.source = $1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not attached', coalesce($1, 'NULL')
            USING ERRCODE = 'undefined_object', DETAIL = 'No row of agent_metrics.attached_tables names it.',
                  HINT = 'SELECT source FROM agent_kpi.attached_tables lists those that are, with their schema.';
    END IF;
    DELETE FROM agent_metrics.attachment_problems p WHERE p.source = $1;
    IF keep_events THEN
        UPDATE agent_metrics.business_events b SET source_table = NULL WHERE b.source_table = $1;
    ELSE
        DELETE FROM agent_metrics.business_events b WHERE b.source_table = $1;
    END IF;
    GET DIAGNOSTICS events = ROW_COUNT;
    IF to_regclass($1) IS NOT NULL THEN
        BEGIN
            EXECUTE format('DROP TRIGGER IF EXISTS agent_metrics_follow ON %s', to_regclass($1));
            EXECUTE format('DROP TRIGGER IF EXISTS agent_metrics_follow_truncate ON %s', to_regclass($1));
        EXCEPTION WHEN insufficient_privilege OR wrong_object_type THEN
            NULL;  -- its owner may drop them; they do nothing without the row that went
        END;
    END IF;
    RETURN events;
END
$function$;
COMMENT ON FUNCTION agent_metrics.detach_business_events(text, boolean) IS
    'No longer follows an attached table; its business events stay as they are, or go with keep_events => false. Returns how many there are.';

-- A table with triggers is compared only when something could not be followed, when its partitions changed, or when it is
-- named.
CREATE FUNCTION agent_metrics.sync_business_events(source text DEFAULT NULL) RETURNS SETOF agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    attached agent_metrics.attached_tables;
    result   agent_metrics.source_sync;
BEGIN
    IF $1 IS NOT NULL AND NOT EXISTS (SELECT FROM agent_metrics.attached_tables a WHERE a.source = $1) THEN
        PERFORM agent_metrics.compare_source($1);
    END IF;
    FOR attached IN
        SELECT a.* FROM agent_metrics.attached_tables a
        WHERE CASE WHEN $1 IS NOT NULL THEN a.source = $1
                   ELSE a.mode = 'compare' OR a.parts IS DISTINCT FROM agent_metrics.source_parts(a.source)
                        OR EXISTS (SELECT FROM agent_metrics.attachment_problems p WHERE p.source = a.source) END
        ORDER BY a.source
    LOOP
        BEGIN
            result := agent_metrics.compare_source(attached.source);
        EXCEPTION WHEN OTHERS THEN  -- one that cannot be read, for whatever reason, does not keep the others from being followed
            result := ROW(attached.source, attached.mode, 0, 0, 0, SQLERRM);
            INSERT INTO agent_metrics.attachment_problems (source, problem)
            SELECT attached.source, SQLERRM
            WHERE NOT EXISTS (SELECT FROM agent_metrics.attachment_problems p WHERE p.source = attached.source AND p.problem = SQLERRM);
        END;
        RETURN NEXT result;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics.sync_business_events(text) IS
    'Compares attached tables with their business events and puts these right: the named one, or all that are followed by comparing or had a problem. With the caller''s rights. The program calls it before each refresh.';
