//! Where a process can be stopped to have something go wrong, and how it can be made wrong on purpose.
//!
//! Only in builds with the feature `faults`, for `tests/chaos.rs`; what is shipped has none of it. A process that was
//! started with `FARHELM_FAULTS=<Unix socket>` reports each [`Point`] it comes to and waits there for the harness's
//! word. Meanwhile the harness kills a process or cuts a connection, or the word itself has the next frame dropped or
//! doubled. `FARHELM_MUTANT=<name>` takes one safeguard away: the tests must notice.
//!
//! Not here: what is done about any of it, which must not know that it is being tested.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use farhelm_core::session::Session;
use farhelm_core::session::record::Limits;
use libp2p::Multiaddr;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::addresses::is_relayed;

/// The harness's socket.
const SOCKET: &str = "FARHELM_FAULTS";
/// Set where nobody can be reached but through a relay.
const RELAYED: &str = "FARHELM_FAULTS_RELAYED";
/// The safeguard that is missing.
const MUTANT: &str = "FARHELM_MUTANT";
/// A harness that says nothing for as long is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Points reached so far by this process.
static REACHED: AtomicU64 = AtomicU64::new(0);
/// What becomes of the next frame, as [`Frame::code`].
static NEXT_FRAME: AtomicU8 = AtomicU8::new(0);

/// The edges between the states of something that must not be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// On the phone: a command is stored and not sent.
    StoredUnsent,
    /// On the host: an entry is received and neither stored nor acknowledged.
    SentUnacked,
    /// On the host: Codex has the request, and its answer isn't stored.
    ForwardedUnrecorded,
    /// On the host: a decision is with Codex, and the phone doesn't know yet.
    DecidedUnacked,
    /// On the phone: a pairing is stored as pending, and the host doesn't know who comes.
    PendingUnsent,
    /// On the host: a ticket is taken, and nobody was asked.
    TakenUnasked,
    /// On the host: a device is stored, and its phone doesn't know.
    PairedUnanswered,
    /// On the phone: the host has answered, and that isn't stored.
    PairedUnconfirmed,
}

impl Point {
    /// As the harness reads it.
    fn name(self) -> &'static str {
        match self {
            Self::StoredUnsent => "stored-unsent",
            Self::SentUnacked => "sent-unacked",
            Self::ForwardedUnrecorded => "forwarded-unrecorded",
            Self::DecidedUnacked => "decided-unacked",
            Self::PendingUnsent => "pending-unsent",
            Self::TakenUnasked => "taken-unasked",
            Self::PairedUnanswered => "paired-unanswered",
            Self::PairedUnconfirmed => "paired-unconfirmed",
        }
    }
}

/// A safeguard that can be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// An entry or act that came before is taken again.
    NoDedup,
    /// An entry is acknowledged before it is stored.
    AckBeforeStore,
    /// A prompt of unknown fate is sent again without a look at the thread.
    NoLookUp,
}

impl Mutant {
    /// As `FARHELM_MUTANT` names it.
    fn name(self) -> &'static str {
        match self {
            Self::NoDedup => "no-dedup",
            Self::AckBeforeStore => "ack-before-store",
            Self::NoLookUp => "no-look-up",
        }
    }
}

/// What becomes of a frame that is about to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// It is written.
    Pass,
    /// It isn't written.
    Drop,
    /// It is written twice.
    Double,
}

impl Frame {
    /// How [`NEXT_FRAME`] holds it.
    fn code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Drop => 1,
            Self::Double => 2,
        }
    }

    /// What is written in place of this one.
    pub(crate) fn of(self, frame: &[u8]) -> Vec<u8> {
        frame.repeat(match self {
            Self::Pass => 1,
            Self::Drop => 0,
            Self::Double => 2,
        })
    }

    /// What the harness's word does to the next frame.
    fn of_word(word: &str) -> Self {
        match word {
            "drop" => Self::Drop,
            "double" => Self::Double,
            _ => Self::Pass,
        }
    }
}

/// Reports that this process is at the point, and waits for the harness. Returns at once without one.
pub async fn reach(point: Point) {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let n = REACHED.fetch_add(1, Ordering::Relaxed) + 1;
    let word = timeout(PATIENCE, ask(UnixStream::connect(socket).await, point, n)).await;
    if let Ok(Ok(word)) = word {
        arm(Frame::of_word(word.trim()));
    }
}

/// Whether the safeguard is missing from this process.
#[must_use]
pub fn mutant(mutant: Mutant) -> bool {
    std::env::var(MUTANT).is_ok_and(|name| name == mutant.name())
}

/// What becomes of the frame at hand; the one after it passes.
#[must_use]
pub fn frame() -> Frame {
    match NEXT_FRAME.swap(Frame::Pass.code(), Ordering::Relaxed) {
        1 => Frame::Drop,
        2 => Frame::Double,
        _ => Frame::Pass,
    }
}

/// With a harness, keys change every few frames, so that what goes wrong meets rekeys under way.
#[must_use]
pub fn often(session: Session) -> Session {
    let limits = Limits { frames: 40, grace: 1_000_000, ..Limits::PROTOCOL };
    if std::env::var_os(SOCKET).is_some() { session.with_limits(limits) } else { session }
}

/// Those of the addresses that can be reached.
pub(crate) fn reachable(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let relayed_only = std::env::var_os(RELAYED).is_some();
    addresses.into_iter().filter(|address| !relayed_only || is_relayed(address)).collect()
}

/// Has something become of the next frame.
fn arm(frame: Frame) {
    if frame != Frame::Pass {
        NEXT_FRAME.store(frame.code(), Ordering::Relaxed);
    }
}

/// Reports and waits: a line each way.
async fn ask(socket: std::io::Result<UnixStream>, point: Point, n: u64) -> std::io::Result<String> {
    let mut socket = BufReader::new(socket?);
    let report = format!("{{\"pid\":{},\"point\":\"{}\",\"n\":{n}}}\n", std::process::id(), point.name());
    socket.write_all(report.as_bytes()).await?;
    let mut word = String::new();
    socket.read_line(&mut word).await?;
    Ok(word)
}
