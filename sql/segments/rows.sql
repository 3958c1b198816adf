-- Dimensions that most agents have. Each costs its share of a refresh, so the user switches on what he wants to know.
INSERT INTO agent_metrics.dimensions (dimension, source, attribute, finest_level, description)
VALUES ('model', 'event_column', 'model', 'hour', 'Language model of the turn.'),
       ('agent_version', 'event_column', 'agent_version', 'hour', 'Version of the agent.'),
       ('prompt_version', 'event_column', 'prompt_version', 'hour', 'Version of its prompt.'),
       ('intent', 'event_column', 'intent_classified', 'day', 'What the user wanted, as the agent classified it.'),
       ('channel', 'event_attribute', 'channel', 'day', 'Where the user spoke: chat, mail, telephone.'),
       ('customer_tier', 'business_event', 'customer_tier', 'day', 'Tier of the customer, by the business system.'),
       ('cost_centre', 'event_attribute', 'cost_centre', 'day', 'Who is charged for it.')
ON CONFLICT DO NOTHING;
