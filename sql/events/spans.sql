-- Everything about spans that hangs on their order: ancestors and tools. In Rust, for SQL would need a join a level.
CREATE FUNCTION agent_metrics_internal.link_spans(
    traces text[], ids text[], parents text[], kinds text[], began bigint[], says bigint[])
RETURNS integer[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.link_spans(text[], text[], text[], text[], bigint[], bigint[]) IS
    'Of each span seven numbers: by which it is named (agent, workflow, conversation, person, version), '
    'itself or the nearest above it that says so by a bit of says; whether it is a turn; of a tool, its turn. '
    'Positions count from 1, 0 is none. Internal: map_spans() uses it.';

-- OTLP JSON to turns: spans with the attributes of OpenTelemetry GenAI (and its older names), OpenInference,
-- OpenLLMetry and Langfuse.
--
-- One turn is one call of a model: a span of inference that has no other below it in the same delivery, for a parent's
-- tokens repeat its children's. What such a span does not say (agent, conversation, user) its nearest ancestor that
-- does says for it; a conversation is never made up from a trace. Tools called become tools_called of the turn that
-- asked for them. Spans of another kind are no turns and are passed over. Evaluations, as events or attributes of a
-- span or as log records, become events of their own that name the span they are about.

CREATE FUNCTION agent_metrics_internal.attributes(pairs jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN (
        SELECT coalesce(
            jsonb_object_agg(p.pair ->> 'key', coalesce(p.pair #> '{value,stringValue}', p.pair #> '{value,intValue}',
                               p.pair #> '{value,doubleValue}', p.pair #> '{value,boolValue}',
                               p.pair #> '{value,arrayValue,values}', 'null')), '{}')
        FROM jsonb_array_elements(CASE jsonb_typeof(pairs) WHEN 'array' THEN pairs ELSE '[]' END) AS p (pair)
        WHERE p.pair ->> 'key' IS NOT NULL);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.attributes(jsonb) IS
    'The attributes of OTLP, a list of key and value, as one object. Internal: map_spans() uses it.';

-- Langfuse writes objects as text into an attribute.
CREATE FUNCTION agent_metrics_internal.object_in(words text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    object jsonb;
BEGIN
    IF words IS NULL THEN
        RETURN '{}';
    END IF;
    object := words::jsonb;
    RETURN CASE jsonb_typeof(object) WHEN 'object' THEN object ELSE '{}' END;
EXCEPTION WHEN data_exception THEN
    RETURN '{}';
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.object_in(text) IS
    'The JSON object that a text holds; an empty one when it holds none. Internal: map_spans() uses it.';

-- Without jsonb_build_array(), which recurses.
CREATE FUNCTION agent_metrics_internal.pieces_of(delivered jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 1000 SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF jsonb_typeof(delivered) = 'array' THEN
        RETURN QUERY SELECT e.piece FROM jsonb_array_elements(delivered) AS e (piece);
    ELSE
        RETURN NEXT delivered;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.pieces_of(jsonb) IS
    'The elements of a list, or the one document that is none. Internal: ingest_events() uses it.';

-- The planner is told how many there may be, for it takes each list in a list for a hundred times as many.
CREATE FUNCTION agent_metrics_internal.delivered_spans(pieces jsonb)
RETURNS TABLE (resource jsonb, said jsonb, span jsonb, levels integer)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1000 SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.resource, r.said, s.span, greatest(agent_metrics_internal.json_depth(s.span), r.levels)
    FROM agent_metrics_internal.pieces_of(pieces) AS p (piece)
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(p.piece -> 'resourceSpans')
                                                WHEN 'array' THEN p.piece -> 'resourceSpans'
                                                ELSE '[]' END) AS e (element)
    CROSS JOIN LATERAL (
        -- once a resource, not once a span
        SELECT d.resource, d.levels, CASE WHEN coalesce(d.levels <= 58, true)
                                          THEN agent_metrics_internal.attributes(d.resource -> 'attributes') END AS said
        FROM (SELECT e.element -> 'resource' AS resource,
                     agent_metrics_internal.json_depth(e.element -> 'resource') AS levels
              OFFSET 0) d OFFSET 0) r
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.element -> 'scopeSpans')
                                                WHEN 'array' THEN e.element -> 'scopeSpans' ELSE '[]' END) AS c (scope)
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(c.scope -> 'spans') WHEN 'array' THEN c.scope -> 'spans'
                                                                                  ELSE '[]' END) AS s (span);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.delivered_spans(jsonb) IS
    'Each span of a list of OTLP JSON documents with its resource, the resource''s attributes, and how deep the two '
    'are nested. Internal: map_spans() uses it.';

-- No step looks at each pair of spans, nor climbs from each of them: what hangs on their order is link_spans()', and a
-- join that the planner took for a small one must not go through one side for each row of the other.
CREATE FUNCTION agent_metrics_internal.map_spans(pieces jsonb) RETURNS TABLE (payload jsonb, event jsonb, reason text)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET jit = off
SET enable_nestloop = off AS $function$
#variable_conflict use_column
DECLARE
    -- what is stored has 64 levels at most, and a span is put into six
    most CONSTANT integer := 58;
BEGIN
    -- One statement: each step's rows are the next one's input, of one delivery; apart they would be
    -- written and read again.
    RETURN QUERY
    WITH delivered_span AS MATERIALIZED (
        SELECT d.* FROM agent_metrics_internal.delivered_spans(pieces) d
    ), parsed_span AS MATERIALIZED (
        SELECT d.span ->> 'traceId' AS trace_id, d.span ->> 'spanId' AS span_id,
               nullif(d.span ->> 'parentSpanId', '') AS parent_id, d.resource, d.span,
               d.said || agent_metrics_internal.attributes(d.span -> 'attributes') AS a,
               CASE WHEN d.span ->> 'startTimeUnixNano' ~ '^\d{1,19}$'
                    THEN (d.span ->> 'startTimeUnixNano')::numeric END AS began,
               CASE WHEN d.span ->> 'endTimeUnixNano' ~ '^\d{1,19}$'
                    THEN (d.span ->> 'endTimeUnixNano')::numeric END AS ended,
               d.span #>> '{status,code}' IN ('2', 'STATUS_CODE_ERROR') AS is_failed
        FROM delivered_span d
        WHERE d.levels <= most AND d.span ->> 'traceId' <> '' AND d.span ->> 'spanId' <> ''
    ), unique_span AS MATERIALIZED (
        -- a span that came twice in one delivery counts once
        SELECT DISTINCT ON (r.trace_id, r.span_id) r.*,
               CASE WHEN lower(r.a ->> 'gen_ai.operation.name') IN ('chat', 'generate_content', 'text_completion')
                      OR lower(r.a ->> 'openinference.span.kind') = 'llm'
                      OR lower(r.a ->> 'langfuse.observation.type') = 'generation'
                      OR lower(r.a ->> 'llm.request.type') IN ('chat', 'completion') THEN 'inference'
                    WHEN lower(r.a ->> 'gen_ai.operation.name') = 'execute_tool'
                      OR lower(r.a ->> 'openinference.span.kind') = 'tool'
                      OR lower(r.a ->> 'langfuse.observation.type') = 'tool'
                      OR lower(r.a ->> 'traceloop.span.kind') = 'tool' THEN 'tool'
                    WHEN r.a ?| ARRAY['gen_ai.operation.name', 'openinference.span.kind', 'langfuse.observation.type',
                                      'traceloop.span.kind'] THEN 'other'
                    WHEN r.a ? 'gen_ai.tool.name' THEN 'tool'
                    WHEN r.a ?| ARRAY['gen_ai.request.model', 'gen_ai.response.model', 'llm.model_name',
                                      'langfuse.observation.model.name'] THEN 'inference'
                    ELSE 'other' END AS kind,
               -- all below it may say the same; what is longer is refused, and so is this much of it
               left(coalesce(r.a ->> 'gen_ai.agent.id', r.a ->> 'gen_ai.agent.name', r.a ->> 'agent.name'),
                    1100) AS agent,
               left(coalesce(r.a ->> 'gen_ai.workflow.name', r.a ->> 'graph.node.id', r.a ->> 'graph.node.name',
                             r.a ->> 'traceloop.workflow.name', r.a ->> 'traceloop.entity.name'), 1100) AS workflow,
               left(coalesce(r.a ->> 'gen_ai.conversation.id', r.a ->> 'session.id', r.a ->> 'langfuse.session.id'),
                    1100) AS conversation,
               left(coalesce(r.a ->> 'user.id', r.a ->> 'enduser.id', r.a ->> 'langfuse.user.id'), 1100) AS person,
               left(r.a ->> 'gen_ai.agent.version', 1100) AS version
        FROM parsed_span r
        ORDER BY r.trace_id, r.span_id, r.span::text COLLATE "C"
    ), numbered_span AS MATERIALIZED (
        SELECT t.*, row_number() OVER (ORDER BY t.trace_id, t.span_id) AS number FROM unique_span t
    ), links AS MATERIALIZED (
        SELECT (u.place - 1) / 7 + 1 AS number, max(u.at) FILTER (WHERE u.place % 7 = 1) AS agent_by,
               max(u.at) FILTER (WHERE u.place % 7 = 2) AS workflow_by,
               max(u.at) FILTER (WHERE u.place % 7 = 3) AS conversation_by,
               max(u.at) FILTER (WHERE u.place % 7 = 4) AS person_by,
               max(u.at) FILTER (WHERE u.place % 7 = 5) AS version_by,
               max(u.at) FILTER (WHERE u.place % 7 = 6) = 1 AS is_turn, max(u.at) FILTER (WHERE u.place % 7 = 0) AS turn
        FROM (SELECT agent_metrics_internal.link_spans(
                         array_agg(n.trace_id ORDER BY n.number), array_agg(n.span_id ORDER BY n.number),
                         array_agg(n.parent_id ORDER BY n.number), array_agg(n.kind ORDER BY n.number),
                         array_agg(least(n.began, 9223372036854775807)::bigint ORDER BY n.number),
                         array_agg(0::bigint + (n.agent IS NOT NULL)::integer + 2 * (n.workflow IS NOT NULL)::integer
                                   + 4 * (n.conversation IS NOT NULL)::integer
                                   + 8 * (n.person IS NOT NULL)::integer + 16 * (n.version IS NOT NULL)::integer
                                   ORDER BY n.number)) AS link
              FROM numbered_span n) l
        CROSS JOIN LATERAL unnest(l.link) WITH ORDINALITY AS u (at, place)
        GROUP BY 1
    ), turn AS MATERIALIZED (
        SELECT n.*, a.agent AS its_agent, w.workflow AS its_workflow, c.conversation AS its_conversation,
               p.person AS its_person, v.version AS its_version
        FROM numbered_span n
        JOIN links l ON l.number = n.number AND l.is_turn
        LEFT JOIN numbered_span a ON a.number = l.agent_by
        LEFT JOIN numbered_span w ON w.number = l.workflow_by
        LEFT JOIN numbered_span c ON c.number = l.conversation_by
        LEFT JOIN numbered_span p ON p.number = l.person_by
        LEFT JOIN numbered_span v ON v.number = l.version_by
    ), tool_call AS MATERIALIZED (
        -- a tool belongs to the turn above it, else to the last turn beside it that began before it, else
        -- to any of its trace
        SELECT t.trace_id, t.span_id, md5(t.trace_id || '/' || t.span_id)::uuid AS span_key, nullif(l.turn, 0) AS turn,
               t.began, t.span, t.resource,
               jsonb_build_object(
                   'name', coalesce(t.a ->> 'gen_ai.tool.name', t.a ->> 'tool.name', t.a ->> 'traceloop.entity.name',
                                    regexp_replace(t.span ->> 'name', '^execute_tool ', '')),
                   'ok', NOT (coalesce(t.is_failed, false) OR t.a ? 'error.type')) AS tool
        FROM numbered_span t JOIN links l ON l.number = t.number
        WHERE t.kind = 'tool'
    ), tools AS MATERIALIZED (
        SELECT k.turn, jsonb_agg(k.tool ORDER BY k.began, k.span_id) AS tools,
               jsonb_agg(k.span_key ORDER BY k.began, k.span_id) AS tool_spans
        FROM tool_call k WHERE k.turn IS NOT NULL GROUP BY k.turn
    ), turn_span AS MATERIALIZED (
        SELECT n.*, k.tools, k.tool_spans, l.usage, l.cost,
               coalesce(n.a ->> 'gen_ai.usage.input_tokens', n.a ->> 'gen_ai.usage.prompt_tokens',
                        n.a ->> 'llm.usage.prompt_tokens', n.a ->> 'llm.token_count.prompt') AS input,
               coalesce(l.usage ->> 'input', n.a ->> 'langfuse.observation.usage_details.input') AS input_uncached,
               coalesce(n.a ->> 'gen_ai.usage.output_tokens', n.a ->> 'gen_ai.usage.completion_tokens',
                        n.a ->> 'llm.usage.completion_tokens', n.a ->> 'llm.token_count.completion',
                        l.usage ->> 'output', n.a ->> 'langfuse.observation.usage_details.output') AS output,
               coalesce(n.a ->> 'gen_ai.usage.cache_read.input_tokens', n.a ->> 'gen_ai.usage.cache_read_input_tokens',
                        n.a ->> 'cache_read_input_tokens', n.a ->> 'llm.token_count.prompt_details.cache_read',
                        l.usage ->> 'input_cached_tokens', l.usage ->> 'input_cache_read',
                        l.usage ->> 'cache_read_input_tokens') AS cache_read,
               coalesce(n.a ->> 'gen_ai.usage.cache_write.input_tokens',
                        n.a ->> 'gen_ai.usage.cache_creation.input_tokens',
                        n.a ->> 'gen_ai.usage.cache_creation_input_tokens', n.a ->> 'cache_creation_input_tokens',
                        n.a ->> 'llm.token_count.prompt_details.cache_write', l.usage ->> 'input_cache_creation',
                        l.usage ->> 'cache_creation_input_tokens',
                        (SELECT sum(v.value::numeric)::text FROM jsonb_each_text(l.usage) AS v (key, value)
                         WHERE v.key IN ('input_cache_creation_5m', 'input_cache_creation_1h')
                           AND v.value ~ '^\d{1,12}$')) AS cache_write
        FROM turn n
        LEFT JOIN tools k ON k.turn = n.number
        CROSS JOIN LATERAL (
            SELECT agent_metrics_internal.object_in(n.a ->> 'langfuse.observation.usage_details') AS usage,
                   agent_metrics_internal.object_in(n.a ->> 'langfuse.observation.cost_details') AS cost OFFSET 0) l
    )
    SELECT jsonb_build_object(
               'resourceSpans', jsonb_build_array(jsonb_build_object('resource', c.resource, 'scopeSpans',
                          jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(c.span)))))),
           jsonb_strip_nulls(jsonb_build_object(
               'event_id', md5(c.trace_id || '/' || c.span_id)::uuid, 'agent_id', coalesce(c.its_agent, c.its_workflow),
               'agent_version', c.its_version, 'conversation_id', c.its_conversation, 'user_id', c.its_person,
               'occurred_at', timestamptz '1970-01-01 00:00:00+00'
                              + trunc(c.began / 1000)::bigint * interval '1 microsecond',
               'latency_ms', (c.ended - c.began) / 1000000,
               'provider', coalesce(c.a ->> 'gen_ai.provider.name', c.a ->> 'gen_ai.system', c.a ->> 'llm.provider'),
               'model', coalesce(c.a ->> 'gen_ai.response.model', c.a ->> 'gen_ai.request.model',
                                 c.a ->> 'llm.model_name', c.a ->> 'langfuse.observation.model.name'),
               'prompt_version', coalesce(c.a ->> 'gen_ai.prompt.version',
                                          c.a ->> 'langfuse.observation.prompt.version'),
               -- everywhere but in Langfuse the input tokens include the cached ones
               'token_usage_input', coalesce(c.input, CASE WHEN w.reason IS NULL THEN
                   (c.input_uncached::numeric + coalesce(c.cache_read, '0')::numeric
                    + coalesce(c.cache_write, '0')::numeric)::text END),
               'token_usage_output', c.output, 'token_usage_cache_read', c.cache_read,
               'token_usage_cache_write', c.cache_write,
               'cost_usd', coalesce(c.a ->> 'gen_ai.usage.cost', c.a ->> 'llm.cost.total', c.cost ->> 'total',
                                    c.a ->> 'langfuse.observation.cost_details.total'),
               'tools_called', c.tools, 'tool_spans', c.tool_spans, 'response_id', c.a ->> 'gen_ai.response.id',
               'error',
               coalesce(c.a ->> 'error.type',
                        CASE WHEN c.is_failed THEN coalesce(nullif(c.span #>> '{status,message}', ''), 'error') END))),
           coalesce(CASE WHEN c.began IS NULL
                         THEN format('no moment: startTimeUnixNano is %s',
                                     coalesce(c.span ->> 'startTimeUnixNano', 'missing'))
                         WHEN c.ended < c.began THEN 'the span ends before it begins' END, w.reason)
    FROM turn_span c
    CROSS JOIN LATERAL (
        SELECT (SELECT format('%s of tokens is "%s", no whole number', v.name, v.value)
                FROM (VALUES ('input', c.input), ('input', c.input_uncached), ('output', c.output),
                             ('cache read', c.cache_read), ('cache write', c.cache_write)) AS v (name, value)
                WHERE v.value !~ '^\d{1,18}$' LIMIT 1) AS reason OFFSET 0) w
    UNION ALL
    SELECT jsonb_build_object(
               'resourceSpans', jsonb_build_array(jsonb_build_object('resource', k.resource, 'scopeSpans',
                          jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(k.span)))))), NULL,
           'a tool call whose turn did not come with it'
    FROM tool_call k WHERE k.turn IS NULL
    UNION ALL
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('scopeSpans',
               jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(d.span)))))), NULL,
           'a span without traceId or spanId'
    FROM delivered_span d
    WHERE d.levels <= most AND (coalesce(d.span ->> 'traceId', '') = '' OR coalesce(d.span ->> 'spanId', '') = '')
    UNION ALL
    SELECT agent_metrics_internal.shallow(
               CASE WHEN agent_metrics_internal.json_depth(d.span) > most THEN d.span ELSE d.resource END, most), NULL,
           format('%s levels of JSON in a span or its resource', d.levels)
    FROM delivered_span d WHERE d.levels > most
    UNION ALL
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object(
               'scopeSpans', jsonb_build_array(jsonb_build_object('spans',
                          jsonb_build_array(jsonb_build_object('traceId', t.trace_id, 'spanId', t.span_id,
                                                               'events', jsonb_build_array(v.happened)))))))),
           agent_metrics_internal.map_evaluation(agent_metrics_internal.attributes(v.happened -> 'attributes'),
                                                 t.trace_id, t.span_id, v.happened ->> 'timeUnixNano'), NULL
    FROM unique_span t
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(t.span -> 'events') WHEN 'array' THEN t.span -> 'events'
                                                                                  ELSE '[]' END) AS v (happened)
    WHERE v.happened ->> 'name' = 'gen_ai.evaluation.result'
    UNION ALL
    -- a span that is itself an evaluation is about the one above it; its error and response are the judge's own
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object(
               'scopeSpans', jsonb_build_array(jsonb_build_object('spans',
                          jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('traceId', t.trace_id,
                              'spanId', t.span_id, 'parentSpanId', t.parent_id,
                              'endTimeUnixNano', t.span -> 'endTimeUnixNano',
                              'attributes', jsonb_path_query_array(
                                                t.span, '$.attributes[*] ? (@.key starts with "evaluation." || @.key '
                                                        'starts with "gen_ai.evaluation.")'))))))))),
           agent_metrics_internal.map_evaluation(t.a - 'error.type' - 'gen_ai.response.id', t.trace_id,
                                                 CASE WHEN t.kind = 'other' THEN t.parent_id ELSE t.span_id END,
                                                 t.span ->> 'endTimeUnixNano'), NULL
    FROM unique_span t WHERE t.a ?| ARRAY['gen_ai.evaluation.name', 'evaluation.name']
    UNION ALL
    SELECT CASE WHEN n.is_deep THEN agent_metrics_internal.shallow(l.record, most)
                ELSE jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object('scopeLogs',
                         jsonb_build_array(jsonb_build_object('logRecords', jsonb_build_array(l.record)))))) END,
           CASE WHEN n.is_evaluation
                THEN agent_metrics_internal.map_evaluation(n.a, l.record ->> 'traceId', l.record ->> 'spanId',
                                                coalesce(nullif(l.record ->> 'timeUnixNano', '0'),
                                                         l.record ->> 'observedTimeUnixNano')) END,
           CASE WHEN n.is_deep
                THEN format('%s levels of JSON in a log record', agent_metrics_internal.json_depth(l.record))
                WHEN NOT n.is_evaluation THEN 'a log record is no turn' END
    -- not jsonb_path_query(), whose time grows with the square of what it finds
    FROM agent_metrics_internal.pieces_of(pieces) AS p (piece)
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(p.piece -> 'resourceLogs')
                                                WHEN 'array' THEN p.piece -> 'resourceLogs'
                                                ELSE '[]' END) AS e (element)
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.element -> 'scopeLogs')
                                                WHEN 'array' THEN e.element -> 'scopeLogs' ELSE '[]' END) AS c (scope)
    CROSS JOIN LATERAL agent_metrics_internal.pieces_of(c.scope -> 'logRecords') AS l (record)
    CROSS JOIN LATERAL (SELECT x.a, x.is_deep,
                               NOT x.is_deep AND coalesce(
                                   'gen_ai.evaluation.result' IN (l.record ->> 'eventName', x.a ->> 'event.name'),
                                   false) AS is_evaluation
                        FROM (SELECT CASE WHEN NOT d.is_deep
                                          THEN agent_metrics_internal.attributes(l.record -> 'attributes') END AS a,
                                     d.is_deep
                              FROM (SELECT agent_metrics_internal.json_depth(l.record) > most AS is_deep OFFSET 0) d) x)
              n
    WHERE l.record IS NOT NULL
    UNION ALL
    -- what is not of OTLP's shape holds nothing that the steps above would have seen
    SELECT agent_metrics_internal.shallow(p.piece, 64), NULL, format('%s is no list', l.name)
    FROM agent_metrics_internal.pieces_of(pieces) AS p (piece)
    CROSS JOIN LATERAL (VALUES ('resourceSpans', 'scopeSpans', 'spans'), ('resourceLogs', 'scopeLogs', NULL))
        AS k (resources, scopes, records)
    CROSS JOIN LATERAL (
        SELECT k.resources WHERE jsonb_typeof(p.piece -> k.resources) <> 'array'
        UNION
        SELECT k.scopes
        FROM jsonb_array_elements(CASE jsonb_typeof(p.piece -> k.resources) WHEN 'array' THEN p.piece -> k.resources
                                                                            ELSE '[]' END) AS e (element)
        WHERE jsonb_typeof(e.element -> k.scopes) <> 'array'
        UNION
        SELECT k.records
        FROM jsonb_array_elements(CASE jsonb_typeof(p.piece -> k.resources) WHEN 'array' THEN p.piece -> k.resources
                                                                            ELSE '[]' END) AS e (element)
        CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(e.element -> k.scopes)
                                                    WHEN 'array' THEN e.element -> k.scopes ELSE '[]' END) AS c (scope)
        WHERE jsonb_typeof(c.scope -> k.records) <> 'array') AS l (name);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.map_spans(jsonb) IS
    'Turns and evaluations from a list of OTLP JSON documents: what was delivered, the event in our own form, '
    'and why it cannot be mapped, if it cannot. Internal: map_events() uses it.';
