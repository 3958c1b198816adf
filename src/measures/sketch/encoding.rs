//! The stored form, version 1. It is a promise: every later version reads it.
//!
//! ```text
//! byte 0       version, 1
//! varint       number of values, n >= 1
//! 8 bytes      smallest value, IEEE 754 double, little endian
//! 8 bytes      largest value, likewise
//! then for each non-empty bucket, in ascending order of its index (see mapping.rs):
//! varint       (d << 1) | m    d = index of the first bucket; for the others the distance from the one before - 1
//!                              m = 0: the bucket holds one value; m = 1: a count follows
//! varint       count - 2       only when m = 1
//! ```
//!
//! A varint is LEB128: seven bits a byte, the lowest first, the top bit set on all but the last, no longer than
//! needed. The form depends on the multiset of values alone, so equal multisets have equal bytes on every
//! machine. An empty sketch has no stored form: in SQL it is NULL.
//!
//! What [`Stored::check`] accepts encodes back to the same bytes. Reading allocates nothing.

use super::mapping::{MAX_INDEX, accepted_bits, index_of_bits, value_of};
use super::{SketchError, bucket_at, nearest_rank};
use std::cmp::Ordering;

/// Version that this code writes.
pub const VERSION: u8 = 1;

/// What only damaged bytes can say.
pub(super) const OUTSIDE: SketchError =
    SketchError::Corrupt("a bucket lies outside its minimum and maximum");

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number as u8) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

#[inline]
fn take_varint(bytes: &[u8], position: &mut usize) -> Result<u64, SketchError> {
    const CUT: SketchError = SketchError::Corrupt("it ends in the middle of a number");
    const LONG: SketchError =
        SketchError::Corrupt("a number is longer than needed or than 64 bits");
    let first = *bytes.get(*position).ok_or(CUT)?;
    *position += 1;
    if first < 0x80 {
        return Ok(u64::from(first));
    }
    let mut number = u64::from(first & 0x7F);
    let mut shift = 7;
    loop {
        let byte = *bytes.get(*position).ok_or(CUT)?;
        *position += 1;
        if (shift == 63 && byte > 1) || byte == 0 {
            return Err(LONG);
        }
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
        shift += 7;
        if shift > 63 {
            return Err(LONG);
        }
    }
}

/// The stored form of `buckets`, which must be in ascending order and not empty.
pub(super) fn encode(
    count: u64,
    min_bits: u64,
    max_bits: u64,
    buckets: impl Iterator<Item = (u32, u64)>,
) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    bytes.push(VERSION);
    push_varint(&mut bytes, count);
    bytes.extend_from_slice(&min_bits.to_le_bytes());
    bytes.extend_from_slice(&max_bits.to_le_bytes());
    let mut next = 0u32;
    for (index, times) in buckets {
        let distance = u64::from(index - next);
        next = index + 1;
        if times == 1 {
            push_varint(&mut bytes, distance << 1);
        } else {
            push_varint(&mut bytes, (distance << 1) | 1);
            push_varint(&mut bytes, times - 2);
        }
    }
    bytes
}

/// A sketch read where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    bytes: &'a [u8],
    count: u64,
    min: f64,
    max: f64,
    /// Where the buckets begin.
    start: usize,
}

impl<'a> Stored<'a> {
    /// Read the head, which is checked. Buckets are checked as they are read; bytes from outside go
    /// through [`Stored::check`] first.
    pub fn read(bytes: &'a [u8]) -> Result<Self, SketchError> {
        match bytes.first() {
            None => return Err(SketchError::Corrupt("it is empty")),
            Some(&VERSION) => {}
            Some(_) => {
                return Err(SketchError::Corrupt(
                    "its version is not known to this library",
                ));
            }
        }
        let mut start = 1;
        let count = take_varint(bytes, &mut start)?;
        let number = |at: usize| -> Result<f64, SketchError> {
            let slice = bytes
                .get(at..at + 8)
                .ok_or(SketchError::Corrupt("it is too short"))?;
            let mut eight = [0u8; 8];
            eight.copy_from_slice(slice);
            Ok(f64::from_le_bytes(eight))
        };
        let (min, max) = (number(start)?, number(start + 8)?);
        let is_value = |value: f64| accepted_bits(value) == Some(value.to_bits());
        if !(is_value(min) && is_value(max) && min <= max && count > 0) {
            return Err(SketchError::Corrupt(
                "its count, minimum and maximum cannot be those of a sketch",
            ));
        }
        Ok(Self {
            bytes,
            count,
            min,
            max,
            start: start + 16,
        })
    }

    /// Read bytes from outside: everything that [`encode`] promises is checked.
    pub fn check(bytes: &'a [u8]) -> Result<Self, SketchError> {
        let stored = Self::read(bytes)?;
        let (min_bits, max_bits) = (stored.min.to_bits(), stored.max.to_bits());
        let (mut total, mut first, mut last) = (0u64, None, None);
        for bucket in stored.buckets() {
            let (index, times) = bucket?;
            total = total.checked_add(times).ok_or(SketchError::Overflow)?;
            first = first.or(Some(index));
            last = Some(index);
        }
        if total != stored.count || total == 0 {
            return Err(SketchError::Corrupt(
                "its buckets do not add up to its count",
            ));
        }
        if first != Some(index_of_bits(min_bits)) || last != Some(index_of_bits(max_bits)) {
            return Err(SketchError::Corrupt(
                "its outer buckets are not those of its minimum and maximum",
            ));
        }
        if total == 1 && min_bits != max_bits {
            return Err(SketchError::Corrupt("one value cannot have two extremes"));
        }
        Ok(stored)
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Smallest value, exact.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// Largest value, exact.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// Buckets in ascending order: index and count.
    #[must_use]
    pub fn buckets(&self) -> Buckets<'a> {
        Buckets {
            bytes: self.bytes,
            position: self.start,
            next: 0,
        }
    }

    /// Add each bucket's count to `counts`, whose first element counts bucket `base`.
    ///
    /// [`Stored::buckets`] once more, for the merge, which must be fast: nearly all buckets are one or two bytes, and
    /// which of the two cannot be foreseen, so these are read without a branch on it. The one check that guards the
    /// window refuses whatever lies outside.
    pub(super) fn add_to(&self, counts: &mut [u64], base: u32) -> Result<(), SketchError> {
        let (bytes, mut position) = (self.bytes, self.start);
        // Where in the window the next bucket may lie at the earliest; "negative" before its begin.
        let mut next = u64::from(base).wrapping_neg();
        while position < bytes.len() {
            let (distance, times) = match bytes.get(position..position + 2) {
                Some(&[head, count]) if (head | (count & (head & 1).wrapping_neg())) < 0x80 => {
                    let has_count = head & 1;
                    let count = count & has_count.wrapping_neg();
                    position += 1 + usize::from(has_count);
                    (u64::from(head >> 1), u64::from(1 + has_count + count))
                }
                _ => {
                    // A copy, so that the position itself stays in a register.
                    let mut end = position;
                    let head = take_varint(bytes, &mut end)?;
                    let times = match head & 1 {
                        0 => 1,
                        _ => take_varint(bytes, &mut end)?.saturating_add(2),
                    };
                    position = end;
                    (head >> 1, times)
                }
            };
            let offset = next.wrapping_add(distance);
            let counter = usize::try_from(offset)
                .ok()
                .and_then(|offset| counts.get_mut(offset))
                .ok_or(OUTSIDE)?;
            // The totals were checked, so only damaged bytes could wrap.
            *counter = counter.wrapping_add(times);
            next = offset.wrapping_add(1);
        }
        Ok(())
    }

    /// The value at `fraction` (0 to 1) by nearest rank, within the guaranteed error; 0 and 1 are exact.
    pub fn percentile(&self, fraction: f64) -> Result<f64, SketchError> {
        if fraction <= 0.0 {
            return Ok(self.min);
        }
        if fraction >= 1.0 {
            return Ok(self.max);
        }
        self.at_rank(nearest_rank(fraction, self.count))
    }

    /// The values at several fractions, each as [`Stored::percentile`] has it, in one pass over the buckets whatever
    /// their number; `None` stays so.
    pub fn percentiles(&self, fractions: &[Option<f64>]) -> Result<Vec<Option<f64>>, SketchError> {
        let mut asked: Vec<(u64, usize)> = fractions
            .iter()
            .enumerate()
            .filter_map(|(place, fraction)| Some(((*fraction)?, place)))
            .map(|(fraction, place)| (nearest_rank(fraction, self.count), place))
            .collect();
        asked.sort_unstable();
        let mut values = vec![None; fractions.len()];
        let (mut buckets, mut seen, mut last) = (self.buckets(), 0u64, None);
        for (rank, place) in asked {
            let value = if rank <= 1 {
                self.min
            } else if rank >= self.count {
                self.max
            } else {
                while seen < rank
                    && let Some(bucket) = buckets.next()
                {
                    let (index, times) = bucket?;
                    seen = seen.saturating_add(times);
                    last = Some(index);
                }
                let index = last.ok_or(SketchError::Corrupt("it has no buckets"))?;
                value_of(index).max(self.min).min(self.max)
            };
            if let Some(slot) = values.get_mut(place) {
                *slot = Some(value);
            }
        }
        Ok(values)
    }

    /// The value of a rank, from 1 (the smallest) to the count, within the guaranteed error; the ends are exact.
    pub fn at_rank(&self, rank: u64) -> Result<f64, SketchError> {
        if rank <= 1 {
            return Ok(self.min);
        }
        if rank >= self.count {
            return Ok(self.max);
        }
        let mut fault = None;
        let buckets = self
            .buckets()
            .map_while(|bucket| bucket.map_err(|error| fault = Some(error)).ok());
        let index = bucket_at(buckets, rank);
        match (fault, index) {
            (Some(error), _) => Err(error),
            (None, None) => Err(SketchError::Corrupt("it has no buckets")),
            // max and min are ordered in checked bytes; `max().min()` cannot panic on others, as clamp would
            (None, Some(index)) => Ok(value_of(index).max(self.min).min(self.max)),
        }
    }

    /// Share of the values that are at most `value` (0 to 1), as exact as the buckets are.
    pub fn percentile_rank(&self, value: f64) -> Result<f64, SketchError> {
        if value.is_nan() {
            return Err(SketchError::Value(value));
        }
        if value < self.min {
            return Ok(0.0);
        }
        if value >= self.max {
            return Ok(1.0);
        }
        let limit = index_of_bits(accepted_bits(value).ok_or(SketchError::Value(value))?);
        let mut below = 0u64;
        for bucket in self.buckets() {
            let (index, times) = bucket?;
            if index > limit {
                break;
            }
            below = below.saturating_add(times);
        }
        Ok(below as f64 / self.count as f64)
    }

    /// The stored form of both together.
    pub fn plus(&self, other: &Stored<'_>) -> Result<Vec<u8>, SketchError> {
        let count = self
            .count
            .checked_add(other.count)
            .ok_or(SketchError::Overflow)?;
        let mut merged: Vec<(u32, u64)> = Vec::with_capacity(128);
        let (mut ours, mut theirs) = (self.buckets(), other.buckets());
        let (mut left, mut right) = (ours.next().transpose()?, theirs.next().transpose()?);
        loop {
            let step = match (left, right) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(&b),
            };
            match (step, left, right) {
                (Ordering::Less, Some(bucket), _) => {
                    merged.push(bucket);
                    left = ours.next().transpose()?;
                }
                (Ordering::Greater, _, Some(bucket)) => {
                    merged.push(bucket);
                    right = theirs.next().transpose()?;
                }
                (_, Some((index, a)), Some((_, b))) => {
                    merged.push((index, a.checked_add(b).ok_or(SketchError::Overflow)?));
                    left = ours.next().transpose()?;
                    right = theirs.next().transpose()?;
                }
                _ => break,
            }
        }
        let min_bits = self.min.to_bits().min(other.min.to_bits());
        let max_bits = self.max.to_bits().max(other.max.to_bits());
        Ok(encode(count, min_bits, max_bits, merged.into_iter()))
    }
}

/// Iterator over the buckets of a [`Stored`] sketch.
#[derive(Debug, Clone)]
pub struct Buckets<'a> {
    bytes: &'a [u8],
    position: usize,
    next: u64,
}

impl Buckets<'_> {
    #[inline]
    fn take(&mut self) -> Result<(u32, u64), SketchError> {
        let head = take_varint(self.bytes, &mut self.position)?;
        let index = self.next.saturating_add(head >> 1);
        if index > u64::from(MAX_INDEX) {
            return Err(SketchError::Corrupt(
                "a bucket lies beyond the largest double",
            ));
        }
        let times = if head & 1 == 0 {
            1
        } else {
            take_varint(self.bytes, &mut self.position)?
                .checked_add(2)
                .ok_or(SketchError::Overflow)?
        };
        self.next = index + 1;
        Ok((index as u32, times))
    }
}

impl Iterator for Buckets<'_> {
    type Item = Result<(u32, u64), SketchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.bytes.len() {
            return None;
        }
        let bucket = self.take();
        if bucket.is_err() {
            self.position = self.bytes.len();
        }
        Some(bucket)
    }
}
