//! A whole cluster of a test's own, for what cannot be done to the shared one: stopping it, copying it,
//! moving its counter.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Session, times};

/// A cluster in a temporary folder; it is stopped and deleted with this value.
pub struct Cluster {
    folder: PathBuf,
    /// Of the PostgreSQL it is a cluster of.
    pg_config: String,
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

/// Runs a client program of the server's version, and panics with its words when it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    finished(Command::new(bin(&pg_config(), program)).args(arguments))
}

fn bin(pg_config: &str, program: &str) -> PathBuf {
    Path::new(&configured(pg_config, "--bindir")).join(program)
}

/// The PostgreSQL that is tested.
pub fn pg_config() -> String {
    std::env::var("PG_CONFIG").unwrap_or_else(|_| "pg_config".into())
}

/// What a pg_config says.
pub fn configured(pg_config: &str, what: &str) -> String {
    finished(Command::new(pg_config).arg(what))
        .trim()
        .to_owned()
}

impl Cluster {
    /// Makes and starts one that need not outlive a crash.
    pub fn start(name: &str) -> Self {
        Self::start_with(name, &["synchronous_commit=off", "full_page_writes=off"])
    }

    /// Makes and starts one with some settings.
    pub fn start_with(name: &str, settings: &[&str]) -> Self {
        Self::start_of(&pg_config(), name, settings)
    }

    /// Makes and starts one of another PostgreSQL.
    pub fn start_of(pg_config: &str, name: &str, settings: &[&str]) -> Self {
        times::begin();
        let cluster = Self {
            folder: std::env::temp_dir().join(format!("am_{name}_{}", std::process::id())),
            pg_config: pg_config.to_owned(),
        };
        cluster.script(&[&["start"], settings].concat());
        cluster
    }

    fn script(&self, arguments: &[&str]) -> String {
        finished(
            Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/cluster"))
                .arg(arguments[0])
                .arg(&self.folder)
                .args(&arguments[1..])
                .env("PG_CONFIG", &self.pg_config),
        )
    }

    /// Starts it again after it was stopped; its port is another then.
    pub fn begin(&self) {
        self.script(&["start"]);
    }

    /// Stops it as a power cut would: nothing is written any more.
    pub fn cut(&self) {
        self.as_server_user("pg_ctl", &["stop", "-m", "immediate", "-D", &self.data()]);
    }

    /// Stops it in order.
    pub fn stop(&self) {
        self.script(&["stop"]);
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        self.script(&["url", database]).trim().to_owned()
    }

    /// A session as superuser.
    pub fn session(&self, database: &str) -> Session {
        Session::open(&self.url(database))
    }

    /// Runs a program of the server as the user it runs as.
    pub fn as_server_user(&self, program: &str, arguments: &[&str]) {
        finished(&mut self.server_users(program, arguments));
    }

    /// A program of the server that will run as the user it runs as.
    pub fn server_users(&self, program: &str, arguments: &[&str]) -> Command {
        let is_root = finished(Command::new("id").arg("-u")).trim() == "0";
        let program = bin(&self.pg_config, program);
        let mut command = if is_root {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).current_dir("/");
        command
    }

    /// Its data directory.
    pub fn data(&self) -> String {
        self.folder.join("data").to_str().unwrap().to_owned()
    }

    /// A physical copy of it, begun as a hot standby.
    pub fn standby(&self, name: &str) -> Self {
        let copy = Self {
            folder: std::env::temp_dir().join(format!("am_{name}_{}", std::process::id())),
            pg_config: self.pg_config.clone(),
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
            .env("PG_CONFIG", &self.pg_config)
            .output();
    }
}
