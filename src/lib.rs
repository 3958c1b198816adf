//! agent_metrics: the performance of AI agents, measured inside PostgreSQL.
//!
//! Three rooms, and arrows that run one way: `extension -> measures <- program`.
//!
//! - [`measures`]: pure Rust. Sketches, rates, intervals. No Postgres, no input or output.
//! - `extension` (features `pg15` .. `pg18`): everything that touches a Datum. Thin.
//! - [`program`] (feature `program`): the `agent-metrics` program: time, retries, network, page.
//!
//! What is seen in SQL lives in `sql/`.

pub mod measures;

#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
mod extension;

#[cfg(feature = "program")]
pub mod program;
