//! The `agent-metrics` program, run as a person or a service manager runs it, and a database with
//! something to do for it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{Db, Session, db, times};

/// How long a running program may take to say something.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program with its arguments, and nothing of the environment that it would heed.
pub fn command(url: &str, arguments: &[&str]) -> Command {
    times::begin();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-metrics"));
    for (name, _) in
        std::env::vars().filter(|(name, _)| name.starts_with("PG") || name == "RUST_LOG")
    {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .env("DATABASE_URL", url)
        .env("CI", "true")
        .env("NO_COLOR", "1");
    command.stdin(Stdio::null());
    command
}

/// Runs to the end: exit status, standard output, standard error.
pub fn program(url: &str, arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(url, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        status.code().expect("ended by a signal"),
        text(stdout),
        text(stderr),
    )
}

/// Runs something that has to work, and returns its standard output.
pub fn works(url: &str, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = program(url, arguments);
    assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
    stdout
}

/// Runs something that has to fail with one line, and returns that line.
pub fn fails(url: &str, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = program(url, arguments);
    assert_eq!(code, 1, "{arguments:?}: {stdout}{stderr}");
    assert_eq!(stdout, "", "{arguments:?}");
    assert_eq!(stderr.lines().count(), 1, "{arguments:?} says: {stderr}");
    assert!(stderr.starts_with("agent-metrics: "), "{stderr}");
    stderr
}

/// A program that runs until told to stop, and the lines it logs.
pub struct Running {
    /// Its process.
    pub child: Child,
    lines: Receiver<String>,
}

impl Running {
    pub fn new(url: &str, arguments: &[&str]) -> Self {
        Self::of(command(url, arguments))
    }

    pub fn of(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        Self { child, lines }
    }

    /// Waits for a log line that contains some words.
    pub fn says(&self, words: &str) -> String {
        self.hears(words).pop().unwrap_or_default()
    }

    /// Every line up to one that contains some words, which is the last.
    pub fn hears(&self, words: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let is_it = line.contains(words);
                    heard.push(line);
                    if is_it {
                        return heard;
                    }
                }
                Err(_) => panic!("it never said \"{words}\", only: {heard:#?}"),
            }
        }
    }

    /// Sends SIGTERM and returns the exit status.
    pub fn terminate(mut self) -> Option<i32> {
        assert!(signal("TERM", &self.child.id().to_string()));
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // For a test that failed; after terminate() there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A database with a support and a sales agent and some conversations that nothing has refreshed.
pub fn two_agents(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         SELECT agent_metrics.register_agent('seller', 'sales', 'Head of Sales')",
    );
    insert(&db, "first", 20);
    db
}

/// Some conversations more for both agents.
pub fn insert(db: &Session, prefix: &str, count: u32) {
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
         SELECT a.id, now() - make_interval(hours => n.n),
                format('%s-%s-%s', a.id, '{prefix}', n.n), 100, 0.01, 'success'
         FROM unnest(ARRAY['bot', 'seller']) AS a (id), generate_series(1, {count}) AS n (n)"
    ));
}

/// Makes it look as if the last refresh had been three days ago: many runs were missed since.
pub fn backdate(db: &Session) {
    db.exec("UPDATE agent_metrics_internal.agent_watermarks SET refreshed_at = now() - interval '3 days'");
}

/// Sends a signal to a process; false where there is none. By the shell, which has it built in: `kill` is a program of
/// a package that not every machine has.
pub fn signal(name: &str, pid: &str) -> bool {
    Command::new("sh")
        .args(["-c", "kill -\"$0\" \"$1\"", name, pid])
        .status()
        .unwrap()
        .success()
}
