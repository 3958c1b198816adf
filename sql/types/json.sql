-- Walks through JSON that do not recurse, and bounds of what is stored beside the facts, whose rows check_row() bounds.

CREATE FUNCTION agent_metrics_internal.json_depth(document jsonb) RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.json_depth(jsonb) IS
    'How deep a document is nested: 0 for a scalar, 1 for a list or an object of scalars. It does not recurse.';

CREATE FUNCTION agent_metrics_internal.json_size(document jsonb) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.json_size(jsonb) IS 'Bytes of a document as it is unpacked.';

CREATE FUNCTION agent_metrics_internal.json_names(document text, id text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.json_names(text, text) IS
    'Whether a string, a number or a key of a document is the given id, also in documents that strings hold as text. '
    'It does not recurse, and takes JSON that was cut off. Internal: erase_user() uses it.';

CREATE FUNCTION agent_metrics_internal.check_json(document jsonb, what text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics_internal.check_json(jsonb, text) IS
    'True, or an error when a document has more than 64 levels.';

CREATE FUNCTION agent_metrics_internal.check_length(value text, what text, most integer) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'check_length_of';
COMMENT ON FUNCTION agent_metrics_internal.check_length(text, text, integer) IS
    'True, or an error when a text has more than so many bytes.';
