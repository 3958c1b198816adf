-- What a conversation is, computed from its facts: the one definition, used by refresh() and by verify().
-- Its turns are reached in one of three ways, so the text stands here once and is made into three functions:
--   compute_conversations          by their conversation, wherever they lie between from_times and to_times, archived ones too
--   compute_new_conversations      by the transaction that recorded them: conversations that have no other turns
--   compute_agents_conversations   the same for an agent that is built from nothing: by the agent
DO $do$
DECLARE
    source record;
    result constant text := $sql$RETURNS TABLE (
    agent_id text, conversation_id text, started_at timestamptz, ended_at timestamptz, turns bigint, token_turns bigint,
    tokens bigint, cost_usd numeric, lead_id text, agent_label text, judge_label text, crm_label text, human_label text,
    outcome_label text, outcome_source text, unmapped_label text, has_outcome boolean, is_success boolean, is_unit boolean,
    is_deflection boolean, is_escalation boolean, is_refusal boolean, is_booking boolean, is_automation boolean,
    is_qualified boolean, is_human_touched boolean, business_event_ids text[])$sql$;
    live constant text := $sql$e.agent_id, e.conversation_id, e.occurred_at, e.occurred_at AS ended_at, 1 AS turns,
               (e.token_usage_input IS NOT NULL OR e.token_usage_output IS NOT NULL)::integer AS token_turns,
               coalesce(e.token_usage_input, 0) + coalesce(e.token_usage_output, 0) AS tokens, e.cost_usd, e.user_id,
               e.outcome_label, e.outcome_source, e.turn_index, e.event_id, e.business_event_id$sql$;
    new_turns constant text := $sql$
        SELECT $sql$ || live || $sql$
        FROM agent_metrics.agent_events e
        WHERE NOT e.is_eval AND (pg_visible_in_snapshot(e.recorded_in, $4) OR e.recorded_in <= $5)$sql$;
BEGIN
    FOR source IN
        SELECT * FROM (VALUES
            ('compute_conversations', 'agent_ids text[], conversation_ids text[], from_times timestamptz[], to_times timestamptz[]', 'force_generic_plan',
             -- OFFSET 0: one small look-up a conversation, whatever the planner guesses of their number. agent_id is kept from
             -- the index on it: without statistics the planner would walk the agent's whole history.
             $sql$
        SELECT t.*
        FROM (SELECT u.agent_id, u.conversation_id, min(u.from_time) AS from_time, max(u.to_time) AS to_time
              FROM unnest($1, $2, $3, $4) AS u (agent_id, conversation_id, from_time, to_time)
              GROUP BY u.agent_id, u.conversation_id) a
        CROSS JOIN LATERAL (
            SELECT $sql$ || live || $sql$
            FROM agent_metrics.agent_events e
            WHERE e.conversation_id = a.conversation_id AND e.agent_id || '' = a.agent_id
              AND e.occurred_at >= a.from_time AND e.occurred_at <= a.to_time AND NOT e.is_eval
            OFFSET 0) t
        UNION ALL
        SELECT r.agent_id, r.conversation_id, r.occurred_at, r.ended_at, r.turns, r.token_turns, r.tokens, r.cost_usd, r.user_id,
               r.outcome_label, r.outcome_source, r.turn_index, r.event_id, r.business_event_id
        FROM (SELECT DISTINCT u.agent_id, u.conversation_id FROM unnest($1, $2) AS u (agent_id, conversation_id) WHERE has_archives) a
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.archived_conversations x
                            WHERE x.conversation_id = a.conversation_id AND x.agent_id = a.agent_id OFFSET 0) r
        JOIN agent_metrics.archives x ON x.archive_id = r.archive_id AND x.state IN ('detached', 'archived')$sql$,
             'Conversations as their facts are now, one row each; a conversation without turns gives none. Internal: refresh() and verify() use it.'),
            ('compute_new_conversations', 'agent_ids text[], conversation_ids text[], since xid8, present pg_snapshot, foreign_to xid8', 'force_generic_plan',
             new_turns || ' AND e.recorded_in >= $3',
             'Conversations all of whose turns were recorded since, as they are in the present snapshot. Internal: refresh() uses it.'),
            ('compute_agents_conversations', 'agent_ids text[], conversation_ids text[], since xid8, present pg_snapshot, foreign_to xid8', 'force_custom_plan',
             new_turns || ' AND e.agent_id = $1[1]',
             'Conversations of one agent that is built from nothing, as they are in the present snapshot. Internal: refresh() uses it.')
        ) AS v (name, arguments, plans, turns, comment)
    LOOP
        -- All by hash, since a plan that is made once guesses ten rows of whatever it is given, and texts are slow to sort.
        EXECUTE format($create$
CREATE FUNCTION agent_metrics.%1$I(%2$s)
%3$s
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = %4$s SET enable_seqscan = off
SET enable_nestloop = off SET enable_mergejoin = off SET enable_sort = off AS $function$
#variable_conflict use_column
DECLARE
    has_archives boolean := EXISTS (SELECT FROM agent_metrics.archives);
    has_reviews  boolean := EXISTS (SELECT FROM agent_metrics.reviews);
BEGIN
    RETURN QUERY
    WITH turn AS (%5$s
    ), acted AS MATERIALIZED (
        -- what was not asked for is left out when it is added up: that is one look a conversation
        SELECT t.* FROM (
        SELECT t.agent_id, t.conversation_id, min(t.occurred_at) AS started_at, max(t.ended_at) AS ended_at, sum(t.turns)::bigint AS turns,
               sum(t.token_turns)::bigint AS token_turns, sum(t.tokens)::bigint AS tokens,
               coalesce(sum(t.cost_usd), 0) AS cost_usd, min(t.user_id COLLATE "C") AS user_id,
               -- of several labels of one source the latest counts
               agent_metrics.latest(t.outcome_label, t.occurred_at, t.turn_index, t.event_id::text)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'agent') AS agent_label,
               agent_metrics.latest(t.outcome_label, t.occurred_at, t.turn_index, t.event_id::text)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'judge') AS judge_label,
               agent_metrics.latest(t.outcome_label, t.occurred_at, t.turn_index, t.event_id::text)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'crm') AS crm_label,
               max(t.occurred_at) FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'crm') AS crm_said_at,
               agent_metrics.latest(t.outcome_label, t.occurred_at, t.turn_index, t.event_id::text)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'human') AS human_label,
               array_agg(t.business_event_id) FILTER (WHERE t.business_event_id IS NOT NULL) AS business_event_ids
        FROM turn t
        GROUP BY t.agent_id, t.conversation_id
        HAVING sum(t.turns) > 0) t
        JOIN (SELECT DISTINCT u.agent_id, u.conversation_id FROM unnest($1, $2) AS u (agent_id, conversation_id)) a
          ON a.agent_id = t.agent_id AND a.conversation_id = t.conversation_id
    ), business AS MATERIALIZED (
        SELECT b.agent_id, b.conversation_id,
               agent_metrics.latest(k.meaning, b.occurred_at, NULL, b.business_event_id) FILTER (WHERE o.label IS NOT NULL) AS label,
               max(b.occurred_at) FILTER (WHERE o.label IS NOT NULL) AS said_at,
               agent_metrics.latest(o.is_booking::text, b.occurred_at, NULL, b.business_event_id)
                   FILTER (WHERE o.is_booking OR o.label = 'booking_cancelled')::boolean AS is_booking,
               agent_metrics.latest(o.is_qualified_lead::text, b.occurred_at, NULL, b.business_event_id)
                   FILTER (WHERE o.is_qualified_lead OR o.label = 'disqualified')::boolean AS is_qualified,
               bool_or(k.meaning = 'human_touch') AS is_human_touched,
               agent_metrics.earliest(b.customer_id, b.occurred_at, NULL, b.business_event_id) AS customer_id
        FROM (
            -- a business event names its conversation, or a turn names the business event
            SELECT t.agent_id, t.conversation_id, x.business_event_id, x.kind, x.occurred_at, x.customer_id
            FROM acted t
            CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.business_events x WHERE x.conversation_id = t.conversation_id OFFSET 0) x
            UNION ALL
            SELECT t.agent_id, t.conversation_id, x.business_event_id, x.kind, x.occurred_at, x.customer_id
            FROM acted t
            CROSS JOIN LATERAL (SELECT DISTINCT u.id FROM unnest(t.business_event_ids) AS u (id)) u
            CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.business_events x
                                WHERE x.business_event_id = u.id AND x.conversation_id IS NULL OFFSET 0) x
            WHERE t.business_event_ids IS NOT NULL) b
        LEFT JOIN agent_metrics.event_kinds k ON k.kind = b.kind
        LEFT JOIN agent_metrics.outcomes o ON o.label = k.meaning
        GROUP BY b.agent_id, b.conversation_id
    ), said AS MATERIALIZED (
        SELECT t.agent_id, t.conversation_id, t.started_at, t.ended_at, t.turns, t.token_turns, t.tokens, t.cost_usd,
               coalesce(c.customer_id, t.user_id, t.conversation_id) AS lead_id, t.agent_label, t.judge_label,
               -- the business system speaks by its events and by labels it put on turns: the later word counts
               CASE WHEN t.crm_said_at > c.said_at THEN t.crm_label ELSE coalesce(c.label, t.crm_label) END AS crm_label,
               coalesce(h.label, t.human_label) AS human_label,
               c.is_booking, c.is_qualified, coalesce(c.is_human_touched, false) AS is_human_touched, t.business_event_ids
        FROM acted t LEFT JOIN business c ON c.agent_id = t.agent_id AND c.conversation_id = t.conversation_id
        LEFT JOIN LATERAL (
            SELECT r.outcome_label AS label FROM agent_metrics.reviews r
            WHERE has_reviews AND r.conversation_id = t.conversation_id AND r.agent_id = t.agent_id AND r.outcome_label IS NOT NULL
            ORDER BY r.reviewed_at DESC, r.review_id DESC LIMIT 1) h ON true
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
$create$, source.name, source.arguments, result, source.plans, source.turns);
        EXECUTE format('COMMENT ON FUNCTION agent_metrics.%I IS %L', source.name, source.comment);
    END LOOP;
END
$do$;
