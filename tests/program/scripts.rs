//! The project's scripts on machines that lack something: what is missing is named, with a cure that is right there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::golden;

/// A folder with programs that say what they are asked to, first in the path.
struct Machine {
    folder: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("am_{name}_{}", std::process::id()));
        fs::create_dir_all(folder.join("bin")).unwrap();
        Self { folder }
    }

    /// A program of somebody's installation, as a script.
    fn has(&self, name: &str, script: &str) -> PathBuf {
        let path = self.folder.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// What a script says on this machine, where Rust is only what the folder has.
    fn says(&self, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
        let system: Vec<String> = std::env::var("PATH")
            .unwrap()
            .split(':')
            .filter(|folder| !Path::new(folder).join("cargo").exists())
            .map(str::to_owned)
            .collect();
        let path = format!("{}:{}", self.folder.join("bin").display(), system.join(":"));
        let mut command = Command::new("bash");
        command
            .arg(golden::path("scripts").join(script))
            .args(arguments)
            .env("PATH", path)
            .env("HOME", &self.folder)
            .env_remove("CARGO_HOME")
            .env_remove("CARGO")
            .env_remove("RUSTC");
        for (name, value) in variables {
            command.env(name, value);
        }
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        (
            status.success(),
            String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_rust_that_is_too_old_gets_the_cure_for_where_it_comes_from() {
    let machine = Machine::new("old_rust");
    let (is_well, said) = machine.says("install-tools", &[], &[]);
    assert!(
        !is_well && said.contains("Rust is missing") && said.contains("rustup"),
        "{said}"
    );

    machine.has("cargo", "echo 'cargo 1.85.0 (d73d2caf9 2024-12-31)'");
    machine.has("rustc", "echo 'rustc 1.85.0 (4d91de4e4 2025-02-17)'");
    let (is_well, said) = machine.says("install-tools", &[], &[]);
    assert!(
        !is_well && said.contains("comes from the system and is too old"),
        "{said}"
    );
    assert!(said.contains("rustup update does not touch it"), "{said}");

    // rustup is there, and the path leads past it
    let home = machine.folder.join(".cargo/bin");
    fs::create_dir_all(&home).unwrap();
    fs::write(home.join("cargo"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(home.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let (_, said) = machine.says("install-tools", &[], &[]);
    assert!(
        said.contains(&format!("export PATH={}:$PATH", home.display())),
        "{said}"
    );

    // rustup's own, held back by a variable
    machine.has("rustup", "true");
    let (_, said) = machine.says("install-tools", &[], &[("RUSTUP_TOOLCHAIN", "1.85.0")]);
    assert!(
        said.contains("unset RUSTUP_TOOLCHAIN, which is 1.85.0"),
        "{said}"
    );

    // one that cannot be brought, as without a network
    machine.has(
        "cargo",
        "echo 'error: could not download the toolchain' >&2; exit 1",
    );
    let (is_well, said) = machine.says("install-tools", &[], &[]);
    assert!(
        !is_well && said.contains("could not download the toolchain"),
        "{said}"
    );
    assert!(said.contains("export RUSTUP_TOOLCHAIN="), "{said}");

    machine.has("cargo", "echo 'cargo 1.95.0'");
    machine.has("rustc", "echo 'rustc 1.95.0'");
    let (is_well, said) = machine.says("install-tools", &[], &[]);
    assert!(is_well, "{said}");
}

#[test]
fn a_server_without_headers_and_a_wrong_pg_config_are_named() {
    let machine = Machine::new("no_headers");
    machine.has("cargo", "echo 'cargo 1.95.0'");
    machine.has("rustc", "echo 'rustc 1.95.0'");
    let (is_well, said) =
        machine.says("install-tools", &[], &[("PG_CONFIG", "/nowhere/pg_config")]);
    assert!(
        !is_well && said.contains("PG_CONFIG is /nowhere/pg_config, which is not there"),
        "{said}"
    );

    let bare = machine.has("bare", "echo /nowhere");
    let bare = bare.to_str().unwrap();
    let (is_well, said) = machine.says("install-tools", &[], &[("PG_CONFIG", bare)]);
    assert!(
        !is_well && said.contains("without server or headers"),
        "{said}"
    );
    let folder = machine.folder.join("cluster");
    let (is_well, said) = machine.says(
        "cluster",
        &["start", folder.to_str().unwrap()],
        &[("PG_CONFIG", bare)],
    );
    assert!(
        !is_well && said.contains("/nowhere has no initdb") && said.contains("install-tools"),
        "{said}"
    );
    let (is_well, said) = machine.says(
        "copy-server",
        &[folder.to_str().unwrap()],
        &[("PG_CONFIG", "/nowhere/pg_config")],
    );
    assert!(
        !is_well && said.contains("/nowhere/pg_config is missing"),
        "{said}"
    );
}

/// A copy of the server has a folder of extensions of its own: what is put there, no other server sees.
#[test]
fn a_copy_of_the_server_keeps_what_is_put_into_it() {
    let machine = Machine::new("copy's");
    let folder = machine.folder.join("server");
    let copy = || {
        let output = Command::new(golden::path("scripts/copy-server"))
            .arg(&folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
    };
    let ask = |what: &str| {
        let output = Command::new(copy()).arg(what).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let own = PathBuf::from(ask("--sharedir")).join("extension/only_here.control");
    assert!(own.starts_with(&folder));
    let given = machine.has("only_here.control", "");
    let into = own.parent().unwrap().to_str().unwrap();
    let installed = Command::new(golden::path("scripts/install-files"))
        .args([given.to_str().unwrap(), into])
        .output();
    assert!(installed.unwrap().status.success());
    assert_eq!(
        ask("--sharedir"),
        own.ancestors().nth(2).unwrap().to_str().unwrap()
    );
    assert!(own.exists(), "a second copy takes nothing away");
    let server = Command::new(PathBuf::from(ask("--bindir")).join("postgres"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&server.stdout).contains("PostgreSQL"));
}
