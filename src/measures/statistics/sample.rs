//! What a stratified sample, and a judge who errs, say of the whole.

use super::{Interval, normal_quantile};

/// One stratum: how many there are, how many were looked at, how many of those count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stratum {
    /// Conversations in it.
    pub size: u64,
    /// Conversations looked at.
    pub sampled: u64,
    /// Of those, the ones that count.
    pub hits: u64,
}

/// A rate and its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The rate.
    pub value: f64,
    /// Its standard error; `None` where a stratum of which not all is known has fewer than two observations.
    pub error: Option<f64>,
}

/// The rate of the whole from a stratified sample (Cochran 1977, 5.3): p = sum W_h p_h with W_h = N_h/N, and
/// Var = sum W_h^2 (1 - n_h/N_h) p_h (1 - p_h)/(n_h - 1). `None` where a stratum was not looked at,
/// or nothing is there.
#[must_use]
pub fn stratified(strata: &[Stratum]) -> Option<Estimate> {
    let whole: f64 = strata.iter().map(|stratum| stratum.size as f64).sum();
    let (mut value, mut variance) = (0.0, Some(0.0));
    for stratum in strata.iter().filter(|stratum| stratum.size > 0) {
        if stratum.sampled == 0 || stratum.hits > stratum.sampled || stratum.sampled > stratum.size
        {
            return None;
        }
        let n = stratum.sampled as f64;
        let (weight, p) = (stratum.size as f64 / whole, stratum.hits as f64 / n);
        value += weight * p;
        if stratum.sampled < stratum.size {
            let unseen = 1.0 - n / stratum.size as f64;
            variance = variance
                .filter(|_| stratum.sampled > 1)
                .map(|sum| sum + weight * weight * unseen * p * (1.0 - p) / (n - 1.0));
        }
    }
    (whole > 0.0).then(|| Estimate {
        value,
        error: variance.map(f64::sqrt),
    })
}

/// Hits out of a total.
pub type Share = (u64, u64);

/// The true rate behind a judge's verdicts (Rogan and Gladen 1978): (apparent + specificity - 1) / (sensitivity +
/// specificity - 1), kept between 0 and 1, with the standard error of all three (delta method). `sensitivity`: of what
/// humans call a hit, what the judge calls one; `specificity`: of what humans call none, what the judge calls none.
/// `None` where one has no total, or where the judge is no better than a coin.
#[must_use]
pub fn corrected(apparent: Share, sensitivity: Share, specificity: Share) -> Option<Estimate> {
    let (a, se, sp) = (apparent, sensitivity, specificity);
    if [a, se, sp]
        .iter()
        .any(|(hits, total)| *total == 0 || hits > total)
    {
        return None;
    }
    // a/A + p/P - 1 in units of 1/(A P), exact: counts are below 2^63.
    let above_one = |(hits, total): Share, (sp, of): Share| {
        let product = |x: u64, y: u64| i128::from(x) * i128::from(y);
        product(hits, of) - product(total, of) + product(sp, total)
    };
    let (numerator, youden) = (above_one(a, sp), above_one(se, sp));
    if youden <= 0 {
        return None;
    }
    let value = (numerator as f64 / youden as f64 * (se.1 as f64 / a.1 as f64)).clamp(0.0, 1.0);
    let youden = youden as f64 / se.1 as f64 / sp.1 as f64;
    let variance = |(hits, total): Share| {
        let n = total as f64;
        (hits as f64 / n) * ((total - hits) as f64 / n) / n
    };
    let sum =
        variance(a) + value * value * variance(se) + (1.0 - value) * (1.0 - value) * variance(sp);
    Some(Estimate {
        value,
        error: Some(sum.sqrt() / youden),
    })
}

impl Estimate {
    /// Normal interval, kept between 0 and 1.
    #[must_use]
    pub fn interval(self, confidence: f64) -> Option<Interval> {
        let half = normal_quantile(confidence)? * self.error?;
        Some(Interval {
            low: (self.value - half).max(0.0),
            high: (self.value + half).min(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strata(rows: &[(u64, u64, u64)]) -> Vec<Stratum> {
        rows.iter()
            .map(|&(size, sampled, hits)| Stratum {
                size,
                sampled,
                hits,
            })
            .collect()
    }

    #[test]
    fn a_stratified_rate() {
        let estimate = stratified(&strata(&[
            (18_000, 700, 7),
            (1_500, 150, 9),
            (500, 150, 24),
        ]))
        .unwrap();
        assert!((estimate.value - 0.0175).abs() < 1e-12);
        assert!((estimate.error.unwrap() - 0.003651968).abs() < 1e-9);
        let interval = estimate.interval(0.95).unwrap();
        assert!((interval.low - 0.010342).abs() < 1e-6 && (interval.high - 0.024658).abs() < 1e-6);
        assert_eq!(stratified(&strata(&[(10, 0, 0), (5, 5, 1)])), None);
        assert_eq!(stratified(&[]), None);
        assert_eq!(stratified(&strata(&[(10, 1, 0)])).unwrap().error, None);
        assert_eq!(
            stratified(&strata(&[(4, 4, 1)])).unwrap(),
            Estimate {
                value: 0.25,
                error: Some(0.0)
            }
        );
    }

    #[test]
    fn a_judge_who_errs() {
        // of 1000 the judge calls 140 bad; he finds 90% of the bad and lets 95% of the good pass
        let estimate = corrected((140, 1_000), (90, 100), (190, 200)).unwrap();
        assert!((estimate.value - 0.09 / 0.85).abs() < 1e-12);
        assert_eq!(
            corrected((10, 1_000), (90, 100), (190, 200)).unwrap().value,
            0.0
        );
        assert_eq!(corrected((10, 100), (50, 100), (50, 100)), None);
        assert_eq!(corrected((10, 100), (0, 0), (50, 100)), None);
    }
}
