//! The keeper on a journal in memory, with phones on real channels.

#[cfg(target_os = "linux")]
mod full;

use std::sync::Arc;
use std::time::Duration;

use farhelm_core::codex::thread::TurnStatus;
use farhelm_core::identity::Identity;
use farhelm_core::session::log::{Heard, LogId, Position};
use farhelm_core::wire::envelope::{Beat, Request, TurnEnded, Watch};
use farhelm_overlay::channel::Channel;
use serde_bytes::{ByteArray, ByteBuf};
use tokio::time::timeout;

use super::*;
use crate::host::bridge::tests::channels;

/// Far beyond what any of these takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("in time")
}

struct Desk {
    journal: Arc<Journal>,
    logs: Logs,
    work: mpsc::Receiver<Work>,
    stop: CancellationToken,
}

impl Desk {
    fn new() -> Self {
        Self::on(Arc::new(Journal::in_memory().unwrap()))
    }

    fn on(journal: Arc<Journal>) -> Self {
        let stop = CancellationToken::new();
        let (logs, work) = Logs::start(journal.clone(), |_| true, stop.clone()).unwrap();
        Self { journal, logs, work, stop }
    }

    /// The host's program is ended and started again.
    fn again(self) -> Self {
        self.stop.cancel();
        Self::on(self.journal)
    }

    async fn work(&mut self) -> Work {
        within(self.work.recv()).await.expect("the keeper lives")
    }
}

/// A phone's end of a path, and the host's.
struct Phone {
    channel: Channel,
    at_host: Channel,
    path: Path,
}

fn device() -> NodeId {
    Identity::from_seed(&[2; 32]).node_id()
}

fn attach(generation: u64, heard: Option<Heard>) -> Attach {
    Attach { generation, position: Position { log: LogId::new([5; 16]), first: 1, heard } }
}

impl Phone {
    async fn at(desk: &Desk, attach: Attach) -> Self {
        let (channel, at_host) = channels(&Identity::from_seed(&[2; 32])).await;
        let path = desk.logs.attach(device(), attach, at_host.sender()).await.expect("a path");
        Self { channel, at_host, path }
    }

    async fn told(&mut self) -> Envelope {
        within(self.channel.receive()).await.expect("an envelope")
    }

    async fn logs(&self, seq: u64, act: u8) {
        self.path.entry(entry(seq, act)).await;
    }

    /// The next entry: its number and what it answers.
    async fn entry(&mut self) -> (u64, Logged) {
        loop {
            if let Envelope::Entry(entry) = self.told().await {
                return (entry.seq, Logged::decode(&entry.body).expect("an envelope"));
            }
        }
    }

    async fn acknowledged(&mut self) -> u64 {
        loop {
            if let Envelope::Ack(ack) = self.told().await {
                return ack.upto;
            }
        }
    }
}

fn request(act: u8) -> Envelope {
    let id = ByteArray::new([act; 16]);
    Envelope::Request(Request { id, method: "turn/start".into(), params: ByteBuf::from("{}") })
}

fn entry(seq: u64, act: u8) -> Entry {
    let logged = Logged { act: Some(ActId::new([act; 16])), envelope: request(act) };
    Entry { seq, body: ByteBuf::from(logged.encode()) }
}

fn ended(turn: &str) -> Envelope {
    Envelope::TurnEnded(TurnEnded { thread: "t".into(), turn: turn.into(), status: TurnStatus::Completed })
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_journal_and_to_be_done_once() {
    let mut desk = Desk::new();
    let mut phone = Phone::at(&desk, attach(1, None)).await;
    phone.logs(1, 7).await;
    phone.logs(1, 7).await;
    assert_eq!(phone.acknowledged().await, 1);
    let work = desk.work().await;
    assert_eq!((work.act[0], work.stage), (7, Stage::Received));
    let kept = desk.journal.read(device()).unwrap();
    assert_eq!((kept.acts.len(), kept.cursors.heard.map(|heard| heard.upto)), (1, Some(1)));
    phone.logs(2, 8).await;
    assert_eq!(desk.work().await.act[0], 8, "the copy was nothing to do");
}

#[tokio::test]
async fn after_a_restart_what_was_not_done_is_work_again_in_its_order() {
    let mut desk = Desk::new();
    let phone = Phone::at(&desk, attach(1, None)).await;
    for (seq, act) in [(1, 9), (2, 3), (3, 6)] {
        phone.logs(seq, act).await;
        desk.work().await;
    }
    desk.logs.forwarded(device(), ActId::new([3; 16])).await.unwrap();
    desk.logs.done(device(), ActId::new([9; 16]), ended("u")).await.unwrap();
    let mut desk = desk.again();
    let (first, second) = (desk.work().await, desk.work().await);
    assert_eq!((first.act[0], first.stage), (3, Stage::Forwarded));
    assert_eq!((second.act[0], second.stage), (6, Stage::Received));
}

#[tokio::test]
async fn an_answered_act_is_work_again_until_it_is_settled_and_its_answer_is_said_once() {
    let mut desk = Desk::new();
    let phone = Phone::at(&desk, attach(1, None)).await;
    let act = ActId::new([7; 16]);
    phone.logs(1, 7).await;
    desk.work().await;
    desk.logs.answered(device(), act, ended("u")).await.unwrap();
    assert_eq!(desk.logs.done(device(), act, ended("v")).await, Err(Unwanted), "it is answered");

    let mut desk = desk.again();
    let again = desk.work().await;
    assert_eq!((again.act, again.stage, &again.envelope), (act, Stage::Answered, &request(7)));
    // To be sent once more says nothing new.
    desk.logs.forwarded(device(), act).await.unwrap();
    desk.logs.settled(device(), act).await.unwrap();
    let desk = desk.again();
    let mut phone = Phone::at(&desk, attach(2, None)).await;
    assert_eq!(phone.entry().await.1.envelope, ended("u"));
    phone.logs(2, 8).await;
    assert_eq!({ desk }.work().await.act[0], 8, "and nothing else is to be done");
}

#[tokio::test]
async fn an_answer_reaches_the_phone_on_its_next_path_and_is_said_again_under_a_new_log() {
    let mut desk = Desk::new();
    let phone = Phone::at(&desk, attach(1, None)).await;
    phone.logs(1, 7).await;
    desk.work().await;
    drop(phone);
    desk.logs.done(device(), ActId::new([7; 16]), ended("u")).await.unwrap();
    let mut phone = Phone::at(&desk, attach(2, None)).await;
    let (_, answer) = phone.entry().await;
    assert_eq!(answer.act, Some(ActId::new([7; 16])));

    // The phone lost its log, and asks under the same id.
    let lost =
        Attach { position: Position { log: LogId::new([6; 16]), ..attach(3, None).position }, ..attach(3, None) };
    let mut phone = Phone::at(&desk, lost).await;
    phone.logs(1, 7).await;
    let mut answers = vec![phone.entry().await.1];
    answers.push(phone.entry().await.1);
    assert!(answers.iter().all(|again| *again == answer));
    phone.logs(2, 8).await;
    assert_eq!(desk.work().await.act[0], 8, "and it isn't done again");
}

#[tokio::test]
async fn what_waits_for_a_phone_is_sent_once_it_is_there_and_until_it_is_stored() {
    let desk = Desk::new();
    desk.logs.push(device(), ended("1"));
    desk.logs.push(device(), ended("2"));
    let mut phone = Phone::at(&desk, attach(1, None)).await;
    let Envelope::Attached(attached) = phone.told().await else { panic!("the host's position comes first") };
    let log = attached.position.log;
    assert_eq!((phone.entry().await.0, phone.entry().await.0), (1, 2));
    drop(phone);
    let mut phone = Phone::at(&desk, attach(2, Some(Heard { log, upto: 1 }))).await;
    assert_eq!(phone.entry().await, (2, Logged { act: None, envelope: ended("2") }));
    phone.path.ack(Ack { upto: 2 }).await;
    desk.logs.push(device(), ended("3"));
    assert_eq!(phone.entry().await.0, 3);
    assert_eq!(desk.journal.read(device()).unwrap().outgoing.len(), 1, "what it has is forgotten");
}

#[tokio::test]
async fn what_is_said_stays_in_its_place_between_what_is_logged() {
    let desk = Desk::new();
    let mut phone = Phone::at(&desk, attach(1, None)).await;
    let line = phone.path.line();
    desk.logs.push(device(), ended("1"));
    line.say(Envelope::Watch(Watch { threads: vec!["marker".into()] }));
    desk.logs.push(device(), ended("2"));
    assert!(matches!(phone.told().await, Envelope::Attached(_)));
    assert!(matches!(phone.told().await, Envelope::Entry(Entry { seq: 1, .. })));
    assert!(matches!(phone.told().await, Envelope::Watch(_)));
    assert!(matches!(phone.told().await, Envelope::Entry(Entry { seq: 2, .. })));
}

#[tokio::test]
async fn of_two_paths_the_higher_generation_counts() {
    let mut desk = Desk::new();
    let mut newer = Phone::at(&desk, attach(5, None)).await;
    let mut older = Phone::at(&desk, attach(4, None)).await;
    assert!(older.path.is_superseded() && !newer.path.is_superseded());
    let Envelope::Attached(told) = older.told().await else { panic!("it is told so") };
    assert_eq!(told.superseded, Some(5));
    older.logs(1, 1).await;
    newer.logs(1, 2).await;
    assert_eq!(desk.work().await.act[0], 2, "what the older one brings isn't taken");
    desk.logs.push(device(), ended("1"));
    assert_eq!(newer.entry().await.0, 1);
}

#[tokio::test]
async fn another_program_of_the_same_phone_ends_the_older_path_and_says_so() {
    let desk = Desk::new();
    let mut older = Phone::at(&desk, attach(1, None)).await;
    let other = Attach { position: Position { log: LogId::new([6; 16]), ..attach(2, None).position }, generation: 2 };
    let newer = Phone::at(&desk, other).await;
    assert_eq!(within(older.path.ended()).await, Some(CloseReason::Replaced));
    assert!(!newer.path.is_superseded());
}

#[tokio::test(start_paused = true)]
async fn a_path_that_its_phone_has_left_is_read_for_a_while() {
    let desk = Desk::new();
    let mut older = Phone::at(&desk, attach(1, None)).await;
    let _newer = Phone::at(&desk, attach(2, None)).await;
    let began = tokio::time::Instant::now();
    assert_eq!(within(older.path.ended()).await, Some(CloseReason::Replaced));
    assert!(began.elapsed() >= paths::DRAIN - Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_removed_device_leaves_nothing_behind() {
    let mut desk = Desk::new();
    let mut phone = Phone::at(&desk, attach(1, None)).await;
    phone.logs(1, 7).await;
    desk.work().await;
    desk.logs.push(device(), ended("1"));
    desk.logs.forget(device()).await;
    assert_eq!(within(phone.path.ended()).await, Some(CloseReason::Revoked));
    assert_eq!(desk.logs.forwarded(device(), ActId::new([7; 16])).await, Err(Unwanted));
    assert_eq!(desk.journal.read(device()).unwrap(), Default::default());
}

#[tokio::test]
async fn what_makes_no_sense_ends_the_path_and_changes_nothing() {
    let desk = Desk::new();
    let nonsense = |seq, envelope| {
        let body = ByteBuf::from(Logged { act: Some(ActId::new([1; 16])), envelope }.encode());
        Entry { seq, body }
    };
    for entry in
        [entry(2, 1), nonsense(1, Envelope::Ping(Beat { n: 1 })), Entry { seq: 1, body: ByteBuf::from(b"junk") }]
    {
        let mut phone = Phone::at(&desk, attach(generation(), None)).await;
        phone.path.entry(entry).await;
        assert_eq!(within(phone.path.ended()).await, None);
        drop(phone.at_host);
    }
    let mut phone = Phone::at(&desk, attach(generation(), None)).await;
    phone.path.ack(Ack { upto: 99 }).await;
    assert_eq!(within(phone.path.ended()).await, None);
    assert!(desk.journal.read(device()).unwrap().acts.is_empty());
}

/// Counts up.
fn generation() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[tokio::test]
async fn a_phone_that_is_away_for_too_long_is_told_everything_anew() {
    let desk = Desk::new();
    let mut phone = Phone::at(&desk, attach(1, None)).await;
    let Envelope::Attached(before) = phone.told().await else { panic!("the host's position") };
    drop(phone);
    for n in 0..1100 {
        desk.logs.push(device(), ended(&n.to_string()));
    }
    let mut phone = Phone::at(&desk, attach(2, Some(Heard { log: before.position.log, upto: 0 }))).await;
    let Envelope::Attached(after) = phone.told().await else { panic!("the host's position") };
    assert_ne!(after.position.log, before.position.log, "a reset, said by another log");
    desk.logs.push(device(), ended("last"));
    while phone.entry().await.1.envelope != ended("last") {}
}

#[tokio::test]
async fn a_journal_that_was_set_back_goes_on_under_another_name_and_locks_no_phone_out() {
    let desk = Desk::new();
    let mut phone = Phone::at(&desk, attach(1, None)).await;
    let Envelope::Attached(told) = phone.told().await else { panic!("where it stands") };
    let before = told.position.log;
    // It has what this journal doesn't know of.
    let heard = Some(Heard { log: before, upto: 9 });
    let mut back = Phone::at(&desk, attach(2, heard)).await;
    let Envelope::Attached(told) = back.told().await else { panic!("where it stands") };
    assert_ne!(told.position.log, before);
    desk.logs.push(device(), ended("1"));
    assert_eq!(back.entry().await.0, 1);
}

#[tokio::test]
async fn told_to_begin_anew_every_log_has_another_name_and_what_waited_is_not_said_under_it() {
    let desk = Desk::new();
    let mut phone = Phone::at(&desk, attach(1, None)).await;
    let Envelope::Attached(told) = phone.told().await else { panic!("where it stands") };
    desk.logs.push(device(), ended("1"));
    desk.logs.begin_anew().await;
    assert_eq!(within(phone.path.ended()).await, None);
    let mut back = Phone::at(&desk, attach(2, None)).await;
    let Envelope::Attached(after) = back.told().await else { panic!("where it stands") };
    assert_ne!(after.position.log, told.position.log);
    desk.logs.push(device(), ended("2"));
    assert_eq!(back.entry().await.0, 1);
}
