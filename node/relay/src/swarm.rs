//! The composition of a relay's behaviours, and the one place that builds its `Swarm` type.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use farhelm_core::identity::Identity;
use farhelm_overlay::probe::{self, Pace};
use farhelm_overlay::transport::{self, AGENT_VERSION, PROTOCOL_VERSION};
use farhelm_overlay::websocket::Tls;
use farhelm_overlay::{Multiaddr, addresses};
use libp2p::core::upgrade::Version;
use libp2p::relay::RateLimiter;
use libp2p::swarm::{self, NetworkBehaviour};
use libp2p::{PeerId, Swarm, connection_limits, identify, noise, relay};

use crate::config::Config;
use crate::ledger::Ledger;
use crate::rates::{self, Buckets, Rate};

/// A connection that carries nothing is kept this long: a client's second transport idles until a hole is punched.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// As rarely as clients ask when they are idle: it is their radios that a probe wakes.
const PACE: Pace = Pace { interval: Duration::from_secs(30), patience: Duration::from_secs(10) };

/// Connections whose handshake isn't finished.
const MAX_PENDING: u32 = 256;

/// Connections of one peer: two transports, twice while its network changes.
const MAX_PER_PEER: u32 = 8;

/// Reservations of one peer: the same.
const RESERVATIONS_PER_PEER: usize = 4;

/// Everything a relay does on a connection.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    pub(crate) probe: probe::Behaviour,
}

/// Builds it; nothing listens yet.
pub(crate) fn build(
    identity: &Identity,
    config: &Config,
    ledger: Arc<Mutex<Ledger>>,
    tls: Tls,
) -> Result<Swarm<Behaviour>, noise::Error> {
    let keypair = transport::keypair(identity);
    let peer = keypair.public().to_peer_id();
    let identify = identify::Config::new(PROTOCOL_VERSION.to_owned(), keypair.public())
        .with_agent_version(AGENT_VERSION.to_owned())
        .with_hide_listen_addrs(true);
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_established_incoming(Some(config.connections))
        .with_max_established_per_peer(Some(MAX_PER_PEER));
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        relay: relay::Behaviour::new(peer, circuits(config, ledger)),
        identify: identify::Behaviour::new(identify),
        probe: probe::Behaviour::new(PACE),
    };
    let swarm = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
    Ok(Swarm::new(transport::build_with(config.transports, &keypair, tls)?, behaviour, peer, swarm))
}

fn circuits(config: &Config, ledger: Arc<Mutex<Ledger>>) -> relay::Config {
    let places = move |peer: PeerId, _: &Multiaddr, _: Instant| {
        ledger.lock().unwrap_or_else(PoisonError::into_inner).admit(peer)
    };
    relay::Config {
        // The ledger counts, as libp2p refuses renewals when full.
        max_reservations: usize::MAX,
        // libp2p compares these two with ">", so n allows n + 1.
        max_reservations_per_peer: RESERVATIONS_PER_PEER - 1,
        max_circuits_per_peer: config.circuits_per_peer.saturating_sub(1),
        reservation_duration: config.reservation_duration(),
        reservation_rate_limiters: vec![
            per_peer(rates::RESERVATIONS_PER_PEER),
            per_subscriber(rates::RESERVATIONS_PER_SUBSCRIBER),
            // Last: it takes a place, and the others may still say no.
            Box::new(places),
        ],
        max_circuits: config.circuits,
        max_circuit_duration: config.circuit_duration(),
        max_circuit_bytes: config.circuit_bytes,
        circuit_src_rate_limiters: vec![
            per_peer(rates::CIRCUITS_PER_PEER),
            per_subscriber(rates::CIRCUITS_PER_SUBSCRIBER),
        ],
    }
}

fn per_peer(rate: Rate) -> Box<dyn RateLimiter> {
    let mut buckets = Buckets::new(rate);
    Box::new(move |peer: PeerId, _: &Multiaddr, now: Instant| buckets.take(peer, now))
}

/// Addresses without an IP are in memory: no limit.
fn per_subscriber(rate: Rate) -> Box<dyn RateLimiter> {
    let mut buckets = Buckets::new(rate);
    Box::new(move |_: PeerId, from: &Multiaddr, now: Instant| {
        addresses::ip(from).is_none_or(|ip| buckets.take(addresses::subscriber(ip), now))
    })
}
