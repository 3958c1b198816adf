-- Names of models and of what they bill: a trace says "OpenAI", a price list "openai", a bill "Microsoft".

-- Rows of model_aliases join names. Providers are compared without regard to case, models as they are written. A row
-- that names the model goes before one of the whole provider. A chain of rows ends after eight of them, or where a
-- name leads to itself.
CREATE FUNCTION agent_metrics.canonical_model(INOUT provider text, INOUT model text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
#variable_conflict use_variable
DECLARE
    of_any text;  -- the keys of model_aliases
    of_one text;
    alias  record;
BEGIN
    FOR step IN 1 .. 8 LOOP
        of_any := lower(provider);
        of_one := of_any || ': ' || model;
        SELECT a.canonical_provider AS of_provider, coalesce(a.canonical_model, model) AS of_model INTO alias
        FROM agent_metrics.model_aliases a
        WHERE a.alias IN (of_any, of_one)
        ORDER BY a.model NULLS LAST LIMIT 1;
        EXIT WHEN NOT FOUND OR (alias.of_provider = provider AND alias.of_model IS NOT DISTINCT FROM model);
        provider := alias.of_provider;
        model := alias.of_model;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics.canonical_model(text, text) IS
    'The one name by which turns, prices and bills of a model are joined: where the rows of '
    'agent_metrics.model_aliases lead from this provider and model. A name without a row is its own.';

-- Under which other names prices of a model stand that hold at a moment. provider and model are its canonical name:
-- it is one of them in another case, or names whose aliases lead there. The recursion goes the aliases of the model
-- back; UNION ends it where they go round. Most models that get here have no price at all, so that is asked first.
CREATE FUNCTION agent_metrics_internal.priced_names(provider text, model text, at timestamptz)
RETURNS TABLE (priced_provider text, priced_model text)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.token_prices t WHERE t.model = priced_names.model)
       AND NOT EXISTS (SELECT 1 FROM agent_metrics.model_aliases a WHERE a.canonical_model = priced_names.model) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE name AS (
        SELECT priced_names.model AS model
        UNION
        SELECT a.model FROM name n JOIN agent_metrics.model_aliases a ON a.canonical_model = n.model
    ), price AS MATERIALIZED (
        SELECT DISTINCT t.provider, t.model FROM name n JOIN agent_metrics.token_prices t ON t.model = n.model
        WHERE t.effective_from <= priced_names.at AND t.effective_to > priced_names.at
    )
    SELECT p.provider, p.model
    FROM price p
    CROSS JOIN LATERAL agent_metrics.canonical_model(p.provider, p.model) c
    WHERE lower(c.provider) = lower(priced_names.provider) AND c.model = priced_names.model;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.priced_names(text, text, timestamptz) IS
    'Names under which a model has prices at a moment, when it has none under its own. Internal: price_turn() uses it.';

-- A model of no provider has the name that its aliases agree upon.
CREATE FUNCTION agent_metrics_internal.canonical_of_model(INOUT provider text, INOUT model text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    one record;
BEGIN
    IF provider IS NULL THEN
        SELECT min(c.provider) AS provider, min(c.model) AS model, count(DISTINCT (c.provider, c.model)) AS names
        INTO one
        FROM agent_metrics.model_aliases a
        CROSS JOIN LATERAL agent_metrics.canonical_model(a.provider, a.model) c
        WHERE a.model = canonical_of_model.model;
        IF one.names = 1 THEN
            provider := one.provider;
            model := one.model;
        END IF;
    ELSE
        one := agent_metrics.canonical_model(provider, model);
        provider := one.provider;
        model := one.model;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.canonical_of_model(text, text) IS
    'canonical_model(), also of a model whose provider is not known. Internal: price_turn() uses it.';

-- Tokens of a type belong to one of four counts of a turn. billed_as: what they are billed as where the type has no
-- price of its own; NULL: their cost is not known then, for nobody bills sound as text.
CREATE FUNCTION agent_metrics_internal.usage_types() RETURNS TABLE (usage_type text, part_of text, billed_as text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT v.usage_type, v.part_of, v.billed_as
    FROM (VALUES ('input', NULL::text, NULL::text), ('output', NULL, NULL), ('cache_read', NULL, NULL),
                 ('cache_write', NULL, NULL), ('cache_write_5m', 'cache_write', 'cache_write'),
                 ('cache_write_1h', 'cache_write', NULL), ('audio_cache_write', 'cache_write', NULL),
                 ('audio_cache_read', 'cache_read', NULL), ('image_cache_read', 'cache_read', NULL),
                 ('audio_input', 'input', NULL), ('image_input', 'input', NULL), ('video_input', 'input', NULL),
                 ('reasoning', 'output', 'output'), ('audio_output', 'output', NULL), ('image_output', 'output', NULL),
                 ('video_output', 'output', NULL)) AS v (usage_type, part_of, billed_as);
END;
COMMENT ON FUNCTION agent_metrics_internal.usage_types() IS
    'Usage types that a price may be for: the count of a turn that each is part of, and what it is billed as without '
    'a price of its own. input is what is not cached. Internal: prices are checked by it.';

CREATE FUNCTION agent_metrics_internal.service_tier(name text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN coalesce(lower(btrim(name)), '') IN ('', 'default', 'standard', 'standard_only', 'auto',
                                                          'on_demand')
                THEN 'standard' ELSE lower(btrim(name)) END;
COMMENT ON FUNCTION agent_metrics_internal.service_tier(text) IS
    'The service tier that a producer''s word means: none, default, auto and on_demand are the standard one.';
