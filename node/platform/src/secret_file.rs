//! Files only the user may read: keys, and whatever else must be written whole or not at all.
//!
//! Written beside their place with mode 0600, synced, then moved there in one step, so that a crash leaves the old
//! file or the new one. Read only if they are what we wrote: a plain file of ours, mode 0600 or tighter, no symlink.
//! Doesn't encrypt: whoever is root, or has the disk, can read them. Windows counterpart: an ACL for the user alone
//! and `ReplaceFileW`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// Why a secret file can't be read or written. Every text ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is one already; it is left as it is.
    #[error("{} exists already and is left as it is; move it away first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A symlink, directory, socket or device stands in its place.
    #[error("{} is not a plain file; put the file itself in its place", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}, not to you (user {user}); run: chown {user} '{}'", path.display(), path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs this process.
        user: u32,
    },
    /// Others may read or write it.
    #[error(
        "others may read {} (mode {mode:04o}), so treat what it holds as known to them; if they are not, run: chmod 600 '{}'",
        path.display(),
        path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It can't be what we wrote.
    #[error("{} has {found} bytes where {expected} belong; restore it from a backup or move it away", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes it has.
        found: u64,
        /// Bytes it must have (or, for [`read_up_to`], may have).
        expected: u64,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What we were doing.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Writes a new file; one that exists is an error and stays.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let new = written_beside(path, bytes)?;
    // A link refuses an existing name, which a rename would replace.
    let linked = fs::hard_link(&new, path);
    let removed = fs::remove_file(&new);
    linked.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::Io { action: "create", path: path.to_owned(), source },
    })?;
    removed.map_err(|source| Error::Io { action: "remove", path: new, source })?;
    sync_parent(path)
}

/// Writes a file, replacing the one that may be there in one step.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let new = written_beside(path, bytes)?;
    fs::rename(&new, path).map_err(|source| {
        let _ = fs::remove_file(&new);
        Error::Io { action: "replace", path: path.to_owned(), source }
    })?;
    sync_parent(path)
}

/// Reads a file that has exactly `N` bytes.
pub fn read<const N: usize>(path: &Path) -> Result<Zeroizing<[u8; N]>, Error> {
    let (mut file, found) = open(path)?;
    if found != N as u64 {
        return Err(Error::Length { path: path.to_owned(), found, expected: N as u64 });
    }
    let mut bytes = Zeroizing::new([0; N]);
    file.read_exact(&mut *bytes).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Reads a file that has at most `limit` bytes.
pub fn read_up_to(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (mut file, found) = open(path)?;
    let size = usize::try_from(found).ok().filter(|_| found <= limit);
    let size = size.ok_or_else(|| Error::Length { path: path.to_owned(), found, expected: limit })?;
    // The buffer never grows, so no copy of the secret is left behind in freed memory.
    let mut bytes = Zeroizing::new(vec![0; size]);
    file.read_exact(&mut bytes).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Opens what is certainly our own private file, and says how long it is.
fn open(path: &Path) -> Result<(File, u64), Error> {
    // NONBLOCK, or somebody's FIFO would hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = path.to_owned();
    let file = match rustix::fs::open(&path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Err(Error::Missing { path }),
        Err(Errno::LOOP | Errno::NXIO) => return Err(Error::NotAFile { path }),
        Err(errno) => return Err(Error::Io { action: "open", path, source: errno.into() }),
    };
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(source) => return Err(Error::Io { action: "examine", path, source }),
    };
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path });
    }
    if owner != user {
        return Err(Error::Owner { path, owner, user });
    }
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen { path, mode });
    }
    Ok((file, metadata.len()))
}

/// A synced file of mode 0600 in the same directory, whose name nobody else uses.
fn written_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf, Error> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{}.new", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let new = path.with_file_name(name);
    // Left by a process with our id that was killed at this very place.
    let _ = fs::remove_file(&new);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&new);
        Error::Io { action: "write", path: path.to_owned(), source }
    })?;
    Ok(new)
}

/// Makes the new name itself survive a power cut.
fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(parent).and_then(|dir| dir.sync_all());
    synced.map_err(|source| Error::Io { action: "sync the directory of", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("key")
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.0.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    #[test]
    fn what_was_created_is_read_and_nothing_is_left_beside_it() {
        let world = World::new();
        create(&world.file(), &[7; 32]).unwrap();
        assert_eq!(*read::<32>(&world.file()).unwrap(), [7; 32]);
        assert_eq!(*read_up_to(&world.file(), 32).unwrap(), vec![7; 32]);
        assert_eq!(fs::metadata(world.file()).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(world.names(), ["key"]);
    }

    #[test]
    fn an_existing_file_is_never_overwritten_by_create() {
        let world = World::new();
        create(&world.file(), b"old").unwrap();
        assert!(matches!(create(&world.file(), b"new"), Err(Error::Exists { .. })));
        assert_eq!(fs::read(world.file()).unwrap(), b"old");
        assert_eq!(world.names(), ["key"]);
    }

    #[test]
    fn replace_puts_the_new_file_there_whole_and_private() {
        let world = World::new();
        replace(&world.file(), b"old").unwrap();
        fs::set_permissions(world.file(), fs::Permissions::from_mode(0o644)).unwrap();
        replace(&world.file(), b"newer").unwrap();
        assert_eq!(*read_up_to(&world.file(), 16).unwrap(), b"newer");
        assert_eq!(world.names(), ["key"]);
    }

    #[test]
    fn a_failed_replace_leaves_nothing_beside_it() {
        let world = World::new();
        fs::create_dir(world.file()).unwrap();
        assert!(matches!(replace(&world.file(), b"new"), Err(Error::Io { action: "replace", .. })));
        assert_eq!(world.names(), ["key"]);
    }

    #[test]
    fn a_missing_file_is_told_apart() {
        assert!(matches!(read::<32>(&World::new().file()), Err(Error::Missing { .. })));
        let nowhere = World::new().file().join("below");
        assert!(matches!(create(&nowhere, b"x"), Err(Error::Io { action: "write", .. })));
    }

    #[test]
    fn a_file_others_may_touch_is_refused_with_the_chmod() {
        let world = World::new();
        create(&world.file(), &[7; 32]).unwrap();
        for loose in [0o640, 0o604, 0o620, 0o610] {
            fs::set_permissions(world.file(), fs::Permissions::from_mode(loose)).unwrap();
            let error = read::<32>(&world.file()).unwrap_err();
            assert!(matches!(error, Error::TooOpen { mode, .. } if mode == loose));
            assert!(error.to_string().ends_with(&format!("chmod 600 '{}'", world.file().display())));
        }
        fs::set_permissions(world.file(), fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read::<32>(&world.file()).is_ok());
    }

    #[test]
    fn a_file_of_another_length_is_refused() {
        let world = World::new();
        create(&world.file(), &[7; 31]).unwrap();
        assert!(matches!(read::<32>(&world.file()), Err(Error::Length { found: 31, expected: 32, .. })));
        assert!(matches!(read::<30>(&world.file()), Err(Error::Length { found: 31, expected: 30, .. })));
        assert!(matches!(read_up_to(&world.file(), 30), Err(Error::Length { found: 31, expected: 30, .. })));
    }

    #[test]
    fn what_is_no_plain_file_is_refused() {
        let world = World::new();
        symlink("/etc/hostname", world.file()).unwrap();
        assert!(matches!(read::<1>(&world.file()), Err(Error::NotAFile { .. })));
        assert!(matches!(read::<1>(world.0.path()), Err(Error::NotAFile { .. })));
        let socket = world.0.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(matches!(read::<1>(&socket), Err(Error::NotAFile { .. })));
    }

    #[test]
    fn somebody_elses_file_is_refused() {
        let world = World::new();
        create(&world.file(), &[7; 32]).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(world.file(), Some(12_345), None).unwrap();
            assert!(matches!(read::<32>(&world.file()), Err(Error::Owner { owner: 12_345, user: 0, .. })));
        } else {
            assert!(matches!(read_up_to(Path::new("/etc/hostname"), 4096), Err(Error::Owner { owner: 0, .. })));
        }
    }
}
