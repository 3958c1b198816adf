-- Dimensions: by what the work of agents is divided, and where the name of a segment comes from.

-- Longer names are cut at a character: an index row would not hold them.
CREATE FUNCTION agent_metrics_internal.segment_name(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN value IS NULL OR value = '' THEN '(none)'
            WHEN octet_length(value) <= 256 THEN value
            ELSE (SELECT left(value, max(n)) FROM generate_series(1, 253) AS n
                  WHERE octet_length(left(value, n)) <= 253) || '...' END;
COMMENT ON FUNCTION agent_metrics_internal.segment_name(text) IS
    'Name of the segment that a value belongs to: itself, (none) of NULL and of nothing, or its first 253 bytes and '
    'three dots. Internal: segments are made with it.';

-- Whether a column of agent_events can be read as a name without running code that somebody else made.
CREATE FUNCTION agent_metrics_internal.is_dimension_column(name text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
               JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
               WHERE n.nspname = 'agent_metrics' AND c.relname = 'agent_events' AND a.attname = name AND a.attnum > 0
                 AND (a.atttypid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'boolean'::regtype,
                                     'smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
                      OR t.typtype = 'e'));
COMMENT ON FUNCTION agent_metrics_internal.is_dimension_column(text) IS
    'Whether agent_events has a column of that name whose values are names. Internal: dimensions are checked and read '
    'by it.';

CREATE FUNCTION agent_metrics_internal.check_dimension() RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    -- what names a person, a turn or a conversation, or is said of each turn anew, divides nothing
    refused constant text[] := ARRAY['agent_id', 'user_id', 'customer_id', 'conversation_id', 'business_event_id',
                                     'event_id', 'error', 'enduser.id', 'user.id'];
    wrong   text;
BEGIN
    wrong := CASE
        WHEN NEW.dimension !~ '^[a-z][a-z0-9_]{0,62}$' THEN 'its name is small letters, digits and _, 63 at most'
        WHEN NEW.attribute = '' OR octet_length(NEW.attribute) > 256
            THEN 'attribute is the name of a column or key, 256 bytes at most'
        WHEN NEW.attribute = ANY (refused)
            THEN format('%s names a person, a conversation or a turn: such segments would name people, or divide '
                        'nothing', NEW.attribute)
        WHEN NEW.source = 'event_column' AND NEW.is_active
         AND NOT agent_metrics_internal.is_dimension_column(NEW.attribute)
            THEN format('agent_events has no column %s of type text, boolean, integer or an enum', NEW.attribute) END;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'dimension "%" cannot be followed: %', NEW.dimension, wrong
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A dimension takes its segments from a column of agent_events (event_column), a key of its '
                           'attributes (event_attribute) or a key of detail of business events (business_event).',
                  HINT = 'INSERT INTO agent_metrics.dimensions (dimension, source, attribute, is_active) '
                         'VALUES (''region'', ''event_attribute'', ''region'', true);';
    END IF;
    RETURN NEW;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.check_dimension() IS
    'Trigger: refuses a dimension that nothing could be divided by, or that would name people.';

-- The dimensions that are switched on. reads: an expression over a turn e; NULL: the value is of the conversation.
CREATE FUNCTION agent_metrics_internal.active_dimensions()
RETURNS TABLE (dimension text, source text, attribute text, followed_segments integer, reads text)
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $function$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.dimension, d.source, d.attribute, d.followed_segments,
           CASE WHEN d.source = 'event_attribute' THEN format('e.attributes ->> %L', d.attribute)
                WHEN d.source = 'business_event' THEN NULL
                WHEN agent_metrics_internal.is_dimension_column(d.attribute) THEN format('e.%I::text', d.attribute)
                -- dropped since: a refresh goes on, and nothing has a value
                ELSE 'NULL::text' END
    FROM agent_metrics.dimensions d WHERE d.is_active ORDER BY d.dimension;
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.active_dimensions() IS
    'Dimensions that are switched on, and how a turn is asked for its value. Internal: segments are made with it.';

CREATE FUNCTION agent_metrics_internal.segment_settings() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
BEGIN
    RETURN (SELECT md5(string_agg(format('%s %s %s %s', d.dimension, d.source, d.attribute, d.followed_segments), E'\n'
                                  ORDER BY d.dimension))
            FROM agent_metrics.dimensions d WHERE d.is_active);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.segment_settings() IS
    'The dimensions that are switched on as one word; NULL: none is. Internal: what segments are built with.';

-- A sum, so that what a refresh adds to it says nothing of what somebody else has added meanwhile.
CREATE FUNCTION agent_metrics_internal.followed_hash(dimension text, segment text) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(dimension || ' ' || segment, 0)::numeric;

CREATE FUNCTION agent_metrics_internal.followed_sum(agent_id text) RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $function$
BEGIN
    RETURN (SELECT coalesce(sum(agent_metrics_internal.followed_hash(s.dimension, s.segment)), 0)
            FROM agent_metrics.dimension_segments s WHERE s.agent_id = $1);
END
$function$;
COMMENT ON FUNCTION agent_metrics_internal.followed_hash(text, text) IS
    'A number for a followed segment. Internal: followed_sum() adds them up.';
COMMENT ON FUNCTION agent_metrics_internal.followed_sum(text) IS
    'Which segments of an agent are followed, as one number. Internal: what segments are built with.';
