//! Pure measures: no Postgres, no input or output, no unsafe.
//!
//! - [`sketch`]: the mergeable quantile sketch and its stored form
//! - [`limits`]: how long, how far, how deep what is stored may be
//! - [`rate`]: hits out of a total
//! - [`statistics`]: intervals, paired tests, samples, raters
//! - [`cadence`]: when an agent is due
//! - [`zone`]: where hours and days of a time zone begin and end
//! - [`json`]: documents of any depth, walked without recursion
//! - [`redact`]: documents without what somebody said in them
//! - [`spans`]: from spans to turns
//! - [`usage`]: what a turn may cost and have used
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cadence;
pub mod json;
pub mod limits;
pub mod rate;
pub mod redact;
pub mod sketch;
pub mod spans;
pub mod statistics;
pub mod usage;
pub mod zone;
