-- Who is due.

CREATE FUNCTION agent_metrics.due_agents(at timestamptz DEFAULT now())
RETURNS TABLE (agent_id text, cadence text, time_zone text, refreshed_at timestamptz, due_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.agent_id, d.cadence, d.time_zone, d.refreshed_at, d.due_at
    FROM agent_metrics_internal.schedules d
    WHERE d.due_at <= due_agents.at
    ORDER BY d.due_at, d.agent_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics.due_agents(timestamptz) IS
    'Agents whose cadence has fired since their last refresh, or whose settings have changed since. '
    'However many firings were missed, an agent is due once.';
