//! Lines: how one comes up, moves to a better path, dies, and drains.

use std::mem::replace;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use farhelm_core::wire::Envelope;
use farhelm_core::wire::envelope::{CloseReason, Reachable};
use farhelm_overlay::channel;
use futures::FutureExt;
use tokio::time::Instant;

use super::allowance::Allowance;
use super::{Line, Supervisor};
use crate::attach::{Aim, Attached, Failure, Told, attach};
use crate::connection::{Connection, Path, Why};
use crate::error::Error;
use crate::flight::Flight;

/// How long an old line may still answer after the session moved.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a direct path is waited for before it is tried anew, at first and at the most: NATs and networks change, and
/// many pairs stay relayed for good.
const FIRST_TRY: Duration = Duration::from_secs(30);
const LAST_TRY: Duration = Duration::from_secs(600);
/// After a move that failed: how soon it is tried again at first. Both sides dial at once, and what one of them takes may
/// be what the other lets go as a duplicate.
const MOVE_AGAIN: Duration = Duration::from_millis(500);
/// How long a direct path must have carried the session until the others are let go. Whoever drains one has had its time.
const PROVEN: Duration = Duration::from_secs(15);
/// How long to leave the host to another program that took our place.
const REPLACED: Duration = Duration::from_secs(5);
/// A line that didn't live for so long isn't replaced at once.
const BRIEF: Duration = Duration::from_secs(1);

impl Supervisor {
    /// A path may begin once its generation is stored.
    pub(super) fn start_attempt(&mut self, aim: Aim) {
        self.attempting = true;
        self.log.attempt(aim);
    }

    pub(super) fn begin_attempt(&mut self, aim: Aim) {
        self.attempting = false;
        let (attach_with, entries, last) = self.log.early();
        let flight = Flight::default();
        flight.load(self.calls.early());
        self.note_early();
        self.early = Some((flight.clone(), last));
        let (epoch, watched) = (self.record.kept.epoch.clone(), self.followed.ids());
        let told = Told { attach: attach_with, epoch, watched, entries, last, flight };
        if let Some(paired) = self.paired.take() {
            return self.on_paired(paired, told);
        }
        let attempt = attach(self.us.clone(), self.record.clone(), told, aim);
        self.attempt = Some((aim, attempt.boxed()));
    }

    /// What went with an attempt's handshake can't be taken back any more.
    pub(super) fn note_early(&mut self) {
        if let Some((flight, last)) = &self.early
            && flight.has_left()
        {
            self.log.flew(*last);
        }
    }

    /// A pairing's channel has carried nothing yet.
    fn on_paired(&mut self, paired: Attached, told: Told) {
        let sender = paired.channel.sender();
        let _ = told.envelopes().into_iter().try_for_each(|envelope| sender.offer(envelope));
        self.on_attached(Attached { told: Some(told), ..paired });
    }

    pub(super) fn on_attempted(&mut self, result: Result<Attached, Failure>) {
        let aim = self.attempt.take().map(|(aim, _)| aim);
        match result {
            Ok(attached) => self.on_attached(attached),
            Err(Failure::Removed(tombstone)) => self.on_removed(tombstone.revoked_at_ms),
            // The line lives on; moving it is tried again later.
            Err(Failure::Away(_)) if aim.is_some_and(Aim::is_a_move) && self.line.is_some() => self.on_move_failed(),
            Err(Failure::Away(why)) => {
                self.drop_line();
                self.on_away(why);
            }
        }
    }

    fn on_move_failed(&mut self) {
        let Some(line) = &mut self.line else { return };
        let pause = MOVE_AGAIN.saturating_mul(1 << line.failed_moves.min(10)).min(FIRST_TRY);
        line.failed_moves += 1;
        self.watch_for_direct(pause);
    }

    pub(super) fn on_attached(&mut self, attached: Attached) {
        let Attached { channel, path, host_name, secret, told } = attached;
        let went = told.as_ref().map(|told| told.flight.went()).unwrap_or_default();
        let (watched, early) = told.map(|told| (told.watched, told.last)).unwrap_or_default();
        self.log.begin(early);
        self.outlets.listed.send_replace(false);
        self.retry_at = None;
        self.lines += 1;
        let since = Instant::now();
        let (id, counted, connection) = (self.lines, (0, 0), path.connection);
        let allowance = Allowance::new(path.limit, since);
        let (path, met, settled, tries, failed_moves) = (Path::of(&path), false, false, 0, 0);
        let line = Line {
            id,
            channel,
            connection,
            path,
            allowance,
            watched,
            counted,
            met,
            since,
            settled,
            tries,
            failed_moves,
        };
        if let Some(old) = self.line.replace(line) {
            self.drain(old);
        }
        self.calls.went(id, &went);
        self.unsaved |= self.record.confirm(&secret);
        self.unsaved |= self.record.rename(&host_name);
        self.refresh_at = Instant::now() + Duration::from_millis(500);
        self.watch_for_direct(Duration::ZERO);
        self.refresh();
        self.send_all();
    }

    /// While the session is relayed: dials the host where it says it is, and has it dial us.
    pub(super) fn watch_for_direct(&mut self, after: Duration) {
        let wanted = self.us.network.wants_direct();
        let Some(line) = self.line.as_ref().filter(|line| wanted && !line.path.is_direct()) else {
            return self.direct = None;
        };
        let patience = FIRST_TRY.saturating_mul(1 << line.tries.min(10)).min(LAST_TRY);
        // Later a new circuit comes with it, as holes are punched once for each.
        let addresses = if line.tries == 0 { self.record.direct_addresses() } else { self.record.addresses() };
        let (network, host, sender) = (self.us.network.clone(), self.record.host, line.channel.sender());
        let direct = async move {
            tokio::time::sleep(after).await;
            let candidates = network.candidates().iter().map(ToString::to_string).collect();
            let _ = sender.offer(Envelope::Reachable(Reachable { addresses: candidates }));
            network.direct(host, addresses, patience).await
        };
        self.direct = Some(direct.boxed());
    }

    pub(super) fn on_direct(&mut self, is_there: bool) {
        self.direct = None;
        if !is_there {
            if let Some(line) = &mut self.line {
                line.tries += 1;
            }
            self.watch_for_direct(Duration::ZERO);
        } else if self.attempt.is_none() && !self.attempting {
            self.start_attempt(Aim::Direct);
        }
    }

    /// Moves to a new circuit before the relay ends this one.
    pub(super) fn renew_circuit(&mut self) {
        let is_free = self.attempt.is_none() && !self.attempting;
        let Some(line) = self.line.as_mut().filter(|_| is_free) else { return };
        let (now, moved) = (Instant::now(), line.counted.0 + line.counted.1);
        if line.met && line.allowance.is_used_up(moved, now) {
            line.allowance.tried(now);
            self.start_attempt(Aim::Fresh);
        }
    }

    /// Once a direct path has proven itself, whatever else leads to the host is let go: the relayed path, and what both
    /// sides dialled at once. Only this side does, as it is the one that chooses what the session runs on.
    fn settle(&mut self) {
        let Some(line) = &mut self.line else { return };
        if line.settled || !line.met || !line.path.is_direct() || line.since.elapsed() < PROVEN {
            return;
        }
        line.settled = true;
        let (network, host, connection) = (self.us.network.clone(), self.record.host, line.connection);
        if network.is_best(host, connection) {
            tokio::spawn(async move { network.keep_only(host, connection).await });
        } else if self.attempt.is_none() && !self.attempting {
            // TCP was there first, and QUIC came after it.
            self.start_attempt(Aim::Direct);
        }
    }

    pub(super) fn on_received(&mut self, received: Result<Envelope, channel::Error>) {
        let counted = self.line.as_ref().map(|line| self.count(line));
        if let (Some(line), Some(counted)) = (&mut self.line, counted) {
            line.counted = counted;
        }
        self.renew_circuit();
        let met = self.line.as_ref().is_some_and(|line| line.met);
        match received {
            Ok(Envelope::Attached(attached)) if !met => {
                if self.on_met(&attached) {
                    self.backoff.reset();
                } else {
                    // With a newer generation, or after a reset, it goes on.
                    self.drop_line();
                    self.retry_at = Some(Instant::now() + self.backoff.next());
                    self.set_state(Connection::Connecting);
                }
            }
            Ok(Envelope::Attached(_)) => tracing::debug!("the host says twice where it stands"),
            Ok(_) if !met => tracing::debug!("the host has not said where it stands"),
            Ok(envelope) => self.on_envelope(envelope),
            Err(error) => self.on_line_lost(&error),
        }
    }

    fn on_line_lost(&mut self, error: &channel::Error) {
        tracing::debug!(host = %self.record.host, %error, "the session's line ended");
        let lived = self.line.as_ref().map_or(Duration::ZERO, |line| line.since.elapsed());
        self.drop_line();
        // A better path is being taken already: perhaps that is why this one ended.
        if self.attempt.is_some() || self.attempting {
            return self.set_state(Connection::Connecting);
        }
        // A removed device learns from its next handshake when that was.
        match (Why::from(error), error) {
            (Why::LinkLost, _) | (_, channel::Error::Closed(CloseReason::Revoked)) => {
                // One that breaks again and again is not to be tried without end.
                let wait = if lived < BRIEF { self.backoff.next() } else { Duration::ZERO };
                self.retry_at = Some(Instant::now() + wait);
                self.set_state(Connection::Connecting);
            }
            (why, _) => self.on_away(why),
        }
    }

    pub(super) fn drop_line(&mut self) {
        self.direct = None;
        self.unsaved |= replace(&mut self.head_unsaved, false);
        if let Some(line) = self.line.take() {
            self.outlets.listed.send_replace(false);
            self.log.detach();
            self.count(&line);
            self.calls.lost(line.id);
        }
    }

    pub(super) fn on_away(&mut self, why: Why) {
        let wait = match why {
            Why::Replaced => self.backoff.next_after(REPLACED),
            _ => self.backoff.next(),
        };
        self.retry_at = Some(Instant::now() + wait);
        let since = match *self.outlets.state.borrow() {
            Connection::Away { since, .. } => since,
            _ => SystemTime::now(),
        };
        self.set_state(Connection::Away { since, why });
        if why.is_for_the_desk() {
            // Whoever is told finds the state as it is. Nobody knows when that ends; what was asked now isn't to happen then.
            self.note_early();
            self.calls.end(&Error::Away(why), |id| self.log.withdraw(id));
            self.decisions.end(|id| self.log.withdraw(id));
        }
    }

    fn on_removed(&mut self, at_ms: u64) {
        self.drop_line();
        (self.attempt, self.direct, self.retry_at) = (None, None, None);
        self.record.remove(at_ms);
        self.unsaved = true;
        self.note_early();
        self.calls.end(&Error::Removed { at_ms }, |id| self.log.withdraw(id));
        self.decisions.end(|id| self.log.withdraw(id));
        self.outlets.approvals.send_replace(Vec::new());
        self.outlets.questions.send_replace(Vec::new());
        self.set_state(Connection::Removed { at_ms });
    }

    fn drain(&mut self, old: Line) {
        self.end_draining();
        let until = Instant::now() + DRAIN;
        self.draining = Some((old, until));
        self.end_draining_if_answered();
    }

    pub(super) fn on_drained(&mut self, received: Result<Envelope, channel::Error>) {
        let Some((old, _)) = &self.draining else { return };
        match received {
            Ok(Envelope::Response(response)) => self.calls.answer(old.id, response),
            Ok(Envelope::Ack(ack)) => self.on_ack(ack),
            Ok(_) => {}
            Err(_) => return self.end_draining(),
        }
        self.end_draining_if_answered();
    }

    fn end_draining_if_answered(&mut self) {
        if self.draining.as_ref().is_some_and(|(old, _)| !self.calls.any_on(old.id)) {
            self.end_draining();
        }
    }

    pub(super) fn end_draining(&mut self) {
        let Some((old, _)) = self.draining.take() else { return };
        self.count(&old);
        self.calls.lost(old.id);
        let network = self.us.network.clone();
        // A circuit takes one of few places at its relay. What a direct path has yet to prove itself beside, stays.
        let spent = self.line.as_ref().is_some_and(|line| !line.path.is_direct() && line.connection != old.connection);
        tokio::spawn(async move {
            old.channel.close(CloseReason::Replaced).await;
            if spent {
                network.discard(old.connection).await;
            }
        });
        self.send_all();
    }

    /// Brings what the handles see up to date.
    pub(super) fn refresh(&mut self) {
        self.settle();
        let Some(mut line) = self.line.take() else { return };
        let traffic = line.channel.traffic();
        line.path.round_trip = traffic.round_trip().or(line.path.round_trip);
        line.counted = self.count(&line);
        let is_up_to_date = *self.outlets.listed.borrow();
        self.set_state(if is_up_to_date { Connection::Live(line.path) } else { Connection::CatchingUp(line.path) });
        self.line = Some(line);
    }

    /// Adds what a line has moved since it was counted last.
    pub(super) fn count(&self, line: &Line) -> (u64, u64) {
        let traffic = line.channel.traffic();
        let now = (traffic.sent(), traffic.received());
        self.outlets.sent.fetch_add(now.0.saturating_sub(line.counted.0), Ordering::Relaxed);
        self.outlets.received.fetch_add(now.1.saturating_sub(line.counted.1), Ordering::Relaxed);
        now
    }
}
