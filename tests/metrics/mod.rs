//! The metrics and the views that show them.

mod add_metric;
mod calendar;
mod catalogue;
mod hours;
mod own_metrics;
mod own_refused;
mod plans;
pub mod trace;
mod views;
