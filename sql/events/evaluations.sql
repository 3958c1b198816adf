-- What a judge said of a turn or a tool call, by the same ways in as turns: a row of turn_scores or tool_call_verdicts.
--
-- An evaluation often comes long after its turn, and knows it by a span or by the model's response id alone. So the
-- turns that came as spans leave their keys in span_keys; an evaluation whose turn is not there is kept in quarantine,
-- for a judgement that hangs on nothing would be counted nowhere.

-- Labels that say yes or no, for evaluations that have a label and no score.
CREATE FUNCTION agent_metrics_internal.label_score(label text) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN lower(btrim(label)) = ANY ('{pass,passed,true,yes,correct,relevant,good}') THEN 1::numeric
                WHEN lower(btrim(label)) = ANY ('{fail,failed,false,no,incorrect,not_relevant,irrelevant,bad}')
                    THEN 0::numeric END;
COMMENT ON FUNCTION agent_metrics_internal.label_score(text) IS
    'The score that the label of an evaluation stands for, where it says yes or no; else NULL.';

CREATE FUNCTION agent_metrics_internal.read_evaluation(event jsonb)
RETURNS TABLE (criterion text, score numeric, agent_id text, occurred_at timestamptz, event_id uuid, response_id text,
               judged_at timestamptz, judged_by text, reason text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' AS $function$
#variable_conflict use_column
DECLARE
    known CONSTANT text[] := ARRAY['evaluation', 'score', 'label', 'error', 'agent_id', 'occurred_at', 'event_id',
                                   'response_id', 'judged_at', 'judged_by'];
    said  text := event ->> 'score';
    other text;
BEGIN
    SELECT min(k.key) INTO other FROM jsonb_object_keys(event) AS k (key) WHERE k.key <> ALL (known);
    -- Frameworks write the names of the two that are metrics in many ways; the others are kept as they are.
    criterion := btrim(event ->> 'evaluation');
    CASE lower(regexp_replace(criterion, '[^[:alpha:]]', '', 'g'))
        WHEN 'instructionfollowing' THEN criterion := 'instruction_following';
        WHEN 'toolcallaccuracy', 'toolcallcorrectness', 'toolcorrectness' THEN criterion := 'tool_call_accuracy';
        ELSE NULL;
    END CASE;
    agent_id := event ->> 'agent_id';
    response_id := event ->> 'response_id';
    judged_by := coalesce(nullif(btrim(event ->> 'judged_by'), ''), 'judge');
    reason := CASE WHEN other IS NOT NULL THEN format('unknown key "%s"', left(other, 200))
                   WHEN coalesce(criterion, '') = '' THEN 'an evaluation without a name'
                   WHEN length(criterion) > 200 THEN 'the name of an evaluation has more than 200 characters'
                   WHEN octet_length(criterion) > 256
                       THEN format('evaluation "%s" has a name of more than 256 bytes', criterion)
                   WHEN octet_length(judged_by) > 1024
                       THEN format('evaluation "%s" was judged by a name of more than 1024 bytes', criterion)
                   WHEN event ->> 'error' IS NOT NULL
                       THEN format('evaluation "%s" failed: %s', criterion, left(event ->> 'error', 200))
                   WHEN said IS NULL AND event ->> 'label' IS NULL
                       THEN format('evaluation "%s" has neither score nor label', criterion)
                   WHEN said IS NULL AND agent_metrics_internal.label_score(event ->> 'label') IS NULL
                       THEN format('label "%s" of evaluation "%s" says neither yes nor no',
                                   left(event ->> 'label', 200), criterion)
                   WHEN said !~ '^-?\d{1,40}(\.\d{1,40})?([eE][-+]?\d{1,2})?$' AND lower(said) NOT IN ('true', 'false')
                       THEN format('score "%s" of evaluation "%s" is no number', left(said, 200), criterion)
                   WHEN event ->> 'event_id' IS NULL AND response_id IS NULL
                       THEN format('evaluation "%s" names no turn', criterion) END;
    IF reason IS NULL THEN
        score := CASE WHEN said IS NULL THEN agent_metrics_internal.label_score(event ->> 'label')
                      WHEN lower(said) IN ('true', 'false') THEN said::boolean::integer
                      ELSE trim_scale(said::numeric) END;
        IF score NOT BETWEEN 0 AND 1 THEN
            reason := format('score %s of evaluation "%s" does not lie between 0 and 1', said, criterion);
        END IF;
        occurred_at := event ->> 'occurred_at';
        event_id := event ->> 'event_id';
        judged_at := event ->> 'judged_at';
        IF NOT isfinite(judged_at) THEN
            reason := format('evaluation "%s" cannot be of %s', criterion, judged_at);
        ELSIF NOT (judged_at >= timestamptz '0001-01-01 00:00:00+00'
                   AND judged_at < timestamptz '10000-01-01 00:00:00+00') THEN
            reason := format('evaluation "%s" cannot be of %s: years count from 1 to 9999', criterion, judged_at);
        END IF;
    END IF;
    RETURN NEXT;
EXCEPTION WHEN data_exception THEN
    reason := left(SQLERRM, 1000);
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.read_evaluation(jsonb) IS
    'An evaluation in our own form as columns, and why it cannot be stored, if it cannot. '
    'Internal: store_evaluations() uses it.';

-- Where the turns of a delivery went. Those that were stored before are told of again, so a key that is
-- missing comes back.
CREATE FUNCTION agent_metrics_internal.store_span_keys(payloads jsonb[], events jsonb[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' AS $function$
    INSERT INTO agent_metrics_internal.span_keys (
        span_key, agent_id, occurred_at, event_id, conversation_id, call_index, tool, response_id)
    SELECT k.span_key, t.agent_id, t.occurred_at, t.event_id, t.conversation_id, k.call_index, k.tool, k.response_id
    FROM (SELECT e.event, coalesce((e.event ->> 'event_id')::uuid, md5(e.event::text)::uuid) AS event_id,
                 (e.event ->> 'occurred_at')::timestamptz AS occurred_at, e.event ->> 'agent_id' AS agent_id,
                 e.event ->> 'conversation_id' AS conversation_id
          FROM unnest($1, $2) AS e (payload, event)
          WHERE e.event ?| ARRAY['response_id', 'tool_spans']) t
    CROSS JOIN LATERAL (
        -- a longer one is no id, and would not fit into an index
        SELECT t.event_id AS span_key, NULL::integer AS call_index, NULL::text AS tool,
               CASE WHEN length(t.event ->> 'response_id') <= 200 THEN t.event ->> 'response_id' END AS response_id
        UNION ALL
        -- the two lists side by side: the n-th of a list is found by going through it
        SELECT s.span::uuid, s.place::integer - 1,
               CASE WHEN octet_length(s.call ->> 'name') > 256 THEN left(s.call ->> 'name', 64)
                    ELSE s.call ->> 'name' END, NULL
        FROM ROWS FROM (jsonb_array_elements_text(CASE jsonb_typeof(t.event -> 'tool_spans')
                                                      WHEN 'array' THEN t.event -> 'tool_spans' ELSE '[]' END),
                        jsonb_array_elements(CASE jsonb_typeof(t.event -> 'tools_called')
                                                 WHEN 'array' THEN t.event -> 'tools_called' ELSE '[]' END))
             WITH ORDINALITY AS s (span, call, place)
        WHERE s.span IS NOT NULL) k
    ORDER BY t.agent_id, t.occurred_at, t.event_id, k.call_index NULLS FIRST
    ON CONFLICT DO NOTHING
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_span_keys(jsonb[], jsonb[]) IS
    'Notes by which spans and response ids the turns and tool calls of a delivery can be found. '
    'Internal: store_events() uses it.';

-- Of several evaluations of the same thing the latest counts, and of those of one moment the highest score: so the
-- order in which they come does not matter, and a redelivery changes nothing.
CREATE FUNCTION agent_metrics_internal.store_evaluations(events jsonb[], search boolean)
RETURNS TABLE (stored bigint, bad integer[], reasons text[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' SET jit = off AS $function$
#variable_conflict use_column
BEGIN
    -- One statement: what is stored and what is reported as left are of one snapshot.
    RETURN QUERY
    WITH evaluation AS MATERIALIZED (
        SELECT e.position::integer AS position, r.*
        FROM unnest(events) WITH ORDINALITY AS e (event, position)
        CROSS JOIN LATERAL agent_metrics_internal.read_evaluation(e.event) r
    ), responses AS MATERIALIZED (
        -- once a response, however many turns have it and however many evaluations name it
        SELECT d.response_id, x.turns, x.span_key
        FROM (SELECT DISTINCT r.response_id FROM evaluation r WHERE r.reason IS NULL AND r.response_id IS NOT NULL) d
        CROSS JOIN LATERAL (SELECT count(*) AS turns, (array_agg(k.span_key))[1] AS span_key
                            FROM agent_metrics_internal.span_keys k WHERE k.response_id = d.response_id) x
    ), span_turn AS MATERIALIZED (
        SELECT DISTINCT ON (r.position) r.position, x.*
        FROM evaluation r
        LEFT JOIN responses p ON p.response_id = r.response_id
        CROSS JOIN LATERAL (
            SELECT 1 AS way, e.agent_id, e.occurred_at, e.event_id, e.conversation_id, NULL::integer AS call_index,
                   NULL::text AS tool, 1::bigint AS turns
            FROM agent_metrics.agent_events e
            WHERE e.agent_id = r.agent_id AND e.occurred_at = r.occurred_at AND e.event_id = r.event_id
            UNION ALL
            SELECT 2, k.agent_id, k.occurred_at, k.event_id, k.conversation_id, k.call_index, k.tool, 1
            FROM agent_metrics_internal.span_keys k WHERE k.span_key = r.event_id
            UNION ALL
            SELECT 3, k.agent_id, k.occurred_at, k.event_id, k.conversation_id, k.call_index, k.tool, p.turns
            FROM agent_metrics_internal.span_keys k WHERE k.span_key = p.span_key) x
        WHERE r.reason IS NULL
        ORDER BY r.position, x.way
    ), searched_turn AS MATERIALIZED (
        -- turns that came before there were keys: no index leads there, so only a retry looks, once for all
        SELECT DISTINCT ON (e.event_id) e.event_id AS span_key, e.agent_id, e.occurred_at, e.event_id, e.conversation_id
        FROM agent_metrics.agent_events e
        WHERE search
          AND e.event_id IN (SELECT r.event_id FROM evaluation r WHERE r.reason IS NULL AND r.event_id IS NOT NULL
                                      AND NOT EXISTS (SELECT 1 FROM span_turn k WHERE k.position = r.position))
        ORDER BY e.event_id, e.occurred_at, e.agent_id
    ), placed_evaluation AS MATERIALIZED (
        SELECT r.position, r.criterion, r.score, r.judged_by, coalesce(k.agent_id, s.agent_id) AS agent_id,
               coalesce(k.occurred_at, s.occurred_at) AS occurred_at, coalesce(k.event_id, s.event_id) AS event_id,
               k.call_index, k.tool,
               coalesce(t.conversation_id, k.conversation_id, s.conversation_id) AS conversation_id,
               coalesce(r.judged_at, k.occurred_at, s.occurred_at) AS judged_at,
               CASE WHEN r.reason IS NOT NULL THEN r.reason
                    WHEN k.turns > 1
                        THEN format('evaluation "%s" names a response that %s turns have', r.criterion, k.turns)
                    WHEN k.event_id IS NULL AND s.event_id IS NULL
                        THEN format('evaluation "%s" of a turn that is not here', r.criterion)
                    WHEN k.call_index IS NOT NULL AND r.criterion <> 'tool_call_accuracy'
                        THEN format('evaluation "%s" of a tool call: tool_call_accuracy alone is kept of one',
                                    r.criterion)
                    WHEN k.call_index IS NOT NULL AND r.score NOT IN (0, 1)
                        THEN format('score %s of a tool call is neither right (1) nor wrong (0)', r.score) END AS reason
        FROM evaluation r
        LEFT JOIN span_turn k ON k.position = r.position
        LEFT JOIN searched_turn s ON k.position IS NULL AND s.span_key = r.event_id
        -- the turn may have been given another conversation since
        LEFT JOIN LATERAL (SELECT e.conversation_id FROM agent_metrics.agent_events e
                           WHERE e.agent_id = k.agent_id AND e.occurred_at = k.occurred_at
                             AND e.event_id = k.event_id) t ON true
    ), latest_evaluation AS MATERIALIZED (
        SELECT DISTINCT ON (p.agent_id, p.occurred_at, p.event_id, p.call_index,
                            CASE WHEN p.call_index IS NULL THEN p.criterion END) p.*
        FROM placed_evaluation p WHERE p.reason IS NULL
        ORDER BY p.agent_id, p.occurred_at, p.event_id, p.call_index,
                 CASE WHEN p.call_index IS NULL THEN p.criterion END, p.judged_at DESC, p.score DESC
    ), scores AS (
        -- what is known is left out first: a row that conflicts would still log its conversation as changed
        INSERT INTO agent_metrics.turn_scores AS o (
            agent_id, occurred_at, event_id, criterion, conversation_id, score, scored_by, scored_at)
        SELECT l.agent_id, l.occurred_at, l.event_id, l.criterion, l.conversation_id, l.score, l.judged_by, l.judged_at
        FROM latest_evaluation l
        WHERE l.call_index IS NULL
          AND NOT EXISTS (SELECT 1 FROM agent_metrics.turn_scores s
                          WHERE s.agent_id = l.agent_id AND s.occurred_at = l.occurred_at AND s.event_id = l.event_id
                            AND s.criterion = l.criterion
                            AND (s.scored_at, s.score) >= (l.judged_at, l.score))
        ORDER BY l.agent_id, l.occurred_at, l.event_id, l.criterion
        ON CONFLICT (agent_id, occurred_at, event_id, criterion) DO UPDATE
        SET conversation_id = excluded.conversation_id, score = excluded.score, scored_by = excluded.scored_by,
            scored_at = excluded.scored_at
        WHERE (excluded.scored_at, excluded.score) > (o.scored_at, o.score)
        RETURNING 1
    ), verdicts AS (
        INSERT INTO agent_metrics.tool_call_verdicts AS o (
            agent_id, occurred_at, event_id, call_index, conversation_id, tool, is_correct, judged_by, judged_at)
        SELECT l.agent_id, l.occurred_at, l.event_id, l.call_index, l.conversation_id, l.tool, l.score = 1,
               l.judged_by, l.judged_at
        FROM latest_evaluation l
        WHERE l.call_index IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM agent_metrics.tool_call_verdicts v
                          WHERE v.agent_id = l.agent_id AND v.occurred_at = l.occurred_at AND v.event_id = l.event_id
                            AND v.call_index = l.call_index
                            AND (v.judged_at, v.is_correct) >= (l.judged_at, l.score = 1))
        ORDER BY l.agent_id, l.occurred_at, l.event_id, l.call_index
        ON CONFLICT (agent_id, occurred_at, event_id, call_index) DO UPDATE
        SET conversation_id = excluded.conversation_id, tool = excluded.tool, is_correct = excluded.is_correct,
            judged_by = excluded.judged_by, judged_at = excluded.judged_at
        WHERE (excluded.judged_at, excluded.is_correct) > (o.judged_at, o.is_correct)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM scores) + (SELECT count(*) FROM verdicts),
           (SELECT array_agg(p.position ORDER BY p.position) FROM placed_evaluation p WHERE p.reason IS NOT NULL),
           (SELECT array_agg(p.reason ORDER BY p.position) FROM placed_evaluation p WHERE p.reason IS NOT NULL);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_evaluations(jsonb[], boolean) IS
    'Stores evaluations in our own form: how many changed something, and which cannot be stored and why. '
    'With search it looks through all turns for those that came without keys. Internal: store_events() uses it.';
