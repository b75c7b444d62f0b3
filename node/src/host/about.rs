//! What phones are told of the host, kept as it is.

use farhelm_core::wire::envelope::{CodexState, HostState};
use farhelm_overlay::Endpoint;
use tokio::sync::{broadcast, watch};

use super::app_server::State;
use super::invitation;

/// Keeps what phones are told of this host as it is.
pub(super) async fn describe(publish: watch::Sender<HostState>, mut codex: watch::Receiver<State>, endpoint: Endpoint) {
    let mut events = endpoint.events();
    loop {
        let state = codex_state(&codex.borrow_and_update());
        let status = endpoint.status();
        let (relays, _) = invitation::Addresses::of(&status).to_text();
        let direct: Vec<_> = status.candidates().iter().map(ToString::to_string).collect();
        publish.send_if_modified(|about| {
            let before = about.clone();
            (about.codex, about.relays, about.direct) = (state, relays, direct);
            *about != before
        });
        tokio::select! {
            changed = codex.changed() => if changed.is_err() { return },
            event = events.recv() => if matches!(event, Err(broadcast::error::RecvError::Closed)) { return },
        }
    }
}

/// How it stands with Codex, for phones.
pub(super) fn codex_state(state: &State) -> CodexState {
    match state {
        State::Ready { version, .. } => CodexState::Ready(version.to_string()),
        State::Connecting { why: None, .. } => CodexState::Away("starting".into()),
        State::Connecting { why: Some(why), .. } | State::Away { why, .. } => CodexState::Away(why.clone()),
    }
}
