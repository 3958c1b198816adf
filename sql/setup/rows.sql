-- Rows that ship: see metrics/rows.sql.

INSERT INTO agent_metrics.settings (name, value, description) VALUES
    ('report_time_zone', 'UTC', 'Time zone whose days and hours the reports use.'),
    ('hot_days', '90', 'Days that raw events stay in the database before they may be archived.'),
    ('page_url', '', 'Where people reach the page, such as https://agents.example; empty: alerts carry no links.'),
    ('span_days', '7', 'Days that a trace stays open after its last span.'),
    ('span_attributes', '', 'Attributes of spans that turns keep, for segments: channel, tier, region.')
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.agent_kinds (kind, cadence, bucket_seconds, outcome_metric, unit_name, description) VALUES
    ('support', '*/5 * * * *', 300, 'deflection_rate', 'resolved ticket', 'Answers customers.'),
    ('sales', '0 * * * *', 3600, 'qualified_lead_rate', 'qualified lead', 'Engages and qualifies leads.'),
    ('ops', '0 0 * * *', 3600, 'automation_rate', 'completed task', 'Completes internal tasks.')
ON CONFLICT DO NOTHING;
