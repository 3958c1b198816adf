//! Tables that are in the warehouse already, attached: the CRM's, and those that hold turns.

mod attach;
mod hostile;
mod refused;
mod swapped;
mod turns;
mod turns_presets;
