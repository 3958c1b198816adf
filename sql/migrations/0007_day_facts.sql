-- What is said about turns and conversations after they happened: verdicts on tool calls, scores, survey answers,
-- reviews. Each names its agent and conversation; it counts once that conversation is in the books, so evaluation
-- traffic counts nowhere. A trigger logs the conversation that a row is about, and the agent's next refresh computes
-- that conversation's facts again.

CREATE FUNCTION agent_metrics.log_fact() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO agent_metrics.changes (agent_id, conversation_id) VALUES (OLD.agent_id, OLD.conversation_id);
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
    END IF;
    IF TG_OP = 'INSERT' OR (OLD.agent_id, OLD.conversation_id) IS DISTINCT FROM (NEW.agent_id, NEW.conversation_id) THEN
        INSERT INTO agent_metrics.changes (agent_id, conversation_id) VALUES (NEW.agent_id, NEW.conversation_id);
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.log_fact() IS 'Trigger: logs the conversation that a fact is about, before and after.';
REVOKE ALL ON FUNCTION agent_metrics.log_fact() FROM PUBLIC;

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
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.occurred_at IS 'Moment of the turn that made the call: decides the day.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.event_id IS 'Id of the turn.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.call_index IS 'Position of the call in tools_called, from 0.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.conversation_id IS 'Conversation of the turn.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.tool IS 'Name of the tool.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.is_correct IS 'Right tool, right arguments.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.judged_by IS 'Who or what judged.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.judged_at IS 'When.';
COMMENT ON COLUMN agent_metrics.tool_call_verdicts.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
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
COMMENT ON COLUMN agent_metrics.turn_scores.criterion IS 'What was scored; instruction_following is a metric, others are kept.';
COMMENT ON COLUMN agent_metrics.turn_scores.conversation_id IS 'Conversation of the turn.';
COMMENT ON COLUMN agent_metrics.turn_scores.score IS 'Score from 0 to 1.';
COMMENT ON COLUMN agent_metrics.turn_scores.scored_by IS 'Who or what scored.';
COMMENT ON COLUMN agent_metrics.turn_scores.scored_at IS 'When.';
COMMENT ON COLUMN agent_metrics.turn_scores.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX turn_scores_conversation ON agent_metrics.turn_scores (conversation_id);

CREATE TABLE agent_metrics.survey_answers (
    answer_id       text PRIMARY KEY DEFAULT agent_metrics.new_event_id()::text,
    agent_id        text NOT NULL,
    conversation_id text NOT NULL,
    score           integer NOT NULL,
    respondent_id   text,
    answered_at     timestamptz NOT NULL DEFAULT now(),
    changed_in      xid8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE agent_metrics.survey_answers IS 'Answers to "how likely are you to recommend us", 0 to 10, each about a conversation with an agent or a human team.';
COMMENT ON COLUMN agent_metrics.survey_answers.answer_id IS 'Id of the answer; the survey''s own, so that one delivered twice is stored once.';
COMMENT ON COLUMN agent_metrics.survey_answers.agent_id IS 'Agent or human team that the answer is about.';
COMMENT ON COLUMN agent_metrics.survey_answers.conversation_id IS 'Conversation that it is about: the day of its first turn is the answer''s.';
COMMENT ON COLUMN agent_metrics.survey_answers.score IS '0 to 10: up to 6 a detractor, 9 and 10 a promoter.';
COMMENT ON COLUMN agent_metrics.survey_answers.respondent_id IS 'Who answered.';
COMMENT ON COLUMN agent_metrics.survey_answers.answered_at IS 'When.';
COMMENT ON COLUMN agent_metrics.survey_answers.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX survey_answers_conversation ON agent_metrics.survey_answers (conversation_id);

CREATE TABLE agent_metrics.reviews (
    review_id         text PRIMARY KEY DEFAULT agent_metrics.new_event_id()::text,
    agent_id          text NOT NULL,
    conversation_id   text NOT NULL,
    occurred_at       timestamptz CHECK (isfinite(occurred_at)),
    event_id          uuid,
    weight            numeric NOT NULL DEFAULT 1,
    sample_id         text,
    reviewer          text NOT NULL CHECK (btrim(reviewer) <> ''),
    reviewed_at       timestamptz NOT NULL DEFAULT now() CHECK (isfinite(reviewed_at)),
    outcome_label     text,
    answer_verdict    text,
    is_in_scope       boolean,
    is_refused        boolean,
    is_escalated      boolean,
    should_escalate   boolean,
    note              text,
    changed_in        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT a_turn_has_moment_and_id CHECK ((occurred_at IS NULL) = (event_id IS NULL)),
    CONSTRAINT scope_and_refusal_go_together CHECK (is_in_scope IS NULL OR is_refused IS NOT NULL),
    CONSTRAINT escalation_is_judged_whole CHECK ((is_escalated IS NULL) = (should_escalate IS NULL))
);
COMMENT ON TABLE agent_metrics.reviews IS 'What a person found in a conversation, or in one turn of it. Of several reviews of the same thing the latest counts, question by question.';
COMMENT ON COLUMN agent_metrics.reviews.review_id IS 'Id of the review.';
COMMENT ON COLUMN agent_metrics.reviews.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.reviews.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics.reviews.occurred_at IS 'Moment of the turn reviewed; NULL: the review is of the whole conversation.';
COMMENT ON COLUMN agent_metrics.reviews.event_id IS 'Id of the turn reviewed; NULL: the whole conversation.';
COMMENT ON COLUMN agent_metrics.reviews.weight IS 'How many of its kind this one stands for: 1 / the chance that it had to be drawn.';
COMMENT ON COLUMN agent_metrics.reviews.sample_id IS 'Sample it was drawn in; NULL: none.';
COMMENT ON COLUMN agent_metrics.reviews.reviewer IS 'Who reviewed.';
COMMENT ON COLUMN agent_metrics.reviews.reviewed_at IS 'When.';
COMMENT ON COLUMN agent_metrics.reviews.outcome_label IS 'The conversation''s outcome as the reviewer sees it; precedes every other source.';
COMMENT ON COLUMN agent_metrics.reviews.answer_verdict IS 'Of a factual answer: supported, unsupported, contradicted, or refused (no attempt); NULL: not a factual answer, or not judged.';
COMMENT ON COLUMN agent_metrics.reviews.is_in_scope IS 'Whether the request was in scope; NULL: not judged.';
COMMENT ON COLUMN agent_metrics.reviews.is_refused IS 'Whether the agent refused it.';
COMMENT ON COLUMN agent_metrics.reviews.is_escalated IS 'Whether the agent handed the conversation to a human; NULL: not judged.';
COMMENT ON COLUMN agent_metrics.reviews.should_escalate IS 'Whether it should have.';
COMMENT ON COLUMN agent_metrics.reviews.note IS 'Why.';
COMMENT ON COLUMN agent_metrics.reviews.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX reviews_conversation ON agent_metrics.reviews (conversation_id);
CREATE INDEX reviews_turn ON agent_metrics.reviews (agent_id, occurred_at) WHERE occurred_at IS NOT NULL;

CREATE FUNCTION agent_metrics.check_fact() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'turn_scores' THEN
        IF NEW.score IS NULL OR NOT NEW.score BETWEEN 0 AND 1 THEN
            RAISE EXCEPTION 'impossible score %', coalesce(NEW.score::text, 'NULL')
                USING ERRCODE = 'numeric_value_out_of_range',
                      DETAIL = 'A score lies between 0 and 1.',
                      HINT = 'Divide a score of 4 out of 5 first: 0.8.';
        END IF;
    WHEN 'survey_answers' THEN
        IF NEW.score IS NULL OR NOT NEW.score BETWEEN 0 AND 10 THEN
            RAISE EXCEPTION 'impossible answer %', coalesce(NEW.score::text, 'NULL')
                USING ERRCODE = 'numeric_value_out_of_range',
                      DETAIL = 'The question has answers from 0 to 10.',
                      HINT = 'A survey on another scale is no NPS; do not load it here.';
        END IF;
    WHEN 'reviews' THEN
        IF NEW.weight IS NULL OR NEW.weight = 'NaN' OR NOT (NEW.weight > 0 AND NEW.weight <= 1e9) THEN
            RAISE EXCEPTION 'impossible weight %', coalesce(NEW.weight::text, 'NULL')
                USING ERRCODE = 'numeric_value_out_of_range',
                      DETAIL = 'A review stands for one conversation or more: its weight is 1 / the chance that it had to be drawn.',
                      HINT = 'Leave weight out (1) where every conversation was reviewed; one of twenty drawn weighs 20.';
        END IF;
        IF NEW.answer_verdict NOT IN ('supported', 'unsupported', 'contradicted', 'refused') THEN
            RAISE EXCEPTION 'unknown verdict "%"', NEW.answer_verdict
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = 'The verdicts on a factual answer are supported, unsupported, contradicted and refused.',
                      HINT = 'Leave answer_verdict NULL where the answer states no fact.';
        END IF;
    END CASE;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_fact() IS 'Trigger: refuses a score, an answer or a weight that cannot be, and names it.';
REVOKE ALL ON FUNCTION agent_metrics.check_fact() FROM PUBLIC;

-- What a refresh makes of them, beside the rollups: sums by conversation, and from those by day. Only refresh() writes.

-- What is known of a turn of an evaluation run counts nowhere, in a conversation of others too, when the turn is archived too.
CREATE TABLE agent_metrics.archived_eval_turns (
    agent_id    text NOT NULL,
    occurred_at timestamptz NOT NULL,
    event_id    uuid NOT NULL,
    archive_id  bigint NOT NULL,
    PRIMARY KEY (agent_id, occurred_at, event_id, archive_id)
);
COMMENT ON TABLE agent_metrics.archived_eval_turns IS 'Keys of archived turns of evaluation runs.';
COMMENT ON COLUMN agent_metrics.archived_eval_turns.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.archived_eval_turns.occurred_at IS 'Moment of the turn.';
COMMENT ON COLUMN agent_metrics.archived_eval_turns.event_id IS 'Id of the turn.';
COMMENT ON COLUMN agent_metrics.archived_eval_turns.archive_id IS 'Archive that holds it.';

CREATE TABLE agent_metrics.conversation_facts (
    agent_id            text NOT NULL,
    conversation_id     text NOT NULL,
    measure             text NOT NULL,
    bucket              timestamptz NOT NULL,
    facts               bigint NOT NULL,
    numerator           numeric,
    denominator         numeric,
    numerator_squared   numeric,
    denominator_squared numeric,
    product             numeric,
    value               double precision,
    PRIMARY KEY (conversation_id, agent_id, measure, bucket)
);
COMMENT ON TABLE agent_metrics.conversation_facts IS 'What is known of a conversation beside its turns: one row per measure and report day. Written by refresh().';
COMMENT ON COLUMN agent_metrics.conversation_facts.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.conversation_facts.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics.conversation_facts.measure IS 'Measure; agent_metrics.metrics says which metric is read from it.';
COMMENT ON COLUMN agent_metrics.conversation_facts.bucket IS 'Start of the report day: the turn''s, or that of the conversation''s first turn.';
COMMENT ON COLUMN agent_metrics.conversation_facts.facts IS 'Rows it was made of.';
COMMENT ON COLUMN agent_metrics.conversation_facts.numerator IS 'Sum of numerators.';
COMMENT ON COLUMN agent_metrics.conversation_facts.denominator IS 'Sum of denominators.';
COMMENT ON COLUMN agent_metrics.conversation_facts.numerator_squared IS 'Sum of squares of numerators; of self_report, weight of conversations whose two labels differ.';
COMMENT ON COLUMN agent_metrics.conversation_facts.denominator_squared IS 'Sum of squares of denominators.';
COMMENT ON COLUMN agent_metrics.conversation_facts.product IS 'Sum of products of the two; of self_report, weight of conversations that both call a success.';
COMMENT ON COLUMN agent_metrics.conversation_facts.value IS 'The one value of a conversation that a percentile is of.';
CREATE INDEX conversation_facts_day ON agent_metrics.conversation_facts (agent_id, measure, bucket);

CREATE TABLE agent_metrics.fact_days (
    agent_id            text NOT NULL,
    measure             text NOT NULL,
    bucket              timestamptz NOT NULL,
    facts               bigint NOT NULL,
    numerator           numeric,
    denominator         numeric,
    numerator_squared   numeric,
    denominator_squared numeric,
    product             numeric,
    sketch              agent_metrics.quantile_sketch,
    PRIMARY KEY (agent_id, measure, bucket)
);
COMMENT ON TABLE agent_metrics.fact_days IS 'Sums of conversation_facts per agent, measure and report day, and agent hours. Written by refresh().';
COMMENT ON COLUMN agent_metrics.fact_days.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.fact_days.measure IS 'Measure; agent_metrics.metrics says which metric is read from it.';
COMMENT ON COLUMN agent_metrics.fact_days.bucket IS 'Start of the report day.';
COMMENT ON COLUMN agent_metrics.fact_days.facts IS 'Rows it was made of.';
COMMENT ON COLUMN agent_metrics.fact_days.numerator IS 'Sum of numerators.';
COMMENT ON COLUMN agent_metrics.fact_days.denominator IS 'Sum of denominators; of revenue, agent hours.';
COMMENT ON COLUMN agent_metrics.fact_days.numerator_squared IS 'Sum of squares of numerators; of self_report, weight of conversations whose two labels differ.';
COMMENT ON COLUMN agent_metrics.fact_days.denominator_squared IS 'Sum of squares of denominators.';
COMMENT ON COLUMN agent_metrics.fact_days.product IS 'Sum of products of the two; of self_report, weight of conversations that both call a success.';
COMMENT ON COLUMN agent_metrics.fact_days.sketch IS 'Sketch of the values of conversations.';

CREATE TABLE agent_metrics.active_days (
    agent_id       text NOT NULL,
    bucket         timestamptz NOT NULL,
    spans          tstzmultirange NOT NULL,
    active_seconds numeric NOT NULL,
    longest        interval NOT NULL,
    PRIMARY KEY (agent_id, bucket)
);
COMMENT ON TABLE agent_metrics.active_days IS 'When an agent was active, per report day. Written by refresh().';
COMMENT ON COLUMN agent_metrics.active_days.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.active_days.bucket IS 'Start of the report day.';
COMMENT ON COLUMN agent_metrics.active_days.spans IS 'Union of the turns, each drawn out by the 30 minutes that bridge a gap, from the day''s start to 30 minutes after its end.';
COMMENT ON COLUMN agent_metrics.active_days.active_seconds IS 'Seconds of the day in active intervals.';
COMMENT ON COLUMN agent_metrics.active_days.longest IS 'No turn that began on this day lasted longer.';

CREATE TABLE agent_metrics.archived_activity (
    agent_id   text NOT NULL,
    archive_id bigint NOT NULL,
    spans      tstzmultirange NOT NULL,
    PRIMARY KEY (agent_id, archive_id)
);
COMMENT ON TABLE agent_metrics.archived_activity IS 'When an agent was active in an archived month.';
COMMENT ON COLUMN agent_metrics.archived_activity.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.archived_activity.archive_id IS 'Archive that holds the turns.';
COMMENT ON COLUMN agent_metrics.archived_activity.spans IS 'Union of the archived turns, each drawn out by 30 minutes.';

-- shipped rows
INSERT INTO agent_metrics.metrics (metric, metric_class, unit, direction, position, measure, definition) VALUES
    ('cost_per_resolution_usd', 'economics', 'usd', '-', 24, NULL, 'cost_per_unit_usd of a support agent, by the name of its unit.'),
    ('cost_per_qualified_lead_usd', 'economics', 'usd', '-', 25, NULL, 'cost_per_unit_usd of a sales agent, by the name of its unit.'),
    ('escalation_precision', 'trust', 'fraction', '+', 43, 'escalated', 'Rightly escalated / escalated, of conversations reviewed for it.'),
    ('escalation_missed_rate', 'trust', 'fraction', '-', 44, 'to_escalate', 'Wrongly kept / conversations that should have been escalated, of those reviewed for it.'),
    ('over_refusal_rate', 'trust', 'fraction', '-', 45, 'in_scope', 'In-scope requests refused / in-scope requests reviewed.')
ON CONFLICT DO NOTHING;
-- end of shipped rows
