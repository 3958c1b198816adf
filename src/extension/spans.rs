//! Which span of a delivery belongs where, for `map_spans()`: see [`crate::measures::spans`].

use super::abi::{self, Call, sql_functions};
use super::error::SqlError;
use crate::measures::spans::{Kind, Span, link};
use pgrx::PgSqlErrorCode;

/// Most spans of one call: several times what fits into a delivery.
const SPANS_MAX: usize = 1_000_000;

fn links(call: &Call) -> Result<Vec<i32>, SqlError> {
    // before anything is copied
    let counts = [0, 1, 2, 3, 4, 5].map(|position| abi::count_of_array(call, position));
    let count = counts[0];
    if count > SPANS_MAX {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("{count} spans in one call"),
            format!("One call takes {SPANS_MAX} at most."),
            "Send fewer spans a call.",
        ));
    }
    if counts != [count; 6] {
        return Err(SqlError::new(
            PgSqlErrorCode::ERRCODE_ARRAY_ELEMENT_ERROR,
            "the lists of link_spans() differ in length",
            "Each has one element for each span, in the same order.",
            "Use agent_metrics_internal.map_spans(), which makes them.",
        ));
    }
    let [traces, ids, parents, kinds] = [0, 1, 2, 3].map(|position| abi::texts(call, position));
    let [began, says] = [4, 5].map(|position| abi::int8_array(call, position));
    let spans: Vec<Span> = (0..count)
        .map(|at| Span {
            trace: traces[at].unwrap_or_default(),
            id: ids[at].unwrap_or_default(),
            parent: parents[at],
            kind: match kinds[at] {
                Some(b"inference") => Kind::Inference,
                Some(b"tool") => Kind::Tool,
                _ => Kind::Other,
            },
            began: began[at],
            says: says[at].unwrap_or_default() as u8,
        })
        .collect();
    // Seven numbers a span; positions count from 1, and 0 is none.
    let place = |at: Option<usize>| at.map_or(0, |at| i32::try_from(at + 1).unwrap_or(0));
    Ok(link(&spans, abi::check_for_interrupts)
        .into_iter()
        .flat_map(|link| {
            let [a, b, c, d, e] = link.named_by.map(place);
            [a, b, c, d, e, i32::from(link.is_turn), place(link.turn)]
        })
        .collect())
}

sql_functions! {
    /// `link_spans(traces, ids, parents, kinds, began, says)`
    fn link_spans(call) { Ok(abi::new_int4_array(links(call)?)) }
}
