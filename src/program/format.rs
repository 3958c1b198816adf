//! Numbers and names in the words of a person.

use crate::program::page::tiles::{SparkDay, Tile};

/// A number in its unit: `93.1%`, `$0.27`, `2,340 ms`. None is a dash.
pub fn value(value: Option<f64>, unit: &str) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return "\u{2013}".to_owned();
    };
    match unit {
        "fraction" => format!("{}%", decimals(value * 100.0, 1)),
        "usd" => dollars(value),
        "ms" => format!("{} ms", decimals(value, 0)),
        "s" if value >= 120.0 => format!("{} min", decimals(value / 60.0, 1)),
        "s" => format!("{} s", decimals(value, 1)),
        "points" => decimals(value, 1),
        _ => decimals(
            value,
            if value.abs() < 100.0 && value.fract() != 0.0 {
                1
            } else {
                0
            },
        ),
    }
}

/// US dollars: more decimals where there is less money.
fn dollars(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 10_000.0 => 0,
        v if v >= 0.1 || v == 0.0 => 2,
        v if v >= 0.01 => 3,
        _ => 4,
    };
    let sign = if value < 0.0 { "\u{2212}" } else { "" };
    format!("{sign}${}", decimals(value.abs(), places))
}

/// A number with so many decimals and commas between the thousands.
pub fn decimals(value: f64, places: usize) -> String {
    let text = format!("{:.places$}", value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::with_capacity(text.len() + whole.len() / 3);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let sign = if value < 0.0 && !is_zero {
        "\u{2212}"
    } else {
        ""
    };
    format!("{sign}{grouped}{fraction}")
}

/// A metric's name in words: `task_success_rate` is "Task success rate", `cost_per_unit_usd` "Cost per unit".
pub fn metric(name: &str) -> String {
    let bare = ["_usd", "_ms", "_s"]
        .iter()
        .find_map(|unit| name.strip_suffix(unit))
        .unwrap_or(name);
    let words = bare.replace('_', " ");
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// A verdict in words.
pub fn verdict(name: &str) -> &str {
    match name {
        "pass" => "Pass",
        "breach" => "Breach",
        "inconclusive" => "Inconclusive",
        "no_data" => "No data",
        other => other,
    }
}

/// The line, with its direction: `at least 92.0%`.
pub fn threshold(threshold: Option<f64>, direction: &str, unit: &str) -> String {
    match threshold {
        Some(line) => format!(
            "{} {}",
            if direction == "+" {
                "at least"
            } else {
                "at most"
            },
            value(Some(line), unit)
        ),
        None => "no threshold".to_owned(),
    }
}

/// A moment that [`crate::program::text::moment_of`] read.
pub fn moment(moment: Option<&str>) -> &str {
    moment.unwrap_or("never")
}

/// A duration as a person says it: `4 minutes`.
pub fn lag(seconds: f64) -> String {
    let count = |number: f64, word: &str| {
        let number = number.floor();
        format!("{number} {word}{}", if number == 1.0 { "" } else { "s" })
    };
    match seconds.max(0.0) {
        s if s < 60.0 => "less than a minute".to_owned(),
        s if s < 3600.0 => count(s / 60.0, "minute"),
        s if s < 2.0 * 86_400.0 => count(s / 3600.0, "hour"),
        s => count(s / 86_400.0, "day"),
    }
}

/// A spark in text: eight heights, a dot where a day has no value.
pub fn spark(days: &[SparkDay]) -> String {
    const HEIGHTS: [char; 8] = [
        '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}',
        '\u{2588}',
    ];
    let values = || days.iter().filter_map(|day| day.value);
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    days.iter()
        .map(|day| match day.value {
            None => '\u{b7}',
            Some(_) if high <= low => HEIGHTS[3],
            Some(value) => {
                let height = ((value - low) / (high - low) * 7.0).round();
                HEIGHTS.get(height as usize).copied().unwrap_or('?')
            }
        })
        .collect()
}

/// One line a tile: agent, metric, value, threshold, verdict, owner, thirty days.
pub fn tile(tile: &Tile) -> String {
    format!(
        "{:<13} {:<20} {:>9}  {:<16} {:<13} {:<19} {}",
        tile.agent_id,
        tile.metric,
        value(tile.value, &tile.unit),
        threshold(tile.threshold, &tile.direction, &tile.unit),
        tile.verdict,
        tile.owner.as_deref().unwrap_or("nobody"),
        spark(&tile.spark)
    )
}

/// A part of a path: everything but letters, digits and `-._~` as percent signs.
pub fn encoded(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte))
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    #[test]
    fn any_agent_id_can_be_in_a_path() {
        assert_eq!(encoded("a/b c?<\u{e9}>"), "a%2Fb%20c%3F%3C%C3%A9%3E");
        assert_eq!(encoded("support-bot_1.2~x"), "support-bot_1.2~x");
    }

    #[test]
    fn values_are_in_their_unit() {
        for (number, unit, text) in [
            (0.9312, "fraction", "93.1%"),
            (1.0, "fraction", "100.0%"),
            (0.2655, "usd", "$0.27"),
            (0.0412, "usd", "$0.041"),
            (0.0, "usd", "$0.00"),
            (1234.5, "usd", "$1,234.50"),
            (-12.5, "usd", "\u{2212}$12.50"),
            (2_345_678.0, "usd", "$2,345,678"),
            (2340.4, "ms", "2,340 ms"),
            (59.96, "s", "60.0 s"),
            (600.0, "s", "10.0 min"),
            (1_234_567.0, "count", "1,234,567"),
            (12.34, "count", "12.3"),
            (-3.2, "points", "\u{2212}3.2"),
            (-0.0001, "points", "0.0"),
        ] {
            assert_eq!(value(Some(number), unit), text, "{number} {unit}");
        }
        assert_eq!(value(None, "usd"), "\u{2013}");
        assert_eq!(value(Some(f64::NAN), "usd"), "\u{2013}");
    }

    #[test]
    fn names_are_in_words() {
        assert_eq!(metric("task_success_rate"), "Task success rate");
        assert_eq!(metric("cost_per_unit_usd"), "Cost per unit");
        assert_eq!(metric("latency_p95_ms"), "Latency p95");
        assert_eq!(metric("time_to_resolution_p50_s"), "Time to resolution p50");
        assert_eq!(threshold(Some(0.92), "+", "fraction"), "at least 92.0%");
        assert_eq!(threshold(Some(0.4), "-", "usd"), "at most $0.40");
        assert_eq!(threshold(None, "-", "usd"), "no threshold");
    }

    #[test]
    fn lags_are_rounded_down() {
        for (seconds, text) in [
            (-5.0, "less than a minute"),
            (61.0, "1 minute"),
            (3599.0, "59 minutes"),
            (90_000.0, "25 hours"),
            (200_000.0, "2 days"),
        ] {
            assert_eq!(lag(seconds), text);
        }
    }

    #[test]
    fn a_spark_has_a_dot_where_a_day_has_no_value() {
        let days = |values: &[Option<f64>]| -> Vec<SparkDay> {
            values
                .iter()
                .map(|&value| SparkDay {
                    day: NaiveDate::default(),
                    value,
                    threshold: None,
                })
                .collect()
        };
        assert_eq!(
            spark(&days(&[Some(0.0), None, Some(7.0), Some(3.5)])),
            "\u{2581}\u{b7}\u{2588}\u{2585}"
        );
        assert_eq!(spark(&days(&[Some(2.0), Some(2.0)])), "\u{2584}\u{2584}");
        assert_eq!(spark(&days(&[None, None])), "\u{b7}\u{b7}");
        assert_eq!(spark(&[]), "");
    }
}
