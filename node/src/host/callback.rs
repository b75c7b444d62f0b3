//! Calls a phone back whose session is relayed, at the addresses that it tells of itself.
//!
//! # Why from this side too
//! Hole punching pairs what relays have observed. It does nothing for two machines in one network, nor where only the phone
//! can be reached: then somebody has to dial plainly, and it is whoever can. The phone dials us likewise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use farhelm_core::identity::NodeId;
use farhelm_overlay::surroundings::PER_PEER;
use farhelm_overlay::{Endpoint, Multiaddr, Path};

/// The longest address that is read.
const ADDRESS: usize = 256;
/// How soon a phone may have itself called again. Its own retries are further apart.
const AGAIN: Duration = Duration::from_secs(10);

/// Who was called back when. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Callback(Arc<Mutex<HashMap<NodeId, Instant>>>);

impl Callback {
    /// Dials the phone beside everything else, unless it is there directly or was called a moment ago. What comes of it
    /// shows as a connection, which the phone takes if it wants to.
    pub(super) fn call(&self, endpoint: &Endpoint, phone: NodeId, told: &[String]) {
        let is_direct = endpoint.paths(phone).iter().any(Path::is_direct);
        let addresses = endpoint.worth_dialling(phone, readable(told));
        if is_direct || addresses.is_empty() || !self.is_due(phone, Instant::now()) {
            return;
        }
        let endpoint = endpoint.clone();
        tokio::spawn(async move {
            // It ends by itself, after 20 s at the latest.
            match endpoint.dial(phone, addresses).await {
                Ok(path) => tracing::debug!(%phone, %path.remote, "called back"),
                Err(error) => tracing::debug!(%phone, %error, "not reached directly"),
            }
        });
    }

    fn is_due(&self, phone: NodeId, now: Instant) -> bool {
        let mut called = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        called.retain(|_, at| now < *at + AGAIN);
        let due = !called.contains_key(&phone);
        called.entry(phone).or_insert(now);
        due
    }
}

fn readable(told: &[String]) -> impl Iterator<Item = Multiaddr> {
    told.iter().take(PER_PEER).filter(|text| text.len() <= ADDRESS).filter_map(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use farhelm_core::identity::Identity;

    use super::*;

    #[test]
    fn a_phone_is_not_called_again_and_again() {
        let (callback, now) = (Callback::default(), Instant::now());
        let phone = |seed| Identity::from_seed(&[seed; 32]).node_id();
        assert!(callback.is_due(phone(1), now) && callback.is_due(phone(2), now));
        assert!(!callback.is_due(phone(1), now + AGAIN / 2));
        assert!(callback.is_due(phone(1), now + AGAIN));
    }

    #[test]
    fn what_is_no_address_or_very_long_is_left_out() {
        let good = "/ip4/8.8.4.4/tcp/9".to_owned();
        let long = format!("/dns4/{}/tcp/9", "a".repeat(ADDRESS));
        let told = ["here".to_owned(), long, good.clone()];
        assert_eq!(readable(&told).map(|a| a.to_string()).collect::<Vec<_>>(), *std::slice::from_ref(&good));
        assert_eq!(readable(&vec![good; 100]).count(), PER_PEER);
    }
}
