-- Breaches as people read them, and the frame they report into.

CREATE OR REPLACE VIEW agent_kpi.open_breaches WITH (security_barrier) AS
SELECT b.agent_id, b.metric, b.value, b.threshold, b.owner, b.opened_at, b.closed_at, b.acknowledged_by,
       b.acknowledged_at, b.cause, b.action, b.breach_id, b.direction, b.ci_low, b.ci_high, b.window_from, b.window_to,
       b.reopened_at, b.reopenings, b.deputy, o.contact, b.definition_version
FROM agent_metrics_internal.breaches b
LEFT JOIN agent_metrics.owners o ON o.owner = b.owner WHERE b.closed_at IS NULL;
COMMENT ON VIEW agent_kpi.open_breaches IS 'One row per breach that is open. Unique: breach_id.';
COMMENT ON COLUMN agent_kpi.open_breaches.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.open_breaches.metric IS 'Metric.';
COMMENT ON COLUMN agent_kpi.open_breaches.value IS 'Value over the window last judged while open.';
COMMENT ON COLUMN agent_kpi.open_breaches.threshold IS 'The threshold at that time.';
COMMENT ON COLUMN agent_kpi.open_breaches.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.open_breaches.opened_at IS 'When the verdict was first breach.';
COMMENT ON COLUMN agent_kpi.open_breaches.closed_at IS 'When the verdict was pass again; NULL: open.';
COMMENT ON COLUMN agent_kpi.open_breaches.acknowledged_by IS 'Who took it up; NULL: nobody yet.';
COMMENT ON COLUMN agent_kpi.open_breaches.acknowledged_at IS 'When.';
COMMENT ON COLUMN agent_kpi.open_breaches.cause IS 'What he found.';
COMMENT ON COLUMN agent_kpi.open_breaches.action IS 'What he does about it.';
COMMENT ON COLUMN agent_kpi.open_breaches.breach_id IS 'Id of the breach, for acknowledge().';
COMMENT ON COLUMN agent_kpi.open_breaches.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.open_breaches.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.open_breaches.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.open_breaches.window_from IS 'First report day of the window.';
COMMENT ON COLUMN agent_kpi.open_breaches.window_to IS 'Last report day of the window.';
COMMENT ON COLUMN agent_kpi.open_breaches.reopened_at IS 'When it was last opened again.';
COMMENT ON COLUMN agent_kpi.open_breaches.reopenings IS 'How often it was opened again.';
COMMENT ON COLUMN agent_kpi.open_breaches.deputy IS 'Who answers when the owner does not.';
COMMENT ON COLUMN agent_kpi.open_breaches.contact IS 'How to reach the owner.';
COMMENT ON COLUMN agent_kpi.open_breaches.definition_version IS 'Version of the metric''s definition.';

CREATE OR REPLACE VIEW agent_kpi.breach_history WITH (security_barrier) AS
SELECT b.agent_id, b.metric, b.value, b.threshold, b.owner, b.opened_at, b.closed_at, b.acknowledged_by,
       b.acknowledged_at, b.cause, b.action, b.breach_id, b.direction, b.ci_low, b.ci_high, b.window_from, b.window_to,
       b.reopened_at, b.reopenings, b.deputy, o.contact, b.definition_version
FROM agent_metrics_internal.breaches b
LEFT JOIN agent_metrics.owners o ON o.owner = b.owner;
COMMENT ON VIEW agent_kpi.breach_history IS 'One row per breach, open or closed. Unique: breach_id.';
COMMENT ON COLUMN agent_kpi.breach_history.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.breach_history.metric IS 'Metric.';
COMMENT ON COLUMN agent_kpi.breach_history.value IS 'Value over the window last judged while open.';
COMMENT ON COLUMN agent_kpi.breach_history.threshold IS 'The threshold at that time.';
COMMENT ON COLUMN agent_kpi.breach_history.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_kpi.breach_history.opened_at IS 'When the verdict was first breach.';
COMMENT ON COLUMN agent_kpi.breach_history.closed_at IS 'When the verdict was pass again; NULL: open.';
COMMENT ON COLUMN agent_kpi.breach_history.acknowledged_by IS 'Who took it up; NULL: nobody yet.';
COMMENT ON COLUMN agent_kpi.breach_history.acknowledged_at IS 'When.';
COMMENT ON COLUMN agent_kpi.breach_history.cause IS 'What he found.';
COMMENT ON COLUMN agent_kpi.breach_history.action IS 'What he does about it.';
COMMENT ON COLUMN agent_kpi.breach_history.breach_id IS 'Id of the breach, for acknowledge().';
COMMENT ON COLUMN agent_kpi.breach_history.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_kpi.breach_history.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.breach_history.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_kpi.breach_history.window_from IS 'First report day of the window.';
COMMENT ON COLUMN agent_kpi.breach_history.window_to IS 'Last report day of the window.';
COMMENT ON COLUMN agent_kpi.breach_history.reopened_at IS 'When it was last opened again.';
COMMENT ON COLUMN agent_kpi.breach_history.reopenings IS 'How often it was opened again.';
COMMENT ON COLUMN agent_kpi.breach_history.deputy IS 'Who answers when the owner does not.';
COMMENT ON COLUMN agent_kpi.breach_history.contact IS 'How to reach the owner.';
COMMENT ON COLUMN agent_kpi.breach_history.definition_version IS 'Version of the metric''s definition.';
