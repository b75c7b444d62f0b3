//! What a person is asked to approve, and the digest that binds a decision to exactly that.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

/// Names one approval: request ids restart at 0 in every app-server process, so the process is part of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Random, drawn by the host each time it connects to a new app-server process.
    pub epoch: ByteArray<16>,
    /// The app-server's request id.
    pub request: i64,
}

/// An approval as it is shown: everything a decision is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Its name.
    pub key: Key,
    /// The environment it would run in (`local`, or a remote one's name).
    pub environment: String,
    /// Thread id.
    pub thread: String,
    /// Turn id.
    pub turn: String,
    /// Item id.
    pub item: String,
    /// What would happen.
    pub content: Content,
    /// When the host stops taking decisions, in Unix milliseconds by the host's clock.
    pub deadline_ms: u64,
}

/// What would happen if it were accepted, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The act itself.
    pub act: Act,
    /// Why the model asks, in its words.
    pub reason: Option<String>,
    /// The thread's effective approval policy, as Codex reports it (`on-request`, …).
    pub approval_policy: String,
    /// The thread's effective sandbox, as Codex reports it (`workspace-write`, …).
    pub sandbox: String,
}

/// The two acts Codex asks for on this path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Act {
    /// Run a command.
    Command {
        /// The command line, whole.
        command: String,
        /// The working folder.
        folder: String,
        /// Extra permissions asked for, as canonical JSON text; `None` when none are.
        permissions: Option<String>,
    },
    /// Change files.
    Files {
        /// Every change, in order.
        changes: Vec<Change>,
        /// A folder for which writing would be granted from now on.
        grant_root: Option<String>,
    },
}

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Absolute path.
    pub path: String,
    /// `add`, `delete`, or `update`, as Codex names them.
    pub kind: String,
    /// New path of a moved file.
    pub moved_to: Option<String>,
    /// Unified hunks for an update, the plain content else.
    pub diff: String,
}

/// How an approval ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Accepted.
    Accepted,
    /// Declined; the turn goes on and the model is told.
    Declined,
    /// Declined, and the turn interrupted.
    Cancelled,
    /// Over without a decision of ours: somebody decided at the desk, or the turn ended.
    Elsewhere,
    /// The app-server process that asked is gone.
    Lost,
}
