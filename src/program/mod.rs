//! The `agent-metrics` program: time, retries, network, page.
//!
//! It keeps no state. What is due, what was refreshed and what it found are all in the database, and only functions
//! of the extension and views of `agent_kpi` are called; when the program is off, SQL is stale and nothing else.
//!
//! - [`connect`]: which server, by what TLS, and whether program and database fit each other
//! - [`scheduler`]: who leads, what is due, and doing it
//! - [`commands`]: what a person asks for and sees on a terminal
//! - [`page`]: the CFO's page and its numbers
//! - [`alerts`]: to Slack and to HTTP endpoints
//! - [`archive`]: months that are no longer hot, to Parquet files and back
//! - [`collect`]: the door for OTLP, from exporters to turns
//! - [`demo`]: ninety days of a small company
//! - [`ingest`]: files and folders of events, once each
//! - [`init`]: from an empty database to four tiles
//!
//! What all of them use: [`arguments`], the command line; [`door`], a door to the network; [`error`], what to say when
//! it does not work; [`shutdown`]; [`text`], what others wrote, shown as text; [`mod@format`], numbers in a person's
//! words.

pub mod alerts;
pub mod archive;
pub mod arguments;
pub mod collect;
pub mod commands;
pub mod connect;
pub mod demo;
pub mod door;
pub mod error;
pub mod format;
pub mod ingest;
pub mod init;
pub mod page;
pub mod scheduler;
pub mod shutdown;
pub mod text;
