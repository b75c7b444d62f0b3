//! Every connection to a peer, and which of them is best. A table, no I/O.
//!
//! # Why direct before relayed, QUIC before TCP before WebSocket, newest first
//! A relay costs a second leg and has a byte and time limit. Of two direct paths QUIC loses less to a lost packet and
//! doesn't block one stream behind another; WebSocket is TCP with a frame around everything. Of equals the newest is the one least likely to be dead: after a network
//! change the old connection looks alive until its ping fails.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use farhelm_core::identity::NodeId;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::swarm::ConnectionId;

use crate::addresses;

/// Whether a connection goes straight to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Nobody in between.
    Direct,
    /// Through a relay; none if it didn't say its peer id.
    Relay(Option<NodeId>),
}

/// What carries a connection; for a relayed one, our leg to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// QUIC over UDP.
    Quic,
    /// Noise and Yamux over TCP.
    Tcp,
    /// The same inside WebSocket, plain or over TLS.
    WebSocket,
    /// Noise and Yamux inside this process.
    Memory,
}

impl Transport {
    /// What `address` is of; for a relayed one, the leg to the relay.
    fn of(address: &Multiaddr) -> Self {
        let told = address.iter().find_map(|part| match part {
            Protocol::Udp(_) => Some(Self::Quic),
            Protocol::Ws(_) | Protocol::Wss(_) => Some(Self::WebSocket),
            Protocol::Memory(_) => Some(Self::Memory),
            _ => None,
        });
        told.unwrap_or(Self::Tcp)
    }

    /// The better, the greater.
    fn rank(self) -> u8 {
        match self {
            Self::WebSocket => 0,
            Self::Tcp | Self::Memory => 1,
            Self::Quic => 2,
        }
    }
}

/// One live connection to a peer.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// The connection; unique in this process, never used again.
    pub connection: ConnectionId,
    /// Who is at the other end.
    pub peer: NodeId,
    /// Direct or relayed.
    pub via: Via,
    /// TCP, QUIC, WebSocket or memory.
    pub transport: Transport,
    /// Whether we dialled.
    pub outbound: bool,
    /// Where the peer is: the dialled address, or the one it came from (for an inbound relayed one: the relay's).
    pub remote: Multiaddr,
    /// When it came up.
    pub established: Instant,
    /// The last measured round trip.
    pub rtt: Option<Duration>,
    /// What its relay lets it carry, if it goes through one that says so.
    pub limit: Limit,
}

/// Which paths may carry sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// Only direct ones: relays may introduce nodes to one another and help them through NATs, and no byte of a session
    /// crosses one.
    DirectOnly,
    /// Any; direct ones come first.
    #[default]
    PreferDirect,
    /// Only relayed ones: the other side doesn't learn where this one is.
    RelayOnly,
}

impl Policy {
    /// Every one, with its name.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::DirectOnly, "direct-only"), (Self::PreferDirect, "prefer-direct"), (Self::RelayOnly, "relay-only")];

    /// Whether a session may run on this path.
    pub fn permits(self, path: &Path) -> bool {
        match self {
            Self::DirectOnly => path.is_direct(),
            Self::PreferDirect => true,
            Self::RelayOnly => !path.is_direct(),
        }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(policy, _)| *policy == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(policy, _)| *policy).ok_or(UnknownPolicy)
    }
}

/// No such policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is direct-only, prefer-direct or relay-only")]
pub struct UnknownPolicy;

/// What a relay lets a circuit carry before it cuts it without a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// From its beginning.
    pub duration: Option<Duration>,
    /// In both directions together, with their framing.
    pub bytes: Option<u64>,
}

impl Path {
    pub(crate) fn new(connection: ConnectionId, peer: NodeId, endpoint: &ConnectedPoint, now: Instant) -> Self {
        let (outbound, near) = match endpoint {
            ConnectedPoint::Dialer { address, .. } => (true, address),
            // A relayed inbound connection shows the bare peer as remote; the relay stands in the local address.
            ConnectedPoint::Listener { local_addr, .. } if endpoint.is_relayed() => (false, local_addr),
            ConnectedPoint::Listener { send_back_addr, .. } => (false, send_back_addr),
        };
        Self {
            connection,
            peer,
            via: via(near),
            transport: Transport::of(near),
            outbound,
            remote: near.clone(),
            established: now,
            rtt: None,
            limit: Limit::default(),
        }
    }

    /// Whether nobody is in between.
    pub fn is_direct(&self) -> bool {
        self.via == Via::Direct
    }

    /// Orders paths by preference; the greatest is the best.
    fn rank(&self) -> (bool, u8, Instant, ConnectionId) {
        (self.is_direct(), self.transport.rank(), self.established, self.connection)
    }
}

fn via(near: &Multiaddr) -> Via {
    if !addresses::is_relayed(near) {
        return Via::Direct;
    }
    Via::Relay(addresses::relay(near).and_then(|(relay, _)| NodeId::from_peer_id(&relay).ok()))
}

/// The table of all of them.
#[derive(Debug, Default)]
pub(crate) struct Paths(HashMap<ConnectionId, Path>);

impl Paths {
    /// Takes it in; gives it back as it is noted.
    ///
    /// A circuit's address names one way to the relay, perhaps not the one taken: libp2p puts circuits on the oldest
    /// connection to the relay.
    pub(crate) fn insert(&mut self, mut path: Path) -> Path {
        if let Via::Relay(Some(relay)) = path.via {
            let ways = self.0.values().filter(|way| way.peer == relay && way.is_direct());
            let carrier = ways.min_by_key(|way| (way.established, way.connection));
            path.transport = carrier.map_or(path.transport, |way| way.transport);
        }
        self.0.insert(path.connection, path.clone());
        path
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Path> {
        self.0.remove(&id)
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Path> {
        self.0.get(&id)
    }

    /// Every connection there is.
    pub(crate) fn all(&self) -> Vec<Path> {
        self.0.values().cloned().collect()
    }

    /// Notes a round trip; gives the path as it is now.
    pub(crate) fn measured(&mut self, id: ConnectionId, rtt: Duration) -> Option<Path> {
        let path = self.0.get_mut(&id)?;
        path.rtt = Some(rtt);
        Some(path.clone())
    }

    /// Every path to `peer`, best first.
    pub(crate) fn of(&self, peer: NodeId) -> Vec<Path> {
        let mut paths: Vec<_> = self.0.values().filter(|path| path.peer == peer).cloned().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(path.rank()));
        paths
    }

    /// The best path to `peer` among those `fits` accepts.
    pub(crate) fn best(&self, peer: NodeId, fits: impl Fn(&Path) -> bool) -> Option<Path> {
        self.0.values().filter(|path| path.peer == peer && fits(path)).max_by_key(|path| path.rank()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::identity::Identity;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;

    use super::*;

    fn node(seed: u8) -> NodeId {
        Identity::from_seed(&[seed; 32]).node_id()
    }

    fn dialled(id: usize, address: &str, since: Instant) -> Path {
        let endpoint = ConnectedPoint::Dialer {
            address: address.parse().unwrap(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::Reuse,
        };
        Path::new(ConnectionId::new_unchecked(id), node(1), &endpoint, since)
    }

    fn relayed(id: usize, since: Instant) -> Path {
        dialled(id, &format!("/ip4/192.0.2.1/tcp/4001/p2p/{}/p2p-circuit/p2p/{}", node(9), node(1)), since)
    }

    #[test]
    fn direct_beats_relayed_then_quic_beats_tcp_then_the_newest_wins() {
        let t = Instant::now();
        let later = t + Duration::from_secs(1);
        let mut paths = Paths::default();
        let best = |paths: &Paths| paths.best(node(1), |_| true).map(|p| p.connection);
        paths.insert(relayed(1, later));
        assert_eq!(best(&paths), Some(ConnectionId::new_unchecked(1)));
        paths.insert(dialled(2, "/ip4/192.0.2.2/tcp/1", t));
        assert_eq!(best(&paths), Some(ConnectionId::new_unchecked(2)));
        paths.insert(dialled(3, "/ip4/192.0.2.2/tcp/1", later));
        assert_eq!(best(&paths), Some(ConnectionId::new_unchecked(3)));
        paths.insert(dialled(4, "/ip4/192.0.2.2/udp/1/quic-v1", t));
        assert_eq!(best(&paths), Some(ConnectionId::new_unchecked(4)));
        let order: Vec<_> = paths.of(node(1)).iter().map(|p| p.connection.to_string()).collect();
        assert_eq!(order, ["4", "3", "2", "1"]);
    }

    #[test]
    fn websocket_is_told_from_tcp_and_comes_after_it() {
        let t = Instant::now();
        let mut paths = Paths::default();
        for (id, form) in [(2, ""), (3, "/ws"), (4, "/tls/ws"), (5, "/wss")] {
            let path = dialled(id, &format!("/ip4/192.0.2.2/tcp/443{form}"), t + Duration::from_secs(id as u64));
            assert_eq!(path.transport == Transport::WebSocket, id > 2, "{form}");
            paths.insert(path);
        }
        let best = paths.best(node(1), |_| true).map(|path| path.connection);
        assert_eq!(best, Some(ConnectionId::new_unchecked(2)));
    }

    #[test]
    fn a_relayed_path_is_of_the_transport_that_the_relay_is_reached_by() {
        let t = Instant::now();
        let mut paths = Paths::default();
        assert_eq!(paths.insert(relayed(1, t)).transport, Transport::Tcp, "as its address says");
        for (id, address) in [(2, "/dns/relay.example/tcp/443/tls/ws"), (3, "/ip4/192.0.2.1/udp/4001/quic-v1")] {
            let leg = dialled(id, address, t + Duration::from_secs(id as u64));
            paths.insert(Path { peer: node(9), ..leg });
        }
        assert_eq!(paths.insert(relayed(4, t)).transport, Transport::WebSocket);
    }

    #[test]
    fn a_relayed_path_names_its_relay_on_both_ends() {
        let out = relayed(1, Instant::now());
        assert_eq!((out.via, out.outbound), (Via::Relay(Some(node(9))), true));
        let inbound = ConnectedPoint::Listener {
            local_addr: format!("/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{}/p2p-circuit", node(9)).parse().unwrap(),
            send_back_addr: format!("/p2p/{}", node(1)).parse().unwrap(),
        };
        let path = Path::new(ConnectionId::new_unchecked(2), node(1), &inbound, Instant::now());
        assert_eq!((path.via, path.transport, path.outbound), (Via::Relay(Some(node(9))), Transport::Quic, false));
    }
}
