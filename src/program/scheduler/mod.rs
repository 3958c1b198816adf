//! `run`: each agent is refreshed when its cadence says so.
//!
//! [`mod@run`] is the loop; [`lease`] decides who leads, [`jobs`] is the work, [`around`] what goes with it,
//! [`problems`] keeps what did not work, and [`clock`] is time, injected.

pub mod around;
pub mod clock;
pub mod jobs;
pub mod lease;
pub mod problems;
pub mod run;
