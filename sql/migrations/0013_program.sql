-- What the program agent-metrics keeps about itself: who leads, and what did not work.

-- A row and not a lock: whoever may connect can take an advisory lock, and a pooler lends one session to many.
CREATE TABLE agent_metrics.scheduler_lease (
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
COMMENT ON TABLE agent_metrics.scheduler_lease IS 'Which agent-metrics run leads; one row, written by take_lead(), renew_lead() and release_lead(). Whose lease ran out is followed by another.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.lease IS 'The one lease there is.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.term IS 'Counts the leaders.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.holder IS 'Id that the process chose for itself; NULL: it stopped and let go.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.who IS 'The process in words, for people.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.role_name IS 'Role it works as.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.address IS 'Address it came from; NULL: a socket of this machine.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.acquired_at IS 'When it began to lead.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.renewed_at IS 'When it was last heard of.';
COMMENT ON COLUMN agent_metrics.scheduler_lease.expires_at IS 'When another may take over.';

CREATE TABLE agent_metrics.job_problems (
    job       text NOT NULL,
    subject   text NOT NULL DEFAULT '',
    problem   text NOT NULL,
    since     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen timestamptz NOT NULL DEFAULT clock_timestamp(),
    attempts  bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (job, subject)
);
COMMENT ON TABLE agent_metrics.job_problems IS 'Jobs of the program that failed when they were last tried; written by record_jobs(), and gone as soon as the job works.';
COMMENT ON COLUMN agent_metrics.job_problems.job IS 'refresh, attached tables, prices, adjustments, thresholds, audits, partitions or alerts.';
COMMENT ON COLUMN agent_metrics.job_problems.subject IS 'Agent or attached table it is about; empty: none.';
COMMENT ON COLUMN agent_metrics.job_problems.problem IS 'The server''s words.';
COMMENT ON COLUMN agent_metrics.job_problems.since IS 'When it began to fail.';
COMMENT ON COLUMN agent_metrics.job_problems.last_seen IS 'When it was last tried.';
COMMENT ON COLUMN agent_metrics.job_problems.attempts IS 'How often it failed in a row.';
