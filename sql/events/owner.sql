-- What is changed or deleted after a refresh saw it is logged, for the stamp of a row cannot tell that.

-- The trigger functions below write the log with the rights of the tables' owner: a writer needs none on it.
CREATE OR REPLACE FUNCTION agent_metrics_internal.log_event_update() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    measures_changed boolean :=
        (OLD.agent_id, OLD.occurred_at, OLD.latency_ms, OLD.token_usage_input, OLD.token_usage_output, OLD.cost_usd,
         OLD.tools_called, OLD.is_eval, OLD.error)
        IS DISTINCT FROM
        (NEW.agent_id, NEW.occurred_at, NEW.latency_ms, NEW.token_usage_input, NEW.token_usage_output, NEW.cost_usd,
         NEW.tools_called, NEW.is_eval, NEW.error);
BEGIN
    -- a turn that goes over to another segment takes its measures along
    measures_changed := measures_changed OR EXISTS (
        SELECT 1 FROM agent_metrics.dimensions d
        WHERE d.is_active AND CASE d.source
            WHEN 'event_column' THEN to_jsonb(OLD) -> d.attribute IS DISTINCT FROM to_jsonb(NEW) -> d.attribute
            WHEN 'event_attribute' THEN OLD.attributes -> d.attribute IS DISTINCT FROM NEW.attributes -> d.attribute
            ELSE OLD.conversation_id <> NEW.conversation_id END);
    INSERT INTO agent_metrics_internal.changes (agent_id, conversation_id, occurred_at, measures_changed, recorded_in)
    VALUES (OLD.agent_id, OLD.conversation_id, OLD.occurred_at, measures_changed, OLD.recorded_in);
    IF (OLD.agent_id, OLD.conversation_id, OLD.occurred_at)
       IS DISTINCT FROM (NEW.agent_id, NEW.conversation_id, NEW.occurred_at) THEN
        INSERT INTO agent_metrics_internal.changes
            (agent_id, conversation_id, occurred_at, measures_changed, recorded_in)
        VALUES (NEW.agent_id, NEW.conversation_id, NEW.occurred_at, measures_changed, OLD.recorded_in);
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.log_event_update() IS
    'Trigger: logs the conversations and buckets that an update of a turn concerns, before and after.';
REVOKE ALL ON FUNCTION agent_metrics_internal.log_event_update() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.log_event_delete() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics_internal.changes (agent_id, conversation_id, occurred_at, measures_changed)
    VALUES (OLD.agent_id, OLD.conversation_id, OLD.occurred_at, true);
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.log_event_delete() IS
    'Trigger: logs the conversation and bucket that lost a turn.';
REVOKE ALL ON FUNCTION agent_metrics_internal.log_event_delete() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.log_business_event() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics_internal.changes (conversation_id, business_event_id)
    VALUES (OLD.conversation_id, OLD.business_event_id);
    IF TG_OP = 'UPDATE' THEN
        RETURN NEW;
    END IF;
    RETURN OLD;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.log_business_event() IS
    'Trigger: logs the conversation that a business event was about before it changed.';
REVOKE ALL ON FUNCTION agent_metrics_internal.log_business_event() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.log_outcome() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics_internal.changes (label) VALUES (OLD.label);
    IF TG_OP = 'UPDATE' THEN
        RETURN NEW;
    END IF;
    RETURN OLD;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.log_outcome() IS
    'Trigger: logs the old name of an outcome label that changed.';
REVOKE ALL ON FUNCTION agent_metrics_internal.log_outcome() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.log_event_kind() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics_internal.changes (label) VALUES (OLD.kind);
    IF TG_OP = 'UPDATE' THEN
        RETURN NEW;
    END IF;
    RETURN OLD;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.log_event_kind() IS
    'Trigger: logs the old name of a kind of business event that changed.';
REVOKE ALL ON FUNCTION agent_metrics_internal.log_event_kind() FROM PUBLIC;

-- A meaning that is misspelt would count for nothing, and nobody would be told.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_event_kind() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    near text;
BEGIN
    IF NEW.meaning = ANY (agent_metrics_internal.event_meanings())
       OR EXISTS (SELECT 1 FROM agent_metrics.outcomes o WHERE o.label = NEW.meaning) THEN
        RETURN NEW;
    END IF;
    SELECT format('Did you mean %s? ', min(w.word)) INTO near
    FROM (SELECT o.label AS word FROM agent_metrics.outcomes o
          UNION ALL SELECT u.word FROM unnest(agent_metrics_internal.event_meanings()) AS u (word)) w
    WHERE btrim(NEW.meaning) <> '' AND (starts_with(w.word, lower(btrim(NEW.meaning)))
                                        OR starts_with(lower(btrim(NEW.meaning)), w.word))
    HAVING count(*) > 0;
    RAISE EXCEPTION 'unknown meaning "%" of kind "%"', coalesce(NEW.meaning, 'NULL'), NEW.kind
        USING ERRCODE = 'invalid_parameter_value',
              DETAIL = format('A kind of business event means an outcome label (%s) or one of %s.',
                              (SELECT string_agg(o.label, ', ' ORDER BY o.label)
                               FROM (SELECT x.label FROM agent_metrics.outcomes x ORDER BY x.label LIMIT 50) o),
                              array_to_string(agent_metrics_internal.event_meanings(), ', ')),
              HINT = coalesce(near, '') || 'Use one of them; a label of your own first becomes a row of '
                     'agent_metrics.outcomes; nothing says that such events shall not count.';
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_event_kind() IS
    'Trigger: refuses a meaning that is neither an outcome label nor a word that the refresh knows.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_event_kind() FROM PUBLIC;

-- TRUNCATE leaves no rows to log. One row that names nothing says "everything": each agent is built again.
-- (Touching the watermarks here instead would deadlock with a refresh that holds one and reads the facts.)
CREATE OR REPLACE FUNCTION agent_metrics_internal.log_truncate() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    INSERT INTO agent_metrics_internal.changes DEFAULT VALUES;
    RETURN NULL;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.log_truncate() IS
    'Trigger: after TRUNCATE of facts or mappings each agent is rebuilt by its next refresh.';
REVOKE ALL ON FUNCTION agent_metrics_internal.log_truncate() FROM PUBLIC;

-- What is said about turns and conversations after they happened: verdicts on tool calls, scores, survey answers,
-- reviews. Each names its agent and conversation; it counts once that conversation is in the rollups, so evaluation
-- traffic counts nowhere. A trigger logs the conversation that a row is about, and the agent's next refresh computes
-- that conversation's facts again.

CREATE OR REPLACE FUNCTION agent_metrics_internal.log_fact() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO agent_metrics_internal.changes (agent_id, conversation_id)
        VALUES (OLD.agent_id, OLD.conversation_id);
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
    END IF;
    IF TG_OP = 'INSERT' OR (OLD.agent_id, OLD.conversation_id) IS DISTINCT FROM (NEW.agent_id, NEW.conversation_id) THEN
        INSERT INTO agent_metrics_internal.changes (agent_id, conversation_id)
        VALUES (NEW.agent_id, NEW.conversation_id);
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.log_fact() IS
    'Trigger: logs the conversation that a fact is about, before and after.';
REVOKE ALL ON FUNCTION agent_metrics_internal.log_fact() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.check_turn_score() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.score IS NULL OR NOT NEW.score BETWEEN 0 AND 1 THEN
        RAISE EXCEPTION 'impossible score %', coalesce(NEW.score::text, 'NULL')
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'A score lies between 0 and 1.',
                  HINT = 'Divide a score of 4 out of 5 first: 0.8.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_turn_score() IS
    'Trigger: refuses a score that cannot be, and names it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_turn_score() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.check_survey_answer() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.score IS NULL OR NOT NEW.score BETWEEN 0 AND 10 THEN
        RAISE EXCEPTION 'impossible answer %', coalesce(NEW.score::text, 'NULL')
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'The question has answers from 0 to 10.',
                  HINT = 'A survey on another scale is no NPS; do not load it here.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_survey_answer() IS
    'Trigger: refuses an answer that cannot be, and names it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_survey_answer() FROM PUBLIC;

CREATE OR REPLACE FUNCTION agent_metrics_internal.check_review() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
BEGIN
    IF NEW.weight IS NULL OR NEW.weight = 'NaN' OR NOT (NEW.weight > 0 AND NEW.weight <= 1e9) THEN
        RAISE EXCEPTION 'impossible weight %', coalesce(NEW.weight::text, 'NULL')
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'A review stands for one conversation or more: its weight is 1 / the chance that '
                           'it had to be drawn.',
                  HINT = 'Leave weight out (1) where every conversation was reviewed; one of twenty drawn weighs 20.';
    END IF;
    IF NEW.answer_verdict NOT IN ('supported', 'unsupported', 'contradicted', 'refused') THEN
        RAISE EXCEPTION 'unknown verdict "%"', NEW.answer_verdict
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'The verdicts on a factual answer are supported, unsupported, contradicted and refused.',
                  HINT = 'Leave answer_verdict NULL where the answer states no fact.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_review() IS
    'Trigger: refuses a weight or a verdict that cannot be, and names it.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_review() FROM PUBLIC;

-- With the owner's rights, for a writer may read neither turns nor metrics. A row that a metric could not count is
-- refused here: stored, it would take the number's interval away. Where the turn is not here yet, the conversation has
-- to be named.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_measurement() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    wrong text := CASE
        WHEN NEW.numerator IS NULL OR NOT abs(NEW.numerator) < 1e12
            THEN 'numerator ' || coalesce(NEW.numerator::text, 'NULL')
        WHEN NEW.denominator IS NULL OR NOT (NEW.denominator >= 0 AND NEW.denominator < 1e12)
            THEN 'denominator ' || coalesce(NEW.denominator::text, 'NULL')
        WHEN NEW.weight IS NULL OR NOT (NEW.weight > 0 AND NEW.weight <= 1e9)
            THEN 'weight ' || coalesce(NEW.weight::text, 'NULL') END;
    metric record;
BEGIN
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'impossible % of measure "%"', left(wrong, 100), left(NEW.measure, 256)
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = 'A numerator lies between -1e12 and 1e12, a denominator between 0 and 1e12, a weight is '
                           'above 0 and at most 1e9.',
                  HINT = 'What is not known is no row; what counts for nothing is none either.';
    END IF;
    IF coalesce(btrim(NEW.measure), '') = '' OR NEW.measure = ANY (agent_metrics_internal.shipped_measures()) THEN
        RAISE EXCEPTION 'impossible measure "%"', coalesce(NEW.measure, 'NULL')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = CASE WHEN NEW.measure = ANY (agent_metrics_internal.shipped_measures())
                                THEN 'The extension counts a measure of that name itself, from tables of its own.'
                                ELSE 'A measure has a name, by which a metric finds it.' END,
                  HINT = 'Choose a name of your own, such as csat; docs/recipes/add-a-metric.md has examples.';
    END IF;
    IF NEW.conversation_id IS NULL THEN
        NEW.conversation_id := (SELECT e.conversation_id FROM agent_metrics.agent_events e
                                WHERE e.agent_id = NEW.agent_id AND e.occurred_at = NEW.occurred_at
                                  AND e.event_id = NEW.event_id);
        IF NEW.conversation_id IS NULL THEN
            RAISE EXCEPTION 'measurement "%" of agent "%" names no conversation', NEW.measure, NEW.agent_id
                USING ERRCODE = 'not_null_violation',
                      DETAIL = CASE WHEN NEW.event_id IS NULL THEN 'It names no turn either.'
                                    ELSE format('No turn %s at %s is here.', NEW.event_id, NEW.occurred_at) END,
                      HINT = 'Name conversation_id; or agent_id, occurred_at and event_id of a turn that is here.';
        END IF;
    END IF;
    SELECT m.metric, m.fraction IS NULL AS is_share INTO metric
    FROM agent_metrics.metrics m
    WHERE m.source = 'measurements' AND m.measure = NEW.measure
      AND NOT agent_metrics_internal.is_countable(m.interval_method, NEW.numerator, NEW.denominator)
    ORDER BY m.metric LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'impossible numerator % of measure "%"', NEW.numerator, NEW.measure
            USING ERRCODE = 'numeric_value_out_of_range',
                  DETAIL = CASE WHEN metric.is_share
                                THEN format('Metric %s is a share: its numerator lies between 0 and its denominator, '
                                            'which is %s.', metric.metric, NEW.denominator)
                                ELSE format('Metric %s is a percentile, whose values are not negative.', metric.metric)
                           END,
                  HINT = 'A score of 4 out of 5 is numerator 4, denominator 5; or define the metric as a mean.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_measurement() IS
    'Trigger: refuses a measurement that no metric could count, and names the conversation of a turn.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_measurement() FROM PUBLIC;

-- A word that is misspelt would mean nothing, and nobody would be told.
CREATE OR REPLACE FUNCTION agent_metrics_internal.check_span_word() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    meanings constant text[] := agent_metrics_internal.span_meanings();
BEGIN
    IF NEW.meaning <> ALL (meanings) OR NEW.meaning IS NULL THEN
        RAISE EXCEPTION 'unknown meaning "%" of attribute "%"', coalesce(NEW.meaning, 'NULL'), NEW.attribute
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('An attribute means one of %s.', array_to_string(meanings, ', ')),
                  HINT = 'INSERT INTO agent_metrics.span_vocabulary (attribute, meaning) '
                         'VALUES (''service.name'', ''agent_name'');';
    END IF;
    IF agent_metrics_internal.is_content(NEW.attribute) THEN
        RAISE EXCEPTION 'attribute "%" holds what was said', NEW.attribute
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'Prompts, answers, arguments and results of tools are never stored.',
                  HINT = 'Have the producer write what you want to measure into an attribute of its own.';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_span_word() IS
    'Trigger: refuses a meaning that is none, and an attribute that holds what was said in a conversation.';
REVOKE ALL ON FUNCTION agent_metrics_internal.check_span_word() FROM PUBLIC;
