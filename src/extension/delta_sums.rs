//! The aggregate `sum_deltas(agent_id, bucket, measure ...)`: what is added to one bucket, of many things added to it.
//!
//! A sum for each of the 26 measures sets up 26 states for each bucket, most of which see one row: that costs more
//! than writing the bucket. One state does.

use super::abi::{self, Amount, Call, PgVec, RowType, sql_functions};
use super::error::SqlError;
use super::sketch_aggregates::{self, SketchState};
use crate::measures::sketch::Stored;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{Datum, MemoryContext};
use std::ops::Range;

/// Columns of `rollup_delta`, and arguments of the aggregate, whose state is argument 0.
const COLUMNS: usize = 28;
/// Arguments: agent and bucket, then the measures.
const AGENT: usize = 1;
const BUCKET: usize = 2;
const COUNTS: [Range<usize>; 3] = [3..10, 12..21, 27..29];
const AMOUNTS: [Range<usize>; 2] = [10..11, 21..27];
const LATENCY: usize = 11;

/// What is added up so far.
struct Sums {
    context: MemoryContext,
    agent: PgVec<u8>,
    bucket: i64,
    /// By argument; only those of [`COUNTS`] are used.
    counts: [i64; COLUMNS + 1],
    /// By argument; only those of [`AMOUNTS`] are used.
    amounts: [Amount; COLUMNS + 1],
    /// The first sketch as it came, and what it became when there was a second.
    sketch: PgVec<u8>,
    sketches: Option<SketchState>,
}

impl Sums {
    fn new(context: MemoryContext) -> Self {
        Self {
            context,
            agent: PgVec::new(context),
            bucket: 0,
            counts: [0; COLUMNS + 1],
            amounts: [const { Amount::NONE }; COLUMNS + 1],
            sketch: PgVec::new(context),
            sketches: None,
        }
    }

    fn add(&mut self, call: &Call) -> Result<(), SqlError> {
        for position in COUNTS.into_iter().flatten() {
            if call.is_null(position) {
                continue;
            }
            if let Some(sum) = self.counts.get_mut(position) {
                *sum = sum.checked_add(call.int8(position)).ok_or_else(too_many)?;
            }
        }
        for position in AMOUNTS.into_iter().flatten() {
            if let Some(sum) = self.amounts.get_mut(position) {
                sum.add(call, position, self.context);
            }
        }
        if call.is_null(LATENCY) {
            return Ok(());
        }
        let latency = call.bytes(LATENCY);
        match &mut self.sketches {
            Some(sketches) => sketches.merge_stored(&Stored::read(latency)?)?,
            None if self.sketch.is_empty() => self.sketch.extend(latency),
            None => {
                let mut both = sketch_aggregates::empty(self.context);
                both.merge_stored(&Stored::read(&self.sketch)?)?;
                both.merge_stored(&Stored::read(latency)?)?;
                self.sketches = Some(both);
            }
        }
        Ok(())
    }

    fn row(&mut self, kind: &RowType) -> Result<Datum, SqlError> {
        let mut values = [None; COLUMNS];
        let mut set = |position: usize, value| {
            if let Some(place) = values.get_mut(position - 1) {
                *place = value;
            }
        };
        set(AGENT, Some(abi::bytes(&self.agent)));
        set(BUCKET, Some(abi::int8(self.bucket)));
        for position in COUNTS.into_iter().flatten() {
            set(
                position,
                self.counts.get(position).map(|sum| abi::int8(*sum)),
            );
        }
        for position in AMOUNTS.into_iter().flatten() {
            set(position, self.amounts.get(position).map(Amount::datum));
        }
        let merged = match &mut self.sketches {
            Some(sketches) => sketches.encode()?,
            None => None,
        };
        let kept = (!self.sketch.is_empty()).then_some(&*self.sketch);
        set(LATENCY, merged.as_deref().or(kept).map(abi::bytes));
        kind.row(values)
    }
}

#[cold]
fn too_many() -> SqlError {
    SqlError::new(
        PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        "a measure of a bucket is out of range",
        "A count of a rollup is a bigint.",
        "Look for a turn with an impossible number of tokens.",
    )
}

sql_functions! {
    /// A delta for sum_deltas(). All deltas of one group are of the same agent and bucket.
    fn delta_sums_accumulate(call) {
        let (datum, sums) = match call.state::<Sums>(0) {
            Some(sums) => (Datum::from(std::ptr::from_mut(sums)), sums),
            None => {
                let (datum, sums) = call.new_state(Sums::new)?;
                if !call.is_null(AGENT) && !call.is_null(BUCKET) {
                    sums.agent.extend(call.bytes(AGENT));
                    sums.bucket = call.int8(BUCKET);
                }
                (datum, sums)
            }
        };
        sums.add(call)?;
        Ok(Some(datum))
    }

    /// The sum; NULL of no deltas.
    fn delta_sums_final(call) {
        let Some(sums) = call.state::<Sums>(0) else { return Ok(None) };
        sums.row(RowType::cached(call, "agent_metrics_internal.rollup_delta")).map(Some)
    }
}
