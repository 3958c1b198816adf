//! Two raters who said yes or no of the same items.

/// What two raters said of the same items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raters {
    /// Both said yes.
    pub both: u64,
    /// Only the first.
    pub first: u64,
    /// Only the second.
    pub second: u64,
    /// Both said no.
    pub neither: u64,
}

impl Raters {
    /// Cohen's kappa (1960): agreement beyond chance, chance being each rater's own habit. `None` where chance explains
    /// all, as when both always say the same.
    ///
    /// (agreed - chance) / (1 - chance) in counts, where neither difference is one of numbers that are nearly alike:
    /// 2 (ad - bc) / ((a + b)(b + d) + (a + c)(c + d)).
    #[must_use]
    pub fn cohen_kappa(self) -> Option<f64> {
        let Self {
            both: a,
            first: b,
            second: c,
            neither: d,
        } = self;
        let product = |x: u64, y: u64| u128::from(x) * u128::from(y);
        let (agreed, differed) = (product(a, d), product(b, c));
        let sum = |x: u64, y: u64| x as f64 + y as f64;
        let beyond_chance = sum(a, b) * sum(b, d) + sum(a, c) * sum(c, d);
        let size = 2.0 * agreed.abs_diff(differed) as f64;
        (beyond_chance > 0.0).then(|| {
            if agreed < differed {
                -size / beyond_chance
            } else {
                size / beyond_chance
            }
        })
    }

    /// Gwet's AC1 (2008): agreement beyond chance that does not collapse when one answer is rare. `None` without items.
    #[must_use]
    pub fn gwet_ac1(self) -> Option<f64> {
        let [both, first, second, neither] =
            [self.both, self.first, self.second, self.neither].map(|count| count as f64);
        let n = both + first + second + neither;
        if n == 0.0 {
            return None;
        }
        let mean = (both + (first + second) / 2.0) / n;
        let other = (neither + (first + second) / 2.0) / n;
        Some(1.0 - (first + second) / n / (1.0 - 2.0 * mean * other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_and_ac1() {
        let raters = |both, first, second, neither| Raters {
            both,
            first,
            second,
            neither,
        };
        assert!((raters(20, 5, 10, 15).cohen_kappa().unwrap() - 0.4).abs() < 1e-12);
        assert!((raters(152, 8, 12, 28).cohen_kappa().unwrap() - 0.675325).abs() < 1e-6);
        let rare = raters(190, 3, 5, 2);
        assert!((rare.cohen_kappa().unwrap() - 0.313305).abs() < 1e-6);
        assert!((rare.gwet_ac1().unwrap() - 0.957528).abs() < 1e-6);
        assert_eq!(raters(0, 0, 0, 0).gwet_ac1(), None);
        assert_eq!(
            (
                raters(9, 0, 0, 0).cohen_kappa(),
                raters(9, 0, 0, 0).gwet_ac1()
            ),
            (None, Some(1.0))
        );
    }
}
