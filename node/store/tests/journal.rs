//! A journal after a SIGKILL at any moment, and after its file was damaged.
//!
//! As with the store, a SIGKILL shows that each write is one step; that the disk was synced shows `power`, beside the
//! sources.
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "killed/after.rs"]
mod after;
#[path = "killed/amidst.rs"]
mod amidst;
mod killed;
#[path = "killed/moment.rs"]
mod moment;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::session::log::{Heard, LogId};
use farhelm_store::journal::{Act, ActId, Change, Cursors, Peer, Stage};
use farhelm_store::{Journal, OpenError};

const FILE: &str = "FARHELM_TEST_JOURNAL";
/// The first one holds redb's header, which is written at each opening.
const PAGE: usize = 4096;
/// How many entries are on their way at a time.
const WINDOW: u64 = 5;

fn peers() -> [NodeId; 2] {
    [1, 2].map(|seed| Identity::from_seed(&[seed; 32]).node_id())
}

fn id(number: u64) -> ActId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ActId::new(id)
}

fn act(order: u64, stage: Stage) -> Act {
    let result = if stage == Stage::Done { vec![9; 300] } else { Vec::new() };
    Act { order, stage, body: vec![order.to_le_bytes()[0]; 2_000], result, at_ms: order }
}

fn cursors(number: u64) -> Cursors {
    let log = LogId::new([7; 16]);
    Cursors { generation: number, log: Some(log), next: number + 1, heard: Some(Heard { log, upto: number }) }
}

fn body(seq: u64) -> Vec<u8> {
    vec![seq.to_le_bytes()[0]; usize::try_from(seq % 7 * 1_000).unwrap()]
}

/// One write, of both peers, as a host makes them: an act comes in, the one before it is forwarded, the one before that
/// answered, and so on, and old entries have arrived.
fn step(number: u64) -> Vec<Change> {
    let mut changes = Vec::new();
    for peer in peers() {
        changes.push(Change::Cursors(peer, cursors(number)));
        changes.push(Change::Push(peer, number, body(number)));
        changes.push(Change::Trim(peer, number.saturating_sub(WINDOW)));
        let stages = [Stage::Received, Stage::Forwarded, Stage::Done];
        let moved = stages.into_iter().zip((1..=number).rev());
        changes.extend(moved.map(|(stage, order)| Change::Act(peer, id(order), act(order, stage))));
        changes.extend(number.checked_sub(3).map(|over| Change::ForgetAct(peer, id(over))));
    }
    changes
}

/// What is there of each peer after the step with this number.
fn peer_after(number: u64) -> Peer {
    if number == 0 {
        return Peer::default();
    }
    let entries = number.saturating_sub(WINDOW) + 1..=number;
    let orders = number.saturating_sub(2).max(1)..=number;
    let stage = |order| [Stage::Received, Stage::Forwarded, Stage::Done][usize::try_from(number - order).unwrap()];
    Peer {
        cursors: cursors(number),
        outgoing: entries.map(|seq| (seq, body(seq))).collect(),
        acts: orders.map(|order| (id(order), act(order, stage(order)))).collect(),
    }
}

/// The number of the last step that is there. It is there whole, and none after it.
fn last_step(journal: &Journal) -> u64 {
    let number = journal.read(peers()[0]).unwrap().cursors.generation;
    for peer in peers() {
        assert_eq!(journal.read(peer).unwrap(), peer_after(number), "{number} is there in part");
    }
    number
}

/// The one that is killed: a test only so that this very binary can be run as another process.
#[test]
fn as_another_process_write_until_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let journal = Journal::open(Path::new(&file)).unwrap();
    for number in last_step(&journal) + 1..100_000 {
        journal.write(&step(number)).unwrap();
        writeln!(std::io::stdout(), "\nwritten {number}").unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_a_sigkill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let acknowledged = |line: &str| line.strip_prefix("written ")?.parse::<u64>().ok();
    for kill in 0..25 {
        let writer = killed::run("as_another_process_write_until_killed", &[(FILE, &path)]);
        let moment = Duration::from_micros(kill * 197 % 3_000);
        let seen = after::after(writer, 8 + usize::try_from(kill % 5).unwrap(), moment, acknowledged);
        let (last, there) = (*seen.last().unwrap(), last_step(&Journal::open(&path).unwrap()));
        assert!(there == last || there == last + 1, "{there} is there after {last}");
    }
}

/// The one that is killed while it gives room back.
#[test]
fn as_another_process_open() {
    let Some(file) = std::env::var_os(FILE) else { return };
    Journal::open(Path::new(&file)).unwrap();
}

#[test]
fn a_sigkill_while_room_is_given_back_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (loose, path) = (dir.path().join("loose"), dir.path().join("journal"));
    let journal = Journal::open(&loose).unwrap();
    let peer = peers()[0];
    journal.write(&(1..=200).map(|seq| Change::Push(peer, seq, vec![1; 60_000])).collect::<Vec<_>>()).unwrap();
    journal.write(&[Change::Trim(peer, 180)]).unwrap();
    let kept = journal.read(peer).unwrap();
    // As after a crash: a proper closing gives some room back as well.
    let bytes = fs::read(&loose).unwrap();
    let mut amidst = 0;
    for kill in 0..20 {
        fs::write(&path, &bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let child = killed::run("as_another_process_open", &[(FILE, &path)]);
        amidst::amidst(child, &path, Duration::from_micros(kill * 1_500));
        let left = fs::read(&path).unwrap();
        amidst += u32::from(left.len() > bytes.len() / 2 && left[PAGE..] != bytes[PAGE..]);
        let journal = Journal::open(&path).unwrap();
        assert!(journal.read(peer).unwrap() == kept, "something was lost");
        drop(journal);
        let length = fs::metadata(&path).unwrap().len();
        assert!(length < bytes.len() as u64 / 2, "it is still {length} of {} bytes long", bytes.len());
    }
    assert!(amidst > 0, "never killed while it was at it");
}

/// A journal in a directory of its own, made of these bytes.
struct World(tempfile::TempDir);

impl World {
    fn with(bytes: &[u8]) -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::write(world.path(), bytes).unwrap();
        fs::set_permissions(world.path(), fs::Permissions::from_mode(0o600)).unwrap();
        world
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    /// Opens it. If it is refused it wasn't touched, and the error says which file it is and what to do.
    fn open(&self) -> Result<Journal, OpenError> {
        let before = fs::read(self.path()).unwrap();
        Journal::open(&self.path()).inspect_err(|error| {
            assert!(fs::read(self.path()).unwrap() == before, "the refused file was changed");
            let text = error.to_string();
            assert!(text.contains(self.path().to_str().unwrap()) && text.contains("move it away"), "{text}");
        })
    }
}

const STEPS: u64 = 30;

/// A journal with something in it, closed properly or as a crash leaves it.
fn written(closed: bool) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = Journal::open(&path).unwrap();
    (1..=STEPS).for_each(|number| journal.write(&step(number)).unwrap());
    if closed {
        drop(journal);
        return fs::read(&path).unwrap();
    }
    fs::read(&path).unwrap()
}

#[test]
fn one_that_was_cut_off_is_refused_untouched() {
    for closed in [true, false] {
        let whole = written(closed);
        let ends = [9, 64, 320, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1];
        for length in ends.into_iter().chain((512..whole.len()).step_by(30_011)) {
            match World::with(&whole[..length]).open() {
                Err(OpenError::Damaged { .. }) => {}
                // After a crash the end may hold nothing yet.
                Ok(journal) if !closed => assert_eq!(last_step(&journal), STEPS),
                other => panic!("{length} of {}, closed: {closed}: {other:?}", whole.len()),
            }
        }
    }
}

/// A flipped bit either is in what nobody reads (free pages), or is found; it is never taken for data.
#[test]
fn a_flipped_bit_is_found_or_harmless() {
    for closed in [true, false] {
        let whole = written(closed);
        let mut found = 0;
        for place in (0..320).step_by(5).chain((320..whole.len()).step_by(1_021)) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            match World::with(&bytes).open() {
                // What wasn't closed has two commits; without the last one's seal the one before it counts.
                Ok(journal) => assert!(last_step(&journal) >= STEPS - u64::from(!closed), "byte {place}"),
                Err(OpenError::Damaged { .. } | OpenError::Foreign { .. }) => found += 1,
                Err(error) => panic!("byte {place}: {error}"),
            }
        }
        assert!(found > 20, "only {found} found");
    }
}

/// A block of zeros, as a disk may leave it.
#[test]
fn a_lost_block_is_found_or_harmless() {
    for closed in [true, false] {
        let whole = written(closed);
        let mut found = 0;
        for place in (0..whole.len()).step_by(PAGE) {
            let mut bytes = whole.clone();
            let end = bytes.len().min(place + PAGE);
            bytes[place..end].fill(0);
            match World::with(&bytes).open() {
                Ok(journal) => assert!(last_step(&journal) >= STEPS - u64::from(!closed), "block at {place}"),
                Err(OpenError::Damaged { .. } | OpenError::Foreign { .. }) => found += 1,
                Err(error) => panic!("block at {place}: {error}"),
            }
        }
        assert!(found > 5, "only {found} found");
    }
}
