//! Finding one another in one's own network without anybody else: DNS-SD (RFC 6763) over multicast DNS (RFC 6762).
//!
//! An option on both sides, as it tells everybody in the network that this host is here, and under which key. A phone takes
//! nothing of it but addresses to try, of hosts that it is paired with; whoever answers there has to be the host.

use std::net::IpAddr;
use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_overlay::{Endpoint, Multiaddr, Protocol, addresses};
use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

/// What hosts are announced as; the port is TCP's.
const SERVICE: &str = "_farhelm._tcp.local.";
/// The TXT record's keys: the host's peer id, and QUIC's port.
const ID: &str = "id";
const QUIC: &str = "quic";
/// Addresses that are taken of one announcement.
const ADDRESSES: usize = 8;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(500);

/// Why it can't be done.
#[derive(Debug, thiserror::Error)]
#[error("can't use multicast DNS: {0}")]
pub struct Error(#[from] mdns_sd::Error);

/// Announces a host for as long as it isn't stopped, with the ports that it listens on.
pub(crate) async fn keep(endpoint: Endpoint, stop: CancellationToken) {
    let (mut events, mut announced) = (endpoint.events(), None);
    loop {
        let ports = Ports::of(&endpoint.status().listening);
        if announced.as_ref().map(|(known, _)| known) != Some(&ports) && ports != Ports::default() {
            announced = match announce(endpoint.node_id(), ports) {
                Ok(announcement) => Some((ports, announcement)),
                Err(error) => return tracing::warn!(%error, "not announced in this network"),
            };
        }
        tokio::select! {
            () = stop.cancelled() => break,
            event = events.recv() => if let Err(RecvError::Closed) = event { break },
        }
    }
    // It waits for its goodbye to be said.
    let _ = tokio::task::spawn_blocking(move || drop(announced)).await;
}

/// The ports that others may knock at; 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ports {
    tcp: u16,
    quic: u16,
}

impl Ports {
    fn of(listening: &[Multiaddr]) -> Self {
        let mut ports = Self::default();
        for address in listening.iter().filter(|address| addresses::ip(address).is_some_and(|ip| !ip.is_loopback())) {
            match address.iter().nth(1) {
                Some(Protocol::Tcp(port)) if !addresses::is_websocket(address) => ports.tcp = port,
                Some(Protocol::Udp(port)) => ports.quic = port,
                _ => {}
            }
        }
        ports
    }
}

/// A host that is announced until this is dropped.
struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

/// With whatever addresses this machine has, and comes to have.
fn announce(host: NodeId, Ports { tcp, quic }: Ports) -> Result<Announcement, Error> {
    let daemon = ServiceDaemon::new()?;
    let id = host.to_string();
    // The end of the id: all begin alike.
    let name = format!("farhelm-{}", &id[id.len().saturating_sub(12)..]);
    let (at, quic) = (format!("{name}.local."), quic.to_string());
    let text = [(ID, id.as_str()), (QUIC, quic.as_str())];
    let service = ServiceInfo::new(SERVICE, &name, &at, "", tcp, &text[..])?.enable_addr_auto();
    let name = service.get_fullname().to_owned();
    daemon.register(service)?;
    Ok(Announcement { daemon, name })
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Where the daemon ended already, nobody needs to say goodbye.
        let _ = self.daemon.unregister(&self.name).map(|done| done.recv_timeout(GOODBYE));
        let _ = self.daemon.shutdown();
    }
}

/// Looks for hosts until it is dropped, and tells of each that is found, or found elsewhere.
pub async fn browse<F: Future<Output = ()>>(mut tell: impl FnMut(NodeId, Vec<Multiaddr>) -> F) -> Result<(), Error> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(SERVICE)?;
    while let Ok(event) = events.recv_async().await {
        if let ServiceEvent::ServiceResolved(found) = event
            && let Some((host, addresses)) = read(&found)
        {
            tell(host, addresses).await;
        }
    }
    Ok(())
}

fn read(found: &ResolvedService) -> Option<(NodeId, Vec<Multiaddr>)> {
    let text = |key: &str| found.txt_properties.get_property_val_str(key);
    let host = text(ID)?.parse().ok()?;
    let quic = text(QUIC).and_then(|port| port.parse::<u16>().ok());
    Some((host, dialled(found.addresses.iter().map(mdns_sd::ScopedIp::to_ip_addr), found.port, quic)))
}

/// What is worth a try; a link-local address would need its interface.
fn dialled(ips: impl Iterator<Item = IpAddr>, tcp: u16, quic: Option<u16>) -> Vec<Multiaddr> {
    let fits = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let ips = ips.filter(|ip| fits(ip) && addresses::is_routable(*ip) && !ip.is_loopback()).take(ADDRESSES);
    let at = |ip: IpAddr| {
        let quic = quic.filter(|port| *port > 0);
        let quic = quic.map(|port| Multiaddr::from(ip).with(Protocol::Udp(port)).with(Protocol::QuicV1));
        let tcp = (tcp > 0).then(|| Multiaddr::from(ip).with(Protocol::Tcp(tcp)));
        quic.into_iter().chain(tcp)
    };
    ips.flat_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_read_as_addresses_to_try_and_nothing_else() {
        let ips = ["192.168.1.7", "127.0.0.1", "169.254.3.3", "fe80::1", "fd00::7", "224.0.0.1", "0.0.0.0"];
        let found = |quic| dialled(ips.iter().map(|ip| ip.parse().unwrap()), 4500, quic);
        let texts: Vec<String> = found(Some(4501)).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "/ip4/192.168.1.7/udp/4501/quic-v1",
                "/ip4/192.168.1.7/tcp/4500",
                "/ip6/fd00::7/udp/4501/quic-v1",
                "/ip6/fd00::7/tcp/4500"
            ]
        );
        assert_eq!(found(None).len(), 2);
        let many = (0..200).map(|n| IpAddr::from([10, 0, 0, n + 1]));
        assert_eq!(dialled(many, 1, None).len(), ADDRESSES);
    }
}
