-- Attached tables as people read them.

CREATE OR REPLACE VIEW agent_kpi.attached_tables WITH (security_barrier) AS
SELECT a.source, a.mode, CASE WHEN x.problem IS NULL THEN 'followed' ELSE 'problem' END AS status, x.problem,
       CASE WHEN x.problem IS NOT NULL THEN n.seen_at END AS problem_seen_at,
       CASE a.feeds WHEN 'turns'
            THEN (SELECT count(*) FROM agent_metrics_internal.span_keys k
                  WHERE k.sender = a.sender AND starts_with(k.sender, 'table ') AND k.event_id = k.span_key
                    AND k.call_index IS NULL)
            ELSE (SELECT count(*) FROM agent_metrics.business_events b WHERE b.source_table = a.source) END AS events,
       (SELECT count(*) FROM agent_metrics_internal.attached_changes c WHERE c.source = a.source) AS waiting,
       a.attached_at, a.compared_at, a.feeds, a.read_from AS watermark
FROM agent_metrics_internal.attached_tables a
LEFT JOIN LATERAL (SELECT string_agg(DISTINCT p.problem, '; ') AS problem, min(p.seen_at) AS seen_at
                   FROM agent_metrics_internal.attachment_problems p WHERE p.source = a.source) n ON true
CROSS JOIN LATERAL (
    SELECT coalesce(agent_metrics_internal.kpi_source_problem(
                        a.source, a.relation_kind, a.relation_owner, a.columns, a.column_types),
                    CASE WHEN a.relation <> agent_metrics_internal.kpi_relation(a.source)
                         THEN 'another table has its name now; the next time that it is followed compares it'
                         WHEN a.mode = 'trigger' AND NOT agent_metrics_internal.kpi_has_triggers(a.relation)
                          AND NOT a.wants_triggers THEN 'its triggers were dropped or disabled' END,
                    n.problem) AS problem) x;
COMMENT ON VIEW agent_kpi.attached_tables IS
    'Tables whose rows are business events or turns, and what cannot be followed of them. Unique: source.';
COMMENT ON COLUMN agent_kpi.attached_tables.source IS 'The table.';
COMMENT ON COLUMN agent_kpi.attached_tables.mode IS
    'trigger: its writes are noted, and become events before each refresh; '
    'compare: its rows are compared before each refresh, all or from the watermark on.';
COMMENT ON COLUMN agent_kpi.attached_tables.status IS 'followed or problem.';
COMMENT ON COLUMN agent_kpi.attached_tables.problem IS
    'What cannot be followed; NULL: nothing. agent_metrics_internal.attachment_problems has the key and the detail.';
COMMENT ON COLUMN agent_kpi.attached_tables.problem_seen_at IS 'When the problem was first noted.';
COMMENT ON COLUMN agent_kpi.attached_tables.events IS
    'Business events or turns that come from it; turns of tables of one preset in one schema are counted together, and '
    'those of closed traces no more.';
COMMENT ON COLUMN agent_kpi.attached_tables.waiting IS
    'Writes that were noted and are no events yet: the next sync_business_events() takes them.';
COMMENT ON COLUMN agent_kpi.attached_tables.attached_at IS 'When it was attached.';
COMMENT ON COLUMN agent_kpi.attached_tables.compared_at IS 'When all its rows were last compared.';
COMMENT ON COLUMN agent_kpi.attached_tables.feeds IS 'What its rows are: business_events or turns.';
COMMENT ON COLUMN agent_kpi.attached_tables.watermark IS
    'Value of its watermark column from which on it is compared; NULL: all rows are.';
