-- Turns that spans tell of, brought into agent_events, with the keys by which they are found: see reconcile.sql.

-- Turns of the mapper as the columns of agent_events.
CREATE OR REPLACE FUNCTION agent_metrics_internal.typed_turns(wanted agent_metrics_internal.span_turn[])
RETURNS TABLE (
    event_id uuid, agent_id text, occurred_at timestamptz, conversation_id text, user_id text,
    latency_ms double precision, token_usage_input bigint, token_usage_output bigint, token_usage_cache_read bigint,
    token_usage_cache_write bigint, usage_details jsonb, told_cost numeric, provider text, model text,
    service_tier text, agent_version text, prompt_version text, is_eval boolean, error text, attributes jsonb,
    tools_called jsonb, names uuid[], brought jsonb)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS $function$
    SELECT w.event_id::uuid, w.agent_id,
           timestamptz '1970-01-01 00:00:00+00' + w.moment * interval '1 microsecond', w.conversation_id, w.user_id,
           w.latency_ms, w.token_usage_input, w.token_usage_output, w.token_usage_cache_read,
           w.token_usage_cache_write, w.usage_details::jsonb,
           CASE WHEN w.costs IS NOT NULL THEN (SELECT sum(c.usd::numeric) FROM unnest(w.costs) AS c (usd)) END,
           w.provider, w.model, w.service_tier, w.agent_version, w.prompt_version, w.is_eval, w.error,
           w.attributes::jsonb, w.tools_called::jsonb, (ARRAY[w.event_id] || w.replaced)::uuid[],
           coalesce(w.brought::jsonb, '{}')
    FROM unnest($1) w
$function$;
COMMENT ON FUNCTION agent_metrics_internal.typed_turns(agent_metrics_internal.span_turn[]) IS
    'Turns of the mapper as the columns of agent_events, the producer''s cost, and the ids that they had or take over. '
    'Internal: apply_turns() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.typed_turns(agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- Turns that the sender had before are changed where they differ, also when they go on under another span. What spans
-- do not bring stays: labels, a cost that was corrected, business_event_id.
CREATE OR REPLACE FUNCTION agent_metrics_internal.change_turns(
    wanted agent_metrics_internal.span_turn[], claims agent_metrics_internal.turn_claim[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    stored bigint;
BEGIN
    -- One statement: what is there and what it becomes are of one snapshot.
    WITH claim AS MATERIALIZED (
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
               CASE WHEN t.brought ? 'outcome_label' THEN t.brought ->> 'outcome_label'
                    ELSE coalesce(e.outcome_label, i.outcome_label) END AS label,
               CASE WHEN t.brought ? 'outcome_label' THEN 'agent'
                    WHEN e.outcome_label IS NULL AND i.outcome_label IS NOT NULL THEN i.outcome_source
                    ELSE e.outcome_source END AS label_source,
               CASE WHEN t.brought ? 'business_event_id' THEN t.brought ->> 'business_event_id'
                    ELSE coalesce(e.business_event_id, i.business_event_id) END AS business_event,
               CASE WHEN t.brought ? 'intent_classified' THEN t.brought ->> 'intent_classified'
                    ELSE coalesce(e.intent_classified, i.intent_classified) END AS intent,
               CASE WHEN t.brought ? 'turn_index' THEN (t.brought ->> 'turn_index')::integer
                    ELSE e.turn_index END AS turn_number
        FROM agent_metrics_internal.typed_turns(wanted) t
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
            business_event_id = p.business_event, intent_classified = p.intent, turn_index = p.turn_number
        FROM priced p
        WHERE e.agent_id = p.old_agent AND e.occurred_at = p.old_at AND e.event_id = p.old_id
          AND (e.agent_id, e.occurred_at, e.event_id, e.conversation_id, e.user_id, e.latency_ms, e.usage_details,
               e.service_tier, e.attributes, e.provider, e.model, e.agent_version, e.prompt_version, e.is_eval, e.error,
               e.tools_called, p.is_same_use, e.outcome_label, e.business_event_id, e.intent_classified, e.turn_index)
                  IS DISTINCT FROM
              (p.agent_id, p.occurred_at, p.event_id, p.conversation_id, p.user_id, p.latency_ms, p.usage_details,
               p.service_tier, p.attributes, p.provider, p.model, p.agent_version, p.prompt_version, p.is_eval, p.error,
               p.tools_called, true, p.label, p.business_event, p.intent, p.turn_number)
        RETURNING 1
    )
    SELECT count(*) INTO stored FROM changed;
    RETURN stored;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.change_turns(
    agent_metrics_internal.span_turn[], agent_metrics_internal.turn_claim[]) IS
    'Changes turns of a sender that are there: how many differ. Internal: apply_turns() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.change_turns(
    agent_metrics_internal.span_turn[], agent_metrics_internal.turn_claim[]) FROM PUBLIC;

-- Turns that are complete, brought into agent_events: those that their sender had before, and new ones.
CREATE OR REPLACE FUNCTION agent_metrics_internal.apply_turns(
    sender text, wanted agent_metrics_internal.span_turn[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' SET jit = off SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    claims agent_metrics_internal.turn_claim[];
    stored bigint := 0;
    found  bigint;
    taken  uuid[];  -- turns that are there, whoever sent them
    mine   uuid[];  -- those of them that the sender sent
BEGIN
    SELECT coalesce(array_agg(k.span_key), '{}'), array_agg(k.span_key) FILTER (WHERE k.sender = $1) INTO taken, mine
    FROM agent_metrics_internal.span_keys k
    WHERE k.span_key = ANY (ARRAY(SELECT n.name::uuid FROM unnest(wanted) w
                                  CROSS JOIN LATERAL unnest(w.event_id || w.replaced) AS n (name)))
      -- of a span that was closed also what took its place
      AND (k.event_id = k.span_key OR k.sender IS NULL) AND k.call_index IS NULL;
    IF mine IS NOT NULL THEN
        -- where they are; the first of them becomes the turn, further ones go
        SELECT array_agg(ROW(c.wanted_id, c.agent_id, c.occurred_at, c.event_id, c.told_cost, c.place,
                             c.conversation_id)
                             ::agent_metrics_internal.turn_claim)
        INTO claims
        FROM (SELECT w.event_id::uuid AS wanted_id, k.agent_id, k.occurred_at, k.event_id, k.told_cost,
                     k.conversation_id,
                     row_number() OVER (PARTITION BY w.event_id ORDER BY k.event_id <> w.event_id::uuid, k.event_id)
                         AS place
              FROM unnest(wanted) w
              CROSS JOIN LATERAL unnest(ARRAY[w.event_id] || w.replaced) AS n (name)
              -- by the key, one by one: how many turns come is not known to who plans
              CROSS JOIN LATERAL (
                  SELECT x.* FROM agent_metrics_internal.span_keys x
                  WHERE x.span_key = n.name::uuid AND x.event_id = x.span_key AND x.call_index IS NULL
                    AND x.sender = $1 OFFSET 0) k
              CROSS JOIN LATERAL (
                  SELECT 1 FROM agent_metrics.agent_events e
                  WHERE e.agent_id = k.agent_id AND e.occurred_at = k.occurred_at AND e.event_id = k.event_id
                  OFFSET 0) e) c;
        stored := agent_metrics_internal.change_turns(wanted, claims);
        -- what was said of a turn goes with it
        PERFORM agent_metrics_internal.move_turn(c, t.agent_id, t.occurred_at, t.conversation_id, $1, t.told_cost)
        FROM unnest(claims) c
        JOIN agent_metrics_internal.typed_turns(wanted) t ON t.event_id = c.wanted_id
        WHERE (c.agent_id, c.occurred_at, c.event_id, c.conversation_id, c.told_cost)
              IS DISTINCT FROM (t.agent_id, t.occurred_at, t.event_id, t.conversation_id, t.told_cost)
        ORDER BY c.place;
    END IF;

    WITH new_turn AS MATERIALIZED (
        SELECT t.* FROM agent_metrics_internal.typed_turns(wanted) t
        -- one that is somebody else's, or that came before its trace was closed, is there already
        WHERE t.event_id <> ALL (taken) AND (mine IS NULL OR NOT t.names && mine)
    ), added AS (
        INSERT INTO agent_metrics.agent_events (
            agent_id, occurred_at, event_id, conversation_id, user_id, latency_ms, token_usage_input,
            token_usage_output, token_usage_cache_read, token_usage_cache_write, usage_details, service_tier,
            attributes, provider, model, agent_version, prompt_version, is_eval, error, tools_called, cost_usd,
            computed_cost_usd, outcome_label, business_event_id, intent_classified, turn_index)
        SELECT t.agent_id, t.occurred_at, t.event_id, t.conversation_id, t.user_id, t.latency_ms, t.token_usage_input,
               t.token_usage_output, t.token_usage_cache_read, t.token_usage_cache_write, t.usage_details,
               t.service_tier, t.attributes, t.provider, t.model, t.agent_version, t.prompt_version, t.is_eval, t.error,
               t.tools_called, coalesce(t.told_cost, c.cost), c.cost, t.brought ->> 'outcome_label',
               t.brought ->> 'business_event_id', t.brought ->> 'intent_classified',
               (t.brought ->> 'turn_index')::integer
        FROM new_turn t
        CROSS JOIN LATERAL (
            SELECT CASE WHEN t.told_cost IS NULL AND t.model IS NOT NULL THEN agent_metrics.turn_cost(
                            t.provider, t.model, t.occurred_at, t.token_usage_input, t.token_usage_output,
                            t.token_usage_cache_read, t.token_usage_cache_write, t.usage_details, t.service_tier) END
                       AS cost
            OFFSET 0) c
        ORDER BY t.agent_id, t.occurred_at, t.event_id
        ON CONFLICT DO NOTHING
        RETURNING event_id
    ), keyed AS (
        INSERT INTO agent_metrics_internal.span_keys AS o (
            span_key, agent_id, occurred_at, event_id, conversation_id, sender, told_cost)
        SELECT t.event_id, t.agent_id, t.occurred_at, t.event_id, t.conversation_id, $1, t.told_cost
        FROM added a
        JOIN new_turn t ON t.event_id = a.event_id
        -- it may have led to the turn that took its place before
        ON CONFLICT (span_key, agent_id) DO UPDATE
        SET occurred_at = excluded.occurred_at, event_id = excluded.event_id, call_index = NULL, tool = NULL,
            conversation_id = excluded.conversation_id, told_cost = excluded.told_cost
        WHERE o.sender = $1
    )
    SELECT count(*) INTO found FROM added a;
    RETURN stored + found;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.apply_turns(text, agent_metrics_internal.span_turn[]) IS
    'Brings complete turns of a sender into agent_events: how many are new or changed. '
    'Internal: store_wanted() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.apply_turns(text, agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- The rows that name a turn. Where the turn that it became has such a row too, the later one stays.
CREATE OR REPLACE FUNCTION agent_metrics_internal.move_turn(
    claim agent_metrics_internal.turn_claim, agent text, moment timestamptz, conversation text, sender text,
    told numeric) RETURNS void
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
    -- by the turn's own key the sender knows it for his
    DELETE FROM agent_metrics_internal.span_keys k
    WHERE k.span_key = claim.wanted_id AND k.agent_id <> agent AND k.sender = move_turn.sender;
    INSERT INTO agent_metrics_internal.span_keys AS o (
        span_key, agent_id, occurred_at, event_id, conversation_id, sender, told_cost)
    VALUES (claim.wanted_id, agent, moment, claim.wanted_id, conversation, move_turn.sender, told)
    ON CONFLICT (span_key, agent_id) DO UPDATE
    SET occurred_at = excluded.occurred_at, event_id = excluded.event_id, call_index = NULL, tool = NULL,
        conversation_id = excluded.conversation_id, told_cost = excluded.told_cost
    WHERE o.sender = excluded.sender
      AND (o.occurred_at, o.event_id, o.conversation_id, o.told_cost)
          IS DISTINCT FROM (excluded.occurred_at, excluded.event_id, excluded.conversation_id, excluded.told_cost);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.move_turn(
    agent_metrics_internal.turn_claim, text, timestamptz, text, text, numeric) IS
    'Scores, verdicts, reviews and keys of a turn go to the turn that it became. Internal: apply_turns() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.move_turn(
    agent_metrics_internal.turn_claim, text, timestamptz, text, text, numeric) FROM PUBLIC;

-- By which spans and responses turns and tool calls are found. A tool that moved to another turn, or to another place
-- in its list, takes the verdict on it along.
CREATE OR REPLACE FUNCTION agent_metrics_internal.keep_keys(
    sender text, wanted agent_metrics_internal.span_turn[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    keys     agent_metrics_internal.span_keys[];
    verdicts agent_metrics.tool_call_verdicts[];
BEGIN
    SELECT array_agg(ROW(x.span_key, o.agent_id, o.occurred_at, o.event_id, w.conversation_id, x.call_index, x.tool,
                         x.response_id, $1, o.told_cost)::agent_metrics_internal.span_keys)
    INTO keys
    FROM (SELECT u.*, row_number() OVER (PARTITION BY u.trace_id ORDER BY u.moment DESC, u.event_id DESC) = 1 AS is_last
          FROM unnest(wanted) u) w
    CROSS JOIN LATERAL (
        SELECT x.* FROM agent_metrics_internal.span_keys x
        WHERE x.span_key = w.event_id::uuid AND x.agent_id = w.agent_id AND x.event_id = x.span_key
          AND x.sender = $1 OFFSET 0) o
    CROSS JOIN LATERAL (
        SELECT w.event_id::uuid AS span_key, NULL::integer AS call_index, NULL::text AS tool, w.response_id
        WHERE w.response_id IS NOT NULL
        UNION ALL
        -- what was said of a span that another took the place of is said of that one
        SELECT r.name::uuid, NULL, NULL, NULL FROM unnest(w.replaced) AS r (name)
        UNION ALL
        -- and what is said of a whole trace is said of its last turn
        SELECT md5(w.trace_id || '/')::uuid, NULL, NULL, NULL WHERE w.is_last AND w.brought IS NULL
        UNION ALL
        SELECT s.span::uuid, s.place::integer - 1, s.call ->> 'name', NULL
        FROM ROWS FROM (unnest(w.tool_spans), jsonb_array_elements(w.tools_called::jsonb)) WITH ORDINALITY
             AS s (span, call, place)
        WHERE w.tool_spans IS NOT NULL) x;
    IF keys IS NULL THEN
        RETURN;
    END IF;

    -- of traces that are new there are none
    IF EXISTS (SELECT 1 FROM agent_metrics_internal.span_keys k
               WHERE k.span_key = ANY (ARRAY(SELECT n.span_key FROM unnest(keys) n)) AND k.sender = $1
                 AND k.event_id <> k.span_key) THEN
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
    END IF;
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
