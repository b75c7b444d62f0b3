//! What each phone may see: what it is told of the host, which approvals and which threads it is shown. Changes of a
//! grant, of folders and of where a thread works count at once.

use std::collections::BTreeSet;

use farhelm_core::codex::approval::Key;
use farhelm_core::identity::NodeId;
use farhelm_overlay::channel;
use serde_json::json;
use tokio::sync::oneshot;

use super::actor::{Actor, Command, RESUMING};
use super::roster::{Audience, Ticket};
use super::truth::whole;
use crate::host::devices::now_ms;
use crate::host::folders;
use crate::host::logs::Line;

impl Actor {
    /// A phone is there: it learns what this host is, what it may do, and everything that waits for a decision.
    pub(super) fn attach(
        &mut self,
        device: NodeId,
        sender: channel::Sender,
        line: Line,
        reply: oneshot::Sender<Ticket>,
    ) {
        let ticket = self.roster.attach(device, sender, line);
        let session = ticket.session;
        self.entitle(session, device);
        self.ask_anew(session);
        if reply.send(ticket).is_err() {
            self.roster.detach(session);
        }
    }

    /// Brings every session to what its device may do and see now.
    pub(super) fn settle_all(&mut self) {
        self.about.mark_unchanged();
        for (session, device) in self.roster.sessions() {
            let is_new = self.entitle(session, device);
            if self.roster.asked(device) != self.seen(session) {
                self.ask_anew(session);
            }
            for (thread, shown) in self.roster.watched_by(session) {
                // What it had no business with before may be anywhere.
                let unknown = is_new && self.followed.place(&thread).is_none();
                if unknown || self.sees(session, &thread) != shown {
                    self.look(session, thread);
                }
            }
        }
    }

    /// Tells a session what its device may do, or ends it. Says whether it may do something else than before.
    fn entitle(&mut self, session: u64, device: NodeId) -> bool {
        match self.access.entitlement(device, now_ms()) {
            Ok(entitlement) => {
                let about = self.access.about(&self.about.borrow(), entitlement);
                self.roster.entitle(session, about)
            }
            Err(reason) => {
                self.roster.cut(device, reason);
                false
            }
        }
    }

    /// Whether a session may see a thread.
    pub(super) fn sees(&self, session: u64, thread: &str) -> bool {
        self.followed.place(thread).is_some_and(|place| self.roster.covers(session, place))
    }

    /// What isn't over of the threads that a session may see.
    fn seen(&self, session: u64) -> BTreeSet<Key> {
        self.ledger.threads().filter(|(_, thread)| self.sees(session, thread)).map(|(key, _)| key).collect()
    }

    fn ask_anew(&mut self, session: u64) {
        let envelopes = self.ledger.announcement(|thread| self.sees(session, thread));
        self.roster.ask_anew(session, self.seen(session), envelopes);
    }

    pub(super) fn watch(&mut self, session: u64, threads: Vec<String>) {
        for id in self.roster.watch(session, threads) {
            self.look(session, id);
        }
    }

    /// Shows a phone anew a thread of which its channel dropped a part. One that it doesn't follow, or may not see, goes on
    /// without: its status in a list comes with its next change.
    pub(super) fn repair(&mut self, session: u64, id: String) {
        let follows = self.roster.watched_by(session).iter().any(|(thread, shown)| *thread == id && *shown);
        if !follows || self.followed.get(&id).is_none() {
            self.roster.release(session, &id);
        }
        if follows {
            self.look(session, id);
        }
    }

    /// Shows a phone a thread that it follows, if it may see it. One that isn't followed here is first asked about: to
    /// follow it would load it, and that isn't for every phone to cause.
    fn look(&mut self, session: u64, id: String) {
        if !self.followed.is_subscribed(&id) {
            self.find(id);
        } else if !self.sees(session, &id) {
            self.roster.hide(session, &id);
        } else if let Some(thread) = self.followed.get(&id) {
            self.roster.show(session, &id, whole(thread));
        }
    }

    pub(super) fn find(&mut self, id: String) {
        let known = self.resuming.contains_key(&id) || self.looking.contains(&id);
        if self.epoch.is_none() || known || self.looking.len() >= RESUMING {
            return;
        }
        self.looking.insert(id.clone());
        let app_server = self.app_server.clone();
        self.spawn(async move {
            let read = app_server.request("thread/read", json!({ "threadId": id, "includeTurns": false })).await;
            let folder = read.ok().and_then(|read| Some(read.pointer("/thread/cwd")?.as_str()?.to_owned()));
            let place = tokio::task::spawn_blocking(move || folders::canonical(&folder?)).await.ok().flatten();
            Command::Found { thread: id, place }
        });
    }

    pub(super) fn found(&mut self, thread: String, place: Option<&str>) {
        self.looking.remove(&thread);
        match place {
            Some(place) if self.roster.is_watched_at(&thread, place) => self.follow(thread),
            Some(_) => {}
            None => self.seek_later(&thread),
        }
    }

    /// Codex didn't show a thread. What is said of it will have it tried again, but Codex may just have been busy, and then
    /// says nothing: whoever looks at it isn't to wait for ever.
    pub(super) fn seek_later(&mut self, thread: &str) {
        let watched = self.roster.watched();
        self.missing.retain(|thread| watched.contains(thread));
        if !watched.contains(thread) {
            return;
        }
        if let Some(wait) = self.missing.wait(thread) {
            let thread = thread.to_owned();
            self.spawn(async move {
                tokio::time::sleep(wait).await;
                Command::Seek { thread }
            });
        }
    }

    pub(super) fn seek(&mut self, thread: String) {
        self.missing.waited(&thread);
        if self.roster.watched().contains(&thread) && !self.followed.is_subscribed(&thread) {
            self.find(thread);
        }
    }

    pub(super) fn snapshot_to_watchers(&mut self, id: &str) {
        let (Some(thread), Some(place)) = (self.followed.get(id), self.followed.place(id)) else { return };
        self.roster.show_watchers(id, Audience::at(place), &whole(thread));
    }
}
