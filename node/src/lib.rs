//! The program.

pub mod demo;
