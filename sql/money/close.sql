-- Closing the books: the numbers of a month, frozen as they were reported. Facts that come later change what is known
-- now and nothing that was reported; the difference is written down, with its date and cause, as adjustments.

CREATE FUNCTION agent_metrics.close_period(month date, by text, note text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    first  date := date_trunc('month', $1::timestamp)::date;
    ended  timestamptz := agent_metrics_internal.day_start(
        (date_trunc('month', $1::timestamp) + interval '1 month')::date, agent_metrics_internal.report_time_zone());
    behind text;
    frozen bigint;
BEGIN
    IF first IS NULL OR NOT isfinite(first) OR coalesce(btrim($2), '') = '' THEN
        RAISE EXCEPTION 'no month to close, or nobody who closes it'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Closed books name their month and who answers for them.',
                  HINT = 'SELECT agent_metrics.close_period(''2026-01-01'', ''Head of Finance'');';
    END IF;
    IF ended > now() THEN
        RAISE EXCEPTION 'the month of % has not ended', first
            USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = format('It ends at %s.', ended),
                  HINT = 'Close it afterwards; until then every number is as known now.';
    END IF;
    SELECT w.agent_id INTO behind FROM agent_metrics_internal.agent_watermarks w 
    -- a refresh that lies ahead was made by a clock that was wrong
    WHERE coalesce(w.refreshed_at < ended OR w.refreshed_at > now() + interval '5 minutes', true)
    ORDER BY w.agent_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'agent % was not refreshed since the month of % ended', behind, first
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'Its numbers lack facts that are here already.',
                  HINT = 'SELECT agent_metrics.refresh(); then close the month.';
    END IF;
    -- What is noted as known is not later than what is read for the numbers.
    INSERT INTO agent_metrics_internal.closed_periods (month, closed_by, note, snapshot, origin)
    SELECT first, $2, $3, agent_metrics_internal.snapshot_without(pg_current_snapshot(), pg_current_xact_id()),
           agent_metrics_internal.origin()
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the month of % is closed already', first
            USING ERRCODE = 'unique_violation',
                  DETAIL = (SELECT format('%s closed it at %s.', c.closed_by, c.closed_at)
                            FROM agent_metrics_internal.closed_periods c WHERE c.month = first),
                  HINT = 'What came later is in agent_kpi.adjustments.';
    END IF;
    INSERT INTO agent_metrics_internal.reported_values (month, agent_id, metric, unit, value, numerator, denominator)
    SELECT b.month, b.agent_id, b.metric, b.unit, b.value, b.numerator, b.denominator
    FROM agent_metrics_internal.month_books b WHERE b.month = first;
    GET DIAGNOSTICS frozen = ROW_COUNT;
    RETURN frozen;
END
$function$;
COMMENT ON FUNCTION agent_metrics.close_period(date, text, text) IS
    'Closes the books of a month, named by any of its days: every number of it is kept as it is reported now. '
    'Returns how many. Refused before the month ended, twice, and while an agent was not refreshed since.';

CREATE FUNCTION agent_metrics_internal.record_adjustments(pause interval DEFAULT '0') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    moment   timestamptz := clock_timestamp();
    current_snapshot  pg_snapshot;
    recorded bigint;
BEGIN
    -- one at a time; what it reads is read afterwards
    PERFORM FROM agent_metrics_internal.closed_periods c ORDER BY c.month FOR UPDATE;
    IF NOT FOUND OR EXISTS (SELECT 1 FROM agent_metrics_internal.adjustments a WHERE a.adjusted_at > now() - pause) THEN
        RETURN 0;
    END IF;
    current_snapshot := agent_metrics_internal.snapshot_without(pg_current_snapshot(), pg_current_xact_id());
    INSERT INTO agent_metrics_internal.adjustments (month, agent_id, metric, adjusted_at, unit, value_before,
                                                    value_after, numerator_before, numerator_after, denominator_before,
                                                    denominator_after, cause)
    SELECT u.month, u.agent_id, u.metric, moment, u.unit, u.value_before, u.value_after, u.numerator_before,
           u.numerator_after, u.denominator_before, u.denominator_after, u.cause
    FROM agent_metrics_internal.unrecorded_adjustments u;
    GET DIAGNOSTICS recorded = ROW_COUNT;
    IF recorded > 0 THEN
        UPDATE agent_metrics_internal.closed_periods c
        SET snapshot = current_snapshot, origin = agent_metrics_internal.origin();
    END IF;
    RETURN recorded;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.record_adjustments(interval) IS
    'Writes down what changed in closed months since it last did, with date and cause; returns how many numbers. '
    'pause: not before so long after the last time; the program calls it after each refresh with a day. '
    'What is not recorded yet shows in agent_kpi.adjustments all the same.';
