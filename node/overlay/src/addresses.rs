//! Questions one asks of a multiaddr: relayed or not, through whom, over what. No parsing of strings, no network.

use std::net::{IpAddr, Ipv6Addr};

use libp2p::PeerId;
use libp2p::multiaddr::{Multiaddr, Protocol};

/// Whether the address goes through a relay.
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

/// The peer id the address ends with: the node one arrives at.
pub fn destination(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// Splits `/…/p2p/<relay>/p2p-circuit[/…]` into the relay and the relay's own address (which ends with its peer id).
pub fn relay(address: &Multiaddr) -> Option<(PeerId, Multiaddr)> {
    if !is_relayed(address) {
        return None;
    }
    let leg: Multiaddr = address.iter().take_while(|part| *part != Protocol::P2pCircuit).collect();
    Some((destination(&leg)?, leg))
}

/// The address of `peer` behind the relay at `leg`.
pub fn circuit(leg: &Multiaddr, peer: PeerId) -> Multiaddr {
    leg.clone().with(Protocol::P2pCircuit).with(Protocol::P2p(peer))
}

/// The first IP address in it; none for DNS names and memory addresses.
pub fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    })
}

/// Whether it means something on the internet: neither loopback, private (RFC 1918, RFC 4193), carrier NAT (RFC 6598)
/// nor link-local. The ranges for documentation count as global: network tests build their internet of them.
pub fn is_global(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let carrier_nat = a == 100 && (64..128).contains(&b);
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || carrier_nat) && is_routable(ip.into())
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()) && is_routable(ip.into())
        }
    }
}

/// Whether one node can be there at all: neither unspecified, broadcast nor multicast.
pub fn is_routable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() || ip.octets()[0] == 0),
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast()),
    }
}

/// Whether it is one of WebSocket, in any of its forms.
pub fn is_websocket(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)))
}

/// Whether it is one of WebSocket over TLS.
pub fn is_over_tls(address: &Multiaddr) -> bool {
    is_websocket(address) && address.iter().any(|part| matches!(part, Protocol::Tls | Protocol::Wss(_)))
}

/// What one person or household is likely to share: the IPv4 address, or the IPv6 /64.
pub fn subscriber(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

/// An address a peer could dial us at directly: an IP and a port, nothing relayed.
///
/// identify also reports `/p2p/<self>` for relayed connections, and any peer may lie in what it observed. The port that
/// a WebSocket was dialled from is nobody's listener.
pub(crate) fn is_plausible_candidate(address: &Multiaddr) -> bool {
    let port = address.iter().any(|part| matches!(part, Protocol::Tcp(port) | Protocol::Udp(port) if port != 0));
    !is_relayed(address) && !is_websocket(address) && port && ip(address).is_some_and(is_routable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_circuit_address_splits_into_relay_and_leg() {
        let leg = address(&format!("/ip4/198.51.100.1/tcp/4001/p2p/{RELAY}"));
        let peer = PeerId::random();
        assert_eq!(relay(&circuit(&leg, peer)), Some((RELAY.parse().unwrap(), leg.clone())));
        assert_eq!(destination(&circuit(&leg, peer)), Some(peer));
        assert_eq!(relay(&leg), None);
        assert_eq!(relay(&address("/ip4/198.51.100.1/tcp/4001/p2p-circuit")), None);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_subscriber() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(subscriber(ip("2001:db8:1:2:3::4")), subscriber(ip("2001:db8:1:2:ffff::1")));
        assert_ne!(subscriber(ip("2001:db8:1:2::4")), subscriber(ip("2001:db8:1:3::4")));
        assert_eq!(subscriber(ip("::ffff:192.0.2.7")), ip("192.0.2.7"));
    }

    #[test]
    fn only_an_ip_with_a_port_is_a_candidate() {
        for good in ["/ip4/192.0.2.7/tcp/9", "/ip6/2001:db8::1/udp/9/quic-v1", "/ip4/127.0.0.1/udp/9/quic-v1"] {
            assert!(is_plausible_candidate(&address(good)), "{good}");
        }
        let junk = format!("/p2p/{RELAY}");
        let relayed = format!("/ip4/192.0.2.7/tcp/9/p2p/{RELAY}/p2p-circuit");
        for bad in [
            &junk,
            &relayed,
            "/ip4/0.0.0.0/tcp/9",
            "/ip4/224.0.0.1/udp/9/quic-v1",
            "/ip4/192.0.2.7/tcp/0",
            "/ip4/192.0.2.7/tcp/9/ws",
        ] {
            assert!(!is_plausible_candidate(&address(bad)), "{bad}");
        }
    }

    #[test]
    fn private_addresses_are_not_global() {
        for local in ["10.1.2.3", "192.168.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "fe80::1", "fd00::1", "::1"]
        {
            assert!(!is_global(local.parse().unwrap()), "{local}");
        }
        for global in ["8.8.8.8", "100.128.0.1", "2001:4860::1"] {
            assert!(is_global(global.parse().unwrap()), "{global}");
        }
    }
}
