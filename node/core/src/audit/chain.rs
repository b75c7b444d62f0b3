//! The end of a chain, where the next record goes. It holds no records: whoever stores them has them.

use super::head::Head;
use super::record::Record;
use crate::identity::{Identity, NodeId};
use crate::session::transcript::Transcript;

/// A link's hash.
pub type Hash = [u8; 32];

/// A record as it is stored: its bytes, and the link to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Over the link before and the bytes.
    pub link: Hash,
    /// The record, exactly as it was encoded.
    pub record: Vec<u8>,
}

/// The link to nothing: each host has its own, so that no chain can stand in for another's.
pub(super) fn beginning(host: NodeId) -> Hash {
    Transcript::new("farhelm/1 audit begin").bytes(host.as_bytes()).finish()
}

/// The link to `record` after `before`.
pub(super) fn link(before: &Hash, record: &[u8]) -> Hash {
    Transcript::new("farhelm/1 audit link").bytes(before).bytes(record).finish()
}

/// Where a host's chain ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    host: NodeId,
    seq: u64,
    hash: Hash,
}

impl Chain {
    /// A chain without records.
    pub fn begin(host: NodeId) -> Self {
        Self { host, seq: 0, hash: beginning(host) }
    }

    /// The chain that ended at a head. Whether its signature holds was for [`Head::verify`] to say.
    pub fn after(head: &Head) -> Self {
        Self { host: head.host, seq: head.seq, hash: *head.hash }
    }

    pub(super) const fn at(host: NodeId, seq: u64, hash: Hash) -> Self {
        Self { host, seq, hash }
    }

    /// The number of the last record; 0 before the first.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The link to the last record.
    pub const fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Gives the record its number and the chain its next link. Whoever can't store the entry goes on from the chain
    /// as it was before.
    pub fn append(&mut self, record: &mut Record) -> Entry {
        record.seq = self.seq + 1;
        let bytes = record.encode();
        self.hash = link(&self.hash, &bytes);
        self.seq = record.seq;
        Entry { link: self.hash, record: bytes }
    }

    /// The chain with one more entry, which was found to fit.
    #[must_use]
    pub const fn with(&self, entry: &Entry) -> Self {
        Self { host: self.host, seq: self.seq + 1, hash: entry.link }
    }

    /// The end, signed.
    pub fn head(&self, host: &Identity, at_ms: u64) -> Head {
        Head::sign(host, self.seq, self.hash, at_ms)
    }
}
