-- Rows that ship: see metrics/rows.sql.

INSERT INTO agent_metrics.outcomes
    (label, is_success, is_unit, is_deflection, is_escalation, is_refusal, is_booking, is_automation, is_qualified_lead,
     is_open, description) VALUES
    ('success',      true,  true,  true,  false, false, false, false, false, false, 'What the user wanted was done.'),
    ('resolved',     true,  true,  true,  false, false, false, false, false, false, 'The ticket was resolved.'),
    ('completed',    true,  true,  false, false, false, false, true,  false, false, 'The task was completed.'),
    ('qualified',    true,  true,  false, false, false, false, false, true,  false, 'The lead is qualified.'),
    ('booked',       true,  true,  false, false, false, true,  false, false, false, 'A booking was made.'),
    ('escalated',    false, false, false, true,  false, false, false, false, false, 'Handed to a human.'),
    ('failure',      false, false, false, false, false, false, false, false, false,
     'What the user wanted was not done.'),
    ('abandoned',    false, false, false, false, false, false, false, false, false, 'The user went away.'),
    ('info_only',    false, false, false, false, false, false, false, false, false, 'Only information was given.'),
    ('disqualified', false, false, false, false, false, false, false, false, false, 'The lead is not one.'),
    ('refused',      false, false, false, false, true,  false, false, false, false, 'The agent refused.'),
    ('booking_cancelled', false, false, false, false, false, false, false, false, false, 'A booking was taken back.'),
    ('reopened',     false, false, false, false, false, false, false, false, true,
     'The ticket is open again: pending.')
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
