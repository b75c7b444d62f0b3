//! Has the router lead a port of its own to this host (UPnP, NAT-PMP or PCP), so that phones behind whatever NAT get
//! through directly.
//!
//! Nothing is believed but where phones may knock: whoever answers there still has to be this host's key. A router's
//! answer that names no address of the internet is not passed on; then the router is behind a NAT itself.

use std::net::{IpAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::Duration;

use farhelm_overlay::{Endpoint, Event, Multiaddr, Protocol, addresses};
use portmapper::{Client, Config};
use tokio::sync::{broadcast, watch};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often a router that gave nothing is asked again.
const AGAIN: Duration = Duration::from_secs(60);
/// How long the router may take to say what it speaks.
const PROBE: Duration = Duration::from_secs(5);
/// How long it may take to let the ports go at the end.
const RELEASE: Duration = Duration::from_secs(2);

/// Keeps a mapping of each port until it is stopped; then lets them go.
pub(super) async fn keep(endpoint: Endpoint, stop: CancellationToken) {
    let mut events = endpoint.events();
    let (mut tcp, mut udp) = (Mapping::new(Carrier::Tcp), Mapping::new(Carrier::Udp));
    let mut again = interval(AGAIN);
    loop {
        let (on_tcp, on_udp) = (tcp.external(), udp.external());
        endpoint.set_forwarded(forwarded(on_tcp, on_udp));
        tokio::select! {
            () = stop.cancelled() => break,
            _ = again.tick() => tokio::join!(tcp.ask(&endpoint), udp.ask(&endpoint)).0,
            () = tcp.changed() => {}
            () = udp.changed() => {}
            event = events.recv() => match event {
                Ok(Event::NetworkChanged | Event::Listening(_)) => again.reset_after(Duration::from_millis(200)),
                Err(broadcast::error::RecvError::Closed) => break,
                _ => {}
            },
        }
    }
    tokio::join!(tcp.release(), udp.release());
}

/// What runs on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    Tcp,
    Udp,
}

/// The mapping of one port.
struct Mapping {
    carrier: Carrier,
    client: Client,
    external: watch::Receiver<Option<SocketAddrV4>>,
}

impl Mapping {
    fn new(carrier: Carrier) -> Self {
        let protocol = match carrier {
            Carrier::Tcp => portmapper::Protocol::Tcp,
            Carrier::Udp => portmapper::Protocol::Udp,
        };
        let client = Client::new(Config { protocol, ..Config::default() });
        let external = client.watch_external_address();
        Self { carrier, client, external }
    }

    /// Asks for one, if there is none and something to lead to.
    async fn ask(&self, endpoint: &Endpoint) {
        let Some(port) = port(&endpoint.status().listening, self.carrier) else { return };
        if self.external.borrow().is_none() {
            // Else it would try what most routers speak, and nothing more.
            let _ = timeout(PROBE, self.client.probe()).await;
        }
        self.client.update_local_port(port);
        self.client.procure_mapping();
    }

    fn external(&mut self) -> Option<SocketAddrV4> {
        *self.external.borrow_and_update()
    }

    async fn changed(&mut self) {
        if self.external.changed().await.is_err() {
            std::future::pending().await
        }
    }

    async fn release(&mut self) {
        if self.external().is_some() {
            self.client.deactivate();
            // It says so before it has told the router; what is asked next is answered after that.
            let _ = timeout(RELEASE, self.client.probe()).await;
        }
    }
}

/// The port that is listened on where a router can lead to: on an IPv4 address that isn't one of the internet, nor
/// loopback.
fn port(listening: &[Multiaddr], carrier: Carrier) -> Option<NonZeroU16> {
    let of = |address: &Multiaddr| {
        let mut parts = address.iter();
        let (Protocol::Ip4(ip), port) = (parts.next()?, parts.next()?) else { return None };
        let is_inside = !(ip.is_loopback() || ip.is_link_local() || addresses::is_global(ip.into()));
        match (port, carrier, parts.next()) {
            (Protocol::Udp(port), Carrier::Udp, Some(Protocol::QuicV1)) if is_inside => NonZeroU16::new(port),
            (Protocol::Tcp(port), Carrier::Tcp, None) if is_inside => NonZeroU16::new(port),
            _ => None,
        }
    };
    listening.iter().find_map(of)
}

/// Where phones may knock.
fn forwarded(tcp: Option<SocketAddrV4>, udp: Option<SocketAddrV4>) -> Vec<Multiaddr> {
    let at = |socket: SocketAddrV4, port: Protocol<'static>| {
        let ip = IpAddr::V4(*socket.ip());
        if !addresses::is_global(ip) {
            tracing::info!(%ip, "the router is behind a NAT itself: what it forwards leads nowhere");
            return None;
        }
        Some(Multiaddr::from(ip).with(port))
    };
    let udp = udp.and_then(|socket| at(socket, Protocol::Udp(socket.port())));
    let tcp = tcp.and_then(|socket| at(socket, Protocol::Tcp(socket.port())));
    udp.map(|address| address.with(Protocol::QuicV1)).into_iter().chain(tcp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(addresses: &[&str]) -> Vec<Multiaddr> {
        addresses.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_router_is_asked_for_ports_behind_it_and_for_no_others() {
        let listening = all(&[
            "/ip4/127.0.0.1/tcp/1",
            "/ip6/fd00::1/tcp/2",
            "/ip4/45.3.0.1/tcp/3",
            "/ip4/192.168.3.3/tcp/4/ws",
            "/ip4/192.168.3.3/udp/5/quic-v1",
            "/ip4/192.168.3.3/tcp/6",
        ]);
        assert_eq!(port(&listening, Carrier::Tcp).map(NonZeroU16::get), Some(6));
        assert_eq!(port(&listening, Carrier::Udp).map(NonZeroU16::get), Some(5));
        assert_eq!(port(&listening[..4], Carrier::Tcp), None, "nothing that a router could lead to");
    }

    #[test]
    fn an_address_that_a_router_made_up_is_not_passed_on() {
        let good = Some("45.3.0.1:4500".parse().unwrap());
        assert_eq!(forwarded(good, good), all(&["/ip4/45.3.0.1/udp/4500/quic-v1", "/ip4/45.3.0.1/tcp/4500"]));
        for lie in ["192.168.1.1:1", "127.0.0.1:1", "100.64.0.9:1", "0.0.0.0:1", "224.0.0.1:1", "169.254.1.1:1"] {
            assert_eq!(forwarded(None, Some(lie.parse().unwrap())), [], "{lie}");
        }
    }
}
