//! The `agent-metrics` command as a person or a service manager uses it. Nothing here sleeps: where something has to
//! happen first, its log line or a query of the server is waited for.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use agent_metrics::scheduler::clock::Clock;
use agent_metrics::scheduler::config::Server;
use agent_metrics::scheduler::run::{self, Stop};
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use crate::harness::{Db, Session, db, empty_db, server, url_of};

const PATIENCE: Duration = Duration::from_secs(60);

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
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn new(url: &str, arguments: &[&str]) -> Self {
        let mut child = command(url, arguments)
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
    fn says(&self, words: &str) -> String {
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
    fn terminate(mut self) -> Option<i32> {
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
fn two_agents(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         SELECT agent_metrics.register_agent('seller', 'sales', 'Head of Sales')",
    );
    insert(&db, "first", 20);
    db
}

fn insert(db: &Session, prefix: &str, count: u32) {
    db.exec(&format!(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, cost_usd, outcome_label)
         SELECT a.id, now() - make_interval(hours => n.n), format('%s-%s-%s', a.id, '{prefix}', n.n), 100, 0.01, 'success'
         FROM unnest(ARRAY['bot', 'seller']) AS a (id), generate_series(1, {count}) AS n (n)"
    ));
}

/// Makes it look as if the last refresh had been three days ago: many runs were missed since.
fn backdate(db: &Session) {
    db.exec("UPDATE agent_metrics.agent_watermarks SET refreshed_at = now() - interval '3 days'");
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
    db.exec("UPDATE agent_metrics.rollups SET turns = turns + 1 WHERE agent_id = 'bot' AND level = 'day'");
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
fn two_run_and_one_leads() {
    let db = two_agents("program_leader");
    let first = Running::new(db.url(), &["run"]);
    first.says("leading");
    first.says("refreshed seller");
    let second = Running::new(db.url(), &["run"]);
    second.says("following");
    assert_eq!(first.terminate(), Some(0));
    second.says("leading");
    assert_eq!(second.terminate(), Some(0));
}

#[test]
fn a_killed_leader_is_followed() {
    let db = two_agents("program_killed");
    let mut first = Running::new(db.url(), &["run"]);
    first.says("refreshed seller");
    let second = Running::new(db.url(), &["run"]);
    second.says("following");
    first.child.kill().unwrap();
    second.says("leading");
    assert_eq!(second.terminate(), Some(0));
}

#[test]
fn sigterm_in_the_middle_of_a_refresh_leaves_nothing_behind() {
    let db = two_agents("program_sigterm");
    let other = db.session();
    other.exec("BEGIN; LOCK TABLE agent_metrics.conversations");
    let running = Running::new(db.url(), &["run"]);
    running.says("leading");
    let backends = format!(
        "FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'agent-metrics'",
        db.name()
    );
    db.until(&format!(
        "SELECT count(*) = 1 {backends} AND wait_event_type = 'Lock'"
    ));
    assert_eq!(running.terminate(), Some(0));
    // The lock is still held: what waited for it was cancelled.
    db.until(&format!("SELECT count(*) = 0 {backends}"));
    other.exec("COMMIT");
    works(db.url(), &["once"]);
    assert_eq!(works(db.url(), &["verify"]), "");
}

#[test]
fn a_lost_session_is_opened_again() {
    let db = two_agents("program_lost");
    let running = Running::new(db.url(), &["run"]);
    running.says("refreshed seller");
    insert(&db, "second", 3);
    backdate(&db);
    db.exec(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'agent-metrics'",
        db.name()
    ));
    running.says("lost the server");
    running.says("leading");
    running.says("refreshed bot: 3 events");
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn run_can_serve_the_page() {
    let db = two_agents("program_serve");
    let running = Running::new(db.url(), &["run", "--serve", "127.0.0.1:0"]);
    running.says("the page is at http://127.0.0.1:");
    running.says("refreshed seller");
    assert_eq!(running.terminate(), Some(0));
    let line = fails(db.url(), &["serve", "--listen", "256.0.0.1:80"]);
    assert!(
        line.contains("256.0.0.1:80") && line.contains("--listen"),
        "{line}"
    );
}

/// A clock on which time passes when the test says so.
struct TestClock {
    /// Each wait that the scheduler asks for, with the means to end it.
    waits: mpsc::UnboundedSender<(Duration, tokio::sync::oneshot::Sender<()>)>,
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    async fn sleep(&self, duration: Duration) {
        let (end, ended) = tokio::sync::oneshot::channel();
        self.waits.send((duration, end)).unwrap();
        let _ = ended.await;
    }
}

#[test]
fn run_refreshes_when_due_and_sleeps_until_then() {
    let db = two_agents("program_clock");
    let server = Server::read(Some(db.url()), |_| None).unwrap();
    let refreshed = || {
        db.value("SELECT count(*) FROM agent_metrics.conversations")
            .unwrap()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (waits, mut waiting) = mpsc::unbounded_channel();
    let (sender, stop) = Stop::new();
    let scheduler =
        runtime.spawn(async move { run::run(&server, &TestClock { waits }, stop).await });
    let mut next_wait = || {
        runtime
            .block_on(async { tokio::time::timeout(PATIENCE, waiting.recv()).await })
            .unwrap()
            .unwrap()
    };

    let (wait, end) = next_wait();
    assert_eq!(refreshed(), "40", "both were due");
    assert!((1.0..=30.0).contains(&wait.as_secs_f64()), "{wait:?}");

    insert(&db, "second", 5);
    end.send(()).unwrap();
    let (_, end) = next_wait();
    assert_eq!(refreshed(), "40", "nobody is due yet");

    // The sales agent alone is due: it last ran before the hour.
    db.exec("UPDATE agent_metrics.agent_watermarks SET refreshed_at = now() - interval '2 hours' WHERE agent_id = 'seller'");
    end.send(()).unwrap();
    let (wait, _end) = next_wait();
    assert_eq!(refreshed(), "45", "the sales agent alone was refreshed");
    assert!(wait <= Duration::from_secs(30), "{wait:?}");

    sender.send_replace(true);
    runtime.block_on(scheduler).unwrap().unwrap();
    db.until(&format!(
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'agent-metrics'",
        db.name()
    ));
}

#[test]
fn the_demo_shows_twelve_tiles_and_a_second_run_adds_nothing() {
    let db = db("program_demo");
    let first = works(db.url(), &["demo"]);
    let tiles = |text: &str| -> Vec<String> {
        let is_tile = |line: &&str| line.contains(" at least ") || line.contains(" at most ");
        text.lines().filter(is_tile).map(str::to_owned).collect()
    };
    assert_eq!(tiles(&first).len(), 12, "{first}");
    for (line, view) in tiles(&first).iter().zip(
        db.lines("SELECT agent_id, metric FROM agent_kpi.cfo_tiles ORDER BY agent_id, position"),
    ) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[..2].join("|"), view);
    }
    let count = "SELECT count(*) FROM agent_metrics.agent_events";
    let turns = db.number(count);
    assert!((100_000.0..160_000.0).contains(&turns), "{turns}");
    assert_eq!(
        db.value("SELECT count(*) FROM agent_metrics.verify()")
            .as_deref(),
        Some("0")
    );
    assert!(db.number("SELECT sum(conversations) FROM agent_kpi.unmapped_labels") > 5.0);
    assert_eq!(db.value("SELECT verdict FROM agent_kpi.cfo_tiles WHERE agent_id = 'support-bot' AND metric = 'task_success_rate'").as_deref(), Some("breach"));
    for (agent, metric, low, high) in [
        ("support-bot", "task_success_rate", 0.88, 0.92),
        ("support-bot", "deflection_rate", 0.45, 0.55),
        ("support-bot", "cost_per_unit_usd", 0.20, 0.30),
        ("sales-agent", "qualified_lead_rate", 0.20, 0.25),
        ("ops-agent", "automation_rate", 0.82, 0.88),
        ("ops-agent", "cost_per_unit_usd", 0.05, 0.15),
    ] {
        let value = db.number(&format!("SELECT value_30d FROM agent_kpi.cfo_tiles WHERE agent_id = '{agent}' AND metric = '{metric}'"));
        assert!((low..high).contains(&value), "{agent} {metric}: {value}");
    }

    // reviewed samples give the tile of trust its number
    assert_eq!(
        db.number("SELECT count(*) FROM agent_kpi.cfo_tiles WHERE metric = 'hallucination_rate' AND value_30d BETWEEN 0 AND 0.1 AND ci_high < 0.2"),
        3.0
    );

    // the books of last month: a refund and a bill came late, and nothing else
    let books = |text: &str| -> Vec<String> {
        let line = |line: &&str| {
            line.contains(" refund (-") || line.contains("1 line of model-host (310.4 usd)")
        };
        text.lines().filter(line).map(str::to_owned).collect()
    };
    assert_eq!(books(&first).len(), 2, "{first}");
    assert_eq!(
        db.lines("SELECT metric, value_change FROM agent_kpi.reported_and_known WHERE adjustments > 0 ORDER BY metric LIMIT 1"),
        ["billed_usd|310.4000000000"]
    );
    assert_eq!(
        db.lines(
            "SELECT metric FROM agent_kpi.reported_and_known WHERE adjustments > 0 ORDER BY metric"
        ),
        ["billed_usd", "revenue_per_agent_hour_usd", "revenue_usd"]
    );

    let second = works(db.url(), &["demo"]);
    assert_eq!(tiles(&second), tiles(&first));
    assert_eq!(books(&second), books(&first));
    assert_eq!(db.number(count), turns);
}

#[test]
fn the_demo_leaves_somebody_elses_events_alone() {
    let db = two_agents("program_demo_refused");
    let line = fails(db.url(), &["demo"]);
    assert!(
        line.contains("of its own") && line.contains("empty database"),
        "{line}"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM agent_metrics.agents")
            .as_deref(),
        Some("2")
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
