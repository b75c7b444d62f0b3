//! What happens at a host, told to the app.
//!
//! The queue in between is the client's, and bounded: a listener that is slower than what happens loses the oldest,
//! and is told how many. It is called on a thread of its own at a time, so that it may take its time without holding
//! up the network.

use std::sync::Arc;

use farhelm_phone as phone;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::records::{About, Approval, Connection, Outcome, Question, RecordBroken, TurnStatus, approval_id};
use crate::runtime::{CancelOnDrop, Runtime};

/// Something a person may want to know.
#[expect(clippy::large_enum_variant, reason = "it is serialized at once; a box would buy nothing")]
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum Event {
    /// The connection changed.
    Connection {
        /// To what.
        connection: Connection,
    },
    /// The host says what it is and how it stands with Codex.
    About {
        /// What it says.
        about: About,
    },
    /// Somebody has to decide.
    Approval {
        /// On what.
        approval: Approval,
    },
    /// Somebody has to answer.
    Question {
        /// What.
        question: Question,
    },
    /// An approval or a question is over.
    ApprovalOver {
        /// Which.
        id: String,
        /// Its thread, if it was known here.
        thread: Option<String>,
        /// How it ended; none if it ended while this phone wasn't connected.
        outcome: Option<Outcome>,
        /// The id of the device that decided, if one did.
        by: Option<String>,
    },
    /// The host's record of what phones had done isn't what it was: tell the person, who should look at the desk.
    RecordBroken {
        /// How.
        broken: RecordBroken,
    },
    /// A turn is over, in a thread that somebody here follows ([`crate::Host::watch`]).
    TurnCompleted {
        /// Its thread.
        thread: String,
        /// The turn.
        turn: String,
        /// How it ended.
        status: TurnStatus,
    },
    /// The listener was too slow: so many events were lost. The host's connection and approvals say how things are.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The listener failed. It is called again with the next event all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum ListenerError {
    /// It threw something.
    #[error("{reason}")]
    Failed {
        /// What.
        reason: String,
    },
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ListenerError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Failed { reason: error.reason }
    }
}

/// The app's ear. Called with one event at a time, in order, never on the app's main thread.
#[uniffi::export(with_foreign)]
pub trait EventListener: Send + Sync {
    /// Something happened. Whatever is thrown here is dropped.
    fn on_event(&self, event: Event) -> Result<(), ListenerError>;
}

/// A listening. Dropping or cancelling it ends it; a call that is under way finishes, and none follows.
#[derive(uniffi::Object)]
pub struct TaskHandle(CancelOnDrop);

#[uniffi::export]
impl TaskHandle {
    /// Ends it now, in languages that drop things when they like.
    pub fn cancel(&self) {
        self.0.0.abort();
    }
}

/// Tells the listener first how things are (`now`), then what happens.
pub(crate) fn listen(
    runtime: &Runtime,
    now: Vec<Event>,
    events: Receiver<phone::Event>,
    listener: Arc<dyn EventListener>,
) -> Option<Arc<TaskHandle>> {
    let task = runtime.spawn(tell(now, events, listener))?;
    Some(Arc::new(TaskHandle(CancelOnDrop(task.abort_handle()))))
}

async fn tell(now: Vec<Event>, mut events: Receiver<phone::Event>, listener: Arc<dyn EventListener>) {
    for event in now {
        call(&listener, event).await;
    }
    loop {
        let event = match events.recv().await {
            Ok(event) => Event::of(event),
            Err(RecvError::Lagged(count)) => Some(Event::Missed { count }),
            Err(RecvError::Closed) => return,
        };
        if let Some(event) = event {
            call(&listener, event).await;
        }
    }
}

/// On a thread that may block. A listener that fails, or panics, misses this event only.
async fn call(listener: &Arc<dyn EventListener>, event: Event) {
    let listener = listener.clone();
    let _ = tokio::task::spawn_blocking(move || listener.on_event(event)).await;
}

impl Event {
    /// None for what this version has no word for yet.
    fn of(event: phone::Event) -> Option<Self> {
        use phone::Event as E;
        Some(match event {
            E::Connection(connection) => Self::Connection { connection: connection.into() },
            E::Host(state) => Self::About { about: state.into() },
            E::Approval(approval) => Self::Approval { approval: Approval::from(&approval) },
            E::Question(question) => Self::Question { question: Question::from(&question) },
            E::Resolved { key, thread, outcome, by } => {
                let by = by.map(|device| device.to_string());
                Self::ApprovalOver { id: approval_id(&key), thread, outcome: Some(outcome.into()), by }
            }
            E::Gone { key, thread } => {
                Self::ApprovalOver { id: approval_id(&key), thread: Some(thread), outcome: None, by: None }
            }
            E::RecordBroken(broken) => Self::RecordBroken { broken: broken.into() },
            E::TurnCompleted { thread, turn, status } => Self::TurnCompleted { thread, turn, status: status.into() },
            _ => return None,
        })
    }
}
