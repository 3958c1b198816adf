//! Nothing that somebody holds keeps agents from being refreshed: what cannot be done meanwhile is
//! named, and done later.

use crate::support::program::{Running, backdate, insert, program, two_agents, works};
use crate::support::{Db, Session};

/// Locks something in a session of its own, which is returned with it.
fn hold(db: &Db, sql: &str) -> Session {
    let holder = db.session();
    holder.exec(&format!("BEGIN; {sql}"));
    holder
}

fn problems(db: &Session) -> Vec<String> {
    db.lines(
        "SELECT concat_ws(' of ', job, nullif(subject, '')) FROM agent_metrics_internal.job_problems ORDER BY 1",
    )
}

#[test]
fn whatever_goes_with_a_refresh_waits_by_itself() {
    let db = two_agents("held_up_chores");
    db.exec(
        "CREATE SCHEMA crm;
         CREATE TABLE crm.tickets (id text PRIMARY KEY, status text, closed_at timestamptz);
         SELECT agent_metrics.attach_business_events('crm.tickets', business_event_id => 'id',
                                                     occurred_at => 'closed_at', kind => 'status');
         UPDATE agent_metrics_internal.attached_tables SET mode = 'compare';
         INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         VALUES ('p', 'm', 'input', 3), ('p', 'm', 'output', 15)",
    );
    db.exec("SELECT agent_metrics.refresh()");
    db.exec(
        "INSERT INTO agent_metrics_internal.closed_periods (month, closed_by, snapshot, origin)
         VALUES ('2020-01-01', 'x', pg_current_snapshot(), agent_metrics_internal.origin())",
    );
    for (what, job) in [
        ("LOCK TABLE crm.tickets", "attached table"),
        ("LOCK TABLE agent_metrics.token_prices", "prices"),
        (
            "SELECT FROM agent_metrics_internal.closed_periods FOR UPDATE",
            "adjustments",
        ),
        ("LOCK TABLE agent_metrics_internal.breaches", "thresholds"),
        (
            "LOCK TABLE agent_metrics_internal.decision_requests",
            "audits",
        ),
        (
            "LOCK TABLE agent_metrics_internal.alert_deliveries",
            "alerts",
        ),
    ] {
        insert(
            &db,
            &what.replace(|c: char| !c.is_ascii_alphabetic(), "-"),
            2,
        );
        backdate(&db);
        let holder = hold(&db, what);
        let running = Running::new(db.url(), &["run"]);
        if job == "attached table" {
            // said before the refresh, which does not wait for it
            running.says(job);
        }
        running.says("refreshed bot: 2 events");
        running.says("refreshed seller: 2 events");
        // named, where it is not named by the job itself
        if job != "attached table" {
            db.until(&format!(
                "SELECT count(*) = 1 FROM agent_metrics_internal.job_problems WHERE job = '{job}'"
            ));
            let status = works(db.url(), &["status"]);
            assert!(status.contains(&format!("problem: {job}")), "{status}");
            let (_, doctor, _) = program(db.url(), &["doctor"]);
            assert!(
                doctor.contains(&format!("job {job} fails since"))
                    || doctor.contains("could not look"),
                "{doctor}"
            );
            assert!(doctor.contains("pg_stat_activity"), "{doctor}");
        }
        holder.exec("COMMIT");
        assert_eq!(running.terminate(), Some(0));
        works(db.url(), &["once"]);
        backdate(&db);
        works(db.url(), &["once"]);
        assert_eq!(problems(&db), [""; 0], "{what}");
    }
}

#[test]
fn a_turn_that_somebody_writes_is_priced_when_he_has_done() {
    let db = two_agents("held_up_prices");
    db.exec(
        "INSERT INTO agent_metrics.token_prices (provider, model, usage_type, usd_per_million)
         VALUES ('p', 'm', 'input', 3), ('p', 'm', 'output', 15);
         INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, model, token_usage_input, token_usage_output)
         SELECT a, now(), 'priced-' || a || n, 'm', 1000, 100
         FROM unnest(ARRAY['bot', 'seller']) a, generate_series(1, 3) n",
    );
    let unpriced =
        "SELECT count(*) FROM agent_metrics.agent_events WHERE model = 'm' AND cost_usd IS NULL";
    let writer = hold(
        &db,
        "UPDATE agent_metrics.agent_events SET outcome_label = 'success' WHERE conversation_id = 'priced-bot1'",
    );
    let impatient = db.session();
    impatient.exec("SET lock_timeout = '1ms'");
    assert_eq!(impatient.number("SELECT agent_metrics.price_events()"), 5.0);
    assert_eq!(db.number(unpriced), 1.0);
    // asked again while he is at it, and after another's turn
    assert_eq!(impatient.number("SELECT agent_metrics.price_events()"), 0.0);
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, model, token_usage_input, token_usage_output)
         VALUES ('bot', now(), 'later', 'm', 1, 1)",
    );
    assert_eq!(impatient.number("SELECT agent_metrics.price_events()"), 1.0);
    // and the refresh does not wait
    let running = Running::new(db.url(), &["run"]);
    running.says("refreshed bot");
    running.says("refreshed seller");
    assert_eq!(running.terminate(), Some(0));
    writer.exec("COMMIT");
    assert_eq!(impatient.number("SELECT agent_metrics.price_events()"), 1.0);
    assert_eq!(db.number(unpriced), 0.0);
    assert_eq!(impatient.number("SELECT agent_metrics.price_events()"), 0.0);
    // what he rolls back is found as well
    db.exec(
        "INSERT INTO agent_metrics.agent_events (
             agent_id, occurred_at, conversation_id, model, token_usage_input, token_usage_output)
         VALUES ('bot', now(), 'rolled', 'm', 1, 1)",
    );
    let writer = hold(
        &db,
        "DELETE FROM agent_metrics.agent_events WHERE conversation_id = 'rolled'",
    );
    assert_eq!(impatient.number("SELECT agent_metrics.price_events()"), 0.0);
    writer.exec("ROLLBACK");
    assert_eq!(impatient.number("SELECT agent_metrics.price_events()"), 1.0);
}

#[test]
fn a_locked_agent_holds_up_no_other() {
    let db = two_agents("held_up_agent");
    db.exec("SELECT agent_metrics.refresh()");
    db.exec(
        "INSERT INTO agent_metrics.agent_events (agent_id, occurred_at, conversation_id, outcome_label)
         SELECT agent_id, now(), conversation_id, 'failure' FROM agent_metrics.conversations",
    );
    backdate(&db);
    let holder = hold(
        &db,
        "SELECT FROM agent_metrics.conversations WHERE agent_id = 'bot' FOR UPDATE",
    );
    let running = Running::new(db.url(), &["run"]);
    running.says("refreshed seller: 20 events");
    running.says("could not refresh bot");
    db.until("SELECT count(*) = 1 FROM agent_metrics_internal.job_problems WHERE job = 'refresh' AND subject = 'bot'");
    let (_, doctor, _) = program(db.url(), &["doctor"]);
    assert!(
        doctor.contains("job refresh of bot fails since") && doctor.contains("lock timeout"),
        "{doctor}"
    );
    holder.exec("COMMIT");
    running.says("refreshed bot: 20 events");
    db.until("SELECT count(*) = 0 FROM agent_metrics_internal.job_problems");
    assert_eq!(running.terminate(), Some(0));
    assert_eq!(works(db.url(), &["verify"]), "");
}

#[test]
fn once_does_what_it_can() {
    let db = two_agents("held_up_once");
    let holder = hold(&db, "LOCK TABLE agent_metrics_internal.decision_requests");
    let said = works(db.url(), &["once"]);
    assert!(
        said.contains("refreshed bot") && said.contains("refreshed seller"),
        "{said}"
    );
    assert_eq!(problems(&db), ["audits"]);
    holder.exec("COMMIT");
    works(db.url(), &["once"]);
    assert_eq!(problems(&db), [""; 0]);
}
