//! What a host must not forget: who is paired, which tickets are spent, who was removed, over which relays it is found.
//!
//! One file, written in transactions: each change is whole or not there, and is on the disk when the call returns.
//! Neither a SIGKILL at any instruction nor a power failure nor a full disk loses anything that was acknowledged. Calls
//! block for a sync of the disk (milliseconds): from async code go through a blocking thread. There is no clock here;
//! the caller passes Unix milliseconds.
//!
//! A second file, the [`Journal`], holds what must survive of sessions, at the host and at the phone. They are two
//! because they are worth different care: what is lost with the first is who is paired, with the second what was on
//! its way. Neither is a cache, nor a log of what happened: that is a third, [`Audit`], a chain of records that others
//! can check.
//!
//! ```text
//!   Store    device, offer, relay ─┐                        ┌─ layout: which tables, and from older ones to them
//!                                  ├─▶ held: one open file ─┤
//!   Journal  journal::tables ──────┘   (again after a fault) └─ file: made, examined in a shadow, opened, made small
//!   Audit    audit::frames ──────────▶ audit::file: frames that are only added, and a signed head beside them
//! ```
//!
//! # Why redb
//! Pure Rust without a C compiler for each phone and desk, one file, copy-on-write B-trees with checksums, a commit
//! that is durable when it returns, a file format declared stable, and a lock against a second process. SQLite is as
//! safe but is C and a query language for four tables; sled's format isn't stable; a file of our own, replaced at each
//! change, would do for the devices and not for the journal.
//!
//! # What it doesn't protect
//! Pairing secrets stand in the file as they are, and prompts and answers in the journal; their mode (0600) and their
//! directory are their protection, and freed pages keep what they held until they are used again. Whoever reads the
//! file can pretend to the host to be a paired phone only with the phone's own key as well.

pub mod audit;
pub mod journal;
pub mod offer;

mod device;
mod epoch;
mod error;
mod file;
mod frozen;
mod held;
mod layout;
#[cfg(test)]
mod power;
mod relay;
mod row;
mod shadow;
#[cfg(test)]
mod tests;

use std::path::Path;

use held::Held;
use layout::Layout;

pub use audit::Audit;
pub use device::{Device, Newcomer};
pub use error::{Error, OpenError};
pub use frozen::{Frozen, FrozenBy};
pub use journal::Journal;

/// Who is paired, and what goes with that.
static LAYOUT: Layout = Layout {
    kind: "version",
    create: |transaction| {
        device::DEVICES.write(transaction)?;
        device::TOMBSTONES.write(transaction)?;
        offer::OFFERS.write(transaction)?;
        relay::RELAYS.write(transaction)?;
        frozen::FROZEN.write(transaction)?;
        epoch::EPOCH.write(transaction)?;
        Ok(())
    },
    steps: &[
        |transaction| frozen::FROZEN.write(transaction).map(drop),
        |transaction| epoch::EPOCH.write(transaction).map(drop),
    ],
    instead: "restore a backup, or move it away and pair your phones again",
};

/// An open store. Shared between threads by reference; changes wait for each other, reads don't wait.
#[derive(Debug)]
pub struct Store {
    held: Held,
}

impl Store {
    /// Opens the store at `path`, or makes an empty one there (mode 0600). A file that isn't a whole store of ours is
    /// refused and not touched.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Held::open(path, &LAYOUT).map(|held| Self { held })
    }

    /// What [`open`](Self::open) would give of a file that is there, to look at: changes are made in memory only.
    pub fn look(path: &Path) -> Result<Self, OpenError> {
        Held::look(path, &LAYOUT).map(|held| Self { held })
    }
}
