//! What happens at a host, for whoever wants to be told instead of looking.

use farhelm_core::codex::approval::{Approval, Key, Outcome};
use farhelm_core::codex::question::Question;
use farhelm_core::codex::thread::TurnStatus;
use farhelm_core::identity::NodeId;
use farhelm_core::wire::envelope::HostState;
use serde_json::Value;

use crate::connection::Connection;
use crate::error::Error;
use crate::kept::Broken;

/// Something a person may want to know.
///
/// A listener that lags loses the oldest and is told so; [`Host::state`](crate::Host::state) and
/// [`Host::approvals`](crate::Host::approvals) and [`Host::questions`](crate::Host::questions) always hold how things are.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection changed.
    Connection(Connection),
    /// The host says what it is and how it stands with Codex.
    Host(HostState),
    /// Somebody has to decide.
    Approval(Approval),
    /// Somebody has to answer.
    Question(Question),
    /// An approval or a question is over.
    Resolved {
        /// Which.
        key: Key,
        /// Its thread, if it was known here.
        thread: Option<String>,
        /// How it ended.
        outcome: Outcome,
        /// The device that decided, if one did.
        by: Option<NodeId>,
    },
    /// An approval or a question ended while this phone wasn't connected; how, nobody told it.
    Gone {
        /// Which.
        key: Key,
        /// Its thread.
        thread: String,
    },
    /// What became of something that was asked before this program started, or whose caller has stopped waiting.
    Answered {
        /// The method, or `decision`, or `answers`.
        what: String,
        /// Codex's answer, or why there is none.
        result: Result<Value, Error>,
    },
    /// The host's record of what phones had done isn't what it was: shortened, or made anew.
    RecordBroken(Broken),
    /// A turn is over.
    TurnCompleted {
        /// Its thread.
        thread: String,
        /// The turn.
        turn: String,
        /// How it ended.
        status: TurnStatus,
    },
}
