//! When an agent is due: a five-field crontab expression in a named time zone.
//!
//! Purpose: one answer to "when next?", used by the extension (`next_due`, `check_cadence`) and so by the
//! scheduler, which asks the extension.
//!
//! The expression is the one of everyday crontabs: `minute hour day-of-month month day-of-week`, with lists,
//! ranges, steps and names; 0 and 7 are both Sunday; when both day fields are restricted (neither begins with
//! `*`) either suffices. The `cron` crate wants seconds first, counts days of the week from Sunday = 1 and
//! demands both day fields; so each field is expanded here to a plain list of numbers, and an either-day
//! expression becomes two schedules of which the earlier firing counts.
//!
//! Clock changes follow the old cron rule. An expression with a fixed hour fires once on every day it names: in
//! the hour that is skipped, as soon as the clock has jumped; in the hour that comes twice, the first time. One
//! whose hour field begins with `*` follows real time: nothing in the skipped hour, both of the repeated ones.
//!
//! State: none. Failure: [`CadenceError`], with a message, a detail and a hint.

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::offset::MappedLocalTime;
use chrono::{DateTime, Datelike, Duration, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use cron::Schedule;
use thiserror::Error;

/// Two refreshes of one agent are never closer than this.
pub const SHORTEST_MINUTES: u32 = 5;

/// No expression and no name of a zone is longer, in bytes: every number of every field in words has fewer.
pub const LONGEST: usize = 1_000;

/// The schedules know the years from 1970 to this.
const LAST_YEAR: i32 = 2100;

/// No clock is set back further than this in one step.
const LONGEST_STEP_BACK_HOURS: i64 = 3;

/// Why a cadence is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CadenceError {
    /// The expression is no five-field crontab expression, or one that never fires.
    #[error("broken cadence \"{cron}\"")]
    Broken {
        /// The expression as given.
        cron: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two firings are closer than [`SHORTEST_MINUTES`].
    #[error("cadence \"{cron}\" fires more often than every {SHORTEST_MINUTES} minutes")]
    TooFrequent {
        /// The expression as given.
        cron: String,
        /// The shortest time between two firings, in minutes.
        minutes: u32,
        /// Where that happens: from one wall clock time to the next.
        between: String,
    },
    /// The time zone is not in the IANA database.
    #[error("unknown time zone \"{time_zone}\"")]
    UnknownTimeZone {
        /// The name as given.
        time_zone: String,
    },
}

impl CadenceError {
    /// What is wrong, in one sentence.
    pub fn detail(&self) -> String {
        match self {
            Self::Broken { reason, .. } => reason.clone(),
            Self::TooFrequent {
                minutes, between, ..
            } => {
                let plural = if *minutes == 1 { "" } else { "s" };
                format!("From {between} it is only {minutes} minute{plural}.")
            }
            Self::UnknownTimeZone { .. } => {
                "The IANA time zone database has no zone of that name.".to_owned()
            }
        }
    }

    /// What to do about it, in one sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::Broken { .. } => {
                "Write five fields: minute hour day-of-month month day-of-week, \
                 such as \"*/5 * * * *\" or \"0 6 * * mon-fri\"."
            }
            Self::TooFrequent { .. } => {
                "The finest bucket is 5 minutes long, so a faster refresh shows nothing new. \
                 Use \"*/5 * * * *\" or slower."
            }
            Self::UnknownTimeZone { .. } => {
                "Use a name such as UTC, Europe/Berlin or America/New_York."
            }
        }
        .to_owned()
    }
}

/// A checked cadence: when to refresh, on the wall clock of a time zone.
#[derive(Debug, Clone)]
pub struct Cadence {
    /// One schedule, or two when both day fields are restricted. They run on the wall clock taken for UTC.
    schedules: Vec<Schedule>,
    zone: Tz,
    follows_real_time: bool,
}

impl Cadence {
    /// Reads an expression and a time zone, and refuses what fires more often than every five minutes.
    pub fn parse(cron: &str, time_zone: &str) -> Result<Self, CadenceError> {
        let broken = |reason: String| CadenceError::Broken {
            cron: cron.to_owned(),
            reason,
        };
        let beginning = |text: &str| text.chars().take(80).collect::<String>();
        if cron.len() > LONGEST {
            return Err(CadenceError::Broken {
                cron: beginning(cron),
                reason: format!("It is longer than {LONGEST} bytes."),
            });
        }
        if time_zone.len() > LONGEST {
            return Err(CadenceError::UnknownTimeZone {
                time_zone: beginning(time_zone),
            });
        }
        let fields: Vec<&str> = cron.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(broken(format!(
                "It has {} fields where there must be five.",
                fields.len()
            )));
        };
        let minutes = MINUTE.expand(minute).map_err(broken)?;
        let hours = HOUR.expand(hour).map_err(broken)?;
        let days = DAY.expand(day).map_err(broken)?;
        let months = MONTH.expand(month).map_err(broken)?;
        let weekdays: BTreeSet<u32> = WEEKDAY
            .expand(weekday)
            .map_err(broken)?
            .iter()
            .map(|d| d % 7 + 1)
            .collect();

        let either_day = !day.starts_with('*') && !weekday.starts_with('*');
        let day_pairs = if either_day {
            vec![
                (list(&days), "*".to_owned()),
                ("*".to_owned(), list(&weekdays)),
            ]
        } else {
            vec![(list(&days), list(&weekdays))]
        };
        let schedules = day_pairs
            .into_iter()
            .map(|(days, weekdays)| {
                let six = format!(
                    "0 {} {} {days} {} {weekdays}",
                    list(&minutes),
                    list(&hours),
                    list(&months)
                );
                Schedule::from_str(&six)
                    .map_err(|error| broken(format!("It cannot be read: {error}.")))
            })
            .collect::<Result<Vec<_>, _>>()?;

        let zone = Tz::from_str(time_zone).map_err(|_| CadenceError::UnknownTimeZone {
            time_zone: time_zone.to_owned(),
        })?;
        let cadence = Self {
            schedules,
            zone,
            follows_real_time: hour.starts_with('*'),
        };
        let eve = DateTime::UNIX_EPOCH.naive_utc() - Duration::seconds(1);
        let Some(first) = cadence.wall_after(eve) else {
            return Err(broken("No such day ever comes.".to_owned()));
        };
        match cadence.too_close(first) {
            Some((from, to)) => Err(CadenceError::TooFrequent {
                cron: cron.to_owned(),
                minutes: u32::try_from((to - from).num_minutes()).unwrap_or(0),
                between: format!("{} to {}", from.format("%H:%M"), to.format("%H:%M")),
            }),
            None => Ok(cadence),
        }
    }

    /// The first firing strictly after a moment; None when there is none before the year 2100.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // A moment at the end of time has no wall clock time in a zone ahead of UTC.
        if after.year() > LAST_YEAR {
            return None;
        }
        let after = after.max(DateTime::UNIX_EPOCH);
        let here = after.with_timezone(&self.zone).naive_local();
        let mut wall = here.checked_sub_signed(Duration::hours(LONGEST_STEP_BACK_HOURS))?;
        let mut best: Option<DateTime<Utc>> = None;
        while let Some(next) = self.wall_after(wall) {
            wall = next;
            let (first, second) = self.instants(wall);
            // The first instant of a wall time never comes before that of an earlier wall time.
            if let (Some(best), Some(first)) = (best, first)
                && first >= best
            {
                break;
            }
            best = [best, first, second]
                .into_iter()
                .flatten()
                .filter(|instant| *instant > after)
                .min();
        }
        best
    }

    /// The next wall clock time that the expression names.
    fn wall_after(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let as_utc = Utc.from_utc_datetime(&wall);
        self.schedules
            .iter()
            .filter_map(|schedule| schedule.after(&as_utc).next())
            .min()
            .map(|next| next.naive_utc())
    }

    /// When a wall clock time happens: usually once, but see the module's words on clock changes.
    fn instants(&self, wall: NaiveDateTime) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
        match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(only) => (Some(only.to_utc()), None),
            MappedLocalTime::Ambiguous(first, second) => (
                Some(first.to_utc()),
                self.follows_real_time.then(|| second.to_utc()),
            ),
            MappedLocalTime::None if self.follows_real_time => (None, None),
            MappedLocalTime::None => (self.end_of_gap(wall), None),
        }
    }

    /// The moment at which the clock has jumped over a wall clock time that does not exist.
    fn end_of_gap(&self, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
        // A day is the longest jump there was: Samoa left out 30 December 2011.
        (1..=25 * 60).find_map(|minutes| {
            let later = wall.checked_add_signed(Duration::minutes(minutes))?;
            self.zone
                .from_local_datetime(&later)
                .earliest()
                .map(|instant| instant.to_utc())
        })
    }

    /// Two firings in a row that are closer than allowed. `first` is any day's first firing.
    fn too_close(&self, first: NaiveDateTime) -> Option<(NaiveDateTime, NaiveDateTime)> {
        let shortest = Duration::minutes(i64::from(SHORTEST_MINUTES));
        // Inside a day all firing days are alike, so one of them shows every gap.
        let mut at = first;
        while let Some(next) = self
            .wall_after(at)
            .filter(|next| next.date() == first.date())
        {
            if next - at < shortest {
                return Some((at, next));
            }
            at = next;
        }
        // Across midnight it takes two firing days in a row: look for them in eight years, leap days included.
        let (morning, evening) = (first.time(), at.time());
        let night = (morning - evening) + Duration::days(1);
        if night >= shortest {
            return None;
        }
        first
            .date()
            .iter_days()
            .take(8 * 366)
            .map(|day| day.and_time(evening))
            .find_map(|late| {
                let fires = self.wall_after(late - Duration::seconds(1)) == Some(late);
                let next = self.wall_after(late)?;
                (fires && next - late < shortest).then_some((late, next))
            })
    }
}

/// One of the five fields: its name in messages, its range and its names.
struct Field {
    name: &'static str,
    lowest: u32,
    highest: u32,
    names: &'static [&'static str],
}

const MINUTE: Field = Field {
    name: "minute",
    lowest: 0,
    highest: 59,
    names: &[],
};
const HOUR: Field = Field {
    name: "hour",
    lowest: 0,
    highest: 23,
    names: &[],
};
const DAY: Field = Field {
    name: "day of month",
    lowest: 1,
    highest: 31,
    names: &[],
};
const MONTH: Field = Field {
    name: "month",
    lowest: 1,
    highest: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
const WEEKDAY: Field = Field {
    name: "day of week",
    lowest: 0,
    highest: 7,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Field {
    /// The numbers a field names: a list of `*`, `a`, `a-b`, each of the ranges with an optional `/step`.
    fn expand(&self, text: &str) -> Result<BTreeSet<u32>, String> {
        let mut numbers = BTreeSet::new();
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(self.step(item, step)?)),
                None => (item, None),
            };
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (self.lowest, self.highest),
                Some((from, to)) => self.range(item, from, to)?,
                None if step.is_some() => {
                    return Err(format!(
                        "In the {} field, the step of \"{item}\" needs a range before it.",
                        self.name
                    ));
                }
                None => {
                    let only = self.number(range)?;
                    (only, only)
                }
            };
            numbers.extend((from..=to).step_by(step.unwrap_or(1)));
        }
        Ok(numbers)
    }

    fn range(&self, item: &str, from: &str, to: &str) -> Result<(u32, u32), String> {
        let (from, mut to) = (self.number(from)?, self.number(to)?);
        if self.highest == 7 && to == 0 && from > 0 {
            to = 7; // fri-sun
        }
        if from > to {
            return Err(format!(
                "In the {} field, the range \"{item}\" runs backwards.",
                self.name
            ));
        }
        Ok((from, to))
    }

    fn step(&self, item: &str, step: &str) -> Result<usize, String> {
        match step.parse::<usize>() {
            Ok(step) if step > 0 && step.to_string().len() < 4 => Ok(step),
            _ => Err(format!(
                "In the {} field, the step of \"{item}\" is no whole number above 0.",
                self.name
            )),
        }
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        let named = self
            .names
            .iter()
            .position(|name| *name == lower)
            .and_then(|position| u32::try_from(position).ok());
        let number = match named {
            Some(position) => Some(if self.lowest == 1 {
                position + 1
            } else {
                position
            }),
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            None => None,
        };
        number
            .filter(|number| (self.lowest..=self.highest).contains(number))
            .ok_or_else(|| {
                format!(
                    "In the {} field, \"{text}\" is not within {} to {}.",
                    self.name, self.lowest, self.highest
                )
            })
    }
}

/// Numbers as the `cron` crate reads them.
fn list(numbers: &BTreeSet<u32>) -> String {
    numbers
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{Timelike, Weekday};

    fn cadence(cron: &str, zone: &str) -> Cadence {
        Cadence::parse(cron, zone).unwrap()
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    /// The firings after a moment, as local wall clock times.
    fn firings(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let cadence = cadence(cron, zone);
        let mut moment = at(after);
        (0..count)
            .map(|_| {
                moment = cadence.next_after(moment).unwrap();
                moment
                    .with_timezone(&cadence.zone)
                    .format("%d %H:%M %Z")
                    .to_string()
            })
            .collect()
    }

    fn refused(cron: &str) -> CadenceError {
        Cadence::parse(cron, "UTC").unwrap_err()
    }

    #[test]
    fn mondays_are_mondays() {
        for monday in ["1", "mon", "MON", "1-1"] {
            let cadence = cadence(&format!("0 6 * * {monday}"), "UTC");
            let mut moment = at("2026-01-01T00:00:00Z");
            for _ in 0..60 {
                moment = cadence.next_after(moment).unwrap();
                assert_eq!((moment.weekday(), moment.hour()), (Weekday::Mon, 6));
            }
        }
    }

    #[test]
    fn sunday_is_0_and_7() {
        for (cron, days) in [
            ("0", "Sun"),
            ("7", "Sun"),
            ("sun", "Sun"),
            ("5-7", "Fri Sat Sun"),
            ("fri-sun", "Fri Sat Sun"),
        ] {
            let cadence = cadence(&format!("0 6 * * {cron}"), "UTC");
            let mut moment = at("2026-01-01T00:00:00Z");
            for expected in days.split(' ').cycle().take(9) {
                moment = cadence.next_after(moment).unwrap();
                assert_eq!(moment.weekday().to_string(), expected, "{cron}");
            }
        }
    }

    #[test]
    fn either_day_field_suffices() {
        // Friday the 13th is not meant: every 13th and every Friday. 13 January 2026 is a Tuesday.
        assert_eq!(
            firings("0 0 13 * fri", "UTC", "2026-01-08T12:00:00Z", 4),
            [
                "09 00:00 UTC",
                "13 00:00 UTC",
                "16 00:00 UTC",
                "23 00:00 UTC"
            ]
        );
        // A field that begins with a star restricts together with the other: odd days that are Fridays.
        assert_eq!(
            firings("0 0 */2 * fri", "UTC", "2026-01-08T12:00:00Z", 3),
            ["09 00:00 UTC", "23 00:00 UTC", "13 00:00 UTC"]
        );
    }

    #[test]
    fn next_is_strictly_after() {
        assert_eq!(
            firings("*/5 * * * *", "UTC", "2026-01-08T12:05:00Z", 2),
            ["08 12:10 UTC", "08 12:15 UTC"]
        );
        assert_eq!(
            firings("*/5 * * * *", "UTC", "2026-01-08T12:04:59.9Z", 1),
            ["08 12:05 UTC"]
        );
    }

    #[test]
    fn the_zone_decides_the_hour() {
        let berlin = cadence("0 6 * * *", "Europe/Berlin");
        assert_eq!(
            berlin.next_after(at("2026-01-08T12:00:00Z")),
            Some(at("2026-01-09T05:00:00Z"))
        );
        assert_eq!(
            berlin.next_after(at("2026-07-08T12:00:00Z")),
            Some(at("2026-07-09T04:00:00Z"))
        );
    }

    #[test]
    fn a_skipped_hour_fires_when_the_clock_has_jumped() {
        assert_eq!(
            firings("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2),
            ["29 03:00 CEST", "30 02:30 CEST"]
        );
        // Real time: 01:45 is followed by 03:00.
        assert_eq!(
            firings("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", 3),
            ["29 01:45 CET", "29 03:00 CEST", "29 03:15 CEST"]
        );
    }

    #[test]
    fn a_repeated_hour_fires_once_or_in_real_time() {
        assert_eq!(
            firings("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["25 02:30 CEST", "26 02:30 CET"]
        );
        assert_eq!(
            firings("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z", 6),
            [
                "25 02:00 CEST",
                "25 02:30 CEST",
                "25 02:00 CET",
                "25 02:30 CET",
                "25 03:00 CET",
                "25 03:30 CET"
            ]
        );
        // Half an hour back, at Lord Howe Island.
        assert_eq!(
            firings(
                "*/15 * * * *",
                "Australia/Lord_Howe",
                "2026-04-04T14:30:00Z",
                4
            ),
            [
                "05 01:45 +11",
                "05 01:30 +1030",
                "05 01:45 +1030",
                "05 02:00 +1030"
            ]
        );
    }

    #[test]
    fn a_day_that_never_was_is_made_up_for_at_its_end() {
        assert_eq!(
            firings("0 6 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", 3),
            ["29 06:00 -10", "31 00:00 +14", "31 06:00 +14"]
        );
    }

    #[test]
    fn too_frequent_is_refused() {
        for (cron, minutes, between) in [
            ("* * * * *", 1, "00:00 to 00:01"),
            ("*/4 * * * *", 4, "00:00 to 00:04"),
            ("*/7 * * * *", 4, "00:56 to 01:00"),
            ("0,58 3-4 * * *", 2, "03:58 to 04:00"),
            ("58,0 0,23 * * *", 2, "23:58 to 00:00"),
            ("58,0 0,23 1,2 * *", 2, "23:58 to 00:00"),
            ("58,0 0,23 31 12 4", 2, "23:58 to 00:00"),
        ] {
            let error = refused(cron);
            assert_eq!(
                error.to_string(),
                format!("cadence \"{cron}\" fires more often than every 5 minutes")
            );
            let plural = if minutes == 1 { "" } else { "s" };
            assert_eq!(
                error.detail(),
                format!("From {between} it is only {minutes} minute{plural}.")
            );
            assert!(error.hint().contains("5 minutes"));
        }
        for fine in [
            "*/5 * * * *",
            "*/6 * * * *",
            "3-58/5 * * * *",
            "58,0 0,23 1,15 * *",
            "0,58 3 * * *",
            "0 0 29 2 *",
        ] {
            cadence(fine, "UTC");
        }
    }

    #[test]
    fn broken_expressions_say_where() {
        for (cron, reason) in [
            ("", "It has 0 fields"),
            ("* * * *", "It has 4 fields"),
            ("0 */5 * * * *", "It has 6 fields"),
            ("@daily", "It has 1 fields"),
            (
                "61 * * * *",
                "In the minute field, \"61\" is not within 0 to 59.",
            ),
            ("0 24 * * *", "In the hour field, \"24\""),
            ("0 0 0 * *", "In the day of month field, \"0\""),
            ("0 0 * 13 *", "In the month field, \"13\""),
            ("0 0 * foo *", "In the month field, \"foo\""),
            ("0 0 * * 8", "In the day of week field, \"8\""),
            (
                "*/0 * * * *",
                "the step of \"*/0\" is no whole number above 0",
            ),
            ("*/x * * * *", "the step of \"*/x\""),
            ("5/15 * * * *", "needs a range before it"),
            ("30-10 * * * *", "the range \"30-10\" runs backwards"),
            ("1,,2 * * * *", "In the minute field, \"\" is not within"),
            ("-5 * * * *", "In the minute field, \"\" is not within"),
            ("+5 * * * *", "In the minute field, \"+5\" is not within"),
            ("0 0 30 2 *", "No such day ever comes."),
        ] {
            let error = refused(cron);
            assert_eq!(error.to_string(), format!("broken cadence \"{cron}\""));
            assert!(
                error.detail().contains(reason),
                "{cron}: {}",
                error.detail()
            );
            assert!(error.hint().contains("five fields"));
        }
    }

    #[test]
    fn an_unknown_time_zone_is_refused() {
        for zone in ["Mars/Olympus", "", "+02:00"] {
            let error = Cadence::parse("0 * * * *", zone).unwrap_err();
            assert_eq!(
                error,
                CadenceError::UnknownTimeZone {
                    time_zone: zone.to_owned()
                }
            );
            assert_eq!(error.to_string(), format!("unknown time zone \"{zone}\""));
            assert!(error.hint().contains("Europe/Berlin"));
        }
    }
}
