//! Bad input: each refusal has its SQLSTATE, names the value, says why and what to do, and leaves everything as it was.
//! What is not refused, because an event is never lost to a typo, is kept, listed, and counted once it is mended.
//! Thresholds, settings and names are in setup/bad_settings.rs.

use crate::support::asserts::{assert_verified, refused_by_constraint, refused_by_us};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, db};

pub fn one_agent(name: &str) -> Db {
    let db = db(name);
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms, outcome_label)
         VALUES ('bot', '2026-03-01 10:00:00+00', 'c', 100, 'success')",
    );
    refresh(&db);
    db
}

#[test]
fn bad_registrations_are_refused() {
    let db = one_agent("bad_registrations");
    let register = |rest: &str| format!("SELECT agent_metrics.register_agent({rest})");
    refused_by_us(&db, &register("'x', 'magic', 'O'"), "22023", "\"magic\"");
    refused_by_us(&db, &register("'', 'ops', 'O'"), "22023", "agent_id");
    refused_by_us(&db, &register("NULL, 'ops', 'O'"), "22023", "agent_id");
    refused_by_us(&db, &register("'x', 'ops', '  '"), "22023", "\"x\"");
    refused_by_us(&db, &register("'x', 'ops', NULL"), "22023", "\"x\"");
    for zone in ["Mars/Olympus", "utc+25", "CET DST"] {
        refused_by_us(
            &db,
            &register(&format!("'x', 'ops', 'O', time_zone => '{zone}'")),
            "22023",
            &format!("\"{zone}\""),
        );
    }
    for cadence in [
        "* * * * *",
        "*/4 * * * *",
        "0,3 * * * *",
        "58,2 * * * *",
        "0-10 12 * * *",
    ] {
        refused_by_us(
            &db,
            &register(&format!("'x', 'ops', 'O', cadence => '{cadence}'")),
            "22023",
            &format!("\"{cadence}\" fires more often"),
        );
    }
    for cadence in [
        "",
        "hourly",
        "@daily",
        "0 0 * *",
        "0 0 0 * * *",
        "61 * * * *",
        "0 24 * * *",
        "a b c d e",
        "0 0 31 2 *",
        "*/0 * * * *",
        "0 0 * * mon-",
    ] {
        refused_by_us(
            &db,
            &register(&format!("'x', 'ops', 'O', cadence => '{cadence}'")),
            "22023",
            &format!("broken cadence \"{cadence}\""),
        );
    }
    refused_by_constraint(
        &db,
        &register("'x', 'ops', 'O', actor => 'robot'"),
        "23514",
        "agents_actor_check",
    );
    // not only through register_agent, and not only at first
    refused_by_us(
        &db,
        "UPDATE agent_metrics.agents SET cadence = '* * * * *'",
        "22023",
        "* * * * *",
    );
    refused_by_us(
        &db,
        "UPDATE agent_metrics.agents SET kind = 'magic'",
        "22023",
        "magic",
    );
    refused_by_us(
        &db,
        "UPDATE agent_metrics.agents SET time_zone = 'Mars'",
        "22023",
        "Mars",
    );
    refused_by_us(
        &db,
        "UPDATE agent_metrics.agent_kinds SET cadence = '*/2 * * * *'",
        "22023",
        "*/2 * * * *",
    );
    refused_by_us(
        &db,
        "INSERT INTO agent_metrics.agent_kinds (
             kind, cadence, bucket_seconds, outcome_metric, unit_name)
         VALUES ('k', 'never', 300, 'deflection_rate', 'u')",
        "22023",
        "never",
    );
    refused_by_constraint(
        &db,
        "UPDATE agent_metrics.agent_kinds SET bucket_seconds = 60",
        "23514",
        "bucket_seconds",
    );
}

#[test]
fn registering_again_changes_what_is_given_and_nothing_else() {
    let db = db("bad_register_again");
    let agent = "SELECT agent_id, kind, owner, display_name, actor, cadence, time_zone,
                        vertical, baseline_agent_id
                 FROM agent_metrics.agents";
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Ada', display_name => 'Bot',
                cadence => '0 * * * *', time_zone => 'Europe/Berlin', vertical => 'SaaS support',
                baseline_agent_id => 'team');
         UPDATE agent_metrics.thresholds
         SET value = 0.5, owner = 'Ada', note = 'mine' WHERE metric = 'task_success_rate'",
    );
    let before = db.lines(agent);
    let thresholds = db.lines("SELECT * FROM agent_metrics.thresholds ORDER BY metric");
    assert_eq!(thresholds.len(), 5);
    db.exec("SELECT agent_metrics.register_agent('bot', 'support', 'Ada')");
    assert_eq!(db.lines(agent), before);
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.thresholds ORDER BY metric"),
        thresholds
    );
    db.exec(
        "SELECT agent_metrics.register_agent('bot', 'support', 'Bob', time_zone => 'Asia/Tokyo')",
    );
    assert_eq!(
        db.lines(agent),
        ["bot|support|Bob|Bot|ai|0 * * * *|Asia/Tokyo|SaaS support|team"]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.thresholds ORDER BY metric"),
        thresholds
    );
}

#[test]
fn impossible_turns_are_refused() {
    let db = one_agent("bad_turns");
    // The good row before the bad one goes with it: nothing is stored by halves.
    let insert = |column: &str, value: &str| {
        format!(
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, {column})
             VALUES ('bot', '2026-03-02 10:00:00+00', 'good', NULL), ('bot', '2026-03-02 10:00:00+00', 'bad', {value})"
        )
    };
    for (column, values) in [
        (
            "latency_ms",
            &["-1", "-0.001", "'NaN'", "'Infinity'", "'-Infinity'"][..],
        ),
        ("cost_usd", &["-0.01", "'NaN'", "'Infinity'", "1e12"]),
        ("token_usage_input", &["-1", "1000000000001"]),
        ("token_usage_output", &["-1", "9223372036854775807"]),
        ("token_usage_cache_read", &["-1"]),
        ("token_usage_cache_write", &["-1"]),
        (
            "tools_called",
            &["'{\"name\": \"a\"}'", "'\"a\"'", "'7'", "'null'"],
        ),
    ] {
        for value in values {
            let named = match column {
                "tools_called" => "no list",
                _ => value.trim_matches('\''),
            };
            let named = match named {
                "Infinity" => "inf",
                "-Infinity" => "-inf",
                "1e12" => "1000000000000",
                other => other,
            };
            let message = format!("{column} of a turn cannot be");
            refused_by_us(&db, &insert(column, value), "23514", &message);
            refused_by_us(&db, &insert(column, value), "23514", named);
        }
        refused_by_us(
            &db,
            &format!(
                "UPDATE agent_metrics.agent_events SET {column} = {}",
                values[0]
            ),
            "23514",
            column,
        );
    }
    for (sql, sqlstate, names) in [
        (
            "VALUES ('bot', '2026-03-02', 'c', 'agent', 'not json')",
            "22P02",
            "json",
        ),
        (
            "VALUES ('bot', '2026-03-02', 'c', 'gossip', '[]')",
            "23514",
            "outcome_source of a turn cannot be \"gossip\"",
        ),
        (
            "VALUES ('bot', 'infinity', 'c', 'agent', '[]')",
            "22008",
            "occurred_at cannot be infinity",
        ),
        (
            "VALUES ('bot', '-infinity', 'c', 'agent', '[]')",
            "22008",
            "occurred_at cannot be -infinity",
        ),
        (
            "VALUES ('bot', 'yesterdayish', 'c', 'agent', '[]')",
            "22007",
            "yesterdayish",
        ),
        (
            "VALUES (NULL, '2026-03-02', 'c', 'agent', '[]')",
            "23502",
            "agent_id",
        ),
        (
            "VALUES ('bot', NULL, 'c', 'agent', '[]')",
            "23514",
            "no partition",
        ),
        (
            "VALUES ('bot', '2026-03-02', NULL, 'agent', '[]')",
            "23502",
            "conversation_id",
        ),
    ] {
        let sql = format!(
            "INSERT INTO agent_metrics.agent_events (
                 agent_id, occurred_at, conversation_id, outcome_source, tools_called) {sql}"
        );
        refused_by_constraint(&db, &sql, sqlstate, names);
    }
    for amount in ["'NaN'", "1e12", "'-Infinity'"] {
        let sql = format!(
            "INSERT INTO agent_metrics.business_events (business_event_id, kind, amount_usd)
             VALUES ('b', 'charge', {amount})"
        );
        refused_by_constraint(&db, &sql, "23514", "amount_usd_is_an_amount");
    }
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.number("SELECT sum(turns) FROM agent_kpi.agent_daily"),
        1.0
    );
}

#[test]
fn impossible_turns_are_refused_whichever_way_they_come() {
    let db = one_agent("bad_turns_ways");
    let named = "latency_ms of a turn cannot be -7";
    let ways = [
        // known already, then changed
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, event_id)
         VALUES ('bot', '2026-03-02', 'c', md5('e')::uuid) ON CONFLICT DO NOTHING;
         UPDATE agent_metrics.agent_events SET latency_ms = -7 WHERE event_id = md5('e')::uuid",
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, event_id, latency_ms)
         VALUES ('bot', '2026-03-02', 'c', md5('f')::uuid, 7);
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, event_id)
         VALUES ('bot', '2026-03-02', 'c', md5('f')::uuid)
         ON CONFLICT (agent_id, occurred_at, event_id) DO UPDATE SET latency_ms = -7",
        "COPY agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         FROM PROGRAM 'printf \"bot\\t2026-03-02\\tc\\t7\\nbot\\t2026-03-02\\tc\\t-7\\n\"'",
        // straight into the partition, beyond the horizon, and with a partition
        "INSERT INTO agent_metrics.agent_events_before (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('bot', '1996-03-02', 'c', -7)",
    ];
    for way in ways {
        refused_by_us(&db, way, "23514", named);
    }
    refresh(&db);
    assert_rollups(&db);
    // what was loaded by itself and is attached has passed no check: what cannot be is taken for not known
    db.exec(
        "CREATE TABLE agent_metrics.mine (LIKE agent_metrics.agent_events INCLUDING DEFAULTS);
         INSERT INTO agent_metrics.mine (
             agent_id, occurred_at, conversation_id, latency_ms, cost_usd, tools_called,
             token_usage_input, token_usage_output)
         VALUES ('bot', '1996-03-02', 'c', -7, 'NaN', '7', -1, 9223372036854775807),
                ('bot', '1996-03-02', 'c', 'NaN', 'Infinity', '{}', 9223372036854775807, 2),
                ('bot', '1996-03-02', 'd', -1e300, -1, '[]', 1, NULL);
         ALTER TABLE agent_metrics.agent_events DETACH PARTITION agent_metrics.agent_events_before;
         ALTER TABLE agent_metrics.agent_events ATTACH PARTITION agent_metrics.mine
             FOR VALUES FROM (MINVALUE) TO ('1997-01-01')",
    );
    refresh(&db);
    assert_verified(&db);
    db.exec("SELECT count(*) FROM agent_metrics.rebuild()");
    assert_verified(&db);
    assert_eq!(
        db.lines(
            "SELECT turns, token_turns, tokens_input, tokens_output, cost_turns, cost_usd,
                    tool_calls, latency IS NULL
             FROM agent_metrics_internal.rollups
             WHERE level = 'day' AND bucket < '1997-01-01'"
        ),
        ["3|2|1|2|0|0|0|t"]
    );
}

#[test]
fn odd_turns_that_are_possible_are_taken() {
    let db = one_agent("bad_odd_turns");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms,
                                                 cost_usd, token_usage_input, tools_called)
         VALUES ('bot', '2026-03-01 11:00:00+00', 'zero', 0, 0, 0, '[]'),
                ('bot', '2026-03-01 11:00:00+00', '', 1e300, 999999999999.99, 1000000000000, NULL),
                ('bot', '2026-03-01 11:00:00+00', 'a|\"b\\c%', 1e-9, 0.000000000000000001, NULL,
                 '[{\"no\": \"name\"}, 7, null]')",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT turns, conversations, tool_calls
             FROM agent_kpi.agent_daily WHERE day = '2026-03-01'"
        ),
        ["4|4|3"]
    );
}

#[test]
fn implausible_times_are_kept_and_flagged() {
    let db = one_agent("bad_times");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, latency_ms)
         VALUES ('bot', date_trunc('day', now(), 'UTC') + interval '1 day 12 hours', 'ahead', 10),
                ('bot', '1970-01-01 00:00:00+00', 'epoch', 10), ('bot', '9999-12-31 00:00:00+00', 'never', 10),
                ('bot', '0044-03-15 12:00:00+00', 'claudius', 10)",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT day, turns, conversations, reason FROM agent_kpi.implausible_times
             WHERE day NOT BETWEEN '2026-01-01' AND '2999-01-01' ORDER BY day"
        ),
        [
            "0044-03-15|1|1|before 2015",
            "1970-01-01|1|1|before 2015",
            "9999-12-31|1|1|in the future"
        ]
    );
    assert_eq!(
        db.value(
            "SELECT reason FROM agent_kpi.implausible_times
             WHERE day = (now() AT TIME ZONE 'UTC')::date + 1"
        )
        .as_deref(),
        Some("in the future")
    );
    // they stretch no calendar: it begins with the first plausible day and ends today
    assert_eq!(
        db.lines("SELECT min(day), max(day) = (now() AT TIME ZONE 'UTC')::date FROM agent_kpi.agent_daily"),
        ["2026-03-01|t"]
    );
}

#[test]
fn unmapped_labels_and_unregistered_agents_are_kept_listed_and_counted_once_mended() {
    let db = one_agent("bad_unmapped");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, outcome_label)
         VALUES ('bot', '2026-03-02 10:00:00+00', 'a', 'Success'),
                ('bot', '2026-03-02 11:00:00+00', 'b', 'Success'),
                ('bot', '2026-03-02 12:00:00+00', 'c2', ' '),
                ('bto', '2026-03-02 10:00:00+00', 'x', 'success'),
                ('bto', '2026-03-03 10:00:00+00', 'y', NULL),
                ('', '2026-03-02 10:00:00+00', 'z', NULL)",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT agent_id, outcome_label, conversations, last_seen AT TIME ZONE 'UTC'
             FROM agent_kpi.unmapped_labels ORDER BY 2"
        ),
        [
            "bot| |1|2026-03-02 12:00:00",
            "bot|Success|2|2026-03-02 11:00:00"
        ]
    );
    assert_eq!(
        db.lines(
            "SELECT agent_id, events, first_seen AT TIME ZONE 'UTC', last_seen AT TIME ZONE 'UTC'
             FROM agent_kpi.unregistered_agents ORDER BY 1"
        ),
        [
            "|1|2026-03-02 10:00:00|2026-03-02 10:00:00",
            "bto|2|2026-03-02 10:00:00|2026-03-03 10:00:00"
        ]
    );
    let bot = "SELECT conversations, with_outcome, successes, pending, task_success_rate
               FROM agent_kpi.agent_daily WHERE agent_id = 'bot' AND day = '2026-03-02'";
    assert_eq!(db.lines(bot), ["3|0|0|3|"]);
    assert_eq!(
        db.lines("SELECT DISTINCT agent_id FROM agent_kpi.agent_daily"),
        ["bot"]
    );

    db.exec(
        "INSERT INTO agent_metrics.outcomes (label, is_success) VALUES ('Success', true);
         SELECT agent_metrics.register_agent('bto', 'support', 'O')",
    );
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(db.lines(bot), ["3|2|2|1|1"]);
    assert_eq!(
        db.lines("SELECT outcome_label FROM agent_kpi.unmapped_labels"),
        [" "]
    );
    assert_eq!(
        db.lines("SELECT agent_id FROM agent_kpi.unregistered_agents"),
        [""]
    );
    assert_eq!(
        db.number("SELECT sum(turns) FROM agent_kpi.agent_daily WHERE agent_id = 'bto'"),
        2.0
    );
}
