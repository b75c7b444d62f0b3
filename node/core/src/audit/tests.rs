//! Breaks of every kind, found and placed.

use proptest::prelude::*;
use serde_bytes::ByteArray;

use super::*;
use crate::codex::decision::Decision;
use crate::identity::Identity;
use crate::policy::Right;
use crate::vectors::counting;
use crate::wire::{cbor, limits};

const START_MS: u64 = 1_800_000_000_000;

pub(super) fn host() -> Identity {
    Identity::from_seed(&counting(0x21))
}

fn of_a_phone(act: &str, effect: Effect) -> Record {
    let who = Some(Identity::from_seed(&counting(0x01)).node_id());
    let (name, right) = (Some(Text::cut("phone")), Some(Right::Operator));
    Record { who, name, right, digest: Some(ByteArray::new(counting(0x61))), ..Record::new(START_MS, act, effect) }
}

fn records() -> Vec<Record> {
    let asked = Record { seq: 2, ..of_a_phone("turn/start", Effect::Asked) };
    vec![
        Record {
            about: Some(Identity::from_seed(&counting(0x01)).node_id()),
            ..Record::new(START_MS, "pair", Effect::Done)
        },
        asked.clone(),
        asked.ended(START_MS + 1, Effect::Done),
        Record { decision: Some(Decision::Accept), ..of_a_phone("decision", Effect::Resolved(Text::cut("desk"))) },
        of_a_phone("thread/delete", Effect::Refused(Text::cut("policy"))),
    ]
}

pub(super) fn chain() -> (Vec<Entry>, Head) {
    let mut chain = Chain::begin(host().node_id());
    let entries = records().iter_mut().map(|record| chain.append(record)).collect();
    (entries, chain.head(&host(), START_MS + 2))
}

/// A chain of `length` records, and the end after each of them.
fn long(length: usize) -> (Vec<Entry>, Vec<Chain>) {
    let mut ends = vec![Chain::begin(host().node_id())];
    let entries = (0..length).map(|at| {
        let mut chain = ends[at].clone();
        let mut record = records().remove(at % records().len());
        let entry = chain.append(&mut record);
        ends.push(chain);
        entry
    });
    (entries.collect::<Vec<_>>(), ends)
}

fn broken(entries: &[Entry], heads: &[Head]) -> (u64, u64, What) {
    let Broken { at, upto, what } = verify(host().node_id(), None, entries, heads).unwrap_err();
    (at, upto, what)
}

/// Changes a record and makes every link after it anew, as somebody without the host's key could.
fn forge(entries: &[Entry], at: usize) -> Vec<Entry> {
    let mut chain = Chain::begin(host().node_id());
    let records = entries.iter().map(|entry| Record::decode(&entry.record).unwrap());
    let changed = records.enumerate().map(|(i, record)| match i == at {
        true => Record { act: Text::cut("nothing"), ..record },
        false => record,
    });
    changed.map(|mut record| chain.append(&mut record)).collect()
}

#[test]
fn a_chain_that_was_left_alone_is_whole() {
    let (entries, head) = chain();
    let summary = verify(host().node_id(), None, &entries, &[head.clone(), head]).unwrap();
    assert_eq!((summary.first, summary.end.seq(), summary.heads, summary.older), (1, 5, 2, 0));
    let empty = verify(host().node_id(), None, &[], &[]).unwrap();
    assert_eq!(empty.end, Chain::begin(host().node_id()));
}

#[test]
fn records_say_what_they_were_given() {
    let (entries, _) = chain();
    let read: Vec<_> = entries.iter().map(|entry| Record::decode(&entry.record).unwrap()).collect();
    let given: Vec<_> = records().into_iter().zip(1..).map(|(record, seq)| Record { seq, ..record }).collect();
    assert_eq!(read, given);
}

#[test]
fn links_made_anew_are_found_by_a_head_and_placed_after_the_one_before() {
    let (entries, ends) = long(9);
    let heads = [2, 6, 9].map(|seq: usize| ends[seq].head(&host(), START_MS));
    assert_eq!(broken(&forge(&entries, 3), &heads), (3, 6, What::Edited));
    assert_eq!(broken(&forge(&entries, 3), &heads[2..]), (1, 9, What::Edited));
    assert!(verify(host().node_id(), None, &forge(&entries, 3), &[]).is_ok(), "without a head nothing tells");
}

#[test]
fn a_head_of_another_host_is_forged() {
    let (entries, head) = chain();
    let stranger = Head::sign(&Identity::from_seed(&[9; 32]), head.seq, *head.hash, head.at_ms);
    assert_eq!(broken(&entries, &[stranger]), (5, 5, What::Forged));
    let later = Head { seq: 6, ..head };
    assert_eq!(broken(&entries, &[later]), (6, 6, What::Forged));
}

#[test]
fn a_chain_goes_on_from_a_signed_head_when_its_beginning_is_dropped() {
    let (entries, ends) = long(9);
    let [early, start, late] = [1, 4, 8].map(|seq: usize| ends[seq].head(&host(), START_MS));
    let heads = [early, start.clone(), late];
    let summary = verify(host().node_id(), Some(&start), &entries[4..], &heads).unwrap();
    assert_eq!((summary.first, summary.end, summary.heads, summary.older), (5, ends[9].clone(), 2, 1));
    assert_eq!(Chain::after(&start), ends[4]);
    let wrong = verify(host().node_id(), Some(&start), &entries[5..], &heads).unwrap_err();
    assert_eq!((wrong.at, wrong.what), (5, What::Missing));
}

#[test]
fn another_hosts_chain_is_not_taken_for_this_ones() {
    let (entries, _) = chain();
    let other = Identity::from_seed(&[9; 32]).node_id();
    assert_eq!(verify(other, None, &entries, &[]).unwrap_err().at, 1);
}

#[test]
fn a_head_takes_the_place_of_an_earlier_one_only() {
    let (_, ends) = long(5);
    let [third, fifth] = [3, 5].map(|seq: usize| ends[seq].head(&host(), START_MS));
    assert_eq!(third.followed_by(&fifth), Ok(()));
    assert_eq!(fifth.followed_by(&fifth), Ok(()));
    assert_eq!(fifth.followed_by(&third), Err(Backwards::Shortened { kept: 5, found: 3 }));
    let changed = Head::sign(&host(), 5, [0; 32], START_MS);
    assert_eq!(fifth.followed_by(&changed), Err(Backwards::Changed { at: 5 }));
    let stranger = Head::sign(&Identity::from_seed(&[9; 32]), 7, [0; 32], START_MS);
    assert_eq!(fifth.followed_by(&stranger), Err(Backwards::Signature));
    assert_eq!(Head::decode(&fifth.encode()), Ok(fifth));
}

#[test]
fn the_largest_record_and_head_fit_their_limits() {
    let long = "ü".repeat(200);
    let largest = Record {
        seq: u64::MAX,
        at_ms: u64::MAX,
        about: Some(host().node_id()),
        name: Some(Text::cut(&long)),
        act: Text::cut(&long),
        decision: Some(Decision::AcceptForSession),
        ends: Some(u64::MAX),
        ..of_a_phone("", Effect::Resolved(Text::cut(&long)))
    };
    assert_eq!(largest.act.as_str().len(), limits::AUDIT_TEXT);
    assert!(largest.encode().len() <= limits::AUDIT_RECORD / 2 + 100, "{}", largest.encode().len());
    assert!(Head::sign(&host(), u64::MAX, [0; 32], u64::MAX).encode().len() <= limits::AUDIT_HEAD);
}

#[test]
fn a_text_over_the_limit_and_a_second_form_of_a_record_are_refused() {
    assert!(cbor::from_slice::<Text>(&cbor::to_vec(&"x".repeat(limits::AUDIT_TEXT + 1)), 1024).is_err());
    let mut bytes = chain().0.remove(0).record;
    // `seq` 1, written as a byte of its own.
    let at = bytes.windows(4).position(|w| w == [b's', b'e', b'q', 1]).unwrap() + 3;
    bytes.splice(at..=at, [0x18, 1]);
    assert!(Record::decode(&bytes).is_err());
}

proptest! {
    #[test]
    fn a_changed_byte_is_found_and_placed(length in 1usize..12, at: prop::sample::Index, byte: prop::sample::Index, bit in 0u8..8) {
        let (mut entries, ends) = long(length);
        let at = at.index(length);
        let entry = &mut entries[at];
        let byte = byte.index(entry.link.len() + entry.record.len());
        match byte.checked_sub(entry.link.len()) {
            None => entry.link[byte] ^= 1 << bit,
            Some(byte) => entry.record[byte] ^= 1 << bit,
        }
        let here = at as u64 + 1;
        prop_assert_eq!(broken(&entries, &[ends[length].head(&host(), START_MS)]), (here, here, What::Edited));
    }

    #[test]
    fn a_missing_record_is_found_and_placed(length in 2usize..12, at: prop::sample::Index) {
        let (mut entries, _) = long(length);
        let at = at.index(length - 1);
        entries.remove(at);
        prop_assert_eq!(broken(&entries, &[]), (at as u64 + 1, at as u64 + 1, What::Missing));
    }

    #[test]
    fn a_moved_record_is_found_and_placed(length in 2usize..12, a: prop::sample::Index, b: prop::sample::Index) {
        let (mut entries, _) = long(length);
        let (a, b) = (a.index(length), b.index(length));
        prop_assume!(a != b);
        entries.swap(a, b);
        let first = a.min(b) as u64 + 1;
        prop_assert_eq!(broken(&entries, &[]), (first, first, What::Reordered));
    }

    #[test]
    fn a_doubled_record_is_found_and_placed(length in 1usize..12, at: prop::sample::Index) {
        let (mut entries, _) = long(length);
        let at = at.index(length);
        entries.insert(at, entries[at].clone());
        prop_assert_eq!(broken(&entries, &[]), (at as u64 + 2, at as u64 + 2, What::Reordered));
    }

    #[test]
    fn a_missing_end_is_found_by_a_head_and_placed(length in 1usize..12, left: prop::sample::Index) {
        let (mut entries, ends) = long(length);
        let left = left.index(length);
        entries.truncate(left);
        let cut = left as u64 + 1;
        prop_assert_eq!(broken(&entries, &[ends[length].head(&host(), START_MS)]), (cut, cut, What::Truncated));
    }

    #[test]
    fn no_bytes_panic(record: Vec<u8>, link: [u8; 32]) {
        let _ = Record::decode(&record);
        let _ = Head::decode(&record);
        let entries = [Entry { link, record }];
        prop_assert!(verify(host().node_id(), None, &entries, &[]).is_err());
    }
}
