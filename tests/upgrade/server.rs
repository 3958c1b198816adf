//! A server of this test's own: a copy of the installation, so that files of other versions lie in its folder of
//! extensions and in no other, and a cluster that runs on it.
//!
//! A server finds its files from where its program lies. So programs are copied; what they read is linked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Session;
use crate::support::cluster::{configured, pg_config};

/// How long a server may take to stop, or to come back.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a signal to one process.
pub fn kill(signal: &str, pid: &str) {
    assert!(crate::support::program::signal(signal, pid));
}

/// Its folder; server and folder go with this value.
pub struct Server {
    pub folder: PathBuf,
}

fn finished(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said.trim().to_owned()
}

fn installed(what: &str) -> PathBuf {
    configured(&pg_config(), what).into()
}

/// Runs one of the project's scripts.
pub fn script(name: &str, arguments: &[&str]) -> String {
    finished(&mut command(name, arguments))
}

fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scripts")
            .join(name),
    );
    command.args(arguments);
    command
}

impl Server {
    /// A copy of the installation that is not started yet.
    pub fn copy(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("am_{name}_{}", std::process::id()));
        let server = Self { folder };
        script("copy-server", &[server.folder.to_str().unwrap()]);
        server
    }

    /// Where a file of the installation lies in the copy.
    fn copy_of(&self, path: &Path) -> PathBuf {
        self.folder.join(path.strip_prefix("/").unwrap())
    }

    /// What `scripts/cluster` asks for the folder of programs.
    fn pg_config(&self) -> PathBuf {
        self.folder.join("pg_config")
    }

    /// Puts a script of the extension beside those that are there, or in the place of one.
    pub fn add(&self, file: &str, text: &str) {
        let extensions = installed("--sharedir").join("extension");
        let place = self.copy_of(&extensions).join(file);
        let _ = fs::remove_file(&place); // a link to the installed one
        fs::write(place, text).unwrap();
    }

    fn cluster(&self, arguments: &[&str]) -> String {
        let place = self.folder.join("cluster");
        let arguments = [&[arguments[0], place.to_str().unwrap()], &arguments[1..]].concat();
        finished(command("cluster", &arguments).env("PG_CONFIG", self.pg_config()))
    }

    /// Starts it.
    pub fn start(self) -> Self {
        self.cluster(&[
            "start",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "jit=off",
        ]);
        self
    }

    /// A session in a new database.
    pub fn database(&self, name: &str) -> Session {
        Session::open(&self.url("postgres")).exec(&format!("CREATE DATABASE {name}"));
        self.session(name)
    }

    /// A session in a database, as soon as the server takes one: after a crash that is a moment later.
    pub fn session(&self, name: &str) -> Session {
        let begun = std::time::Instant::now();
        loop {
            match Session::try_open(&self.url(name)) {
                Ok(session) => return session,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "no connection: {error:?}"),
            }
        }
    }

    /// The URL of a database.
    pub fn url(&self, name: &str) -> String {
        self.cluster(&["url", name])
    }

    /// Ends the server as a power cut would, and starts it again: what was not committed is gone.
    pub fn cut(&self) {
        let pid = fs::read_to_string(self.folder.join("cluster/data/postmaster.pid")).unwrap();
        kill("QUIT", pid.lines().next().unwrap());
        let begun = std::time::Instant::now();
        while self.folder.join("cluster/data/postmaster.pid").exists() {
            assert!(begun.elapsed() < PATIENCE, "the server does not stop");
            std::thread::yield_now();
        }
        self.cluster(&["start"]);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.join("cluster/data").exists() {
            self.cluster(&["remove"]);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
