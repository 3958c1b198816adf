-- Closed books: as reported, as now known, and what lies between.

-- A charge or refund of a conversation: of the month in which the conversation began, whenever the money came.
CREATE OR REPLACE VIEW agent_metrics_internal.conversation_revenue AS
SELECT c.agent_id, c.started_at, b.business_event_id, b.kind, b.changed_in,
       agent_metrics_internal.revenue_usd(k.meaning, b.amount_usd) AS usd
FROM agent_metrics.event_kinds k
JOIN agent_metrics.business_events b ON b.kind = k.kind
JOIN agent_metrics.conversations c ON c.conversation_id = b.conversation_id
WHERE agent_metrics_internal.revenue_usd(k.meaning, 0) IS NOT NULL AND b.amount_usd IS NOT NULL
UNION ALL
-- a turn names the event, which names no conversation
SELECT c.agent_id, c.started_at, b.business_event_id, b.kind, b.changed_in,
       agent_metrics_internal.revenue_usd(k.meaning, b.amount_usd)
FROM agent_metrics.event_kinds k
JOIN agent_metrics.business_events b ON b.kind = k.kind AND b.conversation_id IS NULL
JOIN agent_metrics.conversations c ON c.business_event_ids @> ARRAY[b.business_event_id]
WHERE agent_metrics_internal.revenue_usd(k.meaning, 0) IS NOT NULL AND b.amount_usd IS NOT NULL;
COMMENT ON VIEW agent_metrics_internal.conversation_revenue IS
    'Charges, and refunds as negative amounts, of each agent''s conversations.';

-- Bills and infrastructure, spread evenly over the months of their period.
CREATE OR REPLACE VIEW agent_metrics_internal.month_bills AS
SELECT m.month::date AS month, x.agent_id, x.metric, x.provider, x.changed_in,
       x.amount_usd * extract(
           epoch FROM least(
               x.period_end, agent_metrics_internal.day_start((m.month + interval '1 month')::date, p.time_zone))
                      - greatest(x.period_start, agent_metrics_internal.day_start(m.month::date, p.time_zone)))
                    / extract(epoch FROM x.period_end - x.period_start) AS usd
FROM agent_metrics_internal.report p
CROSS JOIN (SELECT '' AS agent_id, 'billed_usd' AS metric, b.provider, b.changed_in, b.amount_usd,
                   b.period_start, b.period_end
            FROM agent_metrics.billing_lines b
            UNION ALL
            SELECT coalesce(i.agent_id, ''), 'infrastructure_usd', coalesce(i.provider, i.source), i.changed_in,
                   i.amount_usd, i.period_start, i.period_end
            FROM agent_metrics.infrastructure_costs i) x
CROSS JOIN LATERAL agent_metrics_internal.periods('month',
                                                  agent_metrics_internal.day_of(x.period_start, p.time_zone)::timestamp,
                                                  (agent_metrics_internal.day_of(
                                                       x.period_end - interval '1 microsecond', p.time_zone)
                                                   + 1)::timestamp) AS m (month);
COMMENT ON VIEW agent_metrics_internal.month_bills IS
    'What was billed for models and for infrastructure, line by line and month by month.';

CREATE OR REPLACE VIEW agent_metrics_internal.month_books AS
SELECT v.day AS month, v.agent_id, v.metric, v.unit, v.value::numeric AS value, v.numerator, v.denominator
FROM agent_metrics_internal.monthly_values v
UNION ALL
SELECT date_trunc('month', agent_metrics_internal.day_of(r.started_at, p.time_zone)::timestamp)::date, r.agent_id,
       'revenue_usd', 'usd', trim_scale(sum(r.usd)), trim_scale(sum(r.usd)), NULL
FROM agent_metrics_internal.conversation_revenue r CROSS JOIN agent_metrics_internal.report p
GROUP BY 1, 2
UNION ALL
SELECT b.month, b.agent_id, b.metric, 'usd', round(sum(b.usd), 10), round(sum(b.usd), 10), NULL
FROM agent_metrics_internal.month_bills b
GROUP BY b.month, b.agent_id, b.metric;
COMMENT ON VIEW agent_metrics_internal.month_books IS 'Every number of every month, as now known.';

-- What is on record of a closed month: as reported, or as the last adjustment left it.
CREATE OR REPLACE VIEW agent_metrics_internal.recorded_books AS
SELECT DISTINCT ON (x.month, x.agent_id, x.metric) x.month, x.agent_id, x.metric, x.unit, x.value,
       x.numerator, x.denominator
FROM (SELECT r.month, r.agent_id, r.metric, r.unit, r.value, r.numerator, r.denominator, '-infinity'::timestamptz AS at
      FROM agent_metrics_internal.reported_values r
      UNION ALL
      SELECT a.month, a.agent_id, a.metric, a.unit, a.value_after, a.numerator_after, a.denominator_after, a.adjusted_at
      FROM agent_metrics_internal.adjustments a) x
ORDER BY x.month, x.agent_id, x.metric, x.at DESC;
COMMENT ON VIEW agent_metrics_internal.recorded_books IS
    'Every number of the closed months, as reported and adjusted so far.';

CREATE OR REPLACE VIEW agent_metrics_internal.unrecorded_adjustments AS
WITH changed_fact AS MATERIALIZED (
    SELECT x.month, x.agent_id, x.metric, max(x.unit) AS unit, bool_or(NOT x.is_now) AS is_on_record,
           max(x.value) FILTER (WHERE NOT x.is_now) AS value_before,
           max(x.value) FILTER (WHERE x.is_now) AS value_after, max(x.numerator)
                                                                    FILTER (WHERE NOT x.is_now) AS numerator_before,
           max(x.numerator) FILTER (WHERE x.is_now) AS numerator_after,
           max(x.denominator) FILTER (WHERE NOT x.is_now) AS denominator_before,
           max(x.denominator) FILTER (WHERE x.is_now) AS denominator_after
    FROM (SELECT r.month, r.agent_id, r.metric, r.unit, r.value, r.numerator, r.denominator, false AS is_now
          FROM agent_metrics_internal.recorded_books r
          UNION ALL
          SELECT b.month, b.agent_id, b.metric, b.unit, b.value, b.numerator, b.denominator, true
          FROM agent_metrics_internal.month_books b
          WHERE b.month IN (SELECT c.month FROM agent_metrics_internal.closed_periods c)) x
    GROUP BY x.month, x.agent_id, x.metric
    HAVING (max(x.value) FILTER (WHERE NOT x.is_now), max(x.numerator) FILTER (WHERE NOT x.is_now),
            max(x.denominator) FILTER (WHERE NOT x.is_now))
           IS DISTINCT FROM
           (max(x.value) FILTER (WHERE x.is_now), max(x.numerator) FILTER (WHERE x.is_now),
            max(x.denominator) FILTER (WHERE x.is_now))
), late_fact AS MATERIALIZED (
    -- what the last recording had not seen
    SELECT l.month, l.agent_id, l.metric, string_agg(l.words, ', ' ORDER BY l.words) AS words
    FROM (SELECT c.month, r.agent_id, 'revenue_usd' AS metric,
                 format('%s %s (%s usd)', count(*), r.kind, trim_scale(sum(r.usd))) AS words
          FROM agent_metrics_internal.conversation_revenue r
          CROSS JOIN agent_metrics_internal.report p
          JOIN agent_metrics_internal.closed_periods c
            ON c.month = date_trunc('month', agent_metrics_internal.day_of(r.started_at, p.time_zone)::timestamp)::date
          WHERE r.changed_in >= (SELECT min(pg_snapshot_xmin(x.snapshot)) FROM agent_metrics_internal.closed_periods x)
            AND NOT pg_visible_in_snapshot(r.changed_in, c.snapshot)
          GROUP BY c.month, r.agent_id, r.kind
          UNION ALL
          SELECT c.month, b.agent_id, b.metric,
                 format('%s %s of %s (%s usd)', count(*), CASE count(*) WHEN 1 THEN 'line' ELSE 'lines' END, b.provider,
                        trim_scale(round(sum(b.usd), 10)))
          FROM agent_metrics_internal.month_bills b
          JOIN agent_metrics_internal.closed_periods c ON c.month = b.month
          WHERE NOT pg_visible_in_snapshot(b.changed_in, c.snapshot)
          GROUP BY c.month, b.agent_id, b.metric, b.provider) l
    GROUP BY l.month, l.agent_id, l.metric
)
SELECT d.month, d.agent_id, d.metric, d.unit, d.value_before, d.value_after, d.numerator_before, d.numerator_after,
       d.denominator_before, d.denominator_after,
       CASE WHEN c.origin <> agent_metrics_internal.origin()
                THEN 'not known: ' || agent_metrics_internal.moved_from(c.origin)
            ELSE coalesce(l.words, CASE WHEN NOT d.is_on_record THEN 'nothing was reported of it'
                                        WHEN d.metric = 'revenue_usd'
                                            THEN 'business events were removed, or conversations changed'
                                        WHEN d.metric IN ('billed_usd', 'infrastructure_usd') THEN 'lines were removed'
                                        ELSE 'turns, labels, costs or business events that came or changed since' END)
       END AS cause
FROM changed_fact d
JOIN agent_metrics_internal.closed_periods c ON c.month = d.month
LEFT JOIN late_fact l ON l.month = d.month AND l.agent_id = d.agent_id AND l.metric = d.metric;
COMMENT ON VIEW agent_metrics_internal.unrecorded_adjustments IS
    'Changes to closed months that record_adjustments() has yet to write down.';

CREATE OR REPLACE VIEW agent_kpi.closed_periods WITH (security_barrier) AS
SELECT c.month, c.closed_at, c.closed_by, c.note,
       (SELECT count(*) FROM agent_metrics_internal.reported_values r WHERE r.month = c.month) AS numbers,
       (SELECT count(*) FROM agent_metrics_internal.adjustments a WHERE a.month = c.month) AS adjustments
FROM agent_metrics_internal.closed_periods c;
COMMENT ON VIEW agent_kpi.closed_periods IS 'Months whose books are closed. Unique: month.';
COMMENT ON COLUMN agent_kpi.closed_periods.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.closed_periods.closed_at IS 'When it was closed.';
COMMENT ON COLUMN agent_kpi.closed_periods.closed_by IS 'Who closed it.';
COMMENT ON COLUMN agent_kpi.closed_periods.note IS 'What he said of it.';
COMMENT ON COLUMN agent_kpi.closed_periods.numbers IS 'Numbers that were reported.';
COMMENT ON COLUMN agent_kpi.closed_periods.adjustments IS 'Adjustments recorded since.';

CREATE OR REPLACE VIEW agent_kpi.as_reported WITH (security_barrier) AS
SELECT r.month, r.agent_id, r.metric, r.unit, r.value, r.numerator, r.denominator, c.closed_at, c.closed_by
FROM agent_metrics_internal.reported_values r JOIN agent_metrics_internal.closed_periods c ON c.month = r.month;
COMMENT ON VIEW agent_kpi.as_reported IS
    'The numbers of closed months as they were reported; they never change. Unique: month, agent_id, metric.';
COMMENT ON COLUMN agent_kpi.as_reported.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.as_reported.agent_id IS 'Agent; empty: of the company, such as the bills.';
COMMENT ON COLUMN agent_kpi.as_reported.metric IS 'Metric; or revenue_usd, infrastructure_usd, billed_usd.';
COMMENT ON COLUMN agent_kpi.as_reported.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.as_reported.value IS 'Value; NULL: no number.';
COMMENT ON COLUMN agent_kpi.as_reported.numerator IS 'Numerator, or the sum.';
COMMENT ON COLUMN agent_kpi.as_reported.denominator IS 'Denominator.';
COMMENT ON COLUMN agent_kpi.as_reported.closed_at IS 'When the month was closed.';
COMMENT ON COLUMN agent_kpi.as_reported.closed_by IS 'Who closed it.';

CREATE OR REPLACE VIEW agent_kpi.as_now_known WITH (security_barrier) AS
SELECT b.month, b.agent_id, b.metric, b.unit, b.value, b.numerator, b.denominator
FROM agent_metrics_internal.month_books b
WHERE b.month IN (SELECT c.month FROM agent_metrics_internal.closed_periods c);
COMMENT ON VIEW agent_kpi.as_now_known IS
    'The numbers of closed months as they are known now. Unique: month, agent_id, metric.';
COMMENT ON COLUMN agent_kpi.as_now_known.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.as_now_known.agent_id IS 'Agent; empty: of the company, such as the bills.';
COMMENT ON COLUMN agent_kpi.as_now_known.metric IS 'Metric; or revenue_usd, infrastructure_usd, billed_usd.';
COMMENT ON COLUMN agent_kpi.as_now_known.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.as_now_known.value IS 'Value; NULL: no number.';
COMMENT ON COLUMN agent_kpi.as_now_known.numerator IS 'Numerator, or the sum.';
COMMENT ON COLUMN agent_kpi.as_now_known.denominator IS 'Denominator.';

CREATE OR REPLACE VIEW agent_kpi.adjustments WITH (security_barrier) AS
SELECT x.month, x.agent_id, x.metric, x.unit, x.adjusted_at, x.value_before, x.value_after,
       coalesce(x.value_after, 0) - coalesce(x.value_before, 0) AS value_change,
       coalesce(x.numerator_after, 0) - coalesce(x.numerator_before, 0) AS numerator_change,
       coalesce(x.denominator_after, 0) - coalesce(x.denominator_before, 0) AS denominator_change,
       x.cause, x.is_recorded
FROM (SELECT a.month, a.agent_id, a.metric, a.unit, a.adjusted_at, a.value_before, a.value_after, a.numerator_before,
             a.numerator_after, a.denominator_before, a.denominator_after, a.cause, true AS is_recorded
      FROM agent_metrics_internal.adjustments a
      UNION ALL
      SELECT u.month, u.agent_id, u.metric, u.unit, now(), u.value_before, u.value_after, u.numerator_before,
             u.numerator_after, u.denominator_before, u.denominator_after, u.cause, false
      FROM agent_metrics_internal.unrecorded_adjustments u) x;
COMMENT ON VIEW agent_kpi.adjustments IS
    'What changed in closed months since they were reported: as reported and these changes add up to what is known '
    'now, exactly. Unique: month, agent_id, metric, adjusted_at.';
COMMENT ON COLUMN agent_kpi.adjustments.month IS 'First day of the closed month.';
COMMENT ON COLUMN agent_kpi.adjustments.agent_id IS 'Agent; empty: of the company, such as the bills.';
COMMENT ON COLUMN agent_kpi.adjustments.metric IS 'Metric; or revenue_usd, infrastructure_usd, billed_usd.';
COMMENT ON COLUMN agent_kpi.adjustments.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.adjustments.adjusted_at IS 'When the change was noticed; now, if it is not recorded yet.';
COMMENT ON COLUMN agent_kpi.adjustments.value_before IS 'Value before the change; NULL: no number.';
COMMENT ON COLUMN agent_kpi.adjustments.value_after IS 'Value after the change; NULL: no number.';
COMMENT ON COLUMN agent_kpi.adjustments.value_change IS 'After less before, no number counting as 0.';
COMMENT ON COLUMN agent_kpi.adjustments.numerator_change IS 'Change of the numerator.';
COMMENT ON COLUMN agent_kpi.adjustments.denominator_change IS 'Change of the denominator.';
COMMENT ON COLUMN agent_kpi.adjustments.cause IS 'The facts that came late, as far as they can be told.';
COMMENT ON COLUMN agent_kpi.adjustments.is_recorded IS 'False: seen now, and not recorded yet.';

CREATE OR REPLACE VIEW agent_kpi.reported_and_known WITH (security_barrier) AS
SELECT x.month, x.agent_id, x.metric, max(x.unit) AS unit, max(x.reported) AS reported_value,
       max(x.known) AS known_value, sum(x.change) AS value_change, count(x.adjusted_at) AS adjustments,
       max(x.adjusted_at) AS last_adjusted_at,
       string_agg(format('%s: %s', (x.adjusted_at AT TIME ZONE 'UTC')::date, x.cause), '; ' ORDER BY x.adjusted_at)
           FILTER (WHERE x.cause IS NOT NULL) AS why
FROM (SELECT r.month, r.agent_id, r.metric, r.unit, r.value AS reported, NULL::numeric AS known,
             NULL::numeric AS change, NULL::timestamptz AS adjusted_at, NULL AS cause
      FROM agent_metrics_internal.reported_values r
      UNION ALL
      SELECT n.month, n.agent_id, n.metric, n.unit, NULL, n.value, NULL, NULL, NULL FROM agent_kpi.as_now_known n
      UNION ALL
      SELECT a.month, a.agent_id, a.metric, a.unit, NULL, NULL, a.value_change, a.adjusted_at, a.cause
      FROM agent_kpi.adjustments a) x
GROUP BY x.month, x.agent_id, x.metric;
COMMENT ON VIEW agent_kpi.reported_and_known IS
    'Closed months, number by number: what was reported, what is known now, and why they differ. '
    'Unique: month, agent_id, metric.';
COMMENT ON COLUMN agent_kpi.reported_and_known.month IS 'First day of the month.';
COMMENT ON COLUMN agent_kpi.reported_and_known.agent_id IS 'Agent; empty: of the company, such as the bills.';
COMMENT ON COLUMN agent_kpi.reported_and_known.metric IS 'Metric; or revenue_usd, infrastructure_usd, billed_usd.';
COMMENT ON COLUMN agent_kpi.reported_and_known.unit IS 'fraction (0..1), usd, ms, s, count or points.';
COMMENT ON COLUMN agent_kpi.reported_and_known.reported_value IS 'What was reported; NULL: no number.';
COMMENT ON COLUMN agent_kpi.reported_and_known.known_value IS 'What is known now; NULL: no number.';
COMMENT ON COLUMN agent_kpi.reported_and_known.value_change IS 'Sum of the adjustments; NULL: there is none.';
COMMENT ON COLUMN agent_kpi.reported_and_known.adjustments IS 'How many adjustments there are.';
COMMENT ON COLUMN agent_kpi.reported_and_known.last_adjusted_at IS 'When the last of them was noticed.';
COMMENT ON COLUMN agent_kpi.reported_and_known.why IS 'The causes, each with its date.';
