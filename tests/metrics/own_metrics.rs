//! Measures of the user's own: rows of measurements and `define_metric()`. Each kind worked out by hand, late and taken
//! back, by turn and by conversation; what is refused; what else a shipped metric has.

use crate::metrics::catalogue::{day, desk, on_the_day};
use crate::support::asserts::assert_no_rows;
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Session, login};

/// Defines a metric and measures conversations `c1` .. of the desk with these numerators.
fn measured(session: &Session, metric: &str, kind: &str, values: &[&str]) {
    session.exec(&format!(
        "SELECT agent_metrics.define_metric('{metric}', '{kind}', definition => 'As measured.', unit => {})",
        if kind == "share" { "NULL" } else { "'count'" }
    ));
    for (n, value) in values.iter().enumerate() {
        session.exec(&format!(
            "INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator)
             VALUES ('bot', 'c{}', '{metric}', {value})",
            n + 1
        ));
    }
}

#[test]
fn csat_with_a_threshold_and_an_owner_takes_two_statements() {
    let db = desk("own_csat");
    let told = db.lines(
        "SELECT item, is_there, words FROM agent_metrics.define_metric('csat', 'share',
             definition => 'Answers of 4 or 5 / answers.', threshold => 0.9, owner => 'Head of Service')",
    );
    assert_eq!(told[0], "metric|t|csat is defined: what counts / all");
    assert!(
        told[1]
            .starts_with("measurements|f|none is here yet: INSERT INTO agent_metrics.measurements")
    );
    assert_eq!(told[2], "threshold|t|1 agents are held to one");
    db.exec(
        "INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator)
         SELECT 'bot', 'c' || n, 'csat', (n <= 2)::integer FROM generate_series(1, 8) AS n",
    );
    assert_eq!(on_the_day(&db, "csat"), "2|8|0.250000000|0.071479|0.590725");
    // the views of hours, months and windows, trace() and the list of conversations know it as any other
    assert_eq!(
        db.lines(
            "SELECT extract(hour FROM hour AT TIME ZONE 'UTC'), value FROM agent_kpi.kpi_hourly
             WHERE metric = 'csat' AND value IS NOT NULL ORDER BY hour LIMIT 3"
        ),
        ["1|1", "2|1", "3|0"]
    );
    assert_eq!(
        db.lines(
            "SELECT month, numerator, denominator, owner FROM agent_kpi.kpi_monthly
             WHERE metric = 'csat' AND agent_id = 'bot'"
        ),
        ["2026-03-01|2|8|Head of Service"]
    );
    assert_eq!(
        db.lines(
            "SELECT conversation_id, reason FROM agent_kpi.failing_conversations
             WHERE metric = 'csat' ORDER BY 1 LIMIT 2"
        ),
        ["c3|measured so: csat", "c4|measured so: csat"]
    );
    assert_eq!(
        db.value("SELECT count(*) FROM agent_metrics.thresholds WHERE metric = 'csat'"),
        Some("1".into()),
        "people are not held to the line of a machine"
    );
    let explained = db.lines(
        "SELECT definition, threshold, owner, verdict, trace_rows
         FROM agent_metrics.explain_metric('csat', 'bot', '2026-03-02')",
    );
    assert_eq!(
        explained,
        ["Answers of 4 or 5 / answers.|0.9|Head of Service|breach|8"]
    );
    // a new agent of any kind is held to it
    db.exec("SELECT agent_metrics.register_agent('new', 'sales', 'P')");
    assert_eq!(
        db.lines(
            "SELECT agent_id, owner FROM agent_metrics.thresholds WHERE metric = 'csat' ORDER BY 1"
        ),
        ["bot|Head of Service", "new|Head of Service"]
    );
}

#[test]
fn a_breach_of_a_metric_of_ones_own_opens_and_alerts() {
    let db = desk("own_breach");
    db.exec(
        "UPDATE agent_metrics.agent_events SET occurred_at = now() - interval '3 days';
         SELECT agent_metrics.define_metric('csat', 'share', definition => 'Good / all.', threshold => 0.9,
                                            owner => 'Q', agent_id => 'bot');
         INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator)
         SELECT 'bot', 'c' || n, 'csat', 0 FROM generate_series(1, 9) AS n",
    );
    refresh(&db);
    db.exec("SELECT agent_metrics.evaluate_thresholds()");
    assert_eq!(
        db.lines("SELECT metric, value, threshold, owner FROM agent_kpi.open_breaches WHERE metric = 'csat'"),
        ["csat|0|0.9|Q"]
    );
}

#[test]
fn means_ratios_sums_and_percentiles_by_hand() {
    let db = desk("own_kinds");
    measured(&db, "saved", "mean", &["-3", "0", "1", "6"]);
    // mean 1, residuals -4 -1 0 5: standard error sqrt(4 / 3 * 42) / 4 = 1.870829
    assert_eq!(
        on_the_day(&db, "saved"),
        "4|4|1.000000000|-2.666757|4.666757"
    );
    measured(&db, "upsell", "sum", &["10.5", "-2", "7"]);
    assert_eq!(on_the_day(&db, "upsell"), "15.5||15.500000000||");
    db.exec(
        "SELECT agent_metrics.define_metric('wait_p50_min', 'percentile', measure => 'wait', fraction => 0.5,
                                            unit => 'count', definition => 'Median.')",
    );
    db.exec(
        "INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator)
         SELECT 'bot', 'c' || (n % 3 + 1), 'wait', n FROM generate_series(1, 9) AS n",
    );
    assert_eq!(
        on_the_day(&db, "wait_p50_min"),
        "|9|5.000000000|2.000000|8.000000"
    );
    // a ratio is over conversations: two measurements of one are one observation
    measured(&db, "returned", "ratio", &[]);
    db.exec(
        "INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator, denominator)
         VALUES ('bot', 'c1', 'returned', 1, 4), ('bot', 'c1', 'returned', 1, 0), ('bot', 'c2', 'returned', 0, 4),
                ('bot', 'c3', 'returned', 4, 8)",
    );
    // 6 / 16 = .375; residuals .5 -1.5 1: standard error sqrt(3 / 2 * 3.5) / 16 = .143205
    assert_eq!(
        on_the_day(&db, "returned"),
        "6|16|0.375000000|0.094322|0.655678"
    );
    // weights multiply both, and the interval knows how many equal ones they are worth
    measured(&db, "resolved_first", "share", &[]);
    db.exec(
        "INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator, weight)
         VALUES ('bot', 'c1', 'resolved_first', 1, 3), ('bot', 'c2', 'resolved_first', 0, 1)",
    );
    assert_eq!(
        on_the_day(&db, "resolved_first")
            .split('|')
            .take(3)
            .collect::<Vec<_>>(),
        ["3", "4", "0.750000000"]
    );
    assert_eq!(
        db.value(
            "SELECT effective_size FROM agent_metrics_internal.daily_values
                  WHERE metric = 'resolved_first' AND agent_id = 'bot' AND day = '2026-03-02'"
        )
        .map(|n| n.chars().take(3).collect::<String>()),
        Some("1.6".into()),
        "16 / 10"
    );
    // nothing below the line is no number
    db.exec("UPDATE agent_metrics.measurements SET numerator = 0, denominator = 0 WHERE measure = 'returned'");
    assert!(on_the_day(&db, "returned").starts_with("0|0|||"));
}

#[test]
fn a_measurement_counts_on_its_conversations_day_whenever_it_comes() {
    let db = desk("own_late");
    measured(&db, "saved", "sum", &["1"]);
    db.exec(
        "INSERT INTO agent_metrics.measurements (measurement_id, agent_id, conversation_id, measure, occurred_at,
                                                 numerator)
         VALUES ('late', 'bot', 'c2', 'saved', '2026-03-20 12:00:00+00', 10),
                ('early', 'bot', 'not here yet', 'saved', '2026-03-02 12:00:00+00', 100)",
    );
    assert_eq!(on_the_day(&db, "saved"), "11||11.000000000||");
    assert_eq!(
        day(&db, "saved", "2026-03-20"),
        "||||",
        "nothing began on that day"
    );
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id)
         VALUES ('bot', '2026-03-02 10:00:00+00', 'not here yet')",
    );
    assert_eq!(on_the_day(&db, "saved"), "111||111.000000000||");
    // delivered again, changed, moved to another conversation and agent, taken back
    db.exec(
        "INSERT INTO agent_metrics.measurements (measurement_id, agent_id, conversation_id, measure, numerator)
         VALUES ('late', 'bot', 'c2', 'saved', 10) ON CONFLICT DO NOTHING;
         UPDATE agent_metrics.measurements SET numerator = 20 WHERE measurement_id = 'late'",
    );
    assert_eq!(on_the_day(&db, "saved"), "121||121.000000000||");
    db.exec(
        "UPDATE agent_metrics.measurements SET agent_id = 'team' WHERE measurement_id = 'late'",
    );
    assert_eq!(on_the_day(&db, "saved"), "101||101.000000000||");
    db.exec("DELETE FROM agent_metrics.measurements WHERE measurement_id = 'early'");
    assert_eq!(on_the_day(&db, "saved"), "1||1.000000000||");
    // the conversation's first turn moves to another day, and takes it along
    db.exec(
        "UPDATE agent_metrics.agent_events SET occurred_at = '2026-03-01 23:59:59+00' WHERE conversation_id = 'c1'",
    );
    assert_eq!(on_the_day(&db, "saved"), "||||");
    assert_eq!(day(&db, "saved", "2026-03-01"), "1||1.000000000||");
    db.exec("TRUNCATE agent_metrics.measurements");
    assert_eq!(on_the_day(&db, "saved"), "||||");
}

#[test]
fn a_measurement_of_a_turn_finds_its_conversation_and_leaves_evaluations_out() {
    let db = desk("own_turns");
    measured(&db, "useful", "share", &[]);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, event_id, conversation_id)
         VALUES ('bot', '2026-03-03 01:00:00+00', md5('next day')::uuid, 'c1');
         INSERT INTO agent_metrics.measurements (agent_id, occurred_at, event_id, measure, numerator)
         SELECT agent_id, occurred_at, event_id, 'useful', (conversation_id = 'c1')::integer
         FROM agent_metrics.agent_events WHERE conversation_id IN ('c1', 'c2')",
    );
    assert_eq!(
        db.lines(
            "SELECT conversation_id, count(*) FROM agent_metrics.measurements GROUP BY 1 ORDER BY 1"
        ),
        ["c1|2", "c2|1"]
    );
    assert_eq!(
        on_the_day(&db, "useful")
            .split('|')
            .take(2)
            .collect::<Vec<_>>(),
        ["1", "2"]
    );
    assert_eq!(
        day(&db, "useful", "2026-03-03")
            .split('|')
            .take(2)
            .collect::<Vec<_>>(),
        ["1", "1"]
    );
    db.exec("UPDATE agent_metrics.agent_events SET is_eval = true WHERE conversation_id = 'c2'");
    assert_eq!(
        on_the_day(&db, "useful")
            .split('|')
            .take(2)
            .collect::<Vec<_>>(),
        ["1", "1"]
    );
}

#[test]
fn erased_people_take_their_measurements_along() {
    let db = desk("own_erased");
    measured(&db, "saved", "sum", &["1", "2"]);
    db.exec(
        "UPDATE agent_metrics.agent_events SET user_id = 'u' WHERE conversation_id = 'c2';
         SELECT agent_metrics.refresh();
         SELECT * FROM agent_metrics.erase_user('u')",
    );
    assert_eq!(on_the_day(&db, "saved"), "1||1.000000000||");
    assert_no_rows(
        &db,
        "SELECT * FROM agent_metrics.measurements WHERE conversation_id = 'c2'",
    );
}

#[test]
fn closed_books_keep_the_number_and_name_what_came_later() {
    let db = desk("own_closed");
    measured(&db, "upsell", "sum", &["100"]);
    refresh(&db);
    db.exec(
        "SELECT agent_metrics.close_period('2026-03-01', 'Head of Finance');
         INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator)
         VALUES ('bot', 'c2', 'upsell', 50)",
    );
    refresh(&db);
    assert_eq!(
        db.lines(
            "SELECT value_before, value_after FROM agent_kpi.adjustments WHERE metric = 'upsell'"
        ),
        ["100|150"]
    );
}

#[test]
fn a_definition_that_changes_is_a_new_version_and_sums_need_no_measurements() {
    let db = desk("own_changed");
    measured(&db, "saved", "sum", &["4", "2"]);
    assert_eq!(on_the_day(&db, "saved"), "6||6.000000000||");
    db.exec(
        "SELECT agent_metrics.define_metric('saved', 'mean', unit => 's', definition => 'Seconds / conversations.')",
    );
    assert_eq!(
        day(&db, "saved", "2026-03-02")
            .split('|')
            .take(3)
            .collect::<Vec<_>>(),
        ["6", "2", "3.000000000"]
    );
    assert_eq!(
        db.value("SELECT definition_version FROM agent_metrics.metrics WHERE metric = 'saved'"),
        Some("2".into())
    );
    let told = db.lines(
        "SELECT item, is_there FROM agent_metrics.define_metric('error_share', 'share', numerator => '{error_turns}',
             denominator => '{turns}', direction => '-', definition => 'Turns with an error / turns.')",
    );
    assert_eq!(told, ["metric|t", "views|f", "threshold|f"]);
    db.exec("SELECT agent_metrics.setup()");
    assert_eq!(
        on_the_day(&db, "error_share"),
        "0|9|0.000000000|0.000000|0.299145"
    );
}

#[test]
fn a_metric_of_ones_own_may_have_a_column_in_the_wide_views() {
    let db = desk("own_columns");
    measured(&db, "upsell", "sum", &["10", "5"]);
    measured(&db, "saved", "mean", &["1", "4"]);
    db.exec(
        "UPDATE agent_metrics.metrics SET place = 1000 WHERE metric IN ('upsell', 'saved');
         SELECT agent_metrics.setup()",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines("SELECT upsell, saved FROM agent_kpi.agent_daily WHERE agent_id = 'bot' AND day = '2026-03-02'"),
        ["15|2.5"]
    );
    assert_eq!(
        db.lines("SELECT upsell, saved FROM agent_kpi.agent_hourly WHERE agent_id = 'bot' ORDER BY hour LIMIT 3"),
        ["10|1", "5|4", "|"]
    );
}

#[test]
fn writers_measure_and_readers_see_what_nobody_defined() {
    let db = desk("own_roles");
    let (writer, session) = login(&db, "own_roles_writer");
    let (reader, reading) = login(&db, "own_roles_reader");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{writer}', 'writer'), agent_metrics.grant_access('{reader}', 'reader')"
    ));
    session.exec(
        "INSERT INTO agent_metrics.measurements (agent_id, conversation_id, measure, numerator)
         VALUES ('bot', 'c1', 'csat', 1), ('bot', 'c2', 'csat', 0), ('bot', 'c3', 'minutes', 3)",
    );
    assert_eq!(
        reading.lines("SELECT measure, measurements FROM agent_kpi.undefined_measures ORDER BY 1"),
        ["csat|2", "minutes|1"]
    );
    db.exec("SELECT agent_metrics.define_metric('csat', 'share', definition => 'Good / all.')");
    refresh(&db);
    assert_eq!(
        reading.lines("SELECT measure FROM agent_kpi.undefined_measures"),
        ["minutes"]
    );
    assert_eq!(
        reading.lines(
            "SELECT value FROM agent_kpi.kpi_daily WHERE metric = 'csat' AND value IS NOT NULL"
        ),
        ["0.5"]
    );
}
