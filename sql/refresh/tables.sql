-- What a refresh keeps: one watermark an agent, one row a conversation, one row a lead, and three levels of
-- rollup. Only refresh() writes here. Every measure is an integer, a numeric or an order-independent sketch,
-- so adding is exact and never drifts; ratios are formed on read.

CREATE TABLE agent_metrics_internal.agent_watermarks (
    agent_id     text PRIMARY KEY,
    snapshot     pg_snapshot,
    origin       text NOT NULL DEFAULT '',
    settings     text NOT NULL DEFAULT '',
    foreign_to   xid8,
    refreshed_at timestamptz,
    schedule     text
);
COMMENT ON TABLE agent_metrics_internal.agent_watermarks IS
    'What each agent''s last refresh had seen. The row is the agent''s lock.';
COMMENT ON COLUMN agent_metrics_internal.agent_watermarks.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.agent_watermarks.snapshot IS
    'Snapshot the last refresh read under; NULL: the next one builds everything.';
COMMENT ON COLUMN agent_metrics_internal.agent_watermarks.origin IS
    'Cluster, table and major version the snapshot belongs to; ids of another origin cannot be compared.';
COMMENT ON COLUMN agent_metrics_internal.agent_watermarks.settings IS
    'Report time zone, finest bucket and lead counting the rollups were built with.';
COMMENT ON COLUMN agent_metrics_internal.agent_watermarks.foreign_to IS
    'Largest id of another origin that this cluster has yet to reach; up to it rows are recomputed, never added.';
COMMENT ON COLUMN agent_metrics_internal.agent_watermarks.refreshed_at IS 'When the last refresh read the facts.';
COMMENT ON COLUMN agent_metrics_internal.agent_watermarks.schedule IS
    'Cadence, kind and thresholds that the agent had then; when they differ it is due.';

CREATE TABLE agent_metrics.conversations (
    agent_id        text NOT NULL,
    conversation_id text NOT NULL,
    started_at      timestamptz NOT NULL,
    ended_at        timestamptz NOT NULL,
    turns           bigint NOT NULL,
    token_turns     bigint NOT NULL,
    tokens          bigint NOT NULL,
    cost_usd        numeric NOT NULL,
    lead_id         text NOT NULL,
    agent_label     text,
    judge_label     text,
    crm_label       text,
    human_label     text,
    outcome_label   text,
    outcome_source  text,
    unmapped_label  text,
    has_outcome     boolean NOT NULL,
    is_success      boolean NOT NULL,
    is_unit         boolean NOT NULL,
    is_deflection   boolean NOT NULL,
    is_escalation   boolean NOT NULL,
    is_refusal      boolean NOT NULL,
    is_booking      boolean NOT NULL,
    is_automation   boolean NOT NULL,
    is_qualified    boolean NOT NULL,
    is_human_touched boolean NOT NULL,
    business_event_ids text[],
    PRIMARY KEY (conversation_id, agent_id)
) WITH (fillfactor = 90);
COMMENT ON TABLE agent_metrics.conversations IS
    'One row per conversation of a registered agent, evaluation traffic left out. Written by refresh().';
COMMENT ON COLUMN agent_metrics.conversations.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.conversations.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics.conversations.started_at IS 'First turn: decides the bucket.';
COMMENT ON COLUMN agent_metrics.conversations.ended_at IS 'Last turn so far.';
COMMENT ON COLUMN agent_metrics.conversations.turns IS 'Turns.';
COMMENT ON COLUMN agent_metrics.conversations.token_turns IS 'Turns that report tokens.';
COMMENT ON COLUMN agent_metrics.conversations.tokens IS 'Input and output tokens.';
COMMENT ON COLUMN agent_metrics.conversations.cost_usd IS 'Known cost in US dollars.';
COMMENT ON COLUMN agent_metrics.conversations.lead_id IS
    'customer_id of its business events, else user_id, else conversation_id.';
COMMENT ON COLUMN agent_metrics.conversations.agent_label IS 'The agent''s own latest label.';
COMMENT ON COLUMN agent_metrics.conversations.judge_label IS 'A judge''s latest label.';
COMMENT ON COLUMN agent_metrics.conversations.crm_label IS 'What the business system says last.';
COMMENT ON COLUMN agent_metrics.conversations.human_label IS 'What a human review says.';
COMMENT ON COLUMN agent_metrics.conversations.outcome_label IS
    'The label that counts, by precedence human, crm, judge, agent.';
COMMENT ON COLUMN agent_metrics.conversations.outcome_source IS 'Who gave it.';
COMMENT ON COLUMN agent_metrics.conversations.unmapped_label IS
    'A label of this conversation that no row of outcomes maps.';
COMMENT ON COLUMN agent_metrics.conversations.has_outcome IS 'False while the conversation is pending.';
COMMENT ON COLUMN agent_metrics.conversations.is_success IS 'Its outcome counts as success.';
COMMENT ON COLUMN agent_metrics.conversations.is_unit IS 'Its outcome is a unit of work.';
COMMENT ON COLUMN agent_metrics.conversations.is_deflection IS 'Its outcome is a deflection and no human touched it.';
COMMENT ON COLUMN agent_metrics.conversations.is_escalation IS 'It was handed to a human.';
COMMENT ON COLUMN agent_metrics.conversations.is_refusal IS 'The agent refused.';
COMMENT ON COLUMN agent_metrics.conversations.is_booking IS 'It ended in a booking that stands.';
COMMENT ON COLUMN agent_metrics.conversations.is_automation IS 'A task completed with no human step.';
COMMENT ON COLUMN agent_metrics.conversations.is_qualified IS 'The business system marks its lead qualified.';
COMMENT ON COLUMN agent_metrics.conversations.is_human_touched IS 'The business system saw a human take part.';
COMMENT ON COLUMN agent_metrics.conversations.business_event_ids IS 'Business events that its turns name.';
CREATE INDEX conversations_lead ON agent_metrics.conversations (lead_id, agent_id);
CREATE INDEX conversations_started ON agent_metrics.conversations (agent_id, started_at);
CREATE INDEX conversations_unmapped ON agent_metrics.conversations (agent_id, unmapped_label)
    WHERE unmapped_label IS NOT NULL;
CREATE INDEX conversations_business_events ON agent_metrics.conversations USING gin (business_event_ids)
    WITH (fastupdate = off) WHERE business_event_ids IS NOT NULL;

CREATE TABLE agent_metrics_internal.leads (
    agent_id     text NOT NULL,
    lead_id      text NOT NULL,
    started_at   timestamptz NOT NULL,
    is_qualified boolean NOT NULL,
    PRIMARY KEY (agent_id, lead_id)
);
COMMENT ON TABLE agent_metrics_internal.leads IS
    'One row per lead of an agent whose kind counts leads. Written by refresh().';
COMMENT ON COLUMN agent_metrics_internal.leads.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.leads.lead_id IS 'customer_id, else user_id, else conversation_id.';
COMMENT ON COLUMN agent_metrics_internal.leads.started_at IS
    'First turn of its first conversation: decides the bucket.';
COMMENT ON COLUMN agent_metrics_internal.leads.is_qualified IS
    'The business system marks one of its conversations qualified.';

CREATE TABLE agent_metrics_internal.rollups (
    agent_id             text NOT NULL,
    level                text NOT NULL CHECK (level IN ('fine', 'hour', 'day')),
    bucket               timestamptz NOT NULL,
    -- turns, in the bucket of the turn
    turns                bigint NOT NULL DEFAULT 0,
    token_turns          bigint NOT NULL DEFAULT 0,
    tokens_input         bigint NOT NULL DEFAULT 0,
    tokens_output        bigint NOT NULL DEFAULT 0,
    cost_turns           bigint NOT NULL DEFAULT 0,
    tool_calls           bigint NOT NULL DEFAULT 0,
    error_turns          bigint NOT NULL DEFAULT 0,
    cost_usd             numeric NOT NULL DEFAULT 0,
    latency              agent_metrics.quantile_sketch,
    -- conversations, in the bucket of their first turn
    conversations        bigint NOT NULL DEFAULT 0,
    outcomes             bigint NOT NULL DEFAULT 0,
    successes            bigint NOT NULL DEFAULT 0,
    units                bigint NOT NULL DEFAULT 0,
    deflections          bigint NOT NULL DEFAULT 0,
    escalations          bigint NOT NULL DEFAULT 0,
    refusals             bigint NOT NULL DEFAULT 0,
    bookings             bigint NOT NULL DEFAULT 0,
    automations          bigint NOT NULL DEFAULT 0,
    -- sums of squares and products over conversations, for the intervals of ratios (delta method)
    unit_cost_usd        numeric NOT NULL DEFAULT 0,
    conversation_cost_usd numeric NOT NULL DEFAULT 0,
    cost_usd_squared     numeric NOT NULL DEFAULT 0,
    tokens_squared       numeric NOT NULL DEFAULT 0,
    tokens_by_turns      numeric NOT NULL DEFAULT 0,
    turns_squared        numeric NOT NULL DEFAULT 0,
    -- leads, in the bucket of their first conversation
    leads                bigint NOT NULL DEFAULT 0,
    qualified_leads      bigint NOT NULL DEFAULT 0,
    -- level last: it is the same throughout a partition
    PRIMARY KEY (agent_id, bucket, level)
) PARTITION BY LIST (level);

CREATE TABLE agent_metrics_internal.rollups_fine PARTITION OF agent_metrics_internal.rollups
    FOR VALUES IN ('fine') WITH (fillfactor = 85);

CREATE TABLE agent_metrics_internal.rollups_hour PARTITION OF agent_metrics_internal.rollups
    FOR VALUES IN ('hour') WITH (fillfactor = 90);

CREATE TABLE agent_metrics_internal.rollups_day PARTITION OF agent_metrics_internal.rollups
    FOR VALUES IN ('day') WITH (fillfactor = 85);
COMMENT ON TABLE agent_metrics_internal.rollups IS
    'Sums and sketches per agent, level and bucket; never a ratio. Written by refresh().';
COMMENT ON TABLE agent_metrics_internal.rollups_fine IS
    'Finest buckets, for kinds whose finest bucket is shorter than an hour.';
COMMENT ON TABLE agent_metrics_internal.rollups_hour IS 'Hours of the report time zone.';
COMMENT ON TABLE agent_metrics_internal.rollups_day IS 'Days of the report time zone.';
SELECT agent_metrics_internal.describe_measures('rollups');
COMMENT ON COLUMN agent_metrics_internal.rollups.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.rollups.bucket IS 'Start of the bucket.';
COMMENT ON COLUMN agent_metrics_internal.rollups.level IS 'fine, hour or day.';

CREATE TABLE agent_metrics_internal.stale_ranges (
    agent_id  text NOT NULL,
    from_time timestamptz NOT NULL,
    to_time   timestamptz NOT NULL,
    PRIMARY KEY (agent_id, from_time, to_time)
);
COMMENT ON TABLE agent_metrics_internal.stale_ranges IS
    'Spans of time that an agent''s next refresh computes again, for a partition came or went by hand.';
COMMENT ON COLUMN agent_metrics_internal.stale_ranges.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.stale_ranges.from_time IS 'First moment of the span.';
COMMENT ON COLUMN agent_metrics_internal.stale_ranges.to_time IS 'First moment after it.';

CREATE TABLE agent_metrics_internal.conversation_facts (
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
    sketch              agent_metrics.quantile_sketch,
    PRIMARY KEY (conversation_id, agent_id, measure, bucket)
);
COMMENT ON TABLE agent_metrics_internal.conversation_facts IS
    'What is known of a conversation beside its turns: one row per measure and report day, of measurements per hour. '
    'Written by refresh().';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.conversation_id IS 'Conversation.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.measure IS
    'Measure; agent_metrics.metrics says which metric is read from it.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.bucket IS
    'Start of the report day, of a measurement of the hour: the turn''s, or that of the conversation''s first turn.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.facts IS
    'Rows it was made of; of measurements 1, for a conversation is one observation.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.numerator IS 'Sum of numerators.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.denominator IS 'Sum of denominators.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.numerator_squared IS
    'Sum of squares of numerators; of self_report, weight of conversations whose two labels differ.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.denominator_squared IS 'Sum of squares of denominators.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.product IS
    'Sum of products of the two; of self_report, weight of conversations that both call a success.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.value IS
    'The one value of a conversation that a percentile is of.';
COMMENT ON COLUMN agent_metrics_internal.conversation_facts.sketch IS
    'Of measurements, which may be several: the sketch of their numerators, of those that are not negative.';
CREATE INDEX conversation_facts_day ON agent_metrics_internal.conversation_facts (agent_id, measure, bucket);

-- By day; of measurements by hour too.
CREATE TABLE agent_metrics_internal.fact_sums (
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
    level               text NOT NULL CHECK (level IN ('hour', 'day')),
    PRIMARY KEY (agent_id, measure, bucket, level)
) PARTITION BY LIST (level);

CREATE TABLE agent_metrics_internal.fact_hours PARTITION OF agent_metrics_internal.fact_sums FOR VALUES IN ('hour');

CREATE TABLE agent_metrics_internal.fact_days PARTITION OF agent_metrics_internal.fact_sums FOR VALUES IN ('day');
COMMENT ON TABLE agent_metrics_internal.fact_sums IS
    'Sums of conversation_facts per agent, measure and report day, and agent hours; of measurements per hour too. '
    'Written by refresh().';
COMMENT ON TABLE agent_metrics_internal.fact_hours IS 'Hours of the report time zone: measurements alone.';
COMMENT ON TABLE agent_metrics_internal.fact_days IS 'Days of the report time zone.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.measure IS
    'Measure; agent_metrics.metrics says which metric is read from it.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.bucket IS 'Start of the report day, or hour.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.facts IS 'Rows it was made of; of measurements, conversations.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.numerator IS 'Sum of numerators.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.denominator IS 'Sum of denominators; of revenue, agent hours.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.numerator_squared IS
    'Sum of squares of numerators; of self_report, weight of conversations whose two labels differ.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.denominator_squared IS 'Sum of squares of denominators.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.product IS
    'Sum of products of the two; of self_report, weight of conversations that both call a success.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.sketch IS 'Sketch of the values of conversations.';
COMMENT ON COLUMN agent_metrics_internal.fact_sums.level IS 'hour or day.';

CREATE TABLE agent_metrics_internal.active_days (
    agent_id       text NOT NULL,
    bucket         timestamptz NOT NULL,
    spans          tstzmultirange NOT NULL,
    active_seconds numeric NOT NULL,
    longest        interval NOT NULL,
    PRIMARY KEY (agent_id, bucket)
);
COMMENT ON TABLE agent_metrics_internal.active_days IS
    'When an agent was active, per report day. Written by refresh().';
COMMENT ON COLUMN agent_metrics_internal.active_days.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.active_days.bucket IS 'Start of the report day.';
COMMENT ON COLUMN agent_metrics_internal.active_days.spans IS
    'Union of the turns, each drawn out by the 30 minutes that bridge a gap, from the day''s start to 30 '
    'minutes after its end.';
COMMENT ON COLUMN agent_metrics_internal.active_days.active_seconds IS 'Seconds of the day in active intervals.';
COMMENT ON COLUMN agent_metrics_internal.active_days.longest IS 'No turn that began on this day lasted longer.';
