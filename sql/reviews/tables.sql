-- What people say of conversations: reviews, the samples they are drawn by, and the decision of each quarter.

CREATE TABLE agent_metrics.reviews (
    review_id         text NOT NULL DEFAULT agent_metrics.new_event_id()::text,
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
    CONSTRAINT escalation_is_judged_whole CHECK ((is_escalated IS NULL) = (should_escalate IS NULL)),
    PRIMARY KEY (review_id, agent_id)
);
COMMENT ON TABLE agent_metrics.reviews IS
    'What a person found in a conversation, or in one turn of it. Of several reviews of the same thing the latest '
    'counts, question by question.';
COMMENT ON COLUMN agent_metrics.reviews.review_id IS 'Id of the review.';
COMMENT ON COLUMN agent_metrics.reviews.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.reviews.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics.reviews.occurred_at IS
    'Moment of the turn reviewed; NULL: the review is of the whole conversation.';
COMMENT ON COLUMN agent_metrics.reviews.event_id IS 'Id of the turn reviewed; NULL: the whole conversation.';
COMMENT ON COLUMN agent_metrics.reviews.weight IS
    'How many of its kind this one stands for: 1 / the chance that it had to be drawn.';
COMMENT ON COLUMN agent_metrics.reviews.sample_id IS 'Sample it was drawn in; NULL: none.';
COMMENT ON COLUMN agent_metrics.reviews.reviewer IS 'Who reviewed.';
COMMENT ON COLUMN agent_metrics.reviews.reviewed_at IS 'When.';
COMMENT ON COLUMN agent_metrics.reviews.outcome_label IS
    'The conversation''s outcome as the reviewer sees it; precedes every other source.';
COMMENT ON COLUMN agent_metrics.reviews.answer_verdict IS
    'Of a factual answer: supported, unsupported, contradicted, or refused (no attempt); '
    'NULL: not a factual answer, or not judged.';
COMMENT ON COLUMN agent_metrics.reviews.is_in_scope IS 'Whether the request was in scope; NULL: not judged.';
COMMENT ON COLUMN agent_metrics.reviews.is_refused IS 'Whether the agent refused it.';
COMMENT ON COLUMN agent_metrics.reviews.is_escalated IS
    'Whether the agent handed the conversation to a human; NULL: not judged.';
COMMENT ON COLUMN agent_metrics.reviews.should_escalate IS 'Whether it should have.';
COMMENT ON COLUMN agent_metrics.reviews.note IS 'Why.';
COMMENT ON COLUMN agent_metrics.reviews.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX reviews_conversation ON agent_metrics.reviews (conversation_id);
CREATE INDEX reviews_turn ON agent_metrics.reviews (agent_id, occurred_at) WHERE occurred_at IS NOT NULL;

CREATE TABLE agent_metrics_internal.decision_requests (
    agent_id text NOT NULL,
    quarter  date NOT NULL,
    owner    text NOT NULL,
    asked_at timestamptz NOT NULL,
    due_on   date NOT NULL,
    PRIMARY KEY (agent_id, quarter)
);
COMMENT ON TABLE agent_metrics_internal.decision_requests IS
    'One question an agent and quarter: would we deploy this from scratch today? Opened by run_audits().';
COMMENT ON COLUMN agent_metrics_internal.decision_requests.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.decision_requests.quarter IS 'First day of the quarter.';
COMMENT ON COLUMN agent_metrics_internal.decision_requests.owner IS 'Who is asked.';
COMMENT ON COLUMN agent_metrics_internal.decision_requests.asked_at IS 'When he was asked.';
COMMENT ON COLUMN agent_metrics_internal.decision_requests.due_on IS 'Report day by whose end the answer is due.';

CREATE TABLE agent_metrics.decisions (
    agent_id    text NOT NULL,
    decision_id text NOT NULL DEFAULT agent_metrics.new_event_id()::text,
    quarter     date NOT NULL,
    decision    text NOT NULL CHECK (decision IN ('keep', 'replace', 'sunset')),
    decided_by  text NOT NULL,
    reason      text NOT NULL,
    replaced_by text,
    snapshot    jsonb NOT NULL,
    decided_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_id, decision_id),
    CONSTRAINT snapshot_is_shallow CHECK (agent_metrics_internal.check_json(snapshot, 'snapshot')),
    CONSTRAINT agent_id_is_short CHECK (agent_metrics_internal.check_length(agent_id, 'agent_id', 256)),
    CONSTRAINT decision_id_is_short CHECK (agent_metrics_internal.check_length(decision_id, 'decision_id', 256))
);
COMMENT ON TABLE agent_metrics.decisions IS
    'Answers: who decided what, why, and on which numbers. A row never changes.';
COMMENT ON COLUMN agent_metrics.decisions.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.decisions.decision_id IS 'Id of the decision.';
COMMENT ON COLUMN agent_metrics.decisions.quarter IS 'First day of the quarter it answers for.';
COMMENT ON COLUMN agent_metrics.decisions.decision IS 'keep, replace or sunset.';
COMMENT ON COLUMN agent_metrics.decisions.decided_by IS 'Who decided.';
COMMENT ON COLUMN agent_metrics.decisions.reason IS 'Why.';
COMMENT ON COLUMN agent_metrics.decisions.replaced_by IS 'Agent that takes its place, if one does.';
COMMENT ON COLUMN agent_metrics.decisions.snapshot IS 'The numbers it rested on, as they were.';
COMMENT ON COLUMN agent_metrics.decisions.decided_at IS 'When it was decided.';
CREATE INDEX decisions_quarter ON agent_metrics.decisions (agent_id, quarter);
CREATE TRIGGER keep_decision BEFORE UPDATE OR DELETE ON agent_metrics.decisions
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.keep_decision();
CREATE TRIGGER keep_decisions BEFORE TRUNCATE ON agent_metrics.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.keep_decision();

-- Review samples: which conversations people label, and how many each of them stands for.
CREATE TABLE agent_metrics_internal.review_samples (
    agent_id    text NOT NULL,
    sample_id   text NOT NULL,
    from_day    date NOT NULL,
    to_day      date NOT NULL,
    seed        bigint NOT NULL,
    population  bigint NOT NULL,
    drawn       bigint NOT NULL,
    drawn_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_id, sample_id)
);
COMMENT ON TABLE agent_metrics_internal.review_samples IS
    'Samples of conversations to be reviewed, drawn by draw_review_sample().';
COMMENT ON COLUMN agent_metrics_internal.review_samples.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.review_samples.sample_id IS 'week or month, and its first day.';
COMMENT ON COLUMN agent_metrics_internal.review_samples.from_day IS
    'First report day on which its conversations began.';
COMMENT ON COLUMN agent_metrics_internal.review_samples.to_day IS 'Last report day.';
COMMENT ON COLUMN agent_metrics_internal.review_samples.seed IS
    'Seed: the same seed draws the same conversations again.';
COMMENT ON COLUMN agent_metrics_internal.review_samples.population IS 'Conversations of those days.';
COMMENT ON COLUMN agent_metrics_internal.review_samples.drawn IS 'Conversations drawn.';
COMMENT ON COLUMN agent_metrics_internal.review_samples.drawn_at IS 'When it was drawn.';

CREATE TABLE agent_metrics_internal.review_strata (
    agent_id  text NOT NULL,
    sample_id text NOT NULL,
    stratum   text NOT NULL,
    size      bigint NOT NULL,
    drawn     bigint NOT NULL,
    PRIMARY KEY (agent_id, sample_id, stratum),
    FOREIGN KEY (agent_id, sample_id)
        REFERENCES agent_metrics_internal.review_samples (agent_id, sample_id) ON DELETE CASCADE
);
COMMENT ON TABLE agent_metrics_internal.review_strata IS
    'Strata of a sample: outcome, intent and length. Sizes are kept, so that rates of the whole can be formed.';
COMMENT ON COLUMN agent_metrics_internal.review_strata.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.review_strata.sample_id IS 'Sample.';
COMMENT ON COLUMN agent_metrics_internal.review_strata.stratum IS
    'outcome, intent and turns, such as: success, refund, 3-6 turns.';
COMMENT ON COLUMN agent_metrics_internal.review_strata.size IS 'Conversations in it.';
COMMENT ON COLUMN agent_metrics_internal.review_strata.drawn IS 'Conversations drawn from it.';

CREATE TABLE agent_metrics_internal.review_items (
    agent_id        text NOT NULL,
    sample_id       text NOT NULL,
    conversation_id text NOT NULL,
    stratum         text NOT NULL,
    weight          numeric NOT NULL,
    is_double       boolean NOT NULL,
    PRIMARY KEY (agent_id, sample_id, conversation_id),
    FOREIGN KEY (agent_id, sample_id)
        REFERENCES agent_metrics_internal.review_samples (agent_id, sample_id) ON DELETE CASCADE
);
COMMENT ON TABLE agent_metrics_internal.review_items IS 'Conversations of a sample.';
COMMENT ON COLUMN agent_metrics_internal.review_items.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.review_items.sample_id IS 'Sample.';
COMMENT ON COLUMN agent_metrics_internal.review_items.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.review_items.stratum IS 'Stratum it was drawn from.';
COMMENT ON COLUMN agent_metrics_internal.review_items.weight IS
    'How many conversations it stands for: size of the stratum / drawn from it.';
COMMENT ON COLUMN agent_metrics_internal.review_items.is_double IS 'Whether two people label it, each by himself.';

-- Tested once a month and agent, when its labels are complete: a test that is repeated with each label that comes would
-- call every gap a wider one in the end.
CREATE TABLE agent_metrics_internal.gap_findings (
    agent_id            text NOT NULL,
    month               date NOT NULL,
    reviewed            bigint NOT NULL,
    gap_points          double precision,
    previous_gap_points double precision,
    widened_p           double precision,
    is_wider            boolean NOT NULL,
    found_at            timestamptz NOT NULL,
    PRIMARY KEY (agent_id, month)
);
COMMENT ON TABLE agent_metrics_internal.gap_findings IS
    'Whether the self-report gap of a month was wider than the one before, tested once by run_audits(), '
    'when the month''s sample was reviewed or 30 days after its end.';
COMMENT ON COLUMN agent_metrics_internal.gap_findings.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.gap_findings.month IS 'First report day of the month.';
COMMENT ON COLUMN agent_metrics_internal.gap_findings.reviewed IS
    'Conversations that both the agent and a human had labelled.';
COMMENT ON COLUMN agent_metrics_internal.gap_findings.gap_points IS
    'The gap, in percentage points; NULL: no such conversation.';
COMMENT ON COLUMN agent_metrics_internal.gap_findings.previous_gap_points IS
    'Gap of the month before; NULL: it has none.';
COMMENT ON COLUMN agent_metrics_internal.gap_findings.widened_p IS 'Two-sided p that the two are the same.';
COMMENT ON COLUMN agent_metrics_internal.gap_findings.is_wider IS
    'Whether it was wider, and widened_p <= 0.05: then its owner was told.';
COMMENT ON COLUMN agent_metrics_internal.gap_findings.found_at IS 'When it was tested.';
