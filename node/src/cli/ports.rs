//! Ports as people name them, and who holds a taken one.

use std::fmt;

use farhelm_overlay::{Multiaddr, Protocol};
use farhelm_platform::process::{self, Transport};

use super::{Exit, Failure};

/// A port of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) transport: Transport,
    number: u16,
}

impl Port {
    /// The port in an address, if it has one.
    pub(super) fn of(address: &Multiaddr) -> Option<Self> {
        address.iter().find_map(|part| match part {
            Protocol::Tcp(number) => Some(Self { transport: Transport::Tcp, number }),
            Protocol::Udp(number) => Some(Self { transport: Transport::Udp, number }),
            _ => None,
        })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
        };
        write!(f, "{transport} port {}", self.number)
    }
}

/// Somebody else listens on `address`: who, where the system tells.
pub(super) fn taken(address: &Multiaddr) -> Failure {
    let port = Port::of(address);
    let holder = port.and_then(|port| process::port_holder(port.transport, port.number));
    let failure = match (port, holder) {
        (Some(port), Some(holder)) => Failure::new(Exit::Listen, format_args!("{port} is held by {holder}")),
        _ => Failure::new(Exit::Listen, format_args!("{address} is in use")),
    };
    failure.next("stop the program that holds it, or listen elsewhere with --listen")
}
