//! What crosses to the app: copies, without behaviour.
//!
//! Texts of a host (names, threads, diffs, reasons) are as they came. An app shows them as plain text and never as
//! markup or a link of its own accord.
//!
//! Names that Swift's or Kotlin's own libraries use (`Error`, `Thread`, `Path`, `Progress`) are avoided.

mod approval;
mod commands;
mod question;
mod thread;

use std::time::{Duration, SystemTime};

use farhelm_phone as phone;
use farhelm_phone::{CodexState, HostState};

pub(crate) use approval::approval_id;
pub use approval::{Act, Approval, Change, Decision, Outcome};
pub use commands::{
    BackgroundTerminal, EffortChoice, HistoryPage, ItemPage, ModelChoice, OutgoingMessage, PlacedItem, QueuedMessage,
    ReviewTarget, SearchHit, SearchPage, ThreadFilter, ThreadGoal, ThreadImage, ThreadSettings, Usage, UsageWindow,
};
pub use thread::{
    Item, ItemKind, ItemStatus, PlanStep, PlanStepStatus, ThreadDetail, ThreadStatus, ThreadSummary, Turn, TurnStatus,
};

pub use question::{Ask, AskOption, Question};

/// A host in the phone's list.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct KnownHost {
    /// Its id.
    pub id: String,
    /// Its name; empty if what is remembered is damaged.
    pub name: String,
    /// How it stands with the pairing.
    pub standing: Standing,
    /// What it said last that this phone may do there; none before the first connection.
    pub entitlement: Option<Entitlement>,
    /// That its record of what phones had done isn't what it was, until [`crate::Phone::accept_record`].
    pub record_broken: Option<RecordBroken>,
}

/// A host's record of what phones had done was shortened, or made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Record)]
pub struct RecordBroken {
    /// How many entries it had that this phone knows of.
    pub kept: u64,
    /// How many it had by what the host said then; as many as were kept if it was changed.
    pub found: u64,
    /// When it said so, in Unix milliseconds by the host's clock.
    pub at_ms: u64,
}

impl From<phone::Broken> for RecordBroken {
    fn from(phone::Broken { kept, found, at_ms }: phone::Broken) -> Self {
        Self { kept, found, at_ms }
    }
}

/// What a phone may do at a host, where, and until when.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Entitlement {
    /// What it may do.
    pub right: Right,
    /// The folders whose threads it sees, with whatever lies in them.
    pub folders: Vec<String>,
    /// Until when, in Unix milliseconds by the host's clock; none for as long as it is paired.
    pub until_ms: Option<u64>,
}

/// What a phone may do, the least first; each holds those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Right {
    /// Read threads, their outputs and what waits for a decision.
    Viewer,
    /// Also decide on approvals.
    Approver,
    /// Also start, continue, steer and stop work, and answer questions.
    Operator,
    /// Also look after the host and its devices.
    Owner,
}

/// How it stands with a pairing, as far as the phone remembers.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Standing {
    /// Paired.
    Paired,
    /// The answer to the pairing never came; the next connection finishes it, if the desk said yes.
    Pending,
    /// The host removed this phone; pair again.
    Removed {
        /// When, in Unix milliseconds by the host's clock.
        at_ms: u64,
    },
    /// What was remembered is damaged; pair again.
    Damaged,
}

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct About {
    /// Its name.
    pub name: String,
    /// The folder in which `start` starts.
    pub folder: String,
    /// The folders in which `start_with` may start.
    pub start_folders: Vec<String>,
    /// What this phone may do there.
    pub entitlement: Entitlement,
    /// How it stands with Codex.
    pub codex: Codex,
}

/// How a host stands with its Codex.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Codex {
    /// Connected.
    Ready {
        /// The app-server's version.
        version: String,
    },
    /// Not connected, trying.
    Away {
        /// Why, in a sentence.
        why: String,
    },
}

/// The state of the connection to one host.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum Connection {
    /// On the way, for the first time or after a loss.
    Connecting,
    /// The host answers, and hasn't told yet what happened meanwhile.
    CatchingUp {
        /// On which way.
        path: ConnectionPath,
    },
    /// Attached, and up to date: the host answers, and proved that it is the paired one.
    Live {
        /// On which way.
        path: ConnectionPath,
    },
    /// Not there; it is tried again, less and less often.
    Away {
        /// Since when, by this device's clock.
        since: SystemTime,
        /// Why, as far as one can tell from here.
        why: Why,
        /// The same as a sentence that says what to do.
        message: String,
    },
    /// The host removed this phone; nothing is tried any more.
    Removed {
        /// When, in Unix milliseconds by the host's clock.
        at_ms: u64,
    },
}

/// The way on which a session runs.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ConnectionPath {
    /// Whether nobody is in between.
    pub direct: bool,
    /// The relay in between, if its id is known.
    pub relay: Option<String>,
    /// What carries it; for a relayed one, this phone's leg to the relay.
    pub transport: Transport,
    /// The last measured round trip to the host's program and back.
    pub round_trip: Option<Duration>,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// Noise and Yamux over TCP.
    Tcp,
    /// The same inside WebSocket, plain or over TLS.
    WebSocket,
    /// A channel inside the process.
    Memory,
}

/// Why a host is away, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Why {
    /// No address answers.
    Unreachable,
    /// Something is there but doesn't let this phone in.
    NoAnswer,
    /// It broke, or fell silent, and can't be had again yet.
    LinkLost,
    /// The host is there, but not directly, and this phone permits nothing else.
    NotDirect,
    /// The host's program was stopped.
    HostStopped,
    /// Another program with this phone's key has attached.
    Replaced,
    /// The host said no.
    Refused,
    /// This phone's time on the host is over.
    Expired,
    /// The host's owner has switched remote connections off.
    SwitchedOff,
    /// The host is frozen: no phone does anything until a person at the desk thaws it.
    Frozen,
    /// The host can not store anything, so it takes nothing.
    StoreFailed,
    /// This device can not store anything, so it can't go on.
    NotStored,
    /// Whoever answered isn't the paired host.
    OtherHost,
    /// The two programs don't understand each other.
    Unsupported,
    /// Let go here: forgotten, or shut down.
    Stopped,
}

impl From<phone::KnownHost> for KnownHost {
    fn from(host: phone::KnownHost) -> Self {
        let standing = match host.standing {
            phone::Standing::Paired => Standing::Paired,
            phone::Standing::Pending => Standing::Pending,
            phone::Standing::Removed { at_ms } => Standing::Removed { at_ms },
            phone::Standing::Damaged => Standing::Damaged,
        };
        let (entitlement, record_broken) = (host.entitlement.map(Into::into), host.broken.map(Into::into));
        Self { id: host.id.to_string(), name: host.name, standing, entitlement, record_broken }
    }
}

impl From<phone::Entitlement> for Entitlement {
    fn from(phone::Entitlement { right, folders, until_ms }: phone::Entitlement) -> Self {
        let right = match right {
            phone::Right::Viewer => Right::Viewer,
            phone::Right::Approver => Right::Approver,
            phone::Right::Operator => Right::Operator,
            phone::Right::Owner => Right::Owner,
        };
        Self { right, folders, until_ms }
    }
}

impl From<Right> for phone::Right {
    fn from(right: Right) -> Self {
        match right {
            Right::Viewer => Self::Viewer,
            Right::Approver => Self::Approver,
            Right::Operator => Self::Operator,
            Right::Owner => Self::Owner,
        }
    }
}

impl From<HostState> for About {
    fn from(HostState { name, folder, codex, start_folders, entitlement, .. }: HostState) -> Self {
        let codex = match codex {
            CodexState::Ready(version) => Codex::Ready { version },
            CodexState::Away(why) => Codex::Away { why },
        };
        Self { name, folder, start_folders, entitlement: entitlement.into(), codex }
    }
}

impl From<phone::Connection> for Connection {
    fn from(connection: phone::Connection) -> Self {
        match connection {
            phone::Connection::Connecting => Self::Connecting,
            phone::Connection::CatchingUp(path) => Self::CatchingUp { path: path.into() },
            phone::Connection::Live(path) => Self::Live { path: path.into() },
            phone::Connection::Away { since, why } => Self::Away { since, why: why.into(), message: why.to_string() },
            phone::Connection::Removed { at_ms } => Self::Removed { at_ms },
        }
    }
}

/// Which paths may carry sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum PathPolicy {
    /// Only direct ones: relays introduce, help through NATs once paired, and carry no byte of a session.
    DirectOnly,
    /// Any; direct ones come first.
    PreferDirect,
    /// Only relayed ones: the host doesn't learn where this phone is.
    RelayOnly,
}

impl From<PathPolicy> for phone::Policy {
    fn from(policy: PathPolicy) -> Self {
        match policy {
            PathPolicy::DirectOnly => Self::DirectOnly,
            PathPolicy::PreferDirect => Self::PreferDirect,
            PathPolicy::RelayOnly => Self::RelayOnly,
        }
    }
}

impl From<phone::Path> for ConnectionPath {
    fn from(path: phone::Path) -> Self {
        let relay = match path.via {
            phone::Via::Direct => None,
            phone::Via::Relay(relay) => relay.map(|relay| relay.to_string()),
        };
        let transport = match path.transport {
            phone::Transport::Quic => Transport::Quic,
            phone::Transport::Tcp => Transport::Tcp,
            phone::Transport::WebSocket => Transport::WebSocket,
            phone::Transport::Memory => Transport::Memory,
        };
        Self { direct: path.is_direct(), relay, transport, round_trip: path.round_trip }
    }
}

impl From<phone::Why> for Why {
    fn from(why: phone::Why) -> Self {
        match why {
            phone::Why::Unreachable => Self::Unreachable,
            phone::Why::NoAnswer => Self::NoAnswer,
            phone::Why::LinkLost => Self::LinkLost,
            phone::Why::NotDirect => Self::NotDirect,
            phone::Why::HostStopped => Self::HostStopped,
            phone::Why::Replaced => Self::Replaced,
            phone::Why::Refused => Self::Refused,
            phone::Why::Expired => Self::Expired,
            phone::Why::SwitchedOff => Self::SwitchedOff,
            phone::Why::Frozen => Self::Frozen,
            phone::Why::StoreFailed => Self::StoreFailed,
            phone::Why::NotStored => Self::NotStored,
            phone::Why::OtherHost => Self::OtherHost,
            phone::Why::Unsupported => Self::Unsupported,
            phone::Why::Stopped => Self::Stopped,
        }
    }
}
