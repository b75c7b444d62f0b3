//! What becomes of a change when the connection to Codex is lost before it answered.

use farhelm_core::wire::envelope::{Request, Response};
use farhelm_store::journal::Stage as JournalStage;

use super::*;

fn request(method: &str, params: Value) -> Envelope {
    let params = ByteBuf::from(params.to_string());
    Envelope::Request(Request { id: ByteArray::new([7; 16]), method: method.into(), params })
}

fn prompt() -> Envelope {
    let input = json!([{"type": "text", "text": "hi"}]);
    request("turn/start", json!({"threadId": "t", "input": input, "clientUserMessageId": "c1"}))
}

fn turns(status: &str) -> Value {
    json!({"data": [{"id": "u9", "status": status, "items": []}], "nextCursor": null})
}

fn items(client_id: &str) -> Value {
    let item = json!({"type": "userMessage", "id": "m", "clientId": client_id, "content": []});
    json!({"data": [{"turnId": "u9", "item": item}], "nextCursor": null})
}

impl Phone {
    async fn responded(&mut self) -> Result<Value, FailedBy> {
        loop {
            if let Envelope::Response(Response { result, .. }) = self.told().await {
                return result.map(|text| serde_json::from_slice(&text).unwrap()).map_err(|failure| failure.by);
            }
        }
    }
}

impl Stage {
    /// A phone asks for something, Codex hears it, and the connection is lost before it answers.
    async fn loses(&mut self, asked: Envelope) -> Phone {
        let phone = self.phone(2).await;
        let Envelope::Request(Request { method, .. }) = &asked else { panic!("a request") };
        let (method, works) = (method.clone(), matches!(method.as_str(), "turn/start" | "thread/compact/start"));
        phone.logs(asked).await;
        if works {
            self.has_no_tools().await;
        }
        assert_eq!(self.heard().await["method"], method);
        self.codex = None;
        self.codex = Some(within(self.fake.initialized()).await);
        self.answers("thread/loaded/list", json!({"data": ["t"]})).await;
        self.answers("thread/resume", resumed(json!([]))).await;
        phone
    }

    async fn has_no_tools(&mut self) {
        self.answers("mcpServerStatus/list", json!({"data": []})).await;
    }
}

#[tokio::test]
async fn a_prompt_that_codex_took_is_found_by_its_own_id_and_not_sent_again() {
    let mut stage = Stage::followed().await;
    let mut phone = stage.loses(prompt()).await;
    stage.has_no_tools().await;
    stage.answers("thread/turns/list", turns("completed")).await;
    stage.answers("thread/items/list", items("c1")).await;
    assert_eq!(phone.responded().await.unwrap()["turn"]["id"], "u9");
    stage.hears_nothing_more().await;
}

#[tokio::test]
async fn a_prompt_that_codex_did_not_take_is_sent_again() {
    let mut stage = Stage::followed().await;
    let mut phone = stage.loses(prompt()).await;
    stage.has_no_tools().await;
    stage.answers("thread/turns/list", turns("completed")).await;
    stage.answers("thread/items/list", items("another")).await;
    stage.answers("turn/start", json!({"turn": {"id": "u10", "items": [], "status": "inProgress"}})).await;
    assert_eq!(phone.responded().await.unwrap()["turn"]["id"], "u10");
    stage.hears_nothing_more().await;
}

#[tokio::test]
async fn a_prompt_that_may_wait_for_the_running_turn_is_looked_for_until_that_took_it_up() {
    let mut stage = Stage::followed().await;
    let mut phone = stage.loses(prompt()).await;
    stage.has_no_tools().await;
    stage.answers("thread/turns/list", turns("inProgress")).await;
    stage.answers("thread/items/list", items("another")).await;
    stage.answers("thread/turns/list", turns("inProgress")).await;
    stage.answers("thread/items/list", items("c1")).await;
    assert_eq!(phone.responded().await.unwrap()["turn"]["id"], "u9");
    stage.hears_nothing_more().await;
}

#[tokio::test]
async fn what_happens_at_most_once_is_not_sent_again_and_ends_in_doubt() {
    let mut stage = Stage::followed().await;
    let mut phone = stage.loses(request("thread/compact/start", json!({"threadId": "t"}))).await;
    assert_eq!(phone.responded().await, Err(FailedBy::OutcomeUnknown));
    stage.hears_nothing_more().await;
}

#[tokio::test]
async fn what_may_happen_twice_is_sent_again() {
    let mut stage = Stage::followed().await;
    let mut phone = stage.loses(request("turn/interrupt", json!({"threadId": "t", "turnId": "u"}))).await;
    stage.answers("turn/interrupt", json!({})).await;
    assert!(phone.responded().await.is_ok());
}

#[tokio::test]
async fn messages_to_one_thread_reach_codex_in_their_order() {
    let mut stage = Stage::followed().await;
    let phone = stage.phone(2).await;
    for n in 0..4_u8 {
        let input = json!([{"type": "text", "text": n.to_string()}]);
        let params = ByteBuf::from(json!({"threadId": "t", "input": input, "clientUserMessageId": "c"}).to_string());
        phone
            .logs(Envelope::Request(Request { id: ByteArray::new([n; 16]), method: "turn/start".into(), params }))
            .await;
    }
    for n in 0..4_u8 {
        stage.has_no_tools().await;
        let heard = stage.heard().await;
        assert_eq!(heard["params"]["input"][0]["text"], n.to_string());
        let answer = json!({"id": heard["id"], "result": {"turn": {"id": "u", "items": [], "status": "inProgress"}}});
        stage.codex().says(answer).await;
    }
}

fn taken_up() -> Value {
    let item = json!({"type": "userMessage", "id": "m", "clientId": "c1", "content": []});
    json!({"threadId": "t", "turnId": "u9", "completedAtMs": 1, "item": item})
}

impl Stage {
    /// The connection is lost after Codex has answered a prompt, and another one made.
    async fn loses_after_the_answer(&mut self, says: Option<Value>) -> Phone {
        let mut phone = self.phone(2).await;
        phone.logs(prompt()).await;
        self.has_no_tools().await;
        self.answers("turn/start", json!({"turn": {"id": "u9", "items": [], "status": "inProgress"}})).await;
        assert_eq!(phone.responded().await.unwrap()["turn"]["id"], "u9");
        if let Some(says) = says {
            self.tells("item/completed", says).await;
            self.settles(&phone).await;
        }
        self.codex = None;
        self.codex = Some(within(self.fake.initialized()).await);
        self.answers("thread/loaded/list", json!({"data": ["t"]})).await;
        self.answers("thread/resume", resumed(json!([]))).await;
        phone
    }
}

impl Stage {
    /// Waits until the prompt is over for the host.
    async fn settles(&self, phone: &Phone) {
        let acts = || self.journal.read(phone.identity.node_id()).expect("a journal").acts;
        within(async {
            while acts().iter().any(|(_, act)| act.stage != JournalStage::Done) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_prompt_that_codex_answered_and_did_not_keep_is_given_to_it_again() {
    let mut stage = Stage::followed().await;
    let mut phone = stage.loses_after_the_answer(None).await;
    stage.has_no_tools().await;
    stage.answers("thread/turns/list", turns("completed")).await;
    stage.answers("thread/items/list", items("another")).await;
    stage.answers("turn/start", json!({"turn": {"id": "u10", "items": [], "status": "inProgress"}})).await;
    stage.tells("item/completed", taken_up()).await;
    stage.settles(&phone).await;
    stage.hears_nothing_more().await;
    // Its answer stands: the next one is about the next question.
    phone.logs(request("turn/interrupt", json!({"threadId": "t", "turnId": "u"}))).await;
    stage.answers("turn/interrupt", json!({})).await;
    assert_eq!(phone.responded().await.unwrap(), json!({}));
}

#[tokio::test]
async fn a_prompt_that_codex_answered_and_kept_is_found_and_not_sent_again() {
    let mut stage = Stage::followed().await;
    stage.loses_after_the_answer(None).await;
    stage.has_no_tools().await;
    stage.answers("thread/turns/list", turns("completed")).await;
    stage.answers("thread/items/list", items("c1")).await;
    stage.hears_nothing_more().await;
}

#[tokio::test]
async fn a_prompt_that_codex_said_it_kept_is_not_looked_for() {
    let mut stage = Stage::followed().await;
    stage.loses_after_the_answer(Some(taken_up())).await;
    stage.hears_nothing_more().await;
}
