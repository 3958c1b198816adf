//! What to say when it does not work: one line, with what to do about it.

use std::error::Error as StdError;
use std::io;

use tokio_postgres::error::{DbError, SqlState};

use crate::program::connect::config::Server;
use crate::program::text::shown;

/// One line for the command line: what went wrong, and what to do.
pub fn one_line(error: &anyhow::Error, server: Option<&Server>) -> String {
    let postgres = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>());
    let text = match (postgres, server) {
        (Some(postgres), Some(server)) => of_postgres(postgres, server),
        _ => format!("{error:#}"),
    };
    shown(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What an error says besides, a line each: SQLSTATE, where in the database it came from, and its causes.
pub fn details(error: &anyhow::Error) -> Vec<String> {
    let postgres = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>())
        .and_then(tokio_postgres::Error::as_db_error);
    let mut lines = Vec::new();
    if let Some(db) = postgres {
        lines.push(format!("SQLSTATE: {}", db.code().code()));
        let place = db.where_().unwrap_or_default();
        lines.extend(place.lines().map(|line| format!("CONTEXT: {line}")));
    }
    lines.extend(error.chain().map(|cause| format!("cause: {cause}")));
    lines.iter().map(|line| shown(line)).collect()
}

/// The words of a driver's error without a server at hand: for log lines.
pub fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => of_database(db),
        None => chain(error),
    }
}

/// The words of any error, without a server at hand.
pub fn of(error: &anyhow::Error) -> String {
    match error.downcast_ref::<tokio_postgres::Error>() {
        Some(error) => words(error),
        None => format!("{error:#}"),
    }
}

/// Whether somebody else holds a lock that was not worth waiting for.
pub fn is_locked(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code)
        == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Whether the server went away, so that a new session may mend it.
pub fn is_lost(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<tokio_postgres::Error>())
        .any(|error| match error.code() {
            Some(code) => ["08", "53", "57P"]
                .iter()
                .any(|class| code.code().starts_with(class)),
            None => !is_of_value(error),
        })
        || error.chain().any(|cause| cause.is::<io::Error>())
}

/// Whether the driver could not read or write a value: the session is as good as before.
fn is_of_value(error: &tokio_postgres::Error) -> bool {
    let words = error.to_string();
    [
        "error serializing",
        "error deserializing",
        "invalid column",
        "query returned",
        "expected ",
    ]
    .iter()
    .any(|kind| words.starts_with(kind))
}

fn of_postgres(error: &tokio_postgres::Error, server: &Server) -> String {
    let (user, database, place) = (server.user(), server.database(), server.place());
    if let Some(db) = error.as_db_error() {
        return match *db.code() {
            SqlState::INVALID_PASSWORD => format!(
                "wrong password for user \"{user}\" at {place}; set PGPASSWORD, or put the right one into DATABASE_URL"
            ),
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                format!(
                    "{} at {place}; name another user in DATABASE_URL, or allow this one in pg_hba.conf",
                    db.message()
                )
            }
            SqlState::INVALID_CATALOG_NAME => format!(
                "there is no database \"{database}\" at {place}; name another in DATABASE_URL, \
                 or create it with: createdb {database}"
            ),
            // what has a hint of its own says better what to do
            SqlState::INSUFFICIENT_PRIVILEGE if db.hint().is_none() => format!(
                "{}; user \"{user}\" may not do this: let the owner run SELECT \
                 agent_metrics.grant_access('{user}', 'admin')",
                db.message()
            ),
            _ => of_database(db),
        };
    }
    let words = chain(error);
    if words.contains("password missing") {
        return format!(
            "{place} asks for the password of user \"{user}\"; set PGPASSWORD, or put it into DATABASE_URL"
        );
    }
    if words.contains("TLS") {
        return format!(
            "{words} ({place}); set sslmode, and sslrootcert for a root certificate of your own"
        );
    }
    if is_io(error) || words.contains("connecting to server") || words.contains("timeout") {
        return format!(
            "no server answers at {place} ({words}); start PostgreSQL there, or name another in DATABASE_URL"
        );
    }
    words
}

fn of_database(db: &DbError) -> String {
    let sentence = |text: &str| format!(". {}", text.trim_end_matches('.'));
    let detail = db.detail().map(sentence).unwrap_or_default();
    let hint = db.hint().map(sentence).unwrap_or_default();
    // The server names neither the setting nor who made it.
    let setting = match *db.code() {
        SqlState::QUERY_CANCELED if db.message().contains("statement timeout") => {
            " (setting statement_timeout; agent-metrics doctor says where it comes from)"
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            " (setting default_transaction_read_only, or a standby; agent-metrics doctor says which)"
        }
        _ => "",
    };
    format!(
        "{}{setting}{detail}{hint}",
        db.message().trim_end_matches('.')
    )
}

/// An error and its causes, none of them said twice.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}

fn is_io(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<io::Error>() {
            return true;
        }
        next = cause.source();
    }
    false
}
