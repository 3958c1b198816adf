-- Turns from where they are: a table, view or foreign table of this warehouse whose rows are turns, or the log of a
-- tool that is loaded here (LiteLLM's spend log, exports of Langfuse). What is checked is what attach.sql checks; how
-- rows are followed says turns.sql.

-- Tables of tools, by the columns that tell them: the first watermark that is there, and of a fit type, is used.
CREATE FUNCTION agent_metrics_internal.turn_presets()
RETURNS TABLE (preset text, key text, watermarks text[], columns text[])
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT v.preset, v.key, string_to_array(v.watermarks, ' '), string_to_array(v.columns, ' ')
    FROM (VALUES
        ('litellm', 'request_id', 'endTime end_time',
         'request_id call_type spend response_cost total_tokens prompt_tokens completion_tokens startTime start_time '
         'endTime end_time model custom_llm_provider user end_user team_id team_alias agent_id session_id status '
         'metadata'),
        ('langfuse_observations', 'id', 'updated_at updatedAt start_time startTime',
         'id trace_id traceId type parent_observation_id parentObservationId name level start_time startTime end_time '
         'endTime environment provided_model_name providedModelName model usage_details usageDetails cost_details '
         'costDetails total_cost totalCost calculatedTotalCost prompt_version promptVersion session_id sessionId '
         'user_id userId trace_name traceName release experiment_id experimentId metadata'),
        ('langfuse_traces', 'id', 'updated_at updatedAt timestamp',
         'id timestamp name session_id sessionId user_id userId environment release public bookmarked metadata'),
        ('langfuse_scores', 'id', 'updated_at updatedAt timestamp',
         'id timestamp trace_id traceId observation_id observationId name value data_type dataType string_value '
         'stringValue source')
    ) AS v (preset, key, watermarks, columns);
END;
COMMENT ON FUNCTION agent_metrics_internal.turn_presets() IS
    'Tables of tools that attach_turns() knows: their key, the columns that may be their watermark, and those that are '
    'read. Internal.';

-- What a column of a turn must be read from; see check_source().
CREATE FUNCTION agent_metrics_internal.turn_needs() RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb '{"agent_id": "key", "occurred_at": "time", "conversation_id": "key", "user_id": "key",
        "intent_classified": "text", "tools_called": "json", "latency_ms": "amount", "token_usage_input": "whole",
        "token_usage_output": "whole", "token_usage_cache_read": "whole", "token_usage_cache_write": "whole",
        "usage_details": "json", "cost_usd": "amount", "outcome_label": "text", "business_event_id": "key",
        "turn_index": "whole", "agent_version": "text", "provider": "text", "model": "text", "prompt_version": "text",
        "service_tier": "text", "is_eval": "flag", "error": "text", "attributes": "json"}';
COMMENT ON FUNCTION agent_metrics_internal.turn_needs() IS
    'Columns of agent_events that an attached table may bring, and what they are read from. '
    'Internal: attach_turns() uses it.';

CREATE FUNCTION agent_metrics_internal.check_turn_columns(source text, key text, columns jsonb, fixed jsonb)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
    needs constant jsonb := agent_metrics_internal.turn_needs();
    other text;
    lacks text;
BEGIN
    IF jsonb_typeof(columns) <> 'object' OR jsonb_typeof(fixed) <> 'object'
       OR EXISTS (SELECT 1 FROM jsonb_each(columns) c WHERE jsonb_typeof(c.value) <> 'string') THEN
        RAISE EXCEPTION 'columns and fixed of % are no objects', source
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'columns names a column of the table for each column of agent_events; fixed gives a value '
                           'for all rows.',
                  HINT = 'columns => ''{"occurred_at": "created_at", "conversation_id": "chat"}'', '
                         'fixed => ''{"agent_id": "support-bot"}''';
    END IF;
    SELECT min(k.key) INTO other
    FROM (SELECT jsonb_object_keys(columns) UNION ALL SELECT jsonb_object_keys(fixed)) AS k (key)
    WHERE NOT needs ? k.key;
    IF other IS NOT NULL THEN
        RAISE EXCEPTION 'a turn has no column "%" that a table brings', other
            USING ERRCODE = 'undefined_column', DETAIL = 'columns and fixed are keyed by columns of agent_events.',
                  HINT = (SELECT 'They are: ' || string_agg(k.key, ', ' ORDER BY k.key) || '.'
                          FROM jsonb_object_keys(needs) AS k (key));
    END IF;
    SELECT string_agg(r.name, ', ' ORDER BY r.name) INTO lacks
    FROM (SELECT unnest(ARRAY['agent_id', 'conversation_id', 'occurred_at'])
          EXCEPT SELECT jsonb_object_keys(columns) EXCEPT SELECT jsonb_object_keys(fixed)
          UNION ALL SELECT 'key' WHERE key IS NULL
          UNION ALL SELECT 'occurred_at' WHERE fixed ? 'occurred_at') AS r (name);
    IF lacks IS NOT NULL THEN
        RAISE EXCEPTION 'too little is said of how % is to be read: %', source, lacks
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A turn needs a key, an agent, a moment of its own and a conversation.',
                  HINT = 'SELECT * FROM agent_metrics.attach_turns(''app.turns'', key => ''id'', watermark => '
                         '''updated_at'', columns => ''{"occurred_at": "created_at", "conversation_id": "chat"}'', '
                         'fixed => ''{"agent_id": "support-bot"}''); or name a preset: litellm, '
                         'langfuse_observations, langfuse_traces, langfuse_scores.';
    END IF;
    -- what a value cannot be is said now, and not of each row
    PERFORM f.token_usage_input
    FROM jsonb_to_record(fixed) AS f (token_usage_input bigint, token_usage_output bigint,
        token_usage_cache_read bigint, token_usage_cache_write bigint, latency_ms double precision, cost_usd numeric,
        turn_index integer, is_eval boolean);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_turn_columns(text, text, jsonb, jsonb) IS
    'Refuses what does not say how the rows of a table are turns. Internal: attach_turns() uses it.';

CREATE FUNCTION agent_metrics.attach_turns(
    source regclass, preset text DEFAULT NULL, key text DEFAULT NULL, watermark text DEFAULT NULL,
    columns jsonb DEFAULT '{}', fixed jsonb DEFAULT '{}', delete_gone boolean DEFAULT false)
RETURNS agent_metrics.source_sync
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $function$
#variable_conflict use_variable
DECLARE
    place   agent_metrics_internal.source_place := agent_metrics_internal.place_of(
        source, 'SELECT * FROM agent_metrics.attach_turns(''litellm."LiteLLM_SpendLogs"'', preset => ''litellm'');');
    known   record;
    mapping jsonb;
    needs   jsonb := agent_metrics_internal.turn_needs() || '{"key": "key", "watermark": "watermark"}';
    result  agent_metrics.source_sync;
BEGIN
    IF preset IS NULL THEN
        PERFORM agent_metrics_internal.check_turn_columns(
            place.name, key, coalesce(columns, '{}'), coalesce(fixed, '{}'));
        mapping := coalesce(columns, '{}');
    ELSE
        SELECT p.* INTO known FROM agent_metrics_internal.turn_presets() p WHERE p.preset = attach_turns.preset;
        IF known.preset IS NULL THEN
            RAISE EXCEPTION 'there is no preset "%"', preset
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'A preset reads the table of a tool as that tool writes it.',
                      HINT = (SELECT 'They are: ' || string_agg(p.preset, ', ' ORDER BY p.preset)
                                     || '; without one, name the columns.'
                              FROM agent_metrics_internal.turn_presets() p);
        ELSIF columns <> '{}' OR fixed <> '{}' OR delete_gone THEN
            RAISE EXCEPTION 'preset % says itself how its rows are read', preset
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'columns, fixed and delete_gone are for tables of your own; such tools delete old rows '
                               'by their age, and the turns stay.',
                      HINT = 'What its attributes mean is said by rows of agent_metrics.span_vocabulary, such as '
                             '(''litellm.team_alias'', ''agent_name'').';
        END IF;
        key := coalesce(key, known.key);
        SELECT jsonb_object_agg(t.attname, t.attname), jsonb_object_agg(t.attname, 'json') || needs INTO mapping, needs
        FROM pg_attribute t
        WHERE t.attrelid = place.relation AND t.attnum > 0 AND NOT t.attisdropped AND t.attname = ANY (known.columns);
        watermark := coalesce(watermark, (
            SELECT w.name FROM unnest(known.watermarks) WITH ORDINALITY AS w (name, place)
            JOIN pg_attribute t ON t.attrelid = place.relation AND t.attname = w.name AND t.attnum > 0
             AND NOT t.attisdropped AND t.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
            ORDER BY w.place LIMIT 1));
    END IF;
    mapping := coalesce(mapping, '{}') || jsonb_strip_nulls(jsonb_build_object('key', key, 'watermark', watermark));
    PERFORM agent_metrics_internal.check_source(place, mapping, needs, key);
    IF watermark IS NULL THEN
        RAISE NOTICE 'all rows of % are compared each time', place.name
            USING DETAIL = 'No column says which rows are new or changed.',
                  HINT = 'Name one in watermark: a timestamp or a number that grows with each write.';
    END IF;
    INSERT INTO agent_metrics_internal.attached_tables (
        source, columns, mode, relation, relation_kind, relation_owner, column_types, feeds, preset, fixed, sender,
        watermark, delete_gone)
    SELECT place.name, mapping, 'compare', place.relation, place.relation_kind, place.owner,
           agent_metrics_internal.types_of_columns(place.relation, mapping), 'turns', preset, coalesce(fixed, '{}'),
           -- observations, traces and scores of one project belong together
           CASE WHEN preset LIKE 'langfuse%' THEN format('table %I.langfuse', place.schema)
                ELSE 'table ' || place.name END,
           watermark, coalesce(delete_gone, false)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM agent_metrics_internal.refuse_attached(place.name);
    END IF;
    result := agent_metrics_internal.follow_turns(place.name, true);
    PERFORM agent_metrics_internal.check_was_compared(place.name, result.problem);
    RETURN result;
END
$function$;
COMMENT ON FUNCTION agent_metrics.attach_turns(regclass, text, text, text, jsonb, jsonb, boolean) IS
    'Makes the rows of a table, view or foreign table turns, and follows them: by a watermark, a column that grows '
    'with each write, and once a day by all rows. preset: litellm, langfuse_observations, langfuse_traces, '
    'langfuse_scores; or key, and columns: for each column of agent_events the column that it is read from; '
    'fixed: values for all rows. A row without agent, moment or conversation is no turn yet. '
    'delete_gone: a turn goes with its row. No code of the table''s owner is run.';

CREATE FUNCTION agent_metrics.detach_turns(source text, keep_turns boolean DEFAULT true) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $function$
#variable_conflict use_column
DECLARE
    whose text;
    turns bigint;
BEGIN
    DELETE FROM agent_metrics_internal.attached_tables a WHERE a.source = $1 AND a.feeds = 'turns'
    RETURNING a.sender INTO whose;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not attached', coalesce($1, 'NULL')
            USING ERRCODE = 'undefined_object', DETAIL = 'No row of agent_metrics_internal.attached_tables names it.',
                  HINT = 'SELECT source FROM agent_kpi.attached_tables WHERE feeds = ''turns'' lists those that are, '
                         'with their schema.';
    END IF;
    DELETE FROM agent_metrics_internal.attachment_problems p WHERE p.source = $1;
    IF NOT keep_turns THEN
        IF EXISTS (SELECT 1 FROM agent_metrics_internal.attached_tables a WHERE a.sender = whose) THEN
            RAISE EXCEPTION 'turns of % come from other tables too', $1
                USING ERRCODE = 'object_in_use',
                      DETAIL = 'Observations, traces and scores of one schema make turns together.',
                      HINT = 'Detach the others first, or keep the turns.';
        END IF;
        DELETE FROM agent_metrics.agent_events e
        USING agent_metrics_internal.span_keys k
        WHERE k.sender = whose AND starts_with(k.sender, 'table ') AND k.event_id = k.span_key
          AND k.call_index IS NULL
          AND e.agent_id = k.agent_id AND e.occurred_at = k.occurred_at AND e.event_id = k.event_id;
        GET DIAGNOSTICS turns = ROW_COUNT;
        DELETE FROM agent_metrics_internal.span_keys k
        WHERE k.sender = whose AND starts_with(k.sender, 'table ');
        DELETE FROM agent_metrics_internal.spans s WHERE s.sender = whose;
        DELETE FROM agent_metrics_internal.traces t WHERE t.sender = whose;
        RETURN turns;
    END IF;
    RETURN (SELECT count(*) FROM agent_metrics_internal.span_keys k
            WHERE k.sender = whose AND starts_with(k.sender, 'table ') AND k.event_id = k.span_key
              AND k.call_index IS NULL);
END
$function$;
COMMENT ON FUNCTION agent_metrics.detach_turns(text, boolean) IS
    'No longer follows an attached table; its turns stay as they are, or go with keep_turns => false. '
    'Returns how many there are.';
