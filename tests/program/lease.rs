//! The scheduler's lead: a row that only an admin may write, taken over when it ran out, whatever the clock did.

use crate::support::asserts::assert_sqlstate;
use crate::support::program::{Running, backdate, insert, program, two_agents, works};
use crate::support::{Db, db, login};

const FIRST: &str = "00000000-0000-0000-0000-00000000000a";
const SECOND: &str = "00000000-0000-0000-0000-00000000000b";

fn take(db: &Db, holder: &str) -> Option<String> {
    db.value(&format!(
        "SELECT agent_metrics_internal.take_lead('{holder}', 'a test', 15)"
    ))
}

fn renew(db: &Db, holder: &str, term: i64) -> Option<String> {
    db.value(&format!(
        "SELECT agent_metrics_internal.renew_lead('{holder}', {term}, 15)"
    ))
}

#[test]
fn nobody_but_an_admin_takes_the_lead() {
    let db = two_agents("lease_strangers");
    for level in ["", "reader", "writer"] {
        let (name, session) = login(&db, &format!("stranger{level}"));
        if !level.is_empty() {
            db.exec(&format!(
                "SELECT agent_metrics.grant_access('{name}', '{level}')"
            ));
        }
        for sql in [
            format!("SELECT agent_metrics_internal.take_lead('{FIRST}', 'x', 3600)"),
            format!("SELECT agent_metrics_internal.renew_lead('{FIRST}', 1, 3600)"),
            format!("SELECT agent_metrics_internal.release_lead('{FIRST}')"),
            "SELECT agent_metrics_internal.record_jobs('{x}', '{}', '{x}')".to_owned(),
            "UPDATE agent_metrics_internal.scheduler_lease SET holder = NULL".to_owned(),
            "DELETE FROM agent_metrics_internal.scheduler_lease".to_owned(),
            "DO $$ BEGIN LOCK TABLE agent_metrics_internal.scheduler_lease IN ACCESS SHARE MODE; END $$"
                .to_owned(),
            "SELECT FROM agent_metrics_internal.scheduler_lease FOR UPDATE".to_owned(),
        ] {
            assert_eq!(session.error(&sql).sqlstate, "42501", "{level}: {sql}");
        }
        // what was the lead, and anything like it, is no lead
        session.exec(
            "SELECT pg_advisory_lock(7018690069354341748),
                    pg_advisory_lock_shared(hashtext('agent_metrics'))",
        );
        let running = Running::new(db.url(), &["run"]);
        running.says("leading");
        assert_eq!(running.terminate(), Some(0));
        if !level.is_empty() {
            db.exec(&format!("SELECT agent_metrics.revoke_access('{name}')"));
        }
        drop(session);
        db.exec(&format!("DROP ROLE {name}"));
    }
}

#[test]
fn a_lease_is_taken_over_when_it_ran_out_and_not_before() {
    let db = db("lease_turns");
    assert_eq!(take(&db, FIRST).as_deref(), Some("1"));
    assert_eq!(take(&db, SECOND), None);
    assert_eq!(
        take(&db, FIRST).as_deref(),
        Some("1"),
        "one's own is taken up again"
    );
    assert_eq!(renew(&db, FIRST, 1).as_deref(), Some("t"));
    assert_eq!(renew(&db, SECOND, 1).as_deref(), Some("f"));
    db.exec(
        "UPDATE agent_metrics_internal.scheduler_lease
         SET renewed_at = now() - interval '16 seconds', expires_at = now() - interval '1 second'",
    );
    assert_eq!(
        db.value("SELECT is_alive FROM agent_kpi.scheduler")
            .as_deref(),
        Some("f")
    );
    assert_eq!(
        renew(&db, FIRST, 1).as_deref(),
        Some("t"),
        "late, and nobody came"
    );
    db.exec(
        "UPDATE agent_metrics_internal.scheduler_lease
         SET renewed_at = now() - interval '16 seconds', expires_at = now() - interval '1 second'",
    );
    assert_eq!(take(&db, SECOND).as_deref(), Some("2"));
    assert_eq!(
        renew(&db, FIRST, 1).as_deref(),
        Some("f"),
        "whoever slept sees that he was followed"
    );
    db.exec(&format!(
        "SELECT agent_metrics_internal.release_lead('{FIRST}')"
    ));
    assert_eq!(take(&db, FIRST), None, "only the holder lets go");
    db.exec(&format!(
        "SELECT agent_metrics_internal.release_lead('{SECOND}')"
    ));
    assert_eq!(take(&db, FIRST).as_deref(), Some("3"));
    for (holder, seconds) in [
        ("NULL", "15"),
        ("'x'", "0"),
        ("'x'", "3601"),
        ("'x'", "NULL"),
    ] {
        let holder = holder.replace('x', FIRST);
        assert_sqlstate(
            &db,
            &format!("SELECT agent_metrics_internal.take_lead({holder}, 'x', {seconds})"),
            "22023",
        );
    }
    for lasting in [
        "expires_at = 'infinity'",
        "expires_at = now() + interval '1 year'",
    ] {
        assert_sqlstate(
            &db,
            &format!("UPDATE agent_metrics_internal.scheduler_lease SET {lasting}"),
            "23514",
        );
    }
}

#[test]
fn a_clock_that_was_ahead_keeps_nobody_waiting() {
    let db = db("lease_clock");
    assert_eq!(take(&db, FIRST).as_deref(), Some("1"));
    db.exec(
        "UPDATE agent_metrics_internal.scheduler_lease
         SET renewed_at = now() + interval '1 year',
             expires_at = now() + interval '1 year 15 seconds'",
    );
    assert_eq!(
        db.value("SELECT is_alive FROM agent_kpi.scheduler")
            .as_deref(),
        Some("f")
    );
    assert_eq!(take(&db, SECOND).as_deref(), Some("2"));
    // put back by less than a lease: the leader, who is there, goes on
    db.exec(
        "UPDATE agent_metrics_internal.scheduler_lease
         SET renewed_at = now() + interval '10 seconds',
             expires_at = now() + interval '25 seconds'",
    );
    assert_eq!(take(&db, FIRST), None);
    assert_eq!(renew(&db, SECOND, 2).as_deref(), Some("t"));
    assert_eq!(
        db.value("SELECT expires_at <= now() + interval '16 seconds' FROM agent_kpi.scheduler")
            .as_deref(),
        Some("t")
    );
}

#[test]
fn who_was_followed_follows_and_leads_again() {
    let db = two_agents("lease_followed");
    let running = Running::new(db.url(), &["run"]);
    running.says("refreshed seller");
    // as if this one had slept and another had come
    db.exec(&format!(
        "UPDATE agent_metrics_internal.scheduler_lease
         SET holder = '{FIRST}', term = term + 1, who = 'process 1 on elsewhere',
             renewed_at = now(), expires_at = now() + interval '1 hour'"
    ));
    running.says("another has taken the lead");
    let line = running.says("following");
    assert!(line.contains("process 1 on elsewhere"), "{line}");
    insert(&db, "second", 3);
    backdate(&db);
    db.exec(&format!(
        "SELECT agent_metrics_internal.release_lead('{FIRST}')"
    ));
    running.says("leading");
    running.says("refreshed bot: 3 events");
    assert_eq!(running.terminate(), Some(0));
    assert!(works(db.url(), &["status"]).contains("scheduler: none runs"));
    let (_, doctor, _) = program(db.url(), &["doctor"]);
    assert!(doctor.contains("no scheduler runs"), "{doctor}");
}
