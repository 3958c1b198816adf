//! Faults of what people are told and asked: alerts, thresholds, plans, decisions.

use super::{Fault, content, cure_of, fault, plant_and_cure, shell, steps, well};
use crate::alerts::outbox::Receiver;
use crate::support::program::{program, works};

/// Fault, how it comes about, what `doctor` says, what a person fills in.
const PEOPLE: &[Fault] = &[
    fault(
        "nobody_told",
        &["INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
           SELECT 'bot', now() - n * interval '1 minute', 'bad' || n, 'failure' FROM generate_series(1, 300) n",
          "SELECT agent_metrics.refresh()",
          "SELECT agent_metrics.evaluate_thresholds()"],
        "of Head of Support reach nobody: no active channel takes them",
        &[("<name>", "'alerts'")],
    ),
    fault(
        "dead",
        &["INSERT INTO agent_metrics.alert_channels (channel, kind, url_env)
           VALUES ('ops', 'slack', 'AGENT_METRICS_X')",
          "SELECT agent_metrics_internal.enqueue_alert('drift', 'bot', 'k', '{\"summary\": \"s\"}', 'Head of Support')",
          "UPDATE agent_metrics_internal.alert_deliveries SET state = 'dead', attempts = 12, last_error = '404'"],
        "was given up on channel ops after 12 attempts: 404",
        &[],
    ),
    fault(
        "quiet",
        &["INSERT INTO agent_metrics.alert_channels (channel, kind, url_env)
           VALUES ('ops', 'slack', 'AGENT_METRICS_X')",
          "ALTER TABLE agent_metrics.alert_channels DISABLE TRIGGER check_alert_channel",
          "UPDATE agent_metrics.alert_channels SET time_zone = 'Mars'",
          "ALTER TABLE agent_metrics.alert_channels ENABLE ALWAYS TRIGGER check_alert_channel"],
        "channel ops has quiet hours in zone \"Mars\"",
        &[("<zone>", "'Europe/Berlin'")],
    ),
    fault(
        "thresholds",
        &["INSERT INTO agent_metrics.thresholds (agent_id, metric, value, owner)
           VALUES ('bott', 'task_success_rate', 0.9, 'Head of Support')"],
        "1 thresholds are of agent bott, which is not registered",
        &[],
    ),
    fault(
        "baseline",
        &["UPDATE agent_metrics.agents SET baseline_agent_id = 'teem'"],
        "agent bot is set beside \"teem\"",
        &[("<team>", "NULL")],
    ),
    fault(
        "plan",
        &["INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('v1')",
          "INSERT INTO agent_metrics.eval_cases (eval_set, case_id, input)
           SELECT 'v1', 'c' || n, '1' FROM generate_series(1, 200) n",
          "SELECT agent_metrics.freeze_eval_set('v1')",
          "INSERT INTO agent_metrics.eval_plans (agent_id, eval_set, since) VALUES ('bot', 'v1', current_date - 20)"],
        "agent bot has not run eval set v1 on Monday",
        &[("<run_id>", "'r1'"),
          ("<results>", "(SELECT jsonb_agg(jsonb_build_object('case_id', 'c' || n, 'passed', true))
                          FROM generate_series(1, 200) n)")],
    ),
    fault(
        "planless",
        &["INSERT INTO agent_metrics.eval_sets (eval_set) VALUES ('v1')",
          "INSERT INTO agent_metrics.eval_plans (agent_id, eval_set, since) VALUES ('bott', 'v1', current_date)"],
        "eval set v1 is to be run by agent bott, which is not registered",
        &[],
    ),
    fault(
        "undecided",
        &["UPDATE agent_metrics.agents SET registered_at = now() - interval '1 year'",
          "INSERT INTO agent_metrics_internal.decision_requests (agent_id, quarter, owner, asked_at, due_on)
           SELECT 'bot', date_trunc('quarter', now())::date, 'Head of Support', now() - interval '40 days',
                  current_date - 10"],
        "nobody has decided whether to keep or replace agent bot",
        &[("<decision>", "'keep'"), ("<who>", "'Head of Support'"), ("<why>", "'it pays'")],
    ),
];

#[test]
fn faults_of_what_people_are_told_are_cured_by_what_is_printed() {
    plant_and_cure(PEOPLE);
}

#[test]
fn a_channel_whose_variable_is_not_set_is_named_until_it_is() {
    let (db, receiver) = (well("variable"), Receiver::new());
    db.exec(
        "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env)
         VALUES ('ops', 'slack', 'AGENT_METRICS_SLACK_URL');
         SELECT agent_metrics_internal.enqueue_alert(
             'drift', 'bot', 'k', '{\"summary\": \"fell\"}', 'Head of Support')",
    );
    works(db.url(), &["once"]);
    let cure = cure_of(
        db.url(),
        "channel ops takes no alerts, 1 wait: the environment of the program has no AGENT_METRICS_SLACK_URL",
    );
    for step in steps(&cure) {
        if step.starts_with("agent-metrics ") {
            shell(
                db.url(),
                &step,
                &[("AGENT_METRICS_SLACK_URL", receiver.url())],
            );
        } else {
            db.exec(&step);
        }
    }
    assert_eq!(receiver.take().len(), 1);
    content(&db, "after the alert went out");
}

#[test]
fn what_is_no_fault_is_a_note() {
    let db = well("notes");
    let (code, stdout, _) = program(db.url(), &["doctor"]);
    assert!(
        code == 0
            && stdout.starts_with("nothing is wrong")
            && stdout.contains("* hallucination_rate is held to a threshold and has no value")
            && stdout.contains("bring reviews or judgements"),
        "{stdout}"
    );
    db.exec("DELETE FROM agent_metrics.thresholds WHERE metric = 'hallucination_rate'");
    works(db.url(), &["refresh"]);
    assert!(program(db.url(), &["doctor"]).1.starts_with("all is well"));
    // an open breach that somebody was told of is business, and all is not well
    db.exec(
        "INSERT INTO agent_metrics.alert_channels (channel, kind, url_env)
           VALUES ('ops', 'slack', 'AGENT_METRICS_X');
         INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT 'bot', now() - n * interval '1 minute', 'bad' || n, 'failure' FROM generate_series(1, 300) n",
    );
    works(db.url(), &["refresh"]);
    let (code, stdout, _) = program(db.url(), &["doctor"]);
    assert!(
        code == 0
            && !stdout.contains("all is well")
            && stdout.contains("* task_success_rate of agent bot is beyond its threshold")
            && stdout.contains("agent_metrics.acknowledge("),
        "{stdout}"
    );
    db.exec(
        "SELECT agent_metrics.register_agent('idle', 'support', 'Head of Support');
         INSERT INTO agent_metrics.agent_kinds (kind, cadence, bucket_seconds, outcome_metric, unit_name)
         VALUES ('own', '0 * * * *', 3600, 'automation_rate', 'thing');
         SELECT agent_metrics.register_agent('free', 'own', 'Head of Support');
         UPDATE agent_metrics.thresholds SET review_on = current_date - 1
         WHERE agent_id = 'bot' AND metric = 'latency_p95_ms'",
    );
    let (_, stdout, _) = program(db.url(), &["doctor"]);
    for words in [
        "* agent idle is registered and has no turn yet",
        "* agent free is held to no threshold",
        "* the threshold of latency_p95_ms for agent bot was to be looked at again",
    ] {
        assert!(stdout.contains(words), "{words} is missing in: {stdout}");
    }
}
