//! Questions: told, answered as they were shown, and over.

use std::collections::BTreeMap;

use farhelm_core::codex::approval::{Key, Outcome};
use farhelm_core::codex::question::Question;
use farhelm_core::wire::envelope::{Decided, DecisionRefusal, Resolved};
use serde_bytes::ByteArray;

use super::*;

fn question() -> Question {
    let params = json!({"threadId": "t", "turnId": "u", "itemId": "i", "questions": [
        {"id": "q", "header": "Pick", "question": "Which one?", "options": [{"label": "A", "description": ""}]}]});
    Question::from_request(&params, Key { epoch: ByteArray::new([7; 16]), request: 5 }).unwrap()
}

fn picks(label: &str) -> BTreeMap<String, Vec<String>> {
    [("q".to_owned(), vec![label.to_owned()])].into()
}

/// A host with one question open, and the phone knowing.
async fn with_question() -> (World, Client, Host, Desk) {
    let world = World::new();
    let (client, host) = world.paired().await;
    let mut desk = world.admit().await;
    desk.watched().await;
    desk.lists(Vec::new()).await;
    let mut events = host.events();
    desk.send(Envelope::Question(question())).await;
    host.questions().wait_for(|open| !open.is_empty()).await.unwrap();
    while !matches!(events.recv().await, Ok(Event::Question(told)) if told == question()) {}
    (world, client, host, desk)
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_as_it_was_shown() {
    let (_world, client, host, mut desk) = with_question().await;
    let shown = question();
    assert_eq!(host.asked(LONG).await, Ok(vec![question()]));
    let desk = async {
        let Envelope::Answers(answers) = desk.receive().await else { panic!("answers") };
        assert_eq!(question().result(&answers), Some(json!({"answers": {"q": {"answers": ["A"]}}})));
        desk.send(Envelope::Decided(Decided { key: answers.key, result: Ok(()) })).await;
        let resolved = Resolved { key: answers.key, outcome: Outcome::Accepted, by: Some(client.id()) };
        desk.send(Envelope::Resolved(resolved)).await;
    };
    assert_eq!(tokio::join!(host.answer(&shown, picks("A")), desk).0, Ok(()));
    host.questions().wait_for(Vec::is_empty).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_not_sent() {
    let (_world, _client, host, mut desk) = with_question().await;
    let shown = question();
    assert_eq!(host.answer(&question(), picks("B")).await, Err(DecideError::NotAnAnswer));
    assert_eq!(host.answer(&question(), BTreeMap::new()).await, Err(DecideError::NotAnAnswer));
    let desk = async {
        let Envelope::Answers(answers) = desk.receive().await else { panic!("answers") };
        desk.send(Envelope::Decided(Decided { key: answers.key, result: Err(DecisionRefusal::NotAllowed) })).await;
    };
    assert_eq!(tokio::join!(host.answer(&shown, picks("A")), desk).0, Err(DecideError::NotAllowed));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_ended_while_the_phone_was_away_is_told() {
    let (world, _client, host, desk) = with_question().await;
    let mut events = host.events();
    drop(desk);
    let _desk = world.admit().await;
    while !matches!(events.recv().await, Ok(Event::Gone { key, .. }) if key == question().key) {}
    assert!(host.questions().borrow().is_empty());
}
