//! Records what devices asked to be done before it is done, and what came of it after.
//!
//! An act whose record can't be written isn't carried out: the device is told, and may ask again. How it ended is a
//! second record; where that can't be written, or the host is ended before, the act stands there without an end, and
//! that is what is known of it. What a host that is started again takes up again is recorded again.
//!
//! What is done at the desk is recorded, too. What gives something away is as an act of a device: without a record it
//! isn't done. What takes something away is done first: a full disk must not keep a phone in.
//!
//! It isn't a record of what devices read, nor of what Codex does in a turn.

use std::sync::Arc;

use farhelm_core::audit::{Effect, Head, Record, Text, digest};
use farhelm_core::identity::NodeId;
use farhelm_core::policy::Right;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Decided, DecisionRefusal, FailedBy, Failure, Request, Response};
use farhelm_store::journal::Stage;
use farhelm_store::{Audit, Device, Error, Store};
use serde::Serialize;
use serde_bytes::ByteArray;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{error, warn};

use super::devices::now_ms;
use super::logs::Work;

/// Writes to the audit chain; to none, if it was made so. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    chain: Option<(Arc<Audit>, Arc<Store>)>,
    head: Arc<watch::Sender<Option<Head>>>,
}

/// An act that was recorded before it is carried out.
#[derive(Debug, Default)]
pub struct Asked(Option<Record>);

/// The desk wants to give something, and that can't be recorded.
#[derive(Debug, thiserror::Error)]
#[error("this can't be recorded, so it was not done: {0}")]
pub struct Unrecorded(String);

impl Recorder {
    /// Records in this chain; names and rights are those in the store.
    pub fn new(audit: Audit, store: Arc<Store>) -> Self {
        // Without a head, phones keep the one they have.
        let head = audit.head(now_ms()).inspect_err(|error| warn!("the record has no head: {error}")).ok();
        Self { chain: Some((Arc::new(audit), store)), head: Arc::new(watch::Sender::new(head)) }
    }

    /// How far the chain goes, signed, and its changes; none without a chain.
    pub fn head(&self) -> watch::Receiver<Option<Head>> {
        self.head.subscribe()
    }

    /// Says how far the chain goes. Of two acts at once the later head counts: phones take one that is older for a
    /// record that was shortened.
    fn publish(&self, head: Option<Head>) {
        let seq = |head: &Option<Head>| head.as_ref().map(|head| head.seq);
        self.head.send_if_modified(|now| {
            let is_later = seq(&head) > seq(now);
            if is_later {
                *now = head;
            }
            is_later
        });
    }

    /// Records what is asked. On an error it must not be carried out, and the answer says so.
    pub async fn asked(&self, work: &Work) -> Result<Asked, Box<Envelope>> {
        let Some((audit, store)) = self.chain.clone() else { return Ok(Asked(None)) };
        let Some(record) = record(work) else { return Ok(Asked(None)) };
        let device = work.device;
        let written = blocking(move || {
            let known = store.device(device)?;
            let (name, right) = known.map(|known| (Text::cut(&known.name), known.grant.right)).unzip();
            append(&audit, Record { name, right, ..record })
        });
        match written.await {
            Some(Ok((record, head))) => {
                self.publish(head);
                Ok(Asked(Some(record)))
            }
            written => {
                let why = written.and_then(Result::err).map(|error| error.to_string()).unwrap_or_default();
                error!("what a phone asked for was not recorded and so not done: {why}");
                Err(Box::new(refusal(work)))
            }
        }
    }

    /// Records that the desk is about to give something. On an error it isn't given.
    pub async fn gives(&self, record: Record) -> Result<Asked, Unrecorded> {
        let Some((audit, _)) = self.chain.clone() else { return Ok(Asked(None)) };
        match blocking(move || append(&audit, Record { effect: Effect::Asked, ..record })).await {
            Some(Ok((record, head))) => {
                self.publish(head);
                Ok(Asked(Some(record)))
            }
            written => Err(Unrecorded(written.and_then(Result::err).map(|e| e.to_string()).unwrap_or_default())),
        }
    }

    /// Records whether that was given.
    pub async fn gave(&self, asked: Asked, is_done: bool) {
        let effect = if is_done { Effect::Done } else { Effect::Refused(Text::cut("failed")) };
        self.end(asked, effect).await;
    }

    /// Records what was done at the desk, and stands whether or not it is recorded.
    pub async fn took(&self, record: Record) {
        let Some((audit, _)) = self.chain.clone() else { return };
        match blocking(move || append(&audit, record)).await {
            Some(Ok((_, head))) => self.publish(head),
            written => error!("what was done at the desk was not recorded: {:?}", written.and_then(Result::err)),
        }
    }

    /// Records how it ended.
    pub async fn ended(&self, asked: Asked, answer: &Envelope) {
        self.end(asked, effect(answer)).await;
    }

    async fn end(&self, asked: Asked, effect: Effect) {
        let (Some((audit, _)), Asked(Some(asked))) = (self.chain.clone(), asked) else { return };
        let end = asked.ended(now_ms(), effect);
        match blocking(move || append(&audit, end)).await {
            Some(Ok((_, head))) => self.publish(head),
            written => warn!("how an act ended was not recorded: {:?}", written.and_then(Result::err)),
        }
    }
}

/// The record with its number, and how far the chain goes with it.
fn append(audit: &Audit, record: Record) -> Result<(Record, Option<Head>), Error> {
    let record = audit.append(record)?;
    // The record stands, whatever becomes of this.
    let head = audit.head(record.at_ms).ok();
    Ok((record, head))
}

/// Waits for the disk elsewhere. None if that thread panicked.
async fn blocking<T: Send + 'static>(
    write: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Option<Result<T, Error>> {
    tokio::task::spawn_blocking(write).await.ok()
}

/// An act of the desk's, to a device or to the host itself. It is done.
pub fn of_the_desk(act: &str, device: Option<(NodeId, &str, Right)>) -> Record {
    let record = Record::new(now_ms(), act, Effect::Done);
    match device {
        None => record,
        Some((key, name, right)) => {
            Record { about: Some(key), name: Some(Text::cut(name)), right: Some(right), ..record }
        }
    }
}

/// The same of one in the book.
pub fn of_the_desk_to(act: &str, device: &Device) -> Record {
    of_the_desk(act, Some((device.key, &device.name, device.grant.right)))
}

/// The device that a request of an owner's is about.
fn about(request: &Request) -> Option<NodeId> {
    let is_of_devices = request.method.starts_with("farhelm/devices/");
    let params: Value = serde_json::from_slice(&request.params).ok().filter(|_| is_of_devices)?;
    params.get("device")?.as_str()?.parse().ok()
}

/// What is asked. A message that was answered before and is only seen through was recorded then.
fn record(work: &Work) -> Option<Record> {
    let (act, digest, decision) = match &work.envelope {
        Envelope::Request(request) => (request.method.as_str(), digest(&request.params), None),
        Envelope::Decision(signed) => ("decision", *signed.digest, Some(signed.decision)),
        answers @ Envelope::Answers(_) => ("answers", digest(&answers.encode()), None),
        _ => return None,
    };
    let about = if let Envelope::Request(request) = &work.envelope { about(request) } else { None };
    let (who, digest) = (Some(work.device), Some(ByteArray::new(digest)));
    Some(Record { who, about, digest, decision, ..Record::new(now_ms(), act, Effect::Asked) })
}

fn effect(answer: &Envelope) -> Effect {
    match answer {
        Envelope::Response(Response { result: Err(failure), .. }) if failure.by == FailedBy::OutcomeUnknown => {
            Effect::Unknown
        }
        Envelope::Response(Response { result: Err(failure), .. }) => Effect::Refused(word(&failure.by)),
        Envelope::Decided(Decided { result: Err(DecisionRefusal::OutcomeUnknown), .. }) => Effect::Unknown,
        Envelope::Decided(Decided { result: Err(DecisionRefusal::SecondNeeded), .. }) => Effect::First,
        Envelope::Decided(Decided { result: Err(refusal @ DecisionRefusal::Over), .. }) => {
            Effect::Resolved(word(refusal))
        }
        Envelope::Decided(Decided { result: Err(refusal), .. }) => Effect::Refused(word(refusal)),
        _ => Effect::Done,
    }
}

/// The word it travels by.
fn word(reason: &impl Serialize) -> Text {
    let word = serde_json::to_value(reason).ok();
    Text::cut(word.as_ref().and_then(serde_json::Value::as_str).unwrap_or("refused"))
}

/// Says that nothing was done, or that nobody knows, if it was forwarded before. An approval stays open, at the desk
/// too.
fn refusal(work: &Work) -> Envelope {
    let doubt = work.stage == Stage::Forwarded;
    let refused = if doubt { DecisionRefusal::OutcomeUnknown } else { DecisionRefusal::NotRecorded };
    match &work.envelope {
        Envelope::Decision(signed) => Envelope::Decided(Decided { key: signed.key, result: Err(refused) }),
        Envelope::Answers(answers) => Envelope::Decided(Decided { key: answers.key, result: Err(refused) }),
        Envelope::Request(request) => Envelope::Response(Response { id: request.id, result: Err(unrecorded(doubt)) }),
        other => other.clone(),
    }
}

fn unrecorded(doubt: bool) -> Failure {
    let (by, message) = match doubt {
        true => (FailedBy::OutcomeUnknown, "it may or may not have happened, and the host can't record it now"),
        false => (FailedBy::Busy, "the host can't record it, so it was not done; make room on its disk and try again"),
    };
    Failure { by, message: message.into() }
}

#[cfg(test)]
mod tests {
    use farhelm_core::identity::Identity;
    use farhelm_store::journal::ActId;
    use serde_bytes::ByteBuf;

    use super::*;

    fn work(stage: Stage) -> Work {
        let request = Request { id: ByteArray::new([1; 16]), method: "turn/start".into(), params: ByteBuf::from("{}") };
        let device = Identity::from_seed(&[3; 32]).node_id();
        Work { device, act: ActId::new([1; 16]), stage, envelope: Envelope::Request(request) }
    }

    /// What the phone is told when the disk takes no record.
    async fn told(stage: Stage) -> FailedBy {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store")).expect("a store");
        let path = folder.path().join("audit.log");
        let audit = Audit::open(&path, &Identity::from_seed(&[7; 32])).expect("a chain");
        std::fs::create_dir(folder.path().join("audit.log.head.new")).expect("in the way of its head");
        let recorder = Recorder::new(audit, Arc::new(store));
        match recorder.asked(&work(stage)).await.map_err(|told| *told) {
            Err(Envelope::Response(Response { result: Err(failure), .. })) => failure.by,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_cannot_be_recorded_is_refused_and_what_was_forwarded_before_is_of_unknown_fate() {
        assert_eq!(told(Stage::Received).await, FailedBy::Busy);
        assert_eq!(told(Stage::Forwarded).await, FailedBy::OutcomeUnknown);
    }

    #[tokio::test]
    async fn a_host_without_a_chain_records_nothing() {
        let asked = Recorder::default().asked(&work(Stage::Received)).await.expect("nothing to fail");
        assert!(asked.0.is_none());
    }
}
