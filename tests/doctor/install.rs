//! Faults of the install: rows, settings, triggers, partitions.

use super::{Fault, apply, content, cure_of, fault, plant_and_cure, steps, well};
use crate::support::program::{Running, program, works};
use crate::support::{empty_db, login, url_of};

/// Fault, how it comes about, what `doctor` says, what a person fills in.
const INSTALL: &[Fault] = &[
    fault(
        "rows",
        &["DELETE FROM agent_metrics.settings"],
        "rows that ship with agent_metrics are missing",
        &[],
    ),
    fault(
        "zone",
        &[
            "ALTER TABLE agent_metrics.settings DISABLE TRIGGER check_setting",
            "UPDATE agent_metrics.settings SET value = 'Mars/Olympus' WHERE name = 'report_time_zone'",
            "ALTER TABLE agent_metrics.settings ENABLE ALWAYS TRIGGER check_setting",
        ],
        "report_time_zone is \"Mars/Olympus\"",
        &[("<zone>", "'UTC'")],
    ),
    fault(
        "cadence",
        &[
            "ALTER TABLE agent_metrics.agents DISABLE TRIGGER check_agent",
            "UPDATE agent_metrics.agents SET cadence = 'now and then'",
            "ALTER TABLE agent_metrics.agents ENABLE ALWAYS TRIGGER check_agent",
        ],
        "agent bot cannot be scheduled",
        &[("<cadence>", "'*/5 * * * *'"), ("<zone>", "'UTC'")],
    ),
    fault(
        "days",
        &[
            "ALTER TABLE agent_metrics.settings DISABLE TRIGGER check_setting",
            "UPDATE agent_metrics.settings SET value = 'many' WHERE name = 'hot_days'",
            "ALTER TABLE agent_metrics.settings ENABLE ALWAYS TRIGGER check_setting",
        ],
        "setting hot_days is \"many\"",
        &[("<days>", "'90'")],
    ),
    fault(
        "setting",
        &[
            "ALTER TABLE agent_metrics.settings DISABLE TRIGGER check_setting",
            "INSERT INTO agent_metrics.settings (name, value) VALUES ('report_timezone', 'Asia/Tokyo')",
            "ALTER TABLE agent_metrics.settings ENABLE ALWAYS TRIGGER check_setting",
        ],
        "nothing reads setting \"report_timezone\"",
        &[],
    ),
    fault(
        "trigger",
        &[
            "DROP TRIGGER zz_check_turn ON agent_metrics.agent_events",
            "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, recorded_in)
             VALUES ('bot', now() - interval '1 hour', 'unseen', '3')",
        ],
        "trigger zz_check_turn of table agent_metrics.agent_events is missing",
        &[],
    ),
    fault(
        "disabled",
        &["ALTER TABLE agent_metrics.business_events DISABLE TRIGGER log_business_event"],
        "trigger log_business_event of table agent_metrics.business_events is disabled",
        &[],
    ),
    fault(
        "blocker",
        &["DO $$ BEGIN EXECUTE format('CREATE VIEW public.mine AS SELECT agent_id FROM agent_metrics.%I',
               to_char(now() AT TIME ZONE 'UTC', '\"agent_events_y\"YYYY\"m\"MM')); END $$"],
        "view public.mine of postgres stands on table",
        &[],
    ),
    fault(
        "months",
        &["DO $$ BEGIN EXECUTE format('DROP TABLE agent_metrics.%I, agent_metrics.agent_events_after',
               to_char((now() AT TIME ZONE 'UTC') + interval '3 months', '\"agent_events_y\"YYYY\"m\"MM'));
             EXECUTE format('DROP TABLE agent_metrics.%I',
               to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months',
                       '\"agent_events_y\"YYYY\"m\"MM')); END $$"],
        "the partition of ",
        &[],
    ),
];

#[test]
fn faults_of_the_install_are_cured_by_what_is_printed() {
    plant_and_cure(INSTALL);
}

#[test]
fn what_is_not_made_yet_is_made_by_what_is_printed() {
    let db = empty_db("doctor_nothing");
    apply(
        &db,
        &cure_of(db.url(), "there is no agent_metrics in database"),
        &[],
    );
    let found = cure_of(db.url(), "no agent is registered");
    assert!(found.starts_with("register an agent"), "{found}");
    let db = empty_db("doctor_tableless");
    db.exec("CREATE EXTENSION agent_metrics");
    apply(&db, &cure_of(db.url(), "has no tables yet"), &[]);
    cure_of(db.url(), "no agent is registered");
}

#[test]
fn a_scheduler_is_missed_until_one_runs() {
    let db = well("scheduler");
    db.exec("DELETE FROM agent_metrics_internal.scheduler_lease");
    let cure = cure_of(db.url(), "no scheduler runs");
    assert_eq!(steps(&cure), ["agent-metrics run"]);
    let running = Running::new(db.url(), &["run"]);
    running.says("leading");
    content(&db, "with a scheduler");
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn settings_of_a_role_are_cured_by_what_is_printed() {
    let db = well("role");
    let (role, session) = login(&db, "program");
    drop(session);
    let (_, host) = url_of(db.name())
        .split_once('@')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let url = format!("postgresql://{role}:only-for-this-test@{host}");
    db.exec(&format!(
        "SELECT agent_metrics.grant_access('{role}', 'admin')"
    ));
    assert_eq!(program(&url, &["doctor"]).0, 0);
    for (setting, says) in [
        (
            "default_transaction_read_only = on",
            "default_transaction_read_only is on for user",
        ),
        (
            "statement_timeout = '1s'",
            "statement_timeout is 1000 ms for user",
        ),
    ] {
        db.exec(&format!("ALTER ROLE {role} SET {setting}"));
        apply(&db, &cure_of(&url, says), &[]);
        let (code, stdout, _) = program(&url, &["doctor"]);
        assert_eq!(code, 0, "{stdout}");
    }
    db.exec(&format!(
        "SELECT agent_metrics.revoke_access('{role}'); DROP ROLE {role}"
    ));
}

#[test]
fn who_holds_a_lock_is_found_and_ended() {
    let db = well("lock");
    let holder = db.session();
    holder.exec("BEGIN; LOCK TABLE agent_metrics.alert_channels IN ACCESS EXCLUSIVE MODE");
    let pid = holder.value("SELECT pg_backend_pid()").unwrap();
    works(db.url(), &["once"]);
    let cure = cure_of(db.url(), "job alerts fails since");
    apply(&db, &cure, &[("<pid>", &pid)]);
    content(&db, "after the lock");
}
