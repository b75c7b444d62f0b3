//! How often a peer or a household may ask for something: token buckets. `now` in, yes or no out.
//!
//! # Why not libp2p's own limits
//! Theirs allow 30 circuits and then one every two minutes, 60 and one a minute for everybody behind one address: a
//! phone on a train, which reconnects with every cell, is locked out for the journey, and carrier NAT puts a town
//! behind one address. They also count full IPv6 addresses, of which every subscriber has 2^64. A circuit costs a
//! relay half a millisecond of CPU (measured), so ours can be generous and still keep one household below 0.1 % of it.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Sources remembered at a time. Full buckets are forgotten first; if all are in use, newcomers are refused.
const SOURCES: usize = 1 << 16;

/// A burst, and how long until one more is granted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) every: Duration,
}

/// Circuits one peer may ask for: a phone that loses its network every few seconds for five minutes.
pub(crate) const CIRCUITS_PER_PEER: Rate = Rate { burst: 60, every: Duration::from_secs(5) };

/// Circuits everybody behind one IPv4 address or IPv6 /64 may ask for.
pub(crate) const CIRCUITS_PER_SUBSCRIBER: Rate = Rate { burst: 600, every: Duration::from_secs(1) };

/// Reservations one peer may ask for: a host needs one an hour, and a few when its network is bad.
pub(crate) const RESERVATIONS_PER_PEER: Rate = Rate { burst: 30, every: Duration::from_secs(10) };

/// Reservations everybody behind one address may ask for.
pub(crate) const RESERVATIONS_PER_SUBSCRIBER: Rate = Rate { burst: 300, every: Duration::from_secs(1) };

/// One bucket a source.
#[derive(Debug)]
pub(crate) struct Buckets<K> {
    rate: Rate,
    /// When each source's bucket is full again; a source not in here has a full one.
    full_at: HashMap<K, Instant>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, full_at: HashMap::new() }
    }

    /// Takes one token of `source`, if it has one.
    pub(crate) fn take(&mut self, source: K, now: Instant) -> bool {
        if self.full_at.len() >= SOURCES && !self.full_at.contains_key(&source) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= SOURCES {
                return false;
            }
        }
        let full_at = self.full_at.entry(source).or_insert(now);
        let after = (*full_at).max(now) + self.rate.every;
        let granted = after.saturating_duration_since(now) <= self.rate.every * self.rate.burst;
        if granted {
            *full_at = after;
        }
        granted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, every: Duration::from_secs(10) };

    #[test]
    fn a_burst_then_one_at_a_time() {
        let (mut buckets, now) = (Buckets::new(RATE), Instant::now());
        assert_eq!([0, 0, 0, 0].map(|_| buckets.take("a", now)), [true, true, true, false]);
        let later = now + Duration::from_secs(10);
        assert_eq!([0, 0].map(|_| buckets.take("a", later)), [true, false]);
        let much_later = now + Duration::from_secs(1000);
        assert_eq!([0, 0, 0, 0].map(|_| buckets.take("a", much_later)), [true, true, true, false]);
    }

    #[test]
    fn sources_do_not_share_a_bucket() {
        let (mut buckets, now) = (Buckets::new(RATE), Instant::now());
        assert_eq!([0, 0, 0, 0].map(|_| buckets.take("a", now)), [true, true, true, false]);
        assert!(buckets.take("b", now));
    }

    #[test]
    fn memory_is_bounded_and_freed_as_buckets_fill() {
        let (mut buckets, now) = (Buckets::new(RATE), Instant::now());
        assert!((0..SOURCES).all(|n| buckets.take(n, now)));
        assert!(!buckets.take(SOURCES, now));
        assert!(buckets.take(0, now), "a known source is served");
        assert!(buckets.take(SOURCES, now + RATE.every));
        assert!(buckets.full_at.len() <= 2);
    }
}
