//! A message that Codex has answered, until it has kept it: Codex answers before it has written anything down, and one
//! said into a running turn is only taken up later. If the process ends in between, the message is gone there (measured);
//! it was accepted here, so it is looked for and, if it isn't there, given to the next process.
//!
//! ```text
//!  answered ─► Codex says that the message is kept ─► over
//!      ▲ │ the connection ends first
//!      │ ▼
//!      └─ sent again ◄─ not found ─ look up ─ found ─► over
//! ```

use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::policy::Forward;
use farhelm_core::wire::envelope::Request;
use farhelm_store::journal::ActId;
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, sleep};

use super::Bridge;
use super::once::{DOUBT, Doubt};
use crate::host::app_server::{Epoch, RequestError};

/// What Codex says it has kept is on its disk a little later.
const WRITTEN: Duration = Duration::from_millis(500);
/// Messages that may be kept while one is waited for; who misses some looks them up.
pub(super) const KEPT: usize = 256;

/// A message on its way.
#[derive(Debug)]
pub struct Delivery {
    device: NodeId,
    act: ActId,
    forward: Forward,
    /// The connection that it was answered over; none if the host was started since.
    epoch: Option<Epoch>,
    kept: broadcast::Receiver<String>,
}

impl Delivery {
    fn id(&self) -> Option<&str> {
        self.forward.params.get("clientUserMessageId").and_then(Value::as_str)
    }
}

/// What is heard of messages while one is being sent.
#[derive(Debug)]
pub(super) struct Ear {
    epoch: Option<Epoch>,
    kept: broadcast::Receiver<String>,
}

impl Bridge {
    /// Listens from before a message is sent, so that nothing is missed.
    pub(super) fn ear(&self) -> Ear {
        Ear { epoch: self.epoch(), kept: self.kept.subscribe() }
    }

    /// A message that was answered.
    pub(super) fn answered(&self, device: NodeId, act: ActId, forward: Forward, ear: Ear) -> Delivery {
        let Ear { epoch, kept } = ear;
        Delivery { device, act, forward, epoch, kept }
    }

    /// A message that was answered before the host was started. `None` if its device may not say it any more.
    pub async fn delivery(&self, device: NodeId, act: ActId, request: &Request) -> Option<Delivery> {
        if !self.codex_within(DOUBT).await {
            return None;
        }
        let kept = self.kept.subscribe();
        let forward = self.prepare(device, &request.method, &request.params).await.ok()?;
        Some(Delivery { device, act, forward, epoch: None, kept })
    }

    /// Sees a message through until Codex has kept it.
    pub async fn see_through(&self, mut delivery: Delivery) {
        while !self.is_kept(&mut delivery).await {
            match self.resolve_doubt(&delivery.forward, Instant::now() + DOUBT).await {
                Doubt::Done(_) => break,
                Doubt::NotDone if self.sent_again(&mut delivery).await => {}
                Doubt::NotDone | Doubt::Remains => {
                    let Delivery { device, forward, .. } = &delivery;
                    let thread = forward.thread().unwrap_or_default();
                    tracing::warn!(%device, thread, "a message that Codex had accepted may be lost with its process");
                    break;
                }
            }
        }
        // Nobody may want it any more.
        let _ = self.logs.settled(delivery.device, delivery.act).await;
    }

    /// Waits until Codex says so, or the connection that it was said over has ended.
    async fn is_kept(&self, delivery: &mut Delivery) -> bool {
        let mut state = self.app_server.state();
        loop {
            let Some(epoch) = delivery.epoch.filter(|epoch| self.epoch() == Some(*epoch)) else { return false };
            let Some(id) = delivery.id().map(ToOwned::to_owned) else { return true };
            tokio::select! {
                _ = state.changed() => {}
                kept = delivery.kept.recv() => match kept {
                    Ok(kept) if kept == id => {
                        sleep(WRITTEN).await;
                        return self.epoch() == Some(epoch);
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => return false,
                    Err(RecvError::Closed) => return true,
                },
            }
        }
    }

    /// Whether Codex has answered it once more, or may have.
    async fn sent_again(&self, delivery: &mut Delivery) -> bool {
        // Its device may have been removed since, or the host frozen.
        if self.entitlement(delivery.device).is_err() {
            return false;
        }
        let ear = self.ear();
        (delivery.epoch, delivery.kept) = (ear.epoch, ear.kept);
        match self.forward(&delivery.forward).await {
            Ok(Ok(_)) => true,
            Ok(Err(_)) => false,
            Err(error) => error.outcome_is_unknown() || matches!(error, RequestError::Away),
        }
    }
}
