-- Writing conversations and leads.

-- Brings conversations up to their facts; what their buckets gain or lose is returned. lead_ids: leads, before and
-- after, of conversations that changed in what a lead is made of, where leads are counted. Where a lead has only gained
-- conversations, lead_starts and lead_qualified say the first moment and the qualification among these; else NULL.
-- arrived: what turns that arrived add up to. agent_ids, conversation_ids, from_times, to_times: what else was touched,
-- and where. A conversation is new when it is not known and did nothing but arrive: all its turns are among those that
-- arrived, so that they need not be looked up. Nor need those of one that is known and only went on: turns that bring
-- no label, no business event and nobody new are added to it. knows_all: all that was there at the last refresh is
-- known. build: what is known may be ahead of what arrives, since a build looks up conversations beyond the span that
-- it reads. Planned anew each time: a plan made while an agent was built, for no known conversation, joins thousands by
-- nested loops. What is added to a bucket is made of the list of measures.
DO $do$
BEGIN
    EXECUTE format($create$
CREATE FUNCTION agent_metrics_internal.refresh_conversations(
    arrived agent_metrics_internal.conversation_sums[], agent_ids text[], conversation_ids text[],
    from_times timestamptz[], to_times timestamptz[], knows_all boolean, build boolean,
    refreshed agent_metrics_internal.refreshed_agent[], current_snapshot pg_snapshot, time_zone text)
RETURNS TABLE (counted jsonb, lead_agents text[], lead_ids text[], lead_starts timestamptz[], lead_qualified boolean[],
               deltas agent_metrics_internal.rollup_delta[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_mergejoin = off AS $function$
#variable_conflict use_column
DECLARE
    new_sums     agent_metrics_internal.conversation_sums[];
    continued    agent_metrics_internal.conversation_sums[];
    asked_agents text[];         -- the others: looked up
    asked_ids    text[];
    asked_from   timestamptz[];
    asked_to     timestamptz[];
    asked_foreign xid8[];
    known_agents text[];         -- of them those that are known, as they are stored
    known_ids    text[];
    known_rows   agent_metrics_internal.conversation[];
    known_places tid[];
    looked_up    agent_metrics_internal.conversation_sums[];
BEGIN
    -- The turns of a conversation lie where it was known to be, or where something was touched.
    SELECT array_agg(d.sums) FILTER (WHERE d.way = 'new'), array_agg(d.sums) FILTER (WHERE d.way = 'continued'),
           array_agg(d.agent_id) FILTER (WHERE d.way = 'asked'),
           array_agg(d.conversation_id) FILTER (WHERE d.way = 'asked'),
           array_agg(d.from_time) FILTER (WHERE d.way = 'asked'), array_agg(d.to_time) FILTER (WHERE d.way = 'asked'),
           array_agg(d.foreign_to) FILTER (WHERE d.way = 'asked'),
           array_agg(d.agent_id) FILTER (WHERE d.place IS NOT NULL),
           array_agg(d.conversation_id) FILTER (WHERE d.place IS NOT NULL),
           array_agg(d.stored) FILTER (WHERE d.place IS NOT NULL), array_agg(d.place) FILTER (WHERE d.place IS NOT NULL)
    INTO new_sums, continued, asked_agents, asked_ids, asked_from, asked_to, asked_foreign, known_agents, known_ids,
         known_rows, known_places
    FROM (SELECT t.agent_id, t.conversation_id, t.sums, c.stored, c.place, f.foreign_to,
                 CASE WHEN c.place IS NULL AND NOT refresh_conversations.knows_all THEN '-infinity'
                      ELSE least(t.from_time, c.started_at) END AS from_time,
                 CASE WHEN c.place IS NULL AND NOT refresh_conversations.knows_all THEN 'infinity'
                      ELSE greatest(t.to_time, c.ended_at) END AS to_time,
                 CASE WHEN NOT t.has_arrived THEN 'asked'
                      WHEN c.place IS NULL THEN 'new'
                      WHEN t.says_nothing AND coalesce(t.user_id = c.lead_id, true) AND NOT refresh_conversations.build
                          THEN 'continued'
                      ELSE 'asked' END AS way
          FROM (SELECT coalesce(a.agent_id, u.agent_id) AS agent_id,
                       coalesce(a.conversation_id, u.conversation_id) AS conversation_id,
                       least(a.started_at, u.from_time) AS from_time, greatest(a.ended_at, u.to_time) AS to_time,
                       a AS sums, a.user_id, coalesce(a.is_new, false) AND u.agent_id IS NULL
                                             AND refresh_conversations.knows_all AS has_arrived,
                       coalesce(a.agent_label, a.judge_label, a.crm_label, a.human_label) IS NULL
                       AND a.business_event_ids IS NULL AS says_nothing
                FROM unnest(refresh_conversations.arrived) a
                FULL JOIN unnest(refresh_conversations.agent_ids, refresh_conversations.conversation_ids,
                                 refresh_conversations.from_times, refresh_conversations.to_times)
                                     AS u (agent_id, conversation_id, from_time, to_time)
                  ON u.agent_id = a.agent_id AND u.conversation_id = a.conversation_id) t
          JOIN unnest(refresh_conversations.refreshed) f ON f.agent_id = t.agent_id
          -- agent_id is kept from the index on it, as in sum_conversations
          LEFT JOIN LATERAL (SELECT ROW(x.agent_id, x.conversation_id, x.started_at, x.ended_at, x.turns, x.token_turns,
                                        x.tokens, x.cost_usd, x.lead_id, x.agent_label, x.judge_label, x.crm_label,
                                        x.human_label, x.outcome_label, x.outcome_source, x.unmapped_label,
                                        x.has_outcome, x.is_success, x.is_unit, x.is_deflection, x.is_escalation,
                                        x.is_refusal, x.is_booking, x.is_automation, x.is_qualified, x.is_human_touched,
                                        x.business_event_ids)::agent_metrics_internal.conversation AS stored,
                                    x.ctid AS place, x.started_at, x.ended_at, x.lead_id
                             FROM agent_metrics.conversations x
                             WHERE x.conversation_id = t.conversation_id AND x.agent_id || '' = t.agent_id LIMIT 1) c
            ON true) d;

    IF asked_agents IS NOT NULL THEN
        looked_up := agent_metrics_internal.sum_conversations(
            asked_agents, asked_ids, asked_from, asked_to, current_snapshot, asked_foreign);
    END IF;

    RETURN QUERY
    WITH stored_row AS MATERIALIZED (
        SELECT k.* FROM unnest(known_rows) k
    ), current_row AS MATERIALIZED (
        SELECT * FROM agent_metrics_internal.resolve_outcomes(looked_up)
        WHERE looked_up IS NOT NULL
        UNION ALL
        SELECT k.agent_id, k.conversation_id, least(k.started_at, a.started_at), greatest(k.ended_at, a.ended_at),
               k.turns + a.turns, k.token_turns + a.token_turns, k.tokens + a.tokens, k.cost_usd + a.cost_usd,
               k.lead_id, k.agent_label, k.judge_label, k.crm_label, k.human_label, k.outcome_label, k.outcome_source,
               k.unmapped_label, k.has_outcome, k.is_success, k.is_unit, k.is_deflection, k.is_escalation, k.is_refusal,
               k.is_booking, k.is_automation, k.is_qualified, k.is_human_touched, k.business_event_ids
        FROM unnest(continued) a
        JOIN stored_row k ON k.agent_id = a.agent_id AND k.conversation_id = a.conversation_id
    ), changed_row AS MATERIALIZED (
        -- what differs, before (-1) and after (+1), and whether there is another side
        SELECT 1 AS sign, k.agent_id IS NOT NULL AS has_other, n.*
        FROM current_row n LEFT JOIN stored_row k ON k.agent_id = n.agent_id AND k.conversation_id = n.conversation_id
        WHERE n IS DISTINCT FROM k
        UNION ALL
        SELECT -1, n.agent_id IS NOT NULL, k.*
        FROM stored_row k LEFT JOIN current_row n ON n.agent_id = k.agent_id AND n.conversation_id = k.conversation_id
        WHERE n IS DISTINCT FROM k
        UNION ALL
        SELECT 1, false, n.* FROM agent_metrics_internal.resolve_outcomes(new_sums) n WHERE new_sums IS NOT NULL
    ), deleted_row AS (
        DELETE FROM agent_metrics.conversations c
        USING changed_row h
        JOIN unnest(known_agents, known_ids, known_places) AS p (agent_id, conversation_id, place)
          ON p.agent_id = h.agent_id AND p.conversation_id = h.conversation_id
        WHERE h.sign = -1 AND NOT h.has_other AND c.ctid = p.place AND c.agent_id = p.agent_id
    ), updated_row AS (
        UPDATE agent_metrics.conversations c
        SET started_at = h.started_at, ended_at = h.ended_at, turns = h.turns, token_turns = h.token_turns,
            tokens = h.tokens, cost_usd = h.cost_usd, lead_id = h.lead_id, agent_label = h.agent_label,
            judge_label = h.judge_label, crm_label = h.crm_label, human_label = h.human_label,
            outcome_label = h.outcome_label, outcome_source = h.outcome_source, unmapped_label = h.unmapped_label,
            has_outcome = h.has_outcome, is_success = h.is_success, is_unit = h.is_unit,
            is_deflection = h.is_deflection, is_escalation = h.is_escalation, is_refusal = h.is_refusal,
            is_booking = h.is_booking, is_automation = h.is_automation, is_qualified = h.is_qualified,
            is_human_touched = h.is_human_touched, business_event_ids = h.business_event_ids
        FROM changed_row h
        JOIN unnest(known_agents, known_ids, known_places) AS p (agent_id, conversation_id, place)
          ON p.agent_id = h.agent_id AND p.conversation_id = h.conversation_id
        WHERE h.sign = 1 AND h.has_other AND c.ctid = p.place AND c.agent_id = p.agent_id
    ), inserted_row AS (
        INSERT INTO agent_metrics.conversations (
            agent_id, conversation_id, started_at, ended_at, turns, token_turns, tokens, cost_usd, lead_id, agent_label,
            judge_label, crm_label, human_label, outcome_label, outcome_source, unmapped_label, has_outcome, is_success,
            is_unit, is_deflection, is_escalation, is_refusal, is_booking, is_automation, is_qualified,
            is_human_touched, business_event_ids)
        SELECT
            h.agent_id, h.conversation_id, h.started_at, h.ended_at, h.turns, h.token_turns, h.tokens, h.cost_usd,
            h.lead_id, h.agent_label, h.judge_label, h.crm_label, h.human_label, h.outcome_label, h.outcome_source,
            h.unmapped_label, h.has_outcome, h.is_success, h.is_unit, h.is_deflection, h.is_escalation, h.is_refusal,
            h.is_booking, h.is_automation, h.is_qualified, h.is_human_touched, h.business_event_ids
        FROM changed_row h WHERE h.sign = 1 AND NOT h.has_other
    ), bucket_difference AS (
        SELECT h.agent_id, agent_metrics_internal.finest_bucket(
                               h.started_at, a.bucket_seconds, refresh_conversations.time_zone) AS bucket,
               sum(h.sign) AS conversations, sum(h.sign * h.has_outcome::integer) AS outcomes,
               sum(h.sign * h.is_success::integer) AS successes, sum(h.sign * h.is_unit::integer) AS units,
               sum(h.sign * h.is_deflection::integer) AS deflections,
               sum(h.sign * h.is_escalation::integer) AS escalations, sum(h.sign * h.is_refusal::integer) AS refusals,
               sum(h.sign * h.is_booking::integer) AS bookings, sum(h.sign * h.is_automation::integer) AS automations,
               sum(h.sign * h.is_unit::integer * h.cost_usd) AS unit_cost_usd,
               sum(h.sign * h.cost_usd) AS conversation_cost_usd,
               sum(h.sign * h.cost_usd * h.cost_usd) AS cost_usd_squared,
               sum(h.sign * h.tokens::numeric * h.tokens) AS tokens_squared,
               sum(h.sign * h.tokens::numeric * h.token_turns) AS tokens_by_turns,
               sum(h.sign * h.token_turns::numeric * h.token_turns) AS turns_squared
        FROM changed_row h
        JOIN unnest(refresh_conversations.refreshed) a ON a.agent_id = h.agent_id
        GROUP BY 1, 2
    )
    SELECT (SELECT jsonb_agg(jsonb_build_object('agent_id', n.agent_id, 'conversations', n.conversations))
            FROM (SELECT h.agent_id, count(*) FILTER (WHERE h.sign = 1 OR NOT h.has_other) AS conversations
                  FROM changed_row h GROUP BY h.agent_id) n),
           l.agents, l.ids, l.starts, l.qualified,
           (SELECT array_agg(%1$s) FROM bucket_difference d WHERE (%2$s) IS DISTINCT FROM (%3$s))
    FROM (SELECT array_agg(x.agent_id) AS agents, array_agg(x.lead_id) AS ids, array_agg(x.started_at) AS starts,
                 array_agg(x.is_qualified) AS qualified
          FROM (SELECT c.agent_id, c.lead_id, CASE WHEN bool_and(c.sign > 0) THEN min(c.started_at) END AS started_at,
                       bool_or(c.is_qualified) AS is_qualified
                FROM (SELECT h.agent_id, h.lead_id, h.started_at, h.is_qualified, sum(h.sign) AS sign
                      FROM changed_row h
                      JOIN unnest(refresh_conversations.refreshed) a ON a.agent_id = h.agent_id AND a.counts_leads
                      GROUP BY h.agent_id, h.conversation_id, h.lead_id, h.started_at, h.is_qualified
                      HAVING sum(h.sign) <> 0) c
                GROUP BY c.agent_id, c.lead_id) x) l;
END
$function$$create$,
        agent_metrics_internal.measure_row(ARRAY['conversation', 'interval']),
        agent_metrics_internal.measure_list('d.%1$I', ARRAY['conversation', 'interval']),
        agent_metrics_internal.measure_list('0', ARRAY['conversation', 'interval']));
END
$do$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_conversations(
    agent_metrics_internal.conversation_sums[], text[], text[], timestamptz[], timestamptz[], boolean, boolean,
    agent_metrics_internal.refreshed_agent[], pg_snapshot, text) IS
    'Brings conversations up to their facts and returns what their buckets gain or lose. Internal: refresh() uses it.';

-- Brings leads up to their conversations. A lead is counted once, on the day of its first conversation. One that only
-- gained conversations, and is known, is told by these, whose first moment is lead_starts; of any other all
-- conversations are looked up.
DO $do$
BEGIN
    EXECUTE format($create$
CREATE FUNCTION agent_metrics_internal.refresh_leads(
    agent_ids text[], lead_ids text[], lead_starts timestamptz[], lead_qualified boolean[],
    refreshed agent_metrics_internal.refreshed_agent[], time_zone text)
RETURNS TABLE (deltas agent_metrics_internal.rollup_delta[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked_lead AS MATERIALIZED (
        SELECT u.agent_id, u.lead_id, u.started_at, u.is_qualified
        FROM unnest(refresh_leads.agent_ids, refresh_leads.lead_ids, refresh_leads.lead_starts,
                    refresh_leads.lead_qualified)
                 AS u (agent_id, lead_id, started_at, is_qualified)
    ), stored_row AS MATERIALIZED (
        SELECT k.agent_id, k.lead_id, k.started_at, k.is_qualified
        FROM asked_lead d
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.leads x
                            WHERE x.agent_id = d.agent_id AND x.lead_id = d.lead_id OFFSET 0) k
    ), current_row AS MATERIALIZED (
        SELECT d.agent_id, d.lead_id, least(d.started_at, k.started_at) AS started_at,
               d.is_qualified OR k.is_qualified AS is_qualified
        FROM asked_lead d JOIN stored_row k ON k.agent_id = d.agent_id AND k.lead_id = d.lead_id
        WHERE d.started_at IS NOT NULL
        UNION ALL
        SELECT c.agent_id, c.lead_id, min(c.started_at), bool_or(c.is_qualified)
        FROM asked_lead d LEFT JOIN stored_row k ON k.agent_id = d.agent_id AND k.lead_id = d.lead_id
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.conversations x
                            WHERE x.lead_id = d.lead_id AND x.agent_id || '' = d.agent_id OFFSET 0) c
        WHERE d.started_at IS NULL OR k.agent_id IS NULL
        GROUP BY c.agent_id, c.lead_id
    ), changed_row AS MATERIALIZED (
        SELECT 1 AS sign, k.agent_id IS NOT NULL AS has_other, n.*
        FROM current_row n LEFT JOIN stored_row k ON k.agent_id = n.agent_id AND k.lead_id = n.lead_id
        WHERE n IS DISTINCT FROM k
        UNION ALL
        SELECT -1, n.agent_id IS NOT NULL, k.*
        FROM stored_row k LEFT JOIN current_row n ON n.agent_id = k.agent_id AND n.lead_id = k.lead_id
        WHERE n IS DISTINCT FROM k
    ), stored_place AS MATERIALIZED (
        SELECT h.agent_id, h.lead_id, h.has_other, x.ctid AS at
        FROM changed_row h
        CROSS JOIN LATERAL (SELECT x.ctid FROM agent_metrics_internal.leads x
                            WHERE x.agent_id = h.agent_id AND x.lead_id = h.lead_id LIMIT 1) x
        WHERE h.sign = -1
    ), deleted_row AS (
        DELETE FROM agent_metrics_internal.leads c
        USING stored_place p WHERE c.ctid = p.at AND c.agent_id = p.agent_id AND NOT p.has_other
    ), updated_row AS (
        UPDATE agent_metrics_internal.leads c SET started_at = h.started_at, is_qualified = h.is_qualified
        FROM stored_place p JOIN changed_row h ON h.sign = 1 AND h.agent_id = p.agent_id AND h.lead_id = p.lead_id
        WHERE c.ctid = p.at AND c.agent_id = p.agent_id
    ), inserted_row AS (
        INSERT INTO agent_metrics_internal.leads (agent_id, lead_id, started_at, is_qualified)
        SELECT h.agent_id, h.lead_id, h.started_at, h.is_qualified
        FROM changed_row h WHERE h.sign = 1 AND NOT h.has_other
    )
    SELECT array_agg(%1$s)
    FROM (SELECT h.agent_id, agent_metrics_internal.finest_bucket(
                                 h.started_at, a.bucket_seconds, refresh_leads.time_zone) AS bucket,
                 sum(h.sign) AS leads, sum(h.sign * h.is_qualified::integer) AS qualified_leads
          FROM changed_row h
          JOIN unnest(refresh_leads.refreshed) a ON a.agent_id = h.agent_id
          GROUP BY 1, 2) d
    WHERE (d.leads, d.qualified_leads) IS DISTINCT FROM (0, 0);
END
$function$$create$, agent_metrics_internal.measure_row(ARRAY['lead']));
END
$do$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_leads(
    text[], text[], timestamptz[], boolean[], agent_metrics_internal.refreshed_agent[], text) IS
    'Brings leads up to their conversations and returns what their buckets gain or lose. Internal: refresh() uses it.';
