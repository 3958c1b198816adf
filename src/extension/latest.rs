//! The aggregates `latest(value, at, position, id)` and `earliest(...)`: of several rows' values, the one whose row
//! came last (first).
//!
//! A row comes after another when its `at` is later; at the same time when its `position` is higher, none being the
//! lowest; then when its `id` is higher, byte by byte, so that the answer never depends on the order of reading.
//! `array_agg(... ORDER BY ...)[1]` says the same, but sets up a sort for each group, which costs ten times as much
//! when groups are small.

use super::abi::{self, Answer, Call, PgBuffer, sql_functions};
use crate::measures::sketch::Buffer;
use pgrx::pg_sys::{Datum, MemoryContext};
use std::cmp::Ordering;

/// Bytes that are replaced now and then.
struct Text {
    buffer: PgBuffer<u8>,
    length: usize,
}

impl Text {
    fn new(context: MemoryContext) -> Self {
        Self {
            buffer: PgBuffer::new(context),
            length: 0,
        }
    }

    fn get(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }

    fn set(&mut self, bytes: &[u8]) {
        if bytes.len() > self.buffer.len() {
            self.buffer.grow(bytes.len().next_power_of_two());
        }
        if let Some(place) = self.buffer.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            self.length = bytes.len();
        }
    }
}

/// The row that is ahead so far.
struct Row {
    at: i64,
    position: Option<i32>,
    id: Text,
    value: Text,
}

/// One row: `wanted` is how it must compare with the one that is ahead to take its place.
#[inline]
fn accumulate(call: &Call, wanted: Ordering) -> Answer {
    let state = call.state::<Row>(0);
    if call.is_null(1) || call.is_null(2) {
        return Ok(state.map(|row| Datum::from(std::ptr::from_mut(row))));
    }
    let at = call.int8(2);
    let position = (!call.is_null(3)).then(|| call.int4(3));
    let id = if call.is_null(4) { &[] } else { call.bytes(4) };
    match state {
        Some(row) => {
            if (at, position, id).cmp(&(row.at, row.position, row.id.get())) == wanted {
                row.at = at;
                row.position = position;
                row.id.set(id);
                row.value.set(call.bytes(1));
            }
            Ok(Some(Datum::from(std::ptr::from_mut(row))))
        }
        None => {
            let (datum, row) = call.new_state(|context| Row {
                at,
                position,
                id: Text::new(context),
                value: Text::new(context),
            })?;
            row.id.set(id);
            row.value.set(call.bytes(1));
            Ok(Some(datum))
        }
    }
}

sql_functions! {
    /// A row for latest().
    fn latest_accumulate(call) { accumulate(call, Ordering::Greater) }

    /// A row for earliest().
    fn earliest_accumulate(call) { accumulate(call, Ordering::Less) }

    /// The value of the row that is ahead.
    fn latest_final(call) {
        Ok(call.state::<Row>(0).map(|row| abi::bytes(row.value.get())))
    }
}
