//! One connection to an app-server after its [`handshake`](super::handshake): a task that writes what the [`Client`]s
//! ask and sorts what comes in.
//!
//! It isn't kept up: it ends with a [`ConnectionError`] at the first fault, and the supervisor makes another. A message
//! that can't be read means the two don't understand each other, so it is such a fault, too.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use farhelm_core::codex::message::{self, Id, Incoming, RpcError};
use farhelm_core::wire::limits;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_util::sync::CancellationToken;

use super::handshake::{Connection, INITIALIZE};
use super::{Epoch, Event, ProcessEpoch};

/// Bytes of messages that wait beyond the queue of events before the connection is cut: seven seconds of the fastest
/// stream that Codex was measured to send.
pub const BACKLOG: usize = 32 * 1024 * 1024;

/// Requests that wait for their answer. Codex itself takes some hundred before it says that it is overloaded.
const IN_FLIGHT: usize = 128;

/// Written messages that wait for the socket.
const OUTBOX: usize = 32;

/// A message handed to the socket. The app-server always reads: what it can't handle it refuses.
const WRITING: Duration = Duration::from_secs(20);

/// Pings say that a silent app-server is alive.
const PING: Duration = Duration::from_secs(15);

/// Nothing heard for so long, not even a pong: it is stuck.
const SILENCE: Duration = Duration::from_secs(60);

/// Why a connection ended, or never was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// It doesn't speak WebSocket.
    #[error("what listens there is no Codex app-server: {0}")]
    NoWebSocket(String),
    /// It refused `initialize`.
    #[error("the app-server refused to talk: {0}")]
    Refused(RpcError),
    /// It didn't answer `initialize`.
    #[error("the app-server doesn't answer")]
    NoAnswer,
    /// It said nothing, not even to pings.
    #[error("the app-server has been silent for {} s", SILENCE.as_secs())]
    Silent,
    /// It doesn't read.
    #[error("the app-server doesn't read what it is sent")]
    Stuck,
    /// It sent what is no message.
    #[error(transparent)]
    Malformed(#[from] message::Error),
    /// It sent what WebSocket allows and it never sends: bytes, or text that isn't UTF-8.
    #[error("the app-server sent {0}")]
    Unexpected(&'static str),
    /// It sent a message of more than [`limits::APP_SERVER_READ_OVER`] bytes.
    #[error("the app-server sent a message of over {} MiB", limits::APP_SERVER_READ_OVER / (1024 * 1024))]
    Oversized,
    /// It ended the connection or died.
    #[error("the app-server closed the connection")]
    Closed,
    /// The reader of the events fell behind by [`BACKLOG`] bytes.
    #[error("the host fell too far behind the app-server")]
    Behind,
    /// The reader of the events is gone; there is no point in another connection.
    #[error("nobody reads the app-server's events any more")]
    Unheard,
    /// The host stops.
    #[error("the host is stopping")]
    Stopped,
    /// The socket failed.
    #[error("the connection to the app-server broke: {0}")]
    Broken(String),
}

impl From<tungstenite::Error> for ConnectionError {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::Error::{AlreadyClosed, Capacity, ConnectionClosed, Io, Protocol, Utf8};
        match error {
            Capacity(_) => Self::Oversized,
            Utf8(_) => Self::Unexpected("text that isn't UTF-8"),
            ConnectionClosed | AlreadyClosed => Self::Closed,
            Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => Self::Closed,
            Io(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Self::Closed,
            Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Self::Closed,
            error => Self::Broken(error.to_string()),
        }
    }
}

/// What a request came to.
#[derive(Debug)]
pub(super) enum Fate {
    /// The app-server answered.
    Answered(Result<Value, RpcError>),
    /// The connection ended before it was written.
    NotSent,
}

/// The connection has ended.
#[derive(Debug)]
pub(super) struct Ended;

enum Outgoing {
    Request { id: i64, text: String, fate: oneshot::Sender<Fate> },
    Answer { text: String, written: oneshot::Sender<()> },
}

/// Where the rest of the program leaves its messages for a connection.
#[derive(Debug, Clone)]
pub(super) struct Client(Arc<Exchange>);

#[derive(Debug)]
struct Exchange {
    outbox: mpsc::Sender<Outgoing>,
    in_flight: Mutex<HashMap<i64, oneshot::Sender<Fate>>>,
    slots: Semaphore,
    next: AtomicI64,
}

/// What the connection's task holds.
pub(super) struct Driver {
    connection: Connection,
    client: Client,
    outbox: mpsc::Receiver<Outgoing>,
}

/// Splits a connection into where messages are left and the task that carries them.
pub(super) fn split(connection: Connection) -> (Client, Driver) {
    let (sender, outbox) = mpsc::channel(OUTBOX);
    let exchange = Exchange {
        outbox: sender,
        in_flight: Mutex::default(),
        slots: Semaphore::new(IN_FLIGHT),
        next: AtomicI64::new(INITIALIZE + 1),
    };
    let client = Client(Arc::new(exchange));
    (client.clone(), Driver { connection, client, outbox })
}

/// The message in what the socket gave, with its length; `None` for those WebSocket itself takes care of.
pub(super) fn received(
    given: Option<Result<Message, tungstenite::Error>>,
) -> Result<Option<(Incoming, usize)>, ConnectionError> {
    match given.ok_or(ConnectionError::Closed)?? {
        Message::Text(text) => match Incoming::parse(text.as_bytes()) {
            Ok(incoming) => Ok(Some((incoming, text.len()))),
            // An item with images, most likely. It is in the history, and the next read of the thread has it.
            Err(message::Error::TooLong { length }) => {
                tracing::warn!(length, "a message that is too large was read over");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        },
        Message::Binary(_) => Err(ConnectionError::Unexpected("a binary message")),
        Message::Close(_) => Err(ConnectionError::Closed),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
    }
}

impl Client {
    /// The requests that may be in flight.
    pub(super) fn slots(&self) -> &Semaphore {
        &self.0.slots
    }

    /// A number for a request. It is taken back when the guard is dropped, so that nothing waits for a caller who left.
    pub(super) fn number(&self) -> Number<'_> {
        Number { id: self.0.next.fetch_add(1, Ordering::Relaxed), exchange: &self.0 }
    }

    /// Leaves a request; `Err` if the connection has ended.
    pub(super) async fn send(&self, id: i64, text: String) -> Result<oneshot::Receiver<Fate>, Ended> {
        let (fate, awaited) = oneshot::channel();
        self.0.outbox.send(Outgoing::Request { id, text, fate }).await.map_err(|_| Ended)?;
        Ok(awaited)
    }

    /// Writes an answer; `Err` if the connection ended before that.
    pub(super) async fn answer(&self, text: String) -> Result<(), Ended> {
        let (written, awaited) = oneshot::channel();
        self.0.outbox.send(Outgoing::Answer { text, written }).await.map_err(|_| Ended)?;
        awaited.await.map_err(|_| Ended)
    }
}

/// A request's number while somebody waits for its answer.
#[derive(Debug)]
pub(super) struct Number<'a> {
    pub(super) id: i64,
    exchange: &'a Exchange,
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        self.exchange.waiting(|waiting| waiting.remove(&self.id));
    }
}

impl Exchange {
    fn waiting<T>(&self, with: impl FnOnce(&mut HashMap<i64, oneshot::Sender<Fate>>) -> T) -> T {
        with(&mut self.in_flight.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answered(&self, id: i64, outcome: Result<Value, RpcError>) {
        match self.waiting(|waiting| waiting.remove(&id)) {
            // Its caller may have left in this very moment.
            Some(fate) => drop(fate.send(Fate::Answered(outcome))),
            None => tracing::debug!(id, "an answer that nobody waits for any more"),
        }
    }
}

impl Driver {
    /// Carries messages until the connection ends; then every request has failed and its number is void.
    pub(super) async fn run(
        mut self,
        epoch: Epoch,
        process: ProcessEpoch,
        events: &mpsc::Sender<Event>,
        stop: &CancellationToken,
    ) -> ConnectionError {
        let Connection { socket, early, hello } = self.connection;
        let (sink, stream) = socket.split();
        let exchange = self.client.0;
        let mut reader = Reader { exchange: &exchange, epoch, events, backlog: Backlog::default() };
        reader.backlog.push(Event::Up { epoch, process, version: hello.version }, 0);
        early.into_iter().for_each(|incoming| reader.sort(incoming, 0));
        let why = tokio::select! {
            why = write(sink, &mut self.outbox, &exchange) => why,
            why = reader.run(stream) => why,
            () = stop.cancelled() => ConnectionError::Stopped,
        };
        self.outbox.close();
        while let Ok(outgoing) = self.outbox.try_recv() {
            if let Outgoing::Request { fate, .. } = outgoing {
                // Its caller may have left.
                let _ = fate.send(Fate::NotSent);
            }
        }
        exchange.waiting(HashMap::clear);
        why
    }
}

type Sink = SplitSink<WebSocketStream<UnixStream>, Message>;

async fn write(mut sink: Sink, outbox: &mut mpsc::Receiver<Outgoing>, exchange: &Exchange) -> ConnectionError {
    let mut pings = interval_at(Instant::now() + PING, PING);
    loop {
        let (message, written) = tokio::select! {
            _ = pings.tick() => (Message::Ping(Vec::new().into()), None),
            outgoing = outbox.recv() => match outgoing {
                // Nobody waits for the answer: don't ask.
                Some(Outgoing::Request { fate, .. }) if fate.is_closed() => continue,
                Some(Outgoing::Request { id, text, fate }) => {
                    exchange.waiting(|waiting| waiting.insert(id, fate));
                    (Message::text(text), None)
                }
                Some(Outgoing::Answer { text, written }) => (Message::text(text), Some(written)),
                None => return ConnectionError::Closed,
            },
        };
        match timeout(WRITING, sink.send(message)).await {
            Ok(Ok(())) => drop(written.map(|written| written.send(()))),
            Ok(Err(error)) => return error.into(),
            Err(_) => return ConnectionError::Stuck,
        }
    }
}

/// Reads and sorts. Answers go to their callers at once, past events that wait.
struct Reader<'a> {
    exchange: &'a Exchange,
    epoch: Epoch,
    events: &'a mpsc::Sender<Event>,
    backlog: Backlog,
}

/// Events that found the queue full, with the length of their messages.
#[derive(Default)]
struct Backlog {
    events: VecDeque<(Event, usize)>,
    bytes: usize,
}

impl Reader<'_> {
    async fn run(mut self, mut stream: SplitStream<WebSocketStream<UnixStream>>) -> ConnectionError {
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                given = stream.next() => match received(given) {
                    Ok(incoming) => {
                        heard = Instant::now();
                        incoming.into_iter().for_each(|(incoming, length)| self.sort(incoming, length));
                    }
                    Err(why) => return why,
                },
                room = self.events.reserve(), if !self.backlog.events.is_empty() => match room {
                    Ok(room) => drop(self.backlog.pop().map(|event| room.send(event))),
                    Err(_) => return ConnectionError::Unheard,
                },
                () = sleep_until(heard + SILENCE) => return ConnectionError::Silent,
            }
            if self.backlog.bytes > BACKLOG {
                return ConnectionError::Behind;
            }
        }
    }

    fn sort(&mut self, incoming: Incoming, length: usize) {
        let epoch = self.epoch;
        let event = match incoming {
            Incoming::Response { id: Id::Number(id), result } => return self.exchange.answered(id, result),
            Incoming::Request { id: Id::Number(id), method, params } => Event::Request { epoch, id, method, params },
            // No release does so. The desk, which is asked too, can answer it.
            Incoming::Request { id: Id::Text(_), method, .. } => {
                return tracing::warn!(method, "Codex asks under a name instead of a number; left to the desk");
            }
            Incoming::Response { id: Id::Text(_), .. } => return tracing::debug!("an answer to nothing we asked"),
            Incoming::Notification { method, params } => Event::Notification { epoch, method, params },
        };
        self.backlog.push(event, length);
    }
}

impl Backlog {
    fn push(&mut self, event: Event, length: usize) {
        self.bytes += length;
        self.events.push_back((event, length));
    }

    fn pop(&mut self) -> Option<Event> {
        let (event, length) = self.events.pop_front()?;
        self.bytes -= length;
        Some(event)
    }
}
