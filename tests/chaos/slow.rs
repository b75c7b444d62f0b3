//! A phone that reads nothing: what it costs the host, and that the others don't notice.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::Instant;

use super::effects::Effects;
use super::plan::Plan;
use super::verdict;
use super::work::{LOOK, Work};
use super::world::{Manner, PATIENCE, World};

/// How long each part goes on: far longer than it takes to fill whatever can be full.
const PART: Duration = Duration::from_secs(60);
/// What may be held for a phone that reads nothing, in KiB: 4 MiB of urgent envelopes, 1 MiB of each thread's stream,
/// half a MiB on its way and what the sockets hold, twice for copies under way, and the allocator's slack.
const ROOM: u64 = 16 * 1024;

/// How it went while the second phone read, or didn't.
struct Part {
    /// The host's memory at most, in KiB.
    most: u64,
    /// The longest from a prompt to its approval's end at the first phone.
    longest: Duration,
    approvals: u32,
}

pub(crate) async fn holds() {
    let mut slow = Slow::start().await;
    // Whatever is built up by the work itself is there before anything is compared.
    slow.part(PART / 4).await;
    let reading = slow.part(PART).await;
    slow.signal(Signal::STOP).await;
    let deaf = slow.part(PART).await;
    slow.signal(Signal::CONT).await;
    let more = deaf.most.saturating_sub(reading.most);
    println!(
        "a phone that read nothing for {} s: the host had {} MiB with it, {} MiB before; {more} KiB more (bound {ROOM})",
        PART.as_secs(),
        deaf.most / 1024,
        reading.most / 1024
    );
    println!(
        "the other phone's approvals: {} and then {}, the longest took {:?} and then {:?}",
        reading.approvals, deaf.approvals, reading.longest, deaf.longest
    );
    assert!(more <= ROOM);
    let verdict = verdict::judge(slow.work).await;
    assert!(verdict.is_clean(), "and it has caught up: {verdict:#?}");
}

struct Slow {
    work: Work,
    number: u32,
}

impl Slow {
    async fn start() -> Self {
        let world = World::start(Arc::new(Plan::new(1, 0, None)), Manner::default()).await;
        Self { work: Work::of(world).await, number: 0 }
    }

    /// Long answers, each with an approval that only the first phone decides on.
    async fn part(&mut self, time: Duration) -> Part {
        let until = Instant::now() + time;
        let mut part = Part { most: 0, longest: Duration::ZERO, approvals: 0 };
        while Instant::now() < until {
            self.number += 1;
            let (began, word) = (Instant::now(), format!("p{:04}.", self.number));
            assert!(self.work.say(&format!("LONG n=400 size=200 {word}")).await);
            assert!(self.work.say(&format!("ESCALATE cmd=echo {word}")).await);
            self.settle(&word).await;
            part.longest = part.longest.max(began.elapsed());
            part.approvals += 1;
            part.most = part.most.max(memory(self.work.world.host().await));
        }
        part
    }

    async fn settle(&mut self, word: &str) {
        let phone = &self.work.world.phones[0];
        let item = phone.until("an approval", |view| view.item(word).is_some()).await.item(word).cloned();
        let item = item.expect("it was there");
        phone.tell(&json!({"do": "decide", "item": item, "accept": true})).await;
        self.work.decisions.entry(item.clone()).or_default().insert("accept");
        let deadline = Instant::now() + PATIENCE;
        while self.effects().asks.is_some() {
            assert!(Instant::now() < deadline, "{item} is never decided");
            tokio::time::sleep(LOOK).await;
        }
    }

    fn effects(&self) -> Effects {
        self.work.effects()
    }

    async fn signal(&self, signal: Signal) {
        let phone = self.work.world.second_phone().await;
        let phone = i32::try_from(phone).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(phone, signal).expect("it runs");
    }
}

/// What a process has in memory, in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
