\echo Use "CREATE EXTENSION agent_metrics" to load this file. \quit

-- The pure functions are for everybody; what reads or writes tables is revoked from PUBLIC below where it is made.
GRANT USAGE ON SCHEMA agent_metrics TO PUBLIC;
COMMENT ON SCHEMA agent_metrics IS 'Types and functions of the extension agent_metrics, and the tables that people write.';
