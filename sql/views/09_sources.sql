-- What came in from elsewhere and what did not.

-- Of what was refused a reader sees no value: the reason in our own words, and an agent if it is a registered one.
CREATE OR REPLACE VIEW agent_kpi.quarantine WITH (security_barrier) AS
SELECT q.reason, q.agent_id, count(*) AS events, min(q.quarantined_at) AS first_at, max(q.quarantined_at) AS last_at
FROM (SELECT agent_metrics.reason_class(x.reason) AS reason, coalesce(a.agent_id, '') AS agent_id, x.quarantined_at
      FROM agent_metrics.quarantined_events x
      LEFT JOIN agent_metrics.agents a ON a.agent_id = x.event ->> 'agent_id') q
GROUP BY q.reason, q.agent_id;
COMMENT ON VIEW agent_kpi.quarantine IS 'What ingest_events() was given and could not store: in no number. Unique: reason, agent_id.';
COMMENT ON COLUMN agent_kpi.quarantine.reason IS 'Why it was not stored, in words that quote nothing of it; agent_metrics.quarantined_events has the whole reason.';
COMMENT ON COLUMN agent_kpi.quarantine.agent_id IS 'Registered agent that it names; empty: none.';
COMMENT ON COLUMN agent_kpi.quarantine.events IS 'Pieces of a delivery: events, spans, tool calls, evaluation results.';
COMMENT ON COLUMN agent_kpi.quarantine.first_at IS 'When the first of them came.';
COMMENT ON COLUMN agent_kpi.quarantine.last_at IS 'When the last of them came.';

-- The trigger of an attached table: runs within the business system's own statement, with our rights, and never fails it.
CREATE OR REPLACE FUNCTION agent_metrics.follow_source() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    attached agent_metrics.attached_tables;
    old_id   text;
    new_id   text;
    event    record;
    words    text;
BEGIN
    SELECT a.* INTO attached FROM agent_metrics.attached_tables a WHERE a.source = TG_ARGV[0];
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM agent_metrics.business_events b WHERE b.source_table = attached.source;
        RETURN NULL;
    END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        old_id := attached.id_prefix || (to_jsonb(OLD) ->> (attached.columns ->> 'business_event_id'));
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        SELECT m.* INTO event FROM agent_metrics.map_source_row(to_jsonb(NEW), attached.columns, attached.fixed_kind, attached.id_prefix) m;
        new_id := event.business_event_id;
        IF event.problem IS NULL AND EXISTS (SELECT FROM agent_metrics.business_events b
                                             WHERE b.business_event_id = new_id AND b.source_table IS DISTINCT FROM attached.source) THEN
            event.problem := 'a key is that of another business event';
        END IF;
        IF event.problem IS NOT NULL THEN
            INSERT INTO agent_metrics.attachment_problems (source, problem, row_key)
            SELECT attached.source, event.problem, new_id
            WHERE NOT EXISTS (SELECT FROM agent_metrics.attachment_problems p WHERE p.source = attached.source AND p.problem = event.problem);
            RETURN NULL;
        END IF;
    END IF;
    IF old_id IS DISTINCT FROM new_id THEN
        DELETE FROM agent_metrics.business_events b WHERE b.business_event_id = old_id AND b.source_table = attached.source;
    END IF;
    IF new_id IS NOT NULL THEN
        INSERT INTO agent_metrics.business_events AS b (business_event_id, kind, occurred_at, conversation_id, customer_id, amount_usd, source_table)
        VALUES (new_id, event.kind, event.occurred_at, event.conversation_id, event.customer_id, event.amount_usd, attached.source)
        ON CONFLICT (business_event_id) DO UPDATE
        SET kind = excluded.kind, occurred_at = excluded.occurred_at, conversation_id = excluded.conversation_id,
            customer_id = excluded.customer_id, amount_usd = excluded.amount_usd
        WHERE b.source_table = attached.source
          AND (b.kind, b.occurred_at, b.conversation_id, b.customer_id, b.amount_usd)
              IS DISTINCT FROM (excluded.kind, excluded.occurred_at, excluded.conversation_id, excluded.customer_id, excluded.amount_usd);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    words := SQLERRM;
    BEGIN
        INSERT INTO agent_metrics.attachment_problems (source, problem)
        SELECT TG_ARGV[0], words
        WHERE NOT EXISTS (SELECT FROM agent_metrics.attachment_problems p WHERE p.source = TG_ARGV[0] AND p.problem = words);
    EXCEPTION WHEN OTHERS THEN
        NULL;
    END;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics.follow_source() IS 'Trigger of an attached table: its writes become writes of business_events; what cannot be followed is noted in attachment_problems.';
REVOKE ALL ON FUNCTION agent_metrics.follow_source() FROM PUBLIC;

CREATE OR REPLACE VIEW agent_kpi.attached_tables WITH (security_barrier) AS
SELECT a.source, a.mode, CASE WHEN x.problem IS NULL THEN 'followed' ELSE 'problem' END AS status, x.problem,
       CASE WHEN x.problem IS NOT NULL THEN n.seen_at END AS problem_seen_at,
       (SELECT count(*) FROM agent_metrics.business_events b WHERE b.source_table = a.source) AS events, a.attached_at, a.compared_at
FROM agent_metrics.attached_tables a
LEFT JOIN (SELECT c.oid, format('%I.%I', s.nspname, c.relname) AS name FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
           WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')) t ON t.name = a.source
LEFT JOIN LATERAL (SELECT string_agg(DISTINCT p.problem || coalesce(' (' || p.row_key || ')', ''), '; ') AS problem, min(p.seen_at) AS seen_at
                   FROM agent_metrics.attachment_problems p WHERE p.source = a.source) n ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN t.oid IS NULL THEN 'the table is gone: dropped or renamed'
                ELSE coalesce((SELECT format('column "%s" is gone', c.value) FROM jsonb_each_text(a.columns) AS c (key, value)
                               WHERE NOT EXISTS (SELECT FROM pg_attribute k WHERE k.attrelid = t.oid AND k.attname = c.value AND NOT k.attisdropped) LIMIT 1),
                              CASE WHEN a.mode = 'trigger' AND (SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = t.oid AND g.tgenabled <> 'D'
                                                                AND g.tgname IN ('agent_metrics_follow', 'agent_metrics_follow_truncate')) < 2
                                   THEN 'its triggers were dropped or disabled' END,
                              n.problem) END AS problem) x;
COMMENT ON VIEW agent_kpi.attached_tables IS 'Tables of the business whose rows are business events, and what cannot be followed of them. Unique: source.';
COMMENT ON COLUMN agent_kpi.attached_tables.source IS 'The table.';
COMMENT ON COLUMN agent_kpi.attached_tables.mode IS 'trigger: each write is followed at once; compare: before each refresh.';
COMMENT ON COLUMN agent_kpi.attached_tables.status IS 'followed or problem.';
COMMENT ON COLUMN agent_kpi.attached_tables.problem IS 'What cannot be followed, and the key of the first row; NULL: nothing.';
COMMENT ON COLUMN agent_kpi.attached_tables.problem_seen_at IS 'When the problem was first noted.';
COMMENT ON COLUMN agent_kpi.attached_tables.events IS 'Business events that come from it.';
COMMENT ON COLUMN agent_kpi.attached_tables.attached_at IS 'When it was attached.';
COMMENT ON COLUMN agent_kpi.attached_tables.compared_at IS 'When all its rows were last compared.';
