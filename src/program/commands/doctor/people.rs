//! What is wrong with what people are told and asked: alerts that reach nobody, thresholds and teams that are nobody's,
//! evaluations and decisions that are overdue.

/// What is asked.
pub const QUESTIONS: &[&str] = &[
    "SELECT format('%s%s of %s reach nobody: no active channel takes them',
                   CASE WHEN x.breaches > 0
                        THEN format('%s open %s', x.breaches, CASE x.breaches WHEN 1 THEN 'breach' ELSE 'breaches' END)
                        ELSE '' END,
                   CASE WHEN x.others > 0
                        THEN CASE WHEN x.breaches > 0 THEN ' and ' ELSE '' END || format('%s open alerts', x.others)
                        ELSE '' END, coalesce(x.owner, 'nobody')),
            'make a channel, for all owners or for one (column owner), and set its variable where agent-metrics runs; '
            'what is open is sent then: INSERT INTO agent_metrics.alert_channels (channel, kind, url_env) '
            'VALUES (<name>, ''slack'', ''AGENT_METRICS_SLACK_URL'');'
     FROM (SELECT a.owner, count(*) FILTER (WHERE a.kind = 'breach') AS breaches,
                  count(*) FILTER (WHERE a.kind <> 'breach') AS others
           FROM agent_metrics_internal.alerts a
           WHERE a.acknowledged_at IS NULL
             AND NOT EXISTS (SELECT FROM agent_metrics.alert_channels c
                             WHERE c.is_active AND (c.owner IS NULL OR c.owner = a.owner))
           GROUP BY a.owner) x
     ORDER BY x.owner LIMIT 20",
    "SELECT format('channel %s takes no alerts, %s wait: %s', d.channel, count(DISTINCT (d.agent_id, d.alert_id)),
                   max(d.last_error)),
            format('mend that, then send them at once: SELECT agent_metrics.requeue_alerts(%L); agent-metrics once',
                   d.channel)
     FROM agent_metrics_internal.alert_deliveries d
     WHERE d.state = 'waiting' AND d.attempts > 0 AND d.last_error IS NOT NULL
     GROUP BY d.channel ORDER BY d.channel",
    "SELECT format('alert %s of agent %s was given up on channel %s after %s attempts: %s', d.alert_id, d.agent_id,
                   d.channel, d.attempts, coalesce(d.last_error, 'no reason')),
            format('mend the channel, then: SELECT agent_metrics.requeue_alerts(%L);', d.channel)
     FROM agent_metrics_internal.alert_deliveries d WHERE d.state = 'dead' ORDER BY d.channel, d.alert_id LIMIT 20",
    "SELECT format('channel %s has quiet hours in zone \"%s\", which the server''s time zone data does not know',
                   c.channel, c.time_zone),
            format('UPDATE agent_metrics.alert_channels SET time_zone = <zone> WHERE channel = %L;', c.channel)
     FROM agent_metrics.alert_channels c
     WHERE NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = c.time_zone)",
    "SELECT format('%s thresholds are of agent %s, which is not registered, so they hold nobody', count(*), t.agent_id),
            format('register it, or take them away: DELETE FROM agent_metrics.thresholds WHERE agent_id = %L;',
                   t.agent_id)
     FROM agent_metrics.thresholds t
     WHERE NOT EXISTS (SELECT FROM agent_metrics.agents a WHERE a.agent_id = t.agent_id)
     GROUP BY t.agent_id ORDER BY t.agent_id LIMIT 20",
    "SELECT format('agent %s is set beside \"%s\", which is no registered human team, so it is set beside nobody',
                   a.agent_id, a.baseline_agent_id),
            format('name one that is (%s), or NULL: '
                   'UPDATE agent_metrics.agents SET baseline_agent_id = <team> WHERE agent_id = %L;',
                   coalesce((SELECT string_agg(t.agent_id, ', ' ORDER BY t.agent_id) FROM agent_metrics.agents t
                             WHERE t.actor = 'human'), 'there is none'), a.agent_id)
     FROM agent_metrics.agents a
     WHERE a.baseline_agent_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM agent_metrics.agents t
                       WHERE t.agent_id = a.baseline_agent_id AND t.actor = 'human')
     ORDER BY a.agent_id LIMIT 20",
    "SELECT format('agent %s has not run eval set %s on Monday %s', s.agent_id, s.eval_set, s.next_run_on),
            format('run it and store it: SELECT agent_metrics.record_eval_run(%L, <run_id>, %L, <results>); '
                   'or end the plan: DELETE FROM agent_metrics.eval_plans WHERE agent_id = %L AND eval_set = %L;',
                   s.agent_id, s.eval_set, s.agent_id, s.eval_set)
     FROM agent_kpi.eval_schedule s JOIN agent_metrics.agents a ON a.agent_id = s.agent_id AND a.sunset_at IS NULL
     WHERE s.is_overdue ORDER BY s.agent_id, s.eval_set",
    "SELECT format('eval set %s is to be run by agent %s, which is not registered, so nobody is asked for it',
                   p.eval_set, p.agent_id),
            format('register it, or end the plan: '
                   'DELETE FROM agent_metrics.eval_plans WHERE agent_id = %L AND eval_set = %L;',
                   p.agent_id, p.eval_set)
     FROM agent_metrics.eval_plans p
     WHERE NOT EXISTS (SELECT FROM agent_metrics.agents a WHERE a.agent_id = p.agent_id)
     ORDER BY p.agent_id, p.eval_set LIMIT 20",
    "SELECT format('nobody has decided whether to keep or replace agent %s; %s was to answer by %s',
                   d.agent_id, d.owner, d.due_on),
            format('decide (keep, replace or sunset), and say who and why: '
                   'SELECT agent_metrics.decide(%L, <decision>, <who>, <why>);', d.agent_id)
     FROM agent_kpi.decisions d WHERE d.is_overdue ORDER BY d.agent_id, d.quarter",
];
