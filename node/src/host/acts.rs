//! What devices asked to be done: each act carried out once, and its answer logged.
//!
//! Acts of one device on one thread are done one after the other, in the order in which they were asked; all others
//! beside each other, as a slow one must hold up nobody.

use std::collections::HashMap;

use farhelm_core::identity::NodeId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Decided, Request, Response};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use tokio::sync::{mpsc, oneshot};

use super::bridge::Bridge;
use super::logs::{Logs, Work};

/// Ends of what was asked last, by device and thread: kept until there are so many, then those that are over go.
const ENDS: usize = 256;

/// Carries acts out until there are no more.
pub async fn run(mut work: mpsc::Receiver<Work>, bridge: Bridge, logs: Logs) {
    let mut ends: HashMap<(NodeId, String), oneshot::Receiver<()>> = HashMap::new();
    while let Some(next) = work.recv().await {
        let (over, end) = oneshot::channel::<()>();
        if ends.len() >= ENDS {
            ends.retain(|_, end| !matches!(end.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        }
        let before = thread_of(&next.envelope).and_then(|thread| ends.insert((next.device, thread), end));
        let (bridge, logs) = (bridge.clone(), logs.clone());
        tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            carry_out(next, &bridge, &logs).await;
            drop(over);
        });
    }
}

async fn carry_out(work: Work, bridge: &Bridge, logs: &Logs) {
    let (device, act) = (work.device, work.act);
    let answer = match &work.envelope {
        Envelope::Request(request) => {
            let Ok(result) = bridge.carry_out(device, act, work.stage, request).await else { return };
            Envelope::Response(Response { id: request.id, result: result.map(ByteBuf::from) })
        }
        Envelope::Decision(signed) => {
            let key = signed.key;
            let Ok(result) = bridge.say(work).await else { return };
            Envelope::Decided(Decided { key, result })
        }
        Envelope::Answers(answers) => {
            let key = answers.key;
            let Ok(result) = bridge.say(work).await else { return };
            Envelope::Decided(Decided { key, result })
        }
        _ => return,
    };
    // Nobody may want it any more.
    let _ = logs.done(device, act, answer).await;
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
