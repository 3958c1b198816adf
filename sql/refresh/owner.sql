-- Watermarks come and go with their agents.

-- An agent has its lock from the moment it is registered, and none when it is gone: what only a departed agent has
-- not seen would be kept in the log for ever.
CREATE OR REPLACE FUNCTION agent_metrics_internal.follow_agent() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO agent_metrics_internal.agent_watermarks (agent_id) VALUES (NEW.agent_id) ON CONFLICT DO NOTHING;
    ELSE
        DELETE FROM agent_metrics_internal.agent_watermarks w WHERE w.agent_id = OLD.agent_id;
    END IF;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.follow_agent() IS
    'Trigger: makes the watermark of a new agent and removes that of a departed one.';
REVOKE ALL ON FUNCTION agent_metrics_internal.follow_agent() FROM PUBLIC;
