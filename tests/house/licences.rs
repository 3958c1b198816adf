//! What the scripts of `make lint` and `make package` say of the dependencies' licences.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A script of the project, with its arguments.
fn script(name: &str, argument: &Path) -> Output {
    Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scripts")
            .join(name),
    )
    .arg(argument)
    .output()
    .unwrap()
}

/// `deny.toml` with one thing otherwise, in a file of its own.
fn rules(name: &str, from: &str, to: &str) -> PathBuf {
    let given = include_str!("../../deny.toml");
    assert_eq!(given.matches(from).count(), 1, "{from}");
    let file = std::env::temp_dir().join(format!("am_{name}_{}.toml", std::process::id()));
    std::fs::write(&file, given.replace(from, to)).unwrap();
    file
}

#[test]
fn a_dependency_that_is_not_allowed_is_named() {
    let allowed = script("licences", Path::new("deny.toml"));
    assert!(
        allowed.status.success(),
        "{}",
        String::from_utf8_lossy(&allowed.stderr)
    );
    for (name, from, to, named) in [
        (
            "no_isc",
            "    \"ISC\",\n",
            "",
            "has the licence \"Apache-2.0 AND ISC\"",
        ),
        (
            "no_unicode",
            "    \"Unicode-3.0\",\n",
            "",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
        ),
        (
            "no_mit",
            "    \"MIT\",\n",
            "",
            "pgrx v0.18.1 has the licence \"MIT\"",
        ),
        (
            "no_statrs",
            "    \"openssl\",\n",
            "    \"statrs\",\n",
            "statrs is in Cargo.lock",
        ),
    ] {
        let file = rules(name, from, to);
        let refused = script("licences", &file);
        std::fs::remove_file(&file).unwrap();
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && words.contains(named),
            "{name}: {words}"
        );
        // what is under either of two licences stays
        assert!(!words.contains("serde v"), "{name}: {words}");
    }
}

#[test]
fn each_linked_crate_has_its_notice() {
    let file = std::env::temp_dir().join(format!("am_notices_{}", std::process::id()));
    let made = script("notices", &file);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let notices = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let mut without = Vec::new();
    let mut crates = 0;
    for section in notices.split(&format!("\n{}\n", "=".repeat(80))).skip(1) {
        crates += 1;
        let words = section.to_lowercase();
        if ![
            "permission",
            "redistribution",
            "apache license",
            "unicode license",
            "word for word",
        ]
        .iter()
        .any(|known| words.contains(known))
        {
            without.push(section.lines().next().unwrap().to_owned());
        }
    }
    assert!(without.is_empty(), "{without:?}");
    // One of the program, one of the extension, one whose package has no licence file.
    for linked in [
        "\nparquet ",
        "\npgrx 0.18.1: MIT\n\nPortions Copyright",
        "\nseahash ",
        "The standard library of Rust",
    ] {
        assert!(notices.contains(linked), "{linked}");
    }
    assert!(crates > 150, "{crates}");
}
