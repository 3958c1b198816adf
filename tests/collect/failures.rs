//! Whatever fails: nobody is told that it is stored when it is not, and what was told otherwise may come again.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Collector, JSON, PROTOBUF, TURNS, json, request, traces, turn};
use crate::support::{Session, program::Running};
use crate::support::{db, server};

#[test]
fn one_impossible_request_is_refused_alone() {
    let db = db("collect_impossible");
    let collector = Collector::start(db.url());
    std::thread::scope(|scope| {
        for number in 0..60 {
            let door = &collector.door;
            scope.spawn(move || {
                let mut body = json(number);
                let is_bad = number % 12 == 5;
                if is_bad {
                    // JSON, and no number of the database
                    body = body.replace("\"intValue\": \"10\"", "\"intValue\": 1e999999");
                }
                let answer = door.post("/v1/traces", &[("Content-Type", JSON)], body.as_bytes());
                if is_bad {
                    answer.is(400, "numeric");
                } else {
                    answer.is(200, "{}");
                }
            });
        }
    });
    assert_eq!(db.value(TURNS).unwrap(), "55");
}

#[test]
fn while_the_database_is_away_senders_are_told_to_come_again() {
    let db = db("collect_away");
    let collector = Collector::start(db.url());
    collector.send(vec![turn(0)]).is(200, "");
    let elsewhere = Session::open(server());
    elsewhere.exec(&format!(
        "ALTER DATABASE \"{0}\" ALLOW_CONNECTIONS false;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = '{0}' AND application_name = 'agent-metrics'",
        db.name()
    ));
    for _ in 0..3 {
        let answer = collector.send(vec![turn(1)]);
        answer.is(503, "database");
        assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
    }
    let mut stream = collector.connect();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    super::Answer::read(&mut std::io::BufReader::new(stream)).is(503, "away");
    elsewhere.exec(&format!(
        "ALTER DATABASE \"{}\" ALLOW_CONNECTIONS true",
        db.name()
    ));
    // well again by itself
    while collector.send(vec![turn(1)]).status != 200 {}
    assert_eq!(db.value(TURNS).unwrap(), "2");
    // a session that is lost between two requests is nobody's trouble
    db.exec(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = 'agent-metrics'",
    );
    collector.send(vec![turn(2)]).is(200, "");
}

#[test]
fn a_database_that_is_held_up_holds_up_nobody_for_long() {
    let db = db("collect_held_up");
    let collector = Collector::start(db.url());
    let holder = db.session();
    holder.exec("BEGIN");
    holder.exec("LOCK TABLE agent_metrics.agent_events IN ACCESS EXCLUSIVE MODE");
    let answer = collector.send(vec![turn(0)]);
    answer.is(503, "database");
    assert!(answer.head.contains("retry-after"), "{}", answer.head);
    holder.exec("COMMIT");
    collector.send(vec![turn(0)]).is(200, "");
    assert_eq!(db.value(TURNS).unwrap(), "1");
}

/// A way to the server on which the answer to a COMMIT can be held back.
struct Way {
    address: String,
    is_armed: Arc<AtomicBool>,
}

impl Way {
    fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let is_armed = Arc::new(AtomicBool::new(false));
        let (server, armed) = (server.to_owned(), is_armed.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(&server).unwrap();
                let is_mute = Arc::new(AtomicBool::new(false));
                let (there, back) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (armed, mute) = (armed.clone(), is_mute.clone());
                std::thread::spawn(move || {
                    carry(there, far, |bytes| {
                        if armed.load(Ordering::SeqCst)
                            && bytes.windows(7).any(|word| word == b"COMMIT\0")
                        {
                            mute.store(true, Ordering::SeqCst);
                        }
                        true
                    })
                });
                std::thread::spawn(move || carry(back, near, |_| !is_mute.load(Ordering::SeqCst)));
            }
        });
        Self { address, is_armed }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if passes(&buffer[..read]) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn killed_between_commit_and_answer_the_retry_changes_nothing() {
    let db = db("collect_killed");
    let (before, rest) = db.url().split_once('@').unwrap();
    let (server, database) = rest.split_once('/').unwrap();
    let way = Way::to(server);
    let url = format!("{before}@{}/{database}", way.address);
    let mut collector = Collector::start(&url);
    way.is_armed.store(true, Ordering::SeqCst);
    let body = traces((0..50).map(turn).collect());
    let mut stream = collector.connect();
    let headers = [("Content-Type", PROTOBUF)];
    stream
        .write_all(&request("POST", "/v1/traces", &headers, &body))
        .unwrap();
    db.until("SELECT count(*) = 50 FROM agent_metrics.agent_events");
    collector.running.child.kill().unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert_eq!(said, b"", "an answer before the commit was known");
    let rows = "SELECT e::text FROM agent_metrics.agent_events e ORDER BY 1";
    let stored = db.lines(rows);
    let collector = Collector::of(Running::new(
        db.url(),
        &["collect", "--listen", "127.0.0.1:0"],
    ));
    collector.post("/v1/traces", &headers, &body).is(200, "");
    assert_eq!(db.lines(rows), stored);
}

#[test]
fn beside_the_scheduler_it_ends_in_order() {
    let db = db("collect_run");
    db.exec("SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support')");
    let arguments = ["run", "--collect", "127.0.0.1:0", "--listen", "127.0.0.1:0"];
    let collector = Collector::of(Running::new(db.url(), &arguments));
    collector.running.says("leading");
    collector.send(vec![turn(0)]).is(200, "");
    assert_eq!(collector.running.terminate(), Some(0));
    assert_eq!(db.value(TURNS).unwrap(), "1");
}
