//! Whole nodes against each other and a real relay, in memory or on loopback.

// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

mod admission;
mod liar;
mod relayed;
mod streams;
mod world;
