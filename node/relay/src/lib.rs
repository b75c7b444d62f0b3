//! A community relay.
