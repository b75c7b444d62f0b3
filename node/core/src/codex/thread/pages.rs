//! Pages of what the app-server lists: turns, items, hits of a search.
//!
//! What can't be read (a row without an id) is left out; a page without its list is an error.

use serde_json::Value;

use super::item::{ID, text};
use super::read::{Error, LINE};
use super::{Item, Summary, Turn};
use crate::codex::text::clip;

/// Some of a longer list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows, in the order that was asked for.
    pub rows: Vec<T>,
    /// The cursor of the next page; none if this is the last.
    pub next: Option<String>,
}

/// A thread in which a search found something.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The thread.
    pub thread: Summary,
    /// The text around what was found, at most 1 KiB of it.
    pub snippet: String,
}

/// An item with the turn it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Turn id.
    pub turn: String,
    /// The item.
    pub item: Item,
}

impl<T> Page<T> {
    /// Reads a result `{data, nextCursor}`.
    pub fn read(result: &Value, row: impl Fn(&Value) -> Option<T>) -> Result<Self, Error> {
        let rows = result.get("data").and_then(Value::as_array).ok_or(Error::Missing("data"))?;
        let next = text(result, "nextCursor").map(Into::into);
        Ok(Self { rows: rows.iter().filter_map(row).collect(), next })
    }
}

impl Page<Summary> {
    /// From a result of `thread/list`.
    pub fn of_threads(result: &Value) -> Result<Self, Error> {
        let (rows, next) = Summary::from_list(result)?;
        Ok(Self { rows, next })
    }
}

impl Page<Hit> {
    /// From a result of `thread/search`.
    pub fn of_hits(result: &Value) -> Result<Self, Error> {
        Self::read(result, |row| {
            let snippet = clip(text(row, "snippet").unwrap_or_default(), LINE).into();
            Some(Hit { thread: Summary::from_thread(row.get("thread")?)?, snippet })
        })
    }
}

impl Page<Turn> {
    /// From a result of `thread/turns/list`.
    pub fn of_turns(result: &Value) -> Result<Self, Error> {
        Self::read(result, Turn::read)
    }
}

impl Page<Placed> {
    /// From a result of `thread/items/list`.
    pub fn of_items(result: &Value) -> Result<Self, Error> {
        Self::read(result, |row| {
            let turn = text(row, "turnId").filter(|id| !id.is_empty() && id.len() <= ID)?;
            Some(Placed { turn: turn.into(), item: Item::read(row.get("item")?, false)? })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_that_names_nothing_is_left_out_and_the_rest_stays() {
        let item = json!({"type": "agentMessage", "id": "i", "text": "hello"});
        let page = json!({"data": [{"turnId": "u", "item": item}, {"turnId": "u"}, {"item": item}], "nextCursor": "c"});
        let page = Page::of_items(&page).unwrap();
        assert_eq!((page.rows.len(), page.rows[0].turn.as_str(), page.next.as_deref()), (1, "u", Some("c")));
    }

    #[test]
    fn a_hit_is_a_thread_and_the_text_around_it() {
        let thread = json!({"id": "t", "preview": "p"});
        let page = json!({"data": [{"snippet": "x".repeat(5000), "thread": thread}, {"snippet": "no thread"}]});
        let page = Page::of_hits(&page).unwrap();
        assert_eq!((page.rows.len(), page.rows[0].snippet.len(), page.next), (1, LINE, None));
    }

    #[test]
    fn a_page_without_a_list_is_none() {
        assert_eq!(Page::of_turns(&json!({})), Err(Error::Missing("data")));
    }
}
