//! What a judge said of a turn or a tool call, by ingest_events: OpenTelemetry, OpenInference,
//! Langfuse and our own form.

use std::thread;

use crate::events::ingest::{SECOND, TEN, conversation, ingest, otlp, shop, span};
use crate::support::rollups::{assert_rollups, refresh};
use crate::support::{Db, Session};

/// gen_ai.evaluation.result as an event of a span or, with eventName, as a log record. Values as `span` takes them.
fn result(name_key: &str, more: &str, attributes: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = attributes
        .iter()
        .map(|(key, value)| {
            let kind = if value.starts_with('"') {
                "stringValue"
            } else {
                "doubleValue"
            };
            format!(r#"{{"key": "gen_ai.{key}", "value": {{"{kind}": {value}}}}}"#)
        })
        .collect();
    format!(
        r#"{{"{name_key}": "gen_ai.evaluation.result"{more}, "attributes": [{}]}}"#,
        pairs.join(", ")
    )
}

/// A log record of an evaluation of a span, so many seconds after ten.
fn record(of: &str, at: u64, attributes: &[(&str, &str)]) -> String {
    let more = format!(
        r#", "traceId": "trace", "spanId": "{of}", "timeUnixNano": "{}""#,
        TEN + at * SECOND
    );
    result("eventName", &more, attributes)
}

fn logs(records: &[String]) -> String {
    format!(
        r#"{{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [{}]}}]}}]}}"#,
        records.join(", ")
    )
}

fn with_event(span: &str, event: &str) -> String {
    span.replacen(
        "\"attributes\"",
        &format!("\"events\": [{event}], \"attributes\""),
        1,
    )
}

const NAME: &str = "evaluation.name";
const SCORE: &str = "evaluation.score.value";
const LABEL: &str = "evaluation.score.label";

fn said(session: &Session) -> Vec<String> {
    session.lines(
        "SELECT e.conversation_id, to_char(s.occurred_at AT TIME ZONE 'UTC', 'SS'), s.criterion,
                s.score, s.scored_by, to_char(s.scored_at AT TIME ZONE 'UTC', 'MI:SS')
         FROM agent_metrics.turn_scores s
         JOIN agent_metrics.agent_events e USING (agent_id, occurred_at, event_id, conversation_id)
         UNION ALL
         SELECT e.conversation_id, to_char(v.occurred_at AT TIME ZONE 'UTC', 'SS'),
                v.tool || ' ' || (e.tools_called -> v.call_index ->> 'name'), v.is_correct::integer,
                v.judged_by, to_char(v.judged_at AT TIME ZONE 'UTC', 'MI:SS')
         FROM agent_metrics.tool_call_verdicts v
         JOIN agent_metrics.agent_events e USING (agent_id, occurred_at, event_id, conversation_id)
         ORDER BY 1, 2, 3",
    )
}

fn quarantined(db: &Db) -> Vec<String> {
    db.lines("SELECT reason FROM agent_metrics.quarantined_events ORDER BY 1")
}

/// Everything that a delivery can change, the log of changes included.
fn state(db: &Db) -> Vec<String> {
    db.lines(
        "SELECT md5(coalesce(string_agg(x::text, '|' ORDER BY x::text), ''))
         FROM agent_metrics.turn_scores x
         UNION ALL SELECT md5(coalesce(string_agg(x::text, '|' ORDER BY x::text), ''))
                   FROM agent_metrics.tool_call_verdicts x
         UNION ALL SELECT md5(coalesce(string_agg(x::text, '|' ORDER BY x::text), ''))
                   FROM agent_metrics.quarantined_events x
         UNION ALL SELECT md5(coalesce(string_agg(x::text, '|' ORDER BY x::text), ''))
                   FROM agent_metrics_internal.span_keys x
         UNION ALL SELECT count(*)::text FROM agent_metrics_internal.changes",
    )
}

#[test]
fn evaluations_come_with_their_spans_or_long_after_them() {
    let db = shop("judgements");
    let mut spans = conversation();
    spans[1] = with_event(
        &spans[1],
        &result(
            "name",
            &format!(r#", "timeUnixNano": "{}""#, TEN + 9 * SECOND),
            &[(NAME, "\"Instruction Following\""), (SCORE, "0.75")],
        ),
    );
    spans[2] = with_event(
        &spans[2],
        &result(
            "name",
            "",
            &[(NAME, "\"ToolCallAccuracy\""), (LABEL, "\"fail\"")],
        ),
    );
    let delivery = otlp(&spans);
    assert_eq!(ingest(&db, &delivery), "4|0|0");
    let first = [
        "c-1|01|instruction_following|0.75|judge|00:09",
        "c-1|01|lookup_order lookup_order|0|judge|00:01",
    ];
    assert_eq!(said(&db), first);
    let once = state(&db);
    assert_eq!(ingest(&db, &delivery), "0|4|0", "a redelivery");
    assert_eq!(
        state(&db),
        once,
        "changes nothing, and logs nothing as changed"
    );

    // days later, by the span alone: another criterion, a tool call, and a second judgement of the first that counts
    let day = 86_400;
    let late = logs(&[
        record(
            "second",
            day,
            &[(NAME, "\"relevance\""), (LABEL, "\"Pass\"")],
        ),
        record(
            "refund",
            day,
            &[(NAME, "\"tool_call_accuracy\""), (SCORE, "1")],
        ),
        record(
            "first",
            day,
            &[(NAME, "\"instruction_following\""), (SCORE, "0.25")],
        ),
        record(
            "first",
            5,
            &[(NAME, "\"instruction_following\""), (SCORE, "1.0")],
        ),
    ]);
    assert_eq!(ingest(&db, &late), "3|1|0");
    let then = [
        "c-1|01|instruction_following|0.25|judge|00:00",
        "c-1|01|lookup_order lookup_order|0|judge|00:01",
        "c-1|01|refund refund|1|judge|00:00",
        "c-1|03|relevance|1|judge|00:00",
    ];
    assert_eq!(said(&db), then);
    assert_eq!(
        ingest(&db, &format!("[{late}, {delivery}]")),
        "0|8|0",
        "the older judgement does not come back"
    );
    assert_eq!(said(&db), then);
    refresh(&db);
    assert_rollups(&db);
    assert_eq!(
        db.lines(
            "SELECT metric, numerator, denominator FROM agent_kpi.kpi_daily
             WHERE day = '2026-03-01'
               AND metric IN ('instruction_following_score', 'tool_call_accuracy')
             ORDER BY 1"
        ),
        [
            "instruction_following_score|0.25|1",
            "tool_call_accuracy|1|2"
        ]
    );
}

#[test]
fn an_evaluation_finds_its_turn_by_response_id_parent_span_score_or_key() {
    let db = shop("judgements_ways");
    let chat = |id: &str, at: u64, response: &str, conversation: &str| {
        span(
            id,
            "",
            at,
            &[
                ("gen_ai.operation.name", "\"chat\""),
                ("gen_ai.agent.id", "\"bot\""),
                ("gen_ai.conversation.id", &format!("\"{conversation}\"")),
                ("gen_ai.response.id", &format!("\"{response}\"")),
            ],
        )
    };
    let turns = [
        chat("a", 1, "resp-1", "c-a"),
        chat("b", 2, "resp-2", "c-b"),
        chat("c", 3, "resp-3", "c-c"),
        // of one trace they would be one call
        chat("d", 4, "resp-3", "c-d").replace("\"trace\"", "\"other\""),
    ];
    assert_eq!(ingest(&db, &otlp(&turns)), "4|0|0");
    let by_response = |response: &str| {
        result(
            "eventName",
            "",
            &[
                (NAME, "\"helpful\""),
                (SCORE, "0.5"),
                ("response.id", response),
            ],
        )
    };
    assert_eq!(
        ingest(
            &db,
            &logs(&[by_response("\"resp-1\""), by_response("\"resp-3\"")])
        ),
        "1|0|1"
    );
    // an evaluator's own span, below the turn it judges, and a turn that carries its own evaluation
    let judge = span(
        "judge",
        "b",
        9,
        &[
            ("openinference.span.kind", "\"EVALUATOR\""),
            ("evaluation.name", "\"tone\""),
            ("evaluation.score", "1"),
        ],
    );
    assert_eq!(ingest(&db, &otlp(&[judge])), "1|0|0");
    // Langfuse, and our own form by the key of the turn
    let own = |event: &str| {
        format!(
            r#"{{"evaluation": "safe", "score": true, "agent_id": "bot",
                "occurred_at": "2026-03-01T12:00:00Z", "event_id": "{event}", "judged_by": "Ann"}}"#
        )
    };
    let event_id = "7f0b2c1e-0000-4000-8000-000000000001";
    let delivery = format!(
        r#"[{{"id": "s-1", "traceId": "trace", "observationId": "c", "name": "correctness",
            "value": 0.9, "dataType": "NUMERIC", "source": "ANNOTATION",
            "timestamp": "2026-03-01T13:00:00Z"}},
            {{"id": "s-2", "traceId": "trace", "observationId": null, "name": "correctness",
             "value": 1, "dataType": "BOOLEAN", "source": "API"}},
            {}, {{"agent_id": "bot", "occurred_at": "2026-03-01T12:00:00Z",
             "conversation_id": "own", "event_id": "{event_id}"}}]"#,
        own(event_id)
    );
    assert_eq!(
        ingest(&db, &delivery),
        "3|1|0",
        "the score of the trace is older than that of its last turn"
    );
    assert_eq!(
        said(&db),
        [
            "c-a|01|helpful|0.5|judge|00:01",
            "c-b|02|tone|1|judge|00:10",
            "c-c|03|correctness|0.9|annotation|00:00",
            "own|00|safe|1|Ann|00:00",
        ]
    );
    assert_eq!(
        quarantined(&db),
        ["evaluation \"helpful\" names a response that 2 turns have"]
    );
    refresh(&db);
    assert_rollups(&db);
    // who goes, goes with his keys
    db.exec(
        "UPDATE agent_metrics.agent_events SET user_id = 'u' WHERE conversation_id = 'c-a';
         SELECT agent_metrics.erase_user('u')",
    );
    assert_eq!(
        db.lines(
            "SELECT count(*) FROM agent_metrics_internal.span_keys
             WHERE conversation_id = 'c-a' OR response_id = 'resp-1'"
        ),
        ["0"]
    );
}

#[test]
fn what_cannot_be_mapped_stays_with_its_reason_and_comes_in_once_its_turn_does() {
    let db = shop("judgements_bad");
    let bad = [
        vec![(NAME, "\"x\"")],
        vec![(SCORE, "1")],
        vec![(NAME, "\"x\""), (SCORE, "4")],
        vec![(NAME, "\"y\""), (SCORE, "-0.1")],
        vec![(NAME, "\"x\""), (SCORE, "\"NaN\"")],
        vec![(NAME, "\"x\""), (LABEL, "\"so so\"")],
        vec![(NAME, "\"late\""), (SCORE, "1")],
    ];
    let mut records: Vec<String> = bad
        .iter()
        .map(|attributes| record("first", 50, attributes))
        .collect();
    records.push(record(
        "lookup",
        50,
        &[(NAME, "\"tool_call_accuracy\""), (SCORE, "0.4")],
    ));
    records.push(record(
        "lookup",
        50,
        &[(NAME, "\"politeness\""), (SCORE, "1")],
    ));
    let failed = record("first", 50, &[(NAME, "\"x\"")]).replace(
        "[{\"key\"",
        "[{\"key\": \"error.type\", \"value\": {\"stringValue\": \"timeout\"}}, {\"key\"",
    );
    records.push(failed);
    records.push(record(
        "first",
        50,
        &[(NAME, &format!("\"{}\"", "n".repeat(201))), (SCORE, "1")],
    ));
    let delivery = logs(&records);
    assert_eq!(ingest(&db, &delivery), "0|0|11");
    let not_here = |name: &str| format!("evaluation \"{name}\" of a turn that is not here");
    let unmapped = [
        "an evaluation without a name",
        "evaluation \"x\" failed: timeout",
        "evaluation \"x\" has neither score nor label",
        "label \"so so\" of evaluation \"x\" says neither yes nor no",
        "score \"NaN\" of evaluation \"x\" is no number",
        "score -0.1 of evaluation \"y\" does not lie between 0 and 1",
        "score 4 of evaluation \"x\" does not lie between 0 and 1",
        "the name of an evaluation has more than 200 characters",
    ];
    let mut expected: Vec<String> = unmapped.iter().map(ToString::to_string).collect();
    expected.extend([
        not_here("late"),
        not_here("politeness"),
        not_here("tool_call_accuracy"),
    ]);
    expected.sort();
    let mut found = quarantined(&db);
    found.sort();
    assert_eq!(found, expected);

    // one that an older version put aside, without the event in our own form; its turn has no key, as
    // turns had none then
    db.exec(
        r#"INSERT INTO agent_metrics.quarantined_events (quarantine_id, payload, reason)
           SELECT md5(p.payload::text), p.payload, 'evaluation results are not stored yet'
           FROM (SELECT
                     '{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "trace", "spanId": "second", "events": [
                     {"name": "gen_ai.evaluation.result", "timeUnixNano": "1772359260000000000", "attributes": [
                         {"key": "gen_ai.evaluation.name", "value": {"stringValue": "relevance"}},
                         {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.5}}]}]}]}]}]}'::jsonb
                     AS payload) p"#,
    );
    assert_eq!(
        ingest(&db, &otlp(&conversation())),
        "3|0|0",
        "with the judgement that waited for one of them"
    );
    db.exec(
        "DELETE FROM agent_metrics_internal.span_keys WHERE span_key = md5('trace/second')::uuid",
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined('evaluation results are not%')"),
        ["1|0|0|0"]
    );
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|10|0"]
    );
    assert_eq!(
        said(&db),
        [
            "c-1|01|late|1|judge|00:50",
            "c-1|03|relevance|0.5|judge|01:00"
        ]
    );
    let mut expected: Vec<String> = unmapped.iter().map(ToString::to_string).collect();
    expected.push(
        "evaluation \"politeness\" of a tool call: tool_call_accuracy alone is kept of one"
            .to_owned(),
    );
    expected.push("score 0.4 of a tool call is neither right (1) nor wrong (0)".to_owned());
    expected.sort();
    let mut found = quarantined(&db);
    found.sort();
    assert_eq!(found, expected);
    let before = state(&db);
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|10|0"]
    );
    db.exec("UPDATE agent_metrics.quarantined_events SET quarantined_at = now()");
    assert_eq!(state(&db)[..2], before[..2]);
    refresh(&db);
    assert_rollups(&db);
}

#[test]
fn evaluations_in_any_order_by_a_writer_and_in_parallel_are_the_same_rows_as_once() {
    let db = shop("judgements_parallel");
    let role = format!("{}_writer", db.name());
    db.exec(&format!(
        "CREATE ROLE {role}; SELECT agent_metrics.grant_access('{role}', 'writer')"
    ));
    let records: Vec<String> = (0..30_u64)
        .map(|n| {
            let of = ["first", "second", "lookup", "refund"][n as usize % 4];
            let (name, score) = if n % 4 < 2 {
                (format!("\"criterion {}\"", n % 3), format!("0.{n:02}"))
            } else {
                ("\"tool_call_accuracy\"".to_owned(), (n / 4 % 2).to_string())
            };
            record(of, 100 + n / 3, &[(NAME, &name), (SCORE, &score)])
        })
        .collect();
    assert_eq!(ingest(&db, &otlp(&conversation())), "2|0|0");
    ingest(&db, &logs(&records));
    let once = said(&db);
    assert_eq!(once.len(), 8);
    db.exec("DELETE FROM agent_metrics.turn_scores; DELETE FROM agent_metrics.tool_call_verdicts");
    thread::scope(|scope| {
        for worker in 0..4_usize {
            let (session, records, role) = (db.session(), &records, &role);
            scope.spawn(move || {
                session.exec(&format!("SET ROLE {role}"));
                for n in 0..15 {
                    let mut mixed = records.clone();
                    mixed.rotate_left((worker * 7 + n * 11) % records.len());
                    if (worker + n) % 2 == 0 {
                        mixed.reverse();
                    }
                    for part in mixed.chunks(10) {
                        assert!(ingest(&session, &logs(part)).ends_with("|0"));
                    }
                }
            });
        }
    });
    assert_eq!(said(&db), once);
    assert!(quarantined(&db).is_empty());
    refresh(&db);
    assert_rollups(&db);
    db.exec(&format!(
        "SELECT agent_metrics.revoke_access('{role}'); DROP ROLE {role}"
    ));
}

#[test]
fn what_is_not_of_the_expected_shape_is_counted_once_and_never_lost() {
    let db = shop("judgements_shape");
    let turn =
        r#""agent_id": "bot", "occurred_at": "2026-03-01T12:00:00Z", "conversation_id": "c""#;
    let delivery = format!(
        r#"[{{"resourceLogs": 5}}, {{"resourceSpans": [{{"scopeSpans": {{}}}}]}},
            {{"resourceSpans": [{{"scopeSpans": [{{"spans": "x"}}, {{}}, 7]}}, 7]}},
            {{"resourceLogs": [{{"scopeLogs": [{{"logRecords": 1}}]}}]}},
            {{"resourceLogs": [{{"scopeLogs": [{{"logRecords": [5]}}]}}]}}, {{"resourceSpans": []}},
            {{"resourceSpans": [{{"scopeSpans": [{{"spans": [{{"traceId": "t", "spanId": "s",
             "events": [5, {{"name": "gen_ai.evaluation.result", "attributes": 5}}]}}]}}]}}]}},
            {{{turn}, "tool_spans": ["no uuid"]}}, {{"evaluation": {{"a": 1}}, "score": [1], "event_id": 7}}]"#
    );
    assert_eq!(ingest(&db, &delivery), "0|0|7");
    assert_eq!(
        quarantined(&db),
        [
            "an evaluation without a name",
            "invalid input syntax for type uuid: \"no uuid\"",
            "logRecords is no list",
            "resourceLogs is no list",
            "scopeSpans is no list",
            "score \"[1]\" of evaluation \"{\"a\": 1}\" is no number",
            "spans is no list",
        ]
    );
    assert_eq!(ingest(&db, &delivery), "0|0|7", "and kept once");
    assert_eq!(
        db.lines("SELECT * FROM agent_metrics.retry_quarantined()"),
        ["0|0|7|0"]
    );
    assert_eq!(quarantined(&db).len(), 7);
    assert_eq!(
        db.lines(
            "SELECT (SELECT count(*) FROM agent_metrics.agent_events),
                    (SELECT count(*) FROM agent_metrics_internal.span_keys)"
        ),
        ["0|0"]
    );
}
