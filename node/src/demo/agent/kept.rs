//! Threads on disk, for an agent that may be killed and comes back with them as Codex does (measured): what was
//! completed is there, a turn that ran was interrupted, what it asked is asked no more, and nothing is loaded.
//!
//! Each thread is one file, replaced whole before anybody hears of the change. In it stands also what took effect, item
//! by item, as the tests' ground truth.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::thread::{Status, Thread, Turn};

/// The folder with a file for each thread.
#[derive(Debug)]
pub(super) struct Keep(PathBuf);

impl Keep {
    /// `folder` is made if it isn't there.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Every thread, in the order in which they were made.
    pub(super) fn threads(&self) -> io::Result<Vec<Thread>> {
        let mut threads = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let kept = serde_json::from_slice(&std::fs::read(path)?).unwrap_or_default();
                threads.extend(Thread::restored(&kept));
            }
        }
        threads.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(threads)
    }

    /// Replaces a thread's file: the old one or the new one is there, whenever this process dies.
    pub(super) fn put(&self, thread: &Thread) -> io::Result<()> {
        let path = self.0.join(&thread.id).with_extension("json");
        let new = path.with_extension("new");
        std::fs::write(&new, thread.kept().to_string())?;
        std::fs::rename(new, path)
    }
}

impl Thread {
    fn kept(&self) -> Value {
        let turns: Vec<_> = self.turns.iter().map(Turn::kept).collect();
        json!({
            "id": self.id, "folder": self.folder, "model": self.model, "created": self.created,
            "updated": self.updated, "preview": self.preview, "turns": turns, "effects": self.effects,
            "asks": self.question().map(|question| &question["params"]["itemId"]),
        })
    }

    fn restored(kept: &Value) -> Option<Self> {
        let text = |name: &str| kept[name].as_str().map(ToOwned::to_owned);
        let mut thread = Self::new(text("id")?, text("folder")?.into(), text("model")?, kept["created"].as_u64()?);
        (thread.updated, thread.preview) = (kept["updated"].as_u64()?, text("preview")?);
        thread.status = Status::NotLoaded;
        thread.turns = kept["turns"].as_array()?.iter().filter_map(Turn::restored).collect();
        thread.effects = kept["effects"].as_array()?.clone();
        if !kept["asks"].is_null() {
            thread.effects.push(json!({"died": kept["asks"]}));
        }
        Some(thread)
    }
}

impl Turn {
    fn kept(&self) -> Value {
        json!({
            "id": self.id, "status": self.status, "error": self.error, "started": self.started,
            "completed": self.completed, "items": self.items,
        })
    }

    fn restored(kept: &Value) -> Option<Self> {
        let status = match kept["status"].as_str()? {
            "completed" => "completed",
            "failed" => "failed",
            _ => "interrupted",
        };
        let (id, items) = (kept["id"].as_str()?.to_owned(), kept["items"].as_array()?.clone());
        let (started, completed) = (kept["started"].as_u64()?, kept["completed"].as_u64());
        Some(Self { id, status, error: kept["error"].clone(), started, completed, items })
    }
}
