-- A report says what a period cost. Importing it replaces what was known of that biller, account and period, whatever
-- it was grouped by: columns come and go, quantities and groupings change, so no line is known by all that it says.
--
-- The importers (bills.sql) bring the lines of a report into one form, the type bill. What a report covers is known
-- from its buckets, or from its lines; what earlier reports said of a covered period and this one does not, is gone.

CREATE TYPE agent_metrics_internal.bill AS (
    line_id text, account text, provider text, model text, agent_id text, service text, period_start timestamptz,
    period_end timestamptz, amount numeric, description text, charge text, is_infrastructure boolean,
    covers_period boolean, detail jsonb, reason text);
COMMENT ON TYPE agent_metrics_internal.bill IS
    'A line of a report in the one form of the importers. reason: why it cannot be stored.';
COMMENT ON COLUMN agent_metrics_internal.bill.line_id IS 'Id that the line has in every report of its period.';
COMMENT ON COLUMN agent_metrics_internal.bill.account IS 'Biller and account; empty: the only one.';
COMMENT ON COLUMN agent_metrics_internal.bill.provider IS 'Who runs the model, or who billed.';
COMMENT ON COLUMN agent_metrics_internal.bill.model IS 'Model; NULL: the line does not say.';
COMMENT ON COLUMN agent_metrics_internal.bill.agent_id IS 'Agent that a tag names.';
COMMENT ON COLUMN agent_metrics_internal.bill.service IS 'What was billed.';
COMMENT ON COLUMN agent_metrics_internal.bill.period_start IS 'First moment of its period.';
COMMENT ON COLUMN agent_metrics_internal.bill.period_end IS 'First moment after it.';
COMMENT ON COLUMN agent_metrics_internal.bill.amount IS 'US dollars.';
COMMENT ON COLUMN agent_metrics_internal.bill.description IS 'What was billed, in the biller''s words.';
COMMENT ON COLUMN agent_metrics_internal.bill.charge IS 'usage, purchase, tax, credit or adjustment.';
COMMENT ON COLUMN agent_metrics_internal.bill.is_infrastructure IS 'No use of a model.';
COMMENT ON COLUMN agent_metrics_internal.bill.covers_period IS
    'Use over more than a day, of which the report says nothing finer.';
COMMENT ON COLUMN agent_metrics_internal.bill.detail IS 'The line as it came.';
COMMENT ON COLUMN agent_metrics_internal.bill.reason IS 'Why it is refused; NULL: it is not.';

CREATE TYPE agent_metrics_internal.known_bill AS (
    line_id text, account text, period tstzrange, amount numeric, is_infrastructure boolean, covers_period boolean,
    is_replaced boolean);
COMMENT ON TYPE agent_metrics_internal.known_bill IS 'A line of an earlier report, as a new report finds it.';
COMMENT ON COLUMN agent_metrics_internal.known_bill.line_id IS 'Id of the line.';
COMMENT ON COLUMN agent_metrics_internal.known_bill.account IS 'Biller and account.';
COMMENT ON COLUMN agent_metrics_internal.known_bill.period IS 'Its period.';
COMMENT ON COLUMN agent_metrics_internal.known_bill.amount IS 'US dollars.';
COMMENT ON COLUMN agent_metrics_internal.known_bill.is_infrastructure IS 'It is in infrastructure_costs.';
COMMENT ON COLUMN agent_metrics_internal.known_bill.covers_period IS 'It stands for all of its period.';
COMMENT ON COLUMN agent_metrics_internal.known_bill.is_replaced IS 'The new report covers it.';

-- A moment that a report writes as text. Words that a cast would take, such as "now", are none.
CREATE FUNCTION agent_metrics_internal.bill_moment(words text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $function$
DECLARE
    moment timestamptz;
BEGIN
    IF words ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' THEN
        moment := words::timestamptz;
        IF moment >= '0001-01-01 00:00+00' AND moment < '9999-12-31 00:00+00' THEN
            RETURN moment;
        END IF;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.bill_moment(text) IS
    'A moment of a report, or NULL where the text is none. Internal: read_bills() uses it.';

-- Decimals of a database of forty digits and more come as they are; dust behind the sixtieth is cut off.
CREATE FUNCTION agent_metrics_internal.bill_amount(words text) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN words ~ '^\s*[-+]?([0-9]{1,30}(\.[0-9]{0,255})?|\.[0-9]{1,255})([eE][-+]?[0-9]{1,4})?\s*$'
                THEN CASE WHEN scale(words::numeric) > 60 THEN trim_scale(round(words::numeric, 60))
                          ELSE words::numeric END END;
COMMENT ON FUNCTION agent_metrics_internal.bill_amount(text) IS
    'An amount of a report, or NULL where the text is no decimal number. Internal: read_bills() uses it.';

-- The id of a line is made of what it is about, and of its place among those that are about the same, so that a
-- report that comes again repeats its ids and one with another amount corrects them.
CREATE FUNCTION agent_metrics_internal.read_bills(source text, lines jsonb) RETURNS SETOF agent_metrics_internal.bill
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $function$
#variable_conflict use_column
BEGIN
    -- One statement: a line is read, compared with its like, and judged. Moments are few, and each is read once.
    RETURN QUERY
    WITH said AS MATERIALIZED (
        SELECT r.* FROM jsonb_to_recordset(lines) AS r (
            account text, provider text, model text, agent_id text, service text, period_start text, period_end text,
            amount text, factor numeric, currency text, description text, charge text, is_infrastructure boolean,
            identity jsonb, detail jsonb)
    ), moment AS MATERIALIZED (
        SELECT x.words, agent_metrics_internal.bill_moment(x.words) AS moment
        FROM (SELECT s.period_start AS words FROM said s UNION SELECT s.period_end FROM said s) x
    ), line AS MATERIALIZED (
        SELECT coalesce(r.account, '') AS account, r.provider, r.model, r.agent_id, r.service, r.description, r.charge,
               r.is_infrastructure, r.detail, r.currency, r.amount AS said, r.period_start AS began,
               r.period_end AS ended, m.moment AS period_start,
               CASE WHEN r.factor IS NULL THEN agent_metrics_internal.bill_amount(r.amount)
                    ELSE trim_scale(agent_metrics_internal.bill_amount(r.amount) * r.factor) END AS amount,
               -- money without usage may be of a moment
               CASE WHEN r.charge <> 'usage' AND (r.period_end IS NULL OR n.moment = m.moment)
                    THEN m.moment + interval '1 second' ELSE n.moment END AS period_end,
               jsonb_build_array(r.account, m.moment, n.moment, r.provider, r.model, r.agent_id, r.service,
                                 r.charge, r.description, jsonb_strip_nulls(r.identity))::text AS subject
        FROM said r
        LEFT JOIN moment m ON m.words = r.period_start
        LEFT JOIN moment n ON n.words = r.period_end
    ), fine AS MATERIALIZED (
        SELECT l.account, range_agg(tstzrange(l.period_start, l.period_end)) AS periods
        FROM line l
        WHERE l.charge = 'usage' AND l.period_end > l.period_start
          AND l.period_end - l.period_start <= interval '1 day'
        GROUP BY l.account
    )
    SELECT md5(concat_ws(' ', read_bills.source, x.subject, row_number() OVER (
               PARTITION BY x.subject ORDER BY x.amount IS NULL, x.detail::text))),
           x.account, x.provider, x.model, x.agent_id, x.service, x.period_start, x.period_end, x.amount,
           x.description, x.charge, coalesce(x.is_infrastructure, false),
           coalesce(x.charge = 'usage' AND x.period_end - x.period_start > interval '1 day'
                    AND NOT coalesce(f.periods && tstzrange(x.period_start, x.period_end), false), false),
           x.detail,
           CASE WHEN upper(btrim(coalesce(x.currency, ''))) <> 'USD'
                    THEN format('its currency is "%s", and money is in US dollars here', coalesce(x.currency, 'NULL'))
                WHEN x.amount IS NULL
                    THEN format('its amount is "%s", which is no decimal number', coalesce(left(x.said, 60), 'NULL'))
                WHEN abs(x.amount) >= 1e12 THEN 'its amount is a trillion dollars or more'
                WHEN coalesce(btrim(x.provider), '') = '' THEN 'it names no provider'
                WHEN x.period_start IS NULL
                    THEN format('its period begins at "%s", which is no moment', coalesce(left(x.began, 60), 'NULL'))
                WHEN x.period_end IS NULL
                    THEN format('its period ends at "%s", which is no moment', coalesce(left(x.ended, 60), 'NULL'))
                WHEN x.period_end <= x.period_start
                    THEN format('its period ends at %s and begins at %s', x.ended, x.began)
                WHEN greatest(octet_length(x.provider), octet_length(x.model), octet_length(x.agent_id),
                              octet_length(x.service)) > 256 OR octet_length(x.account) > 1024
                    THEN 'a name in it is longer than 256 bytes' END
    FROM line x
    LEFT JOIN fine f ON f.account = x.account AND x.period_end > x.period_start;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.read_bills(text, jsonb) IS
    'Lines of a report, each with its id, or with the reason for which it is refused. '
    'Internal: the import functions use it.';

-- Use by the hour or the day covers its day in UTC. Use over a longer time covers it when the report says nothing
-- finer of it: beside use by the day it is a charge of its own, such as a subscription. Taxes and credits cover
-- nothing. buckets: what the report says that it covers, also where it has no line; not where each line was refused.
CREATE FUNCTION agent_metrics_internal.covered_by(bills agent_metrics_internal.bill[], buckets jsonb)
RETURNS TABLE (account text, covered tstzmultirange)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH bucket AS (
        SELECT k.account, tstzrange(agent_metrics_internal.bill_moment(k.period_start),
                                    agent_metrics_internal.bill_moment(k.period_end)) AS period
        FROM jsonb_to_recordset(coalesce(buckets, '[]')) AS k (account text, period_start text, period_end text)
        WHERE agent_metrics_internal.bill_moment(k.period_start) < agent_metrics_internal.bill_moment(k.period_end)
    ), bill AS MATERIALIZED (
        SELECT DISTINCT b.account, tstzrange(b.period_start, b.period_end) AS period, b.reason IS NULL AS is_good,
               b.charge = 'usage' AS is_use, b.covers_period
        FROM unnest(bills) b WHERE b.period_end > b.period_start
    )
    SELECT x.account, range_agg(x.period)
    FROM (SELECT k.account, k.period FROM bucket k
          WHERE EXISTS (SELECT 1 FROM bill b WHERE b.account = k.account AND b.period && k.period AND b.is_good)
             OR NOT EXISTS (SELECT 1 FROM bill b WHERE b.account = k.account AND b.period && k.period)
          UNION ALL
          SELECT b.account,
                 CASE WHEN b.covers_period THEN b.period
                      ELSE tstzrange(date_trunc('day', lower(b.period)),
                                     date_trunc('day', lower(b.period)) + interval '1 day') END
          FROM bill b
          WHERE b.is_good AND b.is_use AND buckets IS NULL
            -- beside finer use it covers nothing
            AND (b.covers_period OR upper(b.period) - lower(b.period) <= interval '1 day')) x
    GROUP BY x.account;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.covered_by(agent_metrics_internal.bill[], jsonb) IS
    'What a report covers, account by account. Internal: known_bills() uses it.';

-- A line is replaced where the report covers all of it, or has a line of the very period. open_lines are of pages of
-- the same report that came before. Whatever lies beside the time of the report is not looked at.
CREATE FUNCTION agent_metrics_internal.known_bills(
    source text, bills agent_metrics_internal.bill[], buckets jsonb, open_lines text[])
RETURNS SETOF agent_metrics_internal.known_bill
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH covered AS MATERIALIZED (
        SELECT c.account, c.covered FROM agent_metrics_internal.covered_by(bills, buckets) c
    ), exact AS MATERIALIZED (
        SELECT DISTINCT b.account, tstzrange(b.period_start, b.period_end) AS period, b.charge = 'usage' AS is_use
        FROM unnest(bills) b WHERE b.reason IS NULL
    ), around AS MATERIALIZED (
        SELECT x.account, min(lower(x.period)) AS began, max(upper(x.period)) AS ended
        FROM (SELECT c.account, range_merge(c.covered) AS period FROM covered c
              UNION ALL SELECT e.account, e.period FROM exact e) x
        GROUP BY x.account
    ), known AS (
        SELECT l.line_id, l.account, tstzrange(l.period_start, l.period_end) AS period, l.amount_usd,
               false AS is_infrastructure, l.covers_period, l.charge = 'usage' AS is_use
        FROM agent_metrics.billing_lines l
        JOIN around a ON a.account = l.account AND l.period_start < a.ended AND l.period_end > a.began
        WHERE l.source = known_bills.source
        UNION ALL
        SELECT i.cost_id, i.account, tstzrange(i.period_start, i.period_end), i.amount_usd, true, i.covers_period,
               i.charge = 'usage'
        FROM agent_metrics.infrastructure_costs i
        JOIN around a ON a.account = i.account AND i.period_start < a.ended AND i.period_end > a.began
        WHERE i.source = known_bills.source
    )
    SELECT k.line_id, k.account, k.period, k.amount_usd, k.is_infrastructure, k.covers_period,
           k.line_id <> ALL (open_lines)
           AND (e.account IS NOT NULL OR coalesce(c.covered @> k.period, false)
                OR (upper(k.period) - lower(k.period) <= interval '1 day'
                    AND coalesce(c.covered @> lower(k.period), false)))
    FROM known k
    LEFT JOIN covered c ON c.account = k.account
    LEFT JOIN exact e ON e.account = k.account AND e.period = k.period AND e.is_use = k.is_use;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.known_bills(text, agent_metrics_internal.bill[], jsonb, text[]) IS
    'What is known of the accounts and the time of a report, and what of it the report replaces. '
    'Internal: store_bills() uses it.';

-- Beside use by the day, use over many days is a charge of its own and stands for nothing. And what is a part of a
-- line that stands for all of its period, and stays, would be counted twice.
CREATE FUNCTION agent_metrics_internal.judged_bills(
    bills agent_metrics_internal.bill[], known agent_metrics_internal.known_bill[])
RETURNS agent_metrics_internal.bill[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    whole agent_metrics_internal.known_bill[];
BEGIN
    whole := ARRAY(SELECT k FROM unnest(known) k WHERE k.covers_period AND NOT k.is_replaced);
    IF cardinality(whole) = 0 THEN
        RETURN bills;
    END IF;
    RETURN ARRAY(
        SELECT CASE WHEN w.amount IS NULL THEN b
                    ELSE jsonb_populate_record(b, jsonb_build_object('reason', format(
                             '%s usd of %s to %s are known, of which it is a part: import a report of all that time',
                             w.amount, lower(w.period), upper(w.period)))) END
        FROM unnest(bills) b
        LEFT JOIN LATERAL (
            SELECT k.amount, k.period FROM unnest(whole) k
            WHERE k.account = b.account AND k.line_id <> b.line_id
              -- what is refused may end before it begins
              AND k.period && CASE WHEN b.reason IS NULL AND b.charge = 'usage'
                                   THEN tstzrange(b.period_start, b.period_end) END
            LIMIT 1) w ON true);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.judged_bills(
    agent_metrics_internal.bill[], agent_metrics_internal.known_bill[]) IS
    'Bills, of which those are refused that are a part of what is known as a whole. Internal: store_bills() uses it.';

CREATE FUNCTION agent_metrics_internal.write_bills(
    source text, bills agent_metrics_internal.bill[], known agent_metrics_internal.known_bill[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    DELETE FROM agent_metrics.billing_lines l
    WHERE l.line_id IN (SELECT k.line_id FROM unnest(known) k WHERE k.is_replaced AND NOT k.is_infrastructure
                        EXCEPT SELECT b.line_id FROM unnest(bills) b
                               WHERE b.reason IS NULL AND NOT b.is_infrastructure);
    DELETE FROM agent_metrics.infrastructure_costs i
    WHERE i.cost_id IN (SELECT k.line_id FROM unnest(known) k WHERE k.is_replaced AND k.is_infrastructure
                        EXCEPT SELECT b.line_id FROM unnest(bills) b
                               WHERE b.reason IS NULL AND b.is_infrastructure);
    INSERT INTO agent_metrics.billing_lines AS l (
        line_id, account, provider, model, period_start, period_end, amount_usd, description, charge, covers_period,
        source, detail)
    SELECT b.line_id, b.account, b.provider, b.model, b.period_start, b.period_end, b.amount, b.description, b.charge,
           b.covers_period, write_bills.source, b.detail
    FROM unnest(bills) b WHERE b.reason IS NULL AND NOT b.is_infrastructure ORDER BY b.line_id
    ON CONFLICT (line_id) DO UPDATE SET
        amount_usd = excluded.amount_usd, detail = excluded.detail, covers_period = excluded.covers_period
    WHERE (l.amount_usd, l.covers_period) IS DISTINCT FROM (excluded.amount_usd, excluded.covers_period);
    INSERT INTO agent_metrics.infrastructure_costs AS i (
        cost_id, account, agent_id, period_start, period_end, amount_usd, provider, service, charge, covers_period,
        source, detail)
    SELECT b.line_id, b.account, b.agent_id, b.period_start, b.period_end, b.amount, b.provider, b.service, b.charge,
           b.covers_period, write_bills.source, b.detail
    FROM unnest(bills) b WHERE b.reason IS NULL AND b.is_infrastructure ORDER BY b.line_id
    ON CONFLICT (cost_id) DO UPDATE SET
        amount_usd = excluded.amount_usd, detail = excluded.detail, covers_period = excluded.covers_period
    WHERE (i.amount_usd, i.covers_period) IS DISTINCT FROM (excluded.amount_usd, excluded.covers_period);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.write_bills(
    text, agent_metrics_internal.bill[], agent_metrics_internal.known_bill[]) IS
    'Writes the bills of a report and deletes what they replace. Internal: store_bills() uses it.';

-- What was refused before is forgotten with the report that comes again.
CREATE FUNCTION agent_metrics_internal.keep_refused(source text, bills agent_metrics_internal.bill[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    refused bigint;
    words   text;
BEGIN
    DELETE FROM agent_metrics.refused_bills r
    USING (SELECT b.account, min(b.period_start) AS began, max(b.period_end) AS ended
           FROM unnest(bills) b GROUP BY b.account) a
    WHERE r.source = keep_refused.source AND r.account = a.account
      AND (r.period_start IS NULL OR (r.period_start >= a.began AND r.period_start < a.ended));
    INSERT INTO agent_metrics.refused_bills (line_id, source, account, period_start, reason, detail)
    SELECT b.line_id, keep_refused.source, b.account, b.period_start, b.reason, b.detail
    FROM unnest(bills) b WHERE b.reason IS NOT NULL ORDER BY b.line_id
    ON CONFLICT (line_id) DO UPDATE SET reason = excluded.reason, detail = excluded.detail, refused_at = now();
    GET DIAGNOSTICS refused = ROW_COUNT;
    IF refused > 0 THEN
        SELECT string_agg(x.words, E'\n') INTO words
        FROM (SELECT format('%s: %s', b.reason, left(b.detail::text, 200)) AS words
              FROM unnest(bills) b WHERE b.reason IS NOT NULL LIMIT 5) x;
        RAISE NOTICE '% lines of the report were refused, the others are imported', refused
            USING DETAIL = words,
                  HINT = 'agent_kpi.refused_bills lists them. Mend them in the report and import it again.';
    END IF;
    RETURN refused;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.keep_refused(text, agent_metrics_internal.bill[]) IS
    'Keeps the lines of a report that could not be stored, and says so. Internal: store_bills() uses it.';

-- Two imports at once would each keep what the other replaces: they wait for each other.
CREATE FUNCTION agent_metrics_internal.store_bills(
    source text, bills agent_metrics_internal.bill[], buckets jsonb, open_lines text[])
RETURNS TABLE (stored bigint, repeated bigint, corrected bigint, amount_usd numeric, removed bigint, refused bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
DECLARE
    known agent_metrics_internal.known_bill[];
    gone  numeric;
BEGIN
    LOCK TABLE agent_metrics.billing_lines IN SHARE ROW EXCLUSIVE MODE;
    known := ARRAY(SELECT k FROM agent_metrics_internal.known_bills(source, bills, buckets, open_lines) k);
    bills := agent_metrics_internal.judged_bills(bills, known);
    SELECT count(*) FILTER (WHERE k.line_id IS NULL), count(*) FILTER (WHERE k.amount = b.amount),
           count(*) FILTER (WHERE k.amount <> b.amount), coalesce(sum(b.amount), 0)
    INTO stored, repeated, corrected, amount_usd
    FROM unnest(bills) b LEFT JOIN unnest(known) k ON k.line_id = b.line_id
    WHERE b.reason IS NULL;
    SELECT count(*), sum(k.amount) INTO removed, gone
    FROM unnest(known) k LEFT JOIN unnest(bills) b ON b.line_id = k.line_id AND b.reason IS NULL
    WHERE k.is_replaced AND b.line_id IS NULL;
    IF removed > 0 THEN
        RAISE NOTICE '% lines that earlier reports had are gone, of % usd', removed, trim_scale(gone)
            USING DETAIL = 'This report covers their account and time, and does not have them.',
                  HINT = 'A report that was filtered is an account of its own: say account => ''...''.';
    END IF;
    PERFORM agent_metrics_internal.write_bills(source, bills, known);
    refused := agent_metrics_internal.keep_refused(source, bills);
    RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.store_bills(text, agent_metrics_internal.bill[], jsonb, text[]) IS
    'Puts a report in the place of what was known of its accounts and time: how many lines are new, as before, other '
    'than before, gone, refused. Internal: the import functions use it.';
