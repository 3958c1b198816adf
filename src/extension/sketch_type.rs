//! The type `quantile_sketch`: input, output, comparison, reading.

use super::abi::{self, sql_functions};
use super::error::SqlError;
use crate::measures::sketch::{SketchError, Stored, text};
use crate::measures::statistics::{Interval, percentile_ranks};
use pgrx::PgSqlErrorCode;

/// A fraction argument between 0 and 1.
pub fn fraction(value: f64) -> Result<f64, SqlError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(SqlError::new(
        PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        format!("fraction out of range: {value}"),
        "A fraction lies between 0 and 1.",
        "The 95th percentile is 0.95.",
    ))
}

/// The beginning of a text, as an error shows it.
pub fn excerpt(text: &[u8]) -> String {
    // 80 characters are at most 320 bytes.
    let beginning = text.get(..320).unwrap_or(text);
    String::from_utf8_lossy(beginning)
        .chars()
        .take(80)
        .collect()
}

/// The interval of a percentile: order statistics read off the sketch.
fn bounds(call: &abi::Call) -> Result<Option<Interval>, SqlError> {
    let bytes = call.varlena(0);
    let stored = Stored::read(&bytes)?;
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
        let given = call.cstring(0);
        let parsed = match given.get(..=text::LONGEST) {
            Some(_) => Err(SketchError::Corrupt("its text is longer than that of any sketch")),
            None => text::from_text(&String::from_utf8_lossy(given)),
        };
        let bytes = parsed.map_err(|error| {
            SqlError::new(
                PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
                format!("invalid input for quantile_sketch: \"{}\"", excerpt(given)),
                error.to_string(),
                "Make sketches with agent_metrics.quantile_sketch(); their text is: count [min, max] value*count ...",
            )
        })?;
        Ok(Some(abi::bytes(&bytes)))
    }

    /// Output: the text form.
    fn quantile_sketch_out(call) {
        let bytes = call.varlena(0);
        Ok(Some(abi::cstring(&text::to_text(&Stored::read(&bytes)?)?)))
    }

    /// Binary input: the stored form, checked in full.
    fn quantile_sketch_recv(call) {
        let bytes = call.message();
        Stored::check(bytes)?;
        Ok(Some(abi::bytes(bytes)))
    }

    /// Binary output: the stored form.
    fn quantile_sketch_send(call) {
        Ok(Some(abi::bytes(&call.varlena(0))))
    }

    /// From the stored form as bytea, checked in full.
    fn quantile_sketch_from_bytes(call) {
        let bytes = call.varlena(0);
        Stored::check(&bytes)?;
        Ok(Some(abi::bytes(&bytes)))
    }

    /// Order of the stored bytes: any total order serves grouping, and equal multisets have equal bytes.
    fn quantile_sketch_cmp(call) {
        Ok(Some(abi::int4(call.varlena(0).cmp(&call.varlena(1)) as i32)))
    }

    /// `=`
    fn quantile_sketch_eq(call) {
        Ok(Some(abi::boolean(*call.varlena(0) == *call.varlena(1))))
    }

    /// `<>`
    fn quantile_sketch_ne(call) {
        Ok(Some(abi::boolean(*call.varlena(0) != *call.varlena(1))))
    }

    /// `<`
    fn quantile_sketch_lt(call) {
        Ok(Some(abi::boolean(*call.varlena(0) < *call.varlena(1))))
    }

    /// `<=`
    fn quantile_sketch_le(call) {
        Ok(Some(abi::boolean(*call.varlena(0) <= *call.varlena(1))))
    }

    /// `>`
    fn quantile_sketch_gt(call) {
        Ok(Some(abi::boolean(*call.varlena(0) > *call.varlena(1))))
    }

    /// `>=`
    fn quantile_sketch_ge(call) {
        Ok(Some(abi::boolean(*call.varlena(0) >= *call.varlena(1))))
    }

    /// Both sketches together.
    fn quantile_sketch_plus(call) {
        let (left, right) = (call.varlena(0), call.varlena(1));
        Ok(Some(abi::bytes(&Stored::read(&left)?.plus(&Stored::read(&right)?)?)))
    }

    /// `percentile(sketch, fraction)`
    fn quantile_sketch_percentile(call) {
        let fraction = fraction(call.float8(1))?;
        Ok(Some(abi::float8(Stored::read(&call.varlena(0))?.percentile(fraction)?)))
    }

    /// `percentile(sketch, fractions[])`
    fn quantile_sketch_percentiles(call) {
        let bytes = call.varlena(0);
        let stored = Stored::read(&bytes)?;
        let asked = abi::float8_array(call, 1)?;
        for asked in asked.iter().flatten() {
            fraction(*asked)?;
        }
        abi::check_for_interrupts();
        Ok(abi::new_float8_array(stored.percentiles(&asked)?))
    }

    /// `percentile_rank(sketch, value)`
    fn quantile_sketch_percentile_rank(call) {
        Ok(Some(abi::float8(Stored::read(&call.varlena(0))?.percentile_rank(call.float8(1))?)))
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
        let count = Stored::read(&call.varlena(0))?.count();
        Ok(Some(abi::int8(i64::try_from(count).unwrap_or(i64::MAX))))
    }

    /// `sketch_min(sketch)`
    fn quantile_sketch_min(call) {
        Ok(Some(abi::float8(Stored::read(&call.varlena(0))?.min())))
    }

    /// `sketch_max(sketch)`
    fn quantile_sketch_max(call) {
        Ok(Some(abi::float8(Stored::read(&call.varlena(0))?.max())))
    }
}
