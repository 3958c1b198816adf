//! Intervals that are no rate's: of weighted shares, of paired shares, of percentiles by rank.

use super::abi::{self, sql_functions};
use crate::measures::statistics;

/// All intervals of the views are at this confidence.
const CONFIDENCE: f64 = 0.95;

fn weighted(call: &abi::Call) -> Option<statistics::Interval> {
    statistics::wilson_of_share(call.float8(0), call.float8(1), CONFIDENCE)
}

fn paired(call: &abi::Call) -> Option<statistics::Interval> {
    let count = |position| call.float8(position);
    statistics::newcombe_paired(count(0), count(1), count(2), count(3), CONFIDENCE)
}

fn ranks(call: &abi::Call) -> Option<(u64, u64)> {
    let count = u64::try_from(call.int8(0)).ok()?;
    statistics::percentile_ranks(count, call.float8(1), CONFIDENCE)
}

/// A rank is at most the count, which was a bigint.
fn rank(rank: u64) -> pgrx::pg_sys::Datum {
    abi::int8(i64::try_from(rank).unwrap_or(i64::MAX))
}

sql_functions! {
    /// `weighted_low(share, effective_size)`
    fn weighted_low(call) { Ok(weighted(call).map(|interval| abi::float8(interval.low))) }

    /// `weighted_high(share, effective_size)`
    fn weighted_high(call) { Ok(weighted(call).map(|interval| abi::float8(interval.high))) }

    /// `paired_low(both, first_only, second_only, neither)`
    fn paired_low(call) { Ok(paired(call).map(|interval| abi::float8(interval.low))) }

    /// `paired_high(both, first_only, second_only, neither)`
    fn paired_high(call) { Ok(paired(call).map(|interval| abi::float8(interval.high))) }

    /// `rank_low(count, fraction)`
    fn rank_low(call) { Ok(ranks(call).map(|(low, _)| rank(low))) }

    /// `rank_high(count, fraction)`
    fn rank_high(call) { Ok(ranks(call).map(|(_, high)| rank(high))) }
}
