-- Whether the money agrees: which turns have a cost, and whether turns and bills say the same.

CREATE OR REPLACE VIEW agent_kpi.cost_coverage AS
SELECT a.agent_id, a.actor, r.day, coalesce(r.turns, 0) AS turns, coalesce(r.cost_turns, 0) AS priced_turns,
       coalesce(r.turns - r.cost_turns, 0) AS unpriced_turns,
       agent_metrics.ratio(r.cost_turns, r.turns) AS coverage_rate
FROM agent_metrics_internal.daily_measures r
JOIN agent_metrics.agents a ON a.agent_id = r.agent_id;
COMMENT ON VIEW agent_kpi.cost_coverage IS
    'How many turns have a cost, by the producer or by the price list; the others add nothing to any cost. '
    'Unique: agent_id, day.';
COMMENT ON COLUMN agent_kpi.cost_coverage.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.cost_coverage.actor IS 'ai or human.';
COMMENT ON COLUMN agent_kpi.cost_coverage.day IS 'Report day.';
COMMENT ON COLUMN agent_kpi.cost_coverage.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.cost_coverage.priced_turns IS 'Turns whose cost is known.';
COMMENT ON COLUMN agent_kpi.cost_coverage.unpriced_turns IS 'Turns whose cost is not known.';
COMMENT ON COLUMN agent_kpi.cost_coverage.coverage_rate IS
    'Share of turns whose cost is known; NULL on a day without turns.';

-- Turns are read raw here, since no rollup knows a model. So both questions are functions of a span of time, which the
-- planner sees as numbers: months outside it are not touched. They read with the owner's rights, as a view would.
CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_unpriced_models(
    from_time timestamptz, to_time timestamptz, agent text DEFAULT NULL)
RETURNS TABLE (agent_id text, provider text, model text, turns bigint, first_seen timestamptz,
               last_seen timestamptz, reason text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER ROWS 20 SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    IF coalesce($1 > $2, true) THEN
        RAISE EXCEPTION 'no span from % to %', coalesce($1::text, 'NULL'), coalesce($2::text, 'NULL')
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'A span ends after it begins.',
                  HINT = 'SELECT * FROM agent_metrics_internal.kpi_unpriced_models(''2026-01-01'', ''2026-02-01'');';
    END IF;
    -- What is missing is asked of one turn of each service tier and mixture of usage types: that with the largest
    -- input, which is found again by its moment.
    RETURN QUERY
    SELECT t.agent_id, t.provider, t.model, sum(t.turns)::bigint, min(t.first_seen), max(t.last_seen),
           string_agg(DISTINCT coalesce(g.gap, 'the price came after the turns'), '; ')
    FROM (SELECT e.agent_id, e.provider, e.model, count(*) AS turns, min(e.occurred_at) AS first_seen,
                 max(e.occurred_at) AS last_seen,
                 max(ARRAY[coalesce(e.token_usage_input, -1), (extract(epoch FROM e.occurred_at) * 1000000)::bigint])
                     AS largest,
                 agent_metrics_internal.service_tier(e.service_tier) AS service_tier,
                 CASE WHEN e.usage_details IS NOT NULL THEN
                     ARRAY(SELECT k.name FROM jsonb_object_keys(e.usage_details) AS k (name)) END AS kinds
          FROM agent_metrics.agent_events e
          WHERE e.cost_usd IS NULL AND (e.token_usage_input IS NOT NULL OR e.token_usage_output IS NOT NULL)
            AND e.occurred_at >= $1 AND e.occurred_at < $2 AND ($3 IS NULL OR e.agent_id = $3)
          GROUP BY e.agent_id, e.provider, e.model, 8, 9) t
    LEFT JOIN LATERAL (
        SELECT e.occurred_at, e.token_usage_input, e.token_usage_output, e.token_usage_cache_read,
               e.token_usage_cache_write, e.usage_details
        FROM agent_metrics.agent_events e
        WHERE e.agent_id = t.agent_id
          AND e.occurred_at = '1970-01-01 00:00+00'::timestamptz + t.largest[2] * interval '1 microsecond'
          AND e.cost_usd IS NULL AND e.model IS NOT DISTINCT FROM t.model
          AND e.provider IS NOT DISTINCT FROM t.provider
          AND agent_metrics_internal.service_tier(e.service_tier) = t.service_tier
        ORDER BY e.token_usage_input DESC NULLS LAST LIMIT 1) o ON true
    LEFT JOIN LATERAL agent_metrics_internal.price_turn(
        t.provider, t.model, o.occurred_at,
        ARRAY[o.token_usage_input, o.token_usage_output, o.token_usage_cache_read, o.token_usage_cache_write],
        o.usage_details, t.service_tier, true) g ON true
    GROUP BY t.agent_id, t.provider, t.model;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_unpriced_models(timestamptz, timestamptz, text) IS
    'Models whose turns of a span, of one agent or all, report tokens and have no cost, and why; '
    'it reads the months of the span alone.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_unpriced_models(timestamptz, timestamptz, text) FROM PUBLIC;

CREATE OR REPLACE VIEW agent_kpi.unpriced_models WITH (security_barrier) AS
SELECT u.agent_id, u.provider, u.model, u.turns, u.first_seen, u.last_seen, u.reason
FROM agent_metrics_internal.kpi_unpriced_models(now() - interval '30 days', 'infinity') u;
COMMENT ON VIEW agent_kpi.unpriced_models IS
    'Models whose turns of the last 30 days report tokens and have no cost, and why; '
    'agent_metrics_internal.kpi_unpriced_models() has it of any span. Unique: agent_id, provider, model.';
COMMENT ON COLUMN agent_kpi.unpriced_models.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.unpriced_models.provider IS 'Provider that the turns name; NULL: none.';
COMMENT ON COLUMN agent_kpi.unpriced_models.model IS 'Model that the turns name; NULL: none.';
COMMENT ON COLUMN agent_kpi.unpriced_models.turns IS 'Such turns.';
COMMENT ON COLUMN agent_kpi.unpriced_models.first_seen IS 'First of them.';
COMMENT ON COLUMN agent_kpi.unpriced_models.last_seen IS 'Last of them.';
COMMENT ON COLUMN agent_kpi.unpriced_models.reason IS
    'Why they have no cost: which usage type, size of input or service tier has no price.';

-- Each side has names of its own: both go by what model_aliases makes of them. A tax, a credit or a commitment is
-- money that no turn belongs to.
--
-- Bills are by day in UTC, so that are the days here. They know of no agent and bill evaluation runs too: all turns of
-- a model count that are not a human team's. A line over several days is spread over them evenly. A bill is in whole
-- cents, and its amounts may come as binary fractions: both agree to half a cent.
CREATE OR REPLACE FUNCTION agent_metrics_internal.kpi_cost_reconciliation(from_day date, to_day date)
RETURNS TABLE (day date, provider text, model text, turns bigint, unpriced_turns bigint, events_usd numeric,
               computed_usd numeric, billed_usd numeric, variance_usd numeric,
               variance_percent double precision, explanation text)
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET plan_cache_mode = force_custom_plan SET enable_sort = off
SET jit = off AS $function$
#variable_conflict use_column
DECLARE
    began      timestamptz := coalesce($1::timestamp AT TIME ZONE 'UTC', '-infinity');
    ended      timestamptz := coalesce(($2 + 1)::timestamp AT TIME ZONE 'UTC', 'infinity');
    teams      text[] := ARRAY(SELECT a.agent_id FROM agent_metrics.agents a WHERE a.actor = 'human');
    turns_from timestamptz;
    turns_to   timestamptz;
BEGIN
    IF $1 > $2 THEN
        RAISE EXCEPTION 'no days from % to %', $1, $2
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'The last day does not lie before the first.',
                  HINT = 'SELECT * FROM '
                         'agent_metrics_internal.kpi_cost_reconciliation(''2026-01-01'', ''2026-01-31'');';
    END IF;
    SELECT greatest(date_trunc('day', min(b.period_start), 'UTC'), began),
           least(date_trunc('day', max(b.period_end) + interval '1 day' - interval '1 microsecond', 'UTC'), ended)
    INTO turns_from, turns_to
    FROM agent_metrics.billing_lines b HAVING count(*) > 0;
    -- One statement: each step reads the one before, and whoever reads a number wants to see it whole.
    RETURN QUERY
    WITH billed AS (
        SELECT (d.day AT TIME ZONE 'UTC')::date AS day, b.provider,
               CASE b.charge WHEN 'usage' THEN b.model END AS model, b.charge = 'usage' AS is_usage,
               sum(b.amount_usd
                   * extract(epoch FROM least(b.period_end, d.day + interval '1 day') - greatest(b.period_start, d.day))
                   / extract(epoch FROM b.period_end - b.period_start)) AS usd
        FROM agent_metrics.billing_lines b
        CROSS JOIN LATERAL (
            SELECT n.day AT TIME ZONE 'UTC' AS day
            FROM agent_metrics_internal.periods(
                'day', b.period_start AT TIME ZONE 'UTC', b.period_end AT TIME ZONE 'UTC') AS n (day)) d
        WHERE b.period_end > began AND b.period_start < ended AND d.day >= began AND d.day < ended
        GROUP BY 1, 2, 3, 4
    ), usage AS (
        -- there are few days and models, though the planner takes each turn for a day of its own
        SELECT x.day, x.provider, x.model, sum(x.turns)::bigint AS turns, sum(x.unpriced_turns)::bigint AS unpriced,
               sum(x.cost_usd) AS usd, sum(x.computed_usd) AS computed
        FROM (SELECT (e.occurred_at AT TIME ZONE 'UTC')::date AS day, e.provider, e.model, count(*) AS turns,
                     count(*) - count(e.cost_usd) AS unpriced_turns, sum(e.cost_usd) AS cost_usd,
                     sum(e.cost_usd) FILTER (WHERE e.cost_usd = e.computed_cost_usd) AS computed_usd
              FROM agent_metrics.agent_events e
              WHERE e.occurred_at >= turns_from AND e.occurred_at < turns_to AND e.agent_id <> ALL (teams)
                AND (e.model IS NOT NULL OR e.cost_usd IS NOT NULL)
              GROUP BY 1, 2, 3
              UNION ALL
              SELECT c.day, c.provider, c.model, c.turns, c.unpriced_turns, c.cost_usd, c.computed_usd
              FROM agent_metrics_internal.archived_model_costs c
              JOIN agent_metrics_internal.archives a ON a.archive_id = c.archive_id AND a.is_counted
              WHERE c.day >= (turns_from AT TIME ZONE 'UTC')::date AND c.day < (turns_to AT TIME ZONE 'UTC')::date
                AND c.agent_id <> ALL (teams)) x
        GROUP BY 1, 2, 3
    ), provider_usage AS (
        -- a turn that names no provider is of the one that prices or bills its model, if it is one
        SELECT u.day, coalesce(u.provider, k.provider, 'unknown') AS provider, u.model, u.turns,
               u.unpriced, u.usd, u.computed
        FROM usage u
        LEFT JOIN (SELECT x.model, min(x.provider) AS provider
                   FROM (SELECT p.model, p.provider FROM agent_metrics.token_prices p
                         UNION SELECT b.model, b.provider
                               FROM agent_metrics.billing_lines b WHERE b.model IS NOT NULL) x
                   GROUP BY x.model HAVING count(*) = 1) k ON k.model = u.model
    ), named AS (
        SELECT x.provider AS said_provider, x.model AS said_model, c.provider, c.model
        FROM (SELECT n.provider, n.model FROM provider_usage n UNION SELECT b.provider, b.model FROM billed b) x
        CROSS JOIN LATERAL agent_metrics.canonical_model(x.provider, x.model) c
    ), nameless AS (
        -- a bill of that day and provider that names no model is held against all his models together
        SELECT b.day, lower(c.provider) AS provider
        FROM billed b
        JOIN named c ON c.said_provider = b.provider AND c.said_model IS NOT DISTINCT FROM b.model
        WHERE b.is_usage
        GROUP BY 1, 2 HAVING count(c.model) = 0
    ), daily_comparison AS (
        SELECT x.day, min(c.provider) AS provider, m.model, sum(x.turns)::bigint AS turns,
               sum(x.unpriced)::bigint AS unpriced_turns, sum(x.usd) AS events_usd, sum(x.computed) AS computed_usd,
               sum(x.billed) AS billed_usd, sum(x.billed) FILTER (WHERE NOT x.is_usage) AS other_usd,
               bool_or(x.is_usage) AS has_usage
        FROM (SELECT n.day, n.provider, n.model, n.turns, n.unpriced, n.usd, n.computed, NULL::numeric AS billed,
                     true AS is_usage
              FROM provider_usage n
              UNION ALL
              SELECT b.day, b.provider, b.model, 0, 0, NULL, NULL, b.usd, b.is_usage FROM billed b) x
        JOIN named c ON c.said_provider = x.provider AND c.said_model IS NOT DISTINCT FROM x.model
        LEFT JOIN nameless l ON l.day = x.day AND l.provider = lower(c.provider)
        CROSS JOIN LATERAL (SELECT CASE WHEN l.day IS NULL THEN c.model END AS model) m
        GROUP BY x.day, lower(c.provider), m.model
    )
    SELECT s.day, s.provider, s.model, s.turns, s.unpriced_turns, trim_scale(s.events_usd) AS events_usd,
           trim_scale(s.computed_usd) AS computed_usd, trim_scale(s.billed_usd) AS billed_usd,
           trim_scale(s.billed_usd - coalesce(s.events_usd, 0)) AS variance_usd,
           100 * agent_metrics.ratio(s.billed_usd - coalesce(s.events_usd, 0), s.billed_usd) AS variance_percent,
           CASE WHEN (s.billed_usd IS NULL OR (s.turns = 0 AND s.has_usage)) AND count(s.billed_usd) OVER w > 0
                 AND abs(sum(s.billed_usd) OVER w - sum(s.events_usd) OVER w) <= 0.005
                    THEN 'names differ: all models of the provider together agree'
                WHEN s.billed_usd IS NULL THEN 'no bill for these turns'
                WHEN NOT s.has_usage THEN 'no usage: taxes, credits or commitments'
                WHEN s.turns = 0 THEN 'no turns for this bill'
                WHEN s.unpriced_turns > 0 THEN format('%s turns have no cost', s.unpriced_turns)
                WHEN abs(s.billed_usd - coalesce(s.events_usd, 0)) <= 0.005 THEN 'they agree'
                WHEN abs(s.billed_usd - s.other_usd - coalesce(s.events_usd, 0)) <= 0.005
                    THEN format('they agree but for %s usd of taxes, credits and commitments',
                                trim_scale(round(s.other_usd, 10)))
                ELSE 'not explained' END AS explanation
    FROM daily_comparison s
    WINDOW w AS (PARTITION BY s.day, lower(s.provider));
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.kpi_cost_reconciliation(date, date) IS
    'Rows of agent_kpi.cost_reconciliation from one day to another, both included; NULL: as far as bills reach. '
    'It reads the turns of those months alone.';
REVOKE ALL ON FUNCTION agent_metrics_internal.kpi_cost_reconciliation(date, date) FROM PUBLIC;

CREATE OR REPLACE VIEW agent_kpi.cost_reconciliation WITH (security_barrier) AS
SELECT r.day, r.provider, r.model, r.turns, r.unpriced_turns, r.events_usd, r.computed_usd, r.billed_usd,
       r.variance_usd, r.variance_percent, r.explanation
FROM agent_metrics_internal.kpi_cost_reconciliation(NULL, NULL) r;
COMMENT ON VIEW agent_kpi.cost_reconciliation IS
    'What turns say they cost against what providers billed, evaluation runs included, human teams not; over the days '
    'that bills reach. It reads all turns of those days: agent_metrics_internal.kpi_cost_reconciliation() has the days '
    'you name. Unique: day, provider, model.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.day IS 'Day in UTC, as bills have it.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.provider IS
    'Who runs the model, by the name that model_aliases leads to.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.model IS 'Model; NULL: bill or turns do not say.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.turns IS 'Turns.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.unpriced_turns IS 'Turns whose cost is not known.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.events_usd IS 'Sum of the known cost of the turns.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.computed_usd IS 'Of it, what was computed from the price list.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.billed_usd IS 'What was billed; NULL: no bill.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.variance_usd IS 'Billed less known cost; NULL: no bill.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.variance_percent IS
    'The variance in per cent of what was billed; NULL: nothing was billed.';
COMMENT ON COLUMN agent_kpi.cost_reconciliation.explanation IS
    'they agree (to half a cent), no bill for these turns, no turns for this bill, names differ (a row of '
    'model_aliases joins them), no usage, how many turns have no cost, or not explained.';

CREATE OR REPLACE VIEW agent_kpi.refused_bills WITH (security_barrier) AS
SELECT r.line_id, r.source, r.account, r.period_start, r.reason, r.refused_at FROM agent_metrics.refused_bills r;
COMMENT ON VIEW agent_kpi.refused_bills IS
    'Lines of imported reports that could not be stored, so that bills lack them. agent_metrics.refused_bills has the '
    'lines themselves. Unique: line_id.';
COMMENT ON COLUMN agent_kpi.refused_bills.line_id IS 'Id that the line would have.';
COMMENT ON COLUMN agent_kpi.refused_bills.source IS 'anthropic, openai or focus.';
COMMENT ON COLUMN agent_kpi.refused_bills.account IS 'Biller and account; empty: the only one.';
COMMENT ON COLUMN agent_kpi.refused_bills.period_start IS 'First moment of the line''s period; NULL: it names none.';
COMMENT ON COLUMN agent_kpi.refused_bills.reason IS 'Why it is not stored.';
COMMENT ON COLUMN agent_kpi.refused_bills.refused_at IS 'When it was refused.';
