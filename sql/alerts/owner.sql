-- What an alert channel may say.

-- The name of a variable is checked here, where a pasted address would be stored for everybody with the table to read;
-- and the message does not repeat what was given.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_alert_channel() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.url_env !~ '^AGENT_METRICS_[A-Z0-9_]+$' OR NEW.secret_env !~ '^AGENT_METRICS_[A-Z0-9_]+$' THEN
        RAISE EXCEPTION 'channel "%" does not name environment variables', NEW.channel
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'url_env and secret_env are names that begin with AGENT_METRICS_; '
                           'addresses and keys are secrets and are never stored.',
                  HINT = 'Set AGENT_METRICS_SLACK_URL in the environment of the program, and write that name here.';
    END IF;
    IF NEW.kind = 'webhook' AND NEW.secret_env IS NULL THEN
        RAISE EXCEPTION 'channel "%" has no secret_env', NEW.channel
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Messages to a webhook are signed, so that the receiver can tell that they are ours.',
                  HINT = 'Set AGENT_METRICS_WEBHOOK_SECRET in the environment of the program, '
                         'and write that name here.';
    END IF;
    IF NOT EXISTS (SELECT 1 FROM pg_timezone_names z WHERE z.name = NEW.time_zone) THEN
        RAISE EXCEPTION 'unknown time zone "%"', NEW.time_zone
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The IANA time zone database has no zone of that name.',
                  HINT = 'Use a name such as UTC, Europe/Berlin or America/New_York.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_alert_channel() IS
    'Trigger: refuses a channel that names no environment variable, a webhook without a key, an unknown time zone.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_alert_channel() FROM PUBLIC;
