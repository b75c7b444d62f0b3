//! Which files are opened as a store, and that the others stay as they were.
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use farhelm_core::pairing::TicketSecret;
use farhelm_core::policy::Terms;
use farhelm_store::{OpenError, Store};
use redb::{Database, TableDefinition};

const SCHEMA: TableDefinition<'static, &'static str, u64> = TableDefinition::new("farhelm.schema");

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn with(bytes: &[u8]) -> Self {
        let world = Self::new();
        fs::write(world.path(), bytes).unwrap();
        fs::set_permissions(world.path(), fs::Permissions::from_mode(0o600)).unwrap();
        world
    }

    /// A database of redb's with one entry in `table`.
    fn with_table(table: TableDefinition<'static, &'static str, u64>, version: u64) -> Self {
        let world = Self::with(b"");
        let database = Database::create(world.path()).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(table).unwrap().insert("version", version).unwrap();
        transaction.commit().unwrap();
        world
    }

    /// Opens what must be refused, and checks that it wasn't touched.
    fn refused(&self) -> OpenError {
        let before = fs::read(self.path()).unwrap();
        let error = Store::open(&self.path()).map(drop).unwrap_err();
        assert!(fs::read(self.path()).unwrap() == before, "the refused file was changed");
        assert!(error.to_string().contains("store"), "{error}");
        error
    }
}

/// A store with something in it.
fn store() -> Vec<u8> {
    let world = World::new();
    let store = Store::open(&world.path()).unwrap();
    store.add_relay("/dns/relay.example/tcp/4001").unwrap();
    for seed in 0..20 {
        store.open_offer(&TicketSecret::from_bytes([seed; 16]), 1, &Terms::default()).unwrap();
    }
    drop(store);
    fs::read(world.path()).unwrap()
}

#[test]
fn a_new_store_is_private_and_nothing_is_left_beside_it() {
    let world = World::new();
    Store::open(&world.path()).unwrap();
    assert_eq!(fs::metadata(world.path()).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(world.0.path()).unwrap().count(), 1);
}

#[test]
fn a_second_opening_is_refused_while_the_first_lasts() {
    let world = World::new();
    let first = Store::open(&world.path()).unwrap();
    assert!(matches!(Store::open(&world.path()), Err(OpenError::InUse { .. })));
    drop(first);
    Store::open(&world.path()).unwrap();
}

#[test]
fn files_of_others_are_refused_untouched() {
    let texts: [&[u8]; 4] = [b"", b"x", b"SQLite format 3\0\x10\0\x01\x01", &[b'#'; 300_000]];
    for bytes in texts {
        assert!(matches!(World::with(bytes).refused(), OpenError::Foreign { .. }));
    }
    let other = World::with_table(TableDefinition::new("another program's"), 1);
    assert!(matches!(other.refused(), OpenError::Foreign { .. }));
}

#[test]
fn a_newer_schema_is_refused_untouched_and_says_to_update() {
    let error = World::with_table(SCHEMA, 1_000).refused();
    assert!(matches!(error, OpenError::Newer { found: 1_000, .. }) && error.to_string().ends_with("update farhelm"));
}

#[test]
fn a_file_that_others_may_read_is_refused_with_the_chmod() {
    let world = World::with(&store());
    for loose in [0o640, 0o604, 0o660] {
        fs::set_permissions(world.path(), fs::Permissions::from_mode(loose)).unwrap();
        let error = world.refused();
        assert!(matches!(error, OpenError::TooOpen { mode, .. } if mode == loose));
        assert!(error.to_string().contains(&format!("chmod 600 '{}'", world.path().display())));
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_io_error() {
    let error = Store::open(Path::new("/nonexistent/store")).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Io { action: "create", .. }) && error.to_string().contains("--state-dir"));
}

#[test]
fn a_truncated_store_is_refused_untouched() {
    let whole = store();
    for length in [9, 64, 320, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        let error = World::with(&whole[..length]).refused();
        assert!(matches!(error, OpenError::Damaged { .. }), "{length} of {}: {error}", whole.len());
    }
}

/// A flipped bit either is in what nobody reads (free pages), or is found; it is never taken for data.
#[test]
fn a_flipped_bit_is_found_or_harmless() {
    let whole = store();
    let mut found = 0;
    for place in (0..320).step_by(3).chain((320..whole.len()).step_by(1021)) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1 << (place % 8);
        let world = World::with(&bytes);
        match Store::open(&world.path()) {
            Ok(store) => {
                assert_eq!(store.relays().unwrap(), ["/dns/relay.example/tcp/4001"], "byte {place}");
                assert_eq!(store.offers().unwrap().len(), 20, "byte {place}");
            }
            Err(OpenError::Damaged { .. } | OpenError::Foreign { .. }) => {
                assert!(fs::read(world.path()).unwrap() == bytes, "byte {place}: the refused file was changed");
                found += 1;
            }
            Err(error) => panic!("byte {place}: {error}"),
        }
    }
    assert!(found > 50, "only {found} found");
}
