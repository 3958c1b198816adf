-- The triggers on our own tables: after every script that makes one.

-- Makes the triggers that are missing and has all of ours fire always: a restore that disables triggers, and enables
-- them again, leaves them firing for ordinary sessions alone.
DO $do$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT f.relation, f.trigger_name, f.fires, f.level, f.function_name
        FROM agent_metrics_internal.fact_triggers() f
        WHERE NOT EXISTS (SELECT 1
                          FROM pg_trigger t WHERE t.tgrelid = f.relation::regclass AND t.tgname = f.trigger_name)
    LOOP
        EXECUTE format('CREATE TRIGGER %I %s ON %s FOR EACH %s EXECUTE FUNCTION %s()', one.trigger_name, one.fires,
                       one.relation, one.level, one.function_name);
    END LOOP;
    FOR one IN
        SELECT c.oid::regclass AS relation, t.tgname FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
         -- a partition may lie elsewhere
         AND (c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
              OR c.oid IN (SELECT p.relid FROM pg_partition_tree('agent_metrics.agent_events') p)
                 AND pg_has_role(c.relowner, 'USAGE'))
        JOIN pg_proc p ON p.oid = t.tgfoid
         AND p.pronamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
        WHERE t.tgenabled <> 'A'
          -- these make rows that a replication brings by itself, or ask for rows that it may bring later
          AND p.proname NOT IN ('follow_kind_threshold', 'own_threshold', 'version_definition', 'alert_breach',
                                'check_event_kind', 'check_benchmark')
        ORDER BY c.relkind DESC, c.relname, t.tgname
    LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', one.relation, one.tgname);
    END LOOP;
END
$do$;
