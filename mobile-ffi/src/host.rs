//! A paired host: the calls a person's acts become, and what there is to look at.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use farhelm_phone as phone;
use farhelm_phone::codex::thread::{Summary, Thread, TurnStatus};

use crate::error::{CallError, DecideError};
use crate::listener::{Event, EventListener, TaskHandle, listen};
use crate::records::{
    About, Approval, Connection, ConnectionPath, Decision, Question, ThreadDetail, ThreadSummary, approval_id,
};
use crate::runtime::Runtime;

/// A handle on one host. Every call waits for a connection and for its answer, together for a minute at most.
#[derive(uniffi::Object)]
pub struct Host {
    inner: phone::Host,
    runtime: Runtime,
}

/// A thread that was started with its first turn.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct Started {
    /// Thread id.
    pub thread: String,
    /// Id of the turn that runs.
    pub turn: String,
}

/// Threads, newest first.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct ThreadPage {
    /// The rows.
    pub threads: Vec<ThreadSummary>,
    /// The cursor for the next page; none if this is the last.
    pub next: Option<String>,
}

impl From<phone::Started> for Started {
    fn from(phone::Started { thread, turn }: phone::Started) -> Self {
        Self { thread, turn }
    }
}

impl From<phone::Page<Summary>> for ThreadPage {
    fn from(page: phone::Page<Summary>) -> Self {
        Self { threads: page.rows.into_iter().map(Into::into).collect(), next: page.next }
    }
}

/// A thread that stays up to date, until this is dropped.
#[derive(uniffi::Object)]
pub struct ThreadWatch {
    watch: phone::ThreadWatch,
    runtime: Runtime,
}

#[uniffi::export]
impl ThreadWatch {
    /// The thread as it stands.
    pub fn current(&self) -> ThreadDetail {
        self.watch.borrow().clone().into()
    }

    /// Waits until the turn is over, and gives the thread as it stands then.
    pub async fn ended(&self, turn: String) -> Result<ThreadDetail, CallError> {
        let mut watch = self.watch.clone();
        let over = move |thread: &Thread| thread.turn(&turn).is_some_and(|t| t.status != TurnStatus::InProgress);
        self.runtime.run(async move { Ok(watch.wait_for(over).await?.into()) }).await
    }
}

impl Host {
    pub(crate) fn new(inner: phone::Host, runtime: Runtime) -> Arc<Self> {
        Arc::new(Self { inner, runtime })
    }

    /// Runs a call on our threads.
    pub(crate) async fn call<T, E, F>(&self, call: impl FnOnce(phone::Host) -> F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<crate::runtime::Broken> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.runtime.run(call(self.inner.clone())).await
    }

    /// What we hold under the name of what was shown, if it is that to the last letter.
    fn held(&self, shown: &Approval) -> Result<phone::codex::approval::Approval, DecideError> {
        let approvals = self.inner.approvals();
        let open = approvals.borrow();
        let named = open.iter().find(|approval| approval_id(&approval.key) == shown.id);
        let named = named.ok_or(phone::DecideError::Over { outcome: None, by: None })?;
        match Approval::from(named) == *shown {
            true => Ok(named.clone()),
            false => Err(phone::DecideError::NotWhatIsShown.into()),
        }
    }

    /// The same for a question.
    fn asked(&self, shown: &Question) -> Result<phone::codex::question::Question, DecideError> {
        let questions = self.inner.questions();
        let open = questions.borrow();
        let named = open.iter().find(|question| approval_id(&question.key) == shown.id);
        let named = named.ok_or(phone::DecideError::Over { outcome: None, by: None })?;
        match Question::from(named) == *shown {
            true => Ok(named.clone()),
            false => Err(phone::DecideError::NotWhatIsShown.into()),
        }
    }
}

#[uniffi::export]
impl Host {
    /// Its id, which is also its peer id.
    pub fn id(&self) -> String {
        self.inner.id().to_string()
    }

    /// How it stands with the connection.
    pub fn connection(&self) -> Connection {
        self.inner.state().borrow().clone().into()
    }

    /// Waits until it is live; after `patience`, says why it isn't.
    pub async fn live(&self, patience: Duration) -> Result<ConnectionPath, CallError> {
        self.call(async move |host| Ok(host.live(patience).await?.into())).await
    }

    /// What the host last said of itself; none before the first connection.
    pub fn about(&self) -> Option<About> {
        self.inner.about().borrow().clone().map(About::from)
    }

    /// The approvals that are open, oldest first. While the host is away: as they were.
    pub fn approvals(&self) -> Vec<Approval> {
        self.inner.approvals().borrow().iter().map(Approval::from).collect()
    }

    /// The questions that are open, oldest first. While the host is away: as they were.
    pub fn questions(&self) -> Vec<Question> {
        self.inner.questions().borrow().iter().map(Question::from).collect()
    }

    /// Threads, newest first: `limit` (1 to 100) of them from `cursor` on.
    pub async fn threads(&self, limit: u32, cursor: Option<String>) -> Result<ThreadPage, CallError> {
        let query = phone::ThreadQuery { cursor, ..phone::ThreadQuery::newest(limit) };
        self.call(async move |host| Ok(host.threads(query).await?.into())).await
    }

    /// A thread with its newest turns. It isn't loaded by looking at it.
    pub async fn thread(&self, id: String) -> Result<ThreadDetail, CallError> {
        self.call(async move |host| Ok(host.thread(&id).await?.into())).await
    }

    /// Starts a thread in the host's folder, under the host's rules, with a first message.
    pub async fn start(&self, prompt: String) -> Result<Started, CallError> {
        self.call(async move |host| Ok(host.start(&prompt).await?.into())).await
    }

    /// Sends a message to a thread: a new turn, or into the one that runs. Gives the turn's id.
    pub async fn send(&self, thread: String, text: String) -> Result<String, CallError> {
        self.call(async move |host| Ok(host.send(&thread, &text).await?)).await
    }

    /// Follows a thread: returns when the host has shown it whole. While somebody does, listeners hear when its turns
    /// end.
    pub async fn watch(&self, thread: String) -> Result<Arc<ThreadWatch>, CallError> {
        let watch = self.call(async move |host| Ok::<_, CallError>(host.watch(&thread).await?)).await?;
        Ok(Arc::new(ThreadWatch { watch, runtime: self.runtime.clone() }))
    }

    /// Decides on exactly the approval that was on the screen, and waits for the host's word. The record is given back
    /// as it came: if the host shows anything else by now, nothing is decided.
    pub async fn decide(&self, shown: Approval, decision: Decision) -> Result<(), DecideError> {
        let held = self.held(&shown)?;
        self.call(async move |host| Ok(host.decide(&held, decision.into()).await?)).await
    }

    /// The same, where the app has made sure of the device's owner again for this decision (fingerprint, face, code). It
    /// is signed, so don't call it otherwise.
    pub async fn decide_stepped_up(&self, shown: Approval, decision: Decision) -> Result<(), DecideError> {
        let held = self.held(&shown)?;
        self.call(async move |host| Ok(host.decide_stepped_up(&held, decision.into()).await?)).await
    }

    /// Answers exactly the question that was on the screen, each of its parts by id with labels of its options or, where
    /// it takes them, with words; and waits for the host's word. The record is given back as it came. Needs operator.
    pub async fn answer(&self, shown: Question, answers: HashMap<String, Vec<String>>) -> Result<(), DecideError> {
        let held = self.asked(&shown)?;
        self.call(async move |host| Ok(host.answer(&held, answers.into_iter().collect()).await?)).await
    }

    /// Calls the listener until the handle goes: first how things are (the connection, each open approval and question), then what
    /// happens. What happens just then may come twice; approvals are told apart by their id.
    pub fn subscribe(&self, listener: Arc<dyn EventListener>) -> Result<Arc<TaskHandle>, CallError> {
        let events = self.inner.events();
        let mut now = vec![Event::Connection { connection: self.connection() }];
        now.extend(self.about().map(|about| Event::About { about }));
        now.extend(self.approvals().into_iter().map(|approval| Event::Approval { approval }));
        now.extend(self.questions().into_iter().map(|question| Event::Question { question }));
        listen(&self.runtime, now, events, listener).ok_or(CallError::Internal)
    }
}
