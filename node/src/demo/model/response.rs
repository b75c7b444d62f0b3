//! From a request of the Responses API to the events that answer it; no I/O.
//!
//! Stateless: the [`Scenario`] comes from the last thing the user said, and whether a tool has already run from the
//! outputs that follow it. A steered message is a new last user message, so the next answer is about that one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::demo::scenario::{self, Delta, Failure, Scenario};

/// One event of the stream and the pause before it.
pub(crate) type Timed = (Duration, Value);

/// How a request is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// An HTTP error with this status.
    Status(u16),
    /// A stream of events.
    Stream(Vec<Timed>),
}

/// Answers `body`, the request number `number` of this server.
pub(crate) fn reply(body: &Value, number: u64) -> Reply {
    let input = Input::of(body);
    let scenario = Scenario::of(&input.prompt);
    let mut stream = Stream::new(number);
    match (&scenario, &input.output) {
        (Scenario::Fail(Failure::Status(status)), _) => return Reply::Status(*status),
        (Scenario::Fail(Failure::ContextWindow), _) => return Reply::Stream(stream.failed()),
        (Scenario::Command { command, escalate }, None) => stream.command(body, command, *escalate),
        (Scenario::Ask, None) if offers(body, ASKING) => stream.function(ASKING, &question()),
        (Scenario::Call { tool, arguments }, None) => stream.function(tool, arguments),
        (Scenario::AddFile { file }, None) => stream.patch(&scenario::add_patch(file)),
        (Scenario::UpdateFile { file, from, to }, None) => stream.patch(&scenario::update_patch(file, from, to)),
        (
            Scenario::Command { .. }
            | Scenario::AddFile { .. }
            | Scenario::UpdateFile { .. }
            | Scenario::Ask
            | Scenario::Call { .. },
            Some(output),
        ) => {
            stream.message(scenario.closing(output));
        }
        _ => stream.message(scenario.deltas(&input.prompt)),
    }
    Reply::Stream(stream.completed())
}

/// What matters of a request's `input`.
struct Input {
    /// The last thing the user said.
    prompt: String,
    /// What the last tool since then reported.
    output: Option<String>,
}

impl Input {
    fn of(body: &Value) -> Self {
        let items = body["input"].as_array().map_or(&[][..], Vec::as_slice);
        let said = items.iter().rposition(|item| is_user(item) && !is_context(&text(&item["content"])));
        let since = said.map_or(items, |at| &items[at + 1..]);
        let output =
            since.iter().rfind(|item| item["type"].as_str().is_some_and(|kind| kind.ends_with("_call_output")));
        Self {
            prompt: said.map(|at| text(&items[at]["content"])).unwrap_or_default(),
            output: output.map(|item| text(&item["output"])),
        }
    }
}

fn is_user(item: &Value) -> bool {
    item["role"] == "user" && item["type"].as_str().is_none_or(|kind| kind == "message")
}

/// Codex sends instructions and its surroundings as user messages too; nobody said those.
fn is_context(text: &str) -> bool {
    let text = text.trim_start();
    ["<", "# AGENTS.md", "# Context"].iter().any(|start| text.starts_with(start))
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

/// The events of one response, in the order of the real API.
struct Stream {
    number: u64,
    events: Vec<Timed>,
    pieces: usize,
}

impl Stream {
    fn new(number: u64) -> Self {
        let mut stream = Self { number, events: Vec::new(), pieces: 0 };
        stream.push("response.created", json!({"response": stream.response("in_progress")}));
        stream
    }

    fn message(&mut self, deltas: Vec<Delta>) {
        let id = format!("msg_{:06}", self.number);
        let item = |status: &str, content: Value| json!({"type": "message", "id": id, "role": "assistant", "status": status, "content": content});
        self.push("response.output_item.added", json!({"output_index": 0, "item": item("in_progress", json!([]))}));
        let mut whole = String::new();
        for (pause, delta) in deltas {
            whole += &delta;
            let data = json!({"item_id": id, "output_index": 0, "content_index": 0, "delta": delta});
            self.push_after(pause, "response.output_text.delta", data);
            self.pieces += 1;
        }
        let done = json!({"item_id": id, "output_index": 0, "content_index": 0, "text": whole});
        self.push("response.output_text.done", done);
        let content = json!([{"type": "output_text", "text": whole, "annotations": []}]);
        self.push("response.output_item.done", json!({"output_index": 0, "item": item("completed", content)}));
    }

    /// A command, by the name that this Codex gave its shell tool.
    fn command(&mut self, body: &Value, command: &str, escalate: bool) {
        let (name, key) =
            if offers(body, "exec_command") { ("exec_command", "cmd") } else { ("shell_command", "command") };
        let mut arguments = json!({key: command});
        if escalate {
            arguments["sandbox_permissions"] = json!("require_escalated");
            arguments["justification"] = json!("the scripted model wants to leave the sandbox");
        }
        self.function(name, &arguments);
    }

    /// A call of a function that Codex offered; one of an MCP server's stands behind its namespace and a slash.
    fn function(&mut self, function: &str, arguments: &Value) {
        let (namespace, name) = function.split_once('/').map_or((None, function), |(of, name)| (Some(of), name));
        let (arguments, id) = (arguments.to_string(), format!("fc_{:06}", self.number));
        let item = |arguments: &str| {
            let mut item = json!({"type": "function_call", "id": id, "call_id": self.call(), "name": name, "arguments": arguments});
            if let Some(namespace) = namespace {
                item["namespace"] = namespace.into();
            }
            item
        };
        let (added, done) = (item(""), item(&arguments));
        self.push("response.output_item.added", json!({"output_index": 0, "item": added}));
        let delta = json!({"item_id": id, "output_index": 0, "delta": arguments});
        self.push("response.function_call_arguments.delta", delta);
        self.push("response.output_item.done", json!({"output_index": 0, "item": done}));
    }

    fn patch(&mut self, patch: &str) {
        let id = format!("ctc_{:06}", self.number);
        let item = |input: &str| json!({"type": "custom_tool_call", "id": id, "call_id": self.call(), "name": "apply_patch", "input": input});
        let (added, done) = (item(""), item(patch));
        self.push("response.output_item.added", json!({"output_index": 0, "item": added}));
        let delta = json!({"item_id": id, "call_id": self.call(), "output_index": 0, "delta": patch});
        self.push("response.custom_tool_call_input.delta", delta);
        self.push("response.output_item.done", json!({"output_index": 0, "item": done}));
    }

    fn completed(mut self) -> Vec<Timed> {
        let mut response = self.response("completed");
        response["usage"] = json!({
            "input_tokens": 100, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.pieces, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 100 + self.pieces,
        });
        self.push("response.completed", json!({"response": response}));
        self.events
    }

    fn failed(mut self) -> Vec<Timed> {
        let mut response = self.response("failed");
        let message = "the scripted model's context window is full";
        response["error"] = json!({"code": "context_length_exceeded", "message": message});
        self.push("response.failed", json!({"response": response}));
        self.events
    }

    fn response(&self, status: &str) -> Value {
        json!({"id": format!("resp_{:06}", self.number), "object": "response", "status": status, "output": []})
    }

    fn call(&self) -> String {
        format!("call_{:06}", self.number)
    }

    fn push(&mut self, kind: &str, data: Value) {
        self.push_after(Duration::ZERO, kind, data);
    }

    fn push_after(&mut self, pause: Duration, kind: &str, mut data: Value) {
        data["type"] = json!(kind);
        data["sequence_number"] = json!(self.events.len());
        self.events.push((pause, data));
    }
}

/// What the model asks the person.
fn question() -> Value {
    let option = |label: &str, description: &str| json!({"label": label, "description": description});
    let options = [option("Left", "the shorter way"), option("Right", "the nicer way")];
    json!({"questions": [{"id": "way", "header": "Way", "question": "Which way?", "options": options}]})
}

/// The name of Codex's function for that; it is offered in plan mode.
const ASKING: &str = "request_user_input";

fn offers(body: &Value, tool: &str) -> bool {
    body["tools"].as_array().is_some_and(|tools| tools.iter().any(|offered| offered["name"] == tool))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Value {
        json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]})
    }

    fn events(input: Value) -> Vec<Value> {
        let body = json!({"input": input, "tools": [{"name": "exec_command"}]});
        let Reply::Stream(events) = reply(&body, 7) else { panic!("a status") };
        events.into_iter().map(|(_, event)| event).collect()
    }

    fn answer(events: &[Value]) -> &Value {
        &events.iter().find(|e| e["type"] == "response.output_text.done").expect("a text")["text"]
    }

    #[test]
    fn the_last_thing_the_user_said_is_answered() {
        let events = events(json!([user("old"), user("new"), user("<environment_context>")]));
        assert_eq!(answer(&events), "Scripted answer to: new");
        assert_eq!(events.first().expect("first")["type"], "response.created");
        assert_eq!(events.last().expect("last")["type"], "response.completed");
    }

    #[test]
    fn a_command_is_called_once_and_then_reported() {
        let call = events(json!([user("ESCALATE cmd=ls -l")]));
        let item = &call[call.len() - 2]["item"];
        assert_eq!((&item["name"], &item["call_id"]), (&json!("exec_command"), &json!("call_000007")));
        let arguments: Value = serde_json::from_str(item["arguments"].as_str().expect("text")).expect("JSON");
        assert_eq!(
            (&arguments["cmd"], &arguments["sandbox_permissions"]),
            (&json!("ls -l"), &json!("require_escalated"))
        );
        let output = json!({"type": "function_call_output", "call_id": "call_000007", "output": "total 0"});
        assert_eq!(answer(&events(json!([user("ESCALATE cmd=ls -l"), output]))), "Done ESCALATE. Tool said: total 0");
    }

    #[test]
    fn a_tool_of_a_server_is_called_in_its_namespace() {
        for (tool, name, namespace) in
            [("view_image", "view_image", Value::Null), ("mcp__camera/shoot", "shoot", json!("mcp__camera"))]
        {
            let call = events(json!([user(&format!("CALL tool={tool} args={{\"path\": \"/a b.png\"}}"))]));
            let item = &call[call.len() - 2]["item"];
            assert_eq!((&item["name"], &item["namespace"]), (&json!(name), &namespace));
            assert_eq!(item["arguments"], r#"{"path":"/a b.png"}"#);
        }
    }

    #[test]
    fn a_patch_is_one_custom_call() {
        let call = events(json!([user("PATCH file=a.txt")]));
        assert_eq!(call[call.len() - 2]["item"]["input"], scenario::add_patch("a.txt"));
    }

    #[test]
    fn a_failure_is_a_status_or_a_failed_response() {
        assert!(matches!(reply(&json!({"input": [user("FAIL code=429")]}), 1), Reply::Status(429)));
        let failed = events(json!([user("FAIL code=context")]));
        assert_eq!(failed.last().expect("last")["response"]["error"]["code"], "context_length_exceeded");
    }

    #[test]
    fn a_request_without_input_is_answered_all_the_same() {
        assert!(matches!(reply(&json!({}), 1), Reply::Stream(_)));
        assert!(matches!(reply(&json!({"input": [3, {"role": "user"}]}), 1), Reply::Stream(_)));
    }
}
