//! What has the agent work, and what stops it.

use farhelm_core::codex::thread::{Status, Thread, Turn, TurnStatus};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::threads::{Paging, with};
use super::{Host, id_in};
use crate::error::{Error, PATIENCE};
use crate::message::{Message, StartOptions};
use crate::results::{Terminal, rows};

/// A thread that was started with its first turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// Thread id.
    pub thread: String,
    /// Id of the turn that runs.
    pub turn: String,
}

/// What a review looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewTarget {
    /// What isn't committed.
    Uncommitted,
    /// What a branch would change in this one's base.
    BaseBranch {
        /// The branch to compare with.
        branch: String,
    },
    /// One commit.
    Commit {
        /// Its hash.
        sha: String,
    },
    /// Whatever the words ask for.
    Custom {
        /// In a person's words; at most 256 KiB.
        instructions: String,
    },
}

impl ReviewTarget {
    fn params(&self) -> Value {
        match self {
            Self::Uncommitted => json!({"type": "uncommittedChanges"}),
            Self::BaseBranch { branch } => json!({"type": "baseBranch", "branch": branch}),
            Self::Commit { sha } => json!({"type": "commit", "sha": sha}),
            Self::Custom { instructions } => json!({"type": "custom", "instructions": instructions}),
        }
    }
}

impl Host {
    /// Starts a thread with a first message, under the host's rules. Needs operator, and a folder that the host offers:
    /// another is [`Error::NotStartable`], before anything is sent. Codex makes the thread first and then its turn; if
    /// the second fails, the empty thread stays.
    pub async fn start(&self, options: impl Into<StartOptions>) -> Result<Started, Error> {
        let StartOptions { message, folder } = options.into();
        message.input()?;
        if let Some(folder) = &folder {
            self.check_folder(folder).await?;
        }
        let params = with(with(json!({}), "cwd", folder), "model", message.model.clone());
        let result = self.call("thread/start", params).await?;
        let thread = id_in(&result, "thread")?;
        let turn = self.start_turn(&thread, message).await?;
        Ok(Started { thread, turn })
    }

    /// Sends a message to a thread: a new turn, or into the one that runs. Gives the turn's id. Needs operator. Codex
    /// loads the thread if it isn't; a model or an effort in the message holds for later turns too.
    pub async fn send(&self, thread: &str, message: impl Into<Message>) -> Result<String, Error> {
        let message = message.into();
        message.input()?;
        self.load(thread).await?;
        self.start_turn(thread, message).await
    }

    /// Sends a message into a turn that runs; the answer being written is cut short. Needs operator.
    /// [`Error::NoSuchTurn`] if that turn is over or another runs; then nothing is sent.
    pub async fn steer(&self, thread: &str, turn: &str, message: impl Into<Message>) -> Result<(), Error> {
        let input = message.into().plain_input()?;
        let params = json!({"threadId": thread, "input": input, "expectedTurnId": turn});
        let steered = self.call("turn/steer", with(params, "clientUserMessageId", Some(client_id()))).await;
        steered.map(drop).map_err(no_such_turn)
    }

    /// While a turn runs Codex takes this as a message into it and answers with that turn's id.
    async fn start_turn(&self, thread: &str, message: Message) -> Result<String, Error> {
        let params = json!({"threadId": thread, "input": message.input()?, "clientUserMessageId": client_id()});
        let params = with(with(params, "model", message.model), "effort", message.effort);
        let result = self.call("turn/start", params).await?;
        id_in(&result, "turn")
    }

    /// Interrupts the turn that runs and gives its id. Needs operator. [`Error::NoSuchTurn`] if none runs. Codex may
    /// leave a command it started running: [`background_terminals`](Self::background_terminals).
    pub async fn interrupt(&self, thread: &str) -> Result<String, Error> {
        let paging = Paging { limit: Some(1), ..Paging::default() };
        let page = self.history(thread, paging).await?;
        let runs = |turn: &Turn| turn.status == TurnStatus::InProgress;
        let turn = page.rows.into_iter().next().filter(runs).ok_or(Error::NoSuchTurn)?.id;
        let params = json!({"threadId": thread, "turnId": turn});
        self.call("turn/interrupt", params).await.map_err(no_such_turn)?;
        Ok(turn)
    }

    /// The commands that a thread's turns left running; none of a thread that isn't loaded, as they end with it. Needs
    /// viewer; changes nothing.
    pub async fn background_terminals(&self, thread: &str) -> Result<Vec<Terminal>, Error> {
        if !self.is_loaded(thread).await? {
            return Ok(Vec::new());
        }
        let result = self.call("thread/backgroundTerminals/list", json!({"threadId": thread})).await?;
        Ok(rows(&result, Terminal::read))
    }

    /// Ends one of them; false if it had ended before. Needs operator.
    pub async fn terminate(&self, thread: &str, process: &str) -> Result<bool, Error> {
        if !self.is_loaded(thread).await? {
            return Ok(false);
        }
        let params = json!({"threadId": thread, "processId": process});
        let result = self.call("thread/backgroundTerminals/terminate", params).await?;
        result.get("terminated").and_then(Value::as_bool).ok_or(Error::Unreadable("no word on the command"))
    }

    /// Ends all of them. Needs operator.
    pub async fn clean(&self, thread: &str) -> Result<(), Error> {
        if !self.is_loaded(thread).await? {
            return Ok(());
        }
        self.call("thread/backgroundTerminals/clean", json!({"threadId": thread})).await.map(drop)
    }

    /// Has the agent review changes, as a turn of this thread; gives the turn's id. Needs operator. Codex loads the
    /// thread if it isn't.
    pub async fn review(&self, thread: &str, target: &ReviewTarget) -> Result<String, Error> {
        if let ReviewTarget::Custom { instructions } = target {
            Message::from(instructions.as_str()).input()?;
        }
        self.load(thread).await?;
        let result = self.call("review/start", json!({"threadId": thread, "target": target.params()})).await?;
        id_in(&result, "turn")
    }

    /// Has the agent sum up the thread so far, so that more fits: a turn of its own. Needs operator. Codex loads the
    /// thread if it isn't.
    pub async fn compact(&self, thread: &str) -> Result<(), Error> {
        self.load(thread).await?;
        self.call("thread/compact/start", json!({"threadId": thread})).await.map(drop)
    }

    /// Has Codex load a thread that is on disk only; most of what works on one takes no other.
    pub(super) async fn load(&self, thread: &str) -> Result<(), Error> {
        if !self.is_loaded(thread).await? {
            self.call("thread/resume", json!({"threadId": thread})).await?;
        }
        Ok(())
    }

    async fn is_loaded(&self, thread: &str) -> Result<bool, Error> {
        let result = self.call("thread/read", json!({"threadId": thread})).await?;
        let read = Thread::from_read(&result).map_err(|_| Error::Unreadable("no thread"))?;
        Ok(read.status != Status::NotLoaded)
    }

    /// The host would refuse it too; here the person is told what there is instead.
    async fn check_folder(&self, folder: &str) -> Result<(), Error> {
        let mut about = self.about();
        let known = timeout(PATIENCE, about.wait_for(Option::is_some)).await.map_err(|_| Error::NotConnected)?;
        let known = known.map_err(|_| Error::Stopped)?;
        let offered = known.as_ref().map_or(&[][..], |about| &about.start_folders);
        if offered.iter().any(|offered| offered == folder) {
            return Ok(());
        }
        Err(Error::NotStartable { folder: folder.to_owned(), offered: offered.to_vec() })
    }
}

/// By this id the message is found again in the thread.
pub(super) fn client_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Codex has no code for it, so its words are read; in any others it stays an error of Codex's.
fn no_such_turn(error: Error) -> Error {
    const WORDS: [&str; 2] = ["no active turn", "expected active turn id"];
    match error {
        Error::Codex(said) if WORDS.iter().any(|words| said.contains(words)) => Error::NoSuchTurn,
        other => other,
    }
}
