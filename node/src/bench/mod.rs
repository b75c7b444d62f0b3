//! Measurements that are promises: each has a limit, is run by `farhelm bench`, and fails when it is missed.
//!
//! Everything runs in this process and on loopback, with the real programs' parts: the host with its connection to an
//! app-server, the handshake, the session and the phone. What is counted is counted between them, by taps that forward
//! and look on, so that nothing measured knows that it is.

pub mod connect;
mod leg;
mod link;
mod tap;
pub mod wire;
mod world;

pub use world::Error;
