//! Everything between this program and a person at a terminal: what the terminal can do, text made safe for it,
//! tickets shown and read, questions asked, approvals and diffs shown.
//!
//! Nothing in here knows of hosts, phones or relays; the commands do that.

pub mod approval;
pub mod ask;
pub mod ceremony;
pub mod diff;
pub mod invitation;
pub mod picture;
pub mod qr;
pub mod question;
pub mod screen;
pub mod thread;
pub mod ticket;
mod wrap;

/// Text made safe, as on every screen.
pub use farhelm_phone::view::sanitize;
