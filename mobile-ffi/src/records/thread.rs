//! Threads as they cross. Items are simplified: what a screen draws, not all that Codex reports.

use farhelm_phone::codex::thread;

use super::approval::Change;

/// A thread as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ThreadSummary {
    /// Thread id.
    pub id: String,
    /// Its title, if somebody gave it one.
    pub name: Option<String>,
    /// The beginning of its first message.
    pub preview: String,
    /// The working folder.
    pub folder: String,
    /// The model, where known.
    pub model: Option<String>,
    /// What it is doing.
    pub status: ThreadStatus,
    /// When it was changed last, in Unix seconds.
    pub updated_at: i64,
}

/// What a thread is doing.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum ThreadStatus {
    /// On disk only.
    NotLoaded,
    /// Waiting for a person's next message.
    Idle,
    /// A turn runs.
    Active {
        /// It waits for an approval.
        waiting_on_approval: bool,
        /// It waits for an answer to a question.
        waiting_on_input: bool,
    },
    /// Codex reports an error of its own.
    SystemError,
    /// Open in another app-server, which alone may write to it; it can be read here.
    HeldElsewhere,
    /// Not known, or a status this version doesn't know.
    Unknown,
}

/// A thread with its newest turns.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ThreadDetail {
    /// What a list shows of it.
    pub summary: ThreadSummary,
    /// The effective approval policy, once Codex reported it.
    pub approval_policy: Option<String>,
    /// The effective sandbox, once Codex reported it.
    pub sandbox: Option<String>,
    /// Whether there are turns before the first one here.
    pub older: bool,
    /// Oldest first.
    pub turns: Vec<Turn>,
}

/// A turn: a person's message and all that Codex did about it.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Turn {
    /// Turn id.
    pub id: String,
    /// How it stands.
    pub status: TurnStatus,
    /// What Codex last said about trouble it may get over.
    pub notice: Option<String>,
    /// Whether there are items before the first one here.
    pub older: bool,
    /// In order of their start.
    pub items: Vec<Item>,
    /// All changes of files so far, as `git diff` prints them; the beginning, if it is too long.
    pub diff: String,
}

/// How a turn stands.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum TurnStatus {
    /// Running.
    InProgress,
    /// Done.
    Completed,
    /// Stopped by a person, or by the end of Codex.
    Interrupted,
    /// Failed.
    Failed {
        /// Why, in Codex's words.
        why: String,
    },
}

/// One thing that happened in a turn.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Item {
    /// Item id.
    pub id: String,
    /// Still going on.
    pub open: bool,
    /// Not all of it is here.
    pub truncated: bool,
    /// What it is.
    pub kind: ItemKind,
}

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum ItemKind {
    /// A person's message.
    UserMessage {
        /// Its text.
        text: String,
        /// Parts that aren't text (images, files).
        attachments: u32,
    },
    /// Codex's answer.
    AgentMessage {
        /// The text so far.
        text: String,
    },
    /// A summary of its reasoning.
    Reasoning {
        /// The parts, a paragraph each.
        text: String,
    },
    /// A command.
    Command {
        /// The command line.
        command: String,
        /// Its working folder.
        folder: String,
        /// What it printed; the end of it, if it is long.
        output: String,
        /// Its exit code, once it ended.
        exit_code: Option<i64>,
        /// How it stands.
        status: ItemStatus,
    },
    /// A change of files.
    FileChange {
        /// Every file, in order.
        changes: Vec<Change>,
        /// How it stands.
        status: ItemStatus,
    },
    /// Anything else.
    Other {
        /// Codex's name for it; empty if this version doesn't know it.
        kind: String,
    },
}

/// How a command or a change of files stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum ItemStatus {
    /// Waiting for approval, or running.
    InProgress,
    /// Done.
    Completed,
    /// Done, and failed.
    Failed,
    /// Not done: a person said no.
    Declined,
}

impl From<thread::Summary> for ThreadSummary {
    fn from(summary: thread::Summary) -> Self {
        let thread::Summary { id, name, preview, folder, model, status, updated_at } = summary;
        Self { id, name, preview, folder, model, status: status.into(), updated_at }
    }
}

impl From<thread::Status> for ThreadStatus {
    fn from(status: thread::Status) -> Self {
        match status {
            thread::Status::NotLoaded => Self::NotLoaded,
            thread::Status::Idle => Self::Idle,
            thread::Status::Active { waiting_on_approval, waiting_on_input } => {
                Self::Active { waiting_on_approval, waiting_on_input }
            }
            thread::Status::SystemError => Self::SystemError,
            thread::Status::HeldElsewhere => Self::HeldElsewhere,
            thread::Status::Unknown => Self::Unknown,
        }
    }
}

impl From<thread::Thread> for ThreadDetail {
    fn from(thread: thread::Thread) -> Self {
        let summary = thread::Summary::from(&thread).into();
        let thread::Thread { approval_policy, sandbox, older, turns, .. } = thread;
        Self { summary, approval_policy, sandbox, older, turns: turns.into_iter().map(Into::into).collect() }
    }
}

impl From<thread::Turn> for Turn {
    fn from(turn: thread::Turn) -> Self {
        let thread::Turn { id, status, notice, older, items, diff } = turn;
        Self { id, status: status.into(), notice, older, items: items.into_iter().map(Into::into).collect(), diff }
    }
}

impl From<thread::TurnStatus> for TurnStatus {
    fn from(status: thread::TurnStatus) -> Self {
        match status {
            thread::TurnStatus::InProgress => Self::InProgress,
            thread::TurnStatus::Completed => Self::Completed,
            thread::TurnStatus::Interrupted => Self::Interrupted,
            thread::TurnStatus::Failed(why) => Self::Failed { why },
        }
    }
}

impl From<thread::Item> for Item {
    fn from(thread::Item { id, open, truncated, kind }: thread::Item) -> Self {
        Self { id, open, truncated, kind: kind.into() }
    }
}

impl From<thread::ItemKind> for ItemKind {
    fn from(kind: thread::ItemKind) -> Self {
        use thread::ItemKind as Kind;
        match kind {
            Kind::UserMessage { text, attachments, .. } => Self::UserMessage { text, attachments },
            Kind::AgentMessage { text } => Self::AgentMessage { text },
            Kind::Reasoning { summary } => Self::Reasoning { text: summary.join("\n\n") },
            Kind::Command { command, folder, output, exit_code, status } => {
                Self::Command { command, folder, output, exit_code, status: status.into() }
            }
            Kind::FileChange { changes, status } => {
                Self::FileChange { changes: changes.into_iter().map(Into::into).collect(), status: status.into() }
            }
            Kind::Image { .. } => Self::Other { kind: "imageView".into() },
            Kind::Other { kind } => Self::Other { kind },
            Kind::Unknown => Self::Other { kind: String::new() },
        }
    }
}

impl From<thread::Progress> for ItemStatus {
    fn from(status: thread::Progress) -> Self {
        match status {
            thread::Progress::InProgress => Self::InProgress,
            thread::Progress::Completed => Self::Completed,
            thread::Progress::Failed => Self::Failed,
            thread::Progress::Declined => Self::Declined,
        }
    }
}
