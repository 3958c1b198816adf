-- Alerts as people read them: what was found, who was told, who took it up.

CREATE OR REPLACE VIEW agent_kpi.alerts WITH (security_barrier) AS
SELECT a.agent_id, a.alert_id, a.kind, a.payload ->> 'metric' AS metric, a.payload ->> 'summary' AS summary, a.owner,
       a.created_at, a.acknowledged_by, a.acknowledged_at, a.note, d.waiting_count, d.sent_count, d.dead_count,
       d.first_sent_at, d.last_error
FROM agent_metrics_internal.alerts a
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE x.state = 'waiting') AS waiting_count,
           count(*) FILTER (WHERE x.state = 'sent') AS sent_count,
           count(*) FILTER (WHERE x.state = 'dead') AS dead_count, min(x.sent_at) AS first_sent_at,
           max(x.last_error) FILTER (WHERE x.state IN ('waiting', 'dead')) AS last_error
    FROM agent_metrics_internal.alert_deliveries x WHERE x.agent_id = a.agent_id AND x.alert_id = a.alert_id) d;
COMMENT ON VIEW agent_kpi.alerts IS
    'One row per alert: drift, a missing eval run, a decision that is asked for or overdue, a self-report gap that '
    'widened, a breach. Unique: agent_id, alert_id.';
COMMENT ON COLUMN agent_kpi.alerts.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.alerts.alert_id IS 'Id of the alert.';
COMMENT ON COLUMN agent_kpi.alerts.kind IS
    'drift, eval_missing, decision_due, decision_overdue, gap_widened or breach.';
COMMENT ON COLUMN agent_kpi.alerts.metric IS 'Metric it is about, if any.';
COMMENT ON COLUMN agent_kpi.alerts.summary IS 'What was found, in words.';
COMMENT ON COLUMN agent_kpi.alerts.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.alerts.created_at IS 'When it was found.';
COMMENT ON COLUMN agent_kpi.alerts.acknowledged_by IS 'Who said that he has seen it; NULL: nobody yet.';
COMMENT ON COLUMN agent_kpi.alerts.acknowledged_at IS 'When.';
COMMENT ON COLUMN agent_kpi.alerts.note IS 'What he said.';
COMMENT ON COLUMN agent_kpi.alerts.waiting_count IS 'Deliveries that are still to be made.';
COMMENT ON COLUMN agent_kpi.alerts.sent_count IS 'Deliveries made, reminders included.';
COMMENT ON COLUMN agent_kpi.alerts.dead_count IS 'Deliveries given up.';
COMMENT ON COLUMN agent_kpi.alerts.first_sent_at IS 'When it was first delivered.';
COMMENT ON COLUMN agent_kpi.alerts.last_error IS 'Why the last attempt that failed did.';
