//! A community relay: circuit-relay-v2 for nodes that can't reach each other.
//!
//! It introduces nodes and, where hole punching fails, carries ciphertext between them. It learns both peer ids, both
//! IP addresses, times and volumes; nothing of what is said.
//!
//! | room | holds |
//! |---|---|
//! | [`config`] | what an operator may set, with defaults |
//! | `announce` | which addresses clients are told |
//! | [`certificate`] | the certificate for TLS WebSocket, and its renewal |
//! | `rates` | how often a peer or a household may ask |
//! | `ledger` | who holds a reservation, so that renewals are never refused for lack of room |
//! | `swarm` | the composition of behaviours |
//! | `sockets` | listening, and the ports really got |
//! | [`relay`] | the handle |
//! | `task` | what owns the swarm |
//!
//! Prints nothing: the program does.

mod announce;
pub mod certificate;
pub mod config;
mod ledger;
mod rates;
pub mod relay;
mod sockets;
mod swarm;
mod task;

pub use config::Config;
pub use farhelm_overlay::{Multiaddr, Transports};
pub use relay::{Error, Event, Relay, Status};
