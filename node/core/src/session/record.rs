//! Records: AES-256-GCM over at most [`limits::FRAME`] bytes, with exact counters and the header as associated data.
//!
//! ```text
//! frame = key epoch (u32) ‖ counter (u64) ‖ length of what follows (u16) ‖ ciphertext ‖ tag (16)
//! nonce = iv xor (counter, right-aligned, big endian)                                 all big endian
//! ```
//! The receiver takes the exact next counter and nothing else. The first failure ends it for good: whoever can flip
//! one bit gets one closed path, not an oracle.
//!
//! # Why there is an end
//! Keys serve [`MAX_FRAMES`] frames or [`MAX_BYTES`] bytes. Until the session rekeys in place, the phone meets the
//! end by a resume handshake, which costs one round trip and brings fresh keys.

use std::fmt;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};

use crate::wire::limits;

/// Bytes of the header.
pub const HEADER: usize = 14;
/// Bytes of the authentication tag.
pub const TAG: usize = 16;
/// The longest plaintext of a record.
pub const MAX_PLAINTEXT: usize = limits::FRAME - HEADER - TAG;
/// Frames under one key: far inside GCM's bounds, and the point at which rekeying starts (2^18).
pub const MAX_FRAMES: u64 = 1 << 18;
/// Plaintext bytes under one key: 1 GiB.
pub const MAX_BYTES: u64 = 1 << 30;

/// Why a record was not sealed or not opened. Any error is final for the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More plaintext than a record holds; the caller fragments.
    #[error("{0} bytes do not fit a record")]
    TooLong(usize),
    /// The header announces a length no record has. Peer's fault.
    #[error("the peer announced a record of {0} bytes")]
    Length(usize),
    /// Not the next counter, or another key epoch: replayed, reordered or lost. Peer's or network's fault.
    #[error("a record out of order")]
    Order,
    /// Not sealed under this key with this header. Peer's or network's fault.
    #[error("a record that does not verify")]
    Forged,
    /// These keys have served their time; resume the session.
    #[error("these keys are used up; resume the session")]
    Exhausted,
    /// An earlier record failed; nothing is opened after that.
    #[error("this path is closed")]
    Closed,
}

/// The plain part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    epoch: u32,
    counter: u64,
    length: u16,
}

impl Header {
    /// Reads a header and judges its length, before anything is allocated for what follows.
    pub fn read(bytes: &[u8; HEADER]) -> Result<Self, Error> {
        let [e0, e1, e2, e3, c0, c1, c2, c3, c4, c5, c6, c7, l0, l1] = *bytes;
        let length = u16::from_be_bytes([l0, l1]);
        if usize::from(length) < TAG || HEADER + usize::from(length) > limits::FRAME {
            return Err(Error::Length(length.into()));
        }
        let epoch = u32::from_be_bytes([e0, e1, e2, e3]);
        Ok(Self { epoch, counter: u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]), length })
    }

    /// Bytes that follow the header.
    pub const fn length(&self) -> usize {
        self.length as usize
    }

    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.counter.to_be_bytes());
        bytes[12..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }
}

/// One direction's key, IV and position.
struct Direction {
    cipher: Aes256Gcm,
    iv: [u8; 12],
    counter: u64,
    bytes: u64,
}

impl Direction {
    fn new(key: &[u8; 32], iv: [u8; 12]) -> Self {
        Self { cipher: Aes256Gcm::new(&(*key).into()), iv, counter: 0, bytes: 0 }
    }

    fn header(&self, length: usize) -> Header {
        // Key epoch 0: the field is part of every header, so that rekeying changes no format.
        Header { epoch: 0, counter: self.counter, length: length as u16 }
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (n, c) in nonce[4..].iter_mut().zip(self.counter.to_be_bytes()) {
            *n ^= c;
        }
        nonce
    }

    fn advance(&mut self, bytes: usize) {
        self.counter += 1;
        self.bytes += bytes as u64;
    }

    const fn exhausted(&self) -> bool {
        self.counter >= MAX_FRAMES || self.bytes >= MAX_BYTES
    }
}

/// Seals records in one direction. The cipher's key schedule is zeroized on drop.
pub struct Sealer(Direction);

impl Sealer {
    pub(super) fn new(key: &[u8; 32], iv: [u8; 12]) -> Self {
        Self(Direction::new(key, iv))
    }

    /// One frame, header first.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(Error::TooLong(plaintext.len()));
        }
        if self.0.exhausted() {
            return Err(Error::Exhausted);
        }
        let header = self.0.header(plaintext.len() + TAG).to_bytes();
        let payload = Payload { msg: plaintext, aad: &header };
        let sealed = self.0.cipher.encrypt(&self.0.nonce().into(), payload).map_err(|_| Error::Closed)?;
        self.0.advance(plaintext.len());
        Ok([&header[..], &sealed].concat())
    }
}

/// Opens records in one direction. The cipher's key schedule is zeroized on drop.
pub struct Opener {
    direction: Direction,
    closed: bool,
}

impl Opener {
    pub(super) fn new(key: &[u8; 32], iv: [u8; 12]) -> Self {
        Self { direction: Direction::new(key, iv), closed: false }
    }

    /// The plaintext of the next frame: its header as read and exactly the bytes the header announced.
    pub fn open(&mut self, header: Header, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        let result = self.open_next(header, sealed);
        self.closed = result.is_err();
        result
    }

    fn open_next(&mut self, header: Header, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        if sealed.len() != header.length() {
            return Err(Error::Length(sealed.len()));
        }
        if header != self.direction.header(sealed.len()) {
            return Err(Error::Order);
        }
        if self.direction.exhausted() {
            return Err(Error::Exhausted);
        }
        let payload = Payload { msg: sealed, aad: &header.to_bytes() };
        let nonce = self.direction.nonce().into();
        let plaintext = self.direction.cipher.decrypt(&nonce, payload).map_err(|_| Error::Forged)?;
        self.direction.advance(plaintext.len());
        Ok(plaintext)
    }

    /// Opens a whole frame.
    pub fn open_frame(&mut self, frame: &[u8]) -> Result<Vec<u8>, Error> {
        let Some((header, sealed)) = frame.split_first_chunk::<HEADER>() else {
            self.closed = true;
            return Err(Error::Length(frame.len()));
        };
        let header = Header::read(header).inspect_err(|_| self.closed = true)?;
        self.open(header, sealed)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer(next {})", self.0.counter)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener(next {})", self.direction.counter)
    }
}

#[cfg(test)]
mod published;
#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Sealer, Opener) {
        (Sealer::new(&[1; 32], [2; 12]), Opener::new(&[1; 32], [2; 12]))
    }

    #[test]
    fn records_arrive_in_order() {
        let (mut sealer, mut opener) = pair();
        for n in 0..3u8 {
            let frame = sealer.seal(&[n; 5]).unwrap();
            assert_eq!(opener.open_frame(&frame), Ok(vec![n; 5]));
        }
    }

    #[test]
    fn a_flip_of_any_byte_is_refused_and_final() {
        let (mut sealer, _) = pair();
        let frame = sealer.seal(b"rm -rf build").unwrap();
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 1;
            let (_, mut opener) = pair();
            assert!(opener.open_frame(&changed).is_err(), "byte {at}");
            assert_eq!(opener.open_frame(&frame), Err(Error::Closed));
        }
    }

    #[test]
    fn a_replayed_record_is_refused() {
        let (mut sealer, mut opener) = pair();
        let frame = sealer.seal(b"once").unwrap();
        opener.open_frame(&frame).unwrap();
        assert_eq!(opener.open_frame(&frame), Err(Error::Order));
    }

    #[test]
    fn a_skipped_record_is_refused() {
        let (mut sealer, mut opener) = pair();
        sealer.seal(b"lost").unwrap();
        assert_eq!(opener.open_frame(&sealer.seal(b"next").unwrap()), Err(Error::Order));
    }

    #[test]
    fn lengths_are_judged_before_the_body() {
        for length in [0u16, 15, (limits::FRAME - HEADER + 1) as u16, u16::MAX] {
            let mut header = [0; HEADER];
            header[12..].copy_from_slice(&length.to_be_bytes());
            assert_eq!(Header::read(&header), Err(Error::Length(length.into())));
        }
        let (mut sealer, mut opener) = pair();
        assert_eq!(sealer.seal(&[0; MAX_PLAINTEXT + 1]), Err(Error::TooLong(MAX_PLAINTEXT + 1)));
        let whole = sealer.seal(&[0; MAX_PLAINTEXT]).unwrap();
        assert_eq!(whole.len(), limits::FRAME);
        assert_eq!(opener.open_frame(&whole).unwrap().len(), MAX_PLAINTEXT);
    }

    #[test]
    fn a_cut_frame_is_refused() {
        let (mut sealer, mut opener) = pair();
        let frame = sealer.seal(b"whole").unwrap();
        assert!(opener.open_frame(&frame[..frame.len() - 1]).is_err());
        assert_eq!(pair().1.open_frame(&frame[..5]), Err(Error::Length(5)));
    }

    #[test]
    fn keys_end() {
        let (mut sealer, mut opener) = pair();
        sealer.0.counter = MAX_FRAMES - 1;
        opener.direction.counter = MAX_FRAMES - 1;
        let last = sealer.seal(b"last").unwrap();
        assert!(opener.open_frame(&last).is_ok());
        assert_eq!(sealer.seal(b"one more"), Err(Error::Exhausted));
    }

    #[test]
    fn nonces_never_repeat_under_a_key() {
        let (mut sealer, _) = pair();
        let nonces: std::collections::HashSet<_> = (0..300)
            .map(|_| {
                sealer.seal(b"x").unwrap();
                sealer.0.nonce()
            })
            .collect();
        assert_eq!(nonces.len(), 300);
    }
}
