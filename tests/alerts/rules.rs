//! What is an alert, and whom it reaches when: breaches, regressions, missing Mondays, quiet hours, digests, deputies;
//! keep or replace.

use agent_metrics::program::alerts::Delivered;
use chrono::{TimeDelta, Utc};

use crate::alerts::outbox::{NOTHING, Receiver, SENT, enqueue, moment, webhook};
use crate::evals::audits::{frozen, run};
use crate::support::asserts::{assert_no_rows, refused_by_us};
use crate::support::program::program;

#[test]
fn quiet_hours_digests_reminders_and_deputies() {
    let (db, receiver) = (webhook("alerts_manners"), Receiver::new());
    db.exec(
        "INSERT INTO agent_metrics.owners (owner, slack_id) VALUES ('Deputy', 'U2');
         UPDATE agent_metrics.owners SET slack_id = 'U1', deputy = 'Deputy' WHERE owner = 'Head of Support';
         UPDATE agent_metrics.alert_channels SET kind = 'slack', secret_env = NULL, time_zone = 'Europe/Berlin',
                                                 quiet_from = '22:00', quiet_to = '07:00', digest_over = 2;
         INSERT INTO agent_metrics.alert_channels (channel, kind, url_env, owner)
         VALUES ('theirs', 'slack', 'AGENT_METRICS_URL', 'Deputy')",
    );
    // 23:30 and 06:59 in Berlin are quiet; at 07:00 the three of the night go as one
    for key in ["a", "b", "c"] {
        enqueue(&db, key);
    }
    assert_eq!(
        receiver.deliver(&db, moment("2026-03-02T22:30:00Z")),
        NOTHING
    );
    assert_eq!(
        receiver.deliver(&db, moment("2026-03-03T05:59:00Z")),
        NOTHING
    );
    let morning = moment("2026-03-03T06:00:00Z");
    assert_eq!(receiver.deliver(&db, morning), SENT);
    let arrived = receiver.take();
    assert!(
        arrived[0].body.contains("3 alerts about AI agents") && arrived[0].body.contains("<@U1>"),
        "{}",
        arrived[0].body
    );
    // two are acknowledged; of the third the owner is reminded, and then his deputy told, by both channels
    let ids = db.lines("SELECT alert_id FROM agent_kpi.alerts ORDER BY alert_id");
    assert_eq!(
        db.lines(&format!(
            "SELECT agent_metrics.acknowledge_alert('{0}', 'Head of Support', 'seen'),
                    agent_metrics.acknowledge_alert('{1}', 'Head of Support')",
            ids[0], ids[1]
        )),
        ["t|t"]
    );
    assert_eq!(
        db.value(&format!(
            "SELECT agent_metrics.acknowledge_alert('{}', 'Somebody else')",
            ids[0]
        ))
        .as_deref(),
        Some("f")
    );
    assert_eq!(
        db.lines("SELECT acknowledged_by, note FROM agent_kpi.alerts WHERE note IS NOT NULL"),
        ["Head of Support|seen"]
    );
    assert_eq!(
        receiver.deliver(&db, morning + TimeDelta::hours(3)),
        NOTHING
    );
    assert_eq!(receiver.deliver(&db, morning + TimeDelta::hours(4)), SENT);
    let arrived = receiver.take();
    assert!(
        arrived[0].body.contains("not acknowledged yet") && !arrived[0].body.contains("U2"),
        "{}",
        arrived[0].body
    );
    assert_eq!(
        receiver.deliver(&db, morning + TimeDelta::hours(8)),
        Delivered { sent: 2, ..NOTHING }
    );
    assert!(
        receiver
            .take()
            .iter()
            .all(|message| message.body.contains("<@U2>") && message.body.contains(&ids[2]))
    );
    assert_eq!(
        receiver.deliver(&db, morning + TimeDelta::hours(13)),
        NOTHING,
        "that is all"
    );
    // what is acknowledged before it was sent is not sent
    let id = enqueue(&db, "d").unwrap();
    db.exec(&format!(
        "SELECT agent_metrics.acknowledge_alert('{id}', 'Head of Support')"
    ));
    assert_eq!(receiver.deliver(&db, morning), NOTHING);
    refused_by_us(
        &db,
        "SELECT agent_metrics.acknowledge_alert('none', 'Head of Support')",
        "22023",
        "\"none\"",
    );
    refused_by_us(
        &db,
        &format!("SELECT agent_metrics.acknowledge_alert('{id}', ' ')"),
        "22023",
        &id,
    );
}

#[test]
fn a_regression_and_a_missing_monday_are_told() {
    let (db, receiver) = (frozen("alerts_audits"), Receiver::new());
    db.exec(
        "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env, secret_env)
         VALUES ('hook', 'webhook', 'AGENT_METRICS_URL', 'AGENT_METRICS_KEY');
         UPDATE agent_metrics.agents SET time_zone = 'America/New_York' WHERE agent_id = 'bot';
         INSERT INTO agent_metrics.eval_plans (agent_id, eval_set, since) VALUES ('bot', 'v1', '2026-03-03')",
    );
    let audit = |at: &str| {
        db.lines(&format!(
            "SELECT kind, alert_id IS NOT NULL, summary
             FROM agent_metrics.run_audits('{at}') WHERE kind NOT LIKE 'decision%' ORDER BY 1, 3"
        ))
    };
    run(&db, "r0", "'2025-03-02 06:00+00'", "false");
    run(&db, "r1", "'2026-03-02 06:00+00'", "n > 16");
    run(&db, "r2", "'2026-03-09 18:00+00'", "n > 16");
    // the leap of last year is compared and alarms nobody
    assert_eq!(
        audit("2026-03-17 03:59+00"),
        [""; 0],
        "Monday the 16th is not over in New York"
    );
    assert_eq!(
        db.lines(
            "SELECT run_id, state FROM agent_kpi.drift_findings
             WHERE metric = 'eval_success_rate' ORDER BY 1"
        ),
        ["r0|refused", "r1|alert", "r2|ok"]
    );
    assert_eq!(
        audit("2026-03-17 04:00+00"),
        [
            "eval_missing|t|bot has not run eval set v1 on Monday 2026-03-16; its last run was at 2026-03-09 18:00 UTC"
        ]
    );
    assert_eq!(audit("2026-03-18 04:00+00"), [""; 0], "told once");
    assert_eq!(
        audit("2026-03-24 12:00+00").len(),
        1,
        "and again the Monday after"
    );
    let (_, said, _) = program(db.url(), &["doctor"]);
    assert!(
        said.contains("bot has not run eval set v1 on Monday"),
        "{said}"
    );
    run(&db, "r3", "'2026-03-24 13:00+00'", "n > 30");
    assert_eq!(
        audit("2026-03-24 14:00+00"),
        [
            "drift|t|eval_success_rate of bot fell from 92.00% to 85.00%: \
             it moved beyond the tolerance, and more than noise does"
        ]
    );
    assert_eq!(
        db.lines("SELECT next_run_on FROM agent_kpi.eval_schedule"),
        ["2026-03-30"]
    );
    assert_eq!(
        db.lines("SELECT what, count(*) FROM agent_kpi.drift_cases WHERE run_id = 'r3' GROUP BY 1"),
        ["broken|14"]
    );
    db.exec("UPDATE agent_metrics.alert_channels SET digest_over = 100");
    receiver.deliver(&db, Utc::now());
    let drift = receiver
        .take()
        .into_iter()
        .find(|message| message.body.contains("fell from"))
        .unwrap();
    assert!(
        drift.body.contains("\"c17\"") && drift.body.contains("\"previous\":0.92"),
        "{}",
        drift.body
    );
}

#[test]
fn a_breach_is_an_alert_until_it_is_acknowledged_or_closed() {
    let (db, receiver) = (webhook("alerts_breaches"), Receiver::new());
    db.exec(
        "INSERT INTO agent_metrics_internal.breaches (breach_id, agent_id, metric, window_from, window_to, value,
                                                      ci_low, ci_high, threshold, direction, owner, definition_version)
         SELECT b, 'bot', m, current_date - 30, current_date, 0.8, 0.75, 0.85, 0.92, '+', 'Head of Support', 1
         FROM (VALUES ('b1', 'task_success_rate'), ('b2', 'deflection_rate')) AS x (b, m)",
    );
    let now = Utc::now();
    assert_eq!(receiver.deliver(&db, now), Delivered { sent: 2, ..NOTHING });
    let arrived = receiver.take();
    assert!(arrived.iter().any(
        |message| message.body.contains("agent_metrics.acknowledge('b1'")
            && message.body.contains("\"threshold\":0.92")
    ));
    db.exec(
        "SELECT agent_metrics.acknowledge('b1', 'Head of Support', 'the CRM was down');
         UPDATE agent_metrics_internal.breaches SET closed_at = now() WHERE breach_id = 'b2'",
    );
    assert_eq!(
        db.lines("SELECT acknowledged_by FROM agent_kpi.alerts ORDER BY alert_id"),
        ["Head of Support", "closed"]
    );
    assert_eq!(
        receiver.deliver(&db, now + TimeDelta::hours(5)),
        NOTHING,
        "no reminder"
    );
    // opened again it is told again
    db.exec(
        "UPDATE agent_metrics_internal.breaches
         SET closed_at = NULL, reopened_at = now(), reopenings = 1 WHERE breach_id = 'b2'",
    );
    assert_eq!(receiver.deliver(&db, now + TimeDelta::hours(6)), SENT);
}

#[test]
fn keep_or_replace_is_asked_answered_and_kept() {
    let db = webhook("alerts_decisions");
    db.exec("UPDATE agent_metrics.agents SET actor = 'ai'");
    let audit = |at: &str| {
        db.lines(&format!(
            "SELECT kind, summary FROM agent_metrics.run_audits('{at}') ORDER BY 1"
        ))
    };
    db.exec(
        "SELECT agent_metrics.register_agent(
             'team', 'support', 'Head of Support', actor => 'human');
         SELECT agent_metrics.register_agent('new', 'support', 'Head of Support')",
    );
    assert_eq!(
        audit("2026-04-01 00:00+00"),
        [
            "decision_due|Keep or replace bot? Would we deploy it from scratch today? The answer is due by 2026-05-01",
            "decision_due|Keep or replace new? Would we deploy it from scratch today? The answer is due by 2026-05-01"
        ]
    );
    assert_eq!(audit("2026-05-01 12:00+00"), [""; 0]);
    db.exec("SELECT agent_metrics.decide('new', 'keep', 'Head of Support', 'it pays', at => '2026-04-20')");
    assert_eq!(
        audit("2026-05-02 00:00+00"),
        [
            "decision_overdue|Nobody has decided whether to keep or replace bot; the answer was due by 2026-05-01"
        ]
    );
    assert_eq!(
        db.lines("SELECT agent_id, decision, is_overdue FROM agent_kpi.decisions ORDER BY 1"),
        ["bot||t", "new|keep|f"]
    );
    // each refusal
    for (arguments, names) in [
        (
            "'bot', 'keep', 'Head of Support', NULL",
            "\"bot\" has no reason",
        ),
        (
            "'bot', 'keep', 'Head of Support', ' '",
            "\"bot\" has no reason",
        ),
        ("'bot', 'keep', NULL, 'because'", "\"bot\" has no author"),
        (
            "'bot', 'ponder', 'Head of Support', 'because'",
            "\"ponder\"",
        ),
        ("'none', 'keep', 'Head of Support', 'because'", "\"none\""),
        (
            "'bot', 'keep', 'Head of Support', 'because', 'new'",
            "\"new\"",
        ),
        (
            "'bot', 'replace', 'Head of Support', 'because', 'bot'",
            "\"bot\"",
        ),
    ] {
        refused_by_us(
            &db,
            &format!("SELECT agent_metrics.decide({arguments})"),
            "22023",
            names,
        );
    }
    db.exec("SELECT agent_metrics.decide('bot', 'replace', 'Head of Support', 'too dear', 'new', at => '2026-05-03')");
    for sql in [
        "UPDATE agent_metrics.decisions SET reason = 'x'",
        "DELETE FROM agent_metrics.decisions",
        "TRUNCATE agent_metrics.decisions",
    ] {
        refused_by_us(&db, sql, "55000", "decision");
    }
    assert_eq!(
        db.lines(
            "SELECT decision, decided_by, reason, replaced_by, is_overdue
             FROM agent_kpi.decisions WHERE agent_id = 'bot'"
        ),
        ["replace|Head of Support|too dear|new|f"]
    );
    // the numbers it rested on
    assert_eq!(
        db.lines(
            "SELECT jsonb_array_length(snapshot -> 'tiles'), snapshot -> 'tiles' -> 0 ->> 'metric'
             FROM agent_metrics.decisions WHERE agent_id = 'bot'"
        ),
        ["4|task_success_rate"]
    );
    assert_no_rows(
        &db,
        "SELECT * FROM agent_kpi.alerts WHERE kind LIKE 'decision%' AND acknowledged_at IS NULL",
    );
    // after the end nobody asks, and the history stays
    db.exec("SELECT agent_metrics.decide('bot', 'sunset', 'Head of Support', 'replaced', at => '2026-06-01')");
    assert_eq!(audit("2026-07-01 00:00+00").len(), 1);
    assert_eq!(
        db.lines(
            "SELECT sunset_at IS NOT NULL,
                    (SELECT count(*) FROM agent_metrics.decisions d WHERE d.agent_id = a.agent_id)
             FROM agent_metrics.agents a WHERE agent_id = 'bot'"
        ),
        ["t|2"]
    );
}

#[test]
fn what_was_open_before_its_channel_was_made_is_told_once() {
    let (db, receiver) = (webhook("alerts_late_channel"), Receiver::new());
    db.exec(
        "DELETE FROM agent_metrics.alert_channels;
         INSERT INTO agent_metrics.owners (owner) VALUES ('Head of Sales')",
    );
    for key in ["open", "seen"] {
        enqueue(&db, key);
    }
    db.exec(
        "SELECT agent_metrics.acknowledge_alert(alert_id, 'Head of Support')
         FROM agent_metrics_internal.alerts WHERE dedupe_key = 'seen'",
    );
    let now = Utc::now();
    assert_eq!(receiver.deliver(&db, now), NOTHING);
    // a channel of another owner, and one that is switched off, take nothing
    db.exec(
        "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env, owner, is_active)
         VALUES ('theirs', 'slack', 'AGENT_METRICS_URL', 'Head of Sales', true),
                ('ours', 'slack', 'AGENT_METRICS_URL', 'Head of Support', false)",
    );
    assert_eq!(receiver.deliver(&db, now), NOTHING);
    db.exec("UPDATE agent_metrics.alert_channels SET is_active = true");
    assert_eq!(receiver.deliver(&db, now), SENT);
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(receiver.deliver(&db, now), NOTHING, "once");
    assert_eq!(
        db.lines("SELECT kind, waiting_count, sent_count FROM agent_kpi.alerts ORDER BY acknowledged_at NULLS FIRST"),
        ["drift|0|1", "drift|0|0"]
    );
}

#[test]
fn an_agent_that_is_new_is_asked_nothing() {
    let db = webhook("alerts_new_agent");
    // a year of history is brought in, and registered today
    db.exec(
        "SELECT agent_metrics.register_agent('new', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'new', now() - n * interval '1 day', 'c' || n, 'resolved' FROM generate_series(0, 365) AS n",
    );
    db.exec("SELECT agent_metrics.refresh()");
    assert_no_rows(&db, "SELECT * FROM agent_metrics.run_audits()");
    assert_no_rows(&db, "SELECT * FROM agent_kpi.decisions");
    assert_no_rows(&db, "SELECT * FROM agent_metrics_internal.review_samples");
    // after a week there is a week to review, after three months something to decide
    let since = |days: u32| {
        db.exec(&format!(
            "UPDATE agent_metrics.agents SET registered_at = now() - interval '{days} days' WHERE agent_id = 'new'"
        ));
        db.lines("SELECT kind FROM agent_metrics.run_audits()")
    };
    assert_eq!(since(8), [""; 0]);
    assert_eq!(
        db.lines("SELECT split_part(sample_id, ' ', 1) FROM agent_metrics_internal.review_samples"),
        ["week"]
    );
    assert_eq!(since(80), [""; 0]);
    assert_eq!(since(93), ["decision_due"]);
    // one that was registered long ago and took its first turn now is as new
    db.exec(
        "SELECT agent_metrics.register_agent('late', 'support', 'Head of Support');
         UPDATE agent_metrics.agents SET registered_at = now() - interval '1 year' WHERE agent_id = 'late';
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id) VALUES ('late', now(), 'c')",
    );
    db.exec("SELECT agent_metrics.refresh()");
    assert_no_rows(&db, "SELECT * FROM agent_metrics.run_audits()");
}
