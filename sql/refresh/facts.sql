-- What is known of turns and conversations beside the turns themselves: the rows, their sums by conversation and day,
-- and the hours in which an agent was active. fact_rows() is the one definition, used by refresh(),
-- verify() and trace().

CREATE FUNCTION agent_metrics_internal.has_facts() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN EXISTS (SELECT 1 FROM agent_metrics.tool_call_verdicts) OR EXISTS (SELECT 1 FROM agent_metrics.turn_scores)
        OR EXISTS (SELECT 1 FROM agent_metrics.survey_answers) OR EXISTS (SELECT 1 FROM agent_metrics.reviews)
        OR EXISTS (SELECT 1 FROM agent_metrics.business_events)
        OR EXISTS (SELECT 1 FROM agent_metrics_internal.conversation_facts);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.has_facts() IS
    'Whether anything is known of conversations beside their turns, or was. Internal: refresh() uses it.';

-- A fact of a turn names its conversation itself, which need not be the one that the turn names.
CREATE FUNCTION agent_metrics_internal.said_of_turns(agent text, from_time timestamptz, to_time timestamptz)
RETURNS TABLE (agent_id text, conversation_id text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.agent_id, s.conversation_id
    FROM agent_metrics.tool_call_verdicts s WHERE s.agent_id = $1 AND s.occurred_at >= $2 AND s.occurred_at <= $3
    UNION SELECT s.agent_id, s.conversation_id
          FROM agent_metrics.turn_scores s WHERE s.agent_id = $1 AND s.occurred_at >= $2 AND s.occurred_at <= $3
    UNION SELECT s.agent_id, s.conversation_id
          FROM agent_metrics.reviews s WHERE s.agent_id = $1 AND s.occurred_at >= $2 AND s.occurred_at <= $3;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.said_of_turns(text, timestamptz, timestamptz) IS
    'Conversations that count what was said of an agent''s turns of a span of time, both ends included. '
    'Internal: refresh() uses it.';

-- What the answers of a review mean: the measures that they add to, and how. No row: the question was not asked.
CREATE FUNCTION agent_metrics_internal.review_answers(
    answer_verdict text, is_in_scope boolean, is_refused boolean, is_escalated boolean, should_escalate boolean)
RETURNS TABLE (question text, measure text, is_hit boolean, is_counted boolean)
-- no SET, so that the planner puts the query in its place
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT q.question, q.measure, q.is_hit, q.is_counted
    FROM (VALUES
        ('answer', 'answers', answer_verdict IN ('unsupported', 'contradicted'), answer_verdict <> 'refused',
         answer_verdict IS NOT NULL),
        ('scope', CASE WHEN is_in_scope THEN 'in_scope' ELSE 'out_of_scope' END, is_refused, true,
         is_in_scope IS NOT NULL),
        ('escalation', 'escalations', is_escalated = should_escalate, true, is_escalated IS NOT NULL),
        ('escalated', 'escalated', should_escalate, is_escalated, is_escalated IS NOT NULL),
        ('to_escalate', 'to_escalate', NOT is_escalated, should_escalate, is_escalated IS NOT NULL))
        AS q (question, measure, is_hit, is_counted, is_answered)
    WHERE q.is_answered;
END;
COMMENT ON FUNCTION agent_metrics_internal.review_answers(text, boolean, boolean, boolean, boolean) IS
    'What a review answers: measure, whether it counts in numerator and denominator. '
    'Internal: facts and review_rates use it.';

-- What a business event adds to revenue: a charge as it is, a refund as what was given back, whatever its sign.
CREATE FUNCTION agent_metrics_internal.revenue_usd(meaning text, amount_usd numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE meaning WHEN 'charge' THEN amount_usd WHEN 'refund' THEN -abs(amount_usd) END;
COMMENT ON FUNCTION agent_metrics_internal.revenue_usd(text, numeric) IS
    'What a business event of that meaning adds to revenue; NULL: it is neither a charge nor a '
    'refund, or has no amount.';

-- One row per fact of these conversations. occurred_at is the moment that decides the day: the turn's, or that of the
-- conversation's first turn. A conversation that is not in the rollups (evaluation, an unregistered agent) has none.
CREATE FUNCTION agent_metrics_internal.fact_rows(agent_ids text[], conversation_ids text[])
RETURNS TABLE (agent_id text, conversation_id text, event_id text, occurred_at timestamptz, measure text,
               numerator numeric, denominator numeric, numerator_squared numeric, denominator_squared numeric,
               product numeric, value double precision)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    -- most warehouses have only some of these: what is empty is not looked into a thousand times
    has_verdicts boolean := EXISTS (SELECT 1 FROM agent_metrics.tool_call_verdicts);
    has_scores   boolean := EXISTS (SELECT 1 FROM agent_metrics.turn_scores);
    has_answers  boolean := EXISTS (SELECT 1 FROM agent_metrics.survey_answers);
    has_reviews  boolean := EXISTS (SELECT 1 FROM agent_metrics.reviews);
    has_business boolean := EXISTS (SELECT 1 FROM agent_metrics.business_events);
BEGIN
    IF NOT (has_verdicts OR has_scores OR has_answers OR has_reviews OR has_business) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH asked_conversation AS MATERIALIZED (
        SELECT c.agent_id, c.conversation_id, c.started_at, c.agent_label, c.business_event_ids
        FROM (SELECT DISTINCT u.agent_id, u.conversation_id
              FROM unnest(fact_rows.agent_ids, fact_rows.conversation_ids) AS u (agent_id, conversation_id)) a
        -- agent_id is kept from the index on it, as in sum_conversations
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.conversations x
                            WHERE x.conversation_id = a.conversation_id AND x.agent_id || '' = a.agent_id LIMIT 1) c
    ), business_fact AS MATERIALIZED (
        SELECT a.agent_id, a.conversation_id, a.started_at, b.business_event_id, b.occurred_at, b.amount_usd, k.meaning,
               o.label IS NOT NULL AS is_outcome, coalesce(o.is_success AND NOT o.is_open, false) AS is_resolution
        FROM agent_metrics_internal.business_of(ARRAY(
                 SELECT ROW(a.agent_id, a.conversation_id,
                            a.business_event_ids)::agent_metrics_internal.conversation_key
                 FROM asked_conversation a)) b
        JOIN asked_conversation a ON a.agent_id = b.agent_id AND a.conversation_id = b.conversation_id
        JOIN agent_metrics.event_kinds k ON k.kind = b.kind
        LEFT JOIN agent_metrics.outcomes o ON o.label = k.meaning
    ), conversation_review AS MATERIALIZED (
        SELECT a.started_at, a.agent_label, r.agent_id, r.conversation_id, r.occurred_at, r.event_id, r.weight,
               r.review_id, r.reviewed_at, r.outcome_label, r.answer_verdict, r.is_in_scope, r.is_refused,
               r.is_escalated, r.should_escalate
        FROM asked_conversation a
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics.reviews x
                            WHERE x.conversation_id = a.conversation_id AND x.agent_id || '' = a.agent_id OFFSET 0) r
        WHERE has_reviews
    ), review_answer AS (
        -- Each question of a review is a fact of its own; y: it counts in the denominator, x: in the numerator.
        SELECT r.agent_id, r.conversation_id, r.event_id, coalesce(r.occurred_at, r.started_at) AS occurred_at,
               q.measure, q.is_hit AS x, r.weight,
               row_number() OVER (PARTITION BY r.agent_id, r.conversation_id, r.event_id, q.question
                                  ORDER BY r.reviewed_at DESC, r.review_id DESC) AS nth, q.is_counted AS y
        FROM conversation_review r
        CROSS JOIN LATERAL agent_metrics_internal.review_answers(
            r.answer_verdict, r.is_in_scope, r.is_refused, r.is_escalated, r.should_escalate) q
    ), fact AS (
        SELECT v.agent_id, v.conversation_id, v.event_id::text, v.occurred_at, 'tool_calls' AS measure,
               v.is_correct::integer::numeric AS x, 1::numeric AS y
        FROM asked_conversation a CROSS JOIN LATERAL (SELECT t.* FROM agent_metrics.tool_call_verdicts t
                                         WHERE t.conversation_id = a.conversation_id AND t.agent_id || '' = a.agent_id
                                                      OFFSET 0) v
        WHERE has_verdicts
        UNION ALL
        SELECT s.agent_id, s.conversation_id, s.event_id::text, s.occurred_at, 'instruction_scores', s.score, 1
        FROM asked_conversation a CROSS JOIN LATERAL (SELECT t.* FROM agent_metrics.turn_scores t
                                         WHERE t.conversation_id = a.conversation_id AND t.agent_id || '' = a.agent_id
                                                      OFFSET 0) s
        WHERE has_scores AND s.criterion = 'instruction_following'
        UNION ALL
        SELECT q.agent_id, q.conversation_id, q.event_id::text, q.occurred_at, q.measure,
               q.x::integer * q.weight, q.weight
        FROM review_answer q WHERE q.nth = 1 AND q.y
        UNION ALL
        SELECT s.agent_id, s.conversation_id, s.answer_id, a.started_at, 'survey',
               CASE WHEN s.score >= 9 THEN 100 WHEN s.score <= 6 THEN -100 ELSE 0 END, 1
        FROM asked_conversation a CROSS JOIN LATERAL (SELECT t.* FROM agent_metrics.survey_answers t
                                         WHERE t.conversation_id = a.conversation_id AND t.agent_id || '' = a.agent_id
                                                      OFFSET 0) s
        WHERE has_answers
        UNION ALL
        SELECT b.agent_id, b.conversation_id, b.business_event_id, b.started_at, 'revenue',
               agent_metrics_internal.revenue_usd(b.meaning, b.amount_usd), NULL
        FROM business_fact b WHERE agent_metrics_internal.revenue_usd(b.meaning, b.amount_usd) IS NOT NULL
    )
    SELECT f.agent_id, f.conversation_id, f.event_id, f.occurred_at, f.measure, f.x, f.y, f.x * f.x, f.y * f.y,
           f.x * f.y, NULL::double precision
    FROM fact f
    -- a turn of an evaluation run may lie in a conversation that is none, and be archived
    WHERE f.measure NOT IN ('tool_calls', 'instruction_scores', 'answers', 'in_scope', 'out_of_scope', 'escalations',
                            'escalated', 'to_escalate')
       OR f.event_id IS NULL
       OR NOT EXISTS (SELECT 1 FROM agent_metrics.agent_events e
                      WHERE e.agent_id = f.agent_id AND e.occurred_at = f.occurred_at AND e.event_id = f.event_id::uuid
                        AND e.is_eval)
          AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.archived_eval_turns e
                          JOIN agent_metrics_internal.archives x ON x.archive_id = e.archive_id AND x.is_counted
                          WHERE e.agent_id = f.agent_id AND e.occurred_at = f.occurred_at
                            AND e.event_id = f.event_id::uuid)
    UNION ALL
    -- resolved: the first event that says so after the last one that says anything else
    (SELECT DISTINCT ON (b.agent_id, b.conversation_id)
            b.agent_id, b.conversation_id, b.business_event_id, b.started_at, 'resolutions', NULL::numeric, 1::numeric,
            NULL::numeric, NULL::numeric, NULL::numeric,
            greatest(extract(epoch FROM b.occurred_at - b.started_at), 0)::double precision
     FROM (SELECT x.*, count(*) FILTER (WHERE NOT x.is_resolution)
            OVER (PARTITION BY x.agent_id, x.conversation_id
                  ORDER BY x.occurred_at DESC, x.business_event_id DESC) AS taken_back
           FROM business_fact x WHERE x.is_outcome) b
     WHERE b.is_resolution AND b.taken_back = 0
     ORDER BY b.agent_id, b.conversation_id, b.occurred_at, b.business_event_id)
    UNION ALL
    -- what the agent said of itself against what a person said, where both are labels that somebody mapped
    (SELECT DISTINCT ON (r.agent_id, r.conversation_id)
            r.agent_id, r.conversation_id, NULL, r.started_at, 'self_report',
            100 * r.weight * (said.is_success::integer - found.is_success::integer), r.weight,
            r.weight * (said.is_success <> found.is_success)::integer, r.weight * r.weight,
            r.weight * (said.is_success AND found.is_success)::integer, NULL::double precision
     FROM conversation_review r
     JOIN agent_metrics.outcomes found ON found.label = r.outcome_label AND NOT found.is_open
     JOIN agent_metrics.outcomes said ON said.label = r.agent_label AND NOT said.is_open
     ORDER BY r.agent_id, r.conversation_id, r.reviewed_at DESC, r.review_id DESC);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.fact_rows(text[], text[]) IS
    'Facts about conversations beside their turns, one row each, with the moment that decides their day. '
    'Internal: refresh(), verify() and trace() use it.';

-- Brings the facts of conversations, and the days they lie on, up to date.
CREATE FUNCTION agent_metrics_internal.refresh_conversation_facts(
    agent_ids text[], conversation_ids text[], time_zone text)
RETURNS TABLE (changed_agents text[], changed_measures text[], changed_buckets timestamptz[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    has_known boolean := EXISTS (SELECT 1 FROM agent_metrics_internal.conversation_facts);
BEGIN
    RETURN QUERY
    WITH current_fact AS MATERIALIZED (
        SELECT f.agent_id, f.conversation_id, f.measure,
               agent_metrics_internal.bucket_start(
                   f.occurred_at, 'day', refresh_conversation_facts.time_zone) AS bucket,
               count(*) AS facts, sum(f.numerator) AS numerator, sum(f.denominator) AS denominator,
               sum(f.numerator_squared) AS numerator_squared, sum(f.denominator_squared) AS denominator_squared,
               sum(f.product) AS product, max(f.value) AS value
        FROM agent_metrics_internal.fact_rows(
            refresh_conversation_facts.agent_ids, refresh_conversation_facts.conversation_ids) f
        GROUP BY 1, 2, 3, 4
    ), stored_fact AS MATERIALIZED (
        SELECT k.agent_id, k.conversation_id, k.measure, k.bucket, k.facts, k.numerator, k.denominator,
               k.numerator_squared, k.denominator_squared, k.product, k.value
        FROM (SELECT DISTINCT u.agent_id, u.conversation_id
              FROM unnest(refresh_conversation_facts.agent_ids, refresh_conversation_facts.conversation_ids)
                  AS u (agent_id, conversation_id)
              WHERE has_known) d
        CROSS JOIN LATERAL (SELECT x.* FROM agent_metrics_internal.conversation_facts x
                            WHERE x.conversation_id = d.conversation_id AND x.agent_id || '' = d.agent_id OFFSET 0) k
    ), changed_fact AS MATERIALIZED (
        -- a full join is never a nested loop, however few rows the planner expects
        SELECT coalesce(n.agent_id, k.agent_id) AS agent_id,
               coalesce(n.conversation_id, k.conversation_id) AS conversation_id,
               coalesce(n.measure, k.measure) AS measure, coalesce(n.bucket, k.bucket) AS bucket, n.facts, n.numerator,
               n.denominator, n.numerator_squared, n.denominator_squared, n.product, n.value,
               n.agent_id IS NOT NULL AS is_now
        FROM current_fact n
        FULL JOIN stored_fact k ON k.agent_id = n.agent_id AND k.conversation_id = n.conversation_id
         AND k.measure = n.measure AND k.bucket = n.bucket
        WHERE n IS DISTINCT FROM k
    ), deleted_fact AS (
        DELETE FROM agent_metrics_internal.conversation_facts f USING changed_fact c
        WHERE NOT c.is_now AND f.conversation_id = c.conversation_id AND f.agent_id || '' = c.agent_id
          AND f.measure = c.measure AND f.bucket = c.bucket
    ), upserted_fact AS (
        INSERT INTO agent_metrics_internal.conversation_facts (agent_id, conversation_id, measure, bucket, facts,
                                                               numerator, denominator, numerator_squared,
                                                               denominator_squared, product, value)
        SELECT c.agent_id, c.conversation_id, c.measure, c.bucket, c.facts, c.numerator, c.denominator,
               c.numerator_squared, c.denominator_squared, c.product, c.value
        FROM changed_fact c WHERE c.is_now
        ON CONFLICT (conversation_id, agent_id, measure, bucket) DO UPDATE SET
            facts = excluded.facts, numerator = excluded.numerator, denominator = excluded.denominator,
            numerator_squared = excluded.numerator_squared, denominator_squared = excluded.denominator_squared,
            product = excluded.product, value = excluded.value
    )
    SELECT array_agg(d.agent_id), array_agg(d.measure), array_agg(d.bucket)
    FROM (SELECT DISTINCT c.agent_id, c.measure, c.bucket FROM changed_fact c) d;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_conversation_facts(text[], text[], text) IS
    'Brings the facts of conversations up to date and returns the measures and days that changed. '
    'Internal: refresh() uses it.';

CREATE TYPE agent_metrics_internal.fact_day AS (
    agent_id text, measure text, bucket timestamptz, facts bigint, numerator numeric, denominator numeric,
    numerator_squared numeric, denominator_squared numeric, product numeric, sketch agent_metrics.quantile_sketch);
COMMENT ON TYPE agent_metrics_internal.fact_day IS 'One row of fact_days.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.measure IS 'Measure.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.bucket IS 'Start of the report day.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.facts IS 'Rows it was made of.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.numerator IS 'Sum of numerators.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.denominator IS 'Sum of denominators; of revenue, agent hours.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.numerator_squared IS 'Sum of squares of numerators.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.denominator_squared IS 'Sum of squares of denominators.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.product IS 'Sum of products of the two.';
COMMENT ON COLUMN agent_metrics_internal.fact_day.sketch IS 'Sketch of values.';

-- Sums of days, from the facts of conversations and, for the measure revenue, the agent's hours: the one definition.
CREATE FUNCTION agent_metrics_internal.compute_fact_days(agent_ids text[], measures text[], buckets timestamptz[])
RETURNS SETOF agent_metrics_internal.fact_day
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.agent_id, d.measure, d.bucket, f.facts,
           CASE WHEN d.measure = 'revenue' AND h.hours IS NOT NULL THEN coalesce(f.numerator, 0) ELSE f.numerator END,
           CASE WHEN d.measure = 'revenue' THEN h.hours ELSE f.denominator END,
           f.numerator_squared, f.denominator_squared, f.product, f.sketch
    FROM (SELECT DISTINCT u.agent_id, u.measure, u.bucket
          FROM unnest(compute_fact_days.agent_ids, compute_fact_days.measures, compute_fact_days.buckets)
              AS u (agent_id, measure, bucket)) d
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(x.facts), 0)::bigint AS facts, sum(x.numerator) AS numerator,
               sum(x.denominator) AS denominator, sum(x.numerator_squared) AS numerator_squared,
               sum(x.denominator_squared) AS denominator_squared, sum(x.product) AS product,
               agent_metrics.quantile_sketch(x.value) AS sketch
        FROM agent_metrics_internal.conversation_facts x
        WHERE x.agent_id = d.agent_id AND x.measure = d.measure AND x.bucket = d.bucket) f
    LEFT JOIN LATERAL (
        SELECT a.active_seconds / 3600 AS hours FROM agent_metrics_internal.active_days a
        WHERE a.agent_id = d.agent_id AND a.bucket = d.bucket AND d.measure = 'revenue' AND a.active_seconds > 0) h
      ON true
    WHERE f.facts > 0 OR h.hours IS NOT NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compute_fact_days(text[], text[], timestamptz[]) IS
    'Sums of measures over days; a day without any gives no row. Internal: refresh() and verify() use it.';

CREATE FUNCTION agent_metrics_internal.refresh_fact_days(agent_ids text[], measures text[], buckets timestamptz[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    WITH current_fact AS MATERIALIZED (
        SELECT n.* FROM agent_metrics_internal.compute_fact_days(
            refresh_fact_days.agent_ids, refresh_fact_days.measures, refresh_fact_days.buckets) n
    ), deleted_fact AS (
        DELETE FROM agent_metrics_internal.fact_days f
        USING unnest(refresh_fact_days.agent_ids, refresh_fact_days.measures, refresh_fact_days.buckets)
            AS u (agent_id, measure, bucket)
        WHERE f.agent_id = u.agent_id AND f.measure = u.measure AND f.bucket = u.bucket
          AND NOT EXISTS (SELECT 1 FROM current_fact n
                          WHERE n.agent_id = u.agent_id AND n.measure = u.measure AND n.bucket = u.bucket)
    )
    INSERT INTO agent_metrics_internal.fact_days (agent_id, measure, bucket, facts, numerator, denominator,
                                                  numerator_squared, denominator_squared, product, sketch)
    SELECT n.agent_id, n.measure, n.bucket, n.facts, n.numerator, n.denominator, n.numerator_squared,
           n.denominator_squared, n.product, n.sketch
    FROM current_fact n
    ON CONFLICT (agent_id, measure, bucket) DO UPDATE SET
        facts = excluded.facts, numerator = excluded.numerator, denominator = excluded.denominator,
        numerator_squared = excluded.numerator_squared, denominator_squared = excluded.denominator_squared,
        product = excluded.product, sketch = excluded.sketch;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_fact_days(text[], text[], timestamptz[]) IS
    'Computes days of measures again. Internal: refresh() uses it.';
