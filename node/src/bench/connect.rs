//! How long it takes from a cold start of the phone until it has its first thread list, in round trips of the path: over
//! a relay, and directly by an address that it knows.
//!
//! Everything is in this process; what goes from one node to another goes over links that take 25 ms each way
//! (`link.rs`): from phone and host to the relay, and from the phone to the host. So the round trip is known, and what is
//! measured is how often somebody waits for somebody else. Beside it stands what libp2p alone takes on the same links for
//! a stream and one byte there and back, with the same endpoint: what more the phone takes is the session's handshake,
//! and what either program computes.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use farhelm_core::identity::Identity;
use farhelm_core::pairing::Ticket;
use farhelm_overlay::{Endpoint, Incoming, Multiaddr, Protocol, Route};
use farhelm_phone::{Client, KeyStore, Policy, ThreadQuery, key_store};
use farhelm_relay::Relay;
use farhelm_store::{Journal, Store};
use serde::Serialize;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::link::{Link, round_trip};
use super::world::{Error, STEP, config, within};
use crate::demo::agent::Agent;
use crate::host::Host;
use crate::host::app_server::State;
use crate::host::desk::{Consent, Desk};

/// Of every link, each way.
const ONE_WAY: Duration = Duration::from_millis(25);
/// How often each is measured, unless somebody says otherwise; the one in the middle counts.
pub const RUNS: usize = 9;
/// Round trips that the phone may take more than libp2p alone.
const MORE: f64 = 1.1;

/// A way to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Relayed,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct, by a known address",
            Self::Relayed => "through a relay",
        }
    }

    /// Round trips of the path that a cold start may take.
    const fn limit(self) -> f64 {
        match self {
            Self::Direct => 5.0,
            Self::Relayed => 7.0,
        }
    }

    /// Links on the path.
    const fn links(self) -> u32 {
        match self {
            Self::Direct => 1,
            Self::Relayed => 2,
        }
    }
}

/// What was measured of a way. Times in milliseconds, else round trips of the path.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Which.
    pub name: &'static str,
    /// One round trip of the path.
    pub round_trip_ms: f64,
    /// From the cold start to the first thread list.
    pub list_ms: f64,
    /// The same in round trips.
    pub list: f64,
    /// What that may be.
    pub list_limit: f64,
    /// What libp2p alone took for a stream and a byte there and back, in round trips.
    pub bare: f64,
    /// What the phone took more.
    pub more: f64,
    /// What that may be.
    pub more_limit: f64,
}

impl Measured {
    /// Whether nobody waited once too often.
    pub fn is_prompt(&self) -> bool {
        self.list <= self.list_limit && self.more <= self.more_limit
    }
}

/// Measures both ways, each so often; each goes to `tell` as soon as it is.
pub async fn run(runs: usize, mut tell: impl FnMut(Measured)) -> Result<(), Error> {
    let world = World::start().await?;
    let measured = async {
        for way in [Way::Direct, Way::Relayed] {
            tell(world.measure(way, runs).await?);
        }
        Ok(())
    };
    let measured = measured.await;
    let ended = world.shutdown().await;
    measured.and(ended)
}

/// The links to a node that listens on TCP and QUIC, and where it is at their near ends.
struct Links {
    tcp: Link,
    udp: Link,
}

impl Links {
    async fn to(listening: &[Multiaddr]) -> Result<Self, Error> {
        let tcp = listening.iter().find_map(|address| socket(address, false)).ok_or(Error::Waited("TCP"))?;
        let udp = listening.iter().find_map(|address| socket(address, true)).ok_or(Error::Waited("QUIC"))?;
        Ok(Self { tcp: Link::tcp(tcp, ONE_WAY).await?, udp: Link::udp(udp, ONE_WAY).await? })
    }

    fn addresses(&self) -> Vec<Multiaddr> {
        let at = |socket: SocketAddr| Multiaddr::from(socket.ip());
        let (tcp, udp) = (self.tcp.address(), self.udp.address());
        let tcp = at(tcp).with(Protocol::Tcp(tcp.port()));
        vec![at(udp).with(Protocol::Udp(udp.port())).with(Protocol::QuicV1), tcp]
    }
}

fn socket(address: &Multiaddr, udp: bool) -> Option<SocketAddr> {
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(ip), Protocol::Tcp(port)) if !udp => Some((ip, port).into()),
        (Protocol::Ip4(ip), Protocol::Udp(port)) if udp => Some((ip, port).into()),
        _ => None,
    }
}

/// TCP and QUIC.
fn loopback() -> Vec<Multiaddr> {
    ["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"].map(|text| text.parse().expect("an address")).into()
}

/// What a phone keeps. Once it is closed nothing is written any more: else the phone would learn where the host listens,
/// and go there beside the links.
#[derive(Debug, Default)]
struct Kept {
    memory: key_store::Memory,
    closed: AtomicBool,
}

#[async_trait]
impl KeyStore for Kept {
    async fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, key_store::Error> {
        self.memory.get(name).await
    }

    async fn put(&self, name: &str, value: Zeroizing<Vec<u8>>) -> Result<(), key_store::Error> {
        if self.closed.load(Ordering::Acquire) { Ok(()) } else { self.memory.put(name, value).await }
    }

    async fn delete(&self, name: &str) -> Result<(), key_store::Error> {
        self.memory.delete(name).await
    }

    async fn list(&self) -> Result<Vec<String>, key_store::Error> {
        self.memory.list().await
    }
}

/// A relay, a host with an agent, a bare node that echoes, and links to all of them.
struct World {
    relay: Relay,
    host: Host,
    bare: Endpoint,
    agent: Agent,
    relays: Vec<Multiaddr>,
    to_host: Links,
    to_bare: Links,
    _to_relay: Links,
    scratch: TempDir,
    round_trip: Duration,
}

impl World {
    async fn start() -> Result<Self, Error> {
        let private = std::fs::Permissions::from_mode(0o700);
        let scratch = tempfile::Builder::new().prefix("farhelm-bench-").permissions(private).tempdir()?;
        let path = scratch.path();
        let agent = Agent::start(&path.join("agent.sock"), path).await?;
        let (relay, to_relay) = relay().await?;
        let named = |address: Multiaddr| address.with(Protocol::P2p(relay.node_id().to_peer_id()));
        let relays: Vec<Multiaddr> = to_relay.addresses().into_iter().map(named).collect();
        let (store, journal) = (Store::open(&path.join("store"))?, Journal::open(&path.join("journal"))?);
        let mut settings = config(path, agent.socket());
        settings.overlay.listen = loopback();
        let host = Host::start(settings, store, journal).await?;
        let mut codex = host.codex();
        let ready = codex.wait_for(|state| matches!(state, State::Ready { .. }));
        within("the scripted agent", ready).await?.map_err(|_| Error::Waited("the host"))?;
        host.add_relays(relays.iter().map(ToString::to_string)).await?;
        let bare = echo(&relays).await?;
        let to_bare = Links::to(&bare.status().listening).await?;
        let round_trip = round_trip(ONE_WAY).await?;
        let to_host = Links::to(&offered(&host).await?.direct).await?;
        let world =
            Self { relay, host, bare, agent, relays, to_host, to_bare, _to_relay: to_relay, scratch, round_trip };
        within("reservations", world.reserved()).await?;
        Ok(world)
    }

    /// Both are found through the relay.
    async fn reserved(&self) {
        while self.relay.status().reservations < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn shutdown(self) -> Result<(), Error> {
        self.host.shutdown().await;
        self.bare.shutdown().await;
        self.relay.shutdown().await;
        self.agent.shutdown().await;
        Ok(self.scratch.close()?)
    }

    async fn measure(&self, way: Way, runs: usize) -> Result<Measured, Error> {
        let kept = self.pair(way).await?;
        let (mut lists, mut bares) = (Vec::new(), Vec::new());
        for _ in 0..runs.max(1) {
            lists.push(self.list(way, kept.clone()).await?);
            bares.push(self.bare(way).await?);
        }
        let (list, bare) = (middle(lists), middle(bares));
        let path = self.round_trip * way.links();
        let trips = |took: Duration| took.as_secs_f64() / path.as_secs_f64();
        Ok(Measured {
            name: way.name(),
            round_trip_ms: path.as_secs_f64() * 1000.0,
            list_ms: list.as_secs_f64() * 1000.0,
            list: trips(list),
            list_limit: way.limit(),
            bare: trips(bare),
            more: trips(list) - trips(bare),
            more_limit: MORE,
        })
    }

    fn phone(&self, way: Way) -> farhelm_phone::Config {
        let mut config = farhelm_phone::Config::new(way.name());
        config.listen = loopback();
        config.journal = Some(self.scratch.path().join(format!("{way:?}")));
        if way == Way::Relayed {
            config.paths = Policy::RelayOnly;
        }
        config
    }

    /// A phone that knows the host on this way alone.
    async fn pair(&self, way: Way) -> Result<Arc<Kept>, Error> {
        let kept = Arc::<Kept>::default();
        let phone = Client::open(self.phone(way), kept.clone()).await?;
        let ticket = offered(&self.host).await?;
        let ticket = match way {
            Way::Direct => Ticket { direct: self.to_host.addresses(), relays: Vec::new(), ..ticket },
            Way::Relayed => Ticket { direct: Vec::new(), ..ticket },
        };
        let pairing = within("the host's answer", phone.pair_with(ticket)).await??;
        within("the pairing", pairing.finish(STEP)).await??;
        kept.closed.store(true, Ordering::Release);
        phone.shutdown().await;
        Ok(kept)
    }

    /// A cold start of the phone, until it has its list.
    async fn list(&self, way: Way, kept: Arc<Kept>) -> Result<Duration, Error> {
        let began = Instant::now();
        let phone = Client::open(self.phone(way), kept).await?;
        let host = phone.connect(self.host.node_id()).await.map_err(|_| Error::Waited("what the phone keeps"))?;
        within("a thread list", host.threads(ThreadQuery::newest(20))).await??;
        let took = began.elapsed();
        phone.shutdown().await;
        Ok(took)
    }

    /// A cold start of a node, until a byte went there and back.
    async fn bare(&self, way: Way) -> Result<Duration, Error> {
        let peer = self.bare.node_id();
        let addresses = match way {
            Way::Direct => self.to_bare.addresses(),
            Way::Relayed => self.relays.iter().map(|relay| relay.clone().with(Protocol::P2pCircuit)).collect(),
        };
        let began = Instant::now();
        let mut config = farhelm_overlay::Config::new(Identity::generate(&mut rand::rng()));
        config.listen = loopback();
        config.policy = if way == Way::Relayed { Policy::RelayOnly } else { Policy::default() };
        let (node, _) = Endpoint::start(config).map_err(farhelm_phone::OpenError::from)?;
        within("a connection", node.connect(peer, addresses)).await?.map_err(|_| Error::Waited("a connection"))?;
        let (_, mut stream) = node.open(peer, Route::Best).await.map_err(|_| Error::Waited("a stream"))?;
        stream.write_all(b"x").await?;
        within("a byte", stream.read_exact(&mut [0])).await??;
        let took = began.elapsed();
        node.shutdown().await;
        Ok(took)
    }
}

/// A ticket with which whoever comes is let in.
async fn offered(host: &Host) -> Result<Ticket, Error> {
    let (events, _desk) = mpsc::channel(8);
    Ok(host.offer(STEP, Desk::new(Consent::Given, events)).await?.ticket().clone())
}

/// A relay that tells everybody to come over the links.
async fn relay() -> Result<(Relay, Links), Error> {
    let port = |udp: bool| async move {
        let address = if udp {
            tokio::net::UdpSocket::bind("127.0.0.1:0").await?.local_addr()?
        } else {
            tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?
        };
        Ok::<_, Error>(address.port())
    };
    // Free a moment ago: what it announces has to be known before it listens.
    let (tcp, udp) = (port(false).await?, port(true).await?);
    let listen: Vec<Multiaddr> = [format!("/ip4/127.0.0.1/udp/{udp}/quic-v1"), format!("/ip4/127.0.0.1/tcp/{tcp}")]
        .iter()
        .map(|text| text.parse().expect("an address"))
        .collect();
    let links = Links::to(&listen).await?;
    let config = farhelm_relay::Config { listen, announce: links.addresses(), ..farhelm_relay::Config::default() };
    Ok((Relay::start(&Identity::generate(&mut rand::rng()), config).await?, links))
}

/// A node that sends back whatever it is sent.
async fn echo(relays: &[Multiaddr]) -> Result<Endpoint, Error> {
    let mut config = farhelm_overlay::Config::new(Identity::generate(&mut rand::rng()));
    config.listen = loopback();
    let (node, mut streams) = Endpoint::start(config).map_err(farhelm_phone::OpenError::from)?;
    let mut events = node.events();
    node.set_relays(relays.to_vec()).await.map_err(farhelm_phone::OpenError::from)?;
    tokio::spawn(async move {
        while let Some(Incoming { mut stream, .. }) = streams.recv().await {
            tokio::spawn(async move {
                let mut byte = [0];
                if stream.read_exact(&mut byte).await.is_ok() {
                    let _ = stream.write_all(&byte).await;
                    // Until it is hung up.
                    let _ = stream.read(&mut byte).await;
                }
            });
        }
    });
    let both = async {
        while node.status().listening.len() < 2 {
            if events.recv().await.is_err() {
                return;
            }
        }
    };
    within("the bare node", both).await?;
    Ok(node)
}

/// The one in the middle of them, or of an even number the slower one.
fn middle(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of[of.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it takes is a matter of the machine and the build, and is only said; ten times as long, somebody waits for
    /// nothing.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_cold_start_takes_few_round_trips() {
        let mut all = Vec::new();
        run(1, |measured| all.push(measured)).await.expect("measured");
        for measured in &all {
            println!("{measured:?}");
            assert!(measured.list <= 10.0 * measured.list_limit && measured.bare > 1.0, "{measured:?}");
            assert!(measured.round_trip_ms >= 50.0, "{measured:?}");
        }
        assert_eq!(all.len(), 2);
    }
}
