-- The schemas: agent_metrics holds what people call and write, agent_metrics_internal all else; agent_kpi, which people
-- read, is made by setup(). None is a member of the extension, for they hold tables, which are the user's: DROP
-- EXTENSION ... CASCADE leaves them.
--
-- Everybody may call the members, which run with their caller's rights. What they read and write is granted by
-- grant_access(), and functions with the owner's rights are made by setup() and revoked from PUBLIC. (Who may use a
-- schema can lock its tables by naming them in PREPARE: so nothing that others wait for is a lock on a table.)
DO $do$
DECLARE
    owner name := (SELECT r.rolname FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
                   WHERE n.nspname = 'agent_metrics');
BEGIN
    -- a restored dump has made it already
    IF NOT EXISTS (SELECT 1 FROM pg_namespace n WHERE n.nspname = 'agent_metrics_internal') THEN
        EXECUTE format('CREATE SCHEMA agent_metrics_internal AUTHORIZATION %I', owner);
        ALTER EXTENSION agent_metrics DROP SCHEMA agent_metrics_internal;
    END IF;
END
$do$;
GRANT USAGE ON SCHEMA agent_metrics, agent_metrics_internal TO PUBLIC;
COMMENT ON SCHEMA agent_metrics IS
    'What people call and write: types and functions of the extension agent_metrics, and tables.';
COMMENT ON SCHEMA agent_metrics_internal IS
    'What the extension agent_metrics needs itself: no promise is made about it, and any version may change it.';
