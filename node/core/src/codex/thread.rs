//! A thread as a pure value: app-server notifications go in, what a screen shows comes out.

use serde::{Deserialize, Serialize};

/// A thread with its turns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thread {
    /// Thread id.
    pub id: String,
}
