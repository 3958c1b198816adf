-- Prices and bills: what a turn costs by the price list, and what the providers say it cost.
--
-- The producer's cost wins. Where there is none, a turn is priced when it arrives, by the price that holds at its time:
-- ingest_events() does it as it stores, price_events() for turns that came by INSERT or COPY. A price that is entered
-- or changed later touches no turn until reprice() is told to, which shows the difference first.

-- Rounds nothing: a product of whole numbers and a price is exact. A kind of token without a price, or with the prices
-- of two providers, leaves the whole cost unknown, which is not 0.
CREATE FUNCTION agent_metrics.turn_cost(
    provider text, model text, at timestamptz, token_usage_input bigint, token_usage_output bigint,
    token_usage_cache_read bigint, token_usage_cache_write bigint) RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    uncached bigint := token_usage_input - coalesce(token_usage_cache_read, 0) - coalesce(token_usage_cache_write, 0);
BEGIN
    IF model IS NULL OR uncached IS NULL OR uncached < 0 OR token_usage_output IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN (
        SELECT CASE WHEN bool_and(p.prices = 1) AND count(DISTINCT p.provider) <= 1
                    THEN trim_scale(sum(u.tokens * p.usd) * 0.000001) END
        FROM (VALUES ('input', uncached), ('cache_read', turn_cost.token_usage_cache_read),
                     ('cache_write', turn_cost.token_usage_cache_write), ('output', turn_cost.token_usage_output))
                         AS u (usage_type, tokens)
        CROSS JOIN LATERAL (
            SELECT count(*) AS prices, min(t.usd_per_million) AS usd, min(t.provider) AS provider
            FROM agent_metrics.token_prices t
            WHERE t.model = turn_cost.model AND t.usage_type = u.usage_type
              AND t.effective_from <= turn_cost.at AND t.effective_to > turn_cost.at
              AND (turn_cost.provider IS NULL OR t.provider = turn_cost.provider)) p
        -- no tokens at all still need a model that is known
        WHERE u.tokens > 0 OR u.usage_type = 'input');
END
$function$;
COMMENT ON FUNCTION agent_metrics.turn_cost(text, text, timestamptz, bigint, bigint, bigint, bigint) IS
    'Cost of a turn in US dollars by the prices that hold at its time; input tokens include the cached ones. '
    'NULL where a price or a count is not known. A provider of NULL is whoever alone has a price for the model.';

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

    WITH priced_turn AS MATERIALIZED (
        SELECT e.agent_id, e.occurred_at, e.event_id, c.cost
        FROM agent_metrics.agent_events e
        JOIN agent_metrics_internal.price_watermarks w ON w.agent_id = e.agent_id
        CROSS JOIN LATERAL (
            SELECT agent_metrics.turn_cost(e.provider, e.model, e.occurred_at, e.token_usage_input,
                                           e.token_usage_output, e.token_usage_cache_read,
                                           e.token_usage_cache_write) AS cost
            OFFSET 0) c
        WHERE w.agent_id = ANY (locked) AND e.recorded_in >= oldest_unseen_xid AND e.cost_usd IS NULL
          AND e.model IS NOT NULL
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
              AND e.model IS NOT NULL
              AND (w.snapshot IS NULL OR w.origin <> here OR NOT pg_visible_in_snapshot(e.recorded_in, w.snapshot))
              AND agent_metrics.turn_cost(e.provider, e.model, e.occurred_at, e.token_usage_input, e.token_usage_output,
                                          e.token_usage_cache_read, e.token_usage_cache_write) IS NOT NULL);
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
                                           e.token_usage_output, e.token_usage_cache_read,
                                           e.token_usage_cache_write) AS cost
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
