-- Rows shipped with this version. They are the user's from here on: edits and deletions stay.
-- Between the marks stands what setup() runs again when a dump without rows was restored (here and in later migrations).

-- shipped rows
INSERT INTO agent_metrics.settings (name, value, description) VALUES
    ('report_time_zone', 'UTC', 'Time zone whose days and hours the reports use.'),
    ('hot_days', '90', 'Days that raw events stay in the database before they may be archived.')
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.metrics (metric, metric_class, unit, direction, position, measure, definition) VALUES
    ('task_success_rate', 'capability', 'fraction', '+', 1, NULL, 'Conversations whose outcome counts as success / conversations with an outcome; pending ones are in neither.'),
    ('eval_success_rate', 'capability', 'fraction', '+', 10, 'eval_cases', 'Cases passed / cases graded, of a run over a frozen set; an errored case fails, an ungraded one is left out.'),
    ('latency_p50_ms', 'capability', 'ms', '-', 11, NULL, 'Median of latency_ms over the agent''s turns, nearest rank, within 1/128; turns without a latency are left out.'),
    ('latency_p95_ms', 'capability', 'ms', '-', 12, NULL, '95th percentile of latency_ms over the agent''s turns, nearest rank, within 1/128; turns without a latency are left out.'),
    ('tool_call_accuracy', 'capability', 'fraction', '+', 13, 'tool_calls', 'Tool calls judged correct / tool calls with a verdict.'),
    ('instruction_following_score', 'capability', 'fraction', '+', 14, 'instruction_scores', 'Mean score of graded turns.'),
    ('cost_per_unit_usd', 'economics', 'usd', '-', 2, NULL, 'All token cost of the agent on the day of the turn, failures and pending included / units of the agent''s kind on the day of their first turn. A turn whose cost is not known adds nothing and lowers coverage.'),
    ('tokens_per_turn', 'economics', 'count', '-', 20, NULL, 'Input and output tokens / turns that report tokens.'),
    ('token_spend_usd', 'economics', 'usd', '-', 21, NULL, 'Sum of cost_usd over the agent''s turns.'),
    ('infra_cost_per_agent_hour_usd', 'economics', 'usd', '-', 22, 'revenue', 'Billed infrastructure cost allocated to the agent / agent hours.'),
    ('revenue_per_agent_hour_usd', 'economics', 'usd', '+', 23, 'revenue', 'Revenue of business events attributed to the agent, refunds negative / agent hours.'),
    ('deflection_rate', 'outcome', 'fraction', '+', 3, NULL, 'Support conversations that ended with no human touch and no ticket left open / support conversations with an outcome.'),
    ('qualified_lead_rate', 'outcome', 'fraction', '+', 3, NULL, 'Leads the CRM marks qualified / leads engaged; a lead counts once, on the day of its first conversation.'),
    ('booking_conversion_rate', 'outcome', 'fraction', '+', 31, NULL, 'Conversations with a completed booking / conversations with an outcome.'),
    ('automation_rate', 'outcome', 'fraction', '+', 3, NULL, 'Tasks completed with no human step / tasks with an outcome.'),
    ('time_to_resolution_p50_s', 'outcome', 's', '-', 33, 'resolutions', 'Median of resolution time - first turn, over resolved conversations.'),
    ('time_to_resolution_p95_s', 'outcome', 's', '-', 34, 'resolutions', '95th percentile of resolution time - first turn, over resolved conversations.'),
    ('nps_delta', 'outcome', 'points', '+', 35, 'survey', 'NPS of the AI agent''s respondents - NPS of the human team it names as baseline; not shown under 30 respondents on either side.'),
    ('escalation_accuracy', 'trust', 'fraction', '+', 40, 'escalations', '(Rightly escalated + rightly kept) / conversations reviewed for it.'),
    ('hallucination_rate', 'trust', 'fraction', '-', 4, 'answers', 'Reviewed factual answers judged unsupported or contradicted / reviewed factual answers attempted; a refusal is not an attempt.'),
    ('out_of_scope_refusal_rate', 'trust', 'fraction', '+', 41, 'out_of_scope', 'Out-of-scope requests refused / out-of-scope requests reviewed.'),
    ('self_report_gap', 'trust', 'points', '-', 42, 'self_report', 'Agent-reported success rate - human-labelled success rate, on the same reviewed conversations.')
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.agent_kinds (kind, cadence, bucket_seconds, outcome_metric, unit_name, description) VALUES
    ('support', '*/5 * * * *', 300, 'deflection_rate', 'resolved ticket', 'Answers customers.'),
    ('sales', '0 * * * *', 3600, 'qualified_lead_rate', 'qualified lead', 'Engages and qualifies leads.'),
    ('ops', '0 0 * * *', 3600, 'automation_rate', 'completed task', 'Completes internal tasks.')
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.agent_kind_thresholds (kind, metric, value) VALUES
    ('sales', 'task_success_rate', 0.90), ('support', 'task_success_rate', 0.92), ('ops', 'task_success_rate', 0.95),
    ('sales', 'latency_p95_ms', 2500), ('support', 'latency_p95_ms', 3000), ('ops', 'latency_p95_ms', 5000),
    ('sales', 'cost_per_unit_usd', 4.00), ('support', 'cost_per_unit_usd', 0.40), ('ops', 'cost_per_unit_usd', 0.15),
    ('sales', 'qualified_lead_rate', 0.18), ('support', 'deflection_rate', 0.35), ('ops', 'automation_rate', 0.80),
    ('sales', 'hallucination_rate', 0.02), ('support', 'hallucination_rate', 0.015), ('ops', 'hallucination_rate', 0.005)
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.outcomes
    (label, is_success, is_unit, is_deflection, is_escalation, is_refusal, is_booking, is_automation, is_qualified_lead, is_open, description) VALUES
    ('success',      true,  true,  true,  false, false, false, false, false, false, 'What the user wanted was done.'),
    ('resolved',     true,  true,  true,  false, false, false, false, false, false, 'The ticket was resolved.'),
    ('completed',    true,  true,  false, false, false, false, true,  false, false, 'The task was completed.'),
    ('qualified',    true,  true,  false, false, false, false, false, true,  false, 'The lead is qualified.'),
    ('booked',       true,  true,  false, false, false, true,  false, false, false, 'A booking was made.'),
    ('escalated',    false, false, false, true,  false, false, false, false, false, 'Handed to a human.'),
    ('failure',      false, false, false, false, false, false, false, false, false, 'What the user wanted was not done.'),
    ('abandoned',    false, false, false, false, false, false, false, false, false, 'The user went away.'),
    ('info_only',    false, false, false, false, false, false, false, false, false, 'Only information was given.'),
    ('disqualified', false, false, false, false, false, false, false, false, false, 'The lead is not one.'),
    ('refused',      false, false, false, false, true,  false, false, false, false, 'The agent refused.'),
    ('booking_cancelled', false, false, false, false, false, false, false, false, false, 'A booking was taken back.'),
    ('reopened',     false, false, false, false, false, false, false, false, true,  'The ticket is open again: pending.')
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.event_kinds (kind, meaning, description) VALUES
    ('ticket_resolved',   'resolved',     'A ticket was resolved.'),
    ('ticket_reopened',   'reopened',     'A resolved ticket was opened again.'),
    ('ticket_escalated',  'escalated',    'A ticket was handed to a human.'),
    ('lead_qualified',    'qualified',    'A lead was marked qualified.'),
    ('lead_disqualified', 'disqualified', 'A lead was marked not qualified.'),
    ('booking_completed', 'booked',       'A booking was made.'),
    ('booking_cancelled', 'booking_cancelled', 'A booking was taken back.'),
    ('task_completed',    'completed',    'A task was completed.'),
    ('human_touch',       'human_touch',  'A human took part.'),
    ('refund',            'refund',       'Money was given back.'),
    ('charge',            'charge',       'Money was taken.'),
    ('nps_answer',        'nps_answer',   'A customer answered how likely he is to recommend.')
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.benchmarks (vertical, metric, statistic, value, source, year) VALUES
    ('SaaS support', 'eval_success_rate', 'median', 0.85, 'Shipped with agent_metrics, to be checked', 2026),
    ('SaaS support', 'eval_success_rate', 'bottom_quartile', 0.78, 'Shipped with agent_metrics, to be checked', 2026),
    ('healthcare', 'eval_success_rate', 'median', 0.79, 'Shipped with agent_metrics, to be checked', 2026),
    ('legal', 'eval_success_rate', 'median', 0.68, 'Shipped with agent_metrics, to be checked', 2026),
    ('e-commerce', 'eval_success_rate', 'median', 0.90, 'Shipped with agent_metrics, to be checked', 2026),
    ('e-commerce', 'eval_success_rate', 'bottom_quartile', 0.85, 'Shipped with agent_metrics, to be checked', 2026),
    ('internal ops', 'eval_success_rate', 'median', 0.94, 'Shipped with agent_metrics, to be checked', 2026),
    ('any', 'latency_p95_ms', 'abandonment_line', 3000, 'Shipped with agent_metrics, to be checked', 2026),
    ('support', 'cost_per_unit_usd', 'range_low', 0.18, 'Shipped with agent_metrics, to be checked', 2026),
    ('support', 'cost_per_unit_usd', 'range_high', 0.55, 'Shipped with agent_metrics, to be checked', 2026),
    ('regulated', 'hallucination_rate', 'regulated_bar', 0.01, 'Shipped with agent_metrics, to be checked', 2026)
ON CONFLICT DO NOTHING;
-- end of shipped rows
