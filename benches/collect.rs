//! Bar O1: how many spans a second the door takes, with a server beside it. `make bench-collect` runs it; it needs the
//! program in target/release and a cluster (scripts/with-cluster).
//!
//! Clients send requests of 100 spans as protobuf, each waiting for its answer. Once into the database as it is, once
//! with an ingest_as() that does nothing, which is the door and the decoding alone.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio_postgres::{Client, NoTls};

const SPANS: u64 = 100;
const CLIENTS: u64 = 16;
const SECONDS: u64 = 20;
/// Bar O1, spans a second.
const BAR: f64 = 10_000.0;

fn main() {
    // `cargo test --benches` runs it too, without the flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let server = std::env::var("AGENT_METRICS_TEST_URL").expect("run it by scripts/with-cluster");
    let (before, _) = server.rsplit_once('/').unwrap();
    let url = format!("{before}/bench_collect");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let connect = |url: &str| {
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        })
    };
    let exec = |client: &Client, sql: &str| runtime.block_on(client.batch_execute(sql)).unwrap();
    let postgres = connect(&server);
    exec(&postgres, "DROP DATABASE IF EXISTS bench_collect");
    exec(&postgres, "CREATE DATABASE bench_collect");
    let client = connect(&url);
    exec(&client, "CREATE EXTENSION agent_metrics");
    exec(
        &client,
        "SELECT agent_metrics.setup(), agent_metrics.register_agent('bot', 'support', 'Head of Support')",
    );
    println!(
        "clients {CLIENTS}, {SPANS} spans a request, {SECONDS} s each, half of the spans are turns"
    );
    println!("| what | spans/s | p50 ms | p99 ms | door: CPU s, peak MB | server CPU s |");
    println!("|---|---|---|---|---|---|");
    let into = round("into the database", &url, 0);
    let stored = runtime
        .block_on(client.query_one("SELECT count(*) FROM agent_metrics.agent_events", &[]))
        .unwrap();
    let stored: i64 = stored.get(0);
    exec(
        &client,
        "CREATE OR REPLACE FUNCTION agent_metrics.ingest_as(delivered jsonb, token text)
         RETURNS TABLE (stored bigint, repeated bigint, quarantined bigint, waiting bigint)
         LANGUAGE sql AS 'SELECT 0::bigint, 0::bigint, 0::bigint, 0::bigint'",
    );
    round(
        "the door alone: a statement that parses and stores nothing",
        &url,
        1 << 30,
    );
    println!("{stored} turns were stored in the first round");
    println!(
        "O1: {into:.0} spans/s, {:.2} of the bar of {BAR:.0}",
        into / BAR
    );
}

struct Door {
    process: Child,
    address: String,
}

impl Door {
    fn open(url: &str) -> Self {
        let program = std::env::var("AGENT_METRICS").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/agent-metrics").to_owned()
        });
        let mut process = Command::new(program)
            .args(["collect", "--listen", "127.0.0.1:0"])
            .env("DATABASE_URL", url)
            .stderr(Stdio::piped())
            .spawn()
            .expect("build it first: make program");
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("http://") {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended");
        }
        // what it says later is for the terminal
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::stderr()));
        let address = line.trim().rsplit_once("http://").unwrap().1.to_owned();
        Self { process, address }
    }
}

/// User and system time of a process, in seconds.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .collect();
    let ticks = |place: usize| {
        fields
            .get(place)
            .and_then(|field| field.parse::<f64>().ok())
    };
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

/// CPU of every process of PostgreSQL on the machine, of which the benchmark's is the busy one.
fn server_cpu() -> f64 {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "postgres")
        })
        .map(cpu)
        .sum()
}

/// Returns spans a second.
fn round(what: &str, url: &str, first: u64) -> f64 {
    let door = Door::open(url);
    let (address, pid) = (door.address.clone(), door.process.id());
    let (next, sent) = (AtomicU64::new(first), AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs(SECONDS);
    let (begun, door_before, server_before) = (Instant::now(), cpu(pid), server_cpu());
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = BufReader::new(TcpStream::connect(&address).unwrap());
                    stream.get_ref().set_nodelay(true).unwrap();
                    let mut times = Vec::new();
                    while Instant::now() < end {
                        let body = request(next.fetch_add(1, Ordering::Relaxed));
                        let sent_at = Instant::now();
                        post(&mut stream, &body);
                        times.push(sent_at.elapsed());
                        sent.fetch_add(SPANS, Ordering::Relaxed);
                    }
                    times
                })
            })
            .collect();
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    let seconds = begun.elapsed().as_secs_f64();
    times.sort();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.split_once("VmHWM:").unwrap().1.trim_start();
    let peak: u64 = peak.split(' ').next().unwrap().parse().unwrap();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    let speed = sent.load(Ordering::Relaxed) as f64 / seconds;
    println!(
        "| {what} | {speed:.0} | {:.1} | {:.1} | {:.1}, {} | {:.1} |",
        at(0.5),
        at(0.99),
        cpu(pid) - door_before,
        peak / 1024,
        server_cpu() - server_before
    );
    speed
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn post(stream: &mut BufReader<TcpStream>, body: &[u8]) {
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .get_mut()
        .write_all(&[head.as_bytes(), body].concat())
        .unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "no answer");
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head.split_once("content-length: ").map_or(0, |(_, rest)| {
        rest.split_once('\r').unwrap().0.parse().unwrap()
    });
    stream.read_exact(&mut vec![0; length]).unwrap();
}

fn word(key: &str, text: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(text.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn count(key: &str, number: i64) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::IntValue(number)),
        }),
        ..KeyValue::default()
    }
}

/// Twenty traces of an agent, two calls of a model, a tool, and a span of something else; with the messages that most
/// instrumentations send along.
fn request(number: u64) -> Vec<u8> {
    let message = "What somebody said, and what was answered. ".repeat(20);
    let spans = (0..SPANS).map(|place| {
        let (trace, role) = (number * (SPANS / 5) + place / 5, place % 5);
        let began = 1_767_607_200_000_000_000 + trace * 1_000_000;
        let mut attributes = vec![
            word("server.address", "api.example"),
            count("server.port", 443),
        ];
        match role {
            0 => attributes.extend([
                word("gen_ai.operation.name", "invoke_agent"),
                word("gen_ai.agent.name", "bot"),
                word("gen_ai.conversation.id", &format!("c-{}", trace / 5)),
            ]),
            1 | 2 => attributes.extend([
                word("gen_ai.operation.name", "chat"),
                word("gen_ai.provider.name", "openai"),
                word("gen_ai.request.model", "large-model-4"),
                word("gen_ai.response.id", &format!("r-{trace}-{role}")),
                count("gen_ai.usage.input_tokens", 1200),
                count("gen_ai.usage.output_tokens", 90),
                word("gen_ai.input.messages", &message),
            ]),
            3 => attributes.extend([
                word("gen_ai.operation.name", "execute_tool"),
                word("gen_ai.tool.name", "look_up"),
            ]),
            _ => attributes.push(word("http.request.method", "GET")),
        }
        Span {
            trace_id: u128::from(trace + 1).to_be_bytes().to_vec(),
            span_id: (trace * 8 + role + 1).to_be_bytes().to_vec(),
            parent_span_id: if role == 0 {
                Vec::new()
            } else {
                (trace * 8 + 1).to_be_bytes().to_vec()
            },
            name: "span".to_owned(),
            start_time_unix_nano: began + role,
            end_time_unix_nano: began + 900_000,
            attributes,
            ..Span::default()
        }
    });
    let scope = ScopeSpans {
        spans: spans.collect(),
        ..ScopeSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![word("service.name", "support-api")],
                ..Resource::default()
            }),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }],
    }
    .encode_to_vec()
}
