-- Text that ought to be JSON: what is good is stored, what is not is kept apart with its place.

CREATE FUNCTION agent_metrics_internal.redacted(document text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.redacted(text) IS
    'A text that is nearly JSON, without messages and without strings of more than 64 bytes, of which it has the '
    'length, and 8 kB at most. Internal: what is no JSON goes to quarantine like this.';

-- The text comes without messages already: redacted() makes it so, or the program, which has the same code.
CREATE FUNCTION agent_metrics_internal.quarantine_text(redacted text, place text, bytes bigint, reason text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    payload CONSTANT jsonb := jsonb_build_object('text', $1, 'place', $2, 'bytes', $3);
    added   bigint;
BEGIN
    INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, reason)
    VALUES (md5(payload::text), payload, left('no JSON: ' || $4, 1000))
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.quarantine_text(text, text, bigint, text) IS
    'Keeps a text that is no JSON, without messages, with its place and length; once. Internal: ingest_text() and '
    'agent-metrics ingest use it.';

-- A list of documents in one call, and one by one when the whole of it fails: so one that is too large or impossible
-- stands in nobody's way. What fails goes to quarantine with the place of its own.
CREATE FUNCTION agent_metrics_internal.ingest_documents(documents jsonb[], places text[])
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    words text;
    part  record;
BEGIN
    stored := 0;
    repeated := 0;
    quarantined := 0;
    waiting := 0;
    IF cardinality(documents) = 0 THEN
        RETURN NEXT;
        RETURN;
    END IF;
    BEGIN
        SELECT i.* INTO part
        FROM agent_metrics.ingest_events(CASE cardinality(documents) WHEN 1 THEN documents[1]
                                              ELSE (SELECT jsonb_agg(p.piece ORDER BY d.place, p.place)
                                                    FROM unnest(documents) WITH ORDINALITY AS d (document, place)
                                                    CROSS JOIN LATERAL jsonb_array_elements(
                                                        CASE jsonb_typeof(d.document)
                                                             WHEN 'array' THEN d.document
                                                             ELSE jsonb_build_array(d.document) END)
                                                        WITH ORDINALITY AS p (piece, place)) END) i;
        stored := part.stored;
        repeated := part.repeated;
        quarantined := part.quarantined;
        waiting := part.waiting;
        RETURN NEXT;
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        words := SQLERRM;
    END;
    IF cardinality(documents) = 1 THEN
        PERFORM agent_metrics_internal.quarantine_text(
            agent_metrics_internal.redacted(left(documents[1]::text, 100000)), places[1],
            length(documents[1]::text), words);
        quarantined := 1;
        RETURN NEXT;
        RETURN;
    END IF;
    FOR place IN 1 .. cardinality(documents) LOOP
        SELECT i.* INTO part
        FROM agent_metrics_internal.ingest_documents(documents[place:place], places[place:place]) i;
        stored := stored + part.stored;
        repeated := repeated + part.repeated;
        quarantined := quarantined + part.quarantined;
        waiting := waiting + part.waiting;
    END LOOP;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.ingest_documents(jsonb[], text[]) IS
    'Stores documents together, and one by one when that fails; one that cannot be taken at all goes to quarantine '
    'with its place. Internal: ingest_text() and agent-metrics ingest use it.';

-- Lines of JSON, in portions of what one call of ingest_events() takes.
CREATE FUNCTION agent_metrics_internal.ingest_lines(lines text[], places text[])
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    portion   CONSTANT bigint := 4 * 1024 * 1024;
    document  jsonb;
    words     text;
    documents jsonb[] := '{}';
    origins   text[] := '{}';
    size      bigint := 0;
    line      record;
    part      record;
BEGIN
    stored := 0;
    repeated := 0;
    quarantined := 0;
    waiting := 0;
    -- the last one is none, and closes the last portion
    FOR line IN SELECT l.text, l.place FROM unnest(lines, places) AS l (text, place)
                WHERE btrim(l.text, E' \t\r') <> ''
                UNION ALL SELECT NULL, NULL
    LOOP
        words := NULL;
        document := NULL;
        BEGIN
            document := line.text::jsonb;
            IF jsonb_typeof(document) NOT IN ('object', 'array') THEN
                RAISE invalid_parameter_value USING MESSAGE = format('a JSON %s is no event', jsonb_typeof(document));
            END IF;
        EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
            words := SQLERRM;
        END;
        IF words IS NOT NULL THEN
            PERFORM agent_metrics_internal.quarantine_text(agent_metrics_internal.redacted(line.text), line.place,
                                                           octet_length(line.text), words);
            quarantined := quarantined + 1;
        ELSIF document IS NOT NULL THEN
            documents := documents || document;
            origins := origins || line.place;
            size := size + octet_length(line.text);
        END IF;
        IF size >= portion OR line.text IS NULL THEN
            SELECT i.* INTO part FROM agent_metrics_internal.ingest_documents(documents, origins) i;
            stored := stored + part.stored;
            repeated := repeated + part.repeated;
            quarantined := quarantined + part.quarantined;
            waiting := waiting + part.waiting;
            documents := '{}';
            origins := '{}';
            size := 0;
        END IF;
    END LOOP;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.ingest_lines(text[], text[]) IS
    'Stores lines of JSON; each that is none goes to quarantine without messages, with its place. Internal: '
    'ingest_text() and agent-metrics ingest use it.';

CREATE FUNCTION agent_metrics.ingest_text(text)
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    document jsonb;
BEGIN
    BEGIN
        -- one document, on however many lines
        document := $1::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
        RETURN QUERY
        SELECT i.*
        FROM (SELECT array_agg(l.line ORDER BY l.number) AS lines,
                     array_agg(format('text:%s', l.number) ORDER BY l.number) AS places
              FROM string_to_table($1, E'\n') WITH ORDINALITY AS l (line, number)) t
        CROSS JOIN LATERAL agent_metrics_internal.ingest_lines(t.lines, t.places) i;
        RETURN;
    END;
    RETURN QUERY SELECT i.* FROM agent_metrics_internal.ingest_lines(ARRAY[$1], ARRAY['text:1']) i;
END
$function$;
COMMENT ON FUNCTION agent_metrics.ingest_text(text) IS
    'Stores what ingest_events() takes, given as text: JSON lines, or one document on however many lines. A line that '
    'is no JSON goes to quarantined_events without messages, with its place, and the others are stored.';
