//! What happens in a turn: a small machine that speaks in the order in which Codex 0.169.0 does (measured).
//!
//! ```text
//!  start ─► respond ─┬─ text ───────────────► Streaming ──(last piece)──► ended: completed
//!             ▲      ├─ tool, no approval ──► Streaming (closing text)
//!             │      ├─ tool, approval ─────► Waiting ─┬─ accept, decline ─► Streaming (closing text)
//!   steer ────┘      │                                 └─ cancel ──────────► ended: interrupted
//!                    └─ failure ────────────► Retrying (500 only) ─────────► ended: failed
//!  interrupt, in any state ────────────────────────────────────────────────► ended: interrupted
//! ```
//!
//! An answer that is cut (steer, interrupt) gets no `item/completed` and is in no history.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::files::{Change, needs_approval};
use super::item::{self, Input};
use super::shell;
use super::thread::{Context, Event, Status, Thread, Turn, View};
use crate::demo::scenario::{ADDED, Delta, Failure, Scenario};

/// The turn that runs.
#[derive(Debug)]
pub(crate) struct Running {
    phase: Phase,
    /// Said while a tool had the turn.
    steered: VecDeque<Input>,
    /// Of all files changed in this turn.
    pub(crate) diff: String,
}

#[derive(Debug)]
enum Phase {
    /// Between two others, within one step.
    Deciding,
    Streaming {
        item: Value,
        rest: VecDeque<Delta>,
        due: u64,
    },
    Waiting {
        question: Value,
        item: Value,
        scenario: Scenario,
        /// The change that waits, or none if a command does.
        change: Option<Change>,
    },
    Retrying {
        due: u64,
    },
}

/// What a client answered to a request for an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Accept,
    Decline,
    Cancel,
    /// An error, or no decision that Codex knows.
    Unreadable,
}

impl Decision {
    pub(crate) fn of(answer: &Value) -> Self {
        match &answer["result"]["decision"] {
            Value::String(word) if word == "accept" || word == "acceptForSession" => Self::Accept,
            Value::String(word) if word == "decline" => Self::Decline,
            Value::String(word) if word == "cancel" => Self::Cancel,
            Value::Object(object) if object.contains_key("acceptWithExecpolicyAmendment") => Self::Accept,
            _ => Self::Unreadable,
        }
    }
}

impl Decision {
    fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Decline => "decline",
            Self::Cancel => "cancel",
            Self::Unreadable => "unreadable",
        }
    }
}

impl Running {
    pub(crate) fn question(&self) -> Option<&Value> {
        match &self.phase {
            Phase::Waiting { question, .. } => Some(question),
            _ => None,
        }
    }

    /// When it wants to be called again, if it does.
    pub(crate) fn due(&self) -> Option<u64> {
        match self.phase {
            Phase::Streaming { due, .. } | Phase::Retrying { due } => Some(due),
            Phase::Deciding | Phase::Waiting { .. } => None,
        }
    }
}

impl Thread {
    /// Starts a turn; nothing runs yet, so that the client has its answer before the first event.
    pub(crate) fn begin(&mut self, cx: &mut Context<'_>) {
        let id = cx.serial.uuid(cx.now);
        let turn =
            Turn { id, status: "inProgress", error: Value::Null, started: cx.now, completed: None, items: Vec::new() };
        self.turns.push(turn);
        self.updated = cx.now;
        self.running = Some(Running { phase: Phase::Deciding, steered: VecDeque::new(), diff: String::new() });
    }

    /// The first step of the turn that [`begin`](Self::begin) started.
    pub(crate) fn run(&mut self, cx: &mut Context<'_>, input: &Input) {
        if self.preview.is_empty() {
            self.preview = input.prompt();
        }
        self.set_status(cx, Status::Active);
        let turn = self.turns.last().map(|turn| turn.json(View::NotLoaded));
        cx.events.push(Event::Subscribers("turn/started", json!({"threadId": self.id, "turn": turn})));
        self.hear(cx, input);
        self.respond(cx, &input.prompt());
    }

    /// More input for the running turn. An answer is cut for it, a tool is not. `false`: too much waits already.
    pub(crate) fn steer(&mut self, cx: &mut Context<'_>, input: Input) -> bool {
        let Some(running) = &mut self.running else { return false };
        if !matches!(running.phase, Phase::Waiting { .. }) {
            self.usage(cx);
            self.hear(cx, &input);
            self.respond(cx, &input.prompt());
            return true;
        }
        let room = running.steered.len() < STEERED;
        if room {
            running.steered.push_back(input);
        }
        room
    }

    /// Ends the turn as it is.
    pub(crate) fn interrupt(&mut self, cx: &mut Context<'_>) {
        let question = self.question().map(|question| question["id"].clone());
        if question.is_none() {
            self.usage(cx);
        }
        self.end(cx, "interrupted");
        if let Some(id) = question {
            self.resolved(cx, &id);
        }
    }

    /// An answer to the open question.
    pub(crate) fn answer(&mut self, cx: &mut Context<'_>, decision: Decision) {
        if self.question().is_none() {
            return;
        }
        let Some(Phase::Waiting { question, item, scenario, change }) = self.take_phase() else { return };
        self.effects.push(json!({"decided": item["id"], "as": decision.word()}));
        self.resolved(cx, &question["id"]);
        match change {
            Some(change) => self.decide_change(cx, decision, item, &scenario, &change),
            None => self.decide_command(cx, decision, item, &scenario),
        }
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BURST {
            match self.running.as_mut().map(|running| &mut running.phase) {
                Some(Phase::Streaming { item, rest, due }) if *due <= cx.now => {
                    let Some((_, piece)) = rest.pop_front() else { return self.end_answer(cx) };
                    item["text"] = json!(item["text"].as_str().unwrap_or_default().to_owned() + &piece);
                    let params = json!({"itemId": item["id"], "delta": piece});
                    *due = cx.now + rest.front().map_or(0, |(pause, _)| pause.as_millis() as u64);
                    self.tell(cx, "item/agentMessage/delta", params);
                }
                Some(Phase::Retrying { due }) if *due <= cx.now => return self.fail(cx, &overloaded()),
                _ => return,
            }
        }
        // Room for other connections between two bursts of a long answer.
        if let Some(Phase::Streaming { due, .. }) = self.running.as_mut().map(|running| &mut running.phase) {
            *due = (*due).max(cx.now + 1);
        }
    }

    fn hear(&mut self, cx: &mut Context<'_>, input: &Input) {
        let id = cx.serial.uuid(cx.now);
        self.effects.push(json!({"prompt": input.prompt(), "client": input.client_id}));
        let item = item::user(&id, input, cx.now);
        self.started(cx, &item);
        let mut done = item;
        done["completedAtMs"] = json!(cx.now);
        self.completed(cx, done);
    }

    fn respond(&mut self, cx: &mut Context<'_>, prompt: &str) {
        let scenario = Scenario::of(prompt);
        match &scenario {
            Scenario::Command { escalate: true, .. } => self.ask_command(cx, scenario),
            Scenario::Command { command, .. } => self.run_command(cx, &scenario, command),
            Scenario::AddFile { file } => {
                let change = Change::add(&self.folder, file, ADDED);
                self.patch(cx, scenario, change);
            }
            Scenario::UpdateFile { file, from, to } => match Change::update(cx.files, &self.folder, file, from, to) {
                Ok(change) => self.patch(cx, scenario, change),
                Err(report) => {
                    cx.serial.response();
                    self.after_tool(cx, &scenario, &report);
                }
            },
            Scenario::Fail(failure) => self.failing(cx, *failure),
            Scenario::Answer
            | Scenario::Ask
            | Scenario::Call { .. }
            | Scenario::Slow { .. }
            | Scenario::Long { .. } => {
                self.stream(cx, scenario.deltas(prompt));
            }
        }
    }

    fn stream(&mut self, cx: &mut Context<'_>, deltas: Vec<Delta>) {
        let item = item::answer(&format!("msg_{:06}", cx.serial.response()), cx.now);
        self.started(cx, &item);
        let due = cx.now + deltas.first().map_or(0, |(pause, _)| pause.as_millis() as u64);
        self.enter(Phase::Streaming { item, rest: deltas.into(), due });
        self.tick(cx);
    }

    fn end_answer(&mut self, cx: &mut Context<'_>) {
        let Some(Phase::Streaming { mut item, .. }) = self.take_phase() else { return };
        item["completedAtMs"] = json!(cx.now);
        self.completed(cx, item);
        self.usage(cx);
        self.end(cx, "completed");
    }

    fn new_command(&self, cx: &mut Context<'_>, command: &str) -> Value {
        let id = format!("call_{:06}", cx.serial.response());
        item::command(&id, command, &self.folder.to_string_lossy(), cx.now)
    }

    fn run_command(&mut self, cx: &mut Context<'_>, scenario: &Scenario, command: &str) {
        let item = executed(self.new_command(cx, command));
        let outcome = shell::run(command, &self.folder, true, cx.files);
        if !outcome.denied {
            self.started(cx, &item);
            self.completed(cx, finished(item, &outcome, cx.now));
        }
        self.after_tool(cx, scenario, &outcome.report());
    }

    fn ask_command(&mut self, cx: &mut Context<'_>, scenario: Scenario) {
        let Scenario::Command { command, .. } = &scenario else { return };
        let item = self.new_command(cx, command);
        self.set_status(cx, Status::WaitingOnApproval);
        self.started(cx, &item);
        let params = item::command_approval(&item, command, cx.now);
        let question = self.ask(cx, "item/commandExecution/requestApproval", params);
        self.enter(Phase::Waiting { question, item, scenario, change: None });
    }

    fn decide_command(&mut self, cx: &mut Context<'_>, decision: Decision, item: Value, scenario: &Scenario) {
        if let (Decision::Accept, Scenario::Command { command, .. }) = (decision, scenario) {
            self.set_status(cx, Status::Active);
            let outcome = shell::run(command, &self.folder, false, cx.files);
            self.completed(cx, finished(executed(item), &outcome, cx.now));
            return self.after_tool(cx, scenario, &outcome.report());
        }
        let (status, why) = match decision {
            Decision::Unreadable => ("failed", "approval request failed"),
            _ => ("declined", "rejected by user"),
        };
        self.completed(cx, item::ended(item, status, cx.now));
        self.set_status(cx, Status::Active);
        if decision == Decision::Cancel {
            return self.cancelled(cx);
        }
        let report = format!("exec_command failed: CreateProcess {{ message: \"Rejected(\\\"{why}\\\")\" }}");
        self.after_tool(cx, scenario, &report);
    }

    fn patch(&mut self, cx: &mut Context<'_>, scenario: Scenario, change: Change) {
        let id = format!("call_{:06}", cx.serial.response());
        let item = item::file_change(&id, change.changes(), cx.now);
        self.started(cx, &item);
        if !needs_approval(&self.folder, &change.path) {
            return self.apply(cx, item, &scenario, &change);
        }
        self.set_status(cx, Status::WaitingOnApproval);
        let params = item::change_approval(&item, cx.now);
        let question = self.ask(cx, "item/fileChange/requestApproval", params);
        self.enter(Phase::Waiting { question, item, scenario, change: Some(change) });
    }

    fn decide_change(
        &mut self,
        cx: &mut Context<'_>,
        decision: Decision,
        item: Value,
        scenario: &Scenario,
        change: &Change,
    ) {
        self.set_status(cx, Status::Active);
        let report = match decision {
            Decision::Accept => return self.apply(cx, item, scenario, change),
            // A cancelled patch never completes: Codex doesn't either.
            Decision::Cancel => return self.cancelled(cx),
            Decision::Decline => "patch rejected by user",
            Decision::Unreadable => "approval request failed",
        };
        self.completed(cx, item::ended(item, "declined", cx.now));
        self.after_tool(cx, scenario, report);
    }

    fn apply(&mut self, cx: &mut Context<'_>, item: Value, scenario: &Scenario, change: &Change) {
        if let Err(error) = change.apply(cx.files) {
            self.completed(cx, item::ended(item, "failed", cx.now));
            return self.after_tool(cx, scenario, &format!("Failed to write {}: {error}", change.path.display()));
        }
        self.completed(cx, item::ended(item, "completed", cx.now));
        let diff = change.diff(&self.folder);
        if let Some(running) = &mut self.running {
            running.diff += &diff;
        }
        self.tell_diff(cx);
        self.after_tool(cx, scenario, &change.report());
    }

    /// The model hears of the tool's end, and answers; or what was said meanwhile comes first.
    fn after_tool(&mut self, cx: &mut Context<'_>, scenario: &Scenario, report: &str) {
        self.usage(cx);
        let steered = self.running.as_mut().map(|running| std::mem::take(&mut running.steered)).unwrap_or_default();
        for input in &steered {
            self.hear(cx, input);
        }
        match steered.back() {
            Some(last) => self.respond(cx, &last.prompt()),
            None => self.stream(cx, scenario.closing(report)),
        }
    }

    fn failing(&mut self, cx: &mut Context<'_>, failure: Failure) {
        cx.serial.response();
        match failure {
            Failure::Status(status) if status >= 500 => {
                let error = error(
                    "Reconnecting... 1/1",
                    json!({"responseStreamDisconnected": {"httpStatusCode": null}}),
                    json!(OVERLOADED),
                );
                self.tell(cx, "error", json!({"error": error, "willRetry": true}));
                self.enter(Phase::Retrying { due: cx.now + RETRY_MS });
            }
            Failure::Status(status) => {
                let name = if status == 429 { " Too Many Requests" } else { "" };
                let info = json!({"responseTooManyFailedAttempts": {"httpStatusCode": status}});
                let text = format!("exceeded retry limit, last status: {status}{name}");
                self.fail(cx, &error(&text, info, Value::Null));
            }
            Failure::ContextWindow => {
                self.fail(cx, &error(CONTEXT_WINDOW, json!("contextWindowExceeded"), Value::Null));
            }
        }
    }

    fn fail(&mut self, cx: &mut Context<'_>, error: &Value) {
        self.set_status(cx, Status::SystemError);
        self.tell(cx, "error", json!({"error": error, "willRetry": false}));
        if let Some(turn) = self.turns.last_mut() {
            turn.error = error.clone();
        }
        self.end(cx, "failed");
    }

    fn cancelled(&mut self, cx: &mut Context<'_>) {
        self.usage(cx);
        self.end(cx, "interrupted");
    }

    fn end(&mut self, cx: &mut Context<'_>, status: &'static str) {
        self.running = None;
        self.updated = cx.now;
        if status != "failed" {
            self.set_status(cx, Status::Idle);
        }
        let Some(turn) = self.turns.last_mut() else { return };
        (turn.status, turn.completed) = (status, Some(cx.now));
        let turn = turn.json(if status == "completed" { View::Outcome } else { View::NotLoaded });
        cx.events.push(Event::Subscribers("turn/completed", json!({"threadId": self.id, "turn": turn})));
    }

    fn enter(&mut self, phase: Phase) {
        if let Some(running) = &mut self.running {
            running.phase = phase;
        }
    }

    fn take_phase(&mut self) -> Option<Phase> {
        self.running.as_mut().map(|running| std::mem::replace(&mut running.phase, Phase::Deciding))
    }
}

/// The item of a command that a process has run.
fn executed(mut item: Value) -> Value {
    item["source"] = json!("unifiedExecStartup");
    item["processId"] = json!("1");
    item
}

fn finished(item: Value, outcome: &shell::Outcome, now: u64) -> Value {
    let mut item = item::ended(item, if outcome.status == 0 { "completed" } else { "failed" }, now);
    item["aggregatedOutput"] = if outcome.output.is_empty() { Value::Null } else { json!(outcome.output) };
    item["exitCode"] = json!(outcome.status);
    item["durationMs"] = json!(0);
    item
}

fn error(message: &str, info: Value, details: Value) -> Value {
    json!({"message": message, "codexErrorInfo": info, "additionalDetails": details, "misalignment": null})
}

fn overloaded() -> Value {
    error(OVERLOADED, json!("internalServerError"), Value::Null)
}

/// Codex's own words for a model that answers 500.
const OVERLOADED: &str = "We\u{2019}re currently experiencing high demand, which may cause temporary errors.";
/// Codex's own words for a prompt that doesn't fit.
const CONTEXT_WINDOW: &str = "Codex ran out of room in the model's context window. Start a new thread or clear \
                              earlier history before retrying.";
/// Pause before the one retry.
const RETRY_MS: u64 = 200;
/// Pieces of an answer sent in one step.
const BURST: usize = 64;
/// Inputs that wait for a tool to end.
const STEERED: usize = 16;
