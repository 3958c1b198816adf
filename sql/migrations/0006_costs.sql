-- What agents cost beside their tokens: machines, seats, subscriptions, as bills say.

CREATE TABLE agent_metrics.infrastructure_costs (
    cost_id      text PRIMARY KEY DEFAULT agent_metrics.new_event_id()::text,
    agent_id     text,
    period_start timestamptz NOT NULL CHECK (isfinite(period_start)),
    period_end   timestamptz NOT NULL CHECK (isfinite(period_end)),
    amount_usd   numeric NOT NULL CHECK (amount_usd > -1e12 AND amount_usd < 1e12),
    provider     text,
    service      text,
    source       text NOT NULL DEFAULT 'manual',
    detail       jsonb,
    changed_in   xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CHECK (period_end > period_start)
);
COMMENT ON TABLE agent_metrics.infrastructure_costs IS 'Billed cost of infrastructure over a period, of one agent or shared by all AI agents.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.cost_id IS 'Id of the line; the importer''s or the bill''s own, so that a line imported twice is stored once.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.agent_id IS 'Agent that bears it; NULL: shared by all AI agents in proportion to their hours in the period.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.period_start IS 'First moment of the period that the cost is for.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.period_end IS 'First moment after it.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.amount_usd IS 'Amount in US dollars, credits negative.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.provider IS 'Who billed it.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.service IS 'What was billed.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.source IS 'Where the line comes from: manual, focus, or the name of an import.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.detail IS 'Anything else, as JSON.';
COMMENT ON COLUMN agent_metrics.infrastructure_costs.changed_in IS 'Transaction that wrote the row.';
CREATE INDEX infrastructure_costs_period ON agent_metrics.infrastructure_costs (period_start);
