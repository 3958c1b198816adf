//! How long things are: a line, a file, a statement, a list of arguments. What is longer says why.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::db;

/// Columns of a line, lines of a file, lines and CTEs of a statement, arguments of a function.
const MOST_COLUMNS: usize = 120;
const MOST_LINES: usize = 500;
const MOST_STATEMENT_LINES: usize = 60;
const MOST_CTES: usize = 8;

/// Files that are longer, with the reason.
const LONGER: [(&str, &str); 2] = [
    ("src/extension/abi.rs", "the one file with unsafe"),
    ("src/measures/cadence.rs", "its tests are two fifths of it"),
];

/// Every file below a folder that ends so.
pub fn files(folder: &str, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if ends
                .iter()
                .any(|end| path.extension().is_some_and(|is| is == *end))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(env!("CARGO_MANIFEST_DIR"))
        .unwrap()
        .display()
        .to_string()
}

#[test]
fn no_line_is_too_long() {
    let mut wrong = Vec::new();
    for folder in ["sql", "src", "tests", "benches"] {
        for path in files(folder, &["sql", "rs"]) {
            for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
                if line.chars().count() > MOST_COLUMNS {
                    wrong.push(format!("{}:{}", name(&path), number + 1));
                }
            }
        }
    }
    assert_eq!(
        wrong,
        Vec::<String>::new(),
        "lines of more than {MOST_COLUMNS} columns"
    );
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for folder in ["sql", "src", "tests", "benches"] {
        for path in files(folder, &["sql", "rs"]) {
            let file = name(&path);
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            if lines > MOST_LINES && LONGER.iter().all(|(longer, _)| *longer != file) {
                wrong.push(format!("{file}: {lines}"));
            }
        }
    }
    assert_eq!(
        wrong,
        Vec::<String>::new(),
        "files of more than {MOST_LINES} lines"
    );
}

/// Whether a statement ends with this line, or what is before one: the head of a function or block.
fn ends(line: &str) -> bool {
    let code = line.split("--").next().unwrap_or_default().trim();
    let first = code.split_whitespace().next().unwrap_or_default();
    code.ends_with(';')
        || code.ends_with("$function$")
        || code.ends_with("$do$")
        || code.ends_with("$create$")
        || matches!(
            code,
            "BEGIN" | "DECLARE" | "ELSE" | "LOOP" | "EXCEPTION" | "#variable_conflict use_column"
        )
        || (matches!(first, "IF" | "ELSIF" | "WHEN" | "FOR" | "FOREACH" | "WHILE")
            && (code.ends_with(" THEN") || code.ends_with(" LOOP")))
}

/// Whether a CTE begins with this line.
fn begins_cte(line: &str) -> bool {
    let code = line.trim();
    (code.starts_with("WITH ") || code.starts_with("), "))
        && (code.ends_with(" AS (") || code.ends_with(" MATERIALIZED ("))
}

/// Statements that are too long and do not say why, as `line: lines, CTEs`.
fn too_long(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut begins, mut ctes, mut has_reason, mut is_head) = (0, 0, false, true);
    for (number, line) in text.lines().enumerate() {
        if is_head {
            // what is said before a statement is its head
            let is_comment = line.trim().starts_with("--");
            if is_comment || line.trim().is_empty() {
                has_reason = is_comment && (has_reason || line.contains("-- One statement: "));
                continue;
            }
            (is_head, begins, ctes) = (false, number, 0);
        }
        ctes += usize::from(begins_cte(line));
        if ends(line) {
            let lines = number + 1 - begins;
            if (lines > MOST_STATEMENT_LINES || ctes > MOST_CTES) && !has_reason {
                wrong.push(format!("{}: {lines} lines, {ctes} CTEs", begins + 1));
            }
            (is_head, has_reason) = (true, false);
        }
    }
    wrong
}

#[test]
fn a_long_statement_says_why_it_is_one() {
    // the rule itself sees what is too long, and the reason
    let long = format!(
        "SELECT 1\n{}FROM x;\n",
        "     , 2\n".repeat(MOST_STATEMENT_LINES)
    );
    assert_eq!(too_long(&long).len(), 1);
    assert_eq!(
        too_long(&format!("-- One statement: it is a list.\n{long}")),
        Vec::<String>::new()
    );
    let ctes = format!(
        "WITH a AS (\n    SELECT 1\n{})\nSELECT 1;\n",
        "), b AS (\n    SELECT 1\n".repeat(MOST_CTES)
    );
    assert_eq!(too_long(&ctes).len(), 1);

    let mut wrong = Vec::new();
    for path in files("sql", &["sql"]) {
        for statement in too_long(&fs::read_to_string(&path).unwrap()) {
            wrong.push(format!("{}:{statement}", name(&path)));
        }
    }
    assert_eq!(
        wrong,
        Vec::<String>::new(),
        "write -- One statement: why, before it"
    );
}

/// An aggregate takes the columns that it adds up: a record would be formed for every turn. `record_review` and
/// `define_metric` are called with names.
#[test]
fn no_function_takes_more_than_ten_arguments() {
    assert_eq!(
        db("house_arguments").lines(
            "SELECT p.proname, p.pronargs FROM pg_proc p
             WHERE p.pronamespace IN ('agent_metrics'::regnamespace, 'agent_metrics_internal'::regnamespace)
               AND p.pronargs > 10 ORDER BY p.proname COLLATE \"C\""
        ),
        ["define_metric|15", "record_review|11", "sum_turns|18", "turn_sums_accumulate|19"]
    );
}
