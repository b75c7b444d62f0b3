//! The handshake: one X25519 exchange, two signatures, one pre-shared secret (`node/PROTOCOL.md` §3).
//!
//! The ticket's secret in mode *pair*, the pairing secret in mode *resume*; both peer ids are those that the swarm saw.
//! All failures look alike to the peer: the stream closes. Only who has shown a valid gate, or the paired key, gets a
//! signature, and with it a reason.

pub mod host;
mod message;
pub mod phone;
#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

use serde::{Deserialize, Serialize};

use super::key_schedule::{Early, Secrets};
use super::rekey::{Role, Root};
use super::{record, transcript::Transcript};
use crate::identity::{self, NodeId, Signature};
use crate::pairing::{Refusal, Tombstone};

/// Suite 1: X25519, Ed25519, HKDF-SHA256, AES-256-GCM.
pub(crate) const SUITE: u8 = 1;
/// The version of the handshake.
pub(crate) const VERSION: u8 = 1;

/// A first contact, by ticket.
#[derive(Debug)]
pub struct Pair;
/// A return, by pairing secret.
#[derive(Debug)]
pub struct Resume;

/// Why a handshake ended without a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message that isn't one: too long, malformed, or with unknown fields. Peer's fault.
    #[error("malformed handshake message: {0}")]
    Message(#[from] crate::wire::cbor::Error),
    /// A version, suite or mode this build doesn't speak.
    #[error("the peer speaks another version of the protocol; update the older of the two programs")]
    Unsupported,
    /// The peer's X25519 key contributes nothing (all-zero result).
    #[error("the peer's key exchange is degenerate")]
    Degenerate,
    /// The phone doesn't know the ticket's secret.
    #[error("the phone does not know the ticket's secret")]
    Gate,
    /// A signature or a seal that doesn't verify: an impostor, or a transport that alters bytes.
    #[error("the peer did not prove its key")]
    Unproven,
    /// The host's key isn't the one of the ticket or the pairing.
    #[error("another host answered; do not trust this path, and pair again at the desk if it stays so")]
    OtherHost,
    /// The host said why, under the session key.
    #[error("{0}")]
    Refused(Refusal),
    /// The host showed a tombstone: this phone was removed.
    #[error("this phone was removed from the host; pair again")]
    Removed(Tombstone),
    /// The record that should have carried the answer.
    #[error(transparent)]
    Record(#[from] record::Error),
}

impl From<identity::Error> for Error {
    fn from(_: identity::Error) -> Self {
        Self::Unproven
    }
}

/// The host's last word, the first record under the session key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Answer {
    Accepted { host_name: String },
    Refused(Refusal),
}

/// `th1`: both peer ids and both hellos exactly as received.
fn th1(phone: NodeId, host: NodeId, hello_p: &[u8], hello_h: &[u8]) -> [u8; 32] {
    Transcript::new("farhelm/1 handshake")
        .number(SUITE.into())
        .bytes(&phone.to_peer_id().to_bytes())
        .bytes(&host.to_peer_id().to_bytes())
        .bytes(hello_p)
        .bytes(hello_h)
        .finish()
}

fn th2(th1: &[u8; 32], signature: &Signature, phone: NodeId) -> [u8; 32] {
    Transcript::new("farhelm/1 th2").bytes(th1).bytes(signature.as_bytes()).bytes(phone.as_bytes()).finish()
}

fn th3(th2: &[u8; 32], auth: &[u8]) -> [u8; 32] {
    Transcript::new("farhelm/1 th3").bytes(th2).bytes(auth).finish()
}

/// What both sides hold between the hellos and `auth`.
struct Exchanged {
    phone: NodeId,
    host: NodeId,
    early: Early,
    th2: [u8; 32],
}

impl Exchanged {
    /// Every key of the session, and the transcript they are bound to.
    fn session(&self, auth: &[u8]) -> Secrets {
        self.early.session(&th3(&self.th2, auth))
    }

    /// What this side's rekeys start from.
    fn root(&self, role: Role, secrets: &Secrets) -> Root {
        Root::new(role, self.phone, self.host, secrets.root())
    }
}

/// A 256-bit secret drawn for one exchange.
pub(super) fn ephemeral(rng: &mut impl rand_core::CryptoRng) -> x25519_dalek::StaticSecret {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *seed);
    x25519_dalek::StaticSecret::from(*seed)
}

/// X25519 (RFC 7748 §6.1), all-zero results refused.
pub(super) fn agree(ours: &x25519_dalek::StaticSecret, theirs: [u8; 32]) -> Result<x25519_dalek::SharedSecret, Error> {
    let shared = ours.diffie_hellman(&x25519_dalek::PublicKey::from(theirs));
    if shared.was_contributory() { Ok(shared) } else { Err(Error::Degenerate) }
}
