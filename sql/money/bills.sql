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

-- Whether a list has pages of a report: each has a list "data" of buckets, each with a list "results" of objects.
CREATE FUNCTION agent_metrics_internal.are_pages(pages jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb_array_length(pages) > 0 AND NOT jsonb_path_exists(pages, 'strict $[*] ? (@.type() != "object")')
       AND NOT jsonb_path_exists(pages, '$[*] ? (!(@.data.type() == "array"))')
       AND NOT jsonb_path_exists(pages, '$[*].data[*] ? (!(@.results.type() == "array"))')
       AND NOT jsonb_path_exists(pages, '$[*].data[*].results[*] ? (@.type() != "object")');
COMMENT ON FUNCTION agent_metrics_internal.are_pages(jsonb) IS
    'Whether a list has pages of a cost report. Internal: the import functions use it.';

-- A page without has_more, as one that somebody wrote by hand, is the last.
CREATE FUNCTION agent_metrics_internal.are_open(pages jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NOT jsonb_path_exists(pages, '$[*] ? (!(@.has_more == true))');
COMMENT ON FUNCTION agent_metrics_internal.are_open(jsonb) IS
    'Whether each of these pages says that more follow. Internal: the import functions use it.';

-- The pages of one report, given together or one after the other. The next page of an open report has no line that is
-- there already, and was grouped by the same columns; anything else begins a report anew. Buckets that are missing in
-- the middle are pages that are missing.
CREATE FUNCTION agent_metrics_internal.store_pages(
    source text, account text, lines jsonb, buckets jsonb, has_more boolean, grouped_by text)
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric, removed bigint, refused bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $function$
#variable_conflict use_column
DECLARE
    bills  agent_metrics_internal.bill[];
    ids    text[];
    before text[] := '{}';
    gaps   tstzmultirange;
BEGIN
    bills := ARRAY(SELECT b FROM agent_metrics_internal.read_bills(source, lines) b);
    ids := ARRAY(SELECT b.line_id FROM unnest(bills) b);
    SELECT o.line_ids INTO before FROM agent_metrics_internal.open_reports o
    WHERE o.source = store_pages.source AND o.account = store_pages.account
      AND o.grouped_by = store_pages.grouped_by AND NOT o.line_ids && ids;
    before := coalesce(before, '{}');
    RETURN QUERY SELECT * FROM agent_metrics_internal.store_bills(source, bills, buckets, before);
    DELETE FROM agent_metrics_internal.open_reports o
    WHERE o.source = store_pages.source AND o.account = store_pages.account;
    IF has_more THEN
        INSERT INTO agent_metrics_internal.open_reports (source, account, grouped_by, line_ids)
        VALUES (store_pages.source, store_pages.account, store_pages.grouped_by, before || ids);
        RAISE NOTICE 'the report has more pages, which are missing'
            USING DETAIL = 'Its last page says has_more, so that the bill is known in part.',
                  HINT = 'Import the next page, or all pages as one list.';
    END IF;
    SELECT tstzmultirange(range_merge(x.covered)) - x.covered INTO gaps
    FROM (SELECT range_agg(tstzrange(agent_metrics_internal.bill_moment(k.period_start),
                                     agent_metrics_internal.bill_moment(k.period_end))) AS covered
          FROM jsonb_to_recordset(buckets) AS k (period_start text, period_end text)
          WHERE agent_metrics_internal.bill_moment(k.period_start)
                < agent_metrics_internal.bill_moment(k.period_end)) x;
    IF NOT isempty(gaps) THEN
        RAISE NOTICE 'the report says nothing of days in its middle'
            USING DETAIL = format('Missing: %s.', gaps), HINT = 'Import the page that has them.';
    END IF;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_pages(text, text, jsonb, jsonb, boolean, text) IS
    'Stores pages of a report, and says which are missing. Internal: the import functions use it.';

CREATE FUNCTION agent_metrics.import_anthropic_costs(report jsonb, account text DEFAULT '')
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric, removed bigint, refused bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $function$
#variable_conflict use_column
DECLARE
    pages jsonb := CASE jsonb_typeof(report) WHEN 'array' THEN report ELSE jsonb_build_array(report) END;
BEGIN
    PERFORM agent_metrics_internal.check_bills(report);
    IF NOT agent_metrics_internal.are_pages(pages) THEN
        RAISE EXCEPTION 'this is no cost report of Anthropic'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It has no list "data" of buckets with a list "results" of objects each.',
                  HINT = 'Give the whole answer of GET /v1/organizations/cost_report, best grouped by description; of '
                         'several pages, a list of the answers.';
    END IF;
    RETURN QUERY
    SELECT s.* FROM (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'account', coalesce(import_anthropic_costs.account, ''), 'provider', 'anthropic',
                   'model', r.line ->> 'model', 'period_start', b.bucket ->> 'starting_at',
                   'period_end', b.bucket ->> 'ending_at', 'currency', r.line ->> 'currency',
                   -- the report counts in cents
                   'amount', r.line ->> 'amount', 'factor', 0.01, 'charge', 'usage',
                   'description', r.line ->> 'description',
                   'identity', jsonb_build_object(
                       'workspace', r.line -> 'workspace_id', 'cost', r.line -> 'cost_type',
                       'token', r.line -> 'token_type', 'tier', r.line -> 'service_tier',
                       'context', r.line -> 'context_window'),
                   'detail', r.line)), '[]') AS lines,
               concat_ws(' ', CASE WHEN count(r.line ->> 'description') > 0 THEN 'description' END,
                         CASE WHEN count(r.line ->> 'workspace_id') > 0 THEN 'workspace' END) AS grouped_by
        FROM (SELECT DISTINCT e.page FROM jsonb_array_elements(pages) AS e (page)) p
        CROSS JOIN LATERAL jsonb_array_elements(p.page -> 'data') AS b (bucket)
        CROSS JOIN LATERAL jsonb_array_elements(b.bucket -> 'results') AS r (line)) l
    CROSS JOIN (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'account', coalesce(import_anthropic_costs.account, ''), 'period_start', b.bucket ->> 'starting_at',
                   'period_end', b.bucket ->> 'ending_at')), '[]') AS buckets
        FROM (SELECT DISTINCT e.page FROM jsonb_array_elements(pages) AS e (page)) p
        CROSS JOIN LATERAL jsonb_array_elements(p.page -> 'data') AS b (bucket)) k
    CROSS JOIN LATERAL agent_metrics_internal.store_pages(
        'anthropic', coalesce(import_anthropic_costs.account, ''), l.lines, k.buckets,
        agent_metrics_internal.are_open(pages), l.grouped_by) s;
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_anthropic_costs(jsonb, text) IS
    'Imports an answer of Anthropic''s cost report, or a list of its pages. Amounts are decimal strings in cents. It '
    'replaces what was known of its days, whatever it was grouped by. account: name it where you import several '
    'organizations, or reports that were filtered.';

CREATE FUNCTION agent_metrics.import_openai_costs(report jsonb, account text DEFAULT '')
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric, removed bigint, refused bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $function$
#variable_conflict use_column
DECLARE
    pages jsonb := CASE jsonb_typeof(report) WHEN 'array' THEN report ELSE jsonb_build_array(report) END;
BEGIN
    PERFORM agent_metrics_internal.check_bills(report);
    IF NOT agent_metrics_internal.are_pages(pages)
       OR jsonb_path_exists(pages, '$[*].data[*] ? (!(@.start_time.type() == "number" && @.start_time >= 0 '
                                   '&& @.start_time < 100000000000 && @.end_time.type() == "number" '
                                   '&& @.end_time >= 0 && @.end_time < 100000000000))') THEN
        RAISE EXCEPTION 'this is no answer of OpenAI''s costs'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It has no list "data" of buckets with start_time and end_time in seconds since 1970 and a '
                           'list "results" of objects each.',
                  HINT = 'Give the whole answer of GET /v1/organization/costs, best grouped by line_item; of several '
                         'pages, a list of the answers.';
    END IF;
    RETURN QUERY
    SELECT s.* FROM (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'account', coalesce(import_openai_costs.account, ''), 'provider', 'openai',
                   -- a line item is a model and what of it was used: "gpt-4o-2024-08-06, input"
                   'model', CASE WHEN r.line ->> 'line_item' ~ ','
                                 THEN btrim(split_part(r.line ->> 'line_item', ',', 1)) END,
                   'period_start', to_timestamp((b.bucket ->> 'start_time')::double precision),
                   'period_end', to_timestamp((b.bucket ->> 'end_time')::double precision),
                   'currency', r.line #>> '{amount,currency}', 'amount', r.line #>> '{amount,value}',
                   'charge', 'usage', 'description', r.line ->> 'line_item',
                   'identity', jsonb_build_object('project', r.line -> 'project_id'), 'detail', r.line)),
                        '[]') AS lines,
               concat_ws(' ', CASE WHEN count(r.line ->> 'line_item') > 0 THEN 'line_item' END,
                         CASE WHEN count(r.line ->> 'project_id') > 0 THEN 'project_id' END) AS grouped_by
        FROM (SELECT DISTINCT e.page FROM jsonb_array_elements(pages) AS e (page)) p
        CROSS JOIN LATERAL jsonb_array_elements(p.page -> 'data') AS b (bucket)
        CROSS JOIN LATERAL jsonb_array_elements(b.bucket -> 'results') AS r (line)) l
    CROSS JOIN (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'account', coalesce(import_openai_costs.account, ''),
                   'period_start', to_timestamp((b.bucket ->> 'start_time')::double precision),
                   'period_end', to_timestamp((b.bucket ->> 'end_time')::double precision))), '[]') AS buckets
        FROM (SELECT DISTINCT e.page FROM jsonb_array_elements(pages) AS e (page)) p
        CROSS JOIN LATERAL jsonb_array_elements(p.page -> 'data') AS b (bucket)) k
    CROSS JOIN LATERAL agent_metrics_internal.store_pages(
        'openai', coalesce(import_openai_costs.account, ''), l.lines, k.buckets,
        agent_metrics_internal.are_open(pages), l.grouped_by) s;
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_openai_costs(jsonb, text) IS
    'Imports an answer of OpenAI''s costs, or a list of its pages. Amounts are in dollars. It replaces what was known '
    'of its days, whatever it was grouped by. account: name it where you import several organizations, or reports that '
    'were filtered, by project for example.';

-- FOCUS ------------------------------------------------------------------------------------------------------------

-- Text that a CSV file has where the format has a map; and a list of keys with values, as some have it.
CREATE FUNCTION agent_metrics_internal.focus_map(value jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^\s*[{[]' THEN
        value := (value #>> '{}')::jsonb;
    END IF;
    RETURN CASE jsonb_typeof(value)
        WHEN 'object' THEN (
            SELECT jsonb_object_agg(lower(m.key), m.value) FROM jsonb_each(value) AS m (key, value))
        WHEN 'array' THEN (
            SELECT jsonb_object_agg(lower(m.tag ->> 'key'), m.tag -> 'value')
            FROM jsonb_array_elements(value) AS m (tag)
            WHERE m.tag ->> 'key' IS NOT NULL) END;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.focus_map(jsonb) IS
    'Tags and the like of a FOCUS row, with keys in lower case, also where they are JSON as text. '
    'Internal: import_focus() uses it.';

-- Columns are known in any case and with underscores, as a table has them that was made without quotes. A model is
-- taken from where the row names one; a name of a meter is one only where a price or an alias has that name.
CREATE FUNCTION agent_metrics_internal.focus_lines(report jsonb, account text) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    -- One statement: what the columns say, then what the service is, then the line.
    RETURN (
        WITH focus_row AS MATERIALIZED (
            SELECT e.line AS detail, c.line,
                   coalesce(nullif(c.line ->> 'providername', ''), nullif(c.line ->> 'serviceprovidername', ''),
                            c.line ->> 'invoiceissuername', '') AS biller,
                   coalesce(c.line ->> 'servicename', '') AS service,
                   coalesce(c.line ->> 'publishername', '') AS publisher, nullif(c.line ->> 'skumeter', '') AS meter,
                   c.line ->> 'servicecategory' AS category,
                   agent_metrics_internal.focus_map(c.line -> 'tags') AS tags,
                   agent_metrics_internal.focus_map(c.line -> 'skupricedetails') AS sku
            FROM jsonb_array_elements(report) AS e (line)
            CROSS JOIN LATERAL (
                SELECT jsonb_object_agg(lower(replace(k.key, '_', '')), k.value) AS line
                FROM jsonb_each(e.line) AS k (key, value)) c
        ), service AS MATERIALIZED (
            SELECT x.biller, x.publisher, x.service, m.service_name IS NOT NULL AS is_listed, m.model_provider
            FROM (SELECT DISTINCT f.biller, f.publisher, f.service FROM focus_row f) x
            LEFT JOIN LATERAL (
                SELECT s.service_name, s.model_provider FROM agent_metrics.model_services s
                WHERE x.service ILIKE s.service_name AND (x.biller ILIKE s.biller OR x.publisher ILIKE s.biller)
                ORDER BY length(s.service_name) + length(s.biller) DESC LIMIT 1) m ON true
        ), meter AS MATERIALIZED (
            SELECT x.meter FROM (SELECT DISTINCT f.meter FROM focus_row f WHERE f.meter IS NOT NULL) x
            WHERE EXISTS (SELECT 1 FROM agent_metrics.token_prices t WHERE t.model = x.meter)
               OR EXISTS (SELECT 1 FROM agent_metrics.model_aliases a WHERE a.model = x.meter)
        )
        SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'account', concat_ws('/', nullif(f.biller, ''), nullif(f.line ->> 'billingaccountid', ''),
                                        nullif(account, '')),
                   'provider', coalesce(s.model_provider, nullif(f.biller, '')), 'model', m.model,
                   'agent_id', coalesce(f.tags ->> 'agent_id', f.tags ->> 'user:agent_id'),
                   'service', nullif(f.service, ''),
                   'period_start', f.line ->> 'chargeperiodstart',
                   'period_end', nullif(f.line ->> 'chargeperiodend', ''), 'currency', f.line ->> 'billingcurrency',
                   'amount', f.line ->> 'billedcost', 'description', f.line ->> 'chargedescription',
                   'charge', CASE WHEN lower(f.line ->> 'chargecategory') IN ('purchase', 'tax', 'credit', 'adjustment')
                                      THEN lower(f.line ->> 'chargecategory')
                                  -- what lasts no time is no usage
                                  WHEN f.line ->> 'chargeperiodend' = f.line ->> 'chargeperiodstart' THEN 'adjustment'
                                  ELSE 'usage' END,
                   'is_infrastructure', m.model IS NULL AND s.model_provider IS NULL
                       AND (s.is_listed OR lower(f.category) IS DISTINCT FROM 'ai and machine learning'),
                   'identity', jsonb_build_object(
                       'sub', f.line -> 'subaccountid', 'resource', f.line -> 'resourceid', 'sku', f.line -> 'skuid',
                       'region', f.line -> 'regionid'),
                   'detail', f.detail)), '[]')
        FROM focus_row f
        JOIN service s ON s.biller = f.biller AND s.publisher = f.publisher AND s.service = f.service
        LEFT JOIN meter n ON n.meter = f.meter
        CROSS JOIN LATERAL (
            SELECT coalesce(nullif(f.line ->> 'xmodel', ''), nullif(f.line ->> 'xmodelname', ''), f.tags ->> 'model',
                            f.sku ->> 'model', f.sku ->> 'modelname', f.sku ->> 'model_name', f.sku ->> 'x_model',
                            n.meter) AS model) m);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.focus_lines(jsonb, text) IS
    'Rows of a FOCUS export in the form that read_bills() takes. Internal: import_focus() uses it.';

CREATE FUNCTION agent_metrics.import_focus(report jsonb, account text DEFAULT '')
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric, removed bigint, refused bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $function$
#variable_conflict use_column
DECLARE
    missing text;
    bills   agent_metrics_internal.bill[];
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
    SELECT string_agg(w.name, ', ') INTO missing
    FROM (VALUES ('BilledCost'), ('BillingCurrency'), ('ChargePeriodStart'), ('ChargePeriodEnd'), ('ProviderName'))
             AS w (name)
    WHERE report <> '[]' AND NOT EXISTS (
        SELECT 1 FROM jsonb_array_elements(report) AS e (line) CROSS JOIN LATERAL jsonb_object_keys(e.line) AS k (key)
        WHERE lower(replace(k.key, '_', '')) = lower(w.name)
           OR (w.name = 'ProviderName'
               AND lower(replace(k.key, '_', '')) IN ('serviceprovidername', 'invoiceissuername')));
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'no row has the column %', missing
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Columns of FOCUS are known in upper and lower case, and with underscores.',
                  HINT = 'Give the export with all of its columns. Nothing was imported.';
    END IF;
    bills := ARRAY(SELECT b FROM agent_metrics_internal.read_bills(
                       'focus', agent_metrics_internal.focus_lines(report, account)) b);
    RETURN QUERY SELECT * FROM agent_metrics_internal.store_bills('focus', bills, NULL, '{}');
END
$function$;
COMMENT ON FUNCTION agent_metrics.import_focus(jsonb, text) IS
    'Imports rows of a FOCUS export. Services of agent_metrics.model_services, the category AI and Machine Learning, '
    'and rows that name a model go into billing_lines, others into infrastructure_costs, of the agent that a tag '
    'agent_id names. They replace what was known of their biller, account and days: give all rows of a day in one '
    'call. account: name it where an export has a part of the account alone.';
