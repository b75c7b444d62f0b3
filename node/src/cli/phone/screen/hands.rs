//! What the phone's client does for the screen: each act is a task that says how it went.

use std::time::Duration;

use farhelm_core::codex::decision::Decision;
use farhelm_core::identity::NodeId;
use farhelm_phone::view::Role;
use farhelm_phone::view::composer::Delivery;
use farhelm_phone::{Client, DecideError, Error, Host, Message, ReviewTarget, Standing, ThreadQuery, ThreadWatch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::state::{Decided, Effect, Event};
use crate::cli::Failure;

/// How long the desk may think.
const DESK: Duration = Duration::from_secs(10 * 60 + 30);
/// How often the threads are listed anew.
const LIST: Duration = Duration::from_secs(5);
/// Threads that are listed of a host.
const THREADS: u32 = 50;
/// Hosts and threads that wait to be taken; a task with one more waits.
const FOUND: usize = 8;

/// The client and what is under way.
pub(super) struct Hands {
    client: Client,
    tell: mpsc::Sender<Event>,
    hosts: Vec<Host>,
    tasks: JoinSet<()>,
    following: Option<(NodeId, String)>,
    /// The open thread.
    pub(super) watch: Option<ThreadWatch>,
    bring: mpsc::Sender<Found>,
    /// What tasks found that is kept here.
    pub(super) found: mpsc::Receiver<Found>,
}

/// What a task found.
pub(super) enum Found {
    /// A host that was paired.
    Host(Box<Host>, String),
    /// A thread that is followed.
    Thread(NodeId, String, ThreadWatch),
}

impl Hands {
    pub(super) fn new(client: Client, tell: mpsc::Sender<Event>) -> Self {
        let (bring, found) = mpsc::channel(FOUND);
        let (hosts, tasks, following, watch) = Default::default();
        Self { client, tell, hosts, tasks, following, watch, bring, found }
    }

    /// Every host that this phone is paired with.
    pub(super) async fn meet_hosts(&mut self) -> Result<(), Failure> {
        for known in self.client.hosts().await? {
            if matches!(known.standing, Standing::Paired | Standing::Pending) {
                let host = self.client.connect(known.id).await?;
                self.meet(host, known.name);
            }
        }
        Ok(())
    }

    /// Tells what happens at a host, from now on.
    fn meet(&mut self, host: Host, name: String) {
        let is_new = self.hosts.iter().all(|known| known.id() != host.id());
        self.hosts.retain(|known| known.id() != host.id());
        self.hosts.push(host.clone());
        let tell = self.tell.clone();
        if is_new {
            self.tasks.spawn(attend(host.clone(), name, tell.clone()));
            self.tasks.spawn(list(host, tell));
        }
    }

    /// Takes what a task found.
    pub(super) fn take(&mut self, found: Found) {
        match found {
            Found::Host(host, name) => self.meet(*host, name),
            Found::Thread(host, thread, watch) => {
                // Another may have been opened meanwhile.
                if self.following == Some((host, thread)) {
                    self.watch = Some(watch);
                }
            }
        }
    }

    /// Does what is to be done.
    pub(super) fn act(&mut self, effect: Effect) {
        while self.tasks.try_join_next().is_some() {}
        match effect {
            Effect::Quit | Effect::Bell(_) => {}
            Effect::Unwatch => (self.watch, self.following) = (None, None),
            Effect::Watch(id, thread) => self.follow(id, thread),
            Effect::Pair(ticket) => self.pair(ticket),
            Effect::Send(id, thread, text) => self.with(id, async move |host, tell| {
                delivered(&tell, &host.send(&thread, Message::from(text.as_str())).await).await;
            }),
            Effect::Steer(id, thread, turn, text) => self.with(id, async move |host, tell| {
                delivered(&tell, &steer(&host, &thread, &turn, &text).await).await;
            }),
            Effect::Start(id, text) => self.with(id, async move |host, tell| {
                let started = host.start(text.as_str()).await;
                delivered(&tell, &started).await;
                if let Ok(started) = started {
                    say(&tell, Event::Started(host.id(), started.thread)).await;
                }
            }),
            Effect::Command(id, thread, name, rest) => self.with(id, async move |host, tell| {
                command(&host, &tell, &thread, name, &rest).await;
            }),
            Effect::Decide(id, decided) => self.with(id, async move |host, tell| decide(&host, &tell, *decided).await),
            Effect::Answer(id, question, answers) => self.with(id, async move |host, tell| {
                let (role, text) = match host.answer(&question, answers).await {
                    Ok(()) => (Role::Good, "Answered.".to_owned()),
                    Err(error) => (Role::Bad, error.to_string()),
                };
                say(&tell, Event::Said(role, text)).await;
            }),
        }
    }

    /// A task with this host.
    fn with<F>(&mut self, id: NodeId, act: impl FnOnce(Host, mpsc::Sender<Event>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if let Some(host) = self.hosts.iter().find(|host| host.id() == id) {
            let task = act(host.clone(), self.tell.clone());
            self.tasks.spawn(task);
        }
    }

    fn follow(&mut self, id: NodeId, thread: String) {
        (self.watch, self.following) = (None, Some((id, thread.clone())));
        let bring = self.bring.clone();
        self.with(id, async move |host, tell| match host.watch(&thread).await {
            // Nobody takes it when the screen was left.
            Ok(watch) => drop(bring.send(Found::Thread(id, thread, watch)).await),
            Err(error) => say(&tell, Event::Said(Role::Bad, error.to_string())).await,
        });
    }

    fn pair(&mut self, ticket: Zeroizing<String>) {
        let (client, tell, bring) = (self.client.clone(), self.tell.clone(), self.bring.clone());
        self.tasks.spawn(async move {
            let paired = async {
                let pairing = client.pair(&ticket).await?;
                drop(ticket);
                say(&tell, Event::Words(pairing.name().to_owned(), pairing.words())).await;
                pairing.finish(DESK).await
            };
            match paired.await {
                Ok(paired) => {
                    say(&tell, Event::Paired(paired.name.clone())).await;
                    let _ = bring.send(Found::Host(Box::new(paired.host), paired.name)).await;
                }
                Err(error) => say(&tell, Event::Unpaired(error.to_string())).await,
            }
        });
    }
}

/// Nobody hears it when the screen was left.
async fn say(tell: &mpsc::Sender<Event>, event: Event) {
    let _ = tell.send(event).await;
}

async fn delivered<T>(tell: &mpsc::Sender<Event>, result: &Result<T, Error>) {
    let delivery = Delivery::of(result);
    let role = if delivery == Delivery::TakenUp { Role::Good } else { Role::Bad };
    say(tell, Event::Said(role, delivery.words())).await;
}

/// Into the turn that runs, or as a new one if it is over by then.
async fn steer(host: &Host, thread: &str, turn: &str, text: &str) -> Result<(), Error> {
    match host.steer(thread, turn, Message::from(text)).await {
        Err(Error::NoSuchTurn) => host.send(thread, Message::from(text)).await.map(drop),
        steered => steered,
    }
}

async fn command(host: &Host, tell: &mpsc::Sender<Event>, thread: &str, name: &str, rest: &str) {
    let done = match name {
        "/archive" => host.archive(thread).await,
        "/compact" => host.compact(thread).await,
        "/effort" => host.set_effort(thread, rest).await.map(drop),
        "/interrupt" => host.interrupt(thread).await.map(drop),
        "/model" => host.set_model(thread, rest).await.map(drop),
        "/queue" => host.queue_add(thread, Message::from(rest)).await.map(drop),
        "/rename" => host.rename(thread, rest).await,
        "/review" => host.review(thread, &ReviewTarget::Uncommitted).await.map(drop),
        "/fork" => match host.fork(thread).await {
            Ok(copy) => {
                say(tell, Event::Started(host.id(), copy)).await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        _ => return,
    };
    delivered(tell, &done).await;
}

async fn decide(host: &Host, tell: &mpsc::Sender<Event>, decided: Decided) {
    let Decided { shown, decision, stepped_up, instruction } = decided;
    let done = match stepped_up {
        true => host.decide_stepped_up(&shown, decision).await,
        false => host.decide(&shown, decision).await,
    };
    let (role, text) = match &done {
        Ok(()) => (Role::Good, words(decision).to_owned()),
        Err(DecideError::SecondNeeded) => {
            (Role::Good, "Accepted, 1 of 2: it waits for a second person's device.".into())
        }
        Err(error) => (Role::Bad, error.to_string()),
    };
    say(tell, Event::Said(role, text)).await;
    if let (Ok(()), Some(instruction)) = (done, instruction) {
        delivered(tell, &steer(host, &shown.thread, &shown.turn, &instruction).await).await;
    }
}

const fn words(decision: Decision) -> &'static str {
    match decision {
        Decision::Accept => "Accepted.",
        Decision::AcceptForSession => "Accepted, and the like of it for the rest of the session.",
        Decision::Decline => "Declined; Codex was told, and goes on.",
        Decision::Cancel => "Declined, and the turn ended.",
    }
}

/// Tells what changes at a host until it is let go.
async fn attend(host: Host, name: String, tell: mpsc::Sender<Event>) {
    let id = host.id();
    say(&tell, Event::Host(id, name)).await;
    let (mut state, mut about) = (host.state(), host.about());
    let (mut approvals, mut questions) = (host.approvals(), host.questions());
    state.mark_changed();
    approvals.mark_changed();
    questions.mark_changed();
    about.mark_changed();
    loop {
        let (event, over) = tokio::select! {
            changed = state.changed() => (Event::Connection(id, state.borrow_and_update().clone()), changed),
            changed = approvals.changed() => (Event::Approvals(id, approvals.borrow_and_update().clone()), changed),
            changed = questions.changed() => (Event::Questions(id, questions.borrow_and_update().clone()), changed),
            changed = about.changed() => match about.borrow_and_update().clone() {
                Some(about) => (Event::Codex(id, about.codex), changed),
                None => continue,
            },
        };
        if over.is_err() || tell.send(event).await.is_err() {
            return;
        }
    }
}

/// Lists a host's threads: when it is there, when something happened, and every few seconds.
async fn list(host: Host, tell: mpsc::Sender<Event>) {
    let mut state = host.state();
    loop {
        if state.wait_for(|state| matches!(state, farhelm_phone::Connection::Live(_))).await.is_err() {
            return;
        }
        // What fails is asked again.
        if let Ok(page) = host.threads(ThreadQuery::newest(THREADS)).await
            && tell.send(Event::Threads(host.id(), page.rows)).await.is_err()
        {
            return;
        }
        let mut events = host.events();
        let _ = tokio::time::timeout(LIST, events.recv()).await;
    }
}
