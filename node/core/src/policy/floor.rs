//! The floor: the loosest terms under which phones may have Codex work.
//!
//! A thread's *effective* terms are held against it, as Codex reports them and [`crate::codex::thread`] writes them. The
//! order is by what can happen without a person:
//!
//! | | the tightest first |
//! |---|---|
//! | approval policy | `untrusted`, `on-request`, `on-failure`, granular ones and `never` |
//! | sandbox | `read-only`, `workspace-write`, an external one, `danger-full-access` |
//!
//! Up to `workspace-write` the network counts, too, and so do writable roots outside of the thread's folder. A word that
//! isn't here is looser than any floor, and so are terms that Codex hasn't reported.

use serde_json::{Map, Value};

use super::rights::is_within;
use super::rules::Rules;
use crate::codex::text::clip;
use crate::codex::thread::Thread;

/// Bytes of Codex's own words that stand in a refusal.
const WORDS: usize = 120;

/// What makes a thread looser than the floor, for the person who wants it to work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Looser {
    /// Fewer approvals are asked for.
    #[error(
        "this thread's approval policy is {has:?}, looser than the {floor:?} this host allows phones; {WHAT_TO_DO}"
    )]
    Approvals {
        /// The thread's.
        has: String,
        /// The floor's.
        floor: String,
    },
    /// The sandbox is wider.
    #[error("this thread's sandbox is {has:?}, looser than the {floor:?} this host allows phones; {WHAT_TO_DO}")]
    Sandbox {
        /// The thread's.
        has: String,
        /// The floor's.
        floor: String,
    },
    /// The sandbox reaches the network.
    #[error("this thread's sandbox reaches the network, which this host doesn't allow phones; {WHAT_TO_DO}")]
    Network,
    /// The sandbox may write outside of the thread's folder.
    #[error(
        "this thread may write in {root:?}, outside of its folder, which this host doesn't allow phones; {WHAT_TO_DO}"
    )]
    Root {
        /// The folder.
        root: String,
    },
    /// Codex hasn't said under which terms it works.
    #[error(
        "it isn't known under which approval policy and sandbox this thread works; open it first, or go on at the desk"
    )]
    Unknown,
}

const WHAT_TO_DO: &str = "go on at the desk, or loosen [floor] in the host's config.toml";

impl Rules {
    /// Whether phones may have a thread with these effective terms work. `folder` is the thread's, canonical.
    pub fn permits(&self, approval_policy: &str, sandbox: &str, folder: &str) -> Result<(), Looser> {
        let (has, floor) = (Approvals::read(approval_policy), Approvals::read(&self.approval_policy));
        if has.is_none_or(|has| floor.is_none_or(|floor| has > floor)) {
            let has = clip(approval_policy, WORDS).to_owned();
            return Err(Looser::Approvals { has, floor: self.approval_policy.clone() });
        }
        let too_wide = || Looser::Sandbox { has: clip(sandbox, WORDS).to_owned(), floor: self.sandbox.clone() };
        let (has, rest) = Sandbox::read(sandbox).ok_or_else(too_wide)?;
        let (floor, _) = Sandbox::read(&self.sandbox).ok_or_else(too_wide)?;
        if has > floor {
            return Err(too_wide());
        }
        if floor >= Sandbox::External {
            // Such a sandbox holds back neither the network nor any folder.
            return Ok(());
        }
        for (name, value) in &rest {
            match (name.as_str(), value) {
                ("excludeTmpdirEnvVar" | "excludeSlashTmp", Value::Bool(_)) => {}
                ("networkAccess", Value::Bool(_)) if self.network_access => {}
                ("networkAccess", Value::Bool(false)) => {}
                ("networkAccess", _) => return Err(Looser::Network),
                ("writableRoots", Value::Array(roots)) => roots.iter().try_for_each(|root| is_inside(root, folder))?,
                _ => return Err(too_wide()),
            }
        }
        Ok(())
    }

    /// Whether phones may have this thread work, by what Codex last reported of it.
    pub fn permits_work_on(&self, thread: &Thread) -> Result<(), Looser> {
        match (&thread.approval_policy, &thread.sandbox) {
            (Some(approval_policy), Some(sandbox)) => self.permits(approval_policy, sandbox, &thread.folder),
            _ => Err(Looser::Unknown),
        }
    }

    /// The approval policy with which phones start threads: the floor's, and none looser than `on-request`. A looser
    /// floor lets phones go on with a thread of the desk's; it doesn't start one.
    pub fn starting_approval_policy(&self) -> &str {
        match Approvals::read(&self.approval_policy) {
            Some(Approvals::OnRequest | Approvals::OnFailure | Approvals::Never) => "on-request",
            Some(Approvals::Untrusted) | None => "untrusted",
        }
    }

    /// The sandbox with which phones start threads: the floor's, and none looser than `workspace-write`.
    pub fn starting_sandbox(&self) -> &str {
        match Sandbox::read(&self.sandbox) {
            Some((Sandbox::WorkspaceWrite | Sandbox::External | Sandbox::DangerFullAccess, _)) => "workspace-write",
            Some((Sandbox::ReadOnly, _)) | None => "read-only",
        }
    }
}

fn is_inside(root: &Value, folder: &str) -> Result<(), Looser> {
    let text = root.as_str().map_or_else(|| root.to_string(), ToOwned::to_owned);
    if is_within(&text, folder) { Ok(()) } else { Err(Looser::Root { root: clip(&text, WORDS).to_owned() }) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Approvals {
    Untrusted,
    OnRequest,
    OnFailure,
    /// Nothing is asked, or (a granular policy) not everything.
    Never,
}

impl Approvals {
    fn read(text: &str) -> Option<Self> {
        match text {
            "untrusted" => Some(Self::Untrusted),
            "on-request" => Some(Self::OnRequest),
            "on-failure" => Some(Self::OnFailure),
            "never" => Some(Self::Never),
            _ => {
                let policy: Map<String, Value> = serde_json::from_str(text).ok()?;
                (policy.len() == 1 && policy.contains_key("granular")).then_some(Self::Never)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sandbox {
    ReadOnly,
    WorkspaceWrite,
    /// Whatever stands around Codex; it says nothing of what that holds back.
    External,
    DangerFullAccess,
}

impl Sandbox {
    /// A kind, and after a space whatever differs from its plain form.
    fn read(text: &str) -> Option<(Self, Map<String, Value>)> {
        let (kind, rest) = text.split_once(' ').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        let kind = match kind {
            "read-only" => Self::ReadOnly,
            "workspace-write" => Self::WorkspaceWrite,
            "externalSandbox" => Self::External,
            "danger-full-access" => Self::DangerFullAccess,
            _ => return None,
        };
        Some((kind, rest.map_or_else(|| Some(Map::new()), |rest| serde_json::from_str(rest).ok())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APPROVALS: [&str; 5] = ["untrusted", "on-request", "on-failure", r#"{"granular":{"rules":true}}"#, "never"];
    const SANDBOXES: [&str; 4] = ["read-only", "workspace-write", "externalSandbox", "danger-full-access"];

    fn rules(approval_policy: &str, sandbox: &str) -> Rules {
        Rules { approval_policy: approval_policy.into(), sandbox: sandbox.into(), ..Rules::default() }
    }

    #[test]
    fn every_policy_is_held_against_every_floor() {
        // A granular policy ranks with `never`.
        let rank = |i: usize| i.min(3);
        for (i, floor) in APPROVALS.into_iter().enumerate() {
            for (j, has) in APPROVALS.into_iter().enumerate() {
                let permitted = rules(floor, "read-only").permits(has, "read-only", "/f").is_ok();
                assert_eq!(permitted, rank(j) <= rank(i), "{has} under {floor}");
            }
        }
        for (i, floor) in SANDBOXES.into_iter().enumerate() {
            for (j, has) in SANDBOXES.into_iter().enumerate() {
                let permitted = rules("on-request", floor).permits("on-request", has, "/f").is_ok();
                assert_eq!(permitted, j <= i, "{has} under {floor}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_looser_than_any_floor() {
        let widest = rules("never", "danger-full-access");
        for has in ["", "Never", "on request", "{}", r#"{"other":{}}"#, r#"{"granular":{},"x":1}"#, "sometimes"] {
            assert!(matches!(widest.permits(has, "read-only", "/f"), Err(Looser::Approvals { .. })), "{has}");
        }
        for has in ["", "readOnly", "macos", "workspace-write x", "workspace-write []", " read-only"] {
            assert!(matches!(widest.permits("untrusted", has, "/f"), Err(Looser::Sandbox { .. })), "{has}");
        }
        let strict = rules("on-request", "workspace-write");
        for has in [r#"read-only {"newField":1}"#, r#"workspace-write {"writableRoots":"/x"}"#] {
            assert!(matches!(strict.permits("untrusted", has, "/f"), Err(Looser::Sandbox { .. })), "{has}");
        }
        assert_eq!(widest.permits_work_on(&Thread::new("t")), Err(Looser::Unknown));
        assert!(rules("whatever", "read-only").permits("untrusted", "read-only", "/f").is_err());
        assert!(rules("never", "whatever").permits("untrusted", "read-only", "/f").is_err());
    }

    #[test]
    fn the_network_and_roots_elsewhere_are_looser() {
        let strict = rules("on-request", "workspace-write");
        let open = Rules { network_access: true, ..strict.clone() };
        let network = Err(Looser::Network);
        for (has, under_strict, under_open) in [
            (r#"workspace-write {"networkAccess":true}"#, network.clone(), Ok(())),
            (r#"read-only {"networkAccess":true}"#, network.clone(), Ok(())),
            (r#"workspace-write {"networkAccess":"enabled"}"#, network.clone(), network),
            (r#"workspace-write {"networkAccess":false}"#, Ok(()), Ok(())),
            (r#"workspace-write {"excludeSlashTmp":true}"#, Ok(()), Ok(())),
            (r#"workspace-write {"writableRoots":["/f/sub"]}"#, Ok(()), Ok(())),
        ] {
            assert_eq!(strict.permits("on-request", has, "/f"), under_strict, "{has}");
            assert_eq!(open.permits("on-request", has, "/f"), under_open, "{has}");
        }
        for root in ["/opt", "/", "/fx", "/f/../etc", "opt"] {
            let has = format!(r#"workspace-write {{"writableRoots":["/f","{root}"]}}"#);
            assert_eq!(open.permits("on-request", &has, "/f"), Err(Looser::Root { root: root.into() }));
            assert_eq!(rules("never", "danger-full-access").permits("on-request", &has, "/f"), Ok(()));
        }
    }

    #[test]
    fn a_thread_is_judged_by_what_codex_reported_of_it() {
        let thread = |approvals: &str, sandbox: &str| {
            let mut thread = Thread::new("t");
            thread.folder = "/f".into();
            (thread.approval_policy, thread.sandbox) = (Some(approvals.into()), Some(sandbox.into()));
            thread
        };
        let floor = Rules::default();
        assert_eq!(floor.permits_work_on(&thread("on-request", "workspace-write")), Ok(()));
        let looser = floor.permits_work_on(&thread("never", "danger-full-access")).unwrap_err();
        assert_eq!(
            looser.to_string(),
            "this thread's approval policy is \"never\", looser than the \"on-request\" this host allows phones; go \
             on at the desk, or loosen [floor] in the host's config.toml"
        );
    }

    #[test]
    fn threads_start_at_the_floor_or_tighter() {
        for (floor, approvals) in [("untrusted", "untrusted"), ("on-request", "on-request"), ("never", "on-request")] {
            for (wide, sandbox) in [
                ("read-only", "read-only"),
                ("workspace-write", "workspace-write"),
                ("danger-full-access", "workspace-write"),
            ] {
                let rules = rules(floor, wide);
                assert_eq!((rules.starting_approval_policy(), rules.starting_sandbox()), (approvals, sandbox));
                assert_eq!(rules.permits(approvals, sandbox, "/f"), Ok(()), "{floor}, {wide}");
            }
        }
    }
}
