//! Bounds of what is stored: how deep a document may be nested, how many bytes a text may have; and
//! whom a document names.
//!
//! The tables of facts have a trigger for that (`bounds`). Here is the same for what is not yet a row, and for columns
//! of few tables, where it stands in a CHECK constraint: it answers with true or with an error that says which value it
//! was and what to do, for a constraint alone could say its own name and no more.

use super::abi::{self, Call, sql_functions};
use super::error::SqlError;
use crate::measures::json;
use crate::measures::limits::DEPTH_MAX;
use pgrx::PgSqlErrorCode;

/// How deep a jsonb argument is nested.
fn depth(call: &Call) -> Result<usize, SqlError> {
    json::depth(call.bytes(0), usize::MAX, abi::check_for_interrupts).ok_or_else(too_large)
}

fn too_large() -> SqlError {
    SqlError::new(
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        "out of memory over a JSON document",
        "To walk through it takes about its size.",
        "Take it apart first.",
    )
}

fn check_depth(call: &Call) -> Result<(), SqlError> {
    let levels = depth(call)?;
    if levels <= DEPTH_MAX {
        return Ok(());
    }
    Err(SqlError::new(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!(
            "{} has {levels} levels of JSON",
            String::from_utf8_lossy(call.bytes(1))
        ),
        format!(
            "A document that is stored has {} levels at most, so that no later walk runs out of stack.",
            DEPTH_MAX
        ),
        "Leave the deep part out, or store it as text.",
    ))
}

fn check_length(call: &Call) -> Result<(), SqlError> {
    let (bytes, most) = (call.bytes(0).len(), call.int4(2));
    if usize::try_from(most).is_ok_and(|most| bytes <= most) {
        return Ok(());
    }
    Err(SqlError::new(
        PgSqlErrorCode::ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
        format!(
            "{} has {bytes} bytes",
            String::from_utf8_lossy(call.bytes(1))
        ),
        format!("It may have {most}: it stands in an index, and it is a name and no text."),
        "Give a shorter one; of a longer one, its hash.",
    ))
}

sql_functions! {
    /// `json_depth(document)`
    fn json_depth(call) {
        let levels = depth(call)?;
        Ok(Some(abi::int4(i32::try_from(levels).unwrap_or(i32::MAX))))
    }

    /// `json_size(document)`: bytes as they are unpacked.
    fn json_size(call) {
        Ok(Some(abi::int8(i64::try_from(call.bytes(0).len()).unwrap_or(i64::MAX))))
    }

    /// `json_names(document as text, id)`
    fn json_names(call) {
        let found = json::names(call.bytes(0), call.bytes(1), abi::check_for_interrupts);
        let is_named = found.ok_or_else(too_large)?;
        Ok(Some(abi::boolean(is_named)))
    }

    /// `check_json(document, what)`: true, or an error that says how deep it is.
    fn check_json(call) {
        check_depth(call)?;
        Ok(Some(abi::boolean(true)))
    }

    /// `check_length(value, what, most)`: true, or an error that says how long it is.
    fn check_length_of(call) {
        check_length(call)?;
        Ok(Some(abi::boolean(true)))
    }
}
