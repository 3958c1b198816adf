-- Facts: turns, what the business did, what people and judges said of them; and what a label or a kind of event means.

-- Labels and CRM events are configuration that decides numbers, so they carry the same stamp as facts:
-- a refresh sees that a mapping changed exactly as it sees that a row arrived.
CREATE TABLE agent_metrics.outcomes (
    label             text PRIMARY KEY,
    is_success        boolean NOT NULL DEFAULT false,
    is_unit           boolean NOT NULL DEFAULT false,
    is_deflection     boolean NOT NULL DEFAULT false,
    is_escalation     boolean NOT NULL DEFAULT false,
    is_refusal        boolean NOT NULL DEFAULT false,
    is_booking        boolean NOT NULL DEFAULT false,
    is_automation     boolean NOT NULL DEFAULT false,
    is_qualified_lead boolean NOT NULL DEFAULT false,
    is_open           boolean NOT NULL DEFAULT false,
    description       text NOT NULL DEFAULT '',
    changed_in        xid8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE agent_metrics.outcomes IS 'What each outcome label counts as. Add a row to map a label of your own.';
COMMENT ON COLUMN agent_metrics.outcomes.label IS 'The label as producers write it.';
COMMENT ON COLUMN agent_metrics.outcomes.is_success IS 'Counts as success in task_success_rate.';
COMMENT ON COLUMN agent_metrics.outcomes.is_unit IS 'Counts as a unit of work in cost_per_unit_usd.';
COMMENT ON COLUMN agent_metrics.outcomes.is_deflection IS
    'Counts in deflection_rate when no human touched the conversation.';
COMMENT ON COLUMN agent_metrics.outcomes.is_escalation IS 'The conversation was handed to a human.';
COMMENT ON COLUMN agent_metrics.outcomes.is_refusal IS 'The agent refused.';
COMMENT ON COLUMN agent_metrics.outcomes.is_booking IS 'Counts in booking_conversion_rate.';
COMMENT ON COLUMN agent_metrics.outcomes.is_automation IS
    'Counts in automation_rate when no human touched the conversation.';
COMMENT ON COLUMN agent_metrics.outcomes.is_qualified_lead IS 'Counts in qualified_lead_rate when the CRM says it.';
COMMENT ON COLUMN agent_metrics.outcomes.is_open IS 'Says that the matter is open again: the conversation is pending.';
COMMENT ON COLUMN agent_metrics.outcomes.description IS 'What the label means.';
COMMENT ON COLUMN agent_metrics.outcomes.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';

CREATE TABLE agent_metrics.event_kinds (
    kind        text PRIMARY KEY,
    meaning     text NOT NULL,
    description text NOT NULL DEFAULT '',
    changed_in  xid8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE agent_metrics.event_kinds IS 'What each kind of CRM event means.';
COMMENT ON COLUMN agent_metrics.event_kinds.kind IS 'The kind as the CRM writes it.';
COMMENT ON COLUMN agent_metrics.event_kinds.meaning IS
    'An outcome label, or human_touch, charge, refund, nps_answer, or nothing: it counts for nothing on purpose.';
COMMENT ON COLUMN agent_metrics.event_kinds.description IS 'What happened in the business.';
COMMENT ON COLUMN agent_metrics.event_kinds.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE TRIGGER check_event_kind BEFORE INSERT OR UPDATE OF kind, meaning ON agent_metrics.event_kinds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_event_kind();

-- Facts: what producers write. How a refresh learns of every change without ever blocking a writer
-- is told in docs/design.md; in short:
--   an inserted turn carries the transaction that wrote it (recorded_in);
--   an update or deletion of a turn is logged in `changes`, since the stamp alone cannot tell it;
--   business events and mappings carry changed_in, and their deletions are logged too.
-- Triggers put the stamps on and write the log (events/triggers.sql): what a row brings itself is never believed.

CREATE TABLE agent_metrics.agent_events (
    agent_id                text NOT NULL,
    occurred_at             timestamptz NOT NULL,
    event_id                uuid NOT NULL DEFAULT agent_metrics.new_event_id(),
    conversation_id         text NOT NULL,
    user_id                 text,
    intent_classified       text,
    tools_called            jsonb,
    latency_ms              double precision,
    token_usage_input       bigint,
    token_usage_output      bigint,
    cost_usd                numeric,
    outcome_label           text,
    business_event_id       text,
    turn_index              integer,
    agent_version           text,
    model                   text,
    prompt_version          text,
    token_usage_cache_read  bigint,
    token_usage_cache_write bigint,
    is_eval                 boolean NOT NULL DEFAULT false,
    error                   text,
    outcome_source          text NOT NULL DEFAULT 'agent',
    recorded_in             xid8 NOT NULL DEFAULT pg_current_xact_id(),
    provider text,
    computed_cost_usd numeric,
    usage_details jsonb,
    service_tier text,
    attributes jsonb,
    PRIMARY KEY (agent_id, occurred_at, event_id)
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE agent_metrics.agent_events IS
    'One row per agent turn, partitioned by month. agent_id, occurred_at and conversation_id are required.';
COMMENT ON COLUMN agent_metrics.agent_events.agent_id IS 'Agent that took the turn; it need not be registered yet.';
COMMENT ON COLUMN agent_metrics.agent_events.occurred_at IS 'When the turn began.';
COMMENT ON COLUMN agent_metrics.agent_events.event_id IS
    'Id of the turn. Give your own so that a redelivery is stored once.';
COMMENT ON COLUMN agent_metrics.agent_events.conversation_id IS 'Conversation the turn belongs to.';
COMMENT ON COLUMN agent_metrics.agent_events.user_id IS 'Who the agent spoke with.';
COMMENT ON COLUMN agent_metrics.agent_events.intent_classified IS 'What the user wanted, as the agent classified it.';
COMMENT ON COLUMN agent_metrics.agent_events.tools_called IS 'List of tool names, or of objects with name and ok.';
COMMENT ON COLUMN agent_metrics.agent_events.latency_ms IS
    'How long the turn took, in milliseconds; NULL: it had none, and it is in no percentile.';
COMMENT ON COLUMN agent_metrics.agent_events.token_usage_input IS 'Input tokens, cached ones included.';
COMMENT ON COLUMN agent_metrics.agent_events.token_usage_output IS 'Output tokens.';
COMMENT ON COLUMN agent_metrics.agent_events.cost_usd IS
    'Cost of the turn in US dollars; NULL: not known, which is not 0.';
COMMENT ON COLUMN agent_metrics.agent_events.outcome_label IS
    'Outcome of the conversation, usually on its last turn; see agent_metrics.outcomes.';
COMMENT ON COLUMN agent_metrics.agent_events.business_event_id IS 'Business event that the turn caused.';
COMMENT ON COLUMN agent_metrics.agent_events.turn_index IS 'Position of the turn in its conversation.';
COMMENT ON COLUMN agent_metrics.agent_events.agent_version IS 'Version of the agent.';
COMMENT ON COLUMN agent_metrics.agent_events.model IS 'Model that answered.';
COMMENT ON COLUMN agent_metrics.agent_events.prompt_version IS 'Version of the prompt.';
COMMENT ON COLUMN agent_metrics.agent_events.token_usage_cache_read IS 'Of the input tokens, those read from a cache.';
COMMENT ON COLUMN agent_metrics.agent_events.token_usage_cache_write IS
    'Of the input tokens, those written to a cache.';
COMMENT ON COLUMN agent_metrics.agent_events.is_eval IS
    'The turn belongs to an evaluation run and is in no production metric.';
COMMENT ON COLUMN agent_metrics.agent_events.error IS 'What went wrong, if anything did.';
COMMENT ON COLUMN agent_metrics.agent_events.outcome_source IS
    'Who says outcome_label: agent, judge, crm or human. Precedence: human, crm, judge, agent.';
COMMENT ON COLUMN agent_metrics.agent_events.recorded_in IS
    'Transaction that inserted the row, put there by a trigger whatever the row brings. '
    'The default is for a table that is loaded by itself and then attached as a partition.';
CREATE INDEX agent_events_conversation ON agent_metrics.agent_events (conversation_id);
CREATE INDEX agent_events_recorded_in ON agent_metrics.agent_events (recorded_in);

-- How many groups GROUP BY agent_id, date_trunc(...) has: without it the planner takes the moments for the groups,
-- guesses as many of these as there are turns, spills to disk and never goes parallel.
CREATE STATISTICS agent_metrics.agent_events_by_hour (ndistinct)
    ON agent_id, (date_trunc('hour', occurred_at)) FROM agent_metrics.agent_events;

CREATE STATISTICS agent_metrics.agent_events_by_day (ndistinct)
    ON agent_id, (date_trunc('day', occurred_at)) FROM agent_metrics.agent_events;
COMMENT ON STATISTICS agent_metrics.agent_events_by_hour IS 'How many agents and hours there are, for the planner.';
COMMENT ON STATISTICS agent_metrics.agent_events_by_day IS 'How many agents and days there are, for the planner.';

CREATE TABLE agent_metrics.business_events (
    business_event_id text PRIMARY KEY,
    kind              text NOT NULL,
    occurred_at       timestamptz NOT NULL DEFAULT now() CONSTRAINT occurred_at_is_a_moment
        CHECK (isfinite(occurred_at)),
    conversation_id   text,
    customer_id       text,
    amount_usd        numeric CONSTRAINT amount_usd_is_an_amount CHECK (amount_usd > -1e12 AND amount_usd < 1e12),
    detail            jsonb,
    changed_in        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    source_table text
);
COMMENT ON TABLE agent_metrics.business_events IS
    'What happened in the business: tickets, leads, bookings, charges, refunds.';
COMMENT ON COLUMN agent_metrics.business_events.business_event_id IS 'Id of the event in the business system.';
COMMENT ON COLUMN agent_metrics.business_events.kind IS 'Kind of event; agent_metrics.event_kinds says what it means.';
COMMENT ON COLUMN agent_metrics.business_events.occurred_at IS 'When it happened.';
COMMENT ON COLUMN agent_metrics.business_events.conversation_id IS
    'Conversation that caused it; NULL when a turn names business_event_id instead.';
COMMENT ON COLUMN agent_metrics.business_events.customer_id IS 'Customer or lead in the business system.';
COMMENT ON COLUMN agent_metrics.business_events.amount_usd IS 'Amount in US dollars.';
COMMENT ON COLUMN agent_metrics.business_events.detail IS 'Anything else, as JSON.';
COMMENT ON COLUMN agent_metrics.business_events.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX business_events_conversation ON agent_metrics.business_events (conversation_id);
CREATE INDEX business_events_kind ON agent_metrics.business_events (kind);
CREATE INDEX business_events_changed_in ON agent_metrics.business_events (changed_in);

-- An update keeps its row's stamp and a delete leaves no row, so a refresh cannot see them by it; triggers log them
-- here. A row with an agent is taken out by that agent's refresh. A row without one concerns every agent: it is pruned
-- when every watermark has seen it.
CREATE TABLE agent_metrics_internal.changes (
    change_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id          text,
    conversation_id   text,
    business_event_id text,
    label             text,
    occurred_at       timestamptz,
    measures_changed  boolean NOT NULL DEFAULT false,
    recorded_in       xid8,
    changed_in        xid8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE agent_metrics_internal.changes IS
    'Log of updates and deletions of facts that the next refresh has to look at. Written by triggers.';
COMMENT ON COLUMN agent_metrics_internal.changes.change_id IS 'Identity.';
COMMENT ON COLUMN agent_metrics_internal.changes.agent_id IS 'Agent concerned; NULL: any agent.';
COMMENT ON COLUMN agent_metrics_internal.changes.conversation_id IS 'Conversation concerned.';
COMMENT ON COLUMN agent_metrics_internal.changes.business_event_id IS 'Business event concerned.';
COMMENT ON COLUMN agent_metrics_internal.changes.label IS
    'Outcome label, or kind of business event, whose mapping went.';
COMMENT ON COLUMN agent_metrics_internal.changes.occurred_at IS 'Moment of the turn.';
COMMENT ON COLUMN agent_metrics_internal.changes.measures_changed IS
    'Whether the bucket of that moment has to be computed again.';
COMMENT ON COLUMN agent_metrics_internal.changes.recorded_in IS
    'Transaction that inserted the turn that was updated: a turn that no refresh has seen is counted as it arrives, '
    'not once more as changed. NULL: no turn, or one that is gone.';
COMMENT ON COLUMN agent_metrics_internal.changes.changed_in IS 'Transaction that made the change.';
CREATE INDEX changes_agent ON agent_metrics_internal.changes (agent_id);

CREATE TABLE agent_metrics_internal.erasures (
    user_id     text PRIMARY KEY CHECK (user_id <> ''),
    asked_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE agent_metrics_internal.erasures IS
    'People who asked to be erased. Data restored from an archive is erased again.';
COMMENT ON COLUMN agent_metrics_internal.erasures.user_id IS 'The id that producers write in agent_events.';
COMMENT ON COLUMN agent_metrics_internal.erasures.asked_at IS 'When erase_user() was first called for it.';

CREATE TABLE agent_metrics.tool_call_verdicts (
    agent_id        text NOT NULL,
    occurred_at     timestamptz NOT NULL CHECK (isfinite(occurred_at)),
    event_id        uuid NOT NULL,
    call_index      integer NOT NULL DEFAULT 0 CHECK (call_index >= 0),
    conversation_id text NOT NULL,
    tool            text,
    is_correct      boolean NOT NULL,
    judged_by       text NOT NULL DEFAULT 'judge',
    judged_at       timestamptz NOT NULL DEFAULT now(),
    changed_in      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (agent_id, occurred_at, event_id, call_index)
);
COMMENT ON TABLE agent_metrics.tool_call_verdicts IS 'One row per tool call that was judged.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.occurred_at IS
    'Moment of the turn that made the call: decides the day.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.event_id IS 'Id of the turn.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.call_index IS 'Position of the call in tools_called, from 0.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.conversation_id IS 'Conversation of the turn.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.tool IS 'Name of the tool.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.is_correct IS 'Right tool, right arguments.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.judged_by IS 'Who or what judged.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.judged_at IS 'When.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.changed_in IS
    'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX tool_call_verdicts_conversation ON agent_metrics.tool_call_verdicts (conversation_id);

CREATE TABLE agent_metrics.turn_scores (
    agent_id        text NOT NULL,
    occurred_at     timestamptz NOT NULL CHECK (isfinite(occurred_at)),
    event_id        uuid NOT NULL,
    criterion       text NOT NULL DEFAULT 'instruction_following',
    conversation_id text NOT NULL,
    score           numeric NOT NULL,
    scored_by       text NOT NULL DEFAULT 'judge',
    scored_at       timestamptz NOT NULL DEFAULT now(),
    changed_in      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (agent_id, occurred_at, event_id, criterion)
);
COMMENT ON TABLE agent_metrics.turn_scores IS 'One row per turn and criterion that was scored.';
COMMENT ON COLUMN agent_metrics.turn_scores.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.turn_scores.occurred_at IS 'Moment of the turn: decides the day.';
COMMENT ON COLUMN agent_metrics.turn_scores.event_id IS 'Id of the turn.';
COMMENT ON COLUMN agent_metrics.turn_scores.criterion IS
    'What was scored; instruction_following is a metric, others are kept.';
COMMENT ON COLUMN agent_metrics.turn_scores.conversation_id IS 'Conversation of the turn.';
COMMENT ON COLUMN agent_metrics.turn_scores.score IS 'Score from 0 to 1.';
COMMENT ON COLUMN agent_metrics.turn_scores.scored_by IS 'Who or what scored.';
COMMENT ON COLUMN agent_metrics.turn_scores.scored_at IS 'When.';
COMMENT ON COLUMN agent_metrics.turn_scores.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX turn_scores_conversation ON agent_metrics.turn_scores (conversation_id);

CREATE TABLE agent_metrics.survey_answers (
    answer_id       text NOT NULL DEFAULT agent_metrics.new_event_id()::text,
    agent_id        text NOT NULL,
    conversation_id text NOT NULL,
    score           integer NOT NULL,
    respondent_id   text,
    answered_at     timestamptz NOT NULL DEFAULT now(),
    changed_in      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (answer_id, agent_id)
);
COMMENT ON TABLE agent_metrics.survey_answers IS
    'Answers to "how likely are you to recommend us", 0 to 10, each about a conversation with an '
    'agent or a human team.';
COMMENT ON COLUMN agent_metrics.survey_answers.answer_id IS
    'Id of the answer; the survey''s own, so that one delivered twice is stored once.';
COMMENT ON COLUMN agent_metrics.survey_answers.agent_id IS 'Agent or human team that the answer is about.';
COMMENT ON COLUMN agent_metrics.survey_answers.conversation_id IS
    'Conversation that it is about: the day of its first turn is the answer''s.';
COMMENT ON COLUMN agent_metrics.survey_answers.score IS '0 to 10: up to 6 a detractor, 9 and 10 a promoter.';
COMMENT ON COLUMN agent_metrics.survey_answers.respondent_id IS 'Who answered.';
COMMENT ON COLUMN agent_metrics.survey_answers.answered_at IS 'When.';
COMMENT ON COLUMN agent_metrics.survey_answers.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX survey_answers_conversation ON agent_metrics.survey_answers (conversation_id);

-- Measures of the user's own: what they mean is said by rows of agent_metrics.metrics whose source is measurements.
CREATE TABLE agent_metrics.measurements (
    measurement_id  text NOT NULL DEFAULT agent_metrics.new_event_id()::text,
    agent_id        text NOT NULL,
    conversation_id text NOT NULL,
    measure         text NOT NULL,
    occurred_at     timestamptz NOT NULL DEFAULT now() CHECK (isfinite(occurred_at)),
    event_id        uuid,
    numerator       numeric NOT NULL,
    denominator     numeric NOT NULL DEFAULT 1,
    weight          numeric NOT NULL DEFAULT 1,
    changed_in      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (measurement_id, agent_id)
);
COMMENT ON TABLE agent_metrics.measurements IS
    'Measurements of your own, such as CSAT or minutes saved, each of a conversation or of one of its turns; '
    'define_metric() says what number they make.';
COMMENT ON COLUMN agent_metrics.measurements.measurement_id IS
    'Id of the measurement; the source''s own, so that one delivered twice is stored once.';
COMMENT ON COLUMN agent_metrics.measurements.agent_id IS 'Agent or human team.';
COMMENT ON COLUMN agent_metrics.measurements.conversation_id IS
    'Conversation that was measured; NULL with an event_id: that of the turn, put there by a trigger.';
COMMENT ON COLUMN agent_metrics.measurements.measure IS 'What was measured, such as csat; metrics name it.';
COMMENT ON COLUMN agent_metrics.measurements.occurred_at IS
    'When it was measured: the measurement counts on the day of the conversation''s first turn. With an event_id, '
    'the moment of that turn, and the measurement counts there.';
COMMENT ON COLUMN agent_metrics.measurements.event_id IS 'Turn that was measured; NULL: the conversation as a whole.';
COMMENT ON COLUMN agent_metrics.measurements.numerator IS
    'What was measured: 1 or 0 of a share, a value of a mean, sum or percentile, what is above the line of a ratio.';
COMMENT ON COLUMN agent_metrics.measurements.denominator IS 'What is below the line: 1, or an amount of its own.';
COMMENT ON COLUMN agent_metrics.measurements.weight IS
    'How many like it the measurement stands for, as of a sample: it multiplies both; a percentile leaves it out.';
COMMENT ON COLUMN agent_metrics.measurements.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX measurements_conversation ON agent_metrics.measurements (conversation_id);
CREATE INDEX measurements_turn ON agent_metrics.measurements (agent_id, occurred_at) WHERE event_id IS NOT NULL;
CREATE INDEX measurements_measure ON agent_metrics.measurements (measure);

-- Money: what tokens cost by the price list, and what the providers billed.

-- A turn may say whose model answered. computed_cost_usd is what the price list gave where the producer gave no cost:
-- as long as cost_usd equals it, the cost is computed; a cost that the producer writes later differs, and wins.
COMMENT ON COLUMN agent_metrics.agent_events.provider IS
    'Who runs the model, as token_prices and bills name it; NULL: whoever alone has a price for the model.';
COMMENT ON COLUMN agent_metrics.agent_events.computed_cost_usd IS
    'What token_prices gave when the producer gave no cost. The cost is computed as long as cost_usd '
    'equals it. Leave it NULL.';
COMMENT ON COLUMN agent_metrics.agent_events.usage_details IS
    'Tokens that are billed apart, by usage type: {"reasoning": 120, "cache_write_1h": 500}. Each is a part of the '
    'column that it belongs to. A type without a price leaves the cost unknown.';
COMMENT ON COLUMN agent_metrics.agent_events.service_tier IS
    'Service level that the provider served, such as flex, batch or priority; NULL: the standard one.';
COMMENT ON COLUMN agent_metrics.agent_events.attributes IS
    'What else is known of the turn and is grouped by, such as a channel or region: a small object, no text.';

-- Facts from where they are: what came by ingest_events() and could not be mapped.

CREATE TABLE agent_metrics.quarantined_events (
    quarantine_id  text PRIMARY KEY,
    payload        jsonb NOT NULL,
    event          jsonb,
    reason         text NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT quarantine_id_is_short CHECK (agent_metrics_internal.check_length(quarantine_id, 'quarantine_id', 256)),
    CONSTRAINT reason_is_short CHECK (agent_metrics_internal.check_length(reason, 'reason', 4096))
);
COMMENT ON TABLE agent_metrics.quarantined_events IS
    'What ingest_events() was given and could not store, with the reason; retry_quarantined() tries again.';
COMMENT ON COLUMN agent_metrics.quarantined_events.quarantine_id IS
    'Hash of the payload, so that a redelivery is kept once.';
COMMENT ON COLUMN agent_metrics.quarantined_events.payload IS
    'What was delivered, in a form that ingest_events() takes.';
COMMENT ON COLUMN agent_metrics.quarantined_events.event IS
    'The same in our own form, as far as it could be mapped; mend it here before a retry.';
COMMENT ON COLUMN agent_metrics.quarantined_events.reason IS 'Why it was not stored.';
COMMENT ON COLUMN agent_metrics.quarantined_events.quarantined_at IS 'When it came.';

-- By what an evaluation that comes later finds its turn.
CREATE TABLE agent_metrics_internal.span_keys (
    span_key        uuid NOT NULL,
    agent_id        text NOT NULL,
    occurred_at     timestamptz NOT NULL,
    event_id        uuid NOT NULL,
    conversation_id text NOT NULL,
    call_index      integer,
    tool            text,
    response_id     text,
    sender          text,
    told_cost       numeric,
    CONSTRAINT response_id_is_short CHECK (agent_metrics_internal.check_length(response_id, 'response_id', 1024)),
    PRIMARY KEY (span_key, agent_id)
);
COMMENT ON TABLE agent_metrics_internal.span_keys IS
    'Which turn or tool call a span became, so that a judgement of the span finds it; written by ingest_events().';
COMMENT ON COLUMN agent_metrics_internal.span_keys.span_key IS 'Hash of trace and span; of a turn it is the event_id.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.occurred_at IS 'Moment of the turn.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.event_id IS 'Id of the turn.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.conversation_id IS 'Conversation of the turn.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.call_index IS
    'Position of the tool call in tools_called, from 0; NULL: the span is the turn.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.tool IS 'Name of the tool.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.response_id IS 'Id that the model''s provider gave the response.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.sender IS
    'Whose spans the turn was made from, and may change it; NULL: it came otherwise, or its trace is closed.';
COMMENT ON COLUMN agent_metrics_internal.span_keys.told_cost IS
    'What its producer said that the turn cost, in US dollars; a cost that differs was corrected, and stays.';
CREATE INDEX span_keys_response ON agent_metrics_internal.span_keys (response_id) WHERE response_id IS NOT NULL;
CREATE INDEX span_keys_tables ON agent_metrics_internal.span_keys (sender) WHERE starts_with(sender, 'table ');

CREATE INDEX quarantined_events_evaluation ON agent_metrics.quarantined_events ((event ->> 'event_id'))
    WHERE event ? 'evaluation';
CREATE INDEX quarantined_events_response ON agent_metrics.quarantined_events ((event ->> 'response_id'))
    WHERE event ? 'evaluation';

-- What is known of traces for span_days: see reconcile.sql.
CREATE TABLE agent_metrics_internal.traces (
    sender         text NOT NULL,
    trace_id       text NOT NULL,
    first_seen     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen      timestamptz NOT NULL DEFAULT clock_timestamp(),
    missing        text,
    waiting_turns  bigint NOT NULL DEFAULT 0,
    waiting_tokens numeric,
    waiting_since  timestamptz,
    PRIMARY KEY (sender, trace_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE agent_metrics_internal.traces IS
    'Traces that are open: more of their spans may come and change their turns. A row is the lock of its trace.';
COMMENT ON COLUMN agent_metrics_internal.traces.sender IS 'Role or token that sends it; another''s is another trace.';
COMMENT ON COLUMN agent_metrics_internal.traces.trace_id IS 'Id of the trace, in small letters.';
COMMENT ON COLUMN agent_metrics_internal.traces.first_seen IS 'When its first span came.';
COMMENT ON COLUMN agent_metrics_internal.traces.last_seen IS 'When its last span came.';
COMMENT ON COLUMN agent_metrics_internal.traces.missing IS 'Why turns of it wait; NULL: none does.';
COMMENT ON COLUMN agent_metrics_internal.traces.waiting_turns IS 'How many turns of it wait.';
COMMENT ON COLUMN agent_metrics_internal.traces.waiting_tokens IS 'Their tokens.';
COMMENT ON COLUMN agent_metrics_internal.traces.waiting_since IS 'Since when.';
CREATE INDEX traces_last_seen ON agent_metrics_internal.traces (last_seen);
CREATE INDEX traces_waiting ON agent_metrics_internal.traces (sender, trace_id) WHERE waiting_turns > 0;

CREATE TABLE agent_metrics_internal.spans (
    sender   text NOT NULL,
    trace_id text NOT NULL,
    span_id  text NOT NULL,
    rank     bigint NOT NULL,
    facts    text NOT NULL,
    PRIMARY KEY (sender, trace_id, span_id)
);
COMMENT ON TABLE agent_metrics_internal.spans IS
    'Spans of the traces that are open, as far as turns are made from them: no text of a conversation is here.';
COMMENT ON COLUMN agent_metrics_internal.spans.sender IS 'Role or token that sent it.';
COMMENT ON COLUMN agent_metrics_internal.spans.trace_id IS 'Its trace.';
COMMENT ON COLUMN agent_metrics_internal.spans.span_id IS 'Its id.';
COMMENT ON COLUMN agent_metrics_internal.spans.rank IS
    'When it ended, in nanoseconds: of several tellings the last counts.';
COMMENT ON COLUMN agent_metrics_internal.spans.facts IS
    'What is kept of it: parent, name, moments, status, attributes that span_vocabulary knows; JSON.';

CREATE TABLE agent_metrics.span_vocabulary (
    attribute   text NOT NULL,
    value       text NOT NULL DEFAULT '',
    meaning     text NOT NULL,
    rank        integer NOT NULL DEFAULT 50,
    is_included boolean,
    convention  text NOT NULL DEFAULT 'own',
    PRIMARY KEY (attribute, value, meaning)
);
COMMENT ON TABLE agent_metrics.span_vocabulary IS
    'What attributes of spans and log records mean. Add a row for a name of your own: the agent is in service.name.';
COMMENT ON COLUMN agent_metrics.span_vocabulary.attribute IS
    'Name of the attribute; nested values and JSON in a text have a dot before each inner name; one that ends in * '
    'stands for all that begin so and have no row of their own.';
COMMENT ON COLUMN agent_metrics.span_vocabulary.value IS
    'It means so only with this value, in whatever case; empty: with any.';
COMMENT ON COLUMN agent_metrics.span_vocabulary.meaning IS
    'agent_name, conversation, model_call, input_tokens and so on: docs/ingest.md lists them; kept: no meaning yet.';
COMMENT ON COLUMN agent_metrics.span_vocabulary.rank IS
    'Of several attributes with one meaning the lowest counts. Shipped rows have 1 to 90.';
COMMENT ON COLUMN agent_metrics.span_vocabulary.is_included IS
    'Of input tokens: whether they include cached ones; of cached, reasoning, audio and image tokens: whether the '
    'input or output tokens beside them include them; NULL: it does not say.';
COMMENT ON COLUMN agent_metrics.span_vocabulary.convention IS 'Whose name it is.';
CREATE TRIGGER check_span_word BEFORE INSERT OR UPDATE ON agent_metrics.span_vocabulary
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_span_word();

-- Tables of the business that are in this warehouse already, and are followed.
COMMENT ON COLUMN agent_metrics.business_events.source_table IS
    'Attached table that the event comes from, and that it follows; NULL: it was written here.';
CREATE INDEX business_events_source_table ON agent_metrics.business_events (source_table)
    WHERE source_table IS NOT NULL;

-- What stands in an index fits into it, and a document is nested no deeper than each later walk can bear, whichever way
-- it comes. Most tables that people write have a trigger for that, which goes by the names of columns (check_row);
-- these are the others.
