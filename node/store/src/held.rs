//! The database of an open file, opened again after its disk has failed.
//!
//! redb stops at the first I/O error: from then on each call only says that something failed before. A host runs for
//! months, and somebody makes room on a full disk meanwhile, so a database that has stopped is closed, and the next
//! call opens it again, with the same examination as at the start. It isn't a retry: the call that failed has failed.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadTransaction, ReadableDatabase, WriteTransaction};

use crate::layout::Layout;
use crate::{Error, OpenError, file};

/// An error that may be the store's own.
pub(crate) trait Failure: From<Error> {
    /// The store's error in it.
    fn of_store(&mut self) -> Option<&mut Error>;
}

impl Failure for Error {
    fn of_store(&mut self) -> Option<&mut Error> {
        Some(self)
    }
}

/// An open file. Shared between threads by reference.
#[derive(Debug)]
pub(crate) struct Held {
    /// None for one in memory.
    path: Option<PathBuf>,
    layout: &'static Layout,
    opened: RwLock<Opened>,
}

#[derive(Debug)]
struct Opened {
    /// None between a failure and the next call.
    database: Option<Database>,
    /// How many times it was: who saw a failure doesn't close what was opened since.
    times: u64,
}

impl Held {
    pub(crate) fn open(path: &Path, layout: &'static Layout) -> Result<Self, OpenError> {
        let database = file::open(path, layout)?;
        Ok(Self { path: Some(path.to_owned()), layout, opened: Opened::first(database) })
    }

    /// What opening the file would give, without touching it.
    pub(crate) fn look(path: &Path, layout: &'static Layout) -> Result<Self, OpenError> {
        Ok(Self { path: None, layout, opened: Opened::first(file::look(path, layout)?) })
    }

    pub(crate) fn in_memory(layout: &'static Layout) -> Result<Self, Error> {
        Self::on(Database::builder().create_with_backend(InMemoryBackend::new())?, layout)
    }

    /// An empty one that isn't a file.
    pub(crate) fn on(database: Database, layout: &'static Layout) -> Result<Self, Error> {
        layout.furnish(&database)?;
        Ok(Self { path: None, layout, opened: Opened::first(database) })
    }

    /// Reads the state as it is now, while others may change it.
    pub(crate) fn read<T, E: Failure>(&self, look: impl FnOnce(&ReadTransaction) -> Result<T, E>) -> Result<T, E> {
        self.run(|database| look(&database.begin_read().map_err(Error::from)?))
    }

    /// Runs one change: committed and durable if it says `Ok`, without a trace if not (but see [`Error::Storage`]).
    pub(crate) fn write<T, E: Failure>(&self, change: impl FnOnce(&WriteTransaction) -> Result<T, E>) -> Result<T, E> {
        self.run(|database| {
            // redb's default durability is `Immediate`: commit returns after the disk has synced.
            let transaction = database.begin_write().map_err(Error::from)?;
            let done = change(&transaction)?;
            transaction.commit().map_err(Error::from)?;
            Ok(done)
        })
    }

    fn run<T, E: Failure>(&self, call: impl FnOnce(&Database) -> Result<T, E>) -> Result<T, E> {
        loop {
            let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            let Some(database) = &opened.database else {
                drop(opened);
                self.open_again()?;
                continue;
            };
            let (done, times) = (call(database), opened.times);
            drop(opened);
            return done.map_err(|failure| self.failed(failure, times));
        }
    }

    fn failed<E: Failure>(&self, mut failure: E, times: u64) -> E {
        if let Some(error) = failure.of_store() {
            error.name(self.path.as_deref().unwrap_or(Path::new("memory")));
            if error.stops() {
                self.close(times);
            }
        }
        failure
    }

    /// What is in memory would be lost with it, and has no disk that fails.
    fn close(&self, times: u64) {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if self.path.is_some() && opened.times == times {
            opened.database = None;
        }
    }

    fn open_again(&self) -> Result<(), Error> {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        if let (None, Some(path)) = (&opened.database, &self.path) {
            opened.database = Some(file::open_again(path, self.layout)?);
            opened.times += 1;
        }
        Ok(())
    }
}

impl Opened {
    fn first(database: Database) -> RwLock<Self> {
        RwLock::new(Self { database: Some(database), times: 1 })
    }
}
