//! Who a node is: one Ed25519 key, which is also its libp2p peer id.
//!
//! libp2p already signs with this key (`libp2p-tls-handshake:`, `noise-libp2p-static-key:`), so every signature of
//! ours starts with a [`Label`] of its own and a zero byte: a signature made for one purpose can't serve another.
//! Verification is strict (RFC 8032 with the cofactorless equation, no small-order keys).

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, VerifyingKey};
use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What a signature is for. The text is the first thing that is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// The host answers a handshake (`node/PROTOCOL.md` §3).
    HostHello,
    /// The phone proves its key in a handshake (§3).
    PhoneAuth,
    /// A person's decision on an approval (§6).
    Decision,
    /// A host tells a revoked device so (§6).
    Tombstone,
    /// How far a host's audit chain goes (§6.9).
    AuditHead,
    /// How often a host has taken something away from a device (§6.8).
    RevocationEpoch,
}

impl Label {
    /// Every label there is, for the test that none is a prefix of another.
    pub const ALL: [Self; 6] =
        [Self::HostHello, Self::PhoneAuth, Self::Decision, Self::Tombstone, Self::AuditHead, Self::RevocationEpoch];

    /// The text as it is signed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostHello => "farhelm/1 host-hello",
            Self::PhoneAuth => "farhelm/1 phone-auth",
            Self::Decision => "farhelm/1 decision",
            Self::Tombstone => "farhelm/1 tombstone",
            Self::AuditHead => "farhelm/1 audit-head",
            Self::RevocationEpoch => "farhelm/1 revocation-epoch",
        }
    }
}

/// Why a key or a signature isn't one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no usable Ed25519 public key (not a point, or of small order).
    #[error("not a usable Ed25519 public key")]
    Key,
    /// The peer id isn't one of an Ed25519 key, so it can't be a Farhelm node.
    #[error("not the peer id of an Ed25519 key (those start with 12D3KooW)")]
    PeerId,
    /// The signature doesn't verify under this key and label.
    #[error("the signature does not verify")]
    Signature,
}

/// A node's public key, shown to people and to libp2p as its peer id (`12D3KooW…`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "serde_bytes::ByteArray<32>", into = "serde_bytes::ByteArray<32>")]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// Takes the 32 bytes of a public key; refuses what no honest node has.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, Error> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| Error::Key)?;
        if key.is_weak() {
            return Err(Error::Key);
        }
        Ok(Self(bytes))
    }

    /// The node behind a libp2p peer id, which carries the key itself (identity multihash).
    pub fn from_peer_id(peer: &PeerId) -> Result<Self, Error> {
        // An identity multihash: code 0, length, then the protobuf of the key.
        let bytes = peer.to_bytes();
        let [0, _, protobuf @ ..] = &bytes[..] else { return Err(Error::PeerId) };
        let public = libp2p_identity::PublicKey::try_decode_protobuf(protobuf).map_err(|_| Error::PeerId)?;
        let key = public.try_into_ed25519().map_err(|_| Error::PeerId)?;
        Self::from_bytes(key.to_bytes())
    }

    /// The raw public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The libp2p peer id of the same key.
    pub fn to_peer_id(&self) -> PeerId {
        let key = libp2p_identity::ed25519::PublicKey::try_from_bytes(&self.0).expect("checked in from_bytes");
        libp2p_identity::PublicKey::from(key).to_peer_id()
    }

    /// Checks `signature` over `label`, a zero byte and `message`.
    pub fn verify(&self, label: Label, message: &[u8], signature: &Signature) -> Result<(), Error> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| Error::Key)?;
        let signature = DalekSignature::from_bytes(&signature.0);
        key.verify_strict(&labelled(label, message), &signature).map_err(|_| Error::Signature)
    }
}

impl TryFrom<serde_bytes::ByteArray<32>> for NodeId {
    type Error = Error;
    fn try_from(bytes: serde_bytes::ByteArray<32>) -> Result<Self, Error> {
        Self::from_bytes(bytes.into_array())
    }
}

impl From<NodeId> for serde_bytes::ByteArray<32> {
    fn from(id: NodeId) -> Self {
        Self::new(id.0)
    }
}

impl FromStr for NodeId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::from_peer_id(&text.parse().map_err(|_| Error::PeerId)?)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_peer_id().fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// An Ed25519 signature over a labelled message, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "serde_bytes::ByteArray<64>", into = "serde_bytes::ByteArray<64>")]
pub struct Signature([u8; 64]);

impl Signature {
    /// Any 64 bytes; whether they sign anything is for [`NodeId::verify`] to say.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl From<serde_bytes::ByteArray<64>> for Signature {
    fn from(bytes: serde_bytes::ByteArray<64>) -> Self {
        Self(bytes.into_array())
    }
}

impl From<Signature> for serde_bytes::ByteArray<64> {
    fn from(signature: Signature) -> Self {
        Self::new(signature.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}…)", data_encoding::HEXLOWER.encode(&self.0[..4]))
    }
}

/// A node's secret key. Zeroized on drop; its `Debug` shows the public half only.
#[derive(Clone)]
pub struct Identity(SigningKey);

impl Identity {
    /// A new key from the given random source.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self::from_seed(&seed)
    }

    /// The key of a stored seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to store it or to give libp2p the same key.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs `label`, a zero byte and `message`.
    pub fn sign(&self, label: Label, message: &[u8]) -> Signature {
        Signature(self.0.sign(&labelled(label, message)).to_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.node_id())
    }
}

fn labelled(label: Label, message: &[u8]) -> Vec<u8> {
    [label.as_str().as_bytes(), &[0], message].concat()
}

#[cfg(test)]
mod published;

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity::from_seed(&[7; 32])
    }

    #[test]
    fn a_signature_holds_for_its_label_only() {
        let signature = identity().sign(Label::Decision, b"yes");
        let id = identity().node_id();
        assert_eq!(id.verify(Label::Decision, b"yes", &signature), Ok(()));
        assert_eq!(id.verify(Label::PhoneAuth, b"yes", &signature), Err(Error::Signature));
        assert_eq!(id.verify(Label::Decision, b"no", &signature), Err(Error::Signature));
    }

    #[test]
    fn no_label_is_a_prefix_of_another_or_of_libp2ps() {
        let mut texts: Vec<_> = Label::ALL.iter().map(|l| l.as_str()).collect();
        texts.extend(["libp2p-tls-handshake:", "noise-libp2p-static-key:"]);
        for (i, a) in texts.iter().enumerate() {
            assert!(texts.iter().enumerate().all(|(j, b)| i == j || !b.starts_with(a)));
        }
    }

    #[test]
    fn peer_id_and_node_id_are_the_same_key() {
        let id = identity().node_id();
        assert!(id.to_string().starts_with("12D3KooW"));
        assert_eq!(NodeId::from_peer_id(&id.to_peer_id()), Ok(id));
        assert_eq!(id.to_string().parse::<NodeId>(), Ok(id));
    }

    #[test]
    fn a_peer_id_without_an_ed25519_key_is_refused() {
        assert_eq!("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse::<NodeId>(), Err(Error::PeerId));
    }

    #[test]
    fn keys_of_small_order_are_refused() {
        assert_eq!(NodeId::from_bytes([0; 32]), Err(Error::Key));
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(NodeId::from_bytes(one), Err(Error::Key));
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let shown = format!("{:?}", identity());
        assert!(!shown.contains("7, 7") && !shown.contains("0707"), "{shown}");
    }
}
