//! What is open when the connection to the app-server is lost.

use farhelm_core::codex::question::Answers;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::super::asked::Held;
use super::*;
use crate::host::devices::now_ms;
use crate::host::ledger::Said;

/// What a resume answers while thread `t` works, and waits for this.
fn working(flags: Value) -> Value {
    let mut answer = resumed(json!([]));
    answer["thread"]["status"] = json!({"type": "active", "activeFlags": flags});
    answer
}

impl Stage {
    /// The connection is lost, another one made, and its resume answered so.
    async fn reconnects(&mut self, answer: Value) {
        self.codex = None;
        self.codex = Some(within(self.fake.initialized()).await);
        self.answers("thread/loaded/list", json!({"data": ["t"]})).await;
        self.answers("thread/resume", answer).await;
    }

    async fn inquires(&mut self, request: i64) {
        let params = json!({"threadId": "t", "turnId": "u", "itemId": "q", "questions": [{"id": "q", "header": "Pick",
            "question": "Which one?", "options": [{"label": "A", "description": ""}]}]});
        self.codex().says(question("item/tool/requestUserInput", request, params)).await;
    }
}

#[tokio::test]
async fn an_approval_dies_with_its_process_and_is_asked_anew_by_the_next() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    let approval = phone.asked().await;
    stage.fake.restarts();
    stage.reconnects(resumed(json!([]))).await;
    let resolved = phone.resolved().await;
    assert_eq!((resolved.key, resolved.outcome, resolved.by), (approval.key, Outcome::Lost, None));
    phone.decides(&approval, Decision::Accept).await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::Over));
    stage.asks(0, "make").await;
    let again = phone.asked().await;
    assert_eq!(again.key.request, approval.key.request);
    assert_ne!(again.key, approval.key, "a decision on the former one must not count for this one");
}

#[tokio::test]
async fn a_decision_counts_over_another_connection_to_the_same_process() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    let approval = phone.asked().await;
    stage.reconnects(working(json!(["waitingOnApproval"]))).await;
    assert_eq!(stage.phone(3).await.asked().await, approval, "shown to whoever comes meanwhile");
    stage.asks(0, "make").await;
    phone.decides(&approval, Decision::Accept).await;
    stage.takes(json!({"id": 0, "result": {"decision": "accept"}})).await;
    let (counts, resolved) = phone.settled().await;
    assert_eq!((counts, resolved.outcome), (Ok(()), Outcome::Accepted), "and nothing was said of it in between");
}

#[tokio::test]
async fn an_answer_that_died_with_its_app_server_is_not_said_to_count() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    let approval = phone.asked().await;
    phone.decides(&approval, Decision::Accept).await;
    // It was written, and nobody confirmed it.
    assert_eq!(stage.heard().await, json!({"id": 0, "result": {"decision": "accept"}}));
    stage.fake.restarts();
    stage.reconnects(resumed(json!([]))).await;
    let (counts, resolved) = phone.settled().await;
    assert_eq!((counts, resolved.outcome), (Err(DecisionRefusal::OutcomeUnknown), Outcome::Lost));
}

#[tokio::test]
async fn an_answer_that_codex_did_not_keep_is_given_again_and_counts_once_it_is_confirmed() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    let approval = phone.asked().await;
    phone.decides(&approval, Decision::Accept).await;
    assert_eq!(stage.heard().await, json!({"id": 0, "result": {"decision": "accept"}}));
    stage.reconnects(working(json!(["waitingOnApproval"]))).await;
    stage.asks(0, "make").await;
    stage.takes(json!({"id": 0, "result": {"decision": "accept"}})).await;
    let (counts, resolved) = phone.settled().await;
    assert_eq!((counts, resolved.outcome), (Ok(()), Outcome::Accepted));
}

#[tokio::test]
async fn what_is_decided_while_codex_is_away_is_said_when_it_asks_again() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    stage.inquires(1).await;
    let (approval, asked) = (phone.asked().await, phone.questioned().await);
    stage.codex = None;
    phone.decides(&approval, Decision::Decline).await;
    let answers = Answers::new(&asked, [("q".to_owned(), vec!["A".to_owned()])].into()).expect("answers");
    phone.logs(Envelope::Answers(answers)).await;
    stage.reconnects(working(json!(["waitingOnApproval", "waitingOnUserInput"]))).await;
    stage.asks(0, "make").await;
    stage.takes(json!({"id": 0, "result": {"decision": "decline"}})).await;
    stage.inquires(1).await;
    stage.takes(json!({"id": 1, "result": {"answers": {"q": {"answers": ["A"]}}}})).await;
    // Only now: until Codex heard it, nobody knows whether it will count.
    assert_eq!((phone.decided().await, phone.decided().await), (Ok(()), Ok(())));
}

#[tokio::test]
async fn an_answer_that_codex_did_not_hear_is_not_said_again_for_a_phone_that_may_not_say_it_any_more() {
    let mut stage = Stage::following().await;
    let (mut phone, mut other) = (stage.phone(2).await, stage.phone(3).await);
    stage.asks(0, "make").await;
    let approval = phone.asked().await;
    stage.codex = None;
    phone.decides(&approval, Decision::Accept).await;
    stage.grant(2, Grant::of(Right::Viewer));
    stage.reconnects(working(json!(["waitingOnApproval"]))).await;
    stage.asks(0, "make").await;
    // The question behind it shows that the approval was heard.
    stage.inquires(1).await;
    other.questioned().await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::NotAllowed));
    other.decides(&approval, Decision::Decline).await;
    stage.takes(json!({"id": 0, "result": {"decision": "decline"}})).await;
    assert_eq!(other.decided().await, Ok(()));
}

#[tokio::test]
async fn what_a_thread_does_not_wait_for_any_more_is_over_once_it_is_resumed() {
    for status in [working(json!([])), resumed(json!([]))] {
        let mut stage = Stage::following().await;
        let mut phone = stage.phone(2).await;
        stage.asks(0, "make").await;
        let approval = phone.asked().await;
        stage.reconnects(status).await;
        let resolved = phone.resolved().await;
        assert_eq!((resolved.key, resolved.outcome, resolved.by), (approval.key, Outcome::Elsewhere, None));
    }
}

#[tokio::test]
async fn a_decision_that_was_signed_before_the_host_was_started_again_is_taken() {
    let asked = command(0, now_ms() - 1000);
    let mut stage = Stage::following().await;
    stage.codex().says(asked.clone()).await;
    let approval = stage.phone(2).await.asked().await;

    let Stage { fake, .. } = stage;
    let mut stage = Stage::on(fake, &["t"]).await;
    stage.answers("thread/resume", working(json!(["waitingOnApproval"]))).await;
    stage.codex().says(asked).await;
    let mut phone = stage.phone(2).await;
    assert_eq!(phone.asked().await, approval, "the deadline, too, is signed");
    phone.decides(&approval, Decision::Accept).await;
    stage.takes(json!({"id": 0, "result": {"decision": "accept"}})).await;
    assert_eq!(phone.decided().await, Ok(()));
}

#[tokio::test]
async fn a_decision_that_comes_before_codex_asks_again_waits_for_that() {
    let mut stage = Stage::following().await;
    stage.asks(0, "make").await;
    let approval = stage.phone(2).await.asked().await;

    let Stage { fake, .. } = stage;
    let mut stage = Stage::on(fake, &["t"]).await;
    let mut phone = stage.phone(2).await;
    let early = SignedDecision::sign(&phone.identity, host().node_id(), &approval, Decision::Decline).expect("whole");
    let (reply, mut told) = oneshot::channel();
    let (device, said) = (phone.identity.node_id(), Said::Decision(early));
    let held = Held { device, act: ByteArray::new([7; 16]), unknown: false, said, reply };
    stage.bridge.command(Command::Say(held)).await.expect("the bridge lives");
    // Codex asks what waits only after the answer to the resume.
    stage.answers("thread/resume", working(json!(["waitingOnApproval"]))).await;
    phone.attached.watch(vec!["t".into()]).await;
    phone.shown().await;
    // Attached means that the actor has come this far.
    stage.phone(3).await;
    assert_eq!(told.try_recv(), Err(TryRecvError::Empty), "it waits on");
}

/// Codex asks for a command, since then.
fn command(request: i64, since_ms: u64) -> Value {
    let params = json!({"kind": "command", "threadId": "t", "turnId": "u", "itemId": "i", "startedAtMs": since_ms,
        "command": "make", "cwd": "/src"});
    question("item/commandExecution/requestApproval", request, params)
}
