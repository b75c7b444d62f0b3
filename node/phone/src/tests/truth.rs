//! The host's digests: counted, and a thread that differs is shown again, once.

use farhelm_core::codex::thread::Thread;
use farhelm_core::wire::envelope::{Notification, Snapshot};

use super::*;

fn named(name: &str) -> Thread {
    let mut thread = Thread::from_read(&json!({"thread": row("t")})).unwrap();
    thread.name = Some(name.into());
    thread
}

/// A phone that follows thread `t`, which the host has shown it.
async fn following(name: &str) -> (World, Client, Host, Desk, ThreadWatch) {
    let world = World::new();
    let (client, host) = world.paired().await;
    let mut desk = world.admit().await;
    let (watch, ()) = tokio::join!(host.watch("t"), async {
        while desk.watched().await != ["t"] {}
        desk.shows(named(name)).await;
    });
    let watch = watch.unwrap();
    (world, client, host, desk, watch)
}

impl Desk {
    async fn shows(&self, thread: Thread) {
        self.send(Envelope::Snapshot(Snapshot { thread })).await;
    }

    async fn has(&self, thread: &Thread) {
        self.send(Envelope::Digest(thread.digest())).await;
    }

    /// The phone looks away and back.
    async fn asked_again(&mut self) {
        assert!(self.watched().await.is_empty());
        assert_eq!(self.watched().await, ["t"]);
    }
}

/// Once so many digests were compared.
async fn compared(host: &Host, count: u64) -> Truth {
    let mut truth = host.truth();
    *timeout(LONG, truth.wait_for(|truth| truth.compared >= count)).await.expect("in time").expect("the host is there")
}

#[tokio::test(start_paused = true)]
async fn what_is_the_same_is_counted_and_nothing_else() {
    let (_world, _client, host, mut desk, _watch) = following("a").await;
    let mut there = named("a");
    desk.has(&there).await;
    let params = json!({"threadId": "t", "threadName": "b"});
    there.apply("thread/name/updated", &params);
    let params = ByteBuf::from(params.to_string());
    desk.send(Envelope::Notification(Notification { method: "thread/name/updated".into(), params })).await;
    desk.has(&there).await;
    // Of a thread that isn't followed here.
    desk.has(&Thread::new("u")).await;
    assert_eq!(compared(&host, 2).await, Truth { compared: 2, ..Truth::default() });
    let asked = async {
        let (request, _) = desk.request().await;
        desk.answer(&request, json!({"turnId": "u"})).await;
    };
    let (steered, ()) = tokio::join!(host.steer("t", "u", "hi"), asked);
    assert_eq!((steered, host.truth().borrow().compared), (Ok(()), 2));
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_differs_is_shown_again_and_is_the_hosts_then() {
    let (_world, _client, host, mut desk, mut watch) = following("a").await;
    let there = named("b");
    desk.has(&there).await;
    desk.asked_again().await;
    // Sent before it was asked; it says nothing new.
    desk.has(&named("c")).await;
    desk.shows(there.clone()).await;
    desk.has(&there).await;
    assert_eq!(compared(&host, 2).await, Truth { compared: 2, differed: 1, repaired: 1, unrepaired: 0 });
    assert_eq!(*watch.borrow_and_update(), there);
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_differs_even_then_is_not_asked_for_for_ever() {
    let (_world, _client, host, mut desk, _watch) = following("a").await;
    let other = named("b");
    desk.has(&other).await;
    desk.asked_again().await;
    for _ in 0..3 {
        desk.shows(named("a")).await;
        desk.has(&other).await;
    }
    assert_eq!(compared(&host, 4).await, Truth { compared: 4, differed: 1, repaired: 0, unrepaired: 1 });
    // The next that the phone says isn't a watch.
    let asked = async {
        let Envelope::Request(request) = desk.receive().await else { panic!("it looks away again") };
        desk.answer(&request, json!({"turnId": "u"})).await;
    };
    let (steered, ()) = tokio::join!(host.steer("t", "u", "hi"), asked);
    assert_eq!(steered, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_line_left_open_is_repaired_by_the_next() {
    let (world, _client, host, mut desk, watch) = following("a").await;
    let there = named("b");
    desk.has(&there).await;
    desk.asked_again().await;
    drop(desk);
    let mut desk = world.admit().await;
    assert_eq!(desk.watched().await, ["t"], "it travels with the resume");
    desk.shows(there.clone()).await;
    desk.has(&there).await;
    assert_eq!(compared(&host, 2).await, Truth { compared: 2, differed: 1, repaired: 1, unrepaired: 0 });
    assert_eq!(*watch.borrow(), there);
}
