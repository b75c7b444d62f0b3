//! What holds on a host for every phone, as phones are told.

use serde::{Deserialize, Serialize};

/// A host's floor and switches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// The loosest approval policy under which phones may have Codex work (`on-request`, …).
    pub approval_policy: String,
    /// The loosest sandbox (`workspace-write`, …).
    pub sandbox: String,
    /// Whether that sandbox may reach the network.
    pub network_access: bool,
    /// Whether approvals may be accepted for the rest of a session.
    pub accept_for_session: bool,
    /// Whether the host's machine is kept awake while a turn runs.
    pub mobile_keep_awake: bool,
    /// Whether phones may have Codex use the computer itself (screen, mouse, keyboard).
    pub computer_use_mobile: bool,
    /// Whether phones may connect at all.
    pub remote_connections: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            approval_policy: "on-request".into(),
            sandbox: "workspace-write".into(),
            network_access: false,
            accept_for_session: false,
            mobile_keep_awake: false,
            computer_use_mobile: false,
            remote_connections: true,
        }
    }
}
