//! sql/manifest alone states what the install script and setup() run, and in which order.

use std::fs;
use std::path::Path;

use crate::support::db;

#[test]
fn every_script_is_named_once_and_none_in_vain() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut there: Vec<String> = Vec::new();
    for folder in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap()) {
        let name = folder.file_name().into_string().unwrap();
        if !folder.path().is_dir() || ["upgrades", "released"].contains(&&*name) {
            continue;
        }
        for file in fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap().file_name().into_string().unwrap();
            if file.ends_with(".sql") {
                there.push(format!("{name}/{file}"));
            }
        }
    }
    there.sort();
    let manifest = fs::read_to_string(root.join("manifest")).unwrap();
    let lines: Vec<Vec<&str>> = manifest
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    for line in &lines {
        assert!(
            line.len() == 2
                && ["member", "owner", "tables", "rows", "step", "views"].contains(&line[0]),
            "{line:?}"
        );
        // a file's name says what it is
        for kind in ["owner", "tables", "rows"] {
            assert!(
                !line[1].ends_with(&format!("/{kind}.sql")) || line[0] == kind,
                "{line:?}"
            );
        }
    }
    let mut named: Vec<&str> = lines.iter().map(|line| line[1]).collect();
    named.sort_unstable();
    assert_eq!(named, there);
    // and setup() runs them in that order
    let run = db("manifest").lines(
        "SELECT format('%s %s', kind, path) FROM agent_metrics_internal.setup_scripts() ORDER BY number",
    );
    let stated: Vec<String> = lines
        .iter()
        .filter(|line| line[0] != "member")
        .map(|line| line.join(" "))
        .collect();
    assert_eq!(run, stated);
}
