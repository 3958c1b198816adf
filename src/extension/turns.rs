//! What a turn may hold: the one CHECK constraint of `agent_events`.
//!
//! The server parses the text of each constraint anew in every statement that inserts; nine constraints in SQL cost
//! a single-row insert four times its own time. One function with nine arguments costs a fraction of it, and it can
//! say what is wrong.

use super::abi::{self, Call, sql_functions};
use super::fault::Fault;
use pgrx::PgSqlErrorCode;

/// Most tokens of one kind in one turn: sums of their squares stay exact whatever the number of turns.
const TOKENS_MAX: i64 = 1_000_000_000_000;
/// Columns of token counts, with the positions of their arguments.
const TOKENS: [(usize, &str); 4] = [
    (3, "token_usage_input"),
    (4, "token_usage_output"),
    (5, "token_usage_cache_read"),
    (6, "token_usage_cache_write"),
];
/// Who may say an outcome, as `outcome_source` has it.
pub const SOURCES: [&[u8]; 4] = [b"agent", b"judge", b"crm", b"human"];

#[cold]
#[inline(never)]
fn fault(column: &str, value: impl std::fmt::Display, may_be: &str, hint: &str) -> Fault {
    Fault::new(
        PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
        format!("{column} of a turn cannot be {value}"),
        format!("{column} is {may_be}."),
        hint,
    )
}

/// Whether a numeric lies in [0, 1e12). Read from its header, which holds the sign and the weight of the first digit
/// (base 10000): see PostgreSQL's numeric.c, `NumericChoice`.
fn is_amount(numeric: &[u8]) -> bool {
    const SIGN: u16 = 0xC000;
    const LONG_POSITIVE: u16 = 0x0000;
    const SHORT: u16 = 0x8000;
    const SHORT_NEGATIVE: u16 = 0x2000;
    const SHORT_WEIGHT_NEGATIVE: u16 = 0x0040;
    const SHORT_WEIGHT: u16 = 0x003F;
    let word = |at: usize| {
        let bytes = numeric.get(at..at + 2)?;
        Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
    };
    let Some(header) = word(0) else { return false };
    let (weight, digits) = match header & SIGN {
        SHORT if header & SHORT_NEGATIVE == 0 => {
            let weight = (header & SHORT_WEIGHT) as i16;
            let is_below_one = header & SHORT_WEIGHT_NEGATIVE != 0;
            (if is_below_one { -1 } else { weight }, numeric.len() - 2)
        }
        LONG_POSITIVE => match word(2) {
            Some(weight) => (weight as i16, numeric.len() - 4),
            None => return false,
        },
        // Negative, NaN or infinite.
        _ => return false,
    };
    // 10000^3 is 1e12.
    digits == 0 || weight < 3
}

/// How many elements a jsonb that is an array has: the first word of its root container counts them (`JB_CMASK`).
pub fn array_length(jsonb: &[u8]) -> u32 {
    const COUNT: u32 = 0x0FFF_FFFF;
    jsonb
        .first_chunk::<4>()
        .map_or(0, |word| u32::from_ne_bytes(*word) & COUNT)
}

/// Whether a jsonb is an array: the first word of its root container says so (jsonb.h, `JB_FARRAY`, `JB_FSCALAR`).
fn is_array(jsonb: &[u8]) -> bool {
    const SCALAR: u32 = 0x1000_0000;
    const ARRAY: u32 = 0x4000_0000;
    jsonb.first_chunk::<4>().is_some_and(|word| {
        let header = u32::from_ne_bytes(*word);
        header & ARRAY != 0 && header & SCALAR == 0
    })
}

fn check(call: &Call) -> Result<(), Fault> {
    const NOT_KNOWN: &str =
        "Leave it NULL when it is not known: NULL is in no sum and no percentile.";
    // i64::MIN and i64::MAX are -infinity and infinity.
    if !call.is_null(0) && matches!(call.int8(0), i64::MIN | i64::MAX) {
        return Err(fault(
            "occurred_at",
            if call.int8(0) > 0 {
                "infinity"
            } else {
                "-infinity"
            },
            "the moment when the turn began",
            "Give a date and time.",
        ));
    }
    if !call.is_null(1) && !is_array(call.bytes(1)) {
        return Err(fault(
            "tools_called",
            "a value that is no list",
            "a JSON array of tool names, or of objects with name and ok",
            "Write '[\"lookup_order\"]', or NULL when no tool was called.",
        ));
    }
    if !call.is_null(2) {
        let latency = call.float8(2);
        if !(latency.is_finite() && latency >= 0.0) {
            return Err(fault(
                "latency_ms",
                latency,
                "a finite number of milliseconds, 0 or more",
                NOT_KNOWN,
            ));
        }
    }
    for (position, column) in TOKENS {
        if !call.is_null(position) && !(0..=TOKENS_MAX).contains(&call.int8(position)) {
            return Err(fault(
                column,
                call.int8(position),
                "a count from 0 to 1000000000000",
                NOT_KNOWN,
            ));
        }
    }
    if !call.is_null(7) && !is_amount(call.bytes(7)) {
        return Err(fault(
            "cost_usd",
            call.numeric(7),
            "an amount of US dollars from 0 to below 1000000000000",
            NOT_KNOWN,
        ));
    }
    if !call.is_null(8) && !SOURCES.contains(&call.bytes(8)) {
        return Err(fault(
            "outcome_source",
            format!("\"{}\"", call.text(8)),
            "agent, judge, crm or human: who says outcome_label",
            "Use one of these, or leave it out: the agent itself.",
        ));
    }
    Ok(())
}

sql_functions! {
    /// `check_turn(...)`: true, or an error that names the column and the value.
    fn check_turn(call) {
        check(call)?;
        Ok(Some(abi::boolean(true)))
    }
}
