//! Bounds for what a job may wait for: each runs in a transaction of its own, with a time limit for every lock and for
//! every statement. They are set for that transaction alone, so nothing stays behind in the session.
//!
//! A shorter limit that the role or the database has stays: it is somebody's rule, and `doctor` names it.

use std::time::Duration;

use anyhow::Result;
use tokio_postgres::Client;

/// How long a statement may wait for a lock, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    lock: Duration,
    statement: Duration,
}

impl Limits {
    /// Of so long.
    pub const fn new(lock: Duration, statement: Duration) -> Self {
        Self { lock, statement }
    }
}

/// Does some work in a transaction with these limits. A dropped future leaves the transaction open: end the session.
pub async fn limited<T>(
    client: &Client,
    limits: Limits,
    work: impl AsyncFnOnce() -> Result<T>,
) -> Result<T> {
    let (lock, statement) = (limits.lock.as_millis(), limits.statement.as_millis());
    client
        .batch_execute(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;
             SELECT set_config('lock_timeout', '{lock}', true),
                    set_config('statement_timeout',
                               CASE WHEN s.setting::bigint BETWEEN 1 AND {statement} THEN s.setting
                                    ELSE '{statement}' END, true)
             FROM pg_catalog.pg_settings s WHERE s.name = 'statement_timeout'"
        ))
        .await?;
    match work().await {
        Ok(value) => {
            client.batch_execute("COMMIT").await?;
            Ok(value)
        }
        Err(error) => {
            // When this fails the session is gone, and the transaction with it.
            let _ = client.batch_execute("ROLLBACK").await;
            Err(error)
        }
    }
}
