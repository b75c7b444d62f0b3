//! A person's decision: the signature of `node/PROTOCOL.md` §6 over everything that was shown.
//!
//! ```text
//!  phone: Approval on the screen ─ sign ─► SignedDecision ──wire──► host: verify against its own ledger entry
//!                                                                        └─► VerifiedDecision ─ reply ─► Codex
//! ```
//!
//! # Why the host rebuilds the statement
//! The wire form carries no content. The host signs nothing new and trusts nothing sent: it hashes what it showed,
//! and the signature holds only if the phone hashed the same. A [`VerifiedDecision`] can't be made any other way, and
//! it is what an answer to Codex is made from.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use serde_json::json;
use subtle::ConstantTimeEq;

use super::approval::{Approval, Key};
use super::message::{self, Id};
use crate::identity::{Identity, Label, NodeId, Signature};
use crate::session::transcript::Transcript;

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

impl Decision {
    /// The word Codex knows it by, which is also what is signed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Decline => "decline",
            Self::Cancel => "cancel",
        }
    }
}

/// Why a decision isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It names another approval than the one it is held against.
    #[error("the decision is about another approval; reload and look again")]
    OtherApproval,
    /// The digest isn't that of what this host shows.
    #[error("the decision is about other content than is shown now; reload and look again")]
    OtherContent,
    /// The signature isn't this device's over this host's statement.
    #[error("the decision is not signed by this device for this host; pair again if this happens twice")]
    Signature,
    /// It can't be shown whole, so it can't be accepted from a phone.
    #[error("this can't be shown whole, so it can't be accepted from here; decline it, or decide at the desk")]
    NotAcceptable,
}

/// What is signed: a hash over host, approval, content digest, decision and deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement([u8; 32]);

impl Statement {
    /// Fields in the order of `node/PROTOCOL.md` §6, through [`Transcript`].
    pub fn new(host: NodeId, approval: &Approval, decision: Decision) -> Self {
        let Approval { key, environment, thread, turn, item, content, deadline_ms } = approval;
        let hash = Transcript::new("farhelm/1 statement")
            .bytes(host.as_bytes())
            .text(environment)
            .text(thread)
            .text(turn)
            .text(item)
            .bytes(&*key.epoch)
            .bytes(&key.request.to_be_bytes())
            .bytes(&content.digest())
            .text(decision.as_str())
            .number(*deadline_ms)
            .finish();
        Self(hash)
    }

    /// The 32 bytes that follow the label in the signature.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
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

impl SignedDecision {
    /// Signs a person's decision on what was on the screen. Accepting what can't be shown whole is refused.
    pub fn sign(identity: &Identity, host: NodeId, approval: &Approval, decision: Decision) -> Result<Self, Error> {
        if decision == Decision::Accept && !approval.acceptable() {
            return Err(Error::NotAcceptable);
        }
        let statement = Statement::new(host, approval, decision);
        Ok(Self {
            key: approval.key,
            decision,
            digest: ByteArray::new(approval.digest()),
            signature: identity.sign(Label::Decision, statement.as_bytes()),
        })
    }

    /// Holds the decision of `device` against the host's own ledger entry. Deadline, rights and "first one wins" are
    /// the ledger's to check.
    pub fn verify(&self, device: NodeId, host: NodeId, approval: &Approval) -> Result<VerifiedDecision, Error> {
        if self.key != approval.key {
            return Err(Error::OtherApproval);
        }
        if !bool::from(self.digest.ct_eq(&approval.digest())) {
            return Err(Error::OtherContent);
        }
        let statement = Statement::new(host, approval, self.decision);
        device.verify(Label::Decision, statement.as_bytes(), &self.signature).map_err(|_| Error::Signature)?;
        if self.decision == Decision::Accept && !approval.acceptable() {
            return Err(Error::NotAcceptable);
        }
        Ok(VerifiedDecision { key: self.key, decision: self.decision, device })
    }
}

/// Proof that a device's signature over this host's own ledger entry was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedDecision {
    key: Key,
    decision: Decision,
    device: NodeId,
}

impl VerifiedDecision {
    /// The approval.
    pub const fn key(&self) -> Key {
        self.key
    }

    /// What the person chose.
    pub const fn decision(&self) -> Decision {
        self.decision
    }

    /// The device it came from.
    pub const fn device(&self) -> NodeId {
        self.device
    }

    /// The text that answers Codex.
    pub fn reply(&self) -> String {
        answer(self.key.request, self.decision)
    }
}

/// The text that declines a request nobody decided in time. Declining needs no proof.
pub fn decline(key: Key) -> String {
    answer(key.request, Decision::Decline)
}

fn answer(request: i64, decision: Decision) -> String {
    message::response(&Id::Number(request), &json!({ "decision": decision.as_str() }))
}
