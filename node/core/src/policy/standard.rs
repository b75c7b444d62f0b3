//! What a host's owner gives a device of which nothing else was named.

use super::rights::Right;

/// What holds where neither the desk nor an earlier pairing said anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standard {
    /// The right of a device that is paired while others are. The first is owner, whatever this says.
    pub right: Right,
    /// Where devices without folders of their own are at home, canonical. `None`: the host's start folder and those that
    /// Codex trusts.
    pub folders: Option<Vec<String>>,
}

impl Default for Standard {
    fn default() -> Self {
        Self { right: Right::Operator, folders: None }
    }
}
