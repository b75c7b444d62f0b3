//! A paired host: the calls a person's acts become, and what there is to look at.
//!
//! A [`Host`] is a cheap handle on a task that keeps the session alive. Every call waits for a connection and for its
//! answer, together for a minute at most, and says whether it may have happened when it fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use farhelm_core::codex::approval::Approval;
use farhelm_core::codex::decision::{Decision, SignedDecision};
use farhelm_core::codex::thread::{Status, Summary, Thread};
use farhelm_core::identity::{Identity, NodeId};
use farhelm_core::wire::envelope::HostState;
use farhelm_core::wire::limits;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::connection::{Connection, Path, Traffic, Why};
use crate::decisions::DecideError;
use crate::error::{Error, PATIENCE};
use crate::event::Event;
use crate::followed::ThreadWatch;
use crate::supervisor::{Command, Outlets};

/// Turns asked for at a time.
const PAGE: u32 = 16;

/// A handle on one host. Clones share the connection.
#[derive(Debug, Clone)]
pub struct Host {
    id: NodeId,
    identity: Identity,
    commands: mpsc::Sender<Command>,
    outlets: Arc<Outlets>,
}

/// A thread that was started with its first turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Thread id.
    pub thread: String,
    /// Id of the turn that runs.
    pub turn: String,
}

/// Threads, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows.
    pub threads: Vec<Summary>,
    /// Give it to [`Host::threads`] for the next page; none if this is the last.
    pub next: Option<String>,
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
            Connection::Live(path) => Ok(path),
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
        let mut listed = self.outlets.listed.subscribe();
        let waited = async {
            self.live(patience).await?;
            listed.wait_for(|listed| *listed).await.map_err(|_| Error::Stopped).map(drop)
        };
        timeout(patience, waited).await.unwrap_or(Err(Error::NoAnswer))?;
        Ok(self.outlets.approvals.borrow().clone())
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.outlets.events.subscribe()
    }

    /// What has moved, and the last round trip.
    pub fn traffic(&self) -> Traffic {
        let round_trip = match &*self.outlets.state.borrow() {
            Connection::Live(path) => path.round_trip,
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

    /// Threads, newest first: `limit` (1 to 100) of them from `cursor` on.
    pub async fn threads(&self, limit: u32, cursor: Option<&str>) -> Result<Page, Error> {
        let mut params = json!({"limit": limit.clamp(1, 100), "sortKey": "updated_at", "sortDirection": "desc"});
        if let Some(cursor) = cursor {
            params["cursor"] = cursor.into();
        }
        let result = self.call("thread/list", params).await?;
        let (threads, next) = Summary::from_list(&result).map_err(|_| Error::Unreadable("no list of threads"))?;
        Ok(Page { threads, next })
    }

    /// A thread with its newest turns, as many as a [`Thread`] holds. It isn't loaded by looking at it.
    pub async fn thread(&self, id: &str) -> Result<Thread, Error> {
        let result = self.call("thread/read", json!({"threadId": id})).await?;
        let mut thread = Thread::from_read(&result).map_err(|_| Error::Unreadable("no thread"))?;
        let mut cursor = None;
        // A page adds a turn at least, or it is the last.
        for _ in 0..Thread::TURNS {
            let before = thread.turns.len();
            let page = match self.turns(id, cursor.as_deref()).await {
                // A thread that was just started has no history yet, and Codex calls that an error.
                Err(Error::Codex(_)) if before == 0 && thread.preview.is_empty() => break,
                page => page?,
            };
            thread.prepend(&page);
            cursor = page.get("nextCursor").and_then(Value::as_str).map(ToOwned::to_owned);
            if cursor.is_none() || thread.turns.len() <= before || thread.turns.len() >= Thread::TURNS {
                break;
            }
        }
        Ok(thread)
    }

    async fn turns(&self, id: &str, cursor: Option<&str>) -> Result<Value, Error> {
        let mut params = json!({"threadId": id, "limit": PAGE, "sortDirection": "desc", "itemsView": "full"});
        if let Some(cursor) = cursor {
            params["cursor"] = cursor.into();
        }
        self.call("thread/turns/list", params).await
    }

    /// Starts a thread in the host's folder, under the host's rules, with a first message.
    pub async fn start(&self, prompt: &str) -> Result<Started, Error> {
        check(prompt)?;
        let result = self.call("thread/start", json!({})).await?;
        let thread = id_in(&result, "thread")?;
        let turn = self.start_turn(&thread, prompt).await?;
        Ok(Started { thread, turn })
    }

    /// Sends a message to a thread: a new turn, or into the one that runs. Gives the turn's id.
    pub async fn send(&self, thread: &str, text: &str) -> Result<String, Error> {
        check(text)?;
        let result = self.call("thread/read", json!({"threadId": thread})).await?;
        let read = Thread::from_read(&result).map_err(|_| Error::Unreadable("no thread"))?;
        if read.status == Status::NotLoaded {
            self.call("thread/resume", json!({"threadId": thread})).await?;
        }
        self.start_turn(thread, text).await
    }

    /// While a turn runs Codex takes this as a message into it and answers with that turn's id.
    async fn start_turn(&self, thread: &str, text: &str) -> Result<String, Error> {
        let input = json!([{"type": "text", "text": text}]);
        let client_id = format!("{:032x}", rand::random::<u128>());
        let params = json!({"threadId": thread, "input": input, "clientUserMessageId": client_id});
        let result = self.call("turn/start", params).await?;
        id_in(&result, "turn")
    }

    /// Interrupts the turn that runs. Codex may leave a command it started running.
    pub async fn interrupt(&self, thread: &str, turn: &str) -> Result<(), Error> {
        self.call("turn/interrupt", json!({"threadId": thread, "turnId": turn})).await.map(drop)
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
        let (reply, answer) = oneshot::channel();
        let command = Command::Decide { signed: Box::new(signed), reply };
        self.tell(command).await.map_err(|_| DecideError::Stopped)?;
        answer.await.map_err(|_| DecideError::Stopped)?
    }

    async fn call(&self, method: &'static str, params: Value) -> Result<Value, Error> {
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
        Connection::Connecting => false,
    }
}

fn check(text: &str) -> Result<(), Error> {
    match text.len() {
        length if length > limits::PROMPT => Err(Error::TooLong { length, limit: limits::PROMPT }),
        _ => Ok(()),
    }
}

fn id_in(result: &Value, name: &str) -> Result<String, Error> {
    let id = result.get(name).and_then(|object| object.get("id")).and_then(Value::as_str);
    id.filter(|id| !id.is_empty() && id.len() <= 256).map(ToOwned::to_owned).ok_or(Error::Unreadable("no id"))
}
