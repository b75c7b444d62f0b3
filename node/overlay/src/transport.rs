//! What carries connections: QUIC, TCP and WebSocket with Noise and Yamux behind DNS, or channels inside this process.
//!
//! Endpoints and relays use the same, so that they can't drift apart. Circuits are the endpoint's own (`swarm`).

use std::io;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::time::Duration;

use farhelm_core::identity::Identity;
use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::transport::{Boxed, MemoryTransport};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::{PeerId, dns, noise, quic, tcp, yamux};

use crate::websocket::{Tls, WebSocket};
use crate::{addresses, closing};

/// What identify calls the protocol family.
pub const PROTOCOL_VERSION: &str = "/farhelm/1";

/// What identify calls the program; no version of it, as that helps attackers only.
pub const AGENT_VERSION: &str = "farhelm";

/// Under the 30 s after which many NATs forget a UDP mapping.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(25);

/// Two keep-alives and a little: one may be lost.
const QUIC_IDLE_MS: u32 = 60_000;

/// How long a connection has until its peer is proven, either way. Without it a stranger who connects and says nothing
/// holds one of the few places for newcomers for ever.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a node speaks below libp2p.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transports {
    /// TCP, QUIC and WebSocket, with DNS.
    #[default]
    Network,
    /// Channels inside this process (`/memory/N`), for tests and examples.
    Memory,
}

/// A transport of connections whose peer is proven.
pub type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// The node's key as libp2p wants it.
pub fn keypair(identity: &Identity) -> Keypair {
    let mut seed = identity.seed();
    Keypair::ed25519_from_bytes(&mut *seed).expect("a seed is 32 bytes, and any 32 bytes are a seed")
}

/// Builds it. Nothing listens or dials yet.
pub fn build(transports: Transports, keypair: &Keypair) -> Result<Transport, noise::Error> {
    build_with(transports, keypair, Tls::default())
}

/// Builds it with a certificate of its own, so that it can listen on TLS WebSocket too.
pub fn build_with(transports: Transports, keypair: &Keypair, tls: Tls) -> Result<Transport, noise::Error> {
    let transport = match transports {
        Transports::Network => network(keypair, tls),
        Transports::Memory => memory(keypair),
    };
    Ok(TransportTimeout::new(transport?, HANDSHAKE).boxed())
}

/// Whether somebody listens at `address` already; port 0 and addresses without an IP are always free.
///
/// # Why ask before listening
/// libp2p shares a TCP port with any process of the same user that also allows it, so a second relay would silently
/// take half of the first one's clients. And it wraps the system's error so deep that its kind is lost.
pub fn is_taken(address: &Multiaddr) -> bool {
    let Some(mut ip) = addresses::ip(address) else { return false };
    if ip.is_unspecified() && ip.is_ipv6() {
        // A plain socket on :: would claim IPv4 too; on ::1 it still collides with whoever has :: of IPv6.
        ip = Ipv6Addr::LOCALHOST.into();
    }
    let bound = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) if port != 0 => Some(TcpListener::bind((ip, port)).map(drop)),
        Protocol::Udp(port) if port != 0 => Some(UdpSocket::bind((ip, port)).map(drop)),
        _ => None,
    });
    matches!(bound, Some(Err(error)) if error.kind() == io::ErrorKind::AddrInUse)
}

/// All of them, with DNS where the system knows a resolver.
///
/// WebSocket resolves for itself: whoever resolves before it takes away the name that the certificate is checked
/// against.
fn network(keypair: &Keypair, tls: Tls) -> Result<Transport, noise::Error> {
    let websocket = WebSocket::new(resolving(|| Ok(tcp().boxed()))?, tls)
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, closing::soon(muxer)));
    let plain = resolving(|| sockets(keypair))?;
    Ok(websocket.or_transport(plain).map(|either, _| either.into_inner()).boxed())
}

/// With names resolved in front of it.
fn resolving<T: 'static>(below: impl Fn() -> Result<Boxed<T>, noise::Error>) -> Result<Boxed<T>, noise::Error> {
    match dns::tokio::Transport::system(below()?) {
        Ok(resolving) => Ok(resolving.boxed()),
        Err(error) => {
            // No resolv.conf, as in a bare container. Not replaced by somebody's public resolver.
            tracing::warn!(%error, "no system DNS configuration: addresses with names in them can't be dialled");
            below()
        }
    }
}

fn tcp() -> tcp::tokio::Transport {
    tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
}

fn sockets(keypair: &Keypair) -> Result<Transport, noise::Error> {
    let tcp = tcp()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, closing::soon(muxer)));
    let quic = quic::tokio::Transport::new(quic(keypair)).map(|(peer, muxer), _| (peer, closing::soon(muxer)));
    Ok(quic.or_transport(tcp).map(|either, _| either.into_inner()).boxed())
}

/// Leaves an idle connection alone for as long as a NAT remembers it. libp2p's own 5 s between keep-alives and 10 s
/// until a silent connection ends would wake a phone's radio all day. The shorter of two peers' limits counts, so with
/// a stock relay it is that relay which keeps the connection alive; that somebody is gone is noticed by `probe`.
fn quic(keypair: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(keypair);
    config.max_idle_timeout = QUIC_IDLE_MS;
    config.keep_alive_interval = QUIC_KEEP_ALIVE;
    config
}

/// The same handshakes, no sockets.
fn memory(keypair: &Keypair) -> Result<Transport, noise::Error> {
    let transport = MemoryTransport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keypair)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, closing::soon(muxer)));
    Ok(transport.boxed())
}
