//! The program's rooms, as a library so that tests and examples reach them.

pub mod bench;
pub mod cli;
pub mod demo;
pub mod host;
pub mod nearby;
pub mod terminal;
