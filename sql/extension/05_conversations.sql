-- What a conversation is, computed from its facts: the one definition, used by refresh() and by verify().
-- All its turns lie between from_times and to_times, so that only the partitions concerned are looked into.

CREATE FUNCTION agent_metrics.compute_conversations(agent_ids text[], conversation_ids text[], from_times timestamptz[], to_times timestamptz[])
RETURNS TABLE (
    agent_id text, conversation_id text, started_at timestamptz, ended_at timestamptz, turns bigint, token_turns bigint,
    tokens bigint, cost_usd numeric, lead_id text, agent_label text, judge_label text, crm_label text, human_label text,
    outcome_label text, outcome_source text, unmapped_label text, has_outcome boolean, is_success boolean, is_unit boolean,
    is_deflection boolean, is_escalation boolean, is_refusal boolean, is_booking boolean, is_automation boolean,
    is_qualified boolean, is_human_touched boolean, business_event_ids text[])
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT a.agent_id, a.conversation_id, min(a.from_time) AS from_time, max(a.to_time) AS to_time
        FROM unnest(compute_conversations.agent_ids, compute_conversations.conversation_ids, compute_conversations.from_times,
                    compute_conversations.to_times) AS a (agent_id, conversation_id, from_time, to_time)
        GROUP BY a.agent_id, a.conversation_id
    ), events AS MATERIALIZED (
        SELECT e.agent_id, e.conversation_id, e.occurred_at, e.turn_index, e.event_id, e.user_id, e.business_event_id,
               e.outcome_label, e.outcome_source, e.cost_usd,
               coalesce(e.token_usage_input, e.token_usage_output) IS NOT NULL AS has_tokens,
               coalesce(e.token_usage_input, 0) + coalesce(e.token_usage_output, 0) AS tokens
        FROM asked a
        JOIN agent_metrics.agent_events e ON e.conversation_id = a.conversation_id AND e.agent_id = a.agent_id
         AND e.occurred_at >= a.from_time AND e.occurred_at <= a.to_time
        WHERE NOT e.is_eval
    ), turns AS MATERIALIZED (
        SELECT e.agent_id, e.conversation_id, min(e.occurred_at) AS started_at, max(e.occurred_at) AS ended_at,
               count(*) AS turns, count(*) FILTER (WHERE e.has_tokens) AS token_turns, sum(e.tokens)::bigint AS tokens,
               coalesce(sum(e.cost_usd), 0) AS cost_usd, min(e.user_id) AS user_id,
               array_agg(DISTINCT e.business_event_id) FILTER (WHERE e.business_event_id IS NOT NULL) AS business_event_ids
        FROM events e
        GROUP BY e.agent_id, e.conversation_id
    ), latest_labels AS (
        -- of several labels of one source the latest counts
        SELECT DISTINCT ON (e.agent_id, e.conversation_id, e.outcome_source)
               e.agent_id, e.conversation_id, e.outcome_source, e.outcome_label
        FROM events e
        WHERE e.outcome_label IS NOT NULL
        ORDER BY e.agent_id, e.conversation_id, e.outcome_source, e.occurred_at DESC, e.turn_index DESC NULLS LAST, e.event_id DESC
    ), labels AS (
        SELECT l.agent_id, l.conversation_id,
               max(l.outcome_label) FILTER (WHERE l.outcome_source = 'agent') AS agent_label,
               max(l.outcome_label) FILTER (WHERE l.outcome_source = 'judge') AS judge_label,
               max(l.outcome_label) FILTER (WHERE l.outcome_source = 'crm') AS crm_label,
               max(l.outcome_label) FILTER (WHERE l.outcome_source = 'human') AS human_label
        FROM latest_labels l
        GROUP BY l.agent_id, l.conversation_id
    ), business AS MATERIALIZED (
        -- a business event names its conversation, or a turn names the business event
        SELECT t.agent_id, t.conversation_id, b.business_event_id, b.kind, b.occurred_at, b.customer_id
        FROM turns t JOIN agent_metrics.business_events b ON b.conversation_id = t.conversation_id
        UNION
        SELECT t.agent_id, t.conversation_id, b.business_event_id, b.kind, b.occurred_at, b.customer_id
        FROM turns t CROSS JOIN LATERAL unnest(t.business_event_ids) AS named (business_event_id)
        JOIN agent_metrics.business_events b ON b.business_event_id = named.business_event_id
        WHERE b.conversation_id IS NULL OR b.conversation_id = t.conversation_id
    ), crm AS (
        SELECT b.agent_id, b.conversation_id,
               (array_agg(k.meaning ORDER BY b.occurred_at DESC, b.business_event_id DESC) FILTER (WHERE o.label IS NOT NULL))[1] AS label,
               (array_agg(o.is_booking ORDER BY b.occurred_at DESC, b.business_event_id DESC)
                   FILTER (WHERE o.is_booking OR o.label = 'booking_cancelled'))[1] AS is_booking,
               (array_agg(o.is_qualified_lead ORDER BY b.occurred_at DESC, b.business_event_id DESC)
                   FILTER (WHERE o.is_qualified_lead OR o.label = 'disqualified'))[1] AS is_qualified,
               bool_or(k.meaning = 'human_touch') AS is_human_touched,
               (array_agg(b.customer_id ORDER BY b.occurred_at, b.business_event_id) FILTER (WHERE b.customer_id IS NOT NULL))[1] AS customer_id
        FROM business b
        LEFT JOIN agent_metrics.event_kinds k ON k.kind = b.kind
        LEFT JOIN agent_metrics.outcomes o ON o.label = k.meaning
        GROUP BY b.agent_id, b.conversation_id
    ), said AS (
        SELECT t.agent_id, t.conversation_id, t.started_at, t.ended_at, t.turns, t.token_turns, t.tokens, t.cost_usd,
               coalesce(c.customer_id, t.user_id, t.conversation_id) AS lead_id,
               l.agent_label, l.judge_label, coalesce(c.label, l.crm_label) AS crm_label, l.human_label,
               c.is_booking, c.is_qualified, coalesce(c.is_human_touched, false) AS is_human_touched, t.business_event_ids
        FROM turns t
        LEFT JOIN labels l ON l.agent_id = t.agent_id AND l.conversation_id = t.conversation_id
        LEFT JOIN crm c ON c.agent_id = t.agent_id AND c.conversation_id = t.conversation_id
    )
    SELECT s.agent_id, s.conversation_id, s.started_at, s.ended_at, s.turns, s.token_turns, s.tokens, s.cost_usd, s.lead_id,
           s.agent_label, s.judge_label, s.crm_label, s.human_label, o.label,
           CASE o.label WHEN human.label THEN 'human' WHEN crm.label THEN 'crm' WHEN judge.label THEN 'judge' WHEN agent.label THEN 'agent' END,
           coalesce(CASE WHEN human.label IS NULL THEN s.human_label END, CASE WHEN crm.label IS NULL THEN s.crm_label END,
                    CASE WHEN judge.label IS NULL THEN s.judge_label END, CASE WHEN agent.label IS NULL THEN s.agent_label END),
           coalesce(NOT o.is_open, false),
           coalesce(o.is_success AND NOT o.is_open, false),
           coalesce(o.is_unit AND NOT o.is_open, false),
           coalesce(o.is_deflection AND NOT o.is_open AND NOT s.is_human_touched, false),
           coalesce(o.is_escalation AND NOT o.is_open, false),
           coalesce(o.is_refusal AND NOT o.is_open, false),
           coalesce(s.is_booking, o.is_booking, false) AND coalesce(NOT o.is_open, false),
           coalesce(o.is_automation AND NOT o.is_open AND NOT s.is_human_touched, false),
           coalesce(s.is_qualified, false),
           s.is_human_touched, s.business_event_ids
    FROM said s
    LEFT JOIN agent_metrics.outcomes human ON human.label = s.human_label
    LEFT JOIN agent_metrics.outcomes crm ON crm.label = s.crm_label
    LEFT JOIN agent_metrics.outcomes judge ON judge.label = s.judge_label
    LEFT JOIN agent_metrics.outcomes agent ON agent.label = s.agent_label
    -- a label that nobody mapped counts as none, so the next source in precedence speaks
    LEFT JOIN agent_metrics.outcomes o ON o.label = coalesce(human.label, crm.label, judge.label, agent.label);
END
$function$;
COMMENT ON FUNCTION agent_metrics.compute_conversations(text[], text[], timestamptz[], timestamptz[]) IS
    'Conversations as their facts are now, one row each; a conversation without turns gives none. Internal: refresh() and verify() use it.';
