//! What really happened, by the app-server's own files: the ground truth.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// How often each prompt was taken up.
    pub(crate) prompts: BTreeMap<String, u32>,
    /// How each item was decided, each time.
    pub(crate) decided: BTreeMap<String, Vec<String>>,
    /// The items whose approval died with the app-server.
    pub(crate) died: BTreeSet<String>,
    /// The item that waits for an approval.
    pub(crate) asks: Option<String>,
    /// A turn goes on that may ask for one yet.
    pub(crate) works: bool,
}

/// Of a thread that the scripted agent keeps.
pub(crate) fn kept(threads: &Path, thread: &str) -> Effects {
    let text = fs::read(threads.join(thread).with_extension("json")).unwrap_or_default();
    let kept: Value = serde_json::from_slice(&text).unwrap_or_default();
    let mut effects = Effects { asks: kept["asks"].as_str().map(ToOwned::to_owned), ..Effects::default() };
    for effect in kept["effects"].as_array().into_iter().flatten() {
        let text = |name: &str| effect[name].as_str().map(ToOwned::to_owned);
        if let Some(prompt) = text("prompt") {
            *effects.prompts.entry(prompt).or_default() += 1;
        } else if let (Some(item), Some(word)) = (text("decided"), text("as")) {
            effects.decided.entry(item).or_default().push(word);
        } else if let Some(item) = text("died") {
            effects.died.insert(item);
        }
    }
    effects
}

/// Of a thread that Codex has recorded in its home. `deaths`: how many lines there were each time it was killed.
pub(crate) fn recorded(home: &Path, thread: &str, deaths: &[usize]) -> Effects {
    let mut effects = Effects::default();
    let mut asked = BTreeSet::new();
    for (at, line) in lines(home, thread).iter().enumerate() {
        if deaths.contains(&at) {
            effects.dies(&mut asked);
        }
        effects.take(line, &mut asked);
    }
    if deaths.contains(&length(home, thread)) {
        effects.dies(&mut asked);
    }
    effects.asks = asked.pop_last();
    effects
}

impl Effects {
    fn dies(&mut self, asked: &mut BTreeSet<String>) {
        self.died.append(asked);
        self.works = false;
    }

    fn take(&mut self, line: &Value, asked: &mut BTreeSet<String>) {
        let payload = &line["payload"];
        let call = || payload["call_id"].as_str().unwrap_or_default().to_owned();
        match payload["type"].as_str().unwrap_or_default() {
            "item_completed" if payload["item"]["type"] == "UserMessage" => {
                let text = payload["item"]["content"][0]["text"].as_str().unwrap_or_default();
                *self.prompts.entry(text.to_owned()).or_default() += 1;
            }
            "task_started" => self.works = true,
            "task_complete" | "turn_aborted" => self.works = false,
            "function_call" => drop(asked.insert(call())),
            "function_call_output" if asked.remove(&call()) => {
                let output = payload["output"].as_str().unwrap_or_default();
                if let Some(word) = word(output) {
                    self.decided.entry(call()).or_default().push(word.into());
                }
            }
            _ => {}
        }
    }
}

/// What was decided on a command, by what came of it.
fn word(output: &str) -> Option<&'static str> {
    match output {
        _ if output.contains("rejected by user") => Some("decline"),
        _ if output.contains("exited with code 0") => Some("accept"),
        _ => None,
    }
}

/// How many lines Codex has recorded of a thread.
pub(crate) fn length(home: &Path, thread: &str) -> usize {
    lines(home, thread).len()
}

fn lines(home: &Path, thread: &str) -> Vec<Value> {
    let text = record(&home.join("sessions"), thread).and_then(|path| fs::read_to_string(path).ok());
    let text = text.unwrap_or_default();
    // The last line may not be whole.
    text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
}

fn record(folder: &Path, thread: &str) -> Option<PathBuf> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_thread = |path: &PathBuf| path.to_string_lossy().contains(thread);
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    paths.for_each(|path| if path.is_dir() { folders.push(path) } else { files.push(path) });
    files.into_iter().find(of_thread).or_else(|| folders.iter().find_map(|folder| record(folder, thread)))
}
