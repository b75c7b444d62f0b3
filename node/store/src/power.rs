//! What is there after the power failed: of what wasn't synced, any part may be on the disk, in any order.
//!
//! A SIGKILL doesn't show this, the kernel writes what it was given. Here the disk is simulated: it remembers what was
//! written since the last sync, and is looked at as it might be found, at every moment of a journal's life.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use farhelm_core::identity::{Identity, NodeId};
use redb::{Database, StorageBackend};

use crate::Journal;
use crate::journal::Change;

/// What a disk writes in one piece.
const SECTOR: usize = 512;
const WRITES: u64 = 40;

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors written since, and what was in them then.
    unsynced: Vec<(usize, Vec<u8>)>,
    acknowledged: u64,
    random: u64,
    looked_at: bool,
    /// Disks as they might be found, and what was acknowledged then.
    found: Vec<(Vec<u8>, u64)>,
}

impl State {
    /// Xorshift: the same disks each time.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// A disk as it might be found now: the length it should have, and some of the sectors.
    fn look(&mut self) {
        let mut disk = self.synced.clone();
        disk.resize(self.now.len(), 0);
        let often = [2, 4, 100][(self.random() % 3) as usize];
        for number in 0..self.unsynced.len() {
            let lost = self.random().is_multiple_of(often);
            let (offset, sector) = &self.unsynced[number];
            if !lost && offset + sector.len() <= disk.len() {
                disk[*offset..offset + sector.len()].copy_from_slice(sector);
            }
        }
        self.found.push((disk, self.acknowledged));
    }
}

impl Disk {
    /// Somebody looks before each change.
    fn called(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap();
        if state.looked_at {
            state.look();
        }
        state
    }
}

fn range(offset: u64, length: usize, state: &State) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).unwrap();
    let end = start + length;
    if end > state.now.len() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(start..end) }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        out.copy_from_slice(&state.now[range(offset, out.len(), &state)?]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.called().now.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.called();
        state.synced = state.now.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.called();
        let range = range(offset, data.len(), &state)?;
        state.now[range.clone()].copy_from_slice(data);
        for start in range.step_by(SECTOR) {
            let length = SECTOR.min(state.now.len() - start).min(data.len() + usize::try_from(offset).unwrap() - start);
            let sector = state.now[start..start + length].to_vec();
            state.unsynced.push((start, sector));
        }
        Ok(())
    }
}

fn peer() -> NodeId {
    Identity::from_seed(&[1; 32]).node_id()
}

fn body(number: u64) -> Vec<u8> {
    vec![number.to_le_bytes()[0]; usize::try_from(number * 1_777 % 9_000).unwrap()]
}

/// Entries come and go, so that pages are used again.
fn write(journal: &Journal, number: u64) {
    let push = Change::Push(peer(), number, body(number));
    journal.write(&[push, Change::Trim(peer(), number.saturating_sub(4))]).unwrap();
}

fn after(number: u64) -> Vec<(u64, Vec<u8>)> {
    (number.saturating_sub(4) + 1..=number).map(|seq| (seq, body(seq))).collect()
}

fn assert_is_whole(disk: Vec<u8>, acknowledged: u64) {
    let found = Disk::default();
    found.0.lock().unwrap().now = disk;
    let database = Database::builder().set_check_integrity_on_open(true).create_with_backend(found).unwrap();
    let there = Journal::on(database).read(peer()).unwrap().outgoing;
    assert!(
        there == after(acknowledged) || there == after(acknowledged + 1),
        "{acknowledged} were acknowledged, and there are {:?}",
        there.iter().map(|(seq, _)| seq).collect::<Vec<_>>()
    );
}

#[test]
fn what_was_acknowledged_is_there_after_the_power_failed_at_any_moment() {
    let disk = Disk::default();
    disk.0.lock().unwrap().random = 0x9e37_79b9_7f4a_7c15;
    let database = Database::builder().create_with_backend(disk.clone()).unwrap();
    let journal = Journal::on(database);
    // Before this the file isn't in its place.
    disk.0.lock().unwrap().looked_at = true;
    for number in 1..=WRITES {
        write(&journal, number);
        disk.0.lock().unwrap().acknowledged = number;
    }
    drop(journal);
    let found = std::mem::take(&mut disk.0.lock().unwrap().found);
    assert!(found.len() > 200, "only {} moments", found.len());
    for (disk, acknowledged) in found {
        assert_is_whole(disk, acknowledged);
    }
}
