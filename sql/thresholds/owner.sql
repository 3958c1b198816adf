-- What a threshold may say; and a kind's thresholds, which follow to its agents.

CREATE OR REPLACE FUNCTION agent_metrics_internal.check_threshold() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    metric_unit text;
    is_of_agent constant boolean := TG_ARGV[0] = 'agent';
    whose       text := CASE WHEN is_of_agent THEN to_jsonb(NEW) ->> 'agent_id' ELSE to_jsonb(NEW) ->> 'kind' END;
    other       record;
    former      date;  -- of an update: its first day as it was
BEGIN
    IF TG_OP = 'UPDATE' THEN
        former := OLD.effective_from;
    END IF;
    -- a kind's threshold may leave it to each agent's owner
    IF btrim(NEW.owner) = '' OR (NEW.owner IS NULL AND is_of_agent) THEN
        RAISE EXCEPTION 'the threshold for % of % "%" has no owner', NEW.metric, TG_ARGV[0], whose
            USING ERRCODE = 'not_null_violation',
                  DETAIL = 'A threshold that nobody answers for is not a threshold.',
                  HINT = 'Name a person, role or team that is a row of agent_metrics.owners.';
    END IF;
    SELECT m.unit INTO metric_unit FROM agent_metrics.metrics m WHERE m.metric = NEW.metric;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown metric "%"', NEW.metric
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'No row of agent_metrics.metrics has that name.',
                  HINT = 'SELECT metric FROM agent_metrics.metrics lists them.';
    END IF;
    IF NEW.value IS NULL OR NEW.value IN ('NaN', 'Infinity', '-Infinity')
       OR (metric_unit = 'fraction' AND NEW.value NOT BETWEEN 0 AND 1)
       OR (metric_unit = 'points' AND NEW.value NOT BETWEEN -200 AND 200)
       OR (metric_unit IN ('usd', 'ms', 's', 'count') AND NEW.value < 0 AND NEW.metric NOT LIKE 'revenue%') THEN
        RAISE EXCEPTION 'impossible threshold % for %', coalesce(NEW.value::text, 'NULL'), NEW.metric
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = format('The unit of %s is %s.', NEW.metric, metric_unit),
                  HINT = 'A fraction lies between 0 and 1: 92 per cent is 0.92.';
    END IF;
    IF NEW.effective_to < NEW.effective_from THEN
        RAISE EXCEPTION 'the threshold for % of "%" ends on % before it begins on %', NEW.metric, whose,
            NEW.effective_to, NEW.effective_from
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'effective_to is the last day that it holds.',
                  HINT = 'Leave effective_to NULL for a threshold that holds until the next one.';
    END IF;
    -- A threshold without an end gives way to the next one; one that says until when it holds does not.
    EXECUTE format('SELECT t.effective_from, t.effective_to FROM agent_metrics.%I t
                    WHERE t.%I = $1 AND t.metric = $2 AND t.effective_from <> $3
                      AND ($5 IS NULL OR t.effective_from <> $5)
                      AND (t.effective_from < $3 AND t.effective_to >= $3
                           OR t.effective_from > $3 AND t.effective_from <= $4)
                    LIMIT 1',
                   CASE WHEN is_of_agent THEN 'thresholds' ELSE 'kind_thresholds' END,
                   CASE WHEN is_of_agent THEN 'agent_id' ELSE 'kind' END)
    INTO other USING whose, NEW.metric, NEW.effective_from, NEW.effective_to, former;
    IF other.effective_from IS NOT NULL THEN
        RAISE EXCEPTION 'the threshold for % of "%" from % overlaps the one from % to %', NEW.metric,
            whose, NEW.effective_from,
                        other.effective_from, coalesce(other.effective_to::text, 'open end')
            USING ERRCODE = 'exclusion_violation',
                  DETAIL = 'On a day that both hold nobody could say which of them counts.',
                  HINT = 'Change effective_to of one of them.';
    END IF;
    RETURN NEW;
END
$function$;
REVOKE ALL ON FUNCTION agent_metrics_internal.check_threshold() FROM PUBLIC;
COMMENT ON FUNCTION agent_metrics_internal.check_threshold() IS
    'Trigger: refuses a threshold without owner, of an unknown metric, with an impossible value, '
    'or that overlaps another.';

-- A kind's thresholds are copied to its agents, so that one look-up finds an agent's threshold whoever set it.
CREATE OR REPLACE FUNCTION agent_metrics_internal.follow_kind_threshold() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        DELETE FROM agent_metrics.thresholds t USING agent_metrics.agents a
        WHERE a.kind = OLD.kind AND t.agent_id = a.agent_id AND t.metric = OLD.metric
          AND t.effective_from = OLD.effective_from AND t.is_from_kind;
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        INSERT INTO agent_metrics.thresholds AS t (
            agent_id, metric, effective_from, value, owner, effective_to, deputy, review_on, note, is_from_kind)
        SELECT a.agent_id, NEW.metric, NEW.effective_from, NEW.value, coalesce(NEW.owner, a.owner), NEW.effective_to,
               NEW.deputy, NEW.review_on, NEW.note, true
        FROM agent_metrics.agents a
        WHERE a.kind = NEW.kind AND a.actor = 'ai'
          AND NOT EXISTS (SELECT 1 FROM agent_metrics.thresholds o
                          WHERE o.agent_id = a.agent_id AND o.metric = NEW.metric AND NOT o.is_from_kind)
        ON CONFLICT (agent_id, metric, effective_from) DO UPDATE SET
            value = excluded.value, owner = excluded.owner, effective_to = excluded.effective_to,
            deputy = excluded.deputy, review_on = excluded.review_on, note = excluded.note;
    END IF;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.follow_kind_threshold() IS
    'Trigger: copies a kind''s threshold to its agents that have none of their own for the metric.';
REVOKE ALL ON FUNCTION agent_metrics_internal.follow_kind_threshold() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.own_threshold() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    -- Not the copy that the trigger above makes.
    IF pg_trigger_depth() = 1 THEN
        NEW.is_from_kind := false;
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.own_threshold() IS 'Trigger: an edited threshold is the agent''s own.';
REVOKE ALL ON FUNCTION agent_metrics_internal.own_threshold() FROM PUBLIC;
