-- What the providers billed: Anthropic, OpenAI, and everybody who exports FOCUS.

-- Strict, so that the planner takes it for the one row that it mostly is instead of looking into it.
CREATE FUNCTION agent_metrics_internal.periods(unit text, from_time timestamp, to_time timestamp)
RETURNS SETOF timestamp
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE ROWS 1
BEGIN ATOMIC
    SELECT g.period
    FROM generate_series(date_trunc(unit, from_time), to_time - interval '1 microsecond',
                         CASE unit WHEN 'month' THEN interval '1 month' ELSE interval '1 day' END)
             AS g (period);
END;
COMMENT ON FUNCTION agent_metrics_internal.periods(text, timestamp, timestamp) IS
    'Beginnings of the days, or months, that a span of time touches.';

-- Bills ------------------------------------------------------------------------------------------------------------

-- The importers bring lines into one form and hand them on. What a line is about is its identity, so a line imported
-- again is stored once, and one that the provider corrected is corrected.
CREATE FUNCTION agent_metrics_internal.store_bills(source text, lines jsonb)
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
                  HINT = 'Convert the amounts and say USD, or insert them into agent_metrics.billing_lines by hand. '
                         'Nothing was imported.';
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
    WHERE l.line ->> 'period_start' IS NULL OR l.line ->> 'period_end' IS NULL
       OR coalesce(btrim(l.line ->> 'provider'), '') = ''
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a bill without a period or a provider'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('The line: %s', left(bad ->> 'detail', 300)),
                  HINT = 'Give the report as the provider sent it. Nothing was imported.';
    END IF;

    BEGIN
        RETURN QUERY
        WITH billing_line AS MATERIALIZED (
            SELECT l.line_id, min(l.provider) AS provider, min(l.model) AS model, min(l.agent_id) AS agent_id,
                   min(l.service) AS service, min(l.period_start) AS period_start, min(l.period_end) AS period_end,
                   sum(l.amount::numeric) AS amount, min(l.description) AS description,
                   bool_or(l.is_infrastructure) AS is_infrastructure, (array_agg(l.detail))[1] AS detail
            FROM (SELECT r.*, store_bills.source || ':' || md5(concat_ws(
                                  ' ', r.provider, r.period_start, r.period_end, r.identity::text)) AS line_id
                  FROM jsonb_to_recordset(store_bills.lines) AS r (
                                                        provider text, model text, agent_id text, service text,
                                                        period_start timestamptz, period_end timestamptz, amount text,
                                                        description text, is_infrastructure boolean,
                                                        identity jsonb, detail jsonb)) l
            GROUP BY l.line_id
        ), stored_line AS MATERIALIZED (
            SELECT b.line_id, b.amount_usd FROM agent_metrics.billing_lines b
            JOIN billing_line l ON l.line_id = b.line_id
            UNION ALL
            SELECT i.cost_id, i.amount_usd FROM agent_metrics.infrastructure_costs i
            JOIN billing_line l ON l.line_id = i.cost_id
        ), bills AS (
            INSERT INTO agent_metrics.billing_lines AS b (
                line_id, provider, model, period_start, period_end, amount_usd, description, source, detail)
            SELECT l.line_id, l.provider, l.model, l.period_start, l.period_end, l.amount, l.description,
                   store_bills.source, l.detail
            FROM billing_line l WHERE NOT coalesce(l.is_infrastructure, false) ORDER BY l.line_id
            ON CONFLICT (line_id) DO UPDATE SET
                amount_usd = excluded.amount_usd, detail = excluded.detail, changed_in = pg_current_xact_id()
            WHERE b.amount_usd <> excluded.amount_usd
        ), infrastructure AS (
            INSERT INTO agent_metrics.infrastructure_costs AS i (
                cost_id, agent_id, period_start, period_end, amount_usd, provider, service, source, detail)
            SELECT l.line_id, l.agent_id, l.period_start, l.period_end, l.amount, l.provider, l.service,
                   store_bills.source, l.detail
            FROM billing_line l WHERE l.is_infrastructure ORDER BY l.line_id
            ON CONFLICT (cost_id) DO UPDATE SET
                amount_usd = excluded.amount_usd, detail = excluded.detail, changed_in = pg_current_xact_id()
            WHERE i.amount_usd <> excluded.amount_usd
        )
        SELECT count(*) FILTER (WHERE o.line_id IS NULL), count(*) FILTER (WHERE o.amount_usd = l.amount),
               count(*) FILTER (WHERE o.amount_usd <> l.amount), coalesce(sum(l.amount), 0)
        FROM billing_line l LEFT JOIN stored_line o ON o.line_id = l.line_id;
    EXCEPTION WHEN data_exception OR check_violation THEN
        GET STACKED DIAGNOSTICS words = MESSAGE_TEXT;
        RAISE EXCEPTION 'a bill that cannot be: %', words
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Each line has a period that ends after it begins, in timestamps, and an amount below '
                           'a trillion dollars.',
                  HINT = 'Give the report as the provider sent it. Nothing was imported.';
    END;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_bills(text, jsonb) IS
    'Stores billing lines that an importer brought into one form, all or nothing. '
    'Internal: the import functions use it.';

CREATE FUNCTION agent_metrics_internal.check_bills(report jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    -- bringing it into one form takes some ten times its size
    most constant bigint := 128 * 1024 * 1024;
BEGIN
    IF agent_metrics_internal.json_size(report) > most THEN
        RAISE EXCEPTION 'a report of % MB', agent_metrics_internal.json_size(report) / 1024 / 1024
            USING ERRCODE = 'program_limit_exceeded',
                  DETAIL = format('One call takes %s MB at most. Nothing was imported.', most / 1024 / 1024),
                  HINT = 'Import it day by day; keep the rows that are one line together.';
    END IF;
    -- its lines are two levels down in it, and are kept
    PERFORM agent_metrics_internal.check_json(report, 'the report');
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_bills(jsonb) IS
    'Refuses a report that is too large or too deep. Internal: the import functions use it.';

CREATE FUNCTION agent_metrics.import_anthropic_costs(report jsonb)
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    PERFORM agent_metrics_internal.check_bills(report);
    IF (CASE jsonb_typeof(report -> 'data')
           WHEN 'array' THEN EXISTS (SELECT 1 FROM jsonb_array_elements(report -> 'data') AS b (bucket)
                                     WHERE jsonb_typeof(b.bucket -> 'results') IS DISTINCT FROM 'array')
           ELSE true END) OR jsonb_path_exists(report, '$.data[*].results[*] ? (@.type() != "object")') THEN
        RAISE EXCEPTION 'this is no cost report of Anthropic'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It has no list "data" of buckets with a list "results" of objects each.',
                  HINT = 'Give the whole answer of GET /v1/organizations/cost_report, best grouped by description.';
    END IF;
    RETURN QUERY
    SELECT * FROM agent_metrics_internal.store_bills('anthropic', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'provider', 'anthropic', 'model', r.line ->> 'model', 'period_start', b.bucket ->> 'starting_at',
                   'period_end', b.bucket ->> 'ending_at',
                   'currency', r.line ->> 'currency', 'description', r.line ->> 'description',
                   -- the report counts in cents
                   'amount', CASE WHEN r.line ->> 'amount' ~ '^-?\d{1,30}(\.\d{1,30})?([eE][-+]?\d{1,2})?$'
                                  THEN trim_scale((r.line ->> 'amount')::numeric * 0.01)::text
                                  ELSE r.line ->> 'amount' END,
                   'identity', r.line - 'amount', 'detail', r.line)), '[]')
        FROM jsonb_array_elements(report -> 'data') AS b (bucket)
        CROSS JOIN LATERAL jsonb_array_elements(b.bucket -> 'results') AS r (line)));
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_anthropic_costs(jsonb) IS
    'Imports an answer of Anthropic''s cost report, whose amounts are decimal strings in cents. A line is stored once, '
    'however often it is imported; one with another amount is corrected.';

CREATE FUNCTION agent_metrics.import_openai_costs(report jsonb)
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    PERFORM agent_metrics_internal.check_bills(report);
    IF (CASE jsonb_typeof(report -> 'data')
           WHEN 'array' THEN EXISTS (SELECT 1 FROM jsonb_array_elements(report -> 'data') AS b (bucket)
                                     WHERE jsonb_typeof(b.bucket -> 'results') IS DISTINCT FROM 'array'
                                        OR jsonb_typeof(b.bucket -> 'start_time') IS DISTINCT FROM 'number'
                                        OR jsonb_typeof(b.bucket -> 'end_time') IS DISTINCT FROM 'number')
           ELSE true END) OR jsonb_path_exists(report, '$.data[*].results[*] ? (@.type() != "object")')
       OR jsonb_path_exists(report, '$.data[*] ? (@.start_time < 0 || @.start_time > 100000000000 || @.end_time < 0 || '
                                    '@.end_time > 100000000000)') THEN
        RAISE EXCEPTION 'this is no answer of OpenAI''s costs'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It has no list "data" of buckets with start_time and end_time in seconds since 1970 and a '
                           'list "results" of objects each.',
                  HINT = 'Give the whole answer of GET /v1/organization/costs, best grouped by line_item.';
    END IF;
    RETURN QUERY
    SELECT * FROM agent_metrics_internal.store_bills('openai', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'provider', 'openai',
                   -- a line item is a model and what of it was used: "gpt-4o-2024-08-06, input"
                   'model', CASE WHEN r.line ->> 'line_item' ~ ','
                                 THEN btrim(split_part(r.line ->> 'line_item', ',', 1)) END,
                   'period_start', to_timestamp((b.bucket ->> 'start_time')::double precision),
                   'period_end', to_timestamp((b.bucket ->> 'end_time')::double precision),
                   'currency', r.line #>> '{amount,currency}', 'description', r.line ->> 'line_item',
                   'amount', r.line #>> '{amount,value}', 'identity', r.line - 'amount', 'detail', r.line)), '[]')
        FROM jsonb_array_elements(report -> 'data') AS b (bucket)
        CROSS JOIN LATERAL jsonb_array_elements(b.bucket -> 'results') AS r (line)));
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_openai_costs(jsonb) IS
    'Imports an answer of OpenAI''s costs, whose amounts are in dollars. A line is stored once, however often it is '
    'imported; one with another amount is corrected.';

CREATE FUNCTION agent_metrics.import_focus(report jsonb)
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    PERFORM agent_metrics_internal.check_bills(report);
    IF jsonb_typeof(report) IS DISTINCT FROM 'array'
       OR jsonb_path_exists(report, 'strict $[*] ? (@.type() != "object")') THEN
        RAISE EXCEPTION 'these are no FOCUS rows'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A list of objects was expected, whose keys are the columns of FOCUS: BilledCost, '
                           'BillingCurrency, ChargePeriodStart and so on.',
                  HINT = 'From a table that holds the export: SELECT '
                         'agent_metrics.import_focus(jsonb_agg(to_jsonb(t))) FROM export t;';
    END IF;
    RETURN QUERY
    SELECT * FROM agent_metrics_internal.store_bills('focus', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'provider', coalesce(r.line ->> 'ServiceProviderName', r.line ->> 'ProviderName',
                                        r.line ->> 'InvoiceIssuerName'),
                   'model', m.model, 'agent_id', r.line #>> '{Tags,agent_id}', 'service', r.line ->> 'ServiceName',
                   'period_start', r.line ->> 'ChargePeriodStart', 'period_end', r.line ->> 'ChargePeriodEnd',
                   'currency', r.line ->> 'BillingCurrency', 'amount', r.line ->> 'BilledCost',
                   'description', r.line ->> 'ChargeDescription',
                   -- a row that names a model is use of it; any other is infrastructure
                   'is_infrastructure', m.model IS NULL,
                   'identity', r.line - ARRAY['BilledCost', 'EffectiveCost', 'ListCost', 'ContractedCost'],
                   'detail', r.line)), '[]')
        FROM jsonb_array_elements(report) AS r (line)
        CROSS JOIN LATERAL (SELECT coalesce(r.line ->> 'x_Model', r.line #>> '{Tags,model}',
                                            r.line #>> '{SkuPriceDetails,model}') AS model) m));
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_focus(jsonb) IS
    'Imports rows of a FOCUS export: those that name a model (x_Model, or a tag or SKU detail "model") into '
    'billing_lines, others into infrastructure_costs, of the agent that a tag agent_id names. '
    'Rows that agree in all but the amounts are one line: give whole exports.';
