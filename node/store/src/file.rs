//! A file of ours: made whole or not at all, and opened only if it is ours.
//!
//! A new one is built beside its place and linked there when it is complete, so a crash on the first start leaves no
//! half a file to be refused on the second. An existing one is first examined without touching it (see `shadow`),
//! every page and its schema, and an older schema's steps are tried there: what we refuse must stay as it was, byte
//! for byte. That reads the whole file at each start, some milliseconds a megabyte at worst, and is why a file whose
//! free room outgrew what it holds is made small again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, StorageBackend, StorageError};

use crate::error::is_full;
use crate::layout::Layout;
use crate::shadow::Shadow;
use crate::{Error, OpenError};

/// redb would take 1 GiB.
const CACHE: usize = 4 * 1024 * 1024;

/// In a file below this it doesn't matter how much of it is free.
const SMALL: u64 = 1024 * 1024;

/// Opens the file at `path`, or makes one.
pub(crate) fn open(path: &Path, layout: &Layout) -> Result<Database, OpenError> {
    match fs::exists(path) {
        Ok(false) => create(path, layout).map_err(|source| io_error("create", path, source))?,
        Ok(true) => {}
        Err(source) => return Err(io_error("open", path, source)),
    }
    let mut database = open_again(path, layout)?;
    match compact(&mut database, path) {
        Ok(()) => Ok(database),
        // It stands on the disk as it did, and has stopped: see `held`.
        Err(_) => {
            drop(database);
            open_again(path, layout)
        }
    }
}

/// Opens a file that was there: if it is gone, an empty one in its place would be a lie.
pub(crate) fn open_again(path: &Path, layout: &Layout) -> Result<Database, OpenError> {
    let file = entered(path, OpenOptions::new().read(true).write(true))?;
    let (found, _) = examine(path, &file, layout)?;
    file.unlock().map_err(|source| io_error("unlock", path, source))?;
    let database = FileBackend::new(file).and_then(|backend| builder().create_with_backend(backend));
    let database = database.map_err(|error| failure(path, error, layout))?;
    if found < layout.schema() {
        layout.migrate(&database, found).map_err(|error| not_migrated(path, error, layout))?;
    }
    Ok(database)
}

/// The file as it would be after opening it, in memory only: it isn't touched, and nobody opens it meanwhile.
pub(crate) fn look(path: &Path, layout: &Layout) -> Result<Database, OpenError> {
    let file = entered(path, OpenOptions::new().read(true))?;
    examine(path, &file, layout).map(|(_, database)| database)
}

/// A file that only we may read, and that nobody writes to for as long as it is open here or until it is unlocked.
fn entered(path: &Path, how: &OpenOptions) -> Result<File, OpenError> {
    let file = how.open(path).map_err(|source| io_error("open", path, source))?;
    let mode = file.metadata().map_err(|source| io_error("examine", path, source))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::TooOpen { path: path.to_owned(), mode });
    }
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error("lock", path, source)),
    }
}

fn builder() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

/// Makes an empty file. If somebody else made one meanwhile, theirs stays.
fn create(path: &Path, layout: &Layout) -> io::Result<()> {
    let (new, file) = beside(path)?;
    let linked = build_empty(file, layout).and_then(|()| fs::hard_link(&new, path));
    fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// A new file beside `path`. One that a killed process left may have any name that ours could.
fn beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut tried = 0_u16;
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.{tried}.new", std::process::id()));
        let new = path.with_file_name(name);
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&new) {
            Ok(file) => return Ok((new, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tried < u16::MAX => tried += 1,
            Err(error) => return Err(error),
        }
    }
}

fn build_empty(file: File, layout: &Layout) -> io::Result<()> {
    let database = FileBackend::new(file).and_then(|backend| builder().create_with_backend(backend));
    let furnished = database.map_err(Error::from).and_then(|database| layout.furnish(&database));
    furnished.map_err(|error| match error {
        Error::Full { .. } => ErrorKind::StorageFull.into(),
        error => io::Error::other(error),
    })
}

/// Checks every page and the schema, and that it can be migrated if it must be. Returns the schema that it has, and what
/// it would be with the newest, in memory.
fn examine(path: &Path, file: &File, layout: &Layout) -> Result<(u64, Database), OpenError> {
    let shadow = file.try_clone().and_then(Shadow::new).map_err(|source| io_error("read", path, source))?;
    if shadow.len().is_ok_and(|length| length == 0) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let database = builder().set_check_integrity_on_open(true).create_with_backend(shadow);
    let database = database.map_err(|error| verdict(path, error, layout))?;
    let known = layout.schema();
    match layout.schema_of(&database).map_err(|error| verdict(path, error, layout))? {
        None | Some(0) => Err(OpenError::Foreign { path: path.to_owned() }),
        Some(found) if found > known => Err(OpenError::Newer { path: path.to_owned(), found, known }),
        Some(found) if found < known => {
            layout.migrate(&database, found).map_err(|error| not_migrated(path, error, layout))?;
            Ok((found, database))
        }
        Some(found) => Ok((found, database)),
    }
}

/// Gives back room if more than half of the file is free. It is made of commits like any other, so a crash in it does
/// no more than one in them.
fn compact(database: &mut Database, path: &Path) -> Result<(), Error> {
    let length = fs::metadata(path).map_err(StorageError::from)?.len();
    if length <= SMALL {
        return Ok(());
    }
    // What the last change freed counts as held until the next one.
    database.begin_write()?.commit()?;
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    if stats.allocated_pages().saturating_mul(stats.page_size() as u64) < length / 2 {
        database.compact()?;
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    if is_full(&source) { OpenError::Full { path } } else { OpenError::Io { action, path, source } }
}

/// What an error of the examination says about the file. What lies behind its end was cut off.
fn verdict(path: &Path, error: DatabaseError, layout: &Layout) -> OpenError {
    match error {
        // This is how redb says that the magic number isn't its own.
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            OpenError::Foreign { path: path.to_owned() }
        }
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            damaged(path, "its end is missing".to_owned(), layout)
        }
        DatabaseError::Storage(StorageError::Io(source)) => io_error("read", path, source),
        DatabaseError::Storage(StorageError::Corrupted(detail)) => damaged(path, detail, layout),
        other => damaged(path, other.to_string(), layout),
    }
}

/// What an error says about a file that was found to be whole.
fn failure(path: &Path, error: DatabaseError, layout: &Layout) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.to_owned() },
        DatabaseError::Storage(StorageError::Io(source)) => io_error("open", path, source),
        other => damaged(path, other.to_string(), layout),
    }
}

/// The older file is whole, and stays.
fn not_migrated(path: &Path, mut error: Error, layout: &Layout) -> OpenError {
    error.name(path);
    match error {
        Error::Full { file } => OpenError::Full { path: file },
        Error::Storage { error, .. } => match *error {
            redb::Error::Io(source) => io_error("migrate", path, source),
            other => damaged(path, other.to_string(), layout),
        },
        other => damaged(path, other.to_string(), layout),
    }
}

fn damaged(path: &Path, detail: String, layout: &Layout) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), detail, instead: layout.instead }
}
