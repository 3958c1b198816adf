//! Evaluations: sets, runs, drift, statistics.

pub mod audits;
mod statistics;
