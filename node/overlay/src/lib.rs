//! The endpoint's libp2p node.
pub mod channel;
