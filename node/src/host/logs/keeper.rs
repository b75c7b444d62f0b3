//! The task behind [`super::Logs`].

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use farhelm_core::identity::NodeId;
use farhelm_core::session::log::LogId;
use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{Ack, Attach, Attached, CloseReason, Entry};
use farhelm_overlay::channel;
use farhelm_store::Journal;
use farhelm_store::journal::{ActId, Change, Stage};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::command::{Attachment, Batch, Command, Due, Noted};
use super::device::{Asked, Device};
use super::leapfrog::Leapfrog;
use super::paths::Path;
use super::{Contested, Refused, Work};
use crate::host::devices::now_ms;

/// Changes written at once; what comes beyond waits for the next write.
const BATCH: usize = 256;

pub(super) struct Keeper {
    journal: Arc<Journal>,
    devices: HashMap<NodeId, Device>,
    paths: BTreeMap<u64, Path>,
    /// The path on which each device is sent its log.
    current: HashMap<NodeId, u64>,
    next: u64,
    work: mpsc::Sender<Work>,
    /// What was stored couldn't be read since a write failed, so what is known here may be ahead of it: nothing is taken.
    unread: bool,
    overrun: Arc<AtomicBool>,
    /// Trims that may wait for the next write: doing them late costs nothing.
    trims: Vec<Change>,
    left: Vec<Work>,
    leapfrogs: HashMap<NodeId, Leapfrog>,
    contested: Arc<watch::Sender<Contested>>,
}

impl Keeper {
    pub(super) fn open(
        journal: Arc<Journal>,
        work: mpsc::Sender<Work>,
        overrun: Arc<AtomicBool>,
        contested: Arc<watch::Sender<Contested>>,
        is_paired: impl Fn(NodeId) -> bool,
    ) -> Result<Self, farhelm_store::Error> {
        let (gone, paired): (Vec<_>, Vec<_>) = journal.peers()?.into_iter().partition(|peer| !is_paired(*peer));
        // A revocation was stored, and the host ended before this was forgotten.
        journal.write(&gone.into_iter().map(Change::Forget).collect::<Vec<_>>())?;
        let devices = read(&journal, paired)?;
        let left = devices.values().flat_map(left_of).collect();
        let (paths, current, trims, leapfrogs) = Default::default();
        let (next, unread) = (0, false);
        Ok(Self { journal, devices, paths, current, next, work, overrun, unread, trims, left, leapfrogs, contested })
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        for work in std::mem::take(&mut self.left) {
            let _ = self.work.send(work).await;
        }
        while let Some(first) = commands.recv().await {
            let mut batch = Batch::default();
            self.obey(first, &mut batch);
            while batch.changes.len() < BATCH
                && let Ok(next) = commands.try_recv()
            {
                self.obey(next, &mut batch);
            }
            self.write(batch).await;
        }
    }

    fn obey(&mut self, command: Command, batch: &mut Batch) {
        if self.overrun.swap(false, Ordering::AcqRel) {
            tracing::warn!("not all that was said could be logged; every phone is told everything anew");
            self.begin_anew(batch);
        }
        match command {
            Command::Attach { device, attach, sender, reply } => self.attach(device, &attach, sender, reply, batch),
            Command::Detach { device, number } => self.detach(device, number),
            Command::Entry { device, number, entry } => self.take(device, number, &entry, batch),
            Command::Ack { device, number, upto } => self.ack(device, number, upto),
            Command::Say { number, envelope } => batch.due.push(Due::Said { number, envelope }),
            Command::Push { device, body } => self.push(device, body, batch),
            Command::Forwarded { device, act, reply } => self.forwarded(device, act, reply, batch),
            Command::Settled { device, act, reply } => self.settled(device, act, reply, batch),
            Command::Done { device, act, answer, settled, reply } => {
                self.done(device, act, answer, settled, reply, batch);
            }
            Command::Forget { device, reply } => {
                self.devices.remove(&device);
                self.leapfrogs.remove(&device);
                self.contested.send_if_modified(|contested| contested.remove(&device).is_some());
                self.end_paths(device, Some(CloseReason::Revoked));
                batch.changes.push(Change::Forget(device));
                batch.due.push(Due::Forgotten(reply));
            }
            Command::EndPaths { device, reply } => {
                self.end_paths(device, None);
                let _ = reply.send(());
            }
            Command::LeftOpen { device } => {
                let is_noticed = self.leapfrogs.entry(device).or_default().left_open(Instant::now());
                self.notice(device, is_noticed);
            }
            Command::BeginAnew { reply } => {
                self.begin_anew(batch);
                batch.due.push(Due::Forgotten(reply));
            }
        }
    }

    /// Two programs take turns with one phone's key.
    fn notice(&self, device: NodeId, is_noticed: bool) {
        if is_noticed {
            tracing::warn!(%device, "two programs take this phone's place from each other in turns");
            self.contested.send_modify(|contested| _ = contested.insert(device, now_ms()));
        }
    }

    fn begin_anew(&mut self, batch: &mut Batch) {
        self.devices.keys().copied().collect::<Vec<_>>().into_iter().for_each(|device| self.give_up(device, batch));
    }

    fn attach(
        &mut self,
        device: NodeId,
        attach: &Attach,
        sender: channel::Sender,
        reply: oneshot::Sender<Result<Attachment, Refused>>,
        batch: &mut Batch,
    ) {
        let logs = self.devices.entry(device).or_insert_with(|| Device::restore(device, Default::default(), fresh()));
        let (attached, changes) = logs.attach(attach, fresh());
        batch.changes.extend(changes);
        self.next += 1;
        let path = Path::new(device, attach, sender);
        batch.due.push(Due::Begun { device, attached, path, number: self.next, reply });
        if attached.superseded.is_none() {
            let leapfrog = self.leapfrogs.entry(device).or_default();
            let is_noticed = leapfrog.attached(attach.position.log, Instant::now());
            self.notice(device, is_noticed);
            // Nothing goes to the older path from now on, and what comes from it is late.
            self.current.remove(&device);
        }
    }

    fn detach(&mut self, device: NodeId, number: u64) {
        self.paths.remove(&number);
        if self.current.get(&device) == Some(&number) {
            self.current.remove(&device);
            self.devices.get_mut(&device).into_iter().for_each(Device::detach);
        }
    }

    fn take(&mut self, device: NodeId, number: u64, entry: &Entry, batch: &mut Batch) {
        // What an older path still brings, comes again on the newer one.
        if self.current.get(&device) != Some(&number) {
            return;
        }
        let Some(logs) = self.devices.get_mut(&device) else { return };
        match logs.take(entry, now_ms()) {
            Ok((asked, changes)) => {
                batch.changes.extend(changes);
                let work = match asked {
                    Asked::Act(act, envelope) => {
                        Some(Box::new(Work { device, act, stage: Stage::Received, envelope: *envelope }))
                    }
                    Asked::Answered | Asked::Known => None,
                };
                let pushed = logs.last();
                batch.due.push(Due::Taken { device, number, upto: entry.seq, work });
                batch.due.push(Due::Pushed { device, upto: pushed });
            }
            Err(refused) => {
                tracing::warn!(%device, %refused, "a path ends: its entry can't be taken");
                self.end(number, None);
            }
        }
    }

    fn ack(&mut self, device: NodeId, number: u64, upto: u64) {
        let is_known = self.paths.get(&number).is_some_and(|path| path.device == device);
        match self.devices.get_mut(&device).filter(|_| is_known).map(|logs| logs.ack(upto)) {
            Some(Ok(trim)) => self.trims.extend(trim),
            Some(Err(error)) => {
                tracing::warn!(%device, %error, "a path ends: its acknowledgement makes no sense");
                self.end(number, None);
            }
            None => {}
        }
    }

    fn push(&mut self, device: NodeId, body: Vec<u8>, batch: &mut Batch) {
        let logs = self.devices.entry(device).or_insert_with(|| Device::restore(device, Default::default(), fresh()));
        batch.once = true;
        match logs.push(body) {
            Ok(changes) => {
                batch.changes.extend(changes);
                batch.due.push(Due::Pushed { device, upto: logs.last() });
            }
            Err(full) => {
                tracing::info!(%device, %full, "its log begins anew");
                self.give_up(device, batch);
            }
        }
    }

    fn forwarded(&mut self, device: NodeId, act: ActId, reply: oneshot::Sender<Noted>, batch: &mut Batch) {
        match self.devices.get_mut(&device).and_then(|logs| logs.forwarded(act)) {
            Some(change) => {
                batch.changes.push(change);
                batch.due.push(Due::Noted(reply));
            }
            None => drop(reply.send(Noted::Unwanted)),
        }
    }

    fn settled(&mut self, device: NodeId, act: ActId, reply: oneshot::Sender<Noted>, batch: &mut Batch) {
        match self.devices.get_mut(&device).and_then(|logs| logs.settled(act)) {
            Some(changes) => {
                batch.changes.extend(changes);
                batch.due.push(Due::Noted(reply));
            }
            None => drop(reply.send(Noted::Unwanted)),
        }
    }

    fn done(
        &mut self,
        device: NodeId,
        act: ActId,
        answer: Vec<u8>,
        settled: bool,
        reply: oneshot::Sender<Noted>,
        batch: &mut Batch,
    ) {
        let Some(logs) = self.devices.get_mut(&device) else { return drop(reply.send(Noted::Unwanted)) };
        let noted = if settled { logs.done(act, answer) } else { logs.answered(act, answer) };
        let Some((changes, pushed)) = noted else { return drop(reply.send(Noted::Unwanted)) };
        batch.changes.extend(changes);
        batch.due.push(Due::Pushed { device, upto: logs.last() });
        batch.due.push(Due::Noted(reply));
        if pushed.is_err() {
            // The device asks again after the reset.
            self.give_up(device, batch);
        }
    }

    /// A device's log begins anew; its path ends, and the next one tells it so.
    fn give_up(&mut self, device: NodeId, batch: &mut Batch) {
        batch.once = true;
        if let Some(logs) = self.devices.get_mut(&device) {
            batch.changes.extend(logs.give_up(fresh()));
        }
        self.end_paths(device, None);
    }

    fn end(&self, number: u64, reason: Option<CloseReason>) {
        if let Some(path) = self.paths.get(&number) {
            path.end(reason);
        }
    }

    fn end_paths(&mut self, device: NodeId, reason: Option<CloseReason>) {
        self.current.remove(&device);
        self.paths.values().filter(|path| path.device == device).for_each(|path| path.end(reason));
    }

    // Writing, and what follows.

    /// Where tests have things go wrong.
    #[cfg(feature = "faults")]
    async fn before_it_is_stored(&self, batch: &Batch) {
        use farhelm_overlay::faults::{Mutant, Point, mutant, reach};
        for due in &batch.due {
            let Due::Taken { number, upto, work: Some(_), .. } = due else { continue };
            if let Some(path) = self.paths.get(number).filter(|_| mutant(Mutant::AckBeforeStore)) {
                path.offer(Envelope::Ack(Ack { upto: *upto }));
            }
            reach(Point::SentUnacked).await;
        }
    }

    async fn write(&mut self, mut batch: Batch) {
        #[cfg(feature = "faults")]
        self.before_it_is_stored(&batch).await;
        if self.unread {
            return self.fail(batch).await;
        }
        if !batch.changes.is_empty() {
            batch.changes.append(&mut self.trims);
            let (journal, changes) = (self.journal.clone(), std::mem::take(&mut batch.changes));
            let written = tokio::task::spawn_blocking(move || journal.write(&changes)).await;
            if let Ok(Err(error)) = &written {
                tracing::error!(%error, "nothing can be stored; no phone is served until it can");
            }
            if !matches!(written, Ok(Ok(()))) {
                return self.fail(batch).await;
            }
        }
        for due in batch.due {
            self.carry_out(due).await;
        }
    }

    async fn carry_out(&mut self, due: Due) {
        match due {
            Due::Begun { device, attached, path, number, reply } => self.begun(device, attached, path, number, reply),
            Due::Taken { device, number, upto, work } => {
                let acknowledged = self.devices.get_mut(&device).and_then(|logs| logs.stored_incoming(upto));
                if let (Some(path), Some(upto)) = (self.paths.get(&number), acknowledged) {
                    path.offer(Envelope::Ack(Ack { upto }));
                }
                if let Some(work) = work {
                    let _ = self.work.send(*work).await;
                }
            }
            Due::Pushed { device, upto } => {
                if let Some(logs) = self.devices.get_mut(&device) {
                    logs.stored_outgoing(upto);
                    self.flush(device);
                }
            }
            Due::Said { number, envelope } => {
                if let Some(path) = self.paths.get(&number) {
                    path.offer(*envelope);
                }
            }
            Due::Noted(reply) => drop(reply.send(Noted::Stored)),
            Due::Forgotten(reply) => drop(reply.send(())),
        }
    }

    fn begun(
        &mut self,
        device: NodeId,
        attached: Attached,
        path: Path,
        number: u64,
        reply: oneshot::Sender<Result<Attachment, Refused>>,
    ) {
        let attachment = Attachment { number, superseded: attached.superseded.is_some(), fate: path.fate() };
        path.offer(Envelope::Attached(attached));
        if attached.superseded.is_some() {
            path.drain();
            self.paths.insert(number, path);
        } else {
            self.paths.values().filter(|older| older.device == device).for_each(|older| older.overtaken(path.log()));
            self.paths.insert(number, path);
            self.current.insert(device, number);
            self.flush(device);
        }
        if reply.send(Ok(attachment)).is_err() {
            self.detach(device, number);
        }
    }

    /// Sends what waits for a device.
    fn flush(&mut self, device: NodeId) {
        let path = self.current.get(&device).and_then(|number| self.paths.get(number));
        let (Some(path), Some(logs)) = (path, self.devices.get_mut(&device)) else { return };
        while let Some(entry) = logs.poll() {
            if !path.offer(Envelope::Entry(entry)) {
                return;
            }
        }
    }

    /// Nothing of a batch was stored: nobody hears of it, and what is known here is read anew. What was to be said once
    /// is lost, so logs begin anew as soon as that can be stored: a phone is told of a gap.
    async fn fail(&mut self, batch: Batch) {
        if batch.once {
            self.overrun.store(true, Ordering::Release);
        }
        for due in batch.due {
            match due {
                Due::Begun { reply, .. } => drop(reply.send(Err(Refused::StoreFailed))),
                Due::Noted(reply) => drop(reply.send(Noted::Failed)),
                _ => {}
            }
        }
        self.paths.values().for_each(|path| path.end(Some(CloseReason::StoreFailed)));
        self.current.clear();
        let (journal, known) = (self.journal.clone(), self.devices.keys().copied().collect::<Vec<_>>());
        match tokio::task::spawn_blocking(move || read(&journal, known)).await {
            Ok(Ok(devices)) => (self.devices, self.unread) = (devices, false),
            failed => {
                tracing::error!(?failed, "what was stored can't be read");
                self.unread = true;
            }
        }
    }
}

fn read(journal: &Journal, peers: Vec<NodeId>) -> Result<HashMap<NodeId, Device>, farhelm_store::Error> {
    let device = |peer| Ok((peer, Device::restore(peer, journal.read(peer)?, fresh())));
    peers.into_iter().map(device).collect()
}

fn left_of(device: &Device) -> Vec<Work> {
    let work = |(act, stage, envelope)| Work { device: device.id(), act, stage, envelope };
    device.left().into_iter().map(work).collect()
}

fn fresh() -> LogId {
    LogId::new(rand::random())
}
