//! The extension in the database: making it, and checking that it and this program fit each other.
//!
//! Program, library and SQL come in one version. A program that finds another says which is newer and what to do,
//! rather than failing later on a column that is not there.

use anyhow::{Result, bail};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::program::connect::config::Server;

/// Version of this program, and the only version of the extension it works with.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a database has of the extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Version of the SQL objects; None: the extension is not in this database.
    pub sql: Option<String>,
    /// Version that the server would install; None: its files are not on the server.
    pub available: Option<String>,
    /// Whether `setup()` has run.
    pub is_set_up: bool,
    /// Version whose `setup()` ran last; None: it did not, or the comment that says so is gone.
    pub set_up_by: Option<String>,
}

impl Installed {
    /// Looks.
    pub async fn look(client: &Client) -> Result<Self> {
        let row = client
            .query_one(
                "SELECT (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'agent_metrics'),
                        (SELECT a.default_version FROM pg_available_extensions a WHERE a.name = 'agent_metrics'),
                        EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                WHERE n.nspname = 'agent_kpi' AND c.relname = 'cfo_tiles'),
                        (SELECT substring(obj_description(c.oid, 'pg_class') FROM 'of version (\\S+) has')
                         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                         WHERE n.nspname = 'agent_metrics_internal' AND c.relname = 'migrations')",
                &[],
            )
            .await?;
        Ok(Self {
            sql: row.try_get(0)?,
            available: row.try_get(1)?,
            is_set_up: row.try_get(2)?,
            set_up_by: row.try_get(3)?,
        })
    }

    /// What is wrong and how to mend it; None when all is well so far. The loaded library is asked apart.
    pub fn complaint(&self, database: &str) -> Option<String> {
        match &self.sql {
            None => Some(format!(
                "there is no agent_metrics in database \"{database}\"; make it with: agent-metrics setup"
            )),
            Some(sql) if is_older(sql, VERSION) && self.available.as_deref() == Some(VERSION) => {
                Some(format!(
                    "the extension in database \"{database}\" is agent_metrics {sql} and this program is {VERSION}: \
                     bring it up to date with: agent-metrics setup"
                ))
            }
            Some(sql) if sql != VERSION => Some(mismatch(
                &format!("the extension in database \"{database}\""),
                sql,
            )),
            Some(_) if !self.is_set_up => Some(format!(
                "agent_metrics in database \"{database}\" has no tables yet; make them with: agent-metrics setup"
            )),
            Some(_) => match self.set_up_by.as_deref() {
                Some(other) if is_older(other, VERSION) => Some(format!(
                    "the tables in database \"{database}\" are as agent_metrics {other} made them and the extension \
                     is {VERSION}: bring them up to date with: agent-metrics setup"
                )),
                Some(other) if other != VERSION => Some(mismatch(
                    &format!("what made the tables in database \"{database}\""),
                    other,
                )),
                _ => None,
            },
        }
    }
}

/// What keeps this program from working with the database, and the cure, in one line; None: nothing does.
pub async fn complaint(client: &Client, server: &Server) -> Result<Option<String>> {
    if let Some(complaint) = Installed::look(client).await?.complaint(server.database()) {
        return Ok(Some(complaint));
    }
    let library = library(client).await?;
    Ok(library
        .filter(|library| library != VERSION)
        .map(|library| mismatch("the library on the server", &library)))
}

/// Fails with one line when the database has no extension, or one of another version.
pub async fn check(client: &Client, server: &Server) -> Result<()> {
    match complaint(client, server).await? {
        Some(complaint) => bail!(complaint),
        None => Ok(()),
    }
}

/// Version of the library that the server loads; None when this user may not ask.
async fn library(client: &Client) -> Result<Option<String>> {
    match client
        .query_one("SELECT agent_metrics.version()", &[])
        .await
    {
        Ok(row) => Ok(Some(row.try_get(0)?)),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes or updates the extension, then its tables and views. Says what it did.
pub async fn setup(client: &Client, server: &Server) -> Result<String> {
    let installed = Installed::look(client).await?;
    let Some(available) = installed.available else {
        bail!(
            "the server at {} has no files of agent_metrics; \
             on its machine run: make install PG_CONFIG=/path/to/pg_config",
            server.place()
        );
    };
    if available != VERSION {
        bail!(mismatch(
            &format!("the extension on the server at {}", server.place()),
            &available
        ));
    }
    match installed.sql {
        None => {
            client
                .batch_execute("CREATE EXTENSION IF NOT EXISTS agent_metrics")
                .await?
        }
        Some(sql) if is_older(&sql, VERSION) => {
            client
                .batch_execute("ALTER EXTENSION agent_metrics UPDATE")
                .await?
        }
        Some(sql) if sql != VERSION => bail!(mismatch(
            &format!("the extension in database \"{}\"", server.database()),
            &sql
        )),
        Some(_) => {}
    }
    Ok(client
        .query_one("SELECT agent_metrics.setup()", &[])
        .await?
        .try_get(0)?)
}

/// Says which of two versions is newer, and what to do.
fn mismatch(what: &str, version: &str) -> String {
    if is_older(version, VERSION) {
        format!(
            "{what} is agent_metrics {version} and this program is {VERSION}: \
             install {VERSION} on the server (make install), then run: agent-metrics setup"
        )
    } else {
        format!(
            "{what} is agent_metrics {version} and this program is older, {VERSION}: install agent-metrics {version}"
        )
    }
}

fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(['.', '-'])
            .map(|part| part.parse().unwrap_or(0))
            .collect()
    };
    numbers(version) < numbers(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(
            is_older("0.9.0", "0.10.0")
                && is_older("0.1.0", "1.0.0")
                && !is_older("0.1.0", "0.1.0")
        );
        assert!(!is_older("10.0.0", "9.9.9"));
    }

    #[test]
    fn a_mismatch_says_which_is_newer_and_what_to_do() {
        let older = mismatch("the extension", "0.0.9");
        assert!(
            older.contains("0.0.9")
                && older.contains(VERSION)
                && older.contains("agent-metrics setup"),
            "{older}"
        );
        let newer = mismatch("the extension", "99.0.0");
        assert!(
            newer.contains("this program is older")
                && newer.ends_with("install agent-metrics 99.0.0"),
            "{newer}"
        );
    }
}
