-- Which agents are refreshed: under whose rights, in which order, what becomes of one that fails, and who is due.

-- A policy that hides rows from whoever refreshes would have them counted by nobody, and the watermark
-- would pass them by.
CREATE FUNCTION agent_metrics_internal.check_row_security() RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    hidden text := (SELECT c.relname FROM pg_class c
                    WHERE c.oid = ANY (ARRAY['agent_metrics.agent_events', 'agent_metrics.business_events',
                                             'agent_metrics_internal.changes', 'agent_metrics.agents',
                                             'agent_metrics.outcomes', 'agent_metrics.event_kinds',
                                             'agent_metrics.reviews', 'agent_metrics.tool_call_verdicts',
                                             'agent_metrics.turn_scores', 'agent_metrics.survey_answers',
                                             'agent_metrics.measurements', 'agent_metrics.metrics',
                                             'agent_metrics.conversations', 'agent_metrics_internal.leads',
                                             'agent_metrics_internal.rollups',
                                             'agent_metrics_internal.agent_watermarks',
                                             'agent_metrics_internal.archived_conversations',
                                             'agent_metrics_internal.archived_buckets',
                                             'agent_metrics_internal.archives',
                                             'agent_metrics_internal.archived_activity',
                                             'agent_metrics_internal.archived_eval_turns',
                                             'agent_metrics_internal.conversation_facts',
                                             'agent_metrics_internal.fact_sums', 'agent_metrics_internal.active_days',
                                             'agent_metrics.dimensions', 'agent_metrics.dimension_segments',
                                             'agent_metrics_internal.segment_builds',
                                             'agent_metrics_internal.conversation_segments',
                                             'agent_metrics_internal.segment_rollups',
                                             'agent_metrics_internal.segment_facts',
                                             'agent_metrics_internal.archived_segments',
                                             'agent_metrics_internal.archived_conversation_segments',
                                             'agent_metrics.settings', 'agent_metrics.agent_kinds',
                                             'agent_metrics_internal.stale_ranges',
                                             'agent_metrics_internal.known_partitions']::regclass[])
                      AND c.relrowsecurity AND row_security_active(c.oid) LIMIT 1);
BEGIN
    IF hidden IS NOT NULL THEN
        RAISE EXCEPTION 'row-level security hides rows of agent_metrics.% from role "%"', hidden, current_user
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = 'What it does not see would be in no number. Nothing was counted and no watermark moved.',
                  HINT = format('ALTER ROLE %I BYPASSRLS, or let the program run as the owner of the tables; '
                                'a policy with FORCE holds for the owner too.', current_user);
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_row_security() IS
    'Fails where a policy may hide rows of a table from whoever calls. Internal: refresh() and verify() use it.';

-- An agent that has to be built reads all its events, so it goes by itself; the others share one look at what is new.
CREATE FUNCTION agent_metrics_internal.refresh_agents(agent_ids text[], wait boolean DEFAULT true)
RETURNS SETOF agent_metrics.refresh_result
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
#variable_conflict use_column
DECLARE
    locked text[];  -- agents whose lock we hold
    one    agent_metrics.refresh_result;
    id     text;
BEGIN
    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RAISE NOTICE 'refresh in a transaction that has already written'
            USING DETAIL = 'What this transaction wrote is not committed, so it is not counted yet.',
                  HINT = 'The next refresh after COMMIT counts it; better: refresh in a transaction of its own.';
    END IF;
    PERFORM agent_metrics_internal.check_versions();
    PERFORM agent_metrics_internal.check_row_security();
    PERFORM agent_metrics_internal.check_registered(u.id)
    FROM unnest(refresh_agents.agent_ids) AS u (id)
    WHERE NOT EXISTS (SELECT 1 FROM agent_metrics.agents a WHERE a.agent_id = u.id);
    IF EXISTS (SELECT 1 FROM unnest(refresh_agents.agent_ids) AS u (id)
               WHERE NOT EXISTS (SELECT 1 FROM agent_metrics_internal.agent_watermarks w WHERE w.agent_id = u.id)) THEN
        INSERT INTO agent_metrics_internal.agent_watermarks (agent_id)
        SELECT u.id FROM unnest(refresh_agents.agent_ids) AS u (id) ORDER BY u.id
        ON CONFLICT DO NOTHING;
    END IF;

    -- The watermark row is the agent's lock. Always in the same order, so that two calls cannot wait for each other.
    IF refresh_agents.wait THEN
        SELECT array_agg(l.agent_id) INTO locked FROM (
            SELECT w.agent_id FROM agent_metrics_internal.agent_watermarks w
            WHERE w.agent_id = ANY (refresh_agents.agent_ids) ORDER BY w.agent_id FOR UPDATE) l;
    ELSE
        SELECT array_agg(l.agent_id) INTO locked FROM (
            SELECT w.agent_id FROM agent_metrics_internal.agent_watermarks w
            WHERE w.agent_id = ANY (refresh_agents.agent_ids) ORDER BY w.agent_id FOR UPDATE SKIP LOCKED) l;
    END IF;
    IF locked IS NULL THEN
        RETURN;
    END IF;

    -- Held before any snapshot is taken, so that no partition goes between a snapshot and its reading.
    LOCK TABLE ONLY agent_metrics.agent_events IN ACCESS SHARE MODE;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM agent_metrics_internal.check_partitions();
    END IF;
    PERFORM agent_metrics_internal.notice_partitions();

    FOR one IN SELECT * FROM agent_metrics_internal.refresh_batch(locked, false) LOOP
        locked := array_remove(locked, one.agent_id);
        RETURN NEXT one;
    END LOOP;
    FOREACH id IN ARRAY locked LOOP
        RETURN QUERY SELECT * FROM agent_metrics_internal.refresh_batch(ARRAY[id], true);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_agents(text[], boolean) IS
    'Brings the rollups of several agents up to date. wait: wait for a refresh of one of them that is running, '
    'or leave that agent out.';

-- All agents: together, and each by itself when that fails, so that one that cannot be refreshed, or that another
-- session holds, keeps no other from it. Whoever asks for all is told of those that were left.
CREATE FUNCTION agent_metrics_internal.refresh_each(agent_ids text[]) RETURNS SETOF agent_metrics.refresh_result
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $function$
#variable_conflict use_column
DECLARE
    id    text;
    left_out integer := 0;
    words text;
    why   text;
    cure  text;
    code  text;
BEGIN
    PERFORM agent_metrics_internal.check_versions();  -- none can be refreshed then
    BEGIN
        RETURN QUERY SELECT * FROM agent_metrics_internal.refresh_agents(agent_ids);
        RETURN;
    EXCEPTION WHEN OTHERS THEN
        IF cardinality(agent_ids) = 1 THEN
            RAISE;
        END IF;
    END;
    FOREACH id IN ARRAY agent_ids LOOP
        BEGIN
            RETURN QUERY SELECT * FROM agent_metrics_internal.refresh_agents(ARRAY[id]);
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS words = MESSAGE_TEXT, why = PG_EXCEPTION_DETAIL, cure = PG_EXCEPTION_HINT,
                code = RETURNED_SQLSTATE;
            left_out := left_out + 1;
            IF left_out < cardinality(agent_ids) THEN
                RAISE WARNING 'agent "%" was not refreshed: %', id, words
                    USING ERRCODE = code, DETAIL = why, HINT = cure;
            ELSE
                RAISE EXCEPTION '%', words USING ERRCODE = code, DETAIL = why, HINT = cure;
            END IF;
        END;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refresh_each(text[]) IS
    'Refreshes agents; one that fails, or that another session holds for more than five seconds, is left out with a '
    'warning. Internal: refresh() uses it.';

CREATE FUNCTION agent_metrics.refresh(agent_id text DEFAULT NULL)
RETURNS SETOF agent_metrics.refresh_result
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    IF $1 IS NOT NULL THEN
        RETURN QUERY SELECT * FROM agent_metrics_internal.refresh_agents(ARRAY[$1]);
    ELSE
        RETURN QUERY SELECT *
                     FROM agent_metrics_internal.refresh_each(ARRAY(SELECT a.agent_id
                                                                    FROM agent_metrics.agents a ORDER BY a.agent_id));
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics.refresh(text) IS
    'Brings the rollups of one agent, or of all when NULL, up to date; one row an agent. What is not committed yet is '
    'counted by a later refresh. Of all, one that cannot be refreshed is left out with a warning.';
