//! What `packaging` says of the version, the files and the program is so.

use std::fs;

use crate::support::golden::path;
use crate::support::program::works;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where else the version stands: the file, what is before it, and how often.
const NAMED: [(&str, &str, usize); 8] = [
    ("agent_metrics.control", "default_version = '", 1),
    ("packaging/pgxn/META.json", "   \"version\": \"", 2),
    ("packaging/rpm/agent-metrics.spec", "\nVersion:        ", 1),
    ("packaging/compose.yaml", "image: agent-metrics:", 2),
    ("packaging/compose.yaml", "image: agent-metrics-server:", 1),
    (
        "packaging/kubernetes/program.yaml",
        "image: agent-metrics:",
        1,
    ),
    (
        "packaging/kubernetes/setup.yaml",
        "image: agent-metrics:",
        1,
    ),
    ("packaging/kubernetes/once.yaml", "image: agent-metrics:", 1),
];

/// The texts of all that is packed or run, with their names. `manual` is looked at by cargo.
fn texts() -> Vec<(String, String)> {
    ["container", "kubernetes", "rpm", "systemd"]
        .iter()
        .flat_map(|folder| {
            let folder = path("packaging").join(folder);
            fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
        })
        .chain([path("packaging/compose.yaml"), path("docs/install.md")])
        .map(|file| {
            (
                file.display().to_string(),
                fs::read_to_string(&file).unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_version_is_the_same_everywhere() {
    let mut wrong = Vec::new();
    for (file, before, times) in NAMED {
        let text = fs::read_to_string(path(file)).unwrap();
        let found: Vec<&str> = text
            .split(before)
            .skip(1)
            .map(|rest| {
                let end = rest
                    .find(|c: char| !c.is_ascii_digit() && c != '.')
                    .unwrap_or(rest.len());
                &rest[..end]
            })
            .filter(|version| *version != "1.0.0" || !file.ends_with("META.json"))
            .collect();
        if found != vec![VERSION; times] {
            wrong.push(format!("{file}: {} {found:?}", before.trim()));
        }
    }
    let page = fs::read_to_string(path("docs/install.md")).unwrap();
    for name in [
        format!("agent-metrics_{VERSION}_amd64.deb"),
        format!("agent-metrics:{VERSION}"),
    ] {
        if !page.contains(&name) {
            wrong.push(format!("docs/install.md has no {name}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "the version is {VERSION}");
}

/// The program and the man pages are of one clap, so that both say the same.
#[test]
fn the_manual_has_the_programs_clap() {
    let versions = |lock: &str| -> Vec<String> {
        let text = fs::read_to_string(path(lock)).unwrap();
        ["clap", "clap_builder", "clap_derive", "clap_lex"]
            .iter()
            .map(|name| {
                let package = text.split(&format!("name = \"{name}\"\n")).nth(1).unwrap();
                format!("{name} {}", package.lines().next().unwrap())
            })
            .collect()
    };
    assert_eq!(
        versions("packaging/manual/Cargo.lock"),
        versions("Cargo.lock")
    );
}

/// Each command that a unit, an image or a manifest runs is one of the program's, with flags that it knows.
#[test]
fn the_program_knows_what_it_is_called_with() {
    let mut looked_at = 0;
    for (file, text) in texts() {
        for line in text.lines() {
            let words: Vec<&str> = line
                .split(|c: char| c.is_whitespace() || "[]\",'`".contains(c))
                .filter(|word| !word.is_empty())
                .collect();
            let is_command = [
                "ExecStart=/usr/bin/agent-metrics",
                "CMD",
                "args:",
                "command:",
            ]
            .contains(words.first().unwrap_or(&""));
            let (Some(command), true) = (
                words.get(1),
                is_command && words.get(1) != Some(&"postgres"),
            ) else {
                continue;
            };
            let help = works("", &[command, "--help"]);
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                assert!(
                    help.contains(flag),
                    "{file}: {command} knows no {flag}: {line}"
                );
            }
            looked_at += 1;
        }
    }
    assert!(looked_at >= 6, "{looked_at}");
}
