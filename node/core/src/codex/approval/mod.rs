//! What a person is asked to approve, and the digest that binds a decision to exactly that.
//!
//! # Why there is [`Act::Withheld`]
//! What can't be shown whole can't be accepted. But it must still be seen and declined, so it is an approval like any
//! other, with an act that says what is missing; [`Approval::acceptable`] is false for it, on the phone and on the
//! host, and [`super::decision`] refuses to sign or to take an accept for it.

mod digest;
mod guard;
mod permissions;
mod request;
mod warning;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::decision::Decision;
use crate::wire::limits;

pub use guard::{First, Guard};
pub use request::{Asked, Error, Form};
pub use warning::Warning;

/// Names one approval: request ids restart at 0 in every app-server process, so the process is part of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Key {
    /// Names the app-server process that asks; where the host can't tell which that is, its connection.
    pub epoch: ByteArray<16>,
    /// The app-server's request id.
    pub request: i64,
}

/// An approval as it is shown: everything a decision is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Approval {
    /// Its name.
    pub key: Key,
    /// The environment it would run in (`local`, or a remote one's name).
    pub environment: String,
    /// Thread id.
    pub thread: String,
    /// Turn id; empty where Codex names none.
    pub turn: String,
    /// Item id; empty where Codex names none.
    pub item: String,
    /// What would happen.
    pub content: Content,
    /// Whether the host also takes [`Decision::AcceptForSession`].
    pub for_session: bool,
    /// When the host stops taking decisions, in Unix milliseconds by the host's clock.
    pub deadline_ms: u64,
    /// What the host asks for beyond a right. It isn't signed: the host holds every decision against its own.
    #[serde(default, skip_serializing_if = "Guard::is_open")]
    pub guard: Guard,
}

impl Approval {
    /// The digest of what is shown: [`Content::digest`].
    pub fn digest(&self) -> [u8; 32] {
        self.content.digest()
    }

    /// Bytes of text that a person has to be shown.
    pub fn size(&self) -> usize {
        self.content.size()
    }

    /// Whether that is within [`limits::APPROVAL_CONTENT`].
    pub fn fits(&self) -> bool {
        self.size() <= limits::APPROVAL_CONTENT
    }

    /// Whether it may be accepted from a phone: all of it is here to be shown.
    pub fn acceptable(&self) -> bool {
        self.fits() && !matches!(self.content.act, Act::Withheld { .. })
    }

    /// Whether this may be decided from a phone: declining always, accepting what is shown whole and isn't denied,
    /// accepting for the session where the host offers it, asks for nothing more, and the act isn't a grant of
    /// permissions.
    pub fn allows(&self, decision: Decision) -> bool {
        match decision {
            Decision::Accept => self.acceptable() && self.guard.denied.is_none(),
            Decision::AcceptForSession => {
                // The next time nobody would be asked, so neither would be two people.
                self.acceptable() && self.for_session && self.guard.is_open() && self.content.act.is_repeatable()
            }
            Decision::Decline | Decision::Cancel => true,
        }
    }
}

/// What would happen if it were accepted, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Content {
    /// The act itself.
    pub act: Act,
    /// Why the model asks, in its words.
    pub reason: Option<String>,
    /// The thread's effective approval policy, as Codex reports it (`on-request`, …).
    pub approval_policy: String,
    /// The thread's effective sandbox, as Codex reports it: its kind, then as canonical JSON whatever differs from the
    /// plain form of it (`workspace-write {"networkAccess":true,"writableRoots":["/a"]}`).
    pub sandbox: String,
    /// The folder in which the thread works.
    pub workspace: String,
}

impl Content {
    /// Bytes of text that a person has to be shown.
    pub fn size(&self) -> usize {
        let Self { act, reason, approval_policy, sandbox, workspace } = self;
        act.size() + length(reason) + approval_policy.len() + sandbox.len() + workspace.len()
    }
}

/// The acts Codex asks for on this path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
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
    /// Do with more permissions whatever comes in the rest of the turn.
    Permissions {
        /// What would be granted, as canonical JSON text.
        permissions: String,
        /// The folder that relative paths in it are meant from.
        folder: String,
    },
    /// Something that can't be shown whole here: it can be declined, or decided at the desk.
    Withheld {
        /// What is asked, in Codex's word (`command`, `fileChange`, `writeStdin`, …).
        kind: String,
        /// The beginning of it: a command line, or paths a line each.
        about: String,
        /// Why it isn't shown, as a sentence.
        why: String,
    },
}

impl Act {
    /// Whether accepting it for a session means anything: the same command, or changes of the same files.
    const fn is_repeatable(&self) -> bool {
        matches!(self, Self::Command { .. } | Self::Files { .. })
    }

    fn size(&self) -> usize {
        match self {
            Self::Command { command, folder, permissions } => command.len() + folder.len() + length(permissions),
            Self::Files { changes, grant_root } => changes.iter().map(Change::size).sum::<usize>() + length(grant_root),
            Self::Permissions { permissions, folder } => permissions.len() + folder.len(),
            Self::Withheld { kind, about, why } => kind.len() + about.len() + why.len(),
        }
    }
}

fn length(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
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

impl Change {
    /// Bytes of text that a person has to be shown.
    pub fn size(&self) -> usize {
        let Self { path, kind, moved_to, diff } = self;
        path.len() + kind.len() + length(moved_to) + diff.len()
    }
}

/// Under which rules a thread works, as Codex reports them. The host reads them back; it doesn't assume them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The thread's own environment, for requests that name none.
    pub environment: String,
    /// Its effective approval policy.
    pub approval_policy: String,
    /// Its effective sandbox.
    pub sandbox: String,
    /// Its folder.
    pub workspace: String,
}

impl Terms {
    /// Stands for what Codex didn't say, or said at too great length to be kept. Nothing is accepted under such terms.
    pub const UNKNOWN: &str = "unknown";

    /// Whether all of them are known.
    pub fn are_known(&self) -> bool {
        let Self { environment: _, approval_policy, sandbox, workspace } = self;
        [approval_policy, sandbox, workspace].iter().all(|text| !text.is_empty() && *text != Self::UNKNOWN)
    }
}

impl Default for Terms {
    /// Nothing is known yet, and that is what a person gets to read.
    fn default() -> Self {
        let unknown = || Self::UNKNOWN.to_owned();
        Self { environment: "local".into(), approval_policy: unknown(), sandbox: unknown(), workspace: unknown() }
    }
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
