//! Deliveries taken apart, and traces read as turns: see [`crate::measures::spans`].

use super::abi::{self, Call, RowType, sql_functions};
use super::error::SqlError;
use crate::measures::json;
use crate::measures::spans::delivery::{Mapper, Piece, TOO_DEEP};
use crate::measures::spans::facts::Facts;
use crate::measures::spans::ids::event_id;
use crate::measures::spans::turns::{Reader, ToolCall, Turn};
use crate::measures::spans::vocabulary::Vocabulary;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::Datum;
use std::collections::{BTreeMap, HashSet};

/// Most spans of one call: several times what fits into a delivery.
const SPANS_MAX: usize = 1_000_000;
/// Deepest nesting of what is delivered: an event may have 64 levels, and a span lies in some more.
const LEVELS_MAX: usize = 80;

fn refused(what: &str, error: &serde_json::Error) -> SqlError {
    SqlError::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("{what} cannot be read"),
        error.to_string(),
        "Use agent_metrics.ingest_events(), which gives it in the form that is expected.",
    )
}

fn vocabulary(call: &Call, position: usize) -> Vocabulary {
    Vocabulary::parse(&String::from_utf8_lossy(call.bytes(position)))
}

fn strings(call: &Call, position: usize) -> Vec<String> {
    abi::texts(call, position)
        .into_iter()
        .flatten()
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect()
}

fn text(value: &str) -> Option<Datum> {
    Some(abi::bytes(value.as_bytes()))
}

fn pieces(call: &Call) -> Result<Option<Datum>, SqlError> {
    let (vocabulary, kept) = (vocabulary(call, 1), strings(call, 2));
    let mark = serde_json::to_string(TOO_DEEP).unwrap_or_default();
    let delivered = json::prune(call.bytes(0), LEVELS_MAX, &mark);
    let delivered =
        serde_json::from_slice(&delivered).map_err(|error| refused("the delivery", &error))?;
    let kind = RowType::named("agent_metrics_internal.delivered_piece");
    let rows = Mapper::new(&vocabulary, &kept)
        .map(delivered, abi::check_for_interrupts)
        .into_iter()
        .map(|piece| {
            abi::check_for_interrupts();
            match piece {
                Piece::Span { trace, id, facts } => kind.row([
                    text(&trace),
                    text(&id),
                    Some(abi::int8(i64::try_from(facts.ended).unwrap_or(i64::MAX))),
                    text(&facts.to_json()),
                    None,
                    None,
                    None,
                ]),
                Piece::Event(event) => {
                    let event = text(&event.to_string());
                    kind.row([None, None, None, None, event, event, None])
                }
                Piece::Refused { payload, reason } => kind.row([
                    None,
                    None,
                    None,
                    None,
                    text(&payload.to_string()),
                    None,
                    text(&reason),
                ]),
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(kind.array(rows))
}

/// The spans of each trace, in the order of their ids.
fn spans(call: &Call) -> Result<BTreeMap<String, Vec<(String, Facts)>>, SqlError> {
    let counts = [0, 1, 2].map(|position| abi::count_of_array(call, position));
    if counts[0] > SPANS_MAX || counts != [counts[0]; 3] {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("{} spans in one call", counts[0]),
            format!(
                "One call takes {SPANS_MAX} at most, each with its trace, its id and its facts."
            ),
            "Send fewer spans a call.",
        ));
    }
    let [traces, ids, facts] = [0, 1, 2].map(|position| abi::texts(call, position));
    let name = |text: Option<&[u8]>| String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
    let mut all: BTreeMap<String, Vec<(String, Facts)>> = BTreeMap::new();
    for ((trace, id), facts) in traces.into_iter().zip(ids).zip(facts) {
        abi::check_for_interrupts();
        let facts = Facts::parse(facts.unwrap_or_default());
        all.entry(name(trace)).or_default().push((name(id), facts));
    }
    for spans in all.values_mut() {
        spans.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok(all)
}

fn tools(trace: &str, tools: &[ToolCall]) -> [Option<Datum>; 2] {
    if tools.is_empty() {
        return [None, None];
    }
    let called: Vec<_> = tools
        .iter()
        .map(|tool| serde_json::json!({"name": tool.name, "ok": tool.is_ok}))
        .collect();
    let spans = tools
        .iter()
        .map(|tool| abi::bytes(event_id(trace, &tool.span).as_bytes()))
        .collect();
    [
        text(&serde_json::Value::Array(called).to_string()),
        abi::text_array(spans),
    ]
}

fn row(kind: &RowType, trace: &str, turn: &Turn) -> Result<Datum, SqlError> {
    let optional = |value: &Option<String>| value.as_deref().and_then(text);
    let count = |tokens: Option<u64>| {
        tokens.map(|tokens| abi::int8(i64::try_from(tokens).unwrap_or(i64::MAX)))
    };
    let usage = &turn.usage;
    let [called, tool_spans] = tools(trace, &turn.tools);
    let json = |is_empty: bool, value: serde_json::Result<String>| value.ok().filter(|_| !is_empty);
    let texts = |all: &[String], map: &dyn Fn(&str) -> String| {
        abi::text_array(
            all.iter()
                .map(|one| abi::bytes(map(one).as_bytes()))
                .collect(),
        )
    };
    kind.row([
        text(trace),
        text(&turn.span),
        text(&event_id(trace, &turn.span)),
        optional(&turn.missing),
        optional(&turn.agent),
        Some(abi::int8(turn.occurred_at)),
        optional(&turn.conversation),
        optional(&turn.user),
        turn.latency_ms.map(abi::float8),
        count(usage.input),
        count(usage.output),
        count(usage.cache_read),
        count(usage.cache_write),
        json(
            usage.details.is_empty(),
            serde_json::to_string(&usage.details),
        )
        .as_deref()
        .and_then(text),
        texts(&usage.costs, &str::to_owned),
        optional(&turn.provider),
        optional(&turn.model),
        optional(&turn.service_tier),
        optional(&turn.agent_version),
        optional(&turn.prompt_version),
        Some(abi::boolean(turn.is_eval)),
        optional(&turn.error),
        json(
            turn.attributes.is_empty(),
            serde_json::to_string(&turn.attributes),
        )
        .as_deref()
        .and_then(text),
        called,
        tool_spans,
        optional(&turn.response),
        texts(&turn.replaced, &|span| event_id(trace, span)),
        // spans bring nothing besides
        None,
    ])
}

fn turns(call: &Call) -> Result<Option<Datum>, SqlError> {
    let all = spans(call)?;
    let (vocabulary, kept) = (vocabulary(call, 4), strings(call, 5));
    let registered: HashSet<String> = strings(call, 3).into_iter().collect();
    let reader = Reader {
        vocabulary: &vocabulary,
        registered: &registered,
        kept: &kept,
    };
    let kind = RowType::named("agent_metrics_internal.span_turn");
    let mut rows = Vec::new();
    for (trace, spans) in &all {
        for turn in reader.turns(spans, abi::check_for_interrupts) {
            rows.push(row(&kind, trace, &turn)?);
        }
    }
    Ok(kind.array(rows))
}

sql_functions! {
    /// `map_delivery(delivery, vocabulary, kept)`
    fn map_delivery(call) { pieces(call) }

    /// `is_content(attribute)`
    fn is_content_name(call) {
        let name = String::from_utf8_lossy(call.bytes(0));
        Ok(Some(abi::boolean(crate::measures::spans::content::is_content(&name))))
    }

    /// `trace_turns(traces, ids, facts, registered, vocabulary, kept)`
    fn trace_turns(call) { turns(call) }
}
