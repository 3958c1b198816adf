//! How long a text and how far a moment may be, wherever it is written.
//!
//! What is accepted must be refreshable: an index row has at most 2,704 bytes, so that an index of ours may hold two
//! ids and a name; and moments are calculated with, so that none may lie at the ends of time.

use super::abi::{Kind, Row};
use super::error::SqlError;
use crate::measures::limits::{
    DEPTH_MAX, END_OF_MOMENTS, FIRST_MOMENT, ID_MAX, NAME_MAX, json_depth,
};
use pgrx::PgSqlErrorCode;

/// Refuses a text of more than `most` bytes.
#[inline]
pub fn check_length(row: &Row, position: usize, column: &str, most: usize) -> Result<(), SqlError> {
    let length = row.length(position);
    if length <= most {
        return Ok(());
    }
    Err(too_long(column, length, most))
}

#[cold]
#[inline(never)]
fn too_long(column: &str, length: usize, most: usize) -> SqlError {
    SqlError::new(
        PgSqlErrorCode::ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
        format!("{column} cannot be {length} bytes long"),
        format!("{column} has at most {most} bytes, so that it can be grouped and indexed by."),
        "Send a short name or id; a longer text belongs into a table of your own.",
    )
}

/// Refuses a moment that is infinite or not of the years 1 to 9999.
#[inline]
pub fn check_moment(row: &Row, position: usize, column: &str) -> Result<(), SqlError> {
    let moment = row.int8(position);
    if (FIRST_MOMENT..END_OF_MOMENTS).contains(&moment) {
        return Ok(());
    }
    Err(too_far(column, moment))
}

#[cold]
#[inline(never)]
fn too_far(column: &str, moment: i64) -> SqlError {
    // the server's infinities are the ends of the range
    let what = match moment {
        i64::MIN => "-infinity",
        i64::MAX => "infinity",
        _ if moment < FIRST_MOMENT => "a moment before the year 1",
        _ => "a moment after the year 9999",
    };
    SqlError::new(
        PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW,
        format!("{column} cannot be {what}"),
        format!("{column} is a moment of the years 1 to 9999."),
        "Give a date and time; were seconds, milliseconds and nanoseconds mixed up?",
    )
}

/// Refuses a JSON value that is nested deeper than [`DEPTH_MAX`].
pub fn check_depth(row: &Row, position: usize, column: &str) -> Result<(), SqlError> {
    // Each level takes eight bytes at least: its header, and the entry of what it holds.
    if row.length(position) <= DEPTH_MAX * 8 || json_depth(row.bytes(position)) <= DEPTH_MAX {
        return Ok(());
    }
    Err(SqlError::new(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!("{column} is nested deeper than {DEPTH_MAX} levels"),
        "A value that deep says nothing that anybody reads, and could not be walked through later.",
        "Send a flatter value, or the deep part as a text.",
    ))
}

/// What is bounded in a table, by the name of the column. The columns of one table are few, and so are its rows.
pub fn check_by_name(row: &Row) -> Result<(), SqlError> {
    for (position, name) in row.column_names() {
        if row.is_null(position) {
            continue;
        }
        // names of ours are ASCII; a column of the user's is not looked at
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        let most = match name {
            "agent_id" | "kind" | "meaning" | "label" | "outcome_label" | "metric" | "model"
            | "provider" | "usage_type" | "owner" | "deputy" | "criterion" | "tool"
            | "answer_verdict" | "agent_version" | "prompt_version" | "eval_set" | "vertical"
            | "statistic" | "baseline_agent_id" | "replaced_by" | "source" | "service"
            | "service_name" | "service_tier" | "biller" | "model_provider"
            | "canonical_provider" | "canonical_model" | "charge" | "measure" => Some(NAME_MAX),
            "conversation_id" | "user_id" | "customer_id" | "business_event_id"
            | "respondent_id" | "answer_id" | "review_id" | "sample_id" | "run_id" | "case_id"
            | "cost_id" | "line_id" | "reviewer" | "judged_by" | "scored_by" | "source_table"
            | "account" | "report_id" | "measurement_id" => Some(ID_MAX),
            _ => None,
        };
        if let Some(most) = most {
            if row.is_of(position, Kind::Text) {
                check_length(row, position, name, most)?;
            }
        } else if row.is_of(position, Kind::Json) {
            check_depth(row, position, name)?;
        } else if row.is_of(position, Kind::Moment)
            && (name == "occurred_at"
                || matches!(
                    name,
                    "answered_at"
                        | "reviewed_at"
                        | "judged_at"
                        | "scored_at"
                        | "run_at"
                        | "period_start"
                        | "period_end"
                ))
        {
            check_moment(row, position, name)?;
        }
    }
    Ok(())
}
