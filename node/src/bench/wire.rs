//! What an answer costs on its way to a phone, and how much later it is there.
//!
//! An answer of many words is written by the scripted agent: once as fast as the words come, once at a steady rate, in one
//! world one after the other. Three things are counted from the prompt to the end of the turn: the JSON that the
//! app-server sent to the host, the session's bytes that the phone received (records with their headers and tags), and
//! what TCP carried to the phone (libp2p's Noise and Yamux included).
//!
//! The *added delay* of a word is the time from its leaving the app-server until a screen could show it, that is until
//! it is in the watched thread. The limits are those of a release build on a machine that has time.

use std::time::{Duration, Instant};

use farhelm_core::codex::thread::{ItemKind, Thread, TurnStatus};
use farhelm_phone::ThreadWatch;
use serde::Serialize;

use super::tap::Heard;
use super::world::{Error, World, within};

/// One of the measured answers.
#[derive(Debug, Clone, Copy)]
struct Plan {
    name: &'static str,
    words: u32,
    /// Milliseconds between two words.
    pause: u32,
    /// The session's bytes may be this part of the app-server's.
    ratio: f64,
}

/// A word of the answer, in bytes.
const WORD: usize = 6;

/// The 99th percentile of the added delay may be this.
const DELAY: Duration = Duration::from_millis(50);

const PLANS: [Plan; 2] = [
    Plan { name: "as fast as they come", words: 2000, pause: 0, ratio: 0.10 },
    Plan { name: "100 a second", words: 500, pause: 10, ratio: 0.25 },
];

/// What was measured of one answer.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// Which.
    pub name: &'static str,
    /// Words in it.
    pub words: u32,
    /// Bytes of JSON that the app-server sent.
    pub app_server_bytes: u64,
    /// Bytes of the session's records that the phone received.
    pub session_bytes: u64,
    /// Bytes that TCP carried to the phone.
    pub socket_bytes: u64,
    /// Bytes of records, if every word had one of its own.
    pub a_record_each_bytes: u64,
    /// The session's bytes by the app-server's.
    pub ratio: f64,
    /// What that may be.
    pub ratio_limit: f64,
    /// The added delay in milliseconds, of the word in the middle.
    pub delay_p50_ms: f64,
    /// And of all but one in a hundred.
    pub delay_p99_ms: f64,
    /// What that may be.
    pub delay_limit_ms: f64,
}

impl Measured {
    /// Whether little enough was sent.
    pub fn is_thrifty(&self) -> bool {
        self.ratio <= self.ratio_limit
    }

    /// Whether it was there soon enough.
    pub fn is_prompt(&self) -> bool {
        self.delay_p99_ms <= self.delay_limit_ms
    }
}

/// Measures every answer; each goes to `tell` as soon as it is.
pub async fn run(mut tell: impl FnMut(Measured)) -> Result<(), Error> {
    let world = World::start().await?;
    let measured = async {
        let started = within("a thread", world.paired.start("hello")).await??;
        let mut thread = within("the thread", world.paired.watch(&started.thread)).await??;
        within("its first turn", over(&mut thread, &started.turn)).await??;
        for plan in PLANS {
            tell(measure(&world, &started.thread, &mut thread, plan).await?);
        }
        Ok(())
    };
    let measured = measured.await;
    let ended = world.shutdown().await;
    measured.and(ended)
}

async fn measure(world: &World, id: &str, thread: &mut ThreadWatch, plan: Plan) -> Result<Measured, Error> {
    let Plan { words, pause, .. } = plan;
    let _ = world.tap.take();
    let before = (world.paired.traffic().received, world.leg.received());
    let prompt = format!("LONG n={words} size={WORD} delay={pause}");
    let turn = within("the turn", world.paired.send(id, &prompt)).await??;
    let shown = within("the answer's end", watch(thread, &turn)).await??;
    let session_bytes = world.paired.traffic().received - before.0;
    let socket_bytes = world.leg.received() - before.1;
    let Heard { bytes: app_server_bytes, each, pieces } = world.tap.take();
    let delays = delays(&pieces, &shown);
    Ok(Measured {
        name: plan.name,
        words,
        app_server_bytes,
        session_bytes,
        socket_bytes,
        a_record_each_bytes: each,
        ratio: session_bytes as f64 / app_server_bytes as f64,
        ratio_limit: plan.ratio,
        delay_p50_ms: percentile(&delays, 50),
        delay_p99_ms: percentile(&delays, 99),
        delay_limit_ms: milliseconds(DELAY),
    })
}

/// Looks on until the turn is over: when there was how much of its answer.
async fn watch(thread: &mut ThreadWatch, turn: &str) -> Result<Vec<(Instant, usize)>, Error> {
    let mut shown = Vec::new();
    loop {
        let (length, over) = {
            let thread = thread.borrow_and_update();
            (answer(&thread, turn), is_over(&thread, turn))
        };
        shown.push((Instant::now(), length));
        if over {
            return Ok(shown);
        }
        thread.changed().await?;
    }
}

async fn over(thread: &mut ThreadWatch, turn: &str) -> Result<(), Error> {
    thread.wait_for(|thread| is_over(thread, turn)).await?;
    Ok(())
}

fn is_over(thread: &Thread, turn: &str) -> bool {
    thread.turn(turn).is_some_and(|turn| turn.status != TurnStatus::InProgress)
}

fn answer(thread: &Thread, turn: &str) -> usize {
    let items = thread.turn(turn).into_iter().flat_map(|turn| turn.items.iter().rev());
    let texts = items.filter_map(|item| match &item.kind {
        ItemKind::AgentMessage { text } => Some(text.len()),
        _ => None,
    });
    texts.max().unwrap_or(0)
}

/// Of each piece that was said, how long after it there was as much to see; sorted.
fn delays(said: &[(Instant, usize)], shown: &[(Instant, usize)]) -> Vec<Duration> {
    let mut shown = shown.iter().peekable();
    let mut delays = Vec::with_capacity(said.len());
    for (at, length) in said {
        while shown.next_if(|(_, there)| there < length).is_some() {}
        let Some((seen, _)) = shown.peek() else { break };
        delays.push(seen.saturating_duration_since(*at));
    }
    delays.sort_unstable();
    delays
}

fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).map_or(f64::INFINITY, |delay| milliseconds(*delay))
}

fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e5).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_ends_when_as_much_is_there() {
        let (t, ms) = (Instant::now(), Duration::from_millis(1));
        let said = [(t, 3), (t + ms, 6), (t + 2 * ms, 9)];
        let shown = [(t, 0), (t + 4 * ms, 6), (t + 9 * ms, 9)];
        assert_eq!(delays(&said, &shown), [3 * ms, 4 * ms, 7 * ms]);
        assert_eq!(percentile(&delays(&said, &shown), 50), 4.0);
        assert_eq!(percentile(&[], 99), f64::INFINITY);
    }

    /// How long it takes is a matter of the machine and the build, and is only said.
    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_costs_no_more_than_it_may() {
        let mut all = Vec::new();
        run(|measured| all.push(measured)).await.expect("measured");
        for measured in &all {
            println!("{measured:?}");
            assert!(measured.delay_p99_ms.is_finite(), "{measured:?}");
            // Both are counted while frames may be on their way, so the smaller may be the greater by a few of them.
            assert!(measured.session_bytes * 9 / 10 < measured.socket_bytes, "{measured:?}");
            assert!(measured.is_thrifty(), "{measured:?}");
        }
        assert_eq!(all.len(), PLANS.len());
    }
}
