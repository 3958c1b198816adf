//! Alerts: what is one, and how it is delivered.

mod outbox;
mod rules;
