//! A scripted agent that speaks Codex's app-server protocol over a Unix socket, without Codex.
//!
//! It is there so that the demo runs where no `codex` is installed, and it passes the same tests as the real one
//! (0.169.0): the same notifications in the same order, approvals by the same ids, the first answer counts. What it
//! does follows from keywords in the prompt ([`scenario`](super::scenario)).
//!
//! What it isn't: it runs no commands (a few are acted out), it applies patches only below one folder, threads live as
//! long as it does unless it is given a folder for them, and of the protocol it knows what the corridor uses; any other
//! method is refused as unknown.
//!
//! The protocol is a machine without I/O (`server`, `thread`, `turn`); this file is its sockets and its clock.

mod files;
mod item;
mod kept;
mod server;
mod shell;
mod tell;
mod thread;
mod turn;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farhelm_platform::socket;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use files::Scratch;
use kept::Keep;
use server::{Outbox, Server};
use thread::Client;

/// The version of Codex whose protocol is spoken.
pub const CODEX_VERSION: &str = "0.169.0";

/// Why the agent isn't there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No socket to listen on.
    #[error("the scripted agent cannot listen: {0}")]
    Listen(#[from] socket::Error),
    /// The runtime didn't take the socket.
    #[error("the scripted agent cannot listen: {0}; is the limit of open files reached?")]
    Runtime(#[source] io::Error),
    /// The scratch folder can't be used.
    #[error("the scripted agent cannot use {}: {source}; pass a folder that exists", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// A running agent. Dropping it ends it, and cuts its connections.
#[derive(Debug)]
pub struct Agent {
    stop: CancellationToken,
    tasks: TaskTracker,
    entry: socket::Entry,
}

impl Agent {
    /// Listens on `socket_path`; files are read and written below `folder` only, which is also where threads start.
    pub async fn start(socket_path: &Path, folder: &Path) -> Result<Self, Error> {
        Self::listen(socket_path, folder, |server| (server, None))
    }

    /// The same, with threads that are kept in `threads` and outlive the process, also one that is killed.
    pub async fn start_keeping(socket_path: &Path, folder: &Path, threads: &Path) -> Result<Self, Error> {
        let unusable = |source| Error::Folder { path: threads.to_owned(), source };
        let keep = Keep::open(threads).map_err(unusable)?;
        let kept = keep.threads().map_err(unusable)?;
        kept.iter().try_for_each(|thread| keep.put(thread)).map_err(unusable)?;
        Self::listen(socket_path, folder, |server| (server.restored(kept, now()), Some(keep)))
    }

    fn listen(
        socket_path: &Path,
        folder: &Path,
        with: impl FnOnce(Server) -> (Server, Option<Keep>),
    ) -> Result<Self, Error> {
        let unusable = |source| Error::Folder { path: folder.to_owned(), source };
        let scratch = Scratch::new(folder).map_err(unusable)?;
        let (listener, entry) = socket::bind(socket_path)?;
        let listener = UnixListener::from_std(listener).map_err(Error::Runtime)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (events, inbox) = mpsc::channel(INBOX);
        let (server, keep) = with(Server::new(folder, Box::new(scratch)));
        tasks.spawn(stop.clone().run_until_cancelled_owned(serve(server, keep, inbox)));
        tasks.spawn(stop.clone().run_until_cancelled_owned(accept(listener, events, tasks.clone(), stop.clone())));
        Ok(Self { stop, tasks, entry })
    }

    /// Where to connect to.
    pub fn socket(&self) -> &Path {
        self.entry.path()
    }

    /// Ends it; the socket's name is gone afterwards.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        // Every task ends at its next await; the wait is for the last of them to be dropped.
        let _ = tokio::time::timeout(GRACE, self.tasks.wait()).await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What connections tell the server.
enum Inbound {
    Came(mpsc::Sender<Value>),
    Said(String),
    Went,
}

type Events = mpsc::Sender<(Client, Inbound)>;

/// The one task that owns the server.
async fn serve(mut server: Server, keep: Option<Keep>, mut inbox: mpsc::Receiver<(Client, Inbound)>) {
    let mut clients: HashMap<Client, mpsc::Sender<Value>> = HashMap::new();
    loop {
        let wait = server.due().map(|due| Duration::from_millis(due.saturating_sub(now())));
        let outbox = tokio::select! {
            event = inbox.recv() => match event {
                None => return,
                Some((client, Inbound::Came(sender))) => {
                    clients.insert(client, sender);
                    server.connected(client);
                    continue;
                }
                Some((client, Inbound::Said(text))) => server.received(client, &text, now()),
                Some((client, Inbound::Went)) => {
                    clients.remove(&client);
                    server.disconnected(client);
                    continue;
                }
            },
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => server.tick(now()),
        };
        for thread in server.changed() {
            // What can't be kept isn't told: whoever looks finds a server that is gone.
            if keep.as_ref().is_some_and(|keep| keep.put(thread).is_err()) {
                return;
            }
        }
        deliver(&mut server, &mut clients, outbox);
    }
}

/// A client that doesn't read is cut, as by Codex; nobody waits for it.
fn deliver(server: &mut Server, clients: &mut HashMap<Client, mpsc::Sender<Value>>, outbox: Outbox) {
    for (client, message) in outbox {
        let Some(sender) = clients.get(&client) else { continue };
        if sender.try_send(message).is_err() {
            clients.remove(&client);
            server.disconnected(client);
        }
    }
}

async fn accept(listener: UnixListener, events: Events, tasks: TaskTracker, stop: CancellationToken) {
    let mut next: Client = 0;
    loop {
        match listener.accept().await {
            Ok((stream, _)) if tasks.len() < CONNECTIONS => {
                next += 1;
                let connection = converse(stream, next, events.clone());
                tasks.spawn(stop.clone().run_until_cancelled_owned(connection));
            }
            Ok(_) => {}
            // Out of file descriptors, say; a pause keeps this from spinning.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// One connection, until either side ends it.
async fn converse(stream: UnixStream, client: Client, events: Events) {
    let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let opening = tokio_tungstenite::accept_async_with_config(stream, Some(config));
    let Ok(Ok(socket)) = tokio::time::timeout(GRACE, opening).await else { return };
    let (sender, outgoing) = mpsc::channel(OUTGOING);
    if events.send((client, Inbound::Came(sender))).await.is_ok() {
        exchange(socket, client, &events, outgoing).await;
        let _ = events.send((client, Inbound::Went)).await;
    }
}

async fn exchange(
    socket: WebSocketStream<UnixStream>,
    client: Client,
    events: &Events,
    mut outgoing: mpsc::Receiver<Value>,
) {
    let (mut sink, mut stream) = socket.split();
    let write = async {
        while let Some(message) = outgoing.recv().await {
            if sink.send(Message::text(message.to_string())).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Text(text) = message else { continue };
            if events.send((client, Inbound::Said(text.to_string()))).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

/// Messages from all clients that wait for the server.
const INBOX: usize = 256;
/// Messages to one client that wait to be written; then it is cut.
const OUTGOING: usize = 16_384;
/// Clients at a time.
const CONNECTIONS: usize = 64;
/// The largest message, as Codex has it.
const LARGEST: usize = 16 << 20;
/// For a client's opening handshake, and for the end of everything.
const GRACE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        let error = Agent::start(&folder.path().join("run/a.sock"), &missing).await.expect_err("refused");
        assert!(matches!(&error, Error::Folder { path, .. } if *path == missing), "{error}");
    }

    #[tokio::test]
    async fn a_socket_in_use_is_refused_and_free_after_shutdown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/a.sock");
        let first = Agent::start(&path, folder.path()).await.expect("started");
        let error = Agent::start(&path, folder.path()).await.expect_err("refused");
        assert!(matches!(error, Error::Listen(socket::Error::InUse { .. })), "{error}");
        first.shutdown().await;
        Agent::start(&path, folder.path()).await.expect("started again");
    }

    #[tokio::test]
    async fn shutting_down_cuts_open_connections() {
        let folder = tempfile::tempdir().expect("a folder");
        let agent = Agent::start(&folder.path().join("run/a.sock"), folder.path()).await.expect("started");
        let stream = UnixStream::connect(agent.socket()).await.expect("connected");
        let (mut client, _) = tokio_tungstenite::client_async("ws://localhost/", stream).await.expect("a WebSocket");
        agent.shutdown().await;
        let end = tokio::time::timeout(GRACE, client.next()).await.expect("cut in time");
        assert!(!matches!(end, Some(Ok(_))));
    }
}
