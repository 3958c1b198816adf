//! Traces: turns as a function of the spans that are known, whatever way and order they come in.

mod cases;
mod closing;
mod content;
mod order;
mod replaced;
mod senders;
mod words;
