//! Models, efforts, and what is used of an account's limits.

use farhelm_core::codex::thread::Thread;
use serde_json::{Value, json};

use super::{Host, threads};
use crate::error::Error;
use crate::results::{AccountUsage, Model, RateLimits, Settings, Usage, rows, text};

/// Pages of models that are read.
const PAGES: usize = 10;

impl Host {
    /// The models that can be chosen, in Codex's order. Needs viewer; changes nothing.
    pub async fn models(&self) -> Result<Vec<Model>, Error> {
        let mut models = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES {
            let result = self.call("model/list", threads::with(json!({"limit": 100}), "cursor", cursor)).await?;
            models.extend(rows(&result, Model::read));
            cursor = text(&result, "nextCursor");
            if cursor.is_none() {
                break;
            }
        }
        Ok(models)
    }

    /// Chooses the model of a thread's later turns; gives what is in effect. Needs operator. Codex loads the thread if
    /// it isn't, and takes any name: one that isn't among [`models`](Self::models) fails the next turn.
    pub async fn set_model(&self, thread: &str, model: &str) -> Result<Settings, Error> {
        self.set(thread, "model", model).await
    }

    /// Chooses the reasoning effort of a thread's later turns; gives what is in effect. Needs operator. Codex loads the
    /// thread if it isn't, and takes any word.
    pub async fn set_effort(&self, thread: &str, effort: &str) -> Result<Settings, Error> {
        self.set(thread, "effort", effort).await
    }

    /// The answer to the change says nothing; the thread, read afterwards, says what holds.
    async fn set(&self, thread: &str, name: &str, value: &str) -> Result<Settings, Error> {
        self.load(thread).await?;
        let params = threads::with(json!({"threadId": thread}), name, Some(value));
        self.call("thread/settings/update", params).await?;
        let result = self.call("thread/read", json!({"threadId": thread})).await?;
        let Thread { model, effort, .. } = Thread::from_read(&result).map_err(|_| Error::Unreadable("no thread"))?;
        Ok(Settings { model, effort })
    }

    /// What the account at the host has used. Needs operator; changes nothing. Without an account both halves are
    /// Codex's words why not. What a thread has used is told with the thread.
    pub async fn usage(&self) -> Result<Usage, Error> {
        Ok(Usage {
            limits: self.known("account/rateLimits/read", RateLimits::read).await?,
            account: self.known("account/usage/read", AccountUsage::read).await?,
        })
    }

    /// What Codex knows, or its words why it doesn't.
    async fn known<T>(
        &self,
        method: &'static str,
        read: impl Fn(&Value) -> Result<T, Error>,
    ) -> Result<Result<T, String>, Error> {
        match self.call(method, json!({})).await {
            Ok(result) => read(&result).map(Ok),
            Err(Error::Codex(said)) => Ok(Err(said)),
            Err(other) => Err(other),
        }
    }
}
