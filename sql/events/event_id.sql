-- The id of a turn that its producer gave none.

CREATE FUNCTION agent_metrics.new_event_id() RETURNS uuid
    LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION agent_metrics.new_event_id() IS 'A new uuid of version 7, whose order is that of its making.';
