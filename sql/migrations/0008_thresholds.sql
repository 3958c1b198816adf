-- Thresholds with an end, a deputy and a kind; breaches of them; the history of definitions.

ALTER TABLE agent_metrics.owners ADD COLUMN is_team boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN agent_metrics.owners.is_team IS 'A team rather than one person or role.';

ALTER TABLE agent_metrics.thresholds
    ADD COLUMN effective_to date,
    ADD COLUMN deputy text,
    ADD COLUMN is_from_kind boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN agent_metrics.thresholds.effective_to IS 'Last report day the line holds; NULL: until the next row of the agent and metric.';
COMMENT ON COLUMN agent_metrics.thresholds.deputy IS 'Who answers when the owner does not; NULL: the owner''s own deputy.';
COMMENT ON COLUMN agent_metrics.thresholds.is_from_kind IS 'Comes from the agent''s kind and follows it; an edit makes it the agent''s own.';

CREATE TABLE agent_metrics.kind_thresholds (
    kind           text NOT NULL REFERENCES agent_metrics.agent_kinds (kind),
    metric         text NOT NULL,
    effective_from date NOT NULL DEFAULT '-infinity',
    value          double precision NOT NULL,
    owner          text NOT NULL REFERENCES agent_metrics.owners (owner),
    effective_to   date,
    deputy         text,
    review_on      date,
    note           text,
    PRIMARY KEY (kind, metric, effective_from)
);
COMMENT ON TABLE agent_metrics.kind_thresholds IS 'The line a metric of every agent of a kind is held to, from a day on, with its owner. An agent that has a line of its own for the metric keeps it.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.kind IS 'Kind of agent.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.effective_from IS 'First report day the line holds; it holds until the next row of the kind and metric.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.value IS 'The line, in the unit of the metric; the direction is the metric''s.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.owner IS 'Who answers for it. There is no threshold without an owner.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.effective_to IS 'Last report day the line holds; NULL: until the next row.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.deputy IS 'Who answers when the owner does not; NULL: the owner''s own deputy.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.review_on IS 'When the line is to be looked at again.';
COMMENT ON COLUMN agent_metrics.kind_thresholds.note IS 'Why the line is where it is.';

CREATE OR REPLACE FUNCTION agent_metrics.check_threshold() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    metric_unit text;
    whose       text := CASE TG_TABLE_NAME WHEN 'thresholds' THEN to_jsonb(NEW) ->> 'agent_id' ELSE to_jsonb(NEW) ->> 'kind' END;
    other       record;
BEGIN
    IF NEW.owner IS NULL OR btrim(NEW.owner) = '' THEN
        RAISE EXCEPTION 'the threshold for % of % "%" has no owner', NEW.metric, CASE TG_TABLE_NAME WHEN 'thresholds' THEN 'agent' ELSE 'kind' END, whose
            USING ERRCODE = 'not_null_violation',
                  DETAIL = 'A threshold that nobody answers for is not a threshold.',
                  HINT = 'Name a person, role or team that is a row of agent_metrics.owners.';
    END IF;
    SELECT m.unit INTO metric_unit FROM agent_metrics.metrics m WHERE m.metric = NEW.metric;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'unknown metric "%"', NEW.metric
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'No row of agent_metrics.metrics has that name.',
                  HINT = 'SELECT metric FROM agent_metrics.metrics lists them.';
    END IF;
    IF NEW.value IS NULL OR NEW.value IN ('NaN', 'Infinity', '-Infinity')
       OR (metric_unit = 'fraction' AND NEW.value NOT BETWEEN 0 AND 1)
       OR (metric_unit = 'points' AND NEW.value NOT BETWEEN -200 AND 200)
       OR (metric_unit IN ('usd', 'ms', 's', 'count') AND NEW.value < 0 AND NEW.metric NOT LIKE 'revenue%') THEN
        RAISE EXCEPTION 'impossible threshold % for %', coalesce(NEW.value::text, 'NULL'), NEW.metric
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = format('The unit of %s is %s.', NEW.metric, metric_unit),
                  HINT = 'A fraction lies between 0 and 1: 92 per cent is 0.92.';
    END IF;
    IF NEW.effective_to < NEW.effective_from THEN
        RAISE EXCEPTION 'the threshold for % of "%" ends on % before it begins on %', NEW.metric, whose, NEW.effective_to, NEW.effective_from
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'effective_to is the last day that it holds.',
                  HINT = 'Leave effective_to NULL for a line that holds until the next one.';
    END IF;
    -- A line without an end gives way to the next one; a line that says until when it holds does not.
    EXECUTE format('SELECT t.effective_from, t.effective_to FROM agent_metrics.%I t
                    WHERE t.%I = $1 AND t.metric = $2 AND t.effective_from <> $3 AND ($5 IS NULL OR t.effective_from <> $5)
                      AND (t.effective_from < $3 AND t.effective_to >= $3 OR t.effective_from > $3 AND t.effective_from <= $4) LIMIT 1',
                   TG_TABLE_NAME, CASE TG_TABLE_NAME WHEN 'thresholds' THEN 'agent_id' ELSE 'kind' END)
    INTO other USING whose, NEW.metric, NEW.effective_from, NEW.effective_to, CASE TG_OP WHEN 'UPDATE' THEN OLD.effective_from END;
    IF other.effective_from IS NOT NULL THEN
        RAISE EXCEPTION 'the threshold for % of "%" from % overlaps the one from % to %', NEW.metric, whose, NEW.effective_from,
                        other.effective_from, coalesce(other.effective_to::text, 'open end')
            USING ERRCODE = 'exclusion_violation',
                  DETAIL = 'On a day that both hold nobody could say which line counts.',
                  HINT = 'Change effective_to of one of them.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.check_threshold() IS 'Trigger: refuses a threshold without owner, of an unknown metric, with an impossible value, or that overlaps another.';
CREATE TRIGGER check_threshold BEFORE INSERT OR UPDATE ON agent_metrics.kind_thresholds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.check_threshold();

-- A kind's lines are copied to its agents, so that one look-up finds an agent's line whoever set it.
CREATE FUNCTION agent_metrics.follow_kind_threshold() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        DELETE FROM agent_metrics.thresholds t USING agent_metrics.agents a
        WHERE a.kind = OLD.kind AND t.agent_id = a.agent_id AND t.metric = OLD.metric AND t.effective_from = OLD.effective_from AND t.is_from_kind;
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        INSERT INTO agent_metrics.thresholds AS t (agent_id, metric, effective_from, value, owner, effective_to, deputy, review_on, note, is_from_kind)
        SELECT a.agent_id, NEW.metric, NEW.effective_from, NEW.value, NEW.owner, NEW.effective_to, NEW.deputy, NEW.review_on, NEW.note, true
        FROM agent_metrics.agents a
        WHERE a.kind = NEW.kind
          AND NOT EXISTS (SELECT FROM agent_metrics.thresholds o WHERE o.agent_id = a.agent_id AND o.metric = NEW.metric AND NOT o.is_from_kind)
        ON CONFLICT (agent_id, metric, effective_from) DO UPDATE SET
            value = excluded.value, owner = excluded.owner, effective_to = excluded.effective_to, deputy = excluded.deputy,
            review_on = excluded.review_on, note = excluded.note;
    END IF;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics.follow_kind_threshold() IS 'Trigger: copies a kind''s threshold to its agents that have none of their own for the metric.';
REVOKE ALL ON FUNCTION agent_metrics.follow_kind_threshold() FROM PUBLIC;
CREATE TRIGGER follow_kind_threshold AFTER INSERT OR UPDATE OR DELETE ON agent_metrics.kind_thresholds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.follow_kind_threshold();

CREATE FUNCTION agent_metrics.own_threshold() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    -- Not the copy that the trigger above makes.
    IF pg_trigger_depth() = 1 THEN
        NEW.is_from_kind := false;
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.own_threshold() IS 'Trigger: an edited threshold is the agent''s own.';
REVOKE ALL ON FUNCTION agent_metrics.own_threshold() FROM PUBLIC;
CREATE TRIGGER own_threshold BEFORE UPDATE ON agent_metrics.thresholds
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.own_threshold();

CREATE TABLE agent_metrics.breaches (
    breach_id       text NOT NULL DEFAULT agent_metrics.new_event_id()::text,
    agent_id        text NOT NULL,
    metric          text NOT NULL,
    opened_at       timestamptz NOT NULL DEFAULT now(),
    closed_at       timestamptz,
    reopened_at     timestamptz,
    reopenings      integer NOT NULL DEFAULT 0,
    window_from     date NOT NULL,
    window_to       date NOT NULL,
    value           double precision,
    ci_low          double precision,
    ci_high         double precision,
    numerator       numeric,
    denominator     numeric,
    threshold       double precision NOT NULL,
    direction       text NOT NULL,
    owner           text NOT NULL,
    deputy          text,
    definition_version integer NOT NULL,
    evaluated_at    timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    acknowledged_by text,
    cause           text,
    action          text,
    PRIMARY KEY (agent_id, breach_id)
);
COMMENT ON TABLE agent_metrics.breaches IS 'Times in which a metric was on the wrong side of its threshold. Written by evaluate_thresholds() and acknowledge().';
COMMENT ON COLUMN agent_metrics.breaches.breach_id IS 'Id of the breach.';
COMMENT ON COLUMN agent_metrics.breaches.agent_id IS 'Agent.';
COMMENT ON COLUMN agent_metrics.breaches.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.breaches.opened_at IS 'When the verdict was first breach.';
COMMENT ON COLUMN agent_metrics.breaches.closed_at IS 'When the verdict was pass again, or there was no threshold any more; NULL: open.';
COMMENT ON COLUMN agent_metrics.breaches.reopened_at IS 'When it was last opened again, within a day of its closing.';
COMMENT ON COLUMN agent_metrics.breaches.reopenings IS 'How often it was opened again.';
COMMENT ON COLUMN agent_metrics.breaches.window_from IS 'First report day of the window last judged while open.';
COMMENT ON COLUMN agent_metrics.breaches.window_to IS 'Last report day of it: the day of the judgement.';
COMMENT ON COLUMN agent_metrics.breaches.value IS 'Value over that window.';
COMMENT ON COLUMN agent_metrics.breaches.ci_low IS 'Lower end of the 95% interval.';
COMMENT ON COLUMN agent_metrics.breaches.ci_high IS 'Upper end of the 95% interval.';
COMMENT ON COLUMN agent_metrics.breaches.numerator IS 'Numerator.';
COMMENT ON COLUMN agent_metrics.breaches.denominator IS 'Denominator.';
COMMENT ON COLUMN agent_metrics.breaches.threshold IS 'The line at that time.';
COMMENT ON COLUMN agent_metrics.breaches.direction IS '+ when higher is better, - when lower is better.';
COMMENT ON COLUMN agent_metrics.breaches.owner IS 'Who answers for the line.';
COMMENT ON COLUMN agent_metrics.breaches.deputy IS 'Who answers when the owner does not.';
COMMENT ON COLUMN agent_metrics.breaches.definition_version IS 'Version of the metric''s definition.';
COMMENT ON COLUMN agent_metrics.breaches.evaluated_at IS 'When it was last judged.';
COMMENT ON COLUMN agent_metrics.breaches.acknowledged_at IS 'When somebody took it up; NULL: nobody yet.';
COMMENT ON COLUMN agent_metrics.breaches.acknowledged_by IS 'Who took it up.';
COMMENT ON COLUMN agent_metrics.breaches.cause IS 'What he found.';
COMMENT ON COLUMN agent_metrics.breaches.action IS 'What he does about it.';
CREATE UNIQUE INDEX breaches_open ON agent_metrics.breaches (agent_id, metric) WHERE closed_at IS NULL;
CREATE INDEX breaches_metric ON agent_metrics.breaches (agent_id, metric, closed_at);

-- Definitions are rows with versions. A changed definition is a new version from the present report day on.
CREATE TABLE agent_metrics.metric_definitions (
    metric             text NOT NULL,
    definition_version integer NOT NULL,
    effective_from     date NOT NULL,
    definition         text NOT NULL,
    PRIMARY KEY (metric, definition_version)
);
COMMENT ON TABLE agent_metrics.metric_definitions IS 'What each metric meant, version by version. Written by a trigger on metrics.';
COMMENT ON COLUMN agent_metrics.metric_definitions.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.metric_definitions.definition_version IS 'Version.';
COMMENT ON COLUMN agent_metrics.metric_definitions.effective_from IS 'First report day of this version: where the trend breaks.';
COMMENT ON COLUMN agent_metrics.metric_definitions.definition IS 'The definition in words.';
INSERT INTO agent_metrics.metric_definitions (metric, definition_version, effective_from, definition)
SELECT m.metric, m.definition_version, '-infinity', m.definition FROM agent_metrics.metrics m;

CREATE FUNCTION agent_metrics.version_definition() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (OLD.definition, OLD.measure, OLD.unit, OLD.direction) IS NOT DISTINCT FROM (NEW.definition, NEW.measure, NEW.unit, NEW.direction)
           AND NEW.definition_version = OLD.definition_version THEN
            RETURN NEW;
        END IF;
        NEW.definition_version := greatest(NEW.definition_version, OLD.definition_version + 1);
    END IF;
    INSERT INTO agent_metrics.metric_definitions (metric, definition_version, effective_from, definition)
    VALUES (NEW.metric, NEW.definition_version,
            CASE TG_OP WHEN 'INSERT' THEN '-infinity' ELSE agent_metrics.day_of(now(), agent_metrics.report_time_zone()) END, NEW.definition)
    ON CONFLICT (metric, definition_version) DO UPDATE SET definition = excluded.definition;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics.version_definition() IS 'Trigger: a changed definition is a new version, kept with the day from which it holds.';
REVOKE ALL ON FUNCTION agent_metrics.version_definition() FROM PUBLIC;
CREATE TRIGGER version_definition BEFORE INSERT OR UPDATE ON agent_metrics.metrics
    FOR EACH ROW EXECUTE FUNCTION agent_metrics.version_definition();

-- What "resolved" may mean: presets that are shown side by side, each a condition on a conversation.
CREATE TABLE agent_metrics.resolution_presets (
    preset       text PRIMARY KEY,
    definition   text NOT NULL,
    of_label     text NOT NULL CHECK (of_label IN ('counting', 'agent', 'confirmed')),
    flag         text NOT NULL CHECK (flag IN ('is_success', 'is_unit', 'is_deflection', 'is_no_escalation')),
    is_untouched boolean NOT NULL,
    position     integer NOT NULL DEFAULT 100
);
COMMENT ON TABLE agent_metrics.resolution_presets IS 'Definitions of a resolved conversation that are in use, shown side by side in agent_kpi.resolution_definitions.';
COMMENT ON COLUMN agent_metrics.resolution_presets.preset IS 'Name of the definition.';
COMMENT ON COLUMN agent_metrics.resolution_presets.definition IS 'The definition in words.';
COMMENT ON COLUMN agent_metrics.resolution_presets.of_label IS 'Whose label decides: counting (by precedence), agent (the agent''s own), confirmed (a person or the business system; others are pending).';
COMMENT ON COLUMN agent_metrics.resolution_presets.flag IS 'What the label has to be: a column of outcomes, or is_no_escalation.';
COMMENT ON COLUMN agent_metrics.resolution_presets.is_untouched IS 'Whether no human may have taken part.';
COMMENT ON COLUMN agent_metrics.resolution_presets.position IS 'Order of the definitions.';
-- shipped rows
INSERT INTO agent_metrics.resolution_presets (preset, definition, of_label, flag, is_untouched, position) VALUES
    ('containment', 'No human took part and nothing was handed to one / conversations with an outcome.', 'counting', 'is_no_escalation', true, 1),
    ('deflection', 'The outcome is a deflection and no human took part / conversations with an outcome. As in deflection_rate.', 'counting', 'is_deflection', true, 2),
    ('assumed_resolution', 'The agent says it succeeded / conversations that the agent gave a label.', 'agent', 'is_success', false, 3),
    ('confirmed_resolution', 'A person or the business system says it succeeded / conversations of which one of them said anything.', 'confirmed', 'is_success', false, 4)
ON CONFLICT DO NOTHING;
-- end of shipped rows

-- Which metric serves which function of the NIST AI risk management framework.
CREATE TABLE agent_metrics.nist_ai_rmf_map (
    nist_function text NOT NULL CHECK (nist_function IN ('GOVERN', 'MAP', 'MEASURE', 'MANAGE')),
    subcategory   text NOT NULL,
    metric        text NOT NULL,
    reason        text NOT NULL,
    is_checked    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (nist_function, subcategory, metric)
);
COMMENT ON TABLE agent_metrics.nist_ai_rmf_map IS 'Which metric serves which function of the NIST AI RMF 1.0. The identifiers are a suggestion: check them.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.nist_function IS 'GOVERN, MAP, MEASURE or MANAGE.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.subcategory IS 'Suggested identifier of the subcategory.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.metric IS 'Metric.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.reason IS 'What the metric shows for it.';
COMMENT ON COLUMN agent_metrics.nist_ai_rmf_map.is_checked IS 'Whether somebody here has checked the identifier.';
-- shipped rows
INSERT INTO agent_metrics.nist_ai_rmf_map (nist_function, subcategory, metric, reason) VALUES
    ('GOVERN', 'GOVERN 2.1', 'task_success_rate', 'A named owner answers for the line.'),
    ('GOVERN', 'GOVERN 2.1', 'hallucination_rate', 'A named owner answers for the line.'),
    ('MAP', 'MAP 3.2', 'cost_per_unit_usd', 'What it costs, failures included.'),
    ('MAP', 'MAP 3.5', 'escalation_accuracy', 'Whether humans are brought in when they should be.'),
    ('MEASURE', 'MEASURE 2.3', 'task_success_rate', 'Performance in use.'),
    ('MEASURE', 'MEASURE 2.3', 'eval_success_rate', 'Performance over a frozen set.'),
    ('MEASURE', 'MEASURE 2.4', 'latency_p95_ms', 'Behaviour in production is watched.'),
    ('MEASURE', 'MEASURE 2.5', 'hallucination_rate', 'Validity and reliability of factual answers.'),
    ('MEASURE', 'MEASURE 2.5', 'tool_call_accuracy', 'Validity and reliability of actions.'),
    ('MEASURE', 'MEASURE 2.6', 'out_of_scope_refusal_rate', 'Safety: what is out of scope is refused.'),
    ('MEASURE', 'MEASURE 2.8', 'self_report_gap', 'What the agent says of itself is held against what people find.'),
    ('MEASURE', 'MEASURE 3.3', 'nps_delta', 'Feedback of those affected.'),
    ('MANAGE', 'MANAGE 2.4', 'escalation_missed_rate', 'Hand-over where the agent should stop.'),
    ('MANAGE', 'MANAGE 4.1', 'deflection_rate', 'Monitored after deployment; breaches are acknowledged with cause and action.')
ON CONFLICT DO NOTHING;
-- end of shipped rows
