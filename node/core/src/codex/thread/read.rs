//! From what the app-server answers (`thread/read`, `thread/resume`, `thread/start`) to a [`Thread`].

use serde_json::Value;

use super::item::{ID, text};
use super::{Item, ItemKind, Progress, Status, Thread, Turn, TurnStatus};
use crate::codex::approval::Terms;
use crate::codex::message::canonical;
use crate::codex::text::clip;

/// An answer that holds no thread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The field is missing or has the wrong type.
    #[error("the app-server's answer has no usable `{0}`")]
    Missing(&'static str),
}

/// Bytes of a preview or a name that are kept.
pub(super) const LINE: usize = 1024;
/// Bytes of a folder's path that are kept.
const PATH: usize = 4 * 1024;
/// Bytes of a failure's text that are kept; a longer policy or sandbox isn't kept at all.
const NOTE: usize = 4 * 1024;

impl Thread {
    /// From a result of `thread/read` (`includeTurns`).
    pub fn from_read(result: &Value) -> Result<Self, Error> {
        Self::from_resume(result)
    }

    /// From a result of `thread/resume`, with the turns of its `initialTurnsPage` (newest first, as asked for by the
    /// policy's rebuilt parameters), or of `thread/start`.
    pub fn from_resume(result: &Value) -> Result<Self, Error> {
        let thread = result.get("thread").ok_or(Error::Missing("thread"))?;
        let id = text(thread, "id").filter(|id| !id.is_empty() && id.len() <= ID).ok_or(Error::Missing("thread.id"))?;
        let mut read = Self::new(id);
        read.set_metadata(thread);
        read.set_settings(result);
        read.turns = list(thread, "turns").filter_map(Turn::read).collect();
        if let Some(page) = result.get("initialTurnsPage") {
            read.prepend(page);
        }
        read.trim();
        Ok(read)
    }

    /// Puts the turns of a `thread/turns/list` page (newest first) before those that are here; turns that are here
    /// already stay as they are.
    pub fn prepend(&mut self, page: &Value) {
        let mut turns: Vec<Turn> = list(page, "data").filter_map(Turn::read).collect();
        turns.retain(|turn| self.turn(&turn.id).is_none());
        turns.reverse();
        turns.append(&mut self.turns);
        self.turns = turns;
        self.older = page.get("nextCursor").is_some_and(|cursor| !cursor.is_null());
        self.trim();
    }

    /// Takes what a `Thread` object of the app-server says about the thread itself; turns are left alone.
    pub(super) fn set_metadata(&mut self, thread: &Value) {
        let environment = list(thread, "environments").next().and_then(|first| text(first, "environmentId"));
        self.name = text(thread, "name").map(|name| clip(name, LINE).into());
        set(&mut self.environment, environment.map(|name| clip(name, ID)));
        set(&mut self.model, text(thread, "model").map(|name| clip(name, ID)));
        set(&mut self.effort, text(thread, "reasoningEffort").map(|name| clip(name, ID)));
        if let Some(preview) = text(thread, "preview").filter(|preview| !preview.is_empty()) {
            self.preview = clip(preview, LINE).into();
        }
        if let Some(folder) = text(thread, "cwd") {
            self.folder = clip(folder, PATH).into();
        }
        if let Some(status) = thread.get("status") {
            self.status = Status::read(status);
        }
        if let Some(at) = thread.get("updatedAt").and_then(Value::as_i64) {
            self.updated_at = at;
        }
    }

    /// Takes the effective settings, as `thread/resume` answers them and as `thread/settings/updated` reports them.
    pub(super) fn set_settings(&mut self, settings: &Value) {
        if let Some(folder) = text(settings, "cwd") {
            self.folder = clip(folder, PATH).into();
        }
        set(&mut self.model, text(settings, "model").map(|name| clip(name, ID)));
        let effort = text(settings, "effort").or_else(|| text(settings, "reasoningEffort"));
        if settings.get("effort").is_some() || effort.is_some() {
            self.effort = effort.map(|name| clip(name, ID).into());
        }
        // Half a policy would be read as a whole one.
        let whole = |term: &String| if term.len() <= NOTE { term.clone() } else { Terms::UNKNOWN.into() };
        let policy = settings.get("approvalPolicy").map(describe);
        set(&mut self.approval_policy, policy.as_ref().map(whole).as_deref());
        let sandbox = settings.get("sandboxPolicy").or_else(|| settings.get("sandbox")).map(describe);
        set(&mut self.sandbox, sandbox.as_ref().map(whole).as_deref());
    }
}

/// A policy as text: a name as it is; of an object its type in the spelling of Codex's settings, then whatever
/// differs from the plain form of it, as canonical JSON (`workspace-write {"networkAccess":true}`).
fn describe(policy: &Value) -> String {
    let Some(map) = policy.as_object() else {
        return policy.as_str().map_or_else(|| canonical(policy), Into::into);
    };
    let Some(kind) = text(policy, "type") else { return canonical(policy) };
    let plain = |name: &str, value: &Value| match name {
        "type" => true,
        "networkAccess" => *value == Value::Bool(false) || value.as_str() == Some("restricted"),
        "excludeTmpdirEnvVar" | "excludeSlashTmp" => *value == Value::Bool(false),
        "writableRoots" => value.as_array().is_some_and(Vec::is_empty),
        _ => false,
    };
    let rest: serde_json::Map<_, _> =
        map.iter().filter(|(name, value)| !plain(name, value)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let kind = match kind {
        "workspaceWrite" => "workspace-write",
        "readOnly" => "read-only",
        "dangerFullAccess" => "danger-full-access",
        other => other,
    };
    if rest.is_empty() { kind.into() } else { format!("{kind} {}", canonical(&Value::Object(rest))) }
}

fn set(field: &mut Option<String>, value: Option<&str>) {
    if let Some(value) = value {
        *field = Some(value.into());
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

impl Status {
    /// Reads `{type, activeFlags}`.
    pub(super) fn read(value: &Value) -> Self {
        let flag = |name| list(value, "activeFlags").any(|flag| flag.as_str() == Some(name));
        match text(value, "type") {
            Some("notLoaded") => Self::NotLoaded,
            Some("idle") => Self::Idle,
            Some("systemError") => Self::SystemError,
            Some("active") => Self::Active {
                waiting_on_approval: flag("waitingOnApproval"),
                waiting_on_input: flag("waitingOnUserInput"),
            },
            _ => Self::Unknown,
        }
    }
}

impl Turn {
    /// Reads a turn with its items; `None` if it has no id.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let id = text(value, "id").filter(|id| !id.is_empty() && id.len() <= ID)?;
        let status = TurnStatus::read(value);
        let runs = status == TurnStatus::InProgress;
        let items = list(value, "items").filter_map(|item| {
            let mut item = Item::read(item, false)?;
            item.open = runs && item.is_under_way();
            Some(item)
        });
        Some(Self { id: id.into(), items: items.collect(), status, ..Self::default() })
    }
}

impl Item {
    /// Something that Codex itself reports as not ended.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(
            self.kind,
            ItemKind::Command { status: Progress::InProgress, .. }
                | ItemKind::FileChange { status: Progress::InProgress, .. }
                | ItemKind::Tool { status: Progress::InProgress, .. }
                | ItemKind::Agent { status: Progress::InProgress, .. }
                | ItemKind::ImageGeneration { status: Progress::InProgress, .. }
        )
    }
}

impl TurnStatus {
    /// Reads a turn's `status` and `error`.
    pub(super) fn read(turn: &Value) -> Self {
        match text(turn, "status") {
            Some("completed") => Self::Completed,
            Some("interrupted") => Self::Interrupted,
            Some("failed") => Self::Failed(turn.get("error").map_or_else(String::new, error_text)),
            _ => Self::InProgress,
        }
    }
}

/// A `TurnError` in its own words.
pub(super) fn error_text(error: &Value) -> String {
    clip(text(error, "message").unwrap_or("unknown error"), NOTE).into()
}
