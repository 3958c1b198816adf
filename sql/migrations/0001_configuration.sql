-- Configuration: what a person edits. Ordinary tables owned by whoever called setup().
-- Facts (0002) never refer to these by foreign key: an event of an unknown agent is kept.

CREATE TABLE agent_metrics.settings (
    name        text PRIMARY KEY,
    value       text NOT NULL,
    description text NOT NULL DEFAULT ''
);
COMMENT ON TABLE agent_metrics.settings IS 'Settings of this warehouse, one row each.';
COMMENT ON COLUMN agent_metrics.settings.name IS 'Name of the setting.';
COMMENT ON COLUMN agent_metrics.settings.value IS 'Its value, as text.';
COMMENT ON COLUMN agent_metrics.settings.description IS 'What it does.';

-- Who has which access. Rows, not default privileges, so that setup() and ensure_partitions() grant it on what is new.
CREATE TABLE agent_metrics.access_levels (
    role_oid   oid NOT NULL,
    role_name  text NOT NULL,
    level      text NOT NULL CHECK (level IN ('reader', 'writer', 'admin')),
    cluster    bigint NOT NULL,
    granted_by text NOT NULL DEFAULT session_user,
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role_oid, level, cluster)
);
COMMENT ON TABLE agent_metrics.access_levels IS 'Which roles have which access; written by grant_access() and revoke_access().';
COMMENT ON COLUMN agent_metrics.access_levels.role_oid IS 'The role in its cluster; one that is dropped and made again is another.';
COMMENT ON COLUMN agent_metrics.access_levels.role_name IS 'Its name, by which it is found in another cluster that a dump is restored in.';
COMMENT ON COLUMN agent_metrics.access_levels.level IS 'reader, writer or admin.';
COMMENT ON COLUMN agent_metrics.access_levels.cluster IS 'System identifier of the cluster whose role it is.';
COMMENT ON COLUMN agent_metrics.access_levels.granted_by IS 'Who granted it.';
COMMENT ON COLUMN agent_metrics.access_levels.granted_at IS 'When.';

-- Every view and every refresh reads the time zone, so a wrong one is refused where it is written.
CREATE FUNCTION agent_metrics.check_setting() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.name = 'report_time_zone' AND NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = NEW.value) THEN
        RAISE EXCEPTION 'unknown time zone "%"', NEW.value
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The IANA time zone database has no zone of that name.',
                  HINT = 'Use a name such as UTC, Europe/Berlin or America/New_York.';
    END IF;
    IF NEW.name = 'hot_days' AND NEW.value !~ '^[1-9][0-9]{0,5}$' THEN
        RAISE EXCEPTION 'impossible number of hot days "%"', NEW.value
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'hot_days says for how many days raw events stay in the database.',
                  HINT = 'Write a whole number of days from 1 upwards, such as 90.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_setting() IS 'Trigger: refuses a time zone that is unknown and a number of days that is none.';
REVOKE ALL ON FUNCTION agent_metrics.check_setting() FROM PUBLIC;
CREATE TRIGGER check_setting BEFORE INSERT OR UPDATE ON agent_metrics.settings
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_setting();

CREATE TABLE agent_metrics.owners (
    owner    text PRIMARY KEY CHECK (btrim(owner) <> ''),
    contact  text,
    slack_id text,
    deputy   text
);
COMMENT ON TABLE agent_metrics.owners IS 'People, roles or teams that answer for a threshold.';
COMMENT ON COLUMN agent_metrics.owners.owner IS 'Name of the person, role or team, as shown on the page.';
COMMENT ON COLUMN agent_metrics.owners.contact IS 'How to reach the owner: an address or a channel.';
COMMENT ON COLUMN agent_metrics.owners.slack_id IS 'Slack member or group id that an alert mentions.';
COMMENT ON COLUMN agent_metrics.owners.deputy IS 'Who is told when the owner does not acknowledge.';

CREATE TABLE agent_metrics.metrics (
    metric             text PRIMARY KEY,
    metric_class       text NOT NULL CHECK (metric_class IN ('capability', 'economics', 'outcome', 'trust')),
    unit               text NOT NULL CHECK (unit IN ('fraction', 'usd', 'ms', 's', 'count', 'points')),
    direction          text NOT NULL CHECK (direction IN ('+', '-')),
    definition         text NOT NULL,
    definition_version integer NOT NULL DEFAULT 1,
    position           integer NOT NULL DEFAULT 100,
    measure            text
);
COMMENT ON TABLE agent_metrics.metrics IS 'The metric catalogue: what every number means.';
COMMENT ON COLUMN agent_metrics.metrics.metric IS 'Name of the metric.';
COMMENT ON COLUMN agent_metrics.metrics.metric_class IS 'capability, economics, outcome or trust.';
COMMENT ON COLUMN agent_metrics.metrics.unit IS 'fraction (0..1), usd, ms, s, count or points (0..100).';
COMMENT ON COLUMN agent_metrics.metrics.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_metrics.metrics.definition IS 'The definition in words: numerator / denominator and what is left out.';
COMMENT ON COLUMN agent_metrics.metrics.definition_version IS 'Raised whenever the definition changes.';
COMMENT ON COLUMN agent_metrics.metrics.position IS 'Order in which a person wants to read the metrics.';
COMMENT ON COLUMN agent_metrics.metrics.measure IS 'Measure of fact_days that holds its sums; NULL: its sums are in the rollups.';

CREATE TABLE agent_metrics.agent_kinds (
    kind           text PRIMARY KEY,
    cadence        text NOT NULL,
    bucket_seconds integer NOT NULL CHECK (bucket_seconds IN (300, 3600)),
    outcome_metric text NOT NULL REFERENCES agent_metrics.metrics (metric),
    unit_name      text NOT NULL,
    description    text NOT NULL DEFAULT ''
);
COMMENT ON TABLE agent_metrics.agent_kinds IS 'Kinds of agent: cadence, finest bucket, outcome metric and unit of work.';
COMMENT ON COLUMN agent_metrics.agent_kinds.kind IS 'Name of the kind: sales, support, ops, or your own.';
COMMENT ON COLUMN agent_metrics.agent_kinds.cadence IS 'Default refresh cadence: five-field crontab.';
COMMENT ON COLUMN agent_metrics.agent_kinds.bucket_seconds IS 'Finest bucket of the rollups: 300 or 3600 seconds.';
COMMENT ON COLUMN agent_metrics.agent_kinds.outcome_metric IS 'The outcome rate of this kind, one of its four core metrics.';
COMMENT ON COLUMN agent_metrics.agent_kinds.unit_name IS 'What one unit of work is: qualified lead, resolved ticket, completed task.';
COMMENT ON COLUMN agent_metrics.agent_kinds.description IS 'What agents of this kind do.';

CREATE TABLE agent_metrics.agent_kind_thresholds (
    kind   text NOT NULL REFERENCES agent_metrics.agent_kinds (kind),
    metric text NOT NULL REFERENCES agent_metrics.metrics (metric),
    value  double precision NOT NULL,
    PRIMARY KEY (kind, metric)
);
COMMENT ON TABLE agent_metrics.agent_kind_thresholds IS 'Default thresholds that register_agent gives to an agent of a kind, with a named owner.';
COMMENT ON COLUMN agent_metrics.agent_kind_thresholds.kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_metrics.agent_kind_thresholds.metric IS 'Metric the default is for.';
COMMENT ON COLUMN agent_metrics.agent_kind_thresholds.value IS 'The line, in the unit of the metric; the direction is the metric''s.';

CREATE TABLE agent_metrics.agents (
    agent_id       text PRIMARY KEY CHECK (btrim(agent_id) <> ''),
    kind           text NOT NULL REFERENCES agent_metrics.agent_kinds (kind),
    owner          text NOT NULL REFERENCES agent_metrics.owners (owner),
    display_name   text NOT NULL,
    actor          text NOT NULL DEFAULT 'ai' CHECK (actor IN ('ai', 'human')),
    cadence        text,
    time_zone      text NOT NULL DEFAULT 'UTC',
    vertical       text,
    baseline_agent_id text,
    registered_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE agent_metrics.agents IS 'AI agents and human teams; what is not here is kept but not rolled up.';
COMMENT ON COLUMN agent_metrics.agents.agent_id IS 'The id that producers write in agent_events.';
COMMENT ON COLUMN agent_metrics.agents.kind IS 'Kind of agent: decides cadence, outcome metric, unit and default thresholds.';
COMMENT ON COLUMN agent_metrics.agents.owner IS 'Who answers for this agent.';
COMMENT ON COLUMN agent_metrics.agents.display_name IS 'Name shown to people.';
COMMENT ON COLUMN agent_metrics.agents.actor IS 'ai or human; no number ever mixes the two.';
COMMENT ON COLUMN agent_metrics.agents.cadence IS 'Five-field crontab in time_zone; NULL: the kind''s.';
COMMENT ON COLUMN agent_metrics.agents.time_zone IS 'IANA time zone of the cadence.';
COMMENT ON COLUMN agent_metrics.agents.vertical IS 'Vertical for benchmarks, such as SaaS support or healthcare.';
COMMENT ON COLUMN agent_metrics.agents.baseline_agent_id IS 'The human team this agent is set beside.';
COMMENT ON COLUMN agent_metrics.agents.registered_at IS 'When the agent was registered.';

-- An agent's settings are checked where they are written, so that a bad cadence never reaches the scheduler.
CREATE FUNCTION agent_metrics.check_agent() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.kind IS NOT NULL AND NOT EXISTS (SELECT FROM agent_metrics.agent_kinds k WHERE k.kind = NEW.kind) THEN
        RAISE EXCEPTION 'unknown kind of agent "%"', NEW.kind
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = coalesce('The kinds are: ' || (SELECT string_agg(k.kind, ', ' ORDER BY k.kind) FROM agent_metrics.agent_kinds k) || '.',
                                    'agent_metrics.agent_kinds has no rows: those that ship were not restored.'),
                  HINT = CASE WHEN EXISTS (SELECT FROM agent_metrics.agent_kinds) THEN 'Use one of them, or add a row to agent_metrics.agent_kinds.'
                              ELSE 'SELECT agent_metrics.setup(); puts them back where all of them are missing.' END;
    END IF;
    PERFORM agent_metrics.check_cadence(
        coalesce(NEW.cadence, (SELECT k.cadence FROM agent_metrics.agent_kinds k WHERE k.kind = NEW.kind)), NEW.time_zone);
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_agent() IS 'Trigger: refuses an unknown kind, a broken or too frequent cadence, an unknown time zone.';
REVOKE ALL ON FUNCTION agent_metrics.check_agent() FROM PUBLIC;
CREATE TRIGGER check_agent BEFORE INSERT OR UPDATE ON agent_metrics.agents
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_agent();

CREATE FUNCTION agent_metrics.check_agent_kind() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    PERFORM agent_metrics.check_cadence(NEW.cadence, 'UTC');
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_agent_kind() IS 'Trigger: refuses a kind whose default cadence is broken or too frequent.';
REVOKE ALL ON FUNCTION agent_metrics.check_agent_kind() FROM PUBLIC;
CREATE TRIGGER check_agent_kind BEFORE INSERT OR UPDATE ON agent_metrics.agent_kinds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_agent_kind();

CREATE TABLE agent_metrics.thresholds (
    agent_id       text NOT NULL,
    metric         text NOT NULL,
    effective_from date NOT NULL DEFAULT '-infinity',
    value          double precision NOT NULL,
    owner          text NOT NULL REFERENCES agent_metrics.owners (owner),
    review_on      date,
    note           text,
    PRIMARY KEY (agent_id, metric, effective_from)
);
COMMENT ON TABLE agent_metrics.thresholds IS 'The line each metric of each agent is held to, from a day on, and who owns it.';
COMMENT ON COLUMN agent_metrics.thresholds.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.thresholds.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.thresholds.effective_from IS 'First report day the line holds; it holds until the next row of the agent and metric.';
COMMENT ON COLUMN agent_metrics.thresholds.value IS 'The line, in the unit of the metric; the direction is the metric''s.';
COMMENT ON COLUMN agent_metrics.thresholds.owner IS 'Who answers for it. There is no threshold without an owner.';
COMMENT ON COLUMN agent_metrics.thresholds.review_on IS 'When the line is to be looked at again.';
COMMENT ON COLUMN agent_metrics.thresholds.note IS 'Why the line is where it is.';

CREATE FUNCTION agent_metrics.check_threshold() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    metric_unit text;
BEGIN
    IF NEW.owner IS NULL OR btrim(NEW.owner) = '' THEN
        RAISE EXCEPTION 'the threshold for % of agent "%" has no owner', NEW.metric, NEW.agent_id
            USING ERRCODE = 'not_null_violation',
                  DETAIL = 'A threshold that nobody answers for is not a threshold.',
                  HINT = 'Name a person, role or team that is a row of agent_metrics.owners.';
    END IF;
    SELECT m.unit INTO metric_unit FROM agent_metrics.metrics m WHERE m.metric = NEW.metric;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown metric "%"', NEW.metric
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'No row of agent_metrics.metrics has that name.',
                  HINT = 'SELECT metric FROM agent_metrics.metrics lists them.';
    END IF;
    IF NEW.value IS NULL OR NEW.value IN ('NaN', 'Infinity', '-Infinity')
       OR (metric_unit = 'fraction' AND NEW.value NOT BETWEEN 0 AND 1)
       OR (metric_unit IN ('usd', 'ms', 's', 'count') AND NEW.value < 0 AND NEW.metric NOT LIKE 'revenue%') THEN
        RAISE EXCEPTION 'impossible threshold % for %', coalesce(NEW.value::text, 'NULL'), NEW.metric
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = format('The unit of %s is %s.', NEW.metric, metric_unit),
                  HINT = 'A fraction lies between 0 and 1: 92 per cent is 0.92.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_threshold() IS 'Trigger: refuses a threshold without owner, of an unknown metric or with an impossible value.';
REVOKE ALL ON FUNCTION agent_metrics.check_threshold() FROM PUBLIC;
CREATE TRIGGER check_threshold BEFORE INSERT OR UPDATE ON agent_metrics.thresholds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_threshold();

CREATE TABLE agent_metrics.benchmarks (
    vertical  text NOT NULL,
    metric    text NOT NULL,
    statistic text NOT NULL,
    value     double precision NOT NULL,
    source    text NOT NULL,
    year      integer NOT NULL,
    verified  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (vertical, metric, statistic)
);
COMMENT ON TABLE agent_metrics.benchmarks IS 'Figures from outside to hold a metric against; not verified as shipped.';
COMMENT ON COLUMN agent_metrics.benchmarks.vertical IS 'Vertical or scope the figure is for; any: all.';
COMMENT ON COLUMN agent_metrics.benchmarks.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.benchmarks.statistic IS 'median, bottom_quartile, abandonment_line, range_low, range_high or regulated_bar.';
COMMENT ON COLUMN agent_metrics.benchmarks.value IS 'The figure, in the unit of the metric.';
COMMENT ON COLUMN agent_metrics.benchmarks.source IS 'Where the figure comes from.';
COMMENT ON COLUMN agent_metrics.benchmarks.year IS 'Year of the figure.';
COMMENT ON COLUMN agent_metrics.benchmarks.verified IS 'Whether somebody here has checked it against its source.';

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
COMMENT ON COLUMN agent_metrics.outcomes.is_deflection IS 'Counts in deflection_rate when no human touched the conversation.';
COMMENT ON COLUMN agent_metrics.outcomes.is_escalation IS 'The conversation was handed to a human.';
COMMENT ON COLUMN agent_metrics.outcomes.is_refusal IS 'The agent refused.';
COMMENT ON COLUMN agent_metrics.outcomes.is_booking IS 'Counts in booking_conversion_rate.';
COMMENT ON COLUMN agent_metrics.outcomes.is_automation IS 'Counts in automation_rate when no human touched the conversation.';
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
COMMENT ON COLUMN agent_metrics.event_kinds.meaning IS 'An outcome label, or human_touch, charge, refund or nps_answer.';
COMMENT ON COLUMN agent_metrics.event_kinds.description IS 'What happened in the business.';
COMMENT ON COLUMN agent_metrics.event_kinds.changed_in IS 'Transaction that last wrote the row; kept by a trigger.';
