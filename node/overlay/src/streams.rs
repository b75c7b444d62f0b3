//! Streams of `/farhelm/session/1` on a *chosen* connection.
//!
//! # Why not libp2p-stream
//! It opens on a random connection of the peer, so with a relayed and a direct one half of the streams die with the
//! relay (rust-libp2p #6358); it never forgets closed connections; and it drops inbound streams when nobody happens to
//! be waiting. Here a caller names the connection, every request is answered (also when its connection closes under
//! it), and what is dropped is counted.
//!
//! Negotiation is lazy where the swarm says so (multistream V1Lazy): the opener's first bytes travel with the protocol
//! name. So a peer that doesn't speak the protocol shows as an error on the first read, not on opening.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

/// The protocol's name, which carries its version.
pub const PROTOCOL: StreamProtocol = StreamProtocol::new("/farhelm/session/1");

/// How long opening one stream may take, from the request to the negotiated stream.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests waiting on one connection; a session needs one stream, a resume a second.
const REQUESTS: usize = 16;

/// Inbound streams one connection may hold open at a time: what a peer can make us keep.
const INBOUND: usize = 16;

/// Why a stream couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection is gone, or closed while the request was under way.
    #[error("the connection closed")]
    Closed,
    /// The peer doesn't speak the protocol.
    #[error("the peer does not speak {PROTOCOL}")]
    Unsupported,
    /// Nothing came back in time.
    #[error("no answer within {} s", OPEN_TIMEOUT.as_secs())]
    TimedOut,
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Io(#[from] io::Error),
}

/// One stream of the session protocol: tokio's `AsyncRead` and `AsyncWrite`, `Send` and `'static`.
///
/// Dropped without a shutdown it is reset. An inbound one holds a place among its connection's streams until dropped.
pub struct Stream {
    inner: Compat<libp2p::Stream>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Stream {
    fn new(inner: libp2p::Stream, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { inner: inner.compat(), _place: place }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A stream the peer opened.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) connection: ConnectionId,
    pub(crate) stream: Stream,
}

type Reply = oneshot::Sender<Result<Stream, Error>>;

#[derive(Default)]
struct Shared {
    connections: Mutex<HashMap<ConnectionId, mpsc::Sender<Reply>>>,
    dropped: AtomicU64,
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, HashMap<ConnectionId, mpsc::Sender<Reply>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens streams; cheap to clone.
#[derive(Clone)]
pub(crate) struct Control(Arc<Shared>);

impl Control {
    /// Opens a stream on exactly this connection.
    pub(crate) async fn open(&self, connection: ConnectionId) -> Result<Stream, Error> {
        let requests = self.0.connections().get(&connection).cloned().ok_or(Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            requests.send(reply).await.map_err(|_| Error::Closed)?;
            // A handler that is dropped with its connection drops the reply.
            answer.await.map_err(|_| Error::Closed)?
        };
        tokio::time::timeout(OPEN_TIMEOUT, exchange).await.map_err(|_| Error::TimedOut)?
    }

    /// Inbound streams reset so far because nobody had room for them.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Counts one more.
    pub(crate) fn count_dropped(&self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The behaviour: one [`Handler`] a connection, and the table through which [`Control`] finds them.
pub(crate) struct Behaviour {
    shared: Arc<Shared>,
    arrivals: mpsc::Sender<Arrival>,
}

impl Behaviour {
    /// `capacity` streams may wait to be taken; one more is reset.
    pub(crate) fn new(capacity: usize) -> (Self, Control, mpsc::Receiver<Arrival>) {
        let shared = Arc::new(Shared::default());
        let (arrivals, receiver) = mpsc::channel(capacity);
        (Self { shared: shared.clone(), arrivals }, Control(shared), receiver)
    }

    fn handler(&mut self, connection: ConnectionId) -> Handler {
        let (sender, requests) = mpsc::channel(REQUESTS);
        self.shared.connections().insert(connection, sender);
        Handler {
            connection,
            requests,
            opening: 0,
            arrivals: self.arrivals.clone(),
            places: Arc::new(Semaphore::new(INBOUND)),
            shared: self.shared.clone(),
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // The last two: another behaviour denied the connection after this one had made its handler.
        let connection = match event {
            FromSwarm::ConnectionClosed(closed) => closed.connection_id,
            FromSwarm::DialFailure(failure) => failure.connection_id,
            FromSwarm::ListenFailure(failure) => failure.connection_id,
            _ => return,
        };
        self.shared.connections().remove(&connection);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// One connection's part.
pub(crate) struct Handler {
    connection: ConnectionId,
    requests: mpsc::Receiver<Reply>,
    /// Requests handed to the swarm and not yet answered.
    opening: usize,
    arrivals: mpsc::Sender<Arrival>,
    places: Arc<Semaphore>,
    shared: Arc<Shared>,
}

impl Handler {
    fn arrived(&mut self, stream: libp2p::Stream) {
        let taken = self.places.clone().try_acquire_owned().ok().is_some_and(|place| {
            let stream = Stream::new(stream, Some(place));
            self.arrivals.try_send(Arrival { connection: self.connection, stream }).is_ok()
        });
        if !taken {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(connection = %self.connection, "inbound stream reset: too many are waiting or open");
        }
    }

    fn answer(&mut self, reply: Reply, result: Result<Stream, Error>) {
        self.opening -= 1;
        // Whoever asked may have stopped waiting; the stream is reset then.
        let _ = reply.send(result);
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        while self.opening < REQUESTS {
            match self.requests.poll_recv(cx) {
                Poll::Ready(Some(reply)) if reply.is_closed() => continue,
                Poll::Ready(Some(reply)) => {
                    self.opening += 1;
                    let protocol =
                        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), reply).with_timeout(OPEN_TIMEOUT);
                    return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Reply>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => self.arrived(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.answer(info, Ok(Stream::new(protocol, None)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => self.answer(
                info,
                Err(match error {
                    StreamUpgradeError::Timeout => Error::TimedOut,
                    StreamUpgradeError::NegotiationFailed => Error::Unsupported,
                    StreamUpgradeError::Io(error) => Error::Io(error),
                    StreamUpgradeError::Apply(never) => match never {},
                }),
            ),
            _ => {}
        }
    }
}
