//! Whether a connection still leads anywhere: libp2p's ping protocol (`/ipfs/ping/1.0.0`), at a pace that can change
//! and on demand.
//!
//! # Why not libp2p-ping
//! Its interval is fixed when the swarm is built, and nothing can be asked of one connection now. A phone in a pocket is
//! to be left alone for half a minute; one in a hand is to know within seconds that its relay is gone; and after a change
//! of networks, or when a peer reserves anew, the question is which of the *old* connections still answer. As there, a
//! failed probe closes nothing by itself: whoever owns the swarm does.
//!
//! ```text
//!            ┌──────────── answered, or refused ──────────────┐
//!            ▼                                                │
//!  due ──▶ open a stream ──▶ 32 bytes out, the same back ─────┘
//!            └──────── not by the deadline ──▶ Silent
//! ```

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamProtocol, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// Any libp2p node answers it.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/ping/1.0.0");

/// Bytes of a ping.
const SIZE: usize = 32;

/// How often to ask, and how long to wait for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From an answer to the next question.
    pub interval: Duration,
    /// From a question to giving up.
    pub patience: Duration,
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The peer answered after this long.
    Answered(Duration),
    /// It didn't, in time or at all.
    Silent,
}

/// A probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The peer at the other end.
    pub peer: PeerId,
    /// On which connection.
    pub connection: ConnectionId,
    /// What was found.
    pub finding: Finding,
}

/// The behaviour: one [`Handler`] a connection.
#[derive(Debug)]
pub struct Behaviour {
    pace: Pace,
    connections: HashMap<ConnectionId, PeerId>,
    actions: VecDeque<ToSwarm<Event, Order>>,
}

impl Behaviour {
    /// Probes every connection at this pace, the first time as soon as it stands.
    pub fn new(pace: Pace) -> Self {
        Self { pace, connections: HashMap::new(), actions: VecDeque::new() }
    }

    /// From now on at this pace.
    pub fn set_pace(&mut self, pace: Pace) {
        if self.pace == pace {
            return;
        }
        self.pace = pace;
        let all: Vec<_> = self.connections.keys().copied().collect();
        all.into_iter().for_each(|connection| self.order(connection, Order::Pace(pace)));
    }

    /// Probes this connection now; one that is under way has no longer than `patience` from now on. Nothing, if the
    /// connection is gone.
    pub fn probe(&mut self, connection: ConnectionId, patience: Duration) {
        self.order(connection, Order::Now(patience));
    }

    /// The same for every connection of this peer, if it has several.
    pub fn probe_peer(&mut self, peer: PeerId, patience: Duration) {
        let its = self.connections.iter().filter(|(_, of)| **of == peer);
        let its: Vec<_> = its.map(|(connection, _)| *connection).collect();
        if its.len() > 1 {
            its.into_iter().for_each(|connection| self.probe(connection, patience));
        }
    }

    fn order(&mut self, connection: ConnectionId, event: Order) {
        if let Some(peer) = self.connections.get(&connection) {
            let handler = NotifyHandler::One(connection);
            self.actions.push_back(ToSwarm::NotifyHandler { peer_id: *peer, handler, event });
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.pace))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.pace))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                self.connections.insert(established.connection_id, established.peer_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.connections.remove(&closed.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, found: THandlerOutEvent<Self>) {
        self.actions.push_back(ToSwarm::GenerateEvent(Event { peer, connection, finding: found }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// What a handler is told.
#[derive(Debug, Clone, Copy)]
pub enum Order {
    /// The pace from now on.
    Pace(Pace),
    /// Probe now, with this patience.
    Now(Duration),
}

type Ping = BoxFuture<'static, io::Result<(libp2p::Stream, Duration)>>;
type Pong = BoxFuture<'static, io::Result<libp2p::Stream>>;

/// How far our own probe is.
enum Probing {
    /// The next one is due then; the stream of the last one may still be there.
    Resting(Option<libp2p::Stream>),
    /// A stream is being opened; perhaps it has to be asked for first.
    Opening { asked: bool },
    /// Waiting for the answer, on a stream that was used before or not.
    Waiting { ping: Ping, fresh: bool },
    /// The peer doesn't know the protocol: it is alive for all we know.
    Unsupported,
}

/// One connection's part.
pub struct Handler {
    pace: Pace,
    probing: Probing,
    /// Resting: when the next probe is due; else when the one under way has failed.
    at: Instant,
    /// Of the last answer.
    round_trip: Option<Duration>,
    /// How long the next probe may take, if not as usual.
    patience: Option<Duration>,
    timer: Pin<Box<Sleep>>,
    pong: Option<Pong>,
}

impl Handler {
    fn new(pace: Pace) -> Self {
        let now = Instant::now();
        let timer = Box::pin(sleep_until(now));
        Self { pace, probing: Probing::Resting(None), at: now, round_trip: None, patience: None, timer, pong: None }
    }

    fn set(&mut self, at: Instant) {
        self.at = at;
        self.timer.as_mut().reset(at);
    }

    fn rest(&mut self, stream: Option<libp2p::Stream>) {
        self.probing = Probing::Resting(stream);
        self.set(Instant::now() + self.pace.interval);
    }

    fn begin(&mut self, stream: Option<libp2p::Stream>) {
        let patience = self.patience.take().unwrap_or_else(|| self.usual_patience());
        self.set(Instant::now() + patience);
        self.probing = match stream {
            Some(stream) => Probing::Waiting { ping: ping(stream).boxed(), fresh: false },
            None => Probing::Opening { asked: false },
        };
    }

    /// A peer that answers fast is missed sooner: eight of its round trips, but three fifths of the time at the least.
    fn usual_patience(&self) -> Duration {
        let most = self.pace.patience;
        self.round_trip.map_or(most, |round_trip| (8 * round_trip).clamp(most * 3 / 5, most))
    }

    /// A probe ended before its deadline, and without an answer.
    fn broke(&mut self) {
        match self.probing {
            // Some peers close the stream after each ping.
            Probing::Waiting { fresh: false, .. } => self.probing = Probing::Opening { asked: false },
            // Somebody refused it, so somebody is there: a peer without this protocol, as negotiation is lazy.
            _ => self.rest(None),
        }
    }

    fn silent(&mut self) -> Finding {
        self.rest(None);
        Finding::Silent
    }

    fn answer_pings(&mut self, cx: &mut Context<'_>) {
        while let Some(pong) = &mut self.pong {
            match pong.poll_unpin(cx) {
                Poll::Ready(Ok(stream)) => self.pong = Some(self::pong(stream).boxed()),
                Poll::Ready(Err(_)) => self.pong = None,
                Poll::Pending => return,
            }
        }
    }

    /// Goes on with our own probe as far as that is possible now.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        loop {
            let due = self.timer.as_mut().poll(cx).is_ready();
            match &mut self.probing {
                Probing::Unsupported => return Poll::Pending,
                Probing::Resting(stream) if due => {
                    let stream = stream.take();
                    self.begin(stream);
                }
                Probing::Resting(_) => return Poll::Pending,
                Probing::Opening { .. } | Probing::Waiting { .. } if due => {
                    return Poll::Ready(Next::Say(self.silent()));
                }
                Probing::Opening { asked: true } => return Poll::Pending,
                Probing::Opening { asked } => {
                    *asked = true;
                    return Poll::Ready(Next::Open);
                }
                Probing::Waiting { ping, .. } => match ping.poll_unpin(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok((stream, took))) => {
                        self.round_trip = Some(took);
                        self.rest(Some(stream));
                        return Poll::Ready(Next::Say(Finding::Answered(took)));
                    }
                    Poll::Ready(Err(_)) => self.broke(),
                },
            }
        }
    }
}

/// What comes of it.
enum Next {
    Open,
    Say(Finding),
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Finding;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Finding>> {
        self.answer_pings(cx);
        self.go_on(cx).map(|next| match next {
            Next::Say(finding) => ConnectionHandlerEvent::NotifyBehaviour(finding),
            Next::Open => ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ()),
            },
        })
    }

    fn on_behaviour_event(&mut self, order: Order) {
        let now = Instant::now();
        match (order, &self.probing) {
            (_, Probing::Unsupported) => {}
            (Order::Pace(pace), Probing::Resting(_)) => {
                let (former, at) = (std::mem::replace(&mut self.pace, pace), now + pace.interval);
                self.set(if pace.interval < former.interval { self.at.min(at) } else { at });
            }
            (Order::Pace(pace), _) => {
                self.pace = pace;
                self.set(self.at.min(now + pace.patience));
            }
            (Order::Now(patience), Probing::Resting(_)) => {
                self.patience = Some(patience);
                self.set(now);
            }
            (Order::Now(patience), _) => self.set(self.at.min(now + patience)),
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: mut stream, .. }) => {
                stream.ignore_for_keep_alive();
                self.pong = Some(pong(stream).boxed());
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: mut stream, .. }) => {
                stream.ignore_for_keep_alive();
                // Another one: the probe that wanted it is over, its stream serves the next.
                self.probing = match std::mem::replace(&mut self.probing, Probing::Unsupported) {
                    Probing::Opening { .. } => Probing::Waiting { ping: ping(stream).boxed(), fresh: true },
                    Probing::Resting(_) => Probing::Resting(Some(stream)),
                    other => other,
                };
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => match error {
                StreamUpgradeError::NegotiationFailed => self.probing = Probing::Unsupported,
                StreamUpgradeError::Apply(never) => match never {},
                // The deadline says it.
                StreamUpgradeError::Timeout | StreamUpgradeError::Io(_) => {}
            },
            _ => {}
        }
    }
}

/// Sends a ping and waits for its answer.
async fn ping(mut stream: libp2p::Stream) -> io::Result<(libp2p::Stream, Duration)> {
    let (sent, mut answer): ([u8; SIZE], _) = (rand::random(), [0; SIZE]);
    let since = Instant::now();
    stream.write_all(&sent).await?;
    stream.flush().await?;
    stream.read_exact(&mut answer).await?;
    if answer == sent { Ok((stream, since.elapsed())) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Waits for a ping and answers it.
async fn pong(mut stream: libp2p::Stream) -> io::Result<libp2p::Stream> {
    let mut asked = [0; SIZE];
    stream.read_exact(&mut asked).await?;
    stream.write_all(&asked).await?;
    stream.flush().await?;
    Ok(stream)
}
