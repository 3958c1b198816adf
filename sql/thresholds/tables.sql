-- The threshold that each metric of each agent is held to, and breaches of it.

CREATE TABLE agent_metrics.thresholds (
    agent_id       text NOT NULL,
    metric         text NOT NULL,
    effective_from date NOT NULL DEFAULT '-infinity',
    value          double precision NOT NULL,
    owner          text NOT NULL REFERENCES agent_metrics.owners (owner),
    review_on      date,
    note           text,
    effective_to date,
    deputy text,
    is_from_kind boolean NOT NULL DEFAULT false,
    PRIMARY KEY (agent_id, metric, effective_from)
);
COMMENT ON TABLE agent_metrics.thresholds IS
    'The threshold that each metric of each agent is held to, from a day on, and who owns it.';
COMMENT ON COLUMN agent_metrics.thresholds.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.thresholds.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.thresholds.effective_from IS
    'First report day that it holds; it holds until the next row of the agent and metric.';
COMMENT ON COLUMN agent_metrics.thresholds.value IS
    'The threshold, in the unit of the metric; the direction is the metric''s.';
COMMENT ON COLUMN agent_metrics.thresholds.owner IS 'Who answers for it. There is no threshold without an owner.';
COMMENT ON COLUMN agent_metrics.thresholds.review_on IS 'When the threshold is to be looked at again.';
COMMENT ON COLUMN agent_metrics.thresholds.note IS 'Why it is set where it is.';
CREATE TRIGGER check_threshold BEFORE INSERT OR UPDATE ON agent_metrics.thresholds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_threshold('agent');
COMMENT ON COLUMN agent_metrics.thresholds.effective_to IS
    'Last report day that it holds; NULL: until the next row of the agent and metric.';
COMMENT ON COLUMN agent_metrics.thresholds.deputy IS
    'Who answers when the owner does not; NULL: the owner''s own deputy.';
COMMENT ON COLUMN agent_metrics.thresholds.is_from_kind IS
    'Comes from the agent''s kind and follows it; an edit makes it the agent''s own.';

CREATE TABLE agent_metrics.kind_thresholds (
    kind           text NOT NULL REFERENCES agent_metrics.agent_kinds (kind),
    metric         text NOT NULL,
    effective_from date NOT NULL DEFAULT '-infinity',
    value          double precision NOT NULL,
    owner          text REFERENCES agent_metrics.owners (owner),
    effective_to   date,
    deputy         text,
    review_on      date,
    note           text,
    PRIMARY KEY (kind, metric, effective_from)
);
COMMENT ON TABLE agent_metrics.kind_thresholds IS
    'The threshold that a metric of every AI agent of a kind is held to, from a day on, with its owner. '
    'register_agent() gives it to a new agent, a change follows to those that have it, and an agent with one of its '
    'own for the metric keeps that.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.effective_from IS
    'First report day that it holds; it holds until the next row of the kind and metric.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.value IS
    'The threshold, in the unit of the metric; the direction is the metric''s.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.owner IS
    'Who answers for it; NULL: who owns the agent when it is given to it. '
    'There is no threshold without an owner.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.effective_to IS
    'Last report day that it holds; NULL: until the next row.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.deputy IS
    'Who answers when the owner does not; NULL: the owner''s own deputy.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.review_on IS 'When the threshold is to be looked at again.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.note IS 'Why it is set where it is.';
CREATE TRIGGER check_threshold BEFORE INSERT OR UPDATE ON agent_metrics.kind_thresholds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_threshold('kind');
CREATE TRIGGER follow_kind_threshold AFTER INSERT OR UPDATE OR DELETE ON agent_metrics.kind_thresholds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.follow_kind_threshold();
CREATE TRIGGER own_threshold BEFORE UPDATE ON agent_metrics.thresholds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.own_threshold();

CREATE TABLE agent_metrics_internal.breaches (
    breach_id       text NOT NULL DEFAULT agent_metrics.new_event_id()::text,
    agent_id        text NOT NULL,
    metric          text NOT NULL,
    opened_at       timestamptz NOT NULL DEFAULT now(),
    closed_at       timestamptz,
    reopened_at     timestamptz,
    reopenings      integer NOT NULL DEFAULT 0,
    window_from     date NOT NULL,
    window_to       date NOT NULL,
    value           double precision,
    ci_low          double precision,
    ci_high         double precision,
    numerator       numeric,
    denominator     numeric,
    threshold       double precision NOT NULL,
    direction       text NOT NULL,
    owner           text NOT NULL,
    deputy          text,
    definition_version integer NOT NULL,
    evaluated_at    timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    acknowledged_by text,
    cause           text,
    action          text,
    PRIMARY KEY (agent_id, breach_id)
);
COMMENT ON TABLE agent_metrics_internal.breaches IS
    'Times in which a metric was on the wrong side of its threshold. '
    'Written by evaluate_thresholds() and acknowledge().';
COMMENT ON COLUMN agent_metrics_internal.breaches.breach_id IS 'Id of the breach.';
COMMENT ON COLUMN agent_metrics_internal.breaches.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.breaches.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics_internal.breaches.opened_at IS 'When the verdict was first breach.';
COMMENT ON COLUMN agent_metrics_internal.breaches.closed_at IS
    'When the verdict was pass again, or there was no threshold any more; NULL: open.';
COMMENT ON COLUMN agent_metrics_internal.breaches.reopened_at IS
    'When it was last opened again, within a day of its closing.';
COMMENT ON COLUMN agent_metrics_internal.breaches.reopenings IS 'How often it was opened again.';
COMMENT ON COLUMN agent_metrics_internal.breaches.window_from IS
    'First report day of the window last judged while open.';
COMMENT ON COLUMN agent_metrics_internal.breaches.window_to IS 'Last report day of it: the day of the judgement.';
COMMENT ON COLUMN agent_metrics_internal.breaches.value IS 'Value over that window.';
COMMENT ON COLUMN agent_metrics_internal.breaches.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_metrics_internal.breaches.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_metrics_internal.breaches.numerator IS 'Numerator.';
COMMENT ON COLUMN agent_metrics_internal.breaches.denominator IS 'Denominator.';
COMMENT ON COLUMN agent_metrics_internal.breaches.threshold IS 'The threshold at that time.';
COMMENT ON COLUMN agent_metrics_internal.breaches.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_metrics_internal.breaches.owner IS 'Who answers for the threshold.';
COMMENT ON COLUMN agent_metrics_internal.breaches.deputy IS 'Who answers when the owner does not.';
COMMENT ON COLUMN agent_metrics_internal.breaches.definition_version IS 'Version of the metric''s definition.';
COMMENT ON COLUMN agent_metrics_internal.breaches.evaluated_at IS 'When it was last judged.';
COMMENT ON COLUMN agent_metrics_internal.breaches.acknowledged_at IS 'When somebody took it up; NULL: nobody yet.';
COMMENT ON COLUMN agent_metrics_internal.breaches.acknowledged_by IS 'Who took it up.';
COMMENT ON COLUMN agent_metrics_internal.breaches.cause IS 'What he found.';
COMMENT ON COLUMN agent_metrics_internal.breaches.action IS 'What he does about it.';
CREATE UNIQUE INDEX breaches_open ON agent_metrics_internal.breaches (agent_id, metric) WHERE closed_at IS NULL;
CREATE INDEX breaches_metric ON agent_metrics_internal.breaches (agent_id, metric, closed_at);
