//! What a thread shows, as a digest: both ends of a session hold the same thread, and this tells whether that is true.
//!
//! ```text
//!  host: Thread ─► ThreadDigest ── behind what was sent before it ──► phone: does its Thread agree?
//! ```
//! It is over the newest turns, and in each over the newest items: a number that the digest says, well under what a
//! thread keeps, as two ends that counted their weight at different moments have dropped different old turns.
//!
//! It is about what a snapshot shows. The policy's filter of notifications leaves nothing out of that (of what Codex says
//! in the version it was made for); if a later Codex says more, the ends differ until the phone was shown the thread
//! anew.
//!
//! # What it isn't
//! A proof against the peer: either end may say what it likes. It finds what was lost, doubled or mixed up on the way.

mod encode;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::item::Item;
use super::{Thread, Turn};

/// Turns that are compared: the newest.
const TURNS: usize = 16;
/// Items of a turn that are compared: the newest.
const ITEMS: usize = Thread::ITEMS / 2;
/// Bytes that are hashed, about; what alone is longer is left out.
const ROOM: usize = Thread::WEIGHT / 4;

/// What a thread shows, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadDigest {
    /// Its thread.
    pub thread: String,
    /// Over what is known of the thread beside its turns.
    pub head: ByteArray<32>,
    /// Its newest turns, oldest first.
    pub turns: Vec<TurnDigest>,
    /// Whether there are no further turns where the digest was made.
    pub all: bool,
}

/// What a turn shows, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnDigest {
    /// How many of its items it is over: the newest.
    pub items: u64,
    /// Whether there are no further items where the digest was made.
    pub all: bool,
    /// Over the turn and these items.
    pub digest: ByteArray<32>,
}

impl Thread {
    /// What it shows, in short.
    pub fn digest(&self) -> ThreadDigest {
        let mut room = ROOM;
        let mut turns = Vec::new();
        for turn in self.turns.iter().rev().take(TURNS) {
            if room == 0 {
                break;
            }
            turns.push(turn.digest_within(&mut room));
        }
        turns.reverse();
        let all = turns.len() == self.turns.len();
        ThreadDigest { thread: self.id.clone(), head: ByteArray::new(self.head(all)), turns, all }
    }

    /// Whether it shows what the other end's thread does.
    pub fn agrees_with(&self, digest: &ThreadDigest) -> bool {
        let ThreadDigest { thread, head, turns, all } = digest;
        let places = is_as_many(self.turns.len(), turns.len(), *all);
        let heads = self.id == *thread && self.head(*all) == **head;
        let mut pairs = self.turns.iter().rev().zip(turns.iter().rev());
        places && heads && pairs.all(|(turn, digest)| turn.agrees_with(digest))
    }
}

impl Turn {
    /// Of the newest items that fit into the room that is left, and takes that.
    fn digest_within(&self, room: &mut usize) -> TurnDigest {
        *room = room.saturating_sub(self.weight_without_items());
        let fits = |item: &&Item| {
            let rest = room.checked_sub(item.weight());
            *room = rest.unwrap_or(0);
            rest.is_some()
        };
        let count = self.items.iter().rev().take(ITEMS).take_while(fits).count();
        let all = count == self.items.len();
        TurnDigest { items: count as u64, all, digest: ByteArray::new(self.hash(count, all)) }
    }

    fn agrees_with(&self, digest: &TurnDigest) -> bool {
        let TurnDigest { items, all, digest } = digest;
        // More than fit into memory are more than there are.
        let count = usize::try_from(*items).unwrap_or(usize::MAX);
        is_as_many(self.items.len(), count, *all) && self.hash(count, *all) == **digest
    }
}

fn is_as_many(ours: usize, theirs: usize, all: bool) -> bool {
    if all { ours == theirs } else { ours >= theirs }
}
