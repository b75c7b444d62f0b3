//! How long to wait before the next attempt: doubling, with jitter, so that several hosts don't march in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(10);

/// The waits of one run of failures.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    next: Duration,
    last: Duration,
}

impl Backoff {
    /// From 250 ms to 10 s.
    pub(super) fn new() -> Self {
        Self::between(FIRST, LAST)
    }

    /// From `first` to `last`.
    pub(super) fn between(first: Duration, last: Duration) -> Self {
        Self { next: first, last }
    }

    /// The next wait: the doubled former one, give or take a quarter.
    pub(super) fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.last);
        wait.mul_f64(rand::random_range(0.75..1.25))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let mut backoff = Backoff::new();
        for expected in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
            let wait = backoff.wait().as_millis();
            assert!((expected * 3 / 4..=expected * 5 / 4).contains(&wait), "{wait} isn't about {expected}");
        }
    }

    #[test]
    fn two_hosts_do_not_march_in_step() {
        let waits: Vec<_> = (0..20).map(|_| Backoff::new().wait()).collect();
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
