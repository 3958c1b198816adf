-- What a conversation is: the one definition, in two steps. What its turns add up to comes from one of two places:
-- sum_conversations() looks them up by key, archived ones too, and sum_turns() (turns.sql) adds up what has just
-- arrived. resolve_outcomes() then says what that means, with what the business and reviewers said.

CREATE TYPE agent_metrics_internal.refreshed_agent AS (
    agent_id text, bucket_seconds integer, counts_leads boolean, last_snapshot pg_snapshot,
    foreign_to xid8, settings text);
COMMENT ON TYPE agent_metrics_internal.refreshed_agent IS 'An agent whose lock a refresh holds.';
COMMENT ON COLUMN agent_metrics_internal.refreshed_agent.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.refreshed_agent.bucket_seconds IS
    'Its finest bucket: 300, or 3600 for an hour.';
COMMENT ON COLUMN agent_metrics_internal.refreshed_agent.counts_leads IS 'Whether its kind counts leads.';
COMMENT ON COLUMN agent_metrics_internal.refreshed_agent.last_snapshot IS
    'What its last refresh saw; NULL: everything is built.';
COMMENT ON COLUMN agent_metrics_internal.refreshed_agent.foreign_to IS
    'Ids up to this one came from another cluster; NULL: none.';
COMMENT ON COLUMN agent_metrics_internal.refreshed_agent.settings IS 'The settings that its rollups are built with.';

CREATE TYPE agent_metrics_internal.conversation_sums AS (
    agent_id text, conversation_id text, started_at timestamptz, ended_at timestamptz, turns bigint, token_turns bigint,
    tokens bigint, cost_usd numeric, user_id text, agent_label text, judge_label text, crm_label text,
    crm_said_at timestamptz, human_label text, business_event_ids text[], is_new boolean);
COMMENT ON TYPE agent_metrics_internal.conversation_sums IS 'What the turns of one conversation add up to.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.started_at IS 'Moment of the first turn.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.ended_at IS 'Moment of the last turn.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.turns IS 'Turns.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.token_turns IS 'Turns that report tokens.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.tokens IS 'Tokens.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.cost_usd IS 'Known cost in US dollars.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.user_id IS
    'Who the agent spoke with; of several the first by bytes.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.agent_label IS 'Last label that the agent gave.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.judge_label IS 'Last label that a judge model gave.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.crm_label IS
    'Last label that the business system put on a turn.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.crm_said_at IS 'Moment of the turn it was put on.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.human_label IS 'Last label that a person put on a turn.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.business_event_ids IS 'Business events that turns name.';
COMMENT ON COLUMN agent_metrics_internal.conversation_sums.is_new IS
    'Whether all these turns have arrived since the last refresh.';

-- The columns of the table conversations that are ours, in this order; a user may add others to the table.
CREATE TYPE agent_metrics_internal.conversation AS (
    agent_id text, conversation_id text, started_at timestamptz, ended_at timestamptz, turns bigint, token_turns bigint,
    tokens bigint, cost_usd numeric, lead_id text, agent_label text, judge_label text, crm_label text, human_label text,
    outcome_label text, outcome_source text, unmapped_label text, has_outcome boolean, is_success boolean,
    is_unit boolean, is_deflection boolean, is_escalation boolean, is_refusal boolean, is_booking boolean,
    is_automation boolean, is_qualified boolean, is_human_touched boolean, business_event_ids text[]);
COMMENT ON TYPE agent_metrics_internal.conversation IS
    'A conversation as it is known: the columns of the table conversations.';
COMMENT ON COLUMN agent_metrics_internal.conversation.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.conversation.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.conversation.started_at IS 'First turn: decides the bucket.';
COMMENT ON COLUMN agent_metrics_internal.conversation.ended_at IS 'Last turn so far.';
COMMENT ON COLUMN agent_metrics_internal.conversation.turns IS 'Turns.';
COMMENT ON COLUMN agent_metrics_internal.conversation.token_turns IS 'Turns that report tokens.';
COMMENT ON COLUMN agent_metrics_internal.conversation.tokens IS 'Input and output tokens.';
COMMENT ON COLUMN agent_metrics_internal.conversation.cost_usd IS 'Known cost in US dollars.';
COMMENT ON COLUMN agent_metrics_internal.conversation.lead_id IS
    'customer_id of its business events, else user_id, else conversation_id.';
COMMENT ON COLUMN agent_metrics_internal.conversation.agent_label IS 'The agent''s own latest label.';
COMMENT ON COLUMN agent_metrics_internal.conversation.judge_label IS 'A judge''s latest label.';
COMMENT ON COLUMN agent_metrics_internal.conversation.crm_label IS 'What the business system says last.';
COMMENT ON COLUMN agent_metrics_internal.conversation.human_label IS 'What a human review says.';
COMMENT ON COLUMN agent_metrics_internal.conversation.outcome_label IS
    'The label that counts, by precedence human, crm, judge, agent.';
COMMENT ON COLUMN agent_metrics_internal.conversation.outcome_source IS 'Who gave it.';
COMMENT ON COLUMN agent_metrics_internal.conversation.unmapped_label IS
    'A label of this conversation that no row of outcomes maps.';
COMMENT ON COLUMN agent_metrics_internal.conversation.has_outcome IS 'False while the conversation is pending.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_success IS 'Its outcome counts as success.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_unit IS 'Its outcome is a unit of work.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_deflection IS
    'Its outcome is a deflection and no human touched it.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_escalation IS 'It was handed to a human.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_refusal IS 'The agent refused.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_booking IS 'It ended in a booking that stands.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_automation IS 'A task completed with no human step.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_qualified IS 'The business system marks its lead qualified.';
COMMENT ON COLUMN agent_metrics_internal.conversation.is_human_touched IS 'The business system saw a human take part.';
COMMENT ON COLUMN agent_metrics_internal.conversation.business_event_ids IS 'Business events that its turns name.';

-- Turns are counted from the year 1 to the year 9999. Others are refused (check_turn()); what was stored before, or
-- while triggers were off, is in no number and listed in agent_kpi.implausible_times: near the ends of time
-- nothing can be added.
CREATE FUNCTION agent_metrics_internal.first_moment() RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN timestamptz '0001-01-01 00:00:00+00';

CREATE FUNCTION agent_metrics_internal.end_of_moments() RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN timestamptz '10000-01-01 00:00:00+00';
COMMENT ON FUNCTION agent_metrics_internal.first_moment() IS 'First moment at which a turn counts.';
COMMENT ON FUNCTION agent_metrics_internal.end_of_moments() IS 'First moment at which a turn no longer counts.';

-- What cannot be (check_turn() refuses it) is taken for not known where it is there all the same: in a partition that
-- somebody loaded by itself and attached. One such value would make a sum, or a sketch, of everything
-- else fail for good.
CREATE FUNCTION agent_metrics_internal.possible_latency(latency_ms double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN latency_ms >= 0 AND latency_ms < 'Infinity' THEN latency_ms END;

CREATE FUNCTION agent_metrics_internal.possible_tokens(tokens bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN tokens >= 0 AND tokens <= 1000000000000 THEN tokens END;

CREATE FUNCTION agent_metrics_internal.possible_cost(cost_usd numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN cost_usd >= 0 AND cost_usd < 1000000000000 THEN cost_usd END;

CREATE FUNCTION agent_metrics_internal.tool_count(tools_called jsonb) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN jsonb_typeof(tools_called) = 'array' THEN jsonb_array_length(tools_called) END;
COMMENT ON FUNCTION agent_metrics_internal.possible_latency(double precision) IS 'A latency, or NULL for what is none.';
COMMENT ON FUNCTION agent_metrics_internal.possible_tokens(bigint) IS 'A count of tokens, or NULL for what is none.';
COMMENT ON FUNCTION agent_metrics_internal.possible_cost(numeric) IS 'A cost in US dollars, or NULL for what is none.';
COMMENT ON FUNCTION agent_metrics_internal.tool_count(jsonb) IS 'How many tools a turn called; NULL: none is listed.';

-- A name or id that no index row can hold is known by its beginning and its hash. Nothing that long is accepted any
-- more (check_turn()), but what was stored before, or while triggers were off, must not stop a refresh.
CREATE FUNCTION agent_metrics_internal.fitting(words text, most integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(words) <= most THEN words ELSE left(words, most / 8) || '... ' || md5(words) END;
COMMENT ON FUNCTION agent_metrics_internal.fitting(text, integer) IS
    'A text of that many bytes at most: itself, or its beginning and its hash. Internal: refresh() uses it.';

CREATE TYPE agent_metrics_internal.conversation_key AS (agent_id text, conversation_id text, business_event_ids text[]);
COMMENT ON TYPE agent_metrics_internal.conversation_key IS
    'A conversation, and the business events that its turns name.';
COMMENT ON COLUMN agent_metrics_internal.conversation_key.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.conversation_key.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.conversation_key.business_event_ids IS
    'Business events that turns name; NULL: none.';

-- Which business events belong to a conversation: those that name it, and those that a turn names and that name none.
-- Each is looked up by its key.
CREATE FUNCTION agent_metrics_internal.business_of(conversations agent_metrics_internal.conversation_key[])
RETURNS TABLE (agent_id text, conversation_id text, business_event_id text, kind text, occurred_at timestamptz,
               customer_id text, amount_usd numeric)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $function$
#variable_conflict use_column
BEGIN
    -- most warehouses have none: what is empty is not looked into a thousand times
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.business_events) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.agent_id, c.conversation_id, b.business_event_id, b.kind, b.occurred_at, b.customer_id, b.amount_usd
    FROM unnest(business_of.conversations) c
    CROSS JOIN LATERAL (SELECT x.*
                        FROM agent_metrics.business_events x WHERE x.conversation_id = c.conversation_id OFFSET 0) b
    UNION ALL
    SELECT c.agent_id, c.conversation_id, b.business_event_id, b.kind, b.occurred_at, b.customer_id, b.amount_usd
    FROM unnest(business_of.conversations) c
    CROSS JOIN LATERAL (SELECT DISTINCT u.id FROM unnest(c.business_event_ids) AS u (id)) u
    CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.business_events x
                        WHERE x.business_event_id = u.id AND x.conversation_id IS NULL OFFSET 0) b
    WHERE c.business_event_ids IS NOT NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.business_of(agent_metrics_internal.conversation_key[]) IS
    'The business events of conversations: the one definition. Internal: conversations and facts use it.';

-- What a kind of business event may mean besides an outcome: what is no outcome of a conversation, and what is to count
-- for nothing because somebody decided so, which is not the same as a kind that nobody looked at.
CREATE FUNCTION agent_metrics_internal.event_meanings() RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY['human_touch', 'charge', 'refund', 'nps_answer', 'nothing'];
COMMENT ON FUNCTION agent_metrics_internal.event_meanings() IS
    'Meanings of a kind of business event that are no outcome label. Internal: the check of event_kinds and '
    'agent_kpi.unmapped_event_kinds use it.';

-- Every join is by hash: a plan that is made once expects ten rows of an array, and texts are slow to sort.
CREATE FUNCTION agent_metrics_internal.resolve_outcomes(sums agent_metrics_internal.conversation_sums[])
RETURNS SETOF agent_metrics_internal.conversation
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_nestloop = off SET enable_mergejoin = off SET enable_sort = off AS $function$
#variable_conflict use_column
DECLARE
    -- what is empty is not looked into a thousand times
    has_reviews boolean := EXISTS (SELECT 1 FROM agent_metrics.reviews);
BEGIN
    -- One statement: a conversation is resolved in one pass over what was said of it.
    RETURN QUERY
    WITH summed_conversation AS MATERIALIZED (
        SELECT u.* FROM unnest(resolve_outcomes.sums) u
    ), business_outcome AS MATERIALIZED (
        SELECT b.agent_id, b.conversation_id,
               agent_metrics_internal.latest(k.meaning, b.occurred_at, NULL, b.business_event_id)
                   FILTER (WHERE o.label IS NOT NULL) AS label,
               max(b.occurred_at) FILTER (WHERE o.label IS NOT NULL) AS said_at,
               agent_metrics_internal.latest(o.is_booking::text, b.occurred_at, NULL, b.business_event_id)
                   FILTER (WHERE o.is_booking OR o.label = 'booking_cancelled')::boolean AS is_booking,
               agent_metrics_internal.latest(o.is_qualified_lead::text, b.occurred_at, NULL, b.business_event_id)
                   FILTER (WHERE o.is_qualified_lead OR o.label = 'disqualified')::boolean AS is_qualified,
               bool_or(k.meaning = 'human_touch') AS is_human_touched,
               agent_metrics_internal.earliest(b.customer_id, b.occurred_at, NULL, b.business_event_id) AS customer_id
        FROM agent_metrics_internal.business_of(ARRAY(
                 SELECT ROW(t.agent_id, t.conversation_id,
                            t.business_event_ids)::agent_metrics_internal.conversation_key
                 FROM summed_conversation t)) b
        LEFT JOIN agent_metrics.event_kinds k ON k.kind = b.kind
        LEFT JOIN agent_metrics.outcomes o ON o.label = k.meaning
        GROUP BY b.agent_id, b.conversation_id
    ), latest_review AS MATERIALIZED (
        SELECT t.agent_id, t.conversation_id, r.label
        FROM summed_conversation t
        CROSS JOIN LATERAL (
            SELECT x.outcome_label AS label FROM agent_metrics.reviews x
            WHERE x.conversation_id = t.conversation_id AND x.agent_id = t.agent_id AND x.outcome_label IS NOT NULL
            ORDER BY x.reviewed_at DESC, x.review_id DESC LIMIT 1) r
        WHERE has_reviews
    ), labelled_conversation AS MATERIALIZED (
        SELECT t.agent_id, t.conversation_id, t.started_at, t.ended_at, t.turns, t.token_turns, t.tokens, t.cost_usd,
               agent_metrics_internal.fitting(coalesce(c.customer_id, t.user_id, t.conversation_id), 1024) AS lead_id,
               t.agent_label, t.judge_label,
               -- the business system speaks by its events and by labels it put on turns: the later word counts
               CASE WHEN t.crm_said_at > c.said_at THEN t.crm_label
                    ELSE coalesce(c.label, t.crm_label) END AS crm_label,
               coalesce(h.label, t.human_label) AS human_label,
               c.is_booking, c.is_qualified,
               coalesce(c.is_human_touched, false) AS is_human_touched, t.business_event_ids
        FROM summed_conversation t
        LEFT JOIN business_outcome c ON c.agent_id = t.agent_id AND c.conversation_id = t.conversation_id
        LEFT JOIN latest_review h ON h.agent_id = t.agent_id AND h.conversation_id = t.conversation_id
    )
    SELECT s.agent_id, s.conversation_id, s.started_at, s.ended_at, s.turns, s.token_turns, s.tokens, s.cost_usd,
           s.lead_id, s.agent_label, s.judge_label, s.crm_label, s.human_label, o.label,
           CASE o.label WHEN human.label THEN 'human' WHEN crm.label THEN 'crm' WHEN judge.label THEN 'judge'
                        WHEN agent.label THEN 'agent' END,
           agent_metrics_internal.fitting(coalesce(CASE WHEN human.label IS NULL THEN s.human_label END,
                                                   CASE WHEN crm.label IS NULL THEN s.crm_label END,
                                                   CASE WHEN judge.label IS NULL THEN s.judge_label END,
                                                   CASE WHEN agent.label IS NULL THEN s.agent_label END), 256),
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
           CASE WHEN s.business_event_ids IS NOT NULL
                THEN ARRAY(SELECT DISTINCT agent_metrics_internal.fitting(u.id, 1024) AS id
                           FROM unnest(s.business_event_ids) AS u (id) ORDER BY id) END
    FROM labelled_conversation s
    LEFT JOIN agent_metrics.outcomes human ON human.label = s.human_label
    LEFT JOIN agent_metrics.outcomes crm ON crm.label = s.crm_label
    LEFT JOIN agent_metrics.outcomes judge ON judge.label = s.judge_label
    LEFT JOIN agent_metrics.outcomes agent ON agent.label = s.agent_label
    -- a label that nobody mapped counts as none, so the next source in precedence speaks
    LEFT JOIN agent_metrics.outcomes o ON o.label = coalesce(human.label, crm.label, judge.label, agent.label);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.resolve_outcomes(agent_metrics_internal.conversation_sums[]) IS
    'Conversations, from what their turns add up to and what the business and reviewers said of them. '
    'Internal: refresh() and verify() use it.';

-- Turns that current_snapshot sees count, and those whose ids are from another cluster, up to foreign_to. Where it is
-- NULL, all turns count. A turn that commits while a refresh runs is left to the next, which may add it
-- to what is stored.
CREATE FUNCTION agent_metrics_internal.sum_conversations(
    agent_ids text[], conversation_ids text[], from_times timestamptz[], to_times timestamptz[],
    current_snapshot pg_snapshot, foreign_to xid8[])
RETURNS agent_metrics_internal.conversation_sums[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_nestloop = off SET enable_mergejoin = off SET enable_sort = off
-- the planner takes a conversation's sums for six times as large as they are, and would spill a thousand to disk
SET hash_mem_multiplier = 12 AS $function$
#variable_conflict use_column
DECLARE
    has_archives boolean := EXISTS (SELECT 1 FROM agent_metrics_internal.archives);
BEGIN
    -- One statement: turns that are there and those that are archived add up alike.
    RETURN (
    SELECT array_agg(ROW(
        s.agent_id, s.conversation_id, s.started_at, s.ended_at, s.turns, s.token_turns, s.tokens, s.cost_usd,
        s.user_id, s.agent_label, s.judge_label, s.crm_label, s.crm_said_at, s.human_label, s.business_event_ids,
        false)::agent_metrics_internal.conversation_sums)
    FROM (
        SELECT t.agent_id, t.conversation_id, min(t.occurred_at) AS started_at, max(t.ended_at) AS ended_at,
               sum(t.turns)::bigint AS turns, sum(t.token_turns)::bigint AS token_turns,
               sum(t.tokens)::bigint AS tokens,
               coalesce(sum(t.cost_usd), 0) AS cost_usd, min(t.user_id COLLATE "C") AS user_id,
               -- of several labels of one source the latest counts
               agent_metrics_internal.latest(t.outcome_label, t.occurred_at, t.turn_index, t.event_id::text)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'agent') AS agent_label,
               agent_metrics_internal.latest(t.outcome_label, t.occurred_at, t.turn_index, t.event_id::text)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'judge') AS judge_label,
               agent_metrics_internal.latest(t.outcome_label, t.occurred_at, t.turn_index, t.event_id::text)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'crm') AS crm_label,
               max(t.occurred_at)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'crm') AS crm_said_at,
               agent_metrics_internal.latest(t.outcome_label, t.occurred_at, t.turn_index, t.event_id::text)
                   FILTER (WHERE t.outcome_label IS NOT NULL AND t.outcome_source = 'human') AS human_label,
               array_agg(t.business_event_id) FILTER (WHERE t.business_event_id IS NOT NULL) AS business_event_ids
        FROM (
            -- OFFSET 0: one small look-up a conversation, whatever the planner guesses of their number. agent_id is
            -- kept from the index on it: without statistics the planner would walk the agent's whole history.
            SELECT t.*
            FROM (SELECT u.agent_id, u.conversation_id, min(u.from_time) AS from_time, max(u.to_time) AS to_time,
                         max(u.foreign_to) AS foreign_to
                  FROM unnest(sum_conversations.agent_ids, sum_conversations.conversation_ids,
                              sum_conversations.from_times, sum_conversations.to_times, sum_conversations.foreign_to)
                                  AS u (agent_id, conversation_id, from_time, to_time, foreign_to)
                  GROUP BY u.agent_id, u.conversation_id) a
            CROSS JOIN LATERAL (
                SELECT e.agent_id, e.conversation_id, e.occurred_at, e.occurred_at AS ended_at, 1 AS turns,
                       (coalesce(agent_metrics_internal.possible_tokens(e.token_usage_input),
                                 agent_metrics_internal.possible_tokens(e.token_usage_output)) IS NOT NULL)::integer
                           AS token_turns,
                       coalesce(agent_metrics_internal.possible_tokens(e.token_usage_input), 0)
                       + coalesce(agent_metrics_internal.possible_tokens(e.token_usage_output), 0) AS tokens,
                       agent_metrics_internal.possible_cost(e.cost_usd) AS cost_usd, e.user_id,
                       e.outcome_label, e.outcome_source, e.turn_index, e.event_id, e.business_event_id
                FROM agent_metrics.agent_events e
                WHERE e.conversation_id = a.conversation_id AND e.agent_id || '' = a.agent_id
                  AND e.occurred_at >= a.from_time AND e.occurred_at <= a.to_time AND NOT e.is_eval
                  AND e.occurred_at >= agent_metrics_internal.first_moment()
                  AND e.occurred_at < agent_metrics_internal.end_of_moments()
                  AND (sum_conversations.current_snapshot IS NULL
                       OR pg_visible_in_snapshot(e.recorded_in, sum_conversations.current_snapshot)
                       OR e.recorded_in <= a.foreign_to)
                OFFSET 0) t
            UNION ALL
            SELECT r.agent_id, r.conversation_id, r.occurred_at, r.ended_at, r.turns, r.token_turns, r.tokens,
                   r.cost_usd, r.user_id, r.outcome_label, r.outcome_source, r.turn_index,
                   r.event_id, r.business_event_id
            FROM (SELECT DISTINCT u.agent_id, u.conversation_id
                  FROM unnest(sum_conversations.agent_ids, sum_conversations.conversation_ids)
                      AS u (agent_id, conversation_id)
                  WHERE has_archives) a
            CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.archived_conversations x
                                WHERE x.conversation_id = a.conversation_id AND x.agent_id = a.agent_id OFFSET 0) r
            JOIN agent_metrics_internal.archives x ON x.archive_id = r.archive_id AND x.is_counted) t
        GROUP BY t.agent_id, t.conversation_id
        HAVING sum(t.turns) > 0) s);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.sum_conversations(
    text[], text[], timestamptz[], timestamptz[], pg_snapshot, xid8[]) IS
    'What the turns of conversations add up to, looked up by key; NULL: none of them has any. '
    'Internal: refresh() and verify() use it.';
