-- Rows that ship. They are the user's from here on: setup() puts them back only into a table that a dump left without rows.
-- The version that a definition begins with is written by a trigger.

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
    ('self_report_gap', 'trust', 'points', '-', 42, 'self_report', 'Agent-reported success rate - human-labelled success rate, on the same reviewed conversations.'),
    ('cost_per_resolution_usd', 'economics', 'usd', '-', 24, NULL, 'cost_per_unit_usd of a support agent, by the name of its unit.'),
    ('cost_per_qualified_lead_usd', 'economics', 'usd', '-', 25, NULL, 'cost_per_unit_usd of a sales agent, by the name of its unit.'),
    ('escalation_precision', 'trust', 'fraction', '+', 43, 'escalated', 'Rightly escalated / escalated, of conversations reviewed for it.'),
    ('escalation_missed_rate', 'trust', 'fraction', '-', 44, 'to_escalate', 'Wrongly kept / conversations that should have been escalated, of those reviewed for it.'),
    ('over_refusal_rate', 'trust', 'fraction', '-', 45, 'in_scope', 'In-scope requests refused / in-scope requests reviewed.'),
    ('eval_latency_p50_ms', 'capability', 'ms', '-', 15, NULL, 'Median of latency_ms over the trials of a run over a frozen set, nearest rank.'),
    ('eval_cost_per_case_usd', 'economics', 'usd', '-', 24, NULL, 'Cost of a run over a frozen set / trials whose cost is known.')
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

INSERT INTO agent_metrics_internal.resolution_presets (preset, definition, of_label, flag, is_untouched, position) VALUES
    ('containment', 'No human took part and nothing was handed to one / conversations with an outcome.', 'counting', 'is_no_escalation', true, 1),
    ('deflection', 'The outcome is a deflection and no human took part / conversations with an outcome. As in deflection_rate.', 'counting', 'is_deflection', true, 2),
    ('assumed_resolution', 'The agent says it succeeded / conversations that the agent gave a label.', 'agent', 'is_success', false, 3),
    ('confirmed_resolution', 'A person or the business system says it succeeded / conversations of which one of them said anything.', 'confirmed', 'is_success', false, 4)
ON CONFLICT DO NOTHING;

INSERT INTO agent_metrics.nist_ai_rmf_map (nist_function, subcategory, metric, reason) VALUES
    ('GOVERN', 'GOVERN 2.1', 'task_success_rate', 'A named owner answers for the line.'),
    ('GOVERN', 'GOVERN 2.1', 'hallucination_rate', 'A named owner answers for the line.'),
    ('MAP', 'MAP 3.2', 'cost_per_unit_usd', 'What it costs, failures included.'),
    ('MAP', 'MAP 3.5', 'escalation_accuracy', 'Whether humans are brought in when they should be.'),
    ('MEASURE', 'MEASURE 2.3', 'task_success_rate', 'Performance in use.'),
    ('MEASURE', 'MEASURE 2.3', 'eval_success_rate', 'Performance over a frozen set.'),
    ('MEASURE', 'MEASURE 2.4', 'latency_p95_ms', 'Behaviour in production is watched.'),
    ('MEASURE', 'MEASURE 2.5', 'hallucination_rate', 'Validity and reliability of factual answers.'),
    ('MEASURE', 'MEASURE 2.5', 'tool_call_accuracy', 'Validity and reliability of actions.'),
    ('MEASURE', 'MEASURE 2.6', 'out_of_scope_refusal_rate', 'Safety: what is out of scope is refused.'),
    ('MEASURE', 'MEASURE 2.8', 'self_report_gap', 'What the agent says of itself is held against what people find.'),
    ('MEASURE', 'MEASURE 3.3', 'nps_delta', 'Feedback of those affected.'),
    ('MANAGE', 'MANAGE 2.4', 'escalation_missed_rate', 'Hand-over where the agent should stop.'),
    ('MANAGE', 'MANAGE 4.1', 'deflection_rate', 'Monitored after deployment; breaches are acknowledged with cause and action.')
ON CONFLICT DO NOTHING;
