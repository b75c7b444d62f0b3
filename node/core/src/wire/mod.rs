//! What travels: the codec, the envelopes and the limits that hold before anything is allocated.

pub mod cbor;
pub mod envelope;
pub mod fragment;
pub mod lane;
pub mod limits;
pub mod stream;

pub use envelope::Envelope;
