//! What a turn may hold, and its stamp: the trigger before each row of `agent_events` that is inserted or updated.
//!
//! A trigger sees a row whichever way it comes, and it alone can put a stamp on it that the row did not bring itself.
//! A constraint would be read anew in every statement that inserts. What is checked is told by the columns below.

use super::abi::{Column, Kind, Row, once, sql_functions};
use super::bounds::{check_by_name, check_depth, check_length, check_moment};
use super::error::SqlError;
use crate::measures::json::{ARRAY, COUNT, SCALAR, word};
use crate::measures::limits::{ID_MAX, NAME_MAX};
use crate::measures::usage::{is_amount, is_counts, is_object};
use pgrx::PgSqlErrorCode;

/// Most tokens of one kind in one turn: sums of their squares stay exact whatever the number of turns.
pub const TOKENS_MAX: i64 = 1_000_000_000_000;
/// Most bytes of `usage_details`, and of `attributes`: a turn has some kinds of usage and a few words beside it.
pub const DETAILS_MAX: usize = 4096;
/// Who may say an outcome, as `outcome_source` has it.
pub const SOURCES: [&[u8]; 4] = [b"agent", b"judge", b"crm", b"human"];

#[cold]
#[inline(never)]
fn out_of_range(column: &str, value: impl std::fmt::Display, may_be: &str, hint: &str) -> SqlError {
    SqlError::new(
        PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
        format!("{column} of a turn cannot be {value}"),
        format!("{column} is {may_be}."),
        hint,
    )
}

/// How many elements a jsonb that is an array has; 0 for any other.
pub fn array_length(jsonb: &[u8]) -> u32 {
    if !is_array(jsonb) {
        return 0;
    }
    word(jsonb, 0).map_or(0, |header| header & COUNT)
}

/// Whether a jsonb is an array.
fn is_array(jsonb: &[u8]) -> bool {
    word(jsonb, 0).is_some_and(|header| header & ARRAY != 0 && header & SCALAR == 0)
}

/// What is checked of a column.
#[derive(Clone, Copy)]
enum Check {
    Length(usize),
    Moment,
    Tools,
    Latency,
    Tokens,
    Amount,
    Source,
    Usage,
    Attributes,
}

/// The columns that are looked at, in the order of the table.
const COLUMNS: [(&str, Check); 23] = [
    ("agent_id", Check::Length(NAME_MAX)),
    ("occurred_at", Check::Moment),
    ("conversation_id", Check::Length(ID_MAX)),
    ("user_id", Check::Length(ID_MAX)),
    ("intent_classified", Check::Length(NAME_MAX)),
    ("tools_called", Check::Tools),
    ("latency_ms", Check::Latency),
    ("token_usage_input", Check::Tokens),
    ("token_usage_output", Check::Tokens),
    ("cost_usd", Check::Amount),
    ("outcome_label", Check::Length(NAME_MAX)),
    ("business_event_id", Check::Length(ID_MAX)),
    ("agent_version", Check::Length(NAME_MAX)),
    ("model", Check::Length(NAME_MAX)),
    ("prompt_version", Check::Length(NAME_MAX)),
    ("token_usage_cache_read", Check::Tokens),
    ("token_usage_cache_write", Check::Tokens),
    ("outcome_source", Check::Source),
    ("provider", Check::Length(NAME_MAX)),
    ("computed_cost_usd", Check::Amount),
    ("usage_details", Check::Usage),
    ("service_tier", Check::Length(NAME_MAX)),
    ("attributes", Check::Attributes),
];

impl Check {
    fn kind(self) -> Kind {
        match self {
            Self::Length(_) | Self::Source => Kind::Text,
            Self::Moment => Kind::Moment,
            Self::Tools | Self::Usage | Self::Attributes => Kind::Json,
            Self::Latency => Kind::Float8,
            Self::Tokens => Kind::Int8,
            Self::Amount => Kind::Numeric,
        }
    }
}

/// Where the columns are in the table that is written to; a partition may have them in an order of its own.
#[derive(Clone, Copy)]
struct Places {
    columns: [Option<u16>; COLUMNS.len()],
    stamp: Option<usize>,
}

fn places(row: &Row) -> Result<Places, SqlError> {
    let mut columns = [None; COLUMNS.len()];
    let mut near = 0;
    for (place, (name, check)) in columns.iter_mut().zip(COLUMNS) {
        let column = Column {
            name,
            kind: check.kind(),
        };
        if let Some(found) = row.find(&column, near)? {
            *place = u16::try_from(found).ok();
            near = found;
        }
        near += 1;
    }
    Ok(Places {
        columns,
        stamp: find_stamp(row, "recorded_in")?,
    })
}

fn find_stamp(row: &Row, name: &'static str) -> Result<Option<usize>, SqlError> {
    row.find(
        &Column {
            name,
            kind: Kind::TransactionId,
        },
        usize::MAX,
    )
}

fn check_details(row: &Row, position: usize, column: &str, check: Check) -> Result<(), SqlError> {
    let length = row.length(position);
    if length > DETAILS_MAX {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
            format!("{column} cannot be {length} bytes long"),
            format!(
                "{column} has at most {DETAILS_MAX} bytes: no text of a conversation belongs there."
            ),
            "Keep what turns are counted or grouped by, and leave the rest out.",
        ));
    }
    if matches!(check, Check::Usage) && !is_counts(row.bytes(position)) {
        return Err(out_of_range(
            column,
            "a value that is no object of counts",
            "an object of kinds of usage and whole numbers of tokens from 0 to below 1000000000000",
            "Write '{\"reasoning\": 120, \"cache_write_1h\": 500}', or NULL when nothing is billed apart.",
        ));
    }
    if !is_object(row.bytes(position)) {
        return Err(out_of_range(
            column,
            "a value that is no object",
            "a JSON object of names and values",
            "Write '{\"channel\": \"chat\"}', or NULL when there is nothing to say.",
        ));
    }
    check_depth(row, position, column)
}

fn check(row: &Row, position: usize, column: &str, check: Check) -> Result<(), SqlError> {
    const NOT_KNOWN: &str =
        "Leave it NULL when it is not known: NULL is in no sum and no percentile.";
    match check {
        Check::Length(most) => return check_length(row, position, column, most),
        Check::Moment => return check_moment(row, position, column),
        Check::Tools => {
            if !is_array(row.bytes(position)) {
                return Err(out_of_range(
                    column,
                    "a value that is no list",
                    "a JSON array of tool names, or of objects with name and ok",
                    "Write '[\"lookup_order\"]', or NULL when no tool was called.",
                ));
            }
            return check_depth(row, position, column);
        }
        Check::Usage | Check::Attributes => return check_details(row, position, column, check),
        Check::Latency => {
            let latency = row.float8(position);
            if !(latency.is_finite() && latency >= 0.0) {
                let may_be = "a finite number of milliseconds, 0 or more";
                return Err(out_of_range(column, latency, may_be, NOT_KNOWN));
            }
        }
        Check::Tokens => {
            let tokens = row.int8(position);
            if !(0..=TOKENS_MAX).contains(&tokens) {
                return Err(out_of_range(
                    column,
                    tokens,
                    "a count from 0 to 1000000000000",
                    NOT_KNOWN,
                ));
            }
        }
        Check::Amount => {
            if !is_amount(row.bytes(position)) {
                let may_be = "an amount of US dollars from 0 to below 1000000000000";
                return Err(out_of_range(
                    column,
                    row.numeric(position),
                    may_be,
                    NOT_KNOWN,
                ));
            }
        }
        Check::Source => {
            let source = row.bytes(position);
            if !SOURCES.contains(&source) {
                let start = String::from_utf8_lossy(&source[..source.len().min(NAME_MAX)]);
                return Err(out_of_range(
                    column,
                    format!("\"{start}\""),
                    "agent, judge, crm or human: who says outcome_label",
                    "Use one of these, or leave it out: the agent itself.",
                ));
            }
        }
    }
    Ok(())
}

sql_functions! {
    /// `check_turn()`: trigger of agent_events. Refuses an impossible turn and puts the stamp of its insertion on it;
    /// an update keeps the stamp, for it is told by the log.
    fn check_turn(call) {
        let row = call.row()?;
        let places = once(call, || places(&row))?;
        for ((column, what), place) in COLUMNS.into_iter().zip(places.columns) {
            let Some(position) = place.map(usize::from) else { continue };
            if !row.is_null(position) {
                check(&row, position, column, what)?;
            }
        }
        Ok(Some(row.stamped(places.stamp, true)))
    }

    /// `check_row()`: trigger of the other tables that people write. Bounds texts, moments and JSON by the names of
    /// their columns, and stamps the row with the transaction that writes it, where it has a stamp.
    fn check_row(call) {
        let row = call.row()?;
        check_by_name(&row)?;
        Ok(Some(row.stamped(find_stamp(&row, "changed_in")?, false)))
    }

    /// `stamp_row()`: trigger that stamps a row with the transaction that writes it, and checks nothing.
    fn stamp_row(call) {
        let row = call.row()?;
        Ok(Some(row.stamped(find_stamp(&row, "changed_in")?, false)))
    }
}
