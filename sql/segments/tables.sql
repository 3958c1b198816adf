-- By what the work of agents is divided, and the sums of each part. Only refresh() writes the sums.

CREATE TABLE agent_metrics.dimensions (
    dimension         text PRIMARY KEY,
    source            text NOT NULL CHECK (source IN ('event_column', 'event_attribute', 'business_event')),
    attribute         text NOT NULL,
    finest_level      text NOT NULL DEFAULT 'day' CHECK (finest_level IN ('hour', 'day')),
    followed_segments integer NOT NULL DEFAULT 50 CHECK (followed_segments BETWEEN 1 AND 1000),
    is_active         boolean NOT NULL DEFAULT false,
    description       text NOT NULL DEFAULT ''
);
CREATE TRIGGER check_dimension BEFORE INSERT OR UPDATE ON agent_metrics.dimensions
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_dimension();
COMMENT ON TABLE agent_metrics.dimensions IS
    'By what agents'' work is divided. UPDATE agent_metrics.dimensions SET is_active = true switches them on; '
    'the next refresh of each agent builds its segments.';
COMMENT ON COLUMN agent_metrics.dimensions.dimension IS 'Name of the dimension.';
COMMENT ON COLUMN agent_metrics.dimensions.source IS
    'Where a value comes from: event_column (a column of agent_events), event_attribute (a key of its attributes), '
    'business_event (a key of the detail of a conversation''s business events).';
COMMENT ON COLUMN agent_metrics.dimensions.attribute IS 'Name of the column or key.';
COMMENT ON COLUMN agent_metrics.dimensions.finest_level IS 'hour: agent_kpi.kpi_segments_hourly shows it too; day.';
COMMENT ON COLUMN agent_metrics.dimensions.followed_segments IS
    'How many values of an agent have sums of their own; the others are the segment (other).';
COMMENT ON COLUMN agent_metrics.dimensions.is_active IS 'Whether it is switched on.';
COMMENT ON COLUMN agent_metrics.dimensions.description IS 'What it tells.';

CREATE TABLE agent_metrics.dimension_segments (
    agent_id  text NOT NULL,
    dimension text NOT NULL,
    segment   text NOT NULL CHECK (segment <> '' AND octet_length(segment) <= 256),
    PRIMARY KEY (agent_id, dimension, segment)
);
COMMENT ON TABLE agent_metrics.dimension_segments IS
    'Which segments of an agent have sums of their own: the first that came, and those that a user adds. They are '
    'kept; a rebuild chooses none anew.';
COMMENT ON COLUMN agent_metrics.dimension_segments.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.dimension_segments.dimension IS 'Dimension.';
COMMENT ON COLUMN agent_metrics.dimension_segments.segment IS 'The value.';

CREATE TABLE agent_metrics_internal.segment_builds (
    agent_id text PRIMARY KEY,
    settings text NOT NULL,
    followed numeric NOT NULL
);
COMMENT ON TABLE agent_metrics_internal.segment_builds IS 'What the segments of each agent were built with.';
COMMENT ON COLUMN agent_metrics_internal.segment_builds.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.segment_builds.settings IS
    'Dimensions as one word; when it differs, the segments are built again.';
COMMENT ON COLUMN agent_metrics_internal.segment_builds.followed IS
    'Followed segments as one number; when it differs, somebody else has changed them, and all are built again.';

CREATE TABLE agent_metrics_internal.conversation_segments (
    agent_id        text NOT NULL,
    conversation_id text NOT NULL,
    segments        jsonb NOT NULL,
    CONSTRAINT segments_are_shallow CHECK (agent_metrics_internal.check_json(segments, 'segments')),
    PRIMARY KEY (agent_id, conversation_id)
);
COMMENT ON TABLE agent_metrics_internal.conversation_segments IS
    'The segments that a conversation counts for: of each dimension the value of its first turn that has one. '
    'A conversation without any has no row.';
COMMENT ON COLUMN agent_metrics_internal.conversation_segments.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.conversation_segments.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.conversation_segments.segments IS 'Segment by dimension.';

DO $do$
DECLARE
    measures text := '';
BEGIN
    SELECT string_agg(format('%I %s %s', m.measure, m.type,
                             CASE m.measure WHEN 'latency' THEN '' ELSE 'NOT NULL DEFAULT 0' END), ', '
                      ORDER BY m.position) INTO measures
    FROM ROWS FROM (agent_metrics_internal.measures()) WITH ORDINALITY
         AS m (measure, type, grain, part_of, in_bucket, in_row, in_archive, words, position);
    EXECUTE format($create$
CREATE TABLE agent_metrics_internal.segment_rollups (
    agent_id  text NOT NULL,
    dimension text NOT NULL,
    segment   text NOT NULL,
    bucket    timestamptz NOT NULL,
    %s,
    level     text NOT NULL CHECK (level IN ('hour', 'day')),
    PRIMARY KEY (agent_id, dimension, bucket, segment, level)
) PARTITION BY LIST (level)$create$, measures);
END
$do$;

CREATE TABLE agent_metrics_internal.segment_hours PARTITION OF agent_metrics_internal.segment_rollups
    FOR VALUES IN ('hour');

CREATE TABLE agent_metrics_internal.segment_days PARTITION OF agent_metrics_internal.segment_rollups
    FOR VALUES IN ('day');
COMMENT ON TABLE agent_metrics_internal.segment_rollups IS
    'Sums and sketches per agent, dimension, segment, level and bucket. The segments of a dimension add up to the '
    'rollup. Written by refresh().';
COMMENT ON TABLE agent_metrics_internal.segment_hours IS 'Hours of the report time zone.';
COMMENT ON TABLE agent_metrics_internal.segment_days IS 'Days of the report time zone.';
SELECT agent_metrics_internal.describe_measures('segment_rollups');
COMMENT ON COLUMN agent_metrics_internal.segment_rollups.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.segment_rollups.dimension IS 'Dimension.';
COMMENT ON COLUMN agent_metrics_internal.segment_rollups.segment IS
    'Segment; (none): no value, (other): a value that is not followed.';
COMMENT ON COLUMN agent_metrics_internal.segment_rollups.bucket IS 'Start of the bucket.';
COMMENT ON COLUMN agent_metrics_internal.segment_rollups.level IS 'hour or day.';

CREATE TABLE agent_metrics_internal.segment_facts (
    agent_id            text NOT NULL,
    dimension           text NOT NULL,
    segment             text NOT NULL,
    measure             text NOT NULL,
    bucket              timestamptz NOT NULL,
    facts               bigint NOT NULL,
    numerator           numeric,
    denominator         numeric,
    numerator_squared   numeric,
    denominator_squared numeric,
    product             numeric,
    sketch              agent_metrics.quantile_sketch,
    level               text NOT NULL CHECK (level IN ('hour', 'day')),
    PRIMARY KEY (agent_id, dimension, bucket, segment, measure, level)
);
COMMENT ON TABLE agent_metrics_internal.segment_facts IS
    'Sums of conversation_facts per agent, segment, measure and report day, of measurements per hour too. '
    'Written by refresh().';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.dimension IS 'Dimension.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.segment IS 'Segment of the conversation.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.measure IS 'Measure.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.bucket IS 'Start of the report day, or hour.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.facts IS 'Rows it was made of; of measurements, conversations.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.numerator IS 'Sum of numerators.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.denominator IS 'Sum of denominators.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.numerator_squared IS 'Sum of squares of numerators.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.denominator_squared IS 'Sum of squares of denominators.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.product IS 'Sum of products of the two.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.sketch IS 'Sketch of values.';
COMMENT ON COLUMN agent_metrics_internal.segment_facts.level IS 'hour or day.';

-- By quarters of an hour: days and hours of every zone are made of them.
CREATE TABLE agent_metrics_internal.archived_segments (
    agent_id      text NOT NULL,
    archive_id    bigint NOT NULL,
    dimension     text NOT NULL,
    segment       text NOT NULL,
    bucket        timestamptz NOT NULL,
    turns         bigint NOT NULL,
    token_turns   bigint NOT NULL,
    tokens_input  bigint NOT NULL,
    tokens_output bigint NOT NULL,
    cost_turns    bigint NOT NULL,
    tool_calls    bigint NOT NULL,
    error_turns   bigint NOT NULL,
    cost_usd      numeric NOT NULL,
    latency       agent_metrics.quantile_sketch,
    PRIMARY KEY (agent_id, bucket, dimension, segment, archive_id)
);
COMMENT ON TABLE agent_metrics_internal.archived_segments IS
    'What the archived turns of a quarter of an hour add up to, by segment.';
SELECT agent_metrics_internal.describe_measures('archived_segments', ARRAY['turn']);
COMMENT ON COLUMN agent_metrics_internal.archived_segments.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.archived_segments.archive_id IS 'Archive that holds the turns.';
COMMENT ON COLUMN agent_metrics_internal.archived_segments.dimension IS 'Dimension.';
COMMENT ON COLUMN agent_metrics_internal.archived_segments.segment IS 'Segment, as it was when they were archived.';
COMMENT ON COLUMN agent_metrics_internal.archived_segments.bucket IS 'Start of the quarter of an hour.';
CREATE INDEX archived_segments_archive ON agent_metrics_internal.archived_segments (archive_id, agent_id, dimension);

CREATE TABLE agent_metrics_internal.archived_conversation_segments (
    agent_id        text NOT NULL,
    conversation_id text NOT NULL,
    archive_id      bigint NOT NULL,
    dimension       text NOT NULL,
    segment         text NOT NULL,
    occurred_at     timestamptz NOT NULL,
    turn_index      integer,
    event_id        uuid NOT NULL,
    PRIMARY KEY (conversation_id, agent_id, archive_id, dimension)
);
COMMENT ON TABLE agent_metrics_internal.archived_conversation_segments IS
    'Of each archived conversation and dimension the first value that an archived turn had.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversation_segments.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversation_segments.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversation_segments.archive_id IS 'Archive that holds the turn.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversation_segments.dimension IS 'Dimension.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversation_segments.segment IS 'The value.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversation_segments.occurred_at IS 'Moment of the turn.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversation_segments.turn_index IS 'Its place.';
COMMENT ON COLUMN agent_metrics_internal.archived_conversation_segments.event_id IS 'Its id.';
CREATE INDEX archived_conversation_segments_archive
    ON agent_metrics_internal.archived_conversation_segments (archive_id);
