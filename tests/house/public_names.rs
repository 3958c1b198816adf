//! What people call, write and read is written down in `golden/public.txt`, so that it grows on purpose. After a change
//! that is meant: `make privileges` writes it anew.

use crate::support::db;
use crate::support::golden::held_against;

#[test]
fn the_public_surface_is_what_the_file_says() {
    let names = db("public_names").lines(
        "SELECT x.line FROM (
             SELECT 1 AS place,
                    format('%s %s(%s) returns %s', CASE p.prokind WHEN 'a' THEN 'aggregate' ELSE 'function' END,
                           p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)) AS line
             FROM pg_proc p WHERE p.pronamespace = 'agent_metrics'::regnamespace
             UNION ALL
             SELECT 2, format('operator %s (%s, %s)', o.oprname, format_type(o.oprleft, NULL),
                              format_type(o.oprright, NULL))
             FROM pg_operator o WHERE o.oprnamespace = 'agent_metrics'::regnamespace
             UNION ALL
             SELECT 3, format('type %s', t.typname) FROM pg_type t
             WHERE t.typnamespace = 'agent_metrics'::regnamespace AND t.typtype = 'b' AND t.typelem = 0
             UNION ALL
             -- of a view the place of a column is promised too
             SELECT CASE c.relkind WHEN 'c' THEN 3 WHEN 'v' THEN 5 ELSE 4 END,
                    format('%s %s (%s)', CASE c.relkind WHEN 'c' THEN 'type' WHEN 'v' THEN 'view' ELSE 'table' END,
                           CASE c.relkind WHEN 'v' THEN format('%s.%s', n.nspname, c.relname) ELSE c.relname END,
                           (SELECT string_agg(
                                format('%s %s', a.attname, format_type(a.atttypid, NULL)), ', ' ORDER BY a.attnum)
                            FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname IN ('agent_metrics', 'agent_kpi') AND c.relkind IN ('r', 'p', 'v', 'm', 'c', 'f')
               AND NOT c.relispartition) x
         ORDER BY x.place, x.line COLLATE \"C\"",
    );
    let text = format!(
        "# What people call, write and read: schemas agent_metrics and agent_kpi. Written by: make privileges.\n{}\n",
        names.join("\n")
    );
    held_against("tests/golden/public.txt", &text);
}
