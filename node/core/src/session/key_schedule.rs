//! From one X25519 exchange and one pre-shared secret to every key of a session (HKDF-SHA256, RFC 5869).
//!
//! ```text
//! prk   = Extract(salt th1, X25519 ‖ psk)      k_auth, chain = Expand(prk, …)
//! prk'  = Extract(salt th3, chain)             keys, IVs, words, pairing secret, root = Expand(prk', …)
//! prk'' = Extract(salt root, X25519 ‖ hash)    keys, IVs, next root = Expand(prk'', …)       (a rekey)
//! ```

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::record::{Keys, Opener, Sealer};

/// What a pairing leaves on both sides, and every later handshake mixes in: 32 secret bytes.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PairingSecret([u8; 32]);

impl PairingSecret {
    /// Takes the bytes back from a store.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PairingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingSecret(…)")
    }
}

/// Keys that exist once both hellos are known.
pub(super) struct Early(Hkdf<Sha256>);

impl Early {
    /// `th1` binds the hellos; `psk` is the ticket's secret (pair) or the pairing secret (resume).
    pub(super) fn new(th1: &[u8; 32], exchange: &[u8; 32], psk: &[u8]) -> Self {
        let ikm = Zeroizing::new([exchange, psk].concat());
        Self(Hkdf::new(Some(th1), &ikm))
    }

    /// Encrypts the phone's `auth`, once.
    pub(super) fn auth_key(&self) -> Zeroizing<[u8; 32]> {
        expand(&self.0, "farhelm/1 auth")
    }

    /// The session's keys, bound to the whole handshake by `th3`.
    pub(super) fn session(&self, th3: &[u8; 32]) -> Secrets {
        let chain: Zeroizing<[u8; 32]> = expand(&self.0, "farhelm/1 chain");
        Secrets(Hkdf::new(Some(th3), &*chain))
    }
}

/// The keys of one session.
pub(super) struct Secrets(Hkdf<Sha256>);

impl Secrets {
    /// What the phone seals with and the host opens with.
    pub(super) fn phone_to_host(&self) -> (Sealer, Opener) {
        self.direction("farhelm/1 phone key", "farhelm/1 phone iv")
    }

    /// What the host seals with and the phone opens with.
    pub(super) fn host_to_phone(&self) -> (Sealer, Opener) {
        self.direction("farhelm/1 host key", "farhelm/1 host iv")
    }

    /// Four numbers of 11 bits, which both sides show as words.
    pub(super) fn words(&self) -> [u16; 4] {
        let bytes: Zeroizing<[u8; 8]> = expand(&self.0, "farhelm/1 words");
        let bits = u64::from_be_bytes(*bytes);
        [53, 42, 31, 20].map(|shift| (bits >> shift) as u16 & 0x7ff)
    }

    /// The secret that later handshakes use as `psk`.
    pub(super) fn pairing_secret(&self) -> PairingSecret {
        PairingSecret(*expand(&self.0, "farhelm/1 pairing"))
    }

    /// What the first rekey starts from.
    pub(super) fn root(&self) -> Zeroizing<[u8; 32]> {
        expand(&self.0, "farhelm/1 rekey root")
    }

    fn direction(&self, key: &str, iv: &str) -> (Sealer, Opener) {
        let (key, iv) = (expand::<32>(&self.0, key), *expand::<12>(&self.0, iv));
        (Sealer::new(&key, iv), Opener::new(&key, iv))
    }
}

/// The keys of the epoch after a rekey.
pub(super) struct Rekeyed(Hkdf<Sha256>);

impl Rekeyed {
    /// `root` is the last one, `hash` binds both messages of the rekey. Without `exchange`, an old root gives nothing.
    pub(super) fn new(root: &[u8; 32], exchange: &[u8; 32], hash: &[u8; 32]) -> Self {
        let ikm = Zeroizing::new([*exchange, *hash].concat());
        Self(Hkdf::new(Some(root), &ikm))
    }

    /// What the next rekey starts from.
    pub(super) fn root(&self) -> Zeroizing<[u8; 32]> {
        expand(&self.0, "farhelm/1 rekey root")
    }

    /// What the phone seals with and the host opens with.
    pub(super) fn phone_to_host(&self, epoch: u32) -> Keys {
        let (key, iv) = (expand(&self.0, "farhelm/1 rekey phone key"), expand(&self.0, "farhelm/1 rekey phone iv"));
        Keys { epoch, key, iv }
    }

    /// What the host seals with and the phone opens with.
    pub(super) fn host_to_phone(&self, epoch: u32) -> Keys {
        let (key, iv) = (expand(&self.0, "farhelm/1 rekey host key"), expand(&self.0, "farhelm/1 rekey host iv"));
        Keys { epoch, key, iv }
    }
}

fn expand<const N: usize>(prk: &Hkdf<Sha256>, label: &str) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    prk.expand(label.as_bytes(), &mut *out).expect("N is far below HKDF's limit of 255 blocks");
    out
}

#[cfg(test)]
mod published;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_agrees_with_rfc_5869_case_1() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let mut okm = [0; 42];
        Hkdf::<Sha256>::new(Some(&salt), &[0x0b; 22]).expand(&info, &mut okm).unwrap();
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        assert_eq!(data_encoding::HEXLOWER.encode(&okm), expected);
    }

    #[test]
    fn directions_and_transcripts_have_their_own_keys() {
        let early = Early::new(&[1; 32], &[2; 32], b"psk");
        let seal = |mut pair: (Sealer, Opener)| pair.0.seal(b"x").unwrap();
        let a = seal(early.session(&[3; 32]).phone_to_host());
        let b = seal(early.session(&[3; 32]).host_to_phone());
        let c = seal(early.session(&[4; 32]).phone_to_host());
        let d = seal(Early::new(&[1; 32], &[2; 32], b"other").session(&[3; 32]).phone_to_host());
        assert!(a != b && a != c && a != d && b != c);
    }
}
