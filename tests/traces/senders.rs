//! Nobody's spans change the turns of somebody else.

use super::cases::ingest;
use super::cases::{TURNS, cases_db};
use crate::events::ingest::{otlp, span};
use crate::support::asserts::assert_sqlstate;
use crate::support::login;

fn call(id: &str, parent: &str, agent: &str) -> String {
    span(
        id,
        parent,
        0,
        &[
            ("gen_ai.operation.name", "\"chat\""),
            ("gen_ai.agent.name", &format!("\"{agent}\"")),
            ("gen_ai.conversation.id", "\"c-1\""),
            ("gen_ai.usage.input_tokens", "1000"),
        ],
    )
}

#[test]
fn a_writer_changes_what_he_sent_and_nothing_else() {
    let db = cases_db("traces_senders");
    let (one, first) = login(&db, "first");
    let (two, second) = login(&db, "second");
    for role in [&one, &two] {
        db.exec(&format!(
            "SELECT agent_metrics.grant_access('{role}', 'writer')"
        ));
    }
    assert_eq!(
        ingest(&first, &otlp(&[call("wrapper", "", "support-bot")])),
        "1|0|0|0"
    );
    let before = db.lines("SELECT e::text FROM agent_metrics.agent_events e");
    // the same span with another agent, and one that would take its place
    ingest(
        &second,
        &otlp(&[call("wrapper", "", "mine"), call("leaf", "wrapper", "mine")]),
    );
    let after = db.lines("SELECT e::text FROM agent_metrics.agent_events e");
    assert!(before.iter().all(|turn| after.contains(turn)), "{after:?}");
    assert_eq!(
        ingest(&first, &otlp(&[call("leaf-1", "wrapper", "support-bot")])),
        "1|0|0|0"
    );
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics.agent_events WHERE agent_id = 'support-bot'"),
        ["1"],
        "his own wrapper gives way"
    );
    // not by calling the parts
    for call in [
        "SELECT agent_metrics_internal.take_spans('role postgres', NULL, NULL)",
        "SELECT agent_metrics_internal.store_pieces(NULL, 'role postgres', NULL, false)",
        "SELECT agent_metrics_internal.reconcile_traces('role postgres', NULL, '{trace}')",
        "DELETE FROM agent_metrics.agent_events",
        "SELECT * FROM agent_metrics_internal.spans",
        "SELECT agent_metrics.close_traces()",
    ] {
        assert_sqlstate(&second, call, "42501");
    }
    assert_eq!(db.lines(TURNS).len(), 2);
    db.exec(&format!(
        "DROP OWNED BY {one}; DROP OWNED BY {two}; DROP ROLE {one}; DROP ROLE {two}"
    ));
}

#[test]
fn one_turn_that_the_server_refuses_stops_no_other() {
    let db = cases_db("traces_refused");
    db.exec(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS
             $f$BEGIN RAISE EXCEPTION 'not this one' USING ERRCODE = 'check_violation'; END$f$;
         CREATE TRIGGER refuse BEFORE INSERT ON agent_metrics.agent_events
             FOR EACH ROW WHEN (NEW.agent_id = 'poison') EXECUTE FUNCTION public.refuse()",
    );
    let spans = [
        call("good", "", "support-bot"),
        call("bad", "", "poison"),
        call("fine", "", "support-bot"),
    ];
    assert_eq!(ingest(&db, &otlp(&spans)), "2|0|0|1");
    assert_eq!(
        db.lines("SELECT missing, turns FROM agent_kpi.incomplete_traces"),
        ["the server refused a value|1"]
    );
    db.exec("DROP TRIGGER refuse ON agent_metrics.agent_events");
    db.exec("SELECT * FROM agent_metrics.retry_quarantined()");
    assert_eq!(db.lines(TURNS).len(), 3, "it comes in when it may");
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_kpi.incomplete_traces"),
        ["0"]
    );
}

#[test]
fn a_token_writes_its_own_agents_and_nobody_elses_turns() {
    let db = cases_db("traces_tokens");
    db.exec("SELECT agent_metrics.create_ingest_token('team', ARRAY['support-bot'])");
    let as_token = |document: &str| {
        db.lines(&format!(
            "SELECT * FROM agent_metrics.ingest_as($json${document}$json$, 'team')"
        ))
        .remove(0)
    };
    let spans = [
        call("own", "", "support-bot"),
        call("other", "", "sales-bot"),
    ];
    assert_eq!(as_token(&otlp(&spans)), "1|0|0|1");
    assert_eq!(
        db.lines("SELECT missing FROM agent_kpi.incomplete_traces"),
        ["an agent that this sender may not write"]
    );
    let event = |agent: &str| {
        format!(
            r#"{{"agent_id": "{agent}", "occurred_at": "2026-03-01T10:00:00Z", "conversation_id": "c"}}"#
        )
    };
    assert_eq!(as_token(&event("support-bot")), "1|0|0|0");
    assert_eq!(as_token(&event("sales-bot")), "0|0|1|0");
    assert_eq!(
        db.lines("SELECT DISTINCT agent_id FROM agent_metrics.agent_events"),
        ["support-bot"]
    );
    // nor when the token's row is gone, and the door has not seen it yet
    db.exec("DELETE FROM agent_metrics.ingest_tokens");
    assert_eq!(
        as_token(&event("support-bot").replace("10:00:00", "11:00:00")),
        "0|0|1|0"
    );
    // not when it is tried again either
    db.exec("SELECT agent_metrics.close_traces()");
    assert_eq!(
        db.lines("SELECT DISTINCT agent_id FROM agent_metrics.agent_events"),
        ["support-bot"]
    );
}
