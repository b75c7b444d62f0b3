//! How the host finds Codex and talks to it: one connection to one app-server, kept up.
//!
//! [`AppServer::start`] runs a supervisor that finds the app-server ([`Source`]), connects, and connects again with
//! backoff whenever the connection ends. It carries messages and nothing else: which threads exist, what a phone may
//! ask, and what an approval means is decided by whoever holds the [`AppServer`] and reads its [`Event`]s.
//!
//! ```text
//!            ┌──────────── Connecting ◀───────────┐ backoff, 250 ms … 10 s
//!  start ────┤                 │ initialize       │
//!            └── Away ◀────────┤ (why, what to do)│
//!                  └───────────┼──────────────────┤
//!                            Ready ── lost ───────┘
//! ```
//!
//! # Why one connection, and why it isn't shared with a phone
//! Any initialized connection has full authority over Codex (APP-SERVER: `command/exec`, `fs/readFile`, answering
//! anybody's approval), so the connection is the host's alone and phones only ever reach it through the host's policy.
//!
//! # Why two epochs
//! The app-server numbers what it asks from 0 in every process. A [`ProcessEpoch`] tells processes apart, so an answer
//! to a former one is refused ([`ReplyError::Stale`]). What still waits is asked again when its thread is resumed, under
//! the same number, and an answer counts whichever connection brings it. An [`Epoch`] is drawn for every connection:
//! what was learned over a former one means nothing any more.
//!
//! # What waits where
//! Everything is bounded. Requests wait for a slot, then for the socket, then for their answer, at most their
//! timeout in all. Events wait in a queue of [`EVENTS`]; behind it up to [`BACKLOG`] bytes are kept while reading goes
//! on, so that a reader of events may itself await a request. Beyond that the connection is cut, as the app-server
//! does with a slow reader, and the caller starts over from [`Event::Up`].
//!
//! Unix only: on Windows Codex's control socket is an `AF_UNIX` socket too, which tokio doesn't open there yet.

mod codex;
mod command;
mod connection;
pub mod daemon;
mod handshake;
mod own;
mod process;
mod request;
mod source;
mod supervisor;
#[cfg(test)]
pub(super) mod tests;
mod version;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use codex::{Codex, Missing, codex_home};
pub use command::CommandError;
pub use connection::{BACKLOG, ConnectionError};
pub use farhelm_core::codex::message::RpcError;
pub use own::OwnError;
pub use process::ProcessEpoch;
pub use request::{ReplyError, RequestError};
pub use source::{How, Source, SourceError};
pub use version::{TESTED, Version};

use connection::Client;
use process::Identify;
use source::Finder;

/// Names one connection to one app-server process: random, so it never returns.
pub type Epoch = [u8; 16];

/// Events that wait for their reader before they count against [`BACKLOG`].
pub const EVENTS: usize = 256;

/// How long a request waits for its answer, if the caller doesn't say. Starting a thread starts its MCP servers,
/// which Codex itself gives 10 s.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where Codex is and where the host may put things.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `codex` program; looked up on PATH if `None`.
    pub codex: Option<PathBuf>,
    /// CODEX_HOME; if `None` the one Codex itself would use.
    pub codex_home: Option<PathBuf>,
    /// A directory of mode 0700 for the socket of an app-server of our own. It need not exist; its parent must.
    pub runtime_dir: PathBuf,
    /// Variables set in addition for every `codex` that is started.
    pub environment: Vec<(String, String)>,
}

/// Whether Codex can be reached right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Looking for the app-server or shaking hands with it, for the first time or after a connection was lost.
    Connecting {
        /// Why there is no connection any more; `None` if there was none yet.
        why: Option<String>,
    },
    /// Connected.
    Ready {
        /// The connection's name.
        epoch: Epoch,
        /// The app-server's own.
        process: ProcessEpoch,
        /// The app-server's version.
        version: Version,
        /// Which app-server it is.
        how: How,
        /// Its CODEX_HOME.
        codex_home: PathBuf,
    },
    /// The last attempt failed; it is tried again until it succeeds, and this stands as long as the reason does.
    Away {
        /// What is wrong.
        why: String,
        /// What a person can do about it.
        what_to_do: String,
    },
}

/// What the app-server said. Those of one epoch stand between its `Up` and its `Down`.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Connected: list and resume the threads.
    Up {
        /// The connection's name.
        epoch: Epoch,
        /// The app-server's own.
        process: ProcessEpoch,
        /// The app-server's version.
        version: Version,
    },
    /// It told something.
    Notification {
        /// The connection's name.
        epoch: Epoch,
        /// For example `turn/completed`.
        method: String,
        /// The parameters, `Null` if there were none.
        params: Value,
    },
    /// It asks something. Every subscribed client is asked and the first answer counts, so what isn't understood is
    /// left to the desk, not refused.
    Request {
        /// The connection's name.
        epoch: Epoch,
        /// For [`AppServer::reply`].
        id: i64,
        /// For example `item/commandExecution/requestApproval`.
        method: String,
        /// The parameters, `Null` if there were none.
        params: Value,
    },
    /// The connection ended: requests in flight have failed and what was asked is void.
    Down {
        /// The connection's name.
        epoch: Epoch,
        /// Why.
        why: String,
    },
}

/// A handle to the supervised connection. When its last clone is dropped the connection ends, and with it an
/// app-server that was started as our own; [`shutdown`](AppServer::shutdown) also waits for that.
#[derive(Debug, Clone)]
pub struct AppServer {
    shared: Arc<Shared>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
    _stop: Arc<DropGuard>,
}

/// What the handle and its supervisor both see.
#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    live: Mutex<Option<Live>>,
    stop: CancellationToken,
}

#[derive(Debug, Clone)]
struct Live {
    process: ProcessEpoch,
    client: Client,
}

impl AppServer {
    /// Starts looking for the app-server. The events must be read; dropping their receiver ends the supervisor.
    pub fn start(source: Source, options: Options) -> (AppServer, mpsc::Receiver<Event>) {
        Self::start_with(source, options, Box::new(process::identify))
    }

    fn start_with(source: Source, options: Options, identify: Identify) -> (AppServer, mpsc::Receiver<Event>) {
        let (events, received) = mpsc::channel(EVENTS);
        let (state, _) = watch::channel(State::Connecting { why: None });
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared { state, live: Mutex::new(None), stop: stop.clone() });
        let task = tokio::spawn(supervisor::run(Finder::new(source, options, identify), shared.clone(), events));
        let task = Arc::new(Mutex::new(Some(task)));
        (AppServer { shared, task, _stop: Arc::new(stop.drop_guard()) }, received)
    }

    /// Whether Codex can be reached, and its changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Asks the app-server, waiting for [`PATIENCE`] at most.
    pub async fn request(&self, method: &str, params: Value) -> Result<Value, RequestError> {
        self.request_within(PATIENCE, method, params).await
    }

    /// Asks the app-server, waiting for `patience` at most. Reads it is too busy for are tried again within that.
    pub async fn request_within(&self, patience: Duration, method: &str, params: Value) -> Result<Value, RequestError> {
        let live = self.shared.live().ok_or(RequestError::Away)?;
        request::with_retries(&live.client, patience, method, params).await
    }

    /// Answers a request of this process. `Ok` means written to the app-server, not that it was the first answer: that
    /// is seen by what happens to the item.
    pub async fn reply(
        &self,
        process: ProcessEpoch,
        request: i64,
        result: Result<Value, RpcError>,
    ) -> Result<(), ReplyError> {
        let live = self.shared.live().ok_or(ReplyError::Stale)?;
        if live.process != process {
            return Err(ReplyError::Stale);
        }
        live.client.reply(request, result).await
    }

    /// Ends the connection and an app-server of our own, and waits for that.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = async { Some(task?.await) }.await {
            tracing::error!(%error, "the app-server's supervisor failed");
        }
    }
}

impl Shared {
    fn live(&self) -> Option<Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_live(&self, live: Option<Live>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }
}
