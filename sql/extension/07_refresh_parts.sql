-- refresh: brings the rollups up to what has committed, at a cost that follows the change.
--
-- A refresh of some agents, in one transaction:
--   1. lock their watermarks; in the next statement read the present snapshot;
--   2. turns recorded between the stored and the present snapshot are added to their buckets, exactly;
--      buckets that saw an update or a deletion are computed again and merged upwards;
--   3. conversations that any fact touched are computed again, and their difference is added to their buckets;
--      leads likewise;
--   4. the present snapshot is stored.
-- The statements here are look-ups by key. Their plans are made once, maybe when the tables were empty, so sequential
-- scans are kept out of them.
-- A fact that commits while this runs is not visible in the present snapshot, so the next refresh finds it.

CREATE FUNCTION agent_metrics.report_time_zone() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN coalesce((SELECT s.value FROM agent_metrics.settings s WHERE s.name = 'report_time_zone'), 'UTC');
END
$function$;
COMMENT ON FUNCTION agent_metrics.report_time_zone() IS 'The setting report_time_zone.';

CREATE FUNCTION agent_metrics.finest_bucket(at timestamptz, bucket_seconds integer, time_zone text) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN agent_metrics.bucket_start(at, CASE bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END, time_zone);
COMMENT ON FUNCTION agent_metrics.finest_bucket(timestamptz, integer, text) IS
    'Start of the finest bucket that a moment lies in: five minutes, or an hour of the report zone''s clock. Internal: refresh() and verify() use it.';

-- Ids can be compared only within one cluster and one table (a shard may move).
CREATE FUNCTION agent_metrics.origin() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN (SELECT c.system_identifier FROM pg_control_system() c) || '/' || 'agent_metrics.agent_watermarks'::regclass::oid;
END
$function$;
COMMENT ON FUNCTION agent_metrics.origin() IS 'Names the cluster and table that transaction ids stored here belong to.';

-- A transaction's own id is in no snapshot, so it would count as seen what it writes later.
CREATE FUNCTION agent_metrics.snapshot_without(seen pg_snapshot, own xid8) RETURNS pg_snapshot
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF own >= pg_snapshot_xmax(seen) THEN
        RETURN seen;
    END IF;
    RETURN (SELECT format('%s:%s:%s', least(pg_snapshot_xmin(seen), own), pg_snapshot_xmax(seen),
                          string_agg(x.id::text, ',' ORDER BY x.id))
            FROM (SELECT pg_snapshot_xip(seen) UNION SELECT own) AS x (id))::pg_snapshot;
END
$function$;
COMMENT ON FUNCTION agent_metrics.snapshot_without(pg_snapshot, xid8) IS 'The snapshot with one more transaction in progress.';

-- Adds deltas to the rows of one level, each of which is written once, and returns them as one a bucket.
CREATE FUNCTION agent_metrics.write_deltas(deltas agent_metrics.rollup_delta[], bucket_level text, time_zone text) RETURNS agent_metrics.rollup_delta[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SET enable_mergejoin = off AS $function$
#variable_conflict use_column
DECLARE
    merged agent_metrics.rollup_delta[] := ARRAY(
        SELECT agent_metrics.sum_deltas(d.agent_id, d.start,
               d.turns, d.token_turns, d.tokens_input, d.tokens_output, d.cost_turns, d.tool_calls, d.error_turns, d.cost_usd,
               d.latency, d.conversations, d.outcomes, d.successes, d.units, d.deflections, d.escalations, d.refusals, d.bookings,
               d.automations, d.unit_cost_usd, d.conversation_cost_usd, d.cost_usd_squared, d.tokens_squared, d.tokens_by_turns,
               d.turns_squared, d.leads, d.qualified_leads)
        FROM (SELECT u.*, CASE write_deltas.bucket_level WHEN 'fine' THEN u.bucket
                               ELSE agent_metrics.bucket_start(u.bucket, write_deltas.bucket_level, write_deltas.time_zone) END AS start
              FROM unnest(write_deltas.deltas) u) d
        GROUP BY d.agent_id, d.start);
BEGIN
    INSERT INTO agent_metrics.rollups AS r (
        agent_id, level, bucket,
        turns, token_turns, tokens_input, tokens_output, cost_turns, tool_calls, error_turns, cost_usd, latency, conversations,
        outcomes, successes, units, deflections, escalations, refusals, bookings, automations, unit_cost_usd,
        conversation_cost_usd, cost_usd_squared, tokens_squared, tokens_by_turns, turns_squared, leads, qualified_leads)
    SELECT d.agent_id, write_deltas.bucket_level, d.bucket,
               d.turns, d.token_turns, d.tokens_input, d.tokens_output, d.cost_turns, d.tool_calls, d.error_turns, d.cost_usd,
               d.latency, d.conversations, d.outcomes, d.successes, d.units, d.deflections, d.escalations, d.refusals, d.bookings,
               d.automations, d.unit_cost_usd, d.conversation_cost_usd, d.cost_usd_squared, d.tokens_squared, d.tokens_by_turns,
               d.turns_squared, d.leads, d.qualified_leads
    FROM unnest(merged) d
    ON CONFLICT (agent_id, level, bucket) DO UPDATE SET
        turns = r.turns + excluded.turns, token_turns = r.token_turns + excluded.token_turns,
        tokens_input = r.tokens_input + excluded.tokens_input, tokens_output = r.tokens_output + excluded.tokens_output,
        cost_turns = r.cost_turns + excluded.cost_turns, tool_calls = r.tool_calls + excluded.tool_calls,
        error_turns = r.error_turns + excluded.error_turns, cost_usd = r.cost_usd + excluded.cost_usd,
        latency = coalesce(r.latency OPERATOR(agent_metrics.+) excluded.latency, r.latency, excluded.latency),
        conversations = r.conversations + excluded.conversations, outcomes = r.outcomes + excluded.outcomes,
        successes = r.successes + excluded.successes, units = r.units + excluded.units,
        deflections = r.deflections + excluded.deflections, escalations = r.escalations + excluded.escalations,
        refusals = r.refusals + excluded.refusals, bookings = r.bookings + excluded.bookings,
        automations = r.automations + excluded.automations, unit_cost_usd = r.unit_cost_usd + excluded.unit_cost_usd,
        conversation_cost_usd = r.conversation_cost_usd + excluded.conversation_cost_usd,
        cost_usd_squared = r.cost_usd_squared + excluded.cost_usd_squared,
        tokens_squared = r.tokens_squared + excluded.tokens_squared,
        tokens_by_turns = r.tokens_by_turns + excluded.tokens_by_turns, turns_squared = r.turns_squared + excluded.turns_squared,
        leads = r.leads + excluded.leads, qualified_leads = r.qualified_leads + excluded.qualified_leads;
    RETURN merged;
END
$function$;
COMMENT ON FUNCTION agent_metrics.write_deltas(agent_metrics.rollup_delta[], text, text) IS
    'Adds deltas to the rows of one level and returns them as one a bucket. Internal: refresh() uses it.';

-- Adds deltas of finest buckets to their rows, and to the hours and days they lie in. All that a refresh adds is added
-- here at once, so that a row is written once. finest_only: the levels above are merged afterwards.
CREATE FUNCTION agent_metrics.add_deltas(
    deltas agent_metrics.rollup_delta[], agent_ids text[], bucket_seconds integer[], time_zone text, finest_only boolean DEFAULT false)
RETURNS TABLE (agent_id text, buckets bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $function$
#variable_conflict use_column
DECLARE
    -- of agents whose finest bucket is five minutes, of all by the hour, of all by the day
    fine agent_metrics.rollup_delta[];
    hour agent_metrics.rollup_delta[];
    day  agent_metrics.rollup_delta[];
BEGIN
    SELECT array_agg(d) FILTER (WHERE a.bucket_seconds = 300), array_agg(d) FILTER (WHERE a.bucket_seconds = 3600) INTO fine, hour
    FROM unnest(add_deltas.deltas) d
    JOIN unnest(add_deltas.agent_ids, add_deltas.bucket_seconds) AS a (agent_id, bucket_seconds) ON a.agent_id = d.agent_id;
    fine := agent_metrics.write_deltas(fine, 'fine', add_deltas.time_zone);
    IF add_deltas.finest_only THEN
        hour := agent_metrics.write_deltas(hour, 'hour', add_deltas.time_zone);
    ELSE
        hour := agent_metrics.write_deltas(hour || fine, 'hour', add_deltas.time_zone);
        day := agent_metrics.write_deltas(hour, 'day', add_deltas.time_zone);
    END IF;
    RETURN QUERY SELECT w.agent_id, count(*) FROM unnest(fine || hour || day) w GROUP BY w.agent_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics.add_deltas(agent_metrics.rollup_delta[], text[], integer[], text, boolean) IS
    'Adds deltas of finest buckets to their rows and to the levels above. Internal: refresh() uses it.';

-- Computes the turn measures of buckets again from the level below.
CREATE FUNCTION agent_metrics.merge_turns(agent_ids text[], starts timestamptz[], to_level text, from_level text, time_zone text)
RETURNS TABLE (agent_id text, buckets bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH written AS (
    INSERT INTO agent_metrics.rollups AS r (agent_id, level, bucket, turns, token_turns, tokens_input, tokens_output, cost_turns, tool_calls, error_turns, cost_usd, latency)
    SELECT b.agent_id, merge_turns.to_level, b.bucket, sum(s.turns)::bigint, sum(s.token_turns)::bigint, sum(s.tokens_input)::bigint, sum(s.tokens_output)::bigint, sum(s.cost_turns)::bigint, sum(s.tool_calls)::bigint, sum(s.error_turns)::bigint, sum(s.cost_usd), agent_metrics.merge(s.latency)
    FROM (SELECT DISTINCT u.agent_id, agent_metrics.bucket_start(u.bucket, merge_turns.to_level, merge_turns.time_zone) AS bucket
          FROM unnest(merge_turns.agent_ids, merge_turns.starts) AS u (agent_id, bucket)) b
    JOIN agent_metrics.rollups s ON s.agent_id = b.agent_id AND s.level = merge_turns.from_level
     AND s.bucket >= b.bucket AND s.bucket < agent_metrics.bucket_end(b.bucket, merge_turns.to_level, merge_turns.time_zone)
    GROUP BY b.agent_id, b.bucket
    ON CONFLICT (agent_id, level, bucket) DO UPDATE SET
        turns = excluded.turns, token_turns = excluded.token_turns, tokens_input = excluded.tokens_input, tokens_output = excluded.tokens_output, cost_turns = excluded.cost_turns, tool_calls = excluded.tool_calls, error_turns = excluded.error_turns, cost_usd = excluded.cost_usd, latency = excluded.latency
    RETURNING r.agent_id)
    SELECT w.agent_id, count(*) FROM written w GROUP BY w.agent_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics.merge_turns(text[], timestamptz[], text, text, text) IS
    'Turn measures of hours from finest buckets, or of days from hours. Internal: refresh() uses it.';

-- Computes the turn measures of finest buckets again from their turns, and of the hours and days above them.
-- Its joins are of few buckets with short ranges of a key, which only a nested loop does by index.
CREATE FUNCTION agent_metrics.recompute_turns(
    agent_ids text[], starts timestamptz[], all_agents text[], bucket_seconds integer[], foreign_to xid8[], present pg_snapshot, time_zone text)
RETURNS TABLE (agent_id text, buckets bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $function$
#variable_conflict use_column
DECLARE
    seconds    integer[];
    to_times   timestamptz[];
    foreign_ids xid8[];
BEGIN
    SELECT array_agg(a.bucket_seconds ORDER BY d.position), array_agg(agent_metrics.bucket_end(d.bucket, CASE a.bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END, recompute_turns.time_zone) ORDER BY d.position),
           array_agg(a.foreign_to ORDER BY d.position)
    INTO seconds, to_times, foreign_ids
    FROM unnest(recompute_turns.agent_ids, recompute_turns.starts) WITH ORDINALITY AS d (agent_id, bucket, position)
    JOIN unnest(recompute_turns.all_agents, recompute_turns.bucket_seconds, recompute_turns.foreign_to)
             AS a (agent_id, bucket_seconds, foreign_to) ON a.agent_id = d.agent_id;

    UPDATE agent_metrics.rollups r
    SET turns = 0, token_turns = 0, tokens_input = 0, tokens_output = 0, cost_turns = 0, tool_calls = 0, error_turns = 0, cost_usd = 0, latency = NULL
    FROM unnest(recompute_turns.agent_ids, recompute_turns.starts, seconds) AS d (agent_id, bucket, bucket_seconds)
    WHERE r.agent_id = d.agent_id AND r.bucket = d.bucket AND r.level = CASE d.bucket_seconds WHEN 300 THEN 'fine' ELSE 'hour' END;

    RETURN QUERY
    SELECT t.agent_id, t.buckets
    FROM (SELECT array_agg(f) AS deltas
          FROM agent_metrics.compute_turns(recompute_turns.agent_ids, recompute_turns.starts, to_times,
              array_fill(NULL::pg_snapshot, ARRAY[cardinality(to_times)]), array_fill(recompute_turns.present, ARRAY[cardinality(to_times)]),
              foreign_ids, seconds, recompute_turns.time_zone, '0'::xid8) f) d
    CROSS JOIN LATERAL agent_metrics.add_deltas(d.deltas, recompute_turns.all_agents, recompute_turns.bucket_seconds,
        recompute_turns.time_zone, true) t;

    RETURN QUERY
    SELECT t.agent_id, t.buckets
    FROM (SELECT array_agg(d.agent_id) AS agents, array_agg(d.bucket) AS starts
          FROM unnest(recompute_turns.agent_ids, recompute_turns.starts, seconds) AS d (agent_id, bucket, bucket_seconds)
          WHERE d.bucket_seconds = 300) f
    CROSS JOIN LATERAL agent_metrics.merge_turns(f.agents, f.starts, 'hour', 'fine', recompute_turns.time_zone) t;

    RETURN QUERY
    SELECT t.agent_id, t.buckets
    FROM agent_metrics.merge_turns(recompute_turns.agent_ids, recompute_turns.starts, 'day', 'hour', recompute_turns.time_zone) t;
END
$function$;
COMMENT ON FUNCTION agent_metrics.recompute_turns(text[], timestamptz[], text[], integer[], xid8[], pg_snapshot, text) IS
    'Computes buckets that saw an update or a deletion again, and the levels above. Internal: refresh() uses it.';

-- Removes rows that hold nothing any more, of finest buckets that lost something and of the hours and days above them. Where
-- there are no turns, conversations and leads, all that is counted of them is 0.
CREATE FUNCTION agent_metrics.drop_empty_buckets(agent_ids text[], starts timestamptz[], time_zone text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $function$
BEGIN
    DELETE FROM agent_metrics.rollups r
    USING (SELECT DISTINCT u.agent_id, l.level, CASE l.level WHEN 'fine' THEN u.bucket ELSE agent_metrics.bucket_start(u.bucket, l.level, drop_empty_buckets.time_zone) END AS bucket
           FROM unnest(drop_empty_buckets.agent_ids, drop_empty_buckets.starts) AS u (agent_id, bucket)
           CROSS JOIN (VALUES ('fine'), ('hour'), ('day')) AS l (level)) d
    WHERE r.agent_id = d.agent_id AND r.bucket = d.bucket AND r.level = d.level
      AND r.turns = 0 AND r.conversations = 0 AND r.leads = 0;
END
$function$;
COMMENT ON FUNCTION agent_metrics.drop_empty_buckets(text[], timestamptz[], text) IS
    'Removes buckets that hold nothing any more. Internal: refresh() uses it.';

-- Brings conversations up to their facts; what their buckets gain or lose is returned. lead_ids: leads, before and after,
-- of conversations that changed in what a lead is made of, where leads are counted. Where a lead has only gained
-- conversations, lead_starts and lead_qualified say the first moment and the qualification among these; else NULL.
-- arrived: what turns that arrived add up to. agent_ids, conversation_ids, from_times, to_times: what else was touched, and
-- where. A conversation is new when it is not known and did nothing but arrive: all its turns are among those that arrived,
-- so that they need not be looked up. Nor need those of one that is known and only went on: turns that bring no label, no
-- business event and nobody new are added to it. knows_all: all that was there at the last refresh is known. build: what is
-- known may be ahead of what arrives, since a build looks up conversations beyond the span that it reads.
-- Planned anew each time: a plan made while an agent was built, for no known conversation, joins thousands by nested loops.
CREATE FUNCTION agent_metrics.refresh_conversations(
    arrived agent_metrics.conversation_sums[], agent_ids text[], conversation_ids text[], from_times timestamptz[], to_times timestamptz[],
    knows_all boolean, build boolean, all_agents text[], bucket_seconds integer[], counts_leads boolean[], present pg_snapshot,
    foreign_to xid8[], time_zone text)
RETURNS TABLE (counted jsonb, lead_agents text[], lead_ids text[], lead_starts timestamptz[], lead_qualified boolean[], deltas agent_metrics.rollup_delta[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan SET enable_seqscan = off
SET enable_mergejoin = off AS $function$
#variable_conflict use_column
DECLARE
    new_sums     agent_metrics.conversation_sums[];
    continued    agent_metrics.conversation_sums[];
    asked_agents text[];         -- the others: looked up
    asked_ids    text[];
    asked_from   timestamptz[];
    asked_to     timestamptz[];
    asked_foreign xid8[];
    known_agents text[];         -- of them those that are known, as they are stored
    known_ids    text[];
    known_rows   agent_metrics.conversation[];
    known_places tid[];
    looked_up    agent_metrics.conversation_sums[];
BEGIN
    -- The turns of a conversation lie where it was known to be, or where something was touched.
    SELECT array_agg(d.sums) FILTER (WHERE d.way = 'new'), array_agg(d.sums) FILTER (WHERE d.way = 'continued'),
           array_agg(d.agent_id) FILTER (WHERE d.way = 'asked'), array_agg(d.conversation_id) FILTER (WHERE d.way = 'asked'),
           array_agg(d.from_time) FILTER (WHERE d.way = 'asked'), array_agg(d.to_time) FILTER (WHERE d.way = 'asked'),
           array_agg(d.foreign_to) FILTER (WHERE d.way = 'asked'),
           array_agg(d.agent_id) FILTER (WHERE d.place IS NOT NULL), array_agg(d.conversation_id) FILTER (WHERE d.place IS NOT NULL),
           array_agg(d.stored) FILTER (WHERE d.place IS NOT NULL), array_agg(d.place) FILTER (WHERE d.place IS NOT NULL)
    INTO new_sums, continued, asked_agents, asked_ids, asked_from, asked_to, asked_foreign, known_agents, known_ids, known_rows, known_places
    FROM (SELECT t.agent_id, t.conversation_id, t.sums, c.stored, c.place, f.foreign_to,
                 CASE WHEN c.place IS NULL AND NOT refresh_conversations.knows_all THEN '-infinity' ELSE least(t.from_time, c.started_at) END AS from_time,
                 CASE WHEN c.place IS NULL AND NOT refresh_conversations.knows_all THEN 'infinity' ELSE greatest(t.to_time, c.ended_at) END AS to_time,
                 CASE WHEN NOT t.has_arrived THEN 'asked'
                      WHEN c.place IS NULL THEN 'new'
                      WHEN t.says_nothing AND coalesce(t.user_id = c.lead_id, true) AND NOT refresh_conversations.build THEN 'continued'
                      ELSE 'asked' END AS way
          FROM (SELECT coalesce(a.agent_id, u.agent_id) AS agent_id, coalesce(a.conversation_id, u.conversation_id) AS conversation_id,
                       least(a.started_at, u.from_time) AS from_time, greatest(a.ended_at, u.to_time) AS to_time, a AS sums, a.user_id,
                       coalesce(a.is_new, false) AND u.agent_id IS NULL AND refresh_conversations.knows_all AS has_arrived,
                       coalesce(a.agent_label, a.judge_label, a.crm_label, a.human_label) IS NULL AND a.business_event_ids IS NULL AS says_nothing
                FROM unnest(refresh_conversations.arrived) a
                FULL JOIN unnest(refresh_conversations.agent_ids, refresh_conversations.conversation_ids, refresh_conversations.from_times,
                                 refresh_conversations.to_times) AS u (agent_id, conversation_id, from_time, to_time)
                  ON u.agent_id = a.agent_id AND u.conversation_id = a.conversation_id) t
          JOIN unnest(refresh_conversations.all_agents, refresh_conversations.foreign_to) AS f (agent_id, foreign_to) ON f.agent_id = t.agent_id
          -- agent_id is kept from the index on it, as in sum_conversations
          LEFT JOIN LATERAL (SELECT ROW(x.agent_id, x.conversation_id, x.started_at, x.ended_at, x.turns, x.token_turns,
                                        x.tokens, x.cost_usd, x.lead_id, x.agent_label, x.judge_label, x.crm_label,
                                        x.human_label, x.outcome_label, x.outcome_source, x.unmapped_label,
                                        x.has_outcome, x.is_success, x.is_unit, x.is_deflection, x.is_escalation,
                                        x.is_refusal, x.is_booking, x.is_automation, x.is_qualified, x.is_human_touched,
                                        x.business_event_ids)::agent_metrics.conversation AS stored, x.ctid AS place, x.started_at, x.ended_at, x.lead_id
                             FROM agent_metrics.conversations x
                             WHERE x.conversation_id = t.conversation_id AND x.agent_id || '' = t.agent_id LIMIT 1) c ON true) d;

    IF asked_agents IS NOT NULL THEN
        looked_up := agent_metrics.sum_conversations(asked_agents, asked_ids, asked_from, asked_to, present, asked_foreign);
    END IF;

    RETURN QUERY
    WITH known AS MATERIALIZED (
        SELECT k.* FROM unnest(known_rows) k
    ), now_known AS MATERIALIZED (
        SELECT * FROM agent_metrics.conclude_conversations(looked_up)
        WHERE looked_up IS NOT NULL
        UNION ALL
        SELECT k.agent_id, k.conversation_id, least(k.started_at, a.started_at), greatest(k.ended_at, a.ended_at), k.turns + a.turns,
               k.token_turns + a.token_turns, k.tokens + a.tokens, k.cost_usd + a.cost_usd, k.lead_id, k.agent_label, k.judge_label,
               k.crm_label, k.human_label, k.outcome_label, k.outcome_source, k.unmapped_label, k.has_outcome, k.is_success, k.is_unit,
               k.is_deflection, k.is_escalation, k.is_refusal, k.is_booking, k.is_automation, k.is_qualified, k.is_human_touched,
               k.business_event_ids
        FROM unnest(continued) a
        JOIN known k ON k.agent_id = a.agent_id AND k.conversation_id = a.conversation_id
    ), changed AS MATERIALIZED (
        -- what differs, before (-1) and after (+1), and whether there is another side
        SELECT 1 AS sign, k.agent_id IS NOT NULL AS has_other, n.*
        FROM now_known n LEFT JOIN known k ON k.agent_id = n.agent_id AND k.conversation_id = n.conversation_id
        WHERE n IS DISTINCT FROM k
        UNION ALL
        SELECT -1, n.agent_id IS NOT NULL, k.*
        FROM known k LEFT JOIN now_known n ON n.agent_id = k.agent_id AND n.conversation_id = k.conversation_id
        WHERE n IS DISTINCT FROM k
        UNION ALL
        SELECT 1, false, n.* FROM agent_metrics.conclude_conversations(new_sums) n WHERE new_sums IS NOT NULL
    ), gone AS (
        DELETE FROM agent_metrics.conversations c
        USING changed h
        JOIN unnest(known_agents, known_ids, known_places) AS p (agent_id, conversation_id, place)
          ON p.agent_id = h.agent_id AND p.conversation_id = h.conversation_id
        WHERE h.sign = -1 AND NOT h.has_other AND c.ctid = p.place AND c.agent_id = p.agent_id
    ), mended AS (
        UPDATE agent_metrics.conversations c
        SET started_at = h.started_at, ended_at = h.ended_at, turns = h.turns, token_turns = h.token_turns, tokens = h.tokens,
            cost_usd = h.cost_usd, lead_id = h.lead_id, agent_label = h.agent_label, judge_label = h.judge_label,
            crm_label = h.crm_label, human_label = h.human_label, outcome_label = h.outcome_label, outcome_source = h.outcome_source,
            unmapped_label = h.unmapped_label, has_outcome = h.has_outcome, is_success = h.is_success, is_unit = h.is_unit,
            is_deflection = h.is_deflection, is_escalation = h.is_escalation, is_refusal = h.is_refusal, is_booking = h.is_booking,
            is_automation = h.is_automation, is_qualified = h.is_qualified, is_human_touched = h.is_human_touched,
            business_event_ids = h.business_event_ids
        FROM changed h
        JOIN unnest(known_agents, known_ids, known_places) AS p (agent_id, conversation_id, place)
          ON p.agent_id = h.agent_id AND p.conversation_id = h.conversation_id
        WHERE h.sign = 1 AND h.has_other AND c.ctid = p.place AND c.agent_id = p.agent_id
    ), added AS (
        INSERT INTO agent_metrics.conversations (
            agent_id, conversation_id, started_at, ended_at, turns, token_turns, tokens, cost_usd, lead_id, agent_label,
            judge_label, crm_label, human_label, outcome_label, outcome_source, unmapped_label, has_outcome, is_success,
            is_unit, is_deflection, is_escalation, is_refusal, is_booking, is_automation, is_qualified, is_human_touched,
            business_event_ids)
        SELECT
            h.agent_id, h.conversation_id, h.started_at, h.ended_at, h.turns, h.token_turns, h.tokens, h.cost_usd,
            h.lead_id, h.agent_label, h.judge_label, h.crm_label, h.human_label, h.outcome_label, h.outcome_source,
            h.unmapped_label, h.has_outcome, h.is_success, h.is_unit, h.is_deflection, h.is_escalation, h.is_refusal,
            h.is_booking, h.is_automation, h.is_qualified, h.is_human_touched, h.business_event_ids
        FROM changed h WHERE h.sign = 1 AND NOT h.has_other
    ), difference AS (
        SELECT h.agent_id, agent_metrics.finest_bucket(h.started_at, a.bucket_seconds, refresh_conversations.time_zone) AS bucket,
               sum(h.sign) AS conversations, sum(h.sign * h.has_outcome::integer) AS outcomes, sum(h.sign * h.is_success::integer) AS successes,
               sum(h.sign * h.is_unit::integer) AS units, sum(h.sign * h.is_deflection::integer) AS deflections,
               sum(h.sign * h.is_escalation::integer) AS escalations, sum(h.sign * h.is_refusal::integer) AS refusals,
               sum(h.sign * h.is_booking::integer) AS bookings, sum(h.sign * h.is_automation::integer) AS automations,
               sum(h.sign * h.is_unit::integer * h.cost_usd) AS unit_cost_usd, sum(h.sign * h.cost_usd) AS conversation_cost_usd,
               sum(h.sign * h.cost_usd * h.cost_usd) AS cost_usd_squared, sum(h.sign * h.tokens::numeric * h.tokens) AS tokens_squared,
               sum(h.sign * h.tokens::numeric * h.token_turns) AS tokens_by_turns,
               sum(h.sign * h.token_turns::numeric * h.token_turns) AS turns_squared
        FROM changed h
        JOIN unnest(refresh_conversations.all_agents, refresh_conversations.bucket_seconds) AS a (agent_id, bucket_seconds) ON a.agent_id = h.agent_id
        GROUP BY 1, 2
    )
    SELECT (SELECT jsonb_agg(jsonb_build_object('agent_id', n.agent_id, 'conversations', n.conversations))
            FROM (SELECT h.agent_id, count(*) FILTER (WHERE h.sign = 1 OR NOT h.has_other) AS conversations FROM changed h GROUP BY h.agent_id) n),
           l.agents, l.ids, l.starts, l.qualified,
           (SELECT array_agg(ROW(d.agent_id, d.bucket, 0, 0, 0, 0, 0, 0, 0, 0, NULL,
                     d.conversations, d.outcomes, d.successes, d.units, d.deflections, d.escalations, d.refusals, d.bookings,
                     d.automations, d.unit_cost_usd, d.conversation_cost_usd, d.cost_usd_squared, d.tokens_squared,
                     d.tokens_by_turns, d.turns_squared, 0, 0)::agent_metrics.rollup_delta)
            FROM difference d
            WHERE (d.conversations, d.outcomes, d.successes, d.units, d.deflections, d.escalations, d.refusals, d.bookings, d.automations,
                   d.unit_cost_usd, d.conversation_cost_usd, d.cost_usd_squared, d.tokens_squared, d.tokens_by_turns, d.turns_squared)
                  IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    FROM (SELECT array_agg(x.agent_id) AS agents, array_agg(x.lead_id) AS ids, array_agg(x.started_at) AS starts, array_agg(x.is_qualified) AS qualified
          FROM (SELECT c.agent_id, c.lead_id, CASE WHEN bool_and(c.sign > 0) THEN min(c.started_at) END AS started_at, bool_or(c.is_qualified) AS is_qualified
                FROM (SELECT h.agent_id, h.lead_id, h.started_at, h.is_qualified, sum(h.sign) AS sign
                      FROM changed h
                      JOIN unnest(refresh_conversations.all_agents, refresh_conversations.counts_leads) AS a (agent_id, counts_leads)
                        ON a.agent_id = h.agent_id AND a.counts_leads
                      GROUP BY h.agent_id, h.conversation_id, h.lead_id, h.started_at, h.is_qualified HAVING sum(h.sign) <> 0) c
                GROUP BY c.agent_id, c.lead_id) x) l;
END
$function$;
COMMENT ON FUNCTION agent_metrics.refresh_conversations(agent_metrics.conversation_sums[], text[], text[], timestamptz[], timestamptz[], boolean, boolean, text[], integer[], boolean[], pg_snapshot, xid8[], text) IS
    'Brings conversations up to their facts and returns what their buckets gain or lose. Internal: refresh() uses it.';

-- Brings leads up to their conversations. A lead is counted once, on the day of its first conversation. One that only
-- gained conversations, and is known, is told by these, whose first moment is lead_starts; of any other all conversations
-- are looked up.
CREATE FUNCTION agent_metrics.refresh_leads(
    agent_ids text[], lead_ids text[], lead_starts timestamptz[], lead_qualified boolean[], all_agents text[], bucket_seconds integer[], time_zone text)
RETURNS TABLE (deltas agent_metrics.rollup_delta[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT u.agent_id, u.lead_id, u.started_at, u.is_qualified
        FROM unnest(refresh_leads.agent_ids, refresh_leads.lead_ids, refresh_leads.lead_starts, refresh_leads.lead_qualified)
                 AS u (agent_id, lead_id, started_at, is_qualified)
    ), known AS MATERIALIZED (
        SELECT k.agent_id, k.lead_id, k.started_at, k.is_qualified
        FROM asked d
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.leads x WHERE x.agent_id = d.agent_id AND x.lead_id = d.lead_id OFFSET 0) k
    ), now_known AS MATERIALIZED (
        SELECT d.agent_id, d.lead_id, least(d.started_at, k.started_at) AS started_at, d.is_qualified OR k.is_qualified AS is_qualified
        FROM asked d JOIN known k ON k.agent_id = d.agent_id AND k.lead_id = d.lead_id
        WHERE d.started_at IS NOT NULL
        UNION ALL
        SELECT c.agent_id, c.lead_id, min(c.started_at), bool_or(c.is_qualified)
        FROM asked d LEFT JOIN known k ON k.agent_id = d.agent_id AND k.lead_id = d.lead_id
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.conversations x WHERE x.lead_id = d.lead_id AND x.agent_id || '' = d.agent_id OFFSET 0) c
        WHERE d.started_at IS NULL OR k.agent_id IS NULL
        GROUP BY c.agent_id, c.lead_id
    ), changed AS MATERIALIZED (
        SELECT 1 AS sign, k.agent_id IS NOT NULL AS has_other, n.*
        FROM now_known n LEFT JOIN known k ON k.agent_id = n.agent_id AND k.lead_id = n.lead_id
        WHERE n IS DISTINCT FROM k
        UNION ALL
        SELECT -1, n.agent_id IS NOT NULL, k.*
        FROM known k LEFT JOIN now_known n ON n.agent_id = k.agent_id AND n.lead_id = k.lead_id
        WHERE n IS DISTINCT FROM k
    ), place AS MATERIALIZED (
        SELECT h.agent_id, h.lead_id, h.has_other, x.ctid AS at
        FROM changed h
        CROSS JOIN LATERAL (SELECT x.ctid FROM agent_metrics.leads x WHERE x.agent_id = h.agent_id AND x.lead_id = h.lead_id LIMIT 1) x
        WHERE h.sign = -1
    ), gone AS (
        DELETE FROM agent_metrics.leads c
        USING place p WHERE c.ctid = p.at AND c.agent_id = p.agent_id AND NOT p.has_other
    ), mended AS (
        UPDATE agent_metrics.leads c SET started_at = h.started_at, is_qualified = h.is_qualified
        FROM place p JOIN changed h ON h.sign = 1 AND h.agent_id = p.agent_id AND h.lead_id = p.lead_id
        WHERE c.ctid = p.at AND c.agent_id = p.agent_id
    ), added AS (
        INSERT INTO agent_metrics.leads (agent_id, lead_id, started_at, is_qualified)
        SELECT h.agent_id, h.lead_id, h.started_at, h.is_qualified FROM changed h WHERE h.sign = 1 AND NOT h.has_other
    )
    SELECT array_agg(ROW(m.agent_id, m.bucket, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, m.leads, m.qualified_leads)::agent_metrics.rollup_delta)
    FROM (SELECT h.agent_id, agent_metrics.finest_bucket(h.started_at, a.bucket_seconds, refresh_leads.time_zone) AS bucket,
                 sum(h.sign) AS leads, sum(h.sign * h.is_qualified::integer) AS qualified_leads
          FROM changed h
          JOIN unnest(refresh_leads.all_agents, refresh_leads.bucket_seconds) AS a (agent_id, bucket_seconds) ON a.agent_id = h.agent_id
          GROUP BY 1, 2) m
    WHERE (m.leads, m.qualified_leads) IS DISTINCT FROM (0, 0);
END
$function$;
COMMENT ON FUNCTION agent_metrics.refresh_leads(text[], text[], timestamptz[], boolean[], text[], integer[], text) IS
    'Brings leads up to their conversations and returns what their buckets gain or lose. Internal: refresh() uses it.';
