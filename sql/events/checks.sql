-- Triggers that check, stamp and log what is written, whichever way it comes: application, COPY, subscription, a
-- session in replica role, data loaded alone. setup() makes those that are missing and has them fire always.

CREATE FUNCTION agent_metrics_internal.check_turn() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.check_turn() IS
    'Trigger of agent_events: refuses an impossible turn and stamps an inserted one with its transaction; '
    'an updated one keeps its stamp.';

CREATE FUNCTION agent_metrics_internal.check_row() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.check_row() IS
    'Trigger of tables that people write: refuses texts that are too long, moments that are too far and JSON that is '
    'too deep, by the names of the columns, and stamps the row.';

CREATE FUNCTION agent_metrics_internal.stamp_row() RETURNS trigger
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.stamp_row() IS 'Trigger of the log of changes: stamps the row.';

-- The names begin with zz, since triggers fire in the order of their names: one of a user's own, which may change the
-- row, comes first.
CREATE FUNCTION agent_metrics_internal.fact_triggers()
RETURNS TABLE (relation text, trigger_name text, fires text, level text, function_name text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT v.relation, v.trigger_name, v.fires, v.level, 'agent_metrics_internal.' || v.function_name
    FROM (VALUES
        ('agent_metrics.agent_events', 'zz_check_turn', 'BEFORE INSERT OR UPDATE', 'ROW', 'check_turn'),
        -- BEFORE, because an update that moves a row to another partition fires no AFTER UPDATE trigger
        ('agent_metrics.agent_events', 'zz_log_event_update', 'BEFORE UPDATE', 'ROW', 'log_event_update'),
        ('agent_metrics.agent_events', 'log_event_delete', 'AFTER DELETE', 'ROW', 'log_event_delete'),
        ('agent_metrics.agent_events', 'log_truncate', 'AFTER TRUNCATE', 'STATEMENT', 'log_truncate'),
        ('agent_metrics.agents', 'follow_agent', 'AFTER INSERT OR DELETE', 'ROW', 'follow_agent'),
        ('agent_metrics.business_events', 'log_business_event', 'BEFORE UPDATE OR DELETE', 'ROW', 'log_business_event'),
        ('agent_metrics.outcomes', 'log_outcome', 'BEFORE UPDATE OR DELETE', 'ROW', 'log_outcome'),
        ('agent_metrics.event_kinds', 'log_event_kind', 'BEFORE UPDATE OR DELETE', 'ROW', 'log_event_kind'),
        -- the log tells of rows that were accepted before anything was checked, so it is only stamped
        ('agent_metrics_internal.changes', 'zz_stamp_row', 'BEFORE INSERT OR UPDATE', 'ROW', 'stamp_row'),
        ('agent_metrics.turn_scores', 'check_fact', 'BEFORE INSERT OR UPDATE', 'ROW', 'check_turn_score'),
        ('agent_metrics.survey_answers', 'check_fact', 'BEFORE INSERT OR UPDATE', 'ROW', 'check_survey_answer'),
        ('agent_metrics.measurements', 'check_fact', 'BEFORE INSERT OR UPDATE', 'ROW', 'check_measurement'),
        ('agent_metrics.reviews', 'check_fact', 'BEFORE INSERT OR UPDATE', 'ROW', 'check_review'))
            AS v (relation, trigger_name, fires, level, function_name)
    UNION ALL
    SELECT 'agent_metrics.' || u.name, 'log_fact', 'BEFORE INSERT OR UPDATE OR DELETE', 'ROW',
           'agent_metrics_internal.log_fact'
    FROM unnest(ARRAY['tool_call_verdicts', 'turn_scores', 'survey_answers', 'measurements', 'reviews']) AS u (name)
    UNION ALL
    SELECT 'agent_metrics.' || u.name, 'log_truncate', 'AFTER TRUNCATE', 'STATEMENT',
           'agent_metrics_internal.log_truncate'
    FROM unnest(ARRAY['business_events', 'outcomes', 'event_kinds', 'tool_call_verdicts', 'turn_scores',
                      'survey_answers', 'measurements', 'reviews']) AS u (name)
    UNION ALL
    SELECT CASE u.name WHEN 'span_keys' THEN 'agent_metrics_internal.' ELSE 'agent_metrics.' END || u.name,
           'zz_check_row', 'BEFORE INSERT OR UPDATE', 'ROW', 'agent_metrics_internal.check_row'
    FROM unnest(ARRAY['agents', 'agent_kinds', 'owners', 'outcomes', 'event_kinds', 'business_events',
                      'tool_call_verdicts', 'turn_scores', 'survey_answers', 'measurements', 'reviews',
                      'infrastructure_costs',
                      'billing_lines', 'refused_bills', 'token_prices', 'model_aliases', 'model_services', 'eval_sets',
                      'eval_cases', 'eval_runs', 'eval_results', 'quarantined_events', 'span_keys']) AS u (name);
END;
COMMENT ON FUNCTION agent_metrics_internal.fact_triggers() IS
    'The triggers that every row of facts passes: which table, when, for each what, which function. '
    'Internal: setup() makes them.';

-- What a person or a loader switched off: the rows that came since were neither checked nor stamped nor logged.
CREATE FUNCTION agent_metrics_internal.broken_triggers() RETURNS TABLE (relation text, trigger_name text, problem text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN QUERY
    SELECT f.relation, f.trigger_name, CASE WHEN t.oid IS NULL THEN 'is missing'
                                            WHEN t.tgenabled = 'D' THEN 'is disabled'
                                            ELSE 'does not fire always' END
    FROM agent_metrics_internal.fact_triggers() f
    LEFT JOIN pg_trigger t ON t.tgrelid = to_regclass(f.relation) AND t.tgname = f.trigger_name
    WHERE t.tgenabled IS DISTINCT FROM 'A'
    UNION ALL
    -- a partition has its own, which can be switched off by itself
    SELECT c.oid::regclass::text, f.trigger_name, CASE WHEN t.oid IS NULL THEN 'is missing'
                                                       WHEN t.tgenabled = 'D' THEN 'is disabled'
                                                       ELSE 'does not fire always' END
    FROM pg_partition_tree('agent_metrics.agent_events') p
    JOIN pg_class c ON c.oid = p.relid AND p.level > 0
    JOIN agent_metrics_internal.fact_triggers() f ON f.relation = 'agent_metrics.agent_events'
    LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = f.trigger_name
    -- that of TRUNCATE is made for each partition; how one without it was emptied is seen by its file
    WHERE t.tgenabled IS DISTINCT FROM 'A' AND NOT (f.level = 'STATEMENT' AND t.oid IS NULL)
    ORDER BY 1, 2;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.broken_triggers() IS
    'Triggers of facts that are missing, disabled or do not fire always; setup() puts them right, and rebuild() counts '
    'what came meanwhile.';
