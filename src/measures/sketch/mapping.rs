//! Value to bucket and back.
//!
//! A bucket's index is the upper 18 bits of the float after rounding to nearest: sign (always 0), 11 bits of
//! exponent, 6 of mantissa. With the implicit leading bit that is 7 significant bits, hence:
//!
//! - integers up to 128 have a bucket of their own and are exact, and so is zero;
//! - in an octave [2^e, 2^(e+1)) buckets are 2^(e-6) wide and centred on their value, so a value v differs from
//!   its bucket's by at most 2^(e-7). The worst v is the smallest one that rounds up from the lowest bucket's
//!   upper half: v = 2^e (1 + 1/128), where the error is (1/128) / (1 + 1/128) = 1/129 < 1/128.

/// Relative error that no quantile of values from 1e-9 to 1e12 exceeds.
pub const RELATIVE_ERROR: f64 = 1.0 / 128.0;

/// Bits of the mantissa that are rounded away.
const DROPPED_BITS: u32 = 52 - 6;
/// Half of the last bit that is kept.
const HALF: u64 = 1 << (DROPPED_BITS - 1);
/// Bits of the largest finite double; beyond lie infinity, NaN and everything with the sign bit.
const LARGEST_FINITE: u64 = 0x7FEF_FFFF_FFFF_FFFF;
const NEGATIVE_ZERO: u64 = 1 << 63;

/// The largest index: the bucket of the largest double, which rounds up to where infinity would be.
pub const MAX_INDEX: u32 = ((LARGEST_FINITE + HALF) >> DROPPED_BITS) as u32;

/// The bits of a value that a sketch takes: finite and not negative. Negative zero is zero.
#[inline]
#[must_use]
pub fn accepted_bits(value: f64) -> Option<u64> {
    let bits = value.to_bits();
    if bits <= LARGEST_FINITE {
        Some(bits)
    } else if bits == NEGATIVE_ZERO {
        Some(0)
    } else {
        None
    }
}

/// Bucket of a value, given as the bits that [`accepted_bits`] returned.
#[inline]
#[must_use]
pub fn index_of_bits(bits: u64) -> u32 {
    ((bits + HALF) >> DROPPED_BITS) as u32
}

/// The value that stands for a bucket. For [`MAX_INDEX`] it is infinity; callers clamp to the exact maximum.
#[inline]
#[must_use]
pub fn value_of(index: u32) -> f64 {
    f64::from_bits(u64::from(index) << DROPPED_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(value: f64) -> f64 {
        value_of(index_of_bits(accepted_bits(value).unwrap()))
    }

    #[test]
    fn integers_to_128_and_zero_are_exact() {
        for n in 0..=128 {
            assert_eq!(round_trip(f64::from(n)), f64::from(n));
        }
        assert_eq!(accepted_bits(-0.0), Some(0));
    }

    #[test]
    fn error_is_below_the_guarantee_at_every_edge() {
        for exponent in -30..40 {
            for step in 0..128u32 {
                let edge = 2f64.powi(exponent) * (1.0 + f64::from(step) / 128.0);
                for value in [edge.next_down(), edge, edge.next_up()] {
                    let error = (round_trip(value) - value).abs() / value;
                    assert!(error <= 1.0 / 129.0 + 1e-15, "{value} has error {error}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_accepted() {
        for value in [
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -1.0,
            -f64::MIN_POSITIVE,
        ] {
            assert_eq!(accepted_bits(value), None);
        }
        assert_eq!(index_of_bits(accepted_bits(f64::MAX).unwrap()), MAX_INDEX);
        assert_eq!(index_of_bits(accepted_bits(f64::from_bits(1)).unwrap()), 0);
    }
}
