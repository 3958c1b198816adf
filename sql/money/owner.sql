-- What a price may say, and that what was reported stays.

-- Says in words what the constraint can only refuse.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_token_price() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    other record;
BEGIN
    IF NEW.usage_type IS NULL OR NEW.usage_type NOT IN (
        SELECT u.usage_type FROM agent_metrics_internal.usage_types() u) THEN
        RAISE EXCEPTION 'unknown usage type "%"', coalesce(NEW.usage_type, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('A price is for input (tokens that are not cached) or another of: %s.',
                                  (SELECT string_agg(u.usage_type, ', ')
                                   FROM agent_metrics_internal.usage_types() u)),
                  HINT = 'Enter one row for each of them that the model bills.';
    END IF;
    NEW.service_tier := agent_metrics_internal.service_tier(NEW.service_tier);
    IF NEW.min_input_tokens < 0 THEN
        RAISE EXCEPTION 'impossible tier of % input tokens for % of %', NEW.min_input_tokens, NEW.usage_type, NEW.model
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'A price with min_input_tokens holds for calls with more input tokens than that, '
                           'cached ones included; 0: for every call.',
                  HINT = 'The price above 200k tokens has min_input_tokens 200000.';
    END IF;
    IF NEW.usd_per_million IS NULL OR NOT (NEW.usd_per_million >= 0 AND NEW.usd_per_million < 1000000000) THEN
        RAISE EXCEPTION 'impossible price % for % of %', coalesce(NEW.usd_per_million::text, 'NULL'),
            NEW.usage_type, NEW.model
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'A price is in US dollars for a million tokens, 0 or more.',
                  HINT = 'Three dollars a million is 3; a price for a thousand tokens is multiplied by 1000.';
    END IF;
    IF NEW.effective_to <= NEW.effective_from THEN
        RAISE EXCEPTION 'the price for % of % ends at % before it begins at %', NEW.usage_type, NEW.model,
            NEW.effective_to, NEW.effective_from
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It holds from effective_from on and no longer at effective_to.',
                  HINT = 'Leave effective_to out for a price that has no end yet.';
    END IF;
    SELECT p.* INTO other
    FROM agent_metrics.token_prices p
    WHERE p.provider = NEW.provider AND p.model = NEW.model AND p.usage_type = NEW.usage_type
      AND p.service_tier = NEW.service_tier AND p.min_input_tokens = NEW.min_input_tokens
      AND p.effective_from < NEW.effective_to AND p.effective_to > NEW.effective_from
      AND NOT (TG_OP = 'UPDATE' AND (p.provider, p.model, p.usage_type, p.service_tier, p.min_input_tokens,
                                     p.effective_from)
                                  = (OLD.provider, OLD.model, OLD.usage_type, OLD.service_tier, OLD.min_input_tokens,
                                     OLD.effective_from))
    ORDER BY p.effective_from LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the price for % of % from % to % overlaps another', NEW.usage_type, NEW.model,
            NEW.effective_from, NEW.effective_to
            USING ERRCODE = 'exclusion_violation',
                  DETAIL = format('From %s to %s it is %s.', other.effective_from, other.effective_to,
                                  other.usd_per_million),
                  HINT = 'First end that one: UPDATE agent_metrics.token_prices SET effective_to = ... WHERE ...';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_token_price() IS
    'Trigger: refuses an unknown usage type, an impossible price and a window that overlaps another; '
    'brings the service tier into one spelling.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_token_price() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.refuse_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RAISE EXCEPTION 'closed books do not change'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = format('%s of %s was refused: what was reported stays as it was reported.', TG_OP, TG_ARGV[0]),
              HINT = 'A fact that comes late is written where facts are; agent_kpi.adjustments shows what it changes.';
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.refuse_change() IS
    'Trigger: refuses to change what was reported of a closed month.';
REVOKE ALL ON FUNCTION agent_metrics_internal.refuse_change() FROM PUBLIC;
