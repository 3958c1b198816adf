//! What every test stands on: a database of its own, on a cluster of our own.
//!
//! `make test` starts a temporary cluster and names it in AGENT_METRICS_TEST_URL. The extension and `setup()` run
//! once, in a template; each test gets a copy of it, which is dropped when the test has passed and kept for a look
//! when it has not. Everything here blocks, so that a test reads from top to bottom.

#![allow(dead_code)]

pub mod asserts;
pub mod cluster;
pub mod fixtures;
pub mod golden;
pub mod majors;
pub mod program;
pub mod rollups;
pub mod sample;
pub mod shop;
pub mod times;
pub mod truths;

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A call, or a table with what follows it, with its schema: what `golden/public.txt` does not name is internal.
pub fn full(what: &str) -> String {
    let name: String = what
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let is_public = include_str!("../golden/public.txt")
        .lines()
        .any(|line| line.split([' ', '(']).nth(1) == Some(&name));
    format!(
        "{}.{what}",
        if is_public {
            "agent_metrics"
        } else {
            "agent_metrics_internal"
        }
    )
}

/// How long a condition may take to come true before a test gives up.
const PATIENCE: Duration = Duration::from_secs(240);

/// An error of the server, as a person sees it. A field the server left out is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    pub sqlstate: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} [{}] {} {}",
            self.message, self.sqlstate, self.detail, self.hint
        )
    }
}

/// One session, with blocking calls.
pub struct Session {
    runtime: Runtime,
    client: Client,
}

impl Session {
    /// Opens a session, or panics with the reason.
    pub fn open(url: &str) -> Self {
        Self::try_open(url).unwrap_or_else(|error| panic!("no connection: {error:?}"))
    }

    /// Opens a session, unless the server does not take one.
    pub fn try_open(url: &str) -> Result<Self, tokio_postgres::Error> {
        times::begin();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(connect(url))?;
        Ok(Self { runtime, client })
    }

    /// Runs statements, and panics with the server's words when one fails.
    pub fn exec(&self, sql: &str) {
        self.messages(sql)
            .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
    }

    /// Runs statements that may fail, a lost connection included.
    pub fn attempt(&self, sql: &str) -> Result<(), SqlError> {
        self.messages(sql).map(drop)
    }

    /// All rows of all statements, as the server prints them.
    pub fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = self
            .messages(sql)
            .unwrap_or_else(|error| panic!("{error}\nin: {sql}"));
        let texts = |row: tokio_postgres::SimpleQueryRow| {
            (0..row.len())
                .map(|i| row.get(i).map(str::to_owned))
                .collect()
        };
        messages
            .into_iter()
            .filter_map(|message| {
                if let SimpleQueryMessage::Row(row) = message {
                    Some(texts(row))
                } else {
                    None
                }
            })
            .collect()
    }

    /// The rows as lines of fields with `|` between, NULL as nothing: easy to compare and to read.
    pub fn lines(&self, sql: &str) -> Vec<String> {
        let line = |row: Vec<Option<String>>| {
            row.into_iter()
                .map(Option::unwrap_or_default)
                .collect::<Vec<_>>()
                .join("|")
        };
        self.rows(sql).into_iter().map(line).collect()
    }

    /// The one value of a query that gives one row; None is NULL.
    pub fn value(&self, sql: &str) -> Option<String> {
        let mut rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "one row was expected of: {sql}");
        rows.remove(0).swap_remove(0)
    }

    /// The one number of a query that gives one row; panics on NULL.
    pub fn number(&self, sql: &str) -> f64 {
        let text = self
            .value(sql)
            .unwrap_or_else(|| panic!("NULL from: {sql}"));
        text.parse()
            .unwrap_or_else(|_| panic!("{text} is no number, from: {sql}"))
    }

    /// The error of statements that have to fail.
    pub fn error(&self, sql: &str) -> SqlError {
        match self.messages(sql) {
            Ok(_) => panic!("an error was expected of: {sql}"),
            Err(error) => error,
        }
    }

    /// COPY ... FROM STDIN in CSV with a header line; `into` is a table, with or without a list of columns.
    pub fn copy_csv(&self, into: &str, bytes: impl AsRef<[u8]>) -> u64 {
        let sql = format!("COPY {into} FROM STDIN WITH (FORMAT csv, HEADER true)");
        let bytes = bytes::Bytes::copy_from_slice(bytes.as_ref());
        self.runtime.block_on(async {
            let sink = self
                .client
                .copy_in(&sql)
                .await
                .unwrap_or_else(|error| panic!("{error:?}\nin: {sql}"));
            let mut sink = std::pin::pin!(sink);
            sink.send(bytes)
                .await
                .unwrap_or_else(|error| panic!("{error:?}\nin: {sql}"));
            sink.finish()
                .await
                .unwrap_or_else(|error| panic!("{error:?}\nin: {sql}"))
        })
    }

    /// Looks again and again until a query says `true`, or panics when patience ends.
    pub fn until(&self, sql: &str) {
        let begun = Instant::now();
        while self.value(sql).as_deref() != Some("t") {
            assert!(begun.elapsed() < PATIENCE, "never came true: {sql}");
            std::thread::yield_now();
        }
    }

    /// The client itself and the runtime that drives it, for what the calls above do not cover.
    pub fn parts(&mut self) -> (&Runtime, &mut Client) {
        (&self.runtime, &mut self.client)
    }

    fn messages(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>, SqlError> {
        self.runtime
            .block_on(self.client.simple_query(sql))
            .map_err(|error| match error.as_db_error() {
                Some(db) => SqlError {
                    sqlstate: db.code().code().to_owned(),
                    message: db.message().to_owned(),
                    detail: db.detail().unwrap_or_default().to_owned(),
                    hint: db.hint().unwrap_or_default().to_owned(),
                },
                // what a client makes of a server that went away: "connection failure"
                None => SqlError {
                    sqlstate: "08006".to_owned(),
                    message: format!("the session broke: {error:?}"),
                    detail: String::new(),
                    hint: String::new(),
                },
            })
    }
}

/// A database of one test. It derefs to a [`Session`] in it.
pub struct Db {
    name: String,
    url: String,
    session: Option<Session>,
}

impl std::ops::Deref for Db {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().unwrap()
    }
}

impl std::ops::DerefMut for Db {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().unwrap()
    }
}

impl Db {
    /// URL of the database, as a superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Name of the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One more session in the same database.
    pub fn session(&self) -> Session {
        Session::open(&self.url)
    }

    /// An asynchronous client in the same database.
    pub async fn client(&self) -> Client {
        connect(&self.url)
            .await
            .unwrap_or_else(|error| panic!("no connection: {error:?}"))
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        drop(self.session.take());
        if std::thread::panicking() {
            eprintln!("kept for a look: database {}", self.name);
        } else {
            Session::open(server()).exec(&format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name));
        }
    }
}

/// A fresh database with the extension and `setup()` done. `name` is the test's.
pub fn db(name: &str) -> Db {
    create(name, template())
}

/// A fresh database with nothing in it.
pub fn empty_db(name: &str) -> Db {
    create(name, "template1")
}

/// The URL of the server's database `postgres`, as a superuser.
pub fn server() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        std::env::var("AGENT_METRICS_TEST_URL").unwrap_or_else(|_| {
            panic!(
                "AGENT_METRICS_TEST_URL is not set: run `make test`, \
                 or scripts/with-cluster cargo test"
            )
        })
    })
}

/// The URL of another database of the same server.
pub fn url_of(database: &str) -> String {
    let (server, _) = server().rsplit_once('/').unwrap();
    format!("{server}/{database}")
}

fn create(name: &str, template: &str) -> Db {
    let name = format!("{}_{}", name.to_ascii_lowercase(), std::process::id());
    assert!(
        name.len() < 64,
        "the name of the test database is too long: {name}"
    );
    Session::open(server()).exec(&format!(
        "CREATE DATABASE \"{name}\" TEMPLATE \"{template}\""
    ));
    let url = url_of(&name);
    let session = Session::open(&url);
    Db {
        name,
        url,
        session: Some(session),
    }
}

fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let name = format!("agent_metrics_template_{}", std::process::id());
        let server = Session::open(server());
        server.exec(&format!("CREATE DATABASE \"{name}\""));
        let session = Session::open(&url_of(&name));
        session.exec("CREATE EXTENSION agent_metrics");
        session.exec("SELECT agent_metrics.setup()");
        drop(session);
        // A template must have no other session: wait until the server has seen that ours has gone.
        server.until(&format!(
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = '{name}'"
        ));
        name
    })
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

const PASSWORD: &str = "only-for-this-test";

/// Makes a role that can log in, and opens a session as it. Roles belong to the cluster, so the name
/// has the database's.
pub fn login(db: &Db, role: &str) -> (String, Session) {
    let role = format!("{}_{role}", db.name());
    db.exec(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'"));
    let url = url_of(db.name());
    let (_, host) = url.split_once('@').unwrap();
    let session = Session::open(&format!("postgresql://{role}:{PASSWORD}@{host}"));
    (role, session)
}
