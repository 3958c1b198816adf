//! One leader at a time, by a lease: a row of `agent_metrics_internal.scheduler_lease` that only who has level
//! `admin` may write.
//!
//! State: the id that this process chose, and the term it leads in. The row says who leads and until when, by the
//! server's clock; the leader renews it, from a session of its own, so that no long refresh keeps it from doing so.
//! Whoever stops in order lets go at once; whoever is killed is followed when the lease has run out. Nothing of this
//! needs a session of one's own in the server, so it also holds behind a pooler that lends one session to many.
//!
//! Two leaders at once, as after a jump of the server's clock, do some work twice and no harm: a refresh
//! takes its agent's lock.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use tracing::warn;

use crate::program::error;

/// How long a leader that is not heard of leads.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is heard of.
const RENEWAL: Duration = Duration::from_secs(5);
/// How long a renewal may take before the session counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// This process as a candidate. The same for all its sessions, so that it takes its own lease up again.
#[derive(Debug, Clone)]
pub struct Candidate {
    id: String,
    who: String,
}

impl Candidate {
    /// A new one.
    pub fn new() -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = match host.trim() {
            "" => "this machine",
            host => host,
        };
        Self {
            id: uuid::Uuid::now_v7().to_string(),
            who: format!("process {} on {host}", std::process::id()),
        }
    }

    /// Leads, unless another does: the term, or None.
    pub async fn try_lead(&self, client: &Client) -> Result<Option<i64>> {
        // In one message, unnamed: a pooler may give the next one to another session.
        let rows = client
            .query_typed(
                "SELECT agent_metrics_internal.take_lead($1::uuid, $2, $3)",
                &[
                    (&self.id, Type::TEXT),
                    (&self.who, Type::TEXT),
                    (&seconds(), Type::INT4),
                ],
            )
            .await?;
        Ok(rows
            .first()
            .map(|row| row.try_get(0))
            .transpose()?
            .flatten())
    }

    /// Renews the lease until another has taken it. An error is a lost session.
    pub async fn keep(&self, client: &Client, term: i64) -> Result<()> {
        loop {
            // The lease runs by the server's clock, so this waits in real time whatever clock the scheduler has.
            tokio::time::sleep(RENEWAL).await;
            let seconds = seconds();
            let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] = [
                (&self.id, Type::TEXT),
                (&term, Type::INT8),
                (&seconds, Type::INT4),
            ];
            let renewal = client.query_typed(
                "SELECT agent_metrics_internal.renew_lead($1::uuid, $2, $3)",
                &parameters,
            );
            let error = match tokio::time::timeout(PATIENCE, renewal).await {
                Ok(Ok(rows)) => {
                    let leads = rows.first().map(|row| row.try_get(0)).transpose()?;
                    if leads == Some(true) {
                        continue;
                    }
                    return Ok(());
                }
                Ok(Err(error)) => anyhow::Error::from(error),
                Err(_) => bail!(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    "the server does not answer"
                )),
            };
            if error::is_lost(&error) {
                return Err(error);
            }
            // Whoever holds the row keeps others from taking it too.
            warn!(
                "the lease could not be renewed: {}",
                error::one_line(&error, None)
            );
        }
    }

    /// Lets another lead. What goes wrong here is mended by the end of the lease.
    pub async fn release(&self, client: &Client) {
        let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] =
            [(&self.id, Type::TEXT)];
        let release = client.query_typed(
            "SELECT agent_metrics_internal.release_lead($1::uuid)",
            &parameters,
        );
        let _ = tokio::time::timeout(RENEWAL, release).await;
    }
}

impl Default for Candidate {
    fn default() -> Self {
        Self::new()
    }
}

fn seconds() -> i32 {
    i32::try_from(LEASE.as_secs()).unwrap_or(i32::MAX)
}

/// Who leads: process, user and address.
pub async fn who_leads(client: &Client) -> Result<Option<String>> {
    let row = client
        .query_opt(
            "SELECT s.who FROM agent_kpi.scheduler s WHERE s.is_alive",
            &[],
        )
        .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}
