-- What settings, kinds and agents may say.

-- Every view and every refresh reads the time zone, so a wrong one is refused where it is written.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_setting() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    -- A name that nothing reads would be believed to hold; names with a prefix are for what people build beside this.
    IF NEW.name NOT IN ('report_time_zone', 'hot_days', 'page_url', 'span_days', 'span_attributes')
       AND NEW.name !~ '^[a-z0-9_]+\.' THEN
        RAISE EXCEPTION 'unknown setting "%"', NEW.name
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The settings are report_time_zone, hot_days, page_url, span_days and span_attributes.',
                  HINT = 'Use one of them; one of your own has a prefix and a dot: dashboards.colour.';
    END IF;
    IF NEW.name = 'page_url' AND NEW.value !~ '^(https?://[^[:space:]<>"|]+)?$' THEN
        RAISE EXCEPTION 'impossible address of the page "%"', NEW.value
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Alerts link to it, so it begins with https:// or http:// and has no space.',
                  HINT = 'Write it as people open it, such as https://agents.example; empty: alerts carry no links.';
    END IF;
    IF NEW.name = 'report_time_zone' AND NOT EXISTS (SELECT 1 FROM pg_timezone_names z WHERE z.name = NEW.value) THEN
        RAISE EXCEPTION 'unknown time zone "%"', NEW.value
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The IANA time zone database has no zone of that name.',
                  HINT = 'Use a name such as UTC, Europe/Berlin or America/New_York.';
    END IF;
    IF NEW.name = 'hot_days' AND NEW.value !~ '^[1-9][0-9]{0,5}$' THEN
        RAISE EXCEPTION 'impossible number of hot days "%"', NEW.value
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'hot_days says for how many days raw events stay in the database.',
                  HINT = 'Write a whole number of days from 1 upwards, such as 90.';
    END IF;
    IF NEW.name = 'span_days' AND NEW.value !~ '^[1-9][0-9]{0,2}$' THEN
        RAISE EXCEPTION 'impossible number of days of spans "%"', NEW.value
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'span_days says for how many days after its last span a trace stays open.',
                  HINT = 'Write a whole number of days from 1 to 999, such as 7.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_setting() IS
    'Trigger: refuses a setting that nothing reads, a time zone that is unknown, a number of days or an address that '
    'is none.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_setting() FROM PUBLIC;

-- An agent's settings are checked where they are written, so that a bad cadence never reaches the scheduler.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_agent() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.kind IS NOT NULL AND NOT EXISTS (SELECT 1 FROM agent_metrics.agent_kinds k WHERE k.kind = NEW.kind) THEN
        RAISE EXCEPTION 'unknown kind of agent "%"', NEW.kind
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = coalesce('The kinds are: ' || (SELECT string_agg(k.kind, ', ' ORDER BY k.kind)
                                                          FROM agent_metrics.agent_kinds k) || '.',
                                    'agent_metrics.agent_kinds has no rows: those that ship were not restored.'),
                  HINT = CASE WHEN EXISTS (SELECT 1 FROM agent_metrics.agent_kinds)
                              THEN 'Use one of them, or add a row to agent_metrics.agent_kinds.'
                              ELSE 'SELECT agent_metrics.setup(); puts them back where all of them are missing.' END;
    END IF;
    PERFORM agent_metrics.check_cadence(
        coalesce(NEW.cadence, (SELECT k.cadence FROM agent_metrics.agent_kinds k WHERE k.kind = NEW.kind)),
        NEW.time_zone);
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_agent() IS
    'Trigger: refuses an unknown kind, a broken or too frequent cadence, an unknown time zone.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_agent() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.check_agent_kind() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    PERFORM agent_metrics.check_cadence(NEW.cadence, 'UTC');
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_agent_kind() IS
    'Trigger: refuses a kind whose default cadence is broken or too frequent.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_agent_kind() FROM PUBLIC;
