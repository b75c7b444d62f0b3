//! The task that knows this host's folders: asks Codex which it trusts, and marks those that are opened at the desk.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::projects::{Projects, Standing};
use super::{HostFolders, canonical};
use crate::host::app_server::{AppServer, Epoch, RequestError, RpcError, State};

/// Who may wait for it at once; more wait for their turn.
const ASKS: usize = 64;

/// Hints are heeded this often at most: one follows every thread that starts.
const HINTS: Duration = Duration::from_secs(1);

/// How long Codex has for reading or writing its config; measured 5 ms.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a write is tried that found config.toml changed meanwhile.
const ATTEMPTS: usize = 3;

/// A folder that was opened at the desk, and what became of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The folder, canonical.
    pub folder: String,
    /// What became of it.
    pub opening: Opening,
}

/// What became of a folder that was opened at the desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Codex trusted it already.
    Trusted,
    /// Codex trusts it from now on.
    Marked {
        /// The file that says so now.
        file: String,
    },
    /// It is marked as not to be trusted, and stays so.
    Untrusted {
        /// The folder that is marked: this one, or one above it.
        by: String,
    },
    /// It couldn't be opened.
    Failed {
        /// Why.
        why: String,
    },
}

impl Opening {
    /// Whether threads can be started in it.
    pub const fn is_startable(&self) -> bool {
        matches!(self, Self::Trusted | Self::Marked { .. })
    }
}

impl fmt::Display for Opened {
    /// What became of it, and what a person can do about it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = &self.folder;
        match &self.opening {
            Opening::Trusted => write!(f, "Codex trusts {folder}"),
            Opening::Marked { file } => write!(f, "Codex now trusts {folder} (written to {file})"),
            Opening::Untrusted { by } => write!(
                f,
                "Codex's config marks {by} as untrusted, so phones start nothing in {folder}\n  \
                 → to change that, remove the mark with `codex` in that folder or in its config.toml"
            ),
            Opening::Failed { why } => write!(f, "Phones can't start threads in {folder} yet: {why}"),
        }
    }
}

/// A handle on the task. Clones share it.
#[derive(Debug, Clone)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
    folders: watch::Receiver<Arc<HostFolders>>,
    opened: watch::Receiver<Vec<Opened>>,
}

#[derive(Debug)]
enum Ask {
    /// Something may have changed.
    Hint,
    /// The folders as Codex has them now.
    Current(oneshot::Sender<Option<Arc<HostFolders>>>),
    /// A person opens a folder.
    Open { folder: String, reply: oneshot::Sender<Opened> },
}

impl Keeper {
    /// Starts it on a host that starts in `start`. Until Codex is there nothing is startable.
    pub fn start(app_server: AppServer, start: &str, stop: CancellationToken) -> Self {
        let start = canonical(start).unwrap_or_else(|| start.to_owned());
        let unasked = HostFolders { own: vec![start.clone()], startable: Vec::new() };
        let (folders, seen) = watch::channel(Arc::new(unasked));
        let (opened, said) = watch::channel(Vec::new());
        let (asks, asked) = mpsc::channel(ASKS);
        let task = Task { app_server, start, is_open: false, folders, opened };
        tokio::spawn(stop.run_until_cancelled_owned(task.run(asked)));
        Self { asks, folders: seen, opened: said }
    }

    /// The folders as last heard, and their changes.
    pub fn folders(&self) -> watch::Receiver<Arc<HostFolders>> {
        self.folders.clone()
    }

    /// The folders as Codex has them now; `None` if it can't be asked.
    pub async fn current(&self) -> Option<Arc<HostFolders>> {
        let (reply, current) = oneshot::channel();
        self.asks.send(Ask::Current(reply)).await.ok()?;
        current.await.ok()?
    }

    /// Says that something may have changed. Never waits.
    pub fn hint(&self) {
        // A full queue is read anyway.
        let _ = self.asks.try_send(Ask::Hint);
    }

    /// Opens a folder because a person at the desk wants it: Codex trusts it afterwards, unless it is marked as not to
    /// be trusted.
    pub async fn open(&self, folder: &str) -> Opened {
        let failed = |why: &str| Opened { folder: folder.into(), opening: Opening::Failed { why: why.into() } };
        let Some(folder) = canonical(folder) else { return failed("it is no absolute path of a folder") };
        let (reply, opened) = oneshot::channel();
        let stopped = "the host stops";
        match self.asks.send(Ask::Open { folder, reply }).await {
            Ok(()) => opened.await.unwrap_or_else(|_| failed(stopped)),
            Err(_) => failed(stopped),
        }
    }

    /// What was opened since the host started, each folder as it came out last.
    pub fn opened(&self) -> watch::Receiver<Vec<Opened>> {
        self.opened.clone()
    }
}

struct Task {
    app_server: AppServer,
    start: String,
    /// Whether the start folder was opened; that is done once.
    is_open: bool,
    folders: watch::Sender<Arc<HostFolders>>,
    opened: watch::Sender<Vec<Opened>>,
}

impl Task {
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut state = self.app_server.state();
        let mut heard: Option<Epoch> = None;
        let (mut last, mut hinted) = (Instant::now(), false);
        loop {
            let epoch = epoch_of(&state.borrow_and_update());
            if epoch.is_some() && epoch != heard {
                self.refresh().await;
                (last, hinted) = (Instant::now(), false);
            }
            heard = epoch;
            tokio::select! {
                biased;
                changed = state.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(last + HINTS), if hinted => {
                    self.refresh().await;
                    (last, hinted) = (Instant::now(), false);
                }
                ask = asks.recv() => match ask {
                    None => return,
                    Some(Ask::Hint) => hinted = true,
                    Some(Ask::Current(reply)) => {
                        let current = self.refresh().await;
                        (last, hinted) = (Instant::now(), false);
                        let _ = reply.send(current);
                    }
                    Some(Ask::Open { folder, reply }) => {
                        let opened = self.open(folder).await;
                        self.refresh().await;
                        let _ = reply.send(opened);
                    }
                },
            }
        }
    }

    /// Asks Codex, and publishes what follows. The start folder is opened before anything else.
    async fn refresh(&mut self) -> Option<Arc<HostFolders>> {
        if !self.is_open {
            let Opened { opening, .. } = self.open(self.start.clone()).await;
            self.is_open = !matches!(opening, Opening::Failed { .. });
        }
        let projects = match self.projects().await {
            Ok(projects) => projects,
            Err(error) => {
                tracing::warn!(%error, "can't ask Codex which folders it trusts");
                return None;
            }
        };
        let start = self.start.clone();
        let folders = tokio::task::spawn_blocking(move || HostFolders::of(&start, &projects)).await.ok()?;
        self.folders.send_if_modified(|known| {
            let differ = **known != folders;
            if differ {
                *known = Arc::new(folders);
            }
            differ
        });
        Some(self.folders.borrow().clone())
    }

    async fn open(&self, folder: String) -> Opened {
        let opening = self.trust(&folder).await.unwrap_or_else(|why| Opening::Failed { why: why.to_string() });
        let opened = Opened { folder, opening };
        self.opened.send_if_modified(|all| {
            let differ = !all.contains(&opened);
            if differ {
                all.retain(|other| other.folder != opened.folder);
                all.push(opened.clone());
            }
            differ
        });
        opened
    }

    /// Has Codex trust a folder, unless it is marked already. A config.toml that was changed meanwhile is read again.
    async fn trust(&self, folder: &str) -> Result<Opening, RequestError> {
        let mut attempts = 1;
        loop {
            let projects = self.projects().await?;
            let (known, at) = (projects.clone(), folder.to_owned());
            let standing = tokio::task::spawn_blocking(move || known.standing_here(&at)).await;
            match standing.unwrap_or(Standing::Unmarked) {
                Standing::Trusted => return Ok(Opening::Trusted),
                Standing::Untrusted { by } => return Ok(Opening::Untrusted { by }),
                Standing::Unmarked => {}
            }
            let write = write_params(folder, projects.version.as_deref());
            match self.app_server.request_within(PATIENCE, "config/value/write", write).await {
                Ok(written) => {
                    let file = written.get("filePath").and_then(Value::as_str).unwrap_or("config.toml").to_owned();
                    return Ok(Opening::Marked { file });
                }
                Err(RequestError::Codex(error)) if was_changed(&error) && attempts < ATTEMPTS => attempts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn projects(&self) -> Result<Projects, RequestError> {
        let read = self.app_server.request_within(PATIENCE, "config/read", json!({"includeLayers": true})).await?;
        Ok(Projects::read(&read))
    }
}

fn epoch_of(state: &State) -> Option<Epoch> {
    match state {
        State::Ready { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

/// A key path's parts are TOML keys; JSON's quoted text is one, too.
fn write_params(folder: &str, version: Option<&str>) -> Value {
    let key = format!("projects.{}.trust_level", Value::from(folder));
    json!({"keyPath": key, "value": "trusted", "mergeStrategy": "upsert", "expectedVersion": version})
}

fn was_changed(error: &RpcError) -> bool {
    let code = error.data.as_ref().and_then(|data| data.get("config_write_error_code"));
    code.is_some_and(|code| code == "configVersionConflict")
}
