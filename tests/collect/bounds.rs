//! What senders may take: memory, time, connections.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::time::Instant;

use super::{Answer, Collector, JSON, PROTOBUF, TURNS, turn};
use crate::support::db;

#[test]
fn a_body_of_a_gigabyte_is_refused_without_memory() {
    let db = db("collect_gigabyte");
    let collector = Collector::start(db.url());
    let megabyte = vec![b' '; 1024 * 1024];
    // it says how long it is, and it does not
    for head in [
        "Content-Length: 1073741824\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n",
    ] {
        let mut stream = collector.connect();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let answer = std::thread::spawn(move || Answer::read(&mut reader));
        let post = format!("POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n{head}");
        stream.write_all(post.as_bytes()).unwrap();
        for _ in 0..1024 {
            let part = if head.starts_with("Content") {
                megabyte.clone()
            } else {
                [b"100000\r\n", &megabyte[..], b"\r\n"].concat()
            };
            // whoever has answered need not listen to the end
            if stream.write_all(&part).is_err() {
                break;
            }
        }
        answer.join().unwrap().is(413, "16 MB");
    }
    let status = format!("/proc/{}/status", collector.running.child.id());
    let status = std::fs::read_to_string(status).unwrap();
    let peak = status.split_once("VmHWM:").unwrap().1.trim_start();
    let kilobytes: u64 = peak.split(' ').next().unwrap().parse().unwrap();
    assert!(kilobytes < 120 * 1024, "{kilobytes} kB");
    collector.send(vec![turn(0)]).is(200, "");
}

#[test]
fn who_is_slow_is_told_so_and_holds_up_nobody() {
    let db = db("collect_slow");
    let collector = Collector::start(db.url());
    let slow = |text: &str| {
        let mut stream = collector.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let head = slow("POST /v1/traces HTTP/1.1\r\nHost:");
    let body = slow(&format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {PROTOBUF}\r\nContent-Length: 100\r\n\r\nabc"
    ));
    let silent = slow("");
    let begun = Instant::now();
    for number in 0..20 {
        collector.send(vec![turn(number)]).is(200, "");
    }
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
    Answer::read(&mut BufReader::new(head)).is(408, "");
    Answer::read(&mut BufReader::new(body)).is(408, "too slowly");
    // who has asked for nothing is told nothing
    let mut said = String::new();
    match (&silent).read_to_string(&mut said) {
        Ok(_) => assert_eq!(said, ""),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert_eq!(db.value(TURNS).unwrap(), "20");
}

#[test]
fn five_hundred_clients_are_answered_in_few_transactions() {
    let db = db("collect_clients");
    let collector = Collector::start(db.url());
    std::thread::scope(|scope| {
        for number in 0..500 {
            let door = &collector.door;
            scope.spawn(move || door.send(vec![turn(number)]).is(200, "").status);
        }
    });
    assert_eq!(db.value(TURNS).unwrap(), "500");
    let transactions =
        db.number("SELECT count(DISTINCT e.recorded_in) FROM agent_metrics.agent_events e");
    assert!(transactions <= 250.0, "{transactions}");
}

#[test]
fn when_memory_is_used_up_the_next_is_told_to_come_again() {
    let db = db("collect_memory");
    let arguments = ["collect", "--listen", "127.0.0.1:0", "--memory", "16"];
    let collector = Collector::of(crate::support::program::Running::new(db.url(), &arguments));
    // two bodies that never end hold fifteen megabytes
    let half = vec![b' '; 15 * 1024 * 1024 / 2];
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = collector.connect();
            let head = format!(
                "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: 16000000\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&half).unwrap();
            stream
        })
        .collect();
    let large = vec![b' '; 8 * 1024 * 1024];
    let answer = collector.post("/v1/traces", &[("Content-Type", JSON)], &large);
    answer.is(429, "more is sent");
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    // what is small has room
    collector.send(vec![turn(0)]).is(200, "");
    drop(held);
}
