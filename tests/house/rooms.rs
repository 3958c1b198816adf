//! Where a test stands: each file is in a room, and has a line in tests/README.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::house::lines::files;
use crate::support::golden::path;

/// What a file declares with `mod NAME;`.
fn modules(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|rest| rest.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// The Rust files of the tests, by the folder they are in; of the folder itself under "".
fn rooms() -> BTreeMap<String, Vec<String>> {
    let root = path("tests");
    let mut found = BTreeMap::<String, Vec<String>>::new();
    for file in files("tests", &["rs"]) {
        let room = file
            .parent()
            .unwrap()
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        found
            .entry(room.to_owned())
            .or_default()
            .push(name.to_owned());
    }
    found
}

#[test]
fn each_file_is_in_a_room() {
    let mut files = rooms();
    assert_eq!(
        files.remove("").unwrap(),
        ["suite"],
        "a test belongs in a room"
    );
    let rooms: Vec<String> = files.keys().cloned().collect();
    assert_eq!(modules(&path("tests/suite.rs")), rooms);
    let page = fs::read_to_string(path("tests/README.md")).unwrap();
    for (room, mut names) in files {
        let told = page
            .split("\n## ")
            .find_map(|part| part.strip_prefix(&format!("{room}\n")))
            .unwrap_or_else(|| panic!("tests/README.md has no section for {room}"));
        names.retain(|name| name != "mod");
        assert_eq!(
            modules(&path(&format!("tests/{room}/mod.rs"))),
            names,
            "tests/{room}/mod.rs names each file of the room"
        );
        for name in names {
            assert!(
                told.contains(&format!("| `{name}.rs`")),
                "tests/README.md says nothing of {room}/{name}.rs"
            );
        }
    }
}
