//! docs/reference is made from COMMENT ON, and says what the comments say.

use std::fmt::Write;
use std::path::Path;

use crate::support::{Db, db};

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// The head of a page: what it is and where it comes from.
fn head(title: &str, what: &str) -> String {
    format!("# {title}\n\n{what} Written by `make docs` from the comments in the database.\n")
}

/// Functions and aggregates that are not internal, one a row; those of several types of argument stand once each.
fn functions(db: &Db) -> String {
    let mut page = head(
        "Functions",
        "Functions and aggregates of schema `agent_metrics`. Arguments with DEFAULT may be left out.",
    );
    page.push_str("\n| function | returns | what it does |\n|---|---|---|\n");
    for row in db.rows(
        "SELECT p.proname, pg_get_function_arguments(p.oid),
                CASE WHEN p.prokind = 'a' THEN 'aggregate: ' ELSE '' END
                || coalesce(pg_get_function_result(p.oid), ''), obj_description(p.oid, 'pg_proc')
         FROM pg_proc p WHERE p.pronamespace = 'agent_metrics'::regnamespace
           AND obj_description(p.oid, 'pg_proc') !~ 'Internal'
           AND p.prorettype <> 'trigger'::regtype
           AND p.proname !~ '^(quantile_sketch|rate)_|^kpi_(?!cost_reconciliation|unpriced_models)|'
                            '_(accumulate|dismiss|final|combine|serialize|deserialize)'
         ORDER BY p.proname, 2",
    ) {
        let [name, arguments, result, comment] = &row[..] else {
            panic!("{row:?}")
        };
        let of = |value: &Option<String>| {
            cell(value.as_deref().unwrap_or("")).replace("agent_metrics.", "")
        };
        let _ = writeln!(
            page,
            "| `{}({})` | `{}` | {} |",
            of(name),
            of(arguments),
            of(result),
            cell(comment.as_deref().unwrap_or(""))
        );
    }
    page
}

/// Relations of a schema with their columns.
fn relations(db: &Db, schema: &str, kinds: &str, title: &str, what: &str) -> String {
    let mut page = head(title, what);
    for relation in db.rows(&format!(
        "SELECT c.relname, obj_description(c.oid, 'pg_class') FROM pg_class c
         WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ({kinds}) AND NOT c.relispartition ORDER BY 1"
    )) {
        let [Some(name), Some(comment)] = &relation[..] else {
            panic!("{relation:?} has no comment")
        };
        let _ = write!(
            page,
            "\n## {name}\n\n{comment}\n\n| column | type | what it is |\n|---|---|---|\n"
        );
        for column in db.rows(&format!(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum)
             FROM pg_attribute a
             WHERE a.attrelid = '{schema}.{name}'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        )) {
            let of = |at: usize| cell(column[at].as_deref().unwrap_or(""));
            let _ = writeln!(
                page,
                "| `{}` | {} | {} |",
                of(0),
                of(1).replace("agent_metrics.", ""),
                of(2)
            );
        }
    }
    page
}

/// The metric catalogue as it ships.
fn metrics(db: &Db) -> String {
    let mut page = head(
        "Metrics",
        "The catalogue as it ships; `agent_metrics.metrics` has yours.",
    );
    page.push_str("\n| metric | class | unit | better | definition |\n|---|---|---|---|---|\n");
    for row in db.rows(
        "SELECT metric, metric_class, unit, CASE direction WHEN '+' THEN 'higher' ELSE 'lower' END, definition
         FROM agent_metrics.metrics ORDER BY metric_class, position, metric",
    ) {
        let of = |at: usize| cell(row[at].as_deref().unwrap_or(""));
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            of(0),
            of(1),
            of(2),
            of(3),
            of(4)
        );
    }
    page
}

#[test]
fn the_reference_is_what_the_comments_say() {
    let db = db("reference");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    for (file, page) in [
        ("functions.md", functions(&db)),
        (
            "tables.md",
            relations(
                &db,
                "agent_metrics",
                "'r', 'p'",
                "Tables",
                "Tables of schema `agent_metrics`; [ingest](../ingest.md) says which people write.",
            ),
        ),
        (
            "views.md",
            relations(
                &db,
                "agent_kpi",
                "'v'",
                "Views",
                "Views of schema `agent_kpi`, which BI tools read.",
            ),
        ),
        ("metrics.md", metrics(&db)),
    ] {
        let path = folder.join(file);
        if std::env::var_os("AGENT_METRICS_WRITE").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &page).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        let differing = there
            .lines()
            .zip(page.lines())
            .find(|(there, here)| there != here);
        assert!(
            there == page,
            "docs/reference/{file} is out of date: make docs writes it; first: {differing:?}"
        );
    }
}

/// A link to a file of this repository leads somewhere.
#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<_> = [
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "sql/README.md",
        "tests/README.md",
    ]
    .iter()
    .map(|page| root.join(page))
    .collect();
    for folder in ["docs", "docs/recipes", "docs/reference"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        pages.extend(entries.map(|entry| entry.unwrap().path()));
    }
    let mut looked_at = 0;
    for page in pages
        .iter()
        .filter(|page| page.extension().is_some_and(|of| of == "md"))
    {
        let text = std::fs::read_to_string(page).unwrap();
        for rest in text.split("](").skip(1) {
            let link = rest.split([')', '#']).next().unwrap();
            if link.is_empty() || link.contains("://") {
                continue;
            }
            assert!(
                page.parent().unwrap().join(link).exists(),
                "{}: {link}",
                page.display()
            );
            looked_at += 1;
        }
    }
    assert!(looked_at > 20, "{looked_at}");
}
