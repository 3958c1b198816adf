//! Thirty days as a line: inline SVG with the threshold dashed, and a gap where a day has no value.

use maud::{Markup, html};

use crate::program::format;
use crate::program::page::tiles::{SparkDay, Tile};

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 76.0;
const MARGIN: f64 = 6.0;

/// The spark of a tile; nothing but the threshold when no day has a value.
pub fn svg(tile: &Tile) -> Markup {
    let Some(scale) = Scale::of(&tile.spark) else {
        return html! {};
    };
    let lines = runs(&tile.spark, |day| day.value);
    let thresholds = runs(&tile.spark, |day| day.threshold);
    let wrong = |day: &SparkDay| match (day.value, day.threshold) {
        (Some(value), Some(threshold)) => {
            if tile.direction == "+" {
                value < threshold
            } else {
                value > threshold
            }
        }
        _ => false,
    };
    let last = tile
        .spark
        .iter()
        .enumerate()
        .rev()
        .find_map(|(i, day)| day.value.map(|value| (i, value)));
    html! {
        svg.spark viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(description(tile)) {
            @for line in &thresholds {
                path.line d=(scale.path(line)) {}
            }
            @for line in lines.iter().filter(|line| line.len() > 1) {
                path.days d=(scale.path(line)) {}
            }
            @for line in lines.iter().filter(|line| line.len() == 1) {
                @for (i, value) in line {
                    circle.day cx=(scale.x(*i)) cy=(scale.y(*value)) r="1.8" {}
                }
            }
            @for (i, day) in tile.spark.iter().enumerate().filter(|(_, day)| wrong(day)) {
                circle.wrong cx=(scale.x(i)) cy=(scale.y(day.value.unwrap_or_default())) r="2" {}
            }
            @if let Some((i, value)) = last {
                circle.last cx=(scale.x(i)) cy=(scale.y(value)) r="3" {}
            }
        }
    }
}

/// What the spark shows, for who does not see it.
fn description(tile: &Tile) -> String {
    let values: Vec<f64> = tile.spark.iter().filter_map(|day| day.value).collect();
    let (low, high) = (
        values.iter().copied().reduce(f64::min),
        values.iter().copied().reduce(f64::max),
    );
    let missing = tile.spark.len() - values.len();
    let gaps = if missing == 0 {
        String::new()
    } else {
        format!(", {missing} without a value")
    };
    format!(
        "{} days{gaps}: lowest {}, highest {}, latest {}",
        tile.spark.len(),
        format::value(low, &tile.unit),
        format::value(high, &tile.unit),
        format::value(values.last().copied(), &tile.unit)
    )
}

/// Days in a row that have a value.
fn runs(days: &[SparkDay], of: impl Fn(&SparkDay) -> Option<f64>) -> Vec<Vec<(usize, f64)>> {
    let mut runs: Vec<Vec<(usize, f64)>> = Vec::new();
    let mut previous = None;
    for (i, day) in days.iter().enumerate() {
        if let Some(value) = of(day) {
            match runs
                .last_mut()
                .filter(|_| previous == Some(i.wrapping_sub(1)))
            {
                Some(run) => run.push((i, value)),
                None => runs.push(vec![(i, value)]),
            }
            previous = Some(i);
        }
    }
    runs
}

/// From days and values to places.
struct Scale {
    days: usize,
    low: f64,
    high: f64,
}

impl Scale {
    /// Values and thresholds fit in; None when there is neither.
    fn of(days: &[SparkDay]) -> Option<Self> {
        let all = || {
            days.iter()
                .flat_map(|day| [day.value, day.threshold])
                .flatten()
                .filter(|value| value.is_finite())
        };
        let (low, high) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
        let (low, high) = if high > low {
            (low, high)
        } else {
            (low - 1.0, high + 1.0)
        };
        Some(Self {
            days: days.len(),
            low,
            high,
        })
    }

    fn x(&self, day: usize) -> f64 {
        let share = day as f64 / (self.days.max(2) - 1) as f64;
        round(MARGIN + share * (WIDTH - 2.0 * MARGIN))
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        round(HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN))
    }

    fn path(&self, points: &[(usize, f64)]) -> String {
        let place = |(i, value): &(usize, f64)| format!("{} {}", self.x(*i), self.y(*value));
        let mut path = format!(
            "M{}",
            points.iter().map(place).collect::<Vec<_>>().join("L")
        );
        if let [(0, only)] = points {
            path.push_str(&format!("H{}", self.y(*only)));
        }
        path
    }
}

fn round(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Days, NaiveDate};

    fn days(values: &[Option<f64>]) -> Vec<SparkDay> {
        let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        let day = |(i, &value): (usize, &Option<f64>)| SparkDay {
            day: first + Days::new(i as u64),
            value,
            threshold: Some(0.5),
        };
        values.iter().enumerate().map(day).collect()
    }

    #[test]
    fn a_day_without_a_value_breaks_the_line() {
        let runs = runs(
            &days(&[
                Some(1.0),
                Some(2.0),
                None,
                Some(3.0),
                None,
                None,
                Some(4.0),
                Some(5.0),
            ]),
            |day| day.value,
        );
        assert_eq!(
            runs,
            [
                vec![(0, 1.0), (1, 2.0)],
                vec![(3, 3.0)],
                vec![(6, 4.0), (7, 5.0)]
            ]
        );
    }

    #[test]
    fn everything_lies_within_the_picture() {
        let days = days(&[Some(-3.0), Some(12.0), None, Some(0.1)]);
        let scale = Scale::of(&days).unwrap();
        for (i, value) in [(0, -3.0), (1, 12.0), (3, 0.1), (3, 0.5)] {
            assert!((MARGIN..=WIDTH - MARGIN).contains(&scale.x(i)), "{i}");
            assert!(
                (MARGIN..=HEIGHT - MARGIN).contains(&scale.y(value)),
                "{value}"
            );
        }
        assert!(scale.y(12.0) < scale.y(-3.0), "more is higher");
        assert!(Scale::of(&[]).is_none());
        assert!(Scale::of(&days[..1]).is_some_and(|scale| scale.x(0).is_finite()));
    }
}
