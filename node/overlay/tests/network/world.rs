//! Nodes and relays to test with. Every wait ends after [`PATIENCE`] with what was waited for.

use std::time::Duration;

use farhelm_core::identity::{Identity, NodeId};
use farhelm_overlay::{Config, Endpoint, Event, Incoming, Multiaddr, Path, Protocol, Stream, Transports};
use farhelm_relay::Relay;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{broadcast, mpsc};

/// Ten times what anything here takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

pub(crate) fn node_id(seed: u8) -> NodeId {
    identity(seed).node_id()
}

/// What a node listens on.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum On {
    Memory,
    Tcp,
    Quic,
    Both,
    /// As a program starts it: every interface, IPv4 and IPv6.
    Everywhere,
}

impl On {
    fn listen(self) -> Vec<Multiaddr> {
        let texts: &[&str] = match self {
            On::Memory => &["/memory/0"],
            On::Tcp => &["/ip4/127.0.0.1/tcp/0"],
            On::Quic => &["/ip4/127.0.0.1/udp/0/quic-v1"],
            On::Both => &["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"],
            On::Everywhere => return Config::new(identity(0)).listen,
        };
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn transports(self) -> Transports {
        if self == On::Memory { Transports::Memory } else { Transports::Network }
    }
}

pub(crate) fn config(seed: u8, on: On) -> Config {
    Config { listen: on.listen(), transports: on.transports(), ..Config::new(identity(seed)) }
}

pub(crate) fn relay_config(on: On) -> farhelm_relay::Config {
    let announce = if on == On::Memory { Vec::new() } else { on.listen() };
    farhelm_relay::Config { listen: on.listen(), announce, transports: on.transports(), ..Default::default() }
}

pub(crate) async fn relay(seed: u8, on: On) -> Relay {
    Relay::start(&identity(seed), relay_config(on)).await.unwrap()
}

/// A node, its streams and its events.
pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    pub(crate) events: broadcast::Receiver<Event>,
}

impl Node {
    pub(crate) fn start(config: Config) -> Self {
        let (endpoint, incoming) = Endpoint::start(config).unwrap();
        let events = endpoint.events();
        Self { endpoint, incoming, events }
    }

    /// A node that listens by the time this returns.
    pub(crate) async fn new(seed: u8, on: On) -> Self {
        Self::with(config(seed, on)).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let listeners = config.listen.len();
        let mut node = Self::start(config);
        for _ in 0..listeners {
            node.until("listening", |event| matches!(event, Event::Listening(_)).then_some(())).await;
        }
        node
    }

    pub(crate) fn id(&self) -> NodeId {
        self.endpoint.node_id()
    }

    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        self.endpoint.status().direct_addresses()
    }

    /// The first event that `pick` takes.
    pub(crate) async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = pick(self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// Holds a reservation by the time this returns; gives the addresses through the relay.
    pub(crate) async fn reserve(&mut self, relay: &Relay) -> Vec<Multiaddr> {
        self.endpoint.set_relays(relay.multiaddrs().to_vec()).await.unwrap();
        self.until_reserved().await;
        relay.multiaddrs().iter().map(|leg| circuit(leg, self.id())).collect()
    }

    pub(crate) async fn until_reserved(&mut self) {
        self.until("a reservation", |event| matches!(event, Event::ReservationUp { .. }).then_some(())).await;
    }

    pub(crate) async fn until_up(&mut self, fits: impl Fn(&Path) -> bool) -> Path {
        self.until("a path", |event| match event {
            Event::PathUp(path) if fits(&path) => Some(path),
            _ => None,
        })
        .await
    }

    pub(crate) async fn until_down(&mut self, peer: NodeId) -> Path {
        self.until("a path down", |event| match event {
            Event::PathDown(path) if path.peer == peer => Some(path),
            _ => None,
        })
        .await
    }

    pub(crate) async fn accept(&mut self) -> Incoming {
        let next = tokio::time::timeout(PATIENCE, self.incoming.recv()).await;
        next.expect("never: an incoming stream").expect("the node runs")
    }

    /// Answers every stream with what it says, until the node ends.
    pub(crate) fn echo(self) -> Endpoint {
        let Self { endpoint, mut incoming, .. } = self;
        tokio::spawn(async move {
            while let Some(Incoming { stream, .. }) = incoming.recv().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = tokio::io::split(stream);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        endpoint
    }
}

pub(crate) fn circuit(leg: &Multiaddr, peer: NodeId) -> Multiaddr {
    leg.clone().with(Protocol::P2pCircuit).with(Protocol::P2p(peer.to_peer_id()))
}

/// Says five bytes and hears them back.
pub(crate) async fn round_trip(stream: &mut Stream) -> std::io::Result<()> {
    let exchange = async {
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"hello");
        Ok(())
    };
    tokio::time::timeout(PATIENCE, exchange).await.expect("never: an echo")
}

/// Waits until the peer's end of the stream is gone.
pub(crate) async fn until_ended(stream: &mut Stream) {
    let mut byte = [0];
    let ended = async { while !matches!(stream.read(&mut byte).await, Ok(0) | Err(_)) {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("never: the end of a stream");
}
