-- ingest_events: turns by event bus, webhook or collector, whatever their form.
--
-- A delivery is first taken apart (map_delivery). Its spans are kept with their traces (reconcile.sql); events in our
-- own form (an object whose keys are columns of agent_events) are stored in one statement. A turn's id comes from the
-- trace and the span, or from the content, so a redelivery changes nothing. What cannot be stored goes to
-- quarantined_events with the reason; the rest is stored all the same. An object with the key evaluation is what a
-- judge said of a turn; those are stored after the turns, which may have come with them.

-- Turns of our own form, so many in one statement. What only the server can find wrong (a cast, a constraint) fails the
-- statement: then its turns are tried again in eighths, and few one by one. So a turn that is refused costs some
-- statements over lists that grow shorter, and a delivery that is nothing else about as many
-- statements as it has turns.
CREATE FUNCTION agent_metrics_internal.store_turns(payloads jsonb[], events jsonb[], has_keys boolean, size integer)
RETURNS TABLE (stored bigint, bad integer[], reasons text[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    low   integer := 1;
    high  integer;
    found bigint;
    words text;
    part  record;
BEGIN
    stored := 0;
    WHILE low <= cardinality(events) LOOP
        high := least(low + size - 1, cardinality(events));
        BEGIN
            INSERT INTO agent_metrics.agent_events (
                agent_id, occurred_at, event_id, conversation_id, user_id, intent_classified, tools_called, latency_ms,
                token_usage_input, token_usage_output, cost_usd, computed_cost_usd, outcome_label, business_event_id,
                turn_index, agent_version, provider, model, prompt_version, token_usage_cache_read,
                token_usage_cache_write, is_eval, error, outcome_source, usage_details, service_tier, attributes)
            SELECT r.agent_id, r.occurred_at, r.event_id, r.conversation_id, r.user_id, r.intent_classified,
                   r.tools_called, r.latency_ms, r.token_usage_input, r.token_usage_output,
                   coalesce(r.cost_usd, c.cost), c.cost, r.outcome_label, r.business_event_id, r.turn_index,
                   r.agent_version, r.provider, r.model, r.prompt_version, r.token_usage_cache_read,
                   r.token_usage_cache_write, coalesce(r.is_eval, false), r.error, coalesce(r.outcome_source, 'agent'),
                   r.usage_details, r.service_tier, r.attributes
            FROM (SELECT coalesce(r.event_id, md5(e.event::text)::uuid) AS event_id, r.agent_id, r.occurred_at,
                         r.conversation_id, r.user_id, r.intent_classified, r.tools_called, r.latency_ms,
                         r.token_usage_input, r.token_usage_output, r.cost_usd, r.outcome_label, r.business_event_id,
                         r.turn_index, r.agent_version, r.provider, r.model, r.prompt_version, r.token_usage_cache_read,
                         r.token_usage_cache_write, r.is_eval, r.error, r.outcome_source, r.usage_details,
                         r.service_tier, r.attributes
                  FROM unnest(events[low:high]) AS e (event)
                  CROSS JOIN LATERAL jsonb_to_record(e.event) AS r (
                      agent_id text, occurred_at timestamptz, event_id uuid, conversation_id text, user_id text,
                      intent_classified text, tools_called jsonb, latency_ms double precision, token_usage_input bigint,
                      token_usage_output bigint, cost_usd numeric, outcome_label text, business_event_id text,
                      turn_index integer, agent_version text, provider text, model text, prompt_version text,
                      token_usage_cache_read bigint, token_usage_cache_write bigint, is_eval boolean, error text,
                      outcome_source text, usage_details jsonb, service_tier text, attributes jsonb)) r
            CROSS JOIN LATERAL (
                SELECT CASE WHEN r.cost_usd IS NULL AND r.model IS NOT NULL THEN
                           agent_metrics.turn_cost(r.provider, r.model, r.occurred_at, r.token_usage_input,
                                                   r.token_usage_output, r.token_usage_cache_read,
                                                   r.token_usage_cache_write, r.usage_details,
                                                   r.service_tier) END AS cost
                OFFSET 0) c
            ORDER BY r.agent_id, r.occurred_at, r.event_id
            ON CONFLICT DO NOTHING;
            GET DIAGNOSTICS found = ROW_COUNT;
            IF has_keys THEN
                PERFORM agent_metrics_internal.store_span_keys(payloads[low:high], events[low:high]);
            END IF;
            words := NULL;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
            words := left(SQLERRM, 1000);
        END;
        IF words IS NULL THEN
            stored := stored + found;
        ELSIF low = high THEN
            bad := bad || low;
            reasons := reasons || words;
        ELSE
            SELECT t.* INTO part
            FROM agent_metrics_internal.store_turns(payloads[low:high], events[low:high], has_keys,
                                                    CASE WHEN high - low < 64 THEN 1 ELSE (high - low) / 8 + 1 END) t;
            stored := stored + part.stored;
            bad := bad || ARRAY(SELECT b.place + low - 1 FROM unnest(part.bad) AS b (place));
            reasons := reasons || part.reasons;
        END IF;
        low := high + 1;
    END LOOP;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_turns(jsonb[], jsonb[], boolean, integer) IS
    'Stores turns of our own form, so many a statement: how many were new, and which cannot be stored and why. '
    'Internal: store_events() uses it.';

-- Stores events of our own form. A reason that is given already, or found here, sends an event to quarantine.
CREATE FUNCTION agent_metrics_internal.store_events(
    payloads jsonb[], events jsonb[], reasons text[], search boolean DEFAULT false)
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    known CONSTANT text[] := ARRAY['agent_id', 'occurred_at', 'event_id', 'conversation_id', 'user_id',
        'intent_classified', 'tools_called', 'latency_ms', 'token_usage_input', 'token_usage_output', 'cost_usd',
        'outcome_label', 'business_event_id', 'turn_index', 'agent_version', 'model', 'prompt_version',
        'token_usage_cache_read', 'token_usage_cache_write', 'is_eval', 'error', 'outcome_source', 'provider',
        'response_id', 'tool_spans', 'usage_details', 'service_tier', 'attributes'];
    good_payloads jsonb[];
    good_events   jsonb[];
    said_payloads jsonb[];
    said_events   jsonb[];
    has_keys      boolean;
    bad_payloads  jsonb[];
    bad_events    jsonb[];
    bad_reasons   text[];
    said  record;
    count_stored   bigint := 0;
    count_repeated bigint := 0;
BEGIN
    -- Always in the order of the key, so that two deliveries of the same turns cannot wait for each other.
    SELECT array_agg(x.payload ORDER BY x.agent_id, x.occurred_at, x.event_id, x.position) FILTER (WHERE x.is_turn),
           array_agg(x.event ORDER BY x.agent_id, x.occurred_at, x.event_id, x.position) FILTER (WHERE x.is_turn),
           bool_or(x.event ?| ARRAY['response_id', 'tool_spans'])
               FILTER (WHERE x.is_turn),
           array_agg(x.payload ORDER BY x.position) FILTER (WHERE x.reason IS NULL AND NOT x.is_turn),
           array_agg(x.event ORDER BY x.position) FILTER (WHERE x.reason IS NULL AND NOT x.is_turn),
           array_agg(x.payload) FILTER (WHERE x.reason IS NOT NULL),
           array_agg(x.event) FILTER (WHERE x.reason IS NOT NULL),
           array_agg(x.reason) FILTER (WHERE x.reason IS NOT NULL)
    INTO good_payloads, good_events, has_keys, said_payloads, said_events, bad_payloads, bad_events, bad_reasons
    FROM (
        SELECT z.*, z.reason IS NULL AND NOT z.event ? 'evaluation' AS is_turn FROM (
        SELECT d.payload, d.event, d.position, d.event ->> 'agent_id' AS agent_id,
               d.event ->> 'occurred_at' AS occurred_at, d.event ->> 'event_id' AS event_id,
               CASE WHEN d.reason IS NOT NULL THEN d.reason
                    WHEN jsonb_typeof(d.event) IS DISTINCT FROM 'object' THEN 'not an object'
                    WHEN d.event ? 'evaluation' THEN NULL
                    WHEN u.key IS NOT NULL THEN format('unknown key "%s"', left(u.key, 200))
                    WHEN coalesce(btrim(d.event ->> 'agent_id'), '') = '' THEN 'no agent_id'
                    WHEN coalesce(btrim(d.event ->> 'conversation_id'), '') = '' THEN 'no conversation_id'
                    WHEN d.event ->> 'occurred_at' IS NULL THEN 'no occurred_at'
                    WHEN (SELECT sum(
                              CASE WHEN t.part = 'token_usage_input' THEN 1 ELSE -1 END * (d.event ->> t.part)::numeric)
                          FROM unnest(ARRAY['token_usage_input', 'token_usage_cache_read',
                                            'token_usage_cache_write']) AS t (part)
                          WHERE d.event ->> 'token_usage_input' IS NOT NULL AND d.event ->> t.part ~ '^\d{1,18}$') < 0
                    THEN format('more cached tokens than input tokens: input %s, cache read %s, cache write %s',
                                d.event ->> 'token_usage_input', coalesce(d.event ->> 'token_usage_cache_read', '0'),
                                coalesce(d.event ->> 'token_usage_cache_write', '0'))
               END AS reason
        FROM unnest(payloads, events, reasons) WITH ORDINALITY AS d (payload, event, reason, position)
        LEFT JOIN LATERAL (
            SELECT min(k.key) AS key
            FROM jsonb_object_keys(CASE WHEN jsonb_typeof(d.event) = 'object' THEN d.event ELSE '{}' END) AS k (key)
            WHERE k.key <> ALL (known)) u ON true) z) x;

    IF good_events IS NOT NULL THEN
        SELECT t.* INTO said
        FROM agent_metrics_internal.store_turns(good_payloads, good_events, has_keys, cardinality(good_events)) t;
        count_stored := said.stored;
        count_repeated := cardinality(good_events) - said.stored - coalesce(cardinality(said.bad), 0);
        SELECT bad_payloads || array_agg(g.payload ORDER BY b.place), bad_events || array_agg(g.event ORDER BY b.place),
               bad_reasons || array_agg(b.reason ORDER BY b.place)
        INTO bad_payloads, bad_events, bad_reasons
        FROM unnest(said.bad, said.reasons) AS b (place, reason)
        JOIN unnest(good_payloads, good_events) WITH ORDINALITY AS g (payload, event, place) ON g.place = b.place;
    END IF;

    IF said_events IS NOT NULL THEN
        SELECT e.* INTO said FROM agent_metrics_internal.store_evaluations(said_events, $4) e;
        count_stored := count_stored + said.stored;
        count_repeated := count_repeated + cardinality(said_events) - said.stored - coalesce(cardinality(said.bad), 0);
        SELECT bad_payloads || array_agg(g.payload ORDER BY b.place), bad_events || array_agg(g.event ORDER BY b.place),
               bad_reasons || array_agg(b.reason ORDER BY b.place)
        INTO bad_payloads, bad_events, bad_reasons
        FROM unnest(said.bad, said.reasons) AS b (place, reason)
        JOIN unnest(said_payloads, said_events) WITH ORDINALITY AS g (payload, event, place) ON g.place = b.place;
    END IF;

    INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, event, reason)
    SELECT DISTINCT ON (1) md5(b.payload::text), b.payload, b.event, left(b.reason, 1000)
    FROM unnest(bad_payloads, bad_events, bad_reasons) AS b (payload, event, reason)
    ORDER BY 1, b.reason
    ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT count_stored, count_repeated, coalesce(cardinality(bad_reasons), 0)::bigint;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_events(jsonb[], jsonb[], text[], boolean) IS
    'Stores events and evaluations of our own form, once each; those that cannot be stored, or that come with a '
    'reason, go to quarantined_events. Internal: ingest_events() and retry_quarantined() use it.';

-- A reason may quote what was refused, and is for those who may read that. This is what everybody may read of it: words
-- of ours alone, whatever the reason says and whoever wrote it.
CREATE FUNCTION agent_metrics_internal.reason_class(reason text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN reason = ANY (ARRAY[
        'not an object', 'no agent_id', 'no conversation_id', 'no occurred_at', 'an evaluation without a name',
        'a span without traceId or spanId', 'the name of an evaluation has more than 200 characters',
        'metrics are not taken: send traces or logs, whose turns the metrics only sum up']) THEN reason
    WHEN reason LIKE 'no JSON: %' THEN 'a line that is no JSON'
    WHEN reason LIKE '% is no list' THEN 'a part of OTLP is no list'
    WHEN reason LIKE 'unknown key "%' THEN 'unknown key'
    WHEN reason LIKE 'more cached tokens than input tokens%' THEN 'more cached tokens than input tokens'
    WHEN reason LIKE '% levels of JSON%' OR reason LIKE '% is nested deeper than % levels'
        THEN 'too many levels of JSON'
    WHEN reason LIKE '% of tokens is "%' THEN 'a count of tokens is no whole number'
    WHEN reason LIKE 'no moment: %milliseconds%' THEN 'no moment: milliseconds in a field of nanoseconds'
    WHEN reason LIKE 'no moment: %' THEN 'no moment: startTimeUnixNano is missing, 0, no number or before 2000'
    WHEN reason LIKE 'agent "%" is none of those %' THEN 'an agent that this sender may not write'
    WHEN reason LIKE '% is longer than % bytes' THEN split_part(reason, ' ', 1) || ' is too long'
    WHEN reason LIKE 'evaluation "%" of a turn that is not here' THEN 'an evaluation of a turn that is not here'
    WHEN reason LIKE 'evaluation "%" names no turn' THEN 'an evaluation that names no turn'
    WHEN reason LIKE 'evaluation "%" names a response that % turns have'
        THEN 'an evaluation that names a response of several turns'
    WHEN reason LIKE 'evaluation "%" has neither score nor label' THEN 'an evaluation with neither score nor label'
    WHEN reason LIKE 'evaluation "%" failed: %' THEN 'an evaluation that failed'
    WHEN reason LIKE 'evaluation "%" of a tool call: %'
        THEN 'an evaluation of a tool call: tool_call_accuracy alone is kept of one'
    WHEN reason LIKE 'evaluation "%' THEN 'an evaluation that cannot be stored'
    WHEN reason LIKE 'label "%' THEN 'a label of an evaluation says neither yes nor no'
    WHEN reason LIKE 'score % of a tool call is %' THEN 'the score of a tool call is neither right (1) nor wrong (0)'
    WHEN reason LIKE 'score "%" is no number' THEN 'the score of an evaluation is no number'
    WHEN reason LIKE 'score %' THEN 'the score of an evaluation does not lie between 0 and 1'
    -- what a trigger of ours says begins with the column
    WHEN split_part(reason, ' ', 1) = ANY (ARRAY[
        'agent_id', 'occurred_at', 'event_id', 'conversation_id', 'user_id', 'intent_classified', 'tools_called',
        'latency_ms', 'token_usage_input', 'token_usage_output', 'token_usage_cache_read', 'token_usage_cache_write',
        'cost_usd', 'computed_cost_usd', 'outcome_label', 'business_event_id', 'turn_index', 'agent_version',
        'provider', 'model', 'prompt_version', 'error', 'outcome_source', 'is_eval', 'payload', 'event', 'criterion',
        'scored_by', 'judged_by', 'scored_at', 'judged_at', 'tool', 'response_id'])
        THEN split_part(reason, ' ', 1) || CASE WHEN reason LIKE '% bytes long' THEN ' is too long'
                                                WHEN reason LIKE '% cannot be a moment %' OR reason LIKE '%infinity'
                                                    THEN ' is out of time'
                                                ELSE ' cannot be what it is' END
    WHEN reason LIKE 'invalid input syntax for type timestamp%' OR reason LIKE 'date/time field value out of range%'
        THEN 'a text is no timestamp'
    WHEN reason LIKE 'invalid input syntax for type uuid%' THEN 'a text is no uuid'
    WHEN reason LIKE 'invalid input syntax for type %' THEN 'a text is no number, or not true or false'
    WHEN reason LIKE '% is out of range%' OR reason LIKE '%overflow%' THEN 'a number is out of range'
    ELSE 'the server refused a value' END;
COMMENT ON FUNCTION agent_metrics_internal.reason_class(text) IS
    'A reason of quarantined_events in words that quote nothing of what was refused. '
    'Internal: agent_kpi.quarantine shows it, retry_quarantined() takes it.';

-- Pieces of a delivery. A sender of NULL is the role that calls.
CREATE FUNCTION agent_metrics_internal.store_pieces(
    pieces agent_metrics_internal.delivered_piece[], sender text, agents text[], search boolean)
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    spans  record;
    events record;
BEGIN
    IF sender IS NULL THEN
        SELECT i.* INTO spans FROM agent_metrics_internal.intake_spans(pieces) i;
    ELSE
        SELECT i.* INTO spans FROM agent_metrics_internal.take_spans(sender, agents, pieces) i;
    END IF;
    SELECT coalesce(sum(e.stored), 0) AS stored, coalesce(sum(e.repeated), 0) AS repeated,
           coalesce(sum(e.quarantined), 0) AS quarantined
    INTO events
    FROM (SELECT array_agg(x.payload) AS payloads, array_agg(x.event) AS events, array_agg(x.reason) AS reasons
          FROM (SELECT p.payload::jsonb AS payload, p.event::jsonb AS event,
                       coalesce(p.reason, CASE WHEN p.event::jsonb ->> 'agent_id' <> ALL (agents)
                                               THEN format('agent "%s" is none of those that this sender may write',
                                                           p.event::jsonb ->> 'agent_id') END) AS reason
                FROM unnest(pieces) p WHERE p.trace_id IS NULL) x
          HAVING count(*) > 0) d
    CROSS JOIN LATERAL agent_metrics_internal.store_events(d.payloads, d.events, d.reasons, search) e;
    RETURN QUERY SELECT spans.stored + events.stored::bigint, spans.repeated + events.repeated::bigint,
                        events.quarantined::bigint, spans.waiting::bigint;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_pieces(
    agent_metrics_internal.delivered_piece[], text, text[], boolean) IS
    'Stores what map_delivery() made of a delivery. Internal: ingest() and retry_quarantined() use it.';

CREATE FUNCTION agent_metrics_internal.ingest(delivered jsonb, sender text, agents text[])
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    -- Mapping takes some ten times the size of what is delivered.
    most constant bigint := 16 * 1024 * 1024;
    -- as it is unpacked: what comes from a table may be compressed a hundredfold
    size bigint := agent_metrics_internal.json_size(delivered);
BEGIN
    IF delivered IS NULL THEN
        RETURN QUERY SELECT 0::bigint, 0::bigint, 0::bigint, 0::bigint;
        RETURN;
    END IF;
    IF jsonb_typeof(delivered) NOT IN ('object', 'array') THEN
        RAISE EXCEPTION 'a JSON % is no event', jsonb_typeof(delivered)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'An event is an object whose keys are columns of agent_events, or OTLP with resourceSpans; '
                           'an array holds several.',
                  HINT = 'SELECT * FROM agent_metrics.ingest_events(''{"agent_id": "support-bot", "occurred_at": '
                         '"2026-01-01T10:00:00Z", "conversation_id": "c-1"}'');';
    END IF;
    IF size > most THEN
        RAISE EXCEPTION 'a delivery of % MB', size / 1024 / 1024
            USING ERRCODE = 'program_limit_exceeded',
                  DETAIL = format('One call takes %s MB at most. Nothing was stored.', most / 1024 / 1024),
                  HINT = 'Send fewer events a call; leave prompts and answers out of spans, '
                         'they are not stored anyway.';
    END IF;
    RETURN QUERY
    SELECT s.stored, s.repeated, s.quarantined, s.waiting
    FROM agent_metrics_internal.intake_words() w
    CROSS JOIN LATERAL agent_metrics_internal.store_pieces(
        agent_metrics_internal.map_delivery(delivered::text, w.vocabulary, w.kept), sender, agents, false) s;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.ingest(jsonb, text, text[]) IS
    'What ingest_events() does, for a sender: NULL is the role that calls; agents that it may write, NULL: any. '
    'Internal: only the owner may call it with a sender.';

-- The argument has no name, so that PostgREST hands the body of a request on as it is.
CREATE FUNCTION agent_metrics.ingest_events(jsonb)
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT i.stored, i.repeated, i.quarantined, i.waiting
                 FROM agent_metrics_internal.ingest($1, NULL, NULL) i;
END
$function$;
COMMENT ON FUNCTION agent_metrics.ingest_events(jsonb) IS
    'Stores turns and what judges said of them: an event in our own form (its keys are columns of agent_events, '
    'or evaluation, score and the turn), OTLP JSON of traces or logs in any convention that span_vocabulary knows, '
    'exports of Langfuse and LangSmith, rows of LiteLLM''s log, or an array of these. Returns how many turns and '
    'judgements are new or changed, were there already, went to quarantined_events, and how many turns wait for more '
    'of their trace (agent_kpi.incomplete_traces). NULL is no event.';

-- In portions, for mapping takes many times the size of what is mapped and a quarantine may have grown for months: the
-- spans of a trace together, since a tool belongs to a turn, and evaluations last, after the turns that they are about.
CREATE FUNCTION agent_metrics.retry_quarantined(reason text DEFAULT NULL)
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
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
    waiting := 0;
    FOR portion IN
        SELECT array_agg(p.quarantine_id)
        FROM (SELECT q.quarantine_id, sum(q.size) OVER (ORDER BY q.is_late, q.trace_id, q.quarantine_id) / most AS place
              FROM (SELECT l.quarantine_id, coalesce(l.event ? 'evaluation', l.payload ? 'resourceLogs') AS is_late,
                           l.payload #>> '{resourceSpans,0,scopeSpans,0,spans,0,traceId}' AS trace_id,
                           -- as large as it is unpacked
                           agent_metrics_internal.json_size(l.payload) AS size
                    FROM agent_metrics.quarantined_events l
                    -- a line that is no JSON stays none until somebody writes the event
                    WHERE NOT (l.event IS NULL AND l.payload ?& ARRAY['text', 'place', 'bytes'])
                      AND ($1 IS NULL OR l.reason LIKE $1
                           OR agent_metrics_internal.reason_class(l.reason) LIKE $1)) q) p
        GROUP BY floor(p.place) ORDER BY floor(p.place)
    LOOP
        WITH released_event AS MATERIALIZED (
            DELETE FROM agent_metrics.quarantined_events q
            WHERE q.quarantine_id IN (SELECT l.quarantine_id FROM agent_metrics.quarantined_events l
                                      WHERE l.quarantine_id = ANY (portion) FOR UPDATE SKIP LOCKED)
            RETURNING q.payload, q.event
        ), mapped AS (
            SELECT ROW(NULL, NULL, NULL, NULL, r.payload::text, r.event::text, NULL)
                       ::agent_metrics_internal.delivered_piece AS piece
            FROM released_event r WHERE r.event IS NOT NULL
            UNION ALL
            SELECT m::agent_metrics_internal.delivered_piece
            FROM (SELECT jsonb_agg(r.payload)::text AS payloads FROM released_event r WHERE r.event IS NULL) x
            CROSS JOIN agent_metrics_internal.intake_words() w
            CROSS JOIN LATERAL unnest(agent_metrics_internal.map_delivery(x.payloads, w.vocabulary, w.kept)) m
            WHERE x.payloads IS NOT NULL
        )
        SELECT s.* INTO found
        FROM (SELECT array_agg(m.piece) AS pieces FROM mapped m) x
        CROSS JOIN LATERAL agent_metrics_internal.store_pieces(x.pieces, NULL, NULL, true) s
        WHERE x.pieces IS NOT NULL;
        stored := stored + coalesce(found.stored, 0);
        repeated := repeated + coalesce(found.repeated, 0);
        quarantined := quarantined + coalesce(found.quarantined, 0);
    END LOOP;
    -- and of the traces whose turns wait, for the vocabulary may have learnt more
    SELECT w.* INTO found FROM agent_metrics_internal.intake_waiting() w;
    stored := stored + found.stored;
    waiting := found.waiting;
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics.retry_quarantined(text) IS
    'Tries again to store what is in quarantine, or that part of it whose reason, or its class as agent_kpi.quarantine '
    'has it, is LIKE the given one. What fails again stays there.';
