-- The steps of an archive, each a transaction of its own, called by `agent-metrics archive`. A kill between any two
-- leaves the turns in the database, in a checked file, or in both; the next run goes on from what `archives` says.
--   begin_archive      the partition notes from here on what is written to it
--   (the program)      writes the file, reads it back, compares count and checksum
--   condense_archive   what the turns add up to, kept beside them
--   detach_archive     at once: the partition goes, an empty one takes its place, the condensed turns count instead
--   drop_archive       the table goes

-- Partitions whose last report day is older than the hot ones, counted from the last refresh, and that hold turns;
-- those left half done first.
CREATE OR REPLACE FUNCTION agent_metrics.archivable_partitions()
RETURNS TABLE (partition text, from_time timestamptz, to_time timestamptz, archive_id bigint, state text, file text)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    zone   text := agent_metrics_internal.report_time_zone();
    -- The clock is believed as far as the last refresh: one that has leapt since would take what is hot for old.
    cutoff timestamptz := agent_metrics_internal.day_start(
        agent_metrics_internal.day_of(
            least(now(), (SELECT max(w.refreshed_at) FROM agent_metrics_internal.agent_watermarks w)), zone)
                                                  - (SELECT s.value::integer
                                                     FROM agent_metrics.settings s WHERE s.name = 'hot_days'), zone);
    one    record;
    has_turns boolean;
BEGIN
    RETURN QUERY
    SELECT a.partition, a.from_time, a.to_time, a.archive_id, a.state, a.file
    FROM agent_metrics_internal.archives a
    -- of one that somebody dropped or detached meanwhile nothing is left to do; the next begin_archive() forgets it
    WHERE a.state = 'detached'
       OR a.state = 'writing' AND agent_metrics_internal.partition_state(a.partition) IS NOT NULL
    ORDER BY a.from_time;
    FOR one IN
        SELECT p.partition, p.from_time, p.to_time FROM agent_metrics_internal.present_partitions() p
        -- one in another schema is not ours to rename and drop
        JOIN pg_class c ON c.relname = p.partition AND c.relnamespace = 'agent_metrics'::regnamespace
        JOIN pg_inherits i ON i.inhrelid = c.oid AND i.inhparent = 'agent_metrics.agent_events'::regclass
        WHERE isfinite(p.from_time) AND p.to_time <= cutoff
          AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.archives a
                          WHERE a.partition = p.partition AND a.state IN ('writing', 'detached'))
        ORDER BY p.from_time
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM agent_metrics.%I)', one.partition) INTO has_turns;
        IF has_turns THEN
            RETURN QUERY SELECT one.partition, one.from_time, one.to_time, NULL::bigint, NULL, NULL;
        END IF;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics.archivable_partitions() IS
    'Partitions that agent-metrics archive has to do: those it left half done, and those with turns that are older '
    'than the setting hot_days.';
REVOKE ALL ON FUNCTION agent_metrics.archivable_partitions() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.guard_partition(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms' SET client_min_messages = warning AS $function$
DECLARE
    one regclass;
BEGIN
    PERFORM agent_metrics_internal.check_unused(name);
    -- The lock waits for whoever is writing to this partition, so whatever is written later is noted.
    EXECUTE format('LOCK TABLE agent_metrics.%I IN SHARE ROW EXCLUSIVE MODE', name);
    IF NOT EXISTS (SELECT 1 FROM pg_trigger t
                   WHERE t.tgrelid = format('agent_metrics.%I', name)::regclass AND t.tgname = 'guard_turn'
                     -- another name: it was renamed since
                     AND t.tgargs = convert_to(name, getdatabaseencoding()) || '\x00'::bytea) THEN
        FOR one IN SELECT p.relid FROM pg_partition_tree(format('agent_metrics.%I', name)::regclass) p
                   JOIN pg_trigger t ON t.tgrelid = p.relid AND t.tgname = 'guard_turn' AND t.tgparentid = 0 LOOP
            EXECUTE format('DROP TRIGGER guard_turn ON %s', one);
        END LOOP;
        EXECUTE format('CREATE TRIGGER guard_turn AFTER INSERT OR UPDATE OR DELETE ON agent_metrics.%I
                        FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.guard_turn(%L)', name, name);
    END IF;
    FOR one IN SELECT p.relid FROM pg_partition_tree(format('agent_metrics.%I', name)::regclass) p
               JOIN pg_trigger t ON t.tgrelid = p.relid AND t.tgname = 'guard_turn' AND t.tgenabled <> 'A' LOOP
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER guard_turn', one);
    END LOOP;
    DELETE FROM agent_metrics_internal.guarded_turns g WHERE g.partition = name;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.guard_partition(text) IS
    'Has a partition note from here on what is written to it. Internal: the archive and the splitting '
    'of partitions use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.guard_partition(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.forget_archive(id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    DELETE FROM agent_metrics_internal.archived_conversations c WHERE c.archive_id = forget_archive.id;
    DELETE FROM agent_metrics_internal.archived_buckets c WHERE c.archive_id = forget_archive.id;
    DELETE FROM agent_metrics_internal.archived_activity c WHERE c.archive_id = forget_archive.id;
    DELETE FROM agent_metrics_internal.archived_model_costs c WHERE c.archive_id = forget_archive.id;
    DELETE FROM agent_metrics_internal.archived_eval_turns c WHERE c.archive_id = forget_archive.id;
    DELETE FROM agent_metrics_internal.archived_segments c WHERE c.archive_id = forget_archive.id;
    DELETE FROM agent_metrics_internal.archived_conversation_segments c WHERE c.archive_id = forget_archive.id;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.forget_archive(bigint) IS
    'Removes what is kept of the turns of an archive: they are in the database. '
    'Internal: begin_archive() and finish_restore() use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.forget_archive(bigint) FROM PUBLIC;

-- A month that was filled by itself, or while triggers were off, may hold turns that no insert would take, and a
-- restore inserts: they are tried on a table that is never committed.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_restorable(name text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET row_security = off AS $function$
DECLARE
    words text;
    cure  text;
BEGIN
    PERFORM agent_metrics_internal.check_free(name || '_checked');
    EXECUTE format('CREATE UNLOGGED TABLE agent_metrics.%I (LIKE agent_metrics.agent_events)', name || '_checked');
    EXECUTE format('CREATE TRIGGER zz_check_turn BEFORE INSERT ON agent_metrics.%I FOR EACH ROW EXECUTE FUNCTION '
                   'agent_metrics_internal.check_turn()', name || '_checked');
    EXECUTE format('INSERT INTO agent_metrics.%I SELECT e.* FROM agent_metrics.agent_events e
                    JOIN agent_metrics_internal.present_partitions() p
                      ON p.partition = %L AND e.occurred_at >= p.from_time AND e.occurred_at < p.to_time',
                   name || '_checked', name);
    RAISE EXCEPTION USING ERRCODE = 'AM000', MESSAGE = 'each of them is fit';
EXCEPTION
    WHEN SQLSTATE 'AM000' THEN
        NULL;
    WHEN OTHERS THEN
        IF SQLSTATE NOT LIKE '22%' AND SQLSTATE NOT LIKE '23%' THEN
            RAISE;
        END IF;
        GET STACKED DIAGNOSTICS words = MESSAGE_TEXT, cure = PG_EXCEPTION_HINT;
        RAISE EXCEPTION 'partition % holds a turn that no restore could bring back: %', name, words
            USING ERRCODE = 'check_violation',
                  DETAIL = 'It came while the triggers of agent_events did not check it. Nothing was archived.',
                  HINT = format('Mend it by UPDATE agent_metrics.%I, or delete it; then archive again. %s', name, cure);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_restorable(text) IS
    'Refuses a partition with turns that agent_events would not take back. Internal: begin_archive() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_restorable(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics.begin_archive(name text, folder text, file text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_variable
DECLARE
    id bigint;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.archivable_partitions() p WHERE p.partition = name) THEN
        RAISE EXCEPTION 'partition "%" is not to be archived', name
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is no monthly partition of agent_events, is younger than the setting '
                           'hot_days, or holds no turn.',
                  HINT = 'SELECT * FROM agent_metrics.archivable_partitions() lists what is.';
    END IF;
    -- Those whose partition somebody dropped or detached before it was archived.
    FOR id IN DELETE FROM agent_metrics_internal.archives a
              WHERE a.state = 'writing' AND agent_metrics_internal.partition_state(a.partition) IS NULL
              RETURNING a.archive_id LOOP
        PERFORM agent_metrics_internal.forget_archive(id);
    END LOOP;
    id := NULL;
    -- Before the lock that the guard takes: it reads the whole month, and what is written since was checked.
    PERFORM agent_metrics_internal.check_free(name || '_archived'), agent_metrics_internal.check_restorable(name);
    PERFORM agent_metrics_internal.guard_partition(name);
    UPDATE agent_metrics_internal.archives a
    SET folder = begin_archive.folder, file = begin_archive.file, began_at = now(), checksum = NULL,
        from_time = p.from_time, to_time = p.to_time, mark = agent_metrics_internal.partition_state(name)
    FROM agent_metrics_internal.present_partitions() p
    WHERE a.partition = name AND a.state = 'writing' AND p.partition = name RETURNING a.archive_id INTO id;
    IF id IS NULL THEN
        INSERT INTO agent_metrics_internal.archives (partition, from_time, to_time, state, folder, file, mark)
        SELECT p.partition, p.from_time, p.to_time, 'writing', folder, file,
               agent_metrics_internal.partition_state(name)
        FROM agent_metrics_internal.present_partitions() p WHERE p.partition = name RETURNING archive_id INTO id;
    END IF;
    PERFORM agent_metrics_internal.forget_archive(id);
    RETURN id;
END
$function$;
COMMENT ON FUNCTION agent_metrics.begin_archive(text, text, text) IS
    'Begins to archive a partition, or begins again. Internal: agent-metrics archive uses it.';
REVOKE ALL ON FUNCTION agent_metrics.begin_archive(text, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics.condense_archive(id bigint, turns bigint, checksum text, bytes bigint)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET plan_cache_mode = force_custom_plan SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    one agent_metrics_internal.archives;
BEGIN
    UPDATE agent_metrics_internal.archives a
    SET turns = condense_archive.turns, checksum = condense_archive.checksum, bytes = condense_archive.bytes
    WHERE a.archive_id = id AND a.state = 'writing' RETURNING a.* INTO STRICT one;
    INSERT INTO agent_metrics_internal.archived_buckets (agent_id, bucket, archive_id, turns, token_turns, tokens_input,
                                                         tokens_output, cost_turns, tool_calls,
                                                         error_turns, cost_usd, latency)
    SELECT t.agent_id, t.bucket, id, t.turns, t.token_turns, t.tokens_input, t.tokens_output, t.cost_turns,
           t.tool_calls, t.error_turns, t.cost_usd, t.latency
    FROM (SELECT array_agg(DISTINCT e.agent_id) AS agents FROM agent_metrics.agent_events e
          WHERE e.occurred_at >= one.from_time AND e.occurred_at < one.to_time) a
    CROSS JOIN LATERAL (SELECT cardinality(a.agents) AS n) c
    -- every turn that is here counts, whatever cluster its id is of
    CROSS JOIN LATERAL agent_metrics_internal.compute_live_turns(a.agents, array_fill(one.from_time, ARRAY[c.n]),
        array_fill(one.to_time, ARRAY[c.n]), array_fill(NULL::pg_snapshot, ARRAY[c.n]),
        array_fill(pg_current_snapshot(), ARRAY[c.n]), array_fill('18446744073709551615'::xid8, ARRAY[c.n]),
        array_fill(300, ARRAY[c.n]), agent_metrics_internal.report_time_zone(), '0') t
    WHERE a.agents IS NOT NULL;

    INSERT INTO agent_metrics_internal.archived_activity (agent_id, archive_id, spans)
    SELECT s.agent_id, id, range_agg(s.span)
    FROM (SELECT array_agg(DISTINCT b.agent_id) AS agents
          FROM agent_metrics_internal.archived_buckets b WHERE b.archive_id = id) a
    CROSS JOIN LATERAL (SELECT cardinality(a.agents) AS n) c
    CROSS JOIN LATERAL agent_metrics_internal.compute_spans(a.agents, array_fill(one.from_time, ARRAY[c.n]),
        array_fill(one.to_time, ARRAY[c.n]), array_fill(NULL::pg_snapshot, ARRAY[c.n]),
        array_fill(pg_current_snapshot(), ARRAY[c.n]), array_fill('18446744073709551615'::xid8, ARRAY[c.n]), '0') s
    -- there may be none but turns of evaluations
    WHERE a.agents IS NOT NULL
    GROUP BY s.agent_id;

    -- for bills, which are by day in UTC and by model
    INSERT INTO agent_metrics_internal.archived_model_costs (
        agent_id, archive_id, line, day, provider, model, turns, unpriced_turns, cost_usd, computed_usd)
    SELECT m.agent_id, id, row_number() OVER (PARTITION BY m.agent_id ORDER BY m.day, m.provider, m.model), m.day,
           m.provider, m.model, m.turns, m.unpriced, m.cost_usd, m.computed_usd
    FROM (SELECT e.agent_id, (e.occurred_at AT TIME ZONE 'UTC')::date AS day, e.provider, e.model, count(*) AS turns,
                 count(*) - count(e.cost_usd) AS unpriced, sum(e.cost_usd) AS cost_usd,
                 sum(e.cost_usd) FILTER (WHERE e.cost_usd = e.computed_cost_usd) AS computed_usd
          FROM agent_metrics.agent_events e
          WHERE e.occurred_at >= one.from_time AND e.occurred_at < one.to_time
            AND (e.model IS NOT NULL OR e.cost_usd IS NOT NULL)
          GROUP BY 1, 2, 3, 4) m;

    INSERT INTO agent_metrics_internal.archived_eval_turns (agent_id, occurred_at, event_id, archive_id)
    SELECT e.agent_id, e.occurred_at, e.event_id, id
    FROM agent_metrics.agent_events e
    WHERE e.occurred_at >= one.from_time AND e.occurred_at < one.to_time AND e.is_eval;

    INSERT INTO agent_metrics_internal.archived_conversations (conversation_id, agent_id, archive_id, part, occurred_at,
                                                               ended_at, turns, token_turns, tokens, cost_usd, user_id)
    SELECT e.conversation_id, e.agent_id, id, '', min(e.occurred_at), max(e.occurred_at), count(*),
           count(coalesce(agent_metrics_internal.possible_tokens(e.token_usage_input),
                          agent_metrics_internal.possible_tokens(e.token_usage_output))),
           sum(coalesce(agent_metrics_internal.possible_tokens(e.token_usage_input), 0)
               + coalesce(agent_metrics_internal.possible_tokens(e.token_usage_output), 0))::bigint,
           coalesce(sum(agent_metrics_internal.possible_cost(e.cost_usd)), 0), min(e.user_id COLLATE "C")
    FROM agent_metrics.agent_events e
    WHERE e.occurred_at >= one.from_time AND e.occurred_at < one.to_time AND NOT e.is_eval
    GROUP BY e.conversation_id, e.agent_id;
    INSERT INTO agent_metrics_internal.archived_conversations (conversation_id, agent_id, archive_id, part, occurred_at,
                                                               ended_at, outcome_label,
                                                               outcome_source, turn_index, event_id)
    SELECT DISTINCT ON (e.conversation_id, e.agent_id, e.outcome_source)
           e.conversation_id, e.agent_id, id, e.outcome_source, e.occurred_at, e.occurred_at, e.outcome_label,
           e.outcome_source, e.turn_index, e.event_id
    FROM agent_metrics.agent_events e
    WHERE e.occurred_at >= one.from_time AND e.occurred_at < one.to_time AND NOT e.is_eval
      AND e.outcome_label IS NOT NULL
    ORDER BY e.conversation_id, e.agent_id, e.outcome_source, e.occurred_at DESC,
             e.turn_index DESC NULLS LAST, e.event_id DESC;
    INSERT INTO agent_metrics_internal.archived_conversations (
        conversation_id, agent_id, archive_id, part, occurred_at, ended_at, business_event_id)
    SELECT e.conversation_id, e.agent_id, id, 'event ' || agent_metrics_internal.fitting(e.business_event_id, 1024),
           min(e.occurred_at), max(e.occurred_at), e.business_event_id
    FROM agent_metrics.agent_events e
    WHERE e.occurred_at >= one.from_time AND e.occurred_at < one.to_time AND NOT e.is_eval
      AND e.business_event_id IS NOT NULL
    GROUP BY e.conversation_id, e.agent_id, e.business_event_id;
    PERFORM agent_metrics_internal.condense_segments(id, one.from_time, one.to_time);
END
$function$;
COMMENT ON FUNCTION agent_metrics.condense_archive(bigint, bigint, text, bigint) IS
    'Keeps what the turns of an archive, whose file was read back, add up to. Internal: agent-metrics archive uses it.';
REVOKE ALL ON FUNCTION agent_metrics.condense_archive(bigint, bigint, text, bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics.detach_archive(id bigint) RETURNS text[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms' SET client_min_messages = warning AS $function$
#variable_conflict use_column
DECLARE
    one    agent_metrics_internal.archives := (
        SELECT a FROM agent_metrics_internal.archives a
        WHERE a.archive_id = id AND a.state = 'writing' AND a.checksum IS NOT NULL);
    behind text[];
BEGIN
    IF one.archive_id IS NULL THEN
        RAISE EXCEPTION 'archive % is not ready to be detached', id
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Its file was not written and read back yet.',
                  HINT = 'Run agent-metrics archive.';
    END IF;
    -- From here on inserts wait.
    LOCK TABLE ONLY agent_metrics.agent_events IN ACCESS EXCLUSIVE MODE;
    IF agent_metrics_internal.partition_state(one.partition) IS NOT NULL THEN
        EXECUTE format('LOCK TABLE agent_metrics.%I IN ACCESS EXCLUSIVE MODE', one.partition);
    END IF;
    IF EXISTS (SELECT 1 FROM agent_metrics_internal.guarded_turns g WHERE g.partition = one.partition)
       OR agent_metrics_internal.partition_state(one.partition) IS DISTINCT FROM one.mark THEN
        RAISE EXCEPTION 'partition % was changed while it was archived', one.partition
            USING ERRCODE = 'serialization_failure',
                  DETAIL = 'The file does not hold what the partition holds.',
                  HINT = 'Archive it again.';
    END IF;
    -- Turns that an agent's rollups do not count yet would be counted by nobody: these agents are refreshed first. An
    -- id of another cluster is told from one of ours by that its row is here and the id is not visible.
    EXECUTE format('SELECT array_agg(DISTINCT e.agent_id)
                    FROM agent_metrics.%I e JOIN agent_metrics_internal.agent_watermarks w ON w.agent_id = e.agent_id
                    WHERE e.recorded_in >= (SELECT min(pg_snapshot_xmin(x.snapshot))
                                            FROM agent_metrics_internal.agent_watermarks x)
                      AND w.snapshot IS NOT NULL AND w.origin = $1
                      AND NOT pg_visible_in_snapshot(e.recorded_in, w.snapshot)
                      AND (w.foreign_to IS NULL OR e.recorded_in > w.foreign_to
                           OR pg_visible_in_snapshot(e.recorded_in, pg_current_snapshot()))',
                   one.partition)
    INTO behind USING agent_metrics_internal.origin();
    IF behind IS NOT NULL THEN
        RETURN behind;
    END IF;
    PERFORM agent_metrics_internal.check_unused(one.partition),
            agent_metrics_internal.check_free(one.partition || '_archived');
    PERFORM agent_metrics_internal.notice_partitions();
    PERFORM agent_metrics_internal.detach_partition(one.partition);
    EXECUTE format('ALTER TABLE agent_metrics.%I RENAME TO %I', one.partition, one.partition || '_archived');
    PERFORM agent_metrics_internal.make_partition(one.partition, one.from_time, one.to_time);
    PERFORM agent_metrics_internal.attach_partition(one.partition, one.from_time, one.to_time);
    PERFORM agent_metrics_internal.adopt_partitions();
    UPDATE agent_metrics_internal.archives a SET state = 'detached' WHERE a.archive_id = id;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics.detach_archive(bigint) IS
    'Puts an empty partition in the place of an archived one, whose condensed turns count from here on; '
    'or returns the agents that have to be refreshed first. Waits 100 ms for its lock at most. '
    'Internal: agent-metrics archive uses it.';
REVOKE ALL ON FUNCTION agent_metrics.detach_archive(bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics.drop_archive(id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '100ms' SET client_min_messages = warning AS $function$
#variable_conflict use_column
DECLARE
    name text := (SELECT a.partition
                  FROM agent_metrics_internal.archives a WHERE a.archive_id = id AND a.state = 'detached');
BEGIN
    PERFORM agent_metrics_internal.check_unused(name || '_archived');
    EXECUTE format('DROP TABLE IF EXISTS agent_metrics.%I', name || '_archived');
    UPDATE agent_metrics_internal.archives a SET state = 'archived', finished_at = clock_timestamp()
    WHERE a.archive_id = id AND a.state = 'detached';
END
$function$;
COMMENT ON FUNCTION agent_metrics.drop_archive(bigint) IS
    'Drops the table of a detached archive. Internal: agent-metrics archive uses it.';
REVOKE ALL ON FUNCTION agent_metrics.drop_archive(bigint) FROM PUBLIC;

-- In the transaction that put the turns back. They carry its stamp, so a refresh takes them for new, and the sums that
-- stood for them are gone: all of the month is computed again.
CREATE OR REPLACE FUNCTION agent_metrics.finish_restore(id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    one agent_metrics_internal.archives;
BEGIN
    UPDATE agent_metrics_internal.archives a SET state = 'restored', finished_at = clock_timestamp()
    WHERE a.archive_id = id AND a.state = 'archived' RETURNING a.* INTO STRICT one;
    PERFORM agent_metrics_internal.forget_archive(id);
    INSERT INTO agent_metrics_internal.stale_ranges (agent_id, from_time, to_time)
    SELECT a.agent_id, one.from_time, one.to_time FROM agent_metrics.agents a ON CONFLICT DO NOTHING;
END
$function$;
COMMENT ON FUNCTION agent_metrics.finish_restore(bigint) IS
    'The turns of an archive are in the database again. Internal: agent-metrics restore uses it.';
REVOKE ALL ON FUNCTION agent_metrics.finish_restore(bigint) FROM PUBLIC;
