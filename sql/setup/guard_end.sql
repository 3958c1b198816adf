-- The schema may have been its installer's before, and he may have put something there while this script ran.
DO $guard$
DECLARE
    thing text;
BEGIN
    SELECT pg_catalog.min(pg_catalog.pg_describe_object(d.classid, d.objid, 0)) INTO thing
    FROM pg_catalog.pg_depend d
    WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
      AND d.refobjid IN ('agent_metrics'::pg_catalog.regnamespace, 'agent_metrics_internal'::pg_catalog.regnamespace)
      AND d.classid NOT IN ('pg_catalog.pg_extension'::pg_catalog.regclass,
                            'pg_catalog.pg_default_acl'::pg_catalog.regclass,
                            'pg_catalog.pg_publication_namespace'::pg_catalog.regclass)
      AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend m
                      WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e');
    IF thing IS NOT NULL THEN
        RAISE EXCEPTION 'something came into the extension''s schemas while it was installed: %', thing
            USING ERRCODE = 'duplicate_schema',
                  DETAIL = 'What is being installed could have been led to call it.',
                  HINT = 'Drop the schema, and say CREATE EXTENSION agent_metrics again: it makes the schema.';
    END IF;
END
$guard$;
