//! What a host's owner asks beyond a right, by the command: that it is never accepted from a phone, that two people
//! accept it, or that the phone makes sure of its owner again.
//!
//! Commands only. A change of files, a grant of permissions and what can't be shown whole are under no pattern.

use super::pattern::{Pattern, Readings};
use crate::codex::approval::{Act, Guard};

/// The most patterns of a kind.
pub const PATTERNS: usize = 64;

/// Patterns by what they ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conditions {
    /// Never accepted from a phone.
    pub deny: Vec<Pattern>,
    /// Accepted once two devices have accepted.
    pub two_person: Vec<Pattern>,
    /// Accepted only where the phone has made sure of its owner again.
    pub step_up: Vec<Pattern>,
    /// How long phones may decide after Codex asked, in milliseconds. The desk isn't bound by it.
    pub deadline_ms: u64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self { deny: Vec::new(), two_person: Vec::new(), step_up: Vec::new(), deadline_ms: 24 * 60 * 60 * 1000 }
    }
}

impl Conditions {
    /// What is asked for this act. Nobody has accepted it yet.
    pub fn guard(&self, act: &Act) -> Guard {
        let Act::Command { command, .. } = act else { return Guard::default() };
        let command = Readings::of(command);
        let first = |patterns: &[Pattern]| patterns.iter().find(|p| p.matches(&command)).map(ToString::to_string);
        Guard {
            denied: first(&self.deny),
            two_person: first(&self.two_person).is_some(),
            step_up: first(&self.step_up).is_some(),
            first: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::new(text).unwrap()).collect()
    }

    fn command(text: &str) -> Act {
        Act::Command { command: text.into(), folder: "/".into(), permissions: None }
    }

    #[test]
    fn each_kind_of_pattern_asks_for_its_own() {
        let conditions = Conditions {
            deny: patterns(&["mkfs*", "rm -rf *"]),
            two_person: patterns(&["git push"]),
            step_up: patterns(&["git *"]),
            ..Conditions::default()
        };
        let denied = conditions.guard(&command("bash -lc 'rm -rf /'"));
        assert_eq!(denied, Guard { denied: Some("rm -rf *".into()), ..Guard::default() });
        let both = conditions.guard(&command("git push origin"));
        assert_eq!(both, Guard { two_person: true, step_up: true, ..Guard::default() });
        assert_eq!(conditions.guard(&command("git status")), Guard { step_up: true, ..Guard::default() });
        assert_eq!(conditions.guard(&command("ls")), Guard::default());
    }

    #[test]
    fn only_commands_are_under_a_pattern() {
        let conditions = Conditions { deny: patterns(&["*"]), ..Conditions::default() };
        let files = Act::Files { changes: Vec::new(), grant_root: None };
        assert_eq!(conditions.guard(&files), Guard::default());
    }
}
