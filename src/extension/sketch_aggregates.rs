//! The aggregates over sketches: `quantile_sketch(x)`, `p50(x)`, `p95(x)`, `p99(x)`, `merge(quantile_sketch)`.
//!
//! All share one state, so `p50(x), p95(x)` in one query walk the column once: the server sees the same
//! transition function over the same argument.

use super::abi::{self, Answer, Call, PgBuffer, sql_functions};
use super::error::SqlError;
use crate::measures::sketch::{Sketch, Stored};
use pgrx::pg_sys::{Datum, MemoryContext};

/// A sketch in the server's memory.
pub type SketchState = Sketch<PgBuffer<u32>, PgBuffer<u64>>;

/// A sketch of nothing, that will grow in `context`.
pub fn empty(context: MemoryContext) -> SketchState {
    Sketch::with_buffers(PgBuffer::new(context), PgBuffer::new(context))
}

/// The state's Datum; while there is none, NULL, or in a window, whose moving frames want a state, an empty one.
#[inline]
fn unchanged(call: &Call) -> Answer {
    match call.state::<SketchState>(0) {
        Some(state) => Ok(Some(Datum::from(std::ptr::from_mut(state)))),
        None if call.in_window() => Ok(Some(call.new_state(empty)?.0)),
        None => Ok(None),
    }
}

/// One row that leaves a moving frame. NULL says that the frame has to be read anew.
#[inline]
fn dismiss(call: &Call, read: impl FnOnce(&Call) -> f64) -> Answer {
    if call.is_null(1) {
        return unchanged(call);
    }
    let value = read(call);
    let Some(state) = call.state::<SketchState>(0) else {
        return Ok(None);
    };
    Ok(state
        .remove(value)?
        .then(|| Datum::from(std::ptr::from_mut(state))))
}

/// One row: the second argument, read by `read`, goes into the state.
#[inline]
fn accumulate(call: &Call, read: impl FnOnce(&Call) -> f64) -> Answer {
    if call.is_null(1) {
        return unchanged(call);
    }
    let value = read(call);
    match call.state::<SketchState>(0) {
        Some(state) => {
            state.add(value)?;
            Ok(Some(Datum::from(std::ptr::from_mut(state))))
        }
        None => {
            let (datum, state) = call.new_state(empty)?;
            state.add(value)?;
            Ok(Some(datum))
        }
    }
}

fn percentile(call: &Call, fraction: f64) -> Answer {
    let value = match call.state::<SketchState>(0) {
        Some(state) => state.percentile(fraction)?,
        None => None,
    };
    Ok(value.map(abi::float8))
}

fn encoded(call: &Call) -> Result<Option<Vec<u8>>, SqlError> {
    match call.state::<SketchState>(0) {
        Some(state) => Ok(state.encode()?),
        None => Ok(None),
    }
}

sql_functions! {
    /// A double precision row.
    fn sketch_accumulate_float8(call) { accumulate(call, |call| call.float8(1)) }

    /// A real row.
    fn sketch_accumulate_float4(call) { accumulate(call, |call| f64::from(call.float4(1))) }

    /// A bigint row.
    fn sketch_accumulate_int8(call) { accumulate(call, |call| call.int8(1) as f64) }

    /// An integer row.
    fn sketch_accumulate_int4(call) { accumulate(call, |call| f64::from(call.int4(1))) }

    /// A smallint row.
    fn sketch_accumulate_int2(call) { accumulate(call, |call| f64::from(call.int2(1))) }

    /// A numeric row.
    fn sketch_accumulate_numeric(call) { accumulate(call, |call| call.numeric(1)) }

    /// A row that leaves the frame.
    fn sketch_dismiss_float8(call) { dismiss(call, |call| call.float8(1)) }

    /// A row that leaves the frame.
    fn sketch_dismiss_float4(call) { dismiss(call, |call| f64::from(call.float4(1))) }

    /// A row that leaves the frame.
    fn sketch_dismiss_int8(call) { dismiss(call, |call| call.int8(1) as f64) }

    /// A row that leaves the frame.
    fn sketch_dismiss_int4(call) { dismiss(call, |call| f64::from(call.int4(1))) }

    /// A row that leaves the frame.
    fn sketch_dismiss_int2(call) { dismiss(call, |call| f64::from(call.int2(1))) }

    /// A row that leaves the frame.
    fn sketch_dismiss_numeric(call) { dismiss(call, |call| call.numeric(1)) }

    /// A row that is a sketch.
    fn sketch_accumulate_sketch(call) {
        if call.is_null(1) {
            return unchanged(call);
        }
        let stored = Stored::read(call.bytes(1))?;
        match call.state::<SketchState>(0) {
            Some(state) => {
                state.merge_stored(&stored)?;
                Ok(Some(Datum::from(std::ptr::from_mut(state))))
            }
            None => {
                let (datum, state) = call.new_state(empty)?;
                state.merge_stored(&stored)?;
                Ok(Some(datum))
            }
        }
    }

    /// Two partial states become one. Either may be NULL: a worker may have seen no row.
    fn sketch_combine(call) {
        let Some(other) = call.state::<SketchState>(1) else { return unchanged(call) };
        match call.state::<SketchState>(0) {
            Some(state) => {
                state.merge(other)?;
                Ok(Some(Datum::from(std::ptr::from_mut(state))))
            }
            None => {
                // The other state may live in a shorter context, so its contents move into ours.
                let (datum, state) = call.new_state(empty)?;
                state.merge(other)?;
                Ok(Some(datum))
            }
        }
    }

    /// A partial state as bytes: the stored form.
    fn sketch_serialize(call) { Ok(encoded(call)?.as_deref().map(abi::bytes)) }

    /// A partial state from bytes.
    fn sketch_deserialize(call) {
        let (datum, state) = call.new_short_state(empty);
        state.merge_stored(&Stored::read(call.bytes(0))?)?;
        Ok(Some(datum))
    }

    /// The result as a sketch.
    fn sketch_final(call) { Ok(encoded(call)?.as_deref().map(abi::bytes)) }

    /// The result as a median.
    fn sketch_final_p50(call) { percentile(call, 0.50) }

    /// The result as a 95th percentile.
    fn sketch_final_p95(call) { percentile(call, 0.95) }

    /// The result as a 99th percentile.
    fn sketch_final_p99(call) { percentile(call, 0.99) }
}
