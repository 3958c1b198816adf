-- Who leads.

CREATE OR REPLACE VIEW agent_kpi.scheduler WITH (security_barrier) AS
SELECT format('%s, user %s, from %s', l.who, l.role_name, coalesce(l.address, 'this machine')) AS who,
       l.acquired_at AS leads_since, l.renewed_at AS heard_of_at, l.expires_at, l.term,
       l.holder IS NOT NULL AND l.expires_at > now()
       AND l.renewed_at - (l.expires_at - l.renewed_at) <= now() AS is_alive
FROM agent_metrics_internal.scheduler_lease l;
COMMENT ON VIEW agent_kpi.scheduler IS
    'The agent-metrics run that leads, or led last; no row: none ever did. Unique: term.';
COMMENT ON COLUMN agent_kpi.scheduler.who IS 'Process, role and address.';
COMMENT ON COLUMN agent_kpi.scheduler.leads_since IS 'When it began to lead.';
COMMENT ON COLUMN agent_kpi.scheduler.heard_of_at IS 'When it last said that it runs.';
COMMENT ON COLUMN agent_kpi.scheduler.expires_at IS 'When another may take over.';
COMMENT ON COLUMN agent_kpi.scheduler.term IS 'Counts the leaders.';
COMMENT ON COLUMN agent_kpi.scheduler.is_alive IS 'It leads; false: it stopped, or was not heard of for too long.';
