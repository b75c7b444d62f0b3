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
//! Keys serve for as long as [`Limits`] say, then they are [worn](Sealer::is_worn) and [`super::rekey`] brings new ones:
//! a new key epoch, counted from 0 again. A direction that isn't rekeyed soon after seals and opens nothing more.

use std::fmt;
use std::time::Duration;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use zeroize::Zeroizing;

use crate::wire::limits;

/// Bytes of the header.
pub const HEADER: usize = 14;
/// Bytes of the authentication tag.
pub const TAG: usize = 16;
/// The longest plaintext of a record.
pub const MAX_PLAINTEXT: usize = limits::FRAME - HEADER - TAG;

/// How long the keys of one epoch serve, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Frames after which they are worn: far inside GCM's bounds.
    pub frames: u64,
    /// Bytes of plaintext after which they are worn.
    pub bytes: u64,
    /// Age at which they are worn, by a monotonic clock.
    pub age: Duration,
    /// How much further worn keys go while a rekey is under way, in hundredths of each limit.
    pub grace: u32,
}

impl Limits {
    /// Those of the protocol; tests set smaller ones.
    pub const PROTOCOL: Self = Self { frames: 1 << 18, bytes: 1 << 30, age: Duration::from_secs(3600), grace: 10 };

    /// Whether keys of this age are done with.
    pub(super) fn outlived(&self, age: Duration) -> bool {
        age >= self.age.saturating_add(self.age.saturating_mul(self.grace) / 100)
    }

    const fn worn(&self, frames: u64, bytes: u64) -> bool {
        frames >= self.frames || bytes >= self.bytes
    }

    const fn exhausted(&self, frames: u64, bytes: u64) -> bool {
        let grace = self.grace as u64;
        frames >= self.frames + self.frames * grace / 100 || bytes >= self.bytes + self.bytes * grace / 100
    }
}

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
    /// These keys have served their time and more, and no rekey came; resume the session.
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

/// The key and IV of one direction in one epoch, before their first use.
pub struct Keys {
    pub(super) epoch: u32,
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) iv: Zeroizing<[u8; 12]>,
}

/// One direction's key, IV and position.
struct Direction {
    cipher: Aes256Gcm,
    iv: Zeroizing<[u8; 12]>,
    epoch: u32,
    counter: u64,
    bytes: u64,
    limits: Limits,
}

impl Direction {
    fn new(keys: &Keys, limits: Limits) -> Self {
        let cipher = Aes256Gcm::new((&*keys.key).into());
        Self { cipher, iv: keys.iv.clone(), epoch: keys.epoch, counter: 0, bytes: 0, limits }
    }

    fn first(key: &[u8; 32], iv: [u8; 12]) -> Self {
        let keys = Keys { epoch: 0, key: Zeroizing::new(*key), iv: Zeroizing::new(iv) };
        Self::new(&keys, Limits::PROTOCOL)
    }

    /// Goes on with the keys of the next epoch; those of this one are gone.
    fn switch(&mut self, next: &Keys) -> Result<(), Error> {
        if Some(next.epoch) != self.epoch.checked_add(1) {
            return Err(Error::Order);
        }
        *self = Self::new(next, self.limits);
        Ok(())
    }

    fn header(&self, length: usize) -> Header {
        Header { epoch: self.epoch, counter: self.counter, length: length as u16 }
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = *self.iv;
        for (n, c) in nonce[4..].iter_mut().zip(self.counter.to_be_bytes()) {
            *n ^= c;
        }
        nonce
    }

    fn advance(&mut self, bytes: usize) {
        self.counter += 1;
        self.bytes += bytes as u64;
    }

    const fn worn(&self) -> bool {
        self.limits.worn(self.counter, self.bytes)
    }

    const fn exhausted(&self) -> bool {
        self.limits.exhausted(self.counter, self.bytes)
    }
}

/// Seals records in one direction. The cipher's key schedule is zeroized on drop.
pub struct Sealer(Direction);

impl Sealer {
    pub(super) fn new(key: &[u8; 32], iv: [u8; 12]) -> Self {
        Self(Direction::first(key, iv))
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

    /// The marker: the last frame under these keys. From the next on, `next` serve.
    pub fn seal_last(&mut self, marker: &[u8], next: &Keys) -> Result<Vec<u8>, Error> {
        let frame = self.seal(marker)?;
        self.0.switch(next)?;
        Ok(frame)
    }

    /// Whether these keys are at their limits: a rekey is due.
    pub const fn is_worn(&self) -> bool {
        self.0.worn()
    }

    pub(super) const fn limit(&mut self, limits: Limits) {
        self.0.limits = limits;
    }
}

/// Opens records in one direction. The cipher's key schedule is zeroized on drop.
pub struct Opener {
    direction: Direction,
    closed: bool,
}

impl Opener {
    pub(super) fn new(key: &[u8; 32], iv: [u8; 12]) -> Self {
        Self { direction: Direction::first(key, iv), closed: false }
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

    /// The peer's marker was opened: from the next frame on, `next` serve. A frame under the old keys is out of order.
    pub fn switch(&mut self, next: &Keys) -> Result<(), Error> {
        self.direction.switch(next).inspect_err(|_| self.closed = true)
    }

    /// Whether the peer's keys are at their limits: a rekey is due.
    pub const fn is_worn(&self) -> bool {
        self.direction.worn()
    }

    pub(super) const fn limit(&mut self, limits: Limits) {
        self.direction.limits = limits;
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

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys(epoch {})", self.epoch)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer(epoch {}, next {})", self.0.epoch, self.0.counter)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener(epoch {}, next {})", self.direction.epoch, self.direction.counter)
    }
}

#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
