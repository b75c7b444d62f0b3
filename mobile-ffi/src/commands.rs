//! The rest of what a phone may do at a host. Which right each call needs is said with it; a phone without it gets
//! [`CallError::Policy`], and so does one that asks for a thread outside its folders.

use farhelm_phone as phone;
use farhelm_phone::{Order, Paging, StartOptions};

use crate::error::CallError;
use crate::host::{Host, Started, ThreadPage};
use crate::records::{
    BackgroundTerminal, HistoryPage, ItemPage, ModelChoice, OutgoingMessage, QueuedMessage, ReviewTarget, SearchPage,
    ThreadFilter, ThreadGoal, ThreadImage, ThreadSettings, Usage,
};

fn paging(cursor: Option<String>, limit: u32, oldest_first: bool) -> Paging {
    let order = if oldest_first { Order::OldestFirst } else { Order::NewestFirst };
    Paging { order, limit: Some(limit), cursor }
}

fn message(message: OutgoingMessage) -> Result<phone::Message, CallError> {
    message.try_into().map_err(|error: phone::AttachmentError| CallError::BadInput(error.to_string()))
}

fn all<T, R: From<T>>(rows: Vec<T>) -> Vec<R> {
    rows.into_iter().map(Into::into).collect()
}

#[uniffi::export]
impl Host {
    /// Threads that fit, those that changed last first. Needs viewer.
    pub async fn find_threads(&self, filter: ThreadFilter) -> Result<ThreadPage, CallError> {
        self.call(async move |host| Ok(host.threads(filter.into()).await?.into())).await
    }

    /// Threads in whose messages the text stands, those that changed last first. Needs viewer.
    pub async fn search(&self, text: String, cursor: Option<String>) -> Result<SearchPage, CallError> {
        self.call(async move |host| Ok(host.search(&text, cursor.as_deref()).await?.into())).await
    }

    /// A page of a thread's whole history: at most `limit` (1 to 100) turns with their items. Needs viewer.
    pub async fn history(
        &self,
        thread: String,
        cursor: Option<String>,
        limit: u32,
        oldest_first: bool,
    ) -> Result<HistoryPage, CallError> {
        let paging = paging(cursor, limit, oldest_first);
        self.call(async move |host| Ok(host.history(&thread, paging).await?.into())).await
    }

    /// A page of a thread's items, of one turn or of all: at most `limit` (1 to 100). Needs viewer.
    pub async fn items(
        &self,
        thread: String,
        turn: Option<String>,
        cursor: Option<String>,
        limit: u32,
        oldest_first: bool,
    ) -> Result<ItemPage, CallError> {
        let paging = paging(cursor, limit, oldest_first);
        self.call(async move |host| Ok(host.items(&thread, turn.as_deref(), paging).await?.into())).await
    }

    /// Starts a thread with a message, in one of the folders that the host offers. Needs operator.
    pub async fn start_with(&self, first: OutgoingMessage, folder: Option<String>) -> Result<Started, CallError> {
        let options = StartOptions { message: message(first)?, folder };
        self.call(async move |host| Ok(host.start(options).await?.into())).await
    }

    /// Sends a message to a thread, as `send` does. Gives the turn's id. Needs operator.
    pub async fn send_with(&self, thread: String, next: OutgoingMessage) -> Result<String, CallError> {
        let next = message(next)?;
        self.call(async move |host| Ok(host.send(&thread, next).await?)).await
    }

    /// Sends a message into a turn that runs; `NoSuchTurn` if it is over. Needs operator.
    pub async fn steer(&self, thread: String, turn: String, further: OutgoingMessage) -> Result<(), CallError> {
        let further = message(further)?;
        self.call(async move |host| Ok(host.steer(&thread, &turn, further).await?)).await
    }

    /// Interrupts the turn that runs and gives its id; `NoSuchTurn` if none runs. Codex may leave a command running.
    /// Needs operator.
    pub async fn interrupt(&self, thread: String) -> Result<String, CallError> {
        self.call(async move |host| Ok(host.interrupt(&thread).await?)).await
    }

    /// The commands that a thread's turns left running. Needs viewer.
    pub async fn background_terminals(&self, thread: String) -> Result<Vec<BackgroundTerminal>, CallError> {
        self.call(async move |host| Ok(all(host.background_terminals(&thread).await?))).await
    }

    /// Ends one of them; false if it had ended before. Needs operator.
    pub async fn terminate(&self, thread: String, process: String) -> Result<bool, CallError> {
        self.call(async move |host| Ok(host.terminate(&thread, &process).await?)).await
    }

    /// Ends all of them. Needs operator.
    pub async fn clean(&self, thread: String) -> Result<(), CallError> {
        self.call(async move |host| Ok(host.clean(&thread).await?)).await
    }

    /// What waits for the turn before it to end, the next first. Needs viewer.
    pub async fn queue(&self, thread: String) -> Result<Vec<QueuedMessage>, CallError> {
        self.call(async move |host| Ok(all(host.queue(&thread).await?))).await
    }

    /// Queues a message; if the thread is idle its turn starts. Needs operator.
    pub async fn queue_add(&self, thread: String, next: OutgoingMessage) -> Result<QueuedMessage, CallError> {
        let next = message(next)?;
        self.call(async move |host| Ok(host.queue_add(&thread, next).await?.into())).await
    }

    /// Takes a message out of the queue; false if it wasn't there (any more). Needs operator.
    pub async fn queue_delete(&self, thread: String, id: String) -> Result<bool, CallError> {
        self.call(async move |host| Ok(host.queue_delete(&thread, &id).await?)).await
    }

    /// Puts the queue in another order: the ids of all that wait. Needs operator.
    pub async fn queue_reorder(&self, thread: String, ids: Vec<String>) -> Result<(), CallError> {
        self.call(async move |host| Ok(host.queue_reorder(&thread, &ids).await?)).await
    }

    /// Starts the turn of a queued message now, of the next if none is named; gives the turn's id. Needs operator.
    pub async fn queue_start(&self, thread: String, id: Option<String>) -> Result<String, CallError> {
        self.call(async move |host| Ok(host.queue_start(&thread, id.as_deref()).await?)).await
    }

    /// The models that can be chosen. Needs viewer.
    pub async fn models(&self) -> Result<Vec<ModelChoice>, CallError> {
        self.call(async move |host| Ok(all(host.models().await?))).await
    }

    /// Chooses the model of a thread's later turns; gives what is in effect. Needs operator.
    pub async fn set_model(&self, thread: String, model: String) -> Result<ThreadSettings, CallError> {
        self.call(async move |host| Ok(host.set_model(&thread, &model).await?.into())).await
    }

    /// Chooses the reasoning effort of a thread's later turns; gives what is in effect. Needs operator.
    pub async fn set_effort(&self, thread: String, effort: String) -> Result<ThreadSettings, CallError> {
        self.call(async move |host| Ok(host.set_effort(&thread, &effort).await?.into())).await
    }

    /// Has the agent review changes as a turn of this thread; gives the turn's id. Needs operator.
    pub async fn review(&self, thread: String, target: ReviewTarget) -> Result<String, CallError> {
        self.call(async move |host| Ok(host.review(&thread, &target.into()).await?)).await
    }

    /// Has the agent sum up the thread so far, so that more fits. Needs operator.
    pub async fn compact(&self, thread: String) -> Result<(), CallError> {
        self.call(async move |host| Ok(host.compact(&thread).await?)).await
    }

    /// Gives a thread a title. Needs operator.
    pub async fn rename(&self, thread: String, name: String) -> Result<(), CallError> {
        self.call(async move |host| Ok(host.rename(&thread, &name).await?)).await
    }

    /// Puts a thread away; nothing is deleted. Needs operator.
    pub async fn archive(&self, thread: String) -> Result<(), CallError> {
        self.call(async move |host| Ok(host.archive(&thread).await?)).await
    }

    /// Takes a thread back from the archive. Needs operator.
    pub async fn unarchive(&self, thread: String) -> Result<(), CallError> {
        self.call(async move |host| Ok(host.unarchive(&thread).await?)).await
    }

    /// A new thread with the same history; gives its id. Needs operator.
    pub async fn fork(&self, thread: String) -> Result<String, CallError> {
        self.call(async move |host| Ok(host.fork(&thread).await?)).await
    }

    /// What a thread is after across its turns, if a goal was set at the desk. Needs viewer.
    pub async fn goal(&self, thread: String) -> Result<Option<ThreadGoal>, CallError> {
        self.call(async move |host| Ok(host.goal(&thread).await?.map(Into::into))).await
    }

    /// What the account at the host has used. Needs operator.
    pub async fn usage(&self) -> Result<Usage, CallError> {
        self.call(async move |host| Ok(host.usage().await?.into())).await
    }

    /// An image that an item of a thread holds, the first being 0. Needs viewer.
    pub async fn image(&self, thread: String, item: String, index: u32) -> Result<ThreadImage, CallError> {
        self.call(async move |host| Ok(host.image(&thread, &item, index).await?.into())).await
    }
}
