//! What must survive of sessions: both sides' logs, what was asked and isn't answered, what Codex waits for.
//!
//! A peer is a device for the host, and a host for the phone; the same tables serve both. Changes are written together,
//! of however many peers, because a commit costs a sync of the disk: whoever has ten things to store says so at once.
//!
//! Bodies are what travels, so they may be as large as an envelope; how many there are is bounded by whoever writes.

use std::path::Path;

use farhelm_core::identity::NodeId;
use farhelm_core::session::log::{Heard, LogId};
use farhelm_core::wire::{cbor, limits};
use redb::{ReadTransaction, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::held::Held;
use crate::layout::Layout;
use crate::row::Kind;
use crate::{Error, OpenError};

static LAYOUT: Layout = Layout {
    kind: "journal",
    create: |transaction| {
        CURSORS.write(transaction)?;
        transaction.open_table(OUTGOING)?;
        transaction.open_table(ACTS)?;
        MATTERS.write(transaction)?;
        Ok(())
    },
    steps: &[],
    instead: "move it away: what was on its way is lost with it, pairings are not",
};

/// By the peer's key, 32 bytes.
const CURSORS: Kind<CursorsRow> = Kind::new("cursors");
/// By the peer's key and the entry's number, big endian: envelopes as they travel.
const OUTGOING: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("outgoing");
/// By the peer's key and the act's id, 16 bytes.
const ACTS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("acts");
/// By the app-server process, 16 bytes, and the number of its request, big endian.
const MATTERS: Kind<Matter> = Kind::new("matters");

/// An act: what was asked, and what was answered, each an envelope at most.
const ACT: usize = 2 * limits::ENVELOPE + 1024;

/// Names an act: random, or derived from what it says.
pub type ActId = ByteArray<16>;

/// An open journal. Shared between threads by reference; changes wait for each other. Calls block for the disk.
#[derive(Debug)]
pub struct Journal {
    held: Held,
}

/// Everything about one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where the logs stand.
    pub cursors: Cursors,
    /// Entries that it hasn't acknowledged, by number.
    pub outgoing: Vec<(u64, Vec<u8>)>,
    /// What was asked, in the order in which it was.
    pub acts: Vec<(ActId, Act)>,
}

/// Where both logs of a peer stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursors {
    /// The highest generation of a path.
    pub generation: u64,
    /// The name of our own log; none before the first entry.
    pub log: Option<LogId>,
    /// The number of our next entry.
    pub next: u64,
    /// What is stored of the peer's log.
    pub heard: Option<Heard>,
}

/// Something that was asked, until its answer isn't needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Counted up: what was asked first has the lower one.
    pub order: u64,
    /// How far it is.
    pub stage: Stage,
    /// What was asked: an envelope.
    pub body: Vec<u8>,
    /// What was answered: an envelope; empty before that.
    pub result: Vec<u8>,
    /// When it was asked, in Unix milliseconds.
    pub at_ms: u64,
}

/// How far an act is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// It is here, and nothing was done.
    Received,
    /// It may have been done.
    Forwarded,
    /// It is answered.
    Done,
}

/// Names what Codex asks: an app-server process and the number of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatterKey {
    /// The process.
    pub epoch: [u8; 16],
    /// The request.
    pub request: i64,
}

/// Something that Codex asks, and by when phones may answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matter {
    /// Thread id.
    pub thread: String,
    /// Turn id.
    pub turn: String,
    /// Item id.
    pub item: String,
    /// Unix milliseconds.
    pub deadline_ms: u64,
}

/// One change; those of one call are made together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The logs stand here now.
    Cursors(NodeId, Cursors),
    /// An entry of our log.
    Push(NodeId, u64, Vec<u8>),
    /// The peer has every entry up to this one.
    Trim(NodeId, u64),
    /// An act is new, or further than it was.
    Act(NodeId, ActId, Act),
    /// An act is over.
    ForgetAct(NodeId, ActId),
    /// Nothing of this peer is needed any more.
    Forget(NodeId),
    /// Codex asks something.
    Matter(MatterKey, Matter),
    /// It doesn't ask it any more.
    ForgetMatter(MatterKey),
}

#[derive(Serialize, Deserialize)]
struct CursorsRow {
    generation: u64,
    log: Option<LogId>,
    next: u64,
    heard: Option<Heard>,
}

#[derive(Serialize, Deserialize)]
struct ActRow {
    order: u64,
    stage: Stage,
    body: ByteBuf,
    result: ByteBuf,
    at_ms: u64,
}

impl Journal {
    /// Opens the journal at `path`, or makes an empty one there (mode 0600). A file that isn't a whole journal of ours is
    /// refused and not touched.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Held::open(path, &LAYOUT).map(|held| Self { held })
    }

    /// One that forgets with the process.
    pub fn in_memory() -> Result<Self, Error> {
        Held::in_memory(&LAYOUT).map(|held| Self { held })
    }

    /// Every peer that something is kept of.
    pub fn peers(&self) -> Result<Vec<NodeId>, Error> {
        let rows = self.held.read(|transaction| CURSORS.read(transaction)?.all())?;
        rows.into_iter().map(|(key, _)| node(&key)).collect()
    }

    /// Everything about one peer; nothing, if it isn't known.
    pub fn read(&self, peer: NodeId) -> Result<Peer, Error> {
        self.held.read(|transaction| {
            let cursors = CURSORS.read(transaction)?.get(peer.as_bytes())?.map(Cursors::from).unwrap_or_default();
            let outgoing = rows(transaction, OUTGOING, peer)?;
            let outgoing =
                outgoing.into_iter().map(|(key, body)| Ok((number(&key), body))).collect::<Result<_, Error>>()?;
            let acts = rows(transaction, ACTS, peer)?;
            let mut acts = acts.into_iter().map(|(key, bytes)| act(&key, &bytes)).collect::<Result<Vec<_>, _>>()?;
            acts.sort_by_key(|(_, act)| act.order);
            Ok(Peer { cursors, outgoing, acts })
        })
    }

    /// What Codex asked and wasn't over when that was written last.
    pub fn matters(&self) -> Result<Vec<(MatterKey, Matter)>, Error> {
        let rows = self.held.read(|transaction| MATTERS.read(transaction)?.all())?;
        rows.into_iter().map(|(key, matter)| Ok((MatterKey::read(&key)?, matter))).collect()
    }

    /// Makes all of these changes: durable when this returns, and none of them if it errs.
    pub fn write(&self, changes: &[Change]) -> Result<(), Error> {
        self.held.write(|transaction| changes.iter().try_for_each(|change| change.make(transaction)))
    }
}

impl Change {
    fn make(&self, transaction: &WriteTransaction) -> Result<(), Error> {
        match self {
            Self::Cursors(peer, cursors) => {
                CURSORS.write(transaction)?.put(peer.as_bytes(), CursorsRow::from(cursors.clone()))?;
            }
            Self::Push(peer, seq, body) => {
                transaction.open_table(OUTGOING)?.insert(&*entry(*peer, *seq), &**body)?;
            }
            Self::Trim(peer, upto) => {
                let (first, last) = (entry(*peer, 0), entry(*peer, *upto));
                transaction.open_table(OUTGOING)?.retain_in(&*first..=&*last, |_, _| false)?;
            }
            Self::Act(peer, id, act) => {
                let bytes = cbor::to_vec(&ActRow::from(act.clone()));
                transaction.open_table(ACTS)?.insert(&*below(*peer, &id[..]), &*bytes)?;
            }
            Self::ForgetAct(peer, id) => {
                transaction.open_table(ACTS)?.remove(&*below(*peer, &id[..]))?;
            }
            Self::Forget(peer) => forget(transaction, *peer)?,
            Self::Matter(key, matter) => MATTERS.write(transaction)?.put(&key.bytes(), matter.clone())?,
            Self::ForgetMatter(key) => {
                MATTERS.write(transaction)?.remove(&key.bytes())?;
            }
        }
        Ok(())
    }
}

fn forget(transaction: &WriteTransaction, peer: NodeId) -> Result<(), Error> {
    CURSORS.write(transaction)?.remove(peer.as_bytes())?;
    for table in [OUTGOING, ACTS] {
        let (first, last) = (below(peer, &[]), below(peer, &[0xff; 17]));
        transaction.open_table(table)?.retain_in(&*first..=&*last, |_, _| false)?;
    }
    Ok(())
}

/// Every row of a peer, by what stands behind its key.
fn rows(
    transaction: &ReadTransaction,
    table: TableDefinition<'static, &'static [u8], &'static [u8]>,
    peer: NodeId,
) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
    let (first, last) = (below(peer, &[]), below(peer, &[0xff; 17]));
    let table = transaction.open_table(table)?;
    let rows = table.range(&*first..=&*last)?;
    rows.map(|row| row.map(|(key, value)| (key.value()[32..].to_vec(), value.value().to_vec())).map_err(Error::from))
        .collect()
}

fn below(peer: NodeId, rest: &[u8]) -> Vec<u8> {
    [&peer.as_bytes()[..], rest].concat()
}

fn entry(peer: NodeId, seq: u64) -> Vec<u8> {
    below(peer, &seq.to_be_bytes())
}

fn number(key: &[u8]) -> u64 {
    key.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn node(key: &[u8]) -> Result<NodeId, Error> {
    let node = key.try_into().ok().and_then(|bytes| NodeId::from_bytes(bytes).ok());
    node.ok_or(Error::unreadable("cursors"))
}

fn act(key: &[u8], bytes: &[u8]) -> Result<(ActId, Act), Error> {
    let unreadable = || Error::unreadable("acts");
    let id: [u8; 16] = key.try_into().map_err(|_| unreadable())?;
    let row: ActRow = cbor::from_slice(bytes, ACT).map_err(|_| unreadable())?;
    Ok((ActId::new(id), row.into()))
}

impl MatterKey {
    fn bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&self.epoch);
        bytes[16..].copy_from_slice(&self.request.to_be_bytes());
        bytes
    }

    fn read(key: &[u8]) -> Result<Self, Error> {
        let split = key.split_first_chunk::<16>().and_then(|(epoch, rest)| Some((*epoch, rest.try_into().ok()?)));
        let (epoch, request) = split.ok_or(Error::unreadable("matters"))?;
        Ok(Self { epoch, request: i64::from_be_bytes(request) })
    }
}

impl From<CursorsRow> for Cursors {
    fn from(CursorsRow { generation, log, next, heard }: CursorsRow) -> Self {
        Self { generation, log, next, heard }
    }
}

impl From<Cursors> for CursorsRow {
    fn from(Cursors { generation, log, next, heard }: Cursors) -> Self {
        Self { generation, log, next, heard }
    }
}

impl From<ActRow> for Act {
    fn from(ActRow { order, stage, body, result, at_ms }: ActRow) -> Self {
        Self { order, stage, body: body.into_vec(), result: result.into_vec(), at_ms }
    }
}

impl From<Act> for ActRow {
    fn from(Act { order, stage, body, result, at_ms }: Act) -> Self {
        Self { order, stage, body: ByteBuf::from(body), result: ByteBuf::from(result), at_ms }
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::identity::Identity;

    use super::*;

    fn peer(seed: u8) -> NodeId {
        Identity::from_seed(&[seed; 32]).node_id()
    }

    fn act(order: u64) -> Act {
        Act { order, stage: Stage::Received, body: vec![1; 20_000], result: Vec::new(), at_ms: 5 }
    }

    fn cursors() -> Cursors {
        let log = LogId::new([1; 16]);
        Cursors { generation: 3, log: Some(log), next: 4, heard: Some(Heard { log, upto: 9 }) }
    }

    #[test]
    fn what_is_written_is_read_by_peer() {
        let journal = Journal::in_memory().unwrap();
        let (a, b, id) = (peer(1), peer(2), |n| ActId::new([n; 16]));
        let changes = [
            Change::Cursors(a, cursors()),
            Change::Push(a, 2, vec![2]),
            Change::Push(a, 3, vec![3; 100_000]),
            Change::Push(b, 300, vec![4]),
            Change::Act(a, id(9), act(1)),
            Change::Act(a, id(1), act(2)),
        ];
        journal.write(&changes).unwrap();
        let read = journal.read(a).unwrap();
        assert_eq!(read.cursors, cursors());
        assert_eq!(read.outgoing, [(2, vec![2]), (3, vec![3; 100_000])]);
        assert_eq!(read.acts, [(id(9), act(1)), (id(1), act(2))]);
        assert_eq!(journal.read(b).unwrap().outgoing, [(300, vec![4])]);
        assert_eq!(journal.peers().unwrap(), [a]);
        assert_eq!(journal.read(peer(3)).unwrap(), Peer::default());
    }

    #[test]
    fn what_is_over_is_gone() {
        let journal = Journal::in_memory().unwrap();
        let (a, b, id) = (peer(1), peer(2), ActId::new([7; 16]));
        let push = |peer, seq| Change::Push(peer, seq, vec![1]);
        let all = (1..300).flat_map(|seq| [push(a, seq), push(b, seq)]);
        journal
            .write(&all.chain([Change::Act(a, id, act(1)), Change::Cursors(a, cursors())]).collect::<Vec<_>>())
            .unwrap();
        journal.write(&[Change::Trim(a, 298), Change::ForgetAct(a, id)]).unwrap();
        let read = journal.read(a).unwrap();
        assert_eq!((read.outgoing, read.acts), (vec![(299, vec![1])], vec![]));
        journal.write(&[Change::Forget(a)]).unwrap();
        assert_eq!(journal.read(a).unwrap(), Peer::default());
        assert_eq!(journal.read(b).unwrap().outgoing.len(), 299);
    }

    #[test]
    fn what_codex_asks_is_kept_until_it_does_not_ask_it() {
        let journal = Journal::in_memory().unwrap();
        let key = |request| MatterKey { epoch: [5; 16], request };
        let matter = Matter { thread: "t".into(), turn: "u".into(), item: "i".into(), deadline_ms: 8 };
        journal.write(&[Change::Matter(key(-1), matter.clone()), Change::Matter(key(2), matter.clone())]).unwrap();
        journal.write(&[Change::ForgetMatter(key(-1)), Change::ForgetMatter(key(77))]).unwrap();
        assert_eq!(journal.matters().unwrap(), [(key(2), matter)]);
    }

    #[test]
    fn a_store_is_no_journal_and_a_journal_no_store() {
        let dir = tempfile::tempdir().unwrap();
        let (store, journal) = (dir.path().join("store"), dir.path().join("journal"));
        drop(crate::Store::open(&store).unwrap());
        drop(Journal::open(&journal).unwrap());
        assert!(matches!(Journal::open(&store), Err(OpenError::Foreign { .. })));
        assert!(matches!(crate::Store::open(&journal), Err(OpenError::Foreign { .. })));
    }

    #[test]
    fn it_is_there_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = Journal::open(&path).unwrap();
        assert!(matches!(Journal::open(&path), Err(OpenError::InUse { .. })));
        journal.write(&[Change::Push(peer(1), 1, vec![1])]).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path).unwrap().read(peer(1)).unwrap().outgoing, [(1, vec![1])]);
    }
}
