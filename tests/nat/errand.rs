//! A phone that goes on while something goes wrong: reads again and again, sends message after message, and follows a turn
//! that streams. Says after each read when it was asked and answered, and in the end whether anything was lost or doubled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use farhelm_core::codex::thread::{ItemKind, Thread, TurnStatus};
use farhelm_phone::{Client, Connection, Host, KeyStore, Order, Paging, Policy, ThreadQuery, Via, key_store};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::pocket::{PATIENCE, TICKET, open};

/// For how many seconds its turn streams.
pub(crate) const STREAM: &str = "FARHELM_TEST_STREAM";

pub(crate) async fn run() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("FARHELM_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    }
    let store: Arc<dyn KeyStore> = Arc::new(key_store::Memory::default());
    let client = open(&store, Policy::default()).await;
    let pairing = client.pair(&std::env::var(TICKET).expect("a ticket")).await.expect("the host answers");
    let host = pairing.finish(PATIENCE).await.expect("a pairing").host;
    host.live(PATIENCE).await.expect("a session");
    let stream = format!("SLOW secs={} every=100", std::env::var(STREAM).expect("seconds"));
    let streamed = host.start(stream.as_str()).await.expect("a thread").thread;
    let told = host.start("hello").await.expect("a thread").thread;

    let over = CancellationToken::new();
    let beats = tokio::spawn(over.clone().run_until_cancelled_owned(beat(host.clone())));
    let marks = tokio::spawn(mark(host.clone(), told.clone(), over.clone()));
    obey(&client, &over).await;
    drop(beats);
    let sent = marks.await.expect("no panic");
    let (lost, doubled) = judge(&host, &told, sent).await;
    let whole = is_whole(&host, &streamed).await;
    println!("FOUND {}", json!({ "sent": sent, "lost": lost, "doubled": doubled, "whole": whole }));
    client.shutdown().await;
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// What the world has happen here, until it says that it is over.
async fn obey(client: &Client, over: &CancellationToken) {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await.expect("text") {
        match order.as_str() {
            "changed" => client.network_changed().await,
            _ => break,
        }
    }
    over.cancel();
}

async fn beat(host: Host) {
    loop {
        let asked = now();
        if host.threads(ThreadQuery::newest(1)).await.is_ok() {
            let path = match &*host.state().borrow() {
                Connection::Live(path) | Connection::CatchingUp(path) => match path.via {
                    Via::Direct => "direct".to_owned(),
                    Via::Relay(relay) => relay.map(|relay| relay.to_string()).unwrap_or_default(),
                },
                _ => continue,
            };
            println!("BEAT {asked} {} {path}", now());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn nth(n: usize) -> String {
    format!("mark {n}. {}", "x".repeat(1000))
}

/// Sends a message twice a second, each after the turn before it; how many.
async fn mark(host: Host, thread: String, over: CancellationToken) -> usize {
    let mut watch = host.watch(&thread).await.expect("to follow it");
    for n in 0.. {
        if over.is_cancelled() {
            return n;
        }
        let done = |thread: &Thread| thread.turns.last().is_none_or(|turn| turn.status != TurnStatus::InProgress);
        timeout(PATIENCE, watch.wait_for(done)).await.expect("the turn ends").expect("a thread");
        host.send(&thread, nth(n).as_str()).await.expect("it is taken");
        sleep(Duration::from_millis(500)).await;
    }
    unreachable!("it goes on until it is over")
}

/// How many of the messages that were sent are missing, and how many stand there twice.
async fn judge(host: &Host, thread: &str, sent: usize) -> (usize, usize) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut cursor = None;
    loop {
        let paging = Paging { cursor, limit: Some(4), order: Order::OldestFirst };
        let page = host.history(thread, paging).await.expect("its history");
        for item in page.rows.iter().flat_map(|turn| &turn.items) {
            if let ItemKind::UserMessage { text, .. } = &item.kind {
                *seen.entry(text.clone()).or_default() += 1;
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let times = |n| seen.get(&nth(n)).copied().unwrap_or_default();
    let lost = (0..sent).filter(|n| times(*n) == 0).count();
    (lost, (0..sent).map(|n| times(n).saturating_sub(1)).sum())
}

/// Whether what was followed of the streamed turn is what its history says.
async fn is_whole(host: &Host, thread: &str) -> bool {
    let mut watch = host.watch(thread).await.expect("to follow it");
    let done = |thread: &Thread| thread.turns.last().is_some_and(|turn| turn.status != TurnStatus::InProgress);
    let followed = timeout(PATIENCE, watch.wait_for(done)).await.expect("the turn ends").expect("a thread").clone();
    let page = host.history(thread, Paging { limit: Some(20), ..Paging::default() }).await.expect("its history");
    let said = |turns: &[farhelm_core::codex::thread::Turn]| -> Vec<String> {
        let items = turns.iter().flat_map(|turn| &turn.items);
        let texts = items.filter_map(|item| match &item.kind {
            ItemKind::AgentMessage { text } => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    };
    said(&followed.turns) == said(&page.rows) && !said(&page.rows).is_empty()
}
