//! A world with a paired phone, on the scripted agent or the real Codex, and the few acts every story needs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use farhelm::demo::world::{Behind, World, another_phone};
use farhelm::host::app_server::{How, State};
use farhelm::host::desk::{Consent, Desk};
use farhelm_core::codex::approval::Approval;
use farhelm_core::codex::thread::{Thread, Turn, TurnStatus};
use farhelm_phone::{Client, Connection, Event, Host, Started, ThreadWatch, key_store};
use tokio::sync::{broadcast, mpsc};
use tokio::time::timeout;

/// Ten times what anything here took on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The world, its phone and the phone's keys.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) phone: Client,
    pub(crate) host: Host,
    pub(crate) keys: Arc<key_store::Memory>,
}

impl Stage {
    pub(crate) async fn set(behind: Behind) -> Self {
        if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("FARHELM_LOG") {
            // A second test in this process finds the log started.
            let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        }
        let world = World::start(behind).await.expect("a world");
        world.codex_ready(PATIENCE).await.expect("an agent");
        let keys = Arc::new(key_store::Memory::default());
        let phone = another_phone(keys.clone()).await.expect("a phone");
        let host = pair(&world, &phone).await;
        host.live(PATIENCE).await.expect("a session");
        Self { world, phone, host, keys }
    }

    /// The end of a story, in which the phone never had another thread than the host.
    pub(crate) async fn strike(self) {
        let truth = *self.host.truth().borrow();
        assert_eq!(truth.differed, 0, "{truth:?}");
        self.phone.shutdown().await;
        self.world.shutdown().await.expect("a clean end");
    }

    /// A second phone, paired too.
    pub(crate) async fn second_phone(&self) -> (Client, Host) {
        let phone = another_phone(Arc::new(key_store::Memory::default())).await.expect("a phone");
        let host = pair(&self.world, &phone).await;
        host.live(PATIENCE).await.expect("a session");
        (phone, host)
    }

    /// Starts a thread and follows it.
    pub(crate) async fn start(&self, prompt: &str) -> (Started, ThreadWatch) {
        let started = self.host.start(prompt).await.expect("a thread");
        let watch = self.host.watch(&started.thread).await.expect("to follow it");
        (started, watch)
    }

    /// The socket of the app-server behind the host, where a desk would attach.
    pub(crate) fn app_server(&self) -> PathBuf {
        match &*self.world.host.codex().borrow() {
            State::Ready {
                how: How::Given { socket } | How::Daemon { socket, .. } | How::Own { socket, .. }, ..
            } => socket.clone(),
            other => panic!("no app-server: {other:?}"),
        }
    }
}

/// Pairs without a person: the ticket is read as text and the desk says yes by itself.
pub(crate) async fn pair(world: &World, phone: &Client) -> Host {
    let (events, _heard) = mpsc::channel(8);
    let desk = Desk::new(Consent::Given, events);
    let invitation = world.host.offer(Duration::from_secs(300), desk).await.expect("an offer");
    let pairing = phone.pair(&invitation.ticket().encode()).await.expect("the host answers");
    pairing.finish(PATIENCE).await.expect("a pairing").host
}

/// The one approval that is open on this phone.
pub(crate) async fn approval(host: &Host) -> Approval {
    let mut approvals = host.approvals();
    let open = timeout(PATIENCE, approvals.wait_for(|open| !open.is_empty())).await.expect("an approval in time");
    open.expect("a living host").first().expect("one").clone()
}

/// Waits until nothing is open on this phone.
pub(crate) async fn nothing_open(host: &Host) {
    let mut approvals = host.approvals();
    let none = timeout(PATIENCE, approvals.wait_for(Vec::is_empty)).await.expect("the approval's end in time");
    none.expect("a living host");
}

/// Waits until the turn is over.
pub(crate) async fn ended(thread: &mut ThreadWatch, turn: &str) -> Turn {
    let over = |thread: &Thread| thread.turn(turn).is_some_and(|t| t.status != TurnStatus::InProgress);
    let thread = timeout(PATIENCE, thread.wait_for(over)).await.expect("the turn's end in time");
    thread.expect("a followed thread").turn(turn).expect("the turn").clone()
}

/// Waits for an event that fits.
pub(crate) async fn event<T>(events: &mut broadcast::Receiver<Event>, fits: impl Fn(&Event) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = fits(&events.recv().await.expect("no event lost")) {
                return found;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("the event in time")
}

/// Waits for a state of the connection.
pub(crate) async fn state(host: &Host, fits: impl Fn(&Connection) -> bool) -> Connection {
    let mut state = host.state();
    let state = timeout(PATIENCE, state.wait_for(|s| fits(s))).await.expect("the state in time");
    state.expect("a living host").clone()
}
