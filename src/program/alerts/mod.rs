//! Alerts on their way: from the outbox in the database to Slack and to any HTTP endpoint.
//!
//! State: none here. A message is claimed for a while in one transaction, sent, and recorded in another. When the
//! program dies in between, the claim runs out and the message is sent again with the same `message_id`, by which the
//! receiver knows it: at least once, never lost.
//!
//! Failure: what may pass (no connection, a timeout, 429, 5xx) is tried again, later each time, with jitter, and not
//! before Retry-After; what will not pass (any other answer) and what failed twelve times is dead, which `doctor`
//! shows. An alert that cannot be read (nested too deep, a number that is none) is given up alone; its message goes
//! without it. Addresses and keys come from the environment and are in no message of ours.

pub mod http;
pub mod message;

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use crate::program::connect::timeouts::{Limits, limited};
use crate::program::error;
use crate::program::scheduler::clock::{Backoff, Clock};
use http::{Answer, Post};
use message::{Alert, Message};

/// Attempts after which a message is given up: about six hours.
const ATTEMPTS: i32 = 12;
/// How long a claimed message is the claimer's; longer than any attempt takes.
const LEASE_SECONDS: i32 = 120;

/// What claiming and recording may wait for.
const LIMITS: Limits = Limits::new(Duration::from_secs(2), Duration::from_secs(60));

/// Finds a secret by the name of its environment variable.
type Secret = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What it takes to deliver: a way to post, and where secrets are.
pub struct Outbox {
    post: Post,
    secret: Secret,
}

/// How many messages went out, wait for another attempt, and were given up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Received.
    pub sent: usize,
    /// To be tried again.
    pub waiting: usize,
    /// Given up.
    pub dead: usize,
}

/// A message as the database hands it out.
struct Claimed {
    channel: String,
    kind: String,
    url_env: String,
    secret_env: Option<String>,
    message_id: String,
    attempt: i32,
    alerts: Vec<Alert>,
    /// Alerts that cannot be read: their ids, and why.
    unreadable: Vec<(String, String)>,
}

impl Outbox {
    /// With secrets from the environment.
    pub fn from_environment() -> Result<Self> {
        Ok(Self::new(Post::new()?, |name| std::env::var(name).ok()))
    }

    /// With secrets from anywhere.
    pub fn new(
        post: Post,
        secret: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            post,
            secret: Box::new(secret),
        }
    }

    /// Sends what is to be sent now.
    pub async fn deliver(&self, client: &Client, clock: &impl Clock) -> Result<Delivered> {
        let mut delivered = Delivered::default();
        let mut failed = None;
        for message in claim(client, clock.now()).await? {
            for (alert, why) in &message.unreadable {
                delivered.dead += 1;
                tracing::error!(
                    "channel {}: alert {alert} is given up: {why}",
                    message.channel
                );
                let buried = limited(client, LIMITS, async || {
                    Ok(client
                        .execute(
                            "SELECT agent_metrics_internal.bury_alert($1, $2, $3, $4)",
                            &[&message.channel, &message.message_id, alert, why],
                        )
                        .await?)
                });
                keep_on(buried.await, &mut failed)?;
            }
            if message.alerts.is_empty() {
                continue;
            }
            let answer = self.send(&message, clock.now()).await;
            let now = clock.now();
            let (outcome, error, retry_at) = match answer {
                Answer::Accepted => ("sent", None, None),
                Answer::Again { why, after } if message.attempt < ATTEMPTS => {
                    let wait =
                        wait(&message.message_id, message.attempt).max(after.unwrap_or_default());
                    ("retry", Some(why), Some(now + wait))
                }
                Answer::Again { why, .. } | Answer::Refused { why } => ("dead", Some(why), None),
            };
            match (outcome, &error) {
                ("sent", _) => delivered.sent += 1,
                ("retry", why) => {
                    delivered.waiting += 1;
                    tracing::warn!(
                        "channel {}: {}",
                        message.channel,
                        why.as_deref().unwrap_or_default()
                    );
                }
                (_, why) => {
                    delivered.dead += 1;
                    tracing::error!(
                        "channel {}: {}; given up after {} attempts",
                        message.channel,
                        why.as_deref().unwrap_or_default(),
                        message.attempt
                    );
                }
            }
            let recorded = limited(client, LIMITS, async || {
                Ok(client
                    .execute(
                        "SELECT agent_metrics_internal.record_delivery($1, $2, $3, $4, $5, $6, $7)",
                        &[
                            &message.channel,
                            &message.message_id,
                            &message.attempt,
                            &outcome,
                            &now,
                            &error,
                            &retry_at,
                        ],
                    )
                    .await?)
            });
            keep_on(recorded.await, &mut failed)?;
        }
        failed.map_or(Ok(delivered), Err)
    }

    async fn send(&self, claimed: &Claimed, now: DateTime<Utc>) -> Answer {
        let secret = |name: &str| {
            (self.secret)(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| Answer::Again {
                    why: format!("the environment of the program has no {name}"),
                    after: None,
                })
        };
        let url = match secret(&claimed.url_env) {
            Ok(url) => url,
            Err(answer) => return answer,
        };
        let message = Message {
            message_id: &claimed.message_id,
            channel: &claimed.channel,
            alerts: &claimed.alerts,
        };
        let mut headers = vec![("idempotency-key", claimed.message_id.clone())];
        let body = if claimed.kind == "slack" {
            message.slack().to_string()
        } else {
            let body = message.json().to_string();
            let key = match claimed.secret_env.as_deref().map(secret) {
                Some(Ok(key)) => key,
                Some(Err(answer)) => return answer,
                None => {
                    return Answer::Refused {
                        why: "the channel has no secret_env".to_owned(),
                    };
                }
            };
            let moment = now.timestamp().to_string();
            headers.push((
                "x-agent-metrics-signature",
                format!("sha256={}", signature(&key, &moment, &body)),
            ));
            headers.push(("x-agent-metrics-timestamp", moment));
            body
        };
        self.post.send(&url, &headers, body, now).await
    }
}

/// Goes on with the other messages after a failure, which is told in the end; only a lost session ends it at once.
fn keep_on<T>(outcome: Result<T>, failed: &mut Option<anyhow::Error>) -> Result<()> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if error::is_lost(&error) => Err(error),
        Err(error) => {
            failed.get_or_insert(error);
            Ok(())
        }
    }
}

async fn claim(client: &Client, now: DateTime<Utc>) -> Result<Vec<Claimed>> {
    let rows = limited(client, LIMITS, async || {
        // Each alert as bytes of its own, so that one that cannot be read spoils no other.
        Ok(client
            .query(
                "SELECT c.channel, c.kind, c.url_env, c.secret_env, c.message_id, c.attempts,
                        ARRAY(SELECT x.alert ->> 'alert_id'
                              FROM jsonb_array_elements(c.alerts) WITH ORDINALITY AS x (alert, n)
                              ORDER BY x.n),
                        ARRAY(SELECT convert_to(x.alert::text, 'SQL_ASCII')
                              FROM jsonb_array_elements(c.alerts) WITH ORDINALITY AS x (alert, n)
                              ORDER BY x.n)
                 FROM agent_metrics_internal.claim_alerts($1, $2) c",
                &[&now, &LEASE_SECONDS],
            )
            .await?)
    })
    .await?;
    rows.iter()
        .map(|row| {
            let (ids, alerts): (Vec<String>, Vec<Vec<u8>>) = (row.try_get(6)?, row.try_get(7)?);
            let mut claimed = Claimed {
                channel: row.try_get(0)?,
                kind: row.try_get(1)?,
                url_env: row.try_get(2)?,
                secret_env: row.try_get(3)?,
                message_id: row.try_get(4)?,
                attempt: row.try_get(5)?,
                alerts: Vec::with_capacity(alerts.len()),
                unreadable: Vec::new(),
            };
            for (id, alert) in ids.into_iter().zip(alerts) {
                match serde_json::from_str(&String::from_utf8_lossy(&alert)) {
                    Ok(alert) => claimed.alerts.push(alert),
                    Err(error) => claimed
                        .unreadable
                        .push((id, format!("it cannot be read: {error}"))),
                }
            }
            Ok(claimed)
        })
        .collect()
}

/// HMAC-SHA256 over the moment, a dot and the body, in hexadecimal.
pub fn signature(key: &str, moment: &str, body: &str) -> String {
    // A key of any length will do, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return String::new();
    };
    for part in [moment, ".", body] {
        mac.update(part.as_bytes());
    }
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// How long to wait after an attempt: half a minute, doubled each time up to an hour, and of that a share between a
/// half and one and a half that the message and the attempt decide, so that many do not come back at once.
fn wait(message_id: &str, attempt: i32) -> Duration {
    let mut backoff = Backoff::new(Duration::from_secs(30), Duration::from_secs(60 * 60));
    for _ in 1..attempt {
        backoff.failed();
    }
    let hash = Sha256::digest(format!("{message_id} {attempt}"));
    let jitter = f64::from(u16::from_be_bytes([hash[0], hash[1]])) / 65536.0;
    backoff.failed().mul_f64(0.5 + jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_signature() {
        // computed with openssl dgst -sha256 -hmac
        assert_eq!(
            signature("Jefe", "1700000000", "{}"),
            "d3793e2b4103edfbd98cc19591832f5fad701d413db9fcae0ae7dab8184ed207"
        );
    }

    #[test]
    fn waits_double_and_differ() {
        let of = |id: &str, attempt| wait(id, attempt).as_secs_f64();
        for (attempt, middle) in [(1, 30.0), (2, 60.0), (3, 120.0), (12, 3600.0)] {
            for id in ["a", "b", "c", "d"] {
                assert!(
                    (0.5..1.5).contains(&(of(id, attempt) / middle)),
                    "{id} {attempt}"
                );
            }
        }
        assert_ne!(of("a", 1), of("b", 1));
        assert_eq!(of("a", 5), of("a", 5));
    }
}
