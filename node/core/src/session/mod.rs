//! The end-to-end session: handshake, keys, records.
pub mod transcript;
