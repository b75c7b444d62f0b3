//! The host's floor on the way of a phone's requests: nothing has the agent work on a thread that is looser than the
//! rules allow.
//!
//! ```text
//!  before   has the agent work ─► effective terms as Codex reported them ─► Looser? refused, nothing is sent
//!           tools of the thread, as Codex lists them ─────► computer use? refused while that is off
//!  after    thread/start, thread/fork ─► terms of the answer ─────────────► Looser? left alone, and said
//!  behind   turn/started that a phone caused ─► terms by then ────────────► Looser? interrupted
//! ```
//! The last closes the gap in which somebody loosens the thread between the look and the turn's start: Codex reports
//! the change before the turn, on the same way.

use farhelm_core::codex::thread::{Status, Thread, id_of};
use farhelm_core::policy::{self, Effect, Forward, Looser, Method};
use farhelm_core::wire::envelope::Failure;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::actor::{Actor, Command, RESUMING};
use super::request::{failed, refused};
use super::{Bridge, Stopped};
use crate::host::app_server::RequestError;

/// Pages of a thread's tool servers that are looked at, of 100 each.
const PAGES: usize = 8;

const COMPUTER_USE: &str = "this thread can use the computer itself (screen, mouse, keyboard), which this host doesn't \
                            allow phones; go on at the desk, or switch computer_use_mobile on in the host's config.toml";

/// What makes a turn later on, known by the message's own id.
const QUEUES: &str = "thread/queue/add";

/// Queued messages of phones that are remembered; beyond it the oldest go.
const QUEUED: usize = 4096;

/// What a phone is about to have the agent do.
#[derive(Debug)]
pub(super) struct Asked {
    thread: String,
    /// The id of a message that may wait for its turn.
    queued: Option<String>,
}

/// Who waits to be told whether the floor permits it.
pub(super) type Judged = oneshot::Sender<Result<(), Looser>>;

impl Bridge {
    /// Holds a thread's effective terms against the floor before a phone has the agent work on it. One that nobody
    /// follows is opened for that.
    pub(super) async fn hold_to_floor(&self, forward: &Forward) -> Result<(), Failure> {
        let (Effect::Work, Some(thread)) = (forward.method.effect, forward.thread()) else { return Ok(()) };
        let (reply, judged) = oneshot::channel();
        let queued = forward.params.get("clientUserMessageId").filter(|_| forward.method.name == QUEUES);
        let queued = queued.and_then(Value::as_str).map(ToOwned::to_owned);
        let command = Command::Judge { asked: Asked { thread: thread.to_owned(), queued }, reply };
        self.command(command).await.map_err(|Stopped| refused("the host stops"))?;
        let judged = judged.await.map_err(|_| failed(&RequestError::Away))?;
        judged.map_err(|looser| refused(&looser.to_string()))?;
        self.keep_off_the_computer(thread).await
    }

    /// While computer use is off for phones, none has the agent work on a thread that has tools for it.
    async fn keep_off_the_computer(&self, thread: &str) -> Result<(), Failure> {
        if self.access.rules.borrow().computer_use_mobile {
            return Ok(());
        }
        let mut cursor = Value::Null;
        for _ in 0..PAGES {
            let ask = json!({"threadId": thread, "detail": "toolsAndAuthOnly", "limit": 100, "cursor": cursor});
            let page = self.app_server.request("mcpServerStatus/list", ask).await.map_err(|error| failed(&error))?;
            match (policy::has_computer_use(&page), page.get("nextCursor")) {
                (Some(true), _) => return Err(refused(COMPUTER_USE)),
                (Some(false), None | Some(Value::Null)) => return Ok(()),
                (Some(false), Some(next)) => cursor = next.clone(),
                (None, _) => break,
            }
        }
        Err(refused("it isn't known which tools this thread has; go on at the desk"))
    }

    /// Holds the terms of a new thread, as Codex answered them, against the floor. A looser one isn't used.
    pub(super) async fn read_back(&self, method: &Method, result: &Value) -> Result<(), Failure> {
        if !matches!(method.name, "thread/start" | "thread/fork") {
            return Ok(());
        }
        let thread = Thread::from_resume(result).map_err(|error| refused(&error.to_string()))?;
        let judged = self.access.rules.borrow().permits_work_on(&thread);
        let Err(looser) = judged else { return Ok(()) };
        // It has no turn yet, so Codex forgets it.
        let unsubscribed = self.app_server.request("thread/unsubscribe", json!({ "threadId": thread.id })).await;
        if let Err(error) = unsubscribed {
            tracing::warn!(%error, thread = thread.id, "a thread looser than the floor stays open");
        }
        Err(refused(&looser.to_string()))
    }
}

impl Actor {
    /// A phone is about to have the agent work on a thread. One that isn't followed yet is judged when it is.
    pub(super) fn judge(&mut self, asked: Asked, reply: Judged) {
        if !self.followed.is_subscribed(&asked.thread) {
            self.follow(asked.thread.clone());
        }
        if self.resuming.contains_key(&asked.thread) && self.judging.len() < RESUMING {
            self.judging.push((asked, reply));
        } else {
            self.tell_judgement(asked, reply);
        }
    }

    /// The resume of a thread is over: what waited for it is judged.
    pub(super) fn judge_waiting(&mut self, thread: &str) {
        let (now, later) = std::mem::take(&mut self.judging).into_iter().partition(|(of, _)| of.thread == thread);
        self.judging = later;
        let now: Vec<(Asked, Judged)> = now;
        now.into_iter().for_each(|(asked, reply)| self.tell_judgement(asked, reply));
    }

    fn tell_judgement(&mut self, Asked { thread, queued }: Asked, reply: Judged) {
        let judged = self.permits_work_on(&thread);
        if reply.send(judged.clone()).is_err() || judged.is_err() {
            return;
        }
        if let Some(message) = queued {
            if self.queued.len() >= QUEUED {
                self.queued.pop_front();
            }
            self.queued.push_back(message);
        } else {
            self.caused.insert(thread);
        }
    }

    /// A thread that is open in another Codex is that one's to refuse; of others the terms must be known.
    fn permits_work_on(&self, thread: &str) -> Result<(), Looser> {
        match self.followed.get(thread) {
            Some(known) if known.status == Status::HeldElsewhere => Ok(()),
            Some(known) if self.followed.is_subscribed(thread) => self.access.rules.borrow().permits_work_on(known),
            _ => Err(Looser::Unknown),
        }
    }

    /// A turn that a phone caused is interrupted if it begins on looser terms: the next one of a thread on which a phone
    /// had the agent work, or whichever takes up a message that a phone queued.
    pub(super) fn watch_floor(&mut self, method: &str, params: &Value) {
        let Some(thread) = id_of(params) else { return };
        let turn = match method {
            "turn/completed" => {
                self.caused.remove(thread);
                None
            }
            "turn/started" if self.caused.remove(thread) => params.pointer("/turn/id"),
            "item/started" | "item/completed" if self.was_queued(params.get("item")) => params.get("turnId"),
            _ => None,
        };
        let Some(turn) = turn.and_then(Value::as_str) else { return };
        let Err(looser) = self.permits_work_on(thread) else { return };
        tracing::warn!(%looser, thread, "a turn that a phone caused is interrupted");
        let (app_server, interrupt) = (self.app_server.clone(), json!({ "threadId": thread, "turnId": turn }));
        tokio::spawn(async move {
            if let Err(error) = app_server.request("turn/interrupt", interrupt).await {
                tracing::error!(%error, "a turn looser than the floor goes on");
            }
        });
    }

    /// Whether an item is a message that a phone queued; it is taken up once.
    fn was_queued(&mut self, item: Option<&Value>) -> bool {
        let message = item.and_then(|item| item.get("clientId")?.as_str());
        let at = message.and_then(|message| self.queued.iter().position(|queued| queued == message));
        at.and_then(|at| self.queued.remove(at)).is_some()
    }
}
