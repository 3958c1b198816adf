-- erase_user: removes a person, and says what was removed and what could not be reached.
--
-- A conversation in which nobody else is named is his and goes whole, with what hangs on it; of one that he shares,
-- his own turns go. Business events are the company's records of tickets and money: they stay, without his customer_id,
-- their link to his conversations and their detail. The triggers on the facts log all of it, so the next refresh of
-- each agent takes it out of conversations, leads and rollups.

CREATE FUNCTION agent_metrics.erase_user(user_id text) RETURNS TABLE (what text, count bigint, note text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    agents        text[];  -- his conversations, those that go whole first
    conversations text[];
    shared        bigint;
    found         bigint;
    one           record;
    event_id      text;
    words         text;
BEGIN
    IF coalesce($1, '') = '' THEN
        RAISE EXCEPTION 'no user_id is given'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Turns without a user_id name nobody.',
                  HINT = 'SELECT * FROM agent_metrics.erase_user(''u-1'');';
    END IF;
    -- A longer id than turns may have now is one that came before they had a bound, and no index takes it.
    INSERT INTO agent_metrics_internal.erasures (user_id)
    SELECT $1 WHERE octet_length($1) <= 1024 ON CONFLICT DO NOTHING;

    WITH user_conversation AS (
        SELECT DISTINCT e.agent_id, e.conversation_id FROM agent_metrics.agent_events e WHERE e.user_id = $1
        UNION SELECT c.agent_id, c.conversation_id
              FROM agent_metrics_internal.archived_conversations c WHERE c.user_id = $1
    ), erased_conversation AS (
        SELECT h.agent_id, h.conversation_id,
               EXISTS (SELECT 1 FROM agent_metrics.agent_events e
                       WHERE e.conversation_id = h.conversation_id AND e.agent_id = h.agent_id
                         AND e.user_id <> $1) AS is_shared
        FROM user_conversation h
    )
    SELECT array_agg(j.agent_id) FILTER (WHERE NOT j.is_shared),
           array_agg(j.conversation_id) FILTER (WHERE NOT j.is_shared), count(*) FILTER (WHERE j.is_shared)
    INTO agents, conversations, shared
    FROM erased_conversation j;

    -- What is known of the spans of his turns, before what tells which they are: a late span would bring him back.
    WITH his_trace AS (
        SELECT DISTINCT s.sender, s.trace_id
        FROM agent_metrics_internal.spans s
        LEFT JOIN agent_metrics_internal.span_keys k ON k.span_key = md5(s.trace_id || '/' || s.span_id)::uuid
        LEFT JOIN unnest(agents, conversations) AS h (agent_id, conversation_id)
          ON h.agent_id = k.agent_id AND h.conversation_id = k.conversation_id
        WHERE h.agent_id IS NOT NULL OR agent_metrics_internal.json_names(s.facts, $1)
    ), gone AS (
        DELETE FROM agent_metrics_internal.traces t
        USING his_trace h WHERE t.sender = h.sender AND t.trace_id = h.trace_id
    )
    DELETE FROM agent_metrics_internal.spans s
    USING his_trace h WHERE s.sender = h.sender AND s.trace_id = h.trace_id;
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN QUERY SELECT 'spans', found, 'of the traces of his conversations';

    -- What hangs on a conversation. By name: a table that somebody else made in this schema is not ours to delete from.
    FOR one IN
        SELECT v.relation, v.relname
        FROM (VALUES ('agent_metrics_internal.review_items'::regclass, 'review_items'),
                     ('agent_metrics.reviews', 'reviews'), ('agent_metrics_internal.span_keys', 'span_keys'),
                     ('agent_metrics.survey_answers', 'survey_answers'),
                     ('agent_metrics.measurements', 'measurements'),
                     ('agent_metrics.tool_call_verdicts', 'tool_call_verdicts'),
                     ('agent_metrics.turn_scores', 'turn_scores')) AS v (relation, relname)
    LOOP
        EXECUTE format('DELETE FROM %s x USING unnest($1, $2) AS h (agent_id, conversation_id)
                        WHERE x.conversation_id = h.conversation_id AND x.agent_id = h.agent_id', one.relation)
        USING agents, conversations;
        GET DIAGNOSTICS found = ROW_COUNT;
        RETURN QUERY SELECT one.relname::text, found, 'of his conversations';
    END LOOP;

    -- What was said of his own turns in conversations that he shares.
    FOR one IN
        SELECT v.relation, v.relname
        FROM (VALUES ('agent_metrics_internal.span_keys'::regclass, 'span_keys'),
                     ('agent_metrics.tool_call_verdicts', 'tool_call_verdicts'),
                     ('agent_metrics.turn_scores', 'turn_scores'), ('agent_metrics.reviews', 'reviews'),
                     ('agent_metrics.measurements', 'measurements'))
                         AS v (relation, relname)
    LOOP
        EXECUTE format('DELETE FROM %s x USING agent_metrics.agent_events e
                        WHERE e.user_id = $1 AND x.agent_id = e.agent_id AND x.occurred_at = e.occurred_at
                          AND x.event_id = e.event_id', one.relation)
        USING $1;
        GET DIAGNOSTICS found = ROW_COUNT;
        RETURN QUERY SELECT one.relname::text, found, 'of his turns in shared conversations';
    END LOOP;

    DELETE FROM agent_metrics.survey_answers s WHERE s.respondent_id = $1;
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN QUERY SELECT 'survey_answers', found, 'that he gave';

    BEGIN
        UPDATE agent_metrics.business_events b SET customer_id = NULL, conversation_id = NULL, detail = NULL
        WHERE b.customer_id = $1 OR b.conversation_id = ANY (conversations);
        GET DIAGNOSTICS found = ROW_COUNT;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        -- One of them is such that it could not be written today: it goes by itself, and the others are kept.
        found := 0;
        FOR event_id IN SELECT b.business_event_id FROM agent_metrics.business_events b
                        WHERE b.customer_id = $1 OR b.conversation_id = ANY (conversations) LOOP
            BEGIN
                UPDATE agent_metrics.business_events b SET customer_id = NULL, conversation_id = NULL, detail = NULL
                WHERE b.business_event_id = event_id;
                found := found + 1;
            EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
                words := SQLERRM;
                DELETE FROM agent_metrics.business_events b WHERE b.business_event_id = event_id;
                RETURN QUERY SELECT 'business_events', 1::bigint,
                                    format('deleted, for it cannot be kept without his name: %s', left(words, 200));
            END;
        END LOOP;
    END;
    RETURN QUERY SELECT 'business_events', found, 'kept without customer_id, conversation_id and detail';

    -- Writes to attached tables that wait to be followed: as those are followed from now on, without
    -- conversation and customer.
    UPDATE agent_metrics_internal.attached_changes c SET fields = c.fields[1:3] || ARRAY[NULL, NULL, c.fields[6]]
    WHERE c.operation = 'put' AND c.fields[5] = $1;
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN QUERY SELECT 'attached_changes', found, 'kept without conversation and customer';

    DELETE FROM agent_metrics.agent_events e
    WHERE e.user_id = $1
       OR (e.conversation_id = ANY (conversations)
           AND EXISTS (SELECT 1 FROM unnest(agents, conversations) AS h (agent_id, conversation_id)
                       WHERE h.agent_id = e.agent_id AND h.conversation_id = e.conversation_id));
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN QUERY SELECT 'agent_events', found, format('%s conversations whole, his turns of %s shared ones',
                                                      coalesce(cardinality(conversations), 0), shared);

    DELETE FROM agent_metrics.quarantined_events q
    WHERE agent_metrics_internal.json_names(q.payload::text, $1)
       OR agent_metrics_internal.json_names(q.event::text, $1);
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN QUERY SELECT 'quarantined_events', found, 'deliveries in which a text, a number or a key is his id';

    -- What is left of his archived conversations. No turn goes, so the conversations are logged by hand.
    INSERT INTO agent_metrics_internal.changes (agent_id, conversation_id, occurred_at)
    SELECT DISTINCT c.agent_id, c.conversation_id, c.occurred_at
    FROM agent_metrics_internal.archived_conversations c WHERE c.user_id = $1;
    WITH deleted_conversation AS (
        DELETE FROM agent_metrics_internal.archived_conversations c
        USING (SELECT x.agent_id, x.conversation_id FROM agent_metrics_internal.archived_conversations x
               WHERE x.user_id = $1) h
        WHERE c.agent_id = h.agent_id AND c.conversation_id = h.conversation_id
          -- of a month that is being written the turns are still there: it is written again if any of
          -- his was among them
          AND EXISTS (SELECT 1 FROM agent_metrics_internal.archives a
                      WHERE a.archive_id = c.archive_id AND a.state <> 'writing')
        RETURNING c.archive_id, c.agent_id, c.conversation_id
    ), deleted_segment AS (
        DELETE FROM agent_metrics_internal.archived_conversation_segments s
        USING deleted_conversation g
        WHERE s.archive_id = g.archive_id AND s.agent_id = g.agent_id AND s.conversation_id = g.conversation_id
    ), deletion_count AS (
        SELECT count(DISTINCT (g.agent_id, g.conversation_id)) AS conversations FROM deleted_conversation g
    )
    SELECT r.conversations INTO found FROM deletion_count r;
    RETURN QUERY
    SELECT 'archived_conversations', found, 'their turns stay in the sums of archived buckets, which name nobody';

    RETURN QUERY
    SELECT 'archive ' || a.folder || '/' || a.file, NULL::bigint,
           'not reached: delete the file, or restore it, which erases him again'
    FROM agent_metrics_internal.archives a WHERE a.is_counted ORDER BY a.from_time;
END
$function$;
COMMENT ON FUNCTION agent_metrics.erase_user(text) IS
    'Removes a person from the facts, and with each agent''s next refresh from conversations, leads and rollups. '
    'Says what was removed, and which archives were not reached.';

CREATE FUNCTION agent_metrics_internal.erase_again() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RETURN (SELECT coalesce(sum(x.count) FILTER (WHERE x.what = 'agent_events'), 0)
            FROM agent_metrics_internal.erasures u CROSS JOIN LATERAL agent_metrics.erase_user(u.user_id) x
            WHERE EXISTS (SELECT 1 FROM agent_metrics.agent_events e WHERE e.user_id = u.user_id));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.erase_again() IS
    'Erases those who asked for it and came back with restored data; returns how many turns went. '
    'Internal: agent-metrics restore uses it.';
