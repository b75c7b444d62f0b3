//! What the host's policy asks for before an approval is accepted from a phone, as the phone is told.
//!
//! # Why it isn't signed
//! It widens nothing: the host holds each decision against its own policy as it stands then. Were it signed, a policy
//! that changes would void decisions that satisfy it. What the phone *did* (it made sure of its owner) is signed:
//! [`crate::codex::decision`].

use serde::{Deserialize, Serialize};

use crate::identity::NodeId;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Guard {
    /// The pattern by which the host never takes an accept for it from a phone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// Whether two devices have to accept it.
    #[serde(default)]
    pub two_person: bool,
    /// Whether the phone has to make sure of its owner again.
    #[serde(default)]
    pub step_up: bool,
    /// Who has accepted it already, where two have to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<First>,
}

/// The first of two who accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct First {
    /// The device.
    pub device: NodeId,
    /// Its name on the host.
    pub name: String,
}

impl Guard {
    /// Whether nothing is asked for.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}
