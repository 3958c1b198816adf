//! The refresh: every change lands where it belongs, whatever happens meanwhile.

mod clocks;
mod crash;
mod facts;
mod held_up;
mod isolation;
mod lateness;
mod meaning;
mod measures;
mod rebuild;
mod sessions;
mod verify;
mod verify_waits;
mod workload;
mod writers;
