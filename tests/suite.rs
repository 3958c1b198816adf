//! The suite: tests that need a server, one room a subject. tests/README.md says which test belongs where.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod alerts;
mod collect;
mod crm;
mod docs;
mod doctor;
mod evals;
pub mod events;
mod fixtures;
mod house;
mod metrics;
mod money;
mod page;
mod partitions;
mod program;
mod refresh;
mod reviews;
mod segments;
mod setup;
mod sidecar;
mod support;
mod thresholds;
mod traces;
mod types;
mod upgrade;
