-- What a conversation is, computed from its facts: the one definition, used by refresh() and by verify().
-- All its turns lie between from_times and to_times, so that only the partitions concerned are looked into.

CREATE FUNCTION agent_metrics.compute_conversations(agent_ids text[], conversation_ids text[], from_times timestamptz[], to_times timestamptz[])
RETURNS TABLE (
    agent_id text, conversation_id text, started_at timestamptz, ended_at timestamptz, turns bigint, token_turns bigint,
    tokens bigint, cost_usd numeric, lead_id text, agent_label text, judge_label text, crm_label text, human_label text,
    outcome_label text, outcome_source text, unmapped_label text, has_outcome boolean, is_success boolean, is_unit boolean,
    is_deflection boolean, is_escalation boolean, is_refusal boolean, is_booking boolean, is_automation boolean,
    is_qualified boolean, is_human_touched boolean, business_event_ids text[])
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    has_archives boolean := EXISTS (SELECT FROM agent_metrics.archives);
    has_reviews  boolean := EXISTS (SELECT FROM agent_metrics.reviews);
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT a.agent_id, a.conversation_id, min(a.from_time) AS from_time, max(a.to_time) AS to_time
        FROM unnest(compute_conversations.agent_ids, compute_conversations.conversation_ids, compute_conversations.from_times,
                    compute_conversations.to_times) AS a (agent_id, conversation_id, from_time, to_time)
        GROUP BY a.agent_id, a.conversation_id
    ), said AS MATERIALIZED (
        -- One small look-up a conversation, whatever the planner guesses of their number.
        SELECT a.agent_id, a.conversation_id, t.started_at, t.ended_at, t.turns, t.token_turns, t.tokens, t.cost_usd,
               coalesce(c.customer_id, t.user_id, a.conversation_id) AS lead_id,
               t.agent_label, t.judge_label,
               -- the business system speaks by its events and by labels it put on turns: the later word counts
               CASE WHEN t.crm_said_at > c.said_at THEN t.crm_label ELSE coalesce(c.label, t.crm_label) END AS crm_label,
               coalesce(h.label, t.human_label) AS human_label,
               c.is_booking, c.is_qualified, coalesce(c.is_human_touched, false) AS is_human_touched, t.business_event_ids
        FROM asked a
        CROSS JOIN LATERAL (
            SELECT min(e.occurred_at) AS started_at, max(e.ended_at) AS ended_at, sum(e.turns)::bigint AS turns,
                   sum(e.token_turns)::bigint AS token_turns, sum(e.tokens)::bigint AS tokens,
                   coalesce(sum(e.cost_usd), 0) AS cost_usd, min(e.user_id COLLATE "C") AS user_id,
                   -- of several labels of one source the latest counts
                   agent_metrics.latest(e.outcome_label, e.occurred_at, e.turn_index, e.event_id::text)
                       FILTER (WHERE e.outcome_label IS NOT NULL AND e.outcome_source = 'agent') AS agent_label,
                   agent_metrics.latest(e.outcome_label, e.occurred_at, e.turn_index, e.event_id::text)
                       FILTER (WHERE e.outcome_label IS NOT NULL AND e.outcome_source = 'judge') AS judge_label,
                   agent_metrics.latest(e.outcome_label, e.occurred_at, e.turn_index, e.event_id::text)
                       FILTER (WHERE e.outcome_label IS NOT NULL AND e.outcome_source = 'crm') AS crm_label,
                   max(e.occurred_at) FILTER (WHERE e.outcome_label IS NOT NULL AND e.outcome_source = 'crm') AS crm_said_at,
                   agent_metrics.latest(e.outcome_label, e.occurred_at, e.turn_index, e.event_id::text)
                       FILTER (WHERE e.outcome_label IS NOT NULL AND e.outcome_source = 'human') AS human_label,
                   array_agg(e.business_event_id) FILTER (WHERE e.business_event_id IS NOT NULL) AS business_event_ids
            FROM (
                SELECT e.occurred_at, e.occurred_at AS ended_at, 1 AS turns,
                       (e.token_usage_input IS NOT NULL OR e.token_usage_output IS NOT NULL)::integer AS token_turns,
                       coalesce(e.token_usage_input, 0) + coalesce(e.token_usage_output, 0) AS tokens, e.cost_usd, e.user_id,
                       e.outcome_label, e.outcome_source, e.turn_index, e.event_id, e.business_event_id
                FROM agent_metrics.agent_events e
                -- agent_id is kept from the index on it: without statistics the planner would walk the agent's whole history
                WHERE e.conversation_id = a.conversation_id AND e.agent_id || '' = a.agent_id
                  AND e.occurred_at >= a.from_time AND e.occurred_at <= a.to_time AND NOT e.is_eval
                UNION ALL
                SELECT r.occurred_at, r.ended_at, r.turns, r.token_turns, r.tokens, r.cost_usd, r.user_id,
                       r.outcome_label, r.outcome_source, r.turn_index, r.event_id, r.business_event_id
                FROM agent_metrics.archived_conversations r
                WHERE has_archives AND r.conversation_id = a.conversation_id AND r.agent_id = a.agent_id
                  AND EXISTS (SELECT FROM agent_metrics.archives x WHERE x.archive_id = r.archive_id AND x.state IN ('detached', 'archived'))) e) t
        CROSS JOIN LATERAL (
            SELECT agent_metrics.latest(k.meaning, b.occurred_at, NULL, b.business_event_id) FILTER (WHERE o.label IS NOT NULL) AS label,
                   max(b.occurred_at) FILTER (WHERE o.label IS NOT NULL) AS said_at,
                   agent_metrics.latest(o.is_booking::text, b.occurred_at, NULL, b.business_event_id)
                       FILTER (WHERE o.is_booking OR o.label = 'booking_cancelled')::boolean AS is_booking,
                   agent_metrics.latest(o.is_qualified_lead::text, b.occurred_at, NULL, b.business_event_id)
                       FILTER (WHERE o.is_qualified_lead OR o.label = 'disqualified')::boolean AS is_qualified,
                   bool_or(k.meaning = 'human_touch') AS is_human_touched,
                   agent_metrics.earliest(b.customer_id, b.occurred_at, NULL, b.business_event_id) AS customer_id
            FROM (
                -- a business event names its conversation, or a turn names the business event
                SELECT x.business_event_id, x.kind, x.occurred_at, x.customer_id
                FROM agent_metrics.business_events x WHERE x.conversation_id = a.conversation_id
                UNION ALL
                SELECT x.business_event_id, x.kind, x.occurred_at, x.customer_id
                FROM agent_metrics.business_events x
                WHERE x.business_event_id = ANY (t.business_event_ids) AND x.conversation_id IS NULL) b
            LEFT JOIN agent_metrics.event_kinds k ON k.kind = b.kind
            LEFT JOIN agent_metrics.outcomes o ON o.label = k.meaning) c
        LEFT JOIN LATERAL (
            SELECT r.outcome_label AS label FROM agent_metrics.reviews r
            WHERE has_reviews AND r.conversation_id = a.conversation_id AND r.agent_id = a.agent_id AND r.outcome_label IS NOT NULL
            ORDER BY r.reviewed_at DESC, r.review_id DESC LIMIT 1) h ON true
        WHERE t.turns > 0
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
           s.is_human_touched,
           CASE WHEN s.business_event_ids IS NOT NULL THEN ARRAY(SELECT DISTINCT u.id FROM unnest(s.business_event_ids) AS u (id) ORDER BY u.id) END
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
