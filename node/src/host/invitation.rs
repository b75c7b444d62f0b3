//! From where the host can be reached to a ticket that says so.

use std::collections::BTreeMap;
use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::pairing::ticket::Relay;
use farhelm_core::pairing::{Ticket, TicketSecret};
use farhelm_core::wire::limits;
use farhelm_overlay::addresses::is_websocket;
use farhelm_overlay::{Endpoint, Multiaddr, Protocol, Status};

/// How long a ticket waits for a first reservation before it goes without.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a host can be reached, as far as it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Relays that hold a reservation.
    pub relays: Vec<Relay>,
    /// Its own listen addresses.
    pub direct: Vec<Multiaddr>,
}

impl Addresses {
    /// From the node's status.
    pub fn of(status: &Status) -> Self {
        let mut relays: BTreeMap<NodeId, Vec<Multiaddr>> = BTreeMap::new();
        for reservation in &status.reservations {
            let endpoints = reservation.addresses.iter().filter_map(to_relay);
            relays.entry(reservation.relay).or_default().extend(endpoints);
        }
        // The way out of closed networks comes last: a hole can't be punched from it.
        relays.values_mut().for_each(|endpoints| endpoints.sort_by_key(is_websocket));
        relays.retain(|_, endpoints| !endpoints.is_empty());
        let relays = relays.into_iter().map(|(key, endpoints)| Relay { key, endpoints }).collect();
        Self { relays, direct: status.direct_addresses() }
    }

    /// Whether nobody could reach it.
    pub fn is_empty(&self) -> bool {
        self.relays.is_empty() && self.direct.is_empty()
    }

    /// As the texts that a phone remembers: relays with their peer id, then direct addresses.
    pub fn to_text(&self) -> (Vec<String>, Vec<String>) {
        let with_key = |relay: &Relay| {
            let key = Protocol::P2p(relay.key.to_peer_id());
            relay.endpoints.iter().map(move |e| e.clone().with(key.clone()).to_string()).collect::<Vec<_>>()
        };
        (self.relays.iter().flat_map(with_key).collect(), self.direct.iter().map(ToString::to_string).collect())
    }

    /// The ticket with all of them.
    pub fn ticket(self, host: NodeId, secret: TicketSecret, expires_ms: u64, name: &str) -> Ticket {
        let Self { relays, direct } = self;
        Ticket { host, secret, expires_at: expires_ms / 1000, relays, direct, name: name.to_owned() }
    }
}

/// The part of a circuit address before `/p2p/RELAY/p2p-circuit`.
fn to_relay(circuit: &Multiaddr) -> Option<Multiaddr> {
    let leg: Multiaddr = circuit.iter().take_while(|part| !matches!(part, Protocol::P2p(_))).collect();
    (!leg.is_empty()).then_some(leg)
}

/// Waits until a relay holds a reservation; at once if the node was given none.
pub(super) async fn wait_for_address(endpoint: &Endpoint) {
    let mut events = endpoint.events();
    let ready = async {
        loop {
            let status = endpoint.status();
            if status.reservations.is_empty() || status.reservations.iter().any(|r| !r.addresses.is_empty()) {
                return;
            }
            if let Err(tokio::sync::broadcast::error::RecvError::Closed) = events.recv().await {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(PATIENCE, ready).await;
}

/// A ticket to be shown.
#[derive(Debug, Clone)]
pub struct Invitation {
    ticket: Ticket,
}

impl Invitation {
    pub(super) const fn new(ticket: Ticket) -> Self {
        Self { ticket }
    }

    /// Everything the host knows about how to reach it.
    pub const fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// As much of it as a QR in a terminal of 24 lines holds; the rest travels inside the session.
    pub fn for_terminal(&self) -> Ticket {
        self.ticket.fit(limits::TICKET_FOR_TERMINAL)
    }
}

#[cfg(test)]
mod tests {
    use farhelm_core::identity::Identity;
    use farhelm_overlay::endpoint::{Reservation, State};

    use super::*;

    #[test]
    fn a_relays_websocket_comes_after_its_other_endpoints() {
        let relay = Identity::from_seed(&[1; 32]).node_id();
        let endpoints = ["/ip4/8.8.4.4/tcp/80/ws", "/ip4/8.8.4.4/tcp/4001", "/ip4/8.8.4.4/udp/4001/quic-v1"];
        let circuits = endpoints.map(|endpoint| format!("{endpoint}/p2p/{relay}/p2p-circuit").parse().unwrap());
        let reservation = Reservation { relay, state: State::Held, addresses: circuits.to_vec() };
        let found = Addresses::of(&Status { reservations: vec![reservation], ..Status::default() });
        let endpoints: Vec<_> = found.relays[0].endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["/ip4/8.8.4.4/tcp/4001", "/ip4/8.8.4.4/udp/4001/quic-v1", "/ip4/8.8.4.4/tcp/80/ws"]);
    }
}
