//! Paired yes and no: the same cases in two runs, or two judges of the same conversations.
//!
//! Of `total` pairs `lost` went from yes to no and `gained` from no to yes; the rest agree.

use statrs::distribution::{Binomial, Discrete, DiscreteCDF};
use statrs::function::gamma::ln_gamma;
use std::f64::consts::PI;

use super::{Interval, normal_quantile, two_sided, upper_quantile, wilson_of_share};

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

/// Up to so many changes `statrs` counts. Its incomplete beta function stops after 140 steps, which is too early for
/// large counts.
const COUNTED: u64 = 1_000;

/// P(X <= min) and P(X = min).
fn tail(lost: u64, gained: u64) -> Option<(f64, f64)> {
    let discordant = lost.saturating_add(gained);
    let (least, most) = (lost.min(gained), lost.max(gained));
    if discordant > COUNTED {
        return Some(large_tail(least, most));
    }
    let binomial = Binomial::new(0.5, discordant).ok()?;
    (discordant > 0).then(|| (binomial.cdf(least), binomial.pmf(least)))
}

/// [`tail`] of large counts, k = `least` and m = `most`. The probability of k itself is Loader's form (2000, "Fast and
/// accurate computation of binomial probabilities"), in which nothing large cancels. What lies below
/// is a multiple of it:
///
/// P(X <= k) / P(X = k) = m int_0^1 (1 - s)^(m - 1) (1 + s)^k ds
///
/// (the incomplete beta function at 1/2), whose integrand falls from 1 without a turn, like the side of a bell. Sixteen
/// panels of eight Gauss-Legendre nodes as far as it is above e^-45 have an error below 1e-13, whatever the counts.
fn large_tail(least: u64, most: u64) -> (f64, f64) {
    /// Nodes and weights on [-1, 1]: Abramowitz and Stegun, table 25.4.
    const NODES: [(f64, f64); 4] = [
        (0.183_434_642_495_649_8, 0.362_683_783_378_362),
        (0.525_532_409_916_329, 0.313_706_645_877_887_3),
        (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
        (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
    ];
    const PANELS: u32 = 16;
    const NOTHING: f64 = 45.0;
    let pmf = probability(least, most);
    if least == most {
        return (0.5 + pmf / 2.0, pmf);
    }
    let (k, m, beyond) = (least as f64, most as f64, (most - least - 1) as f64);
    // Where k s^2 + (m - 1 - k) s, which the exponent exceeds, is NOTHING.
    let end = 2.0 * NOTHING / (beyond + (beyond * beyond + 4.0 * k * NOTHING).sqrt());
    let half = end / f64::from(PANELS) / 2.0;
    let integrand = |s: f64| (k * (-s * s).ln_1p() + beyond * (-s).ln_1p()).exp();
    let area: f64 = (0..PANELS)
        .map(|panel| half * f64::from(2 * panel + 1))
        .flat_map(|middle| {
            NODES.map(|(node, weight)| {
                weight * (integrand(middle - half * node) + integrand(middle + half * node))
            })
        })
        .sum();
    (m * half * area * pmf, pmf)
}

/// P(X = k) under Binomial(k + m, 1/2).
fn probability(k: u64, m: u64) -> f64 {
    let n = k as f64 + m as f64;
    if k == 0 {
        return (-n).exp2();
    }
    let uneven = m.abs_diff(k) as f64 / n;
    let (k, m) = (k as f64, m as f64);
    // k ln(2k/n) + m ln(2m/n), which is n/2 (ln(1 - e^2) + 2 e artanh e) for k = n/2 (1 - e).
    let deviance = if uneven < 0.5 {
        n / 2.0 * ((-uneven * uneven).ln_1p() + 2.0 * uneven * uneven.atanh())
    } else {
        k * (2.0 * k / n).ln() + m * (2.0 * m / n).ln()
    };
    let error = stirling_error(n) - stirling_error(k) - stirling_error(m);
    (n / (2.0 * PI * k) / m).sqrt() * (error - deviance).exp()
}

/// ln n! less Stirling's formula for it.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        return ln_gamma(n + 1.0) - (n + 0.5) * n.ln() + n - (2.0 * PI).ln() / 2.0;
    }
    let nn = n * n;
    (1.0 / 12.0
        - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / nn) / nn) / nn) / nn)
        / n
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
    // Of large counts the two shares are alike to the last digit, their difference is not nothing.
    let change = (i128::from(gained) - i128::from(lost)) as f64 / n;
    let half = normal_quantile(confidence)? * ((down + up - change * change) / n).sqrt();
    Some(Interval {
        low: (change - half).max(-1.0),
        high: (change + half).min(1.0),
    })
}

/// The smallest change in a rate that `total` pairs show with `power` at level `alpha`, when a share `discordance` of
/// them changes at all: the d of n = (za sqrt(psi) + zb sqrt(psi - d^2))^2 / d^2 (Connor 1987). One beyond
/// `discordance` says that nothing could be shown. `None` where there is none.
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
    let (za, zb) = (upper_quantile(alpha / 2.0), upper_quantile(1.0 - power));
    let n = total as f64;
    // At d^2 = psi, the largest there can be, the pairs would be too few.
    if n < za * za {
        return None;
    }
    // The equation is quadratic in d; this is the root whose sides agree in sign.
    let root = n.sqrt() * za + zb * (n + zb * zb - za * za).sqrt();
    Some((discordance.sqrt() * root / (n + zb * zb)).max(0.0))
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
    let counts = [both, first, second, neither];
    if counts.iter().any(|count| count.is_nan() || *count < 0.0) || !(n > 0.0 && n.is_finite()) {
        return None;
    }
    // Shares, whose products stay in range whatever the counts.
    let [both, first, second, neither] = counts.map(|count| count / n);
    let (p1, p2) = (both + first, both + second);
    let of_first = wilson_of_share(p1.clamp(0.0, 1.0), n, confidence)?;
    let of_second = wilson_of_share(p2.clamp(0.0, 1.0), n, confidence)?;
    let margins = (both + first) * (second + neither) * (both + second) * (first + neither);
    let excess = both * neither - first * second;
    let phi = if margins == 0.0 {
        0.0
    } else if excess > 0.0 {
        (excess - 0.5 / n).max(0.0) / margins.sqrt()
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
/// `None` where a month has no pairs or fewer than differ, or neither varies.
#[must_use]
pub fn widened_z(before: (u64, u64, u64), after: (u64, u64, u64)) -> Option<f64> {
    // Counts are below 2^63, so these products are exact.
    let wide = |(first, second, total): (u64, u64, u64)| {
        let gap = i128::from(first) - i128::from(second);
        (gap, u128::from(first) + u128::from(second), total)
    };
    let ((gap1, differ1, n1), (gap2, differ2, n2)) = (wide(before), wide(after));
    if n1 == 0 || n2 == 0 || differ1 > n1.into() || differ2 > n2.into() {
        return None;
    }
    let variance = |gap: i128, differ: u128, n: u64| {
        let numerator = u128::from(n) * differ - gap.unsigned_abs() * gap.unsigned_abs();
        let n = n as f64;
        numerator as f64 / n / n / n
    };
    let change = gap2 * i128::from(n1) - gap1 * i128::from(n2);
    let variance = variance(gap1, differ1, n1) + variance(gap2, differ2, n2);
    (variance > 0.0).then(|| change as f64 / n1 as f64 / n2 as f64 / variance.sqrt())
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
    times(moved, 100) > times(cross(total1, total2), points)
}

/// A product of 192 bits: the upper 128 and the lower 64.
fn times(a: u128, b: u64) -> (u128, u64) {
    let low = (a & u128::from(u64::MAX)) * u128::from(b);
    ((a >> 64) * u128::from(b) + (low >> 64), low as u64)
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
