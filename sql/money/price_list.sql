-- A price list from elsewhere: what it would change is shown first, and what it cannot say is named.

-- Rates of LiteLLM's price map, by the names of their keys: a kind of token, then a size of input, then a service tier.
-- Prices there are for one token. A rate of anything else, an image or a second, is no price of ours and is named.
CREATE FUNCTION agent_metrics_internal.rates_of_map(prices jsonb)
RETURNS TABLE (provider text, model text, usage_type text, min_input_tokens bigint, service_tier text,
               usd_per_million numeric, effective_from timestamptz, note text, reason text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT x.provider, x.model, x.usage_type, coalesce(x.thousands::bigint * 1000, 0), coalesce(x.tier, 'standard'),
           CASE WHEN x.reason IS NULL THEN trim_scale(x.rate::numeric * 1000000) END, NULL::timestamptz,
           x.note, x.reason
    FROM (SELECT p.provider, p.model, u.usage_type, k.parts[2] AS thousands,
                 CASE k.parts[3] WHEN 'batches' THEN 'batch' ELSE k.parts[3] END AS tier, r.value AS rate,
                 left(e.entry ->> 'source', 500) AS note,
                 CASE WHEN p.provider IS NULL THEN 'names no litellm_provider'
                      WHEN u.usage_type IS NULL THEN format('%s has no place in token_prices', r.key)
                      WHEN jsonb_typeof(r.value) <> 'number' THEN format('%s is no number', r.key) END AS reason
          FROM jsonb_each(prices) AS e (name, entry)
          -- "azure/model" of provider azure and "vertex_ai/model" of provider vertex_ai-models name the model behind
          CROSS JOIN LATERAL (
              SELECT nullif(btrim(e.entry ->> 'litellm_provider'), '') AS provider,
                     CASE WHEN e.name LIKE '%/_%'
                           AND (e.entry ->> 'litellm_provider' = split_part(e.name, '/', 1)
                                OR starts_with(e.entry ->> 'litellm_provider', split_part(e.name, '/', 1) || '-')
                                OR starts_with(e.entry ->> 'litellm_provider', split_part(e.name, '/', 1) || '_'))
                          THEN substr(e.name, strpos(e.name, '/') + 1) ELSE e.name END AS model) p
          CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(e.entry) WHEN 'object' THEN e.entry ELSE '{}' END) AS r
          CROSS JOIN LATERAL (
              SELECT regexp_match(
                  r.key, '^(.*?)(?:_above_([0-9]{1,6})k_tokens)?(?:_(batches|flex|priority))?$') AS parts) k
          LEFT JOIN (VALUES
              ('input_cost_per_token', 'input'), ('output_cost_per_token', 'output'),
              ('cache_read_input_token_cost', 'cache_read'), ('input_cost_per_token_cache_hit', 'cache_read'),
              ('cache_creation_input_token_cost', 'cache_write'),
              ('cache_creation_input_token_cost_above_1hr', 'cache_write_1h'),
              ('output_cost_per_reasoning_token', 'reasoning'), ('input_cost_per_audio_token', 'audio_input'),
              ('output_cost_per_audio_token', 'audio_output'), ('input_cost_per_image_token', 'image_input'),
              ('output_cost_per_image_token', 'image_output'), ('input_cost_per_video_token', 'video_input'),
              ('output_cost_per_video_token', 'video_output'),
              ('cache_read_input_audio_token_cost', 'audio_cache_read'),
              ('cache_creation_input_audio_token_cost', 'audio_cache_write'),
              ('cache_read_input_image_token_cost', 'image_cache_read')) AS u (key, usage_type)
            ON u.key = k.parts[1]
          WHERE r.key ~ 'cost|pric|^provider_specific' AND r.value <> 'null' AND e.name <> 'sample_spec'
          UNION ALL
          SELECT NULL, e.name, NULL, NULL, NULL, NULL, NULL, 'the entry is no object'
          FROM jsonb_each(prices) AS e (name, entry)
          WHERE jsonb_typeof(e.entry) <> 'object' AND e.name <> 'sample_spec') x;
END;
COMMENT ON FUNCTION agent_metrics_internal.rates_of_map(jsonb) IS
    'Prices of LiteLLM''s price map; reason: why a rate is none. Internal: import_prices() uses it.';

-- Rows of token_prices as JSON.
CREATE FUNCTION agent_metrics_internal.rates_of_rows(prices jsonb)
RETURNS TABLE (provider text, model text, usage_type text, min_input_tokens bigint, service_tier text,
               usd_per_million numeric, effective_from timestamptz, note text, reason text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT nullif(btrim(r.provider), ''), nullif(btrim(r.model), ''), r.usage_type, coalesce(r.min_input_tokens, 0),
           agent_metrics_internal.service_tier(r.service_tier), r.usd_per_million, r.effective_from, r.note,
           CASE WHEN coalesce(btrim(r.provider), '') = '' OR coalesce(btrim(r.model), '') = ''
                    THEN 'names no provider or no model'
                WHEN r.usd_per_million IS NULL THEN 'has no usd_per_million'
                WHEN isfinite(r.effective_to) THEN 'a price that has an end is entered by INSERT' END
    FROM jsonb_to_recordset(prices) AS r (
        provider text, model text, usage_type text, min_input_tokens bigint, service_tier text,
        usd_per_million numeric, effective_from timestamptz, effective_to timestamptz, note text);
EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION 'these are no prices: %', SQLERRM
        USING ERRCODE = 'invalid_parameter_value',
              DETAIL = 'Each is an object with provider, model, usage_type and usd_per_million; min_input_tokens, '
                       'service_tier, effective_from and note where they are needed.',
              HINT = 'SELECT agent_metrics.import_prices(''[{"provider": "openai", "model": "m", '
                     '"usage_type": "input", "usd_per_million": 2}]'');';
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.rates_of_rows(jsonb) IS
    'Prices of a list of rows of token_prices; reason: why a row is none. Internal: import_prices() uses it.';

CREATE TYPE agent_metrics.imported_price AS (
    provider text, model text, usage_type text, min_input_tokens bigint, service_tier text, before_usd numeric,
    after_usd numeric, change text, reason text, effective_from timestamptz, effective_to timestamptz, note text);
COMMENT ON TYPE agent_metrics.imported_price IS 'What import_prices() changes, or would change.';
COMMENT ON COLUMN agent_metrics.imported_price.provider IS 'Provider as the list names it.';
COMMENT ON COLUMN agent_metrics.imported_price.model IS 'Model, without the provider that LiteLLM puts before it.';
COMMENT ON COLUMN agent_metrics.imported_price.usage_type IS 'Usage type; NULL: the list names one that is not known.';
COMMENT ON COLUMN agent_metrics.imported_price.min_input_tokens IS 'Context tier; 0: every call.';
COMMENT ON COLUMN agent_metrics.imported_price.service_tier IS 'Service tier.';
COMMENT ON COLUMN agent_metrics.imported_price.before_usd IS
    'Price of a million tokens until then; NULL: there was none.';
COMMENT ON COLUMN agent_metrics.imported_price.after_usd IS 'Price of a million tokens from then on.';
COMMENT ON COLUMN agent_metrics.imported_price.change IS 'new, changed, same or not taken.';
COMMENT ON COLUMN agent_metrics.imported_price.reason IS 'Why it is not taken.';
COMMENT ON COLUMN agent_metrics.imported_price.effective_from IS 'From when the price holds.';
COMMENT ON COLUMN agent_metrics.imported_price.effective_to IS 'Until when: a price that was entered for later stays.';
COMMENT ON COLUMN agent_metrics.imported_price.note IS 'Where it is from.';

-- Compared with the price that holds at the moment from which the new one shall. A first price holds always, unless a
-- moment was named: turns that are here already can be priced by it.
CREATE FUNCTION agent_metrics_internal.compare_prices(prices jsonb, at timestamptz)
RETURNS SETOF agent_metrics.imported_price
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH rate AS MATERIALIZED (
        SELECT * FROM agent_metrics_internal.rates_of_map(
            CASE jsonb_typeof(prices) WHEN 'object' THEN prices ELSE '{}' END)
        UNION ALL
        SELECT * FROM agent_metrics_internal.rates_of_rows(
            CASE jsonb_typeof(prices) WHEN 'array' THEN prices ELSE '[]' END)
    ), sound_rate AS MATERIALIZED (
        SELECT r.provider, r.model, r.usage_type, r.min_input_tokens, r.service_tier, min(r.usd_per_million) AS usd,
               min(r.note) AS note, coalesce(min(r.effective_from), at) AS wanted_from,
               CASE WHEN min(r.effective_from) <> max(r.effective_from)
                        THEN 'the list has it from two moments on: import it in two calls'
                    WHEN min(r.usd_per_million) <> max(r.usd_per_million)
                        THEN format('the list has two prices, %s and %s', min(r.usd_per_million),
                                    max(r.usd_per_million))
                    WHEN NOT EXISTS (SELECT 1 FROM agent_metrics_internal.usage_types() u
                                     WHERE u.usage_type = r.usage_type)
                        THEN format('%s is no usage type', coalesce(r.usage_type, 'NULL'))
                    WHEN min(r.usd_per_million) < 0 OR max(r.usd_per_million) >= 1000000000 OR r.min_input_tokens < 0
                        THEN 'the price is impossible' END AS reason
        FROM rate r WHERE r.reason IS NULL
        GROUP BY r.provider, r.model, r.usage_type, r.min_input_tokens, r.service_tier
    )
    SELECT s.provider, s.model, s.usage_type, s.min_input_tokens, s.service_tier, b.usd_per_million, s.usd,
           CASE WHEN s.reason IS NOT NULL THEN 'not taken' WHEN b.usd_per_million IS NULL THEN 'new'
                WHEN b.usd_per_million = s.usd THEN 'same' ELSE 'changed' END,
           s.reason, coalesce(s.wanted_from, CASE WHEN b.usd_per_million IS NULL THEN '-infinity' ELSE now() END),
           coalesce(b.effective_to, n.next_from, 'infinity'), s.note
    FROM sound_rate s
    LEFT JOIN LATERAL (
        SELECT t.usd_per_million, t.effective_to FROM agent_metrics.token_prices t
        WHERE t.provider = s.provider AND t.model = s.model AND t.usage_type = s.usage_type
          AND t.min_input_tokens = s.min_input_tokens AND t.service_tier = s.service_tier
          AND t.effective_from <= coalesce(s.wanted_from, now()) AND t.effective_to > coalesce(s.wanted_from, now())) b
      ON true
    LEFT JOIN LATERAL (
        SELECT min(t.effective_from) AS next_from FROM agent_metrics.token_prices t
        WHERE t.provider = s.provider AND t.model = s.model AND t.usage_type = s.usage_type
          AND t.min_input_tokens = s.min_input_tokens AND t.service_tier = s.service_tier
          AND t.effective_from > coalesce(s.wanted_from, '-infinity')) n ON true
    UNION ALL
    SELECT r.provider, r.model, r.usage_type, r.min_input_tokens, r.service_tier, NULL, r.usd_per_million, 'not taken',
           r.reason, NULL, NULL, r.note
    FROM rate r WHERE r.reason IS NOT NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.compare_prices(jsonb, timestamptz) IS
    'A price list beside the prices that hold. Internal: import_prices() uses it.';

CREATE FUNCTION agent_metrics.import_prices(
    prices jsonb, effective_from timestamptz DEFAULT NULL, dry_run boolean DEFAULT true)
RETURNS SETOF agent_metrics.imported_price
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    taken agent_metrics.imported_price[];
BEGIN
    IF coalesce(jsonb_typeof(prices), 'null') NOT IN ('object', 'array')
       OR jsonb_path_exists(prices, 'strict $[*] ? (@.type() != "object")', silent => true) THEN
        RAISE EXCEPTION 'this is no price list'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is neither LiteLLM''s price map, an object of models, nor a list of rows of '
                           'token_prices.',
                  HINT = 'Give model_prices_and_context_window.json as it is, or '
                         '[{"provider": "openai", "model": "m", "usage_type": "input", "usd_per_million": 2}].';
    END IF;
    PERFORM agent_metrics_internal.check_bills(prices);
    IF NOT dry_run THEN
        LOCK TABLE agent_metrics.token_prices IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    SELECT array_agg(c ORDER BY c.provider, c.model, c.usage_type, c.min_input_tokens, c.service_tier) INTO taken
    FROM agent_metrics_internal.compare_prices(prices, import_prices.effective_from) c;
    IF NOT dry_run THEN
        -- the old price ends where the new one begins; one that began there as well is written over
        UPDATE agent_metrics.token_prices t
        SET effective_to = CASE WHEN t.effective_from < n.effective_from THEN n.effective_from ELSE t.effective_to END,
            usd_per_million = CASE WHEN t.effective_from < n.effective_from THEN t.usd_per_million ELSE n.after_usd END
        FROM unnest(taken) n
        WHERE n.change = 'changed' AND t.provider = n.provider AND t.model = n.model AND t.usage_type = n.usage_type
          AND t.min_input_tokens = n.min_input_tokens AND t.service_tier = n.service_tier
          AND t.effective_from <= n.effective_from AND t.effective_to > n.effective_from;
        INSERT INTO agent_metrics.token_prices (
            provider, model, usage_type, min_input_tokens, service_tier, usd_per_million, effective_from, effective_to,
            note)
        SELECT n.provider, n.model, n.usage_type, n.min_input_tokens, n.service_tier, n.after_usd, n.effective_from,
               n.effective_to, coalesce(n.note, 'import_prices()')
        FROM unnest(taken) n
        WHERE n.change = 'new' OR (n.change = 'changed' AND NOT EXISTS (
            SELECT 1 FROM agent_metrics.token_prices t
            WHERE t.provider = n.provider AND t.model = n.model AND t.usage_type = n.usage_type
              AND t.min_input_tokens = n.min_input_tokens AND t.service_tier = n.service_tier
              AND t.effective_from = n.effective_from));
    END IF;
    RETURN QUERY SELECT n.* FROM unnest(taken) n;
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_prices(jsonb, timestamptz, boolean) IS
    'What a price list changes, price by price, and with dry_run => false, changes it: the old price ends where the '
    'new one begins. prices: LiteLLM''s price map, or a list of rows of token_prices. effective_from NULL: a changed '
    'price holds from now on, a first one always. No turn is touched: reprice() does that.';
