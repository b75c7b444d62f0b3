//! What goes into calls and what comes out of them.

use farhelm_phone as phone;
use farhelm_phone::{Attachment, AttachmentError};

use super::{Item, ThreadSummary, Turn};

/// A message with what goes beside its text.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct OutgoingMessage {
    /// What is said; at most 256 KiB. May be empty if there is an image.
    pub text: String,
    /// PNG, JPEG, GIF or WebP images as bytes; at most 4, of at most 4 MiB each.
    #[uniffi(default = [])]
    pub images: Vec<Vec<u8>>,
    /// Another model for the thread; not for a message that steers or waits in the queue.
    #[uniffi(default = None)]
    pub model: Option<String>,
    /// Another reasoning effort for the thread; as with the model.
    #[uniffi(default = None)]
    pub effort: Option<String>,
}

/// Which threads, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ThreadFilter {
    /// 1 to 100 rows are looked at.
    pub limit: u32,
    /// Where the page before ended.
    #[uniffi(default = None)]
    pub cursor: Option<String>,
    /// Those that were archived, in place of the others.
    #[uniffi(default = false)]
    pub archived: bool,
    /// Those whose title has this in it.
    #[uniffi(default = None)]
    pub search: Option<String>,
    /// Those that work in this folder or below it; a page may then have fewer rows and still a next one.
    #[uniffi(default = None)]
    pub folder: Option<String>,
}

/// A part of a thread's history.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct HistoryPage {
    /// In the order that was asked for.
    pub turns: Vec<Turn>,
    /// The cursor for the next page; none if this is the last.
    pub next: Option<String>,
}

/// A part of a thread's items.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ItemPage {
    /// In the order that was asked for.
    pub items: Vec<PlacedItem>,
    /// The cursor for the next page; none if this is the last.
    pub next: Option<String>,
}

/// An item with the turn it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct PlacedItem {
    /// Turn id.
    pub turn: String,
    /// The item.
    pub item: Item,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SearchPage {
    /// Those that changed last first.
    pub hits: Vec<SearchHit>,
    /// The cursor for the next page; none if this is the last.
    pub next: Option<String>,
}

/// A thread in which a search found something.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct SearchHit {
    /// The thread.
    pub thread: ThreadSummary,
    /// The text around what was found.
    pub snippet: String,
}

/// What a review looks at.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum ReviewTarget {
    /// What isn't committed.
    Uncommitted,
    /// What differs from a branch.
    BaseBranch {
        /// The branch to compare with.
        branch: String,
    },
    /// One commit.
    Commit {
        /// Its hash.
        sha: String,
    },
    /// Whatever the words ask for.
    Custom {
        /// In a person's words.
        instructions: String,
    },
}

/// A model that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ModelChoice {
    /// What to call it in a call.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is good for.
    pub description: String,
    /// Whether threads have it that choose none.
    pub is_default: bool,
    /// The reasoning efforts it knows.
    pub efforts: Vec<EffortChoice>,
    /// The one it has if none is chosen.
    pub default_effort: Option<String>,
}

/// A reasoning effort.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct EffortChoice {
    /// What to call it in a call.
    pub name: String,
    /// What it means.
    pub description: String,
}

/// A thread's model and effort as they are in effect.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ThreadSettings {
    /// The model, where known.
    pub model: Option<String>,
    /// The reasoning effort; none is the model's own.
    pub effort: Option<String>,
}

/// A message that waits for the turn before it to end.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct QueuedMessage {
    /// Its id in the queue.
    pub id: String,
    /// Its text parts, a line each.
    pub text: String,
    /// Parts that aren't text (images).
    pub attachments: u32,
}

/// A command that runs on after its turn.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct BackgroundTerminal {
    /// What to call it in a call.
    pub process: String,
    /// The item that started it.
    pub item: String,
    /// The command line.
    pub command: String,
    /// Its working folder.
    pub folder: String,
}

/// What a thread is after, across its turns.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ThreadGoal {
    /// In words.
    pub objective: String,
    /// Codex's word: `active`, `paused`, `blocked`, `usageLimited`, `budgetLimited`, `complete`.
    pub status: String,
    /// Tokens used for it.
    pub tokens_used: i64,
    /// Tokens it may use, if there is a limit.
    pub token_budget: Option<i64>,
    /// Seconds worked on it.
    pub seconds_used: i64,
}

/// What the account at the host has used.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Usage {
    /// Codex's word for the plan.
    pub plan: Option<String>,
    /// The short window.
    pub primary: Option<UsageWindow>,
    /// The long window.
    pub secondary: Option<UsageWindow>,
    /// Tokens, ever.
    pub lifetime_tokens: Option<i64>,
    /// Why Codex can't tell (all of) it: without an account it knows neither limits nor tokens.
    pub unknown: Option<String>,
}

/// A window of time with a limit.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct UsageWindow {
    /// Used, in percent.
    pub used_percent: i64,
    /// When it starts anew, in Unix seconds.
    pub resets_at: Option<i64>,
    /// Its length in minutes.
    pub minutes: Option<i64>,
}

/// An image of a thread.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ThreadImage {
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`, by its first bytes.
    pub mime: String,
    /// At most 4 MiB.
    pub bytes: Vec<u8>,
}

impl TryFrom<OutgoingMessage> for phone::Message {
    type Error = AttachmentError;

    fn try_from(OutgoingMessage { text, images, model, effort }: OutgoingMessage) -> Result<Self, AttachmentError> {
        let images = images.into_iter().map(Attachment::of).collect::<Result<_, _>>()?;
        Ok(Self { text, images, model, effort })
    }
}

impl From<ThreadFilter> for phone::ThreadQuery {
    fn from(ThreadFilter { limit, cursor, archived, search, folder }: ThreadFilter) -> Self {
        Self { limit, cursor, archived, search, folder }
    }
}

impl From<ReviewTarget> for phone::ReviewTarget {
    fn from(target: ReviewTarget) -> Self {
        match target {
            ReviewTarget::Uncommitted => Self::Uncommitted,
            ReviewTarget::BaseBranch { branch } => Self::BaseBranch { branch },
            ReviewTarget::Commit { sha } => Self::Commit { sha },
            ReviewTarget::Custom { instructions } => Self::Custom { instructions },
        }
    }
}

impl From<phone::Page<phone::codex::thread::Turn>> for HistoryPage {
    fn from(page: phone::Page<phone::codex::thread::Turn>) -> Self {
        Self { turns: page.rows.into_iter().map(Into::into).collect(), next: page.next }
    }
}

impl From<phone::Page<phone::Placed>> for ItemPage {
    fn from(page: phone::Page<phone::Placed>) -> Self {
        let placed = |placed: phone::Placed| PlacedItem { turn: placed.turn, item: placed.item.into() };
        Self { items: page.rows.into_iter().map(placed).collect(), next: page.next }
    }
}

impl From<phone::Page<phone::Hit>> for SearchPage {
    fn from(page: phone::Page<phone::Hit>) -> Self {
        let hit = |hit: phone::Hit| SearchHit { thread: hit.thread.into(), snippet: hit.snippet };
        Self { hits: page.rows.into_iter().map(hit).collect(), next: page.next }
    }
}

impl From<phone::Model> for ModelChoice {
    fn from(model: phone::Model) -> Self {
        let effort = |effort: phone::Effort| EffortChoice { name: effort.name, description: effort.description };
        let efforts = model.efforts.into_iter().map(effort).collect();
        let phone::Model { id, name, description, is_default, default_effort, .. } = model;
        Self { id, name, description, is_default, efforts, default_effort }
    }
}

impl From<phone::Settings> for ThreadSettings {
    fn from(phone::Settings { model, effort }: phone::Settings) -> Self {
        Self { model, effort }
    }
}

impl From<phone::Queued> for QueuedMessage {
    fn from(phone::Queued { id, text, attachments, .. }: phone::Queued) -> Self {
        Self { id, text, attachments }
    }
}

impl From<phone::Terminal> for BackgroundTerminal {
    fn from(phone::Terminal { process, item, command, folder }: phone::Terminal) -> Self {
        Self { process, item, command, folder }
    }
}

impl From<phone::Goal> for ThreadGoal {
    fn from(goal: phone::Goal) -> Self {
        let phone::Goal { objective, status, tokens_used, token_budget, seconds_used } = goal;
        Self { objective, status, tokens_used, token_budget, seconds_used }
    }
}

impl From<phone::Usage> for Usage {
    fn from(phone::Usage { limits, account }: phone::Usage) -> Self {
        let unknown = limits.as_ref().err().or(account.as_ref().err()).cloned();
        let lifetime_tokens = account.ok().and_then(|account| account.lifetime_tokens);
        let phone::RateLimits { plan, primary, secondary } = limits.unwrap_or_default();
        let window = |window: phone::Window| UsageWindow {
            used_percent: window.used_percent,
            resets_at: window.resets_at,
            minutes: window.minutes,
        };
        Self { plan, primary: primary.map(window), secondary: secondary.map(window), lifetime_tokens, unknown }
    }
}

impl From<phone::Image> for ThreadImage {
    fn from(image: phone::Image) -> Self {
        Self { mime: image.kind.mime().into(), bytes: image.bytes }
    }
}
