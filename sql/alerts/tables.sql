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
COMMENT ON TABLE agent_metrics.alert_channels IS
    'Where alerts go: Slack incoming webhooks, and any HTTP endpoint as signed JSON.';
COMMENT ON COLUMN agent_metrics.alert_channels.channel IS 'Name of the channel.';
COMMENT ON COLUMN agent_metrics.alert_channels.kind IS 'slack, or webhook: JSON signed with HMAC-SHA256.';
COMMENT ON COLUMN agent_metrics.alert_channels.url_env IS
    'Name of the environment variable of the program that holds the address; it begins with AGENT_METRICS_.';
COMMENT ON COLUMN agent_metrics.alert_channels.secret_env IS
    'Name of the environment variable of the program that holds the key a webhook''s messages are signed with.';
COMMENT ON COLUMN agent_metrics.alert_channels.owner IS 'Whose alerts go here; NULL: everybody''s.';
COMMENT ON COLUMN agent_metrics.alert_channels.time_zone IS 'IANA time zone of the quiet hours.';
COMMENT ON COLUMN agent_metrics.alert_channels.quiet_from IS
    'From this time of the day nothing is sent; NULL: no quiet hours.';
COMMENT ON COLUMN agent_metrics.alert_channels.quiet_to IS
    'Until this time of the day, on the next day when it is the earlier one.';
COMMENT ON COLUMN agent_metrics.alert_channels.digest_over IS
    'When more alerts than this wait at once they go as one message.';
COMMENT ON COLUMN agent_metrics.alert_channels.remind_after IS
    'An alert that nobody acknowledged for so long is sent again, and after as long again to the deputy.';
COMMENT ON COLUMN agent_metrics.alert_channels.is_active IS 'Whether anything is sent.';
CREATE TRIGGER check_alert_channel BEFORE INSERT OR UPDATE ON agent_metrics.alert_channels
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_alert_channel();

CREATE TABLE agent_metrics_internal.alerts (
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
    UNIQUE (agent_id, dedupe_key),
    CONSTRAINT payload_is_shallow CHECK (agent_metrics_internal.check_json(payload, 'payload')),
    CONSTRAINT agent_id_is_short CHECK (agent_metrics_internal.check_length(agent_id, 'agent_id', 256)),
    CONSTRAINT alert_id_is_short CHECK (agent_metrics_internal.check_length(alert_id, 'alert_id', 256)),
    CONSTRAINT dedupe_key_is_short CHECK (agent_metrics_internal.check_length(dedupe_key, 'dedupe_key', 2048))
);
COMMENT ON TABLE agent_metrics_internal.alerts IS
    'What somebody has to be told: the outbox, written in the transaction that found it.';
COMMENT ON COLUMN agent_metrics_internal.alerts.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.alerts.alert_id IS 'Id of the alert.';
COMMENT ON COLUMN agent_metrics_internal.alerts.kind IS
    'drift, eval_missing, decision_due, decision_overdue, gap_widened, breach.';
COMMENT ON COLUMN agent_metrics_internal.alerts.dedupe_key IS 'The same for the same finding, so that it is told once.';
COMMENT ON COLUMN agent_metrics_internal.alerts.owner IS 'Who answers for it.';
COMMENT ON COLUMN agent_metrics_internal.alerts.payload IS
    'What was found: summary, and metric, value, interval and threshold where there are any.';
COMMENT ON COLUMN agent_metrics_internal.alerts.created_at IS 'When it was found.';
COMMENT ON COLUMN agent_metrics_internal.alerts.acknowledged_by IS 'Who said that he has seen it; NULL: nobody yet.';
COMMENT ON COLUMN agent_metrics_internal.alerts.acknowledged_at IS 'When.';
COMMENT ON COLUMN agent_metrics_internal.alerts.note IS 'What he said.';
CREATE INDEX alerts_open ON agent_metrics_internal.alerts (agent_id, alert_id) WHERE acknowledged_at IS NULL;

CREATE TABLE agent_metrics_internal.alert_deliveries (
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
    FOREIGN KEY (agent_id, alert_id) REFERENCES agent_metrics_internal.alerts (agent_id, alert_id) ON DELETE CASCADE
);
COMMENT ON TABLE agent_metrics_internal.alert_deliveries IS
    'Each alert on its way to each channel. Those of one digest share a message.';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.alert_id IS 'Alert.';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.channel IS 'Channel.';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.stage IS
    'first, reminder (nobody acknowledged it) or deputy (nor after that).';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.message_id IS
    'Message it goes in; the receiver''s dedupe key, the same each time it is sent.';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.state IS
    'waiting, sent, dead (given up) or dropped (acknowledged before it was sent).';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.attempts IS 'How often it was tried.';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.next_attempt_at IS
    'When it is tried next; while it is being sent, when another may take over.';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.sent_at IS 'When the receiver said that it has it.';
COMMENT ON COLUMN agent_metrics_internal.alert_deliveries.last_error IS
    'Why the last attempt failed; never an address or a key.';
CREATE INDEX alert_deliveries_waiting ON agent_metrics_internal.alert_deliveries (channel, next_attempt_at)
    WHERE state = 'waiting';
