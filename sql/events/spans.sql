-- From deliveries to pieces, and from the spans of a trace to its turns: what is done in Rust (src/measures/spans), and
-- what it is told of names. docs/ingest.md says which tools are understood and how.

CREATE TYPE agent_metrics_internal.delivered_piece AS (
    trace_id text, span_id text, rank bigint, facts text, payload text, event text, reason text);
COMMENT ON TYPE agent_metrics_internal.delivered_piece IS
    'A part of a delivery: a span, an event in our own form, or what is refused.';
COMMENT ON COLUMN agent_metrics_internal.delivered_piece.trace_id IS 'Of a span: its trace.';
COMMENT ON COLUMN agent_metrics_internal.delivered_piece.span_id IS 'Of a span: its id.';
COMMENT ON COLUMN agent_metrics_internal.delivered_piece.rank IS
    'Of a span: when it ended, in nanoseconds. Of several deliveries of one the highest counts.';
COMMENT ON COLUMN agent_metrics_internal.delivered_piece.facts IS 'Of a span: what is kept of it, JSON.';
COMMENT ON COLUMN agent_metrics_internal.delivered_piece.payload IS 'Else: what was delivered, JSON.';
COMMENT ON COLUMN agent_metrics_internal.delivered_piece.event IS 'An event in our own form, JSON.';
COMMENT ON COLUMN agent_metrics_internal.delivered_piece.reason IS 'Why it cannot be taken.';

CREATE TYPE agent_metrics_internal.span_turn AS (
    trace_id text, span_id text, event_id text, missing text, agent_id text, moment bigint, conversation_id text,
    user_id text, latency_ms double precision, token_usage_input bigint, token_usage_output bigint,
    token_usage_cache_read bigint, token_usage_cache_write bigint, usage_details text, costs text[], provider text,
    model text, service_tier text, agent_version text, prompt_version text, is_eval boolean, error text,
    attributes text, tools_called text, tool_spans text[], response_id text, replaced text[], brought text);
COMMENT ON TYPE agent_metrics_internal.span_turn IS
    'A turn that the spans of a trace tell of: columns of agent_events as the mapper has them, and what stands below.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.trace_id IS 'Its trace.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.span_id IS 'Its span.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.event_id IS 'The hash of both: the id of the turn.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.missing IS 'Why it waits; NULL: it is complete.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.moment IS 'When it began, in microseconds since 1970.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.user_id IS 'Who the agent spoke with.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.latency_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.token_usage_input IS 'Input tokens, cached ones included.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.token_usage_output IS 'Output tokens, reasoning included.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.token_usage_cache_read IS 'Of the input, read from a cache.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.token_usage_cache_write IS 'Of the input, written to a cache.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.usage_details IS 'What may have a price of its own, JSON.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.costs IS 'Decimals whose sum the producer says that it cost.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.provider IS 'Who runs the model.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.model IS 'The model.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.service_tier IS 'Service tier.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.agent_version IS 'Version of the agent.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.prompt_version IS 'Version of the prompt.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.is_eval IS 'It belongs to an experiment.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.error IS 'What went wrong.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.attributes IS 'Attributes that the setting span_attributes names.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.tools_called IS 'Tools that it asked for, JSON.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.tool_spans IS 'Hashes of their spans, in the same order.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.response_id IS 'Id that the provider gave the response.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.replaced IS
    'Ids of turns that it takes over, if they were stored: of a wrapper, of the same call told twice.';
COMMENT ON COLUMN agent_metrics_internal.span_turn.brought IS
    'What an attached table says besides: outcome_label and others that no span has, JSON; a key that is not there '
    'stays as it is.';

CREATE TYPE agent_metrics_internal.turn_claim AS (
    wanted_id uuid, agent_id text, occurred_at timestamptz, event_id uuid, told_cost numeric, place bigint,
    conversation_id text);
COMMENT ON TYPE agent_metrics_internal.turn_claim IS 'A turn of a sender that is there, and the one that it becomes.';
COMMENT ON COLUMN agent_metrics_internal.turn_claim.wanted_id IS 'Id of the turn that it becomes.';
COMMENT ON COLUMN agent_metrics_internal.turn_claim.agent_id IS 'Its agent.';
COMMENT ON COLUMN agent_metrics_internal.turn_claim.occurred_at IS 'Its moment.';
COMMENT ON COLUMN agent_metrics_internal.turn_claim.event_id IS 'Its id.';
COMMENT ON COLUMN agent_metrics_internal.turn_claim.told_cost IS
    'What its producer said that it cost, when it was written.';
COMMENT ON COLUMN agent_metrics_internal.turn_claim.place IS '1: its row becomes the turn; more: another''s does.';
COMMENT ON COLUMN agent_metrics_internal.turn_claim.conversation_id IS 'Its conversation.';

CREATE FUNCTION agent_metrics_internal.map_delivery(delivery text, vocabulary text, kept text[])
RETURNS agent_metrics_internal.delivered_piece[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.map_delivery(text, text, text[]) IS
    'Takes a delivery apart: JSON, the rows of span_vocabulary as text, attributes that are kept. '
    'Internal: map_events() uses it.';

CREATE FUNCTION agent_metrics_internal.trace_turns(
    traces text[], ids text[], facts text[], registered text[], vocabulary text, kept text[])
RETURNS agent_metrics_internal.span_turn[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.trace_turns(text[], text[], text[], text[], text, text[]) IS
    'The turns of traces from all their spans, in whatever order these are given. Internal: take_spans() uses it.';

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
    'The elements of a list, or the one document that is none. Internal: the importers of bills use it.';

CREATE FUNCTION agent_metrics_internal.with_reason(turn agent_metrics_internal.span_turn, reason text)
RETURNS agent_metrics_internal.span_turn
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    turn.missing := reason;
    RETURN turn;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.with_reason(agent_metrics_internal.span_turn, text) IS
    'A turn with the reason why it waits. Internal: reconcile_traces() uses it.';

CREATE FUNCTION agent_metrics_internal.span_words(OUT vocabulary text, OUT kept text[])
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    -- fields and rows with separators of their own: a delivery may be one small span
    SELECT coalesce(string_agg(concat_ws(E'\x1f', v.attribute, v.value, v.meaning, v.rank,
                                         coalesce(v.is_included::text, '')), E'\x1e'), '')
    INTO vocabulary FROM agent_metrics.span_vocabulary v;
    kept := coalesce((SELECT array_agg(btrim(u.name)) FROM agent_metrics.settings s
                      CROSS JOIN LATERAL unnest(string_to_array(s.value, ',')) AS u (name)
                      WHERE s.name = 'span_attributes' AND btrim(u.name) <> ''), '{}');
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.span_words() IS
    'What the mapper is told: the rows of span_vocabulary as text, and the attributes of the setting span_attributes. '
    'Internal: what takes spans uses it.';

CREATE FUNCTION agent_metrics_internal.span_days() RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN coalesce((SELECT s.value::integer FROM agent_metrics.settings s WHERE s.name = 'span_days'), 7);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.span_days() IS 'The setting span_days.';

CREATE FUNCTION agent_metrics_internal.span_meanings() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['agent_name', 'agent_id', 'agent_version', 'conversation', 'user', 'provider', 'model', 'prompt_version',
             'response_id', 'service_tier', 'tool_name', 'error', 'is_eval', 'model_call', 'tool', 'agent', 'group',
             'nothing', 'input_tokens', 'output_tokens', 'total_tokens', 'cache_read_tokens', 'cache_write_tokens',
             'cache_write_5m_tokens', 'cache_write_1h_tokens', 'reasoning_tokens', 'audio_input_tokens',
             'audio_output_tokens', 'image_input_tokens', 'image_output_tokens', 'other_tokens', 'cost', 'cost_part',
             'duration_ms', 'kept'];
COMMENT ON FUNCTION agent_metrics_internal.span_meanings() IS 'What an attribute of a span may mean.';

CREATE FUNCTION agent_metrics_internal.is_content(attribute text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'is_content_name';
COMMENT ON FUNCTION agent_metrics_internal.is_content(text) IS
    'Whether an attribute is named like what was said in a conversation.';
