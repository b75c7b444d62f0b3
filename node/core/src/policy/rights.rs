//! What a device may do, where, and until when.
//!
//! ```text
//!  Grant (as given at the desk, stored) ─ resolve(host's folders) ─► Entitlement (what is enforced, and told the device)
//! ```
//! A right holds everything the lesser ones hold, so one comparison decides. Folders are compared as text here: whoever
//! makes an [`Entitlement`] has made them canonical (absolute, links resolved), and so has whoever asks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a device may do, the least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Right {
    /// Read threads, their outputs and what waits for a decision.
    #[default]
    Viewer,
    /// Also decide on approvals.
    Approver,
    /// Also start, continue, steer and stop work, and answer questions.
    Operator,
    /// Also look after the host and its devices.
    Owner,
}

impl Right {
    /// Every right, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Approver, Self::Operator, Self::Owner];

    /// Its name, as it is typed and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Not the name of a right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a right is one of owner, operator, approver, viewer")]
pub struct NoRight;

impl FromStr for Right {
    type Err = NoRight;

    fn from_str(text: &str) -> Result<Self, NoRight> {
        Self::ALL.into_iter().find(|right| right.as_str() == text).ok_or(NoRight)
    }
}

/// In which folders a device sees and works on threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Folders {
    /// Those of the host: its start folder and the ones Codex trusts, as they are at the time.
    #[default]
    Host,
    /// These, canonical, and whatever lies in them.
    Only(Vec<String>),
}

/// What was given to a device at the desk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// What it may do.
    pub right: Right,
    /// Where.
    pub folders: Folders,
    /// Until when, in Unix milliseconds by the host's clock; `None` for as long as it is paired.
    pub until_ms: Option<u64>,
}

impl Grant {
    /// A right in the host's folders, for as long as the device is paired.
    pub const fn of(right: Right) -> Self {
        Self { right, folders: Folders::Host, until_ms: None }
    }

    /// What it comes to on a host with these folders of its own.
    pub fn resolve(&self, host: &[String]) -> Entitlement {
        let folders = match &self.folders {
            Folders::Host => host.to_vec(),
            Folders::Only(folders) => folders.clone(),
        };
        Entitlement { right: self.right, folders, until_ms: self.until_ms }
    }
}

/// What a device may do now. The least of it, nothing at all, is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entitlement {
    /// What it may do.
    pub right: Right,
    /// The folders whose threads it sees, canonical; whatever lies in them is included.
    pub folders: Vec<String>,
    /// Until when, in Unix milliseconds by the host's clock; `None` for as long as it is paired.
    pub until_ms: Option<u64>,
}

impl Entitlement {
    /// Whether its time is over.
    pub fn expired(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| now_ms >= until)
    }

    /// Whether it holds for what needs this right, now.
    pub fn may(&self, needed: Right, now_ms: u64) -> bool {
        !self.expired(now_ms) && self.right >= needed
    }

    /// Whether a canonical folder is one of its own or lies in one.
    pub fn covers(&self, folder: &str) -> bool {
        self.folders.iter().any(|root| is_within(folder, root))
    }
}

/// Whether `folder` is `root` or lies in it. Both absolute; one with a `.` or `..` in it lies nowhere.
pub fn is_within(folder: &str, root: &str) -> bool {
    let is_plain = |path: &str| path.starts_with('/') && path.split('/').all(|part| !matches!(part, "." | ".."));
    let inside = |rest: &str| rest.is_empty() || rest.starts_with('/');
    is_plain(folder) && is_plain(root) && folder.strip_prefix(root.trim_end_matches('/')).is_some_and(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_holds_the_lesser_ones() {
        for (i, holds) in Right::ALL.into_iter().enumerate() {
            for (j, needed) in Right::ALL.into_iter().enumerate() {
                let entitlement = Entitlement { right: holds, ..Entitlement::default() };
                assert_eq!(entitlement.may(needed, 0), i >= j, "{holds} for {needed}");
            }
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for right in Right::ALL {
            assert_eq!(right.to_string().parse(), Ok(right));
        }
        assert_eq!("Owner".parse::<Right>(), Err(NoRight));
    }

    #[test]
    fn what_has_expired_holds_for_nothing() {
        let guest = Entitlement { right: Right::Owner, until_ms: Some(10), ..Entitlement::default() };
        assert!(guest.may(Right::Viewer, 9) && !guest.may(Right::Viewer, 10));
    }

    #[test]
    fn a_folder_lies_in_itself_and_in_those_above_it() {
        for (folder, root, within) in [
            ("/a/b", "/a/b", true),
            ("/a/b/c", "/a/b", true),
            ("/a/b/c", "/a/b/", true),
            ("/a/bc", "/a/b", false),
            ("/a", "/a/b", false),
            ("/a/b", "/", true),
            ("/", "/", true),
            ("/a/b/../../etc", "/a/b", false),
            ("/a/./b", "/a", false),
            ("a/b", "/a", false),
            ("/a", "", false),
            ("", "/", false),
        ] {
            assert_eq!(is_within(folder, root), within, "{folder} in {root}");
        }
    }

    #[test]
    fn a_grant_comes_to_its_own_folders_or_to_the_hosts() {
        let host = vec!["/h".to_owned()];
        assert!(Grant::of(Right::Viewer).resolve(&host).covers("/h/x"));
        let only = Grant { folders: Folders::Only(vec!["/o".into()]), ..Grant::of(Right::Viewer) }.resolve(&host);
        assert!(only.covers("/o") && !only.covers("/h"));
        let none = Grant { folders: Folders::Only(Vec::new()), ..Grant::of(Right::Owner) }.resolve(&host);
        assert!(!none.covers("/h"));
    }
}
