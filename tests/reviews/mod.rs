//! Review samples.

mod samples;
