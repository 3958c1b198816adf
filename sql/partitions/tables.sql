-- What the partitions of agent_events are, which of them were archived, and what is left of archived turns.

-- Partitions come and go by hand, and no event trigger may say so (they are a superuser's). A refresh compares what
-- is there with this list; the mark is the catalogue's entry, which a partition taken out and put back has anew.
CREATE TABLE agent_metrics_internal.known_partitions (
    partition text NOT NULL,
    mark      text PRIMARY KEY,
    from_time timestamptz NOT NULL,
    to_time   timestamptz NOT NULL
);
COMMENT ON TABLE agent_metrics_internal.known_partitions IS
    'Partitions of agent_events as the last refresh found them, so that one dropped, detached or attached '
    'by hand is noticed.';
COMMENT ON COLUMN agent_metrics_internal.known_partitions.partition IS 'Name of the partition.';
COMMENT ON COLUMN agent_metrics_internal.known_partitions.mark IS
    'Its entry in the catalogue: object id and transaction.';
COMMENT ON COLUMN agent_metrics_internal.known_partitions.from_time IS 'First moment it takes.';
COMMENT ON COLUMN agent_metrics_internal.known_partitions.to_time IS 'First moment it no longer takes.';

-- Turns written to a partition while it is being copied away: to a file, or to the partitions it is split into.
CREATE TABLE agent_metrics_internal.guarded_turns (
    change_id   bigint GENERATED ALWAYS AS IDENTITY,
    partition   text NOT NULL,
    agent_id    text NOT NULL,
    occurred_at timestamptz NOT NULL,
    event_id    uuid NOT NULL,
    PRIMARY KEY (change_id, agent_id)
);
COMMENT ON TABLE agent_metrics_internal.guarded_turns IS
    'Turns that were written to a partition while it was being copied. '
    'Written by a trigger that only such a partition has.';
COMMENT ON COLUMN agent_metrics_internal.guarded_turns.change_id IS 'Identity.';
COMMENT ON COLUMN agent_metrics_internal.guarded_turns.partition IS 'Name of the partition.';
COMMENT ON COLUMN agent_metrics_internal.guarded_turns.agent_id IS 'Agent of the turn.';
COMMENT ON COLUMN agent_metrics_internal.guarded_turns.occurred_at IS 'Moment of the turn.';
COMMENT ON COLUMN agent_metrics_internal.guarded_turns.event_id IS 'Id of the turn.';

-- An archive: a partition that was written to a file. While its turns are in the file alone, what they add up to is
-- in the two tables below, and counts as the turns did.
CREATE TABLE agent_metrics_internal.archives (
    archive_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition   text NOT NULL,
    from_time   timestamptz NOT NULL,
    to_time     timestamptz NOT NULL,
    state       text NOT NULL CHECK (state IN ('writing', 'detached', 'archived', 'restored')),
    folder      text NOT NULL,
    file        text NOT NULL UNIQUE,
    turns       bigint,
    checksum    text,
    bytes       bigint,
    began_at    timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    mark        text,
    is_counted  boolean NOT NULL GENERATED ALWAYS AS (state IN ('detached', 'archived')) STORED
);
COMMENT ON TABLE agent_metrics_internal.archives IS
    'Monthly partitions that agent-metrics archive wrote to Parquet files, or is writing.';
COMMENT ON COLUMN agent_metrics_internal.archives.archive_id IS 'Identity.';
COMMENT ON COLUMN agent_metrics_internal.archives.partition IS 'Name of the partition of agent_events.';
COMMENT ON COLUMN agent_metrics_internal.archives.from_time IS 'First moment of its turns.';
COMMENT ON COLUMN agent_metrics_internal.archives.to_time IS 'First moment after them.';
COMMENT ON COLUMN agent_metrics_internal.archives.state IS
    'writing: the turns are in the database; detached: the file is checked, the old table is yet to be dropped; '
    'archived: in the file alone; restored: in the database again.';
COMMENT ON COLUMN agent_metrics_internal.archives.is_counted IS
    'What it holds counts for its turns: they are in no table that counts. The one place that says which archives do.';
COMMENT ON COLUMN agent_metrics_internal.archives.folder IS 'Folder the file was written to, as the program saw it.';
COMMENT ON COLUMN agent_metrics_internal.archives.file IS 'Name of the file.';
COMMENT ON COLUMN agent_metrics_internal.archives.turns IS 'Turns in the file.';
COMMENT ON COLUMN agent_metrics_internal.archives.checksum IS 'SHA-256 of the file, as sha256: and its digits.';
COMMENT ON COLUMN agent_metrics_internal.archives.bytes IS 'Size of the file.';
COMMENT ON COLUMN agent_metrics_internal.archives.began_at IS 'When it was begun.';
COMMENT ON COLUMN agent_metrics_internal.archives.finished_at IS 'When it reached the state archived or restored.';
COMMENT ON COLUMN agent_metrics_internal.archives.mark IS
    'What partition_state() said when the turns began to be copied; when it says something else, '
    'they are copied again.';
CREATE UNIQUE INDEX archives_unfinished ON agent_metrics_internal.archives (partition)
    WHERE state IN ('writing', 'detached');

-- What sum_conversations() reads of turns. Part '' holds the sums; the parts of a source, its last label; the
-- others, one business event each.
CREATE TABLE agent_metrics_internal.archived_conversations (
    conversation_id   text NOT NULL,
    agent_id          text NOT NULL,
    archive_id        bigint NOT NULL,
    part              text NOT NULL,
    occurred_at       timestamptz NOT NULL,
    ended_at          timestamptz NOT NULL,
    turns             bigint NOT NULL DEFAULT 0,
    token_turns       bigint NOT NULL DEFAULT 0,
    tokens            bigint NOT NULL DEFAULT 0,
    cost_usd          numeric NOT NULL DEFAULT 0,
    user_id           text,
    outcome_label     text,
    outcome_source    text,
    turn_index        integer,
    event_id          uuid,
    business_event_id text,
    PRIMARY KEY (conversation_id, agent_id, archive_id, part)
);
COMMENT ON TABLE agent_metrics_internal.archived_conversations IS
    'What the archived turns of each conversation add up to.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.archive_id IS 'Archive that holds the turns.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.part IS
    'Empty: the sums; a source: its last label; else a business event that a turn names.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.occurred_at IS
    'First archived turn, or the turn with the label.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.ended_at IS
    'Last archived turn, or the turn with the label.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.turns IS 'Archived turns.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.token_turns IS 'Of them, those that report tokens.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.tokens IS 'Their input and output tokens.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.cost_usd IS 'Their known cost in US dollars.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.user_id IS 'Smallest user_id among them.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.outcome_label IS 'Last label of the source.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.outcome_source IS 'Who said it.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.turn_index IS 'Position of the turn with the label.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.event_id IS 'Id of the turn with the label.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversations.business_event_id IS
    'Business event that a turn names.';
CREATE INDEX archived_conversations_archive ON agent_metrics_internal.archived_conversations (archive_id);

-- What compute_turns() gives, by five minutes: every time zone's hours and every kind's buckets are made of these.
CREATE TABLE agent_metrics_internal.archived_buckets (
    agent_id      text NOT NULL,
    bucket        timestamptz NOT NULL,
    archive_id    bigint NOT NULL,
    turns         bigint NOT NULL,
    token_turns   bigint NOT NULL,
    tokens_input  bigint NOT NULL,
    tokens_output bigint NOT NULL,
    cost_turns    bigint NOT NULL,
    tool_calls    bigint NOT NULL,
    error_turns   bigint NOT NULL,
    cost_usd      numeric NOT NULL,
    latency       agent_metrics.quantile_sketch,
    PRIMARY KEY (agent_id, bucket, archive_id)
);
COMMENT ON TABLE agent_metrics_internal.archived_buckets IS 'What the archived turns of five minutes add up to.';
COMMENT ON COLUMN agent_metrics_internal.archived_buckets.archive_id IS 'Archive that holds the turns.';
SELECT agent_metrics_internal.describe_measures('archived_buckets', ARRAY['turn']);
COMMENT ON COLUMN agent_metrics_internal.archived_buckets.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.archived_buckets.bucket IS 'Start of the five minutes.';
CREATE INDEX archived_buckets_archive ON agent_metrics_internal.archived_buckets (archive_id);

-- An outer partition being split into months (partitions/split.sql): one row for each table it is split into.
-- Tables of these names are made, renamed and dropped with the owner's rights, so no row may name another.
CREATE TABLE agent_metrics_internal.partition_splits (
    partition text NOT NULL CHECK (partition IN ('agent_events_before', 'agent_events_after')),
    piece     text PRIMARY KEY CHECK (piece ~ '^agent_events_(y[0-9]{4,6}m[0-9]{2}|before_next|after_next)$'),
    from_time timestamptz NOT NULL,
    to_time   timestamptz NOT NULL,
    state     text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'copied', 'swapped')),
    mark      text
);
COMMENT ON TABLE agent_metrics_internal.partition_splits IS
    'Tables that an outer partition of agent_events is being split into.';
COMMENT ON COLUMN agent_metrics_internal.partition_splits.partition IS 'The outer partition.';
COMMENT ON COLUMN agent_metrics_internal.partition_splits.piece IS 'A table it is split into.';
COMMENT ON COLUMN agent_metrics_internal.partition_splits.from_time IS 'First moment of its turns.';
COMMENT ON COLUMN agent_metrics_internal.partition_splits.to_time IS 'First moment after them.';
COMMENT ON COLUMN agent_metrics_internal.partition_splits.state IS
    'waiting: to be copied; copied; swapped: in its place, and the old partition is yet to be dropped.';
COMMENT ON COLUMN agent_metrics_internal.partition_splits.mark IS
    'What partition_state() said when the outer partition began to be split; '
    'when it says something else, that begins again.';

-- What a refresh makes of them, beside the rollups: sums by conversation, and from those by day. Only refresh() writes.

-- What is known of a turn of an evaluation run counts nowhere, in a conversation of others too, when the
-- turn is archived too.
CREATE TABLE agent_metrics_internal.archived_eval_turns (
    agent_id    text NOT NULL,
    occurred_at timestamptz NOT NULL,
    event_id    uuid NOT NULL,
    archive_id  bigint NOT NULL,
    PRIMARY KEY (agent_id, occurred_at, event_id, archive_id)
);
COMMENT ON TABLE agent_metrics_internal.archived_eval_turns IS 'Keys of archived turns of evaluation runs.';
COMMENT ON COLUMN agent_metrics_internal.archived_eval_turns.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.archived_eval_turns.occurred_at IS 'Moment of the turn.';
COMMENT ON COLUMN agent_metrics_internal.archived_eval_turns.event_id IS 'Id of the turn.';
COMMENT ON COLUMN agent_metrics_internal.archived_eval_turns.archive_id IS 'Archive that holds it.';

CREATE TABLE agent_metrics_internal.archived_activity (
    agent_id   text NOT NULL,
    archive_id bigint NOT NULL,
    spans      tstzmultirange NOT NULL,
    PRIMARY KEY (agent_id, archive_id)
);
COMMENT ON TABLE agent_metrics_internal.archived_activity IS 'When an agent was active in an archived month.';
COMMENT ON COLUMN agent_metrics_internal.archived_activity.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.archived_activity.archive_id IS 'Archive that holds the turns.';
COMMENT ON COLUMN agent_metrics_internal.archived_activity.spans IS
    'Union of the archived turns, each drawn out by 30 minutes.';

-- What archived turns cost, for the reconciliation with bills: those are by day in UTC, provider and model.
CREATE TABLE agent_metrics_internal.archived_model_costs (
    agent_id       text NOT NULL,
    archive_id     bigint NOT NULL,
    line           bigint NOT NULL,
    day            date NOT NULL,
    provider       text,
    model          text,
    turns          bigint NOT NULL,
    unpriced_turns bigint NOT NULL,
    cost_usd       numeric,
    computed_usd   numeric,
    PRIMARY KEY (agent_id, archive_id, line)
);
COMMENT ON TABLE agent_metrics_internal.archived_model_costs IS
    'What the archived turns of an agent cost, by day in UTC, provider and model.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.archive_id IS 'Archive that holds the turns.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.line IS
    'Number of the line: provider and model may be NULL, and so no key.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.day IS 'Day in UTC.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.provider IS 'Provider that the turns name; NULL: none.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.model IS 'Model that the turns name; NULL: none.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.turns IS 'Turns.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.unpriced_turns IS 'Turns whose cost is not known.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.cost_usd IS 'Sum of the known cost; NULL: none is known.';
COMMENT ON COLUMN agent_metrics_internal.archived_model_costs.computed_usd IS
    'Of it, what was computed from the price list; NULL: nothing.';
CREATE INDEX archived_model_costs_archive ON agent_metrics_internal.archived_model_costs (archive_id);
CREATE INDEX archived_model_costs_day ON agent_metrics_internal.archived_model_costs (day);
