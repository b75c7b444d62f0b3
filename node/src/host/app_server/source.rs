//! Which app-server: where to look, in which order, and what to tell a person when none is found.
//!
//! # Why the daemon comes first
//! A thread is written by one app-server at a time. A plain `codex` at the desk runs on the daemon, so only a host that
//! is attached to the same daemon can steer what was started there. A server of our own is for machines without one,
//! and then the desk has to attach to it ([`How::desk_command`]).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use farhelm_platform::process as system;
use tokio::net::UnixStream;

use super::Options;
use super::codex::{self, Codex, Missing};
use super::connection::ConnectionError;
use super::daemon;
use super::handshake::Connection;
use super::own::{Own, OwnError};
use super::process::{self, Identify, ProcessEpoch};

/// Which app-server the host looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The daemon; one of our own where there is none.
    Auto,
    /// The one that listens on this Unix socket (`--connect unix://PATH`).
    Connect(PathBuf),
    /// The daemon, started if it doesn't run.
    Daemon,
    /// One of our own (`--own-server`).
    Own,
}

/// Which app-server the host found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// The one it was told.
    Given {
        /// Where it listens.
        socket: PathBuf,
    },
    /// The daemon that a plain `codex` uses.
    Daemon {
        /// Where it listens.
        socket: PathBuf,
        /// Whether the host had to start it.
        started: bool,
    },
    /// One of our own.
    Own {
        /// Where it listens.
        socket: PathBuf,
        /// Why it isn't the daemon, if it wasn't asked for.
        instead: Option<String>,
    },
}

impl How {
    /// The command with which the desk attaches to the same server; `None` where a plain `codex` does.
    pub fn desk_command(&self) -> Option<String> {
        match self {
            Self::Daemon { .. } => None,
            Self::Given { socket } | Self::Own { socket, .. } => {
                Some(format!("codex --remote {}", quoted(&format!("unix://{}", socket.display()))))
            }
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given { socket } => write!(f, "the app-server at {}", socket.display()),
            Self::Daemon { started: false, .. } => f.write_str("Codex's app-server daemon"),
            Self::Daemon { started: true, .. } => f.write_str("Codex's app-server daemon, just started"),
            Self::Own { .. } => f.write_str("an app-server of its own"),
        }
    }
}

/// Why no app-server was reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is no `codex`.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Neither CODEX_HOME nor a home directory.
    #[error("there is no CODEX_HOME and no home directory to look for Codex's daemon in")]
    NoHome,
    /// Nobody listens on the socket.
    #[error("nobody listens on {}: {source}", socket.display())]
    NotListening {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is another user's, who could pretend to be Codex.
    #[error("what listens on {} belongs to another user ({user})", socket.display())]
    Foreign {
        /// The socket.
        socket: PathBuf,
        /// The other's id.
        user: u32,
    },
    /// The daemon can't be started.
    #[error(transparent)]
    Daemon(#[from] daemon::Error),
    /// One of our own can't be started.
    #[error(transparent)]
    Own(#[from] OwnError),
    /// It was reached, but doesn't talk to us.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl SourceError {
    /// What a person can do. The host tries again in any case.
    pub fn what_to_do(&self) -> String {
        match self {
            Self::Missing(missing) | Self::Own(OwnError::Missing(missing)) => missing.what_to_do(),
            Self::NoHome => "set CODEX_HOME or HOME".into(),
            Self::NotListening { socket, .. } => {
                let listen = quoted(&format!("unix://{}", socket.display()));
                format!("start it with `codex app-server --listen {listen}`")
            }
            Self::Foreign { .. } => "stop that process, or run the host as its user".into(),
            Self::Daemon(_) => "run `codex app-server daemon start` to see more, or use --own-server".into(),
            Self::Own(OwnError::Directory(_)) => "the host tries again".into(),
            Self::Own(_) => "run `codex app-server` to see more; perhaps its config.toml is at fault".into(),
            Self::Connection(_) => "if it stays so, run `codex app-server daemon restart`".into(),
        }
    }
}

impl Missing {
    fn what_to_do(&self) -> String {
        match self {
            Self::NotOnPath => "install it with `npm i -g @openai/codex`; the host goes on looking for it".into(),
            Self::NotAProgram(_) => "name the `codex` program itself".into(),
        }
    }
}

/// An app-server that was reached.
pub(super) struct Found {
    pub(super) connection: Connection,
    pub(super) how: How,
    pub(super) process: ProcessEpoch,
}

/// Finds the app-server again and again, and keeps the one of our own between.
pub(super) struct Finder {
    source: Source,
    options: Options,
    identify: Identify,
    own: Own,
    /// Why ours is used although it wasn't asked for.
    instead: Option<String>,
}

impl Finder {
    /// Doesn't look yet.
    pub(super) fn new(source: Source, options: Options, identify: Identify) -> Self {
        Self { source, identify, own: Own::new(options.clone()), options, instead: None }
    }

    /// Finds it and shakes hands. May be dropped half-way.
    pub(super) async fn reach(&mut self) -> Result<Found, SourceError> {
        let (stream, how) = match self.source.clone() {
            Source::Auto => self.auto().await?,
            Source::Connect(socket) => (connect(&socket).await?, How::Given { socket }),
            Source::Daemon => self.daemon().await?,
            Source::Own => self.own().await?,
        };
        let process = (self.identify)(&stream);
        let opened = Connection::open(stream).await;
        if opened.is_err() && matches!(how, How::Own { .. }) {
            // It hangs, and it is for us to replace it.
            self.own.stop().await;
        }
        Ok(Found { connection: opened?, how, process: process.unwrap_or_else(process::unknown) })
    }

    /// Ends the one of our own, if there is one.
    pub(super) async fn stop(&mut self) {
        self.own.stop().await;
    }

    async fn auto(&mut self) -> Result<(UnixStream, How), SourceError> {
        // Its threads are there as long as it runs.
        if self.own.is_running() {
            return self.own().await;
        }
        match self.daemon().await {
            Err(SourceError::Daemon(error)) => {
                tracing::warn!(%error, "no daemon; using an app-server of our own");
                self.instead = Some(error.to_string());
                self.own().await
            }
            outcome => outcome,
        }
    }

    async fn own(&mut self) -> Result<(UnixStream, How), SourceError> {
        let stream = self.own.reach().await?;
        Ok((stream, How::Own { socket: self.own.socket(), instead: self.instead.clone() }))
    }

    async fn daemon(&self) -> Result<(UnixStream, How), SourceError> {
        let socket =
            daemon::control_socket(&codex::codex_home(self.options.codex_home.as_deref()).ok_or(SourceError::NoHome)?);
        match connect_to_ours(&socket).await {
            Ok(stream) => return Ok((stream, How::Daemon { socket, started: false })),
            Err(SourceError::NotListening { .. }) => {}
            Err(error) => return Err(error),
        }
        let codex = Codex::find(&self.options)?;
        tracing::info!(codex = %codex.program().display(), "starting Codex's app-server daemon");
        let socket = daemon::start(&codex).await?.socket;
        Ok((connect_to_ours(&socket).await?, How::Daemon { socket, started: true }))
    }
}

/// Connects to a socket that a process of ours, or root's, must be listening on. Codex's sockets are links into the
/// temp dir: what a link still points at after a reboot may be anybody's.
pub(super) async fn connect_to_ours(socket: &Path) -> Result<UnixStream, SourceError> {
    let stream = connect(socket).await?;
    let peer = stream.peer_cred().map_err(|source| SourceError::NotListening { socket: socket.to_owned(), source })?;
    may_be_codex(socket, peer.uid(), system::user())?;
    Ok(stream)
}

fn may_be_codex(socket: &Path, peer: u32, ours: u32) -> Result<(), SourceError> {
    let foreign = || SourceError::Foreign { socket: socket.to_owned(), user: peer };
    (peer == ours || peer == 0).then_some(()).ok_or_else(foreign)
}

async fn connect(socket: &Path) -> Result<UnixStream, SourceError> {
    let not_listening = |source| SourceError::NotListening { socket: socket.to_owned(), source };
    // Followed here, because a socket's address is short, and a link to it may stand deep in the tree.
    let path = tokio::fs::canonicalize(socket).await.map_err(not_listening)?;
    UnixStream::connect(path).await.map_err(not_listening)
}

/// For pasting into a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+=@%,".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_desk_attaches_to_ours_by_a_line_and_to_the_daemon_by_itself() {
        let own = How::Own { socket: "/run/user/0/farhelm/codex.sock".into(), instead: None };
        assert_eq!(own.desk_command().unwrap(), "codex --remote unix:///run/user/0/farhelm/codex.sock");
        let given = How::Given { socket: "/tmp/it's here".into() };
        assert_eq!(given.desk_command().unwrap(), r"codex --remote 'unix:///tmp/it'\''s here'");
        assert_eq!(How::Daemon { socket: "/s".into(), started: true }.desk_command(), None);
    }

    #[tokio::test]
    async fn a_socket_deep_in_the_tree_is_reached_through_its_link() {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(folder.path().join("s")).unwrap();
        let deep = folder.path().join("deep".repeat(30));
        std::fs::create_dir(&deep).unwrap();
        std::os::unix::fs::symlink(folder.path().join("s"), deep.join("link")).unwrap();
        connect_to_ours(&deep.join("link")).await.unwrap();
        drop(listener);
    }

    #[test]
    fn another_user_can_not_pretend_to_be_codex() {
        let listens = |peer, ours| may_be_codex(Path::new("/s"), peer, ours);
        assert!(listens(1000, 1000).is_ok() && listens(0, 1000).is_ok());
        let error = listens(1001, 1000).unwrap_err();
        assert!(matches!(error, SourceError::Foreign { user: 1001, .. }), "{error}");
        assert!(listens(1000, 0).is_err(), "not even to root");
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_not_listening() {
        let folder = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(folder.path().join("s")).unwrap());
        for socket in ["s", "nothing"] {
            let error = connect(&folder.path().join(socket)).await.unwrap_err();
            assert!(matches!(error, SourceError::NotListening { .. }), "{error}");
        }
    }
}
