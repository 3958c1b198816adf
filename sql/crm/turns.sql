-- Following attached tables whose rows are turns: their rows are compared with the turns that came from them, all once
-- a day and when they are named, else those from the watermark on. No trigger is made on the table.
--
-- A transaction that is open writes a watermark that others have passed when it commits. So what is read begins at the
-- greatest watermark of an hour ago, and rows that are read again and have not changed change nothing.

-- How a row of a table is delivered: a preset's as the tool writes it, another as an event in our own form.
CREATE FUNCTION agent_metrics_internal.turn_document(names text[], fields text[], kinds text[], fixed jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
    SELECT coalesce(jsonb_object_agg(u.name, CASE WHEN u.kind IN ('json', 'jsonb') THEN u.field::jsonb
                                                  ELSE to_jsonb(u.field) END), '{}') || $4
    FROM unnest($1, $2, $3) AS u (name, field, kind)
    WHERE u.field IS NOT NULL AND u.name NOT IN ('key', 'watermark')
$function$;
COMMENT ON FUNCTION agent_metrics_internal.turn_document(text[], text[], text[], jsonb) IS
    'A row of an attached table as JSON. Internal: follow_turns() uses it.';

-- The greatest of some watermarks. One that lies more than a day ahead is none: a clock that went wrong would have us
-- wait for ever.
CREATE FUNCTION agent_metrics_internal.greatest_mark(marks text[], kind text) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' AS $function$
BEGIN
    RETURN CASE WHEN kind IN ('integer', 'bigint')
                    THEN (SELECT max(m.mark::bigint)::text FROM unnest(marks) AS m (mark))
                ELSE (SELECT max(m.mark::timestamptz)::text FROM unnest(marks) AS m (mark)
                      WHERE m.mark::timestamptz < now() + interval '1 day') END;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.greatest_mark(text[], text) IS
    'The greatest of some watermarks of a type, none that lies in the future. Internal: follow_turns() uses it.';

-- By a hash: how many rows there are is not known to who plans.
CREATE FUNCTION agent_metrics_internal.gone_turns(sender text, relation oid, key text)
RETURNS agent_metrics_internal.turn_claim[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off
AS $function$
BEGIN
    RETURN (SELECT array_agg(ROW(k.span_key, k.agent_id, k.occurred_at, k.event_id, NULL, NULL, NULL)
                                 ::agent_metrics_internal.turn_claim)
            FROM agent_metrics_internal.span_keys k
            WHERE k.sender = $1 AND starts_with(k.sender, 'table ') AND k.event_id = k.span_key
              AND k.call_index IS NULL
              AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.source_rows($2, ARRAY[$3]) AS r (fields)
                              WHERE md5($1 || '/' || r.fields[1])::uuid = k.span_key));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.gone_turns(text, oid, text) IS
    'The turns that came from a table and whose rows are gone. Internal: delete_gone_turns() uses it.';

CREATE FUNCTION agent_metrics_internal.delete_gone_turns(sender text, relation oid, key text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    gone  agent_metrics_internal.turn_claim[] := agent_metrics_internal.gone_turns($1, $2, $3);
    turns bigint;
BEGIN
    DELETE FROM agent_metrics.agent_events e
    USING unnest(gone) k
    WHERE e.agent_id = k.agent_id AND e.occurred_at = k.occurred_at AND e.event_id = k.event_id;
    GET DIAGNOSTICS turns = ROW_COUNT;
    DELETE FROM agent_metrics_internal.span_keys k
    USING unnest(gone) g
    WHERE k.event_id = g.event_id AND k.agent_id = g.agent_id AND k.sender = $1;
    RETURN turns;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.delete_gone_turns(text, oid, text) IS
    'Deletes the turns of a table whose rows are gone: how many. Internal: follow_turns() uses it.';

CREATE FUNCTION agent_metrics_internal.follow_turns(source text, in_full boolean) RETURNS agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    rows_most CONSTANT integer := 1000;
    size_most CONSTANT integer := 2 * 1024 * 1024;
    attached  agent_metrics_internal.attached_tables;
    relid     oid := agent_metrics_internal.kpi_relation($1);
    is_all    boolean;
    wrong     text;
    names     text[];
    columns   text[];
    kinds     text[];
    mark_kind text;
    mark      text;
    marks     text[] := '{}';
    keys      text[] := '{}';
    documents jsonb[] := '{}';
    document  jsonb;
    size      integer := 0;
    one       record;
    taken     record;
    inserted  bigint := 0;
    updated   bigint := 0;
    deleted   bigint := 0;
BEGIN
    SELECT a.* INTO attached FROM agent_metrics_internal.attached_tables a WHERE a.source = $1;
    wrong := agent_metrics_internal.hold_source($1);
    IF wrong IS NOT NULL THEN
        RETURN ROW($1, attached.mode, 0::bigint, 0::bigint, 0::bigint, wrong);
    END IF;
    is_all := in_full OR attached.watermark IS NULL OR attached.read_from IS NULL OR attached.relation <> relid
              OR attached.compared_at IS NULL OR attached.compared_at < now() - interval '1 day';
    IF is_all THEN
        DELETE FROM agent_metrics_internal.attachment_problems p WHERE p.source = $1;
    END IF;
    SELECT array_agg(c.key ORDER BY c.key), array_agg(c.value ORDER BY c.key),
           array_agg(attached.column_types ->> c.value ORDER BY c.key)
    INTO names, columns, kinds
    FROM jsonb_each_text(attached.columns) AS c (key, value);
    mark_kind := attached.column_types ->> attached.watermark;

    -- the last one is none, and closes the last portion
    FOR one IN SELECT r.fields
               FROM agent_metrics_internal.source_rows(
                        relid, columns, attached.watermark,
                        CASE WHEN NOT is_all THEN attached.read_from END) AS r (fields)
               UNION ALL SELECT NULL
    LOOP
        IF one.fields IS NOT NULL THEN
            document := agent_metrics_internal.turn_document(names, one.fields, kinds, attached.fixed);
            marks := marks || one.fields[array_position(names, 'watermark')];
            IF (attached.preset IS NOT NULL OR document ?& ARRAY['agent_id', 'occurred_at', 'conversation_id'])
               -- who asked to be erased does not come back with a row of his
               AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.erasures e
                               WHERE e.user_id IN (document ->> 'user_id', document ->> 'userId', document ->> 'user',
                                                   document ->> 'end_user')) THEN
                keys := keys || one.fields[array_position(names, 'key')];
                documents := documents || document;
                size := size + pg_column_size(document);
            END IF;
        END IF;
        IF one.fields IS NULL OR cardinality(marks) >= rows_most OR size >= size_most THEN
            SELECT i.* INTO taken FROM agent_metrics.ingest_rows($1, keys, documents) i;
            inserted := inserted + taken.inserted;
            updated := updated + taken.updated;
            INSERT INTO agent_metrics_internal.attachment_problems (source, problem, row_key, detail)
            SELECT $1, 'a row cannot be stored as a turn', taken.refused_key, taken.reason
            WHERE taken.reason IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.attachment_problems p
                              WHERE p.source = $1 AND p.row_key = taken.refused_key);
            IF mark_kind IS NOT NULL THEN
                mark := agent_metrics_internal.greatest_mark(marks || mark, mark_kind);
            END IF;
            keys := '{}';
            documents := '{}';
            marks := '{}';
            size := 0;
        END IF;
    END LOOP;
    IF is_all AND attached.delete_gone THEN
        deleted := agent_metrics_internal.delete_gone_turns(
            attached.sender, relid, attached.columns ->> 'key');
    END IF;

    UPDATE agent_metrics_internal.attached_tables a
    SET compared_at = CASE WHEN is_all THEN now() ELSE a.compared_at END, relation = relid,
        read_from = CASE WHEN a.read_next_at IS NULL THEN mark
                         WHEN a.read_next_at < now() - interval '1 hour' THEN a.read_next ELSE a.read_from END,
        read_next = CASE WHEN a.read_next_at IS NULL OR a.read_next_at < now() - interval '1 hour'
                         THEN coalesce(mark, a.read_next) ELSE a.read_next END,
        read_next_at = CASE WHEN mark IS NOT NULL AND (a.read_next_at IS NULL
                                                       OR a.read_next_at < now() - interval '1 hour')
                            THEN now() ELSE a.read_next_at END
    WHERE a.source = $1;
    RETURN ROW($1, attached.mode, inserted, updated, deleted,
               (SELECT string_agg(DISTINCT p.problem, '; ') FROM agent_metrics_internal.attachment_problems p
                WHERE p.source = $1));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.follow_turns(text, boolean) IS
    'Compares an attached table with its turns, all rows or those from the watermark on, and puts these right. '
    'Internal: follow_source_table() and attach_turns() use it.';

CREATE FUNCTION agent_metrics.sync_turns(source text DEFAULT NULL) RETURNS SETOF agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN QUERY SELECT f.* FROM agent_metrics_internal.follow_sources('turns', $1) f;
END
$function$;
COMMENT ON FUNCTION agent_metrics.sync_turns(text) IS
    'Follows attached tables whose rows are turns: what is new or changed from the watermark on; all rows once a day, '
    'and of a table that is named. With the caller''s rights; waits 100 ms for a lock at most. The program calls it '
    'before each refresh.';
