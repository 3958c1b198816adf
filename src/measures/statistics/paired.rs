//! Paired yes and no: the same cases in two runs, or two judges of the same conversations.
//!
//! Of `total` pairs `lost` went from yes to no and `gained` from no to yes; the rest agree.

use statrs::distribution::{Binomial, ContinuousCDF, Discrete, DiscreteCDF, Normal};

use super::{Interval, normal_quantile, two_sided, wilson_of_share};

/// McNemar's exact test: min(1, 2 P(X <= min) under Binomial(lost + gained, 1/2)); 1 where nothing changed.
#[must_use]
pub fn mcnemar_exact(lost: u64, gained: u64) -> f64 {
    tail(lost, gained).map_or(1.0, |(cdf, _)| (2.0 * cdf).min(1.0))
}

/// McNemar's mid-p test (Fagerland, Lydersen, Laake 2013): the exact p less the probability of what was seen, half of
/// it where both are equal; 1 where nothing changed.
#[must_use]
pub fn mcnemar_mid(lost: u64, gained: u64) -> f64 {
    tail(lost, gained).map_or(1.0, |(cdf, pmf)| {
        if lost == gained {
            1.0 - pmf / 2.0
        } else {
            2.0 * cdf - pmf
        }
    })
}

/// P(X <= min) and P(X = min).
fn tail(lost: u64, gained: u64) -> Option<(f64, f64)> {
    let discordant = lost.checked_add(gained).filter(|n| *n > 0)?;
    let binomial = Binomial::new(0.5, discordant).ok()?;
    let least = lost.min(gained);
    Some((binomial.cdf(least), binomial.pmf(least)))
}

/// The change in the rate, (gained - lost) / total, with the Bonett-Price interval (2012), which adds one to each of
/// the two counts. `None` without pairs.
#[must_use]
pub fn bonett_price(lost: u64, gained: u64, total: u64, confidence: f64) -> Option<Interval> {
    if total == 0 || lost.checked_add(gained)? > total {
        return None;
    }
    let n = total as f64 + 2.0;
    let (down, up) = ((lost as f64 + 1.0) / n, (gained as f64 + 1.0) / n);
    let change = up - down;
    let half = normal_quantile(confidence)? * ((down + up - change * change) / n).sqrt();
    Some(Interval {
        low: (change - half).max(-1.0),
        high: (change + half).min(1.0),
    })
}

/// The smallest change in a rate that `total` pairs show with `power` at level `alpha`, when a share `discordance` of them
/// changes at all: the d of n = (za sqrt(psi) + zb sqrt(psi - d^2))^2 / d^2 (Connor 1987). One beyond `discordance`
/// says that nothing could be shown. `None` where there is none.
#[must_use]
pub fn minimum_detectable_change(
    total: u64,
    discordance: f64,
    power: f64,
    alpha: f64,
) -> Option<f64> {
    let inside = |share: f64| share > 0.0 && share < 1.0;
    let is_share = discordance > 0.0 && discordance <= 1.0;
    if total == 0 || !is_share || !inside(power) || !inside(alpha) {
        return None;
    }
    let za = normal_quantile(1.0 - alpha)?;
    let zb = Normal::standard().inverse_cdf(power);
    let root = (total as f64).sqrt();
    // Falls short below the answer, too much above it.
    let excess =
        |d: f64| root * d - za * discordance.sqrt() - zb * (discordance - d * d).max(0.0).sqrt();
    let (mut low, mut high) = (0.0, discordance.sqrt());
    if excess(high) < 0.0 {
        return None;
    }
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if excess(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// Interval of the difference of two shares of the same observations, first minus second, from how many say yes to
/// `both`, to the `first` only, to the `second` only and to `neither`: Newcombe (1998), "Improved confidence intervals
/// for the difference between binomial proportions based on paired data", method 10. Counts may be effective ones.
/// `None` where there is no denominator or a count is negative.
#[must_use]
pub fn newcombe_paired(
    both: f64,
    first: f64,
    second: f64,
    neither: f64,
    confidence: f64,
) -> Option<Interval> {
    let n = both + first + second + neither;
    if [both, first, second, neither]
        .iter()
        .any(|count| count.is_nan() || *count < 0.0)
    {
        return None;
    }
    let (p1, p2) = ((both + first) / n, (both + second) / n);
    let of_first = wilson_of_share(p1.clamp(0.0, 1.0), n, confidence)?;
    let of_second = wilson_of_share(p2.clamp(0.0, 1.0), n, confidence)?;
    let margins = (both + first) * (second + neither) * (both + second) * (first + neither);
    let excess = both * neither - first * second;
    let phi = if margins == 0.0 {
        0.0
    } else if excess > 0.0 {
        (excess - n / 2.0).max(0.0) / margins.sqrt()
    } else {
        excess / margins.sqrt()
    };
    let reach = |a: f64, b: f64| (a * a - 2.0 * phi * a * b + b * b).max(0.0).sqrt();
    Some(Interval {
        low: p1 - p2 - reach(p1 - of_first.low, of_second.high - p2),
        high: p1 - p2 + reach(of_first.high - p1, p2 - of_second.low),
    })
}

/// Standard normal deviate of the change between two independent paired differences, such as the self-report gap of two
/// months: each is (first - second) / total with variance (first + second - (first - second)^2 / total) / total^2.
/// `None` where a month has no pairs or neither varies.
#[must_use]
pub fn widened_z(before: (u64, u64, u64), after: (u64, u64, u64)) -> Option<f64> {
    let moments = |(first, second, total): (u64, u64, u64)| {
        let (f, s, n) = (first as f64, second as f64, total as f64);
        (total > 0).then(|| ((f - s) / n, (f + s - (f - s) * (f - s) / n) / (n * n)))
    };
    let ((gap1, variance1), (gap2, variance2)) = (moments(before)?, moments(after)?);
    let variance = variance1 + variance2;
    (variance > 0.0).then(|| (gap2 - gap1) / variance.sqrt())
}

/// Two-sided p of [`widened_z`].
#[must_use]
pub fn widened_p(before: (u64, u64, u64), after: (u64, u64, u64)) -> Option<f64> {
    widened_z(before, after).map(two_sided)
}

/// Whether a rate moved by more than `points` percentage points, in integers: 184 -> 180 of 200 has not moved more than
/// two, 184 -> 179 has.
#[must_use]
pub fn moved(hits1: u64, total1: u64, hits2: u64, total2: u64, points: u64) -> bool {
    let cross = |hits: u64, total: u64| u128::from(hits) * u128::from(total);
    let moved = cross(hits1, total2).abs_diff(cross(hits2, total1));
    moved.saturating_mul(100) > cross(total1, total2).saturating_mul(points.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn close(value: f64, expected: f64, tolerance: f64) {
        assert!(
            (value - expected).abs() < tolerance,
            "{value}, and should be {expected}"
        );
    }

    #[test]
    fn mcnemar_values() {
        for (lost, gained, exact, mid) in [
            (4, 0, 0.125, 0.0625),
            (9, 1, 0.021484375, 0.01171875),
            (10, 2, 0.03857421875, 0.0224609375),
            (12, 3, 0.03515625, 0.021270752),
            (14, 5, 0.063568115, 0.041389465),
            (16, 4, 0.011817932, 0.007197380),
            (7, 7, 1.0, 0.895263671875),
            (9, 10, 1.0, 0.8238029479980469),
            (0, 0, 1.0, 1.0),
        ] {
            close(mcnemar_exact(lost, gained), exact, 1e-9);
            close(mcnemar_exact(gained, lost), exact, 1e-9);
            close(mcnemar_mid(lost, gained), mid, 1e-9);
        }
        // fewer than six that changed can never reach it
        assert!((0..6).all(|n| mcnemar_exact(n, 0) > 0.05) && mcnemar_exact(6, 0) < 0.05);
        assert!(mcnemar_exact(3_000, 2_000) < 1e-9);
    }

    #[test]
    fn bonett_price_values() {
        for (lost, gained, low, high) in [
            (4, 0, -0.043411, 0.003808),
            (9, 1, -0.072769, -0.006439),
            (10, 2, -0.075495, -0.003713),
            (12, 3, -0.084085, -0.005023),
        ] {
            let interval = bonett_price(lost, gained, 200, 0.95).unwrap();
            close(interval.low, low, 1e-6);
            close(interval.high, high, 1e-6);
        }
        assert_eq!(bonett_price(0, 0, 0, 0.95), None);
        assert_eq!(bonett_price(3, 3, 5, 0.95), None);
    }

    #[test]
    fn detectable_changes() {
        for (discordance, points) in [(0.04, 3.94), (0.06, 4.82), (0.08, 5.57), (0.10, 6.23)] {
            let change = minimum_detectable_change(200, discordance, 0.8, 0.05).unwrap();
            close(change * 100.0, points, 0.005);
        }
        assert!(minimum_detectable_change(200, 0.02, 0.8, 0.05).unwrap() > 0.02);
        assert_eq!(minimum_detectable_change(200, 0.0, 0.8, 0.05), None);
        assert_eq!(minimum_detectable_change(0, 0.1, 0.8, 0.05), None);
    }

    #[test]
    fn self_report_against_human_labels() {
        close(widened_z((16, 4, 200), (22, 4, 200)).unwrap(), 0.908, 5e-4);
        close(widened_p((16, 4, 200), (22, 4, 200)).unwrap(), 0.364, 5e-4);
        assert_eq!(widened_z((0, 0, 200), (0, 0, 200)), None);
    }

    #[test]
    fn two_points_in_integers() {
        assert!(
            !moved(184, 200, 180, 200, 2)
                && moved(184, 200, 179, 200, 2)
                && moved(179, 200, 184, 200, 2)
        );
        assert!(!moved(0, 0, 5, 10, 2) && !moved(u64::MAX, u64::MAX, u64::MAX, u64::MAX, 2));
    }

    #[test]
    fn the_two_point_rule_alone_fires_on_an_unchanged_agent() {
        for (discordance, percent) in [(0.04, 10.92), (0.06, 19.07), (0.08, 25.77), (0.10, 31.19)] {
            let changed = Binomial::new(discordance, 200).unwrap();
            let fires: f64 = (0..=200)
                .map(|n| {
                    let half = Binomial::new(0.5, n).unwrap();
                    let beyond: f64 = (0..=n)
                        .filter(|lost| moved(*lost, 200, n - lost, 200, 2))
                        .map(|lost| half.pmf(lost))
                        .sum();
                    changed.pmf(n) * beyond
                })
                .sum();
            close(fires * 100.0, percent, 0.005);
        }
    }

    /// Two thousand weeks of an agent that does not change, each over 200 cases of which a share is decided by chance
    /// anew each week: the rule alone cries wolf one week in five, the rule with the exact test at most one in twenty.
    /// Then a true loss of ten points, which is found.
    #[test]
    fn simulated_years() {
        let mut random = ChaCha8Rng::seed_from_u64(20_260_105);
        let mut weeks = |loss: f64| {
            let (mut watches, mut alerts) = (0, 0);
            for _ in 0..2_000 {
                let (mut lost, mut gained) = (0, 0);
                for _ in 0..200 {
                    let drawn: f64 = random.random();
                    lost += u64::from(drawn < 0.03 + loss);
                    gained += u64::from(drawn > 0.97);
                }
                let rule = moved(lost, 200, gained, 200, 2);
                watches += u32::from(rule);
                alerts += u32::from(rule && mcnemar_exact(lost, gained) <= 0.05);
            }
            (f64::from(watches) / 20.0, f64::from(alerts) / 20.0)
        };
        let (watches, alerts) = weeks(0.0);
        println!(
            "unchanged: the two-point rule alone fires in {watches}% of weeks, the alert in {alerts}%"
        );
        close(watches, 19.07, 2.5);
        assert!(alerts <= 5.0, "{alerts}% of weeks");
        let (_, found) = weeks(0.10);
        println!("ten points lost: found in {found}% of weeks");
        assert!(found > 90.0, "{found}% of weeks");
    }
}
