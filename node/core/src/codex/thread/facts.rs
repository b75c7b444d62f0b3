//! What is known of a thread beside its items: the plan of a turn, the tokens used, the goal, what Codex remarks.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::item::{ID, SHORT, text};
use crate::codex::text::clip;

/// The plan of a turn; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Plan {
    /// Why it is as it is.
    pub explanation: Option<String>,
    /// In order.
    pub steps: Vec<Step>,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What is to be done.
    pub text: String,
    /// How it stands.
    pub status: StepStatus,
}

/// How a step of a plan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Begun.
    InProgress,
    /// Done.
    Completed,
    /// In a way that this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// Tokens a thread used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Usage {
    /// All, over the whole thread.
    pub total: i64,
    /// Of these, read.
    pub input: i64,
    /// Of those read, the ones that cost less because they were read before.
    pub cached: i64,
    /// Of all, written.
    pub output: i64,
    /// In the newest request: how full the context is.
    pub context: i64,
    /// How many fit into the context, where known.
    pub window: Option<i64>,
}

/// What a thread works towards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Goal {
    /// In its owner's words.
    pub objective: String,
    /// How it stands.
    pub status: GoalStatus,
    /// Tokens used for it.
    #[serde(default)]
    pub tokens: i64,
    /// Tokens it may use, where that is limited.
    #[serde(default)]
    pub budget: Option<i64>,
    /// Seconds worked on it.
    #[serde(default)]
    pub seconds: i64,
}

/// How a goal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GoalStatus {
    /// Worked on.
    Active,
    /// Put off by a person.
    Paused,
    /// The agent can't go on by itself.
    Blocked,
    /// The account's limit is reached.
    UsageLimited,
    /// Its own budget is used up.
    BudgetLimited,
    /// Reached.
    Complete,
    /// In a way that this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// Something Codex remarks beside its items. Its history doesn't keep them, so only those who listened have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// What it is said again under, as a review that began and ended; empty for what is said once.
    #[serde(default)]
    pub id: String,
    /// The turn it is about, if it is about one.
    #[serde(default)]
    pub turn: Option<String>,
    /// What kind it is.
    pub kind: NoteKind,
    /// In words.
    pub text: String,
}

/// What kind of remark it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NoteKind {
    /// A warning.
    Warning,
    /// Codex's own reviewer judged a request, or says something else.
    Review,
    /// Another model answers.
    Rerouted,
    /// A hook of the owner's said something, or stopped something.
    Hook,
    /// Of a kind that this version doesn't know.
    #[serde(other)]
    Unknown,
}

/// Steps of a plan that are kept.
const STEPS: usize = 128;
/// Bytes of a step that are kept.
const STEP: usize = 1024;
/// Bytes of a remark that are kept.
const REMARK: usize = 4 * 1024;

impl Plan {
    /// Reads `turn/plan/updated`.
    pub(super) fn read(params: &Value) -> Self {
        let steps = list(params, "plan").filter_map(|step| {
            let status = match text(step, "status") {
                Some("pending") => StepStatus::Pending,
                Some("inProgress") => StepStatus::InProgress,
                Some("completed") => StepStatus::Completed,
                _ => StepStatus::Unknown,
            };
            Some(Step { text: clip(text(step, "step")?, STEP).into(), status })
        });
        Self {
            explanation: text(params, "explanation").map(|why| clip(why, REMARK).into()),
            steps: steps.take(STEPS).collect(),
        }
    }

    pub(super) fn weight(&self) -> usize {
        let explanation = self.explanation.as_ref().map_or(0, String::len);
        explanation + self.steps.iter().map(|step| step.text.len() + 32).sum::<usize>()
    }
}

impl Usage {
    /// Reads a `ThreadTokenUsage`.
    pub(super) fn read(usage: &Value) -> Self {
        let number = |of: &str, name: &str| usage.get(of).and_then(|of| of.get(name)?.as_i64()).unwrap_or(0);
        Self {
            total: number("total", "totalTokens"),
            input: number("total", "inputTokens"),
            cached: number("total", "cachedInputTokens"),
            output: number("total", "outputTokens"),
            context: number("last", "totalTokens"),
            window: usage.get("modelContextWindow").and_then(Value::as_i64),
        }
    }
}

impl Goal {
    /// Reads a `ThreadGoal`, as notifications and `thread/goal/get` have it; `None` if it doesn't say what for.
    pub fn read(goal: &Value) -> Option<Self> {
        let number = |name| goal.get(name).and_then(Value::as_i64);
        let status = match text(goal, "status") {
            Some("active") => GoalStatus::Active,
            Some("paused") => GoalStatus::Paused,
            Some("blocked") => GoalStatus::Blocked,
            Some("usageLimited") => GoalStatus::UsageLimited,
            Some("budgetLimited") => GoalStatus::BudgetLimited,
            Some("complete") => GoalStatus::Complete,
            _ => GoalStatus::Unknown,
        };
        Some(Self {
            objective: clip(text(goal, "objective")?, SHORT).into(),
            status,
            tokens: number("tokensUsed").unwrap_or(0),
            budget: number("tokenBudget"),
            seconds: number("timeUsedSeconds").unwrap_or(0),
        })
    }
}

impl Note {
    /// Reads a notification that is a remark; `None` if it is none.
    pub(super) fn read(method: &str, params: &Value) -> Option<Self> {
        let (id, kind, said) = match method {
            "warning" => ("", NoteKind::Warning, text(params, "message")?.into()),
            "guardianWarning" => ("", NoteKind::Review, text(params, "message")?.into()),
            "autoApprovalReview/strictReviewRequired" => {
                ("", NoteKind::Review, "every request of this turn is reviewed strictly".into())
            }
            "item/autoApprovalReview/started" | "item/autoApprovalReview/completed" => {
                (text(params, "reviewId")?, NoteKind::Review, reviewed(params)?)
            }
            "model/rerouted" => {
                let (from, to) = (text(params, "fromModel")?, text(params, "toModel")?);
                let why = text(params, "reason").map(|why| format!(" ({why})")).unwrap_or_default();
                ("", NoteKind::Rerouted, format!("{to} answers instead of {from}{why}"))
            }
            "hook/completed" => {
                let run = params.get("run")?;
                (text(run, "id")?, NoteKind::Hook, hooked(run)?)
            }
            _ => return None,
        };
        let turn = text(params, "turnId").filter(|turn| !turn.is_empty() && turn.len() <= ID).map(Into::into);
        Some(Self { id: clip(id, ID).into(), turn, kind, text: clip(&said, REMARK).into() })
    }

    pub(super) fn weight(&self) -> usize {
        64 + self.id.len() + self.turn.as_ref().map_or(0, String::len) + self.text.len()
    }
}

/// A review in words: `denied: command rm -rf / (high risk): it would …`.
fn reviewed(params: &Value) -> Option<String> {
    let review = params.get("review")?;
    let action = params.get("action").unwrap_or(&Value::Null);
    let files: Vec<_> = list(action, "files").filter_map(Value::as_str).collect();
    let argv: Vec<_> = list(action, "argv").filter_map(Value::as_str).collect();
    let about = match text(action, "type").unwrap_or("request") {
        "command" => text(action, "command").unwrap_or_default().into(),
        "execve" => argv.join(" "),
        "writeStdin" => format!("input {}", text(action, "stdin").unwrap_or_default()),
        "applyPatch" => format!("changes of {}", files.join(", ")),
        "networkAccess" => format!("network access to {}", text(action, "target").unwrap_or_default()),
        "mcpToolCall" => ["server", "toolName"].map(|name| text(action, name).unwrap_or_default()).join(" "),
        "requestPermissions" => "more permissions".into(),
        other => other.to_owned(),
    };
    let risk = text(review, "riskLevel").map(|risk| format!(" ({risk} risk)")).unwrap_or_default();
    let why = text(review, "rationale").map(|why| format!(": {why}")).unwrap_or_default();
    Some(format!("{}: {}{risk}{why}", text(review, "status")?, clip(&about, REMARK / 2)))
}

/// What a hook has to say; nothing if it went well without a word.
fn hooked(run: &Value) -> Option<String> {
    let status = text(run, "status").unwrap_or_default();
    let entries = list(run, "entries").filter_map(|entry| text(entry, "text"));
    let words: Vec<_> = text(run, "statusMessage").into_iter().chain(entries).collect();
    let silent = words.is_empty() && status == "completed";
    let event = text(run, "eventName").unwrap_or_default();
    (!silent).then(|| format!("{event} {status}: {}", words.join("\n")).trim_end_matches(": ").to_owned())
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}
