//! Hours and days of a time zone: where they begin and end, whatever its clock does.
//!
//! Purpose: buckets that divide time. None overlaps another, none leaves a gap, each bucket of five minutes lies within
//! one hour and each hour within one day.
//! - A *day* begins at the first moment at which the clock shows its date, or a later one: a day without midnight
//!   begins at one o'clock, one that the clock skips has no moment, and a clock that is set back over midnight does not
//!   begin the day before once more.
//! - An *hour* begins where the clock shows a whole hour, and where it is set. So an hour that the clock shows twice is
//!   two hours, and a shift of half an hour makes a short one.
//! - *Five minutes* are counted in UTC and cut where an hour begins. Only clocks that differ from UTC by an odd number
//!   of minutes, none since 1972, cut one.
//!
//! Assumption: nobody's clock shows moments more than [`WINDOW`] apart at once. Zone data are the caller's ([`Zone`]),
//! so that the extension answers by the server's.
//!
//! State: [`Windows`] remembers between which moments a clock was not set. Failure: none; moments near the ends of time
//! saturate, and the caller checks what it was given.
//!
//! Moments are microseconds from 2000-01-01 UTC, days are counted from 2000-01-01.

use std::cmp::Reverse;

/// An hour in microseconds.
pub const HOUR: i64 = 3_600_000_000;
/// A day of 24 hours.
pub const DAY: i64 = 24 * HOUR;
const FIVE_MINUTES: i64 = HOUR / 12;
/// More than any clock differs from UTC: the server's rules allow a week.
const WINDOW: i64 = 8 * DAY;
/// How many windows are remembered: eight years of a zone with summer time.
const REMEMBERED: usize = 16;

/// What a clock does from a moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Local time less UTC.
    pub offset: i64,
    /// The first moment at which that may change; `i64::MAX`: never.
    pub ends: i64,
}

/// The clock of a zone.
pub trait Zone {
    /// What it does from a moment on.
    fn stretch(&self, at: i64) -> Stretch;
}

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Five minutes.
    Fine,
    /// An hour of the zone's clock.
    Hour,
    /// A day of the zone's clock.
    Day,
}

/// A span in which the clock was not set.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: i64,
    /// Whether the clock was set at `from`; it is not known otherwise.
    is_set: bool,
    to: i64,
    /// Whether it was set at `to`.
    is_set_again: bool,
    offset: i64,
}

/// Buckets of a zone.
#[derive(Debug)]
pub struct Windows<Z> {
    zone: Z,
    known: Vec<Window>,
}

impl<Z: Zone> Windows<Z> {
    /// Nothing is known yet.
    pub const fn new(zone: Z) -> Self {
        Self {
            zone,
            known: Vec::new(),
        }
    }

    /// First moment of the bucket that a moment lies in.
    pub fn start(&mut self, at: i64, level: Level) -> i64 {
        match level {
            Level::Fine => at
                .saturating_sub(at.rem_euclid(FIVE_MINUTES))
                .max(self.hour_start(at)),
            Level::Hour => self.hour_start(at),
            Level::Day => {
                let window = self.window(at);
                if window.from <= at.saturating_sub(WINDOW) {
                    return at.saturating_sub(at.saturating_add(window.offset).rem_euclid(DAY));
                }
                let day = self.day_of(at);
                self.day_start(day)
            }
        }
    }

    /// First moment after the bucket that a moment lies in.
    pub fn end(&mut self, at: i64, level: Level) -> i64 {
        match level {
            Level::Fine => {
                let whole = at
                    .saturating_sub(at.rem_euclid(FIVE_MINUTES))
                    .saturating_add(FIVE_MINUTES);
                whole.min(self.hour_end(at))
            }
            Level::Hour => self.hour_end(at),
            Level::Day => {
                let day = self.day_of(at);
                self.day_start(day + 1)
            }
        }
    }

    /// The day that a moment lies in: the latest date that the clock has shown by then.
    pub fn day_of(&mut self, at: i64) -> i64 {
        let window = self.window(at);
        if window.from <= at.saturating_sub(WINDOW) {
            return at.saturating_add(window.offset).div_euclid(DAY);
        }
        let mut from = at.saturating_sub(WINDOW);
        let mut day = i64::MIN;
        loop {
            let stretch = self.zone.stretch(from);
            let last = at.min(stretch.ends.saturating_sub(1));
            day = day.max(last.saturating_add(stretch.offset).div_euclid(DAY));
            if stretch.ends > at || stretch.ends == i64::MAX {
                return day;
            }
            from = stretch.ends;
        }
    }

    /// First moment of a day; of one that the clock skips, of the next.
    pub fn day_start(&self, day: i64) -> i64 {
        let midnight = day.saturating_mul(DAY);
        let mut from = midnight.saturating_sub(WINDOW);
        loop {
            let stretch = self.zone.stretch(from);
            let start = from.max(midnight.saturating_sub(stretch.offset));
            if start < stretch.ends || stretch.ends == i64::MAX {
                return start;
            }
            from = stretch.ends;
        }
    }

    fn hour_start(&mut self, at: i64) -> i64 {
        let window = self.window(at);
        at.saturating_sub(at.saturating_add(window.offset).rem_euclid(HOUR))
            .max(window.from)
    }

    fn hour_end(&mut self, at: i64) -> i64 {
        let window = self.window(at);
        at.saturating_sub(at.saturating_add(window.offset).rem_euclid(HOUR))
            .saturating_add(HOUR)
            .min(window.to)
    }

    /// A span around a moment in which the clock was not set, as far back as the hour reaches at least.
    fn window(&mut self, at: i64) -> Window {
        let is_in = |window: &&Window| {
            window.from <= at
                && at < window.to
                && (window.is_set || window.from <= at.saturating_sub(HOUR))
                && (window.is_set_again || window.to > at.saturating_add(HOUR))
        };
        if let Some(window) = self.known.iter().find(is_in) {
            return *window;
        }
        let window = self.look(at);
        self.known
            .retain(|known| known.to != window.to || known.from < window.from);
        // the latest are asked for most
        self.known.sort_by_key(|known| Reverse(known.to));
        self.known.truncate(REMEMBERED - 1);
        self.known.push(window);
        window
    }

    fn look(&self, at: i64) -> Window {
        let from = at.saturating_sub(WINDOW);
        let first = self.zone.stretch(from);
        let mut window = Window {
            from,
            is_set: false,
            to: first.ends,
            is_set_again: first.ends == i64::MAX,
            offset: first.offset,
        };
        // What changes the name of the zone's time alone does not set its clock. As far ahead as an hour reaches: such
        // changes may go on for ever.
        while window.to != i64::MAX && window.to <= at.saturating_add(HOUR) {
            let next = self.zone.stretch(window.to);
            if next.offset != window.offset {
                if window.to > at {
                    window.is_set_again = true;
                    break;
                }
                window.from = window.to;
                window.is_set = true;
                window.offset = next.offset;
            }
            window.to = next.ends;
            window.is_set_again = next.ends == i64::MAX;
        }
        if !window.is_set_again {
            window.is_set_again = self.zone.stretch(window.to).offset != window.offset;
        }
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Offset, TimeZone};
    use chrono_tz::Tz;

    const EPOCH: i64 = 946_684_800_000_000;
    const SECOND: i64 = 1_000_000;

    /// chrono-tz tells no transitions: they are looked for hour by hour, around the span of a test. A change of name
    /// alone is put in every ten days.
    struct Chrono(Vec<(i64, i64)>);

    impl Chrono {
        fn new(zone: &str, around: i64) -> Self {
            let zone: Tz = zone.parse().unwrap_or(Tz::UTC);
            let offset = |at: i64| {
                let moment = DateTime::from_timestamp_micros(at + EPOCH).unwrap_or_default();
                let offset = zone.offset_from_utc_datetime(&moment.naive_utc());
                i64::from(offset.fix().local_minus_utc()) * SECOND
            };
            let first = around - 30 * DAY;
            let mut found = vec![(first, offset(first))];
            for n in 1..60 * 24 {
                let (mut low, mut high) = (first + (n - 1) * HOUR, first + n * HOUR);
                if offset(low) == offset(high) {
                    if n % 240 == 0 {
                        found.push((high, offset(high)));
                    }
                    continue;
                }
                while high - low > 1 {
                    let middle = low + (high - low) / 2;
                    if offset(middle) == offset(low) {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                found.push((high, offset(high)));
            }
            Self(found)
        }
    }

    impl Zone for Chrono {
        fn stretch(&self, at: i64) -> Stretch {
            let next = self.0.partition_point(|known| known.0 <= at);
            Stretch {
                offset: next.checked_sub(1).map_or(0, |last| self.0[last].1),
                ends: self.0.get(next).map_or(i64::MAX, |known| known.0),
            }
        }
    }

    fn moment(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text)
            .map(|moment| moment.timestamp_micros() - EPOCH)
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn windows(zone: &str, around: &str) -> Windows<Chrono> {
        Windows::new(Chrono::new(zone, moment(around)))
    }

    /// Bounds of all buckets of a level in a span, each asked for at its first and its last moment.
    fn bounds(zone: &str, level: Level, from: &str, to: &str) -> Vec<String> {
        let mut windows = windows(zone, from);
        let mut at = moment(from);
        let mut found = Vec::new();
        while at < moment(to) {
            let end = windows.end(at, level);
            assert!(end > at, "{zone} {level:?} {at}");
            assert_eq!(windows.start(at, level), at);
            assert_eq!(windows.start(end - 1, level), at);
            assert_eq!(windows.end(end - 1, level), end);
            found.push(
                DateTime::from_timestamp_micros(at + EPOCH)
                    .unwrap_or_default()
                    .format("%d %H:%M:%S")
                    .to_string(),
            );
            at = end;
        }
        found
    }

    #[test]
    fn a_day_without_midnight_begins_at_one() {
        let days = bounds(
            "America/Santiago",
            Level::Day,
            "2025-09-06T04:00:00Z",
            "2025-09-09T00:00:00Z",
        );
        assert_eq!(days, ["06 04:00:00", "07 04:00:00", "08 03:00:00"]);
    }

    #[test]
    fn a_shift_of_half_an_hour_makes_a_short_hour() {
        let forward = bounds(
            "Australia/Lord_Howe",
            Level::Hour,
            "2025-10-04T14:30:00Z",
            "2025-10-04T17:00:00Z",
        );
        assert_eq!(forward, ["04 14:30:00", "04 15:30:00", "04 16:00:00"]);
        let back = bounds(
            "Australia/Lord_Howe",
            Level::Hour,
            "2025-04-05T14:00:00Z",
            "2025-04-05T17:00:00Z",
        );
        assert_eq!(
            back,
            ["05 14:00:00", "05 15:00:00", "05 15:30:00", "05 16:30:00"]
        );
    }

    #[test]
    fn a_day_that_is_skipped_has_no_moment() {
        let days = bounds(
            "Pacific/Apia",
            Level::Day,
            "2011-12-28T10:00:00Z",
            "2012-01-01T00:00:00Z",
        );
        assert_eq!(
            days,
            ["28 10:00:00", "29 10:00:00", "30 10:00:00", "31 10:00:00"]
        );
        let mut windows = windows("Pacific/Apia", "2011-12-30T00:00:00Z");
        let day = windows.day_of(moment("2011-12-30T09:00:00Z"));
        assert_eq!(windows.day_of(moment("2011-12-30T10:00:00Z")), day + 2);
        assert_eq!(windows.day_start(day + 1), windows.day_start(day + 2));
    }

    #[test]
    fn a_clock_set_back_over_midnight_does_not_begin_the_day_before_again() {
        // at 00:01 it is 23:01 again
        let days = bounds(
            "America/St_Johns",
            Level::Day,
            "2006-10-28T02:30:00Z",
            "2006-10-31T00:00:00Z",
        );
        assert_eq!(days, ["28 02:30:00", "29 02:30:00", "30 03:30:00"]);
        let hours = bounds(
            "America/St_Johns",
            Level::Hour,
            "2006-10-29T01:30:00Z",
            "2006-10-29T04:00:00Z",
        );
        assert_eq!(
            hours,
            ["29 01:30:00", "29 02:30:00", "29 02:31:00", "29 03:30:00"]
        );
    }

    #[test]
    fn buckets_nest_whatever_the_clock_does() {
        for (zone, from, to) in [
            (
                "Africa/Monrovia",
                "1972-01-06T12:00:00Z",
                "1972-01-08T12:00:00Z",
            ),
            (
                "Europe/Amsterdam",
                "1937-06-30T12:00:00Z",
                "1937-07-02T12:00:00Z",
            ),
            (
                "Asia/Kathmandu",
                "1985-12-31T12:00:00Z",
                "1986-01-02T12:00:00Z",
            ),
            (
                "America/Juneau",
                "1867-10-16T00:00:00Z",
                "1867-10-21T00:00:00Z",
            ),
            (
                "Asia/Pyongyang",
                "2015-08-14T00:00:00Z",
                "2015-08-16T00:00:00Z",
            ),
            (
                "Asia/Pyongyang",
                "2018-05-04T00:00:00Z",
                "2018-05-06T00:00:00Z",
            ),
            (
                "Pacific/Kwajalein",
                "1993-08-19T00:00:00Z",
                "1993-08-23T00:00:00Z",
            ),
            (
                "Antarctica/Troll",
                "2025-03-29T00:00:00Z",
                "2025-03-31T00:00:00Z",
            ),
        ] {
            let mut windows = windows(zone, from);
            let (mut at, to) = (moment(from), moment(to));
            at = windows.start(at, Level::Fine);
            while at < to {
                let end = windows.end(at, Level::Fine);
                assert_eq!(windows.start(at, Level::Fine), at, "{zone}");
                assert_eq!(windows.start(end - 1, Level::Fine), at, "{zone}");
                for (lower, upper) in [(Level::Fine, Level::Hour), (Level::Hour, Level::Day)] {
                    let start = windows.start(at, lower);
                    let last = windows.end(at, lower) - 1;
                    assert_eq!(
                        windows.start(start, upper),
                        windows.start(last, upper),
                        "{zone}: {lower:?} of {at}"
                    );
                }
                at = end;
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        // the first and the last that the server knows
        for at in [-211_813_488_000_000_000, 9_223_371_331_199_999_999] {
            struct Never;
            impl Zone for Never {
                fn stretch(&self, _at: i64) -> Stretch {
                    Stretch {
                        offset: HOUR,
                        ends: i64::MAX,
                    }
                }
            }
            let mut never = Windows::new(Never);
            for level in [Level::Fine, Level::Hour, Level::Day] {
                assert!(never.start(at, level) <= at);
                assert!(never.end(at, level) > at);
            }
        }
        let mut windows = windows("UTC", "2000-01-01T00:00:00Z");
        assert_eq!(windows.day_of(-1), -1);
    }
}
