//! What strangers may take of the page: time and connections have bounds, and the scheduler beside it goes on. And
//! moments that the server knows and no calendar of the machine does.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use agent_metrics::program::text;

use crate::support::db;
use crate::support::program::{PATIENCE, Running, backdate, command, insert, two_agents};

/// The page and the scheduler in a process that may open so many files.
fn with_files(url: &str, files: u32) -> (Running, String) {
    let mut limited = command(url, &[]);
    let program = limited.get_program().to_owned();
    let mut shell = std::process::Command::new("sh");
    shell.args([
        "-c",
        &format!("ulimit -n {files} && exec \"$0\" run --listen 127.0.0.1:0"),
    ]);
    shell.arg(program);
    for (name, value) in limited.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    limited.stdin(std::process::Stdio::null());
    let running = Running::of(shell);
    let line = running.says("the page is at http://");
    let address = line
        .rsplit_once("http://")
        .unwrap()
        .1
        .trim_end_matches('/')
        .to_owned();
    (running, address)
}

fn status(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn idle_connections_take_neither_page_nor_scheduler_away() {
    let db = two_agents("page_limits_idle");
    let (running, address) = with_files(db.url(), 128);
    running.says("refreshed seller");
    assert_eq!(status(&address, "/healthz"), "200");
    let mut strangers = Vec::new();
    for i in 0..400 {
        let mut stream = TcpStream::connect(&address).unwrap();
        // the one says nothing, the other half a request
        if i % 2 == 0 {
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n");
        }
        strangers.push(stream);
    }
    assert_eq!(status(&address, "/healthz"), "200");
    // every session is lost, and each is opened again
    insert(&db, "second", 3);
    backdate(&db);
    db.exec(&format!(
        "SELECT pg_terminate_backend(pid)
         FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'agent-metrics'",
        db.name()
    ));
    running.says("leading");
    running.says("refreshed bot: 3 events");
    assert_eq!(status(&address, "/"), "200");
    // nobody is let wait for ever
    for mut stranger in strangers {
        stranger.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        match stranger.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_ne!(error.kind(), ErrorKind::WouldBlock, "still open: {error}"),
        }
    }
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn a_connection_carries_one_request() {
    let db = two_agents("page_limits_one");
    let (running, address) = with_files(db.url(), 128);
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(
            b"GET /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nnever all of it",
        )
        .unwrap();
    let mut answer = Vec::new();
    // ends by itself, with or without the body
    let _ = stream.read_to_end(&mut answer);
    assert!(
        answer.starts_with(b"HTTP/1.1 404"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn a_page_waits_for_the_database_with_bounds() {
    let db = two_agents("page_limits_wait");
    let (running, address) = with_files(db.url(), 128);
    running.says("refreshed seller");
    let holder = db.session();
    holder.exec("BEGIN; LOCK TABLE agent_metrics_internal.agent_watermarks");
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let address = address.clone();
            std::thread::spawn(move || status(&address, "/"))
        })
        .collect();
    for one in waiting {
        assert_eq!(one.join().unwrap(), "503");
    }
    holder.exec("COMMIT");
    assert_eq!(status(&address, "/"), "200");
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn every_moment_of_the_server_can_be_shown() {
    let db = db("page_limits_moments");
    let shown = |moment: &str| {
        db.value(&format!(
            "SELECT {} FROM (SELECT '{moment}'::timestamptz AS at) m",
            text::moment_of("m.at")
        ))
        .unwrap()
    };
    for (moment, text) in [
        ("2026-05-04 03:02:01+00", "4 May 2026, 03:02 UTC"),
        ("270000-01-01 00:00:00+00", "1 Jan 270000, 00:00 UTC"),
        ("294276-12-31 23:59:59+00", "31 Dec 294276, 23:59 UTC"),
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("0044-03-15 12:00:00+00 BC", "15 Mar 44, 12:00 UTC BC"),
    ] {
        assert_eq!(shown(moment), text);
    }
    db.exec(
        "SELECT agent_metrics.register_agent('a', 'support', 'Head');
         INSERT INTO agent_metrics_internal.alerts (agent_id, kind, dedupe_key, payload, created_at)
         SELECT 'a', 'drift', m, jsonb_build_object('summary', 'dated ' || m), m::timestamptz
         FROM unnest(ARRAY['270000-01-01', 'infinity', '-infinity', '0044-03-15 BC']) m",
    );
    let (running, address) = with_files(db.url(), 256);
    assert_eq!(status(&address, "/"), "200");
    assert_eq!(running.terminate(), Some(0));
}
