//! Everything that touches a Datum. Thin: it takes arguments apart, calls [`crate::measures`], and puts results
//! together. All of it is version-1 C calling convention, which runs level with the server's own functions.
//!
//! - [`abi`]: the one file with unsafe code, and the macro that exports a function
//! - [`bounds`]: how long a text and how far a moment may be
//! - [`error`]: errors with SQLSTATE, detail and hint
//! - [`sketch_type`], [`sketch_aggregates`]: the type `quantile_sketch`
//! - [`rate_type`]: the type `rate`
//! - [`foreign`]: tables of other roles, read without running their code as ours
//! - [`intervals`]: of weighted and paired shares, and of percentiles by rank
//! - [`json`]: how deep a document is, whom it names, how long a text may be
//! - [`latest`]: the value of the row that came last
//! - [`turns`]: what a turn may hold, and the stamps of rows
//! - [`collect`]: tokens, and texts without messages
//! - [`delta_sums`]: what is added to one bucket
//! - [`index`]: a hash index over a list
//! - [`turn_sums`]: what new turns add up to, in one pass
//! - [`spans`]: which span of a delivery belongs where
//! - [`statistics`]: the statistics of audits over plain numbers
//! - [`zones`]: where hours and days of a time zone begin and end
//! - [`setup`]: versions, event ids, cadence, the scripts that setup() runs
//!
//! The SQL side of each function is written by hand in `sql/`, by subject.

mod abi;
mod bounds;
mod collect;
mod delta_sums;
mod error;
mod foreign;
mod index;
mod intervals;
mod json;
mod latest;
mod rate_type;
mod setup;
mod sketch_aggregates;
mod sketch_type;
mod spans;
mod statistics;
mod turn_sums;
mod turns;
mod zones;

pgrx::pg_module_magic!();
