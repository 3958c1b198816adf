//! Thresholds, and breaches of them.

mod breaches;
