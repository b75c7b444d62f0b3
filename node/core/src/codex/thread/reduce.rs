//! The reducer: one notification in, the thread changed or not.
//!
//! It takes any sequence: repeated, late, for turns it never saw begin. Applying a notification twice changes nothing
//! the second time, except for deltas, which only a completed item makes exact.

use serde_json::Value;

use super::item::{ID, text};
use super::read::{LINE, error_text};
use super::{Goal, Grown, Item, ItemKind, Note, Plan, Progress, Status, Thread, Turn, TurnStatus, Usage};
use crate::codex::text::clip;

/// What a notification did to a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// Something to draw again.
    Changed,
    /// Turns were taken back: those here are no more, and the thread has to be read again.
    Outdated,
    /// Nothing: known already, or nothing a thread shows.
    Ignored,
    /// It is about another thread, or about none.
    NotForThisThread,
}

/// The thread a notification or a request of the app-server is about.
pub fn id_of(params: &Value) -> Option<&str> {
    let id = text(params, "threadId").or_else(|| text(params.get("thread")?, "id"));
    id.filter(|id| !id.is_empty() && id.len() <= ID)
}

/// The turn of a `turn/completed`, and how it ended.
pub fn completed(params: &Value) -> Option<(String, TurnStatus)> {
    // The reducer reads it, on a thread that has nothing else.
    let mut thread = Thread { id: id_of(params)?.into(), ..Thread::default() };
    thread.apply("turn/completed", params);
    thread.turns.pop().map(|Turn { id, status, .. }| (id, status))
}

impl Thread {
    /// Takes one notification. A thread without an id takes that of the first `thread/started`.
    pub fn apply(&mut self, method: &str, params: &Value) -> Applied {
        let Some(id) = id_of(params) else { return Applied::NotForThisThread };
        if self.id.is_empty() && method == "thread/started" {
            self.id = id.into();
        }
        if self.id != id {
            return Applied::NotForThisThread;
        }
        if method == "thread/reverted" {
            (self.turns, self.older) = (Vec::new(), true);
            return Applied::Outdated;
        }
        if let Some(note) = Note::read(method, params) {
            return if self.remark(note) { Applied::Changed } else { Applied::Ignored };
        }
        let changed = match method.split_once('/') {
            Some(("thread", what)) => self.apply_to_self(what, params),
            Some(("turn", what)) => self.apply_to_turn(what, params),
            Some(("item", what)) => self.apply_to_item(what, params).unwrap_or(false),
            None if method == "error" => self.note_error(params),
            _ => false,
        };
        if changed { Applied::Changed } else { Applied::Ignored }
    }

    fn apply_to_self(&mut self, what: &str, params: &Value) -> bool {
        let turns = std::mem::take(&mut self.turns);
        let before = self.clone();
        match what {
            "started" => params.get("thread").into_iter().for_each(|thread| self.set_metadata(thread)),
            "status/changed" => self.status = params.get("status").map_or(Status::Unknown, Status::read),
            "closed" | "deleted" => self.status = Status::NotLoaded,
            "archived" => self.archived = true,
            "unarchived" => self.archived = false,
            "goal/updated" => self.goal = params.get("goal").and_then(Goal::read),
            "goal/cleared" => self.goal = None,
            "tokenUsage/updated" => self.usage = params.get("tokenUsage").map(Usage::read),
            "name/updated" => self.name = text(params, "threadName").map(|name| clip(name, LINE).into()),
            "settings/updated" => params.get("threadSettings").into_iter().for_each(|s| self.set_settings(s)),
            _ => {}
        }
        let changed = *self != before;
        self.turns = turns;
        changed
    }

    /// Takes a remark: once, and in the place of what was said under its id.
    fn remark(&mut self, note: Note) -> bool {
        let same = |known: &Note| known.kind == note.kind && known.id == note.id && known.turn == note.turn;
        let known = self.notes.iter_mut().rev().find(|known| same(known));
        match known {
            Some(known) if known.text == note.text => return false,
            Some(known) if !note.id.is_empty() => *known = note,
            _ => self.notes.push(note),
        }
        let surplus = self.notes.len().saturating_sub(Self::NOTES);
        self.notes.drain(..surplus);
        self.trim();
        true
    }

    fn apply_to_turn(&mut self, what: &str, params: &Value) -> bool {
        match what {
            "started" => params.get("turn").and_then(Turn::read).is_some_and(|turn| self.begin(turn)),
            "completed" => params.get("turn").and_then(Turn::read).is_some_and(|turn| self.complete(turn)),
            "plan/updated" => {
                let plan = Plan::read(params);
                let turn = text(params, "turnId").and_then(|turn| self.turn_mut(turn));
                let changed = turn.is_some_and(|turn| std::mem::replace(&mut turn.plan, plan.clone()) != plan);
                if changed {
                    self.trim();
                }
                changed
            }
            "diff/updated" => {
                let (Some(turn), Some(diff)) = (text(params, "turnId"), text(params, "diff")) else { return false };
                let diff = clip(diff, Turn::DIFF);
                let changed = self.turn_mut(turn).is_some_and(|turn| turn.set_diff(diff));
                if changed {
                    self.trim();
                }
                changed
            }
            _ => false,
        }
    }

    /// A turn that ended stays ended, whatever arrives late.
    fn begin(&mut self, turn: Turn) -> bool {
        let known = self.turn(&turn.id).is_some();
        !known && self.turn_mut(&turn.id).is_some()
    }

    fn complete(&mut self, ended: Turn) -> bool {
        let Some(turn) = self.turn_mut(&ended.id) else { return false };
        let before = turn.clone();
        turn.notice = None;
        for item in ended.items {
            turn.put(item);
        }
        turn.status = ended.status;
        turn.drop_open();
        let changed = *turn != before;
        let replaced = self.end_replaced(&ended.id);
        self.trim();
        changed || replaced
    }

    /// One turn runs at a time. A review runs under another id than the turn that began with it, of which Codex says no
    /// more than, in its list of turns, that it was interrupted.
    fn end_replaced(&mut self, ended: &str) -> bool {
        let mut changed = false;
        for turn in self.turns.iter_mut().filter(|turn| turn.id != ended && turn.items.is_empty()) {
            if turn.status == TurnStatus::InProgress {
                turn.status = TurnStatus::Interrupted;
                changed = true;
            }
        }
        changed
    }

    fn note_error(&mut self, params: &Value) -> bool {
        let (Some(turn), Some(error)) = (text(params, "turnId"), params.get("error")) else { return false };
        let notice = Some(error_text(error));
        let Some(turn) = self.turn_mut(turn).filter(|turn| turn.status == TurnStatus::InProgress) else { return false };
        let changed = turn.notice != notice;
        turn.notice = notice;
        changed
    }

    fn apply_to_item(&mut self, what: &str, params: &Value) -> Option<bool> {
        let turn = text(params, "turnId").filter(|id| !id.is_empty() && id.len() <= ID)?;
        match what {
            "started" | "completed" => {
                let item = Item::read(params.get("item")?, what == "started")?;
                Some(self.put_item(turn, item))
            }
            _ => {
                let id = text(params, "itemId").filter(|id| !id.is_empty() && id.len() <= ID)?;
                self.extend_item(turn, id, what, params)
            }
        }
    }

    fn put_item(&mut self, turn: &str, item: Item) -> bool {
        let preview = match &item.kind {
            ItemKind::UserMessage { text, .. } => text.clone(),
            _ => String::new(),
        };
        if !self.turn_mut(turn).is_some_and(|turn| turn.put(item)) {
            return false;
        }
        if self.preview.is_empty() {
            self.preview = clip(&preview, LINE).into();
        }
        self.trim();
        true
    }

    /// Deltas: taken by open items only, as a completed one is whole.
    fn extend_item(&mut self, turn: &str, id: &str, what: &str, params: &Value) -> Option<bool> {
        let begun = unseen(what)?;
        let delta = text(params, "delta").unwrap_or_default();
        let part = params.get("summaryIndex").and_then(Value::as_u64);
        let part = part.map_or(0, |part| usize::try_from(part).unwrap_or(usize::MAX));
        let turn = self.turn_mut(turn)?;
        let is_new = !turn.items.iter().any(|item| item.id == id);
        if is_new {
            if turn.status != TurnStatus::InProgress {
                return None;
            }
            turn.items.push(Item::begun_before(id, begun));
        }
        let item = turn.items.iter_mut().rev().find(|item| item.id == id && item.open)?;
        let before = item.weight();
        let changed = match what {
            "agentMessage/delta" | "plan/delta" => item.extend_text(delta),
            "mcpToolCall/progress" => item.set_progress(text(params, "message").unwrap_or_default()),
            "reasoning/summaryPartAdded" => item.extend_summary(part, ""),
            "reasoning/summaryTextDelta" => item.extend_summary(part, delta),
            "commandExecution/outputDelta" => item.extend_output(delta),
            _ => item.replace_changes(params.get("changes")),
        };
        self.grown.0 += item.weight().saturating_sub(before);
        if is_new || self.grown.0 > Grown::UNCOUNTED {
            self.trim();
        }
        Some(changed || is_new)
    }

    /// The turn with this id, begun if it is new. A turn older than those kept isn't begun again: ids are UUIDv7,
    /// which sort by time.
    fn turn_mut(&mut self, id: &str) -> Option<&mut Turn> {
        if id.is_empty() || id.len() > ID {
            return None;
        }
        if self.turn(id).is_none() {
            if self.older && self.turns.first().is_some_and(|first| id < first.id.as_str()) {
                return None;
            }
            self.turns.push(Turn { id: id.into(), ..Turn::default() });
            self.trim();
        }
        self.turns.iter_mut().rev().find(|turn| turn.id == id)
    }
}

/// What an item must be that gets this kind of delta, before anything else is known about it.
fn unseen(what: &str) -> Option<ItemKind> {
    Some(match what {
        "agentMessage/delta" => ItemKind::AgentMessage { text: String::new() },
        "plan/delta" => ItemKind::Plan { text: String::new() },
        "mcpToolCall/progress" => ItemKind::Tool {
            server: None,
            tool: String::new(),
            arguments: String::new(),
            status: Progress::InProgress,
            result: String::new(),
            error: None,
            progress: None,
            duration_ms: None,
        },
        "reasoning/summaryPartAdded" | "reasoning/summaryTextDelta" => ItemKind::Reasoning { summary: Vec::new() },
        "commandExecution/outputDelta" => ItemKind::Command {
            command: String::new(),
            folder: String::new(),
            output: String::new(),
            exit_code: None,
            status: Progress::InProgress,
            duration_ms: None,
            by_person: false,
        },
        "fileChange/patchUpdated" => ItemKind::FileChange { changes: Vec::new(), status: Progress::InProgress },
        _ => return None,
    })
}

impl Turn {
    fn set_diff(&mut self, diff: &str) -> bool {
        let changed = self.diff != diff;
        if changed {
            self.diff = diff.into();
        }
        changed
    }

    /// Puts an item in its place. Nothing begins in a turn that ended, and a known item isn't opened again: what was
    /// streamed into it would be lost. Only changes of files come whole with the start as well.
    fn put(&mut self, item: Item) -> bool {
        if item.open && self.status != TurnStatus::InProgress {
            return false;
        }
        let streamed = |known: &Item| !known.open || !matches!(known.kind, ItemKind::FileChange { .. });
        match self.items.iter_mut().rev().find(|known| known.id == item.id) {
            Some(known) if *known == item || (item.open && streamed(known)) => false,
            Some(known) => {
                *known = item;
                true
            }
            None => {
                self.items.push(item);
                true
            }
        }
    }

    /// Drops what was cut off, as Codex does. A command may outlive a completed turn in the background.
    fn drop_open(&mut self) {
        let completed = self.status == TurnStatus::Completed;
        let is_command = |item: &Item| matches!(item.kind, ItemKind::Command { .. });
        self.items.retain(|item| !item.open || (completed && is_command(item)));
    }
}
