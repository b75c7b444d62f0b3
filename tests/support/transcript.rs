//! A transcript without what differs from run to run: times, ids, folders, process numbers.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// One line a message. Ids are numbered as they appear, so that equal stories give equal lines.
///
/// Answers come first, then the thread's status, then the rest: Codex sends these three from different tasks, and which
/// of two comes first varies from run to run. Within each the order counts.
pub(crate) fn lines(log: &[Value], folder: &str) -> Vec<String> {
    let mut names = Names { folder, ids: HashMap::new() };
    let mut log: Vec<&Value> = log.iter().filter(|message| !is_surroundings(message)).collect();
    log.sort_by_key(|message| match message["method"].as_str() {
        None => 0,
        Some("thread/status/changed") => 1,
        Some(_) => 2,
    });
    let mut plain: Vec<Value> = Vec::new();
    for message in log {
        match plain.last_mut() {
            Some(last) if is_delta(last) && is_delta(message) => append(last, message),
            _ => plain.push(message.clone()),
        }
    }
    plain.into_iter().map(|message| names.value("", message).to_string()).collect()
}

/// What Codex says about its surroundings and its account, and what depends on how fast a shell starts.
fn is_surroundings(message: &Value) -> bool {
    matches!(
        message["method"].as_str(),
        Some(
            "configWarning"
                | "remoteControl/status/changed"
                | "thread/tokenUsage/updated"
                | "account/rateLimits/updated"
                | "item/commandExecution/outputDelta"
        )
    )
}

fn is_delta(message: &Value) -> bool {
    message["method"] == "item/agentMessage/delta"
}

/// How a text is cut into pieces depends on its length, and that on times in it.
fn append(last: &mut Value, message: &Value) {
    let text = |m: &Value| m["params"]["delta"].as_str().unwrap_or_default().to_owned();
    last["params"]["delta"] = json!(text(last) + &text(message));
}

struct Names<'a> {
    folder: &'a str,
    ids: HashMap<String, usize>,
}

impl Names<'_> {
    fn value(&mut self, key: &str, value: Value) -> Value {
        match value {
            Value::Object(object) => Value::Object(self.object(object)),
            Value::Array(values) => values.into_iter().map(|value| self.value(key, value)).collect(),
            Value::Number(_) if key.ends_with("At") || key.ends_with("AtMs") || key == "durationMs" => json!("time"),
            Value::String(_) if key == "processId" => json!("process"),
            Value::String(_) if key.ends_with("Cursor") => json!("cursor"),
            Value::String(text) => json!(self.text(&text)),
            other => other,
        }
    }

    fn object(&mut self, mut object: Map<String, Value>) -> Map<String, Value> {
        for volatile in ["emittedAtMs", "tokenUsage", "readState", "readStates", "userAgent", "codexHome"] {
            object.remove(volatile);
        }
        if object.contains_key("sessionId") {
            object.remove("path");
            object.remove("originator");
            // Of whatever repository the scratch folder happens to be in.
            object.remove("gitInfo");
        }
        object.into_iter().map(|(key, value)| (key.clone(), self.value(&key, value))).collect()
    }

    fn text(&mut self, text: &str) -> String {
        let text = text.replace(self.folder, "FOLDER");
        let text = without_line(&text, "Chunk ID: ");
        let text = without_line(&without_line(&text, "Wall time: "), "index ");
        let mut named = String::new();
        for word in text.split_inclusive(|c: char| !(c.is_alphanumeric() || "-_".contains(c))) {
            let bare = word.trim_end_matches(|c: char| !(c.is_alphanumeric() || "-_".contains(c)));
            match is_id(bare) {
                true => named += &format!("#{}{}", self.number(bare), &word[bare.len()..]),
                false => named += word,
            }
        }
        named
    }

    fn number(&mut self, id: &str) -> usize {
        let next = self.ids.len();
        *self.ids.entry(id.to_owned()).or_insert(next)
    }
}

fn is_id(word: &str) -> bool {
    let uuid = word.len() == 36 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    uuid || word.starts_with("call_0") || word.starts_with("msg_0")
}

/// Drops what follows `start` on its line.
fn without_line(text: &str, start: &str) -> String {
    let Some(at) = text.find(start) else { return text.to_owned() };
    let (kept, rest) = text.split_at(at + start.len());
    format!("{kept}{}", rest.find('\n').map_or("", |end| &rest[end..]))
}
