//! The log: what must not be lost, numbered, and kept by its sender until the peer has stored it.
//!
//! Each side of a pairing keeps one [`Outgoing`] and one [`Incoming`]. Paths come and go below them; a path begins with
//! a [`Position`] each way, goes on with entries and acknowledgements, and may end at any byte.
//!
//! ```text
//!   push ─▶ stored (disk) ─▶ sent ─────────── entry ──────────▶ taken ─▶ stored (disk)
//!                              ▲                                            │
//!            forgotten ◀── acked ◀──────────── ack ─────────────────────────┘
//! ```
//! Nothing is sent before it is stored, and nothing is acknowledged before the other side has stored it, so a crash on
//! either side, or both, at any moment neither loses an entry nor lets one through twice. What was lost all the same
//! (a store restored from a backup, a log that was given up) shows in the positions, and is said: [`Begun::Reset`].
//!
//! Pure: whoever holds these does the storing and says when it is done. It isn't about what an entry means; whether a
//! command takes effect once is decided where it is carried out, by its own id.
//!
//! # Why one number for all
//! An acknowledgement is cumulative, so losing one costs nothing, and both sides agree on a whole history by comparing
//! two numbers. Specification: `node/PROTOCOL.md` §5.

mod incoming;
#[cfg(test)]
mod model;
mod outgoing;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

pub use incoming::{Incoming, Taken};
pub use outgoing::{Full, Outgoing};

/// Names one log, from its first entry until it is given up: 16 random bytes.
pub type LogId = ByteArray<16>;

/// How far one side has stored the other's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// Which log.
    pub log: LogId,
    /// The last entry that is stored; 0 before the first.
    pub upto: u64,
}

/// Where a side stands when a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The log it sends from.
    pub log: LogId,
    /// The first entry that it still has, or the next one that there will be.
    pub first: u64,
    /// What it has of the peer's; nothing, if it never heard of one.
    pub heard: Option<Heard>,
}

/// How a log goes on with a new path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Where it was.
    Resumed,
    /// Entries between the two sides' positions are gone: only full state tells what they said.
    Reset,
}

/// What an honest peer never says. The path is closed and nothing is changed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It acknowledged an entry that was never sent.
    #[error("the peer acknowledged entry {upto} of {sent}")]
    BeyondSent {
        /// What it acknowledged.
        upto: u64,
        /// The last one it could have.
        sent: u64,
    },
    /// It left an entry out.
    #[error("entry {seq} came where {expected} was due")]
    Gap {
        /// What came.
        seq: u64,
        /// What was due.
        expected: u64,
    },
    /// Whatever comes first on a path must be the peer's position, and nothing else may be one.
    #[error("the path did not begin with the peer's position, or began twice")]
    NotBegun,
}
