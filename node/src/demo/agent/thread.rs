//! A thread of the scripted agent: what it holds and how it is shown. What happens in a turn is in [`turn`](super::turn).

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::files::Files;
use super::turn::Running;

/// A connection, by number.
pub(crate) type Client = u64;

/// What a thread says, to whom.
#[derive(Debug)]
pub(crate) enum Event {
    /// To every initialized client.
    Everyone(&'static str, Value),
    /// To the thread's subscribers.
    Subscribers(&'static str, Value),
    /// A question to the thread's subscribers; the first answer counts.
    Question(Value),
}

/// What a thread needs from outside for one step.
pub(crate) struct Context<'a> {
    /// Unix time in milliseconds.
    pub(crate) now: u64,
    /// Numbers for ids.
    pub(crate) serial: &'a mut Serial,
    /// The files that patches change.
    pub(crate) files: &'a mut dyn Files,
    /// What was said, in order.
    pub(crate) events: Vec<Event>,
}

/// Counters that ids are made of.
#[derive(Debug, Default)]
pub(crate) struct Serial {
    ids: u64,
    questions: u64,
    responses: u64,
}

impl Serial {
    /// Goes on where no earlier process has been; questions are numbered from 0 in each.
    pub(crate) fn since(now: u64) -> Self {
        Self { responses: now, ..Self::default() }
    }

    /// An id in the form of a UUIDv7: time, then a counter where others have randomness.
    pub(crate) fn uuid(&mut self, now: u64) -> String {
        self.ids += 1;
        format!("{:08x}-{:04x}-7000-8000-{:012x}", now >> 16 & 0xffff_ffff, now & 0xffff, self.ids)
    }

    /// Questions are numbered for the whole server, from 0.
    pub(crate) fn question(&mut self) -> u64 {
        self.questions += 1;
        self.questions - 1
    }

    /// The number of the model's next response.
    pub(crate) fn response(&mut self) -> u64 {
        self.responses += 1;
        self.responses
    }
}

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// On disk only.
    NotLoaded,
    Idle,
    Active,
    WaitingOnApproval,
    SystemError,
}

impl Status {
    pub(crate) fn json(self) -> Value {
        match self {
            Self::NotLoaded => json!({"type": "notLoaded"}),
            Self::Idle => json!({"type": "idle"}),
            Self::Active => json!({"type": "active", "activeFlags": []}),
            Self::WaitingOnApproval => json!({"type": "active", "activeFlags": ["waitingOnApproval"]}),
            Self::SystemError => json!({"type": "systemError"}),
        }
    }
}

/// One turn, running or ended.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) id: String,
    pub(crate) status: &'static str,
    pub(crate) error: Value,
    pub(crate) started: u64,
    pub(crate) completed: Option<u64>,
    /// The completed items; one that never completes is in no history.
    pub(crate) items: Vec<Value>,
}

/// How much of a turn's items is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// None.
    NotLoaded,
    /// The last answer.
    Outcome,
    /// The first message of the user and the last answer.
    Summary,
    /// All.
    Full,
}

impl View {
    /// As a request for turns names it.
    pub(crate) fn asked(params: &Value) -> Self {
        match params["itemsView"].as_str() {
            Some("full") => Self::Full,
            Some("notLoaded") => Self::NotLoaded,
            _ => Self::Summary,
        }
    }
}

impl Turn {
    pub(crate) fn json(&self, view: View) -> Value {
        let (name, items) = self.view(view);
        json!({
            "id": self.id, "rootTurnId": self.id, "items": items, "itemsView": name, "status": self.status,
            "error": self.error, "startedAt": self.started / 1000,
            "completedAt": self.completed.map(|at| at / 1000),
            "durationMs": self.completed.map(|at| at.saturating_sub(self.started)),
        })
    }

    /// As the answer to `turn/start` has it: whatever has happened since, not even a time.
    pub(crate) fn accepted(&self) -> Value {
        json!({
            "id": self.id, "rootTurnId": self.id, "items": [], "itemsView": "notLoaded", "status": "inProgress",
            "error": null, "startedAt": null, "completedAt": null, "durationMs": null,
        })
    }

    fn view(&self, view: View) -> (&'static str, Vec<&Value>) {
        let answer = self.items.iter().rfind(|item| item["type"] == "agentMessage");
        let said = self.items.iter().find(|item| item["type"] == "userMessage");
        match view {
            View::NotLoaded => ("notLoaded", Vec::new()),
            View::Outcome => ("summary", answer.into_iter().collect()),
            View::Summary => ("summary", said.into_iter().chain(answer).collect()),
            View::Full => ("full", self.items.iter().collect()),
        }
    }
}

/// A thread.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
    pub(crate) model: String,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    /// The first thing that was said in it.
    pub(crate) preview: String,
    pub(crate) status: Status,
    pub(crate) subscribers: BTreeSet<Client>,
    pub(crate) turns: Vec<Turn>,
    pub(crate) running: Option<Running>,
    /// What was heard, asked and decided, in order; for tests.
    pub(crate) effects: Vec<Value>,
}

impl Thread {
    pub(crate) fn new(id: String, folder: PathBuf, model: String, now: u64) -> Self {
        Self {
            id,
            folder,
            model,
            created: now,
            updated: now,
            preview: String::new(),
            status: Status::Idle,
            subscribers: BTreeSet::new(),
            turns: Vec::new(),
            running: None,
            effects: Vec::new(),
        }
    }

    /// The `thread` of most messages.
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id, "sessionId": self.id, "preview": self.preview, "status": self.status.json(),
            "environments": [{
                "environmentId": "local", "cwd": self.folder, "runtimeWorkspaceRoots": [self.folder],
            }],
            "extra": null, "forkedFromId": null, "attachedToThreadId": null, "parentThreadId": null,
            "ephemeral": false, "section": null, "sectionEnteredAt": null, "projectId": null,
            "historyMode": "paginated", "modelProvider": "scripted", "model": self.model, "reasoningEffort": null,
            "createdAt": self.created / 1000, "updatedAt": self.updated / 1000, "recencyAt": self.updated / 1000,
            "path": null, "cwd": self.folder, "cliVersion": super::CODEX_VERSION, "originator": "farhelm",
            "source": "vscode", "canAcceptDirectInput": true, "threadSource": null, "agentNickname": null,
            "agentRole": null, "gitInfo": null, "name": null, "daybreakEnabled": null, "turns": [],
        })
    }

    /// As `thread/list` has it.
    pub(crate) fn listed(&self) -> Value {
        let mut thread = self.json();
        thread["canAcceptDirectInput"] = Value::Null;
        thread
    }

    /// The answer to `thread/start`, and the base of the one to `thread/resume`. Whatever a client asks for, turns run
    /// on-request and workspace-write here.
    pub(crate) fn opened(&self) -> Value {
        json!({
            "thread": self.json(), "model": self.model, "modelProvider": "scripted", "serviceTier": null,
            "disabledPluginIds": [], "cwd": self.folder, "runtimeWorkspaceRoots": [self.folder],
            "instructionSources": [], "approvalPolicy": "on-request", "approvalsReviewer": "user",
            "sandbox": {
                "type": "workspaceWrite", "writableRoots": [], "networkAccess": false,
                "excludeTmpdirEnvVar": true, "excludeSlashTmp": true,
            },
            "activePermissionProfile": null, "reasoningEffort": null, "multiAgentMode": "explicitRequestOnly",
        })
    }

    /// The answer to `thread/resume`.
    pub(crate) fn resumed(&self) -> Value {
        let mut opened = self.opened();
        opened["collaborationMode"] = json!({
            "mode": "default",
            "settings": {"model": self.model, "reasoning_effort": null, "developer_instructions": null},
        });
        opened["initialTurnsPage"] = Value::Null;
        opened["turnsBackwardsCursor"] = json!("0");
        opened["itemsBackwardsCursor"] = json!("0");
        opened
    }

    /// Nothing of a thread is stored, or listed, before its first turn.
    pub(crate) fn is_stored(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The turns, oldest first.
    pub(crate) fn turns(&self, view: View) -> Vec<Value> {
        self.turns.iter().map(|turn| turn.json(view)).collect()
    }

    /// The completed items of all turns, oldest first.
    pub(crate) fn items(&self) -> Vec<Value> {
        let items = self.turns.iter().flat_map(|turn| turn.items.iter().map(move |item| (&turn.id, item)));
        items
            .map(|(turn, item)| {
                json!({
                    "turnId": turn, "item": item,
                    "startedAtMs": item["startedAtMs"], "completedAtMs": item["completedAtMs"],
                })
            })
            .collect()
    }

    /// The request for an approval that is open, as it was sent.
    pub(crate) fn question(&self) -> Option<&Value> {
        self.running.as_ref().and_then(Running::question)
    }
}

/// One page of `all` (in ascending order), by the `cursor`, `limit` and `sortDirection` of `params`.
pub(crate) fn page(mut all: Vec<Value>, params: &Value, newest_first: bool) -> Value {
    let newest_first = params["sortDirection"].as_str().map_or(newest_first, |direction| direction == "desc");
    if newest_first {
        all.reverse();
    }
    let start = params["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or(0).min(all.len());
    let limit = params["limit"].as_u64().unwrap_or(25).clamp(1, 100) as usize;
    let end = start.saturating_add(limit).min(all.len());
    let next = (end < all.len()).then(|| end.to_string());
    let back = (start < end).then(|| start.to_string());
    json!({"data": all[start..end], "nextCursor": next, "backwardsCursor": back})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let all = || (0..5).map(Value::from).collect::<Vec<_>>();
        let first = page(all(), &json!({"limit": 3}), true);
        assert_eq!(first["data"], json!([4, 3, 2]));
        let second = page(all(), &json!({"limit": 3, "cursor": first["nextCursor"]}), true);
        assert_eq!((&second["data"], &second["nextCursor"]), (&json!([1, 0]), &Value::Null));
        assert_eq!(page(all(), &json!({"sortDirection": "asc", "limit": 1}), true)["data"], json!([0]));
        assert_eq!(page(all(), &json!({"cursor": "99"}), true)["data"], json!([]));
    }

    #[test]
    fn ids_look_like_uuids_and_differ() {
        let mut serial = Serial::default();
        let (a, b) = (serial.uuid(0x019a_8f7e_c300), serial.uuid(0x019a_8f7e_c300));
        assert_eq!(a, "019a8f7e-c300-7000-8000-000000000001");
        assert_ne!(a, b);
    }
}
