//! A trace is closed after span_days: a later span adds the turn that is missing, it changes and deletes nothing.

use super::cases::ingest;
use super::cases::{TURNS, cases_db};
use crate::events::ingest::{otlp, span};
use crate::support::Db;

fn call(id: &str, parent: &str, names: &[(&str, &str)]) -> String {
    let mut attributes = vec![
        ("gen_ai.operation.name", "\"chat\""),
        ("gen_ai.request.model", "\"gpt-x\""),
        ("gen_ai.usage.input_tokens", "1000"),
        ("gen_ai.usage.output_tokens", "50"),
    ];
    attributes.extend(names);
    span(id, parent, 0, &attributes)
}

const NAMED: [(&str, &str); 2] = [
    ("gen_ai.agent.name", "\"support-bot\""),
    ("gen_ai.conversation.id", "\"c-1\""),
];

fn close(db: &Db) -> String {
    db.exec("UPDATE agent_metrics_internal.traces SET last_seen = now() - interval '8 days'");
    db.value("SELECT agent_metrics.close_traces()").unwrap()
}

#[test]
fn a_closed_trace_is_only_added_to() {
    let db = cases_db("traces_closing");
    ingest(&db, &otlp(&[call("leaf", "wrapper", &NAMED)]));
    assert_eq!(
        db.value("SELECT agent_metrics.close_traces()").as_deref(),
        Some("0"),
        "it is young"
    );
    assert_eq!(close(&db), "1");
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics_internal.spans"),
        ["0"]
    );
    let before = db.lines("SELECT e::text FROM agent_metrics.agent_events e");
    // what is known, with other names; its wrapper would take its place, were the trace open
    let other = [
        ("gen_ai.agent.name", "\"helper\""),
        ("gen_ai.conversation.id", "\"c-2\""),
    ];
    ingest(&db, &otlp(&[call("leaf", "wrapper", &other)]));
    assert_eq!(
        db.lines("SELECT e::text FROM agent_metrics.agent_events e"),
        before
    );
    ingest(&db, &otlp(&[call("late", "", &NAMED)]));
    assert_eq!(db.lines(TURNS).len(), 2, "what is missing is added");
}

#[test]
fn what_still_waits_when_its_trace_is_closed_can_be_mended() {
    let db = cases_db("traces_waiting");
    ingest(
        &db,
        &otlp(&[call(
            "leaf",
            "",
            &[("gen_ai.agent.name", "\"support-bot\"")],
        )]),
    );
    assert_eq!(
        db.lines("SELECT missing, turns, tokens FROM agent_kpi.incomplete_traces"),
        ["no conversation_id|1|1050"]
    );
    assert_eq!(close(&db), "1");
    assert_eq!(
        db.lines(
            "SELECT reason, event ->> 'token_usage_input' FROM agent_metrics.quarantined_events"
        ),
        ["no conversation_id|1000"]
    );
    db.exec(
        "UPDATE agent_metrics.quarantined_events SET event = event || '{\"conversation_id\": \"c-7\"}';
         SELECT * FROM agent_metrics.retry_quarantined()",
    );
    assert_eq!(db.lines(TURNS), ["support-bot|c-7|1000|50|||0.0024||f"]);
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics.quarantined_events"),
        ["0"]
    );
}

#[test]
fn what_waited_keeps_its_cost_and_what_was_said_of_it() {
    let db = cases_db("traces_waiting_cost");
    let waits = call(
        "leaf",
        "",
        &[
            ("shop.bot", "\"support-bot\""),
            NAMED[1],
            ("gen_ai.usage.cost", "\"0.5\""),
        ],
    );
    ingest(&db, &otlp(std::slice::from_ref(&waits)));
    ingest(
        &db,
        &format!(
            r#"{{"evaluation": "tone", "score": 1, "event_id": "{}"}}"#,
            db.value("SELECT md5('trace/leaf')::uuid").unwrap()
        ),
    );
    assert_eq!(close(&db), "1");
    assert_eq!(
        db.lines("SELECT event ->> 'cost_usd' FROM agent_metrics.quarantined_events WHERE NOT event ? 'evaluation'"),
        ["0.5"]
    );
    // of a trace that is open, a name that is learnt brings in the turn and its judgement together
    db.exec(
        "DELETE FROM agent_metrics.quarantined_events WHERE NOT event ? 'evaluation';
         INSERT INTO agent_metrics.span_vocabulary (attribute, meaning) VALUES ('shop.bot', 'agent_name');
         DELETE FROM agent_metrics.span_vocabulary WHERE attribute = 'gen_ai.conversation.id'",
    );
    assert_eq!(ingest(&db, &otlp(&[waits])), "0|0|0|1");
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics.turn_scores"),
        ["0"]
    );
    db.exec(
        "UPDATE agent_metrics_internal.spans
         SET facts = replace(facts, '\"shop.bot\"', '\"session.id\":\"c-5\",\"shop.bot\"');
         SELECT * FROM agent_metrics.retry_quarantined()",
    );
    assert_eq!(
        db.lines("SELECT conversation_id, criterion, score FROM agent_metrics.turn_scores"),
        ["c-5|tone|1"]
    );
}

#[test]
fn an_erased_person_does_not_come_back_with_a_span_that_is_late() {
    let db = cases_db("traces_erased");
    let named = [NAMED[0], NAMED[1], ("user.id", "\"u-1\"")];
    ingest(&db, &otlp(&[call("leaf", "root", &named)]));
    db.exec("SELECT * FROM agent_metrics.erase_user('u-1')");
    assert_eq!(db.lines(TURNS).len(), 0);
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics_internal.spans WHERE facts LIKE '%u-1%'"),
        ["0"],
        "and is in no span that is kept"
    );
    ingest(
        &db,
        &otlp(&[span(
            "root",
            "",
            0,
            &[("gen_ai.operation.name", "\"invoke_agent\"")],
        )]),
    );
    assert_eq!(db.lines(TURNS).len(), 0);
}

#[test]
fn of_a_trace_without_end_the_oldest_spans_are_closed() {
    let db = cases_db("traces_without_end");
    let mut attributes = vec![("gen_ai.operation.name", "\"invoke_agent\"")];
    attributes.extend(NAMED);
    // it ends after all that lies below it
    ingest(&db, &otlp(&[span("root", "", 100_000, &attributes)]));
    for portion in 0..4 {
        let calls: Vec<String> = (portion * 3000..(portion + 1) * 3000)
            .map(|number| {
                span(
                    &format!("call-{number}"),
                    "root",
                    number,
                    &[
                        ("gen_ai.operation.name", "\"chat\""),
                        ("gen_ai.usage.input_tokens", "1000"),
                    ],
                )
            })
            .collect();
        assert_eq!(ingest(&db, &otlp(&calls)), "3000|0|0|0");
    }
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics_internal.spans"),
        ["5000"]
    );
    // what comes later hangs on what is still known; what was closed is there, and stays
    let late = call("late", "root", &[]);
    let old = span(
        "call-0",
        "root",
        0,
        &[
            ("gen_ai.operation.name", "\"chat\""),
            ("gen_ai.usage.input_tokens", "7"),
        ],
    );
    assert_eq!(ingest(&db, &otlp(&[late, old])), "1|1|0|0");
    assert_eq!(
        db.lines(
            "SELECT count(*), count(DISTINCT e.event_id), min(e.token_usage_input), min(e.conversation_id),
                    min(e.agent_id)
             FROM agent_metrics.agent_events e"
        ),
        ["12001|12001|1000|c-1|support-bot"]
    );
}

#[test]
fn a_wrapper_that_comes_after_its_call_was_closed_is_no_second_turn() {
    let db = cases_db("traces_closed_wrapper");
    ingest(
        &db,
        &otlp(&[call("wrapper", "", &NAMED), call("leaf", "wrapper", &NAMED)]),
    );
    assert_eq!(close(&db), "1");
    ingest(&db, &otlp(&[call("wrapper", "", &NAMED)]));
    assert_eq!(
        db.lines("SELECT count(*) FROM agent_metrics.agent_events"),
        ["1"]
    );
}
