//! From spans to turns: one mapper for traces, whatever tool wrote them.
//!
//! - [`delivery`]: a delivery taken apart into spans, events in our own form, and what is neither
//! - [`forms`]: what other tools hand out, read as spans
//! - [`facts`]: what is kept of a span
//! - [`content`]: what is never kept, for it was said in a conversation
//! - [`vocabulary`]: which attribute means what; rows of a table
//! - [`said`]: what a span says, by the vocabulary
//! - [`tracers`]: traces of Jaeger and Zipkin, read as spans
//! - [`tree`]: where spans stand in their trace
//! - [`calls`]: what calls of models share: usage, responses, tools
//! - [`own`]: events in our own form
//! - [`usage`]: tokens and money of a call, right or unknown
//! - [`turns`]: the turns of a trace, as a function of the set of its spans
//! - [`evaluations`]: what judges said
//! - [`ids`]: of traces, spans and turns

pub mod calls;
pub mod content;
pub mod delivery;
pub mod evaluations;
pub mod facts;
pub mod forms;
pub mod ids;
pub mod own;
pub mod said;
pub mod tracers;
pub mod tree;
pub mod turns;
pub mod usage;
pub mod vocabulary;
