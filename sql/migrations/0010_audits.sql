-- Alerts: an outbox that is written in the transaction that found something, and who is told by which channel.
-- Secrets are in the environment of the program; a channel names the variables that hold them.

CREATE TABLE agent_metrics.alert_channels (
    channel         text PRIMARY KEY CHECK (btrim(channel) <> ''),
    kind            text NOT NULL CHECK (kind IN ('slack', 'webhook')),
    url_env         text NOT NULL,
    secret_env      text,
    owner           text REFERENCES agent_metrics.owners (owner),
    time_zone       text NOT NULL DEFAULT 'UTC',
    quiet_from      time,
    quiet_to        time,
    digest_over     integer NOT NULL DEFAULT 5 CHECK (digest_over >= 1),
    remind_after    interval NOT NULL DEFAULT '4 hours' CHECK (remind_after > '0'),
    is_active       boolean NOT NULL DEFAULT true,
    CHECK ((quiet_from IS NULL) = (quiet_to IS NULL))
);
COMMENT ON TABLE agent_metrics.alert_channels IS 'Where alerts go: Slack incoming webhooks, and any HTTP endpoint as signed JSON.';
COMMENT ON COLUMN agent_metrics.alert_channels.channel IS 'Name of the channel.';
COMMENT ON COLUMN agent_metrics.alert_channels.kind IS 'slack, or webhook: JSON signed with HMAC-SHA256.';
COMMENT ON COLUMN agent_metrics.alert_channels.url_env IS 'Name of the environment variable of the program that holds the address; it begins with AGENT_METRICS_.';
COMMENT ON COLUMN agent_metrics.alert_channels.secret_env IS 'Name of the environment variable of the program that holds the key a webhook''s messages are signed with.';
COMMENT ON COLUMN agent_metrics.alert_channels.owner IS 'Whose alerts go here; NULL: everybody''s.';
COMMENT ON COLUMN agent_metrics.alert_channels.time_zone IS 'IANA time zone of the quiet hours.';
COMMENT ON COLUMN agent_metrics.alert_channels.quiet_from IS 'From this time of the day nothing is sent; NULL: no quiet hours.';
COMMENT ON COLUMN agent_metrics.alert_channels.quiet_to IS 'Until this time of the day, on the next day when it is the earlier one.';
COMMENT ON COLUMN agent_metrics.alert_channels.digest_over IS 'When more alerts than this wait at once they go as one message.';
COMMENT ON COLUMN agent_metrics.alert_channels.remind_after IS 'An alert that nobody acknowledged for so long is sent again, and after as long again to the deputy.';
COMMENT ON COLUMN agent_metrics.alert_channels.is_active IS 'Whether anything is sent.';

-- The name of a variable is checked here, where a pasted address would be stored for everybody with the table to read; and
-- the message does not repeat what was given.
CREATE FUNCTION agent_metrics.check_alert_channel() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.url_env !~ '^AGENT_METRICS_[A-Z0-9_]+$' OR NEW.secret_env !~ '^AGENT_METRICS_[A-Z0-9_]+$' THEN
        RAISE EXCEPTION 'channel "%" does not name environment variables', NEW.channel
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'url_env and secret_env are names that begin with AGENT_METRICS_; addresses and keys are secrets and are never stored.',
                  HINT = 'Set AGENT_METRICS_SLACK_URL in the environment of the program, and write that name here.';
    END IF;
    IF NEW.kind = 'webhook' AND NEW.secret_env IS NULL THEN
        RAISE EXCEPTION 'channel "%" has no secret_env', NEW.channel
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Messages to a webhook are signed, so that the receiver can tell that they are ours.',
                  HINT = 'Set AGENT_METRICS_WEBHOOK_SECRET in the environment of the program, and write that name here.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = NEW.time_zone) THEN
        RAISE EXCEPTION 'unknown time zone "%"', NEW.time_zone
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The IANA time zone database has no zone of that name.',
                  HINT = 'Use a name such as UTC, Europe/Berlin or America/New_York.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_alert_channel() IS 'Trigger: refuses a channel that names no environment variable, a webhook without a key, an unknown time zone.';
REVOKE ALL ON FUNCTION agent_metrics.check_alert_channel() FROM PUBLIC;
CREATE TRIGGER check_alert_channel BEFORE INSERT OR UPDATE ON agent_metrics.alert_channels
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_alert_channel();

CREATE TABLE agent_metrics.alerts (
    agent_id         text NOT NULL,
    alert_id         text NOT NULL DEFAULT agent_metrics.new_event_id()::text,
    kind             text NOT NULL,
    dedupe_key       text NOT NULL,
    owner            text,
    payload          jsonb NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    acknowledged_by  text,
    acknowledged_at  timestamptz,
    note             text,
    PRIMARY KEY (agent_id, alert_id),
    UNIQUE (agent_id, dedupe_key)
);
COMMENT ON TABLE agent_metrics.alerts IS 'What somebody has to be told: the outbox, written in the transaction that found it.';
COMMENT ON COLUMN agent_metrics.alerts.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.alerts.alert_id IS 'Id of the alert.';
COMMENT ON COLUMN agent_metrics.alerts.kind IS 'drift, eval_missing, decision_due, decision_overdue, gap_widened, breach.';
COMMENT ON COLUMN agent_metrics.alerts.dedupe_key IS 'The same for the same finding, so that it is told once.';
COMMENT ON COLUMN agent_metrics.alerts.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_metrics.alerts.payload IS 'What was found: summary, and metric, value, interval and threshold where there are any.';
COMMENT ON COLUMN agent_metrics.alerts.created_at IS 'When it was found.';
COMMENT ON COLUMN agent_metrics.alerts.acknowledged_by IS 'Who said that he has seen it; NULL: nobody yet.';
COMMENT ON COLUMN agent_metrics.alerts.acknowledged_at IS 'When.';
COMMENT ON COLUMN agent_metrics.alerts.note IS 'What he said.';
CREATE INDEX alerts_open ON agent_metrics.alerts (agent_id, alert_id) WHERE acknowledged_at IS NULL;

CREATE TABLE agent_metrics.alert_deliveries (
    agent_id        text NOT NULL,
    alert_id        text NOT NULL,
    channel         text NOT NULL,
    stage           text NOT NULL CHECK (stage IN ('first', 'reminder', 'deputy')),
    message_id      text NOT NULL DEFAULT agent_metrics.new_event_id()::text,
    state           text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'dead', 'dropped')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    sent_at         timestamptz,
    last_error      text,
    PRIMARY KEY (agent_id, alert_id, channel, stage),
    FOREIGN KEY (agent_id, alert_id) REFERENCES agent_metrics.alerts (agent_id, alert_id) ON DELETE CASCADE
);
COMMENT ON TABLE agent_metrics.alert_deliveries IS 'Each alert on its way to each channel. Those of one digest share a message.';
COMMENT ON COLUMN agent_metrics.alert_deliveries.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.alert_deliveries.alert_id IS 'Alert.';
COMMENT ON COLUMN agent_metrics.alert_deliveries.channel IS 'Channel.';
COMMENT ON COLUMN agent_metrics.alert_deliveries.stage IS 'first, reminder (nobody acknowledged it) or deputy (nor after that).';
COMMENT ON COLUMN agent_metrics.alert_deliveries.message_id IS 'Message it goes in; the receiver''s dedupe key, the same each time it is sent.';
COMMENT ON COLUMN agent_metrics.alert_deliveries.state IS 'waiting, sent, dead (given up) or dropped (acknowledged before it was sent).';
COMMENT ON COLUMN agent_metrics.alert_deliveries.attempts IS 'How often it was tried.';
COMMENT ON COLUMN agent_metrics.alert_deliveries.next_attempt_at IS 'When it is tried next; while it is being sent, when another may take over.';
COMMENT ON COLUMN agent_metrics.alert_deliveries.sent_at IS 'When the receiver said that it has it.';
COMMENT ON COLUMN agent_metrics.alert_deliveries.last_error IS 'Why the last attempt failed; never an address or a key.';
CREATE INDEX alert_deliveries_waiting ON agent_metrics.alert_deliveries (channel, next_attempt_at) WHERE state = 'waiting';

-- shipped rows
INSERT INTO agent_metrics.settings (name, value, description) VALUES
    ('page_url', '', 'Where people reach the page, such as https://agents.example; empty: alerts carry no links.')
ON CONFLICT DO NOTHING;
-- end of shipped rows

-- Keep or replace: the question of each quarter, and its answers, which nobody changes afterwards.
ALTER TABLE agent_metrics.agents ADD COLUMN sunset_at timestamptz, ADD COLUMN replaced_by text;
COMMENT ON COLUMN agent_metrics.agents.sunset_at IS 'When it was decided to end it; its history stays.';
COMMENT ON COLUMN agent_metrics.agents.replaced_by IS 'Agent that took its place; its own history stays.';

CREATE TABLE agent_metrics.decision_requests (
    agent_id text NOT NULL,
    quarter  date NOT NULL,
    owner    text NOT NULL,
    asked_at timestamptz NOT NULL,
    due_on   date NOT NULL,
    PRIMARY KEY (agent_id, quarter)
);
COMMENT ON TABLE agent_metrics.decision_requests IS 'One question an agent and quarter: would we deploy this from scratch today? Opened by run_audits().';
COMMENT ON COLUMN agent_metrics.decision_requests.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.decision_requests.quarter IS 'First day of the quarter.';
COMMENT ON COLUMN agent_metrics.decision_requests.owner IS 'Who is asked.';
COMMENT ON COLUMN agent_metrics.decision_requests.asked_at IS 'When he was asked.';
COMMENT ON COLUMN agent_metrics.decision_requests.due_on IS 'Report day by whose end the answer is due.';

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
    PRIMARY KEY (agent_id, decision_id)
);
COMMENT ON TABLE agent_metrics.decisions IS 'Answers: who decided what, why, and on which numbers. A row never changes.';
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

CREATE FUNCTION agent_metrics.keep_decision() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RAISE EXCEPTION 'a decision % cannot be changed or deleted',
                    CASE WHEN TG_OP = 'TRUNCATE' THEN 'once made' ELSE format('of %s about agent "%s"', OLD.decided_at, OLD.agent_id) END
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = 'What was decided, by whom and on which numbers stays as it was.',
              HINT = 'Decide again with agent_metrics.decide(): the latest decision of a quarter counts.';
END
$function$;
COMMENT ON FUNCTION agent_metrics.keep_decision() IS 'Trigger: refuses to change or delete a decision.';
REVOKE ALL ON FUNCTION agent_metrics.keep_decision() FROM PUBLIC;
CREATE TRIGGER keep_decision BEFORE UPDATE OR DELETE ON agent_metrics.decisions
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.keep_decision();
CREATE TRIGGER keep_decisions BEFORE TRUNCATE ON agent_metrics.decisions
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.keep_decision();

-- Review samples: which conversations people label, and how many each of them stands for.
CREATE TABLE agent_metrics.review_samples (
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
COMMENT ON TABLE agent_metrics.review_samples IS 'Samples of conversations to be reviewed, drawn by draw_review_sample().';
COMMENT ON COLUMN agent_metrics.review_samples.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.review_samples.sample_id IS 'week or month, and its first day.';
COMMENT ON COLUMN agent_metrics.review_samples.from_day IS 'First report day on which its conversations began.';
COMMENT ON COLUMN agent_metrics.review_samples.to_day IS 'Last report day.';
COMMENT ON COLUMN agent_metrics.review_samples.seed IS 'Seed: the same seed draws the same conversations again.';
COMMENT ON COLUMN agent_metrics.review_samples.population IS 'Conversations of those days.';
COMMENT ON COLUMN agent_metrics.review_samples.drawn IS 'Conversations drawn.';
COMMENT ON COLUMN agent_metrics.review_samples.drawn_at IS 'When it was drawn.';

CREATE TABLE agent_metrics.review_strata (
    agent_id  text NOT NULL,
    sample_id text NOT NULL,
    stratum   text NOT NULL,
    size      bigint NOT NULL,
    drawn     bigint NOT NULL,
    PRIMARY KEY (agent_id, sample_id, stratum),
    FOREIGN KEY (agent_id, sample_id) REFERENCES agent_metrics.review_samples (agent_id, sample_id) ON DELETE CASCADE
);
COMMENT ON TABLE agent_metrics.review_strata IS 'Strata of a sample: outcome, intent and length. Sizes are kept, so that rates of the whole can be formed.';
COMMENT ON COLUMN agent_metrics.review_strata.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.review_strata.sample_id IS 'Sample.';
COMMENT ON COLUMN agent_metrics.review_strata.stratum IS 'outcome, intent and turns, such as: success, refund, 3-6 turns.';
COMMENT ON COLUMN agent_metrics.review_strata.size IS 'Conversations in it.';
COMMENT ON COLUMN agent_metrics.review_strata.drawn IS 'Conversations drawn from it.';

CREATE TABLE agent_metrics.review_items (
    agent_id        text NOT NULL,
    sample_id       text NOT NULL,
    conversation_id text NOT NULL,
    stratum         text NOT NULL,
    weight          numeric NOT NULL,
    is_double       boolean NOT NULL,
    PRIMARY KEY (agent_id, sample_id, conversation_id),
    FOREIGN KEY (agent_id, sample_id) REFERENCES agent_metrics.review_samples (agent_id, sample_id) ON DELETE CASCADE
);
COMMENT ON TABLE agent_metrics.review_items IS 'Conversations of a sample.';
COMMENT ON COLUMN agent_metrics.review_items.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.review_items.sample_id IS 'Sample.';
COMMENT ON COLUMN agent_metrics.review_items.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics.review_items.stratum IS 'Stratum it was drawn from.';
COMMENT ON COLUMN agent_metrics.review_items.weight IS 'How many conversations it stands for: size of the stratum / drawn from it.';
COMMENT ON COLUMN agent_metrics.review_items.is_double IS 'Whether two people label it, each by himself.';

-- Tested once a month and agent, when its labels are complete: a test that is repeated with each label that comes would
-- call every gap a wider one in the end.
CREATE TABLE agent_metrics.gap_findings (
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
COMMENT ON TABLE agent_metrics.gap_findings IS 'Whether the self-report gap of a month was wider than the one before, tested once by run_audits(), when the month''s sample was reviewed or 30 days after its end.';
COMMENT ON COLUMN agent_metrics.gap_findings.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.gap_findings.month IS 'First report day of the month.';
COMMENT ON COLUMN agent_metrics.gap_findings.reviewed IS 'Conversations that both the agent and a human had labelled.';
COMMENT ON COLUMN agent_metrics.gap_findings.gap_points IS 'The gap, in percentage points; NULL: no such conversation.';
COMMENT ON COLUMN agent_metrics.gap_findings.previous_gap_points IS 'Gap of the month before; NULL: it has none.';
COMMENT ON COLUMN agent_metrics.gap_findings.widened_p IS 'Two-sided p that the two are the same.';
COMMENT ON COLUMN agent_metrics.gap_findings.is_wider IS 'Whether it was wider, and widened_p <= 0.05: then its owner was told.';
COMMENT ON COLUMN agent_metrics.gap_findings.found_at IS 'When it was tested.';
