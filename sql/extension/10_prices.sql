-- Prices and bills: what a turn costs by the price list, and what the providers say it cost.
--
-- The producer's cost wins. Where there is none, a turn is priced when it arrives, by the price that holds at its time:
-- ingest_events() does it as it stores, price_events() for turns that came by INSERT or COPY. A price that is entered or
-- changed later touches no turn until reprice() is told to, which shows the difference first.

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
        SELECT CASE WHEN bool_and(p.prices = 1) AND count(DISTINCT p.provider) <= 1 THEN trim_scale(sum(u.tokens * p.usd) * 0.000001) END
        FROM (VALUES ('input', uncached), ('cache_read', turn_cost.token_usage_cache_read),
                     ('cache_write', turn_cost.token_usage_cache_write), ('output', turn_cost.token_usage_output)) AS u (usage_type, tokens)
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
    'Cost of a turn in US dollars by the prices that hold at its time; input tokens include the cached ones. NULL where a price or a count is not known. A provider of NULL is whoever alone has a price for the model.';

-- Turns that arrived since the last look are found as a refresh finds them: recorded, and not visible in the stored
-- snapshot. A turn that is looked at twice is priced once, so the look need not be exact, only lose nothing.
CREATE FUNCTION agent_metrics.price_events(agent_id text DEFAULT NULL, most integer DEFAULT 20000) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
DECLARE
    here    text := agent_metrics.origin();
    locked  text[];
    present pg_snapshot;
    horizon xid8;
    priced  bigint;
    passed  text[];  -- agents with turns that somebody else holds
BEGIN
    IF NOT EXISTS (SELECT FROM agent_metrics.token_prices) THEN
        RETURN 0;
    END IF;
    INSERT INTO agent_metrics.price_watermarks (agent_id)
    SELECT a.agent_id FROM agent_metrics.agents a
    WHERE ($1 IS NULL OR a.agent_id = $1) AND NOT EXISTS (SELECT FROM agent_metrics.price_watermarks w WHERE w.agent_id = a.agent_id)
    ORDER BY a.agent_id
    ON CONFLICT DO NOTHING;
    -- Who is being priced by another session is left to it.
    SELECT array_agg(l.agent_id) INTO locked FROM (
        SELECT w.agent_id FROM agent_metrics.price_watermarks w
        WHERE $1 IS NULL OR w.agent_id = $1 ORDER BY w.agent_id FOR UPDATE SKIP LOCKED) l;
    present := agent_metrics.snapshot_without(pg_current_snapshot(), pg_current_xact_id());
    SELECT min(CASE WHEN w.snapshot IS NULL OR w.origin <> here THEN '0'::xid8 ELSE pg_snapshot_xmin(w.snapshot) END)
    INTO horizon FROM agent_metrics.price_watermarks w WHERE w.agent_id = ANY (locked);

    WITH found AS MATERIALIZED (
        SELECT e.agent_id, e.occurred_at, e.event_id, c.cost
        FROM agent_metrics.agent_events e
        JOIN agent_metrics.price_watermarks w ON w.agent_id = e.agent_id
        CROSS JOIN LATERAL (
            SELECT agent_metrics.turn_cost(e.provider, e.model, e.occurred_at, e.token_usage_input, e.token_usage_output,
                                           e.token_usage_cache_read, e.token_usage_cache_write) AS cost OFFSET 0) c
        WHERE w.agent_id = ANY (locked) AND e.recorded_in >= horizon AND e.cost_usd IS NULL AND e.model IS NOT NULL
          AND (w.snapshot IS NULL OR w.origin <> here OR NOT pg_visible_in_snapshot(e.recorded_in, w.snapshot))
          AND c.cost IS NOT NULL
        LIMIT most
        -- A turn that somebody is writing is passed over, so that nobody is waited for.
        FOR UPDATE OF e SKIP LOCKED
    )
    UPDATE agent_metrics.agent_events e SET cost_usd = f.cost, computed_cost_usd = f.cost
    FROM found f
    WHERE e.agent_id = f.agent_id AND e.occurred_at = f.occurred_at AND e.event_id = f.event_id AND e.cost_usd IS NULL;
    GET DIAGNOSTICS priced = ROW_COUNT;
    IF priced < most THEN
        -- Whoever still has a turn to be priced keeps the old watermark: it is found again when it is free.
        SELECT array_agg(w.agent_id) INTO passed
        FROM agent_metrics.price_watermarks w
        WHERE w.agent_id = ANY (locked) AND EXISTS (
            SELECT FROM agent_metrics.agent_events e
            WHERE e.agent_id = w.agent_id AND e.recorded_in >= horizon AND e.cost_usd IS NULL AND e.model IS NOT NULL
              AND (w.snapshot IS NULL OR w.origin <> here OR NOT pg_visible_in_snapshot(e.recorded_in, w.snapshot))
              AND agent_metrics.turn_cost(e.provider, e.model, e.occurred_at, e.token_usage_input, e.token_usage_output,
                                          e.token_usage_cache_read, e.token_usage_cache_write) IS NOT NULL);
        UPDATE agent_metrics.price_watermarks w SET snapshot = present, origin = here
        WHERE w.agent_id = ANY (locked) AND NOT w.agent_id = ANY (coalesce(passed, '{}'));
    END IF;
    RETURN priced;
END
$function$;
COMMENT ON FUNCTION agent_metrics.price_events(text, integer) IS
    'Prices the turns of one agent, or of all when NULL, that arrived since the last call without a cost; returns how many. most: a call does no more, call it until it returns less. A turn that another transaction holds is left for a later call. The program calls it before each refresh; until the first price is entered it looks at nothing.';

CREATE TYPE agent_metrics.repriced AS (
    agent_id text, provider text, model text, turns bigint, before_usd numeric, after_usd numeric, difference_usd numeric, is_done boolean);
COMMENT ON TYPE agent_metrics.repriced IS 'What reprice() changes, or would change.';
COMMENT ON COLUMN agent_metrics.repriced.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.repriced.provider IS 'Provider that the turns name.';
COMMENT ON COLUMN agent_metrics.repriced.model IS 'Model.';
COMMENT ON COLUMN agent_metrics.repriced.turns IS 'Turns whose cost changes.';
COMMENT ON COLUMN agent_metrics.repriced.before_usd IS 'What they cost before; NULL: not known.';
COMMENT ON COLUMN agent_metrics.repriced.after_usd IS 'What they cost after; NULL: not known.';
COMMENT ON COLUMN agent_metrics.repriced.difference_usd IS 'After less before, what is not known adding nothing.';
COMMENT ON COLUMN agent_metrics.repriced.is_done IS 'False: a dry run, which changed nothing.';

CREATE FUNCTION agent_metrics.reprice(agent_id text, from_time timestamptz, to_time timestamptz, dry_run boolean DEFAULT true)
RETURNS SETOF agent_metrics.repriced
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $function$
#variable_conflict use_column
BEGIN
    IF $2 IS NULL OR $3 IS NULL OR $2 >= $3 THEN
        RAISE EXCEPTION 'no span of time from % to %', coalesce($2::text, 'NULL'), coalesce($3::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'History is priced again only over a span that is named.',
                  HINT = 'SELECT * FROM agent_metrics.reprice(''support-bot'', ''2026-01-01'', ''2026-02-01'');';
    END IF;
    IF EXISTS (SELECT FROM agent_metrics.archives a WHERE a.state IN ('detached', 'archived') AND a.from_time < $3 AND a.to_time > $2) THEN
        RAISE NOTICE 'archived turns in this span keep their cost'
            USING DETAIL = 'They are in files, not in the database.', HINT = 'agent-metrics restore brings them back.';
    END IF;
    RETURN QUERY
    WITH found AS MATERIALIZED (
        SELECT e.agent_id, e.occurred_at, e.event_id, e.provider, e.model, e.cost_usd AS before, c.cost AS after
        FROM agent_metrics.agent_events e
        CROSS JOIN LATERAL (
            SELECT agent_metrics.turn_cost(e.provider, e.model, e.occurred_at, e.token_usage_input, e.token_usage_output,
                                           e.token_usage_cache_read, e.token_usage_cache_write) AS cost OFFSET 0) c
        WHERE ($1 IS NULL OR e.agent_id = $1) AND e.occurred_at >= $2 AND e.occurred_at < $3 AND e.model IS NOT NULL
          -- the producer's own cost wins
          AND (e.cost_usd IS NULL OR e.cost_usd = e.computed_cost_usd)
          AND c.cost IS DISTINCT FROM e.cost_usd
    ), done AS (
        UPDATE agent_metrics.agent_events e SET cost_usd = f.after, computed_cost_usd = f.after
        FROM found f
        WHERE NOT $4 AND e.agent_id = f.agent_id AND e.occurred_at = f.occurred_at AND e.event_id = f.event_id
          AND e.cost_usd IS NOT DISTINCT FROM f.before
    )
    SELECT f.agent_id, f.provider, f.model, count(*), sum(f.before), sum(f.after), coalesce(sum(f.after), 0) - coalesce(sum(f.before), 0), NOT $4
    FROM found f
    GROUP BY f.agent_id, f.provider, f.model
    ORDER BY f.agent_id, f.provider, f.model;
END
$function$;
COMMENT ON FUNCTION agent_metrics.reprice(text, timestamptz, timestamptz, boolean) IS
    'What the present prices would change, by agent and model, in turns whose cost is computed or not known; and with dry_run => false, changes it. agent_id NULL: every agent. A cost that the producer gave stays.';

-- Strict, so that the planner takes it for the one row that it mostly is instead of looking into it.
CREATE FUNCTION agent_metrics.periods(unit text, from_time timestamp, to_time timestamp) RETURNS SETOF timestamp
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    SELECT g.period
    FROM generate_series(date_trunc(unit, from_time), to_time - interval '1 microsecond', CASE unit WHEN 'month' THEN interval '1 month' ELSE interval '1 day' END)
             AS g (period);
END;
COMMENT ON FUNCTION agent_metrics.periods(text, timestamp, timestamp) IS 'Beginnings of the days, or months, that a span of time touches.';

-- Bills ------------------------------------------------------------------------------------------------------------

-- The importers bring lines into one form and hand them on. What a line is about is its identity, so a line imported
-- again is stored once, and one that the provider corrected is corrected.
CREATE FUNCTION agent_metrics.store_bills(source text, lines jsonb)
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $function$
#variable_conflict use_column
DECLARE
    bad jsonb;
    words text;
BEGIN
    SELECT l.line INTO bad FROM jsonb_array_elements(lines) AS l (line)
    WHERE coalesce(upper(l.line ->> 'currency'), '') <> 'USD' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a bill in currency "%"', coalesce(bad ->> 'currency', 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Money is in US dollars here. The line: %s', left(bad ->> 'detail', 300)),
                  HINT = 'Convert the amounts and say USD, or insert them into agent_metrics.billing_lines by hand. Nothing was imported.';
    END IF;
    SELECT l.line INTO bad FROM jsonb_array_elements(lines) AS l (line)
    WHERE coalesce(l.line ->> 'amount', '') !~ '^-?\d{1,30}(\.\d{1,30})?([eE][-+]?\d{1,2})?$' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a bill with the amount "%"', coalesce(bad ->> 'amount', 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('It is no decimal number. The line: %s', left(bad ->> 'detail', 300)),
                  HINT = 'Give the report as the provider sent it. Nothing was imported.';
    END IF;
    SELECT l.line INTO bad FROM jsonb_array_elements(lines) AS l (line)
    WHERE l.line ->> 'period_start' IS NULL OR l.line ->> 'period_end' IS NULL OR coalesce(btrim(l.line ->> 'provider'), '') = '' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a bill without a period or a provider'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('The line: %s', left(bad ->> 'detail', 300)),
                  HINT = 'Give the report as the provider sent it. Nothing was imported.';
    END IF;

    BEGIN
        RETURN QUERY
        WITH line AS MATERIALIZED (
            SELECT l.line_id, min(l.provider) AS provider, min(l.model) AS model, min(l.agent_id) AS agent_id, min(l.service) AS service,
                   min(l.period_start) AS period_start, min(l.period_end) AS period_end, sum(l.amount::numeric) AS amount,
                   min(l.description) AS description, bool_or(l.is_infrastructure) AS is_infrastructure, (array_agg(l.detail))[1] AS detail
            FROM (SELECT r.*, store_bills.source || ':' || md5(concat_ws(' ', r.provider, r.period_start, r.period_end, r.identity::text)) AS line_id
                  FROM jsonb_to_recordset(store_bills.lines) AS r (
                      provider text, model text, agent_id text, service text, period_start timestamptz, period_end timestamptz, amount text,
                      description text, is_infrastructure boolean, identity jsonb, detail jsonb)) l
            GROUP BY l.line_id
        ), old AS MATERIALIZED (
            SELECT b.line_id, b.amount_usd FROM agent_metrics.billing_lines b JOIN line l ON l.line_id = b.line_id
            UNION ALL
            SELECT i.cost_id, i.amount_usd FROM agent_metrics.infrastructure_costs i JOIN line l ON l.line_id = i.cost_id
        ), bills AS (
            INSERT INTO agent_metrics.billing_lines AS b (line_id, provider, model, period_start, period_end, amount_usd, description, source, detail)
            SELECT l.line_id, l.provider, l.model, l.period_start, l.period_end, l.amount, l.description, store_bills.source, l.detail
            FROM line l WHERE NOT coalesce(l.is_infrastructure, false) ORDER BY l.line_id
            ON CONFLICT (line_id) DO UPDATE SET amount_usd = excluded.amount_usd, detail = excluded.detail, changed_in = pg_current_xact_id()
            WHERE b.amount_usd <> excluded.amount_usd
        ), infrastructure AS (
            INSERT INTO agent_metrics.infrastructure_costs AS i (cost_id, agent_id, period_start, period_end, amount_usd, provider, service, source, detail)
            SELECT l.line_id, l.agent_id, l.period_start, l.period_end, l.amount, l.provider, l.service, store_bills.source, l.detail
            FROM line l WHERE l.is_infrastructure ORDER BY l.line_id
            ON CONFLICT (cost_id) DO UPDATE SET amount_usd = excluded.amount_usd, detail = excluded.detail, changed_in = pg_current_xact_id()
            WHERE i.amount_usd <> excluded.amount_usd
        )
        SELECT count(*) FILTER (WHERE o.line_id IS NULL), count(*) FILTER (WHERE o.amount_usd = l.amount),
               count(*) FILTER (WHERE o.amount_usd <> l.amount), coalesce(sum(l.amount), 0)
        FROM line l LEFT JOIN old o ON o.line_id = l.line_id;
    EXCEPTION WHEN data_exception OR check_violation THEN
        GET STACKED DIAGNOSTICS words = MESSAGE_TEXT;
        RAISE EXCEPTION 'a bill that cannot be: %', words
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Each line has a period that ends after it begins, in timestamps, and an amount below a trillion dollars.',
                  HINT = 'Give the report as the provider sent it. Nothing was imported.';
    END;
END
$function$;
COMMENT ON FUNCTION agent_metrics.store_bills(text, jsonb) IS 'Stores billing lines that an importer brought into one form, all or nothing. Internal: the import functions use it.';

CREATE FUNCTION agent_metrics.check_bills(report jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    -- bringing it into one form takes some ten times its size
    most constant bigint := 128 * 1024 * 1024;
BEGIN
    IF agent_metrics.json_size(report) > most THEN
        RAISE EXCEPTION 'a report of % MB', agent_metrics.json_size(report) / 1024 / 1024
            USING ERRCODE = 'program_limit_exceeded',
                  DETAIL = format('One call takes %s MB at most. Nothing was imported.', most / 1024 / 1024),
                  HINT = 'Import it day by day; keep the rows that are one line together.';
    END IF;
    -- its lines are two levels down in it, and are kept
    PERFORM agent_metrics.check_json(report, 'the report');
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_bills(jsonb) IS 'Refuses a report that is too large or too deep. Internal: the import functions use it.';

CREATE FUNCTION agent_metrics.import_anthropic_costs(report jsonb)
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    PERFORM agent_metrics.check_bills(report);
    IF (CASE jsonb_typeof(report -> 'data')
           WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements(report -> 'data') AS b (bucket) WHERE jsonb_typeof(b.bucket -> 'results') IS DISTINCT FROM 'array')
           ELSE true END) OR jsonb_path_exists(report, '$.data[*].results[*] ? (@.type() != "object")') THEN
        RAISE EXCEPTION 'this is no cost report of Anthropic'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It has no list "data" of buckets with a list "results" of objects each.',
                  HINT = 'Give the whole answer of GET /v1/organizations/cost_report, best grouped by description.';
    END IF;
    RETURN QUERY
    SELECT * FROM agent_metrics.store_bills('anthropic', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'provider', 'anthropic', 'model', r.line ->> 'model', 'period_start', b.bucket ->> 'starting_at', 'period_end', b.bucket ->> 'ending_at',
                   'currency', r.line ->> 'currency', 'description', r.line ->> 'description',
                   -- the report counts in cents
                   'amount', CASE WHEN r.line ->> 'amount' ~ '^-?\d{1,30}(\.\d{1,30})?([eE][-+]?\d{1,2})?$' THEN trim_scale((r.line ->> 'amount')::numeric * 0.01)::text
                                  ELSE r.line ->> 'amount' END,
                   'identity', r.line - 'amount', 'detail', r.line)), '[]')
        FROM jsonb_array_elements(report -> 'data') AS b (bucket)
        CROSS JOIN LATERAL jsonb_array_elements(b.bucket -> 'results') AS r (line)));
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_anthropic_costs(jsonb) IS
    'Imports an answer of Anthropic''s cost report, whose amounts are decimal strings in cents. A line is stored once, however often it is imported; one with another amount is corrected.';

CREATE FUNCTION agent_metrics.import_openai_costs(report jsonb)
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    PERFORM agent_metrics.check_bills(report);
    IF (CASE jsonb_typeof(report -> 'data')
           WHEN 'array' THEN EXISTS (SELECT FROM jsonb_array_elements(report -> 'data') AS b (bucket)
                                     WHERE jsonb_typeof(b.bucket -> 'results') IS DISTINCT FROM 'array'
                                        OR jsonb_typeof(b.bucket -> 'start_time') IS DISTINCT FROM 'number'
                                        OR jsonb_typeof(b.bucket -> 'end_time') IS DISTINCT FROM 'number')
           ELSE true END) OR jsonb_path_exists(report, '$.data[*].results[*] ? (@.type() != "object")')
       OR jsonb_path_exists(report, '$.data[*] ? (@.start_time < 0 || @.start_time > 100000000000 || @.end_time < 0 || @.end_time > 100000000000)') THEN
        RAISE EXCEPTION 'this is no answer of OpenAI''s costs'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It has no list "data" of buckets with start_time and end_time in seconds since 1970 and a list "results" of objects each.',
                  HINT = 'Give the whole answer of GET /v1/organization/costs, best grouped by line_item.';
    END IF;
    RETURN QUERY
    SELECT * FROM agent_metrics.store_bills('openai', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'provider', 'openai',
                   -- a line item is a model and what of it was used: "gpt-4o-2024-08-06, input"
                   'model', CASE WHEN r.line ->> 'line_item' ~ ',' THEN btrim(split_part(r.line ->> 'line_item', ',', 1)) END,
                   'period_start', to_timestamp((b.bucket ->> 'start_time')::double precision),
                   'period_end', to_timestamp((b.bucket ->> 'end_time')::double precision),
                   'currency', r.line #>> '{amount,currency}', 'description', r.line ->> 'line_item', 'amount', r.line #>> '{amount,value}',
                   'identity', r.line - 'amount', 'detail', r.line)), '[]')
        FROM jsonb_array_elements(report -> 'data') AS b (bucket)
        CROSS JOIN LATERAL jsonb_array_elements(b.bucket -> 'results') AS r (line)));
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_openai_costs(jsonb) IS
    'Imports an answer of OpenAI''s costs, whose amounts are in dollars. A line is stored once, however often it is imported; one with another amount is corrected.';

CREATE FUNCTION agent_metrics.import_focus(report jsonb)
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    PERFORM agent_metrics.check_bills(report);
    IF jsonb_typeof(report) IS DISTINCT FROM 'array' OR jsonb_path_exists(report, 'strict $[*] ? (@.type() != "object")') THEN
        RAISE EXCEPTION 'these are no FOCUS rows'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A list of objects was expected, whose keys are the columns of FOCUS: BilledCost, BillingCurrency, ChargePeriodStart and so on.',
                  HINT = 'From a table that holds the export: SELECT agent_metrics.import_focus(jsonb_agg(to_jsonb(t))) FROM export t;';
    END IF;
    RETURN QUERY
    SELECT * FROM agent_metrics.store_bills('focus', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'provider', coalesce(r.line ->> 'ServiceProviderName', r.line ->> 'ProviderName', r.line ->> 'InvoiceIssuerName'),
                   'model', m.model, 'agent_id', r.line #>> '{Tags,agent_id}', 'service', r.line ->> 'ServiceName',
                   'period_start', r.line ->> 'ChargePeriodStart', 'period_end', r.line ->> 'ChargePeriodEnd',
                   'currency', r.line ->> 'BillingCurrency', 'amount', r.line ->> 'BilledCost', 'description', r.line ->> 'ChargeDescription',
                   -- a row that names a model is use of it; any other is infrastructure
                   'is_infrastructure', m.model IS NULL,
                   'identity', r.line - ARRAY['BilledCost', 'EffectiveCost', 'ListCost', 'ContractedCost'], 'detail', r.line)), '[]')
        FROM jsonb_array_elements(report) AS r (line)
        CROSS JOIN LATERAL (SELECT coalesce(r.line ->> 'x_Model', r.line #>> '{Tags,model}', r.line #>> '{SkuPriceDetails,model}') AS model) m));
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_focus(jsonb) IS
    'Imports rows of a FOCUS export: those that name a model (x_Model, or a tag or SKU detail "model") into billing_lines, others into infrastructure_costs, of the agent that a tag agent_id names. Rows that agree in all but the amounts are one line: give whole exports.';
