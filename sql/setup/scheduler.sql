-- For the program: who leads, and what did not work. Members, with the caller's rights: only who may
-- write the tables can.

-- A lease counts while the server's clock lies between its last renewal and its end. When the clock was put back by
-- more than the lease is long, the end is further away than a renewal could have set it: then it is free as well, so a
-- clock that was a year ahead keeps nobody waiting for a year. Two leaders do some work twice and no harm.
CREATE FUNCTION agent_metrics_internal.take_lead(holder uuid, who text, seconds integer) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $function$
#variable_conflict use_column
DECLARE
    present timestamptz;
    taken   bigint;
BEGIN
    IF $1 IS NULL OR coalesce($3 NOT BETWEEN 1 AND 3600, true) THEN
        RAISE EXCEPTION 'no lease of % seconds for "%"', coalesce($3::text, 'NULL'), coalesce($1::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A lease has a holder and lasts from 1 to 3600 seconds.',
                  HINT = 'agent-metrics run takes it; nobody else need call this.';
    END IF;
    -- The clock is read once the row is ours, however long that took.
    PERFORM FROM agent_metrics_internal.scheduler_lease l FOR UPDATE;
    present := clock_timestamp();
    INSERT INTO agent_metrics_internal.scheduler_lease AS l (
        holder, who, role_name, address, acquired_at, renewed_at, expires_at)
    VALUES ($1, left(coalesce($2, ''), 200), current_user, host(inet_client_addr()), present, present,
            present + make_interval(secs => $3))
    ON CONFLICT (lease) DO UPDATE
    SET term = l.term + CASE WHEN l.holder = excluded.holder THEN 0 ELSE 1 END,
        acquired_at = CASE WHEN l.holder = excluded.holder THEN l.acquired_at ELSE excluded.acquired_at END,
        holder = excluded.holder, who = excluded.who, role_name = excluded.role_name, address = excluded.address,
        renewed_at = excluded.renewed_at, expires_at = excluded.expires_at
    WHERE l.holder IS NULL OR l.holder = excluded.holder OR l.expires_at <= present
       OR l.renewed_at - (l.expires_at - l.renewed_at) > present
    RETURNING l.term INTO taken;
    RETURN taken;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.take_lead(uuid, text, integer) IS
    'Becomes the one scheduler that leads, for so many seconds, unless another holds the lease: the number of the '
    'term, or NULL. The program calls it.';

CREATE FUNCTION agent_metrics_internal.renew_lead(holder uuid, term bigint, seconds integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $function$
#variable_conflict use_column
DECLARE
    present timestamptz;
BEGIN
    PERFORM FROM agent_metrics_internal.scheduler_lease l FOR UPDATE;
    present := clock_timestamp();
    UPDATE agent_metrics_internal.scheduler_lease l
    SET renewed_at = present, expires_at = present + make_interval(secs => $3)
    WHERE l.holder = $1 AND l.term = $2;
    RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.renew_lead(uuid, bigint, integer) IS
    'Leads on for so many seconds; false when another has taken over. The program calls it.';

CREATE FUNCTION agent_metrics_internal.release_lead(holder uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $function$
#variable_conflict use_column
BEGIN
    UPDATE agent_metrics_internal.scheduler_lease l
    SET holder = NULL, renewed_at = clock_timestamp(), expires_at = clock_timestamp() WHERE l.holder = $1;
    RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.release_lead(uuid) IS
    'Lets another lead at once. The program calls it when it stops.';

CREATE FUNCTION agent_metrics_internal.record_jobs(jobs text[], subjects text[], problems text[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    DELETE FROM agent_metrics_internal.job_problems p
    USING unnest($1, $2, $3) AS t (job, subject, problem)
    WHERE t.job = p.job AND t.subject = p.subject AND t.problem IS NULL;
    INSERT INTO agent_metrics_internal.job_problems AS p (job, subject, problem)
    SELECT t.job, t.subject, left(max(t.problem), 2000) FROM unnest($1, $2, $3) AS t (job, subject, problem)
    WHERE t.problem IS NOT NULL
    GROUP BY t.job, t.subject
    ORDER BY t.job, t.subject
    ON CONFLICT (job, subject) DO UPDATE SET
        problem = excluded.problem, last_seen = excluded.last_seen, attempts = p.attempts + 1;
    -- of an agent or an attached table that is gone nothing is tried any more
    DELETE FROM agent_metrics_internal.job_problems p
    WHERE p.job = 'refresh' AND p.subject <> ''
          AND NOT EXISTS (SELECT 1 FROM agent_metrics.agents a WHERE a.agent_id = p.subject)
       OR p.job = 'attached tables' AND p.subject <> ''
          AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.attached_tables a WHERE a.source = p.subject);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.record_jobs(text[], text[], text[]) IS
    'Writes down which jobs failed, and why; a problem of NULL says that the job worked and forgets the last one. '
    'The program calls it.';
