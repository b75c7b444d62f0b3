//! A request that changes something, done once: what is written before Codex is told, and what is done when it isn't
//! known whether Codex was.
//!
//! ```text
//!  received ─► prepared ─► *forwarded* is stored ─► Codex ─► answer
//!                                  ▲                  │ the connection ended, or the host
//!                                  │                  ▼
//!                                  └── not found ── look up ── found ─► answer
//! ```
//! The method table says which way it goes from there: what may be sent twice is sent again, a message is looked up by
//! its own id first, and anything else ends as unknown.

use std::time::Duration;

use farhelm_core::identity::NodeId;
use farhelm_core::policy::{Forward, Method, Retry};
use farhelm_core::wire::envelope::{FailedBy, Failure, Request};
use farhelm_store::journal::{ActId, Stage};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::Bridge;
use super::delivery::Delivery;
use super::request::failed;
use crate::host::app_server::{RequestError, State};
use crate::host::logs::Unwanted;

/// How long to wait for Codex before a request that it wasn't told of fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for one that it may have been told of: nothing better can be said meanwhile.
pub(super) const DOUBT: Duration = Duration::from_secs(10 * 60);
/// What was written to Codex before a connection ended is read by it within this.
const SETTLE: Duration = Duration::from_millis(500);
/// How often a message that may wait for the running turn to take it up is looked for.
const LOOK: Duration = Duration::from_secs(1);
/// Items looked through at once, and pages of them: the messages of hours.
const ITEMS: u32 = 50;
const PAGES: usize = 20;

impl Bridge {
    /// Does what a device asked, once, whatever happens to the connection to Codex or happened to the host. A message is
    /// then to be [seen through](Self::see_through).
    pub async fn carry_out(
        &self,
        device: NodeId,
        act: ActId,
        stage: Stage,
        request: &Request,
    ) -> Result<(Result<Vec<u8>, Failure>, Option<Delivery>), Unwanted> {
        let unknown = stage == Stage::Forwarded;
        if !self.codex_within(if unknown { DOUBT } else { PATIENCE }).await {
            return Ok((Err(if unknown { in_doubt() } else { failed(&RequestError::Away) }), None));
        }
        let forward = match self.prepare(device, &request.method, &request.params).await {
            Ok(forward) => forward,
            // It may have been done before that was taken from the device.
            Err(_) if unknown => return Ok((Err(in_doubt()), None)),
            Err(failure) => return Ok((Err(failure), None)),
        };
        let (epoch, ear) = (self.epoch(), self.ear());
        Ok(match self.forward_once(device, act, unknown, &forward).await? {
            Ok(result) => {
                let answer = self.finish(device, forward.method, epoch, result).await;
                let is_message = forward.method.retry == Retry::ByClientId && answer.is_ok();
                (answer, is_message.then(|| self.answered(device, act, forward, ear)))
            }
            Err(failure) => (Err(failure), None),
        })
    }

    async fn forward_once(
        &self,
        device: NodeId,
        act: ActId,
        mut unknown: bool,
        forward: &Forward,
    ) -> Result<Result<Value, Failure>, Unwanted> {
        let until = Instant::now() + DOUBT;
        loop {
            if unknown {
                match self.resolve_doubt(forward, until).await {
                    Doubt::Done(result) => return Ok(Ok(result)),
                    Doubt::NotDone => {}
                    Doubt::Remains => return Ok(Err(in_doubt())),
                }
            }
            // What was taken from the device meanwhile holds for a second attempt, too.
            if let Err(failure) = self.entitlement(device) {
                return Ok(Err(failure));
            }
            self.logs.forwarded(device, act).await?;
            let answer = self.forward(forward).await;
            #[cfg(feature = "faults")]
            farhelm_overlay::faults::reach(farhelm_overlay::faults::Point::ForwardedUnrecorded).await;
            match answer {
                Ok(result) => return Ok(result),
                Err(error) if error.outcome_is_unknown() => unknown = true,
                Err(RequestError::Away) if Instant::now() < until && self.codex_within(PATIENCE).await => {}
                Err(error) => return Ok(Err(failed(&error))),
            }
        }
    }

    /// Finds out whether a request was done of which that isn't known.
    pub(super) async fn resolve_doubt(&self, forward: &Forward, until: Instant) -> Doubt {
        if forward.method.retry == Retry::AtMostOnce || !self.codex_within(DOUBT).await || Instant::now() >= until {
            return Doubt::Remains;
        }
        sleep(SETTLE).await;
        // A new app-server process hasn't got the thread open.
        if self.hold_to_floor(forward).await.is_err() {
            return Doubt::Remains;
        }
        if forward.method.retry == Retry::Idempotent {
            return Doubt::NotDone;
        }
        self.look_up(forward, until).await
    }

    /// Looks for a message by its own id. One that was said into a running turn is seen when that takes it up, so its
    /// absence says something only once no turn runs.
    async fn look_up(&self, forward: &Forward, until: Instant) -> Doubt {
        #[cfg(feature = "faults")]
        if farhelm_overlay::faults::mutant(farhelm_overlay::faults::Mutant::NoLookUp) {
            return Doubt::NotDone;
        }
        let id = forward.params.get("clientUserMessageId").and_then(Value::as_str);
        let (Some(thread), Some(id)) = (forward.thread(), id) else { return Doubt::Remains };
        while Instant::now() < until {
            // In this order: a turn that ends in between has left its messages in the history.
            let runs = self.runs(thread).await;
            match (self.find_message(thread, id).await, runs) {
                (Ok(Some(turn)), _) => return Doubt::Done(found(forward.method, &turn)),
                (Ok(None), Ok(false)) => return Doubt::NotDone,
                (Err(RequestError::Codex(_) | RequestError::NoRollout | RequestError::HeldElsewhere), _) => {
                    return Doubt::Remains;
                }
                _ => sleep(LOOK).await,
            }
        }
        Doubt::Remains
    }

    /// The turn in which a message with this id stands.
    async fn find_message(&self, thread: &str, id: &str) -> Result<Option<String>, RequestError> {
        let mut cursor = Value::Null;
        for _ in 0..PAGES {
            let ask = json!({"threadId": thread, "limit": ITEMS, "sortDirection": "desc", "cursor": cursor});
            let page = self.app_server.request("thread/items/list", ask).await?;
            let rows = page.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let is_it = |row: &&Value| row.pointer("/item/clientId").and_then(Value::as_str) == Some(id);
            if let Some(row) = rows.iter().find(is_it) {
                return Ok(row.get("turnId").and_then(Value::as_str).map(ToOwned::to_owned));
            }
            match page.get("nextCursor") {
                Some(next) if !next.is_null() => cursor = next.clone(),
                _ => break,
            }
        }
        Ok(None)
    }

    /// Whether a turn of the thread is under way.
    async fn runs(&self, thread: &str) -> Result<bool, RequestError> {
        let ask = json!({"threadId": thread, "limit": 1, "sortDirection": "desc", "itemsView": "notLoaded"});
        let page = self.app_server.request("thread/turns/list", ask).await?;
        Ok(page.pointer("/data/0/status").and_then(Value::as_str) == Some("inProgress"))
    }

    /// Waits for a connection to Codex.
    pub(super) async fn codex_within(&self, patience: Duration) -> bool {
        let mut state = self.app_server.state();
        let ready = state.wait_for(|state| matches!(state, State::Ready { .. }));
        matches!(timeout(patience, ready).await, Ok(Ok(_)))
    }
}

/// What is found out about a request that may have been done.
pub(super) enum Doubt {
    Done(Value),
    NotDone,
    Remains,
}

/// The answer as Codex would have given it.
fn found(method: &Method, turn: &str) -> Value {
    match method.name {
        "turn/steer" => json!({ "turnId": turn }),
        _ => json!({"turn": {"id": turn, "items": [], "status": "inProgress"}}),
    }
}

fn in_doubt() -> Failure {
    let message = "it may or may not have happened; look at the thread before you try again".to_owned();
    Failure { by: FailedBy::OutcomeUnknown, message }
}
