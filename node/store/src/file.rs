//! The store's file: made whole or not at all, and opened only if it is ours.
//!
//! A new store is built beside its place and linked there when it is complete, so a crash on the first start leaves no
//! half a file to be refused on the second. An existing one is first examined in a copy in memory (it is small: some
//! hundred KiB), because redb repairs what it opens: what we refuse must stay as it was, byte for byte. If the
//! store ever grows large, examine it in place.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError, TableDefinition, TableError,
    WriteTransaction,
};

use crate::{Error, device, offer, relay};

/// What a kind of file holds.
pub(crate) struct Layout {
    /// Under which its schema's number stands: one kind isn't taken for another.
    pub(crate) kind: &'static str,
    /// What the tables mean. A version that changes this reads the older ones; an older program refuses the newer.
    pub(crate) schema: u64,
    /// Makes every table, so that a reader never finds one missing.
    pub(crate) create: fn(&WriteTransaction) -> Result<(), Error>,
    /// What to do without it.
    pub(crate) instead: &'static str,
}

/// Who is paired, and what goes with that.
pub(crate) const STORE: Layout = Layout {
    kind: "version",
    schema: 1,
    create: |transaction| {
        device::DEVICES.write(transaction)?;
        device::TOMBSTONES.write(transaction)?;
        offer::OFFERS.write(transaction)?;
        relay::RELAYS.write(transaction)?;
        Ok(())
    },
    instead: "restore a backup, or move it away and pair your phones again",
};

const SCHEMA_TABLE: TableDefinition<'static, &'static str, u64> = TableDefinition::new("farhelm.schema");

/// redb would take 1 GiB.
const CACHE: usize = 4 * 1024 * 1024;

/// A store of ours is far below this; a longer file isn't read into memory to see what it is.
const LENGTH_LIMIT: u64 = 256 * 1024 * 1024;

/// Why a store can't be opened. Every text ends with what to do. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}; check the directory or pass another --state-dir", path.display())]
    Io {
        /// What we were doing.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Others may read the pairing secrets in it.
    #[error(
        "others may read {} (mode {mode:04o}), which holds pairing secrets; run: chmod 600 '{}', and pair again if they did",
        path.display(),
        path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Another process has it open.
    #[error("{} is open in another process; stop that host or pass another --state-dir", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It isn't a store of Farhelm's.
    #[error("{} is not a Farhelm store and is left as it is; move it away or pass another --state-dir", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is one, and damaged.
    #[error("{} is damaged ({detail}) and is left as it is; {instead}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        detail: String,
        /// What to do.
        instead: &'static str,
    },
    /// A newer version wrote it.
    #[error("{} was written by a newer Farhelm (its schema is {found}, this one knows {known}); update farhelm", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema it has.
        found: u64,
        /// The highest one that this version reads.
        known: u64,
    },
}

pub(crate) fn open(path: &Path, layout: &Layout) -> Result<Database, OpenError> {
    let file = match open_existing(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, layout).map_err(|source| OpenError::Io { action: "create", path: path.to_owned(), source })?;
            open_existing(path)
        }
        opened => opened,
    };
    let io_error = |action| move |source| OpenError::Io { action, path: path.to_owned(), source };
    let file = file.map_err(io_error("open"))?;
    let mode = file.metadata().map_err(io_error("examine"))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::TooOpen { path: path.to_owned(), mode });
    }
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(io_error("lock")(source)),
    }
    examine(path, &file, layout)?;
    file.unlock().map_err(io_error("unlock"))?;
    FileBackend::new(file).and_then(build).map_err(|error| failure(path, error, layout))
}

fn open_existing(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn build(backend: impl StorageBackend) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE).create_with_backend(backend)
}

/// Makes an empty store. If somebody else made one meanwhile, theirs stays.
fn create(path: &Path, layout: &Layout) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new)?;
    let linked = build_empty(file, layout).map_err(io::Error::other).and_then(|()| fs::hard_link(&new, path));
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn build_empty(file: File, layout: &Layout) -> Result<(), redb::Error> {
    furnish(&build(FileBackend::new(file)?)?, layout)
}

/// Makes the tables of an empty database.
pub(crate) fn furnish(database: &Database, layout: &Layout) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(SCHEMA_TABLE)?.insert(layout.kind, layout.schema)?;
    (layout.create)(&transaction).map_err(|error| match error {
        Error::Storage(error) => *error,
        other => redb::Error::Corrupted(other.to_string()),
    })?;
    transaction.commit()?;
    Ok(())
}

/// Checks every page and the schema, on a copy.
fn examine(path: &Path, file: &File, layout: &Layout) -> Result<(), OpenError> {
    let copy = || {
        let mut bytes = Vec::new();
        file.take(LENGTH_LIMIT + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = copy().map_err(|source| OpenError::Io { action: "read", path: path.to_owned(), source })?;
    if bytes.is_empty() || bytes.len() as u64 > LENGTH_LIMIT {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let database = in_memory(&bytes).map_err(|error| verdict(path, error, layout))?;
    let known = layout.schema;
    match schema(&database, layout.kind).map_err(|error| verdict(path, error, layout))? {
        Some(found) if found == known => Ok(()),
        Some(found) if found > known => Err(OpenError::Newer { path: path.to_owned(), found, known }),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

fn in_memory(bytes: &[u8]) -> Result<Database, DatabaseError> {
    let backend = InMemoryBackend::new();
    let copied = backend.set_len(bytes.len() as u64).and_then(|()| backend.write(0, bytes));
    copied.map_err(|error| DatabaseError::Storage(error.into()))?;
    Database::builder().set_cache_size(CACHE).set_check_integrity_on_open(true).create_with_backend(backend)
}

/// The schema's version, if the database says that it is ours.
fn schema(database: &Database, kind: &str) -> Result<Option<u64>, DatabaseError> {
    let transaction = database.begin_read().map_err(|error| StorageError::Corrupted(error.to_string()))?;
    match transaction.open_table(SCHEMA_TABLE) {
        Ok(table) => Ok(table.get(kind)?.map(|version| version.value())),
        Err(TableError::Storage(error)) => Err(error.into()),
        // No such table, or one of another type: another program's.
        Err(_) => Ok(None),
    }
}

/// What an error in the copy says about the file. Memory doesn't fail: what can't be read there was cut off.
fn verdict(path: &Path, error: DatabaseError, layout: &Layout) -> OpenError {
    let path = path.to_owned();
    match error {
        // This is how redb says that the magic number isn't its own.
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            OpenError::Foreign { path }
        }
        DatabaseError::Storage(StorageError::Corrupted(detail)) => {
            OpenError::Damaged { path, detail, instead: layout.instead }
        }
        other => OpenError::Damaged { path, detail: other.to_string(), instead: layout.instead },
    }
}

/// What an error says about a file that was found to be whole.
fn failure(path: &Path, error: DatabaseError, layout: &Layout) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        DatabaseError::Storage(StorageError::Io(source)) => OpenError::Io { action: "open", path, source },
        other => OpenError::Damaged { path, detail: other.to_string(), instead: layout.instead },
    }
}
