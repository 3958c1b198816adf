//! The aggregate `sum_deltas(delta, bucket)`: what is added to one bucket, of many things added to it.
//!
//! A sum for each measure sets up as many states for each bucket, most of which see one row: that costs more than
//! writing the bucket. One state does. Which measures there are, the type `rollup_delta` says: a bigint is a count, a
//! numeric an amount, anything else the sketch.

use super::abi::{self, Amount, Call, Kind, PgVec, RowType, sql_functions};
use super::error::SqlError;
use super::sketch_aggregates::{self, SketchState};
use crate::measures::sketch::Stored;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{Datum, MemoryContext};

/// Columns of `rollup_delta` before the measures: agent and bucket.
const AGENT: usize = 0;
const BUCKET_COLUMN: usize = 1;
const FIRST_MEASURE: usize = 2;
/// Arguments of the aggregate; its state is argument 0.
const DELTA: usize = 1;
const BUCKET: usize = 2;

/// What is added up so far.
struct Sums {
    context: MemoryContext,
    agent: PgVec<u8>,
    bucket: i64,
    /// By column; only those that are a bigint are used.
    counts: PgVec<i64>,
    /// By column; only those that are a numeric are used.
    amounts: PgVec<Amount>,
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
            counts: PgVec::new(context),
            amounts: PgVec::new(context),
            sketch: PgVec::new(context),
            sketches: None,
        }
    }

    fn add(&mut self, call: &Call) -> Result<(), SqlError> {
        let kind = RowType::cached(call, "agent_metrics_internal.rollup_delta");
        if call.is_null(DELTA) || call.is_null(BUCKET) {
            return Ok(());
        }
        if self.counts.is_empty() {
            kind.check(|column| {
                column == BUCKET_COLUMN
                    || kind.is_of(column, Kind::Int8)
                    || kind.is_of(column, Kind::Numeric)
                    || kind.is_varlena(column)
            })?;
        }
        let delta = kind.fields(call, DELTA)?;
        while self.counts.len() < kind.len() {
            self.counts.push(0);
            self.amounts.push(Amount::NONE);
        }
        if self.agent.is_empty() && !delta.is_null(AGENT) {
            self.agent.extend(delta.bytes(AGENT));
            self.bucket = call.int8(BUCKET);
        }
        for column in FIRST_MEASURE..kind.len() {
            if delta.is_null(column) {
                continue;
            }
            if kind.is_of(column, Kind::Int8) {
                if let Some(sum) = self.counts.get_mut(column) {
                    *sum = sum.checked_add(delta.int8(column)).ok_or_else(too_many)?;
                }
            } else if kind.is_of(column, Kind::Numeric) {
                if let Some(sum) = self.amounts.get_mut(column) {
                    sum.add_field(&delta, column, self.context);
                }
            } else {
                self.add_sketch(delta.bytes(column))?;
            }
        }
        Ok(())
    }

    fn add_sketch(&mut self, latency: &[u8]) -> Result<(), SqlError> {
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
        let merged = match &mut self.sketches {
            Some(sketches) => sketches.encode()?,
            None => None,
        };
        let kept = (!self.sketch.is_empty()).then_some(&*self.sketch);
        let sketch = merged.as_deref().or(kept).map(abi::bytes);
        let measure = |column: usize| {
            if kind.is_of(column, Kind::Int8) {
                Some(abi::int8(self.counts.get(column).copied().unwrap_or(0)))
            } else if kind.is_of(column, Kind::Numeric) {
                Some(
                    self.amounts
                        .get(column)
                        .map_or_else(abi::zero, Amount::datum),
                )
            } else {
                sketch
            }
        };
        let mut values = vec![Some(abi::bytes(&self.agent)), Some(abi::int8(self.bucket))];
        values.extend((FIRST_MEASURE..kind.len()).map(measure));
        kind.row_of(values)
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
    /// A delta for sum_deltas(). All deltas of one group are of the same agent, and go to the same bucket.
    fn delta_sums_accumulate(call) {
        let (datum, sums) = match call.state::<Sums>(0) {
            Some(sums) => (Datum::from(std::ptr::from_mut(sums)), sums),
            None => call.new_state(Sums::new)?,
        };
        sums.add(call)?;
        Ok(Some(datum))
    }

    /// The sum; NULL of no deltas.
    fn delta_sums_final(call) {
        let Some(sums) = call.state::<Sums>(0).filter(|sums| !sums.agent.is_empty()) else { return Ok(None) };
        sums.row(RowType::cached(call, "agent_metrics_internal.rollup_delta")).map(Some)
    }
}
