//! `collect`: the door for OTLP over HTTP.
//!
//! Purpose: exporters send their spans and log records here, and a request is answered 200 only after the commit that
//! holds them. No message text gets further than this process.
//!
//! - [`crate::program::door`]: connections, and how long each may take
//! - [`body`]: what is packed, within bounds
//! - [`decode`]: from a request to the document that the database takes
//! - [`batch`]: what comes in one moment is one transaction
//! - [`tokens`]: who may send
//! - [`answer`]: what he is told
//!
//! State: requests in flight. Their bytes are bounded by [`Options::memory`]; when it is used up the next one is told
//! to come again. Failure: whatever the database does, a request is answered within [`PATIENCE`].

mod answer;
pub mod batch;
pub mod body;
pub mod decode;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::answer::Refusal;
use self::batch::{Closed, Fate, Intake};
use self::body::{BODY_MAX, Packing, Refused};
use self::decode::{Delivery, Form, Signal};
use self::tokens::{Sender, Tokens};
use crate::program::connect::{Database, config::Server, extension};
use crate::program::{door, error, shutdown::Stop};

/// How long a request may wait for its commit: exporters give up at about this time, and send again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a body may take, and each of its parts.
const WHOLE_BODY: Duration = Duration::from_secs(30);
const PART_OF_BODY: Duration = Duration::from_secs(10);
/// The unit that memory is counted in.
const KIB: usize = 1024;
/// What senders may take.
const DOOR: door::Rules = door::Rules {
    name: "the collector",
    head: Duration::from_secs(10),
    whole: Duration::from_secs(60 * 60),
    keep_alive: true,
    most: 2048,
};

/// How it is set.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes of requests that may be in flight.
    pub memory: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory: 128 * 1024 * 1024,
        }
    }
}

/// A door that is there and not yet open.
pub struct Collector {
    listener: TcpListener,
    tokens: Arc<Tokens>,
}

impl Collector {
    /// Where it is.
    pub fn address(&self) -> Result<std::net::SocketAddr> {
        Ok(self.listener.local_addr()?)
    }
}

/// Listens, having made sure that the database fits and that no stranger can send.
pub async fn listen(server: &Server, address: &str) -> Result<Collector> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; give another address, such as 127.0.0.1:4318")
    })?;
    let is_loopback = listener.local_addr()?.ip().is_loopback();
    let tokens = Arc::new(Tokens::new(is_loopback));
    let database = Database::open(server).await?;
    let ready = async {
        extension::check(&database, server).await?;
        tokens.read(&database).await
    };
    let ready = ready.await;
    database.close().await;
    ensure!(
        ready? || is_loopback,
        "{address} can be reached from other machines, and no token says who may send; make one with: SELECT \
         agent_metrics.create_ingest_token('name'), or listen on 127.0.0.1:4318"
    );
    Ok(Collector { listener, tokens })
}

/// What requests share.
struct Shared {
    intake: Intake,
    tokens: Arc<Tokens>,
    memory: Arc<Semaphore>,
    /// Requests that are unpacked and read at once: each takes several times its size.
    readers: Semaphore,
}

/// Takes what is sent until told to stop; then what was begun is finished.
pub async fn serve(
    server: Server,
    collector: Collector,
    options: Options,
    stop: Stop,
) -> Result<()> {
    let (intake, writers) = batch::channel();
    let readers = std::thread::available_parallelism().map_or(2, usize::from);
    let shared = Arc::new(Shared {
        intake,
        tokens: collector.tokens.clone(),
        memory: Arc::new(Semaphore::new(options.memory.max(BODY_MAX) / KIB)),
        readers: Semaphore::new(readers),
    });
    let app = Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/logs", post(logs))
        .route("/v1/metrics", post(metrics))
        .route("/healthz", get(healthz))
        .fallback(async || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "there is nothing here; send to /v1/traces or /v1/logs",
            )
        })
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "send with POST")
        })
        .with_state(shared);
    let tokens = reread(&server, &collector.tokens);
    // The last who hands something in goes with the door, and then the writers end.
    let work = async {
        tokio::join!(
            door::serve(collector.listener, app, DOOR, stop.clone()),
            writers.run(&server, &stop)
        )
        .1
    };
    tokio::select! {
        ended = work => ended,
        never = tokens => never,
    }
}

/// Reads the tokens again and again.
async fn reread(server: &Server, tokens: &Tokens) -> Result<()> {
    let mut is_well = true;
    loop {
        tokio::time::sleep(tokens::EVERY).await;
        let Ok(database) = Database::open(server).await else {
            continue; // the writers say that it is away
        };
        while is_well {
            match tokens.read(&database).await {
                Ok(_) => tokio::time::sleep(tokens::EVERY).await,
                Err(error) => {
                    is_well = false;
                    tracing::warn!("the tokens cannot be read: {}", error::of(&error));
                }
            }
        }
        is_well = true;
        database.close().await;
    }
}

async fn traces(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.answer(Signal::Traces, request).await
}

async fn logs(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.answer(Signal::Logs, request).await
}

async fn metrics(request: Request) -> Response {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "metrics are not taken: they are made of the turns; set OTEL_METRICS_EXPORTER=none",
    )
    .in_form(form(request.headers()).unwrap_or(Form::Json))
    .closing()
    .into_response()
}

async fn healthz(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.intake.is_open() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database is away\n")
    }
}

/// The form that a request says it has.
fn form(headers: &HeaderMap) -> Option<Form> {
    let name = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match name.split(';').next()?.trim() {
        name if name.eq_ignore_ascii_case("application/x-protobuf") => Some(Form::Protobuf),
        name if name.eq_ignore_ascii_case("application/protobuf") => Some(Form::Protobuf),
        name if name.eq_ignore_ascii_case("application/json") => Some(Form::Json),
        _ => None,
    }
}

impl Shared {
    async fn answer(&self, signal: Signal, request: Request) -> Response {
        let form = form(request.headers());
        match self.take(signal, form, request).await {
            Ok(response) => response,
            Err(refusal) => refusal.in_form(form.unwrap_or(Form::Json)).into_response(),
        }
    }

    async fn take(
        &self,
        signal: Signal,
        form: Option<Form>,
        request: Request,
    ) -> Result<Response, Refusal> {
        let headers = request.headers();
        let authorization = headers.get(header::AUTHORIZATION);
        let sender = self
            .tokens
            .sender(authorization.map(|value| value.as_bytes()))
            .ok_or_else(|| {
                let words =
                    "no token, or none that is valid; send the header Authorization: Bearer TOKEN";
                Refusal::new(StatusCode::UNAUTHORIZED, words).closing()
            })?;
        let form = form.ok_or_else(|| {
            let words = "Content-Type is neither application/x-protobuf nor application/json";
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words).closing()
        })?;
        let packing = match headers.get(header::CONTENT_ENCODING) {
            None => Some(Packing::Identity),
            Some(name) => name.to_str().ok().and_then(Packing::of),
        };
        let packing = packing.ok_or_else(|| {
            let words = "Content-Encoding is neither gzip nor zstd nor identity";
            Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, words).closing()
        })?;
        if !self.intake.is_open() {
            return Err(away().closing());
        }
        let (packed, memory) = self.gather(request).await.map_err(Refusal::closing)?;
        let (delivery, memory) = self.read(signal, form, packing, packed, memory).await?;
        let (pieces, rejected) = (delivery.pieces, delivery.rejected);
        if pieces > 0 {
            self.store(delivery.document, sender, memory).await?;
        }
        Ok(answer::stored(signal, form, rejected))
    }

    /// The body as it was sent, and its share of the memory.
    async fn gather(&self, request: Request) -> Result<(Vec<u8>, OwnedSemaphorePermit), Refusal> {
        let too_large = || {
            Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "a request has {} MB at most, unpacked; send fewer spans at once",
                    BODY_MAX / KIB / KIB
                ),
            )
        };
        let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly");
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > BODY_MAX as u64) {
            return Err(too_large());
        }
        let mut memory = self.share(1)?;
        let mut bytes = Vec::new();
        let mut body = request.into_body();
        let end = tokio::time::Instant::now() + WHOLE_BODY;
        loop {
            let until = end.min(tokio::time::Instant::now() + PART_OF_BODY);
            let frame = tokio::time::timeout_at(until, body.frame()).await;
            let Some(frame) = frame.map_err(|_| slow())? else {
                return Ok((bytes, memory));
            };
            let broken = |error| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("the body broke off: {error}"),
                )
            };
            let Ok(part) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            if bytes.len() + part.len() > BODY_MAX {
                return Err(too_large());
            }
            bytes.extend_from_slice(&part);
            self.grow(&mut memory, bytes.len())?;
        }
    }

    /// What a request says. Its memory is then that of the document.
    async fn read(
        &self,
        signal: Signal,
        form: Form,
        packing: Packing,
        packed: Vec<u8>,
        mut memory: OwnedSemaphorePermit,
    ) -> Result<(Delivery, OwnedSemaphorePermit), Refusal> {
        let busy = || {
            Refusal::later(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests at once",
                1,
            )
        };
        let turn = tokio::time::timeout(PATIENCE, self.readers.acquire()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let reading = tokio::task::spawn_blocking(move || {
            let body = packing.unpack(packed).map_err(|refused| match refused {
                Refused::TooLarge => Refusal::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "the body is larger than 16 MB when it is unpacked; send fewer spans at once",
                ),
                Refused::Damaged(error) => Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("the body is not packed as Content-Encoding says: {error}"),
                ),
            })?;
            decode::decode(signal, form, &body)
                .map_err(|words| Refusal::new(StatusCode::BAD_REQUEST, words))
        });
        let broken = |_| Refusal::new(StatusCode::BAD_REQUEST, "the body cannot be read");
        let delivery = reading.await.map_err(broken)??;
        drop(turn);
        self.grow(&mut memory, delivery.document.len())?;
        Ok((delivery, memory))
    }

    /// Comes back when the document is committed.
    async fn store(
        &self,
        document: String,
        sender: Arc<Sender>,
        memory: OwnedSemaphorePermit,
    ) -> Result<(), Refusal> {
        let fate = self
            .intake
            .take(document, sender, memory)
            .map_err(|closed| match closed {
                Closed::Full => full(),
                Closed::Away => away(),
            })?;
        match tokio::time::timeout(PATIENCE, fate).await {
            Ok(Ok(Fate::Stored)) => Ok(()),
            Ok(Ok(Fate::Refused(words))) => Err(Refusal::new(StatusCode::BAD_REQUEST, words)),
            _ => Err(away()),
        }
    }

    /// A share of the memory.
    fn share(&self, kib: u32) -> Result<OwnedSemaphorePermit, Refusal> {
        self.memory
            .clone()
            .try_acquire_many_owned(kib)
            .map_err(|_| full())
    }

    /// Makes a share as large as so many bytes.
    fn grow(&self, memory: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.div_ceil(KIB).saturating_sub(memory.num_permits());
        if more > 0 {
            memory.merge(self.share(u32::try_from(more).unwrap_or(u32::MAX))?);
        }
        Ok(())
    }
}

fn full() -> Refusal {
    Refusal::later(
        StatusCode::TOO_MANY_REQUESTS,
        "more is sent than the database takes just now",
        1,
    )
}

fn away() -> Refusal {
    Refusal::later(
        StatusCode::SERVICE_UNAVAILABLE,
        "the database does not take anything just now; the log of agent-metrics says why",
        5,
    )
}
