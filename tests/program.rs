//! The `agent-metrics` command as a person or a service manager uses it. Nothing here sleeps: where something has to
//! happen first, its log line or a query of the server is waited for. `run` is in scheduler.rs, `demo` in demo.rs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::{Db, Session, db, empty_db, server, url_of};

pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn command(url: &str, arguments: &[&str]) -> Command {
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
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => heard.push(line),
                Err(_) => panic!("it never said \"{words}\", only: {heard:#?}"),
            }
        }
    }

    /// Sends SIGTERM and returns the exit status.
    pub fn terminate(mut self) -> Option<i32> {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
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

pub fn insert(db: &Session, prefix: &str, count: u32) {
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
         SELECT a.id, now() - make_interval(hours => n.n), format('%s-%s-%s', a.id, '{prefix}', n.n), 100, 0.01, 'success'
         FROM unnest(ARRAY['bot', 'seller']) AS a (id), generate_series(1, {count}) AS n (n)"
    ));
}

/// Makes it look as if the last refresh had been three days ago: many runs were missed since.
pub fn backdate(db: &Session) {
    db.exec("UPDATE agent_metrics_internal.agent_watermarks SET refreshed_at = now() - interval '3 days'");
}

#[test]
fn no_server_is_said_in_one_line() {
    for arguments in [
        &["status"][..],
        &["run"],
        &["once"],
        &["serve"],
        &["setup"],
        &["demo"],
        &["doctor"],
        &["verify"],
    ] {
        let line = fails(
            "postgresql://somebody:pa55word@127.0.0.1:1/nothing",
            arguments,
        );
        assert!(
            line.contains("127.0.0.1:1") && line.contains("start PostgreSQL there"),
            "{line}"
        );
        assert!(!line.contains("pa55word"), "{line}");
    }
}

#[test]
fn a_wrong_or_missing_password_is_said_in_one_line() {
    let (_, rest) = server().split_once("://postgres:").unwrap();
    let (password, place) = rest.split_once('@').unwrap();
    for arguments in [&["status"][..], &["run"], &["serve"]] {
        let line = fails(
            &format!("postgresql://postgres:wr0ng{password}@{place}"),
            arguments,
        );
        assert!(
            line.contains("wrong password for user \"postgres\"") && line.contains("PGPASSWORD"),
            "{line}"
        );
        assert!(
            !line.contains("wr0ng") && !line.contains(password),
            "{line}"
        );
    }
    let line = fails(&format!("postgresql://postgres@{place}"), &["status"]);
    assert!(
        line.contains("asks for the password of user \"postgres\"") && line.contains("PGPASSWORD"),
        "{line}"
    );
}

#[test]
fn a_password_may_come_from_the_environment() {
    let db = two_agents("program_password");
    let (_, rest) = db.url().split_once("://postgres:").unwrap();
    let (password, place) = rest.split_once('@').unwrap();
    let (host_port, database) = place.split_once('/').unwrap();
    let (host, port) = host_port.split_once(':').unwrap();
    let output = command("", &["status"])
        .envs([
            ("PGHOST", host),
            ("PGPORT", port),
            ("PGUSER", "postgres"),
            ("PGPASSWORD", password),
            ("PGDATABASE", database),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("seller"));
}

#[test]
fn a_broken_url_is_said_without_its_password() {
    for url in [
        "postgresql://u:pa55word@h:notaport/d",
        "postgresql://u:pa55word@h/d?sslmode=perhaps",
        "pa55word",
    ] {
        let line = fails(url, &["status"]);
        assert!(!line.contains("pa55word"), "{line}");
    }
}

#[test]
fn no_database_is_said_in_one_line() {
    let line = fails(&url_of("no_such_database"), &["status"]);
    assert!(
        line.contains("no database \"no_such_database\"") && line.contains("createdb"),
        "{line}"
    );
}

#[test]
fn a_server_without_tls_is_said_in_one_line() {
    let line = fails(&format!("{}?sslmode=require", server()), &["status"]);
    assert!(line.contains("TLS") && line.contains("sslmode"), "{line}");
    let line = fails(
        &format!("{}?sslmode=verify-full&sslrootcert=/no/such/file", server()),
        &["status"],
    );
    assert!(line.contains("/no/such/file"), "{line}");
}

#[test]
fn a_database_without_the_extension_is_said_in_one_line() {
    let db = empty_db("program_no_extension");
    for arguments in [
        &["status"][..],
        &["run"],
        &["once"],
        &["serve"],
        &["demo"],
        &["refresh"],
        &["verify"],
    ] {
        let line = fails(db.url(), arguments);
        assert!(
            line.contains(db.name()) && line.contains("agent-metrics setup"),
            "{line}"
        );
    }
    db.exec("CREATE EXTENSION agent_metrics");
    let line = fails(db.url(), &["status"]);
    assert!(
        line.contains("no tables yet") && line.contains("agent-metrics setup"),
        "{line}"
    );
}

#[test]
fn another_version_is_said_in_one_line() {
    let db = db("program_version");
    db.exec("CREATE OR REPLACE FUNCTION agent_metrics.version() RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT '99.0.0'$$");
    let line = fails(db.url(), &["run"]);
    assert!(
        line.contains("99.0.0") && line.contains("this program is older"),
        "{line}"
    );
    db.exec("UPDATE pg_extension SET extversion = '0.0.1' WHERE extname = 'agent_metrics'");
    let line = fails(db.url(), &["run"]);
    assert!(
        line.contains("0.0.1")
            && line.contains("make install")
            && line.contains("agent-metrics setup"),
        "{line}"
    );
}

#[test]
fn an_unknown_agent_is_said_in_one_line() {
    let db = two_agents("program_unknown_agent");
    for verb in ["refresh", "verify"] {
        let line = fails(db.url(), &[verb, "nobody"]);
        assert!(
            line.contains("\"nobody\"") && line.contains("bot, seller"),
            "{line}"
        );
    }
}

#[test]
fn a_user_without_rights_is_told_whom_to_ask() {
    let db = two_agents("program_rights");
    let role = format!("program_rights_{}", std::process::id());
    db.exec(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x'"));
    let (_, place) = db.url().split_once('@').unwrap();
    let line = fails(&format!("postgresql://{role}:x@{place}"), &["once"]);
    assert!(
        line.contains("grant_access") && line.contains(&role),
        "{line}"
    );
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{role}', 'admin')"
    ));
    let once = works(&format!("postgresql://{role}:x@{place}"), &["once"]);
    assert!(
        once.contains("refreshed bot") && once.contains("refreshed seller"),
        "{once}"
    );
    db.exec(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn setup_makes_all_and_twice_keeps_edits() {
    let db = empty_db("program_setup");
    assert!(works(db.url(), &["setup"]).contains("is set up"));
    db.exec("UPDATE agent_metrics.outcomes SET is_success = true WHERE label = 'info_only'");
    works(db.url(), &["setup"]);
    assert_eq!(
        db.value("SELECT is_success FROM agent_metrics.outcomes WHERE label = 'info_only'")
            .as_deref(),
        Some("t")
    );
    works(db.url(), &["status"]);
}

#[test]
fn once_catches_up_once_and_then_nothing_is_due() {
    let db = two_agents("program_once");
    let once = works(db.url(), &["once"]);
    assert!(
        once.contains("refreshed bot: 20 events") && once.contains("refreshed seller: 20 events"),
        "{once}"
    );
    assert_eq!(works(db.url(), &["once"]), "nothing is due\n");
    insert(&db, "second", 7);
    assert_eq!(
        works(db.url(), &["once"]),
        "nothing is due\n",
        "new events alone make nobody due"
    );
    backdate(&db);
    let once = works(db.url(), &["once"]);
    assert_eq!(
        once.lines().count(),
        2,
        "hundreds of missed runs are one: {once}"
    );
    assert!(
        once.contains("refreshed bot: 7 events") && once.contains("refreshed seller: 7 events"),
        "{once}"
    );
    assert_eq!(works(db.url(), &["once"]), "nothing is due\n");
    assert_eq!(works(db.url(), &["verify"]), "");
}

#[test]
fn a_failing_agent_blocks_nobody() {
    let db = two_agents("program_failing");
    db.exec(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no luck today'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON agent_metrics.conversations FOR EACH ROW WHEN (NEW.agent_id = 'bot')
             EXECUTE FUNCTION public.refuse()",
    );
    let (code, stdout, stderr) = program(db.url(), &["once"]);
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stdout.contains("refreshed seller: 20 events"), "{stdout}");
    assert!(
        stderr.contains("could not refresh bot: no luck today"),
        "{stderr}"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM agent_metrics.conversations")
            .as_deref(),
        Some("20")
    );

    let running = Running::new(db.url(), &["run"]);
    running.says("could not refresh bot");
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn refresh_and_verify_speak_of_one_agent_or_all() {
    let db = two_agents("program_refresh");
    let one = works(db.url(), &["refresh", "bot"]);
    assert!(
        one.contains("refreshed bot") && !one.contains("seller"),
        "{one}"
    );
    assert!(works(db.url(), &["refresh"]).contains("refreshed seller"));
    assert_eq!(works(db.url(), &["verify"]), "");
    db.exec("UPDATE agent_metrics_internal.rollups SET turns = turns + 1 WHERE agent_id = 'bot' AND level = 'day'");
    let (code, stdout, _) = program(db.url(), &["verify"]);
    assert_eq!(code, 1);
    assert!(
        stdout
            .lines()
            .all(|line| line.starts_with("bot day ") && line.contains("stored"))
            && !stdout.is_empty(),
        "{stdout}"
    );
    assert_eq!(program(db.url(), &["verify", "seller"]).0, 0);
}

#[test]
fn status_shows_every_agent_and_the_scheduler() {
    let db = two_agents("program_status");
    let status = works(db.url(), &["status"]);
    assert!(
        status.contains("bot ") && status.contains("*/5 * * * * UTC") && status.contains("never"),
        "{status}"
    );
    assert!(status.contains("scheduler: none runs"), "{status}");
    let running = Running::new(db.url(), &["run"]);
    running.says("refreshed seller");
    let status = works(db.url(), &["status"]);
    assert!(
        !status.contains("never") && status.contains("scheduler: process "),
        "{status}"
    );
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn doctor_names_each_ill_and_its_cure() {
    let db = two_agents("program_doctor");
    works(db.url(), &["once"]);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label) VALUES
             ('stranger', now(), 'c1', 'success'), ('bot', now(), 'c2', 'sucess')",
    );
    works(db.url(), &["refresh"]);
    backdate(&db);
    let (code, stdout, _) = program(db.url(), &["doctor"]);
    assert_eq!(code, 1);
    for words in [
        "agent bot is stale",
        "agent-metrics refresh bot",
        "agent stranger is not registered",
        "label \"sucess\"",
        "no scheduler runs",
    ] {
        assert!(stdout.contains(words), "{words} is missing in: {stdout}");
    }
    let (code, stdout, _) = program(empty_db("program_doctor_empty").url(), &["doctor"]);
    assert!(
        code == 1 && stdout.contains("agent-metrics setup"),
        "{stdout}"
    );
}

#[test]
fn help_teaches() {
    let (code, stdout, _) = program("postgresql://u:pa55word@h/d", &["--help"]);
    assert_eq!(code, 0);
    for words in [
        "Examples:",
        "sslmode",
        "agent-metrics setup",
        "PGPASSWORD",
        "agent-metrics once",
    ] {
        assert!(stdout.contains(words), "{words} is missing in: {stdout}");
    }
    assert!(!stdout.contains("pa55word"));
}
