-- Facts: what producers write. How a refresh learns of every change without ever blocking a writer
-- is told in DESIGN.md; in short:
--   an inserted turn carries the transaction that wrote it (recorded_in);
--   an update or deletion of a turn is logged in `changes`, since the stamp alone cannot tell it;
--   business events and mappings carry changed_in, and their deletions are logged too.
-- Triggers put the stamps on and write the log (sql/views/00_triggers.sql): what a row brings itself is never believed.

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
    PRIMARY KEY (agent_id, occurred_at, event_id)
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE agent_metrics.agent_events IS 'One row per agent turn, partitioned by month. agent_id, occurred_at and conversation_id are required.';
COMMENT ON COLUMN agent_metrics.agent_events.agent_id IS 'Agent that took the turn; it need not be registered yet.';
COMMENT ON COLUMN agent_metrics.agent_events.occurred_at IS 'When the turn began.';
COMMENT ON COLUMN agent_metrics.agent_events.event_id IS 'Id of the turn. Give your own so that a redelivery is stored once.';
COMMENT ON COLUMN agent_metrics.agent_events.conversation_id IS 'Conversation the turn belongs to.';
COMMENT ON COLUMN agent_metrics.agent_events.user_id IS 'Who the agent spoke with.';
COMMENT ON COLUMN agent_metrics.agent_events.intent_classified IS 'What the user wanted, as the agent classified it.';
COMMENT ON COLUMN agent_metrics.agent_events.tools_called IS 'List of tool names, or of objects with name and ok.';
COMMENT ON COLUMN agent_metrics.agent_events.latency_ms IS 'How long the turn took, in milliseconds; NULL: it had none, and it is in no percentile.';
COMMENT ON COLUMN agent_metrics.agent_events.token_usage_input IS 'Input tokens, cached ones included.';
COMMENT ON COLUMN agent_metrics.agent_events.token_usage_output IS 'Output tokens.';
COMMENT ON COLUMN agent_metrics.agent_events.cost_usd IS 'Cost of the turn in US dollars; NULL: not known, which is not 0.';
COMMENT ON COLUMN agent_metrics.agent_events.outcome_label IS 'Outcome of the conversation, usually on its last turn; see agent_metrics.outcomes.';
COMMENT ON COLUMN agent_metrics.agent_events.business_event_id IS 'Business event that the turn caused.';
COMMENT ON COLUMN agent_metrics.agent_events.turn_index IS 'Position of the turn in its conversation.';
COMMENT ON COLUMN agent_metrics.agent_events.agent_version IS 'Version of the agent.';
COMMENT ON COLUMN agent_metrics.agent_events.model IS 'Model that answered.';
COMMENT ON COLUMN agent_metrics.agent_events.prompt_version IS 'Version of the prompt.';
COMMENT ON COLUMN agent_metrics.agent_events.token_usage_cache_read IS 'Of the input tokens, those read from a cache.';
COMMENT ON COLUMN agent_metrics.agent_events.token_usage_cache_write IS 'Of the input tokens, those written to a cache.';
COMMENT ON COLUMN agent_metrics.agent_events.is_eval IS 'The turn belongs to an evaluation run and is in no production metric.';
COMMENT ON COLUMN agent_metrics.agent_events.error IS 'What went wrong, if anything did.';
COMMENT ON COLUMN agent_metrics.agent_events.outcome_source IS 'Who says outcome_label: agent, judge, crm or human. Precedence: human, crm, judge, agent.';
COMMENT ON COLUMN agent_metrics.agent_events.recorded_in IS
    'Transaction that inserted the row, put there by a trigger whatever the row brings. The default is for a table that is loaded by itself and then attached as a partition.';

CREATE INDEX agent_events_conversation ON agent_metrics.agent_events (conversation_id);
CREATE INDEX agent_events_recorded_in ON agent_metrics.agent_events (recorded_in);
-- How many groups GROUP BY agent_id, date_trunc(...) has: without it the planner takes the moments for the groups, guesses
-- as many of these as there are turns, spills to disk and never goes parallel.
CREATE STATISTICS agent_metrics.agent_events_by_hour (ndistinct) ON agent_id, (date_trunc('hour', occurred_at)) FROM agent_metrics.agent_events;
CREATE STATISTICS agent_metrics.agent_events_by_day (ndistinct) ON agent_id, (date_trunc('day', occurred_at)) FROM agent_metrics.agent_events;
COMMENT ON STATISTICS agent_metrics.agent_events_by_hour IS 'How many agents and hours there are, for the planner.';
COMMENT ON STATISTICS agent_metrics.agent_events_by_day IS 'How many agents and days there are, for the planner.';

CREATE TABLE agent_metrics.business_events (
    business_event_id text PRIMARY KEY,
    kind              text NOT NULL,
    occurred_at       timestamptz NOT NULL DEFAULT now() CONSTRAINT occurred_at_is_a_moment CHECK (isfinite(occurred_at)),
    conversation_id   text,
    customer_id       text,
    amount_usd        numeric CONSTRAINT amount_usd_is_an_amount CHECK (amount_usd > -1e12 AND amount_usd < 1e12),
    detail            jsonb,
    changed_in        xid8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE agent_metrics.business_events IS 'What happened in the business: tickets, leads, bookings, charges, refunds.';
COMMENT ON COLUMN agent_metrics.business_events.business_event_id IS 'Id of the event in the business system.';
COMMENT ON COLUMN agent_metrics.business_events.kind IS 'Kind of event; agent_metrics.event_kinds says what it means.';
COMMENT ON COLUMN agent_metrics.business_events.occurred_at IS 'When it happened.';
COMMENT ON COLUMN agent_metrics.business_events.conversation_id IS 'Conversation that caused it; NULL when a turn names business_event_id instead.';
COMMENT ON COLUMN agent_metrics.business_events.customer_id IS 'Customer or lead in the business system.';
COMMENT ON COLUMN agent_metrics.business_events.amount_usd IS 'Amount in US dollars.';
COMMENT ON COLUMN agent_metrics.business_events.detail IS 'Anything else, as JSON.';
COMMENT ON COLUMN agent_metrics.business_events.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
CREATE INDEX business_events_conversation ON agent_metrics.business_events (conversation_id);
CREATE INDEX business_events_kind ON agent_metrics.business_events (kind);
CREATE INDEX business_events_changed_in ON agent_metrics.business_events (changed_in);

-- Dirt that the stamps cannot tell. A row with an agent is consumed by that agent's refresh;
-- a row without one concerns every agent and is pruned once every watermark has seen it.
CREATE TABLE agent_metrics.changes (
    change_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id          text,
    conversation_id   text,
    business_event_id text,
    label             text,
    occurred_at       timestamptz,
    measures_changed  boolean NOT NULL DEFAULT false,
    changed_in        xid8 NOT NULL DEFAULT pg_current_xact_id()
);
COMMENT ON TABLE agent_metrics.changes IS 'Log of updates and deletions of facts that the next refresh has to look at. Written by triggers.';
COMMENT ON COLUMN agent_metrics.changes.change_id IS 'Identity.';
COMMENT ON COLUMN agent_metrics.changes.agent_id IS 'Agent concerned; NULL: any agent.';
COMMENT ON COLUMN agent_metrics.changes.conversation_id IS 'Conversation concerned.';
COMMENT ON COLUMN agent_metrics.changes.business_event_id IS 'Business event concerned.';
COMMENT ON COLUMN agent_metrics.changes.label IS 'Outcome label, or kind of business event, whose mapping went.';
COMMENT ON COLUMN agent_metrics.changes.occurred_at IS 'Moment of the turn.';
COMMENT ON COLUMN agent_metrics.changes.measures_changed IS 'Whether the bucket of that moment has to be computed again.';
COMMENT ON COLUMN agent_metrics.changes.changed_in IS 'Transaction that made the change.';
CREATE INDEX changes_agent ON agent_metrics.changes (agent_id);

-- The trigger functions below write the log with the rights of the tables' owner: a writer needs none on it.
CREATE FUNCTION agent_metrics.log_event_update() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    measures_changed boolean :=
        (OLD.agent_id, OLD.occurred_at, OLD.latency_ms, OLD.token_usage_input, OLD.token_usage_output, OLD.cost_usd,
         OLD.tools_called, OLD.is_eval, OLD.error)
        IS DISTINCT FROM
        (NEW.agent_id, NEW.occurred_at, NEW.latency_ms, NEW.token_usage_input, NEW.token_usage_output, NEW.cost_usd,
         NEW.tools_called, NEW.is_eval, NEW.error);
BEGIN
    INSERT INTO agent_metrics.changes (agent_id, conversation_id, occurred_at, measures_changed)
    VALUES (OLD.agent_id, OLD.conversation_id, OLD.occurred_at, measures_changed);
    IF (OLD.agent_id, OLD.conversation_id, OLD.occurred_at) IS DISTINCT FROM (NEW.agent_id, NEW.conversation_id, NEW.occurred_at) THEN
        INSERT INTO agent_metrics.changes (agent_id, conversation_id, occurred_at, measures_changed)
        VALUES (NEW.agent_id, NEW.conversation_id, NEW.occurred_at, measures_changed);
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.log_event_update() IS 'Trigger: logs the conversations and buckets that an update of a turn concerns, before and after.';
REVOKE ALL ON FUNCTION agent_metrics.log_event_update() FROM PUBLIC;

CREATE FUNCTION agent_metrics.log_event_delete() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics.changes (agent_id, conversation_id, occurred_at, measures_changed)
    VALUES (OLD.agent_id, OLD.conversation_id, OLD.occurred_at, true);
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics.log_event_delete() IS 'Trigger: logs the conversation and bucket that lost a turn.';
REVOKE ALL ON FUNCTION agent_metrics.log_event_delete() FROM PUBLIC;

CREATE FUNCTION agent_metrics.log_business_event() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics.changes (conversation_id, business_event_id)
    VALUES (OLD.conversation_id, OLD.business_event_id);
    IF TG_OP = 'UPDATE' THEN
        RETURN NEW;
    END IF;
    RETURN OLD;
END
$function$;
COMMENT ON FUNCTION agent_metrics.log_business_event() IS 'Trigger: logs the conversation that a business event was about before it changed.';
REVOKE ALL ON FUNCTION agent_metrics.log_business_event() FROM PUBLIC;

CREATE FUNCTION agent_metrics.log_outcome() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics.changes (label) VALUES (OLD.label);
    IF TG_OP = 'UPDATE' THEN
        RETURN NEW;
    END IF;
    RETURN OLD;
END
$function$;
COMMENT ON FUNCTION agent_metrics.log_outcome() IS 'Trigger: logs the old name of an outcome label that changed.';
REVOKE ALL ON FUNCTION agent_metrics.log_outcome() FROM PUBLIC;

CREATE FUNCTION agent_metrics.log_event_kind() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics.changes (label) VALUES (OLD.kind);
    IF TG_OP = 'UPDATE' THEN
        RETURN NEW;
    END IF;
    RETURN OLD;
END
$function$;
COMMENT ON FUNCTION agent_metrics.log_event_kind() IS 'Trigger: logs the old name of a kind of business event that changed.';
REVOKE ALL ON FUNCTION agent_metrics.log_event_kind() FROM PUBLIC;

-- TRUNCATE leaves no rows to log. One row that names nothing says "everything": each agent is built again.
-- (Touching the watermarks here instead would deadlock with a refresh that holds one and reads the facts.)
CREATE FUNCTION agent_metrics.log_truncate() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics.changes DEFAULT VALUES;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics.log_truncate() IS 'Trigger: after TRUNCATE of facts or mappings each agent is rebuilt by its next refresh.';
REVOKE ALL ON FUNCTION agent_metrics.log_truncate() FROM PUBLIC;
