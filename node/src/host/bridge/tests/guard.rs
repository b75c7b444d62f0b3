//! What the host's policy asks for beyond a right, at phones that keep to it and at one that doesn't.

use farhelm_core::codex::approval::Guard;
use farhelm_core::policy::Pattern;

use super::*;

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| Pattern::new(text).expect("a pattern")).collect()
}

/// What a phone that was told of no policy would sign; or one that doesn't care.
fn as_if_unguarded(approval: &Approval) -> Approval {
    Approval { guard: Guard::default(), ..approval.clone() }
}

#[tokio::test]
async fn a_denied_command_is_not_accepted_from_a_phone_that_signs_it_all_the_same() {
    let mut stage = Stage::following().await;
    stage.conditions.send_modify(|conditions| conditions.deny = patterns(&["rm -rf *"]));
    let mut phone = stage.phone(2).await;
    stage.asks(0, "bash -lc 'r\"m\" -rf /src'").await;
    let shown = phone.asked().await;
    assert_eq!(shown.guard.denied.as_deref(), Some("rm -rf *"));
    phone.decides(&as_if_unguarded(&shown), Decision::Accept).await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::Denied));
    phone.decides(&shown, Decision::Decline).await;
    stage.takes(json!({"id": 0, "result": {"decision": "decline"}})).await;
    assert_eq!(phone.decided().await, Ok(()));
}

#[tokio::test]
async fn two_people_are_two_devices_and_everyone_is_shown_who_was_first() {
    let mut stage = Stage::following().await;
    stage.conditions.send_modify(|conditions| conditions.two_person = patterns(&["git push"]));
    let (mut ann, mut bob) = (stage.phone(2).await, stage.phone(3).await);
    stage.asks(0, "git push origin").await;
    let shown = ann.asked().await;
    assert_eq!((shown.guard.two_person, &bob.asked().await), (true, &shown));
    for _ in 0..2 {
        ann.decides(&shown, Decision::Accept).await;
        assert_eq!(ann.decided().await, Err(DecisionRefusal::SecondNeeded));
    }
    let halfway = bob.asked().await;
    assert_eq!(halfway.guard.first.as_ref().map(|first| first.name.as_str()), Some("Ann's"));
    bob.decides(&halfway, Decision::Accept).await;
    stage.takes(json!({"id": 0, "result": {"decision": "accept"}})).await;
    assert_eq!(bob.decided().await, Ok(()));
}

#[tokio::test]
async fn a_first_device_that_may_not_decide_any_more_does_not_count() {
    let mut stage = Stage::following().await;
    stage.conditions.send_modify(|conditions| conditions.two_person = patterns(&["*"]));
    let (mut ann, mut bob) = (stage.phone(2).await, stage.phone(3).await);
    stage.asks(0, "make").await;
    let shown = ann.asked().await;
    ann.decides(&shown, Decision::Accept).await;
    assert_eq!(ann.decided().await, Err(DecisionRefusal::SecondNeeded));
    stage.grant(2, Grant::of(Right::Viewer));
    bob.decides(&shown, Decision::Accept).await;
    assert_eq!(bob.decided().await, Err(DecisionRefusal::SecondNeeded), "now it is the first");
}

#[tokio::test]
async fn a_policy_that_changes_holds_for_what_is_open_and_the_session_goes_on() {
    let mut stage = Stage::following().await;
    let mut phone = stage.phone(2).await;
    stage.asks(0, "make").await;
    let before = phone.asked().await;
    assert!(before.guard.is_open());
    stage.conditions.send_modify(|conditions| conditions.step_up = patterns(&["make"]));
    let shown = phone.asked().await;
    assert_eq!((shown.guard.step_up, shown.key), (true, before.key));
    phone.decides(&before, Decision::Accept).await;
    assert_eq!(phone.decided().await, Err(DecisionRefusal::StepUpNeeded));
    let stepped = SignedDecision::sign_stepped_up(&phone.identity, host().node_id(), &shown, Decision::Accept);
    phone.logs(Envelope::Decision(stepped.expect("stepped up"))).await;
    stage.takes(json!({"id": 0, "result": {"decision": "accept"}})).await;
    assert_eq!(phone.decided().await, Ok(()));
}

#[tokio::test]
async fn the_deadline_is_the_policys() {
    let mut stage = Stage::following().await;
    stage.conditions.send_modify(|conditions| conditions.deadline_ms = 60_000);
    let mut phone = stage.phone(2).await;
    let before = now_ms();
    stage.asks(0, "make").await;
    let deadline = phone.asked().await.deadline_ms;
    assert!((before + 60_000..=now_ms() + 60_000).contains(&deadline), "{deadline}");
}
