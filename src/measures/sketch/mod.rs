//! A mergeable, deterministic, order-independent quantile sketch.
//!
//! A value falls in a bucket that is its own float rounded to seven significant bits ([`mapping`]), so every
//! quantile is within 1/129 of the nearest-rank value, relatively: whatever the distribution, the number of
//! values or the order in which they came. A sketch is a multiset of buckets with the exact count, minimum and
//! maximum; merging adds counts, which is associative and commutative bit for bit.
//!
//! - [`mapping`]: value to bucket and back, and why the error is bounded
//! - [`store`]: the growing state of an aggregate, over memory that the caller owns
//! - [`encoding`]: the stored form, its bytes, and reading from them directly
//! - [`text`]: the form a person reads

pub mod encoding;
pub mod mapping;
pub mod store;
pub mod text;

pub use encoding::Stored;
pub use store::{Buffer, Sketch};

/// What can go wrong with a sketch.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SketchError {
    /// A value that no quantile is defined for: negative, infinite or not a number.
    #[error("value out of range for a quantile sketch: {0}")]
    Value(f64),
    /// More values than fit into 64 bits.
    #[error("a quantile sketch cannot count more than 18446744073709551615 values")]
    Overflow,
    /// Bytes or text that are no sketch; the reason follows.
    #[error("invalid quantile sketch: {0}")]
    Corrupt(&'static str),
}

/// The rank, from 1, of the value that is the `fraction` quantile of `count` values: the smallest rank whose
/// share reaches the fraction, as `percentile_disc` has it.
#[must_use]
pub fn nearest_rank(fraction: f64, count: u64) -> u64 {
    // The product is formed in double precision exactly as PostgreSQL does, so that both agree at the edges.
    let rank = (fraction * count as f64).ceil();
    if rank < 1.0 {
        1
    } else if rank >= count as f64 {
        count
    } else {
        rank as u64
    }
}

/// The bucket in which the cumulative count reaches `rank`, over buckets in ascending order.
pub(crate) fn bucket_at(buckets: impl Iterator<Item = (u32, u64)>, rank: u64) -> Option<u32> {
    let mut seen = 0u64;
    let mut last = None;
    for (index, count) in buckets {
        seen = seen.saturating_add(count);
        last = Some(index);
        if seen >= rank {
            break;
        }
    }
    last
}
