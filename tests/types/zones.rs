//! Hours and days of every zone that the server knows, against chrono-tz; and the rollups across the nastiest of them.

use std::collections::BTreeSet;
use std::fmt::Write;

use chrono::{DateTime, Duration, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use crate::support::asserts::assert_sqlstate;
use crate::support::majors::old_zones;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Session, db};

/// A zone by chrono-tz: moments at which the clock is set, and what it shows from there on, in microseconds.
struct Clock {
    zone: Tz,
    set: Vec<DateTime<Utc>>,
}

impl Clock {
    fn new(zone: Tz) -> Self {
        let at = |day: i64| DateTime::from_timestamp(day * 43_200, 0).unwrap();
        // 1990 to 2037, by half days
        let set = (14_610..49_674)
            .filter(|day| offset(zone, at(*day)) != offset(zone, at(day + 1)))
            .map(|day| {
                let (mut low, mut high) = (at(day), at(day + 1));
                while high - low > Duration::seconds(1) {
                    let middle = low + Duration::seconds((high - low).num_seconds() / 2);
                    if offset(zone, middle) == offset(zone, low) {
                        low = middle;
                    } else {
                        high = middle;
                    }
                }
                high
            })
            .collect();
        Self { zone, set }
    }

    /// Moments around an hour at which the clock is set, in order.
    fn around(&self, at: DateTime<Utc>, days: i64) -> impl Iterator<Item = DateTime<Utc>> {
        let first = self
            .set
            .partition_point(|set| *set < at - Duration::days(days));
        self.set[first..]
            .iter()
            .copied()
            .take_while(move |set| *set <= at + Duration::days(days))
    }

    fn hour(&self, at: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let shown = at.timestamp_micros() + offset(self.zone, at) * 1_000_000;
        let whole = at - Duration::microseconds(shown.rem_euclid(3_600_000_000));
        let begin = self.around(at, 1).filter(|set| *set <= at).last();
        let end = self.around(at, 1).find(|set| *set > at);
        let next = whole + Duration::hours(1);
        (
            begin.map_or(whole, |set| set.max(whole)),
            end.map_or(next, |set| set.min(next)),
        )
    }

    /// The latest date that the clock has shown.
    fn date(&self, at: DateTime<Utc>) -> chrono::NaiveDate {
        let date = |at: DateTime<Utc>| at.with_timezone(&self.zone).date_naive();
        self.around(at, 2)
            .filter(|set| *set <= at)
            .map(|set| date(set - Duration::microseconds(1)))
            .fold(date(at), Ord::max)
    }

    /// The first second of the next date, looked for by halves.
    fn next_day(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        let day = self.date(at);
        let second = DateTime::from_timestamp(at.timestamp(), 0).unwrap();
        let (mut low, mut high) = (second, second + Duration::hours(50));
        while high - low > Duration::seconds(1) {
            let middle = low + Duration::seconds((high - low).num_seconds() / 2);
            if self.date(middle) == day {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}

fn offset(zone: Tz, at: DateTime<Utc>) -> i64 {
    i64::from(
        zone.offset_from_utc_datetime(&at.naive_utc())
            .fix()
            .local_minus_utc(),
    )
}

#[test]
fn hours_and_days_of_every_zone_are_those_of_another_database() {
    let db = db("zones_every");
    let mut csv = String::from("zone,at,shown,hour,next_hour,day,next_day\n");
    let mut unknown = BTreeSet::new();
    let stamp = "%Y-%m-%d %H:%M:%S%.6f+00";
    for name in db.lines("SELECT name FROM pg_timezone_names WHERE name NOT LIKE 'posix/%'") {
        let Ok(zone) = name.parse::<Tz>() else {
            unknown.insert(name);
            continue;
        };
        let clock = Clock::new(zone);
        let some_day = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        for set in clock.set.iter().chain([&some_day]) {
            for microseconds in [
                -90_000_000_000,
                -1_800_000_000,
                -1,
                0,
                1_799_999_999,
                3_600_000_000,
                90_000_000_001_i64,
            ] {
                let at = *set + Duration::microseconds(microseconds);
                let (hour, next_hour) = clock.hour(at);
                writeln!(
                    csv,
                    "{name},{},{},{},{},{},{}",
                    at.format(stamp),
                    offset(zone, at),
                    hour.format(stamp),
                    next_hour.format(stamp),
                    clock.date(at),
                    clock.next_day(at).format(stamp)
                )
                .unwrap();
            }
        }
    }
    // localtime, Factory and the like
    assert!(
        unknown.len() < 12,
        "chrono-tz knows none of these: {unknown:?}"
    );
    db.exec(
        "CREATE TABLE probe (zone text, at timestamptz, shown int, hour timestamptz,
                             next_hour timestamptz, day date, next_day timestamptz)",
    );
    assert!(db.copy_csv("probe", csv) > 100_000);
    // Zones of which the two databases do not say the same: another version of the data.
    let abbreviations = old_zones(&db);
    let mut differ = db.lines(&format!(
        // AT TIME ZONE takes these names for abbreviations, so it cannot tell whether the data differ
        "SELECT DISTINCT zone FROM probe
         WHERE zone <> ALL ('{{{}}}')
           AND extract(epoch FROM (at AT TIME ZONE zone) - (at AT TIME ZONE 'UTC')) <> shown",
        abbreviations.join(",")
    ));
    for zone in abbreviations {
        db.exec(&format!("SET timezone = '{zone}'"));
        differ.extend(db.lines(&format!(
            "SELECT DISTINCT zone FROM probe WHERE zone = '{zone}' AND extract(timezone FROM at) <> shown"
        )));
    }
    db.exec("SET timezone = 'UTC'");
    eprintln!("left out, since the two databases differ: {differ:?}");
    // Debian 13 of 2026 and chrono-tz of 2025 differ in twelve
    assert!(differ.len() <= 30, "{differ:?}");
    db.exec(&format!(
        "DELETE FROM probe WHERE zone = ANY ('{{{}}}')",
        differ.join(",")
    ));
    let wrong = db.lines(
        "SELECT * FROM (
             SELECT p.*, agent_metrics_internal.bucket_start(at, 'hour', zone) AS h,
                    agent_metrics_internal.bucket_end(at, 'hour', zone) AS hh,
                    agent_metrics_internal.day_of(at, zone) AS d,
                    agent_metrics_internal.bucket_end(at, 'day', zone) AS dd
             FROM probe p) x
         WHERE (hour, next_hour, day, next_day) IS DISTINCT FROM (h, hh, d, dd) ORDER BY zone, at LIMIT 10",
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_they_divide_time(&db, "probe");
}

/// Buckets end where the next begins, and lie in one of the level above.
fn assert_they_divide_time(session: &Session, probes: &str) {
    let wrong = session.lines(&format!(
        "SELECT x.zone, x.at, x.level, x.began, x.ended
         FROM (SELECT p.zone, p.at, l.level, l.above,
                      agent_metrics_internal.bucket_start(p.at, l.level, p.zone) AS began,
                      agent_metrics_internal.bucket_end(p.at, l.level, p.zone) AS ended
               FROM {probes} p
               CROSS JOIN (VALUES ('fine', 'hour'), ('hour', 'day'), ('day', NULL)) AS l (level, above)) x
         WHERE NOT (x.began <= x.at AND x.at < x.ended)
            OR agent_metrics_internal.bucket_start(x.began, x.level, x.zone) <> x.began
            OR agent_metrics_internal.bucket_end(x.began, x.level, x.zone) <> x.ended
            OR agent_metrics_internal.bucket_start(x.ended, x.level, x.zone) <> x.ended
            OR agent_metrics_internal.bucket_start(x.ended - interval '1 microsecond', x.level, x.zone) <> x.began
            OR agent_metrics_internal.bucket_start(x.began, x.above, x.zone)
                   <> agent_metrics_internal.bucket_start(x.at, x.above, x.zone)
            OR agent_metrics_internal.bucket_end(x.ended - interval '1 microsecond', x.above, x.zone)
                   <> agent_metrics_internal.bucket_end(x.at, x.above, x.zone)
            OR x.level = 'day'
               AND (agent_metrics_internal.day_start(agent_metrics_internal.day_of(x.at, x.zone), x.zone) <> x.began
                    OR agent_metrics_internal.day_start(
                        agent_metrics_internal.day_of(x.at, x.zone) + 1, x.zone) <> x.ended)
         ORDER BY 1, 2, 3 LIMIT 10"
    ));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn buckets_divide_time_in_zones_of_odd_seconds_too() {
    let db = db("zones_odd");
    db.exec(
        "CREATE VIEW probe AS
         SELECT z.zone, g.at
         FROM (VALUES ('Africa/Monrovia', '1972-01-06'::timestamptz), ('Europe/Amsterdam', '1937-06-29'),
                      ('America/Juneau', '1867-10-16'), ('Pacific/Kwajalein', '1969-09-29'),
                      ('Asia/Kathmandu', '1985-12-30'), ('Asia/Manila', '1844-12-29'), ('Europe/Dublin', '1916-10-01'),
                      ('<+00:07>-00:07:21', '2026-03-01')) AS z (zone, began)
         CROSS JOIN LATERAL generate_series(z.began, z.began + interval '4 days', interval '61 seconds') AS g (at)",
    );
    assert_they_divide_time(&db, "probe");
}

#[test]
fn questions_that_have_no_bucket_are_refused_or_answered() {
    let db = db("zones_refused");
    for (call, code) in [
        ("bucket_start(now(), 'hour', 'Mars/Base')", "22023"),
        ("bucket_start(now(), 'week', 'UTC')", "22023"),
        ("day_of(now(), 'no zone')", "22023"),
        ("day_start('5874897-12-31', 'UTC')", "22008"),
    ] {
        assert_sqlstate(&db, &format!("SELECT {}", crate::support::full(call)), code);
    }
    assert_eq!(
        db.lines(
            "SELECT agent_metrics_internal.bucket_start('-infinity', 'day', 'UTC'),
                    agent_metrics_internal.bucket_end('infinity', 'hour', 'UTC'),
                    agent_metrics_internal.day_of('infinity', 'UTC'),
                    agent_metrics_internal.day_start('-infinity', 'UTC'),
                    agent_metrics_internal.bucket_start(NULL, 'day', 'UTC') IS NULL,
                    agent_metrics_internal.bucket_start(
                        '0001-01-01 00:00+00', 'day', 'UTC')::text <> ''"
        ),
        ["-infinity|infinity|infinity|-infinity|t|t"]
    );
}

/// A day without midnight, with a late fact: the figures of C11.
#[test]
fn a_day_without_midnight_holds_its_own_turns() {
    let db = db("zones_santiago");
    db.exec(
        "SELECT agent_metrics.register_agent('sup', 'support', 'O');
         UPDATE agent_metrics.settings SET value = 'America/Santiago' WHERE name = 'report_time_zone';
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd) VALUES
             ('sup', '2025-09-07 15:00:00+00', 'sunday', 1), ('sup', '2025-09-08 03:30:00+00', 'monday', 100)",
    );
    refresh(&db);
    db.exec("UPDATE agent_metrics.agent_events SET cost_usd = 2 WHERE conversation_id = 'sunday'");
    refresh(&db);
    assert_eq!(
        db.lines(
            "SELECT day, turns, token_spend_usd FROM agent_kpi.agent_daily
             WHERE day BETWEEN '2025-09-06' AND '2025-09-08' ORDER BY day"
        ),
        ["2025-09-07|1|2", "2025-09-08|1|100"]
    );
    assert_eq!(
        db.lines(
            "SELECT numerator, trace_rows
             FROM agent_metrics.explain_metric('token_spend_usd', 'sup', '2025-09-07')"
        ),
        ["2|1"]
    );
    assert_rollups(&db);
}

/// Turns around a moment at which each of these clocks is set, with changes on both sides, in every one of the zones.
#[test]
fn the_rollups_are_right_whatever_the_clock_does() {
    let db = db("zones_books");
    db.exec(
        "SELECT agent_metrics.register_agent('sup', 'support', 'O'),
                agent_metrics.register_agent('sal', 'sales', 'O');
         CREATE TABLE nasty (zone text, set_at timestamptz);
         INSERT INTO nasty VALUES
             ('America/Santiago', '2025-09-07 04:00+00'), ('Asia/Beirut', '2026-03-28 22:00+00'),
             ('Africa/Cairo', '2026-04-23 22:00+00'), ('America/Havana', '2025-03-09 05:00+00'),
             ('Atlantic/Azores', '2026-03-29 01:00+00'),
             ('Australia/Lord_Howe', '2025-10-04 15:30+00'),
             ('Pacific/Apia', '2011-12-30 10:00+00'), ('Pacific/Kwajalein', '1993-08-21 12:00+00'),
             ('America/St_Johns', '2006-10-29 02:31+00'), ('Asia/Pyongyang', '2015-08-14 15:00+00'),
             ('America/Caracas', '2016-05-01 07:00+00'),
             ('Antarctica/Troll', '2025-03-30 01:00+00'),
             ('Africa/Monrovia', '1972-01-07 00:44:30+00');
         INSERT INTO nasty SELECT name, '2025-03-30 01:00+00' FROM pg_timezone_names WHERE name = 'CET';
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, user_id, cost_usd, latency_ms,
             outcome_label, token_usage_input)
         SELECT a.id, g.at, format('%s %s %s', n.zone, a.id, g.at),
                format('user %s', extract(epoch FROM g.at)::bigint % 9), 0.5, 900000, 'success', 10
         FROM nasty n CROSS JOIN unnest(ARRAY['sup', 'sal']) AS a (id)
         CROSS JOIN LATERAL generate_series(
             n.set_at - interval '27 hours', n.set_at + interval '27 hours',
             interval '17 minutes 3 seconds') AS g (at)",
    );
    for zone in db.lines("SELECT zone FROM nasty ORDER BY zone") {
        db.exec(&format!(
            "UPDATE agent_metrics.settings SET value = '{zone}' WHERE name = 'report_time_zone'"
        ));
        refresh(&db);
        db.exec(&format!(
            "UPDATE agent_metrics.agent_events e SET cost_usd = cost_usd + 1, latency_ms = latency_ms + 1 FROM nasty n
             WHERE n.zone = '{zone}' AND abs(extract(epoch FROM e.occurred_at - n.set_at)) < 5400;
             DELETE FROM agent_metrics.agent_events e USING nasty n
             WHERE n.zone = '{zone}' AND extract(epoch FROM e.occurred_at - n.set_at) BETWEEN 5400 AND 9000;
             INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd, latency_ms)
             SELECT a.id, n.set_at + s.shift, 'late ' || n.zone || s.shift, 7, 60000
             FROM nasty n CROSS JOIN unnest(ARRAY['sup', 'sal']) AS a (id)
             CROSS JOIN unnest(ARRAY[interval '-1 microsecond', '0', '-24 hours', '24 hours', '-1800 seconds',
                                     '1799 seconds']) AS s (shift)
             WHERE n.zone = '{zone}'"
        ));
        refresh(&db);
        assert_eq!(
            db.lines(
                "SELECT agent_id, level, bucket, measure, stored, recomputed FROM agent_metrics.verify()"
            ),
            [""; 0],
            "{zone}"
        );
        let days = format!(
            "SELECT r.agent_id, r.level, r.bucket, r.turns FROM agent_metrics_internal.rollups r
             WHERE r.turns <> (SELECT count(*) FROM agent_metrics.agent_events e
                               WHERE e.agent_id = r.agent_id AND e.occurred_at >= r.bucket
                                 AND e.occurred_at < agent_metrics_internal.bucket_end(r.bucket, r.level, '{zone}'))"
        );
        assert_eq!(db.lines(&days), [""; 0], "{zone}");
        let rows = "SELECT r::text FROM agent_metrics_internal.rollups r
                    WHERE r.turns > 0 OR r.conversations > 0 OR r.leads > 0
                    UNION ALL SELECT (a.agent_id, a.bucket, a.spans)::text
                              FROM agent_metrics_internal.active_days a
                    UNION ALL SELECT f::text FROM agent_metrics_internal.fact_days f ORDER BY 1";
        let before = db.lines(rows);
        db.exec(&format!(
            "SELECT agent_metrics.rebuild(NULL, n.set_at - interval '1 hour',
                                          n.set_at + interval '1 hour')
             FROM nasty n WHERE n.zone = '{zone}'"
        ));
        let after = db.lines(rows);
        let changed: Vec<&String> = before
            .iter()
            .filter(|row| !after.contains(row))
            .chain(after.iter().filter(|row| !before.contains(row)))
            .collect();
        assert!(changed.is_empty(), "{zone}: {changed:#?}");
        assert_eq!(
            db.number("SELECT count(*) FROM agent_metrics.verify()"),
            0.0,
            "{zone}"
        );
    }
}

#[test]
fn a_day_that_a_zone_skipped_is_no_row() {
    let db = db("zones_skipped");
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'O');
         UPDATE agent_metrics.settings SET value = 'Pacific/Apia' WHERE name = 'report_time_zone';
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, cost_usd)
         SELECT 'bot', g.at, 'c' || g.at, 1
         FROM generate_series('2011-12-28 12:00+00'::timestamptz, '2012-01-02 12:00+00',
                              interval '1 hour') AS g (at)",
    );
    refresh(&db);
    let days = "SELECT day, turns, token_spend_usd FROM agent_kpi.agent_daily
                WHERE day BETWEEN '2011-12-28' AND '2012-01-01' ORDER BY day";
    assert_eq!(
        db.lines(days),
        [
            "2011-12-28|22|22",
            "2011-12-29|24|24",
            "2011-12-31|24|24",
            "2012-01-01|24|24"
        ]
    );
    assert_eq!(
        db.number(
            "SELECT sum(cost) FROM (SELECT numerator AS cost
                                    FROM agent_kpi.kpi_daily WHERE metric = 'token_spend_usd') x"
        ),
        121.0
    );
}
