-- Whether the numbers can be trusted: freshness, and what nobody has mapped or registered.

-- When an agent is due, and why at once. A refresh that lies ahead was made by a clock that was wrong: it did not
-- happen. What has changed since a refresh makes the agent due: the cluster, what the rollups are built with, and what
-- says when it is refreshed and what it is held to.
CREATE OR REPLACE VIEW agent_metrics_internal.schedules AS
SELECT x.agent_id, x.cadence, x.time_zone, x.refreshed_at, x.schedule, x.why,
       CASE WHEN x.refreshed_at IS NULL OR x.is_ahead THEN least(x.registered_at, now())
            WHEN x.why IS NOT NULL THEN x.refreshed_at
            ELSE agent_metrics.next_due(x.cadence, x.time_zone, x.refreshed_at) END AS due_at,
       x.display_name, x.actor, x.is_ahead
FROM (SELECT d.*, CASE WHEN d.is_ahead
                       THEN format('its last refresh lies ahead, at %s: the server''s clock was wrong then, or is now',
                                   d.refreshed_at)
                       WHEN d.refreshed_at IS NULL THEN NULL
                       WHEN d.origin_then <> d.origin
                           THEN agent_metrics_internal.moved_from(d.origin_then)
                                || ', so the next refresh builds its rollups again'
                       WHEN d.settings <> d.settings_then THEN 'the settings of its rollups have changed'
                       WHEN d.schedule IS DISTINCT FROM d.schedule_then
                           THEN 'its cadence, kind or thresholds have changed' END AS why
      FROM (SELECT a.agent_id, coalesce(a.cadence, k.cadence) AS cadence, a.time_zone, w.refreshed_at, a.registered_at,
                   a.display_name, a.actor,
                   -- a transaction may have begun before a refresh that it sees
                   coalesce(w.refreshed_at > now() + interval '5 minutes', false) AS is_ahead,
                   w.settings AS settings_then, w.schedule AS schedule_then, w.origin AS origin_then, h.origin,
                   -- as watermark_settings() has it, which a reader may not call
                   format('%s, %s seconds, leads: %s', p.time_zone, k.bucket_seconds,
                          k.outcome_metric = 'qualified_lead_rate') AS settings,
                   format('%s %s, %s, thresholds %s', coalesce(a.cadence, k.cadence), a.time_zone, a.kind,
                          l.threshold_hash) AS schedule
            FROM agent_metrics.agents a
            JOIN agent_metrics.agent_kinds k ON k.kind = a.kind
            CROSS JOIN agent_metrics_internal.report p
            -- OFFSET 0: read once, not for every agent
            CROSS JOIN (SELECT agent_metrics_internal.origin() OFFSET 0) AS h (origin)
            LEFT JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = a.agent_id
            -- each refresh asks for them, so no text is made of them
            LEFT JOIN (SELECT t.agent_id,
                              bit_xor(hash_record_extended(
                                  ROW(t.metric, t.effective_from, t.effective_to, t.value), 0)) AS threshold_hash
                       FROM agent_metrics.thresholds t GROUP BY t.agent_id) l ON l.agent_id = a.agent_id) d) x;
COMMENT ON VIEW agent_metrics_internal.schedules IS 'When each agent is due, and why if it is at once.';

CREATE OR REPLACE VIEW agent_kpi.freshness WITH (security_barrier) AS
SELECT d.agent_id, d.cadence, d.refreshed_at, d.due_at,
       CASE WHEN NOT d.is_ahead
            THEN greatest(extract(epoch FROM now() - d.refreshed_at), 0)::double precision END AS lag_seconds,
       -- a refresh has five minutes from the moment it is due
       d.why IS NOT NULL OR d.due_at IS NOT NULL AND now() > d.due_at + interval '5 minutes' AS is_stale,
       d.display_name, d.actor, d.time_zone, d.why
FROM agent_metrics_internal.schedules d;
COMMENT ON VIEW agent_kpi.freshness IS 'One row per registered agent: how old its numbers are. Unique: agent_id.';
COMMENT ON COLUMN agent_kpi.freshness.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.freshness.cadence IS 'Five-field crontab by which the agent is refreshed.';
COMMENT ON COLUMN agent_kpi.freshness.refreshed_at IS 'When the numbers were last brought up to date.';
COMMENT ON COLUMN agent_kpi.freshness.due_at IS 'When the next refresh is due.';
COMMENT ON COLUMN agent_kpi.freshness.lag_seconds IS
    'Seconds since the last refresh; NULL: there was none, or its moment lies ahead.';
COMMENT ON COLUMN agent_kpi.freshness.is_stale IS
    'The refresh is overdue by more than five minutes, or column why says what else.';
COMMENT ON COLUMN agent_kpi.freshness.display_name IS 'Name shown to people.';
COMMENT ON COLUMN agent_kpi.freshness.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.freshness.time_zone IS 'Time zone of the cadence.';
COMMENT ON COLUMN agent_kpi.freshness.why IS
    'Why it is due at once: settings, cadence, kind or thresholds changed since the last refresh, that lies ahead, or '
    'the books came from another cluster or major version; NULL: by its cadence.';
