//! Unix sockets that only the user may connect to.
//!
//! Whoever connects to the host's control socket may pair and revoke, so it stands in a directory of mode 0700 and has
//! mode 0600 itself. What an earlier process left behind is replaced, a socket somebody listens on never is. macOS: a
//! listener whose queue is full looks like none, so the state directory's [`Lock`](crate::lock::Lock) is what keeps
//! two hosts apart. Windows counterpart: a named pipe whose ACL names the user alone.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use crate::directories::{self, SOCKET_PATH_LIMIT};

/// Why there is no socket. Every text ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody listens there.
    #[error("another process listens on {}; stop it first", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that isn't a socket is there; it is left as it is.
    #[error("{} is there and is no socket; move it away", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The path doesn't fit into a socket address.
    #[error("{} is too long for a socket ({length} bytes of at most {SOCKET_PATH_LIMIT}); pass a shorter --state-dir", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
    },
    /// The directory isn't private.
    #[error(transparent)]
    Directory(#[from] directories::Error),
    /// The operating system refused.
    #[error("cannot listen on {}: {source}; check the directory or pass another --state-dir", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The socket's name in its directory; dropping it removes the name. Drop it before you give up the lock of the state
/// directory: the name may be another's after that.
#[derive(Debug)]
pub struct Entry {
    path: PathBuf,
}

impl Entry {
    /// Where to connect to.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens on `path` with mode 0600, in a directory that it creates private or finds so. The listener doesn't block,
/// as async runtimes want it. Keep the [`Entry`] as long as you listen.
pub fn bind(path: &Path) -> Result<(UnixListener, Entry), Error> {
    let length = path.as_os_str().len();
    if length > SOCKET_PATH_LIMIT {
        return Err(Error::TooLong { path: path.to_owned(), length });
    }
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        directories::private(directory)?;
    }
    remove_stale(path)?;
    // Between these two lines the mode is umask's; the private directory covers that.
    let bound = UnixListener::bind(path).and_then(|listener| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok((listener, Entry { path: path.to_owned() }))
    });
    bound.map_err(|source| Error::Io { path: path.to_owned(), source })
}

fn remove_stale(path: &Path) -> Result<(), Error> {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Io { path, source }),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(Error::NotASocket { path }),
        Ok(_) => {}
    }
    match connect(&path) {
        Err(Errno::CONNREFUSED) => fs::remove_file(&path).map_err(|source| Error::Io { path, source }),
        // Gone meanwhile.
        Err(Errno::NOENT) => Ok(()),
        // AGAIN: its queue is full, so it is somebody's. PROTOTYPE: a datagram socket is.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(Error::InUse { path }),
        Err(errno) => Err(Error::Io { path, source: errno.into() }),
    }
}

/// Connects without waiting, where std's connect would for as long as a busy listener's queue is full.
fn connect(path: &Path) -> Result<(), Errno> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path.as_os_str().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn socket(&self) -> PathBuf {
            self.0.path().join("run/control.sock")
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_bound_socket_is_private_in_a_private_directory() {
        let world = World::new();
        let (listener, entry) = bind(&world.socket()).unwrap();
        assert_eq!((mode(entry.path()), mode(entry.path().parent().unwrap())), (0o600, 0o700));
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let _client = UnixStream::connect(entry.path()).unwrap();
        listener.accept().unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let world = World::new();
        directories::private(world.socket().parent().unwrap()).unwrap();
        drop(UnixListener::bind(world.socket()).unwrap());
        assert!(UnixStream::connect(world.socket()).is_err() && world.socket().exists());
        let (_listener, _entry) = bind(&world.socket()).unwrap();
        UnixStream::connect(world.socket()).unwrap();
    }

    #[test]
    fn a_live_socket_is_never_replaced() {
        let world = World::new();
        let (listener, _entry) = bind(&world.socket()).unwrap();
        assert!(matches!(bind(&world.socket()), Err(Error::InUse { .. })));
        listener.accept().unwrap();
        let datagram = world.socket().with_file_name("datagram");
        let _live = UnixDatagram::bind(&datagram).unwrap();
        assert!(matches!(bind(&datagram), Err(Error::InUse { .. })));
    }

    #[test]
    fn a_listener_too_busy_to_answer_counts_as_live() {
        let world = World::new();
        directories::private(world.socket().parent().unwrap()).unwrap();
        let address = SocketAddrUnix::new(world.socket().as_os_str().as_bytes()).unwrap();
        let listener = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        let mut waiting = Vec::new();
        let full = (0..100).any(|_| {
            let client = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            rustix::io::ioctl_fionbio(&client, true).unwrap();
            let result = rustix::net::connect(&client, &address);
            waiting.push(client);
            result == Err(Errno::AGAIN)
        });
        assert!(full, "the queue never filled");
        assert!(matches!(bind(&world.socket()), Err(Error::InUse { .. })));
    }

    #[test]
    fn dropping_the_entry_removes_the_socket() {
        let world = World::new();
        drop(bind(&world.socket()).unwrap());
        assert!(!world.socket().exists());
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let world = World::new();
        directories::private(world.socket().parent().unwrap()).unwrap();
        fs::write(world.socket(), "precious").unwrap();
        assert!(matches!(bind(&world.socket()), Err(Error::NotASocket { .. })));
        assert_eq!(fs::read(world.socket()).unwrap(), b"precious");
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let world = World::new();
        let directory = world.0.path().join("run");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(bind(&world.socket()), Err(Error::Directory(directories::Error::TooOpen { .. }))));
    }

    #[test]
    fn a_path_that_does_not_fit_is_refused_by_its_length() {
        let world = World::new();
        let path = world.0.path().join("s".repeat(SOCKET_PATH_LIMIT));
        assert!(matches!(bind(&path), Err(Error::TooLong { length, .. }) if length > SOCKET_PATH_LIMIT));
        let fits = world.0.path().join("s".repeat(SOCKET_PATH_LIMIT - world.0.path().as_os_str().len() - 1));
        fs::set_permissions(world.0.path(), fs::Permissions::from_mode(0o700)).unwrap();
        bind(&fits).unwrap();
    }

    #[test]
    fn a_name_the_system_refuses_is_an_io_error() {
        let world = World::new();
        let file = world.0.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(bind(&file.join("below/socket")), Err(Error::Directory(_))));
        assert!(matches!(bind(Path::new("")), Err(Error::Io { .. })));
    }
}
