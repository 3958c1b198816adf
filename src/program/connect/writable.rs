//! What a server or a role has that keeps the program from writing, and what cuts its statements short: said in words,
//! with the setting's name, by every command that writes and by `doctor`.

use anyhow::{Result, bail};
use tokio_postgres::Client;

use crate::program::connect::config::Server;

/// A refresh may take so long; a statement_timeout below it is named.
const LONG_ENOUGH_MS: i64 = 10 * 60 * 1000;

/// How a session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteAccess {
    /// The server is a hot standby.
    pub is_standby: bool,
    /// `default_transaction_read_only` is on.
    pub is_read_only: bool,
    /// `statement_timeout` in milliseconds; 0: none.
    pub statement_timeout_ms: i64,
    /// Where these settings come from: the role, the database or the server.
    origins: [String; 2],
    user: String,
    database: String,
}

impl WriteAccess {
    /// Looks.
    pub async fn look(client: &Client) -> Result<Self> {
        let row = client
            .query_one(
                "SELECT pg_is_in_recovery(), r.setting = 'on', t.setting::bigint, r.source,
                        t.source, current_user::text, current_database()::text
                 FROM pg_settings r, pg_settings t
                 WHERE r.name = 'default_transaction_read_only' AND t.name = 'statement_timeout'",
                &[],
            )
            .await?;
        Ok(Self {
            is_standby: row.try_get(0)?,
            is_read_only: row.try_get(1)?,
            statement_timeout_ms: row.try_get(2)?,
            origins: [row.try_get(3)?, row.try_get(4)?],
            user: row.try_get(5)?,
            database: row.try_get(6)?,
        })
    }

    /// What is wrong, and its cure, each.
    pub fn findings(&self, server: &Server) -> Vec<(String, String)> {
        let mut findings = Vec::new();
        if self.is_standby {
            findings.push((
                format!("the server at {} is a standby: its numbers can be read, \
                         and nothing can be refreshed there", server.place()),
                "name the primary in DATABASE_URL; with several hosts, add target_session_attrs=read-write".to_owned(),
            ));
        }
        if self.is_read_only {
            findings.push((
                format!(
                    "default_transaction_read_only is on for user {} ({}), so nothing can be refreshed",
                    self.user,
                    where_from(&self.origins[0])
                ),
                self.cure("default_transaction_read_only", "off", &self.origins[0]),
            ));
        }
        if (1..LONG_ENOUGH_MS).contains(&self.statement_timeout_ms) {
            findings.push((
                format!(
                    "statement_timeout is {} ms for user {} ({}): a refresh that takes longer fails each time",
                    self.statement_timeout_ms,
                    self.user,
                    where_from(&self.origins[1])
                ),
                self.cure("statement_timeout", "0", &self.origins[1]),
            ));
        }
        findings
    }

    fn cure(&self, setting: &str, value: &str, origin: &str) -> String {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        match origin {
            "database user" => format!(
                "ALTER ROLE {} IN DATABASE {} SET {setting} = {value}",
                quoted(&self.user),
                quoted(&self.database)
            ),
            "client" | "environment variable" => {
                format!("take {setting} out of the options of the connection (PGOPTIONS)")
            }
            _ => format!("ALTER ROLE {} SET {setting} = {value}", quoted(&self.user)),
        }
    }
}

fn where_from(origin: &str) -> &str {
    match origin {
        "user" => "by ALTER ROLE",
        "database" => "by ALTER DATABASE",
        "database user" => "by ALTER ROLE IN DATABASE",
        "client" | "environment variable" => "by the options of the connection",
        _ => "by the server's configuration",
    }
}

/// Fails with one line where nothing can be written. `again`: the server was there before, so it may become a primary
/// yet, and the error counts as a lost server.
pub async fn check(client: &Client, server: &Server, again: bool) -> Result<()> {
    let access = WriteAccess::look(client).await?;
    if !access.is_standby && !access.is_read_only {
        return Ok(());
    }
    let (what, cure) = access
        .findings(server)
        .into_iter()
        .next()
        .unwrap_or_default();
    let words = format!("{what}; {cure}");
    if again {
        bail!(std::io::Error::new(
            std::io::ErrorKind::ReadOnlyFilesystem,
            words
        ));
    }
    bail!(words)
}
