-- The outbox: alerts are written with what they are about, and handed out to whoever delivers them.

-- The one place that says whom an alert goes to: every channel that takes its owner's, or everybody's.
CREATE FUNCTION agent_metrics_internal.address_alerts(alert_id text DEFAULT NULL, channels text[] DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    INSERT INTO agent_metrics_internal.alert_deliveries (agent_id, alert_id, channel, stage, next_attempt_at)
    SELECT a.agent_id, a.alert_id, c.channel, 'first', '-infinity'
    FROM agent_metrics_internal.alerts a
    JOIN agent_metrics.alert_channels c ON c.is_active AND (c.owner IS NULL OR c.owner = a.owner)
    WHERE a.acknowledged_at IS NULL AND ($1 IS NULL OR a.alert_id = $1) AND ($2 IS NULL OR c.channel = ANY ($2))
    ON CONFLICT DO NOTHING;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.address_alerts(text, text[]) IS
    'Puts an alert that nobody has acknowledged, or all of them, on their way to the channels of their owners, or to '
    'some of these; each goes to a channel once. Internal: enqueue_alert() and claim_alerts() use it.';

CREATE FUNCTION agent_metrics_internal.enqueue_alert(
    kind text, agent_id text, dedupe_key text, payload jsonb, owner text)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    made text;
BEGIN
    INSERT INTO agent_metrics_internal.alerts (agent_id, kind, dedupe_key, owner, payload)
    VALUES ($2, $1, $3, $5, coalesce($4, '{}')) ON CONFLICT (agent_id, dedupe_key) DO NOTHING
    RETURNING alert_id INTO made;
    IF made IS NOT NULL THEN
        PERFORM agent_metrics_internal.address_alerts(made);
    END IF;
    RETURN made;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.enqueue_alert(text, text, text, jsonb, text) IS
    'Puts an alert into the outbox, in the caller''s transaction, for every channel of its owner. '
    'Returns its id, or NULL when the agent has one with that key.';

CREATE FUNCTION agent_metrics.acknowledge_alert(alert_id text, "by" text, note text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    alert record;
BEGIN
    IF coalesce(btrim($2), '') = '' THEN
        RAISE EXCEPTION 'nobody acknowledges alert "%"', $1
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It matters who has seen it.',
                  HINT = 'Say who: a person, role or team.';
    END IF;
    SELECT a.agent_id, a.acknowledged_at INTO alert
    FROM agent_metrics_internal.alerts a WHERE a.alert_id = $1 FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown alert "%"', $1
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'No row of agent_metrics_internal.alerts has that id.',
                  HINT = 'SELECT alert_id, agent_id, summary FROM agent_kpi.alerts WHERE acknowledged_at IS NULL '
                         'lists what is open.';
    END IF;
    UPDATE agent_metrics_internal.alerts a SET acknowledged_by = $2, acknowledged_at = now(), note = $3
    WHERE a.agent_id = alert.agent_id AND a.alert_id = $1 AND a.acknowledged_at IS NULL;
    RETURN alert.acknowledged_at IS NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics.acknowledge_alert(text, text, text) IS
    'Says that somebody has seen an alert: no reminder goes out any more. '
    'False when somebody had said so before, which stays.';

-- For the table of breaches: a new one is an alert, one that is acknowledged or closed needs no reminder.
CREATE FUNCTION agent_metrics_internal.alert_breach() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    row   jsonb := to_jsonb(NEW);
    -- A breach that is opened again is told again.
    again text := coalesce(' ' || nullif(row ->> 'reopenings', '0'), '');
BEGIN
    IF TG_OP = 'INSERT' OR row ->> 'reopenings' IS DISTINCT FROM to_jsonb(OLD) ->> 'reopenings' THEN
        PERFORM agent_metrics_internal.enqueue_alert(
            'breach', row ->> 'agent_id', 'breach ' || (row ->> 'breach_id') || again,
            jsonb_build_object(
                'summary', format('%s of %s is beyond its threshold', row ->> 'metric', row ->> 'agent_id'))
            || jsonb_strip_nulls(jsonb_build_object(
                   'breach_id', row -> 'breach_id', 'metric', row -> 'metric', 'value', row -> 'value',
                   'ci_low', row -> 'ci_low', 'ci_high', row -> 'ci_high', 'threshold', row -> 'threshold',
                   'unit', (SELECT m.unit FROM agent_metrics.metrics m WHERE m.metric = row ->> 'metric'))),
            row ->> 'owner');
    ELSIF coalesce(row ->> 'acknowledged_at', row ->> 'closed_at') IS NOT NULL THEN
        UPDATE agent_metrics_internal.alerts a
        SET acknowledged_by = coalesce(row ->> 'acknowledged_by', 'closed'), acknowledged_at = now()
        WHERE a.agent_id = row ->> 'agent_id' AND a.dedupe_key = 'breach ' || (row ->> 'breach_id') || again
          AND a.acknowledged_at IS NULL;
    END IF;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.alert_breach() IS
    'Trigger after insert or update of a breach (breach_id, agent_id, metric, value, ci_low, ci_high, threshold, '
    'owner; acknowledged_by, acknowledged_at, closed_at): its alert.';

-- What is to be sent now. Each message is the claimer's for lease_seconds: when he dies another sends it again, with
-- the same message_id. Row locks on the channels keep two claimers apart, who do not wait for each other.
CREATE FUNCTION agent_metrics_internal.claim_alerts(at timestamptz DEFAULT now(), lease_seconds integer DEFAULT 120)
RETURNS TABLE (channel text, kind text, url_env text, secret_env text, message_id text, attempts integer, alerts jsonb)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    open_channels text[] := ARRAY(
        SELECT c.channel FROM agent_metrics.alert_channels c
        CROSS JOIN LATERAL (SELECT ($1 AT TIME ZONE c.time_zone)::time AS clock) t
        WHERE c.is_active
          AND NOT coalesce(CASE WHEN c.quiet_from <= c.quiet_to THEN t.clock >= c.quiet_from AND t.clock < c.quiet_to
                                ELSE t.clock >= c.quiet_from OR t.clock < c.quiet_to END, false)
        ORDER BY c.channel FOR UPDATE OF c SKIP LOCKED);
BEGIN
    -- What was found before its channel was there, or while it was switched off, is told now.
    PERFORM agent_metrics_internal.address_alerts(channels => open_channels);
    UPDATE agent_metrics_internal.alert_deliveries d SET state = 'dropped'
    FROM agent_metrics_internal.alerts a
    WHERE d.channel = ANY (open_channels) AND d.state = 'waiting' AND d.attempts = 0
      AND a.agent_id = d.agent_id AND a.alert_id = d.alert_id AND a.acknowledged_at IS NOT NULL;
    -- Nobody acknowledged it: once more, and then to the deputy, by his channels and by those of everybody.
    INSERT INTO agent_metrics_internal.alert_deliveries (agent_id, alert_id, channel, stage, next_attempt_at)
    SELECT d.agent_id, d.alert_id, c.channel, s.next, '-infinity'
    FROM agent_metrics_internal.alert_deliveries d
    JOIN agent_metrics_internal.alerts a ON a.agent_id = d.agent_id AND a.alert_id = d.alert_id
     AND a.acknowledged_at IS NULL
    JOIN agent_metrics.alert_channels sent ON sent.channel = d.channel
    JOIN (VALUES ('first', 'reminder'), ('reminder', 'deputy')) AS s (stage, next) ON s.stage = d.stage
    LEFT JOIN agent_metrics.owners o ON o.owner = a.owner
    JOIN agent_metrics.alert_channels c ON c.is_active
        AND CASE s.next WHEN 'reminder' THEN c.channel = d.channel
                        ELSE o.deputy IS NOT NULL AND (c.owner IS NULL OR c.owner IN (o.owner, o.deputy)) END
    WHERE d.channel = ANY (open_channels) AND d.state = 'sent' AND d.sent_at <= $1 - sent.remind_after
    ON CONFLICT DO NOTHING;
    -- What no receiver could be sent is given up by itself, before it spoils the message it would be in.
    UPDATE agent_metrics_internal.alert_deliveries d SET state = 'dead', last_error = p.problem
    FROM agent_metrics_internal.alerts a
    CROSS JOIN LATERAL (
        SELECT CASE WHEN jsonb_typeof(a.payload) <> 'object' THEN 'its payload is no JSON object'
                    WHEN pg_column_size(a.payload) > 262144 THEN 'its payload is longer than 262144 bytes'
                    WHEN octet_length(a.payload::text) > 262144
                        THEN 'its payload is longer than 262144 bytes' END AS problem) p
    WHERE d.channel = ANY (open_channels) AND d.state = 'waiting' AND d.next_attempt_at <= $1
      AND a.agent_id = d.agent_id AND a.alert_id = d.alert_id AND p.problem IS NOT NULL;
    -- A storm becomes one message.
    UPDATE agent_metrics_internal.alert_deliveries d SET message_id = m.message_id
    FROM (SELECT w.channel, min(w.message_id) AS message_id
          FROM agent_metrics_internal.alert_deliveries w JOIN agent_metrics.alert_channels c ON c.channel = w.channel
          WHERE w.channel = ANY (open_channels) AND w.state = 'waiting' AND w.attempts = 0 AND w.next_attempt_at <= $1
          GROUP BY w.channel, c.digest_over HAVING count(*) > c.digest_over) m
    WHERE d.channel = m.channel AND d.state = 'waiting' AND d.attempts = 0 AND d.next_attempt_at <= $1;
    RETURN QUERY
    -- No attempt is put off by a day: a moment that far ahead was written by a clock that was wrong.
    WITH claimed_message AS (
        UPDATE agent_metrics_internal.alert_deliveries d
        SET attempts = d.attempts + 1, next_attempt_at = $1 + make_interval(secs => $2)
        WHERE d.channel = ANY (open_channels) AND d.state = 'waiting'
          AND (d.next_attempt_at <= $1 OR d.next_attempt_at > $1 + interval '1 day')
        RETURNING d.*
    )
    SELECT c.channel, c.kind, c.url_env, c.secret_env, d.message_id, max(d.attempts),
           jsonb_agg(a.payload || jsonb_strip_nulls(jsonb_build_object(
               'alert_id', a.alert_id, 'kind', a.kind, 'agent_id', a.agent_id, 'agent_name', g.display_name,
               'stage', d.stage, 'created_at', a.created_at, 'owner', a.owner, 'owner_slack_id', o.slack_id,
               'deputy', CASE d.stage WHEN 'deputy' THEN o.deputy END,
               'deputy_slack_id', CASE d.stage WHEN 'deputy' THEN u.slack_id END,
               'page_url', (SELECT nullif(s.value, '') FROM agent_metrics.settings s WHERE s.name = 'page_url')))
               ORDER BY a.created_at, a.alert_id)
    FROM claimed_message d
    JOIN agent_metrics.alert_channels c ON c.channel = d.channel
    JOIN agent_metrics_internal.alerts a ON a.agent_id = d.agent_id AND a.alert_id = d.alert_id
    LEFT JOIN agent_metrics.agents g ON g.agent_id = a.agent_id
    LEFT JOIN agent_metrics.owners o ON o.owner = a.owner
    LEFT JOIN agent_metrics.owners u ON u.owner = o.deputy
    GROUP BY c.channel, d.message_id
    ORDER BY min(a.created_at), d.message_id;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.claim_alerts(timestamptz, integer) IS
    'Messages to be sent now, with the alerts in each; they are the caller''s for so many seconds. '
    'Makes reminders and digests, and minds quiet hours. The program calls it.';

CREATE FUNCTION agent_metrics_internal.record_delivery(
    channel text, message_id text, attempt integer, outcome text, at timestamptz DEFAULT now(), error text DEFAULT NULL,
    retry_at timestamptz DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    found bigint;
BEGIN
    UPDATE agent_metrics_internal.alert_deliveries d
    SET state = CASE $4 WHEN 'retry' THEN 'waiting' ELSE $4 END, sent_at = CASE $4 WHEN 'sent' THEN $5 END,
        last_error = $6, next_attempt_at = coalesce($7, d.next_attempt_at)
    WHERE d.channel = $1 AND d.message_id = $2 AND d.state = 'waiting' AND d.attempts = $3;
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.record_delivery(text, text, integer, text, timestamptz, text, timestamptz) IS
    'What became of a message: sent, retry (at retry_at) or dead. Of an attempt that somebody else has taken over it '
    'says nothing. The program calls it.';

CREATE FUNCTION agent_metrics_internal.bury_alert(channel text, message_id text, alert_id text, error text)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    found bigint;
BEGIN
    UPDATE agent_metrics_internal.alert_deliveries d SET state = 'dead', last_error = $4
    WHERE d.channel = $1 AND d.message_id = $2 AND d.alert_id = $3 AND d.state = 'waiting';
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.bury_alert(text, text, text, text) IS
    'Gives up one alert of a message, which goes out without it. The program calls it for an alert '
    'that it cannot read.';

CREATE FUNCTION agent_metrics.requeue_alerts(channel text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    found bigint;
BEGIN
    UPDATE agent_metrics_internal.alert_deliveries d
    SET state = 'waiting', attempts = 0, next_attempt_at = '-infinity', last_error = NULL
    WHERE (d.state = 'dead' OR d.state = 'waiting' AND d.last_error IS NOT NULL) AND ($1 IS NULL OR d.channel = $1);
    GET DIAGNOSTICS found = ROW_COUNT;
    RETURN found;
END
$function$;
COMMENT ON FUNCTION agent_metrics.requeue_alerts(text) IS
    'Sends what was given up once more, and what failed and waits at once, of one channel or of all (NULL). '
    'Returns how many alerts.';
