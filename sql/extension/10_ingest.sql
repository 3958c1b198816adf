-- ingest_events: turns by event bus, webhook or collector, whatever their form.
--
-- Everything is first brought into our own form (an object whose keys are columns of agent_events), then stored in one
-- statement. A turn's id comes from the trace and the span, or from the content, so a redelivery changes nothing. What
-- cannot be stored goes to quarantined_events with the reason; the rest is stored all the same. An object with the key
-- evaluation is what a judge said of a turn; those are stored after the turns, which may have come with them.

-- Stores events of our own form. A reason that is given already, or found here, sends an event to quarantine. What only
-- the server can find wrong (a cast, a constraint) fails the statement: then the halves are tried, down to the culprit.
CREATE FUNCTION agent_metrics.store_events(payloads jsonb[], events jsonb[], reasons text[], search boolean DEFAULT false)
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    known CONSTANT text[] := ARRAY['agent_id', 'occurred_at', 'event_id', 'conversation_id', 'user_id', 'intent_classified', 'tools_called',
        'latency_ms', 'token_usage_input', 'token_usage_output', 'cost_usd', 'outcome_label', 'business_event_id', 'turn_index', 'agent_version',
        'model', 'prompt_version', 'token_usage_cache_read', 'token_usage_cache_write', 'is_eval', 'error', 'outcome_source', 'provider', 'response_id', 'tool_spans'];
    good_payloads jsonb[];
    good_events   jsonb[];
    said_payloads jsonb[];
    said_events   jsonb[];
    has_keys      boolean;
    bad_payloads  jsonb[];
    bad_events    jsonb[];
    bad_reasons   text[];
    lows  integer[];  -- spans of good events that are yet to be stored
    highs integer[];
    low   integer;
    high  integer;
    found bigint;
    words text;
    said  record;
    count_stored   bigint := 0;
    count_repeated bigint := 0;
BEGIN
    -- Always in the order of the key, so that two deliveries of the same turns cannot wait for each other.
    SELECT array_agg(x.payload ORDER BY x.agent_id, x.occurred_at, x.event_id, x.position) FILTER (WHERE x.is_turn),
           array_agg(x.event ORDER BY x.agent_id, x.occurred_at, x.event_id, x.position) FILTER (WHERE x.is_turn),
           bool_or(x.payload ? 'resourceSpans' OR x.event ?| ARRAY['response_id', 'tool_spans']) FILTER (WHERE x.is_turn),
           array_agg(x.payload ORDER BY x.position) FILTER (WHERE x.reason IS NULL AND NOT x.is_turn),
           array_agg(x.event ORDER BY x.position) FILTER (WHERE x.reason IS NULL AND NOT x.is_turn),
           array_agg(x.payload) FILTER (WHERE x.reason IS NOT NULL), array_agg(x.event) FILTER (WHERE x.reason IS NOT NULL),
           array_agg(x.reason) FILTER (WHERE x.reason IS NOT NULL)
    INTO good_payloads, good_events, has_keys, said_payloads, said_events, bad_payloads, bad_events, bad_reasons
    FROM (
        SELECT z.*, z.reason IS NULL AND NOT z.event ? 'evaluation' AS is_turn FROM (
        SELECT d.payload, d.event, d.position, d.event ->> 'agent_id' AS agent_id, d.event ->> 'occurred_at' AS occurred_at,
               d.event ->> 'event_id' AS event_id,
               CASE WHEN d.reason IS NOT NULL THEN d.reason
                    WHEN jsonb_typeof(d.event) IS DISTINCT FROM 'object' THEN 'not an object'
                    WHEN d.event ? 'evaluation' THEN NULL
                    WHEN u.key IS NOT NULL THEN format('unknown key "%s"', u.key)
                    WHEN coalesce(btrim(d.event ->> 'agent_id'), '') = '' THEN 'no agent_id'
                    WHEN coalesce(btrim(d.event ->> 'conversation_id'), '') = '' THEN 'no conversation_id'
                    WHEN d.event ->> 'occurred_at' IS NULL THEN 'no occurred_at'
                    WHEN (SELECT sum(CASE WHEN t.part = 'token_usage_input' THEN 1 ELSE -1 END * (d.event ->> t.part)::numeric)
                          FROM unnest(ARRAY['token_usage_input', 'token_usage_cache_read', 'token_usage_cache_write']) AS t (part)
                          WHERE d.event ->> 'token_usage_input' IS NOT NULL AND d.event ->> t.part ~ '^\d{1,18}$') < 0
                    THEN format('more cached tokens than input tokens: input %s, cache read %s, cache write %s', d.event ->> 'token_usage_input',
                                coalesce(d.event ->> 'token_usage_cache_read', '0'), coalesce(d.event ->> 'token_usage_cache_write', '0'))
               END AS reason
        FROM unnest(payloads, events, reasons) WITH ORDINALITY AS d (payload, event, reason, position)
        LEFT JOIN LATERAL (
            SELECT min(k.key) AS key FROM jsonb_object_keys(CASE WHEN jsonb_typeof(d.event) = 'object' THEN d.event ELSE '{}' END) AS k (key)
            WHERE k.key <> ALL (known)) u ON true) z) x;

    IF good_events IS NOT NULL THEN
        lows := ARRAY[1];
        highs := ARRAY[cardinality(good_events)];
    END IF;
    WHILE cardinality(lows) > 0 LOOP
        low := lows[1];
        high := highs[1];
        lows := lows[2:];
        highs := highs[2:];
        BEGIN
            INSERT INTO agent_metrics.agent_events (
                agent_id, occurred_at, event_id, conversation_id, user_id, intent_classified, tools_called, latency_ms, token_usage_input,
                token_usage_output, cost_usd, computed_cost_usd, outcome_label, business_event_id, turn_index, agent_version, provider, model,
                prompt_version, token_usage_cache_read, token_usage_cache_write, is_eval, error, outcome_source)
            SELECT r.agent_id, r.occurred_at, r.event_id, r.conversation_id, r.user_id, r.intent_classified, r.tools_called, r.latency_ms,
                   r.token_usage_input, r.token_usage_output, coalesce(r.cost_usd, c.cost), c.cost, r.outcome_label, r.business_event_id,
                   r.turn_index, r.agent_version, r.provider, r.model, r.prompt_version, r.token_usage_cache_read, r.token_usage_cache_write,
                   coalesce(r.is_eval, false), r.error, coalesce(r.outcome_source, 'agent')
            FROM (SELECT coalesce(r.event_id, md5(e.event::text)::uuid) AS event_id, r.agent_id, r.occurred_at, r.conversation_id, r.user_id,
                         r.intent_classified, r.tools_called, r.latency_ms, r.token_usage_input, r.token_usage_output, r.cost_usd, r.outcome_label,
                         r.business_event_id, r.turn_index, r.agent_version, r.provider, r.model, r.prompt_version, r.token_usage_cache_read,
                         r.token_usage_cache_write, r.is_eval, r.error, r.outcome_source
                  FROM unnest(good_events[low:high]) AS e (event)
                  CROSS JOIN LATERAL jsonb_to_record(e.event) AS r (
                      agent_id text, occurred_at timestamptz, event_id uuid, conversation_id text, user_id text, intent_classified text,
                      tools_called jsonb, latency_ms double precision, token_usage_input bigint, token_usage_output bigint, cost_usd numeric,
                      outcome_label text, business_event_id text, turn_index integer, agent_version text, provider text, model text,
                      prompt_version text, token_usage_cache_read bigint, token_usage_cache_write bigint, is_eval boolean, error text,
                      outcome_source text)) r
            CROSS JOIN LATERAL (
                SELECT CASE WHEN r.cost_usd IS NULL AND r.model IS NOT NULL THEN
                           agent_metrics.turn_cost(r.provider, r.model, r.occurred_at, r.token_usage_input, r.token_usage_output,
                                                   r.token_usage_cache_read, r.token_usage_cache_write) END AS cost OFFSET 0) c
            ORDER BY r.agent_id, r.occurred_at, r.event_id
            ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS found = ROW_COUNT;
            IF has_keys THEN
                PERFORM agent_metrics.store_span_keys(good_payloads[low:high], good_events[low:high]);
            END IF;
            -- only now can nothing fail any more: an error takes back the rows, and no variable
            count_stored := count_stored + found;
            count_repeated := count_repeated + (high - low + 1) - found;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
            IF low = high THEN
                GET STACKED DIAGNOSTICS words = MESSAGE_TEXT;
                bad_payloads := bad_payloads || good_payloads[low];
                bad_events := bad_events || good_events[low];
                bad_reasons := bad_reasons || words;
            ELSE
                lows := ARRAY[low, (low + high) / 2 + 1] || lows;
                highs := ARRAY[(low + high) / 2, high] || highs;
            END IF;
        END;
    END LOOP;

    IF said_events IS NOT NULL THEN
        SELECT e.* INTO said FROM agent_metrics.store_evaluations(said_events, $4) e;
        count_stored := count_stored + said.stored;
        count_repeated := count_repeated + cardinality(said_events) - said.stored - coalesce(cardinality(said.bad), 0);
        SELECT bad_payloads || array_agg(said_payloads[b.position]), bad_events || array_agg(said_events[b.position]), bad_reasons || array_agg(b.reason)
        INTO bad_payloads, bad_events, bad_reasons
        FROM unnest(said.bad, said.reasons) AS b (position, reason);
    END IF;

    INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, event, reason)
    SELECT DISTINCT ON (1) md5(b.payload::text), b.payload, b.event, b.reason
    FROM unnest(bad_payloads, bad_events, bad_reasons) AS b (payload, event, reason)
    ORDER BY 1, b.reason
    ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT count_stored, count_repeated, coalesce(cardinality(bad_reasons), 0)::bigint;
END
$function$;
COMMENT ON FUNCTION agent_metrics.store_events(jsonb[], jsonb[], text[], boolean) IS
    'Stores events and evaluations of our own form, once each; those that cannot be stored, or that come with a reason, go to quarantined_events. Internal: ingest_events() and retry_quarantined() use it.';

-- What was delivered, piece by piece, in our own form.
CREATE FUNCTION agent_metrics.map_events(delivered jsonb) RETURNS TABLE (payload jsonb, event jsonb, reason text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    pieces jsonb := CASE jsonb_typeof(delivered) WHEN 'array' THEN delivered ELSE jsonb_build_array(delivered) END;
BEGIN
    RETURN QUERY
    SELECT p.piece,
           -- a score as Langfuse's API and webhooks have it; an observation is a span
           CASE WHEN jsonb_typeof(p.piece) = 'object' AND p.piece ?& ARRAY['dataType', 'name', 'traceId'] THEN
               jsonb_strip_nulls(jsonb_build_object('evaluation', coalesce(p.piece ->> 'name', ''), 'score', p.piece ->> 'value', 'label', p.piece ->> 'stringValue',
                   'event_id', md5((p.piece ->> 'traceId') || '/' || (p.piece ->> 'observationId'))::uuid, 'judged_at', p.piece ->> 'timestamp',
                   'judged_by', lower(p.piece ->> 'source')))
           ELSE p.piece END, NULL::text
    FROM jsonb_array_elements(pieces) AS p (piece)
    WHERE jsonb_typeof(p.piece) <> 'object' OR NOT p.piece ?| ARRAY['resourceSpans', 'resourceLogs'];
    IF jsonb_path_exists(pieces, '$[*] ? (exists (@.resourceSpans) || exists (@.resourceLogs))') THEN
        RETURN QUERY SELECT s.payload, s.event, s.reason FROM agent_metrics.map_spans(pieces) s;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.map_events(jsonb) IS
    'What ingest_events() makes of a delivery, without storing it: each piece, the event in our own form, and why it cannot be mapped, if it cannot.';

-- The argument has no name, so that PostgREST hands the body of a request on as it is.
CREATE FUNCTION agent_metrics.ingest_events(jsonb) RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    -- Mapping takes up to a hundred times the size of what is delivered: this much is 2 GB.
    most  constant bigint := 16 * 1024 * 1024;
    size  bigint := pg_column_size($1);
    again bigint;
BEGIN
    IF $1 IS NULL THEN
        RETURN QUERY SELECT 0::bigint, 0::bigint, 0::bigint;
        RETURN;
    END IF;
    IF jsonb_typeof($1) NOT IN ('object', 'array') THEN
        RAISE EXCEPTION 'a JSON % is no event', jsonb_typeof($1)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'An event is an object whose keys are columns of agent_events, or OTLP with resourceSpans; an array holds several.',
                  HINT = 'SELECT * FROM agent_metrics.ingest_events(''{"agent_id": "support-bot", "occurred_at": "2026-01-01T10:00:00Z", "conversation_id": "c-1"}'');';
    END IF;
    -- What comes from a table may be compressed a hundredfold.
    IF pg_column_compression($1) IS NOT NULL THEN
        size := pg_column_size(jsonb_build_array($1));
    END IF;
    IF size > most THEN
        RAISE EXCEPTION 'a delivery of % MB', size / 1024 / 1024
            USING ERRCODE = 'program_limit_exceeded',
                  DETAIL = format('One call takes %s MB at most. Nothing was stored.', most / 1024 / 1024),
                  HINT = 'Send fewer events a call; leave prompts and answers out of spans, they are not stored anyway.';
    END IF;
    -- Each span is read with the attributes of its resource.
    SELECT sum(pg_column_size(r.resource -> 'resource')::bigint * jsonb_array_length(jsonb_path_query_array(r.resource, 'lax $.scopeSpans[*].spans[*]')))
    INTO again
    FROM jsonb_path_query($1, 'lax $[*].resourceSpans[*]') AS r (resource);
    IF again > 16 * most THEN
        RAISE EXCEPTION 'a delivery whose resources come to % MB over its spans', again / 1024 / 1024
            USING ERRCODE = 'program_limit_exceeded',
                  DETAIL = format('The attributes of a resource hold for each of its spans; together they may take %s MB. Nothing was stored.', 16 * most / 1024 / 1024),
                  HINT = 'Send fewer spans a call, or leave large attributes out of the resource.';
    END IF;
    RETURN QUERY
    SELECT s.stored, s.repeated, s.quarantined
    FROM (SELECT array_agg(m.payload) AS payloads, array_agg(m.event) AS events, array_agg(m.reason) AS reasons FROM agent_metrics.map_events($1) m) x
    CROSS JOIN LATERAL agent_metrics.store_events(x.payloads, x.events, x.reasons) s;
END
$function$;
COMMENT ON FUNCTION agent_metrics.ingest_events(jsonb) IS
    'Stores turns and what judges said of them: an event in our own form (its keys are columns of agent_events, or evaluation, score and the turn), OTLP JSON with GenAI, OpenInference or Langfuse attributes, scores of Langfuse, or an array of these. Returns how many were stored, were there already, and went to quarantined_events. NULL is no event.';

-- In portions, for mapping takes many times the size of what is mapped and a quarantine may have grown for months: the
-- spans of a trace together, since a tool belongs to a turn, and evaluations last, after the turns that they are about.
CREATE FUNCTION agent_metrics.retry_quarantined(reason text DEFAULT NULL) RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    most    constant bigint := 4 * 1024 * 1024;
    portion text[];
    found   record;
BEGIN
    stored := 0;
    repeated := 0;
    quarantined := 0;
    FOR portion IN
        SELECT array_agg(p.quarantine_id)
        FROM (SELECT q.quarantine_id, sum(q.size) OVER (ORDER BY q.is_late, q.trace_id, q.quarantine_id) / most AS place
              FROM (SELECT l.quarantine_id, coalesce(l.event ? 'evaluation', l.payload ? 'resourceLogs') AS is_late,
                           l.payload #>> '{resourceSpans,0,scopeSpans,0,spans,0,traceId}' AS trace_id,
                           -- as large as it is unpacked
                           pg_column_size(jsonb_build_array(l.payload))::bigint AS size
                    FROM agent_metrics.quarantined_events l WHERE $1 IS NULL OR l.reason LIKE $1) q) p
        GROUP BY floor(p.place) ORDER BY floor(p.place)
    LOOP
        WITH taken AS MATERIALIZED (
            DELETE FROM agent_metrics.quarantined_events q
            WHERE q.quarantine_id IN (SELECT l.quarantine_id FROM agent_metrics.quarantined_events l
                                      WHERE l.quarantine_id = ANY (portion) FOR UPDATE SKIP LOCKED)
            RETURNING q.payload, q.event
        ), mapped AS (
            SELECT t.payload, t.event, NULL::text AS reason FROM taken t WHERE t.event IS NOT NULL
            UNION ALL
            SELECT m.payload, m.event, m.reason
            FROM (SELECT jsonb_agg(t.payload) AS payloads FROM taken t WHERE t.event IS NULL) x
            CROSS JOIN LATERAL agent_metrics.map_events(x.payloads) m
            WHERE x.payloads IS NOT NULL
        )
        SELECT s.stored, s.repeated, s.quarantined INTO found
        FROM (SELECT array_agg(m.payload) AS payloads, array_agg(m.event) AS events, array_agg(m.reason) AS reasons FROM mapped m) x
        CROSS JOIN LATERAL agent_metrics.store_events(x.payloads, x.events, x.reasons, true) s;
        stored := stored + coalesce(found.stored, 0);
        repeated := repeated + coalesce(found.repeated, 0);
        quarantined := quarantined + coalesce(found.quarantined, 0);
    END LOOP;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics.retry_quarantined(text) IS
    'Tries again to store what is in quarantine, or that part of it whose reason is LIKE the given one. What fails again stays there.';
