//! `serve`: the CFO's page, rendered on the server.
//!
//! It reads schema `agent_kpi` and nothing else, so a role with level `reader` suffices. Each request has a session
//! and a REPEATABLE READ transaction of its own: all numbers of a page are of one moment, and a server that comes
//! back is found by the next request. What strangers may take of connections and time is bounded by [`DOOR`]. No
//! script, no outside asset: the Content-Security-Policy forbids both.

mod drift;
mod frame;
mod spark;
pub mod tiles;
mod view;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::Markup;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_postgres::{IsolationLevel, Transaction};

use crate::program::connect::{Database, config::Server, extension};
use crate::program::{door, error, shutdown::Stop, text};

/// Requests that read the database at once; the others wait their turn.
const SESSIONS: usize = 4;
/// How many failing conversations a page lists.
const FAILING_LIMIT: i64 = 200;
/// What strangers may take. One request a connection: a page has no parts to be fetched, and an idle connection is a
/// file less.
const DOOR: door::Rules = door::Rules {
    name: "the page",
    head: Duration::from_secs(5),
    whole: Duration::from_secs(60),
    keep_alive: false,
    most: 512,
};
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(10);
/// How long the page may take to read its numbers.
const TIMEOUT: Duration = Duration::from_secs(30);

struct Shared {
    server: Server,
    sessions: Semaphore,
}

/// Listens, having made sure that the database fits. The address may end in `:0` for a free port.
pub async fn listen(server: &Server, address: &str) -> Result<TcpListener> {
    let database = Database::open(server).await?;
    let fits = extension::check(&database, server).await;
    database.close().await;
    fits?;
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}; give another address with --listen, such as 127.0.0.1:0"
        )
    })
}

/// Serves the page until told to stop.
pub async fn serve(server: Server, listener: TcpListener, mut stop: Stop) -> Result<()> {
    let app = Router::new()
        .route("/", get(overview))
        .route("/agents/{agent_id}/{metric}", get(failing))
        .route("/healthz", get(healthz))
        .fallback(async || {
            reply(
                StatusCode::NOT_FOUND,
                view::message("Not found", "There is no such page."),
            )
        })
        .with_state(Arc::new(Shared {
            server,
            sessions: Semaphore::new(SESSIONS),
        }));
    tokio::select! {
        // Open connections of a browser would hold up a graceful end; a page is not worth waiting for.
        () = door::serve(listener, app, DOOR, stop.clone()) => {}
        () = stop.told() => {}
    }
    Ok(())
}

async fn overview(State(shared): State<Arc<Shared>>) -> Response {
    let read = shared.read(async |transaction| {
        let now = transaction
            .query_one(&format!("SELECT {}", text::moment_of("now()")), &[])
            .await?
            .try_get::<_, String>(0)?;
        let recent = drift::recent(transaction).await?;
        Ok((tiles::agents(transaction).await?, recent, now))
    });
    match read.await {
        Ok((agents, recent, now)) => reply(StatusCode::OK, view::overview(&agents, &recent, &now)),
        Err(error) => shared.failure(&error),
    }
}

async fn failing(
    State(shared): State<Arc<Shared>>,
    Path((agent_id, metric)): Path<(String, String)>,
) -> Response {
    let read = shared.read(async |transaction| {
        if let Some(runs) = drift::runs(transaction, &agent_id, &metric).await? {
            return Ok(Some(drift::page(&runs)));
        }
        let agents = tiles::agents(transaction).await?;
        let tile = agents.into_iter().flat_map(|agent| agent.tiles);
        let Some(tile) = tile
            .into_iter()
            .find(|tile| tile.agent_id == agent_id && tile.metric == metric)
        else {
            return Ok(None);
        };
        let conversations = tiles::failing(transaction, &agent_id, &metric, FAILING_LIMIT).await?;
        Ok(Some(view::failing(&tile, &conversations, FAILING_LIMIT)))
    });
    match read.await {
        Ok(Some(page)) => reply(StatusCode::OK, page),
        Ok(None) => reply(
            StatusCode::NOT_FOUND,
            view::message("Not found", "No AI agent has such a tile."),
        ),
        Err(error) => shared.failure(&error),
    }
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let read = shared.read(async |transaction| {
        transaction
            .query("SELECT FROM agent_kpi.freshness LIMIT 1", &[])
            .await?;
        Ok(())
    });
    match read.await {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(error) => {
            tracing::warn!(
                "not healthy: {}",
                error::one_line(&error, Some(&shared.server))
            );
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the database cannot be read\n",
            )
                .into_response()
        }
    }
}

impl Shared {
    /// Reads in a session and transaction of its own.
    async fn read<T>(&self, reader: impl AsyncFnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let _turn = tokio::time::timeout(TURN, self.sessions.acquire())
            .await
            .with_context(|| {
                format!(
                    "too many pages are asked for: none got through in {} s",
                    TURN.as_secs()
                )
            })??;
        let mut database = tokio::time::timeout(TIMEOUT, Database::open(&self.server))
            .await
            .context("the server does not answer")??;
        let read = async {
            let transaction = database
                .build_transaction()
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true)
                .start()
                .await?;
            let result = reader(&transaction).await?;
            transaction.commit().await?;
            Ok(result)
        };
        let outcome = match tokio::time::timeout(TIMEOUT, read).await {
            Ok(outcome) => outcome,
            Err(_) => {
                database.cancel().await;
                Err(anyhow::anyhow!(
                    "reading the numbers took longer than {} s",
                    TIMEOUT.as_secs()
                ))
            }
        };
        database.close().await;
        outcome
    }

    /// The reason goes to the log; a visitor need not know where the database is.
    fn failure(&self, error: &anyhow::Error) -> Response {
        tracing::error!(
            "a page could not be shown: {}",
            error::one_line(error, Some(&self.server))
        );
        let text = "The database cannot be read right now. The log of agent-metrics says why.";
        reply(
            StatusCode::SERVICE_UNAVAILABLE,
            view::message("No numbers", text),
        )
    }
}

fn reply(status: StatusCode, page: Markup) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        ),
        (
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(
                "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'self'",
            ),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, page.into_string()).into_response()
}
