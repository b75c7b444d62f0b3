//! The host's audit chain on its disk: what is recorded is there when the call returns, and stays readable by others.
//!
//! A file of frames that only grows, and beside it the newest signed head (`.head`), so that a cut end shows here too
//! and not only to a phone. Both have mode 0600. They hold no secrets, but names and habits. Neither keeps the host's
//! user from writing another chain: see [`farhelm_core::audit`].
//!
//! ```text
//!  append ─▶ frame, synced ─▶ head beside it, synced ─▶ Ok        any step fails ─▶ Err: nothing may be forwarded
//! ```
//!
//! # Why not redb
//! A person, or a second program, must be able to say at which record a file was changed. In a B-tree a changed byte
//! makes a page unreadable, and the file with it; here each record stands by itself. What redb would give, a change
//! that is whole or not there, a single growing end has anyway: what a crash leaves behind it is cut off at the next
//! opening, if no head knows of it.
//!
//! # Why it forgets
//! A file that grows for ever ends on a full disk, and then a host could do nothing any more. Over 16 MiB (tens of
//! thousands of acts) the older half is dropped, and the file begins with a signed head that says where it was.

mod file;
mod frames;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use farhelm_core::audit::{Chain, Head, Record};
use farhelm_core::identity::Identity;

use crate::{Error, OpenError};

pub use file::read;
pub use frames::Kept;

/// A file over this many bytes loses its older half.
const LARGEST: u64 = 16 * 1024 * 1024;

/// An open audit chain. Shared between threads by reference; records are written one after the other.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    host: Identity,
    largest: u64,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// None after a failure, until the next call opens it again: how much of a write was done isn't known then.
    open: Option<Open>,
    /// Where it ended when that was known last.
    end: Chain,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Where the next frame goes.
    length: u64,
    chain: Chain,
}

impl Audit {
    /// Opens the chain at `path`, or begins one. One that is broken is refused and left as it is.
    pub fn open(path: &Path, host: &Identity) -> Result<Self, OpenError> {
        Self::with_limit(path, host, LARGEST)
    }

    fn with_limit(path: &Path, host: &Identity, largest: u64) -> Result<Self, OpenError> {
        let open = Open::new(path, host, None)?;
        let held = Held { end: open.chain.clone(), open: Some(open) };
        Ok(Self { path: path.to_owned(), host: host.clone(), largest, held: Mutex::new(held) })
    }

    /// Adds a record, and returns it with its number. What isn't `Ok` may stand there all the same, as an act of
    /// unknown fate: it wasn't acknowledged, so nothing was forwarded.
    pub fn append(&self, mut record: Record) -> Result<Record, Error> {
        self.run(|open| {
            let mut chain = open.chain.clone();
            let frame = frames::frame(&chain.append(&mut record));
            open.file.write_all_at(&frame, open.length)?;
            open.file.sync_data()?;
            file::write_head(&self.path, &chain.head(&self.host, record.at_ms))?;
            open.chain = chain;
            open.length += frame.len() as u64;
            Ok(())
        })?;
        Ok(record)
    }

    /// Its end, signed now, for somebody else to keep.
    pub fn head(&self, at_ms: u64) -> Result<Head, Error> {
        self.run(|open| Ok(open.chain.head(&self.host, at_ms)))
    }

    fn run<T>(&self, call: impl FnOnce(&mut Open) -> std::io::Result<T>) -> Result<T, Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // What was written anew meanwhile must not be gone on with, and not be signed.
        let end = held.end.clone();
        let end = || end.head(&self.host, 0);
        let mut open = match held.open.take() {
            Some(open) => open,
            None => Open::new(&self.path, &self.host, Some(&end()))?,
        };
        if open.length > self.largest {
            drop(open);
            file::forget(&self.path, &self.host, &end()).map_err(|error| self.failed(error))?;
            open = Open::new(&self.path, &self.host, Some(&end()))?;
        }
        let done = call(&mut open).map_err(|error| self.failed(error))?;
        (held.end, held.open) = (open.chain.clone(), Some(open));
        Ok(done)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let mut error = Error::from(redb::Error::Io(error));
        error.name(&self.path);
        error
    }
}

impl Open {
    /// `end`: where it ended when it was open before.
    fn new(path: &Path, host: &Identity, end: Option<&Head>) -> Result<Self, OpenError> {
        let (file, length, chain) = file::open(path, host, end)?;
        Ok(Self { file, length, chain })
    }
}
