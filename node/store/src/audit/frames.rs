//! What stands in the file: a beginning, then a frame for each record.
//!
//! ```text
//!  "farhelm audit 1\n"  length (u16) of a head, the head     only if earlier records were dropped, else the length is 0
//!  length (u16)  link (32 bytes)  record                     the next …
//! ```

use farhelm_core::audit::{Broken, Chain, Entry, Head, Summary, What, verify};
use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::wire::limits;

/// How every file begins.
const MAGIC: &[u8] = b"farhelm audit 1\n";
const LINK: usize = 32;
const LARGEST_FRAME: usize = 2 + LINK + limits::AUDIT_RECORD;

/// What a file holds, taken apart and not yet judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it begins, if what was before is no longer kept.
    pub start: Option<Head>,
    /// The records, in the order in which they stand there.
    pub entries: Vec<Entry>,
    /// The head beside it.
    pub head: Option<Head>,
    /// Bytes behind the last whole frame: a record that wasn't written to its end, if no head knows of it.
    pub rest: usize,
}

/// Why bytes aren't a file of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotOurs {
    /// Another kind of file.
    Foreign,
    /// The head it begins with is none.
    Start,
}

impl Kept {
    /// Checks it as a chain of `host`, against the head beside it and those kept elsewhere. [`Summary::heads`] counts
    /// the former too.
    pub fn verify(&self, host: NodeId, elsewhere: &[Head]) -> Result<Summary, Broken> {
        let heads: Vec<_> = self.head.iter().chain(elsewhere).cloned().collect();
        let verified = verify(host, self.start.as_ref(), &self.entries, &heads);
        if self.rest < LARGEST_FRAME {
            return verified;
        }
        // More than a crash leaves: the length of a frame was changed.
        let next = self.start.as_ref().map_or(0, |start| start.seq) + self.entries.len() as u64 + 1;
        match verified {
            Err(broken) if broken.what != What::Truncated => Err(broken),
            _ => Err(Broken { at: next, upto: next, what: What::Edited }),
        }
    }

    /// Takes a file apart. `head` is the one beside it.
    pub(super) fn parse(bytes: &[u8], head: Option<Head>) -> Result<Self, NotOurs> {
        let bytes = bytes.strip_prefix(MAGIC).ok_or(NotOurs::Foreign)?;
        let (start, mut bytes) = sized(bytes, 0).ok_or(NotOurs::Start)?;
        let start = (!start.is_empty()).then(|| Head::decode(start)).transpose().map_err(|_| NotOurs::Start)?;
        let mut entries = Vec::new();
        while let Some((frame, rest)) = sized(bytes, LINK).filter(|(frame, _)| frame.len() <= LARGEST_FRAME - 2) {
            let (link, record) = frame.split_at(LINK);
            entries.push(Entry { link: link.try_into().expect("so many"), record: record.to_owned() });
            bytes = rest;
        }
        Ok(Self { start, entries, head, rest: bytes.len() })
    }

    /// The later half, after a signed head.
    pub(super) fn later_half(&self, host: &Identity, at_ms: u64) -> Vec<u8> {
        let before = self.start.as_ref().map_or(Chain::begin(host.node_id()), Chain::after);
        let dropped = self.entries.len() / 2;
        let end = self.entries[..dropped].iter().fold(before, |chain, entry| chain.with(entry));
        let frames = self.entries[dropped..].iter().flat_map(frame);
        beginning(Some(&end.head(host, at_ms))).into_iter().chain(frames).collect()
    }
}

/// What a file begins with.
pub(super) fn beginning(start: Option<&Head>) -> Vec<u8> {
    let head = start.map(Head::encode).unwrap_or_default();
    let length = u16::try_from(head.len()).expect("a head is small");
    [MAGIC, &length.to_be_bytes(), &head].concat()
}

/// A record as it stands in the file.
pub(super) fn frame(entry: &Entry) -> Vec<u8> {
    let length = u16::try_from(entry.record.len()).expect("a record is small");
    [&length.to_be_bytes()[..], &entry.link, &entry.record].concat()
}

/// A length, and as many bytes and `more`; then the rest.
fn sized(bytes: &[u8], more: usize) -> Option<(&[u8], &[u8])> {
    let (length, bytes) = bytes.split_first_chunk()?;
    bytes.split_at_checked(usize::from(u16::from_be_bytes(*length)) + more)
}
