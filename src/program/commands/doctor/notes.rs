//! What one has to know though nothing is wrong with the install: it is said, and does not count.

/// What is asked.
pub const QUESTIONS: &[&str] = &[
    "SELECT format('%s of agent %s is beyond its threshold: %s, threshold %s%s', b.metric, b.agent_id,
                   coalesce(round(b.value::numeric, 4)::text, 'no value'), b.threshold,
                   coalesce(', taken up by ' || b.acknowledged_by,
                            format('; %s answers for it, and nobody has taken it up', b.owner))),
            CASE WHEN b.acknowledged_at IS NULL
                 THEN format('SELECT agent_metrics.acknowledge(%L, <who>, <cause>);', b.breach_id)
                 ELSE 'it closes by itself when the metric is on the right side again' END
     FROM agent_kpi.open_breaches b ORDER BY b.acknowledged_at IS NOT NULL, b.agent_id, b.metric LIMIT 20",
    "SELECT format('agent %s is registered and has no turn yet', a.agent_id),
            format('its producer writes agent_id %L into agent_metrics.agent_events', a.agent_id)
     FROM agent_metrics.agents a
     WHERE a.sunset_at IS NULL
       AND NOT EXISTS (SELECT FROM agent_metrics_internal.rollups r
                       WHERE r.agent_id = a.agent_id AND r.level = 'day' AND r.turns > 0)
       AND NOT EXISTS (SELECT FROM agent_metrics.agent_events e WHERE e.agent_id = a.agent_id)
     ORDER BY a.agent_id LIMIT 20",
    // What brings a metric its facts is told by the words of its definition; the table is the one place to look.
    "SELECT format('%s is held to a threshold and has no value in the 30 days that end today: %s', v.metric,
                   string_agg(v.agent_id, ', ' ORDER BY v.agent_id)),
            format('it is %s; bring %s, or hold nobody to it: '
                   'DELETE FROM agent_metrics.thresholds WHERE metric = %L AND agent_id IN (%s);',
                   rtrim(min(m.definition), '.'),
                   CASE min(m.source) WHEN 'facts' THEN 'reviews or judgements (agent_metrics.reviews, turn_scores, '
                                                        'tool_call_verdicts)'
                                      WHEN 'survey' THEN 'answers (agent_metrics.survey_answers)'
                                      WHEN 'eval_runs' THEN 'runs (agent_metrics.record_eval_run)'
                                      WHEN 'drift' THEN 'two runs of an eval set (agent_metrics.record_eval_run)'
                                      ELSE 'what turns lack for it (cost_usd, latency_ms, outcome_label and so on)' END,
                   v.metric, string_agg(quote_literal(v.agent_id), ', ' ORDER BY v.agent_id))
     FROM agent_metrics_internal.window_values v
     JOIN agent_metrics.metrics m ON m.metric = v.metric
     JOIN agent_metrics.agents a ON a.agent_id = v.agent_id AND a.sunset_at IS NULL
     WHERE v.span = 'to_today' AND v.threshold IS NOT NULL AND v.verdict = 'no_data'
       AND EXISTS (SELECT FROM agent_metrics.thresholds t WHERE t.agent_id = v.agent_id AND t.metric = v.metric)
       AND EXISTS (SELECT FROM agent_metrics_internal.rollups r
                   WHERE r.agent_id = v.agent_id AND r.level = 'day' AND r.turns > 0
                     AND r.bucket > now() - interval '30 days')
     GROUP BY v.metric ORDER BY v.metric",
    "SELECT format('agent %s is held to no threshold, so nobody is told when it gets worse', a.agent_id),
            format('INSERT INTO agent_metrics.thresholds (agent_id, metric, value, owner) '
                   'VALUES (%L, <metric>, <value>, %L);', a.agent_id, a.owner)
     FROM agent_metrics.agents a
     WHERE a.actor = 'ai' AND a.sunset_at IS NULL
       AND NOT EXISTS (SELECT FROM agent_metrics.thresholds t WHERE t.agent_id = a.agent_id)
     ORDER BY a.agent_id LIMIT 20",
    "SELECT format('the threshold of %s for agent %s was to be looked at again on %s, by %s', t.metric, t.agent_id,
                   t.review_on, t.owner),
            format('change it, or say when it is looked at next: UPDATE agent_metrics.thresholds SET review_on = <day> '
                   'WHERE agent_id = %L AND metric = %L AND effective_from = %L;',
                   t.agent_id, t.metric, t.effective_from)
     FROM agent_metrics.thresholds t
     WHERE t.review_on < current_date
       AND t.effective_from <= current_date AND coalesce(t.effective_to, 'infinity') >= current_date
       AND NOT EXISTS (SELECT FROM agent_metrics.thresholds l
                       WHERE l.agent_id = t.agent_id AND l.metric = t.metric
                         AND l.effective_from > t.effective_from AND l.effective_from <= current_date)
     ORDER BY t.agent_id, t.metric LIMIT 20",
    "SELECT format('agent %s has turns dated before 2015, the first on %s: they are counted on their day and in no '
                   'calendar', i.agent_id, min(i.day)),
            'a history is counted when a year has turns on three days; SELECT * FROM agent_kpi.implausible_times'
     FROM agent_kpi.implausible_times i WHERE i.reason = 'before 2015'
     GROUP BY i.agent_id ORDER BY i.agent_id LIMIT 20",
    "SELECT format('partition %s of agent_events is not in schema agent_metrics, so it counts and is not archived',
                   i.inhrelid::regclass),
            format('if it shall not stay there: ALTER TABLE %s SET SCHEMA agent_metrics;', i.inhrelid::regclass)
     FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'agent_metrics.agent_events'::regclass AND c.relnamespace <> 'agent_metrics'::regnamespace
     ORDER BY 1 LIMIT 20",
];
