-- Rows that ship: see metrics/rows.sql.

INSERT INTO agent_metrics.kind_thresholds (kind, metric, value) VALUES
    ('sales', 'task_success_rate', 0.90), ('support', 'task_success_rate', 0.92), ('ops', 'task_success_rate', 0.95),
    ('sales', 'latency_p95_ms', 2500), ('support', 'latency_p95_ms', 3000), ('ops', 'latency_p95_ms', 5000),
    ('sales', 'cost_per_unit_usd', 4.00), ('support', 'cost_per_unit_usd', 0.40), ('ops', 'cost_per_unit_usd', 0.15),
    ('sales', 'qualified_lead_rate', 0.18), ('support', 'deflection_rate', 0.35), ('ops', 'automation_rate', 0.80),
    ('sales', 'hallucination_rate', 0.02), ('support', 'hallucination_rate', 0.015),
    ('ops', 'hallucination_rate', 0.005)
ON CONFLICT DO NOTHING;
