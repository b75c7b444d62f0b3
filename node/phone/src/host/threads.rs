//! Looking at threads, and what changes one without the agent working.

use farhelm_core::codex::thread::{Hit, Page, Placed, Summary, Thread, Turn};
use farhelm_core::policy::is_within;
use serde_json::{Value, json};

use super::{Host, id_in};
use crate::error::Error;
use crate::results::Goal;

/// Turns asked for at a time.
const PAGE: u32 = 16;

/// Rows a page may have.
const MOST: u32 = 100;

/// Which threads, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadQuery {
    /// 1 to 100 rows are looked at.
    pub limit: u32,
    /// Where the page before ended ([`Page::next`]).
    pub cursor: Option<String>,
    /// Those that were archived, in place of the others.
    pub archived: bool,
    /// Those whose title has this in it.
    pub search: Option<String>,
    /// Those that work in this folder or below it. Sorted out here, so a page may have fewer rows than `limit` and
    /// still have a next one.
    pub folder: Option<String>,
}

impl ThreadQuery {
    /// The newest so many.
    pub const fn newest(limit: u32) -> Self {
        Self { limit, cursor: None, archived: false, search: None, folder: None }
    }
}

/// A part of a longer list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paging {
    /// Which end first.
    pub order: Order,
    /// At most 100 rows; `None` for 16.
    pub limit: Option<u32>,
    /// Where the page before ended ([`Page::next`]).
    pub cursor: Option<String>,
}

/// Which end of a history comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest.
    #[default]
    NewestFirst,
    /// The oldest.
    OldestFirst,
}

impl Paging {
    fn put_into(self, mut params: Value) -> Value {
        params["limit"] = self.limit.unwrap_or(PAGE).clamp(1, MOST).into();
        params["sortDirection"] = match self.order {
            Order::NewestFirst => "desc".into(),
            Order::OldestFirst => "asc".into(),
        };
        with(params, "cursor", self.cursor)
    }
}

impl Host {
    /// Threads, those that changed last first. Needs viewer; changes nothing.
    pub async fn threads(&self, query: ThreadQuery) -> Result<Page<Summary>, Error> {
        let limit = query.limit.clamp(1, MOST);
        let mut params = json!({"limit": limit, "sortKey": "updated_at", "sortDirection": "desc"});
        if query.archived {
            params["archived"] = true.into();
        }
        let params = with(with(params, "cursor", query.cursor), "searchTerm", query.search);
        let result = self.call("thread/list", params).await?;
        let mut page = Page::of_threads(&result).map_err(|_| Error::Unreadable("no list of threads"))?;
        if let Some(folder) = query.folder {
            page.rows.retain(|thread| is_within(&thread.folder, &folder));
        }
        Ok(page)
    }

    /// Threads in whose messages the text stands, those that changed last first. Needs viewer; changes nothing.
    pub async fn search(&self, text: &str, cursor: Option<&str>) -> Result<Page<Hit>, Error> {
        let params = with(json!({"searchTerm": text}), "cursor", cursor);
        let result = self.call("thread/search", params).await?;
        Page::of_hits(&result).map_err(|_| Error::Unreadable("no list of hits"))
    }

    /// A thread with its newest turns, as many as a [`Thread`] holds. Needs viewer. It isn't loaded by looking at it.
    pub async fn thread(&self, id: &str) -> Result<Thread, Error> {
        let result = self.call("thread/read", json!({"threadId": id})).await?;
        let mut thread = Thread::from_read(&result).map_err(|_| Error::Unreadable("no thread"))?;
        let mut cursor = None;
        // A page adds a turn at least, or it is the last.
        for _ in 0..Thread::TURNS {
            let before = thread.turns.len();
            let paging = Paging { cursor, ..Paging::default() };
            let page = match self.turns(id, paging).await {
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

    /// A page of a thread's whole history: turns with their items. Needs viewer; changes nothing.
    pub async fn history(&self, thread: &str, paging: Paging) -> Result<Page<Turn>, Error> {
        let result = self.turns(thread, paging).await?;
        Page::of_turns(&result).map_err(|_| Error::Unreadable("no list of turns"))
    }

    /// A page of a thread's items, of one turn or of all. Needs viewer; changes nothing.
    pub async fn items(&self, thread: &str, turn: Option<&str>, paging: Paging) -> Result<Page<Placed>, Error> {
        let params = with(json!({"threadId": thread}), "turnId", turn);
        let result = self.call("thread/items/list", paging.put_into(params)).await?;
        Page::of_items(&result).map_err(|_| Error::Unreadable("no list of items"))
    }

    pub(super) async fn turns(&self, id: &str, paging: Paging) -> Result<Value, Error> {
        let params = json!({"threadId": id, "itemsView": "full"});
        self.call("thread/turns/list", paging.put_into(params)).await
    }

    /// What a thread is after across its turns, if a goal was set at the desk. Needs viewer; changes nothing.
    pub async fn goal(&self, thread: &str) -> Result<Option<Goal>, Error> {
        let result = self.call("thread/goal/get", json!({"threadId": thread})).await?;
        Ok(result.get("goal").and_then(Goal::read))
    }

    /// Gives a thread a title. Needs operator. Codex stores it, loaded or not.
    pub async fn rename(&self, thread: &str, name: &str) -> Result<(), Error> {
        self.call("thread/name/set", json!({"threadId": thread, "name": name})).await.map(drop)
    }

    /// Puts a thread away: it leaves the usual list. Needs operator. Codex moves its file and unloads it; nothing is
    /// deleted.
    pub async fn archive(&self, thread: &str) -> Result<(), Error> {
        self.call("thread/archive", json!({"threadId": thread})).await.map(drop)
    }

    /// Takes a thread back from the archive. Needs operator. It isn't loaded by that.
    pub async fn unarchive(&self, thread: &str) -> Result<(), Error> {
        self.call("thread/unarchive", json!({"threadId": thread})).await.map(drop)
    }

    /// A new thread with the same history, in the same folder; gives its id. Needs operator. It happens once:
    /// [`Error::OutcomeUnknown`] if the answer is lost.
    pub async fn fork(&self, thread: &str) -> Result<String, Error> {
        let result = self.call("thread/fork", json!({"threadId": thread})).await?;
        id_in(&result, "thread")
    }
}

/// The parameters with one more, if there is one.
pub(super) fn with(mut params: Value, name: &str, value: Option<impl Into<Value>>) -> Value {
    if let Some(value) = value {
        params[name] = value.into();
    }
    params
}
