//! Partitions and archived months.

pub mod archive;
mod archive_files;
mod archive_odd;
mod archive_writers;
mod blocked;
pub mod by_hand;
mod changed;
