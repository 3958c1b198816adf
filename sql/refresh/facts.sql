-- What is known of turns and conversations beside the turns themselves: the rows, their sums by conversation and day,
-- and the hours in which an agent was active. fact_rows() is the one definition, used by refresh(),
-- verify() and trace().

CREATE FUNCTION agent_metrics_internal.has_facts() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN EXISTS (SELECT 1 FROM agent_metrics.tool_call_verdicts) OR EXISTS (SELECT 1 FROM agent_metrics.turn_scores)
        OR EXISTS (SELECT 1 FROM agent_metrics.survey_answers) OR EXISTS (SELECT 1 FROM agent_metrics.reviews)
        OR EXISTS (SELECT 1 FROM agent_metrics.business_events)
        OR EXISTS (SELECT 1 FROM agent_metrics.measurements)
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
          FROM agent_metrics.reviews s WHERE s.agent_id = $1 AND s.occurred_at >= $2 AND s.occurred_at <= $3
    UNION SELECT s.agent_id, s.conversation_id
          FROM agent_metrics.measurements s
          WHERE s.agent_id = $1 AND s.occurred_at >= $2 AND s.occurred_at <= $3 AND s.event_id IS NOT NULL;
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
               product numeric, value double precision, is_measured boolean)
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
    has_measured boolean := EXISTS (SELECT 1 FROM agent_metrics.measurements);
BEGIN
    IF NOT (has_verdicts OR has_scores OR has_answers OR has_reviews OR has_business OR has_measured) THEN
        RETURN;
    END IF;
    -- One statement: the facts of a conversation are of one snapshot, whichever table they lie in.
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
               v.is_correct::integer::numeric AS x, 1::numeric AS y, v.event_id AS turn_id,
               NULL::double precision AS value, false AS is_measured
        FROM asked_conversation a CROSS JOIN LATERAL (SELECT t.* FROM agent_metrics.tool_call_verdicts t
                                         WHERE t.conversation_id = a.conversation_id AND t.agent_id || '' = a.agent_id
                                                      OFFSET 0) v
        WHERE has_verdicts
        UNION ALL
        SELECT s.agent_id, s.conversation_id, s.event_id::text, s.occurred_at, 'instruction_scores', s.score, 1,
               s.event_id, NULL, false
        FROM asked_conversation a CROSS JOIN LATERAL (SELECT t.* FROM agent_metrics.turn_scores t
                                         WHERE t.conversation_id = a.conversation_id AND t.agent_id || '' = a.agent_id
                                                      OFFSET 0) s
        WHERE has_scores AND s.criterion = 'instruction_following'
        UNION ALL
        SELECT q.agent_id, q.conversation_id, q.event_id::text, q.occurred_at, q.measure,
               q.x::integer * q.weight, q.weight, q.event_id, NULL, false
        FROM review_answer q WHERE q.nth = 1 AND q.y
        UNION ALL
        SELECT s.agent_id, s.conversation_id, s.answer_id, a.started_at, 'survey',
               CASE WHEN s.score >= 9 THEN 100 WHEN s.score <= 6 THEN -100 ELSE 0 END, 1, NULL, NULL, false
        FROM asked_conversation a CROSS JOIN LATERAL (SELECT t.* FROM agent_metrics.survey_answers t
                                         WHERE t.conversation_id = a.conversation_id AND t.agent_id || '' = a.agent_id
                                                      OFFSET 0) s
        WHERE has_answers
        UNION ALL
        SELECT b.agent_id, b.conversation_id, b.business_event_id, b.started_at, 'revenue',
               agent_metrics_internal.revenue_usd(b.meaning, b.amount_usd), NULL, NULL, NULL, false
        FROM business_fact b WHERE agent_metrics_internal.revenue_usd(b.meaning, b.amount_usd) IS NOT NULL
        UNION ALL
        SELECT s.agent_id, s.conversation_id, s.measurement_id,
               CASE WHEN s.event_id IS NULL THEN a.started_at ELSE s.occurred_at END, s.measure,
               s.numerator * s.weight, s.denominator * s.weight, s.event_id,
               CASE WHEN s.numerator >= 0 THEN s.numerator::double precision END, true
        FROM asked_conversation a CROSS JOIN LATERAL (SELECT t.* FROM agent_metrics.measurements t
                                         WHERE t.conversation_id = a.conversation_id AND t.agent_id || '' = a.agent_id
                                                      OFFSET 0) s
        -- a name of ours that came while the triggers were off shall not be added to what we count
        WHERE has_measured AND s.measure <> ALL (agent_metrics_internal.shipped_measures())
    )
    SELECT f.agent_id, f.conversation_id, f.event_id, f.occurred_at, f.measure, f.x, f.y, f.x * f.x, f.y * f.y,
           f.x * f.y, f.value, f.is_measured
    FROM fact f
    -- a turn of an evaluation run may lie in a conversation that is none, and be archived
    WHERE f.turn_id IS NULL
       OR NOT EXISTS (SELECT 1 FROM agent_metrics.agent_events e
                      WHERE e.agent_id = f.agent_id AND e.occurred_at = f.occurred_at AND e.event_id = f.turn_id
                        AND e.is_eval)
          AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.archived_eval_turns e
                          JOIN agent_metrics_internal.archives x ON x.archive_id = e.archive_id AND x.is_counted
                          WHERE e.agent_id = f.agent_id AND e.occurred_at = f.occurred_at AND e.event_id = f.turn_id)
    UNION ALL
    -- resolved: the first event that says so after the last one that says anything else
    (SELECT DISTINCT ON (b.agent_id, b.conversation_id)
            b.agent_id, b.conversation_id, b.business_event_id, b.started_at, 'resolutions', NULL::numeric, 1::numeric,
            NULL::numeric, NULL::numeric, NULL::numeric,
            greatest(extract(epoch FROM b.occurred_at - b.started_at), 0)::double precision, false
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
            r.weight * (said.is_success AND found.is_success)::integer, NULL::double precision, false
     FROM conversation_review r
     JOIN agent_metrics.outcomes found ON found.label = r.outcome_label AND NOT found.is_open
     JOIN agent_metrics.outcomes said ON said.label = r.agent_label AND NOT said.is_open
     ORDER BY r.agent_id, r.conversation_id, r.reviewed_at DESC, r.review_id DESC);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.fact_rows(text[], text[]) IS
    'Facts about conversations beside their turns, one row each, with the moment that decides their day. '
    'Internal: refresh(), verify() and trace() use it.';

-- What the facts of a conversation add up to. Of measurements the squares are of the conversation's sums: what was
-- measured in one conversation tells of the same, so that a conversation, and not a row, is one observation.
CREATE FUNCTION agent_metrics_internal.sum_facts(agent_ids text[], conversation_ids text[], time_zone text)
RETURNS TABLE (agent_id text, conversation_id text, measure text, bucket timestamptz, facts bigint, numerator numeric,
               denominator numeric, numerator_squared numeric, denominator_squared numeric, product numeric,
               value double precision, sketch agent_metrics.quantile_sketch)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT f.agent_id, f.conversation_id, f.measure,
           agent_metrics_internal.bucket_start(
               f.occurred_at, CASE WHEN f.is_measured THEN 'hour' ELSE 'day' END, sum_facts.time_zone) AS bucket,
           CASE WHEN f.is_measured THEN 1 ELSE count(*) END, sum(f.numerator), sum(f.denominator),
           CASE WHEN f.is_measured THEN sum(f.numerator) * sum(f.numerator) ELSE sum(f.numerator_squared) END,
           CASE WHEN f.is_measured THEN sum(f.denominator) * sum(f.denominator) ELSE sum(f.denominator_squared) END,
           CASE WHEN f.is_measured THEN sum(f.numerator) * sum(f.denominator) ELSE sum(f.product) END,
           CASE WHEN NOT f.is_measured THEN max(f.value) END,
           CASE WHEN f.is_measured THEN agent_metrics.quantile_sketch(f.value) END
    FROM agent_metrics_internal.fact_rows(sum_facts.agent_ids, sum_facts.conversation_ids) f
    GROUP BY f.agent_id, f.conversation_id, f.measure, 4, f.is_measured;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.sum_facts(text[], text[], text) IS
    'What the facts of conversations add up to, by measure and report day, or hour of measurements. '
    'Internal: refresh() and verify() use it.';

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
        SELECT f.* FROM agent_metrics_internal.sum_facts(
            refresh_conversation_facts.agent_ids, refresh_conversation_facts.conversation_ids,
            refresh_conversation_facts.time_zone) f
    ), stored_fact AS MATERIALIZED (
        SELECT k.agent_id, k.conversation_id, k.measure, k.bucket, k.facts, k.numerator, k.denominator,
               k.numerator_squared, k.denominator_squared, k.product, k.value, k.sketch
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
               n.denominator, n.numerator_squared, n.denominator_squared, n.product, n.value, n.sketch,
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
                                                               denominator_squared, product, value, sketch)
        SELECT c.agent_id, c.conversation_id, c.measure, c.bucket, c.facts, c.numerator, c.denominator,
               c.numerator_squared, c.denominator_squared, c.product, c.value, c.sketch
        FROM changed_fact c WHERE c.is_now
        ON CONFLICT (conversation_id, agent_id, measure, bucket) DO UPDATE SET
            facts = excluded.facts, numerator = excluded.numerator, denominator = excluded.denominator,
            numerator_squared = excluded.numerator_squared, denominator_squared = excluded.denominator_squared,
            product = excluded.product, value = excluded.value, sketch = excluded.sketch
    )
    SELECT array_agg(d.agent_id), array_agg(d.measure), array_agg(d.bucket)
    FROM (SELECT DISTINCT c.agent_id, c.measure, c.bucket FROM changed_fact c) d;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_conversation_facts(text[], text[], text) IS
    'Brings the facts of conversations up to date and returns the measures and days that changed. '
    'Internal: refresh() uses it.';

CREATE TYPE agent_metrics_internal.fact_sum AS (
    agent_id text, measure text, bucket timestamptz, facts bigint, numerator numeric, denominator numeric,
    numerator_squared numeric, denominator_squared numeric, product numeric, sketch agent_metrics.quantile_sketch,
    level text);
COMMENT ON TYPE agent_metrics_internal.fact_sum IS 'One row of fact_sums.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.measure IS 'Measure.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.bucket IS 'Start of the report day, or hour.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.facts IS 'Rows it was made of.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.numerator IS 'Sum of numerators.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.denominator IS 'Sum of denominators; of revenue, agent hours.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.numerator_squared IS 'Sum of squares of numerators.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.denominator_squared IS 'Sum of squares of denominators.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.product IS 'Sum of products of the two.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.sketch IS 'Sketch of values.';
COMMENT ON COLUMN agent_metrics_internal.fact_sum.level IS 'hour or day.';

-- The days and hours that facts lie on: every measure has days, those of the user hours too.
CREATE FUNCTION agent_metrics_internal.fact_buckets(agent_ids text[], measures text[], buckets timestamptz[])
RETURNS TABLE (agent_id text, measure text, bucket timestamptz, level text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
#variable_conflict use_column
DECLARE
    zone text := agent_metrics_internal.report_time_zone();
BEGIN
    RETURN QUERY
    SELECT DISTINCT u.agent_id, u.measure, agent_metrics_internal.bucket_start(u.bucket, l.level, zone), l.level
    FROM unnest(fact_buckets.agent_ids, fact_buckets.measures, fact_buckets.buckets) AS u (agent_id, measure, bucket)
    CROSS JOIN (VALUES ('hour'), ('day')) AS l (level)
    WHERE l.level = 'day' OR u.measure <> ALL (agent_metrics_internal.shipped_measures());
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.fact_buckets(text[], text[], timestamptz[]) IS
    'The buckets of fact_sums that facts lie in. Internal: refresh() and verify() use it.';

-- Sums from the facts of conversations and, for the measure revenue, the agent's hours: the one definition.
CREATE FUNCTION agent_metrics_internal.compute_fact_sums(agent_ids text[], measures text[], buckets timestamptz[])
RETURNS SETOF agent_metrics_internal.fact_sum
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
DECLARE
    zone text := agent_metrics_internal.report_time_zone();
BEGIN
    RETURN QUERY
    SELECT d.agent_id, d.measure, d.bucket, f.facts,
           CASE WHEN d.measure = 'revenue' AND h.hours IS NOT NULL THEN coalesce(f.numerator, 0) ELSE f.numerator END,
           CASE WHEN d.measure = 'revenue' THEN h.hours ELSE f.denominator END,
           f.numerator_squared, f.denominator_squared, f.product, f.sketch, d.level
    FROM agent_metrics_internal.fact_buckets(
        compute_fact_sums.agent_ids, compute_fact_sums.measures, compute_fact_sums.buckets) d
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(x.facts), 0)::bigint AS facts, sum(x.numerator) AS numerator,
               sum(x.denominator) AS denominator, sum(x.numerator_squared) AS numerator_squared,
               sum(x.denominator_squared) AS denominator_squared, sum(x.product) AS product,
               coalesce(agent_metrics.merge(x.sketch), agent_metrics.quantile_sketch(x.value)) AS sketch
        FROM agent_metrics_internal.conversation_facts x
        WHERE x.agent_id = d.agent_id AND x.measure = d.measure AND x.bucket >= d.bucket
          AND x.bucket < agent_metrics_internal.bucket_end(d.bucket, d.level, zone)) f
    LEFT JOIN LATERAL (
        SELECT a.active_seconds / 3600 AS hours FROM agent_metrics_internal.active_days a
        WHERE a.agent_id = d.agent_id AND a.bucket = d.bucket AND d.measure = 'revenue' AND a.active_seconds > 0) h
      ON true
    WHERE f.facts > 0 OR h.hours IS NOT NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compute_fact_sums(text[], text[], timestamptz[]) IS
    'Sums of measures over days and hours; a bucket without any gives no row. Internal: refresh() and verify() use it.';

CREATE FUNCTION agent_metrics_internal.refresh_fact_sums(agent_ids text[], measures text[], buckets timestamptz[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off AS $function$
#variable_conflict use_column
BEGIN
    WITH current_sum AS MATERIALIZED (
        SELECT n.* FROM agent_metrics_internal.compute_fact_sums(
            refresh_fact_sums.agent_ids, refresh_fact_sums.measures, refresh_fact_sums.buckets) n
    ), deleted_sum AS (
        DELETE FROM agent_metrics_internal.fact_sums f
        USING agent_metrics_internal.fact_buckets(
            refresh_fact_sums.agent_ids, refresh_fact_sums.measures, refresh_fact_sums.buckets) u
        WHERE f.agent_id = u.agent_id AND f.measure = u.measure AND f.bucket = u.bucket AND f.level = u.level
          AND NOT EXISTS (SELECT 1 FROM current_sum n
                          WHERE n.agent_id = u.agent_id AND n.measure = u.measure AND n.bucket = u.bucket
                            AND n.level = u.level)
    )
    INSERT INTO agent_metrics_internal.fact_sums (agent_id, measure, bucket, facts, numerator, denominator,
                                                  numerator_squared, denominator_squared, product, sketch, level)
    SELECT n.agent_id, n.measure, n.bucket, n.facts, n.numerator, n.denominator, n.numerator_squared,
           n.denominator_squared, n.product, n.sketch, n.level
    FROM current_sum n
    ON CONFLICT (agent_id, measure, bucket, level) DO UPDATE SET
        facts = excluded.facts, numerator = excluded.numerator, denominator = excluded.denominator,
        numerator_squared = excluded.numerator_squared, denominator_squared = excluded.denominator_squared,
        product = excluded.product, sketch = excluded.sketch;
    PERFORM agent_metrics_internal.refresh_segment_facts(
        refresh_fact_sums.agent_ids, refresh_fact_sums.measures, refresh_fact_sums.buckets);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_fact_sums(text[], text[], timestamptz[]) IS
    'Computes sums of measures again. Internal: refresh() uses it.';
