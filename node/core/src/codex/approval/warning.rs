//! What a person should know before accepting, told from the content alone: the same on every screen.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{Act, Approval, Content};
use crate::policy::is_within;

/// Something about an approval that isn't plain from the act. `Display` is a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Warning {
    /// Approval policy `untrusted`: Codex may run an approved command a second time, outside the sandbox.
    MayRunAgainUnsandboxed,
    /// The thread works without a sandbox.
    NoSandbox,
    /// The sandbox lets it reach the network, or that is asked for.
    Network,
    /// It works in, or changes, something outside the thread's folder.
    OutsideFolder,
    /// It grants writing to a folder from now on.
    GrantsFolder,
    /// It grants permissions beyond the sandbox.
    MorePermissions,
    /// It can be accepted for the rest of the session; then the like of it isn't asked for again.
    ForSession,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MayRunAgainUnsandboxed => {
                "If the sandbox stops it, Codex may run it a second time without the sandbox, and does not ask again."
            }
            Self::NoSandbox => "The thread works without a sandbox.",
            Self::Network => "It can reach the network.",
            Self::OutsideFolder => "It reaches outside the thread's folder.",
            Self::GrantsFolder => "It lets Codex write to a folder without asking from now on.",
            Self::MorePermissions => "It grants more than the thread's sandbox allows.",
            Self::ForSession => {
                "Accepted for the session, the same command or changes of the same files are not asked for again."
            }
        })
    }
}

impl Approval {
    /// Everything to be warned of, in the order of [`Warning`]'s variants; nothing where nothing can be accepted.
    pub fn warnings(&self) -> Vec<Warning> {
        if !self.acceptable() {
            return Vec::new();
        }
        let content = &self.content;
        let (kind, rest) = content.sandbox.split_once(' ').unwrap_or((&content.sandbox, ""));
        let rest: Value = serde_json::from_str(rest).unwrap_or_default();
        let is_command = matches!(content.act, Act::Command { .. });
        let unsandboxed = kind == "danger-full-access";
        let network = !rest["networkAccess"].is_null() || content.asks_for_network();
        let all = [
            (content.approval_policy == "untrusted" && is_command && !unsandboxed, Warning::MayRunAgainUnsandboxed),
            (unsandboxed, Warning::NoSandbox),
            (network && !unsandboxed, Warning::Network),
            (content.is_outside(), Warning::OutsideFolder),
            (matches!(content.act, Act::Files { grant_root: Some(_), .. }), Warning::GrantsFolder),
            (content.permissions().is_some(), Warning::MorePermissions),
            (self.for_session, Warning::ForSession),
        ];
        all.into_iter().filter_map(|(holds, warning)| holds.then_some(warning)).collect()
    }
}

impl Content {
    /// What is asked for beyond the act, as JSON text.
    fn permissions(&self) -> Option<&str> {
        match &self.act {
            Act::Command { permissions, .. } => permissions.as_deref(),
            Act::Permissions { permissions, .. } => Some(permissions),
            Act::Files { .. } | Act::Withheld { .. } => None,
        }
    }

    fn asks_for_network(&self) -> bool {
        let asked = self.permissions().and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default();
        let of_command = &asked["additionalPermissions"]["network"]["enabled"];
        asked["network"]["enabled"] == true || *of_command == true || !asked["networkApprovalContext"].is_null()
    }

    /// Whether it names a folder or a file that doesn't lie in the thread's folder.
    fn is_outside(&self) -> bool {
        let outside = |path: &str| !is_within(path, &self.workspace);
        match &self.act {
            Act::Command { folder, .. } | Act::Permissions { folder, .. } => outside(folder),
            Act::Files { changes, grant_root } => {
                let paths = changes.iter().flat_map(|change| change.moved_to.iter().chain([&change.path]));
                paths.chain(grant_root).any(|path| outside(path))
            }
            Act::Withheld { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteArray;

    use super::*;
    use crate::codex::approval::{Change, Key};

    fn command(permissions: Option<&str>) -> Act {
        Act::Command { command: "make".into(), folder: "/p/sub".into(), permissions: permissions.map(Into::into) }
    }

    fn files(path: &str, moved_to: Option<&str>, grant_root: Option<&str>) -> Act {
        let moved_to = moved_to.map(Into::into);
        let change = Change { path: path.into(), kind: "update".into(), moved_to, diff: String::new() };
        Act::Files { changes: vec![change], grant_root: grant_root.map(Into::into) }
    }

    fn under(approval_policy: &str, sandbox: &str, act: Act) -> Approval {
        let (approval_policy, sandbox, workspace) = (approval_policy.into(), sandbox.into(), "/p".into());
        let content = Content { act, reason: None, approval_policy, sandbox, workspace };
        let key = Key { epoch: ByteArray::new([1; 16]), request: 0 };
        let (environment, thread, turn, item) = Default::default();
        Approval {
            key,
            environment,
            thread,
            turn,
            item,
            content,
            for_session: false,
            deadline_ms: 0,
            guard: Default::default(),
        }
    }

    fn plain(act: Act) -> Vec<Warning> {
        under("on-request", "workspace-write", act).warnings()
    }

    #[test]
    fn an_ordinary_act_has_no_warning() {
        assert_eq!(plain(command(None)), []);
        assert_eq!(plain(files("/p/a", None, None)), []);
    }

    #[test]
    fn an_approved_command_may_run_again_unsandboxed_under_untrusted() {
        let warnings = |act| under("untrusted", "workspace-write", act).warnings();
        assert_eq!(warnings(command(None)), [Warning::MayRunAgainUnsandboxed]);
        assert_eq!(warnings(files("/p/a", None, None)), [], "a patch isn't a command");
    }

    #[test]
    fn a_wide_sandbox_is_warned_of() {
        let warnings = |sandbox| under("on-request", sandbox, command(None)).warnings();
        assert_eq!(warnings("danger-full-access"), [Warning::NoSandbox]);
        assert_eq!(warnings(r#"workspace-write {"networkAccess":true}"#), [Warning::Network]);
        assert_eq!(warnings(r#"externalSandbox {"networkAccess":"enabled"}"#), [Warning::Network]);
        assert_eq!(warnings(r#"workspace-write {"writableRoots":["/x"]}"#), []);
    }

    #[test]
    fn what_lies_outside_the_folder_is_warned_of() {
        let outside = [Warning::OutsideFolder];
        assert_eq!(plain(Act::Command { command: "ls".into(), folder: "/".into(), permissions: None }), outside);
        assert_eq!(plain(files("/p/../etc/x", None, None)), outside);
        assert_eq!(plain(files("/p/a", Some("/px"), None)), outside);
    }

    #[test]
    fn what_is_granted_is_warned_of() {
        assert_eq!(plain(files("/p/a", None, Some("/p/b"))), [Warning::GrantsFolder]);
        assert_eq!(plain(files("/p/a", None, Some("/"))), [Warning::OutsideFolder, Warning::GrantsFolder]);
        let both = [Warning::Network, Warning::MorePermissions];
        assert_eq!(plain(command(Some(r#"{"additionalPermissions":{"network":{"enabled":true}}}"#))), both);
        assert_eq!(plain(command(Some(r#"{"networkApprovalContext":{"host":"x"}}"#))), both);
        let permissions = |text: &str| Act::Permissions { permissions: text.into(), folder: "/p".into() };
        assert_eq!(plain(permissions(r#"{"network":{"enabled":true}}"#)), both);
        assert_eq!(plain(permissions(r#"{"fileSystem":{"write":["/x"]}}"#)), [Warning::MorePermissions]);
    }

    #[test]
    fn the_reach_of_an_offer_for_the_session_is_told() {
        let mut offered = under("on-request", "workspace-write", command(None));
        offered.for_session = true;
        assert_eq!(offered.warnings(), [Warning::ForSession]);
    }
}
