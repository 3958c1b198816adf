//! The SQL of a version, script by script, and what can be taken from it to make an earlier one.

use std::fs;
use std::path::Path;

/// A script: its kind and path, as in the manifest, and its text.
#[derive(Clone)]
pub struct Script {
    pub kind: String,
    pub path: String,
    pub text: String,
}

/// All scripts of a version, in their order.
#[derive(Clone)]
pub struct Sources(pub Vec<Script>);

/// Statements as they stand, each with the comment before it. One ends with a line that ends in `;` outside of a body.
fn statements(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    let mut is_inside = false;
    for line in text.split_inclusive('\n') {
        found.last_mut().unwrap().push_str(line);
        is_inside ^=
            (line.matches("$function$").count() + line.matches("$guard$").count()) % 2 == 1;
        if !is_inside && line.trim_end().ends_with(';') {
            found.push(String::new());
        }
    }
    found
}

/// A statement without the comment before it.
fn bare(statement: &str) -> &str {
    let mut rest = statement;
    while rest.starts_with("--") || rest.starts_with('\n') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}

impl Sources {
    /// The scripts that `sql/manifest` names.
    pub fn current() -> Self {
        let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
        let manifest = fs::read_to_string(sql.join("manifest")).unwrap();
        let script = |line: &str| {
            let (kind, path) = line.split_once(' ').unwrap();
            Script {
                kind: kind.to_owned(),
                path: path.trim().to_owned(),
                text: fs::read_to_string(sql.join(path.trim())).unwrap(),
            }
        };
        let lines = manifest
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(lines.map(script).collect())
    }

    /// What `scripts/freeze` wrote of a version: what setup() ran.
    pub fn frozen(folder: &Path) -> Self {
        let text = fs::read_to_string(folder.join("setup.sql")).unwrap();
        let script = |part: &str| {
            let (head, text) = part.split_once('\n').unwrap();
            let (kind, path) = head.split_once(' ').unwrap();
            Script {
                kind: kind.to_owned(),
                path: path.to_owned(),
                text: format!("{text}\n"),
            }
        };
        let text = format!("\n{}", text.trim_end_matches('\n'));
        Self(text.split("\n--# ").skip(1).map(script).collect())
    }

    /// Writes them as a folder like `sql`.
    pub fn write(&self, folder: &Path) {
        let mut manifest = String::new();
        for Script { kind, path, text } in &self.0 {
            let file = folder.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            manifest.push_str(&format!("{kind} {path}\n"));
        }
        fs::write(folder.join("manifest"), manifest).unwrap();
    }

    /// Those of some kinds.
    pub fn of(&self, kinds: &[&str]) -> impl Iterator<Item = &Script> {
        self.0
            .iter()
            .filter(move |script| kinds.contains(&&*script.kind))
    }

    /// Puts scripts behind the last one that is not replaced by each setup() or made after it.
    pub fn with_steps(mut self, steps: &[(&str, String)]) -> Self {
        let last = self
            .0
            .iter()
            .rposition(|script| ["tables", "rows", "step"].contains(&&*script.kind));
        let new = steps.iter().map(|(path, text)| Script {
            kind: "step".to_owned(),
            path: (*path).to_owned(),
            text: text.clone(),
        });
        let after = last.unwrap() + 1;
        self.0.splice(after..after, new);
        self
    }

    /// Statements that begin with one of these words.
    pub fn find(&self, beginnings: &[String]) -> String {
        self.clone().take(beginnings)
    }

    /// Takes the statements that begin with one of these words.
    pub fn take(&mut self, beginnings: &[String]) -> String {
        let mut taken = String::new();
        for script in &mut self.0 {
            let (out, stay): (Vec<_>, Vec<_>) =
                statements(&script.text).into_iter().partition(|statement| {
                    beginnings
                        .iter()
                        .any(|beginning| bare(statement).starts_with(beginning))
                });
            script.text = stay.concat();
            taken.push_str(&out.concat());
        }
        assert!(
            !taken.is_empty(),
            "no statement begins with {beginnings:?}: let this test take another object"
        );
        taken
    }

    /// Puts other words into the one statement that begins so.
    pub fn edit(&mut self, beginning: &str, edit: impl Fn(&str) -> String) {
        let mut edited = 0;
        for script in &mut self.0 {
            let parts = statements(&script.text);
            script.text = parts
                .iter()
                .map(|part| {
                    if bare(part).starts_with(beginning) {
                        edited += 1;
                        edit(part)
                    } else {
                        part.clone()
                    }
                })
                .collect();
        }
        assert_eq!(
            edited, 1,
            "statements that begin with {beginning}: let this test take another object"
        );
    }
}

/// A table and its comments.
pub fn table(name: &str) -> [String; 3] {
    [
        format!("CREATE TABLE {name} ("),
        format!("COMMENT ON TABLE {name} "),
        format!("COMMENT ON COLUMN {name}."),
    ]
}

/// A view and its comments.
pub fn view(name: &str) -> [String; 3] {
    [
        format!("CREATE OR REPLACE VIEW {name} "),
        format!("COMMENT ON VIEW {name} "),
        format!("COMMENT ON COLUMN {name}."),
    ]
}

/// A function that is a member, and its comment.
pub fn member(name: &str) -> [String; 2] {
    [
        format!("CREATE FUNCTION {name}("),
        format!("COMMENT ON FUNCTION {name}("),
    ]
}

/// A list in a statement without the item that begins so; what stood before the first item and after the last stays.
pub fn without_item(statement: &str, item: &str) -> (String, String) {
    let from = statement
        .find(&format!("\n    {item}"))
        .unwrap_or_else(|| panic!("no {item} in {statement}"));
    let rest = &statement[from + 1..];
    let next = rest.match_indices('\n').map(|(at, _)| at + 1).find(|at| {
        let line = &rest[*at..];
        !line.starts_with("     ") // a line that goes on with the item is further in
    });
    let (taken, behind) = rest.split_at(next.unwrap());
    let (before, is_last) = (&statement[..from], !behind.starts_with("    "));
    let before = if is_last {
        before.trim_end_matches(',')
    } else {
        before
    };
    (
        format!("{before}\n{behind}"),
        taken.trim().trim_end_matches(',').to_owned(),
    )
}
