//! Digests behind what a phone is sent: of exactly what it has by then.

use farhelm_core::codex::thread::ThreadDigest;

use super::*;

/// A phone that reduces what it hears of thread `t`.
struct Reader {
    phone: Phone,
    thread: Thread,
    /// Notifications since the last digest.
    heard: usize,
}

impl Reader {
    async fn of(stage: &Stage, seed: u8) -> Self {
        let phone = stage.phone(seed).await;
        phone.attached.watch(vec!["t".into()]).await;
        Self { phone, thread: Thread::default(), heard: 0 }
    }

    /// The next digest, with everything before it taken in.
    async fn digest(&mut self) -> ThreadDigest {
        self.heard = 0;
        loop {
            match self.phone.told().await {
                Envelope::Snapshot(snapshot) => self.thread = snapshot.thread,
                Envelope::Notification(said) => {
                    self.thread.apply(&said.method, &serde_json::from_slice(&said.params).unwrap());
                    self.heard += 1;
                }
                Envelope::Digest(digest) => return digest,
                _ => {}
            }
        }
    }

    /// How many notifications come before the next digest, with which this phone agrees.
    async fn agrees(&mut self) -> usize {
        let digest = self.digest().await;
        assert!(self.thread.agrees_with(&digest), "{:?}", self.thread);
        self.heard
    }
}

impl Stage {
    async fn says_of_turn(&mut self, method: &str, mut params: Value) {
        (params["threadId"], params["turnId"]) = ("t".into(), "u".into());
        self.tells(method, params).await;
    }

    async fn turn(&mut self, method: &str, status: &str) {
        self.tells(method, json!({"threadId": "t", "turn": {"id": "u", "status": status, "items": []}})).await;
    }
}

#[tokio::test]
async fn behind_each_snapshot_and_each_end_of_a_turn_stands_a_digest_of_what_the_phone_has() {
    let mut stage = Stage::following().await;
    let mut early = Reader::of(&stage, 2).await;
    assert_eq!(early.agrees().await, 0);
    stage.turn("turn/started", "inProgress").await;
    // Some of it isn't for phones, or not all of it.
    stage.says_of_turn("item/reasoning/textDelta", json!({"itemId": "r", "delta": "secret"})).await;
    stage.says_of_turn("item/reasoning/summaryTextDelta", json!({"itemId": "r", "delta": "so"})).await;
    stage.says_of_turn("item/agentMessage/delta", json!({"itemId": "a", "delta": "half "})).await;
    let content = json!([{"type": "text", "text": "seen"}, {"type": "image", "data": "AAAA"}]);
    let tool = json!({"type": "mcpToolCall", "id": "m", "server": "s", "tool": "t", "status": "completed",
        "result": {"content": content, "structuredContent": {"a": 1}}});
    stage.says_of_turn("item/completed", json!({"item": tool})).await;
    // One that comes half way is shown the half, and agrees from there on.
    let mut late = Reader::of(&stage, 3).await;
    late.agrees().await;
    stage.says_of_turn("item/agentMessage/delta", json!({"itemId": "a", "delta": "a word"})).await;
    stage.turn("turn/completed", "completed").await;
    assert_eq!(early.agrees().await, 6);
    late.agrees().await;
    assert_eq!(early.thread, late.thread);
}

#[tokio::test]
async fn a_phone_that_lost_something_differs_until_it_is_shown_the_thread_again() {
    let mut stage = Stage::following().await;
    let mut reader = Reader::of(&stage, 2).await;
    reader.agrees().await;
    let said = json!({"item": {"type": "agentMessage", "id": "a", "text": "hello"}});
    stage.says_of_turn("item/completed", said).await;
    stage.turn("turn/completed", "completed").await;
    let digest = reader.digest().await;
    reader.thread.turns[0].items.clear();
    assert!(!reader.thread.agrees_with(&digest));
    // What a phone does then: it looks away, and looks again.
    reader.phone.attached.watch(Vec::new()).await;
    reader.phone.attached.watch(vec!["t".into()]).await;
    reader.agrees().await;
    assert_eq!(reader.thread.turns[0].items.len(), 1);
}

#[tokio::test]
async fn no_digest_goes_to_a_phone_that_was_not_shown_the_thread() {
    let mut stage = Stage::following().await;
    let elsewhere = Grant { folders: Folders::Only(vec!["/other".into()]), ..Grant::of(Right::Owner) };
    let mut phone = stage.phone_with(3, elsewhere).await;
    phone.attached.watch(vec!["t".into()]).await;
    let mut reader = Reader::of(&stage, 2).await;
    reader.agrees().await;
    stage.turn("turn/completed", "completed").await;
    reader.agrees().await;
    stage.tells("account/rateLimits/updated", json!({"rateLimits": {}})).await;
    loop {
        match phone.told().await {
            Envelope::Digest(digest) => panic!("{digest:?}"),
            Envelope::Notification(_) => return,
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_between_turns_is_compared_after_a_while() {
    let mut stage = Stage::following().await;
    let mut reader = Reader::of(&stage, 2).await;
    reader.agrees().await;
    for name in ["one", "two"] {
        stage.tells("thread/name/updated", json!({"threadId": "t", "threadName": name})).await;
        assert_eq!(reader.agrees().await, 1);
        assert_eq!(reader.thread.name.as_deref(), Some(name));
    }
}
