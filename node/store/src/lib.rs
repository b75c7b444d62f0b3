//! What a host must not forget: who is paired, which tickets are spent, who was removed, over which relays it is found.
//!
//! One file, written in transactions: each change is whole or not there, and is on the disk when the call returns. A
//! SIGKILL at any instruction loses nothing that was acknowledged. Calls block for a sync of the disk (milliseconds):
//! from async code go through a blocking thread. There is no clock here; the caller passes Unix milliseconds.
//!
//! A second file, the [`Journal`], holds what must survive of sessions, at the host and at the phone. They are two files
//! because they are worth different care: what is lost with the first is who is paired, with the second what was on its
//! way. Neither is a cache, nor a log of what happened: audit is not here yet.
//!
//! # Why redb
//! Pure Rust without a C compiler for each phone and desk, one file, copy-on-write B-trees with checksums, a commit
//! that is durable when it returns, a file format declared stable, and a lock against a second process. SQLite is as
//! safe but is C and a query language for four tables; sled's format isn't stable; a file of our own, replaced at each
//! change, would do today and not for the ledger that comes.
//!
//! # What it doesn't protect
//! Pairing secrets stand in the file as they are; its mode (0600) and its directory are their protection, and freed
//! pages keep what they held until they are used again. Whoever reads the file can pretend to the host to be a paired
//! phone only with the phone's own key as well.

pub mod journal;
pub mod offer;

mod device;
mod file;
mod relay;
mod row;
#[cfg(test)]
mod tests;

use std::path::Path;

use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};

pub use device::{Device, Newcomer};
pub use file::OpenError;
pub use journal::Journal;

/// Why the store couldn't answer or change. Nothing was changed then (but see [`Error::Storage`]).
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk or the file failed us. If a commit fails, only opening the store again tells whether it happened.
    #[error("the store failed: {0}; check the disk and make room on it, then start again")]
    Storage(Box<redb::Error>),
    /// A value isn't what this version wrote.
    #[error(
        "the host's store holds an entry in {table} that this version can't read; update farhelm or restore a backup"
    )]
    Unreadable {
        /// The table.
        table: &'static str,
    },
    /// A value is larger than its kind may be, so that it couldn't be read back.
    #[error(
        "an entry of {length} bytes is too long for the host's store ({table}); shorten its name, address or folders"
    )]
    TooLong {
        /// The table.
        table: &'static str,
        /// The encoded value's bytes.
        length: usize,
    },
}

macro_rules! from_redb {
    ($($error:ident),+) => {$(
        impl From<redb::$error> for Error {
            fn from(error: redb::$error) -> Self {
                Self::Storage(Box::new(error.into()))
            }
        }
    )+};
}
from_redb!(TransactionError, TableError, StorageError, CommitError);

/// An open store. Shared between threads by reference; changes wait for each other, reads don't wait.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens the store at `path`, or makes an empty one there (mode 0600). A file that isn't a whole store of ours is
    /// refused and not touched.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        file::open(path, &file::STORE).map(|database| Self { database })
    }

    fn read(&self) -> Result<ReadTransaction, Error> {
        Ok(self.database.begin_read()?)
    }

    /// Runs one change: committed and durable if it says `Ok`, without a trace if not.
    fn write<T, E: From<Error>>(&self, change: impl FnOnce(&WriteTransaction) -> Result<T, E>) -> Result<T, E> {
        // redb's default durability is `Immediate`: commit returns after the disk has synced.
        let transaction = self.database.begin_write().map_err(Error::from)?;
        let done = change(&transaction)?;
        transaction.commit().map_err(Error::from)?;
        Ok(done)
    }
}
