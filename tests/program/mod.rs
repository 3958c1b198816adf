//! The `agent-metrics` command.

mod commands;
mod demo;
mod hostile_hour;
mod lease;
mod odd_servers;
mod scheduler;
mod terminal;
mod tls;
