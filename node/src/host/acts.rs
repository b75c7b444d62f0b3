//! What devices asked to be done: each act carried out once, and its answer logged.
//!
//! Acts of one device on one thread are done one after the other, in the order in which they were asked; all others
//! beside each other, as a slow one must hold up nobody.

use std::collections::HashMap;

use farhelm_core::identity::NodeId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Decided, Failure, Request, Response};
use farhelm_store::journal::Stage;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use tokio::sync::{mpsc, oneshot};

use super::audit::{Asked, Recorder};
use super::bridge::{Bridge, Delivery};
use super::logs::{Logs, Work};
use super::remote::Remote;

/// Ends of what was asked last, by device and thread: kept until there are so many, then those that are over go.
const ENDS: usize = 256;

/// Who carries acts out. Clones share it.
#[derive(Debug, Clone)]
pub struct Acts {
    /// What Codex is asked goes through it.
    pub bridge: Bridge,
    /// What the host is asked; none where there is nothing but Codex.
    pub remote: Option<Remote>,
    /// Where answers are logged.
    pub logs: Logs,
    /// Where it is recorded.
    pub recorder: Recorder,
}

impl Acts {
    /// Carries acts out until there are no more.
    pub async fn run(self, mut work: mpsc::Receiver<Work>) {
        let mut ends: HashMap<(NodeId, String), oneshot::Receiver<()>> = HashMap::new();
        while let Some(next) = work.recv().await {
            let (over, end) = oneshot::channel::<()>();
            if ends.len() >= ENDS {
                ends.retain(|_, end| !matches!(end.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
            }
            let before = thread_of(&next.envelope).and_then(|thread| ends.insert((next.device, thread), end));
            let acts = self.clone();
            tokio::spawn(async move {
                if let Some(before) = before {
                    let _ = before.await;
                }
                let delivery = acts.recorded(next).await;
                // What is said next waits for Codex's answer, and not for the end of the running turn.
                drop(over);
                if let Some(delivery) = delivery {
                    acts.bridge.see_through(delivery).await;
                }
            });
        }
    }

    /// Records it, carries it out, and logs the answer. One that was answered before is only seen through.
    async fn recorded(&self, work: Work) -> Option<Delivery> {
        let asked = match work.stage {
            Stage::Answered => Ok(Asked::default()),
            _ => self.recorder.asked(&work).await,
        };
        match asked {
            Ok(asked) => self.carry_out(work, asked).await,
            Err(refusal) => {
                let _ = self.logs.done(work.device, work.act, *refusal).await;
                None
            }
        }
    }

    /// Carries it out, records how it ended, and logs the answer. What is left to be seen through.
    async fn carry_out(&self, work: Work, asked: Asked) -> Option<Delivery> {
        let Self { bridge, logs, recorder, .. } = self;
        let (device, act, stage) = (work.device, work.act, work.stage);
        let answer = match &work.envelope {
            Envelope::Request(request) if stage == Stage::Answered => {
                let delivery = bridge.delivery(device, act, request).await;
                if delivery.is_none() {
                    let _ = logs.settled(device, act).await;
                }
                return delivery;
            }
            Envelope::Request(request) => {
                let id = request.id;
                let (result, delivery) = match self.own(device, request).await {
                    Some(result) => (result, None),
                    None => bridge.carry_out(device, act, stage, request).await.ok()?,
                };
                let answer = Envelope::Response(Response { id, result: result.map(ByteBuf::from) });
                if delivery.is_some() {
                    recorder.ended(asked, &answer).await;
                    return logs.answered(device, act, answer).await.ok().and(delivery);
                }
                answer
            }
            Envelope::Decision(signed) => {
                let key = signed.key;
                Envelope::Decided(Decided { key, result: bridge.say(work).await.ok()? })
            }
            Envelope::Answers(answers) => {
                let key = answers.key;
                Envelope::Decided(Decided { key, result: bridge.say(work).await.ok()? })
            }
            _ => return None,
        };
        recorder.ended(asked, &answer).await;
        // Nobody may want it any more.
        let _ = logs.done(device, act, answer).await;
        None
    }

    /// What isn't Codex's to do.
    async fn own(&self, device: NodeId, request: &Request) -> Option<Result<Vec<u8>, Failure>> {
        self.remote.as_ref()?.own(device, request).await
    }
}

/// The thread a request is about. A decision waits for nothing.
fn thread_of(envelope: &Envelope) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct About {
        thread_id: String,
    }
    let Envelope::Request(Request { params, .. }) = envelope else { return None };
    serde_json::from_slice::<About>(params).ok().map(|about| about.thread_id)
}
