//! A tap on the app-server's socket: it forwards every message both ways, counts what the app-server says, and notes when
//! which part of an answer went by.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use farhelm_core::session::record;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::Notification;
use farhelm_platform::socket;
use futures::{Sink, SinkExt, Stream, StreamExt};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use serde_json::value::RawValue;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::{self, Message};

/// What went by since the last [`Tap::take`].
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Bytes of JSON that the app-server sent.
    pub(super) bytes: u64,
    /// What its pieces of text would be as one record each.
    pub(super) each: u64,
    /// When a piece of text came, and how many bytes of text there were with it.
    pub(super) pieces: Vec<(Instant, usize)>,
}

/// A running tap. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Tap {
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
    entry: socket::Entry,
}

/// As much of a message as is looked at.
#[derive(Deserialize)]
struct Said<'a> {
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Piece {
    delta: String,
}

impl Tap {
    /// Listens on `socket_path` for the host and connects each of its connections to the one at `behind`.
    pub(super) fn start(socket_path: &Path, behind: &Path) -> Result<Self, socket::Error> {
        let (listener, entry) = socket::bind(socket_path)?;
        let heard = Arc::<Mutex<Heard>>::default();
        let task = tokio::spawn(accept(listener, behind.to_owned(), heard.clone()));
        Ok(Self { heard, task, entry })
    }

    /// Where the host connects to.
    pub(super) fn socket(&self) -> &Path {
        self.entry.path()
    }

    /// What went by since this was asked last.
    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: std::os::unix::net::UnixListener, behind: PathBuf, heard: Arc<Mutex<Heard>>) {
    let Ok(listener) = UnixListener::from_std(listener) else { return };
    while let Ok((host, _)) = listener.accept().await {
        let (behind, heard) = (behind.clone(), heard.clone());
        tokio::spawn(async move {
            if let Err(error) = converse(host, &behind, &heard).await {
                tracing::debug!(%error, "the app-server's connection ended");
            }
        });
    }
}

async fn converse(host: UnixStream, behind: &Path, heard: &Mutex<Heard>) -> Result<(), tungstenite::Error> {
    let host = tokio_tungstenite::accept_async(host).await?;
    let server = UnixStream::connect(behind).await.map_err(tungstenite::Error::Io)?;
    let (server, _) = tokio_tungstenite::client_async("ws://localhost/", server).await?;
    let ((to_host, from_host), (to_server, from_server)) = (host.split(), server.split());
    tokio::try_join!(forward(from_server, to_host, |text| note(heard, text)), forward(from_host, to_server, |_| ()))?;
    Ok(())
}

async fn forward<E: From<tungstenite::Error>>(
    mut from: impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    mut to: impl Sink<Message, Error = E> + Unpin,
    look: impl Fn(&str),
) -> Result<(), E> {
    while let Some(message) = from.next().await {
        let message = message?;
        if let Message::Text(text) = &message {
            look(text);
        }
        to.send(message).await?;
    }
    // The one side has ended: so does the other.
    Err(tungstenite::Error::Io(io::ErrorKind::UnexpectedEof.into()).into())
}

fn note(heard: &Mutex<Heard>, text: &str) {
    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    heard.bytes += text.len() as u64;
    let Ok(Said { method: Some("item/agentMessage/delta"), params: Some(params) }) = serde_json::from_str(text) else {
        return;
    };
    let Ok(Piece { delta }) = serde_json::from_str(params.get()) else { return };
    heard.each += alone("item/agentMessage/delta", params.get());
    let before = heard.pieces.last().map_or(0, |(_, length)| *length);
    heard.pieces.push((Instant::now(), before + delta.len()));
}

/// What a notification takes in a session as it is, in a record of its own.
fn alone(method: &str, params: &str) -> u64 {
    let notification = Notification { method: method.to_owned(), params: ByteBuf::from(params) };
    // One byte says that the envelope is whole.
    (Envelope::Notification(notification).encode().len() + 1 + record::HEADER + record::TAG) as u64
}
