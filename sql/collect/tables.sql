-- Who may send to the door for OTLP, and how far files have been read.

CREATE TABLE agent_metrics.ingest_tokens (
    name         text PRIMARY KEY,
    token_sha256 bytea NOT NULL UNIQUE,
    agents       text[],
    made_at      timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    CONSTRAINT name_is_short CHECK (btrim(name) <> '' AND agent_metrics_internal.check_length(name, 'name', 256)),
    CONSTRAINT hash_is_whole CHECK (octet_length(token_sha256) = 32),
    CONSTRAINT agents_are_named CHECK (array_ndims(agents) = 1 AND array_position(agents, NULL) IS NULL
                                       AND array_position(agents, '') IS NULL)
);
COMMENT ON TABLE agent_metrics.ingest_tokens IS
    'Bearer tokens with which exporters send to agent-metrics collect; made by create_ingest_token().';
COMMENT ON COLUMN agent_metrics.ingest_tokens.name IS 'Who has the token: a team, a service.';
COMMENT ON COLUMN agent_metrics.ingest_tokens.token_sha256 IS 'SHA-256 of the token, which itself is nowhere.';
COMMENT ON COLUMN agent_metrics.ingest_tokens.agents IS 'Ids of the agents that it may write; NULL: every one.';
COMMENT ON COLUMN agent_metrics.ingest_tokens.made_at IS 'When it was made.';
COMMENT ON COLUMN agent_metrics.ingest_tokens.expires_at IS 'From then on it opens nothing; NULL: it has no end.';
COMMENT ON COLUMN agent_metrics.ingest_tokens.revoked_at IS
    'When it was revoked: it opens nothing any more; NULL: it was not.';

CREATE TABLE agent_metrics_internal.ingested_files (
    path_hash   uuid NOT NULL,
    head_hash   uuid NOT NULL,
    head_bytes  bigint NOT NULL,
    path        text NOT NULL,
    size        bigint NOT NULL,
    position    bigint NOT NULL DEFAULT 0,
    line        bigint NOT NULL DEFAULT 1,
    is_done     boolean NOT NULL DEFAULT false,
    stored      bigint NOT NULL DEFAULT 0,
    repeated    bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (path_hash, head_hash)
);
COMMENT ON TABLE agent_metrics_internal.ingested_files IS
    'How far agent-metrics ingest has read each file, written in the transaction that stores what was read.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.path_hash IS 'Hash of the path.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.head_hash IS
    'Hash of how the file begins: another file under the same path is another.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.head_bytes IS 'Bytes of which that is the hash.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.path IS 'Path of the file, without links.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.size IS 'Its bytes on the disk, when it was last read.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.position IS 'Bytes that were read, as they are unpacked.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.line IS 'Line that comes next, from 1.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.is_done IS 'All of that size was read.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.stored IS 'Events of it that were stored.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.repeated IS 'Events of it that were there already.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.quarantined IS 'Pieces of it that went to quarantine.';
COMMENT ON COLUMN agent_metrics_internal.ingested_files.changed_at IS 'When it was last read.';
