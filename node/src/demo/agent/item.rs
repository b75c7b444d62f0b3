//! The items of a turn, as the app-server writes them (fields and nulls of Codex 0.169.0).

use serde_json::{Value, json};

/// What the user said: `input` of `turn/start` or `turn/steer`.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    /// The content, as it is echoed.
    pub(crate) content: Value,
    /// The client's own id for it.
    pub(crate) client_id: Value,
}

impl Input {
    /// From the parameters of `turn/start` or `turn/steer`; `None` without an `input` list.
    pub(crate) fn of(params: &Value) -> Option<Self> {
        let mut content = params["input"].as_array()?.clone();
        for part in content.iter_mut().filter(|part| part["type"] == "text" && part.get("text_elements").is_none()) {
            part["text_elements"] = json!([]);
        }
        Some(Self { content: Value::Array(content), client_id: params["clientUserMessageId"].clone() })
    }

    /// Its text.
    pub(crate) fn prompt(&self) -> String {
        let parts = self.content.as_array().map_or(&[][..], Vec::as_slice);
        parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// A message of the user.
pub(crate) fn user(id: &str, input: &Input, now: u64) -> Value {
    json!({
        "type": "userMessage", "id": id, "clientId": input.client_id, "content": input.content,
        "startedAtMs": now, "completedAtMs": null,
    })
}

/// An answer, so far without text.
pub(crate) fn answer(id: &str, now: u64) -> Value {
    json!({
        "type": "agentMessage", "moderation": null, "id": id, "text": "", "phase": null, "memoryCitation": null,
        "delivery": null, "questions": null, "startedAtMs": now, "completedAtMs": null,
    })
}

/// A command that hasn't run yet.
pub(crate) fn command(id: &str, command: &str, folder: &str, now: u64) -> Value {
    json!({
        "type": "commandExecution", "id": id, "pluginId": null, "scriptPath": null, "command": shell_line(command),
        "cwd": folder, "processId": null, "source": "agent", "status": "inProgress",
        "commandActions": actions(command), "aggregatedOutput": null, "exitCode": null, "durationMs": null,
        "startedAtMs": now, "completedAtMs": null,
    })
}

/// Changes to files that aren't made yet.
pub(crate) fn file_change(id: &str, changes: Value, now: u64) -> Value {
    json!({
        "type": "fileChange", "id": id, "changes": changes, "status": "inProgress",
        "startedAtMs": now, "completedAtMs": null,
    })
}

/// The parameters of a command's approval request, without thread and turn.
pub(crate) fn command_approval(item: &Value, command: &str, now: u64) -> Value {
    let first = command.split("&&").next().unwrap_or_default();
    let amendment: Vec<&str> = first.split(';').next().unwrap_or_default().split_whitespace().collect();
    json!({
        "kind": "command", "itemId": item["id"], "startedAtMs": now, "environmentId": "local",
        "reason": "the scripted model wants to leave the sandbox", "command": item["command"], "cwd": item["cwd"],
        "commandActions": item["commandActions"], "proposedExecpolicyAmendment": amendment,
        "availableDecisions": [
            "accept", {"acceptWithExecpolicyAmendment": {"execpolicy_amendment": amendment}}, "cancel",
        ],
    })
}

/// The parameters of a file change's approval request, without thread and turn. The diff stands in the item alone.
pub(crate) fn change_approval(item: &Value, now: u64) -> Value {
    json!({"itemId": item["id"], "startedAtMs": now, "reason": null, "grantRoot": null})
}

/// The item with another status, and a time of completion.
pub(crate) fn ended(mut item: Value, status: &str, now: u64) -> Value {
    item["status"] = json!(status);
    item["completedAtMs"] = json!(now);
    item
}

fn actions(command: &str) -> Value {
    json!([{"type": "unknown", "command": command}])
}

/// How Codex shows a command: as an argument of bash, quoted only where it must be.
fn shell_line(command: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./,:=@%+".contains(c);
    if !command.is_empty() && command.chars().all(plain) {
        format!("/bin/bash -lc {command}")
    } else if command.contains('\'') {
        let escaped: String =
            command.chars().flat_map(|c| "\\\"$`".contains(c).then_some('\\').into_iter().chain([c])).collect();
        format!("/bin/bash -lc \"{escaped}\"")
    } else {
        format!("/bin/bash -lc '{command}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_quoted_where_it_must_be() {
        assert_eq!(shell_line("true"), "/bin/bash -lc true");
        assert_eq!(shell_line("echo a"), "/bin/bash -lc 'echo a'");
        assert_eq!(shell_line("echo 'a'"), "/bin/bash -lc \"echo 'a'\"");
    }

    #[test]
    fn the_prompt_is_the_text_of_all_parts() {
        let input =
            json!([{"type": "text", "text": "a"}, {"type": "image", "url": "x"}, {"type": "text", "text": "b"}]);
        let input = Input::of(&json!({"input": input, "clientUserMessageId": "c"})).expect("an input");
        assert_eq!((input.prompt().as_str(), &input.client_id), ("a\nb", &json!("c")));
        assert!(Input::of(&json!({"input": "text"})).is_none());
    }
}
