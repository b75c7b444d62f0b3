//! Which addresses clients are told. Plain values in and out.
//!
//! libp2p offers the relay service only once it knows an external address, and every reservation carries these.

use std::net::IpAddr;

use farhelm_overlay::addresses::{self, is_over_tls, is_websocket};
use farhelm_overlay::{Multiaddr, Protocol};

/// Where the machine can be found.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The addresses of its interfaces.
    pub(crate) interfaces: Vec<IpAddr>,
    /// The hosts that its certificate is for, each as the beginning of an address.
    pub(crate) hosts: Vec<Multiaddr>,
}

/// The addresses to announce: those asked for, else every socket's on the machine's global addresses, and those over TLS
/// on the certificate's names, as clients refuse any other.
///
/// `sockets` are the addresses really listened on (with their port), wildcard ones included.
pub(crate) fn choose(asked: &[Multiaddr], sockets: &[Multiaddr], places: &Places) -> Vec<Multiaddr> {
    let mut chosen: Vec<Multiaddr> = if asked.is_empty() {
        let (tls, plain): (Vec<_>, Vec<_>) = sockets.iter().partition(|socket| is_over_tls(socket));
        let plain = plain.into_iter().flat_map(|socket| expand(socket, &places.interfaces)).filter(is_global);
        let named = tls.into_iter().flat_map(|socket| named(socket, &places.hosts)).filter(is_not_local);
        plain.chain(named).collect()
    } else {
        asked.iter().map(|address| with_port(without_peer(address), sockets)).collect()
    };
    let mut seen = std::collections::HashSet::new();
    chosen.retain(|address| seen.insert(address.clone()));
    chosen
}

/// The socket on each of the names.
fn named(socket: &Multiaddr, hosts: &[Multiaddr]) -> Vec<Multiaddr> {
    let port: Multiaddr = socket.iter().skip(1).collect();
    hosts.iter().map(|host| host.iter().chain(port.iter()).collect()).collect()
}

fn is_global(address: &Multiaddr) -> bool {
    addresses::ip(address).is_some_and(addresses::is_global)
}

fn is_not_local(address: &Multiaddr) -> bool {
    addresses::ip(address).is_none_or(addresses::is_global)
}

/// A wildcard socket as one address for each interface of its family.
fn expand(socket: &Multiaddr, interfaces: &[IpAddr]) -> Vec<Multiaddr> {
    match addresses::ip(socket) {
        Some(any) if any.is_unspecified() => interfaces
            .iter()
            .filter(|ip| ip.is_ipv4() == any.is_ipv4())
            .filter_map(|ip| socket.replace(0, |_| Some((*ip).into())))
            .collect(),
        _ => vec![socket.clone()],
    }
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// Fills in port 0 with the port listened on over the same transport.
fn with_port(address: Multiaddr, sockets: &[Multiaddr]) -> Multiaddr {
    let form = |address: &Multiaddr| (is_websocket(address), is_over_tls(address));
    let alike = || sockets.iter().filter(|socket| form(socket) == form(&address)).flat_map(|socket| socket.iter());
    let tcp = alike().find(|part| matches!(part, Protocol::Tcp(_)));
    let udp = alike().find(|part| matches!(part, Protocol::Udp(_)));
    address
        .iter()
        .map(|part| match part {
            Protocol::Tcp(0) => tcp.clone().unwrap_or(part),
            Protocol::Udp(0) => udp.clone().unwrap_or(part),
            part => part,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn wildcards_become_the_global_interfaces() {
        let interfaces =
            ["127.0.0.1", "10.0.0.5", "8.8.4.4", "::1", "fe80::1", "2a00::5"].map(|ip| ip.parse().unwrap()).into();
        let sockets = list(&["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1", "/ip6/::/tcp/4001"]);
        let wanted = list(&["/ip4/8.8.4.4/tcp/4001", "/ip4/8.8.4.4/udp/4001/quic-v1", "/ip6/2a00::5/tcp/4001"]);
        assert_eq!(choose(&[], &sockets, &Places { interfaces, hosts: list(&["/dns/r.example"]) }), wanted);
    }

    #[test]
    fn without_a_global_interface_there_is_nothing_to_announce() {
        let places = Places { interfaces: vec!["10.0.0.5".parse().unwrap()], ..Places::default() };
        assert_eq!(choose(&[], &list(&["/ip4/0.0.0.0/tcp/4001", "/ip4/10.0.0.5/tcp/4001"]), &places), []);
    }

    #[test]
    fn over_tls_it_goes_by_the_certificates_names() {
        let hosts = list(&["/dns/relay.example", "/ip4/8.8.4.4", "/ip4/127.0.0.1"]);
        let places = Places { interfaces: vec!["8.8.4.4".parse().unwrap()], hosts };
        let sockets = list(&["/ip4/0.0.0.0/tcp/443/tls/ws", "/ip6/::/tcp/443/tls/ws", "/ip4/0.0.0.0/tcp/80/ws"]);
        let wanted =
            list(&["/ip4/8.8.4.4/tcp/80/ws", "/dns/relay.example/tcp/443/tls/ws", "/ip4/8.8.4.4/tcp/443/tls/ws"]);
        assert_eq!(choose(&[], &sockets, &places), wanted);
    }

    #[test]
    fn a_port_is_that_of_the_same_transport() {
        let sockets = list(&["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2/ws", "/ip4/127.0.0.1/tcp/3/tls/ws"]);
        let asked = list(&["/dns/r.example/tcp/0/tls/ws", "/dns/r.example/tcp/0/ws", "/dns/r.example/tcp/0"]);
        let wanted = list(&["/dns/r.example/tcp/3/tls/ws", "/dns/r.example/tcp/2/ws", "/dns/r.example/tcp/1"]);
        assert_eq!(choose(&asked, &sockets, &Places::default()), wanted);
    }

    #[test]
    fn what_is_asked_for_is_taken_even_if_private() {
        let sockets = list(&["/ip4/127.0.0.1/tcp/5000", "/ip4/127.0.0.1/udp/6000/quic-v1"]);
        let asked = list(&["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/dns4/relay.example/tcp/443"]);
        let wanted =
            list(&["/ip4/127.0.0.1/tcp/5000", "/ip4/127.0.0.1/udp/6000/quic-v1", "/dns4/relay.example/tcp/443"]);
        assert_eq!(choose(&asked, &sockets, &Places::default()), wanted);
    }

    #[test]
    fn an_announced_address_may_carry_the_peer_id_as_printed() {
        let id = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let asked = list(&[&format!("/ip4/8.8.4.4/tcp/4001/p2p/{id}"), "/ip4/8.8.4.4/tcp/4001"]);
        assert_eq!(choose(&asked, &[], &Places::default()), list(&["/ip4/8.8.4.4/tcp/4001"]));
    }
}
