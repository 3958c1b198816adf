-- Everybody may call the members, which run with their caller's rights. What they read and write is granted by
-- grant_access(), and functions with the owner's rights are made by setup() and revoked from PUBLIC. (Who may use a schema
-- can lock its tables by naming them in PREPARE: so nothing that others wait for is a lock on a table.)
GRANT USAGE ON SCHEMA agent_metrics TO PUBLIC;
COMMENT ON SCHEMA agent_metrics IS 'Types and functions of the extension agent_metrics, and the tables that people write.';
