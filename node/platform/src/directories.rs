//! Where state, config and runtime files live, and that nobody else can look into them.
//!
//! | | default | with `--state-dir DIR` |
//! |---|---|---|
//! | state: keys, store, lock | `$XDG_STATE_HOME/farhelm`, else `~/.local/state/farhelm` | `DIR` |
//! | config: what the user edits | `$XDG_CONFIG_HOME/farhelm`, else `~/.config/farhelm` | `DIR/config` |
//! | runtime: sockets | `$XDG_RUNTIME_DIR/farhelm`, else `run` below the state directory | `DIR/run` |
//!
//! macOS uses the same places, as its command line programs do (it has no `XDG_RUNTIME_DIR`, so sockets go below the
//! state directory). Windows counterpart: `%LOCALAPPDATA%\farhelm` with an ACL for the user alone; named pipes need
//! no runtime directory.
//!
//! # Why not the password database
//! A missing `HOME` could be looked up there, as `std::env::home_dir` does. A service that lost its environment would
//! then quietly start as another node, with another key, in root's home: we ask for `--state-dir` instead.
//!
//! # Why sockets may move
//! A Unix socket's path must fit `sun_path`: 107 bytes on Linux, 103 on macOS. If a socket below the runtime directory
//! wouldn't fit, a directory below `/tmp`, named after the user and a hash of the state directory, takes its place;
//! [`Directories::moved_runtime`] says so.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// The longest Unix socket path, in bytes, without the closing zero.
pub const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The longest file name a socket in the runtime directory may have, in bytes.
pub const SOCKET_NAME_LIMIT: usize = 24;

const NAME: &str = "farhelm";

/// Why a directory can't be used. Every text ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The environment doesn't say where the user's files are.
    #[error("cannot tell where to keep Farhelm's state: neither HOME nor XDG_STATE_HOME is set; pass --state-dir DIR")]
    NoHome,
    /// Others may look into the directory.
    #[error("others may look into {} (mode {mode:04o}); run: chmod 700 '{}'", path.display(), path.display())]
    TooOpen {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The directory belongs to somebody else.
    #[error("{} belongs to user {owner}, not to you (user {user}); pass another --state-dir", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs this process.
        user: u32,
    },
    /// Something else stands at the path: a file, or a symlink where somebody else could have put it.
    #[error("{} is not a directory; move it away or pass another --state-dir", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot create {}: {source}; make it possible or pass another --state-dir", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// The three directories of one Farhelm installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    state: PathBuf,
    config: PathBuf,
    runtime: PathBuf,
    moved_from: Option<PathBuf>,
}

impl Directories {
    /// Works out the paths from the environment, or from `state_dir` alone if given. Creates nothing.
    pub fn resolve(state_dir: Option<&Path>) -> Result<Self, Error> {
        Self::from_environment(state_dir, |name| std::env::var_os(name))
    }

    fn from_environment(state_dir: Option<&Path>, var: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        // The XDG specification: a relative path is as good as none.
        let absolute = |name: &str| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(dir) = state_dir {
            let state = std::path::absolute(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
            let (config, runtime) = (state.join("config"), state.join("run"));
            return Ok(Self::new(state, config, runtime));
        }
        let home = absolute("HOME");
        let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let state = absolute("XDG_STATE_HOME").or_else(|| below_home(".local/state")).ok_or(Error::NoHome)?.join(NAME);
        let config = absolute("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let config = config.map_or_else(|| state.join("config"), |dir| dir.join(NAME));
        let runtime = absolute("XDG_RUNTIME_DIR").map_or_else(|| state.join("run"), |dir| dir.join(NAME));
        Ok(Self::new(state, config, runtime))
    }

    fn new(state: PathBuf, config: PathBuf, wanted: PathBuf) -> Self {
        if wanted.as_os_str().len() + 1 + SOCKET_NAME_LIMIT <= SOCKET_PATH_LIMIT {
            return Self { state, config, runtime: wanted, moved_from: None };
        }
        let hash = fnv1a(state.as_os_str().as_bytes());
        let runtime = PathBuf::from(format!("/tmp/farhelm-{}-{hash:016x}", user()));
        Self { state, config, runtime, moved_from: Some(wanted) }
    }

    /// Creates the state and runtime directories (mode 0700), and refuses those that others could look into.
    pub fn prepare(&self) -> Result<(), Error> {
        private(&self.state)?;
        if self.moved_from.is_some() {
            refuse_symlink(&self.runtime)?;
        }
        private(&self.runtime)
    }

    /// Keys, the store and the lock.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// What the user edits. Not created by [`prepare`](Self::prepare).
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Sockets, each with a name of at most [`SOCKET_NAME_LIMIT`] bytes.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// One sentence for the user if sockets couldn't be where they'd look for them.
    pub fn moved_runtime(&self) -> Option<String> {
        let wanted = self.moved_from.as_ref()?;
        Some(format!(
            "{} is too long a path for sockets (at most {SOCKET_PATH_LIMIT} bytes with the name), so they are in {}",
            wanted.display(),
            self.runtime.display()
        ))
    }
}

/// Creates a directory for the user alone (mode 0700, parents too), or checks that an existing one is.
pub fn private(path: &Path) -> Result<(), Error> {
    let refused = |source| Error::Io { path: path.to_owned(), source };
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        Ok(()) => check(path, &fs::metadata(path).map_err(refused)?),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::NotADirectory { path: path.to_owned() })
        }
        Err(error) => Err(refused(error)),
    }
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let path = path.to_owned();
    let (owner, user, mode) = (metadata.uid(), user(), metadata.mode() & 0o7777);
    if owner != user {
        return Err(Error::Owner { path, owner, user });
    }
    if mode & 0o077 != 0 {
        return Err(Error::TooOpen { path, mode });
    }
    Ok(())
}

/// In `/tmp` anybody can put a link with our name.
fn refuse_symlink(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(Error::NotADirectory { path: path.to_owned() }),
        _ => Ok(()),
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// FNV-1a, 64 bit: the same in every version of the program, which std's hasher isn't.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn resolve(state_dir: Option<&str>, env: &[(&str, &str)]) -> Result<Directories, Error> {
        let var = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        Directories::from_environment(state_dir.map(Path::new), var)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn home_alone_gives_the_defaults() {
        let dirs = resolve(None, &[("HOME", "/home/ann")]).unwrap();
        assert_eq!(dirs.state(), Path::new("/home/ann/.local/state/farhelm"));
        assert_eq!(dirs.config(), Path::new("/home/ann/.config/farhelm"));
        assert_eq!(dirs.runtime(), Path::new("/home/ann/.local/state/farhelm/run"));
        assert_eq!(dirs.moved_runtime(), None);
    }

    #[test]
    fn xdg_wins_over_home() {
        let env = [("HOME", "/h"), ("XDG_STATE_HOME", "/s"), ("XDG_CONFIG_HOME", "/c"), ("XDG_RUNTIME_DIR", "/r")];
        let dirs = resolve(None, &env).unwrap();
        assert_eq!(dirs.state(), Path::new("/s/farhelm"));
        assert_eq!(dirs.config(), Path::new("/c/farhelm"));
        assert_eq!(dirs.runtime(), Path::new("/r/farhelm"));
    }

    #[test]
    fn relative_xdg_paths_are_ignored() {
        let dirs = resolve(None, &[("HOME", "/h"), ("XDG_STATE_HOME", "s"), ("XDG_RUNTIME_DIR", "r")]).unwrap();
        assert_eq!(dirs.state(), Path::new("/h/.local/state/farhelm"));
        assert_eq!(dirs.runtime(), Path::new("/h/.local/state/farhelm/run"));
    }

    #[test]
    fn state_dir_replaces_all_three() {
        let dirs = resolve(Some("/x"), &[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r")]).unwrap();
        assert_eq!((dirs.state(), dirs.config()), (Path::new("/x"), Path::new("/x/config")));
        assert_eq!(dirs.runtime(), Path::new("/x/run"));
    }

    #[test]
    fn without_home_the_error_names_the_option() {
        for env in [&[][..], &[("HOME", "")], &[("HOME", "relative")]] {
            let error = resolve(None, env).unwrap_err();
            assert!(matches!(error, Error::NoHome) && error.to_string().contains("--state-dir"));
        }
        assert!(resolve(None, &[("XDG_STATE_HOME", "/s")]).is_ok());
        assert!(resolve(Some("/x"), &[]).is_ok());
    }

    #[test]
    fn sockets_move_when_their_path_would_not_fit() {
        let deep = format!("/{}", "d".repeat(SOCKET_PATH_LIMIT));
        let dirs = resolve(Some(&deep), &[]).unwrap();
        assert!(dirs.runtime().as_os_str().len() + 1 + SOCKET_NAME_LIMIT <= SOCKET_PATH_LIMIT);
        assert!(dirs.moved_runtime().unwrap().contains(dirs.runtime().to_str().unwrap()));
        let other = resolve(Some(&format!("{deep}e")), &[]).unwrap();
        assert_ne!(dirs.runtime(), other.runtime());
        assert_eq!(dirs, resolve(Some(&deep), &[]).unwrap());
    }

    #[test]
    fn prepared_directories_are_for_the_user_alone() {
        let world = tempfile::tempdir().unwrap();
        let dirs = resolve(Some(world.path().join("a/b").to_str().unwrap()), &[]).unwrap();
        dirs.prepare().unwrap();
        dirs.prepare().unwrap();
        for path in [&world.path().join("a"), dirs.state(), dirs.runtime()] {
            assert_eq!(mode(path), 0o700, "{}", path.display());
        }
    }

    #[test]
    fn a_directory_others_may_look_into_is_refused_with_the_chmod() {
        let world = tempfile::tempdir().unwrap();
        let dirs = resolve(world.path().to_str(), &[]).unwrap();
        for loose in [0o750, 0o701, 0o720] {
            fs::set_permissions(dirs.state(), fs::Permissions::from_mode(loose)).unwrap();
            let error = dirs.prepare().unwrap_err();
            assert!(matches!(error, Error::TooOpen { mode, .. } if mode == loose));
            assert!(error.to_string().contains("chmod 700 '"));
            assert_eq!(mode(dirs.state()), loose, "we don't change what we refuse");
        }
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_refused() {
        let world = tempfile::tempdir().unwrap();
        let path = world.path().join("state");
        fs::write(&path, "").unwrap();
        assert!(matches!(private(&path), Err(Error::NotADirectory { .. })));
        assert!(matches!(private(&path.join("below")), Err(Error::Io { .. })));
    }

    #[test]
    fn somebody_elses_directory_is_refused() {
        let world = tempfile::tempdir().unwrap();
        if user() == 0 {
            std::os::unix::fs::chown(world.path(), Some(12_345), None).unwrap();
            assert!(matches!(private(world.path()), Err(Error::Owner { owner: 12_345, user: 0, .. })));
        } else {
            assert!(matches!(private(Path::new("/")), Err(Error::Owner { owner: 0, .. })));
        }
    }

    #[test]
    fn a_link_in_the_place_of_moved_sockets_is_refused() {
        let world = tempfile::tempdir().unwrap();
        let (state, link) = (world.path().join("state"), world.path().join("link"));
        symlink(world.path(), &link).unwrap();
        let dirs = Directories { config: state.join("config"), state, runtime: link, moved_from: Some("/x".into()) };
        assert!(matches!(dirs.prepare(), Err(Error::NotADirectory { .. })));
    }
}
