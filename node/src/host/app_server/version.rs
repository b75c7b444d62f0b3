//! Codex's version: read from what it says, and whether it is one we have tested.

use std::fmt;

/// The releases the tests run against.
pub const TESTED: &str = "0.169";

/// A version of Codex, as it states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(Option<String>);

impl Version {
    /// Reads `codex-cli 0.169.0`, the answer of `codex --version`.
    pub(super) fn of_command_line(said: &str) -> Self {
        Self(said.split_whitespace().find_map(number))
    }

    /// Reads `farhelm/0.169.0 (Debian 13; x86_64) …`, the user agent that the app-server answers to `initialize`: the
    /// client's name, then the version of the server itself.
    pub(super) fn of_user_agent(said: &str) -> Self {
        Self(said.split_once('/').and_then(|(_, rest)| rest.split_whitespace().find_map(number)))
    }

    /// Whether the tests run against this release.
    pub fn is_tested(&self) -> bool {
        let rest = self.0.as_deref().and_then(|version| version.strip_prefix(TESTED));
        rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// What to tell a person about an untested release.
    pub fn warning(&self) -> Option<String> {
        let warn = || {
            format!("Codex {self} is untested (tested: {TESTED}); if it misbehaves: npm i -g @openai/codex@{TESTED}.0")
        };
        (!self.is_tested()).then(warn)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("of unknown version"))
    }
}

/// The word, if it is a version number: `0.169.0`, `0.170.0-alpha.1`.
fn number(word: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    let is_number = word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.') && word.len() <= MAX;
    (is_number && word.chars().all(is_allowed)).then(|| word.to_owned())
}

/// A version's length at the most; anything longer isn't one.
const MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tested_release_gives_no_warning() {
        let version = Version::of_command_line("codex-cli 0.169.0\n");
        assert_eq!((version.to_string().as_str(), version.warning()), ("0.169.0", None));
        let version = Version::of_user_agent("farhelm/0.169.3 (Debian 13.0.0; x86_64) dumb (farhelm; 0.1.0)");
        assert_eq!((version.to_string().as_str(), version.warning()), ("0.169.3", None));
    }

    #[test]
    fn other_releases_are_named_in_a_warning() {
        for (said, named) in [("codex-cli 0.170.0-alpha.1", "0.170.0-alpha.1"), ("codex-cli 0.1690.1", "0.1690.1")] {
            let warning = Version::of_command_line(said).warning().unwrap();
            assert!(warning.contains(named), "{warning}");
        }
    }

    #[test]
    fn what_is_no_version_is_unknown_and_untested() {
        for said in
            ["", "codex-cli", "farhelm/", "a/\u{1b}[31m0.1", "x/0.169.0\u{7}", &format!("x/0.{}", "1".repeat(99))]
        {
            let version = Version::of_user_agent(said);
            assert_eq!((version.to_string().as_str(), version.is_tested()), ("of unknown version", false), "{said}");
        }
    }
}
