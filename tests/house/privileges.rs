//! Who may call and read what, tried as everybody, a reader, a writer and an admin, against `golden/privileges.txt`,
//! and the table in SECURITY.md. After a change that is meant: `make privileges` writes both anew.

use std::collections::BTreeMap;

use crate::support::golden::{held_against, path};
use crate::support::{Db, Session, db, login};

const ROLES: [&str; 4] = ["everybody", "reader", "writer", "admin"];

/// Roles of a database, one a level; everybody is one that has none.
fn roles(db: &Db) -> Vec<(String, Session)> {
    ROLES
        .iter()
        .map(|level| {
            let (name, session) = login(db, level);
            if *level != "everybody" {
                db.exec(&format!(
                    "SELECT agent_metrics.grant_access('{name}', '{level}')"
                ));
            }
            (name, session)
        })
        .collect()
}

fn drop_roles(db: &Db, roles: Vec<(String, Session)>) {
    for (name, session) in roles {
        drop(session);
        db.exec(&format!(
            "SELECT agent_metrics.revoke_access('{name}'); DROP OWNED BY {name}; DROP ROLE {name}"
        ));
    }
}

/// One object and what each role may do with it, as letters; what it may do with some columns only stands in brackets.
struct Line {
    what: String,
    rights: Vec<String>,
}

/// Partitions and sequences apart, whose names are not ours to choose.
fn lines(db: &Db, roles: &[(String, Session)]) -> Vec<Line> {
    let names: Vec<&str> = roles.iter().map(|(name, _)| name.as_str()).collect();
    let each = |right: &dyn Fn(&str) -> String| -> String {
        names
            .iter()
            .map(|name| right(&format!("'{name}'")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let letters = |tests: Vec<(String, &str)>| -> String {
        let cases: Vec<String> = tests
            .into_iter()
            .map(|(test, letter)| format!("CASE WHEN {test} THEN '{letter}' ELSE '' END"))
            .collect();
        format!("coalesce(nullif({}, ''), '-')", cases.join(" || "))
    };
    let schema = each(&|role| {
        letters(vec![
            (
                format!("has_schema_privilege({role}, n.oid, 'USAGE')"),
                "use ",
            ),
            (
                format!("has_schema_privilege({role}, n.oid, 'CREATE')"),
                "CREATE",
            ),
        ])
    });
    let function = each(&|role| {
        letters(vec![(
            format!("has_function_privilege({role}, p.oid, 'EXECUTE')"),
            "call",
        )])
    });
    let relation = each(&|role| {
        let mut tests = Vec::new();
        for (privilege, letter, part) in [
            ("SELECT", "read ", "(read) "),
            ("INSERT", "add ", "(add) "),
            ("UPDATE", "change ", "(change) "),
            ("REFERENCES", "REFERENCES ", "(REFERENCES) "),
        ] {
            tests.push((
                format!("has_table_privilege({role}, c.oid, '{privilege}')"),
                letter,
            ));
            tests.push((
                format!(
                    "NOT has_table_privilege({role}, c.oid, \
                     '{privilege}') AND has_any_column_privilege({role}, c.oid, '{privilege}')"
                ),
                part,
            ));
        }
        for (privilege, letter) in [
            ("DELETE", "delete "),
            ("TRUNCATE", "TRUNCATE "),
            ("TRIGGER", "TRIGGER "),
        ] {
            tests.push((
                format!("has_table_privilege({role}, c.oid, '{privilege}')"),
                letter,
            ));
        }
        format!(
            "rtrim({}) || coalesce((SELECT ' but ' || string_agg(a.attname, ', ' ORDER BY a.attname)
                                    FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               AND NOT has_column_privilege({role}, c.oid, a.attnum, 'SELECT')
               AND has_any_column_privilege({role}, c.oid, 'SELECT')), '')",
            letters(tests)
        )
    });
    let sql = format!(
        "SELECT what, {0} FROM (
         SELECT 1 AS place, 'schema ' || n.nspname AS what, {schema}
         FROM pg_namespace n WHERE n.nspname IN ('agent_metrics', 'agent_kpi', 'agent_metrics_internal')
         UNION ALL
         SELECT 2, CASE c.relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || c.oid::regclass, {relation}
         FROM pg_class c
         WHERE c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_kpi'::regnamespace,
                                  'agent_metrics_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
           AND NOT c.relispartition
         UNION ALL
         SELECT 3, format('%s %s%s',
                          CASE WHEN p.prosecdef THEN 'owner''s function' WHEN m.is THEN 'member' ELSE 'function' END,
                          p.oid::regprocedure, CASE WHEN p.prorettype = 'trigger'::regtype THEN ' trigger' ELSE '' END),
                {function}
         FROM pg_proc p
         CROSS JOIN LATERAL (
             SELECT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') AS is) m
         WHERE p.pronamespace IN ('agent_metrics'::regnamespace, 'agent_kpi'::regnamespace,
                                  'agent_metrics_internal'::regnamespace)) AS x (place, what, {0})
         ORDER BY place, what COLLATE \"C\"",
        "r1, r2, r3, r4"
    );
    db.rows(&sql)
        .into_iter()
        .map(|row| {
            let mut fields = row.into_iter().map(Option::unwrap_or_default);
            let what = fields.next().unwrap();
            Line {
                what,
                rights: fields.map(|right| right.trim().to_owned()).collect(),
            }
        })
        .collect()
}

#[test]
fn who_may_call_and_read_what_is_what_the_table_says() {
    let db = db("privileges_table");
    let roles = roles(&db);
    let lines = lines(&db, &roles);
    let mut text = format!(
        "# What each role may do. Written by: make privileges. In brackets: with some columns only.\n# {}\n",
        ROLES.join(" | ")
    );
    for line in &lines {
        text += &format!("{} | {}\n", line.what, line.rights.join(" | "));
    }
    held_against("tests/golden/privileges.txt", &text);

    // Words of the catalogue are one thing, so each is tried.
    let mut tried = 0;
    for line in &lines {
        let (kind, name) = line.what.split_once(' ').unwrap();
        for (right, (role, session)) in line.rights.iter().zip(&roles) {
            let (sql, allowed) = match kind {
                "view" | "table" => (
                    format!("SELECT count(*) FROM (SELECT FROM {name} LIMIT 0) x"),
                    right.contains("read"),
                ),
                _ => continue,
            };
            match session.attempt(&sql) {
                Ok(()) => assert!(allowed, "{role}: {sql}"),
                Err(error) => assert!(
                    !allowed && error.sqlstate == "42501",
                    "{role}: {sql}: {error}"
                ),
            }
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
    drop_roles(&db, roles);
}

/// Functions that can be called, with arguments of NULL of their types.
fn calls(db: &Db) -> Vec<(String, String)> {
    db.rows(
        "SELECT p.oid::regprocedure,
                format('SELECT %s(%s)', p.oid::regproc,
                       (SELECT string_agg(format('NULL::%s', format_type(a.type, NULL)), ', ' ORDER BY a.place)
                        FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (type, place)))
         FROM pg_proc p
         WHERE p.pronamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
           AND p.prokind IN ('f', 'a') AND p.prorettype <> 'trigger'::regtype
           AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) AS a (type) JOIN pg_type t ON t.oid = a.type
                           WHERE t.typtype = 'p' AND t.typname NOT IN ('anyelement', 'cstring'))
           AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = p.prorettype AND t.typname = 'internal')
         ORDER BY 1",
    )
    .into_iter()
    .map(|row| {
        let mut fields = row.into_iter().map(Option::unwrap_or_default);
        (fields.next().unwrap(), fields.next().unwrap())
    })
    .collect()
}

#[test]
fn a_call_without_the_right_is_refused_and_a_strangers_call_changes_nothing() {
    let db = db("privileges_calls");
    let roles = roles(&db);
    let counts = |db: &Db| {
        // every table is asked by its name: a server without libxml cannot do so in one statement
        let tables = db.lines(
            "SELECT c.oid::regclass FROM pg_class c
             WHERE c.relnamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
               AND c.relkind IN ('r', 'p')
             ORDER BY 1",
        );
        let each = tables.iter().map(|table| {
            format!("SELECT '{table}', md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM {table} t")
        });
        db.lines(&(each.collect::<Vec<_>>().join(" UNION ALL ") + " ORDER BY 1"))
    };
    let before = counts(&db);
    let calls = calls(&db);
    assert!(calls.len() > 150, "{}", calls.len());
    for (function, sql) in &calls {
        for (level, (role, session)) in ROLES.iter().zip(&roles) {
            let may = db.value(&format!(
                "SELECT has_function_privilege('{role}', '{}', 'EXECUTE')",
                function.replace('\'', "''")
            ));
            session.exec("BEGIN; SET LOCAL statement_timeout = '60s'");
            let outcome = session.attempt(sql);
            let refused = outcome.as_ref().err().is_some_and(|error| {
                error.sqlstate == "42501"
                    && (error.message.starts_with("permission denied for function")
                        || error.message.starts_with("permission denied for aggregate"))
                    && error.message.ends_with(
                        function
                            .split('(')
                            .next()
                            .unwrap()
                            .rsplit('.')
                            .next()
                            .unwrap(),
                    )
            });
            assert_eq!(
                refused,
                may.as_deref() == Some("f"),
                "{role}: {sql}: {outcome:?}"
            );
            // What everybody and a reader may call they may keep; the others' calls are what they are for.
            session.exec(
                if outcome.is_ok() && matches!(*level, "everybody" | "reader") {
                    "COMMIT"
                } else {
                    "ROLLBACK"
                },
            );
        }
    }
    assert_eq!(counts(&db), before);
    drop_roles(&db, roles);
}

/// What SECURITY.md shows: objects with the same rights in one row; of the largest group of tables all others.
fn table(lines: &[Line]) -> String {
    let mut groups: BTreeMap<(u8, Vec<String>), Vec<String>> = BTreeMap::new();
    for line in lines {
        let (kind, name) = line.what.split_once(' ').unwrap();
        let rights: Vec<String> = line.rights.clone();
        // of tables whose columns differ, it is enough that some are left out
        let rights: Vec<String> = rights
            .iter()
            .map(|right| match right.split_once(" but ") {
                Some((right, _)) => format!("{right}, no stamp"),
                None => right.clone(),
            })
            .map(|right| right.replace(['(', ')'], ""))
            .collect();
        let place = match kind {
            "schema" => 1,
            "view" if name.starts_with("agent_kpi") => 2,
            "table" => 3,
            "view" => 4,
            "member" => 5,
            _ => 6,
        };
        let short = name
            .trim_start_matches("function ")
            .split('(')
            .next()
            .unwrap()
            .trim_start_matches("agent_metrics.")
            .trim_start_matches("agent_metrics_internal.");
        groups
            .entry((place, rights))
            .or_default()
            .push(short.to_owned());
    }
    let mut text = "| | everybody | reader | writer | admin |\n|---|---|---|---|---|\n".to_owned();
    for place in 1..=6_u8 {
        let of_place: Vec<_> = groups.iter().filter(|((at, _), _)| *at == place).collect();
        let largest = of_place
            .iter()
            .map(|(_, names)| names.len())
            .max()
            .unwrap_or(0);
        for ((_, rights), names) in of_place {
            let mut names = names.clone();
            names.dedup();
            let what = match place {
                1 => format!("schema `{}`", names.join("`, `")),
                2 if names.len() == largest.min(names.len())
                    && groups.keys().filter(|(at, _)| *at == 2).count() == 1 =>
                {
                    "the views of `agent_kpi`".to_owned()
                }
                2 => format!("view `{}`", names.join("`, `")),
                3 if names.len() >= 12 => "the other tables".to_owned(),
                3 => format!("`{}`", names.join("`, `")),
                4 if names.len() >= 12 => "the views of `agent_metrics_internal`".to_owned(),
                4 => format!("view `{}`", names.join("`, `")),
                5 => "functions of the extension, with the caller's own rights".to_owned(),
                _ if names.iter().all(|name| name.starts_with("kpi_")) => {
                    "`kpi_...()`, which the views call with the owner's rights".to_owned()
                }
                _ if rights.iter().all(|right| right == "-") => {
                    "functions that triggers or other functions call with the owner's rights"
                        .to_owned()
                }
                _ => format!("`{}()`", names.join("()`, `")),
            };
            text += &format!("| {what} | {} |\n", rights.join(" | "));
        }
    }
    text
}

#[test]
fn security_md_says_which_role_can_do_what() {
    let db = db("privileges_security");
    let roles = roles(&db);
    let table = table(&lines(&db, &roles));
    drop_roles(&db, roles);
    let kept = std::fs::read_to_string(path("SECURITY.md")).unwrap();
    let (head, rest) = kept
        .split_once("<!-- roles: written by make privileges -->\n")
        .unwrap();
    let (_, tail) = rest.split_once("<!-- end of roles -->").unwrap();
    held_against(
        "SECURITY.md",
        &format!(
            "{head}<!-- roles: written by make privileges -->\n{table}<!-- end of roles -->{tail}"
        ),
    );
}
