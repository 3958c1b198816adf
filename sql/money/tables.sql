-- Money: costs beside tokens, the price list, bills, and closed books.

-- What agents cost beside their tokens: machines, seats, subscriptions, as bills say.

CREATE TABLE agent_metrics.infrastructure_costs (
    cost_id       text PRIMARY KEY DEFAULT agent_metrics.new_event_id()::text,
    agent_id      text,
    period_start  timestamptz NOT NULL CHECK (isfinite(period_start)),
    period_end    timestamptz NOT NULL CHECK (isfinite(period_end)),
    amount_usd    numeric NOT NULL CHECK (amount_usd > -1e12 AND amount_usd < 1e12),
    provider      text,
    service       text,
    source        text NOT NULL DEFAULT 'manual',
    detail        jsonb,
    changed_in    xid8 NOT NULL DEFAULT pg_current_xact_id(),
    account       text NOT NULL DEFAULT '',
    charge        text NOT NULL DEFAULT 'usage' CHECK (charge IN ('usage', 'purchase', 'tax', 'credit', 'adjustment')),
    covers_period boolean NOT NULL DEFAULT false,
    CHECK (period_end > period_start)
);
COMMENT ON TABLE agent_metrics.infrastructure_costs IS
    'Billed cost of infrastructure over a period, of one agent or shared by all AI agents.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.cost_id IS
    'Id of the line; the importer''s or the bill''s own, so that a line imported twice is stored once.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.agent_id IS
    'Agent that bears it; NULL: shared by all AI agents in proportion to their hours in the period.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.period_start IS 'First moment of the period that the cost is for.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.period_end IS 'First moment after it.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.amount_usd IS 'Amount in US dollars, credits negative.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.provider IS 'Who billed it.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.service IS 'What was billed.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.source IS
    'Where the line comes from: manual, focus, or the name of an import.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.detail IS 'Anything else, as JSON.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.changed_in IS 'Transaction that wrote the row.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.account IS 'Biller and account, as billing_lines has it.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.charge IS 'usage, purchase, tax, credit or adjustment.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.covers_period IS
    'Its report says nothing finer of its period; kept by the importer.';
CREATE INDEX infrastructure_costs_period ON agent_metrics.infrastructure_costs (period_start);

-- No two windows of one price overlap, whoever writes at the same time. The exclusion wants equality in a GiST index,
-- which text has only with another extension, and which ranges have: the key is a range of one number, its hash.
CREATE TABLE agent_metrics.token_prices (
    provider         text NOT NULL CHECK (btrim(provider) <> ''),
    model            text NOT NULL CHECK (btrim(model) <> ''),
    usage_type       text NOT NULL,
    usd_per_million  numeric NOT NULL,
    effective_from   timestamptz NOT NULL DEFAULT '-infinity',
    effective_to     timestamptz NOT NULL DEFAULT 'infinity',
    note             text,
    min_input_tokens bigint NOT NULL DEFAULT 0,
    service_tier     text NOT NULL DEFAULT 'standard',
    PRIMARY KEY (provider, model, usage_type, service_tier, min_input_tokens, effective_from),
    CONSTRAINT token_prices_do_not_overlap EXCLUDE USING gist (
        numrange(hashtextextended(provider, hashtextextended(model, hashtextextended(
                     usage_type, hashtextextended(service_tier, min_input_tokens))))::numeric,
                 hashtextextended(provider, hashtextextended(model, hashtextextended(
                     usage_type, hashtextextended(service_tier, min_input_tokens))))::numeric,
                 '[]') WITH =,
        tstzrange(effective_from, effective_to) WITH &&)
);
COMMENT ON TABLE agent_metrics.token_prices IS
    'What a million tokens of a model cost, and from when to when. A turn without a cost is priced by the rows '
    'that hold at its time, for its service tier and the size of its input.';
COMMENT ON COLUMN agent_metrics.token_prices.provider IS
    'Who runs the model, such as anthropic or openai; agent_metrics.model_aliases joins other names of his.';
COMMENT ON COLUMN agent_metrics.token_prices.model IS 'Model as turns name it, or as an alias leads to.';
COMMENT ON COLUMN agent_metrics.token_prices.usage_type IS
    'input (not cached), output, cache_read, cache_write (for five minutes); or what is billed apart: cache_write_1h, '
    'reasoning, audio_input, image_output and so on.';
COMMENT ON COLUMN agent_metrics.token_prices.usd_per_million IS 'US dollars for a million tokens.';
COMMENT ON COLUMN agent_metrics.token_prices.effective_from IS 'First moment the price holds.';
COMMENT ON COLUMN agent_metrics.token_prices.effective_to IS 'First moment it no longer holds.';
COMMENT ON COLUMN agent_metrics.token_prices.note IS 'Where the price is from.';
COMMENT ON COLUMN agent_metrics.token_prices.min_input_tokens IS
    'Context tier: the price of calls with more input tokens than this, cached ones included; 0: of every other call.';
COMMENT ON COLUMN agent_metrics.token_prices.service_tier IS
    'Service tier that the price is for: standard, batch, flex, priority, or as the provider calls it.';
CREATE INDEX token_prices_model ON agent_metrics.token_prices (model, usage_type);
CREATE TRIGGER check_token_price BEFORE INSERT OR UPDATE ON agent_metrics.token_prices
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_token_price();

-- The key stands for provider and model, of which the model may be missing.
CREATE TABLE agent_metrics.model_aliases (
    alias              text PRIMARY KEY GENERATED ALWAYS AS (lower(provider) || coalesce(': ' || model, '')) STORED,
    provider           text NOT NULL CHECK (btrim(provider) <> ''),
    model              text CHECK (btrim(model) <> ''),
    canonical_provider text NOT NULL CHECK (btrim(canonical_provider) <> ''),
    canonical_model    text CHECK (btrim(canonical_model) <> ''),
    CONSTRAINT a_provider_becomes_no_model CHECK (model IS NOT NULL OR canonical_model IS NULL)
);
COMMENT ON TABLE agent_metrics.model_aliases IS
    'Names that mean the same model in traces, price lists and bills: prices and the reconciliation join them. '
    'Add a row for a name of your own.';
COMMENT ON COLUMN agent_metrics.model_aliases.alias IS 'Provider in lower case and model; made by the database.';
COMMENT ON COLUMN agent_metrics.model_aliases.provider IS
    'Provider as a trace, price list or bill writes it, in any case.';
COMMENT ON COLUMN agent_metrics.model_aliases.model IS
    'Model as it is written there; NULL: every model of the provider.';
COMMENT ON COLUMN agent_metrics.model_aliases.canonical_provider IS 'Provider that is meant.';
COMMENT ON COLUMN agent_metrics.model_aliases.canonical_model IS 'Model that is meant; NULL: it is called the same.';
CREATE INDEX model_aliases_model ON agent_metrics.model_aliases (model);
CREATE INDEX model_aliases_canonical_model ON agent_metrics.model_aliases (canonical_model);

CREATE TABLE agent_metrics_internal.price_watermarks (
    agent_id text PRIMARY KEY,
    snapshot pg_snapshot,
    origin   text NOT NULL DEFAULT ''
);
COMMENT ON TABLE agent_metrics_internal.price_watermarks IS
    'Up to which turns price_events() has looked, agent by agent. The row is the lock of its pricing.';
COMMENT ON COLUMN agent_metrics_internal.price_watermarks.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.price_watermarks.snapshot IS 'Snapshot of the last look; NULL: none yet.';
COMMENT ON COLUMN agent_metrics_internal.price_watermarks.origin IS
    'Cluster, table and major version the snapshot belongs to.';

CREATE TABLE agent_metrics.billing_lines (
    line_id       text PRIMARY KEY DEFAULT agent_metrics.new_event_id()::text,
    provider      text NOT NULL CHECK (btrim(provider) <> ''),
    model         text,
    period_start  timestamptz NOT NULL CHECK (isfinite(period_start)),
    period_end    timestamptz NOT NULL CHECK (isfinite(period_end)),
    amount_usd    numeric NOT NULL CHECK (amount_usd > -1e12 AND amount_usd < 1e12),
    description   text,
    source        text NOT NULL DEFAULT 'manual',
    detail        jsonb,
    imported_at   timestamptz NOT NULL DEFAULT now(),
    changed_in    xid8 NOT NULL DEFAULT pg_current_xact_id(),
    account       text NOT NULL DEFAULT '',
    charge        text NOT NULL DEFAULT 'usage' CHECK (charge IN ('usage', 'purchase', 'tax', 'credit', 'adjustment')),
    covers_period boolean NOT NULL DEFAULT false,
    CHECK (period_end > period_start)
);
COMMENT ON TABLE agent_metrics.billing_lines IS
    'What providers billed for the use of models, line by line. Written by the import functions, or by hand.';
COMMENT ON COLUMN agent_metrics.billing_lines.line_id IS
    'Id of the line; an importer makes it from what the line is about, so that a line imported twice is stored once.';
COMMENT ON COLUMN agent_metrics.billing_lines.provider IS 'Who billed it.';
COMMENT ON COLUMN agent_metrics.billing_lines.model IS
    'Model; NULL: the bill does not say, or the line is about something else.';
COMMENT ON COLUMN agent_metrics.billing_lines.period_start IS 'First moment of the period that the line is for.';
COMMENT ON COLUMN agent_metrics.billing_lines.period_end IS 'First moment after it.';
COMMENT ON COLUMN agent_metrics.billing_lines.amount_usd IS 'Amount in US dollars, credits negative.';
COMMENT ON COLUMN agent_metrics.billing_lines.description IS 'What was billed, in the provider''s words.';
COMMENT ON COLUMN agent_metrics.billing_lines.source IS
    'Where the line comes from: anthropic, openai, focus or manual.';
COMMENT ON COLUMN agent_metrics.billing_lines.detail IS 'The line as the provider wrote it.';
COMMENT ON COLUMN agent_metrics.billing_lines.imported_at IS 'When it was first imported.';
COMMENT ON COLUMN agent_metrics.billing_lines.changed_in IS 'Transaction that last wrote the row.';
COMMENT ON COLUMN agent_metrics.billing_lines.account IS
    'Biller and account, as the report or its importer named it: a report replaces what was known of its account and '
    'time. Empty: the only one.';
COMMENT ON COLUMN agent_metrics.billing_lines.charge IS
    'usage; or purchase, tax, credit or adjustment, which no turn belongs to.';
COMMENT ON COLUMN agent_metrics.billing_lines.covers_period IS
    'Its report says nothing finer of its period, so that a part of it would count twice; kept by the importer.';
CREATE INDEX billing_lines_period ON agent_metrics.billing_lines (period_start);

CREATE TABLE agent_metrics.refused_bills (
    line_id      text PRIMARY KEY,
    source       text NOT NULL,
    account      text NOT NULL DEFAULT '',
    period_start timestamptz,
    reason       text NOT NULL,
    detail       jsonb,
    refused_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE agent_metrics.refused_bills IS
    'Lines of reports that could not be stored, each with its reason. A report that comes again forgets those of its '
    'time.';
COMMENT ON COLUMN agent_metrics.refused_bills.line_id IS 'Id that the line would have.';
COMMENT ON COLUMN agent_metrics.refused_bills.source IS 'anthropic, openai or focus.';
COMMENT ON COLUMN agent_metrics.refused_bills.account IS 'Biller and account.';
COMMENT ON COLUMN agent_metrics.refused_bills.period_start IS 'First moment of its period; NULL: it names none.';
COMMENT ON COLUMN agent_metrics.refused_bills.reason IS 'Why it is not stored.';
COMMENT ON COLUMN agent_metrics.refused_bills.detail IS 'The line as it came.';
COMMENT ON COLUMN agent_metrics.refused_bills.refused_at IS 'When it was refused.';

-- Which services of a bill are models: their rows are held against the turns, and are no infrastructure beside them.
CREATE TABLE agent_metrics.model_services (
    service_name   text NOT NULL CHECK (btrim(service_name) <> ''),
    biller         text NOT NULL DEFAULT '%' CHECK (btrim(biller) <> ''),
    model_provider text,
    PRIMARY KEY (service_name, biller)
);
COMMENT ON TABLE agent_metrics.model_services IS
    'Services of FOCUS bills that run models. The longest pattern decides. Add a row for a service of your own.';
COMMENT ON COLUMN agent_metrics.model_services.service_name IS
    'Pattern of LIKE for ServiceName, in any case, such as Amazon Bedrock%.';
COMMENT ON COLUMN agent_metrics.model_services.biller IS
    'Pattern of LIKE for ProviderName or PublisherName, in any case.';
COMMENT ON COLUMN agent_metrics.model_services.model_provider IS
    'Provider of the models, as turns name it; NULL: the service runs no models, whatever its category says.';

-- A report whose next page has not come. Lines of its pages so far are not replaced by the next.
CREATE TABLE agent_metrics_internal.open_reports (
    source     text NOT NULL,
    account    text NOT NULL,
    grouped_by   text NOT NULL,
    line_ids   text[] NOT NULL,
    PRIMARY KEY (source, account)
);
COMMENT ON TABLE agent_metrics_internal.open_reports IS 'Reports of which a page said that more follow.';
COMMENT ON COLUMN agent_metrics_internal.open_reports.source IS 'anthropic or openai.';
COMMENT ON COLUMN agent_metrics_internal.open_reports.account IS 'Account.';
COMMENT ON COLUMN agent_metrics_internal.open_reports.grouped_by IS 'Columns that its lines fill in.';
COMMENT ON COLUMN agent_metrics_internal.open_reports.line_ids IS 'Lines of the pages that came.';

-- Closed books: what was reported of a month, and every change to it since.
CREATE TABLE agent_metrics_internal.closed_periods (
    month     date PRIMARY KEY CHECK (month = date_trunc('month', month::timestamp)::date),
    closed_at timestamptz NOT NULL DEFAULT now(),
    closed_by text NOT NULL CHECK (btrim(closed_by) <> ''),
    note      text,
    snapshot  pg_snapshot NOT NULL,
    origin    text NOT NULL
);
COMMENT ON TABLE agent_metrics_internal.closed_periods IS 'Months whose books are closed; written by close_period().';
COMMENT ON COLUMN agent_metrics_internal.closed_periods.month IS 'First day of the month.';
COMMENT ON COLUMN agent_metrics_internal.closed_periods.closed_at IS 'When it was closed.';
COMMENT ON COLUMN agent_metrics_internal.closed_periods.closed_by IS 'Who closed it.';
COMMENT ON COLUMN agent_metrics_internal.closed_periods.note IS 'What he said of it.';
COMMENT ON COLUMN agent_metrics_internal.closed_periods.snapshot IS
    'What was known when adjustments were last recorded: facts that came since are why a number differs.';
COMMENT ON COLUMN agent_metrics_internal.closed_periods.origin IS
    'Cluster, table and major version the snapshot belongs to.';

CREATE TABLE agent_metrics_internal.reported_values (
    month       date NOT NULL,
    agent_id    text NOT NULL,
    metric      text NOT NULL,
    unit        text NOT NULL,
    value       numeric,
    numerator   numeric,
    denominator numeric,
    PRIMARY KEY (month, agent_id, metric)
);
COMMENT ON TABLE agent_metrics_internal.reported_values IS 'Every number of a closed month as it was reported.';
COMMENT ON COLUMN agent_metrics_internal.reported_values.month IS 'First day of the month.';
COMMENT ON COLUMN agent_metrics_internal.reported_values.agent_id IS 'Agent; empty: of the company, such as the bills.';
COMMENT ON COLUMN agent_metrics_internal.reported_values.metric IS
    'Metric, or revenue_usd, infrastructure_usd, billed_usd.';
COMMENT ON COLUMN agent_metrics_internal.reported_values.unit IS 'Unit of the metric.';
COMMENT ON COLUMN agent_metrics_internal.reported_values.value IS 'Value; NULL: no number.';
COMMENT ON COLUMN agent_metrics_internal.reported_values.numerator IS 'Numerator, or the sum.';
COMMENT ON COLUMN agent_metrics_internal.reported_values.denominator IS 'Denominator.';

CREATE TABLE agent_metrics_internal.adjustments (
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
COMMENT ON TABLE agent_metrics_internal.adjustments IS
    'Changes to the numbers of closed months, each with its date; written by record_adjustments().';
COMMENT ON COLUMN agent_metrics_internal.adjustments.month IS 'First day of the closed month.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.agent_id IS 'Agent; empty: of the company.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.metric IS
    'Metric, or revenue_usd, infrastructure_usd, billed_usd.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.adjusted_at IS 'When the change was noticed.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.unit IS 'Unit of the metric.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.value_before IS 'Value before it.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.value_after IS 'Value after it.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.numerator_before IS 'Numerator before it.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.numerator_after IS 'Numerator after it.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.denominator_before IS 'Denominator before it.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.denominator_after IS 'Denominator after it.';
COMMENT ON COLUMN agent_metrics_internal.adjustments.cause IS 'The facts that came late, as far as they can be told.';
CREATE TRIGGER refuse_change BEFORE UPDATE OF month, closed_at, closed_by,
    note OR DELETE ON agent_metrics_internal.closed_periods
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.refuse_change('closed_periods');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON agent_metrics_internal.closed_periods
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.refuse_change('closed_periods');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON agent_metrics_internal.reported_values
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.refuse_change('reported_values');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON agent_metrics_internal.reported_values
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.refuse_change('reported_values');
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON agent_metrics_internal.adjustments
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.refuse_change('adjustments');
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON agent_metrics_internal.adjustments
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.refuse_change('adjustments');
