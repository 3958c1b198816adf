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
    /// Shares: agreement, yes of the first, yes of the second. `None` without items.
    fn shares(self) -> Option<(f64, f64, f64)> {
        let n = [self.both, self.first, self.second, self.neither]
            .map(|count| count as f64)
            .iter()
            .sum::<f64>();
        (n > 0.0).then(|| {
            let share = |a: u64, b: u64| (a as f64 + b as f64) / n;
            (
                share(self.both, self.neither),
                share(self.both, self.first),
                share(self.both, self.second),
            )
        })
    }

    /// Cohen's kappa (1960): agreement beyond chance, chance being each rater's own habit. `None` where chance explains
    /// all, as when both always say the same.
    #[must_use]
    pub fn cohen_kappa(self) -> Option<f64> {
        let (agreed, one, two) = self.shares()?;
        let chance = one * two + (1.0 - one) * (1.0 - two);
        (chance < 1.0).then(|| (agreed - chance) / (1.0 - chance))
    }

    /// Gwet's AC1 (2008): agreement beyond chance that does not collapse when one answer is rare.
    #[must_use]
    pub fn gwet_ac1(self) -> Option<f64> {
        let (agreed, one, two) = self.shares()?;
        let mean = (one + two) / 2.0;
        let chance = 2.0 * mean * (1.0 - mean);
        Some((agreed - chance) / (1.0 - chance))
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
