-- Configuration: what a person edits. Ordinary tables owned by whoever called setup().
-- Facts never refer to these by foreign key: an event of an unknown agent is kept.

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
CREATE TABLE agent_metrics_internal.access_levels (
    role_oid   oid NOT NULL,
    role_name  text NOT NULL,
    level      text NOT NULL CHECK (level IN ('reader', 'writer', 'admin')),
    cluster    bigint NOT NULL,
    granted_by text NOT NULL DEFAULT session_user,
    granted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (role_oid, level, cluster)
);
COMMENT ON TABLE agent_metrics_internal.access_levels IS
    'Which roles have which access; written by grant_access() and revoke_access().';
COMMENT ON COLUMN agent_metrics_internal.access_levels.role_oid IS
    'The role in its cluster; one that is dropped and made again is another.';
COMMENT ON COLUMN agent_metrics_internal.access_levels.role_name IS
    'Its name, by which it is found in another cluster that a dump is restored in.';
COMMENT ON COLUMN agent_metrics_internal.access_levels.level IS 'reader, writer or admin.';
COMMENT ON COLUMN agent_metrics_internal.access_levels.cluster IS 'System identifier of the cluster whose role it is.';
COMMENT ON COLUMN agent_metrics_internal.access_levels.granted_by IS 'Who granted it.';
COMMENT ON COLUMN agent_metrics_internal.access_levels.granted_at IS 'When.';
CREATE TRIGGER check_setting BEFORE INSERT OR UPDATE ON agent_metrics.settings
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_setting();

CREATE TABLE agent_metrics.owners (
    owner    text PRIMARY KEY CHECK (btrim(owner) <> ''),
    contact  text,
    slack_id text,
    deputy   text,
    is_team boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE agent_metrics.owners IS 'People, roles or teams that answer for a threshold.';
COMMENT ON COLUMN agent_metrics.owners.owner IS 'Name of the person, role or team, as shown on the page.';
COMMENT ON COLUMN agent_metrics.owners.contact IS 'How to reach the owner: an address or a channel.';
COMMENT ON COLUMN agent_metrics.owners.slack_id IS 'Slack member or group id that an alert mentions.';
COMMENT ON COLUMN agent_metrics.owners.deputy IS 'Who is told when the owner does not acknowledge.';

CREATE TABLE agent_metrics.agent_kinds (
    kind           text PRIMARY KEY,
    cadence        text NOT NULL,
    bucket_seconds integer NOT NULL CHECK (bucket_seconds IN (300, 3600)),
    outcome_metric text NOT NULL REFERENCES agent_metrics.metrics (metric),
    unit_name      text NOT NULL,
    description    text NOT NULL DEFAULT ''
);
COMMENT ON TABLE agent_metrics.agent_kinds IS
    'Kinds of agent: cadence, finest bucket, outcome metric and unit of work.';
COMMENT ON COLUMN agent_metrics.agent_kinds.kind IS 'Name of the kind: sales, support, ops, or your own.';
COMMENT ON COLUMN agent_metrics.agent_kinds.cadence IS 'Default refresh cadence: five-field crontab.';
COMMENT ON COLUMN agent_metrics.agent_kinds.bucket_seconds IS 'Finest bucket of the rollups: 300 or 3600 seconds.';
COMMENT ON COLUMN agent_metrics.agent_kinds.outcome_metric IS
    'The outcome rate of this kind, one of its four core metrics.';
COMMENT ON COLUMN agent_metrics.agent_kinds.unit_name IS
    'What one unit of work is: qualified lead, resolved ticket, completed task.';
COMMENT ON COLUMN agent_metrics.agent_kinds.description IS 'What agents of this kind do.';

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
    registered_at  timestamptz NOT NULL DEFAULT now(),
    sunset_at timestamptz,
    replaced_by text
);
COMMENT ON TABLE agent_metrics.agents IS 'AI agents and human teams; what is not here is kept but not rolled up.';
COMMENT ON COLUMN agent_metrics.agents.agent_id IS 'The id that producers write in agent_events.';
COMMENT ON COLUMN agent_metrics.agents.kind IS
    'Kind of agent: decides cadence, outcome metric, unit and default thresholds.';
COMMENT ON COLUMN agent_metrics.agents.owner IS 'Who answers for this agent.';
COMMENT ON COLUMN agent_metrics.agents.display_name IS 'Name shown to people.';
COMMENT ON COLUMN agent_metrics.agents.actor IS 'ai or human; no number ever mixes the two.';
COMMENT ON COLUMN agent_metrics.agents.cadence IS 'Five-field crontab in time_zone; NULL: the kind''s.';
COMMENT ON COLUMN agent_metrics.agents.time_zone IS 'IANA time zone of the cadence.';
COMMENT ON COLUMN agent_metrics.agents.vertical IS 'Vertical for benchmarks, such as SaaS support or healthcare.';
COMMENT ON COLUMN agent_metrics.agents.baseline_agent_id IS 'The human team this agent is set beside.';
COMMENT ON COLUMN agent_metrics.agents.registered_at IS 'When the agent was registered.';
CREATE TRIGGER check_agent BEFORE INSERT OR UPDATE ON agent_metrics.agents
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_agent();
CREATE TRIGGER check_agent_kind BEFORE INSERT OR UPDATE ON agent_metrics.agent_kinds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_agent_kind();

-- Thresholds with an end, a deputy and a kind; breaches of them; the history of definitions.
COMMENT ON COLUMN agent_metrics.owners.is_team IS 'A team rather than one person or role.';

-- Keep or replace: the question of each quarter, and its answers, which nobody changes afterwards.
COMMENT ON COLUMN agent_metrics.agents.sunset_at IS 'When it was decided to end it; its history stays.';
COMMENT ON COLUMN agent_metrics.agents.replaced_by IS 'Agent that took its place; its own history stays.';

-- What the program agent-metrics keeps about itself: who leads, and what did not work.

-- A row and not a lock: whoever may connect can take an advisory lock, and a pooler lends one session to many.
CREATE TABLE agent_metrics_internal.scheduler_lease (
    lease       text PRIMARY KEY DEFAULT 'scheduler' CHECK (lease = 'scheduler'),
    term        bigint NOT NULL DEFAULT 1,
    holder      uuid,
    who         text NOT NULL,
    role_name   text NOT NULL DEFAULT current_user,
    address     text,
    acquired_at timestamptz NOT NULL,
    renewed_at  timestamptz NOT NULL CHECK (isfinite(renewed_at)),
    expires_at  timestamptz NOT NULL CHECK (isfinite(expires_at)),
    CONSTRAINT is_short CHECK (expires_at >= renewed_at AND expires_at <= renewed_at + interval '1 hour')
);
COMMENT ON TABLE agent_metrics_internal.scheduler_lease IS
    'Which agent-metrics run leads; one row, written by take_lead(), renew_lead() and release_lead(). '
    'Whose lease ran out is followed by another.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.lease IS 'The one lease there is.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.term IS 'Counts the leaders.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.holder IS
    'Id that the process chose for itself; NULL: it stopped and let go.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.who IS 'The process in words, for people.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.role_name IS 'Role it works as.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.address IS
    'Address it came from; NULL: a socket of this machine.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.acquired_at IS 'When it began to lead.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.renewed_at IS 'When it was last heard of.';
COMMENT ON COLUMN agent_metrics_internal.scheduler_lease.expires_at IS 'When another may take over.';

CREATE TABLE agent_metrics_internal.job_problems (
    job       text NOT NULL,
    subject   text NOT NULL DEFAULT '',
    problem   text NOT NULL,
    since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts  bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (job, subject)
);
COMMENT ON TABLE agent_metrics_internal.job_problems IS
    'Jobs of the program that failed when they were last tried; written by record_jobs(), '
    'and gone as soon as the job works.';
COMMENT ON COLUMN agent_metrics_internal.job_problems.job IS
    'refresh, attached tables, prices, adjustments, thresholds, audits, traces, partitions or alerts.';
COMMENT ON COLUMN agent_metrics_internal.job_problems.subject IS 'Agent or attached table it is about; empty: none.';
COMMENT ON COLUMN agent_metrics_internal.job_problems.problem IS 'The server''s words.';
COMMENT ON COLUMN agent_metrics_internal.job_problems.since IS 'When it began to fail.';
COMMENT ON COLUMN agent_metrics_internal.job_problems.last_seen IS 'When it was last tried.';
COMMENT ON COLUMN agent_metrics_internal.job_problems.attempts IS 'How often it failed in a row.';
