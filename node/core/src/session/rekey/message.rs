//! What the two sides of a rekey say to each other. Nothing in it is skipped: what is said is what is hashed.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use x25519_dalek::{PublicKey, StaticSecret};

/// A message of a rekey, an envelope of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Phone → host: starts a rekey.
    Rekey(Share),
    /// Host → phone: the answer; both now have the new keys.
    Rekeyed(Share),
    /// Either way: the sender's last frame under its old key.
    Switch(Epoch),
    /// Host → phone: start a rekey, please.
    Ask(Epoch),
}

/// One side's fresh key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The epoch that is made.
    pub epoch: u32,
    /// A fresh X25519 public key.
    pub key: ByteArray<32>,
}

impl Share {
    pub(super) fn new(epoch: u32, secret: &StaticSecret) -> Self {
        Self { epoch, key: ByteArray::new(PublicKey::from(secret).to_bytes()) }
    }
}

/// Which epoch: the one that a switch leads to, or the one that a host wants to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Its number.
    pub epoch: u32,
}
