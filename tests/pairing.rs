//! Pairing with more than one phone, or more than one try: who gets in, who is told what.

use std::sync::Arc;
use std::time::Duration;

use farhelm::demo::world::{Behind, World, another_phone};
use farhelm::host::desk::{Consent, Desk, Event};
use farhelm::host::invitation::Invitation;
use farhelm_core::pairing::{Ticket, TicketSecret};
use farhelm_core::policy::{Folders, Grant, Right, Terms};
use farhelm_phone::{Client, PairError, key_store};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Ten times what anything here took on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn offer(world: &World) -> (Invitation, mpsc::Receiver<Event>) {
    offer_on(world, Terms::default()).await
}

async fn offer_on(world: &World, terms: Terms) -> (Invitation, mpsc::Receiver<Event>) {
    let (events, heard) = mpsc::channel(8);
    let desk = Desk::new(Consent::Ask, events);
    (world.host.offer_on(terms, Duration::from_secs(300), desk).await.expect("an offer"), heard)
}

async fn phone() -> Client {
    another_phone(Arc::new(key_store::Memory::default())).await.expect("a phone")
}

async fn heard(desk: &mut mpsc::Receiver<Event>) -> Event {
    timeout(PATIENCE, desk.recv()).await.expect("in time").expect("an open offer")
}

async fn asked(desk: &mut mpsc::Receiver<Event>) -> ([&'static str; 4], oneshot::Sender<bool>) {
    match heard(desk).await {
        Event::Asks { words, answer, .. } => (words, answer),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_phones_with_one_code_the_first_wins_and_the_desk_hears_of_the_second() {
    let world = World::start(Behind::Script).await.expect("a world");
    let (invitation, mut desk) = offer(&world).await;
    let (first, second) = (phone().await, phone().await);
    let code = invitation.ticket().encode();
    let pairing = first.pair(&code).await.expect("the host answers");
    let shown = pairing.words();
    let finished = tokio::spawn(pairing.finish(PATIENCE));
    let (words, answer) = asked(&mut desk).await;
    assert_eq!(words, shown, "nobody is in between");
    let late = second.pair(&code).await.expect("the host answers").finish(PATIENCE).await;
    assert_eq!(late.expect_err("it is used"), PairError::Spent);
    assert!(matches!(heard(&mut desk).await, Event::SecondScan));
    answer.send(true).expect("it waits");
    finished.await.expect("no panic").expect("the first one is in").host.live(PATIENCE).await.expect("a session");
    assert!(matches!(heard(&mut desk).await, Event::Paired { device, .. } if device == first.id()));
    first.shutdown().await;
    second.shutdown().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_voids_the_code_for_everybody() {
    let world = World::start(Behind::Script).await.expect("a world");
    let (invitation, mut desk) = offer(&world).await;
    // Keeps the door open, so that the second one is told why.
    let (_other, _its_desk) = offer(&world).await;
    let (first, second) = (phone().await, phone().await);
    let code = invitation.ticket().encode();
    let finished = tokio::spawn(first.pair(&code).await.expect("the host answers").finish(PATIENCE));
    asked(&mut desk).await.1.send(false).expect("it waits");
    assert_eq!(finished.await.expect("no panic").expect_err("it was declined"), PairError::Declined);
    assert!(matches!(heard(&mut desk).await, Event::Declined));
    let late = match second.pair(&code).await {
        Ok(pairing) => pairing.finish(PATIENCE).await.map(drop),
        Err(error) => Err(error),
    };
    assert_eq!(late, Err(PairError::Declined));
    assert!(world.host.devices().list().expect("a book").is_empty());
    first.shutdown().await;
    second.shutdown().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_met_with_silence_and_voids_nothing() {
    let world = World::start(Behind::Script).await.expect("a world");
    let (invitation, mut desk) = offer(&world).await;
    let (right, wrong) = (phone().await, phone().await);
    let guessed = Ticket { secret: TicketSecret::generate(&mut rand::rng()), ..invitation.ticket().clone() };
    let refused = wrong.pair_with(guessed).await.expect_err("it has another secret");
    assert_eq!(refused, PairError::NotAnswered);
    let code = invitation.ticket().encode();
    let finished = tokio::spawn(right.pair(&code).await.expect("the host answers").finish(PATIENCE));
    asked(&mut desk).await.1.send(true).expect("it waits");
    finished.await.expect("no panic").expect("the right one is in");
    right.shutdown().await;
    wrong.shutdown().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_lost_while_the_desk_thinks_is_paired_when_it_comes_back() {
    let world = World::start(Behind::Script).await.expect("a world");
    let (invitation, mut desk) = offer(&world).await;
    let keys = Arc::new(key_store::Memory::default());
    let lost = another_phone(keys.clone()).await.expect("a phone");
    let pairing = lost.pair(&invitation.ticket().encode()).await.expect("the host answers");
    let finished = tokio::spawn(pairing.finish(PATIENCE));
    let (_, answer) = asked(&mut desk).await;
    finished.abort();
    lost.shutdown().await;
    answer.send(true).expect("the desk is asked still");
    assert!(matches!(heard(&mut desk).await, Event::Paired { .. }));
    let back = another_phone(keys).await.expect("the same phone");
    let host = back.connect(world.host.node_id()).await.expect("a remembered host");
    host.live(PATIENCE).await.expect("a session, without another code");
    back.shutdown().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_desk_is_told_what_a_phone_will_get() {
    let world = World::start(Behind::Script).await.expect("a world");
    let folders = Folders::Only(vec![std::env::temp_dir().canonicalize().expect("a folder").display().to_string()]);
    let guest = Grant { right: Right::Viewer, folders, until_ms: Some(u64::MAX / 2) };
    let (invitation, mut desk) = offer_on(&world, guest.clone().into()).await;
    let phone = phone().await;
    let pairing = phone.pair(&invitation.ticket().encode()).await.expect("the host answers");
    let finished = tokio::spawn(pairing.finish(PATIENCE));
    let Event::Asks { grant, answer, .. } = heard(&mut desk).await else { panic!("a question") };
    assert_eq!(grant, guest);
    answer.send(true).expect("it waits");
    finished.await.expect("no panic").expect("it is in");
    assert!(matches!(heard(&mut desk).await, Event::Paired { grant, .. } if grant == guest));
    assert_eq!(world.host.devices().grant_of(phone.id()).expect("a book"), Some(guest));
    phone.shutdown().await;
    world.shutdown().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_phones_with_a_code_each_only_the_first_to_be_let_in_is_owner() {
    let world = World::start(Behind::Script).await.expect("a world");
    let mut asked = Vec::new();
    for _ in 0..2 {
        let (invitation, mut desk) = offer(&world).await;
        let phone = phone().await;
        let pairing = phone.pair(&invitation.ticket().encode()).await.expect("the host answers");
        let finished = tokio::spawn(pairing.finish(PATIENCE));
        let Event::Asks { grant, answer, .. } = heard(&mut desk).await else { panic!("a question") };
        assert_eq!(grant, Grant::of(Right::Owner), "nobody is paired yet");
        asked.push((phone, finished, answer, desk));
    }
    for ((phone, finished, answer, mut desk), right) in asked.into_iter().zip([Right::Owner, Right::Operator]) {
        answer.send(true).expect("it waits");
        finished.await.expect("no panic").expect("it is in");
        assert!(matches!(heard(&mut desk).await, Event::Paired { grant, .. } if grant == Grant::of(right)));
        phone.shutdown().await;
    }
    world.shutdown().await.expect("a clean end");
}
