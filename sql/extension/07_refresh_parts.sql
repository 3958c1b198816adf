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

-- Adds turn measures to their buckets. finest_only: to the finest level alone; the levels above are merged afterwards.
CREATE FUNCTION agent_metrics.add_turns(
    agent_ids text[], from_times timestamptz[], to_times timestamptz[], after pg_snapshot[], present pg_snapshot[],
    foreign_to xid8[], bucket_seconds integer[], time_zone text, since xid8,
    skip_agents text[], skip_buckets timestamptz[], finest_only boolean)
RETURNS TABLE (agent_id text, buckets bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH fine AS MATERIALIZED (
        SELECT f.*, k.bucket_seconds = 3600 AS is_hour
        FROM agent_metrics.compute_turns(add_turns.agent_ids, add_turns.from_times, add_turns.to_times, add_turns.after,
                 add_turns.present, add_turns.foreign_to, add_turns.bucket_seconds, add_turns.time_zone, add_turns.since) f
        JOIN (SELECT DISTINCT w.agent_id, w.bucket_seconds
              FROM unnest(add_turns.agent_ids, add_turns.bucket_seconds) AS w (agent_id, bucket_seconds)) k ON k.agent_id = f.agent_id
        WHERE NOT EXISTS (SELECT FROM unnest(add_turns.skip_agents, add_turns.skip_buckets) AS s (agent_id, bucket)
                          WHERE s.agent_id = f.agent_id AND s.bucket = f.bucket)
    ), level_rows AS (
        SELECT f.agent_id, 'fine' AS level, f.bucket, f.turns, f.token_turns, f.tokens_input, f.tokens_output, f.cost_turns,
               f.tool_calls, f.error_turns, f.cost_usd, f.latency
        FROM fine f WHERE NOT f.is_hour
        UNION ALL
        SELECT f.agent_id, l.level, date_trunc(l.level, f.bucket, add_turns.time_zone), sum(f.turns)::bigint, sum(f.token_turns)::bigint, sum(f.tokens_input)::bigint, sum(f.tokens_output)::bigint, sum(f.cost_turns)::bigint, sum(f.tool_calls)::bigint, sum(f.error_turns)::bigint, sum(f.cost_usd), agent_metrics.merge(f.latency)
        FROM fine f CROSS JOIN (VALUES ('hour'), ('day')) AS l (level)
        WHERE NOT add_turns.finest_only OR (f.is_hour AND l.level = 'hour')
        GROUP BY 1, 2, 3
    ), written AS (
        INSERT INTO agent_metrics.rollups AS r (agent_id, level, bucket, turns, token_turns, tokens_input, tokens_output, cost_turns, tool_calls, error_turns, cost_usd, latency)
        SELECT l.agent_id, l.level, l.bucket, l.turns, l.token_turns, l.tokens_input, l.tokens_output, l.cost_turns, l.tool_calls, l.error_turns, l.cost_usd, l.latency
        FROM level_rows l
        ON CONFLICT (agent_id, level, bucket) DO UPDATE SET
        turns = r.turns + excluded.turns,
        token_turns = r.token_turns + excluded.token_turns,
        tokens_input = r.tokens_input + excluded.tokens_input,
        tokens_output = r.tokens_output + excluded.tokens_output,
        cost_turns = r.cost_turns + excluded.cost_turns,
        tool_calls = r.tool_calls + excluded.tool_calls,
        error_turns = r.error_turns + excluded.error_turns,
        cost_usd = r.cost_usd + excluded.cost_usd,
        latency = coalesce(r.latency OPERATOR(agent_metrics.+) excluded.latency, r.latency, excluded.latency)
        RETURNING r.agent_id
    )
    SELECT w.agent_id, count(*) FROM written w GROUP BY w.agent_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics.add_turns(text[], timestamptz[], timestamptz[], pg_snapshot[], pg_snapshot[], xid8[], integer[], text, xid8, text[], timestamptz[], boolean) IS
    'Adds the turns of windows to their buckets. Internal: refresh() uses it.';

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
    FROM (SELECT DISTINCT u.agent_id, date_trunc(merge_turns.to_level, u.bucket, merge_turns.time_zone) AS bucket
          FROM unnest(merge_turns.agent_ids, merge_turns.starts) AS u (agent_id, bucket)) b
    JOIN agent_metrics.rollups s ON s.agent_id = b.agent_id AND s.level = merge_turns.from_level
     AND s.bucket >= b.bucket
     AND s.bucket < ((b.bucket AT TIME ZONE merge_turns.time_zone) + ('1 ' || merge_turns.to_level)::interval) AT TIME ZONE merge_turns.time_zone
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
    SELECT array_agg(a.bucket_seconds ORDER BY d.position), array_agg(d.bucket + make_interval(secs => a.bucket_seconds) ORDER BY d.position),
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
    FROM agent_metrics.add_turns(recompute_turns.agent_ids, recompute_turns.starts, to_times,
        array_fill(NULL::pg_snapshot, ARRAY[cardinality(to_times)]), array_fill(recompute_turns.present, ARRAY[cardinality(to_times)]),
        foreign_ids, seconds, recompute_turns.time_zone, '0'::xid8, NULL, NULL, true) t;

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

-- Brings conversations up to their facts and adds the difference to their buckets. lead_ids: leads, before and after,
-- of conversations that changed in what a lead is made of.
CREATE FUNCTION agent_metrics.refresh_conversations(
    agent_ids text[], conversation_ids text[], from_times timestamptz[], to_times timestamptz[], all_agents text[], bucket_seconds integer[], time_zone text)
RETURNS TABLE (agent_id text, conversations bigint, buckets bigint, lead_ids text[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH now_known AS MATERIALIZED (
        SELECT * FROM agent_metrics.compute_conversations(refresh_conversations.agent_ids, refresh_conversations.conversation_ids,
            refresh_conversations.from_times, refresh_conversations.to_times)
    ), known AS MATERIALIZED (
        SELECT c.* FROM unnest(refresh_conversations.agent_ids, refresh_conversations.conversation_ids) AS d (agent_id, conversation_id)
        -- agent_id is kept from the index on it, as in compute_conversations
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.conversations x
                            WHERE x.conversation_id = d.conversation_id AND x.agent_id || '' = d.agent_id LIMIT 1) c
    ), changed AS MATERIALIZED (
        -- what differs, before (-1) and after (+1)
        SELECT 1 AS sign, n.* FROM (SELECT * FROM now_known EXCEPT SELECT * FROM known) n
        UNION ALL
        SELECT -1, o.* FROM (SELECT * FROM known EXCEPT SELECT * FROM now_known) o
    ), gone AS (
        DELETE FROM agent_metrics.conversations c
        USING (SELECT k.agent_id, k.conversation_id FROM known k EXCEPT SELECT n.agent_id, n.conversation_id FROM now_known n) g
        WHERE c.agent_id = g.agent_id AND c.conversation_id = g.conversation_id
    ), kept AS (
        INSERT INTO agent_metrics.conversations AS c (
            agent_id, conversation_id, started_at, ended_at, turns, token_turns, tokens, cost_usd, lead_id, agent_label,
            judge_label, crm_label, human_label, outcome_label, outcome_source, unmapped_label, has_outcome, is_success,
            is_unit, is_deflection, is_escalation, is_refusal, is_booking, is_automation, is_qualified, is_human_touched,
            business_event_ids)
        SELECT
            h.agent_id, h.conversation_id, h.started_at, h.ended_at, h.turns, h.token_turns, h.tokens, h.cost_usd,
            h.lead_id, h.agent_label, h.judge_label, h.crm_label, h.human_label, h.outcome_label, h.outcome_source,
            h.unmapped_label, h.has_outcome, h.is_success, h.is_unit, h.is_deflection, h.is_escalation, h.is_refusal,
            h.is_booking, h.is_automation, h.is_qualified, h.is_human_touched, h.business_event_ids
        FROM changed h WHERE h.sign = 1
        ON CONFLICT (conversation_id, agent_id) DO UPDATE SET
            started_at = excluded.started_at, ended_at = excluded.ended_at, turns = excluded.turns, token_turns = excluded.token_turns,
            tokens = excluded.tokens, cost_usd = excluded.cost_usd, lead_id = excluded.lead_id, agent_label = excluded.agent_label,
            judge_label = excluded.judge_label, crm_label = excluded.crm_label, human_label = excluded.human_label,
            outcome_label = excluded.outcome_label, outcome_source = excluded.outcome_source, unmapped_label = excluded.unmapped_label,
            has_outcome = excluded.has_outcome, is_success = excluded.is_success, is_unit = excluded.is_unit,
            is_deflection = excluded.is_deflection, is_escalation = excluded.is_escalation, is_refusal = excluded.is_refusal,
            is_booking = excluded.is_booking, is_automation = excluded.is_automation, is_qualified = excluded.is_qualified,
            is_human_touched = excluded.is_human_touched, business_event_ids = excluded.business_event_ids
    ), written AS (
        INSERT INTO agent_metrics.rollups AS r (agent_id, level, bucket, conversations, outcomes, successes, units, deflections, escalations, refusals, bookings, automations, unit_cost_usd, conversation_cost_usd, cost_usd_squared, tokens_squared, tokens_by_turns, turns_squared)
        SELECT m.agent_id, m.level, m.bucket, m.conversations, m.outcomes, m.successes, m.units, m.deflections, m.escalations, m.refusals, m.bookings, m.automations, m.unit_cost_usd, m.conversation_cost_usd, m.cost_usd_squared, m.tokens_squared, m.tokens_by_turns, m.turns_squared
        FROM (SELECT h.agent_id, l.level, l.bucket,
                     sum(h.sign) AS conversations, sum(h.sign * h.has_outcome::integer) AS outcomes,
                     sum(h.sign * h.is_success::integer) AS successes, sum(h.sign * h.is_unit::integer) AS units,
                     sum(h.sign * h.is_deflection::integer) AS deflections, sum(h.sign * h.is_escalation::integer) AS escalations,
                     sum(h.sign * h.is_refusal::integer) AS refusals, sum(h.sign * h.is_booking::integer) AS bookings,
                     sum(h.sign * h.is_automation::integer) AS automations,
                     sum(h.sign * h.is_unit::integer * h.cost_usd) AS unit_cost_usd, sum(h.sign * h.cost_usd) AS conversation_cost_usd,
                     sum(h.sign * h.cost_usd * h.cost_usd) AS cost_usd_squared,
                     sum(h.sign * h.tokens::numeric * h.tokens) AS tokens_squared,
                     sum(h.sign * h.tokens::numeric * h.token_turns) AS tokens_by_turns,
                     sum(h.sign * h.token_turns::numeric * h.token_turns) AS turns_squared
              FROM changed h
              JOIN unnest(refresh_conversations.all_agents, refresh_conversations.bucket_seconds) AS a (agent_id, bucket_seconds) ON a.agent_id = h.agent_id
              CROSS JOIN LATERAL (
                  SELECT 'fine' AS level, date_bin('5 minutes', h.started_at, '2000-01-01 00:00:00+00') AS bucket WHERE a.bucket_seconds = 300
                  UNION ALL SELECT 'hour', date_trunc('hour', h.started_at, refresh_conversations.time_zone)
                  UNION ALL SELECT 'day', date_trunc('day', h.started_at, refresh_conversations.time_zone)) l
              GROUP BY h.agent_id, l.level, l.bucket) m
        WHERE (m.conversations, m.outcomes, m.successes, m.units, m.deflections, m.escalations, m.refusals, m.bookings, m.automations, m.unit_cost_usd, m.conversation_cost_usd, m.cost_usd_squared, m.tokens_squared, m.tokens_by_turns, m.turns_squared) IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        ON CONFLICT (agent_id, level, bucket) DO UPDATE SET
        conversations = r.conversations + excluded.conversations,
        outcomes = r.outcomes + excluded.outcomes,
        successes = r.successes + excluded.successes,
        units = r.units + excluded.units,
        deflections = r.deflections + excluded.deflections,
        escalations = r.escalations + excluded.escalations,
        refusals = r.refusals + excluded.refusals,
        bookings = r.bookings + excluded.bookings,
        automations = r.automations + excluded.automations,
        unit_cost_usd = r.unit_cost_usd + excluded.unit_cost_usd,
        conversation_cost_usd = r.conversation_cost_usd + excluded.conversation_cost_usd,
        cost_usd_squared = r.cost_usd_squared + excluded.cost_usd_squared,
        tokens_squared = r.tokens_squared + excluded.tokens_squared,
        tokens_by_turns = r.tokens_by_turns + excluded.tokens_by_turns,
        turns_squared = r.turns_squared + excluded.turns_squared
        RETURNING r.agent_id
    )
    SELECT x.agent_id, sum(x.conversations)::bigint, sum(x.buckets)::bigint, array_agg(x.lead_id) FILTER (WHERE x.lead_id IS NOT NULL)
    FROM (SELECT h.agent_id, count(DISTINCT h.conversation_id) AS conversations, 0 AS buckets, NULL AS lead_id FROM changed h GROUP BY h.agent_id
          UNION ALL SELECT w.agent_id, 0, count(*), NULL FROM written w GROUP BY w.agent_id
          UNION ALL SELECT DISTINCT l.agent_id, 0, 0, l.lead_id
                    FROM (SELECT h.agent_id, h.lead_id FROM changed h
                          GROUP BY h.agent_id, h.conversation_id, h.lead_id, h.started_at, h.is_qualified HAVING sum(h.sign) <> 0) l) x
    GROUP BY x.agent_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics.refresh_conversations(text[], text[], timestamptz[], timestamptz[], text[], integer[], text) IS
    'Brings conversations up to their facts and adds the differences to their buckets. Internal: refresh() uses it.';

-- Brings leads up to their conversations. A lead is counted once, on the day of its first conversation.
CREATE FUNCTION agent_metrics.refresh_leads(
    agent_ids text[], lead_ids text[], all_agents text[], bucket_seconds integer[], time_zone text)
RETURNS TABLE (agent_id text, buckets bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT DISTINCT u.agent_id, u.lead_id FROM unnest(refresh_leads.agent_ids, refresh_leads.lead_ids) AS u (agent_id, lead_id)
    ), now_known AS MATERIALIZED (
        SELECT c.agent_id, c.lead_id, min(c.started_at) AS started_at, bool_or(c.is_qualified) AS is_qualified
        FROM asked d
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.conversations x WHERE x.lead_id = d.lead_id AND x.agent_id || '' = d.agent_id OFFSET 0) c
        GROUP BY c.agent_id, c.lead_id
    ), known AS MATERIALIZED (
        SELECT k.agent_id, k.lead_id, k.started_at, k.is_qualified
        FROM asked d
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.leads x WHERE x.agent_id = d.agent_id AND x.lead_id = d.lead_id OFFSET 0) k
    ), changed AS MATERIALIZED (
        SELECT 1 AS sign, n.* FROM (SELECT * FROM now_known EXCEPT SELECT * FROM known) n
        UNION ALL
        SELECT -1, o.* FROM (SELECT * FROM known EXCEPT SELECT * FROM now_known) o
    ), gone AS (
        DELETE FROM agent_metrics.leads k
        USING (SELECT o.agent_id, o.lead_id FROM known o EXCEPT SELECT n.agent_id, n.lead_id FROM now_known n) g
        WHERE k.agent_id = g.agent_id AND k.lead_id = g.lead_id
    ), kept AS (
        INSERT INTO agent_metrics.leads AS k (agent_id, lead_id, started_at, is_qualified)
        SELECT h.agent_id, h.lead_id, h.started_at, h.is_qualified FROM changed h WHERE h.sign = 1
        ON CONFLICT (agent_id, lead_id) DO UPDATE SET started_at = excluded.started_at, is_qualified = excluded.is_qualified
    ), written AS (
        INSERT INTO agent_metrics.rollups AS r (agent_id, level, bucket, leads, qualified_leads)
        SELECT m.agent_id, m.level, m.bucket, m.leads, m.qualified_leads
        FROM (SELECT h.agent_id, l.level, l.bucket, sum(h.sign) AS leads, sum(h.sign * h.is_qualified::integer) AS qualified_leads
              FROM changed h
              JOIN unnest(refresh_leads.all_agents, refresh_leads.bucket_seconds) AS a (agent_id, bucket_seconds) ON a.agent_id = h.agent_id
              CROSS JOIN LATERAL (
                  SELECT 'fine' AS level, date_bin('5 minutes', h.started_at, '2000-01-01 00:00:00+00') AS bucket WHERE a.bucket_seconds = 300
                  UNION ALL SELECT 'hour', date_trunc('hour', h.started_at, refresh_leads.time_zone)
                  UNION ALL SELECT 'day', date_trunc('day', h.started_at, refresh_leads.time_zone)) l
              GROUP BY h.agent_id, l.level, l.bucket) m
        WHERE (m.leads, m.qualified_leads) IS DISTINCT FROM (0, 0)
        ON CONFLICT (agent_id, level, bucket) DO UPDATE SET
            leads = r.leads + excluded.leads, qualified_leads = r.qualified_leads + excluded.qualified_leads
        RETURNING r.agent_id
    )
    SELECT w.agent_id, count(*) FROM written w GROUP BY w.agent_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics.refresh_leads(text[], text[], text[], integer[], text) IS
    'Brings leads up to their conversations and adds the differences to their buckets. Internal: refresh() uses it.';
