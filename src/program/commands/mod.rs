//! What a person asks for and sees on a terminal. (`archive`, `run` and `demo` have rooms of their own.)

pub mod doctor;
pub mod rebuild;
pub mod status;
pub mod verify;
