//! Tables of the CRM, attached.

mod attach;
mod hostile;
mod refused;
mod swapped;
