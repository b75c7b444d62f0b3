//! Every field that is hashed, in order, through [`Transcript`].
//!
//! Lists are preceded by their count, kinds by their name, so no two threads share an encoding. The patterns name every
//! field: a new one doesn't compile until it is hashed, or left out on purpose.
//!
//! An open item grows piece by piece, and pieces may be joined on the way. Where that decides what a limit cuts off,
//! only what is certain at both ends is hashed.

use crate::codex::approval::Change;
use crate::codex::text::{clip, tail};
use crate::codex::thread::item::{OUTPUT, PARTS, TEXT};
use crate::codex::thread::{
    Goal, GoalStatus, Item, ItemKind, Note, NoteKind, Plan, Progress, Status, StepStatus, Thread, Turn, TurnStatus,
    Usage,
};
use crate::session::transcript::Transcript;

/// The first field of the digest of a thread.
const THREAD: &str = "farhelm/1 thread";
/// The first field of the digest of a turn.
const TURN: &str = "farhelm/1 thread turn";
/// Bytes of the longest character: where a limit falls into one, it is cut before or behind it.
const CHARACTER: usize = 4;

impl Thread {
    /// Over what is known beside the turns; whether there are older ones, where `all` of them are here.
    pub(super) fn head(&self, all: bool) -> [u8; 32] {
        // The time of the last change is for lists, which have their own; turns have their own digests.
        let Self {
            id,
            name,
            preview,
            folder,
            environment,
            model,
            effort,
            approval_policy,
            sandbox,
            status,
            updated_at: _,
            goal,
            usage,
            archived,
            notes,
            older,
            turns: _,
            grown: _,
        } = self;
        let to = Transcript::new(THREAD).text(id).optional(name.as_deref()).text(preview).text(folder);
        let optional = [environment, model, effort, approval_policy, sandbox];
        let to = optional.into_iter().fold(to, |to, text| to.optional(text.as_deref()));
        let to = add_status(to, *status).flag(*archived).flag(all && *older);
        let to = add_any(to, goal.as_ref(), add_goal);
        let to = add_any(to, usage.as_ref(), add_usage);
        add_list(to, notes, add_note).finish()
    }
}

impl Turn {
    /// Over the turn and its newest items; whether there are older ones, where `all` of them are here.
    pub(super) fn hash(&self, newest: usize, all: bool) -> [u8; 32] {
        let Self { id, status, notice, older, items, diff, plan } = self;
        let to = Transcript::new(TURN).text(id).optional(notice.as_deref()).flag(all && *older);
        let to = match status {
            TurnStatus::InProgress => to.text("inProgress"),
            TurnStatus::Completed => to.text("completed"),
            TurnStatus::Interrupted => to.text("interrupted"),
            TurnStatus::Failed(why) => to.text("failed").text(why),
        };
        let to = add_plan(to.text(diff), plan);
        add_list(to, &items[items.len().saturating_sub(newest)..], add_item).finish()
    }
}

/// What the one encoder has no field for.
trait More {
    fn flag(self, flag: bool) -> Self;
    fn integer(self, number: i64) -> Self;
    fn any_integer(self, number: Option<i64>) -> Self;
}

impl More for Transcript {
    fn flag(self, flag: bool) -> Self {
        self.number(flag.into())
    }

    /// As two's complement.
    fn integer(self, number: i64) -> Self {
        self.number(number.cast_unsigned())
    }

    fn any_integer(self, number: Option<i64>) -> Self {
        add_any(self, number.as_ref(), |to, number| to.integer(*number))
    }
}

/// A count of 0, or a count of 1 and the value.
fn add_any<T>(to: Transcript, value: Option<&T>, add: impl Fn(Transcript, &T) -> Transcript) -> Transcript {
    add_list(to, value.map_or(&[], std::slice::from_ref), add)
}

fn add_list<T>(to: Transcript, list: &[T], add: impl Fn(Transcript, &T) -> Transcript) -> Transcript {
    list.iter().fold(to.number(list.len() as u64), add)
}

fn add_status(to: Transcript, status: Status) -> Transcript {
    match status {
        Status::NotLoaded => to.text("notLoaded"),
        Status::Idle => to.text("idle"),
        Status::Active { waiting_on_approval, waiting_on_input } => {
            to.text("active").flag(waiting_on_approval).flag(waiting_on_input)
        }
        Status::SystemError => to.text("systemError"),
        Status::HeldElsewhere => to.text("heldElsewhere"),
        Status::Unknown => to.text("unknown"),
    }
}

fn add_goal(to: Transcript, goal: &Goal) -> Transcript {
    let Goal { objective, status, tokens, budget, seconds } = goal;
    let status = match status {
        GoalStatus::Active => "active",
        GoalStatus::Paused => "paused",
        GoalStatus::Blocked => "blocked",
        GoalStatus::UsageLimited => "usageLimited",
        GoalStatus::BudgetLimited => "budgetLimited",
        GoalStatus::Complete => "complete",
        GoalStatus::Unknown => "unknown",
    };
    to.text(objective).text(status).integer(*tokens).any_integer(*budget).integer(*seconds)
}

fn add_usage(to: Transcript, usage: &Usage) -> Transcript {
    let Usage { total, input, cached, output, context, window } = usage;
    [total, input, cached, output, context].into_iter().fold(to, |to, n| to.integer(*n)).any_integer(*window)
}

fn add_note(to: Transcript, note: &Note) -> Transcript {
    let Note { id, turn, kind, text } = note;
    let kind = match kind {
        NoteKind::Warning => "warning",
        NoteKind::Review => "review",
        NoteKind::Rerouted => "rerouted",
        NoteKind::Hook => "hook",
        NoteKind::Unknown => "unknown",
    };
    to.text(id).optional(turn.as_deref()).text(kind).text(text)
}

fn add_plan(to: Transcript, plan: &Plan) -> Transcript {
    let Plan { explanation, steps } = plan;
    add_list(to.optional(explanation.as_deref()), steps, |to, step| {
        let status = match step.status {
            StepStatus::Pending => "pending",
            StepStatus::InProgress => "inProgress",
            StepStatus::Completed => "completed",
            StepStatus::Unknown => "unknown",
        };
        to.text(&step.text).text(status)
    })
}

fn add_item(to: Transcript, item: &Item) -> Transcript {
    let Item { id, open, truncated, images, kind } = item;
    // A long output of an open command may have been cut at one end only, so far.
    let cut = matches!(kind, ItemKind::Command { output, .. } if *open && output.len() > OUTPUT - CHARACTER);
    let to = to.text(id).flag(*open).flag(*truncated || cut).number((*images).into());
    add_kind(to, kind, *open)
}

fn add_kind(to: Transcript, kind: &ItemKind, open: bool) -> Transcript {
    let streamed = |text| if open { clip(text, TEXT - CHARACTER) } else { text };
    match kind {
        ItemKind::UserMessage { text, client_id, attachments } => {
            to.text("userMessage").text(text).optional(client_id.as_deref()).number((*attachments).into())
        }
        ItemKind::AgentMessage { text } => to.text("agentMessage").text(streamed(text)),
        ItemKind::Plan { text } => to.text("plan").text(streamed(text)),
        ItemKind::Reasoning { summary } => add_list(to.text("reasoning"), summary, |to, part| {
            to.text(if open { clip(part, TEXT / PARTS - CHARACTER) } else { part })
        }),
        ItemKind::Command { .. } => add_command(to.text("command"), kind, open),
        ItemKind::FileChange { changes, status } => {
            add_list(to.text("fileChange").text(word(*status)), changes, add_change)
        }
        ItemKind::Image { path } => to.text("image").text(path),
        ItemKind::Tool { .. } => add_tool(to.text("tool"), kind),
        ItemKind::Agent { action, name, threads, prompt, status } => {
            let to = to.text("agent").text(action).optional(name.as_deref()).optional(prompt.as_deref());
            add_list(to.text(word(*status)), threads, |to, thread| to.text(thread))
        }
        ItemKind::WebSearch { query, detail } => to.text("webSearch").text(query).optional(detail.as_deref()),
        ItemKind::ImageGeneration { prompt, status } => {
            to.text("imageGeneration").optional(prompt.as_deref()).text(word(*status))
        }
        ItemKind::ReviewStarted { text } => to.text("reviewStarted").text(text),
        ItemKind::ReviewEnded { text } => to.text("reviewEnded").text(text),
        ItemKind::Compaction => to.text("compaction"),
        ItemKind::HookPrompt { text } => to.text("hookPrompt").text(text),
        ItemKind::Sleep { duration_ms } => to.text("sleep").integer(*duration_ms),
        ItemKind::Other { kind } => to.text("other").text(kind),
        ItemKind::Unknown => to.text("unknown"),
    }
}

fn add_command(to: Transcript, kind: &ItemKind, open: bool) -> Transcript {
    let ItemKind::Command { command, folder, output, exit_code, status, duration_ms, by_person } = kind else {
        return to;
    };
    let output = if open { tail(output, OUTPUT - CHARACTER) } else { output };
    let to = to.text(command).text(folder).text(output).any_integer(*exit_code).text(word(*status));
    to.any_integer(*duration_ms).flag(*by_person)
}

fn add_tool(to: Transcript, kind: &ItemKind) -> Transcript {
    let ItemKind::Tool { server, tool, arguments, status, result, error, progress, duration_ms } = kind else {
        return to;
    };
    let to = to.optional(server.as_deref()).text(tool).text(arguments).text(word(*status)).text(result);
    to.optional(error.as_deref()).optional(progress.as_deref()).any_integer(*duration_ms)
}

fn add_change(to: Transcript, change: &Change) -> Transcript {
    let Change { path, kind, moved_to, diff } = change;
    to.text(path).text(kind).optional(moved_to.as_deref()).text(diff)
}

const fn word(progress: Progress) -> &'static str {
    match progress {
        Progress::InProgress => "inProgress",
        Progress::Completed => "completed",
        Progress::Failed => "failed",
        Progress::Declined => "declined",
        Progress::Interrupted => "interrupted",
        Progress::Unknown => "unknown",
    }
}
