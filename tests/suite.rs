//! The suite: tests that need a server, one module a subject. tests/README.md says which test belongs where.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod aggregates;
mod alerts;
mod archive;
mod attach;
mod audits;
mod bad_input;
mod books;
mod breaches;
mod catalogue;
mod close;
mod crash;
mod erasure;
mod facts;
mod fixtures;
mod harness;
mod ingest;
mod isolation;
mod judgements;
mod memory;
mod page;
mod partitions;
mod plans;
mod prices;
mod program;
mod properties;
mod readme;
mod rebuild;
mod refresh;
mod refresh_sessions;
mod restore;
mod samples;
mod setup;
mod trace;
mod views;
mod workload;
mod writers;
