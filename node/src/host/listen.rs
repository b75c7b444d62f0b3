//! Where a host listens when it isn't told: on a port that follows from its key, so that a phone that remembers the
//! address finds it again after a restart, without a relay too, and a person can forward it.

use farhelm_core::identity::NodeId;
use farhelm_overlay::{Multiaddr, transport};

/// Below Linux's range for outgoing connections (32768 and up), so that those seldom hold it.
const FIRST: u16 = 20_000;
const PORTS: u16 = 10_000;

/// TCP and QUIC on every interface, all on this host's port; a port of the system's choice for what is taken.
pub fn addresses(host: NodeId) -> Vec<Multiaddr> {
    let port = port(host);
    let on = |port: u16| [format!("udp/{port}/quic-v1"), format!("tcp/{port}")];
    let parse = |text: String| text.parse::<Multiaddr>().expect("an address of constant parts and a number");
    let mut addresses = Vec::new();
    for ip in ["/ip4/0.0.0.0", "/ip6/::"] {
        for (wanted, any) in on(port).into_iter().zip(on(0)) {
            let wanted = parse(format!("{ip}/{wanted}"));
            let taken = transport::is_taken(&wanted);
            addresses.push(if taken { parse(format!("{ip}/{any}")) } else { wanted });
        }
    }
    addresses
}

fn port(host: NodeId) -> u16 {
    let key = host.as_bytes();
    FIRST + u16::from_be_bytes([key[0], key[1]]) % PORTS
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use farhelm_core::identity::Identity;

    use super::*;

    #[test]
    fn a_host_keeps_its_port() {
        let host = |n| Identity::from_seed(&[n; 32]).node_id();
        assert_eq!(port(host(1)), port(host(1)));
        assert_ne!(port(host(1)), port(host(2)));
        assert!((1..=255).all(|n| (FIRST..FIRST + PORTS).contains(&port(host(n)))));
    }

    #[test]
    fn a_taken_port_is_left_to_who_holds_it() {
        let host = Identity::from_seed(&[3; 32]).node_id();
        let Ok(_held) = TcpListener::bind(("0.0.0.0", port(host))) else { panic!("port {} is free", port(host)) };
        let addresses: Vec<_> = addresses(host).iter().map(ToString::to_string).collect();
        assert!(addresses.contains(&"/ip4/0.0.0.0/tcp/0".to_owned()), "{addresses:?}");
        assert!(addresses.contains(&format!("/ip4/0.0.0.0/udp/{}/quic-v1", port(host))), "{addresses:?}");
    }
}
