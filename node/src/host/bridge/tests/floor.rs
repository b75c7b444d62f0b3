//! Nothing has the agent work on a thread that is looser than the floor.

use farhelm_core::policy::{Effect, Method, Subject, table};

use super::matrix::{PHONE, for_phones, only, opened, params, tools};
use super::*;

const WORDS: &str = "this thread's approval policy is \"never\", looser than the \"on-request\" this host allows phones; \
                     go on at the desk, or loosen [floor] in the host's config.toml";

fn method(name: &str) -> &'static Method {
    table::find(name).expect("in the table")
}

/// What has the agent work on a thread that is there.
fn works() -> impl Iterator<Item = &'static Method> {
    for_phones().filter(|method| method.effect == Effect::Work && matches!(method.subject, Subject::Thread(_)))
}

/// A thread as the desk may have opened it, or as Codex may start one.
fn loose(thread: &str) -> Value {
    let mut loose = opened(thread, "/src");
    loose["approvalPolicy"] = "never".into();
    loose["sandbox"] = json!({"type": "dangerFullAccess"});
    loose
}

fn loosened() -> Value {
    json!({"threadId": "t", "threadSettings": {"approvalPolicy": "never", "sandboxPolicy": {"type": "dangerFullAccess"}}})
}

impl Stage {
    async fn floored() -> Self {
        let stage = Self::followed().await;
        stage.grant(PHONE, only("/src"));
        stage
    }

    /// What was told before has been heard once this phone has heard of it.
    async fn heeds(&mut self) {
        let mut witness = self.phone(9).await;
        self.tells("thread/name/updated", json!({"threadId": "t", "threadName": "x"})).await;
        while !matches!(witness.told().await, Envelope::Notification(_)) {}
    }
}

#[tokio::test]
async fn a_thread_looser_than_the_floor_is_read_and_not_worked_on() {
    let mut stage = Stage::floored().await;
    for (loose_at, method) in works().enumerate() {
        let loose_id = &*format!("loose {loose_at}");
        let look = ("thread/read", Ok(json!({"thread": {"id": loose_id, "cwd": "/src"}})));
        let script = [look, ("thread/resume", Ok(loose(loose_id)))];
        assert_eq!(stage.refusal(method, params(method, loose_id, "/src"), script).await, WORDS, "{}", method.name);
        // It is followed by now.
        assert_eq!(stage.refusal(method, params(method, loose_id, "/src"), []).await, WORDS, "{}", method.name);
        for read in ["thread/read", "thread/turns/list", "thread/items/list", "thread/resume"] {
            let answer = [(read, Ok(loose(loose_id)))];
            let asks = params(self::method(read), loose_id, "/src");
            assert!(stage.ask(self::method(read), asks, answer).await.is_ok(), "{read}");
        }
    }
    assert!(works().count() > 7);
}

#[tokio::test]
async fn a_thread_that_cannot_be_opened_is_not_worked_on() {
    let mut stage = Stage::floored().await;
    for method in works() {
        let look = ("thread/read", Ok(json!({"thread": {"id": "u", "cwd": "/src"}})));
        let script = [look, ("thread/resume", Err("no rollout found for thread id u"))];
        let refusal = stage.refusal(method, params(method, "u", "/src"), script).await;
        assert!(refusal.contains("it isn't known under which"), "{}: {refusal}", method.name);
    }
}

#[tokio::test]
async fn the_floor_is_the_one_that_holds_now() {
    let mut stage = Stage::floored().await;
    let send = method("turn/start");
    let turn = ("turn/start", Ok(json!({"turn": {"id": "u"}})));
    stage.passes(send, params(send, "t", "/src"), tools(send).chain([turn.clone()])).await;
    stage.rules.send_modify(|rules| rules.approval_policy = "untrusted".into());
    let refusal = stage.refusal(send, params(send, "t", "/src"), []).await;
    assert!(refusal.contains("looser than the \"untrusted\""), "{refusal}");

    stage.rules.send_modify(|rules| *rules = Rules::default());
    stage.tells("thread/settings/updated", loosened()).await;
    stage.heeds().await;
    assert_eq!(stage.refusal(send, params(send, "t", "/src"), []).await, WORDS);
    let as_before = json!({"threadId": "t",
        "threadSettings": {"approvalPolicy": "on-request", "sandboxPolicy": {"type": "readOnly"}}});
    stage.tells("thread/settings/updated", as_before).await;
    stage.heeds().await;
    stage.passes(send, params(send, "t", "/src"), tools(send).chain([turn])).await;
}

#[tokio::test]
async fn a_new_thread_that_codex_opens_looser_is_left_alone() {
    let mut stage = Stage::floored().await;
    for name in ["thread/start", "thread/fork"] {
        let left = [(name, Ok(loose("new"))), ("thread/unsubscribe", Ok(json!({"status": "unsubscribed"})))];
        let script = tools(method(name)).chain(left);
        let refusal = stage.refusal(method(name), params(method(name), "t", "/src"), script).await;
        assert_eq!(refusal, WORDS);
    }
}

#[tokio::test]
async fn a_turn_of_a_phones_that_begins_looser_is_interrupted_and_one_of_the_desks_is_not() {
    let mut stage = Stage::floored().await;
    let send = method("turn/start");
    let turn = ("turn/start", Ok(json!({"turn": {"id": "u"}})));
    stage.passes(send, params(send, "t", "/src"), tools(send).chain([turn])).await;
    stage.tells("thread/settings/updated", loosened()).await;
    let started = |turn: &str| json!({"threadId": "t", "turn": {"id": turn, "status": "inProgress", "items": []}});
    stage.tells("turn/started", started("u")).await;
    let interrupt = stage.heard().await;
    let of_turn = json!({"threadId": "t", "turnId": "u"});
    assert_eq!((&interrupt["method"], &interrupt["params"]), (&json!("turn/interrupt"), &of_turn));

    stage.tells("turn/started", started("of the desk's")).await;
    stage.heeds().await;
    stage.hears_nothing_more().await;
}

#[tokio::test]
async fn a_thread_that_can_use_the_computer_is_read_only_while_that_is_off() {
    let mut stage = Stage::floored().await;
    let page = |plugin: &str, next: Value| {
        let servers = json!([{"name": "s", "pluginId": plugin, "tools": {}}]);
        ("mcpServerStatus/list", Ok(json!({"data": servers, "nextCursor": next})))
    };
    for method in works() {
        // On whichever page it is.
        let script = [page("mail@openai-bundled", "2".into()), page("computer-use@openai-bundled", Value::Null)];
        let refusal = stage.refusal(method, params(method, "t", "/src"), script).await;
        assert!(refusal.contains("computer_use_mobile"), "{}: {refusal}", method.name);
        let nothing = [("mcpServerStatus/list", Ok(json!({})))];
        let refusal = stage.refusal(method, params(method, "t", "/src"), nothing).await;
        assert!(refusal.contains("isn't known which tools"), "{}: {refusal}", method.name);
    }
    let read = method("thread/read");
    stage.passes(read, params(read, "t", "/src"), [("thread/read", Ok(opened("t", "/src")))]).await;
    stage.rules.send_modify(|rules| rules.computer_use_mobile = true);
    let send = method("turn/start");
    stage.passes(send, params(send, "t", "/src"), [("turn/start", Ok(json!({"turn": {"id": "u"}})))]).await;
}

#[tokio::test]
async fn a_message_of_a_phones_that_waited_is_interrupted_if_it_begins_looser() {
    let mut stage = Stage::floored().await;
    let add = method("thread/queue/add");
    let mut asks = params(add, "t", "/src");
    asks["clientUserMessageId"] = "of the phone's".into();
    let queued = json!({"queuedSubmission": {"id": "q", "clientUserMessageId": "of the phone's"}});
    stage.passes(add, asks, tools(add).chain([("thread/queue/add", Ok(queued))])).await;
    // The turn before it ends, and somebody loosens the thread.
    stage.tells("turn/completed", json!({"threadId": "t", "turn": {"id": "before", "status": "completed"}})).await;
    stage.tells("thread/settings/updated", loosened()).await;
    let message = |turn: &str, client: &str| {
        let item = json!({"type": "userMessage", "id": "m", "clientId": client, "content": []});
        json!({"threadId": "t", "turnId": turn, "item": item})
    };
    stage.tells("item/started", message("u", "of the desk's")).await;
    stage.tells("item/started", message("v", "of the phone's")).await;
    stage.tells("item/completed", message("v", "of the phone's")).await;
    let interrupt = stage.heard().await;
    let of_turn = json!({"threadId": "t", "turnId": "v"});
    assert_eq!((&interrupt["method"], &interrupt["params"]), (&json!("turn/interrupt"), &of_turn));
    stage.heeds().await;
    stage.hears_nothing_more().await;
}
