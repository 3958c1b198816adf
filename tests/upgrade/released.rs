//! What a release leaves behind: frozen sources, an upgrade script from the version before, and its lines in the
//! changelog.

use std::fs;
use std::path::{Path, PathBuf};

use super::sources::Sources;
use super::{VERSION, script};

/// A version as numbers; None: it is not one.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let parts: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    parts
        .try_into()
        .ok()
        .filter(|parts: &[u32; 3]| parts.map(|part| part.to_string()).join(".") == version)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    let mut names: Vec<String> = entries.map(Iterator::collect).unwrap_or_default();
    names.retain(|name| name != "README.md");
    names.sort();
    names
}

/// Versions in a folder of released ones, the oldest first.
fn versions(released: &Path) -> Vec<(String, PathBuf)> {
    let mut versions = names(released);
    versions.sort_by_key(|version| numbers(version));
    versions
        .into_iter()
        .map(|version| (version.clone(), released.join(version)))
        .collect()
}

/// What is released, the oldest first.
pub fn folders() -> Vec<(String, PathBuf)> {
    versions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/released"))
}

/// What is wrong with the files of releases below this folder, whose version is this.
fn complaints(root: &Path, current: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let upgrades = names(&root.join("sql/upgrades"));
    let released = versions(&root.join("sql/released"));
    let mut line: Vec<&str> = released.iter().map(|(version, _)| &**version).collect();
    wrong.extend(
        line.iter()
            .filter(|version| numbers(version).is_none())
            .map(|version| format!("{version} is no version")),
    );
    if let Some(newest) = line.last()
        && numbers(newest) > numbers(current)
    {
        wrong.push(format!("{current} is not newer than {newest}"));
    }
    if !line.contains(&current) {
        line.push(current);
    }
    let wanted: Vec<String> = line
        .windows(2)
        .map(|pair| format!("agent_metrics--{}--{}.sql", pair[0], pair[1]))
        .collect();
    wrong.extend(
        wanted
            .iter()
            .filter(|name| !upgrades.contains(name))
            .map(|name| format!("sql/upgrades/{name} is missing")),
    );
    let strangers = upgrades.iter().filter(|name| !wanted.contains(name));
    wrong.extend(
        strangers
            .map(|name| format!("sql/upgrades/{name} does not lead from a version to the next")),
    );

    let changelog = fs::read_to_string(root.join("CHANGELOG.md")).unwrap_or_default();
    for version in &line {
        let section = changelog
            .split("\n## ")
            .find(|section| section.split_whitespace().next() == Some(version));
        let Some(section) = section else {
            wrong.push(format!("CHANGELOG.md does not have {version}"));
            continue;
        };
        for question in ["- ALTER EXTENSION: ", "- Restart: ", "- Stored formats: "] {
            if !section.contains(&format!("\n{question}")) {
                wrong.push(format!(
                    "CHANGELOG.md has no line \"{question}\" of {version}"
                ));
            }
        }
    }
    for (version, folder) in &released {
        let there = names(folder);
        for name in [
            "setup.sql".to_owned(),
            format!("agent_metrics--{version}.sql"),
        ] {
            if !there.contains(&name) {
                wrong.push(format!("sql/released/{version}/{name} is missing"));
            }
        }
        let scripts = there.iter().filter(|name| wanted.contains(name));
        let is_same = |name: &&String| {
            fs::read(folder.join(name)).ok() == fs::read(root.join("sql/upgrades").join(name)).ok()
        };
        wrong.extend(
            scripts
                .filter(|name| !is_same(name))
                .map(|name| format!("sql/upgrades/{name} was changed after its release")),
        );
    }
    if let Some((version, folder)) = released.last() {
        wrong.extend(thawed(version, &Sources::frozen(folder), &root.join("sql")));
    }
    wrong
}

/// Scripts that run once, and are not as they were released: whoever has run them has something else.
fn thawed(version: &str, frozen: &Sources, sql: &Path) -> Vec<String> {
    let manifest = fs::read_to_string(sql.join("manifest")).unwrap_or_default();
    let once = ["tables", "rows", "step"];
    let lines = manifest
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(kind, _)| once.contains(kind));
    let stated: Vec<&str> = lines.map(|(_, path)| path.trim()).collect();
    let released: Vec<&str> = frozen.of(&once).map(|script| &*script.path).collect();
    let mut wrong = Vec::new();
    if stated.get(..released.len()) != Some(&released[..]) {
        wrong.push(format!(
            "sql/manifest does not run first what {version} ran: {released:?}"
        ));
    }
    for script in frozen.of(&once) {
        if fs::read_to_string(sql.join(&script.path)).ok().as_ref() != Some(&script.text) {
            wrong.push(format!(
                "sql/{} is not as {version} had it: write a step",
                script.path
            ));
        }
    }
    wrong
}

#[test]
fn every_release_has_its_files() {
    assert_eq!(
        complaints(Path::new(env!("CARGO_MANIFEST_DIR")), VERSION),
        [""; 0]
    );
    let control = include_str!("../../agent_metrics.control");
    assert!(
        control.contains(&format!("default_version = '{VERSION}'")),
        "{control}"
    );
}

#[test]
fn the_recipe_names_commands_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let recipe = include_str!("../../docs/recipes/release.md");
    let makefile = include_str!("../../Makefile");
    let word = |rest: &str| {
        rest.chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '-')
            .collect::<String>()
    };
    let targets: Vec<String> = recipe.split("`make ").skip(1).map(word).collect();
    let scripts: Vec<String> = recipe.split("scripts/").skip(1).map(word).collect();
    assert!(
        targets.len() > 4 && scripts.len() > 1,
        "{targets:?} {scripts:?}"
    );
    for target in targets {
        assert!(
            makefile
                .lines()
                .any(|line| line.starts_with(&target) && line.contains(':')),
            "make {target}"
        );
    }
    for script in scripts {
        assert!(
            root.join("scripts").join(&script).exists(),
            "scripts/{script}"
        );
    }
}

#[test]
fn steps_are_numbered_on_from_the_baseline() {
    let sources = Sources::current();
    let begins: Vec<String> = (2..)
        .take(sources.of(&["step"]).count())
        .map(|number| format!("steps/{number}_"))
        .collect();
    for (script, begins) in sources.of(&["step"]).zip(begins) {
        assert!(
            script.path.starts_with(&begins),
            "{} in the place of {begins}",
            script.path
        );
    }
    for script in &sources.0 {
        assert_eq!(
            script.path.starts_with("steps/"),
            script.kind == "step",
            "{}",
            script.path
        );
    }
}

/// A project with two releases, and what is said of it when something of them is missing or was changed.
#[test]
fn what_a_release_lacks_is_named() {
    let root = std::env::temp_dir().join(format!("am_releases_{}", std::process::id()));
    let sql = root.join("sql");
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(sql.join("upgrades")).unwrap();
    let write = |name: &str, text: &str| fs::write(root.join(name), text).unwrap();
    let freeze = |version: &str| {
        script(
            "freeze",
            &[
                sql.to_str().unwrap(),
                sql.join("released").join(version).to_str().unwrap(),
            ],
        )
    };
    let said = |current: &str| complaints(&root, current);
    let lines = "- ALTER EXTENSION: yes\n- Restart: no\n- Stored formats: as before\n";
    let manifest = "member events/a.sql\nowner events/owner.sql\ntables events/tables.sql\nrows events/rows.sql\n";
    for folder in ["events", "steps"] {
        fs::create_dir_all(sql.join(folder)).unwrap();
    }
    write("sql/manifest", manifest);
    for name in ["a", "owner", "tables", "rows"] {
        write(
            &format!("sql/events/{name}.sql"),
            &format!("SELECT '{name}';\n"),
        );
    }
    write(
        "CHANGELOG.md",
        &format!("# Changelog\n\n## 0.9.0 (not released)\n\n{lines}"),
    );
    assert_eq!(said("0.9.0"), [""; 0]);
    freeze("0.9.0");
    assert_eq!(
        fs::read_to_string(sql.join("released/0.9.0/agent_metrics--0.9.0.sql")).unwrap(),
        "SELECT 'a';\n"
    );
    assert_eq!(said("0.9.0"), [""; 0]);

    // the next version: a script, even an empty one, and a place in the changelog; ten comes after nine
    assert_eq!(
        said("0.10.0"),
        [
            "sql/upgrades/agent_metrics--0.9.0--0.10.0.sql is missing",
            "CHANGELOG.md does not have 0.10.0"
        ]
    );
    write(
        "sql/upgrades/agent_metrics--0.9.0--0.10.0.sql",
        "-- Nothing.\n",
    );
    write(
        "CHANGELOG.md",
        &format!("# Changelog\n\n## 0.10.0\n\n{lines}\n## 0.9.0\n\n{lines}"),
    );
    write("sql/steps/2_more.sql", "SELECT 2;\n");
    write(
        "sql/manifest",
        &format!("{manifest}step steps/2_more.sql\n"),
    );
    assert_eq!(said("0.10.0"), [""; 0]);
    freeze("0.10.0");
    assert_eq!(said("0.10.0"), [""; 0]);

    // what is released is not changed, and every script leads somewhere
    write("sql/events/tables.sql", "SELECT 'another';\n");
    write("sql/steps/2_more.sql", "SELECT 3;\n");
    write(
        "sql/upgrades/agent_metrics--0.9.0--0.10.0.sql",
        "SELECT 4;\n",
    );
    write("sql/upgrades/agent_metrics-0.10.sql", "");
    write(
        "CHANGELOG.md",
        &format!(
            "# Changelog\n\n## 0.10.0\n\n{}\n## 0.9.0\n\n{lines}",
            lines.replace("- Restart", "Restart")
        ),
    );
    assert_eq!(
        said("0.10.0"),
        [
            "sql/upgrades/agent_metrics-0.10.sql does not lead from a version to the next",
            "CHANGELOG.md has no line \"- Restart: \" of 0.10.0",
            "sql/upgrades/agent_metrics--0.9.0--0.10.0.sql was changed after its release",
            "sql/events/tables.sql is not as 0.10.0 had it: write a step",
            "sql/steps/2_more.sql is not as 0.10.0 had it: write a step",
        ]
    );
    assert!(said("0.9.5").contains(&"0.9.5 is not newer than 0.10.0".to_owned()));
    fs::remove_dir_all(&root).unwrap();
}
