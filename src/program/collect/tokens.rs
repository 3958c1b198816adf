//! Who may send: bearer tokens, of which the database has the hash, and this process a copy, read every few seconds.
//!
//! Without any token in the table whoever reaches the address may send, and the address is one of this machine alone.
//! A token that was revoked or is out of time opens nothing, and still says that tokens are wanted. While the database
//! is away the last copy holds.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

/// How often the tokens are read again.
pub const EVERY: Duration = Duration::from_secs(2);

/// Who sends.
#[derive(Debug, PartialEq, Eq)]
pub struct Sender {
    /// Name of his token; empty: nobody asked who it is.
    pub name: String,
}

#[derive(Debug)]
struct Token {
    sender: Arc<Sender>,
    expires_at: Option<DateTime<Utc>>,
}

/// The copy.
#[derive(Debug)]
pub struct Tokens {
    known: RwLock<Known>,
    /// Whoever sends without a token, where that is allowed.
    anybody: Arc<Sender>,
    is_loopback: bool,
}

#[derive(Debug, Default)]
struct Known {
    /// By SHA-256: nothing is compared with what was sent but its hash, so no comparison tells how much of it is right.
    by_hash: HashMap<Vec<u8>, Token>,
    is_any_made: bool,
}

impl Tokens {
    /// No tokens yet. `is_loopback`: the address is one of this machine alone.
    pub fn new(is_loopback: bool) -> Self {
        Self {
            known: RwLock::default(),
            anybody: Arc::new(Sender {
                name: String::new(),
            }),
            is_loopback,
        }
    }

    /// Reads them, and says whether there are any.
    pub async fn read(&self, client: &Client) -> Result<bool> {
        let rows = client
            .query(
                "SELECT t.name, t.token_sha256,
                        CASE WHEN isfinite(t.expires_at) THEN least(t.expires_at, '9999-01-01 00:00:00+00') END,
                        t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
                 FROM agent_metrics.ingest_tokens t",
                &[],
            )
            .await?;
        let mut known = Known {
            is_any_made: !rows.is_empty(),
            ..Known::default()
        };
        for row in rows {
            if !row.try_get::<_, bool>(3)? {
                continue;
            }
            let sender = Arc::new(Sender {
                name: row.try_get(0)?,
            });
            let token = Token {
                sender,
                expires_at: row.try_get(2)?,
            };
            known.by_hash.insert(row.try_get(1)?, token);
        }
        let is_any_made = known.is_any_made;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(is_any_made)
    }

    /// Who sends, by the header `Authorization`; `None`: nobody who may.
    pub fn sender(&self, authorization: Option<&[u8]>) -> Option<Arc<Sender>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if !known.is_any_made {
            return self.is_loopback.then(|| self.anybody.clone());
        }
        let (scheme, token) = authorization?.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return None;
        }
        let hash = Sha256::digest(token.trim_ascii());
        let token = known.by_hash.get(&hash[..])?;
        let is_in_time = token.expires_at.is_none_or(|end| Utc::now() < end);
        is_in_time.then(|| token.sender.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(token: &[u8], expires_at: Option<DateTime<Utc>>) -> Tokens {
        let tokens = Tokens::new(true);
        let sender = Arc::new(Sender {
            name: "a".to_owned(),
        });
        let mut known = tokens.known.write().unwrap();
        known.is_any_made = true;
        known
            .by_hash
            .insert(Sha256::digest(token).to_vec(), Token { sender, expires_at });
        drop(known);
        tokens
    }

    #[test]
    fn without_a_token_in_the_table_this_machine_alone_may_send() {
        assert!(Tokens::new(true).sender(None).is_some());
        assert!(Tokens::new(false).sender(None).is_none());
        assert!(Tokens::new(false).sender(Some(b"Bearer x")).is_none());
    }

    #[test]
    fn with_one_it_has_to_be_shown() {
        let tokens = with(b"secret", None);
        for (header, may) in [
            (None, false),
            (Some("Bearer secret"), true),
            (Some("bearer  secret "), true),
            (Some("Bearer secre"), false),
            (Some("Basic secret"), false),
            (Some("Bearer"), false),
            (Some("Bearer é"), false),
            (Some("secret"), false),
        ] {
            let sender = tokens.sender(header.map(str::as_bytes));
            assert_eq!(sender.is_some(), may, "{header:?}");
        }
        let past = Utc::now() - chrono::TimeDelta::seconds(1);
        assert!(with(b"x", Some(past)).sender(Some(b"Bearer x")).is_none());
    }
}
