//! Which fault comes next: every kind in every state equally often, and none faster than the work goes on.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every connection of a process is cut.
    Cut,
    /// A frame is not written.
    Drop,
    /// A frame is written twice.
    Double,
    /// SIGKILL, and started again.
    Phone,
    Host,
    Relay,
    Agent,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Cut, Self::Drop, Self::Double, Self::Phone, Self::Host, Self::Relay, Self::Agent];

    fn name(self) -> &'static str {
        match self {
            Self::Cut => "connections cut",
            Self::Drop => "frame dropped",
            Self::Double => "frame doubled",
            Self::Phone => "phone killed",
            Self::Host => "host killed",
            Self::Relay => "relay killed",
            Self::Agent => "app-server killed",
        }
    }
}

/// The edges at which processes wait, as they report them.
pub(crate) const STATES: [&str; 4] = ["stored-unsent", "sent-unacked", "forwarded-unrecorded", "decided-unacked"];

/// Prompts, or decisions, may be so many faults behind.
const AHEAD: u32 = 10;

/// Shared by all worlds.
#[derive(Debug)]
pub(crate) struct Plan(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    rng: StdRng,
    hits: [[u32; 7]; 4],
    total: u32,
    /// One state and kind alone, each time.
    only: Option<(usize, Kind)>,
    prompts: u32,
    decisions: u32,
}

impl Plan {
    /// So many faults.
    pub(crate) fn new(seed: u64, total: u32, only: Option<(usize, Kind)>) -> Self {
        let (rng, hits) = (StdRng::seed_from_u64(seed), Default::default());
        Self(Mutex::new(Inner { rng, hits, total, only, prompts: 0, decisions: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong for a process that waits in this state, if anything.
    pub(crate) fn next(&self, state: &str) -> Option<Kind> {
        let at = STATES.iter().position(|name| *name == state)?;
        self.lock().next(at)
    }

    pub(crate) fn is_done(&self) -> bool {
        let inner = self.lock();
        inner.faults() >= inner.total
    }

    pub(crate) fn took_effect(&self, prompts: u32, decisions: u32) {
        let mut inner = self.lock();
        inner.prompts += prompts;
        inner.decisions += decisions;
    }

    /// Faults, prompts, decisions.
    pub(crate) fn counts(&self) -> (u32, u32, u32) {
        let inner = self.lock();
        (inner.faults(), inner.prompts, inner.decisions)
    }

    /// The pair that was hit least, and how often.
    pub(crate) fn least(&self) -> u32 {
        self.lock().hits.iter().flatten().copied().min().unwrap_or(0)
    }

    /// A number from this run's seed, for one world.
    pub(crate) fn seed(&self) -> u64 {
        self.lock().rng.next_u64()
    }
}

impl Inner {
    fn faults(&self) -> u32 {
        self.hits.iter().flatten().sum()
    }

    fn next(&mut self, at: usize) -> Option<Kind> {
        let kind = match self.only {
            Some((state, kind)) => (state == at).then_some(kind),
            None => self.least_of(at),
        };
        let kind = kind.filter(|_| self.faults() < self.total)?;
        self.hits[at][kind as usize] += 1;
        Some(kind)
    }

    fn least_of(&mut self, at: usize) -> Option<Kind> {
        let (faults, mine) = (self.faults(), self.hits[at].iter().sum::<u32>());
        let behind = self.prompts.min(self.decisions) * 5 + AHEAD < faults;
        // A state that comes often leaves the others their share.
        if behind || mine * 4 >= self.total + 3 || self.rng.random_ratio(1, 3) {
            return None;
        }
        let least = self.hits[at].iter().min().copied()?;
        let candidates: Vec<_> = Kind::ALL.into_iter().filter(|kind| self.hits[at][*kind as usize] == least).collect();
        Some(candidates[self.rng.random_range(0..candidates.len())])
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hits = self.lock().hits;
        write!(f, "{:18}", "")?;
        STATES.iter().try_for_each(|state| write!(f, " {state:>20}"))?;
        for kind in Kind::ALL {
            write!(f, "\n{:18}", kind.name())?;
            hits.iter().try_for_each(|row| write!(f, " {:>20}", row[kind as usize]))?;
        }
        Ok(())
    }
}
