//! Pairing: what the QR carries, how an offer may end, what a removed phone is shown, and what the others keep
//! of removals.

mod revocation_epoch;
pub mod ticket;

pub use revocation_epoch::RevocationEpoch;
pub use ticket::{Ticket, TicketId, TicketSecret};

use serde::{Deserialize, Serialize};

use crate::identity::{self, Identity, Label, NodeId, Signature};
use crate::session::transcript::Transcript;

/// Why a host sends away a phone that knows the ticket's secret, or a paired one. One coarse word, under the session
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// The desk said no; the ticket is void.
    #[error("declined at the desk; ask for a new code with `farhelm pair`")]
    Declined,
    /// Too late, by the host's clock: for this ticket, or in a resume for this device.
    #[error("this code has expired by the host's clock; ask for a new one with `farhelm pair`")]
    Expired,
    /// Somebody used it before.
    #[error("this code has been used already; if that was not you, look at `farhelm devices` on the host")]
    Spent,
    /// The host's owner has switched remote connections off.
    #[error("the host's owner has switched remote connections off; have them switched on at the desk")]
    SwitchedOff,
    /// The host is frozen: it lets no phone in until a person at the desk thaws it.
    #[error("the host is frozen; thaw it at the desk with `farhelm thaw`")]
    Frozen,
    /// The device isn't entitled any more, or the host can't take it now.
    #[error("the host does not take this phone now; look at the desk")]
    Unavailable,
}

/// The 44 bits both sides compare, as words of BIP-39's English list (public, 2048 words, 11 bits each).
pub fn words(numbers: [u16; 4]) -> [&'static str; 4] {
    let list = bip39::Language::English.word_list();
    numbers.map(|number| list[usize::from(number & 0x7ff)])
}

/// The host's signed word that a device was removed. It is all that a removed device gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tombstone {
    /// When, in Unix milliseconds by the host's clock.
    pub revoked_at_ms: u64,
    /// Over host, device and time, label `farhelm/1 tombstone`.
    pub signature: Signature,
}

impl Tombstone {
    /// Signs that `device` was removed.
    pub fn sign(host: &Identity, device: NodeId, revoked_at_ms: u64) -> Self {
        let statement = Self::statement(host.node_id(), device, revoked_at_ms);
        Self { revoked_at_ms, signature: host.sign(Label::Tombstone, &statement) }
    }

    /// Checks that `host` removed `device`.
    pub fn verify(&self, host: NodeId, device: NodeId) -> Result<(), identity::Error> {
        let statement = Self::statement(host, device, self.revoked_at_ms);
        host.verify(Label::Tombstone, &statement, &self.signature)
    }

    fn statement(host: NodeId, device: NodeId, revoked_at_ms: u64) -> [u8; 32] {
        Transcript::new("farhelm/1 tombstone")
            .bytes(host.as_bytes())
            .bytes(device.as_bytes())
            .number(revoked_at_ms)
            .finish()
    }
}

#[cfg(test)]
mod vectors;
