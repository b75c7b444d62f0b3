//! What Codex's config says about folders, as `config/read` tells it: all layers merged, so system-wide entries count.

use std::collections::BTreeMap;
use std::path::Path;

use farhelm_core::policy::is_within;
use serde_json::Value;

/// Entries that are looked at; a config.toml with more would make a phone's list unusable.
const ENTRIES: usize = 1024;

/// Bytes of a path that are taken; Linux opens none that is longer.
const PATH: usize = 4096;

/// The `[projects]` of Codex's config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projects {
    levels: BTreeMap<String, Level>,
    /// Of the user's config.toml, so that a write can be refused if it was changed meanwhile.
    pub(super) version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Trusted,
    /// Also whatever else it says: an unknown word is no trust.
    Untrusted,
}

/// How Codex's config stands to a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is trusted: starting a thread there writes nothing.
    Trusted,
    /// A person marked it, or a folder above it, as not to be trusted.
    Untrusted {
        /// The folder that is marked.
        by: String,
    },
    /// It says nothing.
    Unmarked,
}

impl Projects {
    /// From the result of `config/read` with `includeLayers`. Entries that say nothing about trust are left out.
    pub fn read(result: &Value) -> Self {
        let entries = result.pointer("/config/projects").and_then(Value::as_object).into_iter().flatten();
        let level = |entry: &Value| match entry.get("trust_level")? {
            Value::Null => None,
            Value::String(level) if level == "trusted" => Some(Level::Trusted),
            _ => Some(Level::Untrusted),
        };
        let known = entries.filter(|(path, _)| path.len() <= PATH);
        let levels = known.filter_map(|(path, entry)| Some((path.clone(), level(entry)?))).take(ENTRIES).collect();
        let layers = result.get("layers").and_then(Value::as_array).into_iter().flatten();
        let mut users = layers.filter(|layer| layer.pointer("/name/type").is_some_and(|kind| kind == "user"));
        let version = users.next().and_then(|layer| layer.get("version")?.as_str()).map(ToOwned::to_owned);
        Self { levels, version }
    }

    /// The folders that are trusted, as they are written there.
    pub fn trusted(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter(|(_, level)| **level == Level::Trusted).map(|(path, _)| path.as_str())
    }

    /// How it stands to a canonical folder in a repository of this root. A folder's own entry counts most. Above it
    /// Codex looks at the root of the repository only; an entry against a folder above is heeded all the same.
    pub fn standing(&self, folder: &str, repository: Option<&str>) -> Standing {
        let above = self.levels.iter().filter(|(path, _)| is_within(folder, path));
        if let Some((by, Level::Untrusted)) = above.max_by_key(|(path, _)| path.trim_end_matches('/').len()) {
            return Standing::Untrusted { by: by.clone() };
        }
        let is_trusted = |path: &str| self.levels.get(path) == Some(&Level::Trusted);
        match is_trusted(folder) || repository.is_some_and(is_trusted) {
            true => Standing::Trusted,
            false => Standing::Unmarked,
        }
    }

    /// The same, with the repository looked for in the file system.
    pub(super) fn standing_here(&self, folder: &str) -> Standing {
        self.standing(folder, repository(folder).as_deref())
    }
}

/// The repository's root that Codex would find for a folder. Not of a linked worktree, whose root is elsewhere: there
/// only its own entry counts here.
fn repository(folder: &str) -> Option<String> {
    let root = Path::new(folder).ancestors().find(|above| above.join(".git").exists())?;
    root.join(".git/HEAD").is_file().then(|| root.to_str().map(ToOwned::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn projects(entries: &[(&str, &str)]) -> Projects {
        let entries: serde_json::Map<_, _> =
            entries.iter().map(|(path, level)| ((*path).to_owned(), json!({"trust_level": level}))).collect();
        Projects::read(&json!({"config": {"projects": entries}}))
    }

    fn by(folder: &str) -> Standing {
        Standing::Untrusted { by: folder.into() }
    }

    #[test]
    fn a_folder_is_trusted_by_its_own_entry_or_by_that_of_its_repository() {
        let projects = projects(&[("/repo", "trusted"), ("/plain", "trusted")]);
        assert_eq!(projects.standing("/repo", Some("/repo")), Standing::Trusted);
        assert_eq!(projects.standing("/repo/a/b", Some("/repo")), Standing::Trusted);
        assert_eq!(projects.standing("/plain", None), Standing::Trusted);
        assert_eq!(projects.standing("/plain/sub", None), Standing::Unmarked, "no repository joins them");
        assert_eq!(projects.standing("/plain/repo", Some("/plain/repo")), Standing::Unmarked);
        assert_eq!(projects.standing("/repository", None), Standing::Unmarked);
        let twice = self::projects(&[("/repo", "trusted"), ("/repo/a", "trusted")]);
        assert_eq!(twice.standing("/repo/a/b", Some("/repo")), Standing::Trusted);
    }

    #[test]
    fn what_is_marked_untrusted_stays_so_below_it_until_an_entry_says_otherwise() {
        let projects = projects(&[("/no", "untrusted"), ("/no/yes", "trusted"), ("/yes/no", "untrusted")]);
        assert_eq!(projects.standing("/no", None), by("/no"));
        assert_eq!(projects.standing("/no/sub", Some("/no")), by("/no"));
        assert_eq!(projects.standing("/no/yes", Some("/no")), Standing::Trusted);
        assert_eq!(projects.standing("/yes/no", Some("/yes")), by("/yes/no"));
    }

    #[test]
    fn an_unknown_word_is_no_trust_and_no_word_is_nothing() {
        assert_eq!(projects(&[("/a", "sometimes")]).standing("/a", None), by("/a"));
        let none = Projects::read(&json!({"config": {"projects": {"/a": {}, "/b": {"trust_level": null}}}}));
        assert_eq!(none, Projects::default());
        for other in [json!(null), json!({}), json!({"config": {"projects": []}}), json!({"config": 1})] {
            assert_eq!(Projects::read(&other), Projects::default());
        }
    }

    #[test]
    fn the_version_is_that_of_the_users_own_file() {
        let layers = json!([{"name": {"type": "system"}, "version": "s"}, {"name": {"type": "user"}, "version": "u"}]);
        assert_eq!(Projects::read(&json!({"layers": layers})).version.as_deref(), Some("u"));
    }

    #[test]
    fn a_repository_is_found_from_within_and_a_linked_worktree_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path).to_str().unwrap().to_owned();
        for folder in ["repo/.git", "repo/a/b", "repo/empty/.git", "linked/sub", "plain"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("repo/.git/HEAD"), "").unwrap();
        std::fs::write(root.join("linked/.git"), "gitdir: elsewhere").unwrap();
        assert_eq!(repository(&at("repo/a/b")), Some(at("repo")));
        assert_eq!(repository(&at("repo/empty")), None);
        assert_eq!(repository(&at("linked/sub")), None);
        assert_eq!(repository(&at("plain")), None);
    }
}
