-- Tokens with which exporters send to the door. Only the hash is kept: whoever reads the table can send nothing.

CREATE FUNCTION agent_metrics_internal.new_token() RETURNS text
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.new_token() IS
    '32 bytes of the system''s source of randomness, as text. Internal: create_ingest_token() uses it.';

CREATE FUNCTION agent_metrics_internal.check_token_keeper() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF to_regclass('agent_metrics.ingest_tokens') IS NULL THEN
        RAISE EXCEPTION 'agent_metrics has no tables yet'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Tokens are kept in a table, which setup() makes.',
                  HINT = 'SELECT agent_metrics.setup();';
    END IF;
    IF NOT has_table_privilege('agent_metrics.ingest_tokens', 'SELECT, INSERT, UPDATE') THEN
        RAISE EXCEPTION 'only an admin makes and revokes tokens'
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('%s has not that level of access.', current_user),
                  HINT = format('Let the owner run SELECT agent_metrics.grant_access(%L, ''admin'');', current_user);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_token_keeper() IS
    'Refuses whoever may not write ingest_tokens. Internal: create_ingest_token() and revoke_ingest_token() use it.';

CREATE FUNCTION agent_metrics.create_ingest_token(
    name text, agents text[] DEFAULT NULL, expires_at timestamptz DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
    token text;
BEGIN
    PERFORM agent_metrics_internal.check_token_keeper();
    IF coalesce(btrim(name), '') = '' THEN
        RAISE EXCEPTION 'a token without a name'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The name says who sends with it, and it is revoked by its name.',
                  HINT = 'SELECT agent_metrics.create_ingest_token(''support-team'', ARRAY[''support-bot'']);';
    END IF;
    IF agents IS NOT NULL AND (cardinality(agents) = 0 OR array_ndims(agents) <> 1
                               OR EXISTS (SELECT 1 FROM unnest(agents) AS a (id)
                                          WHERE coalesce(btrim(a.id), '') = '')) THEN
        RAISE EXCEPTION 'agents are %, which is no list of ids', agents
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A token may write the agents that it names, or, without a list, every agent.',
                  HINT = 'Give a list such as ARRAY[''support-bot''], or leave it out.';
    END IF;
    IF expires_at <= now() THEN
        RAISE EXCEPTION 'the token expires at %, which is past', expires_at
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It would open nothing.',
                  HINT = 'Give a moment to come, such as now() + interval ''90 days'', or leave it out.';
    END IF;
    token := agent_metrics_internal.new_token();
    INSERT INTO agent_metrics.ingest_tokens AS t (name, token_sha256, agents, expires_at)
    VALUES (name, sha256(convert_to(token, 'UTF8')), agents, expires_at)
    -- a name may be given again once its token opens nothing
    ON CONFLICT ON CONSTRAINT ingest_tokens_pkey DO UPDATE
    SET token_sha256 = excluded.token_sha256, agents = excluded.agents, made_at = now(),
        expires_at = excluded.expires_at, revoked_at = NULL
    WHERE t.revoked_at IS NOT NULL OR t.expires_at <= now();
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is a token "%" already', name
            USING ERRCODE = 'duplicate_object',
                  DETAIL = 'It is in use, and it cannot be shown again: only its hash is kept.',
                  HINT = format('Take another name, or revoke it first: SELECT agent_metrics.revoke_ingest_token(%L);',
                                name);
    END IF;
    RETURN token;
END
$function$;
COMMENT ON FUNCTION agent_metrics.create_ingest_token(text, text[], timestamptz) IS
    'Makes a token with which an exporter sends to agent-metrics collect, and returns it this once: only its hash is '
    'kept. It may write the named agents alone; without a list, every one.';

CREATE FUNCTION agent_metrics.revoke_ingest_token(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
BEGIN
    PERFORM agent_metrics_internal.check_token_keeper();
    UPDATE agent_metrics.ingest_tokens t SET revoked_at = coalesce(t.revoked_at, now())
    WHERE t.name = revoke_ingest_token.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no token "%"', name
            USING ERRCODE = 'undefined_object',
                  DETAIL = 'A token is revoked by the name that it was made with.',
                  HINT = 'SELECT t.name, t.made_at FROM agent_metrics.ingest_tokens t WHERE t.revoked_at IS NULL;';
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.revoke_ingest_token(text) IS
    'Revokes a token: agent-metrics collect refuses it within seconds. Its row stays, so that tokens go on being '
    'wanted.';
