//! What the keeper is told, and what it owes once it has stored that: words only.

use farhelm_core::identity::NodeId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Attach, Attached, Entry};
use farhelm_overlay::channel;
use farhelm_store::journal::{ActId, Change};
use tokio::sync::{oneshot, watch};

use super::paths::{Fate, Path};
use super::{Refused, Work};

/// What the keeper is told.
#[derive(Debug)]
pub(super) enum Command {
    Attach {
        device: NodeId,
        attach: Attach,
        sender: channel::Sender,
        reply: oneshot::Sender<Result<Attachment, Refused>>,
    },
    Detach {
        device: NodeId,
        number: u64,
    },
    Entry {
        device: NodeId,
        number: u64,
        entry: Entry,
    },
    Ack {
        device: NodeId,
        number: u64,
        upto: u64,
    },
    Say {
        number: u64,
        envelope: Box<Envelope>,
    },
    Push {
        device: NodeId,
        body: Vec<u8>,
    },
    Forwarded {
        device: NodeId,
        act: ActId,
        reply: oneshot::Sender<Noted>,
    },
    Done {
        device: NodeId,
        act: ActId,
        answer: Vec<u8>,
        /// Nothing of it can be lost any more.
        settled: bool,
        reply: oneshot::Sender<Noted>,
    },
    Settled {
        device: NodeId,
        act: ActId,
        reply: oneshot::Sender<Noted>,
    },
    Forget {
        device: NodeId,
        reply: oneshot::Sender<()>,
    },
    EndPaths {
        device: NodeId,
        reply: oneshot::Sender<()>,
    },
    /// A path that was overtaken was left open to its end.
    LeftOpen {
        device: NodeId,
    },
    BeginAnew {
        reply: oneshot::Sender<()>,
    },
}

/// A path that has begun.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) number: u64,
    pub(super) superseded: bool,
    pub(super) fate: watch::Receiver<Fate>,
}

/// What became of a note on an act.
#[derive(Debug)]
pub(super) enum Noted {
    Stored,
    Unwanted,
    Failed,
}

/// What is due once the changes before it are stored, in this order.
#[derive(Debug)]
pub(super) enum Due {
    Begun {
        device: NodeId,
        attached: Attached,
        path: Path,
        number: u64,
        reply: oneshot::Sender<Result<Attachment, Refused>>,
    },
    Taken {
        device: NodeId,
        number: u64,
        upto: u64,
        work: Option<Box<Work>>,
    },
    Pushed {
        device: NodeId,
        upto: u64,
    },
    Said {
        number: u64,
        envelope: Box<Envelope>,
    },
    Noted(oneshot::Sender<Noted>),
    Forgotten(oneshot::Sender<()>),
}

/// Everything that is written at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    pub(super) due: Vec<Due>,
    /// It has what nobody will say again.
    pub(super) once: bool,
}
