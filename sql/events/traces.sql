-- The doors through which spans come, what waits, and how traces are closed.

-- The role that calls a function which runs with the owner's rights: current_user is the owner there.
CREATE OR REPLACE FUNCTION agent_metrics_internal.sending_role() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN 'role ' || CASE current_setting('role') WHEN 'none' THEN session_user::text ELSE current_setting('role') END;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.sending_role() IS
    'The sender that a role is, as no session can choose it. Internal: intake_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.sending_role() FROM PUBLIC;

-- The door for writers: as whom they came is not theirs to say.
CREATE OR REPLACE FUNCTION agent_metrics_internal.intake_spans(
    pieces agent_metrics_internal.delivered_piece[], OUT stored bigint, OUT repeated bigint, OUT waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    SELECT t.stored, t.repeated, t.waiting INTO stored, repeated, waiting
    FROM agent_metrics_internal.take_spans(
             agent_metrics_internal.sending_role(), NULL, pieces) t;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.intake_spans(agent_metrics_internal.delivered_piece[]) IS
    'Takes spans of the role that calls. Internal: ingest_events() calls it for writers.';
REVOKE ALL ON FUNCTION agent_metrics_internal.intake_spans(agent_metrics_internal.delivered_piece[]) FROM PUBLIC;

-- Traces whose turns wait, tried again: of the role that calls, or, for a sender of NULL, of all.
CREATE OR REPLACE FUNCTION agent_metrics_internal.take_waiting(
    sender text, OUT stored bigint, OUT waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    one   record;
    found record;
BEGIN
    stored := 0;
    waiting := 0;
    FOR one IN
        SELECT l.sender, array_agg(l.trace_id) AS traces
        FROM (SELECT t.sender, t.trace_id, row_number() OVER (ORDER BY t.sender, t.trace_id) / 500 AS portion
              FROM (SELECT x.sender, x.trace_id FROM agent_metrics_internal.traces x
                    WHERE x.waiting_turns > 0 AND ($1 IS NULL OR x.sender = $1)
                    ORDER BY x.sender, x.trace_id FOR UPDATE SKIP LOCKED) t) l
        GROUP BY l.sender, l.portion ORDER BY l.portion
    LOOP
        SELECT r.* INTO found
        FROM agent_metrics_internal.reconcile_traces(
                 one.sender, agent_metrics_internal.agents_of_sender(one.sender), one.traces) r;
        stored := stored + found.stored;
        waiting := waiting + found.waiting;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.take_waiting(text) IS
    'Tries the waiting turns of a sender again, of all for NULL: how many came in and how many wait on. '
    'Internal: intake_waiting() and close_traces() use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.take_waiting(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.agents_of_sender(sender text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    agents text[];
BEGIN
    IF NOT starts_with(sender, 'token ') THEN
        RETURN NULL;
    END IF;
    SELECT t.agents INTO agents FROM agent_metrics.ingest_tokens t WHERE sender = 'token ' || t.name;
    -- a token whose row is gone may write nothing
    RETURN CASE WHEN FOUND THEN agents ELSE '{}' END;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.agents_of_sender(text) IS
    'The agents that a sender may write; NULL: any. Internal: ingest_as() and take_waiting() use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.agents_of_sender(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.intake_waiting(OUT stored bigint, OUT waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    SELECT t.stored, t.waiting INTO stored, waiting
    FROM agent_metrics_internal.take_waiting(agent_metrics_internal.sending_role()) t;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.intake_waiting() IS
    'Tries the waiting turns of the role that calls again. Internal: retry_quarantined() calls it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.intake_waiting() FROM PUBLIC;

-- What the mapper is told of names; writers deliver, and have no right on these tables.
CREATE OR REPLACE FUNCTION agent_metrics_internal.intake_words(OUT vocabulary text, OUT kept text[])
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    SELECT w.vocabulary, w.kept INTO vocabulary, kept FROM agent_metrics_internal.span_words() w;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.intake_words() IS
    'The vocabulary and the attributes that are kept. Internal: ingest_events() calls it for writers.';
REVOKE ALL ON FUNCTION agent_metrics_internal.intake_words() FROM PUBLIC;

-- A trace is closed span_days after its last span: what is known of it goes, and later spans only add. What still waits
-- becomes a quarantined event, where it can be mended.
CREATE OR REPLACE FUNCTION agent_metrics.close_traces(most integer DEFAULT 10000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    days   integer := agent_metrics_internal.span_days();
    closed agent_metrics_internal.traces[];
    one    record;
BEGIN
    PERFORM agent_metrics_internal.take_waiting(NULL);
    SELECT array_agg(t) INTO closed
    FROM (SELECT x.* FROM agent_metrics_internal.traces x
          WHERE x.last_seen < now() - days * interval '1 day'
          ORDER BY x.last_seen, x.sender, x.trace_id LIMIT most FOR UPDATE SKIP LOCKED) t;
    IF closed IS NULL THEN
        RETURN 0;
    END IF;
    FOR one IN SELECT c.sender, array_agg(c.trace_id) AS traces
               FROM unnest(closed) c WHERE c.waiting_turns > 0 GROUP BY c.sender LOOP
        PERFORM agent_metrics_internal.quarantine_waiting(one.sender, one.traces);
    END LOOP;
    UPDATE agent_metrics_internal.span_keys k SET sender = NULL
    FROM unnest(closed) c
    JOIN agent_metrics_internal.spans s ON s.sender = c.sender AND s.trace_id = c.trace_id
    WHERE k.span_key = md5(s.trace_id || '/' || s.span_id)::uuid AND k.sender = s.sender;
    DELETE FROM agent_metrics_internal.spans s
    USING unnest(closed) c WHERE s.sender = c.sender AND s.trace_id = c.trace_id;
    DELETE FROM agent_metrics_internal.traces t
    USING unnest(closed) c WHERE t.sender = c.sender AND t.trace_id = c.trace_id;
    RETURN cardinality(closed);
END
$function$;
COMMENT ON FUNCTION agent_metrics.close_traces(integer) IS
    'Drops what is known of traces of which nothing came for span_days, so many at most a call; returns how many. '
    'The program calls it every day. Their turns stay; what still waits goes to quarantined_events.';
REVOKE ALL ON FUNCTION agent_metrics.close_traces(integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.quarantine_waiting(sender text, traces text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    turns agent_metrics_internal.span_turn[] := agent_metrics_internal.turns_of_traces($1, traces);
BEGIN
    INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, event, reason)
    SELECT md5(e.event::text), e.event, e.event, left(e.missing, 1000)
    FROM (SELECT w.missing,
                 jsonb_strip_nulls(to_jsonb(t) - ARRAY['names', 'told_cost'] || jsonb_build_object(
                     'cost_usd', t.told_cost, 'occurred_at', CASE WHEN w.moment > 0 THEN t.occurred_at END)) AS event
          FROM unnest(turns) w
          JOIN agent_metrics_internal.typed_turns(turns) t ON t.event_id = w.event_id::uuid
          WHERE w.missing IS NOT NULL) e
    ON CONFLICT DO NOTHING;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.quarantine_waiting(text, text[]) IS
    'Turns of traces that still wait, put into quarantined_events. Internal: close_traces() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.quarantine_waiting(text, text[]) FROM PUBLIC;

-- The door for the program, which knows who came by his token.
CREATE OR REPLACE FUNCTION agent_metrics.ingest_as(delivered jsonb, token text)
RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    sender text := CASE WHEN token IS NULL THEN agent_metrics_internal.sending_role() ELSE 'token ' || token END;
BEGIN
    RETURN QUERY SELECT i.stored, i.repeated, i.quarantined, i.waiting
                 FROM agent_metrics_internal.ingest(
                          delivered, sender, agent_metrics_internal.agents_of_sender(sender)) i;
END
$function$;
COMMENT ON FUNCTION agent_metrics.ingest_as(jsonb, text) IS
    'What ingest_events() does, for who came with a token: its name; NULL: without one, the role that calls. It writes '
    'the agents of its row of ingest_tokens and no other. agent-metrics collect calls it.';
REVOKE ALL ON FUNCTION agent_metrics.ingest_as(jsonb, text) FROM PUBLIC;
