//! Keeps the connection up: finds the app-server, runs the connection to its end, waits, and starts over.

use std::future;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::connection::{self, ConnectionError};
use super::handshake::Hello;
use super::source::{Finder, Found, SourceError};
use super::{Event, Live, Shared, State};
use crate::host::backoff::Backoff;

/// A connection that lasted so long was sound: the next attempt comes soon again.
const SOUND: Duration = Duration::from_secs(30);

/// Runs until it is stopped or nobody reads its events.
pub(super) async fn run(mut finder: Finder, shared: Arc<Shared>, events: mpsc::Sender<Event>) {
    let unheard = async {
        events.closed().await;
        shared.stop.cancel();
        // The connection ends by that, in its own order.
        future::pending::<()>().await;
    };
    tokio::select! {
        () = keep_up(&mut finder, &shared, &events) => {}
        () = unheard => {}
    }
    shared.set_live(None);
    shared.to(State::Away { why: "the host has stopped".into(), what_to_do: "start it again".into() });
    finder.stop().await;
}

async fn keep_up(finder: &mut Finder, shared: &Shared, events: &mpsc::Sender<Event>) {
    let mut backoff = Backoff::new();
    loop {
        let reached = tokio::select! {
            reached = finder.reach() => reached,
            () = shared.stop.cancelled() => return,
        };
        match reached {
            Ok(found) => {
                let since = Instant::now();
                if connected(found, shared, events).await.is_break() {
                    return;
                }
                if since.elapsed() >= SOUND {
                    backoff = Backoff::new();
                }
            }
            Err(error) => shared.away(&error),
        }
        tokio::select! {
            () = sleep(backoff.wait()) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

/// Runs a connection to its end.
async fn connected(found: Found, shared: &Shared, events: &mpsc::Sender<Event>) -> ControlFlow<()> {
    let Found { connection, how, process } = found;
    let epoch = rand::random();
    let Hello { version, codex_home } = connection.hello.clone();
    tracing::info!(%version, %how, "connected to Codex");
    if let Some(warning) = version.warning() {
        tracing::warn!("{warning}");
    }
    let (client, driver) = connection::split(connection);
    // Before anybody is told, so that whoever is told can ask.
    shared.set_live(Some(Live { process, client }));
    shared.to(State::Ready { epoch, process, version, how, codex_home });
    let why = driver.run(epoch, process, events, &shared.stop).await;
    shared.set_live(None);
    if matches!(why, ConnectionError::Stopped | ConnectionError::Unheard) {
        return ControlFlow::Break(());
    }
    tracing::warn!(%why, "lost the connection to Codex");
    shared.to(State::Connecting { why: Some(why.to_string()) });
    tell(events, Event::Down { epoch, why: why.to_string() }, shared).await
}

/// Waits for room in the queue of events: they keep their order.
async fn tell(events: &mpsc::Sender<Event>, event: Event, shared: &Shared) -> ControlFlow<()> {
    tokio::select! {
        sent = events.send(event) => if sent.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) },
        () = shared.stop.cancelled() => ControlFlow::Break(()),
    }
}

impl Shared {
    /// Whether it is a change: watchers hear of nothing else.
    fn to(&self, state: State) -> bool {
        self.state.send_if_modified(|former| {
            let is_new = *former != state;
            *former = state;
            is_new
        })
    }

    fn away(&self, error: &SourceError) {
        if self.to(State::Away { why: error.to_string(), what_to_do: error.what_to_do() }) {
            tracing::warn!(%error, "Codex is away");
        }
    }
}
