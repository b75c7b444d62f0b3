//! What stands on the disk after failures, crashes and hands in the file.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use farhelm_core::audit::{Broken, Effect, Entry, What};

use super::*;

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With so many records.
    fn of(records: u64) -> Self {
        let world = Self::new();
        add(&world.open(), records);
        world
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("audit.log")
    }

    fn head(&self) -> PathBuf {
        self.0.path().join("audit.log.head")
    }

    fn open(&self) -> Audit {
        Audit::open(&self.path(), &host()).unwrap()
    }

    fn kept(&self) -> Kept {
        read(&self.path()).unwrap()
    }

    fn broken(&self) -> (u64, What) {
        let Broken { at, what, .. } = self.kept().verify(host().node_id(), &[]).unwrap_err();
        (at, what)
    }

    /// Puts these records into the file, as somebody with an editor could.
    fn put(&self, entries: &[Entry]) {
        fs::write(self.path(), [frames::beginning(None), entries.iter().flat_map(frames::frame).collect()].concat())
            .unwrap();
    }

    /// Opens what must be refused, and checks that it wasn't touched.
    fn refused(&self) -> OpenError {
        let before = fs::read(self.path()).ok();
        let error = Audit::open(&self.path(), &host()).map(drop).unwrap_err();
        assert!(fs::read(self.path()).ok() == before, "the refused file was changed");
        error
    }
}

fn host() -> Identity {
    Identity::from_seed(&[7; 32])
}

fn record(at_ms: u64) -> Record {
    Record::new(at_ms, "turn/start", Effect::Asked)
}

fn add(audit: &Audit, records: u64) {
    for at_ms in 0..records {
        audit.append(record(at_ms)).unwrap();
    }
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_record_has_its_number_and_is_there_after_opening_again() {
    let world = World::of(2);
    let asked = world.open().append(record(5)).unwrap();
    let ended = world.open().append(asked.ended(6, Effect::Done)).unwrap();
    assert_eq!((asked.seq, ended.seq, ended.ends), (3, 4, Some(3)));
    let summary = world.kept().verify(host().node_id(), &[]).unwrap();
    assert_eq!((summary.first, summary.end.seq(), summary.heads), (1, 4, 1));
    assert_eq!(Record::decode(&world.kept().entries[3].record).unwrap(), ended);
    assert_eq!(world.open().head(9).unwrap().hash[..], world.kept().entries[3].link);
}

#[test]
fn others_may_not_read_it() {
    let world = World::of(1);
    assert_eq!((mode(world.path()), mode(world.head())), (0o600, 0o600));
    fs::set_permissions(world.path(), Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(world.refused(), OpenError::TooOpen { .. }));
}

#[test]
fn two_hosts_do_not_write_to_it() {
    let world = World::new();
    let first = world.open();
    assert!(matches!(world.refused(), OpenError::InUse { .. }));
    drop(first);
    world.open();
}

#[test]
fn what_a_crash_left_behind_the_last_record_is_cut_off() {
    let world = World::of(3);
    let whole = fs::read(world.path()).unwrap();
    let unfinished = frames::frame(&world.kept().entries[0]);
    for length in 1..unfinished.len() {
        let mut file = OpenOptions::new().append(true).open(world.path()).unwrap();
        file.write_all(&unfinished[..length]).unwrap();
        drop(file);
        assert_eq!(world.kept().verify(host().node_id(), &[]).unwrap().end.seq(), 3);
        world.open();
        assert!(fs::read(world.path()).unwrap() == whole, "{length}");
    }
}

#[test]
fn a_record_that_its_head_did_not_follow_stays() {
    let world = World::of(2);
    let head = fs::read(world.head()).unwrap();
    add(&world.open(), 1);
    fs::write(world.head(), head).unwrap();
    assert_eq!(world.open().append(record(9)).unwrap().seq, 4);
}

#[test]
fn a_file_that_a_crash_left_half_made_is_none() {
    let world = World::new();
    fs::write(world.0.path().join("audit.log.new"), b"farh").unwrap();
    add(&world.open(), 2);
    assert_eq!(world.kept().entries.len(), 2);
}

#[test]
fn a_byte_changed_anywhere_in_the_records_is_found_and_placed() {
    let world = World::of(4);
    let (whole, kept) = (fs::read(world.path()).unwrap(), world.kept());
    let mut at = frames::beginning(None).len();
    for (entry, number) in kept.entries.iter().zip(1..) {
        for _ in 0..frames::frame(entry).len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            fs::write(world.path(), changed).unwrap();
            assert_eq!(world.broken().0, number, "byte {at}");
            at += 1;
        }
    }
    assert_eq!(at, whole.len());
    assert!(world.refused().to_string().contains("entry 4"));
}

#[test]
fn a_record_taken_out_or_moved_is_found_and_placed() {
    let world = World::of(5);
    let entries = world.kept().entries;
    world.put(&[&entries[..2], &entries[3..]].concat());
    assert_eq!(world.broken(), (3, What::Missing));
    assert!(matches!(world.refused(), OpenError::Damaged { .. }));
    let mut moved = entries.clone();
    moved.swap(1, 3);
    world.put(&moved);
    assert_eq!(world.broken(), (2, What::Reordered));
    world.put(&entries);
    world.open();
}

#[test]
fn a_file_cut_off_anywhere_is_found_by_the_head_beside_it() {
    let world = World::of(3);
    let whole = fs::read(world.path()).unwrap();
    for length in frames::beginning(None).len()..whole.len() {
        fs::write(world.path(), &whole[..length]).unwrap();
        assert_eq!(world.broken().1, What::Truncated, "{length}");
        assert!(matches!(world.refused(), OpenError::Damaged { .. }));
    }
    fs::remove_file(world.path()).unwrap();
    assert!(world.refused().to_string().contains("it had 3 entries"));
}

#[test]
fn both_files_put_back_are_found_by_a_head_kept_elsewhere() {
    let world = World::of(2);
    let (log, head) = (fs::read(world.path()).unwrap(), fs::read(world.head()).unwrap());
    add(&world.open(), 2);
    let elsewhere = world.open().head(9).unwrap();
    fs::write(world.path(), log).unwrap();
    fs::write(world.head(), head).unwrap();
    world.open();
    let broken = world.kept().verify(host().node_id(), &[elsewhere]).unwrap_err();
    assert_eq!((broken.at, broken.what), (3, What::Truncated));
}

#[test]
fn another_file_is_left_as_it_is() {
    let world = World::new();
    for bytes in [&b""[..], b"something else"] {
        fs::write(world.path(), bytes).unwrap();
        fs::set_permissions(world.path(), Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(world.refused(), OpenError::Foreign { .. }));
    }
}

#[test]
fn a_large_file_forgets_its_older_half_and_says_so() {
    let world = World::new();
    let audit = Audit::with_limit(&world.path(), &host(), 4096).unwrap();
    add(&audit, 100);
    assert!(fs::metadata(world.path()).unwrap().len() < 2 * 4096);
    let early = world.kept().start.unwrap();
    add(&audit, 100);
    drop(audit);
    let kept = world.kept();
    let summary = kept.verify(host().node_id(), &[early]).unwrap();
    assert_eq!((summary.end.seq(), summary.first), (200, kept.start.as_ref().unwrap().seq + 1));
    assert_eq!((summary.heads, summary.older), (1, 1));
    assert_eq!(world.open().append(record(9)).unwrap().seq, 201);
}

#[test]
fn what_was_written_anew_under_a_running_host_is_not_signed_when_its_older_half_goes() {
    let world = World::new();
    let audit = Audit::with_limit(&world.path(), &host(), 4096).unwrap();
    while fs::metadata(world.path()).map_or(0, |file| file.len()) <= 4096 {
        add(&audit, 1);
    }
    // A whole chain takes no key; only a head does.
    let mut chain = Chain::begin(host().node_id());
    let forged: Vec<_> = world.kept().entries.iter().map(|_| chain.append(&mut record(7))).collect();
    world.put(&forged);
    fs::remove_file(world.head()).unwrap();
    let before = fs::read(world.path()).unwrap();
    for _ in 0..2 {
        assert!(audit.append(record(1)).is_err());
        assert!(fs::read(world.path()).unwrap() == before, "the evidence is still there");
    }
}

#[test]
fn a_disk_that_fails_acknowledges_nothing_and_is_tried_again() {
    for records in [0, 1] {
        let world = World::of(records);
        let audit = world.open();
        // No head can be put there.
        fs::create_dir(world.0.path().join("audit.log.head.new")).unwrap();
        assert!(matches!(audit.append(record(1)), Err(Error::Storage { .. })));
        fs::remove_dir(world.0.path().join("audit.log.head.new")).unwrap();
        // The record itself stands there, as an act of unknown fate.
        assert_eq!(audit.append(record(2)).unwrap().seq, records + 2);
        drop(audit);
        assert!(world.kept().verify(host().node_id(), &[]).is_ok());
    }
}
