//! Farhelm's words and machines, and nothing that touches the world.
//!
//! Bytes and `now` go in, values come out (sans-IO, as in quinn-proto): no I/O, no clock, no async, no global random
//! source. Everything above this crate moves bytes; everything that decides what they mean is here.
//!
//! | room | holds |
//! |---|---|
//! | [`identity`] | Ed25519 keys, node ids, signature labels |
//! | [`wire`] | the one codec, envelopes, fragments, every limit |
//! | [`session`] | transcript, key schedule, handshake, records |
//! | [`pairing`] | the ticket in the QR, and what becomes of an offer |
//! | [`codex`] | the app-server messages we need, the thread reducer, approvals and signed decisions |
//! | [`audit`] | what remote devices did, in a chain that can't be changed unseen |
//! | [`policy`] | which method a phone may call, and how its parameters are rebuilt |

pub mod audit;
pub mod codex;
pub mod identity;
pub mod pairing;
pub mod policy;
#[cfg(test)]
mod protocol;
pub mod session;
#[cfg(test)]
mod vectors;
pub mod wire;
