-- Money: what tokens cost by the price list, and what the providers billed.

-- A turn may say whose model answered. computed_cost_usd is what the price list gave where the producer gave no cost:
-- as long as cost_usd equals it, the cost is computed; a cost that the producer writes later differs, and wins.
ALTER TABLE agent_metrics.agent_events
    ADD COLUMN provider          text,
    ADD COLUMN computed_cost_usd numeric;
COMMENT ON COLUMN agent_metrics.agent_events.provider IS 'Who runs the model, as token_prices and bills name it; NULL: whoever alone has a price for the model.';
COMMENT ON COLUMN agent_metrics.agent_events.computed_cost_usd IS 'What token_prices gave when the producer gave no cost. The cost is computed as long as cost_usd equals it. Leave it NULL.';

-- No two windows of one price overlap, whoever writes at the same time. The exclusion wants equality in a GiST index,
-- which text has only with another extension, and which ranges have: the key is a range of one number, its hash.
CREATE TABLE agent_metrics.token_prices (
    provider        text NOT NULL CHECK (btrim(provider) <> ''),
    model           text NOT NULL CHECK (btrim(model) <> ''),
    usage_type      text NOT NULL,
    usd_per_million numeric NOT NULL,
    effective_from  timestamptz NOT NULL DEFAULT '-infinity',
    effective_to    timestamptz NOT NULL DEFAULT 'infinity',
    note            text,
    PRIMARY KEY (provider, model, usage_type, effective_from),
    CONSTRAINT token_prices_do_not_overlap EXCLUDE USING gist (
        numrange(hashtextextended(provider, hashtextextended(model, hashtextextended(usage_type, 0)))::numeric,
                 hashtextextended(provider, hashtextextended(model, hashtextextended(usage_type, 0)))::numeric, '[]') WITH =,
        tstzrange(effective_from, effective_to) WITH &&)
);
COMMENT ON TABLE agent_metrics.token_prices IS 'What a million tokens of a model cost, and from when to when. A turn without a cost is priced by the row that holds at its time.';
COMMENT ON COLUMN agent_metrics.token_prices.provider IS 'Who runs the model, such as anthropic or openai.';
COMMENT ON COLUMN agent_metrics.token_prices.model IS 'Model as turns name it.';
COMMENT ON COLUMN agent_metrics.token_prices.usage_type IS 'input (not cached), cache_read, cache_write or output.';
COMMENT ON COLUMN agent_metrics.token_prices.usd_per_million IS 'US dollars for a million tokens.';
COMMENT ON COLUMN agent_metrics.token_prices.effective_from IS 'First moment the price holds.';
COMMENT ON COLUMN agent_metrics.token_prices.effective_to IS 'First moment it no longer holds.';
COMMENT ON COLUMN agent_metrics.token_prices.note IS 'Where the price is from.';
CREATE INDEX token_prices_model ON agent_metrics.token_prices (model, usage_type);

-- Says in words what the constraint can only refuse.
CREATE FUNCTION agent_metrics.check_token_price() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    other agent_metrics.token_prices;
BEGIN
    IF NEW.usage_type NOT IN ('input', 'cache_read', 'cache_write', 'output') THEN
        RAISE EXCEPTION 'unknown usage type "%"', NEW.usage_type
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A price is for input (tokens that are not cached), cache_read, cache_write or output.',
                  HINT = 'Enter one row for each of them that the model bills.';
    END IF;
    IF NEW.usd_per_million IS NULL OR NOT (NEW.usd_per_million >= 0 AND NEW.usd_per_million < 1000000000) THEN
        RAISE EXCEPTION 'impossible price % for % of %', coalesce(NEW.usd_per_million::text, 'NULL'), NEW.usage_type, NEW.model
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'A price is in US dollars for a million tokens, 0 or more.',
                  HINT = 'Three dollars a million is 3; a price for a thousand tokens is multiplied by 1000.';
    END IF;
    IF NEW.effective_to <= NEW.effective_from THEN
        RAISE EXCEPTION 'the price for % of % ends at % before it begins at %', NEW.usage_type, NEW.model, NEW.effective_to, NEW.effective_from
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It holds from effective_from on and no longer at effective_to.',
                  HINT = 'Leave effective_to out for a price that has no end yet.';
    END IF;
    SELECT p.* INTO other
    FROM agent_metrics.token_prices p
    WHERE p.provider = NEW.provider AND p.model = NEW.model AND p.usage_type = NEW.usage_type
      AND p.effective_from < NEW.effective_to AND p.effective_to > NEW.effective_from
      AND NOT (TG_OP = 'UPDATE' AND (p.provider, p.model, p.usage_type, p.effective_from)
                                  = (OLD.provider, OLD.model, OLD.usage_type, OLD.effective_from))
    ORDER BY p.effective_from LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the price for % of % from % to % overlaps another', NEW.usage_type, NEW.model, NEW.effective_from, NEW.effective_to
            USING ERRCODE = 'exclusion_violation',
                  DETAIL = format('From %s to %s it is %s.', other.effective_from, other.effective_to, other.usd_per_million),
                  HINT = 'First end that one: UPDATE agent_metrics.token_prices SET effective_to = ... WHERE ...';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_token_price() IS 'Trigger: refuses an unknown usage type, an impossible price and a window that overlaps another.';
REVOKE ALL ON FUNCTION agent_metrics.check_token_price() FROM PUBLIC;
CREATE TRIGGER check_token_price BEFORE INSERT OR UPDATE ON agent_metrics.token_prices
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_token_price();

CREATE TABLE agent_metrics.price_watermarks (
    agent_id text PRIMARY KEY,
    snapshot pg_snapshot,
    origin   text NOT NULL DEFAULT ''
);
COMMENT ON TABLE agent_metrics.price_watermarks IS 'Up to which turns price_events() has looked, agent by agent. The row is the lock of its pricing.';
COMMENT ON COLUMN agent_metrics.price_watermarks.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.price_watermarks.snapshot IS 'Snapshot of the last look; NULL: none yet.';
COMMENT ON COLUMN agent_metrics.price_watermarks.origin IS 'Cluster and table the snapshot belongs to.';

CREATE TABLE agent_metrics.billing_lines (
    line_id      text PRIMARY KEY DEFAULT agent_metrics.new_event_id()::text,
    provider     text NOT NULL CHECK (btrim(provider) <> ''),
    model        text,
    period_start timestamptz NOT NULL CHECK (isfinite(period_start)),
    period_end   timestamptz NOT NULL CHECK (isfinite(period_end)),
    amount_usd   numeric NOT NULL CHECK (amount_usd > -1e12 AND amount_usd < 1e12),
    description  text,
    source       text NOT NULL DEFAULT 'manual',
    detail       jsonb,
    imported_at  timestamptz NOT NULL DEFAULT now(),
    changed_in   xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CHECK (period_end > period_start)
);
COMMENT ON TABLE agent_metrics.billing_lines IS 'What providers billed for the use of models, line by line. Written by the import functions, or by hand.';
COMMENT ON COLUMN agent_metrics.billing_lines.line_id IS 'Id of the line; an importer makes it from what the line is about, so that a line imported twice is stored once.';
COMMENT ON COLUMN agent_metrics.billing_lines.provider IS 'Who billed it.';
COMMENT ON COLUMN agent_metrics.billing_lines.model IS 'Model; NULL: the bill does not say, or the line is about something else.';
COMMENT ON COLUMN agent_metrics.billing_lines.period_start IS 'First moment of the period that the line is for.';
COMMENT ON COLUMN agent_metrics.billing_lines.period_end IS 'First moment after it.';
COMMENT ON COLUMN agent_metrics.billing_lines.amount_usd IS 'Amount in US dollars, credits negative.';
COMMENT ON COLUMN agent_metrics.billing_lines.description IS 'What was billed, in the provider''s words.';
COMMENT ON COLUMN agent_metrics.billing_lines.source IS 'Where the line comes from: anthropic, openai, focus or manual.';
COMMENT ON COLUMN agent_metrics.billing_lines.detail IS 'The line as the provider wrote it.';
COMMENT ON COLUMN agent_metrics.billing_lines.imported_at IS 'When it was first imported.';
COMMENT ON COLUMN agent_metrics.billing_lines.changed_in IS 'Transaction that last wrote the row.';
CREATE INDEX billing_lines_period ON agent_metrics.billing_lines (period_start);

-- What archived turns cost, for the reconciliation with bills: those are by day in UTC, provider and model.
CREATE TABLE agent_metrics.archived_model_costs (
    agent_id       text NOT NULL,
    archive_id     bigint NOT NULL,
    line           bigint NOT NULL,
    day            date NOT NULL,
    provider       text,
    model          text,
    turns          bigint NOT NULL,
    unpriced_turns bigint NOT NULL,
    cost_usd       numeric,
    computed_usd   numeric,
    PRIMARY KEY (agent_id, archive_id, line)
);
COMMENT ON TABLE agent_metrics.archived_model_costs IS 'What the archived turns of an agent cost, by day in UTC, provider and model.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.archive_id IS 'Archive that holds the turns.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.line IS 'Number of the line: provider and model may be NULL, and so no key.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.day IS 'Day in UTC.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.provider IS 'Provider that the turns name; NULL: none.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.model IS 'Model that the turns name; NULL: none.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.turns IS 'Turns.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.unpriced_turns IS 'Turns whose cost is not known.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.cost_usd IS 'Sum of the known cost; NULL: none is known.';
COMMENT ON COLUMN agent_metrics.archived_model_costs.computed_usd IS 'Of it, what was computed from the price list; NULL: nothing.';
CREATE INDEX archived_model_costs_archive ON agent_metrics.archived_model_costs (archive_id);
CREATE INDEX archived_model_costs_day ON agent_metrics.archived_model_costs (day);

-- Closed books: what was reported of a month, and every change to it since.
CREATE TABLE agent_metrics.closed_periods (
    month     date PRIMARY KEY CHECK (month = date_trunc('month', month::timestamp)::date),
    closed_at timestamptz NOT NULL DEFAULT now(),
    closed_by text NOT NULL CHECK (btrim(closed_by) <> ''),
    note      text,
    snapshot  pg_snapshot NOT NULL,
    origin    text NOT NULL
);
COMMENT ON TABLE agent_metrics.closed_periods IS 'Months whose books are closed; written by close_period().';
COMMENT ON COLUMN agent_metrics.closed_periods.month IS 'First day of the month.';
COMMENT ON COLUMN agent_metrics.closed_periods.closed_at IS 'When it was closed.';
COMMENT ON COLUMN agent_metrics.closed_periods.closed_by IS 'Who closed it.';
COMMENT ON COLUMN agent_metrics.closed_periods.note IS 'What he said of it.';
COMMENT ON COLUMN agent_metrics.closed_periods.snapshot IS 'What was known when adjustments were last recorded: facts that came since are why a number differs.';
COMMENT ON COLUMN agent_metrics.closed_periods.origin IS 'Cluster and table the snapshot belongs to.';

CREATE TABLE agent_metrics.reported_values (
    month       date NOT NULL,
    agent_id    text NOT NULL,
    metric      text NOT NULL,
    unit        text NOT NULL,
    value       numeric,
    numerator   numeric,
    denominator numeric,
    PRIMARY KEY (month, agent_id, metric)
);
COMMENT ON TABLE agent_metrics.reported_values IS 'Every number of a closed month as it was reported.';
COMMENT ON COLUMN agent_metrics.reported_values.month IS 'First day of the month.';
COMMENT ON COLUMN agent_metrics.reported_values.agent_id IS 'Agent; empty: of the company, such as the bills.';
COMMENT ON COLUMN agent_metrics.reported_values.metric IS 'Metric, or revenue_usd, infrastructure_usd, billed_usd.';
COMMENT ON COLUMN agent_metrics.reported_values.unit IS 'Unit of the metric.';
COMMENT ON COLUMN agent_metrics.reported_values.value IS 'Value; NULL: no number.';
COMMENT ON COLUMN agent_metrics.reported_values.numerator IS 'Numerator, or the sum.';
COMMENT ON COLUMN agent_metrics.reported_values.denominator IS 'Denominator.';

CREATE TABLE agent_metrics.adjustments (
    month              date NOT NULL,
    agent_id           text NOT NULL,
    metric             text NOT NULL,
    adjusted_at        timestamptz NOT NULL DEFAULT now(),
    unit               text NOT NULL,
    value_before       numeric,
    value_after        numeric,
    numerator_before   numeric,
    numerator_after    numeric,
    denominator_before numeric,
    denominator_after  numeric,
    cause              text NOT NULL,
    PRIMARY KEY (month, agent_id, metric, adjusted_at)
);
COMMENT ON TABLE agent_metrics.adjustments IS 'Changes to the numbers of closed months, each with its date; written by record_adjustments().';
COMMENT ON COLUMN agent_metrics.adjustments.month IS 'First day of the closed month.';
COMMENT ON COLUMN agent_metrics.adjustments.agent_id IS 'Agent; empty: of the company.';
COMMENT ON COLUMN agent_metrics.adjustments.metric IS 'Metric, or revenue_usd, infrastructure_usd, billed_usd.';
COMMENT ON COLUMN agent_metrics.adjustments.adjusted_at IS 'When the change was noticed.';
COMMENT ON COLUMN agent_metrics.adjustments.unit IS 'Unit of the metric.';
COMMENT ON COLUMN agent_metrics.adjustments.value_before IS 'Value before it.';
COMMENT ON COLUMN agent_metrics.adjustments.value_after IS 'Value after it.';
COMMENT ON COLUMN agent_metrics.adjustments.numerator_before IS 'Numerator before it.';
COMMENT ON COLUMN agent_metrics.adjustments.numerator_after IS 'Numerator after it.';
COMMENT ON COLUMN agent_metrics.adjustments.denominator_before IS 'Denominator before it.';
COMMENT ON COLUMN agent_metrics.adjustments.denominator_after IS 'Denominator after it.';
COMMENT ON COLUMN agent_metrics.adjustments.cause IS 'The facts that came late, as far as they can be told.';

CREATE FUNCTION agent_metrics.refuse_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    RAISE EXCEPTION 'closed books do not change'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = format('%s of %s.%s was refused: what was reported stays as it was reported.', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME),
              HINT = 'A fact that comes late is written where facts are; agent_kpi.adjustments shows what it changes.';
END
$function$;
COMMENT ON FUNCTION agent_metrics.refuse_change() IS 'Trigger: refuses to change what was reported of a closed month.';
REVOKE ALL ON FUNCTION agent_metrics.refuse_change() FROM PUBLIC;
CREATE TRIGGER refuse_change BEFORE UPDATE OF month, closed_at, closed_by, note OR DELETE ON agent_metrics.closed_periods
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON agent_metrics.closed_periods
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON agent_metrics.reported_values
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON agent_metrics.reported_values
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON agent_metrics.adjustments
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.refuse_change();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON agent_metrics.adjustments
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.refuse_change();
