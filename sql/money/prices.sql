-- Prices and bills: what a turn costs by the price list, and what the providers say it cost.
--
-- The producer's cost wins. Where there is none, a turn is priced when it arrives, by the price that holds at its time:
-- ingest_events() does it as it stores, price_events() for turns that came by INSERT or COPY. A price that is entered
-- or changed later touches no turn until reprice() is told to, which shows the difference first.

-- Takes the tokens that are billed apart out of the counts that they are part of. gap says what does not fit.
CREATE FUNCTION agent_metrics_internal.split_usage(
    usage_details jsonb, INOUT tokens numeric[], INOUT kinds text[], OUT fallbacks text[], OUT gap text)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    part  record;
    whole integer;
BEGIN
    fallbacks := array_fill(NULL::text, ARRAY[cardinality(kinds)]);
    IF jsonb_typeof(usage_details) <> 'object' THEN
        gap := 'usage_details is no object of counts';
        RETURN;
    END IF;
    FOR part IN
        SELECT d.key, CASE WHEN jsonb_typeof(d.value) = 'number' THEN d.value::numeric END AS tokens,
               u.part_of, u.billed_as
        FROM jsonb_each(usage_details) AS d (key, value)
        LEFT JOIN agent_metrics_internal.usage_types() u ON u.usage_type = d.key
    LOOP
        IF coalesce(part.tokens < 0 OR part.tokens <> trunc(part.tokens), true) THEN
            gap := format('the count of %s is no whole number', part.key);
        ELSIF part.tokens > 0 AND part.part_of IS NULL THEN
            gap := format('%s is no usage type that is billed apart', part.key);
        ELSIF part.tokens > 0 THEN
            whole := array_position(kinds, part.part_of);
            tokens[whole] := tokens[whole] - part.tokens;
            IF coalesce(tokens[whole] < 0, true) THEN
                gap := format('more %s tokens than the turn has of %s', part.key, part.part_of);
            END IF;
            kinds := kinds || part.key;
            tokens := tokens || part.tokens;
            fallbacks := fallbacks || part.billed_as;
        END IF;
        EXIT WHEN gap IS NOT NULL;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.split_usage(jsonb, numeric[], text[]) IS
    'Takes tokens that are billed apart out of the counts of a turn. Internal: price_turn() uses it.';

-- Rounds nothing: a product of whole numbers and a price is exact. A kind of token without a price, or with the prices
-- of two providers, leaves the whole cost unknown, which is not 0. The name that the turn gives goes before its
-- aliases, which are looked up only where that name has no price.
--
-- The size of the input, cached tokens included, decides the context tier of the whole call. Providers say "above 200k
-- tokens", so a call of exactly 200,000 is still below. Where one kind of token has a price for that tier, each needs
-- one: a bill does not mix tiers. It is called once a turn, so its one query is small and the sum is made without SQL.
CREATE FUNCTION agent_metrics_internal.price_turn(
    provider text, model text, at timestamptz, counts bigint[], usage_details jsonb, service_tier text,
    explain boolean, OUT cost numeric, OUT gap text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
#variable_conflict use_variable
DECLARE
    level          text := agent_metrics_internal.service_tier(service_tier);
    kinds          text[] := ARRAY['input', 'output', 'cache_read', 'cache_write'];
    -- of the input, what is not cached
    tokens         numeric[] := ARRAY[counts[1] - coalesce(counts[3], 0) - coalesce(counts[4], 0), counts[2],
                                      counts[3], counts[4]];
    fallbacks      text[];
    of_provider    text := provider;
    other_provider text;
    of_model       text := model;
    canonical      record;
    attempt        integer := 0;  -- its own name, its canonical one, another
    names          bigint := 1;
    has_prices     boolean := false;
    size           bigint;
    prices         jsonb;  -- by usage type and context tier
    usd            numeric;
    total          numeric := 0;
    missing        text;
BEGIN
    gap := CASE WHEN model IS NULL THEN 'the turns name no model'
                WHEN tokens[1] IS NULL OR tokens[2] IS NULL THEN 'a count of tokens is missing'
                WHEN tokens[1] < 0 THEN 'more tokens are cached than the input has' END;
    IF gap IS NULL AND usage_details <> '{}' THEN
        SELECT s.tokens, s.kinds, s.fallbacks, s.gap INTO tokens, kinds, fallbacks, gap
        FROM agent_metrics_internal.split_usage(usage_details, tokens, kinds) s;
    END IF;
    IF gap IS NOT NULL THEN
        RETURN;
    END IF;
    LOOP
        attempt := attempt + 1;
        IF of_provider IS NULL THEN
            SELECT min(t.provider), max(t.provider) INTO of_provider, other_provider
            FROM agent_metrics.token_prices t
            WHERE t.model = of_model AND t.effective_from <= at AND t.effective_to > at;
            IF of_provider <> other_provider THEN
                gap := 'several providers price the model, and the turns name none';
                RETURN;
            END IF;
        END IF;
        SELECT count(*) > 0, max(t.min_input_tokens) FILTER (WHERE t.service_tier = level AND r.is_reached),
               jsonb_object_agg(t.usage_type || ' ' || t.min_input_tokens, t.usd_per_million)
                   FILTER (WHERE t.service_tier = level AND r.is_reached)
        INTO has_prices, size, prices
        FROM agent_metrics.token_prices t
        CROSS JOIN LATERAL (SELECT t.min_input_tokens = 0 OR t.min_input_tokens < counts[1] AS is_reached) r
        WHERE t.model = of_model AND t.provider = of_provider AND t.effective_from <= at AND t.effective_to > at;
        EXIT WHEN has_prices OR attempt = 3;
        IF attempt = 1 THEN
            -- a model that no price and no alias names has none under any name
            EXIT WHEN NOT EXISTS (SELECT 1 FROM agent_metrics.token_prices t WHERE t.model = price_turn.model)
                  AND NOT EXISTS (SELECT 1 FROM agent_metrics.model_aliases a WHERE a.model = price_turn.model);
            canonical := agent_metrics_internal.canonical_of_model(provider, model);
            of_provider := canonical.provider;
            of_model := canonical.model;
            CONTINUE WHEN (of_provider, of_model) IS DISTINCT FROM (provider, model);
            attempt := 2;
        END IF;
        SELECT min(n.priced_provider), min(n.priced_model), count(*) INTO of_provider, of_model, names
        FROM agent_metrics_internal.priced_names(canonical.provider, canonical.model, at) n;
        EXIT WHEN names <> 1;
    END LOOP;
    FOR place IN 1 .. cardinality(kinds) LOOP
        -- no tokens at all still need a model that is known
        IF tokens[place] > 0 OR place = 1 THEN
            usd := coalesce(prices ->> (kinds[place] || ' ' || size),
                            prices ->> (fallbacks[place] || ' ' || size))::numeric;
            IF usd IS NULL THEN
                missing := concat_ws(', ', missing, kinds[place]);
            END IF;
            total := total + tokens[place] * usd;
        END IF;
    END LOOP;
    IF missing IS NULL THEN
        cost := trim_scale(total * 0.000001);
    ELSIF explain THEN
        gap := CASE
            WHEN has_prices
                THEN 'no price for ' || missing
                     || CASE WHEN size > 0 THEN format(' of inputs above %s tokens', size) ELSE '' END
                     || CASE WHEN level <> 'standard' THEN format(' in service tier %s', level) ELSE '' END
            WHEN names > 1 THEN 'several names of the model have a price'
            WHEN NOT EXISTS (SELECT 1 FROM agent_metrics.token_prices t WHERE t.model = price_turn.model)
                THEN 'the model has no price'
            WHEN NOT EXISTS (SELECT 1 FROM agent_metrics.token_prices t
                             WHERE t.model = price_turn.model
                               AND t.provider = coalesce(price_turn.provider, t.provider))
                THEN 'the provider has no price for the model'
            ELSE 'no price of the model holds at the time of the turns' END;
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.price_turn(
    text, text, timestamptz, bigint[], jsonb, text, boolean) IS
    'Cost of a turn by the price list; and where it is not known and explain is true, what is missing. counts: input, '
    'output, cache read, cache write. Internal: turn_cost() and unpriced_models use it.';

CREATE FUNCTION agent_metrics.turn_cost(
    provider text, model text, at timestamptz, token_usage_input bigint, token_usage_output bigint,
    token_usage_cache_read bigint, token_usage_cache_write bigint, usage_details jsonb DEFAULT NULL,
    service_tier text DEFAULT NULL) RETURNS numeric
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (agent_metrics_internal.price_turn(
        provider, model, at,
        ARRAY[token_usage_input, token_usage_output, token_usage_cache_read, token_usage_cache_write],
        usage_details, service_tier, false)).cost;
COMMENT ON FUNCTION agent_metrics.turn_cost(text, text, timestamptz, bigint, bigint, bigint, bigint, jsonb, text) IS
    'Cost of a turn in US dollars by the prices that hold at its time; input tokens include the cached ones, '
    'usage_details are the tokens that are billed apart. NULL where a count is not known, or a kind of token, a '
    'service tier or a size of input has no price. A provider of NULL is whoever alone has a price for the model.';

-- Turns that arrived since the last look are found as a refresh finds them: recorded, and not visible in the stored
-- snapshot. A turn that is looked at twice is priced once, so the look need not be exact, only lose nothing.
CREATE FUNCTION agent_metrics.price_events(agent_id text DEFAULT NULL, most integer DEFAULT 20000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    here    text := agent_metrics_internal.origin();
    locked  text[];
    current_snapshot pg_snapshot;
    oldest_unseen_xid xid8;
    models  text[];  -- all that may have a price, so that nothing is asked of the others' turns
    priced  bigint;
    passed  text[];  -- agents with turns that somebody else holds
BEGIN
    IF NOT EXISTS (SELECT 1 FROM agent_metrics.token_prices) THEN
        RETURN 0;
    END IF;
    INSERT INTO agent_metrics_internal.price_watermarks (agent_id)
    SELECT a.agent_id FROM agent_metrics.agents a
    WHERE ($1 IS NULL OR a.agent_id = $1)
      AND NOT EXISTS (SELECT 1 FROM agent_metrics_internal.price_watermarks w WHERE w.agent_id = a.agent_id)
    ORDER BY a.agent_id
    ON CONFLICT DO NOTHING;
    -- Who is being priced by another session is left to it.
    SELECT array_agg(l.agent_id) INTO locked FROM (
        SELECT w.agent_id FROM agent_metrics_internal.price_watermarks w
        WHERE $1 IS NULL OR w.agent_id = $1 ORDER BY w.agent_id FOR UPDATE SKIP LOCKED) l;
    current_snapshot := agent_metrics_internal.snapshot_without(pg_current_snapshot(), pg_current_xact_id());
    SELECT min(CASE WHEN w.snapshot IS NULL OR w.origin <> here THEN '0'::xid8 ELSE pg_snapshot_xmin(w.snapshot) END)
    INTO oldest_unseen_xid FROM agent_metrics_internal.price_watermarks w WHERE w.agent_id = ANY (locked);

    models := ARRAY(SELECT t.model FROM agent_metrics.token_prices t
                    UNION SELECT a.model FROM agent_metrics.model_aliases a WHERE a.model IS NOT NULL);
    WITH priced_turn AS MATERIALIZED (
        SELECT e.agent_id, e.occurred_at, e.event_id, c.cost
        FROM agent_metrics.agent_events e
        JOIN agent_metrics_internal.price_watermarks w ON w.agent_id = e.agent_id
        CROSS JOIN LATERAL (
            SELECT agent_metrics.turn_cost(e.provider, e.model, e.occurred_at, e.token_usage_input,
                                           e.token_usage_output, e.token_usage_cache_read, e.token_usage_cache_write,
                                           e.usage_details, e.service_tier) AS cost
            OFFSET 0) c
        WHERE w.agent_id = ANY (locked) AND e.recorded_in >= oldest_unseen_xid AND e.cost_usd IS NULL
          AND e.model = ANY (models)
          AND (w.snapshot IS NULL OR w.origin <> here OR NOT pg_visible_in_snapshot(e.recorded_in, w.snapshot))
          AND c.cost IS NOT NULL
        LIMIT most
        -- A turn that somebody is writing is passed over, so that nobody is waited for.
        FOR UPDATE OF e SKIP LOCKED
    )
    UPDATE agent_metrics.agent_events e SET cost_usd = f.cost, computed_cost_usd = f.cost
    FROM priced_turn f
    WHERE e.agent_id = f.agent_id AND e.occurred_at = f.occurred_at AND e.event_id = f.event_id AND e.cost_usd IS NULL;
    GET DIAGNOSTICS priced = ROW_COUNT;
    IF priced < most THEN
        -- Whoever still has a turn to be priced keeps the old watermark: it is found again when it is free.
        SELECT array_agg(w.agent_id) INTO passed
        FROM agent_metrics_internal.price_watermarks w
        WHERE w.agent_id = ANY (locked) AND EXISTS (
            SELECT 1 FROM agent_metrics.agent_events e
            WHERE e.agent_id = w.agent_id AND e.recorded_in >= oldest_unseen_xid AND e.cost_usd IS NULL
              AND e.model = ANY (models)
              AND (w.snapshot IS NULL OR w.origin <> here OR NOT pg_visible_in_snapshot(e.recorded_in, w.snapshot))
              AND agent_metrics.turn_cost(e.provider, e.model, e.occurred_at, e.token_usage_input, e.token_usage_output,
                                          e.token_usage_cache_read, e.token_usage_cache_write, e.usage_details,
                                          e.service_tier) IS NOT NULL);
        UPDATE agent_metrics_internal.price_watermarks w SET snapshot = current_snapshot, origin = here
        WHERE w.agent_id = ANY (locked) AND NOT w.agent_id = ANY (coalesce(passed, '{}'));
    END IF;
    RETURN priced;
END
$function$;
COMMENT ON FUNCTION agent_metrics.price_events(text, integer) IS
    'Prices the turns of one agent, or of all when NULL, that arrived since the last call without a cost; returns how '
    'many. most: a call does no more, call it until it returns less. A turn that another transaction holds is left for '
    'a later call. The program calls it before each refresh; until the first price is entered it looks at nothing.';

CREATE TYPE agent_metrics.repriced AS (
    agent_id text, provider text, model text, turns bigint, before_usd numeric, after_usd numeric,
    difference_usd numeric, is_done boolean);
COMMENT ON TYPE agent_metrics.repriced IS 'What reprice() changes, or would change.';
COMMENT ON COLUMN agent_metrics.repriced.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.repriced.provider IS 'Provider that the turns name.';
COMMENT ON COLUMN agent_metrics.repriced.model IS 'Model.';
COMMENT ON COLUMN agent_metrics.repriced.turns IS 'Turns whose cost changes.';
COMMENT ON COLUMN agent_metrics.repriced.before_usd IS 'What they cost before; NULL: not known.';
COMMENT ON COLUMN agent_metrics.repriced.after_usd IS 'What they cost after; NULL: not known.';
COMMENT ON COLUMN agent_metrics.repriced.difference_usd IS 'After less before, what is not known adding nothing.';
COMMENT ON COLUMN agent_metrics.repriced.is_done IS 'False: a dry run, which changed nothing.';

CREATE FUNCTION agent_metrics.reprice(
    agent_id text, from_time timestamptz, to_time timestamptz, dry_run boolean DEFAULT true)
RETURNS SETOF agent_metrics.repriced
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    IF $2 IS NULL OR $3 IS NULL OR $2 >= $3 THEN
        RAISE EXCEPTION 'no span of time from % to %', coalesce($2::text, 'NULL'), coalesce($3::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'History is priced again only over a span that is named.',
                  HINT = 'SELECT * FROM agent_metrics.reprice(''support-bot'', ''2026-01-01'', ''2026-02-01'');';
    END IF;
    IF EXISTS (SELECT 1 FROM agent_metrics_internal.archives a
               WHERE a.is_counted AND a.from_time < $3 AND a.to_time > $2) THEN
        RAISE NOTICE 'archived turns in this span keep their cost'
            USING DETAIL = 'They are in files, not in the database.', HINT = 'agent-metrics restore brings them back.';
    END IF;
    RETURN QUERY
    WITH priced_turn AS MATERIALIZED (
        SELECT e.agent_id, e.occurred_at, e.event_id, e.provider, e.model, e.cost_usd AS before, c.cost AS after
        FROM agent_metrics.agent_events e
        CROSS JOIN LATERAL (
            SELECT agent_metrics.turn_cost(e.provider, e.model, e.occurred_at, e.token_usage_input,
                                           e.token_usage_output, e.token_usage_cache_read, e.token_usage_cache_write,
                                           e.usage_details, e.service_tier) AS cost
            OFFSET 0) c
        WHERE ($1 IS NULL OR e.agent_id = $1) AND e.occurred_at >= $2 AND e.occurred_at < $3 AND e.model IS NOT NULL
          -- the producer's own cost wins
          AND (e.cost_usd IS NULL OR e.cost_usd = e.computed_cost_usd)
          AND c.cost IS DISTINCT FROM e.cost_usd
    ), updated_turn AS (
        UPDATE agent_metrics.agent_events e SET cost_usd = f.after, computed_cost_usd = f.after
        FROM priced_turn f
        WHERE NOT $4 AND e.agent_id = f.agent_id AND e.occurred_at = f.occurred_at AND e.event_id = f.event_id
          AND e.cost_usd IS NOT DISTINCT FROM f.before
    )
    SELECT f.agent_id, f.provider, f.model, count(*), sum(f.before), sum(f.after),
           coalesce(sum(f.after), 0) - coalesce(sum(f.before), 0), NOT $4
    FROM priced_turn f
    GROUP BY f.agent_id, f.provider, f.model
    ORDER BY f.agent_id, f.provider, f.model;
END
$function$;
COMMENT ON FUNCTION agent_metrics.reprice(text, timestamptz, timestamptz, boolean) IS
    'What the present prices would change, by agent and model, in turns whose cost is computed or not known; '
    'and with dry_run => false, changes it. agent_id NULL: every agent. A cost that the producer gave stays.';
