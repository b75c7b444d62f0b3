//! A disk without room: what is written to it errs before anything is acknowledged, what was acknowledged stays, and
//! once there is room the same open journal goes on.
//!
//! The disk is a real one, of some hundred pages, in memory, mounted in a namespace of the test's own. Where there are
//! no such namespaces a plain `cargo test` says so and leaves it out.
#![cfg(target_os = "linux")]
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use farhelm_core::audit::{Effect, Record};
use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::pairing::TicketSecret;
use farhelm_core::policy::Terms;
use farhelm_store::journal::{Act, ActId, Change, Stage};
use farhelm_store::{Audit, Error, Journal, OpenError, Store, audit, offer};

const DIR: &str = "FARHELM_TEST_FULL_DIR";
const PAGE: usize = 4096;
/// How many pages are left on the disk when the writing begins: each count stops it at another place.
const LEFT: std::ops::Range<usize> = 0..40;

fn peer() -> NodeId {
    Identity::from_seed(&[1; 32]).node_id()
}

/// Runs one of the tests below again, with a small disk at `DIR`. False if there are no namespaces here.
fn on_a_small_disk(test: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m none \"$0\" || exit 77; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount]).arg(dir.path());
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(DIR, dir.path());
    match command.output() {
        Ok(done) if done.status.success() => true,
        Ok(done) if done.status.code() == Some(101) => panic!("{}", String::from_utf8_lossy(&done.stderr)),
        Ok(done) => left_out(&String::from_utf8_lossy(&done.stderr)),
        Err(error) => left_out(&error.to_string()),
    }
}

/// A plain `cargo test` goes on without; under `tests/run` that is a failure.
fn left_out(why: &str) -> bool {
    assert!(std::env::var_os("FARHELM_TEST_ALL").is_none(), "no small disk here: {why}");
    eprintln!("left out, as there is no small disk here: {why}");
    false
}

/// The small disk, for a test that was run again on it.
struct Disk(PathBuf);

impl Disk {
    fn mine() -> Option<Self> {
        Some(Self(std::env::var_os(DIR)?.into()))
    }

    /// An empty folder on it.
    fn folder(&self, name: usize) -> PathBuf {
        for left in fs::read_dir(&self.0).unwrap() {
            let left = left.unwrap().path();
            if left.is_dir() { fs::remove_dir_all(left).unwrap() } else { fs::remove_file(left).unwrap() }
        }
        let folder = self.0.join(name.to_string());
        fs::create_dir(&folder).unwrap();
        folder
    }

    /// Leaves so many pages free.
    fn fill(&self, leave: usize) {
        let filler = File::create(self.filler()).unwrap();
        let mut pages = 0;
        loop {
            match (&filler).write_all(&[1; PAGE]) {
                Ok(()) => pages += 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull);
                    break;
                }
            }
        }
        let length = (pages.max(leave) - leave) * PAGE;
        filler.set_len(length as u64).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

/// One command comes in and something goes out, together.
fn step(number: u64) -> [Change; 2] {
    let act = Act { order: number, stage: Stage::Received, body: vec![2; 900], result: Vec::new(), at_ms: 1 };
    [Change::Push(peer(), number, vec![number.to_le_bytes()[0]; 3000]), Change::Act(peer(), id(number), act)]
}

fn id(number: u64) -> ActId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    ActId::new(id)
}

/// How many steps are there, each of them whole.
fn steps(journal: &Journal) -> u64 {
    let read = journal.read(peer()).unwrap();
    for (number, (seq, body)) in (1_u64..).zip(&read.outgoing) {
        assert_eq!((*seq, body), (number, &vec![number.to_le_bytes()[0]; 3000]));
    }
    let acts: Vec<_> = read.acts.iter().map(|(act, _)| *act).collect();
    let count = read.outgoing.len() as u64;
    assert_eq!(acts, (1..=count).map(id).collect::<Vec<_>>());
    count
}

fn assert_is_full(error: &Error, path: &Path) {
    let text = error.to_string();
    let open = matches!(error, Error::Open(open) if matches!(**open, OpenError::Full { .. }));
    assert!(open || matches!(error, Error::Full { .. }), "{error:?}");
    assert!(text.contains("no room") && text.contains(path.to_str().unwrap()), "{text}");
}

#[test]
fn a_full_disk_acknowledges_nothing_and_room_mends_it() {
    let Some(disk) = Disk::mine() else {
        on_a_small_disk("a_full_disk_acknowledges_nothing_and_room_mends_it");
        return;
    };
    for left in LEFT {
        let path = disk.folder(left).join("journal");
        let journal = Journal::open(&path).unwrap();
        journal.write(&step(1)).unwrap();
        disk.fill(left);
        let mut acknowledged = 1;
        let error = loop {
            match journal.write(&step(acknowledged + 1)) {
                Ok(()) => acknowledged += 1,
                Err(error) => break error,
            }
        };
        assert_is_full(&error, &path);
        // It says so as often as it is asked.
        for _ in 0..3 {
            assert_is_full(&journal.write(&step(acknowledged + 1)).unwrap_err(), &path);
        }
        disk.make_room();
        assert_eq!(steps(&journal), acknowledged, "{left} pages left");
        for number in acknowledged + 1..acknowledged + 20 {
            journal.write(&step(number)).unwrap();
        }
        drop(journal);
        assert_eq!(steps(&Journal::open(&path).unwrap()), acknowledged + 19, "{left} pages left");
    }
}

#[test]
fn a_host_that_dies_on_a_full_disk_finds_everything_once_there_is_room() {
    let Some(disk) = Disk::mine() else {
        on_a_small_disk("a_host_that_dies_on_a_full_disk_finds_everything_once_there_is_room");
        return;
    };
    for left in LEFT {
        let path = disk.folder(left).join("journal");
        let journal = Journal::open(&path).unwrap();
        disk.fill(left);
        let acknowledged = (1..).take_while(|number| journal.write(&step(*number)).is_ok()).count() as u64;
        drop(journal);
        // It may start on the full disk or be refused, and in neither case is anything lost.
        match Journal::open(&path) {
            Ok(journal) => assert_eq!(steps(&journal), acknowledged),
            Err(error) => assert!(matches!(error, OpenError::Full { .. }), "{error}"),
        }
        disk.make_room();
        assert_eq!(steps(&Journal::open(&path).unwrap()), acknowledged, "{left} pages left");
    }
}

#[test]
fn what_is_read_does_not_need_room() {
    let Some(disk) = Disk::mine() else {
        on_a_small_disk("what_is_read_does_not_need_room");
        return;
    };
    for left in LEFT {
        let path = disk.folder(left).join("journal");
        let journal = Journal::open(&path).unwrap();
        disk.fill(left);
        let acknowledged = (1..).take_while(|number| journal.write(&step(*number)).is_ok()).count() as u64;
        assert_eq!(steps(&journal), acknowledged, "{left} pages left");
    }
}

#[test]
fn threads_that_meet_the_end_of_the_disk_together_go_on_together() {
    let Some(disk) = Disk::mine() else {
        on_a_small_disk("threads_that_meet_the_end_of_the_disk_together_go_on_together");
        return;
    };
    let write = |journal: &Journal, thread: u8, number: u64| {
        let peer = Identity::from_seed(&[thread; 32]).node_id();
        journal.write(&[Change::Push(peer, number, vec![thread; 2_000])]).map(|()| peer)
    };
    for left in LEFT.step_by(4) {
        let path = disk.folder(left).join("journal");
        let journal = Journal::open(&path).unwrap();
        disk.fill(left);
        let until_full = |thread| (1..).take_while(|number| write(&journal, thread, *number).is_ok()).count() as u64;
        let counts: Vec<u64> = std::thread::scope(|scope| {
            let writers: Vec<_> = (1..=4).map(|thread| scope.spawn(move || until_full(thread))).collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        disk.make_room();
        for (thread, count) in (1..).zip(counts) {
            let peer = write(&journal, thread, count + 1).unwrap();
            let there: Vec<u64> = journal.read(peer).unwrap().outgoing.into_iter().map(|(seq, _)| seq).collect();
            assert_eq!(there, (1..=count + 1).collect::<Vec<_>>(), "{left} pages left");
        }
    }
}

#[test]
fn a_pairing_on_a_full_disk_is_refused_and_can_be_had_once_there_is_room() {
    let Some(disk) = Disk::mine() else {
        on_a_small_disk("a_pairing_on_a_full_disk_is_refused_and_can_be_had_once_there_is_room");
        return;
    };
    let path = disk.folder(0).join("store");
    let store = Store::open(&path).unwrap();
    disk.fill(3);
    let offer = |number: u8| store.open_offer(&TicketSecret::from_bytes([number; 16]), 1, &Terms::default());
    let refused = (0..=255).find_map(|number| Some((number, offer(number).err()?)));
    let (number, offer::Error::Store(error)) = refused.unwrap() else { panic!("refused for another reason") };
    assert_is_full(&error, &path);
    disk.make_room();
    assert_eq!(store.offers().unwrap().len(), usize::from(number));
    offer(number).unwrap();
}

#[test]
fn a_first_start_on_a_full_disk_leaves_nothing_behind() {
    let Some(disk) = Disk::mine() else {
        on_a_small_disk("a_first_start_on_a_full_disk_leaves_nothing_behind");
        return;
    };
    for left in 0..16 {
        let folder = disk.folder(left);
        disk.fill(left);
        match Journal::open(&folder.join("journal")) {
            Ok(_) => continue,
            Err(error) => assert!(matches!(error, OpenError::Full { .. }), "{error}"),
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{left} pages left");
        disk.make_room();
        Journal::open(&folder.join("journal")).unwrap();
    }
}

#[test]
fn an_audit_chain_on_a_full_disk_acknowledges_nothing_and_goes_on_once_there_is_room() {
    let Some(disk) = Disk::mine() else {
        on_a_small_disk("an_audit_chain_on_a_full_disk_acknowledges_nothing_and_goes_on_once_there_is_room");
        return;
    };
    let host = Identity::from_seed(&[1; 32]);
    let record = || Record::new(1, "turn/start", Effect::Asked);
    for left in LEFT {
        let path = disk.folder(left).join("audit");
        let chain = Audit::open(&path, &host).unwrap();
        chain.append(record()).unwrap();
        disk.fill(left);
        let (acknowledged, error) = loop {
            match chain.append(record()) {
                Ok(_) => {}
                Err(error) => break (chain_end(&path), error),
            }
        };
        assert_is_full(&error, &path);
        assert_is_full(&chain.append(record()).unwrap_err(), &path);
        disk.make_room();
        let next = chain.append(record()).unwrap().seq;
        assert!(next > acknowledged, "{left} pages left");
        assert_eq!(chain_end(&path), next);
    }
}

/// How far the head beside it says that it goes; what fits it is there.
fn chain_end(path: &Path) -> u64 {
    let kept = audit::read(path).unwrap();
    kept.verify(peer(), &[]).unwrap();
    kept.head.map_or(0, |head| head.seq)
}
