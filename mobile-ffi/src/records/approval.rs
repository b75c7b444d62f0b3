//! Approvals as they cross: all that a decision is about, and nothing shortened.

use farhelm_phone::codex::{approval, decision};

/// What a person is asked.
///
/// Show all of it before accepting; the record itself is what [`crate::Host::decide`] takes back.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Approval {
    /// Names it; unique across restarts of Codex.
    pub id: String,
    /// The environment it would run in (`local`, or a remote one's name).
    pub environment: String,
    /// Thread id.
    pub thread: String,
    /// Turn id.
    pub turn: String,
    /// Item id.
    pub item: String,
    /// What would happen.
    pub act: Act,
    /// Why the model asks, in its words.
    pub reason: Option<String>,
    /// The thread's effective approval policy, as Codex reports it.
    pub approval_policy: String,
    /// The thread's effective sandbox, as Codex reports it.
    pub sandbox: String,
    /// The folder in which the thread works.
    pub workspace: String,
    /// Sentences a person should read before accepting; none where nothing can be accepted.
    pub warnings: Vec<Warning>,
    /// When the host stops taking decisions, in Unix milliseconds by the host's clock.
    pub deadline_ms: u64,
    /// SHA-256 of the content, in hex: what the signature is over.
    pub digest: String,
    /// Whether it may be accepted from a phone: all of it is here. Declining is always possible.
    pub acceptable: bool,
    /// Whether [`Decision::AcceptForSession`] is taken as well.
    pub for_session: bool,
    /// The pattern by which the host's policy never takes an accept for it from a phone.
    pub denied_by: Option<String>,
    /// Whether two devices have to accept it.
    pub two_person: bool,
    /// Who accepted it already, where two have to: the device's name on the host.
    pub first: Option<String>,
    /// Whether the phone has to make sure of its owner again: `decide_stepped_up`.
    pub step_up: bool,
}

/// Something to know before accepting.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Warning {
    /// What it is about.
    pub kind: WarningKind,
    /// The same as a sentence.
    pub text: String,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum WarningKind {
    /// Codex may run an approved command a second time, outside the sandbox.
    MayRunAgainUnsandboxed,
    /// The thread works without a sandbox.
    NoSandbox,
    /// The network can be reached.
    Network,
    /// Something outside the thread's folder is touched.
    OutsideFolder,
    /// Writing to a folder is granted from now on.
    GrantsFolder,
    /// More is granted than the sandbox allows.
    MorePermissions,
    /// What accepting for the session reaches.
    ForSession,
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Act {
    /// Run a command.
    Command {
        /// The command line, whole.
        command: String,
        /// The working folder.
        folder: String,
        /// Extra permissions asked for, as JSON; none when none are.
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
        /// What would be granted, as JSON.
        permissions: String,
        /// The folder that relative paths in it are meant from.
        folder: String,
    },
    /// Something that can't be shown whole here.
    Withheld {
        /// What is asked, in Codex's word.
        kind: String,
        /// The beginning of it.
        about: String,
        /// Why it isn't shown, as a sentence.
        why: String,
    },
}

/// A change of one file.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
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

/// What a person may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Decision {
    /// Do it, this once.
    Accept,
    /// Do it, and the like of it for the rest of Codex's session; only where the approval offers it.
    AcceptForSession,
    /// Don't; the turn goes on.
    Decline,
    /// Don't, and end the turn.
    Cancel,
}

/// How an approval ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum Outcome {
    /// Accepted.
    Accepted,
    /// Declined; the turn goes on and the model is told.
    Declined,
    /// Declined, and the turn interrupted.
    Cancelled,
    /// Over without a decision of a phone: somebody decided at the desk, or the turn ended.
    Elsewhere,
    /// The Codex process that asked is gone.
    Lost,
}

/// The name of an approval as one text.
pub(crate) fn approval_id(key: &approval::Key) -> String {
    format!("{}-{}", hex(&*key.epoch), key.request)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl From<&approval::Approval> for Approval {
    /// Names every field: a new one doesn't compile until it is shown.
    fn from(approval: &approval::Approval) -> Self {
        let (digest, acceptable) = (hex(&approval.digest()), approval.acceptable());
        let approval::Approval { key, environment, thread, turn, item, content, for_session, deadline_ms, guard } =
            approval.clone();
        let approval::Content { act, reason, approval_policy, sandbox, workspace } = content;
        let warnings = approval.warnings().into_iter().map(Into::into).collect();
        let (id, act) = (approval_id(&key), act.into());
        Self {
            id,
            environment,
            thread,
            turn,
            item,
            act,
            reason,
            approval_policy,
            sandbox,
            workspace,
            warnings,
            deadline_ms,
            digest,
            acceptable,
            for_session,
            denied_by: guard.denied,
            two_person: guard.two_person,
            first: guard.first.map(|first| first.name),
            step_up: guard.step_up,
        }
    }
}

impl From<approval::Act> for Act {
    fn from(act: approval::Act) -> Self {
        match act {
            approval::Act::Command { command, folder, permissions } => Self::Command { command, folder, permissions },
            approval::Act::Files { changes, grant_root } => {
                Self::Files { changes: changes.into_iter().map(Into::into).collect(), grant_root }
            }
            approval::Act::Permissions { permissions, folder } => Self::Permissions { permissions, folder },
            approval::Act::Withheld { kind, about, why } => Self::Withheld { kind, about, why },
        }
    }
}

impl From<approval::Change> for Change {
    fn from(approval::Change { path, kind, moved_to, diff }: approval::Change) -> Self {
        Self { path, kind, moved_to, diff }
    }
}

impl From<approval::Warning> for Warning {
    fn from(warning: approval::Warning) -> Self {
        let kind = match warning {
            approval::Warning::MayRunAgainUnsandboxed => WarningKind::MayRunAgainUnsandboxed,
            approval::Warning::NoSandbox => WarningKind::NoSandbox,
            approval::Warning::Network => WarningKind::Network,
            approval::Warning::OutsideFolder => WarningKind::OutsideFolder,
            approval::Warning::GrantsFolder => WarningKind::GrantsFolder,
            approval::Warning::MorePermissions => WarningKind::MorePermissions,
            approval::Warning::ForSession => WarningKind::ForSession,
        };
        Self { kind, text: warning.to_string() }
    }
}

impl From<Decision> for decision::Decision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Accept => Self::Accept,
            Decision::AcceptForSession => Self::AcceptForSession,
            Decision::Decline => Self::Decline,
            Decision::Cancel => Self::Cancel,
        }
    }
}

impl From<approval::Outcome> for Outcome {
    fn from(outcome: approval::Outcome) -> Self {
        match outcome {
            approval::Outcome::Accepted => Self::Accepted,
            approval::Outcome::Declined => Self::Declined,
            approval::Outcome::Cancelled => Self::Cancelled,
            approval::Outcome::Elsewhere => Self::Elsewhere,
            approval::Outcome::Lost => Self::Lost,
        }
    }
}
