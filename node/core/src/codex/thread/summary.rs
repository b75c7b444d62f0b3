//! A row of `thread/list`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Status, Thread, read};

/// A thread as a list shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Thread id.
    pub id: String,
    /// Its title, if somebody gave it one.
    pub name: Option<String>,
    /// The beginning of its first message.
    pub preview: String,
    /// The working folder.
    pub folder: String,
    /// The model, where known.
    pub model: Option<String>,
    /// What it is doing. A thread another server holds is [`Status::NotLoaded`] here.
    pub status: Status,
    /// When it was changed last, in Unix seconds.
    pub updated_at: i64,
}

impl Summary {
    /// The rows of a `thread/list` result and the cursor of the next page, if there is one. Rows without an id are
    /// left out.
    pub fn from_list(result: &Value) -> Result<(Vec<Self>, Option<String>), read::Error> {
        let rows = result.get("data").and_then(Value::as_array).ok_or(read::Error::Missing("data"))?;
        let cursor = result.get("nextCursor").and_then(Value::as_str).map(Into::into);
        Ok((rows.iter().filter_map(Self::from_thread).collect(), cursor))
    }

    pub(super) fn from_thread(thread: &Value) -> Option<Self> {
        let id = super::item::text(thread, "id").filter(|id| !id.is_empty() && id.len() <= super::item::ID)?;
        let mut read = Thread::new(id);
        read.set_metadata(thread);
        Some(Self::from(&read))
    }
}

impl From<&Thread> for Summary {
    fn from(thread: &Thread) -> Self {
        let Thread { id, name, preview, folder, model, status, updated_at, .. } = thread.clone();
        Self { id, name, preview, folder, model, status, updated_at }
    }
}
