//! The four messages. Unlike envelopes they refuse unknown fields: nothing in a handshake is skipped.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use sha2::Sha256;

use super::Error;
use crate::identity::{NodeId, Signature};
use crate::pairing::{TicketId, TicketSecret, Tombstone};
use crate::session::transcript::Transcript;

/// phone → host, in the clear.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HelloPhone {
    pub(super) v: u8,
    pub(super) suites: Vec<u8>,
    pub(super) mode: Mode,
    pub(super) e: ByteArray<32>,
    pub(super) n: ByteArray<32>,
}

/// Which secret is mixed in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) enum Mode {
    Pair { ticket: TicketId, gate: ByteArray<32> },
    Resume,
}

/// host → phone, in the clear.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) enum Reply {
    Hello { hello: ByteBuf, signature: Signature },
    Tombstone(Tombstone),
}

/// The signed part of the host's hello.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HelloHost {
    pub(super) v: u8,
    pub(super) suite: u8,
    pub(super) e: ByteArray<32>,
    pub(super) n: ByteArray<32>,
    pub(super) key: NodeId,
}

/// phone → host, sealed under `k_auth`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auth {
    pub(super) signature: Signature,
    pub(super) name: String,
}

/// Seals `auth`. The key serves once, so the nonce is zero; `th2` is the associated data.
pub(super) fn seal_auth(key: &[u8; 32], th2: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
    let payload = Payload { msg: plaintext, aad: th2 };
    Aes256Gcm::new(&(*key).into()).encrypt(&[0; 12].into(), payload).expect("a few hundred bytes fit AES-GCM")
}

/// Opens `auth`.
pub(super) fn open_auth(key: &[u8; 32], th2: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let payload = Payload { msg: sealed, aad: th2 };
    Aes256Gcm::new(&(*key).into()).decrypt(&[0; 12].into(), payload).map_err(|_| Error::Unproven)
}

/// The gate: who made it knows the ticket's secret, and made it for these two peers and this exchange.
pub(super) struct Gate<'a> {
    pub(super) phone: NodeId,
    pub(super) host: NodeId,
    pub(super) e: &'a [u8; 32],
    pub(super) n: &'a [u8; 32],
}

impl Gate<'_> {
    pub(super) fn make(&self, secret: &TicketSecret) -> [u8; 32] {
        self.mac(secret).finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub(super) fn verify(&self, secret: &TicketSecret, gate: &[u8; 32]) -> Result<(), Error> {
        self.mac(secret).verify_slice(gate).map_err(|_| Error::Gate)
    }

    fn mac(&self, secret: &TicketSecret) -> Hmac<Sha256> {
        let fields = Transcript::new("farhelm/1 gate")
            .bytes(&self.phone.to_peer_id().to_bytes())
            .bytes(&self.host.to_peer_id().to_bytes())
            .bytes(self.e)
            .bytes(self.n)
            .finish();
        let mut mac = Hmac::<Sha256>::new_from_slice(&*secret.gate_key()).expect("HMAC takes any key length");
        mac.update(&fields);
        mac
    }
}
