//! Alerts: what is one, and how it is delivered.

pub mod outbox;
mod rules;
