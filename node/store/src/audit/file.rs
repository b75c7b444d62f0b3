//! The two files on the disk: made whole or not at all, opened only if the chain in them is whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use farhelm_core::audit::{Chain, Head};
use farhelm_core::identity::Identity;
use farhelm_core::wire::limits;

use super::LARGEST;
use super::frames::{Kept, NotOurs, beginning};
use crate::OpenError;
use crate::error::is_full;

const INSTEAD: &str = "keep a copy for whoever looks into it, then move it and the .head beside it away to begin anew";

/// Opens the file to go on with it: its length without what a crash left at its end, and the chain's end. `end`: what it
/// has to lead to, if that is known.
pub(super) fn open(path: &Path, host: &Identity, end: Option<&Head>) -> Result<(File, u64, Chain), OpenError> {
    if !exists(path)? {
        create(path)?;
    }
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|source| failed("open", path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(failed("lock", path, source)),
    }
    let (kept, length) = read_from(&file, path, read_head(path)?)?;
    let chain = kept
        .verify(host.node_id(), end.map_or(&[], std::slice::from_ref))
        .map_err(|broken| damaged(path, broken.to_string()))?
        .end;
    let whole = length - kept.rest as u64;
    if kept.rest > 0 {
        file.set_len(whole).map_err(|source| failed("shorten", path, source))?;
    }
    Ok((file, whole, chain))
}

/// Reads what is kept at `path`, whether or not it is whole, also while a host writes to it.
pub fn read(path: &Path) -> Result<Kept, OpenError> {
    // Before the records: a host that writes meanwhile is never behind its head.
    let head = read_head(path)?;
    let file = File::open(path).map_err(|source| failed("open", path, source))?;
    read_from(&file, path, head).map(|(kept, _)| kept)
}

fn read_from(file: &File, path: &Path, head: Option<Head>) -> Result<(Kept, u64), OpenError> {
    let mode = file.metadata().map_err(|source| failed("examine", path, source))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(OpenError::TooOpen { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(2 * LARGEST).read_to_end(&mut bytes).map_err(|source| failed("read", path, source))?;
    let kept = Kept::parse(&bytes, head).map_err(|error| match error {
        NotOurs::Foreign => OpenError::Foreign { path: path.to_owned() },
        NotOurs::Start => damaged(path, "the head it begins with can't be read".to_owned()),
    })?;
    Ok((kept, bytes.len() as u64))
}

/// Makes a chain without records. A head without its records means that they were taken away.
fn create(path: &Path) -> Result<(), OpenError> {
    if let Some(head) = read_head(path)? {
        return Err(damaged(path, format!("it is gone, and its head says that it had {} entries", head.seq)));
    }
    replace(path, &beginning(None)).map_err(|source| failed("create", path, source))
}

/// Drops the older half of the records: of those that lead to this end, as what takes their place is signed.
pub(super) fn forget(path: &Path, host: &Identity, end: &Head) -> io::Result<()> {
    let kept = read(path).map_err(io::Error::other)?;
    let broken = kept.verify(host.node_id(), std::slice::from_ref(end)).err();
    if let Some(broken) = broken {
        return Err(io::Error::other(damaged(path, broken.to_string())));
    }
    let at_ms = kept.head.as_ref().map_or(0, |head| head.at_ms);
    replace(path, &kept.later_half(host, at_ms))
}

/// Puts the newest head beside the file.
pub(super) fn write_head(path: &Path, head: &Head) -> io::Result<()> {
    replace(&beside(path, ".head"), &head.encode())
}

fn read_head(path: &Path) -> Result<Option<Head>, OpenError> {
    let path = beside(path, ".head");
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| failed("open", &path, source))?,
    };
    let mut bytes = Vec::new();
    let limit = limits::AUDIT_HEAD as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|source| failed("read", &path, source))?;
    Head::decode(&bytes).map(Some).map_err(|error| damaged(&path, error.to_string()))
}

/// Puts a whole file in the place of another, or of none: after a crash it is the one or the other.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = beside(path, ".new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        // Now and then there is one that a crash left.
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    fs::exists(path).map_err(|source| failed("open", path, source))
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

fn damaged(path: &Path, detail: String) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), detail, instead: INSTEAD }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    if is_full(&source) { OpenError::Full { path } } else { OpenError::Io { action, path, source } }
}
