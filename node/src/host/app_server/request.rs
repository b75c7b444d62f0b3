//! What becomes of a request, and of an answer of ours: the errors say whether the app-server may have acted.

use std::time::Duration;

use farhelm_core::codex::message::{self, Id, RpcError};
use farhelm_core::wire::limits::APP_SERVER_MESSAGE;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection::{Client, Ended, Fate};
use crate::host::backoff::Backoff;

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no connection. Nothing was sent.
    #[error("Codex is away; try again when it is back")]
    Away,
    /// Too much is in flight already. Nothing was sent.
    #[error("too many requests wait for Codex; try again")]
    Busy,
    /// Larger than Codex takes. Nothing was sent.
    #[error("a request of {0} bytes is more than Codex takes; send less")]
    TooLarge(usize),
    /// The connection ended after it was sent: the outcome is unknown.
    #[error("the connection to Codex ended before it answered; look whether it was done")]
    Lost,
    /// No answer came in time: the outcome is unknown.
    #[error("Codex didn't answer in time; look whether it was done")]
    Timeout,
    /// The thread is open in another app-server, which alone may write to it.
    #[error("this conversation is open in another Codex; close it there")]
    HeldElsewhere,
    /// There is no such thread, or an auxiliary one that can't be resumed: it is to be skipped.
    #[error("there is no such conversation to resume")]
    NoRollout,
    /// Codex refused.
    #[error("Codex refused: {0}")]
    Codex(#[source] RpcError),
}

impl RequestError {
    /// Whether Codex may have acted although there is no result.
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::Lost | Self::Timeout)
    }
}

impl From<RpcError> for RequestError {
    fn from(error: RpcError) -> Self {
        let says = |text| error.code == RpcError::INVALID_REQUEST && error.message.contains(text);
        if says("already has an active writer") {
            Self::HeldElsewhere
        } else if says("no rollout found") {
            Self::NoRollout
        } else {
            Self::Codex(error)
        }
    }
}

/// Why an answer of ours didn't reach the app-server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// There is no connection, or one to another process than the one that asked. Nothing was sent.
    #[error("Codex no longer waits for this answer; look whether it asks again")]
    Stale,
    /// The connection ended or stalled while it was written: the outcome is unknown.
    #[error("the connection to Codex ended while it was answered; look whether it asks again")]
    Lost,
    /// Larger than Codex takes. Nothing was sent.
    #[error("an answer of {0} bytes is more than Codex takes")]
    TooLarge(usize),
}

/// Asks; a read that Codex is too busy for is asked again, all within `patience`.
pub(super) async fn with_retries(
    client: &Client,
    patience: Duration,
    method: &str,
    params: Value,
) -> Result<Value, RequestError> {
    let deadline = Instant::now() + patience;
    let mut backoff = Backoff::between(BUSY_FIRST, BUSY_LAST);
    for _ in 0..RETRIES {
        match client.request(deadline, method, &params).await {
            Err(RequestError::Codex(RpcError { code: RpcError::OVERLOADED, .. })) if is_read(method) => {}
            outcome => return outcome,
        }
        let wait = backoff.wait();
        tracing::debug!(method, ?wait, "Codex is overloaded");
        timeout_at(deadline, sleep(wait)).await.map_err(|_| RequestError::Busy)?;
    }
    client.request(deadline, method, &params).await
}

/// Whether a method only reads, by its name: of all 0.169.0 has, `…/list` and `…/read` change nothing.
fn is_read(method: &str) -> bool {
    matches!(method.rsplit_once('/'), Some((_, "list" | "read")))
}

impl Client {
    async fn request(&self, deadline: Instant, method: &str, params: &Value) -> Result<Value, RequestError> {
        let slot = timeout_at(deadline, self.slots().acquire()).await.map_err(|_| RequestError::Busy)?;
        let _slot = slot.map_err(|_| RequestError::Away)?;
        let number = self.number();
        let text = message::request(number.id, method, params);
        if text.len() > APP_SERVER_MESSAGE {
            return Err(RequestError::TooLarge(text.len()));
        }
        let left = timeout_at(deadline, self.send(number.id, text)).await.map_err(|_| RequestError::Busy)?;
        let fate = left.map_err(|Ended| RequestError::Away)?;
        match timeout_at(deadline, fate).await.map_err(|_| RequestError::Timeout)? {
            Ok(Fate::Answered(outcome)) => outcome.map_err(RequestError::from),
            Ok(Fate::NotSent) => Err(RequestError::Away),
            Err(_) => Err(RequestError::Lost),
        }
    }

    /// Answers the request of this number.
    pub(super) async fn reply(&self, request: i64, outcome: Result<Value, RpcError>) -> Result<(), ReplyError> {
        let id = Id::Number(request);
        let text = match &outcome {
            Ok(result) => message::response(&id, result),
            Err(error) => message::error(&id, error.code, &error.message),
        };
        if text.len() > APP_SERVER_MESSAGE {
            return Err(ReplyError::TooLarge(text.len()));
        }
        timeout(REPLYING, self.answer(text)).await.unwrap_or(Err(Ended)).map_err(|Ended| ReplyError::Lost)
    }
}

/// How often a read is asked again, and how soon.
const RETRIES: usize = 4;
const BUSY_FIRST: Duration = Duration::from_millis(50);
const BUSY_LAST: Duration = Duration::from_secs(1);

/// Until an answer has been handed to the socket; the connection gives up earlier.
const REPLYING: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: i64, message: &str) -> RequestError {
        RpcError { code, message: message.into(), data: None }.into()
    }

    #[test]
    fn a_thread_that_another_server_writes_is_held_elsewhere() {
        assert_eq!(refused(-32600, "thread 0199 already has an active writer"), RequestError::HeldElsewhere);
    }

    #[test]
    fn a_thread_without_a_rollout_is_told_apart() {
        assert_eq!(refused(-32600, "no rollout found for thread id 0199"), RequestError::NoRollout);
    }

    #[test]
    fn other_refusals_keep_their_words() {
        let error = refused(-32603, "thread already has an active writer");
        assert!(matches!(error, RequestError::Codex(RpcError { code: -32603, .. })));
        assert!(!error.outcome_is_unknown());
    }

    #[test]
    fn only_reads_are_asked_again() {
        assert!(["thread/list", "thread/read", "thread/loaded/list", "model/list"].into_iter().all(is_read));
        assert!(!["turn/start", "thread/resume", "thread/name/set", "list", "read"].into_iter().any(is_read));
    }
}
