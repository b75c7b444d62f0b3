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

#[cfg(test)]
mod tests {
    use serde_bytes::ByteArray;
    use serde_json::json;

    use super::*;
    use crate::codex::fixtures;
    use crate::codex::thread::Thread;
    use crate::wire::limits;

    fn terms() -> Terms {
        Terms { environment: "local".into(), approval_policy: "on-request".into(), sandbox: "workspace-write".into() }
    }

    fn asked(terms: &Terms) -> Asked<'_> {
        Asked { key: Key { epoch: ByteArray::new([7; 16]), request: 0 }, terms, deadline_ms: 1_000 }
    }

    /// The thread as it stood when a story's first approval was asked for, and the request's params.
    fn at_first_request(story: &str) -> (Thread, Value) {
        let mut thread = Thread::default();
        for message in fixtures::story(story) {
            match message {
                crate::codex::message::Incoming::Notification { method, params } => {
                    thread.apply(&method, &params);
                }
                crate::codex::message::Incoming::Request { params, .. } => return (thread, params),
                _ => {}
            }
        }
        panic!("no request in {story}");
    }

    fn command(extra: Value) -> Value {
        let mut params =
            json!({"threadId": "t", "turnId": "1", "itemId": "i", "kind": "command", "command": "ls", "cwd": "/p"});
        let fields = params.as_object_mut().expect("an object");
        fields.extend(extra.as_object().cloned().unwrap_or_default());
        params
    }

    fn act_of(extra: Value) -> Act {
        let approval = Approval::from_command_request(&command(extra), asked(&terms())).expect("an approval");
        assert_eq!(approval.acceptable(), !matches!(approval.content.act, Act::Withheld { .. }));
        approval.content.act
    }

    #[track_caller]
    fn assert_withheld(act: &Act, why: &str) {
        assert!(matches!(act, Act::Withheld { why: is, .. } if is.contains(why)), "{act:?}");
    }

    #[test]
    fn a_real_command_request_is_shown_whole() {
        let (_, params) = at_first_request("command_accepted");
        let approval = Approval::from_command_request(&params, asked(&terms())).expect("an approval");
        assert!(approval.acceptable());
        assert_eq!(approval.item, "call_000003");
        assert_eq!(approval.content.reason.as_deref(), Some("mock: needs to run outside the sandbox"));
        let act = Act::Command {
            command: "/bin/bash -lc 'printf one && printf two'".into(),
            folder: "/home/me/project".into(),
            permissions: None,
        };
        assert_eq!(approval.content.act, act);
    }

    #[test]
    fn a_real_file_change_request_takes_its_diff_from_the_item() {
        let (thread, params) = at_first_request("patch_accepted");
        let (turn, item) = (text(&params, "turnId").expect("a turn"), text(&params, "itemId").expect("an item"));
        let changes = thread.changes(turn, item);
        let approval = Approval::from_file_change_request(&params, changes, asked(&terms())).expect("an approval");
        assert!(approval.acceptable());
        let Act::Files { changes, grant_root: None } = approval.content.act else { panic!("{approval:?}") };
        assert_eq!((changes[0].kind.as_str(), changes[0].path.as_str()), ("add", "/home/me/outside.txt"));
        assert_eq!(changes[0].diff, "hello\nfrom the mock model\n");
    }

    #[test]
    fn a_host_that_resumes_while_a_patch_is_pending_shows_it_whole_too() {
        let story = fixtures::story("resumed_while_pending");
        let resumed = fixtures::results(&story, "initialTurnsPage").next().expect("a resume");
        let thread = Thread::from_resume(resumed).expect("a thread");
        let (_, params) = fixtures::approval_requests(&story).last().expect("the replayed request");
        let changes = thread.changes(text(params, "turnId").expect("a turn"), text(params, "itemId").expect("an item"));
        let approval = Approval::from_file_change_request(params, changes, asked(&thread.terms()));
        assert!(approval.expect("an approval").acceptable());
    }

    #[test]
    fn a_file_change_whose_item_is_unknown_can_only_be_declined() {
        let (_, params) = at_first_request("patch_accepted");
        for changes in [None, Some(&[][..])] {
            let approval = Approval::from_file_change_request(&params, changes, asked(&terms())).expect("an approval");
            assert!(!approval.acceptable());
            assert_withheld(&approval.content.act, "changes");
        }
    }

    #[test]
    fn what_is_granted_beyond_the_command_is_shown() {
        let network = json!({"networkApprovalContext": {"protocol": "https", "host": "example.org"},
            "additionalPermissions": {"network": {"enabled": true}, "fileSystem": null}});
        let Act::Command { permissions, .. } = act_of(network) else { panic!("withheld") };
        let shown = r#"{"additionalPermissions":{"fileSystem":null,"network":{"enabled":true}},"networkApprovalContext":{"host":"example.org","protocol":"https"}}"#;
        assert_eq!(permissions.as_deref(), Some(shown));
    }

    #[test]
    fn what_this_version_does_not_know_can_not_be_accepted() {
        assert_withheld(&act_of(json!({"runAs": "root"})), "runAs");
        assert_withheld(&act_of(json!({"kind": "writeStdin"})), "ordinary");
        assert_withheld(&act_of(json!({"kind": 7})), "kind");
        assert_withheld(&act_of(json!({"environmentId": ["a"]})), "environmentId");
        assert!(matches!(act_of(json!({"runAs": null})), Act::Command { .. }));
        let (thread, mut params) = at_first_request("patch_accepted");
        params["grantRoots"] = json!(["/"]);
        let changes = thread.turns[0].items.iter().find_map(|item| thread.changes(&thread.turns[0].id, &item.id));
        let approval = Approval::from_file_change_request(&params, changes, asked(&terms())).expect("an approval");
        assert_withheld(&approval.content.act, "grantRoots");
    }

    #[test]
    fn a_command_without_its_text_or_folder_can_not_be_accepted() {
        assert_withheld(&act_of(json!({"command": null})), "which command");
        assert_withheld(&act_of(json!({"cwd": null})), "which folder");
    }

    #[test]
    fn a_folder_to_be_granted_is_part_of_what_is_shown() {
        let (thread, mut params) = at_first_request("patch_accepted");
        let changes =
            thread.changes(text(&params, "turnId").expect("a turn"), text(&params, "itemId").expect("an item"));
        let without = Approval::from_file_change_request(&params, changes, asked(&terms())).expect("an approval");
        params["grantRoot"] = json!("/");
        let with = Approval::from_file_change_request(&params, changes, asked(&terms())).expect("an approval");
        assert!(matches!(&with.content.act, Act::Files { grant_root: Some(root), .. } if root == "/"));
        assert_ne!(with.digest(), without.digest());
    }

    #[test]
    fn what_is_too_large_to_be_read_is_withheld_and_stays_small() {
        let long = "x".repeat(limits::APPROVAL_CONTENT + 1);
        let approval =
            Approval::from_command_request(&command(json!({"command": long, "reason": long})), asked(&terms()));
        let approval = approval.expect("an approval");
        assert!(!approval.acceptable() && approval.fits());
        assert_withheld(&approval.content.act, "KiB");
        assert!(approval.size() < 16 * 1024);

        let fits = "x".repeat(limits::APPROVAL_CONTENT - 1024);
        assert!(matches!(act_of(json!({"command": fits})), Act::Command { .. }));
    }

    #[test]
    fn a_request_that_can_not_be_named_is_an_error() {
        for name in ["threadId", "turnId", "itemId"] {
            for value in [json!(null), json!(""), json!(7), json!("x".repeat(300))] {
                let params = command(json!({ name: value }));
                assert_eq!(Approval::from_command_request(&params, asked(&terms())), Err(Error::Malformed(name)));
            }
        }
        let params = command(json!({"environmentId": "x".repeat(300)}));
        let error = Approval::from_command_request(&params, asked(&terms()));
        assert_eq!(error, Err(Error::Malformed("environmentId")));
        assert!(Approval::from_file_change_request(&json!([]), None, asked(&terms())).is_err());
    }
}
