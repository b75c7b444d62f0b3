//! Folders as the policy compares them: canonical, links resolved. Which of them are this host's, and in which of
//! those a thread can be started, follows from what Codex trusts:
//!
//! ```text
//!  config/read ─► Projects ─► Standing of a folder ─► HostFolders ─► bridge, phones
//!                                    └─ unmarked, and opened at the desk ─► config/value/write
//! ```
//!
//! # Why the host marks its start folder itself
//! At the first `thread/start` in a repository, or in a folder with a `.codex` in it, Codex writes
//! `[projects."…"] trust_level = "trusted"` into its config.toml, for whatever folder the client named. No phone shall
//! cause a write there. So the host makes it, for the folder that a person opened at the desk, and says so; phones start
//! only where the mark stands already. All other methods of phones leave the file as it is (measured with 0.169.0:
//! resume, fork, turns, review, settings, queue, names, archive).

mod keeper;
mod projects;

use std::path::{Component, Path, PathBuf};

pub use keeper::{Keeper, Opened, Opening};
pub use projects::{Projects, Standing};

/// The folders of this host, canonical.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFolders {
    /// Its own: the start folder and those that Codex trusts. What a device without folders of its own sees.
    pub own: Vec<String>,
    /// Those in which a thread can be started without a write to Codex's config: the start folder's first, if it is
    /// one.
    pub startable: Vec<String>,
}

impl HostFolders {
    /// Of a host that starts in `start` (canonical), with what Codex trusts. Looks at the file system.
    pub fn of(start: &str, projects: &Projects) -> Self {
        let mut folders = Self { own: vec![start.to_owned()], startable: Vec::new() };
        if projects.standing_here(start) == Standing::Trusted {
            folders.startable.push(start.to_owned());
        }
        for trusted in projects.trusted() {
            let Some(folder) = canonical(trusted) else { continue };
            // Codex looks a folder up by its real path, so an entry with a link in it marks nothing.
            if folder == trusted && !folders.startable.contains(&folder) {
                folders.startable.push(folder.clone());
            }
            if !folders.own.contains(&folder) {
                folders.own.push(folder);
            }
        }
        folders
    }
}

/// This user's home folder, canonical, if there is one.
pub fn home() -> Option<String> {
    canonical(std::env::home_dir()?.to_str()?)
}

/// A folder's canonical path. Of one that is gone, the part that exists is resolved and the rest kept; `None` if it
/// isn't absolute, has a `..` beyond what exists, or isn't Unicode.
pub fn canonical(folder: &str) -> Option<String> {
    let path = Path::new(folder);
    if !path.is_absolute() {
        return None;
    }
    let (root, rest) = path.ancestors().find_map(|above| {
        let root = above.canonicalize().ok()?;
        Some((root, path.strip_prefix(above).ok()?.to_owned()))
    })?;
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    let whole: PathBuf = if rest.as_os_str().is_empty() { root } else { root.join(rest) };
    plain.then(|| whole.to_str().map(ToOwned::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_resolved_and_what_is_gone_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        symlink(root.join("real"), root.join("link")).unwrap();
        let at = |path: &str| canonical(root.join(path).to_str().unwrap());
        let is = |path: &str| Some(root.join(path).to_str().unwrap().to_owned());
        assert_eq!(at("link"), is("real"));
        assert_eq!(at("link/gone/x"), is("real/gone/x"));
        assert_eq!(at("link/../real"), is("real"));
        assert_eq!(at("gone/../../etc"), None);
        assert_eq!(canonical("relative"), None);
        assert_eq!(canonical(""), None);
        assert_eq!(canonical("/"), Some("/".into()));
    }
}
