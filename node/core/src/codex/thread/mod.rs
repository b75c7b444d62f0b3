//! A thread as a pure value: app-server notifications go in, what a screen shows comes out.
//!
//! The host holds one for each loaded thread (the app-server gives a late subscriber no partial text), the phone one
//! for each it follows; both run this reducer.
//!
//! ```text
//!  thread/resume, thread/read ─► Thread ◄─ apply(method, params)   notifications, in order
//! ```
//!
//! # Bounds
//! Whatever the app-server sends, a thread stays under [`Thread::WEIGHT`] bytes and a few fixed counts: the oldest
//! turns go first and [`Thread::older`] says so, long outputs keep their end, long texts their beginning, and the item
//! says [`Item::truncated`].
//!
//! # What it isn't
//! An audit log: Codex reports no item for a command the sandbox denied quickly, and keeps none for one that was
//! declined.

mod digest;
mod facts;
pub mod image;
mod item;
mod pages;
mod parse;
mod read;
mod reduce;
mod summary;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::approval::{Change, Terms};

pub use digest::{ThreadDigest, TurnDigest};
pub use facts::{Goal, GoalStatus, Note, NoteKind, Plan, Step, StepStatus, Usage};
pub use item::{Item, ItemKind, Progress};
pub use pages::{Hit, Page, Placed};
pub use read::Error;
pub use reduce::{Applied, completed, id_of};
pub use summary::Summary;

/// A thread with the turns that are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Thread {
    /// Thread id.
    pub id: String,
    /// Its title, if somebody gave it one.
    pub name: Option<String>,
    /// The beginning of its first message.
    pub preview: String,
    /// The working folder.
    pub folder: String,
    /// Its first environment, `local` or a remote one's name.
    pub environment: Option<String>,
    /// The model, where known.
    pub model: Option<String>,
    /// The reasoning effort, where one is set.
    pub effort: Option<String>,
    /// The effective approval policy, once Codex reported it.
    pub approval_policy: Option<String>,
    /// The effective sandbox, once Codex reported it.
    pub sandbox: Option<String>,
    /// What it is doing.
    pub status: Status,
    /// When it was changed last, in Unix seconds.
    pub updated_at: i64,
    /// What it works towards, once Codex reported it.
    pub goal: Option<Goal>,
    /// The tokens it used, once Codex reported them.
    pub usage: Option<Usage>,
    /// It was put away while somebody listened.
    pub archived: bool,
    /// What Codex remarked, oldest first; the newest [`Thread::NOTES`].
    pub notes: Vec<Note>,
    /// Whether there are turns before the first one here; `thread/turns/list` has them.
    pub older: bool,
    /// Oldest first.
    pub turns: Vec<Turn>,
    #[serde(skip)]
    grown: Grown,
}

/// What a thread is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Status {
    /// On disk only.
    NotLoaded,
    /// Waiting for a person's next message.
    Idle,
    /// A turn runs.
    #[serde(rename_all = "camelCase")]
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
    #[default]
    #[serde(other)]
    Unknown,
}

/// A turn: a person's message and all that Codex did about it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Turn {
    /// Turn id.
    pub id: String,
    /// How it stands.
    pub status: TurnStatus,
    /// What Codex last said about trouble it may get over ("Reconnecting… 1/5"); gone when the turn ends.
    pub notice: Option<String>,
    /// Whether there are items before the first one here; `thread/items/list` has them.
    pub older: bool,
    /// In order of their start.
    pub items: Vec<Item>,
    /// All changes of files so far, as `git diff` prints them; the beginning, if it is too long.
    pub diff: String,
    /// The steps it takes, as they stand; Codex's history doesn't keep them.
    pub plan: Plan,
}

/// How a turn stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TurnStatus {
    /// Running.
    #[default]
    InProgress,
    /// Done.
    Completed,
    /// Stopped by a person, or by the end of the app-server.
    Interrupted,
    /// Failed; why, in Codex's words.
    Failed(String),
}

impl Thread {
    /// Bytes a thread may hold, so that its snapshot stays well under [`crate::wire::limits::ENVELOPE`].
    pub const WEIGHT: usize = 4 * 1024 * 1024;
    /// Turns kept.
    pub const TURNS: usize = 64;
    /// Items kept in one turn.
    pub const ITEMS: usize = 512;
    /// Remarks kept.
    pub const NOTES: usize = 32;

    /// A thread of which only the id is known.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), ..Self::default() }
    }

    /// The turn with this id, if it is kept.
    pub fn turn(&self, id: &str) -> Option<&Turn> {
        self.turns.iter().rev().find(|turn| turn.id == id)
    }

    /// The turn that runs, which a message would steer.
    pub fn running(&self) -> Option<&Turn> {
        self.turns.last().filter(|turn| turn.status == TurnStatus::InProgress)
    }

    /// The changes of a file-change item, if they are here whole: what an approval of that item is about.
    pub fn changes(&self, turn: &str, item: &str) -> Option<&[Change]> {
        let item = self.turn(turn)?.items.iter().rev().find(|i| i.id == item)?;
        match &item.kind {
            ItemKind::FileChange { changes, .. } if !item.truncated => Some(changes),
            _ => None,
        }
    }

    /// The rules it works under, for the approvals it asks for.
    pub fn terms(&self) -> Terms {
        let unknown = Terms::default();
        Terms {
            environment: self.environment.clone().unwrap_or(unknown.environment),
            approval_policy: self.approval_policy.clone().unwrap_or(unknown.approval_policy),
            sandbox: self.sandbox.clone().unwrap_or(unknown.sandbox),
            workspace: self.folder.clone(),
        }
    }

    /// Bytes held, about: the texts, and a flat sum for each turn and item.
    pub fn weight(&self) -> usize {
        let options = [&self.name, &self.environment, &self.model, &self.effort, &self.approval_policy, &self.sandbox];
        let options: usize = options.into_iter().flatten().map(String::len).sum();
        let goal = self.goal.as_ref().map_or(0, |goal| goal.objective.len());
        let notes = self.notes.iter().map(Note::weight).sum::<usize>();
        let texts = self.id.len() + self.preview.len() + self.folder.len() + goal + notes;
        options + texts + self.turns.iter().map(Turn::weight).sum::<usize>()
    }

    /// Drops the oldest until everything is within bounds; the newest item of the newest turn always stays.
    fn trim(&mut self) {
        self.grown = Grown(0);
        let mut weight = self.weight();
        while self.turns.len() > 1 && (self.turns.len() > Self::TURNS || weight > Self::WEIGHT) {
            weight -= self.turns.remove(0).weight();
            self.older = true;
        }
        for turn in &mut self.turns {
            while turn.items.len() > 1 && (turn.items.len() > Self::ITEMS || weight > Self::WEIGHT) {
                weight -= turn.items.remove(0).weight();
                turn.older = true;
            }
        }
    }
}

impl Turn {
    /// Bytes of one turn's diff that are kept.
    const DIFF: usize = 1024 * 1024;

    fn weight(&self) -> usize {
        self.weight_without_items() + self.items.iter().map(Item::weight).sum::<usize>()
    }

    fn weight_without_items(&self) -> usize {
        let failure = match &self.status {
            TurnStatus::Failed(text) => text.len(),
            _ => 0,
        };
        let texts = self.id.len() + self.diff.len() + self.notice.as_ref().map_or(0, String::len) + failure;
        128 + texts + self.plan.weight()
    }
}

/// Bytes that deltas added since the weight was last counted. Bookkeeping, so any two are equal.
#[derive(Debug, Clone, Copy, Default)]
struct Grown(usize);

impl Grown {
    /// How much may be added before the weight is counted again.
    const UNCOUNTED: usize = 64 * 1024;
}

impl PartialEq for Grown {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
