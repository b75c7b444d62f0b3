//! What a circuit may still carry. Relays cut one that has lived or carried as much as they allow, without a word before:
//! stock ones after two minutes or 128 KiB. So the session moves to a new circuit in time.

use std::time::Duration;

use farhelm_overlay::Limit;
use tokio::time::Instant;

/// How long a renewal that failed isn't tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Of one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    until: Option<Instant>,
    bytes: Option<u64>,
    not_before: Instant,
}

impl Allowance {
    /// Of a circuit that began just now: three quarters of its time, so that a move that fails can be tried again; half of
    /// its bytes, as the relay counts the framing too, and what is under way.
    pub(super) fn new(limit: Limit, now: Instant) -> Self {
        let until = limit.duration.map(|duration| now + duration * 3 / 4);
        Self { until, bytes: limit.bytes.map(|bytes| bytes / 2), not_before: now }
    }

    /// Whether to move, having moved this many bytes.
    pub(super) fn is_used_up(&self, moved: u64, now: Instant) -> bool {
        let is_late = self.until.is_some_and(|until| until <= now);
        now >= self.not_before && (is_late || self.bytes.is_some_and(|bytes| bytes <= moved))
    }

    /// When time alone makes it so.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.until.map(|until| until.max(self.not_before))
    }

    /// A move was tried.
    pub(super) fn tried(&mut self, now: Instant) {
        self.not_before = now + AGAIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: Limit = Limit { duration: Some(Duration::from_secs(120)), bytes: Some(128 * 1024) };

    #[tokio::test]
    async fn a_circuit_is_left_before_its_relay_cuts_it() {
        let now = Instant::now();
        let allowance = Allowance::new(STOCK, now);
        assert!(!allowance.is_used_up(1000, now + Duration::from_secs(89)));
        assert!(allowance.is_used_up(1000, now + Duration::from_secs(90)));
        assert!(allowance.is_used_up(64 * 1024, now));
        assert_eq!(allowance.deadline(), Some(now + Duration::from_secs(90)));
    }

    #[tokio::test]
    async fn a_move_that_failed_is_tried_again_after_a_while() {
        let now = Instant::now();
        let mut allowance = Allowance::new(STOCK, now);
        let late = now + Duration::from_secs(100);
        allowance.tried(late);
        assert!(!allowance.is_used_up(0, late) && allowance.is_used_up(0, late + AGAIN));
        assert_eq!(allowance.deadline(), Some(late + AGAIN));
    }

    #[tokio::test]
    async fn what_has_no_limit_is_never_used_up() {
        let now = Instant::now();
        let allowance = Allowance::new(Limit::default(), now);
        assert!(!allowance.is_used_up(u64::MAX, now + Duration::from_secs(1_000_000)));
        assert_eq!(allowance.deadline(), None);
    }
}
