//! A whole cluster of a test's own, for what cannot be done to the shared one: stopping it, copying it,
//! moving its counter.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Session, times};

/// A cluster in a temporary folder; it is stopped and deleted with this value.
pub struct Cluster {
    folder: PathBuf,
}

fn finished(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
    String::from_utf8(stdout).unwrap()
}

fn script(arguments: &[&str], folder: &Path) -> String {
    finished(
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster"))
            .arg(arguments[0])
            .arg(folder)
            .args(&arguments[1..]),
    )
}

/// Runs a client program of the server's version, and panics with its words when it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    finished(Command::new(bin(program)).args(arguments))
}

fn bin(program: &str) -> PathBuf {
    let pg_config = std::env::var("PG_CONFIG").unwrap_or_else(|_| "pg_config".into());
    let folder = finished(Command::new(pg_config).arg("--bindir"));
    Path::new(folder.trim()).join(program)
}

impl Cluster {
    /// Makes and starts one that need not outlive a crash.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &["synchronous_commit=off", "full_page_writes=off"])
    }

    /// Makes and starts one with some settings.
    pub fn start_with(name: &str, settings: &[&str]) -> Self {
        times::begin();
        let cluster = Self {
            folder: std::env::temp_dir().join(format!("am_{name}_{}", std::process::id())),
        };
        script(&[&["start"], settings].concat(), &cluster.folder);
        cluster
    }

    /// Starts it again after it was stopped; its port is another then.
    pub fn begin(&self) {
        script(&["start"], &self.folder);
    }

    /// Stops it as a power cut would: nothing is written any more.
    pub fn cut(&self) {
        self.as_server_user("pg_ctl", &["stop", "-m", "immediate", "-D", &self.data()]);
    }

    /// Stops it in order.
    pub fn stop(&self) {
        script(&["stop"], &self.folder);
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        script(&["url", database], &self.folder).trim().to_owned()
    }

    /// A session as superuser.
    pub fn session(&self, database: &str) -> Session {
        Session::open(&self.url(database))
    }

    /// Runs a program of the server as the user it runs as.
    pub fn as_server_user(&self, program: &str, arguments: &[&str]) {
        let is_root = finished(Command::new("id").arg("-u")).trim() == "0";
        let mut command = if is_root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(bin(program));
            command
        } else {
            Command::new(bin(program))
        };
        finished(command.args(arguments).current_dir("/"));
    }

    /// Its data directory.
    pub fn data(&self) -> String {
        self.folder.join("data").to_str().unwrap().to_owned()
    }

    /// A physical copy of it, begun as a hot standby.
    pub fn standby(&self, name: &str) -> Self {
        let copy = Self {
            folder: std::env::temp_dir().join(format!("am_{name}_{}", std::process::id())),
        };
        // The folder and its password are made by the server's user, as scripts/cluster does.
        let mut made = Command::new("cp");
        made.arg("-a").arg(&self.folder).arg(&copy.folder);
        finished(&mut made);
        std::fs::remove_dir_all(copy.folder.join("data")).unwrap();
        self.as_server_user(
            "pg_basebackup",
            &[
                "--pgdata",
                &copy.data(),
                "--dbname",
                &self.url("postgres"),
                "--write-recovery-conf",
                "--checkpoint=fast",
            ],
        );
        copy.begin();
        copy
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A second panic would hide the first one's words.
        let _ = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster"))
            .arg("remove")
            .arg(&self.folder)
            .output();
    }
}
