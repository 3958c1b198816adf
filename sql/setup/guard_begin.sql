\echo Use "CREATE EXTENSION agent_metrics" or "ALTER EXTENSION agent_metrics UPDATE" to load this file. \quit

-- The head of the install script, and of every update script (make puts it there). In a trusted install what follows
-- runs as a superuser, in schemas that others may own: nothing is found there by its name, and a schema that holds
-- what somebody else made, or that somebody else may fill, is not taken.
-- So that this is enough, no script calls a function or operator of ours while it runs.
SET LOCAL search_path = pg_catalog, pg_temp;

DO $guard$
DECLARE
    ours      record;
    caller    oid;
    stranger  record;
    is_update boolean;
    kind      text;
BEGIN
    SELECT e.oid, e.extowner, r.rolname, r.rolsuper INTO ours
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_roles r ON r.oid = e.extowner WHERE e.extname = 'agent_metrics';
    is_update := EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                         WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = ours.oid
                           AND d.deptype = 'e');
    IF is_update THEN
        -- The script may run as a superuser, so current_user does not say who called.
        SELECT r.oid INTO caller FROM pg_catalog.pg_roles r
        WHERE r.rolname = CASE WHEN pg_catalog.current_setting('role') <> 'none'
                               THEN pg_catalog.current_setting('role')::name
                               ELSE session_user END;
    ELSE
        caller := ours.extowner;
    END IF;
    FOR stranger IN
        SELECT n.oid, n.nspname, n.nspowner, o.rolname AS owner, c.rolname AS caller, c.rolsuper,
               -- what lies in the schema, members and, at an update, the owner's apart
               (SELECT pg_catalog.min(pg_catalog.pg_describe_object(d.classid, d.objid, 0)) FROM pg_catalog.pg_depend d
                WHERE d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid
                  AND d.classid NOT IN ('pg_catalog.pg_extension'::pg_catalog.regclass,
                                        'pg_catalog.pg_default_acl'::pg_catalog.regclass,
                                        'pg_catalog.pg_publication_namespace'::pg_catalog.regclass)
                  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend m
                                  WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e'
                                    AND m.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
                                    AND m.refobjid = ours.oid)
                  AND NOT (is_update AND n.nspowner = coalesce((SELECT s.refobjid FROM pg_catalog.pg_shdepend s
                           WHERE s.dbid = (SELECT b.oid FROM pg_catalog.pg_database b
                                           WHERE b.datname = pg_catalog.current_database())
                             AND s.classid = d.classid AND s.objid = d.objid AND s.deptype = 'o'), 10))) AS thing,
               (SELECT pg_catalog.min(coalesce(g.rolname, 'PUBLIC')) FROM pg_catalog.aclexplode(n.nspacl) a
                LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
                WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner) AS also_creates
        FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_roles o ON o.oid = n.nspowner
        JOIN pg_catalog.pg_roles c ON c.oid = caller
        WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal')
        ORDER BY n.nspname = 'agent_metrics' DESC, n.nspname DESC
    LOOP
        IF stranger.thing IS NOT NULL THEN
            RAISE EXCEPTION 'schema % holds something that is not of the extension agent_metrics: %',
                stranger.nspname, stranger.thing
                USING ERRCODE = CASE WHEN is_update THEN 'object_not_in_prerequisite_state' ELSE 'duplicate_schema' END,
                      DETAIL = CASE WHEN is_update
                                    THEN 'It is neither a member of the extension nor the schema owner''s, '
                                         'and the extension could be led to call it.'
                                    ELSE 'The extension could be led to call it, with the rights of whoever '
                                         'uses the extension.' END,
                      HINT = CASE WHEN is_update THEN 'Drop it, or make it the schema owner''s.'
                                  ELSE pg_catalog.format(
                                      'Move the schema away with ALTER SCHEMA %I RENAME TO ..., or drop it, '
                                      'and say CREATE EXTENSION again: it makes the schema.',
                                      stranger.nspname) END;
        END IF;
        IF stranger.also_creates IS NOT NULL AND NOT is_update THEN
            RAISE EXCEPTION 'others than its owner may create in schema %: %', stranger.nspname, stranger.also_creates
                USING ERRCODE = 'duplicate_schema',
                      DETAIL = 'Whoever may create in it could lead the extension to call what he made.',
                      HINT = pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %s;', stranger.nspname,
                                               CASE stranger.also_creates
                                                   WHEN 'PUBLIC' THEN 'PUBLIC'
                                                   ELSE pg_catalog.quote_ident(stranger.also_creates) END);
        END IF;
        IF stranger.nspowner <> caller THEN
            -- A superuser restores a dump, or updates what he restored: the schemas are those of their
            -- owner in the dump.
            IF stranger.rolsuper AND ours.extowner <> stranger.nspowner THEN
                RAISE WARNING 'schema % belongs to %, who gets what the owner of the extension would have got',
                    stranger.nspname, stranger.owner
                    USING DETAIL = 'He may make in it what other users of the extension then call.',
                          HINT = 'That is right for a restored dump. If you do not trust him: DROP EXTENSION '
                                 'agent_metrics, drop the schema, and begin anew.';
                CONTINUE;
            END IF;
            kind := CASE WHEN is_update THEN 'updates' ELSE 'installs' END;
            RAISE EXCEPTION 'schema % belongs to %, and % % the extension agent_metrics', stranger.nspname,
                stranger.owner, stranger.caller, kind
                USING ERRCODE = CASE WHEN is_update THEN 'insufficient_privilege' ELSE 'duplicate_schema' END,
                      DETAIL = 'Its owner may make in it what users of the extension then call, so he has to be the '
                               'one who ' || kind || ' it.',
                      HINT = CASE WHEN is_update
                                  THEN pg_catalog.format('Log in as %I and say ALTER EXTENSION agent_metrics UPDATE '
                                                         'there.', stranger.owner)
                                  ELSE pg_catalog.format('Drop the schema, or take it over with ALTER SCHEMA %I OWNER '
                                                         'TO %I, and say CREATE EXTENSION again.',
                                                         stranger.nspname, stranger.caller) END;
        END IF;
    END LOOP;
END
$guard$;
