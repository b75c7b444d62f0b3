//! The thrift of the stream: text that Codex writes word by word travels as text, not as an object for every word.
//!
//! Codex reports an answer in notifications that differ in one field, `delta`. [`Outbound`] (the host, one for each path)
//! joins those that wait, and names what they have in common once; [`Inbound`] (the phone) makes notifications of them
//! again, so that nothing above either knows.
//!
//! ```text
//!  item/agentMessage/delta {thread, turn, item, delta: "The "}   ─▶  StreamOpen {0, method, {thread, turn, item}, "The "}
//!  item/agentMessage/delta {thread, turn, item, delta: "answer"} ┐
//!  item/agentMessage/delta {thread, turn, item, delta: " is 42"} ┴▶  Delta {0, 4, "answer is 42"}
//!  item/completed {thread, turn, item: {text: "The answer …"}}   ─▶  Confirm {0, digest, {thread, turn, item: {}}}
//! ```
//!
//! # What holds
//! - In a thread the order stays, but for items that grow at the same time: each goes on where it began.
//! - Text waits [`HOLD`] at the most if there is room on the path, and not at all after a pause.
//! - The queue is bounded. A phone that is too slow loses a thread's queue, which is said ([`Outbound::gap`]) and made good
//!   by a snapshot: where a thread stands is all that a screen needs.
//! - A text that doesn't go on where it stopped is noticed and never joined ([`Gap`]).
//!
//! It isn't where anything is kept that must not be lost; that is [`crate::session::log`]. Specification:
//! `node/PROTOCOL.md` §5.

mod inbound;
#[cfg(test)]
mod model;
mod outbound;
mod read;
#[cfg(test)]
mod tests;
mod texts;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

pub use inbound::{Gap, Inbound};
pub use outbound::Outbound;

/// How long text waits for more of its kind, counted from the last that went: a screen draws hardly faster. Longer costs
/// less: 20 ms are a fifth of the app-server's JSON at 100 words a second, 25 ms were a sixth, and then a burst that
/// waited twice, for this and for credit, was late.
pub const HOLD: Duration = Duration::from_millis(20);

/// Bytes of notifications that may wait for a path; beyond it the thread with most of them loses its queue.
pub const QUEUED: usize = 1024 * 1024;

/// Texts that may grow at a time on one path; the oldest is named anew if it goes on after all.
pub const OPEN: u32 = 256;

/// Bytes of text in one envelope, unless Codex itself sent more at once.
const PIECE: usize = 8 * 1024;

/// Bytes of what a text's notifications have in common; with more than that they go as they are.
const COMMON: usize = 4 * 1024;

/// Texts of which both sides keep what went, so that it need not go again with the item: the newest.
const KEPT: u32 = 16;

/// Bytes of a text that is kept.
const WHOLE: usize = 64 * 1024;

/// A text begins on this path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOpen {
    /// Its number: one more than the last that began on this path, from 0.
    pub s: u32,
    /// The notification's method.
    pub method: String,
    /// The notification's parameters as JSON text, an object without `delta`.
    pub params: ByteBuf,
    /// Its first piece.
    pub t: String,
}

/// A text goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Its number.
    pub s: u32,
    /// Bytes of it that went before this piece, since it began on this path.
    pub o: u64,
    /// The piece.
    pub t: String,
}

/// An item is done, or the turn with it, and its text is what went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// The text's number.
    pub s: u32,
    /// SHA-256 of the text.
    pub h: ByteArray<32>,
    /// The parameters of `item/completed` or `turn/completed` as JSON text, without that text in the item.
    pub params: ByteBuf,
}
