//! The logs of all devices: what waits for each, and what each asked to be done. One task owns them, and everything it
//! is told is stored before anybody else hears of it.
//!
//! ```text
//!   sessions: attach, entries, acks ─┐                        ┌─▶ entries, acks and what stands between them, in order
//!   bridge: pushes, answers ─────────┼─▶ Keeper ─▶ journal ─▶─┤
//!                                    ┘   (one write for all   └─▶ work: acts to be done, once each
//!                                         that came meanwhile)
//! ```
//! A write costs a sync of the disk, so whatever comes while one is under way is written together.
//!
//! # What an act goes through
//! *Received* is acknowledged, so it will be done whatever happens to the phone. *Forwarded* is written before Codex is
//! told: after a crash it isn't known whether it was done, and the method table says what then. *Done* holds the answer,
//! which goes to the phone by the log; it is kept for a while, because a phone that lost its own log asks again.
//!
//! # When the disk is full
//! Nothing is acknowledged, every session ends with the reason, and phones keep what they have. What the keeper knows
//! is read anew from the journal, which holds what was acknowledged. If something was to be logged meanwhile, the logs
//! begin anew once there is room, as a phone couldn't know what it missed.

mod command;
mod device;
mod keeper;
mod leapfrog;
mod paths;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Ack, Attach, CloseReason, Entry, Logged};
use farhelm_overlay::channel;
use farhelm_store::Journal;
use farhelm_store::journal::{ActId, Stage};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;

use command::{Attachment, Command, Noted};
use keeper::Keeper;
use paths::Fate;

/// What may wait for the keeper: the bridge never waits for it.
const COMMANDS: usize = 4096;
/// Acts that may wait to be begun.
const WORK: usize = 1024;
/// How long to wait before a change that couldn't be stored is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// An act to be done.
#[derive(Debug, PartialEq)]
pub struct Work {
    /// Who asks.
    pub device: NodeId,
    /// By which its answer is known.
    pub act: ActId,
    /// [`Stage::Forwarded`] if it isn't known whether it was done already, [`Stage::Answered`] if it is to be seen
    /// through.
    pub stage: Stage,
    /// What is asked: a request, a decision or answers.
    pub envelope: Envelope,
}

/// The act isn't wanted any more: its device was removed, or the host stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody asks for this any more")]
pub struct Unwanted;

/// Why a path can't begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing can be stored.
    #[error("nothing can be stored; make room on the disk")]
    StoreFailed,
    /// The host stops.
    #[error("the host stops")]
    Stopped,
}

/// A handle on the logs. Clones share them.
#[derive(Debug, Clone)]
pub struct Logs {
    commands: mpsc::Sender<Command>,
    /// Something that was to be logged was not: every log begins anew.
    overrun: Arc<AtomicBool>,
    contested: Arc<watch::Sender<Contested>>,
}

/// Devices whose place two programs take from each other in turns, and when that was noticed last, in Unix milliseconds.
pub type Contested = BTreeMap<NodeId, u64>;

impl Logs {
    /// Reads the journal and starts the keeper. What was asked and isn't done comes as work; `is_paired` says whose acts
    /// still count.
    pub fn start(
        journal: Arc<Journal>,
        is_paired: impl Fn(NodeId) -> bool,
        stop: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<Work>), farhelm_store::Error> {
        let (commands, received) = mpsc::channel(COMMANDS);
        let (work, to_do) = mpsc::channel(WORK);
        let overrun = Arc::new(AtomicBool::new(false));
        let contested = Arc::new(watch::Sender::default());
        let keeper = Keeper::open(journal, work, overrun.clone(), contested.clone(), is_paired)?;
        tokio::spawn(stop.run_until_cancelled_owned(keeper.run(received)));
        Ok((Self { commands, overrun, contested }, to_do))
    }

    /// Devices of which two programs seem to have the key, and changes of that.
    pub fn contested(&self) -> watch::Receiver<Contested> {
        self.contested.subscribe()
    }

    /// Begins a path of a device. The host's position goes out on it, and then what waits.
    pub async fn attach(&self, device: NodeId, attach: Attach, sender: channel::Sender) -> Result<Path, Refused> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Attach { device, attach, sender, reply };
        self.commands.send(command).await.map_err(|_| Refused::Stopped)?;
        let Attachment { number, superseded, fate } = answer.await.map_err(|_| Refused::Stopped)??;
        Ok(Path { device, number, superseded, fate, logs: self.clone() })
    }

    /// Logs an envelope for a device, attached or not.
    pub fn push(&self, device: NodeId, envelope: Envelope) {
        self.tell(Command::Push { device, body: Logged { act: None, envelope }.encode() });
    }

    /// An act is about to be done: from now on it may have been. Waits until that is stored.
    pub async fn forwarded(&self, device: NodeId, act: ActId) -> Result<(), Unwanted> {
        self.note(|reply| Command::Forwarded { device, act, reply }).await
    }

    /// An act is done, and this is the answer. Waits until that is stored.
    pub async fn done(&self, device: NodeId, act: ActId, answer: Envelope) -> Result<(), Unwanted> {
        let answer = Logged { act: Some(act), envelope: answer }.encode();
        self.note(|reply| Command::Done { device, act, answer: answer.clone(), settled: true, reply }).await
    }

    /// An act is answered, and kept until it is [settled](Self::settled), as what it asked may be lost yet. Waits until
    /// that is stored.
    pub async fn answered(&self, device: NodeId, act: ActId, answer: Envelope) -> Result<(), Unwanted> {
        let answer = Logged { act: Some(act), envelope: answer }.encode();
        self.note(|reply| Command::Done { device, act, answer: answer.clone(), settled: false, reply }).await
    }

    /// What an answered act asked can't be lost any more. Waits until that is stored.
    pub async fn settled(&self, device: NodeId, act: ActId) -> Result<(), Unwanted> {
        self.note(|reply| Command::Settled { device, act, reply }).await
    }

    async fn note(&self, command: impl Fn(oneshot::Sender<Noted>) -> Command) -> Result<(), Unwanted> {
        loop {
            let (reply, answer) = oneshot::channel();
            self.commands.send(command(reply)).await.map_err(|_| Unwanted)?;
            match answer.await.map_err(|_| Unwanted)? {
                Noted::Stored => return Ok(()),
                Noted::Unwanted => return Err(Unwanted),
                // The disk may have room again.
                Noted::Failed => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Every log begins anew, and every phone is told everything anew: what was logged under the names that were used so
    /// far may have been another thing once. On return that is stored.
    pub async fn begin_anew(&self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::BeginAnew { reply }).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Forgets whatever waits for a device and whatever it asked. On return that is stored.
    pub async fn forget(&self, device: NodeId) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Forget { device, reply }).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Ends every path of a device, which may come back at once. On return nothing of them is taken any more.
    pub async fn end_paths(&self, device: NodeId) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::EndPaths { device, reply }).await.is_ok() {
            let _ = answer.await;
        }
    }

    fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.overrun.store(true, Ordering::Release);
        }
    }
}

/// A device's path, as far as its log is concerned. Dropping it ends that.
#[derive(Debug)]
pub struct Path {
    device: NodeId,
    number: u64,
    superseded: bool,
    fate: watch::Receiver<Fate>,
    logs: Logs,
}

impl Path {
    /// Whether a newer path of the device is known: this one is read for acknowledgements only.
    pub const fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// A handle to speak on it.
    pub fn line(&self) -> Line {
        Line { number: self.number, logs: self.logs.clone() }
    }

    /// The phone logged something.
    pub async fn entry(&self, entry: Entry) {
        let (device, number) = (self.device, self.number);
        let _ = self.logs.commands.send(Command::Entry { device, number, entry }).await;
    }

    /// The phone has stored something.
    pub async fn ack(&self, Ack { upto }: Ack) {
        let (device, number) = (self.device, self.number);
        let _ = self.logs.commands.send(Command::Ack { device, number, upto }).await;
    }

    /// Waits until the keeper ends the path; why, if that can be told to the phone.
    pub async fn ended(&mut self) -> Option<CloseReason> {
        loop {
            let fate = *self.fate.borrow_and_update();
            let changed = match fate {
                Fate::Live => self.fate.changed().await,
                Fate::Ended(reason) => return reason,
                Fate::Drains(until) => match timeout_at(until, self.fate.changed()).await {
                    Ok(changed) => changed,
                    Err(_) => {
                        self.logs.tell(Command::LeftOpen { device: self.device });
                        return Some(CloseReason::Replaced);
                    }
                },
            };
            if changed.is_err() {
                return None;
            }
        }
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.logs.tell(Command::Detach { device: self.device, number: self.number });
    }
}

/// Speaks on a path, in order with what is logged.
#[derive(Debug, Clone)]
pub struct Line {
    number: u64,
    logs: Logs,
}

impl Line {
    /// Sends what isn't logged, behind everything that was logged before.
    pub fn say(&self, envelope: Envelope) {
        self.logs.tell(Command::Say { number: self.number, envelope: Box::new(envelope) });
    }
}
