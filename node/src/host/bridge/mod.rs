//! The bridge between Codex and the phones: one task that owns what is open, followed and attached.
//!
//! ```text
//!   app-server events ─┐                          ┌─▶ envelopes to each attached phone (never waits)
//!   phones' watches ───┼─▶ Actor {threads, ledger, ┤
//!   phones' decisions ─┘          roster}          └─▶ answers to the app-server
//! ```
//! Requests don't pass through it: [`Bridge::request`] holds each against the policy and calls the app-server itself,
//! so that a slow call holds nobody up. What a call teaches about a thread is told to the actor afterwards.
//!
//! Whatever carries a thread, in either direction, is held against the device's [`Access`]: its right, and the folder
//! in which the thread really works. A folder that isn't known is nobody's.

mod access;
mod actor;
mod asked;
mod delivery;
mod floor;
mod followed;
mod images;
mod missing;
mod once;
mod request;
mod roster;
mod sight;
#[cfg(test)]
pub(in crate::host) mod tests;
mod truth;
mod unconfirmed;

use farhelm_core::identity::NodeId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{CloseReason, DecisionRefusal, HostState};
use farhelm_overlay::channel;
use farhelm_store::journal::Stage;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::app_server::{self, AppServer, Epoch, State};
use super::ledger::Said;
use super::logs::{Line, Logs, Work};
use actor::{Actor, Command};
use asked::Held;

pub use access::{Access, Shut};
pub use delivery::Delivery;
pub(super) use request::{answer, refused};

/// Commands that wait for the actor; a session that finds it full waits.
const COMMANDS: usize = 256;

/// The bridge is gone: the host stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host stops")]
pub struct Stopped;

/// A handle on the bridge. Clones share it.
#[derive(Debug, Clone)]
pub struct Bridge {
    app_server: AppServer,
    access: Access,
    images: images::Images,
    logs: Logs,
    commands: mpsc::Sender<Command>,
    working: watch::Receiver<bool>,
    /// The ids of messages that Codex has kept.
    kept: broadcast::Sender<String>,
}

impl Bridge {
    /// Starts the actor. `about` is what phones are told of this host, before it is cut to what each may know; it may
    /// change.
    pub fn start(
        host: NodeId,
        app_server: AppServer,
        events: mpsc::Receiver<app_server::Event>,
        about: watch::Receiver<HostState>,
        access: Access,
        logs: Logs,
        stop: CancellationToken,
    ) -> Self {
        let (commands, received) = mpsc::channel(COMMANDS);
        let (tell_working, working) = watch::channel(false);
        let images = images::Images::default();
        let kept = broadcast::Sender::new(delivery::KEPT);
        let bridge = Self { app_server, access, images, logs: logs.clone(), commands, working, kept: kept.clone() };
        let (app_server, weak) = (bridge.app_server.clone(), bridge.commands.downgrade());
        let actor = Actor::new(host, app_server, bridge.access.clone(), about, logs, weak, kept);
        tokio::spawn(stop.run_until_cancelled_owned(actor.run(events, received, tell_working)));
        bridge
    }

    /// Attaches a device's new session; an older one of the same device gets no more than its answers.
    pub async fn attach(&self, device: NodeId, sender: channel::Sender, line: Line) -> Result<Attached, Stopped> {
        let (reply, attached) = oneshot::channel();
        self.command(Command::Attach { device, sender, line, reply }).await?;
        let roster::Ticket { session, cut } = attached.await.map_err(|_| Stopped)?;
        Ok(Attached { session, cut, commands: self.commands.clone() })
    }

    /// Has a decision, or answers, take effect; what became of it.
    pub(super) async fn say(&self, work: Work) -> Result<Result<(), DecisionRefusal>, Stopped> {
        let Work { device, act, stage, envelope } = work;
        let said = match envelope {
            Envelope::Decision(signed) => Said::Decision(signed),
            Envelope::Answers(answers) => Said::Answers(answers),
            _ => return Err(Stopped),
        };
        let (reply, answer) = oneshot::channel();
        let unknown = stage == Stage::Forwarded;
        self.command(Command::Say(Held { device, act, unknown, said, reply })).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Cuts every session of a device that was revoked. On return they are told to end.
    pub async fn cut(&self, device: NodeId) {
        let (done, cut) = oneshot::channel();
        if self.command(Command::Cut { device, done }).await.is_ok() {
            let _ = cut.await;
        }
    }

    /// Waits until what phones may do is enforced as it was when this was called: sessions that have no place any more
    /// are told to end.
    pub async fn enforced(&self) {
        // The actor looks at what they may do before it obeys.
        self.running().await;
    }

    /// Whether a turn is under way, and its changes.
    pub fn working(&self) -> watch::Receiver<bool> {
        self.working.clone()
    }

    /// The threads with a turn under way: id and name or preview.
    pub async fn running(&self) -> Vec<(String, String)> {
        let (reply, running) = oneshot::channel();
        match self.command(Command::Running { reply }).await {
            Ok(()) => running.await.unwrap_or_default(),
            Err(Stopped) => Vec::new(),
        }
    }

    /// The connection that a request goes to.
    fn epoch(&self) -> Option<Epoch> {
        match *self.app_server.state().borrow() {
            State::Ready { epoch, .. } => Some(epoch),
            _ => None,
        }
    }

    async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }
}

/// A session's place on the bridge.
#[derive(Debug)]
pub struct Attached {
    session: u64,
    cut: watch::Receiver<roster::Fate>,
    commands: mpsc::Sender<Command>,
}

impl Attached {
    /// Which threads it follows from now on.
    pub async fn watch(&self, threads: Vec<String>) {
        let _ = self.commands.send(Command::Watch { session: self.session, threads }).await;
    }

    /// It was too slow for a thread's stream, and there is room for the thread as it stands now.
    pub async fn repair(&self, thread: String) {
        let _ = self.commands.send(Command::Repair { session: self.session, thread }).await;
    }

    /// Waits until the bridge ends the session: because its device was removed or its time is over, or (`None`) because
    /// it is too slow or was replaced long ago.
    pub async fn ended(&mut self) -> Option<CloseReason> {
        match self.cut.wait_for(|fate| *fate != roster::Fate::Live).await.as_deref() {
            Ok(roster::Fate::Ended(reason)) => Some(*reason),
            _ => None,
        }
    }

    /// Leaves.
    pub async fn detach(self) {
        let _ = self.commands.send(Command::Detach { session: self.session }).await;
    }
}
