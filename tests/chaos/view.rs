//! What a phone process has said, over all its lives.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// How often it was started.
    pub(crate) begun: u32,
    pub(crate) paired: bool,
    pub(crate) watching: bool,
    pub(crate) thread: Option<String>,
    /// What it had stored when it was started last, once it has said so.
    pub(crate) kept: Option<Kept>,
    /// What became of prompts, as it was told when it asked.
    pub(crate) prompts: BTreeMap<String, String>,
    /// What became of what an earlier life had asked: this life's.
    pub(crate) answered: Vec<String>,
    /// Items and whether they were accepted, and why not.
    pub(crate) decided: Vec<(String, bool, Option<String>)>,
    /// Approvals that it has seen, ever: the items by their commands.
    pub(crate) seen: BTreeMap<String, String>,
    pub(crate) open: BTreeSet<String>,
    pub(crate) shown: Value,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) prompts: Vec<String>,
    pub(crate) decisions: usize,
}

impl View {
    /// A new life.
    pub(crate) fn begin(&mut self) {
        self.begun += 1;
        (self.watching, self.kept) = (false, None);
        self.answered.clear();
    }

    /// Takes a line of the life `begun`; the last words of an earlier one count as well, unless they are about now.
    pub(crate) fn take(&mut self, begun: u32, said: &Value) {
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        match said["is"].as_str().unwrap_or_default() {
            "prompt" => drop(self.prompts.insert(text("text"), text("result"))),
            "decided" => {
                let why = said["result"].as_str().map(ToOwned::to_owned);
                self.decided.push((text("item"), said["accept"] == true, why));
            }
            _ if begun != self.begun => {}
            "kept" => self.kept = Some(Kept::of(said)),
            "paired" => self.paired = true,
            "watching" => self.watching = true,
            "thread" => self.thread = said["id"].as_str().map(ToOwned::to_owned),
            "answered" if said["what"] == "turn/start" => self.answered.push(text("result")),
            "approvals" => self.list(&said["open"]),
            "shown" => self.shown = said.clone(),
            _ => {}
        }
    }

    fn list(&mut self, open: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let open: Vec<_> = open.as_array().into_iter().flatten().collect();
        self.open = open.iter().map(|row| text(&row["item"])).collect();
        self.seen.extend(open.iter().map(|row| (text(&row["command"]), text(&row["item"]))));
    }

    /// The item of the approval with this in its command.
    pub(crate) fn item(&self, word: &str) -> Option<&String> {
        self.seen.iter().find(|(command, _)| command.contains(word)).map(|(_, item)| item)
    }
}

impl Kept {
    fn of(said: &Value) -> Self {
        let prompts = said["prompts"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let decisions = said["decisions"].as_array().map_or(0, Vec::len);
        Self { prompts: prompts.map(ToOwned::to_owned).collect(), decisions }
    }
}
