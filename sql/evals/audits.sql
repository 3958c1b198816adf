-- What the scheduler looks after besides refreshing: drift of new runs, Mondays without a run, review samples, a
-- self-report gap that widened, quarters without a decision.

-- A history that was brought in is no experience with the agent; nor is a registration long before the first turn. Of a
-- moment before the registration the turns alone can tell.
CREATE FUNCTION agent_metrics_internal.here_since(agent_id text, registered_at timestamptz, at timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN coalesce(greatest(CASE WHEN $2 <= $3 THEN $2 END,
                             (SELECT r.bucket FROM agent_metrics_internal.rollups r
                              WHERE r.agent_id = $1 AND r.level = 'day' ORDER BY r.bucket LIMIT 1)), '-infinity');
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.here_since(text, timestamptz, timestamptz) IS
    'Since when an agent is here: its registration, or its first day with turns where that is later. '
    'Internal: run_audits() asks nothing of one that is new.';

CREATE FUNCTION agent_metrics.run_audits(at timestamptz DEFAULT now())
RETURNS TABLE (agent_id text, kind text, alert_id text, summary text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    recent   constant interval := '14 days';  -- runs brought in from long ago are compared, and alarm nobody
    days     constant integer := 30;          -- for an answer
    zone     text := agent_metrics_internal.report_time_zone();
    today    date := agent_metrics_internal.day_of($1, zone);
    asked    date := date_trunc('quarter', today)::date;
    agents   text[];  -- and months whose self-report gap can be tested now
    months   date[];
BEGIN
    -- A run that is brought in late comes between two that were compared: the later one is compared with it.
    DELETE FROM agent_metrics_internal.drift_findings f
    USING agent_metrics.eval_runs r,
          -- OFFSET 0: only of what is new is it worth knowing whether it is complete
          (SELECT e.* FROM agent_metrics.eval_runs e
           WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.drift_findings d
                             WHERE d.agent_id = e.agent_id AND d.run_id = e.run_id)
           OFFSET 0) n
          CROSS JOIN LATERAL (SELECT s.is_complete FROM agent_metrics_internal.eval_run_sums s
                              WHERE s.agent_id = n.agent_id AND s.run_id = n.run_id OFFSET 0) c
    WHERE r.agent_id = f.agent_id AND r.run_id = f.run_id AND c.is_complete
      AND n.agent_id = r.agent_id AND n.content_hash = r.content_hash
      AND (n.run_at, n.run_id) < (r.run_at, r.run_id)
      AND NOT EXISTS (SELECT 1 FROM agent_metrics.eval_runs o
                      WHERE o.agent_id = f.agent_id AND o.run_id = f.against_run_id
                        AND (o.run_at, o.run_id) > (n.run_at, n.run_id));
    INSERT INTO agent_metrics_internal.drift_findings
        (agent_id, run_id, metric, against_run_id, old_value, new_value, change, tolerance, is_worse, compared,
         broken_count, mended_count, p_value, p_mid, p_adjusted, ci_low, ci_high, detectable_change, broken_cases,
         mended_cases, state, reason, found_at)
    SELECT d.*, $1
    -- OFFSET 0: only of what is new is it worth knowing whether it is complete.
    FROM (SELECT n.agent_id, n.run_id FROM agent_metrics.eval_runs n
          WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.drift_findings f
                            WHERE f.agent_id = n.agent_id AND f.run_id = n.run_id)
          OFFSET 0) r
    JOIN agent_metrics_internal.eval_run_sums s ON s.agent_id = r.agent_id AND s.run_id = r.run_id AND s.is_complete
    CROSS JOIN LATERAL agent_metrics.drift(r.run_id, agent => r.agent_id) d
    ON CONFLICT DO NOTHING;
    UPDATE agent_metrics_internal.alerts a
    SET acknowledged_by = 'agent_metrics', acknowledged_at = $1, note = 'a run that came later lies between'
    WHERE a.kind = 'drift' AND a.acknowledged_at IS NULL AND a.payload ? 'run_id'
      AND EXISTS (SELECT 1 FROM agent_metrics_internal.drift_findings f
                  WHERE f.agent_id = a.agent_id AND f.run_id = a.payload ->> 'run_id'
                    AND f.metric = a.payload ->> 'metric' AND f.state <> 'alert');
    RETURN QUERY
    WITH notice AS (
        SELECT f.agent_id, 'drift' AS kind, format('drift %s %s', f.run_id, f.metric) AS key, a.owner,
               format('%s of %s %s from %s to %s: %s', f.metric, f.agent_id,
                      CASE WHEN f.change < 0 THEN 'fell' ELSE 'rose' END,
                      agent_metrics_internal.in_words(f.old_value, m.unit),
                      agent_metrics_internal.in_words(f.new_value, m.unit), f.reason) AS summary,
               jsonb_build_object('metric', f.metric, 'unit', m.unit, 'value', f.new_value, 'previous', f.old_value,
                                  'change', f.change, 'tolerance', f.tolerance, 'change_low', f.ci_low,
                                  'change_high', f.ci_high, 'p_value', f.p_value, 'is_worse', f.is_worse,
                                  'run_id', f.run_id, 'against_run_id', f.against_run_id,
                                  'broken_count', f.broken_count, 'mended_count', f.mended_count,
                                  'broken_cases', to_jsonb(f.broken_cases[:20])) AS detail
        FROM agent_metrics_internal.drift_findings f
        JOIN agent_metrics.eval_runs r ON r.agent_id = f.agent_id AND r.run_id = f.run_id
        JOIN agent_metrics.metrics m ON m.metric = f.metric
        LEFT JOIN agent_metrics.agents a ON a.agent_id = f.agent_id
        WHERE f.state = 'alert' AND r.run_at >= $1 - recent
        UNION ALL
        -- Each Monday anew, as long as none comes.
        SELECT s.agent_id, 'eval_missing', format('eval_missing %s %s', s.eval_set, x.monday), s.owner,
               format('%s has not run eval set %s on Monday %s; its last run was %s', s.agent_id, s.eval_set, x.monday,
                      coalesce('at ' || to_char(s.last_run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
                               'never')),
               jsonb_build_object('eval_set', s.eval_set, 'expected_on', x.monday)
        FROM agent_kpi.eval_schedule s
        JOIN agent_metrics.agents a ON a.agent_id = s.agent_id AND a.sunset_at IS NULL
        CROSS JOIN LATERAL (SELECT date_trunc('week', agent_metrics_internal.day_of($1, a.time_zone)::timestamp
                                                      - interval '1 day')::date AS monday) x
        WHERE s.overdue_at <= $1
    )
    SELECT s.agent_id, s.kind, e.alert_id, s.summary
    FROM notice s
    CROSS JOIN LATERAL agent_metrics_internal.enqueue_alert(
        s.kind, s.agent_id, s.key, jsonb_build_object('summary', s.summary) || jsonb_strip_nulls(s.detail), s.owner)
            AS e (alert_id)
    WHERE NOT EXISTS (SELECT 1
                      FROM agent_metrics_internal.alerts a WHERE a.agent_id = s.agent_id AND a.dedupe_key = s.key);

    -- Of each week and month that is over and in the rollups, a sample for the reviewers.
    PERFORM agent_metrics.draw_review_sample(a.agent_id, p.period, p.began::date)
    FROM agent_metrics.agents a
    JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = a.agent_id
    CROSS JOIN LATERAL (
        SELECT x.period, x.one, date_trunc(x.period, today::timestamp) - x.one AS began,
               date_trunc(x.period, today::timestamp) AS ended
        FROM (VALUES ('week', interval '1 week'), ('month', interval '1 month')) AS x (period, one)) p
    WHERE a.actor = 'ai' AND a.sunset_at IS NULL
      -- what was there before the agent is not reviewed: nobody asks for a month's reviews on the first day
      AND agent_metrics_internal.here_since(a.agent_id, a.registered_at, $1) <= $1 - p.one
      AND w.refreshed_at BETWEEN agent_metrics_internal.day_start(p.ended::date, zone) AND now() + interval '5 minutes'
      AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.review_samples s
                      WHERE s.agent_id = a.agent_id AND s.sample_id = p.period || ' ' || p.began::date)
      AND EXISTS (SELECT 1 FROM agent_metrics.conversations c
                  WHERE c.agent_id = a.agent_id
                    AND c.started_at >= agent_metrics_internal.day_start(p.began::date, zone)
                    AND c.started_at < agent_metrics_internal.day_start(p.ended::date, zone));

    -- Of each of the last two months that are over: its sample is reviewed and in the rollups, or it ended 30 days ago.
    SELECT array_agg(a.agent_id), array_agg(m.began) INTO agents, months
    FROM agent_metrics.agents a
    JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = a.agent_id
    CROSS JOIN LATERAL (
        SELECT (date_trunc('month', today::timestamp) - n * interval '1 month')::date AS began,
               (date_trunc('month', today::timestamp) - (n - 1) * interval '1 month')::date AS ended
        FROM generate_series(1, 2) AS n) m
    WHERE a.actor = 'ai' AND a.sunset_at IS NULL
      AND w.refreshed_at BETWEEN agent_metrics_internal.day_start(m.ended, zone) AND now() + interval '5 minutes'
      AND NOT EXISTS (SELECT 1
                      FROM agent_metrics_internal.gap_findings f WHERE f.agent_id = a.agent_id AND f.month = m.began)
      AND (today >= m.ended + days
           OR (EXISTS (SELECT 1 FROM agent_metrics_internal.review_items i
                       WHERE i.agent_id = a.agent_id AND i.sample_id = 'month ' || m.began)
               AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.review_items i
                               WHERE i.agent_id = a.agent_id AND i.sample_id = 'month ' || m.began
                                 AND (SELECT count(DISTINCT r.reviewer)
                                          FILTER (WHERE pg_visible_in_snapshot(r.changed_in, w.snapshot))
                                      FROM agent_metrics.reviews r
                                      WHERE r.conversation_id = i.conversation_id AND r.agent_id = i.agent_id
                                        AND r.sample_id = i.sample_id)
                                     < CASE WHEN i.is_double THEN 2 ELSE 1 END)));
    IF agents IS NOT NULL THEN
        RETURN QUERY
        WITH inserted_finding AS (
            INSERT INTO agent_metrics_internal.gap_findings AS f (
                agent_id, month, reviewed, gap_points, previous_gap_points, widened_p, is_wider, found_at)
            SELECT d.agent_id, d.month, coalesce(g.reviewed_count, 0), g.gap_points, g.previous_gap_points, g.widened_p,
                   coalesce(g.is_wider, false), $1
            FROM unnest(agents, months) AS d (agent_id, month)
            LEFT JOIN agent_kpi.self_report_monthly g ON g.agent_id = d.agent_id AND g.month = d.month
            ON CONFLICT DO NOTHING
            RETURNING f.*
        ), notice AS (
            SELECT t.agent_id, format('gap_widened %s', t.month) AS key, a.owner,
                   format('What %s says of its success lies %s points above what people say in %s, and lay %s points '
                          'above in the month before: more than noise widens a gap',
                          t.agent_id, round(t.gap_points::numeric, 1), to_char(t.month, 'YYYY-MM'),
                          round(t.previous_gap_points::numeric, 1)) AS summary,
                   jsonb_build_object('metric', 'self_report_gap', 'unit', 'points', 'value', t.gap_points,
                                      'previous', t.previous_gap_points, 'ci_low', g.ci_low, 'ci_high', g.ci_high,
                                      'p_value', t.widened_p, 'month', t.month, 'reviewed_count', t.reviewed) AS detail
            FROM inserted_finding t
            JOIN agent_metrics.agents a ON a.agent_id = t.agent_id
            JOIN agent_kpi.self_report_monthly g ON g.agent_id = t.agent_id AND g.month = t.month
            WHERE t.is_wider
        )
        SELECT s.agent_id, 'gap_widened', e.alert_id, s.summary
        FROM notice s
        CROSS JOIN LATERAL agent_metrics_internal.enqueue_alert(
            'gap_widened', s.agent_id, s.key, jsonb_build_object('summary', s.summary) || jsonb_strip_nulls(s.detail),
            s.owner) AS e (alert_id)
        WHERE e.alert_id IS NOT NULL;
    END IF;

    INSERT INTO agent_metrics_internal.decision_requests (agent_id, quarter, owner, asked_at, due_on)
    SELECT a.agent_id, asked, a.owner, $1, today + days
    FROM agent_metrics.agents a
    -- nobody can say after a day whether an agent is worth its money
    WHERE a.actor = 'ai' AND a.sunset_at IS NULL
      AND agent_metrics_internal.here_since(a.agent_id, a.registered_at, $1) <= $1 - interval '3 months'
    ON CONFLICT DO NOTHING;
    RETURN QUERY
    WITH notice AS (
        SELECT q.agent_id, x.kind, format('%s %s', x.kind, q.quarter) AS key, q.owner,
               format(x.words, q.agent_id, q.due_on) AS summary,
               jsonb_build_object('quarter', q.quarter, 'due_on', q.due_on) AS detail
        FROM agent_metrics_internal.decision_requests q
        CROSS JOIN LATERAL (VALUES
            ('decision_due',
             'Keep or replace %1$s? Would we deploy it from scratch today? The answer is due by %2$s', true),
            ('decision_overdue', 'Nobody has decided whether to keep or replace %1$s; the answer was due by %2$s',
             today > q.due_on)) AS x (kind, words, is_time)
        WHERE x.is_time AND NOT EXISTS (SELECT 1 FROM agent_metrics.decisions d
                                        WHERE d.agent_id = q.agent_id AND d.quarter >= q.quarter)
    )
    SELECT s.agent_id, s.kind, e.alert_id, s.summary
    FROM notice s
    CROSS JOIN LATERAL agent_metrics_internal.enqueue_alert(
        s.kind, s.agent_id, s.key, jsonb_build_object('summary', s.summary) || s.detail, s.owner) AS e (alert_id)
    WHERE NOT EXISTS (SELECT 1
                      FROM agent_metrics_internal.alerts a WHERE a.agent_id = s.agent_id AND a.dedupe_key = s.key);
END
$function$;
COMMENT ON FUNCTION agent_metrics.run_audits(timestamptz) IS
    'Compares eval runs that are complete and not compared yet, notices Mondays without a run, draws review samples, '
    'tests whether a month''s self-report gap widened, opens the quarter''s question for each AI agent; '
    'a row an alert made. Of an agent that is new, the question waits three months, a sample as long as its period. '
    'The program calls it.';

CREATE FUNCTION agent_metrics_internal.in_words(value double precision, unit text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE unit WHEN 'fraction' THEN round((value * 100)::numeric, 2) || '%'
                     WHEN 'usd' THEN '$' || round(value::numeric, 4)
                     WHEN 'points' THEN round(value::numeric, 2) || ' points'
                     ELSE round(value::numeric, 1) || CASE unit WHEN 'count' THEN '' ELSE ' ' || unit END END;
COMMENT ON FUNCTION agent_metrics_internal.in_words(double precision, text) IS
    'A value with its unit, as a person reads it.';
