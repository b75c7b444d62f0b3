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
    /// The steps it takes, as they stand; empty where there is no plan.
    pub plan: Vec<PlanStep>,
}

/// A step of a turn's plan.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct PlanStep {
    /// What is to be done.
    pub text: String,
    /// How it stands.
    pub status: PlanStepStatus,
}

/// How a step of a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, uniffi::Enum)]
pub enum PlanStepStatus {
    /// Not begun.
    Pending,
    /// Begun.
    InProgress,
    /// Done.
    Completed,
    /// In a way that this version doesn't know.
    Unknown,
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
    /// Images it holds, each read by this item's id and an index from 0.
    pub images: u32,
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
    /// The plan it proposes.
    Plan {
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
        /// How long it ran, once it ended.
        duration_ms: Option<i64>,
        /// A person at the desk ran it, not the agent.
        by_person: bool,
    },
    /// A change of files.
    FileChange {
        /// Every file, in order.
        changes: Vec<Change>,
        /// How it stands.
        status: ItemStatus,
    },
    /// A tool that isn't Codex's own.
    Tool {
        /// The server it belongs to, if it belongs to one.
        server: Option<String>,
        /// Its name.
        tool: String,
        /// What it was given: the text of a JSON value.
        arguments: String,
        /// How it stands.
        status: ItemStatus,
        /// The text of what it answered.
        result: String,
        /// Why it failed.
        error: Option<String>,
        /// What it last said while it ran.
        progress: Option<String>,
        /// How long it ran, once it ended.
        duration_ms: Option<i64>,
    },
    /// Another agent is given work, is waited for, or reports.
    Agent {
        /// What happens, in Codex's word.
        action: String,
        /// The agent's name, where it has one.
        name: Option<String>,
        /// The agents' threads.
        threads: Vec<String>,
        /// What it was told.
        prompt: Option<String>,
        /// How it stands.
        status: ItemStatus,
    },
    /// A search on the web, or a page opened there.
    WebSearch {
        /// What for.
        query: String,
        /// Further words, an address, or what was looked for in a page.
        detail: Option<String>,
    },
    /// An image Codex looked at.
    Image {
        /// Where it lies on the host.
        path: String,
    },
    /// An image Codex makes.
    ImageGeneration {
        /// What of.
        prompt: Option<String>,
        /// How it stands.
        status: ItemStatus,
    },
    /// Codex starts to review.
    ReviewStarted {
        /// What.
        text: String,
    },
    /// Codex reviewed.
    ReviewEnded {
        /// What it found.
        text: String,
    },
    /// The agent goes on with a summary of what was before.
    Compaction,
    /// What a hook of the owner's told the agent.
    HookPrompt {
        /// Its text.
        text: String,
    },
    /// The agent waits.
    Sleep {
        /// How long.
        duration_ms: i64,
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
    /// Stopped.
    Interrupted,
    /// In a way that this version doesn't know.
    Unknown,
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
        let thread::Turn { id, status, notice, older, items, diff, plan } = turn;
        let items = items.into_iter().map(Into::into).collect();
        let plan = plan.steps.into_iter().map(Into::into).collect();
        Self { id, status: status.into(), notice, older, items, diff, plan }
    }
}

impl From<thread::Step> for PlanStep {
    fn from(thread::Step { text, status }: thread::Step) -> Self {
        let status = match status {
            thread::StepStatus::Pending => PlanStepStatus::Pending,
            thread::StepStatus::InProgress => PlanStepStatus::InProgress,
            thread::StepStatus::Completed => PlanStepStatus::Completed,
            thread::StepStatus::Unknown => PlanStepStatus::Unknown,
        };
        Self { text, status }
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
    fn from(thread::Item { id, open, truncated, images, kind }: thread::Item) -> Self {
        Self { id, open, truncated, images, kind: kind.into() }
    }
}

impl From<thread::ItemKind> for ItemKind {
    fn from(kind: thread::ItemKind) -> Self {
        use thread::ItemKind as Kind;
        match kind {
            Kind::UserMessage { text, attachments, .. } => Self::UserMessage { text, attachments },
            Kind::AgentMessage { text } => Self::AgentMessage { text },
            Kind::Reasoning { summary } => Self::Reasoning { text: summary.join("\n\n") },
            Kind::Plan { text } => Self::Plan { text },
            Kind::Command { command, folder, output, exit_code, status, duration_ms, by_person } => {
                Self::Command { command, folder, output, exit_code, status: status.into(), duration_ms, by_person }
            }
            Kind::FileChange { changes, status } => {
                Self::FileChange { changes: changes.into_iter().map(Into::into).collect(), status: status.into() }
            }
            Kind::Tool { server, tool, arguments, status, result, error, progress, duration_ms } => {
                Self::Tool { server, tool, arguments, status: status.into(), result, error, progress, duration_ms }
            }
            Kind::Agent { action, name, threads, prompt, status } => {
                Self::Agent { action, name, threads, prompt, status: status.into() }
            }
            Kind::WebSearch { query, detail } => Self::WebSearch { query, detail },
            Kind::Image { path } => Self::Image { path },
            Kind::ImageGeneration { prompt, status } => Self::ImageGeneration { prompt, status: status.into() },
            Kind::ReviewStarted { text } => Self::ReviewStarted { text },
            Kind::ReviewEnded { text } => Self::ReviewEnded { text },
            Kind::Compaction => Self::Compaction,
            Kind::HookPrompt { text } => Self::HookPrompt { text },
            Kind::Sleep { duration_ms } => Self::Sleep { duration_ms },
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
            thread::Progress::Interrupted => Self::Interrupted,
            thread::Progress::Unknown => Self::Unknown,
        }
    }
}
