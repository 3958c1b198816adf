-- Registering agents.

CREATE FUNCTION agent_metrics.register_agent(
    agent_id text, kind text, owner text, display_name text DEFAULT NULL, actor text DEFAULT NULL, cadence text DEFAULT NULL,
    time_zone text DEFAULT NULL, vertical text DEFAULT NULL, baseline_agent_id text DEFAULT NULL)
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
    INSERT INTO agent_metrics.agents AS a (agent_id, kind, owner, display_name, actor, cadence, time_zone, vertical, baseline_agent_id)
    VALUES ($1, $2, $3, coalesce($4, $1), coalesce($5, 'ai'), $6, coalesce($7, 'UTC'), $8, $9)
    ON CONFLICT (agent_id) DO UPDATE SET
        kind = excluded.kind, owner = excluded.owner,
        display_name = coalesce($4, a.display_name), actor = coalesce($5, a.actor), cadence = coalesce($6, a.cadence),
        time_zone = coalesce($7, a.time_zone), vertical = coalesce($8, a.vertical), baseline_agent_id = coalesce($9, a.baseline_agent_id);
    INSERT INTO agent_metrics.thresholds (agent_id, metric, effective_from, value, owner, effective_to, deputy, review_on, note, is_from_kind)
    SELECT $1, d.metric, d.effective_from, d.value, d.owner, d.effective_to, d.deputy, d.review_on, d.note, true
    FROM (SELECT k.metric, k.effective_from, k.value, k.owner, k.effective_to, k.deputy, k.review_on, k.note
          FROM agent_metrics.kind_thresholds k WHERE k.kind = $2
          UNION ALL
          -- the defaults of the kind, which name no owner
          SELECT d.metric, '-infinity', d.value, $3, NULL, NULL, NULL, NULL
          FROM agent_metrics.agent_kind_thresholds d
          WHERE d.kind = $2 AND NOT EXISTS (SELECT FROM agent_metrics.kind_thresholds k
                                            WHERE k.kind = $2 AND k.metric = d.metric AND k.effective_from = '-infinity')) d
    WHERE NOT EXISTS (SELECT FROM agent_metrics.thresholds t WHERE t.agent_id = $1 AND t.metric = d.metric);
    RETURN $1;
END
$function$;
COMMENT ON FUNCTION agent_metrics.register_agent(text, text, text, text, text, text, text, text, text) IS
    'Registers an agent with its kind''s default thresholds, all owned by owner, who is made if not known. NULL: the default, or what it was. Called again it changes what is given and nothing else.';
