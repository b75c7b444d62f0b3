//! Which of the addresses that a peer tells of itself are worth dialling from here. Values in and out, but for one
//! look at this machine's interfaces.
//!
//! # Why
//! Whoever is paired, or a relay that lies about what it observed, could otherwise have this machine knock at any port of
//! its own, or of the network it happens to be in. So what isn't reachable from everywhere is dialled only where it can
//! be meant: a private address inside one of our own subnets, loopback only by who was reached over loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::{Multiaddr, Protocol};

use crate::addresses;

/// Addresses that are dialled of one peer at a time.
pub const PER_PEER: usize = 16;

/// The networks this machine is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    subnets: Vec<Subnet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subnet {
    ip: IpAddr,
    prefix: u8,
}

impl Subnet {
    fn contains(self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                own.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                own.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl Surroundings {
    /// As the interfaces are now; none, if they can't be listed.
    pub fn now() -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            tracing::warn!(%error, "can't list the network interfaces");
            Vec::new()
        });
        Self::of(interfaces.iter().map(|interface| match &interface.addr {
            if_addrs::IfAddr::V4(v4) => (v4.ip.into(), v4.prefixlen),
            if_addrs::IfAddr::V6(v6) => (v6.ip.into(), v6.prefixlen),
        }))
    }

    /// Of interfaces with these addresses and lengths of their network's prefix.
    pub fn of(interfaces: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        Self { subnets: interfaces.into_iter().map(|(ip, prefix)| Subnet { ip, prefix }).collect() }
    }

    /// This machine's own addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.subnets.iter().map(|subnet| subnet.ip)
    }

    /// Whether some address of this machine, beside those that lead nowhere else, is one that it had in `former`. So it is
    /// if there was none.
    pub fn shares_an_address_with(&self, former: &Self) -> bool {
        let leads_out = |subnet: &&Subnet| match subnet.ip {
            IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_link_local()),
            IpAddr::V6(ip) => !(ip.is_loopback() || ip.is_unicast_link_local()),
        };
        let mut had = former.subnets.iter().filter(leads_out).peekable();
        had.peek().is_none() || had.any(|subnet| self.subnets.iter().any(|now| now.ip == subnet.ip))
    }

    /// Of a node's own addresses those that may be dialled from here at all: without IPv6 (RFC 4291) it only costs time to
    /// try, as QUIC learns of it by silence.
    pub fn within_reach(&self, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let local = |ip: Ipv6Addr| ip.is_loopback() || ip.is_unicast_link_local();
        let has_six = self.subnets.iter().any(|subnet| matches!(subnet.ip, IpAddr::V6(ip) if !local(ip)));
        let is_out = |address: &Multiaddr| matches!(address.iter().next(), Some(Protocol::Ip6(ip)) if !local(ip));
        if has_six || addresses.iter().all(is_out) {
            return addresses;
        }
        addresses.into_iter().filter(|address| !is_out(address)).collect()
    }

    /// Whether to dial an address that a peer told of itself. `over_loopback`: this peer was reached over loopback.
    pub fn permit(&self, address: &Multiaddr, over_loopback: bool) -> bool {
        if address.iter().any(|part| matches!(part, Protocol::Memory(_))) {
            return true;
        }
        let Some(ip) = literal(address) else { return false };
        let port = address.iter().any(|part| matches!(part, Protocol::Tcp(port) | Protocol::Udp(port) if port != 0));
        port && !addresses::is_relayed(address) && self.permit_ip(ip, over_loopback)
    }

    fn permit_ip(&self, ip: IpAddr, over_loopback: bool) -> bool {
        let link_local = match ip {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if !addresses::is_routable(ip) || link_local || is_reserved(ip) {
            return false;
        }
        if ip.is_loopback() {
            return over_loopback;
        }
        addresses::is_global(ip) || self.subnets.iter().any(|subnet| subnet.contains(ip))
    }

    /// Those of a peer's addresses that are worth dialling, at most [`PER_PEER`].
    pub fn select(&self, told: impl IntoIterator<Item = Multiaddr>, over_loopback: bool) -> Vec<Multiaddr> {
        let permitted = told.into_iter().filter(|address| {
            let permitted = self.permit(address, over_loopback);
            if !permitted {
                tracing::debug!(%address, "not dialled: it isn't to be meant from here");
            }
            permitted
        });
        permitted.take(PER_PEER).collect()
    }
}

/// The IP address it begins with. Names are not resolved for a peer: they may lead anywhere.
fn literal(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        // An IPv4 address in disguise is judged as what it is.
        Protocol::Ip6(ip) => Some(embedded(ip).map_or(ip.into(), IpAddr::from)),
        _ => None,
    }
}

/// The IPv4 address in a mapped (RFC 4291), 6to4 (RFC 3056) or NAT64 (RFC 6052) one.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let at = |n: usize| Ipv4Addr::from_bits(u32::from(s[n]) << 16 | u32::from(s[n + 1]));
    match s {
        [0x2002, ..] => Some(at(1)),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(at(6)),
        _ => ip.to_ipv4_mapped(),
    }
}

/// What no machine on the internet has: 240.0.0.0/4 (RFC 1112), 192.0.0.0/24 (RFC 6890), and IPv6 outside of the space for
/// unicast (2000::/3, RFC 4291) that isn't private.
fn is_reserved(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            a >= 240 || (a, b, c) == (192, 0, 0)
        }
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unique_local() || v6.segments()[0] & 0xe000 == 0x2000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn at_home() -> Surroundings {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [("127.0.0.1", 8), ("192.168.1.5", 24), ("100.64.3.2", 24), ("::1", 128), ("fd00:1::5", 64)];
        Surroundings::of(own.map(|(text, prefix)| (ip(text), prefix)))
    }

    fn permits(text: &str) -> bool {
        at_home().permit(&text.parse().unwrap(), false)
    }

    #[test]
    fn what_everybody_can_reach_is_dialled() {
        for good in [
            "/ip4/8.8.4.4/tcp/9",
            "/ip4/8.8.4.4/udp/9/quic-v1",
            "/ip6/2a00::5/udp/9/quic-v1",
            "/ip4/8.8.4.4/tcp/443/tls/ws",
        ] {
            assert!(permits(good), "{good}");
        }
    }

    #[test]
    fn private_addresses_count_inside_our_own_subnets_only() {
        for near in ["/ip4/192.168.1.9/tcp/9", "/ip4/100.64.3.9/tcp/9", "/ip6/fd00:1::9/tcp/9"] {
            assert!(permits(near), "{near}");
        }
        for far in ["/ip4/192.168.2.9/tcp/9", "/ip4/10.0.0.1/tcp/22", "/ip4/100.65.0.1/tcp/9", "/ip6/fd00:2::9/tcp/9"] {
            assert!(!permits(far), "{far}");
        }
    }

    #[test]
    fn nothing_is_dialled_that_a_peer_can_not_mean() {
        let relayed = format!("/ip4/8.8.4.4/tcp/9/p2p/{RELAY}/p2p-circuit");
        for bad in [
            "/ip4/127.0.0.1/tcp/22",
            "/ip6/::1/tcp/22",
            "/ip4/0.0.0.0/tcp/9",
            "/ip4/169.254.169.254/tcp/80",
            "/ip6/fe80::1/tcp/9",
            "/ip4/224.0.0.1/udp/9/quic-v1",
            "/ip4/255.255.255.255/udp/9/quic-v1",
            "/ip4/240.0.0.1/tcp/9",
            "/ip6/ff02::1/udp/9/quic-v1",
            "/ip6/::/tcp/9",
            "/ip6/::ffff:127.0.0.1/tcp/22",
            "/ip6/::ffff:10.0.0.1/tcp/22",
            "/ip6/64:ff9b::10.0.0.1/tcp/22",
            "/ip6/2002:a00:1::1/tcp/22",
            "/ip6/100::1/tcp/9",
            "/ip4/8.8.4.4/tcp/0",
            "/ip4/8.8.4.4",
            "/dns4/localhost/tcp/22",
            "/dns/example.org/tcp/443",
            &relayed,
        ] {
            assert!(!permits(bad), "{bad}");
        }
    }

    #[test]
    fn loopback_is_for_whoever_came_over_it() {
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
        assert!(at_home().permit(&address, true));
        assert!(!at_home().permit(&"/ip4/10.0.0.1/tcp/9".parse().unwrap(), true));
    }

    #[test]
    fn without_ipv6_its_addresses_are_left_out_unless_there_are_no_others() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Multiaddr>>();
        let both = list(&["/ip4/8.8.4.4/tcp/9", "/ip6/2a00::5/tcp/9", "/ip6/::1/tcp/9", "/dns6/relay.example/tcp/9"]);
        let four = Surroundings::of([("192.168.1.5".parse().unwrap(), 24), ("fe80::5".parse().unwrap(), 64)]);
        assert_eq!(four.within_reach(both.clone()).len(), 3);
        assert_eq!(at_home().within_reach(both.clone()), both);
        assert_eq!(four.within_reach(list(&["/ip6/2a00::5/tcp/9"])).len(), 1);
    }

    #[test]
    fn a_machine_is_elsewhere_when_none_of_its_addresses_is_left() {
        let of = |ips: &[&str]| Surroundings::of(ips.iter().map(|ip| (ip.parse().unwrap(), 24)));
        let home = of(&["127.0.0.1", "192.168.1.5", "10.0.0.5"]);
        assert!(of(&["127.0.0.1", "10.0.0.5"]).shares_an_address_with(&home), "one of two cables was pulled");
        assert!(!of(&["127.0.0.1", "192.168.7.5"]).shares_an_address_with(&home));
        assert!(!of(&["127.0.0.1", "169.254.1.1"]).shares_an_address_with(&home), "no network at all");
        assert!(of(&["192.168.1.5"]).shares_an_address_with(&of(&["127.0.0.1"])), "there was none to lose");
    }

    #[test]
    fn a_peer_with_very_many_addresses_has_some_of_them_dialled() {
        let told = (1..100).map(|port| format!("/ip4/8.8.4.4/tcp/{port}").parse().unwrap());
        assert_eq!(at_home().select(told, false).len(), PER_PEER);
    }

    #[test]
    fn a_prefix_of_any_length_is_a_subnet() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let subnet = |text, prefix| Subnet { ip: ip(text), prefix };
        assert!(subnet("10.0.0.1", 0).contains(ip("192.168.0.1")));
        assert!(subnet("10.0.0.1", 32).contains(ip("10.0.0.1")) && !subnet("10.0.0.1", 32).contains(ip("10.0.0.2")));
        assert!(subnet("fd00::1", 128).contains(ip("fd00::1")) && !subnet("fd00::1", 128).contains(ip("fd00::2")));
        assert!(!subnet("10.0.0.1", 0).contains(ip("fd00::1")));
    }
}
