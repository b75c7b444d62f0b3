//! The endpoint's libp2p node: what a host or a phone needs to reach its peers, and to hold a session with them.
//!
//! [`Endpoint`] is a cheap handle; behind it one task owns the swarm. Everything that decides is a plain state machine
//! with `now` in and actions out (`legs`, `reservations`, `admission::gate`, `paths`), so that it is tested without
//! a network; the task is only their hand on the swarm.
//!
//! | room | holds |
//! |---|---|
//! | [`endpoint`] | the handle, its configuration, events and errors |
//! | `driver` | the task: swarm events in, actions of the machines out |
//! | [`transport`] | TCP, QUIC, WebSocket and DNS, or channels in memory; relays use it too |
//! | [`websocket`] | the way out of closed networks: WebSocket, plain or over TLS |
//! | `swarm` | the composition of behaviours, the only place that builds the `Swarm` type |
//! | [`streams`] | streams on a *chosen* connection (libp2p-stream picks one at random) |
//! | [`probe`] | whether a connection still answers, at a pace that can change; relays use it too |
//! | [`admission`] | who may connect, and what a stranger gets to see |
//! | `legs`, `reservations` | the way to relays, and the circuit reservations held on them |
//! | `calls` | attempts to reach a peer |
//! | [`paths`] | every connection to a peer, and which of them is best |
//! | `closing` | the end of a connection, dead or alive |
//! | [`surroundings`] | which of a peer's own addresses are worth dialling from here |
//! | [`channel`] | the encrypted session over whatever path is best |
//! | `faults` | points at which tests have things go wrong; only with that feature |
//!
//! Not here: the relay server (farhelm-relay), the session's cryptography (farhelm-core), storage.

pub mod addresses;
pub mod admission;
mod calls;
pub mod channel;
mod closing;
mod driver;
pub mod endpoint;
#[cfg(feature = "faults")]
pub mod faults;
mod legs;
pub mod paths;
pub mod probe;
mod reservations;
pub mod streams;
pub mod surroundings;
mod swarm;
pub mod transport;
pub mod websocket;

pub use admission::Admission;
pub use endpoint::{Config, ConnectError, Endpoint, Error, Event, Incoming, OpenError, Paces, Route, Status};
pub use libp2p::multiaddr::{Multiaddr, Protocol};
pub use libp2p::swarm::ConnectionId;
pub use paths::{Limit, Path, Policy, Transport, Via};
pub use streams::Stream;
pub use transport::Transports;
