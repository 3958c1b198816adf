-- Registering agents.

CREATE FUNCTION agent_metrics_internal.check_registered(agent_id text) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.agents a WHERE a.agent_id = check_registered.agent_id) THEN
        RAISE EXCEPTION 'unknown agent "%"', coalesce(check_registered.agent_id, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Only registered agents have numbers; the events of others are kept and listed in '
                           'agent_kpi.unregistered_agents.',
                  HINT = 'SELECT agent_id FROM agent_metrics.agents lists those that are registered; '
                         'agent_metrics.register_agent(agent_id, kind, owner) registers one.';
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_registered(text) IS
    'Refuses an agent that is not registered. Internal: functions that are asked of an agent use it.';

CREATE FUNCTION agent_metrics.register_agent(
    agent_id text, kind text, owner text, display_name text DEFAULT NULL, actor text DEFAULT NULL,
    cadence text DEFAULT NULL, time_zone text DEFAULT NULL, vertical text DEFAULT NULL,
    baseline_agent_id text DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    IF coalesce(btrim($1), '') = '' THEN
        RAISE EXCEPTION 'an agent needs an agent_id'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is the id that producers write in agent_metrics.agent_events.',
                  HINT = 'SELECT agent_metrics.register_agent(''support-bot'', ''support'', ''Head of Support'');';
    END IF;
    IF coalesce(btrim($3), '') = '' THEN
        RAISE EXCEPTION 'agent "%" has no owner', $1
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Its thresholds need somebody who answers for them.',
                  HINT = 'Name a person, role or team.';
    END IF;
    INSERT INTO agent_metrics.owners (owner) VALUES ($3) ON CONFLICT DO NOTHING;
    INSERT INTO agent_metrics.agents AS a (
        agent_id, kind, owner, display_name, actor, cadence, time_zone, vertical, baseline_agent_id)
    VALUES ($1, $2, $3, coalesce($4, $1), coalesce($5, 'ai'), $6, coalesce($7, 'UTC'), $8, $9)
    ON CONFLICT (agent_id) DO UPDATE SET
        kind = excluded.kind, owner = excluded.owner,
        display_name = coalesce($4, a.display_name), actor = coalesce($5, a.actor), cadence = coalesce($6, a.cadence),
        time_zone = coalesce($7, a.time_zone), vertical = coalesce($8, a.vertical),
        baseline_agent_id = coalesce($9, a.baseline_agent_id);
    -- A kind's thresholds are for its AI agents: people are not held to the latency of a machine.
    DELETE FROM agent_metrics.thresholds t
    USING agent_metrics.agents a
    WHERE t.agent_id = $1 AND t.is_from_kind AND a.agent_id = $1 AND a.actor = 'human';
    INSERT INTO agent_metrics.thresholds (
        agent_id, metric, effective_from, value, owner, effective_to, deputy, review_on, note, is_from_kind)
    SELECT $1, k.metric, k.effective_from, k.value, coalesce(k.owner, $3), k.effective_to, k.deputy,
           k.review_on, k.note, true
    FROM agent_metrics.kind_thresholds k
    JOIN agent_metrics.agents a ON a.agent_id = $1 AND a.actor = 'ai'
    WHERE k.kind = $2
      AND NOT EXISTS (SELECT 1 FROM agent_metrics.thresholds t WHERE t.agent_id = $1 AND t.metric = k.metric);
    RETURN $1;
END
$function$;
COMMENT ON FUNCTION agent_metrics.register_agent(text, text, text, text, text, text, text, text, text) IS
    'Registers an agent, an AI agent with its kind''s thresholds, owned by owner unless the kind names another; '
    'the owner is made if not known. '
    'NULL: the default, or what it was. Called again it changes what is given and nothing else.';
