-- What came in and is in no number, and why: refused, unmapped, of no registered agent, of no possible time.

-- What a refresh found, less what has been mapped since: the answer to a complaint is seen at once, though its
-- conversations count at the next refresh.
CREATE OR REPLACE VIEW agent_kpi.unmapped_labels WITH (security_barrier) AS
SELECT c.agent_id, x.label AS outcome_label, count(*) AS conversations, max(c.ended_at) AS last_seen
FROM agent_metrics.conversations c
CROSS JOIN LATERAL (
    SELECT DISTINCT agent_metrics_internal.fitting(l.label, 256) AS label
    FROM (VALUES (c.human_label), (c.crm_label), (c.judge_label), (c.agent_label)) AS l (label)
    WHERE l.label IS NOT NULL) x
WHERE c.unmapped_label IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM agent_metrics.outcomes o WHERE o.label = x.label)
GROUP BY c.agent_id, x.label;
COMMENT ON VIEW agent_kpi.unmapped_labels IS
    'One row per agent and label that no row of outcomes maps; it counts as no label. Unique: agent_id, outcome_label.';
COMMENT ON COLUMN agent_kpi.unmapped_labels.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.unmapped_labels.outcome_label IS 'The label as the producer wrote it.';
COMMENT ON COLUMN agent_kpi.unmapped_labels.conversations IS 'Conversations with it.';
COMMENT ON COLUMN agent_kpi.unmapped_labels.last_seen IS 'Last turn of such a conversation.';

-- Kinds are found by stepping from one to the next through their index; only events of those without a meaning are
-- counted. A label that was deleted leaves the kinds that meant it without one.
CREATE OR REPLACE VIEW agent_kpi.unmapped_event_kinds WITH (security_barrier) AS
WITH RECURSIVE step AS (
    (SELECT min(b.kind) AS kind FROM agent_metrics.business_events b)
    UNION ALL
    SELECT (SELECT min(b.kind) FROM agent_metrics.business_events b WHERE b.kind > s.kind)
    FROM step s WHERE s.kind IS NOT NULL
)
SELECT s.kind, n.source, n.events, n.first_seen, n.last_seen,
       CASE WHEN k.kind IS NULL THEN 'no row of event_kinds'
            ELSE 'its meaning is no outcome label any more' END AS reason
FROM step s
LEFT JOIN agent_metrics.event_kinds k ON k.kind = s.kind
CROSS JOIN LATERAL (SELECT coalesce(b.source_table, '') AS source, count(*) AS events, min(b.occurred_at) AS first_seen,
                           max(b.occurred_at) AS last_seen
                    FROM agent_metrics.business_events b WHERE b.kind = s.kind GROUP BY 1) n
WHERE s.kind IS NOT NULL
  AND (k.kind IS NULL
       OR k.meaning <> ALL (agent_metrics_internal.event_meanings())
          AND NOT EXISTS (SELECT 1 FROM agent_metrics.outcomes o WHERE o.label = k.meaning));
COMMENT ON VIEW agent_kpi.unmapped_event_kinds IS
    'One row per kind of business event that has no meaning, and table it comes from: these events count for '
    'nothing until a row of event_kinds says what they mean. Unique: kind, source.';
COMMENT ON COLUMN agent_kpi.unmapped_event_kinds.kind IS 'The kind as the business system writes it.';
COMMENT ON COLUMN agent_kpi.unmapped_event_kinds.source IS 'Attached table that they come from; empty: written here.';
COMMENT ON COLUMN agent_kpi.unmapped_event_kinds.events IS 'Business events of it.';
COMMENT ON COLUMN agent_kpi.unmapped_event_kinds.first_seen IS 'Moment of the first of them.';
COMMENT ON COLUMN agent_kpi.unmapped_event_kinds.last_seen IS 'Moment of the last of them.';
COMMENT ON COLUMN agent_kpi.unmapped_event_kinds.reason IS
    'no row of event_kinds, or its meaning is no outcome label any more.';

CREATE OR REPLACE VIEW agent_kpi.undefined_measures WITH (security_barrier) AS
WITH RECURSIVE step AS (
    (SELECT min(s.measure) AS measure FROM agent_metrics.measurements s)
    UNION ALL
    SELECT (SELECT min(s.measure) FROM agent_metrics.measurements s WHERE s.measure > p.measure)
    FROM step p WHERE p.measure IS NOT NULL
)
SELECT p.measure, n.measurements, n.first_seen, n.last_seen
FROM step p
CROSS JOIN LATERAL (SELECT count(*) AS measurements, min(s.occurred_at) AS first_seen, max(s.occurred_at) AS last_seen
                    FROM agent_metrics.measurements s WHERE s.measure = p.measure) n
WHERE p.measure IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM agent_metrics.metrics m WHERE m.source = 'measurements' AND m.measure = p.measure);
COMMENT ON VIEW agent_kpi.undefined_measures IS
    'One row per measure of measurements that no metric shows: define_metric() makes it a number. Unique: measure.';
COMMENT ON COLUMN agent_kpi.undefined_measures.measure IS 'The measure as it was written.';
COMMENT ON COLUMN agent_kpi.undefined_measures.measurements IS 'Measurements of it.';
COMMENT ON COLUMN agent_kpi.undefined_measures.first_seen IS 'Moment of the first of them.';
COMMENT ON COLUMN agent_kpi.undefined_measures.last_seen IS 'Moment of the last of them.';

-- Agents are found by stepping from one to the next through the key, so that the history is not read.
CREATE OR REPLACE VIEW agent_kpi.unregistered_agents WITH (security_barrier) AS
WITH RECURSIVE step AS (
    (SELECT min(e.agent_id) AS agent_id FROM agent_metrics.agent_events e)
    UNION ALL
    SELECT (SELECT min(e.agent_id) FROM agent_metrics.agent_events e WHERE e.agent_id > s.agent_id)
    FROM step s WHERE s.agent_id IS NOT NULL
)
SELECT s.agent_id, n.first_seen, n.last_seen, n.events
FROM step s
CROSS JOIN LATERAL (SELECT min(e.occurred_at) AS first_seen, max(e.occurred_at) AS last_seen, count(*) AS events
                    FROM agent_metrics.agent_events e WHERE e.agent_id = s.agent_id) n
WHERE s.agent_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM agent_metrics.agents a WHERE a.agent_id = s.agent_id);
COMMENT ON VIEW agent_kpi.unregistered_agents IS
    'One row per agent whose events are kept but that nobody registered. Unique: agent_id.';
COMMENT ON COLUMN agent_kpi.unregistered_agents.agent_id IS 'Agent as the producer wrote it.';
COMMENT ON COLUMN agent_kpi.unregistered_agents.first_seen IS 'First turn.';
COMMENT ON COLUMN agent_kpi.unregistered_agents.last_seen IS 'Last turn.';
COMMENT ON COLUMN agent_kpi.unregistered_agents.events IS 'Turns.';

CREATE OR REPLACE VIEW agent_kpi.implausible_times WITH (security_barrier) AS
SELECT r.agent_id, agent_metrics_internal.day_of(r.bucket, p.time_zone) AS day, r.turns, r.conversations,
       CASE WHEN r.bucket > now() THEN 'in the future' ELSE 'before 2015' END AS reason
FROM agent_metrics_internal.rollups r
CROSS JOIN agent_metrics_internal.report p
WHERE r.level = 'day' AND (r.turns > 0 OR r.conversations > 0)
  AND (r.bucket > now()
       OR r.bucket < '2015-01-02 00:00:00+00'
          AND agent_metrics_internal.day_of(r.bucket, p.time_zone)
                  < coalesce(agent_metrics_internal.kpi_first_day(r.agent_id), '2015-01-01'));
COMMENT ON VIEW agent_kpi.implausible_times IS
    'One row per agent and day that has turns dated in the future, or before 2015 and before the agent''s calendar '
    'begins: kept, counted on that day, and flagged here. Unique: agent_id, day.';
COMMENT ON COLUMN agent_kpi.implausible_times.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.implausible_times.day IS 'Report day the turns are dated on.';
COMMENT ON COLUMN agent_kpi.implausible_times.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.implausible_times.conversations IS 'Conversations.';
COMMENT ON COLUMN agent_kpi.implausible_times.reason IS 'in the future, or before 2015.';

-- What came in from elsewhere and what did not.

-- Of what was refused a reader sees no value: the reason in our own words, and an agent if it is a registered one.
CREATE OR REPLACE VIEW agent_kpi.quarantine WITH (security_barrier) AS
SELECT q.reason, q.agent_id, count(*) AS events, min(q.quarantined_at) AS first_at, max(q.quarantined_at) AS last_at
FROM (SELECT agent_metrics_internal.reason_class(x.reason) AS reason,
             coalesce(a.agent_id, '') AS agent_id, x.quarantined_at
      FROM agent_metrics.quarantined_events x
      LEFT JOIN agent_metrics.agents a ON a.agent_id = x.event ->> 'agent_id') q
GROUP BY q.reason, q.agent_id;
COMMENT ON VIEW agent_kpi.quarantine IS
    'What ingest_events() was given and could not store: in no number. Unique: reason, agent_id.';
COMMENT ON COLUMN agent_kpi.quarantine.reason IS
    'Why it was not stored, in words that quote nothing of it; agent_metrics.quarantined_events has the whole reason.';
COMMENT ON COLUMN agent_kpi.quarantine.agent_id IS 'Registered agent that it names; empty: none.';
COMMENT ON COLUMN agent_kpi.quarantine.events IS 'Pieces of a delivery: events, spans, tool calls, evaluation results.';
COMMENT ON COLUMN agent_kpi.quarantine.first_at IS 'When the first of them came.';
COMMENT ON COLUMN agent_kpi.quarantine.last_at IS 'When the last of them came.';

-- A worker that was refused a row starts again every few seconds, so it may be seen for a moment.
CREATE OR REPLACE VIEW agent_kpi.feeds WITH (security_barrier) AS
SELECT s.subname::text AS subscription, t.tables,
       CASE WHEN x.problem IS NOT NULL THEN 'problem' WHEN t.copying IS NOT NULL THEN 'copying' ELSE 'followed' END
           AS status,
       x.problem, w.heard_of_at,
       greatest(extract(epoch FROM now() - w.heard_of_at), 0)::double precision AS lag_seconds, e.errors
FROM pg_subscription s
CROSS JOIN LATERAL (
    SELECT string_agg(r.srrelid::regclass::text, ', ' ORDER BY r.srrelid::regclass::text) AS tables,
           string_agg(r.srrelid::regclass::text, ', ' ORDER BY r.srrelid::regclass::text)
               FILTER (WHERE r.srsubstate NOT IN ('r', 's')) AS copying
    -- schemas by their names: a constant of type regnamespace would make the view's rule an object of the schema
    FROM pg_subscription_rel r JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE r.srsubid = s.oid
      AND (n.nspname IN ('agent_metrics', 'agent_metrics_internal')
           OR c.oid IN (SELECT a.relation FROM agent_metrics_internal.attached_tables a))) t
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(p.pid IS NOT NULL), false) AS is_running, max(p.last_msg_receipt_time) AS heard_of_at
    FROM pg_stat_subscription p WHERE p.subid = s.oid AND p.relid IS NULL) w
CROSS JOIN LATERAL (
    SELECT coalesce(max(q.apply_error_count + q.sync_error_count), 0) AS errors,
           coalesce(max(q.sync_error_count), 0) AS copy_errors
    FROM pg_stat_subscription_stats q WHERE q.subid = s.oid) e
CROSS JOIN LATERAL (
    SELECT CASE WHEN NOT s.subenabled
                THEN format('it is disabled, and %s errors were counted', e.errors)
                WHEN NOT w.is_running
                THEN format('no worker applies it, and %s errors were counted', e.errors)
                WHEN t.copying IS NOT NULL AND e.copy_errors > 0
                THEN format('the first copy of %s has failed %s times', t.copying, e.copy_errors)
                WHEN w.heard_of_at < now() - interval '3 minutes'
                THEN format('nothing was taken from it for %s seconds: somebody holds a lock on what it writes, or the '
                            'other server is silent', round(extract(epoch FROM now() - w.heard_of_at)))
                END AS problem) x
WHERE s.subdbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AND t.tables IS NOT NULL;
COMMENT ON VIEW agent_kpi.feeds IS
    'One row per subscription that brings turns, other facts or rows of attached tables from another database. '
    'Unique: subscription.';
COMMENT ON COLUMN agent_kpi.feeds.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN agent_kpi.feeds.tables IS 'Tables that it writes, of ours and attached ones.';
COMMENT ON COLUMN agent_kpi.feeds.status IS
    'followed; copying: the rows that were there before it are still on their way; or problem.';
COMMENT ON COLUMN agent_kpi.feeds.problem IS
    'Why nothing comes; NULL: it does. The log of this server has the words of each error.';
COMMENT ON COLUMN agent_kpi.feeds.heard_of_at IS
    'When the other server last said something, if only that there is nothing new; NULL: not since the worker began.';
COMMENT ON COLUMN agent_kpi.feeds.lag_seconds IS
    'Seconds since then. How much the other server still has to send, it alone knows: docs/managed-services.md.';
COMMENT ON COLUMN agent_kpi.feeds.errors IS
    'Errors while it was copied or applied, since the statistics of the server were last reset.';

-- An id that a stranger gave may be any text: one that is no number is shown as its hash.
CREATE OR REPLACE VIEW agent_kpi.incomplete_traces WITH (security_barrier) AS
SELECT CASE WHEN t.trace_id ~ '^[0-9a-f]{1,64}$' THEN t.trace_id ELSE 'hash ' || md5(t.trace_id) END AS trace_id,
       t.sender, agent_metrics_internal.reason_class(t.missing) AS missing, t.waiting_since, t.waiting_turns AS turns,
       t.waiting_tokens AS tokens
FROM agent_metrics_internal.traces t
WHERE t.waiting_turns > 0;
COMMENT ON VIEW agent_kpi.incomplete_traces IS
    'Traces with calls of models that are no turns yet, for something is not known of them: in no number. They come in '
    'by themselves when what is missing comes, or when span_vocabulary learns its name. Unique: trace_id, sender.';
COMMENT ON COLUMN agent_kpi.incomplete_traces.trace_id IS 'Id of the trace.';
COMMENT ON COLUMN agent_kpi.incomplete_traces.sender IS 'Role or token that sends it.';
COMMENT ON COLUMN agent_kpi.incomplete_traces.missing IS 'What is missing.';
COMMENT ON COLUMN agent_kpi.incomplete_traces.waiting_since IS 'Since when.';
COMMENT ON COLUMN agent_kpi.incomplete_traces.turns IS 'Calls of models that wait.';
COMMENT ON COLUMN agent_kpi.incomplete_traces.tokens IS 'Their input and output tokens.';
