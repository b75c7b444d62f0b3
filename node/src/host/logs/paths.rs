//! The keeper's end of a path: what goes out on it, and how it ends.
//!
//! # Why an older path may go on for a while
//! A phone that moves to a better path reads what is still on its way on the older one, and closes it itself. Another
//! program with the same phone's key (a copy, or one that was started anew) has another log and never closes it: its
//! older path would look alive and bring nothing, so it ends at once. A copy of the log too is told in the end.

use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::session::log::LogId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Attach, CloseReason};
use farhelm_overlay::channel;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a phone may read on the path that it has left. It takes a third of that.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

/// How a path stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Live,
    /// A newer one has begun; the host ends this one then.
    Drains(Instant),
    /// The host ends it; why, if it can be said.
    Ended(Option<CloseReason>),
}

#[derive(Debug)]
pub(super) struct Path {
    pub(super) device: NodeId,
    /// The phone's log: one for each program.
    log: LogId,
    sender: channel::Sender,
    fate: watch::Sender<Fate>,
}

impl Path {
    pub(super) fn new(device: NodeId, attach: &Attach, sender: channel::Sender) -> Self {
        Self { device, log: attach.position.log, sender, fate: watch::Sender::new(Fate::Live) }
    }

    pub(super) fn fate(&self) -> watch::Receiver<Fate> {
        self.fate.subscribe()
    }

    pub(super) const fn log(&self) -> LogId {
        self.log
    }

    pub(super) fn end(&self, reason: Option<CloseReason>) {
        self.fate.send_if_modified(|fate| {
            let goes_on = !matches!(fate, Fate::Ended(_));
            if goes_on {
                *fate = Fate::Ended(reason);
            }
            goes_on
        });
    }

    /// A newer path of the device has begun, with this log at its end.
    pub(super) fn overtaken(&self, by: LogId) {
        if by == self.log { self.drain() } else { self.end(Some(CloseReason::Replaced)) }
    }

    pub(super) fn drain(&self) {
        self.fate.send_if_modified(|fate| {
            let was_live = *fate == Fate::Live;
            if was_live {
                *fate = Fate::Drains(Instant::now() + DRAIN);
            }
            was_live
        });
    }

    /// A phone that doesn't keep up loses its path; what is logged waits for the next one.
    pub(super) fn offer(&self, envelope: Envelope) -> bool {
        let taken = self.sender.offer(envelope).is_ok();
        if !taken {
            self.end(None);
        }
        taken
    }
}
