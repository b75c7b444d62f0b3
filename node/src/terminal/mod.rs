//! Everything between this program and a person at a terminal: what the terminal can do, text made safe for it,
//! QRs drawn and read, questions asked, diffs shown.
//!
//! Nothing in here knows of hosts, phones or relays; the commands do that.

pub mod ask;
pub mod diff;
pub mod picture;
pub mod qr;
pub mod sanitize;
pub mod screen;
