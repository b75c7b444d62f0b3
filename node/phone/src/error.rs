//! What a request to a host may end with. Each variant says whether something may have happened, and what to do next.

use std::time::Duration;

use farhelm_core::wire::limits;

use crate::connection::Why;
use crate::records;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host's policy doesn't let phones do this. Nothing happened.
    #[error("the host does not allow this from a phone: {0}; do it at the desk")]
    Policy(String),
    /// Codex answered with an error.
    #[error("Codex says: {0}")]
    Codex(String),
    /// Codex isn't there. Nothing happened.
    #[error("Codex is not running at the host: {0}; start it there, or wait and try again")]
    CodexAway(String),
    /// The connection or Codex died before the answer.
    #[error("the answer was lost: it may or may not have happened; look at the thread before you try again")]
    OutcomeUnknown,
    /// Too much is under way, here or at the host. Nothing happened.
    #[error("too much is under way; try again in a moment")]
    Busy,
    /// There was no connection all the while. Nothing was sent.
    #[error("the host was not reachable for {} s, nothing was sent; try again when it is", PATIENCE.as_secs())]
    NotConnected,
    /// This phone couldn't store it, so it was not sent.
    #[error("this phone can't store anything, so nothing was sent; free space on it, then try again")]
    NotStored,
    /// The host is away. Nothing was sent.
    #[error("{0}")]
    Away(Why),
    /// The host took the request and never answered. It would have changed nothing.
    #[error("the host gave no answer within {} s; try again", PATIENCE.as_secs())]
    NoAnswer,
    /// The host removed this phone.
    #[error("this phone was removed from the host; pair again with `farhelm pair` at the desk")]
    Removed {
        /// When, in Unix milliseconds by the host's clock.
        at_ms: u64,
    },
    /// The host was forgotten here, or the client was shut down.
    #[error("this phone has let the host go; connect to it again")]
    Stopped,
    /// The host sent something that isn't what was asked for.
    #[error("the host sent {0}; update the older of the two programs")]
    Unreadable(&'static str),
    /// A text that no host would take.
    #[error("the text is {length} bytes long, {limit} are allowed; shorten it")]
    TooLong {
        /// Its bytes.
        length: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A message with neither text nor image.
    #[error("the message is empty; say something")]
    Empty,
    /// More images than one message takes.
    #[error("{count} images are attached, {} are allowed; send them in several messages", limits::IMAGES)]
    TooManyImages {
        /// How many.
        count: usize,
    },
    /// A queued or steering message is worked on as its thread is set. Nothing was sent.
    #[error("model and effort can't be chosen with this message; set them for the thread")]
    NoChoiceOfModel,
    /// A folder in which this phone may not start threads. Nothing was sent.
    #[error("no thread can be started in {folder:?} from this phone; {}", offer(.offered))]
    NotStartable {
        /// The folder.
        folder: String,
        /// Those in which it may.
        offered: Vec<String>,
    },
    /// The turn isn't the one that runs, or none runs. Nothing happened.
    #[error("no such turn runs (any more); look at the thread, and send a new message")]
    NoSuchTurn,
    /// More threads are followed than one phone may.
    #[error("too many threads are followed at once; close one")]
    TooManyThreads,
    /// What this phone remembers.
    #[error(transparent)]
    Records(#[from] records::Error),
}

/// How long a call may wait, for a connection and for its answer together.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

fn offer(folders: &[String]) -> String {
    match folders {
        [] => "the host offers it none; ask its owner".into(),
        folders => format!("choose one of {}", folders.join(", ")),
    }
}
