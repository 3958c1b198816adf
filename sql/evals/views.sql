-- Eval runs and what became of them.

-- A case passes when more than half of its graded trials do; an errored trial fails, an ungraded one is left out.
CREATE OR REPLACE VIEW agent_metrics_internal.eval_case_results AS
SELECT r.agent_id, r.run_id, r.case_id, count(*) AS trials,
       CASE WHEN count(*) FILTER (WHERE r.passed IS NOT NULL OR r.error IS NOT NULL) > 0 THEN
           2 * count(*) FILTER (WHERE r.passed AND r.error IS NULL) > count(*) FILTER (
               WHERE r.passed IS NOT NULL OR r.error IS NOT NULL) END AS is_passed,
       count(r.error) > 0 AS is_errored, avg(r.latency_ms::numeric)::double precision AS latency_ms,
       avg(r.cost_usd) AS cost_usd
FROM agent_metrics.eval_results r
GROUP BY r.agent_id, r.run_id, r.case_id;
COMMENT ON VIEW agent_metrics_internal.eval_case_results IS
    'One row per agent, run and case: whether it passed (NULL: not graded) and the means over its trials.';

CREATE OR REPLACE VIEW agent_metrics_internal.eval_run_sums AS
SELECT r.agent_id, r.run_id, r.eval_set, r.content_hash, r.run_at, r.trials, r.agent_version, r.model, r.prompt_version,
       s.case_count, s.latency_tolerance_percent, s.cost_tolerance_percent, c.cases, c.graded, c.passed, c.errored,
       t.latency_p50_ms, t.latency_p95_ms, t.cost_usd, t.priced,
       c.cases = s.case_count AND c.trials = s.case_count::bigint * r.trials AS is_complete
FROM agent_metrics.eval_runs r
JOIN agent_metrics.eval_sets s ON s.eval_set = r.eval_set
CROSS JOIN LATERAL (
    SELECT count(*) AS cases, count(x.is_passed) AS graded, count(*) FILTER (WHERE x.is_passed) AS passed,
           count(*) FILTER (WHERE x.is_errored) AS errored, coalesce(sum(x.trials), 0) AS trials
    FROM agent_metrics_internal.eval_case_results x WHERE x.agent_id = r.agent_id AND x.run_id = r.run_id) c
CROSS JOIN LATERAL (
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY x.latency_ms) AS latency_p50_ms,
           percentile_disc(0.95) WITHIN GROUP (ORDER BY x.latency_ms) AS latency_p95_ms,
           sum(x.cost_usd) AS cost_usd, count(x.cost_usd) AS priced
    FROM agent_metrics.eval_results x WHERE x.agent_id = r.agent_id AND x.run_id = r.run_id) t;
COMMENT ON VIEW agent_metrics_internal.eval_run_sums IS 'One row per agent and run: its counts, percentiles and cost.';

CREATE OR REPLACE VIEW agent_kpi.eval_runs WITH (security_barrier) AS
SELECT r.agent_id, r.run_id, r.eval_set, r.run_at, r.agent_version, r.model, r.prompt_version, r.trials,
       r.case_count, r.graded AS graded_count, r.passed AS passed_count, r.cases - r.graded AS ungraded_count,
       r.errored AS errored_count, agent_metrics.ratio(r.passed, r.graded) AS eval_success_rate,
       agent_metrics.wilson_low(agent_metrics.rate(r.passed, r.graded)) AS ci_low,
       agent_metrics.wilson_high(agent_metrics.rate(r.passed, r.graded)) AS ci_high,
       r.latency_p50_ms, r.latency_p95_ms, r.cost_usd, r.is_complete
FROM agent_metrics_internal.eval_run_sums r;
COMMENT ON VIEW agent_kpi.eval_runs IS 'One row per agent and run over a frozen eval set. Unique: agent_id, run_id.';
COMMENT ON COLUMN agent_kpi.eval_runs.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.eval_runs.run_id IS 'Run.';
COMMENT ON COLUMN agent_kpi.eval_runs.eval_set IS 'Set it ran over.';
COMMENT ON COLUMN agent_kpi.eval_runs.run_at IS 'When it ran.';
COMMENT ON COLUMN agent_kpi.eval_runs.agent_version IS 'Version of the agent.';
COMMENT ON COLUMN agent_kpi.eval_runs.model IS 'Model behind it.';
COMMENT ON COLUMN agent_kpi.eval_runs.prompt_version IS 'Version of its prompt.';
COMMENT ON COLUMN agent_kpi.eval_runs.trials IS
    'How often each case is tried; a case passes when more than half of its graded trials do.';
COMMENT ON COLUMN agent_kpi.eval_runs.case_count IS 'Cases of the set.';
COMMENT ON COLUMN agent_kpi.eval_runs.graded_count IS 'Cases that were graded.';
COMMENT ON COLUMN agent_kpi.eval_runs.passed_count IS 'Cases that passed.';
COMMENT ON COLUMN agent_kpi.eval_runs.ungraded_count IS 'Cases with results but no grade, left out of the rate.';
COMMENT ON COLUMN agent_kpi.eval_runs.errored_count IS
    'Cases with a trial that did not run to its end, which counts as failed.';
COMMENT ON COLUMN agent_kpi.eval_runs.eval_success_rate IS 'Cases passed / cases graded; NULL: none graded.';
COMMENT ON COLUMN agent_kpi.eval_runs.ci_low IS 'Lower end of its 95% Wilson interval.';
COMMENT ON COLUMN agent_kpi.eval_runs.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN agent_kpi.eval_runs.latency_p50_ms IS 'Median latency of the trials, nearest rank.';
COMMENT ON COLUMN agent_kpi.eval_runs.latency_p95_ms IS '95th percentile of the latency of the trials, nearest rank.';
COMMENT ON COLUMN agent_kpi.eval_runs.cost_usd IS 'Cost of the run in US dollars, as far as known.';
COMMENT ON COLUMN agent_kpi.eval_runs.is_complete IS 'Whether every trial of every case has its result.';

CREATE OR REPLACE VIEW agent_kpi.drift_findings WITH (security_barrier) AS
SELECT f.agent_id, f.run_id, f.metric, r.run_at, f.against_run_id, f.old_value, f.new_value, f.change, f.tolerance,
       f.is_worse, f.state, f.reason, f.compared AS compared_count, f.broken_count, f.mended_count, f.p_value, f.p_mid,
       f.p_adjusted, f.ci_low, f.ci_high, f.detectable_change, f.found_at
FROM agent_metrics_internal.drift_findings f
LEFT JOIN agent_metrics.eval_runs r ON r.agent_id = f.agent_id AND r.run_id = f.run_id;
COMMENT ON VIEW agent_kpi.drift_findings IS
    'One row per agent, run and metric: how it compares with the run before. Unique: agent_id, run_id, metric.';
COMMENT ON COLUMN agent_kpi.drift_findings.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.drift_findings.run_id IS 'Run.';
COMMENT ON COLUMN agent_kpi.drift_findings.metric IS
    'eval_success_rate, eval_latency_p50_ms or eval_cost_per_case_usd.';
COMMENT ON COLUMN agent_kpi.drift_findings.run_at IS 'When it ran.';
COMMENT ON COLUMN agent_kpi.drift_findings.against_run_id IS 'Run it was compared with; NULL: none.';
COMMENT ON COLUMN agent_kpi.drift_findings.old_value IS 'Value of that run.';
COMMENT ON COLUMN agent_kpi.drift_findings.new_value IS 'Value of this run.';
COMMENT ON COLUMN agent_kpi.drift_findings.change IS
    'Change, in percentage points for a rate and in per cent for the others.';
COMMENT ON COLUMN agent_kpi.drift_findings.tolerance IS 'Change beyond which notice is taken, in the same unit.';
COMMENT ON COLUMN agent_kpi.drift_findings.is_worse IS 'Whether it changed for the worse.';
COMMENT ON COLUMN agent_kpi.drift_findings.state IS
    'ok, watch (beyond the tolerance), alert (and p_value <= 0.05), or refused.';
COMMENT ON COLUMN agent_kpi.drift_findings.reason IS 'Why, in words.';
COMMENT ON COLUMN agent_kpi.drift_findings.compared_count IS 'Cases that both runs have a value for.';
COMMENT ON COLUMN agent_kpi.drift_findings.broken_count IS 'Cases that passed and now fail.';
COMMENT ON COLUMN agent_kpi.drift_findings.mended_count IS 'Cases that failed and now pass.';
COMMENT ON COLUMN agent_kpi.drift_findings.p_value IS
    'p of the paired test: McNemar''s exact one for a rate, Wilcoxon''s signed ranks for the others.';
COMMENT ON COLUMN agent_kpi.drift_findings.p_mid IS 'McNemar''s mid-p.';
COMMENT ON COLUMN agent_kpi.drift_findings.p_adjusted IS
    'p_value adjusted for the agent''s metrics by Benjamini and Hochberg; shown, not decided by.';
COMMENT ON COLUMN agent_kpi.drift_findings.ci_low IS
    'Lower end of the Bonett-Price interval of the change, as a fraction.';
COMMENT ON COLUMN agent_kpi.drift_findings.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN agent_kpi.drift_findings.detectable_change IS
    'Smallest change, as a fraction, that so many cases show at this discordance; one beyond the discordance: none.';
COMMENT ON COLUMN agent_kpi.drift_findings.found_at IS 'When it was found.';

CREATE OR REPLACE VIEW agent_kpi.drift_cases WITH (security_barrier) AS
SELECT f.agent_id, f.run_id, c.case_id, c.what, e.category
FROM agent_metrics_internal.drift_findings f
JOIN agent_metrics.eval_runs r ON r.agent_id = f.agent_id AND r.run_id = f.run_id
CROSS JOIN LATERAL (SELECT b.case_id, 'broken' AS what FROM unnest(f.broken_cases) AS b (case_id)
                    UNION ALL SELECT m.case_id, 'mended' FROM unnest(f.mended_cases) AS m (case_id)) c
LEFT JOIN agent_metrics.eval_cases e ON e.eval_set = r.eval_set AND e.case_id = c.case_id;
COMMENT ON VIEW agent_kpi.drift_cases IS
    'One row per case that broke or was mended from one run to the next. Unique: agent_id, run_id, case_id.';
COMMENT ON COLUMN agent_kpi.drift_cases.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.drift_cases.run_id IS 'Run in which it changed.';
COMMENT ON COLUMN agent_kpi.drift_cases.case_id IS 'Case.';
COMMENT ON COLUMN agent_kpi.drift_cases.what IS 'broken: passed and now fails; mended: failed and now passes.';
COMMENT ON COLUMN agent_kpi.drift_cases.category IS 'Kind of case.';

-- The next Monday, in the agent's zone, that has no run yet. A run on a later day of the week is late, not missing.
CREATE OR REPLACE VIEW agent_kpi.eval_schedule WITH (security_barrier) AS
SELECT p.agent_id, p.eval_set, a.owner, x.last_run_at, n.next_run_on, n.overdue_at, n.overdue_at <= now() AS is_overdue
FROM agent_metrics.eval_plans p
JOIN agent_metrics.agents a ON a.agent_id = p.agent_id
LEFT JOIN LATERAL (
    SELECT r.run_at AS last_run_at FROM agent_metrics_internal.eval_run_sums r
    WHERE r.agent_id = p.agent_id AND r.eval_set = p.eval_set AND r.is_complete
      -- a run that lies ahead puts no Monday off
      AND r.run_at <= now() + interval '1 day' ORDER BY r.run_at DESC LIMIT 1) x ON true
CROSS JOIN LATERAL (
    SELECT greatest(date_trunc('week', p.since::timestamp + interval '6 days'),
                    date_trunc('week', agent_metrics_internal.day_of(x.last_run_at, a.time_zone)::timestamp)
                    + interval '7 days')::date AS monday) m
CROSS JOIN LATERAL (
    SELECT m.monday AS next_run_on, agent_metrics_internal.day_start(m.monday + 1, a.time_zone) AS overdue_at) n;
COMMENT ON VIEW agent_kpi.eval_schedule IS
    'One row per agent and eval set it runs every Monday. Unique: agent_id, eval_set.';
COMMENT ON COLUMN agent_kpi.eval_schedule.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_kpi.eval_schedule.eval_set IS 'Set it runs.';
COMMENT ON COLUMN agent_kpi.eval_schedule.owner IS 'Who answers for the agent.';
COMMENT ON COLUMN agent_kpi.eval_schedule.last_run_at IS 'Last complete run; NULL: none.';
COMMENT ON COLUMN agent_kpi.eval_schedule.next_run_on IS 'First Monday without a run, in the agent''s time zone.';
COMMENT ON COLUMN agent_kpi.eval_schedule.overdue_at IS 'End of that Monday.';
COMMENT ON COLUMN agent_kpi.eval_schedule.is_overdue IS 'Whether that Monday is over.';
