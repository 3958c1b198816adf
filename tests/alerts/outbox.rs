//! Alerts: the outbox, and delivery to a real HTTP server that answers well, badly, late, half or not at all.
//! What is an alert is in rules.rs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_metrics::program::alerts::{Delivered, Outbox, http::Post, signature};
use agent_metrics::program::scheduler::clock::Clock;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::runtime::Runtime;

use crate::support::asserts::{assert_no_rows, refused_by_us};
use crate::support::program::{command, program};
use crate::support::{Db, Session, db};

/// How the receiver behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Accepts,
    Busy,
    Broken,
    Gone,
    Silent,
    BreaksOff,
}

/// A message as it arrived.
#[derive(Clone)]
pub struct Arrived {
    headers: HeaderMap,
    pub body: String,
}

impl Arrived {
    fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A server on a free port, what it got, and how it behaves.
pub struct Receiver {
    runtime: Runtime,
    url: String,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    manner: Arc<Mutex<Manner>>,
}

type Shared = (Arc<Mutex<Vec<Arrived>>>, Arc<Mutex<Manner>>);

async fn receive(
    State((arrived, manner)): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> Response {
    arrived.lock().unwrap().push(Arrived { headers, body });
    let manner = *manner.lock().unwrap();
    match manner {
        Manner::Accepts => "ok".into_response(),
        Manner::Busy => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "900")], "").into_response()
        }
        Manner::Broken => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Manner::Gone => (StatusCode::NOT_FOUND, "no_service").into_response(),
        Manner::Silent => std::future::pending().await,
        Manner::BreaksOff => {
            let broken: Result<Bytes, std::io::Error> = Err(std::io::Error::other("cut"));
            Body::from_stream(futures_util::stream::iter([
                Ok(Bytes::from("half")),
                broken,
            ]))
            .into_response()
        }
    }
}

impl Receiver {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (arrived, manner) = (Arc::default(), Arc::new(Mutex::new(Manner::Accepts)));
        let app = Router::new()
            .fallback(receive)
            .with_state((Arc::clone(&arrived), Arc::clone(&manner)));
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let url = format!("http://{}/services/hidden", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            runtime,
            url,
            arrived,
            manner,
        }
    }

    fn behaves(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn take(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.arrived.lock().unwrap())
    }

    /// Delivers what is due at a moment.
    pub fn deliver(&self, db: &Db, at: DateTime<Utc>) -> Delivered {
        let url = self.url.clone();
        let post = Post::new()
            .unwrap()
            .with_patience(Duration::from_millis(300));
        let outbox = Outbox::new(post, move |name| match name {
            "AGENT_METRICS_URL" => Some(url.clone()),
            "AGENT_METRICS_KEY" => Some("key".to_owned()),
            _ => None,
        });
        self.runtime.block_on(async {
            outbox
                .deliver(&db.client().await, &Still(at))
                .await
                .unwrap()
        })
    }
}

/// A clock that stands.
struct Still(DateTime<Utc>);

impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }

    async fn sleep(&self, _: Duration) {}
}

pub fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub const SENT: Delivered = Delivered {
    sent: 1,
    waiting: 0,
    dead: 0,
};
const WAITING: Delivered = Delivered {
    sent: 0,
    waiting: 1,
    dead: 0,
};
pub const NOTHING: Delivered = Delivered {
    sent: 0,
    waiting: 0,
    dead: 0,
};

pub fn webhook(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "-- nobody asks whether to keep it
         SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support', actor => 'human');
         INSERT INTO agent_metrics.alert_channels (channel, kind, url_env, secret_env)
         VALUES ('hook', 'webhook', 'AGENT_METRICS_URL', 'AGENT_METRICS_KEY')",
    );
    db
}

pub fn enqueue(db: &Session, key: &str) -> Option<String> {
    db.value(&format!(
        "SELECT agent_metrics_internal.enqueue_alert(
             'drift', 'bot', '{key}',
             '{{\"summary\": \"it fell\", \"metric\": \"eval_success_rate\"}}', 'Head of Support')"
    ))
}

fn state(db: &Session) -> String {
    db.lines("SELECT state, attempts, last_error FROM agent_metrics_internal.alert_deliveries")
        .join("; ")
}

#[test]
fn an_alert_is_signed_and_sent_once() {
    let (db, receiver) = (webhook("alerts_signed"), Receiver::new());
    let now = moment("2026-03-02T10:00:00Z");
    let id = enqueue(&db, "k").unwrap();
    assert_eq!(enqueue(&db, "k"), None, "the same finding is told once");
    // what is rolled back was never found
    db.exec(
        "BEGIN; SELECT agent_metrics_internal.enqueue_alert('drift', 'bot', 'other', '{}', NULL); ROLLBACK",
    );
    assert_eq!(receiver.deliver(&db, now), SENT);
    assert_eq!(receiver.deliver(&db, now + TimeDelta::minutes(10)), NOTHING);
    let arrived = receiver.take();
    assert_eq!(arrived.len(), 1);
    let message = &arrived[0];
    assert_eq!(
        message.header("x-agent-metrics-timestamp"),
        now.timestamp().to_string()
    );
    assert_eq!(
        message.header("x-agent-metrics-signature"),
        format!(
            "sha256={}",
            signature("key", &now.timestamp().to_string(), &message.body)
        )
    );
    let body: serde_json::Value = serde_json::from_str(&message.body).unwrap();
    assert_eq!(body["message_id"], message.header("idempotency-key"));
    assert_eq!(body["alerts"][0]["alert_id"], id);
    assert_eq!(body["alerts"][0]["summary"], "it fell");
    assert_eq!(state(&db), "sent|1|");
    assert_eq!(
        db.lines("SELECT sent_count, waiting_count, dead_count FROM agent_kpi.alerts"),
        ["1|0|0"]
    );
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_dead() {
    let (db, receiver) = (webhook("alerts_retry"), Receiver::new());
    let mut now = moment("2026-03-02T10:00:00Z");
    enqueue(&db, "k");
    // 429 with Retry-After: 900 seconds are waited for, though half a minute would do otherwise
    receiver.behaves(Manner::Busy);
    assert_eq!(receiver.deliver(&db, now), WAITING);
    assert_eq!(state(&db), "waiting|1|the receiver answered 429");
    assert_eq!(
        receiver.deliver(&db, now + TimeDelta::seconds(899)),
        NOTHING
    );
    now += TimeDelta::seconds(900);
    // each failure once, a while apart
    for (manner, error) in [
        (Manner::Broken, "the receiver answered 500"),
        (Manner::Silent, "the receiver did not answer in time"),
        (Manner::BreaksOff, "the receiver broke the connection off"),
    ] {
        receiver.behaves(manner);
        assert_eq!(receiver.deliver(&db, now), WAITING, "{error}");
        assert!(state(&db).ends_with(error), "{}", state(&db));
        assert_eq!(
            receiver.deliver(&db, now + TimeDelta::seconds(10)),
            NOTHING,
            "it waits"
        );
        now += TimeDelta::hours(1);
    }
    receiver.behaves(Manner::Accepts);
    assert_eq!(receiver.deliver(&db, now), SENT);
    let arrived = receiver.take();
    assert_eq!(arrived.len(), 5);
    assert!(
        arrived.iter().all(
            |message| message.header("idempotency-key") == arrived[0].header("idempotency-key")
        ),
        "one message, one key"
    );
    // gone: no use to try again; doctor says so, and the operator sends it once more
    enqueue(&db, "gone");
    receiver.behaves(Manner::Gone);
    assert_eq!(receiver.deliver(&db, now), Delivered { dead: 1, ..NOTHING });
    let (code, said, _) = program(db.url(), &["doctor"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("given up on channel hook after 1 attempts: the receiver answered 404")
            && said.contains("requeue_alerts('hook')"),
        "{said}"
    );
    assert!(!said.contains("hidden"), "{said}");
    assert_eq!(
        db.lines("SELECT agent_metrics.requeue_alerts('hook'), agent_metrics.requeue_alerts()"),
        ["1|0"]
    );
    receiver.behaves(Manner::Accepts);
    assert_eq!(receiver.deliver(&db, now), SENT);
    // twelve attempts and no more
    db.exec("UPDATE agent_metrics.alert_channels SET remind_after = '1 year'");
    enqueue(&db, "never");
    receiver.behaves(Manner::Broken);
    let attempts = (0..20)
        .map(|hour| receiver.deliver(&db, now + TimeDelta::hours(2 * hour)))
        .filter(|delivered| *delivered != NOTHING)
        .count();
    assert_eq!(attempts, 12);
    assert_eq!(
        db.value(
            "SELECT max(attempts) FROM agent_metrics_internal.alert_deliveries WHERE state = 'dead'"
        )
        .as_deref(),
        Some("12")
    );
}

#[test]
fn secrets_stay_in_the_environment() {
    let (db, receiver) = (webhook("alerts_secrets"), Receiver::new());
    let pasted = "https://hooks.example/services/hidden";
    for sql in [
        format!(
            "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env) VALUES ('s', 'slack', '{pasted}')"
        ),
        format!("UPDATE agent_metrics.alert_channels SET secret_env = '{pasted}'"),
        "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env)
         VALUES ('s', 'slack', 'PGPASSWORD')"
            .to_owned(),
        "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env)
         VALUES ('s', 'webhook', 'AGENT_METRICS_URL')"
            .to_owned(),
    ] {
        refused_by_us(&db, &sql, "22023", "channel");
        assert!(!db.error(&sql).to_string().contains("hidden"));
    }
    refused_by_us(
        &db,
        "UPDATE agent_metrics.alert_channels SET time_zone = 'Mars'",
        "22023",
        "\"Mars\"",
    );
    // a variable that is not set is said by its name; nothing that is set is said
    db.exec("UPDATE agent_metrics.alert_channels SET url_env = 'AGENT_METRICS_UNSET'");
    enqueue(&db, "k");
    assert_eq!(
        receiver.deliver(&db, moment("2026-03-02T10:00:00Z")),
        WAITING
    );
    assert_eq!(
        state(&db),
        "waiting|1|the environment of the program has no AGENT_METRICS_UNSET"
    );
    db.exec(
        "UPDATE agent_metrics.alert_channels SET url_env = 'AGENT_METRICS_URL';
         UPDATE agent_metrics_internal.alert_deliveries SET next_attempt_at = '-infinity'",
    );
    receiver.behaves(Manner::Broken);
    let output = command(db.url(), &["once"])
        .env("AGENT_METRICS_URL", &receiver.url)
        .env("AGENT_METRICS_KEY", "hidden-key")
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("answered 500") && !said.contains("hidden"),
        "{said}"
    );
    assert_eq!(receiver.take().len(), 1);
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics_internal.alert_deliveries d WHERE d::text LIKE '%hidden%'",
    );
}

#[test]
fn killed_between_sending_and_recording_it_is_sent_again_with_the_same_key() {
    let (db, receiver) = (webhook("alerts_killed"), Receiver::new());
    enqueue(&db, "k");
    receiver.behaves(Manner::Silent);
    let mut child = command(db.url(), &["once"])
        .env("AGENT_METRICS_URL", &receiver.url)
        .env("AGENT_METRICS_KEY", "key")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while receiver.arrived.lock().unwrap().is_empty() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state(&db), "waiting|1|");
    receiver.behaves(Manner::Accepts);
    let now = Utc::now();
    assert_eq!(
        receiver.deliver(&db, now),
        NOTHING,
        "the claim still stands"
    );
    assert_eq!(receiver.deliver(&db, now + TimeDelta::minutes(3)), SENT);
    let arrived = receiver.take();
    assert_eq!(arrived.len(), 2);
    assert_eq!(
        arrived[0].header("idempotency-key"),
        arrived[1].header("idempotency-key")
    );
    // what the dead one would have recorded later changes nothing
    assert_eq!(
        db.number(&format!(
            "SELECT agent_metrics_internal.record_delivery('hook', '{}', 1, 'retry')",
            arrived[0].header("idempotency-key")
        )),
        0.0
    );
    assert_eq!(state(&db), "sent|2|");
}

#[test]
fn a_poisonous_alert_is_given_up_alone() {
    let (db, receiver) = (webhook("alerts_poison"), Receiver::new());
    let now = moment("2026-03-02T10:00:00Z");
    // an alert from before depth was bounded
    db.exec("ALTER TABLE agent_metrics_internal.alerts DROP CONSTRAINT payload_is_shallow");
    let poisons = [
        (
            "nested",
            "jsonb_build_object('summary', 'x', 'deep', (repeat('[', 3000) || repeat(']', 3000))::jsonb)",
        ),
        (
            "huge",
            "jsonb_build_object('summary', repeat('x', 3000000))",
        ),
        ("scalar", "'5'::jsonb"),
        ("list", "'[1]'::jsonb"),
        (
            "of another type",
            "'{\"summary\": {\"a\": 1}, \"metric\": [2]}'::jsonb",
        ),
    ];
    let plant = |prefix: &str| {
        for (key, payload) in poisons {
            db.exec(&format!(
                "SELECT agent_metrics_internal.enqueue_alert(
                     'drift', 'bot', '{prefix}{key}', {payload}, NULL)"
            ));
        }
        enqueue(&db, &format!("{prefix}good"));
        // dates that no calendar of the machine has
        db.exec(&format!(
            "SELECT agent_metrics_internal.enqueue_alert(
                 'drift', 'bot', '{prefix}far', '{{\"summary\": \"far\", \"at\": \"250000-01-01\"}}', NULL);
             UPDATE agent_metrics_internal.alerts SET created_at = '250000-01-01' WHERE dedupe_key = '{prefix}far'"
        ));
    };
    let states = || {
        db.lines(
            "SELECT a.dedupe_key, d.state FROM agent_metrics_internal.alert_deliveries d
             JOIN agent_metrics_internal.alerts a USING (agent_id, alert_id)
             WHERE d.state <> 'dead' ORDER BY 1",
        )
    };
    // each in a message of its own
    db.exec("UPDATE agent_metrics.alert_channels SET digest_over = 100");
    plant("one ");
    receiver.deliver(&db, now);
    assert_eq!(states(), ["one far|sent", "one good|sent"]);
    assert_eq!(receiver.take().len(), 2);
    // and in one message for all
    db.exec("UPDATE agent_metrics.alert_channels SET digest_over = 1");
    plant("two ");
    receiver.deliver(&db, now);
    assert_eq!(
        states(),
        [
            "one far|sent",
            "one good|sent",
            "two far|sent",
            "two good|sent"
        ]
    );
    let arrived = receiver.take();
    assert_eq!(arrived.len(), 1);
    assert!(arrived[0].body.contains("it fell") && arrived[0].body.contains("250000-01-01"));
    assert_eq!(
        db.number(
            "SELECT count(*) FROM agent_metrics_internal.alert_deliveries
             WHERE state = 'dead' AND last_error IS NOT NULL"
        ),
        10.0
    );
}
