//! From the app-server's request to an [`Approval`].
//!
//! # Why unknown fields withhold
//! A field this version doesn't know may widen what is granted, and a person would approve it unseen. So the known
//! ones are named here (Codex 0.169.0), those that grant something are shown, and anything else that isn't null makes
//! the approval [`Act::Withheld`]. The amendments Codex proposes (`proposedExecpolicyAmendment`, …) take effect only
//! with decisions that a phone can't make; a plain accept doesn't apply them.
//!
//! The app-server sends `additionalPermissions` only to clients that declared `experimentalApi`: the host must, or it
//! would show less than it grants.

use serde_json::{Map, Value};

use super::{Act, Approval, Change, Content, Key, Terms};
use crate::codex::message::canonical;
use crate::codex::text::clip;

/// Fields of `item/commandExecution/requestApproval` that name, explain or offer, but grant nothing by themselves.
const COMMAND_FIELDS: &[&str] = &[
    "kind",
    "threadId",
    "turnId",
    "itemId",
    "startedAtMs",
    "approvalId",
    "environmentId",
    "reason",
    "command",
    "cwd",
    "commandActions",
    "proposedExecpolicyAmendment",
    "proposedNetworkPolicyAmendments",
    "availableDecisions",
];

/// Those that grant something beyond the command: shown as they are.
const COMMAND_GRANTS: &[&str] = &["additionalPermissions", "networkApprovalContext"];

/// Fields of `item/fileChange/requestApproval`.
const FILE_CHANGE_FIELDS: &[&str] =
    &["threadId", "turnId", "itemId", "startedAtMs", "environmentId", "reason", "grantRoot"];

/// Longest thread, turn or item id, in bytes; Codex's have 36.
const ID: usize = 256;

/// What [`Act::Withheld`] shows of the matter, in bytes.
const ABOUT: usize = 4 * 1024;

/// A request that can't even be named: there is nothing to show a phone, and the desk has to decide.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field that every request has is missing or has the wrong type.
    #[error("Codex's approval request has no usable `{0}`; decide it at the desk")]
    Malformed(&'static str),
}

/// What the host knows around a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The approval's name: process epoch and request id.
    pub key: Key,
    /// The thread's effective rules.
    pub terms: &'a Terms,
    /// When the host stops taking decisions, in Unix milliseconds.
    pub deadline_ms: u64,
}

impl Approval {
    /// From the params of `item/commandExecution/requestApproval`.
    pub fn from_command_request(params: &Value, asked: Asked<'_>) -> Result<Self, Error> {
        Self::new(params, asked, command_act(params))
    }

    /// From the params of `item/fileChange/requestApproval`, which carry no diff: `changes` are those of the
    /// preceding `item/started` with the same item id, `None` if that item isn't known whole.
    pub fn from_file_change_request(
        params: &Value,
        changes: Option<&[Change]>,
        asked: Asked<'_>,
    ) -> Result<Self, Error> {
        Self::new(params, asked, file_change_act(params, changes))
    }

    fn new(params: &Value, asked: Asked<'_>, act: Act) -> Result<Self, Error> {
        let environment = text(params, "environmentId").unwrap_or(&asked.terms.environment);
        let approval = Self {
            key: asked.key,
            environment: environment.into(),
            thread: id(params, "threadId")?,
            turn: id(params, "turnId")?,
            item: id(params, "itemId")?,
            content: Content {
                act,
                reason: text(params, "reason").map(Into::into),
                approval_policy: asked.terms.approval_policy.clone(),
                sandbox: asked.terms.sandbox.clone(),
            },
            deadline_ms: asked.deadline_ms,
        };
        if environment.len() > ID { Err(Error::Malformed("environmentId")) } else { Ok(approval.bounded()) }
    }

    /// Replaces what is too large to be shown whole.
    fn bounded(mut self) -> Self {
        if self.fits() {
            return self;
        }
        let why = format!("It has {} KiB to read, more than a phone shows.", self.size() / 1024);
        let content = &mut self.content;
        content.act = match &content.act {
            Act::Command { command, .. } => withheld("command", command, &why),
            Act::Files { changes, .. } => withheld("fileChange", &paths(changes), &why),
            Act::Withheld { kind, about, .. } => withheld(kind, about, &why),
        };
        for text in [&mut content.approval_policy, &mut content.sandbox].into_iter().chain(&mut content.reason) {
            *text = clip(text, ABOUT).into();
        }
        self
    }
}

fn command_act(params: &Value) -> Act {
    let kind = text(params, "kind").unwrap_or("command");
    let command = text(params, "command").unwrap_or_default();
    let withhold = |why: &str| withheld(kind, command, why);
    if kind != "command" {
        return withhold("It isn't an ordinary command, and this version can't show what it does.");
    }
    if let Some(field) = stranger(params, &[COMMAND_FIELDS, COMMAND_GRANTS]) {
        return withhold(&format!("It asks for something this version doesn't know: {field}."));
    }
    match (text(params, "command"), text(params, "cwd")) {
        (Some(command), Some(folder)) => {
            Act::Command { command: command.into(), folder: folder.into(), permissions: permissions(params) }
        }
        (None, _) => withhold("Codex didn't say which command."),
        (_, None) => withhold("Codex didn't say in which folder."),
    }
}

fn file_change_act(params: &Value, changes: Option<&[Change]>) -> Act {
    let withhold = |why: &str| withheld("fileChange", &paths(changes.unwrap_or_default()), why);
    if let Some(field) = stranger(params, &[FILE_CHANGE_FIELDS]) {
        return withhold(&format!("It asks for something this version doesn't know: {field}."));
    }
    match changes {
        None => withhold("The changes themselves didn't reach this host."),
        Some([]) => withhold("Codex didn't say which changes."),
        Some(changes) => {
            Act::Files { changes: changes.to_vec(), grant_root: text(params, "grantRoot").map(Into::into) }
        }
    }
}

/// The grants as one canonical JSON object, or `None` if there are none.
fn permissions(params: &Value) -> Option<String> {
    let given = COMMAND_GRANTS.iter().filter_map(|name| Some((*name, params.get(name)?)));
    let given: Map<_, _> = given.filter(|(_, v)| !v.is_null()).map(|(name, v)| (name.into(), v.clone())).collect();
    (!given.is_empty()).then(|| canonical(&Value::Object(given)))
}

/// The first field that is neither known nor null, or known and of the wrong type.
fn stranger<'a>(params: &'a Value, known: &[&[&str]]) -> Option<&'a str> {
    let known_or_null = |name: &str, value: &Value| {
        let is_text = matches!(name, "kind" | "environmentId" | "reason" | "command" | "cwd" | "grantRoot");
        value.is_null() || (known.iter().any(|names| names.contains(&name)) && (!is_text || value.is_string()))
    };
    let mut fields = params.as_object()?.iter();
    fields.find(|(name, value)| !known_or_null(name, value)).map(|(name, _)| clip(name, 64))
}

fn withheld(kind: &str, about: &str, why: &str) -> Act {
    Act::Withheld { kind: clip(kind, 64).into(), about: clip(about, ABOUT).into(), why: why.into() }
}

fn paths(changes: &[Change]) -> String {
    // Enough for what is kept of it; a change has at least one byte of path.
    changes.iter().take(ABOUT).map(|change| clip(&change.path, ABOUT)).collect::<Vec<_>>().join("\n")
}

fn text<'a>(params: &'a Value, name: &str) -> Option<&'a str> {
    params.get(name)?.as_str()
}

fn id(params: &Value, name: &'static str) -> Result<String, Error> {
    match text(params, name) {
        Some(text) if !text.is_empty() && text.len() <= ID => Ok(text.into()),
        _ => Err(Error::Malformed(name)),
    }
}
