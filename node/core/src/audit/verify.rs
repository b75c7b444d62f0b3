//! Whether a chain is whole, and where it isn't.
//!
//! The first place that doesn't fit is named; what comes after it is judged only to tell what happened there. Heads
//! are held against it once the links fit: a chain that was made anew fits by itself.

use super::chain::{Chain, Entry, Hash, link};
use super::head::Head;
use super::record::Record;
use crate::identity::NodeId;

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// It isn't what was written.
    #[error("was changed")]
    Edited,
    /// It is gone, and later ones are there.
    #[error("is missing")]
    Missing,
    /// Another one stands in its place, or stands there twice.
    #[error("is out of order")]
    Reordered,
    /// It and all after it are gone, though a head knows of them.
    #[error("is missing, with all that came after it")]
    Truncated,
    /// A head isn't signed by this host.
    #[error("is claimed by a head that this host did not sign")]
    Forged,
}

/// Where a chain is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry {at} {what}")]
pub struct Broken {
    /// The first record that isn't as it was; of those that could be, if only a head tells.
    pub at: u64,
    /// The last one that could be the first; the same as `at`, if the links tell.
    pub upto: u64,
    /// What happened to it.
    pub what: What,
}

impl Broken {
    const fn here(at: u64, what: What) -> Self {
        Self { at, upto: at, what }
    }
}

/// A chain that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The first record that is there; one more than the last, if there are none.
    pub first: u64,
    /// Its end.
    pub end: Chain,
    /// How many heads fit.
    pub heads: usize,
    /// How many are of records that are no longer kept, and say nothing.
    pub older: usize,
}

/// Checks `entries` of `host`, which begin after `start` (a signed head, where the ones before are no longer kept),
/// and holds the heads against them.
pub fn verify(host: NodeId, start: Option<&Head>, entries: &[Entry], heads: &[Head]) -> Result<Summary, Broken> {
    for head in start.into_iter().chain(heads) {
        head.verify(host).map_err(|_| Broken::here(head.seq, What::Forged))?;
    }
    let before = start.map_or(Chain::begin(host), Chain::after);
    let mut hash = *before.hash();
    for at in 0..entries.len() {
        let expected = before.seq() + 1 + at as u64;
        let what = fits(&entries[at..], expected, &hash);
        what.map_or(Ok(()), |what| Err(Broken::here(expected, what)))?;
        hash = entries[at].link;
    }
    let end = Chain::at(host, before.seq() + entries.len() as u64, hash);
    let (older, held): (Vec<_>, Vec<_>) = heads.iter().partition(|head| head.seq < before.seq());
    let heads = against(&before, entries, held)?;
    Ok(Summary { first: before.seq() + 1, end, heads, older: older.len() })
}

/// What is wrong with the first of `entries`, which should be number `expected` and follow `before`.
fn fits(entries: &[Entry], expected: u64, before: &Hash) -> Option<What> {
    let Ok(record) = Record::decode(&entries[0].record) else { return Some(What::Edited) };
    let linked = link(before, &entries[0].record) == entries[0].link;
    if record.seq == expected {
        return (!linked).then_some(What::Edited);
    }
    let seq = record.seq;
    // Its link tells whether only its number was changed.
    if link(before, &Record { seq: expected, ..record }.encode()) == entries[0].link {
        return Some(What::Edited);
    }
    let is_later = |entry: &Entry| Record::decode(&entry.record).is_ok_and(|record| record.seq == expected);
    match seq < expected || entries[1..].iter().any(is_later) {
        true => Some(What::Reordered),
        false => Some(What::Missing),
    }
}

/// Holds heads against links that fit each other. Returns how many there were.
fn against(before: &Chain, entries: &[Entry], mut heads: Vec<&Head>) -> Result<usize, Broken> {
    heads.sort_by_key(|head| head.seq);
    let end = before.seq() + entries.len() as u64;
    let mut good = before.seq();
    for head in &heads {
        if head.seq > end {
            return Err(Broken::here(end + 1, What::Truncated));
        }
        let hash = match head.seq.checked_sub(before.seq() + 1) {
            Some(at) => &entries[at as usize].link,
            None => before.hash(),
        };
        if *head.hash != *hash {
            return Err(Broken { at: (good + 1).min(head.seq), upto: head.seq, what: What::Edited });
        }
        good = head.seq;
    }
    Ok(heads.len())
}
