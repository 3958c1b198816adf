-- What was decided stays; a review weighs what its conversation was drawn with.

CREATE OR REPLACE FUNCTION agent_metrics_internal.keep_decision() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RAISE EXCEPTION 'a decision % cannot be changed or deleted',
                    CASE WHEN TG_OP = 'TRUNCATE' THEN 'once made'
                         ELSE format('of %s about agent "%s"', OLD.decided_at, OLD.agent_id) END
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = 'What was decided, by whom and on which numbers stays as it was.',
              HINT = 'Decide again with agent_metrics.decide(): the latest decision of a quarter counts.';
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.keep_decision() IS 'Trigger: refuses to change or delete a decision.';
REVOKE ALL ON FUNCTION agent_metrics_internal.keep_decision() FROM PUBLIC;

-- With the owner's rights, for a writer may not read the samples.
CREATE OR REPLACE FUNCTION agent_metrics_internal.weigh_review() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.sample_id IS NOT NULL THEN
        NEW.weight := agent_metrics_internal.review_weight(NEW.agent_id, NEW.sample_id, NEW.conversation_id);
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.weigh_review() IS
    'Trigger: a review of a sample weighs what its conversation was drawn with; '
    'one of a conversation that was not drawn is refused.';
REVOKE ALL ON FUNCTION agent_metrics_internal.weigh_review() FROM PUBLIC;
