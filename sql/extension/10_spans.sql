-- OTLP JSON to turns: spans with the attributes of OpenTelemetry GenAI (and its older names), OpenInference, OpenLLMetry
-- and Langfuse.
--
-- One turn is one call of a model: a span of inference that has no other below it in the same delivery, for a parent's
-- tokens repeat its children's. What such a span does not say (agent, conversation, user) its nearest ancestor that does
-- says for it; a conversation is never made up from a trace. Tools called become tools_called of the turn that asked
-- for them. Spans of another kind are no turns and are passed over. Evaluations, as events or attributes of a span or as
-- log records, become events of their own that name the span they are about.

CREATE FUNCTION agent_metrics.attributes(pairs jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN (SELECT coalesce(jsonb_object_agg(p.pair ->> 'key', coalesce(p.pair #> '{value,stringValue}', p.pair #> '{value,intValue}',
                       p.pair #> '{value,doubleValue}', p.pair #> '{value,boolValue}', p.pair #> '{value,arrayValue,values}', 'null')), '{}')
            FROM jsonb_array_elements(CASE jsonb_typeof(pairs) WHEN 'array' THEN pairs ELSE '[]' END) AS p (pair)
            WHERE p.pair ->> 'key' IS NOT NULL);
END
$function$;
COMMENT ON FUNCTION agent_metrics.attributes(jsonb) IS 'The attributes of OTLP, a list of key and value, as one object. Internal: map_spans() uses it.';

-- Langfuse writes objects as text into an attribute.
CREATE FUNCTION agent_metrics.object_in(words text) RETURNS jsonb
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
COMMENT ON FUNCTION agent_metrics.object_in(text) IS 'The JSON object that a text holds; an empty one when it holds none. Internal: map_spans() uses it.';

CREATE FUNCTION agent_metrics.map_spans(pieces jsonb) RETURNS TABLE (payload jsonb, event jsonb, reason text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO' SET jit = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE delivered AS MATERIALIZED (
        SELECT r.resource -> 'resource' AS resource, s.span
        FROM jsonb_array_elements(pieces) AS p (piece)
        CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(p.piece -> 'resourceSpans') WHEN 'array' THEN p.piece -> 'resourceSpans' ELSE '[]' END) AS r (resource)
        CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(r.resource -> 'scopeSpans') WHEN 'array' THEN r.resource -> 'scopeSpans' ELSE '[]' END) AS c (scope)
        CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(c.scope -> 'spans') WHEN 'array' THEN c.scope -> 'spans' ELSE '[]' END) AS s (span)
    ), read AS MATERIALIZED (
        SELECT d.span ->> 'traceId' AS trace_id, d.span ->> 'spanId' AS span_id, nullif(d.span ->> 'parentSpanId', '') AS parent_id,
               d.resource, d.span, agent_metrics.attributes(d.resource -> 'attributes') || agent_metrics.attributes(d.span -> 'attributes') AS a,
               CASE WHEN d.span ->> 'startTimeUnixNano' ~ '^\d{1,19}$' THEN (d.span ->> 'startTimeUnixNano')::numeric END AS began,
               CASE WHEN d.span ->> 'endTimeUnixNano' ~ '^\d{1,19}$' THEN (d.span ->> 'endTimeUnixNano')::numeric END AS ended,
               d.span #>> '{status,code}' IN ('2', 'STATUS_CODE_ERROR') AS is_failed
        FROM delivered d
        WHERE d.span ->> 'traceId' <> '' AND d.span ->> 'spanId' <> ''
    ), told AS MATERIALIZED (
        -- a span that came twice in one delivery counts once
        SELECT DISTINCT ON (r.trace_id, r.span_id) r.*,
               CASE WHEN lower(r.a ->> 'gen_ai.operation.name') IN ('chat', 'generate_content', 'text_completion')
                      OR lower(r.a ->> 'openinference.span.kind') = 'llm' OR lower(r.a ->> 'langfuse.observation.type') = 'generation'
                      OR lower(r.a ->> 'llm.request.type') IN ('chat', 'completion') THEN 'inference'
                    WHEN lower(r.a ->> 'gen_ai.operation.name') = 'execute_tool' OR lower(r.a ->> 'openinference.span.kind') = 'tool'
                      OR lower(r.a ->> 'langfuse.observation.type') = 'tool' OR lower(r.a ->> 'traceloop.span.kind') = 'tool' THEN 'tool'
                    WHEN r.a ?| ARRAY['gen_ai.operation.name', 'openinference.span.kind', 'langfuse.observation.type', 'traceloop.span.kind'] THEN 'other'
                    WHEN r.a ? 'gen_ai.tool.name' THEN 'tool'
                    WHEN r.a ?| ARRAY['gen_ai.request.model', 'gen_ai.response.model', 'llm.model_name', 'langfuse.observation.model.name'] THEN 'inference'
                    ELSE 'other' END AS kind,
               coalesce(r.a ->> 'gen_ai.agent.id', r.a ->> 'gen_ai.agent.name', r.a ->> 'agent.name') AS agent,
               coalesce(r.a ->> 'gen_ai.workflow.name', r.a ->> 'graph.node.id', r.a ->> 'graph.node.name', r.a ->> 'traceloop.workflow.name',
                        r.a ->> 'traceloop.entity.name') AS workflow,
               coalesce(r.a ->> 'gen_ai.conversation.id', r.a ->> 'session.id', r.a ->> 'langfuse.session.id') AS conversation,
               coalesce(r.a ->> 'user.id', r.a ->> 'enduser.id', r.a ->> 'langfuse.user.id') AS person,
               r.a ->> 'gen_ai.agent.version' AS version
        FROM read r
        ORDER BY r.trace_id, r.span_id, r.span::text
    ), chain AS (
        -- each span of inference or tool, itself and what is above it
        SELECT t.trace_id, t.span_id AS below_id, t.span_id, t.parent_id, 0 AS height FROM told t WHERE t.kind IN ('inference', 'tool')
        UNION ALL
        SELECT c.trace_id, c.below_id, t.span_id, t.parent_id, c.height + 1
        FROM chain c JOIN told t ON t.trace_id = c.trace_id AND t.span_id = c.parent_id WHERE c.height < 64
    ), above AS MATERIALIZED (
        SELECT c.trace_id, c.below_id,
               (array_agg(t.agent ORDER BY c.height) FILTER (WHERE t.agent IS NOT NULL))[1] AS agent,
               (array_agg(t.workflow ORDER BY c.height) FILTER (WHERE t.workflow IS NOT NULL))[1] AS workflow,
               (array_agg(t.conversation ORDER BY c.height) FILTER (WHERE t.conversation IS NOT NULL))[1] AS conversation,
               (array_agg(t.person ORDER BY c.height) FILTER (WHERE t.person IS NOT NULL))[1] AS person,
               (array_agg(t.version ORDER BY c.height) FILTER (WHERE t.version IS NOT NULL))[1] AS version,
               array_agg(t.span_id) FILTER (WHERE t.kind = 'inference' AND c.height > 0) AS inference_above
        FROM chain c JOIN told t ON t.trace_id = c.trace_id AND t.span_id = c.span_id
        GROUP BY c.trace_id, c.below_id
    ), parents AS MATERIALIZED (
        SELECT DISTINCT b.trace_id, u.span_id
        FROM above b JOIN told t ON t.trace_id = b.trace_id AND t.span_id = b.below_id AND t.kind = 'inference'
        CROSS JOIN LATERAL unnest(b.inference_above) AS u (span_id)
    ), turn AS MATERIALIZED (
        SELECT t.*, b.agent AS its_agent, b.workflow AS its_workflow, b.conversation AS its_conversation, b.person AS its_person, b.version AS its_version
        FROM told t JOIN above b ON b.trace_id = t.trace_id AND b.below_id = t.span_id
        WHERE t.kind = 'inference' AND NOT EXISTS (SELECT FROM parents p WHERE p.trace_id = t.trace_id AND p.span_id = t.span_id)
    ), asked AS MATERIALIZED (
        -- a tool belongs to the turn above it, else to the last turn beside it that began before it, else to any of its trace
        SELECT DISTINCT ON (t.trace_id, t.span_id)
               t.trace_id, t.span_id, md5(t.trace_id || '/' || t.span_id)::uuid AS span_key, n.span_id AS turn_id, t.began, t.span, t.resource,
               jsonb_build_object('name', coalesce(t.a ->> 'gen_ai.tool.name', t.a ->> 'tool.name', t.a ->> 'traceloop.entity.name',
                                                   regexp_replace(t.span ->> 'name', '^execute_tool ', '')),
                                  'ok', NOT (coalesce(t.is_failed, false) OR t.a ? 'error.type')) AS tool
        FROM told t
        JOIN above b ON b.trace_id = t.trace_id AND b.below_id = t.span_id
        LEFT JOIN turn n ON n.trace_id = t.trace_id
        WHERE t.kind = 'tool'
        ORDER BY t.trace_id, t.span_id, coalesce(n.span_id = ANY (b.inference_above), false) DESC,
                 (n.parent_id IS NOT DISTINCT FROM t.parent_id) DESC, (n.began <= t.began) DESC,
                 CASE WHEN n.began <= t.began THEN -n.began ELSE n.began END, n.span_id
    ), tools AS MATERIALIZED (
        SELECT k.trace_id, k.turn_id, jsonb_agg(k.tool ORDER BY k.began, k.span_id) AS tools, jsonb_agg(k.span_key ORDER BY k.began, k.span_id) AS tool_spans
        FROM asked k WHERE k.turn_id IS NOT NULL GROUP BY k.trace_id, k.turn_id
    ), counted AS MATERIALIZED (
        SELECT n.*, k.tools, k.tool_spans, l.usage, l.cost,
               coalesce(n.a ->> 'gen_ai.usage.input_tokens', n.a ->> 'gen_ai.usage.prompt_tokens', n.a ->> 'llm.usage.prompt_tokens',
                        n.a ->> 'llm.token_count.prompt') AS input,
               coalesce(l.usage ->> 'input', n.a ->> 'langfuse.observation.usage_details.input') AS input_uncached,
               coalesce(n.a ->> 'gen_ai.usage.output_tokens', n.a ->> 'gen_ai.usage.completion_tokens', n.a ->> 'llm.usage.completion_tokens',
                        n.a ->> 'llm.token_count.completion', l.usage ->> 'output', n.a ->> 'langfuse.observation.usage_details.output') AS output,
               coalesce(n.a ->> 'gen_ai.usage.cache_read.input_tokens', n.a ->> 'gen_ai.usage.cache_read_input_tokens', n.a ->> 'cache_read_input_tokens',
                        n.a ->> 'llm.token_count.prompt_details.cache_read', l.usage ->> 'input_cached_tokens', l.usage ->> 'input_cache_read',
                        l.usage ->> 'cache_read_input_tokens') AS cache_read,
               coalesce(n.a ->> 'gen_ai.usage.cache_write.input_tokens', n.a ->> 'gen_ai.usage.cache_creation.input_tokens',
                        n.a ->> 'gen_ai.usage.cache_creation_input_tokens', n.a ->> 'cache_creation_input_tokens',
                        n.a ->> 'llm.token_count.prompt_details.cache_write', l.usage ->> 'input_cache_creation', l.usage ->> 'cache_creation_input_tokens',
                        (SELECT sum(v.value::numeric)::text FROM jsonb_each_text(l.usage) AS v (key, value)
                         WHERE v.key IN ('input_cache_creation_5m', 'input_cache_creation_1h') AND v.value ~ '^\d{1,12}$')) AS cache_write
        FROM turn n
        LEFT JOIN tools k ON k.trace_id = n.trace_id AND k.turn_id = n.span_id
        CROSS JOIN LATERAL (
            SELECT agent_metrics.object_in(n.a ->> 'langfuse.observation.usage_details') AS usage,
                   agent_metrics.object_in(n.a ->> 'langfuse.observation.cost_details') AS cost OFFSET 0) l
    )
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('resource', c.resource, 'scopeSpans',
               jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(c.span)))))),
           jsonb_strip_nulls(jsonb_build_object(
               'event_id', md5(c.trace_id || '/' || c.span_id)::uuid, 'agent_id', coalesce(c.its_agent, c.its_workflow), 'agent_version', c.its_version,
               'conversation_id', c.its_conversation, 'user_id', c.its_person,
               'occurred_at', timestamptz '1970-01-01 00:00:00+00' + trunc(c.began / 1000)::bigint * interval '1 microsecond',
               'latency_ms', (c.ended - c.began) / 1000000,
               'provider', coalesce(c.a ->> 'gen_ai.provider.name', c.a ->> 'gen_ai.system', c.a ->> 'llm.provider'),
               'model', coalesce(c.a ->> 'gen_ai.response.model', c.a ->> 'gen_ai.request.model', c.a ->> 'llm.model_name', c.a ->> 'langfuse.observation.model.name'),
               'prompt_version', coalesce(c.a ->> 'gen_ai.prompt.version', c.a ->> 'langfuse.observation.prompt.version'),
               -- everywhere but in Langfuse the input tokens include the cached ones
               'token_usage_input', coalesce(c.input, CASE WHEN w.reason IS NULL THEN
                   (c.input_uncached::numeric + coalesce(c.cache_read, '0')::numeric + coalesce(c.cache_write, '0')::numeric)::text END),
               'token_usage_output', c.output, 'token_usage_cache_read', c.cache_read, 'token_usage_cache_write', c.cache_write,
               'cost_usd', coalesce(c.a ->> 'gen_ai.usage.cost', c.a ->> 'llm.cost.total', c.cost ->> 'total', c.a ->> 'langfuse.observation.cost_details.total'),
               'tools_called', c.tools, 'tool_spans', c.tool_spans, 'response_id', c.a ->> 'gen_ai.response.id',
               'error', coalesce(c.a ->> 'error.type', CASE WHEN c.is_failed THEN coalesce(nullif(c.span #>> '{status,message}', ''), 'error') END))),
           coalesce(CASE WHEN c.began IS NULL THEN format('no moment: startTimeUnixNano is %s', coalesce(c.span ->> 'startTimeUnixNano', 'missing'))
                         WHEN c.ended < c.began THEN 'the span ends before it begins' END, w.reason)
    FROM counted c
    CROSS JOIN LATERAL (
        SELECT (SELECT format('%s of tokens is "%s", no whole number', v.name, v.value)
                FROM (VALUES ('input', c.input), ('input', c.input_uncached), ('output', c.output), ('cache read', c.cache_read),
                             ('cache write', c.cache_write)) AS v (name, value)
                WHERE v.value !~ '^\d{1,18}$' LIMIT 1) AS reason OFFSET 0) w
    UNION ALL
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('resource', k.resource, 'scopeSpans',
               jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(k.span)))))), NULL, 'a tool call whose turn did not come with it'
    FROM asked k WHERE k.turn_id IS NULL
    UNION ALL
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('scopeSpans',
               jsonb_build_array(jsonb_build_object('spans', jsonb_build_array(d.span)))))), NULL, 'a span without traceId or spanId'
    FROM delivered d WHERE coalesce(d.span ->> 'traceId', '') = '' OR coalesce(d.span ->> 'spanId', '') = ''
    UNION ALL
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('scopeSpans', jsonb_build_array(jsonb_build_object('spans',
               jsonb_build_array(jsonb_build_object('traceId', t.trace_id, 'spanId', t.span_id, 'events', jsonb_build_array(v.happened)))))))),
           agent_metrics.map_evaluation(agent_metrics.attributes(v.happened -> 'attributes'), t.trace_id, t.span_id, v.happened ->> 'timeUnixNano'), NULL
    FROM told t
    CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(t.span -> 'events') WHEN 'array' THEN t.span -> 'events' ELSE '[]' END) AS v (happened)
    WHERE v.happened ->> 'name' = 'gen_ai.evaluation.result'
    UNION ALL
    -- a span that is itself an evaluation is about the one above it; its error and response are the judge's own
    SELECT jsonb_build_object('resourceSpans', jsonb_build_array(jsonb_build_object('scopeSpans', jsonb_build_array(jsonb_build_object('spans',
               jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('traceId', t.trace_id, 'spanId', t.span_id, 'parentSpanId', t.parent_id,
                   'endTimeUnixNano', t.span -> 'endTimeUnixNano',
                   'attributes', jsonb_path_query_array(t.span, '$.attributes[*] ? (@.key starts with "evaluation." || @.key starts with "gen_ai.evaluation.")'))))))))),
           agent_metrics.map_evaluation(t.a - 'error.type' - 'gen_ai.response.id', t.trace_id, CASE WHEN t.kind = 'other' THEN t.parent_id ELSE t.span_id END,
                                        t.span ->> 'endTimeUnixNano'), NULL
    FROM told t WHERE t.a ?| ARRAY['gen_ai.evaluation.name', 'evaluation.name']
    UNION ALL
    SELECT jsonb_build_object('resourceLogs', jsonb_build_array(jsonb_build_object('scopeLogs',
               jsonb_build_array(jsonb_build_object('logRecords', jsonb_build_array(l.record)))))),
           CASE WHEN n.is_evaluation THEN agent_metrics.map_evaluation(n.a, l.record ->> 'traceId', l.record ->> 'spanId',
                                                coalesce(nullif(l.record ->> 'timeUnixNano', '0'), l.record ->> 'observedTimeUnixNano')) END,
           CASE WHEN NOT n.is_evaluation THEN 'a log record is no turn' END
    FROM jsonb_path_query(pieces, 'lax $[*].resourceLogs[*].scopeLogs[*].logRecords[*]') AS l (record)
    CROSS JOIN LATERAL (SELECT x.a, coalesce('gen_ai.evaluation.result' IN (l.record ->> 'eventName', x.a ->> 'event.name'), false) AS is_evaluation
                        FROM (SELECT agent_metrics.attributes(l.record -> 'attributes') AS a) x) n
    UNION ALL
    -- what is not of OTLP's shape holds nothing that the steps above would have seen
    SELECT p.piece, NULL, format('%s is no list', l.name)
    FROM jsonb_array_elements(pieces) AS p (piece)
    CROSS JOIN (VALUES ('resourceSpans', 'strict $.resourceSpans'), ('scopeSpans', 'strict $.resourceSpans[*].scopeSpans'), ('spans', 'strict $.resourceSpans[*].scopeSpans[*].spans'),
                       ('resourceLogs', 'strict $.resourceLogs'), ('scopeLogs', 'strict $.resourceLogs[*].scopeLogs')) AS l (name, path)
    WHERE EXISTS (SELECT FROM jsonb_path_query(p.piece, l.path::jsonpath, silent => true) AS x (value) WHERE jsonb_typeof(x.value) <> 'array');
END
$function$;
COMMENT ON FUNCTION agent_metrics.map_spans(jsonb) IS
    'Turns and evaluations from a list of OTLP JSON documents: what was delivered, the event in our own form, and why it cannot be mapped, if it cannot. Internal: map_events() uses it.';
