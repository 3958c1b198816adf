//! Intervals of rates and percentiles, and what a sample can show.

use super::{Interval, normal_quantile};

/// Wilson score interval of `hits` out of `total`: Wilson (1927), "Probable inference".
/// `None` where there is no denominator.
#[must_use]
pub fn wilson(hits: u64, total: u64, confidence: f64) -> Option<Interval> {
    if total == 0 || hits > total {
        return None;
    }
    let Interval { low, high } =
        wilson_of_share(hits as f64 / total as f64, total as f64, confidence)?;
    // At the ends the formula gives 0 and 1 exactly; rounding must not say otherwise.
    Some(Interval {
        low: if hits == 0 { 0.0 } else { low },
        high: if hits == total { 1.0 } else { high },
    })
}

/// Wilson score interval of a share `p` that `n` observations are behind. Of weighted observations `n` is Kish's
/// effective sample size, (sum of w)^2 / (sum of w^2): Kish (1965), "Survey Sampling", 8.2; Korn and Graubard (1998)
/// use it with score-like intervals. With equal weights it is the number of observations and the plain interval.
/// `None` where there is no denominator or `p` is no share.
#[must_use]
pub fn wilson_of_share(p: f64, n: f64, confidence: f64) -> Option<Interval> {
    if !(n > 0.0 && n.is_finite() && (0.0..=1.0).contains(&p)) {
        return None;
    }
    let z = normal_quantile(confidence)?;
    let z2 = z * z;
    let reach = z * (n * p * (1.0 - p) + z2 / 4.0).sqrt();
    // Centre less half width would cancel where the share is small: the smaller root is the product over the larger.
    let upper = |p: f64| (n * p + z2 / 2.0 + reach) / (n + z2);
    let high = upper(p).min(1.0);
    let low = if p < 0.5 {
        p * (n * p / ((n + z2) * upper(p)))
    } else {
        1.0 - upper(1.0 - p)
    };
    Some(Interval {
        low: if p == 0.0 { 0.0 } else { low.max(0.0) },
        high: if p == 1.0 { 1.0 } else { high },
    })
}

/// Ranks, from 1, whose values bound the `fraction` quantile of `count` values: the normal approximation to the
/// binomial order-statistic interval (Conover 1999, 3.2). For p95 of 200 values they are 184 and 197.
/// `None` without values or outside (0, 1).
#[must_use]
pub fn percentile_ranks(count: u64, fraction: f64, confidence: f64) -> Option<(u64, u64)> {
    if count == 0 || !(fraction > 0.0 && fraction < 1.0) {
        return None;
    }
    let n = count as f64;
    let half = normal_quantile(confidence)? * (n * fraction * (1.0 - fraction)).sqrt();
    let rank = |value: f64| (value.ceil() as u64).clamp(1, count);
    Some((rank(n * fraction - half), rank(n * fraction + half)))
}

/// How many observations without a failure show, one-sided at `confidence`, that failures are rarer than `rate`:
/// (1 - rate)^n <= 1 - confidence. `None` outside (0, 1); infinite where a double cannot tell.
#[must_use]
pub fn zero_failures_needed(rate: f64, confidence: f64) -> Option<f64> {
    let inside = |share: f64| share > 0.0 && share < 1.0;
    (inside(rate) && inside(confidence))
        .then(|| ((-confidence).ln_1p() / (-rate).ln_1p()).ceil().max(1.0))
}

#[cfg(test)]
mod tests {
    use super::super::newcombe_paired;
    use super::*;

    fn close(interval: Option<Interval>, low: f64, high: f64, tolerance: f64) {
        let interval = interval.unwrap();
        assert!(
            (interval.low - low).abs() < tolerance && (interval.high - high).abs() < tolerance,
            "{interval:?}"
        );
    }

    #[test]
    fn wilson_values() {
        close(
            wilson(184, 200, 0.95),
            0.874010511733,
            0.950159414110,
            1e-12,
        );
        close(wilson(3, 200, 0.95), 0.005114237793, 0.043165728793, 1e-12);
        close(wilson(0, 200, 0.95), 0.0, 0.018845, 1e-6);
        close(wilson(0, 10, 0.95), 0.0, 0.277533, 1e-6);
        close(wilson(35, 100, 0.95), 0.263642482, 0.447455567, 1e-9);
        assert_eq!(wilson(0, 0, 0.95), None);
    }

    #[test]
    fn weighted_and_paired_values() {
        // equal weights: the plain interval
        assert_eq!(wilson_of_share(0.92, 200.0, 0.95), wilson(184, 200, 0.95));
        assert_eq!(wilson_of_share(0.0, 12.5, 0.95).unwrap().low, 0.0);
        assert_eq!(wilson_of_share(1.0, 12.5, 0.95).unwrap().high, 1.0);
        for (p, n) in [(0.5, 0.0), (0.5, f64::NAN), (1.1, 5.0), (-0.1, 5.0)] {
            assert_eq!(wilson_of_share(p, n, 0.95), None);
        }
        close(
            newcombe_paired(172.0, 16.0, 4.0, 8.0, 0.95),
            0.015819,
            0.108378,
            5e-7,
        );
        close(
            newcombe_paired(172.0, 16.0, 4.0, 8.0, 0.95),
            0.015819338811289947,
            0.10837791369899533,
            1e-9,
        );
        // all alike: no margin to divide by
        let alike = newcombe_paired(10.0, 0.0, 0.0, 0.0, 0.95).unwrap();
        assert!(alike.low < 0.0 && alike.high > 0.0, "{alike:?}");
        assert_eq!(newcombe_paired(0.0, 0.0, 0.0, 0.0, 0.95), None);
        assert_eq!(newcombe_paired(-1.0, 2.0, 0.0, 0.0, 0.95), None);
    }

    #[test]
    fn ranks_of_a_percentile() {
        assert_eq!(percentile_ranks(200, 0.95, 0.95), Some((184, 197)));
        assert_eq!(percentile_ranks(1, 0.95, 0.95), Some((1, 1)));
        assert_eq!(percentile_ranks(0, 0.95, 0.95), None);
    }

    #[test]
    fn zero_failures() {
        let needed = |rate| zero_failures_needed(rate, 0.95);
        assert_eq!(
            [0.02, 0.015, 0.01, 0.005].map(needed),
            [149.0, 199.0, 299.0, 598.0].map(Some)
        );
        assert_eq!(needed(0.0), None);
    }

    #[test]
    fn verdicts_of_a_line() {
        let low = |hits, total| wilson(hits, total, 0.95).unwrap().low;
        let high = |hits, total| wilson(hits, total, 0.95).unwrap().high;
        assert!(
            (low(192, 200) - 0.923068).abs() < 1e-6
                && low(184, 200) < 0.92
                && high(184, 200) > 0.92
        );
        assert!((high(172, 200) - 0.901330).abs() < 1e-6);
        assert!(high(0, 252) > 0.015 && high(0, 253) <= 0.015);
        assert!((low(8, 200) - 0.020406).abs() < 1e-6);
    }
}
