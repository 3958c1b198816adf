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
pub use rate::{jeffreys, percentile_ranks, wilson, wilson_of_share};

use statrs::distribution::{ContinuousCDF, Normal};

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
    (confidence > 0.0 && confidence < 1.0)
        .then(|| Normal::standard().inverse_cdf(0.5 + confidence / 2.0))
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
