//! A journal's file stays as small as what it holds lets it.
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_store::Journal;
use farhelm_store::journal::{Act, ActId, Change, Stage};

const MIB: u64 = 1024 * 1024;

fn peer() -> NodeId {
    Identity::from_seed(&[1; 32]).node_id()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// A body of some hundred bytes mostly, and of some ten thousand now and then.
fn body(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(50) { 60_000 } else { 200 + number % 900 };
    vec![number.to_le_bytes()[0]; usize::try_from(length).unwrap()]
}

fn id(number: u64) -> ActId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ActId::new(id)
}

/// An act of a prompt with images, at its first stage.
fn with_images(order: u64) -> Act {
    Act { order, stage: Stage::Received, body: vec![7; 5_000_000], result: Vec::new(), at_ms: 1 }
}

#[test]
fn ten_thousand_entries_that_come_and_go_leave_no_room_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::open(&path).unwrap();
    let mut longest = 0;
    // Ten changes a commit, as under load, because a test shall not wait for ten thousand syncs of the disk.
    for batch in 0..1_000 {
        let entries = batch * 10 + 1..=batch * 10 + 10;
        let mut changes: Vec<_> = entries.map(|seq| Change::Push(peer(), seq, body(seq))).collect();
        changes.push(Change::Trim(peer(), batch * 10));
        journal.write(&changes).unwrap();
        longest = longest.max(length(&path));
    }
    assert_eq!(journal.read(peer()).unwrap().outgoing.len(), 10);
    assert!(longest < 4 * MIB, "it grew to {longest} bytes");
    drop(journal);
    drop(Journal::open(&path).unwrap());
    assert!(length(&path) < MIB, "it is still {} bytes long", length(&path));
}

#[test]
fn room_that_is_free_is_given_back_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::open(&path).unwrap();
    for order in 0..8 {
        journal
            .write(&[Change::Act(peer(), id(order), with_images(order)), Change::Push(peer(), order, body(order))])
            .unwrap();
    }
    let full = length(&path);
    assert!((40_000_000..60_000_000).contains(&full), "40 MB stand in {full} bytes");
    journal.write(&(0..7).map(|order| Change::ForgetAct(peer(), id(order))).collect::<Vec<_>>()).unwrap();
    let kept = journal.read(peer()).unwrap();
    drop(journal);
    let journal = Journal::open(&path).unwrap();
    assert!(journal.read(peer()).unwrap() == kept && kept.acts.len() == 1);
    drop(journal);
    assert!(length(&path) < full / 2, "it is still {} of {full} bytes long", length(&path));
}

#[test]
fn an_acts_stage_costs_little_however_large_the_act() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::open(&path).unwrap();
    let act = with_images(1);
    journal.write(&[Change::Act(peer(), id(1), act.clone())]).unwrap();
    let once = length(&path);
    for stage in [Stage::Forwarded, Stage::Done] {
        journal.write(&[Change::Act(peer(), id(1), Act { stage, ..act.clone() })]).unwrap();
    }
    assert!(length(&path) < once + MIB, "{once} bytes became {}", length(&path));
}
