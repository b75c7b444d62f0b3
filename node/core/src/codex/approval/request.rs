//! From the app-server's request to an [`Approval`].
//!
//! # Why unknown fields withhold
//! A field this version doesn't know may widen what is granted, and a person would approve it unseen. So the known
//! ones are named here (Codex 0.169.0), those that grant something are shown, and anything else that isn't null makes
//! the approval [`Act::Withheld`]. The amendments Codex proposes (`proposedExecpolicyAmendment`, …) take effect only
//! with decisions that a phone can't make; a plain accept doesn't apply them.
//!
//! An elicitation of an MCP server wants a form filled in, which isn't a yes or no: it is shown, and can be declined.
//!
//! The app-server sends `additionalPermissions` only to clients that declared `experimentalApi`: the host must, or it
//! would show less than it grants.

use serde_json::{Map, Value};

use super::{Act, Approval, Change, Content, Guard, Key, Terms, permissions};
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

/// Fields of `item/permissions/requestApproval`.
const PERMISSIONS_FIELDS: &[&str] =
    &["threadId", "turnId", "itemId", "startedAtMs", "environmentId", "reason", "cwd", "permissions"];

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

/// The request that an approval came by, and so the form in which Codex waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `item/commandExecution/requestApproval`.
    Command,
    /// `item/fileChange/requestApproval`.
    FileChange,
    /// `item/permissions/requestApproval`.
    Permissions,
    /// `mcpServer/elicitation/request`.
    Elicitation,
}

impl Form {
    /// By the request's method; `None` if it is of a kind that is left to the desk.
    pub fn of(method: &str) -> Option<Self> {
        match method {
            "item/commandExecution/requestApproval" => Some(Self::Command),
            "item/fileChange/requestApproval" => Some(Self::FileChange),
            "item/permissions/requestApproval" => Some(Self::Permissions),
            "mcpServer/elicitation/request" => Some(Self::Elicitation),
            _ => None,
        }
    }
}

/// What the host knows around a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The approval's name: process epoch and request id.
    pub key: Key,
    /// The thread's effective rules.
    pub terms: &'a Terms,
    /// Whether the host's rules let a phone accept for the session.
    pub for_session: bool,
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

    /// From the params of `item/permissions/requestApproval`.
    pub fn from_permissions_request(params: &Value, asked: Asked<'_>) -> Result<Self, Error> {
        Self::new(params, asked, permissions_act(params))
    }

    /// From the params of `mcpServer/elicitation/request`, which names no item and perhaps no turn.
    pub fn from_elicitation(params: &Value, asked: Asked<'_>) -> Result<Self, Error> {
        let turn = match params.get("turnId") {
            None | Some(Value::Null) => String::new(),
            Some(_) => id(params, "turnId")?,
        };
        Self::named(id(params, "threadId")?, turn, String::new(), params, asked, elicitation_act(params))
    }

    fn new(params: &Value, asked: Asked<'_>, act: Act) -> Result<Self, Error> {
        let [thread, turn, item] = [id(params, "threadId")?, id(params, "turnId")?, id(params, "itemId")?];
        Self::named(thread, turn, item, params, asked, act)
    }

    fn named(
        thread: String,
        turn: String,
        item: String,
        params: &Value,
        asked: Asked<'_>,
        act: Act,
    ) -> Result<Self, Error> {
        let environment = text(params, "environmentId").unwrap_or(&asked.terms.environment);
        if environment.len() > ID {
            return Err(Error::Malformed("environmentId"));
        }
        let Terms { environment: _, approval_policy, sandbox, workspace } = asked.terms.clone();
        let reason = text(params, "reason").map(Into::into);
        let approval = Self {
            key: asked.key,
            environment: environment.into(),
            thread,
            turn,
            item,
            content: Content { act, reason, approval_policy, sandbox, workspace },
            for_session: false,
            deadline_ms: asked.deadline_ms,
            guard: Guard::default(),
        };
        let mut approval = approval.under(asked.terms).bounded();
        let repeatable = approval.acceptable() && approval.content.act.is_repeatable();
        approval.for_session = asked.for_session && repeatable;
        Ok(approval)
    }

    /// Withholds what would happen under terms that can't be shown.
    fn under(mut self, terms: &Terms) -> Self {
        if !terms.are_known() {
            self.content.act =
                self.content.act.withhold("Codex didn't say under which policy and sandbox, or in which folder.");
        }
        self
    }

    /// Replaces what is too large to be shown whole.
    fn bounded(mut self) -> Self {
        if self.fits() {
            return self;
        }
        let why = format!("It has {} KiB to read, more than a phone shows.", self.size() / 1024);
        let content = &mut self.content;
        content.act = content.act.withhold(&why);
        let terms = [&mut content.approval_policy, &mut content.sandbox, &mut content.workspace];
        for text in terms.into_iter().chain(&mut content.reason) {
            *text = clip(text, ABOUT).into();
        }
        self
    }
}

impl Act {
    /// What is left of it to be declined.
    fn withhold(&self, why: &str) -> Self {
        match self {
            Self::Command { command, .. } => withheld("command", command, why),
            Self::Files { changes, .. } => withheld("fileChange", &paths(changes), why),
            Self::Permissions { permissions, .. } => withheld("permissions", permissions, why),
            Self::Withheld { kind, about, why: first } => withheld(kind, about, first),
        }
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

fn permissions_act(params: &Value) -> Act {
    let asked = params.get("permissions").unwrap_or(&Value::Null);
    let withhold = |why: &str| withheld("permissions", &canonical(asked), why);
    if let Some(field) = stranger(params, &[PERMISSIONS_FIELDS]) {
        return withhold(&format!("It asks for something this version doesn't know: {field}."));
    }
    match (permissions::read(asked), text(params, "cwd")) {
        (Some(permissions), Some(folder)) => Act::Permissions { permissions, folder: folder.into() },
        (None, _) => withhold("It asks for permissions this version doesn't know."),
        (_, None) => withhold("Codex didn't say in which folder."),
    }
}

fn elicitation_act(params: &Value) -> Act {
    let said = ["serverName", "title", "message", "description", "url"].iter().filter_map(|name| text(params, name));
    let about = said.map(|said| clip(said, ABOUT)).collect::<Vec<_>>().join("\n");
    withheld("elicitation", &about, "A server of the thread wants something filled in, which only the desk can do.")
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
        Terms {
            environment: "local".into(),
            approval_policy: "on-request".into(),
            sandbox: "workspace-write".into(),
            workspace: "/p".into(),
        }
    }

    fn asked(terms: &Terms) -> Asked<'_> {
        Asked { key: Key { epoch: ByteArray::new([7; 16]), request: 0 }, terms, for_session: false, deadline_ms: 1_000 }
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

    fn of_permissions(extra: Value) -> Approval {
        let mut params = json!({"threadId": "t", "turnId": "1", "itemId": "i", "startedAtMs": 1, "cwd": "/p",
            "environmentId": null, "reason": "to fetch", "permissions": {"network": {"enabled": true}}});
        params.as_object_mut().expect("an object").extend(extra.as_object().cloned().unwrap_or_default());
        Approval::from_permissions_request(&params, asked(&terms())).expect("an approval")
    }

    #[test]
    fn permissions_are_shown_as_they_are_asked_for() {
        let approval = of_permissions(json!({}));
        let permissions = r#"{"network":{"enabled":true}}"#.to_owned();
        assert_eq!(approval.content.act, Act::Permissions { permissions, folder: "/p".into() });
        assert!(approval.acceptable());
        assert_eq!(approval.content.reason.as_deref(), Some("to fetch"));
    }

    #[test]
    fn permissions_that_this_version_does_not_know_can_not_be_accepted() {
        assert_withheld(&of_permissions(json!({"permissions": {"macos": {}}})).content.act, "doesn't know");
        assert_withheld(&of_permissions(json!({"permissions": null})).content.act, "doesn't know");
        assert_withheld(&of_permissions(json!({"scope": "session"})).content.act, "scope");
        assert_withheld(&of_permissions(json!({"cwd": null})).content.act, "folder");
    }

    #[test]
    fn what_a_server_wants_filled_in_can_only_be_declined() {
        let params = json!({"threadId": "t", "turnId": null, "serverName": "mail", "mode": "url",
            "message": "Sign in", "url": "https://example.org", "elicitationId": "e"});
        let approval = Approval::from_elicitation(&params, asked(&terms())).expect("an approval");
        let Act::Withheld { kind, about, .. } = &approval.content.act else { panic!("{approval:?}") };
        assert_eq!((kind.as_str(), about.as_str()), ("elicitation", "mail\nSign in\nhttps://example.org"));
        assert_eq!((approval.turn.as_str(), approval.item.as_str()), ("", ""));
        let malformed = json!({"threadId": "t", "turnId": 7, "serverName": "mail"});
        assert_eq!(Approval::from_elicitation(&malformed, asked(&terms())), Err(Error::Malformed("turnId")));
    }

    #[test]
    fn nothing_is_accepted_under_terms_that_are_not_known() {
        let unknown = |change: fn(&mut Terms)| {
            let mut terms = terms();
            change(&mut terms);
            let approval = Approval::from_command_request(&command(json!({})), asked(&terms)).expect("an approval");
            assert_withheld(&approval.content.act, "didn't say");
        };
        unknown(|terms| terms.sandbox = Terms::UNKNOWN.into());
        unknown(|terms| terms.approval_policy = Terms::UNKNOWN.into());
        unknown(|terms| terms.workspace = String::new());
        unknown(|terms| *terms = Terms::default());
    }

    #[test]
    fn a_sandbox_too_long_to_be_kept_is_unknown_and_never_half() {
        let roots: Vec<_> = (0..1000).map(|n| format!("/root{n}")).collect();
        let sandbox = json!({"type": "workspaceWrite", "networkAccess": true, "writableRoots": roots});
        let resumed = json!({"thread": {"id": "t", "cwd": "/p"}, "approvalPolicy": "on-request", "sandbox": sandbox});
        let thread = Thread::from_resume(&resumed).expect("a thread");
        assert_eq!(thread.terms().sandbox, Terms::UNKNOWN);
        assert!(!thread.terms().are_known());
    }

    #[test]
    fn accepting_for_the_session_is_offered_only_where_the_host_does_and_it_means_something() {
        let terms = terms();
        let offering = Asked { for_session: true, ..asked(&terms) };
        let of_command = |extra, asked| Approval::from_command_request(&command(extra), asked).expect("an approval");
        assert!(of_command(json!({}), offering).for_session);
        assert!(!of_command(json!({}), asked(&terms)).for_session);
        assert!(!of_command(json!({"runAs": "root"}), offering).for_session);
        let params = json!({"threadId": "t", "turnId": "1", "itemId": "i", "cwd": "/p",
            "permissions": {"network": {"enabled": true}}});
        let permissions = Approval::from_permissions_request(&params, offering).expect("an approval");
        assert!(permissions.acceptable() && !permissions.for_session);
    }
}
