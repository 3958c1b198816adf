//! Any order and any division of a trace's spans into deliveries, with repeats, from four connections at once, ends in
//! the same rows as one delivery.

use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::cases::cases_db;
use super::cases::ingest;
use crate::events::ingest::{otlp, span};
use crate::support::{Db, Session};

/// A span: id, parent, kind, whether it has tokens, names and a response.
#[derive(Clone, Debug)]
struct Made {
    parent: usize,
    kind: usize,
    has_tokens: bool,
    names: usize,
    response: usize,
    at: u64,
}

fn made() -> impl Strategy<Value = Made> {
    (
        0..9_usize,
        0..6_usize,
        any::<bool>(),
        0..8_usize,
        0..6_usize,
        0..20_u64,
    )
        .prop_map(|(parent, kind, has_tokens, names, response, at)| Made {
            parent,
            kind,
            has_tokens,
            names,
            response,
            at,
        })
}

/// The spans of a trace as OTLP has them. Parents may be missing, or lie below.
fn spans(trace: &str, all: &[Made]) -> Vec<String> {
    all.iter()
        .enumerate()
        .map(|(n, one)| {
            let operation = [
                "\"chat\"",
                "\"chat\"",
                "\"execute_tool\"",
                "\"invoke_agent\"",
                "\"step\"",
                "\"responses\"",
            ];
            let mut attributes = vec![("gen_ai.operation.name", operation[one.kind])];
            if one.has_tokens {
                attributes.extend([
                    ("gen_ai.usage.input_tokens", "100"),
                    ("gen_ai.usage.output_tokens", "7"),
                ]);
                attributes.push(("gen_ai.request.model", "\"gpt-x\""));
            }
            if one.names & 1 > 0 {
                attributes.push((
                    "gen_ai.agent.name",
                    ["\"support-bot\"", "\"helper\""][n % 2],
                ));
            }
            if one.names & 2 > 0 {
                attributes.push(("gen_ai.conversation.id", ["\"c-1\"", "\"c-2\""][n % 2]));
            }
            if one.response < 2 {
                attributes.push(("gen_ai.response.id", ["\"r-1\"", "\"r-2\""][one.response]));
            }
            if one.kind == 2 {
                attributes.push(("gen_ai.tool.name", ["\"search\"", "\"mail\""][n % 2]));
            }
            let parent = if one.parent == 8 {
                String::new()
            } else {
                format!("{:016x}", one.parent + 1)
            };
            span(&format!("{:016x}", n + 1), &parent, one.at, &attributes).replace(
                "\"traceId\": \"trace\"",
                &format!("\"traceId\": \"{trace}\""),
            )
        })
        .collect()
}

/// What is there of a trace, whichever it is.
fn state(db: &Db, trace: &str) -> Vec<String> {
    db.lines(&format!(
        "SELECT s.span_id, e.agent_id, e.conversation_id, e.occurred_at, e.token_usage_input, e.token_usage_output,
                e.cost_usd, e.tools_called, e.latency_ms
         FROM agent_metrics_internal.spans s
         JOIN agent_metrics.agent_events e ON e.event_id = md5(s.trace_id || '/' || s.span_id)::uuid
         WHERE s.trace_id = '{trace}'
         UNION ALL
         SELECT 'waits', t.missing, t.waiting_turns::text, NULL, NULL, NULL, t.waiting_tokens, NULL, NULL
         FROM agent_metrics_internal.traces t WHERE t.trace_id = '{trace}'
         UNION ALL
         SELECT 'key ' || s.span_id, k.agent_id, coalesce(k.call_index::text, '-') || ' ' || coalesce(k.tool, '-'),
                k.occurred_at, NULL, NULL, NULL, NULL, NULL
         FROM agent_metrics_internal.spans s
         JOIN agent_metrics_internal.span_keys k ON k.span_key = md5(s.trace_id || '/' || s.span_id)::uuid
         WHERE s.trace_id = '{trace}' AND (k.call_index IS NOT NULL OR k.event_id = k.span_key)
         ORDER BY 1, 2, 3"
    ))
}

#[test]
fn any_order_and_division_of_a_trace_is_the_same_rows_as_one_delivery() {
    let db = cases_db("traces_order");
    let sessions: Vec<Session> = (0..4).map(|_| db.session()).collect();
    let mut runner = TestRunner::new(Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    });
    let counter = std::cell::Cell::new(0_u32);
    let strategy = prop::collection::vec(made(), 1..9).prop_flat_map(|all| {
        let places: Vec<usize> = (0..all.len()).chain(0..all.len() / 2).collect();
        (
            Just(all),
            Just(places).prop_shuffle(),
            prop::collection::vec(0..4_usize, 13),
        )
    });
    runner
        .run(&strategy, |(all, order, sizes)| {
            let number = counter.get() + 1;
            counter.set(number);
            let [once, apart, parallel] =
                ["a", "b", "c"].map(|kind| format!("{kind}{number:031x}"));
            ingest(&db, &otlp(&spans(&once, &all)));
            let portions = |trace: &str| {
                let spans = spans(trace, &all);
                let (mut rest, mut sizes) = (order.as_slice(), sizes.iter().cycle());
                let mut portions = Vec::new();
                while !rest.is_empty() {
                    let size = (sizes.next().unwrap_or(&0) + 1).min(rest.len());
                    let portion: Vec<String> =
                        rest[..size].iter().map(|at| spans[*at].clone()).collect();
                    portions.push(otlp(&portion));
                    rest = &rest[size..];
                }
                portions
            };
            for portion in portions(&apart) {
                ingest(&db, &portion);
            }
            let all_portions = portions(&parallel);
            thread::scope(|scope| {
                for (worker, session) in sessions.iter().enumerate() {
                    let mine = all_portions.iter().skip(worker).step_by(sessions.len());
                    scope.spawn(move || {
                        mine.for_each(|portion| {
                            ingest(session, portion);
                        })
                    });
                }
            });
            let right = state(&db, &once);
            prop_assert_eq!(&state(&db, &apart), &right);
            prop_assert_eq!(&state(&db, &parallel), &right);
            // and nothing of it is anywhere else: as many turns as the spans tell of
            let twice = db.number(
                "SELECT count(*) - count(DISTINCT event_id) FROM agent_metrics.agent_events",
            );
            prop_assert_eq!(twice, 0.0);
            Ok(())
        })
        .unwrap();
    // as many turns for each of the three
    assert_eq!(
        db.lines(
            "SELECT count(DISTINCT n) FROM (
                 SELECT count(e.*) AS n FROM agent_metrics_internal.spans s
                 LEFT JOIN agent_metrics.agent_events e ON e.event_id = md5(s.trace_id || '/' || s.span_id)::uuid
                 GROUP BY left(s.trace_id, 1)) x"
        ),
        ["1"]
    );
}
