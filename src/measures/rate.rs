//! A rate: hits out of a total, written `184/200`.

use super::statistics::{self, Interval};
use std::cmp::Ordering;

/// What can go wrong with a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Text that is no rate.
    #[error("invalid rate: \"{0}\"")]
    Text(String),
    /// More hits than the total, or a negative number.
    #[error("impossible rate: {0} hits of {1}")]
    Impossible(i64, i64),
    /// A difference that is no rate.
    #[error("impossible rate: {0} - {1}")]
    Difference(Rate, Rate),
    /// A sum beyond 64 bits.
    #[error("a rate cannot count more than 9223372036854775807")]
    Overflow,
}

/// Hits and total, `0 <= hits <= total`. Sixteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rate {
    hits: i64,
    total: i64,
}

impl Rate {
    /// A rate of `hits` out of `total`.
    pub fn new(hits: i64, total: i64) -> Result<Self, RateError> {
        if (0..=total).contains(&hits) {
            Ok(Self { hits, total })
        } else {
            Err(RateError::Impossible(hits, total))
        }
    }

    /// Hits.
    #[must_use]
    pub fn hits(self) -> i64 {
        self.hits
    }

    /// Total.
    #[must_use]
    pub fn total(self) -> i64 {
        self.total
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Result<Self, RateError> {
        let hits = self
            .hits
            .checked_add(other.hits)
            .ok_or(RateError::Overflow)?;
        let total = self
            .total
            .checked_add(other.total)
            .ok_or(RateError::Overflow)?;
        Ok(Self { hits, total })
    }

    /// What is left of this when `other`, a part of it, is taken out.
    pub fn minus(self, other: Self) -> Result<Self, RateError> {
        // Neither difference can wrap: both sides lie between 0 and 2^63 - 1.
        Self::new(self.hits - other.hits, self.total - other.total)
            .map_err(|_| RateError::Difference(self, other))
    }

    /// The quotient, 0 to 1; `None` where there is no denominator.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        (self.total > 0).then(|| self.hits as f64 / self.total as f64)
    }

    /// Wilson interval at `confidence` (between 0 and 1, as 0.95); `None` where there is no denominator.
    #[must_use]
    pub fn wilson(self, confidence: f64) -> Option<Interval> {
        statistics::wilson(self.hits as u64, self.total as u64, confidence)
    }
}

/// By the quotient, exactly; then by the total. A rate without a denominator comes last, as NULL does.
impl Ord for Rate {
    fn cmp(&self, other: &Self) -> Ordering {
        let crossed = |a: &Self, b: &Self| i128::from(a.hits) * i128::from(b.total);
        (self.total == 0)
            .cmp(&(other.total == 0))
            .then_with(|| crossed(self, other).cmp(&crossed(other, self)))
            .then_with(|| self.total.cmp(&other.total))
    }
}

impl PartialOrd for Rate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.hits, self.total)
    }
}

impl std::str::FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let bad = || RateError::Text(text.to_owned());
        let (hits, total) = text.trim().split_once('/').ok_or_else(bad)?;
        let number = |part: &str| part.trim().parse::<i64>().map_err(|_| bad());
        Self::new(number(hits)?, number(total)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_fractions() {
        let mut rates: Vec<Rate> = ["0/0", "2/2", "1/2", "0/5", "2/4", "1/3", "0/1"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        rates.sort();
        let texts: Vec<String> = rates.iter().map(Rate::to_string).collect();
        assert_eq!(texts, ["0/1", "0/5", "1/3", "1/2", "2/4", "2/2", "0/0"]);
        let (a, b) = (i64::MAX, i64::MAX - 1);
        assert!(Rate::new(b, a).unwrap() > Rate::new(b - 1, b).unwrap());
    }

    #[test]
    fn text_and_sum() {
        let rate: Rate = "184/200".parse().unwrap();
        assert_eq!(rate.to_string(), "184/200");
        assert_eq!(rate.plus("0/0".parse().unwrap()).unwrap(), rate);
        assert_eq!(rate.value(), Some(0.92));
        for bad in ["", "1", "2/1", "-1/2", "1/2/3", "a/b"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        let huge = Rate::new(1, i64::MAX).unwrap();
        assert_eq!(huge.plus(rate), Err(RateError::Overflow));
        assert_eq!(rate.plus(rate).unwrap().minus(rate), Ok(rate));
        assert!(rate.minus(huge).is_err());
        assert!(
            Rate::new(1, 2)
                .unwrap()
                .minus(Rate::new(0, 2).unwrap())
                .is_err()
        );
    }
}
