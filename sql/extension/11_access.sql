-- Who may do what. PUBLIC has the pure functions and nothing else.

CREATE FUNCTION agent_metrics.grant_access(role regrole, level text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    fact text;
    fact_columns text;
    reading regprocedure;
    way_in text;
BEGIN
    IF level IS NULL OR level NOT IN ('reader', 'writer', 'admin') THEN
        RAISE EXCEPTION 'unknown level of access "%"', level
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The levels are reader (the views of agent_kpi), writer (events and facts in) and admin (everything).',
                  HINT = format('SELECT agent_metrics.grant_access(%L, ''reader'');', role::text);
    END IF;
    IF level IN ('reader', 'admin') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA agent_kpi TO %s', role);
        EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA agent_kpi TO %s', role);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA agent_kpi GRANT SELECT ON TABLES TO %s', role);
        -- what the views call on their reader's behalf
        FOR reading IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'agent_metrics'::regnamespace AND p.proname LIKE 'kpi\_%' LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', reading, role);
        END LOOP;
    END IF;
    IF level IN ('writer', 'admin') THEN
        -- A writer may not choose the stamps by which a refresh finds his rows.
        FOR fact, fact_columns IN
            SELECT c.table_name, string_agg(quote_ident(c.column_name), ', ' ORDER BY c.ordinal_position)
            FROM information_schema.columns c
            WHERE c.table_schema = 'agent_metrics' AND c.table_name IN ('agent_events', 'business_events', 'tool_call_verdicts', 'turn_scores', 'survey_answers',
                                                                             'reviews', 'infrastructure_costs', 'eval_runs', 'eval_results')
              AND c.column_name NOT IN ('recorded_in', 'changed_in', 'source_table', 'content_hash')
            GROUP BY c.table_name
        LOOP
            EXECUTE format('GRANT SELECT (%1$s), INSERT (%1$s), UPDATE (%1$s) ON agent_metrics.%2$I TO %3$s', fact_columns, fact, role);
        END LOOP;
        -- ingest_events() works with the caller's rights.
        IF to_regclass('agent_metrics.quarantined_events') IS NOT NULL THEN
            EXECUTE format('GRANT SELECT ON agent_metrics.token_prices TO %s', role);
            EXECUTE format('GRANT SELECT, INSERT ON agent_metrics.quarantined_events, agent_metrics.span_keys TO %s', role);
            FOREACH way_in IN ARRAY ARRAY['ingest_events', 'map_events', 'map_spans', 'attributes', 'object_in', 'store_events', 'turn_cost', 'store_span_keys', 'store_evaluations',
                                         'read_evaluation', 'map_evaluation'] LOOP
                EXECUTE format('GRANT EXECUTE ON FUNCTION agent_metrics.%I TO %s', way_in, role);
            END LOOP;
        END IF;
    END IF;
    IF level = 'admin' THEN
        EXECUTE format('GRANT ALL ON ALL TABLES IN SCHEMA agent_metrics TO %s', role);
        EXECUTE format('GRANT ALL ON ALL SEQUENCES IN SCHEMA agent_metrics TO %s', role);
        EXECUTE format('GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA agent_metrics TO %s', role);
        EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA agent_metrics GRANT ALL ON TABLES TO %s', role);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.grant_access(regrole, text) IS
    'Gives a role access: reader (the views of agent_kpi), writer (events and facts in) or admin (all; what the program runs as).';

CREATE FUNCTION agent_metrics.revoke_access(role regrole) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA agent_kpi REVOKE SELECT ON TABLES FROM %s', role);
    EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA agent_metrics REVOKE ALL ON TABLES FROM %s', role);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA agent_kpi, agent_metrics FROM %s', role);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA agent_metrics FROM %s', role);
    EXECUTE format('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA agent_metrics FROM %s', role);
    EXECUTE format('REVOKE USAGE ON SCHEMA agent_kpi FROM %s', role);
END
$function$;
COMMENT ON FUNCTION agent_metrics.revoke_access(regrole) IS 'Takes away what grant_access gave a role.';

-- Every function that touches tables (those not written in C or as one SQL expression) is the installer's to give.
DO $block$
DECLARE
    signature regprocedure;
BEGIN
    FOR signature IN
        SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = 'agent_metrics'::regnamespace AND (l.lanname = 'plpgsql' OR (l.lanname = 'sql' AND p.provolatile <> 'i'))
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', signature);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO @extowner@ WITH GRANT OPTION', signature);
    END LOOP;
END
$block$;
