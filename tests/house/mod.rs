//! The rules of the project, held.

mod licences;
mod lines;
mod manifest;
mod packaging;
mod privileges;
mod public_names;
mod rooms;
mod scale_out;
