//! The phone's client without a screen: pair, connect, threads, decisions.
//!
//! ```no_run
//! # async fn example(ticket: &str) -> Result<(), Box<dyn std::error::Error>> {
//! use std::{sync::Arc, time::Duration};
//! use farhelm_phone::{Client, Config, key_store};
//!
//! let client = Client::open(Config::new("pocket"), Arc::new(key_store::Memory::default())).await?;
//! let pairing = client.pair(ticket).await?;
//! println!("{}", pairing.words().join(" "));
//! let host = pairing.finish(Duration::from_secs(300)).await?.host;
//! let started = host.start("say hello").await?;
//! let mut thread = host.watch(&started.thread).await?;
//! thread.wait_for(|thread| thread.running().is_none()).await?;
//! client.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | room | holds |
//! |---|---|
//! | [`Client`] | identity, records, one supervisor a host |
//! | [`Pairing`] | from a ticket to a paired host |
//! | [`Host`] | the handle: calls, watches, decisions |
//! | `message`, `results` | what goes into calls and what comes out |
//! | `supervisor` | the task behind a handle: attach, move to better paths, reconnect |
//! | `attach`, `flight` | a try to get a session: over which path, and what goes with its handshake |
//! | `log` | what outlives connections: what was asked, and what the host logged |
//! | `calls`, `decisions`, `followed`, `truth` | what is under way, as tables without I/O |
//! | [`key_store`], `records` | what survives, behind a door that the platform opens |
//! | [`view`] | what screens show, made safe: inbox, threads, diffs, approvals, the composer |
//! | `network` | the seam to the overlay |
//!
//! It touches no socket and no terminal, and of files only the one [`Config::journal`] names. Texts of a host (names, threads, errors) are not sanitized:
//! whoever shows them does that, or shows what [`view`] makes of them.

mod attach;
mod backoff;
mod calls;
mod client;
mod connection;
mod decisions;
mod error;
mod event;
mod flight;
mod followed;
mod host;
mod kept;
pub mod key_store;
mod log;
mod message;
mod network;
mod pairing;
mod records;
mod results;
mod supervisor;
#[cfg(test)]
mod tests;
mod truth;
pub mod view;

pub use client::{Client, Config, KnownHost, OpenError, Standing, relays};
pub use connection::{Connection, Path, Traffic, Why};
pub use decisions::DecideError;
pub use error::Error;
pub use event::Event;
pub use farhelm_core::codex::image::ImageKind;
pub use farhelm_core::{
    audit::Head,
    codex,
    codex::thread::{Hit, Page, Placed},
    identity::NodeId,
    policy::{Entitlement, Folders, Right, Terms, Until},
    wire::envelope::{CodexState, HostState},
};
pub use farhelm_overlay::{Multiaddr, Policy, Transport, Transports, Via};
pub use followed::ThreadWatch;
pub use host::{Host, Order, Paging, ReviewTarget, Started, ThreadQuery};
pub use kept::Broken;
pub use key_store::KeyStore;
pub use message::{Attachment, AttachmentError, Message, StartOptions};
pub use pairing::{PairError, PairedHost, Pairing};
pub use records::Error as RecordsError;
pub use results::{
    AccountUsage, Device, Effort, Goal, Image, Model, Queued, RateLimits, Settings, Terminal, Usage, Window,
};
pub use truth::Truth;
