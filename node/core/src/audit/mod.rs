//! The audit chain: what remote devices did to a host, in an order that can't be changed unseen.
//!
//! ```text
//!  Record ─ encoded ─▶ bytes ┐
//!                            ├─ hash ─▶ link ─▶ the next one's …        link n, signed ─▶ Head ─▶ kept by phones
//!                 link before┘
//! ```
//! Each [`Entry`] is a record's bytes and the hash over them and the link before, so a record can't be changed, left
//! out or moved without the links saying where. Only cutting off the end leaves a whole chain, and so does making all
//! links anew: against both stand the [`Head`]s, signed and kept elsewhere.
//!
//! It isn't a log of what Codex executed: a turn runs commands of its own that no device asked for, and those are in
//! Codex's records. It doesn't bind the host's user either, who has the key: he can write another chain, and is found
//! out only by a head that a phone has kept.
//!
//! # Why an act and its effect are two records
//! Nothing may take effect unrecorded, and the effect isn't known before it is there. So the act is recorded before it
//! is forwarded, and its effect in a second record that names the first. An act without one is of unknown fate, as it
//! is after a crash.
//!
//! Specification: `node/PROTOCOL.md` §6.9.

mod chain;
mod head;
mod record;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod verify;

pub use chain::{Chain, Entry, Hash};
pub use head::{Backwards, Head};
pub use record::{Effect, Record, Text, digest};
pub use verify::{Broken, Summary, What, verify};
