//! The type `rate`: sixteen bytes, hits and total.

use super::abi::{self, sql_functions};
use super::error::SqlError;
use super::sketch_type::{excerpt, fraction};
use crate::measures::rate::{Rate, RateError};
use crate::measures::statistics::Interval;
use pgrx::PgSqlErrorCode;
use std::cmp::Ordering;

/// A rate is two numbers of at most 19 digits; a text of more bytes than this is none.
const LONGEST: usize = 1_000;

fn wilson(call: &abi::Call) -> Result<Option<Interval>, SqlError> {
    Ok(call.rate(0)?.wilson(fraction(call.float8(1))?))
}

fn order(call: &abi::Call) -> Result<Ordering, SqlError> {
    Ok(call.rate(0)?.cmp(&call.rate(1)?))
}

/// A boolean that comes to or leaves a `rate(boolean)`. While there is no state NULL leaves it so, but in a window,
/// whose moving frames want a state.
fn step(call: &abi::Call, change: fn(Rate, Rate) -> Result<Rate, RateError>) -> abi::Answer {
    if call.is_null(0) && call.is_null(1) && !call.in_window() {
        return Ok(None);
    }
    let before = if call.is_null(0) {
        Rate::default()
    } else {
        call.rate(0)?
    };
    let after = if call.is_null(1) {
        before
    } else {
        change(before, Rate::new(i64::from(call.boolean(1)), 1)?)?
    };
    Ok(Some(call.replace_rate(0, after)))
}

sql_functions! {
    /// Input: `184/200`.
    fn rate_in(call) {
        let given = call.cstring(0);
        if given.len() > LONGEST {
            return Err(RateError::Text(excerpt(given)).into());
        }
        Ok(Some(abi::new_rate(String::from_utf8_lossy(given).parse::<Rate>()?)))
    }

    /// Output: `184/200`.
    fn rate_out(call) { Ok(Some(abi::cstring(&call.rate(0)?.to_string()))) }

    /// Binary input: two big-endian 64-bit integers.
    fn rate_recv(call) {
        let bytes = call.message();
        let Ok(halves) = <[u8; 16]>::try_from(bytes) else {
            return Err(SqlError::new(
                PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
                format!("invalid rate: a message of {} bytes", bytes.len()),
                "The binary form of a rate is two 64-bit integers: hits and total.",
                "Send 16 bytes, big endian.",
            ));
        };
        let both = u128::from_be_bytes(halves);
        Ok(Some(abi::new_rate(Rate::new((both >> 64) as i64, both as i64)?)))
    }

    /// Binary output.
    fn rate_send(call) {
        let rate = call.rate(0)?;
        Ok(Some(abi::bytes(&[rate.hits().to_be_bytes(), rate.total().to_be_bytes()].concat())))
    }

    /// `rate(hits, total)`
    fn rate_make(call) { Ok(Some(abi::new_rate(Rate::new(call.int8(0), call.int8(1))?))) }

    /// `+`, and the step of `merge(rate)`.
    fn rate_plus(call) {
        let sum = call.rate(0)?.plus(call.rate(1)?)?;
        Ok(Some(call.replace_rate(0, sum)))
    }

    /// `-`, and the inverse step of `merge(rate)`.
    fn rate_minus(call) {
        let rest = call.rate(0)?.minus(call.rate(1)?)?;
        Ok(Some(call.replace_rate(0, rest)))
    }

    /// The step of `rate(boolean)`: NULL is skipped.
    fn rate_accumulate(call) { step(call, Rate::plus) }

    /// The inverse step of `rate(boolean)`, for frames that move.
    fn rate_dismiss(call) { step(call, Rate::minus) }

    /// The result of `rate(boolean)`: NULL where no row was true or false.
    fn rate_final(call) {
        let rate = call.rate(0)?;
        Ok((rate.total() > 0).then(|| abi::new_rate(rate)))
    }

    /// `hits(rate)`
    fn rate_hits(call) { Ok(Some(abi::int8(call.rate(0)?.hits()))) }

    /// `total(rate)`
    fn rate_total(call) { Ok(Some(abi::int8(call.rate(0)?.total()))) }

    /// Cast to double precision; NULL where there is no denominator.
    fn rate_float8(call) { Ok(call.rate(0)?.value().map(abi::float8)) }

    /// `wilson_low(rate, confidence)`
    fn rate_wilson_low(call) { Ok(wilson(call)?.map(|interval| abi::float8(interval.low))) }

    /// `wilson_high(rate, confidence)`
    fn rate_wilson_high(call) { Ok(wilson(call)?.map(|interval| abi::float8(interval.high))) }

    /// Total order, for btree.
    fn rate_cmp(call) { Ok(Some(abi::int4(order(call)? as i32))) }

    /// `<`
    fn rate_lt(call) { Ok(Some(abi::boolean(order(call)?.is_lt()))) }

    /// `<=`
    fn rate_le(call) { Ok(Some(abi::boolean(order(call)?.is_le()))) }

    /// `>`
    fn rate_gt(call) { Ok(Some(abi::boolean(order(call)?.is_gt()))) }

    /// `>=`
    fn rate_ge(call) { Ok(Some(abi::boolean(order(call)?.is_ge()))) }

    /// `=`
    fn rate_eq(call) { Ok(Some(abi::boolean(call.rate(0)? == call.rate(1)?))) }

    /// `<>`
    fn rate_ne(call) { Ok(Some(abi::boolean(call.rate(0)? != call.rate(1)?))) }
}
