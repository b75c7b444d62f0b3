//! What must survive of sessions: both sides' logs, what was asked and isn't answered.
//!
//! A peer is a device for the host, and a host for the phone; the same tables serve both. Changes are written together,
//! of however many peers, because a commit costs a sync of the disk: whoever has ten things to store says so at once.
//!
//! Bodies are what travels, so they may be as large as an envelope; how many there are is bounded by whoever writes.

mod bodies;
mod tables;
#[cfg(test)]
mod tests;

use std::path::Path;

use farhelm_core::identity::NodeId;
use farhelm_core::session::log::{Heard, LogId};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::held::Held;
use crate::{Error, OpenError};

/// Names an act: random, or derived from what it says.
pub type ActId = ByteArray<16>;

/// An open journal. Shared between threads by reference; changes wait for each other. Calls block for the disk.
#[derive(Debug)]
pub struct Journal {
    held: Held,
}

/// Everything about one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where the logs stand.
    pub cursors: Cursors,
    /// Entries that it hasn't acknowledged, by number.
    pub outgoing: Vec<(u64, Vec<u8>)>,
    /// What was asked, in the order in which it was.
    pub acts: Vec<(ActId, Act)>,
}

/// Where both logs of a peer stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursors {
    /// The highest generation of a path.
    pub generation: u64,
    /// The name of our own log; none before the first entry.
    pub log: Option<LogId>,
    /// The number of our next entry.
    pub next: u64,
    /// What is stored of the peer's log.
    pub heard: Option<Heard>,
}

/// Something that was asked, until its answer isn't needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Counted up: what was asked first has the lower one.
    pub order: u64,
    /// How far it is.
    pub stage: Stage,
    /// What was asked: an envelope.
    pub body: Vec<u8>,
    /// What was answered: an envelope; empty before that.
    pub result: Vec<u8>,
    /// When it was asked, in Unix milliseconds.
    pub at_ms: u64,
}

/// How far an act is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It is here, and nothing was done.
    Received,
    /// It may have been done.
    Forwarded,
    /// It is answered, and what it asked may be lost yet.
    Answered,
    /// It is answered.
    Done,
}

/// One change; those of one call are made together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The logs stand here now.
    Cursors(NodeId, Cursors),
    /// An entry of our log.
    Push(NodeId, u64, Vec<u8>),
    /// The peer has every entry up to this one.
    Trim(NodeId, u64),
    /// An act is new, or further than it was.
    Act(NodeId, ActId, Act),
    /// An act is over.
    ForgetAct(NodeId, ActId),
    /// Nothing of this peer is needed any more.
    Forget(NodeId),
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one there (mode 0600). A file that isn't a whole journal of ours
    /// is refused and not touched.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Held::open(path, &tables::LAYOUT).map(|held| Self { held })
    }

    /// What [`open`](Self::open) would give of a file that is there, to look at: changes are made in memory only.
    pub fn look(path: &Path) -> Result<Self, OpenError> {
        Held::look(path, &tables::LAYOUT).map(|held| Self { held })
    }

    /// One that forgets with the process.
    pub fn in_memory() -> Result<Self, Error> {
        Held::in_memory(&tables::LAYOUT).map(|held| Self { held })
    }

    /// One on a disk of a test's.
    #[cfg(test)]
    pub(crate) fn on(database: redb::Database) -> Self {
        Self { held: Held::on(database, &tables::LAYOUT).expect("tables") }
    }

    /// Every peer that something is kept of.
    pub fn peers(&self) -> Result<Vec<NodeId>, Error> {
        self.held.read(tables::peers)
    }

    /// Everything about one peer; nothing, if it isn't known.
    pub fn read(&self, peer: NodeId) -> Result<Peer, Error> {
        self.held.read(|transaction| tables::peer(transaction, peer))
    }

    /// Makes all of these changes: durable when this returns, and none of them if it errs (but see [`Error::Storage`]).
    /// To make them once more changes nothing.
    pub fn write(&self, changes: &[Change]) -> Result<(), Error> {
        self.held.write(|transaction| changes.iter().try_for_each(|change| change.make(transaction)))
    }
}
