//! Events on their way in: taken, refused, kept apart, erased.

pub mod bad_input;
mod bounds;
mod erasure;
mod hostile;
pub mod ingest;
mod judgements;
mod meanings;
mod quarantine;
mod stamps;
