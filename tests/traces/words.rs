//! Names of one's own: a row of span_vocabulary, and what waited comes in.

use super::cases::ingest;
use super::cases::{TURNS, cases_db};
use crate::events::ingest::{otlp, span};
use crate::support::asserts::assert_refused;

#[test]
fn an_agent_that_is_in_service_name_is_one_row() {
    let db = cases_db("traces_words");
    let call = span(
        "one",
        "",
        0,
        &[
            ("gen_ai.operation.name", "\"chat\""),
            ("session.id", "\"c-1\""),
            ("gen_ai.usage.input_tokens", "10"),
            ("shop.channel", "\"mail\""),
        ],
    );
    assert_eq!(ingest(&db, &otlp(std::slice::from_ref(&call))), "0|0|0|1");
    db.exec(
        "INSERT INTO agent_metrics.span_vocabulary (attribute, meaning) VALUES ('service.name', 'agent_name');
         UPDATE agent_metrics.settings SET value = 'shop.channel, tier' WHERE name = 'span_attributes';
         SELECT * FROM agent_metrics.retry_quarantined()",
    );
    assert_eq!(
        db.lines(TURNS),
        ["shop|c-1|10|||||||f".replace("|||||||", "||||||")]
    );
    // an attribute that is to be kept is, from then on
    assert_eq!(
        ingest(&db, &otlp(&[call.replace("\"one\"", "\"two\"")])),
        "1|0|0|0"
    );
    assert_eq!(
        db.lines(
            "SELECT attributes FROM agent_metrics.agent_events ORDER BY attributes NULLS FIRST"
        ),
        ["", "{\"shop.channel\": \"mail\"}"]
    );
}

#[test]
fn words_that_mean_nothing_and_attributes_of_content_are_refused() {
    let db = cases_db("traces_bad_words");
    let insert = |attribute: &str, meaning: &str| {
        format!(
            "INSERT INTO agent_metrics.span_vocabulary (attribute, meaning) VALUES ('{attribute}', '{meaning}')"
        )
    };
    assert_refused(&db, &insert("service.name", "agnet"), "22023", "agnet");
    assert_refused(
        &db,
        &insert("input.value", "conversation"),
        "22023",
        "input.value",
    );
    assert_refused(
        &db,
        "UPDATE agent_metrics.settings SET value = 'soon' WHERE name = 'span_days'",
        "22023",
        "soon",
    );
}

#[test]
fn odd_moments_and_counts_wait_with_their_reason() {
    let db = cases_db("traces_odd");
    let names = |tokens| {
        [
            ("gen_ai.operation.name", "\"chat\""),
            ("gen_ai.agent.name", "\"support-bot\""),
            ("gen_ai.conversation.id", "\"c-1\""),
            ("gen_ai.usage.input_tokens", tokens),
        ]
    };
    let begins = |id: &str, begin: &str| {
        span(id, "", 0, &names("5"))
            .replace("\"1772359200000000000\"", begin)
            .replace("\"traceId\": \"trace\"", &format!("\"traceId\": \"{id}\""))
    };
    let spans = [
        begins("ms", "\"1772359200000\""),
        begins("zero", "0"),
        begins("old", "\"900000000000000000\""),
        span("text", "", 0, &names("\"many\""))
            .replace("\"traceId\": \"trace\"", "\"traceId\": \"text\""),
        span("negative", "", 0, &names("-3"))
            .replace("\"traceId\": \"trace\"", "\"traceId\": \"negative\""),
    ];
    assert_eq!(ingest(&db, &otlp(&spans)), "0|0|0|5");
    assert_eq!(
        db.lines("SELECT missing FROM agent_metrics_internal.traces ORDER BY trace_id"),
        [
            "no moment: startTimeUnixNano 1772359200000 counts milliseconds, not nanoseconds",
            "input of tokens is \"-3\", no whole number up to 1e12",
            "no moment: startTimeUnixNano 900000000000000000 is before the year 2000",
            "input of tokens is \"many\", no whole number up to 1e12",
            "no moment: startTimeUnixNano is missing, 0 or no number",
        ]
    );
    assert_eq!(
        db.lines("SELECT count(*), count(*) FILTER (WHERE missing LIKE '%many%') FROM agent_kpi.incomplete_traces"),
        ["5|0"],
        "a reader sees no value of it"
    );
}
