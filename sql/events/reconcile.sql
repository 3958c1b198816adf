-- A trace's turns are a function of the set of its spans that are known, whatever the order in which they come, in
-- however many portions, however often. So spans are kept for span_days; a delivery adds its own, and the turns of the
-- traces that it touched are brought to what all their spans say, under a lock of each trace.
--
-- Who sends a trace is part of its name: nobody's spans change the turns of somebody else. A turn belongs to the sender
-- by its row in span_keys; one that came otherwise, was erased or archived, or whose trace is closed, is not touched.
-- These functions run with the rights of the tables' owner: a writer may delete nothing.

-- Turns that are complete, brought into agent_events: those that their sender had before are changed where they differ,
-- also when they go on under another span; the others are new. What spans do not bring stays: labels, a cost that was
-- corrected, business_event_id.
CREATE OR REPLACE FUNCTION agent_metrics_internal.apply_turns(
    sender text, wanted agent_metrics_internal.span_turn[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    claims agent_metrics_internal.turn_claim[];
    stored bigint;
BEGIN
    -- Where the sender's turns are that these go on from; the first is changed, further ones go.
    SELECT array_agg(ROW(c.wanted_id, c.agent_id, c.occurred_at, c.event_id, c.told_cost, c.place)
                         ::agent_metrics_internal.turn_claim)
    INTO claims
    FROM (SELECT w.event_id::uuid AS wanted_id, k.agent_id, k.occurred_at, k.event_id, k.told_cost,
                 row_number() OVER (PARTITION BY w.event_id ORDER BY k.event_id <> w.event_id::uuid, k.event_id)
                     AS place
          FROM unnest(wanted) w
          CROSS JOIN LATERAL unnest(ARRAY[w.event_id] || w.replaced) AS n (name)
          JOIN agent_metrics_internal.span_keys k ON k.span_key = n.name::uuid
          JOIN agent_metrics.agent_events e
            ON e.agent_id = k.agent_id AND e.occurred_at = k.occurred_at AND e.event_id = k.event_id
          WHERE k.event_id = k.span_key AND k.call_index IS NULL AND k.sender = $1) c;

    -- One statement: what is there, what changes and what is new are of one snapshot.
    WITH turn AS MATERIALIZED (
        SELECT w.event_id::uuid AS event_id, w.agent_id,
               timestamptz '1970-01-01 00:00:00+00' + w.moment * interval '1 microsecond' AS occurred_at,
               w.conversation_id, w.user_id, w.latency_ms, w.token_usage_input, w.token_usage_output,
               w.token_usage_cache_read, w.token_usage_cache_write, w.usage_details::jsonb AS usage_details,
               (SELECT sum(c.usd::numeric) FROM unnest(w.costs) AS c (usd)) AS told_cost, w.provider, w.model,
               w.service_tier, w.agent_version, w.prompt_version, w.is_eval, w.error,
               w.attributes::jsonb AS attributes, w.tools_called::jsonb AS tools_called,
               (ARRAY[w.event_id] || w.replaced)::uuid[] AS names
        FROM unnest(wanted) w
    ), claim AS MATERIALIZED (
        SELECT c.* FROM unnest(claims) c
    ), gone AS (
        DELETE FROM agent_metrics.agent_events e
        USING claim c
        WHERE c.place > 1 AND e.agent_id = c.agent_id AND e.occurred_at = c.occurred_at AND e.event_id = c.event_id
        RETURNING c.wanted_id, e.outcome_label, e.outcome_source, e.business_event_id, e.intent_classified
    ), inherited AS MATERIALIZED (
        SELECT DISTINCT ON (g.wanted_id) g.* FROM gone g ORDER BY g.wanted_id, g.outcome_label, g.business_event_id
    ), present AS MATERIALIZED (
        SELECT t.*, e.agent_id AS old_agent, e.occurred_at AS old_at, e.event_id AS old_id, e.cost_usd AS old_cost,
               e.computed_cost_usd AS old_computed,
               e.cost_usd IS NOT DISTINCT FROM coalesce(c.told_cost, e.computed_cost_usd) AS is_cost_ours,
               (e.token_usage_input, e.token_usage_output, e.token_usage_cache_read, e.token_usage_cache_write,
                e.usage_details, e.service_tier, e.provider, e.model, e.occurred_at, c.told_cost)
                   IS NOT DISTINCT FROM
               (t.token_usage_input, t.token_usage_output, t.token_usage_cache_read, t.token_usage_cache_write,
                t.usage_details, t.service_tier, t.provider, t.model, t.occurred_at, t.told_cost) AS is_same_use,
               coalesce(e.outcome_label, i.outcome_label) AS label,
               CASE WHEN e.outcome_label IS NULL AND i.outcome_label IS NOT NULL THEN i.outcome_source
                    ELSE e.outcome_source END AS label_source,
               coalesce(e.business_event_id, i.business_event_id) AS business_event,
               coalesce(e.intent_classified, i.intent_classified) AS intent
        FROM turn t
        JOIN claim c ON c.wanted_id = t.event_id AND c.place = 1
        JOIN agent_metrics.agent_events e
          ON e.agent_id = c.agent_id AND e.occurred_at = c.occurred_at AND e.event_id = c.event_id
        LEFT JOIN inherited i ON i.wanted_id = t.event_id
    ), priced AS MATERIALIZED (
        SELECT p.*, CASE WHEN NOT p.is_cost_ours OR p.is_same_use THEN p.old_computed
                         WHEN p.told_cost IS NULL THEN agent_metrics.turn_cost(
                             p.provider, p.model, p.occurred_at, p.token_usage_input, p.token_usage_output,
                             p.token_usage_cache_read, p.token_usage_cache_write, p.usage_details, p.service_tier) END
                         AS computed
        FROM present p
    ), changed AS (
        UPDATE agent_metrics.agent_events e
        SET agent_id = p.agent_id, occurred_at = p.occurred_at, event_id = p.event_id,
            conversation_id = p.conversation_id, user_id = p.user_id, latency_ms = p.latency_ms,
            token_usage_input = p.token_usage_input, token_usage_output = p.token_usage_output,
            token_usage_cache_read = p.token_usage_cache_read, token_usage_cache_write = p.token_usage_cache_write,
            usage_details = p.usage_details, service_tier = p.service_tier, attributes = p.attributes,
            provider = p.provider, model = p.model, agent_version = p.agent_version, prompt_version = p.prompt_version,
            is_eval = p.is_eval, error = p.error, tools_called = p.tools_called,
            cost_usd = CASE WHEN NOT p.is_cost_ours OR p.is_same_use THEN p.old_cost
                            ELSE coalesce(p.told_cost, p.computed) END,
            computed_cost_usd = p.computed, outcome_label = p.label, outcome_source = p.label_source,
            business_event_id = p.business_event, intent_classified = p.intent
        FROM priced p
        WHERE e.agent_id = p.old_agent AND e.occurred_at = p.old_at AND e.event_id = p.old_id
          AND (e.agent_id, e.occurred_at, e.event_id, e.conversation_id, e.user_id, e.latency_ms, e.usage_details,
               e.service_tier, e.attributes, e.provider, e.model, e.agent_version, e.prompt_version, e.is_eval, e.error,
               e.tools_called, p.is_same_use, e.outcome_label, e.business_event_id, e.intent_classified)
                  IS DISTINCT FROM
              (p.agent_id, p.occurred_at, p.event_id, p.conversation_id, p.user_id, p.latency_ms, p.usage_details,
               p.service_tier, p.attributes, p.provider, p.model, p.agent_version, p.prompt_version, p.is_eval, p.error,
               p.tools_called, true, p.label, p.business_event, p.intent)
        RETURNING 1
    ), added AS (
        INSERT INTO agent_metrics.agent_events (
            agent_id, occurred_at, event_id, conversation_id, user_id, latency_ms, token_usage_input,
            token_usage_output, token_usage_cache_read, token_usage_cache_write, usage_details, service_tier,
            attributes, provider, model, agent_version, prompt_version, is_eval, error, tools_called, cost_usd,
            computed_cost_usd)
        SELECT t.agent_id, t.occurred_at, t.event_id, t.conversation_id, t.user_id, t.latency_ms, t.token_usage_input,
               t.token_usage_output, t.token_usage_cache_read, t.token_usage_cache_write, t.usage_details,
               t.service_tier, t.attributes, t.provider, t.model, t.agent_version, t.prompt_version, t.is_eval, t.error,
               t.tools_called, coalesce(t.told_cost, c.cost), c.cost
        FROM turn t
        CROSS JOIN LATERAL (
            SELECT CASE WHEN t.told_cost IS NULL AND t.model IS NOT NULL THEN agent_metrics.turn_cost(
                            t.provider, t.model, t.occurred_at, t.token_usage_input, t.token_usage_output,
                            t.token_usage_cache_read, t.token_usage_cache_write, t.usage_details, t.service_tier) END
                       AS cost
            OFFSET 0) c
        -- one that is somebody else's, or that came before its trace was closed, is there already
        WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.span_keys k
                          WHERE k.span_key = ANY (t.names) AND k.call_index IS NULL)
        ORDER BY t.agent_id, t.occurred_at, t.event_id
        ON CONFLICT DO NOTHING
        RETURNING agent_id, occurred_at, event_id
    ), keyed AS (
        INSERT INTO agent_metrics_internal.span_keys (
            span_key, agent_id, occurred_at, event_id, conversation_id, sender, told_cost, response_id)
        SELECT t.event_id, t.agent_id, t.occurred_at, t.event_id, t.conversation_id, $1, t.told_cost, w.response_id
        FROM added a
        JOIN turn t ON t.event_id = a.event_id
        JOIN unnest(wanted) w ON w.event_id::uuid = t.event_id
        ON CONFLICT DO NOTHING
    )
    SELECT (SELECT count(*) FROM changed) + (SELECT count(*) FROM added) INTO stored;

    -- What was said of a turn goes with it.
    PERFORM agent_metrics_internal.move_turn(c, w.agent_id, timestamptz '1970-01-01 00:00:00+00'
                                                            + w.moment * interval '1 microsecond', w.conversation_id)
    FROM unnest(claims) c
    JOIN unnest(wanted) w ON w.event_id::uuid = c.wanted_id
    ORDER BY c.place;
    RETURN stored;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.apply_turns(text, agent_metrics_internal.span_turn[]) IS
    'Brings complete turns of a sender into agent_events: how many are new or changed. '
    'Internal: take_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.apply_turns(text, agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- The rows that name a turn. Where the turn that it became has such a row too, the later one stays.
CREATE OR REPLACE FUNCTION agent_metrics_internal.move_turn(
    claim agent_metrics_internal.turn_claim, agent text, moment timestamptz, conversation text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF (claim.agent_id, claim.occurred_at, claim.event_id) IS DISTINCT FROM (agent, moment, claim.wanted_id) THEN
        DELETE FROM agent_metrics.turn_scores s
        USING agent_metrics.turn_scores o
        WHERE s.criterion = o.criterion
          AND (s.agent_id, s.occurred_at, s.event_id) = (claim.agent_id, claim.occurred_at, claim.event_id)
          AND (o.agent_id, o.occurred_at, o.event_id) = (agent, moment, claim.wanted_id);
        DELETE FROM agent_metrics.tool_call_verdicts v
        USING agent_metrics.tool_call_verdicts o
        WHERE v.call_index = o.call_index
          AND (v.agent_id, v.occurred_at, v.event_id) = (claim.agent_id, claim.occurred_at, claim.event_id)
          AND (o.agent_id, o.occurred_at, o.event_id) = (agent, moment, claim.wanted_id);
        DELETE FROM agent_metrics_internal.span_keys k
        USING agent_metrics_internal.span_keys o
        WHERE k.span_key = o.span_key AND k.agent_id = claim.agent_id AND o.agent_id = agent
          AND k.agent_id <> o.agent_id AND k.event_id = claim.event_id;
        UPDATE agent_metrics_internal.span_keys k
        SET agent_id = agent, occurred_at = moment, event_id = claim.wanted_id
        WHERE k.agent_id = claim.agent_id AND k.occurred_at = claim.occurred_at AND k.event_id = claim.event_id;
        UPDATE agent_metrics.turn_scores s
        SET agent_id = agent, occurred_at = moment, event_id = claim.wanted_id, conversation_id = conversation
        WHERE s.agent_id = claim.agent_id AND s.occurred_at = claim.occurred_at AND s.event_id = claim.event_id;
        UPDATE agent_metrics.tool_call_verdicts v
        SET agent_id = agent, occurred_at = moment, event_id = claim.wanted_id, conversation_id = conversation
        WHERE v.agent_id = claim.agent_id AND v.occurred_at = claim.occurred_at AND v.event_id = claim.event_id;
        UPDATE agent_metrics.reviews r
        SET agent_id = agent, occurred_at = moment, event_id = claim.wanted_id, conversation_id = conversation
        WHERE r.agent_id = claim.agent_id AND r.occurred_at = claim.occurred_at AND r.event_id = claim.event_id;
    ELSE
        UPDATE agent_metrics.turn_scores s SET conversation_id = conversation
        WHERE s.agent_id = agent AND s.occurred_at = moment AND s.event_id = claim.event_id
          AND s.conversation_id <> conversation;
        UPDATE agent_metrics.tool_call_verdicts v SET conversation_id = conversation
        WHERE v.agent_id = agent AND v.occurred_at = moment AND v.event_id = claim.event_id
          AND v.conversation_id <> conversation;
        UPDATE agent_metrics.reviews r SET conversation_id = conversation
        WHERE r.agent_id = agent AND r.occurred_at = moment AND r.event_id = claim.event_id
          AND r.conversation_id <> conversation;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.move_turn(
    agent_metrics_internal.turn_claim, text, timestamptz, text) IS
    'Scores, verdicts, reviews and keys of a turn go to the turn that it became. Internal: apply_turns() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.move_turn(
    agent_metrics_internal.turn_claim, text, timestamptz, text) FROM PUBLIC;

-- By which spans and responses turns and tool calls are found. A tool that moved to another turn, or to another place
-- in its list, takes the verdict on it along.
CREATE OR REPLACE FUNCTION agent_metrics_internal.keep_keys(
    sender text, wanted agent_metrics_internal.span_turn[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    keys     agent_metrics_internal.span_keys[];
    verdicts agent_metrics.tool_call_verdicts[];
BEGIN
    SELECT array_agg(ROW(x.span_key, o.agent_id, o.occurred_at, o.event_id, w.conversation_id, x.call_index, x.tool,
                         x.response_id, $1, o.told_cost)::agent_metrics_internal.span_keys)
    INTO keys
    FROM unnest(wanted) w
    JOIN agent_metrics_internal.span_keys o
      ON o.span_key = w.event_id::uuid AND o.event_id = o.span_key AND o.agent_id = w.agent_id AND o.sender = $1
    CROSS JOIN LATERAL (
        SELECT w.event_id::uuid AS span_key, NULL::integer AS call_index, NULL::text AS tool, w.response_id
        UNION ALL
        -- what was said of a span that another took the place of is said of that one
        SELECT r.name::uuid, NULL, NULL, NULL FROM unnest(w.replaced) AS r (name)
        UNION ALL
        -- and what is said of a whole trace is said of its last turn
        SELECT md5(w.trace_id || '/')::uuid, NULL, NULL, NULL
        WHERE NOT EXISTS (SELECT 1 FROM unnest(wanted) l
                          WHERE l.trace_id = w.trace_id AND (l.moment, l.event_id) > (w.moment, w.event_id))
        UNION ALL
        SELECT s.span::uuid, s.place::integer - 1, s.call ->> 'name', NULL
        FROM ROWS FROM (unnest(w.tool_spans), jsonb_array_elements(w.tools_called::jsonb)) WITH ORDINALITY
             AS s (span, call, place)
        WHERE w.tool_spans IS NOT NULL) x;
    IF keys IS NULL THEN
        RETURN;
    END IF;

    WITH moved AS (
        DELETE FROM agent_metrics.tool_call_verdicts v
        USING unnest(keys) n, agent_metrics_internal.span_keys k
        WHERE n.call_index IS NOT NULL AND k.span_key = n.span_key AND k.sender = $1 AND k.call_index IS NOT NULL
          AND (k.agent_id, k.occurred_at, k.event_id, k.call_index)
              IS DISTINCT FROM (n.agent_id, n.occurred_at, n.event_id, n.call_index)
          AND v.agent_id = k.agent_id AND v.occurred_at = k.occurred_at AND v.event_id = k.event_id
          AND v.call_index = k.call_index
        RETURNING ROW(n.agent_id, n.occurred_at, n.event_id, n.call_index, n.conversation_id, v.tool, v.is_correct,
                      v.judged_by, v.judged_at, v.changed_in)::agent_metrics.tool_call_verdicts AS verdict
    )
    SELECT array_agg(m.verdict) INTO verdicts FROM moved m;
    INSERT INTO agent_metrics.tool_call_verdicts SELECT (v).* FROM unnest(verdicts) v ON CONFLICT DO NOTHING;

    DELETE FROM agent_metrics_internal.span_keys k
    USING unnest(keys) n
    WHERE k.span_key = n.span_key AND k.sender = $1 AND k.agent_id <> n.agent_id;
    INSERT INTO agent_metrics_internal.span_keys AS o (
        span_key, agent_id, occurred_at, event_id, conversation_id, call_index, tool, response_id, sender, told_cost)
    SELECT DISTINCT ON (n.span_key, n.agent_id) n.*
    FROM unnest(keys) n
    ORDER BY n.span_key, n.agent_id, n.call_index NULLS FIRST
    ON CONFLICT (span_key, agent_id) DO UPDATE
    SET occurred_at = excluded.occurred_at, event_id = excluded.event_id, conversation_id = excluded.conversation_id,
        call_index = excluded.call_index, tool = excluded.tool, response_id = excluded.response_id,
        told_cost = excluded.told_cost
    WHERE o.sender = $1
      AND (o.occurred_at, o.event_id, o.conversation_id, o.call_index, o.tool, o.response_id)
          IS DISTINCT FROM (excluded.occurred_at, excluded.event_id, excluded.conversation_id, excluded.call_index,
                            excluded.tool, excluded.response_id);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.keep_keys(text, agent_metrics_internal.span_turn[]) IS
    'Notes by which spans and responses the turns of a sender and their tool calls are found. '
    'Internal: take_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.keep_keys(text, agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- Turns one by one where one of them cannot be stored, so that only that one waits, with the server's words.
CREATE OR REPLACE FUNCTION agent_metrics_internal.store_wanted(
    sender text, wanted agent_metrics_internal.span_turn[],
    OUT stored bigint, OUT refused agent_metrics_internal.span_turn[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    one agent_metrics_internal.span_turn;
BEGIN
    stored := 0;
    IF coalesce(cardinality(wanted), 0) = 0 THEN
        RETURN;
    END IF;
    BEGIN
        stored := agent_metrics_internal.apply_turns(sender, wanted);
        PERFORM agent_metrics_internal.keep_keys(sender, wanted);
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        stored := 0;
    END;
    FOREACH one IN ARRAY wanted LOOP
        BEGIN
            stored := stored + agent_metrics_internal.apply_turns(sender, ARRAY[one]);
            PERFORM agent_metrics_internal.keep_keys(sender, ARRAY[one]);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
            one.missing := left(SQLERRM, 1000);
            refused := refused || one;
        END;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_wanted(text, agent_metrics_internal.span_turn[]) IS
    'Brings complete turns of a sender into agent_events; those that the server refuses are returned with its words. '
    'Internal: take_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.store_wanted(text, agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- Brings the turns of some traces of a sender to what their spans say. The caller holds their rows of traces.
CREATE OR REPLACE FUNCTION agent_metrics_internal.reconcile_traces(
    sender text, agents text[], traces text[],
    OUT stored bigint, OUT waiting bigint, OUT wanted agent_metrics_internal.span_turn[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    words   record;
    result  record;
    waits   agent_metrics_internal.span_turn[];
BEGIN
    SELECT v.* INTO words FROM agent_metrics_internal.span_words() v;
    SELECT agent_metrics_internal.trace_turns(
               array_agg(s.trace_id), array_agg(s.span_id), array_agg(s.facts),
               coalesce((SELECT array_agg(a.agent_id) FROM agent_metrics.agents a), '{}'), words.vocabulary,
               words.kept)
    INTO wanted
    FROM agent_metrics_internal.spans s WHERE s.sender = $1 AND s.trace_id = ANY (traces);
    SELECT array_agg(w.turn) FILTER (WHERE w.reason IS NULL),
           array_agg(agent_metrics_internal.with_reason(w.turn, w.reason)) FILTER (WHERE w.reason IS NOT NULL)
    INTO wanted, waits
    FROM (SELECT t AS turn,
                 coalesce(t.missing, CASE WHEN t.agent_id <> ALL (agents)
                                          THEN format('agent "%s" is none of those that this sender may write',
                                                      t.agent_id) END) AS reason
          FROM unnest(wanted) t) w;

    -- A turn that the spans no longer tell of, and that no other took over.
    WITH lost AS (
        SELECT k.agent_id, k.occurred_at, k.event_id
        FROM agent_metrics_internal.spans s
        JOIN agent_metrics_internal.span_keys k
          ON k.span_key = md5(s.trace_id || '/' || s.span_id)::uuid AND k.event_id = k.span_key AND k.sender = $1
        WHERE s.sender = $1 AND s.trace_id = ANY (traces) AND k.call_index IS NULL
          AND NOT EXISTS (SELECT 1 FROM unnest(wanted) w
                          WHERE w.event_id::uuid = k.event_id OR k.event_id::text = ANY (w.replaced))
    ), gone AS (
        DELETE FROM agent_metrics.agent_events e USING lost l
        WHERE e.agent_id = l.agent_id AND e.occurred_at = l.occurred_at AND e.event_id = l.event_id
    )
    DELETE FROM agent_metrics_internal.span_keys k USING lost l
    WHERE k.agent_id = l.agent_id AND k.occurred_at = l.occurred_at AND k.event_id = l.event_id;

    SELECT r.* INTO result FROM agent_metrics_internal.store_wanted($1, wanted) r;
    stored := result.stored;
    waits := waits || result.refused;
    waiting := coalesce(cardinality(waits), 0);
    UPDATE agent_metrics_internal.traces t
    SET missing = x.missing, waiting_turns = coalesce(x.turns, 0), waiting_tokens = x.tokens,
        waiting_since = CASE WHEN x.turns > 0 THEN coalesce(t.waiting_since, clock_timestamp()) END
    FROM agent_metrics_internal.traces o
    LEFT JOIN (SELECT w.trace_id, min(w.missing) AS missing, count(*) AS turns,
                      sum(coalesce(w.token_usage_input, 0) + coalesce(w.token_usage_output, 0)) AS tokens
               FROM unnest(waits) w GROUP BY w.trace_id) x ON x.trace_id = o.trace_id
    WHERE o.sender = $1 AND o.trace_id = ANY (traces) AND t.sender = o.sender AND t.trace_id = o.trace_id
      AND (t.missing, t.waiting_turns, t.waiting_tokens)
          IS DISTINCT FROM (x.missing, coalesce(x.turns, 0), x.tokens);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.reconcile_traces(text, text[], text[]) IS
    'Brings the turns of traces of a sender to what their spans say: how many are new or changed, how many wait, and '
    'those that are complete. agents: those that the sender may write; NULL: any. Internal: take_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.reconcile_traces(text, text[], text[]) FROM PUBLIC;

-- Judgements that came before their turn, and wait for it in quarantine.
CREATE OR REPLACE FUNCTION agent_metrics_internal.judge_again(wanted agent_metrics_internal.span_turn[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    events  jsonb[];
    ids     text[];
    result  record;
BEGIN
    SELECT array_agg(q.quarantine_id), array_agg(q.event) INTO ids, events
    FROM agent_metrics.quarantined_events q
    WHERE q.event ? 'evaluation'
      AND (q.event ->> 'event_id' = ANY (ARRAY(SELECT n.name FROM unnest(wanted) w
                                               CROSS JOIN LATERAL unnest(w.event_id || w.replaced || w.tool_spans
                                                                         || md5(w.trace_id || '/')::uuid::text)
                                                   AS n (name)))
           OR q.event ->> 'response_id' = ANY (ARRAY(SELECT w.response_id FROM unnest(wanted) w)));
    IF ids IS NULL THEN
        RETURN 0;
    END IF;
    SELECT e.* INTO result FROM agent_metrics_internal.store_evaluations(events, false) e;
    DELETE FROM agent_metrics.quarantined_events q
    USING unnest(ids) WITH ORDINALITY AS u (id, place)
    WHERE q.quarantine_id = u.id AND u.place <> ALL (coalesce(result.bad, '{}'));
    RETURN result.stored;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.judge_again(agent_metrics_internal.span_turn[]) IS
    'Stores the judgements in quarantine that are about turns which are there now: how many changed something. '
    'Internal: take_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.judge_again(agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- Always in the order of the traces and spans, so that two deliveries of the same traces cannot wait for each other.
CREATE OR REPLACE FUNCTION agent_metrics_internal.take_spans(
    sender text, agents text[], pieces agent_metrics_internal.delivered_piece[],
    OUT stored bigint, OUT repeated bigint, OUT waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    touched text[];
    changed text[];
    result  record;
BEGIN
    SELECT array_agg(DISTINCT p.trace_id ORDER BY p.trace_id) INTO touched
    FROM unnest(pieces) p WHERE p.trace_id IS NOT NULL;
    stored := 0;
    repeated := 0;
    waiting := 0;
    IF touched IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO agent_metrics_internal.traces AS t (sender, trace_id)
    SELECT $1, u.trace_id FROM unnest(touched) AS u (trace_id)
    ON CONFLICT (sender, trace_id) DO UPDATE SET last_seen = clock_timestamp();
    WITH kept AS (
        INSERT INTO agent_metrics_internal.spans AS s (sender, trace_id, span_id, rank, facts)
        SELECT DISTINCT ON (p.trace_id, p.span_id) $1, p.trace_id, p.span_id, p.rank, p.facts
        FROM unnest(pieces) p WHERE p.trace_id IS NOT NULL
        ORDER BY p.trace_id, p.span_id, p.rank DESC, p.facts COLLATE "C" DESC
        -- of several tellings of one span the same one counts whichever comes first
        ON CONFLICT (sender, trace_id, span_id) DO UPDATE SET rank = excluded.rank, facts = excluded.facts
        WHERE (excluded.rank, excluded.facts COLLATE "C") > (s.rank, s.facts COLLATE "C")
        RETURNING s.trace_id
    )
    SELECT array_agg(DISTINCT k.trace_id) INTO changed FROM kept k;
    SELECT array_agg(t.trace_id) INTO changed
    FROM agent_metrics_internal.traces t
    WHERE t.sender = $1 AND t.trace_id = ANY (touched) AND (t.trace_id = ANY (changed) OR t.waiting_turns > 0);
    IF changed IS NOT NULL THEN
        SELECT r.* INTO result FROM agent_metrics_internal.reconcile_traces($1, agents, changed) r;
        stored := result.stored;
        waiting := result.waiting;
        stored := stored + agent_metrics_internal.judge_again(result.wanted);
    END IF;
    -- turns of this delivery that were there
    SELECT greatest(count(*) - stored, 0) INTO repeated
    FROM (SELECT DISTINCT p.trace_id, p.span_id FROM unnest(pieces) p WHERE p.trace_id IS NOT NULL) p
    JOIN agent_metrics_internal.span_keys k ON k.span_key = md5(p.trace_id || '/' || p.span_id)::uuid
    WHERE k.call_index IS NULL AND k.event_id = k.span_key;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.take_spans(
    text, text[], agent_metrics_internal.delivered_piece[]) IS
    'Keeps the spans of a delivery and brings the turns of their traces to what all known spans say: how many are new '
    'or changed, were there already, and wait. Internal: intake_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.take_spans(
    text, text[], agent_metrics_internal.delivered_piece[]) FROM PUBLIC;
