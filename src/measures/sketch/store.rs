//! The growing state of an aggregate.
//!
//! Buckets wait in a small list of indexes until there are [`PENDING_MAX`] of them, and are then counted into a
//! window of counters that grows to the range seen. So a group of a few values costs a few words, a row costs
//! one append, and a big group touches its counters in batches that stay in cache.
//!
//! Where the range is so wide that the window would be much larger than the list, the list grows on: a state costs no
//! more than 64 bytes a value, or whoever writes a few hundred values from the smallest to the largest double into each
//! of a thousand groups would be given a gigabyte.
//!
//! The memory is the caller's ([`Buffer`]): a `Vec` in plain Rust, palloc in a backend.

use super::encoding::{OUTSIDE, Stored, encode};
use super::mapping::{accepted_bits, index_of_bits, value_of};
use super::{SketchError, bucket_at, nearest_rank};
use std::ops::DerefMut;

/// Indexes that wait before they are counted. 256 of them are 1 KiB: less than a window of counters.
const PENDING_MAX: usize = 256;
/// Counters of a window that are worth one index that waits.
const COUNTERS_A_VALUE: usize = 8;
/// More than ever wait, for there are fewer than 2^17 counters.
const WAITING_MAX: u64 = 1 << 15;
/// Indexes a new sketch has room for.
const PENDING_MIN: usize = 16;
/// Counters are allocated in multiples of an octave, so that a growing range does not copy at every step.
const WINDOW_STEP: u32 = 64;

/// Memory that can be enlarged; what is added is zero.
pub trait Buffer<T>: DerefMut<Target = [T]> {
    /// Make the buffer `length` long, keeping its contents and filling with zeros.
    fn grow(&mut self, length: usize);
}

impl<T: Default + Clone> Buffer<T> for Vec<T> {
    fn grow(&mut self, length: usize) {
        self.resize(length, T::default());
    }
}

/// A sketch that takes values. `P` holds indexes that wait, `C` the counters.
#[derive(Debug, Clone)]
pub struct Sketch<P: Buffer<u32> = Vec<u32>, C: Buffer<u64> = Vec<u64>> {
    /// Values that are in `counts`; the others wait.
    counted: u64,
    /// Bits of the smallest and largest value; floats that are not negative sort as their bits do.
    min_bits: u64,
    max_bits: u64,
    /// How many of `pending` are used.
    waiting: usize,
    pending: P,
    /// Index that `counts[0]` counts.
    base: u32,
    counts: C,
}

impl Default for Sketch {
    fn default() -> Self {
        Self::with_buffers(Vec::new(), Vec::new())
    }
}

impl<P: Buffer<u32>, C: Buffer<u64>> Sketch<P, C> {
    /// An empty sketch over two empty buffers.
    pub fn with_buffers(pending: P, counts: C) -> Self {
        Self {
            counted: 0,
            min_bits: u64::MAX,
            max_bits: 0,
            waiting: 0,
            pending,
            base: 0,
            counts,
        }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        // Cannot wrap: `flush` and the merges refuse a count that leaves no room for what may wait.
        self.counted + self.waiting as u64
    }

    /// Add one value. NaN, infinities and negative values are refused.
    #[inline]
    pub fn add(&mut self, value: f64) -> Result<(), SketchError> {
        let Some(bits) = accepted_bits(value) else {
            return Err(SketchError::Value(value));
        };
        let waiting = self.waiting;
        match self.pending.get_mut(waiting) {
            Some(slot) => {
                *slot = index_of_bits(bits);
                self.waiting = waiting + 1;
            }
            None => {
                self.make_room()?;
                self.push(index_of_bits(bits))?;
            }
        }
        // Rarely true: two comparisons that the processor foresees cost less than two stores.
        if bits < self.min_bits || bits > self.max_bits {
            self.widen(bits, bits);
        }
        Ok(())
    }

    /// Take one value out again: the inverse of [`Sketch::add`], for frames that move over a window.
    /// `false` when that cannot be told from the state alone, since the value is the minimum or the maximum or was
    /// never added: the caller begins again with the values that are left.
    pub fn remove(&mut self, value: f64) -> Result<bool, SketchError> {
        let bits = accepted_bits(value).ok_or(SketchError::Value(value))?;
        if bits <= self.min_bits || bits >= self.max_bits {
            return Ok(false);
        }
        let index = index_of_bits(bits);
        let counter = (index as usize)
            .checked_sub(self.base as usize)
            .and_then(|offset| self.counts.get_mut(offset));
        if let Some(counter) = counter.filter(|counter| **counter > 0) {
            *counter -= 1;
            self.counted -= 1;
            return Ok(true);
        }
        let waiting = &mut self.pending[..self.waiting];
        let Some(position) = waiting.iter().position(|waits| *waits == index) else {
            return Ok(false);
        };
        let last = waiting.len() - 1;
        waiting.swap(position, last);
        self.waiting = last;
        Ok(true)
    }

    #[cold]
    #[inline(never)]
    fn widen(&mut self, min_bits: u64, max_bits: u64) {
        self.min_bits = self.min_bits.min(min_bits);
        self.max_bits = self.max_bits.max(max_bits);
    }

    /// The count with `more` values, while there is room for as many as may wait.
    fn count_with(&self, more: u64) -> Result<u64, SketchError> {
        self.count()
            .checked_add(more)
            .filter(|count| *count <= u64::MAX - WAITING_MAX)
            .ok_or(SketchError::Overflow)
    }

    /// Add all values of a stored sketch, straight from its bytes.
    pub fn merge_stored(&mut self, stored: &Stored<'_>) -> Result<(), SketchError> {
        let count = self.count_with(stored.count())?;
        let (min_bits, max_bits) = (stored.min().to_bits(), stored.max().to_bits());
        let (low, high) = (index_of_bits(min_bits), index_of_bits(max_bits));
        if self.counts.is_empty() && count <= self.may_wait(min_bits, max_bits) as u64 {
            self.reserve_pending(count as usize);
            for bucket in stored.buckets() {
                let (index, times) = bucket?;
                if index < low || index > high {
                    return Err(OUTSIDE);
                }
                for _ in 0..times {
                    self.push(index)?;
                }
            }
        } else {
            self.flush()?;
            self.cover(low, high);
            stored.add_to(&mut self.counts, self.base)?;
            self.counted = count;
        }
        self.widen(min_bits, max_bits);
        Ok(())
    }

    /// Add all values of another sketch.
    pub fn merge(&mut self, other: &mut Sketch<P, C>) -> Result<(), SketchError> {
        if other.count() == 0 {
            return Ok(());
        }
        let count = self.count_with(other.count())?;
        if other.counts.is_empty()
            && self.counts.is_empty()
            && count <= self.may_wait(other.min_bits, other.max_bits) as u64
        {
            self.reserve_pending(count as usize);
            for position in 0..other.waiting {
                self.push(other.pending[position])?;
            }
        } else {
            other.flush()?;
            self.flush()?;
            self.cover(index_of_bits(other.min_bits), index_of_bits(other.max_bits));
            for (index, times) in other.counted() {
                let offset = (index - self.base) as usize;
                self.counts[offset] += times;
            }
            self.counted = count;
        }
        self.widen(other.min_bits, other.max_bits);
        Ok(())
    }

    /// The value at `fraction` (0 to 1) by nearest rank; `None` when the sketch is empty.
    /// Takes `&mut self` because waiting indexes are put in order; the multiset stays what it was.
    pub fn percentile(&mut self, fraction: f64) -> Result<Option<f64>, SketchError> {
        let count = self.count();
        if count == 0 {
            return Ok(None);
        }
        let (min, max) = (f64::from_bits(self.min_bits), f64::from_bits(self.max_bits));
        if fraction <= 0.0 {
            return Ok(Some(min));
        }
        if fraction >= 1.0 {
            return Ok(Some(max));
        }
        let rank = nearest_rank(fraction, count);
        // The ends are exact, as `Stored::at_rank` has them: p95(x) is percentile(quantile_sketch(x), 0.95).
        if rank <= 1 {
            return Ok(Some(min));
        }
        if rank >= count {
            return Ok(Some(max));
        }
        let index = if self.counts.is_empty() {
            let waiting = self.waiting;
            let used = &mut self.pending[..waiting];
            let position = rank as usize - 1;
            (position < used.len()).then(|| *used.select_nth_unstable(position).1)
        } else {
            self.flush()?;
            bucket_at(self.counted(), rank)
        };
        Ok(index.map(|index| value_of(index).clamp(min, max)))
    }

    /// The stored form ([`super::encoding`]); `None` when the sketch is empty.
    pub fn encode(&mut self) -> Result<Option<Vec<u8>>, SketchError> {
        let (count, min_bits, max_bits) = (self.count(), self.min_bits, self.max_bits);
        if count == 0 {
            return Ok(None);
        }
        let bytes = if self.counts.is_empty() {
            let waiting = self.waiting;
            let used = &mut self.pending[..waiting];
            used.sort_unstable();
            let runs = used
                .chunk_by(|a, b| a == b)
                .map(|run| (run[0], run.len() as u64));
            encode(count, min_bits, max_bits, runs)
        } else {
            self.flush()?;
            encode(count, min_bits, max_bits, self.counted())
        };
        Ok(Some(bytes))
    }

    /// Counted buckets in ascending order, empty ones left out.
    fn counted(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let base = self.base;
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, times)| **times > 0)
            .map(move |(offset, times)| (base + offset as u32, *times))
    }

    fn push(&mut self, index: u32) -> Result<(), SketchError> {
        let waiting = self.waiting;
        let slot = self
            .pending
            .get_mut(waiting)
            .ok_or(SketchError::Corrupt("its buckets are more than its count"))?;
        *slot = index;
        self.waiting = waiting + 1;
        Ok(())
    }

    /// Room for `needed` waiting indexes: the next power of two, which is what an allocator gives anyway.
    fn reserve_pending(&mut self, needed: usize) {
        if needed > self.pending.len() {
            self.pending
                .grow(needed.next_power_of_two().max(PENDING_MIN));
        }
    }

    /// How many indexes may wait before they are counted, with values between these bits.
    fn may_wait(&self, min_bits: u64, max_bits: u64) -> usize {
        let low = index_of_bits(self.min_bits.min(min_bits));
        let high = index_of_bits(self.max_bits.max(max_bits));
        PENDING_MAX.max((high - low) as usize / COUNTERS_A_VALUE)
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self) -> Result<(), SketchError> {
        let room = self.pending.len();
        if room < PENDING_MAX
            || (self.counts.is_empty() && room < self.may_wait(self.min_bits, self.max_bits))
        {
            self.reserve_pending(self.waiting + 1);
            Ok(())
        } else {
            self.flush()
        }
    }

    /// Count what waits. The window is made to reach from the minimum to the maximum, so it reaches all that waits.
    fn flush(&mut self) -> Result<(), SketchError> {
        if self.waiting == 0 {
            return Ok(());
        }
        let count = self.count_with(0)?;
        self.cover(index_of_bits(self.min_bits), index_of_bits(self.max_bits));
        let base = self.base;
        let counts = &mut *self.counts;
        for index in &self.pending[..self.waiting] {
            counts[(index - base) as usize] += 1;
        }
        self.counted = count;
        self.waiting = 0;
        Ok(())
    }

    /// Make the window reach from `low` to `high`. Indexes are at most 17 bits, so it is at most 1 MiB.
    fn cover(&mut self, low: u32, high: u32) {
        let length = self.counts.len() as u32;
        if length > 0 && low >= self.base && high < self.base + length {
            return;
        }
        let (old_base, old_end) = if length == 0 {
            (low, high + 1)
        } else {
            (self.base, self.base + length)
        };
        let base = low.min(old_base) / WINDOW_STEP * WINDOW_STEP;
        let end = (high + 1).max(old_end).div_ceil(WINDOW_STEP) * WINDOW_STEP;
        self.counts.grow((end - base) as usize);
        if length > 0 {
            let shift = (old_base - base) as usize;
            self.counts.copy_within(..length as usize, shift);
            // What is now below the old contents is stale, as far as it was in use.
            self.counts[..shift.min(length as usize)].fill(0);
        }
        self.base = base;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_grows_downwards_keeps_its_counts() {
        let mut sketch = Sketch::default();
        for round in 0..6 {
            for _ in 0..1000 {
                sketch.add(1e6 / 50f64.powi(round)).unwrap();
            }
        }
        let mut reversed = Sketch::default();
        for round in (0..6).rev() {
            for _ in 0..1000 {
                reversed.add(1e6 / 50f64.powi(round)).unwrap();
            }
        }
        assert_eq!(sketch.encode().unwrap(), reversed.encode().unwrap());
        assert_eq!(sketch.percentile(1.0).unwrap(), Some(1e6));
    }

    #[test]
    fn a_state_and_its_stored_form_give_the_same_percentiles() {
        for values in [&[3.0, 12.5, 1000.7][..], &[1000.7; 3], &[1e-9, 1000.7]] {
            let mut sketch = Sketch::default();
            for value in values {
                sketch.add(*value).unwrap();
            }
            let bytes = sketch.encode().unwrap().unwrap();
            let stored = Stored::check(&bytes).unwrap();
            for fraction in [0.0, 0.01, 0.3, 0.5, 0.67, 0.95, 1.0] {
                let percentile = sketch.percentile(fraction).unwrap().unwrap();
                assert_eq!(
                    percentile,
                    stored.percentile(fraction).unwrap(),
                    "{values:?}"
                );
            }
        }
    }

    #[test]
    fn a_frame_that_moves_is_the_sketch_of_what_is_in_it() {
        // few values wait, many are counted: both are taken from
        for length in [5, 100, 700] {
            let values: Vec<f64> = (0..2000).map(|i| f64::from((i * 7919) % 1009)).collect();
            let mut moving = Sketch::default();
            let mut restarts = 0;
            for end in 0..values.len() {
                moving.add(values[end]).unwrap();
                let begin = (end + 1).saturating_sub(length);
                if end >= length && !moving.remove(values[end - length]).unwrap() {
                    restarts += 1;
                    moving = Sketch::default();
                    for value in &values[begin..=end] {
                        moving.add(*value).unwrap();
                    }
                }
                if end % 97 == 0 {
                    let mut fresh = Sketch::default();
                    for value in &values[begin..=end] {
                        fresh.add(*value).unwrap();
                    }
                    assert_eq!(moving.encode().unwrap(), fresh.encode().unwrap());
                }
            }
            assert!(
                restarts <= 2 * values.len() * 2 / length,
                "{restarts} of {length}"
            );
        }
    }

    #[test]
    fn a_wide_range_of_few_values_has_no_window() {
        let values: Vec<f64> = (0..20_000)
            .map(|i| 2f64.powi((i * 7919) % 2_000 - 1_000) * f64::from(1 + i % 3))
            .collect();
        let mut sketch = Sketch::default();
        let mut merged = Sketch::default();
        for (n, few) in values.chunks(250).enumerate() {
            let mut part = Sketch::default();
            for value in few {
                sketch.add(*value).unwrap();
                part.add(*value).unwrap();
            }
            let bytes = part.encode().unwrap().unwrap();
            if n % 2 == 0 {
                merged.merge(&mut part).unwrap();
            } else {
                merged
                    .merge_stored(&Stored::check(&bytes).unwrap())
                    .unwrap();
            }
            let used = sketch.counts.len() * 8 + sketch.pending.len() * 4;
            assert!(used <= 64 * 250 * (n + 1) + 65_536, "{used} bytes of {n}");
            assert_eq!(sketch.encode().unwrap(), merged.encode().unwrap());
            assert_eq!(
                sketch.percentile(0.3).unwrap(),
                merged.percentile(0.3).unwrap()
            );
        }
        assert!(!sketch.counts.is_empty() && !merged.counts.is_empty());
    }

    #[test]
    fn what_was_never_added_cannot_be_taken_out() {
        let mut sketch = Sketch::default();
        for value in [1.0, 5.0, 9.0] {
            sketch.add(value).unwrap();
        }
        assert_eq!(sketch.remove(4.0), Ok(false));
        assert_eq!(sketch.remove(1.0), Ok(false));
        assert_eq!(sketch.remove(5.0), Ok(true));
        assert_eq!(sketch.remove(5.0), Ok(false));
        assert_eq!(sketch.count(), 2);
        assert!(sketch.remove(f64::NAN).is_err());
    }

    #[test]
    fn empty_gives_none() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.percentile(0.5).unwrap(), None);
        assert_eq!(sketch.encode().unwrap(), None);
    }
}
