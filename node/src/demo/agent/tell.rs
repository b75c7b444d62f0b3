//! What a thread says while a turn runs: every notification and question in its envelope of ids.

use serde_json::{Value, json};

use super::thread::{Context, Event, Status, Thread};

impl Thread {
    pub(crate) fn set_status(&mut self, cx: &mut Context<'_>, status: Status) {
        self.status = status;
        let params = json!({"threadId": self.id, "status": status.json()});
        cx.events.push(Event::Everyone("thread/status/changed", params));
    }

    /// With the ids of thread and turn.
    pub(crate) fn tell(&self, cx: &mut Context<'_>, method: &'static str, params: Value) {
        cx.events.push(Event::Subscribers(method, self.addressed(params)));
    }

    pub(crate) fn addressed(&self, mut params: Value) -> Value {
        params["threadId"] = json!(self.id);
        params["turnId"] = json!(self.turns.last().map(|turn| &turn.id));
        params
    }

    pub(crate) fn ask(&self, cx: &mut Context<'_>, method: &str, params: Value) -> Value {
        let question = json!({"method": method, "id": cx.serial.question(), "params": self.addressed(params)});
        cx.events.push(Event::Question(question.clone()));
        question
    }

    pub(crate) fn resolved(&self, cx: &mut Context<'_>, id: &Value) {
        let params = json!({"threadId": self.id, "requestId": id});
        cx.events.push(Event::Subscribers("serverRequest/resolved", params));
    }

    pub(crate) fn started(&self, cx: &mut Context<'_>, item: &Value) {
        self.tell(cx, "item/started", json!({"item": item, "startedAtMs": item["startedAtMs"]}));
    }

    pub(crate) fn completed(&mut self, cx: &mut Context<'_>, item: Value) {
        let params = json!({"item": item, "contentTokenCount": null, "completedAtMs": item["completedAtMs"]});
        self.tell(cx, "item/completed", params);
        if let Some(turn) = self.turns.last_mut() {
            turn.items.push(item);
        }
    }

    /// What Codex says after each response of the model.
    pub(crate) fn usage(&self, cx: &mut Context<'_>) {
        let tokens = json!({
            "totalTokens": 0, "inputTokens": 0, "cachedInputTokens": 0, "cacheWriteInputTokens": 0,
            "outputTokens": 0, "reasoningOutputTokens": 0,
        });
        let usage = json!({"total": tokens, "last": tokens, "modelContextWindow": 258_400});
        self.tell(cx, "thread/tokenUsage/updated", json!({"tokenUsage": usage}));
        self.tell_diff(cx);
    }

    pub(crate) fn tell_diff(&self, cx: &mut Context<'_>) {
        if let Some(running) = self.running.as_ref().filter(|running| !running.diff.is_empty()) {
            self.tell(cx, "turn/diff/updated", json!({"diff": running.diff}));
        }
    }
}
