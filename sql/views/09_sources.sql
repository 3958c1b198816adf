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

-- The trigger of an attached table: runs within the business system's own statement, with our rights. It only notes, waits
-- for nothing, and raises nothing.
--
-- The table is somebody else's, so its row is never used as a whole: to_jsonb(NEW), a cast by name and even || call casts
-- that the owner of a type made. row_fields() calls types' output functions, which only a superuser can make.
CREATE OR REPLACE FUNCTION agent_metrics.follow_source() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2ms'
SET timezone = 'UTC' SET datestyle = 'ISO' SET extra_float_digits = 1 AS $function$
DECLARE
    attached   oid;
    has_kind   boolean;
    columns    text[];
    old_fields text[];
    new_fields text[];
    words      text;
    state      text;
BEGIN
    SELECT a.relation, a.fixed_kind IS NOT NULL, agent_metrics.source_fields(a.columns) INTO attached, has_kind, columns
    FROM agent_metrics.attached_tables a
    WHERE a.source = TG_ARGV[0] AND (a.relation = TG_RELID OR a.relation = pg_partition_root(TG_RELID));
    IF NOT FOUND THEN
        -- Detached, or put on another table; or attached since a transaction began that sees only what was then.
        IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
            RAISE EXCEPTION 'attached since this transaction began' USING ERRCODE = 'active_sql_transaction';
        END IF;
        RETURN NULL;
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO agent_metrics.attached_changes (source, relation, operation) VALUES (TG_ARGV[0], attached, 'truncate');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        old_fields := agent_metrics.row_fields(OLD, columns);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        new_fields := agent_metrics.row_fields(NEW, columns);
    END IF;
    IF TG_OP = 'UPDATE' AND old_fields IS NOT DISTINCT FROM new_fields THEN
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' AND old_fields[1] IS DISTINCT FROM new_fields[1] THEN
        INSERT INTO agent_metrics.attached_changes (source, relation, operation, fields) VALUES (TG_ARGV[0], attached, 'delete', old_fields[1:1]);
    END IF;
    -- a new row that is no event yet is no news
    IF TG_OP = 'UPDATE' OR TG_OP = 'INSERT' AND new_fields[3] IS NOT NULL AND (has_kind OR new_fields[2] IS NOT NULL) THEN
        INSERT INTO agent_metrics.attached_changes (source, relation, operation, fields) VALUES (TG_ARGV[0], attached, 'put', new_fields);
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    words := SQLERRM;
    state := SQLSTATE;
    BEGIN
        INSERT INTO agent_metrics.attachment_problems (source, problem, detail)
        SELECT TG_ARGV[0], format('a write could not be noted (SQLSTATE %s)', state), words
        WHERE NOT EXISTS (SELECT FROM agent_metrics.attachment_problems p WHERE p.source = TG_ARGV[0] AND p.problem = format('a write could not be noted (SQLSTATE %s)', state));
    EXCEPTION WHEN OTHERS THEN
        -- the comparison of the day finds it
        RAISE LOG 'agent_metrics: a write to % could not be noted: %', TG_ARGV[0], words;
    END;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics.follow_source() IS 'Trigger of an attached table: its writes are noted in attached_changes, from where sync_business_events() takes them.';
REVOKE ALL ON FUNCTION agent_metrics.follow_source() FROM PUBLIC;

CREATE OR REPLACE VIEW agent_kpi.attached_tables WITH (security_barrier) AS
SELECT a.source, a.mode, CASE WHEN x.problem IS NULL THEN 'followed' ELSE 'problem' END AS status, x.problem,
       CASE WHEN x.problem IS NOT NULL THEN n.seen_at END AS problem_seen_at,
       (SELECT count(*) FROM agent_metrics.business_events b WHERE b.source_table = a.source) AS events,
       (SELECT count(*) FROM agent_metrics.attached_changes c WHERE c.source = a.source) AS waiting, a.attached_at, a.compared_at
FROM agent_metrics.attached_tables a
LEFT JOIN LATERAL (SELECT string_agg(DISTINCT p.problem, '; ') AS problem, min(p.seen_at) AS seen_at
                   FROM agent_metrics.attachment_problems p WHERE p.source = a.source) n ON true
CROSS JOIN LATERAL (
    SELECT coalesce(agent_metrics.kpi_source_problem(a.source, a.relation_kind, a.relation_owner, a.columns, a.column_types),
                    CASE WHEN a.relation <> agent_metrics.kpi_relation(a.source) THEN 'another table has its name now; the next sync_business_events() compares it'
                         WHEN a.mode = 'trigger' AND NOT agent_metrics.kpi_has_triggers(a.relation) AND NOT a.wants_triggers THEN 'its triggers were dropped or disabled' END,
                    n.problem) AS problem) x;
COMMENT ON VIEW agent_kpi.attached_tables IS 'Tables of the business whose rows are business events, and what cannot be followed of them. Unique: source.';
COMMENT ON COLUMN agent_kpi.attached_tables.source IS 'The table.';
COMMENT ON COLUMN agent_kpi.attached_tables.mode IS 'trigger: its writes are noted, and become events before each refresh; compare: all its rows are compared before each refresh.';
COMMENT ON COLUMN agent_kpi.attached_tables.status IS 'followed or problem.';
COMMENT ON COLUMN agent_kpi.attached_tables.problem IS 'What cannot be followed; NULL: nothing. agent_metrics.attachment_problems has the key and the detail.';
COMMENT ON COLUMN agent_kpi.attached_tables.problem_seen_at IS 'When the problem was first noted.';
COMMENT ON COLUMN agent_kpi.attached_tables.events IS 'Business events that come from it.';
COMMENT ON COLUMN agent_kpi.attached_tables.waiting IS 'Writes that were noted and are no events yet: the next sync_business_events() takes them.';
COMMENT ON COLUMN agent_kpi.attached_tables.attached_at IS 'When it was attached.';
COMMENT ON COLUMN agent_kpi.attached_tables.compared_at IS 'When all its rows were last compared.';
