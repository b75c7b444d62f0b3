//! How long to wait before the next try: doubling, with jitter so that many phones of one relay don't come at once.

use std::time::Duration;

use rand::RngExt;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff(u32);

impl Backoff {
    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.0 = 0;
    }

    /// It failed: how long to wait now. Between half and all of 0.5 s, 1 s, … 30 s.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = (FIRST * 2_u32.saturating_pow(self.0)).min(LONGEST);
        self.0 = (self.0 + 1).min(10);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// As [`next`](Self::next), but `at_least` so long.
    pub(crate) fn next_after(&mut self, at_least: Duration) -> Duration {
        self.next().max(at_least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_start_again_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(waits[8..].iter().all(|wait| *wait >= LONGEST / 2 && *wait <= LONGEST), "{waits:?}");
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
