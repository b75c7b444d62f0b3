//! The endpoint's libp2p node.
