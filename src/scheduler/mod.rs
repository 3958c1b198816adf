//! The `agent-metrics` program: time, retries, network, page.
//!
//! It keeps no state. What is due, what was refreshed and what it found are all in the database, and only functions
//! of the extension and views of `agent_kpi` are called; when the program is off, SQL is stale and nothing else.
//!
//! - [`config`], [`connect`], [`advice`]: which server, by what TLS, and what to say when it does not work
//! - [`extension`]: `setup`, and the check that program and database fit each other
//! - [`clock`], [`leader`], [`jobs`], [`limits`], [`problems`], [`run`], [`stop`]: the scheduler itself
//! - [`standing`]: what keeps it from writing
//! - [`text`]: what others wrote, shown as text
//! - [`status`], [`verify`], [`doctor`]: what a person asks
//! - [`tiles`], [`format`], [`page`]: the CFO's page and its numbers
//! - [`notify`]: alerts to Slack and to HTTP endpoints
//! - [`rebuild`]: days and years computed again
//! - [`archive`]: months that are no longer hot, to Parquet files and back
//! - [`demo`]: ninety days of a small company

pub mod advice;
pub mod archive;
mod certificate;
pub mod clock;
pub mod config;
pub mod connect;
pub mod demo;
pub mod doctor;
pub mod extension;
pub mod format;
pub mod jobs;
pub mod leader;
pub mod limits;
pub mod notify;
pub mod page;
pub mod problems;
pub mod rebuild;
pub mod run;
pub mod standing;
pub mod status;
pub mod stop;
pub mod text;
pub mod tiles;
pub mod verify;
