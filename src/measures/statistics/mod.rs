//! Statistics. Distributions come from `statrs`; only the formulas are here, each with its source.
//!
//! - [`rate`]: intervals of rates and percentiles
//! - [`paired`]: the same cases twice, or two judges of the same conversations
//! - [`ranks`]: paired numbers of no known distribution
//! - [`multiple`]: many tests at once
//! - [`sample`]: what a weighted sample and an imperfect judge say of the whole
//! - [`agreement`]: two raters

pub mod agreement;
pub mod multiple;
pub mod paired;
pub mod ranks;
pub mod rate;
pub mod sample;

pub use paired::newcombe_paired;
pub use rate::{percentile_ranks, wilson, wilson_of_share};

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::erf::{erf_inv, erfc_inv};
use std::f64::consts::SQRT_2;

/// Lower and upper bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower bound.
    pub low: f64,
    /// Upper bound.
    pub high: f64,
}

/// The two-sided standard normal quantile at `confidence`, 1.96 at 0.95; `None` outside (0, 1).
#[must_use]
pub fn normal_quantile(confidence: f64) -> Option<f64> {
    if confidence == 0.95 {
        // The confidence nearly everybody asks for, to the last digit of a double.
        return Some(1.959_963_984_540_054);
    }
    (confidence > 0.0 && confidence < 1.0).then(|| {
        // From the end that is not rounded away.
        if confidence < 0.5 {
            SQRT_2 * erf_inv(confidence)
        } else {
            upper_quantile((1.0 - confidence) / 2.0)
        }
    })
}

/// The standard normal deviate that is exceeded with probability `tail`, 1.96 at 0.025.
#[must_use]
pub fn upper_quantile(tail: f64) -> f64 {
    SQRT_2 * erfc_inv(2.0 * tail)
}

/// Two-sided p of a standard normal deviate.
#[must_use]
pub fn two_sided(z: f64) -> f64 {
    (2.0 * Normal::standard().cdf(-z.abs())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles() {
        assert!((normal_quantile(0.9).unwrap() - 1.6448536269514722).abs() < 1e-9);
        assert_eq!(normal_quantile(1.0), None);
        assert!((two_sided(-1.959_963_984_540_054) - 0.05).abs() < 1e-9);
    }
}
