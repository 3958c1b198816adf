//! CREATE EXTENSION and `setup()`: who owns what, who may do what, dump and restore.

mod access;
mod bad_settings;
mod hostile_install;
mod install;
mod objects;
mod ownership;
mod restore;
mod strangers;
mod user_objects;
