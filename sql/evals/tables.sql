-- Frozen eval sets, their runs, and what a comparison of two runs found. Evaluation results are in
-- no production metric.

CREATE TABLE agent_metrics.eval_sets (
    eval_set                  text PRIMARY KEY CHECK (btrim(eval_set) <> ''),
    description               text NOT NULL DEFAULT '',
    latency_tolerance_percent numeric NOT NULL DEFAULT 20 CHECK (latency_tolerance_percent > 0),
    cost_tolerance_percent    numeric NOT NULL DEFAULT 10 CHECK (cost_tolerance_percent > 0),
    created_at                timestamptz NOT NULL DEFAULT now(),
    case_count                integer,
    content_hash              text,
    frozen_at                 timestamptz
);
COMMENT ON TABLE agent_metrics.eval_sets IS
    'Sets of cases that agents are tested on. Frozen by freeze_eval_set(); a new version is a new set.';
COMMENT ON COLUMN agent_metrics.eval_sets.eval_set IS 'Name of the set, its version included.';
COMMENT ON COLUMN agent_metrics.eval_sets.description IS 'What it tests.';
COMMENT ON COLUMN agent_metrics.eval_sets.latency_tolerance_percent IS
    'Change of the median latency, in per cent, beyond which drift() takes notice.';
COMMENT ON COLUMN agent_metrics.eval_sets.cost_tolerance_percent IS
    'Change of the cost per case, in per cent, beyond which drift() takes notice.';
COMMENT ON COLUMN agent_metrics.eval_sets.created_at IS 'When the set was made.';
COMMENT ON COLUMN agent_metrics.eval_sets.case_count IS 'Cases, once frozen.';
COMMENT ON COLUMN agent_metrics.eval_sets.content_hash IS 'SHA-256 of the cases, whatever their order, once frozen.';
COMMENT ON COLUMN agent_metrics.eval_sets.frozen_at IS 'When it was frozen; NULL: its cases may still change.';

CREATE TABLE agent_metrics.eval_cases (
    eval_set text NOT NULL REFERENCES agent_metrics.eval_sets (eval_set),
    case_id  text NOT NULL CHECK (btrim(case_id) <> ''),
    category text,
    input    jsonb,
    expected jsonb,
    PRIMARY KEY (eval_set, case_id)
);
COMMENT ON TABLE agent_metrics.eval_cases IS 'Cases of eval sets; no change once the set is frozen.';
COMMENT ON COLUMN agent_metrics.eval_cases.eval_set IS 'Set.';
COMMENT ON COLUMN agent_metrics.eval_cases.case_id IS 'Id of the case in its set.';
COMMENT ON COLUMN agent_metrics.eval_cases.category IS 'Kind of case.';
COMMENT ON COLUMN agent_metrics.eval_cases.input IS 'What the agent is given.';
COMMENT ON COLUMN agent_metrics.eval_cases.expected IS 'What is expected of it.';
CREATE TRIGGER check_eval_case BEFORE INSERT OR UPDATE OR DELETE ON agent_metrics.eval_cases
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_eval_case();
CREATE TRIGGER check_eval_set BEFORE UPDATE OR DELETE ON agent_metrics.eval_sets
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_eval_set();
CREATE TRIGGER check_eval_sets BEFORE TRUNCATE ON agent_metrics.eval_sets
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.check_eval_set('eval_sets');
CREATE TRIGGER check_eval_cases BEFORE TRUNCATE ON agent_metrics.eval_cases
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.check_eval_set('eval_cases');

CREATE TABLE agent_metrics.eval_plans (
    agent_id text NOT NULL,
    eval_set text NOT NULL REFERENCES agent_metrics.eval_sets (eval_set),
    since    date NOT NULL DEFAULT current_date,
    PRIMARY KEY (agent_id, eval_set),
    CONSTRAINT agent_id_is_short CHECK (agent_metrics_internal.check_length(agent_id, 'agent_id', 256))
);
COMMENT ON TABLE agent_metrics.eval_plans IS
    'Which agent runs which eval set every Monday; a run that does not come is reported.';
COMMENT ON COLUMN agent_metrics.eval_plans.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.eval_plans.eval_set IS 'Set it runs.';
COMMENT ON COLUMN agent_metrics.eval_plans.since IS
    'The first Monday from this day on is the first that counts, in the agent''s time zone.';

CREATE TABLE agent_metrics.eval_runs (
    agent_id       text NOT NULL CHECK (btrim(agent_id) <> ''),
    run_id         text NOT NULL CHECK (btrim(run_id) <> ''),
    eval_set       text NOT NULL,
    content_hash   text NOT NULL DEFAULT '',
    run_at         timestamptz NOT NULL DEFAULT now() CHECK (isfinite(run_at)),
    trials         integer NOT NULL DEFAULT 1 CHECK (trials BETWEEN 1 AND 1000),
    agent_version  text,
    model          text,
    prompt_version text,
    note           text,
    PRIMARY KEY (agent_id, run_id)
);
COMMENT ON TABLE agent_metrics.eval_runs IS 'Runs of an agent over a frozen eval set.';
COMMENT ON COLUMN agent_metrics.eval_runs.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.eval_runs.run_id IS 'Id of the run.';
COMMENT ON COLUMN agent_metrics.eval_runs.eval_set IS 'Set it ran over.';
COMMENT ON COLUMN agent_metrics.eval_runs.content_hash IS
    'Hash of the set''s cases, kept by a trigger: runs with the same hash can be compared.';
COMMENT ON COLUMN agent_metrics.eval_runs.run_at IS 'When it ran.';
COMMENT ON COLUMN agent_metrics.eval_runs.trials IS
    'How often each case was tried; a case passes when more than half of its graded trials do.';
COMMENT ON COLUMN agent_metrics.eval_runs.agent_version IS 'Version of the agent.';
COMMENT ON COLUMN agent_metrics.eval_runs.model IS 'Model behind it.';
COMMENT ON COLUMN agent_metrics.eval_runs.prompt_version IS 'Version of its prompt.';
COMMENT ON COLUMN agent_metrics.eval_runs.note IS 'Anything worth saying of it.';
CREATE INDEX eval_runs_time ON agent_metrics.eval_runs (agent_id, run_at, run_id);
CREATE TRIGGER check_eval_run BEFORE INSERT OR UPDATE ON agent_metrics.eval_runs
    FOR EACH ROW EXECUTE FUNCTION agent_metrics_internal.check_eval_run();

CREATE TABLE agent_metrics.eval_results (
    agent_id           text NOT NULL,
    run_id             text NOT NULL,
    case_id            text NOT NULL,
    trial              integer NOT NULL DEFAULT 1 CHECK (trial >= 1),
    passed             boolean,
    error              text,
    latency_ms         double precision CHECK (latency_ms >= 0 AND latency_ms < 'Infinity'),
    token_usage_input  bigint CHECK (token_usage_input >= 0),
    token_usage_output bigint CHECK (token_usage_output >= 0),
    cost_usd           numeric CHECK (cost_usd >= 0 AND cost_usd < 1e12),
    PRIMARY KEY (agent_id, run_id, case_id, trial)
);
COMMENT ON TABLE agent_metrics.eval_results IS
    'Results of the cases of a run, one row a trial. Brought in by COPY or by record_eval_run().';
COMMENT ON COLUMN agent_metrics.eval_results.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.eval_results.run_id IS 'Run.';
COMMENT ON COLUMN agent_metrics.eval_results.case_id IS 'Case.';
COMMENT ON COLUMN agent_metrics.eval_results.trial IS 'Which trial of the case, from 1.';
COMMENT ON COLUMN agent_metrics.eval_results.passed IS
    'Whether it passed; NULL: not graded, left out of every rate and counted.';
COMMENT ON COLUMN agent_metrics.eval_results.error IS
    'What went wrong; a trial with an error has failed, whatever passed says.';
COMMENT ON COLUMN agent_metrics.eval_results.latency_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN agent_metrics.eval_results.token_usage_input IS 'Input tokens.';
COMMENT ON COLUMN agent_metrics.eval_results.token_usage_output IS 'Output tokens.';
COMMENT ON COLUMN agent_metrics.eval_results.cost_usd IS 'Cost in US dollars.';
CREATE TRIGGER check_eval_results_inserted AFTER INSERT ON agent_metrics.eval_results
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.check_eval_results();
CREATE TRIGGER check_eval_results_updated AFTER UPDATE ON agent_metrics.eval_results
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics_internal.check_eval_results();

CREATE TABLE agent_metrics_internal.drift_findings (
    agent_id          text NOT NULL,
    run_id            text NOT NULL,
    metric            text NOT NULL,
    against_run_id    text,
    old_value         double precision,
    new_value         double precision,
    change            double precision,
    tolerance         double precision,
    is_worse          boolean,
    compared          bigint,
    broken_count      bigint,
    mended_count      bigint,
    p_value           double precision,
    p_mid             double precision,
    p_adjusted        double precision,
    ci_low            double precision,
    ci_high           double precision,
    detectable_change double precision,
    broken_cases      text[],
    mended_cases      text[],
    state             text NOT NULL CHECK (state IN ('ok', 'watch', 'alert', 'refused')),
    reason            text NOT NULL,
    found_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (agent_id, run_id, metric)
);
COMMENT ON TABLE agent_metrics_internal.drift_findings IS
    'What drift() said of each run when it was complete. Written by run_audits().';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.run_id IS 'Run.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.metric IS
    'eval_success_rate, eval_latency_p50_ms or eval_cost_per_case_usd.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.against_run_id IS 'Run it was compared with; NULL: none.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.old_value IS 'Value of that run.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.new_value IS 'Value of this run.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.change IS
    'Change, in percentage points for a rate and in per cent for the others.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.tolerance IS
    'Change beyond which notice is taken, in the same unit.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.is_worse IS 'Whether it changed for the worse.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.compared IS 'Cases that both runs have a value for.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.broken_count IS 'Cases that passed and now fail.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.mended_count IS 'Cases that failed and now pass.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.p_value IS
    'p of the paired test: McNemar''s exact one for a rate, Wilcoxon''s signed ranks for the others.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.p_mid IS 'McNemar''s mid-p.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.p_adjusted IS
    'p_value adjusted for the agent''s metrics by Benjamini and Hochberg; shown, not decided by.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.ci_low IS
    'Lower end of the Bonett-Price interval of the change, as a fraction.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.detectable_change IS
    'Smallest change, as a fraction, that so many cases show at this discordance; one beyond the discordance: none.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.broken_cases IS 'Cases that passed and now fail.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.mended_cases IS 'Cases that failed and now pass.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.state IS
    'ok, watch (beyond the tolerance), alert (and p_value <= 0.05), or refused.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.reason IS 'Why, in words.';
COMMENT ON COLUMN agent_metrics_internal.drift_findings.found_at IS 'When it was found.';
