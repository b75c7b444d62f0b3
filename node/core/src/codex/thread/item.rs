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
    /// What it is.
    #[serde(flatten)]
    pub kind: ItemKind,
}

/// What an item is. Those a screen has no use for yet are [`ItemKind::Other`].
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
    /// Anything else.
    Other {
        /// Codex's name for it (`webSearch`, `mcpToolCall`, …).
        kind: String,
    },
    /// From a newer host, which knows more kinds than this version.
    #[serde(other)]
    Unknown,
}

/// How a command or a change of files stands.
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
}

/// Bytes of a text that are kept: its beginning.
const TEXT: usize = 256 * 1024;
/// Bytes of a command's output that are kept: its end.
const OUTPUT: usize = 64 * 1024;
/// Parts of a reasoning summary that are kept.
const PARTS: usize = 64;
/// Bytes of a path that are kept; Linux allows 4096.
const PATH: usize = 4 * 1024;
/// Bytes of an id, and of a kind's name; longer ones name nothing.
pub(super) const ID: usize = 256;
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
        Self { id: id.into(), open, truncated: false, kind }
    }

    fn read_kind(&mut self, value: &Value) -> Option<ItemKind> {
        Some(match text(value, "type")? {
            "userMessage" => self.read_message(value),
            "agentMessage" => ItemKind::AgentMessage { text: self.keep(text(value, "text"), TEXT) },
            "reasoning" => self.read_reasoning(value),
            "commandExecution" => self.read_command(value),
            "fileChange" => ItemKind::FileChange {
                changes: self.keep_changes(value.get("changes")),
                status: Progress::read(value.get("status")),
            },
            "imageView" => ItemKind::Image { path: self.keep(text(value, "path"), PATH) },
            other => ItemKind::Other { kind: clip(other, ID).into() },
        })
    }

    fn read_message(&mut self, value: &Value) -> ItemKind {
        let parts = value.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut whole = String::new();
        for part in parts.iter().filter_map(|part| text(part, "text")) {
            if !whole.is_empty() {
                whole.push('\n');
            }
            self.append(&mut whole, part, TEXT);
        }
        let attachments = parts.iter().filter(|part| text(part, "text").is_none()).count();
        ItemKind::UserMessage {
            text: whole,
            client_id: text(value, "clientId").filter(|id| id.len() <= ID).map(Into::into),
            attachments: attachments.try_into().unwrap_or(u32::MAX),
        }
    }

    fn read_reasoning(&mut self, value: &Value) -> ItemKind {
        let parts = value.get("summary").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        self.truncated |= parts.len() > PARTS;
        let parts = parts.iter().take(PARTS).map(|part| self.keep(part.as_str(), TEXT / PARTS)).collect();
        ItemKind::Reasoning { summary: parts }
    }

    fn read_command(&mut self, value: &Value) -> ItemKind {
        let output = text(value, "aggregatedOutput").unwrap_or_default();
        self.truncated |= output.len() > OUTPUT;
        ItemKind::Command {
            command: self.keep(text(value, "command"), TEXT),
            folder: self.keep(text(value, "cwd"), PATH),
            output: tail(output, OUTPUT).into(),
            exit_code: value.get("exitCode").and_then(Value::as_i64),
            status: Progress::read(value.get("status")),
        }
    }

    /// Takes a piece of streamed text; whether anything changed.
    pub(super) fn extend_text(&mut self, delta: &str) -> bool {
        let ItemKind::AgentMessage { text } = &mut self.kind else { return false };
        let mut text = std::mem::take(text);
        let grew = self.append(&mut text, delta, TEXT);
        self.kind = ItemKind::AgentMessage { text };
        grew
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
            ItemKind::AgentMessage { text } => text.len(),
            ItemKind::Reasoning { summary } => summary.iter().map(|part| part.len() + 8).sum(),
            ItemKind::Command { command, folder, output, .. } => command.len() + folder.len() + output.len(),
            ItemKind::FileChange { changes, .. } => changes.iter().map(|change| change.size() + 64).sum(),
            ItemKind::Image { path } => path.len(),
            ItemKind::Other { kind } => kind.len(),
            ItemKind::Unknown => 0,
        };
        128 + self.id.len() + kind
    }

    fn keep(&mut self, text: Option<&str>, limit: usize) -> String {
        let text = text.unwrap_or_default();
        self.truncated |= text.len() > limit;
        clip(text, limit).into()
    }

    fn append(&mut self, to: &mut String, more: &str, limit: usize) -> bool {
        let before = to.len();
        to.push_str(clip(more, limit.saturating_sub(before)));
        self.truncated |= to.len() < before + more.len();
        to.len() > before
    }

    /// All changes, or the first that fit, marked as truncated: an approval needs them whole.
    fn keep_changes(&mut self, list: Option<&Value>) -> Vec<Change> {
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

impl Progress {
    fn read(value: Option<&Value>) -> Self {
        match value.and_then(Value::as_str) {
            Some("completed") => Self::Completed,
            Some("failed") => Self::Failed,
            Some("declined") => Self::Declined,
            _ => Self::InProgress,
        }
    }
}

/// A text field.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}
