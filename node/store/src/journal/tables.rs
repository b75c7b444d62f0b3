//! How a journal stands in its file, and how each change changes it.
//!
//! Keys begin with the peer's, so that what is one peer's stands together. Small rows are CBOR (see `row`); bodies
//! stand in tables of their own, as they travel: a prompt with images is megabytes, and its act is written at each
//! stage.

use std::collections::BTreeSet;

use farhelm_core::identity::NodeId;
use farhelm_core::session::log::{Heard, LogId};
use farhelm_core::wire::{cbor, limits};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::bodies::Bodies;
use super::{Act, ActId, Change, Cursors, Peer, Stage};
use crate::Error;
use crate::layout::Layout;
use crate::row::{self, Kind};

pub(super) static LAYOUT: Layout = Layout {
    kind: "journal",
    create: |transaction| {
        CURSORS.write(transaction)?;
        ACTS.write(transaction)?;
        for bodies in [OUTGOING, ASKED, ANSWERED] {
            bodies.create(transaction)?;
        }
        Ok(())
    },
    steps: &[bodies_apart, no_matters],
    instead: "move it away: what was on its way is lost with it, pairings are not",
};

/// By the peer's key, 32 bytes.
const CURSORS: Kind<CursorsRow> = Kind::new("cursors");
/// By the peer's key and the act's id, 16 bytes.
const ACTS: Kind<ActRow> = Kind::new("acts");
/// By the peer's key and the entry's number, big endian.
const OUTGOING: Bodies = Bodies::new("outgoing");
/// As acts.
const ASKED: Bodies = Bodies::new("asked");
/// As acts, once there is an answer.
const ANSWERED: Bodies = Bodies::new("answered");

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
    at_ms: u64,
}

/// Every peer that something is kept of, without reading what.
pub(super) fn peers(transaction: &ReadTransaction) -> Result<Vec<NodeId>, Error> {
    let mut peers = BTreeSet::new();
    for name in ["cursors", "acts", "outgoing"] {
        let table: ReadOnlyTable<row::Key, row::Value> = transaction.open_table(TableDefinition::new(name))?;
        let mut from = Vec::new();
        while let Some(row) = table.range(&*from..)?.next() {
            let peer = node(row?.0.value(), name)?;
            peers.insert(peer);
            from = last(peer);
        }
    }
    Ok(peers.into_iter().collect())
}

/// Everything about one peer.
pub(super) fn peer(transaction: &ReadTransaction, peer: NodeId) -> Result<Peer, Error> {
    let cursors = CURSORS.read(transaction)?.get(peer.as_bytes())?.map(Cursors::from).unwrap_or_default();
    let mut acts = acts(transaction, peer)?;
    acts.sort_by_key(|(_, act)| act.order);
    Ok(Peer { cursors, outgoing: outgoing(transaction, peer)?, acts })
}

fn outgoing(transaction: &ReadTransaction, peer: NodeId) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let bodies = OUTGOING.range(transaction, &first(peer), &last(peer), entry(peer, 0).len())?;
    let entry = |(key, body): (Vec<u8>, _)| {
        let seq = key[32..].try_into().map_err(|_| Error::unreadable("outgoing"))?;
        Ok((u64::from_be_bytes(seq), body))
    };
    bodies.into_iter().map(entry).collect()
}

fn acts(transaction: &ReadTransaction, peer: NodeId) -> Result<Vec<(ActId, Act)>, Error> {
    let rows = ACTS.read(transaction)?.range(&first(peer), &last(peer))?;
    let act = |(key, row): (Vec<u8>, ActRow)| {
        let unreadable = || Error::unreadable("acts");
        let id: [u8; 16] = key[32..].try_into().map_err(|_| unreadable())?;
        let body = ASKED.get(transaction, &key)?.ok_or_else(unreadable)?;
        let result = ANSWERED.get(transaction, &key)?.unwrap_or_default();
        let ActRow { order, stage, at_ms } = row;
        Ok((ActId::new(id), Act { order, stage, body, result, at_ms }))
    };
    rows.into_iter().map(act).collect()
}

impl Change {
    pub(super) fn make(&self, transaction: &WriteTransaction) -> Result<(), Error> {
        match self {
            Self::Cursors(peer, cursors) => {
                CURSORS.write(transaction)?.put(peer.as_bytes(), CursorsRow::from(cursors.clone()))
            }
            Self::Push(peer, seq, body) => OUTGOING.put(transaction, &entry(*peer, *seq), body),
            Self::Trim(peer, upto) => OUTGOING.remove(transaction, &entry(*peer, 0), &entry(*peer, *upto)),
            Self::Act(peer, id, act) => put_act(transaction, &below(*peer, &id[..]), act),
            Self::ForgetAct(peer, id) => forget_act(transaction, &below(*peer, &id[..])),
            Self::Forget(peer) => forget(transaction, *peer),
        }
    }
}

fn put_act(transaction: &WriteTransaction, key: &[u8], act: &Act) -> Result<(), Error> {
    let Act { order, stage, ref body, ref result, at_ms } = *act;
    ACTS.write(transaction)?.put(key, ActRow { order, stage, at_ms })?;
    ASKED.put(transaction, key, body)?;
    if result.is_empty() { ANSWERED.remove(transaction, key, key) } else { ANSWERED.put(transaction, key, result) }
}

fn forget_act(transaction: &WriteTransaction, key: &[u8]) -> Result<(), Error> {
    ACTS.write(transaction)?.remove(key)?;
    ASKED.remove(transaction, key, key)?;
    ANSWERED.remove(transaction, key, key)
}

fn forget(transaction: &WriteTransaction, peer: NodeId) -> Result<(), Error> {
    CURSORS.write(transaction)?.remove(peer.as_bytes())?;
    ACTS.write(transaction)?.clear(&first(peer), &last(peer))?;
    for bodies in [OUTGOING, ASKED, ANSWERED] {
        bodies.remove(transaction, &first(peer), &last(peer))?;
    }
    Ok(())
}

/// From schema 1 to 2: what was asked and answered stood in the act's own row.
fn bodies_apart(transaction: &WriteTransaction) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Before {
        order: u64,
        stage: Stage,
        body: ByteBuf,
        result: ByteBuf,
        at_ms: u64,
    }
    const ACTS: TableDefinition<'static, row::Key, row::Value> = TableDefinition::new("acts");
    let keys: Result<Vec<_>, Error> = transaction.open_table(ACTS)?.iter()?.map(key_of).collect();
    for key in keys? {
        let before = transaction.open_table(ACTS)?.get(&*key)?.map(|row| row.value().to_vec());
        let before: Result<Before, _> = cbor::from_slice(&before.unwrap_or_default(), 2 * limits::ENVELOPE + 1024);
        let Before { order, stage, body, result, at_ms } = before.map_err(|_| Error::unreadable("acts"))?;
        let act = Act { order, stage, body: body.into_vec(), result: result.into_vec(), at_ms };
        put_act(transaction, &key, &act)?;
    }
    ANSWERED.create(transaction)?;
    ASKED.create(transaction)
}

/// From schema 2 to 3: what Codex asks was kept for its deadline, which Codex's own time of asking gives now.
fn no_matters(transaction: &WriteTransaction) -> Result<(), Error> {
    const MATTERS: TableDefinition<'static, row::Key, row::Value> = TableDefinition::new("matters");
    transaction.delete_table(MATTERS)?;
    Ok(())
}

fn key_of(row: Result<row::Entry<'_>, redb::StorageError>) -> Result<Vec<u8>, Error> {
    Ok(row?.0.value().to_vec())
}

fn below(peer: NodeId, rest: &[u8]) -> Vec<u8> {
    [&peer.as_bytes()[..], rest].concat()
}

/// Not above any key that begins with the peer's.
fn first(peer: NodeId) -> Vec<u8> {
    below(peer, &[])
}

/// Above every key that begins with the peer's.
fn last(peer: NodeId) -> Vec<u8> {
    below(peer, &[0xff; 17])
}

fn entry(peer: NodeId, seq: u64) -> Vec<u8> {
    below(peer, &seq.to_be_bytes())
}

fn node(key: &[u8], table: &'static str) -> Result<NodeId, Error> {
    let node = key.first_chunk::<32>().and_then(|bytes| NodeId::from_bytes(*bytes).ok());
    node.ok_or_else(|| Error::unreadable(table))
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
