//! What spans do not bring stays with the turn, whichever span it goes on under; what was said of it goes with it.

use super::cases::ingest;
use super::cases::{TURNS, cases_db};
use crate::events::ingest::{otlp, span};
use crate::support::Db;
use crate::support::rollups::{assert_rollups, refresh};

fn call(id: &str, parent: &str, at: u64, more: &[(&str, &str)]) -> String {
    let mut attributes = vec![
        ("gen_ai.operation.name", "\"chat\""),
        ("gen_ai.provider.name", "\"openai\""),
        ("gen_ai.request.model", "\"gpt-x\""),
        ("gen_ai.usage.input_tokens", "1000"),
        ("gen_ai.usage.output_tokens", "50"),
    ];
    attributes.extend(more);
    span(id, parent, at, &attributes)
}

const NAMED: [(&str, &str); 2] = [
    ("gen_ai.agent.name", "\"support-bot\""),
    ("gen_ai.conversation.id", "\"c-1\""),
];

fn judged(db: &Db) -> Vec<String> {
    db.lines(
        "SELECT e.outcome_label, e.business_event_id, e.cost_usd,
                (SELECT string_agg(s.criterion || ' ' || s.score, ',' ORDER BY s.criterion)
                 FROM agent_metrics.turn_scores s
                 WHERE (s.agent_id, s.occurred_at, s.event_id) = (e.agent_id, e.occurred_at, e.event_id)),
                (SELECT string_agg(v.call_index || ' ' || v.tool || ' ' || v.is_correct, ',' ORDER BY v.call_index)
                 FROM agent_metrics.tool_call_verdicts v
                 WHERE (v.agent_id, v.occurred_at, v.event_id) = (e.agent_id, e.occurred_at, e.event_id)),
                (SELECT string_agg(r.answer_verdict, ',') FROM agent_metrics.reviews r
                 WHERE (r.agent_id, r.occurred_at, r.event_id) = (e.agent_id, e.occurred_at, e.event_id)
                   AND r.conversation_id = e.conversation_id)
         FROM agent_metrics.agent_events e ORDER BY e.occurred_at",
    )
}

#[test]
fn a_turn_that_goes_on_under_another_span_keeps_what_people_said_of_it() {
    let db = cases_db("traces_replaced");
    let tool = |id: &str, parent: &str, at| {
        span(
            id,
            parent,
            at,
            &[
                ("gen_ai.operation.name", "\"execute_tool\""),
                ("gen_ai.tool.name", &format!("\"{id}\"")),
            ],
        )
    };
    // a wrapper that stands alone, with a tool below it
    assert_eq!(
        ingest(
            &db,
            &otlp(&[call("wrapper", "", 0, &NAMED), tool("mail", "wrapper", 5)])
        ),
        "1|0|0|0"
    );
    let turn = "(SELECT e.event_id FROM agent_metrics.agent_events e)";
    db.exec(&format!(
        "UPDATE agent_metrics.agent_events SET outcome_label = 'resolved', business_event_id = 'ticket-1', cost_usd = 9;
         INSERT INTO agent_metrics.turn_scores (agent_id, occurred_at, event_id, conversation_id, score)
         SELECT e.agent_id, e.occurred_at, e.event_id, e.conversation_id, 0.5 FROM agent_metrics.agent_events e;
         INSERT INTO agent_metrics.reviews (agent_id, occurred_at, event_id, conversation_id, reviewer, answer_verdict)
         SELECT e.agent_id, e.occurred_at, e.event_id, e.conversation_id, 'Head of Support', 'supported'
         FROM agent_metrics.agent_events e WHERE e.event_id = {turn};
         SELECT * FROM agent_metrics.ingest_events(jsonb_build_object('evaluation', 'tool_call_accuracy', 'score', 1,
             'event_id', md5('trace/mail')::uuid))"
    ));
    let right = ["resolved|ticket-1|9|instruction_following 0.5|0 mail true|supported"];
    assert_eq!(judged(&db), right);
    refresh(&db);
    // the call that it wraps, a tool before the other, and the agent that was named too late
    assert_eq!(
        ingest(
            &db,
            &otlp(&[call("leaf", "wrapper", 1, &[]), tool("search", "leaf", 3)])
        ),
        "1|0|0|0"
    );
    assert_eq!(
        db.lines(TURNS),
        ["support-bot|c-1|1000|50|||9|search,mail|f"],
        "the wrapper gave way, and took nothing with it"
    );
    assert_eq!(
        judged(&db),
        ["resolved|ticket-1|9|instruction_following 0.5|1 mail true|supported"]
    );
    refresh(&db);
    assert_rollups(&db);
    // the same once more changes nothing
    assert_eq!(
        ingest(
            &db,
            &otlp(&[
                call("leaf", "wrapper", 1, &[]),
                call("wrapper", "", 0, &NAMED)
            ])
        ),
        "0|1|0|0"
    );
    // an outer agent names another conversation, and the turn goes there with all that hangs on it
    let root = span(
        "root",
        "",
        0,
        &[
            ("gen_ai.operation.name", "\"invoke_agent\""),
            ("gen_ai.conversation.id", "\"c-9\""),
        ],
    );
    ingest(
        &db,
        &otlp(&[
            root,
            call("wrapper", "root", 0, &NAMED).replace("10000000000\"", "10000000001\""),
        ]),
    );
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn a_redelivery_is_not_priced_anew_and_a_cost_that_the_producer_corrects_is_taken() {
    let db = cases_db("traces_prices");
    let told = |cost: &str, end: u64| {
        call(
            "one",
            "",
            0,
            &[NAMED[0], NAMED[1], ("gen_ai.usage.cost", cost)],
        )
        .replace(
            "\"endTimeUnixNano\": \"1772359201000000000\"",
            &format!("\"endTimeUnixNano\": \"177235920{end}000000000\""),
        )
    };
    ingest(&db, &otlp(&[call("two", "", 9, &NAMED)]));
    db.exec(
        "UPDATE agent_metrics.token_prices SET usd_per_million = 1000 WHERE provider = 'openai'",
    );
    ingest(
        &db,
        &otlp(&[
            call("two", "", 9, &NAMED),
            call("three", "two", 9, &[("gen_ai.response.id", "\"r\"")]),
        ]),
    );
    assert_eq!(
        db.lines("SELECT cost_usd FROM agent_metrics.agent_events"),
        ["0.0024"]
    );
    db.exec("DELETE FROM agent_metrics.agent_events");
    ingest(&db, &otlp(&[told("\"0.5\"", 1)]));
    assert_eq!(
        db.lines("SELECT cost_usd, computed_cost_usd FROM agent_metrics.agent_events"),
        ["0.5|"]
    );
    ingest(&db, &otlp(&[told("\"0.6\"", 2)]));
    assert_eq!(
        db.lines("SELECT cost_usd, computed_cost_usd FROM agent_metrics.agent_events"),
        ["0.6|"]
    );
    // somebody knows better
    db.exec("UPDATE agent_metrics.agent_events SET cost_usd = 0.55");
    ingest(&db, &otlp(&[told("\"0.7\"", 3)]));
    assert_eq!(
        db.lines("SELECT cost_usd FROM agent_metrics.agent_events"),
        ["0.55"]
    );
}
