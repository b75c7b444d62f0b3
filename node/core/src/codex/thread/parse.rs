//! Items from the app-server's JSON, kind by kind, within bounds.

use serde_json::Value;

use super::image::images;
use super::item::{AGENTS, ID, OUTPUT, PARTS, PATH, SHORT, TEXT, text};
use super::{Item, ItemKind, Progress};
use crate::codex::message::canonical;
use crate::codex::text::{clip, tail};

impl Item {
    pub(super) fn read_kind(&mut self, value: &Value) -> Option<ItemKind> {
        let kind = text(value, "type")?;
        self.images = count(images(value).iter());
        Some(match kind {
            "userMessage" => self.read_message(value),
            "agentMessage" => ItemKind::AgentMessage { text: self.keep(text(value, "text"), TEXT) },
            "plan" => ItemKind::Plan { text: self.keep(text(value, "text"), TEXT) },
            "reasoning" => self.read_reasoning(value),
            "commandExecution" => self.read_command(value),
            "fileChange" => ItemKind::FileChange {
                changes: self.keep_changes(value.get("changes")),
                status: Progress::read(value.get("status")),
            },
            "mcpToolCall" | "dynamicToolCall" | "functionCallOutput" => self.read_tool(kind, value),
            "collabAgentToolCall" | "subAgentActivity" => self.read_agent(value),
            "webSearch" => self.read_search(value),
            "imageView" => ItemKind::Image { path: self.keep(text(value, "path"), PATH) },
            "imageGeneration" => self.read_generation(value),
            "sleep" => ItemKind::Sleep { duration_ms: duration(value).unwrap_or(0) },
            "enteredReviewMode" => ItemKind::ReviewStarted { text: self.keep(text(value, "review"), TEXT) },
            "exitedReviewMode" => ItemKind::ReviewEnded { text: self.keep(text(value, "review"), TEXT) },
            "contextCompaction" => ItemKind::Compaction,
            "hookPrompt" => ItemKind::HookPrompt { text: self.join(list(value, "fragments")) },
            other => ItemKind::Other { kind: clip(other, ID).into() },
        })
    }

    fn read_message(&mut self, value: &Value) -> ItemKind {
        let parts = list(value, "content");
        ItemKind::UserMessage {
            text: self.join(parts),
            client_id: text(value, "clientId").filter(|id| id.len() <= ID).map(Into::into),
            attachments: count(parts.iter().filter(|part| text(part, "text").is_none())),
        }
    }

    fn read_reasoning(&mut self, value: &Value) -> ItemKind {
        let parts = list(value, "summary");
        self.truncated |= parts.len() > PARTS;
        let parts = parts.iter().take(PARTS).map(|part| self.keep(part.as_str(), TEXT / PARTS)).collect();
        ItemKind::Reasoning { summary: parts }
    }

    fn read_command(&mut self, value: &Value) -> ItemKind {
        let output = text(value, "aggregatedOutput").unwrap_or_default();
        self.truncated |= output.len() > OUTPUT;
        ItemKind::Command {
            command: self.keep(text(value, "command"), TEXT),
            folder: self.keep(text(value, "cwd"), PATH),
            output: tail(output, OUTPUT).into(),
            exit_code: value.get("exitCode").and_then(Value::as_i64),
            status: Progress::read(value.get("status")),
            duration_ms: duration(value),
            by_person: text(value, "source") == Some("userShell"),
        }
    }

    /// Three kinds of Codex's that differ in where name and answer stand.
    fn read_tool(&mut self, kind: &str, value: &Value) -> ItemKind {
        let nothing = Value::Null;
        let (answer, parts) = match kind {
            "mcpToolCall" => (&nothing, list(value.get("result").unwrap_or(&nothing), "content")),
            "dynamicToolCall" => (&nothing, list(value, "contentItems")),
            _ => (value.get("output").unwrap_or(&nothing), list(value, "output")),
        };
        let result = match answer.as_str() {
            Some(whole) => self.keep(Some(whole), TEXT),
            None => self.join(parts),
        };
        let status = match (kind, value.get("success").and_then(Value::as_bool)) {
            ("functionCallOutput", _) => Progress::Completed,
            (_, Some(false)) => Progress::Failed,
            _ => Progress::read(value.get("status")),
        };
        let arguments = value.get("arguments").filter(|arguments| !arguments.is_null());
        let arguments = arguments.map(|value| value.as_str().map_or_else(|| canonical(value), Into::into));
        let error = value.get("error").and_then(|error| text(error, "message"));
        ItemKind::Tool {
            server: self.keep_if_any(text(value, "server").or_else(|| text(value, "namespace")), ID),
            tool: self.keep(text(value, "tool").or_else(|| text(value, "name")), ID),
            arguments: self.keep(arguments.as_deref(), SHORT),
            status,
            result,
            error: self.keep_if_any(error, SHORT),
            progress: None,
            duration_ms: duration(value),
        }
    }

    fn read_agent(&mut self, value: &Value) -> ItemKind {
        let receivers = list(value, "receiverThreadIds").iter().filter_map(Value::as_str);
        let threads = receivers.chain(text(value, "agentThreadId")).filter(|id| !id.is_empty() && id.len() <= ID);
        let activity = text(value, "kind");
        let status = match activity {
            Some("interrupted") => Progress::Interrupted,
            // What an agent reports is over as it is said.
            Some(_) => Progress::Completed,
            None => Progress::read(value.get("status")),
        };
        ItemKind::Agent {
            threads: threads.take(AGENTS).map(Into::into).collect(),
            action: self.keep(activity.or_else(|| text(value, "tool")), ID),
            name: self.keep_if_any(text(value, "agentPath"), PATH),
            prompt: self.keep_if_any(text(value, "prompt"), SHORT),
            status,
        }
    }

    fn read_search(&mut self, value: &Value) -> ItemKind {
        let action = value.get("action").unwrap_or(&Value::Null);
        let queries = list(action, "queries").iter().filter_map(Value::as_str);
        let parts: Vec<_> = queries.chain(text(action, "pattern")).chain(text(action, "url")).collect();
        let detail = Some(parts.join(" · ")).filter(|detail| !detail.is_empty());
        ItemKind::WebSearch {
            query: self.keep(text(value, "query"), SHORT),
            detail: self.keep_if_any(detail.as_deref(), SHORT),
        }
    }

    fn read_generation(&mut self, value: &Value) -> ItemKind {
        let failed = value.get("failure").is_some_and(|failure| !failure.is_null());
        let status = if failed { Progress::Failed } else { Progress::read(value.get("status")) };
        ItemKind::ImageGeneration { prompt: self.keep_if_any(text(value, "revisedPrompt"), SHORT), status }
    }

    /// The texts of parts, a line each: their own, that of a resource in them, or where one lies.
    fn join(&mut self, parts: &[Value]) -> String {
        let mut whole = String::new();
        for part in parts {
            let embedded = part.get("resource").and_then(|resource| text(resource, "text"));
            let Some(line) = text(part, "text").or(embedded).or_else(|| text(part, "uri")) else { continue };
            if !whole.is_empty() {
                whole.push('\n');
            }
            self.append(&mut whole, line, TEXT);
        }
        whole
    }

    fn keep_if_any(&mut self, text: Option<&str>, limit: usize) -> Option<String> {
        text.map(|text| self.keep(Some(text), limit))
    }
}

impl Progress {
    /// Reads a `status`; what isn't said has only begun.
    pub(super) fn read(value: Option<&Value>) -> Self {
        match value.and_then(Value::as_str) {
            None | Some("inProgress" | "in_progress" | "generating") => Self::InProgress,
            Some("completed") => Self::Completed,
            Some("failed") => Self::Failed,
            Some("declined") => Self::Declined,
            Some("interrupted") => Self::Interrupted,
            Some(_) => Self::Unknown,
        }
    }
}

pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn count<T>(these: impl Iterator<Item = T>) -> u32 {
    these.count().try_into().unwrap_or(u32::MAX)
}

fn duration(value: &Value) -> Option<i64> {
    value.get("durationMs").and_then(Value::as_i64)
}
