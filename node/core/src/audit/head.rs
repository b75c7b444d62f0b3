//! A signed head: the host's word on how far its chain went, for somebody else to keep.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::chain::Hash;
use crate::identity::{self, Identity, Label, NodeId, Signature};
use crate::session::transcript::Transcript;
use crate::wire::{cbor, limits};

/// How far a host's chain went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Head {
    /// Whose chain.
    pub host: NodeId,
    /// The last record; 0 before the first.
    pub seq: u64,
    /// The link to it.
    pub hash: ByteArray<32>,
    /// When it was signed, in Unix milliseconds by the host's clock.
    pub at_ms: u64,
    /// Over all of these, label `farhelm/1 audit-head`.
    pub signature: Signature,
}

/// Why a head can't follow the one that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Backwards {
    /// It isn't this host's signature.
    #[error("the record's head is not signed by this host")]
    Signature,
    /// The chain ends before where it ended then.
    #[error("the host's record was shortened: it had {kept} entries and now has {found}")]
    Shortened {
        /// How far it went.
        kept: u64,
        /// How far it goes now.
        found: u64,
    },
    /// It ends at the same record with another hash.
    #[error("the host's record was changed: entry {at} is not what it was")]
    Changed {
        /// Which record.
        at: u64,
    },
}

impl Head {
    /// Signs the end of a chain.
    pub(super) fn sign(host: &Identity, seq: u64, hash: Hash, at_ms: u64) -> Self {
        let statement = Self::statement(host.node_id(), seq, &hash, at_ms);
        let signature = host.sign(Label::AuditHead, &statement);
        Self { host: host.node_id(), seq, hash: ByteArray::new(hash), at_ms, signature }
    }

    /// Checks that `host` signed it.
    pub fn verify(&self, host: NodeId) -> Result<(), identity::Error> {
        let statement = Self::statement(host, self.seq, &self.hash, self.at_ms);
        host.verify(Label::AuditHead, &statement, &self.signature)
    }

    /// Checks that `next` may take this one's place. What lies between two heads only the records can show.
    pub fn followed_by(&self, next: &Self) -> Result<(), Backwards> {
        next.verify(self.host).map_err(|_| Backwards::Signature)?;
        if next.seq < self.seq {
            return Err(Backwards::Shortened { kept: self.seq, found: next.seq });
        }
        if next.seq == self.seq && next.hash != self.hash {
            return Err(Backwards::Changed { at: self.seq });
        }
        Ok(())
    }

    /// As bytes, for a file or a message.
    pub fn encode(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads a head; whether it is signed is for [`Head::verify`] to say.
    pub fn decode(bytes: &[u8]) -> Result<Self, cbor::Error> {
        cbor::from_slice(bytes, limits::AUDIT_HEAD)
    }

    pub(super) fn statement(host: NodeId, seq: u64, hash: &Hash, at_ms: u64) -> Hash {
        Transcript::new("farhelm/1 audit head").bytes(host.as_bytes()).number(seq).bytes(hash).number(at_ms).finish()
    }
}
