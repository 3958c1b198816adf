//! A server to talk to.
//!
//! [`config`] reads which one from flags, environment and files, as libpq does; [`Database`] is a session with it;
//! `certificate` has what libpq checks of one and rustls does not. [`timeouts`] bounds what a job may wait for,
//! [`extension`] checks that program and database fit each other, [`writable`] says what keeps the
//! program from writing.

mod certificate;
pub mod config;
mod database;
pub mod extension;
pub mod timeouts;
pub mod writable;

pub use database::Database;
