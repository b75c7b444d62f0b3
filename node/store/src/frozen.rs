//! Whether the host is frozen: a word that outlives its process, whoever said it.

use farhelm_core::identity::NodeId;
use redb::WriteTransaction;
use serde::{Deserialize, Serialize};

use crate::row::Kind;
use crate::{Error, Store, epoch, offer};

/// One row, under [`KEY`], while the host is frozen.
pub(crate) const FROZEN: Kind<Frozen> = Kind::new("frozen");
const KEY: &[u8] = b"frozen";

/// No phone may connect, pair or have anything done until a person at the desk thaws the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Since when, in Unix milliseconds.
    pub at_ms: u64,
    /// Who froze it, or what did.
    pub by: FrozenBy,
}

/// Who froze a host, or what did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FrozenBy {
    /// A person at the desk.
    Desk,
    /// An owner's phone.
    Device(NodeId),
    /// The host itself: it met a word of its own that is newer than what it has stored, so an older store was put in
    /// place, and devices that were removed since may be in it.
    Restored,
}

impl Store {
    /// Freezes the host, and takes every offer back. Says whether it wasn't frozen; if it was, that stays as it is.
    pub fn freeze(&self, frozen: Frozen) -> Result<bool, Error> {
        self.held.write(|transaction| freeze(transaction, frozen))
    }

    /// Thaws it. What it was, if it was frozen. The epoch is above every one that was met then.
    pub fn thaw(&self) -> Result<Option<Frozen>, Error> {
        self.held.write(|transaction| {
            let mut row = FROZEN.write(transaction)?;
            let was = row.get(KEY)?;
            row.remove(KEY)?;
            drop(row);
            if was.is_some() {
                epoch::raise(transaction)?;
            }
            Ok(was)
        })
    }

    /// Whether it is frozen.
    pub fn frozen(&self) -> Result<Option<Frozen>, Error> {
        self.held.read(|transaction| FROZEN.read(transaction)?.get(KEY))
    }
}

/// Freezes within a change. If it is frozen already, that stays as it is.
pub(crate) fn freeze(transaction: &WriteTransaction, frozen: Frozen) -> Result<bool, Error> {
    let mut row = FROZEN.write(transaction)?;
    if row.get(KEY)?.is_some() {
        return Ok(false);
    }
    row.put(KEY, frozen)?;
    offer::withdraw_all(transaction)?;
    Ok(true)
}

/// Freezes a store that was set back. That is what whoever thaws it has to know, so it stands in place of another reason.
pub(crate) fn set_back(transaction: &WriteTransaction, now_ms: u64) -> Result<(), Error> {
    freeze(transaction, Frozen { at_ms: now_ms, by: FrozenBy::Restored })?;
    let mut row = FROZEN.write(transaction)?;
    let at_ms = row.get(KEY)?.map_or(now_ms, |frozen| frozen.at_ms);
    row.put(KEY, Frozen { at_ms, by: FrozenBy::Restored })
}

/// Whether it is, within a change.
pub(crate) fn is_frozen(transaction: &WriteTransaction) -> Result<bool, Error> {
    Ok(FROZEN.write(transaction)?.get(KEY)?.is_some())
}
