//! Known answers for a second implementer: the files in `tests/vectors/`, recomputed and compared by the tests; pages
//! that are made from the code too.
//!
//! `FARHELM_WRITE_VECTORS=1 cargo test -p farhelm-core` writes them anew. A file of a released version never changes: a
//! difference means that the wire format did.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use rand_core::{TryCryptoRng, TryRng};
use serde::Serialize;
use serde_json::Value;

/// Compares a file of `tests/vectors/` with what this build computes.
pub(crate) fn check(name: &str, committed: &str, computed: &impl Serialize) {
    if std::env::var_os("FARHELM_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(computed).unwrap() + "\n";
        fs::write(folder().join(name), text).unwrap();
        return;
    }
    let committed: Value = serde_json::from_str(committed).unwrap();
    assert_eq!(committed, serde_json::to_value(computed).unwrap(), "{name}");
}

/// Compares a page of `node/` that is made from the code with what it would be now.
pub(crate) fn check_page(name: &str, committed: &str, made: &str) {
    if std::env::var_os("FARHELM_WRITE_VECTORS").is_some() {
        fs::write(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name), made).unwrap();
        return;
    }
    assert!(committed == made, "{name} isn't as the code is; write it anew with FARHELM_WRITE_VECTORS=1");
}

/// Lower-case hex.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

/// `start`, `start + 1`, …: no two bytes are alike, so a reversed or shifted field shows.
pub(crate) fn counting<const N: usize>(start: u8) -> [u8; N] {
    std::array::from_fn(|i| start.wrapping_add(i as u8))
}

/// The bytes of lower-case hex.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// As many bytes as are asked for.
pub(crate) fn unhex_array<const N: usize>(text: &str) -> [u8; N] {
    unhex(text).try_into().unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

/// A random source that gives out exactly what it was given.
pub(crate) struct Drawn(VecDeque<u8>);

impl Drawn {
    pub(crate) fn new(draws: &[&[u8]]) -> Self {
        Self(draws.concat().into())
    }

    /// Whether all of it was drawn.
    pub(crate) fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        for byte in to {
            *byte = self.0.pop_front().expect("no more is drawn than the vector says");
        }
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

/// CBOR in diagnostic notation (RFC 8949 §8), for people to read. It reads only what our own encoder writes.
pub(crate) fn diagnostic(bytes: &[u8]) -> String {
    let mut rest = bytes;
    let text = item(&mut rest);
    assert!(rest.is_empty(), "trailing bytes");
    text
}

fn item(rest: &mut &[u8]) -> String {
    let head = take(rest, 1)[0];
    let (major, info) = (head >> 5, head & 0x1f);
    if info == 31 {
        return indefinite(major, rest);
    }
    let value = argument(info, rest);
    match major {
        0 => value.to_string(),
        1 => format!("{}", -1 - value as i128),
        2 => format!("h'{}'", hex(take(rest, value as usize))),
        3 => format!("{:?}", std::str::from_utf8(take(rest, value as usize)).unwrap()),
        4 => format!("[{}]", (0..value).map(|_| item(rest)).collect::<Vec<_>>().join(", ")),
        5 => format!("{{{}}}", (0..value).map(|_| entry(rest)).collect::<Vec<_>>().join(", ")),
        7 => ["false", "true", "null"][value as usize - 20].into(),
        _ => panic!("our encoder writes no tags"),
    }
}

fn entry(rest: &mut &[u8]) -> String {
    format!("{}: {}", item(rest), item(rest))
}

fn indefinite(major: u8, rest: &mut &[u8]) -> String {
    assert_eq!(major, 5, "only maps are of indefinite length");
    let mut entries = Vec::new();
    while rest[0] != 0xff {
        entries.push(entry(rest));
    }
    take(rest, 1);
    format!("{{_ {}}}", entries.join(", "))
}

fn argument(info: u8, rest: &mut &[u8]) -> u64 {
    match info {
        0..=23 => info.into(),
        24..=27 => take(rest, 1 << (info - 24)).iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        _ => panic!("reserved"),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}
