//! Messages that wait: the next one starts when the turn before it has completed. After an interruption the queue waits
//! for [`Host::queue_start`] or the end of another turn.

use serde_json::{Value, json};

use super::turns::client_id;
use super::{Host, id_in, threads};
use crate::error::Error;
use crate::message::Message;
use crate::results::{Queued, rows, text};

/// Pages of a queue that are read, of 100 messages each; no person queues more.
const PAGES: usize = 10;

impl Host {
    /// What waits, the next first. Needs viewer; changes nothing.
    pub async fn queue(&self, thread: &str) -> Result<Vec<Queued>, Error> {
        let mut queue = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES {
            let params = threads::with(json!({"threadId": thread, "limit": 100}), "cursor", cursor);
            let result = self.call("thread/queue/list", params).await?;
            queue.extend(rows(&result, Queued::read));
            cursor = text(&result, "nextCursor");
            if cursor.is_none() {
                break;
            }
        }
        Ok(queue)
    }

    /// Queues a message behind the others; if the thread is idle its turn starts. Needs operator. It happens once:
    /// [`Error::OutcomeUnknown`] if the answer is lost; then look at the queue.
    pub async fn queue_add(&self, thread: &str, message: impl Into<Message>) -> Result<Queued, Error> {
        let input = message.into().plain_input()?;
        let params = json!({"threadId": thread, "input": input, "clientUserMessageId": client_id()});
        let result = self.call("thread/queue/add", params).await?;
        result.get("queuedSubmission").and_then(Queued::read).ok_or(Error::Unreadable("no queued message"))
    }

    /// Takes a message out of the queue; false if it wasn't there (any more). Needs operator.
    pub async fn queue_delete(&self, thread: &str, id: &str) -> Result<bool, Error> {
        let params = json!({"threadId": thread, "queuedSubmissionId": id});
        let result = self.call("thread/queue/delete", params).await?;
        result.get("deleted").and_then(Value::as_bool).ok_or(Error::Unreadable("no word on the queued message"))
    }

    /// Puts the queue in another order: the ids of all that wait, the next first. Needs operator.
    pub async fn queue_reorder(&self, thread: &str, ids: &[String]) -> Result<(), Error> {
        let params = json!({"threadId": thread, "queuedSubmissionIds": ids});
        self.call("thread/queue/reorder", params).await.map(drop)
    }

    /// Starts the turn of a queued message now, of the next one if none is named; gives the turn's id. Needs operator.
    /// While a turn runs Codex refuses ([`Error::Codex`]).
    pub async fn queue_start(&self, thread: &str, id: Option<&str>) -> Result<String, Error> {
        self.load(thread).await?;
        let params = threads::with(json!({"threadId": thread}), "queuedSubmissionId", id);
        let result = self.call("thread/queue/start", params).await?;
        id_in(&result, "turn")
    }
}
