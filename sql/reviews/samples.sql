-- Review samples: stratified, seeded, replayable.

-- Each stratum gives two at least, so that its variance is known; what is left is shared out in proportion to size, by
-- largest remainders. Who is drawn is decided by a hash of seed and conversation, so the same seed over the same
-- conversations draws the same, whatever plan reads them.
CREATE FUNCTION agent_metrics.draw_review_sample(
    agent_id text, period text DEFAULT 'week', "on" date DEFAULT NULL, seed bigint DEFAULT NULL,
    share numeric DEFAULT 0.05, least_drawn integer DEFAULT 30)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    zone      text := agent_metrics_internal.report_time_zone();
    today     date := agent_metrics_internal.day_of(now(), zone);
    one       interval := CASE $2 WHEN 'week' THEN interval '1 week' WHEN 'month' THEN interval '1 month' END;
    from_day  date;
    to_day    date;
    name      text;
    chosen    bigint;
    whole     bigint;
    monthly   constant integer := 200;
BEGIN
    PERFORM agent_metrics_internal.check_registered($1);
    IF one IS NULL THEN
        RAISE EXCEPTION 'unknown period "%"', $2
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'A sample is of a week or of a month.',
                  HINT = 'Say week or month.';
    ELSIF $5 IS NULL OR $5 <= 0 OR $5 > 1 OR $6 IS NULL OR $6 < 1 THEN
        RAISE EXCEPTION 'impossible sample of % and at least %', coalesce($5::text, 'NULL'), coalesce($6::text, 'NULL')
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'A share lies above 0 and up to 1, and at least one conversation is drawn.',
                  HINT = 'Five per cent is 0.05.';
    END IF;
    from_day := date_trunc($2, coalesce($3::timestamp, today - one))::date;
    to_day := (from_day + one)::date - 1;
    IF to_day >= today THEN
        RAISE EXCEPTION 'the % of % is not over', $2, from_day
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'What is still to come could not be drawn.',
                  HINT = 'Leave "on" out for the last full one.';
    END IF;
    name := $2 || ' ' || from_day;
    -- One sample a period: drawing it again is reading it.
    PERFORM FROM agent_metrics.agents a WHERE a.agent_id = $1 FOR UPDATE;
    IF EXISTS (SELECT 1 FROM agent_metrics_internal.review_samples s WHERE s.agent_id = $1 AND s.sample_id = name) THEN
        RETURN name;
    END IF;
    -- It is drawn once and for good, so not from rollups that lack some of it.
    IF NOT EXISTS (SELECT 1 FROM agent_metrics_internal.agent_watermarks w
                   WHERE w.agent_id = $1 AND w.refreshed_at BETWEEN agent_metrics_internal.day_start(to_day + 1, zone)
                                                 AND now() + interval '5 minutes') THEN
        RAISE EXCEPTION 'agent "%" was not refreshed since the % of % ended', $1, $2, from_day
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Conversations that are not in the rollups yet could not be drawn, '
                           'and a sample is drawn once.',
                  HINT = format('SELECT agent_metrics.refresh(%L); then draw the sample.', $1);
    END IF;
    chosen := coalesce($4, ('x' || substr(md5($1 || ' ' || name), 1, 15))::bit(60)::bigint);
    SELECT count(*) INTO whole FROM agent_metrics.conversations c
    WHERE c.agent_id = $1 AND c.started_at >= agent_metrics_internal.day_start(from_day, zone)
      AND c.started_at < agent_metrics_internal.day_start(to_day + 1, zone);
    INSERT INTO agent_metrics_internal.review_samples (agent_id, sample_id, from_day, to_day, seed, population, drawn)
    VALUES ($1, name, from_day, to_day, chosen, whole, 0);
    -- One statement: a sample is drawn once, from one snapshot.
    WITH period_conversation AS (
        SELECT c.conversation_id, c.turns, CASE WHEN NOT c.has_outcome THEN 'pending'
                                                WHEN c.is_success THEN 'success'
                                                ELSE 'no success' END AS outcome
        FROM agent_metrics.conversations c
        WHERE c.agent_id = $1 AND c.started_at >= agent_metrics_internal.day_start(from_day, zone)
          AND c.started_at < agent_metrics_internal.day_start(to_day + 1, zone)
    ), conversation_intent AS (
        SELECT DISTINCT ON (e.conversation_id) e.conversation_id, e.intent_classified AS intent
        FROM agent_metrics.agent_events e
        WHERE e.agent_id = $1 AND NOT e.is_eval AND e.intent_classified IS NOT NULL
          AND e.occurred_at >= agent_metrics_internal.day_start(from_day, zone)
          AND e.conversation_id IN (SELECT i.conversation_id FROM period_conversation i)
        ORDER BY e.conversation_id, e.occurred_at, e.turn_index, e.event_id
    ), common_intent AS (
        SELECT n.intent FROM conversation_intent n
        GROUP BY n.intent ORDER BY count(*) DESC, n.intent COLLATE "C" LIMIT 5
    ), stratified_conversation AS (
        SELECT i.conversation_id,
               format('%s, %s, %s turns', i.outcome,
                      CASE WHEN n.intent IS NULL THEN 'no intent'
                           WHEN n.intent IN (SELECT m.intent FROM common_intent m) THEN n.intent
                           ELSE 'other intent' END,
                      CASE WHEN i.turns <= 2 THEN '1-2' WHEN i.turns <= 6 THEN '3-6' ELSE '7 and more' END) AS stratum,
               encode(sha256(convert_to(chosen || ' ' || i.conversation_id, 'UTF8')), 'hex') AS lot
        FROM period_conversation i LEFT JOIN conversation_intent n ON n.conversation_id = i.conversation_id
    ), stratum_size AS (
        SELECT p.stratum, count(*) AS size, least(count(*), 2) AS least_of
        FROM stratified_conversation p GROUP BY p.stratum
    ), stratum_target AS (
        SELECT s.*, greatest(least(whole, CASE $2 WHEN 'month' THEN monthly ELSE greatest(ceil($5 * whole), $6) END)
                             - sum(s.least_of) OVER (), 0)
                    * (s.size - s.least_of) / nullif(whole - sum(s.least_of) OVER (), 0) AS more
        FROM stratum_size s
    ), stratum_share AS (
        SELECT w.*, row_number() OVER (ORDER BY w.more - floor(w.more) DESC NULLS LAST, w.stratum COLLATE "C") AS place,
               round(sum(w.more - floor(w.more)) OVER ()) AS left_over
        FROM stratum_target w
    ), inserted_stratum AS (
        INSERT INTO agent_metrics_internal.review_strata (agent_id, sample_id, stratum, size, drawn)
        SELECT $1, name, s.stratum, s.size,
               (s.least_of + coalesce(floor(s.more), 0) + CASE WHEN s.place <= s.left_over THEN 1 ELSE 0 END)::bigint
        FROM stratum_share s
        RETURNING stratum, size, drawn
    ), ranked_conversation AS (
        SELECT p.*, row_number() OVER (PARTITION BY p.stratum ORDER BY p.lot, p.conversation_id COLLATE "C") AS place
        FROM stratified_conversation p
    ), sampled_conversation AS (
        SELECT r.conversation_id, r.stratum, r.lot, s.size::numeric / s.drawn AS weight
        FROM ranked_conversation r JOIN inserted_stratum s ON s.stratum = r.stratum AND r.place <= s.drawn
    )
    INSERT INTO agent_metrics_internal.review_items (agent_id, sample_id, conversation_id, stratum, weight, is_double)
    SELECT $1, name, t.conversation_id, t.stratum, t.weight,
           row_number() OVER (ORDER BY t.lot DESC, t.conversation_id COLLATE "C") <= ceil(0.1 * count(*) OVER ())
    FROM sampled_conversation t;
    UPDATE agent_metrics_internal.review_samples s
    SET drawn = (SELECT count(*)
                 FROM agent_metrics_internal.review_items i WHERE i.agent_id = $1 AND i.sample_id = name)
    WHERE s.agent_id = $1 AND s.sample_id = name;
    RETURN name;
END
$function$;
COMMENT ON FUNCTION agent_metrics.draw_review_sample(text, text, date, bigint, numeric, integer) IS
    'Draws the conversations of an agent''s week (a share, and so many at least) or month (200) to be reviewed, by '
    'outcome, intent and length, with the weight of each; a tenth is for two reviewers. "on" NULL: the last full one; '
    'seed NULL: made of agent and period. Returns the sample_id; again, the same sample.';

CREATE FUNCTION agent_metrics_internal.review_weight(agent_id text, sample_id text, conversation_id text)
RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    stands_for numeric;
BEGIN
    SELECT i.weight INTO stands_for
    FROM agent_metrics_internal.review_items i WHERE i.agent_id = $1 AND i.sample_id = $2 AND i.conversation_id = $3;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'conversation "%" is not in sample "%" of agent "%"', $3, $2, $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A review that was not drawn stands for nothing but itself, '
                           'and would bend the rate of the whole.',
                  HINT = 'SELECT conversation_id FROM agent_kpi.review_items lists what was drawn.';
    END IF;
    RETURN stands_for;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.review_weight(text, text, text) IS
    'How many conversations a drawn one stands for; an error when it was not drawn.';

CREATE FUNCTION agent_metrics.record_review(
    agent_id text, conversation_id text, reviewer text, sample_id text DEFAULT NULL, outcome_label text DEFAULT NULL,
    answer_verdict text DEFAULT NULL, is_in_scope boolean DEFAULT NULL, is_refused boolean DEFAULT NULL,
    is_escalated boolean DEFAULT NULL, should_escalate boolean DEFAULT NULL, note text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    made text;
BEGIN
    IF coalesce(btrim($3), '') = '' THEN
        RAISE EXCEPTION 'the review of conversation "%" has no reviewer', $2
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Two people on the same conversation are told apart by their names.',
                  HINT = 'Say who: a person or a role.';
    ELSIF $7 IS NOT NULL AND $8 IS NULL OR ($9 IS NULL) <> ($10 IS NULL) THEN
        RAISE EXCEPTION 'the review of conversation "%" judges % by halves', $2,
            CASE WHEN ($9 IS NULL) <> ($10 IS NULL) THEN 'its escalation' ELSE 'its scope' END
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'What was done is held against what should have been: is_escalated goes with '
                           'should_escalate, is_in_scope with is_refused.',
                  HINT = 'Give both, or leave both NULL: not judged.';
    END IF;
    INSERT INTO agent_metrics.reviews (agent_id, conversation_id, reviewer, sample_id, outcome_label, answer_verdict,
                                       is_in_scope, is_refused, is_escalated, should_escalate, note)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    RETURNING review_id INTO made;
    RETURN made;
END
$function$;
COMMENT ON FUNCTION agent_metrics.record_review(
    text, text, text, text, text, text, boolean, boolean, boolean, boolean, text) IS
    'Stores what a person found in a conversation; NULL: not judged. With a sample it weighs what the conversation was '
    'drawn with, and one that was not drawn is refused. Returns the id of the review.';
