//! `agent-metrics run`: one leads, another takes over, a lost session is opened again, and it ends cleanly.
//! Nothing here sleeps: log lines are waited for.

use std::time::Duration;

use agent_metrics::program::connect::config::Server;
use agent_metrics::program::scheduler::{clock::Clock, run};
use agent_metrics::program::shutdown::Stop;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use crate::support::program::{PATIENCE, Running, backdate, fails, insert, two_agents, works};

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
        "SELECT pg_terminate_backend(pid)
         FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'agent-metrics'",
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
    let running = Running::new(db.url(), &["run", "--listen", "127.0.0.1:0"]);
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
    db.exec(
        "UPDATE agent_metrics_internal.agent_watermarks
         SET refreshed_at = now() - interval '2 hours' WHERE agent_id = 'seller'",
    );
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
