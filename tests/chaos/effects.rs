//! What really happened, by the app-server's own files: the ground truth.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

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
}

/// Of one thread.
pub(crate) fn read(threads: &Path, thread: &str) -> Effects {
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
