//! The door for mobile apps: the phone's client ([`farhelm_phone`]) as Kotlin, Swift and Python see it, through UniFFI.
//!
//! Nothing is decided here. Types are plain records that cross as copies, errors are flat enums whose variants stay and
//! whose message is a sentence for a person, and every asynchronous method runs on the library's own threads, whatever
//! the app's event loop is.
//!
//! | room | holds |
//! |---|---|
//! | [`Phone`] | this device: open it with a [`KeyStore`], pair, list hosts, connect |
//! | [`Pairing`] | from a ticket to a paired host; its words are compared with the desk's |
//! | [`Host`] | threads, turns, approvals, decisions |
//! | [`EventListener`], [`TaskHandle`] | what happens, told to the app until the handle goes |
//! | `records` | what crosses |
//! | `runtime` | the threads; panics end here |
//!
//! # Why records of its own
//! What crosses is an interface that apps are compiled against; the types behind it follow Codex and change with it.

mod commands;
mod devices;
mod error;
mod host;
mod key_store;
mod listener;
mod pairing;
mod phone;
mod records;
mod runtime;

pub use devices::{GrantChange, GrantEnd, GrantPlace, PairedDevice};
pub use error::{CallError, DecideError, PairError};
pub use host::{Host, Started, ThreadPage, ThreadWatch};
pub use key_store::{KeyStore, StoreError};
pub use listener::{Event, EventListener, ListenerError, TaskHandle};
pub use pairing::Pairing;
pub use phone::Phone;
pub use records::*;

uniffi::setup_scaffolding!();
