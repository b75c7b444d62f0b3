//! The composition of behaviours, and the one place that builds the `Swarm` type.
//!
//! # Why one non-generic function
//! The swarm's type is monomorphised wherever it is built, over a minute of code generation in release. All transports
//! are boxed to one type, so there is one swarm and it stays in this crate.

use std::time::Duration;

use libp2p::core::Transport as _;
use libp2p::core::transport::timeout::TransportTimeout;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::{self, NetworkBehaviour};
use libp2p::{Swarm, connection_limits, dcutr, identify, noise, relay, yamux};
use tokio::sync::mpsc;

use crate::admission::Door;
use crate::endpoint::{Config, Error};
use crate::paths::Policy;
use crate::transport::{AGENT_VERSION, HANDSHAKE, PROTOCOL_VERSION};
use crate::{admission, closing, probe, streams, transport};

/// Connections without a stream are kept this long: long enough for a resume or a hole punch to find them.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Inbound connections whose handshake isn't finished; beyond it new ones are refused.
const MAX_PENDING: u32 = 64;

/// Inbound connections in all, and connections of one peer (relayed, TCP, QUIC, and a duplicate of each).
const MAX_INBOUND: u32 = 256;
const MAX_PER_PEER: u32 = 8;

/// Everything the node does on a connection. The limits and the door come first: what they refuse, the others never see.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) door: Door,
    pub(crate) probe: probe::Behaviour,
    streams: streams::Behaviour,
}

/// A swarm with the two ends of its streams.
pub(crate) struct Parts {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) control: streams::Control,
    pub(crate) arrivals: mpsc::Receiver<streams::Arrival>,
}

/// Builds it; nothing listens or dials yet.
pub(crate) fn build(config: &Config) -> Result<Parts, Error> {
    let keypair = transport::keypair(&config.identity);
    let peer = keypair.public().to_peer_id();
    let (relay_transport, relay) = relay::client::new(peer);
    let circuits = relay_transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(&keypair)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, closing::soon(muxer)));
    // The relay transport comes first: it alone takes addresses with p2p-circuit in them.
    let transport = TransportTimeout::new(circuits, HANDSHAKE)
        .or_transport(transport::build(config.transports, &keypair)?)
        .map(|either, _| either.into_inner())
        .boxed();

    let (streams, control, arrivals) = streams::Behaviour::new(config.waiting_streams);
    let may_punch = config.policy != Policy::RelayOnly;
    let dcutr = may_punch.then(|| dcutr::Behaviour::new(peer)).into();
    let details = admission::Details { identify: identify(&keypair), relay, dcutr };
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits()),
        door: Door::new(config.limits.clone(), config.admission.clone(), details),
        probe: probe::Behaviour::new(config.paces.idle),
        streams,
    };
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        // Saves a round trip a stream; every protocol of ours lets the opener speak first, or flushes before it reads.
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
    Ok(Parts { swarm: Swarm::new(transport, behaviour, peer, config), control, arrivals })
}

fn identify(keypair: &Keypair) -> identify::Behaviour {
    let config = identify::Config::new(PROTOCOL_VERSION.to_owned(), keypair.public())
        .with_agent_version(AGENT_VERSION.to_owned())
        .with_hide_listen_addrs(true);
    identify::Behaviour::new(config)
}

fn limits() -> connection_limits::ConnectionLimits {
    connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_established_incoming(Some(MAX_INBOUND))
        .with_max_established_per_peer(Some(MAX_PER_PEER))
}
