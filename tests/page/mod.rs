//! The page that the program serves.

mod limits;
mod tiles;
