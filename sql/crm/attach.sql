-- Business events from where they are: a table of the CRM, in any schema and of any owner, whose rows are events.
-- (Turns from where they are: attach_turns.sql.)
--
-- Its rows are copied into business_events and followed: row triggers on the table, if the caller may make them, note
-- each write, else all of it is compared; both is done by sync_business_events() (the program calls it before each
-- refresh). A write of the business system neither fails nor waits for our sake. The table is somebody else's:
-- checks.sql says what of it is not read, and a table that became something else since is not read
-- either, but named.

CREATE TYPE agent_metrics.source_sync AS (
    source text, mode text, inserted bigint, updated bigint, deleted bigint, problem text);
COMMENT ON TYPE agent_metrics.source_sync IS 'What following an attached table came to.';
COMMENT ON COLUMN agent_metrics.source_sync.source IS 'The attached table.';
COMMENT ON COLUMN agent_metrics.source_sync.mode IS 'trigger or compare.';
COMMENT ON COLUMN agent_metrics.source_sync.inserted IS
    'Business events or turns that were new; of a preset also those that had changed, and scores.';
COMMENT ON COLUMN agent_metrics.source_sync.updated IS 'Business events or turns that had changed.';
COMMENT ON COLUMN agent_metrics.source_sync.deleted IS 'Business events or turns whose row was gone.';
COMMENT ON COLUMN agent_metrics.source_sync.problem IS 'What cannot be followed; NULL: nothing.';

CREATE TYPE agent_metrics_internal.source_place AS (
    name text, schema name, relation oid, relation_kind text, owner name);
COMMENT ON TYPE agent_metrics_internal.source_place IS 'A table that is to be attached.';
COMMENT ON COLUMN agent_metrics_internal.source_place.name IS 'Schema and name, quoted as SQL needs it.';
COMMENT ON COLUMN agent_metrics_internal.source_place.schema IS 'Its schema.';
COMMENT ON COLUMN agent_metrics_internal.source_place.relation IS 'Its oid.';
COMMENT ON COLUMN agent_metrics_internal.source_place.relation_kind IS
    'table, view, materialized view or foreign table.';
COMMENT ON COLUMN agent_metrics_internal.source_place.owner IS 'Role that owns it.';

CREATE FUNCTION agent_metrics_internal.place_of(source regclass, example text)
RETURNS agent_metrics_internal.source_place
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    place agent_metrics_internal.source_place;
BEGIN
    SELECT format('%I.%I', n.nspname, c.relname), n.nspname, c.oid, agent_metrics_internal.kpi_kind_of(c.relkind),
           pg_get_userbyid(c.relowner)
    INTO place
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = source;
    IF place.name IS NULL OR place.relation_kind IS NULL
       OR place.schema IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal', 'pg_catalog',
                           'information_schema') THEN
        RAISE EXCEPTION '% cannot be attached', coalesce(place.name, 'NULL')
            USING ERRCODE = 'wrong_object_type', DETAIL = 'A table, view or foreign table of the business is meant.',
                  HINT = example;
    END IF;
    RETURN place;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.place_of(regclass, text) IS
    'What is to be attached, or an error with an example of how it is done. '
    'Internal: attach_business_events() and attach_turns() use it.';

-- What a column must be: a key tells rows apart, a time is a moment, an amount and a whole are numbers; a text may be
-- anything plain, a json also that.
CREATE FUNCTION agent_metrics_internal.check_source(
    place agent_metrics_internal.source_place, mapping jsonb, needs jsonb, key text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
    wrong record;
    said  text;
BEGIN
    SELECT c.key, c.value, format_type(t.atttypid, NULL) AS is_of, t.attnum, t.attgenerated = 'v' AS is_virtual,
           n.need, p.plain IS NULL OR p.plain IN ('json', 'jsonb') AND n.need <> 'json' AS is_odd
    INTO wrong
    FROM jsonb_each_text(mapping) AS c (key, value)
    LEFT JOIN pg_attribute t ON t.attrelid = place.relation AND t.attname = c.value AND t.attnum > 0
     AND NOT t.attisdropped
    CROSS JOIN LATERAL (SELECT coalesce(needs ->> c.key, 'text') AS need) n
    CROSS JOIN LATERAL (SELECT agent_metrics_internal.kpi_plain_type(t.atttypid) AS plain) p
    WHERE t.attnum IS NULL OR t.attgenerated = 'v' OR p.plain IS NULL
       OR p.plain IN ('json', 'jsonb') AND n.need <> 'json'
       OR n.need = 'time' AND t.atttypid NOT IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
       OR n.need = 'amount' AND t.atttypid NOT IN ('numeric'::regtype, 'int2'::regtype, 'int4'::regtype,
                                                   'int8'::regtype, 'float4'::regtype, 'float8'::regtype)
       OR n.need = 'whole' AND t.atttypid NOT IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
       OR n.need = 'flag' AND t.atttypid <> 'boolean'::regtype
       OR n.need = 'key' AND t.atttypid = 'boolean'::regtype
       OR n.need = 'watermark' AND t.atttypid NOT IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype,
                                                      'int4'::regtype, 'int8'::regtype)
    ORDER BY c.key LIMIT 1;
    IF wrong.attnum IS NULL AND wrong.value IS NOT NULL THEN
        RAISE EXCEPTION 'table % has no column "%"', place.name, wrong.value
            USING ERRCODE = 'undefined_column', DETAIL = format('It was named for %s.', wrong.key),
                  HINT = (SELECT 'Its columns are: ' || string_agg(t.attname, ', ' ORDER BY t.attnum) || '.'
                          FROM pg_attribute t
                          WHERE t.attrelid = place.relation AND t.attnum > 0 AND NOT t.attisdropped);
    ELSIF wrong.is_virtual THEN
        RAISE EXCEPTION 'column "%" of % is generated when it is read', wrong.value, place.name
            USING ERRCODE = 'wrong_object_type', DETAIL = 'Reading it runs its expression with the reader''s rights.',
                  HINT = 'Make it GENERATED ALWAYS AS (...) STORED.';
    ELSIF wrong.attnum IS NOT NULL THEN
        RAISE EXCEPTION 'column "%" of % is of type %', wrong.value, place.name, wrong.is_of
            USING ERRCODE = 'datatype_mismatch',
                  DETAIL = CASE WHEN wrong.is_odd
                                THEN 'Text, numbers, times, uuid, boolean and enums are read; a domain, array, '
                                     'composite or other type may be made by code of the table''s owner.'
                                WHEN wrong.need = 'time'
                                    THEN 'A time is a timestamp with or without time zone (read as UTC) or a date.'
                                WHEN wrong.need = 'amount' THEN 'A number is meant; money is US dollars.'
                                WHEN wrong.need = 'whole' THEN 'A whole number is meant.'
                                WHEN wrong.need = 'flag' THEN 'A boolean is meant.'
                                WHEN wrong.need = 'watermark'
                                    THEN 'A watermark is a timestamp, a date, an integer or a bigint that grows with '
                                         'each write.'
                                ELSE 'A boolean tells no two rows apart.' END,
                  HINT = 'Add a stored generated column to the table that converts it; '
                         'or let the owner of agent_metrics'' tables make a view that does, and attach that.';
    END IF;
    IF place.relation_kind = 'table' AND NOT EXISTS (
        SELECT 1 FROM pg_index i JOIN pg_attribute t ON t.attrelid = place.relation AND t.attname = key
        WHERE i.indrelid = place.relation AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
          AND i.indkey[0] = t.attnum AND i.indpred IS NULL) THEN
        RAISE EXCEPTION 'column "%" of % is no key', key, place.name
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'No unique index says that each of its values occurs once, so rows could not be told apart.',
                  HINT = 'Name its primary key, or make a unique index on the column; or attach a view over the table, '
                         'which is followed by comparing it.';
    END IF;
    said := agent_metrics_internal.kpi_source_problem(place.name, place.relation_kind, place.owner, '{}', '{}');
    IF said IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be attached: %', place.name, said
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'What a view calls, and what belongs to a partition, runs with the rights of the '
                           'role that reads it.',
                  HINT = 'Attach the table itself, or one that its owner fills from the view; or a view that belongs '
                         'to the owner of agent_metrics'' tables or to a superuser, and so does all that it calls.';
    END IF;
    said := agent_metrics_internal.closed_part(place.relation, mapping);
    IF said IS NOT NULL THEN
        RAISE EXCEPTION 'permission denied for % of table %', said, place.name
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('Role %s would read it now, and the role that the program runs as each time.',
                                  current_user),
                  HINT = format('Its owner, %1$s, says for each of both: GRANT USAGE ON SCHEMA %2$I TO %3$I; '
                                'GRANT SELECT ON %4$s TO %3$I;', place.owner, place.schema, current_user, place.name);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_source(agent_metrics_internal.source_place, jsonb, jsonb, text) IS
    'Refuses a table whose columns are not there, are of another type than is needed, may not be read, or are '
    'somebody''s code; and one whose key is none. Internal: attach_business_events() and attach_turns() use it.';

CREATE FUNCTION agent_metrics_internal.types_of_columns(relation oid, mapping jsonb) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT jsonb_object_agg(t.attname, agent_metrics_internal.kpi_plain_type(t.atttypid))
    FROM pg_attribute t
    WHERE t.attrelid = $1 AND t.attnum > 0
      AND t.attname IN (SELECT c.value FROM jsonb_each_text($2) AS c (key, value))
$function$;
COMMENT ON FUNCTION agent_metrics_internal.types_of_columns(oid, jsonb) IS
    'The columns that are read of a table, each with its type. Internal: attach_business_events() and attach_turns() '
    'use it.';

CREATE FUNCTION agent_metrics_internal.refuse_attached(source text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RAISE EXCEPTION 'table % is attached already', $1
        USING ERRCODE = 'duplicate_object', DETAIL = 'A table is attached once.',
              HINT = (SELECT format('SELECT agent_metrics.detach_%s(%L) comes first.', a.feeds, $1)
                      FROM agent_metrics_internal.attached_tables a WHERE a.source = $1);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refuse_attached(text) IS
    'Says of a table that it is attached already. Internal: attach_business_events() and attach_turns() use it.';

CREATE FUNCTION agent_metrics_internal.check_was_compared(source text, problem text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF problem IS NOT NULL AND EXISTS (SELECT 1 FROM agent_metrics_internal.attached_tables a
                                       WHERE a.source = $1 AND a.compared_at IS NULL) THEN
        RAISE EXCEPTION '% cannot be attached: %', $1, problem
            USING ERRCODE = 'insufficient_privilege', DETAIL = 'It was changed while it was attached.',
                  HINT = 'Look at what it is now, and try again.';
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_was_compared(text, text) IS
    'Refuses a table that became something else while it was attached. '
    'Internal: attach_business_events() and attach_turns() use it.';

CREATE FUNCTION agent_metrics.attach_business_events(
    source regclass, business_event_id text, occurred_at text, kind text DEFAULT NULL, fixed_kind text DEFAULT NULL,
    conversation_id text DEFAULT NULL, customer_id text DEFAULT NULL, amount_usd text DEFAULT NULL,
    id_prefix text DEFAULT '')
RETURNS agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $function$
#variable_conflict use_variable
DECLARE
    place   agent_metrics_internal.source_place := agent_metrics_internal.place_of(
        source, 'SELECT * FROM agent_metrics.attach_business_events(''crm.tickets'', business_event_id => ''id'', '
                'occurred_at => ''closed_at'', kind => ''status'');');
    result  agent_metrics.source_sync;
    mapping jsonb := jsonb_strip_nulls(jsonb_build_object('business_event_id', business_event_id,
                                                          'occurred_at', occurred_at, 'kind', kind,
                                                          'conversation_id', conversation_id,
                                                          'customer_id', customer_id, 'amount_usd', amount_usd));
BEGIN
    IF business_event_id IS NULL OR occurred_at IS NULL OR (kind IS NULL) = (fixed_kind IS NULL)
       OR id_prefix IS NULL THEN
        RAISE EXCEPTION 'too little is said of how % is to be read', place.name
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A business event needs a key, a time and a kind.',
                  HINT = 'Name the columns in business_event_id and occurred_at, and either a column in kind or one '
                         'kind for all rows in fixed_kind.';
    END IF;
    PERFORM agent_metrics_internal.check_source(
        place, mapping, '{"occurred_at": "time", "amount_usd": "amount", "business_event_id": "key", '
                        '"conversation_id": "key", "customer_id": "key"}', business_event_id);
    INSERT INTO agent_metrics_internal.attached_tables (
        source, columns, fixed_kind, id_prefix, mode, relation, relation_kind, relation_owner, column_types)
    SELECT place.name, mapping, fixed_kind, id_prefix, 'compare', place.relation, place.relation_kind, place.owner,
           agent_metrics_internal.types_of_columns(place.relation, mapping)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM agent_metrics_internal.refuse_attached(place.name);
    END IF;
    result := agent_metrics_internal.compare_source(place.name);
    PERFORM agent_metrics_internal.check_was_compared(place.name, result.problem);
    IF place.relation_kind = 'table' THEN
        UPDATE agent_metrics_internal.attached_tables a SET wants_triggers = true WHERE a.source = place.name;
        BEGIN
            IF agent_metrics_internal.make_source_triggers(place.name) THEN
                result := ROW(result.source, 'trigger', result.inserted, result.updated,
                              result.deleted, result.problem);
            ELSIF NOT has_table_privilege(source, 'TRIGGER') THEN
                RAISE NOTICE 'table % is followed by comparing it', place.name
                    USING DETAIL = 'You may not make triggers on it.', HINT = format(
                        'After GRANT TRIGGER ON %s detach and attach it: its writes are then noted.', place.name);
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            RAISE NOTICE 'table % is followed by comparing it until its triggers are made', place.name
                USING DETAIL = 'It is in use, and its writes are not kept waiting.',
                      HINT = 'The next SELECT agent_metrics.sync_business_events() tries again.';
        END;
    END IF;
    RETURN result;
END
$function$;
COMMENT ON FUNCTION agent_metrics.attach_business_events(regclass, text, text, text, text, text, text, text, text) IS
    'Makes the rows of a table, view or foreign table business events, and follows them. No code of the table''s owner '
    'is run. The arguments name columns of it: the key, the time, the kind (or fixed_kind for all rows), '
    'the conversation, the customer, the amount in US dollars. A row whose kind or time is NULL is no event yet. '
    'id_prefix is put before each key.';

CREATE FUNCTION agent_metrics.detach_business_events(source text, keep_events boolean DEFAULT true) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s'
SET client_min_messages = warning AS $function$
#variable_conflict use_column
DECLARE
    events bigint;
BEGIN
    DELETE FROM agent_metrics_internal.attached_tables a WHERE a.source = $1 AND a.feeds = 'business_events';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not attached', coalesce($1, 'NULL')
            USING ERRCODE = 'undefined_object', DETAIL = 'No row of agent_metrics_internal.attached_tables names it.',
                  HINT = 'SELECT source FROM agent_kpi.attached_tables lists those that are, with their schema.';
    END IF;
    DELETE FROM agent_metrics_internal.attachment_problems p WHERE p.source = $1;
    IF keep_events THEN
        UPDATE agent_metrics.business_events b SET source_table = NULL WHERE b.source_table = $1;
    ELSE
        DELETE FROM agent_metrics.business_events b WHERE b.source_table = $1;
    END IF;
    GET DIAGNOSTICS events = ROW_COUNT;
    DELETE FROM agent_metrics_internal.attached_changes c WHERE c.source = $1;
    IF agent_metrics_internal.kpi_relation($1) IS NOT NULL THEN
        BEGIN
            PERFORM set_config('lock_timeout', '20ms', true);  -- the CRM's statements wait behind ours
            EXECUTE format('DROP TRIGGER IF EXISTS agent_metrics_follow ON %s',
                           agent_metrics_internal.kpi_relation($1)::regclass);
            EXECUTE format('DROP TRIGGER IF EXISTS agent_metrics_follow_truncate ON %s',
                           agent_metrics_internal.kpi_relation($1)::regclass);
        EXCEPTION WHEN insufficient_privilege OR wrong_object_type OR lock_not_available THEN
            NULL;  -- its owner may drop them; they do nothing without the row that went
        END;
    END IF;
    RETURN events;
END
$function$;
COMMENT ON FUNCTION agent_metrics.detach_business_events(text, boolean) IS
    'No longer follows an attached table; its business events stay as they are, or go with keep_events => false. '
    'Returns how many there are.';
