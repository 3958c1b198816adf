//! The type `rate`: sixteen bytes, hits and total.

use super::abi::{self, sql_functions};
use super::fault::Fault;
use super::sketch_type::fraction;
use crate::measures::rate::Rate;
use crate::measures::statistics::Interval;
use pgrx::PgSqlErrorCode;

fn interval(call: &abi::Call) -> Result<Option<Interval>, Fault> {
    Ok(call.rate(0)?.wilson(fraction(call.float8(1))?))
}

sql_functions! {
    /// Input: `184/200`.
    fn rate_in(call) { Ok(Some(abi::new_rate(call.cstring(0).parse::<Rate>()?))) }

    /// Output: `184/200`.
    fn rate_out(call) { Ok(Some(abi::cstring(&call.rate(0)?.to_string()))) }

    /// Binary input: two big-endian 64-bit integers.
    fn rate_recv(call) {
        let bytes = call.message();
        let Ok(halves) = <[u8; 16]>::try_from(bytes.as_slice()) else {
            return Err(Fault::new(
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

    /// The step of `rate(boolean)`: NULL is skipped, and no row gives NULL.
    fn rate_accumulate(call) {
        if call.is_null(1) {
            return if call.is_null(0) { Ok(None) } else { Ok(Some(call.replace_rate(0, call.rate(0)?))) };
        }
        let one = Rate::new(i64::from(call.boolean(1)), 1)?;
        let sum = if call.is_null(0) { one } else { call.rate(0)?.plus(one)? };
        Ok(Some(call.replace_rate(0, sum)))
    }

    /// `hits(rate)`
    fn rate_hits(call) { Ok(Some(abi::int8(call.rate(0)?.hits()))) }

    /// `total(rate)`
    fn rate_total(call) { Ok(Some(abi::int8(call.rate(0)?.total()))) }

    /// Cast to double precision; NULL where there is no denominator.
    fn rate_float8(call) { Ok(call.rate(0)?.value().map(abi::float8)) }

    /// `wilson_low(rate, confidence)`
    fn rate_wilson_low(call) { Ok(interval(call)?.map(|interval| abi::float8(interval.low))) }

    /// `wilson_high(rate, confidence)`
    fn rate_wilson_high(call) { Ok(interval(call)?.map(|interval| abi::float8(interval.high))) }

    /// `=`
    fn rate_eq(call) { Ok(Some(abi::boolean(call.rate(0)? == call.rate(1)?))) }

    /// `<>`
    fn rate_ne(call) { Ok(Some(abi::boolean(call.rate(0)? != call.rate(1)?))) }
}
