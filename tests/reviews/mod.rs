//! Review samples.

mod judges;
mod samples;
