//! A person's decision: the signature of `node/PROTOCOL.md` §6 over everything that was shown.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::approval::Key;
use crate::identity::Signature;

/// What a person may decide from a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// Do it, this once.
    Accept,
    /// Don't; the turn goes on.
    Decline,
    /// Don't, and end the turn.
    Cancel,
}

/// A decision as it travels. There is no unsigned form.
///
/// It names the approval and the digest; the host rebuilds the signed statement from its own ledger, so nothing a
/// phone sends can widen what is approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedDecision {
    /// The approval.
    pub key: Key,
    /// What the person chose.
    pub decision: Decision,
    /// Digest of the content that was on the screen.
    pub digest: ByteArray<32>,
    /// Over label `farhelm/1 decision` and the statement.
    pub signature: Signature,
}
