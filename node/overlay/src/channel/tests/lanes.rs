//! Lanes over a slow link, by tokio's stopped clock: what overtakes what, what keeps its order, what a phone costs that
//! doesn't read.

use std::collections::BTreeMap;

use farhelm_core::codex::thread::Thread;
use farhelm_core::wire::envelope::{Ack, Notification, Response, Snapshot};
use farhelm_core::wire::lane::{self, Lane};
use tokio::time::{Instant, sleep};

use super::*;

/// 256 kbit/s.
const SLOW: usize = 32 * 1024;

/// Carries bytes at this rate, with nothing in between to hide in.
async fn throttle(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, rate: usize) {
    let mut buffer = [0; 512];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        sleep(Duration::from_secs(1).mul_f64(n as f64 / rate as f64)).await;
        if to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
}

/// Phone and host, with a link of this rate each way between them.
async fn over(rate: usize) -> (Channel, Channel) {
    let (phone, host) = identities();
    let ((a, left), (right, b)) = (duplex(512), duplex(512));
    let ((left_in, left_out), (right_in, right_out)) = (tokio::io::split(left), tokio::io::split(right));
    tokio::spawn(throttle(left_in, right_out, rate));
    tokio::spawn(throttle(right_in, left_out, rate));
    let secret = secret();
    let (at_phone, at_host) = tokio::join!(resume(a, &phone, host.node_id(), &secret, "pocket", Vec::new), admit(b));
    (at_phone.unwrap().0, at_host.unwrap())
}

fn response(n: u8, bytes: usize) -> Envelope {
    Envelope::Response(Response { id: ByteArray::new([n; 16]), result: Ok(ByteBuf::from(vec![b' '; bytes])) })
}

fn said(thread: &str, n: usize) -> Envelope {
    let params = format!(r#"{{"threadId":"{thread}","n":{n},"diff":"{}"}}"#, "x".repeat(900));
    Envelope::Notification(Notification { method: "turn/diff/updated".into(), params: ByteBuf::from(params) })
}

fn urgent(n: u64) -> Envelope {
    Envelope::Ack(Ack { upto: n })
}

fn snapshot(thread: &str) -> Envelope {
    Envelope::Snapshot(Snapshot { thread: Thread::new(thread) })
}

#[tokio::test(start_paused = true)]
async fn what_is_urgent_overtakes_a_screenshot_under_way() {
    let (mut phone, host) = over(SLOW).await;
    host.sender().send(response(1, 2_000_000)).await.unwrap();
    for n in 0..5 {
        sleep(Duration::from_secs(7)).await;
        let asked = Instant::now();
        host.sender().offer(urgent(n)).unwrap();
        assert_eq!(phone.receive().await.unwrap(), urgent(n));
        assert!(asked.elapsed() < Duration::from_millis(500), "after {:?}", asked.elapsed());
    }
    assert_eq!(phone.receive().await.unwrap(), response(1, 2_000_000));
}

#[tokio::test(start_paused = true)]
async fn a_screenshot_uses_the_link_all_the_same() {
    let (mut phone, host) = over(SLOW).await;
    let begun = Instant::now();
    host.sender().send(response(1, 2_000_000)).await.unwrap();
    phone.receive().await.unwrap();
    let least = Duration::from_secs_f64(2e6 / SLOW as f64);
    assert!(begun.elapsed() < least.mul_f64(1.15), "{:?} of at least {least:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_lane_is_reordered() {
    let (mut phone, host) = over(1_000_000).await;
    let mut sent = BTreeMap::<Lane, Vec<Envelope>>::new();
    for n in 0..60 {
        let all = [response(n, 30_000), urgent(n.into()), said("t", n.into()), request(usize::from(n))];
        for envelope in all {
            sent.entry(lane::of(&envelope)).or_default().push(envelope.clone());
            host.sender().send(envelope).await.unwrap();
        }
    }
    let mut got = BTreeMap::<Lane, Vec<Envelope>>::new();
    for _ in 0..240 {
        let envelope = phone.receive().await.unwrap();
        got.entry(lane::of(&envelope)).or_default().push(envelope);
    }
    assert_eq!(sent, got);
}

#[tokio::test(start_paused = true)]
async fn much_in_both_directions_at_once_stops_nobody() {
    let (mut phone, mut host) = over(1_000_000).await;
    let (to_host, to_phone) = (phone.sender(), host.sender());
    tokio::spawn(async move {
        for n in 0..8 {
            to_host.send(response(n, 200_000)).await.unwrap();
            to_phone.send(response(n, 200_000)).await.unwrap();
        }
    });
    for n in 0..8 {
        assert_eq!(phone.receive().await.unwrap(), response(n, 200_000));
        assert_eq!(host.receive().await.unwrap(), response(n, 200_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_does_not_read_costs_little_and_is_shown_anew_what_it_missed() {
    let (mut phone, host) = pair_of(&[]).await;
    let mut gaps = host.gaps();
    let mut most = 0;
    for n in 0..20_000 {
        host.sender().offer(said("t", n)).unwrap();
        most = most.max(host.sender().waiting().stream);
        tokio::task::yield_now().await;
    }
    assert!(most <= stream::QUEUED + 64 * 1024, "{most}");
    assert_eq!(timeout(Duration::from_secs(2), gaps.next()).await.unwrap(), "t");
    host.sender().offer(said("t", 1)).unwrap();
    host.sender().offer(snapshot("t")).unwrap();
    host.sender().offer(said("t", 2)).unwrap();
    let mut heard = Vec::new();
    while let Ok(Ok(envelope)) = timeout(Duration::from_secs(2), phone.receive()).await {
        heard.push(envelope);
    }
    assert_eq!(heard[heard.len() - 2..], [snapshot("t"), said("t", 2)]);
    let before: Vec<_> = (0..heard.len() - 2).map(|n| said("t", n)).collect();
    assert!(heard[..before.len()] == before, "what went before the gap is whole and in order");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_room_gets_it_or_learns_the_end() {
    let (mut phone, host) = over(SLOW).await;
    let sender = host.sender();
    for n in 0..4 {
        timeout(Duration::from_millis(1), sender.send(response(n, QUEUED / 3))).await.unwrap().unwrap();
    }
    let waits = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(response(9, 2000)).await }
    });
    assert!(sender.offer(response(8, 2000)).is_err(), "bulk is full");
    sender.offer(urgent(1)).unwrap();
    for _ in 0..2 {
        phone.receive().await.unwrap();
    }
    waits.await.unwrap().unwrap();
    while sender.offer(response(8, 2000)).is_ok() {}
    let waits = tokio::spawn(async move { sender.send(response(9, 2000)).await });
    drop(host);
    assert_eq!(waits.await.unwrap(), Err(NotTaken));
}

#[tokio::test(start_paused = true)]
async fn the_round_trip_is_known_at_once() {
    let (phone, _host) = over(SLOW).await;
    sleep(Duration::from_millis(300)).await;
    assert!(phone.traffic().round_trip().unwrap() < Duration::from_millis(100));
}
