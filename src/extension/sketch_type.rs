//! The type `quantile_sketch`: input, output, comparison, reading.

use super::abi::{self, sql_functions};
use super::fault::Fault;
use crate::measures::sketch::{Stored, text};
use crate::measures::statistics::{Interval, percentile_ranks};
use pgrx::PgSqlErrorCode;

/// A fraction argument between 0 and 1.
pub fn fraction(value: f64) -> Result<f64, Fault> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(Fault::new(
        PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        format!("fraction out of range: {value}"),
        "A fraction lies between 0 and 1.",
        "The 95th percentile is 0.95.",
    ))
}

/// The interval of a percentile: order statistics read off the sketch.
fn bounds(call: &abi::Call) -> Result<Option<Interval>, Fault> {
    let stored = Stored::read(call.bytes(0))?;
    let Some((low, high)) = percentile_ranks(
        stored.count(),
        fraction(call.float8(1))?,
        fraction(call.float8(2))?,
    ) else {
        return Ok(None);
    };
    Ok(Some(Interval {
        low: stored.at_rank(low)?,
        high: stored.at_rank(high)?,
    }))
}

sql_functions! {
    /// Input: the text form.
    fn quantile_sketch_in(call) {
        let text = call.cstring(0);
        let bytes = text::from_text(&text).map_err(|error| {
            Fault::new(
                PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
                format!("invalid input for quantile_sketch: \"{}\"", text.chars().take(80).collect::<String>()),
                error.to_string(),
                "Make sketches with agent_metrics.quantile_sketch(); their text is: count [min, max] value*count ...",
            )
        })?;
        Ok(Some(abi::bytes(&bytes)))
    }

    /// Output: the text form.
    fn quantile_sketch_out(call) {
        Ok(Some(abi::cstring(&text::to_text(&Stored::read(call.bytes(0))?)?)))
    }

    /// Binary input: the stored form, checked in full.
    fn quantile_sketch_recv(call) {
        let bytes = call.message();
        Stored::check(&bytes)?;
        Ok(Some(abi::bytes(&bytes)))
    }

    /// Binary output: the stored form.
    fn quantile_sketch_send(call) {
        Ok(Some(abi::bytes(call.bytes(0))))
    }

    /// From the stored form as bytea, checked in full.
    fn quantile_sketch_from_bytes(call) {
        let bytes = call.bytes(0);
        Stored::check(bytes)?;
        Ok(Some(abi::bytes(bytes)))
    }

    /// Order of the stored bytes: any total order serves grouping, and equal multisets have equal bytes.
    fn quantile_sketch_cmp(call) {
        Ok(Some(abi::int4(call.bytes(0).cmp(call.bytes(1)) as i32)))
    }

    /// `=`
    fn quantile_sketch_eq(call) {
        Ok(Some(abi::boolean(call.bytes(0) == call.bytes(1))))
    }

    /// `<>`
    fn quantile_sketch_ne(call) {
        Ok(Some(abi::boolean(call.bytes(0) != call.bytes(1))))
    }

    /// `<`
    fn quantile_sketch_lt(call) {
        Ok(Some(abi::boolean(call.bytes(0) < call.bytes(1))))
    }

    /// `<=`
    fn quantile_sketch_le(call) {
        Ok(Some(abi::boolean(call.bytes(0) <= call.bytes(1))))
    }

    /// `>`
    fn quantile_sketch_gt(call) {
        Ok(Some(abi::boolean(call.bytes(0) > call.bytes(1))))
    }

    /// `>=`
    fn quantile_sketch_ge(call) {
        Ok(Some(abi::boolean(call.bytes(0) >= call.bytes(1))))
    }

    /// Both sketches together.
    fn quantile_sketch_plus(call) {
        let (left, right) = (Stored::read(call.bytes(0))?, Stored::read(call.bytes(1))?);
        Ok(Some(abi::bytes(&left.plus(&right)?)))
    }

    /// `percentile(sketch, fraction)`
    fn quantile_sketch_percentile(call) {
        let fraction = fraction(call.float8(1))?;
        Ok(Some(abi::float8(Stored::read(call.bytes(0))?.percentile(fraction)?)))
    }

    /// `percentile(sketch, fractions[])`
    fn quantile_sketch_percentiles(call) {
        let stored = Stored::read(call.bytes(0))?;
        let mut values = Vec::new();
        for asked in abi::float8_array(call, 1) {
            values.push(match asked {
                None => None,
                Some(asked) => Some(stored.percentile(fraction(asked)?)?),
            });
        }
        Ok(abi::new_float8_array(values))
    }

    /// `percentile_rank(sketch, value)`
    fn quantile_sketch_percentile_rank(call) {
        Ok(Some(abi::float8(Stored::read(call.bytes(0))?.percentile_rank(call.float8(1))?)))
    }

    /// `percentile_low(sketch, fraction, confidence)`
    fn quantile_sketch_percentile_low(call) {
        Ok(bounds(call)?.map(|interval| abi::float8(interval.low)))
    }

    /// `percentile_high(sketch, fraction, confidence)`
    fn quantile_sketch_percentile_high(call) {
        Ok(bounds(call)?.map(|interval| abi::float8(interval.high)))
    }

    /// `sketch_count(sketch)`
    fn quantile_sketch_count(call) {
        let count = Stored::read(call.bytes(0))?.count();
        Ok(Some(abi::int8(i64::try_from(count).unwrap_or(i64::MAX))))
    }

    /// `sketch_min(sketch)`
    fn quantile_sketch_min(call) {
        Ok(Some(abi::float8(Stored::read(call.bytes(0))?.min())))
    }

    /// `sketch_max(sketch)`
    fn quantile_sketch_max(call) {
        Ok(Some(abi::float8(Stored::read(call.bytes(0))?.max())))
    }
}
