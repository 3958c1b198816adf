//! The `agent-metrics` command.

mod asked;
mod commands;
mod demo;
mod hostile_hour;
mod init;
mod lease;
mod odd_servers;
mod road;
mod scheduler;
mod scripts;
mod terminal;
mod tls;
mod words;
