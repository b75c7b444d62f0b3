//! The demo's story, step by step: find each other, pair by QR, start a thread, stop at two approvals, show what is
//! asked, decide, finish. Each step fails by itself, with what it waited for.

use std::time::{Duration, Instant};

use farhelm_core::codex::approval::Approval;
use farhelm_core::codex::decision::Decision;
use farhelm_core::codex::thread::{ItemKind, Thread, TurnStatus};
use farhelm_core::pairing::Ticket;
use farhelm_core::wire::limits;
use farhelm_phone::{Connection, Path, ThreadWatch, Transport, Via};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::world::{self, World};
use crate::host::desk::{Consent, Desk, Event};

/// How long a step may take before the story gives up: ten times what the slowest took on a busy machine.
const STEP: Duration = Duration::from_secs(20);

/// How long the story waits for a round trip to be measured; it is told without, then.
const MEASURE: Duration = Duration::from_secs(1);

/// What is asked of the agent. The words in capitals are the script's ([`super::scenario`]).
const COMMAND: &str = "Please leave a mark. ESCALATE cmd=touch made-from-the-phone.txt";
const PATCH: &str = "Now a file outside of the folder. PATCH file=../greeting.txt";

/// Why the story broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The world around it.
    #[error(transparent)]
    World(#[from] world::Error),
    /// The host.
    #[error(transparent)]
    Host(#[from] crate::host::Error),
    /// The pairing.
    #[error(transparent)]
    Pair(#[from] farhelm_phone::PairError),
    /// A call of the phone.
    #[error(transparent)]
    Phone(#[from] farhelm_phone::Error),
    /// A decision.
    #[error(transparent)]
    Decide(#[from] farhelm_phone::DecideError),
    /// The QR.
    #[error(transparent)]
    Qr(#[from] crate::terminal::qr::Error),
    /// The picture of it.
    #[error(transparent)]
    Picture(#[from] crate::terminal::picture::Error),
    /// Something that should be so isn't.
    #[error("{0}")]
    Broken(String),
    /// A step took too long.
    #[error("waited 20 s in vain for {0}")]
    Waited(&'static str),
}

/// What happens, for whoever tells it.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// The relay is up.
    Relay {
        /// Where.
        address: String,
    },
    /// The host is up, has its agent and a reservation.
    Host {
        /// Its peer id.
        id: String,
        /// Which agent, in its words.
        agent: String,
    },
    /// The ticket, to be drawn.
    Ticket {
        /// The QR's text.
        #[serde(skip)]
        ticket: Box<Ticket>,
        /// One of the multiaddrs in it.
        address: String,
    },
    /// Both sides show the same words.
    Words {
        /// What they show.
        words: [&'static str; 4],
    },
    /// Paired.
    Paired {
        /// The host's name, as the phone learnt it.
        host: String,
    },
    /// The session runs on this path.
    Path {
        /// Straight to the host.
        direct: bool,
        /// In words.
        path: String,
        /// Milliseconds through both programs, if measured.
        round_trip_ms: Option<f64>,
    },
    /// The phone said something to the agent.
    Said {
        /// What.
        prompt: String,
    },
    /// An approval on the phone's screen.
    Approval {
        /// The whole of it.
        approval: Box<Approval>,
    },
    /// The phone decided.
    Decided {
        /// How.
        decision: Decision,
    },
    /// The agent's last words in a turn.
    Answer {
        /// What it said.
        text: String,
    },
    /// What it took.
    Done {
        /// Bytes the phone sent in its session.
        sent: u64,
        /// And received.
        received: u64,
        /// Seconds in all.
        seconds: f64,
    },
}

/// Tells the story in `world`. Every step goes to `tell` as it happens.
pub async fn run(world: &World, agent: &str, tell: &mut (dyn FnMut(Step) + Send)) -> Result<(), Error> {
    let begun = Instant::now();
    let relay = world.relay.multiaddrs().first().map(ToString::to_string).unwrap_or_default();
    tell(Step::Relay { address: relay });
    let version = world.codex_ready(STEP).await?;
    let agent = format!("{agent} {version}");
    tell(Step::Host { id: world.host.node_id().to_string(), agent });
    let host = pair(world, tell).await?;
    let mut state = host.state();
    let relayed = live(&mut state, |_| true, "a session").await?;
    tell(path_step(&host, relayed).await);
    let started = host.start(COMMAND).await?;
    tell(Step::Said { prompt: COMMAND.into() });
    let mut thread = host.watch(&started.thread).await?;
    decide(&host, Decision::Accept, tell).await?;
    tell(answer(&mut thread, &started.turn).await?);
    let made = world.work().join("made-from-the-phone.txt");
    check(made.exists(), "the approved command ran, but its file isn't there")?;
    let direct = live(&mut state, Path::is_direct, "a direct path").await?;
    tell(path_step(&host, direct).await);
    let turn = host.send(&started.thread, PATCH).await?;
    tell(Step::Said { prompt: PATCH.into() });
    decide(&host, Decision::Accept, tell).await?;
    tell(answer(&mut thread, &turn).await?);
    let changed = world.scratch().join("greeting.txt");
    check(changed.exists(), "the approved change was made, but the file isn't there")?;
    let traffic = host.traffic();
    let seconds = begun.elapsed().as_secs_f64();
    tell(Step::Done { sent: traffic.sent, received: traffic.received, seconds });
    Ok(())
}

/// The desk shows a QR, the phone reads the picture, both compare words, the desk says yes.
pub async fn pair(world: &World, tell: &mut (dyn FnMut(Step) + Send)) -> Result<farhelm_phone::Host, Error> {
    let (events, mut heard) = mpsc::channel(8);
    let invitation = world.host.offer(Duration::from_secs(300), Desk::new(Consent::Ask, events)).await?;
    // On loopback every host is directly reachable; the phone is given the relay only, as behind a NAT.
    let ticket = Ticket { direct: Vec::new(), ..invitation.ticket().clone() }.fit(limits::TICKET_FOR_TERMINAL);
    let address = ticket.addresses_of_host().first().map(ToString::to_string).unwrap_or_default();
    tell(Step::Ticket { ticket: Box::new(ticket.clone()), address });
    let picture = world.scratch().join("ticket.png");
    let png = crate::terminal::qr::Code::new(&ticket.encode())?.png();
    std::fs::write(&picture, png).map_err(world::Error::Scratch)?;
    let scanned = crate::terminal::picture::read(&picture)?;
    let pairing = within("the host's answer", world.phone.pair(&scanned)).await??;
    let words = pairing.words();
    let asked = tokio::spawn(async move { heard_question(&mut heard).await });
    let finish = tokio::spawn(pairing.finish(STEP));
    let (at_desk, yes) = within("the desk's question", asked).await?.map_err(broken)??;
    check(at_desk == words, "desk and phone show different words")?;
    tell(Step::Words { words });
    let _: Result<(), bool> = yes.send(true);
    let paired = within("the pairing", finish).await?.map_err(broken)??;
    tell(Step::Paired { host: paired.name });
    Ok(paired.host)
}

async fn heard_question(
    heard: &mut mpsc::Receiver<Event>,
) -> Result<([&'static str; 4], oneshot::Sender<bool>), Error> {
    match heard.recv().await {
        Some(Event::Asks { words, answer, .. }) => Ok((words, answer)),
        other => Err(Error::Broken(format!("the desk was told {other:?} instead of being asked"))),
    }
}

/// Waits for the one approval, shows it, decides.
async fn decide(
    host: &farhelm_phone::Host,
    decision: Decision,
    tell: &mut (dyn FnMut(Step) + Send),
) -> Result<(), Error> {
    let mut approvals = host.approvals();
    let waiting = approvals.wait_for(|open| !open.is_empty());
    let approval = within("an approval", waiting).await?.map_err(broken)?.first().cloned();
    let approval = approval.ok_or(Error::Waited("an approval"))?;
    tell(Step::Approval { approval: Box::new(approval.clone()) });
    within("the decision's way", host.decide(&approval, decision)).await??;
    tell(Step::Decided { decision });
    let gone = approvals.wait_for(|open| open.iter().all(|a| a.key != approval.key));
    within("the approval's end", gone).await?.map_err(broken)?;
    Ok(())
}

/// Waits until the turn is over; the agent's last words in it.
async fn answer(thread: &mut ThreadWatch, turn: &str) -> Result<Step, Error> {
    let over = |thread: &Thread| thread.turn(turn).is_some_and(|t| t.status != TurnStatus::InProgress);
    let ended = within("the end of the turn", thread.wait_for(over)).await??;
    let turn = ended.turn(turn).ok_or(Error::Waited("the turn"))?;
    check(turn.status == TurnStatus::Completed, "the turn didn't complete")?;
    let text = turn.items.iter().rev().find_map(|item| match &item.kind {
        ItemKind::AgentMessage { text } => Some(text.clone()),
        _ => None,
    });
    Ok(Step::Answer { text: text.unwrap_or_default() })
}

async fn live(
    state: &mut tokio::sync::watch::Receiver<Connection>,
    wanted: impl Fn(&Path) -> bool,
    what: &'static str,
) -> Result<Path, Error> {
    let matches = |state: &Connection| matches!(state, Connection::Live(path) if wanted(path));
    match &*within(what, state.wait_for(matches)).await?.map_err(broken)? {
        Connection::Live(path) => Ok(*path),
        _ => Err(Error::Waited(what)),
    }
}

/// The path in words, with its round trip as soon as that is measured; it may change under us, and then it isn't said.
async fn path_step(host: &farhelm_phone::Host, path: Path) -> Step {
    let transport = match path.transport {
        Transport::Quic => "QUIC",
        Transport::Tcp => "TCP",
        Transport::WebSocket => "WebSocket",
        Transport::Memory => "memory",
    };
    let words = match path.via {
        Via::Direct => format!("direct, {transport}"),
        Via::Relay(Some(relay)) => format!("through relay {relay}, {transport} to it"),
        Via::Relay(None) => format!("through a relay, {transport} to it"),
    };
    let mut state = host.state();
    let measured = |state: &Connection| match state {
        Connection::Live(now) => now.via != path.via || now.round_trip.is_some(),
        _ => true,
    };
    let round_trip = match timeout(MEASURE, state.wait_for(measured)).await {
        Ok(Ok(state)) => match &*state {
            Connection::Live(now) if now.via == path.via => now.round_trip,
            _ => None,
        },
        _ => None,
    };
    let round_trip_ms = round_trip.map(|rtt| rtt.as_secs_f64() * 1e3);
    Step::Path { direct: path.is_direct(), path: words, round_trip_ms }
}

async fn within<T>(what: &'static str, future: impl Future<Output = T>) -> Result<T, Error> {
    timeout(STEP, future).await.map_err(|_| Error::Waited(what))
}

fn check(holds: bool, otherwise: &str) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Broken(otherwise.to_owned())) }
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Broken(error.to_string())
}
