//! What the doors for facts need of the server: tokens, and texts without what somebody said in them.

use super::abi::{self, sql_functions};
use super::error::SqlError;
use crate::measures::redact::{QUARANTINE, redact};
use pgrx::PgSqlErrorCode;

/// What a token of ours begins with, so that whoever searches for secrets that leaked finds it.
const PREFIX: &str = "agent_metrics_";

sql_functions! {
    /// `new_token()`
    fn new_token(_call) {
        let bytes = abi::random().ok_or_else(|| {
            SqlError::new(
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                "the system gives no random bytes",
                "A token is made of them, so that nobody guesses it.",
                "Look into the server's log, and call it again.",
            )
        })?;
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        let token: String = std::iter::once(PREFIX.to_owned()).chain(digits).collect();
        Ok(Some(abi::bytes(token.as_bytes())))
    }

    /// `redacted(document)`
    fn redacted(call) {
        Ok(Some(abi::bytes(redact(call.bytes(0), QUARANTINE).as_bytes())))
    }
}
