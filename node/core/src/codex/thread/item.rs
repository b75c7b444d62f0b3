//! Items: what happens in a turn, read from the app-server's JSON within bounds.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codex::approval::Change;
use crate::codex::text::{clip, tail};
use crate::wire::limits;

/// One thing that happened in a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Item id.
    pub id: String,
    /// Still going on: dropped if the turn ends first, as Codex doesn't keep it either.
    #[serde(default)]
    pub open: bool,
    /// Not all of it is here: it was too long, or began before we listened.
    #[serde(default)]
    pub truncated: bool,
    /// Images it holds, counted from 0. Their bytes aren't here: each is read by item and index.
    #[serde(default)]
    pub images: u32,
    /// What it is.
    #[serde(flatten)]
    pub kind: ItemKind,
}

/// What an item is. Kinds that a later Codex adds are [`ItemKind::Other`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ItemKind {
    /// A person's message, from the desk or a phone.
    UserMessage {
        /// Its text parts, a line each.
        text: String,
        /// The id its sender gave it (`clientUserMessageId`), to find it again after a crash.
        client_id: Option<String>,
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
        /// The parts, in order.
        summary: Vec<String>,
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
        status: Progress,
        /// How long it ran, once it ended.
        duration_ms: Option<i64>,
        /// A person at the desk ran it, not the agent.
        #[serde(default)]
        by_person: bool,
    },
    /// A change of files.
    FileChange {
        /// Every file, in order.
        changes: Vec<Change>,
        /// How it stands.
        status: Progress,
    },
    /// An image Codex looked at.
    Image {
        /// Where it lies on the host.
        path: String,
    },
    /// A tool that isn't Codex's own: of an MCP server, or of the client that started the thread.
    Tool {
        /// The server, or the namespace; none where a tool has none.
        server: Option<String>,
        /// Its name.
        tool: String,
        /// What it was given: the text of a JSON value.
        arguments: String,
        /// How it stands.
        status: Progress,
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
        /// What happens, in Codex's word (`spawnAgent`, `wait`, `started`, …).
        action: String,
        /// The agent's name, where it has one.
        name: Option<String>,
        /// The agents' threads.
        threads: Vec<String>,
        /// What it was told.
        prompt: Option<String>,
        /// How it stands.
        status: Progress,
    },
    /// A search on the web, or a page opened there.
    WebSearch {
        /// What for.
        query: String,
        /// Further words, an address, or what was looked for in a page.
        detail: Option<String>,
    },
    /// An image Codex makes.
    ImageGeneration {
        /// What of, in the words it was made by.
        prompt: Option<String>,
        /// How it stands.
        status: Progress,
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
        /// Codex's name for it.
        kind: String,
    },
    /// From a newer host, which knows more kinds than this version.
    #[serde(other)]
    Unknown,
}

/// How something stands that takes its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Progress {
    /// Waiting for approval, or running.
    #[default]
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
    #[serde(other)]
    Unknown,
}

/// Bytes of a text that are kept: its beginning.
pub(super) const TEXT: usize = 256 * 1024;
/// Bytes of a command's output that are kept: its end.
pub(super) const OUTPUT: usize = 64 * 1024;
/// Parts of a reasoning summary that are kept.
pub(super) const PARTS: usize = 64;
/// Bytes of a path that are kept; Linux allows 4096.
pub(super) const PATH: usize = 4 * 1024;
/// Bytes of an id, and of a kind's name; longer ones name nothing.
pub(super) const ID: usize = 256;
/// Bytes of a tool's arguments, and of a line about something, that are kept.
pub(super) const SHORT: usize = 16 * 1024;
/// Agents' threads that are kept.
pub(super) const AGENTS: usize = 64;
/// Bytes of file changes that are kept: what can be approved is kept whole.
const CHANGES: usize = limits::APPROVAL_CONTENT;

impl Item {
    /// Reads an item; `None` if it has no type or no id.
    pub(super) fn read(value: &Value, open: bool) -> Option<Self> {
        let id = text(value, "id").filter(|id| id.len() <= ID)?;
        let mut item = Self::new(id, ItemKind::Unknown, open);
        item.kind = item.read_kind(value)?;
        Some(item)
    }

    /// An item of which only deltas are known.
    pub(super) fn begun_before(id: &str, kind: ItemKind) -> Self {
        Self { truncated: true, ..Self::new(id, kind, true) }
    }

    fn new(id: &str, kind: ItemKind, open: bool) -> Self {
        Self { id: id.into(), open, truncated: false, images: 0, kind }
    }

    /// Takes a piece of streamed text; whether anything changed.
    pub(super) fn extend_text(&mut self, delta: &str) -> bool {
        let (ItemKind::AgentMessage { text } | ItemKind::Plan { text }) = &mut self.kind else { return false };
        let mut grown = std::mem::take(text);
        let grew = self.append(&mut grown, delta, TEXT);
        if let ItemKind::AgentMessage { text } | ItemKind::Plan { text } = &mut self.kind {
            *text = grown;
        }
        grew
    }

    /// Takes what a tool says while it runs; whether anything changed.
    pub(super) fn set_progress(&mut self, message: &str) -> bool {
        let ItemKind::Tool { progress, .. } = &mut self.kind else { return false };
        let message = clip(message, SHORT);
        let changed = progress.as_deref() != Some(message);
        *progress = Some(message.into());
        changed
    }

    /// Takes a piece of a reasoning summary's part; whether anything changed.
    pub(super) fn extend_summary(&mut self, part: usize, delta: &str) -> bool {
        let ItemKind::Reasoning { summary } = &mut self.kind else { return false };
        if part >= PARTS {
            return !std::mem::replace(&mut self.truncated, true);
        }
        let mut summary = std::mem::take(summary);
        let missing = summary.len() <= part;
        summary.resize(summary.len().max(part + 1), String::new());
        let grew = self.append(&mut summary[part], delta, TEXT / PARTS);
        self.kind = ItemKind::Reasoning { summary };
        missing || grew
    }

    /// Takes a piece of a command's output; whether anything changed. Cuts only at twice the limit, so that a long
    /// stream isn't copied at every piece.
    pub(super) fn extend_output(&mut self, delta: &str) -> bool {
        let ItemKind::Command { output, .. } = &mut self.kind else { return false };
        output.push_str(tail(delta, OUTPUT));
        if output.len() > 2 * OUTPUT {
            *output = tail(output, OUTPUT).into();
            self.truncated = true;
        }
        !delta.is_empty()
    }

    /// Replaces the changes of a file change; whether anything changed.
    pub(super) fn replace_changes(&mut self, list: Option<&Value>) -> bool {
        if !matches!(self.kind, ItemKind::FileChange { .. }) {
            return false;
        }
        self.truncated = false;
        let new = self.keep_changes(list);
        let ItemKind::FileChange { changes, .. } = &mut self.kind else { return false };
        let changed = *changes != new;
        *changes = new;
        changed
    }

    /// Bytes held, about.
    pub(super) fn weight(&self) -> usize {
        let kind = match &self.kind {
            ItemKind::UserMessage { text, client_id, .. } => text.len() + client_id.as_ref().map_or(0, String::len),
            ItemKind::AgentMessage { text }
            | ItemKind::Plan { text }
            | ItemKind::ReviewStarted { text }
            | ItemKind::ReviewEnded { text }
            | ItemKind::HookPrompt { text } => text.len(),
            ItemKind::Reasoning { summary } => summary.iter().map(|part| part.len() + 8).sum(),
            ItemKind::Command { command, folder, output, .. } => command.len() + folder.len() + output.len(),
            ItemKind::FileChange { changes, .. } => changes.iter().map(|change| change.size() + 64).sum(),
            ItemKind::Tool { server, tool, arguments, result, error, progress, .. } => {
                let optional = [server, error, progress].into_iter().flatten().map(String::len).sum::<usize>();
                tool.len() + arguments.len() + result.len() + optional
            }
            ItemKind::Agent { action, name, threads, prompt, .. } => {
                let optional = [name, prompt].into_iter().flatten().map(String::len).sum::<usize>();
                action.len() + optional + threads.iter().map(|thread| thread.len() + 8).sum::<usize>()
            }
            ItemKind::WebSearch { query, detail } => query.len() + detail.as_ref().map_or(0, String::len),
            ItemKind::ImageGeneration { prompt, .. } => prompt.as_ref().map_or(0, String::len),
            ItemKind::Image { path } => path.len(),
            ItemKind::Other { kind } => kind.len(),
            ItemKind::Compaction | ItemKind::Sleep { .. } | ItemKind::Unknown => 0,
        };
        128 + self.id.len() + kind
    }

    pub(super) fn keep(&mut self, text: Option<&str>, limit: usize) -> String {
        let text = text.unwrap_or_default();
        self.truncated |= text.len() > limit;
        clip(text, limit).into()
    }

    pub(super) fn append(&mut self, to: &mut String, more: &str, limit: usize) -> bool {
        let before = to.len();
        to.push_str(clip(more, limit.saturating_sub(before)));
        self.truncated |= to.len() < before + more.len();
        to.len() > before
    }

    /// All changes, or the first that fit, marked as truncated: an approval needs them whole.
    pub(super) fn keep_changes(&mut self, list: Option<&Value>) -> Vec<Change> {
        let list = list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut kept = Vec::new();
        let mut size = 0;
        for change in list {
            let Some(change) = Change::read(change) else {
                self.truncated = true;
                continue;
            };
            size += change.size() + 64;
            if size > CHANGES + 64 * 1024 {
                self.truncated = true;
                break;
            }
            kept.push(change);
        }
        kept
    }
}

impl Change {
    /// Reads `{path, kind: {type, move_path}, diff}`; `None` if a part is missing.
    fn read(value: &Value) -> Option<Self> {
        let kind = value.get("kind")?;
        Some(Self {
            path: text(value, "path")?.into(),
            kind: text(kind, "type")?.into(),
            moved_to: text(kind, "move_path").map(Into::into),
            diff: text(value, "diff")?.into(),
        })
    }
}

/// A text field.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}
