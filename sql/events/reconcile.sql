-- A trace's turns are a function of the set of its spans that are known, whatever the order in which they come, in
-- however many portions, however often. So spans are kept for span_days; a delivery adds its own, and the turns of the
-- traces that it touched are brought to what all their spans say, under a lock of each trace.
--
-- Who sends a trace is part of its name: nobody's spans change the turns of somebody else. A turn belongs to the sender
-- by its row in span_keys; one that came otherwise, was erased or archived, or whose trace is closed, is not touched.
-- These functions run with the rights of the tables' owner: a writer may delete nothing.

-- Turns one by one where one of them cannot be stored, so that only that one waits, with the server's words.
CREATE OR REPLACE FUNCTION agent_metrics_internal.store_wanted(
    sender text, wanted agent_metrics_internal.span_turn[],
    OUT stored bigint, OUT refused agent_metrics_internal.span_turn[])
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    one agent_metrics_internal.span_turn;
BEGIN
    stored := 0;
    IF coalesce(cardinality(wanted), 0) = 0 THEN
        RETURN;
    END IF;
    BEGIN
        stored := agent_metrics_internal.apply_turns(sender, wanted);
        PERFORM agent_metrics_internal.keep_keys(sender, wanted);
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        stored := 0;
    END;
    FOREACH one IN ARRAY wanted LOOP
        BEGIN
            stored := stored + agent_metrics_internal.apply_turns(sender, ARRAY[one]);
            PERFORM agent_metrics_internal.keep_keys(sender, ARRAY[one]);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
            refused := refused || agent_metrics_internal.with_reason(one, left(SQLERRM, 1000));
        END;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_wanted(text, agent_metrics_internal.span_turn[]) IS
    'Brings complete turns of a sender into agent_events; those that the server refuses are returned with its words. '
    'Internal: take_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.store_wanted(text, agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- What the spans of some traces no longer tell of: turns that no other took over, and tool calls that
-- belong to a turn which waits.
CREATE OR REPLACE FUNCTION agent_metrics_internal.drop_lost(
    sender text, traces text[], wanted agent_metrics_internal.span_turn[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    told uuid[] := ARRAY(SELECT n.name::uuid FROM unnest(wanted) w
                         CROSS JOIN LATERAL unnest(w.event_id || w.replaced || w.tool_spans) AS n (name));
    lost uuid[];
BEGIN
    SELECT array_agg(k.span_key) INTO lost
    FROM agent_metrics_internal.span_keys k
    WHERE k.span_key = ANY (ARRAY(SELECT md5(s.trace_id || '/' || s.span_id)::uuid FROM agent_metrics_internal.spans s
                                  WHERE s.sender = $1 AND s.trace_id = ANY (traces)))
      AND k.sender = $1 AND k.span_key <> ALL (told);
    IF lost IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM agent_metrics.agent_events e
    USING agent_metrics_internal.span_keys k
    WHERE k.span_key = ANY (lost) AND k.sender = $1 AND k.event_id = k.span_key AND k.call_index IS NULL
      AND e.agent_id = k.agent_id AND e.occurred_at = k.occurred_at AND e.event_id = k.event_id;
    DELETE FROM agent_metrics_internal.span_keys k
    USING agent_metrics_internal.span_keys t
    WHERE t.span_key = ANY (lost) AND t.sender = $1 AND t.event_id = t.span_key AND t.call_index IS NULL
      AND k.agent_id = t.agent_id AND k.event_id = t.event_id AND k.occurred_at = t.occurred_at
      AND k.sender = $1;
    DELETE FROM agent_metrics_internal.span_keys k WHERE k.span_key = ANY (lost) AND k.sender = $1;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.drop_lost(text, text[], agent_metrics_internal.span_turn[]) IS
    'Deletes turns and keys of a sender that the spans of these traces no longer tell of. '
    'Internal: reconcile_traces() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.drop_lost(text, text[], agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- What all known spans of some traces of a sender tell of, complete or not.
CREATE OR REPLACE FUNCTION agent_metrics_internal.turns_of_traces(sender text, traces text[])
RETURNS agent_metrics_internal.span_turn[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN (SELECT agent_metrics_internal.trace_turns(
                       array_agg(s.trace_id), array_agg(s.span_id), array_agg(s.facts),
                       coalesce((SELECT array_agg(a.agent_id) FROM agent_metrics.agents a), '{}'), w.vocabulary, w.kept)
            FROM agent_metrics_internal.span_words() w
            CROSS JOIN agent_metrics_internal.spans s
            WHERE s.sender = $1 AND s.trace_id = ANY (traces)
            GROUP BY w.vocabulary, w.kept);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.turns_of_traces(text, text[]) IS
    'The turns of traces of a sender by all their known spans, those that wait too. '
    'Internal: reconcile_traces() and quarantine_waiting() use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.turns_of_traces(text, text[]) FROM PUBLIC;

-- Brings the turns of some traces of a sender to what their spans say. The caller holds their rows of traces.
CREATE OR REPLACE FUNCTION agent_metrics_internal.reconcile_traces(
    sender text, agents text[], traces text[],
    OUT stored bigint, OUT waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    result record;
    wanted agent_metrics_internal.span_turn[];
    waits  agent_metrics_internal.span_turn[];
BEGIN
    SELECT array_agg(w.turn) FILTER (WHERE w.reason IS NULL) AS turns,
           array_agg(agent_metrics_internal.with_reason(w.turn, w.reason)) FILTER (WHERE w.reason IS NOT NULL) AS waits
    INTO result
    FROM (SELECT t AS turn,
                 coalesce(t.missing, CASE WHEN t.agent_id <> ALL (agents)
                                          THEN format('agent "%s" is none of those that this sender may write',
                                                      t.agent_id) END) AS reason
          FROM unnest(agent_metrics_internal.turns_of_traces($1, traces)) t) w;
    wanted := result.turns;
    waits := result.waits;

    PERFORM agent_metrics_internal.drop_lost($1, traces, wanted);
    SELECT r.* INTO result FROM agent_metrics_internal.store_wanted($1, wanted) r;
    stored := result.stored + agent_metrics_internal.judge_again(wanted);
    waits := waits || result.refused;
    waiting := coalesce(cardinality(waits), 0);
    UPDATE agent_metrics_internal.traces t
    SET missing = x.missing, waiting_turns = coalesce(x.turns, 0), waiting_tokens = x.tokens,
        waiting_since = CASE WHEN x.turns > 0 THEN coalesce(t.waiting_since, clock_timestamp()) END
    FROM agent_metrics_internal.traces o
    LEFT JOIN (SELECT w.trace_id, min(w.missing) AS missing, count(*) AS turns,
                      sum(coalesce(w.token_usage_input, 0) + coalesce(w.token_usage_output, 0)) AS tokens
               FROM unnest(waits) w GROUP BY w.trace_id) x ON x.trace_id = o.trace_id
    WHERE o.sender = $1 AND o.trace_id = ANY (traces) AND t.sender = o.sender AND t.trace_id = o.trace_id
      AND (t.missing, t.waiting_turns, t.waiting_tokens)
          IS DISTINCT FROM (x.missing, coalesce(x.turns, 0), x.tokens);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.reconcile_traces(text, text[], text[]) IS
    'Brings the turns of traces of a sender to what their spans say: how many, with judgements that waited for them, '
    'are new or changed, and how many wait. agents: those that the sender may write; NULL: any. '
    'Internal: take_spans() and take_waiting() use it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.reconcile_traces(text, text[], text[]) FROM PUBLIC;

-- Judgements that came before their turn, and wait for it in quarantine.
CREATE OR REPLACE FUNCTION agent_metrics_internal.judge_again(wanted agent_metrics_internal.span_turn[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    events  jsonb[];
    ids     text[];
    result  record;
BEGIN
    SELECT array_agg(q.quarantine_id), array_agg(q.event) INTO ids, events
    FROM agent_metrics.quarantined_events q
    WHERE q.event ? 'evaluation'
      AND (q.event ->> 'event_id' = ANY (ARRAY(SELECT n.name FROM unnest(wanted) w
                                               CROSS JOIN LATERAL unnest(w.event_id || w.replaced || w.tool_spans
                                                                         || md5(w.trace_id || '/')::uuid::text)
                                                   AS n (name)))
           OR q.event ->> 'response_id' = ANY (ARRAY(SELECT w.response_id FROM unnest(wanted) w)));
    IF ids IS NULL THEN
        RETURN 0;
    END IF;
    SELECT e.* INTO result FROM agent_metrics_internal.store_evaluations(events, false) e;
    DELETE FROM agent_metrics.quarantined_events q
    USING unnest(ids) WITH ORDINALITY AS u (id, place)
    WHERE q.quarantine_id = u.id AND u.place <> ALL (coalesce(result.bad, '{}'));
    RETURN result.stored;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.judge_again(agent_metrics_internal.span_turn[]) IS
    'Stores the judgements in quarantine that are about turns which are there now: how many changed something. '
    'Internal: reconcile_traces() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.judge_again(agent_metrics_internal.span_turn[]) FROM PUBLIC;

-- Always in the order of the traces and spans, so that two deliveries of the same traces cannot wait for each other.
CREATE OR REPLACE FUNCTION agent_metrics_internal.take_spans(
    sender text, agents text[], pieces agent_metrics_internal.delivered_piece[],
    OUT stored bigint, OUT repeated bigint, OUT waiting bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    touched text[];
    changed text[];
    result  record;
BEGIN
    SELECT array_agg(DISTINCT p.trace_id ORDER BY p.trace_id) INTO touched
    FROM unnest(pieces) p WHERE p.trace_id IS NOT NULL;
    stored := 0;
    repeated := 0;
    waiting := 0;
    IF touched IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO agent_metrics_internal.traces AS t (sender, trace_id)
    SELECT $1, u.trace_id FROM unnest(touched) AS u (trace_id)
    ON CONFLICT (sender, trace_id) DO UPDATE SET last_seen = clock_timestamp();
    WITH kept AS (
        INSERT INTO agent_metrics_internal.spans AS s (sender, trace_id, span_id, rank, facts)
        SELECT DISTINCT ON (p.trace_id, p.span_id) $1, p.trace_id, p.span_id, p.rank, p.facts
        FROM unnest(pieces) p WHERE p.trace_id IS NOT NULL
        ORDER BY p.trace_id, p.span_id, p.rank DESC, p.facts COLLATE "C" DESC
        -- of several tellings of one span the same one counts whichever comes first; a table says what is
        ON CONFLICT (sender, trace_id, span_id) DO UPDATE SET rank = excluded.rank, facts = excluded.facts
        WHERE (excluded.rank, excluded.facts COLLATE "C") > (s.rank, s.facts COLLATE "C")
           OR starts_with($1, 'table ') AND (excluded.rank, excluded.facts) IS DISTINCT FROM (s.rank, s.facts)
        RETURNING s.trace_id
    )
    SELECT array_agg(DISTINCT k.trace_id) INTO changed FROM kept k;
    SELECT array_agg(t.trace_id) INTO changed
    FROM agent_metrics_internal.traces t
    WHERE t.sender = $1 AND t.trace_id = ANY (touched) AND (t.trace_id = ANY (changed) OR t.waiting_turns > 0);
    IF changed IS NOT NULL THEN
        SELECT r.* INTO result FROM agent_metrics_internal.reconcile_traces($1, agents, changed) r;
        stored := result.stored;
        waiting := result.waiting;
        PERFORM agent_metrics_internal.shorten_traces($1, changed);
    END IF;
    -- turns of this delivery that were there
    SELECT greatest(count(*) - stored, 0) INTO repeated
    FROM agent_metrics_internal.span_keys k
    WHERE k.span_key = ANY (ARRAY(SELECT md5(p.trace_id || '/' || p.span_id)::uuid
                                  FROM unnest(pieces) p WHERE p.trace_id IS NOT NULL))
      AND k.call_index IS NULL AND k.event_id = k.span_key;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.take_spans(
    text, text[], agent_metrics_internal.delivered_piece[]) IS
    'Keeps the spans of a delivery and brings the turns of their traces to what all known spans say: how many are new '
    'or changed, were there already, and wait. Internal: intake_spans() uses it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.take_spans(
    text, text[], agent_metrics_internal.delivered_piece[]) FROM PUBLIC;
