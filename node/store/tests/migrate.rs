//! A journal of an older schema is brought to the newest: wholly, in one step, or not at all.
// A test's unwrap is an assertion; clippy only sees that of functions marked as tests.
#![allow(clippy::unwrap_used)]

#[path = "killed/amidst.rs"]
mod amidst;
mod killed;
#[path = "killed/moment.rs"]
mod moment;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::session::log::{Heard, LogId};
use farhelm_core::wire::cbor;
use farhelm_store::journal::{Act, ActId, Cursors, Peer, Stage};
use farhelm_store::{Journal, OpenError};
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::Serialize;
use serde_bytes::ByteBuf;

const FILE: &str = "FARHELM_TEST_MIGRATE";

type Rows = TableDefinition<'static, &'static [u8], &'static [u8]>;
const SCHEMA: TableDefinition<'static, &'static str, u64> = TableDefinition::new("farhelm.schema");
const CURSORS: Rows = TableDefinition::new("cursors");
const ACTS: Rows = TableDefinition::new("acts");
const OUTGOING: Rows = TableDefinition::new("outgoing");
const MATTERS: Rows = TableDefinition::new("matters");

/// The first one holds redb's header, which is written at each opening.
const PAGE: usize = 4096;

/// An act's row in schema 1: everything in one.
#[derive(Serialize)]
struct ActRow {
    order: u64,
    stage: Stage,
    body: ByteBuf,
    result: ByteBuf,
    at_ms: u64,
}

#[derive(Serialize)]
struct CursorsRow {
    generation: u64,
    log: Option<LogId>,
    next: u64,
    heard: Option<Heard>,
}

#[derive(Serialize)]
struct Versioned<R> {
    v: u8,
    row: R,
}

fn peer(seed: u8) -> NodeId {
    Identity::from_seed(&[seed; 32]).node_id()
}

fn id(order: u64) -> ActId {
    let mut id = [3; 16];
    id[..8].copy_from_slice(&order.to_be_bytes());
    ActId::new(id)
}

/// The acts of each peer: of every stage, and of some sizes.
fn acts(count: u64) -> impl Iterator<Item = Act> {
    (1..=count).map(|order| {
        let stage = [Stage::Received, Stage::Forwarded, Stage::Done][(order % 3) as usize];
        let result = if stage == Stage::Done { vec![8; 700] } else { Vec::new() };
        Act { order, stage, body: vec![order.to_le_bytes()[0]; 40_000], result, at_ms: 1_000 + order }
    })
}

fn cursors() -> Cursors {
    let log = LogId::new([1; 16]);
    Cursors { generation: 3, log: Some(log), next: 4, heard: Some(Heard { log, upto: 9 }) }
}

const PEERS: [u8; 2] = [1, 2];

/// A journal as schema 1 had it, with so many acts of each peer.
fn first_schema(path: &Path, count: u64) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(SCHEMA).unwrap().insert("journal", 1).unwrap();
    for seed in PEERS {
        let below = |rest: &[u8]| [&peer(seed).as_bytes()[..], rest].concat();
        let Cursors { generation, log, next, heard } = cursors();
        let row = cbor::to_vec(&Versioned { v: 1, row: CursorsRow { generation, log, next, heard } });
        transaction.open_table(CURSORS).unwrap().insert(&*below(&[]), &*row).unwrap();
        transaction.open_table(OUTGOING).unwrap().insert(&*below(&4_u64.to_be_bytes()), &b"sent"[..]).unwrap();
        for Act { order, stage, body, result, at_ms } in acts(count) {
            let row = ActRow { order, stage, body: ByteBuf::from(body), result: ByteBuf::from(result), at_ms };
            let mut table = transaction.open_table(ACTS).unwrap();
            table.insert(&*below(&id(order)[..]), &*cbor::to_vec(&row)).unwrap();
        }
    }
    let key = [&[5; 16][..], &7_i64.to_be_bytes()].concat();
    transaction.open_table(MATTERS).unwrap().insert(&*key, &b"what Codex asked"[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn set_schema(path: &Path, schema: u64) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(SCHEMA).unwrap().insert("journal", schema).unwrap();
    transaction.commit().unwrap();
}

/// The schema in the file, and whether its acts are all there in that schema's shape; looked at in a copy.
fn schema_of(path: &Path, count: u64) -> u64 {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).unwrap();
    let database = Database::create(&copy).unwrap();
    let transaction = database.begin_read().unwrap();
    let schema = transaction.open_table(SCHEMA).unwrap().get("journal").unwrap().unwrap().value();
    let acts = transaction.open_table(ACTS).unwrap();
    assert_eq!(acts.len().unwrap(), count * PEERS.len() as u64);
    let whole = acts.iter().unwrap().filter(|row| row.as_ref().unwrap().1.value().len() > 40_000).count() as u64;
    assert_eq!(transaction.open_table(MATTERS).is_ok(), schema < 3, "what Codex asks is kept up to schema 2");
    assert_eq!(whole, if schema == 1 { acts.len().unwrap() } else { 0 });
    schema
}

fn assert_everything_is_there(journal: &Journal, count: u64) {
    let acts: Vec<_> = acts(count).map(|act| (id(act.order), act)).collect();
    for seed in PEERS {
        let kept = Peer { cursors: cursors(), outgoing: vec![(4, b"sent".to_vec())], acts: acts.clone() };
        assert!(journal.read(peer(seed)).unwrap() == kept, "the peer {seed} has something else");
    }
}

struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    /// Opens what must be refused, and checks that it wasn't touched.
    fn refused(&self) -> OpenError {
        let before = fs::read(self.path()).unwrap();
        let error = Journal::open(&self.path()).map(drop).unwrap_err();
        assert!(fs::read(self.path()).unwrap() == before, "the refused file was changed");
        assert!(error.to_string().contains(self.path().to_str().unwrap()), "{error}");
        error
    }
}

#[test]
fn the_first_schema_is_read_and_stays_migrated() {
    let world = World::new();
    first_schema(&world.path(), 5);
    assert_eq!(schema_of(&world.path(), 5), 1);
    for _ in 0..2 {
        assert_everything_is_there(&Journal::open(&world.path()).unwrap(), 5);
        assert_eq!(schema_of(&world.path(), 5), 3);
    }
}

/// As the second schema is the first one, migrated, it is made here by this program, and told to be older.
#[test]
fn the_second_schema_loses_what_codex_asks_and_nothing_else() {
    let world = World::new();
    first_schema(&world.path(), 5);
    drop(Journal::open(&world.path()).unwrap());
    let database = Database::create(world.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(MATTERS).unwrap().insert(&[5; 24][..], &b"what Codex asked"[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    set_schema(&world.path(), 2);
    assert_everything_is_there(&Journal::open(&world.path()).unwrap(), 5);
    assert_eq!(schema_of(&world.path(), 5), 3);
}

#[test]
fn an_empty_one_of_the_first_schema_has_every_table_afterwards() {
    let world = World::new();
    first_schema(&world.path(), 0);
    assert_everything_is_there(&Journal::open(&world.path()).unwrap(), 0);
}

#[test]
fn a_newer_one_is_refused_untouched_and_says_to_update() {
    let world = World::new();
    drop(Journal::open(&world.path()).unwrap());
    set_schema(&world.path(), 4);
    let error = world.refused();
    assert!(
        matches!(error, OpenError::Newer { found: 4, known: 3, .. }) && error.to_string().ends_with("update farhelm")
    );
}

#[test]
fn one_that_cannot_be_migrated_is_refused_untouched() {
    let world = World::new();
    first_schema(&world.path(), 5);
    let database = Database::create(world.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    let key = [&peer(2).as_bytes()[..], &id(4)[..]].concat();
    transaction.open_table(ACTS).unwrap().insert(&*key, &b"nonsense"[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = world.refused();
    assert!(matches!(error, OpenError::Damaged { .. }) && error.to_string().contains("acts"), "{error}");
}

#[test]
fn a_schema_that_never_was_is_refused_untouched() {
    let world = World::new();
    first_schema(&world.path(), 0);
    set_schema(&world.path(), 0);
    assert!(matches!(world.refused(), OpenError::Foreign { .. }));
}

/// The one that is killed: a test only so that this very binary can be run as another process.
#[test]
fn as_another_process_migrate() {
    let Some(file) = std::env::var_os(FILE) else { return };
    Journal::open(Path::new(&file)).unwrap();
}

#[test]
fn a_sigkill_at_any_moment_leaves_the_older_one_whole_or_the_newer_one() {
    const COUNT: u64 = 60;
    let world = World::new();
    let original = world.0.path().join("original");
    first_schema(&original, COUNT);
    let before = fs::read(&original).unwrap();
    let mut amidst = 0;
    for kill in 0..20 {
        fs::write(world.path(), &before).unwrap();
        fs::set_permissions(world.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let child = killed::run("as_another_process_migrate", &[(FILE, &world.path())]);
        amidst::amidst(child, &world.path(), Duration::from_micros(kill * 700));
        let touched = fs::read(world.path()).unwrap()[PAGE..] != before[PAGE..];
        amidst += u32::from(schema_of(&world.path(), COUNT) == 1 && touched);
        assert_everything_is_there(&Journal::open(&world.path()).unwrap(), COUNT);
    }
    assert!(amidst > 0, "never killed while it was at it");
}
