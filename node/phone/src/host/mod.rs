//! A paired host: the calls a person's acts become, and what there is to look at.
//!
//! A [`Host`] is a cheap handle on a task that keeps the session alive. Every call waits for a connection and for its
//! answer, together for a minute at most, and says whether it may have happened when it fails.
//!
//! | room | holds |
//! |---|---|
//! | `threads` | lists, searches, histories; names, archive, forks |
//! | `turns` | what has the agent work: start, send, steer, review; and what stops it |
//! | `queue` | messages that wait for the turn before them |
//! | `settings` | models, efforts, limits |
//! | `image` | images of a thread |
//!
//! Which right a method needs is said with it; the host holds every request against it, and a phone without it gets
//! [`Error::Policy`]. So does one that asks for a thread outside its folders.

mod devices;
mod image;
mod queue;
mod settings;
mod threads;
mod turns;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use farhelm_core::codex::approval::Approval;
use farhelm_core::codex::decision::{Decision, SignedDecision};
use farhelm_core::codex::question::{Answers, Question};
use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::wire::envelope::HostState;
use farhelm_core::wire::limits;
use farhelm_overlay::Multiaddr;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::connection::{Connection, Path, Traffic, Why};
use crate::decisions::{DecideError, Said};
use crate::error::{Error, PATIENCE};
use crate::event::Event;
use crate::followed::ThreadWatch;
use crate::supervisor::{Command, Outlets};
use crate::truth::Truth;

pub use threads::{Order, Paging, ThreadQuery};
pub use turns::{ReviewTarget, Started};

/// A handle on one host. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Host {
    id: NodeId,
    identity: Identity,
    commands: mpsc::Sender<Command>,
    outlets: Arc<Outlets>,
}

impl Host {
    pub(crate) fn new(id: NodeId, identity: Identity, commands: mpsc::Sender<Command>, outlets: Arc<Outlets>) -> Self {
        Self { id, identity, commands, outlets }
    }

    /// Its key, which is also its peer id.
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// How it stands with the connection.
    pub fn state(&self) -> watch::Receiver<Connection> {
        self.outlets.state.subscribe()
    }

    /// Waits until it is live; after `patience`, why it isn't.
    pub async fn live(&self, patience: Duration) -> Result<Path, Error> {
        let mut state = self.state();
        let waited = timeout(patience, state.wait_for(is_settled)).await;
        drop(waited);
        let now = state.borrow().clone();
        match now {
            Connection::Live(path) | Connection::CatchingUp(path) => Ok(path),
            Connection::Connecting => Err(Error::Away(Why::Unreachable)),
            Connection::Away { why, .. } => Err(Error::Away(why)),
            Connection::Removed { at_ms } => Err(Error::Removed { at_ms }),
        }
    }

    /// What the host last said of itself; none before the first connection.
    pub fn about(&self) -> watch::Receiver<Option<HostState>> {
        self.outlets.host.subscribe()
    }

    /// The approvals that are open, oldest first. While the host is away: as they were.
    pub fn approvals(&self) -> watch::Receiver<Vec<Approval>> {
        self.outlets.approvals.subscribe()
    }

    /// The approvals that are open now, by the host's own word on the connection there is; waits for both.
    pub async fn pending(&self, patience: Duration) -> Result<Vec<Approval>, Error> {
        self.listed(patience).await?;
        Ok(self.outlets.approvals.borrow().clone())
    }

    /// The questions that are open, oldest first. While the host is away: as they were.
    pub fn questions(&self) -> watch::Receiver<Vec<Question>> {
        self.outlets.questions.subscribe()
    }

    /// The questions that are open now, as [`pending`](Self::pending).
    pub async fn asked(&self, patience: Duration) -> Result<Vec<Question>, Error> {
        self.listed(patience).await?;
        Ok(self.outlets.questions.borrow().clone())
    }

    async fn listed(&self, patience: Duration) -> Result<(), Error> {
        let mut listed = self.outlets.listed.subscribe();
        let waited = async {
            self.live(patience).await?;
            listed.wait_for(|listed| *listed).await.map_err(|_| Error::Stopped).map(drop)
        };
        let waited = async {
            tokio::select! {
                listed = waited => listed,
                why = self.shut_out() => Err(Error::Away(why)),
            }
        };
        timeout(patience, waited).await.unwrap_or(Err(Error::NoAnswer))
    }

    /// Waits until the host says that only a person at its desk lets this phone in again.
    async fn shut_out(&self) -> Why {
        let mut state = self.state();
        let shut = state.wait_for(|state| matches!(state, Connection::Away { why, .. } if why.is_for_the_desk())).await;
        match shut.as_deref() {
            Ok(Connection::Away { why, .. }) => *why,
            // Its task has ended; the others that wait for it say so.
            _ => std::future::pending().await,
        }
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.outlets.events.subscribe()
    }

    /// Whether the threads here are those at the host, counted.
    pub fn truth(&self) -> watch::Receiver<Truth> {
        self.outlets.truth.subscribe()
    }

    /// What has moved, and the last round trip.
    pub fn traffic(&self) -> Traffic {
        let round_trip = match &*self.outlets.state.borrow() {
            Connection::Live(path) | Connection::CatchingUp(path) => path.round_trip,
            _ => None,
        };
        let (sent, received) = (&self.outlets.sent, &self.outlets.received);
        Traffic { sent: sent.load(Ordering::Relaxed), received: received.load(Ordering::Relaxed), round_trip }
    }

    /// The device's network changed: tries anew at once, and proves the path that is there.
    pub async fn network_changed(&self) {
        // The task may have ended; then there is nothing to prove.
        let _ = self.commands.send(Command::NetworkChanged).await;
    }

    /// See [`Client::found_nearby`](crate::Client::found_nearby).
    pub(crate) async fn found_nearby(&self, addresses: Vec<Multiaddr>) {
        let _ = self.commands.send(Command::Nearby(addresses)).await;
    }

    /// See [`Client::accept_record`](crate::Client::accept_record).
    pub(crate) async fn accept_record(&self) -> bool {
        let (reply, accepted) = oneshot::channel();
        let _ = self.commands.send(Command::AcceptRecord(reply)).await;
        accepted.await.unwrap_or(false)
    }

    /// Follows a thread: returns when the host has shown it whole.
    pub async fn watch(&self, thread: &str) -> Result<ThreadWatch, Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Follow { thread: thread.to_owned(), reply }).await?;
        let mut watch = answer.await.map_err(|_| Error::Stopped)??;
        match timeout(PATIENCE, watch.wait_for(|thread| !thread.id.is_empty())).await {
            Ok(shown) => shown.map(|_| watch),
            Err(_) if matches!(*self.outlets.state.borrow(), Connection::Live(_)) => Err(Error::NoAnswer),
            Err(_) => Err(Error::NotConnected),
        }
    }

    /// Decides on exactly the approval that was on the screen, and waits for the host's word.
    pub async fn decide(&self, shown: &Approval, decision: Decision) -> Result<(), DecideError> {
        let signed = SignedDecision::sign(&self.identity, self.id, shown, decision)?;
        self.say(Said::Decision(signed)).await
    }

    /// The same, where this device has made sure of its owner again for this decision, and says so under its signature.
    pub async fn decide_stepped_up(&self, shown: &Approval, decision: Decision) -> Result<(), DecideError> {
        let signed = SignedDecision::sign_stepped_up(&self.identity, self.id, shown, decision)?;
        self.say(Said::Decision(signed)).await
    }

    /// Answers exactly the question that was on the screen, each of its parts by id with labels of its options or, where
    /// it takes them, with words; and waits for the host's word. Needs the right of an operator.
    pub async fn answer(&self, shown: &Question, answers: BTreeMap<String, Vec<String>>) -> Result<(), DecideError> {
        let answers = Answers::new(shown, answers).ok_or(DecideError::NotAnAnswer)?;
        self.say(Said::Answers(answers)).await
    }

    async fn say(&self, said: Said) -> Result<(), DecideError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Decide { said: Box::new(said), reply };
        self.tell(command).await.map_err(|_| DecideError::Stopped)?;
        answer.await.map_err(|_| DecideError::Stopped)?
    }

    /// Asks for any method that the host's table has for phones, where there is no method of its own here. What comes is
    /// Codex's answer as the host's policy lets it through; whatever phones may not ask for is [`Error::Policy`].
    pub async fn call(&self, method: &'static str, params: Value) -> Result<Value, Error> {
        // Images add up; the session would end by an envelope that is too large.
        let length = params.to_string().len();
        if length > limits::CODEX_JSON {
            return Err(Error::TooLong { length, limit: limits::CODEX_JSON });
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Call { method, params, reply }).await?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    async fn tell(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| Error::Stopped)
    }

    pub(crate) async fn stop(&self) {
        let _ = self.tell(Command::Stop).await;
    }
}

/// Live, or in a state that waiting doesn't end.
fn is_settled(state: &Connection) -> bool {
    match state {
        Connection::Live(_) | Connection::Removed { .. } => true,
        Connection::Away { why, .. } => *why == Why::Stopped,
        Connection::Connecting | Connection::CatchingUp(_) => false,
    }
}

fn id_in(result: &Value, name: &str) -> Result<String, Error> {
    let id = result.get(name).and_then(|object| object.get("id")).and_then(Value::as_str);
    id.filter(|id| !id.is_empty() && id.len() <= 256).map(ToOwned::to_owned).ok_or(Error::Unreadable("no id"))
}
