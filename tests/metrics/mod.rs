//! The metrics and the views that show them.

mod add_metric;
mod calendar;
mod catalogue;
mod hours;
mod plans;
pub mod trace;
mod views;
