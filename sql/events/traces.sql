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
        PERFORM agent_metrics_internal.quarantine_waiting(one.sender, one.traces, NULL);
    END LOOP;
    FOR one IN SELECT s.sender, s.trace_id, array_agg(s.span_id) AS spans
               FROM unnest(closed) c
               JOIN agent_metrics_internal.spans s ON s.sender = c.sender AND s.trace_id = c.trace_id
               GROUP BY s.sender, s.trace_id LOOP
        PERFORM agent_metrics_internal.forget_spans(one.sender, one.trace_id, one.spans);
    END LOOP;
    DELETE FROM agent_metrics_internal.traces t
    USING unnest(closed) c WHERE t.sender = c.sender AND t.trace_id = c.trace_id;
    RETURN cardinality(closed);
END
$function$;
COMMENT ON FUNCTION agent_metrics.close_traces(integer) IS
    'Drops what is known of traces of which nothing came for span_days, so many at most a call; returns how many. '
    'The program calls it every day. Their turns stay; what still waits goes to quarantined_events.';
REVOKE ALL ON FUNCTION agent_metrics.close_traces(integer) FROM PUBLIC;

-- Turns that their spans told of belong to nobody's spans from then on.
CREATE OR REPLACE FUNCTION agent_metrics_internal.forget_spans(sender text, trace text, spans text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    UPDATE agent_metrics_internal.span_keys k SET sender = NULL
    WHERE k.span_key = ANY (ARRAY(SELECT md5(trace || '/' || u.span)::uuid FROM unnest(spans) AS u (span)))
      AND k.sender = $1;
    DELETE FROM agent_metrics_internal.spans s
    WHERE s.sender = $1 AND s.trace_id = trace AND s.span_id = ANY (spans);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.forget_spans(text, text, text[]) IS
    'Drops what is known of some spans of a trace; their turns stay. '
    'Internal: close_traces() and shorten_traces() use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.forget_spans(text, text, text[]) FROM PUBLIC;

-- Each delivery reads all spans of the traces that it touches. So of a trace without end those that ended first are
-- closed: a span ends after what lies below it, so what is still to come hangs on the others.
CREATE OR REPLACE FUNCTION agent_metrics_internal.shorten_traces(sender text, traces text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    most constant integer := 10000;
    long record;
    ended text[];
BEGIN
    FOR long IN SELECT s.trace_id, count(*) AS spans
                FROM agent_metrics_internal.spans s
                WHERE s.sender = $1 AND s.trace_id = ANY (traces)
                GROUP BY s.trace_id HAVING count(*) > most LOOP
        -- a rank of 0: it has not ended
        ended := ARRAY(SELECT s.span_id FROM agent_metrics_internal.spans s
                       WHERE s.sender = $1 AND s.trace_id = long.trace_id
                       ORDER BY s.rank = 0, s.rank, s.span_id LIMIT long.spans - most / 2);
        PERFORM agent_metrics_internal.quarantine_waiting($1, ARRAY[long.trace_id], ended);
        PERFORM agent_metrics_internal.forget_spans($1, long.trace_id, ended);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.shorten_traces(text, text[]) IS
    'Closes those spans of long traces that ended first, so that each delivery takes a bounded time. '
    'Internal: take_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.shorten_traces(text, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.quarantine_waiting(sender text, traces text[], spans text[])
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    turns agent_metrics_internal.span_turn[] := agent_metrics_internal.turns_of_traces($1, traces);
BEGIN
    INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, event, reason)
    SELECT md5(e.event::text), e.event, e.event, left(e.missing, 1000)
    FROM (SELECT w.missing,
                 jsonb_strip_nulls(to_jsonb(t) - ARRAY['names', 'told_cost', 'brought'] || jsonb_build_object(
                     'cost_usd', t.told_cost, 'occurred_at', CASE WHEN w.moment > 0 THEN t.occurred_at END)) AS event
          FROM unnest(turns) w
          JOIN agent_metrics_internal.typed_turns(turns) t ON t.event_id = w.event_id::uuid
          WHERE w.missing IS NOT NULL AND (spans IS NULL OR w.span_id = ANY (spans))) e
    ON CONFLICT DO NOTHING;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.quarantine_waiting(text, text[], text[]) IS
    'Turns of traces that still wait, put into quarantined_events; spans: these alone, NULL: all. '
    'Internal: close_traces() and shorten_traces() use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.quarantine_waiting(text, text[], text[]) FROM PUBLIC;

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

-- The door for rows of attached tables, whose reader has no right to change turns: what a table says is what is.
CREATE OR REPLACE FUNCTION agent_metrics.ingest_rows(
    source text, keys text[], documents jsonb[],
    OUT inserted bigint, OUT updated bigint, OUT refused_key text, OUT reason text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    attached agent_metrics_internal.attached_tables;
    part     record;
BEGIN
    inserted := 0;
    updated := 0;
    SELECT a.* INTO attached FROM agent_metrics_internal.attached_tables a WHERE a.source = $1 AND a.feeds = 'turns';
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not attached', $1
            USING ERRCODE = 'undefined_object', DETAIL = 'No row of agent_metrics_internal.attached_tables names it.',
                  HINT = 'SELECT * FROM agent_metrics.attach_turns(...) attaches it.';
    END IF;
    IF cardinality(documents) = 0 THEN
        RETURN;
    END IF;
    BEGIN
        IF attached.preset IS NULL THEN
            SELECT r.* INTO part FROM agent_metrics_internal.store_rows(attached.sender, keys, documents) r;
            inserted := part.inserted;
            updated := part.updated;
            refused_key := part.refused_key;
            reason := part.reason;
        ELSE
            SELECT i.stored INTO inserted
            FROM agent_metrics_internal.ingest(to_jsonb(documents), attached.sender, NULL) i;
        END IF;
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        reason := left(SQLERRM, 1000);
    END;
    IF cardinality(documents) = 1 THEN
        refused_key := keys[1];
        RETURN;
    END IF;
    reason := NULL;
    FOR place IN 1 .. cardinality(documents) LOOP
        SELECT i.* INTO part FROM agent_metrics.ingest_rows($1, keys[place:place], documents[place:place]) i;
        inserted := inserted + part.inserted;
        updated := updated + part.updated;
        refused_key := coalesce(refused_key, part.refused_key);
        reason := coalesce(reason, part.reason);
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics.ingest_rows(text, text[], jsonb[]) IS
    'Brings the turns of an attached table to what some of its rows say: how many are new, how many changed, and the '
    'first row that cannot be stored with the reason. sync_turns() calls it.';
REVOKE ALL ON FUNCTION agent_metrics.ingest_rows(text, text[], jsonb[]) FROM PUBLIC;

-- Rows in our own form: each is a turn by itself, whose key is that of its row.
CREATE OR REPLACE FUNCTION agent_metrics_internal.store_rows(
    sender text, keys text[], documents jsonb[],
    OUT inserted bigint, OUT updated bigint, OUT refused_key text, OUT reason text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET datestyle = 'ISO' AS $function$
#variable_conflict use_column
DECLARE
    pieces agent_metrics_internal.delivered_piece[];
    wanted agent_metrics_internal.span_turn[];
    known  bigint;
    found  record;
BEGIN
    SELECT agent_metrics_internal.map_delivery(to_jsonb(documents)::text, w.vocabulary, w.kept) INTO pieces
    FROM agent_metrics_internal.span_words() w;
    -- pieces come in the order of what was delivered
    SELECT array_agg(ROW($1, p.key, md5($1 || '/' || p.key)::uuid,
                         CASE WHEN p.key IS NULL THEN 'a row has no key'
                              WHEN p.nth > 1 THEN 'several rows have the same key' ELSE p.reason END, r.agent_id,
                         CASE WHEN isfinite(r.occurred_at) THEN (extract(epoch FROM r.occurred_at) * 1000000)::bigint
                              END,
                         r.conversation_id, r.user_id, r.latency_ms, r.token_usage_input, r.token_usage_output,
                         r.token_usage_cache_read, r.token_usage_cache_write, r.usage_details,
                         CASE WHEN r.cost_usd IS NOT NULL THEN ARRAY[r.cost_usd] END, r.provider, r.model,
                         r.service_tier, r.agent_version, r.prompt_version, coalesce(r.is_eval, false), r.error,
                         r.attributes, r.tools_called, NULL, NULL, NULL,
                         (SELECT coalesce(jsonb_object_agg(b.name, p.event::jsonb -> b.name), '{}')
                          FROM unnest(ARRAY['outcome_label', 'business_event_id', 'intent_classified',
                                            'turn_index']) AS b (name)
                          WHERE b.name = ANY (told.names)))::agent_metrics_internal.span_turn)
    INTO wanted
    FROM (SELECT x.*, k.key, row_number() OVER (PARTITION BY k.key ORDER BY k.place) AS nth
          FROM unnest(pieces) WITH ORDINALITY AS x
          JOIN unnest(keys) WITH ORDINALITY AS k (key, place) ON k.place = x.ordinality) p
    CROSS JOIN (SELECT array_agg(n.name) AS names
                FROM agent_metrics_internal.attached_tables a
                CROSS JOIN LATERAL (SELECT jsonb_object_keys(a.columns) UNION SELECT jsonb_object_keys(a.fixed))
                    AS n (name)
                WHERE a.sender = $1) told
    CROSS JOIN LATERAL jsonb_to_record(coalesce(p.event, '{}')::jsonb) AS r (
        agent_id text, occurred_at timestamptz, conversation_id text, user_id text, tools_called text,
        latency_ms double precision, token_usage_input bigint, token_usage_output bigint,
        token_usage_cache_read bigint, token_usage_cache_write bigint, cost_usd text, agent_version text,
        provider text, model text, prompt_version text, is_eval boolean, error text, usage_details text,
        service_tier text, attributes text);
    SELECT w.span_id, w.missing INTO refused_key, reason FROM unnest(wanted) w WHERE w.missing IS NOT NULL LIMIT 1;
    wanted := ARRAY(SELECT w FROM unnest(wanted) w WHERE w.missing IS NULL ORDER BY w.agent_id, w.moment, w.event_id);
    SELECT count(*) INTO known
    FROM agent_metrics_internal.span_keys k
    WHERE k.span_key = ANY (ARRAY(SELECT w.event_id::uuid FROM unnest(wanted) w)) AND k.sender = $1;
    SELECT s.* INTO found FROM agent_metrics_internal.store_wanted($1, wanted) s;
    SELECT count(*) - known INTO inserted
    FROM agent_metrics_internal.span_keys k
    WHERE k.span_key = ANY (ARRAY(SELECT w.event_id::uuid FROM unnest(wanted) w)) AND k.sender = $1;
    updated := greatest(found.stored - inserted, 0);
    IF reason IS NULL THEN
        SELECT w.span_id, w.missing INTO refused_key, reason FROM unnest(found.refused) w LIMIT 1;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_rows(text, text[], jsonb[]) IS
    'Brings the turns of an attached table to what some rows say, which are in our own form. '
    'Internal: ingest_rows() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.store_rows(text, text[], jsonb[]) FROM PUBLIC;
