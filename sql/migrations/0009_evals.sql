-- Frozen eval sets, their runs, and what a comparison of two runs found. Evaluation results are in no production metric.

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
COMMENT ON TABLE agent_metrics.eval_sets IS 'Sets of cases that agents are tested on. Frozen by freeze_eval_set(); a new version is a new set.';
COMMENT ON COLUMN agent_metrics.eval_sets.eval_set IS 'Name of the set, its version included.';
COMMENT ON COLUMN agent_metrics.eval_sets.description IS 'What it tests.';
COMMENT ON COLUMN agent_metrics.eval_sets.latency_tolerance_percent IS 'Change of the median latency, in per cent, beyond which drift() takes notice.';
COMMENT ON COLUMN agent_metrics.eval_sets.cost_tolerance_percent IS 'Change of the cost per case, in per cent, beyond which drift() takes notice.';
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

-- The set's row is locked, so that a case that comes while the set is being frozen waits and is then refused.
CREATE FUNCTION agent_metrics.check_eval_case() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    of_set text := CASE WHEN TG_OP = 'DELETE' THEN OLD.eval_set ELSE NEW.eval_set END;
    frozen timestamptz;
BEGIN
    FOR frozen IN
        SELECT s.frozen_at FROM agent_metrics.eval_sets s
        WHERE s.eval_set = of_set OR (TG_OP = 'UPDATE' AND s.eval_set = OLD.eval_set) FOR SHARE
    LOOP
        IF frozen IS NOT NULL THEN
            RAISE EXCEPTION 'eval set "%" is frozen, so its case "%" cannot change', of_set,
                            CASE WHEN TG_OP = 'DELETE' THEN OLD.case_id ELSE NEW.case_id END
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = format('It was frozen at %s; runs over it can be compared only while its cases stay the same.', frozen),
                      HINT = 'Make a new set with a name of its own, copy the cases there, and freeze that.';
        END IF;
    END LOOP;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_eval_case() IS 'Trigger: refuses any change of a case of a frozen set.';
REVOKE ALL ON FUNCTION agent_metrics.check_eval_case() FROM PUBLIC;
CREATE TRIGGER check_eval_case BEFORE INSERT OR UPDATE OR DELETE ON agent_metrics.eval_cases
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_eval_case();

CREATE FUNCTION agent_metrics.check_eval_set() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        IF NOT EXISTS (SELECT FROM agent_metrics.eval_sets s WHERE s.frozen_at IS NOT NULL) THEN
            RETURN NULL;
        END IF;
    ELSIF OLD.frozen_at IS NULL
          OR (TG_OP = 'UPDATE' AND (OLD.eval_set, OLD.case_count, OLD.content_hash, OLD.frozen_at)
                                   IS NOT DISTINCT FROM (NEW.eval_set, NEW.case_count, NEW.content_hash, NEW.frozen_at)) THEN
        RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    RAISE EXCEPTION 'eval set % is frozen', CASE WHEN TG_OP = 'TRUNCATE' THEN 'of table ' || TG_TABLE_NAME ELSE '"' || OLD.eval_set || '"' END
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = 'Runs over a set can be compared only while its cases stay the same.',
              HINT = 'Make a new set with a name of its own; the description and the tolerances of a frozen set may still change.';
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_eval_set() IS 'Trigger: refuses to change, delete or empty what is frozen.';
REVOKE ALL ON FUNCTION agent_metrics.check_eval_set() FROM PUBLIC;
CREATE TRIGGER check_eval_set BEFORE UPDATE OR DELETE ON agent_metrics.eval_sets
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_eval_set();
CREATE TRIGGER check_eval_sets BEFORE TRUNCATE ON agent_metrics.eval_sets
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.check_eval_set();
CREATE TRIGGER check_eval_cases BEFORE TRUNCATE ON agent_metrics.eval_cases
    FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.check_eval_set();

CREATE TABLE agent_metrics.eval_plans (
    agent_id text NOT NULL,
    eval_set text NOT NULL REFERENCES agent_metrics.eval_sets (eval_set),
    since    date NOT NULL DEFAULT current_date,
    PRIMARY KEY (agent_id, eval_set)
);
COMMENT ON TABLE agent_metrics.eval_plans IS 'Which agent runs which eval set every Monday; a run that does not come is reported.';
COMMENT ON COLUMN agent_metrics.eval_plans.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.eval_plans.eval_set IS 'Set it runs.';
COMMENT ON COLUMN agent_metrics.eval_plans.since IS 'The first Monday from this day on is the first that counts, in the agent''s time zone.';

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
COMMENT ON COLUMN agent_metrics.eval_runs.content_hash IS 'Hash of the set''s cases, kept by a trigger: runs with the same hash can be compared.';
COMMENT ON COLUMN agent_metrics.eval_runs.run_at IS 'When it ran.';
COMMENT ON COLUMN agent_metrics.eval_runs.trials IS 'How often each case was tried; a case passes when more than half of its graded trials do.';
COMMENT ON COLUMN agent_metrics.eval_runs.agent_version IS 'Version of the agent.';
COMMENT ON COLUMN agent_metrics.eval_runs.model IS 'Model behind it.';
COMMENT ON COLUMN agent_metrics.eval_runs.prompt_version IS 'Version of its prompt.';
COMMENT ON COLUMN agent_metrics.eval_runs.note IS 'Anything worth saying of it.';
CREATE INDEX eval_runs_time ON agent_metrics.eval_runs (agent_id, run_at, run_id);

-- With the owner's rights, for a writer may not read the sets.
CREATE FUNCTION agent_metrics.check_eval_run() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    hash text;
BEGIN
    SELECT s.content_hash INTO hash FROM agent_metrics.eval_sets s WHERE s.eval_set = NEW.eval_set;
    IF hash IS NULL THEN
        RAISE EXCEPTION 'run "%" of agent "%" is over eval set "%", which is not frozen', NEW.run_id, NEW.agent_id, NEW.eval_set
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = CASE WHEN FOUND THEN 'The cases of that set may still change.' ELSE 'There is no set of that name.' END,
                  HINT = 'SELECT agent_metrics.freeze_eval_set(eval_set) freezes a set of 200 cases and more.';
    END IF;
    NEW.content_hash := hash;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_eval_run() IS 'Trigger: refuses a run over a set that is not frozen, and stamps the hash of the set.';
REVOKE ALL ON FUNCTION agent_metrics.check_eval_run() FROM PUBLIC;
CREATE TRIGGER check_eval_run BEFORE INSERT OR UPDATE ON agent_metrics.eval_runs
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_eval_run();

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
COMMENT ON TABLE agent_metrics.eval_results IS 'Results of the cases of a run, one row a trial. Brought in by COPY or by record_eval_run().';
COMMENT ON COLUMN agent_metrics.eval_results.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.eval_results.run_id IS 'Run.';
COMMENT ON COLUMN agent_metrics.eval_results.case_id IS 'Case.';
COMMENT ON COLUMN agent_metrics.eval_results.trial IS 'Which trial of the case, from 1.';
COMMENT ON COLUMN agent_metrics.eval_results.passed IS 'Whether it passed; NULL: not graded, left out of every rate and counted.';
COMMENT ON COLUMN agent_metrics.eval_results.error IS 'What went wrong; a trial with an error has failed, whatever passed says.';
COMMENT ON COLUMN agent_metrics.eval_results.latency_ms IS 'How long it took, in milliseconds.';
COMMENT ON COLUMN agent_metrics.eval_results.token_usage_input IS 'Input tokens.';
COMMENT ON COLUMN agent_metrics.eval_results.token_usage_output IS 'Output tokens.';
COMMENT ON COLUMN agent_metrics.eval_results.cost_usd IS 'Cost in US dollars.';

CREATE FUNCTION agent_metrics.check_eval_results() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    wrong record;
BEGIN
    SELECT a.agent_id, a.run_id, a.case_id, a.trial, r.eval_set, r.trials INTO wrong
    FROM added a
    LEFT JOIN agent_metrics.eval_runs r ON r.agent_id = a.agent_id AND r.run_id = a.run_id
    WHERE r.run_id IS NULL OR a.trial > r.trials
       OR NOT EXISTS (SELECT FROM agent_metrics.eval_cases c WHERE c.eval_set = r.eval_set AND c.case_id = a.case_id)
    ORDER BY a.agent_id, a.run_id, a.case_id LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF wrong.eval_set IS NULL THEN
        RAISE EXCEPTION 'agent "%" has no eval run "%"', wrong.agent_id, wrong.run_id
            USING ERRCODE = 'foreign_key_violation',
                  DETAIL = 'Results belong to a run, whose row says which set it ran over.',
                  HINT = 'Insert the run into agent_metrics.eval_runs first, or call agent_metrics.record_eval_run().';
    ELSIF wrong.trial > wrong.trials THEN
        RAISE EXCEPTION 'trial % of case "%" is beyond the % trials of run "%"', wrong.trial, wrong.case_id, wrong.trials, wrong.run_id
            USING ERRCODE = 'check_violation',
                  DETAIL = 'The run''s row says how often each case is tried.',
                  HINT = 'Set eval_runs.trials before the results come.';
    END IF;
    RAISE EXCEPTION 'case "%" is not in eval set "%" of run "%"', wrong.case_id, wrong.eval_set, wrong.run_id
        USING ERRCODE = 'foreign_key_violation',
              DETAIL = 'A run''s results are those of the cases of its set.',
              HINT = 'Was it run over another set? That is another run, with that set''s name.';
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_eval_results() IS 'Trigger: refuses results of an unknown run, of a case outside the run''s set, or of a trial too many.';
REVOKE ALL ON FUNCTION agent_metrics.check_eval_results() FROM PUBLIC;
CREATE TRIGGER check_eval_results_inserted AFTER INSERT ON agent_metrics.eval_results
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.check_eval_results();
CREATE TRIGGER check_eval_results_updated AFTER UPDATE ON agent_metrics.eval_results
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION agent_metrics.check_eval_results();

CREATE TABLE agent_metrics.drift_findings (
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
COMMENT ON TABLE agent_metrics.drift_findings IS 'What drift() said of each run when it was complete. Written by run_audits().';
COMMENT ON COLUMN agent_metrics.drift_findings.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.drift_findings.run_id IS 'Run.';
COMMENT ON COLUMN agent_metrics.drift_findings.metric IS 'eval_success_rate, eval_latency_p50_ms or eval_cost_per_case_usd.';
COMMENT ON COLUMN agent_metrics.drift_findings.against_run_id IS 'Run it was compared with; NULL: none.';
COMMENT ON COLUMN agent_metrics.drift_findings.old_value IS 'Value of that run.';
COMMENT ON COLUMN agent_metrics.drift_findings.new_value IS 'Value of this run.';
COMMENT ON COLUMN agent_metrics.drift_findings.change IS 'Change, in percentage points for a rate and in per cent for the others.';
COMMENT ON COLUMN agent_metrics.drift_findings.tolerance IS 'Change beyond which notice is taken, in the same unit.';
COMMENT ON COLUMN agent_metrics.drift_findings.is_worse IS 'Whether it changed for the worse.';
COMMENT ON COLUMN agent_metrics.drift_findings.compared IS 'Cases that both runs have a value for.';
COMMENT ON COLUMN agent_metrics.drift_findings.broken_count IS 'Cases that passed and now fail.';
COMMENT ON COLUMN agent_metrics.drift_findings.mended_count IS 'Cases that failed and now pass.';
COMMENT ON COLUMN agent_metrics.drift_findings.p_value IS 'p of the paired test: McNemar''s exact one for a rate, Wilcoxon''s signed ranks for the others.';
COMMENT ON COLUMN agent_metrics.drift_findings.p_mid IS 'McNemar''s mid-p.';
COMMENT ON COLUMN agent_metrics.drift_findings.p_adjusted IS 'p_value adjusted for the agent''s metrics by Benjamini and Hochberg; shown, not decided by.';
COMMENT ON COLUMN agent_metrics.drift_findings.ci_low IS 'Lower end of the Bonett-Price interval of the change, as a fraction.';
COMMENT ON COLUMN agent_metrics.drift_findings.ci_high IS 'Upper end of it.';
COMMENT ON COLUMN agent_metrics.drift_findings.detectable_change IS 'Smallest change, as a fraction, that so many cases show at this discordance; one beyond the discordance: none.';
COMMENT ON COLUMN agent_metrics.drift_findings.broken_cases IS 'Cases that passed and now fail.';
COMMENT ON COLUMN agent_metrics.drift_findings.mended_cases IS 'Cases that failed and now pass.';
COMMENT ON COLUMN agent_metrics.drift_findings.state IS 'ok, watch (beyond the tolerance), alert (and p_value <= 0.05), or refused.';
COMMENT ON COLUMN agent_metrics.drift_findings.reason IS 'Why, in words.';
COMMENT ON COLUMN agent_metrics.drift_findings.found_at IS 'When it was found.';

-- shipped rows
INSERT INTO agent_metrics.metrics (metric, metric_class, unit, direction, position, definition) VALUES
    ('eval_latency_p50_ms', 'capability', 'ms', '-', 15, 'Median of latency_ms over the trials of a run over a frozen set, nearest rank.'),
    ('eval_cost_per_case_usd', 'economics', 'usd', '-', 24, 'Cost of a run over a frozen set / trials whose cost is known.')
ON CONFLICT DO NOTHING;
-- end of shipped rows
