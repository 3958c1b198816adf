//! Which days the daily views have: from an agent's first day in earnest to today.

use crate::support::asserts::assert_no_rows;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, db};

/// A human team with one turn on each of these days.
fn team(name: &str, days: &[&str]) -> Db {
    let db = db(name);
    db.exec(&format!(
        "SELECT agent_metrics.register_agent('team', 'support', 'O', actor => 'human');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'team', (d || ' 12:00:00+00')::timestamptz, 'c' || d, 'success' FROM unnest(ARRAY['{}']) AS d",
        days.join("', '")
    ));
    refresh(&db);
    assert_rollups(&db);
    db
}

const CALENDAR: &str = "SELECT min(day), max(day) = (now() AT TIME ZONE 'UTC')::date,
                               count(*) = max(day) - min(day) + 1, sum(turns)
                        FROM agent_kpi.agent_daily";
const IMPLAUSIBLE: &str = "SELECT day, reason FROM agent_kpi.implausible_times ORDER BY day";

#[test]
fn days_before_2015_count_when_there_are_three_in_a_year() {
    let db = team(
        "calendar_2012",
        &[
            "2012-03-01",
            "2012-03-02",
            "2012-11-20",
            "2013-05-05",
            "2020-01-01",
        ],
    );
    assert_eq!(db.lines(CALENDAR), ["2012-03-01|t|t|5"]);
    assert_no_rows(&db, IMPLAUSIBLE);
    assert_eq!(
        db.lines("SELECT value FROM agent_kpi.kpi_daily WHERE metric = 'task_success_rate' AND day = '2012-11-20'"),
        ["1"]
    );
}

#[test]
fn stray_days_do_not_stretch_the_calendar() {
    let db = team(
        "calendar_stray",
        &[
            "0001-01-01",
            "1969-12-31",
            "1970-01-01",
            "1970-01-02",
            "1970-01-03",
            "1970-01-20",
            "2000-01-01",
            "2000-01-02",
            "2012-06-01",
            "2020-01-01",
            "9999-12-31",
        ],
    );
    assert_eq!(db.lines(CALENDAR), ["2020-01-01|t|t|1"]);
    assert_eq!(db.lines(IMPLAUSIBLE).len(), 10);
    // a third day of the year makes the year one
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('team', '2012-07-01 12:00+00', 'x'), ('team', '2012-08-01 12:00+00', 'y')",
    );
    refresh(&db);
    assert_eq!(db.lines(CALENDAR), ["2012-06-01|t|t|4"]);
    assert_eq!(db.lines(IMPLAUSIBLE).len(), 9);
}

#[test]
fn an_agent_of_strays_alone_has_no_calendar() {
    let db = team("calendar_none", &["1980-01-01", "9999-12-31"]);
    assert_no_rows(&db, "SELECT * FROM agent_kpi.agent_daily");
    assert_eq!(
        db.lines(IMPLAUSIBLE),
        ["1980-01-01|before 2015", "9999-12-31|in the future"]
    );
}
