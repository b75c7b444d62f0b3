//! The revocation epoch: how often a host has taken something away from a device, signed, for its devices to keep.
//!
//! A host whose state is put back to an older one (a restored backup, a rolled-back disk) would let in again whom it had
//! removed since, and doesn't know it. Its other devices do: each shows the host the highest epoch that it was shown. A
//! host that meets a higher one than its own, with its own signature on it, knows that it was set back.

use serde::{Deserialize, Serialize};

use crate::identity::{self, Identity, Label, NodeId, Signature};
use crate::session::transcript::Transcript;

/// A host's signed word on how often it has taken something away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RevocationEpoch {
    /// Counted up with each removal of a device, and each change of what one may do.
    pub number: u64,
    /// When it was signed, in Unix milliseconds by the host's clock.
    pub at_ms: u64,
    /// Over the host's key and both, label `farhelm/1 revocation-epoch`.
    pub signature: Signature,
}

impl RevocationEpoch {
    /// Signs that the host is at this epoch.
    pub fn sign(host: &Identity, number: u64, at_ms: u64) -> Self {
        let statement = Self::statement(host.node_id(), number, at_ms);
        Self { number, at_ms, signature: host.sign(Label::RevocationEpoch, &statement) }
    }

    /// Checks that `host` signed it.
    pub fn verify(&self, host: NodeId) -> Result<(), identity::Error> {
        host.verify(Label::RevocationEpoch, &Self::statement(host, self.number, self.at_ms), &self.signature)
    }

    pub(super) fn statement(host: NodeId, number: u64, at_ms: u64) -> [u8; 32] {
        Transcript::new("farhelm/1 revocation epoch").bytes(host.as_bytes()).number(number).number(at_ms).finish()
    }
}
